"""INTERFACE 1 and 2: the command, the config's faults, reload, drain, the password command."""
import base64
import json
import os
import re
import signal
import sqlite3
import subprocess
import time

import psycopg
import pytest

from tests.lib import data, wire as w
from tests.lib.pgveil import run_binary, write_private


def eventually(claim, seconds=60):
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


# --- the command

def test_version_and_help():
    done = run_binary("--version")
    assert done.returncode == 0 and re.match(r"pgveil \d", done.stdout) and done.stderr == ""
    done = run_binary("help")
    assert done.returncode == 0
    for command in ("serve", "check", "provision", "explain", "audit", "approve", "consent", "passwd"):
        assert command in done.stdout
        told = run_binary("help", command)
        assert told.returncode == 0
        for word in ("--help", "-h"):
            asked = run_binary(command, word)
            assert (asked.returncode, asked.stdout, asked.stderr) == (0, told.stdout, "")
    assert run_binary("audit", "list", "--help").stdout == run_binary("help", "audit").stdout


@pytest.mark.parametrize("args", [("nonsense",), (), ("serve", "--nonsense"), ("help", "nonsense"), ("explain",),
                                  ("check", "-c", "/no/such/file")])
def test_usage_errors_exit_2_on_standard_error(args):
    done = run_binary(*args)
    assert done.returncode == 2 and done.stderr.strip()


@pytest.mark.parametrize("args, words", [
    (("provision", "--room"), "an option needs a value: --room"), (("provision", "all"), "not known here: all"),
    (("serve", "--conformance"), "an option needs a value: --conformance"), (("serve", "--room=r"), "not known here: --room=r"),
    (("approve", "--bogus"), "not known here: --bogus"), (("approvals",), "an option needs a value: --room"),
    (("approvals", "--room", "r", "more"), "not known here: more"), (("passwd", "alice"), "not known here: alice"),
    (("passwd", "--user="), "an option needs a value: --user="), (("consent", "--bogus"), "not known here: --bogus"),
    # Never the whole room because the question's name was forgotten.
    (("consent", "--room=r", "--party=p", "--key=k", "withdraw", "--question"), "an option needs a value: --question"),
    (("consent", "--room=r", "--party=p", "--key=k", "withdraw", "--dataset="), "an option needs a value: --dataset=")])
def test_usage_errors_say_which_word_and_what_is_wanted(args, words):
    done = run_binary(*args)
    assert (done.returncode, done.stdout) == (2, "")
    said = done.stderr.splitlines()
    assert said[0] == "pgveil %s: %s" % (args[0], words) and said[1].startswith("usage: pgveil %s " % args[0])


def test_config_option_before_or_after_the_command(veil):
    path = veil.path("pgveil.json")
    assert run_binary("-c", path, "check").returncode == 0
    assert run_binary("check", "-c", path).returncode == 0
    assert run_binary("check", cwd=veil.folder).returncode == 0


@pytest.mark.parametrize("args", [(), ("--user", "zoe")])
def test_passwd_prints_a_verifier(args):
    done = run_binary("passwd", *args, stdin="correct horse\n")
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(\S+)\n", done.stdout)
    assert found
    iterations, salt = int(found.group(1)), base64.b64decode(found.group(2))
    assert iterations >= 4096 and len(salt) >= 16
    assert done.stdout.strip() == w.verifier("correct horse", salt, iterations)
    assert run_binary("passwd", *args, stdin="correct horse\n").stdout != done.stdout, "a salt was used twice"


def test_passwd_wants_a_password():
    assert run_binary("passwd", stdin="").returncode == 2
    assert run_binary("passwd", stdin="\n").returncode == 2


# --- check

FAULT = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): (?P<message>.+)$", re.M)


def check(veil):
    done = veil.run("check")
    return done.returncode, [m.groupdict() for m in FAULT.finditer(done.stdout + done.stderr)]


def test_check_of_a_good_config(veil):
    assert check(veil) == (0, [])


