#include "proxy/app/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "policy/decide.h"
#include "policy/policy.h"
#include "proxy/app/governance.h"
#include "proxy/base/arena.h"

/* What the proxy would decide about a statement, from the config and, where there is one, the state: no database. */

static int
usage(const char *words)
{
    fprintf(stderr, "pgveil explain: %s\nusage: pgveil explain --room R --user U [--json] SQL   (SQL may be - for standard input)\n",
            words);
    return 2;
}

static bool
read_input(const char *argument, struct pv_buf *text)
{
    ssize_t got;

    if (strcmp(argument, "-") != 0) {
        pv_buf_put_text(text, argument);
        return pv_buf_ok(text);
    }
    do {
        uint8_t *room = pv_buf_reserve(text, 65536);

        if (room == NULL)
            return false;
        got = read(STDIN_FILENO, room, 65536);
        if (got > 0)
            pv_buf_commit(text, (size_t) got);
    } while (got > 0);
    return got == 0;
}

static json_t *
text_or_null(const char *text)
{
    return text == NULL ? json_null() : json_string(text);
}

static json_t *
names_array(const struct pv_names *names)
{
    json_t *array = json_array();

    for (size_t i = 0; i < names->count; i++)
        (void) json_array_append_new(array, json_string(names->names[i]));
    return array;
}

static json_t *
lineage_array(const struct pv_decision *decision)
{
    json_t *array = json_array();

    for (size_t i = 0; i < decision->lineage_count; i++) {
        const struct pv_lineage *lineage = &decision->lineage[i];

        (void) json_array_append_new(array, json_pack("{s:s, s:s, s:o}", "output", lineage->name, "how",
                                                      pv_lineage_how_name(lineage->how), "columns",
                                                      names_array(&lineage->columns)));
    }
    return array;
}

static bool
is_asked_openly(const struct pv_decision *decision)
{
    return decision->question == NULL || decision->question->is_open;
}

/* The rules of an open question, each with what must stand behind a group. */
static json_t *
rules_array(const struct pv_decision *decision)
{
    json_t *array = json_array();

    for (size_t i = 0; i < decision->rule_count && is_asked_openly(decision); i++) {
        const struct pv_dataset *dataset = decision->rules[i].dataset;
        const struct pv_analysis_rule *rule = dataset->rule;
        bool is_list = rule->type == PV_RULE_LIST;
        json_t *thresholds = json_array();

        for (size_t k = 0; k < rule->constraint_count; k++)
            (void) json_array_append_new(thresholds,
                                         json_pack("{s:s, s:I}", "column", rule->constraints[k].column, "minimum",
                                                   (json_int_t) rule->constraints[k].minimum));
        if (decision->question != NULL && decision->question->minimum_entities > 0 && dataset->entity != NULL)
            (void) json_array_append_new(thresholds, json_pack("{s:s, s:I}", "column", dataset->entity, "minimum",
                                                               (json_int_t) decision->question->minimum_entities));
        (void) json_array_append_new(
            array, json_pack("{s:s, s:s, s:s, s:i, s:o, s:s}", "dataset", dataset->key, "owner", dataset->owner, "type",
                             is_list ? "list" : "aggregation", "references", (int) decision->rules[i].references,
                             "thresholds", thresholds, "suppression",
                             rule->suppression == PV_SUPPRESS_REMAINDER ? "remainder" : "drop"));
    }
    return array;
}

