"""
The views of usage: added up once where records are sealed, in one pass where they are not. Oracle: the same sums by
GROUP BY over query_log itself.
"""
import json
import os
import shutil
import sqlite3

import psycopg
import pytest

from tests.integration.test_segments import segments, serve, wait_for

ORACLES = {
    "daily_usage": "SELECT substr(at, 1, 10) AS day, room, question, count(*) AS statements,"
                   " count(*) FILTER (WHERE decision = 'allowed') AS allowed,"
                   " count(*) FILTER (WHERE decision = 'denied') AS denied,"
                   " count(*) FILTER (WHERE outcome = 'failed' AND decision = 'allowed') AS failed,"
                   " count(DISTINCT user) AS users, sum(rows) AS rows FROM query_log GROUP BY 1, 2, 3",
    "top_members": "SELECT room, user, party, count(*) AS statements, count(*) FILTER (WHERE decision = 'denied') AS denied,"
                   " sum(rows) AS rows, max(at) AS last_at FROM query_log GROUP BY room, user, party",
    "column_usage": "SELECT room, column_name, max(granted) AS granted, sum(reads) AS reads, max(last_at) AS last_at FROM ("
                    "SELECT room, column_name, 1 AS granted, 0 AS reads, NULL AS last_at FROM granted_column UNION ALL "
                    "SELECT q.room, j.value, 0, count(*), max(q.at) FROM query_log AS q, json_each(q.columns) AS j"
                    " WHERE q.decision = 'allowed' GROUP BY 1, 2) GROUP BY room, column_name",
    "unused_questions": "SELECT room, question FROM question AS g WHERE NOT EXISTS (SELECT 1 FROM query_log AS q"
                        " WHERE q.room = g.room AND q.question = g.question AND q.decision = 'allowed')",
}


def query(veil, sql):
    done = veil.run("audit", "query", "--json", sql)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def key(row):
    return json.dumps(row, sort_keys=True)


def same_everywhere(veil):
    for view, oracle in ORACLES.items():
        want = sorted(query(veil, oracle), key=key)
        assert sorted(query(veil, "SELECT * FROM " + view), key=key) == want and want, view


def ask(veil, number):
    for user in ("alice", "bi_service"):
        with veil.connect(user, veil.room) as conn:
            conn.execute("SELECT * FROM questions.first(n => %d)" % (number + 1))
            for sql in ("SELECT 1", "DELETE FROM public.cells", "SELECT no_such", "SELECT 1 / 0",
                        "SELECT id, label FROM public.others ORDER BY id"):
                try:
                    conn.execute(sql)
                except psycopg.Error:
                    pass


@pytest.fixture
def sealed(own_veil):
    """A log with two segments and a live part."""
    veil = serve(own_veil)
    for number in range(2):
        ask(veil, number)
        wait_for(lambda: len(segments(veil)) > number)
    ask(veil, 2)
    yield veil
    veil.stop()
    veil.provision("--drop")


def rewrite(path, *statements):
    """Whoever owns the file can write it."""
    os.chmod(path, 0o600)
    file = sqlite3.connect(path)
    for sql in statements:
        file.execute(sql)
    file.commit()
    file.execute("VACUUM")
    file.close()
    os.chmod(path, 0o400)


def test_views_of_usage_are_sums_of_the_log(sealed):
    veil = sealed
    with veil.connect("olga", "pgveil") as auditor:
        for view in ORACLES:
            columns = ", ".join('"%s"' % name for name in query(veil, "SELECT * FROM %s LIMIT 1" % view)[0])
            got = auditor.execute("SELECT %s FROM %s WHERE room = %%s" % (columns, view), (veil.room,)).fetchall()
            assert len(got) == len(query(veil, "SELECT 1 FROM %s WHERE room = '%s'" % (view, veil.room)))
        with pytest.raises(psycopg.Error):
            auditor.execute("SELECT * FROM usage")
    # Nothing is being written any more: both are of one state.
    assert veil.stop() == 0
    same_everywhere(veil)
    rows = query(veil, "SELECT sum(statements) AS n, sum(denied) AS d, sum(failed) AS f FROM daily_usage WHERE room = '%s'"
                 % veil.room)[0]
    assert rows["n"] >= 36 and rows["d"] >= 12 and rows["f"] >= 6


def test_what_a_segment_adds_up_is_checked(sealed):
    veil = sealed
    assert veil.stop() == 0
    assert veil.run("audit", "verify").returncode == 0
    path = segments(veil)[1]
    shown = {view: query(veil, "SELECT * FROM " + view) for view in ORACLES}
    for change in ("UPDATE usage SET rows = coalesce(rows, 0) + 1 WHERE seq = 1", "DELETE FROM usage WHERE seq = 2",
                   "UPDATE usage SET user = 'nobody' WHERE seq = 1",
                   "INSERT INTO usage SELECT max(seq) + 1, day, 'another', question, user, party, columns, 1, 1, 0, 0, 0, at"
                   " FROM usage"):
        shutil.copy(path, path + ".kept")
        rewrite(path, change)
        done = veil.run("audit", "verify")
        assert done.returncode == 1, (change, done.stdout)
        assert "changed: what segment 2 adds up in its table usage is not what its records say" in done.stdout, done.stdout + done.stderr
        os.rename(path + ".kept", path)
    assert veil.run("audit", "verify").returncode == 0
    # One from before there was such a table is added up as it is read.
    rewrite(path, "DROP TABLE usage", "PRAGMA user_version = 1")
    same_everywhere(veil)
    assert shown == {view: query(veil, "SELECT * FROM " + view) for view in ORACLES}
    done = veil.run("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    # One that says it had added up, and has not, is no such segment.
    rewrite(path, "PRAGMA user_version = 2")
    assert veil.run("audit", "verify").returncode == 1
