"""Sessions that share server connections: what one does must never show in another, nor that there is another."""
import os
import threading
import time
import urllib.request

import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib import data
from tests.lib.cluster import free_port
from tests.lib.running import patiently
from tests.lib.wire import SYNC, Wire, bind, close, describe, errors, execute, parse, query, rows, tags

BY_COUNTRY = "SELECT country, count(*) AS n FROM public.customers GROUP BY country ORDER BY country"
COUNTRIES = {"alice": {"US", "CA"}, "bi_service": {"US", "CA", "GB", "DE"}, "norma": set()}


def pool_room(name):
    room = data.small_room(name)
    room["members"]["norma"] = {"party": "acme", "roles": ["analyst"]}
    room["datasets"]["public.customers"] = {
        "owner": "megamart", "source": "crm.customers", "row_filter": "country = ANY (:countries)",
        "columns": {"customer_id": {"category": 3}, "country": {"category": 1}}}
    room["questions"]["by_country"] = {"type": "analytical", "sql": BY_COUNTRY}
    return room


class Installation:
    """One in transaction mode, with its one room in `.room`; sessions opened here end with the test."""

    def __init__(self, veil, opened):
        self.veil, self.opened = veil, opened

    def __getattr__(self, name):
        return getattr(self.veil, name)

    def connect(self, *args, **more):
        self.opened.append(self.veil.connect(*args, **more))
        return self.opened[-1]

    def wire(self, *args, **more):
        wire = self.veil.wire(*args, **more)
        self.opened.append(wire.sock)
        return wire


@pytest.fixture(scope="module")
def installations(cluster):
    """Those that tests share, by what is said of their pool."""
    made = {}
    yield made
    for veil in made.values():
        assert veil.stop() == 0
        veil.close()


@pytest.fixture
def pooled(cluster, installations):
    """pooled(size, workers=1, is_own=False, config=None, **pool): an installation that is up."""
    own, opened = [], []

    def make(size, workers=1, is_own=False, config=None, **pool):
        key = (size, workers, tuple(sorted(pool.items())))
        if is_own or config or key not in installations:
            name = "pool_%d_%d" % (os.getpid(), time.monotonic_ns())
            veil = make_veil(cluster, [pool_room(name)], config={
                "workers": workers, "pool": {"mode": "transaction", "size": size, **pool}, **(config or {})})
            veil.room = name
            veil.provision()
            veil.start()
            if is_own or config:
                own.append(veil)
            else:
                installations[key] = veil
        else:
            veil = installations[key]
        return Installation(veil, opened)

    yield make
    for one in opened:
        one.close()
    for veil in own:
        veil.close()


def servers(cluster, veil):
    """(pid, state, query) of the room's connections in the database."""
    return cluster.rows("SELECT pid, state, query FROM pg_stat_activity WHERE usename LIKE %s",
                        ("pgveil_%%%s%%" % veil.room,))


def wait_for(claim, seconds=60):
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def waiting(ask):
    """For who waits 400 ms for the one connection, which is free: it may be given back, or made, more slowly."""
    return patiently("became free within", ask)


def told(messages):
    """Tags with those of messages that nobody asked for."""
    return "".join(m.tag for m in messages)


def show(conn, name):
    return conn.execute("SHOW " + name).fetchone()[0]


# ---- whose rows

@pytest.mark.parametrize("size", [1, 2])
def test_each_user_gets_the_rows_of_their_own_attributes(cluster, pooled, size):
    veil = pooled(size)
    expected = {user: sorted(countries) for user, countries in COUNTRIES.items()}
    conns = {user: veil.connect(user, veil.room) for user in COUNTRIES}
    for turn in range(6):
        for user in sorted(conns, reverse=turn % 2 == 1):
            prepare = (None, False, True)[turn % 3]
            got = [r[0] for r in conns[user].execute(BY_COUNTRY, prepare=prepare)]
            assert got == expected[user], (user, turn)
    assert len(servers(cluster, veil)) <= size


