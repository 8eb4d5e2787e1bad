#include "proxy/app/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "policy/decide.h"
#include "policy/policy.h"
#include "policy/standing.h"
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

/* Counters that bound the text's statements, and what is used of each. */
struct budgets {
    struct {
        const struct pv_budget_demand *demand;
        uint64_t used; /* now, and by the statements of the text before it */
    } *items;
    size_t count;
};

/* What explain answers about. */
struct explanation {
    const struct pv_room *room;
    const struct pv_decision *decisions;
    size_t count;
    const struct pv_decision *answer;
    struct budgets budgets;
};

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

/* ---- receivers and budgets -------------------------------------------------- */

/* The statement's data sets that name receivers. */
static json_t *
receivers_array(const struct pv_room *room, const struct pv_decision *decision)
{
    json_t *array = json_array();

    for (size_t i = 0; i < decision->datasets.count; i++)
        for (size_t k = 0; k < room->dataset_count; k++)
            if (room->datasets[k].has_receivers && strcmp(room->datasets[k].key, decision->datasets.names[i]) == 0)
                (void) json_array_append_new(array, json_pack("{s:s, s:s, s:o}", "dataset", room->datasets[k].key, "owner",
                                                              room->datasets[k].owner, "receivers",
                                                              names_array(&room->datasets[k].receivers)));
    return array;
}

static json_t *
budgets_array(const struct budgets *budgets)
{
    json_t *array = json_array();

    for (size_t i = 0; i < budgets->count; i++) {
        const struct pv_budget_demand *demand = budgets->items[i].demand;

        (void) json_array_append_new(
            array, json_pack("{s:s, s:s, s:s, s:s?, s:I, s:I, s:I}", "of", demand->is_dataset ? "dataset" : "question",
                             "name", demand->subject, "per", pv_budget_period_word(demand->per), "user", demand->user,
                             "runs", (json_int_t) demand->runs_max, "used", (json_int_t) budgets->items[i].used, "takes",
                             (json_int_t) demand->runs));
    }
    return array;
}

/* What the question itself holds its answers to. */
static json_t *
controls_object(const struct pv_decision *decision)
{
    const struct pv_question *question = decision->question;

    if (question == NULL)
        return json_null();
    return json_pack("{s:s?, s:I, s:I, s:I}", "entity", question->entity, "minimum_entities",
                     (json_int_t) question->minimum_entities, "max_rows", (json_int_t) question->max_rows, "timeout_ms",
                     (json_int_t) question->timeout_ms);
}

static void
print_controls(const struct pv_decision *decision)
{
    const struct pv_question *question = decision->question;
    const char *between = "";

    if (question == NULL || (question->minimum_entities == 0 && question->max_rows == 0 && question->timeout_ms == 0))
        return;
    printf("%-11s", "controls:");
    if (question->minimum_entities > 0) {
        printf("at least %llu distinct %s behind each group", (unsigned long long) question->minimum_entities,
               question->entity == NULL ? "entities" : question->entity);
        between = "; ";
    }
    if (question->max_rows > 0) {
        printf("%sat most %llu rows", between, (unsigned long long) question->max_rows);
        between = "; ";
    }
    if (question->timeout_ms > 0)
        printf("%sat most %llu ms", between, (unsigned long long) question->timeout_ms);
    putchar('\n');
}

static void
print_receivers(const struct pv_room *room, const struct pv_decision *decision)
{
    const char *label = "receivers:";

    for (size_t i = 0; i < decision->datasets.count; i++)
        for (size_t k = 0; k < room->dataset_count; k++) {
            const struct pv_dataset *dataset = &room->datasets[k];

            if (!dataset->has_receivers || strcmp(dataset->key, decision->datasets.names[i]) != 0)
                continue;
            printf("%-11s%s (owner %s):", label, dataset->key, dataset->owner);
            for (size_t n = 0; n < dataset->receivers.count; n++)
                printf("%s %s", n == 0 ? "" : ",", dataset->receivers.names[n]);
            printf("%s\n", dataset->receivers.count == 0 ? " nobody" : "");
            label = "";
        }
}

