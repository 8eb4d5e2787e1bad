/* Writing a segment: a draft, put under its final name, checked as it lies there, and registered in the live file. */
#include "proxy/audit/seal_int.h"

#include "proxy/audit/chain_int.h"
#include "proxy/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Instructions of SQLite's machine between two looks at who cancels. */
#define PROGRESS_STEPS 10000

static int
is_cancelled(void *context)
{
    const struct pv_seal_options *options = context;

    return options->cancel != NULL && atomic_load(options->cancel);
}

static enum pv_status
copy_records(sqlite3 *made, const char *live_path, const struct pv_segment *segment)
{
    char *uri = pv_db_reading_uri(live_path, false);
    char *sql = uri == NULL ? NULL : sqlite3_mprintf("ATTACH %Q AS live", uri);
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_exec(made, sql);

    sqlite3_free(sql);
    sqlite3_free(uri);
    if (status == PV_OK)
        status = pv_db_exec(made, "PRAGMA main.journal_mode = MEMORY; PRAGMA main.synchronous = FULL; BEGIN");
    if (status == PV_OK)
        status = pv_schema_make_segment(made);
    for (int i = 0; status == PV_OK && i < PV_TABLE_COUNT; i++) {
        sql = sqlite3_mprintf("INSERT INTO main.%s (seq, %s, hash) SELECT seq, %s, hash FROM live.%s WHERE seq BETWEEN"
                              " %lld AND %lld ORDER BY seq",
                              pv_tables[i].name, pv_tables[i].columns, pv_tables[i].columns, pv_tables[i].name,
                              (long long) segment->first_seq, (long long) segment->last_seq);
        status = sql == NULL ? PV_NOMEM : pv_db_exec(made, sql);
        sqlite3_free(sql);
    }
    if (status != PV_OK)
        return status;
    sql =
        sqlite3_mprintf("INSERT INTO main.late_end (seq, " PV_STATEMENT_END_COLUMNS ", hash) SELECT e.seq, e.id, e.at,"
                        " e.rows, e.suppressed, e.bytes, e.duration_us, e.outcome, e.sqlstate, e.reason, e.hash FROM"
                        " live.statement_end AS e WHERE e.seq > %lld AND e.id IN (SELECT id FROM main.statement WHERE outcome"
                          " IS NULL)",
                        (long long) segment->last_seq);
    status = sql == NULL ? PV_NOMEM : pv_db_exec(made, sql);
    sqlite3_free(sql);
    return status == PV_OK ? pv_schema_fill_usage(made) : status;
}

/* What the copy itself says of its records. */
static enum pv_status
read_facts(sqlite3 *made, struct pv_segment *segment)
{
    static const char sql[] =
        "SELECT max(id), min(at), max(at) FROM (SELECT id, at FROM main.statement UNION ALL SELECT id, at FROM"
        " main.statement_end UNION ALL SELECT 0, at FROM main.event)";
    sqlite3_stmt *row = NULL;
    enum pv_status status = pv_db_prepare(made, sql, &row);

    if (status == PV_OK)
        status = pv_db_step(row);
    if (status == PV_OK) {
        segment->id_max = (uint64_t) sqlite3_column_int64(row, 0);
        (void) snprintf(segment->first_at, sizeof(segment->first_at), "%s", (const char *) sqlite3_column_text(row, 1));
        (void) snprintf(segment->last_at, sizeof(segment->last_at), "%s", (const char *) sqlite3_column_text(row, 2));
    }
    (void) sqlite3_finalize(row);
    return status == PV_NOTFOUND ? PV_CORRUPT : status;
}

/* That the file's records go on where the segment begins, one by one, up to its last. Fills in hash and count. */
static enum pv_status
check_records(struct pv_sealing *sealing, sqlite3 *sqlite, struct pv_segment *segment)
{
    struct pv_verdict verdict = {0};
    struct pv_chain chain = {.verdict = &verdict, .seq = segment->first_seq - 1};
    enum pv_status status;

    memcpy(chain.hash, segment->before, PV_SHA256_BYTES);
    status = pv_chain_walk(&chain, sqlite, INT64_MIN);
    if (status == PV_OK && verdict.fault == PV_FAULT_NONE && chain.seq != segment->last_seq)
        pv_chain_fault(&chain, PV_FAULT_MISSING, chain.seq + 1, "missing: record %" PRIu64 " is not there",
                       chain.seq + 1);
    if (status == PV_OK && verdict.fault != PV_FAULT_NONE) {
        pv_db_error(sealing->error, sealing->error_size, "segment %" PRIu64 " is not sound: %s", segment->number,
                    verdict.words);
        status = PV_CORRUPT;
    }
    segment->records = verdict.records;
    memcpy(segment->hash, chain.hash, PV_SHA256_BYTES);
    pv_chain_clear(&chain);
    return status;
}

