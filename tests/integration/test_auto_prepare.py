"""
Statements that come again are prepared by pgveil (pool.auto_prepare): nobody may notice but the database. The oracle is the
same conversation with the same proxy while the setting is 0: both must be equal byte by byte.
"""
import os
import re
import threading
import time

import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib import data
from tests.lib.wire import FLUSH, SYNC, Closed, bind, close, describe, errors, execute, parse, query, rows, tags

USES = 3
EXECUTED = re.compile(r"execute pgveil.r([0-9a-f]{8}): (.*)")
OWN = "SELECT grp, count(*) AS n FROM public.own GROUP BY grp ORDER BY grp"
GROUPS = {"alice": ["g0"], "bi_service": ["g1", "g2"], "norma": []}
USERS = {user: {"password": data.USERS[user]["password"], "attributes": {"groups": groups}} for user, groups in GROUPS.items()}
FIRST = "SELECT id, grp FROM public.cells WHERE id <= %d ORDER BY id"
# Enough to be counted, prepared, and planned for good (PostgreSQL does that at the sixth run).
OFTEN = 14


def room_of(name):
    room = data.small_room(name)
    room["members"]["norma"] = {"party": "acme", "roles": ["analyst"]}
    cells = room["datasets"]["public.cells"]
    for column in ("n_date", "d_month", "b_num", "b_float"):
        cells["columns"][column] = {"category": 1}
    cells["analysis_rule"] = {
        "type": "aggregation", "join_columns": ["id"], "dimension_columns": ["grp", "n_date", "d_month"],
        "aggregate_columns": [{"columns": ["b_int", "b_num", "b_float"], "functions": ["sum", "avg", "count"]}],
        "scalar_functions": ["date_trunc", "coalesce", "lower", "upper"]}
    room["datasets"]["public.own"] = {"owner": "acme", "source": "zoo.cells", "row_filter": "grp = ANY (:groups)", "columns": {
        "id": {"category": 1}, "grp": {"category": 1}, "h_text": {"category": 3}}}
    room["questions"].update({
        "own": {"type": "analytical", "sql": OWN},
        "own_one": {"type": "list", "sql": "SELECT id, grp, h_text FROM public.own WHERE id <= :n ORDER BY id",
                    "parameters": {"n": {"type": "integer"}}},
        "one": {"type": "list", "sql": "SELECT id, grp FROM public.cells WHERE id = :n",
                "parameters": {"n": {"type": "integer"}}},
        "of_group": {"type": "list", "sql": "SELECT id, grp, n_date FROM public.cells WHERE grp = :g AND n_date >= :d ORDER BY id",
                     "parameters": {"g": {"type": "text"}, "d": {"type": "date"}}},
        "amounts": {"type": "list", "sql": "SELECT id, b_num, b_float FROM public.cells WHERE b_num > :n ORDER BY id",
                    "parameters": {"n": {"type": "numeric"}}},
        "broken": {"type": "list", "sql": "SELECT id, 100 / (id - :n) AS q FROM public.cells WHERE id < 20 ORDER BY id",
                   "parameters": {"n": {"type": "integer"}}},
        "guarded": {"type": "list", "sql": "SELECT id FROM public.cells WHERE id <= :n ORDER BY id",
                    "parameters": {"n": {"type": "integer"}}, "output": {"max_rows": 5}},
        "big_groups": {"type": "analytical", "sql": "SELECT grp, count(*) AS n FROM public.cells WHERE id <= :n GROUP BY grp",
                       "parameters": {"n": {"type": "integer"}},
                       "output": {"entity": "cells.id", "minimum_entities": 10}},
        "explore": {"type": "analytical", "open": True, "datasets": ["public.cells"]},
    })
    return room


