"""
Fixtures: one cluster, one pgveil with the room `market` behind a relay that looks for canaries in every byte that a client
receives, and the room's equal as a plain database. `ends` gives both as connection facts.
"""
import json
import multiprocessing
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.clients import market  # noqa: E402
from tests.lib import data  # noqa: E402
from tests.lib.cluster import Cluster  # noqa: E402
from tests.lib.pgveil import Pgveil  # noqa: E402
from tests.lib.tap import Tap  # noqa: E402


def pytest_configure(config):
    # SIGTERM ends the run as Ctrl-C does, so that clusters and proxies started here are taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _relay(target, patterns, pipe):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tap = Tap(target, patterns)
    pipe.send(tap.port)
    pipe.recv()
    pipe.send((tap.found, tap.bytes_seen))


class Relay:
    """
    A tap in a process of its own: libpq's PQcancel waits for the peer while psycopg 2 holds the interpreter's lock, which
    a tap in this process would need to answer.
    """

    def __init__(self, target, patterns):
        self.pipe, far = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_relay, args=(target, patterns, far), daemon=True)
        self.process.start()
        self.port = self.pipe.recv()

    def stop(self):
        """(what was found, how many bytes were looked at)"""
        self.pipe.send(None)
        result = self.pipe.recv()
        self.process.terminate()
        self.process.join()
        return result


class End:
    """Where a client connects: through pgveil, or straight to the plain database."""

    def __init__(self, port, is_veiled, user="alice", dbname=market.ROOM):
        self.host, self.port, self.user, self.password, self.dbname = "127.0.0.1", port, user, market.USERS[user]["password"], dbname
        self.is_veiled = is_veiled

    @property
    def env(self):
        """For libpq programs."""
        return dict(os.environ, PGHOST=self.host, PGPORT=str(self.port), PGUSER=self.user, PGPASSWORD=self.password,
                    PGDATABASE=self.dbname, PGSSLMODE="disable", PGCONNECT_TIMEOUT="10", LC_ALL="C.UTF-8")

    @property
    def dsn(self):
        return {"host": self.host, "port": self.port, "user": self.user, "password": self.password, "dbname": self.dbname,
                "sslmode": "disable", "connect_timeout": 60}


def build():
    """(cluster, pgveil), both up."""
    cluster = Cluster()
    data.load(cluster)
    market.load(cluster)
    veil = Pgveil([], market.USERS, data.upstream(cluster))
    veil.write_room(market.room())
    veil.write_room(data.demo_room())  # for the recipes of docs/tools.md
    veil.provision()
    market.build_plain(cluster)
    veil.start()
    veil.tap = Relay(veil.port, data.patterns())
    return cluster, veil


def capture(veil, path):
    """What the clients of this run sent, from the query log, each once: the material of test_replay.py."""
    seen = {}
    for row in veil.log_rows("query IS NOT NULL AND length(query) < 20000"):
        key = (row["protocol"], row["query"])
        seen.setdefault(key, {"protocol": row["protocol"], "sql": row["query"], "refused": row["decision"] == "denied",
                              "sqlstate": row["sqlstate"]})
    with open(path, "w") as out:
        for entry in seen.values():
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")


@pytest.fixture(scope="session")
def stand():
    cluster, veil = build()
    yield cluster, veil
    if "CLIENTS_CAPTURE" in os.environ:
        capture(veil, os.environ["CLIENTS_CAPTURE"])
    status = veil.stop()
    found, seen = veil.tap.stop()
    log = veil.stderr()
    veil.close()
    cluster.stop()
    assert status == 0, "pgveil serve ended with %d: %s" % (status, log[-3000:])
    assert not found, "a canary reached a client: %r" % found[:3]
    assert seen > 10000, "the relay saw next to nothing, so it proves nothing"


@pytest.fixture(scope="session")
def veiled(stand):
    return End(stand[1].tap.port, True)


@pytest.fixture(scope="session")
def plain(stand):
    return End(stand[0].port, False)


@pytest.fixture(scope="session")
def veil(stand):
    return stand[1]


@pytest.fixture(scope="module")
def both(veiled, plain):
    """psycopg to the room and to its equal."""
    import psycopg
    pair = [psycopg.connect(autocommit=True, **end.dsn) for end in (veiled, plain)]
    yield pair
    for conn in pair:
        conn.close()
