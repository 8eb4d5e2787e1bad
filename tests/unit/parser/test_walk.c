#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "parser/nodes.h"
#include "parser/walk.h"
#include "proxy/base/bytes.h"
#include "tests/unit/parser/statements.h"

static struct pv_sql *
parse(const char *text)
{
    struct pv_sql *sql = NULL;

    assert_int_equal(pv_sql_parse(pv_slice_cstr(text), &pv_sql_limits_default, &sql, NULL), PV_OK);
    return sql;
}

static enum pv_walk
write_kind(void *ctx, Node *node, const struct pv_walk_at *at)
{
    pv_buf_printf(ctx, "%u:%s%s%s ", at->depth, at->field == NULL ? "" : at->field, at->field == NULL ? "" : "=",
                  pv_node_name(nodeTag(node)));
    return IsA(node, SubLink) ? PV_WALK_SKIP : PV_WALK_ON;
}

static enum pv_walk
stop_at_call(void *ctx, Node *node, const struct pv_walk_at *at)
{
    unsigned *seen = ctx;

    assert_true(at->parent != NULL || at->depth == 0);
    (*seen)++;
    return IsA(node, FuncCall) ? PV_WALK_STOP : PV_WALK_ON;
}

static void
order_is_stable(void **state)
{
    struct pv_sql *sql = parse("SELECT a + 1 + 2, f(b) FROM t WHERE EXISTS (SELECT 1)");
    struct pv_buf buf = {0};
    struct pv_walk_result result;
    unsigned seen = 0;

    (void) state;
    assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &pv_sql_limits_default, write_kind, &buf, &result), PV_OK);
    assert_string_equal(pv_buf_text(&buf),
                        "0:SelectStmt 1:targetList=ResTarget 2:val=A_Expr 2:lexpr=A_Expr 3:lexpr=ColumnRef "
                        "3:rexpr=A_Const 3:rexpr=A_Const 1:targetList=ResTarget 2:val=FuncCall 3:args=ColumnRef "
                        "1:fromClause=RangeVar 1:whereClause=SubLink ");
    assert_int_equal(result.nodes, 12);
    assert_int_equal(result.depth, 3);
    assert_false(result.stopped);
    assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &pv_sql_limits_default, stop_at_call, &seen, &result), PV_OK);
    assert_true(result.stopped);
    assert_int_equal(seen, 9);
    pv_buf_clear(&buf);
    pv_sql_free(sql);
}

static void
unknown_kinds_are_denied(void **state)
{
    static const struct {
        const char *text;
        const char *name;
        int location;
    } rows[] = {
        {"SELECT xmlforest(a)", "XmlExpr", -1},
        {"SELECT 1 INTO x", "SelectStmt.intoClause", -1},
        {"DELETE FROM t", "DeleteStmt", -1},
        {"SELECT 1::setof int", "TypeName.setof", 16},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_sql *sql = parse(rows[i].text);
        struct pv_walk_result result;

        assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &pv_sql_limits_default, NULL, NULL, &result), PV_DENIED);
        assert_string_equal(result.denied_name, rows[i].name);
        assert_true(rows[i].location == result.location || rows[i].location > 0);
        pv_sql_free(sql);
    }
}

static void
limits_hold(void **state)
{
    struct pv_sql *sql = parse("SELECT f(f(f(1))), 1 + 2 + 3");
    struct pv_sql_limits limits = pv_sql_limits_default;

    (void) state;
    limits.depth_max = 5;
    assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &limits, NULL, NULL, NULL), PV_OK);
    limits.depth_max = 4;
    assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &limits, NULL, NULL, NULL), PV_DEPTH);
    limits = pv_sql_limits_default;
    limits.chain_max = 0;
    assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &limits, NULL, NULL, NULL), PV_DEPTH);
    limits = pv_sql_limits_default;
    limits.nodes_max = 12;
    assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &limits, NULL, NULL, NULL), PV_OK);
    limits.nodes_max = 11;
    assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &limits, NULL, NULL, NULL), PV_LIMIT);
    pv_sql_free(sql);
}

static bool
same(const char *a, const char *b)
{
    struct pv_sql *x = parse(a);
    struct pv_sql *y = parse(b);
    bool answer = false;

    assert_int_equal(pv_tree_equal(pv_sql_stmt(x, 0), pv_sql_stmt(y, 0), &answer), PV_OK);
    pv_sql_free(x);
    pv_sql_free(y);
    return answer;
}

