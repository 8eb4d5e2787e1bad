/* The aggregate that adds up usage, against GROUP BY over the same rows, and with each allocation failing in turn. */
#include "proxy/audit/db_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define SUMS "SELECT pv_tally(a, b, NULL, NULL, NULL, NULL, who, 1, ok, 1 - ok, 0, n, at) FROM t"

static sqlite3 *
open_with(const char *sql)
{
    sqlite3 *sqlite = NULL;

    assert_int_equal(sqlite3_open(":memory:", &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, "CREATE TABLE t (a, b, who, ok, n, at)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(pv_tally_add(sqlite), PV_OK);
    return sqlite;
}

static void
expect(sqlite3 *sqlite, const char *sql, const char *text)
{
    sqlite3_stmt *row = NULL;

    assert_int_equal(sqlite3_prepare_v2(sqlite, sql, -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(row, 0), text);
    assert_int_equal(sqlite3_finalize(row), SQLITE_OK);
}

static void
test_rows(void **state)
{
    static const struct {
        const char *rows, *text;
    } cases[] = {
        {"SELECT 1", "[]"},
        {"INSERT INTO t VALUES ('x', NULL, 'u', 1, NULL, NULL)", "[[\"x\",null,null,null,null,null,1,1,0,0,1,null,null]]"},
        /* NULL and '' are two values; what is no text counts as its text. */
        {"INSERT INTO t VALUES (NULL, '', 'u', 1, 2, 'T1'), ('', NULL, NULL, 0, 3, 'T3'), (NULL, '', 'v', 1, NULL, 'T2'),"
         " (NULL, '', 'u', 0, 5, 'T0')",
         "[[null,\"\",null,null,null,null,3,2,1,0,2,7,\"T2\"],[\"\",null,null,null,null,null,1,0,1,0,0,3,\"T3\"]]"},
        /* In the order of the keys, whatever that of the rows; quotes and commas stay what they are. */
        {"INSERT INTO t VALUES ('b', '\"],[', 'u', 1, 1, 'T'), ('a', 'z', 'u', 1, 1, 'T'), ('a', 'b', 'u', 1, 1, 'T')",
         "[[\"a\",\"b\",null,null,null,null,1,1,0,0,1,1,\"T\"],[\"a\",\"z\",null,null,null,null,1,1,0,0,1,1,\"T\"],"
         "[\"b\",\"\\\"],[\",null,null,null,null,1,1,0,0,1,1,\"T\"]]"},
        /* A time that none of ours is as long as is none; a sum stays at the end of what a number holds. */
        {"INSERT INTO t VALUES ('x', 'y', 'u', 1, 9223372036854775807, '2026-01-01T00:00:00.000000000Z'),"
         " ('x', 'y', 'u', 1, 9, 'T')",
         "[[\"x\",\"y\",null,null,null,null,2,2,0,0,1,9223372036854775807,\"T\"]]"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(cases); i++) {
        sqlite3 *sqlite = open_with(cases[i].rows);

        expect(sqlite, SUMS, cases[i].text);
        (void) sqlite3_close(sqlite);
    }
}

#define MANY \
    "WITH RECURSIVE c(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM c WHERE i < %d) INSERT INTO t SELECT 'a' || (i * 7 %% 50)," \
    " nullif(i %% 30, 3), 'u' || (i * i %% 41), i %% 3 > 0, nullif(i, 77), 'T' || (i * 13 %% 1000) FROM c"

static void
test_many_rows(void **state)
{
    char sql[400];
    sqlite3 *sqlite;

    (void) state;
    (void) snprintf(sql, sizeof(sql), MANY, 40000);
    sqlite = open_with(sql);
    expect(sqlite,
           "WITH j AS (SELECT value AS v FROM json_each((" SUMS "))), s AS (SELECT a, CAST(b AS TEXT) AS b, count(*) AS n,"
           " sum(ok) AS ok, count(DISTINCT who) AS who, sum(n) AS r, max(at) AS at FROM t GROUP BY a, b)"
           " SELECT count(*) || ' ' || (SELECT count(*) FROM j) || ' ' || sum((SELECT count(*) FROM j WHERE v ->> 0 = s.a AND"
           " v ->> 1 IS s.b AND v ->> 6 = s.n AND v ->> 7 = s.ok AND v ->> 8 = s.n - s.ok AND v ->> 10 = s.who AND"
           " v ->> 11 = s.r AND v ->> 12 = s.at)) FROM s",
           "150 150 150");
    (void) sqlite3_close(sqlite);
}

/* SQLite frees what an aggregate holds where a statement ends early. */
static void
test_no_memory(void **state)
{
    unsigned done = 0, failed = 0;
    char sql[400];

    (void) state;
    (void) snprintf(sql, sizeof(sql), MANY, 900);
    for (long nth = 1; nth <= 60; nth++) {
        sqlite3 *sqlite = open_with(sql);
        sqlite3_stmt *row = NULL;
        int rc;

        assert_int_equal(sqlite3_prepare_v2(sqlite, SUMS, -1, &row, NULL), SQLITE_OK);
        pv_alloc_fail_at(nth);
        rc = sqlite3_step(row);
        pv_alloc_fail_at(0);
        assert_true(rc == SQLITE_ROW || rc == SQLITE_NOMEM);
        *(rc == SQLITE_ROW ? &done : &failed) += 1;
        (void) sqlite3_finalize(row);
        (void) sqlite3_close(sqlite);
    }
    assert_true(done > 0 && failed > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_many_rows),
                                       cmocka_unit_test(test_no_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
