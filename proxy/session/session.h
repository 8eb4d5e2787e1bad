/*
 * One client's conversation and its server's, as a pure engine: bytes in, bytes out.
 * No sockets, no clock, no threads of its own; the same calls give the same bytes
 * (randomness comes through the host, so that tests replay). PROTOCOL: PostgreSQL
 * documentation, chapter "Frontend/Backend Protocol", version 3.0 (3.2 offered).
 *
 * The host moves bytes, opens the server connection, writes records. The engine calls
 * the host only from within pv_session_* calls; the host never calls back into the
 * engine from there, it answers later with the matching event.
 */
#ifndef PV_SESSION_H
#define PV_SESSION_H

#include "policy/policy.h"
#include "proxy/base/base.h"

struct pv_session;
struct pv_side; /* side.h */
struct pv_standing; /* policy/standing.h */
struct pv_record; /* proxy/audit/record.h */
struct pv_ask;    /* proxy/audit/desk.h */

struct pv_session_host {
    /* Bytes to send, in order. Slices are valid until the pv_session_* call returns: send or copy by then. */
    void (*to_client)(void *context, struct pv_slice bytes);
    void (*to_server)(void *context, struct pv_slice bytes);
    /* After the 'S' was sent (within this call): the next client bytes are TLS. Answer: pv_session_client_tls. */
    void (*start_tls)(void *context);
    /* A connection to the room's upstream as the room's login role. Answer: server_open or server_lost. */
    void (*open_server)(void *context, const struct pv_room *room);
    /* A cancel of what the server runs now. Answer: pv_session_server_cancelled when that connection has closed. */
    void (*cancel_server)(void *context);
    /* This connection was a CancelRequest: find the session and call pv_session_cancel on it. Then close. */
    void (*cancel_request)(void *context, uint32_t pid, struct pv_slice key);
    /* Makes (pid, key) known for cancels before BackendKeyData leaves; key is 4 or 32 random bytes from the host. */
    void (*register_key)(void *context, uint32_t pid, struct pv_slice key);
    /* Appends to the query log. PV_OK: pv_session_recorded will follow with this ticket (at once in relaxed mode: *ticket 0). */
    enum pv_status (*record)(void *context, const struct pv_record *record, uint64_t *ticket);
    void (*random)(void *context, void *bytes, size_t len);
    /* Stop or go on reading that side (back pressure by the pipeline's limit). */
    void (*pause_client)(void *context, bool is_paused);
    /* Flush what was given, then close both sides. No more events but pv_session_free. */
    void (*close)(void *context);
    /*
     * Looks at the sessions of a room that are `user`'s, or whose login is `login` (NULL: nobody's). PV_OK: the answer is
     * pv_session_peers. signal_peer: cancels what that session runs, or ends it. NULL: there are no other sessions.
     */
    enum pv_status (*ask_peers)(void *context, const char *room, const char *user, const char *login);
    void (*signal_peer)(void *context, uint64_t session, bool is_end);
    /* An auditor's query of the log, for the desk; borrows. Answer: pv_session_audit_answer. NULL: there is no desk. */
    enum pv_status (*audit_ask)(void *context, struct pv_ask *ask);
    /*
     * Sessions that share server connections alone (pv_server_facts.side): the one that open_server gave is not needed
     * for now, all that was given for it is answered. The next open_server may bring another.
     */
    void (*release_server)(void *context);
    /* Likewise: from here on the session keeps its connection between transactions, or does so no more. NULL: nobody counts. */
    void (*pin_server)(void *context, bool is_pinned);
};

/* Who judges: pv_session_judge_policy in service; tests of the engine bring their own. Each as in policy/decide.h. */
struct pv_arena;
struct pv_caller;
struct pv_decision;
struct pv_session_judge {
    enum pv_status (*query)(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
                            struct pv_decision **decisions, size_t *count);
    enum pv_status (*parse)(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
                            const uint32_t *declared_oids, size_t declared_count, struct pv_decision *decision);
    enum pv_status (*setting)(struct pv_arena *arena, const struct pv_caller *caller, const char *name,
                              const char *value, struct pv_decision *decision);
};
extern const struct pv_session_judge pv_session_judge_policy; /* policy/cache.h */
struct pv_cache;

/*
 * Buffers that the sessions of one thread hand round, so that a statement needs none of its own: a few, of common size.
 * NULL: out of memory.
 */
struct pv_session_spares;
struct pv_session_spares *pv_session_spares_new(void) PV_MUST_CHECK;
void pv_session_spares_free(struct pv_session_spares *spares); /* NULL is fine */
void pv_session_spares_rest(struct pv_session_spares *spares); /* lets go of the snapshot: another is in force */

/* What sessions of one process share; outlives them. */
struct pv_session_env {
    const struct pv_session_host *host;
    const struct pv_session_judge *judge; /* NULL: pv_session_judge_policy */
    struct pv_cache *cache;             /* of judgements, on the thread of its sessions; NULL: none (policy/cache.h) */
    struct pv_session_spares *spares;   /* likewise; NULL: none */
    bool has_tls;                       /* a certificate is configured: answer SSLRequest with S */
    struct pv_slice tls_endpoint_hash;  /* tls-server-end-point of our certificate, for SCRAM-PLUS */
    struct pv_slice mock_secret;        /* for SCRAM towards unknown users */
    const char *conformance_room;       /* NULL: off */
    bool is_strict;                     /* records must be on disk first */
};

