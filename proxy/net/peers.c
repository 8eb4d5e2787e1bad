/*
 * The sessions of one user, for one of them. A look goes from worker to worker, so that nothing is locked, and home.
 * 1. Each worker looks at its own clients alone; the look belongs to whichever worker has it.
 * 2. A look under way when the workers have ended goes nowhere any more.
 */
#include "policy/decide.h"
#include "proxy/base/arena.h"
#include "proxy/net/net_int.h"

#include <string.h>

/* More of one user's sessions are not told of. */
#define PEERS_MAX 1000u
#define PEER_QUERY_BYTES 1024u

struct look {
    struct pv_message message;
    struct pv_worker *worker; /* where it is */
    struct pv_worker *home;
    uint64_t asking;
    struct pv_arena *arena;
    const char *room, *user, *login;
    bool is_short; /* of its own worker alone */
    struct pv_peer *peers;
    size_t count, size;
};

static void
look_free(struct look *look)
{
    pv_arena_free(look->arena);
    pv_free(look->peers);
    pv_free(look);
}

static const char *
state_of(const struct pv_session_glance *glance)
{
    static const char *const words[][2] = {
        {"running", "active"},
        {"idle", "idle"},
        {"in transaction", "idle in transaction"},
        {"in failed transaction", "idle in transaction (aborted)"},
    };

    for (size_t i = 0; i < PV_COUNT_OF(words); i++)
        if (strcmp(words[i][0], glance->state) == 0)
            return words[i][1];
    return NULL;
}

static bool
is_wanted(const struct look *look, const struct pv_session_glance *glance)
{
    const char *login = glance->service == NULL ? glance->user : glance->service;

    return glance->pid != 0 && glance->room != NULL && glance->user != NULL && strcmp(glance->room, look->room) == 0 &&
           (strcmp(glance->user, look->user) == 0 || (look->login != NULL && strcmp(login, look->login) == 0));
}

static void
add(struct look *look, const struct pv_session_glance *glance)
{
    size_t len = glance->query.len < PEER_QUERY_BYTES ? glance->query.len : PEER_QUERY_BYTES;
    const char *state = state_of(glance);
    struct pv_peer *peer;

    if (state == NULL || look->count == PEERS_MAX)
        return;
    if (look->count == look->size) {
        size_t size = look->size == 0 ? 16 : look->size * 2;
        struct pv_peer *grown = pv_realloc(look->peers, size * sizeof(*grown));

        if (grown == NULL)
            return;
        look->peers = grown;
        look->size = size;
    }
    while (len > 0 && len < glance->query.len && (glance->query.data[len] & 0xC0u) == 0x80u)
        len--;
    peer = &look->peers[look->count];
    *peer = (struct pv_peer){.session = glance->id,
                             .pid = glance->pid,
                             .user = pv_arena_strdup(look->arena, glance->user),
                             .application = pv_arena_strdup(look->arena, glance->application == NULL ? "" : glance->application),
                             .state = state,
                             .query = pv_arena_strndup(look->arena, (const char *) glance->query.data, len),
                             .started_us = glance->started_us,
                             .query_us = glance->query_us};
    /* One that finds no memory is left out. */
    if (peer->user != NULL && peer->application != NULL && peer->query != NULL)
        look->count++;
}

static void
come_home(struct pv_message *message)
{
    struct look *look = (struct look *) message;
    struct pv_client *client = pv_worker_find(look->home, look->asking);

    if (client != NULL)
        pv_client_peers(client, look->peers, look->count);
    look_free(look);
}

static void
visit(struct pv_message *message)
{
    struct look *look = (struct look *) message;
    struct pv_net *net = look->worker->net;
    unsigned next = look->worker->index + 1;

    if (atomic_load(&net->running) == 0) {
        look_free(look);
        return;
    }
    for (struct pv_client *at = look->worker->clients; at != NULL; at = pv_client_next(at)) {
        struct pv_session_glance glance;

        pv_client_look(at, &glance);
        if (is_wanted(look, &glance))
            add(look, &glance);
    }
    if (next < net->worker_count && !look->is_short) {
        look->worker = &net->workers[next];
    } else {
        look->worker = look->home;
        look->message.deliver = come_home;
    }
    pv_loop_post(look->worker->loop, &look->message);
}

enum pv_status
pv_worker_peers(struct pv_worker *worker, uint64_t asking, const char *room, const char *user, const char *login)
{
    struct look *look = pv_calloc(1, sizeof(*look));

    if (look == NULL)
        return PV_NOMEM;
    look->message.deliver = visit;
    look->home = worker;
    /* While workers end one by one, those that have gone would keep it. */
    look->is_short = worker->is_draining;
    look->worker = look->is_short ? worker : &worker->net->workers[0];
    look->asking = asking;
    look->arena = pv_arena_new(512);
    look->room = look->arena == NULL ? NULL : pv_arena_strdup(look->arena, room);
    look->user = look->room == NULL ? NULL : pv_arena_strdup(look->arena, user);
    look->login = login == NULL || look->user == NULL ? NULL : pv_arena_strdup(look->arena, login);
    if (look->user == NULL || (login != NULL && look->login == NULL)) {
        look_free(look);
        return PV_NOMEM;
    }
    pv_loop_post(look->worker->loop, &look->message);
    return PV_OK;
}
