#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/wire/roundtrip.h"

#define SLICE(text) pv_slice_of((text), sizeof(text) - 1)

static int
arena_setup(void **state)
{
    *state = pv_arena_new(0);
    return *state == NULL;
}

static int
arena_teardown(void **state)
{
    pv_arena_free(*state);
    return 0;
}

/* The body alone in memory of its own size, so that a sanitizer sees a read past its end. */
static struct pv_slice
exact_copy(const char *body, size_t len)
{
    uint8_t *copy = pv_alloc(len);

    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, body, len);
    return pv_slice_of(copy, len);
}

static void
exact_free(struct pv_slice copy)
{
    union {
        const uint8_t *borrowed;
        void *owned;
    } memory = {.borrowed = copy.data};

    pv_free(memory.owned);
}

static enum pv_status
roundtrip_exact(const struct roundtrip *row, struct pv_arena *arena, size_t len, char extra)
{
    char longer[512];
    struct pv_slice body;
    struct pv_buf out = {0};
    enum pv_status status;

    memcpy(longer, row->body, row->body_len);
    longer[row->body_len] = extra;
    body = exact_copy(longer, len);
    status = row->fn(body, arena, &out);
    if (status != PV_OK)
        assert_int_equal(pv_buf_len(&out), 0);
    exact_free(body);
    pv_buf_clear(&out);
    return status;
}

static void
every_message_round_trips(void **state)
{
    for (size_t i = 0; i < PV_COUNT_OF(roundtrips); i++) {
        const struct roundtrip *row = &roundtrips[i];
        struct pv_slice body = exact_copy(row->body, row->body_len);
        struct pv_buf out = {0};
        struct pv_frame frame;

        pv_buf_put_text(&out, "before");
        if (row->fn(body, *state, &out) != PV_OK)
            fail_msg("%s was refused", row->name);
        pv_buf_consume(&out, strlen("before"));
        assert_int_equal(pv_frame_next(pv_buf_slice(&out), row->phase, PV_QUERY_BYTES_DEFAULT, &frame), PV_OK);
        assert_int_equal(frame.tag, row->tag);
        assert_int_equal(frame.total_len, pv_buf_len(&out));
        if (!pv_slice_equal(frame.body, body))
            fail_msg("%s came back otherwise", row->name);
        exact_free(body);
        pv_buf_clear(&out);
    }
}

static void
every_proper_prefix_and_one_byte_more_are_refused(void **state)
{
    for (size_t i = 0; i < PV_COUNT_OF(roundtrips); i++) {
        const struct roundtrip *row = &roundtrips[i];

        for (size_t len = 0; (row->loose_end & LOOSE_PREFIX) == 0 && len < row->body_len; len++)
            if (roundtrip_exact(row, *state, len, 0) != PV_PROTOCOL)
                fail_msg("%s of %zu bytes passed", row->name, len);
        if ((row->loose_end & LOOSE_MORE) != 0)
            continue;
        if (roundtrip_exact(row, *state, row->body_len + 1, 0) != PV_PROTOCOL ||
            roundtrip_exact(row, *state, row->body_len + 1, 'x') != PV_PROTOCOL)
            fail_msg("%s with one byte more passed", row->name);
    }
}

static void
every_failing_allocation_is_said(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(roundtrips); i++) {
        bool is_done = false;

        for (long nth = 1; !is_done; nth++) {
            struct pv_arena *arena = pv_arena_new(16);
            struct pv_buf out = {0};
            enum pv_status status;

            assert_non_null(arena);
            pv_alloc_fail_at(nth);
            status = roundtrips[i].fn(pv_slice_of(roundtrips[i].body, roundtrips[i].body_len), arena, &out);
            pv_alloc_fail_at(0);
            is_done = status == PV_OK;
            if (!is_done) {
                assert_int_equal(status, PV_NOMEM);
                assert_int_equal(pv_buf_len(&out), 0);
            }
            /* At least the buffer's own allocation can fail. */
            if (nth == 1)
                assert_false(is_done);
            pv_buf_clear(&out);
            pv_arena_free(arena);
        }
    }
}

