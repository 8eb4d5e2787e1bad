"""
`serve --conformance ROOM`: for tests only, the named room answers every statement. It starts on loopback alone, says so
loudly, sends a SELECT that the printer knows as it was printed and checked, and anything else as it came.
"""
import json

import psycopg
import pytest

from tests.lib import data
from tests.lib.pgveil import run_binary
from tests.lib.wire import frame, tags

# What PostgreSQL's grammar has in a SELECT, one of each, over what every database holds.
STATEMENTS = r"""
SELECT 1 + 2 * 3 - -4 AS "Sum", 'it''s' || E'a\\b', U&'d\0061t', x'1F', B'101', 1.5e3, NULL, TRUE
SELECT (1, 2) < (3, 4), ROW(1, NULL) IS NULL, (ARRAY[[1, 2], [3, 4]])[1:2][2], (ARRAY['a', 'b'])[1]
SELECT a.n FILTER_, b."order" FROM generate_series(1, 3) AS a (n) LEFT JOIN (VALUES (1, 2)) AS b (n, "order") USING (n)
SELECT count(*) FILTER (WHERE n > 1), string_agg(DISTINCT n::text, ',' ORDER BY n::text DESC) FROM generate_series(1, 3) n
SELECT n, sum(n) OVER w, rank() OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM generate_series(1, 4) n WINDOW w AS (PARTITION BY n % 2 ORDER BY n DESC NULLS LAST)
WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5), u AS MATERIALIZED (SELECT * FROM t) SELECT sum(n) FROM u
SELECT n % 2, n % 3, grouping(n % 2, n % 3), count(*) FROM generate_series(1, 9) n GROUP BY GROUPING SETS (ROLLUP (n % 2, n % 3), ()) ORDER BY 1, 2, 3
SELECT DISTINCT ON (n % 2) n FROM generate_series(1, 6) n ORDER BY n % 2, n DESC OFFSET 0 ROWS FETCH FIRST 2 ROWS WITH TIES
(SELECT 1 UNION ALL SELECT 2) EXCEPT SELECT 2 INTERSECT SELECT 2 ORDER BY 1 LIMIT 5
SELECT CASE WHEN n BETWEEN 1 AND 2 THEN 'low' WHEN n NOT IN (3, 4) THEN 'high' ELSE lower('MID') END FROM generate_series(1, 5) n
SELECT x.*, l.v FROM generate_series(1, 2) x (a), LATERAL (SELECT x.a * 10 AS v) l WHERE EXISTS (SELECT 1) AND x.a = ANY (SELECT 1)
SELECT EXTRACT(year FROM timestamp '2020-02-03'), timestamp '2020-02-03' AT TIME ZONE 'UTC' COLLATE "C" IS NULL, interval '1' day, OVERLAY('abc' PLACING 'x' FROM 2), TRIM(LEADING 'x' FROM 'xa'), SUBSTRING('abc' FROM 2 FOR 1), POSITION('b' IN 'abc')
SELECT 'a' LIKE 'a%' ESCAPE '\', 'a' NOT ILIKE 'b', 'a' SIMILAR TO 'a|b', 'a' ~ '^a', 1 IS DISTINCT FROM 2, (SELECT 3) IS NOT UNKNOWN
SELECT r.i, r.o FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['p', 'q'])) WITH ORDINALITY AS r (i, t, o)
SELECT '{"a": [1, 2]}'::jsonb -> 'a' ->> 0, '(1,2)'::point <-> '(0,0)', !!'a & b'::tsquery, 2 OPERATOR(pg_catalog.+) 3, |/ 16.0
SELECT 1/0
SELECT nosuch FROM pg_class
SELECT * FROM nosuch
SELECT 'x'::integer
SELECT FROM WHERE
TABLE pg_am
VALUES (1, 'a'), (2, 'b') ORDER BY 1 DESC
""".strip().split("\n")


@pytest.fixture(scope="module")
def open_veil(cluster):
    from tests.integration.conftest import make_veil

    veil = make_veil(cluster, [data.small_room("conform_room"), data.small_room("gated_room")])
    veil.provision()
    veil.start("--conformance", "conform_room")
    cluster.psql("GRANT TEMPORARY ON DATABASE warehouse TO pgveil")
    yield veil
    cluster.psql("REVOKE TEMPORARY ON DATABASE warehouse FROM pgveil")
    assert veil.stop() == 0, veil.stderr()[-3000:]
    veil.close()


def straight(cluster):
    """The same user past the proxy."""
    return psycopg.connect(host="127.0.0.1", port=cluster.port, user="pgveil", password=data.UPSTREAM_PASSWORD, dbname="warehouse",
                           autocommit=True)


@pytest.mark.parametrize("listen,said", [("0.0.0.0", "0.0.0.0 is not"), ("[::]", ":: is not"), ("192.0.2.1", "192.0.2.1 is not")])
def test_refuses_what_is_not_loopback(own_veil, listen, said):
    veil = own_veil()
    veil.config["listen"] = ["127.0.0.1:%d" % veil.port, "%s:%d" % (listen, veil.port)]
    veil.write_config()
    done = veil.run("serve", "--conformance", veil.room)
    assert done.returncode == 2 and "every listen must be a loopback address" in done.stderr and said in done.stderr, done.stderr


def test_refuses_a_room_that_is_not_there(own_veil):
    done = own_veil().run("serve", "--conformance", "nosuch")
    assert done.returncode == 2 and 'there is no room "nosuch"' in done.stderr, done.stderr
    assert run_binary("serve", "--conformance").returncode == 2


