/*
 * There is no index by room, user or time: each would be paid for by every statement that is written. A look at each record
 * of a stretch is quick, and stretches grow: the first is small because most questions are about what just happened.
 */
#include "proxy/audit/browse.h"

#include "proxy/audit/db_int.h"
#include "proxy/audit/query_int.h"

#include <stdio.h>
#include <string.h>

/* Of a query in a list; the record itself shows the whole. */
#define EXCERPT_CHARACTERS "400"
#define STRETCH_FIRST UINT64_C(2000)
#define STRETCH_MOST UINT64_C(256000)
/* Records among which one is looked for that tells the time of a place. */
#define PLACE_RECORDS "1000"

/* A walk backwards, stretch by stretch: records with low < seq <= high. */
struct walk {
    struct pv_log_reader *reader;
    sqlite3_stmt *rows;  /* ?1 low, ?2 high */
    sqlite3_stmt *place; /* ?1 seq: the time of the newest record at or before it */
    char since[PV_RECORD_TIME_SIZE]; /* stop where records are older; "": at the first one */
    uint64_t high, stretch;
};

static enum pv_status
newest_seq(struct pv_log_reader *reader, uint64_t *seq)
{
    int64_t newest = 0;
    char *sql = sqlite3_mprintf("SELECT max(coalesce((SELECT max(seq) FROM %s.statement), 0), coalesce((SELECT max(seq) FROM"
                                " %s.statement_end), 0), coalesce((SELECT max(seq) FROM %s.event), 0))",
                                reader->schema, reader->schema, reader->schema);
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_number(reader->sqlite, sql, 0, &newest);

    sqlite3_free(sql);
    if (status == PV_OK)
        *seq = (uint64_t) newest;
    return status;
}

static enum pv_status
walk_open(struct walk *walk, struct pv_log_reader *reader, const char *sql, bool has_since, int64_t since_us,
          uint64_t before_seq)
{
    enum pv_status status;

    memset(walk, 0, sizeof(*walk));
    walk->reader = reader;
    walk->stretch = STRETCH_FIRST;
    if (has_since)
        pv_record_time_format(since_us < PV_BROWSE_CLOCK_US ? 0 : since_us - PV_BROWSE_CLOCK_US, walk->since);
    pv_reader_start_clock(reader);
    status = pv_reader_refresh(reader);
    /* One state of the live file for all stretches: what is sealed meanwhile is still where it was. */
    if (status == PV_OK)
        status = pv_db_exec(reader->sqlite, "BEGIN");
    if (status == PV_OK)
        status = newest_seq(reader, &walk->high);
    if (before_seq != 0 && before_seq <= walk->high)
        walk->high = before_seq - 1;
    if (status == PV_OK)
        status = pv_db_prepare(reader->sqlite, sql, &walk->rows);
    if (status == PV_OK)
        status = pv_db_prepare(reader->sqlite,
                               "SELECT at FROM query_log WHERE seq <= ?1 AND seq > ?1 - " PLACE_RECORDS
                               " ORDER BY seq DESC LIMIT 1",
                               &walk->place);
    return status;
}

static void
walk_close(struct walk *walk)
{
    walk->reader->deadline_ms = 0;
    (void) sqlite3_finalize(walk->rows);
    (void) sqlite3_finalize(walk->place);
    if (sqlite3_get_autocommit(walk->reader->sqlite) == 0)
        (void) sqlite3_exec(walk->reader->sqlite, "COMMIT", NULL, NULL, NULL);
}

/* Whether all that is left is older than what is asked for. */
static bool
is_past(struct walk *walk)
{
    bool is_older = false;

    if (walk->since[0] == '\0')
        return false;
    (void) sqlite3_bind_int64(walk->place, 1, (int64_t) walk->high);
    if (pv_db_step(walk->place) == PV_OK)
        is_older = strcmp((const char *) sqlite3_column_text(walk->place, 0), walk->since) < 0;
    (void) sqlite3_reset(walk->place);
    return is_older;
}

/* Binds the next stretch; false: there is none. */
static bool
walk_next(struct walk *walk, uint64_t *low)
{
    if (walk->high == 0 || is_past(walk))
        return false;
    *low = walk->high > walk->stretch ? walk->high - walk->stretch : 0;
    (void) sqlite3_reset(walk->rows);
    (void) sqlite3_bind_int64(walk->rows, 1, (int64_t) *low);
    (void) sqlite3_bind_int64(walk->rows, 2, (int64_t) walk->high);
    if (walk->stretch < STRETCH_MOST)
        walk->stretch *= 2;
    return true;
}

/* ---- Filters: fixed pieces of text, values by parameter ---- */