static void
equality_sees_what_matters(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        bool same;
    } rows[] = {
        {"select  1", "SELECT 1 -- x", true},
        {"SELECT extract(year FROM a)", "SELECT pg_catalog.extract('year', a)", true},
        {"SELECT 1", "SELECT 2", false},
        {"SELECT 1 LIMIT 1", "SELECT 1 LIMIT 1000000", false},
        {"SELECT f(a, b)", "SELECT f(b, a)", false},
        {"SELECT 'x'::text", "SELECT 'pg_authid'::regclass", false},
        {"SELECT a GROUP BY (a, b)", "SELECT a GROUP BY ROW(a, b)", false},
        {"SELECT DISTINCT a", "SELECT a", false},
        {"SELECT a UNION SELECT b", "SELECT a UNION ALL SELECT b", false},
        {"SELECT a FROM t", "SELECT a FROM ONLY t", false},
        {"SELECT a AS b", "SELECT a", false},
        {"SELECT 1.0", "SELECT 1", false},
        {"SELECT B'1'", "SELECT '1'", false},
        {"SELECT NULL", "SELECT ''", false},
        {"SELECT true", "SELECT false", false},
        {"FETCH 1 FROM a", "FETCH 2 FROM a", false},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        assert_int_equal(same(rows[i].a, rows[i].b), rows[i].same);
}

struct equal_job {
    const Node *a;
    const Node *b;
    bool same;
};

static void
ask_postgresql(void *arg)
{
    struct equal_job *job = arg;

    job->same = equal(job->a, job->b);
}

/* Where PostgreSQL's own equal() sees a difference, so do we; over every pair of the statements. */
static void
equality_is_as_strict_as_postgresql(void **state)
{
    struct pv_sql *all[PV_COUNT_OF(statements)];

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(statements); i++)
        all[i] = parse(statements[i]);
    for (size_t i = 0; i < PV_COUNT_OF(statements); i++) {
        for (size_t j = 0; j < PV_COUNT_OF(statements); j++) {
            struct equal_job job = {pv_sql_stmt(all[i], 0), pv_sql_stmt(all[j], 0), false};
            bool ours = false;

            assert_int_equal(pv_tree_equal(job.a, job.b, &ours), PV_OK);
            assert_int_equal(pv_sql_guard(ask_postgresql, &job, NULL), PV_OK);
            assert_true(job.same || !ours);
            assert_true(i != j || ours);
        }
    }
    for (size_t i = 0; i < PV_COUNT_OF(statements); i++)
        pv_sql_free(all[i]);
}

static size_t
field_bytes(const struct pv_field *field)
{
    switch (field->kind) {
    case PV_FIELD_NODE:
    case PV_FIELD_LIST:
    case PV_FIELD_NAMES:
    case PV_FIELD_STRING:
    case PV_FIELD_NO_PTR:
    case PV_FIELD_LONG:
        return 8;
    case PV_FIELD_INT:
    case PV_FIELD_NO_INT:
    case PV_FIELD_LOCATION:
    case PV_FIELD_FORM:
        return 4;
    case PV_FIELD_BOOL:
    case PV_FIELD_CHAR:
    case PV_FIELD_NO_BOOL:
    case PV_FIELD_NO_CHAR:
        return 1;
    case PV_FIELD_CONST:
        return offsetof(A_Const, location) - offsetof(A_Const, val);
    }
    return 0;
}

static unsigned
times_in(const struct pv_fields *fields, const struct pv_field *field)
{
    unsigned times = 0;

    for (unsigned i = 0; i < fields->count; i++)
        times += fields->list[i].offset == field->offset && fields->list[i].kind == field->kind;
    return times;
}

