/*
 * Appending rows to the chain, many to one statement of SQL: what a statement costs SQLite before and behind its row is
 * more than the row. The rows come from a virtual table for each chained one, which `INSERT INTO .. SELECT` reads.
 *
 * Invariants:
 * 1. SQLite asks for the next row when the one before is in its table. `current` moves then and only then, so it is the
 *    newest row's whenever a statement ends, however it ends. In a file with a trigger, which is not ours, SQLite reads
 *    all rows first: then it takes all of them, or the transaction fails.
 * 2. A row that a constraint refuses leaves those before it in place (OR FAIL), one that is refused for another reason is
 *    left out; the next statement goes on behind it.
 */
#include "proxy/audit/db_int.h"

#include <stdio.h>
#include <string.h>

enum { COLUMN_SEQ = 0, ID_AND_TIME = 2 };

struct pv_feed {
    sqlite3_vtab base;
    sqlite3_vtab_cursor cursor; /* the only one */
    struct pv_db *db;
    enum pv_table_id table;
    sqlite3_stmt *insert;
    struct pv_entry *entry; /* whose row is next or was refused */
    struct pv_entry *stop;  /* behind the last one */
    int64_t count;          /* rows that SQLite took */
    enum pv_status status;  /* why there was no row */
    struct pv_db_head head; /* of the row */
    struct pv_value values[PV_TABLE_COLUMNS_MAX];
};

static const char lost_sql[] =
    "SELECT s.id FROM statement AS s WHERE s.seq > (SELECT value FROM meta WHERE name = 'swept')"
    " AND s.outcome IS NULL AND NOT EXISTS (SELECT 1 FROM statement_end AS e WHERE e.id = s.id) ORDER BY s.seq";

/* ---- The next row ---- */

/* One that a statement of many rows can take: nothing hangs on what became of those before it. */
static bool
is_plain(const struct pv_entry *entry)
{
    return (entry->kind == PV_RECORD_BEGIN && entry->take_count == 0) || entry->kind == PV_RECORD_WHOLE ||
           (entry->kind == PV_RECORD_END && entry->is_in_begin);
}

static enum pv_table_id
table_of(const struct pv_entry *entry)
{
    return entry->kind == PV_RECORD_END     ? PV_TABLE_STATEMENT_END
           : entry->kind == PV_RECORD_EVENT ? PV_TABLE_EVENT
                                            : PV_TABLE_STATEMENT;
}

/* Values and hash of the row of `entry`: of a statement with its end, NULL while it runs. */
static enum pv_status
load_row(struct pv_feed *feed, const struct pv_entry *entry, const struct pv_entry *end)
{
    const struct pv_table *table = &pv_tables[feed->table];
    struct pv_db *db = feed->db;
    struct pv_row_shape shape;
    bool is_statement = feed->table == PV_TABLE_STATEMENT;
    bool is_shaped;
    enum pv_status status;

    memcpy(feed->values, entry->values, (is_statement ? PV_BEGIN_VALUES : table->column_count) * sizeof(feed->values[0]));
    if (is_statement && end == NULL)
        memset(feed->values + PV_BEGIN_VALUES, 0, PV_WHOLE_VALUES * sizeof(feed->values[0]));
    else if (is_statement)
        memcpy(feed->values + PV_BEGIN_VALUES, pv_entry_end_values(end) + ID_AND_TIME,
               PV_WHOLE_VALUES * sizeof(feed->values[0]));
    is_shaped = pv_row_shape(table, feed->values, &shape);
    pv_assert(is_shaped);
    feed->head.seq = db->current.seq + 1;
    if (entry->packed != NULL && (end == NULL || end->packed != NULL))
        status = pv_canonical_packed(&db->canonical, db->current.hash, shape.tag, feed->head.seq, entry, end);
    else
        status = pv_canonical(&db->canonical, db->current.hash, shape.tag, feed->head.seq, feed->values, shape.count);
    if (status == PV_OK)
        status = pv_sha256_update(db->sha256, pv_buf_slice(&db->canonical));
    return status == PV_OK ? pv_sha256_finish(db->sha256, feed->head.hash) : status;
}

