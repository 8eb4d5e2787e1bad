/*
 * One thread with its listeners, and what crosses threads. Invariants:
 * 1. A worker's clients, links and world are touched on its own thread alone; others post messages.
 * 2. A message names a session by its number: a session that has ended meanwhile is simply not found.
 * 3. A worker ends when it is draining and nothing of it is left: no client, no link, no cancel under way.
 */
#include "proxy/base/log.h"
#include "policy/cache.h"
#include "proxy/net/net_int.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Completions taken from the journal in one go. */
#define DONE_AT_ONCE 256u
/* How often a draining worker looks whether it is done. */
#define DRAIN_WATCH_MS 20u

/* ---- The journal's completions ---- */

static void
take_completions(struct pv_worker *worker)
{
    struct pv_journal_done done[DONE_AT_ONCE];
    size_t count;

    do {
        count = pv_journal_port_take(worker->port, done, DONE_AT_ONCE);
        for (size_t i = 0; i < count; i++) {
            struct pv_client *client = pv_worker_find(worker, (uint64_t) (uintptr_t) done[i].cookie);

            if (client != NULL)
                pv_client_recorded(client, &done[i]);
        }
    } while (count == DONE_AT_ONCE);
}

static void
on_journal(struct pv_message *message)
{
    struct pv_worker *worker =
        (struct pv_worker *) (void *) ((char *) message - offsetof(struct pv_worker, port_message));

    atomic_store(&worker->is_port_posted, false);
    take_completions(worker);
}

/* Whether what the turn put waits for what others are about to put: then a later turn is to see to it. */
static bool
is_left(struct pv_worker *worker)
{
    int64_t until_us = pv_journal_delay_until_us(worker->net->options.journal, worker->port, worker->under_way_count);

    return until_us != 0 && pv_loop_turn_at(worker->loop, until_us);
}

/* What the turn's statements put is one batch; what its completions set off may be the next, but not without end. */
static void
after_turn(void *context)
{
    enum { BATCHES_MAX = 4 };
    struct pv_worker *worker = context;

    if (is_left(worker))
        return;
    /* Somebody else's may have come meanwhile: a look is a fraction of a transaction. */
    if (worker->client_count > 1 && pv_journal_port_is_owed(worker->net->options.journal, worker->port))
        pv_loop_poll(worker->loop);
    for (int i = 0; pv_journal_kick(worker->net->options.journal, worker->port, i == BATCHES_MAX); i++) {
        take_completions(worker);
        if (is_left(worker))
            return;
    }
}

/* From the journal's thread. */
static void
notify(void *context)
{
    struct pv_worker *worker = context;

    if (!atomic_exchange(&worker->is_port_posted, true))
        pv_loop_post(worker->loop, &worker->port_message);
}

/* ---- Messages ---- */

/* One shape for all that is posted to a worker. */
struct order {
    struct pv_message message;
    struct pv_worker *worker;
    uint64_t session;       /* cancel */
    struct pv_world *world; /* policy; a reference */
    uint64_t timeout_ms;    /* drain */
    int fd;                 /* accept */
    struct sockaddr_storage peer;
};

static struct order *
order_new(struct pv_worker *worker, void (*deliver)(struct pv_message *message))
{
    struct order *order = pv_calloc(1, sizeof(*order));

    if (order == NULL)
        return NULL;
    order->worker = worker;
    order->message.deliver = deliver;
    return order;
}

static void
do_cancel(struct pv_message *message)
{
    struct order *order = (struct order *) message;
    struct pv_client *client = pv_worker_find(order->worker, order->session);

    if (client != NULL)
        pv_client_cancel(client);
    pv_free(order);
}

void
pv_worker_cancel(struct pv_net *net, unsigned worker, uint64_t session)
{
    struct order *order = order_new(&net->workers[worker], do_cancel);

    if (order == NULL)
        return; /* a cancel is a wish; the client may ask again */
    order->session = session;
    pv_loop_post(order->worker->loop, &order->message);
}

static void
do_end(struct pv_message *message)
{
    struct order *order = (struct order *) message;
    struct pv_client *client = pv_worker_find(order->worker, order->session);

    if (client != NULL)
        pv_client_kill(client, "57P01", "terminating connection due to administrator command");
    pv_free(order);
}

void
pv_worker_signal(struct pv_net *net, uint64_t session, bool is_end)
{
    /* Only its own worker knows the session; the others find nothing. */
    for (unsigned i = 0; i < net->worker_count; i++) {
        struct order *order = order_new(&net->workers[i], is_end ? do_end : do_cancel);

        if (order == NULL)
            return; /* as with a cancel */
        order->session = session;
        pv_loop_post(order->worker->loop, &order->message);
    }
}

/* ---- Auditors ---- */

/* Made before the ask is given away, so that its answer cannot be lost for want of memory. */
struct answer {
    struct pv_message message;
    struct pv_worker *worker;
    struct pv_ask *ask; /* a reference */
};

