/*
 * Invariants.
 * 1. A standing never changes after it was made; it borrows nothing.
 * 2. An approval is valid only by the party's key of this snapshot over exactly the text of this snapshot.
 * 3. Whatever cannot be proven counts against asking.
 */
#include "policy/standing.h"

#include <string.h>

#include "policy/decide_int.h"
#include "policy/question_int.h"
#include "proxy/base/arena.h"
#include "proxy/crypto/sign.h"

struct question_entry {
    const char *room, *question;
    struct pv_question_standing standing;
};

struct pv_standing {
    _Atomic uint32_t refs;
    uint64_t generation, policy_generation;
    struct pv_arena *arena;
    struct question_entry *questions;
    size_t question_count;
    struct pv_withdrawal *withdrawals;
    size_t withdrawal_count;
};

static _Atomic uint64_t last_generation;

/* ---- keys ------------------------------------------------------------------ */

static const struct pv_party *
find_party(const struct pv_room *room, const char *name)
{
    for (size_t i = 0; room != NULL && i < room->party_count; i++)
        if (strcmp(room->parties[i].name, name) == 0)
            return &room->parties[i];
    return NULL;
}

/* PV_OK: the party's key made it. PV_DENIED: it did not, or there is no such key. */
static enum pv_status
check_signature(const struct pv_party *party, struct pv_slice text, struct pv_slice signature)
{
    struct pv_sign_key *key = NULL;
    enum pv_status status = PV_DENIED;

    if (party != NULL && party->public_key != NULL)
        status = pv_sign_public_parse(pv_slice_cstr(party->public_key), &key);
    if (status == PV_OK)
        status = pv_sign_verify(key, text, signature);
    pv_sign_key_free(key);
    return status == PV_OK || status == PV_NOMEM ? status : PV_DENIED;
}

/* ---- approvals --------------------------------------------------------------- */

struct given {
    const struct pv_given_approval *approvals;
    size_t count;
};

static enum pv_status
copy_slice(struct pv_arena *arena, struct pv_slice bytes, struct pv_slice *copy)
{
    const char *data = pv_arena_strndup(arena, (const char *) bytes.data, bytes.len);

    if (data == NULL)
        return PV_NOMEM;
    *copy = pv_slice_of(data, bytes.len);
    return PV_OK;
}

/*
 * Of this party's approvals the newest that its key made, by the time that it signed: where a row stands in a file that
 * others write proves nothing. *foreign_us: when the newest of the others says it was given; 0: there is none.
 */
static enum pv_status
find_approval(struct pv_standing *standing, const struct pv_room *room, const char *question, const char *party,
              const struct given *given, const struct pv_given_approval **newest, int64_t *foreign_us)
{
    const struct pv_party *signer = find_party(room, party);

    for (size_t i = 0; i < given->count; i++) {
        const struct pv_given_approval *approval = &given->approvals[i];
        struct pv_slice text = {NULL, 0};
        enum pv_status status;

        if (strcmp(approval->room, room->name) != 0 || strcmp(approval->question, question) != 0 ||
            strcmp(approval->party, party) != 0)
            continue;
        status = pv_approval_signed_text(standing->arena, approval->text, party, approval->at_us, &text);
        if (status == PV_OK)
            status = check_signature(signer, text, approval->signature);
        if (status == PV_NOMEM)
            return status;
        if (status != PV_OK)
            *foreign_us = approval->at_us > *foreign_us ? approval->at_us : *foreign_us;
        else if (*newest == NULL || approval->at_us > (*newest)->at_us)
            *newest = approval;
    }
    return PV_OK;
}

static enum pv_status
judge_approval(struct pv_standing *standing, const struct pv_room *room, const struct pv_question *question,
               const char *party, const struct given *given, struct pv_slice text, struct pv_approval_standing *result)
{
    const struct pv_given_approval *newest = NULL;
    int64_t foreign_us = 0;
    enum pv_status status = find_approval(standing, room, question->id, party, given, &newest, &foreign_us);

    result->state = PV_APPROVAL_MISSING;
    result->party = pv_arena_strdup(standing->arena, party);
    if (status != PV_OK || result->party == NULL)
        return PV_NOMEM;
    result->is_foreign = newest == NULL && foreign_us > 0;
    result->at_us = newest == NULL ? foreign_us : newest->at_us;
    if (newest == NULL)
        return PV_OK;
    result->state = pv_slice_equal(newest->text, text) ? PV_APPROVAL_VALID : PV_APPROVAL_STALE;
    return result->state == PV_APPROVAL_STALE ? copy_slice(standing->arena, newest->text, &result->signed_text) : PV_OK;
}

