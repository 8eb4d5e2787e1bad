#include "proxy/net/server_int.h"

#include "proxy/base/bytes.h"
#include "proxy/base/log.h"
#include "proxy/crypto/mac.h"
#include "proxy/net/loop.h"

#include <string.h>

/* A cancel that takes longer than this is given up: the statement then ends by itself. */
#define CANCEL_TIMEOUT_MS 10000u

struct pv_server_cancel {
    struct pv_server_thread *thread;
    void (*done)(void *context);
    void *context;
    struct pv_link *link;
    struct pv_task *timeout;
    uint32_t pid;
    size_t key_len;
    uint8_t key[PV_CANCEL_KEY_BYTES_MAX];
};

static void
cancel_end(struct pv_server_cancel *cancel)
{
    void (*done)(void *) = cancel->done;
    void *context = cancel->context;

    pv_link_free(cancel->link);
    pv_task_free(cancel->timeout);
    pv_wipe(cancel->key, sizeof(cancel->key));
    cancel->thread->cancel_count--;
    pv_free(cancel);
    if (done != NULL)
        done(context);
}

static void
on_cancel_bytes(void *context, struct pv_slice bytes)
{
    (void) context; /* the protocol has no answer to a cancel; whatever this is, its end follows */
    (void) bytes;
}

static void
on_cancel_eof(void *context, const char *words)
{
    (void) words;
    cancel_end(context);
}

static void
on_cancel_tls(void *context)
{
    (void) context; /* the dial has done that */
}

static const struct pv_link_events cancel_link_events = {.bytes = on_cancel_bytes, .eof = on_cancel_eof, .tls = on_cancel_tls};

static void
on_cancel_timeout(void *context)
{
    pv_log(PV_LOG_WARNING, "a cancel request got no answer from the database");
    cancel_end(context);
}

static void
on_cancel_up(void *context, struct pv_link *link)
{
    struct pv_server_cancel *cancel = context;
    const struct pv_msg_cancel message = {cancel->pid, pv_slice_of(cancel->key, cancel->key_len)};
    struct pv_buf out = {0};

    cancel->link = link;
    pv_link_set_owner(link, &cancel_link_events, cancel);
    cancel->timeout = pv_loop_once(cancel->thread->loop, CANCEL_TIMEOUT_MS, on_cancel_timeout, cancel);
    if (cancel->timeout == NULL || pv_msg_cancel_write(&out, &message) != PV_OK) {
        pv_buf_wipe(&out);
        cancel_end(cancel);
        return;
    }
    pv_link_gather(link, pv_buf_slice(&out));
    pv_link_flush(link);
    pv_buf_wipe(&out);
}

static void
on_cancel_failed(void *context, const char *words)
{
    pv_log(PV_LOG_WARNING, "a cancel request did not reach the database: %s", words);
    cancel_end(context);
}

static const struct pv_dial_events cancel_dial_events = {.up = on_cancel_up, .failed = on_cancel_failed};

enum pv_status
pv_server_cancel_start(struct pv_server *server, void (*done)(void *context), void *context,
                       struct pv_server_cancel **cancel)
{
    const struct pv_dial_options options = {
        .address = &server->address,
        .tls = server->tls,
        .host = server->host,
        .timeout_ms = CANCEL_TIMEOUT_MS,
    };
    struct pv_server_cancel *started;
    struct pv_dial *dial; /* ends in one of its callbacks */
    enum pv_status status;

    pv_assert(server->is_open);
    if (server->key == NULL)
        return PV_NOTFOUND;
    started = pv_calloc(1, sizeof(*started));
    if (started == NULL)
        return PV_NOMEM;
    started->thread = server->thread;
    started->done = done;
    started->context = context;
    started->pid = server->pid;
    started->key_len = server->key->len;
    memcpy(started->key, server->key->bytes, server->key->len);
    status = pv_dial_start(server->thread->links, server->thread->loop, &options, &cancel_dial_events, started, &dial);
    if (status != PV_OK) {
        pv_wipe(started->key, sizeof(started->key));
        pv_free(started);
        return status;
    }
    server->thread->cancel_count++;
    *cancel = started;
    return PV_OK;
}

void
pv_server_cancel_forget(struct pv_server_cancel *cancel)
{
    if (cancel != NULL)
        cancel->done = NULL;
}
