/*
 * Where auditors' SQL runs: threads of its own, so that neither an event loop nor the log's writer waits for a long
 * query. Each ask opens the log anew, for reading, under the rooms of its auditor as they are at that moment; one statement
 * has PV_DESK_QUERY_MS, PV_DESK_MEMORY_MAX and PV_DESK_ANSWER_BYTES_MAX, and its whole result is in memory when it is done.
 *
 * Functions beside SQLite's: now(), date_trunc(unit, time), date_part(unit, time), version(), current_database() and
 * the like (helpers.c). The spelling is PostgreSQL's as far as dialect.h says.
 */
#ifndef PV_DESK_H
#define PV_DESK_H

#include "proxy/base/arena.h"
#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

#include <stdatomic.h>

/* A statement's time: enough for a full scan of millions of records, short enough for the next auditor. */
#define PV_DESK_QUERY_MS 5000u
/* What SQLite may hold for it, sorts and groups included. */
#define PV_DESK_MEMORY_MAX (256u * 1024u * 1024u)
/* A result's size. */
#define PV_DESK_ANSWER_BYTES_MAX (64u * 1024u * 1024u)
/* Statements that may wait. */
#define PV_DESK_QUEUE_MAX 256u
#define PV_DESK_THREADS 2u

/* PostgreSQL's type OIDs (pg_type.dat) that appear here. */
enum pv_type_oid {
    PV_TYPE_BOOL = 16,
    PV_TYPE_INT8 = 20,
    PV_TYPE_INT2 = 21,
    PV_TYPE_INT4 = 23,
    PV_TYPE_TEXT = 25,
    PV_TYPE_OID = 26,
    PV_TYPE_FLOAT4 = 700,
    PV_TYPE_FLOAT8 = 701,
    PV_TYPE_UNKNOWN = 705,
    PV_TYPE_BPCHAR = 1042,
    PV_TYPE_VARCHAR = 1043,
    PV_TYPE_DATE = 1082,
    PV_TYPE_TIMESTAMP = 1114,
    PV_TYPE_TIMESTAMPTZ = 1184,
    PV_TYPE_NUMERIC = 1700,
};

struct pv_ask_parameter {
    uint32_t type_oid; /* 0: not said, bound as text */
    bool is_binary, is_null;
    struct pv_slice bytes;
};

struct pv_ask_column {
    const char *name;
    uint32_t type_oid; /* INT8, FLOAT8, TEXT or TIMESTAMPTZ */
};

/* One statement and, once done, its answer. Counted; what it holds lives in its arena. */
struct pv_ask {
    atomic_uint refs;
    struct pv_ask *next;
    struct pv_arena *arena;
    atomic_bool is_cancelled;
    /* The question: filled by who asks, before it is given away. */
    const char *user;
    const char *const *rooms;
    size_t room_count;
    const char *sql; /* SQLite's, from dialect.h */
    enum pv_status (*mask)(struct pv_slice text, struct pv_buf *out); /* as a reader's (query.h) */
    bool has_catalog, is_describing; /* describing: columns alone; parameters are taken as NULL */
    const struct pv_ask_parameter *parameters;
    size_t parameter_count;
    const struct pv_ask_column *promised; /* columns as told before; NULL: none were */
    size_t promised_count;
    /* Told from a desk's thread when the answer is there; it has a reference of its own to give back. */
    void (*done)(struct pv_ask *ask);
    void *cookie;
    uint64_t session;
    /* The answer. */
    char sqlstate[6]; /* "": fine */
    const char *message, *hint;
    struct pv_ask_column *columns;
    size_t column_count;
    struct pv_buf rows; /* pv_ask_next reads it */
    uint64_t row_count;
};

struct pv_ask *pv_ask_new(void) PV_MUST_CHECK; /* NULL: out of memory */
struct pv_ask *pv_ask_ref(struct pv_ask *ask);
void pv_ask_unref(struct pv_ask *ask); /* NULL is fine */
void pv_ask_cancel(struct pv_ask *ask); /* any thread */
/* Answers on this thread. */
void pv_ask_run(struct pv_ask *ask, const char *path);

/*
 * Appends a DataRow's body of the next row at *offset, which starts at 0 and moves; formats as of Bind (NULL: text).
 * False: no row is left.
 */
bool pv_ask_next(const struct pv_ask *ask, size_t *offset, const uint16_t *formats, size_t format_count,
                 struct pv_buf *out);

struct pv_desk;
enum pv_status pv_desk_open(const char *path, struct pv_desk **desk) PV_MUST_CHECK;
/* Cancels what runs and waits, and ends the threads. NULL is fine. */
void pv_desk_close(struct pv_desk *desk);
/* Takes a reference of its own; `done` follows. PV_LIMIT: too many wait. */
enum pv_status pv_desk_put(struct pv_desk *desk, struct pv_ask *ask) PV_MUST_CHECK;

#endif
