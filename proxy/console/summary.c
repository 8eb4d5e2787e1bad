/*
 * A stretch of the log in numbers: over time, by room, member, question, reason of denial and column. One pass over the
 * records, newest first, so that what the time limit cuts off is the oldest.
 *
 * The newest answers are kept for a while: longer where they took long. Their key holds the rooms, so nobody gets another's.
 */
#include "proxy/console/console_int.h"

#include "parser/key.h"
#include "policy/decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Points of the chart, and how far back it may go. */
#define STEPS_MAX 750
#define STEP_S_MIN 60
#define STEP_S_MAX (30 * 86400)
/* Different keys of one tally; what comes beyond is counted nowhere but in the totals, and said. */
#define ENTRIES_MAX 5000u
#define SLOTS 16384u
#define KEPT 16u
#define KEPT_MS_MIN 2000u
#define KEPT_MS_MAX 60000u
/* Columns of one statement's list. */
#define SEPARATOR '\x1f'

/* ---- Tallies ---- */

struct entry {
    char *key; /* parts with a separator between them; in the arena */
    size_t key_len;
    uint64_t count, denied, rows;
    char last_at[PV_RECORD_TIME_SIZE];
    char *example; /* of the newest; in the arena, or NULL */
};

struct tally {
    struct entry *entries;
    size_t count;
    uint16_t *slots; /* 1 + index of an entry; 0: free */
    bool is_cut;
};

struct pass {
    struct pv_arena *arena;
    struct pv_key key;
    struct tally rooms, members, questions, codes, reads;
    int64_t since_us, step_us;
    size_t step_count;
    uint64_t *allowed, *denied; /* by step */
    uint64_t statements, denials, rows;
    struct pv_buf text; /* a key that is put together */
    bool is_failed;
};

static bool
tally_init(struct pass *pass, struct tally *tally)
{
    tally->entries = pv_arena_alloc(pass->arena, ENTRIES_MAX * sizeof(*tally->entries));
    tally->slots = pv_arena_alloc(pass->arena, SLOTS * sizeof(*tally->slots));
    if (tally->entries == NULL || tally->slots == NULL)
        return false;
    memset(tally->slots, 0, SLOTS * sizeof(*tally->slots));
    return true;
}

static struct entry *
tally_find(struct pass *pass, struct tally *tally, struct pv_slice key)
{
    size_t at = pv_key_hash(&pass->key, key) % SLOTS;
    struct entry *entry;

    for (; tally->slots[at] != 0; at = (at + 1) % SLOTS) {
        entry = &tally->entries[tally->slots[at] - 1];
        if (entry->key_len == key.len && memcmp(entry->key, key.data, key.len) == 0)
            return entry;
    }
    if (tally->count == ENTRIES_MAX) {
        tally->is_cut = true;
        return NULL;
    }
    entry = &tally->entries[tally->count];
    memset(entry, 0, sizeof(*entry));
    entry->key = pv_arena_strndup(pass->arena, (const char *) key.data, key.len);
    entry->key_len = key.len;
    if (entry->key == NULL) {
        pass->is_failed = true;
        return NULL;
    }
    tally->slots[at] = (uint16_t) (++tally->count);
    return entry;
}

/* Newest first: the first time that is seen of a key is its last. */
static struct entry *
tally_add(struct pass *pass, struct tally *tally, const struct pv_browse_fact *fact, const struct pv_slice *parts,
          size_t part_count)
{
    struct entry *entry;

    pv_buf_truncate(&pass->text, 0);
    for (size_t i = 0; i < part_count; i++) {
        if (i > 0)
            pv_buf_put_u8(&pass->text, SEPARATOR);
        pv_buf_put_slice(&pass->text, parts[i]);
    }
    if (!pv_buf_ok(&pass->text)) {
        pass->is_failed = true;
        return NULL;
    }
    entry = tally_find(pass, tally, pv_buf_slice(&pass->text));
    if (entry == NULL)
        return NULL;
    if (entry->count++ == 0)
        (void) snprintf(entry->last_at, sizeof(entry->last_at), "%.*s", (int) fact->at.len,
                        (const char *) fact->at.data);
    entry->denied += fact->is_denied;
    entry->rows += fact->rows;
    return entry;
}