/* From `entry` on, to the next that has a row. PV_OK without one: there is none. */
static enum pv_status
load_next(struct pv_feed *feed)
{
    struct pv_entry *entry = feed->entry;
    const struct pv_entry *end = NULL;

    for (; entry != feed->stop && entry->kind == PV_RECORD_END && entry->is_in_begin; entry = entry->next)
        entry->status = PV_OK;
    if (feed->count > 0 && entry != feed->stop && (!is_plain(entry) || table_of(entry) != feed->table))
        feed->stop = entry;
    feed->entry = entry;
    if (entry == feed->stop)
        return PV_OK;
    pv_entry_settle(entry);
    if (entry->kind == PV_RECORD_WHOLE)
        end = entry;
    else if (entry->kind == PV_RECORD_BEGIN && entry->end != NULL) {
        pv_entry_settle(entry->end);
        end = entry->end;
    }
    return load_row(feed, entry, end);
}

/* ---- What SQLite calls ---- */

static int
rc_of(enum pv_status status)
{
    return status == PV_OK ? SQLITE_OK : status == PV_NOMEM ? SQLITE_NOMEM : SQLITE_ERROR;
}

/* Its columns are those of the chained table, in order: no value goes through a second register. */
static int
feed_connect(sqlite3 *sqlite, void *context, int argc, const char *const *argv, sqlite3_vtab **vtab, char **error)
{
    struct pv_feed *feed = context;
    char *sql = sqlite3_mprintf("CREATE TABLE x (seq, %s, hash)", pv_tables[feed->table].columns);
    int rc = sql == NULL ? SQLITE_NOMEM : sqlite3_declare_vtab(sqlite, sql);

    (void) argc;
    (void) argv;
    (void) error;
    sqlite3_free(sql);
    if (rc == SQLITE_OK)
        *vtab = &feed->base;
    return rc;
}

static int
feed_disconnect(sqlite3_vtab *vtab)
{
    (void) vtab;
    return SQLITE_OK;
}

static int
feed_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void) vtab;
    (void) info;
    return SQLITE_OK;
}

static int
feed_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **cursor)
{
    struct pv_feed *feed = (struct pv_feed *) vtab;

    *cursor = &feed->cursor;
    return SQLITE_OK;
}

static int
feed_close(sqlite3_vtab_cursor *cursor)
{
    (void) cursor;
    return SQLITE_OK;
}

static struct pv_feed *
feed_of(sqlite3_vtab_cursor *cursor)
{
    return (struct pv_feed *) cursor->pVtab;
}

static int
feed_filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc, sqlite3_value **argv)
{
    struct pv_feed *feed = feed_of(cursor);

    (void) number;
    (void) text;
    (void) argc;
    (void) argv;
    feed->status = load_next(feed);
    return rc_of(feed->status);
}

static int
feed_next(sqlite3_vtab_cursor *cursor)
{
    struct pv_feed *feed = feed_of(cursor);

    feed->db->current = feed->head;
    feed->count++;
    feed->entry->status = PV_OK;
    feed->entry = feed->entry->next;
    feed->status = load_next(feed);
    return rc_of(feed->status);
}

static int
feed_eof(sqlite3_vtab_cursor *cursor)
{
    const struct pv_feed *feed = feed_of(cursor);

    return feed->entry == feed->stop;
}

