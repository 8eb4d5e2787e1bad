/*
 * The session engine from inside. Reading order: session.c and session_event.c (phases and events),
 * startup.c (the way in), session_fold.c (rest), gate.c (the one road), statement.c (prepared statements and
 * portals by message), names.c (what they are called), pipeline.c (requests in
 * flight), lease.c and side.c (servers that are shared), govern.c (consent and budgets under way), peers.c (the same
 * user's other sessions), result.c (replies),
 * track.c (transaction and settings), trail.c (the query log), error.c (what the client is told). Everything belongs to one session, thus to one thread.
 */
#ifndef PV_SESSION_INT_H
#define PV_SESSION_INT_H

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

/*
 * A statement name that no client may use: Bind to it fails in the server with 26000, which is how a message other than
 * Query and Parse is denied. The control character keeps it out of every sane client's way.
 */
#define PV_POISON_NAME "pgveil\001denied"
#define PV_INTERNAL_NAME "pgveil\001identity"
/* Where auditors log in; no room may have this name. */
#define PV_AUDIT_DATABASE "pgveil"
#define PV_RESERVED_PREFIX "pgveil\001"

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
    struct pv_policy *policy; /* a reference: decisions point into the snapshot */
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
    char *parameters; /* portal: JSON for the log, or NULL */
    bool is_portal;
    bool is_cursor; /* made by DECLARE */
    bool is_hold;
    bool is_bound;  /* a shared server has it under this very name: the session keeps that server */
    struct pv_prep *prep; /* statement of a session that shares servers: what a Parse of it says; NULL: it is bound */
    bool has_run;   /* portal: an Execute of it took what it takes from budgets */
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
    bool is_suppressed, has_timed_out;
    bool is_continued;           /* of a portal that ran before */
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

