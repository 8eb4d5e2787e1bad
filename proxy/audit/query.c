/*
 * How SQL is held to the views. The connection's main database is an empty one in
 * memory; the state file is attached read-only under a random name. Two temporary views, query_log and
 * event_log, read from it; temporary views under the names of the other tables stand
 * before those, since SQLite looks into the temporary schema first. So no SQL can name a
 * table of the file, and the authorizer refuses it if it could.
 */
#include "proxy/audit/query_int.h"

#include "proxy/audit/segment_int.h"
#include "proxy/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Longest value: a statement's text or one that an expression makes. */
#define VALUE_BYTES_MAX (64 * 1024 * 1024)
/* Instructions of SQLite's machine between two looks at the clock: some 20 microseconds. */
#define PROGRESS_STEPS 2000
#define ROW_CELLS_MAX 2000u

/* ---- The authorizer ---- */

static const char *const functions[] = {
    "abs",
    "avg",
    "ceil",
    "ceiling",
    "changes",
    "char",
    "coalesce",
    "concat",
    "count",
    "cume_dist",
    "date",
    "datetime",
    "dense_rank",
    "first_value",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_each",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_object",
    "json_quote",
    "json_tree",
    "json_type",
    "json_valid",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "max",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "percent_rank",
    "pow",
    "power",
    "printf",
    "pv_tally",
    "quote",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sqrt",
    "strftime",
    "substr",
    "substring",
    "sum",
    "time",
    "total",
    "trim",
    "trunc",
    "typeof",
    "unicode",
    "unixepoch",
    "unlikely",
    "upper",
    "->",
    "->>",
};

/* Tables whose columns may be read: the views, what lies under them, and JSON arrays taken apart. */
static const char *const readable[] = {"query_log", "event_log",    "statement",      "statement_end",    "event",
                                       "json_each", "json_tree",    "granted_column", "question",         "daily_usage",
                                       "denials",   "column_usage", "top_members",    "unused_questions", "segment",
                                       "usage_rows"};

/* Tables of which not even the number of rows is told. */
static const char *const shadowed[] = {"statement", "statement_end", "event", "meta",    "secret",  "approval",
                                       "consent",   "budget",        "head",  "shipped", "segment", "retired"};

bool
pv_reader_is_one_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; name != NULL && i < count; i++)
        if (sqlite3_stricmp(name, names[i]) == 0)
            return true;
    return false;
}

/* SQLite asks with an empty column where a FROM item is named and no column of it is read; a CTE is such an item too.
 */
static bool
may_count(const char *table)
{
    if (pv_reader_is_one_of(table, readable, PV_COUNT_OF(readable)))
        return true;
    return !pv_reader_is_one_of(table, shadowed, PV_COUNT_OF(shadowed)) && sqlite3_strnicmp(table, "sqlite_", 7) != 0 &&
           sqlite3_strnicmp(table, "pragma_", 7) != 0 && sqlite3_stricmp(table, "dbstat") != 0;
}

static int
refuse(struct pv_log_reader *reader, const char *words)
{
    if (reader->refused == NULL)
        reader->refused = words;
    return SQLITE_DENY;
}

static int
authorize(void *context, int action, const char *first, const char *second, const char *database, const char *view)
{
    struct pv_log_reader *reader = context;

    (void) database;
    (void) view;
    if (reader->is_trusted)
        return SQLITE_OK;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        if (second != NULL && second[0] == '\0' ? may_count(first)
                                                : pv_reader_is_one_of(first, readable, PV_COUNT_OF(readable)))
            return SQLITE_OK;
        if (reader->is_auditor && first != NULL && pv_helpers_is_table(first))
            return SQLITE_OK;
        /* The sealed records: under a name that nobody outside the views knows. */
        if (first != NULL && strncmp(first, reader->schema, strlen(reader->schema)) == 0)
            return SQLITE_OK;
        return refuse(reader, "only query_log, event_log and their views can be read");
    case SQLITE_FUNCTION:
        if (pv_reader_is_one_of(second, functions, PV_COUNT_OF(functions)) ||
            (reader->is_auditor && second != NULL && pv_helpers_is_function(second)) ||
            (reader->mask != NULL && second != NULL && strncmp(second, "pv_mask", 7) == 0))
            return SQLITE_OK;
        return refuse(reader, "a function that is not allowed here");
    default:
        return refuse(reader, "only SELECT is allowed");
    }
}