static void
do_answer(struct pv_message *message)
{
    struct answer *answer = (struct answer *) message;
    struct pv_client *client = pv_worker_find(answer->worker, answer->ask->session);

    if (client != NULL)
        pv_client_answer(client, answer->ask);
    pv_ask_unref(answer->ask);
    pv_free(answer);
}

/* From a desk's thread; the desk's reference travels on. */
static void
on_answered(struct pv_ask *ask)
{
    struct answer *answer = ask->cookie;

    answer->ask = ask;
    pv_loop_post(answer->worker->loop, &answer->message);
}

enum pv_status
pv_worker_ask(struct pv_worker *worker, struct pv_ask *ask)
{
    struct answer *answer;
    enum pv_status status;

    if (worker->net->desk == NULL)
        return PV_NOTFOUND;
    answer = pv_calloc(1, sizeof(*answer));
    if (answer == NULL)
        return PV_NOMEM;
    answer->worker = worker;
    answer->message.deliver = do_answer;
    ask->done = on_answered;
    ask->cookie = answer;
    status = pv_desk_put(worker->net->desk, ask);
    if (status != PV_OK)
        pv_free(answer);
    return status;
}

static void
do_policy(struct pv_message *message)
{
    struct order *order = (struct order *) message;
    struct pv_worker *worker = order->worker;

    pv_world_unref(worker->world);
    worker->world = order->world;
    pv_pool_world(worker->pool, worker->world);
    pv_cache_clear(worker->cache); /* it would hold the old one */
    pv_session_spares_rest(worker->spares);
    pv_free(order);
    for (struct pv_client *at = worker->clients, *next; at != NULL; at = next) {
        next = pv_client_next(at);
        pv_client_policy(at);
    }
}

static void
do_accept(struct pv_message *message)
{
    struct order *order = (struct order *) message;

    pv_client_accept(order->worker, order->fd, &order->peer);
    pv_free(order);
}

/* ---- Accepting ---- */

static void
on_tcp(void *context, int fd, const struct sockaddr_storage *peer)
{
    pv_client_accept(context, fd, peer);
}

static void
on_unix(void *context, int fd, const struct sockaddr_storage *peer)
{
    struct pv_worker *worker = context;
    struct pv_net *net = worker->net;
    struct pv_worker *next = &net->workers[worker->unix_turn++ % net->worker_count];
    struct order *order = next == worker ? NULL : order_new(next, do_accept);

    if (order == NULL) {
        pv_client_accept(worker, fd, peer);
        return;
    }
    order->fd = fd;
    order->peer = *peer;
    pv_loop_post(next->loop, &order->message);
}

static void
on_refused(void *context)
{
    PV_COUNT(&((struct pv_worker *) context)->counters, refused, 1);
}

static const struct pv_listener_events tcp_events = {.accepted = on_tcp, .refused = on_refused};
static const struct pv_listener_events unix_events = {.accepted = on_unix, .refused = on_refused};

static void
stop_accepting(struct pv_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; i++)
        pv_listener_free(worker->listeners[i]);
    worker->listener_count = 0;
}

/* ---- Draining ---- */

static void
end_if_done(void *context)
{
    struct pv_worker *worker = context;

    if (worker->client_count == 0 && pv_link_count(worker->links) == 0 && worker->servers.cancel_count == 0)
        pv_loop_stop(worker->loop);
}

static void
end_all(void *context)
{
    struct pv_worker *worker = context;

    pv_task_free(worker->drain_end);
    worker->drain_end = NULL;
    for (struct pv_client *at = worker->clients, *next; at != NULL; at = next) {
        next = pv_client_next(at);
        pv_client_kill(at, "57P01", "terminating connection due to administrator command");
    }
}

static void
do_drain(struct pv_message *message)
{
    struct order *order = (struct order *) message;
    struct pv_worker *worker = order->worker;

    worker->is_draining = true;
    stop_accepting(worker);
    pv_pool_drain(worker->pool);
    worker->drain_watch = pv_loop_every(worker->loop, DRAIN_WATCH_MS, end_if_done, worker);
    worker->drain_end = pv_loop_once(worker->loop, order->timeout_ms, end_all, worker);
    pv_free(order);
    for (struct pv_client *at = worker->clients, *next; at != NULL; at = next) {
        next = pv_client_next(at);
        pv_client_drain(at);
    }
    if (worker->drain_end == NULL || worker->drain_watch == NULL) {
        pv_log(PV_LOG_ERROR, "out of memory while draining: sessions end now");
        end_all(worker);
        pv_loop_stop(worker->loop);
    }
}

struct ended_message {
    struct pv_message message;
    struct pv_net *net;
};

static void
tell_ended(struct pv_message *message)
{
    struct ended_message *ended = (struct ended_message *) message;

    ended->net->options.ended(ended->net->options.context);
    pv_free(ended);
}