static void
put_conditions(sqlite3_str *sql, const struct pv_browse_filter *filter)
{
    const struct {
        bool is_set;
        const char *sql;
    } conditions[] = {
        {filter->has_since, " AND at >= ?3"},
        {filter->has_until, " AND at < ?4"},
        {filter->user != NULL, " AND user = ?5"},
        {filter->question != NULL, " AND question = ?6"},
        {filter->decision != NULL, " AND decision = ?7"},
        {filter->outcome != NULL, " AND coalesce(outcome, 'running') = ?8"},
        {filter->code != NULL, " AND (reason = ?9 OR substr(reason, 1, length(?9) + 1) = ?9 || ':')"},
        {filter->column != NULL, " AND (instr(columns, ?10) > 0 OR instr(columns, ?11) > 0)"},
        {filter->text != NULL, " AND (query LIKE ?12 ESCAPE '\\' OR parameters LIKE ?12 ESCAPE '\\'"
                               " OR reason LIKE ?12 ESCAPE '\\')"},
    };

    for (size_t i = 0; i < PV_COUNT_OF(conditions); i++)
        if (conditions[i].is_set)
            sqlite3_str_appendall(sql, conditions[i].sql);
}

static void
bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    /* An index that the text does not name is no fault: SQLite says so and nothing is bound. */
    if (text != NULL)
        (void) sqlite3_bind_text(statement, index, text, -1, SQLITE_TRANSIENT);
}

static void
bind_time(sqlite3_stmt *statement, int index, bool is_set, int64_t at_us)
{
    char text[PV_RECORD_TIME_SIZE];

    if (!is_set)
        return;
    pv_record_time_format(at_us, text);
    bind_text(statement, index, text);
}

/* Binds what a buffer holds and clears it. */
static enum pv_status
bind_buf(sqlite3_stmt *statement, int index, struct pv_buf *buf)
{
    const char *text = pv_buf_text(buf);

    bind_text(statement, index, text);
    pv_buf_clear(buf);
    return text == NULL ? PV_NOMEM : PV_OK;
}

/* Names stand in `columns` as JSON writes them: whole, or behind the dot of what comes before. */
static enum pv_status
bind_column(sqlite3_stmt *statement, const char *column)
{
    static const char before[] = {'"', '.'};
    enum pv_status status = PV_OK;

    for (size_t i = 0; column != NULL && i < sizeof(before) && status == PV_OK; i++) {
        struct pv_buf buf = {0};

        pv_buf_put_u8(&buf, (uint8_t) before[i]);
        for (const char *at = column; *at != '\0'; at++)
            if (*at == '"' || *at == '\\')
                pv_buf_printf(&buf, "\\%c", *at);
            else if ((unsigned char) *at < 0x20 || *at == 0x7F)
                pv_buf_printf(&buf, "\\u%04x", (unsigned) (unsigned char) *at);
            else
                pv_buf_put_u8(&buf, (uint8_t) *at);
        pv_buf_put_u8(&buf, '"');
        status = bind_buf(statement, 10 + (int) i, &buf);
    }
    return status;
}

static enum pv_status
bind_pattern(sqlite3_stmt *statement, const char *text)
{
    struct pv_buf buf = {0};

    if (text == NULL)
        return PV_OK;
    pv_buf_put_u8(&buf, '%');
    for (; *text != '\0'; text++) {
        if (*text == '%' || *text == '_' || *text == '\\')
            pv_buf_put_u8(&buf, '\\');
        pv_buf_put_u8(&buf, (uint8_t) *text);
    }
    pv_buf_put_u8(&buf, '%');
    return bind_buf(statement, 12, &buf);
}

static enum pv_status
bind_filter(sqlite3_stmt *statement, const struct pv_browse_filter *filter)
{
    enum pv_status status;

    bind_time(statement, 3, filter->has_since, filter->since_us);
    bind_time(statement, 4, filter->has_until, filter->until_us);
    bind_text(statement, 5, filter->user);
    bind_text(statement, 6, filter->question);
    bind_text(statement, 7, filter->decision);
    bind_text(statement, 8, filter->outcome);
    bind_text(statement, 9, filter->code);
    status = bind_column(statement, filter->column);
    if (status == PV_OK)
        status = bind_pattern(statement, filter->text);
    (void) sqlite3_bind_int64(statement, 13, filter->limit);
    return status;
}

/* ---- Lists ---- */

static const char *const list_names[] = {"seq",         "at",       "session",  "room",     "user",   "party",
                                         "application", "protocol", "question", "decision", "reason", "query",
                                         "columns",     "rows",     "duration_us", "outcome", "sqlstate"};

#define LIST_SELECT \
    "SELECT seq, at, session, room, user, party, application, protocol, question, decision, reason, substr(query, 1, " \
    EXCERPT_CHARACTERS "), columns, rows, duration_us, outcome, sqlstate FROM query_log WHERE seq > ?1 AND seq <= ?2"

static void
note_time(struct pv_browse_end *end, struct pv_slice at)
{
    (void) snprintf(end->last_at, sizeof(end->last_at), "%.*s", (int) at.len, (const char *) at.data);
}