/* Each field is a child, or is compared as a value, or carries no meaning; what may be refused is looked at. */
static void
check_split(const struct pv_kind *kind)
{
    unsigned silent = 0;

    for (unsigned i = 0; i < kind->fields.count; i++) {
        const struct pv_field *field = &kind->fields.list[i];
        bool is_child = field->kind == PV_FIELD_NODE || field->kind == PV_FIELD_LIST;
        bool is_silent = field->kind == PV_FIELD_LOCATION || field->kind == PV_FIELD_FORM;

        silent += is_silent;
        assert_int_equal(times_in(&kind->children, field), is_child);
        assert_int_equal(times_in(&kind->values, field), !is_child && !is_silent);
        assert_int_equal(times_in(&kind->guarded, field), field->kind >= PV_FIELD_NO_PTR || field->kind == PV_FIELD_NAMES);
    }
    assert_int_equal(kind->children.count + kind->values.count + silent, kind->fields.count);
}

/* A member that the table forgot would leave a hole; what padding leaves is shorter than a pointer. */
static void
check_coverage(NodeTag tag, const char *name, size_t size)
{
    const struct pv_kind *kind = pv_kind_of(tag);
    bool covered[512] = {true, true, true, true};
    size_t hole = 0;

    assert_non_null(kind);
    if (kind == NULL) /* cmocka does not say so to the compiler */
        return;
    assert_string_equal(kind->name, name);
    check_split(kind);
    assert_true(size <= sizeof(covered));
    for (unsigned i = 0; i < kind->fields.count; i++)
        for (size_t j = 0; j < field_bytes(&kind->fields.list[i]); j++)
            covered[kind->fields.list[i].offset + j] = true;
    for (size_t i = 0; i < size; i++) {
        hole = covered[i] ? 0 : hole + 1;
        assert_true(hole < 8);
    }
}

static void
the_table_covers_each_field(void **state)
{
    (void) state;
#define KIND(self) check_coverage(T_##self, #self, sizeof(self));
    PV_NODE_TABLE(KIND)
#undef KIND
    assert_null(pv_kind_of(T_InsertStmt));
    assert_null(pv_kind_of(T_Invalid));
    assert_null(pv_kind_of((NodeTag) 100000));
    assert_string_equal(pv_node_name(T_InsertStmt), "InsertStmt");
    assert_string_equal(pv_node_name(T_Invalid), "unknown node");
}

static void
statements_have_names(void **state)
{
    static const struct {
        const char *text;
        const char *name;
    } rows[] = {
        {"SELECT 1", "SELECT"},
        {"ROLLBACK TO x", "ROLLBACK TO SAVEPOINT"},
        {"MOVE 1 IN c", "MOVE"},
        {"RESET x", "RESET"},
        {"SET x = 1", "SET"},
        {"ANALYZE", "ANALYZE"},
        {"REVOKE a FROM b", "REVOKE"},
        {"CREATE TABLE t ()", "CREATE TABLE"},
        {"LOCK t", "LOCK"},
        {"DO 'x'", "DO"},
        {"CALL f()", "CALL"},
        {"ALTER SYSTEM SET x = 1", "ALTER SYSTEM"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_sql *sql = parse(rows[i].text);

        assert_string_equal(pv_statement_name(pv_sql_stmt(sql, 0)), rows[i].name);
        pv_sql_free(sql);
    }
    assert_null(pv_statement_name(NULL));
}

static void
failing_allocations_are_told(void **state)
{
    struct pv_buf buf = {0};
    struct pv_sql *sql;
    bool answer = false;

    (void) state;
    pv_buf_put_text(&buf, "SELECT 1");
    for (int i = 0; i < 500; i++)
        pv_buf_put_text(&buf, ", a");
    sql = parse(pv_buf_text(&buf));
    pv_alloc_fail_at(1);
    assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &pv_sql_limits_default, NULL, NULL, NULL), PV_NOMEM);
    pv_alloc_fail_at(2);
    assert_int_equal(pv_tree_equal(pv_sql_stmt(sql, 0), pv_sql_stmt(sql, 0), &answer), PV_NOMEM);
    pv_alloc_fail_at(0);
    assert_int_equal(pv_tree_equal(pv_sql_stmt(sql, 0), pv_sql_stmt(sql, 0), &answer), PV_OK);
    assert_true(answer);
    pv_sql_free(sql);
    pv_buf_clear(&buf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_stable),
        cmocka_unit_test(unknown_kinds_are_denied),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(equality_sees_what_matters),
        cmocka_unit_test(equality_is_as_strict_as_postgresql),
        cmocka_unit_test(the_table_covers_each_field),
        cmocka_unit_test(statements_have_names),
        cmocka_unit_test(failing_allocations_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
