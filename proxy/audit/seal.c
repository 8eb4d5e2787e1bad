/*
 * Invariants:
 * 1. A record leaves the live file only after a segment that holds it was synced under its final name, checked against
 *    the chain as it lies there, and registered in the live file.
 * 2. Registering is one transaction with the event that tells of it: readers see the records in the live file before it
 *    and in the segment after it, never in both.
 * 3. What an earlier run left half done is either forgotten (a segment that is not registered) or finished (records
 * that are sealed and not yet removed, the file of a retired segment).
 * 4. A segment's file goes only after its signed tombstone was committed.
 * 5. One process at a time seals (the lock of pv_seal_lock_take).
 */
#include "proxy/audit/seal_int.h"

#include "proxy/base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Records of one table that are removed in one transaction: the log's writer waits for each. */
#define REMOVE_RECORDS 500
#define US_PER_MS INT64_C(1000)
/* Fewer records are no segment by size: what else the file holds must not have them sealed one by one. */
#define SEGMENT_RECORDS_MIN 1000
/* What a segment adds up of its records is done in memory. */
#define SEGMENT_RECORDS_MAX 2000000

void (*pv_seal_at)(const char *step);

void
pv_seal_step(const char *step)
{
    if (pv_seal_at != NULL)
        pv_seal_at(step);
}

static enum pv_status
say(struct pv_sealing *sealing, enum pv_status status, const char *words)
{
    pv_db_error(sealing->error, sealing->error_size, "%s: %s", words, pv_status_words(status));
    return status;
}

static enum pv_status
reload(struct pv_sealing *sealing)
{
    pv_free(sealing->segments);
    sealing->segments = NULL;
    sealing->count = 0;
    return pv_segments_load(sealing->db->sqlite, "main", &sealing->segments, &sealing->count);
}

static const struct pv_segment *
newest(const struct pv_sealing *sealing)
{
    return sealing->count == 0 ? NULL : &sealing->segments[sealing->count - 1];
}

enum pv_status
pv_seal_event(struct pv_db *db, const char *word, const char *detail)
{
    const struct pv_event event = {.event = word, .detail = detail};
    const struct pv_record record = {.kind = PV_RECORD_EVENT, .event = &event};
    struct pv_entry *entry = NULL;
    enum pv_status status = pv_entry_new(NULL, &record, &entry);

    if (status == PV_OK)
        status = pv_db_append(db, entry);
    pv_entry_unref(entry);
    return status;
}

/* ---- What is due ---- */

/* Bytes of the live file that hold something. */
static enum pv_status
read_live_bytes(sqlite3 *sqlite, int64_t *bytes)
{
    int64_t pages = 0, unused = 0, size = 0;
    enum pv_status status = pv_db_number(sqlite, "PRAGMA main.page_count", 0, &pages);

    if (status == PV_OK)
        status = pv_db_number(sqlite, "PRAGMA main.freelist_count", 0, &unused);
    if (status == PV_OK)
        status = pv_db_number(sqlite, "PRAGMA main.page_size", 0, &size);
    if (status == PV_OK)
        *bytes = (pages - unused) * size;
    return status;
}

