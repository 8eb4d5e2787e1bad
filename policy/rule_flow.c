#include <string.h>

#include "parser/walk.h"
#include "policy/functions.h"
#include "policy/rule_int.h"
#include "proxy/base/limits.h"

/*
 * Where rows go, once every level has its class: from FROM to FROM alone; beside another party's where they must;
 * a list into no aggregate; a column that is never output into no output.
 */

/* Does a level draw rows of another owner's data sets, by itself or through levels that pass them? */
static bool
draws_other(struct pv_rule_trial *rule, const struct pv_level *level, const char *owner, unsigned depth)
{
    if (depth > PV_QUERY_LEVELS_MAX || ++rule->work > PV_RULE_WORK_MAX)
        return false;
    for (size_t i = 0; i < level->rte_count; i++) {
        const struct pv_rte *rte = level->rtes[i];
        const struct pv_dataset *dataset = pv_rte_dataset(rte);

        if (dataset != NULL && strcmp(dataset->owner, owner) != 0)
            return true;
        if (rte->level != NULL && rule->classes[pv_level_number(rule->resolution, rte->level)] == PV_LEVEL_RAW &&
            draws_other(rule, rte->level, owner, depth + 1))
            return true;
    }
    return false;
}

/* join_required holds at every level that takes the rows in: another party's stand beside them there. */
static enum pv_status
check_join_required(struct pv_rule_trial *rule, const struct pv_level *taker, const struct pv_level *level, unsigned depth)
{
    enum pv_status status = PV_OK;

    if (depth > PV_QUERY_LEVELS_MAX || ++rule->work > PV_RULE_WORK_MAX)
        return pv_rule_deny_clause(rule, "The statement is nested too deeply.");
    for (size_t i = 0; i < level->rte_count && status == PV_OK; i++) {
        const struct pv_rte *rte = level->rtes[i];
        const struct pv_dataset *dataset = pv_rte_dataset(rte);

        if (dataset != NULL && dataset->rule->is_join_required && !draws_other(rule, taker, dataset->owner, 0))
            status = pv_rule_deny(rule, dataset, -1, "join_required", "it must be joined with another party's data set");
        else if (rte->level != NULL &&
                 rule->classes[pv_level_number(rule->resolution, rte->level)] == PV_LEVEL_RAW)
            status = check_join_required(rule, taker, rte->level, depth + 1);
    }
    return status;
}

/* Rows flow by FROM alone: not by a sub-query in an expression, nor into one by a name of an outer level. */
static enum pv_status
check_flow(struct pv_rule_trial *rule)
{
    const struct pv_resolution *resolution = rule->resolution;

    for (size_t i = 0; i < resolution->level_count; i++)
        if (resolution->levels[i]->is_sublink && rule->classes[i] == PV_LEVEL_RAW)
            return pv_rule_deny_clause(rule, "A sub-query that gives rows of a data set is not allowed.");
    for (size_t i = 0; i < resolution->reference_count; i++) {
        const struct pv_reference *reference = &resolution->references[i];

        if (reference->is_output || reference->owner == reference->level)
            continue;
        for (size_t k = 0; k < reference->level->rte_count; k++) {
            const struct pv_rte *rte = reference->level->rtes[k];

            if (pv_rte_dataset(rte) != NULL ||
                (rte->level != NULL && rule->classes[pv_level_number(resolution, rte->level)] == PV_LEVEL_RAW))
                return pv_rule_deny_clause(rule, "A correlated sub-query over a data set is not allowed; join instead.");
        }
    }
    return PV_OK;
}

/* A list is not counted: aggregates stand over data sets of aggregation rules, which a list may be joined to. */
static bool
draws_aggregation(struct pv_rule_trial *rule, const struct pv_level *level, bool *draws_list, unsigned depth)
{
    bool found = depth > PV_QUERY_LEVELS_MAX || ++rule->work > PV_RULE_WORK_MAX;

    for (size_t i = 0; i < level->rte_count && !(found && *draws_list); i++) {
        const struct pv_rte *rte = level->rtes[i];
        const struct pv_dataset *dataset = pv_rte_dataset(rte);

        if (dataset != NULL && dataset->rule->type == PV_RULE_AGGREGATION)
            found = true;
        else if (dataset != NULL)
            *draws_list = true;
        else if (rte->level != NULL && rule->classes[pv_level_number(rule->resolution, rte->level)] == PV_LEVEL_RAW)
            found |= draws_aggregation(rule, rte->level, draws_list, depth + 1);
    }
    return found;
}

/* Every level that takes rows in, or gives them as a list. */
static enum pv_status
check_takers(struct pv_rule_trial *rule)
{
    const struct pv_resolution *resolution = rule->resolution;
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < resolution->level_count && status == PV_OK; i++) {
        const struct pv_level *level = resolution->levels[i];
        bool is_taker = rule->classes[i] == PV_LEVEL_RELEASED && level->left == NULL, draws_list = false;

        if (!is_taker && !rule->is_given[i])
            continue;
        status = check_join_required(rule, level, level, 0);
        if (status == PV_OK && is_taker && !draws_aggregation(rule, level, &draws_list, 0) && draws_list)
            status = pv_rule_deny_clause(rule, "Data sets of list rules are not aggregated (rule list_columns): output their "
                                       "list columns.");
    }
    return status;
}

struct disallowed {
    struct pv_rule_trial *rule;
    bool is_taking; /* the level at hand aggregates rows */
    enum pv_status status;
};

