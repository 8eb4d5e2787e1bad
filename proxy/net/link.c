/*
 * Invariants:
 * 1. Bytes leave in the order of pv_link_gather: while `held` is not empty, or TLS is not up yet, new bytes go behind
 * it.
 * 2. `held` exists only while the peer does not take bytes; it is freed as soon as it is empty.
 * 3. A broken link neither reads nor writes; its owner hears of it once, from the loop.
 * 4. No callback runs inside a pv_link_* call; a link that is freed inside its own callback lives until that returns.
 */
#include "proxy/crypto/tls.h"
#include "proxy/net/link_int.h"
#include "proxy/net/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* A closing link that waits for the peer's goodbye waits this long. */
#define LINGER_MS 1000
/* Keepalive: a dead peer is noticed after about two minutes, unacknowledged bytes after as long. */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT 4
#define USER_TIMEOUT_MS 120000

static void proceed(struct pv_link *link);

struct pv_link_thread *
pv_link_thread_new(struct pv_loop *loop)
{
    struct pv_link_thread *thread = pv_calloc(1, sizeof(*thread));

    if (thread != NULL)
        thread->loop = loop;
    return thread;
}

void
pv_link_thread_free(struct pv_link_thread *thread)
{
    if (thread == NULL)
        return;
    pv_assert(thread->link_count == 0);
    while (thread->spare != NULL) {
        struct pv_gather *gather = thread->spare;

        thread->spare = gather->next;
        pv_free(gather);
    }
    pv_free(thread);
}

size_t
pv_link_count(const struct pv_link_thread *thread)
{
    return thread->link_count;
}

