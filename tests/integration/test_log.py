"""INTERFACE 5, the query log: one row a statement, before it runs, with what it touched; the chain; kill -9."""
import csv
import io
import json
import os
import re
import sqlite3
import stat
import threading

import psycopg
import pytest

from tests.integration.conftest import ROOM, statements_of_rooms
from tests.integration.test_operations import eventually
from tests.lib import data, wire as w
from tests.lib.pgveil import run_binary

COLUMNS = ["seq", "at", "session", "room", "user", "party", "client", "application", "protocol", "question", "question_type",
           "decision", "reason", "query", "parameters", "forwarded", "datasets", "columns", "rows", "suppressed", "bytes",
           "duration_us", "outcome", "sqlstate"]
OVERLAP = ("SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i "
           "USING (customer_id) WHERE i.seen_on >= %s GROUP BY c.region")


def newest(veil, query):
    return veil.last_log("query = ?", (query,))


def test_columns_of_the_view(veil, conn):
    conn.execute("SELECT 1")
    assert list(veil.log_rows(order="seq DESC LIMIT 1")[0])[:len(COLUMNS)] == COLUMNS


def test_the_file_is_private(veil, conn):
    assert stat.S_IMODE(os.stat(veil.path("state", "pgveil.db")).st_mode) == 0o600


def test_an_allowed_question(veil, connect):
    conn = connect(application_name="log test")
    sql = "/* kept verbatim */ " + OVERLAP % "'2024-06-01'"
    rows = conn.execute(sql).fetchall()
    row = newest(veil, sql)
    assert row["room"] == ROOM and row["user"] == "alice" and row["party"] == "acme"
    assert row["application"] == "log test" and row["protocol"] == "simple" and row["client"].startswith("127.0.0.1")
    assert (row["question"], row["question_type"], row["decision"]) == ("overlap_by_region", "analytical", "allowed")
    assert (row["rows"], row["suppressed"], row["outcome"], row["sqlstate"]) == (len(rows), "some", "completed", row["sqlstate"])
    assert row["sqlstate"] in (None, "00000")
    assert json.loads(row["datasets"]) == ["ads.impressions", "public.customers"] or set(json.loads(row["datasets"])) == {
        "ads.impressions", "public.customers"}
    assert set(json.loads(row["columns"])) >= {"public.customers.region", "public.customers.customer_id", "ads.impressions.seen_on",
                                               "ads.impressions.customer_id"}
    assert row["forwarded"] and "crm" not in row["forwarded"] and "kept verbatim" not in row["forwarded"]
    assert row["bytes"] > 0 and row["duration_us"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row["at"])


def test_bytes_are_those_of_the_result(veil, wire):
    conn = wire()
    sql = "SELECT id, ref, h_text FROM public.others ORDER BY id -- bytes"
    got = conn.ask(w.query(sql))
    assert newest(veil, sql)["bytes"] == sum(len(m.body) + 5 for m in got if m.tag in "TDC")


def test_the_threshold_column(veil, conn):
    conn.execute(OVERLAP % "'2024-06-01'" + " -- a")
    conn.execute("SELECT id, ref, h_text FROM public.others ORDER BY id -- b")
    conn.execute("SELECT * FROM questions.sales_by_campaign(channel => 'video') -- c")
    found = {sql[-1]: veil.last_log("query LIKE ?", ("%-- " + sql[-1],))["suppressed"] for sql in ("a", "b", "c")}
    assert found == {"a": "some", "b": None, "c": "none"}


def test_extended_protocol_with_parameters(veil, conn):
    sql = OVERLAP % "%s" + " -- ext"
    conn.execute(sql, ("2024-07-01",))
    row = veil.last_log("query LIKE ? AND protocol = 'extended' AND rows IS NOT NULL", ("%-- ext",))
    assert row["query"] == OVERLAP % "$1" + " -- ext"
    assert json.loads(row["parameters"]) == ["2024-07-01"]
    assert row["question"] == "overlap_by_region" and row["outcome"] == "completed"


