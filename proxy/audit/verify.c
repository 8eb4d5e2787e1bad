#include "proxy/audit/verify.h"

#include "proxy/audit/db_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How far from a broken place its record is looked for. */
#define WINDOW 32u

/* A cursor on one of the chained tables, at the row not yet checked. */
struct cursor {
    const struct pv_table *table;
    sqlite3_stmt *statement;
    bool is_done;
    uint64_t seq;
};

struct check {
    sqlite3 *sqlite;
    struct cursor cursors[PV_TABLE_COUNT];
    const struct pv_log_head *head;
    struct pv_verdict *verdict;
    struct pv_buf canonical;
    uint8_t hash[PV_SHA256_BYTES]; /* of the last good record */
    uint64_t seq;
    bool is_head_seen;
};

static void
find_fault(struct check *check, enum pv_fault fault, uint64_t seq, const char *words)
{
    check->verdict->fault = fault;
    check->verdict->seq = seq;
    (void) snprintf(check->verdict->words, sizeof(check->verdict->words), "%s", words);
}

/* ---- Cursors ---- */

static enum pv_status
cursor_next(struct cursor *cursor)
{
    enum pv_status status = pv_db_step(cursor->statement);

    cursor->is_done = status == PV_NOTFOUND;
    if (status == PV_OK)
        cursor->seq = (uint64_t) sqlite3_column_int64(cursor->statement, 0);
    return cursor->is_done ? PV_OK : status;
}

static enum pv_status
cursor_open(struct cursor *cursor, sqlite3 *sqlite, enum pv_table_id id)
{
    char *sql =
        sqlite3_mprintf("SELECT seq, %s, hash FROM main.%s ORDER BY seq", pv_tables[id].columns, pv_tables[id].name);
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_prepare(sqlite, sql, &cursor->statement);

    sqlite3_free(sql);
    cursor->table = &pv_tables[id];
    return status == PV_OK ? cursor_next(cursor) : status;
}

/* The cursor with the lowest seq; NULL at the end. */
static struct cursor *
cursor_lowest(struct check *check)
{
    struct cursor *lowest = NULL;

    for (int i = 0; i < PV_TABLE_COUNT; i++) {
        struct cursor *cursor = &check->cursors[i];

        if (!cursor->is_done && (lowest == NULL || cursor->seq < lowest->seq))
            lowest = cursor;
    }
    return lowest;
}

/* The row's values as they are stored, whatever type somebody gave them. False: of a type that no record has. */
static bool
read_values(const struct cursor *cursor, struct pv_value values[PV_TABLE_COLUMNS_MAX])
{
    for (size_t i = 0; i < cursor->table->column_count; i++) {
        int column = (int) i + 1;
        struct pv_value value = {.kind = PV_VALUE_NULL};

        switch (sqlite3_column_type(cursor->statement, column)) {
        case SQLITE_NULL:
            break;
        case SQLITE_INTEGER:
            value.kind = PV_VALUE_INT;
            value.number = sqlite3_column_int64(cursor->statement, column);
            break;
        case SQLITE_TEXT:
            value.kind = PV_VALUE_TEXT;
            value.data = sqlite3_column_text(cursor->statement, column);
            value.len = (size_t) sqlite3_column_bytes(cursor->statement, column);
            break;
        case SQLITE_BLOB:
            value.kind = PV_VALUE_BLOB;
            value.data = sqlite3_column_blob(cursor->statement, column);
            value.len = (size_t) sqlite3_column_bytes(cursor->statement, column);
            break;
        default:
            return false;
        }
        values[i] = value;
    }
    return true;
}

/* ---- What happened to a record that does not fit ---- */

struct hashes {
    uint64_t count;
    uint8_t hash[3 * (2 * WINDOW + 2)][PV_SHA256_BYTES];
};

