/*
 * The way of one connection through its upstream's servers, until one of them can be had and is what was asked for.
 *
 * Whether a server is a standby is seen in what each session is told at its start. Whether its sessions are read-only by
 * default is hidden there by our own pin, and by a setting of the room's role: for read-write and read-only a login of
 * the upstream's own user, which ends before it said anything, is told, and it is remembered for a while.
 */
#include "proxy/net/server_int.h"

#include "proxy/base/log.h"
#include "proxy/crypto/mac.h"

#include <stdio.h>
#include <string.h>

static void
forget_password(struct pv_way *way)
{
    if (way->password != NULL)
        pv_wipe(way->password, strlen(way->password));
    pv_free(way->password);
    way->password = NULL;
    way->is_probe = false;
}

enum pv_status
pv_way_new(struct pv_server *server, const struct pv_lookup_answer *answer)
{
    struct pv_way *way = pv_calloc(1, sizeof(*way));

    if (way == NULL)
        return PV_NOMEM;
    way->choice = pv_choice_new(server->thread->hosts, server->room->upstream, answer->candidates,
                                answer->candidate_count);
    if (way->choice == NULL) {
        pv_free(way);
        return PV_NOMEM;
    }
    way->has_failed = answer->words[0] != '\0';
    (void) snprintf(way->words, sizeof(way->words), "%s", answer->words);
    server->way = way;
    return PV_OK;
}

void
pv_way_free(struct pv_server *server)
{
    if (server->way == NULL)
        return;
    forget_password(server->way);
    pv_choice_free(server->way->choice);
    pv_free(server->way);
    server->way = NULL;
}

/* ---- The one at hand ---- */

const struct pv_upstream_host *
pv_way_host(const struct pv_server *server)
{
    return &server->room->upstream->hosts[server->way->candidate->host];
}

static bool
is_one_of_several(const struct pv_server *server)
{
    return server->room->upstream->host_count > 1 || pv_choice_count(server->way->choice) > 1;
}

static void
describe(const struct pv_server *server, char *text, size_t size)
{
    const struct pv_upstream_host *host = pv_way_host(server);
    char address[PV_ADDRESS_TEXT_SIZE];

    pv_address_print(&server->way->candidate->address, address);
    if (address[0] == '\0' || strcmp(address, host->name) == 0)
        (void) snprintf(text, size, "host %s port %u", host->name, host->port);
    else
        (void) snprintf(text, size, "host %s (%s) port %u", host->name, address, host->port);
}

const char *
pv_way_words(struct pv_server *server, const char *why)
{
    struct pv_way *way = server->way;
    size_t len = strlen(way->words);
    char host[384] = "";

    if (is_one_of_several(server))
        describe(server, host, sizeof(host));
    (void) snprintf(way->words + len, sizeof(way->words) - len, "%s%s%s%s", len > 0 ? "; " : "", host,
                    host[0] != '\0' ? ": " : "", why);
    return way->words;
}

/* What is found out of one of several is said when it is news, not at each connect. */
static void
note(struct pv_server *server, enum pv_host_state state, const char *words)
{
    char host[384];

    if (!pv_choice_note(server->way->choice, state) || !is_one_of_several(server))
        return;
    describe(server, host, sizeof(host));
    pv_log(PV_LOG_INFO, "upstream \"%s\": %s: %s", server->room->upstream->name, host, words);
}

void
pv_way_give_up(struct pv_server *server, enum pv_host_state state, const char *why)
{
    char kept[256];

    (void) snprintf(kept, sizeof(kept), "%s", why); /* they may be the login's */
    pv_server_drop_attempt(server);
    forget_password(server->way);
    (void) pv_way_words(server, kept);
    server->way->has_failed = server->way->has_failed || state == PV_HOST_FAILED;
    note(server, state, kept);
    pv_way_next(server);
}

static void
on_dial_up(void *context, struct pv_link *link)
{
    struct pv_server *server = context;

    server->dial = NULL;
    pv_server_up(server, link);
}

