/*
 * What a session is made of: judgements, names, requests and their statements, and the session itself.
 */
#ifndef PV_STATE_INT_H
#define PV_STATE_INT_H

#include "policy/decide.h"
#include "policy/param.h"
#include "policy/policy.h"
#include "policy/token.h"
#include "policy/views.h"
#include "proxy/audit/record.h"
#include "proxy/base/arena.h"
#include "proxy/base/bytes.h"
#include "proxy/base/limits.h"
#include "proxy/crypto/mac.h"
#include "proxy/crypto/scram.h"
#include "proxy/session/session.h"
#include "proxy/wire/frame.h"
#include "proxy/wire/message.h"

#include <stdatomic.h>

enum pv_phase {
    PV_PHASE_STARTUP,      /* a packet without a tag is due */
    PV_PHASE_TLS,          /* 'S' was sent, the handshake is the host's */
    PV_PHASE_SASL_INITIAL, /* SASLInitialResponse is due */
    PV_PHASE_SASL_FINAL,   /* SASLResponse is due */
    PV_PHASE_PASSWORD,     /* a token is due as PasswordMessage */
    PV_PHASE_BEARER_INITIAL, /* likewise as SASLInitialResponse of OAUTHBEARER */
    PV_PHASE_BEARER_FINAL, /* the client's word to a failure of that is due */
    PV_PHASE_SERVER,       /* the host connects */
    PV_PHASE_SETUP,        /* identity and settings are on their way to the server */
    PV_PHASE_READY,
    PV_PHASE_CLOSED,
    PV_PHASE_COUNT
};

/* What the client is told. Texts NULL: left out. */
struct pv_error {
    const char *severity, *sqlstate, *message, *detail, *hint;
    uint32_t position;
    const char *reason; /* for the log, where it says more; else NULL */
};

/* One judgement of a text, with all that it rests on; shared by whatever came out of it. */
struct pv_judged {
    uint32_t refs;
    struct pv_arena *arena;
    struct pv_policy *policy; /* decisions point into the snapshot */
    struct pv_hold *hold;     /* of it */
    uint64_t standing;        /* generation of the standing that it was judged under */
    uint64_t person;          /* person_count that it was judged under */
    struct pv_slice text;     /* verbatim */
    const uint32_t *oids;     /* as the client declared them */
    size_t oid_count;
    struct pv_names path; /* search_path that it was judged under */
    struct pv_decision *decisions;
    size_t count;
    bool is_logged;       /* a row of the log names it already */
    bool is_described;    /* a Describe was answered since the last row */
};

/* A prepared statement or a portal; refcounted since requests in flight hold it too. */
struct pv_named {
    uint32_t refs;
    struct pv_named *next; /* in its bucket */
    uint32_t hash;
    char *name;
    struct pv_judged *judged;
    size_t index; /* which of its decisions */
    struct pv_prepared_facts facts;
    char *parameters; /* portal: JSON for the log, or NULL; behind the name */
    bool is_portal;
    bool is_cursor; /* made by DECLARE */
    bool is_of_sql; /* made by PREPARE, or a portal of that */
    bool is_hold;
    bool is_bound;  /* a shared server has it under this very name: the session keeps that server */
    struct pv_prep *prep; /* statement of a session that shares servers: what a Parse of it says; NULL: it is bound */
    bool has_run;   /* portal: an Execute or FETCH of it took what it takes from budgets (pv_run's starts) */
    struct pv_named *called; /* portal of EXECUTE: the statement that it ran */
    bool is_elsewhere; /* the unnamed statement: its own server has not got it as that (repeat_segment.c) */
    bool is_new;    /* portal: made in the transaction that runs */
    size_t depth;   /* portal: savepoints that stood when it was made */
};

struct pv_name_table {
    struct pv_named **buckets;
    size_t bucket_count, count;
    size_t bound_count; /* of which is_bound */
};

