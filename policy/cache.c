/*
 * Invariants.
 * 1. An entry is found only under a key that is equal byte for byte, in a cache that holds the very snapshot and
 * standing that judged it; so the pointers in its decisions are alive.
 * 2. Only what rests on nothing else is kept: statements that read, and BEGIN, COMMIT, ROLLBACK; no settings, no names
 * of the session's, nothing of a room that expires before the clock that the caller shows, nothing that failed inside.
 * 3. A shape gives a text only for constants that were judged now, each in the one hole between the question's pieces
 *    (parser/pieces.h), quoted as the printer quotes; and when it was made, it gave exactly the text that was sent.
 * 4. Memory is bounded: the least recently used go first.
 * 5. What a server may prepare in place of a text is made when that text, or its shape, comes for the second time: of an
 * exact text it is that text; of a shape the question's pieces with $n where the constants stand, each of the parameter's
 * type, which is what the question is sent as when a client prepares it with $n.
 */
#include "policy/cache.h"

#include "parser/key.h"
#include "policy/cache_int.h"
#include "policy/question_int.h"
#include "policy/repeat.h"
#include "policy/standing.h"

#include <stdatomic.h>
#include <string.h>

#define CACHE_BYTES_DEFAULT (16u * 1024u * 1024u)
/* One entry must not push out all others. */
#define SHARE_OF_ONE 16u
#define BUCKETS_FIRST 256u
/* Texts whose lengths differ by a multiple of this are counted together. */
#define LENGTHS 64u
/* Of an arena in which one statement is judged. */
#define ENTRY_BLOCK_BYTES 2048u

struct entry {
    struct entry *next; /* in its bucket */
    struct entry *newer, *older;
    uint32_t refs;
    uint64_t hash;
    struct pv_slice key;
    size_t text_len; /* of the text that it was judged for */
    struct pv_arena *arena; /* holds the entry itself */
    size_t bytes;
    struct pv_decision *decisions;
    size_t count;
    const struct pv_learned *shape; /* NULL: of an exact text */
    bool has_come_again;
    struct pv_repeat *repeat; /* of a shape; that of an exact text is its decision's. In the arena's keeping; NULL: none */
};

struct pv_cache {
    struct pv_key key;
    struct pv_policy *policy; /* a reference, as of standing */
    struct pv_standing *standing;
    struct entry **buckets;
    size_t bucket_count;
    uint32_t by_len[LENGTHS]; /* entries of exact texts, by length: where there is none, none is looked for */
    struct entry *newest, *oldest;
    size_t bytes_max;
    struct pv_key_heads heads;
    struct pv_buf scratch; /* the shape at hand */
    struct pv_buf sql;     /* what is being forwarded */
    _Atomic uint64_t hits, shape_hits, misses, entries, bytes, prepared, repeated;
};

