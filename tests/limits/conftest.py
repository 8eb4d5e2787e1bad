"""
One cluster and one pgveil for the limits: transaction pooling, two workers. LIMITS=full takes the sizes that the limits
are stated for (`make test-limits`); without it they are small enough for `make test`.
"""
import os
import resource
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.lib.cluster import Cluster  # noqa: E402
from tests.lib.pgveil import Pgveil  # noqa: E402

FULL = os.environ.get("LIMITS", "") == "full"
ROOM, USER, PASSWORD = "limits", "alice", "limits"
BLOB_MIB = 1024 if FULL else 48


def pytest_configure(config):
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def room():
    plain = {"category": 1}
    return {
        "room": ROOM, "upstream": "main", "parties": {"acme": {}}, "members": {USER: {"party": "acme", "roles": ["analyst"]}},
        "datasets": {"public.accounts": {"owner": "acme", "columns": {"aid": plain, "balance": plain}},
                     "public.blobs": {"owner": "acme", "columns": {"id": plain, "blob": plain}}},
        "questions": {
            "balance": {"type": "list", "sql": "SELECT balance FROM accounts WHERE aid = :aid",
                        "parameters": {"aid": {"type": "integer"}}},
            "blobs": {"type": "list", "sql": "SELECT id, blob FROM blobs"},
        },
    }


@pytest.fixture(scope="session")
def cluster():
    cluster = Cluster({"max_connections": "200"})
    cluster.psql("CREATE ROLE pgveil LOGIN CREATEROLE PASSWORD 'upstream'", "postgres")
    cluster.psql("CREATE DATABASE warehouse", "postgres")
    cluster.psql("CREATE TABLE public.accounts AS SELECT n AS aid, n * 7 AS balance FROM generate_series(1, 10000) AS n;"
                 "ALTER TABLE public.accounts ADD PRIMARY KEY (aid);"
                 # Compressed in the table, a MiB each on the wire.
                 "CREATE TABLE public.blobs AS SELECT n AS id, repeat(chr(97 + n %% 26), 1048576) AS blob"
                 " FROM generate_series(1, %d) AS n;" % BLOB_MIB)
    cluster.psql("REVOKE TEMPORARY ON DATABASE warehouse FROM PUBLIC; GRANT CREATE ON DATABASE warehouse TO pgveil;"
                 "GRANT SELECT ON ALL TABLES IN SCHEMA public TO pgveil WITH GRANT OPTION")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def make_veil(cluster):
    """An installation over the one room; a fresh one has its own state, so only one at a time is provisioned."""
    made = []

    def make(config=None):
        for veil in made:
            veil.stop()
            veil.provision("--drop")
        made.clear()
        upstream = {"host": "127.0.0.1", "port": cluster.port, "dbname": "warehouse", "user": "pgveil",
                    "password": "upstream", "sslmode": "disable"}
        veil = Pgveil([room()], {USER: {"password": PASSWORD}}, upstream,
                      {"pool": {"mode": "transaction"}, "limits": {"clients": 6000, "login_timeout": "10min"},  # a busy machine's logins take long
                       "audit": {"durability": "relaxed"}, **(config or {})})
        veil.provision()
        veil.start()
        made.append(veil)
        return veil

    yield make
    for veil in made:
        veil.stop()
        veil.provision("--drop")
        veil.close()


@pytest.fixture(scope="module")
def veil(make_veil):
    return make_veil()
