/* Buffers that sessions of one thread hand round, and bytes that a session looks at where its host has them. */
#include "proxy/session/session_int.h"

/* As many as the statements have in use that some ten clients of one thread have under way at a time. */
#define SPARES_MAX 64u
#define SPARES_BYTES_MAX (128u * 1024u)
/* Requests of as many statements of the extended protocol, of five each, and some. */
#define ARENAS_MAX 64u
/* What the largest of them takes, but for long texts. */
#define ARENA_BLOCK_BYTES 1280u
/* A larger one served a large statement or answer, and goes. */
#define SPARE_BYTES_MAX (16u * 1024u)

/* A reference of a snapshot that one thread counts for itself: workers would pull the snapshot's own count to and fro. */
struct pv_hold {
    struct pv_policy *policy;
    size_t refs; /* the spares' own among them */
};

struct pv_session_spares {
    struct pv_buf bufs[SPARES_MAX];
    size_t count, bytes;
    struct pv_arena *arenas[ARENAS_MAX];
    size_t arena_count;
    struct pv_hold *hold; /* of the snapshot that was asked for last; NULL: none yet */
};

struct pv_session_spares *
pv_session_spares_new(void)
{
    return pv_calloc(1, sizeof(struct pv_session_spares));
}

void
pv_session_spares_free(struct pv_session_spares *spares)
{
    while (spares != NULL && spares->count > 0)
        pv_buf_wipe(&spares->bufs[--spares->count]);
    while (spares != NULL && spares->arena_count > 0)
        pv_arena_free(spares->arenas[--spares->arena_count]);
    if (spares != NULL)
        pv_hold_unref(spares->hold);
    pv_free(spares);
}

void
pv_spare_take(const struct pv_session *s, struct pv_buf *buf)
{
    struct pv_session_spares *spares = s->env->spares;

    if (buf->data == NULL && !buf->failed && spares != NULL && spares->count > 0) {
        *buf = spares->bufs[--spares->count];
        spares->bytes -= buf->size;
    }
}

void
pv_spare_give(const struct pv_session *s, struct pv_buf *buf)
{
    struct pv_session_spares *spares = s->env->spares;

    if (buf->data != NULL && !buf->failed && spares != NULL && spares->count < SPARES_MAX &&
        buf->size <= SPARE_BYTES_MAX && buf->size <= SPARES_BYTES_MAX - spares->bytes) {
        buf->start = buf->end = 0;
        spares->bytes += buf->size;
        spares->bufs[spares->count++] = *buf;
        *buf = (struct pv_buf){0};
    } else {
        pv_buf_clear(buf);
    }
}

#if defined(__SANITIZE_ADDRESS__)
#define ARE_ARENAS_KEPT false /* so that what a request had is watched when it is gone */
#elif defined(__has_feature)
#define ARE_ARENAS_KEPT (!__has_feature(address_sanitizer))
#else
#define ARE_ARENAS_KEPT true
#endif

struct pv_arena *
pv_spare_arena_take(struct pv_session_spares *spares)
{
    if (spares == NULL || spares->arena_count == 0)
        return pv_arena_new(ARENA_BLOCK_BYTES);
    return spares->arenas[--spares->arena_count];
}

void
pv_spare_arena_give(struct pv_session_spares *spares, struct pv_arena *arena)
{
    if (!ARE_ARENAS_KEPT || spares == NULL || arena == NULL || spares->arena_count == ARENAS_MAX) {
        pv_arena_free(arena);
        return;
    }
    pv_arena_reset(arena);
    spares->arenas[spares->arena_count++] = arena;
}

/* ---- Snapshots ---- */

void
pv_hold_unref(struct pv_hold *hold)
{
    if (hold == NULL || --hold->refs > 0)
        return;
    pv_policy_unref(hold->policy);
    pv_free(hold);
}

static struct pv_hold *
hold_new(struct pv_policy *policy)
{
    struct pv_hold *hold = pv_alloc(sizeof(*hold));

    if (hold != NULL)
        *hold = (struct pv_hold){pv_policy_ref(policy), 1};
    return hold;
}

struct pv_hold *
pv_hold_ref(const struct pv_session *s, struct pv_policy *policy)
{
    struct pv_session_spares *spares = s->env->spares;

    if (spares == NULL)
        return hold_new(policy);
    if (spares->hold == NULL || spares->hold->policy != policy) {
        struct pv_hold *hold = hold_new(policy);

        if (hold == NULL)
            return NULL;
        pv_hold_unref(spares->hold);
        spares->hold = hold;
    }
    spares->hold->refs++;
    return spares->hold;
}

void
pv_session_spares_rest(struct pv_session_spares *spares)
{
    pv_hold_unref(spares->hold);
    spares->hold = NULL;
}

/* ---- Lent bytes ---- */

bool
pv_lend(struct pv_buf *buf, struct pv_slice bytes)
{
    if (buf->data != NULL || buf->failed || bytes.len == 0)
        return false;
    /* Nothing is written there: while they are lent, bytes are only taken off the front. */
    *buf = (struct pv_buf){.data = (uint8_t *) (uintptr_t) bytes.data, .end = bytes.len, .size = bytes.len};
    return true;
}

void
pv_take_back(struct pv_buf *buf)
{
    struct pv_slice left = pv_buf_slice(buf);
    bool has_failed = buf->failed;

    *buf = (struct pv_buf){.failed = has_failed};
    if (left.len > 0)
        pv_buf_put_slice(buf, left);
}