static enum pv_status
judge_question(struct pv_standing *standing, const struct pv_room *room, const struct pv_question *question,
               const struct given *given)
{
    struct question_entry *entry = &standing->questions[standing->question_count];
    struct pv_approval_standing *approvals;
    struct pv_names parties = {NULL, 0};
    enum pv_status status = pv_approval_parties(standing->arena, room, question, &parties);

    if (status != PV_OK || parties.count == 0)
        return status;
    status = pv_approval_text(standing->arena, room, question, &entry->standing.text);
    approvals = pv_arena_alloc(standing->arena, parties.count * sizeof(*approvals));
    entry->room = pv_arena_strdup(standing->arena, room->name);
    entry->question = pv_arena_strdup(standing->arena, question->id);
    if (approvals == NULL || entry->room == NULL || entry->question == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < parties.count && status == PV_OK; i++)
        status = judge_approval(standing, room, question, parties.names[i], given, entry->standing.text, &approvals[i]);
    entry->standing.approvals = approvals;
    entry->standing.count = parties.count;
    if (status == PV_OK)
        standing->question_count++;
    return status;
}

static enum pv_status
judge_questions(struct pv_standing *standing, const struct pv_policy *policy, const struct given *given)
{
    size_t count = 0;
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < policy->room_count; i++)
        count += policy->rooms[i].question_count;
    standing->questions = pv_arena_alloc(standing->arena, (count + 1) * sizeof(*standing->questions));
    if (standing->questions == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < policy->room_count && status == PV_OK; i++)
        for (size_t k = 0; k < policy->rooms[i].question_count && status == PV_OK; k++)
            status = judge_question(standing, &policy->rooms[i], &policy->rooms[i].questions[k], given);
    return status;
}

/* ---- consent ------------------------------------------------------------------- */

static enum pv_status
judge_consent(struct pv_standing *standing, const struct pv_policy *policy, const struct pv_given_consent *consent)
{
    struct pv_withdrawal *withdrawal = &standing->withdrawals[standing->withdrawal_count];
    const struct pv_party *party = find_party(pv_policy_room(policy, pv_slice_cstr(consent->room)), consent->party);
    struct pv_slice text = {NULL, 0};
    enum pv_status status = pv_consent_text(standing->arena, consent, &text);

    if (status == PV_OK)
        status = check_signature(party, text, consent->signature);
    if (status == PV_NOMEM)
        return status;
    /* A party that left keeps what it had withdrawn; what it granted is nobody's question any more. */
    if (!consent->is_withdrawn && (status == PV_OK || party == NULL))
        return PV_OK;
    withdrawal->room = pv_arena_strdup(standing->arena, consent->room);
    withdrawal->kind = consent->kind;
    withdrawal->subject = consent->subject == NULL ? NULL : pv_arena_strdup(standing->arena, consent->subject);
    withdrawal->party = pv_arena_strdup(standing->arena, consent->party);
    withdrawal->at_us = consent->at_us;
    withdrawal->is_unproven = status != PV_OK;
    if (withdrawal->room == NULL || withdrawal->party == NULL ||
        (consent->subject != NULL && withdrawal->subject == NULL))
        return PV_NOMEM;
    standing->withdrawal_count++;
    return PV_OK;
}

enum pv_status
pv_standing_new(const struct pv_policy *policy, const struct pv_given_approval *approvals, size_t approval_count,
                const struct pv_given_consent *consents, size_t consent_count, struct pv_standing **standing)
{
    const struct given given = {approvals, approval_count};
    struct pv_standing *made = pv_calloc(1, sizeof(*made));
    enum pv_status status = PV_NOMEM;

    if (made == NULL)
        return PV_NOMEM;
    atomic_init(&made->refs, 1);
    made->generation = atomic_fetch_add(&last_generation, 1) + 1;
    made->policy_generation = policy->generation;
    made->arena = pv_arena_new(0);
    if (made->arena != NULL)
        made->withdrawals = pv_arena_alloc(made->arena, (consent_count + 1) * sizeof(*made->withdrawals));
    if (made->withdrawals != NULL)
        status = judge_questions(made, policy, &given);
    for (size_t i = 0; i < consent_count && status == PV_OK; i++)
        status = judge_consent(made, policy, &consents[i]);
    if (status != PV_OK)
        pv_standing_unref(made);
    else
        *standing = made;
    return status;
}

struct pv_standing *
pv_standing_ref(struct pv_standing *standing)
{
    if (standing != NULL)
        (void) atomic_fetch_add_explicit(&standing->refs, 1, memory_order_relaxed);
    return standing;
}

