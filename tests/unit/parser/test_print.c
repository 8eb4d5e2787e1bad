#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "parser/print.h"
#include "parser/sqltext.h"
#include "parser/walk.h"
#include "proxy/base/limits.h"
#include "tests/unit/parser/statements.h"

/* Prints every statement of a text, checked; the first status that is not OK. */
static enum pv_status
round_trip(const char *text, const char **what)
{
    struct pv_sql *sql = NULL;
    struct pv_sql_error err = {0};
    enum pv_status status = pv_sql_parse(pv_slice_cstr(text), &pv_sql_limits_default, &sql, &err);

    if (status != PV_OK) {
        print_message("%s: %s\n", text, err.message);
        return status;
    }
    for (unsigned i = 0; status == PV_OK && i < pv_sql_count(sql); i++) {
        struct pv_buf buf = {0};

        status = pv_print_checked(pv_sql_stmt(sql, i), &buf, what);
        if (status == PV_INTERNAL)
            print_message("%s\n-> %s\n", text, pv_buf_text(&buf));
        pv_buf_clear(&buf);
    }
    pv_sql_free(sql);
    return status;
}

static void
every_part_survives(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(statements); i++) {
        const char *what = "";
        enum pv_status status = round_trip(statements[i], &what);

        if (status != PV_OK)
            print_message("%s: %s\n", statements[i], what);
        assert_int_equal(status, PV_OK);
    }
}

