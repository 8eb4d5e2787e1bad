"""
Sessions with a server connection of their own (pool.mode session) leave it to the next one, made as new: nothing of
one client is there for another, and whoever left anything unfinished leaves nothing.
"""
import select
import time

import psycopg
import pytest

from tests.integration.test_pooling import BY_COUNTRY, COUNTRIES, pool_room, servers, show, wait_for
from tests.integration.conftest import make_veil
from tests.lib.wire import SYNC, bind, errors, execute, parse, query, rows

SETTINGS = {"TimeZone": "Asia/Tokyo", "application_name": "the first", "statement_timeout": "7s", "search_path": "nowhere",
            "DateStyle": "German", "IntervalStyle": "iso_8601", "bytea_output": "escape", "extra_float_digits": "0",
            "default_transaction_isolation": "serializable", "enable_seqscan": "off", "idle_session_timeout": "1h"}


@pytest.fixture
def alone(cluster):
    """alone(**pool): an installation of pool.mode session with one worker."""
    made = []

    def make(**pool):
        name = "alone_%d" % time.monotonic_ns()
        veil = make_veil(cluster, [pool_room(name)], config={"workers": 1, "pool": {"mode": "session", **pool}})
        veil.room = name
        veil.provision()
        veil.start()
        made.append(veil)
        return veil

    yield make
    for veil in made:
        assert veil.stop() == 0
        veil.provision("--drop")
        veil.close()


def leave(cluster, veil, *conns):
    """They go, and what they leave has been made as new."""
    for conn in conns:
        conn.close()
    wait_for(lambda: all(state == "idle" and text == "DISCARD ALL" for _, state, text in servers(cluster, veil)))
    return {pid for pid, _, _ in servers(cluster, veil)}


def test_nothing_of_one_is_there_for_the_next(cluster, alone):
    veil = alone()
    fresh = veil.wire("alice", veil.room)
    reported = dict(fresh.parameters)
    values = {name: rows(fresh.ask(query("SHOW " + name)))[0][0] for name in SETTINGS}
    for name, value in SETTINGS.items():
        assert errors(fresh.ask(query("SET %s = '%s'" % (name, value)))) == []
    assert errors(fresh.ask(query("PREPARE p AS SELECT 11"))) == []
    assert errors(fresh.ask(parse("SELECT 12", "s"), SYNC)) == []
    for sql in ("BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 13", "COMMIT"):
        assert errors(fresh.ask(query(sql))) == []
    pid = fresh.pid
    fresh.sock.close()
    assert leave(cluster, veil) == {pid}
    # The same server process, and at the login it is told what a fresh one tells.
    second = veil.wire("alice", veil.room)
    assert second.pid == pid
    assert dict(second.parameters) == reported
    assert {name: rows(second.ask(query("SHOW " + name)))[0][0] for name in SETTINGS} == values
    assert errors(second.ask(query("EXECUTE p"))) == ["26000"]
    assert errors(second.ask(bind([], "s"), execute(), SYNC)) == ["26000"]
    assert errors(second.ask(query("FETCH c"))) == ["34000"]
    # Names that were taken are free.
    assert errors(second.ask(query("PREPARE p AS SELECT 21"))) == []
    assert rows(second.ask(query("EXECUTE p"))) == [("21",)]
    assert errors(second.ask(parse("SELECT 22", "s"), SYNC)) == []
    assert rows(second.ask(bind([], "s"), execute(), SYNC)) == [("22",)]
    # What DISCARD ALL would not undo (or what would be seen until then) cannot be done in a room.
    for sql in ("SELECT pg_advisory_lock(1)", "SELECT setseed(0.5)", "SELECT nextval('s')", "SELECT lastval()", "LISTEN x",
                "CREATE TEMP TABLE t (a int)", "SELECT set_config('pgveil.user', 'x', false)", "LOAD 'x'"):
        assert errors(second.ask(query(sql)))[0] in ("42501", "42883", "42P01", "0A000"), sql
    second.sock.close()


def test_whose_rows(cluster, alone):
    veil = alone()
    pids = set()
    for user in ("alice", "bi_service", "norma", "alice"):
        with veil.connect(user, veil.room) as conn:
            pids.add(conn.info.backend_pid)
            assert {row[0] for row in conn.execute(BY_COUNTRY)} == COUNTRIES[user]
            assert conn.execute("SELECT current_user::text, session_user::text").fetchone() == (user, user)
        leave(cluster, veil)
    assert len(pids) == 1