def test_identity_survives_what_resets_a_session(pooled):
    veil = pooled(1)
    alice, bi = veil.connect("alice", veil.room), veil.connect("bi_service", veil.room)
    for sql in ("RESET ALL", "DISCARD ALL", "BEGIN; RESET ALL; ROLLBACK", "RESET ALL; SELECT 1", "DISCARD PLANS",
                "BEGIN; SAVEPOINT s; RESET ALL; ROLLBACK TO s; COMMIT"):
        alice.execute(sql)
        assert [r[0] for r in alice.execute(BY_COUNTRY)] == ["CA", "US"], sql
        assert {r[0] for r in bi.execute(BY_COUNTRY)} == COUNTRIES["bi_service"], sql
        bi.execute(sql)
        assert {r[0] for r in bi.execute(BY_COUNTRY)} == COUNTRIES["bi_service"], sql
        assert [r[0] for r in alice.execute(BY_COUNTRY)] == ["CA", "US"], sql


def test_new_attributes_hold_at_once(pooled):
    veil = pooled(1, is_own=True)
    alice, bi = veil.connect("alice", veil.room), veil.connect("bi_service", veil.room)
    assert [r[0] for r in alice.execute(BY_COUNTRY)] == ["CA", "US"]
    users = dict(veil.users, alice={"password": data.USERS["alice"]["password"], "attributes": {"countries": ["DE"]}})
    veil.write_users(users)
    veil.hup()
    wait_for(lambda: [r[0] for r in alice.execute(BY_COUNTRY)] == ["DE"])
    assert {r[0] for r in bi.execute(BY_COUNTRY)} == COUNTRIES["bi_service"]


# ---- settings

def test_settings_are_each_client_s_own(pooled):
    veil = pooled(1)
    one, two = (veil.connect("alice", veil.room) for _ in range(2))
    base = {name: show(one, name) for name in ("TimeZone", "DateStyle", "statement_timeout", "work_mem", "jit")}
    one.execute("SET TimeZone = 'Asia/Tokyo'")
    two.execute("SET TimeZone = 'America/New_York'")
    one.execute("SET DateStyle = 'German'; SET statement_timeout = '7s'; SET work_mem = '9MB'; SET jit = on")
    for _ in range(3):
        assert show(one, "TimeZone") == "Asia/Tokyo" and show(two, "TimeZone") == "America/New_York"
        assert show(one, "DateStyle") == "German, DMY" and show(two, "DateStyle") == base["DateStyle"]
        assert show(one, "statement_timeout") == "7s" and show(two, "statement_timeout") == base["statement_timeout"]
        assert show(one, "work_mem") == "9MB" and show(two, "work_mem") == base["work_mem"]
        assert show(one, "jit") == "on" and show(two, "jit") == base["jit"]
    one.execute("RESET DateStyle")
    assert show(two, "DateStyle") == base["DateStyle"] and show(one, "DateStyle") == base["DateStyle"]
    one.execute("RESET ALL")
    assert show(two, "TimeZone") == "America/New_York"
    assert {name: show(one, name) for name in base} == base


def test_settings_and_transactions(pooled):
    veil = pooled(1)
    one, two = (veil.connect("alice", veil.room) for _ in range(2))
    base = show(one, "TimeZone")
    for sql, left in [
        ("BEGIN; SET TimeZone = 'Asia/Tokyo'; ROLLBACK", base),
        ("BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; COMMIT", base),
        ("BEGIN; SET TimeZone = 'Asia/Tokyo'; SAVEPOINT a; SET TimeZone = 'Asia/Seoul'; ROLLBACK TO a; COMMIT", "Asia/Tokyo"),
        ("BEGIN; SAVEPOINT a; SET TimeZone = 'Asia/Seoul'; RELEASE a; COMMIT", "Asia/Seoul"),
        ("SELECT set_config('TimeZone', 'Asia/' || 'Manila', false)", "Asia/Manila"),
        ("BEGIN; SELECT set_config('TimeZone', 'Asia/Tokyo', true); COMMIT", "Asia/Manila"),
        ("SET TimeZone = 'Asia/Tokyo'; SET LOCAL TimeZone = 'Asia/Seoul'", "Asia/Tokyo"),
    ]:
        one.execute(sql)
        assert show(two, "TimeZone") == base, sql
        assert show(one, "TimeZone") == left, sql
    with pytest.raises(psycopg.Error):
        one.execute("SET TimeZone = 'Asia/Seoul'; SELECT 1/0")
    assert show(two, "TimeZone") == base and show(one, "TimeZone") == "Asia/Tokyo"
    with pytest.raises(psycopg.Error):
        one.execute("SET TimeZone = 'no such zone'")
    assert show(one, "TimeZone") == "Asia/Tokyo"
    one.execute("SELECT set_config('TimeZone', %s, false)", ["Asia/Seoul"], prepare=True)
    assert show(two, "TimeZone") == base and show(one, "TimeZone") == "Asia/Seoul"
    one.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    assert show(two, "transaction_isolation") == "read committed" and show(one, "transaction_isolation") == "serializable"


