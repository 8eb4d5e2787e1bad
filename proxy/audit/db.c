#include "proxy/audit/db_int.h"
#include "proxy/audit/gather_vfs.h"
#include "proxy/audit/ration_int.h"

#include "proxy/base/limits.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    /* Pages that many records share are written back once, not at each thousandth. */
    CHECKPOINT_PAGES = 4000,
    /* Where a reader kept one from being whole, the next is made so many later. */
    CHECKPOINT_AGAIN_PAGES = 1000,
};

static const char hash_at_sql[] = "SELECT hash FROM statement WHERE seq = ?1 UNION ALL SELECT hash FROM statement_end"
                                  " WHERE seq = ?1 UNION ALL SELECT hash FROM event WHERE seq = ?1";

static const char sealed_at_sql[] = "SELECT last_seq, hash FROM segment WHERE first_seq <= ?1 AND last_seq >= ?1";

/* ---- Small tools ---- */

enum pv_status
pv_db_run(sqlite3_stmt *statement)
{
    enum pv_status status = pv_db_step(statement);

    (void) sqlite3_reset(statement);
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* ---- Heads ---- */

/* Changes with each transaction that anybody commits; inside a transaction of ours it says of which state that is. */
static uint32_t
data_version(const struct pv_db *db)
{
    unsigned version = 0;

    (void) sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_DATA_VERSION, &version);
    return version;
}

/* The newest row of all tables: a look at the end of each is a fraction of one statement over all of them. */
static enum pv_status
read_head(struct pv_db *db, struct pv_db_head *head)
{
    struct pv_db_head newest = {0};
    enum pv_status status = PV_OK;

    for (int i = 0; i < PV_TABLE_COUNT && status == PV_OK; i++) {
        struct pv_db_head found = {0};

        status = pv_db_head_read(db->newest[i], &found);
        if (found.seq > newest.seq)
            newest = found;
    }
    if (status == PV_OK)
        *head = newest;
    return status;
}

/* What this connection saw committed may have moved into a segment since, which says where that ends. */
static enum pv_status
was_sealed(struct pv_db *db)
{
    bool is_sealed = false;
    enum pv_status status;

    (void) sqlite3_bind_int64(db->sealed_at, 1, (int64_t) db->committed.seq);
    status = pv_db_step(db->sealed_at);
    if (status == PV_OK)
        is_sealed = (uint64_t) sqlite3_column_int64(db->sealed_at, 0) > db->committed.seq ||
                    (sqlite3_column_bytes(db->sealed_at, 1) == (int) PV_SHA256_BYTES &&
                     memcmp(sqlite3_column_blob(db->sealed_at, 1), db->committed.hash, PV_SHA256_BYTES) == 0);
    (void) sqlite3_reset(db->sealed_at);
    return status == PV_OK && is_sealed ? PV_OK : status == PV_OK || status == PV_NOTFOUND ? PV_CORRUPT : status;
}

/* What this connection saw committed must still be in the log: it may grow by others' records, and nothing else. */
static enum pv_status
check_grown(struct pv_db *db)
{
    uint8_t hash[PV_SHA256_BYTES];
    enum pv_status status;

    if (db->committed.seq == 0)
        return PV_OK;
    if (db->current.seq <= db->committed.seq) {
        bool is_same =
            db->current.seq == db->committed.seq && memcmp(db->current.hash, db->committed.hash, PV_SHA256_BYTES) == 0;

        return is_same ? PV_OK : PV_CORRUPT;
    }
    (void) sqlite3_bind_int64(db->hash_at, 1, (int64_t) db->committed.seq);
    status = pv_db_step(db->hash_at);
    if (status == PV_OK)
        status = pv_db_hash_take(db->hash_at, 0, hash);
    (void) sqlite3_reset(db->hash_at);
    if (status == PV_NOTFOUND)
        return was_sealed(db);
    if (status == PV_OK && memcmp(hash, db->committed.hash, PV_SHA256_BYTES) != 0)
        return PV_CORRUPT;
    return status;
}

/* ---- Opening ---- */

