/*
 * The session engine from inside. Reading order: state_int.h (what it is made of), session.c and session_event.c (phases and events),
 * startup.c (the way in), session_fold.c (rest), gate.c (the one road), statement.c (prepared statements and
 * portals by message), names.c (what they are called), pipeline.c (requests in
 * flight), repeat.c and repeat_segment.c (statements that come again), lease.c and side.c (servers that are shared), govern.c (consent and budgets under way), peers.c (the same
 * user's other sessions), result.c (replies),
 * track.c (transaction and settings), trail.c (the query log), error.c (what the client is told). Everything belongs to one session, thus to one thread.
 */
#ifndef PV_SESSION_INT_H
#define PV_SESSION_INT_H

#include "proxy/session/state_int.h"

/*
 * A statement name that no client may use: Bind to it fails in the server with 26000, which is how a message other than
 * Query and Parse is denied. The control character keeps it out of every sane client's way.
 */
#define PV_POISON_NAME "pgveil\001denied"
#define PV_INTERNAL_NAME "pgveil\001identity"
/* Where auditors log in; no room may have this name. */
#define PV_AUDIT_DATABASE "pgveil"
#define PV_RESERVED_PREFIX "pgveil\001"

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
/* An empty arena that does for most requests (NULL: no memory), and back; `spares` NULL: none are kept. */
struct pv_arena *pv_spare_arena_take(struct pv_session_spares *spares) PV_MUST_CHECK;
void pv_spare_arena_give(struct pv_session_spares *spares, struct pv_arena *arena);
/* A reference of a snapshot, counted by the session's thread alone. NULL: out of memory. */
struct pv_hold;
struct pv_hold *pv_hold_ref(const struct pv_session *s, struct pv_policy *policy) PV_MUST_CHECK;
void pv_hold_unref(struct pv_hold *hold); /* NULL is fine */
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
/* A Sync or Query has ended while s->discard is not NONE. */
void pv_gate_discard_ready(struct pv_session *s, const struct pv_request *r);
void pv_gate_refresh_identity(struct pv_session *s);
/* identity_sql is that of now; false: the session has ended. */
bool pv_gate_make_identity(struct pv_session *s);
/* SQL that brings back what a reset takes: identity and startup settings, or one of those. NULL: at login. */
void pv_gate_setup_sql(struct pv_session *s, const struct pv_decision *reset, struct pv_buf *out);
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
/* `parameters` for the log; data NULL: they are not logged. */
struct pv_named *pv_portal_new(const char *name, const struct pv_named *statement, struct pv_slice parameters)
    PV_MUST_CHECK;
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
/* Sent, and a reply is due; or NULL. The first passes over those that have none. */
struct pv_request *pv_request_head_past(struct pv_session *s);

static inline struct pv_request *
pv_request_head(struct pv_session *s)
{
    struct pv_request *r = s->head;

    if (r == NULL || !r->is_sent)
        return NULL;
    return r->kind == PV_REQUEST_FLUSH || r->is_local ? pv_request_head_past(s) : r;
}

/*
 * The one that the server is at: its first reply may wait for that of another behind it, since parsing, binding,
 * describing and closing take no time and their replies are not sent by themselves. NULL: none.
 */
struct pv_request *pv_request_running(const struct pv_session *s);
/* Does it take time of its own: has it a timeout, or does it read data? */
bool pv_run_is_watched(const struct pv_run *run);
/* Gives back what it holds; a portal that it did not come to run has not run. */
void pv_run_release(struct pv_run *run);
/*
 * SQL between two statements of a Query whose answer is as long as the server's buffer, so that the end of the one before it
 * is heard before the one behind it ends.
 */
#define PV_MARKER_SQL "SELECT pg_catalog.repeat(' ', 8192)"
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

/* ---- repeat.c: statements that come again ---- */
/* The request is about to be sent: what is in r->bytes may become the use of a statement that the server has. */
void pv_repeat_send(struct pv_session *s, struct pv_request *r);
bool pv_repeat_holds(const struct pv_session *s); /* must what is not sent wait for what was sent last? */
/* CloseComplete, ParseComplete, BindComplete or RowDescription of such a Query; false: it is not due. */
bool pv_repeat_reply(struct pv_session *s, struct pv_request *r, enum pv_server_tag tag);
/* True: the error is nobody's, the statement will be sent as text. */
bool pv_repeat_swallows(struct pv_session *s, struct pv_request *r, struct pv_msg_notice *notice);
/* The server is ready after that: sends it. False: it may not be any more, which the client has been told. */
bool pv_repeat_again(struct pv_session *s, struct pv_request *r);
void pv_repeat_noted(struct pv_request *r); /* a notice came */
void pv_repeat_ran(struct pv_session *s, struct pv_request *r);

/* ---- repeat_segment.c: the same of the unnamed statement ---- */
/* A request of the segment at s->repeat_parse is sent: its bytes, which it keeps until they are not needed again. */
void pv_repeat_segment_put(struct pv_session *s, struct pv_request *r);
/* A reply to its Parse: true when it was one of the use's; *next is whose it is else, NULL: nobody's. */
bool pv_repeat_segment_reply(struct pv_session *s, struct pv_request *parse, enum pv_server_tag tag,
                             struct pv_request **next);
/* Likewise an error: NULL: nobody's, the segment will be sent as it came. */
struct pv_request *pv_repeat_segment_error(struct pv_session *s, struct pv_request *parse,
                                           const struct pv_msg_notice *notice);
/* The server is ready after that. */
void pv_repeat_segment_again(struct pv_session *s, struct pv_request *parse);

/* Of a Query: no row is due yet. */
static inline bool
pv_repeat_is_early(const struct pv_request *r)
{
    return r->repeat_stage != PV_REPEAT_NONE && r->repeat_stage != PV_REPEAT_RUNNING;
}

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
/*
 * The transaction's end runs the queries of cursors that were declared in it WITH HOLD. Would errors of such a query
 * tell values?
 */
bool pv_track_holds_redacted(const struct pv_session *s);
/* How long they may take together; 0: no limit. */
uint64_t pv_track_holds_ms(const struct pv_session *s);
/* Splits a search_path text as PostgreSQL's SplitIdentifierString does. */
enum pv_status pv_track_path_split(struct pv_arena *arena, const char *text, struct pv_names *path) PV_MUST_CHECK;

/* ---- trail.c ---- */
/* The columns that every statement's record shares, with an id of its own. */
void pv_trail_fill(struct pv_session *s, struct pv_statement_begin *begin, bool is_extended);
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
/* The words of the server's errors, and its notices, may tell values of an analytical question. */
bool pv_error_is_redacted(const struct pv_session *s, const struct pv_request *r, const struct pv_run *run);
/* error_place.c: an error's position in what was forwarded as one in what the client sent; false: it has none there. */
bool pv_error_place(struct pv_session *s, const struct pv_msg_notice *notice, const struct pv_request *r,
                    const struct pv_run *run, char position[16]);
/* A missing function of ours that stands for a type, as the missing type; `words` outlives the notice. */
#define PV_RETOLD_SIZE 320u
void pv_error_retell_type(struct pv_msg_notice *notice, char words[PV_RETOLD_SIZE]);
/* Takes out what names physical schemas; in the arena. NULL: the text cannot be shown. */
const char *pv_result_scrub(struct pv_arena *arena, struct pv_slice text);

#endif
