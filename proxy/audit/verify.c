#include "proxy/audit/verify.h"

#include "proxy/audit/export_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct check {
    const char *path;
    sqlite3 *sqlite;
    struct pv_chain chain;
    struct pv_verdict *verdict;
    struct pv_sign_key *key; /* NULL: there is none beside the log */
    struct pv_segment *segments;
    size_t segment_count;
    struct pv_log_head *heads; /* kept in the log, by seq */
    size_t head_count;
};

static bool
is_fine(const struct check *check)
{
    return check->verdict->fault == PV_FAULT_NONE;
}

/* ---- The head that was given, and those that were kept ---- */

static enum pv_status
load_key(struct check *check, bool is_needed, char *error, size_t error_size)
{
    char *path = pv_path_with(check->path, ".pub");
    enum pv_status status = path == NULL ? PV_NOMEM : PV_OK;

    if (status == PV_OK && (is_needed || access(path, R_OK) == 0))
        status = pv_sign_public_load(path, &check->key, error, error_size);
    else if (status != PV_OK)
        pv_db_error(error, error_size, "%s", pv_status_words(status));
    pv_free(path);
    check->verdict->has_key = check->key != NULL;
    return status;
}

static void
check_head(struct check *check)
{
    const struct pv_log_head *head = check->chain.head;

    if (head == NULL || !is_fine(check) || head->seq == 0 || check->chain.is_head_seen)
        return;
    if (head->seq < check->verdict->first_seq - 1)
        check->verdict->is_head_unreachable = true;
    else if (check->chain.seq < head->seq)
        pv_chain_fault(&check->chain, PV_FAULT_HEAD, check->chain.seq + 1,
                       "head mismatch: the signed head is record %" PRIu64 ", the log ends at %" PRIu64
                       ": its tail was cut",
                       head->seq, check->chain.seq);
    else
        pv_chain_fault(&check->chain, PV_FAULT_HEAD, head->seq,
                       "head mismatch: record %" PRIu64 " has another hash than the signed head: the log was rewritten",
                       head->seq);
}

static enum pv_status
load_heads(struct check *check)
{
    sqlite3_stmt *rows = NULL;
    size_t room = 0;
    enum pv_status status =
        pv_db_prepare(check->sqlite, "SELECT seq, hash, at, key, signature FROM main.head ORDER BY seq", &rows);

    while (status == PV_OK && (status = pv_db_step(rows)) == PV_OK) {
        struct pv_log_head *head;

        if (check->head_count == room) {
            struct pv_log_head *more;

            room = room == 0 ? 64 : room * 2;
            more = pv_realloc(check->heads, room * sizeof(*more));
            if (more == NULL) {
                status = PV_NOMEM;
                break;
            }
            check->heads = more;
        }
        head = &check->heads[check->head_count];
        *head = (struct pv_log_head){.seq = (uint64_t) sqlite3_column_int64(rows, 0),
                                     .at_us = sqlite3_column_int64(rows, 2)};
        if (sqlite3_column_bytes(rows, 1) != PV_SHA256_BYTES || sqlite3_column_bytes(rows, 4) != PV_SIGNATURE_BYTES) {
            pv_chain_fault(&check->chain, PV_FAULT_SIGNATURE, head->seq, "signature: a kept head is damaged");
            break;
        }
        memcpy(head->hash, sqlite3_column_blob(rows, 1), PV_SHA256_BYTES);
        memcpy(head->signature, sqlite3_column_blob(rows, 4), PV_SIGNATURE_BYTES);
        (void) snprintf(head->fingerprint, sizeof(head->fingerprint), "%s",
                        (const char *) sqlite3_column_text(rows, 3));
        check->head_count++;
    }
    (void) sqlite3_finalize(rows);
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* After the chain, which is the first to be asked what is wrong. */
static enum pv_status
check_heads(struct check *check)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; status == PV_OK && is_fine(check) && i < check->head_count; i++) {
        if (check->heads[i].seq > check->chain.seq)
            pv_chain_fault(&check->chain, PV_FAULT_HEAD, check->heads[i].seq,
                           "head: the kept head of seq %" PRIu64 " is not in the log", check->heads[i].seq);
        else if (check->key != NULL)
            status = pv_head_check(&check->chain, check->key, &check->heads[i]);
    }
    return status;
}

