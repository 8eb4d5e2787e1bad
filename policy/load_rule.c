/* Analysis rules and access budgets: INTERFACE 3. */
#include "policy/functions.h"
#include "policy/load_int.h"

#include <string.h>

static const char *const type_words[] = {"aggregation", "list", NULL};
static const char *const suppression_words[] = {"drop", "remainder", NULL};
static const char *const period_words[] = {"day", "week", "month", "lifetime", NULL};
static const char *const join_words[] = {"and", "or", NULL};
static const char *const aggregate_words[] = {"count",        "count_distinct", "sum", "sum_distinct",
                                              "avg",          "avg_distinct",   NULL};
static const char *const constraint_words[] = {"count_distinct", NULL};

#define RUNS_MAX UINT64_C(1000000000)

/* A rule while it is read: setters need its data set's columns. */
struct rule_load {
    struct pv_analysis_rule *rule;
    const struct pv_dataset *dataset;
};

static bool
is_visible(const struct pv_dataset *dataset, const char *name)
{
    const struct pv_column *column = pv_dataset_column(dataset, name);

    return column != NULL && column->mask.kind != PV_MASK_OMIT;
}

static void
check_column(struct pv_doc *doc, const struct pv_located *item, const struct pv_dataset *dataset)
{
    const struct pv_column *column = pv_dataset_column(dataset, pv_located_string(item));

    if (column == NULL)
        pv_load_fault(doc, item, "data set \"%s\" lists no column \"%s\"", dataset->key, pv_located_string(item));
    else if (!is_visible(dataset, pv_located_string(item)))
        pv_load_fault(doc, item, "column \"%s\" is omitted from the room", pv_located_string(item));
}

/* An array of columns of the data set; `field` is the rule_load, the offset that of the names in the rule. */
static void
set_columns(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct rule_load *load = field;

    pv_set_names(doc, value, (char *) load->rule + key->most, key);
    for (size_t i = 0; i < value->child_count; i++)
        if (pv_located_kind(&value->children[i]) == PV_J_STRING)
            check_column(doc, &value->children[i], load->dataset);
}

static bool
is_word(const char *const *words, const char *text)
{
    for (; *words != NULL; words++)
        if (strcmp(*words, text) == 0)
            return true;
    return false;
}

static void
say_word(struct pv_doc *doc, const struct pv_located *item, const char *what, const char *const *words)
{
    struct pv_buf list = {0};

    for (size_t i = 0; words[i] != NULL; i++)
        pv_buf_printf(&list, "%s%s", i == 0 ? "" : ", ", words[i]);
    if (pv_buf_ok(&list))
        pv_load_fault(doc, item, "unknown %s \"%s\": known are %s", what, pv_located_string(item), pv_buf_text(&list));
    else
        doc->load->is_out_of_memory = true;
    pv_buf_clear(&list);
}

static void
check_words(struct pv_doc *doc, const struct pv_located *value, const char *what, const char *const *words)
{
    for (size_t i = 0; i < value->child_count; i++)
        if (pv_located_kind(&value->children[i]) == PV_J_STRING &&
            !is_word(words, pv_located_string(&value->children[i])))
            say_word(doc, &value->children[i], what, words);
}

static void
set_join_operators(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct rule_load *load = field;

    pv_set_names(doc, value, &load->rule->allowed_join_operators, key);
    check_words(doc, value, "join operator", join_words);
}

/* Of the allow-list, or one of the four that are syntax. */
static bool
is_scalar_function(const char *name)
{
    static const char *const syntax[] = {"coalesce", "nullif", "greatest", "least", NULL};
    const struct pv_function *function = pv_function_find(name);

    return is_word(syntax, name) || (function != NULL && function->class == PV_FN_SCALAR);
}

static void
set_functions(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct rule_load *load = field;

    pv_set_names(doc, value, &load->rule->scalar_functions, key);
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];

        if (pv_located_kind(item) == PV_J_STRING && !is_scalar_function(pv_located_string(item)))
            pv_load_fault(doc, item, "\"%s\" is no scalar function that a statement may use", pv_located_string(item));
    }
}

/* ---- aggregate_columns -------------------------------------------------- */

struct aggregate_load {
    const struct pv_dataset *dataset;
    struct pv_names columns, functions;
};

static void
set_aggregate_columns(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct aggregate_load *load = field;

    if (value->child_count == 0)
        pv_load_fault(doc, value, "\"columns\" must name at least one column");
    pv_set_names(doc, value, &load->columns, key);
    for (size_t i = 0; i < value->child_count; i++)
        if (pv_located_kind(&value->children[i]) == PV_J_STRING)
            check_column(doc, &value->children[i], load->dataset);
}

