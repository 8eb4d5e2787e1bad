#include "proxy/audit/record_int.h"

#include "proxy/crypto/mac.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define US_PER_S INT64_C(1000000)
/* Last microsecond of the year 9999: what four digits of a year can say. */
#define TIME_US_MAX INT64_C(253402300799999999)

/* A record becomes at most a statement's values and an end's. */
#define VALUES_MAX 32u

const struct pv_table pv_tables[PV_TABLE_COUNT] = {
    [PV_TABLE_STATEMENT] = {"statement", PV_STATEMENT_COLUMNS, PV_BEGIN_VALUES + PV_WHOLE_VALUES, 'B'},
    [PV_TABLE_STATEMENT_END] = {"statement_end", PV_STATEMENT_END_COLUMNS, 9, 'E'},
    [PV_TABLE_EVENT] = {"event", PV_EVENT_COLUMNS, 7, 'V'},
};

/* ---- Ids and times ---- */

static _Atomic uint64_t last_id;

uint64_t
pv_statement_id_next(void)
{
    return atomic_fetch_add(&last_id, 1) + 1;
}

void
pv_statement_id_raise(uint64_t id)
{
    uint64_t seen = atomic_load(&last_id);

    while (seen < id && !atomic_compare_exchange_weak(&last_id, &seen, id))
        ;
}

int64_t
pv_record_now_us(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t) now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

void
pv_record_time_format(int64_t at_us, char text[PV_RECORD_TIME_SIZE])
{
    /* Records come many a second: the calendar is asked once for each. */
    static _Thread_local time_t last = -1;
    static _Thread_local char date[24];
    int64_t us = at_us < 0 ? 0 : at_us > TIME_US_MAX ? TIME_US_MAX : at_us;
    time_t seconds = (time_t) (us / US_PER_S);
    unsigned fraction = (unsigned) (us % US_PER_S);

    if (seconds != last) {
        struct tm parts = {0};

        (void) gmtime_r(&seconds, &parts);
        (void) strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S.", &parts);
        last = seconds;
    }
    memcpy(text, date, 20);
    for (int i = 25; i >= 20; i--, fraction /= 10)
        text[i] = (char) ('0' + fraction % 10);
    memcpy(text + 26, "Z", 2);
}

/* Reads exactly `digits` digits and moves on; negative when they are not there. */
static int
read_digits(const char **at, int digits)
{
    int value = 0;

    for (int i = 0; i < digits; i++) {
        if (**at < '0' || **at > '9')
            return -1;
        value = value * 10 + (*(*at)++ - '0');
    }
    return value;
}

static bool
read_char(const char **at, const char *set)
{
    if (**at == '\0' || strchr(set, **at) == NULL)
        return false;
    (*at)++;
    return true;
}

/* `.123456`, any number of digits; the seventh and later ones are dropped. */
static bool
read_fraction(const char **at, int64_t *us)
{
    int64_t scale = US_PER_S / 10;

    *us = 0;
    if (!read_char(at, "."))
        return true;
    if (**at < '0' || **at > '9')
        return false;
    for (; **at >= '0' && **at <= '9'; (*at)++, scale /= 10)
        *us += (**at - '0') * scale;
    return true;
}

/* `Z` or `+01:00`; seconds to take off. */
static bool
read_zone(const char **at, int64_t *offset_s)
{
    int hours, minutes;
    bool is_west = **at == '-';

    *offset_s = 0;
    if (read_char(at, "Zz"))
        return true;
    if (!read_char(at, "+-"))
        return false;
    hours = read_digits(at, 2);
    if (hours < 0 || hours > 23 || !read_char(at, ":"))
        return false;
    minutes = read_digits(at, 2);
    if (minutes < 0 || minutes > 59)
        return false;
    *offset_s = (is_west ? -1 : 1) * (hours * 60 + minutes) * 60;
    return true;
}

