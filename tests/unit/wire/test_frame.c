#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/bytes.h"
#include "proxy/wire/frame.h"

#define QUERY_MAX 1000u

/* Head of a frame: tag (0 for none) and length field. */
static struct pv_slice
head_of(uint8_t room[5], uint8_t tag, uint32_t length)
{
    size_t at = 0;

    if (tag != 0)
        room[at++] = tag;
    for (int shift = 24; shift >= 0; shift -= 8)
        room[at++] = (uint8_t) (length >> shift);
    return pv_slice_of(room, at);
}

static void
lengths_are_bounded_by_phase_and_class(void **state)
{
    static const struct {
        enum pv_frame_phase phase;
        uint8_t tag;
        uint32_t length;
        enum pv_status status;
    } rows[] = {
        {PV_FRAME_STARTUP, 0, 7, PV_PROTOCOL},
        {PV_FRAME_STARTUP, 0, 8, PV_OK},
        {PV_FRAME_STARTUP, 0, PV_STARTUP_BYTES_MAX, PV_OK},
        {PV_FRAME_STARTUP, 0, PV_STARTUP_BYTES_MAX + 1, PV_PROTOCOL},
        {PV_FRAME_STARTUP, 0, UINT32_MAX, PV_PROTOCOL},
        {PV_FRAME_AUTH, 'p', 3, PV_PROTOCOL},
        {PV_FRAME_AUTH, 'p', 4, PV_OK},
        {PV_FRAME_AUTH, 'p', PV_AUTH_MESSAGE_BYTES_MAX, PV_OK},
        {PV_FRAME_AUTH, 'p', PV_AUTH_MESSAGE_BYTES_MAX + 1, PV_PROTOCOL},
        {PV_FRAME_AUTH, 'X', 4, PV_OK},
        {PV_FRAME_AUTH, 'Q', 10, PV_PROTOCOL},
        {PV_FRAME_QUERY, 'Q', 3, PV_PROTOCOL},
        {PV_FRAME_QUERY, 'Q', 0, PV_PROTOCOL},
        {PV_FRAME_QUERY, 'Q', 4, PV_OK},
        {PV_FRAME_QUERY, 'Q', QUERY_MAX + 5, PV_OK},
        {PV_FRAME_QUERY, 'Q', QUERY_MAX + 6, PV_LIMIT},
        {PV_FRAME_QUERY, 'Q', PV_SKIP_BYTES_MAX - 1, PV_LIMIT},
        {PV_FRAME_QUERY, 'Q', PV_SKIP_BYTES_MAX, PV_PROTOCOL},
        {PV_FRAME_QUERY, 'Q', UINT32_MAX, PV_PROTOCOL},
        {PV_FRAME_QUERY, 'P', QUERY_MAX + 5 + PV_PARSE_EXTRA_BYTES, PV_OK},
        {PV_FRAME_QUERY, 'P', QUERY_MAX + 6 + PV_PARSE_EXTRA_BYTES, PV_LIMIT},
        {PV_FRAME_QUERY, 'P', 0x80000000u, PV_PROTOCOL},
        {PV_FRAME_QUERY, 'B', PV_BIND_BYTES_MAX, PV_OK},
        {PV_FRAME_QUERY, 'B', PV_BIND_BYTES_MAX + 1, PV_LIMIT},
        {PV_FRAME_QUERY, 'F', PV_BIND_BYTES_MAX + 1, PV_LIMIT},
        {PV_FRAME_QUERY, 'd', PV_BIND_BYTES_MAX + 1, PV_LIMIT},
        {PV_FRAME_QUERY, 'p', 10, PV_PROTOCOL},
        {PV_FRAME_QUERY, 'Z', 5, PV_PROTOCOL},
        {PV_FRAME_QUERY, 0xFF, 5, PV_PROTOCOL},
        {PV_FRAME_BACKEND, 'D', 3, PV_PROTOCOL},
        {PV_FRAME_BACKEND, 'D', PV_FRAME_BYTES_MAX, PV_OK},
        {PV_FRAME_BACKEND, 'D', PV_FRAME_BYTES_MAX + 1, PV_PROTOCOL},
        {PV_FRAME_BACKEND, 'Q', 10, PV_PROTOCOL},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        uint8_t room[5];
        struct pv_frame_head head = {0};
        size_t tag_len = rows[i].phase == PV_FRAME_STARTUP ? 0 : 1;

        assert_int_equal(pv_frame_peek(head_of(room, rows[i].tag, rows[i].length), rows[i].phase, QUERY_MAX, &head),
                         rows[i].status);
        if (rows[i].status == PV_PROTOCOL)
            continue;
        assert_int_equal(head.tag, rows[i].tag);
        assert_int_equal(head.total_len, rows[i].length + tag_len);
        assert_int_equal(head.body_len, rows[i].length - 4);
        assert_int_equal(head.head_len, 4 + tag_len);
    }
}

