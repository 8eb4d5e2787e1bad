#include "proxy/net/cancel.h"

#include "proxy/crypto/mac.h"

#include <pthread.h>
#include <string.h>

/* Keys of 3.0 have 4 bytes, those of 3.2 have 32. */
#define KEY_BYTES_MAX 32u
#define BUCKETS 4096u
/* Sources are counted in slots that they may share: the memory is fixed, whoever asks. */
#define SOURCE_SLOTS 1024u
/* Wrong guesses of one slot before it is ignored, and the time in which one of them is forgotten: 2^32 keys outlast
 * that. */
#define GUESSES_MAX 20u
#define GUESS_FORGOTTEN_US 3000000

struct mapping {
    struct mapping *next;
    uint64_t session;
    uint32_t pid;
    uint16_t worker;
    uint8_t key_len;
    uint8_t key[]; /* mostly four bytes, of which thousands lie here */
};

struct source {
    uint32_t guesses;
    int64_t since_us;
};

struct pv_cancel_map {
    pthread_mutex_t lock;
    struct mapping *buckets[BUCKETS];
    struct source sources[SOURCE_SLOTS];
};

struct pv_cancel_map *
pv_cancel_map_new(void)
{
    struct pv_cancel_map *map = pv_calloc(1, sizeof(*map));

    if (map != NULL)
        (void) pthread_mutex_init(&map->lock, NULL);
    return map;
}

void
pv_cancel_map_free(struct pv_cancel_map *map)
{
    if (map == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (map->buckets[i] != NULL) {
            struct mapping *mapping = map->buckets[i];

            map->buckets[i] = mapping->next;
            pv_wipe(mapping->key, mapping->key_len);
            pv_free(mapping);
        }
    (void) pthread_mutex_destroy(&map->lock);
    pv_free(map);
}

/* Every mapping of the pid is compared whole, found or not, so that time tells nothing of the keys. */
static struct mapping *
find(struct pv_cancel_map *map, uint32_t pid, struct pv_slice key)
{
    struct mapping *found = NULL;

    for (struct mapping *at = map->buckets[pid % BUCKETS]; at != NULL; at = at->next)
        if (at->pid == pid && pv_constant_time_equal(pv_slice_of(at->key, at->key_len), key))
            found = at;
    return found;
}

enum pv_status
pv_cancel_map_put(struct pv_cancel_map *map, uint32_t pid, struct pv_slice key, unsigned worker, uint64_t session)
{
    enum pv_status status = PV_BUSY;
    struct mapping *mapping;

    if (key.len == 0 || key.len > KEY_BYTES_MAX || worker > UINT16_MAX)
        return PV_INVALID;
    mapping = pv_calloc(1, sizeof(*mapping) + key.len);
    if (mapping == NULL)
        return PV_NOMEM;
    mapping->pid = pid;
    mapping->key_len = (uint8_t) key.len;
    memcpy(mapping->key, key.data, key.len);
    mapping->worker = (uint16_t) worker;
    mapping->session = session;
    (void) pthread_mutex_lock(&map->lock);
    if (find(map, pid, key) == NULL) {
        mapping->next = map->buckets[pid % BUCKETS];
        map->buckets[pid % BUCKETS] = mapping;
        mapping = NULL;
        status = PV_OK;
    }
    (void) pthread_mutex_unlock(&map->lock);
    pv_free(mapping);
    return status;
}

void
pv_cancel_map_remove(struct pv_cancel_map *map, uint32_t pid, uint64_t session)
{
    struct mapping **at;
    struct mapping *mapping = NULL;

    (void) pthread_mutex_lock(&map->lock);
    for (at = &map->buckets[pid % BUCKETS]; *at != NULL; at = &(*at)->next)
        if ((*at)->pid == pid && (*at)->session == session) {
            mapping = *at;
            *at = mapping->next;
            break;
        }
    (void) pthread_mutex_unlock(&map->lock);
    if (mapping != NULL)
        pv_wipe(mapping->key, mapping->key_len);
    pv_free(mapping);
}

static struct source *
source_of(struct pv_cancel_map *map, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t) *name) * 16777619u;
    return &map->sources[hash % SOURCE_SLOTS];
}

/* One guess is forgotten every GUESS_FORGOTTEN_US. */
static bool
is_ignored(struct source *source, int64_t now_us)
{
    while (source->guesses > 0 && now_us - source->since_us >= GUESS_FORGOTTEN_US) {
        source->guesses--;
        source->since_us += GUESS_FORGOTTEN_US;
    }
    if (source->guesses == 0 || now_us < source->since_us)
        source->since_us = now_us;
    return source->guesses >= GUESSES_MAX;
}

enum pv_status
pv_cancel_map_find(struct pv_cancel_map *map, uint32_t pid, struct pv_slice key, const char *source, int64_t now_us,
                   unsigned *worker, uint64_t *session)
{
    enum pv_status status = PV_NOTFOUND;
    const struct mapping *mapping;
    struct source *asking;

    (void) pthread_mutex_lock(&map->lock);
    asking = source_of(map, source);
    mapping = find(map, pid, key);
    if (is_ignored(asking, now_us)) {
        status = PV_LIMIT;
    } else if (mapping != NULL) {
        *worker = mapping->worker;
        *session = mapping->session;
        status = PV_OK;
    } else {
        asking->guesses++;
    }
    (void) pthread_mutex_unlock(&map->lock);
    return status;
}