def test_startup_settings_and_what_the_client_is_told(pooled):
    veil = pooled(1)
    one = veil.wire("alice", veil.room, params=[("TimeZone", "Asia/Tokyo"), ("application_name", "one")])
    two = veil.wire("alice", veil.room, params=[("application_name", "two")])
    assert one.parameters["TimeZone"] == "Asia/Tokyo" and one.parameters["application_name"] == "one"
    assert two.parameters["TimeZone"] != "Asia/Tokyo" and two.parameters["application_name"] == "two"
    for conn, name, zone in [(one, "one", "Asia/Tokyo"), (two, "two", two.parameters["TimeZone"])] * 2:
        got = conn.ask(query("SHOW TimeZone"))
        assert told(got) == "TDCZ", "the other one's settings were told: %r" % got
        assert rows(got) == [(zone,)]
        assert rows(conn.ask(query("SHOW application_name"))) == [(name,)]
    got = one.ask(query("SET TimeZone = 'Asia/Seoul'"))
    assert told(got) == "CSZ"
    two.ask(query("SELECT 1"))
    assert told(one.ask(query("SELECT 1"))) == "TDCZ"
    got = one.ask(query("RESET TimeZone"))
    assert "S" in told(got)
    two.ask(query("SELECT 1"))
    assert rows(one.ask(query("SHOW TimeZone"))) == [("Asia/Tokyo",)]
    with pytest.raises(Exception):
        veil.connect("alice", veil.room, options="-c TimeZone=nowhere")
    assert rows(two.ask(query("SHOW application_name"))) == [("two",)]


def test_what_is_local_to_a_transaction_stays_there_beside_startup_settings(pooled):
    """What goes back to the startup packet's value for one transaction is neither the session's nor the server's then."""
    veil = pooled(1)
    one = veil.wire("alice", veil.room, params=[("TimeZone", "Asia/Tokyo")])
    two = veil.wire("alice", veil.room)
    for conn in (one, two):
        conn.ask(query("SET TimeZone = 'Asia/Seoul'"))
    for sql in ("BEGIN; SET LOCAL TimeZone TO DEFAULT; SHOW TimeZone", "SET LOCAL TimeZone TO DEFAULT; SHOW TimeZone"):
        assert rows(one.ask(query(sql))) == [("Asia/Tokyo",)]
        one.ask(query("COMMIT"))
        assert rows(two.ask(query("SHOW TimeZone"))) == [("Asia/Seoul",)]
        assert rows(one.ask(query("SHOW TimeZone"))) == [("Asia/Seoul",)]
    one.ask(query("SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE"))
    assert rows(two.ask(query("SHOW TimeZone"))) == [("Asia/Seoul",)]
    assert rows(one.ask(query("SHOW TimeZone"))) == [("<+02>-02",)]


def test_a_short_timeout_is_one_s_own(pooled):
    veil = pooled(1)
    one, two = (veil.connect("alice", veil.room) for _ in range(2))
    one.execute("SET statement_timeout = '30ms'")

    def show_own():
        # A busy machine takes longer for that now and then.
        return patiently("57014", lambda: show(one, "statement_timeout"))
    for _ in range(5):
        assert show(two, "statement_timeout") == "0"
        assert [r[0] for r in two.execute(BY_COUNTRY)] == ["CA", "US"]
        assert show_own() == "30ms"
    with pytest.raises(psycopg.Error) as caught:
        one.execute("SELECT * FROM questions.slow(n => 1)")
    assert caught.value.diag.sqlstate == "57014"
    assert show(two, "statement_timeout") == "0" and show_own() == "30ms"


def test_idle_session_timeout_keeps_its_connection(cluster, pooled):
    veil = pooled(2)
    one, two = (veil.connect("alice", veil.room) for _ in range(2))
    held = {pid for pid, _, _ in servers(cluster, veil)}
    while len(held) < 2:  # with all there can be, its own is one of these, however soon it goes
        one.execute("BEGIN")
        two.execute("SELECT 1")
        one.execute("COMMIT")
        held = {pid for pid, _, _ in servers(cluster, veil)}
    one.execute("SET idle_session_timeout = '400ms'")
    wait_for(lambda: held - {pid for pid, _, _ in servers(cluster, veil)})
    with pytest.raises(psycopg.Error):
        one.execute("SELECT 1")
    assert two.execute("SELECT 1").fetchone() == (1,)