static void
startup_kinds(void **state)
{
    static const struct {
        const char *body;
        size_t len;
        enum pv_status status;
        enum pv_msg_startup_kind kind;
    } rows[] = {
        {BODY("\0\3\0\0\0"), PV_OK, PV_STARTUP_SESSION},
        {BODY("\0\3\x27\x0f\0"), PV_OK, PV_STARTUP_SESSION},
        {BODY("\0\2\0\0\0"), PV_OK, PV_STARTUP_UNSUPPORTED},
        {BODY("\0\4\0\0\0"), PV_OK, PV_STARTUP_UNSUPPORTED},
        {BODY("\x04\xd2\x16\x2f"), PV_OK, PV_STARTUP_SSL},
        {BODY("\x04\xd2\x16\x30"), PV_OK, PV_STARTUP_GSSENC},
        {BODY("\x04\xd2\x16\x2e\0\0\0\1key!"), PV_OK, PV_STARTUP_CANCEL},
        {BODY("\x04\xd2\x16\x2f\0"), PV_PROTOCOL, PV_STARTUP_SSL},
        {BODY("\x04\xd2\x16\x31"), PV_OK, PV_STARTUP_UNSUPPORTED},
        {BODY("\0\3\0"), PV_PROTOCOL, PV_STARTUP_SESSION},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        enum pv_msg_startup_kind kind = PV_STARTUP_SESSION;
        uint32_t code;

        assert_int_equal(pv_msg_startup_kind_read(pv_slice_of(rows[i].body, rows[i].len), &kind, &code),
                         rows[i].status);
        if (rows[i].status == PV_OK)
            assert_int_equal(kind, rows[i].kind);
    }
}

static void
startup_fields(void **state)
{
    struct pv_msg_startup startup;

    assert_int_equal(pv_msg_startup_read(SLICE("\0\3\0\2user\0alice\0empty\0\0_pq_.x\0y\0\0"), *state, &startup),
                     PV_OK);
    assert_int_equal(startup.version, PV_PROTOCOL_3_2);
    assert_int_equal(startup.param_count, 3);
    assert_true(pv_slice_is(startup.params[0].name, "user"));
    assert_true(pv_slice_is(*pv_msg_startup_get(&startup, "user"), "alice"));
    assert_true(pv_slice_is(*pv_msg_startup_get(&startup, "empty"), ""));
    assert_true(pv_slice_is(*pv_msg_startup_get(&startup, "_pq_.x"), "y"));
    assert_null(pv_msg_startup_get(&startup, "User"));
    assert_int_equal(pv_msg_startup_read(SLICE("\0\3\0\0\0"), *state, &startup), PV_OK);
    assert_int_equal(startup.param_count, 0);
}

static void
startup_refusals(void **state)
{
    struct pv_msg_startup startup = {.version = 7};
    struct pv_buf body = {0};

    /* A name that stands twice; no terminator; a terminator in the middle; another major version. */
    assert_int_equal(pv_msg_startup_read(SLICE("\0\3\0\0user\0a\0user\0b\0\0"), *state, &startup), PV_PROTOCOL);
    assert_int_equal(pv_msg_startup_read(SLICE("\0\3\0\0user\0a\0"), *state, &startup), PV_PROTOCOL);
    assert_int_equal(pv_msg_startup_read(SLICE("\0\3\0\0\0user\0a\0\0"), *state, &startup), PV_PROTOCOL);
    assert_int_equal(pv_msg_startup_read(SLICE("\0\2\0\0\0"), *state, &startup), PV_PROTOCOL);
    pv_buf_put_u32(&body, PV_PROTOCOL_3_0);
    for (unsigned i = 0; i < PV_STARTUP_PARAMS_MAX + 1; i++) {
        pv_buf_printf(&body, "p%u", i);
        pv_buf_put(&body, "\0v", 3);
    }
    pv_buf_put_u8(&body, 0);
    assert_int_equal(pv_msg_startup_read(pv_buf_slice(&body), *state, &startup), PV_LIMIT);
    assert_int_equal(startup.version, 7);
    pv_buf_clear(&body);
}