/* One statement on its way: a statement of a Query, an Execute, a Describe without Execute. */
struct pv_run {
    struct pv_judged *judged; /* NULL when is_internal */
    size_t index;
    const struct pv_decision *decision;  /* of the statement itself */
    const struct pv_decision *effective; /* of the one it runs: EXECUTE's, FETCH's */
    struct pv_judged *effective_judged;  /* keeps `effective` alive; may be NULL */
    enum pv_statement_kind kind;
    struct pv_named *defines; /* PREPARE, DECLARE */
    const char *parameters;   /* in the request's arena */
    uint64_t id;
    uint64_t rows, bytes;
    int64_t started_us;
    bool is_internal; /* ours, swallowed */
    bool is_marker;   /* ours, between two statements of a Query (pipeline.c, 6) */
    bool is_suppressed, has_timed_out;
    bool is_continued;           /* of a portal that ran before */
    struct pv_named *starts;     /* portal that runs for the first time; NULL once it has: else it may yet (pv_run_release) */
    const char *withdrawn_words; /* consent was withdrawn after it was sent; in the request's arena */
    bool is_stopping, has_dropped; /* its cancel is on the way; rows were kept back */
    const struct pv_budget_take *takes; /* of its begin record, as effective->budgets; NULL: none */
    uint64_t ticket;                    /* of its begin record */
    bool has_begun, has_ended;
    char *database_words; /* of a redacted error, for the log; owned, gone with the end record */
};

enum pv_request_kind {
    PV_REQUEST_NONE, /* nothing in flight */
    PV_REQUEST_QUERY,
    PV_REQUEST_PARSE,
    PV_REQUEST_BIND,
    PV_REQUEST_DESCRIBE,
    PV_REQUEST_EXECUTE,
    PV_REQUEST_CLOSE,
    PV_REQUEST_SYNC,
    PV_REQUEST_FLUSH, /* has no reply */
    PV_REQUEST_KIND_COUNT
};

/* How far a Query, or a segment's Parse, is that went as use of a statement which the server has prepared (repeat.c). */
enum pv_repeat_stage {
    PV_REPEAT_NONE, /* it went as text */
    PV_REPEAT_PARSING,
    PV_REPEAT_BINDING,
    PV_REPEAT_DESCRIBING,
    PV_REPEAT_RUNNING,
    PV_REPEAT_FAILED /* before it ran: it will go as text */
};

/* One message to the server and what is to come back for it. */
struct pv_request {
    struct pv_request *next, *previous;
    enum pv_request_kind kind;
    struct pv_arena *arena;
    struct pv_session_spares *spares; /* where that goes in the end */
    struct pv_buf bytes; /* until sent */
    uint64_t ticket_first, ticket_last; /* records that must be on disk first; 0: none */
    bool is_sent;
    bool is_internal; /* ours: replies are swallowed */
    bool is_apart;    /* ours, in a segment of ours: so are errors */
    bool is_setup;    /* the first of all */
    bool is_reset;    /* a Query that ends in a reset: no message is taken until its end */
    bool may_move_path;
    bool is_local;    /* nothing of it is sent; it is answered when its turn comes */
    bool is_harvest;  /* ours: its row holds the session's settings */
    bool is_calming;  /* ours: takes a timeout back that the next session must not meet */
    bool is_checkout; /* ours: brings a shared server to what this session is */
    bool is_replay;   /* ours, on behalf of the client: a Parse that this server has not seen; its error is the client's */
    bool is_in_segment;      /* QUERY: behind extended messages without a Sync */
    struct pv_named *statement; /* PARSE, BIND, DESCRIBE of a session that shares servers: whose name is written at sending */
    size_t name_at;             /* offset of that name in `bytes` */
    uint32_t side_number;       /* PARSE: the name's number on the server */
    struct pv_named *bound;     /* is_replay: it is bound by this */
    struct pv_named **binds;    /* must be on the server under their own names first; in the arena */
    size_t bind_count;
    bool is_poison;
    struct pv_error error; /* of a poisoned one, in the arena */
    struct pv_named *named; /* PARSE and BIND define it, DESCRIBE and EXECUTE use it */
    enum pv_msg_target_kind target; /* CLOSE, DESCRIBE */
    const char *name;               /* PARSE, BIND, CLOSE: in the arena */
    struct pv_run *runs;
    size_t run_count, run_at;
    bool has_failed;
    bool is_verbatim; /* what is forwarded is what was sent: positions in errors hold */
    bool is_copying_in;
    bool is_counted, has_repeat_name; /* its end is counted: for the name of that number, or for its text */
    bool is_noisy;                    /* it said something beside its rows */
    bool is_repeat;                   /* EXECUTE: of a statement that the server has under a name of ours */
    bool is_said_again;               /* PARSE: it could not be used so, and goes as it came */
    enum pv_repeat_stage repeat_stage;
    uint32_t repeat_number;
    size_t repeat_closes; /* CloseComplete messages to come before all else */
    int64_t repeat_sent_us;
    int64_t deadline_us; /* INT64_MAX: none */
};

/*
 * DISCARD ALL by the extended protocol commits by itself, what brings back what it takes does not: that stands and falls
 * with the transaction which begins behind it.
 */