/* RFC 3339 section 5.6. */
enum pv_status
pv_record_time_parse(const char *text, int64_t *at_us)
{
    const char *at = text;
    struct tm parts = {0};
    struct tm back;
    int64_t us = 0, offset_s = 0;
    time_t seconds;

    parts.tm_year = read_digits(&at, 4) - 1900;
    if (parts.tm_year < 70 || !read_char(&at, "-"))
        return PV_INVALID;
    parts.tm_mon = read_digits(&at, 2) - 1;
    if (parts.tm_mon < 0 || parts.tm_mon > 11 || !read_char(&at, "-"))
        return PV_INVALID;
    parts.tm_mday = read_digits(&at, 2);
    if (parts.tm_mday < 1 || parts.tm_mday > 31)
        return PV_INVALID;
    if (*at != '\0') {
        if (!read_char(&at, "Tt "))
            return PV_INVALID;
        parts.tm_hour = read_digits(&at, 2);
        if (parts.tm_hour < 0 || parts.tm_hour > 23 || !read_char(&at, ":"))
            return PV_INVALID;
        parts.tm_min = read_digits(&at, 2);
        if (parts.tm_min < 0 || parts.tm_min > 59 || !read_char(&at, ":"))
            return PV_INVALID;
        parts.tm_sec = read_digits(&at, 2);
        if (parts.tm_sec < 0 || parts.tm_sec > 59 || !read_fraction(&at, &us) || !read_zone(&at, &offset_s) ||
            *at != '\0')
            return PV_INVALID;
    }
    back = parts;
    seconds = timegm(&back);
    /* timegm carries 31 April over into May: such a date was never one. */
    if (back.tm_mday != parts.tm_mday)
        return PV_INVALID;
    if ((int64_t) seconds < offset_s)
        return PV_INVALID;
    *at_us = ((int64_t) seconds - offset_s) * US_PER_S + us;
    return PV_OK;
}

/* ---- Values ---- */

const char *
pv_outcome_word(enum pv_outcome outcome)
{
    static const char *const words[] = {
#define PV_X(name, word) [PV_OUTCOME_##name] = word,
        PV_OUTCOME_TABLE(PV_X)
#undef PV_X
    };

    return (size_t) outcome < PV_COUNT_OF(words) ? words[outcome] : NULL;
}

struct builder {
    struct pv_value values[VALUES_MAX];
    size_t count;
    bool is_invalid;
    char times[2][PV_RECORD_TIME_SIZE];
};

static struct pv_value *
add(struct builder *builder, enum pv_value_kind kind)
{
    struct pv_value *value;

    pv_assert(builder->count < VALUES_MAX);
    value = &builder->values[builder->count++];
    *value = (struct pv_value){.kind = kind};
    return value;
}

static void
add_bytes(struct builder *builder, enum pv_value_kind kind, const void *data, size_t len)
{
    struct pv_value *value = add(builder, kind);

    value->data = data;
    value->len = len;
}

static void
add_text(struct builder *builder, const char *text)
{
    if (text == NULL)
        (void) add(builder, PV_VALUE_NULL);
    else
        add_bytes(builder, PV_VALUE_TEXT, text, strlen(text));
}

/* SQLite's integers are signed. */
static void
add_number(struct builder *builder, uint64_t number)
{
    if (number > INT64_MAX)
        builder->is_invalid = true;
    else
        add(builder, PV_VALUE_INT)->number = (int64_t) number;
}

/* 0 stands for a number that is not there. */
static void
add_number_or_null(struct builder *builder, uint64_t number)
{
    if (number == 0)
        (void) add(builder, PV_VALUE_NULL);
    else
        add_number(builder, number);
}

static void
add_time(struct builder *builder, size_t slot, int64_t at_us)
{
    pv_record_time_format(at_us == 0 ? pv_record_now_us() : at_us, builder->times[slot]);
    add_text(builder, builder->times[slot]);
}

