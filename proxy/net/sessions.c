/*
 * Lists of live sessions. A listing goes to every worker, each adds what is its own, and the last one sends it home.
 * 1. The list is added to under its lock; each worker looks at its own clients alone.
 * 2. A part that finds no memory is left out and said as cut.
 */
#include "proxy/base/arena.h"
#include "proxy/net/net_int.h"

#include <string.h>

struct part {
    struct pv_message message;
    struct pv_worker *worker;
    struct listing *listing;
};

struct listing {
    struct pv_message home;
    struct pv_loop *loop;
    void (*done)(void *context, const struct pv_net_session *sessions, size_t count, bool is_cut);
    void *context;
    struct pv_arena *arena; /* under the lock while workers add */
    const char **rooms;
    size_t room_count;
    pthread_mutex_t lock;
    atomic_uint waiting;
    struct pv_net_session *sessions;
    size_t count;
    bool is_cut;
    struct part parts[];
};

static void
listing_free(struct listing *listing)
{
    (void) pthread_mutex_destroy(&listing->lock);
    pv_arena_free(listing->arena);
    pv_free(listing);
}

static void
come_home(struct pv_message *message)
{
    struct listing *listing = (struct listing *) (void *) ((char *) message - offsetof(struct listing, home));

    listing->done(listing->context, listing->sessions, listing->count, listing->is_cut);
    listing_free(listing);
}

static bool
is_wanted(const struct listing *listing, const char *room)
{
    for (size_t i = 0; room != NULL && i < listing->room_count; i++)
        if (strcmp(listing->rooms[i], room) == 0)
            return true;
    return false;
}

/* NULL stays NULL. */
static bool
copy(struct pv_arena *arena, const char *text, const char **kept)
{
    *kept = text == NULL ? NULL : pv_arena_strdup(arena, text);
    return text == NULL || *kept != NULL;
}

/* Up to a character's start, so that what is left is UTF-8 if the whole is. */
static size_t
cut_len(struct pv_slice text)
{
    size_t len = text.len;

    if (len <= PV_NET_SESSION_QUERY_BYTES)
        return len;
    for (len = PV_NET_SESSION_QUERY_BYTES; len > 0 && (text.data[len] & 0xC0u) == 0x80u; len--)
        ;
    return len;
}

static bool
add(struct listing *listing, const struct pv_session_glance *glance)
{
    struct pv_net_session *session;
    struct pv_net_session made = {
        .id = glance->id, .started_us = glance->started_us, .query_us = glance->query_us, .state = glance->state};

    if (listing->count == PV_NET_SESSIONS_MAX)
        return false;
    if (!copy(listing->arena, glance->room, &made.room) || !copy(listing->arena, glance->user, &made.user) ||
        !copy(listing->arena, glance->party, &made.party) || !copy(listing->arena, glance->service, &made.service) ||
        !copy(listing->arena, glance->client, &made.client) ||
        !copy(listing->arena, glance->application, &made.application) ||
        !copy(listing->arena, glance->question, &made.question))
        return false;
    if (glance->query.len > 0) {
        size_t len = cut_len(glance->query);

        made.query = pv_arena_strndup(listing->arena, (const char *) glance->query.data, len);
        made.is_query_cut = len < glance->query.len;
        if (made.query == NULL)
            return false;
    }
    session = &listing->sessions[listing->count++];
    *session = made;
    return true;
}

static void
look(struct pv_message *message)
{
    struct part *part = (struct part *) message;
    struct listing *listing = part->listing;

    (void) pthread_mutex_lock(&listing->lock);
    for (struct pv_client *at = part->worker->clients; at != NULL && !listing->is_cut; at = pv_client_next(at)) {
        struct pv_session_glance glance;

        pv_client_look(at, &glance);
        if (is_wanted(listing, glance.room) && !add(listing, &glance))
            listing->is_cut = true;
    }
    (void) pthread_mutex_unlock(&listing->lock);
    if (atomic_fetch_sub(&listing->waiting, 1) == 1)
        pv_loop_post(listing->loop, &listing->home);
}

static bool
fill(struct listing *listing, const char *const *rooms, size_t room_count)
{
    listing->arena = pv_arena_new(0);
    if (listing->arena == NULL)
        return false;
    listing->sessions = pv_arena_alloc(listing->arena, PV_NET_SESSIONS_MAX * sizeof(*listing->sessions));
    listing->rooms = pv_arena_alloc(listing->arena, (room_count + 1) * sizeof(*listing->rooms));
    if (listing->sessions == NULL || listing->rooms == NULL)
        return false;
    for (listing->room_count = 0; listing->room_count < room_count; listing->room_count++)
        if (!copy(listing->arena, rooms[listing->room_count], &listing->rooms[listing->room_count]))
            return false;
    return true;
}

enum pv_status
pv_net_sessions(struct pv_net *net, const char *const *rooms, size_t room_count, struct pv_loop *loop,
                void (*done)(void *context, const struct pv_net_session *sessions, size_t count, bool is_cut),
                void *context)
{
    struct listing *listing = pv_calloc(1, sizeof(*listing) + net->worker_count * sizeof(listing->parts[0]));

    if (listing == NULL)
        return PV_NOMEM;
    (void) pthread_mutex_init(&listing->lock, NULL);
    listing->home.deliver = come_home;
    listing->loop = loop;
    listing->done = done;
    listing->context = context;
    if (!fill(listing, rooms, room_count)) {
        listing_free(listing);
        return PV_NOMEM;
    }
    atomic_init(&listing->waiting, net->worker_count);
    for (unsigned i = 0; i < net->worker_count; i++) {
        listing->parts[i] = (struct part){.message = {.deliver = look}, .worker = &net->workers[i], .listing = listing};
        pv_loop_post(net->workers[i].loop, &listing->parts[i].message);
    }
    return PV_OK;
}
