#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/repeat.h"

/* What may be prepared for good, and what PostgreSQL might read otherwise another time. */

struct row {
    const char *text;
    bool may;
};

static const struct row rows[] = {
    {"SELECT region AS region FROM \"pgveil_r$public\".t AS t WHERE (region = 'North')", true},
    {"SELECT 'campaign 2024', 'America 12', 'tea', 'A12', '12', '123456789', '12.5', 'it''s'", true},
    {"SELECT CAST('2024-01-31' AS pg_catalog.date), CAST('2024-01-31 10:00:00' AS timestamp with time zone)", true},
    {"SELECT pg_catalog.now() AS now, \"today\" AS \"10:00\"", true},
    {"SELECT 'today'", false},
    {"SELECT 'xTOMORROWx'", false},
    {"SELECT 'now'", false},
    {"SELECT ' Yesterday '", false},
    {"SELECT '[now,infinity)'", false},
    {"SELECT 'a''now'", false},
    {"SELECT \"a'b\" FROM t WHERE x = 'now'", false},
    {"SELECT '10:00'", false},
    {"SELECT '1000', 'x'", false},
    {"SELECT '101530.5'", false},
    {"SELECT 'T101530'", false},
    {"SELECT '10 am'", false},
    {"SELECT '10PM'", false},
    {"SELECT CAST(x AS time with time zone)", false},
    {"SELECT CAST(x AS pg_catalog.timetz)", false},
    {"SELECT CAST('t' AS regclass)", false},
    {"SELECT pg_catalog.set_config('a', 'b', false)", false},
    {"SELECT 'no end", false},
    {"SELECT \"no end", false},
};

static void
what_may(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        if (pv_repeat_may(pv_slice_cstr(rows[i].text)) != rows[i].may)
            fail_msg("%s", rows[i].text);
}

static void
equal_by_all_bytes(void **state)
{
    static const uint32_t integer[] = {23}, big[] = {20};
    static const char longer[PV_REPEAT_TEXT_BYTES_MAX + 1];
    struct pv_repeat *a = pv_repeat_new(pv_slice_cstr("SELECT $1"), integer, 1);
    struct pv_repeat *b = pv_repeat_new(pv_slice_cstr("SELECT $1"), integer, 1);
    struct pv_repeat *other_type = pv_repeat_new(pv_slice_cstr("SELECT $1"), big, 1);
    struct pv_repeat *no_type = pv_repeat_new(pv_slice_cstr("SELECT $1"), NULL, 0);
    struct pv_repeat *other_text = pv_repeat_new(pv_slice_cstr("SELECT $2"), integer, 1);

    (void) state;
    assert_non_null(a);
    assert_string_equal(pv_repeat_text(a), "SELECT $1");
    assert_int_equal(a->text_len, 9);
    assert_true(pv_repeat_equal(a, a) && pv_repeat_equal(a, b));
    assert_false(pv_repeat_equal(a, other_type) || pv_repeat_equal(a, no_type) || pv_repeat_equal(a, other_text));
    /* Whatever the hash says. */
    other_type->hash = other_text->hash = no_type->hash = a->hash;
    assert_false(pv_repeat_equal(a, other_type) || pv_repeat_equal(a, no_type) || pv_repeat_equal(a, other_text));
    assert_null(pv_repeat_new(pv_slice_of(longer, sizeof(longer)), NULL, 0));
    pv_repeat_unref(pv_repeat_ref(a));
    pv_repeat_unref(a);
    pv_repeat_unref(b);
    pv_repeat_unref(other_type);
    pv_repeat_unref(no_type);
    pv_repeat_unref(other_text);
    pv_repeat_unref(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_may), cmocka_unit_test(equal_by_all_bytes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
