#include "proxy/audit/chain_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What is signed: one form, so that a signature says one thing. */
static enum pv_status
head_text(const struct pv_log_head *head, struct pv_buf *out)
{
    char at[PV_RECORD_TIME_SIZE];
    enum pv_status status;

    pv_record_time_format(head->at_us, at);
    pv_buf_printf(out, "pgveil query log head\nseq %" PRIu64 "\nhash ", head->seq);
    status = pv_hex_encode(pv_slice_of(head->hash, PV_SHA256_BYTES), out);
    pv_buf_printf(out, "\nat %s\n", at);
    return status == PV_OK && !pv_buf_ok(out) ? PV_NOMEM : status;
}

enum pv_status
pv_head_check(struct pv_chain *chain, const struct pv_sign_key *key, const struct pv_log_head *head)
{
    char fingerprint[PV_FINGERPRINT_SIZE] = "";
    struct pv_buf text = {0};
    enum pv_status status = pv_sign_fingerprint(key, fingerprint);

    if (status == PV_OK)
        status = head_text(head, &text);
    if (status == PV_OK)
        status = pv_sign_verify(key, pv_buf_slice(&text), pv_slice_of(head->signature, PV_SIGNATURE_BYTES));
    if (status == PV_DENIED || (status == PV_OK && strcmp(fingerprint, head->fingerprint) != 0)) {
        pv_chain_fault(chain, PV_FAULT_SIGNATURE, 0, "signature: the head is not signed by this log's key %.64s",
                       fingerprint);
        status = PV_OK;
    }
    pv_buf_clear(&text);
    return status;
}

static enum pv_status
read_head(const char *path, struct pv_db_head *head, char *error, size_t error_size)
{
    sqlite3 *sqlite = NULL;
    sqlite3_stmt *statement = NULL;
    enum pv_status status = pv_db_open_reading(path, &sqlite, error, error_size);

    if (status != PV_OK)
        return status;
    status = pv_db_prepare(sqlite, pv_db_head_sql, &statement);
    if (status == PV_OK)
        status = pv_db_head_read(statement, head);
    if (status != PV_OK)
        pv_db_error(error, error_size, "cannot read the query log %s: %s", path, pv_db_reason(sqlite, status));
    (void) sqlite3_finalize(statement);
    (void) sqlite3_close(sqlite);
    return status;
}

enum pv_status
pv_head_sign(const struct pv_db_head *newest, const char *path, struct pv_log_head *head, char *error,
             size_t error_size)
{
    char *key_path = pv_path_with(path, ".key");
    struct pv_sign_key *key = NULL;
    struct pv_log_head made = {.seq = newest->seq, .at_us = pv_record_now_us()};
    struct pv_buf text = {0};
    enum pv_status status = key_path == NULL ? PV_NOMEM : PV_OK;

    pv_db_error(error, error_size, "%s", key_path == NULL ? pv_status_words(PV_NOMEM) : "");
    if (status == PV_OK)
        status = pv_sign_private_load(key_path, &key, error, error_size);
    if (status != PV_OK)
        goto done;
    memcpy(made.hash, newest->hash, PV_SHA256_BYTES);
    status = pv_sign_fingerprint(key, made.fingerprint);
    if (status == PV_OK)
        status = head_text(&made, &text);
    if (status == PV_OK)
        status = pv_sign(key, pv_buf_slice(&text), made.signature);
    if (status == PV_OK)
        *head = made;
    else
        pv_db_error(error, error_size, "cannot sign the head: %s", pv_status_words(status));
done:
    pv_buf_clear(&text);
    pv_sign_key_free(key);
    pv_free(key_path);
    return status;
}

enum pv_status
pv_log_head_sign(const char *path, struct pv_log_head *head, char *error, size_t error_size)
{
    struct pv_db_head newest = {0};
    enum pv_status status;

    pv_db_error(error, error_size, "%s", "");
    status = read_head(path, &newest, error, error_size);
    return status == PV_OK ? pv_head_sign(&newest, path, head, error, error_size) : status;
}

void
pv_log_head_format(const struct pv_log_head *head, struct pv_buf *out)
{
    char at[PV_RECORD_TIME_SIZE];
    enum pv_status status;

    pv_record_time_format(head->at_us, at);
    pv_buf_printf(out, "{\"seq\": %" PRIu64 ", \"hash\": \"", head->seq);
    status = pv_hex_encode(pv_slice_of(head->hash, PV_SHA256_BYTES), out);
    pv_buf_printf(out, "\", \"at\": \"%s\", \"key\": \"%s\", \"signature\": \"", at, head->fingerprint);
    if (status == PV_OK)
        status = pv_base64_encode(pv_slice_of(head->signature, PV_SIGNATURE_BYTES), out);
    pv_buf_put_text(out, "\"}\n");
    out->failed = out->failed || status != PV_OK;
}

