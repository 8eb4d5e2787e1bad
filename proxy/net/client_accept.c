/*
 * A client's beginning: whether there is room for it, and who is told so.
 */
#include "proxy/base/log.h"
#include "proxy/net/client_int.h"

#include <netdb.h>
#include <stdio.h>

/* Connections above limits.clients that are let in as far as a proper refusal, cancels among them; beyond:
 * refused before anything is read of them, as are those that would take the last descriptors. */
#define REFUSALS_AT_ONCE 100u
/* That clients are refused is said no more often than this. */
#define COMPLAINT_US 10000000

static void
describe_peer(struct pv_client *client, const struct sockaddr_storage *peer, char *printable, size_t size)
{
    char host[64], port[8] = "";
    socklen_t len = peer->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    client->is_unix = peer->ss_family != AF_INET && peer->ss_family != AF_INET6;
    if (client->is_unix || getnameinfo((const struct sockaddr *) peer, len, host, sizeof(host), port, sizeof(port),
                                       NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        (void) snprintf(printable, size, "[local]");
    else if (peer->ss_family == AF_INET6)
        (void) snprintf(printable, size, "[%s]:%s", host, port);
    else
        (void) snprintf(printable, size, "%s:%s", host, port);
}

static enum pv_status
set_up(struct pv_client *client, int fd, const char *printable)
{
    struct pv_worker *worker = client->worker;
    const struct pv_session_env *env = &worker->env[pv_world_server_tls(worker->world) != NULL];
    enum pv_status status;

    client->session = pv_session_new(env, pv_world_policy(worker->world), pv_world_standing(worker->world), client, client->hooks.id, printable,
                                     client->is_unix, pv_now_us());
    if (client->session == NULL)
        return PV_NOMEM;
    status = pv_worker_add(worker, client);
    if (status != PV_OK)
        return status;
    status = pv_link_open(worker->links, fd, false, &pv_client_link_events, client, &client->link);
    if (status != PV_OK)
        pv_worker_remove(worker, client);
    return status;
}

/* The kernel gives the lowest number that is free, so all below this socket's are in use. */
static bool
is_scarce(struct pv_worker *worker, int fd)
{
    int64_t now_us = pv_now_us();

    if (fd < worker->net->descriptors_max)
        return false;
    if (now_us - worker->complained_us >= COMPLAINT_US) {
        pv_log(PV_LOG_WARNING, "clients are refused: %d open files are in use, and the rest is kept; raise the limit", fd);
        worker->complained_us = now_us;
    }
    return true;
}

void
pv_client_accept(struct pv_worker *worker, int fd, const struct sockaddr_storage *peer)
{
    struct pv_net *net = worker->net;
    uint32_t clients_max = pv_world_policy(worker->world)->config.clients_max;
    uint32_t count = atomic_fetch_add(&net->client_count, 1) + 1;
    struct pv_client *client = NULL;
    bool is_over_limit = count > clients_max || is_scarce(worker, fd);
    char printable[96];

    PV_COUNT(&worker->counters, connections, 1);
    if (worker->is_draining || (count > clients_max && count - clients_max > REFUSALS_AT_ONCE) ||
        fd >= net->descriptors_end || (client = pv_calloc(1, sizeof(*client))) == NULL)
        goto refuse;
    client->worker = worker;
    worker->now_us = pv_now_us();
    client->hooks.id = atomic_fetch_add(&net->session_next, 1);
    client->stall_at_us = INT64_MAX;
    pv_due_init(&client->due);
    client->is_over_limit = is_over_limit;
    describe_peer(client, peer, printable, sizeof(printable));
    if (set_up(client, fd, printable) != PV_OK)
        goto refuse;
    PV_COUNT(&worker->counters, sessions, 1);
    pv_client_leave(client);
    return;
refuse:
    PV_COUNT(&worker->counters, refused, 1);
    (void) atomic_fetch_sub(&net->client_count, 1);
    if (client != NULL)
        pv_session_free(client->session);
    pv_free(client);
    if (worker->is_draining)
        pv_socket_refuse(fd, "57P03", "the database system is shutting down");
    else
        pv_socket_refuse(fd, is_over_limit ? "53300" : "53200",
                         is_over_limit ? "sorry, too many clients already" : "out of memory");
}
