#include "proxy/app/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "proxy/app/governance.h"
#include "proxy/audit/record.h"
#include "proxy/base/arena.h"

/* A party's kill switch: consent to the room, a question or a data set, withdrawn or granted again. */

#define USAGE "consent [-c FILE] --room R [--question Q | --dataset D] --party P --key FILE withdraw|grant"

static int
usage(const char *words)
{
    (void) fprintf(stderr,
                   "pgveil consent: %s\n"
                   "usage: pgveil " USAGE "\n",
                   words);
    return 2;
}

static enum pv_status
record_consent(const struct pv_signing *signing, const struct pv_given_consent *consent, char *error, size_t error_size)
{
    json_t *detail = json_pack("{s:s, s:s, s:s, s:s?, s:s?}", "said", consent->is_withdrawn ? "withdraw" : "grant",
                               "party", signing->party_name, "fingerprint", signing->fingerprint, "question",
                               consent->kind == PV_SUBJECT_QUESTION ? consent->subject : NULL, "dataset",
                               consent->kind == PV_SUBJECT_DATASET ? consent->subject : NULL);

    return pv_governance_event(signing->policy, signing->room_name, "consent", consent->at_us, detail, error,
                               error_size);
}

/* What stops is stored before it is logged, what allows is logged before it is stored. */
static enum pv_status
store_consent(struct pv_store *store, const struct pv_signing *signing, const struct pv_given_consent *given,
              char *error, size_t error_size)
{
    static const enum pv_consent_kind kinds[] = {
        [PV_SUBJECT_ROOM] = PV_CONSENT_ROOM,
        [PV_SUBJECT_QUESTION] = PV_CONSENT_QUESTION,
        [PV_SUBJECT_DATASET] = PV_CONSENT_DATASET,
    };
    const struct pv_consent consent = {given->room,         kinds[given->kind], given->subject,   given->party,
                                       given->is_withdrawn, given->at_us,       given->signature, signing->fingerprint};
    enum pv_status status;

    if (given->is_withdrawn) {
        status = pv_store_consent_add(store, &consent);
        return status == PV_OK ? record_consent(signing, given, error, error_size) : status;
    }
    status = record_consent(signing, given, error, error_size);
    return status == PV_OK ? pv_store_consent_add(store, &consent) : status;
}

static int
say(const struct pv_signing *signing, struct pv_given_consent *consent)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_store *store = NULL;
    struct pv_slice text = {NULL, 0};
    uint8_t signature[PV_SIGNATURE_BYTES];
    char error[512] = "";
    enum pv_status status = arena == NULL ? PV_NOMEM : PV_OK;

    if (status == PV_OK)
        status = pv_store_open(signing->policy->config.state_path, &store, error, sizeof(error));
    if (status == PV_OK)
        status = pv_signing_moment_of_consent(signing, store, consent, &consent->at_us);
    if (status == PV_OK)
        status = pv_consent_text(arena, consent, &text);
    if (status == PV_OK)
        status = pv_sign(signing->key, text, signature);
    consent->signature = pv_slice_of(signature, sizeof(signature));
    if (status == PV_OK)
        status = store_consent(store, signing, consent, error, sizeof(error));
    pv_store_close(store);
    pv_arena_free(arena);
    if (status != PV_OK) {
        (void) fprintf(stderr, "pgveil consent: %s\n", error[0] == '\0' ? pv_status_words(status) : error);
        return 2;
    }
    printf("party \"%s\" %s its consent to ", signing->party_name, consent->is_withdrawn ? "withdraws" : "grants");
    if (consent->kind == PV_SUBJECT_ROOM)
        printf("room \"%s\"\n", signing->room_name);
    else
        printf("%s \"%s\" of room \"%s\"\n", consent->kind == PV_SUBJECT_QUESTION ? "question" : "data set",
               consent->subject, signing->room_name);
    return fflush(stdout) == 0 ? 0 : 2;
}

/* 0, or an exit status with the words said. */
static int
find_subject(const struct pv_signing *signing, const struct pv_given_consent *consent)
{
    bool is_known = consent->kind == PV_SUBJECT_ROOM ||
                    (consent->kind == PV_SUBJECT_QUESTION && pv_room_question(signing->room, consent->subject) != NULL);

    for (size_t i = 0; i < signing->room->dataset_count && consent->kind == PV_SUBJECT_DATASET; i++)
        is_known |= strcmp(signing->room->datasets[i].key, consent->subject) == 0;
    if (is_known)
        return 0;
    (void) fprintf(stderr, "pgveil consent: room \"%s\" has no %s \"%s\"\n", signing->room_name,
                   consent->kind == PV_SUBJECT_QUESTION ? "question" : "data set", consent->subject);
    return 2;
}

int
pv_command_consent(const char *config_path, int argc, char **argv)
{
    struct pv_signing signing = {.command = "consent", .config_path = config_path};
    struct pv_given_consent consent = {.kind = PV_SUBJECT_ROOM};
    const char *question = NULL, *dataset = NULL, *verb = NULL;
    int exit_code;

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i], *given = NULL;

        /* One without its value is never taken for one that was not given: that would mean the whole room. */
        if (pv_option_take("--room", argc, argv, &i, &given))
            signing.room_name = given;
        else if (pv_option_take("--question", argc, argv, &i, &given))
            question = given;
        else if (pv_option_take("--dataset", argc, argv, &i, &given))
            dataset = given;
        else if (pv_option_take("--party", argc, argv, &i, &given))
            signing.party_name = given;
        else if (pv_option_take("--key", argc, argv, &i, &given))
            signing.key_path = given;
        else if (word[0] == '-' || verb != NULL)
            return pv_option_refuse("consent", word, false, USAGE);
        else
            given = verb = word;
        if (given == NULL)
            return pv_option_refuse("consent", word, true, USAGE);
    }
    if (signing.room_name == NULL || signing.party_name == NULL || signing.key_path == NULL)
        return usage("--room, --party and --key are needed");
    if (verb == NULL || (strcmp(verb, "withdraw") != 0 && strcmp(verb, "grant") != 0))
        return usage("withdraw or grant is needed");
    if (question != NULL && dataset != NULL)
        return usage("--question or --dataset, not both");
    consent.kind = question != NULL ? PV_SUBJECT_QUESTION : dataset != NULL ? PV_SUBJECT_DATASET : PV_SUBJECT_ROOM;
    consent.subject = question != NULL ? question : dataset;
    consent.room = signing.room_name;
    consent.party = signing.party_name;
    consent.is_withdrawn = strcmp(verb, "withdraw") == 0;
    exit_code = pv_signing_open(&signing);
    if (exit_code != 0)
        return exit_code;
    exit_code = find_subject(&signing, &consent);
    if (exit_code == 0)
        exit_code = say(&signing, &consent);
    pv_signing_close(&signing);
    return exit_code;
}
