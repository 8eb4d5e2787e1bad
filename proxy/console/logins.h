/*
 * Who is logged in to the page, and who has tried too often. Everything is counted and bounded; times are milliseconds
 * of a clock that never goes back. For one thread.
 *
 * 1. Of a token only its hash is kept.
 * 2. A name that nobody has is treated as any other: whether it exists does not show.
 */
#ifndef PV_LOGINS_H
#define PV_LOGINS_H

#include "policy/policy.h"
#include "proxy/base/base.h"
#include "proxy/crypto/mac.h"

/* Logged in at a time: auditors are few. The one that was idle longest makes room, of the same user first. */
#define PV_LOGINS_MAX 64u
#define PV_LOGINS_PER_USER_MAX 8u
/* A login ends after this long without a request that somebody made, and after this long anyway. */
#define PV_LOGIN_IDLE_MS (30u * 60u * 1000u)
#define PV_LOGIN_ABSOLUTE_MS (12u * 60u * 60u * 1000u)
/* Tries of one name before it has to wait, for twice as long each time. */
#define PV_LOGIN_TRIES 5u
#define PV_LOGIN_WAIT_MS 15000u
#define PV_LOGIN_WAIT_MAX_MS (15u * 60u * 1000u)
/* Failures of everybody together within a minute. */
#define PV_LOGIN_FAILURES_PER_MINUTE 60u

/* 256 random bits in hex, and a NUL. */
#define PV_LOGIN_TOKEN_SIZE (2u * PV_SHA256_BYTES + 1u)

struct pv_logins;
struct pv_logins *pv_logins_new(void) PV_MUST_CHECK; /* NULL: out of memory or randomness */
void pv_logins_free(struct pv_logins *logins);       /* wipes; NULL is fine */

/*
 * Whether this name may try now; counts the try as a failure until pv_logins_succeeded takes it back. False: *wait_ms says how
 * long to wait; *is_first that it was not turned away before since its last try.
 */
bool pv_logins_try(struct pv_logins *logins, struct pv_slice user, uint64_t now_ms, uint64_t *wait_ms, bool *is_first);
void pv_logins_succeeded(struct pv_logins *logins, struct pv_slice user);

/* Remembers that the user came in with this verifier. */
enum pv_status pv_logins_add(struct pv_logins *logins, const struct pv_user *user, uint64_t now_ms,
                             char token[PV_LOGIN_TOKEN_SIZE]) PV_MUST_CHECK;
/*
 * Whose token it is: the user of this policy, with the same verifier as then; NULL: nobody's, or it has expired.
 * is_active: somebody made the request, so it counts against idleness.
 */
const struct pv_user *pv_logins_find(struct pv_logins *logins, const struct pv_policy *policy, struct pv_slice token,
                                     uint64_t now_ms, bool is_active);
/* How long the login holds without another request. */
uint64_t pv_logins_left_ms(const struct pv_logins *logins, struct pv_slice token, uint64_t now_ms);
void pv_logins_drop(struct pv_logins *logins, struct pv_slice token);
size_t pv_logins_count(const struct pv_logins *logins);

#endif