def test_one_row_for_each_execute(veil, wire):
    conn = wire()
    sql = "SELECT id FROM public.cells WHERE id <= $1 ORDER BY id -- each"
    conn.ask(w.parse(sql, "s"), w.bind([1], "s"), w.execute(), w.bind([2], "s"), w.execute(), w.SYNC)
    conn.ask(w.bind([3], "s"), w.execute(), w.SYNC)
    veil.last_log("query = ?", (sql,))
    rows = veil.log_rows("query = ?", (sql,))
    assert [(json.loads(r["parameters"]), r["rows"]) for r in rows] == [(["1"], 1), (["2"], 2), (["3"], 3)] or \
        [(json.loads(r["parameters"]), r["rows"]) for r in rows] == [([1], 1), ([2], 2), ([3], 3)]


def test_a_statement_described_and_not_executed(veil, wire):
    conn = wire()
    sql = "SELECT id, ref, h_text FROM public.others ORDER BY id -- described only"
    assert w.tags(conn.ask(w.parse(sql), w.describe("S"), w.SYNC)) == "1tTZ"
    assert newest(veil, sql)["decision"] == "allowed"


def test_a_row_for_each_statement_of_a_query(veil, wire):
    conn = wire()
    conn.ask(w.query("SELECT 811; SELECT 812 ;  SELECT 813"))
    veil.last_log("query LIKE 'SELECT 813%'")
    assert [r["query"].strip() for r in veil.log_rows("query LIKE 'SELECT 81_%'")] == ["SELECT 811", "SELECT 812", "SELECT 813"]


def test_a_denied_statement(veil, conn):
    sql = "SELECT region FROM public.customers -- denied"
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    row = newest(veil, sql)
    assert (row["decision"], row["outcome"], row["sqlstate"], row["rows"]) == ("denied", "failed", "42501", 0)
    assert row["reason"] and row["forwarded"] is None and row["question"] is None
    assert caught.value.diag.message_detail in row["reason"] or row["reason"] in caught.value.diag.message_detail


def test_a_denied_parse(veil, wire):
    sql = "SELECT region FROM public.customers WHERE region = $1 -- denied parse"
    wire().ask(w.parse(sql), w.bind(["x"]), w.execute(), w.SYNC)
    row = newest(veil, sql)
    assert (row["decision"], row["protocol"], row["sqlstate"]) == ("denied", "extended", "42501")


def test_a_parameter_out_of_bounds(veil, conn):
    sql = "SELECT * FROM questions.by_group(low => 0) -- bounds"
    with pytest.raises(psycopg.Error):
        conn.execute(sql)
    row = newest(veil, sql)
    assert (row["decision"], row["sqlstate"], row["outcome"]) == ("denied", "22023", "failed")


def test_transaction_commands_and_settings_too(veil, conn):
    for sql in ("BEGIN /* t */", "SHOW TimeZone /* t */", "SET TimeZone TO 'UTC' /* t */", "COMMIT /* t */"):
        conn.execute(sql)
        row = newest(veil, sql)
        assert (row["decision"], row["outcome"]) == ("allowed", "completed"), sql


def test_a_statement_that_does_not_parse(veil, conn):
    with pytest.raises(psycopg.Error):
        conn.execute("SELEC broken 4711")
    row = newest(veil, "SELEC broken 4711")
    assert (row["decision"], row["sqlstate"]) == ("denied", "42601")


def test_text_that_cannot_be_read(veil, wire):
    wire().ask(w.frame("Q", b"SELECT '\xff unreadable'\0"))
    row = veil.last_log("sqlstate = '22021'")
    assert row["query"] is None and row["reason"] and row["decision"] == "denied"


def test_a_database_error_is_general_for_the_client_and_whole_in_the_log(veil, conn):
    sql = "SELECT * FROM questions.fails(n => 50)"
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    assert caught.value.diag.sqlstate == "22012"
    assert "division" not in caught.value.diag.message_primary
    row = newest(veil, sql)
    assert (row["decision"], row["outcome"], row["sqlstate"]) == ("allowed", "failed", "22012")
    assert "division by zero" in repr(row)