/* Everything into a draft of the segment, which is synced when this is done. */
enum pv_status
pv_seal_draft(struct pv_sealing *sealing, const char *draft, struct pv_segment *segment)
{
    sqlite3 *made = NULL;
    enum pv_status status = pv_file_ensure(draft, sealing->error, sealing->error_size);

    if (status != PV_OK)
        return status;
    pv_seal_step("draft");
    status = pv_db_status(
        sqlite3_open_v2(draft, &made, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL));
    if (status == PV_OK) {
        (void) sqlite3_busy_timeout(made, (int) PV_AUDIT_BUSY_MS);
        if (sealing->options->cancel != NULL) {
            void *context;

            /* The handler's context is not const; it is not written either. */
            memcpy(&context, &sealing->options, sizeof(context));
            sqlite3_progress_handler(made, PROGRESS_STEPS, is_cancelled, context);
        }
        status = copy_records(made, sealing->path, segment);
    }
    pv_seal_step("copied");
    if (status == PV_OK)
        status = check_records(sealing, made, segment);
    if (status == PV_OK)
        status = read_facts(made, segment);
    segment->at_us = pv_record_now_us();
    if (status == PV_OK)
        status = pv_segment_sign(sealing->key, segment);
    if (status == PV_OK)
        status = pv_segment_insert(made, "manifest", segment);
    if (status == PV_OK)
        status = pv_db_exec(made, "COMMIT");
    pv_seal_step("written");
    if (status != PV_OK && status != PV_CORRUPT)
        pv_db_error(sealing->error, sealing->error_size, "cannot write %s: %s", draft,
                    pv_db_reason(made, status));
    if (sqlite3_close(made) != SQLITE_OK && status == PV_OK)
        status = PV_IO;
    return status;
}

enum pv_status
pv_seal_put_in_place(struct pv_sealing *sealing, const char *draft, const char *path)
{
    if (chmod(draft, S_IRUSR) != 0 || rename(draft, path) != 0) {
        pv_db_error(sealing->error, sealing->error_size, "cannot make %s: %s", path, strerror(errno));
        return PV_IO;
    }
    pv_seal_step("renamed");
    return pv_folder_sync(path);
}

/* As it lies there now, by its own name. */
enum pv_status
pv_seal_check(struct pv_sealing *sealing, const struct pv_segment *segment)
{
    char *path = pv_path_beside(sealing->path, segment->file);
    struct pv_segment own = {0}, found = *segment;
    sqlite3 *sqlite = NULL;
    enum pv_status status = path == NULL ? PV_NOMEM : pv_db_open_sealed(path, &sqlite);

    if (status == PV_OK)
        status = pv_segment_manifest(sqlite, &own);
    if (status == PV_OK && !pv_segment_equal(&own, segment))
        status = PV_CORRUPT;
    if (status == PV_OK)
        status = check_records(sealing, sqlite, &found);
    if (status == PV_OK && memcmp(found.hash, segment->hash, PV_SHA256_BYTES) != 0)
        status = PV_CORRUPT;
    (void) sqlite3_close(sqlite);
    pv_free(path);
    return status;
}

enum pv_status
pv_seal_register(struct pv_sealing *sealing, const struct pv_segment *segment)
{
    struct pv_buf detail = {0};
    enum pv_status status;

    pv_buf_printf(&detail,
                  "{\"segment\": %" PRIu64 ", \"first_seq\": %" PRIu64 ", \"last_seq\": %" PRIu64 ", \"hash\": \"",
                  segment->number, segment->first_seq, segment->last_seq);
    status = pv_hex_encode(pv_slice_of(segment->hash, PV_SHA256_BYTES), &detail);
    pv_buf_put_text(&detail, "\"}");
    if (status == PV_OK)
        status = pv_buf_text(&detail) == NULL ? PV_NOMEM : pv_db_begin(sealing->db);
    if (status != PV_OK)
        goto done;
    status = pv_segment_insert(sealing->db->sqlite, "segment", segment);
    if (status == PV_OK)
        status = pv_seal_event(sealing->db, "segment_sealed", pv_buf_text(&detail));
    pv_seal_step("registering");
    if (status == PV_OK)
        status = pv_db_commit(sealing->db);
    else
        pv_db_rollback(sealing->db);
done:
    pv_buf_clear(&detail);
    return status;
}