# ---- prepared statements

def test_statements_of_the_protocol_follow_their_session(cluster, pooled):
    veil = pooled(1)
    one, two = (veil.wire("alice", veil.room) for _ in range(2))
    for conn, add in ((one, 1), (two, 2)):
        got = conn.ask(parse("SELECT $1::int + %d" % add, "s"), describe("S", "s"), SYNC)
        assert tags(got) == "1tTZ"
    for _ in range(3):
        for conn, add in ((one, 1), (two, 2)):
            got = conn.ask(bind([b"40"], "s"), execute(), SYNC)
            assert tags(got) == "2DCZ" and rows(got) == [("%d" % (40 + add),)]
            got = conn.ask(describe("S", "s"), SYNC)
            assert tags(got) == "tTZ"
    assert errors(two.ask(parse("SELECT 3", "s"), SYNC))[0] == "42P05"
    assert tags(one.ask(close("S", "s"), parse("SELECT 5", "s"), bind([], "s"), execute(), SYNC)) == "312DCZ"
    assert rows(two.ask(bind([b"1"], "s"), execute(), SYNC)) == [("3",)]
    assert tags(one.ask(close("S", "s"), SYNC)) == "3Z"
    assert errors(one.ask(bind([], "s"), execute(), SYNC))[0] == "26000"
    assert rows(two.ask(bind([b"2"], "s"), execute(), SYNC)) == [("4",)]


def test_the_unnamed_statement_too(pooled):
    veil = pooled(1)
    one, two = (veil.wire("alice", veil.room) for _ in range(2))
    one.ask(parse("SELECT 'one'"), SYNC)
    two.ask(parse("SELECT 'two'"), SYNC)
    for _ in range(2):
        assert rows(one.ask(bind(), execute(), SYNC)) == [("one",)]
        assert rows(two.ask(bind(), execute(), SYNC)) == [("two",)]
    two.ask(query("SELECT 1"))
    assert rows(one.ask(bind(), execute(), SYNC)) == [("one",)]
    assert errors(two.ask(bind(), execute(), SYNC))[0] == "26000"
    assert errors(one.ask(parse("SELECT nothing"), SYNC))[0] == "42703"
    assert errors(one.ask(bind(), execute(), SYNC))[0] == "26000"


def test_statements_prepared_under_other_settings_are_others(pooled):
    veil = pooled(1)
    one, two = (veil.connect("alice", veil.room) for _ in range(2))
    two.execute("SET DateStyle = 'ISO, DMY'")
    for conn in (one, two) * 2:
        got = conn.execute("SELECT '01/02/2020'::date", prepare=True).fetchone()[0]
        assert got.month == (1 if conn is one else 2)


def test_pipelines_of_segments(pooled):
    veil = pooled(1)
    one, two = (veil.wire("alice", veil.room) for _ in range(2))
    two.ask(parse("SELECT 7", "t"), SYNC)
    one.send(parse("SELECT 1/0", "bad"), bind([], "bad"), execute(), SYNC,
             parse("SELECT $1::int", "good"), SYNC, parse("SELEC", "x"), bind([], "good"), SYNC,
             bind([b"5"], "good"), execute(), SYNC, query("SELECT 6"), bind([b"8"], "good"), execute(), SYNC)
    got = []
    for _ in range(6):
        got += one.until("Z")
    assert rows(got) == [("5",), ("6",), ("8",)]
    assert errors(got)[-1] == "42601"
    assert rows(two.ask(bind([], "t"), execute(), SYNC)) == [("7",)]


