/*
 * Invariants:
 * 1. A connection is in one state, and counted in it; `cap->count` counts all that are open or being opened.
 * 2. Whoever waits longest is served first; nobody is served past those who wait.
 * 3. A connection goes to sessions of its own group alone: of one room, one policy, shared or not.
 * 4. Callbacks of waits come from the loop.
 */
#include "proxy/net/pool_int.h"

#include "proxy/base/log.h"
#include "proxy/crypto/mac.h"
#include "proxy/session/side.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>

/* Logins of one group that one worker has under way; while the last one failed: one, to see. */
#define DIALS_MAX 16u
/* After a failed login the next waits: so long, doubled with each that fails, up to the limit, half of it by chance. */
#define RETRY_FIRST_US 100000
#define RETRY_DOUBLINGS_MAX 12u

static const struct pv_config *
config_of(const struct pv_pool *pool)
{
    return &pv_world_policy(pool->world)->config;
}

/* ---- Lists and counts ---- */

/* `by` is 1 or its opposite; a sum over the workers is right even where one of them is below zero. */
static void
count(struct pv_pool_group *group, enum pv_pooled_state state, size_t by)
{
    struct pv_counters *counters = group->pool->counters;

    group->count += by;
    if (state == PV_POOLED_IDLE)
        group->idle_count += by;
    if (state == PV_POOLED_DIALING)
        group->dialing_count += by;
    pv_count(state == PV_POOLED_USED      ? &counters->pool_used
             : state == PV_POOLED_DIALING ? &counters->pool_dialing
                                          : &counters->pool_idle,
             by);
}

void
pv_pooled_unlink(struct pv_pooled *pooled)
{
    struct pv_pool_group *group = pooled->group;

    if (pooled->previous != NULL)
        pooled->previous->next = pooled->next;
    else
        group->first = pooled->next;
    if (pooled->next != NULL)
        pooled->next->previous = pooled->previous;
    else
        group->last = pooled->previous;
    pooled->next = pooled->previous = NULL;
    count(group, pooled->state, (size_t) -1);
}

/* Idle ones in front, so that the first is one if there is any. */
void
pv_pooled_link(struct pv_pool_group *group, struct pv_pooled *pooled)
{
    pooled->group = group;
    if (pooled->state == PV_POOLED_IDLE) {
        pooled->next = group->first;
        pooled->previous = NULL;
        group->first = pooled;
        if (pooled->next != NULL)
            pooled->next->previous = pooled;
        else
            group->last = pooled;
    } else {
        pooled->previous = group->last;
        pooled->next = NULL;
        group->last = pooled;
        if (pooled->previous != NULL)
            pooled->previous->next = pooled;
        else
            group->first = pooled;
    }
    count(group, pooled->state, 1);
}

static void
set_state(struct pv_pooled *pooled, enum pv_pooled_state state)
{
    struct pv_pool_group *group = pooled->group;

    pv_pooled_unlink(pooled);
    pooled->state = state;
    pooled->since_us = pv_now_last_us();
    pv_pooled_link(group, pooled);
}

static void
unlink_wait(struct pv_pool_wait *wait)
{
    struct pv_pool_group *group = wait->group;

    if (wait->previous != NULL)
        wait->previous->next = wait->next;
    else
        group->waits = wait->next;
    if (wait->next != NULL)
        wait->next->previous = wait->previous;
    else
        group->waits_last = wait->previous;
    group->wait_count--;
    (void) atomic_fetch_sub_explicit(&group->pool->counters->pool_waiting, 1, memory_order_relaxed);
    pv_pool_cap_wait(group);
}

static void
link_wait(struct pv_pool_group *group, struct pv_pool_wait *wait)
{
    wait->group = group;
    wait->next = NULL;
    wait->previous = group->waits_last;
    if (wait->previous != NULL)
        wait->previous->next = wait;
    else
        group->waits = wait;
    group->waits_last = wait;
    group->wait_count++;
    PV_COUNT(group->pool->counters, pool_waiting, 1);
    pv_pool_cap_wait(group);
}