/* One object for the whole text: denied when any of its statements is, with the first denial. */
static void
print_json(const struct pv_decision *decisions, size_t count, const struct pv_decision *answer)
{
    json_t *object = json_object();
    struct pv_buf forwarded = {0};
    const char *reason = answer->detail != NULL ? answer->detail
                         : answer->message != NULL ? answer->message
                                                   : pv_reason_words(answer->reason);

    for (size_t i = 0; i < count && answer->is_allowed; i++)
        pv_buf_printf(&forwarded, "%s%s", i == 0 ? "" : "; ", decisions[i].forwarded);
    (void) json_object_set_new(object, "decision", json_string(answer->is_allowed ? "allowed" : "denied"));
    (void) json_object_set_new(object, "question", text_or_null(answer->question == NULL ? NULL : answer->question->id));
    (void) json_object_set_new(object, "sqlstate", text_or_null(answer->is_allowed ? NULL : answer->sqlstate));
    (void) json_object_set_new(object, "code", json_string(pv_reason_code(answer->reason)));
    (void) json_object_set_new(object, "message", text_or_null(answer->message));
    (void) json_object_set_new(object, "reason", json_string(reason));
    (void) json_object_set_new(object, "hint", text_or_null(answer->hint));
    (void) json_object_set_new(object, "forwarded", text_or_null(answer->is_allowed ? pv_buf_text(&forwarded) : NULL));
    (void) json_object_set_new(object, "datasets", names_array(&answer->datasets));
    (void) json_object_set_new(object, "columns", names_array(&answer->columns));
    (void) json_object_set_new(object, "lineage", lineage_array(answer));
    (void) json_object_set_new(object, "rules", rules_array(answer));
    (void) json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(object);
    pv_buf_clear(&forwarded);
}

static void
print_names(const char *label, const struct pv_names *names)
{
    if (names->count == 0)
        return;
    printf("%-11s", label);
    for (size_t i = 0; i < names->count; i++)
        printf("%s%s", i == 0 ? "" : ", ", names->names[i]);
    putchar('\n');
}

static void
print_lineage(const struct pv_decision *decision)
{
    for (size_t i = 0; i < decision->lineage_count; i++) {
        const struct pv_lineage *lineage = &decision->lineage[i];

        printf("%-11s%s: %s", i == 0 ? "lineage:" : "", lineage->name, pv_lineage_how_name(lineage->how));
        for (size_t k = 0; k < lineage->columns.count; k++)
            printf("%s%s", k == 0 ? " " : ", ", lineage->columns.names[k]);
        putchar('\n');
    }
}

static void
print_rules(const struct pv_decision *decision)
{
    for (size_t i = 0; i < decision->rule_count && is_asked_openly(decision); i++) {
        const struct pv_dataset *dataset = decision->rules[i].dataset;
        const struct pv_analysis_rule *rule = dataset->rule;

        printf("%-11s%s (%s, owner %s)", i == 0 ? "rules:" : "", dataset->key,
               rule->type == PV_RULE_LIST ? "list" : "aggregation", dataset->owner);
        for (size_t k = 0; k < rule->constraint_count; k++)
            printf("; at least %llu distinct %s behind each group", (unsigned long long) rule->constraints[k].minimum,
                   rule->constraints[k].column);
        if (decision->question != NULL && decision->question->minimum_entities > 0 && dataset->entity != NULL)
            printf("; at least %llu distinct %s behind each group",
                   (unsigned long long) decision->question->minimum_entities, dataset->entity);
        printf("%s\n", rule->suppression == PV_SUPPRESS_REMAINDER ? "; smaller ones are gathered" : "");
    }
}

static void
print_text(const struct pv_decision *decisions, size_t count, const struct pv_decision *answer)
{
    printf("%-11s%s\n", "decision:", answer->is_allowed ? "allowed" : "denied");
    if (answer->question != NULL)
        printf("%-11s%s\n", "question:", answer->question->id);
    if (!answer->is_allowed) {
        printf("%-11s%s %s\n", "error:", answer->sqlstate, answer->message);
        if (answer->detail != NULL)
            printf("%-11s%s\n", "detail:", answer->detail);
        if (answer->hint != NULL)
            printf("%-11s%s\n", "hint:", answer->hint);
    }
    print_names("data sets:", &answer->datasets);
    print_names("columns:", &answer->columns);
    print_lineage(answer);
    print_rules(answer);
    for (size_t i = 0; i < count && answer->is_allowed; i++)
        printf("%-11s%s\n", "forwarded:", decisions[i].forwarded);
}