/* What sealing itself tells would have an idle log sealed again and again. */
static enum pv_status
read_oldest_us(sqlite3 *sqlite, int64_t *at_us)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status =
        pv_db_prepare(sqlite,
                      "SELECT at FROM (SELECT * FROM (SELECT seq, at FROM statement ORDER BY seq LIMIT 1) UNION ALL"
                      " SELECT * FROM (SELECT seq, at FROM event WHERE event NOT IN ('segment_sealed',"
                      " 'segment_retired') ORDER BY seq LIMIT 1)) ORDER BY seq LIMIT 1",
                      &statement);

    *at_us = INT64_MAX;
    if (status == PV_OK)
        status = pv_db_step(statement);
    if (status == PV_OK && pv_record_time_parse((const char *) sqlite3_column_text(statement, 0), at_us) != PV_OK)
        *at_us = INT64_MAX;
    (void) sqlite3_finalize(statement);
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* How much of the log, in thousandths, is to be sealed; 0: nothing is due. */
static enum pv_status
find_due(sqlite3 *sqlite, const struct pv_seal_options *options, unsigned *share)
{
    int64_t bytes = 0, oldest_us = 0, records = 0, age_us;
    enum pv_status status = read_live_bytes(sqlite, &bytes);

    if (status == PV_OK)
        status = pv_db_number(sqlite,
                             "SELECT max(coalesce((SELECT max(seq) FROM statement), 0), coalesce((SELECT max(seq) FROM"
                             " statement_end), 0), coalesce((SELECT max(seq) FROM event), 0))"
                             " - (SELECT coalesce(max(last_seq), 0) FROM segment)",
                             0, &records);
    if (status == PV_OK)
        status = read_oldest_us(sqlite, &oldest_us);
    if (status != PV_OK)
        return status;
    age_us = pv_record_now_us() - oldest_us;
    *share = 0;
    if (options->is_now || (options->segment_age_ms > 0 && oldest_us != INT64_MAX && age_us > 0 &&
                            (uint64_t) (age_us / US_PER_MS) >= options->segment_age_ms))
        *share = 1000;
    if (options->segment_bytes > 0 && (uint64_t) bytes >= options->segment_bytes && records >= SEGMENT_RECORDS_MIN)
        *share = 1000;
    /* A log that is far larger than a segment becomes several. */
    if (*share > 0 && options->segment_bytes > 0 && (uint64_t) bytes > 2 * options->segment_bytes)
        *share = (unsigned) (options->segment_bytes * 1000 / (uint64_t) bytes) + 1;
    if (*share > 0 && records > SEGMENT_RECORDS_MAX && *share > SEGMENT_RECORDS_MAX * INT64_C(1000) / records)
        *share = (unsigned) (SEGMENT_RECORDS_MAX * INT64_C(1000) / records) + 1;
    return PV_OK;
}

/* The last record that may be sealed; at most `after`: none. Statements that run hold it back, and shipping. */
static enum pv_status
find_last(const struct pv_sealing *sealing, sqlite3 *live, int64_t after, unsigned share, int64_t *last)
{
    struct pv_db_head head = {0};
    sqlite3_stmt *statement = NULL;
    int64_t running = 0, shipped = 0;
    enum pv_status status = pv_db_prepare(live, pv_db_head_sql, &statement);

    if (status == PV_OK)
        status = pv_db_head_read(statement, &head);
    (void) sqlite3_finalize(statement);
    if (status == PV_OK)
        status = pv_db_number(live,
                             "SELECT coalesce((SELECT min(s.seq) FROM statement AS s WHERE s.seq > ?1 AND s.outcome IS NULL AND NOT EXISTS"
                             " (SELECT 1 FROM statement_end AS e WHERE e.id = s.id)), 9223372036854775807)",
                             after, &running);
    if (status != PV_OK)
        return status;
    *last = (int64_t) head.seq - 1;
    if (*last > after && share < 1000)
        *last = after + (*last - after) * (int64_t) share / 1000 + 1;
    if (*last >= running)
        *last = running - 1;
    if (sealing->options->is_file_shipped) {
        status = pv_db_number(live, "SELECT coalesce(max(seq), 0) FROM shipped WHERE target = 'file'", 0, &shipped);
        *last = shipped < *last ? shipped : *last;
    }
    if (status == PV_OK && sealing->options->is_syslog_shipped) {
        status = pv_db_number(live, "SELECT coalesce(max(seq), 0) FROM shipped WHERE target = 'syslog'", 0, &shipped);
        *last = shipped < *last ? shipped : *last;
    }
    return status;
}

/* ---- Taking records out of the live file ---- */