static int
feed_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    const struct pv_feed *feed = feed_of(cursor);
    const struct pv_value *value = &feed->values[column - 1];

    if (column == COLUMN_SEQ)
        sqlite3_result_int64(context, (int64_t) feed->head.seq);
    else if (column > (int) pv_tables[feed->table].column_count)
        sqlite3_result_blob(context, feed->head.hash, PV_SHA256_BYTES, SQLITE_STATIC);
    else if (value->kind == PV_VALUE_INT)
        sqlite3_result_int64(context, value->number);
    else if (value->kind == PV_VALUE_TEXT)
        sqlite3_result_text64(context, (const char *) value->data, value->len, SQLITE_STATIC, SQLITE_UTF8);
    else if (value->kind == PV_VALUE_BLOB)
        sqlite3_result_blob64(context, value->data, value->len, SQLITE_STATIC);
    return SQLITE_OK;
}

static int
feed_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
    *rowid = (sqlite3_int64) feed_of(cursor)->head.seq;
    return SQLITE_OK;
}

/* Without xCreate they are there by name alone, on this connection. */
static const sqlite3_module module = {
    .iVersion = 1,
    .xConnect = feed_connect,
    .xBestIndex = feed_best_index,
    .xDisconnect = feed_disconnect,
    .xOpen = feed_open,
    .xClose = feed_close,
    .xFilter = feed_filter,
    .xNext = feed_next,
    .xEof = feed_eof,
    .xColumn = feed_column,
    .xRowid = feed_rowid,
};

static enum pv_status
open_feed(struct pv_db *db, enum pv_table_id id)
{
    const struct pv_table *table = &pv_tables[id];
    char *name = sqlite3_mprintf("pv_feed_%s", table->name);
    char *sql = sqlite3_mprintf("INSERT OR FAIL INTO main.%s (seq, %s, hash) SELECT * FROM %s", table->name,
                                table->columns, name);
    enum pv_status status = name == NULL || sql == NULL ? PV_NOMEM : PV_OK;

    db->feeds[id].db = db;
    db->feeds[id].table = id;
    if (status == PV_OK)
        status = pv_db_status(sqlite3_create_module_v2(db->sqlite, name, &module, &db->feeds[id], NULL));
    if (status == PV_OK)
        status = pv_db_prepare(db->sqlite, sql, &db->feeds[id].insert);
    sqlite3_free(name);
    sqlite3_free(sql);
    return status;
}

enum pv_status
pv_db_feeds_open(struct pv_db *db)
{
    enum pv_status status = PV_OK;

    db->feeds = pv_calloc(PV_TABLE_COUNT, sizeof(db->feeds[0]));
    if (db->feeds == NULL)
        return PV_NOMEM;
    for (int i = 0; status == PV_OK && i < PV_TABLE_COUNT; i++)
        status = open_feed(db, (enum pv_table_id) i);
    return status;
}

void
pv_db_feeds_finalize(struct pv_db *db)
{
    for (int i = 0; db->feeds != NULL && i < PV_TABLE_COUNT; i++)
        (void) sqlite3_finalize(db->feeds[i].insert);
}

/* ---- Appending ---- */

static enum pv_status
run_feed(struct pv_feed *feed, struct pv_entry *first, struct pv_entry *stop)
{
    enum pv_status status;

    feed->entry = first;
    feed->stop = stop;
    feed->count = 0;
    feed->status = PV_OK;
    status = pv_db_run(feed->insert);
    if (status != PV_OK)
        pv_db_keep_words(feed->db);
    return status != PV_OK && feed->status != PV_OK ? feed->status : status;
}

/* The rows of the entries from `first` up to `stop`, as many as go into the table of the first. */
static enum pv_status
append_rows(struct pv_db *db, struct pv_entry *first, struct pv_entry *stop, struct pv_entry **next)
{
    struct pv_feed *feed = &db->feeds[table_of(first)];
    struct pv_db_head before = db->current;
    enum pv_status status = run_feed(feed, first, stop);

    if (status == PV_INVALID && feed->count > 0 && feed->entry != feed->stop) {
        struct pv_db_head newest = {0};

        /* By its own lights SQLite may have taken back the rows before as well: then they go without that one. */
        status = pv_db_head_read(db->newest[feed->table], &newest);
        if (status == PV_OK && newest.seq != db->current.seq) {
            db->current = before;
            status = run_feed(feed, first, feed->entry);
        } else if (status == PV_OK)
            status = PV_INVALID;
    }
    if (status != PV_OK && status != PV_INVALID)
        return status;
    if (status == PV_OK ? sqlite3_changes(db->sqlite) != feed->count : feed->entry == feed->stop) {
        (void) snprintf(db->words, sizeof(db->words), "the log does not take the rows that it is given");
        return PV_CORRUPT;
    }
    if (status == PV_INVALID) {
        feed->entry->status = status;
        feed->entry = feed->entry->next;
    }
    *next = feed->entry;
    return status;
}