/* `printed` must be exactly this: what others may rely on, and the traps where a printer goes wrong in silence. */
static void
prints_as_expected(void **state)
{
    static const struct {
        const char *text;
        const char *printed;
    } rows[] = {
        {"select tenant = 5 and ((u or v) is true)", "SELECT ((tenant = 5) AND ((u OR v) IS TRUE))"},
        {"select (a + b) at time zone z", "SELECT pg_catalog.timezone(z, (a + b))"},
        {"select a + b + c - d", "SELECT (a + b + c - d)"},
        {"select a - (b - c)", "SELECT (a - (b - c))"},
        {"select -1, - (1), operator(-) 1", "SELECT (-1), (-1), (OPERATOR(-) 1)"},
        {"select \"Select\", \"select\", \"a b\", \"a\"\"b\", x, \"x\"",
         "SELECT \"Select\", \"select\", \"a b\", \"a\"\"b\", x, x"},
        {"select 'it''s', E'a\\\\b'", "SELECT 'it''s', 'a\\b'"},
        {"select x from t group by (a, b), row(a, b)", "SELECT x FROM t GROUP BY (a, b), ROW(a, b)"},
        {"select 1 limit all", "SELECT 1 LIMIT NULL"},
        {"select 1 fetch first 2 rows only", "SELECT 1 LIMIT 2"},
        {"select 1::int", "SELECT CAST(1 AS pg_catalog.int4)"},
        {"select interval '1' day to second(3)", "SELECT CAST('1' AS pg_catalog.\"interval\"(7176, 3))"},
        {"select * from a join b using (x) join c on true", "SELECT * FROM a JOIN b USING (x) JOIN c ON TRUE"},
        {"select * from a join (b join c on u) on v", "SELECT * FROM a JOIN (b JOIN c ON u) ON v"},
        {"select 1 union select 2 union all select 3", "(SELECT 1) UNION (SELECT 2) UNION ALL (SELECT 3)"},
        {"select 1 union select 2 intersect select 3", "(SELECT 1) UNION ((SELECT 2) INTERSECT (SELECT 3))"},
        {"set local a.b to 'x', -1", "SET LOCAL a.b TO 'x', -1"},
        {"begin isolation level serializable", "BEGIN ISOLATION LEVEL SERIALIZABLE"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_sql *sql = NULL;
        struct pv_buf buf = {0};

        assert_int_equal(pv_sql_parse(pv_slice_cstr(rows[i].text), &pv_sql_limits_default, &sql, NULL), PV_OK);
        assert_int_equal(pv_print_checked(pv_sql_stmt(sql, 0), &buf, NULL), PV_OK);
        assert_string_equal(pv_buf_text(&buf), rows[i].printed);
        pv_buf_clear(&buf);
        pv_sql_free(sql);
    }
}

static void
refuses_by_name(void **state)
{
    static const struct {
        const char *text;
        const char *what;
    } rows[] = {
        {"SELECT 1 INTO t", "SelectStmt.intoClause"},
        {"SELECT xmlelement(name x)", "XmlExpr"},
        {"SELECT * FROM XMLTABLE('/x' PASSING y COLUMNS z int) t", "RangeTableFunc"},
        {"WITH a AS (INSERT INTO t VALUES (1) RETURNING x) SELECT * FROM a", "InsertStmt"},
        {"WITH RECURSIVE a AS (SELECT 1 UNION SELECT 2) SEARCH DEPTH FIRST BY x SET y SELECT 1",
         "CommonTableExpr.search_clause"},
        {"VALUES (DEFAULT)", "SetToDefault"},
        {"SELECT 1::setof int", "TypeName.setof"},
        {"UPDATE t SET a = 1", "UpdateStmt"},
        {"COPY t TO STDOUT", "COPY other than COPY (SELECT …) TO STDOUT"},
        {"COPY (SELECT 1) TO '/tmp/x'", "COPY other than COPY (SELECT …) TO STDOUT"},
        {"COPY (SELECT 1) TO PROGRAM 'x'", "COPY other than COPY (SELECT …) TO STDOUT"},
        {"COPY (DELETE FROM t RETURNING a) TO STDOUT", "DeleteStmt"},
        {"PREPARE p AS DELETE FROM t", "DeleteStmt"},
        {"EXPLAIN DELETE FROM t", "DeleteStmt"},
        {"PREPARE TRANSACTION 'x'", "two-phase commit"},
        {"SET TRANSACTION SNAPSHOT 'x'", "SET TRANSACTION SNAPSHOT"},
        {"DO 'x'", "DoStmt"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_sql *sql = NULL;
        struct pv_buf buf = {0};
        const char *what = NULL;

        assert_int_equal(pv_sql_parse(pv_slice_cstr(rows[i].text), &pv_sql_limits_default, &sql, NULL), PV_OK);
        pv_buf_put_text(&buf, "before");
        assert_int_equal(pv_print_checked(pv_sql_stmt(sql, 0), &buf, &what), PV_DENIED);
        assert_string_equal(what, rows[i].what);
        assert_string_equal(pv_buf_text(&buf), "before");
        pv_buf_clear(&buf);
        pv_sql_free(sql);
    }
}

/* %s is an operand; each form is a whole expression. */
static const char *const binary_forms[] = {
    "%s + %s",
    "%s - %s",
    "%s * %s",
    "%s / %s",
    "%s ^ %s",
    "%s || %s",
    "%s = %s",
    "%s <> %s",
    "%s < %s",
    "%s >= %s",
    "%s -> %s",
    "%s AND %s",
    "%s OR %s",
    "%s LIKE %s",
    "%s ~ %s",
    "%s @> %s",
    "%s ILIKE %s",
    "%s SIMILAR TO %s",
    "%s IS DISTINCT FROM %s",
    "%s AT TIME ZONE %s",
    "%s OPERATOR(pg_catalog.+) %s",
    "%s BETWEEN %s AND 9",
    "%s IN (%s, 3)",
    "%s = ANY (%s)",
    "%s LIKE %s ESCAPE 'x'",
    "%s NOT BETWEEN SYMMETRIC 1 AND %s",
    "%s NOT IN (SELECT %s)",
};
static const char *const unary_forms[] = {
    "- %s",
    "NOT %s",
    "%s IS NULL",
    "%s IS NOT TRUE",
    "%s::int",
    "%s COLLATE \"C\"",
    "@ %s",
    "(%s).x",
    "(%s)[1]",
    "CASE WHEN %s THEN 1 END",
    "f(%s)",
    "ARRAY[%s]",
    "(SELECT %s)",
    "%s IS NORMALIZED",
    "ROW(%s)",
    "+ %s",
    "EXTRACT(year FROM %s)",
    "CAST(%s AS interval day)",
    "count(*) FILTER (WHERE %s)",
    "NULLIF(%s, 1)",
};

static void
fill(char *out, size_t size, const char *form, const char *left, const char *right)
{
    const char *first = strstr(form, "%s");
    const char *second = strstr(first + 2, "%s");

    if (second == NULL)
        (void) snprintf(out, size, "%.*s%s%s", (int) (first - form), form, left, first + 2);
    else
        (void) snprintf(out, size, "%.*s%s%.*s%s%s", (int) (first - form), form, left, (int) (second - first - 2),
                        first + 2, right, second + 2);
}

/* Every operator within every other, on both sides, with parentheses and (where it parses) without. */
static unsigned
check_pair(const char *outer, const char *inner)
{
    static const char *const shapes[] = {"%s", "(%s)"};
    unsigned parsed = 0;

    for (size_t shape = 0; shape < PV_COUNT_OF(shapes); shape++) {
        for (int side = 0; side < 2; side++) {
            char nested[512];
            char wrapped[600];
            char whole[1400];
            char text[1500];
            struct pv_sql *sql = NULL;

            fill(nested, sizeof(nested), inner, "a", "b");
            fill(wrapped, sizeof(wrapped), shapes[shape], nested, "");
            fill(whole, sizeof(whole), outer, side == 0 ? wrapped : "c", side == 0 ? "c" : wrapped);
            (void) snprintf(text, sizeof(text), "SELECT %s", whole);
            if (pv_sql_parse(pv_slice_cstr(text), &pv_sql_limits_default, &sql, NULL) != PV_OK)
                continue;
            pv_sql_free(sql);
            assert_int_equal(round_trip(text, NULL), PV_OK);
            parsed++;
        }
    }
    return parsed;
}

static void
every_operator_pair_survives(void **state)
{
    const char *forms[PV_COUNT_OF(binary_forms) + PV_COUNT_OF(unary_forms)];
    unsigned parsed = 0;

    (void) state;
    memcpy(forms, binary_forms, sizeof(binary_forms));
    memcpy(forms + PV_COUNT_OF(binary_forms), unary_forms, sizeof(unary_forms));
    for (size_t i = 0; i < PV_COUNT_OF(forms); i++)
        for (size_t j = 0; j < PV_COUNT_OF(forms); j++)
            parsed += check_pair(forms[i], forms[j]);
    assert_true(parsed > 4000);
}

static uint64_t seed;

static unsigned
pick(unsigned count)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned) (seed >> 33) % count;
}