static void
on_dial_failed(void *context, const char *words)
{
    struct pv_server *server = context;

    server->dial = NULL;
    pv_way_give_up(server, PV_HOST_FAILED, words);
}

static const struct pv_dial_events dial_events = {.up = on_dial_up, .failed = on_dial_failed};

static void
dial(struct pv_server *server)
{
    const struct pv_dial_options options = {
        .address = &server->way->candidate->address,
        .tls = pv_world_upstream_tls(server->world, server->room->upstream),
        .host = pv_way_host(server)->name,
        .timeout_ms = server->room->upstream->connect_timeout_ms,
    };

    if (pv_dial_start(server->thread->links, server->thread->loop, &options, &dial_events, server, &server->dial) !=
        PV_OK)
        pv_server_fail_nomem(server);
}

static bool
is_on(const struct pv_backend_login *login, const char *name, bool *is_there)
{
    for (size_t i = 0; i < pv_backend_parameter_count(login); i++)
        if (strcmp(pv_backend_parameter_name(login, i), name) == 0) {
            *is_there = true;
            return strcmp(pv_backend_parameter_value(login, i), "on") == 0;
        }
    return false;
}

bool
pv_way_is_match(struct pv_server *server)
{
    struct pv_way *way = server->way;
    struct pv_server_kind *kind = &way->kind;
    bool has_default = false;
    const char *why;

    kind->is_standby = is_on(server->login, "in_hot_standby", &kind->is_known);
    if (way->is_probe) {
        kind->is_read_only = is_on(server->login, "default_transaction_read_only", &has_default);
        if (has_default)
            pv_hosts_note_default(server->thread->hosts, &way->candidate->address, kind->is_read_only);
    }
    why = pv_hosts_mismatch(way->wanted, kind);
    if (why == NULL && !way->is_probe) {
        note(server, PV_HOST_GOOD, "serves");
        return true;
    }
    pv_server_goodbye(server);
    if (why != NULL) {
        pv_way_give_up(server, PV_HOST_MISMATCH, why);
        return false;
    }
    pv_server_drop_attempt(server);
    forget_password(way);
    dial(server);
    return false;
}

/* ---- The next one ---- */

void
pv_way_skip_probe(struct pv_server *server, const char *why)
{
    char host[384];

    describe(server, host, sizeof(host));
    pv_log(PV_LOG_WARNING,
           "upstream \"%s\": %s: whether sessions are read-only by default could not be asked (%s); what counts is"
           " whether it is a standby",
           server->room->upstream->name, host, why);
    pv_hosts_note_default(server->thread->hosts, &server->way->candidate->address, false);
    pv_server_drop_attempt(server);
    forget_password(server->way);
    dial(server);
}

static void
on_probe_login(void *context, struct pv_lookup_answer *answer)
{
    struct pv_server *server = context;

    server->request = NULL;
    if (answer->status != PV_OK) {
        pv_way_skip_probe(server, answer->words[0] != '\0' ? answer->words : pv_status_words(answer->status));
        return;
    }
    if (answer->password[0] != '\0' && (server->way->password = pv_strdup(answer->password)) == NULL) {
        pv_server_fail_nomem(server);
        return;
    }
    server->way->is_probe = true;
    dial(server);
}

void
pv_way_next(struct pv_server *server)
{
    struct pv_way *way = server->way;

    way->candidate = pv_choice_next(way->choice, &way->wanted);
    if (way->candidate == NULL) {
        pv_server_fail(server, way->has_failed ? PV_SERVER_AWAY : PV_SERVER_NO_MATCH, way->words);
        return;
    }
    memset(&way->kind, 0, sizeof(way->kind));
    if ((way->wanted != PV_ATTRS_READ_WRITE && way->wanted != PV_ATTRS_READ_ONLY) ||
        pv_hosts_default(server->thread->hosts, &way->candidate->address, &way->kind.is_read_only))
        dial(server);
    else if (pv_lookup_start(server->thread->lookup, server->thread->loop, server->room->upstream, server->room->name,
                             true, false, on_probe_login, server, &server->request) != PV_OK)
        pv_server_fail_nomem(server);
}