void
pv_socket_prepare(int fd, bool is_tcp)
{
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
    };

    (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
    /* What a socket refuses here makes it slower to notice a dead peer, not wrong. */
    for (size_t i = 0; is_tcp && i < PV_COUNT_OF(options); i++)
        (void) setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

/* ---- Events ---- */

/* Gives whether it is armed now. */
static bool
arm_one(struct event *event, bool is_wanted, bool is_armed, const struct timeval *timeout)
{
    if (is_wanted && (!is_armed || timeout != NULL))
        return event_add(event, timeout) == 0;
    if (!is_wanted && is_armed)
        (void) event_del(event);
    return is_wanted;
}

static void on_writable(evutil_socket_t fd, short what, void *context);

/* Few links ever wait to write. */
static enum pv_status
make_write_event(struct pv_link *link)
{
    struct event *made = pv_alloc(sizeof(*made));

    if (made == NULL)
        return PV_NOMEM;
    if (event_assign(made, pv_loop_base(link->thread->loop), link->fd, EV_WRITE | EV_PERSIST, on_writable, link) != 0) {
        pv_free(made);
        return PV_NOMEM;
    }
    link->write_event = made;
    return PV_OK;
}

static void
forget_write_event(struct pv_link *link)
{
    if (link->write_event == NULL)
        return;
    (void) event_del(link->write_event);
    pv_free(link->write_event);
    link->write_event = NULL;
    link->is_write_armed = false;
}

/* Makes the loop look at this link again although its socket has no news. */
static void
poke(struct pv_link *link)
{
    event_active(&link->read_event, EV_READ, 0);
}

void
pv_link_arm(struct pv_link *link)
{
    const struct timeval timeout = {LINGER_MS / 1000, 0};
    bool wants_read = !link->is_paused || link->write_wants_read;
    bool wants_write = (link->held != NULL && !link->write_wants_read) || link->read_wants_write;

    if (link->is_dead)
        return;
    if (link->phase == PV_LINK_HANDSHAKE) {
        wants_read = !link->handshake_wants_write;
        wants_write = link->handshake_wants_write;
    }
    if (link->is_finishing)
        wants_read = true; /* its timeout bounds the wait */
    if (link->is_eof)
        wants_read = false;
    if (link->is_broken)
        wants_read = wants_write = false;
    if (wants_write && link->write_event == NULL && make_write_event(link) != PV_OK) {
        pv_link_break(link, "out of memory");
        wants_read = wants_write = false;
    }
    link->is_read_armed =
        arm_one(&link->read_event, wants_read, link->is_read_armed, link->is_finishing ? &timeout : NULL);
    if (link->write_event != NULL)
        link->is_write_armed = arm_one(link->write_event, wants_write, link->is_write_armed,
                                       link->is_finishing && link->is_eof ? &timeout : NULL);
    /* An event that is not waited for any more is no longer active either, so the owner would never hear of the end. */
    if (link->is_broken && !link->is_told && !link->is_finishing)
        poke(link);
}

void
pv_link_break(struct pv_link *link, const char *words)
{
    if (link->is_broken)
        return;
    link->is_broken = true;
    link->words = pv_strdup(words);
    pv_link_drop_held(link);
    poke(link);
}

void
pv_link_break_errno(struct pv_link *link)
{
    pv_link_break(link, strerror(errno));
}

/* ---- Receiving ---- */

static void
tell_eof(struct pv_link *link)
{
    if (link->is_told || link->is_finishing)
        return;
    link->is_told = true;
    link->events->eof(link->context, !link->is_broken ? NULL : link->words != NULL ? link->words : "out of memory");
}

static size_t
receive_into(struct pv_link *link, uint8_t *data, size_t size)
{
    ssize_t len;

    do
        len = recv(link->fd, data, size, 0);
    while (len < 0 && errno == EINTR);
    if (len == 0)
        link->is_eof = true;
    if (len < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        pv_link_break_errno(link);
    return len > 0 ? (size_t) len : 0;
}

/* All records of what came, as one. Where TLS has something left to do, that goes first: the socket may have no news. */
static size_t
read_tls(struct pv_link *link)
{
    struct pv_link_thread *thread = link->thread;
    enum pv_tls_result result = PV_TLS_OK;
    bool is_left = link->read_wants_write || pv_tls_pending(link->tls) > 0;
    size_t used = 0, len;

    if (!is_left) {
        len = receive_into(link, thread->cipher, sizeof(thread->cipher));
        if (len == 0)
            return 0;
        pv_tls_lend(link->tls, pv_slice_of(thread->cipher, len));
    }
    while (result == PV_TLS_OK && used < PV_LINK_READ_BYTES && (is_left || pv_tls_has_lent(link->tls))) {
        len = 0;
        result = pv_tls_read(link->tls, thread->read + used, PV_LINK_READ_BYTES - used, &len);
        used += len;
    }
    link->read_wants_write = result == PV_TLS_WANT_WRITE;
    if (result == PV_TLS_CLOSED)
        link->is_eof = true;
    if (result == PV_TLS_FAILED)
        pv_link_break(link, pv_tls_error(link->tls));
    if (pv_tls_give_back(link->tls) != PV_OK)
        pv_link_break(link, "out of memory");
    return used;
}

/* Shows the owner the first byte. True when the bytes are to be read as they are. */
static bool
show_first(struct pv_link *link)
{
    uint8_t byte;

    if (link->is_first_seen || link->is_finishing || link->phase != PV_LINK_PLAIN || link->events->first == NULL)
        return true;
    if (recv(link->fd, &byte, 1, MSG_PEEK) != 1)
        return true; /* reading says why */
    link->is_first_seen = true;
    link->events->first(link->context, byte);
    return !link->is_dead && !link->is_finishing && link->phase == PV_LINK_PLAIN;
}

static void
receive(struct pv_link *link)
{
    size_t len;

    if (link->is_eof || link->is_broken || !show_first(link))
        return;
    len = link->phase == PV_LINK_TLS ? read_tls(link)
                                     : receive_into(link, link->thread->read, PV_LINK_READ_BYTES);
    if (link->is_finishing || len == 0)
        return;
    link->events->bytes(link->context, pv_slice_of(link->thread->read, len));
    /* TLS may hold more, for which the socket gives no event. */
    if (!link->is_dead && !link->is_finishing && !link->is_broken && !link->is_paused && link->phase == PV_LINK_TLS &&
        pv_tls_pending(link->tls) > 0)
        poke(link);
}

/* ---- TLS ---- */

static void
handshake(struct pv_link *link)
{
    enum pv_tls_result result = pv_tls_handshake(link->tls);

    link->handshake_wants_write = result == PV_TLS_WANT_WRITE;
    if (result == PV_TLS_WANT_READ || result == PV_TLS_WANT_WRITE)
        return;
    if (result != PV_TLS_OK) {
        pv_link_break(link, result == PV_TLS_FAILED ? pv_tls_error(link->tls) : "closed during the TLS handshake");
        return;
    }
    link->phase = PV_LINK_TLS;
    if (!link->is_finishing)
        link->events->tls(link->context);
    /* The first bytes may have come with the end of the handshake. */
    if (!link->is_dead && !link->is_finishing && !link->is_broken && pv_tls_pending(link->tls) > 0)
        poke(link);
}

enum pv_status
pv_link_start_tls(struct pv_link *link, struct pv_tls_context *context, const char *host)
{
    enum pv_status status;

    if (link->phase != PV_LINK_PLAIN || link->held != NULL)
        return PV_BUSY;
    status = pv_tls_new(context, link->fd, host, &link->tls);
    if (status != PV_OK)
        return status;
    link->phase = PV_LINK_HANDSHAKE;
    /* From the loop: a client's side speaks first, and callbacks do not run in here. */
    poke(link);
    pv_link_arm(link);
    return PV_OK;
}

const struct pv_tls *
pv_link_tls(const struct pv_link *link)
{
    return link->phase == PV_LINK_TLS ? link->tls : NULL;
}

/* ---- Life ---- */

static void
release(struct pv_link *link)
{
    (void) event_del(&link->read_event);
    forget_write_event(link);
    pv_link_give_gather(link);
    pv_tls_free(link->tls);
    (void) close(link->fd);
    pv_link_drop_held(link);
    pv_free(link->words);
    link->thread->link_count--;
    pv_free(link);
}

void
pv_link_free(struct pv_link *link)
{
    if (link == NULL)
        return;
    if (link->depth > 0) {
        link->is_dead = true;
        link->is_finishing = true;
        return;
    }
    release(link);
}

/* What follows an event: an owner that has to hear of the end, a closing link's next step, the events to wait for. */
static void
settle(struct pv_link *link)
{
    if (!link->is_dead && !link->is_finishing && (link->is_broken || link->is_eof))
        tell_eof(link);
    if (!link->is_dead && link->is_finishing)
        proceed(link);
    link->depth--;
    if (link->depth > 0)
        return;
    if (link->is_dead)
        release(link);
    else
        pv_link_arm(link);
}

static void
on_readable(evutil_socket_t fd, short what, void *context)
{
    struct pv_link *link = context;

    (void) fd;
    link->depth++;
    if ((what & EV_TIMEOUT) != 0) {
        link->is_read_armed = false;
        /* Silence for as long as we linger. The loop's clock may be a little behind ours: this is its word. */
        if (link->is_shut)
            link->finish_by_us = 0;
    } else if (link->phase == PV_LINK_HANDSHAKE && !link->is_broken) {
        handshake(link);
    } else {
        if (link->write_wants_read)
            pv_link_send_held(link);
        if (!link->is_dead && (!link->is_paused || link->is_finishing))
            receive(link);
    }
    settle(link);
}

static void
on_writable(evutil_socket_t fd, short what, void *context)
{
    struct pv_link *link = context;

    (void) fd;
    link->depth++;
    if ((what & EV_TIMEOUT) != 0) {
        link->is_write_armed = false;
    } else if (link->phase == PV_LINK_HANDSHAKE && !link->is_broken) {
        handshake(link);
    } else {
        if (link->read_wants_write && !link->is_paused)
            receive(link);
        if (!link->is_dead)
            pv_link_send_held(link);
    }
    settle(link);
}

static enum pv_status
assign(struct pv_link *link)
{
    struct event_base *base = pv_loop_base(link->thread->loop);

    if (event_assign(&link->read_event, base, link->fd, EV_READ | EV_PERSIST, on_readable, link) != 0)
        return PV_NOMEM;
    pv_link_arm(link);
    return link->is_paused || link->is_read_armed ? PV_OK : PV_NOMEM;
}

enum pv_status
pv_link_open(struct pv_link_thread *thread, int fd, bool is_paused, const struct pv_link_events *events, void *context,
             struct pv_link **link)
{
    struct pv_link *opened = pv_calloc(1, sizeof(*opened));

    if (opened == NULL)
        return PV_NOMEM;
    opened->thread = thread;
    opened->fd = fd;
    opened->events = events;
    opened->context = context;
    opened->is_paused = is_paused;
    if (assign(opened) != PV_OK) {
        pv_free(opened);
        return PV_NOMEM;
    }
    thread->link_count++;
    *link = opened;
    return PV_OK;
}

bool
pv_link_may_leave(const struct pv_link *link)
{
    return link->depth == 0 && link->gather == NULL && link->held == NULL &&
           link->phase != PV_LINK_HANDSHAKE && !link->is_finishing && !link->is_broken && !link->is_eof;
}

void
pv_link_leave(struct pv_link *link)
{
    pv_assert(pv_link_may_leave(link));
    (void) event_del(&link->read_event);
    forget_write_event(link);
    link->is_read_armed = false;
    link->thread->link_count--;
    link->thread = NULL;
}

enum pv_status
pv_link_join(struct pv_link *link, struct pv_link_thread *thread)
{
    enum pv_status status;

    link->thread = thread;
    thread->link_count++;
    status = assign(link);
    /* What came in between: the socket says so by itself, what TLS holds does not, and neither does a broken link. */
    if (status == PV_OK && (link->is_broken || (link->phase == PV_LINK_TLS && pv_tls_pending(link->tls) > 0)))
        poke(link);
    return status;
}

void
pv_link_set_owner(struct pv_link *link, const struct pv_link_events *events, void *context)
{
    link->events = events;
    link->context = context;
}

void
pv_link_pause(struct pv_link *link, bool is_paused)
{
    if (link->is_paused == is_paused)
        return;
    link->is_paused = is_paused;
    if (!is_paused && link->phase == PV_LINK_TLS && pv_tls_pending(link->tls) > 0)
        poke(link);
    pv_link_arm(link);
}

bool
pv_link_has_unread(const struct pv_link *link)
{
    int len = 0;

    if (link->phase == PV_LINK_TLS && pv_tls_pending(link->tls) > 0)
        return true;
    return ioctl(link->fd, FIONREAD, &len) == 0 && len > 0;
}

/* The next step of a closing link, from the loop or from pv_link_finish. Marks it dead when there is none. */
static void
proceed(struct pv_link *link)
{
    if (link->is_broken || link->phase == PV_LINK_HANDSHAKE || pv_now_us() > link->finish_by_us) {
        link->is_dead = true;
        return;
    }
    if (link->held != NULL)
        return;
    if (!link->is_shut) {
        link->is_shut = true;
        link->finish_by_us = pv_now_us() + LINGER_MS * 1000;
        /* One try: a peer that takes not even this gets the FIN alone. */
        if (link->phase == PV_LINK_TLS && pv_tls_shutdown(link->tls) == PV_TLS_FAILED)
            link->is_lingering = false;
        (void) shutdown(link->fd, SHUT_WR);
    }
    if (!link->is_lingering || link->is_eof)
        link->is_dead = true;
}

void
pv_link_finish(struct pv_link *link, bool is_lingering)
{
    if (link->is_finishing)
        return;
    pv_link_flush(link);
    link->is_finishing = true;
    link->is_lingering = is_lingering;
    link->finish_by_us = pv_now_us() + PV_LINK_FINISH_MS * 1000;
    proceed(link);
    if (link->depth > 0)
        return;
    if (link->is_dead)
        release(link);
    else
        pv_link_arm(link);
}