def test_who_leaves_amid_something_leaves_nothing(cluster, alone):
    veil = alone()

    def amid_a_transaction(conn):
        conn.execute("BEGIN")
        conn.execute(BY_COUNTRY)

    def after_an_error(conn):
        conn.execute("BEGIN")
        with pytest.raises(psycopg.Error):
            conn.execute("SELECT 1/0")

    def amid_a_segment(conn):
        conn.pgconn.enter_pipeline_mode()
        conn.pgconn.send_prepare(b"", b"SELECT 1")
        conn.pgconn.send_flush_request()
        conn.pgconn.flush()
        # Until it is answered, it may not have come there.
        while conn.pgconn.is_busy():
            select.select([conn.pgconn.socket], [], [], 60)
            conn.pgconn.consume_input()

    for act in (amid_a_transaction, after_an_error, amid_a_segment):
        conn = veil.connect("alice", veil.room)
        pid = conn.info.backend_pid
        act(conn)
        conn.pgconn.finish()
        wait_for(lambda: servers(cluster, veil) == [])
        with veil.connect("alice", veil.room) as after:
            assert after.info.backend_pid != pid
            assert [row[0] for row in after.execute(BY_COUNTRY)] == ["CA", "US"]
        [(pid, _, _)] = servers(cluster, veil)
        cluster.rows("SELECT pg_terminate_backend(%s)", (pid,))
        wait_for(lambda: servers(cluster, veil) == [])


def test_a_short_timeout_does_not_outlast_its_session(cluster, alone):
    veil = alone()
    conn = veil.connect("alice", veil.room)
    conn.execute("SET statement_timeout = '1ms'")
    conn.close()
    # Whether DISCARD ALL came through in a millisecond or not.
    wait_for(lambda: all(state == "idle" and text == "DISCARD ALL" for _, state, text in servers(cluster, veil)))
    with veil.connect("alice", veil.room) as conn:
        assert show(conn, "statement_timeout") == "0"
        assert len(conn.execute(BY_COUNTRY).fetchall()) == 2


def test_a_cancel_of_the_one_before_hits_nobody(cluster, alone):
    veil = alone()
    first = veil.connect("alice", veil.room)
    cancel = first.pgconn.get_cancel()
    pid = first.info.backend_pid
    leave(cluster, veil, first)
    with veil.connect("alice", veil.room) as second:
        assert second.info.backend_pid == pid
        for _ in range(20):
            cancel.cancel()
            assert second.execute("SELECT 1").fetchone() == (1,)


def test_what_the_server_s_configuration_changed_is_told(cluster, alone):
    veil = alone()
    first = veil.connect("alice", veil.room)
    try:
        cluster.psql("ALTER SYSTEM SET IntervalStyle = 'sql_standard'")
        cluster.psql("SELECT pg_reload_conf()")
        wait_for(lambda: show(first, "IntervalStyle") == "sql_standard")
        pid = first.info.backend_pid
        leave(cluster, veil, first)
        second = veil.wire("alice", veil.room)
        assert (second.pid, dict(second.parameters)["IntervalStyle"]) == (pid, "sql_standard")
        second.sock.close()
    finally:
        cluster.psql("ALTER SYSTEM RESET IntervalStyle")
        cluster.psql("SELECT pg_reload_conf()")
        wait_for(lambda: cluster.rows("SHOW IntervalStyle") == [("postgres",)])


def test_no_more_are_kept_than_the_pool_s_size(cluster, alone):
    veil = alone(size=2)
    conns = [veil.connect("alice", veil.room) for _ in range(2)]
    with pytest.raises(psycopg.Error):
        veil.connect("alice", veil.room, connect_timeout=3)
    assert len(leave(cluster, veil, *conns)) == 2
    other = alone(idle_timeout="1s")
    conns = [other.connect("alice", other.room) for _ in range(25)]
    for conn in conns:
        conn.close()
    wait_for(lambda: len(servers(cluster, other)) <= 20)
    wait_for(lambda: servers(cluster, other) == [])