enum pv_discard {
    PV_DISCARD_NONE,
    PV_DISCARD_SENT,  /* not confirmed; or what was said behind it is committed, and a failure leaves it alone */
    PV_DISCARD_DONE,  /* confirmed; what was said behind it is in a transaction that is still open */
    PV_DISCARD_UNDONE /* that was taken back: it is said again as soon as no transaction is open */
};

/* A setting that the client asked for at its start. */
struct pv_startup_setting {
    const char *name, *value; /* in the session's arena */
};

struct pv_savepoint {
    char *name;
    char *path, *path_session;
};

/* search_path as the client sees it, through transactions and savepoints. Texts are track.c's own. */
struct pv_track {
    uint8_t status;        /* of the last ReadyForQuery */
    bool is_in_block;      /* BEGIN was confirmed */
    char *path_startup;    /* what RESET brings back */
    char *path;            /* in force */
    char *path_session;    /* what COMMIT leaves */
    char *path_committed;  /* what ROLLBACK leaves */
    struct pv_savepoint *savepoints;
    size_t savepoint_count, savepoint_size;
};

/* From `offset` on (counted over all bytes that ever went to the client) nothing leaves before `ticket` is on disk. */
struct pv_gate {
    uint64_t offset, ticket;
};

/* ParameterStatus values that a client is told; source: PostgreSQL documentation, "Asynchronous Operations". */
#define PV_REPORTED_TABLE(X) \
    X("application_name") \
    X("client_encoding") \
    X("DateStyle") \
    X("default_transaction_read_only") \
    X("in_hot_standby") \
    X("integer_datetimes") \
    X("IntervalStyle") \
    X("is_superuser") \
    X("server_encoding") \
    X("server_version") \
    X("session_authorization") \
    X("standard_conforming_strings") \
    X("TimeZone")
#define PV_X(name) +1
enum { PV_REPORTED_COUNT = 0 PV_REPORTED_TABLE(PV_X) };
#undef PV_X
/* Where those stand under which constants of a statement are read. */
enum { PV_REPORTED_DATESTYLE = 2, PV_REPORTED_INTERVALSTYLE = 6, PV_REPORTED_TIMEZONE = 12 };

enum { PV_REPORTED_APPLICATION = 0 };

/* ---- texts.c: immutable rows of texts, from any thread; equal ones are one object ---- */
#define PV_TEXTS_MAX 64u
struct pv_texts {
    _Atomic uint32_t refs;
    uint32_t hash;
    struct pv_texts *next;
    uint32_t count, len; /* len: of all that follows */
    uint32_t offsets[];  /* of each text from here on, 0: NULL; then the texts */
};
struct pv_texts *pv_texts_of(const char *const *texts, size_t count) PV_MUST_CHECK; /* NULL: no memory */
/* `from` (NULL: without texts) with another i-th. */
struct pv_texts *pv_texts_with(const struct pv_texts *from, size_t count, size_t i, const char *text) PV_MUST_CHECK;
struct pv_texts *pv_texts_ref(struct pv_texts *texts); /* NULL is fine */
void pv_texts_unref(struct pv_texts *texts);           /* likewise */

static inline const char *
pv_texts_at(const struct pv_texts *texts, size_t i)
{
    return texts == NULL || texts->offsets[i] == 0 ? NULL : (const char *) texts->offsets + texts->offsets[i];
}

/*
 * A session. What it has only while it does something stands at the end, from PV_SESSION_BUSY on: pv_session_fold leaves
 * that out, when all of it is zero.
 */
struct pv_session {
    const struct pv_session_env *env;
    const struct pv_session_host *host;
    const struct pv_session_judge *judge;
    void *host_context;
    struct pv_policy *policy;
    struct pv_standing *standing; /* of that policy; may be NULL */
    uint64_t id;
    char *client;
    int64_t now_us, started_us, active_us;
    int64_t wall_ahead_us; /* of the time of day, which may be set, before now_us, which only passes */
    enum pv_phase phase;
    bool is_folded; /* ends at PV_SESSION_BUSY */
    bool is_unix_socket, is_tls;
    bool is_logged_in;
    bool is_bearer;               /* the login is by token */
    bool is_changing_user;        /* a change went into the open segment */
    bool is_conformance;
    bool is_backslashed; /* conformance only: standard_conforming_strings is off */
    bool has_server;
    /* Of a session that shares servers (lease.c): */
    bool is_pooled;
    bool is_asking;           /* open_server is not answered yet */
    bool is_dirty;            /* something that changes settings was sent since they were read */
    bool is_calmed;           /* the server was made ready for others, and is not gone yet */
    bool has_local;           /* likewise, for the transaction */
    bool is_pinned, is_pinned_by_settings;
    bool has_answered;        /* something was answered without a server in this round */
    bool wants_release;
    bool must_have_server;    /* the message at hand can be written for a known server alone */
    bool is_identity_stale;
    bool is_identity_said; /* before the message at hand, which may have to wait for the replies and come again */
    bool is_paused, is_stalled, is_draining, is_busy_inside;
    bool is_close_wanted;
    bool is_doomed;       /* a message of this segment is bound to fail: all until Sync is dropped */
    bool is_segment_open; /* extended messages since the last Sync */
    bool has_segment_run, is_segment_watched; /* an Execute among them; one that has a time or reads data */
    bool is_cancel_pending;
    bool is_asking_peers, are_peers_fresh;
    bool has_stalled_inside; /* a lookup met a name whose fate hangs on replies still to come */
    char segment_sqlstate[6]; /* of the error that skips the segment; "" none */

