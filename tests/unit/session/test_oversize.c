/*
 * Messages above their limits: hashed as they come, kept nowhere. The replayed tests/wire/too_long.txt has their order;
 * here are large ones, cut every way, and clients that leave amid one.
 */
#include "harness.h"

#include "proxy/crypto/mac.h"

/* A Parse's message is skipped above this: the limit of the harness and what else a Parse may hold. */
#define PARSE_LIMIT (4096u + PV_PARSE_EXTRA_BYTES)

static struct pv_buf
message_of(uint8_t tag, const char *name, size_t text_len)
{
    struct pv_buf out = {0};

    pv_buf_put_u8(&out, tag);
    pv_buf_put_u32(&out, 0);
    if (name != NULL)
        pv_buf_put(&out, name, strlen(name) + 1);
    for (size_t i = 0; i < text_len; i++)
        pv_buf_put_u8(&out, (uint8_t) ("SELECT "[i % 7]));
    pv_buf_put_u8(&out, 0);
    if (name != NULL)
        pv_buf_put_u16(&out, 0);
    assert_true(pv_buf_ok(&out));
    pv_buf_patch_u32(&out, 1, (uint32_t) (pv_buf_len(&out) - 1));
    return out;
}

static void
expect_reason(struct stage *stage, const char *said, struct pv_slice text)
{
    uint8_t digest[PV_SHA256_BYTES];
    struct pv_buf line = {0};

    assert_int_equal(pv_sha256(text, digest), PV_OK);
    pv_buf_printf(&line, "whole denied - (too_long: the statement is longer than limits.query_bytes; %s ", said);
    assert_int_equal(pv_hex_encode(pv_slice_of(digest, sizeof(digest)), &line), PV_OK);
    pv_buf_put_text(&line, ") failed rows=0 54000\n");
    assert_non_null(pv_buf_text(&stage->log));
    assert_non_null(strstr(pv_buf_text(&stage->log), pv_buf_text(&line)));
    pv_buf_clear(&line);
}

static void
feed(struct stage *stage, struct pv_slice bytes, size_t step)
{
    while (bytes.len > 0) {
        size_t len = bytes.len < step ? bytes.len : step;

        stage_client(stage, bytes.data, len);
        /* What does not fit is nowhere in memory, however it was cut. */
        assert_true(pv_session_held(stage->session) < 1024);
        bytes = pv_slice_of(bytes.data + len, bytes.len - len);
    }
}

static void
test_hashed_while_skipped(void **state)
{
    static const struct {
        uint8_t tag;
        const char *name;
        size_t len;
    } rows[] = {
        {PV_CLIENT_QUERY, NULL, 4097},
        {PV_CLIENT_QUERY, NULL, 300000},
        {PV_CLIENT_PARSE, "", PARSE_LIMIT},
        {PV_CLIENT_PARSE, "a name", PARSE_LIMIT + 70000},
    };
    static const size_t steps[] = {1, 7, 8191, SIZE_MAX};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        for (size_t k = 0; k < PV_COUNT_OF(steps); k++) {
            struct pv_buf message = message_of(rows[i].tag, rows[i].name, rows[i].len);
            struct pv_slice all = pv_buf_slice(&message);
            size_t text_at = 5 + (rows[i].name == NULL ? 0 : strlen(rows[i].name) + 1);
            struct stage stage;
            char said[64];

            stage_login(&stage, PV_PROTOCOL_3_0);
            stage_forget(&stage);
            feed(&stage, pv_slice_of(all.data, all.len - 1), steps[k]);
            /* Its last byte is not there: nothing is said, nothing logged. */
            assert_true(pv_buf_len(&stage.log) == 0 && pv_buf_len(&stage.server) == 0 && pv_buf_len(&stage.client) == 0);
            feed(&stage, pv_slice_of(all.data + all.len - 1, 1), 1);
            (void) snprintf(said, sizeof(said), "%zu bytes, sha256", rows[i].len);
            expect_reason(&stage, said, pv_slice_of(all.data + text_at, rows[i].len));
            assert_true(pv_buf_len(&stage.server) > 0 && pv_buf_len(&stage.server) < 100); /* the poison */
            assert_false(stage.is_closed);
            stage_close_all(&stage);
            pv_buf_clear(&message);
        }
}

