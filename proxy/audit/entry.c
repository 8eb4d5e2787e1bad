/* Records as they are queued: their values one behind the other, in pieces of the heap that hold many of them. */
#include "proxy/audit/record_int.h"

/* A record becomes at most a statement's values and an end's. */
#define VALUES_MAX (PV_BEGIN_VALUES + PV_END_VALUES)

/*
 * Writes an entry's values where there is room for them, and counts the bytes that they take in any case: what does not
 * fit is built again elsewhere.
 */
struct builder {
    struct pv_value *next; /* room for as many as the kind of record has */
    uint8_t *at, *end;     /* of the packed values */
    size_t needed;         /* bytes packed */
    size_t begin_needed;   /* of them a statement's begin's */
    bool is_invalid;
};

/* Inline: there are nineteen of them in a statement's record, of known kinds. */
static inline __attribute__((always_inline)) void
add(struct builder *builder, struct pv_value value)
{
    size_t size = pv_value_size(&value);

    builder->needed += size;
    if ((size_t) (builder->end - builder->at) >= size) {
        builder->at = pv_value_put(builder->at, &value);
        if (value.kind == PV_VALUE_TEXT)
            value.data = builder->at - value.len;
    }
    *builder->next++ = value;
}

static inline void
add_null(struct builder *builder)
{
    add(builder, (struct pv_value){.kind = PV_VALUE_NULL});
}

static inline __attribute__((always_inline)) void
add_bytes(struct builder *builder, const void *data, size_t len)
{
    add(builder, (struct pv_value){.kind = PV_VALUE_TEXT, .data = data, .len = len});
}

static inline __attribute__((always_inline)) void
add_text(struct builder *builder, const char *text)
{
    if (text == NULL)
        add_null(builder);
    else
        add_bytes(builder, text, strlen(text));
}

#define add_word(builder, word) add_bytes(builder, word, sizeof(word) - 1)

/* SQLite's integers are signed. */
static void
add_number(struct builder *builder, uint64_t number)
{
    builder->is_invalid = builder->is_invalid || number > INT64_MAX;
    add(builder, (struct pv_value){.kind = PV_VALUE_INT, .number = (int64_t) number});
}

/* 0 stands for a number that is not there. */
static void
add_number_or_null(struct builder *builder, uint64_t number)
{
    if (number == 0)
        add_null(builder);
    else
        add_number(builder, number);
}

static void
add_time(struct builder *builder, int64_t at_us)
{
    char text[PV_RECORD_TIME_SIZE];

    pv_record_time_format(at_us == 0 ? pv_record_now_us() : at_us, text);
    add_bytes(builder, text, sizeof(text) - 1);
}

static void
build_begin(struct builder *builder, const struct pv_statement_begin *begin)
{
    if (begin->id == 0)
        builder->is_invalid = true;
    add_number(builder, begin->id);
    add_time(builder, begin->at_us);
    add_number_or_null(builder, begin->session);
    add_text(builder, begin->room);
    add_text(builder, begin->user);
    add_text(builder, begin->party);
    add_text(builder, begin->client);
    add_text(builder, begin->application);
    if (begin->protocol == PV_RECORD_SIMPLE)
        add_word(builder, "simple");
    else
        add_word(builder, "extended");
    add_text(builder, begin->question);
    add_text(builder, begin->question_type);
    if (begin->is_allowed)
        add_word(builder, "allowed");
    else
        add_word(builder, "denied");
    add_text(builder, begin->reason);
    if (begin->has_query)
        add_bytes(builder, begin->query.data, begin->query.len);
    else
        add_null(builder);
    add_text(builder, begin->parameters);
    add_text(builder, begin->forwarded);
    add_text(builder, begin->datasets == NULL ? "[]" : begin->datasets);
    add_text(builder, begin->columns == NULL ? "[]" : begin->columns);
    add_text(builder, begin->service);
}