static void
put_random(struct pv_buf *buf, unsigned depth)
{
    static const char *const leaves[] = {"a", "t.b", "-1", "2.5", "'x''y'", "NULL", "$1", "true", "\"Q q\"", "B'01'"};
    const char *form;

    if (depth == 0 || pick(6) == 0) {
        pv_buf_put_text(buf, leaves[pick(PV_COUNT_OF(leaves))]);
        return;
    }
    form = pick(3) > 0 ? binary_forms[pick(PV_COUNT_OF(binary_forms))] : unary_forms[pick(PV_COUNT_OF(unary_forms))];
    for (; *form != '\0'; form++) {
        if (form[0] == '%' && form[1] == 's') {
            bool wrapped = pick(4) > 0;

            pv_buf_put_text(buf, wrapped ? "(" : "");
            put_random(buf, depth - 1);
            pv_buf_put_text(buf, wrapped ? ")" : "");
            form++;
        } else {
            pv_buf_put(buf, form, 1);
        }
    }
}

static void
random_expressions_survive(void **state)
{
    unsigned parsed = 0;

    (void) state;
    seed = 20240607;
    for (int i = 0; i < 6000; i++) {
        struct pv_buf buf = {0};
        struct pv_sql *sql = NULL;

        pv_buf_put_text(&buf, "SELECT ");
        put_random(&buf, 1 + pick(5));
        pv_buf_put_text(&buf, " FROM t WHERE ");
        put_random(&buf, 1 + pick(4));
        if (pv_sql_parse(pv_buf_slice(&buf), &pv_sql_limits_default, &sql, NULL) == PV_OK) {
            pv_sql_free(sql);
            assert_int_equal(round_trip(pv_buf_text(&buf), NULL), PV_OK);
            parsed++;
        }
        pv_buf_clear(&buf);
    }
    assert_true(parsed > 3000);
}

