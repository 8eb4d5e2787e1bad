"""INTERFACE 5: each way by which a statement comes leaves its row, with what reached the client."""
import time

import pytest

from tests.lib import wire as w

OTHERS = "SELECT id, ref, h_text FROM public.others ORDER BY id"
BELOW = "SELECT id, grp FROM public.cells WHERE id >= {0} AND id < {0} + 5 ORDER BY id"


def last(veil, sql):
    return veil.last_log("query = ?", (sql,))


@pytest.mark.parametrize("before, sql, rows", [
    ([], "COPY (%s) TO STDOUT -- logged copy" % OTHERS, 60),
    (["BEGIN", "DECLARE logged CURSOR FOR " + OTHERS], "FETCH 7 FROM logged", 7),
    (["BEGIN", "DECLARE logged CURSOR FOR " + OTHERS], "MOVE 3 IN logged", 0),
    (["PREPARE logged (integer) AS " + BELOW.format("$1")], "EXECUTE logged (3)", 5),
    ([], "VALUES (1), (2)", 2),
])
def test_statements_by_sql(veil, wire, before, sql, rows):
    conn = wire()
    for one in before:
        assert not w.errors(conn.ask(w.query(one))), one
        assert last(veil, one)["outcome"] == "completed"
    got = conn.ask(w.query(sql))
    if w.errors(got):
        # Nothing of the question list: the row says so all the same.
        assert (last(veil, sql)["decision"], last(veil, sql)["rows"]) == ("denied", 0)
        return
    row = last(veil, sql)
    assert (row["decision"], row["outcome"], row["rows"]) == ("allowed", "completed", rows)
    assert row["bytes"] > 0 or rows == 0


def test_each_execute_of_a_suspended_portal(veil, wire):
    conn = wire()
    sql = OTHERS + " -- suspended"
    got = conn.ask(w.parse(sql), w.bind(), w.execute("", 25), w.execute("", 25), w.execute("", 25), w.SYNC)
    assert w.tags(got).count("D") == 60
    veil.last_log("query = ?", (sql,))
    assert sum(row["rows"] for row in veil.log_rows("query = ?", (sql,))) == 60


def test_a_client_that_hangs_up_has_the_count_of_what_it_was_sent(veil, wire):
    conn = wire()
    sql = OTHERS + " -- hangs up"
    conn.ask(w.query("BEGIN"))
    # A part of the rows, and then no Sync.
    conn.send(w.parse(sql), w.bind(), w.execute("", 25), w.frame("H"))
    assert w.tags(conn.until("s")).count("D") == 25
    slow = "SELECT * FROM questions.slow(n => 1) -- hangs up"
    other = wire()
    other.send(w.query(slow))
    time.sleep(0.5)
    other.sock.close()
    conn.sock.close()
    assert veil.last_log("query = ?", (sql,))["rows"] == 25
    row = veil.last_log("query = ?", (slow,))
    assert row["outcome"] in ("lost", "completed", "cancelled") and row["rows"] is not None and row["duration_us"] > 0


def test_the_end_of_a_session_is_an_event(veil, wire):
    before = len(veil.event_rows("event = 'session_end'"))
    wire().sock.close()
    deadline = time.monotonic() + 5
    while len(veil.event_rows("event = 'session_end'")) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
