/*
 * Where sessions get server connections and leave them. One pool a worker; groups of connections are kept apart by
 * room, and so by upstream and login role, by the policy that they were opened under, and by whether they are shared.
 * How many there may be of a room is counted over all workers, and an idle one goes to the worker that has need of it.
 */
#ifndef PV_POOL_H
#define PV_POOL_H

#include "proxy/net/counters.h"
#include "proxy/net/server.h"

struct pv_pool;
struct pv_pooled; /* a connection in a pool */
struct pv_pool_wait;
struct pv_pools; /* what the pools of a process share */

struct pv_pools *pv_pools_new(unsigned worker_count) PV_MUST_CHECK; /* NULL: no memory */
/* The threads have ended: nothing passes between the pools any more. */
void pv_pools_end(struct pv_pools *pools);
void pv_pools_free(struct pv_pools *pools); /* after the pools; NULL is fine */

struct pv_pool_events {
    /* From the loop: the wait is over, the connection is the waiter's. */
    void (*open)(void *context, struct pv_pooled *pooled);
    /* Not to be had, or not in time. Words for the client. */
    void (*failed)(void *context, const char *sqlstate, const char *words);
};

/* Borrows thread, counters and pools; the world is shared. NULL: no memory. */
struct pv_pool *pv_pool_new(struct pv_pools *pools, unsigned worker, struct pv_server_thread *thread,
                            struct pv_counters *counters, struct pv_world *world) PV_MUST_CHECK;
void pv_pool_free(struct pv_pool *pool); /* no session holds anything of it; NULL is fine */
/* Another world is in force: what was opened under another policy serves nobody else. */
void pv_pool_world(struct pv_pool *pool, struct pv_world *world);
/* Closes what is idle, and from now on all that is given back. */
void pv_pool_drain(struct pv_pool *pool);
/* Connections and waits that it still has to do with. */
size_t pv_pool_busy(const struct pv_pool *pool);

/*
 * A connection for a room of the world in force. PV_OK: *pooled is the caller's at once. PV_MORE: *wait, and one of the
 * events follows. PV_NOTFOUND: no such room. PV_NOMEM. `is_shared`: one that others had before, and will have; its
 * side (session/side.h) says what it holds.
 */
enum pv_status pv_pool_take(struct pv_pool *pool, const char *room, bool is_shared, const struct pv_pool_events *events,
                            void *context, struct pv_pooled **pooled, struct pv_pool_wait **wait) PV_MUST_CHECK;
/* Nobody waits any more. NULL is fine. */
void pv_pool_forget(struct pv_pool_wait *wait);
enum pv_give {
    PV_GIVE_CLEAN, /* every reply came, and its side says all that it holds */
    PV_GIVE_IDLE,  /* every reply came; something of its session may be left */
    PV_GIVE_CLOSE  /* of no more use */
};
/* Gives it back: to rest, after DISCARD ALL, or to be closed, politely while it stands. NULL is fine. */
void pv_pool_give(struct pv_pooled *pooled, enum pv_give how);

struct pv_server *pv_pooled_server(struct pv_pooled *pooled);

#endif
