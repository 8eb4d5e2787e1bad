/* What a reader gives: rows, by a filter, by number, all of them or as SQL asks for them. */
#include "proxy/audit/query_int.h"

#include "proxy/audit/db_int.h"
#include "proxy/audit/record.h"

#include <stdio.h>
#include <string.h>

/* ---- Rows ---- */

static bool
holds_json(struct pv_log_reader *reader, const char *name, struct pv_slice text)
{
    static const char *const names[] = {"parameters", "datasets", "columns", "detail"};
    bool is_json;

    if (!pv_reader_is_one_of(name, names, PV_COUNT_OF(names)) || text.len == 0 ||
        (text.data[0] != '[' && text.data[0] != '{'))
        return false;
    (void) sqlite3_bind_text64(reader->is_json, 1, (const char *) text.data, text.len, SQLITE_STATIC, SQLITE_UTF8);
    is_json = sqlite3_step(reader->is_json) == SQLITE_ROW && sqlite3_column_int(reader->is_json, 0) == 1;
    (void) sqlite3_reset(reader->is_json);
    (void) sqlite3_clear_bindings(reader->is_json);
    return is_json;
}

struct pv_cell
pv_reader_cell(struct pv_log_reader *reader, sqlite3_stmt *statement, int column, const char *name)
{
    struct pv_cell cell = {.kind = PV_CELL_NULL};

    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        cell.kind = PV_CELL_INT;
        cell.number = sqlite3_column_int64(statement, column);
        break;
    case SQLITE_FLOAT:
        cell.kind = PV_CELL_REAL;
        cell.real = sqlite3_column_double(statement, column);
        break;
    case SQLITE_TEXT:
        cell.bytes.data = sqlite3_column_text(statement, column);
        cell.bytes.len = (size_t) sqlite3_column_bytes(statement, column);
        cell.kind = holds_json(reader, name, cell.bytes) ? PV_CELL_JSON : PV_CELL_TEXT;
        break;
    case SQLITE_BLOB:
        cell.kind = PV_CELL_BLOB;
        cell.bytes.data = sqlite3_column_blob(statement, column);
        cell.bytes.len = (size_t) sqlite3_column_bytes(statement, column);
        break;
    default:
        break;
    }
    return cell;
}

struct rows {
    const char **names;
    struct pv_cell *cells;
    size_t count;
};

static enum pv_status
step_all(struct pv_log_reader *reader, sqlite3_stmt *statement, struct rows *rows, pv_row_take take, void *context)
{
    const struct pv_row row = {rows->count, rows->names, rows->cells};
    enum pv_status status = PV_OK;

    while (status == PV_OK) {
        status = pv_db_step(statement);
        if (status != PV_OK)
            break;
        for (size_t i = 0; i < rows->count; i++)
            rows->cells[i] = pv_reader_cell(reader, statement, (int) i, rows->names[i]);
        status = take(context, &row);
        /* Both words end the loop, and only one of them is SQLite's. */
        if (status == PV_NOTFOUND)
            status = PV_INTERNAL;
    }
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* Runs a statement that is prepared and bound, and finalizes it. */
static enum pv_status
read_rows(struct pv_log_reader *reader, sqlite3_stmt *statement, bool is_announcing, pv_row_take take, void *context)
{
    struct rows rows = {.count = (size_t) sqlite3_column_count(statement)};
    enum pv_status status = PV_NOMEM;

    pv_reader_start_clock(reader);
    rows.names = pv_calloc(rows.count + 1, sizeof(*rows.names));
    rows.cells = pv_calloc(rows.count + 1, sizeof(*rows.cells));
    if (rows.names != NULL && rows.cells != NULL) {
        status = PV_OK;
        for (size_t i = 0; i < rows.count; i++) {
            rows.names[i] = sqlite3_column_name(statement, (int) i);
            if (rows.names[i] == NULL)
                status = PV_NOMEM;
        }
    }
    if (status == PV_OK && is_announcing) {
        const struct pv_row names = {rows.count, rows.names, NULL};

        status = take(context, &names);
    }
    if (status == PV_OK)
        status = step_all(reader, statement, &rows, take, context);
    reader->deadline_ms = 0;
    pv_free(rows.names);
    pv_free(rows.cells);
    return status;
}

static void
bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    (void) sqlite3_bind_text(statement, index, text, -1, SQLITE_TRANSIENT);
}

