/*
 * The host of one session engine. Holds these:
 *  1. The engine is entered from the loop alone, through enter and pv_client_leave, never from within one of its own calls.
 *     What the engine asks for in a call is noted and done in pv_client_leave, after its bytes went out.
 *  2. After pv_client_leave the client may be gone: nothing touches it any more.
 *  3. A slow client stops the reading of its server and a slow server that of its client. When both are stopped and
 *     the client has more to say, it may be waiting for us to take that before it reads: then its server is
 *     read on, a step at a time, up to PV_LINK_HELD_BYTES_MAX, where 53400 ends the session.
 *  4. A server connection that a session still has at its end is closed with it, or made as new (DISCARD ALL) for
 *     another one, when every reply has come and no transaction is open; if a statement may be running there, it is
 *     cancelled first.
 */
#include "proxy/base/log.h"
#include "proxy/crypto/tls.h"
#include "proxy/net/client_int.h"
#include "proxy/session/side.h"
#include "proxy/wire/frame.h"

#include <string.h>

/* A standstill of both sides is looked at this often, and may hold so much more each time. */
#define STALL_US 50000
#define STALL_STEP_BYTES (1024u * 1024u)
/* Deadlines are not waited for in shorter steps than this, should the engine name one that has passed already. */
#define TIMER_LEAST_US 5000

static void finish(struct pv_client *client);

struct pv_client_hooks *
pv_client_hooks(struct pv_client *client)
{
    return &client->hooks;
}

struct pv_client *
pv_client_next(struct pv_client *client)
{
    return client->hooks.next;
}

void
pv_client_look(const struct pv_client *client, struct pv_session_glance *glance)
{
    pv_session_look(client->session, glance);
}

/* False: there was no memory to go on with, and the client is gone. */
static bool
wake(struct pv_client *client)
{
    if (pv_session_unfold(&client->session) == PV_OK) {
        client->is_folded = false;
        client->rests_next = true; /* unless it is the client who wants something */
        pv_worker_wake(client->worker, client);
        return true;
    }
    pv_log(PV_LOG_ERROR, "session %llu ends: out of memory", (unsigned long long) client->hooks.id);
    client->was_busy = false;
    finish(client);
    return false;
}

/* Likewise. */
static bool
enter(struct pv_client *client, int64_t *now_us)
{
    if (client->is_folded && !wake(client))
        return false;
    *now_us = client->worker->now_us = pv_now_us();
    client->was_busy = pv_session_is_busy(client->session);
    pv_session_wall(client->session, pv_wall_ahead_us(*now_us));
    return true;
}

void
pv_client_rest(struct pv_client *client, int64_t quiet_since_us)
{
    if (client->is_folded || client->wait != NULL || client->cancel != NULL ||
        pv_session_quiet_us(client->session) > quiet_since_us || !pv_session_fold(&client->session))
        return;
    client->is_folded = true;
    pv_worker_sleep(client->worker, client);
}

/* ---- The end ---- */

static void
on_cancelled(void *context)
{
    struct pv_client *client = context;
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    client->cancel = NULL;
    pv_session_server_cancelled(client->session, now_us);
    pv_client_leave(client);
}

static void
drop_server(struct pv_client *client, enum pv_give how)
{
    pv_pool_forget(client->wait);
    pv_pool_give(client->pooled, how);
    client->wait = NULL;
    client->pooled = NULL;
    client->server_link = NULL;
}

/* Closes what the client had and frees it. What is gathered goes out first. */
static void
finish(struct pv_client *client)
{
    struct pv_worker *worker = client->worker;
    struct pv_server_cancel *cancel = NULL;

    if (client->cancel_pid != 0)
        pv_cancel_map_remove(worker->net->cancels, client->cancel_pid, client->hooks.id);
    /* A statement whose client is gone would run on to its end. Nobody waits for this cancel. */
    if (client->server_link != NULL && client->cancel == NULL && client->was_busy &&
        pv_server_cancel_start(pv_pooled_server(client->pooled), NULL, NULL, &cancel) != PV_OK)
        pv_log(PV_LOG_WARNING, "session %llu: its last statement could not be cancelled",
               (unsigned long long) client->hooks.id);
    drop_server(client, client->cancel == NULL && !client->was_busy && !client->is_conforming &&
                                pv_session_is_at_rest(client->session)
                            ? PV_GIVE_IDLE
                            : PV_GIVE_CLOSE);
    pv_server_cancel_forget(client->cancel);
    if (client->is_pinned)
        (void) atomic_fetch_sub_explicit(&worker->counters.pool_pinned, 1, memory_order_relaxed);
    pv_link_finish(client->link, true);
    pv_due_clear(worker->dues, &client->due);
    pv_session_free(client->session);
    pv_client_under_way(client, false);
    pv_worker_remove(worker, client);
    (void) atomic_fetch_sub(&worker->counters.sessions, 1);
    (void) atomic_fetch_sub(&worker->net->client_count, 1);
    pv_free(client);
}

