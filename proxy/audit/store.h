/*
 * What stands beside the log in the state file: secrets, approvals, consent and
 * budgets. Every call is one short transaction, on disk when it returns PV_OK, safe
 * against other processes. A store may be used from any thread (a mutex inside).
 * A call may wait up to PV_AUDIT_BUSY_MS for another writer; PV_BUSY then.
 */
#ifndef PV_STORE_H
#define PV_STORE_H

#include "proxy/audit/record.h"
#include "proxy/base/arena.h"
#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

struct pv_store;

/* Makes the state file where it is missing (0600). Errors as pv_journal_open; takes no lock. */
enum pv_status pv_store_open(const char *path, struct pv_store **store, char *error, size_t error_size) PV_MUST_CHECK;
/*
 * For reading alone, of one moment: what comes later does not show, and what writes fails. Makes nothing: PV_NOTFOUND
 * where there is no state yet.
 */
enum pv_status pv_store_open_reading(const char *path, struct pv_store **store, char *error,
                                     size_t error_size) PV_MUST_CHECK;
void pv_store_close(struct pv_store *store); /* NULL is fine */

/*
 * Grows whenever an approval, a consent or a secret changes, by anybody. A microsecond or so: made to be asked
 * every second or before a decision.
 */
enum pv_status pv_store_changes(struct pv_store *store, uint64_t *changes) PV_MUST_CHECK;

/* ---- Secrets. `scope` is a room's name or another name space; bytes of any kind. Appended to `out`; wipe it after
 * use. */

enum pv_status pv_store_secret_get(struct pv_store *store, const char *scope, const char *name,
                                   struct pv_buf *out) PV_MUST_CHECK; /* PV_NOTFOUND */
enum pv_status pv_store_secret_put(struct pv_store *store, const char *scope, const char *name,
                                   struct pv_slice secret) PV_MUST_CHECK; /* replaces */
/* The secret, made of `len` random bytes where it is missing; two processes get the same one. `as_hex`: 2 * len hex
 * digits. */
enum pv_status pv_store_secret_ensure(struct pv_store *store, const char *scope, const char *name, size_t len,
                                      bool as_hex, struct pv_buf *out) PV_MUST_CHECK;
/* NULL name: every secret of the scope. PV_OK also when there was none. */
enum pv_status pv_store_secret_remove(struct pv_store *store, const char *scope, const char *name) PV_MUST_CHECK;

/* ---- Approvals: only ever added. ---- */

struct pv_approval {
    const char *room, *question, *party;
    int64_t at_us;        /* 0 when adding: now */
    struct pv_slice text; /* what was signed */
    struct pv_slice signature;
    const char *fingerprint; /* of the key */
};

enum pv_status pv_store_approval_add(struct pv_store *store, const struct pv_approval *approval) PV_MUST_CHECK;
/* Newest first, into the arena. NULL room or question: all. */
enum pv_status pv_store_approvals(struct pv_store *store, const char *room, const char *question,
                                  struct pv_arena *arena, struct pv_approval **approvals, size_t *count) PV_MUST_CHECK;

/*
 * ---- Consent: only ever added; the newest of each (room, subject, party) counts, by its time, which its signature
 * covers: an old one that is put in again is no newer for it. ----
 */

enum pv_consent_kind { PV_CONSENT_ROOM, PV_CONSENT_QUESTION, PV_CONSENT_DATASET };

struct pv_consent {
    const char *room;
    enum pv_consent_kind kind;
    const char *subject; /* question or data set; NULL for the whole room */
    const char *party;
    bool is_withdrawn;
    int64_t at_us;             /* 0 when adding: now */
    struct pv_slice signature; /* may be empty */
    const char *fingerprint;   /* may be NULL */
};

enum pv_status pv_store_consent_add(struct pv_store *store, const struct pv_consent *consent) PV_MUST_CHECK;
/* What counts now, granted ones included, into the arena. NULL room: all. */
enum pv_status pv_store_consents(struct pv_store *store, const char *room, struct pv_arena *arena,
                                 struct pv_consent **consents, size_t *count) PV_MUST_CHECK;

/* ---- Budgets: a count of runs under a key and a period's start, which only ever grows. ---- */

/*
 * Takes the runs of each, or of none. PV_LIMIT: one has not so many left, *spent is its index. Runs are taken before the
 * statement goes out and never come back. A statement's own are taken with its begin record (record.h).
 */
enum pv_status pv_store_budgets_reserve(struct pv_store *store, const struct pv_budget_take *takes, size_t count,
                                        size_t *spent) PV_MUST_CHECK;
enum pv_status pv_store_budget_used(struct pv_store *store, const char *key, const char *period, uint64_t *runs)
    PV_MUST_CHECK;

#endif