/* The rows of one stretch, as many as are wanted; PV_NOTFOUND: no more in it, PV_LIMIT: too late. */
static enum pv_status
list_stretch(struct walk *walk, uint32_t *left, pv_row_take take, void *context, struct pv_browse_end *end)
{
    struct pv_cell cells[PV_COUNT_OF(list_names)];
    const struct pv_row row = {PV_COUNT_OF(list_names), list_names, cells};
    enum pv_status status = PV_OK;

    while (*left > 0 && (status = pv_db_step(walk->rows)) == PV_OK) {
        for (size_t i = 0; i < PV_COUNT_OF(list_names); i++)
            cells[i] = pv_reader_cell(walk->reader, walk->rows, (int) i, list_names[i]);
        end->last_seq = (uint64_t) cells[0].number;
        note_time(end, cells[1].bytes);
        status = take(context, &row);
        if (status != PV_OK)
            return status == PV_NOTFOUND || status == PV_LIMIT ? PV_INTERNAL : status;
        (*left)--;
    }
    return status;
}

static enum pv_status
list_all(struct walk *walk, uint32_t limit, pv_row_take take, void *context, struct pv_browse_end *end)
{
    enum pv_status status = PV_NOTFOUND;
    uint64_t low;

    end->is_complete = true;
    while (limit > 0 && status == PV_NOTFOUND && walk_next(walk, &low)) {
        end->last_seq = walk->high + 1;
        status = list_stretch(walk, &limit, take, context, end);
        if (status == PV_NOTFOUND) {
            walk->high = low;
            end->last_seq = low + 1;
        }
    }
    if (status == PV_LIMIT)
        end->is_overdue = true;
    if (limit == 0 || status == PV_LIMIT)
        end->is_complete = end->last_seq <= 1;
    return status == PV_NOTFOUND || status == PV_LIMIT ? PV_OK : status;
}

enum pv_status
pv_browse_list(struct pv_log_reader *reader, const struct pv_browse_filter *filter, pv_row_take take, void *context,
               struct pv_browse_end *end)
{
    sqlite3_str *text = sqlite3_str_new(reader->sqlite);
    struct pv_browse_end found = {0};
    struct walk walk;
    char *sql;
    enum pv_status status;

    sqlite3_str_appendall(text, LIST_SELECT);
    put_conditions(text, filter);
    sqlite3_str_appendall(text, " ORDER BY seq DESC LIMIT ?13");
    sql = sqlite3_str_finish(text);
    if (sql == NULL)
        return PV_NOMEM;
    status = walk_open(&walk, reader, sql, filter->has_since, filter->since_us, filter->before_seq);
    sqlite3_free(sql);
    if (status == PV_OK)
        status = bind_filter(walk.rows, filter);
    if (status == PV_OK)
        status = list_all(&walk, filter->limit, take, context, &found);
    walk_close(&walk);
    if (status == PV_OK)
        *end = found;
    return status;
}

/* ---- A pass ---- */

static struct pv_slice
text_of(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);

    return pv_slice_of(text, text == NULL ? 0 : (size_t) sqlite3_column_bytes(statement, column));
}

static void
read_fact(sqlite3_stmt *statement, struct pv_browse_fact *fact)
{
    fact->at = text_of(statement, 1);
    fact->room = text_of(statement, 2);
    fact->user = text_of(statement, 3);
    fact->question = text_of(statement, 4);
    fact->is_denied = pv_slice_is(text_of(statement, 5), "denied");
    fact->reason = text_of(statement, 6);
    fact->columns = text_of(statement, 7);
    fact->sqlstate = text_of(statement, 8);
    fact->rows = (uint64_t) sqlite3_column_int64(statement, 9);
    fact->duration_us = (uint64_t) sqlite3_column_int64(statement, 10);
    if (pv_record_time_parse((const char *) sqlite3_column_text(statement, 1), &fact->at_us) != PV_OK)
        fact->at_us = 0; /* the log writes no such */
}

enum pv_status
pv_browse_scan(struct pv_log_reader *reader, int64_t since_us, pv_browse_take take, void *context,
               struct pv_browse_end *end)
{
    struct pv_browse_end found = {0};
    struct pv_browse_fact fact;
    struct walk walk;
    uint64_t low;
    enum pv_status status = walk_open(&walk, reader,
                                      "SELECT seq, at, room, user, question, decision, reason, columns, sqlstate, rows,"
                                      " duration_us FROM query_log WHERE seq > ?1 AND seq <= ?2 AND at >= ?3"
                                      " ORDER BY seq DESC",
                                      true, since_us, 0);

    bind_time(walk.rows, 3, true, since_us);
    while (status == PV_OK && walk_next(&walk, &low)) {
        while ((status = pv_db_step(walk.rows)) == PV_OK) {
            read_fact(walk.rows, &fact);
            note_time(&found, fact.at);
            take(context, &fact);
        }
        walk.high = low;
        if (status == PV_NOTFOUND)
            status = PV_OK;
    }
    walk_close(&walk);
    found.is_complete = status == PV_OK;
    found.is_overdue = status == PV_LIMIT;
    if (status != PV_OK && status != PV_LIMIT)
        return status;
    *end = found;
    return PV_OK;
}