/* Two processes that open a new file at once: one switches to WAL, the other may be told BUSY without a wait. */
static enum pv_status
set_wal(sqlite3 *sqlite, uint32_t busy_ms)
{
    enum { PAUSE_US = 10000 };
    enum pv_status status;

    for (uint32_t waited_us = 0;; waited_us += PAUSE_US) {
        sqlite3_stmt *statement = NULL;

        status = pv_db_prepare(sqlite, "PRAGMA journal_mode = WAL", &statement);
        if (status == PV_OK)
            status = pv_db_step(statement);
        if (status == PV_OK && strcmp((const char *) sqlite3_column_text(statement, 0), "wal") != 0)
            status = PV_IO;
        (void) sqlite3_finalize(statement);
        if (status != PV_BUSY || waited_us / 1000 >= busy_ms)
            return status;
        (void) usleep(PAUSE_US);
    }
}

/* In place of SQLite's own hook, which would write back inside the commit. */
static int
count_pages(void *context, sqlite3 *sqlite, const char *name, int pages)
{
    struct pv_db *db = context;

    (void) sqlite;
    (void) name;
    /* It began anew: all of it was in the file. */
    if (pages < db->wal_pages)
        db->checkpoint_pages = CHECKPOINT_PAGES;
    db->wal_pages = pages;
    return SQLITE_OK;
}