static void
build_begin(struct builder *builder, const struct pv_statement_begin *begin)
{
    if (begin->id == 0)
        builder->is_invalid = true;
    add_number(builder, begin->id);
    add_time(builder, 0, begin->at_us);
    add_number_or_null(builder, begin->session);
    add_text(builder, begin->room);
    add_text(builder, begin->user);
    add_text(builder, begin->party);
    add_text(builder, begin->client);
    add_text(builder, begin->application);
    add_text(builder, begin->protocol == PV_RECORD_SIMPLE ? "simple" : "extended");
    add_text(builder, begin->question);
    add_text(builder, begin->question_type);
    add_text(builder, begin->is_allowed ? "allowed" : "denied");
    add_text(builder, begin->reason);
    if (begin->has_query)
        add_bytes(builder, PV_VALUE_TEXT, begin->query.data, begin->query.len);
    else
        (void) add(builder, PV_VALUE_NULL);
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
    add_time(builder, 1, end->at_us);
    if (is_unseen)
        (void) add(builder, PV_VALUE_NULL);
    else
        add_number(builder, end->rows);
    add_text(builder, suppressed[end->suppressed]);
    if (is_unseen) {
        (void) add(builder, PV_VALUE_NULL);
        (void) add(builder, PV_VALUE_NULL);
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
    add_time(builder, 0, event->at_us);
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

static void
build(struct builder *builder, const struct pv_record *record)
{
    if (record->begin != NULL && record->begin->take_count > 0 && (record->kind != PV_RECORD_BEGIN || record->is_kept))
        builder->is_invalid = true;
    switch (record->kind) {
    case PV_RECORD_BEGIN:
        build_begin(builder, record->begin);
        if (record->begin->take_count > 0)
            build_takes(builder, record->begin);
        break;
    case PV_RECORD_END:
        build_end(builder, record->end->id, record->end);
        break;
    case PV_RECORD_WHOLE:
        build_begin(builder, record->begin);
        build_end(builder, record->begin->id, record->end);
        break;
    case PV_RECORD_EVENT:
        build_event(builder, record->event);
        break;
    default:
        builder->is_invalid = true;
        break;
    }
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
 * `refs` counts the entries that live in it. While it is being filled it holds a number that no count of entries reaches,
 * of which what was not given out is taken off at the end: so giving one out touches nothing that others look at.
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

/* Bytes for an entry, its `chunk` told in *chunk. */
static void *
take_room(struct pv_entry_room *room, size_t size, struct pv_entry_chunk **chunk)
{
    size_t rounded = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    void *taken;

    *chunk = NULL;
    if (!IS_CHUNKED || room == NULL || size > CHUNK_SHARE_MAX)
        return pv_alloc(size);
    if (room->chunk == NULL || CHUNK_BYTES - room->chunk->used < rounded) {
        pv_entry_room_clear(room);
        room->chunk = pv_alloc(sizeof(*room->chunk) + CHUNK_BYTES);
        if (room->chunk == NULL)
            return NULL;
        atomic_init(&room->chunk->refs, UINT32_MAX);
        room->chunk->given = 0;
        room->chunk->used = 0;
    }
    *chunk = room->chunk;
    taken = (uint8_t *) room->chunk->data + room->chunk->used;
    room->chunk->used += rounded;
    room->chunk->given++;
    return taken;
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

enum pv_status
pv_entry_new(struct pv_entry_room *room, const struct pv_record *record, struct pv_entry **entry)
{
    struct pv_entry_chunk *chunk;
    struct builder builder;
    struct pv_entry *made;
    const struct pv_statement_begin *begin = record->kind == PV_RECORD_BEGIN ? record->begin : NULL;
    size_t take_count = begin == NULL ? 0 : begin->take_count;
    size_t size, packed = 0;
    uint8_t *at;

    builder.count = 0;
    builder.is_invalid = false;
    build(&builder, record);
    if (builder.is_invalid)
        return PV_INVALID;
    size = sizeof(*made) + builder.count * sizeof(made->values[0]);
    for (size_t i = 0; i < builder.count; i++)
        packed += pv_value_size(&builder.values[i]);
    size += packed;
    size += take_count * sizeof(made->takes[0]);
    for (size_t i = 0; i < take_count; i++)
        size += text_size(begin->takes[i].key) + text_size(begin->takes[i].period) + text_size(begin->takes[i].reason);
    made = take_room(room, size, &chunk);
    if (made == NULL)
        return PV_NOMEM;
    memset(made, 0, sizeof(*made));
    made->chunk = chunk;
    atomic_init(&made->refs, 1);
    made->size = size;
    made->kind = record->kind;
    made->is_kept = record->is_kept || record->kind == PV_RECORD_END;
    made->value_count = builder.count;
    at = (uint8_t *) &made->values[builder.count];
    made->take_count = take_count;
    if (take_count > 0)
        at = copy_takes(made, begin->takes, at);
    made->packed = at;
    made->packed_len = packed;
    for (size_t i = 0; i < builder.count; i++) {
        made->values[i] = builder.values[i];
        if (i == PV_BEGIN_VALUES)
            made->packed_begin_len = (size_t) (at - made->packed);
        at = pv_value_put(at, &builder.values[i]);
        if (builder.values[i].kind == PV_VALUE_TEXT)
            made->values[i].data = at - builder.values[i].len;
    }
    if (builder.count <= PV_BEGIN_VALUES)
        made->packed_begin_len = packed;
    *entry = made;
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

bool
pv_row_shape(const struct pv_table *table, const struct pv_value *values, struct pv_row_shape *shape)
{
    enum { OUTCOME = PV_BEGIN_VALUES + 4 };

    *shape = (struct pv_row_shape){table->tag, table->column_count};
    if (table != &pv_tables[PV_TABLE_STATEMENT])
        return true;
    if (values[OUTCOME].kind != PV_VALUE_NULL) {
        shape->tag = 'W';
        return true;
    }
    shape->count = PV_BEGIN_VALUES;
    for (size_t i = PV_BEGIN_VALUES; i < table->column_count; i++)
        if (values[i].kind != PV_VALUE_NULL)
            return false;
    return true;
}

/* ---- What a hash covers ---- */

/* hash before | tag | seq | each value (pv_value_put) */
enum { CANONICAL_HEAD = PV_SHA256_BYTES + 1 + 8 };

/* Room for the head and `bytes` more; gives where they go, NULL: out of memory. */
static uint8_t *
begin_canonical(struct pv_buf *out, const uint8_t *hash_before, uint8_t tag, uint64_t seq, size_t bytes)
{
    uint64_t number = htobe64(seq);
    uint8_t *at;

    pv_buf_truncate(out, 0);
    at = pv_buf_reserve(out, CANONICAL_HEAD + bytes);
    if (at == NULL) {
        pv_buf_clear(out);
        return NULL;
    }
    memcpy(at, hash_before, PV_SHA256_BYTES);
    at[PV_SHA256_BYTES] = tag;
    memcpy(at + PV_SHA256_BYTES + 1, &number, sizeof(number));
    return at + CANONICAL_HEAD;
}

enum pv_status
pv_canonical(struct pv_buf *out, const uint8_t *hash_before, uint8_t tag, uint64_t seq, const struct pv_value *values,
             size_t count)
{
    size_t bytes = 0;
    uint8_t *at;

    for (size_t i = 0; i < count; i++)
        bytes += pv_value_size(&values[i]);
    at = begin_canonical(out, hash_before, tag, seq, bytes);
    if (at == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < count; i++)
        at = pv_value_put(at, &values[i]);
    pv_buf_commit(out, CANONICAL_HEAD + bytes);
    return PV_OK;
}

const struct pv_value *
pv_entry_end_values(const struct pv_entry *entry)
{
    pv_assert(entry->kind == PV_RECORD_END || entry->value_count > PV_BEGIN_VALUES);
    return entry->kind == PV_RECORD_END ? entry->values : entry->values + PV_BEGIN_VALUES;
}

enum pv_status
pv_canonical_packed(struct pv_buf *out, const uint8_t *hash_before, uint8_t tag, uint64_t seq,
                    const struct pv_entry *entry, const struct pv_entry *end)
{
    bool is_begin = entry->kind == PV_RECORD_BEGIN || entry->kind == PV_RECORD_WHOLE;
    size_t first = is_begin ? entry->packed_begin_len : entry->packed_len;
    const uint8_t *rest = NULL;
    size_t rest_len = 0;
    uint8_t *at;

    pv_assert(entry->packed != NULL && (end == NULL || end->packed != NULL));
    if (end != NULL) {
        const struct pv_value *time = &pv_entry_end_values(end)[1];

        /* The row has the begin's id and time. */
        rest = time->data + time->len;
        rest_len = (size_t) (end->packed + end->packed_len - rest);
    }
    at = begin_canonical(out, hash_before, tag, seq, first + rest_len);
    if (at == NULL)
        return PV_NOMEM;
    memcpy(at, entry->packed, first);
    if (rest_len > 0)
        memcpy(at + first, rest, rest_len);
    pv_buf_commit(out, CANONICAL_HEAD + first + rest_len);
    return PV_OK;
}
