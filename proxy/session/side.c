/*
 *  1. `identity` names somebody only while the server has that one's claims for sure; NULL else.
 *  2. Entries that are not confirmed are taken as absent in every segment but the one that sent their Parse.
 *  3. A number is never given twice on one server.
 */
#include "proxy/session/repeat_int.h"

#include "policy/settings.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

const char *const pv_reported_names[PV_REPORTED_COUNT] = {
#define PV_X(name) name,
    PV_REPORTED_TABLE(PV_X)
#undef PV_X
};

/* ---- Tags ---- */

struct pv_tag *
pv_tag_new(struct pv_slice text)
{
    struct pv_tag *tag = pv_alloc(sizeof(*tag) + text.len);

    if (tag == NULL)
        return NULL;
    atomic_init(&tag->refs, 1);
    tag->len = text.len;
    memcpy(tag->text, text.data, text.len);
    return tag;
}

struct pv_tag *
pv_tag_ref(struct pv_tag *tag)
{
    if (tag != NULL)
        (void) atomic_fetch_add_explicit(&tag->refs, 1, memory_order_relaxed);
    return tag;
}

void
pv_tag_unref(struct pv_tag *tag)
{
    if (tag != NULL && atomic_fetch_sub(&tag->refs, 1) == 1)
        pv_free(tag);
}

bool
pv_tag_equal(const struct pv_tag *a, const struct pv_tag *b)
{
    if (a == NULL || b == NULL)
        return false;
    return a == b || (a->len == b->len && memcmp(a->text, b->text, a->len) == 0);
}

/* ---- Settings ---- */

/* transaction_isolation ends with its transaction. */
static bool
is_tracked(const struct pv_setting *setting)
{
    return setting->class == PV_SETTING_IGNORED ||
           (setting->class == PV_SETTING_FORWARD && strcmp(setting->name, "transaction_isolation") != 0);
}

/* Their names, put together once: every transaction's end asks for one. */
static struct {
    char names[PV_TRACKED_MAX][PV_NAME_BYTES_MAX + 16];
    size_t count, at[PV_TRACKED_KNOWN_COUNT];
} tracked;

static void
find_tracked(void)
{
    static const char *const known[PV_TRACKED_KNOWN_COUNT] = {
        [PV_TRACKED_IDLE_TIMEOUT] = "idle_session_timeout", [PV_TRACKED_STATEMENT_TIMEOUT] = "statement_timeout"};

    for (size_t at = 0; at < pv_setting_count(); at++) {
        const struct pv_setting *setting = pv_setting_at(at);

        if (!is_tracked(setting))
            continue;
        pv_assert(tracked.count < PV_TRACKED_MAX);
        /* What is heard without effect is kept under a name of ours (policy/utility.c). */
        (void) snprintf(tracked.names[tracked.count++], sizeof(tracked.names[0]), "%s%s",
                        setting->class == PV_SETTING_IGNORED ? "pgveil." : "", setting->name);
    }
    for (size_t i = 0; i < PV_TRACKED_KNOWN_COUNT; i++)
        while (tracked.at[i] < tracked.count && strcmp(tracked.names[tracked.at[i]], known[i]) != 0)
            tracked.at[i]++;
}

static void
know_tracked(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void) pthread_once(&once, find_tracked);
}

const char *
pv_tracked_name(size_t i)
{
    know_tracked();
    return i < tracked.count ? tracked.names[i] : NULL;
}

size_t
pv_tracked_count(void)
{
    know_tracked();
    return tracked.count;
}

const char *
pv_values_known(const struct pv_values *values, enum pv_tracked_known which)
{
    if (values == NULL)
        return NULL;
    know_tracked();
    return values->values[tracked.at[which]];
}

struct pv_values *
pv_values_new(void)
{
    struct pv_values *values = pv_calloc(1, sizeof(*values));

    if (values == NULL)
        return NULL;
    atomic_init(&values->refs, 1);
    values->count = pv_tracked_count();
    return values;
}

struct pv_values *
pv_values_ref(struct pv_values *values)
{
    if (values != NULL)
        (void) atomic_fetch_add_explicit(&values->refs, 1, memory_order_relaxed);
    return values;
}

void
pv_values_unref(struct pv_values *values)
{
    if (values == NULL || atomic_fetch_sub(&values->refs, 1) > 1)
        return;
    for (size_t i = 0; i < values->count; i++)
        pv_free(values->values[i]);
    pv_free(values);
}

const char *
pv_values_at(const struct pv_values *values, size_t i)
{
    return values == NULL ? NULL : values->values[i];
}

bool
pv_values_equal(const struct pv_values *a, const struct pv_values *b)
{
    size_t count = a != NULL ? a->count : b != NULL ? b->count : 0;

    if (a == b)
        return true;
    for (size_t i = 0; i < count; i++) {
        const char *x = pv_values_at(a, i), *y = pv_values_at(b, i);

        if (x != y && (x == NULL || y == NULL || strcmp(x, y) != 0))
            return false;
    }
    return true;
}