/* The log knows how far it came, and of a message that an error has doomed it knows nothing, as of any other. */
static void
test_hangs_up_amid(void **state)
{
    static const char denied[] = "P\0\0\0\16\0DENY x\0\0\0";
    struct pv_buf message = message_of(PV_CLIENT_QUERY, NULL, 50000);
    struct pv_slice all = pv_buf_slice(&message);

    (void) state;
    for (int is_doomed = 0; is_doomed < 2; is_doomed++) {
        struct stage stage;

        stage_login(&stage, PV_PROTOCOL_3_0);
        stage_forget(&stage);
        if (is_doomed)
            stage_client(&stage, denied, sizeof(denied) - 1);
        feed(&stage, pv_slice_of(all.data, 20005), 997);
        pv_session_client_eof(stage.session, stage.now_us);
        assert_true(stage.is_closed);
        if (is_doomed) {
            assert_null(strstr(pv_buf_text(&stage.log), "too_long"));
            assert_non_null(strstr(pv_buf_text(&stage.log), "DENY x"));
        } else {
            expect_reason(&stage, "the client left after 20000 bytes of it, sha256 of these",
                          pv_slice_of(all.data + 5, 20000));
        }
        stage_close_all(&stage);
    }
    pv_buf_clear(&message);
}

/* Strings that do not end, and ones that end too early: a text is what PostgreSQL would take for it. */
static void
test_odd_messages(void **state)
{
    struct pv_buf message = message_of(PV_CLIENT_QUERY, NULL, 5000);
    struct stage stage;

    (void) state;
    message.data[message.start + 5 + 10] = 0;
    stage_login(&stage, PV_PROTOCOL_3_0);
    stage_forget(&stage);
    feed(&stage, pv_buf_slice(&message), 13);
    expect_reason(&stage, "10 bytes, sha256", pv_slice_of("SELECT SEL", 10));
    stage_close_all(&stage);
    pv_buf_clear(&message);

    /* A name without an end: no text at all. */
    message = message_of(PV_CLIENT_PARSE, NULL, PARSE_LIMIT + 100);
    message.data[message.start + pv_buf_len(&message) - 1] = 'x';
    stage_login(&stage, PV_PROTOCOL_3_0);
    stage_forget(&stage);
    feed(&stage, pv_buf_slice(&message), 65536);
    expect_reason(&stage, "0 bytes, sha256", pv_slice_of("", 0));
    stage_close_all(&stage);
    pv_buf_clear(&message);
}

/* Parameters above their limit leave their record as well, and the session goes on behind the Sync. */
static void
test_parameters(void **state)
{
    static const char sync[] = "S\0\0\0\4";
    struct pv_buf message = message_of(PV_CLIENT_BIND, "", PV_BIND_BYTES_MAX);
    struct stage stage;

    (void) state;
    stage_login(&stage, PV_PROTOCOL_3_0);
    stage_forget(&stage);
    feed(&stage, pv_buf_slice(&message), 65536);
    stage_client(&stage, sync, sizeof(sync) - 1);
    assert_string_equal(pv_buf_text(&stage.log),
                        "whole denied - (too_long: the parameters are longer than the limit) failed rows=0 54000\n");
    assert_false(stage.is_closed);
    stage_close_all(&stage);
    pv_buf_clear(&message);
}

/* Each allocation failing in turn: the statement is refused and logged, or the session ends; it never goes on untold. */
static void
test_no_memory(void **state)
{
    struct pv_buf message = message_of(PV_CLIENT_QUERY, NULL, 9000);
    unsigned refused = 0, ended = 0;

    (void) state;
    for (long nth = 1; nth <= 60; nth++) {
        struct stage stage;

        stage_login(&stage, PV_PROTOCOL_3_0);
        /* The stage's own buffers do not grow any more: what fails is the session's. */
        for (int i = 0; i < 3; i++) {
            struct pv_buf *buf = i == 0 ? &stage.client : i == 1 ? &stage.server : &stage.log;

            for (int k = 0; k < 200; k++)
                pv_buf_put(buf, "        ", 8);
            pv_buf_truncate(buf, 0);
        }
        pv_alloc_fail_at(nth);
        stage_client(&stage, pv_buf_slice(&message).data, 6000);
        stage_client(&stage, pv_buf_slice(&message).data + 6000, pv_buf_len(&message) - 6000);
        pv_alloc_fail_at(0);
        if (stage.is_closed)
            ended++;
        else {
            assert_non_null(strstr(pv_buf_text(&stage.log), "9000 bytes, sha256"));
            refused++;
        }
        stage_close_all(&stage);
    }
    assert_true(refused > 0 && ended > 0);
    pv_buf_clear(&message);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashed_while_skipped), cmocka_unit_test(test_hangs_up_amid),
        cmocka_unit_test(test_odd_messages),         cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