static void check_disallowed_column(struct disallowed *check, struct pv_column_at column);
static void check_disallowed_level(struct disallowed *check, const struct pv_level *level, uint32_t index);

static enum pv_walk
visit_disallowed(void *context, Node *node, const struct pv_walk_at *at)
{
    struct disallowed *check = context;

    (void) at;
    if (IsA(node, FuncCall)) {
        const struct pv_function *function = pv_function_find(strVal(llast(((FuncCall *) node)->funcname)));

        /* Over rows the listed aggregates give no single value; over released groups only a count does not. */
        if (function != NULL && function->class == PV_FN_AGGREGATE &&
            (check->is_taking || strcmp(function->name, "count") == 0))
            return PV_WALK_SKIP;
    }
    if (IsA(node, ColumnRef)) {
        const struct pv_reference *reference =
            pv_resolution_reference(check->rule->resolution, (ColumnRef *) node);

        if (reference != NULL && reference->is_output)
            check_disallowed_level(check, reference->owner, reference->output);
        else if (reference != NULL)
            check_disallowed_column(check, reference->column);
        return check->status == PV_OK ? PV_WALK_SKIP : PV_WALK_STOP;
    }
    return PV_WALK_ON;
}

static void
check_disallowed_level(struct disallowed *check, const struct pv_level *level, uint32_t index)
{
    enum pv_status status = PV_OK;
    bool was_taking = check->is_taking, draws_list = false;

    if (check->status != PV_OK)
        return;
    check->is_taking = draws_aggregation(check->rule, level, &draws_list, 0);
    if (++check->rule->depth > PV_QUERY_LEVELS_MAX || ++check->rule->work > PV_RULE_WORK_MAX) {
        check->status = pv_rule_deny_clause(check->rule, "The statement is nested too deeply.");
        return;
    }
    if (level->left != NULL) {
        check_disallowed_level(check, level->left, index);
        check_disallowed_level(check, level->right, index);
    } else if (index < level->output_count) {
        if (level->outputs[index].expr == NULL)
            check_disallowed_column(check, level->outputs[index].column);
        else
            status = pv_tree_walk(level->outputs[index].expr, &pv_sql_limits_default, visit_disallowed, check, NULL);
    }
    if (status != PV_OK && check->status == PV_OK)
        check->status = status;
    check->is_taking = was_taking;
    check->rule->depth--;
}

static void
check_disallowed_column(struct disallowed *check, struct pv_column_at column)
{
    const struct pv_dataset *dataset = pv_rte_dataset(column.rte);

    if (column.index == PV_WHOLE_ROW) {
        for (uint32_t i = 0; i < column.rte->column_count; i++)
            check_disallowed_column(check, (struct pv_column_at){column.rte, i});
    } else if (column.rte->kind == PV_RTE_JOIN) {
        const struct pv_join_column *at = &column.rte->join_columns[column.index];

        if (at->left.rte != NULL)
            check_disallowed_column(check, at->left);
        if (at->right.rte != NULL)
            check_disallowed_column(check, at->right);
    } else if (dataset != NULL) {
        const char *name = dataset->relation.columns[column.index];

        if (check->status == PV_OK && pv_names_hold(&dataset->rule->disallowed_output_columns, name))
            check->status = pv_rule_deny(check->rule, dataset, -1, "disallowed_output_columns",
                                         "column \"%s\" may be used and never output", name);
    } else if (column.rte->level != NULL) {
        check_disallowed_level(check, column.rte->level, column.index);
    }
}

static void
check_disallowed_order(struct disallowed *check, const struct pv_level *level)
{
    bool draws_list = false;
    ListCell *cell;

    check->is_taking = draws_aggregation(check->rule, level, &draws_list, 0);
    foreach (cell, level->stmt->sortClause) {
        Node *node = ((SortBy *) lfirst(cell))->node;
        enum pv_status status = PV_OK;

        if (check->status != PV_OK)
            return;
        if (IsA(node, A_Const) && ((A_Const *) node)->val.node.type == T_Integer)
            check_disallowed_level(check, level, (uint32_t) ((A_Const *) node)->val.ival.ival - 1);
        else
            status = pv_tree_walk(node, &pv_sql_limits_default, visit_disallowed, check, NULL);
        if (status != PV_OK && check->status == PV_OK)
            check->status = status;
    }
}

/* Order tells of what it is by: a column that is never output orders nothing either, at any level. */
static enum pv_status
check_disallowed(struct pv_rule_trial *rule)
{
    const struct pv_resolution *resolution = rule->resolution;
    struct disallowed check = {rule, false, PV_OK};

    for (uint32_t i = 0; i < resolution->top->output_count && check.status == PV_OK; i++)
        check_disallowed_level(&check, resolution->top, i);
    for (size_t i = 0; i < resolution->level_count && check.status == PV_OK; i++)
        check_disallowed_order(&check, resolution->levels[i]);
    return check.status;
}

enum pv_status
pv_rule_flow(struct pv_rule_trial *rule)
{
    enum pv_status status = check_flow(rule);

    if (status == PV_OK)
        status = check_takers(rule);
    if (status == PV_OK)
        status = check_disallowed(rule);
    if (status == PV_OK && rule->work > PV_RULE_WORK_MAX)
        status = pv_deny(rule->trial, PV_REASON_TOO_DEEP, "54001", -1, "statement is nested too deeply");
    return status;
}
