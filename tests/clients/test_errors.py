"""
What an analyst gets for a mistake: of statements that do not parse, name what is not there or mix types, the code, the
message, its detail and hint and the position in the text, each as the plain database tells it. What is forwarded is another
text than what was sent, so a position is either mapped back right or left out.
"""
import psycopg
import pytest
from psycopg.pq import DiagnosticField, ExecStatus

MISTAKES = [
    "SELECT nosuch FROM questions.orders", "SELECT lower(status) FROM questions.orders", "SELECT 1 + 'x'", "SELECT 'abc'::integer",
    "SELECT order_id + status FROM questions.orders", "SELECT 'x'::nosuch", "SELECT upper(order_id, 2) FROM questions.orders",
    "SELECT * FROM questions.orders WHERE order_id", "SELECT * FROM questions.orders WHERE order_id = 'x'",
    "SELECT region, sum(reached) FROM questions.by_region", "SELECT CASE WHEN true THEN 1 ELSE now() END", "SELECT now()::integer",
    "SELECT  'é', now()::integer + 1", "SELECT 1 UNION SELECT 'x'", "SELECT 1 UNION SELECT now()", "SELECT 1, 2 UNION SELECT 1",
    "SELECT * FROM questions.orders ORDER BY 9", "SELECT * FROM questions.orders GROUP BY 9",
    "SELECT DISTINCT order_id FROM questions.orders ORDER BY item", "SELECT date '2024-99-01'", "SELECT '2024-13-01'::date, 1",
    "SELECT interval 'x'", "SELECT sum(sum(reached)) FROM questions.by_region",
    "SELECT region FROM questions.by_region WHERE sum(reached) > 1", "SELECT count(*) FILTER (WHERE 1) FROM questions.by_region",
    "SELECT round('x', now())", "SELECT coalesce(1, now())", "SELECT ARRAY[1, now()]", "SELECT 1 IN (now())",
    "SELECT 1 BETWEEN now() AND 2", "SELECT -status FROM questions.orders", "SELECT NOT 1", "SELECT 1 AND true", "SELECT 'a' LIKE 1",
    "SELECT (SELECT 1, 2)", "SELECT (SELECT region, reached FROM questions.by_region)",
    "SELECT * FROM questions.steps s JOIN questions.orders o ON s.n", "SELECT * FROM questions.steps s JOIN questions.orders o USING (n)",
    "SELECT n FROM questions.steps s JOIN questions.steps o ON true", "SELECT row_number() FROM questions.steps",
    "SELECT rank() OVER (ORDER BY nosuch) FROM questions.steps", "SELECT lower(x => 1)", "SELECT * FROM generate_series(1, now())",
    "SELECT greatest(1, now())", "SELECT nullif(1, now())", "SELECT status = 'nosuch' FROM questions.orders",
    "SELECT * FROM questions.orders WHERE status = 'nosuch'", "SELECT * FROM questions.orders WHERE status IN ('paid', 'nosuch')",
    "SELECT length(label) + label FROM questions.steps", "SELECT sum(label) FROM questions.steps",
    "SELECT avg(label) FROM questions.steps LIMIT 3", "SELECT * FROM questions.steps LIMIT 'x'",
    "SELECT * FROM questions.steps LIMIT now()", "SELECT * FROM questions.steps OFFSET -1",
    "SELECT * FROM questions.steps WHERE n > ALL (1)", "SELECT * FROM questions.steps WHERE n = ANY ('x')",
    "SELECT relname + 1 FROM pg_class", "SELECT current_user + 1", "SELECT pg_table_is_visible('x', 1)", "SELECT has_table_privilege(1)",
    "SELECT n || n FROM questions.steps", "SELECT label[1] FROM questions.steps", "SELECT (label).x FROM questions.steps",
    "SELECT count(n, label) FROM questions.steps", "SELECT count() FROM questions.steps", "SELECT n FROM questions.steps HAVING n > 1",
    "SELECT n, count(*) FROM questions.steps GROUP BY label", "SELECT to_char(1)", "SELECT to_date('x', 'YYYY', 1)",
    "SELECT date_trunc('x')", "SELECT x FROM (SELECT 1 AS y) AS z", "SELECT z.x FROM (SELECT 1 AS y) AS z",
    "SELECT q.x FROM (SELECT 1 AS y) AS z", "WITH a AS (SELECT 1 AS x) SELECT x + now()::text FROM a", "SELECT 1; SELECT now()::integer",
    "SELECT 1;   SELECT lower(1, 2) FROM questions.orders", "SELECT * FROM nosuch", "SELECT * FROM questions.nosuch",
    "SELECT * FROM questions.orders, questions.orders", "SELECT string_agg(n) FROM questions.steps",
    "SELECT string_agg(label, 1) FROM questions.steps", "SELECT jsonb '{bad'", "SELECT '{bad'::jsonb", "SELECT '{1,2'::integer[]",
    "SELECT 1/0", "SELECT sqrt(-1)", 'SELECT \'x\' COLLATE "nosuch"', "SELECT '12:99'::time", "SELECT 99999999999::integer",
    "SELECT '99999999999'::integer", "SELECT 1 = '1'::text", "SELECT label = 1 FROM questions.steps",
    "SELECT label > 1 FROM questions.steps WHERE label <> 'x'", "SELECT $1", "SELECT $1 + now()", "SELECT 'x'::nosuch[]",
    "SELECT 1,  lower( status ) FROM questions.orders", "SELECT  /* é */ 'é', lower(status) FROM questions.orders",
    "SELECT lower(status)   FROM questions.orders WHERE order_id = 12345",
    "SELECT n FROM questions.steps WHERE n = 1 AND label + 1 > 2 ORDER BY label LIMIT 2", "SELECT CAST(now() AS integer)",
    "SELECT x.label - 1 FROM (SELECT label FROM questions.steps) AS x", "SELECT abs(label), n FROM questions.steps",
    "SELECT 1 FROM questions.steps WHERE (n, label) = (1, 2)",
    "SELECT 1 FROM questions.steps WHERE EXISTS (SELECT lower(n) FROM questions.steps)",
    "SELECT c.relname - 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace", "SELECT current_database() - 1",
    "SELECT current_setting('server_version') - 1", "SELECT count(*) - 'x' FROM questions.steps",
    "SELECT * FROM (VALUES (1), ('x')) AS v", "SELECT * FROM (VALUES (1), (now())) AS v", "SELECT now() - 'x'", "SELECT 'x' - now()",
    "SELECT '1 day' + now()", "SELECT true + 1", "SELECT now()::date::integer", "SELECT 1 ORDER BY now() + 1",
    "SELECT n FROM questions.steps ORDER BY lower(n)", "SELECT n FROM questions.steps GROUP BY n HAVING lower(n) = 'x'",
    "SELECT sum(n) OVER (PARTITION BY lower(n)) FROM questions.steps", "SELECT CASE n WHEN 'x' THEN 1 END FROM questions.steps",
    "SELECT CASE WHEN n THEN 1 END FROM questions.steps", "SELECT json_build_object('a', lower(1))",
]
SYNTAX = [
    "SELEC 1", "SELECT 1 FROM", "SELECT FROM WHERE", "SELECT * FORM questions.orders", "SELECT 'abc", 'SELECT "abc', "SELECT 1 +",
    "SELECT (1", "SELECT 1)", "SELECT a b c", "SELECT 1 WHERE", "SELECT 1,", "SELECT 1 GROUP ORDER BY 1", "SELECT 1 LIMIT",
    "SELECT 1 LIMIT 1, 2", "SELECT * FROM a JOIN b", "SELECT * FROM (SELECT 1)", "SELECT U&'\\00zz'", "SELECT E'\\xzz', E'\\u12'",
    "SELECT 1e", "SELECT 0x", "SELECT 1a", "SELECT $$abc", "/* abc", "SELECT 1 /* abc", "SELECT count(DISTINCT) FROM x",
    "SELECT * FROM a.b.c.d", "SELECT x'zz'", "SELECT b'12'", "SELECT interval '1' nosuch", "SELECT CAST(1 AS)", "SELECT CASE 1 END",
    "SELECT 1 != = 1", "SELECT ''''", "SELECT ''x'", "SELECT é FROM", "SELECT 'é', * FORM x", "INSERT 1", "SELECT user()",
    "SELECT * FROM t WHERE x = ?", "SELECT * FROM t WHERE x = :a", "SELECT [1]", "SELECT `a`", "SELECT TOP 10 * FROM t",
    "SELECT * FROM t LIMIT 10 OFFSET 5 LIMIT 3", "SELECT a FROM t ORDER BY a ORDER BY b", "SELECT 1 UNION SELECT", "WITH a AS SELECT 1",
    "WITH a AS (SELECT 1)", "SELECT sum(x) OVER FROM t", "SELECT f(VARIADIC a, b)", "SELECT f(DISTINCT)", "SELECT a.* + 1, * b",
    "SELECT ALL DISTINCT 1", "SELECT foo(*) FROM", "BEGIN TRANSACTION ISOLATION LEVEL nosuch", "SET x TO", "SET TIME ZONE", "SHOW",
    "FETCH x y z", "DECLARE c", "PREPARE", "EXECUTE", "COPY x", "EXPLAIN", "SELECT 1 FOR", "SELECT * FROM t TABLESAMPLE",
    "SELECT 99999999999999999999999999::int8 +", "SELECT 1::", "SELECT a COLLATE", "SELECT 'a' 'b'", "SELECT date'2020' + + ",
    "select 1 from (values (1,2),(3)) as x", "SELECT * FROM (VALUES (1), (2, 3)) AS v", "CREATE TABEL x", "DROP x", "ALTER", "GRANT",
]
# Told in other words: a type that a room gives as an OID, so that no integer beside it becomes a name; a schema that is left out.
OTHER_WORDS = [
    "SELECT now() AT TIME ZONE 1", "SELECT extract(nosuch FROM 1)", "SELECT position(1 IN 2)", "SELECT substring('x' FROM now())",
    "SELECT oid::regclass + 'x' FROM pg_class", "SELECT 'pg_class'::regclass + now()", "SELECT pg_typeof(1) + 1",
    "SELECT table_name - 1 FROM information_schema.tables",
]
# Found when the statement runs rather than when it is read: the same words, and no position.
NO_POSITION = ["SELECT 'bad'::order_status"]
# A denial of pgveil's own, which says more of the room's rules, and its SQLSTATE.
OWN = {
    "SELECT nosuch(1)": "42501",
    "SELECT 1 == 1": "42501",
    "SELECT f(a => 1, 2)": "42501",
    "SELECT * FROM questions.one_step()": "22023",
    "SELECT * FROM questions.one_step('x')": "22023",
    "SELECT * FROM questions.one_step(wanted => now())": "22023",
    "SELECT * FROM questions.one_step(nosuch => 1)": "42883",
    "SELECT order_id::order_status FROM questions.orders": "22P02",
}
FIELDS = (DiagnosticField.SQLSTATE, DiagnosticField.MESSAGE_PRIMARY, DiagnosticField.STATEMENT_POSITION, DiagnosticField.MESSAGE_DETAIL,
          DiagnosticField.MESSAGE_HINT)