def change_config(**more):
    def apply(veil):
        veil.config.update(more)
        veil.write_config()
    return apply


def change_room(change):
    def apply(veil):
        room = data.small_room(veil.room)
        change(room)
        veil.write_room(room)
    return apply


def cells(room):
    return room["datasets"]["public.cells"]


def first(room):
    return room["questions"]["first"]


BROKEN = {
    "unknown key": (change_config(listn=[]), "listn"),
    "bad listen": (change_config(listen=["127.0.0.1"]), "HOST:PORT"),
    "bad port": (change_config(listen=["127.0.0.1:70000"]), "70000"),
    "no upstream": (change_config(upstreams={}), "main"),
    "secret in the config": (change_config(upstreams={"main": {"host": "h", "dbname": "d", "user": "u", "password": "p"}}), "password"),
    "bad size": (change_config(limits={"query_bytes": "1MB"}), "1MB"),
    "bad time": (change_config(limits={"login_timeout": "soon"}), "soon"),
    "negative": (change_config(workers=-1), "workers"),
    "bad durability": (change_config(audit={"durability": "sometimes"}), "sometimes"),
    "unknown room key": (change_room(lambda r: r.update(extra=1)), "extra"),
    "unknown upstream": (change_room(lambda r: r.update(upstream="none")), "none"),
    "unknown party": (change_room(lambda r: r["members"]["alice"].update(party="zeta")), "zeta"),
    "unknown owner": (change_room(lambda r: cells(r).update(owner="zeta")), "zeta"),
    "bad mask": (change_room(lambda r: cells(r)["columns"]["h_text"].update(mask="scramble")), "scramble"),
    "bad category": (change_room(lambda r: cells(r)["columns"]["id"].update(category=4)), "category"),
    "question does not parse": (change_room(lambda r: first(r).update(sql="SELECT FROM WHERE")), "WHERE"),
    "question reads outside": (change_room(lambda r: first(r).update(sql="SELECT staff_id FROM crm.staff WHERE staff_id = :n")), "crm.staff"),
    "question reads hidden": (change_room(lambda r: first(r).update(sql="SELECT omitted FROM public.cells WHERE id = :n")), "omitted"),
    "question writes": (change_room(lambda r: first(r).update(sql="DELETE FROM public.cells WHERE id = :n")), "first"),
    "undeclared parameter": (change_room(lambda r: first(r).update(sql="SELECT id FROM public.cells WHERE id = :m AND id = :n")), "m"),
    "unused parameter": (change_room(lambda r: first(r)["parameters"].update(spare={"type": "text"})), "spare"),
    "bad parameter type": (change_room(lambda r: first(r)["parameters"]["n"].update(type="nonsense")), "nonsense"),
    "bad row filter": (change_room(lambda r: cells(r).update(row_filter="id = (SELECT 1)")), "filter"),
    "analytical rows": (change_room(lambda r: first(r).update(type="analytical")), "first"),
    "bad function": (change_room(lambda r: first(r).update(sql="SELECT pg_read_file('x') FROM public.cells WHERE id = :n")), "pg_read_file"),
    "bad expiry": (change_room(lambda r: r.update(expires="tomorrow")), "expires"),
    "bad member rule": (change_room(lambda r: first(r).update(members=["group:x"])), "group"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_check_finds(own_veil, name):
    change, needle = BROKEN[name]
    veil = own_veil()
    change(veil)
    status, faults = check(veil)
    assert status == 1 and faults
    assert any(needle in fault["message"] for fault in faults), faults
    assert all(int(f["line"]) >= 1 and int(f["column"]) >= 1 and f["file"].endswith(".json") for f in faults)


def test_check_prints_every_fault_with_its_place(own_veil):
    veil = own_veil()
    room = json.dumps({**data.small_room(veil.room), "extra": 1, "another": 2}, indent=1)
    with open(veil.path("rooms", veil.room + ".json"), "w") as out:
        out.write(room)
    change_config(listn=[], statee="x")(veil)
    status, faults = check(veil)
    assert status == 1
    lines = {key: room[:room.index('"%s"' % key)].count("\n") + 1 for key in ("extra", "another")}
    for key, line in lines.items():
        assert any(key in f["message"] and int(f["line"]) == line and f["file"].endswith(veil.room + ".json") for f in faults), faults
    for key in ("listn", "statee"):
        assert any(key in f["message"] and f["file"].endswith("pgveil.json") for f in faults), faults


@pytest.mark.parametrize("text", ["{", '{"a": 1, "a": 2}', "[1, 2", '{"room": "x",}', "\xff", ""])
def test_check_of_what_is_no_json(own_veil, text):
    veil = own_veil()
    with open(veil.path("rooms", "broken.json"), "w", encoding="latin-1") as out:
        out.write(text)
    status, faults = check(veil)
    assert status == 1 and any(f["file"].endswith("broken.json") for f in faults)


def test_a_secret_that_others_can_read_is_a_fault(own_veil):
    veil = own_veil()
    os.chmod(veil.path("secret", "main"), 0o644)
    done = veil.run("check")
    assert done.returncode == 1 and "main" in done.stdout + done.stderr


def test_check_needs_no_network(own_veil):
    veil = own_veil(config={"upstreams": {"main": {"host": "127.0.0.1", "port": 1, "dbname": "d", "user": "u", "sslmode": "disable"}}})
    assert veil.run("check").returncode == 0


# --- explain

def test_explain_allowed(veil):
    status, said = veil.explain("SELECT grp, n FROM questions.by_group(low => 5)", "retail_media", "alice")
    assert status == 0 and said["decision"] == "allowed"
    assert set(said) >= {"decision", "question", "sqlstate", "reason", "hint", "forwarded", "datasets", "columns"}
    assert said["question"] == "by_group" and said["datasets"] == ["public.cells"]
    assert set(said["columns"]) == {"public.cells.grp", "public.cells.b_int", "public.cells.id"}
    assert said["forwarded"] and "zoo" not in said["forwarded"]


def test_explain_denied(veil):
    status, said = veil.explain("SELECT region FROM public.customers", "retail_media", "alice")
    assert status == 1 and said["decision"] == "denied" and said["sqlstate"] == "42501"
    assert said["forwarded"] is None and said["reason"] and said["question"] is None


@pytest.mark.parametrize("sql, sqlstate", [("SELECT * FROM crm.staff", "42P01"), ("SELECT phone FROM customers", "42703"),
                                           ("SELEC", "42601"), ("DELETE FROM customers", "42501")])
def test_explain_codes(veil, sql, sqlstate):
    status, said = veil.explain(sql, "retail_media", "alice")
    assert status == 1 and said["sqlstate"] == sqlstate


def test_explain_takes_an_argument_and_speaks_to_people(veil):
    done = veil.run("explain", "--room", "retail_media", "--user", "alice", "SELECT 1")
    assert done.returncode == 0 and "allowed" in done.stdout
    assert veil.run("explain", "--room", "none", "--user", "alice", "SELECT 1").returncode in (1, 2)
    assert veil.run("explain", "--room", "retail_media", "--user", "mallory", "SELECT 1").returncode in (1, 2)


def test_explain_judges_what_a_driver_prepares(veil):
    status, said = veil.explain("SELECT grp, n FROM questions.by_group(low => $1)", "retail_media", "alice")
    assert status == 0 and said["question"] == "by_group" and "$1" in said["forwarded"]
    status, said = veil.explain("SELECT region FROM customers WHERE income = $1", "retail_media", "alice")
    assert status == 1 and said["sqlstate"] == "42501"


def test_explain_ends_its_options_where_it_is_told_to(veil):
    who = ("--room", "retail_media", "--user", "alice")
    assert veil.run("explain", *who, "--", "--a comment\nSELECT 1").returncode == 0
    assert veil.run("explain", *who, "--a comment\nSELECT 1").returncode == 2
    assert veil.run("explain", *who, "--", "SELECT 1", "SELECT 2").returncode == 2


def test_explain_needs_no_database(own_veil):
    veil = own_veil(config={"upstreams": {"main": {"host": "127.0.0.1", "port": 1, "dbname": "d", "user": "u", "sslmode": "disable"}}})
    assert veil.explain("SELECT id, grp FROM cells WHERE id <= 3 ORDER BY id", veil.room, "alice")[0] == 0


def test_explain_and_the_proxy_agree(veil, conn):
    for sql in ("SELECT 1", "SELECT region FROM customers", "SELECT * FROM questions.by_group", "SELECT * FROM nowhere",
                "SELECT id, ref, h_text FROM others ORDER BY id", "SELECT upper(label) FROM others", "SHOW TimeZone", "BEGIN; COMMIT"):
        status, said = veil.explain(sql, "retail_media", "alice")
        try:
            conn.execute(sql)
            got = None
        except psycopg.Error as error:
            got = error.diag.sqlstate
        assert (status == 0) == (got is None), sql
        assert got is None or got == said["sqlstate"]


# --- serve: reload, drain, second start

@pytest.fixture
def running(own_veil):
    veil = own_veil()
    veil.provision()
    veil.start()
    yield veil
    if veil.process is not None:
        assert veil.stop() == 0
    veil.provision("--drop")


def error_of(conn, sql, params=None):
    try:
        conn.execute(sql, params)
    except psycopg.Error as error:
        return error.diag.sqlstate
    return None


def test_reload_takes_new_questions_and_users(running):
    with running.connect("alice", running.room) as conn:
        assert error_of(conn, "SELECT label FROM others ORDER BY label") == "42501"
        room = data.small_room(running.room)
        room["questions"]["more"] = {"type": "list", "sql": "SELECT label FROM public.others ORDER BY label"}
        room["members"]["mallory"] = {"party": "acme"}
        running.write_room(room)
        running.hup()
        eventually(lambda: error_of(conn, "SELECT label FROM others ORDER BY label") is None, 2)
    with running.connect("mallory", running.room) as conn:
        assert error_of(conn, "SELECT 1") is None


def test_reload_holds_for_prepared_statements(running):
    conn = running.wire("alice", running.room)
    assert w.tags(conn.ask(w.parse("SELECT id, label FROM others ORDER BY id", "s"), w.bind([], "s"), w.execute("", 1), w.SYNC)) == "12DsZ"
    room = data.small_room(running.room)
    del room["questions"]["labels"]
    running.write_room(room)
    running.hup()
    eventually(lambda: w.errors(conn.ask(w.bind([], "s"), w.execute("", 1), w.SYNC)) == ["42501"])
    conn.sock.close()


def test_a_faulty_reload_changes_nothing_and_is_said(running):
    with running.connect("alice", running.room) as conn:
        mark = len(running.stderr())
        room = data.small_room(running.room)
        room["questions"]["more"] = {"type": "list", "sql": "SELECT label FROM public.others ORDER BY label"}
        room["questions"]["broken"] = {"type": "list", "sql": "SELECT FROM WHERE"}
        running.write_room(room)
        running.hup()
        running.wait_stderr("broken", mark)
        assert error_of(conn, "SELECT label FROM others ORDER BY label") == "42501"
        assert error_of(conn, "SELECT id, label FROM others ORDER BY id") is None
    running.write_room(data.small_room(running.room))


def test_a_reload_that_names_another_state_leaves_that_file_alone(running):
    """What stands there may be the state of another installation."""
    other = running.path("state", "other.db")
    with sqlite3.connect(running.path("state", "pgveil.db")) as own, sqlite3.connect(other) as state:
        own.backup(state)
        state.execute("DELETE FROM granted_column")
    mine = dict(running.config)
    mark = len(running.stderr())
    try:
        running.config["state"] = "state/other.db"
        running.write_config()
        running.hup()
        running.wait_stderr("is in force", mark)
    finally:
        running.config = mine
        running.write_config()
    assert 'setting "state" has changed' in running.stderr()[mark:]
    assert "show an older policy" not in running.stderr()[mark:]
    with sqlite3.connect(other) as state:
        assert state.execute("SELECT count(*) FROM granted_column").fetchone() == (0,)


def test_a_member_removed_by_reload(running):
    with running.connect("alice", running.room) as conn:
        room = data.small_room(running.room)
        del room["members"]["alice"]
        running.write_room(room)
        running.hup()

        def shut_out():
            try:
                conn.execute("SELECT * FROM questions.labels")
            except psycopg.Error:
                return True
            return False
        eventually(shut_out)
    with pytest.raises(psycopg.OperationalError):
        running.connect("alice", running.room)


def test_sigterm_sends_idle_clients_away_and_exits_0(running):
    conn = running.wire("alice", running.room)
    running.terminate()
    message = conn.take()
    assert (message.tag, message.fields["V"], message.fields["C"]) == ("E", "FATAL", "57P01")
    assert conn.at_end()
    assert running.wait() == 0


def test_sigterm_lets_a_transaction_end(running):
    conn = running.wire("alice", running.room)
    conn.ask(w.query("BEGIN"))
    running.terminate()

    def is_closed_to_others():
        try:
            w.Wire("127.0.0.1", running.port).sock.close()
        except OSError:
            return True
        return False
    eventually(is_closed_to_others)
    assert running.process.poll() is None
    assert w.tags(conn.ask(w.query("SELECT * FROM questions.first(n => 1)"))) == "TDCZ"
    conn.send(w.query("COMMIT"))
    got = conn.until("E")
    assert w.tags(got) == "CZE" and got[-1].fields["C"] == "57P01"
    assert running.wait() == 0


def test_drain_timeout(own_veil):
    veil = own_veil(config={"limits": {"drain_timeout": "1s"}})
    veil.provision()
    veil.start()
    conn = veil.wire("alice", veil.room)
    conn.ask(w.query("BEGIN"))
    began = time.monotonic()
    veil.terminate()
    assert veil.wait() == 0
    assert 0.8 < time.monotonic() - began < 25, "it waited as long as it does without a setting"
    conn.sock.close()
    veil.provision("--drop")


def test_sigint_is_like_sigterm(running):
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0


def test_second_serve_on_the_same_state_exits_2(running):
    pid = running.process.pid
    done = subprocess.run(["timeout", "120", running.process.args[3], "serve", "-c", running.path("pgveil.json")],
                          capture_output=True, text=True)
    assert done.returncode == 2 and str(pid) in done.stderr
    with running.connect("alice", running.room) as conn:
        assert error_of(conn, "SELECT 1") is None


def test_serve_refuses_a_faulty_config(own_veil):
    veil = own_veil()
    change_config(listn=[])(veil)
    done = veil.run("serve", timeout=120)
    assert done.returncode in (1, 2) and "listn" in done.stderr + done.stdout


def test_port_taken(running, own_veil):
    veil = own_veil(rooms=[data.small_room(running.room)], config={"listen": ["127.0.0.1:%d" % running.port]})
    done = veil.run("serve", timeout=120)
    assert done.returncode == 2 and str(running.port) in done.stderr


def test_too_many_clients(own_veil):
    veil = own_veil(config={"limits": {"clients": 2}})
    veil.provision()
    veil.start()
    one, two = veil.connect("alice", veil.room), veil.connect("alice", veil.room)
    with pytest.raises(psycopg.OperationalError):
        veil.connect("alice", veil.room)
    third = w.Wire("127.0.0.1", veil.port)
    third.send(w.startup_packet([("user", "alice"), ("database", veil.room)]))
    message = third.take()
    assert message.tag == "E" and message.fields["C"] == "53300"
    third.sock.close()
    one.close()
    eventually(lambda: connects(veil))
    two.close()
    assert veil.stop() == 0
    veil.provision("--drop")


def connects(veil):
    try:
        veil.connect("alice", veil.room).close()
        return True
    except psycopg.OperationalError:
        return False


def test_login_timeout(own_veil):
    veil = own_veil(config={"limits": {"login_timeout": "1s"}})
    veil.provision()
    veil.start()
    began = time.monotonic()
    conn = w.Wire("127.0.0.1", veil.port)
    with pytest.raises(w.Closed):
        while True:
            conn.take()
    assert 0.5 < time.monotonic() - began < 14, "it waited as long as it does without a setting"
    conn.sock.close()
    assert veil.stop() == 0
    veil.provision("--drop")


def test_query_bytes(own_veil):
    veil = own_veil(config={"limits": {"query_bytes": "1KiB"}})
    veil.provision()
    veil.start()
    with veil.connect("alice", veil.room) as conn:
        assert error_of(conn, "SELECT '%s'" % ("x" * 900)) is None
        assert error_of(conn, "SELECT '%s'" % ("x" * 1100)) == "54000"
        assert error_of(conn, "SELECT 1") is None
    assert veil.stop() == 0
    veil.provision("--drop")


def test_database_away_and_back(own_veil, cluster):
    from tests.lib.cluster import Cluster
    own = Cluster()
    data.load(own)
    from tests.integration.conftest import make_veil
    veils = {mode: make_veil(own, [data.small_room("away_" + mode)], config={"pool": {"mode": mode}})
             for mode in ("session", "transaction")}
    conns = {}
    try:
        for mode, veil in veils.items():
            veil.room = "away_" + mode
            veil.provision()
            veil.start()
            conns[mode] = veil.connect("alice", veil.room)
            assert error_of(conns[mode], "SELECT * FROM questions.labels") is None
        own.halt()
        for mode, veil in veils.items():
            with pytest.raises(psycopg.Error) as caught:
                conns[mode].execute("SELECT * FROM questions.labels")
            # Who shares connections has lost none, and may ask again.
            assert conns[mode].closed == (mode == "session")
            assert mode == "session" or caught.value.diag.sqlstate == "08006"
            assert veil.process.poll() is None
            conn = w.Wire("127.0.0.1", veil.port)
            conn.send(w.startup_packet([("user", "alice"), ("database", veil.room)]))
            try:
                conn.authenticate("alice pässword")
                got = conn.until("ZE")
                if got[-1].tag == "Z":
                    got = conn.ask(w.query("SELECT * FROM questions.labels"))
                assert w.errors(got) == ["08006"]
            except PermissionError as refused:
                assert refused.args[0]["C"] == "08006"
            conn.sock.close()
        own.start()
        for mode, veil in veils.items():
            eventually(lambda: labels(veil, veil.room))
        assert len(conns["transaction"].execute("SELECT * FROM questions.labels").fetchall()) > 0
        for conn in conns.values():
            conn.close()
        for veil in veils.values():
            assert veil.stop() == 0
    finally:
        for veil in veils.values():
            veil.close()
        own.stop()


def labels(veil, room):
    try:
        with veil.connect("alice", room) as conn:
            return len(conn.execute("SELECT * FROM questions.labels").fetchall()) == 60
    except psycopg.Error:
        return False


def test_unix_socket(own_veil, tmp_path):
    veil = own_veil()
    veil.config["listen"].append(str(tmp_path))
    veil.write_config()
    veil.provision()
    veil.start()
    sockets = [name for name in os.listdir(tmp_path) if re.fullmatch(r"\.s\.PGSQL\.\d+", name)]
    assert len(sockets) == 1
    with psycopg.connect(host=str(tmp_path), port=int(sockets[0].rsplit(".", 1)[1]), user="alice", dbname=veil.room,
                         password=veil.users["alice"]["password"]) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert veil.stop() == 0
    veil.provision("--drop")


def test_users_file_of_others_is_still_private(own_veil):
    veil = own_veil()
    write_private(veil.path("users.json"), json.dumps({"alice": {"scram": "not a verifier"}}))
    status, faults = check(veil)
    assert status == 1 and any("scram" in f["message"].lower() or "verifier" in f["message"] for f in faults)
