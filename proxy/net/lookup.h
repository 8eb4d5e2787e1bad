/*
 * What a server connection needs before it starts: the upstream's addresses and the
 * room's login. Both are cached; what is not in the cache is looked up on a thread of
 * its own, since name servers and the state file may take their time.
 *
 * Names are resolved by the C library (nsswitch, hosts file and all) and kept for
 * PV_LOOKUP_FRESH_S; where an upstream has several, so is it that one has no address. Logins are kept until somebody asks for a fresh one, which happens
 * when the database refuses the cached one.
 */
#ifndef PV_LOOKUP_H
#define PV_LOOKUP_H

#include "policy/policy.h"
#include "proxy/base/base.h"
#include "proxy/base/limits.h"
#include "proxy/net/hosts.h"

#define PV_LOOKUP_FRESH_S 30
/* Longest password of a login role, with its NUL. */
#define PV_LOOKUP_PASSWORD_SIZE 1024u
#define PV_LOOKUP_IDENTITY_MAX 64u

struct pv_lookup;
struct pv_loop;
struct pv_store;

struct pv_lookup *pv_lookup_new(struct pv_store *store) PV_MUST_CHECK; /* borrows; NULL: out of memory or threads */
/* Ends the thread; requests still queued are answered PV_CLOSED. NULL is fine. */
void pv_lookup_free(struct pv_lookup *lookup);

struct pv_lookup_answer {
    enum pv_status status; /* PV_OK; PV_NOTFOUND: the room has no login yet; PV_IO: words say why */
    char words[512];       /* with PV_OK: of hosts that have no address, if any */
    bool was_cached;       /* the login */
    struct pv_candidate candidates[PV_UPSTREAM_ADDRESSES_MAX]; /* in the order of the upstream's hosts */
    size_t candidate_count;
    char password[PV_LOOKUP_PASSWORD_SIZE]; /* "" for none */
    uint8_t identity[PV_LOOKUP_IDENTITY_MAX];
    size_t identity_len;
};

struct pv_lookup_request;

/*
 * Asks; `done` runs on the loop's thread, later, and the answer is wiped after it. `is_owner`: the upstream's own
 * user and password file in place of the room's login (conformance only). PV_NOMEM: nothing will follow.
 */
enum pv_status pv_lookup_start(struct pv_lookup *lookup, struct pv_loop *loop, const struct pv_upstream *upstream,
                               const char *room, bool is_owner, bool is_fresh,
                               void (*done)(void *context, struct pv_lookup_answer *answer), void *context,
                               struct pv_lookup_request **request) PV_MUST_CHECK;
/* The asker no longer wants it; on the loop's thread, before `done`. NULL is fine. */
void pv_lookup_forget(struct pv_lookup_request *request);

#endif