def test_sql_and_protocol_share_their_names(pooled):
    veil = pooled(1)
    one, two = (veil.wire("alice", veil.room) for _ in range(2))
    for conn, value in ((one, 1), (two, 2)):
        conn.ask(parse("SELECT %d" % value, "s"), SYNC)
    assert rows(one.ask(query("EXECUTE s"))) == [("1",)]
    assert errors(one.ask(query("PREPARE s AS SELECT 3")))[0] == "42P05"
    assert rows(one.ask(parse("EXECUTE s"), bind(), execute(), SYNC)) == [("1",)]
    assert rows(one.ask(bind([], "s"), execute(), SYNC)) == [("1",)]
    assert tags(one.ask(query("DEALLOCATE s"))) == "CZ"
    assert rows(two.ask(query("EXECUTE s"))) == [("2",)]
    assert tags(two.ask(query("DEALLOCATE s"))) == "CZ"
    assert errors(one.ask(query("EXECUTE s")))[0] == "26000"
    assert errors(one.ask(query("DEALLOCATE s")))[0] == "26000"
    one.ask(parse("SELECT 4", "a"), SYNC)
    two.ask(parse("SELECT 4", "a"), SYNC)
    assert tags(one.ask(query("DEALLOCATE ALL"))) == "CZ"
    assert rows(two.ask(bind([], "a"), execute(), SYNC)) == [("4",)]
    assert errors(one.ask(bind([], "a"), execute(), SYNC))[0] == "26000"
    assert tags(two.ask(query("DISCARD ALL"))) == "CZ"
    assert errors(two.ask(bind([], "a"), execute(), SYNC))[0] == "26000"


def test_a_name_of_sql_cannot_be_parsed_again(pooled):
    veil = pooled(1)
    one = veil.wire("alice", veil.room)
    one.ask(query("PREPARE s AS SELECT 1"))
    got = one.ask(parse("SELECT 2", "s"), SYNC)
    assert tags(got) == "EZ" and got[0].fields["M"] == 'prepared statement "s" already exists' and errors(got) == ["42P05"]
    got = one.ask(parse("PREPARE t AS SELECT 3"), bind(), execute(), parse("SELECT 4", "t"), SYNC)
    assert tags(got) == "12CEZ" and errors(got) == ["42P05"]
    assert rows(one.ask(query("EXECUTE s; EXECUTE t"))) == [("1",), ("3",)]
    one.ask(query("BEGIN; SELECT 1 / 0"))
    assert errors(one.ask(parse("SELECT 2", "s"), SYNC)) == ["25P02"]
    assert errors(one.ask(parse("ROLLBACK", "s"), SYNC)) == ["42P05"]
    one.ask(query("ROLLBACK"))
    assert rows(one.ask(query("EXECUTE s; EXECUTE t"))) == [("1",), ("3",)]
    one.ask(query("DEALLOCATE ALL"))
    two = veil.wire("alice", veil.room)
    assert tags(two.ask(query("PREPARE s AS SELECT 5; PREPARE t AS SELECT 6; EXECUTE s; DEALLOCATE ALL"))) == "CCTDCCZ"
    assert tags(one.ask(parse("SELECT 2", "s"), SYNC)) == "1Z"


def test_a_failed_transaction_refuses_names_of_the_protocol_once(pooled):
    veil = pooled(1)
    one = veil.wire("alice", veil.room)
    one.ask(parse("SELECT 1", "a"), parse("SELECT 2", "b"), SYNC)
    one.ask(query("BEGIN; SELECT 1 / 0"))
    for sql in ("EXECUTE a", "EXECUTE a; EXECUTE b", "DEALLOCATE a; EXECUTE b"):
        got = one.ask(query(sql))
        assert tags(got) == "EZ" and errors(got) == ["25P02"], sql
    one.ask(query("ROLLBACK"))
    assert rows(one.ask(query("EXECUTE a; EXECUTE b"))) == [("1",), ("2",)]
    one.ask(query("DEALLOCATE ALL"))


def test_a_statement_is_called_by_its_client_s_name(pooled):
    veil = pooled(1)
    one = veil.wire("alice", veil.room)
    for statement, sql in [("", "SELECT * FROM questions.first(n => $1)"), ("my own", "SELECT * FROM questions.first(n => $1)"),
                           ("its", "SELECT 1 / (n - $1) FROM questions.by_country")]:
        for _ in range(8):  # the unnamed one is prepared meanwhile
            assert tags(one.ask(parse(sql, statement), bind(["1"], statement), execute(), SYNC)) in ("12DCZ", "12DDCZ")
            got = one.ask(*([parse(sql)] if not statement else []), bind(["1", "2"], statement), execute(), SYNC)
            assert got[-2].fields["M"] == \
                'bind message supplies 2 parameters, but prepared statement "%s" requires 1' % statement
            assert got[-2].sqlstate == "08P01"
            one.ask(close("S", statement), SYNC)