static void
cancel_fields_and_key_lengths(void **state)
{
    static const size_t lens[] = {0, 3, 4, 32, 256, 257};
    struct pv_msg_cancel cancel;
    struct pv_msg_backend_key key;
    uint8_t body[8 + 300] = {0x04, 0xd2, 0x16, 0x2e, 0, 0, 0x10, 0x01, 'k'};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(lens); i++) {
        bool is_sound = lens[i] >= 4 && lens[i] <= 256;
        enum pv_status status = is_sound ? PV_OK : PV_PROTOCOL;
        struct pv_buf out = {0};

        assert_int_equal(pv_msg_cancel_read(pv_slice_of(body, 8 + lens[i]), &cancel), status);
        assert_int_equal(pv_msg_backend_key_read(pv_slice_of(body + 4, 4 + lens[i]), &key), status);
        cancel.key = key.key = pv_slice_of(body + 8, lens[i]);
        cancel.pid = key.pid = 4097;
        assert_int_equal(pv_msg_cancel_write(&out, &cancel), is_sound ? PV_OK : PV_INVALID);
        assert_int_equal(pv_msg_backend_key_write(&out, &key), is_sound ? PV_OK : PV_INVALID);
        assert_int_equal(pv_buf_len(&out), is_sound ? 12 + 9 + 2 * lens[i] : 0);
        pv_buf_clear(&out);
    }
    assert_int_equal(pv_msg_cancel_read(pv_slice_of(body, 12), &cancel), PV_OK);
    assert_int_equal(cancel.pid, 4097);
    assert_int_equal(cancel.key.data[0], 'k');
    body[3] = 0x2f;
    assert_int_equal(pv_msg_cancel_read(pv_slice_of(body, 12), &cancel), PV_PROTOCOL);
}

static void
parse_fields(void **state)
{
    struct pv_msg_parse parse;

    assert_int_equal(pv_msg_parse_read(SLICE("s1\0SELECT $1\0\0\2\0\0\0\x17\xff\xff\xff\xff"), *state, &parse), PV_OK);
    assert_true(pv_slice_is(parse.statement, "s1"));
    assert_true(pv_slice_is(parse.text, "SELECT $1"));
    assert_int_equal(parse.type_count, 2);
    assert_int_equal(parse.types[0], 23);
    assert_int_equal(parse.types[1], UINT32_MAX);
    /* A count that the body does not hold costs no memory. */
    assert_int_equal(pv_msg_parse_read(SLICE("\0\0\xff\xff\0\0\0\1"), *state, &parse), PV_PROTOCOL);
}

static void
bind_fields(void **state)
{
    struct pv_msg_bind bind;

    assert_int_equal(
        pv_msg_bind_read(SLICE("por\0stm\0\0\1\0\1\0\3\0\0\0\2h\0\0\0\0\0\xff\xff\xff\xff\0\2\0\0\0\1"), *state, &bind),
        PV_OK);
    assert_true(pv_slice_is(bind.portal, "por"));
    assert_true(pv_slice_is(bind.statement, "stm"));
    assert_int_equal(bind.param_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pv_msg_bind_format(&bind, i), 1);
    assert_true(pv_slice_equal(bind.params[0].bytes, SLICE("h\0")));
    assert_false(bind.params[1].is_null);
    assert_int_equal(bind.params[1].bytes.len, 0);
    assert_true(bind.params[2].is_null);
    assert_int_equal(bind.result_format_count, 2);
    assert_int_equal(bind.result_formats[0], 0);
    assert_int_equal(bind.result_formats[1], 1);
    assert_int_equal(pv_msg_bind_read(SLICE("\0\0\0\2\0\1\0\0\0\2\0\0\0\0\0\0\0\0\0\0"), *state, &bind), PV_OK);
    assert_int_equal(pv_msg_bind_format(&bind, 0), 1);
    assert_int_equal(pv_msg_bind_format(&bind, 1), 0);
    assert_int_equal(pv_msg_bind_read(SLICE("\0\0\0\0\0\1\0\0\0\0\0\0"), *state, &bind), PV_OK);
    assert_int_equal(pv_msg_bind_format(&bind, 0), 0);
}