/* ---- The pass ---- */

static struct pv_slice
code_of(struct pv_slice reason)
{
    const uint8_t *colon = reason.len == 0 ? NULL : memchr(reason.data, ':', reason.len);

    return colon == NULL ? reason : pv_slice_of(reason.data, (size_t) (colon - reason.data));
}

static void
count_denial(struct pass *pass, const struct pv_browse_fact *fact)
{
    const struct pv_slice parts[] = {fact->room, code_of(fact->reason), fact->sqlstate};
    struct entry *entry = tally_add(pass, &pass->codes, fact, parts, PV_COUNT_OF(parts));

    if (entry != NULL && entry->example == NULL && fact->reason.len > 0)
        entry->example = pv_arena_strndup(pass->arena, (const char *) fact->reason.data, fact->reason.len);
}

static void
take_fact(void *context, const struct pv_browse_fact *fact)
{
    struct pass *pass = context;
    const struct pv_slice member[] = {fact->room, fact->user};
    const struct pv_slice question[] = {fact->room, fact->question};
    const struct pv_slice read[] = {fact->room, fact->user, fact->columns};
    size_t step = fact->at_us <= pass->since_us ? 0 : (size_t) ((fact->at_us - pass->since_us) / pass->step_us);

    pass->statements++;
    pass->denials += fact->is_denied;
    pass->rows += fact->rows;
    /* A clock that was set back leaves records from the future: they are counted at the end. */
    if (step >= pass->step_count)
        step = pass->step_count - 1;
    (fact->is_denied ? pass->denied : pass->allowed)[step]++;
    (void) tally_add(pass, &pass->rooms, fact, member, 1);
    (void) tally_add(pass, &pass->members, fact, member, 2);
    if (fact->question.len > 0)
        (void) tally_add(pass, &pass->questions, fact, question, 2);
    if (fact->is_denied)
        count_denial(pass, fact);
    else if (fact->columns.len > 2)
        (void) tally_add(pass, &pass->reads, fact, read, 3);
}

/* ---- JSON of tallies ---- */

/* The n-th part of a key. */
static struct pv_slice
part_of(const struct entry *entry, size_t n)
{
    const char *at = entry->key, *end = entry->key + entry->key_len;

    for (; n > 0; n--) {
        const char *found = memchr(at, SEPARATOR, (size_t) (end - at));

        if (found == NULL)
            return pv_slice_of(NULL, 0);
        at = found + 1;
    }
    {
        const char *found = memchr(at, SEPARATOR, (size_t) (end - at));

        return pv_slice_of(at, (size_t) ((found == NULL ? end : found) - at));
    }
}

static json_t *
entry_json(const struct entry *entry, const char *const *names)
{
    json_t *object = json_pack("{s:I,s:I,s:I,s:s}", "statements", (json_int_t) entry->count, "denied",
                               (json_int_t) entry->denied, "rows", (json_int_t) entry->rows, "last_at", entry->last_at);

    for (size_t i = 0; names[i] != NULL; i++)
        (void) json_object_set_new(object, names[i], pv_console_text(part_of(entry, i)));
    return object;
}

static json_t *
tally_json(const struct tally *tally, const char *const *names)
{
    json_t *array = json_array();

    for (size_t i = 0; i < tally->count; i++)
        (void) json_array_append_new(array, entry_json(&tally->entries[i], names));
    return array;
}

/* What each reason's code says in general: policy/decide.h. */
static const char *
words_of(struct pv_slice code)
{
#define PV_X(name, word, words) \
    if (pv_slice_is(code, word)) \
        return words;
    PV_REASON_TABLE(PV_X)
#undef PV_X
    return NULL;
}

static json_t *
codes_json(const struct tally *tally)
{
    static const char *const names[] = {"room", "code", "sqlstate", NULL};
    json_t *array = json_array();

    for (size_t i = 0; i < tally->count; i++) {
        const struct entry *entry = &tally->entries[i];
        const char *words = words_of(part_of(entry, 1));
        json_t *object = entry_json(entry, names);

        if (words != NULL)
            (void) json_object_set_new(object, "words", json_string(words));
        if (entry->example != NULL)
            (void) json_object_set_new(object, "example", pv_console_text(pv_slice_cstr(entry->example)));
        (void) json_array_append_new(array, object);
    }
    return array;
}