void *
pv_worker_run(void *context)
{
    struct pv_worker *worker = context;
    struct pv_net *net = worker->net;

    pv_loop_run(worker->loop);
    if (atomic_fetch_sub(&net->running, 1) == 1) {
        struct ended_message *ended = pv_calloc(1, sizeof(*ended));

        if (ended == NULL) {
            /* Nobody can be told; all that was to be saved is saved. */
            pv_log(PV_LOG_ERROR, "out of memory at the end");
            _exit(2);
        }
        ended->message.deliver = tell_ended;
        ended->net = net;
        pv_loop_post(net->options.main, &ended->message);
    }
    return NULL;
}

enum pv_status
pv_net_drain(struct pv_net *net, uint64_t timeout_ms)
{
    struct order **orders = pv_calloc(net->worker_count, sizeof(struct order *));
    unsigned made = 0;

    while (orders != NULL && made < net->worker_count &&
           (orders[made] = order_new(&net->workers[made], do_drain)) != NULL)
        made++;
    for (unsigned i = 0; i < made; i++) {
        orders[i]->timeout_ms = timeout_ms;
        if (made == net->worker_count)
            pv_loop_post(net->workers[i].loop, &orders[i]->message);
        else
            pv_free(orders[i]);
    }
    pv_free(orders);
    return made == net->worker_count ? PV_OK : PV_NOMEM;
}

enum pv_status
pv_net_policy(struct pv_net *net, struct pv_world *world)
{
    struct order **orders = pv_calloc(net->worker_count, sizeof(struct order *));
    unsigned made = 0;

    while (orders != NULL && made < net->worker_count &&
           (orders[made] = order_new(&net->workers[made], do_policy)) != NULL)
        made++;
    for (unsigned i = 0; i < made; i++) {
        if (made == net->worker_count) {
            orders[i]->world = pv_world_ref(world);
            pv_loop_post(net->workers[i].loop, &orders[i]->message);
        } else {
            pv_free(orders[i]);
        }
    }
    pv_free(orders);
    return made == net->worker_count ? PV_OK : PV_NOMEM;
}

/* ---- Opening ---- */

enum pv_status
pv_worker_open(struct pv_net *net, unsigned index)
{
    struct pv_worker *worker = &net->workers[index];

    worker->net = net;
    worker->index = index;
    pv_counters_init(&worker->counters);
    worker->port_message.deliver = on_journal;
    worker->world = pv_world_ref(net->options.world);
    worker->loop = pv_loop_new();
    worker->cache = pv_cache_new(0);
    worker->spares = pv_session_spares_new();
    worker->listeners = pv_calloc(net->bound_count + 1, sizeof(struct pv_listener *));
    if (worker->loop == NULL || worker->listeners == NULL || worker->cache == NULL || worker->spares == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < PV_COUNT_OF(worker->env); i++) {
        worker->env[i] = net->env[i];
        worker->env[i].cache = worker->cache;
        worker->env[i].spares = worker->spares;
    }
    worker->links = pv_link_thread_new(worker->loop);
    worker->port = pv_journal_port_new(notify, worker);
    worker->dues = pv_dues_new(worker->loop, pv_client_due);
    if (worker->links == NULL || worker->port == NULL || worker->dues == NULL || pv_roster_open(worker) != PV_OK)
        return PV_NOMEM;
    pv_journal_port_hold(worker->port, index);
    pv_loop_after_turn(worker->loop, after_turn, worker);
    worker->servers.loop = worker->loop;
    worker->servers.links = worker->links;
    worker->servers.lookup = net->lookup;
    worker->servers.hosts = net->hosts;
    worker->servers.conformance_room = net->options.conformance_room;
    worker->pool = pv_pool_new(net->pools, index, &worker->servers, &worker->counters, worker->world);
    return worker->pool == NULL ? PV_NOMEM : PV_OK;
}

enum pv_status
pv_worker_listen(struct pv_worker *worker, int fd, bool is_tcp)
{
    struct pv_listener *listener =
        pv_listener_new(worker->loop, fd, is_tcp, is_tcp ? &tcp_events : &unix_events, worker);

    if (listener == NULL) {
        (void) close(fd);
        return PV_NOMEM;
    }
    worker->listeners[worker->listener_count++] = listener;
    return PV_OK;
}

/* ---- Ending ---- */

void
pv_worker_close(struct pv_worker *worker)
{
    stop_accepting(worker);
    pv_free(worker->listeners);
    pv_task_free(worker->drain_end);
    pv_task_free(worker->drain_watch);
    /* Delivers what is still queued: the port and the links outlive that. */
    pv_pool_free(worker->pool);
    pv_roster_close(worker);
    pv_dues_free(worker->dues);
    pv_loop_free(worker->loop);
    pv_journal_port_free(worker->port);
    pv_link_thread_free(worker->links);
    pv_cache_free(worker->cache);
    pv_session_spares_free(worker->spares);
    pv_world_unref(worker->world);
    pv_counters_clear(&worker->counters);
}