/* before × n, middle, after × n */
static enum pv_status
nested(const char *head, const char *before, const char *middle, const char *after, unsigned n)
{
    struct pv_buf buf = {0};
    struct pv_sql *sql = NULL;
    enum pv_status status;

    pv_buf_put_text(&buf, head);
    for (unsigned i = 0; i < n; i++)
        pv_buf_put_text(&buf, before);
    pv_buf_put_text(&buf, middle);
    for (unsigned i = 0; i < n; i++)
        pv_buf_put_text(&buf, after);
    assert_true(pv_buf_ok(&buf));
    status = pv_sql_parse(pv_buf_slice(&buf), &pv_sql_limits_default, &sql, NULL);
    pv_buf_clear(&buf);
    if (status == PV_OK) {
        status = pv_print_checked(pv_sql_stmt(sql, 0), &buf, NULL);
        pv_sql_free(sql);
        pv_buf_clear(&buf);
    }
    return status;
}

static void
depth_never_kills(void **state)
{
    static const struct {
        const char *head;
        const char *before;
        const char *middle;
        const char *after;
        unsigned fine; /* so many must pass */
    } rows[] = {
        {"SELECT 1", "", "", "+1", 9999},
        {"SELECT a", "", "", " AND b", 20000},
        {"SELECT a", "", "", " OR b", 20000},
        {"SELECT ", "(", "1", ")", 2000},
        {"SELECT ", "NOT ", "a", "", 1500},
        {"SELECT a", "", "", "::text", 1500},
        {"SELECT ", "f(", "1", ")", 1500},
        {"SELECT ", "- ", "x", "", 1500},
        {"", "SELECT * FROM (", "SELECT 1", ") t", 400},
        {"", "SELECT (", "SELECT 1", ")", 600},
        {"SELECT * FROM t", "", "", " JOIN u ON true", 1500},
        {"SELECT 1", "", "", " UNION SELECT 1", 1500},
        {"SELECT ", "CASE WHEN ", "a", " THEN 1 END", 800},
        {"SELECT ", "ARRAY[", "1", "]", 900},
        {"SELECT ", "(1, ", "2", ")", 1500},
        {"SELECT ", "a || (", "b", ")", 1500},
        {"SELECT x IN (", "1,", "1)", "", 50000},
        {"SELECT a", "", "", "[1]", 3000},
        {"SELECT a", "", "", " IS NULL", 0},
        {"SELECT 1 WHERE ", "EXISTS (SELECT 1 WHERE ", "true", ")", 400},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        unsigned n;

        if (rows[i].fine > 0)
            assert_int_equal(nested(rows[i].head, rows[i].before, rows[i].middle, rows[i].after, rows[i].fine), PV_OK);
        for (n = 1000; n <= 60000; n *= 4) {
            enum pv_status status = nested(rows[i].head, rows[i].before, rows[i].middle, rows[i].after, n);

            assert_true(status == PV_OK || status == PV_DEPTH || status == PV_LIMIT || status == PV_SYNTAX);
        }
    }
}

static enum pv_status
print_with_failure(const Node *stmt, long nth)
{
    struct pv_buf buf = {0};
    enum pv_status status;

    pv_alloc_fail_at(nth);
    status = pv_print_checked(stmt, &buf, NULL);
    pv_alloc_fail_at(0);
    pv_buf_clear(&buf);
    return status;
}

