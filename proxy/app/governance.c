#include "proxy/app/governance.h"

#include <stdio.h>
#include <string.h>

#include "proxy/audit/journal.h"
#include "proxy/base/arena.h"
#include "proxy/base/bytes.h"

static enum pv_subject_kind
subject_kind(enum pv_consent_kind kind)
{
    return kind == PV_CONSENT_ROOM       ? PV_SUBJECT_ROOM
           : kind == PV_CONSENT_QUESTION ? PV_SUBJECT_QUESTION
                                         : PV_SUBJECT_DATASET;
}

static enum pv_status
read_given(struct pv_store *store, struct pv_arena *arena, struct pv_given_approval **approvals, size_t *approval_count,
           struct pv_given_consent **consents, size_t *consent_count)
{
    struct pv_approval *stored = NULL;
    struct pv_consent *said = NULL;
    enum pv_status status = pv_store_approvals(store, NULL, NULL, arena, &stored, approval_count);

    if (status == PV_OK)
        status = pv_store_consents(store, NULL, arena, &said, consent_count);
    if (status != PV_OK)
        return status;
    *approvals = pv_arena_alloc(arena, (*approval_count + 1) * sizeof(**approvals));
    *consents = pv_arena_alloc(arena, (*consent_count + 1) * sizeof(**consents));
    if (*approvals == NULL || *consents == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < *approval_count; i++)
        (*approvals)[i] = (struct pv_given_approval){stored[i].room,  stored[i].question, stored[i].party,
                                                     stored[i].at_us, stored[i].text,     stored[i].signature};
    for (size_t i = 0; i < *consent_count; i++)
        (*consents)[i] = (struct pv_given_consent){said[i].room,     subject_kind(said[i].kind), said[i].subject,
                                                   said[i].party,    said[i].is_withdrawn,       said[i].at_us,
                                                   said[i].signature};
    return PV_OK;
}

enum pv_status
pv_governance_read(struct pv_store *store, const struct pv_policy *policy, struct pv_standing **standing)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_given_approval *approvals = NULL;
    struct pv_given_consent *consents = NULL;
    size_t approval_count = 0, consent_count = 0;
    enum pv_status status = arena == NULL ? PV_NOMEM : PV_OK;

    if (status == PV_OK && store != NULL)
        status = read_given(store, arena, &approvals, &approval_count, &consents, &consent_count);
    if (status == PV_OK)
        status = pv_standing_new(policy, approvals, approval_count, consents, consent_count, standing);
    pv_arena_free(arena);
    return status;
}

enum pv_status
pv_governance_load(const struct pv_policy *policy, struct pv_standing **standing, char *error, size_t error_size)
{
    struct pv_store *store = NULL;
    enum pv_status status = pv_store_open_reading(policy->config.state_path, &store, error, error_size);

    if (status != PV_OK && status != PV_NOTFOUND)
        return status;
    status = pv_governance_read(store, policy, standing);
    pv_store_close(store);
    if (status != PV_OK)
        (void) snprintf(error, error_size, "approvals and consent cannot be read: %s", pv_status_words(status));
    return status;
}

enum pv_status
pv_governance_event(const struct pv_policy *policy, const char *room, const char *event, int64_t at_us, json_t *detail,
                    char *error, size_t error_size)
{
    size_t size = detail == NULL ? 0 : json_dumpb(detail, NULL, 0, JSON_COMPACT);
    struct pv_buf text = {0};
    char *place = size == 0 ? NULL : (char *) pv_buf_reserve(&text, size);
    struct pv_event told = {.at_us = at_us, .room = room, .event = event};
    const struct pv_record record = {.kind = PV_RECORD_EVENT, .event = &told};
    enum pv_status status = PV_NOMEM;

    if (place != NULL && json_dumpb(detail, place, size, JSON_COMPACT) == size) {
        pv_buf_commit(&text, size);
        told.detail = pv_buf_text(&text);
    }
    if (told.detail != NULL)
        status = pv_journal_append_once(policy->config.state_path, &record, error, error_size);
    pv_buf_clear(&text);
    json_decref(detail);
    return status;
}

void
pv_say_faults(const struct pv_faults *faults)
{
    for (size_t i = 0; faults != NULL && i < pv_faults_total(faults); i++) {
        const struct pv_fault *fault = pv_faults_at(faults, i);

        if (!fault->is_warning)
            (void) fprintf(stderr, "%s:%u:%u: %s\n", fault->file, fault->line, fault->column, fault->message);
    }
}

/* ---- signing ------------------------------------------------------------------ */

static int
find_party(struct pv_signing *signing)
{
    signing->room = pv_policy_room(signing->policy, pv_slice_cstr(signing->room_name));
    if (signing->room == NULL) {
        (void) fprintf(stderr, "pgveil %s: there is no room \"%s\"\n", signing->command, signing->room_name);
        return 2;
    }
    for (size_t i = 0; i < signing->room->party_count; i++)
        if (strcmp(signing->room->parties[i].name, signing->party_name) == 0)
            signing->party = &signing->room->parties[i];
    if (signing->party == NULL) {
        (void) fprintf(stderr, "pgveil %s: room \"%s\" has no party \"%s\"\n", signing->command, signing->room_name,
                       signing->party_name);
        return 2;
    }
    if (signing->party->public_key == NULL) {
        (void) fprintf(stderr, "pgveil %s: party \"%s\" has no \"public_key\" in room \"%s\", so it cannot sign\n",
                       signing->command, signing->party_name, signing->room_name);
        return 2;
    }
    return 0;
}

