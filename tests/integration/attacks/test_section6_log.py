"""
ATTACKS section 6: a log that is lost (G5), that shows too much (G6), that is changed (G7). The operator may write the state file as he likes.
"""
import json
import os
import shutil
import sqlite3

import psycopg
import pytest

from tests.integration.conftest import make_veil, statements_of_rooms
from tests.lib import data, wire as w
from tests.lib.governance import FIRST, LABELS, approve, budget, comes_true, consent, needs, refusal, state_of
from tests.lib.pgveil import run_binary


BY_LABEL = {"type": "list", "sql": "SELECT id, label FROM public.others WHERE label = :l ORDER BY id",
            "parameters": {"l": {"type": "text"}}}


# --- G5: the log is lost, or away

def test_G5_a_kill_amid_a_run_loses_neither_record_nor_runs(governed, cluster):
    veil = governed(lambda room: room["questions"]["slow"].update(access_budget=[{"per": "day", "runs": 2}]))
    conn = veil.wire("alice", veil.room)
    conn.send(w.query("SELECT * FROM questions.slow(n => 1)"))
    assert comes_true(lambda: veil.log_rows("question = 'slow'"))
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
    assert comes_true(lambda: refusal(conn, FIRST) is None)
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
    veil = governed(lambda room: room["questions"].update(by_label=dict(BY_LABEL)),
                    config={"audit": {"parameters": False}})
    with veil.connect("alice", veil.room) as conn:
        assert conn.execute("SELECT * FROM questions.by_label(l => %s)", ["private 4711"], prepare=True).fetchall() == []
    assert veil.stop() == 0
    assert b"questions.by_label" in everything_kept(veil) and b"private 4711" not in everything_kept(veil)


def test_G6_an_auditor_sees_what_was_asked_and_not_of_whom(governed):
    def change(room):
        room["questions"]["by_label"] = dict(BY_LABEL)
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


# --- G7: the log is changed

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
        assert comes_true(lambda: refusal(conn, LABELS) is not None)
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