/* ---- The server's side ---- */

static void
server_bytes(void *context, struct pv_slice bytes)
{
    struct pv_client *client = context;
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    PV_COUNT(&client->worker->counters, server_in, bytes.len);
    pv_session_server_bytes(client->session, now_us, bytes);
    pv_client_leave(client);
}

static void
server_eof(void *context, const char *words)
{
    struct pv_client *client = context;
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    pv_log(PV_LOG_WARNING, "session %llu: the connection to the database was lost: %s",
           (unsigned long long) client->hooks.id, words != NULL ? words : "closed by the server");
    PV_COUNT(&client->worker->counters, server_failures, 1);
    drop_server(client, PV_GIVE_CLOSE);
    pv_session_server_lost(client->session, now_us, "08006", "the connection to the database was lost");
    pv_client_leave(client);
}

static void
link_tls_unasked(void *context)
{
    (void) context; /* this side's TLS was up before the session owned it */
}

static void
server_drained(void *context)
{
    int64_t now_us;

    if (enter(context, &now_us))
        pv_client_leave(context);
}

static const struct pv_link_events server_link_events = {
    .bytes = server_bytes, .eof = server_eof, .tls = link_tls_unasked, .drained = server_drained};

static void
have_server(struct pv_client *client, struct pv_pooled *pooled, int64_t now_us)
{
    struct pv_server *server = pv_pooled_server(pooled);
    struct pv_server_facts facts;

    client->pooled = pooled;
    client->server_link = pv_server_link(server);
    pv_link_set_owner(client->server_link, &server_link_events, client);
    pv_side_facts(pv_server_side(server), client->is_shared, &facts);
    pv_session_server_open(client->session, now_us, &facts);
}

static void
server_open(void *context, struct pv_pooled *pooled)
{
    struct pv_client *client = context;
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    client->wait = NULL;
    have_server(client, pooled, now_us);
    pv_client_leave(client);
}

static void
server_failed(void *context, const char *sqlstate, const char *words)
{
    struct pv_client *client = context;
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    client->wait = NULL;
    pv_session_server_lost(client->session, now_us, sqlstate, words);
    pv_client_leave(client);
}

static const struct pv_pool_events server_events = {.open = server_open, .failed = server_failed};

/* ---- The client's side ---- */

static void
client_first(void *context, uint8_t byte)
{
    struct pv_client *client = context;
    struct pv_tls_context *tls = pv_world_server_tls(client->worker->world);

    if (client->is_unix || tls == NULL || !pv_frame_is_tls(byte))
        return;
    client->is_direct_tls = true;
    if (pv_link_start_tls(client->link, tls, NULL) != PV_OK) {
        client->wants_close = true;
        pv_client_leave(client);
    }
}

static void
client_bytes(void *context, struct pv_slice bytes)
{
    struct pv_client *client = context;
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    client->rests_next = false;
    PV_COUNT(&client->worker->counters, client_in, bytes.len);
    pv_session_client_bytes(client->session, now_us, bytes);
    pv_client_leave(client);
}

static void
client_eof(void *context, const char *words)
{
    struct pv_client *client = context;
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    if (words != NULL)
        pv_log(PV_LOG_DEBUG, "session %llu: connection to the client lost: %s", (unsigned long long) client->hooks.id,
               words);
    pv_session_client_eof(client->session, now_us);
    pv_client_leave(client);
}

static void
client_tls(void *context)
{
    struct pv_client *client = context;
    const struct pv_tls *tls = pv_link_tls(client->link);
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_tls_names names = {0};
    uint8_t hash[PV_TLS_ENDPOINT_BYTES_MAX];
    size_t hash_len = 0;
    enum pv_status status = arena == NULL ? PV_NOMEM : pv_tls_peer_names(tls, arena, &names);
    int64_t now_us;

    if (!enter(client, &now_us)) {
        pv_arena_free(arena);
        return;
    }
    if (pv_tls_endpoint_hash(tls, hash, &hash_len) != PV_OK)
        hash_len = 0;
    /* Direct TLS says which protocol it carries, so that no other server can be talked to through ours. */
    if (status == PV_NOMEM || status == PV_INVALID || (client->is_direct_tls && !pv_tls_has_alpn(tls)))
        client->wants_close = true;
    else
        pv_session_client_tls(client->session, now_us, pv_slice_of(hash, hash_len), names.common_name);
    pv_arena_free(arena);
    pv_client_leave(client);
}

