#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "parser/parse.h"
#include "parser/pieces.h"
#include "parser/print.h"
#include "parser/walk.h"

/* Cutting and filling (pieces.h). The oracle is PostgreSQL's parser: what is filled holds exactly what was put in. */

#define MARKED "SELECT a AS \"\1n0\1\", b AS \"\1n1\1\" FROM t WHERE (c = CAST('\1v0\1' AS text)) OR (d = CAST('\1v0\1' AS text))"

static void
cut(struct pv_arena *arena, const char *marked, size_t holes, struct pv_pieces *pieces)
{
    assert_int_equal(pv_pieces_cut(arena, pv_slice_cstr(marked), holes, pieces), PV_OK);
    assert_int_equal(pieces->count, holes + 1);
}

static void
marks_are_what_is_cut(void **state)
{
    char mark[PV_HOLE_MARK_SIZE];

    (void) state;
    pv_hole_mark(PV_HOLE_VALUE, 0, mark);
    assert_string_equal(mark, "\1v0\1");
    pv_hole_mark(PV_HOLE_NAME, 10234, mark);
    assert_string_equal(mark, "\1n10234\1");
    pv_hole_mark(PV_HOLE_NAME, 4294967295u, mark);
    assert_string_equal(mark, "\1n4294967295\1");
}

static void
what_looks_like_a_mark_is_refused(void **state)
{
    static const struct {
        const char *marked;
        size_t holes;
    } rows[] = {
        {"SELECT CAST('\1v0\1' AS text)", 0},
        {"SELECT CAST('\1v0\1' AS text)", 2},
        {"SELECT CAST('x\1v0\1' AS text)", 1},
        {"SELECT CAST('\1v0\1x' AS text)", 1},
        {"SELECT CAST('\1v0' AS text)", 1},
        {"SELECT CAST('\1v\1' AS text)\1", 1},
        {"SELECT CAST('\1w0\1' AS text)", 1},
        {"SELECT CAST(\"\1v0\1\" AS text)", 1},
        {"SELECT a AS '\1n0\1' FROM t", 1},
        {"SELECT \"\1n0\1\" FROM t", 1},
        {"SELECT E'\1v0\1'", 1},
        {"SELECT CAST('\1v0\1'::text AS text)", 1},
        {"SELECT CAST('\1v0\1'\n'x' AS text)", 1},
        {"\1v0\1", 1},
        {"'\1", 1},
    };
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_pieces pieces = {0};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        assert_int_equal(pv_pieces_cut(arena, pv_slice_cstr(rows[i].marked), rows[i].holes, &pieces), PV_NOTFOUND);
        assert_int_equal(pieces.count, 0);
    }
    assert_int_equal(pv_pieces_cut(arena, pv_slice_of("SELECT 1\0", 9), 0, &pieces), PV_NOTFOUND);
    pv_arena_free(arena);
}

/* The constant and the names that the statement holds once it is parsed. */
struct held {
    const char *names[2];
    size_t name_count;
    const Node *values[2];
    size_t value_count;
};

static enum pv_walk
hold(void *context, Node *node, const struct pv_walk_at *at)
{
    struct held *held = context;

    (void) at;
    if (IsA(node, ResTarget) && held->name_count < 2)
        held->names[held->name_count++] = ((ResTarget *) node)->name;
    else if (IsA(node, TypeCast) && held->value_count < 2)
        held->values[held->value_count++] = ((TypeCast *) node)->arg;
    return PV_WALK_ON;
}

static void
check_value(const Node *node, const struct pv_filling *value)
{
    if (value->number > 0) {
        assert_int_equal(nodeTag(node), T_ParamRef);
        assert_int_equal(((const ParamRef *) node)->number, value->number);
        return;
    }
    assert_int_equal(nodeTag(node), T_A_Const);
    assert_int_equal(((const A_Const *) node)->isnull, value->text == NULL);
    if (value->text != NULL)
        assert_string_equal(((const A_Const *) node)->val.sval.sval, value->text);
}

static void
check_filled(const char *text, const struct pv_filling *value, const char *const *names)
{
    struct pv_sql *sql = NULL;
    struct held held = {0};
    struct pv_buf again = {0};

    assert_int_equal(pv_sql_parse(pv_slice_cstr(text), &pv_sql_limits_default, &sql, NULL), PV_OK);
    assert_int_equal(pv_sql_count(sql), 1);
    assert_int_equal(pv_tree_walk(pv_sql_stmt(sql, 0), &pv_sql_limits_default, hold, &held, NULL), PV_OK);
    assert_int_equal(held.name_count, 2);
    assert_string_equal(held.names[0], names[0]);
    assert_string_equal(held.names[1], names[1]);
    check_value(held.values[0], value);
    check_value(held.values[1], value);
    /* Invariant 1: it is the text that the printer makes of that tree. */
    assert_int_equal(pv_print_checked(pv_sql_stmt(sql, 0), &again, NULL), PV_OK);
    assert_string_equal(pv_buf_text(&again), text);
    pv_buf_clear(&again);
    pv_sql_free(sql);
}

