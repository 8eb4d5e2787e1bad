/*
 * Inside of what a shared server connection holds; lease.c reads and writes it for its session.
 */
#ifndef PV_SIDE_INT_H
#define PV_SIDE_INT_H

#include "proxy/session/session_int.h"
#include "proxy/session/side.h"

/* Settings that are carried from server to server: the values of policy/settings.h that reach one. */
#define PV_TRACKED_MAX 64u
/* Names of ours for prepared statements, clients' ('p') and those that come again ('r'): all of one length, so that a
 * message can be written before its server is known. */
#define PV_SIDE_NAME_BYTES 16u
#define PV_SIDE_NAME_BLANK PV_RESERVED_PREFIX "p00000000"
#define PV_SIDE_BUCKETS 128u

/* Texts and counts here pass from thread to thread with their server, so counting is atomic. All are immutable. */
struct pv_tag {
    _Atomic uint32_t refs;
    size_t len;
    char text[]; /* the claims, and their MAC for no process: equal where user, attributes and key are */
};

struct pv_values {
    _Atomic uint32_t refs;
    size_t count;
    char *values[PV_TRACKED_MAX]; /* by index; NULL: as the server has it for everybody */
};

/* What a Parse says, but for its name, and the settings that constants in it are read under. */
struct pv_prep {
    _Atomic uint32_t refs;
    uint32_t hash;
    bool is_unique; /* equal to itself alone: what it means hangs on more than its text */
    size_t tail_len, len;
    uint8_t bytes[]; /* the message's body behind the name, then the settings */
};

struct pv_side_entry {
    struct pv_side_entry *bucket_next, *newer, *older;
    struct pv_prep *prep;
    uint32_t number;
    uint64_t segment; /* that its Parse was sent in */
    bool is_confirmed;
};

struct pv_side {
    uint32_t pid;
    uint8_t key[PV_SECRET_BYTES];
    size_t key_len;
    struct pv_texts *reported;
    struct pv_tag *identity;                                         /* NULL: nobody's, or not known */
    struct pv_values *base;                                          /* values of a fresh session; NULL: not read yet */
    struct pv_values *values;                                        /* NULL: none differs from base */
    bool is_values_unknown, is_spoiled;
    uint64_t segment;        /* counts Syncs, Queries and sessions */
    struct pv_prep *unnamed; /* in the unnamed statement; NULL: nothing, or not known */
    uint64_t unnamed_segment;
    bool is_unnamed_confirmed;
    struct pv_side_entry **buckets; /* NULL until the first */
    struct pv_side_entry *newest, *oldest;
    size_t count, count_max;
    uint32_t number_next;
    struct pv_repeats *repeats; /* repeat_int.h; NULL until the first */
};

extern const char *const pv_reported_names[PV_REPORTED_COUNT];
struct pv_texts *pv_reported_of(const struct pv_server_facts *facts) PV_MUST_CHECK; /* NULL: no memory */

struct pv_tag *pv_tag_new(struct pv_slice text) PV_MUST_CHECK;
struct pv_tag *pv_tag_ref(struct pv_tag *tag); /* NULL is fine */
void pv_tag_unref(struct pv_tag *tag);
bool pv_tag_equal(const struct pv_tag *a, const struct pv_tag *b); /* never where one is NULL */

/* The name of a tracked setting as the server knows it; NULL beyond the last. */
const char *pv_tracked_name(size_t i);
size_t pv_tracked_count(void);

struct pv_values *pv_values_new(void) PV_MUST_CHECK;
struct pv_values *pv_values_ref(struct pv_values *values); /* NULL is fine */
void pv_values_unref(struct pv_values *values);
bool pv_values_equal(const struct pv_values *a, const struct pv_values *b); /* NULL: none */
const char *pv_values_at(const struct pv_values *values, size_t i);
/* Those that are looked at whenever a server may be given back. */
enum pv_tracked_known { PV_TRACKED_IDLE_TIMEOUT, PV_TRACKED_STATEMENT_TIMEOUT, PV_TRACKED_KNOWN_COUNT };
const char *pv_values_known(const struct pv_values *values, enum pv_tracked_known which);

struct pv_prep *pv_prep_new(struct pv_slice parse_tail, const char *const *styles, size_t style_count,
                            bool is_unique) PV_MUST_CHECK;
struct pv_prep *pv_prep_ref(struct pv_prep *prep);
void pv_prep_unref(struct pv_prep *prep); /* NULL is fine */
bool pv_prep_equal(const struct pv_prep *a, const struct pv_prep *b);

struct pv_side_entry *pv_side_find(struct pv_side *side, const struct pv_prep *prep);
struct pv_side_entry *pv_side_put(struct pv_side *side, struct pv_prep *prep) PV_MUST_CHECK; /* NULL: no memory */
void pv_side_drop(struct pv_side *side, struct pv_side_entry *entry);
void pv_side_use(struct pv_side *side, struct pv_side_entry *entry);                    /* it is the newest now */
void pv_side_forget(struct pv_side *side);                                              /* every named statement */
/* A name of ours: kind is 'p' or 'r'. */
void pv_side_name(char kind, uint32_t number, char name[PV_SIDE_NAME_BYTES + 1]);
void pv_side_set_unnamed(struct pv_side *side, struct pv_prep *prep, uint64_t segment); /* prep may be NULL */

/* ---- lease_values.c ---- */
/* What differs between the server and the session, as SQL; nothing when nothing does. False: the session has ended. */
bool pv_lease_put_checkout(struct pv_session *s, struct pv_buf *sql);
void pv_lease_put_change(struct pv_buf *sql, const char *name, const char *value); /* NULL: RESET */
void pv_lease_put_harvest(struct pv_buf *sql); /* one row with the value of each tracked setting */
/* What the client was told by the server before, and this one says otherwise. */
void pv_lease_relay_reports(struct pv_session *s);

/* ---- lease.c ---- */
void pv_lease_checkout(struct pv_session *s, struct pv_request *before);

/* ---- lease_names.c ---- */
/* Sends a request of ours, written with `status`, before another (NULL: behind all). Takes it. False: the session has
 * ended. */
bool pv_lease_send_before(struct pv_session *s, struct pv_request *before, struct pv_request *r, enum pv_status status);

#endif