static int
load_key(struct pv_signing *signing)
{
    struct pv_sign_key *public_key = NULL;
    char error[256] = "";
    char wanted[PV_FINGERPRINT_SIZE] = "";
    enum pv_status status = pv_sign_private_load(signing->key_path, &signing->key, error, sizeof(error));

    if (status == PV_OK)
        status = pv_sign_fingerprint(signing->key, signing->fingerprint);
    if (status == PV_OK)
        status = pv_sign_public_parse(pv_slice_cstr(signing->party->public_key), &public_key);
    if (status == PV_OK)
        status = pv_sign_fingerprint(public_key, wanted);
    pv_sign_key_free(public_key);
    if (status != PV_OK) {
        (void) fprintf(stderr, "pgveil %s: %s\n", signing->command, error[0] == '\0' ? pv_status_words(status) : error);
        return 2;
    }
    if (strcmp(wanted, signing->fingerprint) == 0)
        return 0;
    (void) fprintf(
        stderr,
        "pgveil %s: %s is not the key of party \"%s\": its fingerprint is %s, the public key's in room \"%s\" "
        "is %s\n",
        signing->command, signing->key_path, signing->party_name, signing->fingerprint, signing->room_name, wanted);
    return 1;
}

int
pv_signing_open(struct pv_signing *signing)
{
    struct pv_faults *faults = pv_faults_new();
    int exit_code = 0;

    if (faults == NULL || pv_policy_load(signing->config_path, faults, &signing->policy) != PV_OK) {
        pv_say_faults(faults);
        (void) fprintf(stderr, "pgveil %s: the config has faults; see pgveil check\n", signing->command);
        exit_code = 2;
    }
    pv_faults_free(faults);
    if (exit_code == 0)
        exit_code = find_party(signing);
    if (exit_code == 0)
        exit_code = load_key(signing);
    if (exit_code != 0)
        pv_signing_close(signing);
    return exit_code;
}

void
pv_signing_close(struct pv_signing *signing)
{
    pv_sign_key_free(signing->key);
    signing->key = NULL;
    pv_policy_unref(signing->policy);
    signing->policy = NULL;
}

/* ---- when ----------------------------------------------------------------------- */

/* Later than a moment that the party's own key signed; any other counts for nothing. */
static void
pass(const struct pv_signing *signing, struct pv_slice text, struct pv_slice signature, int64_t signed_us, int64_t *at_us)
{
    if (pv_sign_verify(signing->key, text, signature) == PV_OK && signed_us >= *at_us && signed_us < INT64_MAX)
        *at_us = signed_us + 1;
}

enum pv_status
pv_signing_moment_of_approval(const struct pv_signing *signing, struct pv_store *store, const char *question,
                              int64_t *at_us)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_approval *approvals = NULL;
    size_t count = 0;
    int64_t moment_us = pv_record_now_us();
    enum pv_status status = arena == NULL ? PV_NOMEM : PV_OK;

    if (status == PV_OK)
        status = pv_store_approvals(store, signing->room_name, question, arena, &approvals, &count);
    for (size_t i = 0; i < count && status == PV_OK; i++) {
        struct pv_slice text = {NULL, 0};

        if (strcmp(approvals[i].party, signing->party_name) != 0)
            continue;
        status = pv_approval_signed_text(arena, approvals[i].text, approvals[i].party, approvals[i].at_us, &text);
        if (status == PV_OK)
            pass(signing, text, approvals[i].signature, approvals[i].at_us, &moment_us);
    }
    pv_arena_free(arena);
    if (status == PV_OK)
        *at_us = moment_us;
    return status;
}

enum pv_status
pv_signing_moment_of_consent(const struct pv_signing *signing, struct pv_store *store,
                             const struct pv_given_consent *consent, int64_t *at_us)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_consent *consents = NULL;
    size_t count = 0;
    int64_t moment_us = pv_record_now_us();
    enum pv_status status = arena == NULL ? PV_NOMEM : PV_OK;

    if (status == PV_OK)
        status = pv_store_consents(store, signing->room_name, arena, &consents, &count);
    for (size_t i = 0; i < count && status == PV_OK; i++) {
        const struct pv_consent *said = &consents[i];
        const struct pv_given_consent given = {said->room,  subject_kind(said->kind), said->subject,  said->party,
                                               said->is_withdrawn, said->at_us,       said->signature};
        struct pv_slice text = {NULL, 0};

        if (strcmp(given.party, signing->party_name) != 0 || given.kind != consent->kind ||
            (given.subject != NULL && strcmp(given.subject, consent->subject) != 0))
            continue;
        status = pv_consent_text(arena, &given, &text);
        if (status == PV_OK)
            pass(signing, text, given.signature, given.at_us, &moment_us);
    }
    pv_arena_free(arena);
    if (status == PV_OK)
        *at_us = moment_us;
    return status;
}