static void
bind_refusals(void **state)
{
    static const struct {
        const char *body;
        size_t len;
        enum pv_status status;
    } rows[] = {
        {BODY("\0\0\0\1\0\2\0\0\0\0"), PV_INVALID},              /* parameter format 2 */
        {BODY("\0\0\0\0\0\0\0\1\0\2"), PV_INVALID},              /* result format 2 */
        {BODY("\0\0\0\2\0\0\0\0\0\0\0\0"), PV_PROTOCOL},         /* two formats for no parameter */
        {BODY("\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"), PV_PROTOCOL}, /* length -2 */
        {BODY("\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"), PV_PROTOCOL}, /* length beyond the body */
        {BODY("\0\0\0\0\xff\xff\0\0"), PV_PROTOCOL},             /* 65535 parameters that are not there */
    };
    struct pv_msg_bind bind;

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        assert_int_equal(pv_msg_bind_read(pv_slice_of(rows[i].body, rows[i].len), *state, &bind), rows[i].status);
}

static void
small_client_messages_fields(void **state)
{
    struct pv_msg_target target;
    struct pv_msg_execute execute;
    struct pv_msg_sasl_initial initial;
    struct pv_slice text;

    (void) state;
    assert_int_equal(pv_msg_target_read(SLICE("Pname\0"), &target), PV_OK);
    assert_int_equal(target.kind, PV_TARGET_PORTAL);
    assert_true(pv_slice_is(target.name, "name"));
    assert_int_equal(pv_msg_target_read(SLICE("Xname\0"), &target), PV_PROTOCOL);
    assert_int_equal(pv_msg_execute_read(SLICE("p\0\xff\xff\xff\xff"), &execute), PV_OK);
    assert_true(pv_slice_is(execute.portal, "p"));
    assert_int_equal(execute.row_count_max, -1);
    assert_int_equal(pv_msg_sasl_initial_read(SLICE("M\0\0\0\0\2ab"), &initial), PV_OK);
    assert_true(pv_slice_is(initial.mechanism, "M"));
    assert_true(initial.has_data);
    assert_true(pv_slice_is(initial.data, "ab"));
    assert_int_equal(pv_msg_sasl_initial_read(SLICE("M\0\xff\xff\xff\xff"), &initial), PV_OK);
    assert_false(initial.has_data);
    assert_int_equal(pv_msg_sasl_initial_read(SLICE("M\0\xff\xff\xff\xfe"), &initial), PV_PROTOCOL);
    assert_int_equal(pv_msg_text_read(SLICE("SELECT 1\0"), &text), PV_OK);
    assert_true(pv_slice_is(text, "SELECT 1"));
    /* Text behind an embedded NUL would be seen by one reader and not by another. */
    assert_int_equal(pv_msg_text_read(SLICE("SELECT 1\0; DROP\0"), &text), PV_PROTOCOL);
}

static void
auth_fields(void **state)
{
    struct pv_msg_auth auth;

    (void) state;
    assert_int_equal(pv_msg_auth_read(SLICE("\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"), &auth), PV_OK);
    assert_int_equal(auth.kind, PV_AUTH_SASL);
    assert_true(pv_msg_auth_offers(&auth, "SCRAM-SHA-256"));
    assert_true(pv_msg_auth_offers(&auth, "SCRAM-SHA-256-PLUS"));
    assert_false(pv_msg_auth_offers(&auth, "SCRAM-SHA-1"));
    assert_false(pv_msg_auth_offers(&auth, ""));
    assert_int_equal(pv_msg_auth_read(SLICE("\0\0\0\5salt"), &auth), PV_OK);
    assert_int_equal(auth.kind, PV_AUTH_MD5);
    assert_true(pv_slice_is(auth.data, "salt"));
    assert_int_equal(pv_msg_auth_read(SLICE("\0\0\0\x0br=1"), &auth), PV_OK);
    assert_int_equal(auth.kind, PV_AUTH_SASL_CONTINUE);
    assert_true(pv_slice_is(auth.data, "r=1"));
    assert_int_equal(pv_msg_auth_read(SLICE("\0\0\0\7"), &auth), PV_INVALID);
    assert_int_equal(pv_msg_auth_read(SLICE("\0\0\0\2"), &auth), PV_INVALID);
}

