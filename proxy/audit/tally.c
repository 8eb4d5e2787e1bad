/*
 * pv_tally(a, b, c, d, e, f, who, statements, allowed, denied, failed, rows, at): an aggregate that adds up rows of
 * `usage_rows`, or of a segment's `usage`, by a to f in one pass. Gives a JSON array of [a, b, c, d, e, f, statements,
 * allowed, denied, failed, different values of who, rows, newest at], in an order that hangs on a to f alone. GROUP BY
 * would sort a million rows by their texts first, which takes ten times as long as reading them.
 */
#include "proxy/audit/db_int.h"
#include "proxy/base/bytes.h"

#include <stdlib.h>
#include <string.h>

#define KEYS 6
/* Groups, and pairs of a group and a value: what a table of these may take of memory (some 100 bytes each). */
#define ENTRIES_MAX ((size_t) 4000000)

enum sum { SUM_STATEMENTS, SUM_ALLOWED, SUM_DENIED, SUM_FAILED, SUM_COUNT };
enum argument { ARG_WHO = KEYS, ARG_SUMS, ARG_ROWS = ARG_SUMS + SUM_COUNT, ARG_AT, ARG_COUNT };

struct slot {
    uint32_t number; /* a string's and 1; 0: free */
    uint32_t tag;    /* half of its hash, so that most others need no look */
};

/* A hash table of byte strings, numbered as they came. */
struct set {
    struct pv_buf bytes; /* all strings, one after another */
    size_t *ends;        /* of each */
    size_t count, size;
    struct slot *slots; /* a power of two of them, at least half free */
    size_t slot_count;
};

struct group {
    int64_t sums[SUM_COUNT], who, rows;
    bool has_rows;
    char at[PV_RECORD_TIME_SIZE];
};

struct tally {
    struct set keys; /* of groups, by number */
    struct set pairs;
    struct group *groups;
    size_t group_size;
    struct pv_buf key; /* the row at hand */
    bool has_failed;   /* the tables may not belong together */
};

/* ---- Sets ---- */

static void
set_clear(struct set *set)
{
    pv_buf_clear(&set->bytes);
    pv_free(set->ends);
    pv_free(set->slots);
}

