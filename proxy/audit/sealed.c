/*
 * The records of sealed segments as two tables of SQLite's, so that views can put them beside the live ones. Segments
 * are no attached databases, of which SQLite takes ten: each is opened when a statement first comes to it, read without
 * locks, and asked with what the statement's WHERE says of seq, at, room, user, decision, question and session;
 * segments that cannot hold such a seq are not opened at all.
 */
#include "proxy/audit/segment_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Segments that stay open between two looks at them. */
#define OPEN_MAX 128u
#define TERMS_MAX 8

enum kind { KIND_QUERY, KIND_EVENT, KIND_USAGE, KIND_COUNT };

struct column {
    const char *name, *type; /* type "": takes any */
    bool is_searched;
};

/* As the live views have them, affinity for affinity: only then does SQLite take the two apart for a search. */
static const struct column query_columns[] = {
    {"seq", "INTEGER", true},
    {"at", "TEXT", true},
    {"session", "INTEGER", true},
    {"room", "TEXT", true},
    {"user", "TEXT", true},
    {"party", "TEXT", false},
    {"client", "TEXT", false},
    {"application", "TEXT", false},
    {"protocol", "TEXT", false},
    {"question", "TEXT", true},
    {"question_type", "TEXT", false},
    {"decision", "TEXT", true},
    {"reason", "", false},
    {"query", "", false},
    {"parameters", "TEXT", false},
    {"forwarded", "TEXT", false},
    {"datasets", "TEXT", false},
    {"columns", "TEXT", false},
    {"rows", "", false},
    {"suppressed", "", false},
    {"bytes", "", false},
    {"duration_us", "", false},
    {"outcome", "", false},
    {"sqlstate", "", false},
    {"service", "TEXT", false},
    {"end_seq", "INTEGER", true},
};

static const struct column event_columns[] = {
    {"seq", "INTEGER", true}, {"at", "TEXT", true},      {"session", "INTEGER", true}, {"room", "TEXT", true},
    {"user", "TEXT", true},   {"client", "TEXT", false}, {"event", "TEXT", false},     {"detail", "TEXT", false},
};

/* Added up; seq is a number of such a row, and of no record. */
static const struct column usage_columns[] = {
    {"seq", "INTEGER", false},    {"day", "TEXT", false},        {"room", "TEXT", true},     {"question", "TEXT", false},
    {"user", "TEXT", true},       {"party", "TEXT", false},      {"columns", "TEXT", false}, {"statements", "", false},
    {"allowed", "", false},       {"denied", "", false},         {"failed", "", false},      {"rows", "", false},
    {"at", "TEXT", false},
};

static const struct {
    const char *view;
    const struct column *columns;
    int count;
} kinds[KIND_COUNT] = {
    {"query_log", query_columns, (int) PV_COUNT_OF(query_columns)},
    {"event_log", event_columns, (int) PV_COUNT_OF(event_columns)},
    {"usage", usage_columns, (int) PV_COUNT_OF(usage_columns)},
};

/* Shared by the tables of a connection; ends with the last of its two modules. */
struct pv_sealed {
    int refs;
    char *path, *schema;
    struct pv_sealed_host host;
    struct pv_segment *segments; /* not retired, by number */
    size_t count, all;           /* `all`: as many as there were in the live file when these were read */
    sqlite3 **open;              /* of each segment; NULL: not now */
    size_t open_count;
};

struct table {
    sqlite3_vtab base;
    struct pv_sealed *sealed;
    sqlite3 *sqlite;
    enum kind kind;
};

struct cursor {
    sqlite3_vtab_cursor base;
    char *sql; /* for each segment */
    int term_count;
    sqlite3_value *terms[TERMS_MAX];
    char terms_on[TERMS_MAX]; /* 'l', 'g' or 'e' of seq, ' ' of another column */
    bool is_descending;
    size_t next; /* how many segments were looked at */
    sqlite3_stmt *row;
    bool is_done;
};

/* ---- The segments ---- */