static enum pv_status
remove_some(struct pv_db *db, int64_t last, int *removed)
{
    enum pv_status status = pv_db_exec(db->sqlite, "BEGIN IMMEDIATE");

    *removed = 0;
    for (int i = 0; status == PV_OK && i < PV_TABLE_COUNT; i++) {
        char *sql =
            sqlite3_mprintf("DELETE FROM main.%s WHERE seq IN (SELECT seq FROM main.%s WHERE seq <= %lld ORDER BY"
                            " seq LIMIT %d)",
                            pv_tables[i].name, pv_tables[i].name, (long long) last, REMOVE_RECORDS);

        status = sql == NULL ? PV_NOMEM : pv_db_exec(db->sqlite, sql);
        *removed += status == PV_OK ? sqlite3_changes(db->sqlite) : 0;
        sqlite3_free(sql);
    }
    if (status == PV_OK)
        status = pv_db_exec(db->sqlite, "COMMIT");
    if (status != PV_OK)
        pv_db_rollback(db);
    return status;
}

static enum pv_status
remove_sealed(struct pv_sealing *sealing)
{
    const struct pv_segment *segment = newest(sealing);
    int removed = 1;
    enum pv_status status = PV_OK;

    while (segment != NULL && status == PV_OK && removed > 0) {
        status = remove_some(sealing->db, (int64_t) segment->last_seq, &removed);
        pv_seal_step("removing");
        if (status == PV_OK && sealing->options->cancel != NULL && atomic_load(sealing->options->cancel))
            status = PV_LIMIT;
    }
    return status;
}

/* An earlier run may have ended between registering and removing: the segments are looked at once more first. */
static enum pv_status
finish_removing(struct pv_sealing *sealing)
{
    const struct pv_segment *last = newest(sealing);
    int64_t oldest = 0;
    enum pv_status status;

    if (last == NULL)
        return PV_OK;
    status = pv_db_number(sealing->db->sqlite,
                         "SELECT min(coalesce((SELECT min(seq) FROM statement), 9223372036854775807),"
                         " coalesce((SELECT min(seq) FROM statement_end), 9223372036854775807),"
                         " coalesce((SELECT min(seq) FROM event), 9223372036854775807))",
                         0, &oldest);
    if (status != PV_OK || oldest > (int64_t) last->last_seq)
        return status;
    for (size_t i = 0; status == PV_OK && i < sealing->count; i++)
        if (!sealing->segments[i].is_retired && (int64_t) sealing->segments[i].last_seq >= oldest)
            status = pv_seal_check(sealing, &sealing->segments[i]);
    if (status != PV_OK) {
        pv_db_error(sealing->error, sealing->error_size,
                    "a sealed segment is not as it was; what the live file still has of it stays there");
        return status;
    }
    return remove_sealed(sealing);
}

/* ---- Sealing ---- */

static bool
name_segment(const struct pv_sealing *sealing, struct pv_segment *segment)
{
    const char *slash = strrchr(sealing->path, '/');
    const char *base = slash == NULL ? sealing->path : slash + 1;

    return (size_t) snprintf(segment->file, sizeof(segment->file), "%.255s.segment-%06" PRIu64, base, segment->number) <
           256;
}

static enum pv_status
plan(struct pv_sealing *sealing, struct pv_segment *segment, bool *is_due, bool *has_more)
{
    const struct pv_segment *last = newest(sealing);
    int64_t last_seq = 0;
    unsigned share = 0;
    enum pv_status status = find_due(sealing->db->sqlite, sealing->options, &share);

    *is_due = false;
    *has_more = share < 1000;
    if (status != PV_OK || share == 0)
        return status;
    *segment = (struct pv_segment){.number = last == NULL ? 1 : last->number + 1,
                                   .first_seq = last == NULL ? 1 : last->last_seq + 1};
    if (last != NULL)
        memcpy(segment->before, last->hash, PV_SHA256_BYTES);
    status = find_last(sealing, sealing->db->sqlite, (int64_t) segment->first_seq - 1, share, &last_seq);
    *is_due = status == PV_OK && last_seq >= (int64_t) segment->first_seq;
    segment->last_seq = *is_due ? (uint64_t) last_seq : 0;
    if (*is_due && !name_segment(sealing, segment))
        status = PV_INVALID;
    return status;
}