/* ---- Pages and schema ---- */

static enum pv_status
check_schema(struct check *check, sqlite3 *sqlite, enum pv_schema_kind kind)
{
    char name[96];
    enum pv_status status;

    if (!is_fine(check))
        return PV_OK;
    status = pv_schema_compare(sqlite, kind, name, sizeof(name));
    if (status == PV_OK && name[0] != '\0')
        pv_chain_fault(&check->chain, PV_FAULT_SCHEMA, 0, "schema: %s is missing, added or changed", name);
    return status;
}

/* Indexes too: one that leaves rows out would hide them from searches, and the chain would still hold. */
static enum pv_status
check_pages(struct check *check, sqlite3 *sqlite)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status;

    if (!is_fine(check))
        return PV_OK;
    status = pv_db_prepare(sqlite, "PRAGMA main.integrity_check(1)", &statement);
    if (status == PV_OK)
        status = pv_db_step(statement);
    if (status == PV_OK && strcmp((const char *) sqlite3_column_text(statement, 0), "ok") != 0)
        pv_chain_fault(&check->chain, PV_FAULT_DAMAGED, 0, "damaged: %s",
                       (const char *) sqlite3_column_text(statement, 0));
    (void) sqlite3_finalize(statement);
    return status;
}

/* ---- Segments ---- */

/* Where it stands in the chain, and that it is ours. */
static enum pv_status
check_manifest(struct check *check, const struct pv_segment *segment)
{
    enum pv_status status = PV_OK;

    if (segment->first_seq != check->chain.seq + 1 || segment->last_seq < segment->first_seq) {
        pv_chain_fault(&check->chain, PV_FAULT_MISSING, check->chain.seq + 1,
                       "missing: record %" PRIu64 " is not there, the segment begins with record %" PRIu64,
                       check->chain.seq + 1, segment->first_seq);
        return PV_OK;
    }
    if (memcmp(segment->before, check->chain.hash, PV_SHA256_BYTES) != 0) {
        pv_chain_fault(&check->chain, PV_FAULT_SEGMENT, segment->first_seq,
                       "segment: it does not go on where record %" PRIu64 " ends", check->chain.seq);
        return PV_OK;
    }
    if (check->key != NULL)
        status = pv_segment_check(check->key, segment);
    if (status == PV_OK && check->key != NULL && segment->is_retired)
        status = pv_segment_check_retired(check->key, segment);
    if (status == PV_DENIED) {
        pv_chain_fault(&check->chain, PV_FAULT_SIGNATURE, segment->first_seq,
                       "signature: its manifest or tombstone is not signed by this log's key");
        status = PV_OK;
    }
    return status;
}

static enum pv_status
check_records(struct check *check, const struct pv_segment *segment, sqlite3 *sqlite)
{
    struct pv_segment own;
    enum pv_status status = pv_segment_manifest(sqlite, &own);

    if (status == PV_OK && !pv_segment_equal(&own, segment)) {
        pv_chain_fault(&check->chain, PV_FAULT_SEGMENT, segment->first_seq,
                       "segment: the file is not the one that was sealed");
        return PV_OK;
    }
    if (status == PV_OK)
        status = pv_chain_walk(&check->chain, sqlite, INT64_MIN);
    if (status == PV_OK && is_fine(check) &&
        (check->chain.seq != segment->last_seq || memcmp(check->chain.hash, segment->hash, PV_SHA256_BYTES) != 0))
        pv_chain_fault(&check->chain, PV_FAULT_SEGMENT, check->chain.seq,
                       "segment: it ends with record %" PRIu64 ", its manifest says %" PRIu64, check->chain.seq,
                       segment->last_seq);
    if (status == PV_OK)
        status = check_schema(check, sqlite, PV_SCHEMA_SEGMENT);
    if (status == PV_OK)
        status = check_pages(check, sqlite);
    return status;
}

