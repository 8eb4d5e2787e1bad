/*
 * What stands behind the questions beside the policy's files: approvals, checked
 * against today's text and the parties' keys, consent that was withdrawn, and what a run takes from the
 * access budgets. A standing is immutable and counted, made for one snapshot; any thread may read it and give it back.
 */
#ifndef PV_STANDING_H
#define PV_STANDING_H

#include "policy/approval.h"
#include "policy/decide.h"

struct pv_standing;

/* An approval as it was given; fields are borrowed. */
struct pv_given_approval {
    const char *room, *question, *party;
    int64_t at_us; /* microseconds since 1970-01-01 UTC */
    struct pv_slice text, signature;
};

/*
 * Judges what was given: approvals in any order, of consents the newest of each (room, subject, party). Copies what it
 * needs. Verifies signatures and prints questions: on the thread that loaded the policy. PV_NOMEM. One reference.
 *
 * Of a party's approvals the newest that its key made counts, by the time that it signed; older ones are history even
 * where the question has come back to their text. A consent that the party's key did not make counts as withdrawn.
 */
enum pv_status pv_standing_new(const struct pv_policy *policy, const struct pv_given_approval *approvals,
                               size_t approval_count, const struct pv_given_consent *consents, size_t consent_count,
                               struct pv_standing **standing) PV_MUST_CHECK;
struct pv_standing *pv_standing_ref(struct pv_standing *standing); /* NULL is fine, here and below */
void pv_standing_unref(struct pv_standing *standing);
/* Another one for each standing, never 0; of none 0. */
uint64_t pv_standing_generation(const struct pv_standing *standing);
/* Whether it was made for this snapshot. */
bool pv_standing_fits(const struct pv_standing *standing, const struct pv_policy *policy);

enum pv_approval_state { PV_APPROVAL_VALID, PV_APPROVAL_MISSING, PV_APPROVAL_STALE };
const char *pv_approval_state_word(enum pv_approval_state state); /* valid, missing, stale */

struct pv_approval_standing {
    const char *party;
    enum pv_approval_state state;
    bool is_foreign;             /* MISSING: something is recorded, and the party's key did not sign it */
    int64_t at_us;               /* when it was given; 0: never */
    struct pv_slice signed_text; /* STALE: what it was given for */
};

struct pv_question_standing {
    struct pv_slice text;                         /* canonical, of today */
    const struct pv_approval_standing *approvals; /* of each party that must have signed */
    size_t count;
};

/* NULL: the question needs no approval, or is unknown. */
const struct pv_question_standing *pv_standing_question(const struct pv_standing *standing, const char *room,
                                                        const char *question);

struct pv_withdrawal {
    const char *room;
    enum pv_subject_kind kind;
    const char *subject; /* NULL: the whole room */
    const char *party;
    int64_t at_us;
    bool is_unproven; /* the record says granted or withdrawn, and its signature is not the party's */
};

/* The first withdrawal that stops any of these questions or data sets; NULL: none does. */
const struct pv_withdrawal *pv_standing_withdrawn(const struct pv_standing *standing, const char *room,
                                                  const struct pv_names *questions, const struct pv_names *datasets);
const struct pv_withdrawal *pv_standing_withdrawals(const struct pv_standing *standing, size_t *count);

/* ---- budgets ------------------------------------------------------------- */

/* What one statement takes from one counter when it runs. */
struct pv_budget_demand {
    const char *key; /* of the counter: free of what a file says about it but names */
    enum pv_budget_period per;
    uint64_t runs;     /* that this statement takes */
    uint64_t runs_max; /* UINT64_MAX: counted, not bounded */
    bool is_dataset;
    const char *subject; /* question or data set */
    const char *user;    /* whose share it is; NULL: everybody's together */
};

/* Text of the period that a moment lies in, in UTC: `day 2026-01-31`, `week 2026-01-26`, `month 2026-01`, `lifetime`.
 */
#define PV_BUDGET_PERIOD_SIZE 24u
void pv_budget_period_text(enum pv_budget_period per, int64_t now_us, char text[PV_BUDGET_PERIOD_SIZE]);
/* When the next one begins, in microseconds; 0: never. */
int64_t pv_budget_period_end(enum pv_budget_period per, int64_t now_us);
const char *pv_budget_period_word(enum pv_budget_period per); /* day, week, month, lifetime */

/* What a client hears when the runs are not left, and the reason's code. */
struct pv_budget_words {
    const char *message, *detail, *hint;
};
enum pv_status pv_budget_words(struct pv_arena *arena, const struct pv_budget_demand *demand, int64_t now_us,
                               struct pv_budget_words *words) PV_MUST_CHECK; /* PV_NOMEM */
enum pv_reason pv_budget_reason(const struct pv_budget_demand *demand);

#endif
