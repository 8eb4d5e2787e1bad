/*
 * What the pools of all workers share: how many connections a room has, and who waits for one while another worker has
 * one at rest. That one then moves, with its socket, to the thread of the worker that has need of it.
 *  1. Counts are atomic; the lock guards the lists of caps and pools alone and is taken when a room is first met.
 *  2. A connection on its way belongs to nobody's group; the message that carries it owns it.
 */
#include "proxy/base/log.h"
#include "proxy/net/pool_int.h"
#include "proxy/session/side.h"

#include <pthread.h>
#include <string.h>

/* Who waits elsewhere goes before those here when they have waited so much longer: moving a connection has its price.
 */
#define FAIR_US 10000

struct pv_pools {
    pthread_mutex_t lock;
    unsigned worker_count;
    _Atomic bool is_ended;
    struct pv_pool_cap *caps;
    struct pv_pool *pools[]; /* by worker; set before the threads start */
};

/* Of one worker to another: a connection, or the wish for one (pooled NULL). */
struct parcel {
    struct pv_message message;
    struct pv_pools *pools;
    unsigned from, to;
    struct pv_pool_cap *cap;
    uint64_t generation;
    bool is_shared;
    struct pv_pooled *pooled;
    struct pv_server_thread *thread; /* outlives its pool */
};

struct pv_pools *
pv_pools_new(unsigned worker_count)
{
    struct pv_pools *pools = pv_calloc(1, sizeof(*pools) + worker_count * sizeof(pools->pools[0]));

    if (pools == NULL)
        return NULL;
    (void) pthread_mutex_init(&pools->lock, NULL);
    pools->worker_count = worker_count;
    return pools;
}

void
pv_pools_end(struct pv_pools *pools)
{
    if (pools != NULL)
        atomic_store(&pools->is_ended, true);
}

void
pv_pools_free(struct pv_pools *pools)
{
    if (pools == NULL)
        return;
    while (pools->caps != NULL) {
        struct pv_pool_cap *cap = pools->caps;

        pools->caps = cap->next;
        pv_free(cap->room);
        pv_free(cap);
    }
    (void) pthread_mutex_destroy(&pools->lock);
    pv_free(pools);
}

void
pv_pools_join(struct pv_pools *pools, struct pv_pool *pool)
{
    pools->pools[pool->worker] = pool;
}

struct pv_pool_cap *
pv_pool_cap(struct pv_pools *pools, const char *room)
{
    struct pv_pool_cap *cap;

    (void) pthread_mutex_lock(&pools->lock);
    for (cap = pools->caps; cap != NULL && strcmp(cap->room, room) != 0; cap = cap->next)
        ;
    if (cap == NULL && (cap = pv_calloc(1, sizeof(*cap) + pools->worker_count * sizeof(cap->shares[0]))) != NULL) {
        cap->room = pv_strdup(room);
        if (cap->room == NULL) {
            pv_free(cap);
            cap = NULL;
        } else {
            cap->next = pools->caps;
            pools->caps = cap;
        }
    }
    (void) pthread_mutex_unlock(&pools->lock);
    return cap;
}

bool
pv_pool_cap_take(struct pv_pool_cap *cap, uint32_t count_max)
{
    uint32_t count = atomic_load(&cap->count);

    do
        if (count >= count_max)
            return false;
    while (!atomic_compare_exchange_weak(&cap->count, &count, count + 1));
    return true;
}

/* ---- Parcels ---- */

static void deliver(struct pv_message *message);

static bool
post(struct pv_pools *pools, unsigned from, unsigned to, const struct pv_pool_group *group, struct pv_pooled *pooled)
{
    struct parcel *parcel = atomic_load(&pools->is_ended) ? NULL : pv_calloc(1, sizeof(*parcel));

    if (parcel == NULL)
        return false;
    parcel->message.deliver = deliver;
    parcel->pools = pools;
    parcel->from = from;
    parcel->to = to;
    parcel->cap = group->cap;
    parcel->generation = group->generation;
    parcel->is_shared = group->is_shared;
    parcel->pooled = pooled;
    parcel->thread = pools->pools[to]->thread;
    pv_loop_post(pools->pools[to]->thread->loop, &parcel->message);
    return true;
}

/* The wish: of what rests here, one goes there. */
static void
grant(struct parcel *parcel)
{
    struct pv_pool *pool = parcel->pools->pools[parcel->to];

    for (struct pv_pool_group *group = pool->groups; group != NULL; group = group->next)
        if (group->cap == parcel->cap && !group->is_stale && (group->idle_count > 0 || group->wait_count > 0))
            pv_pool_serve_soon(pool);
}

