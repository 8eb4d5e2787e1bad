#include "proxy/net/listen.h"

#include "proxy/base/log.h"
#include "proxy/net/link.h"
#include "proxy/net/loop.h"
#include "proxy/wire/message.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn. */
#define BACKLOG 4096
/* Accepted in one go, so that a burst does not starve the sessions. */
#define ACCEPTS_AT_ONCE 32
/* Pause when accept has no descriptor or memory: long enough for a session to end, short enough not to be felt. */
#define BACKOFF_MS 200u

/* Said no more often than this, while it lasts. */
#define COMPLAINT_US 10000000
/* Reads of what somebody sent who is refused: who sends on and on is not read to an end that does not come. */
#define UNREAD_LOOKS_MAX 64u

struct pv_listener {
    struct pv_loop *loop;
    int fd;
    bool is_tcp;
    int64_t complained_us; /* 0: never yet */
    struct event *event;
    struct pv_task *backoff;
    int spare_fd; /* given up for the time of a refusal; -1: somebody else has taken it */
    const struct pv_listener_events *events;
    void *context;
};

static int
open_socket(const struct pv_bound *bound, bool is_shared)
{
    const int on = 1;
    int fd = socket(bound->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return -1;
    if ((bound->path == NULL && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) ||
        (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        (bound->address.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
        bind(fd, (const struct sockaddr *) &bound->address, bound->address_len) != 0)
        goto fail;
    return fd;
fail:
    error = errno;
    (void) close(fd);
    errno = error;
    return -1;
}

int
pv_bound_socket(const struct pv_bound *bound)
{
    int fd = open_socket(bound, true);
    int error;

    if (fd >= 0 && listen(fd, BACKLOG) != 0) {
        error = errno;
        (void) close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* ---- TCP ---- */

static void
name_tcp(struct pv_bound *bound)
{
    char host[64], port[8];

    if (getnameinfo((const struct sockaddr *) &bound->address, bound->address_len, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        (void) snprintf(bound->name, sizeof(bound->name), "?");
    else
        (void) snprintf(bound->name, sizeof(bound->name), bound->address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
                        host, port);
}

/*
 * A socket that shares its port would be bound happily beside another pgveil's. So the port is claimed first
 * without sharing, which fails when anybody listens there.
 */
static int
claim_tcp(struct pv_bound *bound)
{
    int fd = open_socket(bound, false);
    int error = 0;

    if (fd < 0)
        return -1;
    if (listen(fd, 1) != 0)
        error = errno;
    bound->address_len = sizeof(bound->address);
    if (getsockname(fd, (struct sockaddr *) &bound->address, &bound->address_len) != 0)
        error = errno;
    (void) close(fd);
    errno = error;
    return error != 0 ? -1 : pv_bound_socket(bound);
}

static enum pv_status
make_tcp(const struct pv_listen *listen, struct pv_bound *bounds, int *fds, size_t *count, char *error,
         size_t error_size)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    bool is_any = listen->host == NULL || strcmp(listen->host, "*") == 0;
    char port[8];
    int failed;
    enum pv_status status = PV_OK;

    (void) snprintf(port, sizeof(port), "%u", listen->port);
    failed = getaddrinfo(is_any ? NULL : listen->host, port, &hints, &found);
    if (failed != 0) {
        (void) snprintf(error, error_size, "cannot listen on %s: %s", listen->host, gai_strerror(failed));
        return PV_IO;
    }
    for (struct addrinfo *at = found; at != NULL && *count < PV_LISTEN_ADDRESSES_MAX && status == PV_OK;
         at = at->ai_next) {
        struct pv_bound *bound = &bounds[*count];

        memset(bound, 0, sizeof(*bound));
        memcpy(&bound->address, at->ai_addr, at->ai_addrlen);
        bound->address_len = at->ai_addrlen;
        name_tcp(bound);
        fds[*count] = claim_tcp(bound);
        if (fds[*count] >= 0) {
            name_tcp(bound);
            (*count)++;
        } else if (at->ai_next == NULL || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)) {
            /* A name's IPv6 address on a machine without it is no fault as long as another address serves. */
            if (*count == 0 || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)) {
                (void) snprintf(error, error_size, "cannot listen on %s: %s", bound->name, strerror(errno));
                status = PV_IO;
            }
        }
    }
    freeaddrinfo(found);
    return status;
}

/* ---- Unix ---- */

/* A socket file that nobody listens on was left by a process that was killed. */
static bool
is_stale(const struct pv_bound *bound)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_refused;

    if (fd < 0)
        return false;
    is_refused =
        connect(fd, (const struct sockaddr *) &bound->address, bound->address_len) != 0 && errno == ECONNREFUSED;
    (void) close(fd);
    return is_refused;
}

static enum pv_status
make_unix(const struct pv_listen *entry, struct pv_bound *bounds, int *fds, size_t *count, char *error,
          size_t error_size)
{
    struct pv_bound *bound = &bounds[0];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len;

    memset(bound, 0, sizeof(*bound));
    len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.%u", entry->unix_dir, entry->port);
    if (len < 0 || (size_t) len >= sizeof(address.sun_path)) {
        (void) snprintf(error, error_size, "cannot listen in %s: the path is too long for a socket", entry->unix_dir);
        return PV_IO;
    }
    memcpy(&bound->address, &address, sizeof(address));
    bound->address_len = (socklen_t) sizeof(address);
    (void) snprintf(bound->name, sizeof(bound->name), "%s", address.sun_path);
    bound->path = bound->name;
    fds[0] = open_socket(bound, false);
    if (fds[0] < 0 && errno == EADDRINUSE && is_stale(bound) && unlink(bound->path) == 0)
        fds[0] = open_socket(bound, false);
    /* Anybody may connect, as with PostgreSQL: who gets in is for the login to say. */
    if (fds[0] < 0 || chmod(bound->path, 0777) != 0 || listen(fds[0], BACKLOG) != 0) {
        (void) snprintf(error, error_size, "cannot listen on %s: %s", bound->name, strerror(errno));
        if (fds[0] >= 0) {
            (void) close(fds[0]);
            (void) unlink(bound->path);
        }
        return PV_IO;
    }
    *count = 1;
    return PV_OK;
}

enum pv_status
pv_bound_make(const struct pv_listen *listen, struct pv_bound bounds[PV_LISTEN_ADDRESSES_MAX],
              int fds[PV_LISTEN_ADDRESSES_MAX], size_t *count, char *error, size_t error_size)
{
    enum pv_status status;

    *count = 0;
    if (listen->unix_dir != NULL)
        return make_unix(listen, bounds, fds, count, error, error_size);
    status = make_tcp(listen, bounds, fds, count, error, error_size);
    while (status != PV_OK && *count > 0)
        (void) close(fds[--*count]);
    return status;
}

/* ---- Accepting ---- */

static void
resume(void *context)
{
    struct pv_listener *listener = context;

    pv_task_free(listener->backoff);
    listener->backoff = NULL;
    if (listener->spare_fd < 0)
        listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void) event_add(listener->event, NULL);
}

static void
complain(struct pv_listener *listener, int error)
{
    int64_t now_us = pv_now_us();

    if (now_us - listener->complained_us < COMPLAINT_US)
        return;
    pv_log(PV_LOG_ERROR, "cannot accept connections for now: %s", strerror(error));
    listener->complained_us = now_us;
}

void
pv_socket_refuse(int fd, const char *sqlstate, const char *words)
{
    struct pv_msg_notice notice;
    struct pv_buf out = {0};
    uint8_t unread[1024];

    pv_msg_notice_init(&notice, "FATAL", sqlstate, words);
    /* Whether it arrives is the network's: nobody waits for it here. */
    if (pv_msg_notice_write(&out, PV_SERVER_ERROR_RESPONSE, &notice) == PV_OK)
        (void) send(fd, pv_buf_slice(&out).data, pv_buf_len(&out), MSG_NOSIGNAL | MSG_DONTWAIT);
    pv_buf_clear(&out);
    /* What lies unread would make a reset of the end, which could overtake the words. */
    (void) shutdown(fd, SHUT_WR);
    for (unsigned i = 0; i < UNREAD_LOOKS_MAX && recv(fd, unread, sizeof(unread), MSG_DONTWAIT) > 0; i++)
        ;
    (void) close(fd);
}

static void
back_off(struct pv_listener *listener, int error)
{
    complain(listener, error);
    listener->backoff = pv_loop_once(listener->loop, BACKOFF_MS, resume, listener);
    /* Without memory even for the timer, the readiness of the socket tries again at once. */
    if (listener->backoff != NULL)
        (void) event_del(listener->event);
}

/* There is no descriptor left but the spare one. False: nobody waits to be refused. */
static bool
refuse_one(struct pv_listener *listener, int fd, int error)
{
    int refused;

    (void) close(listener->spare_fd);
    refused = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (refused >= 0)
        pv_socket_refuse(refused, "53300", "sorry, too many clients already");
    listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (refused < 0)
        return false;
    complain(listener, error);
    if (listener->events->refused != NULL)
        listener->events->refused(listener->context);
    return true;
}

/* A connection that could not be taken. True: another may wait behind it. */
static bool
go_without(struct pv_listener *listener, int fd, int error)
{
    bool is_full = error == EMFILE || error == ENFILE;

    if (error == EINTR || error == ECONNABORTED)
        return true;
    if (is_full && listener->spare_fd >= 0)
        return refuse_one(listener, fd, error);
    if (is_full || error == ENOBUFS || error == ENOMEM)
        back_off(listener, error);
    return false;
}

static void
on_acceptable(evutil_socket_t fd, short what, void *context)
{
    struct pv_listener *listener = context;

    (void) what;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof(peer);
        int accepted = accept4(fd, (struct sockaddr *) &peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (accepted < 0) {
            if (!go_without(listener, fd, errno))
                return;
            continue;
        }
        pv_socket_prepare(accepted, listener->is_tcp);
        listener->events->accepted(listener->context, accepted, &peer);
    }
}

struct pv_listener *
pv_listener_new(struct pv_loop *loop, int fd, bool is_tcp, const struct pv_listener_events *events, void *context)
{
    struct pv_listener *listener = pv_calloc(1, sizeof(*listener));

    if (listener == NULL)
        return NULL;
    listener->loop = loop;
    listener->fd = -1;
    listener->is_tcp = is_tcp;
    listener->events = events;
    listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    listener->context = context;
    listener->event = event_new(pv_loop_base(loop), fd, EV_READ | EV_PERSIST, on_acceptable, listener);
    if (listener->event == NULL || event_add(listener->event, NULL) != 0) {
        pv_listener_free(listener);
        return NULL;
    }
    listener->fd = fd;
    return listener;
}

void
pv_listener_free(struct pv_listener *listener)
{
    if (listener == NULL)
        return;
    if (listener->event != NULL)
        event_free(listener->event);
    pv_task_free(listener->backoff);
    if (listener->fd >= 0)
        (void) close(listener->fd);
    if (listener->spare_fd >= 0)
        (void) close(listener->spare_fd);
    pv_free(listener);
}
