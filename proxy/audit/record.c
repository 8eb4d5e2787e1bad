#include "proxy/audit/record_int.h"

#include "proxy/crypto/mac.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define US_PER_S INT64_C(1000000)
/* Last microsecond of the year 9999: what four digits of a year can say. */
#define TIME_US_MAX INT64_C(253402300799999999)

const struct pv_table pv_tables[PV_TABLE_COUNT] = {
    [PV_TABLE_STATEMENT] = {"statement", PV_STATEMENT_COLUMNS, PV_BEGIN_VALUES + PV_WHOLE_VALUES, 'B'},
    [PV_TABLE_STATEMENT_END] = {"statement_end", PV_STATEMENT_END_COLUMNS, PV_END_VALUES, 'E'},
    [PV_TABLE_EVENT] = {"event", PV_EVENT_COLUMNS, PV_EVENT_VALUES, 'V'},
};

/* ---- Ids and times ---- */

/* A thread takes so many at a time: workers would pull one counter to and fro. */
#define IDS_AT_ONCE 64u

static _Atomic uint64_t last_id;
static _Atomic uint64_t raises; /* of last_id: what a thread holds from before one is given up */

uint64_t
pv_statement_id_next(void)
{
    static _Thread_local uint64_t next, end, raised;
    uint64_t seen = atomic_load(&raises);

    if (next == end || seen != raised) {
        next = atomic_fetch_add(&last_id, IDS_AT_ONCE) + 1;
        end = next + IDS_AT_ONCE;
        raised = seen;
    }
    return next++;
}

void
pv_statement_id_raise(uint64_t id)
{
    uint64_t seen = atomic_load(&last_id);

    while (seen < id && !atomic_compare_exchange_weak(&last_id, &seen, id))
        ;
    (void) atomic_fetch_add(&raises, 1);
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