/* Hashes stored near a place, in any order: after a swap they stand with the wrong records. */
static enum pv_status
read_hashes(struct check *check, uint64_t seq, struct hashes *hashes)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status =
        pv_db_prepare(check->sqlite,
                      "SELECT hash FROM main.statement WHERE seq BETWEEN ?1 AND ?2 UNION ALL SELECT hash FROM"
                      " main.statement_end WHERE seq BETWEEN ?1 AND ?2 UNION ALL SELECT hash FROM main.event WHERE seq"
                      " BETWEEN ?1 AND ?2",
                      &statement);

    hashes->count = 0;
    if (status == PV_OK) {
        (void) sqlite3_bind_int64(statement, 1, seq > WINDOW + 1 ? (int64_t) (seq - WINDOW - 1) : 0);
        (void) sqlite3_bind_int64(statement, 2, (int64_t) (seq + WINDOW));
    }
    while (status == PV_OK) {
        status = pv_db_step(statement);
        if (status != PV_OK || hashes->count >= PV_COUNT_OF(hashes->hash))
            break;
        if (sqlite3_column_bytes(statement, 0) == (int) PV_SHA256_BYTES)
            memcpy(hashes->hash[hashes->count++], sqlite3_column_blob(statement, 0), PV_SHA256_BYTES);
    }
    (void) sqlite3_finalize(statement);
    return status == PV_NOTFOUND ? PV_OK : status;
}

static bool
has_hash(const struct hashes *hashes, const uint8_t hash[PV_SHA256_BYTES])
{
    for (uint64_t i = 0; i < hashes->count; i++)
        if (memcmp(hashes->hash[i], hash, PV_SHA256_BYTES) == 0)
            return true;
    return false;
}

/* Whether these values make a known hash under another number: then the record was moved, not changed. */
static enum pv_status
find_origin(struct check *check, const struct cursor *cursor, const struct pv_value *values, uint64_t *origin)
{
    struct hashes *hashes = pv_alloc(sizeof(*hashes));
    struct pv_row_shape shape;
    bool is_shaped = pv_row_shape(cursor->table, values, &shape);
    enum pv_status status = hashes == NULL ? PV_NOMEM : read_hashes(check, cursor->seq, hashes);
    uint64_t first = cursor->seq > WINDOW ? cursor->seq - WINDOW : 1;
    uint8_t hash[PV_SHA256_BYTES];

    *origin = 0;
    for (uint64_t seq = first; status == PV_OK && is_shaped && *origin == 0 && seq <= cursor->seq + WINDOW; seq++) {
        for (uint64_t i = 0; status == PV_OK && *origin == 0 && i <= hashes->count; i++) {
            const uint8_t *before = i == hashes->count ? check->hash : hashes->hash[i];

            status = pv_canonical(&check->canonical, before, shape.tag, seq, values, shape.count);
            if (status == PV_OK)
                status = pv_sha256(pv_buf_slice(&check->canonical), hash);
            if (status == PV_OK && has_hash(hashes, hash))
                *origin = seq;
        }
    }
    pv_free(hashes);
    return status;
}

static enum pv_status
name_break(struct check *check, const struct cursor *cursor, const struct pv_value *values)
{
    char words[128];
    uint64_t origin = 0;
    enum pv_status status = values == NULL ? PV_OK : find_origin(check, cursor, values, &origin);

    if (status != PV_OK)
        return status;
    if (origin != 0 && origin != cursor->seq) {
        (void) snprintf(words, sizeof(words), "reordered: at record %" PRIu64 " stands what was record %" PRIu64,
                        cursor->seq, origin);
        find_fault(check, PV_FAULT_REORDERED, cursor->seq, words);
    } else {
        (void) snprintf(words, sizeof(words), "changed: record %" PRIu64 " (%s) does not match its hash", cursor->seq,
                        cursor->table->name);
        find_fault(check, PV_FAULT_CHANGED, cursor->seq, words);
    }
    return PV_OK;
}

/* ---- The chain ---- */

