/*
 * Threads, listeners and what crosses threads. Invariants:
 * 1. A worker's clients, links and world are touched on its own thread alone; others post messages.
 * 2. A message names a session by its number: a session that has ended meanwhile is simply not found.
 * 3. A worker ends when it is draining and nothing of it is left: no client, no link, no cancel under way.
 */
#include "proxy/base/log.h"
#include "policy/cache.h"
#include "proxy/net/net_int.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Completions taken from the journal in one go. */
#define DONE_AT_ONCE 256u
/* How often a draining worker looks whether it is done. */
#define DRAIN_WATCH_MS 20u
#define TABLE_SIZE_FIRST 64u

/* ---- Clients by number ---- */

struct pv_client *
pv_worker_find(struct pv_worker *worker, uint64_t session)
{
    struct pv_client *at = worker->table_size == 0 ? NULL : worker->table[session % worker->table_size];

    while (at != NULL && pv_client_hooks(at)->id != session)
        at = pv_client_hooks(at)->bucket_next;
    return at;
}

static enum pv_status
grow(struct pv_worker *worker)
{
    size_t size = worker->table_size == 0 ? TABLE_SIZE_FIRST : worker->table_size * 2;
    struct pv_client **table = pv_calloc(size, sizeof(struct pv_client *));

    if (table == NULL)
        return PV_NOMEM;
    for (struct pv_client *at = worker->clients; at != NULL; at = pv_client_next(at)) {
        struct pv_client_hooks *hooks = pv_client_hooks(at);

        hooks->bucket_next = table[hooks->id % size];
        table[hooks->id % size] = at;
    }
    pv_free(worker->table);
    worker->table = table;
    worker->table_size = size;
    return PV_OK;
}

enum pv_status
pv_worker_add(struct pv_worker *worker, struct pv_client *client)
{
    struct pv_client_hooks *hooks = pv_client_hooks(client);

    /* A table that cannot grow serves on, with longer chains. */
    if (worker->client_count >= worker->table_size && grow(worker) != PV_OK && worker->table_size == 0)
        return PV_NOMEM;
    hooks->bucket_next = worker->table[hooks->id % worker->table_size];
    worker->table[hooks->id % worker->table_size] = client;
    hooks->next = worker->clients;
    if (hooks->next != NULL)
        pv_client_hooks(hooks->next)->previous = client;
    worker->clients = client;
    worker->client_count++;
    return PV_OK;
}

void
pv_worker_remove(struct pv_worker *worker, struct pv_client *client)
{
    struct pv_client_hooks *hooks = pv_client_hooks(client);
    struct pv_client **at = &worker->table[hooks->id % worker->table_size];

    while (*at != client)
        at = &pv_client_hooks(*at)->bucket_next;
    *at = hooks->bucket_next;
    if (hooks->next != NULL)
        pv_client_hooks(hooks->next)->previous = hooks->previous;
    if (hooks->previous != NULL)
        pv_client_hooks(hooks->previous)->next = hooks->next;
    else
        worker->clients = hooks->next;
    worker->client_count--;
}

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