static struct pv_pool_group *
find_group(struct pv_pool *pool, const char *room, bool is_shared)
{
    struct pv_pool_group *at = pool->groups;

    while (at != NULL && (at->is_stale || at->is_shared != is_shared || strcmp(at->room, room) != 0))
        at = at->next;
    return at;
}

struct pv_pool_group *
pv_pool_group(struct pv_pool *pool, const char *room, bool is_shared)
{
    struct pv_pool_group *group = find_group(pool, room, is_shared);

    if (group != NULL)
        return group;
    group = pv_calloc(1, sizeof(*group));
    if (group == NULL)
        return NULL;
    group->pool = pool;
    group->room = pv_strdup(room);
    group->cap = pv_pool_cap(pool->pools, room);
    if (group->room == NULL || group->cap == NULL) {
        pv_free(group->room);
        pv_free(group);
        return NULL;
    }
    group->generation = pv_world_policy(pool->world)->generation;
    group->is_shared = is_shared;
    group->next = pool->groups;
    pool->groups = group;
    return group;
}

/* Stale ones with nothing left. */
static void
drop_empty_groups(struct pv_pool *pool)
{
    struct pv_pool_group **at = &pool->groups;

    while (*at != NULL) {
        struct pv_pool_group *group = *at;

        if (!group->is_stale || group->count > 0 || group->wait_count > 0) {
            at = &group->next;
            continue;
        }
        *at = group->next;
        pv_free(group->room);
        pv_free(group);
    }
}

/* ---- Ends ---- */

void
pv_pooled_close(struct pv_pooled *pooled, bool is_polite)
{
    struct pv_pool_group *group = pooled->group;
    struct pv_pool *pool = group->pool;

    if (pooled->state != PV_POOLED_DIALING)
        (void) atomic_fetch_sub_explicit(&pool->counters->servers, 1, memory_order_relaxed);
    pv_pooled_unlink(pooled);
    pv_pool_cap_wait(group);
    pv_server_close(pooled->server, is_polite);
    pv_buf_clear(&pooled->in);
    pv_free(pooled);
    pv_pool_cap_give(pool, group->cap);
    pv_pool_serve_soon(pool); /* there is room for another one */
}

static void
fail_wait(struct pv_pool_wait *wait, const char *sqlstate, const char *words)
{
    const struct pv_pool_events *events = wait->events;
    void *context = wait->context;

    unlink_wait(wait);
    pv_free(wait);
    events->failed(context, sqlstate, words);
}

/* Those who wait now; more may come while they hear of it. */
static void
fail_waits(struct pv_pool_group *group, size_t count, const char *sqlstate, const char *words)
{
    while (count-- > 0 && group->waits != NULL)
        fail_wait(group->waits, sqlstate, words);
}

/* ---- Dialing ---- */

static void
put_off(struct pv_pool_group *group)
{
    int64_t most_us = (int64_t) config_of(group->pool)->pool_retry_ms * 1000;
    int64_t wait_us = RETRY_FIRST_US;
    uint8_t chance = 0;

    for (unsigned i = 0; i < group->failure_count && i < RETRY_DOUBLINGS_MAX && wait_us < most_us; i++)
        wait_us *= 2;
    if (wait_us > most_us)
        wait_us = most_us;
    group->failure_count++;
    /* Without chance they still wait, all alike. */
    if (pv_random_bytes(&chance, sizeof(chance)) != PV_OK)
        chance = UINT8_MAX;
    group->dial_from_us = pv_now_us() + wait_us / 2 + wait_us / 2 * chance / UINT8_MAX;
}

static void
on_open(void *context, struct pv_server *server, const struct pv_server_facts *facts, struct pv_slice rest)
{
    struct pv_pooled *pooled = context;
    struct pv_pool_group *group = pooled->group;
    uint64_t lifetime_us = config_of(group->pool)->pool_lifetime_ms * 1000;

    (void) facts; /* its side has them */
    pv_link_set_owner(pv_server_link(server), &pv_pooled_idle_events, pooled);
    PV_COUNT(group->pool->counters, servers, 1);
    group->failure_count = 0;
    group->dial_from_us = 0;
    pooled->opened_us = pooled->checked_us = pooled->used_us = pv_now_us();
    pooled->expires_us = lifetime_us == 0 ? INT64_MAX : pooled->opened_us + (int64_t) lifetime_us;
    set_state(pooled, PV_POOLED_IDLE);
    /* Behind the login there may be a notice or a setting's value; all else is no server's. */
    if (rest.len == 0 || pv_pooled_bytes(pooled, rest))
        pv_pooled_offer(pooled);
}

