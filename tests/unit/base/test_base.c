#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/arena.h"
#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

static void
utf8_accepts_and_refuses(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        bool is_valid;
    } rows[] = {
        {"", 0, true},
        {"plain", 5, true},
        {"\xC3\xA9", 2, true},
        {"\xE2\x82\xAC", 3, true},
        {"\xF0\x9F\x98\x80", 4, true},
        {"\xC3", 1, false},
        {"\xC0\x80", 2, false},
        {"\xE0\x9F\xBF", 3, false},
        {"\xED\xA0\x80", 3, false},
        {"\xF4\x90\x80\x80", 4, false},
        {"\xF5\x80\x80\x80", 4, false},
        {"\x80", 1, false},
        {"a\0b", 3, false},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        assert_int_equal(pv_utf8_valid(pv_slice_of(rows[i].text, rows[i].len)), rows[i].is_valid);
        /* Many bytes are looked at together: at each place among plain ones it is the same. */
        for (size_t before = 0; before < 70; before++)
            for (size_t behind = 0; behind < 20; behind++) {
                char text[100];

                memset(text, 'x', sizeof(text));
                memcpy(text + before, rows[i].text, rows[i].len);
                assert_int_equal(pv_utf8_valid(pv_slice_of(text, before + rows[i].len + behind)), rows[i].is_valid);
            }
    }
}

static void
reader_refuses_every_proper_prefix(void **state)
{
    static const uint8_t bytes[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08};
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    int64_t i64;

    (void) state;
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        struct pv_reader reader = pv_reader_of(pv_slice_of(bytes, len));

        assert_int_equal(pv_read_i64(&reader, &i64), len == 8 ? PV_OK : PV_PROTOCOL);
        reader = pv_reader_of(pv_slice_of(bytes, len));
        assert_int_equal(pv_read_u32(&reader, &u32), len >= 4 ? PV_OK : PV_PROTOCOL);
        reader = pv_reader_of(pv_slice_of(bytes, len));
        assert_int_equal(pv_read_u16(&reader, &u16), len >= 2 ? PV_OK : PV_PROTOCOL);
        reader = pv_reader_of(pv_slice_of(bytes, len));
        assert_int_equal(pv_read_u8(&reader, &u8), len >= 1 ? PV_OK : PV_PROTOCOL);
    }
    assert_int_equal(i64, 0x0102030405060708);
    assert_int_equal(u32, 0x01020304);
    assert_int_equal(u16, 0x0102);
    assert_int_equal(u8, 0x01);
}

static void
reader_wants_a_nul(void **state)
{
    struct pv_reader reader = pv_reader_of(pv_slice_of("ab\0c", 4));
    struct pv_slice text;

    (void) state;
    assert_int_equal(pv_read_cstr(&reader, &text), PV_OK);
    assert_true(pv_slice_is(text, "ab"));
    assert_int_equal(pv_read_cstr(&reader, &text), PV_PROTOCOL);
    assert_int_equal(pv_read_end(&reader), PV_PROTOCOL);
    assert_int_equal(pv_read_slice(&reader, 1, &text), PV_OK);
    assert_int_equal(pv_read_end(&reader), PV_OK);
}

static void
buffer_round_trips(void **state)
{
    struct pv_buf buf = {0};
    struct pv_reader reader;
    uint32_t u32;
    struct pv_slice text;

    (void) state;
    for (int i = 0; i < 1000; i++) {
        pv_buf_put_u32(&buf, 0);
        pv_buf_patch_u32(&buf, pv_buf_len(&buf) - 4, (uint32_t) i);
        pv_buf_put_cstr(&buf, "word");
        pv_buf_printf(&buf, "%d%c", i, 0);
    }
    assert_true(pv_buf_ok(&buf));
    reader = pv_reader_of(pv_buf_slice(&buf));
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(pv_read_u32(&reader, &u32), PV_OK);
        assert_int_equal(u32, i);
        assert_int_equal(pv_read_cstr(&reader, &text), PV_OK);
        assert_true(pv_slice_is(text, "word"));
        assert_int_equal(pv_read_cstr(&reader, &text), PV_OK);
    }
    assert_int_equal(pv_read_end(&reader), PV_OK);
    pv_buf_clear(&buf);
}

static void
decimals_are_as_printf_has_them(void **state)
{
    static const int64_t values[] = {0, 1, -1, 9, 10, -10, 65535, 2147483647, -2147483648, INT64_MAX, INT64_MIN};
    struct pv_buf buf = {0};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(values); i++) {
        char text[PV_DECIMAL_SIZE], wanted[32];

        (void) snprintf(wanted, sizeof(wanted), "%lld", (long long) values[i]);
        assert_string_equal(pv_decimal(values[i], text), wanted);
        pv_buf_truncate(&buf, 0);
        pv_buf_put_decimal(&buf, values[i]);
        assert_true(pv_slice_is(pv_buf_slice(&buf), wanted));
    }
    pv_buf_clear(&buf);
}

static void
buffer_says_when_memory_ran_out(void **state)
{
    struct pv_buf buf = {0};

    (void) state;
    pv_alloc_fail_at(1);
    pv_buf_put_text(&buf, "x");
    assert_false(pv_buf_ok(&buf));
    assert_int_equal(pv_buf_len(&buf), 0);
    pv_buf_put_text(&buf, "y");
    assert_int_equal(pv_buf_len(&buf), 0);
    pv_buf_clear(&buf);
    assert_true(pv_buf_ok(&buf));
}

static void
arena_fails_in_turn_and_zeroes(void **state)
{
    (void) state;
    for (long nth = 1; nth <= 3; nth++) {
        struct pv_arena *arena;
        char *text = NULL;

        pv_alloc_fail_at(nth);
        arena = pv_arena_new(64);
        if (arena != NULL) {
            char *zeroed = pv_arena_alloc(arena, 40);

            if (zeroed != NULL)
                for (size_t i = 0; i < 40; i++)
                    assert_int_equal(zeroed[i], 0);
            text = pv_arena_printf(arena, "%s-%d", "a long enough text to need a block of its own, surely", 7);
        }
        pv_alloc_fail_at(0);
        if (nth == 3)
            assert_string_equal(text, "a long enough text to need a block of its own, surely-7");
        else
            assert_true(arena == NULL || text == NULL);
        pv_arena_free(arena);
    }
}

/* Texts around the size that is formatted in place, and far above it. */
static void
arena_formats_texts_of_any_length(void **state)
{
    static const int lengths[] = {0, 1, 254, 255, 256, 257, 5000};
    struct pv_arena *arena = pv_arena_new(64);

    (void) state;
    assert_non_null(arena);
    for (size_t i = 0; i < PV_COUNT_OF(lengths); i++) {
        const char *text = pv_arena_printf(arena, "%0*d%s", lengths[i], 0, lengths[i] == 0 ? "" : "!");

        assert_non_null(text);
        assert_int_equal(strlen(text), lengths[i] == 0 ? 1 : lengths[i] + 1);
        assert_int_equal(text[0], '0');
        assert_int_equal(text[strlen(text) - 1], lengths[i] == 0 ? '0' : '!');
    }
    pv_arena_free(arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_accepts_and_refuses),
        cmocka_unit_test(reader_refuses_every_proper_prefix),
        cmocka_unit_test(reader_wants_a_nul),
        cmocka_unit_test(buffer_round_trips),
        cmocka_unit_test(decimals_are_as_printf_has_them),
        cmocka_unit_test(buffer_says_when_memory_ran_out),
        cmocka_unit_test(arena_fails_in_turn_and_zeroes),
        cmocka_unit_test(arena_formats_texts_of_any_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