static void
close_segments(struct pv_sealed *sealed)
{
    for (size_t i = 0; i < sealed->count; i++)
        (void) sqlite3_close(sealed->open[i]);
    pv_free(sealed->open);
    pv_free(sealed->segments);
    sealed->open = NULL;
    sealed->segments = NULL;
    sealed->count = sealed->open_count = 0;
}

static void
sealed_unref(void *context)
{
    struct pv_sealed *sealed = context;

    if (--sealed->refs > 0)
        return;
    close_segments(sealed);
    pv_free(sealed->path);
    pv_free(sealed->schema);
    pv_free(sealed);
}

/* In the read transaction of the statement that asks, so that the live rows and these are of one moment. */
static enum pv_status
find_segments(struct pv_sealed *sealed, sqlite3 *sqlite)
{
    struct pv_segment *found = NULL;
    size_t count = 0, kept = 0;
    uint64_t newest_kept = 0;
    enum pv_status status;

    /* These statements are ours, not those of whoever asks. */
    *sealed->host.is_trusted = true;
    status = pv_segments_load(sqlite, sealed->schema, &found, &count);
    *sealed->host.is_trusted = false;
    if (status != PV_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        if (!found[i].is_retired) {
            found[kept++] = found[i];
            newest_kept = found[i].number;
        }
    if (sealed->all == count && sealed->count == kept &&
        (kept == 0 || sealed->segments[kept - 1].number == newest_kept)) {
        pv_free(found);
        return PV_OK;
    }
    close_segments(sealed);
    sealed->open = pv_calloc(kept + 1, sizeof(*sealed->open));
    if (sealed->open == NULL) {
        pv_free(found);
        return PV_NOMEM;
    }
    sealed->segments = found;
    sealed->count = kept;
    sealed->all = count;
    return PV_OK;
}

/* A segment of the oldest version has not added up anything: there each statement is a row. */
static enum pv_status
add_usage(sqlite3 *sqlite)
{
    int64_t version = 0;
    char *sql;
    enum pv_status status = pv_schema_version(sqlite, &version);

    if (status != PV_OK || version > PV_SEGMENT_VERSION_OLDEST)
        return status;
    sql = sqlite3_mprintf("CREATE TEMP VIEW usage AS %s", pv_schema_segment_usage);
    status = sql == NULL ? PV_NOMEM : pv_db_exec(sqlite, sql);
    sqlite3_free(sql);
    return status;
}

static int
open_segment(struct table *table, size_t index)
{
    struct pv_sealed *sealed = table->sealed;
    char *path;
    enum pv_status status;

    if (sealed->open[index] != NULL)
        return SQLITE_OK;
    path = pv_path_beside(sealed->path, sealed->segments[index].file);
    status = path == NULL ? PV_NOMEM : pv_db_open_sealed(path, &sealed->open[index]);
    pv_free(path);
    if (status == PV_OK) {
        status = add_usage(sealed->open[index]);
        if (status != PV_OK) {
            (void) sqlite3_close(sealed->open[index]);
            sealed->open[index] = NULL;
        }
    }
    if (status != PV_OK) {
        sqlite3_free(table->base.zErrMsg);
        table->base.zErrMsg = sqlite3_mprintf("segment %lld of the query log cannot be read: %s%s",
                                              (long long) sealed->segments[index].number, sealed->segments[index].file,
                                              status == PV_NOTFOUND ? " is not there" : "");
        return status == PV_NOMEM ? SQLITE_NOMEM : SQLITE_IOERR;
    }
    sqlite3_progress_handler(sealed->open[index], (int) sealed->host.steps, sealed->host.is_overdue,
                             sealed->host.context);
    sealed->open_count++;
    return SQLITE_OK;
}

/* ---- The tables ---- */

static int
table_connect(sqlite3 *sqlite, void *context, int argc, const char *const *argv, sqlite3_vtab **made, char **words)
{
    struct pv_sealed *sealed = context;
    struct table *table = sqlite3_malloc(sizeof(*table));
    sqlite3_str *sql = sqlite3_str_new(sqlite);
    char *text;
    int rc = SQLITE_NOMEM;

    (void) words;
    if (table != NULL) {
        *table = (struct table){.sealed = sealed, .sqlite = sqlite};
        for (int i = 0; argc > 0 && i < KIND_COUNT; i++)
            if (strlen(argv[0]) > strlen(sealed->schema) &&
                strcmp(argv[0] + strlen(sealed->schema) + 1, kinds[i].view) == 0)
                table->kind = (enum kind) i;
    }
    sqlite3_str_appendall(sql, "CREATE TABLE x (");
    for (int i = 0; table != NULL && i < kinds[table->kind].count; i++)
        sqlite3_str_appendf(sql, "%s%s %s", i == 0 ? "" : ", ", kinds[table->kind].columns[i].name,
                            kinds[table->kind].columns[i].type);
    sqlite3_str_appendall(sql, ")");
    text = sqlite3_str_finish(sql);
    if (table != NULL && text != NULL)
        rc = sqlite3_declare_vtab(sqlite, text);
    if (rc == SQLITE_OK)
        rc = sqlite3_vtab_config(sqlite, SQLITE_VTAB_INNOCUOUS);
    sqlite3_free(text);
    if (rc != SQLITE_OK) {
        sqlite3_free(table);
        return rc;
    }
    *made = &table->base;
    return SQLITE_OK;
}

static int
table_disconnect(sqlite3_vtab *base)
{
    sqlite3_free(base);
    return SQLITE_OK;
}

static const char *
operator_of(unsigned char op)
{
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_EQ:
        return "=";
    case SQLITE_INDEX_CONSTRAINT_GT:
        return ">";
    case SQLITE_INDEX_CONSTRAINT_GE:
        return ">=";
    case SQLITE_INDEX_CONSTRAINT_LT:
        return "<";
    case SQLITE_INDEX_CONSTRAINT_LE:
        return "<=";
    default:
        return NULL;
    }
}