def test_sql_prepare_keeps_its_connection_until_deallocate(cluster, pooled):
    veil = pooled(1, query_wait_timeout="400ms")
    one, two = (waiting(lambda: veil.connect("alice", veil.room)) for _ in range(2))
    waiting(lambda: one.execute("PREPARE p AS SELECT 11"))
    with pytest.raises(psycopg.Error) as caught:
        two.execute("SELECT 1")
    assert caught.value.diag.sqlstate == "53300"
    assert one.execute("EXECUTE p").fetchone() == (11,)
    with pytest.raises(psycopg.Error) as caught:
        veil.connect("alice", veil.room)
    assert "became free within" in str(caught.value)
    one.execute("DEALLOCATE p")
    assert waiting(lambda: two.execute("SELECT 1")).fetchone() == (1,)


def test_held_cursors_keep_their_connection_until_closed(pooled):
    veil = pooled(2)
    one, two, three = (veil.connect("alice", veil.room) for _ in range(3))
    one.execute("BEGIN")
    one.execute("DECLARE c CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 3) AS n")
    one.execute("COMMIT")
    for want in (1, 2, 3):
        assert two.execute("SELECT 1").fetchone() == (1,) and three.execute("SELECT 2").fetchone() == (2,)
        assert one.execute("FETCH c").fetchone() == (want,)
    one.execute("CLOSE c")
    with pytest.raises(psycopg.Error):
        one.execute("FETCH c")


def test_many_statements_on_few_places(pooled):
    veil = pooled(1, max_prepared_statements=2)
    one, two = (veil.wire("alice", veil.room) for _ in range(2))
    for conn in (one, two):
        for n in range(6):
            assert tags(conn.ask(parse("SELECT %d" % n, "s%d" % n), SYNC)) == "1Z"
    for n in (0, 5, 3, 1, 4, 2):
        for conn in (one, two):
            assert rows(conn.ask(bind([], "s%d" % n), execute(), SYNC)) == [("%d" % n,)]
    one.send(*[f for n in range(6) for f in (bind([], "s%d" % n), execute())], SYNC)
    assert rows(one.until("Z")) == [(str(n),) for n in range(6)]


# ---- transactions, errors, denials

def test_a_transaction_keeps_its_connection(pooled):
    veil = pooled(1, query_wait_timeout="400ms")
    one, two = (waiting(lambda: veil.connect("alice", veil.room)) for _ in range(2))
    waiting(lambda: one.execute("BEGIN"))
    with pytest.raises(psycopg.Error) as caught:
        two.execute("SELECT 1")
    assert caught.value.diag.sqlstate == "53300"
    with pytest.raises(psycopg.Error):
        one.execute("SELECT 1/0")
    with pytest.raises(psycopg.Error) as caught:
        one.execute("SELECT 1")
    assert caught.value.diag.sqlstate == "25P02"
    one.execute("ROLLBACK")
    assert waiting(lambda: two.execute("SELECT 3")).fetchone() == (3,)
    assert waiting(lambda: one.execute("SELECT 4")).fetchone() == (4,)


def test_denials_need_no_connection(cluster, pooled):
    # Whatever needs a connection fails of the waiting; a login does not, however slow the machine.
    veil = pooled(1, query_wait_timeout="10s")
    one, two = (veil.wire("alice", veil.room) for _ in range(2))
    one.ask(query("BEGIN"))
    got = two.ask(query("SELECT * FROM public.cells"))
    assert tags(got) == "EZ" and errors(got)[0] == "42501" and got[-1].body == b"I"
    got = two.ask(parse("SELECT * FROM public.cells", "d"), bind([], "d"), execute(), SYNC)
    assert tags(got) == "EZ" and errors(got)[0] == "42501"
    assert errors(two.ask(bind([], "none"), SYNC))[0] == "26000"
    assert errors(two.ask(query("SELEC")))[0] == "42601"
    assert tags(two.ask(SYNC)) == "Z"
    assert tags(two.ask(close("S", "x"), SYNC)) == "3Z"
    two.send(parse("SELEC", "y"), SYNC, query("DELETE FROM public.cells"), bind([], "y"), execute(), SYNC)
    got = two.until("Z") + two.until("Z") + two.until("Z")
    assert errors(got) == ["42601", "42501", "26000"]
    got = one.ask(query("SELECT * FROM public.cells"))
    assert got[-1].body == b"E"
    one.ask(query("ROLLBACK"))
    wait_for(lambda: rows(two.ask(query("SELECT 5"))) == [("5",)])
    wait_for(lambda: veil.log_rows("decision = 'denied'") and len(veil.log_rows("decision = 'denied'")) >= 5)


# ---- cancel

