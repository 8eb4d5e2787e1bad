#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/param.h"
#include "proxy/base/arena.h"
#include "proxy/base/bytes.h"

static struct pv_arena *arena;

static int
setup(void **state)
{
    (void) state;
    arena = pv_arena_new(0);
    return arena == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
    (void) state;
    pv_arena_free(arena);
    return 0;
}

static struct pv_parameter
parameter_of(const char *type)
{
    struct pv_parameter parameter = {.name = "p", .max_items = 3};

    parameter.type = pv_param_type_find(type, &parameter.is_array);
    assert_non_null(parameter.type);
    return parameter;
}

static void
types_are_found_by_every_spelling(void **state)
{
    static const struct {
        const char *spelling;
        const char *name;
        bool is_array;
    } rows[] = {
        {"int", "integer", false},
        {"INT4", "integer", false},
        {"bigint[]", "bigint", true},
        {"double precision", "double precision", false},
        {"varchar", "character varying", false},
        {"timestamptz", "timestamp with time zone", false},
        {"timestamp[]", "timestamp without time zone", true},
        {"bytea", "bytea", false},
        {"interval", NULL, false},
        {"char", NULL, false},
        {"varchar(10)", NULL, false},
        {"text[][]", NULL, false},
        {"[]", NULL, false},
        {"", NULL, false},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        bool is_array = false;
        const struct pv_param_type *type = pv_param_type_find(rows[i].spelling, &is_array);

        if (rows[i].name == NULL) {
            assert_null(type);
            assert_non_null(pv_param_type_refusal(rows[i].spelling));
            continue;
        }
        assert_non_null(type);
        assert_string_equal(type->name, rows[i].name);
        assert_int_equal(is_array, rows[i].is_array);
        assert_ptr_equal(pv_param_type_by_oid(type->oid, &is_array), type);
        assert_false(is_array);
        assert_ptr_equal(pv_param_type_by_oid(type->array_oid, &is_array), type);
        assert_true(is_array);
    }
}

