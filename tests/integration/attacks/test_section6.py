"""
ATTACKS section 6, governance and the log, and T14, T15 of section 4: a real attack each, against a running
installation. The attackers are members, room authors, and an operator who may write the state file as he likes.
"""
import copy
import datetime
import json
import os
import random
import shutil
import sqlite3
import struct
import threading
import time

import psycopg
import pytest

from tests.integration.conftest import make_veil, statements_of_rooms
from tests.lib import data, wire as w
from tests.lib.certs import ed25519
from tests.lib.governance import FIRST, LABELS, approve, budget, consent, refusal, reload, spent, states, within
from tests.lib.pgveil import run_binary

K = 10


def state_of(veil):
    """The state file as its operator writes it: nothing in the file stops him."""
    state = sqlite3.connect(veil.path("state", "pgveil.db"), isolation_level=None, timeout=10)
    for name, in state.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        if "only ever" in state.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]:
            state.execute('DROP TRIGGER "%s"' % name)
    return state


def share_spent(diag, user):
    return spent(diag) and 'share of user "%s"' % user in diag.message_primary


def in_parallel(count, one):
    """one(i) in so many threads at once; what they give, in order. A failure of any is a failure."""
    results, start = [None] * count, threading.Barrier(count)

    def run(i):
        start.wait()
        try:
            results[i] = one(i)
        except Exception as error:  # noqa: BLE001 - it is raised below
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


# --- G1: the author leaves the safeguard out, or undoes it

RARE = "CASE WHEN c.id <= 3 THEN 'rare' ELSE c.grp END"
WEAKENED = {
    "left_out": "SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1",
    "having_one": "SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1 HAVING count(DISTINCT c.id) >= 1",
    "having_true": "SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1 HAVING count(*) > 99 OR true",
    "smallest_first": "SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1 ORDER BY 2 LIMIT 1",
    "in_a_derived_table": "SELECT x.g, x.n FROM (SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1) x",
    "in_a_with": "WITH x AS (SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1) SELECT x.g, x.n FROM x",
    "added_up": "SELECT x.g, sum(x.n) AS n FROM (SELECT %s AS g, c.b_int AS b, count(*) AS n FROM public.cells c GROUP BY 1, 2) x GROUP BY x.g",
    "fanned_out": "SELECT %s AS g, count(*) AS n FROM public.cells c CROSS JOIN public.others o GROUP BY 1",
}


@pytest.fixture(scope="module")
def weakened(cluster):
    room = data.small_room("weakened")
    room["questions"] = {
        name: {"type": "analytical", "sql": sql % RARE, "output": {"entity": "c.id", "minimum_entities": K}}
        for name, sql in WEAKENED.items()}
    veil = make_veil(cluster, [room])
    veil.provision()
    veil.start()
    yield veil
    status = veil.stop()
    veil.provision("--drop")
    veil.close()
    assert status == 0


@pytest.mark.parametrize("name", WEAKENED)
def test_G1_the_engine_puts_the_safeguard_in(weakened, cluster, name):
    bare = (WEAKENED[name] % RARE).replace("public.cells", "zoo.cells").replace("public.others", "zoo.others")
    leaked = dict(cluster.rows(bare))
    assert "rare" in leaked, "the attack shows nothing on the bare database"
    with weakened.connect("alice", "weakened") as conn:
        for sql in ("SELECT * FROM questions.%s" % name, WEAKENED[name] % RARE):
            rows = conn.execute(sql).fetchall()
            assert "rare" not in dict(rows), rows
            if name not in ("added_up", "smallest_first"):  # every inner group is small; the smallest is the rare one
                assert {g: n for g, n in leaked.items() if g != "rare"} == dict(rows)
        # Nor does what is asked of the result bring it back.
        for sql in ("SELECT g FROM questions.%s WHERE g = 'rare'", "SELECT * FROM questions.%s ORDER BY n LIMIT 1",
                    "SELECT min(n) FROM questions.%s HAVING min(n) <= 3"):
            assert all(row[0] != "rare" and row[0] != 3 for row in conn.execute(sql % name).fetchall())


# --- G2: parameters as a way to other SQL

INJECTIONS = ["' OR '1'='1", "'; DROP TABLE zoo.others; --", "\\' OR true --", "label 1' UNION SELECT 1, 'x", "$1", ":l", "--", "/*",
              "label", "public.others", "pg_catalog.pg_authid", "1); SELECT 1; --", "E'\\x27'", "U&'\\0027'", "$$x$$", "label 1"]

PARAMETERS = {
    "by_label": {"type": "list", "sql": "SELECT id, label FROM public.others WHERE label = :l ORDER BY id",
                 "parameters": {"l": {"type": "text", "max_length": 60}}},
    "column": {"type": "list", "sql": "SELECT id, :c AS c FROM public.others WHERE id < 3 ORDER BY :c, id",
               "parameters": {"c": {"type": "text", "max_length": 60}}},
    "minus": {"type": "list", "sql": "SELECT id, 10 -:n AS v FROM public.others WHERE id = 1", "parameters": {"n": {"type": "integer"}}},
    "quoted": {"type": "list", "sql": "SELECT id, ':l' AS a, $t$:l$t$ AS b, label AS \":l\" FROM public.others WHERE label = :l",
               "parameters": {"l": {"type": "text"}}},
    "among": {"type": "list", "sql": "SELECT id FROM public.others WHERE id = ANY (:ids) ORDER BY id",
              "parameters": {"ids": {"type": "integer[]", "max_items": 3, "minimum": 1, "maximum": 9}}},
}


@pytest.fixture(scope="module")
def asking(cluster):
    room = data.small_room("asking")
    room["questions"].update(copy.deepcopy(PARAMETERS))
    veil = make_veil(cluster, [room])
    veil.provision()
    veil.start()
    yield veil
    status = veil.stop()
    veil.provision("--drop")
    veil.close()
    assert status == 0


def literal(text):
    return psycopg.sql.Literal(text).as_string(None)


