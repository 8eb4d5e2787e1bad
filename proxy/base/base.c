#include "proxy/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *sqlstate;
    const char *words;
} status_rows[] = {
#define PV_X(name, sqlstate, words) [PV_##name] = {sqlstate, words},
    PV_STATUS_TABLE(PV_X)
#undef PV_X
};

const char *
pv_status_words(enum pv_status status)
{
    return (size_t) status < PV_COUNT_OF(status_rows) ? status_rows[status].words : "unknown status";
}

const char *
pv_status_sqlstate(enum pv_status status)
{
    return (size_t) status < PV_COUNT_OF(status_rows) ? status_rows[status].sqlstate : "XX000";
}

bool
pv_slice_equal(struct pv_slice a, struct pv_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool
pv_slice_is(struct pv_slice a, const char *text)
{
    return pv_slice_equal(a, pv_slice_cstr(text));
}

/* Length of the sequence that starts here, 0 when it is malformed or cut off. RFC 3629 section 4. */
static size_t
utf8_sequence_len(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;

    if (len == 0 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] > 0x9F))
        return 0;
    if ((lead == 0xF0 && at[1] < 0x90) || (lead == 0xF4 && at[1] > 0x8F))
        return 0;
    return len;
}

/* Top bits of what is not an ASCII character: those of others, and of a byte that is 0, which borrows one. */
static uint64_t
not_ascii(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return (word | (word - UINT64_C(0x0101010101010101))) & UINT64_C(0x8080808080808080);
}

bool
pv_utf8_valid(struct pv_slice text)
{
    enum { WORD = sizeof(uint64_t) };
    size_t at = 0;

    if (text.len > 0 && text.len < WORD) {
        uint8_t padded[WORD];

        memset(padded, ' ', sizeof(padded));
        memcpy(padded, text.data, text.len);
        if (not_ascii(padded) == 0)
            return true;
    }
    while (at < text.len) {
        size_t len;

        while (text.len - at >= 4 * WORD &&
               (not_ascii(text.data + at) | not_ascii(text.data + at + WORD) | not_ascii(text.data + at + 2 * WORD) |
                not_ascii(text.data + at + 3 * WORD)) == 0)
            at += 4 * WORD;
        while (text.len - at >= WORD && not_ascii(text.data + at) == 0)
            at += WORD;
        /* The last bytes once more, with some before them, which may be of a character: then it is no word. */
        if (at == text.len || (text.len >= WORD && text.len - at < WORD && not_ascii(text.data + text.len - WORD) == 0))
            return true;
        len = utf8_sequence_len(text.data + at, text.len - at);
        if (len == 0 || text.data[at] == 0)
            return false;
        at += len;
    }
    return true;
}

void
pv_assert_failed(const char *claim, const char *file, int line)
{
    fprintf(stderr, "pgveil: %s:%d: assertion failed: %s\n", file, line, claim);
    abort();
}

/* Counts down to a failure that a test asked for; per thread, so that tests stay deterministic. */
static _Thread_local long fail_countdown;

void
pv_alloc_fail_at(long nth)
{
    fail_countdown = nth;
}

static bool
should_fail(void)
{
    return fail_countdown > 0 && --fail_countdown == 0;
}

void *
pv_alloc(size_t size)
{
    return should_fail() ? NULL : malloc(size == 0 ? 1 : size);
}

void *
pv_calloc(size_t count, size_t size)
{
    if (should_fail())
        return NULL;
    return count == 0 || size == 0 ? calloc(1, 1) : calloc(count, size);
}

void *
pv_realloc(void *old, size_t size)
{
    return should_fail() ? NULL : realloc(old, size == 0 ? 1 : size);
}

char *
pv_strndup(const char *text, size_t len)
{
    char *copy = pv_alloc(len + 1);

    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *
pv_strdup(const char *text)
{
    return pv_strndup(text, strlen(text));
}

void
pv_free(void *memory)
{
    free(memory);
}