static void
build_end(struct builder *builder, uint64_t id, const struct pv_statement_end *end)
{
    static const char *const suppressed[] = {
        [PV_SUPPRESSED_UNKNOWN] = NULL, [PV_SUPPRESSED_NONE] = "none", [PV_SUPPRESSED_SOME] = "some"};
    bool is_unseen = end->is_unseen;

    if (id == 0 || pv_outcome_word(end->outcome) == NULL || (size_t) end->suppressed >= PV_COUNT_OF(suppressed)) {
        builder->is_invalid = true;
        return;
    }
    add_number(builder, id);
    add_time(builder, end->at_us);
    if (is_unseen)
        add_null(builder);
    else
        add_number(builder, end->rows);
    add_text(builder, suppressed[end->suppressed]);
    if (is_unseen) {
        add_null(builder);
        add_null(builder);
    } else {
        add_number(builder, end->bytes);
        add_number(builder, end->duration_us);
    }
    add_text(builder, pv_outcome_word(end->outcome));
    add_text(builder, end->sqlstate);
    add_text(builder, end->reason);
}

static void
build_event(struct builder *builder, const struct pv_event *event)
{
    if (event->event == NULL)
        builder->is_invalid = true;
    add_time(builder, event->at_us);
    add_number_or_null(builder, event->session);
    add_text(builder, event->room);
    add_text(builder, event->user);
    add_text(builder, event->client);
    add_text(builder, event->event);
    add_text(builder, event->detail);
}

/* The end that a statement gets whose budget is spent. */
static void
build_takes(struct builder *builder, const struct pv_statement_begin *begin)
{
    const struct pv_statement_end end = {.at_us = begin->at_us, .outcome = PV_OUTCOME_FAILED, .sqlstate = "53400"};

    if (!begin->is_allowed)
        builder->is_invalid = true;
    for (size_t i = 0; i < begin->take_count; i++)
        if (begin->takes[i].key == NULL || begin->takes[i].period == NULL || begin->takes[i].runs > INT64_MAX)
            builder->is_invalid = true;
    build_end(builder, begin->id, &end);
}

/* ---- Entries ---- */

/* Records of one piece: a hundred of common size. */
#define CHUNK_BYTES (64u * 1024u)
/* A larger record has a piece of its own. */
#define CHUNK_SHARE_MAX (8u * 1024u)

#if defined(__SANITIZE_ADDRESS__)
#define IS_CHUNKED false /* so that each record's end is watched */
#elif defined(__has_feature)
#define IS_CHUNKED (!__has_feature(address_sanitizer))
#else
#define IS_CHUNKED true
#endif

/*
 * `refs` counts the entries that live in it. While it is being filled it holds a number that no count of entries
 * reaches, of which what was not given out is taken off at the end: so giving one out touches nothing that others look
 * at.
 */
struct pv_entry_chunk {
    _Atomic uint32_t refs;
    uint32_t given;
    size_t used;
    max_align_t data[];
};

static void
leave_chunk(struct pv_entry_chunk *chunk, uint32_t refs)
{
    if (atomic_fetch_sub(&chunk->refs, refs) == refs)
        pv_free(chunk);
}

void
pv_entry_room_clear(struct pv_entry_room *room)
{
    if (room->chunk != NULL)
        leave_chunk(room->chunk, UINT32_MAX - room->chunk->given);
    room->chunk = NULL;
}

/* Room in a chunk, where there is to be one: begun anew when there is less than what is mostly needed. */
static uint8_t *
open_room(struct pv_entry_room *room, size_t *size)
{
    *size = 0;
    if (!IS_CHUNKED || room == NULL)
        return NULL;
    if (room->chunk == NULL || CHUNK_BYTES - room->chunk->used < CHUNK_SHARE_MAX) {
        pv_entry_room_clear(room);
        room->chunk = pv_alloc(sizeof(*room->chunk) + CHUNK_BYTES);
        if (room->chunk == NULL)
            return NULL;
        atomic_init(&room->chunk->refs, UINT32_MAX);
        room->chunk->given = 0;
        room->chunk->used = 0;
    }
    *size = CHUNK_SHARE_MAX;
    return (uint8_t *) room->chunk->data + room->chunk->used;
}

