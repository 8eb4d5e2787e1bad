/*
 * Statements that come again on one server connection: how often each came, and which of them the server has under names
 * of ours. Belongs to the connection (struct pv_side), is bounded, and is freed with it.
 */
#ifndef PV_REPEAT_INT_H
#define PV_REPEAT_INT_H

#include "policy/repeat.h"
#include "proxy/session/side_int.h"

/* Names of ours on one connection: PostgreSQL holds a plan for each, of some 20 to 100 KiB. */
#define PV_REPEAT_NAMES_MAX 64u
/* All their texts; at least one of PV_REPEAT_TEXT_BYTES_MAX. */
#define PV_REPEAT_BYTES_MAX (64u * 1024u)
/* Statements that are counted and not prepared. */
#define PV_REPEAT_SIGHTS_MAX 64u
/*
 * What took longer, from its sending to its end, gains nothing that shows, and may be one for which the plan that serves
 * every value (which PostgreSQL takes for a prepared statement where it expects it to be as cheap) is worse than one for
 * the value at hand: it goes as text. With every core busy a statement of 0.1 ms takes some ms, so it is not less.
 */
#define PV_REPEAT_QUICK_US 20000
/* How often what was slow or failed as prepared goes as text before it is tried again, at first; doubled each time. */
#define PV_REPEAT_REST_FIRST 16u
#define PV_REPEAT_REST_MAX 65536u

struct pv_repeat_sight {
    uint64_t hash; /* of its text: two that share it are prepared too early, no more */
    uint32_t count;
};

/* All beside its text that a statement's meaning hangs on. Borrows. */
struct pv_repeat_key {
    const char *user;          /* so that no plan serves two */
    struct pv_texts *reported; /* settings under which constants are read, as the client was told */
    struct pv_values *values;  /* all settings, of a session that shares servers; else NULL */
    uint64_t epoch;            /* of the settings of one that does not */
};

struct pv_repeat_name {
    struct pv_repeat *of;
    char *user;
    struct pv_texts *reported;
    struct pv_values *values;
    uint64_t epoch;
    uint64_t used;
    uint32_t number;
    uint32_t rest, rest_next; /* so often it goes as text; how often the next time */
    bool is_there;            /* the server confirmed it, and nothing was said since that may have dropped it */
    bool may_be_there;
};

struct pv_repeats {
    struct pv_repeat_name *names;
    size_t name_count, name_size, name_last; /* name_last: found last */
    struct pv_repeat_sight *sights;
    size_t sight_count, sight_size, sight_oldest;
    size_t bytes;
    uint64_t epoch, used;
    uint32_t number_next; /* none is given twice on one connection */
};

/* ---- repeat.c ---- */
struct pv_side *pv_repeat_side(const struct pv_session *s); /* of the connection at hand; may be NULL */
bool pv_repeat_is_alone(const struct pv_session *s, const struct pv_request *r);
bool pv_repeat_knows_settings(const struct pv_session *s);
/*
 * How it goes this time: the name that it has by then, or NULL, as it came (or the session has ended). What of it is counted
 * at the end of `counted` is noted there. Close messages of names that have to go are put into `out`.
 */
struct pv_repeat_name *pv_repeat_choose(struct pv_session *s, struct pv_request *counted, struct pv_repeats *repeats,
                                        const struct pv_repeat *of, struct pv_buf *out, size_t *closes);
/* What brings the name to the server, where it is not there. */
enum pv_status pv_repeat_put_name(struct pv_buf *out, size_t *closes, struct pv_repeat_name *name) PV_MUST_CHECK;
struct pv_repeat_name *pv_repeat_under_way(const struct pv_session *s, const struct pv_request *r); /* NULL: it is gone */
void pv_repeat_failed(struct pv_session *s, struct pv_request *r);
/* Why what failed may not be sent again; false: it may. */
bool pv_repeat_find_stop(struct pv_session *s, struct pv_request *r, struct pv_error *error);

/* ---- repeat_segment.c ---- */
void pv_repeat_segment_send(struct pv_session *s, struct pv_side *side, struct pv_request *parse);
struct pv_request *pv_repeat_segment_end(struct pv_request *parse); /* its Sync */

/* ---- repeat_table.c ---- */
/* The side's, made where there is none. NULL: out of memory. */
struct pv_repeats *pv_repeats_of(struct pv_side *side);
void pv_repeats_free(struct pv_repeats *repeats);    /* NULL is fine */
/* A DISCARD ALL or its like was sent: whether any is still there will not be looked at. */
void pv_repeats_doubt(struct pv_repeats *repeats);
/* The statement's name; NULL: it has none. Until the next call of these functions, as all they give. */
struct pv_repeat_name *pv_repeats_find(struct pv_repeats *repeats, const struct pv_repeat *of,
                                       const struct pv_repeat_key *key);
struct pv_repeat_name *pv_repeats_numbered(struct pv_repeats *repeats, uint32_t number); /* NULL: it is gone */
/* Counts of a statement by its hash, made where there are none. NULL: out of memory. */
struct pv_repeat_sight *pv_repeats_sight(struct pv_repeats *repeats, uint64_t hash);
/* The name that has to go before one with so long a text can be put; NULL: there is room. */
struct pv_repeat_name *pv_repeats_excess(struct pv_repeats *repeats, size_t text_len);
void pv_repeats_drop(struct pv_repeats *repeats, struct pv_repeat_name *name);
/* NULL: out of memory. */
struct pv_repeat_name *pv_repeats_put(struct pv_repeats *repeats, const struct pv_repeat *of,
                                      const struct pv_repeat_key *key);
/* It goes as text for a while, and longer the next time. */
void pv_repeats_rest(struct pv_repeat_name *name);

#endif