def told(conn, sql, is_extended=False):
    """The error's fields, or None."""
    pg = conn.pgconn
    result = pg.prepare(b"", sql.encode()) if is_extended else pg.exec_(sql.encode())
    if result.status == ExecStatus.COPY_OUT:
        while pg.get_copy_data(0)[0] > 0:
            pass
    fields = None
    if result.status == ExecStatus.FATAL_ERROR:
        fields = [(result.error_field(field) or b"").decode() for field in FIELDS]
    if pg.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        pg.exec_(b"ROLLBACK")
    return fields


@pytest.mark.parametrize("is_extended", [False, True], ids=["simple", "extended"])
def test_mistakes(both, is_extended):
    different = []
    for sql in MISTAKES + SYNTAX:
        ours, theirs = (told(conn, sql, is_extended) for conn in both)
        if ours != theirs:
            different.append((sql, ours, theirs))
    assert not different, different
    assert sum(told(both[1], sql) is not None for sql in MISTAKES + SYNTAX) > 150


def test_positions_hold_for_any_constants(both):
    """The same statement with other constants is judged from a shape that is kept; its text has other places."""
    for constant in ("1", "22", "4444444", "'é'::text"):
        for sql in ("SELECT n FROM questions.steps WHERE n::text = %s::text AND lower(n) = 'x'", "SELECT %s, now()::integer", "SELECT %s;  SELECT lower(1)"):
            ours, theirs = (told(conn, sql.replace("%s", constant)) for conn in both)
            assert ours == theirs and ours[2], (sql, constant)


