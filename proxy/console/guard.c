/*
 * How many connections there are, and how long each may last. evhttp tells of whole requests alone, so what it holds is
 * found among the events of its loop, and each socket is known by the kernel's cookie for it.
 * 1. A connection's deadline is set when it is first seen and never moves: nothing that a client does slowly holds one longer.
 * 2. At the limit the listener rests; whoever comes waits in the kernel's queue.
 * 3. No memory of evhttp's is kept: a descriptor is looked at only together with its cookie. One whose request is
 *    being answered has no event, and is bounded by the time and the queue of that.
 */
#include "proxy/console/console_int.h"

#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define SWEEP_MS 500u
/* Known sockets: those at the limit, and those that wait for an answer meanwhile. */
#define KNOWN_MAX (PV_CONSOLE_CONNECTIONS_MAX + PV_CREW_QUEUE_MAX + 64u)
/* One that was not seen for so long has ended. */
#define FORGET_MS (2u * PV_CONSOLE_CONNECTION_MS)

struct known {
    uint64_t cookie; /* 0: free */
    uint64_t first_ms, seen_ms;
};

struct pv_guard {
    struct event_base *base;
    struct evconnlistener *listener;
    struct pv_task *sweep;
    struct known known[KNOWN_MAX];
    size_t open;     /* as of the last sweep */
    size_t accepted; /* since */
    uint64_t now_ms; /* of the sweep at hand */
};

/* False: no socket of a client. */
static bool
cookie_of(int fd, uint64_t *cookie)
{
    socklen_t size = sizeof(*cookie);
    int is_listening = 0;
    socklen_t flag_size = sizeof(is_listening);

    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &flag_size) == 0 && is_listening == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &size) == 0;
}

static struct known *
know(struct pv_guard *guard, uint64_t cookie)
{
    struct known *place = &guard->known[0];

    for (size_t i = 0; i < KNOWN_MAX; i++) {
        struct known *at = &guard->known[i];

        if (at->cookie == cookie)
            return at;
        if (at->cookie != 0 && guard->now_ms >= at->seen_ms + FORGET_MS)
            at->cookie = 0;
        if (at->cookie == 0 ? place->cookie != 0 : place->cookie != 0 && at->seen_ms < place->seen_ms)
            place = at;
    }
    *place = (struct known){.cookie = cookie, .first_ms = guard->now_ms};
    return place;
}

static int
on_event(const struct event_base *base, const struct event *event, void *context)
{
    struct pv_guard *guard = context;
    struct known *known;
    uint64_t cookie = 0;

    (void) base;
    if (!cookie_of(event_get_fd(event), &cookie))
        return 0;
    known = know(guard, cookie);
    /* A socket has an event for each direction. */
    if (known->seen_ms != guard->now_ms)
        guard->open++;
    known->seen_ms = guard->now_ms;
    /* evhttp notices the end of its socket and cleans up on its own. */
    if (guard->now_ms >= known->first_ms + PV_CONSOLE_CONNECTION_MS)
        (void) shutdown(event_get_fd(event), SHUT_RDWR);
    return 0;
}

static void
sweep(void *context)
{
    struct pv_guard *guard = context;
    uint64_t now_ms = pv_console_now_ms();

    /* Each sweep has a moment of its own, by which it knows what it has seen. */
    guard->now_ms = now_ms > guard->now_ms ? now_ms : guard->now_ms + 1;
    guard->open = guard->accepted = 0;
    (void) event_base_foreach_event(guard->base, on_event, guard);
    if (guard->open < PV_CONSOLE_CONNECTIONS_MAX)
        (void) evconnlistener_enable(guard->listener);
    else
        (void) evconnlistener_disable(guard->listener);
}

/* evhttp asks for the bufferevent of a connection that it has just accepted; NULL: it makes one itself. */
static struct bufferevent *
on_accept(struct event_base *base, void *context)
{
    struct pv_guard *guard = context;

    (void) base;
    guard->accepted++;
    if (guard->open + guard->accepted >= PV_CONSOLE_CONNECTIONS_MAX) {
        sweep(guard);
        guard->accepted++; /* this one has no event yet */
    }
    return NULL;
}

enum pv_status
pv_guard_open(struct pv_loop *loop, struct evhttp *http, const char *host, uint16_t port, struct pv_guard **guard,
              char *error, size_t error_size)
{
    struct pv_guard *made = pv_calloc(1, sizeof(*made));
    struct evhttp_bound_socket *bound;

    if (made == NULL)
        return PV_NOMEM;
    made->base = pv_loop_base(loop);
    evhttp_set_bevcb(http, on_accept, made);
    made->sweep = pv_loop_every(loop, SWEEP_MS, sweep, made);
    if (made->sweep == NULL) {
        pv_guard_close(made);
        return PV_NOMEM;
    }
    bound = evhttp_bind_socket_with_handle(http, host, port);
    if (bound == NULL) {
        (void) snprintf(error, error_size, "console: cannot listen on %s:%u: %s", host, port,
                        evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
        pv_guard_close(made);
        return PV_IO;
    }
    made->listener = evhttp_bound_socket_get_listener(bound);
    *guard = made;
    return PV_OK;
}

void
pv_guard_close(struct pv_guard *guard)
{
    if (guard == NULL)
        return;
    pv_task_free(guard->sweep);
    pv_free(guard);
}