void
pv_standing_unref(struct pv_standing *standing)
{
    if (standing == NULL || atomic_fetch_sub_explicit(&standing->refs, 1, memory_order_acq_rel) != 1)
        return;
    pv_arena_free(standing->arena);
    pv_free(standing);
}

uint64_t
pv_standing_generation(const struct pv_standing *standing)
{
    return standing == NULL ? 0 : standing->generation;
}

bool
pv_standing_fits(const struct pv_standing *standing, const struct pv_policy *policy)
{
    return standing != NULL && policy != NULL && standing->policy_generation == policy->generation;
}

const char *
pv_approval_state_word(enum pv_approval_state state)
{
    static const char *const words[] = {
        [PV_APPROVAL_VALID] = "valid", [PV_APPROVAL_MISSING] = "missing", [PV_APPROVAL_STALE] = "stale"};

    return words[state];
}

const struct pv_question_standing *
pv_standing_question(const struct pv_standing *standing, const char *room, const char *question)
{
    for (size_t i = 0; standing != NULL && i < standing->question_count; i++)
        if (strcmp(standing->questions[i].question, question) == 0 && strcmp(standing->questions[i].room, room) == 0)
            return &standing->questions[i].standing;
    return NULL;
}

static bool
stops(const struct pv_withdrawal *withdrawal, const struct pv_names *questions, const struct pv_names *datasets)
{
    const struct pv_names *names = withdrawal->kind == PV_SUBJECT_QUESTION ? questions : datasets;

    if (withdrawal->kind == PV_SUBJECT_ROOM)
        return true;
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(withdrawal->subject, names->names[i]) == 0)
            return true;
    return false;
}

const struct pv_withdrawal *
pv_standing_withdrawn(const struct pv_standing *standing, const char *room, const struct pv_names *questions,
                      const struct pv_names *datasets)
{
    for (size_t i = 0; standing != NULL && i < standing->withdrawal_count; i++)
        if (strcmp(standing->withdrawals[i].room, room) == 0 && stops(&standing->withdrawals[i], questions, datasets))
            return &standing->withdrawals[i];
    return NULL;
}

const struct pv_withdrawal *
pv_standing_withdrawals(const struct pv_standing *standing, size_t *count)
{
    *count = standing == NULL ? 0 : standing->withdrawal_count;
    return standing == NULL ? NULL : standing->withdrawals;
}

/* ---- may it be asked now? ------------------------------------------------------------ */

static enum pv_status
deny_approval(struct pv_trial *trial, const struct pv_question *question, const struct pv_approval_standing *approval)
{
    char at[PV_APPROVAL_TIME_SIZE];
    enum pv_status status;

    pv_approval_time(approval->at_us, at);
    if (approval->state == PV_APPROVAL_STALE)
        status =
            pv_deny_question(trial, PV_REASON_APPROVAL, -1,
                             "The approval of question \"%s\" by party \"%s\" of %.19sZ is stale: the question or a "
                             "data set that it reads has changed since.",
                             question->id, approval->party, at);
    else if (approval->is_foreign)
        status =
            pv_deny_question(trial, PV_REASON_APPROVAL, -1,
                             "The approval of question \"%s\" by party \"%s\" is missing: the one of %.19sZ was not "
                             "signed with the party's key.",
                             question->id, approval->party, at);
    else
        status = pv_deny_question(trial, PV_REASON_APPROVAL, -1,
                                  "The approval of question \"%s\" by party \"%s\" is missing.", question->id,
                                  approval->party);
    pv_deny_hint(trial, "Party \"%s\" has to approve the question as it stands.", approval->party);
    return status;
}

static enum pv_status
check_approvals(struct pv_trial *trial, const struct pv_question *question)
{
    const struct pv_caller *caller = trial->caller;
    const struct pv_question_standing *found;
    struct pv_names parties = {NULL, 0};
    enum pv_status status = pv_approval_parties(trial->arena, caller->room, question, &parties);

    if (status != PV_OK || parties.count == 0)
        return status;
    found = pv_standing_fits(caller->standing, caller->policy)
                ? pv_standing_question(caller->standing, caller->room->name, question->id)
                : NULL;
    if (found == NULL)
        return pv_deny_question(trial, PV_REASON_APPROVAL, -1,
                                "Question \"%s\" needs the approval of party \"%s\", and the approvals cannot be read.",
                                question->id, parties.names[0]);
    for (size_t i = 0; i < found->count; i++)
        if (found->approvals[i].state != PV_APPROVAL_VALID)
            return deny_approval(trial, question, &found->approvals[i]);
    return PV_OK;
}