@pytest.mark.parametrize("value", INJECTIONS)
def test_G2_a_text_is_a_value_wherever_it_comes_from(asking, cluster, value):
    wanted = [(n, "label %d" % n) for n in range(60) if "label %d" % n == value]
    matched = "SELECT id, label FROM public.others WHERE label = %s ORDER BY id"
    named = "SELECT * FROM questions.by_label(l => %s)"
    with asking.connect("alice", "asking") as conn:
        for sql in (matched, named):
            assert conn.execute(sql % literal(value).strip().replace("%", "%%")).fetchall() == wanted
            for binary in (False, True):
                assert conn.execute(sql, [value], prepare=True, binary=binary).fetchall() == wanted
        conn.execute("PREPARE p(text) AS " + named % "$1")
        assert conn.execute("EXECUTE p(%s)" % literal(value).strip()).fetchall() == wanted
        # In the place of a column it is still a text, and orders nothing.
        assert conn.execute("SELECT * FROM questions.column(c => %s)", [value]).fetchall() == [(n, value) for n in range(3)]
        assert conn.execute("SELECT * FROM questions.quoted(l => %s)", ["label 7"]).fetchall() == [(7, ":l", ":l", "label 7")]
    assert cluster.rows("SELECT count(*) FROM zoo.others") == [(60,)]


def test_G2_a_sign_makes_no_comment(asking, cluster):
    mark = cluster.log_size()
    with asking.connect("alice", "asking") as conn:
        for n in (-1, -2147483600, 0, 5):
            for sql in ("SELECT * FROM questions.minus(n => %d)" % n, "SELECT id, 10 - %d AS v FROM public.others WHERE id = 1" % n):
                assert conn.execute(sql).fetchall() == [(1, 10 - n)]
            assert conn.execute("SELECT * FROM questions.minus(n => %s)", [n], prepare=True).fetchall() == [(1, 10 - n)]
    assert not [sql for sql in statements_of_rooms(cluster.log(mark)) if "--" in sql]


@pytest.mark.parametrize("argument", [
    "'pg_authid'::regclass", "(SELECT 1)", "id", "1 + 1", "length('abc')", "ARRAY[1]", "1.5", "'1 OR true'", "NULL", "1::bigint::text",
    "current_user", "$2", "ROW(1)", "n => 1", "'Infinity'", "9999999999"])
def test_G2_an_argument_is_a_constant_of_its_type(asking, guard, argument):
    with asking.connect("alice", "asking") as conn:
        for sql in ("SELECT * FROM questions.first(n => %s)", "SELECT id, grp FROM public.cells WHERE id <= %s ORDER BY id"):
            guard.denied.append(sql % argument)
            diag = refusal(conn, sql % argument)
            assert diag is not None and diag.sqlstate in ("42501", "22023", "42601", "42P02", "42883", "42703", "22P02", "22003"), (
                sql, diag and (diag.sqlstate, diag.message_primary))


@pytest.mark.parametrize("oid, value, fmt", [
    (25, b"1", 0), (2205, b"pg_authid", 0), (23, b"pg_authid", 0), (23, b"\0\0\0\0\0\0\0\1", 1), (23, b"\0", 1), (1700, b"1", 0),
    (0, b"1; DROP TABLE zoo.others", 0), (0, None, 0), (0, b"1001", 0), (0, struct.pack("!i", -1), 1), (2249, b"(1)", 0)])
def test_G2_types_that_the_client_declares(asking, oid, value, fmt):
    conn = asking.wire("alice", "asking")
    got = conn.ask(w.parse(FIRST.replace("3", "$1"), "", [oid] if oid else []), w.bind([value], formats=[fmt]), w.execute(), w.SYNC)
    if value == b"1" and not w.errors(got):
        assert w.rows(got) == [("1", "g1")], "whatever it was declared as, it is the question's integer"
    else:
        assert len(w.errors(got)) == 1 and w.rows(got) == [], got
        assert w.errors(got)[0] in ("42501", "22023", "22P02", "22P03", "42704", "42804", "22003"), got
    conn.sock.close()


def test_G2_arrays_hold_values_of_the_question_alone(asking):
    with asking.connect("alice", "asking") as conn:
        for ids in ("'{1,2,3,4}'", "'{0}'", "'{10}'", "'{{1},{2}}'", "'{NULL}'", "'{1,}'", "'[0:0]={10}'", "ARRAY[1, NULL]",
                    "ARRAY(SELECT 1)", "ARRAY[1] || ARRAY[2]"):
            diag = refusal(conn, "SELECT * FROM questions.among(ids => %s)" % ids)
            assert diag is not None and diag.sqlstate in ("22023", "42501", "22P02", "2202E"), (ids, diag and diag.sqlstate)
        assert conn.execute("SELECT * FROM questions.among(ids => '{3,1}')").fetchall() == [(1,), (3,)]


@pytest.mark.parametrize("sql", [
    "SELECT id FROM :t", "SELECT id FROM public.:t", "SELECT o.:c FROM public.others o", "SELECT id::(:t) FROM public.others",
    "SELECT CAST(id AS :t) FROM public.others", "SELECT :f(id) FROM public.others", "SELECT id FROM public.others ORDER BY id :d",
    "SELECT id AS :a FROM public.others", "SELECT id FROM public.others WHERE id :o 1", "SELECT id FROM public.others LIMIT 1 :x"])
def test_G2_no_question_takes_an_identifier(own_veil, sql):
    veil = own_veil()
    room = data.small_room(veil.room)
    name = sql[sql.index(":", sql.index("::") + 2 if "::" in sql else 0) + 1]
    room["questions"] = {"q": {"type": "list", "sql": sql, "parameters": {name: {"type": "text"}}}}
    veil.write_room(room)
    done = veil.run("check")
    assert done.returncode == 1 and 'question "q"' in done.stdout, done.stdout


# --- G3, G4: approvals that are changed under, copied, forged

def signed_twice(veil):
    """The party signs version 1, then a stricter version 2; the operator goes back to version 1."""
    approve(veil, "labels", "megamart")
    first = copy.deepcopy(veil.shape)
    veil.shape["questions"]["labels"]["output"] = {"max_rows": 5}
    veil.write_room(veil.shape)
    assert states(veil)[("labels", "megamart")]["state"] == "stale"
    approve(veil, "labels", "megamart")
    assert states(veil)[("labels", "megamart")]["state"] == "valid"
    veil.shape = first
    veil.write_room(first)


def needs(*parties, question="labels"):
    def change(room):
        room["questions"][question]["approvals"] = list(parties)

    return change