/* ---- Reading a head: a flat JSON object of one number and texts without escapes, keys in any order ---- */

static void
skip_space(struct pv_reader *reader)
{
    while (reader->left > 0 && strchr(" \t\r\n", *reader->at) != NULL && *reader->at != '\0') {
        reader->at++;
        reader->left--;
    }
}

static bool
take_char(struct pv_reader *reader, char want)
{
    skip_space(reader);
    if (reader->left == 0 || *reader->at != (uint8_t) want)
        return false;
    reader->at++;
    reader->left--;
    return true;
}

static bool
take_text(struct pv_reader *reader, struct pv_slice *text)
{
    const uint8_t *start;

    if (!take_char(reader, '"'))
        return false;
    start = reader->at;
    while (reader->left > 0 && *reader->at != '"' && *reader->at != '\\' && *reader->at >= 0x20) {
        reader->at++;
        reader->left--;
    }
    *text = pv_slice_of(start, (size_t) (reader->at - start));
    return take_char(reader, '"');
}

static bool
take_number(struct pv_reader *reader, uint64_t *number)
{
    uint64_t value = 0;
    size_t digits = 0;

    skip_space(reader);
    for (; reader->left > 0 && *reader->at >= '0' && *reader->at <= '9'; reader->at++, reader->left--) {
        value = value * 10 + (uint64_t) (*reader->at - '0');
        if (++digits > 18)
            return false;
    }
    *number = value;
    return digits > 0;
}

static bool
take_bytes(enum pv_status (*decode)(struct pv_slice, struct pv_buf *), struct pv_slice text, uint8_t *out, size_t len)
{
    struct pv_buf bytes = {0};
    bool is_right = decode(text, &bytes) == PV_OK && pv_buf_len(&bytes) == len;

    if (is_right)
        memcpy(out, pv_buf_slice(&bytes).data, len);
    pv_buf_clear(&bytes);
    return is_right;
}

static bool
take_value(struct pv_slice key, struct pv_slice text, struct pv_log_head *head, unsigned *seen)
{
    char at[40];

    if (pv_slice_is(key, "hash")) {
        *seen |= 2u;
        return take_bytes(pv_hex_decode, text, head->hash, PV_SHA256_BYTES);
    }
    if (pv_slice_is(key, "signature")) {
        *seen |= 4u;
        return take_bytes(pv_base64_decode, text, head->signature, PV_SIGNATURE_BYTES);
    }
    if (pv_slice_is(key, "key")) {
        *seen |= 8u;
        if (text.len != PV_FINGERPRINT_SIZE - 1)
            return false;
        memcpy(head->fingerprint, text.data, text.len);
        head->fingerprint[text.len] = '\0';
        return true;
    }
    if (!pv_slice_is(key, "at") || text.len >= sizeof(at))
        return false;
    *seen |= 16u;
    memcpy(at, text.data, text.len);
    at[text.len] = '\0';
    return pv_record_time_parse(at, &head->at_us) == PV_OK;
}

enum pv_status
pv_log_head_parse(struct pv_slice text, struct pv_log_head *head)
{
    struct pv_reader reader = pv_reader_of(text);
    struct pv_log_head made = {0};
    unsigned seen = 0;

    if (!take_char(&reader, '{'))
        return PV_INVALID;
    do {
        struct pv_slice key, value;
        unsigned before = seen;

        if (!take_text(&reader, &key) || !take_char(&reader, ':'))
            return PV_INVALID;
        if (pv_slice_is(key, "seq")) {
            if (!take_number(&reader, &made.seq))
                return PV_INVALID;
            seen |= 1u;
        } else if (!take_text(&reader, &value) || !take_value(key, value, &made, &seen))
            return PV_INVALID;
        /* A key that stands twice could say two things. */
        if (seen == before)
            return PV_INVALID;
    } while (take_char(&reader, ','));
    if (!take_char(&reader, '}') || seen != 31u)
        return PV_INVALID;
    skip_space(&reader);
    if (reader.left > 0)
        return PV_INVALID;
    *head = made;
    return PV_OK;
}