/*
 * Who hears of a failed dial, which is still counted. Who shares waits on while somebody has a connection that will come
 * back. Sessions of their own are as many as dials, or wait for one; a database that is full may have room for the next.
 */
static size_t
failed_count(const struct pv_pool_group *group, const char *sqlstate)
{
    size_t others = group->dialing_count - 1;

    if (group->is_shared)
        return group->count == group->dialing_count ? group->wait_count : 0;
    return strcmp(sqlstate, "53300") == 0 || group->wait_count <= others ? 1 : group->wait_count - others;
}

static void
on_failed(void *context, const char *sqlstate, const char *words)
{
    struct pv_pooled *pooled = context;
    struct pv_pool_group *group = pooled->group;
    size_t count = failed_count(group, sqlstate);

    PV_COUNT(group->pool->counters, server_failures, 1);
    pooled->server = NULL;
    put_off(group);
    pv_pooled_close(pooled, false);
    fail_waits(group, count, sqlstate, words);
}

static const struct pv_server_events server_events = {.open = on_open, .failed = on_failed};

static uint32_t
size_of(const struct pv_pool_group *group)
{
    const struct pv_config *config = config_of(group->pool);

    return group->is_shared || config->has_pool_size ? config->pool_size : UINT32_MAX;
}

void
pv_pool_dial(struct pv_pool_group *group)
{
    struct pv_pool *pool = group->pool;
    size_t dials_max = group->failure_count > 0 ? 1 : DIALS_MAX;

    while (!group->is_stale && group->wait_count > group->dialing_count + group->idle_count &&
           group->dialing_count < dials_max && pv_now_us() >= group->dial_from_us) {
        const struct pv_room *room = pv_policy_room(pv_world_policy(pool->world), pv_slice_cstr(group->room));
        struct pv_pooled *pooled;

        if (!pv_pool_cap_take(group->cap, size_of(group))) {
            pv_pool_cap_ask(group);
            return;
        }
        pooled = room == NULL ? NULL : pv_calloc(1, sizeof(*pooled));
        if (pooled == NULL ||
            pv_server_connect(pool->thread, pool->world, room, &server_events, pooled, &pooled->server) != PV_OK) {
            pv_free(pooled);
            pv_pool_cap_give(pool, group->cap);
            put_off(group);
            if (group->count == 0)
                fail_waits(group, group->wait_count, "53200", "out of memory");
            return;
        }
        pooled->state = PV_POOLED_DIALING;
        pooled->since_us = pv_now_us();
        pv_pooled_link(group, pooled);
    }
}

/* ---- Handing out ---- */

static void
hand_out(struct pv_pool_group *group, int64_t now_us)
{
    while (group->waits != NULL && group->idle_count > 0) {
        struct pv_pooled *pooled = group->first;
        struct pv_pool_wait *wait = group->waits;
        const struct pv_pool_events *events = wait->events;
        void *context = wait->context;

        PV_COUNT(group->pool->counters, pool_wait_us,
                 (uint64_t) (now_us > wait->since_us ? now_us - wait->since_us : 0));
        unlink_wait(wait);
        pv_free(wait);
        set_state(pooled, PV_POOLED_USED);
        pv_pool_cap_wait(group);
        events->open(context, pooled);
    }
}

static void
serve(evutil_socket_t fd, short what, void *context)
{
    struct pv_pool *pool = context;
    int64_t now_us = pv_now_us();

    (void) fd;
    (void) what;
    for (struct pv_pool_group *group = pool->groups; group != NULL; group = group->next) {
        /* Others wait, and nobody here, or not as long. */
        while (group->idle_count > 0 && pv_pool_cap_send(group->first))
            ;
        hand_out(group, now_us);
        pv_pool_dial(group);
    }
}