static void
take_room(struct pv_entry_room *room, size_t size)
{
    room->chunk->used += (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    room->chunk->given++;
}

static size_t
text_size(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static const char *
place_text(uint8_t **at, const char *text)
{
    const char *placed = (const char *) *at;

    if (text == NULL)
        return NULL;
    memcpy(*at, text, strlen(text) + 1);
    *at += strlen(text) + 1;
    return placed;
}

/* `at` is aligned: it follows the values. Gives the first byte behind. */
static uint8_t *
copy_takes(struct pv_entry *entry, const struct pv_budget_take *takes, uint8_t *at)
{
    entry->takes = (struct pv_budget_take *) (void *) at;
    at += entry->take_count * sizeof(entry->takes[0]);
    for (size_t i = 0; i < entry->take_count; i++) {
        entry->takes[i] = takes[i];
        entry->takes[i].key = place_text(&at, takes[i].key);
        entry->takes[i].period = place_text(&at, takes[i].period);
        entry->takes[i].reason = place_text(&at, takes[i].reason);
    }
    return at;
}

static size_t
value_count(const struct pv_record *record)
{
    switch (record->kind) {
    case PV_RECORD_BEGIN:
        return PV_BEGIN_VALUES + (record->begin->take_count > 0 ? PV_END_VALUES : 0);
    case PV_RECORD_END:
        return PV_END_VALUES;
    case PV_RECORD_WHOLE:
        return VALUES_MAX;
    case PV_RECORD_EVENT:
        return PV_EVENT_VALUES;
    }
    return 0;
}

static size_t
takes_size(const struct pv_statement_begin *begin)
{
    size_t size = begin->take_count * sizeof(begin->takes[0]);

    for (size_t i = 0; i < begin->take_count; i++)
        size += text_size(begin->takes[i].key) + text_size(begin->takes[i].period) + text_size(begin->takes[i].reason);
    return size;
}

/* What no record may be, told before any of its values is built. */
static void
build_check(struct builder *builder, const struct pv_record *record)
{
    const struct pv_statement_begin *begin = record->begin;

    if (value_count(record) == 0 ||
        (begin != NULL && begin->take_count > 0 && (record->kind != PV_RECORD_BEGIN || record->is_kept)))
        builder->is_invalid = true;
}

static void
build(struct builder *builder, const struct pv_record *record)
{
    switch (record->kind) {
    case PV_RECORD_BEGIN:
        build_begin(builder, record->begin);
        builder->begin_needed = builder->needed;
        if (record->begin->take_count > 0)
            build_takes(builder, record->begin);
        break;
    case PV_RECORD_END:
        build_end(builder, record->end->id, record->end);
        break;
    case PV_RECORD_WHOLE:
        build_begin(builder, record->begin);
        builder->begin_needed = builder->needed;
        build_end(builder, record->begin->id, record->end);
        break;
    case PV_RECORD_EVENT:
        build_event(builder, record->event);
        break;
    }
}

/* Builds the record into `size` bytes; gives how many it takes, which may be more, or 0 for one that is not valid. */
static size_t
build_into(const struct pv_record *record, uint8_t *bytes, size_t size)
{
    struct pv_entry *made = (struct pv_entry *) (void *) bytes;
    const struct pv_statement_begin *begin = record->kind == PV_RECORD_BEGIN ? record->begin : NULL;
    size_t count = value_count(record);
    size_t fixed = sizeof(*made) + count * sizeof(made->values[0]);
    struct pv_value nowhere[VALUES_MAX];
    struct builder builder = {.next = nowhere};

    build_check(&builder, record);
    if (builder.is_invalid)
        return 0;
    if (begin != NULL && begin->take_count > 0)
        fixed += takes_size(begin);
    if (size >= fixed) {
        builder.next = made->values;
        builder.at = bytes + fixed;
        builder.end = bytes + size;
    }
    build(&builder, record);
    if (builder.is_invalid)
        return 0;
    if (fixed + builder.needed > size)
        return fixed + builder.needed;
    memset(made, 0, sizeof(*made));
    atomic_init(&made->refs, 1);
    made->size = fixed + builder.needed;
    made->kind = record->kind;
    made->is_kept = record->is_kept || record->kind == PV_RECORD_END;
    made->value_count = count;
    made->packed = bytes + fixed;
    made->packed_len = builder.needed;
    made->packed_begin_len = builder.begin_needed;
    if (begin != NULL && begin->take_count > 0) {
        made->take_count = begin->take_count;
        (void) copy_takes(made, begin->takes, (uint8_t *) &made->values[count]);
    }
    return made->size;
}

enum pv_status
pv_entry_new(struct pv_entry_room *room, const struct pv_record *record, struct pv_entry **entry)
{
    size_t size, needed;
    uint8_t *bytes = open_room(room, &size);

    needed = build_into(record, bytes, size);
    if (needed == 0)
        return PV_INVALID;
    if (needed <= size) {
        *entry = (struct pv_entry *) (void *) bytes;
        (*entry)->chunk = room->chunk;
        take_room(room, needed);
        return PV_OK;
    }
    bytes = pv_alloc(needed);
    if (bytes == NULL)
        return PV_NOMEM;
    needed = build_into(record, bytes, needed);
    *entry = (struct pv_entry *) (void *) bytes;
    return PV_OK;
}

void
pv_entry_unref(struct pv_entry *entry)
{
    if (entry == NULL || atomic_fetch_sub(&entry->refs, 1) != 1)
        return;
    if (entry->chunk != NULL)
        leave_chunk(entry->chunk, 1);
    else
        pv_free(entry);
}

/* Length of the character at `at`, 0 when it is none. */
static size_t
utf8_step(const uint8_t *at, size_t left)
{
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;

    return len <= left && pv_utf8_valid(pv_slice_of(at, len)) ? len : 0;
}

static void
mend_text(struct pv_entry *entry, const struct pv_value *value)
{
    /* The bytes are the entry's own, behind its values. */
    size_t offset = (size_t) (value->data - (const uint8_t *) entry);
    size_t step;

    for (size_t i = 0; i < value->len; i += step) {
        step = utf8_step(value->data + i, value->len - i);
        if (step == 0) {
            ((uint8_t *) entry)[offset + i] = '?';
            step = 1;
        }
    }
}

void
pv_entry_settle(struct pv_entry *entry)
{
    enum { QUERY = 13 };
    bool has_statement = entry->kind == PV_RECORD_BEGIN || entry->kind == PV_RECORD_WHOLE;

    for (size_t i = 0; i < entry->value_count; i++) {
        struct pv_value *value = &entry->values[i];

        if (value->kind != PV_VALUE_TEXT || pv_utf8_valid(pv_slice_of(value->data, value->len)))
            continue;
        entry->packed = NULL;
        if (has_statement && i == QUERY)
            value->kind = PV_VALUE_BLOB;
        else
            mend_text(entry, value);
    }
}

void
pv_entry_deny(struct pv_entry *entry, size_t spent)
{
    enum { DECISION = 11, REASON = 12, FORWARDED = 15 };
    static const char decision[] = "denied";
    const char *reason = entry->takes[spent].reason;

    pv_assert(entry->kind == PV_RECORD_BEGIN && spent < entry->take_count);
    entry->packed = NULL;
    entry->kind = PV_RECORD_WHOLE;
    entry->spent = spent;
    entry->values[DECISION].data = (const uint8_t *) decision;
    entry->values[DECISION].len = sizeof(decision) - 1;
    entry->values[FORWARDED] = (struct pv_value){.kind = PV_VALUE_NULL};
    if (reason != NULL)
        entry->values[REASON] = (struct pv_value){PV_VALUE_TEXT, 0, (const uint8_t *) reason, strlen(reason)};
}