/* ---- Columns: who read which, and what is granted beside ---- */

/* The column's object in `all` (by room and name), made where it is missing. */
static json_t *
column_of(json_t *all, json_t *list, const char *room, const char *name)
{
    char key[512];
    json_t *column;

    (void) snprintf(key, sizeof(key), "%s%c%s", room, SEPARATOR, name);
    column = json_object_get(all, key);
    if (column != NULL)
        return column;
    column = json_pack("{s:s,s:s,s:b,s:I,s:n,s:[]}", "room", room, "column", name, "is_granted", 0, "reads",
                       (json_int_t) 0, "last_at", "readers");
    (void) json_array_append_new(list, column);
    (void) json_object_set(all, key, column);
    return column;
}

static void
add_reader(json_t *column, const struct entry *entry, struct pv_slice user)
{
    json_t *readers = json_object_get(column, "readers");
    const char *last_at = json_string_value(json_object_get(column, "last_at"));
    json_int_t reads = json_integer_value(json_object_get(column, "reads"));
    json_t *text = pv_console_text(user), *reader = NULL, *at;
    size_t i;

    (void) json_object_set_new(column, "reads", json_integer(reads + (json_int_t) entry->count));
    if (last_at == NULL || strcmp(entry->last_at, last_at) > 0)
        (void) json_object_set_new(column, "last_at", json_string(entry->last_at));
    json_array_foreach(readers, i, at)
    {
        if (json_equal(json_object_get(at, "user"), text))
            reader = at;
    }
    if (reader == NULL) {
        reader = json_pack("{s:O?,s:I,s:I,s:s}", "user", text, "reads", (json_int_t) 0, "rows", (json_int_t) 0,
                           "last_at", entry->last_at);
        (void) json_array_append_new(readers, reader);
    }
    json_decref(text);
    reads = json_integer_value(json_object_get(reader, "reads"));
    (void) json_object_set_new(reader, "reads", json_integer(reads + (json_int_t) entry->count));
    reads = json_integer_value(json_object_get(reader, "rows"));
    (void) json_object_set_new(reader, "rows", json_integer(reads + (json_int_t) entry->rows));
    last_at = json_string_value(json_object_get(reader, "last_at"));
    if (last_at == NULL || strcmp(entry->last_at, last_at) > 0)
        (void) json_object_set_new(reader, "last_at", json_string(entry->last_at));
}

static void
add_granted(const struct pv_call *call, const struct pv_call_rooms *rooms, json_t *all, json_t *list)
{
    for (size_t i = 0; i < rooms->count; i++) {
        const struct pv_room *room = pv_call_room(call, rooms->names[i]);

        for (size_t k = 0; room != NULL && k < room->dataset_count; k++)
            for (size_t c = 0; c < room->datasets[k].column_count; c++) {
                const struct pv_column *column = &room->datasets[k].columns[c];
                char name[256];

                if (column->category == 2)
                    continue;
                (void) snprintf(name, sizeof(name), "%s.%s", room->datasets[k].key, column->name);
                (void) json_object_set_new(column_of(all, list, room->name, name), "is_granted", json_true());
            }
    }
}

static json_t *
columns_json(const struct pv_call *call, const struct pv_call_rooms *rooms, const struct tally *reads)
{
    json_t *all = json_object(), *list = json_array();

    add_granted(call, rooms, all, list);
    for (size_t i = 0; i < reads->count; i++) {
        const struct entry *entry = &reads->entries[i];
        struct pv_slice room = part_of(entry, 0), names = part_of(entry, 2);
        json_t *array = json_loadb((const char *) names.data, names.len, 0, NULL), *name;
        char room_name[256];
        size_t n;

        (void) snprintf(room_name, sizeof(room_name), "%.*s", (int) room.len, (const char *) room.data);
        json_array_foreach(array, n, name)
        {
            if (json_is_string(name))
                add_reader(column_of(all, list, room_name, json_string_value(name)), entry, part_of(entry, 1));
        }
        json_decref(array);
    }
    json_decref(all);
    return list;
}

