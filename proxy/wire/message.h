/*
 * One struct, one read and one write for each message of the protocol 3.0 to 3.2.
 * Source: PostgreSQL documentation, "Message Formats" and "Error and Notice
 * Message Fields".
 *
 * A read takes a frame's body and must consume it exactly: PV_PROTOCOL otherwise.
 * Slices in the result borrow from the body; arrays come from the arena, their
 * size checked against the body first (PV_NOMEM when it has no room). A text slice
 * leaves its NUL out, though it stands behind it in memory. Outputs are untouched
 * unless the read succeeds.
 *
 * A write appends a whole frame, tag and length included: PV_NOMEM (the buffer is
 * `failed` too), or PV_INVALID for what no frame can carry (a NUL inside a text,
 * more than 65535 items, more than 1 GiB). The buffer's bytes are as before then.
 */
#ifndef PV_MESSAGE_H
#define PV_MESSAGE_H

#include "proxy/base/arena.h"
#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

/* Tags by sender: name, byte. A tag that is not here is a protocol error. */
#define PV_CLIENT_TAGS(X) \
    X(BIND, 'B') \
    X(CLOSE, 'C') \
    X(COPY_DATA, 'd') \
    X(COPY_DONE, 'c') \
    X(COPY_FAIL, 'f') \
    X(DESCRIBE, 'D') \
    X(EXECUTE, 'E') \
    X(FLUSH, 'H') \
    X(FUNCTION_CALL, 'F') \
    X(PARSE, 'P') \
    X(PASSWORD, 'p') \
    X(QUERY, 'Q') \
    X(SYNC, 'S') \
    X(TERMINATE, 'X')

#define PV_SERVER_TAGS(X) \
    X(AUTHENTICATION, 'R') \
    X(BACKEND_KEY_DATA, 'K') \
    X(BIND_COMPLETE, '2') \
    X(CLOSE_COMPLETE, '3') \
    X(COMMAND_COMPLETE, 'C') \
    X(COPY_BOTH_RESPONSE, 'W') \
    X(COPY_DATA, 'd') \
    X(COPY_DONE, 'c') \
    X(COPY_IN_RESPONSE, 'G') \
    X(COPY_OUT_RESPONSE, 'H') \
    X(DATA_ROW, 'D') \
    X(EMPTY_QUERY, 'I') \
    X(ERROR_RESPONSE, 'E') \
    X(FUNCTION_CALL_RESPONSE, 'V') \
    X(NEGOTIATE_PROTOCOL_VERSION, 'v') \
    X(NO_DATA, 'n') \
    X(NOTICE_RESPONSE, 'N') \
    X(NOTIFICATION, 'A') \
    X(PARAMETER_DESCRIPTION, 't') \
    X(PARAMETER_STATUS, 'S') \
    X(PARSE_COMPLETE, '1') \
    X(PORTAL_SUSPENDED, 's') \
    X(READY_FOR_QUERY, 'Z') \
    X(ROW_DESCRIPTION, 'T')

/* PV_CLIENT_QUERY, PV_SERVER_DATA_ROW, ... */
enum pv_client_tag {
#define PV_X(name, byte) PV_CLIENT_##name = byte,
    PV_CLIENT_TAGS(PV_X)
#undef PV_X
};
enum pv_server_tag {
#define PV_X(name, byte) PV_SERVER_##name = byte,
    PV_SERVER_TAGS(PV_X)
#undef PV_X
};

/* ---- Startup packets (no tag) ---- */

#define PV_PROTOCOL_3_0 0x00030000u
#define PV_PROTOCOL_3_2 0x00030002u
/* Startup parameters in one packet; clients send about ten, the packet has room for thousands. */
#define PV_STARTUP_PARAMS_MAX 256u
/* A cancel key: exactly 4 bytes before 3.2, then up to 256. */
#define PV_CANCEL_KEY_BYTES_MIN 4u
#define PV_CANCEL_KEY_BYTES_MAX 256u

enum pv_msg_startup_kind {
    PV_STARTUP_SESSION,     /* a StartupMessage of major version 3 */
    PV_STARTUP_SSL,         /* SSLRequest, 8 bytes in all */
    PV_STARTUP_GSSENC,      /* GSSENCRequest, 8 bytes in all */
    PV_STARTUP_CANCEL,      /* CancelRequest */
    PV_STARTUP_UNSUPPORTED, /* another major version: 0A000 */
};

/* What a startup packet's body is, by its first 4 bytes; also the request code or version found. */
enum pv_status pv_msg_startup_kind_read(struct pv_slice body, enum pv_msg_startup_kind *kind,
                                        uint32_t *code) PV_MUST_CHECK;

struct pv_msg_startup_param {
    struct pv_slice name; /* never empty */
    struct pv_slice value;
};

