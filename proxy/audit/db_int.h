/*
 * The state file as this folder sees it: opening, schema, files beside it, and the
 * appending of chained rows. One thread at a time uses a database.
 */
#ifndef PV_DB_INT_H
#define PV_DB_INT_H

#include "proxy/audit/record_int.h"
#include "proxy/base/base.h"
#include "proxy/base/bytes.h"
#include "proxy/crypto/mac.h"

#include <sqlite3.h>
#include <sys/types.h>

/* "pgvl", in the file's header. */
#define PV_DB_APPLICATION_ID 0x7067766c
#define PV_DB_VERSION 3
/* Whoever opens such a file for writing brings it to PV_DB_VERSION. */
#define PV_DB_VERSION_OLDEST 2
/* "pgvs": a sealed segment. */
#define PV_SEGMENT_APPLICATION_ID 0x70677673
#define PV_SEGMENT_VERSION 2
/* Has no table `usage`. */
#define PV_SEGMENT_VERSION_OLDEST 1

struct pv_db_head {
    uint64_t seq; /* 0: nothing yet, hash zero */
    uint8_t hash[PV_SHA256_BYTES];
};

struct pv_db {
    sqlite3 *sqlite;
    sqlite3_stmt *begin, *commit, *rollback;
    sqlite3_stmt *newest[PV_TABLE_COUNT], *hash_at, *sealed_at;
    struct pv_feed *feeds; /* db_append.c: what is appended to each table */
    sqlite3_stmt *budget_used, *budget_add;
    sqlite3_stmt *spilled;       /* prepared by the first that needs it */
    struct pv_db_head committed; /* what this connection last saw on disk; the log may only grow from it */
    struct pv_db_head current;   /* inside a transaction */
    uint32_t version;            /* SQLite's, of the state that `committed` is of */
    bool has_version;
    bool is_lazy; /* relaxed: a commit need not be on disk */
    uint32_t busy_ms;
    int wal_pages, checkpoint_pages; /* in the write-ahead log by the newest commit; from how many on it is due */
    struct pv_buf canonical;
    struct pv_sha256_state *sha256;
    char words[160]; /* of the last failure, for the operational log */
    dev_t device;
    ino_t inode;
};

struct pv_db_options {
    bool is_creating; /* make file, schema and keys where they are missing */
    bool is_relaxed;
    /* Leaves checkpoints to pv_db_checkpoint, as a relaxed one always does; else a commit that finds the write-ahead
     * log long makes one. */
    bool leaves_checkpoints;
    uint32_t busy_ms; /* 0: PV_AUDIT_BUSY_MS */
};

enum pv_status pv_db_open(const char *path, const struct pv_db_options *options, struct pv_db **db, char *error,
                          size_t error_size) PV_MUST_CHECK;
void pv_db_close(struct pv_db *db);

/* BEGIN IMMEDIATE, and the newest head. PV_CORRUPT: the log lost or changed what this connection had seen. */
enum pv_status pv_db_begin(struct pv_db *db) PV_MUST_CHECK;
/*
 * PV_INVALID: the log does not take this one; PV_LIMIT: a budget of it is spent, the entry became a denied one and was
 * appended as that; either way the transaction goes on. Anything else but PV_OK: roll back.
 */
enum pv_status pv_db_append(struct pv_db *db, struct pv_entry *entry) PV_MUST_CHECK;
/*
 * The same of a list: the first and, in one statement of SQL, as many behind it as can be. Each has the status that is
 * its own; `next` is the first that was not tried. PV_INVALID, PV_LIMIT: of the last that was.
 */
enum pv_status pv_db_append_some(struct pv_db *db, struct pv_entry *first, struct pv_entry **next) PV_MUST_CHECK;
/* Inside a transaction that may write: takes all, or PV_LIMIT and takes none. */
enum pv_status pv_db_budgets_take(struct pv_db *db, const struct pv_budget_take *takes, size_t count,
                                  size_t *spent) PV_MUST_CHECK;
