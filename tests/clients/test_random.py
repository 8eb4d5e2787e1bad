"""
A client with no intentions: sqlsmith reads the room's catalog as it would any database's and sends random statements. Each
has to be answered or refused; the relay looks for canaries, the server's log for source tables.
"""
import os
import re
import subprocess

import pytest

from tests.integration.conftest import statements_of_rooms

pytestmark = pytest.mark.skipif(os.environ.get("CLIENTS") != "all", reason="part of `make test-clients`")

STATEMENTS = int(os.environ.get("RANDOM_STATEMENTS", "3000"))


@pytest.mark.parametrize("seed, options", [(1, ("--exclude-catalog",)), (2, ("--exclude-catalog",)), (3, ())],
                         ids=["room", "room again", "catalogs too"])
def test_random_statements(veiled, stand, seed, options):
    cluster, veil = stand
    first = max((row["seq"] for row in veil.log_rows()), default=0)
    since = cluster.log_size()
    done = subprocess.run(["sqlsmith", "--target=dbname=" + veiled.dbname, "--max-queries=%d" % STATEMENTS, "--seed=%d" % seed, *options],
                          env=veiled.env, capture_output=True, text=True, timeout=900)
    assert "server closed" not in done.stderr and "terminat" not in done.stderr, done.stderr[-2000:]
    rows = veil.log_rows("seq > %d" % first)
    answered = [row for row in rows if row["decision"] == "allowed" and row["query"].lstrip().upper().startswith(("SELECT", "WITH"))]
    assert len(rows) >= STATEMENTS, done.stderr[-2000:]
    assert len(answered) > STATEMENTS // 100
    broken = [row for row in rows if (row["sqlstate"] or "").startswith(("XX", "08", "57P")) or row["outcome"] in (None, "lost")]
    assert not broken, broken[:3]
    assert not [row for row in rows if row["decision"] == "allowed" and re.match(
        r"\s*(insert|update|delete|merge)\b", row["query"], re.I)]
    ran = list(statements_of_rooms(cluster.log(since)))
    assert len(ran) > len(answered) // 2
    assert not [sql for sql in ran if re.search(r"\b(crm|market|zoo)\b\W*\.", sql)][:3]
    assert veil.run("audit", "verify").returncode == 0
