/*
 * Reading the query log: filters, one record, SQL, and the formats in which rows
 * leave. A reader opens the file read-only, takes no lock and never writes; a log
 * that is being served can be read at the same time. One thread at a time.
 *
 * SQL sees query_log, event_log and the views over them, and nothing else of the file: the
 * authorizer refuses every other table, writing, ATTACH, PRAGMA and functions that are not on a list.
 */
#ifndef PV_QUERY_H
#define PV_QUERY_H

#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

#include <stdatomic.h>

struct pv_log_reader;

struct pv_log_reader_options {
    const char *const *rooms; /* only rows of these; NULL: everything */
    size_t room_count;
    uint64_t timeout_ms; /* of one call; 0: none */
    const atomic_bool *cancel; /* borrowed; true ends what runs, as the timeout does. NULL: nobody can */
    /* Whoever reads may not see literals: a statement without its constants; NULL: everything is shown. */
    enum pv_status (*mask)(struct pv_slice text, struct pv_buf *out);
    const char *auditor; /* who asks by way of the database pgveil: the helpers of desk.h; NULL: plain SQLite */
};

/* PV_NOTFOUND: no such file. PV_CORRUPT: not a log of ours. */
enum pv_status pv_log_reader_open(const char *path, const struct pv_log_reader_options *options,
                                  struct pv_log_reader **reader, char *error, size_t error_size) PV_MUST_CHECK;
void pv_log_reader_close(struct pv_log_reader *reader); /* NULL is fine */
/* After a call that gave PV_IO or PV_CORRUPT: what could not be read. Borrows until the next call. */
const char *pv_log_reader_words(const struct pv_log_reader *reader);

/* ---- Rows ---- */

enum pv_cell_kind { PV_CELL_NULL, PV_CELL_INT, PV_CELL_REAL, PV_CELL_TEXT, PV_CELL_BLOB, PV_CELL_JSON };

struct pv_cell {
    enum pv_cell_kind kind; /* JSON: text of a column that holds JSON, checked to be valid */
    int64_t number;         /* INT */
    double real;            /* REAL */
    struct pv_slice bytes;  /* TEXT, BLOB, JSON */
};

struct pv_row {
    size_t count;
    const char *const *names;
    const struct pv_cell *cells;
};

/* Borrows the row. Anything but PV_OK stops the reading and is given back by it. */
typedef enum pv_status (*pv_row_take)(void *context, const struct pv_row *row);

struct pv_log_filter {
    const char *room, *user; /* NULL: any */
    const char *decision;    /* "allowed", "denied", NULL: any */
    bool has_since;
    int64_t since_us; /* at or after */
    uint64_t limit;   /* 0: all */
};

/* Rows of query_log, newest first. */
enum pv_status pv_log_list(struct pv_log_reader *reader, const struct pv_log_filter *filter, pv_row_take take,
                           void *context) PV_MUST_CHECK;
/* The row of query_log or event_log with that seq; the seq of an end shows its statement. PV_NOTFOUND. */
enum pv_status pv_log_show(struct pv_log_reader *reader, uint64_t seq, pv_row_take take, void *context) PV_MUST_CHECK;
/* Rows of query_log, oldest first. */
enum pv_status pv_log_export(struct pv_log_reader *reader, pv_row_take take, void *context) PV_MUST_CHECK;
/*
 * One SELECT. PV_SYNTAX, PV_DENIED (touches what it may not), PV_LIMIT (timeout); `error` gets the words.
 * `take` is called once before the first row with cells NULL, so that an empty result has names too.
 */
enum pv_status pv_log_query(struct pv_log_reader *reader, const char *sql, pv_row_take take, void *context, char *error,
                            size_t error_size) PV_MUST_CHECK;

/* ---- Formats: each appends to a buffer, which the caller empties as it likes ---- */

/* An object without a line's end. JSON cells are nested, bytes that are no UTF-8 appear as \xHH. */
void pv_row_put_json(const struct pv_row *row, struct pv_buf *out);
/* RFC 4180, with CRLF; NULL is an empty field, an empty text is "". */
void pv_row_put_csv(const struct pv_row *row, struct pv_buf *out);
void pv_row_put_csv_names(const struct pv_row *row, struct pv_buf *out);
/* One `name  value` a line, for show. */
void pv_row_put_lines(const struct pv_row *row, struct pv_buf *out);
/* One cell as text on one line: control characters escaped, so that nothing in the log can steer a terminal. */
void pv_cell_put_text(const struct pv_cell *cell, struct pv_buf *out);

#endif