void
pv_pool_serve_soon(struct pv_pool *pool)
{
    event_active(&pool->serve, 0, 0);
}

void
pv_pooled_offer(struct pv_pooled *pooled)
{
    struct pv_pool_group *group = pooled->group;

    if (group->is_stale || group->pool->is_draining || pv_now_last_us() >= pooled->expires_us ||
        !pv_server_is_fit(pooled->server)) {
        pv_pooled_close(pooled, true);
        return;
    }
    pv_link_pause(pv_server_link(pooled->server), false);
    pv_link_set_owner(pv_server_link(pooled->server), &pv_pooled_idle_events, pooled);
    set_state(pooled, PV_POOLED_IDLE);
    pv_pool_cap_wait(group);
    if (group->wait_count > 0 || atomic_load_explicit(&group->cap->waiting_workers, memory_order_relaxed) > 0)
        pv_pool_serve_soon(group->pool);
}

enum pv_status
pv_pool_take(struct pv_pool *pool, const char *room, bool is_shared, const struct pv_pool_events *events, void *context,
             struct pv_pooled **pooled, struct pv_pool_wait **wait)
{
    struct pv_pool_group *group;
    struct pv_pool_wait *waiting;

    if (pv_policy_room(pv_world_policy(pool->world), pv_slice_cstr(room)) == NULL)
        return PV_NOTFOUND;
    group = pv_pool_group(pool, room, is_shared);
    if (group == NULL)
        return PV_NOMEM;
    if (group->wait_count == 0 && group->idle_count > 0 &&
        atomic_load_explicit(&group->cap->waiting_workers, memory_order_relaxed) == 0) {
        *pooled = group->first;
        set_state(*pooled, PV_POOLED_USED);
        pv_pool_cap_wait(group);
        return PV_OK;
    }
    waiting = pv_calloc(1, sizeof(*waiting));
    if (waiting == NULL)
        return PV_NOMEM;
    waiting->events = events;
    waiting->context = context;
    waiting->since_us = pv_now_us();
    link_wait(group, waiting);
    PV_COUNT(pool->counters, pool_waits, 1);
    *wait = waiting;
    pv_pool_serve_soon(pool);
    return PV_MORE;
}

void
pv_pool_forget(struct pv_pool_wait *wait)
{
    if (wait == NULL)
        return;
    unlink_wait(wait);
    pv_free(wait);
}

/* Of sessions that have their own there may be any number; of what they leave no more is kept than others share. */
static bool
is_one_too_many(const struct pv_pool_group *group)
{
    return !group->is_shared && group->idle_count >= config_of(group->pool)->pool_size;
}

void
pv_pool_give(struct pv_pooled *pooled, enum pv_give how)
{
    if (pooled == NULL)
        return;
    pv_link_pause(pv_server_link(pooled->server), false);
    pooled->used_us = pooled->checked_us = pv_now_last_us();
    if (how == PV_GIVE_CLOSE || is_one_too_many(pooled->group) || pooled->group->is_stale ||
        pooled->group->pool->is_draining || pv_link_held(pv_server_link(pooled->server)) > 0)
        pv_pooled_close(pooled, true);
    else if (how == PV_GIVE_IDLE || pv_side_is_spoiled(pv_server_side(pooled->server)))
        pv_pooled_reset(pooled);
    else
        pv_pooled_offer(pooled);
}

struct pv_server *
pv_pooled_server(struct pv_pooled *pooled)
{
    return pooled->server;
}

/* ---- Life ---- */

static void
expire_waits(struct pv_pool_group *group, int64_t now_us)
{
    uint64_t most_us = config_of(group->pool)->pool_wait_ms * 1000;

    while (most_us > 0 && group->waits != NULL && now_us - group->waits->since_us >= (int64_t) most_us) {
        char words[160];

        (void) snprintf(words, sizeof(words),
                        "no connection to the database of clean room \"%s\" became free within pool.query_wait_timeout",
                        group->room);
        PV_COUNT(group->pool->counters, pool_wait_timeouts, 1);
        fail_wait(group->waits, "53300", words);
    }
}

