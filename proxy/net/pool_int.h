/*
 * A pool from inside. pool.c: waits, dials, handing out and taking back; pool_idle.c: connections that nobody holds;
 * pool_cap.c: what all workers share.
 */
#ifndef PV_POOL_INT_H
#define PV_POOL_INT_H

#include "proxy/base/bytes.h"
#include "proxy/net/loop.h"
#include "proxy/net/pool.h"

#include <event2/event_struct.h>
#include <stdatomic.h>

/* How often waits, ages and checks are looked at. */
#define PV_POOL_TICK_MS 100u

enum pv_pooled_state {
    PV_POOLED_DIALING,
    PV_POOLED_IDLE,
    PV_POOLED_CHECKING,  /* was asked whether it lives */
    PV_POOLED_RESETTING, /* DISCARD ALL is on its way */
    PV_POOLED_USED
};

struct pv_pooled {
    struct pv_pooled *next, *previous; /* in its group's list of that state */
    struct pv_pool_group *group;
    struct pv_server *server; /* NULL: gone */
    enum pv_pooled_state state;
    int64_t opened_us, since_us, checked_us, used_us; /* of state, of the last answer, of the last session */
    int64_t expires_us;                               /* of age */
    struct pv_buf in;                                 /* while nobody holds it */
};

struct pv_pool_wait {
    struct pv_pool_wait *next, *previous;
    struct pv_pool_group *group;
    const struct pv_pool_events *events;
    void *context;
    int64_t since_us;
};

/* Connections of a room, over all workers. Lives as long as the process. */
struct pv_pool_cap {
    struct pv_pool_cap *next;
    char *room;
    _Atomic uint32_t count;
    _Atomic uint32_t waiting_workers;
    struct pv_pool_share {
        _Atomic uint32_t idle, waiting;
        _Atomic int64_t since_us; /* of who waits longest */
    } shares[];                   /* by worker */
};

struct pv_pool_group {
    struct pv_pool_group *next;
    struct pv_pool *pool;
    char *room;
    uint64_t generation; /* of the policy that its connections were opened under */
    bool is_shared, is_stale;
    struct pv_pool_cap *cap;
    struct pv_pooled *first, *last; /* all; idle ones at the front, the newest first */
    size_t count, idle_count, dialing_count;
    struct pv_pool_wait *waits, *waits_last;
    size_t wait_count;
    unsigned failure_count;
    int64_t dial_from_us; /* no sooner */
};

struct pv_pool {
    struct pv_pools *pools;
    unsigned worker;
    struct pv_server_thread *thread;
    struct pv_counters *counters;
    struct pv_world *world;
    struct pv_pool_group *groups;
    struct pv_task *tick;
    struct event serve; /* made active where idle connections and waits stand side by side */
    bool is_draining;
    uint64_t failures_seen; /* of servers' addresses */
};

/* ---- pool.c ---- */
void pv_pooled_close(struct pv_pooled *pooled, bool is_polite); /* and forgets it */
/* A connection that nobody holds: to whoever waits, or to rest. */
void pv_pooled_offer(struct pv_pooled *pooled);
struct pv_pool_group *pv_pool_group(struct pv_pool *pool, const char *room, bool is_shared); /* NULL: no memory */
void pv_pool_dial(struct pv_pool_group *group);
void pv_pool_serve_soon(struct pv_pool *pool);
void pv_pooled_link(struct pv_pool_group *group, struct pv_pooled *pooled);
void pv_pooled_unlink(struct pv_pooled *pooled);

/* ---- pool_idle.c ---- */
extern const struct pv_link_events pv_pooled_idle_events;
/* Bytes from one that nobody holds; false: it was closed for them. */
bool pv_pooled_bytes(struct pv_pooled *pooled, struct pv_slice bytes);
void pv_pooled_reset(struct pv_pooled *pooled);
/* is_doubting: some address was found dead; what rests on it is asked whether it lives. */
void pv_pool_look_after(struct pv_pool_group *group, int64_t now_us, bool is_doubting);

/* ---- pool_cap.c ---- */
struct pv_pool_cap *pv_pool_cap(struct pv_pools *pools, const char *room); /* NULL: no memory */
void pv_pools_join(struct pv_pools *pools, struct pv_pool *pool);
bool pv_pool_cap_take(struct pv_pool_cap *cap, uint32_t count_max); /* false: there are as many as may be */
void pv_pool_cap_give(struct pv_pool *pool, struct pv_pool_cap *cap);
void pv_pool_cap_wait(struct pv_pool_group *group); /* its count of idle ones or waits has changed */
/* There is no room for another one: some other worker may have one idle. */
void pv_pool_cap_ask(struct pv_pool_group *group);
/* An idle one for which another worker waits, and nobody here, or not as long: goes there. */
bool pv_pool_cap_send(struct pv_pooled *pooled);

#endif