struct pv_msg_startup {
    uint32_t version; /* major << 16 | minor */
    size_t param_count;
    const struct pv_msg_startup_param *params;
};

/* A name that stands twice is refused; PV_LIMIT above PV_STARTUP_PARAMS_MAX. */
enum pv_status pv_msg_startup_read(struct pv_slice body, struct pv_arena *arena,
                                   struct pv_msg_startup *startup) PV_MUST_CHECK;
enum pv_status pv_msg_startup_write(struct pv_buf *out, const struct pv_msg_startup *startup) PV_MUST_CHECK;
/* The value of a parameter, NULL when it is absent. */
const struct pv_slice *pv_msg_startup_get(const struct pv_msg_startup *startup, const char *name);

struct pv_msg_cancel {
    uint32_t pid;
    struct pv_slice key; /* PV_CANCEL_KEY_BYTES_MIN to _MAX */
};

enum pv_status pv_msg_cancel_read(struct pv_slice body, struct pv_msg_cancel *cancel) PV_MUST_CHECK;
enum pv_status pv_msg_cancel_write(struct pv_buf *out, const struct pv_msg_cancel *cancel) PV_MUST_CHECK;
enum pv_status pv_msg_ssl_request_write(struct pv_buf *out) PV_MUST_CHECK;
enum pv_status pv_msg_gssenc_request_write(struct pv_buf *out) PV_MUST_CHECK;

/* ---- Messages without a body, by either side ----
 * Flush, Sync, Terminate, CopyDone; EmptyQueryResponse, ParseComplete, BindComplete,
 * CloseComplete, NoData, PortalSuspended. */
enum pv_status pv_msg_empty_read(struct pv_slice body) PV_MUST_CHECK;
enum pv_status pv_msg_empty_write(struct pv_buf *out, uint8_t tag) PV_MUST_CHECK;

/* ---- Messages that are one text ----
 * Query, CopyFail, PasswordMessage; CommandComplete. A password's frame is for the caller to wipe. */
enum pv_status pv_msg_text_read(struct pv_slice body, struct pv_slice *text) PV_MUST_CHECK;
enum pv_status pv_msg_text_write(struct pv_buf *out, uint8_t tag, struct pv_slice text) PV_MUST_CHECK;

/* ---- Messages that are raw bytes ----
 * SASLResponse, CopyData: the body is the value, so there is nothing to read. */
enum pv_status pv_msg_bytes_write(struct pv_buf *out, uint8_t tag, struct pv_slice bytes) PV_MUST_CHECK;

/* ---- From clients ---- */

/* A parameter or a column. A NULL has no bytes. */
struct pv_msg_value {
    bool is_null;
    struct pv_slice bytes;
};

struct pv_msg_parse {
    struct pv_slice statement;
    struct pv_slice text;
    size_t type_count;
    const uint32_t *types; /* OIDs, 0 unspecified */
};

enum pv_status pv_msg_parse_read(struct pv_slice body, struct pv_arena *arena,
                                 struct pv_msg_parse *parse) PV_MUST_CHECK;
enum pv_status pv_msg_parse_write(struct pv_buf *out, const struct pv_msg_parse *parse) PV_MUST_CHECK;

/*
 * Formats are 0 (text) or 1 (binary): none (all text), one for all, or one each.
 * Read and write give PV_INVALID for another code, and PV_PROTOCOL (read) or
 * PV_INVALID (write) for another number of parameter formats. How many result
 * columns there are only the server knows.
 */
struct pv_msg_bind {
    struct pv_slice portal;
    struct pv_slice statement;
    size_t format_count;
    const uint16_t *formats;
    size_t param_count;
    const struct pv_msg_value *params;
    size_t result_format_count;
    const uint16_t *result_formats;
};

enum pv_status pv_msg_bind_read(struct pv_slice body, struct pv_arena *arena, struct pv_msg_bind *bind) PV_MUST_CHECK;
enum pv_status pv_msg_bind_write(struct pv_buf *out, const struct pv_msg_bind *bind) PV_MUST_CHECK;
/* The format of parameter `index`, which is below param_count. */
uint16_t pv_msg_bind_format(const struct pv_msg_bind *bind, size_t index);

enum pv_msg_target_kind { PV_TARGET_STATEMENT = 'S', PV_TARGET_PORTAL = 'P' };

/* Describe and Close. */
struct pv_msg_target {
    enum pv_msg_target_kind kind;
    struct pv_slice name;
};

enum pv_status pv_msg_target_read(struct pv_slice body, struct pv_msg_target *target) PV_MUST_CHECK;
enum pv_status pv_msg_target_write(struct pv_buf *out, enum pv_client_tag tag,
                                   const struct pv_msg_target *target) PV_MUST_CHECK;