def test_a_cancel_hits_its_own_session_alone(cluster, pooled):
    veil = pooled(1)
    one, two = (veil.wire("alice", veil.room, ) for _ in range(2))
    assert one.pid != two.pid and one.key != two.key

    def cancel(conn):
        with Wire("127.0.0.1", veil.port) as other:
            other.send(b"\0\0\0\x10\x04\xd2\x16\x2e" + conn.pid.to_bytes(4, "big") + conn.key)
            other.at_end()

    one.send(query("SELECT * FROM questions.slow(n => 1)"))
    wait_for(lambda: any(state == "active" for _, state, _ in servers(cluster, veil)))
    two.send(query("SELECT 22"))
    cancel(two)
    while two.quiet(1):  # one may be there before what it is about
        cancel(two)
    got = two.until("Z")
    assert errors(got)[0] == "57014", "who waits for a connection can be cancelled"
    assert any(state == "active" for _, state, _ in servers(cluster, veil))
    two.send(query("SELECT 23"))
    cancel(one)
    assert errors(one.until("Z"))[0] == "57014"
    assert rows(two.until("Z")) == [("23",)]
    for _ in range(20):
        two.send(query("SELECT 24"))
        cancel(one)
        assert rows(two.until("Z")) == [("24",)]


def test_the_process_id_stays(pooled):
    veil = pooled(2)
    one, two = (veil.connect("alice", veil.room) for _ in range(2))
    one.execute("BEGIN")
    for conn in (two, one, two):
        assert conn.execute("SELECT pg_backend_pid()").fetchone() == (conn.info.backend_pid,)
        cursor = conn.execute("SELECT pg_catalog.pg_backend_pid(), 1", prepare=True)
        assert cursor.description[0].name == "pg_backend_pid" and cursor.fetchone() == (conn.info.backend_pid, 1)
    assert one.info.backend_pid != two.info.backend_pid
    with pytest.raises(psycopg.Error) as caught:
        two.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert "terminating connection" in str(caught.value)
    one.execute("COMMIT")
    assert one.execute("SELECT pg_terminate_backend(%s)", [two.info.backend_pid]).fetchone() == (False,)


# ---- the server's end

def test_an_idle_connection_that_dies_is_replaced(cluster, pooled):
    veil = pooled(1)
    one = veil.connect("alice", veil.room)
    one.execute("SET TimeZone = 'Asia/Tokyo'")
    one.execute("SELECT 1", prepare=True)
    for _ in range(2):
        [(pid, _, _)] = servers(cluster, veil)
        cluster.rows("SELECT pg_terminate_backend(%s)", (pid,))
        wait_for(lambda: all(p != pid for p, _, _ in servers(cluster, veil)))
        time.sleep(0.1)
        assert show(one, "TimeZone") == "Asia/Tokyo"
        assert one.execute("SELECT 1", prepare=True).fetchone() == (1,)
        assert [r[0] for r in one.execute(BY_COUNTRY)] == ["CA", "US"]


def test_one_that_dies_in_use_ends_its_session_alone(cluster, pooled):
    veil = pooled(1)
    one, two = (veil.connect("alice", veil.room) for _ in range(2))
    one.execute("BEGIN")
    [(pid, _, _)] = servers(cluster, veil)
    cluster.rows("SELECT pg_terminate_backend(%s)", (pid,))
    with pytest.raises(psycopg.OperationalError):
        one.execute("SELECT 1")
    assert two.execute("SELECT 2").fetchone() == (2,)


def test_a_client_that_leaves_amid_a_transaction_leaves_nothing(cluster, pooled):
    veil = pooled(1)
    two = veil.connect("alice", veil.room)
    one = veil.wire("alice", veil.room)
    one.ask(query("BEGIN"))
    one.ask(query("SET TimeZone = 'Asia/Tokyo'"))
    one.sock.close()
    assert show(two, "TimeZone") != "Asia/Tokyo"
    assert two.execute("SELECT pg_catalog.txid_current_if_assigned() IS NULL").fetchone() == (True,)
    three = veil.connect("alice", veil.room)
    three.execute("PREPARE p AS SELECT 1")
    three.close()
    with pytest.raises(psycopg.Error):
        two.execute("EXECUTE p")
    assert two.execute("SELECT 2").fetchone() == (2,)


# ---- caps, many clients

