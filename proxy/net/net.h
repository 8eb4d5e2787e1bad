/*
 * The door of net: workers that accept clients, run a session engine for each, and
 * reach the databases. One event loop a worker; a session lives on its worker for life.
 */
#ifndef PV_NET_H
#define PV_NET_H

#include "proxy/net/counters.h"
#include "proxy/net/world.h"

struct pv_journal;
struct pv_loop;
struct pv_net;
struct pv_store;

struct pv_net_options {
    struct pv_world *world;       /* shared: what is in force first, and whose config says where to listen */
    struct pv_journal *journal;   /* borrowed until the workers have ended */
    struct pv_store *store;       /* borrowed likewise */
    const char *state_path;       /* borrowed; where auditors read. NULL: nobody can */
    struct pv_loop *main;         /* where `ended` is called */
    const char *conformance_room; /* borrowed; NULL: off */
    struct pv_slice mock_secret;  /* borrowed; for SCRAM towards unknown users */
    void (*ended)(void *context); /* every worker has drained */
    void *context;
};

/* Binds every address, starts nothing yet. On failure `error` has the words. */
enum pv_status pv_net_open(const struct pv_net_options *options, struct pv_net **net, char *error,
                           size_t error_size) PV_MUST_CHECK;
size_t pv_net_listen_count(const struct pv_net *net);
const char *pv_net_listen_name(const struct pv_net *net, size_t i); /* 127.0.0.1:6432, or a socket's path */
unsigned pv_net_worker_count(const struct pv_net *net);
/* How many one will have. */
unsigned pv_net_workers_of(const struct pv_config *config);
/* Starts the threads: clients are served from here on. */
enum pv_status pv_net_start(struct pv_net *net) PV_MUST_CHECK;

/* Another world is in force, for every session within moments. Main thread. */
enum pv_status pv_net_policy(struct pv_net *net, struct pv_world *world) PV_MUST_CHECK;

/*
 * Stops accepting; idle sessions end at once, busy ones when their transaction does or after `timeout_ms`. `ended`
 * follows. PV_NOMEM: try again.
 */
enum pv_status pv_net_drain(struct pv_net *net, uint64_t timeout_ms) PV_MUST_CHECK;
/* Joins the threads, after `ended` (or when they never started). Frees nothing that the journal may still call. */
void pv_net_join(struct pv_net *net);
/* After the journal was closed. NULL is fine. */
void pv_net_free(struct pv_net *net);

/* A session as of a moment, copied. Texts may be NULL but for `state`; see pv_session_look. */
struct pv_net_session {
    uint64_t id;
    const char *room, *user, *party, *service, *client, *application, *state, *question, *query;
    int64_t started_us, query_us;
    bool is_query_cut; /* of `query` only the beginning is there */
};

/* The sessions that one answer holds, and the bytes of each one's query. */
#define PV_NET_SESSIONS_MAX 2000u
#define PV_NET_SESSION_QUERY_BYTES 500u

/*
 * Lists the sessions of these rooms, of every worker. Any thread. PV_OK: `done` follows, once the workers run, on
 * the thread of `loop`, which must be there until the net is freed: a list that is asked for while the workers end may
 * come as late as that. What `done` gets lasts until it returns; `is_cut`: there are more.
 */
enum pv_status pv_net_sessions(struct pv_net *net, const char *const *rooms, size_t room_count, struct pv_loop *loop,
                               void (*done)(void *context, const struct pv_net_session *sessions, size_t count,
                                            bool is_cut),
                               void *context) PV_MUST_CHECK;

/* Sums over the workers; statements in the arena. Any thread. `sum` was initialised by pv_counters_init. */
enum pv_status pv_net_counters(struct pv_net *net, struct pv_counters *sum, struct pv_arena *arena) PV_MUST_CHECK;

#endif