def test_G3_an_edit_and_its_undoing(governed):
    veil = governed(needs("megamart"))
    approve(veil, "labels", "megamart")
    conn = veil.connect("alice", veil.room)
    assert within(1, lambda: refusal(conn, LABELS, prepare=True) is None)
    conn.execute("PREPARE p AS " + LABELS)
    reload(veil, lambda room: room["questions"]["labels"].update(sql="SELECT id, label FROM public.others ORDER BY id DESC"))
    for sql, more in ((LABELS, {"prepare": True}), ("EXECUTE p", {}), (LABELS, {})):
        assert within(1, lambda: refusal(conn, sql, **more) is not None)
        assert "stale" in refusal(conn, sql, **more).message_detail
    # What was signed is what stands there again: the party's word is about the text, not about its history.
    reload(veil, lambda room: room["questions"]["labels"].update(sql="SELECT id, label FROM public.others ORDER BY id"))
    assert within(1, lambda: refusal(conn, LABELS, prepare=True) is None)


@pytest.mark.parametrize("how", ["none", "copy", "copy_as_newest", "newest_made_older", "text_exchanged"])
def test_G3_an_old_approval_is_replayed(governed, how):
    veil = governed(needs("megamart"), start=False)
    signed_twice(veil)
    state = state_of(veil)
    columns = "room, question, party, at, text, signature, fingerprint"
    old, new = state.execute("SELECT %s FROM approval ORDER BY seq" % columns).fetchall()
    insert = "INSERT INTO approval (%s) VALUES (?, ?, ?, ?, ?, ?, ?)" % columns
    if how == "copy":
        state.execute(insert, old)
    elif how == "copy_as_newest":
        state.execute(insert, (*old[:3], new[3] + 1000000, *old[4:]))
    elif how == "newest_made_older":
        state.execute("UPDATE approval SET at = ? WHERE at = ?", (old[3] - 1000000, new[3]))
        state.execute("UPDATE approval SET at = at + 2000000 WHERE at = ?", (old[3],))
    elif how == "text_exchanged":
        state.execute("UPDATE approval SET text = ? WHERE at = ?", (old[4], new[3]))
        state.execute("DELETE FROM approval WHERE at = ?", (old[3],))
    state.close()
    assert states(veil)[("labels", "megamart")]["state"] in ("stale", "missing")
    assert veil.explain(LABELS, veil.room, "alice")[1]["code"] == "approval"
    if how == "copy":
        veil.start()
        diag = refusal(veil.connect("alice", veil.room), LABELS)
        assert diag.sqlstate == "42501" and "approval" in diag.message_detail
    approve(veil, "labels", "megamart")
    assert states(veil)[("labels", "megamart")]["state"] == "valid", "the party itself may go back"


def test_G3_an_old_grant_of_consent_is_replayed(governed):
    veil = governed()
    consent(veil, "megamart", "withdraw", "--question", "labels")
    consent(veil, "megamart", "grant", "--question", "labels")
    consent(veil, "megamart", "withdraw", "--question", "labels")
    conn = veil.connect("alice", veil.room)
    state = state_of(veil)
    columns = "room, kind, subject, party, withdrawn, at, signature, fingerprint"
    grant = state.execute("SELECT %s FROM consent WHERE withdrawn = 0" % columns).fetchone()
    insert = "INSERT INTO consent (%s) VALUES (?, ?, ?, ?, ?, ?, ?, ?)" % columns
    state.execute(insert, grant)
    time.sleep(0.5)
    assert refusal(conn, LABELS).sqlstate == "42501"
    state.execute(insert, (*grant[:5], grant[5] + 60000000, *grant[6:]))
    time.sleep(0.5)
    assert "withdrawn" in refusal(conn, LABELS).message_detail
    state.execute("DELETE FROM consent WHERE at = ?", (grant[5] + 60000000,))
    state.close()
    consent(veil, "megamart", "grant", "--question", "labels")
    assert within(1, lambda: refusal(conn, LABELS) is None)


def test_G3_approvals_are_forged_by_who_may_write_the_state(governed, tmp_path):
    """Rows made from nothing, by a key of his own, by bending a true one; none of them opens anything."""
    def change(room):
        needs("acme", "megamart")(room)
        needs("acme", question="first")(room)
        room["parties"]["twin"] = {"public_key": "keys/acme.pem"}
        room["questions"]["slow"]["approvals"] = ["twin"]

    veil = governed(change)
    conn = veil.connect("alice", veil.room)
    approve(veil, "labels", "acme")
    approve(veil, "first", "acme")
    approve(veil, "slow", "acme")  # nobody asks for it, and it is not the twin's
    assert within(1, lambda: refusal(conn, FIRST) is None)
    state = state_of(veil)
    columns = "room, question, party, at, text, signature, fingerprint"
    insert = "INSERT INTO approval (%s) VALUES (?, ?, ?, ?, ?, ?, ?)" % columns
    true = {row[1]: row for row in state.execute("SELECT %s FROM approval" % columns)}
    today = true["labels"]
    later = today[3] + 1000000
    for forged in ((*today[:2], "megamart", later, today[4], os.urandom(64), today[6]),
                   (*today[:2], "megamart", later, today[4], b"", today[6]),
                   (*today[:2], "megamart", *today[3:]),
                   (*true["slow"][:2], "twin", *true["slow"][3:])):
        state.execute(insert, forged)
    # A key of his own, under the fingerprint of the party's: by the program it is refused, so by hand.
    own = ed25519(str(tmp_path / "own"))[0]
    assert "not the key" in approve(veil, "labels", "megamart", key=own, status=1).stderr
    signature = openssl_sign(own, (today[4] if isinstance(today[4], bytes) else today[4].encode())
                             + b'approved by "megamart"\nat 2026-01-01T00:00:00.000000Z\n', tmp_path)
    state.execute(insert, (*today[:2], "megamart", 1767225600000000, today[4], signature, today[6]))
    time.sleep(1)
    found = states(veil)
    assert found[("labels", "megamart")]["state"] == "missing" and "key" in found[("labels", "megamart")]["why"]
    assert found[("slow", "twin")]["state"] == "missing"
    assert '"megamart" is missing' in refusal(conn, LABELS).message_detail
    # What does open it is the party's key over the very same bytes: the forgery failed by the key alone.
    signature = openssl_sign(veil.keys["megamart"], today[4] + b'approved by "megamart"\nat 2026-01-01T00:00:00.000000Z\n', tmp_path)
    state.execute(insert, (*today[:2], "megamart", 1767225600000000, today[4], signature, today[6]))
    state.close()
    assert within(1, lambda: refusal(conn, LABELS) is None)


def openssl_sign(key, text, folder):
    import subprocess
    (folder / "text").write_bytes(text)
    subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", str(folder / "text"), "-out", str(folder / "signature")],
                   check=True, capture_output=True)
    return (folder / "signature").read_bytes()