def test_cancelled(veil, conn):
    sql = "SELECT * FROM questions.hasty(n => 77)"
    with pytest.raises(psycopg.Error):
        conn.execute(sql)
    row = newest(veil, sql)
    assert row["sqlstate"] == "57014" and row["outcome"] in ("cancelled", "failed")


def test_no_secret_in_the_log(veil, conn):
    try:
        conn.execute("ALTER ROLE postgres PASSWORD 'hunter2hunter2'")
    except psycopg.Error:
        pass
    with open(veil.path("state", "pgveil.db"), "rb") as state:
        content = state.read()
    for user in veil.users.values():
        if len(user["password"]) > 8:
            assert user["password"].encode() not in content
    assert data.UPSTREAM_PASSWORD.encode() not in content
    assert data.UPSTREAM_PASSWORD not in veil.stderr() and "hunter2hunter2" not in veil.stderr()


# --- the command

def test_audit_list(veil, conn):
    conn.execute("SELECT 60601")
    done = veil.run("audit", "list", "--limit", "1", "--room", ROOM, "--user", "alice", "--decision", "allowed", "--json")
    assert done.returncode == 0, done.stderr
    text = done.stdout.strip()
    found = json.loads(text)
    row = found[0] if isinstance(found, list) else found
    assert row["query"] == "SELECT 60601" and row["decision"] == "allowed"
    assert "SELECT 60601" in veil.run("audit", "list", "--limit", "3").stdout
    assert veil.run("audit", "list", "--decision", "perhaps").returncode == 2


def test_audit_show(veil, conn):
    conn.execute("SELECT 60602")
    row = newest(veil, "SELECT 60602")
    done = veil.run("audit", "show", str(row["seq"]))
    assert done.returncode == 0 and "SELECT 60602" in done.stdout
    assert veil.run("audit", "show", "999999999").returncode != 0


def test_audit_query_reads_only(veil, conn):
    conn.execute("SELECT 60603")
    newest(veil, "SELECT 60603")
    done = veil.run("audit", "query", "SELECT count(*) AS n FROM query_log WHERE query = 'SELECT 60603'")
    assert done.returncode == 0 and re.search(r"\b1\b", done.stdout)
    for sql in ("DELETE FROM query_log", "DROP VIEW query_log", "UPDATE query_log SET user = 'x'",
                "ATTACH 'x.db' AS x", "PRAGMA journal_mode = DELETE", "CREATE TABLE t (a)"):
        assert veil.run("audit", "query", sql).returncode != 0, sql