/* Retention may have come by since this log was opened. */
static bool
is_retired_by_now(const struct check *check, const struct pv_segment *segment)
{
    struct pv_segment *segments = NULL;
    sqlite3 *sqlite = NULL;
    size_t count = 0;
    bool is_retired = false;
    enum pv_status status = pv_db_open_reading(check->path, &sqlite, NULL, 0);

    if (status == PV_OK)
        status = pv_segments_load(sqlite, "main", &segments, &count);
    for (size_t i = 0; status == PV_OK && i < count; i++)
        is_retired = is_retired || (segments[i].number == segment->number && segments[i].is_retired);
    (void) sqlite3_close(sqlite);
    pv_free(segments);
    return is_retired;
}

static enum pv_status
check_sealed(struct check *check, const struct pv_segment *segment)
{
    char *path = pv_path_beside(check->path, segment->file);
    sqlite3 *sqlite = NULL;
    enum pv_status status = path == NULL ? PV_NOMEM : pv_db_open_sealed(path, &sqlite);

    if (status == PV_NOTFOUND && is_retired_by_now(check, segment))
        status = PV_BUSY;
    else if (status == PV_NOTFOUND) {
        pv_chain_fault(&check->chain, PV_FAULT_SEGMENT, segment->first_seq,
                       "missing: its file %s is gone, with records %" PRIu64 " to %" PRIu64
                       ", and no tombstone says that it was retired",
                       segment->file, segment->first_seq, segment->last_seq);
        status = PV_OK;
    } else if (status == PV_OK)
        status = check_records(check, segment, sqlite);
    if (status == PV_CORRUPT) {
        pv_chain_fault(&check->chain, PV_FAULT_DAMAGED, check->chain.seq + 1,
                       "damaged: its file %s cannot be read on from record %" PRIu64, segment->file,
                       check->chain.seq + 1);
        status = PV_OK;
    }
    (void) sqlite3_close(sqlite);
    pv_free(path);
    check->verdict->segments++;
    return status;
}

static enum pv_status
check_segments(struct check *check)
{
    enum pv_status status = PV_OK;
    char where[48];

    check->chain.where = where;
    for (size_t i = 0; status == PV_OK && is_fine(check) && i < check->segment_count; i++) {
        const struct pv_segment *segment = &check->segments[i];

        (void) snprintf(where, sizeof(where), "segment %" PRIu64 ": ", segment->number);
        status = check_manifest(check, segment);
        if (status != PV_OK || !is_fine(check))
            break;
        if (!segment->is_retired) {
            status = check_sealed(check, segment);
            continue;
        }
        if (check->verdict->segments > 0) {
            pv_chain_fault(&check->chain, PV_FAULT_SEGMENT, segment->first_seq,
                           "segment: it is retired and an older"
                           " one is not");
            break;
        }
        check->chain.seq = segment->last_seq;
        memcpy(check->chain.hash, segment->hash, PV_SHA256_BYTES);
        check->verdict->retired++;
        check->verdict->retired_us = segment->retired_us;
        (void) snprintf(check->verdict->policy, sizeof(check->verdict->policy), "%s", segment->policy);
        check->verdict->first_seq = segment->last_seq + 1;
        if (check->chain.head != NULL && check->chain.head->seq == segment->last_seq)
            check->chain.is_head_seen = memcmp(check->chain.head->hash, segment->hash, PV_SHA256_BYTES) == 0;
    }
    check->chain.where = NULL;
    return status;
}

/* ---- Ends that a segment holds copies of ---- */

