/*
 * base: what every other folder stands on. Statuses, slices, assertions and
 * checked allocation. Nothing here knows SQL, sockets or policy.
 */
#ifndef PV_BASE_H
#define PV_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PV_MUST_CHECK __attribute__((warn_unused_result))
#define PV_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PV_NORETURN __attribute__((noreturn))

/*
 * Everything that can fail returns one of these. Columns: name, SQLSTATE that a
 * client gets when nothing better is known, words.
 */
#define PV_STATUS_TABLE(X) \
    X(OK, "00000", "success") \
    X(MORE, "00000", "more input is needed") \
    X(NOMEM, "53200", "out of memory") \
    X(LIMIT, "54000", "a limit was passed") \
    X(DEPTH, "54001", "statement is nested too deeply") \
    X(PROTOCOL, "08P01", "protocol violation") \
    X(INVALID, "22023", "invalid value") \
    X(SYNTAX, "42601", "syntax error") \
    X(NOTFOUND, "42704", "not found") \
    X(DENIED, "42501", "not allowed") \
    X(AUTH, "28P01", "authentication failed") \
    X(CLOSED, "08006", "connection closed") \
    X(IO, "58030", "input/output error") \
    X(BUSY, "55006", "resource is busy") \
    X(CORRUPT, "XX001", "data is corrupted") \
    X(INTERNAL, "XX000", "internal error")

enum pv_status {
#define PV_X(name, sqlstate, words) PV_##name,
    PV_STATUS_TABLE(PV_X)
#undef PV_X
};

/* Words and SQLSTATE of a status; static storage, never NULL. */
const char *pv_status_words(enum pv_status status);
const char *pv_status_sqlstate(enum pv_status status);

/* Bytes that somebody else owns. `data` may be NULL only when len is 0. */
struct pv_slice {
    const uint8_t *data;
    size_t len;
};

static inline struct pv_slice
pv_slice_of(const void *data, size_t len)
{
    struct pv_slice slice = {(const uint8_t *) data, len};
    return slice;
}

/* Borrows, without the NUL. */
static inline struct pv_slice
pv_slice_cstr(const char *text)
{
    return pv_slice_of(text, strlen(text));
}

bool pv_slice_equal(struct pv_slice a, struct pv_slice b);
bool pv_slice_is(struct pv_slice a, const char *text);

/* True when the bytes are valid UTF-8 (RFC 3629: no overlongs, no surrogates) and hold no NUL. */
bool pv_utf8_valid(struct pv_slice text);

/* States what our own code guarantees; on in every build; never about peer input. */
#define pv_assert(claim) ((claim) ? (void) 0 : pv_assert_failed(#claim, __FILE__, __LINE__))
PV_NORETURN void pv_assert_failed(const char *claim, const char *file, int line);

/*
 * Checked allocation. NULL on failure (never for size 0). `pv_calloc` zeroes.
 * Freed with pv_free. Tests make the n-th allocation from now fail with
 * pv_alloc_fail_at(n) (1 is the next one; 0 switches it off).
 */
void *pv_alloc(size_t size) PV_MUST_CHECK;
void *pv_calloc(size_t count, size_t size) PV_MUST_CHECK;
void *pv_realloc(void *old, size_t size) PV_MUST_CHECK;
char *pv_strdup(const char *text) PV_MUST_CHECK;
char *pv_strndup(const char *text, size_t len) PV_MUST_CHECK;
void pv_free(void *memory);
void pv_alloc_fail_at(long nth);

#define PV_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