/* What the turn's statements put is one batch; what its completions set off may be the next, but not without end. */
static void
after_turn(void *context)
{
    enum { BATCHES_MAX = 4 };
    struct pv_worker *worker = context;

    for (int i = 0; pv_journal_kick(worker->net->options.journal, worker->port, i == BATCHES_MAX); i++)
        take_completions(worker);
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

static void *
work(void *context)
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

static enum pv_status
open_worker(struct pv_net *net, unsigned index)
{
    struct pv_worker *worker = &net->workers[index];

    worker->net = net;
    worker->index = index;
    pv_counters_init(&worker->counters);
    worker->port_message.deliver = on_journal;
    worker->world = pv_world_ref(net->options.world);
    worker->loop = pv_loop_new();
    worker->cache = pv_cache_new(0);
    worker->listeners = pv_calloc(net->bound_count + 1, sizeof(struct pv_listener *));
    if (worker->loop == NULL || worker->listeners == NULL || worker->cache == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < PV_COUNT_OF(worker->env); i++) {
        worker->env[i] = net->env[i];
        worker->env[i].cache = worker->cache;
    }
    worker->links = pv_link_thread_new(worker->loop);
    worker->port = pv_journal_port_new(notify, worker);
    if (worker->links == NULL || worker->port == NULL)
        return PV_NOMEM;
    pv_journal_port_hold(worker->port);
    pv_loop_after_turn(worker->loop, after_turn, worker);
    worker->servers.loop = worker->loop;
    worker->servers.links = worker->links;
    worker->servers.lookup = net->lookup;
    worker->servers.hosts = net->hosts;
    worker->servers.conformance_room = net->options.conformance_room;
    worker->pool = pv_pool_new(net->pools, index, &worker->servers, &worker->counters, worker->world);
    return worker->pool == NULL ? PV_NOMEM : PV_OK;
}

/* Takes the socket. */
static enum pv_status
listen_on(struct pv_worker *worker, int fd, bool is_tcp)
{
    struct pv_listener *listener = pv_listener_new(worker->loop, fd, is_tcp, is_tcp ? on_tcp : on_unix, worker);

    if (listener == NULL) {
        (void) close(fd);
        return PV_NOMEM;
    }
    worker->listeners[worker->listener_count++] = listener;
    return PV_OK;
}

/* Every worker listens on each TCP address; the first alone on Unix sockets. */
static enum pv_status
share_bound(struct pv_net *net, const struct pv_bound *bound, int fd, char *error, size_t error_size)
{
    enum pv_status status = listen_on(&net->workers[0], fd, bound->path == NULL);

    for (unsigned i = 1; bound->path == NULL && status == PV_OK && i < net->worker_count; i++) {
        fd = pv_bound_socket(bound);
        if (fd < 0) {
            (void) snprintf(error, error_size, "cannot listen on %s: %s", bound->name, strerror(errno));
            return PV_IO;
        }
        status = listen_on(&net->workers[i], fd, true);
    }
    return status;
}

static enum pv_status
bind_all(struct pv_net *net, char *error, size_t error_size)
{
    const struct pv_config *config = &pv_world_policy(net->options.world)->config;
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < config->listen_count && status == PV_OK; i++) {
        int fds[PV_LISTEN_ADDRESSES_MAX];
        size_t count = 0;
        struct pv_bound *bounds = &net->bounds[net->bound_count];

        status = pv_bound_make(&config->listens[i], bounds, fds, &count, error, error_size);
        if (status != PV_OK)
            break;
        net->bound_count += count;
        for (size_t j = 0; j < count; j++) {
            if (status == PV_OK)
                status = share_bound(net, &bounds[j], fds[j], error, error_size);
            else
                (void) close(fds[j]);
        }
    }
    return status;
}

static unsigned
worker_count(const struct pv_config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (config->workers != 0)
        return config->workers;
    return cores < 1 ? 1 : (unsigned) cores;
}

enum pv_status
pv_net_open(const struct pv_net_options *options, struct pv_net **net, char *error, size_t error_size)
{
    const struct pv_config *config = &pv_world_policy(options->world)->config;
    struct pv_net *opened = pv_calloc(1, sizeof(*opened));
    size_t bounds_max = config->listen_count * PV_LISTEN_ADDRESSES_MAX;
    enum pv_status status = PV_NOMEM;

    (void) snprintf(error, error_size, "%s", pv_status_words(PV_NOMEM));
    if (opened == NULL)
        return PV_NOMEM;
    opened->options = *options;
    (void) pv_world_ref(opened->options.world);
    atomic_store(&opened->session_next, 1);
    for (int i = 0; i < 2; i++)
        opened->env[i] = (struct pv_session_env){
            .host = &pv_client_host,
            .has_tls = i == 1,
            .mock_secret = options->mock_secret,
            .conformance_room = options->conformance_room,
            .is_strict = config->durability == PV_DURABILITY_STRICT,
        };
    opened->workers = pv_calloc(worker_count(config), sizeof(*opened->workers));
    opened->bounds = pv_calloc(bounds_max + 1, sizeof(*opened->bounds));
    opened->cancels = pv_cancel_map_new();
    opened->lookup = pv_lookup_new(options->store);
    opened->hosts = pv_hosts_new();
    opened->pools = pv_pools_new(worker_count(config));
    if (options->state_path != NULL && pv_desk_open(options->state_path, &opened->desk) != PV_OK)
        goto fail;
    if (opened->workers == NULL || opened->bounds == NULL || opened->cancels == NULL || opened->lookup == NULL ||
        opened->hosts == NULL || opened->pools == NULL)
        goto fail;
    /* `listeners` of a worker has room for all bounds. */
    opened->bound_count = bounds_max;
    for (status = PV_OK; opened->worker_count < worker_count(config) && status == PV_OK; opened->worker_count++)
        status = open_worker(opened, opened->worker_count);
    opened->bound_count = 0;
    if (status == PV_OK)
        status = bind_all(opened, error, error_size);
    if (status != PV_OK)
        goto fail;
    *net = opened;
    return PV_OK;
fail:
    pv_net_free(opened);
    return status;
}