/* One message to the server and what is to come back for it. */
struct pv_request {
    struct pv_request *next, *previous;
    enum pv_request_kind kind;
    struct pv_arena *arena;
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
    int64_t deadline_us; /* INT64_MAX: none */
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

/* What a handler of a client's message says. */
enum pv_step {
    PV_STEP_DONE,
    PV_STEP_STALL, /* leave the message where it is: it hangs on replies still to come */
};

/* ---- session.c ---- */
/* Ends with a FATAL; what waits for the log is not shown. */
void pv_session_fatal(struct pv_session *s, const char *sqlstate, const char *message);
void pv_session_fail(struct pv_session *s, enum pv_status status); /* FATAL with the status's words */
void pv_session_end(struct pv_session *s, enum pv_outcome outcome);
void pv_session_after_ready(struct pv_session *s);

/* ---- session_event.c ---- */
/* The time of day as the clock says it, for the log. */
int64_t pv_session_wall_us(const struct pv_session *s);
/*
 * The same for what ends by a date or is counted by the day. A clock that is set back opens nothing again: then this
 * goes on as if nobody had touched it.
 */
int64_t pv_session_date_us(const struct pv_session *s);
bool pv_session_start_event(struct pv_session *s, int64_t now_us); /* false: the session has ended */
void pv_session_finish_event(struct pv_session *s);
void pv_session_append_client(struct pv_session *s, const void *data, size_t len);
void pv_session_gate(struct pv_session *s, uint64_t ticket);
size_t pv_session_held(const struct pv_session *s);
/* When a login by token ends; INT64_MAX: it is none. */
int64_t pv_session_token_end(const struct pv_session *s);
/* True: it has, and so has the session. */
bool pv_session_ends_with_token(struct pv_session *s);

/* ---- session_fold.c ---- */
/* What only the login needed is let go; what is left of it takes no more room than it has to. */
void pv_session_login_done(struct pv_session *s);

/* ---- spares.c ---- */
/* A spare one where there is one and `buf` has no room yet; and back. */
void pv_spare_take(const struct pv_session *s, struct pv_buf *buf);
void pv_spare_give(const struct pv_session *s, struct pv_buf *buf);
/* The bytes where they lie, for the length of an event; false: there are others before them. What is left is copied. */
bool pv_lend(struct pv_buf *buf, struct pv_slice bytes) PV_MUST_CHECK;
void pv_take_back(struct pv_buf *buf);

/* ---- startup.c ---- */
void pv_startup_packet(struct pv_session *s, struct pv_slice body, size_t total_len);
enum pv_step pv_startup_sasl_initial(struct pv_session *s, const struct pv_frame *frame);
enum pv_step pv_startup_sasl_final(struct pv_session *s, const struct pv_frame *frame);
void pv_startup_server_open(struct pv_session *s, const struct pv_server_facts *facts);
void pv_startup_finish(struct pv_session *s); /* setup's ReadyForQuery came */
/* -c name=value and --name=value of `options`, unescaped in place into the arena; PV_INVALID for anything else. */
enum pv_status pv_startup_options(struct pv_session *s, struct pv_slice options,
                                  enum pv_status (*take)(struct pv_session *s, const char *name, const char *value))
    PV_MUST_CHECK;

void pv_startup_admit(struct pv_session *s);                               /* the user is who they say */
void pv_startup_refuse_password(struct pv_session *s, const char *reason); /* the reason is for the log */

/* ---- bearer.c ---- */
#define PV_BEARER_MECHANISM "OAUTHBEARER"
/* True: the user is one who logs in by token, and was asked for it. */
bool pv_bearer_start(struct pv_session *s);
enum pv_step pv_bearer_password(struct pv_session *s, const struct pv_frame *frame);
enum pv_step pv_bearer_initial(struct pv_session *s, const struct pv_frame *frame);
enum pv_step pv_bearer_final(struct pv_session *s, const struct pv_frame *frame);

/* ---- person.c ---- */
struct pv_person {
    const char *name; /* of the snapshot, or the login's own */
    const struct pv_user *account;
    const struct pv_member *member;
};
/* The login, or whom it names (NULL: itself), in a snapshot; false: no place there. */
bool pv_person_find(struct pv_session *s, const struct pv_policy *policy, const struct pv_room *room,
                    const char *end_user, struct pv_person *person);
void pv_person_take(struct pv_session *s, const struct pv_person *person);
bool pv_person_switch(struct pv_session *s, const char *end_user); /* false: no place in the room */
bool pv_person_is_change(const struct pv_session *s, const struct pv_decision *decision);
bool pv_person_may_change(struct pv_session *s, const struct pv_judged *judged, bool is_query, struct pv_error *error);
void pv_person_confirm(struct pv_session *s, const struct pv_run *run); /* a command's end came in */
void pv_person_forget(struct pv_session *s);                            /* its transaction failed */
void pv_person_ready(struct pv_session *s);                             /* its transaction ended */
void pv_person_refuse(struct pv_session *s, uint8_t tag);

/* ---- peers.c ---- */
/* Must the statement wait until the user's sessions have been looked at? Asks for that. */
bool pv_peers_are_due(struct pv_session *s, const struct pv_judged *judged);
bool pv_peers_take(struct pv_session *s, const struct pv_peer *peers, size_t count); /* false: out of memory */
void pv_peers_signal(struct pv_session *s, struct pv_slice message);

/* ---- auditor.c ---- */
struct pv_ask;
struct pv_auditor;
enum pv_status pv_auditor_new(struct pv_session *s) PV_MUST_CHECK; /* PV_NOTFOUND: an auditor of no room */
void pv_auditor_free(struct pv_auditor *auditor);                  /* NULL is fine */
void pv_auditor_start(struct pv_session *s);                       /* ready for its client */
/* PV_NOTFOUND: no room is left to audit. */
enum pv_status pv_auditor_policy(struct pv_session *s, const struct pv_policy *policy) PV_MUST_CHECK;
void pv_auditor_end(struct pv_session *s);
void pv_auditor_cancel(struct pv_session *s);
bool pv_auditor_is_busy(const struct pv_session *s);
bool pv_auditor_has_more(const struct pv_session *s);
/* auditor_statement.c */
enum pv_step (*pv_auditor_handler(uint8_t tag))(struct pv_session *s, const struct pv_frame *frame);
void pv_auditor_oversize(struct pv_session *s, uint8_t tag, const char *message, const char *reason);
/* auditor_run.c */
void pv_auditor_answer(struct pv_session *s, struct pv_ask *ask);

/* ---- gate.c ---- */
void pv_gate_caller(struct pv_session *s, struct pv_caller *caller, struct pv_names path);
enum pv_step pv_gate_query(struct pv_session *s, const struct pv_frame *frame);
enum pv_step pv_gate_function_call(struct pv_session *s, const struct pv_frame *frame);
/* One that oversize.c has skipped; `reason` is for the log. */
void pv_gate_oversize(struct pv_session *s, uint8_t tag, const char *message, const char *reason);
/* Judges a Parse's text under the policy in force; NULL: out of memory (said already) or stalled. */
struct pv_judged *pv_gate_judge(struct pv_session *s, struct pv_slice text, const uint32_t *oids, size_t oid_count,
                                bool is_parse);
/*
 * Judges again what an older snapshot judged. PV_OK: same text, the judgement is of today. PV_DENIED: *error is set.
 * PV_MORE: allowed with another text (*fresh), which the caller has to bring to the server. PV_NOTFOUND: a name that it
 * rests on is still on its way; wait.
 */
enum pv_status pv_gate_trial(struct pv_session *s, struct pv_named *named, struct pv_arena *arena,
                             struct pv_error *error, struct pv_judged **fresh) PV_MUST_CHECK;
/* Judges the request's statements anew, under today's policy: PV_OK, or PV_DENIED: it is another statement now. */
enum pv_status pv_gate_retry(struct pv_session *s, struct pv_request *r) PV_MUST_CHECK;
/* Fills what the run executes in truth: EXECUTE's statement, FETCH's cursor. PV_DENIED with *error. */
enum pv_status pv_gate_effective(struct pv_session *s, struct pv_request *r, struct pv_run *run,
                                 struct pv_error *error) PV_MUST_CHECK;
void pv_gate_run_init(struct pv_session *s, struct pv_run *run, struct pv_judged *judged, size_t index);
bool pv_gate_define(struct pv_session *s, struct pv_run *run); /* false: out of memory */
void pv_error_of_decision(struct pv_error *error, const struct pv_decision *decision);

/* ---- gate_identity.c ---- */
/* After a RESET or DISCARD, which the request of that kind holds: identity and startup settings again. */
void pv_gate_identity_after(struct pv_session *s, enum pv_request_kind kind, const struct pv_decision *decision);
void pv_gate_refresh_identity(struct pv_session *s);
/* SQL that brings identity (unless `only`) and the startup settings (or `only` that one) back. */
/* identity_sql is that of now; false: the session has ended. */
bool pv_gate_make_identity(struct pv_session *s);
void pv_gate_setup_sql(struct pv_session *s, const char *only, struct pv_buf *out);
size_t pv_gate_count_statements(struct pv_session *s, const char *only); /* of that SQL */
bool pv_gate_is_reset(const struct pv_decision *decision);
const char *pv_gate_only_of(const struct pv_decision *decision); /* `only` behind such a reset */

/* ---- statement.c: handlers ---- */
enum pv_step pv_statement_bind(struct pv_session *s, const struct pv_frame *frame);
enum pv_step pv_statement_describe(struct pv_session *s, const struct pv_frame *frame);
enum pv_step pv_statement_execute(struct pv_session *s, const struct pv_frame *frame);
enum pv_step pv_statement_close(struct pv_session *s, const struct pv_frame *frame);
enum pv_step pv_statement_sync(struct pv_session *s, const struct pv_frame *frame);
enum pv_step pv_statement_flush(struct pv_session *s, const struct pv_frame *frame);
/* Ways out of a handler: poisoned and queued, given up until it is called again, queued as written. All take the request. */
enum pv_step pv_statement_refuse(struct pv_session *s, struct pv_request *r, const struct pv_error *error);
enum pv_step pv_statement_refuse_with(struct pv_session *s, struct pv_request *r, const char *sqlstate,
                                      const char *message);
enum pv_step pv_statement_stall(struct pv_request *r);
enum pv_step pv_statement_push_written(struct pv_session *s, struct pv_request *r, enum pv_status status);
/* The name as text in the arena; NULL with *error when no server would keep it apart from others. */
const char *pv_statement_take_name(struct pv_session *s, struct pv_request *r, struct pv_slice name,
                                   struct pv_error *error);

/* ---- statement_parse.c ---- */
enum pv_step pv_statement_parse(struct pv_session *s, const struct pv_frame *frame);
/* PV_OK: *named may be used. PV_DENIED: *error. */
enum pv_status pv_statement_try(struct pv_session *s, struct pv_request *r, struct pv_named **named,
                                struct pv_error *error);
enum pv_status pv_statement_try_portal(struct pv_session *s, struct pv_request *r, struct pv_named *portal,
                                       struct pv_error *error);

/* ---- names.c ---- */
/* `path` NULL: the caller fills it. */
struct pv_judged *pv_judged_new(struct pv_session *s, struct pv_slice text, const uint32_t *oids, size_t oid_count,
                                const struct pv_names *path) PV_MUST_CHECK;
struct pv_judged *pv_judged_ref(struct pv_judged *judged);
void pv_judged_unref(struct pv_judged *judged); /* NULL is fine */
struct pv_named *pv_named_new(const char *name, size_t name_len, struct pv_judged *judged, size_t index)
    PV_MUST_CHECK; /* takes its own reference of judged */
struct pv_named *pv_named_ref(struct pv_named *named);
void pv_named_unref(struct pv_named *named); /* NULL is fine */
/* Takes a reference; replaces one of the same name. */
enum pv_status pv_names_put(struct pv_name_table *table, struct pv_named *named) PV_MUST_CHECK;
struct pv_named *pv_names_get(const struct pv_name_table *table, const char *name);
void pv_names_drop(struct pv_name_table *table, const char *name);
void pv_names_drop_if(struct pv_name_table *table, bool (*is_dropped)(const struct pv_named *named, size_t depth),
                      size_t depth);
void pv_names_clear(struct pv_name_table *table);
/*
 * What a name means for the message at hand: PV_OK, PV_NOTFOUND, or PV_MORE when that hangs on an earlier
 * segment of the pipeline whose end is not known yet.
 */
enum pv_status pv_names_statement(struct pv_session *s, const char *name, struct pv_named **named) PV_MUST_CHECK;
enum pv_status pv_names_portal(struct pv_session *s, const char *name, struct pv_named **named) PV_MUST_CHECK;
/* The search_path for the message at hand, likewise; into the arena. */
/* May what the request runs move search_path? Counted while it is in flight, so that most look-ups need no look at them all. */
bool pv_names_may_move_path(const struct pv_request *r);
enum pv_status pv_names_path(struct pv_session *s, struct pv_arena *arena, struct pv_names *path) PV_MUST_CHECK;

/* ---- pipeline.c ---- */
struct pv_request *pv_request_new(struct pv_session *s, enum pv_request_kind kind); /* NULL: said already */
void pv_request_free(struct pv_request *r);
void pv_request_push(struct pv_session *s, struct pv_request *r); /* takes it */
/* Makes it one that the server must refuse; the client gets `error` (texts are copied). */
void pv_request_poison(struct pv_session *s, struct pv_request *r, const struct pv_error *error);
void pv_request_pop(struct pv_session *s);
struct pv_request *pv_request_head(struct pv_session *s); /* sent, and a reply is due; or NULL */
/*
 * The one that the server is at: its first reply may wait for that of another behind it, since parsing, binding,
 * describing and closing take no time and their replies are not sent by themselves. NULL: none.
 */
struct pv_request *pv_request_running(const struct pv_session *s);
/* An Execute that is to be pushed: must the replies of those before it in its segment be flushed, so that its time counts by itself? */
bool pv_request_needs_flush(const struct pv_session *s, const struct pv_request *r);
/* The time of what runs now, and its consent; after each step of the queue. */
void pv_request_start_clock(struct pv_session *s);
/* One that was sent just now takes its place before another, which may be NULL: at the end. Takes it. */
void pv_request_insert_sent(struct pv_session *s, struct pv_request *before, struct pv_request *r);
/* Drops what the server skips after an error: all requests before the next Sync. */
void pv_request_skip(struct pv_session *s);
void pv_pipeline_pump(struct pv_session *s);
void pv_pipeline_io_failed(struct pv_session *s, uint64_t ticket);
bool pv_pipeline_is_running(struct pv_session *s); /* a client's statement is in flight at the server */
void pv_pipeline_clear(struct pv_session *s);
struct pv_run *pv_request_run(struct pv_request *r); /* the one that runs now, or NULL */

/* ---- lease.c: a session that shares servers ---- */
struct pv_tag;
struct pv_values;
struct pv_prep;
/* A request waits for a server and none is at hand: asks for one, unless that is under way. */
void pv_lease_ask(struct pv_session *s);
void pv_lease_open(struct pv_session *s, const struct pv_server_facts *facts);
/* The first request, unsent, with no server at hand: true when it was answered without one. */
bool pv_lease_answer(struct pv_session *s, struct pv_request *r);
/* What has to go before the request, and the names in it; false: the session has ended. */
bool pv_lease_send(struct pv_session *s, struct pv_request *r);
/* The end of an event: gives the server back when nothing keeps it. */
void pv_lease_settle(struct pv_session *s);
void pv_lease_clear(struct pv_session *s);
void pv_lease_row(struct pv_session *s, struct pv_request *r, struct pv_slice body); /* of a harvest */
void pv_lease_parsed(struct pv_session *s, struct pv_request *r);
void pv_lease_failed(struct pv_session *s, struct pv_request *r);
void pv_lease_ready(struct pv_session *s, struct pv_request *r);
void pv_lease_command(struct pv_session *s, const struct pv_run *run);
/* A ParameterStatus came: true when the client has to hear of it. */
bool pv_lease_reported(struct pv_session *s, size_t i, struct pv_slice value);
/* The Parse in r->bytes defines `named`, whose name for the wire it bears. */
enum pv_status pv_lease_prepare(struct pv_session *s, struct pv_request *r, struct pv_named *named) PV_MUST_CHECK;
/* A name as it is written before the server is known. */
const char *pv_lease_name(const struct pv_session *s, const struct pv_named *named);
/* EXECUTE and its like name a statement by SQL: it must be there under that name. PV_MORE: wait. */
enum pv_status pv_lease_bind(struct pv_session *s, struct pv_request *r, const struct pv_decision *decision) PV_MUST_CHECK;
/* Identity for the server at hand; false with the session ended. */
bool pv_lease_identity(struct pv_session *s);
/* The caller is another, or has other attributes. */
void pv_lease_person(struct pv_session *s);
/* A message that needs to know its server: true when it has to wait for one. */
bool pv_lease_must_wait(struct pv_session *s);
/* Another policy is in force: what waits for a server was judged by an older one. */
void pv_lease_policy(struct pv_session *s);
/* No server is to be had: what waits for one hears of it as an error, and the session goes on; false: it cannot. */
bool pv_lease_lost(struct pv_session *s, const char *sqlstate, const char *words);
/* What waits for a server is cancelled; true when something did. */
bool pv_lease_cancel(struct pv_session *s);

/* ---- govern.c ---- */
/* Another standing is in force: what is not sent is refused, what is sent is marked, what runs is cancelled. */
void pv_govern_standing(struct pv_session *s);
/* The request at the head begins: cancels it when it was marked. */
void pv_govern_head(struct pv_session *s);
/* Whether a row that came in is kept from the client. */
bool pv_govern_drops(struct pv_run *run);
/* A run's success came in although rows were kept back: true, and the client was told of an error, or the session has ended. */
bool pv_govern_is_over(struct pv_session *s, struct pv_request *r, struct pv_run *run);
/* What the run takes from budgets, for its begin record; PV_NOMEM. */
enum pv_status pv_govern_takes(struct pv_session *s, struct pv_request *r, struct pv_run *run,
                               struct pv_statement_begin *begin) PV_MUST_CHECK;
/* The begin record with this ticket found its `spent`-th take empty: the request is refused. */
void pv_govern_spent(struct pv_session *s, uint64_t ticket, size_t spent);

/* ---- result.c ---- */
/* Answers the first request, poisoned or local, without a server. */
void pv_result_local(struct pv_session *s, struct pv_request *r);

/* What the client is told of it is not what the server said. */
bool pv_reported_is_ours(const char *name);

/* ---- result_bytes.c ---- */
void pv_result_bytes(struct pv_session *s);
/* Hands rows over as they lie in `bytes`, where nothing stands against it; gives what is left of them. */
struct pv_slice pv_result_pass_rows(struct pv_session *s, struct pv_slice bytes);

/* ---- track.c ---- */
bool pv_track_init(struct pv_session *s, const char *path);
void pv_track_clear(struct pv_session *s);
void pv_track_command(struct pv_session *s, const struct pv_run *run, struct pv_slice tag);
void pv_track_error(struct pv_session *s);
void pv_track_ready(struct pv_session *s, uint8_t status);
/* Splits a search_path text as PostgreSQL's SplitIdentifierString does, "$user" left out. */
enum pv_status pv_track_path_split(struct pv_arena *arena, const char *text, struct pv_names *path) PV_MUST_CHECK;

/* ---- trail.c ---- */
/* Begin records; the request waits for them. PV_OK or why the log refuses. */
enum pv_status pv_trail_begin(struct pv_session *s, struct pv_request *r, struct pv_run *run) PV_MUST_CHECK;
/* Ends a run that has begun and not ended: what follows towards the client waits for it. */
void pv_trail_end(struct pv_session *s, struct pv_run *run, enum pv_outcome outcome, const char *sqlstate);
/* A denied statement, begin and end in one. `r` waits for it. */
void pv_trail_denied(struct pv_session *s, struct pv_request *r, const struct pv_judged *judged, size_t index,
                     bool is_extended, const char *reason, const char *sqlstate, const char *parameters);
/* An allowed Parse that the server refused: it will never be executed. What follows waits for the record. */
void pv_trail_failed_parse(struct pv_session *s, const struct pv_named *named, const char *sqlstate);
/* One whose text could not be read. */
void pv_trail_unread(struct pv_session *s, struct pv_request *r, bool is_extended, const char *reason,
                     const char *sqlstate);
/* One whose client left amid it. Nothing waits for the record. */
void pv_trail_cut(struct pv_session *s, bool is_extended, const char *reason, const char *sqlstate);
void pv_trail_event(struct pv_session *s, const char *event, const char *detail_json);
void pv_trail_login_failed(struct pv_session *s, const char *user, const char *room, const char *reason);
void pv_trail_database_error(struct pv_session *s, struct pv_run *run, const struct pv_msg_notice *notice);

/* ---- oversize.c ---- */
/* A message with so many bytes behind its head is to be skipped. */
void pv_oversize_begin(struct pv_session *s, uint8_t tag, size_t len);
/* How many of the bytes belong to it; 0 where nothing is being skipped. */
size_t pv_oversize_feed(struct pv_session *s, struct pv_slice bytes);
bool pv_oversize_is_whole(const struct pv_session *s);
void pv_oversize_refuse(struct pv_session *s);
/* The session ends amid it: what came is told to the log. */
void pv_oversize_cut(struct pv_session *s);
void pv_oversize_free(struct pv_oversize *oversize); /* NULL is fine */
/* Of a text that is there: what the log says instead of it. NULL: out of memory. */
const char *pv_oversize_reason(struct pv_arena *arena, struct pv_slice text);

/* ---- error.c ---- */
void pv_error_write(struct pv_session *s, const struct pv_error *error);
void pv_error_simple(struct pv_error *error, const char *sqlstate, const char *message);
const char *pv_error_printf(struct pv_arena *arena, const char *format, ...) PV_PRINTF(2, 3);
/* A server's error or notice as the client may see it; `is_redacted`: code and general words alone. */
void pv_error_relay(struct pv_session *s, enum pv_server_tag tag, const struct pv_msg_notice *notice,
                    const struct pv_request *r, const struct pv_run *run);
/* error_place.c: an error's position in what was forwarded as one in what the client sent; false: it has none there. */
bool pv_error_place(struct pv_session *s, const struct pv_msg_notice *notice, const struct pv_request *r,
                    const struct pv_run *run, char position[16]);
/* A missing function of ours that stands for a type, as the missing type; `words` outlives the notice. */
#define PV_RETOLD_SIZE 320u
void pv_error_retell_type(struct pv_msg_notice *notice, char words[PV_RETOLD_SIZE]);
/* Takes out what names physical schemas; in the arena. NULL: the text cannot be shown. */
const char *pv_result_scrub(struct pv_arena *arena, struct pv_slice text);

#endif
