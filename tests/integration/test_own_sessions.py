"""
One's own sessions by SQL: what a user's other sessions run is shown and can be stopped, as knex, Superset and Looker do, and
nobody else's; with a server connection of one's own and with shared ones.
"""
import threading
import time

import psycopg
import pytest

from tests.integration.test_pooling import wait_for
from tests.lib.running import Running, wait_running

SLOW = "SELECT * FROM questions.slow(n => 1)"


@pytest.fixture(params=["session", "transaction"])
def veil(own_veil, request):
    veil = own_veil(config={"pool": {"mode": request.param}})
    veil.provision()
    return veil.start()


def activity(conn, where="true"):
    return conn.execute("SELECT pid, usename::text, datname::text, state, query FROM pg_stat_activity WHERE %s ORDER BY backend_start" % where).fetchall()


def wait_active(conn, pid, seconds=60):
    deadline = time.monotonic() + seconds
    while not activity(conn, "pid = %d AND state = 'active'" % pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_activity_is_ones_own(veil, cluster):
    one, two, other = (veil.connect(user, veil.room, application_name="app " + user) for user in ("alice", "alice", "bi_service"))
    for conn in (one, two, other):
        assert conn.execute("SELECT pg_backend_pid()").fetchone() == (conn.info.backend_pid,)
    mine = "SELECT pid, usename::text, datname::text, state, query FROM pg_stat_activity WHERE true ORDER BY backend_start"
    assert activity(other) == [(other.info.backend_pid, "bi_service", veil.room, "active", mine)]
    assert activity(two) == [(one.info.backend_pid, "alice", veil.room, "idle", ""), (two.info.backend_pid, "alice", veil.room, "active", mine)]
    with one.transaction():
        assert activity(two)[0][3:] == ("idle in transaction", "")
        with pytest.raises(psycopg.Error), one.transaction():
            one.execute("SELECT 1 / 0")
    running = Running(one, SLOW)
    wait_active(two, one.info.backend_pid)
    wait_running(cluster)
    assert activity(two)[0] == (one.info.backend_pid, "alice", veil.room, "active", SLOW)
    assert two.execute("SELECT application_name, backend_type, now() - query_start BETWEEN '-1s' AND '60s', client_addr FROM pg_stat_activity "
                       "WHERE state = 'active' AND pid <> pg_backend_pid()").fetchall() == [("app alice", "client backend", True, None)]
    assert len(activity(other)) == 1
    # As a prepared statement, whose list is today's each time.
    with two.cursor() as cur:
        for expected in (2, 2, 1):
            if expected == 1:
                cur.execute("SELECT pg_terminate_backend(%s)", (one.info.backend_pid,), prepare=True)
                assert cur.fetchone() == (True,) and running.end() is not None
                # Its client may hear of its end before it has left the list.
                wait_for(lambda: len(activity(two)) == 1)
            assert cur.execute("SELECT count(*) FROM pg_stat_activity", prepare=True).fetchone() == (expected,)
    two.close()
    other.close()


def test_cancel_and_terminate_by_sql(veil, cluster):
    one, two, other = (veil.connect(user, veil.room) for user in ("alice", "alice", "bi_service"))
    pid, notices = one.info.backend_pid, []
    for conn in (two, other):
        conn.add_notice_handler(lambda diag: notices.append((diag.severity, diag.sqlstate, diag.message_primary)))
    running = Running(one, SLOW)
    wait_active(two, pid)
    wait_running(cluster)
    for call in ("pg_cancel_backend(%d)", "pg_terminate_backend(%d)", "pg_terminate_backend(%d, 100)"):
        assert other.execute("SELECT " + call % pid).fetchone() == (False,)
    assert notices == [("WARNING", "01000", "PID %d is not a PostgreSQL backend process" % pid)] * 3
    assert running.thread.is_alive()
    notices.clear()
    assert two.execute("SELECT pg_cancel_backend(%s)", (pid,)).fetchone() == (True,)
    assert running.end().sqlstate == "57014"
    assert one.execute("SELECT 1").fetchone() == (1,)
    # As Superset does it, and within a transaction.
    running = Running(one, SLOW)
    wait_active(two, pid)
    wait_running(cluster)
    with two.transaction():
        assert two.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = '%d'" % pid).fetchall() == [(True,)]
    assert "terminating connection due to administrator command" in str(running.end())
    with pytest.raises(psycopg.OperationalError):
        one.execute("SELECT 1")
    assert notices == []
    deadline = time.monotonic() + 60
    while len(activity(two)) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert two.execute("SELECT pg_cancel_backend(%s), pg_cancel_backend(NULL)", (pid,)).fetchone() == (False, None)
    with pytest.raises(psycopg.errors.QueryCanceled):
        two.execute("SELECT pg_cancel_backend(pg_backend_pid())")
    assert two.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="administrator command"):
        two.execute("SELECT pg_terminate_backend(%s)" % two.info.backend_pid)
    assert other.execute("SELECT count(*) FROM pg_stat_activity").fetchone() == (1,)
    other.close()


def test_who_was_cancelled_stands_in_the_event_log(veil, cluster):
    one, two = (veil.connect("alice", veil.room) for _ in range(2))
    running = Running(one, SLOW)
    wait_active(two, one.info.backend_pid)
    wait_running(cluster)
    two.execute("SELECT pg_cancel_backend(%s)", (one.info.backend_pid,))
    running.end()
    wait_for(lambda: veil.event_rows("event = 'cancel'"))
    rows = veil.event_rows("event = 'cancel'")
    assert [(row["user"], row["detail"]) for row in rows] == [("alice", '{"running":true}')]
    assert veil.last_log("query LIKE '%pg_cancel_backend%'")["decision"] == "allowed"
    one.close()
    two.close()


def test_many_sessions_while_others_come_and_go(veil):
    """Lists are whole whatever connects meanwhile, in pipelines and prepared statements too."""
    stop = threading.Event()

    def come_and_go():
        while not stop.is_set():
            veil.connect("bi_service", veil.room).close()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        conns = [veil.connect("alice", veil.room) for _ in range(12)]
        pids = sorted(conn.info.backend_pid for conn in conns)
        assert len(set(pids)) == 12
        for conn in conns:
            with conn.pipeline():
                cursors = [conn.execute("SELECT pid FROM pg_stat_activity") for _ in range(3)]
            for cur in cursors:
                assert sorted(pid for pid, in cur.fetchall()) == pids
        for conn in conns:
            conn.close()
    finally:
        stop.set()
        thread.join()