def test_G3_an_approval_of_another_room_or_question_is_copied(cluster):
    """Two rooms of the same parties and keys, word for word the same but for their names."""
    rooms = [data.small_room(name) for name in ("copied_from", "copied_to")]
    for room in rooms:
        room["questions"]["again"] = copy.deepcopy(room["questions"]["labels"])
        for name in ("labels", "again"):
            room["questions"][name]["approvals"] = ["megamart"]
    veil = make_veil(cluster, rooms)
    try:
        veil.room = "copied_from"
        approve(veil, "labels", "megamart")
        state = state_of(veil)
        for room, question in (("copied_to", "labels"), ("copied_from", "again")):
            state.execute("INSERT INTO approval (room, question, party, at, text, signature, fingerprint) "
                          "SELECT ?, ?, party, at, text, signature, fingerprint FROM approval LIMIT 1", (room, question))
        state.close()
        assert states(veil)[("labels", "megamart")]["state"] == "valid"
        assert states(veil)[("again", "megamart")]["state"] == "stale", "signed by the party, and about another question"
        assert veil.explain("SELECT * FROM questions.again", "copied_from", "alice")[1]["code"] == "approval"
        veil.room = "copied_to"
        assert states(veil)[("labels", "megamart")]["state"] == "stale"
        assert veil.explain(LABELS, "copied_to", "alice")[1]["code"] == "approval"
    finally:
        veil.close()


def test_G4_a_late_owner_stops_open_sessions_until_all_have_signed(governed):
    def change(room):
        room["questions"]["labels"]["approvals"] = "owners"

    veil = governed(change, start=False)
    approve(veil, "labels", "megamart")
    veil.start()
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, LABELS, prepare=True) is None
    reload(veil, lambda room: room["questions"]["labels"].update(
        sql="SELECT o.id, o.label FROM public.others o WHERE EXISTS (SELECT 1 FROM public.cells c WHERE c.id = o.id) ORDER BY o.id"))
    assert within(1, lambda: refusal(conn, LABELS, prepare=True) is not None)
    approve(veil, "labels", "megamart")
    assert within(1, lambda: '"acme" is missing' in refusal(conn, LABELS, prepare=True).message_detail)
    approve(veil, "labels", "acme")
    assert within(1, lambda: refusal(conn, LABELS, prepare=True) is None)


# --- G5: the log is lost, or away

def test_G5_a_kill_amid_a_run_loses_neither_record_nor_runs(governed, cluster):
    veil = governed(lambda room: room["questions"]["slow"].update(access_budget=[{"per": "day", "runs": 2}]))
    conn = veil.wire("alice", veil.room)
    conn.send(w.query("SELECT * FROM questions.slow(n => 1)"))
    assert within(5, lambda: veil.log_rows("question = 'slow'"))
    row = veil.log_rows("question = 'slow'")[0]
    assert row["outcome"] is None and row["decision"] == "allowed", "on disk before it ended"
    veil.kill()
    conn.sock.close()
    cluster.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE %s", ("%" + veil.room + "%",))
    veil.start()
    assert veil.log_rows("question = 'slow'")[0]["outcome"] == "lost"
    assert veil.explain("SELECT * FROM questions.slow(n => 1)", veil.room, "alice")[1]["budgets"][0]["used"] == 1
    assert veil.run("audit", "verify").returncode == 0


def test_G5_no_record_no_query_and_no_run_taken(governed, cluster):
    veil = governed(budget("first", day=5, share=3))
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, FIRST) is None
    state = state_of(veil)
    state.execute("BEGIN IMMEDIATE")
    mark = cluster.log_size()
    for more in ({}, {"prepare": True}, {}):
        diag = refusal(conn, FIRST, **more)
        assert diag.sqlstate == "58030" and diag.severity_nonlocalized == "ERROR"
    state.execute("ROLLBACK")
    state.close()
    assert not [sql for sql in statements_of_rooms(cluster.log(mark)) if "cells" in sql]
    assert within(5, lambda: refusal(conn, FIRST) is None)
    used = {row["user"]: row["used"] for row in veil.explain(FIRST, veil.room, "alice")[1]["budgets"]}
    assert used == {None: 2, "alice": 2}


# --- G6: what the log shows

def everything_kept(veil):
    """Every byte of the installation's state and operational log, the secrets' own table and key files aside."""
    state = sqlite3.connect("file:%s?mode=ro" % veil.path("state", "pgveil.db"), uri=True)
    found = []
    for name, in state.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'secret'").fetchall():
        for row in state.execute('SELECT * FROM "%s"' % name):
            found += [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row if cell is not None]
    state.close()
    return b"\n".join(found) + veil.stderr().encode()


def test_G6_no_password_key_or_secret_stands_in_the_log(governed):
    veil = governed(needs("megamart"))
    approve(veil, "labels", "megamart")
    secret = "wr0ng-" + os.urandom(6).hex()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host="127.0.0.1", port=veil.port, user="alice", password=secret, dbname=veil.room)
    with veil.connect("alice", veil.room) as conn:
        assert refusal(conn, FIRST) is None
        assert refusal(conn, "SELECT nothing") is not None
    assert veil.stop() == 0
    state = sqlite3.connect("file:%s?mode=ro" % veil.path("state", "pgveil.db"), uri=True)
    secrets = [row[0] for row in state.execute("SELECT secret FROM secret")]
    state.close()
    assert secrets, "the room's own secret is in there"
    kept = everything_kept(veil)
    assert b"questions.first" in kept
    for one in secrets:
        one = one if isinstance(one, bytes) else one.encode()
        assert one not in kept and one.hex().encode() not in kept
    for text in (secret, data.USERS["alice"]["password"], data.UPSTREAM_PASSWORD):
        assert text.encode() not in kept
    with open(veil.keys["megamart"]) as key:
        assert key.read().split("\n")[1].encode() not in kept
    with open(veil.path("users.json")) as users:
        for user in json.load(users).values():
            assert user["scram"].split(":")[-1].encode() not in kept


def test_G6_parameters_stay_out_where_the_config_says_so(governed):
    veil = governed(lambda room: room["questions"].update(by_label=copy.deepcopy(PARAMETERS["by_label"])),
                    config={"audit": {"parameters": False}})
    with veil.connect("alice", veil.room) as conn:
        assert conn.execute("SELECT * FROM questions.by_label(l => %s)", ["private 4711"], prepare=True).fetchall() == []
    assert veil.stop() == 0
    assert b"questions.by_label" in everything_kept(veil) and b"private 4711" not in everything_kept(veil)