enum pv_status pv_db_commit(struct pv_db *db) PV_MUST_CHECK;
void pv_db_rollback(struct pv_db *db);
/* Whether pv_db_begin waits for another process's transaction; else that is PV_BUSY at once. */
void pv_db_patience(struct pv_db *db, bool is_patient);
/* Of a database that leaves them: whether the write-ahead log is long; brings it into the file, as far as readers let.
 */
bool pv_db_is_checkpoint_due(const struct pv_db *db);
void pv_db_checkpoint(struct pv_db *db);
/* Appends ends with outcome `lost` for statements that have none; inside a transaction. */
enum pv_status pv_db_sweep_lost(struct pv_db *db, uint64_t *lost) PV_MUST_CHECK;
/* Highest statement id of the log. */
enum pv_status pv_db_id_max(struct pv_db *db, uint64_t *id) PV_MUST_CHECK;
/* Whether `path` still is the file that was opened. */
bool pv_db_is_in_place(const struct pv_db *db, const char *path);

/* For statements without rows: leaves them ready for the next time. */
enum pv_status pv_db_run(sqlite3_stmt *statement) PV_MUST_CHECK;
/* The words of the last failure, before a roll-back makes SQLite forget them. */
void pv_db_keep_words(struct pv_db *db);

/* ---- db_append.c ---- */

/* On an open connection; finalized before it is closed, and freed after that. */
enum pv_status pv_db_feeds_open(struct pv_db *db) PV_MUST_CHECK;
void pv_db_feeds_finalize(struct pv_db *db);

/* ---- db_read.c: shared by readers, the writer and the store ---- */

enum pv_status pv_db_status(int rc);
/* Why something failed with `status`: SQLite's words, or, where it was none of SQLite's (`sqlite` NULL too), the status's. */
const char *pv_db_reason(sqlite3 *sqlite, enum pv_status status);
enum pv_status pv_db_prepare(sqlite3 *sqlite, const char *sql, sqlite3_stmt **statement) PV_MUST_CHECK;
/* One number by a statement whose ?1, if it has one, is `given`. PV_NOTFOUND: no row, and `number` is as it was. */
enum pv_status pv_db_number(sqlite3 *sqlite, const char *sql, int64_t given, int64_t *number) PV_MUST_CHECK;
enum pv_status pv_db_exec(sqlite3 *sqlite, const char *sql) PV_MUST_CHECK;
/* Steps once; PV_OK row, PV_NOTFOUND done. */
enum pv_status pv_db_step(sqlite3_stmt *statement) PV_MUST_CHECK;
/* A column that must hold a hash; PV_CORRUPT: it holds none. */
enum pv_status pv_db_hash_take(sqlite3_stmt *statement, int column, uint8_t hash[PV_SHA256_BYTES]) PV_MUST_CHECK;
enum pv_status pv_db_head_read(sqlite3_stmt *head, struct pv_db_head *result) PV_MUST_CHECK;
extern const char pv_db_head_sql[];
/* For reading alone; a copy on a read-only disk too. Begins a read transaction, so that all that follows sees one
 * state. */
enum pv_status pv_db_open_reading(const char *path, sqlite3 **sqlite, char *error, size_t error_size) PV_MUST_CHECK;
/* A sealed segment: nobody writes it, so it is read without locks. Begins no transaction. */
enum pv_status pv_db_open_sealed(const char *path, sqlite3 **sqlite) PV_MUST_CHECK;
/* The URI under which that opened it; freed with sqlite3_free. */
char *pv_db_reading_uri(const char *path, bool is_immutable) PV_MUST_CHECK;
/* Like every error text here: always terminated, NULL with size 0 for none. */
void pv_db_error(char *error, size_t error_size, const char *format, ...) PV_PRINTF(3, 4);

/* ---- schema.c ---- */

enum pv_schema_use { PV_SCHEMA_READ, PV_SCHEMA_WRITE, PV_SCHEMA_CREATE };