static enum pv_status
append_row(struct pv_db *db, struct pv_entry *entry)
{
    struct pv_entry *next;

    return append_rows(db, entry, entry->next, &next);
}

/* A budget that is spent denies the statement, in the log first of all. */
static enum pv_status
append_taking(struct pv_db *db, struct pv_entry *entry)
{
    size_t spent = 0;
    enum pv_status status = pv_db_budgets_take(db, entry->takes, entry->take_count, &spent);

    if (status == PV_LIMIT) {
        pv_entry_deny(entry, spent);
        status = append_row(db, entry);
        return status == PV_OK ? PV_LIMIT : status;
    }
    return status == PV_OK ? append_row(db, entry) : status;
}

enum pv_status
pv_db_append(struct pv_db *db, struct pv_entry *entry)
{
    if (entry->kind == PV_RECORD_BEGIN && entry->take_count > 0)
        return append_taking(db, entry);
    /*
     * An end of a statement that a spent budget had denied, whose end is in its row, whoever puts one did not know yet: the
     * row beside it is read by nobody.
     */
    return entry->kind == PV_RECORD_END && entry->is_in_begin ? PV_OK : append_row(db, entry);
}

enum pv_status
pv_db_append_some(struct pv_db *db, struct pv_entry *first, struct pv_entry **next)
{
    enum pv_status status;

    if (is_plain(first) && !first->is_in_begin)
        return append_rows(db, first, NULL, next);
    status = pv_db_append(db, first);
    first->status = status;
    *next = first->next;
    return status;
}

static enum pv_status
append_lost(struct pv_db *db, uint64_t id)
{
    const struct pv_statement_end end = {.id = id, .outcome = PV_OUTCOME_LOST, .is_unseen = true};
    const struct pv_record record = {.kind = PV_RECORD_END, .end = &end};
    struct pv_entry *entry = NULL;
    enum pv_status status = pv_entry_new(NULL, &record, &entry);

    if (status == PV_OK)
        status = pv_db_append(db, entry);
    pv_entry_unref(entry);
    return status;
}

enum pv_status
pv_db_sweep_lost(struct pv_db *db, uint64_t *lost)
{
    sqlite3_stmt *running = NULL;
    sqlite3_stmt *mark = NULL;
    uint64_t count = 0, id_max = 0;
    enum pv_status status = pv_db_prepare(db->sqlite, lost_sql, &running);

    while (status == PV_OK) {
        status = pv_db_step(running);
        if (status != PV_OK)
            break;
        status = append_lost(db, (uint64_t) sqlite3_column_int64(running, 0));
        count++;
    }
    (void) sqlite3_finalize(running);
    if (status != PV_NOTFOUND)
        return status;
    status = pv_db_id_max(db, &id_max);
    if (status == PV_OK)
        status = pv_db_prepare(db->sqlite, "UPDATE meta SET value = iif(name = 'swept', ?1, ?2)"
                                           " WHERE name IN ('swept', 'swept_id')", &mark);
    if (status == PV_OK) {
        (void) sqlite3_bind_int64(mark, 1, (int64_t) db->current.seq);
        (void) sqlite3_bind_int64(mark, 2, (int64_t) id_max);
        status = pv_db_run(mark);
    }
    (void) sqlite3_finalize(mark);
    if (status == PV_OK)
        *lost = count;
    return status;
}