# --- G7: the log is changed

def test_G6_an_auditor_sees_what_was_asked_and_not_of_whom(governed):
    def change(room):
        room["questions"]["by_label"] = copy.deepcopy(PARAMETERS["by_label"])
        room["members"]["olga"] = {"party": "megamart", "roles": ["auditor"]}

    veil = governed(change, config={"audit": {"literals": "masked"}})
    with veil.connect("alice", veil.room) as conn:
        for sql in ("SELECT * FROM questions.by_label(l => 'private 4711')",
                    "SELECT id, label FROM public.others WHERE label = 'private 4711' ORDER BY id"):
            assert conn.execute(sql).fetchall() == []
        assert conn.execute("SELECT * FROM questions.by_label(l => %s)", ["private 4711"], prepare=True).fetchall() == []
        assert refusal(conn, "SELECT 'private 4711' FROM public.others") is not None
    with veil.connect("olga", "pgveil") as conn:
        rows = conn.execute("SELECT * FROM query_log WHERE \"user\" = 'alice'").fetchall()
        assert len(rows) == 4 and "by_label" in repr(rows) and "private" not in repr(rows) and "4711" not in repr(rows)
        for sql in ("SELECT count(*) FROM query_log WHERE query LIKE '%%private 4711%%'",
                    "SELECT count(*) FROM query_log WHERE parameters LIKE '%%4711%%'",
                    "SELECT count(*) FROM query_log WHERE reason || coalesce(forwarded, '') LIKE '%%4711%%'"):
            assert conn.execute(sql).fetchone() == (0,), sql


@pytest.fixture(scope="module")
def logged(cluster, tmp_path_factory):
    """The folder of a stopped installation whose log holds a bit of everything, with a head of it."""
    veil = make_veil(cluster, [data.small_room("logged")])
    veil.shape = data.small_room("logged")
    veil.shape["questions"]["labels"]["approvals"] = ["megamart"]
    veil.write_room(veil.shape)
    veil.room = "logged"
    veil.provision()
    veil.start()
    approve(veil, "labels", "megamart")
    with veil.connect("alice", veil.room) as conn:
        for _ in range(3):
            assert refusal(conn, FIRST) is None
        consent(veil, "megamart", "withdraw")
        assert within(1, lambda: refusal(conn, LABELS) is not None)
        assert refusal(conn, LABELS).sqlstate == "42501"
    assert veil.stop() == 0
    assert veil.run("audit", "verify").returncode == 0
    with open(veil.path("head"), "w") as out:
        out.write(veil.run("audit", "head").stdout)
    yield veil.folder
    veil.provision("--drop")
    veil.close()


def tampered(folder, tmp_path, *changes):
    """`pgveil audit verify` of a copy in which somebody changed the log by hand; once without a head and once with it."""
    copied = str(tmp_path / "copy")
    shutil.copytree(folder, copied)
    state = sqlite3.connect(os.path.join(copied, "state", "pgveil.db"), isolation_level=None)
    for name, in state.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        state.execute('DROP TRIGGER "%s"' % name)
    assert sum(state.execute(change).rowcount for change in changes) > 0
    state.close()
    config = ["-c", os.path.join(copied, "pgveil.json")]
    return [run_binary("audit", "verify", *config, *more).returncode for more in ((), ("--head", os.path.join(folder, "head")))]


@pytest.mark.parametrize("change", [
    "UPDATE statement SET decision = 'allowed', reason = NULL WHERE decision = 'denied'",
    "UPDATE statement SET user = 'bi_service' WHERE user = 'alice'",
    "UPDATE statement SET query = replace(query, 'first', 'other')",
    "UPDATE event SET detail = replace(detail, 'megamart', 'acme') WHERE event = 'approve'",
    "DELETE FROM event WHERE event = 'consent'",
    "DELETE FROM statement WHERE seq = (SELECT min(seq) FROM statement WHERE question = 'first')",
    "UPDATE statement SET seq = -seq",
])
def test_G7_what_is_changed_is_found(logged, tmp_path, change):
    assert tampered(logged, tmp_path, change) == [1, 1]


def test_G7_a_cut_tail_is_found_by_a_kept_head(logged, tmp_path):
    cut = ["DELETE FROM %s WHERE seq > (SELECT max(seq) - 3 FROM event)" % table for table in ("statement", "statement_end", "event")]
    assert tampered(logged, tmp_path, *cut)[1] == 1


# --- G8, T15: one member spends what is meant for all

def test_G8_nobody_spends_more_than_his_share(governed):
    """By statement and by name, simple and prepared, by EXECUTE, cursor, COPY, in many sessions, over a kill."""
    veil = governed(budget("first", day=20, share=6))
    statement = "SELECT id, grp FROM public.cells WHERE id <= 3 ORDER BY id"
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, FIRST) is None
    assert refusal(conn, statement, prepare=True) is None
    conn.execute("PREPARE p AS " + FIRST)
    assert refusal(conn, "EXECUTE p") is None
    with conn.cursor().copy("COPY (%s) TO STDOUT" % FIRST) as copying:
        assert len(b"".join(bytes(part) for part in copying).splitlines()) == 3
    veil.kill()
    veil.start()
    conn = veil.connect("alice", veil.room, autocommit=False)
    conn.execute("DECLARE c CURSOR FOR " + FIRST)
    assert len(conn.execute("FETCH ALL FROM c").fetchall()) == 3
    conn.rollback()  # what was taken is not given back
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, statement) is None
    # Six are had. Two at once would not have fitted either.
    conn.execute("PREPARE p AS " + FIRST)
    for one in (conn, veil.connect("alice", veil.room)):
        for sql, more in ((FIRST, {}), (FIRST, {"prepare": True}), (statement, {}), ("DECLARE c CURSOR WITH HOLD FOR " + FIRST, {})):
            assert share_spent(refusal(one, sql, **more), "alice"), sql
    assert share_spent(refusal(conn, "EXECUTE p"), "alice")
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
        with conn.cursor().copy("COPY (%s) TO STDOUT" % FIRST) as copying:
            list(copying)
    diag = refusal(conn, FIRST)
    assert "each user 6 runs per day" in diag.message_detail and "next day begins at" in diag.message_hint
    tomorrow = datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=1)
    assert tomorrow.isoformat() + "T00:00Z" in diag.message_hint or datetime.datetime.now(datetime.timezone.utc).hour == 0
    row = veil.last_log("sqlstate = '53400'")
    assert row["reason"].startswith("budget_share: share of user") and row["user"] == "alice"
    # The other one has hers, and the total binds all.
    other = veil.connect("bi_service", veil.room)
    assert [refusal(other, FIRST) for _ in range(6)] == [None] * 6
    assert share_spent(refusal(other, FIRST), "bi_service")
    assert veil.run("audit", "verify").returncode == 0


