/*
 * Approvals and consent between the state file and the policy: what the store holds,
 * as a standing for a snapshot; what the commands that sign have in common.
 */
#ifndef PV_GOVERNANCE_H
#define PV_GOVERNANCE_H

#include "policy/standing.h"
#include "proxy/audit/store.h"
#include "proxy/crypto/sign.h"

#include <jansson.h>

/* From an open store (NULL: nothing was ever given). On the thread that loaded the policy. As pv_store_approvals;
 * PV_NOMEM. */
enum pv_status pv_governance_read(struct pv_store *store, const struct pv_policy *policy,
                                  struct pv_standing **standing) PV_MUST_CHECK;
/* From the state file that the policy's config names, for reading alone; a missing one holds nothing. Words on failure.
 */
enum pv_status pv_governance_load(const struct pv_policy *policy, struct pv_standing **standing, char *error,
                                  size_t error_size) PV_MUST_CHECK;

/* Puts an event of this room into the query log; takes the detail (NULL: out of memory). On disk when it returns PV_OK.
 */
enum pv_status pv_governance_event(const struct pv_policy *policy, const char *room, const char *event, int64_t at_us,
                                   json_t *detail, char *error, size_t error_size) PV_MUST_CHECK;

/* What the signing commands are asked for. */
struct pv_signing {
    const char *command; /* for messages */
    const char *config_path;
    const char *room_name, *party_name, *key_path;
    struct pv_policy *policy;
    const struct pv_room *room;
    const struct pv_party *party;
    struct pv_sign_key *key; /* private */
    char fingerprint[PV_FINGERPRINT_SIZE];
};

/* Loads the policy, finds room and party, loads the key, which must be the party's. 0, or an exit status with the words
 * said. */
int pv_signing_open(struct pv_signing *signing) PV_MUST_CHECK;
/*
 * The moment to sign: now, and later than all that the party's key has signed of this question, or of this consent's
 * subject, whatever the clocks of its machines say. The newest counts.
 */
enum pv_status pv_signing_moment_of_approval(const struct pv_signing *signing, struct pv_store *store,
                                             const char *question, int64_t *at_us) PV_MUST_CHECK;
enum pv_status pv_signing_moment_of_consent(const struct pv_signing *signing, struct pv_store *store,
                                            const struct pv_given_consent *consent, int64_t *at_us) PV_MUST_CHECK;
void pv_signing_close(struct pv_signing *signing);
/* Says each fault that is no warning. */
void pv_say_faults(const struct pv_faults *faults);

#endif