/* `policy` is the snapshot in force, `standing` made for it (NULL: none); the session takes references of its own. client: printable peer address. */
struct pv_session *pv_session_new(const struct pv_session_env *env, struct pv_policy *policy,
                                  struct pv_standing *standing, void *host_context, uint64_t session_id,
                                  const char *client, bool is_unix_socket, int64_t now_us) PV_MUST_CHECK;
void pv_session_free(struct pv_session *session); /* folded too */

/*
 * A session at rest needs a third of its memory. True: it is folded now, maybe at another place. Before any event it is
 * unfolded again (PV_NOMEM: it stays folded and can only end); until then it can be looked at.
 */
bool pv_session_fold(struct pv_session **session);
enum pv_status pv_session_unfold(struct pv_session **session) PV_MUST_CHECK;
int64_t pv_session_quiet_us(const struct pv_session *session); /* now_us of its last event */

/*
 * ---- events; now_us is of a clock that nobody sets, in microseconds that began as those since 1970-01-01 UTC: spans
 * and deadlines are taken from it. How far the time of day is ahead of it (0 until said) is told before an event.
 */
void pv_session_wall(struct pv_session *session, int64_t ahead_us);
void pv_session_client_bytes(struct pv_session *session, int64_t now_us, struct pv_slice bytes);
void pv_session_client_eof(struct pv_session *session, int64_t now_us);
/* TLS is up. endpoint hash of the certificate in use; cn: subject CN of a verified client certificate or NULL. */
void pv_session_client_tls(struct pv_session *session, int64_t now_us, struct pv_slice endpoint_hash, const char *cn);

struct pv_server_facts {
    uint32_t pid;
    const char *const *parameter_names; /* ParameterStatus of its start; none: `home` has them */
    const char *const *parameter_values;
    size_t parameter_count;
    struct pv_slice identity_key; /* for pv_identity_sql; wiped by the host when it likes */
    struct pv_side *side; /* side.h: the connection is shared; NULL: it is the session's own for life. Borrowed until released */
    struct pv_side *home; /* the connection's, shared or not, which hears what the server reports. Likewise; NULL: none */
};
void pv_session_server_open(struct pv_session *session, int64_t now_us, const struct pv_server_facts *facts);
/* sqlstate and words for the client when the connection could not be made or was lost. */
void pv_session_server_lost(struct pv_session *session, int64_t now_us, const char *sqlstate, const char *words);
void pv_session_server_bytes(struct pv_session *session, int64_t now_us, struct pv_slice bytes);
void pv_session_server_cancelled(struct pv_session *session, int64_t now_us);

/* Every record up to and with this ticket is on disk (PV_OK), or could not be written (PV_IO). */
void pv_session_recorded(struct pv_session *session, int64_t now_us, uint64_t ticket, enum pv_status status);

/* Likewise settled: the record with this ticket took no run, its `spent`-th take found none left, and says so on disk. */
void pv_session_spent(struct pv_session *session, int64_t now_us, uint64_t ticket, size_t spent);

/* The ask that audit_ask was given is answered. */
void pv_session_audit_answer(struct pv_session *session, int64_t now_us, struct pv_ask *ask);
/* What the host was given has gone out or was copied: the session lets go of it, so that an idle one holds no buffer. */
void pv_session_rest(struct pv_session *session);
/* What ask_peers asked for; borrows (policy/decide.h). */
struct pv_peer;
void pv_session_peers(struct pv_session *session, int64_t now_us, const struct pv_peer *peers, size_t count);
/* Rows of an auditor's answer wait until the client has taken what was sent; then pv_session_more. */
bool pv_session_has_more(const struct pv_session *session);
void pv_session_more(struct pv_session *session, int64_t now_us);

/* A cancel from the network for this session: forwarded only if a statement is in flight. */
void pv_session_cancel(struct pv_session *session, int64_t now_us);
/*
 * A new snapshot or a new standing of the same is in force: statements are judged anew before their next Execute; a lost
 * membership ends the session; what runs over withdrawn consent is cancelled.
 */
void pv_session_policy(struct pv_session *session, int64_t now_us, struct pv_policy *policy,
                       struct pv_standing *standing);
/* Drain: 57P01 at once when idle, after the transaction when busy. */
void pv_session_drain(struct pv_session *session, int64_t now_us);
/* Ends the session now with a FATAL. */
void pv_session_kill(struct pv_session *session, int64_t now_us, const char *sqlstate, const char *words);
/* When pv_session_tick wants to be called at the latest (login timeout, question timeout, idle timeout); INT64_MAX: never. */
int64_t pv_session_deadline(const struct pv_session *session);
void pv_session_tick(struct pv_session *session, int64_t now_us);

/* For SHOW-like views and drain: is a transaction or a statement in flight; who is it. */
bool pv_session_is_busy(const struct pv_session *session);
/* Nothing of the session is under way at its server, at its end too: all was answered and no transaction is open. */
bool pv_session_is_at_rest(const struct pv_session *session);
const char *pv_session_user(const struct pv_session *session); /* "" before login */
const char *pv_session_room(const struct pv_session *session);

/* One look at a session, for a list of them; borrows from the session until its next event. */
struct pv_session_glance {
    uint64_t id;
    const char *room, *user, *party, *service, *client, *application; /* NULL: none */
    uint32_t pid; /* as the client knows it; 0: none yet */
    int64_t started_us;
    const char *state;     /* starting, idle, running, in transaction, in failed transaction, closing */
    const char *question;  /* asked by what runs now; NULL: none of its own */
    struct pv_slice query; /* what runs now, as sent; empty: nothing does */
    int64_t query_us;      /* since when */
};
void pv_session_look(const struct pv_session *session, struct pv_session_glance *glance);

#endif