static enum pv_status
set_up(struct pv_db *db, const struct pv_db_options *options, char *error, size_t error_size)
{
    sqlite3 *sqlite = db->sqlite;
    uint32_t busy_ms = options->busy_ms == 0 ? PV_AUDIT_BUSY_MS : options->busy_ms;
    enum pv_status status;

    db->busy_ms = busy_ms;
    (void) sqlite3_extended_result_codes(sqlite, 1);
    (void) sqlite3_busy_timeout(sqlite, (int) busy_ms);
    (void) sqlite3_db_config(sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void) sqlite3_db_config(sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    status = set_wal(sqlite, busy_ms);
    if (status == PV_OK)
        status = pv_db_exec(sqlite, options->is_relaxed && pv_gather_vfs() == NULL ? "PRAGMA synchronous = NORMAL"
                                                                                   : "PRAGMA synchronous = FULL");
    if (status == PV_OK)
        status = pv_db_exec(sqlite, "PRAGMA journal_size_limit = 67108864; PRAGMA cell_size_check = ON;"
                                    "PRAGMA temp_store = MEMORY; PRAGMA recursive_triggers = ON; BEGIN IMMEDIATE");
    if (status != PV_OK) {
        pv_db_error(error, error_size, "%s", sqlite3_errmsg(sqlite));
        return status;
    }
    /* A lazy commit must not hold one: its syncs have to be made. */
    if (options->leaves_checkpoints || options->is_relaxed)
        (void) sqlite3_wal_hook(sqlite, count_pages, db);
    else
        (void) sqlite3_wal_autocheckpoint(sqlite, CHECKPOINT_PAGES);
    db->checkpoint_pages = CHECKPOINT_PAGES;
    status = pv_schema_ensure(sqlite, options->is_creating ? PV_SCHEMA_CREATE : PV_SCHEMA_WRITE, error, error_size);
    if (status == PV_OK) {
        status = pv_db_exec(sqlite, "COMMIT");
        if (status != PV_OK)
            pv_db_error(error, error_size, "%s", sqlite3_errmsg(sqlite));
    }
    if (status != PV_OK && sqlite3_get_autocommit(sqlite) == 0)
        (void) sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static enum pv_status
prepare_table(struct pv_db *db, enum pv_table_id id)
{
    struct pv_buf sql = {0};
    enum pv_status status = PV_NOMEM;

    pv_buf_printf(&sql, "SELECT seq, hash FROM main.%s ORDER BY seq DESC LIMIT 1", pv_tables[id].name);
    if (pv_buf_text(&sql) != NULL)
        status = pv_db_prepare(db->sqlite, pv_buf_text(&sql), &db->newest[id]);
    pv_buf_clear(&sql);
    return status;
}

static const char budget_used_sql[] = "SELECT runs FROM budget WHERE key = ?1 AND period = ?2";
static const char budget_add_sql[] = "INSERT INTO budget (key, period, runs) VALUES (?1, ?2, ?3)"
                                     " ON CONFLICT (key, period) DO UPDATE SET runs = runs + excluded.runs";

static enum pv_status
prepare_all(struct pv_db *db)
{
    const struct {
        const char *sql;
        sqlite3_stmt **statement;
    } rows[] = {
        {"BEGIN IMMEDIATE", &db->begin},     {"COMMIT", &db->commit},
        {"ROLLBACK", &db->rollback},         {hash_at_sql, &db->hash_at},
        {budget_used_sql, &db->budget_used}, {budget_add_sql, &db->budget_add},
        {sealed_at_sql, &db->sealed_at},
    };
    enum pv_status status = PV_OK;

    for (size_t i = 0; status == PV_OK && i < PV_COUNT_OF(rows); i++)
        status = pv_db_prepare(db->sqlite, rows[i].sql, rows[i].statement);
    for (int i = 0; status == PV_OK && i < PV_TABLE_COUNT; i++)
        status = prepare_table(db, (enum pv_table_id) i);
    return status == PV_OK ? pv_db_feeds_open(db) : status;
}

enum pv_status
pv_db_open(const char *path, const struct pv_db_options *options, struct pv_db **db, char *error, size_t error_size)
{
    struct pv_db *made = pv_calloc(1, sizeof(*made));
    char words[256] = "";
    struct stat facts;
    enum pv_status status = PV_OK;

    if (made == NULL) {
        pv_db_error(error, error_size, "%s", pv_status_words(PV_NOMEM));
        return PV_NOMEM;
    }
    made->sha256 = pv_sha256_new();
    if (made->sha256 == NULL) {
        pv_db_error(error, error_size, "%s", pv_status_words(PV_NOMEM));
        status = PV_NOMEM;
        goto failed;
    }
    if (options->is_creating) {
        status = pv_file_ensure(path, error, error_size);
        if (status == PV_OK)
            status = pv_keys_ensure(path, error, error_size);
        if (status != PV_OK)
            goto failed;
    }
    pv_ration_install();
    status = pv_db_status(
        sqlite3_open_v2(path, &made->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, pv_gather_vfs()));
    if (status == PV_OK)
        status = set_up(made, options, words, sizeof(words));
    if (status == PV_OK)
        status = prepare_all(made);
    if (status == PV_OK && stat(path, &facts) != 0)
        status = PV_IO;
    if (status != PV_OK) {
        if (words[0] == '\0')
            (void) snprintf(words, sizeof(words), "%s",
                            pv_db_reason(made->sqlite, status));
        pv_db_error(error, error_size, "cannot open the query log %s: %s", path, words);
        goto failed;
    }
    made->is_lazy = options->is_relaxed;
    made->device = facts.st_dev;
    made->inode = facts.st_ino;
    *db = made;
    return PV_OK;
failed:
    pv_db_close(made);
    return status;
}

void
pv_db_close(struct pv_db *db)
{
    if (db == NULL)
        return;
    (void) sqlite3_finalize(db->begin);
    (void) sqlite3_finalize(db->commit);
    (void) sqlite3_finalize(db->rollback);
    (void) sqlite3_finalize(db->hash_at);
    (void) sqlite3_finalize(db->sealed_at);
    (void) sqlite3_finalize(db->budget_used);
    (void) sqlite3_finalize(db->budget_add);
    (void) sqlite3_finalize(db->spilled);
    for (int i = 0; i < PV_TABLE_COUNT; i++)
        (void) sqlite3_finalize(db->newest[i]);
    pv_db_feeds_finalize(db);
    (void) sqlite3_close(db->sqlite);
    pv_free(db->feeds);
    pv_buf_clear(&db->canonical);
    pv_sha256_free(db->sha256);
    pv_free(db);
}

bool
pv_db_is_in_place(const struct pv_db *db, const char *path)
{
    struct stat facts;

    return stat(path, &facts) == 0 && facts.st_dev == db->device && facts.st_ino == db->inode;
}

/* ---- Writing ---- */

void
pv_db_keep_words(struct pv_db *db)
{
    (void) snprintf(db->words, sizeof(db->words), "%s", sqlite3_errmsg(db->sqlite));
}

enum pv_status
pv_db_begin(struct pv_db *db)
{
    enum pv_status status = pv_db_run(db->begin);

    if (status == PV_OK && db->has_version && data_version(db) == db->version) {
        /* Nobody wrote since this connection's own commit, whose head is known. */
        db->current = db->committed;
        return PV_OK;
    }
    db->has_version = false;
    if (status == PV_OK)
        status = read_head(db, &db->current);
    pv_db_keep_words(db);
    if (status == PV_OK) {
        status = check_grown(db);
        if (status == PV_CORRUPT)
            (void) snprintf(db->words, sizeof(db->words), "the log on disk lost or changed records");
    }
    if (status != PV_OK)
        pv_db_rollback(db);
    return status;
}

/* ---- Budgets ---- */

/* SQLite clears no binding on its own, and these borrow. */
static void
release(sqlite3_stmt *statement)
{
    (void) sqlite3_reset(statement);
    (void) sqlite3_clear_bindings(statement);
}

static enum pv_status
budget_left(struct pv_db *db, const struct pv_budget_take *take)
{
    uint64_t used = 0;
    enum pv_status status;

    if (take->runs_max > INT64_MAX)
        return PV_OK;
    (void) sqlite3_bind_text(db->budget_used, 1, take->key, -1, SQLITE_STATIC);
    (void) sqlite3_bind_text(db->budget_used, 2, take->period, -1, SQLITE_STATIC);
    status = pv_db_step(db->budget_used);
    if (status == PV_OK)
        used = (uint64_t) sqlite3_column_int64(db->budget_used, 0);
    else if (status == PV_NOTFOUND)
        status = PV_OK;
    release(db->budget_used);
    if (status == PV_OK && (take->runs > take->runs_max || used > take->runs_max - take->runs))
        return PV_LIMIT;
    return status;
}

static enum pv_status
budget_take(struct pv_db *db, const struct pv_budget_take *take)
{
    enum pv_status status;

    (void) sqlite3_bind_text(db->budget_add, 1, take->key, -1, SQLITE_STATIC);
    (void) sqlite3_bind_text(db->budget_add, 2, take->period, -1, SQLITE_STATIC);
    (void) sqlite3_bind_int64(db->budget_add, 3, (int64_t) take->runs);
    status = pv_db_run(db->budget_add);
    release(db->budget_add);
    return status;
}

enum pv_status
pv_db_budgets_take(struct pv_db *db, const struct pv_budget_take *takes, size_t count, size_t *spent)
{
    enum pv_status status = PV_OK;

    /* The transaction holds the write lock: what is left now is left below. */
    for (size_t i = 0; i < count && status == PV_OK; i++) {
        status = budget_left(db, &takes[i]);
        if (status == PV_LIMIT)
            *spent = i;
    }
    for (size_t i = 0; i < count && status == PV_OK; i++)
        status = budget_take(db, &takes[i]);
    if (status != PV_OK && status != PV_LIMIT)
        pv_db_keep_words(db);
    return status;
}

enum pv_status
pv_db_commit(struct pv_db *db)
{
    enum pv_status status;

    if (db->is_lazy)
        pv_gather_be_lazy(db->sqlite, true);
    status = pv_db_run(db->commit);
    if (db->is_lazy)
        pv_gather_be_lazy(db->sqlite, false);
    if (status == PV_OK) {
        db->committed = db->current;
        db->version = data_version(db);
        db->has_version = true;
    } else {
        pv_db_keep_words(db);
        pv_db_rollback(db);
    }
    return status;
}

void
pv_db_rollback(struct pv_db *db)
{
    if (sqlite3_get_autocommit(db->sqlite) == 0) {
        (void) sqlite3_step(db->rollback);
        (void) sqlite3_reset(db->rollback);
    }
}

void
pv_db_patience(struct pv_db *db, bool is_patient)
{
    (void) sqlite3_busy_timeout(db->sqlite, is_patient ? (int) db->busy_ms : 0);
}

bool
pv_db_is_checkpoint_due(const struct pv_db *db)
{
    return db->wal_pages >= db->checkpoint_pages;
}

void
pv_db_checkpoint(struct pv_db *db)
{
    (void) sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    db->checkpoint_pages = db->wal_pages + CHECKPOINT_AGAIN_PAGES;
}

enum pv_status
pv_db_id_max(struct pv_db *db, uint64_t *id)
{
    int64_t newest = 0;
    enum pv_status status = pv_db_number(db->sqlite,
                                         /* No index of ids: what was looked at once is not looked at again. */
                                         "SELECT max(coalesce((SELECT max(id) FROM statement WHERE seq > (SELECT value"
                                         " FROM meta WHERE name = 'swept')), 0),"
                                         " coalesce((SELECT max(id) FROM statement_end), 0),"
                                         " coalesce((SELECT max(id_max) FROM segment), 0),"
                                         " (SELECT value FROM meta WHERE name = 'swept_id'))",
                                        0, &newest);

    if (status == PV_OK)
        *id = (uint64_t) newest;
    return status;
}