static void
printed(const char *text, struct pv_buf *out)
{
    struct pv_sql *sql = NULL;

    assert_int_equal(pv_sql_parse(pv_slice_cstr(text), &pv_sql_limits_default, &sql, NULL), PV_OK);
    assert_int_equal(pv_print_checked(pv_sql_stmt(sql, 0), out, NULL), PV_OK);
    pv_sql_free(sql);
}

static void
holes_hold_what_was_put_in(void **state)
{
    static const struct pv_filling values[] = {
        {"", 0},        {"a", 0},          {"'", 0},      {"''", 0},      {"\\", 0},       {"\\'", 0},      {"x' OR 1=1 --", 0},
        {"/* */", 0},   {"\n'\n'\n", 0},   {"\1v0\1", 0}, {"$1", 0},      {"\x7F\x1F", 0}, {"E'x'", 0},     {"\xC3\xA4\xE2\x82\xAC", 0},
        {"a') AS x", 0}, {NULL, 0},        {NULL, 1},     {NULL, 65535},  {"NULL", 0},     {"U&'\\0041'", 0},
    };
    static const char *const names[][2] = {
        {"a", "b"},       {"select", "Order"}, {"\"", "a\"b"},     {"a b", "\1n0\1"},   {"b'", "--"}, {"\xC3\xA4", "A"},
        {"_", "a1"},      {"1a", "$1"},        {"current_user", "as"}, {"a.b", ";"},    {"\n", "\t"}, {"U&\"d\"", "uescape"},
        {"a23456789012345678901234567890123456789012345678901234567890123", "x"},
    };
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_buf text = {0};
    struct pv_pieces pieces;

    (void) state;
    printed(MARKED, &text);
    cut(arena, pv_buf_text(&text), 4, &pieces);
    for (size_t i = 0; i < PV_COUNT_OF(values); i++) {
        for (size_t k = 0; k < PV_COUNT_OF(names); k++) {
            const char *filled = NULL;

            assert_int_equal(pv_pieces_fill(arena, &pieces, &values[i], names[k], &filled), PV_OK);
            check_filled(filled, &values[i], names[k]);
        }
    }
    pv_buf_clear(&text);
    pv_arena_free(arena);
}

static void
what_is_no_token_is_refused(void **state)
{
    static const struct pv_filling values[] = {{"\xC3", 0}, {"a\xFF", 0}, {"\xED\xA0\x80", 0}};
    static const char *const names[] = {
        "", "\xC3", "a\x80", "a23456789012345678901234567890123456789012345678901234567890123x"};
    static const char *const plain[] = {"a", "b"};
    static const struct pv_filling value = {"a", 0};
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_pieces pieces;
    const char *filled = NULL;

    (void) state;
    cut(arena, MARKED, 4, &pieces);
    for (size_t i = 0; i < PV_COUNT_OF(values); i++)
        assert_int_equal(pv_pieces_fill(arena, &pieces, &values[i], plain, &filled), PV_NOTFOUND);
    for (size_t i = 0; i < PV_COUNT_OF(names); i++) {
        const char *const pair[] = {"a", names[i]};

        assert_int_equal(pv_pieces_fill(arena, &pieces, &value, pair, &filled), PV_NOTFOUND);
    }
    assert_null(filled);
    pv_arena_free(arena);
}

static void
failing_allocations_are_told(void **state)
{
    static const char *const names[] = {"a", "b"};
    static const struct pv_filling value = {"a", 0};
    enum pv_status status = PV_NOMEM;
    long nth;

    (void) state;
    for (nth = 1; status == PV_NOMEM && nth < 50; nth++) {
        struct pv_arena *arena = pv_arena_new(16);
        struct pv_pieces pieces = {0};
        const char *filled = NULL;

        pv_alloc_fail_at(nth);
        status = pv_pieces_cut(arena, pv_slice_cstr(MARKED), 4, &pieces);
        if (status == PV_OK)
            status = pv_pieces_fill(arena, &pieces, &value, names, &filled);
        pv_alloc_fail_at(0);
        assert_int_equal(filled != NULL, status == PV_OK);
        pv_arena_free(arena);
    }
    assert_int_equal(status, PV_OK);
    assert_true(nth > 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_are_what_is_cut),
        cmocka_unit_test(what_looks_like_a_mark_is_refused),
        cmocka_unit_test(holes_hold_what_was_put_in),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(failing_allocations_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