def test_G8_a_failed_or_cancelled_run_is_one_of_the_share(governed):
    def change(room):
        room["questions"]["fails"] = copy.deepcopy(data.QUESTIONS["fails"])
        room["questions"]["fails"]["access_budget"] = [{"per": "lifetime", "runs": 9, "runs_per_member": 2}]

    veil = governed(change)
    conn = veil.connect("alice", veil.room)
    sql = "SELECT * FROM questions.fails(n => 1)"
    assert [refusal(conn, sql).sqlstate for _ in range(2)] == ["22012"] * 2
    diag = refusal(conn, sql)
    assert share_spent(diag, "alice") and "does not come back" in diag.message_hint


PORTAL_USERS = {**data.USERS, "portal": {"password": "portal"}, "bob": {"password": "bob"}}


def portal(*budgets):
    def change(room):
        room["members"]["portal"] = {"party": "megamart", "roles": ["service"]}
        room["members"]["bob"] = {"party": "acme", "roles": ["clerk"]}
        room["trusted_services"] = ["portal"]
        for one in budgets:
            one(room)

    return change


def test_T15_a_service_spends_the_shares_of_those_it_names(governed):
    """Prepared once and executed for many: each run is the one's for whom it is asked."""
    veil = governed(portal(budget("first", day=5, share=2)), users=PORTAL_USERS)
    conn = veil.connect("portal", veil.room)
    conn.execute("PREPARE p AS " + FIRST)
    answers = []
    for user in ("alice", "bob", "alice", "alice", "bob", "bob"):
        conn.execute("SET pgveil.user = '%s'" % user)
        answers.append(refusal(conn, random.choice(["EXECUTE p", FIRST]), prepare=None))
    assert [answer is None for answer in answers] == [True, True, True, False, True, False]
    assert share_spent(answers[3], "alice") and share_spent(answers[5], "bob")
    # As itself it has one share, and everybody together have what is left: one of five.
    conn.execute("RESET pgveil.user")
    assert refusal(conn, FIRST) is None
    diag = refusal(conn, FIRST)
    assert spent(diag) and "share" not in diag.message_primary
    # Alice by herself is the alice of the service.
    assert spent(refusal(veil.connect("alice", veil.room), FIRST))


def test_T15_many_members_together_have_one_budget(governed):
    veil = governed(portal(budget(dataset="public.cells", day=7, share=4)), users=PORTAL_USERS)
    users = ["alice", "bob", "portal", "bi_service"]

    def ask(i):
        with veil.connect(users[i % 4], veil.room) as conn:
            return [(users[i % 4], refusal(conn, FIRST)) for _ in range(3)]

    answers = [answer for each in in_parallel(8, ask) for answer in each]
    had = [user for user, diag in answers if diag is None]
    assert len(had) == 7 and max(had.count(user) for user in users) <= 4
    assert all(spent(diag) for _, diag in answers if diag is not None)


# --- G9: runs race

@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_G9_twenty_sessions_race_for_shares_and_for_the_total(governed, durability):
    veil = governed(budget("first", day=50, share=17), config={"audit": {"durability": durability}, "workers": 4})

    def ask(i):
        user = ("alice", "bi_service")[i % 2]
        with veil.connect(user, veil.room) as conn:
            return [(user, refusal(conn, FIRST, prepare=n % 2 == 0)) for n in range(4)]

    answers = [answer for each in in_parallel(20, ask) for answer in each]
    for user in ("alice", "bi_service"):
        mine = [diag for who, diag in answers if who == user]
        assert len(mine) == 40 and sum(diag is None for diag in mine) == 17
        others = [(diag.sqlstate, diag.message_primary) for diag in mine if diag is not None and not share_spent(diag, user)]
        assert not others, others
    reload(veil, budget("first", day=40))
    answers = [diag for each in in_parallel(20, ask) for _, diag in each]
    assert sum(diag is None for diag in answers) == 40 - 34
    assert all(spent(diag) and "share" not in diag.message_primary for diag in answers if diag is not None)
    assert veil.stop() == 0
    assert len(veil.log_rows("question = 'first' AND decision = 'allowed'")) == 40
    assert veil.run("audit", "verify").returncode == 0


def test_G9_a_kill_amid_the_race_gives_nothing_back(governed):
    veil = governed(budget("first", lifetime=100000, share=100000), config={"workers": 4})
    answered, stop = [0] * 6, threading.Event()

    def ask(i):
        try:
            with veil.connect("alice", veil.room) as conn:
                while not stop.is_set():
                    conn.execute(FIRST).fetchall()
                    answered[i] += 1
        except psycopg.Error:
            pass

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    assert within(10, lambda: sum(answered) > 100)
    veil.kill()
    stop.set()
    for thread in threads:
        thread.join()
    used = {row["user"]: row["used"] for row in veil.explain(FIRST, veil.room, "alice")[1]["budgets"]}
    assert used[None] == used["alice"] >= sum(answered)
    assert used["alice"] == len(veil.log_rows("question = 'first' AND decision = 'allowed'"))
    veil.start()
    assert veil.run("audit", "verify").returncode == 0


# --- G10: a result goes to somebody who may not have it

OPEN = {
    "type": "aggregation", "join_columns": ["id"], "dimension_columns": ["label"],
    "output_constraints": [{"column": "id", "type": "count_distinct", "minimum": 2}]}
OPEN_SQL = "SELECT count(*) FROM public.others"


def receivers(*entries):
    def change(room):
        room["datasets"]["public.others"].update(entity="id", analysis_rule=OPEN, allowed_result_receivers=list(entries))
        room["datasets"]["public.others"]["columns"]["id"] = {"category": 3}
        room["questions"]["both"] = {"type": "list", "sql": "SELECT c.id FROM public.cells c WHERE EXISTS (SELECT 1 FROM public.others)"}
        room["questions"]["explore"] = {"type": "analytical", "open": True, "datasets": ["public.others"]}

    return change


