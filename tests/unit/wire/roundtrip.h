/*
 * Every message of the wire as one table: who sends it, its tag, a read followed by
 * a write, and a sample body. Used by the unit test and by the fuzz target.
 */
#ifndef PV_TEST_ROUNDTRIP_H
#define PV_TEST_ROUNDTRIP_H

#include "proxy/wire/frame.h"
#include "proxy/wire/message.h"

/* Reads the body and appends what was read as a frame. */
typedef enum pv_status (*roundtrip_fn)(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out);

#define ROUNDTRIP_ARENA(name) \
    static enum pv_status roundtrip_##name(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out) \
    { \
        struct pv_msg_##name message; \
        enum pv_status status = pv_msg_##name##_read(body, arena, &message); \
\
        return status == PV_OK ? pv_msg_##name##_write(out, &message) : status; \
    }
#define ROUNDTRIP_PLAIN(name) \
    static enum pv_status roundtrip_##name(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out) \
    { \
        struct pv_msg_##name message; \
        enum pv_status status = pv_msg_##name##_read(body, &message); \
\
        (void) arena; \
        return status == PV_OK ? pv_msg_##name##_write(out, &message) : status; \
    }
#define ROUNDTRIP_TAGGED(fn, type, tag, read_args) \
    static enum pv_status roundtrip_##fn(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out) \
    { \
        struct pv_msg_##type message; \
        enum pv_status status = pv_msg_##type##_read read_args; \
\
        (void) arena; \
        return status == PV_OK ? pv_msg_##type##_write(out, tag, &message) : status; \
    }
#define ROUNDTRIP_TEXT(fn, tag) \
    static enum pv_status roundtrip_##fn(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out) \
    { \
        struct pv_slice text; \
        enum pv_status status = pv_msg_text_read(body, &text); \
\
        (void) arena; \
        return status == PV_OK ? pv_msg_text_write(out, tag, text) : status; \
    }
#define ROUNDTRIP_EMPTY(fn, tag) \
    static enum pv_status roundtrip_##fn(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out) \
    { \
        enum pv_status status = pv_msg_empty_read(body); \
\
        (void) arena; \
        return status == PV_OK ? pv_msg_empty_write(out, tag) : status; \
    }

ROUNDTRIP_ARENA(startup)
ROUNDTRIP_PLAIN(cancel)
ROUNDTRIP_ARENA(parse)
ROUNDTRIP_ARENA(bind)
ROUNDTRIP_PLAIN(execute)
ROUNDTRIP_TAGGED(describe, target, PV_CLIENT_DESCRIBE, (body, &message))
ROUNDTRIP_TAGGED(close, target, PV_CLIENT_CLOSE, (body, &message))
ROUNDTRIP_PLAIN(sasl_initial)
ROUNDTRIP_TEXT(query, PV_CLIENT_QUERY)
ROUNDTRIP_TEXT(password, PV_CLIENT_PASSWORD)
ROUNDTRIP_TEXT(copy_fail, PV_CLIENT_COPY_FAIL)
ROUNDTRIP_EMPTY(flush, PV_CLIENT_FLUSH)
ROUNDTRIP_EMPTY(sync, PV_CLIENT_SYNC)
ROUNDTRIP_EMPTY(terminate, PV_CLIENT_TERMINATE)
ROUNDTRIP_EMPTY(client_copy_done, PV_CLIENT_COPY_DONE)
ROUNDTRIP_PLAIN(parameter_status)
ROUNDTRIP_PLAIN(backend_key)
ROUNDTRIP_TAGGED(error_response, notice, PV_SERVER_ERROR_RESPONSE, (body, &message))
ROUNDTRIP_TAGGED(notice_response, notice, PV_SERVER_NOTICE_RESPONSE, (body, &message))
ROUNDTRIP_ARENA(row_description)
ROUNDTRIP_ARENA(parameter_description)
ROUNDTRIP_TAGGED(copy_out, copy_response, PV_SERVER_COPY_OUT_RESPONSE, (body, arena, &message))
ROUNDTRIP_TAGGED(copy_in, copy_response, PV_SERVER_COPY_IN_RESPONSE, (body, arena, &message))
ROUNDTRIP_TAGGED(copy_both, copy_response, PV_SERVER_COPY_BOTH_RESPONSE, (body, arena, &message))
ROUNDTRIP_PLAIN(notification)
ROUNDTRIP_ARENA(negotiate)
ROUNDTRIP_TEXT(command_complete, PV_SERVER_COMMAND_COMPLETE)
ROUNDTRIP_EMPTY(bind_complete, PV_SERVER_BIND_COMPLETE)
ROUNDTRIP_EMPTY(close_complete, PV_SERVER_CLOSE_COMPLETE)
ROUNDTRIP_EMPTY(parse_complete, PV_SERVER_PARSE_COMPLETE)
ROUNDTRIP_EMPTY(empty_query, PV_SERVER_EMPTY_QUERY)
ROUNDTRIP_EMPTY(no_data, PV_SERVER_NO_DATA)
ROUNDTRIP_EMPTY(portal_suspended, PV_SERVER_PORTAL_SUSPENDED)
ROUNDTRIP_EMPTY(server_copy_done, PV_SERVER_COPY_DONE)

