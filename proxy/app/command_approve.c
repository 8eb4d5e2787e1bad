#include "proxy/app/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "proxy/app/governance.h"
#include "proxy/app/line_diff.h"
#include "proxy/base/arena.h"

/* A party's signature under a question as it stands, and the list of those that questions need. */

/* ---- approve -------------------------------------------------------------------- */

static int
usage_approve(const char *words)
{
    (void) fprintf(stderr,
                   "pgveil approve: %s\n"
                   "usage: pgveil approve [-c FILE] --room R --question Q --party P --key FILE\n"
                   "       pgveil approve [-c FILE] --room R --question Q --print\n",
                   words);
    return 2;
}

static int
fail(const char *command, const char *words)
{
    (void) fprintf(stderr, "pgveil %s: %s\n", command, words);
    return 2;
}

static enum pv_status
record_approval(const struct pv_signing *signing, const char *question, int64_t at_us, char *error, size_t error_size)
{
    json_t *detail = json_pack("{s:s, s:s, s:s}", "question", question, "party", signing->party_name, "fingerprint",
                               signing->fingerprint);

    return pv_governance_event(signing->policy, signing->room_name, "approve", at_us, detail, error, error_size);
}

static enum pv_status
sign_approval(const struct pv_signing *signing, struct pv_slice text, int64_t at_us, uint8_t signature[PV_SIGNATURE_BYTES])
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_slice whole = {NULL, 0};
    enum pv_status status =
        arena == NULL ? PV_NOMEM : pv_approval_signed_text(arena, text, signing->party_name, at_us, &whole);

    if (status == PV_OK)
        status = pv_sign(signing->key, whole, signature);
    pv_arena_free(arena);
    return status;
}

/* The event first: an approval that no log knows of must not count. */
static enum pv_status
store_approval(const struct pv_signing *signing, const char *question, struct pv_slice text, char *error,
               size_t error_size)
{
    uint8_t signature[PV_SIGNATURE_BYTES];
    struct pv_approval approval = {
        .room = signing->room_name,
        .question = question,
        .party = signing->party_name,
        .text = text,
        .signature = {signature, sizeof(signature)},
        .fingerprint = signing->fingerprint,
    };
    struct pv_store *store = NULL;
    enum pv_status status = pv_store_open(signing->policy->config.state_path, &store, error, error_size);

    if (status == PV_OK)
        status = pv_signing_moment_of_approval(signing, store, question, &approval.at_us);
    if (status == PV_OK)
        status = sign_approval(signing, text, approval.at_us, signature);
    if (status == PV_OK)
        status = record_approval(signing, question, approval.at_us, error, error_size);
    if (status == PV_OK)
        status = pv_store_approval_add(store, &approval);
    pv_store_close(store);
    return status;
}

static void
warn_if_unasked(const struct pv_signing *signing, const struct pv_question *question, struct pv_arena *arena)
{
    struct pv_names parties = {NULL, 0};

    if (pv_approval_parties(arena, signing->room, question, &parties) != PV_OK)
        return;
    for (size_t i = 0; i < parties.count; i++)
        if (strcmp(parties.names[i], signing->party_name) == 0)
            return;
    (void) fprintf(stderr, "pgveil approve: question \"%s\" does not ask for the approval of party \"%s\"\n",
                   question->id, signing->party_name);
}

/* What would be signed, before it is: nothing is signed and nothing written. */
static int
print_text(const struct pv_room *room, const struct pv_question *question)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_slice text = {NULL, 0};
    enum pv_status status = arena == NULL ? PV_NOMEM : pv_approval_text(arena, room, question, &text);

    if (status == PV_OK)
        (void) fwrite(text.data, 1, text.len, stdout);
    pv_arena_free(arena);
    if (status != PV_OK)
        return fail("approve", pv_status_words(status));
    return fflush(stdout) == 0 ? 0 : 2;
}

static int
approve(const struct pv_signing *signing, const struct pv_question *question)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_slice text = {NULL, 0};
    char error[512] = "";
    enum pv_status status = arena == NULL ? PV_NOMEM : pv_approval_text(arena, signing->room, question, &text);

    if (status == PV_OK)
        warn_if_unasked(signing, question, arena);
    if (status == PV_OK)
        status = store_approval(signing, question->id, text, error, sizeof(error));
    if (status == PV_OK)
        printf("party \"%s\" approves question \"%s\" of room \"%s\" as it stands (key %.16s)\n", signing->party_name,
               question->id, signing->room_name, signing->fingerprint);
    pv_arena_free(arena);
    if (status != PV_OK)
        return fail("approve", error[0] == '\0' ? pv_status_words(status) : error);
    return fflush(stdout) == 0 ? 0 : 2;
}