def test_says_so_loudly(open_veil):
    assert 'CONFORMANCE: room "conform_room" ANSWERS EVERY STATEMENT' in open_veil.stderr()
    starts = open_veil.event_rows("event = 'start'")
    assert [json.loads(row["detail"])["conformance"] for row in starts] == ["conform_room"]


def test_other_rooms_keep_their_gate(open_veil):
    with open_veil.connect("alice", "gated_room") as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT grp FROM public.cells")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("CREATE TEMP TABLE t (n integer)")


def answer(conn, sql):
    try:
        cursor = conn.execute(sql, prepare=False)
        return [tuple(column) for column in cursor.description or ()], cursor.fetchall() if cursor.description else cursor.statusmessage
    except psycopg.Error as error:
        diag = error.diag
        return diag.sqlstate, diag.message_primary, diag.message_detail, diag.message_hint


def test_selects_are_printed_and_say_the_same(open_veil, cluster):
    with open_veil.connect("alice", "conform_room") as ours, straight(cluster) as theirs:
        for sql in STATEMENTS:
            assert answer(ours, sql) == answer(theirs, sql), sql
    log = {row["query"]: row for row in open_veil.log_rows("room = 'conform_room'")}
    for sql in STATEMENTS:
        row = log[sql]
        assert row["decision"] == "allowed"
        if sql == "SELECT FROM WHERE":
            assert (row["reason"], row["forwarded"]) == ("as it came: not parsed", sql)
        else:
            assert row["reason"] == "printed", sql
    assert log[STATEMENTS[0]]["forwarded"] != STATEMENTS[0]


def test_the_rest_goes_as_it_came(open_veil, cluster):
    texts = ["SELECT  xmlelement(name a, 1)  ;", " DO $$ BEGIN RAISE NOTICE 'hello'; END $$; -- and a comment", "CREATE  TEMP TABLE t (n int);",
             "INSERT INTO t VALUES (1), (2) RETURNING n", "WITH d AS (DELETE FROM t WHERE n = 1 RETURNING n) SELECT * FROM d",
             "EXPLAIN (COSTS OFF) SELECT 1", "PREPARE p AS SELECT 1;", "SELECT statement FROM pg_prepared_statements WHERE name = 'p'",
             "LISTEN ear", "NOTIFY ear, 'x'", "BEGIN; SAVEPOINT s; SELECT n FROM t; COMMIT", "DROP TABLE t", "SELECT 1; SELEKT 2"]
    with open_veil.connect("alice", "conform_room") as ours, straight(cluster) as theirs:
        heard, told = [], []
        ours.add_notify_handler(lambda note: told.append(note.payload))
        ours.add_notice_handler(lambda diag: heard.append(diag.message_primary))
        for sql in texts:
            assert answer(ours, sql) == answer(theirs, sql), sql
        assert heard == ["hello"]
        assert set(told) == {"x"}  # the other one speaks in the same database
        ours.execute("CREATE TEMP TABLE copied (n integer)")
        with ours.cursor().copy("COPY copied FROM STDIN") as copy:
            copy.write_row((7,))
        assert ours.execute("SELECT n FROM copied").fetchall() == [(7,)]
    log = {row["query"].strip(): row for row in open_veil.log_rows("room = 'conform_room'")}
    for sql, reason in (("SELECT  xmlelement(name a, 1)", "as it came: XmlExpr"), ("CREATE  TEMP TABLE t (n int)", "as it came: no SELECT"),
                        ("SELECT 1; SELEKT 2", "as it came: not parsed")):
        assert log[sql]["reason"] == reason
    assert log["SELECT  xmlelement(name a, 1)"]["forwarded"] == texts[0]


# A client's own settings of the start come back where it resets them, as on a server of its own.
@pytest.mark.parametrize("sql", ["RESET DateStyle", "RESET ALL", "DISCARD ALL", "SET DateStyle TO DEFAULT"])
def test_settings_of_the_start_come_back(open_veil, sql):
    with open_veil.connect("alice", "conform_room", options="-c DateStyle=German,DMY") as conn:
        assert conn.execute("SHOW DateStyle").fetchone() == ("German, DMY",)
        conn.execute("SET DateStyle = 'SQL, MDY'")
        conn.execute(sql)
        assert conn.execute("SHOW DateStyle").fetchone() == ("German, DMY",)


# With backslashes in strings we cannot read what is sent, so the server reads it alone.
def test_backslashes_in_strings(open_veil, cluster):
    with open_veil.connect("alice", "conform_room") as ours, straight(cluster) as theirs:
        for conn in (ours, theirs):
            conn.execute("SET standard_conforming_strings = off")
        for sql in (r"SELECT 'a\'b', 'c;d'", r"SELECT '\''; SELECT '\\'", "SELECT 1"):
            assert answer(ours, sql) == answer(theirs, sql), sql
        for conn in (ours, theirs):
            conn.execute("RESET standard_conforming_strings")
        assert answer(ours, r"SELECT 'a\b'") == answer(theirs, r"SELECT 'a\b'")
    assert [row["reason"] for row in open_veil.log_rows("query = ?", (r"SELECT 'a\'b', 'c;d'",))] == ["as it came: not parsed"]


# No path of ours carries a function-call message, not even here; the session goes on.
def test_function_calls_stay_refused(open_veil):
    wire = open_veil.wire("alice", "conform_room")
    replies = wire.ask(frame("F", b"\0\0\x03\xb4" + b"\0\0" * 3))
    assert tags(replies) == "EZ" and replies[0].sqlstate == "0A000"
    wire.sock.close()
