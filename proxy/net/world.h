/*
 * What is in force at a moment: the policy snapshot, the standing of its questions, and the TLS contexts made from it,
 * immutable and counted. A reload makes another one or leaves this one as it is.
 */
#ifndef PV_WORLD_H
#define PV_WORLD_H

#include "policy/policy.h"

struct pv_standing;
struct pv_tls_context;
struct pv_world;

/* Shares policy and standing (which may be NULL). PV_INVALID with faults when a certificate, a key or a CA cannot be used; PV_NOMEM. */
enum pv_status pv_world_new(struct pv_policy *policy, struct pv_standing *standing, struct pv_faults *faults,
                            struct pv_world **world) PV_MUST_CHECK;
/* The same but for the standing; NULL: out of memory. */
struct pv_world *pv_world_with_standing(struct pv_world *world, struct pv_standing *standing) PV_MUST_CHECK;
struct pv_world *pv_world_ref(struct pv_world *world);
void pv_world_unref(struct pv_world *world); /* any thread; NULL is fine */

struct pv_policy *pv_world_policy(const struct pv_world *world);
struct pv_standing *pv_world_standing(const struct pv_world *world); /* approvals and consent; policy/standing.h */
/* NULL: no TLS towards clients. */
struct pv_tls_context *pv_world_server_tls(const struct pv_world *world);
/* NULL: plain towards this upstream, which is one of the world's own policy. */
struct pv_tls_context *pv_world_upstream_tls(const struct pv_world *world, const struct pv_upstream *upstream);

#endif