/* Terms that the segments' own indexes can use, in so many words; SQLite itself checks each row once more. */
static int
add_terms(const struct table *table, sqlite3_index_info *info, sqlite3_str *where, char on[TERMS_MAX + 1])
{
    int count = 0;

    for (int i = 0; i < info->nConstraint && count < TERMS_MAX; i++) {
        const struct sqlite3_index_constraint *term = &info->aConstraint[i];
        const char *sign = operator_of(term->op);
        const struct column *column;

        if (!term->usable || sign == NULL || term->iColumn >= kinds[table->kind].count)
            continue;
        column = &kinds[table->kind].columns[term->iColumn < 0 ? 0 : term->iColumn];
        if (!column->is_searched || sqlite3_stricmp(sqlite3_vtab_collation(info, i), "BINARY") != 0)
            continue;
        on[count++] = strcmp(column->name, "seq") != 0 ? ' ' : sign[0] == '=' ? 'e' : sign[0] == '<' ? 'l' : 'g';
        sqlite3_str_appendf(where, " AND %s %s ?%d", column->name, sign, count);
        info->aConstraintUsage[i].argvIndex = count;
        info->estimatedCost /= sign[0] == '=' ? 50 : 3;
    }
    return count;
}

/* idxStr: the letters of the terms, '|', then the statement for each segment. */
static int
table_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    struct table *table = (struct table *) base;
    sqlite3_str *sql = sqlite3_str_new(table->sqlite), *where = sqlite3_str_new(table->sqlite);
    char on[TERMS_MAX + 1] = "";
    char *terms, *text;

    info->estimatedCost = 1e6;
    (void) add_terms(table, info, where, on);
    sqlite3_str_appendf(sql, "%s|SELECT ", on);
    for (int i = 0; i < kinds[table->kind].count; i++) {
        /* The first is the rowid as well. */
        bool is_used = i == 0 || (info->colUsed & ((sqlite3_uint64) 1 << i)) != 0;

        sqlite3_str_appendf(sql, "%s%s", i == 0 ? "" : ", ", is_used ? kinds[table->kind].columns[i].name : "NULL");
    }
    terms = sqlite3_str_finish(where);
    sqlite3_str_appendf(sql, " FROM %s WHERE 1%s ORDER BY seq", kinds[table->kind].view, terms == NULL ? "" : terms);
    sqlite3_free(terms);
    if (info->nOrderBy == 1 && info->aOrderBy[0].iColumn <= 0) {
        info->orderByConsumed = 1;
        info->idxNum = info->aOrderBy[0].desc != 0;
        if (info->idxNum != 0)
            sqlite3_str_appendall(sql, " DESC");
    }
    info->estimatedRows = (sqlite3_int64) info->estimatedCost;
    text = sqlite3_str_finish(sql);
    if (text == NULL)
        return SQLITE_NOMEM;
    info->idxStr = text;
    info->needToFreeIdxStr = 1;
    return SQLITE_OK;
}