static void
small_server_messages_fields(void **state)
{
    struct pv_msg_parameter_status status;
    struct pv_msg_backend_key key;
    struct pv_msg_notification notification;
    uint8_t transaction = 0;

    (void) state;
    assert_int_equal(pv_msg_parameter_status_read(SLICE("a\0b\0"), &status), PV_OK);
    assert_true(pv_slice_is(status.name, "a"));
    assert_true(pv_slice_is(status.value, "b"));
    assert_int_equal(pv_msg_backend_key_read(SLICE("\0\0\1\0abcde"), &key), PV_OK);
    assert_int_equal(key.pid, 256);
    assert_true(pv_slice_is(key.key, "abcde"));
    assert_int_equal(pv_msg_notification_read(SLICE("\0\0\1\0c\0p\0"), &notification), PV_OK);
    assert_int_equal(notification.pid, 256);
    assert_true(pv_slice_is(notification.channel, "c"));
    assert_true(pv_slice_is(notification.payload, "p"));
    assert_int_equal(pv_msg_ready_read(SLICE("E"), &transaction), PV_OK);
    assert_int_equal(transaction, 'E');
    assert_int_equal(pv_msg_ready_read(SLICE("X"), &transaction), PV_PROTOCOL);
    assert_int_equal(transaction, 'E');
}

static void
notice_tolerates_what_servers_send(void **state)
{
    struct pv_msg_notice notice;

    (void) state;
    /* No field at all. */
    assert_int_equal(pv_msg_notice_read(SLICE("\0"), &notice), PV_OK);
    for (size_t i = 0; i < PV_NOTICE_FIELD_COUNT; i++)
        assert_null(notice.fields[i].data);
    /* An unknown field, a field twice, an empty one. */
    assert_int_equal(pv_msg_notice_read(SLICE("zwhat\0C42501\0C42601\0M\0\0"), &notice), PV_OK);
    assert_true(pv_slice_is(notice.fields[PV_NOTICE_SQLSTATE], "42601"));
    assert_non_null(notice.fields[PV_NOTICE_MESSAGE].data);
    assert_int_equal(notice.fields[PV_NOTICE_MESSAGE].len, 0);
    assert_null(notice.fields[PV_NOTICE_DETAIL].data);
    assert_int_equal(pv_msg_notice_read(SLICE("C42501\0"), &notice), PV_PROTOCOL);
    assert_int_equal(pv_msg_notice_read(SLICE("C42501"), &notice), PV_PROTOCOL);
    assert_int_equal(pv_msg_notice_read(SLICE("C42501\0\0M"), &notice), PV_PROTOCOL);
}

static void
notice_every_field_by_its_code(void **state)
{
    static const struct {
        enum pv_msg_notice_field field;
        char code;
    } rows[] = {
#define PV_X(name, letter) {PV_NOTICE_##name, letter},
        PV_NOTICE_FIELDS(PV_X)
#undef PV_X
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        char body[] = {rows[i].code, 'v', 0, 0};
        struct pv_msg_notice notice;
        struct pv_buf out = {0};

        assert_int_equal(pv_msg_notice_read(pv_slice_of(body, 4), &notice), PV_OK);
        for (size_t k = 0; k < PV_NOTICE_FIELD_COUNT; k++)
            assert_int_equal(notice.fields[k].data != NULL, k == rows[i].field);
        assert_int_equal(pv_msg_notice_write(&out, PV_SERVER_NOTICE_RESPONSE, &notice), PV_OK);
        assert_true(pv_slice_equal(pv_slice_of(pv_buf_slice(&out).data + 5, 4), pv_slice_of(body, 4)));
        pv_buf_clear(&out);
    }
}

static void
notice_made_by_us(void **state)
{
    struct pv_msg_notice notice;
    struct pv_buf out = {0};

    (void) state;
    pv_msg_notice_init(&notice, "ERROR", "42501", "not an approved question");
    pv_msg_notice_set(&notice, PV_NOTICE_HINT, "ask otherwise");
    pv_msg_notice_set(&notice, PV_NOTICE_DETAIL, NULL);
    assert_int_equal(pv_msg_notice_write(&out, PV_SERVER_ERROR_RESPONSE, &notice), PV_OK);
    assert_true(pv_slice_equal(
        pv_buf_slice(&out), SLICE("E\0\0\0\x43SERROR\0VERROR\0C42501\0Mnot an approved question\0Hask otherwise\0\0")));
    pv_buf_clear(&out);
}

