/* Looks at what serving stands on, and warns. */
#include "proxy/app/provision.h"
#include "proxy/app/serve_int.h"
#include "proxy/base/arena.h"
#include "proxy/base/limits.h"
#include "proxy/base/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

/* ---- The databases ---- */

/* The thread below is at work: it uses libraries that the end of the process would clean up under it. */
static _Atomic bool is_looking;

static void
say_warning(void *context, const char *words)
{
    (void) context;
    pv_log(PV_LOG_WARNING, "%s", words);
}

/* Takes its world. A database that is away now will be missed soon enough by those who ask. */
static void *
look_at_databases(void *context)
{
    struct pv_world *world = context;
    const struct pv_policy *policy = pv_world_policy(world);

    for (size_t i = 0; i < policy->room_count; i++) {
        const struct pv_room *room = &policy->rooms[i];
        struct pv_arena *arena = pv_arena_new(0);
        const char *words = "out of memory";
        PGconn *conn = arena == NULL ? NULL : pv_provision_connect(arena, room->upstream, false, &words);

        if (conn == NULL)
            pv_log(PV_LOG_WARNING, "room \"%s\": its database could not be looked at: %s", room->name, words);
        else if (pv_provision_warnings(conn, room, say_warning, NULL) != PV_OK)
            pv_log(PV_LOG_WARNING, "room \"%s\": its database could not be looked at", room->name);
        PQfinish(conn);
        pv_arena_free(arena);
    }
    pv_world_unref(world);
    atomic_store(&is_looking, false);
    return NULL;
}

/* On a thread that nobody waits for: neither the start nor the end of serving hangs on a database. */
void
pv_serve_look_start(struct serve *serve)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int failed;

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_BLOCK, &all, &before);
    (void) pthread_attr_init(&attributes);
    (void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* What it looks at includes row filters, which it parses. */
    (void) pthread_attr_setstacksize(&attributes, PV_PARSE_STACK_BYTES);
    atomic_store(&is_looking, true);
    failed = pthread_create(&thread, &attributes, look_at_databases, pv_world_ref(serve->world));
    (void) pthread_attr_destroy(&attributes);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        atomic_store(&is_looking, false);
        pv_world_unref(serve->world);
        pv_log(PV_LOG_WARNING, "the databases are not looked at: %s", strerror(failed));
    }
}

bool
pv_serve_is_looking(void)
{
    return atomic_load(&is_looking);
}

/* ---- Descriptors ---- */

void
pv_serve_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void) setrlimit(RLIMIT_NOFILE, &limit);
}

/* Two descriptors a client, and some for ourselves. */
void
pv_serve_warn_of_descriptors(const struct pv_config *config)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < 2 * (rlim_t) config->clients_max + 64)
        pv_log(PV_LOG_WARNING, "limits.clients is %u, but %llu open files allow about %llu clients",
               config->clients_max, (unsigned long long) limit.rlim_cur,
               (unsigned long long) (limit.rlim_cur - 64) / 2);
}
