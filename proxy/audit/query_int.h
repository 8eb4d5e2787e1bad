/*
 * The reader from inside: query.c opens it and holds SQL to the views, query_rows.c reads rows, helpers.c gives
 * auditors' SQL its functions and catalog, desk.c runs it.
 */
#ifndef PV_QUERY_INT_H
#define PV_QUERY_INT_H

#include "proxy/audit/query.h"

#include <sqlite3.h>
#include <stdatomic.h>

struct pv_log_reader {
    sqlite3 *sqlite;
    sqlite3_stmt *is_json;
    char schema[40]; /* the random name; tables of sealed records begin with it too */
    bool has_rooms;
    char **rooms;
    size_t room_count;
    int64_t segment_count; /* when the views were made; these differ where it is 0 */
    uint64_t timeout_ms;
    int64_t deadline_ms;
    const atomic_bool *cancel; /* NULL: nobody can; true ends what runs */
    enum pv_status (*mask)(struct pv_slice text, struct pv_buf *out); /* NULL: literals are shown */
    const char *refused;       /* what the authorizer said no to, static words */
    bool is_trusted;           /* what is prepared now is of sealed.c, not of whoever asks */
    bool is_auditor;           /* helpers of helpers.c are there and allowed */
    char user[64];             /* auditor: who asks */
};

/* Prepares one SELECT under the authorizer, which stays in force until pv_reader_release. */
enum pv_status pv_reader_prepare(struct pv_log_reader *reader, const char *sql, sqlite3_stmt **statement, char *error,
                                 size_t error_size) PV_MUST_CHECK;
/* Before each use: the views as the segments are now. */
enum pv_status pv_reader_refresh(struct pv_log_reader *reader) PV_MUST_CHECK;
void pv_reader_release(struct pv_log_reader *reader);
void pv_reader_start_clock(struct pv_log_reader *reader);
bool pv_reader_is_overdue(const struct pv_log_reader *reader);
/* Names as SQLite compares them; NULL is none. */
bool pv_reader_is_one_of(const char *name, const char *const *names, size_t count);

/* ---- query_rows.c ---- */

/* Borrows from the statement, until its next step. `name` is of the column. */
struct pv_cell pv_reader_cell(struct pv_log_reader *reader, sqlite3_stmt *statement, int column, const char *name);

/* ---- mask.c ---- */

/* pv_mask, pv_mask_text and pv_mask_parameters, of which the views are made where literals are not shown. */
enum pv_status pv_masking_add(struct pv_log_reader *reader) PV_MUST_CHECK;

/* ---- helpers.c ---- */

/* Functions, operators and collations that PostgreSQL has and SQLite has not. */
enum pv_status pv_helpers_add(struct pv_log_reader *reader) PV_MUST_CHECK;
bool pv_helpers_is_function(const char *name);

/* ---- helpers_catalog.c ---- */

/* Small tables shaped like pg_catalog's and information_schema's, about the log's views. */
enum pv_status pv_helpers_catalog(struct pv_log_reader *reader) PV_MUST_CHECK;
bool pv_helpers_is_table(const char *name);

#endif
