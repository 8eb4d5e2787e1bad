/*
 * What a session engine asks of its host, within one of its calls: bytes are gathered,
 * records queued, everything else noted for pv_client's leave.
 */
#include "proxy/base/log.h"
#include "proxy/crypto/mac.h"
#include "proxy/net/client_int.h"
#include "proxy/wire/message.h"

#include <stdio.h>
#include <string.h>

static void
host_to_client(void *context, struct pv_slice bytes)
{
    struct pv_client *client = context;

    /* The refusal comes in place of the first thing a startup packet is answered with, so that it can be read. */
    if (client->is_over_limit && bytes.len > 0 &&
        (bytes.data[0] == PV_SERVER_AUTHENTICATION || bytes.data[0] == PV_SERVER_NEGOTIATE_PROTOCOL_VERSION)) {
        client->wants_refusal = true;
        return;
    }
    pv_link_gather(client->link, bytes);
}

static void
host_to_server(void *context, struct pv_slice bytes)
{
    struct pv_client *client = context;

    if (client->server_link != NULL)
        pv_link_gather(client->server_link, bytes);
}

static void
host_start_tls(void *context)
{
    ((struct pv_client *) context)->wants_tls = true;
}

static void
host_open_server(void *context, const struct pv_room *room)
{
    (void) room; /* the session knows it */
    ((struct pv_client *) context)->wants_server = true;
}

static void
host_cancel_server(void *context)
{
    ((struct pv_client *) context)->wants_cancel = true;
}

/* The peer's address without its port. */
static void
find_source(const struct pv_client *client, char source[64])
{
    struct pv_session_glance glance;
    char *port;

    pv_session_look(client->session, &glance);
    (void) snprintf(source, 64, "%s", glance.client);
    port = client->is_unix ? NULL : strrchr(source, ':');
    if (port != NULL)
        *port = '\0';
}

static void
host_cancel_request(void *context, uint32_t pid, struct pv_slice key)
{
    struct pv_client *client = context;
    struct pv_net *net = client->worker->net;
    char source[64];
    unsigned worker;
    uint64_t session;
    enum pv_status status;

    find_source(client, source);
    status = pv_cancel_map_find(net->cancels, pid, key, source, pv_now_us(), &worker, &session);
    if (status == PV_OK) {
        PV_COUNT(&client->worker->counters, cancels, 1);
        pv_worker_cancel(net, worker, session);
    } else {
        PV_COUNT(&client->worker->counters, cancels_refused, 1);
    }
}

static void
host_register_key(void *context, uint32_t pid, struct pv_slice key)
{
    struct pv_client *client = context;
    struct pv_worker *worker = client->worker;
    enum pv_status status = pv_cancel_map_put(worker->net->cancels, pid, key, worker->index, client->hooks.id);

    client->rests_next = true; /* logged in: most clients do not ask at once */
    if (status == PV_OK)
        client->cancel_pid = pid;
    else
        pv_log(PV_LOG_WARNING, "session %llu cannot be cancelled by its client: %s",
               (unsigned long long) client->hooks.id, pv_status_words(status));
}

void
pv_client_under_way(struct pv_client *client, bool is_under_way)
{
    if (is_under_way && !client->is_under_way)
        client->worker->under_way_count++;
    if (!is_under_way && client->is_under_way)
        client->worker->under_way_count--;
    client->is_under_way = is_under_way;
}

static enum pv_status
host_record(void *context, const struct pv_record *record, uint64_t *ticket)
{
    struct pv_client *client = context;
    struct pv_worker *worker = client->worker;
    enum pv_status status = pv_journal_put(worker->net->options.journal, record, worker->port,
                                           (void *) (uintptr_t) client->hooks.id, ticket);

    pv_counters_record(&worker->counters, record);
    if (record->kind == PV_RECORD_END || (record->kind == PV_RECORD_BEGIN && status == PV_OK))
        pv_client_under_way(client, record->kind == PV_RECORD_BEGIN);
    return status;
}

static void
host_random(void *context, void *bytes, size_t len)
{
    bool has_random_bytes = pv_random_bytes(bytes, len) == PV_OK;

    (void) context;
    /* Nonces and keys from zeros would be everybody's: better no process than that one. */
    pv_assert(has_random_bytes);
}

static void
host_pause_client(void *context, bool is_paused)
{
    ((struct pv_client *) context)->is_engine_full = is_paused;
}

static void
host_close(void *context)
{
    ((struct pv_client *) context)->wants_close = true;
}

static enum pv_status
host_audit_ask(void *context, struct pv_ask *ask)
{
    return pv_worker_ask(((struct pv_client *) context)->worker, ask);
}

static enum pv_status
host_ask_peers(void *context, const char *room, const char *user, const char *login)
{
    struct pv_client *client = context;

    return pv_worker_peers(client->worker, client->hooks.id, room, user, login);
}

static void
host_signal_peer(void *context, uint64_t session, bool is_end)
{
    pv_worker_signal(((struct pv_client *) context)->worker->net, session, is_end);
}

static void
host_release_server(void *context)
{
    ((struct pv_client *) context)->wants_release = true;
}

static void
host_pin_server(void *context, bool is_pinned)
{
    struct pv_client *client = context;
    struct pv_counters *counters = &client->worker->counters;

    client->is_pinned = is_pinned;
    if (is_pinned) {
        PV_COUNT(counters, pool_pinned, 1);
        PV_COUNT(counters, pool_pins, 1);
    } else {
        (void) atomic_fetch_sub_explicit(&counters->pool_pinned, 1, memory_order_relaxed);
    }
}

const struct pv_session_host pv_client_host = {
    .to_client = host_to_client,
    .to_server = host_to_server,
    .start_tls = host_start_tls,
    .open_server = host_open_server,
    .cancel_server = host_cancel_server,
    .cancel_request = host_cancel_request,
    .register_key = host_register_key,
    .record = host_record,
    .random = host_random,
    .pause_client = host_pause_client,
    .close = host_close,
    .ask_peers = host_ask_peers,
    .signal_peer = host_signal_peer,
    .audit_ask = host_audit_ask,
    .release_server = host_release_server,
    .pin_server = host_pin_server,
};