/* ---- Cursors ---- */

static int
cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **made)
{
    struct cursor *cursor = sqlite3_malloc(sizeof(*cursor));

    (void) base;
    if (cursor == NULL)
        return SQLITE_NOMEM;
    *cursor = (struct cursor){.is_done = true};
    *made = &cursor->base;
    return SQLITE_OK;
}

static void
cursor_reset(struct cursor *cursor)
{
    (void) sqlite3_finalize(cursor->row);
    sqlite3_free(cursor->sql);
    for (int i = 0; i < cursor->term_count; i++)
        sqlite3_value_free(cursor->terms[i]);
    cursor->row = NULL;
    cursor->sql = NULL;
    cursor->term_count = 0;
}

static int
cursor_close(sqlite3_vtab_cursor *base)
{
    cursor_reset((struct cursor *) base);
    sqlite3_free(base);
    return SQLITE_OK;
}

/* Whether the segment may hold a record with such a number. */
static bool
may_hold(const struct cursor *cursor, const struct pv_segment *segment)
{
    int64_t first = (int64_t) segment->first_seq, last = (int64_t) segment->last_seq;

    for (int i = 0; i < cursor->term_count; i++) {
        int64_t value;

        if (cursor->terms_on[i] == ' ' || sqlite3_value_type(cursor->terms[i]) != SQLITE_INTEGER)
            continue;
        value = sqlite3_value_int64(cursor->terms[i]);
        if ((cursor->terms_on[i] != 'l' && last < value) || (cursor->terms_on[i] != 'g' && first > value))
            return false;
    }
    return true;
}

/* Segments that are not looked at now give back their descriptors. */
static void
make_room(struct pv_sealed *sealed, size_t index)
{
    for (size_t i = 0; sealed->open_count > OPEN_MAX && i < sealed->count; i++)
        /* One with a statement of another cursor on it says busy, and stays. */
        if (i != index && sealed->open[i] != NULL && sqlite3_close(sealed->open[i]) == SQLITE_OK) {
            sealed->open[i] = NULL;
            sealed->open_count--;
        }
}

static int
begin_segment(struct cursor *cursor, struct table *table, size_t index)
{
    sqlite3 *sqlite;
    int rc = open_segment(table, index);

    if (rc != SQLITE_OK)
        return rc;
    make_room(table->sealed, index);
    sqlite = table->sealed->open[index];
    rc = sqlite3_prepare_v3(sqlite, cursor->sql, -1, 0, &cursor->row, NULL);
    for (int i = 0; rc == SQLITE_OK && i < cursor->term_count; i++)
        rc = sqlite3_bind_value(cursor->row, i + 1, cursor->terms[i]);
    if (rc != SQLITE_OK) {
        sqlite3_free(table->base.zErrMsg);
        table->base.zErrMsg =
            sqlite3_mprintf("segment %lld of the query log cannot be read: %s",
                            (long long) table->sealed->segments[index].number, sqlite3_errmsg(sqlite));
    }
    return rc;
}