class Room:
    """An installation of one room, with the setting that a test asks for."""

    def __init__(self, cluster, mode, room=None, **config):
        self.cluster, self.mode, self.config = cluster, mode, config
        room = room or room_of("again_%s_%d_%d" % (mode[:4], os.getpid(), time.monotonic_ns()))
        self.room = room["room"]
        self.veil = make_veil(cluster, [room], USERS, self.settings(USES))
        self.veil.provision()
        self.veil.start()
        self.opened = []

    def settings(self, uses):
        pool = {"mode": self.mode, "auto_prepare": uses, **({"size": 1} if self.mode == "transaction" else {})}
        return {"workers": 1, "pool": pool, "audit": {"durability": "relaxed"}, **self.config}

    def set(self, uses):
        since = len(self.veil.stderr())
        self.veil.config["pool"]["auto_prepare"] = uses
        self.veil.write_config()
        self.veil.hup()
        self.veil.wait_stderr("in force", since)

    def wire(self, user="alice", **more):
        wire = self.veil.wire(user, self.room, **more)
        self.opened.append(wire.sock)
        return wire

    def connect(self, user="alice", **more):
        conn = self.veil.connect(user, self.room, **more)
        conn.prepare_threshold = None
        self.opened.append(conn)
        return conn

    def mark(self):
        """The number, in the log, of a statement behind all that were before; the log is relaxed, so it comes later."""
        text = "SELECT 'mark %d'" % time.monotonic_ns()
        self.wire().ask(query(text))
        deadline = time.monotonic() + 60
        while not (found := self.veil.log_rows("query = ?", (text,))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found[0]["seq"]

    def rest(self):
        for one in self.opened:
            one.close()
        self.opened = []


@pytest.fixture(scope="module", params=["session", "transaction"])
def installation(cluster, request):
    room = Room(cluster, request.param)
    yield room
    assert room.veil.stop() == 0
    room.veil.close()


@pytest.fixture
def again(installation):
    yield installation
    installation.rest()
    if installation.veil.config["pool"]["auto_prepare"] != USES:
        installation.set(USES)


class Watch:
    """What the database executed of ours meanwhile."""

    def __init__(self, cluster):
        self.cluster, self.since = cluster, cluster.log_size()

    def runs(self):
        return EXECUTED.findall(self.cluster.log(self.since))

    def names(self):
        return {name for name, _ in self.runs()}


def raw(messages):
    """All that the client got, but for what differs from run to run by itself."""
    return [(m.tag, m.body) for m in messages]


def converse(wire, steps):
    got = []
    for step in steps:
        frames = step if isinstance(step, (list, tuple)) else [step]
        wire.send(*frames)
        for _ in range(sum(1 for f in frames if f[:1] in (b"Q", b"S"))):
            got += wire.until("Z")
    return raw(got)


def same_with_and_without(again, steps, params=(), is_prepared=True, names=1):
    """The conversation while nothing is prepared, and while all that may be is, under so many names: what the client got."""
    again.set(0)
    watch = Watch(again.cluster)
    expected = converse(again.wire(params=params), steps)
    assert not watch.runs()
    again.rest()
    again.set(USES)
    for _ in range(20):
        watch = Watch(again.cluster)
        assert converse(again.wire(params=params), steps) == expected
        again.rest()
        if not is_prepared:
            assert not watch.runs()
            return expected
        if len(watch.names()) >= names:
            return expected
    raise AssertionError("nothing was ever prepared")


# ---- what the client gets

@pytest.mark.parametrize("texts", [
    [FIRST % n for n in range(1, 40)],
    ["SELECT id AS \"Nr\", grp AS \"die Gruppe\" FROM public.cells WHERE id = %d" % n for n in range(OFTEN)],
    ["SELECT id, grp, n_date FROM public.cells WHERE grp = '%s' AND n_date >= '%s' ORDER BY id" % (g, d)
     for g in ("g0", "g1", "no such", "it is \" fine", "") for d in ("2020-02-01", "2020-03-01", "0001-01-01", "infinity")],
    ["SELECT id, b_num, b_float FROM public.cells WHERE b_num > %s ORDER BY id" % n
     for n in ("10", "10.5", "-3", "'1e1'", "'NaN'", "100000", "7", "8", "9", "12", "13")],
    ["SELECT grp, count(*) AS n FROM public.cells GROUP BY grp ORDER BY grp"] * OFTEN,
    ["SELECT grp, date_trunc('month', d_month) AS m, sum(b_int) AS s, avg(b_num) FROM public.cells "
     "WHERE n_date >= date '2020-02-01' GROUP BY 1, 2 ORDER BY 2, 1 LIMIT 7"] * OFTEN,
    ["SELECT n, grp FROM questions.big_groups(n => 100) ORDER BY grp"] * OFTEN,
    ["SELECT grp, count(*) AS n FROM public.cells WHERE id <= %d GROUP BY grp" % n for n in range(10, 40)],
    [OWN] * OFTEN,
    ["SELECT id, label FROM public.others ORDER BY id"] * OFTEN,
], ids=["integers", "names", "texts_and_dates", "numbers", "groups", "report", "by_name", "suppressed", "row_filter", "list"])
def test_answers_are_equal(again, texts):
    assert any(tag == "D" for tag, _ in same_with_and_without(again, [query(text) for text in texts]))


@pytest.mark.parametrize("texts", [
    ["SELECT id, 100 / (id - %d) AS q FROM public.cells WHERE id < 20 ORDER BY id" % n for n in [50] * OFTEN + [10, 50, 11, 12]],
    ["SELECT id FROM public.cells WHERE id <= %d ORDER BY id" % n for n in [3] * OFTEN + [8, 2, 9]],
    [FIRST % n for n in [3] * OFTEN + [0, 1001, 4]],
], ids=["division", "max_rows", "out_of_bounds"])
def test_errors_are_equal(again, texts):
    got = same_with_and_without(again, [query(text) for text in texts])
    assert sum(tag == "E" for tag, _ in got) >= 2


def test_what_stands_around_is_equal(again):
    """Transactions, pipelines, several statements, the protocol's own statements and portals between the uses."""
    steps = []
    for n in range(OFTEN):
        steps += [query(FIRST % (n % 4 + 1)),
                  query("BEGIN"), query(FIRST % 2), query("SELECT id, no_such FROM public.cells"), query(FIRST % 2),
                  query("ROLLBACK"),
                  [query(FIRST % 3), query(FIRST % 1), query("SELECT 1"), query(FIRST % 2)],
                  query("SELECT 7; " + FIRST % 2), query(FIRST % 1 + ";"), query("  " + FIRST % 1),
                  [parse("SELECT 5"), bind(), SYNC], query(FIRST % 2), [bind(), execute(), SYNC], [execute(), SYNC],
                  [parse("SELECT 6", "mine"), SYNC] if n == 0 else [describe("S", "mine"), SYNC],
                  [parse("SELECT 8"), query(FIRST % 1), bind(), execute(), SYNC],
                  [bind([], "mine"), execute(), SYNC], query(""), query("SELECT nothing"), query("SHOW TimeZone")]
    same_with_and_without(again, steps)


@pytest.mark.parametrize("sql", [
    "SELECT 1", "SHOW TimeZone", "BEGIN; " + FIRST % 2 + "; COMMIT", FIRST % 2 + "; " + FIRST % 2,
    "SELECT relname FROM pg_catalog.pg_class WHERE relname = 'cells'",
    "COPY (%s) TO STDOUT" % (FIRST % 2), "SELECT now() > 'yesterday'::date",
    "SELECT count(*) AS n FROM public.cells WHERE n_date <= 'today'::date",
    "SELECT count(*) AS n FROM public.cells WHERE n_date <= 'ToMorrow'::date",
], ids=str)
def test_what_may_mean_something_else_tomorrow_is_not_prepared(again, sql):
    same_with_and_without(again, [query(sql)] * OFTEN, is_prepared=False)


def test_not_within_a_transaction(again):
    steps = [query("BEGIN")] + [query(FIRST % 2)] * OFTEN + [query("COMMIT")]
    same_with_and_without(again, steps, is_prepared=False)


# ---- whose rows, whose settings

def until_prepared(again, run, runs=1):
    """Calls run() until the database has executed something of ours, and what it was."""
    for _ in range(60):
        watch = Watch(again.cluster)
        for _ in range(USES + 2):
            run()
        found = watch.runs()
        if len(found) >= runs:
            return found
    raise AssertionError("nothing was ever prepared")


def test_each_user_gets_their_own_rows(again):
    """In transaction mode all of them on one connection, turn by turn, long after plans are made for good."""
    conns = {user: again.connect(user) for user in GROUPS}

    def ask():
        for user in sorted(conns):
            assert [r[0] for r in conns[user].execute(OWN)] == GROUPS[user], user
            got = conns[user].execute("SELECT id, grp, h_text FROM public.own WHERE id <= 30 ORDER BY id").fetchall()
            assert {grp for _, grp, _ in got} == set(GROUPS[user]) and len(got) == 10 * len(GROUPS[user])
    until_prepared(again, ask, runs=3)
    watch = Watch(again.cluster)
    deadline = time.monotonic() + 180
    while len(watch.runs()) < 40:
        assert time.monotonic() < deadline
        for _ in range(10):
            ask()


def test_new_attributes_hold_at_once(cluster):
    for mode in ("session", "transaction"):
        room = Room(cluster, mode)
        try:
            alice, bi = room.connect("alice"), room.connect("bi_service")
            until_prepared(room, lambda: (alice.execute(OWN), bi.execute(OWN)))
            room.veil.write_users(dict(USERS, alice={"password": USERS["alice"]["password"], "attributes": {"groups": ["g2"]}}))
            room.set(USES)
            for _ in range(8):
                assert [r[0] for r in alice.execute(OWN)] == ["g2"]
                assert [r[0] for r in bi.execute(OWN)] == GROUPS["bi_service"]
            room.rest()
            assert room.veil.stop() == 0
        finally:
            room.veil.close()


def test_the_first_of_a_policy_waits_while_others_come(again):
    """They are judged one behind the other, and what the later ones are prepared as is none of the first's."""
    wire = again.wire()
    until_prepared(again, lambda: wire.ask(query(FIRST % 3)))
    for _ in range(5):
        again.set(USES)
        wire.send(*[query(FIRST % n) for n in range(1, 9)])
        assert [len(rows(wire.until("Z"))) for _ in range(8)] == list(range(1, 9))


def test_settings_under_which_constants_are_read(again):
    """What PostgreSQL makes of a constant when it parses it is that of the settings of now."""
    sql = "SELECT (0.1::float8 + 0.2::float8)::text AS f, '01/02/2020'::date AS d, '-1 day 2 hours'::interval AS i, " \
          "'2020-06-01 12:30'::timestamptz AS t, count(*) AS n FROM public.cells"
    steps = [query(sql)] * OFTEN
    for setting in ("SET DateStyle = 'ISO, DMY'", "SET IntervalStyle = 'sql_standard'", "SET TimeZone = 'Asia/Tokyo'",
                    "SET extra_float_digits = -3", "RESET ALL", "SELECT set_config('extra_float_digits', '-5', false)",
                    "BEGIN; SET extra_float_digits = -2; COMMIT", "BEGIN; SET extra_float_digits = 1; ROLLBACK",
                    "SET SESSION extra_float_digits = 0; SELECT 1", "DISCARD ALL"):
        steps += [query(setting)] + [query(sql)] * OFTEN
    same_with_and_without(again, steps)
    same_with_and_without(again, steps[:OFTEN], params=[("DateStyle", "SQL, DMY"), ("extra_float_digits", "-1")])


def test_settings_are_each_client_s_own(again):
    one, two = again.connect(), again.connect()
    two.execute("SET DateStyle = 'ISO, DMY'")
    two.execute("SET extra_float_digits = -3")
    sql = "SELECT '01/02/2020'::date = date '2020-01-02' AS is_month_first, (1.0::float8 / 3)::text AS third, count(*) FROM public.cells"

    def ask():
        assert one.execute(sql).fetchone()[:2] == (True, "0.3333333333333333")
        assert two.execute(sql).fetchone()[:2] == (False, "0.333333333333")
    until_prepared(again, ask)
    for _ in range(8):
        ask()


# ---- names of ours

def test_nobody_sees_or_touches_names_of_ours(again):
    wire = again.wire()
    found = until_prepared(again, lambda: wire.ask(query(FIRST % 4)))
    name = "pgveil\x01r" + found[-1][0]
    assert rows(wire.ask(query("SELECT name FROM pg_catalog.pg_prepared_statements"))) == []
    assert errors(wire.ask(query('EXECUTE "%s"(3)' % name)))[0] in ("26000", "42939")
    assert errors(wire.ask(query('DEALLOCATE "%s"' % name)))[0] in ("26000", "42939")
    assert errors(wire.ask(query('PREPARE "%s" AS SELECT 1' % name)))[0] == "42939"
    for message in (parse("SELECT 1", name), bind([b"3"], name), describe("S", name), close("S", name)):
        assert errors(wire.ask(message, SYNC))[0] == "42939"
    assert rows(wire.ask(query(FIRST % 1))) == [("1", "g1")]
    # The same one still, whenever the machine is quick enough for it to be used.
    assert {n for n, _ in until_prepared(again, lambda: wire.ask(query(FIRST % 4)))} == {found[-1][0]}


@pytest.mark.parametrize("reset", ["DISCARD ALL", "DEALLOCATE ALL", "BEGIN", "DISCARD PLANS"])
def test_resets_are_survived(again, reset):
    wire = again.wire()
    for turn in range(3):
        until_prepared(again, lambda: wire.ask(query(FIRST % 2)))
        wire.ask(query(reset))
        if reset == "BEGIN":
            assert errors(wire.ask(query("SELECT 1/0")))[0] == "22012"
            assert errors(wire.ask(query("DEALLOCATE ALL")))[0] == "25P02"
            assert errors(wire.ask(query(FIRST % 2)))[0] == "25P02"
            wire.ask(query("ROLLBACK"))
        for n in range(4):
            got = wire.ask(query(FIRST % 2))
            assert tags(got) == "TDDCZ" and rows(got) == [("1", "g1"), ("2", "g2")]


def test_names_are_bounded(again):
    """More statements that come again than a connection keeps: those not used for longest are closed."""
    wire = again.wire()
    texts = ["SELECT grp, sum(b_int) + %d AS s FROM public.cells GROUP BY grp ORDER BY grp" % (10 * n) for n in range(75)]
    expected = [rows(wire.ask(query(text))) for text in texts]
    seen = set()
    deadline = time.monotonic() + 180
    while len(seen) < 70 and time.monotonic() < deadline:
        watch = Watch(again.cluster)
        for text, answer in zip(texts, expected):
            for _ in range(USES + 2):
                assert rows(wire.ask(query(text))) == answer
        seen |= watch.names()
    assert len(seen) >= 70
    pid = again.cluster.rows("SELECT pid FROM pg_stat_activity WHERE usename LIKE %s AND query LIKE '%%b_int%%'",
                             ("pgveil_%%%s%%" % again.room,))
    assert len(pid) == 1


def test_a_session_that_follows_knows_nothing_of_them(again):
    """With session pooling the connection is handed on by DISCARD ALL; with transaction pooling statements stay."""
    first = again.wire()
    until_prepared(again, lambda: first.ask(query(FIRST % 5)))
    again.rest()
    second = again.wire()
    for n in range(OFTEN):
        assert len(rows(second.ask(query(FIRST % (n + 1))))) == n + 1
    assert rows(second.ask(query("SELECT name FROM pg_catalog.pg_prepared_statements"))) == []


# ---- the unnamed statement of the extended protocol

TOTAL = "SELECT grp, count(*) AS n, sum(b_int) AS s FROM public.cells WHERE n_date >= $1 GROUP BY grp ORDER BY grp"
ONE = "SELECT id, grp FROM public.cells WHERE id = $1"
BROKEN = "SELECT id, 100 / (id - $1) AS q FROM public.cells WHERE id < 20 ORDER BY id"


def segment(sql, params=(), types=(), formats=(), results=(), described=True, row_count=0):
    """As libpq and most drivers send what has parameters."""
    frames = [parse(sql, oids=types), bind(params, formats=formats, result_formats=results)]
    return frames + ([describe("P")] if described else []) + [execute("", row_count), SYNC]


def day(n):
    return b"2020-02-%02d" % (n % 28 + 1)


def test_segments_are_answered_equally(again):
    numbers = range(1, OFTEN)
    kinds = [
        [segment(ONE, [b"%d" % n], types=[23]) for n in numbers],
        [segment(ONE, [b"%d" % n]) for n in numbers],
        [segment(ONE, [n.to_bytes(4, "big")], types=[23], formats=[1], results=[1]) for n in numbers],
        [segment(ONE, [b"%d" % n], types=[20], results=[n % 2]) for n in numbers],
        [segment(TOTAL, [day(n)], described=n % 2 > 0) for n in numbers],
        [segment(TOTAL, [day(n)], types=[1082], row_count=n % 4) for n in numbers],
        [segment(TOTAL, [None], types=[1082])] * OFTEN,
        [segment(OWN)] * OFTEN,
        [segment("SELECT grp, count(*) AS n FROM public.cells WHERE id <= $1 GROUP BY grp", [b"%d" % n]) for n in range(18, 18 + OFTEN)],
        [segment("SELECT id, label FROM public.others ORDER BY id")] * OFTEN]
    steps = [step for kind in kinds for step in kind]
    got = same_with_and_without(again, steps, names=6)
    assert sum(tag == "1" for tag, _ in got) == sum(tag == "C" for tag, _ in got) + sum(tag == "s" for tag, _ in got) == len(steps)


def test_binds_that_fail(again):
    right = segment(TOTAL, [day(9)])
    steps = [right] * OFTEN
    for wrong in (segment(TOTAL, [b"no date"]), segment(TOTAL, [b"1", b"2"]), segment(TOTAL), segment(TOTAL, [b"2020-02-99"]),
                  segment(TOTAL, [b"\x00\x01"], formats=[1]), segment(TOTAL, [day(5)], results=[0, 1]),
                  segment(TOTAL, [day(5)], results=[7]), segment(TOTAL, [b"\xff"])):
        steps += [right, wrong, right, [bind([day(4)]), execute(), SYNC]]
    got = same_with_and_without(again, steps)
    assert [tag for tag, _ in got].count("E") == 8


def test_rows_that_fail(again):
    got = same_with_and_without(again, [segment(BROKEN, [b"%d" % n], types=[23]) for n in [50] * OFTEN + [10, 50, 11, 12]])
    assert [tag for tag, _ in got].count("E") == 3
    got = same_with_and_without(again, [segment("SELECT id FROM public.cells WHERE id <= $1 ORDER BY id", [b"%d" % n], types=[23])
                                        for n in [3] * OFTEN + [8, 2, 9]])
    assert [tag for tag, _ in got].count("E") == 2


def test_the_unnamed_statement_lasts(again):
    """Until the next Parse of it or a Query, whatever the server has in its place."""
    steps = [segment(TOTAL, [day(17)])] * OFTEN
    for between in ([], [[parse("SELECT 1", "kept"), SYNC]], [query("SELECT 1")], [segment("SELECT 5")],
                    [[parse("SELECT no_such FROM public.cells"), SYNC]], [[close("S"), SYNC]], [[close("S", "none"), SYNC]],
                    [segment(TOTAL, [b"wrong"])], [segment(ONE, [b"3"])], [[bind([], "none"), SYNC]],
                    [[parse("DEALLOCATE ALL", "all"), bind([], "all"), execute(), SYNC]],
                    [[parse("DISCARD ALL", "all"), bind([], "all"), execute(), SYNC]],
                    [[bind([], "none"), parse("SELECT 6"), SYNC]],
                    [[parse("BEGIN", "begin"), bind([], "begin"), execute(), SYNC]]):
        steps += [segment(TOTAL, [day(17)])] * 2 + between + [
            [bind([day(4)]), execute(), SYNC], [describe("S"), SYNC], [bind([day(5)]), describe("P"), execute(), SYNC],
            [bind([day(8)], portal="p"), execute("p"), bind([day(9)]), execute(), SYNC], query("ROLLBACK"), [bind([day(5)]), execute(), SYNC]]
    same_with_and_without(again, steps)


def test_segments_of_other_forms(again):
    """They go as they came, between others that do not."""
    steps = []
    for n in range(OFTEN):
        steps += [segment(TOTAL, [day(9)]),
                  [parse(TOTAL), describe("S"), SYNC], [bind([day(3)]), execute(), SYNC],
                  [parse(TOTAL), bind([day(3)], portal="p"), execute("p"), SYNC],
                  [parse(TOTAL), bind([day(3)]), execute("", 1), execute(), SYNC],
                  segment(TOTAL, [day(9)])[:-1] + segment(ONE, [b"3"]),
                  segment(TOTAL, [day(9)]) + segment(TOTAL, [day(8)]) + [query(FIRST % 1)] + segment(OWN),
                  [query(FIRST % 2)] + segment(TOTAL, [day(9)]),
                  [parse(TOTAL), bind([day(3)]), SYNC], [parse(TOTAL), bind([day(3)]), close("P"), SYNC],
                  [parse(TOTAL), bind([day(3)]), execute(), close("S"), SYNC],
                  query("BEGIN"), segment(TOTAL, [day(9)]), segment("SELECT no_such FROM public.cells"), segment(TOTAL, [day(9)]),
                  query("ROLLBACK"), segment(TOTAL, [day(9)]), segment("SELECT no_such FROM public.cells"), segment("")]
    same_with_and_without(again, steps)


def test_segments_that_are_not_prepared(again):
    steps = [step for kind in (
        [segment("SELECT 1")], [segment("SHOW TimeZone")], [segment("SELECT $1::int", [b"1"])],
        [segment("SELECT count(*) AS n FROM public.cells WHERE n_date <= 'today'::date")]) for step in kind * OFTEN]
    steps += [query("BEGIN")] + [segment(TOTAL, [day(9)])] * OFTEN + [query("COMMIT"), [parse(TOTAL, "mine"), SYNC]]
    same_with_and_without(again, steps + [[bind([day(9)], "mine"), execute(), SYNC]] * OFTEN, is_prepared=False)


def test_a_segment_in_pieces(again):
    """Each message by itself, and Flush in place of Sync: the replies come when they did."""
    wire = again.wire()
    until_prepared(again, lambda: wire.ask(*segment(TOTAL, [day(9)])))
    for _ in range(3):
        for frame in segment(TOTAL, [day(9)]):
            wire.send(frame)
            time.sleep(0.02)
        assert tags(wire.until("Z")) == "12TDDDCZ"
        wire.send(parse(TOTAL), FLUSH)
        assert tags(wire.until("1")) == "1"
        wire.send(bind([day(9)]), execute(), FLUSH)
        assert tags(wire.until("C")) == "2DDDC"
        assert tags(wire.ask(SYNC)) == "Z"


def test_segments_of_settings_and_users(again):
    """Who asks and under which settings, where all share one connection."""
    wires = {user: again.wire(user) for user in GROUPS}
    wires["alice"].ask(query("SET extra_float_digits = -3"))
    sql = "SELECT (1.0::float8 / 3)::text AS third, count(*) AS n FROM public.cells WHERE n_date >= $1"

    def ask():
        for user in sorted(wires):
            assert [r[0] for r in rows(wires[user].ask(*segment(OWN)))] == GROUPS[user], user
            third = rows(wires[user].ask(*segment(sql, [day(1)])))[0][0]
            assert third == ("0.333333333333" if user == "alice" else "0.3333333333333333"), user
    until_prepared(again, ask, runs=6)
    for n in range(8):
        ask()


def test_drivers(again):
    conn = again.connect()
    assert len(until_prepared(again, lambda: conn.execute(TOTAL.replace("$1", "%s"), ("2020-02-03",)).fetchall())) > 0
    for n in range(4):
        assert len(conn.execute(ONE.replace("$1", "%s"), (n + 1,)).fetchall()) == 1


# ---- what may come between

def last_column(got):
    """The type of it."""
    return next(m for m in got if m.tag == "T").columns[-1][3]


def test_another_result_type_never_shows(cluster):
    """PostgreSQL says `cached plan must not change result type` then; the client sees what a Query gives."""
    for mode in ("session", "transaction"):
        cluster.psql("CREATE TABLE zoo.moving (id integer, v integer); INSERT INTO zoo.moving VALUES (1, 10); "
                     "GRANT SELECT ON zoo.moving TO pgveil WITH GRANT OPTION")
        room = None
        try:
            again = room_of("moving_%s_%d" % (mode[:4], os.getpid()))
            again["datasets"]["public.moving"] = {"owner": "acme", "source": "zoo.moving", "columns": {
                "id": {"category": 1}, "v": {"category": 1}}}
            again["questions"]["moving"] = {"type": "list", "sql": "SELECT id, v FROM public.moving WHERE id = :n",
                                            "parameters": {"n": {"type": "integer"}}}
            again["questions"]["moving_all"] = {"type": "list", "sql": "SELECT v FROM public.moving"}
            room = Room(cluster, mode, room=again)
            wire = room.wire()
            simple, extended = "SELECT id, v FROM public.moving WHERE id = 1", "SELECT id, v FROM public.moving WHERE id = $1"
            for frames in ([query(simple)], segment(extended, [b"1"]), [query("SELECT v FROM public.moving")]):
                cluster.psql("ALTER TABLE zoo.moving ADD COLUMN IF NOT EXISTS more text")
                until_prepared(room, lambda: wire.ask(*frames))
                view = cluster.rows("SELECT format('%%I.moving', nspname) FROM pg_namespace WHERE nspname LIKE %s",
                                    ("pgveil_%s$public" % room.room,))[0][0]
                types = last_column(wire.ask(*frames))
                definition = cluster.rows("SELECT pg_get_viewdef('%s'::regclass)" % view)[0][0]
                grants = cluster.rows("SELECT relowner::regrole::text, (aclexplode(relacl)).grantee::regrole::text, "
                                      "reloptions FROM pg_class WHERE oid = '%s'::regclass" % view)
                assert types == 23
                cluster.psql("BEGIN; DROP VIEW %s CASCADE; CREATE VIEW %s WITH (security_barrier) AS SELECT id, v::bigint * 100 AS v FROM zoo.moving; "
                             "ALTER VIEW %s OWNER TO %s; COMMIT" % (view, view, view, '"%s"' % grants[0][0].strip('"')))
                for _, grantee, _ in grants:
                    cluster.psql("GRANT SELECT ON %s TO \"%s\"" % (view, grantee.strip('"')))
                for _ in range(OFTEN):
                    got = wire.ask(*frames)
                    assert tags(got)[-4:] == "TDCZ" and last_column(got) == 20 and rows(got)[0][-1] == "1000", got
                cluster.psql("BEGIN; DROP VIEW %s CASCADE; CREATE VIEW %s WITH (security_barrier) AS %s; ALTER VIEW %s OWNER TO %s; COMMIT"
                             % (view, view, definition.rstrip("; \n"), view, '"%s"' % grants[0][0].strip('"')))
                for _, grantee, _ in grants:
                    cluster.psql("GRANT SELECT ON %s TO \"%s\"" % (view, grantee.strip('"')))
                assert rows(wire.ask(*frames))[0][-1] == "10"
                until_prepared(room, lambda: wire.ask(*frames))
                cluster.psql("REVOKE SELECT ON %s FROM %s" % (view, ", ".join('"%s"' % g[1].strip('"') for g in grants)))
                refused = errors(wire.ask(*frames))
                assert refused[0] == "42501"
                for _, grantee, _ in grants:
                    cluster.psql("GRANT SELECT ON %s TO \"%s\"" % (view, grantee.strip('"')))
                assert rows(wire.ask(*frames))[0][-1] == "10"
                assert "cached plan" not in room.veil.stderr()
            room.rest()
            room.mark()
            failed = [r for r in room.veil.log_rows("outcome = 'failed'")]
            assert [r["sqlstate"] for r in failed] == ["42501"] * 3
        finally:
            if room is not None:
                room.rest()
                room.veil.stop()
                room.veil.run("provision", "--drop")
                room.veil.close()
            cluster.psql("DROP TABLE zoo.moving CASCADE")


def test_the_log_says_the_same(again):
    """What was asked and what of it was sent, as SQL, with rows, bytes and outcome, however it went."""
    segments = [segment(TOTAL, [day(n)]) for n in range(9)] + [segment(BROKEN, [b"%d" % n], types=[23]) for n in [60] * 9 + [10, 60]]
    segments += [segment(TOTAL, [b"no date"]), segment(TOTAL, [day(1)], row_count=1), [parse(TOTAL), describe("S"), SYNC]]
    texts = [FIRST % n for n in range(1, 20)] + ["SELECT id, 100 / (id - 5) AS q FROM public.cells WHERE id < 20 ORDER BY id"] * 12 + [OWN] * 9
    columns = ("query", "forwarded", "parameters", "protocol", "question", "decision", "rows", "bytes", "outcome", "sqlstate", "suppressed")
    logs = []

    def all_ended(session_rows):
        return len(session_rows) == len(texts) + len(segments) and all(row["outcome"] for row in session_rows)

    for uses in (0, USES):
        for _ in range(20):
            again.set(uses)
            watch = Watch(again.cluster)
            since = again.mark()
            again.rest()
            converse(again.wire(), [query(text) for text in texts] + segments)
            again.rest()
            deadline = time.monotonic() + 60
            while True:
                found = [row for row in again.veil.log_rows("seq > ?", (since,)) if row["query"] in texts + [TOTAL, BROKEN]]
                if all_ended(found):
                    break
                assert time.monotonic() < deadline
                time.sleep(0.05)
            if uses == 0 or any("$1" in text and "GROUP BY" in text for _, text in watch.runs()):
                break
        assert bool(watch.runs()) == (uses > 0)
        logs.append([tuple(row[column] for column in columns) for row in found])
    assert logs[0] == logs[1]
    assert "'7'" in logs[1][6][1] and "($1" not in logs[1][6][1]


def wire_again(again):
    """A login that is given a connection at rest before its end is heard of fails with it."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return again.wire()
        except (Closed, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_server_that_is_lost_takes_its_names_along(again):
    wire = again.wire()
    until_prepared(again, lambda: wire.ask(query(FIRST % 6)))
    gone = again.cluster.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE %s",
                              ("pgveil_%%%s%%" % again.room,))
    assert gone
    if again.mode == "session":
        with pytest.raises((Closed, OSError)):
            for _ in range(50):
                wire.ask(query(FIRST % 6))
        wire = wire_again(again)
    for _ in range(100):
        try:
            got = wire.ask(query(FIRST % 6))
        except (Closed, OSError):
            wire = wire_again(again)
            continue
        if tags(got) != "EZ":
            break
        assert errors(got)[0] in ("08006", "57P01")
        time.sleep(0.05)
    for n in range(1, OFTEN):
        assert len(rows(wire.ask(query(FIRST % n)))) == n
    until_prepared(again, lambda: wire.ask(query(FIRST % 6)))


def test_a_reload_is_judged_by(cluster):
    for mode in ("session", "transaction"):
        room = Room(cluster, mode)
        try:
            wire = room.wire()
            until_prepared(room, lambda: wire.ask(query(FIRST % 6)))
            definition = room_of(room.room)
            definition["questions"]["first"]["parameters"]["n"]["maximum"] = 5
            room.veil.write_room(definition)
            room.set(USES)
            assert errors(wire.ask(query(FIRST % 6)))[0] == "22023"
            assert len(rows(wire.ask(query(FIRST % 5)))) == 5
            del definition["questions"]["first"]
            room.veil.write_room(definition)
            room.set(USES)
            assert errors(wire.ask(query(FIRST % 5)))[0] == "42501"
            room.rest()
            assert room.veil.stop() == 0
        finally:
            room.veil.close()


def test_metrics_count_them(cluster):
    from urllib.request import urlopen
    from tests.lib.cluster import free_port
    port = free_port()
    room = Room(cluster, "transaction", metrics="127.0.0.1:%d" % port)
    try:
        wire = room.wire()
        watch = Watch(cluster)
        until_prepared(room, lambda: wire.ask(query(FIRST % 2)))
        with urlopen("http://127.0.0.1:%d/metrics" % port, timeout=60) as answer:
            found = dict(line.split(" ") for line in answer.read().decode().splitlines() if line.startswith("pgveil_auto"))
        assert int(found["pgveil_auto_prepared_total"]) >= 1
        assert int(found["pgveil_auto_prepared_uses_total"]) == len(watch.runs())
        room.rest()
        assert room.veil.stop() == 0
    finally:
        room.veil.close()