def test_a_long_statement_has_places_too(both):
    sql = "SELECT %s, lower(1)" % ", ".join("'é%d' || n" % n for n in range(500)) + " FROM questions.steps"
    ours, theirs = (told(conn, sql) for conn in both)
    assert ours == theirs and int(ours[2]) > 5000


def test_other_words_at_the_same_place(both):
    for sql in OTHER_WORDS:
        ours, theirs = (told(conn, sql) for conn in both)
        assert ours[0] == theirs[0] and ours[2:] == theirs[2:] and ours[1] != theirs[1], sql


def test_no_position_rather_than_a_wrong_one(both):
    for sql in NO_POSITION:
        ours, theirs = (told(conn, sql) for conn in both)
        assert ours[:2] == theirs[:2] and ours[2] == "" and theirs[2] != "", sql


def test_denials_of_its_own(both):
    for sql, sqlstate in OWN.items():
        ours, theirs = (told(conn, sql) for conn in both)
        assert ours[0] == sqlstate and theirs is not None and (ours[2] in ("", theirs[2]) or sql[int(ours[2]) - 1:].startswith(("nosuch", "f("))), sql


def test_a_question_of_its_own_text(both):
    """Its places are the caller's, never those of the question in the room's file."""
    for sql in ("SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING (customer_id) "
                "WHERE i.seen_on >= now()::integer GROUP BY c.region",
                "SELECT   n, lower(n) FROM (SELECT n, label FROM questions.one_step(5)) AS s",
                "SELECT lower(total) FROM questions.ratio(0)"):
        ours, theirs = (told(conn, sql) for conn in both)
        assert ours[2] in ("", theirs[2]), (ours, theirs)