static const struct pv_question *
find_question(const struct pv_room *room, const char *id)
{
    const struct pv_question *question = pv_room_question(room, id);

    if (question == NULL)
        (void) fprintf(stderr, "pgveil approve: room \"%s\" has no question \"%s\"\n", room->name, id);
    return question;
}

static int
run_print(const char *config_path, const char *room_name, const char *question_id)
{
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    const struct pv_question *question = NULL;
    int exit_code = 2;

    if (faults == NULL || pv_policy_load(config_path, faults, &policy) != PV_OK) {
        pv_say_faults(faults);
        exit_code = fail("approve", "the config has faults; see pgveil check");
    } else {
        const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr(room_name));

        if (room == NULL)
            (void) fprintf(stderr, "pgveil approve: there is no room \"%s\"\n", room_name);
        else
            question = find_question(room, question_id);
        if (question != NULL)
            exit_code = print_text(room, question);
    }
    pv_faults_free(faults);
    pv_policy_unref(policy);
    return exit_code;
}

static int
run_approve(struct pv_signing *signing, const char *question_id)
{
    int exit_code = pv_signing_open(signing);
    const struct pv_question *question;

    if (exit_code != 0)
        return exit_code;
    question = find_question(signing->room, question_id);
    exit_code = question == NULL ? 2 : approve(signing, question);
    pv_signing_close(signing);
    return exit_code;
}

int
pv_command_approve(const char *config_path, int argc, char **argv)
{
    struct pv_signing signing = {.command = "approve", .config_path = config_path};
    const char *question_id = NULL;
    bool is_printing = false;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--print") == 0)
            is_printing = true;
        else if (!pv_option_take("--room", argc, argv, &i, &signing.room_name) &&
                 !pv_option_take("--question", argc, argv, &i, &question_id) &&
                 !pv_option_take("--party", argc, argv, &i, &signing.party_name) &&
                 !pv_option_take("--key", argc, argv, &i, &signing.key_path))
            return pv_option_refuse("approve", argv[i], false,
                                    "approve [-c FILE] --room R --question Q --party P --key FILE\n"
                                    "       pgveil approve [-c FILE] --room R --question Q --print");
    }
    if (signing.room_name == NULL || question_id == NULL)
        return usage_approve("--room and --question are needed");
    if (is_printing)
        return run_print(config_path, signing.room_name, question_id);
    if (signing.party_name == NULL || signing.key_path == NULL)
        return usage_approve("--party and --key are needed to sign");
    return run_approve(&signing, question_id);
}

/* ---- approvals ------------------------------------------------------------------------ */

static const char *
why(const struct pv_approval_standing *approval)
{
    return approval->state == PV_APPROVAL_STALE     ? "the question or a data set that it reads has changed since"
           : approval->is_foreign                   ? "what is recorded was not signed with the party's key"
           : approval->state == PV_APPROVAL_MISSING ? "the party has not approved it"
                                                    : NULL;
}

/* From what was signed to what stands today. */
static bool
put_diff(struct pv_buf *out, const struct pv_approval_standing *approval, struct pv_slice text)
{
    enum pv_status status;

    if (approval->state != PV_APPROVAL_STALE)
        return true;
    pv_buf_put_text(out, "--- signed\n+++ today\n");
    status = pv_line_diff(out, approval->signed_text, text);
    if (status == PV_LIMIT)
        pv_buf_put_text(out, "(too long to compare)\n");
    return (status == PV_OK || status == PV_LIMIT) && pv_buf_ok(out);
}