static void
row_description_fields(void **state)
{
    struct pv_msg_row_description rows;

    assert_int_equal(
        pv_msg_row_description_read(SLICE("\0\1id\0\0\0\x40\1\0\2\0\0\0\x17\xff\xff\0\0\0\x20\0\1"), *state, &rows),
        PV_OK);
    assert_int_equal(rows.field_count, 1);
    assert_true(pv_slice_is(rows.fields[0].name, "id"));
    assert_int_equal(rows.fields[0].table_oid, 16385);
    assert_int_equal(rows.fields[0].column_number, 2);
    assert_int_equal(rows.fields[0].type_oid, 23);
    assert_int_equal(rows.fields[0].type_len, -1);
    assert_int_equal(rows.fields[0].type_modifier, 32);
    assert_int_equal(rows.fields[0].format, 1);
    /* Format 2; more columns than the body can hold. */
    assert_int_equal(
        pv_msg_row_description_read(SLICE("\0\1id\0\0\0\x40\1\0\2\0\0\0\x17\xff\xff\0\0\0\x20\0\2"), *state, &rows),
        PV_PROTOCOL);
    assert_int_equal(pv_msg_row_description_read(SLICE("\xff\xff\0"), *state, &rows), PV_PROTOCOL);
}

static void
data_row_fields(void **state)
{
    struct pv_msg_value columns[2];
    size_t count = 0;

    (void) state;
    assert_int_equal(pv_msg_data_row_read(SLICE("\0\2\0\0\0\2hi\xff\xff\xff\xff"), columns, 2, &count), PV_OK);
    assert_int_equal(count, 2);
    assert_true(pv_slice_is(columns[0].bytes, "hi"));
    assert_false(columns[0].is_null);
    assert_true(columns[1].is_null);
    assert_int_equal(pv_msg_data_row_read(SLICE("\0\2\0\0\0\2hi\xff\xff\xff\xff"), columns, 1, &count), PV_LIMIT);
    assert_int_equal(pv_msg_data_row_read(SLICE("\0\1\0\0\0\3hi"), columns, 2, &count), PV_PROTOCOL);
    assert_int_equal(pv_msg_data_row_read(SLICE("\0\1\xff\xff\xff\xf0"), columns, 2, &count), PV_PROTOCOL);
    assert_int_equal(count, 2);
}

static void
command_tags_count_rows(void **state)
{
    static const struct {
        const char *text;
        enum pv_status status;
        uint64_t rows;
    } rows[] = {
        {"SELECT 5", PV_OK, 5},
        {"INSERT 0 12", PV_OK, 12},
        {"COPY 0", PV_OK, 0},
        {"SELECT 18446744073709551615", PV_OK, UINT64_MAX},
        {"SELECT 18446744073709551616", PV_NOTFOUND, 0},
        {"BEGIN", PV_NOTFOUND, 0},
        {"CREATE TABLE", PV_NOTFOUND, 0},
        {"SELECT ", PV_NOTFOUND, 0},
        {"SELECT -1", PV_NOTFOUND, 0},
        {"5", PV_NOTFOUND, 0},
        {"", PV_NOTFOUND, 0},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        uint64_t count = 0;

        assert_int_equal(pv_msg_command_rows(pv_slice_cstr(rows[i].text), &count), rows[i].status);
        assert_true(count == rows[i].rows);
    }
}

static void
copy_and_parameter_and_negotiate_fields(void **state)
{
    struct pv_msg_copy_response copy;
    struct pv_msg_parameter_description parameters;
    struct pv_msg_negotiate negotiate;

    assert_int_equal(pv_msg_copy_response_read(SLICE("\1\0\2\0\1\0\0"), *state, &copy), PV_OK);
    assert_int_equal(copy.format, 1);
    assert_int_equal(copy.column_count, 2);
    assert_int_equal(copy.formats[0], 1);
    assert_int_equal(copy.formats[1], 0);
    /* Format 2; a binary column in a text copy. */
    assert_int_equal(pv_msg_copy_response_read(SLICE("\2\0\0"), *state, &copy), PV_PROTOCOL);
    assert_int_equal(pv_msg_copy_response_read(SLICE("\0\0\1\0\1"), *state, &copy), PV_PROTOCOL);
    assert_int_equal(pv_msg_parameter_description_read(SLICE("\0\1\0\0\1\0"), *state, &parameters), PV_OK);
    assert_int_equal(parameters.type_count, 1);
    assert_int_equal(parameters.types[0], 256);
    assert_int_equal(pv_msg_negotiate_read(SLICE("\0\3\0\2\0\0\0\1_pq_.x\0"), *state, &negotiate), PV_OK);
    assert_int_equal(negotiate.version, PV_PROTOCOL_3_2);
    assert_int_equal(negotiate.option_count, 1);
    assert_true(pv_slice_is(negotiate.options[0], "_pq_.x"));
    assert_int_equal(pv_msg_negotiate_read(SLICE("\0\3\0\2\xff\xff\xff\xff_pq_.x\0"), *state, &negotiate), PV_PROTOCOL);
}

