/*
 * Statements whose trees must survive printing, one of everything that the printer knows.
 */
#ifndef PV_TEST_STATEMENTS_H
#define PV_TEST_STATEMENTS_H

static const char *const statements[] = {
    "SELECT",
    "SELECT FROM t",
    "SELECT 1, -1, - 1, +1, -(-1), OPERATOR(-) 1, OPERATOR(pg_catalog.-) 1, -x, +x, - - x, @ x, !!x, "
    "|/ 25, OPERATOR(*) 3",
    "SELECT 2147483648, -2147483648, -2147483649, 1e10, .5, 1., -1.5e-3",
    "SELECT a + b - c + d * e / f % g ^ h ^ i, (a + b) * c, a - (b - c), a || b || c, a -> b ->> c, ("
    "a || b) || (c || d)",
    "SELECT a OPERATOR(pg_catalog.+) b, a OPERATOR(=) b, a < b, (a < b) < c, a OPERATOR(\"My Schema\""
    ".@@) b",
    "SELECT a AND b AND c, a AND (b AND c), (a AND b) AND c, a OR b AND c, (a OR b) AND c, NOT a, NOT"
    " NOT a, NOT (a AND b)",
    "SELECT tenant = 5 AND ((u OR v) IS TRUE), (a + b) AT TIME ZONE z, a AT TIME ZONE 'x' AT TIME ZON"
    "E 'y'",
    "SELECT a IS NULL, a IS NOT NULL, a ISNULL, a NOTNULL, (a IS NULL) IS NOT NULL, a IS UNKNOWN, a I"
    "S NOT UNKNOWN, a IS FALSE, a IS NOT FALSE, a IS NOT TRUE",
    "SELECT a IN (1,2,3), a NOT IN (1), a IN (SELECT 1), a NOT IN (SELECT 1), (a,b) IN ((1,2),(3,4)),"
    " (a,b) IN (SELECT 1,2), a IN ((SELECT 1), 2), NOT a IN (1)",
    "SELECT a LIKE b, a NOT LIKE b, a LIKE b ESCAPE 'x', a ILIKE b, a NOT ILIKE b ESCAPE '', a SIMILA"
    "R TO b, a NOT SIMILAR TO b ESCAPE '#', a ~ b, a !~* b, a ~~ b, a OPERATOR(pg_catalog.~~) b",
    "SELECT a BETWEEN 1 AND 2, a NOT BETWEEN 1 AND 2, a BETWEEN SYMMETRIC 1 AND 2, a NOT BETWEEN SYMM"
    "ETRIC b AND c, a BETWEEN 1 AND 2 AND b",
    "SELECT a = ANY (b), a <> ALL (ARRAY[1,2]), a = ANY (SELECT 1), a < ALL (SELECT 1), a LIKE ANY (b"
    "), a NOT ILIKE ALL ('{x}'), a = SOME (b), a OPERATOR(pg_catalog.=) ANY (b), a = ANY ((SELECT x):"
    ":int[])",
    "SELECT a IS DISTINCT FROM b, a IS NOT DISTINCT FROM b, NULLIF(a, b)",
    "SELECT CAST(a AS int), a::text::varchar(10), '1'::numeric(10,2), int '5', interval '1' year, int"
    "erval(3) '1 day', interval '1' day to second(3), '1'::interval(3), x::interval hour to minute, x"
    "::interval second(2)",
    "SELECT a::bit, a::bit(3), a::bit varying(3), a::char, a::char(5), a::character varying, a::\"cha"
    "r\", a::double precision, a::float(20), a::float(50), a::real, a::time(3) with time zone, a::tim"
    "estamp without time zone, a::timestamptz(0), a::dec(3), a::national character(3), a::smallint, a"
    "::bigint, a::boolean",
    "SELECT a::int[], a::int[3][], a::int array, a::int array[5], a::public.\"My Type\"(1,'x'), a::pg"
    "_catalog.int4[], a::json, a::jsonb, a::xml, a::setof_thing, a::uuid, a::regclass, a::name, a::\""
    "interval\", a::\"timestamp\"",
    "SELECT true, false, null, 't'::bool, TRUE::bool, NOT true, B'0101', X'1F', b'', 'it''s', E'a\\'"
    "\\\\n\\n', U&'\\0041', 'back\\slash', $$dollar$$, N'x', '' , 'é ü 漢字'",
    "SELECT CASE WHEN a THEN b END, CASE a WHEN 1 THEN 2 WHEN 3 THEN 4 ELSE 5 END, COALESCE(a, b, 1),"
    " GREATEST(a, b), LEAST(1, 2, 3)",
    "SELECT EXTRACT(year FROM x), EXTRACT('epoch' FROM x), OVERLAY('a' PLACING 'b' FROM 1 FOR 2), POS"
    "ITION('a' IN b), SUBSTRING(a FROM 1 FOR 2), SUBSTRING(a FROM 'x'), SUBSTRING(a SIMILAR 'x' ESCAP"
    "E '#'), TRIM(a), TRIM(LEADING 'x' FROM a), TRIM(BOTH FROM a), TRIM(TRAILING FROM a, b), COLLATIO"
    "N FOR (a), NORMALIZE(a), NORMALIZE(a, NFC), a IS NORMALIZED, a IS NOT NFD NORMALIZED, (a, b) OVE"
    "RLAPS (c, d), TREAT(a AS int)",
    "SELECT current_date, current_time, current_time(3), current_timestamp, current_timestamp(2), loc"
    "altime, localtime(1), localtimestamp, localtimestamp(0), current_role, current_user, user, sessi"
    "on_user, current_catalog, current_schema, current_schema(), now()",
    "SELECT count(*), count(DISTINCT a), count(ALL a), sum(a ORDER BY b DESC NULLS LAST, c USING <, d"
    " USING OPERATOR(pg_catalog.>)), array_agg(DISTINCT a ORDER BY a), percentile_cont(0.5) WITHIN GR"
    "OUP (ORDER BY a), count(*) FILTER (WHERE a > 1), f(VARIADIC a), f(1, VARIADIC a), f(a => 1, b :="
    " 2), f(), pg_catalog.f(x), a.b.c.f(1), \"Left\"(1), \"left\"(x, 1), replace(a,b,c)",
    "SELECT rank() OVER (), rank() OVER w, rank() OVER (w ORDER BY x), sum(a) OVER (PARTITION BY a, b"
    " ORDER BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), sum(a) OVER (ORDER BY a RANGE UNBOUNDED P"
    "RECEDING), sum(a) OVER (ORDER BY a GROUPS BETWEEN CURRENT ROW AND 3 FOLLOWING EXCLUDE TIES), sum"
    "(a) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW), sum(a) "
    "OVER (ROWS 1 PRECEDING EXCLUDE GROUP), sum(a) OVER (ROWS CURRENT ROW EXCLUDE NO OTHERS), sum(a) "
    "OVER (RANGE BETWEEN '1 day' PRECEDING AND '1 day' FOLLOWING) FROM t WINDOW w AS (PARTITION BY a)"
    ", w2 AS (w ORDER BY b)",
    "SELECT a.b, a.*, *, (a).b, (a.b).c, a.b[1], a[1:2], a[:], a[1:], a[:2][3], (a).*, (f(x)).y, (ARR"
    "AY[1,2])[1], ($1).x, $1[2], (SELECT a).b, (SELECT ARRAY[1])[1], a.b.c.d, \"A\".\"B c\", \"sel\""
    "\"ect\", \"select\"",
    "SELECT ARRAY[1,2], ARRAY[[1,2],[3,4]], ARRAY[]::int[], ARRAY(SELECT 1), EXISTS (SELECT 1), (SELE"
    "CT 1), ROW(), ROW(1), ROW(1,2), (1,2), (1,(2,3)), ROW(t.*), NOT EXISTS (SELECT 1)",
    "SELECT a COLLATE \"C\", a COLLATE pg_catalog.\"default\" || b, (a || b) COLLATE x, GROUPING(a, b"
    ")",
    "SELECT DISTINCT a FROM t",
    "SELECT DISTINCT ON (a, b + 1) a, b AS \"B\", c AS select, d \"x y\", e AS e FROM t ORDER BY 1 DE"
    "SC, a + b, 3 ASC NULLS FIRST",
    "SELECT ALL a FROM ONLY t, ONLY (u) AS v, s.t, \"S\".\"T\" x, db.s.t AS y (a, b), t *",
    "SELECT * FROM a JOIN b ON a.x = b.x LEFT JOIN c USING (x, y) RIGHT JOIN d ON true FULL OUTER JOI"
    "N e ON f CROSS JOIN g NATURAL JOIN h NATURAL LEFT JOIN i",
    "SELECT * FROM a JOIN (b JOIN c ON x) ON y, (d CROSS JOIN e) AS j (p, q), f JOIN g USING (a) AS z"
    ", (h LEFT JOIN i ON k) LEFT JOIN l ON m",
    "SELECT * FROM a JOIN b JOIN c ON x ON y",
    "SELECT * FROM (a JOIN b ON x) AS j JOIN c ON z",
    "SELECT * FROM (SELECT 1) AS s, LATERAL (SELECT s.x) t (a, b), (VALUES (1,2),(3,4)) v (x, y), ((S"
    "ELECT 1)) w",
    "SELECT * FROM f(1), LATERAL g(x) AS y, f(x) WITH ORDINALITY AS t (a, n), ROWS FROM (f(1), g(2) A"
    "S (a int, b text COLLATE \"C\")) WITH ORDINALITY, json_to_record('{}') AS x (a int, b text[]), j"
    "son_to_record('{}') AS (a int), generate_series(1, 10) i, current_date, CAST(1 AS int) x, unnest"
    "(a) AS u(v)",
    "SELECT * FROM t TABLESAMPLE bernoulli (10) REPEATABLE (5), u AS x TABLESAMPLE s.system (0.1)",
    "SELECT a FROM t WHERE b GROUP BY a, (b, c), ROW(a, b), (), ROLLUP (a, (b, c)), CUBE (a, b), GROU"
    "PING SETS ((), (a), (a, b), ROLLUP (c)) HAVING count(*) > 1",
    "SELECT a FROM t GROUP BY DISTINCT a, ROLLUP (b)",
    "SELECT a FROM t GROUP BY ALL a",
    "SELECT 1 UNION SELECT 2 UNION ALL SELECT 3 INTERSECT SELECT 4 EXCEPT SELECT 5 ORDER BY 1 LIMIT 2",
    "(SELECT 1 ORDER BY 1 LIMIT 1) UNION ALL (SELECT 2 LIMIT 1)",
    "SELECT 1 UNION (SELECT 2 UNION SELECT 3)",
    "(SELECT 1 UNION SELECT 2) INTERSECT SELECT 3",
    "SELECT 1 INTERSECT SELECT 2 UNION SELECT 3",
    "(SELECT 1 UNION SELECT 2 LIMIT 1) UNION SELECT 3",
    "((SELECT 1))",
    "(SELECT 1 LIMIT 5) ORDER BY 1",
    "VALUES (1, 'a'), (2, NULL)",
    "VALUES (1) ORDER BY 1 LIMIT 1",
    "TABLE t",
    "SELECT 1 LIMIT ALL",
    "SELECT 1 LIMIT NULL OFFSET 2",
    "SELECT 1 OFFSET 5 ROWS FETCH FIRST 3 ROWS ONLY",
    "SELECT 1 FETCH FIRST ROW ONLY",
    "SELECT a FROM t ORDER BY a FETCH FIRST 3 ROWS WITH TIES",
    "SELECT a FROM t ORDER BY a FETCH FIRST (1 + 1) ROWS WITH TIES",
    "SELECT a FROM t ORDER BY a OFFSET 1 FETCH NEXT ROW WITH TIES",
    "SELECT 1 LIMIT $1 OFFSET $2::int",
    "SELECT a FROM t FOR UPDATE OF t NOWAIT FOR SHARE SKIP LOCKED FOR NO KEY UPDATE FOR KEY SHARE OF "
    "a, b.c",
    "WITH a AS (SELECT 1), b (x, y) AS MATERIALIZED (SELECT 2), c AS NOT MATERIALIZED (VALUES (1)) SE"
    "LECT * FROM a, b, c",
    "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 10) SELECT * FROM r",
    "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) s WHERE x IN (WITH b AS (SELECT 2) SELECT *"
    " FROM b)",
    "WITH a AS (SELECT 1) SELECT 1 UNION (WITH b AS (SELECT 2) SELECT * FROM b) ORDER BY 1",
    "WITH a AS (SELECT 1) (SELECT 2) LIMIT 1",
    "BEGIN",
    "BEGIN WORK ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
    "START TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE",
    "COMMIT",
    "END",
    "COMMIT AND CHAIN",
    "COMMIT AND NO CHAIN",
    "ROLLBACK",
    "ABORT",
    "ROLLBACK AND CHAIN",
    "SAVEPOINT \"a B\"",
    "RELEASE SAVEPOINT x",
    "ROLLBACK TO SAVEPOINT x",
    "SET a = 1",
    "SET LOCAL a.b TO 'x', 'y', -3, 1.5",
    "SET SESSION search_path TO \"$user\", public",
    "SET TIME ZONE 'UTC'",
    "SET TIME ZONE -5",
    "SET TIME ZONE LOCAL",
    "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
    "SET TIME ZONE INTERVAL '3'",
    "SET NAMES 'utf8'",
    "SET ROLE x",
    "SET ROLE NONE",
    "SET SESSION AUTHORIZATION 'x'",
    "SET SESSION AUTHORIZATION DEFAULT",
    "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET LOCAL TRANSACTION READ ONLY",
    "SET x TO DEFAULT",
    "SET SCHEMA 'x'",
    "SET x = on",
    "SET DateStyle = ISO, DMY",
    "RESET x",
    "RESET a.b",
    "RESET ALL",
    "RESET TIME ZONE",
    "SHOW x",
    "SHOW ALL",
    "SHOW TIME ZONE",
    "SHOW TRANSACTION ISOLATION LEVEL",
    "SHOW a.b",
    "PREPARE p AS SELECT $1",
    "PREPARE p (int, text[], numeric(3,2)) AS SELECT $1",
    "EXECUTE p",
    "EXECUTE p (1, 'a' || 'b', -1)",
    "DEALLOCATE p",
    "DEALLOCATE PREPARE ALL",
    "DECLARE c CURSOR FOR SELECT 1",
    "DECLARE \"c d\" BINARY INSENSITIVE SCROLL CURSOR WITH HOLD FOR SELECT 1",
    "DECLARE c ASENSITIVE NO SCROLL CURSOR WITHOUT HOLD FOR SELECT 1",
    "FETCH c",
    "FETCH 5 FROM c",
    "FETCH ALL IN c",
    "FETCH FORWARD ALL FROM c",
    "FETCH BACKWARD 3 FROM c",
    "FETCH BACKWARD ALL FROM c",
    "FETCH PRIOR FROM c",
    "FETCH FIRST FROM c",
    "FETCH LAST FROM c",
    "FETCH ABSOLUTE -1 FROM c",
    "FETCH RELATIVE 0 FROM c",
    "FETCH -1 FROM c",
    "MOVE 5 IN c",
    "CLOSE c",
    "CLOSE ALL",
    "DISCARD ALL",
    "DISCARD PLANS",
    "DISCARD TEMP",
    "DISCARD SEQUENCES",
    "COPY (SELECT 1) TO STDOUT",
    "COPY (SELECT 1) TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';', FORCE_QUOTE *)",
    "COPY (SELECT 1) TO STDOUT WITH (FORMAT csv, HEADER true, FORCE_QUOTE (a, b), ENCODING 'utf8')",
    "COPY (SELECT 1) TO STDOUT CSV HEADER",
    "COPY (SELECT 1) TO STDOUT WITH BINARY",
    "COPY (SELECT 1) TO STDOUT WITH DELIMITER ',' NULL AS 'x' CSV HEADER QUOTE '\"' ESCAPE '\\' FORCE"
    " QUOTE *",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE VERBOSE SELECT 1",
    "EXPLAIN (ANALYZE, BUFFERS false, FORMAT json, TIMING on, VERBOSE 1) SELECT 1",
    "EXPLAIN EXECUTE p (1)",
    "LISTEN x",
    "LISTEN \"A b\"",
    "UNLISTEN x",
    "UNLISTEN *",
    "NOTIFY x",
    "NOTIFY x, 'pay''load'",
};

#endif