/* As FNV-1a, by words. The strings are names that a policy gave, not of whoever would have them collide. */
static uint64_t
hash_of(struct pv_slice string)
{
    uint64_t hash = UINT64_C(14695981039346656037) ^ string.len;

    for (size_t at = 0; at < string.len; at += sizeof(uint64_t)) {
        size_t left = string.len - at;
        uint64_t word = 0;

        memcpy(&word, string.data + at, left < sizeof(word) ? left : sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash;
}

static struct pv_slice
set_at(const struct set *set, size_t number)
{
    size_t from = number == 0 ? 0 : set->ends[number - 1];

    return pv_slice_of(pv_buf_slice(&set->bytes).data + from, set->ends[number] - from);
}

/* The slot that holds the string, or would. */
static struct slot *
slot_of(const struct set *set, struct pv_slice string, uint64_t hash)
{
    size_t at = (size_t) hash & (set->slot_count - 1);

    for (;; at = (at + 1) & (set->slot_count - 1)) {
        struct slot *slot = &set->slots[at];

        if (slot->number == 0 ||
            (slot->tag == (uint32_t) (hash >> 32) && pv_slice_equal(set_at(set, slot->number - 1), string)))
            return slot;
    }
}

static enum pv_status
set_grow(struct set *set)
{
    size_t size = set->size == 0 ? 64 : set->size * 2;
    size_t *ends = pv_realloc(set->ends, size * sizeof(*ends));
    struct slot *slots = pv_calloc(size * 2, sizeof(*slots));

    if (ends != NULL)
        set->ends = ends;
    if (ends == NULL || slots == NULL) {
        pv_free(slots);
        return PV_NOMEM;
    }
    pv_free(set->slots);
    set->slots = slots;
    set->slot_count = size * 2;
    set->size = size;
    for (size_t i = 0; i < set->count; i++) {
        uint64_t hash = hash_of(set_at(set, i));

        *slot_of(set, set_at(set, i), hash) = (struct slot){(uint32_t) (i + 1), (uint32_t) (hash >> 32)};
    }
    return PV_OK;
}

/* Its number; PV_LIMIT: too many. */
static enum pv_status
set_put(struct set *set, struct pv_slice string, size_t *number, bool *is_new)
{
    uint64_t hash = hash_of(string);
    struct slot *slot;
    enum pv_status status = set->count == set->size ? set_grow(set) : PV_OK;

    if (status != PV_OK)
        return status;
    slot = slot_of(set, string, hash);
    *is_new = slot->number == 0;
    if (!*is_new) {
        *number = slot->number - 1;
        return PV_OK;
    }
    if (set->count == ENTRIES_MAX)
        return PV_LIMIT;
    pv_buf_put_slice(&set->bytes, string);
    if (!pv_buf_ok(&set->bytes))
        return PV_NOMEM;
    *number = set->count++;
    set->ends[*number] = pv_buf_len(&set->bytes);
    *slot = (struct slot){(uint32_t) set->count, (uint32_t) (hash >> 32)};
    return PV_OK;
}

/* ---- Rows ---- */

static struct pv_slice
text_of(sqlite3_value *value)
{
    const void *text = sqlite3_value_text(value);

    return pv_slice_of(text, text == NULL ? 0 : (size_t) sqlite3_value_bytes(value));
}

/* NULL is a value of its own. */
static void
put_key(struct pv_buf *key, sqlite3_value *value)
{
    struct pv_slice text = text_of(value);
    bool is_null = sqlite3_value_type(value) == SQLITE_NULL;

    pv_buf_put_u8(key, is_null ? 0 : 1);
    if (is_null)
        return;
    pv_buf_put_u32(key, (uint32_t) text.len);
    pv_buf_put_slice(key, text);
}

static enum pv_status
find_group(struct tally *tally, sqlite3_value **argv, size_t *number)
{
    bool is_new;
    enum pv_status status;

    pv_buf_truncate(&tally->key, 0);
    for (int i = 0; i < KEYS; i++)
        put_key(&tally->key, argv[i]);
    if (!pv_buf_ok(&tally->key))
        return PV_NOMEM;
    status = set_put(&tally->keys, pv_buf_slice(&tally->key), number, &is_new);
    if (status != PV_OK || !is_new)
        return status;
    if (*number >= tally->group_size) {
        size_t size = tally->group_size == 0 ? 64 : tally->group_size * 2;
        struct group *groups = pv_realloc(tally->groups, size * sizeof(*groups));

        if (groups == NULL)
            return PV_NOMEM;
        tally->groups = groups;
        tally->group_size = size;
    }
    tally->groups[*number] = (struct group){0};
    return PV_OK;
}

static enum pv_status
count_who(struct tally *tally, size_t number, sqlite3_value *who)
{
    bool is_new = false;
    size_t pair;
    enum pv_status status;

    if (sqlite3_value_type(who) == SQLITE_NULL)
        return PV_OK;
    pv_buf_truncate(&tally->key, 0);
    pv_buf_put_u32(&tally->key, (uint32_t) number);
    pv_buf_put_slice(&tally->key, text_of(who));
    if (!pv_buf_ok(&tally->key))
        return PV_NOMEM;
    status = set_put(&tally->pairs, pv_buf_slice(&tally->key), &pair, &is_new);
    if (status == PV_OK && is_new)
        tally->groups[number].who++;
    return status;
}

/* No sum of a log comes near the end of what a number holds; one of a file that somebody wrote by hand may. */
static void
add(int64_t *sum, sqlite3_value *value)
{
    if (__builtin_add_overflow(*sum, sqlite3_value_int64(value), sum))
        *sum = INT64_MAX;
}

static enum pv_status
count(struct tally *tally, sqlite3_value **argv)
{
    size_t number = 0;
    enum pv_status status = find_group(tally, argv, &number);
    struct group *group;
    struct pv_slice at;

    if (status != PV_OK)
        return status;
    group = &tally->groups[number];
    for (int i = 0; i < SUM_COUNT; i++)
        add(&group->sums[i], argv[ARG_SUMS + i]);
    if (sqlite3_value_type(argv[ARG_ROWS]) != SQLITE_NULL) {
        group->has_rows = true;
        add(&group->rows, argv[ARG_ROWS]);
    }
    at = text_of(argv[ARG_AT]);
    if (at.len > 0 && at.len < sizeof(group->at) && (group->at[0] == '\0' || memcmp(at.data, group->at, at.len) > 0)) {
        memcpy(group->at, at.data, at.len);
        group->at[at.len] = '\0';
    }
    return count_who(tally, number, argv[ARG_WHO]);
}

/* ---- What SQLite calls ---- */

static void
fail(sqlite3_context *context, enum pv_status status)
{
    if (status == PV_LIMIT)
        sqlite3_result_error(context, "too many different values to count by", -1);
    else
        sqlite3_result_error_nomem(context);
}

static void
step(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct tally **held = sqlite3_aggregate_context(context, (int) sizeof(*held));
    enum pv_status status = PV_OK;

    pv_assert(argc == ARG_COUNT);
    if (held != NULL && *held == NULL)
        *held = pv_calloc(1, sizeof(**held));
    status = held == NULL || *held == NULL ? PV_NOMEM : count(*held, argv);
    if (status == PV_OK)
        return;
    if (held != NULL && *held != NULL)
        (*held)->has_failed = true;
    fail(context, status);
}

/* Of two keys. */
static int
compare(const void *left, const void *right, void *context)
{
    const struct set *keys = context;
    struct pv_slice a = set_at(keys, *(const uint32_t *) left), b = set_at(keys, *(const uint32_t *) right);
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Numbers of groups in the order of their keys; freed with pv_free. NULL: out of memory. */
static uint32_t *
order_of(struct set *keys)
{
    uint32_t *order = pv_calloc(keys->count + 1, sizeof(*order));

    for (size_t i = 0; order != NULL && i < keys->count; i++)
        order[i] = (uint32_t) i;
    if (order != NULL)
        qsort_r(order, keys->count, sizeof(*order), compare, keys);
    return order;
}

static void
put_group(struct pv_buf *out, const struct tally *tally, size_t number)
{
    const struct group *group = &tally->groups[number];
    struct pv_reader reader = pv_reader_of(set_at(&tally->keys, number));

    pv_buf_put_text(out, pv_buf_len(out) == 1 ? "[" : ",[");
    for (int i = 0; i < KEYS; i++) {
        struct pv_slice text = {NULL, 0};
        uint32_t len = 0;
        uint8_t is_text = 0;

        if (pv_read_u8(&reader, &is_text) == PV_OK && is_text != 0 && pv_read_u32(&reader, &len) == PV_OK &&
            pv_read_slice(&reader, len, &text) == PV_OK)
            pv_buf_put_json(out, text);
        else
            pv_buf_put_text(out, "null");
        pv_buf_put_u8(out, ',');
    }
    for (int i = 0; i < SUM_COUNT; i++)
        pv_buf_printf(out, "%lld,", (long long) group->sums[i]);
    pv_buf_printf(out, "%lld,", (long long) group->who);
    if (group->has_rows)
        pv_buf_printf(out, "%lld,", (long long) group->rows);
    else
        pv_buf_put_text(out, "null,");
    pv_buf_printf(out, group->at[0] == '\0' ? "null]" : "\"%s\"]", group->at);
}

/* Also called, without rows, for what ends early: so it is here that everything is freed. */
static void
finish(sqlite3_context *context)
{
    struct tally **held = sqlite3_aggregate_context(context, 0);
    struct tally *tally = held == NULL ? NULL : *held;
    uint32_t *order = tally == NULL || tally->has_failed ? NULL : order_of(&tally->keys);
    struct pv_buf out = {0};

    pv_buf_put_u8(&out, '[');
    for (size_t i = 0; order != NULL && i < tally->keys.count; i++)
        put_group(&out, tally, order[i]);
    pv_buf_put_u8(&out, ']');
    if (pv_buf_ok(&out) && (tally == NULL || order != NULL))
        sqlite3_result_text64(context, (const char *) pv_buf_slice(&out).data, pv_buf_len(&out), SQLITE_TRANSIENT,
                              SQLITE_UTF8);
    else
        sqlite3_result_error_nomem(context);
    pv_buf_clear(&out);
    pv_free(order);
    if (tally == NULL)
        return;
    set_clear(&tally->keys);
    set_clear(&tally->pairs);
    pv_buf_clear(&tally->key);
    pv_free(tally->groups);
    pv_free(tally);
    *held = NULL;
}

enum pv_status
pv_tally_add(sqlite3 *sqlite)
{
    return pv_db_status(sqlite3_create_function_v2(sqlite, "pv_tally", ARG_COUNT,
                                                   SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL, NULL,
                                                   step, finish, NULL));
}
