/*
 * Rows of texts that thousands of sessions have alike.
 *  1. A row in the table has at least one reference, and equal rows are one: both change under the lock alone. Without the
 *     lock references are added by whoever has one, and taken away but for the last.
 */
#include "proxy/session/session_int.h"

#include <pthread.h>
#include <string.h>

/* Rows differ by what clients set, which is mostly nothing. */
#define BUCKETS 1024u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pv_texts *buckets[BUCKETS];

/* FNV-1a. Whoever makes rows collide has as many sessions open. */
static uint32_t
hash_of(const struct pv_texts *texts)
{
    const uint8_t *at = (const uint8_t *) texts->offsets;
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < texts->len; i++)
        hash = (hash ^ at[i]) * 16777619u;
    return hash;
}

static struct pv_texts *
make(const char *const *texts, size_t count)
{
    size_t len = count * sizeof(uint32_t);
    struct pv_texts *made;

    for (size_t i = 0; i < count; i++)
        len += texts[i] == NULL ? 0 : strlen(texts[i]) + 1;
    made = len > UINT32_MAX ? NULL : pv_alloc(sizeof(*made) + len);
    if (made == NULL)
        return NULL;
    made->count = (uint32_t) count;
    made->len = (uint32_t) len;
    len = count * sizeof(uint32_t);
    for (size_t i = 0; i < count; i++) {
        size_t size = texts[i] == NULL ? 0 : strlen(texts[i]) + 1;

        made->offsets[i] = size == 0 ? 0 : (uint32_t) len; /* below made->len */
        if (size > 0)
            memcpy((char *) made->offsets + len, texts[i], size);
        len += size;
    }
    made->hash = hash_of(made);
    atomic_init(&made->refs, 1);
    return made;
}

struct pv_texts *
pv_texts_of(const char *const *texts, size_t count)
{
    struct pv_texts *made = make(texts, count), **bucket, *at;

    if (made == NULL)
        return NULL;
    bucket = &buckets[made->hash % BUCKETS];
    (void) pthread_mutex_lock(&lock);
    for (at = *bucket; at != NULL; at = at->next)
        if (at->hash == made->hash && at->count == made->count && at->len == made->len &&
            memcmp(at->offsets, made->offsets, made->len) == 0)
            break;
    if (at == NULL) {
        made->next = *bucket;
        *bucket = at = made;
        made = NULL;
    } else {
        (void) pv_texts_ref(at);
    }
    (void) pthread_mutex_unlock(&lock);
    pv_free(made);
    return at;
}

struct pv_texts *
pv_texts_with(const struct pv_texts *from, size_t count, size_t i, const char *text)
{
    const char *texts[PV_TEXTS_MAX];

    pv_assert(count <= PV_TEXTS_MAX && i < count);
    for (size_t k = 0; k < count; k++)
        texts[k] = k == i ? text : pv_texts_at(from, k);
    return pv_texts_of(texts, count);
}

struct pv_texts *
pv_texts_ref(struct pv_texts *texts)
{
    if (texts != NULL)
        (void) atomic_fetch_add_explicit(&texts->refs, 1, memory_order_relaxed);
    return texts;
}

void
pv_texts_unref(struct pv_texts *texts)
{
    struct pv_texts **at;
    uint32_t refs;

    if (texts == NULL)
        return;
    refs = atomic_load_explicit(&texts->refs, memory_order_relaxed);
    while (refs > 1)
        if (atomic_compare_exchange_weak(&texts->refs, &refs, refs - 1))
            return;
    /* The last one, unless the table gave out another meanwhile. */
    (void) pthread_mutex_lock(&lock);
    if (atomic_fetch_sub(&texts->refs, 1) == 1) {
        for (at = &buckets[texts->hash % BUCKETS]; *at != texts; at = &(*at)->next)
            ;
        *at = texts->next;
    } else {
        texts = NULL;
    }
    (void) pthread_mutex_unlock(&lock);
    pv_free(texts);
}