static json_t *
steps_json(const uint64_t *counts, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        (void) json_array_append_new(array, json_integer((json_int_t) counts[i]));
    return array;
}

/* ---- Answers that are kept ---- */

struct kept {
    char *key;
    struct pv_buf body;
    uint64_t until_ms;
};

struct pv_summaries {
    pthread_mutex_t lock;
    struct kept kept[KEPT];
};

struct pv_summaries *
pv_summaries_new(void)
{
    struct pv_summaries *made = pv_calloc(1, sizeof(*made));

    if (made != NULL)
        (void) pthread_mutex_init(&made->lock, NULL);
    return made;
}

static void
drop(struct kept *kept)
{
    pv_free(kept->key);
    pv_buf_clear(&kept->body);
    memset(kept, 0, sizeof(*kept));
}

void
pv_summaries_free(struct pv_summaries *summaries)
{
    if (summaries == NULL)
        return;
    for (size_t i = 0; i < KEPT; i++)
        drop(&summaries->kept[i]);
    (void) pthread_mutex_destroy(&summaries->lock);
    pv_free(summaries);
}

static bool
take_kept(struct pv_call *call, const char *key)
{
    struct pv_summaries *summaries = call->console->summaries;
    bool is_found = false;

    (void) pthread_mutex_lock(&summaries->lock);
    for (size_t i = 0; i < KEPT && !is_found; i++) {
        const struct kept *kept = &summaries->kept[i];

        if (kept->key == NULL || strcmp(kept->key, key) != 0 || pv_console_now_ms() >= kept->until_ms)
            continue;
        pv_buf_put_slice(&call->body, pv_buf_slice(&kept->body));
        is_found = pv_buf_ok(&call->body);
    }
    (void) pthread_mutex_unlock(&summaries->lock);
    if (is_found)
        call->code = 200;
    return is_found;
}

/* In place of the one that ends first. Without memory it is not kept. */
static void
keep(struct pv_call *call, const char *key, uint64_t took_ms)
{
    struct pv_summaries *summaries = call->console->summaries;
    struct kept *place = &summaries->kept[0];
    uint64_t hold_ms = took_ms * 10;

    hold_ms = hold_ms < KEPT_MS_MIN ? KEPT_MS_MIN : hold_ms > KEPT_MS_MAX ? KEPT_MS_MAX : hold_ms;
    (void) pthread_mutex_lock(&summaries->lock);
    for (size_t i = 1; i < KEPT; i++)
        if (summaries->kept[i].until_ms < place->until_ms)
            place = &summaries->kept[i];
    drop(place);
    place->key = pv_strdup(key);
    pv_buf_put_slice(&place->body, pv_buf_slice(&call->body));
    place->until_ms = pv_console_now_ms() + hold_ms;
    if (place->key == NULL || !pv_buf_ok(&place->body))
        drop(place);
    (void) pthread_mutex_unlock(&summaries->lock);
}

/* ---- The call ---- */

struct wish {
    struct pv_call_rooms rooms;
    int64_t since_us, step_us;
    size_t step_count;
};

static bool
read_wish(struct pv_call *call, struct wish *wish)
{
    const char *since = pv_call_text(call, "since"), *step = pv_call_text(call, "step");
    int64_t now_us = pv_record_now_us();
    long step_s = step == NULL ? 1800 : strspn(step, "0123456789") == strlen(step) ? strtol(step, NULL, 10) : 0;

    if (!pv_call_pick_rooms(call, &wish->rooms))
        return false;
    if (since == NULL || pv_record_time_parse(since, &wish->since_us) != PV_OK || wish->since_us > now_us) {
        pv_call_error(call, 400, "\"since\" must be a time in the past such as 2026-01-31T12:00:00Z");
        return false;
    }
    wish->step_us = (int64_t) step_s * 1000000;
    if (step_s < STEP_S_MIN || step_s > STEP_S_MAX || (now_us - wish->since_us) / wish->step_us >= STEPS_MAX) {
        pv_call_error(call, 400, "\"step\" must be seconds from %d to %d that make %d points at most", STEP_S_MIN,
                      STEP_S_MAX, STEPS_MAX);
        return false;
    }
    wish->step_count = (size_t) ((now_us - wish->since_us) / wish->step_us) + 1;
    return true;
}

