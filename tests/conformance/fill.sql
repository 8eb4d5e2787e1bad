-- Rows for the tables that PostgreSQL's own run loads from files: the same shapes by arithmetic.
SET synchronous_commit = on;
CREATE TEMP TABLE shape AS SELECT size, unique1, row_number() OVER (PARTITION BY size ORDER BY md5(size || ':' || unique1))::int - 1 AS unique2
    FROM (VALUES (1000), (10000)) AS sizes (size), generate_series(0, size - 1) AS unique1;
CREATE FUNCTION pg_temp.letters(n integer) RETURNS name LANGUAGE sql AS
    $$ SELECT (chr(65 + n % 26) || chr(65 + n / 26 % 26) || chr(65 + n / 676 % 26) || 'AAA')::name $$;
CREATE TEMP VIEW wide AS SELECT size, unique1, unique2, unique1 % 2 AS two, unique1 % 4 AS four, unique1 % 10 AS ten, unique1 % 20 AS twenty,
    unique1 % 100 AS hundred, unique1 % 1000 AS thousand, unique1 % 2000 AS twothousand, unique1 % 5000 AS fivethous, unique1 % 10000 AS tenthous,
    unique1 % 100 * 2 AS odd, unique1 % 100 * 2 + 1 AS even, pg_temp.letters(unique1) AS stringu1, pg_temp.letters(unique2) AS stringu2,
    (ARRAY['AAAAxx', 'HHHHxx', 'OOOOxx', 'VVVVxx'])[unique2 % 4 + 1]::name AS string4 FROM shape;
INSERT INTO onek SELECT unique1, unique2, two, four, ten, twenty, hundred, thousand, twothousand, fivethous, tenthous, odd, even, stringu1, stringu2,
    string4 FROM wide WHERE size = 1000 AND NOT EXISTS (SELECT FROM onek) ORDER BY unique2;
INSERT INTO tenk1 SELECT unique1, unique2, two, four, ten, twenty, hundred, thousand, twothousand, fivethous, tenthous, odd, even, stringu1, stringu2,
    string4 FROM wide WHERE size = 10000 AND NOT EXISTS (SELECT FROM tenk1) ORDER BY unique2;
INSERT INTO tenk2 SELECT * FROM tenk1 WHERE NOT EXISTS (SELECT FROM tenk2);
INSERT INTO person SELECT name, age, place FROM (VALUES ('mike', 40, point '(3.1,6.2)'), ('joe', 20, '(5.5,2.5)'), ('sally', 34, '(3.8,45.8)'),
    ('sandra', 19, '(9.345,9.6)')) AS p (name, age, place);
INSERT INTO emp VALUES ('sharon', 25, '(15,12)', 1000, 'sam'), ('sam', 30, '(10,5)', 2000, 'bill'), ('bill', 20, '(11,10)', 1000, 'sharon');
INSERT INTO student VALUES ('fred', 28, '(3.1,-1.5)', '3.7'), ('larry', 60, '(21.8,4.9)', '3.1');
INSERT INTO stud_emp VALUES ('jeff', 23, '(8,7.7)', 600, 'sharon', '3.5', NULL), ('cim', 30, '(10.5,4.7)', 400, NULL, '3.4', NULL);
INSERT INTO road SELECT 'St ' || n, path(polygon(4, circle(point(-122 + n / 300.0, 37 + n % 17 / 17.0), 0.01))) FROM generate_series(1, 300) AS n;
INSERT INTO aggtest VALUES (56, 7.8), (100, 99.097), (0, 0.09561), (42, 324.78);
INSERT INTO hash_i4_heap SELECT n, n * 7919 % 10000 FROM generate_series(1, 1000) AS n;
INSERT INTO bt_i4_heap SELECT n, n * 104729 % 10000 FROM generate_series(1, 1000) AS n;
INSERT INTO array_op_test SELECT n, ARRAY[n % 7, n % 13, n % 90], ARRAY['AAA' || n % 50, 'AAAAA' || n % 9] FROM generate_series(1, 100) AS n;
INSERT INTO testjsonb SELECT jsonb_build_object('line', n, 'date', 'CB', 'node', 'AA' || n % 7, 'age', n % 60) FROM generate_series(1, 500) AS n;
INSERT INTO test_tsvector (t, a) SELECT txt, to_tsvector('simple', txt) FROM (SELECT 'wr ' || n % 5 || ' qh eq ' || n % 11 AS txt
    FROM generate_series(1, 500) AS n) AS t;
ANALYZE;
