/* Texts without their constants, for cache.c. */
#ifndef PV_CACHE_INT_H
#define PV_CACHE_INT_H

#include "policy/decide_int.h"
#include "proxy/base/bytes.h"

/* Constants of one text that may be taken out; a text with more is kept as it is. */
#define PV_SLOTS_MAX 16u
/* A text that is longer is kept as it is. */
#define PV_SHAPE_BYTES_MAX 4096u

struct pv_slot {
    size_t at, len; /* in the text; of a string with its quotes */
    bool is_string;
};

/*
 * Appends the text to `shape` with a byte 1 in place of each plain integer and a byte 2 in place of each plain string.
 * False where the text holds anything whose end a scanner would have to know more to find, or no such constant.
 * Plain: decimal digits, at most nine, no leading zero, nothing joined to them; printable ASCII without quote and
 * backslash, with no prefix. So one such constant for another of its kind leaves every other token as it was.
 */
bool pv_shape_of(struct pv_slice text, struct pv_buf *shape, struct pv_slot *slots, size_t *count);

/* ---- what ask.c notes of a statement that asks a fixed question ------------------- */

struct pv_traced {
    int location;     /* of the constant in the text; -1: it was no plain one */
    const char *text; /* its value */
};

struct pv_trace {
    const struct pv_question *question;           /* NULL: none was asked by its statement */
    struct pv_traced *arguments;                  /* by $n - 1 of its plan */
    const struct pv_parameter *const *parameters; /* likewise */
    unsigned count;
    const struct pv_pieces *pieces;               /* of what is forwarded */
    const char *const *names;                     /* of its columns */
};

#endif