static void
every_small_message_has_the_small_limit(void **state)
{
    static const char tags[] = "XCDEHScf";

    (void) state;
    for (size_t i = 0; i < sizeof(tags) - 1; i++) {
        uint8_t room[5];
        struct pv_frame_head head;

        assert_int_equal(pv_frame_peek(head_of(room, (uint8_t) tags[i], PV_SMALL_MESSAGE_BYTES_MAX), PV_FRAME_QUERY,
                                       QUERY_MAX, &head),
                         PV_OK);
        assert_int_equal(pv_frame_peek(head_of(room, (uint8_t) tags[i], PV_SMALL_MESSAGE_BYTES_MAX + 1), PV_FRAME_QUERY,
                                       QUERY_MAX, &head),
                         PV_PROTOCOL);
    }
}

static void
only_known_tags_pass(void **state)
{
    static const struct {
        enum pv_frame_phase phase;
        const char *tags;
    } rows[] = {
        {PV_FRAME_AUTH, "pX"},
        {PV_FRAME_QUERY, "BCdcfDEHFPQSX"},
        {PV_FRAME_BACKEND, "RK23CWdcGHDIEVvnNAtS1sZT"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        for (unsigned tag = 1; tag < 256; tag++) {
            uint8_t byte = (uint8_t) tag;
            struct pv_frame_head head;
            bool is_known = strchr(rows[i].tags, (int) tag) != NULL;

            /* One byte is enough to refuse. */
            assert_int_equal(pv_frame_peek(pv_slice_of(&byte, 1), rows[i].phase, QUERY_MAX, &head),
                             is_known ? PV_MORE : PV_PROTOCOL);
        }
}

static void
frames_come_whole_or_not_at_all(void **state)
{
    static const uint8_t stream[] = "Q\0\0\0\x0dSELECT 1\0S\0\0\0\4";
    size_t stream_len = sizeof(stream) - 1;
    struct pv_frame frame = {0};

    (void) state;
    for (size_t len = 0; len < 14; len++) {
        assert_int_equal(pv_frame_next(pv_slice_of(stream, len), PV_FRAME_QUERY, QUERY_MAX, &frame), PV_MORE);
        assert_int_equal(frame.total_len, 0);
    }
    assert_int_equal(pv_frame_next(pv_slice_of(stream, stream_len), PV_FRAME_QUERY, QUERY_MAX, &frame), PV_OK);
    assert_int_equal(frame.tag, 'Q');
    assert_int_equal(frame.total_len, 14);
    assert_true(pv_slice_equal(frame.body, pv_slice_of("SELECT 1", 9)));
    assert_int_equal(pv_frame_next(pv_slice_of(stream + 14, stream_len - 14), PV_FRAME_QUERY, QUERY_MAX, &frame),
                     PV_OK);
    assert_int_equal(frame.tag, 'S');
    assert_int_equal(frame.body.len, 0);
    assert_int_equal(frame.total_len, 5);
}

static void
startup_frames_have_no_tag(void **state)
{
    static const uint8_t bytes[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f, 'x'};
    struct pv_frame frame = {0};

    (void) state;
    for (size_t len = 0; len < 8; len++)
        assert_int_equal(pv_frame_next(pv_slice_of(bytes, len), PV_FRAME_STARTUP, 0, &frame), PV_MORE);
    assert_int_equal(pv_frame_next(pv_slice_of(bytes, sizeof(bytes)), PV_FRAME_STARTUP, 0, &frame), PV_OK);
    assert_int_equal(frame.tag, 0);
    assert_int_equal(frame.body.len, 4);
    /* The byte behind it is the caller's to notice. */
    assert_int_equal(frame.total_len, 8);
}

static void
a_frame_over_its_limit_says_what_to_skip(void **state)
{
    uint8_t room[5];
    struct pv_frame frame = {.body = {(const uint8_t *) "x", 1}};

    (void) state;
    assert_int_equal(pv_frame_next(head_of(room, 'Q', 2000), PV_FRAME_QUERY, QUERY_MAX, &frame), PV_LIMIT);
    assert_int_equal(frame.tag, 'Q');
    assert_int_equal(frame.total_len, 2001);
    assert_int_equal(frame.body.len, 0);
    assert_int_equal(pv_frame_next(head_of(room, 'D', PV_SERVER_HELD_BYTES_MAX), PV_FRAME_BACKEND, QUERY_MAX, &frame),
                     PV_LIMIT);
    assert_int_equal(frame.tag, 'D');
    assert_int_equal(frame.total_len, PV_SERVER_HELD_BYTES_MAX + 1);
    assert_int_equal(
        pv_frame_next(head_of(room, 'D', PV_SERVER_HELD_BYTES_MAX - 1), PV_FRAME_BACKEND, QUERY_MAX, &frame), PV_MORE);
}

static void
tls_is_told_from_a_startup_packet(void **state)
{
    (void) state;
    assert_true(pv_frame_is_tls(0x16));
    for (unsigned byte = 0; byte < 256; byte++)
        assert_int_equal(pv_frame_is_tls((uint8_t) byte), byte == 0x16);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_bounded_by_phase_and_class),
        cmocka_unit_test(every_small_message_has_the_small_limit),
        cmocka_unit_test(only_known_tags_pass),
        cmocka_unit_test(frames_come_whole_or_not_at_all),
        cmocka_unit_test(startup_frames_have_no_tag),
        cmocka_unit_test(a_frame_over_its_limit_says_what_to_skip),
        cmocka_unit_test(tls_is_told_from_a_startup_packet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
