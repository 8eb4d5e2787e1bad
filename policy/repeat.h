/*
 * Statements that come again, as a server may prepare them: one text for good, with $n where a fixed question's arguments
 * stand, if any. What they say in place of a text in proxy/session/repeat.c is at each use what the text would say.
 */
#ifndef PV_REPEAT_H
#define PV_REPEAT_H

#include "proxy/base/base.h"

#include <stdatomic.h>

/* A longer text is planned for so long that parsing it counts for nothing, and servers would hold many of them. */
#define PV_REPEAT_TEXT_BYTES_MAX 8192u

/* Immutable, counted, of any thread. */
struct pv_repeat {
    _Atomic uint32_t refs;
    uint32_t count;    /* of $n */
    uint64_t hash;     /* of all that follows; unkeyed: for small tables that compare the rest */
    uint32_t text_len; /* without its NUL */
    uint32_t oids[];   /* by $n - 1; then the text */
};

static inline const char *
pv_repeat_text(const struct pv_repeat *repeat)
{
    return (const char *) (repeat->oids + repeat->count);
}

/* Copies. NULL: no memory, or it may not be prepared (pv_repeat_may). */
struct pv_repeat *pv_repeat_new(struct pv_slice text, const uint32_t *oids, size_t count) PV_MUST_CHECK;
struct pv_repeat *pv_repeat_ref(const struct pv_repeat *repeat);
void pv_repeat_unref(struct pv_repeat *repeat); /* NULL is fine */
/* The same text and the same types, byte for byte. */
bool pv_repeat_equal(const struct pv_repeat *a, const struct pv_repeat *b);

/*
 * Does the text, as our printer writes it, mean the same whenever it is parsed under the same settings? PostgreSQL reads
 * constants when it parses: a prepared `'today'` stays the day of its Parse. False where any constant might be such a one
 * (special words of dates; a time of day, whose offset from UTC is that of the day), where names are looked up (reg
 * types), and of what changes settings.
 */
bool pv_repeat_may(struct pv_slice text);

#endif
