"""
INTERFACE 3 and 4: controls hold on every road by which a statement runs: FETCH of what the protocol bound, a portal that
is executed again after it was refused, cursors whose query the transaction's end runs.
"""
import copy

import pytest

from tests.lib import data, wire as w
from tests.lib.governance import FIRST, LABELS, budget, comes_true, consent, refusal

ROWS = [("1", "g1"), ("2", "g2"), ("3", "g0")]
HOLD = "DECLARE c CURSOR WITH HOLD FOR "
FAILS, HASTY = "SELECT * FROM questions.fails", "SELECT * FROM questions.hasty(n => 1)"


@pytest.fixture(params=["session", "transaction"])
def on_a_road(governed, request):
    """on_a_road(change): the installation, and a wire to it, in both modes of the pool."""
    opened = []

    def make(change=None):
        veil = governed(change, config={"pool": {"mode": request.param}})
        opened.append(veil.wire("alice", veil.room))
        return veil, opened[-1]

    yield make
    for raw in opened:
        raw.sock.close()


def hasty(room):
    room["questions"]["hasty"] = copy.deepcopy(data.QUESTIONS["hasty"])
    room["questions"]["fails"] = {"type": "analytical",
                                  "sql": "SELECT sum(c.grp::integer - :n) AS s FROM public.cells c",
                                  "parameters": {"n": {"type": "integer", "default": 1}}}


def test_sqls_fetch_of_a_bound_portal_is_its_run(on_a_road):
    veil, raw = on_a_road(budget("first", day=2))
    ask = "SELECT id, grp FROM public.cells WHERE id <= $1 ORDER BY id"
    assert w.errors(raw.ask(w.query("BEGIN"))) == []
    assert w.errors(raw.ask(w.parse(ask, "s"), w.bind((3,), "s", "one"), w.SYNC)) == []
    # One run, however it is read on.
    assert w.rows(raw.ask(w.query("FETCH 1 FROM one; FETCH 1 FROM one"))) == ROWS[:2]
    assert w.rows(raw.ask(w.execute("one"), w.SYNC)) == ROWS[2:]
    # The other way round, and by way of a FETCH that the protocol prepared; MOVE runs it too.
    assert w.errors(raw.ask(w.bind((3,), "s", "two"), w.execute("two", 1), w.SYNC)) == []
    got = raw.ask(w.parse("FETCH ALL FROM two"), w.bind(), w.execute(), w.SYNC)
    assert w.rows(got) == ROWS[1:]
    for verb in ("FETCH ALL FROM three", "MOVE 1 FROM three"):
        assert w.errors(raw.ask(w.query("SAVEPOINT s"))) == []
        assert w.errors(raw.ask(w.bind((3,), "s", "three"), w.SYNC)) == []
        assert w.errors(raw.ask(w.query(verb))) == ["53400"], verb
        assert w.errors(raw.ask(w.query("ROLLBACK TO s"))) == []
    assert veil.last_log("query LIKE 'FETCH 1%'")["parameters"] == '["3"]'


def test_sqls_fetch_reads_no_portal_of_another_name(on_a_road):
    """The portal's EXECUTE would take from no budget, and run whatever has the name by then."""
    veil, raw = on_a_road(budget("first", day=1))
    assert w.errors(raw.ask(w.query("BEGIN; PREPARE p AS " + FIRST))) == []
    assert w.errors(raw.ask(w.query("SAVEPOINT s"))) == []
    assert w.errors(raw.ask(w.parse("EXECUTE p"), w.bind((), "", "pp"), w.SYNC)) == []
    got = raw.ask(w.query("FETCH ALL FROM pp"))
    assert w.errors(got) == ["0A000"] and 'portal "pp"' in got[0].fields["M"]
    assert w.errors(raw.ask(w.query("ROLLBACK TO s"))) == []
    got = raw.ask(w.parse("EXECUTE p"), w.bind((), "", "pp"), w.execute("pp", 1), w.execute("pp"), w.SYNC)
    assert w.errors(got) == [] and w.rows(got) == ROWS