static void
texts_become_canonical_or_are_refused(void **state)
{
    static const struct {
        const char *type;
        const char *text;
        const char *canonical; /* NULL: refused */
    } rows[] = {
        {"integer", " 007 ", "7"},
        {"integer", "+5", "5"},
        {"integer", "-0", "0"},
        {"integer", "2147483647", "2147483647"},
        {"integer", "2147483648", NULL},
        {"integer", "-2147483648", "-2147483648"},
        {"smallint", "32768", NULL},
        {"bigint", "-9223372036854775808", "-9223372036854775808"},
        {"bigint", "9223372036854775808", NULL},
        {"bigint", "99999999999999999999999", NULL},
        {"integer", "", NULL},
        {"integer", "-", NULL},
        {"integer", "1.0", NULL},
        {"integer", "1 2", NULL},
        {"integer", "0x10", NULL},
        {"integer", "1;--", NULL},
        {"numeric", "001.50", "1.50"},
        {"numeric", ".5", "0.5"},
        {"numeric", "5.", "5"},
        {"numeric", "-0.00", "0.00"},
        {"numeric", "1.5e3", "1500"},
        {"numeric", "1.5e-3", "0.0015"},
        {"numeric", "12e-1", "1.2"},
        {"numeric", "1e131072", NULL},
        {"numeric", "1e-16384", NULL},
        {"numeric", "nan", "NaN"},
        {"numeric", "-inf", "-Infinity"},
        {"numeric", "1e", NULL},
        {"numeric", "e5", NULL},
        {"numeric", ".", NULL},
        {"numeric", "1e99999999999999999999", NULL},
        {"double precision", "0.1", "0.1"},
        {"double precision", "1e400", NULL},
        {"double precision", "1e-400", NULL},
        {"double precision", "0x1p3", NULL},
        {"double precision", "Infinity", "Infinity"},
        {"real", "0.1", "0.1"},
        {"real", "1e39", NULL},
        {"boolean", " T ", "true"},
        {"boolean", "of", "false"},
        {"boolean", "o", NULL},
        {"boolean", "2", NULL},
        {"text", " as is ", " as is "},
        {"text", "\xC3", NULL},
        {"bpchar", "a  ", "a"},
        {"date", "2024-02-29", "2024-02-29"},
        {"date", "2023-02-29", NULL},
        {"date", "1900-02-29", NULL},
        {"date", "2000-02-29", "2000-02-29"},
        {"date", "2024-1-1", NULL},
        {"date", "01/02/2024", NULL},
        {"date", "0000-01-01", NULL},
        {"date", "0001-01-01", "0001-01-01"},
        {"date", "9999-12-31", "9999-12-31"},
        {"date", "2024-06-01 +02", "2024-06-01"},
        {"date", "2024-06-01 00:00:00", "2024-06-01"},
        {"date", "2024-06-01 00:00:01", NULL},
        {"date", "today", NULL},
        {"date", "-Infinity", "-infinity"},
        {"timestamp", "2024-06-01", "2024-06-01 00:00:00"},
        {"timestamp", "2024-06-01T12:34:56.7", "2024-06-01 12:34:56.7"},
        {"timestamp", "2024-06-01 12:34:56.123456000", "2024-06-01 12:34:56.123456"},
        {"timestamp", "2024-06-01 12:34:56.1234567", NULL},
        {"timestamp", "2024-12-31 24:00:00", "2025-01-01 00:00:00"},
        {"timestamp", "2024-12-31 24:00:01", NULL},
        {"timestamp", "1969-12-31 23:59:59.5", "1969-12-31 23:59:59.5"},
        {"timestamp", "2024-06-01 12", NULL},
        {"timestamp", "now", NULL},
        {"timestamptz", "2024-06-01 02:00:00+02", "2024-06-01 00:00:00+00"},
        {"timestamptz", "2024-06-01T02:00:00-05:30", "2024-06-01 07:30:00+00"},
        {"timestamptz", "2024-06-01T02:00:00Z", "2024-06-01 02:00:00+00"},
        {"timestamptz", "2024-06-01 02:00:00", NULL},
        {"timestamptz", "0001-01-01 00:00:00+14", NULL},
        {"time", "23:59", "23:59:00"},
        {"time", "24:00:00", "24:00:00"},
        {"time", "23:59:60", NULL},
        {"time", "23:59:59+00", NULL},
        {"uuid", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
        {"uuid", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
        {"uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", NULL},
        {"uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-", NULL},
        {"uuid", "{a0eebc999c0b4ef8bb6d6bb9bd380a11", NULL},
        {"bytea", "\\x00Ff", "\\x00ff"},
        {"bytea", "\\x0", NULL},
        {"bytea", "abc", NULL},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        bool is_array;
        const struct pv_param_type *type = pv_param_type_find(rows[i].type, &is_array);
        const char *canonical = NULL;
        enum pv_status status = pv_param_canonical(arena, type, rows[i].text, &canonical);

        if (status != (rows[i].canonical == NULL ? PV_INVALID : PV_OK))
            fail_msg("%s '%s': status %d", rows[i].type, rows[i].text, (int) status);
        if (rows[i].canonical != NULL)
            assert_string_equal(canonical, rows[i].canonical);
    }
}

static void
comparing_is_exact(void **state)
{
    static const struct {
        const char *type;
        const char *a;
        const char *b;
        int order;
    } rows[] = {
        {"numeric", "9007199254740993", "9007199254740992", 1},
        {"numeric", "0.1", "0.10", 0},
        {"numeric", "0.1000000000000000000000000000001", "0.1", 1},
        {"numeric", "-2", "-10", 1},
        {"numeric", "-0.5", "0.5", -1},
        {"numeric", "NaN", "Infinity", 1},
        {"numeric", "-Infinity", "-5", -1},
        {"integer", "10", "9", 1},
        {"double precision", "1e+20", "99", 1},
        {"double precision", "NaN", "Infinity", 1},
        {"date", "2024-01-31", "2024-02-01", -1},
        {"date", "infinity", "9999-12-31", 1},
        {"timestamp", "2024-01-01 00:00:00.5", "2024-01-01 00:00:00", 1},
        {"time", "09:00:00", "10:00:00", -1},
        {"text", "a", "b", -1},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        bool is_array;
        const struct pv_param_type *type = pv_param_type_find(rows[i].type, &is_array);
        int there = pv_param_compare(type, rows[i].a, rows[i].b);
        int back = pv_param_compare(type, rows[i].b, rows[i].a);

        assert_int_equal((there > 0) - (there < 0), rows[i].order);
        assert_int_equal((back > 0) - (back < 0), -rows[i].order);
    }
}

static void
bounds_are_kept_and_named(void **state)
{
    static const char *const values[] = {"red", "green"};
    static const struct {
        const char *type;
        const char *minimum, *maximum, *pattern;
        uint64_t max_length;
        bool has_values;
        bool is_nullable;
        const char *text;
        const char *canonical; /* NULL where words are expected, or where the value is NULL */
        const char *words;
    } rows[] = {
        {"date", "2024-01-01", NULL, NULL, 0, false, false, "2023-12-31", NULL,
         "parameter \"p\" must be at least 2024-01-01"},
        {"date", "2024-01-01", NULL, NULL, 0, false, false, "2024-01-01", "2024-01-01", NULL},
        {"integer", "1", "10", NULL, 0, false, false, "11", NULL, "parameter \"p\" must be at least 1 and at most 10"},
        {"integer", NULL, "10", NULL, 0, false, false, "11", NULL, "parameter \"p\" must be at most 10"},
        {"double precision", "-1.5", "1e+01", NULL, 0, false, false, "11", NULL,
         "parameter \"p\" must be at least -1.5 and at most 10"},
        {"double precision", NULL, "0.30000000000000004", NULL, 0, false, false, "1", NULL,
         "parameter \"p\" must be at most 0.30000000000000004"},
        {"real", "1e+02", NULL, NULL, 0, false, false, "99.5", NULL, "parameter \"p\" must be at least 100"},
        {"integer", NULL, NULL, NULL, 0, false, false, "x", NULL, "parameter \"p\" must be an integer of 4 bytes"},
        {"integer", NULL, NULL, NULL, 0, false, false, NULL, NULL, "parameter \"p\" must be other than NULL"},
        {"integer", NULL, NULL, NULL, 0, false, true, NULL, NULL, NULL},
        {"text", NULL, NULL, NULL, 0, true, false, "blue", NULL, "parameter \"p\" must be one of \"red\", \"green\""},
        {"text", NULL, NULL, NULL, 0, true, false, "green", "green", NULL},
        {"text", NULL, NULL, NULL, 2, false, false, "\xC3\xA9\xC3\xA9", "\xC3\xA9\xC3\xA9", NULL},
        {"text", NULL, NULL, NULL, 2, false, false, "abc", NULL, "parameter \"p\" must be at most 2 characters long"},
        {"text", NULL, NULL, "a|ab", 0, false, false, "ab", "ab", NULL},
        {"text", NULL, NULL, "a)|b", 0, false, false, "xb", NULL,
         "parameter \"p\" must be text that matches the pattern a)|b"},
        {"text", NULL, NULL, "[A-Z]{2}", 0, false, false, "ABC", NULL,
         "parameter \"p\" must be text that matches the pattern [A-Z]{2}"},
        {"text", NULL, NULL, "[A-Z]{2}", 0, false, false, "AB\n", NULL,
         "parameter \"p\" must be text that matches the pattern [A-Z]{2}"},
        {"text", NULL, NULL, "..", 0, false, false, "\xC3\xA9\xC3\xA9", "\xC3\xA9\xC3\xA9", NULL},
        {"integer[]", NULL, "10", NULL, 0, false, false, "{1, 2}", "{1,2}", NULL},
        {"integer[]", NULL, "10", NULL, 0, false, false, "{1,11}", NULL,
         "each item of parameter \"p\" must be at most 10"},
        {"integer[]", NULL, NULL, NULL, 0, false, false, "{1,2,3,4}", NULL,
         "parameter \"p\" must be at most 3 items long"},
        {"integer[]", NULL, NULL, NULL, 0, false, false, "{1,NULL}", NULL,
         "each item of parameter \"p\" must be other than NULL"},
        {"integer[]", NULL, NULL, NULL, 0, false, true, "{1,null}", "{1,NULL}", NULL},
        {"integer[]", NULL, NULL, NULL, 0, false, false, "1,2", NULL,
         "parameter \"p\" must be an array of one dimension such as {a,b}, of integer"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_parameter parameter = parameter_of(rows[i].type);
        const char *canonical = "untouched";
        const char *words = NULL;
        void *regex = NULL;
        enum pv_status status;

        parameter.minimum = rows[i].minimum;
        parameter.maximum = rows[i].maximum;
        parameter.max_length = rows[i].max_length;
        parameter.is_nullable = rows[i].is_nullable;
        parameter.values = values;
        parameter.value_count = rows[i].has_values ? PV_COUNT_OF(values) : 0;
        if (rows[i].pattern != NULL) {
            assert_int_equal(pv_param_regex_new(arena, rows[i].pattern, &regex, &words), PV_OK);
            parameter.regex = regex;
            parameter.pattern = rows[i].pattern;
        }
        status = pv_param_judge_text(arena, &parameter, rows[i].text, &canonical, &words);
        pv_param_regex_free(regex);
        assert_int_equal(status, rows[i].words == NULL ? PV_OK : PV_INVALID);
        if (rows[i].words != NULL)
            assert_string_equal(words, rows[i].words);
        else if (rows[i].canonical == NULL)
            assert_null(canonical);
        else
            assert_string_equal(canonical, rows[i].canonical);
    }
}

/* Whatever is taken for a plain integer is what judging the text would give, and plain ones within bounds are taken. */
static void
plain_integers_are_what_judging_says(void **state)
{
    static const char *const types[] = {"smallint", "integer", "bigint", "numeric", "text"};
    static const char *const bounds[] = {NULL, "-5", "0", "17", "32767", "999999999999999999", "1000000000000000000"};
    static const char *const texts[] = {"0",
                                        "00",
                                        "01",
                                        "7",
                                        "17",
                                        "18",
                                        "+17",
                                        "-17",
                                        " 17",
                                        "17 ",
                                        "1e3",
                                        "1.0",
                                        "",
                                        "32767",
                                        "32768",
                                        "2147483647",
                                        "2147483648",
                                        "999999999999999999",
                                        "1000000000000000000",
                                        "9223372036854775808"};
    static const struct pv_parameter listed = {.values = texts + 3, .value_count = 1};
    size_t taken = 0;

    (void) state;
    for (size_t t = 0; t < PV_COUNT_OF(types); t++)
        for (size_t b = 0; b < PV_COUNT_OF(bounds) * PV_COUNT_OF(bounds); b++)
            for (size_t i = 0; i < PV_COUNT_OF(texts); i++) {
                struct pv_parameter parameter = parameter_of(types[t]);
                const char *canonical = NULL, *words;
                bool is_plain;

                parameter.minimum = bounds[b % PV_COUNT_OF(bounds)];
                parameter.maximum = bounds[b / PV_COUNT_OF(bounds)];
                is_plain = pv_param_is_plain_integer(&parameter, pv_slice_cstr(texts[i]));
                taken += is_plain ? 1 : 0;
                if (is_plain) {
                    assert_int_equal(pv_param_judge_text(arena, &parameter, texts[i], &canonical, &words), PV_OK);
                    assert_string_equal(canonical, texts[i]);
                    assert_true(t < 3);
                    assert_true(parameter.minimum == NULL ||
                                pv_param_compare(parameter.type, canonical, parameter.minimum) >= 0);
                    assert_true(parameter.maximum == NULL ||
                                pv_param_compare(parameter.type, canonical, parameter.maximum) <= 0);
                }
                parameter.values = listed.values;
                parameter.value_count = listed.value_count;
                assert_false(pv_param_is_plain_integer(&parameter, pv_slice_cstr(texts[i])));
            }
    assert_true(taken > 200);
}

static void
patterns_are_refused_with_words(void **state)
{
    static const char *const bad[] = {"(", "[a", "a{2", "(a)\\1"};
    void *regex = NULL;

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(bad); i++) {
        const char *words = NULL;

        assert_int_equal(pv_param_regex_new(arena, bad[i], &regex, &words), PV_INVALID);
        assert_non_null(words);
    }
}

static void
array_texts_are_postgresqls(void **state)
{
    static const struct {
        const char *text;
        const char *canonical; /* NULL: refused */
    } rows[] = {
        {"{}", "{}"},
        {" { } ", "{}"},
        {"{a,b c , d}", "{a,\"b c\",d}"},
        {"{\"a,b\",\"c\\\"d\",\"\"}", "{\"a,b\",\"c\\\"d\",\"\"}"},
        {"{\"NULL\"}", "{\"NULL\"}"},
        {"{\\N\\U\\L\\L}", "{\"NULL\"}"},
        {"{a\\ }", "{\"a \"}"},
        {"{a,}", NULL},
        {"{,a}", NULL},
        {"{a", NULL},
        {"{\"a}", NULL},
        {"{a}}", NULL},
        {"{a} b", NULL},
        {"{{a}}", NULL},
        {"{a\"b\"}", NULL},
        {"{\"a\"b}", NULL},
        {"[1:1]={a}", NULL},
        {"{a\\", NULL},
        {"", NULL},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_parameter parameter = parameter_of("text[]");
        const char *canonical = NULL;
        const char *words;
        enum pv_status status = pv_param_judge_text(arena, &parameter, rows[i].text, &canonical, &words);

        if (status != (rows[i].canonical == NULL ? PV_INVALID : PV_OK))
            fail_msg("%s: status %d", rows[i].text, (int) status);
        if (rows[i].canonical != NULL)
            assert_string_equal(canonical, rows[i].canonical);
    }
}

static const struct bind_row {
    const char *type;
    uint32_t oid;
    int16_t format;
    struct pv_slice value;
    const char *canonical; /* NULL: refused */
} bind_rows[] = {
    {"integer", 23, 1, {(const uint8_t *) "\xFF\xFF\xFF\xFE", 4}, "-2"},
    {"integer", 0, 1, {(const uint8_t *) "\0\0\0\x07", 4}, "7"},
    {"integer", 21, 1, {(const uint8_t *) "\x80\0", 2}, "-32768"},
    {"smallint", 20, 1, {(const uint8_t *) "\0\0\0\0\0\0\x80\0", 8}, NULL},
    {"bigint", 23, 0, {(const uint8_t *) "5", 1}, "5"},
    {"integer", 25, 0, {(const uint8_t *) "5", 1}, "5"},
    {"integer", 1043, 1, {(const uint8_t *) "5", 1}, "5"},
    {"integer", 705, 0, {(const uint8_t *) "5", 1}, "5"},
    {"integer", 23, 0, {(const uint8_t *) "5\0", 2}, NULL},
    {"integer", 1082, 0, {(const uint8_t *) "2024-01-01", 10}, NULL},
    {"integer", 600, 0, {(const uint8_t *) "5", 1}, NULL},
    {"integer", 23, 2, {(const uint8_t *) "5", 1}, NULL},
    {"integer", 1007, 0, {(const uint8_t *) "{5}", 3}, NULL},
    {"integer", 1700, 0, {(const uint8_t *) "5.00", 4}, "5"},
    {"integer", 1700, 0, {(const uint8_t *) "5.01", 4}, NULL},
    {"integer", 701, 0, {(const uint8_t *) "5", 1}, NULL},
    {"numeric", 1700, 1, {(const uint8_t *) "\0\x02\0\x01\x40\0\0\x02\0\x01\x09\x29", 12}, "-12345.00"},
    {"numeric", 1700, 1, {(const uint8_t *) "\0\x01\xFF\xFF\0\0\0\x03\x04\xD2", 10}, "0.123"},
    {"numeric", 1700, 1, {(const uint8_t *) "\0\0\0\0\xC0\0\0\0", 8}, "NaN"},
    {"numeric", 1700, 1, {(const uint8_t *) "\0\x01\0\0\0\0\0\0\x27\x10", 10}, NULL},
    {"numeric", 701, 0, {(const uint8_t *) "0.1", 3}, "0.1"},
    {"numeric", 701, 0, {(const uint8_t *) "0.30000000000000004", 19}, NULL},
    {"double precision", 701, 1, {(const uint8_t *) "\x3F\xB9\x99\x99\x99\x99\x99\x9A", 8}, "0.1"},
    {"double precision", 700, 1, {(const uint8_t *) "\x3D\xCC\xCC\xCD", 4}, "0.10000000149011612"},
    {"double precision", 20, 0, {(const uint8_t *) "9007199254740993", 16}, NULL},
    {"double precision", 20, 0, {(const uint8_t *) "9007199254740992", 16}, "9007199254740992"},
    {"real", 701, 0, {(const uint8_t *) "0.1", 3}, NULL},
    {"real", 701, 0, {(const uint8_t *) "0.5", 3}, "0.5"},
    {"boolean", 16, 1, {(const uint8_t *) "\x01", 1}, "true"},
    {"boolean", 16, 1, {(const uint8_t *) "\x02", 1}, NULL},
    {"date", 1082, 1, {(const uint8_t *) "\0\0\x22\x3D", 4}, "2023-12-31"},
    {"date", 1082, 1, {(const uint8_t *) "\x7F\xFF\xFF\xFF", 4}, "infinity"},
    {"date", 1082, 1, {(const uint8_t *) "\x7F\xFF\xFF\xFE", 4}, NULL},
    {"date", 1114, 0, {(const uint8_t *) "2024-01-01 00:00:00", 19}, "2024-01-01"},
    {"date", 1114, 0, {(const uint8_t *) "2024-01-01 00:00:01", 19}, NULL},
    {"date", 1184, 0, {(const uint8_t *) "2024-01-01 00:00:00+00", 22}, NULL},
    {"timestamp", 1082, 0, {(const uint8_t *) "2024-01-01", 10}, "2024-01-01 00:00:00"},
    {"timestamp", 1114, 1, {(const uint8_t *) "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8}, "1999-12-31 23:59:59.999999"},
    {"timestamptz", 1184, 1, {(const uint8_t *) "\0\0\0\0\0\x0F\x42\x40", 8}, "2000-01-01 00:00:01+00"},
    {"timestamptz", 1114, 0, {(const uint8_t *) "2024-01-01 00:00:00", 19}, NULL},
    {"time", 1083, 1, {(const uint8_t *) "\0\0\0\0\0\0\0\x01", 8}, "00:00:00.000001"},
    {"uuid", 2950, 1, {(const uint8_t *) "0123456789abcdef", 16}, "30313233-3435-3637-3839-616263646566"},
    {"bytea", 17, 1, {(const uint8_t *) "\0\xFF", 2}, "\\x00ff"},
    {"text", 25, 1, {(const uint8_t *) "\xC3", 1}, NULL},
    {"text", 23, 0, {(const uint8_t *) "1", 1}, NULL},
    {"text", 19, 0, {(const uint8_t *) "n", 1}, "n"},
    {"integer[]",
     1007,
     1,
     {(const uint8_t *) "\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x02\0\0\0\x01\0\0\0\x04\0\0\0\x01\0\0\0\x04\0\0\0\x02", 36},
     "{1,2}"},
    {"bigint[]",
     1007,
     1,
     {(const uint8_t *) "\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\0\0\x01", 28},
     "{1}"},
    {"integer[]", 1007, 1, {(const uint8_t *) "\0\0\0\0\0\0\0\0\0\0\0\x17", 12}, "{}"},
    {"integer[]", 1007, 1, {(const uint8_t *) "\0\0\0\x01\0\0\0\0\0\0\0\x17\x7F\xFF\xFF\xFF\0\0\0\x01", 20}, NULL},
    {"integer[]", 1007, 1, {(const uint8_t *) "\0\0\0\x01\0\0\0\0\0\0\0\x19\0\0\0\0\0\0\0\x01", 20}, NULL},
    {"integer[]", 25, 0, {(const uint8_t *) "{1,2}", 5}, "{1,2}"},
    {"integer[]", 1009, 0, {(const uint8_t *) "{1,2}", 5}, "{1,2}"},
    {"integer[]", 1016, 0, {(const uint8_t *) "{1,99999999999}", 15}, NULL},
};

static void
bind_values_are_judged_by_declared_type_and_format(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(bind_rows); i++) {
        const struct bind_row *row = &bind_rows[i];
        struct pv_parameter parameter = parameter_of(row->type);
        const char *canonical = NULL;
        const char *words = NULL;
        enum pv_status status =
            pv_param_judge_bind(arena, &parameter, row->oid, row->format, false, row->value, &canonical, &words);

        if (status != (row->canonical == NULL ? PV_INVALID : PV_OK))
            fail_msg("row %zu, %s from %u: status %d", i, row->type, row->oid, (int) status);
        if (row->canonical != NULL && strcmp(canonical, row->canonical) != 0)
            fail_msg("row %zu: '%s'", i, canonical);
        if (row->canonical == NULL)
            assert_non_null(strstr(words, "parameter \"p\""));
    }
}

static void
binary_values_refuse_prefixes_and_trailing_bytes(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(bind_rows); i++) {
        const struct bind_row *row = &bind_rows[i];
        struct pv_parameter parameter = parameter_of(row->type);
        uint8_t longer[64] = {0};
        const char *canonical;
        const char *words;

        if (row->format != 1 || row->canonical == NULL || row->oid == 25 || row->oid == 1043 || row->oid == 17)
            continue;
        for (size_t len = 0; len < row->value.len; len++)
            assert_int_equal(pv_param_judge_bind(arena, &parameter, row->oid, 1, false,
                                                 pv_slice_of(row->value.data, len), &canonical, &words),
                             PV_INVALID);
        memcpy(longer, row->value.data, row->value.len);
        assert_int_equal(pv_param_judge_bind(arena, &parameter, row->oid, 1, false,
                                             pv_slice_of(longer, row->value.len + 1), &canonical, &words),
                         PV_INVALID);
    }
}

static void
display_shows_any_value(void **state)
{
    static const struct {
        uint32_t oid;
        int16_t format;
        struct pv_slice value;
        const char *text;
    } rows[] = {
        {23, 1, {(const uint8_t *) "\0\0\0\x05", 4}, "5"},
        {23, 1, {(const uint8_t *) "\0\x05", 2}, "\\x0005"},
        {0, 0, {(const uint8_t *) "abc", 3}, "abc"},
        {0, 0, {(const uint8_t *) "\xFF", 1}, "\\xff"},
        {0, 1, {(const uint8_t *) "abc", 3}, "\\x616263"},
        {1007, 1, {(const uint8_t *) "\0\0\0\0\0\0\0\0\0\0\0\x17", 12}, "{}"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        const char *text = NULL;

        assert_int_equal(pv_param_display(arena, rows[i].oid, rows[i].format, rows[i].value, &text), PV_OK);
        assert_string_equal(text, rows[i].text);
    }
}

static void
failing_allocations_are_reported(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(bind_rows); i++) {
        const struct bind_row *row = &bind_rows[i];
        struct pv_parameter parameter = parameter_of(row->type);
        enum pv_status status = PV_NOMEM;

        for (long nth = 1; status == PV_NOMEM; nth++) {
            struct pv_arena *small = pv_arena_new(1);
            const char *canonical;
            const char *words;

            assert_non_null(small);
            assert_true(nth < 1000);
            pv_alloc_fail_at(nth);
            status =
                pv_param_judge_bind(small, &parameter, row->oid, row->format, false, row->value, &canonical, &words);
            pv_alloc_fail_at(0);
            pv_arena_free(small);
        }
        assert_int_equal(status, row->canonical == NULL ? PV_INVALID : PV_OK);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_found_by_every_spelling),
        cmocka_unit_test(texts_become_canonical_or_are_refused),
        cmocka_unit_test(comparing_is_exact),
        cmocka_unit_test(bounds_are_kept_and_named),
        cmocka_unit_test(plain_integers_are_what_judging_says),
        cmocka_unit_test(patterns_are_refused_with_words),
        cmocka_unit_test(array_texts_are_postgresqls),
        cmocka_unit_test(bind_values_are_judged_by_declared_type_and_format),
        cmocka_unit_test(binary_values_refuse_prefixes_and_trailing_bytes),
        cmocka_unit_test(display_shows_any_value),
        cmocka_unit_test(failing_allocations_are_reported),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
