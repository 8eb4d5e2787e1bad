#include "proxy/net/dial.h"

#include "proxy/base/bytes.h"
#include "proxy/crypto/tls.h"
#include "proxy/net/loop.h"
#include "proxy/wire/message.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_DEFAULT_MS 10000u

struct pv_dial {
    struct pv_link_thread *thread;
    struct pv_loop *loop;
    const struct pv_dial_events *events;
    void *context;
    struct pv_address address;
    struct pv_tls_context *tls;
    char *host;
    int fd;
    struct event *connecting;
    struct pv_link *link;
    struct pv_task *timeout, *next; /* `next`: begin, from the loop */
};

void
pv_dial_free(struct pv_dial *dial)
{
    if (dial == NULL)
        return;
    if (dial->connecting != NULL)
        event_free(dial->connecting);
    if (dial->fd >= 0)
        (void) close(dial->fd);
    pv_link_free(dial->link);
    pv_task_free(dial->timeout);
    pv_task_free(dial->next);
    pv_tls_context_unref(dial->tls);
    pv_free(dial->host);
    pv_free(dial);
}

static void
fail(struct pv_dial *dial, const char *words)
{
    char kept[160];
    const struct pv_dial_events *events = dial->events;
    void *context = dial->context;

    (void) snprintf(kept, sizeof(kept), "%s", words);
    pv_dial_free(dial);
    events->failed(context, kept);
}

static void
succeed(struct pv_dial *dial)
{
    const struct pv_dial_events *events = dial->events;
    void *context = dial->context;
    struct pv_link *link = dial->link;

    dial->link = NULL;
    pv_dial_free(dial);
    events->up(context, link);
}

static void
on_timeout(void *context)
{
    fail(context, "timeout expired");
}

/* ---- After the connection stands: SSLRequest ---- */

static void
on_bytes(void *context, struct pv_slice bytes)
{
    struct pv_dial *dial = context;

    /* More than the one byte would be plain text that somebody wants to be taken for the TLS stream's. */
    if (bytes.len != 1) {
        fail(dial, "the server sent data before TLS began");
    } else if (bytes.data[0] != 'S') {
        fail(dial,
             bytes.data[0] == 'N' ? "the server does not offer TLS" : "the server's answer to SSLRequest is none");
    } else {
        enum pv_status status = pv_link_start_tls(dial->link, dial->tls, dial->host);

        if (status != PV_OK)
            fail(dial, pv_status_words(status));
    }
}

static void
on_eof(void *context, const char *words)
{
    fail(context, words != NULL ? words : "the server closed the connection");
}

static void
on_tls(void *context)
{
    succeed(context);
}

static const struct pv_link_events link_events = {.bytes = on_bytes, .eof = on_eof, .tls = on_tls};

static void
connected(struct pv_dial *dial)
{
    bool is_tcp = dial->address.storage.ss_family != AF_UNIX;
    struct pv_buf request = {0};

    pv_socket_prepare(dial->fd, is_tcp);
    if (pv_link_open(dial->thread, dial->fd, false, &link_events, dial, &dial->link) != PV_OK) {
        fail(dial, "out of memory");
        return;
    }
    dial->fd = -1;
    if (dial->tls == NULL || !is_tcp) {
        succeed(dial);
        return;
    }
    if (pv_msg_ssl_request_write(&request) != PV_OK) {
        fail(dial, "out of memory");
        return;
    }
    pv_link_gather(dial->link, pv_buf_slice(&request));
    pv_link_flush(dial->link);
    pv_buf_clear(&request);
}

/* ---- Connecting ---- */

static void
on_connect(evutil_socket_t fd, short what, void *context)
{
    struct pv_dial *dial = context;
    int error = 0;
    socklen_t len = sizeof(error);

    (void) what;
    event_free(dial->connecting);
    dial->connecting = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error != 0)
        fail(dial, strerror(error));
    else
        connected(dial);
}

static void
begin(void *context)
{
    struct pv_dial *dial = context;
    const struct pv_address *address = &dial->address;

    pv_task_free(dial->next);
    dial->next = NULL;
    dial->fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (dial->fd < 0) {
        fail(dial, strerror(errno));
        return;
    }
    if (connect(dial->fd, (const struct sockaddr *) &address->storage, address->len) == 0) {
        connected(dial);
        return;
    }
    /* A Unix socket whose queue is full says EAGAIN and would never become writable: that is a refusal. */
    if (errno != EINPROGRESS) {
        fail(dial, strerror(errno));
        return;
    }
    dial->connecting = event_new(pv_loop_base(dial->loop), dial->fd, EV_WRITE, on_connect, dial);
    if (dial->connecting == NULL || event_add(dial->connecting, NULL) != 0)
        fail(dial, "out of memory");
}

enum pv_status
pv_dial_start(struct pv_link_thread *thread, struct pv_loop *loop, const struct pv_dial_options *options,
              const struct pv_dial_events *events, void *context, struct pv_dial **dial)
{
    struct pv_dial *started = pv_calloc(1, sizeof(*started));
    uint64_t timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : TIMEOUT_DEFAULT_MS;

    if (started == NULL)
        return PV_NOMEM;
    started->fd = -1;
    started->thread = thread;
    started->loop = loop;
    started->events = events;
    started->context = context;
    started->address = *options->address;
    started->tls = options->tls != NULL ? pv_tls_context_ref(options->tls) : NULL;
    started->host = pv_strdup(options->host);
    started->timeout = pv_loop_once(loop, timeout_ms, on_timeout, started);
    started->next = pv_loop_once(loop, 0, begin, started);
    if (started->host == NULL || started->timeout == NULL || started->next == NULL) {
        pv_dial_free(started);
        return PV_NOMEM;
    }
    *dial = started;
    return PV_OK;
}