/* The SASL list is written by name, so this one splits it up and joins it again. */
static enum pv_status
roundtrip_auth(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out)
{
    struct pv_msg_auth auth;
    enum pv_status status = pv_msg_auth_read(body, &auth);
    const char *names[64];
    size_t count = 0;

    (void) arena;
    if (status != PV_OK || auth.kind != PV_AUTH_SASL)
        return status == PV_OK ? pv_msg_auth_write(out, &auth) : status;
    for (size_t at = 0; auth.data.data[at] != 0; count++) {
        struct pv_slice name = pv_slice_cstr((const char *) auth.data.data + at);

        if (count == PV_COUNT_OF(names))
            return PV_LIMIT;
        names[count] = (const char *) name.data;
        if (!pv_msg_auth_offers(&auth, names[count]))
            return PV_INTERNAL;
        at += name.len + 1;
    }
    return pv_msg_auth_sasl_write(out, names, count);
}

static enum pv_status
roundtrip_ready(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out)
{
    uint8_t transaction;
    enum pv_status status = pv_msg_ready_read(body, &transaction);

    (void) arena;
    return status == PV_OK ? pv_msg_ready_write(out, transaction) : status;
}

static enum pv_status
roundtrip_data_row(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out)
{
    struct pv_msg_value columns[1664]; /* as many as PostgreSQL allows in a row */
    size_t count;
    enum pv_status status = pv_msg_data_row_read(body, columns, PV_COUNT_OF(columns), &count);

    (void) arena;
    return status == PV_OK ? pv_msg_data_row_write(out, columns, count) : status;
}

static enum pv_status
roundtrip_startup_request(struct pv_slice body, struct pv_arena *arena, struct pv_buf *out)
{
    enum pv_msg_startup_kind kind;
    uint32_t code;
    enum pv_status status = pv_msg_startup_kind_read(body, &kind, &code);

    (void) arena;
    if (status != PV_OK)
        return status;
    if (kind == PV_STARTUP_SSL)
        return pv_msg_ssl_request_write(out);
    return kind == PV_STARTUP_GSSENC ? pv_msg_gssenc_request_write(out) : PV_NOTFOUND;
}

#define LOOSE_PREFIX 1u
#define LOOSE_MORE 2u

struct roundtrip {
    const char *name;
    enum pv_frame_phase phase;
    uint8_t tag;
    roundtrip_fn fn;
    unsigned loose_end; /* what may be sound too, since it ends in bytes of no fixed number */
    bool is_lenient;    /* a frame that is read may be written back otherwise: unknown fields are left out */
    const char *body;
    size_t body_len;
};