static enum pv_status
check_row(struct check *check, struct cursor *cursor)
{
    struct pv_value values[PV_TABLE_COLUMNS_MAX];
    struct pv_row_shape shape;
    int hash_column = (int) cursor->table->column_count + 1;
    uint8_t hash[PV_SHA256_BYTES];
    char words[128];
    enum pv_status status;

    if (cursor->seq > check->seq + 1) {
        (void) snprintf(words, sizeof(words), "missing: record %" PRIu64 " is not there, record %" PRIu64 " is next",
                        check->seq + 1, cursor->seq);
        find_fault(check, PV_FAULT_MISSING, check->seq + 1, words);
        return PV_OK;
    }
    if (cursor->seq <= check->seq) {
        (void) snprintf(words, sizeof(words), "changed: two records bear the number %" PRIu64, cursor->seq);
        find_fault(check, PV_FAULT_CHANGED, cursor->seq, words);
        return PV_OK;
    }
    if (!read_values(cursor, values) || !pv_row_shape(cursor->table, values, &shape))
        return name_break(check, cursor, NULL);
    status = pv_canonical(&check->canonical, check->hash, shape.tag, cursor->seq, values, shape.count);
    if (status == PV_OK)
        status = pv_sha256(pv_buf_slice(&check->canonical), hash);
    if (status != PV_OK)
        return status;
    if (sqlite3_column_bytes(cursor->statement, hash_column) != (int) PV_SHA256_BYTES ||
        memcmp(sqlite3_column_blob(cursor->statement, hash_column), hash, PV_SHA256_BYTES) != 0)
        return name_break(check, cursor, values);
    check->seq = cursor->seq;
    memcpy(check->hash, hash, PV_SHA256_BYTES);
    check->verdict->records++;
    if (check->head != NULL && check->head->seq == check->seq)
        check->is_head_seen = memcmp(check->head->hash, hash, PV_SHA256_BYTES) == 0;
    return PV_OK;
}

static enum pv_status
check_chain(struct check *check)
{
    enum pv_status status = PV_OK;
    struct cursor *cursor;

    for (int i = 0; status == PV_OK && i < PV_TABLE_COUNT; i++)
        status = cursor_open(&check->cursors[i], check->sqlite, (enum pv_table_id) i);
    while (status == PV_OK && check->verdict->fault == PV_FAULT_NONE && (cursor = cursor_lowest(check)) != NULL) {
        status = check_row(check, cursor);
        if (status == PV_OK && check->verdict->fault == PV_FAULT_NONE)
            status = cursor_next(cursor);
    }
    check->verdict->head_seq = check->seq;
    memcpy(check->verdict->head_hash, check->hash, PV_SHA256_BYTES);
    return status;
}

static void
check_head(struct check *check)
{
    char words[160];

    if (check->head == NULL || check->verdict->fault != PV_FAULT_NONE)
        return;
    if (check->head->seq == 0 || check->is_head_seen)
        return;
    if (check->seq < check->head->seq) {
        (void) snprintf(words, sizeof(words),
                        "head mismatch: the signed head is record %" PRIu64 ", the log ends at %" PRIu64
                        ": its tail was cut",
                        check->head->seq, check->seq);
        find_fault(check, PV_FAULT_HEAD, check->seq + 1, words);
    } else {
        (void) snprintf(words, sizeof(words),
                        "head mismatch: record %" PRIu64
                        " has another hash than the signed head: the log was rewritten",
                        check->head->seq);
        find_fault(check, PV_FAULT_HEAD, check->head->seq, words);
    }
}

static enum pv_status
check_schema(struct check *check)
{
    char name[96];
    char words[160];
    enum pv_status status;

    if (check->verdict->fault != PV_FAULT_NONE)
        return PV_OK;
    status = pv_schema_compare(check->sqlite, name, sizeof(name));
    if (status == PV_OK && name[0] != '\0') {
        (void) snprintf(words, sizeof(words), "schema: %s is missing, added or changed", name);
        find_fault(check, PV_FAULT_SCHEMA, 0, words);
    }
    return status;
}