static void
arrive(struct parcel *parcel)
{
    struct pv_pool *pool = parcel->pools->pools[parcel->to];
    struct pv_pooled *pooled = parcel->pooled;
    enum pv_status status = pv_server_join(pooled->server, pool->thread);
    struct pv_pool_group *group = pv_pool_group(pool, parcel->cap->room, parcel->is_shared);

    if (status != PV_OK || group == NULL || group->generation != parcel->generation) {
        (void) atomic_fetch_sub_explicit(&pool->counters->servers, 1, memory_order_relaxed);
        pv_server_close(pooled->server, status == PV_OK);
        pv_buf_clear(&pooled->in);
        pv_free(pooled);
        pv_pool_cap_give(pool, parcel->cap);
        return;
    }
    pv_pooled_link(group, pooled);
    pv_pooled_offer(pooled);
}

static void
deliver(struct pv_message *message)
{
    struct parcel *parcel = (struct parcel *) message;

    if (atomic_load(&parcel->pools->is_ended)) {
        if (parcel->pooled != NULL) {
            if (pv_server_join(parcel->pooled->server, parcel->thread) != PV_OK)
                pv_log(PV_LOG_WARNING, "out of memory at the end");
            pv_server_close(parcel->pooled->server, false);
            pv_buf_clear(&parcel->pooled->in);
            pv_free(parcel->pooled);
        }
    } else if (parcel->pooled == NULL) {
        grant(parcel);
    } else {
        arrive(parcel);
    }
    pv_free(parcel);
}

/* ---- Who waits ---- */

void
pv_pool_cap_wait(struct pv_pool_group *group)
{
    struct pv_pool_cap *cap = group->cap;
    struct pv_pool_share *share = &cap->shares[group->pool->worker];
    uint32_t waiting = group->is_stale ? 0 : (uint32_t) group->wait_count, before;

    if (group->pool->pools->worker_count == 1)
        return;
    atomic_store_explicit(&share->idle, group->is_stale ? 0 : (uint32_t) group->idle_count, memory_order_relaxed);
    atomic_store_explicit(&share->since_us, waiting > 0 ? group->waits->since_us : 0, memory_order_relaxed);
    before = atomic_exchange(&share->waiting, waiting);
    if (before == 0 && waiting > 0)
        (void) atomic_fetch_add(&cap->waiting_workers, 1);
    else if (before > 0 && waiting == 0)
        (void) atomic_fetch_sub(&cap->waiting_workers, 1);
}

void
pv_pool_cap_ask(struct pv_pool_group *group)
{
    struct pv_pools *pools = group->pool->pools;

    for (unsigned i = 0; i < pools->worker_count; i++)
        if (i != group->pool->worker && atomic_load(&group->cap->shares[i].idle) > 0) {
            (void) post(pools, group->pool->worker, i, group, NULL);
            return;
        }
}

void
pv_pool_cap_give(struct pv_pool *pool, struct pv_pool_cap *cap)
{
    struct pv_pools *pools = pool->pools;

    (void) atomic_fetch_sub(&cap->count, 1);
    if (atomic_load(&cap->waiting_workers) == 0)
        return;
    /* There is room for one more: who waits may open it. */
    for (unsigned i = 1; i < pools->worker_count; i++) {
        unsigned worker = (pool->worker + i) % pools->worker_count;
        struct pv_pool_group wish = {.cap = cap};

        if (atomic_load(&cap->shares[worker].waiting) > 0) {
            (void) post(pools, pool->worker, worker, &wish, NULL);
            return;
        }
    }
}

bool
pv_pool_cap_send(struct pv_pooled *pooled)
{
    struct pv_pool_group *group = pooled->group;
    struct pv_pool *pool = group->pool;
    struct pv_pools *pools = pool->pools;
    struct pv_link *link = pv_server_link(pooled->server);

    if (atomic_load(&group->cap->waiting_workers) == 0 || group->is_stale || !pv_link_may_leave(link))
        return false;
    for (unsigned i = 1; i < pools->worker_count; i++) {
        unsigned worker = (pool->worker + i) % pools->worker_count;

        if (atomic_load(&group->cap->shares[worker].waiting) == 0 ||
            (group->waits != NULL &&
             group->waits->since_us < atomic_load(&group->cap->shares[worker].since_us) + FAIR_US))
            continue;
        pv_pooled_unlink(pooled);
        pv_pool_cap_wait(group);
        pv_server_leave(pooled->server);
        if (post(pools, pool->worker, worker, group, pooled))
            return true;
        /* No memory for the message: it stays. */
        if (pv_server_join(pooled->server, pool->thread) != PV_OK) {
            pv_pooled_link(group, pooled);
            pv_pooled_close(pooled, false);
            return false;
        }
        pv_pooled_link(group, pooled);
        pv_pool_cap_wait(group);
        return false;
    }
    return false;
}