#define BODY(text) (text), sizeof(text) - 1
static const struct roundtrip roundtrips[] = {
    {"StartupMessage", PV_FRAME_STARTUP, 0, roundtrip_startup, 0, false,
     BODY("\0\3\0\0user\0alice\0database\0retail_media\0options\0\0\0")},
    {"SSLRequest", PV_FRAME_STARTUP, 0, roundtrip_startup_request, 0, false, BODY("\x04\xd2\x16\x2f")},
    {"GSSENCRequest", PV_FRAME_STARTUP, 0, roundtrip_startup_request, 0, false, BODY("\x04\xd2\x16\x30")},
    {"CancelRequest", PV_FRAME_STARTUP, 0, roundtrip_cancel, LOOSE_MORE, false, BODY("\x04\xd2\x16\x2e\0\0\x10\1key!")},
    {"CancelRequest 3.2", PV_FRAME_STARTUP, 0, roundtrip_cancel, LOOSE_PREFIX | LOOSE_MORE, false,
     BODY("\x04\xd2\x16\x2e\0\0\x10\1a key of more than four bytes")},
    {"PasswordMessage", PV_FRAME_AUTH, 'p', roundtrip_password, 0, false, BODY("secret\0")},
    {"SASLInitialResponse", PV_FRAME_AUTH, 'p', roundtrip_sasl_initial, 0, false, BODY("SCRAM-SHA-256\0\0\0\0\3n,,")},
    {"SASLInitialResponse without data", PV_FRAME_AUTH, 'p', roundtrip_sasl_initial, 0, false,
     BODY("SCRAM-SHA-256\0\xff\xff\xff\xff")},
    {"Query", PV_FRAME_QUERY, 'Q', roundtrip_query, 0, false, BODY("SELECT 1\0")},
    {"Parse", PV_FRAME_QUERY, 'P', roundtrip_parse, 0, false, BODY("s1\0SELECT $1, $2\0\0\2\0\0\0\x17\0\0\0\0")},
    {"Bind", PV_FRAME_QUERY, 'B', roundtrip_bind, 0, false,
     BODY("portal\0stmt\0\0\3\0\0\0\1\0\0\0\3\0\0\0\2hi\0\0\0\0\xff\xff\xff\xff\0\1\0\1")},
    {"Bind of nothing", PV_FRAME_QUERY, 'B', roundtrip_bind, 0, false, BODY("\0\0\0\0\0\0\0\0")},
    {"Describe", PV_FRAME_QUERY, 'D', roundtrip_describe, 0, false, BODY("Sstmt\0")},
    {"Close", PV_FRAME_QUERY, 'C', roundtrip_close, 0, false, BODY("P\0")},
    {"Execute", PV_FRAME_QUERY, 'E', roundtrip_execute, 0, false, BODY("portal\0\0\0\0\x64")},
    {"Flush", PV_FRAME_QUERY, 'H', roundtrip_flush, 0, false, BODY("")},
    {"Sync", PV_FRAME_QUERY, 'S', roundtrip_sync, 0, false, BODY("")},
    {"Terminate", PV_FRAME_QUERY, 'X', roundtrip_terminate, 0, false, BODY("")},
    {"CopyDone", PV_FRAME_QUERY, 'c', roundtrip_client_copy_done, 0, false, BODY("")},
    {"CopyFail", PV_FRAME_QUERY, 'f', roundtrip_copy_fail, 0, false, BODY("no more\0")},
    {"AuthenticationOk", PV_FRAME_BACKEND, 'R', roundtrip_auth, 0, false, BODY("\0\0\0\0")},
    {"AuthenticationCleartextPassword", PV_FRAME_BACKEND, 'R', roundtrip_auth, 0, false, BODY("\0\0\0\3")},
    {"AuthenticationMD5Password", PV_FRAME_BACKEND, 'R', roundtrip_auth, 0, false, BODY("\0\0\0\5salt")},
    {"AuthenticationSASL", PV_FRAME_BACKEND, 'R', roundtrip_auth, 0, false,
     BODY("\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")},
    {"AuthenticationSASLContinue", PV_FRAME_BACKEND, 'R', roundtrip_auth, LOOSE_PREFIX | LOOSE_MORE, false,
     BODY("\0\0\0\x0br=x,s=y,i=1")},
    {"AuthenticationSASLFinal", PV_FRAME_BACKEND, 'R', roundtrip_auth, LOOSE_PREFIX | LOOSE_MORE, false,
     BODY("\0\0\0\x0cv=x")},
    {"ParameterStatus", PV_FRAME_BACKEND, 'S', roundtrip_parameter_status, 0, false, BODY("client_encoding\0UTF8\0")},
    {"BackendKeyData", PV_FRAME_BACKEND, 'K', roundtrip_backend_key, LOOSE_MORE, false, BODY("\0\0\x10\1key!")},
    {"BackendKeyData 3.2", PV_FRAME_BACKEND, 'K', roundtrip_backend_key, LOOSE_PREFIX | LOOSE_MORE, false,
     BODY("\0\0\x10\1thirty-two bytes of a cancel key")},
    {"ReadyForQuery", PV_FRAME_BACKEND, 'Z', roundtrip_ready, 0, false, BODY("T")},
    {"ErrorResponse", PV_FRAME_BACKEND, 'E', roundtrip_error_response, 0, true,
     BODY("SERROR\0VERROR\0C42501\0Mno\0Dbecause\0Hask\0P7\0Rhere\0\0")},
    {"NoticeResponse", PV_FRAME_BACKEND, 'N', roundtrip_notice_response, 0, true, BODY("SNOTICE\0Mhear\0\0")},
    {"RowDescription", PV_FRAME_BACKEND, 'T', roundtrip_row_description, 0, false,
     BODY("\0\2id\0\0\0\x40\1\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\1"
          "name\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")},
    {"DataRow", PV_FRAME_BACKEND, 'D', roundtrip_data_row, 0, false, BODY("\0\3\0\0\0\2hi\xff\xff\xff\xff\0\0\0\0")},
    {"CommandComplete", PV_FRAME_BACKEND, 'C', roundtrip_command_complete, 0, false, BODY("SELECT 5\0")},
    {"EmptyQueryResponse", PV_FRAME_BACKEND, 'I', roundtrip_empty_query, 0, false, BODY("")},
    {"ParseComplete", PV_FRAME_BACKEND, '1', roundtrip_parse_complete, 0, false, BODY("")},
    {"BindComplete", PV_FRAME_BACKEND, '2', roundtrip_bind_complete, 0, false, BODY("")},
    {"CloseComplete", PV_FRAME_BACKEND, '3', roundtrip_close_complete, 0, false, BODY("")},
    {"NoData", PV_FRAME_BACKEND, 'n', roundtrip_no_data, 0, false, BODY("")},
    {"PortalSuspended", PV_FRAME_BACKEND, 's', roundtrip_portal_suspended, 0, false, BODY("")},
    {"CopyDone of a server", PV_FRAME_BACKEND, 'c', roundtrip_server_copy_done, 0, false, BODY("")},
    {"ParameterDescription", PV_FRAME_BACKEND, 't', roundtrip_parameter_description, 0, false,
     BODY("\0\2\0\0\0\x17\0\0\4\x13")},
    {"CopyOutResponse", PV_FRAME_BACKEND, 'H', roundtrip_copy_out, 0, false, BODY("\1\0\2\0\1\0\0")},
    {"CopyInResponse", PV_FRAME_BACKEND, 'G', roundtrip_copy_in, 0, false, BODY("\0\0\1\0\0")},
    {"CopyBothResponse", PV_FRAME_BACKEND, 'W', roundtrip_copy_both, 0, false, BODY("\0\0\0")},
    {"NotificationResponse", PV_FRAME_BACKEND, 'A', roundtrip_notification, 0, false,
     BODY("\0\0\x10\1channel\0payload\0")},
    {"NegotiateProtocolVersion", PV_FRAME_BACKEND, 'v', roundtrip_negotiate, 0, false,
     BODY("\0\3\0\2\0\0\0\2_pq_.one\0_pq_.two\0")},
};

#endif