enum pv_status
pv_log_list(struct pv_log_reader *reader, const struct pv_log_filter *filter, pv_row_take take, void *context)
{
    char sql[256];
    char since[PV_RECORD_TIME_SIZE];
    sqlite3_stmt *statement = NULL;
    bool is_denied = filter->decision != NULL && strcmp(filter->decision, "denied") == 0;
    enum pv_status status;

    if (filter->decision != NULL && !is_denied && strcmp(filter->decision, "allowed") != 0)
        return PV_INVALID;
    /* The decision stands in the text: only so does the planner see that the index of denials serves. */
    (void) snprintf(sql, sizeof(sql), "SELECT * FROM query_log WHERE 1%s%s%s%s ORDER BY seq DESC LIMIT ?4",
                    filter->room == NULL ? "" : " AND room = ?1", filter->user == NULL ? "" : " AND user = ?2",
                    filter->has_since ? " AND at >= ?3" : "",
                    filter->decision == NULL ? ""
                    : is_denied              ? " AND decision = 'denied'"
                                             : " AND decision = 'allowed'");
    status = pv_reader_refresh(reader);
    if (status == PV_OK)
        status = pv_db_prepare(reader->sqlite, sql, &statement);
    if (status != PV_OK)
        return status;
    if (filter->room != NULL)
        bind_text(statement, 1, filter->room);
    if (filter->user != NULL)
        bind_text(statement, 2, filter->user);
    if (filter->has_since) {
        pv_record_time_format(filter->since_us, since);
        bind_text(statement, 3, since);
    }
    (void) sqlite3_bind_int64(statement, 4,
                              filter->limit == 0 || filter->limit > INT64_MAX ? -1 : (int64_t) filter->limit);
    status = read_rows(reader, statement, false, take, context);
    (void) sqlite3_finalize(statement);
    return status;
}

/* Counts what goes by, so that show knows whether there was a row. */
struct counted {
    pv_row_take take;
    void *context;
    size_t count;
};

static enum pv_status
take_counted(void *context, const struct pv_row *row)
{
    struct counted *counted = context;

    counted->count++;
    return counted->take(counted->context, row);
}

enum pv_status
pv_log_show(struct pv_log_reader *reader, uint64_t seq, pv_row_take take, void *context)
{
    struct counted counted = {take, context, 0};
    enum pv_status status = PV_OK;

    if (seq > INT64_MAX)
        return PV_NOTFOUND;
    status = pv_reader_refresh(reader);
    for (int i = 0; status == PV_OK && counted.count == 0 && i < (reader->segment_count > 0 ? 4 : 3); i++) {
        sqlite3_stmt *statement = NULL;
        char *sql = i == 0   ? sqlite3_mprintf("SELECT * FROM query_log WHERE seq = ?1")
                    : i == 1 ? sqlite3_mprintf("SELECT * FROM event_log WHERE seq = ?1")
                    : i == 2 ? sqlite3_mprintf("SELECT * FROM query_log WHERE seq = (SELECT s.seq FROM %s.statement_end"
                                               " AS e JOIN %s.statement AS s ON s.id = e.id WHERE e.seq = ?1)",
                                               reader->schema, reader->schema)
                             : sqlite3_mprintf("SELECT * FROM query_log WHERE seq = (SELECT seq FROM %s_query_log"
                                               " WHERE end_seq = ?1)",
                                               reader->schema);

        status = sql == NULL ? PV_NOMEM : pv_db_prepare(reader->sqlite, sql, &statement);
        sqlite3_free(sql);
        if (status == PV_OK) {
            (void) sqlite3_bind_int64(statement, 1, (int64_t) seq);
            status = read_rows(reader, statement, false, take_counted, &counted);
        }
        (void) sqlite3_finalize(statement);
    }
    return status == PV_OK && counted.count == 0 ? PV_NOTFOUND : status;
}

enum pv_status
pv_log_export(struct pv_log_reader *reader, pv_row_take take, void *context)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status = pv_reader_refresh(reader);

    if (status == PV_OK)
        status = pv_db_prepare(reader->sqlite, "SELECT * FROM query_log ORDER BY seq", &statement);
    if (status == PV_OK)
        status = read_rows(reader, statement, true, take, context);
    (void) sqlite3_finalize(statement);
    return status;
}

enum pv_status
pv_log_query(struct pv_log_reader *reader, const char *sql, pv_row_take take, void *context, char *error,
             size_t error_size)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status;

    pv_db_error(error, error_size, "%s", "");
    status = pv_reader_prepare(reader, sql, &statement, error, error_size);
    if (status == PV_OK) {
        status = read_rows(reader, statement, true, take, context);
        if (status != PV_OK)
            pv_db_error(error, error_size, "%s",
                        status == PV_LIMIT ? "the query took too long" : sqlite3_errmsg(reader->sqlite));
    }
    (void) sqlite3_finalize(statement);
    pv_reader_release(reader);
    return status;
}
