/*
 * What the query log is told (INTERFACE 5): a statement's begin, its end, both at
 * once, or an event. A caller fills these structs with borrowed fields; whoever
 * takes a record copies it whole into one heap block before returning.
 *
 * Every `const char *` may be NULL, which the log keeps as NULL. Bytes of text that
 * are not UTF-8 become '?', except in `query`, which is kept verbatim. Texts marked
 * JSON must be valid JSON of ours; NULL for datasets and columns stands for [].
 */
#ifndef PV_RECORD_H
#define PV_RECORD_H

#include "proxy/base/base.h"

enum pv_record_kind {
    PV_RECORD_BEGIN, /* a statement that is about to be forwarded */
    PV_RECORD_END,   /* the outcome of one */
    PV_RECORD_WHOLE, /* a statement that is over already, as a denied one is: begin and end in one step */
    PV_RECORD_EVENT, /* anything else that happened */
};

enum pv_record_protocol { PV_RECORD_SIMPLE, PV_RECORD_EXTENDED };

/* Whether groups were left out of a result. */
enum pv_suppressed {
    PV_SUPPRESSED_UNKNOWN,
    PV_SUPPRESSED_NONE,
    PV_SUPPRESSED_SOME
}; /* unknown: no threshold applied */

/* Columns: name, word in the log. */
#define PV_OUTCOME_TABLE(X) \
    X(COMPLETED, "completed") \
    X(FAILED, "failed") \
    X(CANCELLED, "cancelled") \
    X(LOST, "lost")

enum pv_outcome {
#define PV_X(name, word) PV_OUTCOME_##name,
    PV_OUTCOME_TABLE(PV_X)
#undef PV_X
};

/* Runs that are taken from one counter of the state. */
struct pv_budget_take {
    const char *key;    /* names what is counted, free of the policy file's edits */
    const char *period; /* the period and its start, such as `day 2026-01-31`; free text */
    uint64_t runs_max;  /* above INT64_MAX: no bound, counted all the same */
    uint64_t runs;      /* to take */
    const char *reason; /* of the log's record when these runs are not left; may be NULL elsewhere */
};

struct pv_statement_begin {
    uint64_t id;      /* from pv_statement_id_next */
    int64_t at_us;    /* microseconds since 1970 UTC; 0: now */
    uint64_t session; /* number of the session, below 2^63; 0: none */
    const char *room, *user, *party, *client, *application;
    enum pv_record_protocol protocol;
    const char *question, *question_type;
    bool is_allowed;
    const char *reason;
    bool has_query;         /* false: no text could be read, and `reason` says why */
    struct pv_slice query;  /* as the client sent it */
    const char *parameters; /* JSON array; NULL where parameters are not logged */
    const char *forwarded;  /* SQL that goes to the database; NULL: nothing does */
    const char *datasets;   /* JSON array of names */
    const char *columns;    /* JSON array of dataset.column */
    const char *service;    /* trusted service that asked for `user`; NULL: nobody else did */
    /*
     * Taken in the transaction of the record, all or none; BEGIN of an allowed statement only. When one is spent, the record
     * says denied with that one's reason and nothing forwarded, its end follows at once (failed, 53400), and the ticket
     * completes with PV_LIMIT. A record that takes is awaited in relaxed mode too, and never is_kept.
     */
    const struct pv_budget_take *takes;
    size_t take_count;
};

struct pv_statement_end {
    uint64_t id;    /* of the begin; in a WHOLE record not looked at */
    int64_t at_us;  /* 0: now */
    uint64_t rows;  /* that reached the client */
    uint64_t bytes; /* of the result's messages as sent to the client */
    uint64_t duration_us;
    enum pv_suppressed suppressed;
    enum pv_outcome outcome;
    bool is_unseen;       /* nobody counted: rows, bytes and duration are not known */
    const char *sqlstate; /* five characters; NULL: none */
    const char *reason;   /* the database's own words where the client got general ones; NULL: none */
};

struct pv_event {
    int64_t at_us;    /* 0: now */
    uint64_t session; /* 0: none */
    const char *room, *user, *client;
    const char *event;  /* a word: login, login_failed, logout, reload, approve, consent, provision, ...; not NULL */
    const char *detail; /* JSON object; NULL: none */
};

struct pv_record {
    enum pv_record_kind kind;
    const struct pv_statement_begin *begin; /* BEGIN, WHOLE */
    const struct pv_statement_end *end;     /* END, WHOLE */
    const struct pv_event *event;           /* EVENT */
    bool is_kept; /* write it once the log works again, though the caller was told PV_IO; END always is */
};

/*
 * A number for a statement, from 1 up, that no other statement of the log has: opening a journal for
 * serving moves the count beyond all that the log holds. Thread-safe.
 */
uint64_t pv_statement_id_next(void);

/* The clock of the log: microseconds since 1970 UTC. */
int64_t pv_record_now_us(void);
/* `2026-01-31T12:00:00.123456Z`; PV_RECORD_TIME_SIZE counts the NUL. Years 1970 to 9999, others are clamped. */
#define PV_RECORD_TIME_SIZE 28u
void pv_record_time_format(int64_t at_us, char text[PV_RECORD_TIME_SIZE]);
/* Reads RFC 3339 (also a bare date, midnight UTC). PV_INVALID for anything else. */
enum pv_status pv_record_time_parse(const char *text, int64_t *at_us) PV_MUST_CHECK;

#endif