static void
print_budgets(const struct budgets *budgets)
{
    for (size_t i = 0; i < budgets->count; i++) {
        const struct pv_budget_demand *demand = budgets->items[i].demand;

        printf("%-11s%s %s", i == 0 ? "budgets:" : "", demand->is_dataset ? "data set" : "question", demand->subject);
        if (demand->user != NULL)
            printf(", share of %s", demand->user);
        printf(": %llu of %llu runs per %s used, this takes %llu\n", (unsigned long long) budgets->items[i].used,
               (unsigned long long) demand->runs_max, pv_budget_period_word(demand->per),
               (unsigned long long) demand->runs);
    }
}

/* One object for the whole text: denied when any of its statements is, with the first denial. */
static void
print_json(const struct explanation *explanation)
{
    const struct pv_decision *decisions = explanation->decisions, *answer = explanation->answer;
    size_t count = explanation->count;
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
    (void) json_object_set_new(object, "controls", controls_object(answer));
    (void) json_object_set_new(object, "receivers", receivers_array(explanation->room, answer));
    (void) json_object_set_new(object, "budgets", budgets_array(&explanation->budgets));
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
print_text(const struct explanation *explanation)
{
    const struct pv_decision *decisions = explanation->decisions, *answer = explanation->answer;
    size_t count = explanation->count;

    printf("%-11s%s\n", "decision:", answer->is_allowed ? "allowed" : "denied");
    if (answer->question != NULL)
        printf("%-11s%s\n", "question:", answer->question->id);
    if (!answer->is_allowed) {
        printf("%-11s%s: %s\n", "reason:", pv_reason_code(answer->reason), pv_reason_words(answer->reason));
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
    print_controls(answer);
    print_receivers(explanation->room, answer);
    print_budgets(&explanation->budgets);
    for (size_t i = 0; i < count && answer->is_allowed; i++)
        printf("%-11s%s\n", "forwarded:", decisions[i].forwarded);
}

/* ---- the answer -------------------------------------------------------------- */

/* What the statements of the text before this demand would have taken by then. */
static uint64_t
taken_before(const struct budgets *budgets, const struct pv_budget_demand *demand)
{
    uint64_t taken = 0;

    for (size_t i = 0; i < budgets->count; i++)
        if (budgets->items[i].demand->per == demand->per && strcmp(budgets->items[i].demand->key, demand->key) == 0)
            taken += budgets->items[i].demand->runs;
    return taken;
}

static bool
takes_runs(const struct pv_decision *decision)
{
    return decision->kind == PV_KIND_SELECT || decision->kind == PV_KIND_COPY_OUT || decision->kind == PV_KIND_DECLARE ||
           decision->kind == PV_KIND_EXECUTE;
}

/* Finds what is used of each bounded counter. *spent: the first one that has not enough left, with its decision. */
static enum pv_status
count_budgets(struct pv_arena *arena, struct pv_store *store, int64_t now_us, struct explanation *explanation,
              const struct pv_budget_demand **spent, size_t *spent_by)
{
    struct budgets *budgets = &explanation->budgets;
    size_t total = 0;

    for (size_t i = 0; i < explanation->count; i++)
        total += explanation->decisions[i].budget_count;
    budgets->items = pv_arena_alloc(arena, (total + 1) * sizeof(*budgets->items));
    if (budgets->items == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < explanation->count; i++)
        for (size_t k = 0; k < explanation->decisions[i].budget_count && takes_runs(&explanation->decisions[i]); k++) {
            const struct pv_budget_demand *demand = &explanation->decisions[i].budgets[k];
            char period[PV_BUDGET_PERIOD_SIZE];
            uint64_t used = 0;
            enum pv_status status = PV_OK;

            if (demand->runs_max == UINT64_MAX)
                continue;
            pv_budget_period_text(demand->per, now_us, period);
            if (store != NULL)
                status = pv_store_budget_used(store, demand->key, period, &used);
            if (status != PV_OK)
                return status;
            used += taken_before(budgets, demand);
            budgets->items[budgets->count].demand = demand;
            budgets->items[budgets->count++].used = used;
            if (*spent == NULL && (demand->runs > demand->runs_max || used > demand->runs_max - demand->runs)) {
                *spent = demand;
                *spent_by = i;
            }
        }
    return PV_OK;
}

/* A statement that is let through and finds its budget spent is denied all the same. */
static enum pv_status
deny_spent(struct pv_arena *arena, int64_t now_us, const struct pv_budget_demand *spent, struct pv_decision *decision)
{
    struct pv_budget_words words;
    enum pv_status status = pv_budget_words(arena, spent, now_us, &words);

    if (status != PV_OK)
        return status;
    decision->is_allowed = false;
    decision->reason = pv_budget_reason(spent);
    decision->sqlstate = "53400";
    decision->message = words.message;
    decision->detail = words.detail;
    decision->hint = words.hint;
    return PV_OK;
}

static enum pv_status
judge(struct pv_arena *arena, const struct pv_caller *caller, struct pv_store *store, struct pv_slice text,
      struct explanation *explanation)
{
    const struct pv_budget_demand *spent = NULL;
    struct pv_decision *decisions = NULL;
    size_t spent_by = 0;
    enum pv_status status = pv_decide_query(arena, caller, text, &decisions, &explanation->count);

    /* A text with $n is what a driver prepares: it is judged as its Parse would be, before any value is known. */
    if (status == PV_OK && explanation->count == 1 && !decisions[0].is_allowed &&
        strcmp(decisions[0].sqlstate, "42P02") == 0)
        status = pv_decide_parse(arena, caller, text, NULL, 0, &decisions[0]);
    if (status != PV_OK)
        return status;
    explanation->decisions = explanation->answer = decisions;
    for (size_t i = explanation->count; i > 0; i--)
        if (!decisions[i - 1].is_allowed)
            explanation->answer = &decisions[i - 1];
    status = count_budgets(arena, store, caller->now_us, explanation, &spent, &spent_by);
    if (status != PV_OK || spent == NULL || !explanation->answer->is_allowed)
        return status;
    explanation->answer = &decisions[spent_by];
    return deny_spent(arena, caller->now_us, spent, &decisions[spent_by]);
}

static int
decide(const struct pv_caller *caller, struct pv_store *store, struct pv_slice text, bool is_json)
{
    struct explanation explanation = {.room = caller->room};
    struct pv_arena *arena = pv_arena_new(0);
    enum pv_status status = arena == NULL ? PV_NOMEM : judge(arena, caller, store, text, &explanation);
    int exit_code = 2;

    if (status != PV_OK) {
        fprintf(stderr, "pgveil explain: %s\n", pv_status_words(status));
    } else {
        if (is_json)
            print_json(&explanation);
        else
            print_text(&explanation);
        exit_code = explanation.answer->is_allowed ? 0 : 1;
    }
    pv_arena_free(arena);
    return exit_code;
}

/* The state is read where there is one; the two readings of it may be of two moments. */
static int
decide_now(const struct pv_policy *policy, const struct pv_room *room, const char *user, struct pv_slice text, bool is_json)
{
    static const char *const path[] = {"public"};
    struct pv_caller caller = {.policy = policy,
                               .room = room,
                               .member = pv_room_member(room, user),
                               .user = user,
                               .search_path = {path, 1},
                               .is_explaining = true,
                               .now_us = (int64_t) time(NULL) * 1000000};
    struct pv_standing *standing = NULL;
    struct pv_store *store = NULL;
    char error[512] = "";
    enum pv_status status = pv_governance_load(policy, &standing, error, sizeof(error));
    int result = 2;

    if (status == PV_OK)
        status = pv_store_open_reading(policy->config.state_path, &store, error, sizeof(error));
    caller.standing = standing;
    if (status == PV_OK || status == PV_NOTFOUND)
        result = decide(&caller, store, text, is_json);
    else
        fprintf(stderr, "pgveil explain: %s\n", error);
    pv_store_close(store);
    pv_standing_unref(standing);
    return result;
}

static int
explain(const char *config_path, const char *room_name, const char *user, bool is_json, const struct pv_buf *text)
{
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    const struct pv_room *room;
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
    else
        result = decide_now(policy, room, user, pv_buf_slice(text), is_json);
    pv_policy_unref(policy);
    return result;
}

int
pv_command_explain(const char *config_path, int argc, char **argv)
{
    const char *room = NULL, *user = NULL, *sql = NULL;
    bool is_json = false, is_past_options = false;
    struct pv_buf text = {0};
    int result;

    for (int i = 0; i < argc; i++) {
        if (!is_past_options && strcmp(argv[i], "--") == 0)
            is_past_options = true;
        else if (is_past_options && sql == NULL)
            sql = argv[i];
        else if (strcmp(argv[i], "--json") == 0)
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