/* ---- Statements ---- */

/* Of a table with a few hundred entries that one room shares: no more than spread. */
static uint32_t
hash_bytes(const uint8_t *bytes, size_t len)
{
    uint64_t hash = UINT64_C(0x9E3779B97F4A7C15) ^ len, word;

    for (; len >= sizeof(word); bytes += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0xFF51AFD7ED558CCD);
        hash ^= hash >> 32;
    }
    for (word = 0; len > 0; len--)
        word = word << 8 | bytes[len - 1];
    hash = (hash ^ word) * UINT64_C(0xC4CEB9FE1A85EC53);
    return (uint32_t) (hash >> 32);
}

struct pv_prep *
pv_prep_new(struct pv_slice parse_tail, const char *const *styles, size_t style_count, bool is_unique)
{
    size_t len = parse_tail.len;
    struct pv_prep *prep;

    for (size_t i = 0; i < style_count; i++)
        len += (styles[i] == NULL ? 0 : strlen(styles[i])) + 1;
    prep = pv_alloc(sizeof(*prep) + len);
    if (prep == NULL)
        return NULL;
    atomic_init(&prep->refs, 1);
    prep->is_unique = is_unique;
    prep->tail_len = prep->len = parse_tail.len;
    memcpy(prep->bytes, parse_tail.data, parse_tail.len);
    for (size_t i = 0; i < style_count; i++) {
        const char *style = styles[i] == NULL ? "" : styles[i];

        memcpy(prep->bytes + prep->len, style, strlen(style) + 1);
        prep->len += strlen(style) + 1;
    }
    prep->hash = hash_bytes(prep->bytes, prep->len);
    return prep;
}

struct pv_prep *
pv_prep_ref(struct pv_prep *prep)
{
    (void) atomic_fetch_add_explicit(&prep->refs, 1, memory_order_relaxed);
    return prep;
}

void
pv_prep_unref(struct pv_prep *prep)
{
    if (prep != NULL && atomic_fetch_sub(&prep->refs, 1) == 1)
        pv_free(prep);
}

bool
pv_prep_equal(const struct pv_prep *a, const struct pv_prep *b)
{
    if (a == b)
        return true;
    return a->hash == b->hash && !a->is_unique && !b->is_unique && a->len == b->len && a->tail_len == b->tail_len &&
           memcmp(a->bytes, b->bytes, a->len) == 0;
}

struct pv_side_entry *
pv_side_find(struct pv_side *side, const struct pv_prep *prep)
{
    struct pv_side_entry *at = side->buckets == NULL ? NULL : side->buckets[prep->hash % PV_SIDE_BUCKETS];

    while (at != NULL && !pv_prep_equal(at->prep, prep))
        at = at->bucket_next;
    return at;
}

static void
unlink_age(struct pv_side *side, struct pv_side_entry *entry)
{
    if (entry->newer != NULL)
        entry->newer->older = entry->older;
    else
        side->newest = entry->older;
    if (entry->older != NULL)
        entry->older->newer = entry->newer;
    else
        side->oldest = entry->newer;
}

static void
link_newest(struct pv_side *side, struct pv_side_entry *entry)
{
    entry->newer = NULL;
    entry->older = side->newest;
    if (side->newest != NULL)
        side->newest->newer = entry;
    else
        side->oldest = entry;
    side->newest = entry;
}

void
pv_side_use(struct pv_side *side, struct pv_side_entry *entry)
{
    if (side->newest == entry)
        return;
    unlink_age(side, entry);
    link_newest(side, entry);
}

struct pv_side_entry *
pv_side_put(struct pv_side *side, struct pv_prep *prep)
{
    struct pv_side_entry *entry, **bucket;

    if (side->buckets == NULL)
        side->buckets = pv_calloc(PV_SIDE_BUCKETS, sizeof(struct pv_side_entry *));
    entry = side->buckets == NULL ? NULL : pv_calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    bucket = &side->buckets[prep->hash % PV_SIDE_BUCKETS];
    entry->prep = pv_prep_ref(prep);
    entry->number = side->number_next++;
    entry->bucket_next = *bucket;
    *bucket = entry;
    link_newest(side, entry);
    side->count++;
    return entry;
}

void
pv_side_drop(struct pv_side *side, struct pv_side_entry *entry)
{
    struct pv_side_entry **at = &side->buckets[entry->prep->hash % PV_SIDE_BUCKETS];

    while (*at != entry)
        at = &(*at)->bucket_next;
    *at = entry->bucket_next;
    unlink_age(side, entry);
    side->count--;
    pv_prep_unref(entry->prep);
    pv_free(entry);
}

void
pv_side_forget(struct pv_side *side)
{
    while (side->newest != NULL)
        pv_side_drop(side, side->newest);
}