/* Indexes too: one that leaves rows out would hide them from searches, and the chain would still hold. */
static enum pv_status
check_pages(struct check *check)
{
    sqlite3_stmt *statement = NULL;
    char words[200];
    enum pv_status status;

    if (check->verdict->fault != PV_FAULT_NONE)
        return PV_OK;
    status = pv_db_prepare(check->sqlite, "PRAGMA integrity_check(1)", &statement);
    if (status == PV_OK)
        status = pv_db_step(statement);
    if (status == PV_OK && strcmp((const char *) sqlite3_column_text(statement, 0), "ok") != 0) {
        (void) snprintf(words, sizeof(words), "damaged: %s", (const char *) sqlite3_column_text(statement, 0));
        find_fault(check, PV_FAULT_DAMAGED, 0, words);
    }
    (void) sqlite3_finalize(statement);
    return status;
}

/* ---- Heads ---- */

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

static enum pv_status
check_signature(struct check *check, const char *path, char *error, size_t error_size)
{
    char *key_path = pv_path_with(path, ".pub");
    char fingerprint[PV_FINGERPRINT_SIZE] = "";
    char words[200];
    struct pv_sign_key *key = NULL;
    struct pv_buf text = {0};
    enum pv_status status = PV_NOMEM;

    if (key_path != NULL)
        status = pv_sign_public_load(key_path, &key, error, error_size);
    if (status == PV_OK)
        status = pv_sign_fingerprint(key, fingerprint);
    if (status == PV_OK)
        status = head_text(check->head, &text);
    if (status == PV_OK)
        status = pv_sign_verify(key, pv_buf_slice(&text), pv_slice_of(check->head->signature, PV_SIGNATURE_BYTES));
    if (status == PV_DENIED || (status == PV_OK && strcmp(fingerprint, check->head->fingerprint) != 0)) {
        (void) snprintf(words, sizeof(words), "signature: the head is not signed by this log's key %.64s", fingerprint);
        find_fault(check, PV_FAULT_SIGNATURE, 0, words);
        status = PV_OK;
    } else if (status == PV_NOMEM)
        pv_db_error(error, error_size, "%s", pv_status_words(status));
    pv_buf_clear(&text);
    pv_sign_key_free(key);
    pv_free(key_path);
    return status;
}

/* A head that serve kept: its hash must be in the log, its signature by the key beside the log, where that is there. */
static enum pv_status
check_kept(struct check *check, const struct pv_log_head *kept, sqlite3_stmt *hash_at, const char *path)
{
    char words[200];
    enum pv_status status;

    (void) sqlite3_bind_int64(hash_at, 1, (sqlite3_int64) kept->seq);
    status = pv_db_step(hash_at);
    if (status == PV_NOTFOUND || (status == PV_OK && (sqlite3_column_bytes(hash_at, 0) != PV_SHA256_BYTES ||
                                                      memcmp(sqlite3_column_blob(hash_at, 0), kept->hash,
                                                             PV_SHA256_BYTES) != 0))) {
        (void) snprintf(words, sizeof(words), "head: the kept head of seq %" PRIu64 " is not in the log", kept->seq);
        find_fault(check, PV_FAULT_HEAD, kept->seq, words);
        status = PV_OK;
    }
    (void) sqlite3_reset(hash_at);
    if (status == PV_OK && check->verdict->fault == PV_FAULT_NONE) {
        const struct pv_log_head *given = check->head;

        check->head = kept;
        status = check_signature(check, path, NULL, 0);
        check->head = given;
    }
    return status;
}