/* ---- Opening ---- */

static int64_t
now_ms(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
is_overdue(void *context)
{
    const struct pv_log_reader *reader = context;

    return pv_reader_is_overdue(reader) || (reader->cancel != NULL && atomic_load(reader->cancel));
}

bool
pv_reader_is_overdue(const struct pv_log_reader *reader)
{
    return reader->deadline_ms != 0 && now_ms() > reader->deadline_ms;
}

void
pv_reader_start_clock(struct pv_log_reader *reader)
{
    reader->deadline_ms = reader->timeout_ms == 0 ? 0 : now_ms() + (int64_t) reader->timeout_ms;
}

static enum pv_status
name_schema(struct pv_log_reader *reader)
{
    uint8_t bytes[16];
    struct pv_buf name = {0};
    enum pv_status status = pv_random_bytes(bytes, sizeof(bytes));

    if (status == PV_OK)
        status = pv_hex_encode(pv_slice_of(bytes, sizeof(bytes)), &name);
    if (status == PV_OK && pv_buf_text(&name) == NULL)
        status = PV_NOMEM;
    if (status == PV_OK)
        (void) snprintf(reader->schema, sizeof(reader->schema), "log_%s", pv_buf_text(&name));
    pv_buf_clear(&name);
    return status;
}

static enum pv_status
run_text(struct pv_log_reader *reader, char *sql)
{
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_exec(reader->sqlite, sql);

    sqlite3_free(sql);
    return status;
}

static enum pv_status
attach(struct pv_log_reader *reader, const char *path)
{
    char *uri = pv_db_reading_uri(path, false);
    enum pv_status status =
        uri == NULL ? PV_NOMEM : run_text(reader, sqlite3_mprintf("ATTACH %Q AS %s", uri, reader->schema));

    sqlite3_free(uri);
    if (status == PV_OK)
        status = run_text(reader, sqlite3_mprintf("SELECT count(*) FROM %s.meta", reader->schema));
    if (status != PV_IO)
        return status;
    /* As pv_db_open_reading does, which has looked already that nothing is left out by this. */
    (void) run_text(reader, sqlite3_mprintf("DETACH %s", reader->schema));
    uri = pv_db_reading_uri(path, true);
    status = uri == NULL ? PV_NOMEM : run_text(reader, sqlite3_mprintf("ATTACH %Q AS %s", uri, reader->schema));
    sqlite3_free(uri);
    return status;
}

static void
put_rooms(sqlite3_str *sql, const char *room_column, const struct pv_log_reader *reader)
{
    if (!reader->has_rooms)
        return;
    sqlite3_str_appendf(sql, " AND %s IN (NULL", room_column);
    for (size_t i = 0; i < reader->room_count; i++)
        sqlite3_str_appendf(sql, ", %Q", reader->rooms[i]);
    sqlite3_str_appendall(sql, ")");
}

/* The SELECT names its tables as @.X; here they are under the random name. */
static void
put_select(sqlite3_str *sql, const char *select, const struct pv_log_reader *reader)
{
    const char *at = select;
    const char *found;

    while ((found = strchr(at, '@')) != NULL) {
        sqlite3_str_append(sql, at, (int) (found - at));
        if (found[1] == '.')
            sqlite3_str_appendf(sql, "%s.", reader->schema);
        else if (reader->is_auditor)
            sqlite3_str_appendall(sql, " COLLATE pv_time");
        at = found + 2;
    }
    sqlite3_str_appendall(sql, at);
}

static enum pv_status
make_view(struct pv_log_reader *reader, const char *name, const char *select)
{
    sqlite3_str *sql = sqlite3_str_new(reader->sqlite);

    sqlite3_str_appendf(sql, "CREATE TEMP VIEW %s AS ", name);
    put_select(sql, select, reader);
    sqlite3_str_appendall(sql, " WHERE 1");
    put_rooms(sql, "room", reader);
    return run_text(reader, sqlite3_str_finish(sql));
}

/*
 * Live records and, where there are segments, sealed ones before them. Records that a segment holds may still be in
 * the live file, which shows them no more.
 */
static enum pv_status
make_log_view(struct pv_log_reader *reader, const struct pv_schema_log *log)
{
    sqlite3_str *sql = sqlite3_str_new(reader->sqlite);

    sqlite3_str_appendf(sql, "CREATE TEMP VIEW %s AS ", log->view);
    if (reader->mask != NULL)
        sqlite3_str_appendf(sql, "%s FROM (", log->masked);
    put_select(sql, log->live, reader);
    if (reader->segment_count == 0)
        sqlite3_str_appendall(sql, " WHERE 1");
    else
        sqlite3_str_appendf(sql, " WHERE %s > (SELECT coalesce(max(last_seq), 0) FROM %s.segment)", log->seq,
                            reader->schema);
    put_rooms(sql, log->room, reader);
    if (reader->segment_count > 0) {
        sqlite3_str_appendall(sql, " UNION ALL ");
        put_select(sql, log->columns, reader);
        sqlite3_str_appendf(sql, " FROM %s_%s WHERE 1", reader->schema, log->sealed);
        put_rooms(sql, "room", reader);
    }
    if (reader->mask != NULL)
        sqlite3_str_appendall(sql, ")");
    return run_text(reader, sqlite3_str_finish(sql));
}

static enum pv_status
count_segments(struct pv_log_reader *reader, int64_t *count)
{
    char *sql = sqlite3_mprintf("SELECT count(*) FROM %s.segment", reader->schema);
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_number(reader->sqlite, sql, 0, count);

    sqlite3_free(sql);
    return status;
}

static enum pv_status
make_log_views(struct pv_log_reader *reader)
{
    enum pv_status status = count_segments(reader, &reader->segment_count);

    for (size_t i = 0; status == PV_OK && i < PV_SCHEMA_LOG_COUNT; i++)
        status = make_log_view(reader, &pv_schema_logs[i]);
    return status;
}

/* A first segment came since the views were made: they show the live file alone. */
enum pv_status
pv_reader_refresh(struct pv_log_reader *reader)
{
    int64_t count = 0;
    enum pv_status status = count_segments(reader, &count);

    if (status != PV_OK || (count > 0) == (reader->segment_count > 0))
        return status;
    status = pv_db_exec(reader->sqlite, "DROP VIEW temp.query_log; DROP VIEW temp.event_log; DROP VIEW temp.usage_rows");
    return status == PV_OK ? make_log_views(reader) : status;
}

static void
limit(sqlite3 *sqlite)
{
    static const struct {
        int id, most;
    } rows[] = {
        {SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX},
        {SQLITE_LIMIT_SQL_LENGTH, PV_QUERY_BYTES_DEFAULT},
        {SQLITE_LIMIT_ATTACHED, 1},
        {SQLITE_LIMIT_COMPOUND_SELECT, 100},
        {SQLITE_LIMIT_COLUMN, ROW_CELLS_MAX},
        {SQLITE_LIMIT_VDBE_OP, 1000000},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        (void) sqlite3_limit(sqlite, rows[i].id, rows[i].most);
}

/* Views are made anew when segments come. */
static enum pv_status
keep_rooms(struct pv_log_reader *reader, const struct pv_log_reader_options *options)
{
    reader->has_rooms = options->rooms != NULL;
    if (!reader->has_rooms)
        return PV_OK;
    reader->rooms = pv_calloc(options->room_count + 1, sizeof(*reader->rooms));
    if (reader->rooms == NULL)
        return PV_NOMEM;
    for (; reader->room_count < options->room_count; reader->room_count++) {
        reader->rooms[reader->room_count] = pv_strdup(options->rooms[reader->room_count]);
        if (reader->rooms[reader->room_count] == NULL)
            return PV_NOMEM;
    }
    return PV_OK;
}

static enum pv_status
set_up(struct pv_log_reader *reader, const char *path, const struct pv_log_reader_options *options)
{
    enum pv_status status = pv_db_status(sqlite3_open_v2(
        ":memory:", &reader->sqlite,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL));

    if (status != PV_OK)
        return status;
    (void) sqlite3_extended_result_codes(reader->sqlite, 1);
    (void) sqlite3_busy_timeout(reader->sqlite, (int) PV_AUDIT_BUSY_MS);
    (void) sqlite3_db_config(reader->sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void) sqlite3_db_config(reader->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void) sqlite3_db_config(reader->sqlite, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    /* "x" is a name, never a text. */
    (void) sqlite3_db_config(reader->sqlite, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    limit(reader->sqlite);
    status = pv_db_exec(reader->sqlite, "PRAGMA temp_store = MEMORY");
    if (status == PV_OK)
        status = keep_rooms(reader, options);
    reader->mask = options->mask;
    if (status == PV_OK && reader->mask != NULL)
        status = pv_masking_add(reader);
    reader->is_auditor = options->auditor != NULL;
    if (reader->is_auditor)
        (void) snprintf(reader->user, sizeof(reader->user), "%s", options->auditor);
    if (status == PV_OK && reader->is_auditor)
        status = pv_helpers_add(reader);
    if (status == PV_OK)
        status = name_schema(reader);
    if (status == PV_OK)
        status = attach(reader, path);
    for (size_t i = 0; status == PV_OK && i < PV_COUNT_OF(shadowed); i++)
        status = run_text(reader, sqlite3_mprintf("CREATE TEMP VIEW %s AS SELECT NULL AS hidden WHERE 0", shadowed[i]));
    if (status == PV_OK)
        status = pv_sealed_add(reader->sqlite, path, reader->schema,
                               &(struct pv_sealed_host){is_overdue, reader, PROGRESS_STEPS, &reader->is_trusted});
    if (status == PV_OK)
        status = make_log_views(reader);
    if (status == PV_OK)
        status = make_view(reader, "granted_column", "SELECT room, column_name FROM @.granted_column");
    if (status == PV_OK)
        status = make_view(reader, "question", "SELECT room, question FROM @.question");
    if (status == PV_OK)
        status = pv_tally_add(reader->sqlite);
    for (size_t i = 0; status == PV_OK && i < PV_SCHEMA_VIEW_COUNT; i++) {
        const struct pv_schema_view *view = &pv_schema_views[i];

        status = run_text(reader, sqlite3_mprintf("CREATE TEMP VIEW %s AS %s", view->name,
                                                  view->quick == NULL ? view->select : view->quick));
    }
    /* SQLite declares these two on their first use, which the authorizer could not tell from a CREATE TABLE. */
    if (status == PV_OK)
        status = pv_db_exec(reader->sqlite, "SELECT 1 FROM json_each('[]'), json_tree('[]')");
    if (status == PV_OK)
        status = pv_db_prepare(reader->sqlite, "SELECT json_valid(?1)", &reader->is_json);
    reader->timeout_ms = options->timeout_ms;
    reader->cancel = options->cancel;
    sqlite3_progress_handler(reader->sqlite, PROGRESS_STEPS, is_overdue, reader);
    return status;
}

enum pv_status
pv_log_reader_open(const char *path, const struct pv_log_reader_options *options, struct pv_log_reader **reader,
                   char *error, size_t error_size)
{
    static const struct pv_log_reader_options everything;
    struct pv_log_reader *made;
    sqlite3 *first = NULL;
    enum pv_status status;

    pv_db_error(error, error_size, "%s", "");
    /* Is it a log of ours at all? */
    status = pv_db_open_reading(path, &first, error, error_size);
    if (status != PV_OK)
        return status;
    made = pv_calloc(1, sizeof(*made));
    status = made == NULL ? PV_NOMEM : set_up(made, path, options == NULL ? &everything : options);
    (void) sqlite3_close(first);
    if (status != PV_OK) {
        pv_db_error(error, error_size, "cannot read the query log %s: %s", path,
                    pv_db_reason(made == NULL ? NULL : made->sqlite, status));
        pv_log_reader_close(made);
        return status;
    }
    *reader = made;
    return PV_OK;
}

void
pv_log_reader_close(struct pv_log_reader *reader)
{
    if (reader == NULL)
        return;
    (void) sqlite3_finalize(reader->is_json);
    (void) sqlite3_close(reader->sqlite);
    for (size_t i = 0; i < reader->room_count; i++)
        pv_free(reader->rooms[i]);
    pv_free(reader->rooms);
    pv_free(reader);
}

const char *
pv_log_reader_words(const struct pv_log_reader *reader)
{
    return sqlite3_errmsg(reader->sqlite);
}

/* ---- Preparing ---- */

/* Nothing but space, comments and semicolons may follow the one statement; SQLite itself says what is none. */
static bool
is_rest_empty(struct pv_log_reader *reader, const char *rest)
{
    while (*rest != '\0') {
        sqlite3_stmt *more = NULL;
        const char *next = rest;
        bool is_statement = sqlite3_prepare_v3(reader->sqlite, rest, -1, 0, &more, &next) != SQLITE_OK || more != NULL;

        (void) sqlite3_finalize(more);
        if (is_statement)
            return false;
        if (next == rest)
            break;
        rest = next;
    }
    return true;
}

void
pv_reader_release(struct pv_log_reader *reader)
{
    (void) sqlite3_set_authorizer(reader->sqlite, NULL, NULL);
}

enum pv_status
pv_reader_prepare(struct pv_log_reader *reader, const char *sql, sqlite3_stmt **statement, char *error,
                  size_t error_size)
{
    const char *rest = sql;
    int rc;
    enum pv_status refreshed = pv_reader_refresh(reader);

    if (refreshed != PV_OK) {
        pv_db_error(error, error_size, "%s", sqlite3_errmsg(reader->sqlite));
        return refreshed;
    }
    reader->refused = NULL;
    (void) sqlite3_set_authorizer(reader->sqlite, authorize, reader);
    rc = sqlite3_prepare_v3(reader->sqlite, sql, -1, 0, statement, &rest);
    if (rc != SQLITE_OK) {
        enum pv_status status = reader->refused != NULL       ? PV_DENIED
                                : (rc & 0xff) == SQLITE_ERROR ? PV_SYNTAX
                                                              : pv_db_status(rc);

        pv_db_error(error, error_size, "%s",
                    reader->refused != NULL ? reader->refused : sqlite3_errmsg(reader->sqlite));
        return status;
    }
    if (*statement == NULL) {
        pv_db_error(error, error_size, "there is no statement");
        return PV_SYNTAX;
    }
    if (!is_rest_empty(reader, rest)) {
        pv_db_error(error, error_size, "one statement at a time");
        return PV_SYNTAX;
    }
    if (sqlite3_stmt_readonly(*statement) == 0 || sqlite3_stmt_isexplain(*statement) != 0 ||
        sqlite3_column_count(*statement) == 0) {
        pv_db_error(error, error_size, "only SELECT is allowed");
        return PV_DENIED;
    }
    return PV_OK;
}