static int
cursor_next(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *) base;
    struct table *table = (struct table *) base->pVtab;
    struct pv_sealed *sealed = table->sealed;

    for (;;) {
        int rc = cursor->row == NULL ? SQLITE_DONE : sqlite3_step(cursor->row);
        size_t index;

        if (rc == SQLITE_ROW)
            return SQLITE_OK;
        (void) sqlite3_finalize(cursor->row);
        cursor->row = NULL;
        if (rc != SQLITE_DONE)
            return rc;
        do {
            if (cursor->next == sealed->count) {
                cursor->is_done = true;
                return SQLITE_OK;
            }
            index = cursor->is_descending ? sealed->count - 1 - cursor->next : cursor->next;
            cursor->next++;
        } while (!may_hold(cursor, &sealed->segments[index]));
        rc = begin_segment(cursor, table, index);
        if (rc != SQLITE_OK)
            return rc;
    }
}

static int
cursor_filter(sqlite3_vtab_cursor *base, int is_descending, const char *text, int argc, sqlite3_value **argv)
{
    struct cursor *cursor = (struct cursor *) base;
    struct table *table = (struct table *) base->pVtab;
    const char *bar = text == NULL ? NULL : strchr(text, '|');
    enum pv_status status;

    cursor_reset(cursor);
    if (bar == NULL || argc > TERMS_MAX || bar - text != argc)
        return SQLITE_ERROR;
    status = find_segments(table->sealed, table->sqlite);
    if (status != PV_OK) {
        sqlite3_free(base->pVtab->zErrMsg);
        base->pVtab->zErrMsg =
            sqlite3_mprintf("the list of sealed segments cannot be read: %s", pv_status_words(status));
        return status == PV_NOMEM ? SQLITE_NOMEM : SQLITE_IOERR;
    }
    cursor->sql = sqlite3_mprintf("%s", bar + 1);
    memcpy(cursor->terms_on, text, (size_t) argc);
    for (int i = 0; i < argc; i++) {
        cursor->terms[i] = sqlite3_value_dup(argv[i]);
        cursor->term_count = i + 1;
        if (cursor->terms[i] == NULL)
            return SQLITE_NOMEM;
    }
    if (cursor->sql == NULL)
        return SQLITE_NOMEM;
    cursor->is_descending = is_descending != 0;
    cursor->next = 0;
    cursor->is_done = false;
    return cursor_next(base);
}

static int
cursor_eof(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *) base)->is_done;
}

static int
cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    sqlite3_result_value(context, sqlite3_column_value(((struct cursor *) base)->row, column));
    return SQLITE_OK;
}

static int
cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    *rowid = sqlite3_column_int64(((struct cursor *) base)->row, 0);
    return SQLITE_OK;
}

/* Without xCreate they are there by name alone, and nobody can make more of them. */
static const sqlite3_module module = {
    .iVersion = 1,
    .xConnect = table_connect,
    .xBestIndex = table_best_index,
    .xDisconnect = table_disconnect,
    .xOpen = cursor_open,
    .xClose = cursor_close,
    .xFilter = cursor_filter,
    .xNext = cursor_next,
    .xEof = cursor_eof,
    .xColumn = cursor_column,
    .xRowid = cursor_rowid,
};

enum pv_status
pv_sealed_add(sqlite3 *sqlite, const char *path, const char *schema, const struct pv_sealed_host *host)
{
    struct pv_sealed *sealed = pv_calloc(1, sizeof(*sealed));
    int rc = SQLITE_NOMEM;

    if (sealed == NULL)
        return PV_NOMEM;
    sealed->refs = 1;
    sealed->path = pv_strdup(path);
    sealed->schema = pv_strdup(schema);
    sealed->host = *host;
    if (sealed->path != NULL && sealed->schema != NULL)
        rc = SQLITE_OK;
    for (int i = 0; rc == SQLITE_OK && i < KIND_COUNT; i++) {
        char *name = sqlite3_mprintf("%s_%s", schema, kinds[i].view);

        if (name == NULL) {
            rc = SQLITE_NOMEM;
            break;
        }
        sealed->refs++;
        /* Gives the reference back also when it fails. */
        rc = sqlite3_create_module_v2(sqlite, name, &module, sealed, sealed_unref);
        sqlite3_free(name);
    }
    sealed_unref(sealed);
    return pv_db_status(rc);
}