struct pv_msg_execute {
    struct pv_slice portal;
    int32_t row_count_max; /* 0 or less: no limit, as the server takes it */
};

enum pv_status pv_msg_execute_read(struct pv_slice body, struct pv_msg_execute *execute) PV_MUST_CHECK;
enum pv_status pv_msg_execute_write(struct pv_buf *out, const struct pv_msg_execute *execute) PV_MUST_CHECK;

struct pv_msg_sasl_initial {
    struct pv_slice mechanism;
    bool has_data;
    struct pv_slice data;
};

enum pv_status pv_msg_sasl_initial_read(struct pv_slice body, struct pv_msg_sasl_initial *initial) PV_MUST_CHECK;
enum pv_status pv_msg_sasl_initial_write(struct pv_buf *out, const struct pv_msg_sasl_initial *initial) PV_MUST_CHECK;

/* ---- From servers ---- */

enum pv_msg_auth_kind {
    PV_AUTH_OK = 0,
    PV_AUTH_CLEARTEXT = 3,
    PV_AUTH_MD5 = 5,
    PV_AUTH_SASL = 10,
    PV_AUTH_SASL_CONTINUE = 11,
    PV_AUTH_SASL_FINAL = 12,
};

/* Any other kind (Kerberos, GSSAPI, SSPI, SCM) is PV_INVALID: we do not speak it. */
struct pv_msg_auth {
    enum pv_msg_auth_kind kind;
    struct pv_slice data; /* MD5: 4 bytes of salt. SASL: the mechanism list. CONTINUE, FINAL: bytes of the mechanism */
};

enum pv_status pv_msg_auth_read(struct pv_slice body, struct pv_msg_auth *auth) PV_MUST_CHECK;
/* Every kind but PV_AUTH_SASL, which has a writer of its own (mechanism names, best first). */
enum pv_status pv_msg_auth_write(struct pv_buf *out, const struct pv_msg_auth *auth) PV_MUST_CHECK;
enum pv_status pv_msg_auth_sasl_write(struct pv_buf *out, const char *const *mechanisms,
                                      size_t mechanism_count) PV_MUST_CHECK;
/* True when the list of a PV_AUTH_SASL names this mechanism. */
bool pv_msg_auth_offers(const struct pv_msg_auth *auth, const char *mechanism);

/* ParameterStatus. */
struct pv_msg_parameter_status {
    struct pv_slice name;
    struct pv_slice value;
};

enum pv_status pv_msg_parameter_status_read(struct pv_slice body, struct pv_msg_parameter_status *status) PV_MUST_CHECK;
enum pv_status pv_msg_parameter_status_write(struct pv_buf *out,
                                             const struct pv_msg_parameter_status *status) PV_MUST_CHECK;

struct pv_msg_backend_key {
    uint32_t pid;
    struct pv_slice key; /* PV_CANCEL_KEY_BYTES_MIN to _MAX */
};

enum pv_status pv_msg_backend_key_read(struct pv_slice body, struct pv_msg_backend_key *key) PV_MUST_CHECK;
enum pv_status pv_msg_backend_key_write(struct pv_buf *out, const struct pv_msg_backend_key *key) PV_MUST_CHECK;

/* ReadyForQuery: 'I' idle, 'T' in a transaction, 'E' in a failed one. */
enum pv_status pv_msg_ready_read(struct pv_slice body, uint8_t *transaction) PV_MUST_CHECK;
enum pv_status pv_msg_ready_write(struct pv_buf *out, uint8_t transaction) PV_MUST_CHECK;

/* Fields of ErrorResponse and NoticeResponse: name, code. */
#define PV_NOTICE_FIELDS(X) \
    X(SEVERITY, 'S') \
    X(SEVERITY_PLAIN, 'V') \
    X(SQLSTATE, 'C') \
    X(MESSAGE, 'M') \
    X(DETAIL, 'D') \
    X(HINT, 'H') \
    X(POSITION, 'P') \
    X(INTERNAL_POSITION, 'p') \
    X(INTERNAL_QUERY, 'q') \
    X(WHERE, 'W') \
    X(SCHEMA, 's') \
    X(TABLE, 't') \
    X(COLUMN, 'c') \
    X(DATA_TYPE, 'd') \
    X(CONSTRAINT, 'n') \
    X(FILE, 'F') \
    X(LINE, 'L') \
    X(ROUTINE, 'R')

enum pv_msg_notice_field {
#define PV_X(name, code) PV_NOTICE_##name,
    PV_NOTICE_FIELDS(PV_X)
#undef PV_X
        PV_NOTICE_FIELD_COUNT
};

/*
 * A field that is absent has data NULL. A missing field is tolerated, an unknown
 * one left out, of a field that stands twice the last counts (as in libpq). The
 * writer writes the fields that are there, in the order of the table; a position
 * is a decimal number in characters, 1 the first.
 */