/* The whole of one segment. Records that were there when it was planned do not change, so no lock is held meanwhile. */
static enum pv_status
seal_one(struct pv_sealing *sealing, struct pv_segment *segment)
{
    char *path = pv_path_beside(sealing->path, segment->file);
    char *draft = path == NULL ? NULL : pv_path_with(path, ".new");
    enum pv_status status = draft == NULL ? PV_NOMEM : PV_OK;

    if (status == PV_OK) {
        /* Of a run that ended before it registered them. */
        (void) unlink(draft);
        (void) unlink(path);
        status = pv_seal_draft(sealing, draft, segment);
    }
    if (status == PV_OK)
        status = pv_seal_put_in_place(sealing, draft, path);
    if (status == PV_OK)
        status = pv_seal_check(sealing, segment);
    if (status == PV_OK)
        status = pv_seal_register(sealing, segment);
    pv_seal_step("registered");
    if (status != PV_OK && draft != NULL)
        (void) unlink(draft);
    pv_free(draft);
    pv_free(path);
    return status;
}

static enum pv_status
seal_due(struct pv_sealing *sealing)
{
    struct pv_segment segment;
    bool is_due = false, has_more = true;
    enum pv_status status = PV_OK;

    /* One, unless the log is several: the event that tells of the last would be sealed by itself, and so on. */
    while (status == PV_OK && has_more) {
        status = plan(sealing, &segment, &is_due, &has_more);
        if (status != PV_OK || !is_due)
            break;
        status = seal_one(sealing, &segment);
        if (status == PV_OK)
            status = reload(sealing);
        if (status == PV_OK)
            status = remove_sealed(sealing);
        if (status == PV_OK) {
            sealing->result->sealed++;
            sealing->result->records += segment.records;
        }
    }
    return status;
}

/* ---- Retention ---- */

static int64_t
size_of(const struct pv_sealing *sealing, const struct pv_segment *segment)
{
    char *path = pv_path_beside(sealing->path, segment->file);
    struct stat facts;
    int64_t size = path != NULL && stat(path, &facts) == 0 ? facts.st_size : 0;

    pv_free(path);
    return size;
}

static enum pv_status
remove_file(const struct pv_sealing *sealing, const struct pv_segment *segment)
{
    char *path = pv_path_beside(sealing->path, segment->file);
    enum pv_status status = path == NULL ? PV_NOMEM : PV_OK;

    if (status == PV_OK && access(path, F_OK) == 0)
        status = unlink(path) == 0 ? pv_folder_sync(path) : PV_IO;
    pv_free(path);
    return status;
}

static enum pv_status
retire(struct pv_sealing *sealing, struct pv_segment *segment, const char *policy)
{
    char detail[256];
    enum pv_status status;

    segment->retired_us = pv_record_now_us();
    (void) snprintf(segment->policy, sizeof(segment->policy), "%s", policy);
    status = pv_segment_sign_retired(sealing->key, segment);
    if (status == PV_OK)
        status = pv_db_begin(sealing->db);
    if (status != PV_OK)
        return status;
    (void) snprintf(detail, sizeof(detail),
                    "{\"segment\": %" PRIu64 ", \"first_seq\": %" PRIu64 ", \"last_seq\": %" PRIu64
                    ", \"policy\": \"%s\"}",
                    segment->number, segment->first_seq, segment->last_seq, policy);
    status = pv_segment_insert_retired(sealing->db->sqlite, segment);
    if (status == PV_OK)
        status = pv_seal_event(sealing->db, "segment_retired", detail);
    pv_seal_step("retiring");
    if (status == PV_OK)
        status = pv_db_commit(sealing->db);
    else
        pv_db_rollback(sealing->db);
    if (status != PV_OK)
        return status;
    segment->is_retired = true;
    pv_seal_step("retired");
    sealing->result->retired++;
    return remove_file(sealing, segment);
}