static json_t *
as_json(const char *question, const struct pv_approval_standing *approval, struct pv_slice text)
{
    json_t *object = json_object();
    struct pv_buf diff = {0};
    char at[PV_APPROVAL_TIME_SIZE];

    pv_approval_time(approval->at_us, at);
    (void) json_object_set_new(object, "question", json_string(question));
    (void) json_object_set_new(object, "party", json_string(approval->party));
    (void) json_object_set_new(object, "state", json_string(pv_approval_state_word(approval->state)));
    (void) json_object_set_new(object, "since", approval->at_us == 0 ? json_null() : json_string(at));
    (void) json_object_set_new(object, "why", why(approval) == NULL ? json_null() : json_string(why(approval)));
    if (put_diff(&diff, approval, text))
        (void) json_object_set_new(
            object, "diff", approval->state == PV_APPROVAL_STALE ? json_string(pv_buf_text(&diff)) : json_null());
    pv_buf_clear(&diff);
    return object;
}

static int
print_json(const struct pv_standing *standing, const struct pv_room *room)
{
    json_t *list = json_array();

    for (size_t i = 0; i < room->question_count; i++) {
        const struct pv_question_standing *found = pv_standing_question(standing, room->name, room->questions[i].id);

        for (size_t k = 0; found != NULL && k < found->count; k++)
            (void) json_array_append_new(list, as_json(room->questions[i].id, &found->approvals[k], found->text));
    }
    (void) json_dumpf(list, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    (void) putchar('\n');
    json_decref(list);
    return fflush(stdout) == 0 ? 0 : 2;
}

static int
print_table(const struct pv_standing *standing, const struct pv_room *room)
{
    size_t stale = 0;

    printf("%-30s %-20s %-8s %-20s %s\n", "question", "party", "state", "since", "why");
    for (size_t i = 0; i < room->question_count; i++) {
        const struct pv_question_standing *found = pv_standing_question(standing, room->name, room->questions[i].id);

        for (size_t k = 0; found != NULL && k < found->count; k++) {
            const struct pv_approval_standing *approval = &found->approvals[k];
            char at[PV_APPROVAL_TIME_SIZE];

            pv_approval_time(approval->at_us, at);
            at[19] = '\0';
            printf("%-30s %-20s %-8s %-20s %s\n", room->questions[i].id, approval->party,
                   pv_approval_state_word(approval->state), approval->at_us == 0 ? "-" : at,
                   why(approval) == NULL ? "" : why(approval));
            stale += approval->state == PV_APPROVAL_STALE;
        }
    }
    for (size_t i = 0; i < room->question_count && stale > 0; i++) {
        const struct pv_question_standing *found = pv_standing_question(standing, room->name, room->questions[i].id);

        for (size_t k = 0; found != NULL && k < found->count; k++) {
            struct pv_buf diff = {0};

            if (found->approvals[k].state == PV_APPROVAL_STALE && put_diff(&diff, &found->approvals[k], found->text))
                printf("\nquestion \"%s\", party \"%s\":\n%s", room->questions[i].id, found->approvals[k].party,
                       pv_buf_text(&diff));
            pv_buf_clear(&diff);
        }
    }
    return fflush(stdout) == 0 ? 0 : 2;
}

static int
list_approvals(const struct pv_policy *policy, const char *room_name, bool is_json)
{
    const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr(room_name));
    struct pv_standing *standing = NULL;
    char error[512] = "";
    int exit_code;

    if (room == NULL) {
        (void) fprintf(stderr, "pgveil approvals: there is no room \"%s\"\n", room_name);
        return 2;
    }
    if (pv_governance_load(policy, &standing, error, sizeof(error)) != PV_OK)
        return fail("approvals", error);
    exit_code = is_json ? print_json(standing, room) : print_table(standing, room);
    pv_standing_unref(standing);
    return exit_code;
}

int
pv_command_approvals(const char *config_path, int argc, char **argv)
{
    const char *room_name = NULL;
    struct pv_faults *faults;
    struct pv_policy *policy = NULL;
    static const char usage[] = "approvals [-c FILE] --room R [--json]";
    bool is_json = false;
    int exit_code;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            is_json = true;
        else if (!pv_option_take("--room", argc, argv, &i, &room_name))
            return pv_option_refuse("approvals", argv[i], false, usage);
    }
    if (room_name == NULL)
        return pv_option_refuse("approvals", "--room", true, usage);
    faults = pv_faults_new();
    if (faults == NULL || pv_policy_load(config_path, faults, &policy) != PV_OK) {
        pv_say_faults(faults);
        exit_code = fail("approvals", "the config has faults; see pgveil check");
    } else {
        exit_code = list_approvals(policy, room_name, is_json);
    }
    pv_faults_free(faults);
    pv_policy_unref(policy);
    return exit_code;
}