static void
set_aggregate_functions(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct aggregate_load *load = field;

    if (value->child_count == 0)
        pv_load_fault(doc, value, "\"functions\" must name at least one aggregate");
    pv_set_names(doc, value, &load->functions, key);
    check_words(doc, value, "aggregate", aggregate_words);
}

static void
set_aggregates(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        {"columns", PV_J_ARRAY, true, set_aggregate_columns, 0, 0, 0, NULL},
        {"functions", PV_J_ARRAY, true, set_aggregate_functions, 0, 0, 0, NULL},
    };
    struct rule_load *load = field;
    struct pv_aggregate_rule *aggregates = pv_load_alloc(doc, value->child_count, sizeof(*aggregates));

    (void) key;
    if (aggregates == NULL)
        return;
    for (size_t i = 0; i < value->child_count; i++) {
        struct aggregate_load item = {load->dataset, {NULL, 0}, {NULL, 0}};

        (void) pv_load_object(doc, &value->children[i], keys, PV_COUNT_OF(keys), &item);
        aggregates[i] = (struct pv_aggregate_rule){item.columns.names, item.columns.count, item.functions.names,
                                                   item.functions.count};
    }
    load->rule->aggregates = aggregates;
    load->rule->aggregate_count = value->child_count;
}

/* ---- controls and constraints ------------------------------------------- */

static void
set_literal_columns(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct rule_load *load = field;

    set_columns(doc, value, field, key);
    load->rule->has_literal_columns = true;
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];

        if (pv_located_kind(item) == PV_J_STRING && load->dataset->entity != NULL &&
            strcmp(load->dataset->entity, pv_located_string(item)) == 0)
            pv_load_fault(doc, item, "the entity column \"%s\" may never be compared with a literal",
                          load->dataset->entity);
    }
}

static void
set_controls(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        {"allowed_literal_comparison_columns", PV_J_ARRAY, false, set_literal_columns, 0, 0,
         offsetof(struct pv_analysis_rule, literal_columns), NULL},
    };

    (void) key;
    (void) pv_load_object(doc, value, keys, PV_COUNT_OF(keys), field);
}

struct constraint_load {
    struct pv_output_constraint constraint;
    const struct pv_dataset *dataset;
    int type;
};

static void
set_constraint_column(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct constraint_load *load = field;

    check_column(doc, value, load->dataset);
    pv_set_string(doc, value, &load->constraint.column, key);
}

static void
set_constraints(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        {"column", PV_J_STRING, true, set_constraint_column, 0, 0, 0, NULL},
        {"type", PV_J_STRING, true, pv_set_word, offsetof(struct constraint_load, type), 0, 0, constraint_words},
        {"minimum", PV_J_INTEGER, true, pv_set_u64, offsetof(struct constraint_load, constraint.minimum), 1,
         INT64_MAX, NULL},
    };
    struct rule_load *load = field;
    struct pv_output_constraint *constraints = pv_load_alloc(doc, value->child_count, sizeof(*constraints));

    (void) key;
    if (constraints == NULL)
        return;
    for (size_t i = 0; i < value->child_count; i++) {
        struct constraint_load item = {{NULL, 0}, load->dataset, 0};

        (void) pv_load_object(doc, &value->children[i], keys, PV_COUNT_OF(keys), &item);
        constraints[i] = item.constraint;
    }
    load->rule->constraints = constraints;
    load->rule->constraint_count = value->child_count;
}

static void
set_join_required(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    pv_set_bool(doc, value, &((struct rule_load *) field)->rule->is_join_required, key);
}

static void
set_suppression(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    pv_set_word(doc, value, &((struct rule_load *) field)->rule->suppression, key);
}

static void
set_type(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    pv_set_word(doc, value, &((struct rule_load *) field)->rule->type, key);
}

/* ---- the whole ---------------------------------------------------------- */

/* Keys that one type knows and the other does not. */
static void
check_type(struct pv_doc *doc, const struct pv_located *value, const struct pv_analysis_rule *rule)
{
    static const char *const aggregation_keys[] = {"dimension_columns", "aggregate_columns", "output_constraints",
                                                   "suppression"};
    const struct pv_located *found;

    if (rule->type == PV_RULE_AGGREGATION) {
        found = pv_located_find(value, "list_columns");
        if (found != NULL)
            pv_load_fault_key(doc, found, "\"list_columns\" belongs to rules of type \"list\"");
        if (rule->constraint_count == 0)
            pv_load_warning(doc, value, "no \"output_constraints\": groups of any size are released");
        return;
    }
    for (size_t i = 0; i < PV_COUNT_OF(aggregation_keys); i++) {
        found = pv_located_find(value, aggregation_keys[i]);
        if (found != NULL)
            pv_load_fault_key(doc, found, "\"%s\" belongs to rules of type \"aggregation\"", aggregation_keys[i]);
    }
    if (pv_located_find(value, "list_columns") == NULL)
        pv_load_fault(doc, value, "missing key \"list_columns\"");
}