/* Once a statement, where a format would take hundreds of instructions. */
void
pv_side_name(char kind, uint32_t number, char name[PV_SIDE_NAME_BYTES + 1])
{
    memcpy(name, PV_SIDE_NAME_BLANK, PV_SIDE_NAME_BYTES + 1);
    name[PV_SIDE_NAME_BYTES - 9] = kind;
    for (size_t at = PV_SIDE_NAME_BYTES - 1; number != 0; at--, number >>= 4)
        name[at] = "0123456789abcdef"[number & 15u];
}

void
pv_side_set_unnamed(struct pv_side *side, struct pv_prep *prep, uint64_t segment)
{
    if (prep != NULL && prep == side->unnamed) {
        side->unnamed_segment = segment;
        side->is_unnamed_confirmed = false;
        return;
    }
    pv_prep_unref(side->unnamed);
    side->unnamed = prep == NULL ? NULL : pv_prep_ref(prep);
    side->unnamed_segment = segment;
    side->is_unnamed_confirmed = false;
}

/* ---- The whole ---- */

struct pv_texts *
pv_reported_of(const struct pv_server_facts *facts)
{
    const char *texts[PV_REPORTED_COUNT] = {0};

    for (size_t i = 0; i < PV_REPORTED_COUNT; i++)
        for (size_t j = 0; j < facts->parameter_count; j++)
            if (strcmp(facts->parameter_names[j], pv_reported_names[i]) == 0)
                texts[i] = facts->parameter_values[j];
    return pv_texts_of(texts, PV_REPORTED_COUNT);
}

struct pv_side *
pv_side_new(const struct pv_server_facts *facts, size_t prepared_max)
{
    struct pv_side *side = pv_calloc(1, sizeof(*side));

    if (side == NULL)
        return NULL;
    side->pid = facts->pid;
    side->count_max = prepared_max;
    side->key_len = facts->identity_key.len <= sizeof(side->key) ? facts->identity_key.len : 0;
    if (side->key_len > 0)
        memcpy(side->key, facts->identity_key.data, side->key_len);
    side->reported = pv_reported_of(facts);
    if (side->reported == NULL) {
        pv_side_free(side);
        return NULL;
    }
    return side;
}

void
pv_side_free(struct pv_side *side)
{
    if (side == NULL)
        return;
    pv_side_forget(side);
    pv_prep_unref(side->unnamed);
    pv_repeats_free(side->repeats);
    pv_tag_unref(side->identity);
    pv_values_unref(side->base);
    pv_values_unref(side->values);
    pv_texts_unref(side->reported);
    pv_free(side->buckets);
    pv_wipe(side->key, sizeof(side->key));
    pv_free(side);
}

void
pv_side_facts(struct pv_side *side, bool is_shared, struct pv_server_facts *facts)
{
    memset(facts, 0, sizeof(*facts));
    facts->pid = side->pid;
    facts->identity_key = pv_slice_of(side->key, side->key_len);
    facts->side = is_shared ? side : NULL;
    facts->home = side;
}

enum pv_status
pv_side_report(struct pv_side *side, struct pv_slice body)
{
    struct pv_msg_parameter_status status;

    if (pv_msg_parameter_status_read(body, &status) != PV_OK)
        return PV_PROTOCOL;
    /* Texts are read by these two; the server must never leave them. */
    if ((pv_slice_is(status.name, "client_encoding") && !pv_slice_is(status.value, "UTF8")) ||
        (pv_slice_is(status.name, "standard_conforming_strings") && !pv_slice_is(status.value, "on")))
        return PV_PROTOCOL;
    for (size_t i = 0; i < PV_REPORTED_COUNT; i++) {
        struct pv_texts *reported;

        if (!pv_slice_is(status.name, pv_reported_names[i]))
            continue;
        if (side->repeats != NULL)
            pv_repeats_doubt(side->repeats); /* constants may be read otherwise from now on */
        reported = pv_texts_with(side->reported, PV_REPORTED_COUNT, i, (const char *) status.value.data); /* has its NUL */
        if (reported == NULL)
            return PV_NOMEM;
        pv_texts_unref(side->reported);
        side->reported = reported;
    }
    return PV_OK;
}

const char *
pv_side_reported(const struct pv_side *side, const char *name)
{
    for (size_t i = 0; i < PV_REPORTED_COUNT; i++)
        if (strcmp(pv_reported_names[i], name) == 0)
            return pv_texts_at(side->reported, i);
    return NULL;
}

void
pv_side_queried(struct pv_side *side)
{
    pv_side_set_unnamed(side, NULL, 0);
}

void
pv_side_discarded(struct pv_side *side)
{
    pv_side_forget(side);
    pv_side_set_unnamed(side, NULL, 0);
    pv_repeats_free(side->repeats);
    side->repeats = NULL;
    pv_tag_unref(side->identity);
    side->identity = NULL;
    pv_values_unref(side->values);
    side->values = NULL;
    side->is_values_unknown = false;
    side->is_spoiled = false;
}

bool
pv_side_is_spoiled(const struct pv_side *side)
{
    return side->is_spoiled;
}