static enum pv_status
check_consent(struct pv_trial *trial, const struct pv_question *question, const struct pv_names *datasets)
{
    const struct pv_caller *caller = trial->caller;
    const struct pv_names asked = {&question->id, 1};
    const struct pv_withdrawal *withdrawal =
        pv_standing_withdrawn(caller->standing, caller->room->name, &asked, datasets);
    char at[PV_APPROVAL_TIME_SIZE];

    if (withdrawal == NULL)
        return PV_OK;
    pv_approval_time(withdrawal->at_us, at);
    return pv_deny_question(trial, PV_REASON_CONSENT, -1,
                            "Party \"%s\" has withdrawn its consent to %s%s%s%s on %.19sZ.%s", withdrawal->party,
                            withdrawal->kind == PV_SUBJECT_ROOM       ? "the whole room"
                            : withdrawal->kind == PV_SUBJECT_QUESTION ? "question "
                                                                      : "data set ",
                            withdrawal->subject == NULL ? "" : "\"",
                            withdrawal->subject == NULL ? "" : withdrawal->subject,
                            withdrawal->subject == NULL ? "" : "\"", at,
                            withdrawal->is_unproven ? " (The record's signature is not the party's.)" : "");
}

/* The strictest of all that the result is made of: every data set has to release it to who asks (G10). */
static enum pv_status
check_receiver(struct pv_trial *trial, const struct pv_question *question, const struct pv_names *datasets)
{
    const struct pv_caller *caller = trial->caller;
    const struct pv_room *room = caller->room;

    for (size_t i = 0; i < datasets->count; i++)
        for (size_t k = 0; k < room->dataset_count; k++) {
            const struct pv_dataset *dataset = &room->datasets[k];

            if (strcmp(dataset->key, datasets->names[i]) != 0 || pv_dataset_releases_to(dataset, caller->member))
                continue;
            (void) pv_deny_question(trial, PV_REASON_NOT_RECEIVER, -1,
                                    "Question \"%s\" reads data set \"%s\" (owner %s), whose results user \"%s\" may not "
                                    "receive: its allowed_result_receivers are others.",
                                    question->id, dataset->key, dataset->owner, caller->user);
            pv_deny_hint(trial, "Ask what does not read \"%s\", or have party \"%s\" name you as a receiver.",
                         dataset->key, dataset->owner);
            return PV_DENIED;
        }
    return PV_OK;
}

static enum pv_status
add_question(struct pv_trial *trial, const struct pv_question *question)
{
    struct pv_names *asked = &trial->decision->questions;
    const char **names = pv_arena_alloc(trial->arena, (asked->count + 1) * sizeof(*names));

    if (names == NULL)
        return PV_NOMEM;
    if (asked->count > 0)
        memcpy(names, asked->names, asked->count * sizeof(*names));
    names[asked->count] = question->id;
    *asked = (struct pv_names){names, asked->count + 1};
    return PV_OK;
}

enum pv_status
pv_ask_standing(struct pv_trial *trial, const struct pv_question *question)
{
    struct pv_decision *decision = trial->decision;
    /* An open question reads what the statement names, which was noted before. */
    const struct pv_names *datasets = question->plan != NULL ? &question->plan->datasets : &decision->datasets;
    enum pv_status status;

    /* The log names it in a denial too. */
    if (decision->question == NULL)
        decision->question = question;
    if (!pv_question_admits(question, trial->caller->member))
        return pv_deny_question(trial, PV_REASON_NOT_ADMITTED, -1,
                                "Question \"%s\" is not for user \"%s\": its members are others.", question->id,
                                trial->caller->user);
    status = check_receiver(trial, question, datasets);
    if (status == PV_OK)
        status = check_consent(trial, question, datasets);
    if (status == PV_OK)
        status = check_approvals(trial, question);
    if (status == PV_OK)
        status = pv_budget_demand_all(trial, question, datasets);
    if (status == PV_OK)
        status = add_question(trial, question);
    if (status != PV_OK)
        return status;
    if (question->type == PV_QUESTION_ANALYTICAL)
        decision->question = question;
    decision->is_redacted |= question->type == PV_QUESTION_ANALYTICAL;
    if (question->timeout_ms > 0 && (decision->timeout_ms == 0 || question->timeout_ms < decision->timeout_ms))
        decision->timeout_ms = question->timeout_ms;
    if (question->plan != NULL)
        return pv_names_add(trial, &question->plan->datasets, &question->plan->columns);
    return PV_OK;
}