def test_a_portal_that_was_refused_has_not_run(on_a_road):
    veil, raw = on_a_road(budget("first", day=1))
    for sql in ("BEGIN", FIRST, "SAVEPOINT s"):
        if sql == "SAVEPOINT s":
            assert w.errors(raw.ask(w.parse(FIRST), w.bind((), "", "pp"), w.SYNC)) == []
        assert w.errors(raw.ask(w.query(sql))) == []
    for frames in ([w.execute("pp")], [w.execute("pp")], [w.parse("FETCH ALL FROM pp"), w.bind(), w.execute()]):
        got = raw.ask(*frames, w.SYNC)
        assert w.errors(got) == ["53400"] and w.rows(got) == []
        assert w.errors(raw.ask(w.query("ROLLBACK TO s"))) == []


def test_a_portal_of_execute_goes_on_with_what_it_ran_alone(on_a_road):
    veil, raw = on_a_road()
    assert w.errors(raw.ask(w.query("BEGIN; PREPARE p AS " + LABELS))) == []
    got = raw.ask(w.parse("EXECUTE p"), w.bind((), "", "pp"), w.execute("pp", 2), w.execute("pp", 1), w.SYNC)
    assert w.errors(got) == [] and len(w.rows(got)) == 3
    assert w.errors(raw.ask(w.query("DEALLOCATE p; PREPARE p AS SELECT 1 AS id, 'x'::text AS label"))) == []
    consent(veil, "megamart", "withdraw")
    with veil.connect("alice", veil.room) as conn:
        assert comes_true(lambda: refusal(conn, LABELS) is not None)
    got = raw.ask(w.execute("pp", 2), w.SYNC)
    assert w.errors(got) == ["42501"] and w.rows(got) == []


ENDS = {
    "last_of_several": lambda q: [[w.query(HOLD + q + "; SELECT 1")]],
    "in_one_query": lambda q: [[w.query("BEGIN; " + HOLD + q + "; COMMIT")]],
    "commit": lambda q: [[w.query("BEGIN")], [w.query(HOLD + q)], [w.query("COMMIT")]],
    "extended_commit": lambda q: [[w.query("BEGIN; " + HOLD + q)], [w.parse("END"), w.bind(), w.execute(), w.SYNC]],
    "sync": lambda q: [[w.parse(HOLD + q), w.bind(), w.execute(), w.SYNC]],
    "late_sync": lambda q: [[w.parse(HOLD + q), w.bind(), w.execute(), w.parse("SELECT 1"), w.bind(), w.execute(), w.SYNC]],
}


@pytest.mark.parametrize("end", ENDS)
def test_the_transactions_end_runs_held_cursors_under_their_controls(on_a_road, end):
    veil, raw = on_a_road(hasty)
    for sql, sqlstate in ((FAILS, "22P02"), (HASTY, "57014")):
        got = [message for frames in ENDS[end](sql) for message in raw.ask(*frames)]
        assert w.errors(got) == [sqlstate], sql
        for message in got:
            if message.tag in "EN":
                assert "g1" not in message.body.decode() and "integer" not in message.body.decode(), message
        assert w.rows(raw.ask(w.query("SELECT 2"))) == [("2",)]
    events = veil.event_rows("event = 'database_error'")
    assert any("invalid input syntax" in event["detail"] for event in events)


def test_errors_beside_a_held_cursor_are_told(on_a_road):
    veil, raw = on_a_road(hasty)
    assert w.errors(raw.ask(w.query("BEGIN; " + HOLD + FAILS))) == []
    got = raw.ask(w.query("SELECT 1 / 0"))
    assert w.errors(got) == ["22012"] and got[0].fields["M"] == "division by zero"
    assert w.errors(raw.ask(w.query("ROLLBACK"))) == []
