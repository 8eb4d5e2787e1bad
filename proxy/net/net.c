/*
 * All workers together: what they share, what they listen on, their beginning and their end.
 */
#include "policy/cache.h"
#include "proxy/net/net_int.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- Opening ---- */

/* Every worker listens on each TCP address; the first alone on Unix sockets. */
static enum pv_status
share_bound(struct pv_net *net, const struct pv_bound *bound, int fd, char *error, size_t error_size)
{
    enum pv_status status = pv_worker_listen(&net->workers[0], fd, bound->path == NULL);

    for (unsigned i = 1; bound->path == NULL && status == PV_OK && i < net->worker_count; i++) {
        fd = pv_bound_socket(bound);
        if (fd < 0) {
            (void) snprintf(error, error_size, "cannot listen on %s: %s", bound->name, strerror(errno));
            return PV_IO;
        }
        status = pv_worker_listen(&net->workers[i], fd, true);
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

/*
 * The rest is for connections to databases, the state and refusals in the protocol's order, which have half of it: those who
 * say nothing could have all of it. A small limit is shared in half.
 */
static void
share_descriptors(struct pv_net *net)
{
    struct rlimit limit;
    rlim_t reserve;

    net->descriptors_max = net->descriptors_end = INT_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > INT_MAX)
        return;
    reserve = limit.rlim_cur / 2 < PV_RESERVED_DESCRIPTORS ? limit.rlim_cur / 2 : PV_RESERVED_DESCRIPTORS;
    net->descriptors_max = (int) (limit.rlim_cur - reserve);
    net->descriptors_end = (int) (limit.rlim_cur - reserve / 2);
}

unsigned
pv_net_workers_of(const struct pv_config *config)
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
    share_descriptors(opened);
    for (int i = 0; i < 2; i++)
        opened->env[i] = (struct pv_session_env){
            .host = &pv_client_host,
            .has_tls = i == 1,
            .mock_secret = options->mock_secret,
            .conformance_room = options->conformance_room,
            .is_strict = config->durability == PV_DURABILITY_STRICT,
        };
    opened->workers = pv_calloc(pv_net_workers_of(config), sizeof(*opened->workers));
    opened->bounds = pv_calloc(bounds_max + 1, sizeof(*opened->bounds));
    opened->cancels = pv_cancel_map_new();
    opened->lookup = pv_lookup_new(options->store);
    opened->hosts = pv_hosts_new();
    opened->pools = pv_pools_new(pv_net_workers_of(config));
    if (options->state_path != NULL && pv_desk_open(options->state_path, &opened->desk) != PV_OK)
        goto fail;
    if (opened->workers == NULL || opened->bounds == NULL || opened->cancels == NULL || opened->lookup == NULL ||
        opened->hosts == NULL || opened->pools == NULL)
        goto fail;
    /* `listeners` of a worker has room for all bounds. */
    opened->bound_count = bounds_max;
    for (status = PV_OK; opened->worker_count < pv_net_workers_of(config) && status == PV_OK; opened->worker_count++)
        status = pv_worker_open(opened, opened->worker_count);
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
        if (pthread_create(&net->workers[i].thread, &attributes, pv_worker_run, &net->workers[i]) == 0)
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

void
pv_net_free(struct pv_net *net)
{
    if (net == NULL)
        return;
    pv_net_join(net);
    pv_lookup_free(net->lookup);
    pv_pools_end(net->pools);
    for (unsigned i = 0; i < net->worker_count; i++)
        pv_worker_close(&net->workers[i]);
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
        PV_COUNT(sum, prepared, stats.prepared);
        PV_COUNT(sum, repeated, stats.repeated);
        status = pv_counters_add(&net->workers[i].counters, sum, arena);
    }
    return status;
}