static char *
key_of(const struct pv_call *call, const struct wish *wish)
{
    char *key = pv_arena_printf(call->arena, "%llu %lld %lld", (unsigned long long) pv_call_policy(call)->generation,
                                (long long) wish->since_us, (long long) wish->step_us);

    for (size_t i = 0; i < wish->rooms.count && key != NULL; i++)
        key = pv_arena_printf(call->arena, "%s\n%s", key, wish->rooms.names[i]);
    return key;
}

static bool
pass_init(struct pass *pass, struct pv_arena *arena, const struct wish *wish)
{
    struct tally *tallies[] = {&pass->rooms, &pass->members, &pass->questions, &pass->codes, &pass->reads};
    size_t size = wish->step_count * sizeof(*pass->allowed);

    memset(pass, 0, sizeof(*pass));
    pass->arena = arena;
    pass->since_us = wish->since_us;
    pass->step_us = wish->step_us;
    pass->step_count = wish->step_count;
    pass->allowed = pv_arena_alloc(arena, size);
    pass->denied = pv_arena_alloc(arena, size);
    if (pass->allowed == NULL || pass->denied == NULL || pv_key_make(&pass->key) != PV_OK)
        return false;
    memset(pass->allowed, 0, size);
    memset(pass->denied, 0, size);
    for (size_t i = 0; i < PV_COUNT_OF(tallies); i++)
        if (!tally_init(pass, tallies[i]))
            return false;
    return true;
}

static json_t *
pass_json(const struct pv_call *call, const struct wish *wish, const struct pass *pass, const struct pv_browse_end *end)
{
    static const char *const room[] = {"room", NULL}, *const user[] = {"room", "user", NULL},
                             *const question[] = {"room", "question", NULL};
    char since[PV_RECORD_TIME_SIZE];
    bool is_cut = pass->members.is_cut || pass->questions.is_cut || pass->codes.is_cut || pass->reads.is_cut;

    pv_record_time_format(wish->since_us, since);
    return json_pack("{s:s,s:I,s:o,s:o,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:b,s:s?,s:b}", "since", since, "step_s",
                     (json_int_t) (wish->step_us / 1000000), "allowed", steps_json(pass->allowed, pass->step_count),
                     "denied", steps_json(pass->denied, pass->step_count), "statements", (json_int_t) pass->statements,
                     "denials", (json_int_t) pass->denials, "rows", (json_int_t) pass->rows, "rooms",
                     tally_json(&pass->rooms, room), "members", tally_json(&pass->members, user), "questions",
                     tally_json(&pass->questions, question), "codes", codes_json(&pass->codes), "columns",
                     columns_json(call, &wish->rooms, &pass->reads), "is_overdue", end->is_overdue,
                     "reached", end->is_overdue ? end->last_at : NULL, "is_cut", is_cut);
}

void
pv_api_summary(struct pv_call *call)
{
    uint64_t began_ms = pv_console_now_ms();
    struct pv_log_reader *reader = NULL;
    struct pv_browse_end end;
    struct wish wish;
    struct pass pass;
    const char *key;
    enum pv_status status = PV_NOMEM;

    if (!read_wish(call, &wish))
        return;
    key = key_of(call, &wish);
    if (key != NULL && take_kept(call, key))
        return;
    if (key == NULL || !pass_init(&pass, call->arena, &wish)) {
        pv_call_error(call, 503, "out of memory");
        return;
    }
    if (!pv_call_reader(call, &wish.rooms, PV_CONSOLE_SUMMARY_MS, &reader))
        return;
    status = pv_browse_scan(reader, wish.since_us, take_fact, &pass, &end);
    pv_log_reader_close(reader);
    pv_buf_clear(&pass.text);
    if (status == PV_OK && pass.is_failed)
        status = PV_NOMEM;
    if (status != PV_OK) {
        pv_call_error(call, 503, "the query log cannot be read: %s", pv_status_words(status));
        return;
    }
    pv_call_json(call, pass_json(call, &wish, &pass, &end));
    if (call->code == 200)
        keep(call, key, pv_console_now_ms() - began_ms);
}
