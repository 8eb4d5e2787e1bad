/* Texts without their constants, for cache.c. */
#ifndef PV_CACHE_INT_H
#define PV_CACHE_INT_H

#include "parser/key.h"
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

/* ---- cache_key.c: what a text is looked for under ---- */

struct pv_asking {
    const struct pv_caller *caller;
    struct pv_slice text;
    bool is_parse;
    const uint32_t *oids;
    size_t oid_count;
};

/* Before the text itself and before its shape: a text could hold the very bytes of another's shape. */
enum pv_key_kind { PV_KEY_OF_TEXT, PV_KEY_OF_SHAPE, PV_KEY_KIND_COUNT };

/* All that a key holds but the kind and the text: who asks, and how. */
struct pv_key_head {
    struct pv_buf bytes; /* a multiple of 8; empty: not in use */
    struct pv_key_state states[PV_KEY_KIND_COUNT];
};

/* The last few who asked: sessions ask again and again. */
#define PV_KEY_HEADS 64u
struct pv_key_heads {
    struct pv_key_head heads[PV_KEY_HEADS];
};

void pv_key_heads_clear(struct pv_key_heads *heads);
/* The head for this asking, as of now; until the next call. NULL: out of memory. */
const struct pv_key_head *pv_key_head_of(struct pv_key_heads *heads, const struct pv_key *key,
                                         const struct pv_asking *asking);
/* Of the whole key that `pv_key_put` writes. */
uint64_t pv_key_head_hash(const struct pv_key_head *head, enum pv_key_kind kind, struct pv_slice text);
bool pv_key_head_equal(const struct pv_key_head *head, enum pv_key_kind kind, struct pv_slice text,
                       struct pv_slice key);
void pv_key_put(struct pv_buf *out, const struct pv_key_head *head, enum pv_key_kind kind, struct pv_slice text);

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

/* ---- cache_learn.c: a fixed question's text whose constants may be others ---- */

struct pv_learned;
struct pv_repeat;

/*
 * What is known of a text by the decision and the trace that it led to; in the arena. `sql` is room to write in. NULL: no
 * such text, or out of memory.
 */
struct pv_learned *pv_learned_new(struct pv_arena *arena, struct pv_buf *sql, const struct pv_asking *asking,
                                  const struct pv_slot *slots, size_t slot_count, const struct pv_trace *trace,
                                  const struct pv_decision *decision);
/*
 * Judges the constants of a text of the same shape, and puts what hangs on them into the decision: what is forwarded, the
 * statement's own text, and the values beside `repeat`, where there is one. PV_NOTFOUND: judge afresh.
 */
enum pv_status pv_learned_decide(struct pv_arena *arena, struct pv_buf *sql, const struct pv_learned *shape,
                                 struct pv_slice text, const struct pv_slot *slots, struct pv_repeat *repeat,
                                 struct pv_decision *decision) PV_MUST_CHECK;
/* The text with $1, $2... in the order of its holes. NULL: it may not be prepared, or out of memory. */
struct pv_repeat *pv_learned_repeat(struct pv_buf *sql, const struct pv_learned *shape);

#endif