/* The same row, as the chain has it, in the file that holds it. */
static enum pv_status
find_original(struct check *check, uint64_t seq, const struct pv_value *values, struct pv_slice hash, bool *is_same)
{
    const struct pv_table *table = &pv_tables[PV_TABLE_STATEMENT_END];
    struct pv_value own[PV_TABLE_COLUMNS_MAX];
    struct pv_buf copy = {0};
    sqlite3_stmt *row = NULL;
    sqlite3 *opened = NULL;
    enum pv_status status = PV_OK;
    char *sql = sqlite3_mprintf("SELECT seq, %s, hash FROM main.statement_end WHERE seq = %lld", table->columns,
                                (long long) seq);

    *is_same = false;
    for (size_t i = 0; status == PV_OK && i < check->segment_count; i++) {
        const struct pv_segment *segment = &check->segments[i];
        char *path;

        if (seq < segment->first_seq || seq > segment->last_seq)
            continue;
        path = pv_path_beside(check->path, segment->file);
        status = path == NULL ? PV_NOMEM : pv_db_open_sealed(path, &opened);
        pv_free(path);
    }
    if (status == PV_OK)
        status = sql == NULL ? PV_NOMEM : pv_db_prepare(opened == NULL ? check->sqlite : opened, sql, &row);
    if (status == PV_OK)
        status = pv_db_step(row);
    if (status == PV_OK && pv_chain_values(row, table, own) && hash.len == PV_SHA256_BYTES &&
        sqlite3_column_bytes(row, (int) table->column_count + 1) == PV_SHA256_BYTES &&
        memcmp(hash.data, sqlite3_column_blob(row, (int) table->column_count + 1), PV_SHA256_BYTES) == 0) {
        status = pv_canonical(&copy, check->chain.hash, table->tag, seq, own, table->column_count);
        if (status == PV_OK)
            status =
                pv_canonical(&check->chain.canonical, check->chain.hash, table->tag, seq, values, table->column_count);
        *is_same = status == PV_OK && pv_slice_equal(pv_buf_slice(&copy), pv_buf_slice(&check->chain.canonical));
    }
    (void) sqlite3_finalize(row);
    (void) sqlite3_close(opened);
    sqlite3_free(sql);
    pv_buf_clear(&copy);
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* What it has added up is no part of the chain, and no more than the records say. */
static enum pv_status
check_usage(struct check *check, const struct pv_segment *segment, sqlite3 *sqlite)
{
    int64_t version = 0;
    bool is_same = true;
    enum pv_status status = is_fine(check) ? pv_schema_version(sqlite, &version) : PV_OK;

    if (status == PV_OK && version > PV_SEGMENT_VERSION_OLDEST)
        status = pv_schema_check_usage(sqlite, &is_same);
    if (status == PV_OK && !is_same)
        pv_chain_fault(&check->chain, PV_FAULT_CHANGED, segment->first_seq,
                       "changed: what segment %" PRIu64 " adds up in its table usage is not what its records say",
                       segment->number);
    return status;
}

static enum pv_status
check_late(struct check *check, const struct pv_segment *segment)
{
    const struct pv_table *table = &pv_tables[PV_TABLE_STATEMENT_END];
    char *path = pv_path_beside(check->path, segment->file);
    char *sql = sqlite3_mprintf("SELECT seq, %s, hash FROM main.late_end", table->columns);
    sqlite3 *sqlite = NULL;
    sqlite3_stmt *row = NULL;
    enum pv_status status = path == NULL || sql == NULL ? PV_NOMEM : pv_db_open_sealed(path, &sqlite);

    if (status == PV_OK)
        status = pv_db_prepare(sqlite, sql, &row);
    while (status == PV_OK && is_fine(check) && (status = pv_db_step(row)) == PV_OK) {
        struct pv_value values[PV_TABLE_COLUMNS_MAX];
        uint64_t seq = (uint64_t) sqlite3_column_int64(row, 0);
        int hash = (int) table->column_count + 1;
        bool is_same = false;

        if (pv_chain_values(row, table, values))
            status = find_original(
                check, seq, values,
                pv_slice_of(sqlite3_column_blob(row, hash), (size_t) sqlite3_column_bytes(row, hash)), &is_same);
        if (status == PV_OK && !is_same)
            pv_chain_fault(&check->chain, PV_FAULT_CHANGED, seq,
                           "changed: the copy of record %" PRIu64 " in segment %" PRIu64 " is not what the chain holds",
                           seq, segment->number);
    }
    (void) sqlite3_finalize(row);
    /* It counts by these copies too. */
    if (status == PV_NOTFOUND)
        status = check_usage(check, segment, sqlite);
    (void) sqlite3_close(sqlite);
    sqlite3_free(sql);
    pv_free(path);
    return status;
}

static enum pv_status
check_all_late(struct check *check)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; status == PV_OK && is_fine(check) && i < check->segment_count; i++)
        if (!check->segments[i].is_retired)
            status = check_late(check, &check->segments[i]);
    return status;
}

/* ---- The whole ---- */