static enum pv_status
check_kept_heads(struct check *check, const char *path)
{
    char *key_path = pv_path_with(path, ".pub");
    bool has_key = key_path != NULL && access(key_path, R_OK) == 0;
    sqlite3_stmt *heads = NULL, *hash_at = NULL;
    enum pv_status status = key_path == NULL ? PV_NOMEM : PV_OK;

    pv_free(key_path);
    if (!has_key || check->verdict->fault != PV_FAULT_NONE)
        return status;
    status = pv_db_prepare(check->sqlite, "SELECT seq, hash, at, key, signature FROM head ORDER BY seq", &heads);
    if (status == PV_OK)
        status = pv_db_prepare(check->sqlite, "SELECT hash FROM statement WHERE seq = ?1 UNION ALL SELECT hash FROM"
                                              " statement_end WHERE seq = ?1 UNION ALL SELECT hash FROM event"
                                              " WHERE seq = ?1", &hash_at);
    while (status == PV_OK && check->verdict->fault == PV_FAULT_NONE && (status = pv_db_step(heads)) == PV_OK) {
        struct pv_log_head kept = {.seq = (uint64_t) sqlite3_column_int64(heads, 0),
                                   .at_us = sqlite3_column_int64(heads, 2)};
        bool is_shaped = sqlite3_column_bytes(heads, 1) == PV_SHA256_BYTES &&
                         sqlite3_column_bytes(heads, 4) == PV_SIGNATURE_BYTES;

        if (is_shaped) {
            memcpy(kept.hash, sqlite3_column_blob(heads, 1), PV_SHA256_BYTES);
            memcpy(kept.signature, sqlite3_column_blob(heads, 4), PV_SIGNATURE_BYTES);
            (void) snprintf(kept.fingerprint, sizeof(kept.fingerprint), "%s",
                            (const char *) sqlite3_column_text(heads, 3));
            status = check_kept(check, &kept, hash_at, path);
        } else {
            find_fault(check, PV_FAULT_SIGNATURE, kept.seq, "signature: a kept head is damaged");
        }
    }
    (void) sqlite3_finalize(heads);
    (void) sqlite3_finalize(hash_at);
    return status == PV_NOTFOUND ? PV_OK : status;
}

enum pv_status
pv_log_verify(const char *path, const struct pv_log_head *head, struct pv_verdict *verdict, char *error,
              size_t error_size)
{
    struct check check = {.head = head, .verdict = verdict};
    enum pv_status status;

    *verdict = (struct pv_verdict){0};
    pv_db_error(error, error_size, "%s", "");
    status = pv_db_open_reading(path, &check.sqlite, error, error_size);
    if (status == PV_OK && head != NULL)
        status = check_signature(&check, path, error, error_size);
    if (check.sqlite == NULL || status != PV_OK)
        goto done;
    if (verdict->fault == PV_FAULT_NONE)
        status = check_chain(&check);
    check_head(&check);
    if (status == PV_OK)
        status = check_schema(&check);
    if (status == PV_OK)
        status = check_kept_heads(&check, path);
    if (status == PV_OK)
        status = check_pages(&check);
    if (status == PV_CORRUPT) {
        find_fault(&check, PV_FAULT_DAMAGED, check.seq + 1, "damaged: the file cannot be read on from here");
        status = PV_OK;
    }
    if (status != PV_OK)
        pv_db_error(error, error_size, "cannot read the query log %s: %s", path, sqlite3_errmsg(check.sqlite));
done:
    for (int i = 0; i < PV_TABLE_COUNT; i++)
        (void) sqlite3_finalize(check.cursors[i].statement);
    (void) sqlite3_close(check.sqlite);
    pv_buf_clear(&check.canonical);
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
        pv_db_error(error, error_size, "cannot read the query log %s: %s", path, sqlite3_errmsg(sqlite));
    (void) sqlite3_finalize(statement);
    (void) sqlite3_close(sqlite);
    return status;
}

enum pv_status
pv_log_head_sign(const char *path, struct pv_log_head *head, char *error, size_t error_size)
{
    char *key_path = pv_path_with(path, ".key");
    struct pv_sign_key *key = NULL;
    struct pv_db_head newest = {0};
    struct pv_log_head made = {0};
    struct pv_buf text = {0};
    enum pv_status status = key_path == NULL ? PV_NOMEM : PV_OK;

    pv_db_error(error, error_size, "%s", key_path == NULL ? pv_status_words(PV_NOMEM) : "");
    if (status == PV_OK)
        status = read_head(path, &newest, error, error_size);
    if (status == PV_OK)
        status = pv_sign_private_load(key_path, &key, error, error_size);
    if (status != PV_OK)
        goto done;
    made.seq = newest.seq;
    memcpy(made.hash, newest.hash, PV_SHA256_BYTES);
    made.at_us = pv_record_now_us();
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