static void
on_tick(void *context)
{
    struct pv_pool *pool = context;
    int64_t now_us = pv_now_us();
    uint64_t failures = pv_hosts_failures(pool->thread->hosts);
    bool is_doubting = failures != pool->failures_seen;

    pool->failures_seen = failures;
    for (struct pv_pool_group *group = pool->groups; group != NULL; group = group->next) {
        expire_waits(group, now_us);
        pv_pool_look_after(group, now_us, is_doubting);
        if (group->wait_count > 0)
            pv_pool_serve_soon(pool);
    }
    drop_empty_groups(pool);
}

struct pv_pool *
pv_pool_new(struct pv_pools *pools, unsigned worker, struct pv_server_thread *thread, struct pv_counters *counters,
            struct pv_world *world)
{
    struct pv_pool *pool = pv_calloc(1, sizeof(*pool));

    if (pool == NULL)
        return NULL;
    pool->pools = pools;
    pool->worker = worker;
    pool->thread = thread;
    pool->counters = counters;
    pool->world = pv_world_ref(world);
    pool->tick = pv_loop_every(thread->loop, PV_POOL_TICK_MS, on_tick, pool);
    if (pool->tick == NULL || event_assign(&pool->serve, pv_loop_base(thread->loop), -1, 0, serve, pool) != 0) {
        pv_task_free(pool->tick);
        pv_world_unref(pool->world);
        pv_free(pool);
        return NULL;
    }
    pv_pools_join(pools, pool);
    return pool;
}

void
pv_pool_free(struct pv_pool *pool)
{
    if (pool == NULL)
        return;
    pv_task_free(pool->tick);
    (void) event_del(&pool->serve);
    for (struct pv_pool_group *group = pool->groups; group != NULL; group = group->next) {
        group->is_stale = true;
        while (group->waits != NULL)
            pv_pool_forget(group->waits);
        while (group->first != NULL)
            pv_pooled_close(group->first, false);
    }
    (void) event_del(&pool->serve);
    drop_empty_groups(pool);
    pv_world_unref(pool->world);
    pv_free(pool);
}

static void
close_idle(struct pv_pool_group *group)
{
    for (struct pv_pooled *at = group->first, *next; at != NULL; at = next) {
        next = at->next;
        if (at->state != PV_POOLED_USED && at->state != PV_POOLED_DIALING)
            pv_pooled_close(at, true);
    }
}

/* To the group of today, in order; where the room is gone they hear of that. */
static void
move_waits(struct pv_pool *pool, struct pv_pool_group *from)
{
    bool is_there = pv_policy_room(pv_world_policy(pool->world), pv_slice_cstr(from->room)) != NULL;
    struct pv_pool_group *to =
        is_there && from->waits != NULL ? pv_pool_group(pool, from->room, from->is_shared) : NULL;

    while (from->waits != NULL) {
        struct pv_pool_wait *wait = from->waits;

        if (to == NULL) {
            fail_wait(wait, is_there ? "53200" : "3D000",
                      is_there ? "out of memory" : "the clean room is no longer there");
            continue;
        }
        unlink_wait(wait);
        link_wait(to, wait);
    }
    if (to != NULL)
        pv_pool_serve_soon(pool);
}

void
pv_pool_world(struct pv_pool *pool, struct pv_world *world)
{
    uint64_t generation = pv_world_policy(world)->generation;

    pv_world_unref(pool->world);
    pool->world = pv_world_ref(world);
    for (struct pv_pool_group *group = pool->groups; group != NULL; group = group->next)
        group->is_stale = group->is_stale || group->generation != generation;
    for (struct pv_pool_group *group = pool->groups; group != NULL; group = group->next) {
        if (!group->is_stale)
            continue;
        close_idle(group);
        move_waits(pool, group);
    }
}

void
pv_pool_drain(struct pv_pool *pool)
{
    pool->is_draining = true;
    for (struct pv_pool_group *group = pool->groups; group != NULL; group = group->next)
        close_idle(group);
}

size_t
pv_pool_busy(const struct pv_pool *pool)
{
    size_t count = 0;

    for (const struct pv_pool_group *group = pool->groups; group != NULL; group = group->next)
        count += group->count + group->wait_count;
    return count;
}