/* Whether the oldest segment is too much, and by what words. */
static bool
is_over(const struct pv_sealing *sealing, const struct pv_segment *segment, int64_t bytes, char *policy, size_t size)
{
    const struct pv_seal_options *options = sealing->options;
    int64_t last_us = 0;

    if (options->retention_age_ms > 0 && pv_record_time_parse(segment->last_at, &last_us) == PV_OK &&
        pv_record_now_us() > last_us &&
        (uint64_t) ((pv_record_now_us() - last_us) / US_PER_MS) >= options->retention_age_ms) {
        (void) snprintf(policy, size, "retention_age %" PRIu64 " s", options->retention_age_ms / 1000);
        return true;
    }
    if (options->retention_bytes > 0 && (uint64_t) bytes > options->retention_bytes) {
        (void) snprintf(policy, size, "retention_bytes %" PRIu64, options->retention_bytes);
        return true;
    }
    return false;
}

static enum pv_status
retire_due(struct pv_sealing *sealing)
{
    char policy[96];
    int64_t bytes = 0;
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < sealing->count; i++)
        if (!sealing->segments[i].is_retired)
            bytes += size_of(sealing, &sealing->segments[i]);
    for (size_t i = 0; status == PV_OK && i < sealing->count; i++) {
        struct pv_segment *segment = &sealing->segments[i];

        if (segment->is_retired) {
            status = remove_file(sealing, segment);
            continue;
        }
        if (!is_over(sealing, segment, bytes, policy, sizeof(policy)))
            break;
        bytes -= size_of(sealing, segment);
        status = retire(sealing, segment, policy);
    }
    return status;
}

/* ---- The whole ---- */

static enum pv_status
seal(struct pv_sealing *sealing)
{
    char *key_path = pv_path_with(sealing->path, ".key");
    const struct pv_db_options options = {0};
    enum pv_status status = PV_NOMEM;

    if (key_path != NULL)
        status = pv_sign_private_load(key_path, &sealing->key, sealing->error, sealing->error_size);
    pv_free(key_path);
    if (status == PV_OK)
        status = pv_db_open(sealing->path, &options, &sealing->db, sealing->error, sealing->error_size);
    if (status != PV_OK)
        return status;
    status = reload(sealing);
    if (status == PV_OK)
        status = finish_removing(sealing);
    if (status == PV_OK)
        status = seal_due(sealing);
    if (status == PV_OK)
        status = retire_due(sealing);
    sealing->result->last_seq = newest(sealing) == NULL ? 0 : newest(sealing)->last_seq;
    return status;
}

bool
pv_log_seal_is_due(const char *path, const struct pv_seal_options *options)
{
    sqlite3 *sqlite = NULL;
    unsigned share = 0;
    enum pv_status status = pv_db_open_reading(path, &sqlite, NULL, 0);

    if (status == PV_OK)
        status = find_due(sqlite, options, &share);
    (void) sqlite3_close(sqlite);
    return status == PV_OK && share > 0;
}

enum pv_status
pv_log_seal(const char *path, const struct pv_seal_options *options, struct pv_seal_result *result, char *error,
            size_t error_size)
{
    struct pv_sealing sealing = {
        .path = path, .options = options, .result = result, .error = error, .error_size = error_size};
    int lock = -1;
    enum pv_status status;

    *result = (struct pv_seal_result){0};
    pv_db_error(error, error_size, "%s", "");
    status = pv_seal_lock_take(path, &lock, error, error_size);
    if (status != PV_OK)
        return status;
    status = seal(&sealing);
    if (status != PV_OK && (error_size == 0 || error[0] == '\0'))
        status = say(&sealing, status, "the log cannot be sealed");
    pv_db_close(sealing.db);
    pv_sign_key_free(sealing.key);
    pv_free(sealing.segments);
    pv_lock_release(lock);
    return status;
}
