"""
Fixtures: one cluster, one pgveil with two rooms and one canary-watching relay for the whole session. Tests connect by
way of the relay; at the end the relay must have seen no canary, the server's log no source table and no denied text.
"""
import itertools
import os
import re
import shutil
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.lib import data, openroom  # noqa: E402
from tests.lib.cluster import STRAIGHT, Cluster  # noqa: E402
from tests.lib.governance import clear_of_midnight  # noqa: E402
from tests.lib.pgveil import Pgveil, serving, write_private  # noqa: E402
from tests.lib.tap import Tap  # noqa: E402

ROOM = "retail_media"


def pytest_configure(config):
    # SIGTERM ends the run as Ctrl-C does, so that clusters and proxies started here are taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster():
    cluster = Cluster()
    data.load(cluster)
    yield cluster
    cluster.stop()


def make_veil(cluster, rooms=None, users=None, config=None, sslmode="verify-full"):
    veil = Pgveil([], users or data.USERS, data.upstream(cluster, sslmode), config)
    for name in (ROOM, "other_room"):
        write_private(veil.path("secret", name), (data.SECRET_HEX if name == ROOM else "b7" * 32) + "\n")
    for room in rooms if rooms is not None else [data.retail_room(), data.other_room()]:
        veil.write_room(room)
    return veil


@pytest.fixture(scope="session")
def lab(cluster):
    """The room of open questions of tests/lib/openroom.py, for all who ask there: its tables are only read."""
    cluster.psql(openroom.DATA)
    veil = make_veil(cluster, [openroom.room()])
    with serving(veil):
        yield veil
    cluster.psql("DROP SCHEMA lab_bare, lab CASCADE")


@pytest.fixture(scope="module")
def ask(lab):
    """Columns' names and rows of what alice asks of the room of open questions."""
    with lab.connect("alice", openroom.ROOM) as conn:
        def run(sql):
            cur = conn.execute(sql)
            return [c.name for c in cur.description], cur.fetchall()
        yield run


class Guard:
    """What the server must never see: texts that a test had denied."""

    def __init__(self):
        self.denied = []


@pytest.fixture(scope="session")
def guard():
    return Guard()


@pytest.fixture(scope="session")
def veil(cluster, guard):
    veil = make_veil(cluster)
    veil.provision()
    since = cluster.log_size()
    veil.start()
    veil.tap = Tap(veil.port, data.patterns())
    yield veil
    status = veil.stop()
    veil.tap.stop()
    log = veil.stderr()
    found, seen = veil.tap.found, veil.tap.bytes_seen
    veil.close()
    assert status == 0, "pgveil serve ended with %d: %s" % (status, log[-3000:])
    assert not found, "a canary reached a client: %r" % found[:3]
    assert seen > 10000, "the tap saw next to nothing, so it proves nothing"
    assert data.CANARY not in log, "a canary stands in the operational log"
    check_server_log(cluster.log(since), guard)


STATEMENT = re.compile(r"user=(\S+) db=\S* app=(.*?) LOG:  (?:statement|execute [^:]*): (.*)", re.S)
ENTRY = re.compile(r"^(?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ )", re.M)


def statements_of_rooms(log):
    """What logins of rooms ran (their names begin pgveil_), save for tests that go past the proxy."""
    for entry in ENTRY.split(log):
        match = STATEMENT.search(entry)
        if match and match.group(1).startswith("pgveil_") and match.group(2) != STRAIGHT:
            yield match.group(3)


def check_server_log(log, guard):
    ran = list(statements_of_rooms(log))
    assert ran, "no statement of a room stands in the server's log, so this check proves nothing"
    sources = re.compile(r'\b"?(crm|zoo)"?\s*\.|\bledger\b|\bstaff\b', re.I)
    # A client may well write such a name in a constant, to look it up in the catalog.
    constants = re.compile(r"E?'(?:[^']|'')*'")
    named = [sql for sql in ran if sources.search(constants.sub("''", sql))]
    assert not named, "a source table was named towards the server: %r" % named[:3]
    whole = set(sql.strip() for sql in ran)
    passed_on = [sql for sql in guard.denied if sql.strip() in whole]
    assert not passed_on, "a denied statement reached the server: %r" % passed_on[:3]


@pytest.fixture
def connect(veil):
    """connect(user="alice", room=ROOM, **psycopg) by way of the tap."""
    opened = []

    def open_one(user="alice", room=ROOM, **more):
        conn = veil.connect(user, room, port=veil.tap.port, **more)
        opened.append(conn)
        return conn

    yield open_one
    for conn in opened:
        conn.close()


@pytest.fixture
def conn(connect):
    return connect()


@pytest.fixture
def wire(veil):
    """wire(user="alice", room=ROOM): a raw connection by way of the tap."""
    opened = []

    def open_one(user="alice", room=ROOM, params=(), **more):
        one = veil.wire(user, room, port=veil.tap.port, params=params, **more)
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.sock.close()


NOT_APPROVED = 'query is not an approved question of clean room "%s"' % ROOM


@pytest.fixture
def denied(guard):
    """
    denied(conn, sql, sqlstate="42501"): the statement is refused with that SQLSTATE, the words of the interface and,
    for 42501, a DETAIL; the session goes on. Gives the diagnostics.
    """
    import psycopg

    def check(conn, sql, sqlstate="42501", detail=None, params=None):
        guard.denied.append(sql)
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(sql, params)
        diag = caught.value.diag
        assert diag.sqlstate == sqlstate, (diag.sqlstate, diag.message_primary, diag.message_detail)
        assert diag.severity_nonlocalized == "ERROR"
        if sqlstate == "42501":
            assert diag.message_primary == NOT_APPROVED
            assert diag.message_detail
        if detail is not None:
            assert detail in (diag.message_detail or ""), diag.message_detail
        assert data.CANARY not in str(caught.value)
        if conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        return diag

    return check


_rooms_made = itertools.count(1)


@pytest.fixture
def own_veil(cluster):
    """
    own_veil(rooms, users, config): an installation of a test's own, taken down after it; neither provisioned nor
    started yet. Without `rooms` it has one small room whose name nobody else uses, in `.room`.
    """
    made = []

    def make(rooms=None, users=None, config=None, sslmode="verify-full"):
        name = "room_%d" % next(_rooms_made)
        one = make_veil(cluster, [data.small_room(name)] if rooms is None else rooms, users, config, sslmode)
        one.room = name if rooms is None else None
        made.append(one)
        return one

    yield make
    for one in made:
        if one.process is not None:
            one.kill()
            cluster.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'pgveil%%' AND usename LIKE %s",
                         ("%%%s%%" % (one.room or "none"),))
        one.close()


GOVERNED = "governed"


@pytest.fixture(scope="session")
def governed_state(cluster):
    """The folder of a state whose room stands in the database: to make it anew takes ten times as long as to change it."""
    veil = make_veil(cluster, [data.small_room(GOVERNED)])
    veil.provision()
    yield veil.path("state")
    veil.provision("--drop")
    veil.close()


@pytest.fixture
def governed(own_veil, governed_state):
    """governed(change, start=True, ...): an installation of its own state whose small room was changed by change(room)."""

    def make(change=None, start=True, config=None, users=None):
        clear_of_midnight()
        shape = data.small_room(GOVERNED)
        if change:
            change(shape)
        veil = own_veil(rooms=[shape], users=users, config=config)
        veil.room, veil.shape = GOVERNED, shape
        shutil.copytree(governed_state, veil.path("state"), dirs_exist_ok=True)
        veil.provision()
        return veil.start() if start else veil

    return make