static int
decide(const struct pv_policy *policy, const struct pv_standing *standing, const struct pv_room *room, const char *user,
       struct pv_slice text, bool is_json)
{
    static const char *const path[] = {"public"};
    struct pv_caller caller = {.policy = policy,
                               .room = room,
                               .member = pv_room_member(room, user),
                               .user = user,
                               .search_path = {path, 1},
                               .standing = standing,
                               .is_explaining = true,
                               .now_us = (int64_t) time(NULL) * 1000000};
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_decision *decisions = NULL;
    const struct pv_decision *answer;
    size_t count = 0;
    int status;

    if (arena == NULL || pv_decide_query(arena, &caller, text, &decisions, &count) != PV_OK) {
        fprintf(stderr, "pgveil explain: out of memory\n");
        pv_arena_free(arena);
        return 2;
    }
    answer = &decisions[0];
    for (size_t i = 0; i < count; i++)
        if (!decisions[i].is_allowed) {
            answer = &decisions[i];
            break;
        }
    if (is_json)
        print_json(decisions, count, answer);
    else
        print_text(decisions, count, answer);
    status = answer->is_allowed ? 0 : 1;
    pv_arena_free(arena);
    return status;
}

static int
explain(const char *config_path, const char *room_name, const char *user, bool is_json, const struct pv_buf *text)
{
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    struct pv_standing *standing = NULL;
    const struct pv_room *room;
    char error[512] = "";
    int result = 2;

    if (faults == NULL || pv_policy_load(config_path, faults, &policy) != PV_OK) {
        pv_say_faults(faults);
        fprintf(stderr, "pgveil explain: the config has faults; see pgveil check\n");
        pv_faults_free(faults);
        return 2;
    }
    pv_faults_free(faults);
    room = pv_policy_room(policy, pv_slice_cstr(room_name));
    if (room == NULL)
        fprintf(stderr, "pgveil explain: there is no room \"%s\"\n", room_name);
    else if (pv_room_member(room, user) == NULL)
        fprintf(stderr, "pgveil explain: user \"%s\" is no member of room \"%s\"\n", user, room_name);
    else if (pv_governance_load(policy, &standing, error, sizeof(error)) != PV_OK)
        fprintf(stderr, "pgveil explain: %s\n", error);
    else
        result = decide(policy, standing, room, user, pv_buf_slice(text), is_json);
    pv_standing_unref(standing);
    pv_policy_unref(policy);
    return result;
}

int
pv_command_explain(const char *config_path, int argc, char **argv)
{
    const char *room = NULL, *user = NULL, *sql = NULL;
    bool is_json = false;
    struct pv_buf text = {0};
    int result;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            is_json = true;
        else if (strcmp(argv[i], "--room") == 0 && i + 1 < argc)
            room = argv[++i];
        else if (strcmp(argv[i], "--user") == 0 && i + 1 < argc)
            user = argv[++i];
        else if (strncmp(argv[i], "--room=", 7) == 0)
            room = argv[i] + 7;
        else if (strncmp(argv[i], "--user=", 7) == 0)
            user = argv[i] + 7;
        else if (argv[i][0] == '-' && argv[i][1] == '-' && argv[i][2] != '\0' && argv[i][2] != ' ')
            return usage("unknown option, or one without its value");
        else if (sql == NULL)
            sql = argv[i];
        else
            return usage("one SQL text is wanted, not several");
    }
    if (room == NULL || user == NULL)
        return usage("--room and --user are needed");
    if (sql == NULL)
        return usage("the SQL is missing");
    if (!read_input(sql, &text)) {
        fprintf(stderr, "pgveil explain: the SQL could not be read\n");
        pv_buf_clear(&text);
        return 2;
    }
    result = explain(config_path, room, user, is_json, &text);
    pv_buf_clear(&text);
    return result;
}