static void
client_drained(void *context)
{
    int64_t now_us;

    if (enter(context, &now_us))
        pv_client_leave(context);
}

const struct pv_link_events pv_client_link_events = {
    .first = client_first, .bytes = client_bytes, .eof = client_eof, .tls = client_tls, .drained = client_drained};

/* ---- Back pressure ---- */

/* A standstill lasts: a step more for the client's side, if it waits for us and took nothing since. */
static void
look_at_stall(struct pv_client *client, int64_t now_us)
{
    if (now_us < client->stall_at_us)
        return;
    if (pv_link_sent(client->link) == client->stall_sent && pv_link_has_unread(client->link))
        client->granted = pv_link_held(client->link) + STALL_STEP_BYTES;
    client->stall_at_us = INT64_MAX;
}

/* True when the session has to end for it. */
static bool
balance(struct pv_client *client, int64_t now_us)
{
    size_t to_client = pv_link_held(client->link);
    size_t to_server = client->server_link != NULL ? pv_link_held(client->server_link) : 0;
    size_t high = client->granted > PV_LINK_HIGH_BYTES ? client->granted : PV_LINK_HIGH_BYTES;

    if (to_client > PV_LINK_HELD_BYTES_MAX || to_server > PV_LINK_HELD_BYTES_MAX)
        return true;
    if (to_client <= PV_LINK_LOW_BYTES)
        client->granted = 0;
    client->is_server_stopped =
        to_client > high || (client->is_server_stopped && client->granted == 0 && to_client > PV_LINK_LOW_BYTES);
    client->is_client_stopped = client->is_engine_full || to_server > PV_LINK_HIGH_BYTES ||
                                (client->is_client_stopped && to_server > PV_LINK_LOW_BYTES);
    pv_link_pause(client->link, client->is_client_stopped);
    if (client->server_link != NULL)
        pv_link_pause(client->server_link, client->is_server_stopped);
    if (!client->is_server_stopped || !client->is_client_stopped) {
        client->stall_at_us = INT64_MAX;
    } else if (client->stall_at_us == INT64_MAX) {
        client->stall_at_us = now_us + STALL_US;
        client->stall_sent = pv_link_sent(client->link);
    }
    return false;
}

/* ---- Time ---- */

/* The timer fires too early rather than being moved at every call: a deadline that moved away is seen then. */
static void
set_timer(struct pv_client *client, int64_t now_us)
{
    int64_t due_us = pv_session_deadline(client->session);

    if (client->stall_at_us < due_us)
        due_us = client->stall_at_us;
    if (due_us >= client->due.at_us)
        return;
    if (due_us < now_us + TIMER_LEAST_US)
        due_us = now_us + TIMER_LEAST_US;
    /* Without memory for it the end of the client's next call tries again. */
    if (pv_due_set(client->worker->dues, &client->due, due_us) != PV_OK)
        pv_log(PV_LOG_WARNING, "session %llu: no memory to watch its time", (unsigned long long) client->hooks.id);
}

void
pv_client_due(struct pv_due *due)
{
    struct pv_client *client = (struct pv_client *) (void *) ((char *) due - offsetof(struct pv_client, due));
    int64_t now_us = pv_now_us();

    /* Mostly what it was set for is long over. */
    if (client->is_folded && now_us < pv_session_deadline(client->session)) {
        set_timer(client, now_us);
        return;
    }
    if (!enter(client, &now_us))
        return;
    look_at_stall(client, now_us);
    if (now_us >= pv_session_deadline(client->session))
        pv_session_tick(client->session, now_us);
    pv_client_leave(client);
}

/* ---- After a call ---- */

static void
refuse(struct pv_client *client, int64_t now_us)
{
    client->wants_refusal = client->wants_server = false;
    client->is_over_limit = false;
    PV_COUNT(&client->worker->counters, refused, 1);
    pv_session_kill(client->session, now_us, "53300", "sorry, too many clients already");
}