struct pv_msg_notice {
    struct pv_slice fields[PV_NOTICE_FIELD_COUNT];
};

enum pv_status pv_msg_notice_read(struct pv_slice body, struct pv_msg_notice *notice) PV_MUST_CHECK;
/* PV_SERVER_ERROR_RESPONSE or PV_SERVER_NOTICE_RESPONSE. */
enum pv_status pv_msg_notice_write(struct pv_buf *out, enum pv_server_tag tag,
                                   const struct pv_msg_notice *notice) PV_MUST_CHECK;
/* Sets severity (both fields), SQLSTATE and message, empties the rest; borrows. Detail, hint: NULL for none. */
void pv_msg_notice_init(struct pv_msg_notice *notice, const char *severity, const char *sqlstate, const char *message);
void pv_msg_notice_set(struct pv_msg_notice *notice, enum pv_msg_notice_field field, const char *text);

struct pv_msg_field {
    struct pv_slice name;
    uint32_t table_oid;
    int16_t column_number;
    uint32_t type_oid;
    int16_t type_len;
    int32_t type_modifier;
    uint16_t format; /* 0 or 1 */
};

struct pv_msg_row_description {
    size_t field_count;
    const struct pv_msg_field *fields;
};

enum pv_status pv_msg_row_description_read(struct pv_slice body, struct pv_arena *arena,
                                           struct pv_msg_row_description *description) PV_MUST_CHECK;
enum pv_status pv_msg_row_description_write(struct pv_buf *out,
                                            const struct pv_msg_row_description *description) PV_MUST_CHECK;

/*
 * DataRow, into the caller's array of `column_count_max`: PV_LIMIT when the row has
 * more columns. No allocation, since this runs once a row.
 */
enum pv_status pv_msg_data_row_read(struct pv_slice body, struct pv_msg_value *columns, size_t column_count_max,
                                    size_t *column_count) PV_MUST_CHECK;
enum pv_status pv_msg_data_row_write(struct pv_buf *out, const struct pv_msg_value *columns,
                                     size_t column_count) PV_MUST_CHECK;

/*
 * Rows that a CommandComplete's text counts ("SELECT 5", "INSERT 0 5", "COPY 5"):
 * its last word, where that is a decimal number; else PV_NOTFOUND.
 */
enum pv_status pv_msg_command_rows(struct pv_slice text, uint64_t *row_count) PV_MUST_CHECK;

/* ParameterDescription: type OIDs. */
struct pv_msg_parameter_description {
    size_t type_count;
    const uint32_t *types;
};

enum pv_status pv_msg_parameter_description_read(struct pv_slice body, struct pv_arena *arena,
                                                 struct pv_msg_parameter_description *description) PV_MUST_CHECK;
enum pv_status pv_msg_parameter_description_write(struct pv_buf *out,
                                                  const struct pv_msg_parameter_description *description) PV_MUST_CHECK;

/* CopyOutResponse; CopyInResponse and CopyBothResponse have the same shape. */
struct pv_msg_copy_response {
    uint8_t format; /* 0 text, 1 binary; text means that every column is text */
    size_t column_count;
    const uint16_t *formats;
};

enum pv_status pv_msg_copy_response_read(struct pv_slice body, struct pv_arena *arena,
                                         struct pv_msg_copy_response *response) PV_MUST_CHECK;
enum pv_status pv_msg_copy_response_write(struct pv_buf *out, enum pv_server_tag tag,
                                          const struct pv_msg_copy_response *response) PV_MUST_CHECK;

struct pv_msg_notification {
    uint32_t pid;
    struct pv_slice channel;
    struct pv_slice payload;
};

enum pv_status pv_msg_notification_read(struct pv_slice body, struct pv_msg_notification *notification) PV_MUST_CHECK;
enum pv_status pv_msg_notification_write(struct pv_buf *out,
                                         const struct pv_msg_notification *notification) PV_MUST_CHECK;

/* NegotiateProtocolVersion. The documentation says minor version; servers and libpq exchange the whole number. */
struct pv_msg_negotiate {
    uint32_t version;               /* newest that the server speaks: major << 16 | minor */
    size_t option_count;            /* at most PV_STARTUP_PARAMS_MAX */
    const struct pv_slice *options; /* names of `_pq_.` options that it does not know */
};

enum pv_status pv_msg_negotiate_read(struct pv_slice body, struct pv_arena *arena,
                                     struct pv_msg_negotiate *negotiate) PV_MUST_CHECK;
enum pv_status pv_msg_negotiate_write(struct pv_buf *out, const struct pv_msg_negotiate *negotiate) PV_MUST_CHECK;

#endif
