/*
 * What a page about the log asks of it: a page of records by filter, and one pass over a stretch of time. Both see what the
 * reader's rooms hold and go from the newest record backwards, a stretch of seq at a time, so that they are quick where the
 * answer is near; both can be stopped by the reader's timeout, and say how far they came.
 */
#ifndef PV_BROWSE_H
#define PV_BROWSE_H

#include "proxy/audit/query.h"
#include "proxy/audit/record.h"

/*
 * Time goes along with seq, but a clock may be set back: the search for what was recorded since a moment ends where
 * records are this much older: enough for a clock that was a day ahead, or set by the hour.
 */
#define PV_BROWSE_CLOCK_US (INT64_C(25) * 3600 * 1000000)

struct pv_browse_filter {
    const char *user, *question; /* exactly these; NULL: any, here and below */
    const char *decision;        /* "allowed", "denied" */
    const char *outcome;         /* "completed", "failed", "cancelled", "lost", or "running" */
    const char *code;            /* a denial's reason code (docs/reasons.md) */
    const char *column;          /* read: schema.dataset.column, or its last parts */
    const char *text;            /* stands in query, parameters or reason; ASCII letters in either case */
    bool has_since, has_until;
    int64_t since_us, until_us; /* at or after; before */
    uint64_t before_seq;        /* only records before this one: the `last_seq` of the page before; 0: all */
    uint32_t limit;
};

struct pv_browse_end {
    bool is_complete;  /* nothing follows */
    bool is_overdue;   /* the timeout ended it */
    uint64_t last_seq; /* what is to follow lies before this one; 0: nothing does */
    char last_at[PV_RECORD_TIME_SIZE]; /* of the last row that was given; "": none was */
};

/*
 * Newest first: seq, at, session, room, user, party, application, protocol, question, decision, reason, query (its
 * beginning), columns, rows, duration_us, outcome, sqlstate. The timeout is no failure.
 */
enum pv_status pv_browse_list(struct pv_log_reader *reader, const struct pv_browse_filter *filter, pv_row_take take,
                              void *context, struct pv_browse_end *end) PV_MUST_CHECK;

/* One statement of the pass. Slices last until the call returns; what is NULL in the log is empty. */
struct pv_browse_fact {
    int64_t at_us;
    struct pv_slice at, room, user, question, reason, sqlstate, columns;
    bool is_denied;
    uint64_t rows, duration_us;
};
typedef void (*pv_browse_take)(void *context, const struct pv_browse_fact *fact);

/* Every statement since then, newest first. */
enum pv_status pv_browse_scan(struct pv_log_reader *reader, int64_t since_us, pv_browse_take take, void *context,
                              struct pv_browse_end *end) PV_MUST_CHECK;

#endif
