"""INTERFACE 5: each way by which a statement comes leaves its row, with what reached the client."""
import hashlib
import time

import pytest

from tests.lib import wire as w
from tests.lib.running import wait_running

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
    # Each has a row of its own, and they may come one by one.
    deadline = time.monotonic() + 60
    while sum(row["rows"] or 0 for row in veil.log_rows("query = ?", (sql,))) < 60:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sum(row["rows"] for row in veil.log_rows("query = ?", (sql,))) == 60


def test_a_client_that_hangs_up_has_the_count_of_what_it_was_sent(veil, wire, cluster):
    conn = wire()
    sql = OTHERS + " -- hangs up"
    conn.ask(w.query("BEGIN"))
    # A part of the rows, and then no Sync.
    conn.send(w.parse(sql), w.bind(), w.execute("", 25), w.frame("H"))
    assert w.tags(conn.until("s")).count("D") == 25
    slow = "SELECT * FROM questions.slow(n => 1) -- hangs up"
    other = wire()
    other.send(w.query(slow))
    wait_running(cluster)
    other.sock.close()
    conn.sock.close()
    assert veil.last_log("query = ?", (sql,))["rows"] == 25
    row = veil.last_log("query = ?", (slow,))
    assert row["outcome"] in ("lost", "completed", "cancelled") and row["rows"] is not None and row["duration_us"] > 0


def test_the_end_of_a_session_is_an_event(veil, wire):
    before = len(veil.event_rows("event = 'session_end'"))
    wire().sock.close()
    deadline = time.monotonic() + 60
    while len(veil.event_rows("event = 'session_end'")) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


LIMIT = 1024 * 1024


def long_text(size):
    return ("SELECT 'a long one' /* " + "0123456789abcdef" * (size // 16 + 1))[:size - 2] + "*/"


def long_record(veil, text):
    """The record that knows this text by its hash."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = veil.last_log("query IS NULL AND reason LIKE ?", ("%sha256 " + digest,))
    assert (row["decision"], row["outcome"], row["sqlstate"], row["rows"]) == ("denied", "failed", "54000", 0)
    assert row["reason"] == "too_long: the statement is longer than limits.query_bytes; %d bytes, sha256 %s" % (
        len(text), digest)
    return row


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 300 * 1024, 9 * LIMIT])
@pytest.mark.parametrize("is_extended", [False, True])
def test_a_statement_above_the_limit_is_known_by_its_hash(veil, wire, size, is_extended):
    conn = wire()
    text = long_text(size)[:-4] + "%d*/" % is_extended + "x"
    if is_extended:
        conn.send(w.parse(text, "n"), w.bind(statement="n"), w.execute(), w.SYNC)
    else:
        conn.send(w.query(text))
    got = conn.until("Z")
    assert w.errors(got) == ["54000"] and len(got) == 2
    assert long_record(veil, text)["protocol"] == ("extended" if is_extended else "simple")
    assert w.rows(conn.ask(w.query("SELECT 1"))) == [("1",)]


def test_above_the_limit_a_byte_at_a_time(veil, wire):
    """The message takes as long as the client likes; others are served, and the answer comes with its last byte."""
    conn, other = wire(), wire()
    text = long_text(LIMIT + 40) + " "
    frame = w.query(text)
    conn.send(frame[:-30])
    for at in range(len(frame) - 30, len(frame) - 1):
        conn.send(frame[at:at + 1])
        time.sleep(0.02)
    assert conn.quiet(0.1) and w.rows(other.ask(w.query("SELECT 1"))) == [("1",)]
    assert not veil.log_rows("reason LIKE ?", ("%sha256 " + hashlib.sha256(text.encode()).hexdigest(),))
    conn.send(frame[-1:])
    assert w.errors(conn.until("Z")) == ["54000"]
    long_record(veil, text)


def test_a_client_that_leaves_amid_a_long_statement(veil, wire):
    conn = wire()
    text = long_text(3 * LIMIT) + " leaves"
    sent = w.query(text)[:2 * LIMIT]
    conn.send(sent)
    conn.sock.close()
    digest = hashlib.sha256(sent[5:]).hexdigest()
    row = veil.last_log("query IS NULL AND reason LIKE ?", ("%sha256 of these " + digest,))
    assert "the client left after %d bytes of it" % (len(sent) - 5) in row["reason"] and row["decision"] == "denied"


def test_parameters_above_the_limit(veil, wire):
    conn = wire()
    conn.send(w.parse("SELECT $1::text"), w.bind(["x" * (17 * LIMIT)]), w.execute(), w.SYNC)
    assert w.errors(conn.until("Z")) == ["54000"]
    assert veil.last_log("reason = 'too_long: the parameters are longer than the limit'")["sqlstate"] == "54000"