def test_audit_verify_of_the_living_log(veil, conn):
    done = veil.run("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_audit_export(veil, conn):
    conn.execute("SELECT 60604, 'a,\"b'")
    newest(veil, "SELECT 60604, 'a,\"b'")
    lines = veil.run("audit", "export", "--format", "jsonl").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert any(row.get("query") == "SELECT 60604, 'a,\"b'" for row in rows)
    csv.field_size_limit(64 << 20)  # of Python's; other tests asked long ones
    rows = list(csv.DictReader(io.StringIO(veil.run("audit", "export", "--format", "csv").stdout)))
    assert any(row["query"] == "SELECT 60604, 'a,\"b'" for row in rows)


def test_an_export_of_records_is_verified_without_the_log(veil, conn, tmp_path):
    conn.execute("SELECT 60605, 'é\u2028'")
    newest(veil, "SELECT 60605, 'é\u2028'")
    done = veil.run("audit", "export", "--format", "records")
    assert done.returncode == 0, done.stderr
    (tmp_path / "log.jsonl").write_text(done.stdout)
    key = tmp_path / "key.pub"
    with open(veil.path("state", "pgveil.db.pub")) as source:
        key.write_text(source.read())

    def verify(*more):
        return run_binary("audit", "verify", "--export", str(tmp_path / "log.jsonl"), "--key", str(key), *more, cwd=str(tmp_path))

    assert verify().returncode == 0 and "signed up to record" in verify().stdout, verify()
    (tmp_path / "log.jsonl").write_text(done.stdout.replace("SELECT 60605", "SELECT 60606"))
    assert verify().returncode == 1 and "changed: record" in verify().stdout
    rows = veil.run("audit", "export", "--format", "jsonl").stdout
    (tmp_path / "log.jsonl").write_text(rows)
    assert verify().returncode == 2 and "--format records" in verify().stderr
    assert veil.run("audit", "verify", "--key", str(key)).returncode == 2


def test_literals_are_masked_for_auditors_and_on_request(own_veil):
    veil = own_veil(config={"audit": {"literals": "masked"}})
    path = veil.path("rooms", veil.room + ".json")
    with open(path) as source:
        room = json.load(source)
    room["members"]["olga"] = {"party": next(iter(room["parties"])), "roles": ["auditor"]}
    veil.write_room(room)
    veil.provision()
    veil.start()
    with veil.connect("alice", veil.room) as conn:
        conn.execute("SELECT 'jane.doe', 4711")
        conn.execute("SELECT * FROM questions.first(n => %s) -- jane.doe", (3,))
        with pytest.raises(psycopg.Error):
            conn.execute("SELECT 'jane.doe")
    with veil.connect("olga", "pgveil") as auditor:
        rows = auditor.execute("SELECT * FROM query_log WHERE \"user\" = 'alice' ORDER BY seq").fetchall()
        assert len(rows) >= 3 and "jane.doe" not in repr(rows) and "4711" not in repr(rows)
        assert "SELECT '…', '…'" in [row[13] for row in rows]
        assert ["text", "integer"][1] in json.loads([row[14] for row in rows if row[14] not in (None, "[]")][0])
        for view in ("denials", "daily_usage", "top_members"):
            assert "jane.doe" not in repr(auditor.execute("SELECT * FROM " + view).fetchall())
        found = auditor.execute("SELECT count(*) FROM query_log WHERE query LIKE '%%jane%%' AND \"user\" = 'alice'").fetchone()
        assert found == (0,)
    for words in (["list", "--json"], ["show", "1"], ["query", "SELECT * FROM query_log"], ["export", "--format", "jsonl"],
                  ["export", "--format", "csv"]):
        done = veil.run("audit", *words, "--mask")
        assert done.returncode == 0 and "jane.doe" not in done.stdout, words
    assert "jane.doe" in veil.run("audit", "export", "--format", "jsonl").stdout
    assert veil.run("audit", "export", "--format", "records", "--mask").returncode == 2
    assert veil.stop() == 0
    veil.provision("--drop")


@pytest.fixture
def stopped(own_veil):
    """An installation with a few records, stopped."""
    veil = own_veil()
    veil.provision()
    veil.start()
    with veil.connect("alice", veil.room) as conn:
        for n in range(1, 9):
            conn.execute("SELECT * FROM questions.first(n => %d)" % n)
    assert veil.stop() == 0
    yield veil
    veil.provision("--drop")


def tables(state):
    return [name for name, in state.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")]


def chained(state):
    """Tables with a row for each of the eight questions or the ends of them: what tampering would touch."""
    found = []
    for name in tables(state):
        kinds = [row[1] for row in state.execute('PRAGMA table_info("%s")' % name)]
        if state.execute('SELECT count(*) FROM "%s"' % name).fetchone()[0] >= 8:
            found.append((name, kinds))
    return found


def tamper(veil, change):
    """Applies `change(state, table, columns)` to each table that holds records; triggers do not stop who owns the file."""
    path = veil.path("state", "pgveil.db")
    state = sqlite3.connect(path, isolation_level=None)
    for name, in state.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        state.execute('DROP TRIGGER "%s"' % name)
    hit = chained(state)
    assert hit
    for name, columns in hit:
        change(state, name, columns)
    state.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    state.close()


def test_verify_says_yes_to_an_untouched_log(stopped):
    assert stopped.run("audit", "verify").returncode == 0


def test_verify_finds_a_removed_record(stopped):
    tamper(stopped, lambda state, name, columns: state.execute(
        'DELETE FROM "%s" WHERE rowid = (SELECT rowid FROM "%s" ORDER BY rowid LIMIT 1 OFFSET 4)' % (name, name)))
    assert stopped.run("audit", "verify").returncode == 1


def test_verify_finds_changed_bytes(stopped):
    def change(state, name, columns):
        for column in columns:
            for kind, new in (("text", "replace(\"%s\", 'n => 4', 'n => 5')" % column),
                              ("blob", "CAST(replace(CAST(\"%s\" AS TEXT), 'n => 4', 'n => 5') AS BLOB)" % column)):
                state.execute('UPDATE "%s" SET "%s" = %s WHERE typeof("%s") = \'%s\' AND CAST("%s" AS TEXT) LIKE \'%%n => 4%%\''
                              % (name, column, new, column, kind, column))
    tamper(stopped, change)
    assert stopped.run("audit", "verify").returncode == 1


def test_verify_finds_a_cut_tail_against_a_head(stopped, tmp_path):
    head = stopped.run("audit", "head")
    assert head.returncode == 0 and head.stdout.strip()
    (tmp_path / "head").write_text(head.stdout)
    assert stopped.run("audit", "verify", "--head", str(tmp_path / "head")).returncode == 0
    tamper(stopped, lambda state, name, columns: state.execute(
        'DELETE FROM "%s" WHERE rowid > (SELECT max(rowid) FROM "%s") - 3' % (name, name)))
    assert stopped.run("audit", "verify", "--head", str(tmp_path / "head")).returncode == 1


def test_kill_9_leaves_a_log_that_opens_and_holds_what_ran(own_veil, cluster):
    veil = own_veil()
    veil.provision()
    veil.start()
    mark = cluster.log_size()
    conn = veil.wire("alice", veil.room)
    for n in range(1, 31):
        conn.ask(w.query("SELECT * FROM questions.first(n => %d)" % n))
    conn.send(w.query("SELECT * FROM questions.slow(n => 5)"))
    eventually(lambda: veil.log_rows("query LIKE '%questions.slow%'"))
    veil.kill()
    conn.sock.close()
    # Nobody is left to cancel what the server still computes.
    cluster.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE %s", ("%" + veil.room + "%",))
    assert veil.run("audit", "verify").returncode == 0
    veil.start()
    rows = veil.log_rows("query LIKE 'SELECT * FROM questions.first%'")
    assert [r["outcome"] for r in rows] == ["completed"] * 30
    assert veil.last_log("query LIKE '%questions.slow%'")["outcome"] == "lost"
    # Whatever reached the database stands in the log.
    reached = cluster.log(mark)
    assert "cells" in reached
    assert veil.run("audit", "verify").returncode == 0
    assert veil.stop() == 0
    veil.provision("--drop")


def test_strict_stands_in_the_file_itself(own_veil, cluster):
    """Whoever opens the state file with SQLite, and no command of ours, finds all that a strict log promises."""
    veil = own_veil(config={"audit": {"durability": "strict"}})
    veil.provision()
    veil.start()
    conn = veil.wire("alice", veil.room)
    for n in range(1, 41):
        sql = "SELECT * FROM questions.first(n => %d)" % n
        conn.ask(w.query(sql))
        assert [r["outcome"] for r in veil.log_rows("query = ?", (sql,))] == ["completed"], n
    slow = "SELECT * FROM questions.slow(n => 5)"
    conn.send(w.query(slow))
    eventually(lambda: cluster.rows("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%%cells%%' "
                                    "AND usename LIKE %s", ("%" + veil.room + "%",)))
    assert [r["outcome"] for r in veil.log_rows("query = ?", (slow,))] == [None], "it runs, so its record is on disk"
    veil.kill()
    conn.sock.close()
    cluster.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE %s", ("%" + veil.room + "%",))
    assert len(veil.log_rows("query LIKE 'SELECT * FROM questions.%'")) == 41
    veil.provision("--drop")


def test_strict_stands_in_the_file_of_many_sessions_that_wait_for_each_other(own_veil):
    """Likewise where sessions share a sync that waits for others, and after a reload that sets that wait."""
    veil = own_veil(config={"workers": 2, "audit": {"durability": "strict", "commit_delay": 100000, "commit_siblings": 1}})
    veil.provision()
    veil.start()

    def ask(session, missing):
        conn = veil.wire("alice", veil.room)
        for n in range(1, 21):
            sql = "SELECT * FROM questions.first(n => %d) /* %d */" % (n, session)
            conn.ask(w.query(sql))
            if [r["outcome"] for r in veil.log_rows("query = ?", (sql,))] != ["completed"]:
                missing.append(sql)
        conn.sock.close()

    def ask_all(sessions):
        missing = []
        threads = [threading.Thread(target=ask, args=(session, missing)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert missing == []

    ask_all(range(12))
    veil.config["audit"]["commit_delay"] = 0
    veil.write_config()
    veil.hup()
    veil.wait_stderr("reloaded")
    ask_all(range(12, 16))
    assert len(veil.log_rows("query LIKE 'SELECT * FROM questions.first%'")) == 16 * 20
    assert veil.run("audit", "verify").returncode == 0
    assert veil.stop() == 0
    veil.provision("--drop")


def test_no_record_no_query(own_veil, cluster):
    veil = own_veil()
    veil.provision()
    veil.start()
    conn = veil.wire("alice", veil.room)

    def reached(number, since):
        return [sql for sql in statements_of_rooms(cluster.log(since)) if "cells" in sql and "%d" % number in sql]
    # What reaches the database is seen there, and by its number told from what serve itself asks.
    mark = cluster.log_size()
    assert w.errors(conn.ask(w.query("SELECT * FROM questions.first(n => 976)"))) == []
    eventually(lambda: reached(976, mark))
    # Another writer holds the file: nothing can be recorded.
    state = sqlite3.connect(veil.path("state", "pgveil.db"), isolation_level=None, timeout=60)
    state.execute("BEGIN EXCLUSIVE")
    mark = cluster.log_size()
    conn.sock.settimeout(60)
    got = conn.ask(w.query("SELECT * FROM questions.first(n => 977)"))
    assert w.errors(got) == ["58030"]
    assert not reached(977, mark)
    state.execute("ROLLBACK")
    state.close()
    eventually(lambda: not w.errors(conn.ask(w.query("SELECT * FROM questions.first(n => 3)"))))
    conn.sock.close()
    assert veil.stop() == 0
    veil.provision("--drop")


def test_auditor_reads_the_log_with_sql(veil, connect, conn):
    conn.execute("SELECT 77701")
    newest(veil, "SELECT 77701")
    auditor = connect("olga", "pgveil")
    rows = auditor.execute("SELECT user, query, decision FROM query_log WHERE query = 'SELECT 77701'").fetchall()
    assert rows == [("alice", "SELECT 77701", "allowed")]
    assert auditor.execute("SELECT count(*) FROM query_log WHERE room <> %s", (ROOM,)).fetchone()[0] == 0
    with pytest.raises(psycopg.Error):
        connect("alice", "pgveil")


def test_usage_errors():
    assert run_binary("audit", "no-such", "-c", "/nonexistent").returncode == 2
    assert run_binary("audit", "list", "-c", "/nonexistent").returncode == 2


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("is_extended", [False, True])
def test_a_statement_after_a_reset_has_its_application(own_veil, mode, is_extended):
    veil = own_veil(config={"pool": {"mode": mode}})
    veil.provision()
    veil.start()
    said = []
    with veil.connect("alice", veil.room, application_name="äpp") as one:
        shown = one.info.parameter_status("application_name")
        for n, reset in enumerate(("RESET ALL", "DISCARD ALL", "RESET application_name", "SET application_name TO DEFAULT")):
            for sql in ("SET application_name = 'other'", "SELECT %d" % (100 + n), reset, "SELECT %d" % (200 + n)):
                if is_extended:
                    one.pgconn.exec_params(sql.encode(), [])
                else:
                    one.pgconn.exec_(sql.encode())
            said.append(one.info.parameter_status("application_name"))
    assert (shown, said) == ("??pp", ["??pp"] * 4)
    veil.last_log("query = 'SELECT 203'")
    rows = {row["query"]: row["application"] for row in veil.log_rows("query LIKE 'SELECT _0_'")}
    assert rows == {"SELECT %d" % (base + n): name for base, name in ((100, "other"), (200, "??pp")) for n in range(4)}