    struct pv_arena *arena; /* the session's lifetime */
    const char *user, *room_name, *party; /* in the arena; NULL before login */
    const struct pv_user *account;        /* of the snapshot in force */
    const struct pv_room *room;
    const struct pv_member *member;
    const char *login_user;       /* who logged in; `user` is who asks */
    const char *service;          /* login_user where it asks for another; NULL: nobody else */
    const char *user_startup;     /* pgveil.user of the startup packet, or NULL */
    uint64_t person_count;        /* changes so far */
    struct pv_member own_member;  /* what `member` points to after the login */
    struct pv_startup_setting *settings;
    size_t setting_count, setting_size;
    struct pv_token *token;     /* of a login by token, in the arena; else NULL */
    struct pv_auditor *auditor; /* of a session on the database pgveil, which has neither room nor server */

    /* server */
    uint32_t server_pid;
    struct pv_buf identity_key;
    struct pv_side *side;     /* of the server at hand; NULL: none, or the session's own */
    struct pv_side *home; /* of a server of one's own: the next session to have it is told what it reported; NULL: none */
    struct pv_tag *tag;       /* who it asks for; NULL: to be made */
    struct pv_values *values; /* its settings; NULL: as a fresh session's */
    struct pv_texts *reported; /* as its server said; NULL: not known yet */

    uint64_t client_total; /* bytes ever appended to client_out */
    uint64_t durable; /* tickets up to here are settled */

    /* names */
    struct pv_name_table statements, portals;
    struct pv_track track;
    enum pv_discard discard; /* while it is not NONE nothing is taken behind a Sync or Query before its end */
    uint64_t statement_count;
    uint64_t denial_count; /* poisoned texts say session.number, to be found in the server's log */

#define PV_SESSION_BUSY offsetof(struct pv_session, client_in)
    /* bytes */
    struct pv_buf client_in, server_in;
    struct pv_buf row_given; /* a row that was put together in server_in and handed over in this event */
    struct pv_oversize *oversize; /* a message above its limit that is being skipped; NULL: none */
    struct pv_buf client_out, server_out;
    size_t client_given, server_given; /* at the heads of the buffers: already handed over in this call */
    size_t unsent_bytes; /* in requests that are not sent */
    struct pv_buf identity_sql; /* when it was needed last */
    struct pv_gate *gates;
    size_t gate_count, gate_size;
    struct pv_judged **described; /* since the last Sync, not yet in the log */
    size_t described_count, described_size;

    /* requests */
    struct pv_request *head, *tail, *unsent;
    struct pv_request *not_passed; /* the first that is neither known to take no time nor sent (pv_request_running); NULL: none */
    size_t request_count, execute_count, reset_count, path_count;
    struct pv_request *repeat_parse; /* of a segment that may have to be said again; NULL: none */
    struct pv_request *cancel_due; /* sent behind a request of ours: cancelled when the server comes to it; NULL: none */
    size_t server_row_left;   /* of a DataRow or CopyData that streams */
    struct pv_run *server_row_run;
    const struct pv_run *looking_runs; /* runs made so far of the message at hand */
    size_t looking_count;
    char *user_pending;           /* an end user confirmed, not yet in force; owned */
    struct pv_peers peers; /* as looked at last, in their arena */
    struct pv_arena *peers_arena;

    /* startup */
    uint32_t version;
    bool has_asked_ssl, has_asked_gss;
    bool is_cert_proven, is_denied_anyhow; /* the exchange is for show */
    struct pv_slice endpoint_hash; /* in the arena */
    const char *cert_cn;
    struct pv_scram_server *scram;
    const char *scram_mechanism;
    const char *login_refusal;             /* why, for the log */
};

#endif
