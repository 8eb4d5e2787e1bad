#include "policy/repeat.h"

#include <string.h>
#include <strings.h>

static uint64_t
hash_bytes(const void *data, size_t len, uint64_t hash)
{
    const uint8_t *bytes = data;
    uint64_t word;

    for (; len >= sizeof(word); bytes += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0xFF51AFD7ED558CCD);
        hash ^= hash >> 32;
    }
    for (word = 0; len > 0; len--)
        word = word << 8 | bytes[len - 1];
    hash = (hash ^ word) * UINT64_C(0xC4CEB9FE1A85EC53);
    return hash ^ hash >> 32;
}

struct pv_repeat *
pv_repeat_new(struct pv_slice text, const uint32_t *oids, size_t count)
{
    size_t oid_bytes = count * sizeof(*oids);
    struct pv_repeat *repeat;

    if (text.len > PV_REPEAT_TEXT_BYTES_MAX || count > UINT16_MAX || !pv_repeat_may(text))
        return NULL;
    repeat = pv_alloc(sizeof(*repeat) + oid_bytes + text.len + 1);
    if (repeat == NULL)
        return NULL;
    atomic_init(&repeat->refs, 1);
    repeat->count = (uint32_t) count;
    repeat->text_len = (uint32_t) text.len;
    if (count > 0)
        memcpy(repeat->oids, oids, oid_bytes);
    memcpy((char *) repeat->oids + oid_bytes, text.data, text.len);
    ((char *) repeat->oids)[oid_bytes + text.len] = '\0';
    repeat->hash = hash_bytes(repeat->oids, oid_bytes + text.len, UINT64_C(0x9E3779B97F4A7C15) ^ count << 32 ^ text.len);
    return repeat;
}

struct pv_repeat *
pv_repeat_ref(const struct pv_repeat *repeat)
{
    struct pv_repeat *counted;

    /* Counting references is no change of what they count. */
    memcpy(&counted, &repeat, sizeof(counted));
    if (counted != NULL)
        (void) atomic_fetch_add_explicit(&counted->refs, 1, memory_order_relaxed);
    return counted;
}

void
pv_repeat_unref(struct pv_repeat *repeat)
{
    if (repeat != NULL && atomic_fetch_sub(&repeat->refs, 1) == 1)
        pv_free(repeat);
}

bool
pv_repeat_equal(const struct pv_repeat *a, const struct pv_repeat *b)
{
    return a == b || (a->hash == b->hash && a->count == b->count && a->text_len == b->text_len &&
                      memcmp(a->oids, b->oids, a->count * sizeof(*a->oids) + a->text_len) == 0);
}

/* ---- What may be prepared ------------------------------------------------------------ */

static bool
holds(struct pv_slice text, const char *word)
{
    size_t len = strlen(word);

    for (size_t at = 0; at + len <= text.len; at++)
        if (strncasecmp((const char *) text.data + at, word, len) == 0)
            return true;
    return false;
}

static bool
is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static size_t
digits_at(struct pv_slice text, size_t at)
{
    size_t end = at;

    while (end < text.len && is_digit(text.data[end]))
        end++;
    return end - at;
}

/* 2024-01-31, and whatever stands behind it. */
static bool
begins_with_date(struct pv_slice text)
{
    return text.len >= 10 && digits_at(text, 0) == 4 && text.data[4] == '-' && digits_at(text, 5) == 2 &&
           text.data[7] == '-' && digits_at(text, 8) == 2;
}

/* 10 am, 10PM. */
static bool
has_half_of_day(struct pv_slice text)
{
    for (size_t at = 1; at + 1 < text.len; at++)
        if ((is_digit(text.data[at - 1]) || text.data[at - 1] == ' ') && strchr("aApP", text.data[at]) != NULL &&
            (text.data[at + 1] == 'm' || text.data[at + 1] == 'M'))
            return true;
    return false;
}

/* Could PostgreSQL read it as a time of day without a date: 10:00, 1000, 100000, T10, 10 am? */
static bool
may_be_time(struct pv_slice text)
{
    bool has_digit = false;
    size_t digits;

    for (size_t i = 0; i < text.len && !has_digit; i++)
        has_digit = is_digit(text.data[i]);
    if (!has_digit || begins_with_date(text))
        return false;
    if ((text.data[0] == 't' || text.data[0] == 'T') && digits_at(text, 1) > 0)
        return true;
    digits = digits_at(text, 0);
    if ((digits == 4 || digits == 6) && (digits == text.len || text.data[digits] == '.'))
        return true;
    return memchr(text.data, ':', text.len) != NULL || has_half_of_day(text);
}

static bool
is_lasting(struct pv_slice constant)
{
    static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};

    for (size_t i = 0; i < PV_COUNT_OF(words); i++)
        if (holds(constant, words[i]))
            return false;
    return !may_be_time(constant);
}

/* Bytes between the quotes, doubled ones among them; SIZE_MAX: it does not end. */
static size_t
quoted_length(struct pv_slice text, size_t at, uint8_t quote)
{
    for (size_t end = at; end < text.len; end++) {
        if (text.data[end] != quote)
            continue;
        if (end + 1 == text.len || text.data[end + 1] != quote)
            return end - at;
        end++;
    }
    return SIZE_MAX;
}

bool
pv_repeat_may(struct pv_slice text)
{
    /* Of `region` and its like only what a type of names begins with is refused. */
    static const char *const words[] = {"set_config", "timetz", "time with time zone", "regclass", "regcollation",
                                        "regconfig",  "regdictionary", "regnamespace", "regoper", "regproc", "regrole",
                                        "regtype"};

    for (size_t i = 0; i < PV_COUNT_OF(words); i++)
        if (holds(text, words[i]))
            return false;
    for (size_t at = 0; at < text.len; at++) {
        uint8_t byte = text.data[at];
        size_t len;

        if (byte != '\'' && byte != '"')
            continue;
        len = quoted_length(text, at + 1, byte);
        if (len == SIZE_MAX || (byte == '\'' && !is_lasting(pv_slice_of(text.data + at + 1, len))))
            return false;
        at += len + 1;
    }
    return true;
}