static void
take_server(struct pv_client *client, int64_t now_us)
{
    struct pv_worker *worker = client->worker;
    const struct pv_config *config = &pv_world_policy(worker->world)->config;
    const char *conformance = worker->net->options.conformance_room;
    const char *room = pv_session_room(client->session);
    struct pv_pooled *pooled = NULL;
    enum pv_status status;

    client->wants_server = false;
    if (client->is_over_limit) {
        client->wants_refusal = true;
        return;
    }
    if (!client->has_asked) {
        client->has_asked = true;
        client->is_conforming = conformance != NULL && strcmp(conformance, room) == 0;
        client->is_shared = config->pool_mode == PV_POOL_TRANSACTION && !client->is_conforming;
    }
    status = pv_pool_take(worker->pool, room, client->is_shared, &server_events, client, &pooled,
                          &client->wait);
    if (status == PV_OK)
        have_server(client, pooled, now_us);
    else if (status == PV_NOTFOUND)
        pv_session_server_lost(client->session, now_us, "3D000", "the clean room is no longer there");
    else if (status != PV_MORE)
        pv_session_server_lost(client->session, now_us, "53200", "out of memory");
}

/* What was said for it has gone out. */
static void
release_server(struct pv_client *client)
{
    client->wants_release = false;
    drop_server(client, PV_GIVE_CLEAN);
}

static void
cancel_server(struct pv_client *client, int64_t now_us)
{
    client->wants_cancel = false;
    if (client->cancel != NULL)
        return; /* one is under way; its end answers for both */
    if (client->server_link == NULL ||
        pv_server_cancel_start(pv_pooled_server(client->pooled), on_cancelled, client, &client->cancel) != PV_OK) {
        client->cancel = NULL;
        pv_session_server_cancelled(client->session, now_us);
    }
}

static void
begin_tls(struct pv_client *client)
{
    struct pv_tls_context *tls = pv_world_server_tls(client->worker->world);

    client->wants_tls = false;
    if (tls == NULL || pv_link_start_tls(client->link, tls, NULL) != PV_OK)
        client->wants_close = true;
}

static void
flush(struct pv_client *client)
{
    pv_link_flush(client->link);
    if (client->server_link != NULL)
        pv_link_flush(client->server_link);
}

/* Sends what the call gave, does what it asked for, and sets what to wait for. The client may be gone afterwards. */
void
pv_client_leave(struct pv_client *client)
{
    /* What the call took in between moves no deadline that matters. */
    int64_t now_us = client->worker->now_us;

    for (;;) {
        flush(client);
        if (client->wants_cancel)
            cancel_server(client, now_us);
        else if (client->wants_close)
            break;
        else if (client->wants_refusal)
            refuse(client, now_us);
        else if (client->wants_tls)
            begin_tls(client);
        else if (client->wants_release)
            release_server(client);
        else if (client->wants_server)
            take_server(client, now_us);
        else if (pv_session_has_more(client->session) && pv_link_held(client->link) <= PV_LINK_LOW_BYTES)
            pv_session_more(client->session, now_us);
        else if (balance(client, now_us))
            pv_session_kill(client->session, now_us, "53400",
                            "the client sends without reading: too much is waiting for it");
        else
            break;
    }
    if (client->wants_close)
        finish(client);
    else {
        pv_session_rest(client->session);
        set_timer(client, now_us);
        if (client->rests_next) {
            client->rests_next = false;
            pv_client_rest(client, INT64_MAX);
        }
    }
}

/* ---- What the worker passes on ---- */

void
pv_client_recorded(struct pv_client *client, const struct pv_journal_done *done)
{
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    if (done->status == PV_LIMIT)
        pv_session_spent(client->session, now_us, done->ticket, done->spent);
    else
        pv_session_recorded(client->session, now_us, done->ticket, done->status == PV_OK ? PV_OK : PV_IO);
    pv_client_leave(client);
}

void
pv_client_answer(struct pv_client *client, struct pv_ask *ask)
{
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    pv_session_audit_answer(client->session, now_us, ask);
    pv_client_leave(client);
}

void
pv_client_peers(struct pv_client *client, const struct pv_peer *peers, size_t count)
{
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    pv_session_peers(client->session, now_us, peers, count);
    pv_client_leave(client);
}

void
pv_client_cancel(struct pv_client *client)
{
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    pv_session_cancel(client->session, now_us);
    pv_client_leave(client);
}

void
pv_client_policy(struct pv_client *client)
{
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    pv_session_policy(client->session, now_us, pv_world_policy(client->worker->world),
                      pv_world_standing(client->worker->world));
    pv_client_leave(client);
}

void
pv_client_drain(struct pv_client *client)
{
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    pv_session_drain(client->session, now_us);
    pv_client_leave(client);
}

void
pv_client_kill(struct pv_client *client, const char *sqlstate, const char *words)
{
    int64_t now_us;

    if (!enter(client, &now_us))
        return;
    pv_session_kill(client->session, now_us, sqlstate, words);
    pv_client_leave(client);
}