/* Records that a segment holds may not be out of the live file yet; nothing below them may be there. */
static enum pv_status
check_live(struct check *check)
{
    int64_t early = 0;
    enum pv_status status;

    if (!is_fine(check))
        return PV_OK;
    if (check->segment_count == 0)
        return pv_chain_walk(&check->chain, check->sqlite, INT64_MIN);
    status = pv_db_number(check->sqlite,
                          "SELECT (SELECT count(*) FROM main.statement WHERE seq < 1) + (SELECT count(*) FROM"
                          " main.statement_end WHERE seq < 1) + (SELECT count(*) FROM main.event WHERE seq < 1)",
                          0, &early);
    if (status == PV_OK && early > 0)
        pv_chain_fault(&check->chain, PV_FAULT_CHANGED, 0, "changed: there are records before the first one");
    if (status == PV_OK && is_fine(check))
        status = pv_chain_walk(&check->chain, check->sqlite, (int64_t) check->chain.seq);
    return status;
}

/* The chain that can be told of begins behind the last segment that is retired. */
static enum pv_status
tell_start(const struct check *check)
{
    const struct pv_segment *retired = NULL;

    for (size_t i = 0; i < check->segment_count; i++)
        if (check->segments[i].is_retired)
            retired = &check->segments[i];
    return check->chain.listener == NULL ? PV_OK
                                         : check->chain.listener->start(check->chain.listener->context, retired);
}

static enum pv_status
check_all(struct check *check)
{
    enum pv_status status = pv_segments_load(check->sqlite, "main", &check->segments, &check->segment_count);

    if (status == PV_OK)
        status = load_heads(check);
    check->chain.heads = check->heads;
    check->chain.head_count = check->head_count;
    if (status == PV_OK)
        status = tell_start(check);
    if (status == PV_OK)
        status = check_segments(check);
    if (status == PV_OK)
        status = check_live(check);
    check->verdict->head_seq = check->chain.seq;
    memcpy(check->verdict->head_hash, check->chain.hash, PV_SHA256_BYTES);
    check_head(check);
    if (status == PV_OK)
        status = check_schema(check, check->sqlite, PV_SCHEMA_LIVE);
    if (status == PV_OK)
        status = check_heads(check);
    if (status == PV_OK)
        status = check_all_late(check);
    if (status == PV_OK)
        status = check_pages(check, check->sqlite);
    return status;
}

static enum pv_status
verify(const char *path, const struct pv_log_head *head, const struct pv_chain_listener *listener,
       struct pv_verdict *verdict, char *error, size_t error_size)
{
    struct check check = {
        .path = path, .verdict = verdict, .chain = {.verdict = verdict, .head = head, .listener = listener}};
    enum pv_status status;

    *verdict = (struct pv_verdict){.first_seq = 1};
    pv_db_error(error, error_size, "%s", "");
    status = pv_db_open_reading(path, &check.sqlite, error, error_size);
    if (status == PV_OK)
        status = load_key(&check, head != NULL, error, error_size);
    if (check.sqlite == NULL || status != PV_OK)
        goto done;
    if (head != NULL)
        status = pv_head_check(&check.chain, check.key, head);
    if (status == PV_OK && is_fine(&check))
        status = check_all(&check);
    if (status == PV_CORRUPT) {
        pv_chain_fault(&check.chain, PV_FAULT_DAMAGED, check.chain.seq + 1,
                       "damaged: the file cannot be read on from here");
        status = PV_OK;
    }
    if (status == PV_BUSY)
        pv_db_error(error, error_size, "a segment was retired while the log was verified; verify it once more");
    else if (status != PV_OK)
        pv_db_error(error, error_size, "cannot read the query log %s: %s", path, pv_db_reason(check.sqlite, status));
done:
    (void) sqlite3_close(check.sqlite);
    pv_sign_key_free(check.key);
    pv_free(check.segments);
    pv_free(check.heads);
    pv_chain_clear(&check.chain);
    return status;
}

enum pv_status
pv_log_verify(const char *path, const struct pv_log_head *head, struct pv_verdict *verdict, char *error,
              size_t error_size)
{
    return verify(path, head, NULL, verdict, error, error_size);
}

enum pv_status
pv_log_walk(const char *path, const struct pv_chain_listener *listener, struct pv_verdict *verdict, char *error,
            size_t error_size)
{
    return verify(path, NULL, listener, verdict, error, error_size);
}