@pytest.mark.parametrize("size,workers", [(1, 2), (2, 1), (3, 2)])
def test_never_more_than_the_size_whoever_asks(cluster, pooled, size, workers):
    veil = pooled(size, workers)
    failures, most, stop = [], [0], threading.Event()

    def watch():
        while not stop.wait(0.02):
            most[0] = max(most[0], len(servers(cluster, veil)))

    def work(n):
        try:
            user = ("alice", "bi_service", "norma")[n % 3]
            with veil.connect(user, veil.room, application_name="client %d" % n) as conn:
                conn.execute("SET extra_float_digits = %d" % (n % 3))
                for turn in range(15):
                    assert {r[0] for r in conn.execute(BY_COUNTRY, prepare=turn % 2 == 0)} == COUNTRIES[user]
                    assert show(conn, "application_name") == "client %d" % n
                    with conn.transaction():
                        assert conn.execute("SELECT %s::int + 1", [turn], prepare=True).fetchone() == (turn + 1,)
                        assert show(conn, "extra_float_digits") == str(n % 3)
                    if turn % 5 == 0:
                        with pytest.raises(psycopg.Error):
                            conn.execute("SELECT * FROM public.cells")
        except BaseException as error:  # noqa: B902: told by the main thread
            failures.append((n, repr(error)))

    watcher = threading.Thread(target=watch)
    workers = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    watcher.start()
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    watcher.join()
    assert not failures, failures
    assert 0 < most[0] <= size


# ---- operation

def test_reload_drain_and_metrics(cluster, pooled):
    port = free_port()
    veil = pooled(2, is_own=True, config={"metrics": "127.0.0.1:%d" % port})

    def metric(name):
        text = urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=60).read().decode()
        [line] = [line for line in text.splitlines() if line.startswith("pgveil_%s " % name)]
        return float(line.split()[1])

    one, two = (veil.connect("alice", veil.room) for _ in range(2))
    one.execute("SELECT 1")
    wait_for(lambda: metric("pool_servers_idle") == 1)
    assert metric("pool_servers_used") == 0 and metric("pool_sessions_pinned") == 0
    one.execute("PREPARE p AS SELECT 1")
    wait_for(lambda: metric("pool_sessions_pinned") == 1 and metric("pool_servers_used") == 1)
    assert metric("pool_pins_total") == 1
    one.execute("DEALLOCATE ALL")
    wait_for(lambda: metric("pool_sessions_pinned") == 0 and metric("pool_servers_used") == 0)
    before = {pid for pid, _, _ in servers(cluster, veil)}
    veil.write_room(dict(pool_room(veil.room), title="another"))
    veil.hup()
    wait_for(lambda: not before & {pid for pid, _, _ in servers(cluster, veil)})
    assert one.execute("SELECT 1").fetchone() == (1,) and two.execute("SELECT 2").fetchone() == (2,)
    started = time.monotonic()
    assert veil.stop() == 0 and time.monotonic() - started < 20, "nobody was to be waited for"


def test_a_policy_that_changes_while_a_statement_waits(pooled):
    veil = pooled(1, is_own=True)
    one, two = veil.wire("alice", veil.room), veil.wire("alice", veil.room)
    one.ask(query("BEGIN"))
    two.send(query("SELECT * FROM questions.labels"))
    time.sleep(0.2)
    room = pool_room(veil.room)
    del room["questions"]["labels"]
    veil.write_room(room)
    since = len(veil.stderr())
    veil.hup()
    veil.wait_stderr("reload", since)
    got = two.until("Z")
    assert errors(got)[0] == "42501" and not rows(got)
    one.ask(query("COMMIT"))
    assert rows(two.ask(query("SELECT 1"))) == [("1",)]


def test_idle_connections_leave(cluster, pooled):
    veil = pooled(3, idle_timeout="1s", server_check_delay="200ms")
    one = veil.connect("alice", veil.room)
    wait_for(lambda: one.execute("SELECT 1") and len(servers(cluster, veil)) == 1)
    wait_for(lambda: not servers(cluster, veil))
    assert one.execute("SELECT 1").fetchone() == (1,)


def test_old_connections_leave(cluster, pooled):
    veil = pooled(1, server_lifetime="700ms")
    one = veil.connect("alice", veil.room)
    seen = set()
    began = time.monotonic()
    while len(seen) < 3 or time.monotonic() - began < 2:
        assert time.monotonic() - began < 60
        one.execute("SELECT 1")
        seen |= {pid for pid, _, _ in servers(cluster, veil)}
        time.sleep(0.1)
    # A slow machine sees as many more as it took longer.
    assert len(seen) <= (time.monotonic() - began) / 0.7 + 2