size_t
pv_net_listen_count(const struct pv_net *net)
{
    return net->bound_count;
}

const char *
pv_net_listen_name(const struct pv_net *net, size_t i)
{
    return net->bounds[i].name;
}

unsigned
pv_net_worker_count(const struct pv_net *net)
{
    return net->worker_count;
}

enum pv_status
pv_net_start(struct pv_net *net)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    enum pv_status status = PV_OK;

    if (pthread_attr_init(&attributes) != 0)
        return PV_NOMEM;
    (void) pthread_attr_setstacksize(&attributes, PV_PARSE_STACK_BYTES);
    /* Signals are the main thread's. */
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_BLOCK, &all, &before);
    atomic_store(&net->running, net->worker_count);
    for (unsigned i = 0; i < net->worker_count && status == PV_OK; i++) {
        if (pthread_create(&net->workers[i].thread, &attributes, work, &net->workers[i]) == 0)
            net->workers[i].is_started = true;
        else
            status = PV_NOMEM;
    }
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void) pthread_attr_destroy(&attributes);
    for (unsigned i = 0; i < net->worker_count && status != PV_OK; i++)
        if (net->workers[i].is_started)
            pv_loop_stop(net->workers[i].loop);
    if (status != PV_OK)
        pv_net_join(net);
    return status;
}

/* ---- Ending ---- */

void
pv_net_join(struct pv_net *net)
{
    for (unsigned i = 0; i < net->worker_count; i++) {
        if (net->workers[i].is_started)
            (void) pthread_join(net->workers[i].thread, NULL);
        net->workers[i].is_started = false;
    }
    pv_desk_close(net->desk); /* what it still answers finds no session */
    net->desk = NULL;
}

static void
close_worker(struct pv_worker *worker)
{
    stop_accepting(worker);
    pv_free(worker->listeners);
    pv_task_free(worker->drain_end);
    pv_task_free(worker->drain_watch);
    /* Delivers what is still queued: the port and the links outlive that. */
    pv_pool_free(worker->pool);
    pv_loop_free(worker->loop);
    pv_journal_port_free(worker->port);
    pv_link_thread_free(worker->links);
    pv_free(worker->table);
    pv_cache_free(worker->cache);
    pv_world_unref(worker->world);
    pv_counters_clear(&worker->counters);
}

void
pv_net_free(struct pv_net *net)
{
    if (net == NULL)
        return;
    pv_net_join(net);
    pv_lookup_free(net->lookup);
    pv_pools_end(net->pools);
    for (unsigned i = 0; i < net->worker_count; i++)
        close_worker(&net->workers[i]);
    for (size_t i = 0; i < net->bound_count; i++)
        if (net->bounds[i].path != NULL)
            (void) unlink(net->bounds[i].path);
    pv_free(net->bounds);
    pv_free(net->workers);
    pv_cancel_map_free(net->cancels);
    pv_pools_free(net->pools);
    pv_hosts_free(net->hosts);
    pv_world_unref(net->options.world);
    pv_free(net);
}

enum pv_status
pv_net_counters(struct pv_net *net, struct pv_counters *sum, struct pv_arena *arena)
{
    enum pv_status status = PV_OK;

    for (unsigned i = 0; i < net->worker_count && status == PV_OK; i++) {
        struct pv_cache_stats stats;

        pv_cache_stats(net->workers[i].cache, &stats);
        PV_COUNT(sum, cache_hits, stats.hits);
        PV_COUNT(sum, cache_shape_hits, stats.shape_hits);
        PV_COUNT(sum, cache_misses, stats.misses);
        PV_COUNT(sum, cache_entries, stats.entries);
        PV_COUNT(sum, cache_bytes, stats.bytes);
        status = pv_counters_add(&net->workers[i].counters, sum, arena);
    }
    return status;
}