/*
 * Inside a transaction: makes the schema in an empty file (CREATE), brings an older version to ours (WRITE, CREATE),
 * refuses what is not ours.
 */
enum pv_status pv_schema_ensure(sqlite3 *sqlite, enum pv_schema_use use, char *error, size_t error_size) PV_MUST_CHECK;
/* In an empty file. */
enum pv_status pv_schema_make_segment(sqlite3 *sqlite) PV_MUST_CHECK;

enum pv_schema_kind { PV_SCHEMA_LIVE, PV_SCHEMA_SEGMENT };

/* PV_OK with an empty `name`: as made. Else the first object that is missing or changed. */
enum pv_status pv_schema_compare(sqlite3 *sqlite, enum pv_schema_kind kind, char *name, size_t name_size) PV_MUST_CHECK;
/* The views over query_log, granted_column and question that tell of usage. */
struct pv_schema_view {
    const char *name, *select;
    const char *quick; /* says the same by way of pv_tally, where that is there; NULL: `select` is quick */
};
#define PV_SCHEMA_VIEW_COUNT 5u
extern const struct pv_schema_view pv_schema_views[PV_SCHEMA_VIEW_COUNT];
/* The views of the log that readers have, and the one that usage is counted from, with `@.` before each table and `@:`
 * where a collation may stand. */
struct pv_schema_log {
    const char *view;
    const char *sealed;     /* the table of sealed records that it reads */
    const char *live;       /* SELECT without a WHERE */
    const char *columns;    /* the same of a table with the view's columns: SELECT without a FROM */
    const char *masked;     /* a SELECT without a FROM, over the view, that shows no literals */
    const char *seq, *room; /* in `live` */
};
#define PV_SCHEMA_LOG_COUNT 3u
extern const struct pv_schema_log pv_schema_logs[PV_SCHEMA_LOG_COUNT];

/* What a segment's table `usage` sums up, a row a statement; `seq` before it. */
extern const char pv_schema_segment_usage[];
/* Fills a new segment's `usage`, after all else. */
enum pv_status pv_schema_fill_usage(sqlite3 *sqlite) PV_MUST_CHECK;
/* Whether it says what the segment's records say. */
enum pv_status pv_schema_check_usage(sqlite3 *sqlite, bool *is_same) PV_MUST_CHECK;
/* PRAGMA user_version. */
enum pv_status pv_schema_version(sqlite3 *sqlite, int64_t *version) PV_MUST_CHECK;

/* ---- tally.c ---- */

/* The aggregate pv_tally, of which the views of usage are made. */
enum pv_status pv_tally_add(sqlite3 *sqlite) PV_MUST_CHECK;

/* ---- files.c ---- */

/* Makes an empty file 0600 where it is missing, and makes its name durable. */
enum pv_status pv_file_ensure(const char *path, char *error, size_t error_size) PV_MUST_CHECK;
/* Makes `path`.key and `path`.pub where they are missing. */
enum pv_status pv_keys_ensure(const char *path, char *error, size_t error_size) PV_MUST_CHECK;
/* PV_BUSY: held by another process. *fd stays open as long as the lock shall hold. */
enum pv_status pv_lock_take(const char *path, int *fd, char *error, size_t error_size) PV_MUST_CHECK;
/* The same for who seals: serve, or a command beside it. */
enum pv_status pv_seal_lock_take(const char *path, int *fd, char *error, size_t error_size) PV_MUST_CHECK;
void pv_lock_release(int fd);
/* Makes names in the folder of `path` durable. */
enum pv_status pv_folder_sync(const char *path) PV_MUST_CHECK;
/* `name` in the folder of `path`; freed with pv_free. */
char *pv_path_beside(const char *path, const char *name) PV_MUST_CHECK;
/* path with an ending; freed with pv_free. */
char *pv_path_with(const char *path, const char *ending) PV_MUST_CHECK;

#endif