static void
failing_allocations_are_told(void **state)
{
    struct pv_sql *sql = NULL;
    enum pv_status status = PV_NOMEM;
    long nth;

    (void) state;
    assert_int_equal(pv_sql_parse(pv_slice_cstr(statements[21]), &pv_sql_limits_default, &sql, NULL), PV_OK);
    for (nth = 1; status == PV_NOMEM && nth < 1000; nth++)
        status = print_with_failure(pv_sql_stmt(sql, 0), nth);
    assert_int_equal(status, PV_OK);
    assert_true(nth > 3);
    pv_sql_free(sql);
}

/* A tree that no text gives: the check must notice that the text would say something else. */
static void
a_false_tree_is_noticed(void **state)
{
    struct pv_sql *sql = NULL;
    struct pv_buf buf = {0};
    SelectStmt *stmt;
    BoolExpr *outer;

    (void) state;
    assert_int_equal(pv_sql_parse(pv_slice_cstr("SELECT 1 WHERE a AND (b OR c)"), &pv_sql_limits_default, &sql, NULL),
                     PV_OK);
    stmt = (SelectStmt *) pv_sql_stmt(sql, 0);
    outer = (BoolExpr *) stmt->whereClause;
    /* (x AND y) AND z is always read flat. */
    ((BoolExpr *) lsecond(outer->args))->boolop = AND_EXPR;
    lfirst(list_head(outer->args)) = lsecond(outer->args);
    assert_int_equal(pv_print_checked((Node *) stmt, &buf, NULL), PV_INTERNAL);
    pv_buf_clear(&buf);
    pv_sql_free(sql);
}

static void
names_and_constants(void **state)
{
    static const struct {
        const char *name;
        const char *quoted;
    } rows[] = {
        {"a", "a"},
        {"a_1", "a_1"},
        {"A", "\"A\""},
        {"1a", "\"1a\""},
        {"select", "\"select\""},
        {"", "\"\""},
        {"a b", "\"a b\""},
        {"a\"b", "\"a\"\"b\""},
        {"name", "\"name\""},
        {"a$b", "\"a$b\""},
        {"\xC3\xA9", "\"\xC3\xA9\""},
        {"between", "\"between\""},
        {"_x", "_x"},
    };
    struct pv_buf buf = {0};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        pv_sql_quote_identifier(&buf, rows[i].name);
        assert_string_equal(pv_buf_text(&buf), rows[i].quoted);
        pv_buf_clear(&buf);
    }
    pv_sql_quote_literal(&buf, "a'b\\");
    pv_buf_put_text(&buf, " ");
    pv_sql_quote_qualified(&buf, "S", "t");
    pv_sql_quote_qualified(&buf, NULL, "t");
    assert_string_equal(pv_buf_text(&buf), "'a''b\\' \"S\".tt");
    pv_buf_clear(&buf);
    assert_true(pv_sql_is_keyword("select"));
    assert_false(pv_sql_is_keyword("selects"));
}

/* A file of real clients' statements (JSON lines with "sql"), where PV_STATEMENTS_FILE names one: every SELECT prints.
 */
static void
statements_of_clients_survive(void **state)
{
    const char *path = getenv("PV_STATEMENTS_FILE");
    FILE *file = path == NULL ? NULL : fopen(path, "r");
    char *line = NULL;
    size_t size = 0;

    (void) state;
    if (file == NULL)
        skip();
    while (getline(&line, &size, file) > 0) {
        json_t *object = json_loads(line, 0, NULL);
        const char *text = json_string_value(json_object_get(object, "sql"));
        const char *what = "";
        enum pv_status status = text == NULL ? PV_OK : round_trip(text, &what);

        assert_true(status == PV_OK || status == PV_DENIED);
        if (status == PV_DENIED)
            print_message("%s: %.60s\n", what, text);
        json_decref(object);
    }
    free(line);
    (void) fclose(file);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_survives),
        cmocka_unit_test(prints_as_expected),
        cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(every_operator_pair_survives),
        cmocka_unit_test(random_expressions_survive),
        cmocka_unit_test(depth_never_kills),
        cmocka_unit_test(failing_allocations_are_told),
        cmocka_unit_test(a_false_tree_is_noticed),
        cmocka_unit_test(names_and_constants),
        cmocka_unit_test(statements_of_clients_survive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