static void
count(_Atomic uint64_t *counter, uint64_t by)
{
    /* One writer: its own thread. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

/* ---- Entries ---- */

static struct entry *
entry_new(struct pv_slice key)
{
    struct pv_arena *arena = pv_arena_new(ENTRY_BLOCK_BYTES);
    struct entry *entry = arena == NULL ? NULL : pv_arena_alloc(arena, sizeof(*entry));
    char *copy = entry == NULL ? NULL : pv_arena_strndup(arena, (const char *) key.data, key.len);

    if (copy == NULL) {
        pv_arena_free(arena);
        return NULL;
    }
    entry->refs = 1;
    entry->arena = arena;
    entry->key = pv_slice_of(copy, key.len);
    return entry;
}

static void
entry_unref(void *object)
{
    struct entry *entry = object;

    if (--entry->refs == 0)
        pv_arena_free(entry->arena);
}

/* The caller's arena shares it. */
static enum pv_status
share(struct entry *entry, struct pv_arena *arena)
{
    if (!pv_arena_keep(arena, entry_unref, entry))
        return PV_NOMEM;
    entry->refs++;
    return PV_OK;
}

static void
unlink_age(struct pv_cache *cache, struct entry *entry)
{
    *(entry->newer == NULL ? &cache->newest : &entry->newer->older) = entry->older;
    *(entry->older == NULL ? &cache->oldest : &entry->older->newer) = entry->newer;
    entry->newer = entry->older = NULL;
}

static void
link_newest(struct pv_cache *cache, struct entry *entry)
{
    entry->older = cache->newest;
    entry->newer = NULL;
    *(cache->newest == NULL ? &cache->oldest : &cache->newest->newer) = entry;
    cache->newest = entry;
}

static void
drop(struct pv_cache *cache, struct entry *entry)
{
    struct entry **at = &cache->buckets[entry->hash & (cache->bucket_count - 1)];

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    cache->by_len[entry->text_len % LENGTHS] -= entry->shape == NULL ? 1 : 0;
    unlink_age(cache, entry);
    count(&cache->bytes, 0 - (uint64_t) entry->bytes);
    count(&cache->entries, 0 - (uint64_t) 1);
    entry_unref(entry);
}

static struct entry *
find(struct pv_cache *cache, const struct pv_key_head *head, enum pv_key_kind kind, struct pv_slice text)
{
    uint64_t hash = pv_key_head_hash(head, kind, text);
    struct entry *entry = cache->buckets[hash & (cache->bucket_count - 1)];

    while (entry != NULL && (entry->hash != hash || !pv_key_head_equal(head, kind, text, entry->key)))
        entry = entry->next;
    if (entry != NULL && entry != cache->newest) {
        unlink_age(cache, entry);
        link_newest(cache, entry);
    }
    return entry;
}

static void
grow(struct pv_cache *cache)
{
    size_t size = cache->bucket_count * 2;
    struct entry **buckets = pv_calloc(size, sizeof(struct entry *));

    if (buckets == NULL) /* longer chains, then */
        return;
    for (struct entry *entry = cache->newest; entry != NULL; entry = entry->older) {
        entry->next = buckets[entry->hash & (size - 1)];
        buckets[entry->hash & (size - 1)] = entry;
    }
    pv_free(cache->buckets);
    cache->buckets = buckets;
    cache->bucket_count = size;
}

/* Takes a reference of its own, unless the entry is larger than its share. */
static void
insert(struct pv_cache *cache, struct entry *entry)
{
    struct entry **bucket;

    entry->bytes = pv_arena_bytes(entry->arena);
    if (entry->bytes > cache->bytes_max / SHARE_OF_ONE)
        return;
    while (cache->oldest != NULL && atomic_load(&cache->bytes) + entry->bytes > cache->bytes_max)
        drop(cache, cache->oldest);
    if (atomic_load(&cache->entries) >= cache->bucket_count)
        grow(cache);
    entry->hash = pv_key_hash(&cache->key, entry->key);
    bucket = &cache->buckets[entry->hash & (cache->bucket_count - 1)];
    entry->next = *bucket;
    *bucket = entry;
    cache->by_len[entry->text_len % LENGTHS] += entry->shape == NULL ? 1 : 0;
    link_newest(cache, entry);
    entry->refs++;
    count(&cache->bytes, entry->bytes);
    count(&cache->entries, 1);
}

/* ---- Life ---- */

struct pv_cache *
pv_cache_new(size_t bytes_max)
{
    struct pv_cache *cache = pv_calloc(1, sizeof(*cache));

    if (cache == NULL)
        return NULL;
    cache->bytes_max = bytes_max == 0 ? CACHE_BYTES_DEFAULT : bytes_max;
    cache->bucket_count = BUCKETS_FIRST;
    cache->buckets = pv_calloc(cache->bucket_count, sizeof(struct entry *));
    if (cache->buckets == NULL || pv_key_make(&cache->key) != PV_OK) {
        pv_cache_free(cache);
        return NULL;
    }
    return cache;
}

void
pv_cache_clear(struct pv_cache *cache)
{
    while (cache->oldest != NULL)
        drop(cache, cache->oldest);
    pv_standing_unref(cache->standing);
    cache->standing = NULL;
    if (cache->policy != NULL)
        pv_policy_unref(cache->policy);
    cache->policy = NULL;
}

void
pv_cache_free(struct pv_cache *cache)
{
    if (cache == NULL)
        return;
    if (cache->buckets != NULL)
        pv_cache_clear(cache);
    pv_key_heads_clear(&cache->heads);
    pv_buf_clear(&cache->scratch);
    pv_buf_clear(&cache->sql);
    pv_free(cache->buckets);
    pv_free(cache);
}

void
pv_cache_stats(const struct pv_cache *cache, struct pv_cache_stats *stats)
{
    stats->hits = atomic_load_explicit(&cache->hits, memory_order_relaxed);
    stats->shape_hits = atomic_load_explicit(&cache->shape_hits, memory_order_relaxed);
    stats->misses = atomic_load_explicit(&cache->misses, memory_order_relaxed);
    stats->entries = atomic_load_explicit(&cache->entries, memory_order_relaxed);
    stats->bytes = atomic_load_explicit(&cache->bytes, memory_order_relaxed);
    stats->prepared = atomic_load_explicit(&cache->prepared, memory_order_relaxed);
    stats->repeated = atomic_load_explicit(&cache->repeated, memory_order_relaxed);
}

void
pv_cache_note_prepared(struct pv_cache *cache)
{
    count(&cache->prepared, 1);
}

void
pv_cache_note_repeated(struct pv_cache *cache)
{
    count(&cache->repeated, 1);
}

/* ---- What it may be asked ---- */

/* Empties a cache that another snapshot or standing filled. */
static void
turn_to(struct pv_cache *cache, const struct pv_caller *caller)
{
    struct pv_policy *policy;
    struct pv_standing *standing;

    if (cache->policy == caller->policy && cache->standing == caller->standing)
        return;
    pv_cache_clear(cache);
    /* Counting references is no change of what they count. */
    memcpy(&policy, &caller->policy, sizeof(policy));
    memcpy(&standing, &caller->standing, sizeof(standing));
    cache->policy = pv_policy_ref(policy);
    cache->standing = pv_standing_ref(standing);
}

static bool
may_keep(const struct pv_caller *caller)
{
    const struct pv_room *room = caller->room;

    return caller->cache != NULL && caller->policy != NULL && room != NULL && !caller->is_conformance &&
           !(room->has_expiry && caller->now_us >= room->expires_us);
}

/* ---- Asking ---- */

/* Invariant 2. */
static bool
is_kept(const struct entry *entry)
{
    for (size_t i = 0; i < entry->count; i++) {
        const struct pv_decision *decision = &entry->decisions[i];

        if ((decision->kind != PV_KIND_SELECT && decision->kind != PV_KIND_COPY_OUT &&
             decision->kind != PV_KIND_BEGIN && decision->kind != PV_KIND_COMMIT &&
             decision->kind != PV_KIND_ROLLBACK) ||
            decision->reason == PV_REASON_INTERNAL || decision->reason == PV_REASON_EXPIRED ||
            decision->setting != NULL || decision->name != NULL || decision->is_of_session || decision->is_of_peers)
            return false;
    }
    return true;
}

static enum pv_status
judge_afresh(struct entry *entry, const struct pv_asking *asking, struct pv_trace *trace)
{
    struct pv_caller caller = *asking->caller;
    struct pv_slice text = pv_slice_of(entry->key.data + entry->key.len - asking->text.len, asking->text.len);

    caller.trace = trace;
    if (!asking->is_parse)
        return pv_decide_query(entry->arena, &caller, text, &entry->decisions, &entry->count);
    entry->decisions = pv_arena_alloc(entry->arena, sizeof(*entry->decisions));
    if (entry->decisions == NULL)
        return PV_NOMEM;
    entry->count = 1;
    return pv_decide_parse(entry->arena, &caller, text, asking->oids, asking->oid_count, entry->decisions);
}

/* ---- What comes again (invariant 5) ---- */

static void
release_repeat(void *object)
{
    pv_repeat_unref(object);
}

/* Of a Parse: with the types that it declares to the server. */
static struct pv_repeat *
repeat_of_parse(struct entry *entry, const struct pv_asking *asking)
{
    const struct pv_decision *decision = entry->decisions;
    size_t own = decision->parameter_oids == NULL ? 0 : decision->parameter_count;
    size_t count = own > asking->oid_count ? own : asking->oid_count;
    uint32_t *oids = pv_arena_alloc(entry->arena, (count + 1) * sizeof(*oids));

    if (oids == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        oids[i] = i < asking->oid_count ? asking->oids[i] : 0;
        if (i < own && decision->parameter_oids[i] != 0)
            oids[i] = decision->parameter_oids[i];
    }
    return pv_repeat_new(pv_slice_cstr(decision->forwarded), oids, count);
}

/* Without memory it stays as it is. */
static void
come_again(struct pv_cache *cache, struct entry *entry, const struct pv_asking *asking)
{
    struct pv_decision *decision = entry->decisions;
    struct pv_repeat *repeat;

    if (entry->has_come_again)
        return;
    entry->has_come_again = true;
    if (cache->policy->config.pool_auto_prepare == 0 || entry->count != 1 || !decision->is_allowed ||
        decision->kind != PV_KIND_SELECT || decision->forwarded == NULL || decision->datasets.count == 0 ||
        (decision->parameter_count > 0 && !asking->is_parse) || decision->show_value != NULL)
        return;
    if (asking->is_parse)
        repeat = repeat_of_parse(entry, asking);
    else
        repeat = entry->shape == NULL ? pv_repeat_new(pv_slice_cstr(decision->forwarded), NULL, 0)
                                      : pv_learned_repeat(&cache->sql, entry->shape);
    if (repeat == NULL)
        return;
    if (!pv_arena_keep(entry->arena, release_repeat, repeat)) {
        pv_repeat_unref(repeat);
        return;
    }
    entry->bytes += sizeof(*repeat) + repeat->text_len;
    count(&cache->bytes, sizeof(*repeat) + repeat->text_len);
    /* The shape's own decision may be on its way somewhere, and it has no values beside it. */
    if (entry->shape == NULL)
        decision->repeat = repeat;
    else
        entry->repeat = repeat;
}

/* The decision of today's constants: of the statement's own, the rest is the shape's. */
static enum pv_status
take_shape(struct pv_cache *cache, struct pv_arena *arena, struct entry *entry, struct pv_slice text,
           const struct pv_slot *slots, struct pv_decision **decisions)
{
    struct pv_decision *decision = pv_arena_alloc(arena, sizeof(*decision));
    enum pv_status status;

    if (decision == NULL)
        return PV_NOMEM;
    *decision = *entry->decisions;
    status = pv_learned_decide(arena, &cache->sql, entry->shape, text, slots, entry->repeat, decision);
    if (status == PV_OK)
        status = share(entry, arena);
    if (status == PV_OK)
        *decisions = decision;
    return status;
}

static enum pv_status
take(struct pv_arena *arena, struct entry *entry, struct pv_decision **decisions, size_t *decision_count)
{
    enum pv_status status = share(entry, arena);

    if (status == PV_OK) {
        *decisions = entry->decisions;
        *decision_count = entry->count;
    }
    return status;
}

static bool
is_same_list(const struct pv_names *a, const struct pv_names *b)
{
    return a->count == b->count && (a->count == 0 || memcmp(a->names, b->names, a->count * sizeof(*a->names)) == 0);
}

/* Each run's record has them: they are written once, and for a fixed question at its load. */
static void
put_names(struct entry *entry)
{
    for (size_t i = 0; i < entry->count; i++) {
        struct pv_decision *decision = &entry->decisions[i];
        const struct pv_plan *plan = decision->question == NULL ? NULL : decision->question->plan;

        decision->datasets_json = plan != NULL && is_same_list(&decision->datasets, &plan->datasets)
                                      ? plan->datasets_json
                                      : pv_names_json(entry->arena, &decision->datasets);
        decision->columns_json = plan != NULL && is_same_list(&decision->columns, &plan->columns)
                                     ? plan->columns_json
                                     : pv_names_json(entry->arena, &decision->columns);
    }
}

/* Judges, and keeps what may be kept: under its shape where it has one. */
static enum pv_status
miss(struct pv_arena *arena, const struct pv_asking *asking, const struct pv_key_head *head,
     const struct pv_slot *slots, size_t slot_count, struct pv_decision **decisions, size_t *decision_count)
{
    struct pv_cache *cache = asking->caller->cache;
    struct pv_trace trace = {0};
    struct pv_buf key = {0};
    struct entry *entry;
    enum pv_status status;

    count(&cache->misses, 1);
    pv_key_put(&key, head, PV_KEY_OF_TEXT, asking->text);
    entry = pv_buf_ok(&key) ? entry_new(pv_buf_slice(&key)) : NULL;
    pv_buf_truncate(&key, 0);
    /* The shape is in the scratch; judging does not ask the cache. */
    if (slot_count > 0)
        pv_key_put(&key, head, PV_KEY_OF_SHAPE, pv_buf_slice(&cache->scratch));
    if (entry == NULL || !pv_buf_ok(&key)) {
        if (entry != NULL)
            entry_unref(entry);
        pv_buf_clear(&key);
        return PV_NOMEM;
    }
    entry->text_len = asking->text.len;
    status = judge_afresh(entry, asking, slot_count > 0 ? &trace : NULL);
    if (status == PV_OK && is_kept(entry)) {
        struct pv_slice shape_key = pv_buf_slice(&key);
        char *copy;

        if (slot_count > 0 && entry->count == 1)
            entry->shape =
                pv_learned_new(entry->arena, &cache->sql, asking, slots, slot_count, &trace, entry->decisions);
        copy = entry->shape != NULL ? pv_arena_strndup(entry->arena, (const char *) shape_key.data, shape_key.len) : NULL;

        put_names(entry);
        if (copy != NULL)
            entry->key = pv_slice_of(copy, shape_key.len);
        if (copy != NULL || entry->shape == NULL)
            insert(cache, entry);
    }
    if (status == PV_OK)
        status = take(arena, entry, decisions, decision_count);
    entry_unref(entry);
    pv_buf_clear(&key);
    return status;
}

static enum pv_status
ask(struct pv_arena *arena, const struct pv_asking *asking, struct pv_decision **decisions, size_t *decision_count)
{
    struct pv_cache *cache = asking->caller->cache;
    struct pv_slot slots[PV_SLOTS_MAX];
    size_t slot_count = 0;
    const struct pv_key_head *head;
    struct entry *entry;
    enum pv_status status = PV_NOTFOUND;

    turn_to(cache, asking->caller);
    head = pv_key_head_of(&cache->heads, &cache->key, asking);
    if (head == NULL)
        return PV_NOMEM;
    entry = cache->by_len[asking->text.len % LENGTHS] == 0 ? NULL : find(cache, head, PV_KEY_OF_TEXT, asking->text);
    if (entry != NULL) {
        count(&cache->hits, 1);
        come_again(cache, entry, asking);
        return take(arena, entry, decisions, decision_count);
    }
    pv_buf_truncate(&cache->scratch, 0);
    if (asking->text.len > asking->caller->policy->config.query_bytes_max ||
        !pv_shape_of(asking->text, &cache->scratch, slots, &slot_count)) {
        if (!pv_buf_ok(&cache->scratch))
            pv_buf_clear(&cache->scratch);
        return miss(arena, asking, head, slots, 0, decisions, decision_count);
    }
    entry = find(cache, head, PV_KEY_OF_SHAPE, pv_buf_slice(&cache->scratch));
    if (entry != NULL && entry->shape != NULL) {
        /* Constants amid a Parse's text would be values of ours beside those of its Bind: it goes as it came. */
        if (!asking->is_parse)
            come_again(cache, entry, asking);
        status = take_shape(cache, arena, entry, asking->text, slots, decisions);
        *decision_count = 1;
    }
    if (status == PV_OK)
        count(&cache->shape_hits, 1);
    if (status != PV_NOTFOUND)
        return status;
    /* Beside a shape that does not fit: under the exact text. */
    return miss(arena, asking, head, slots, entry == NULL ? slot_count : 0, decisions, decision_count);
}

enum pv_status
pv_cache_query(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
               struct pv_decision **decisions, size_t *decision_count)
{
    const struct pv_asking asking = {caller, text, false, NULL, 0};
    struct pv_decision *found = NULL;
    size_t found_count = 0;
    enum pv_status status;

    if (!may_keep(caller))
        return pv_decide_query(arena, caller, text, decisions, decision_count);
    status = ask(arena, &asking, &found, &found_count);
    if (status == PV_OK) {
        *decisions = found;
        *decision_count = found_count;
    }
    return status;
}

enum pv_status
pv_cache_parse(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
               const uint32_t *declared_oids, size_t declared_count, struct pv_decision *decision)
{
    const struct pv_asking asking = {caller, text, true, declared_oids, declared_count};
    struct pv_decision *found = NULL;
    size_t found_count = 0;
    enum pv_status status;

    if (!may_keep(caller))
        return pv_decide_parse(arena, caller, text, declared_oids, declared_count, decision);
    status = ask(arena, &asking, &found, &found_count);
    if (status == PV_OK)
        *decision = *found;
    return status;
}