def test_G10_a_result_goes_to_receivers_alone_on_every_road(governed, cluster, guard):
    veil = governed(receivers("party:megamart"))
    conn = veil.connect("alice", veil.room)
    mark = cluster.log_size()
    statement = "SELECT id, label FROM public.others ORDER BY id"
    asked = [LABELS, statement, "SELECT * FROM questions.both", OPEN_SQL, "SELECT count(*) FROM questions.labels",
             "SELECT f.id FROM questions.first(n => 1) f, questions.labels l", "WITH x AS (TABLE questions.labels) SELECT 1 FROM x",
             "SELECT EXISTS (SELECT 1 FROM questions.labels)", "SELECT 1 WHERE (SELECT count(*) FROM questions.labels) > 0"]
    for sql in asked:
        for head in ("%s", "PREPARE p AS %s", "DECLARE c CURSOR WITH HOLD FOR %s", "COPY (%s) TO STDOUT", "SELECT 1; %s"):
            guard.denied.append(head % sql)
            diag = refusal(conn, head % sql)
            assert diag is not None and diag.sqlstate == "42501", head % sql
            assert 'data set "public.others" (owner megamart)' in diag.message_detail and 'user "alice"' in diag.message_detail
            assert "megamart" in diag.message_hint
        assert refusal(conn, sql, prepare=True).sqlstate == "42501"
        code = veil.explain(sql, veil.room, "alice")[1]["code"]
        assert code == "not_receiver", (sql, code)
    raw = veil.wire("alice", veil.room)
    assert w.tags(raw.ask(w.parse(LABELS), w.bind(), w.execute(), w.SYNC)) == "EZ", "denied at Parse"
    assert not [sql for sql in statements_of_rooms(cluster.log(mark)) if "others" in sql]
    row = veil.last_log("query = ?", (LABELS,))
    assert row["decision"] == "denied" and row["reason"].startswith("not_receiver: ") and row["forwarded"] is None
    assert refusal(conn, FIRST) is None, "what does not read it is answered"
    # Its receivers have all of that.
    other = veil.connect("bi_service", veil.room)
    for sql in asked:
        assert refusal(other, sql) is None, sql
    assert veil.explain(LABELS, veil.room, "bi_service")[1]["receivers"] == [
        {"dataset": "public.others", "owner": "megamart", "receivers": ["party:megamart"]}]


def test_G10_the_strictest_data_set_of_all_decides(governed):
    def change(room):
        receivers("user:bi_service", "role:analyst")(room)
        room["datasets"]["public.cells"]["allowed_result_receivers"] = ["party:acme"]

    veil = governed(change)
    alice, service = veil.connect("alice", veil.room), veil.connect("bi_service", veil.room)
    for conn, sql, is_received in ((alice, LABELS, True), (alice, FIRST, True), (alice, "TABLE questions.both", True),
                                   (service, LABELS, True), (service, FIRST, False), (service, "TABLE questions.both", False)):
        diag = refusal(conn, sql)
        assert (diag is None) == is_received, (sql, diag and diag.message_detail)
    assert "public.cells" in refusal(service, "TABLE questions.both").message_detail
    reload(veil, receivers())
    assert within(1, lambda: refusal(alice, LABELS) is not None and refusal(service, LABELS) is not None)
    assert "nobody who may ask" in veil.run("check").stdout


def test_G10_who_is_a_receiver_no_more_loses_what_was_prepared(governed):
    veil = governed(receivers("party:acme"))
    conn = veil.connect("alice", veil.room)
    held = veil.connect("alice", veil.room, autocommit=False)
    raw = veil.wire("alice", veil.room)
    assert refusal(conn, LABELS, prepare=True) is None
    conn.execute("PREPARE p AS " + LABELS)
    held.execute("DECLARE c CURSOR FOR " + LABELS)
    assert len(held.execute("FETCH 1 FROM c").fetchall()) == 1
    raw.ask(w.query("BEGIN"))
    assert w.errors(raw.ask(w.parse(LABELS), w.bind(), w.execute("", 1), w.SYNC)) == []
    reload(veil, receivers("party:megamart"))
    assert within(1, lambda: refusal(conn, LABELS, prepare=True) is not None)
    assert refusal(conn, "EXECUTE p").sqlstate == "42501"
    assert refusal(held, "FETCH 1 FROM c").sqlstate == "42501"
    assert w.errors(raw.ask(w.execute("", 1), w.SYNC)) == ["42501"]


def test_G10_receivers_are_signed_and_judged_for_the_end_user(governed):
    def change(room):
        portal()(room)
        receivers("party:acme")(room)
        needs("megamart")(room)

    veil = governed(change, users=PORTAL_USERS)
    approve(veil, "labels", "megamart")
    conn = veil.connect("portal", veil.room)
    assert within(1, lambda: "receivers" in refusal(conn, LABELS).message_detail)
    conn.execute("SET pgveil.user = 'bob'")
    assert within(1, lambda: refusal(conn, LABELS) is None)
    reload(veil, receivers("party:acme", "user:portal"))
    assert within(1, lambda: "stale" in (refusal(conn, LABELS) or conn).message_detail)
    found = states(veil)[("labels", "megamart")]
    assert '+  allowed_result_receivers "party:acme", "user:portal"' in found["diff"]


# --- consent and expiry amid everything that runs

def test_consent_withdrawn_ends_what_runs_in_every_worker_on_every_road(governed):
    def change(room):
        room["questions"]["many"] = {"type": "list", "sql": "SELECT a.id, b.h_text FROM public.cells a, public.cells b, "
                                                            "public.cells c, public.others d"}

    veil = governed(change, config={"workers": 4})
    slow, many = "SELECT * FROM questions.slow(n => 1)", "SELECT * FROM questions.many"
    roads = {
        "simple": [w.query(slow)],
        "extended": [w.parse(slow), w.bind(), w.execute(), w.SYNC],
        "several": [w.query("SELECT 1; " + slow)],
        "pipelined": [w.parse(FIRST), w.bind(), w.execute(), w.parse(slow), w.bind(), w.execute(), w.SYNC],
        "copy": [w.query("COPY (%s) TO STDOUT" % slow)],
        "prepared": [w.query("EXECUTE p")],
        "cursor": [w.query("FETCH ALL FROM c")],
        "suspended": [w.parse(slow), w.bind(), w.execute("", 1), w.SYNC],
        "many_copied": [w.query("COPY (%s) TO STDOUT" % many)],
        "many_fetched": [w.query("FETCH ALL FROM d")],
    }
    conns = {}
    for name, frames in roads.items():
        conn = conns[name] = veil.wire("alice", veil.room)
        if name == "prepared":
            assert w.errors(conn.ask(w.query("PREPARE p AS " + slow))) == []
        if name == "cursor":
            assert w.errors(conn.ask(w.query("BEGIN"))) + w.errors(conn.ask(w.query("DECLARE c CURSOR FOR " + slow))) == []
        if name == "many_fetched":
            assert w.errors(conn.ask(w.query("BEGIN"))) + w.errors(conn.ask(w.query("DECLARE d CURSOR FOR " + many))) == []
        conn.send(*frames)
    time.sleep(0.7)
    began = time.monotonic()
    consent(veil, "megamart", "withdraw", "--dataset", "public.others")
    ended = {}
    for name, conn in conns.items():
        got = []
        while not got or got[-1].tag not in "E":
            got = [conn.take()]
        ended[name] = got[-1].sqlstate
    assert time.monotonic() - began < 3
    assert ended == dict.fromkeys(roads, "57014"), ended
    assert within(2, lambda: not veil.log_rows("outcome IS NULL"))
    rows = veil.log_rows("sqlstate = '57014'")
    assert len(rows) == len(roads) and {row["outcome"] for row in rows} == {"cancelled"}
    for conn in conns.values():
        conn.sock.close()


