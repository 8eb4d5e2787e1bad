/*
 * Net from inside: workers and the clients on them. net.c is all workers together, worker.c one thread with its
 * listeners and messages, roster.c its clients; client.c and client_host.c are the host of one session engine.
 */
#ifndef PV_NET_INT_H
#define PV_NET_INT_H

#include "proxy/audit/desk.h"
#include "proxy/audit/journal.h"
#include "proxy/net/cancel.h"
#include "proxy/net/due.h"
#include "proxy/net/link.h"
#include "proxy/net/listen.h"
#include "proxy/net/loop.h"
#include "proxy/net/net.h"
#include "proxy/net/pool.h"
#include "proxy/net/server.h"
#include "proxy/session/session.h"

#include <pthread.h>

struct pv_client;

struct pv_worker {
    struct pv_net *net;
    unsigned index;
    pthread_t thread;
    bool is_started;
    struct pv_loop *loop;
    struct pv_link_thread *links;
    struct pv_server_thread servers;
    struct pv_pool *pool;
    struct pv_journal_port *port;
    size_t under_way_count;         /* clients with a statement that has begun and not ended */
    struct pv_message port_message; /* queued at most once: `is_port_posted` */
    _Atomic bool is_port_posted;
    struct pv_world *world; /* in force */
    struct pv_cache *cache; /* of judgements */
    struct pv_session_spares *spares;
    int64_t now_us; /* when the last of its clients was entered */
    struct pv_session_env env[2]; /* without and with TLS towards clients */
    struct pv_listener **listeners;
    size_t listener_count;
    unsigned unix_turn;       /* worker 0: who gets the next connection of a Unix socket */
    struct pv_client **table; /* by session id */
    size_t table_size, client_count;
    struct pv_client *clients; /* all of them */
    struct pv_client **awake;  /* those whose sessions are whole */
    size_t awake_count, awake_size;
    struct pv_task *fold_task;
    struct pv_dues *dues; /* of clients */
    bool is_draining;
    int64_t complained_us; /* of descriptors; 0: never yet */
    struct pv_task *drain_end, *drain_watch;
    struct pv_counters counters;
};

struct pv_net {
    struct pv_net_options options;
    struct pv_worker *workers;
    unsigned worker_count;
    struct pv_bound *bounds;
    size_t bound_count;
    struct pv_cancel_map *cancels;
    struct pv_desk *desk;
    struct pv_lookup *lookup;
    struct pv_hosts *hosts;
    struct pv_pools *pools;
    struct pv_session_env env[2]; /* what the workers' are made from */
    _Atomic uint32_t client_count;
    int descriptors_max; /* clients whose sockets are beyond are refused: what is left is for ourselves */
    int descriptors_end; /* and from here on before anything is read of them: they would take what is left */
    _Atomic uint64_t session_next;
    _Atomic unsigned running; /* workers that have not ended */
};

/* ---- client.c, client_host.c ---- */

extern const struct pv_session_host pv_client_host;

/* Takes the socket: a session, or, when there is no memory for one, a closed connection. */
void pv_client_accept(struct pv_worker *worker, int fd, const struct sockaddr_storage *peer);
void pv_client_recorded(struct pv_client *client, const struct pv_journal_done *done);
void pv_client_answer(struct pv_client *client, struct pv_ask *ask);
void pv_client_cancel(struct pv_client *client);
void pv_client_policy(struct pv_client *client);
void pv_client_drain(struct pv_client *client);
void pv_client_kill(struct pv_client *client, const char *sqlstate, const char *words);
struct pv_client *pv_client_next(struct pv_client *client);

void pv_client_peers(struct pv_client *client, const struct pv_peer *peers, size_t count);
void pv_client_look(const struct pv_client *client, struct pv_session_glance *glance);
void pv_client_due(struct pv_due *due);
/* Folds the session if it is at rest and was so since then. */
void pv_client_rest(struct pv_client *client, int64_t quiet_since_us);

/* ---- roster.c ---- */

enum pv_status pv_roster_open(struct pv_worker *worker) PV_MUST_CHECK;
void pv_roster_close(struct pv_worker *worker);
struct pv_client *pv_worker_find(struct pv_worker *worker, uint64_t session);
/* The table and list of clients; the client's own links are client.c's. */
enum pv_status pv_worker_add(struct pv_worker *worker, struct pv_client *client) PV_MUST_CHECK;
void pv_worker_remove(struct pv_worker *worker, struct pv_client *client);
/* Its session is whole, is folded. */
void pv_worker_wake(struct pv_worker *worker, struct pv_client *client);
void pv_worker_sleep(struct pv_worker *worker, struct pv_client *client);

/* ---- worker.c ---- */

enum pv_status pv_worker_open(struct pv_net *net, unsigned index) PV_MUST_CHECK;
enum pv_status pv_worker_listen(struct pv_worker *worker, int fd, bool is_tcp) PV_MUST_CHECK; /* takes the socket */
void *pv_worker_run(void *worker); /* the thread */
void pv_worker_close(struct pv_worker *worker);
/* A cancel for a session of whichever worker. */
void pv_worker_cancel(struct pv_net *net, unsigned worker, uint64_t session);

/* Cancels what a session runs, or ends it, on whichever worker it lives. */
void pv_worker_signal(struct pv_net *net, uint64_t session, bool is_end);
/*
 * Looks at the sessions of a room that are `user`'s or have that login (NULL: nobody's), for the session `asking` on this
 * worker, which gets them by pv_client_peers. PV_NOMEM.
 */
enum pv_status pv_worker_peers(struct pv_worker *worker, uint64_t asking, const char *room, const char *user,
                               const char *login) PV_MUST_CHECK;

/* Gives an auditor's ask to the desk; its answer comes back to the session on this worker. */
enum pv_status pv_worker_ask(struct pv_worker *worker, struct pv_ask *ask) PV_MUST_CHECK;

/* How roster.c threads clients into its table and lists. */
struct pv_client_hooks {
    uint64_t id;
    struct pv_client *bucket_next;
    struct pv_client *next, *previous;
    uint32_t awake_at; /* its place among those that are awake; UINT32_MAX: none */
};
struct pv_client_hooks *pv_client_hooks(struct pv_client *client);

#endif