/* A join column is never output, which a dimension or list column is. */
static void
check_joins(struct pv_doc *doc, const struct pv_located *value, const struct pv_analysis_rule *rule)
{
    bool is_list = rule->type == PV_RULE_LIST;
    const struct pv_names *output = is_list ? &rule->list_columns : &rule->dimension_columns;
    const struct pv_located *joins = pv_located_find(value, "join_columns");

    if (joins == NULL || pv_located_kind(joins) != PV_J_ARRAY)
        return;
    for (size_t i = 0; i < joins->child_count; i++)
        for (size_t j = 0; j < output->count; j++)
            if (pv_located_kind(&joins->children[i]) == PV_J_STRING &&
                strcmp(pv_located_string(&joins->children[i]), output->names[j]) == 0)
                pv_load_warning(doc, &joins->children[i],
                                "\"%s\" is a join column, so it is never output, though \"%s\" names it",
                                output->names[j], is_list ? "list_columns" : "dimension_columns");
}

#define COLUMNS(name, field) \
    {name, PV_J_ARRAY, false, set_columns, 0, 0, offsetof(struct pv_analysis_rule, field), NULL}

void
pv_load_rule(struct pv_doc *doc, const struct pv_located *value, struct pv_dataset *dataset)
{
    static const struct pv_key keys[] = {
        {"type", PV_J_STRING, true, set_type, 0, 0, 0, type_words},
        COLUMNS("join_columns", join_columns),
        COLUMNS("dimension_columns", dimension_columns),
        COLUMNS("list_columns", list_columns),
        COLUMNS("disallowed_output_columns", disallowed_output_columns),
        {"aggregate_columns", PV_J_ARRAY, false, set_aggregates, 0, 0, 0, NULL},
        {"scalar_functions", PV_J_ARRAY, false, set_functions, 0, 0, 0, NULL},
        {"allowed_join_operators", PV_J_ARRAY, false, set_join_operators, 0, 0, 0, NULL},
        {"join_required", PV_J_BOOL, false, set_join_required, 0, 0, 0, NULL},
        {"comparison_controls", PV_J_OBJECT, false, set_controls, 0, 0, 0, NULL},
        {"output_constraints", PV_J_ARRAY, false, set_constraints, 0, 0, 0, NULL},
        {"suppression", PV_J_STRING, false, set_suppression, 0, 0, 0, suppression_words},
    };
    struct pv_analysis_rule *rule = pv_load_alloc(doc, 1, sizeof(*rule));
    struct rule_load load = {rule, dataset};

    if (rule == NULL || !pv_load_object(doc, value, keys, PV_COUNT_OF(keys), &load))
        return;
    dataset->rule = rule;
    if (pv_located_find(value, "type") != NULL) {
        check_type(doc, value, rule);
        check_joins(doc, value, rule);
    }
}

void
pv_set_budgets(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        {"per", PV_J_STRING, true, pv_set_word, offsetof(struct pv_budget, per), 0, 0, period_words},
        {"runs", PV_J_INTEGER, true, pv_set_u64, offsetof(struct pv_budget, runs), 0, RUNS_MAX, NULL},
        {"runs_per_member", PV_J_INTEGER, false, pv_set_u64, offsetof(struct pv_budget, runs_per_member), 1, RUNS_MAX,
         NULL},
    };
    struct pv_budgets *budgets = field;
    struct pv_budget *list = pv_load_alloc(doc, value->child_count, sizeof(*list));

    (void) key;
    if (list == NULL)
        return;
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *share;

        if (!pv_load_object(doc, &value->children[i], keys, PV_COUNT_OF(keys), &list[i]))
            continue;
        share = pv_located_find(&value->children[i], "runs_per_member");
        if (share != NULL && list[i].runs_per_member > list[i].runs)
            pv_load_fault(doc, share, "\"runs_per_member\" is a member's share of \"runs\" and cannot be more than %llu",
                          (unsigned long long) list[i].runs);
        for (size_t j = 0; j < i; j++)
            if (list[j].per == list[i].per)
                pv_load_fault(doc, &value->children[i], "a budget per %s stands here twice",
                              period_words[list[i].per]);
    }
    budgets->budgets = list;
    budgets->count = value->child_count;
}
