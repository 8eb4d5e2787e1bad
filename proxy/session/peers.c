/*
 * The user's own sessions in this room, as pg_stat_activity lists them and pg_cancel_backend reaches them. They live on
 * other threads, so a statement that speaks of them waits until they have been looked at.
 *  1. Looked at for one message, they are forgotten as news when that message is done; the next one looks again.
 *  2. A signal goes to a session of the last look and to no other, whatever the server says.
 */
#include "proxy/session/session_int.h"

#include <stdlib.h>
#include <string.h>

bool
pv_peers_are_due(struct pv_session *s, const struct pv_judged *judged)
{
    bool is_wanted = false;

    for (size_t i = 0; i < judged->count; i++)
        is_wanted |= judged->decisions[i].is_allowed && judged->decisions[i].is_of_peers;
    if (!is_wanted || s->are_peers_fresh || s->host->ask_peers == NULL)
        return false;
    if (s->is_asking_peers)
        return true;
    if (s->host->ask_peers(s->host_context, s->room_name, s->user, s->service == NULL ? s->login_user : NULL) != PV_OK) {
        pv_session_fail(s, PV_NOMEM);
        return false;
    }
    s->is_asking_peers = true;
    return true;
}

bool
pv_peers_take(struct pv_session *s, const struct pv_peer *peers, size_t count)
{
    struct pv_arena *arena = pv_arena_new(512);
    struct pv_peer *copies = arena == NULL ? NULL : pv_arena_alloc(arena, (count + 1) * sizeof(*copies));
    bool is_whole = copies != NULL;

    for (size_t i = 0; i < count && is_whole; i++) {
        copies[i] = peers[i];
        copies[i].user = pv_arena_strdup(arena, peers[i].user);
        copies[i].application = pv_arena_strdup(arena, peers[i].application);
        copies[i].query = pv_arena_strdup(arena, peers[i].query);
        is_whole = copies[i].user != NULL && copies[i].application != NULL && copies[i].query != NULL;
    }
    if (!is_whole) {
        pv_arena_free(arena);
        return false;
    }
    pv_arena_free(s->peers_arena);
    s->peers_arena = arena;
    s->peers.list = copies;
    s->peers.count = count;
    s->peers.own = s->id;
    return true;
}

/* `pgveil: cancel N` or `pgveil: end N`, said by the function that stands in for pg_cancel_backend and its kin. */
void
pv_peers_signal(struct pv_session *s, struct pv_slice message)
{
    static const char cancel[] = "pgveil: cancel ", end[] = "pgveil: end ";
    bool is_end = message.len > sizeof(end) - 1 && memcmp(message.data, end, sizeof(end) - 1) == 0;
    size_t head = is_end ? sizeof(end) - 1 : sizeof(cancel) - 1;
    char digits[16];

    if (message.len <= head || message.len - head >= sizeof(digits) ||
        (!is_end && memcmp(message.data, cancel, sizeof(cancel) - 1) != 0) || s->host->signal_peer == NULL)
        return;
    memcpy(digits, message.data + head, message.len - head);
    digits[message.len - head] = '\0';
    for (size_t i = 0; i < s->peers.count; i++)
        if (s->peers.list[i].pid == strtoul(digits, NULL, 10) && s->peers.list[i].session != s->id)
            s->host->signal_peer(s->host_context, s->peers.list[i].session, is_end);
}