def test_a_room_expires_amid_cursors_portals_and_prepared_statements(governed):
    veil = governed()
    conn = veil.connect("alice", veil.room)
    held = veil.connect("alice", veil.room, autocommit=False)
    raw = veil.wire("alice", veil.room)
    conn.execute("PREPARE p AS " + FIRST)
    assert refusal(conn, FIRST, prepare=True) is None
    conn.execute("DECLARE h CURSOR WITH HOLD FOR " + FIRST)
    held.execute("DECLARE c CURSOR FOR " + FIRST)
    assert len(held.execute("FETCH 1 FROM c").fetchall()) == 1
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    reload(veil, lambda room: room.update(expires=moment.strftime("%Y-%m-%dT%H:%M:%SZ")))
    raw.ask(w.query("BEGIN"))
    raw.ask(w.parse(FIRST), w.bind(), w.execute("", 1), w.SYNC)
    assert within(4, lambda: refusal(conn, FIRST, prepare=True) is not None)
    for sql in (FIRST, "EXECUTE p", "FETCH 1 FROM h", "SELECT id, grp FROM public.cells WHERE id <= 2 ORDER BY id", "COPY (%s) TO STDOUT" % FIRST):
        diag = refusal(conn, sql)
        assert diag is not None and diag.sqlstate == "42501" and "expired" in diag.message_primary, sql
    assert refusal(held, "FETCH 1 FROM c").sqlstate == "42501"
    assert w.errors(raw.ask(w.execute("", 1), w.SYNC)) == ["42501"]
    held.rollback()
    with pytest.raises(psycopg.OperationalError) as caught:
        veil.connect("alice", veil.room)
    assert "does not exist" in str(caught.value)


# --- T14: a budget is refreshed by editing

def both(runs, share):
    def change(room):
        for where in (room["questions"]["first"], room["datasets"]["public.cells"]):
            where["access_budget"] = [{"per": "month", "runs": runs, **({"runs_per_member": share} if share else {})}]

    return change


EDITS = {
    "other_bounds_and_back": lambda room: None,
    "another_period": lambda room: [where.update(access_budget=[{"per": "week", "runs": 2}, {"per": "lifetime", "runs": 2}])
                                    for where in (room["questions"]["first"], room["datasets"]["public.cells"])],
    "share_first_now": lambda room: [where.update(access_budget=[{"per": "day", "runs": 90, "runs_per_member": 2}])
                                     for where in (room["questions"]["first"], room["datasets"]["public.cells"])],
    "another_text": lambda room: room["questions"]["first"].update(sql="SELECT id FROM public.cells WHERE id < :n"),
    "another_type": lambda room: room["questions"]["first"].update(type="cleanml"),
    "no_lifetime": lambda room: room["questions"]["first"].pop("access_budget"),
    "another_owner": lambda room: room["datasets"]["public.cells"].update(owner="megamart"),
    "another_source": lambda room: room["datasets"]["public.cells"].update(
        source="zoo.cells", columns={"id": {"category": 1}, "grp": {"category": 1}}),
    "renamed": lambda room: room["questions"].update(other_name=room["questions"].pop("first")),
}


def test_T14_no_edit_brings_runs_back(governed):
    veil = governed(both(2, None))
    base = copy.deepcopy(veil.shape)
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, FIRST) is None and refusal(conn, FIRST) is None and spent(refusal(conn, FIRST))
    for name, edit in EDITS.items():
        veil.shape = copy.deepcopy(base)
        reload(veil, both(100, 50))
        veil.shape = copy.deepcopy(base)
        reload(veil, edit)
        sql = "SELECT * FROM questions.other_name(n => 3)" if name == "renamed" else FIRST
        diag = refusal(conn, sql)
        assert spent(diag), (name, diag)
        if name == "renamed":  # a question of another name is another one: what holds is the budget of the data set
            assert 'data set "public.cells"' in diag.message_primary
        if name == "share_first_now":
            assert share_spent(diag, "alice")
    veil.stop()
    veil.start()
    assert spent(refusal(veil.connect("alice", veil.room), sql))


def test_T14_deleting_and_listing_again(governed):
    veil = governed(both(2, 2))
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, FIRST) is None and refusal(conn, FIRST) is None
    question, dataset = veil.shape["questions"].pop("first"), veil.shape["datasets"].pop("public.cells")
    slow = veil.shape["questions"].pop("slow")
    reload(veil, lambda room: None)
    assert refusal(conn, FIRST).sqlstate == "42P01" or refusal(conn, FIRST).sqlstate == "42883"
    veil.shape["datasets"]["public.cells"] = dataset
    reload(veil, lambda room: room["questions"].update(first=question, slow=slow))
    assert spent(refusal(conn, FIRST))
    # Taken out whole and put back, from both.
    reload(veil, lambda room: [where.pop("access_budget") for where in (room["questions"]["first"], room["datasets"]["public.cells"])])
    assert refusal(conn, FIRST) is None
    reload(veil, both(2, 2))
    assert spent(refusal(conn, FIRST))


def test_T14_check_warns_of_budgets_that_come_back_for_ever(governed):
    veil = governed(budget("first", day=5), start=False)
    done = veil.run("check")
    assert done.returncode == 0 and "comes back with every new period" in done.stdout
    budget("first", day=5, lifetime=50)(veil.shape)
    veil.write_room(veil.shape)
    assert "comes back" not in veil.run("check").stdout