static void
writers_refuse_what_no_frame_can_carry(void **state)
{
    static const uint16_t bad_format = 2;
    static const uint16_t two_formats[2] = {0, 0};
    static const uint32_t oids[1] = {0};
    struct pv_buf out = {0};
    struct pv_msg_parse parse = {.text = SLICE("SELECT 1\0; DROP")};
    struct pv_msg_bind bind = {.format_count = 1, .formats = &bad_format};
    struct pv_msg_startup_param param = {.name = {NULL, 0}, .value = SLICE("v")};
    struct pv_msg_startup startup = {.version = PV_PROTOCOL_3_0, .param_count = 1, .params = &param};
    struct pv_msg_auth auth = {.kind = PV_AUTH_MD5, .data = SLICE("sal")};

    (void) state;
    pv_buf_put_text(&out, "kept");
    assert_int_equal(pv_msg_parse_write(&out, &parse), PV_INVALID);
    parse = (struct pv_msg_parse){.type_count = 65536, .types = oids};
    assert_int_equal(pv_msg_parse_write(&out, &parse), PV_INVALID);
    assert_int_equal(pv_msg_bind_write(&out, &bind), PV_INVALID);
    bind = (struct pv_msg_bind){.format_count = 2, .formats = two_formats};
    assert_int_equal(pv_msg_bind_write(&out, &bind), PV_INVALID);
    assert_int_equal(pv_msg_startup_write(&out, &startup), PV_INVALID);
    assert_int_equal(pv_msg_auth_write(&out, &auth), PV_INVALID);
    assert_int_equal(pv_msg_ready_write(&out, 'X'), PV_INVALID);
    assert_int_equal(pv_msg_text_write(&out, PV_CLIENT_QUERY, SLICE("a\0b")), PV_INVALID);
    assert_true(pv_slice_is(pv_buf_slice(&out), "kept"));
    assert_true(pv_buf_ok(&out));
    pv_buf_clear(&out);
}

static void
raw_bytes_are_framed_as_they_are(void **state)
{
    struct pv_buf out = {0};

    (void) state;
    assert_int_equal(pv_msg_bytes_write(&out, PV_SERVER_COPY_DATA, SLICE("a\0b")), PV_OK);
    assert_true(pv_slice_equal(pv_buf_slice(&out), SLICE("d\0\0\0\7a\0b")));
    pv_buf_clear(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_message_round_trips, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(every_proper_prefix_and_one_byte_more_are_refused, arena_setup, arena_teardown),
        cmocka_unit_test(every_failing_allocation_is_said),
        cmocka_unit_test(startup_kinds),
        cmocka_unit_test_setup_teardown(startup_fields, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(startup_refusals, arena_setup, arena_teardown),
        cmocka_unit_test(cancel_fields_and_key_lengths),
        cmocka_unit_test_setup_teardown(parse_fields, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(bind_fields, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(bind_refusals, arena_setup, arena_teardown),
        cmocka_unit_test(small_client_messages_fields),
        cmocka_unit_test(auth_fields),
        cmocka_unit_test(small_server_messages_fields),
        cmocka_unit_test(notice_tolerates_what_servers_send),
        cmocka_unit_test(notice_every_field_by_its_code),
        cmocka_unit_test(notice_made_by_us),
        cmocka_unit_test_setup_teardown(row_description_fields, arena_setup, arena_teardown),
        cmocka_unit_test(data_row_fields),
        cmocka_unit_test(command_tags_count_rows),
        cmocka_unit_test_setup_teardown(copy_and_parameter_and_negotiate_fields, arena_setup, arena_teardown),
        cmocka_unit_test(writers_refuse_what_no_frame_can_carry),
        cmocka_unit_test(raw_bytes_are_framed_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
