#include <string.h>

#include "parser/walk.h"
#include "policy/rule_int.h"
#include "policy/threshold.h"
#include "proxy/base/limits.h"

/*
 * Rows joined with a result, as a dashboard keeps its ten largest series:
 *
 *   ... FROM visits JOIN (SELECT channel AS c, sum(cost) AS m FROM visits GROUP BY channel ORDER BY m DESC LIMIT 10) AS s
 *       ON visits.channel = s.c
 *
 * This says what WHERE channel IN (...) says of the groups that were released, and no more, where each row meets one row of
 * the result at most and takes nothing from it: otherwise groups of one's choosing would weigh rows, and a sum of weights
 * tells of cells that are too small to be shown. So
 *   1. the result is grouped straight from rows, and all that it is grouped by is compared;
 *   2. each comparison is an equality at the top of ON or WHERE, with what may meet a literal;
 *   3. nothing else names the result's columns.
 */

static bool
draws_rows(const struct pv_rule_trial *rule, const struct pv_level *level)
{
    for (size_t i = 0; i < level->rte_count; i++) {
        const struct pv_rte *rte = level->rtes[i];

        if (pv_rte_dataset(rte) != NULL ||
            (rte->level != NULL && rule->classes[pv_level_number(rule->resolution, rte->level)] == PV_LEVEL_RAW))
            return true;
    }
    return false;
}

bool
pv_rule_is_result(const struct pv_rule_trial *rule, const struct pv_rte *rte)
{
    return rte != NULL && rte->level != NULL &&
           rule->classes[pv_level_number(rule->resolution, rte->level)] == PV_LEVEL_RELEASED;
}

/* The output that an item of GROUP BY is; false: none. */
static bool
output_of(const struct pv_rule_trial *rule, const struct pv_level *level, Node *item, size_t *output)
{
    const struct pv_reference *reference =
        IsA(item, ColumnRef) ? pv_resolution_reference(rule->resolution, (ColumnRef *) item) : NULL;
    bool is_same = false;

    if (IsA(item, A_Const) && ((A_Const *) item)->val.node.type == T_Integer) {
        *output = (size_t) ((A_Const *) item)->val.ival.ival - 1;
        return *output < level->output_count;
    }
    if (reference != NULL && reference->is_output) {
        *output = reference->output;
        return true;
    }
    for (*output = 0; *output < level->output_count; (*output)++)
        if (level->outputs[*output].expr != NULL &&
            pv_tree_equal(item, level->outputs[*output].expr, &is_same) == PV_OK && is_same)
            return true;
    return false;
}

struct series {
    struct pv_rule_trial *rule;
    struct pv_level *level;
    const struct pv_rte *result;
    bool *are_compared; /* by the result's outputs */
    size_t use_count;   /* of its columns, in comparisons */
};

/* A column of the result, named here. */
static const struct pv_reference *
result_column(const struct series *series, Node *node)
{
    const struct pv_reference *reference =
        IsA(node, ColumnRef) ? pv_resolution_reference(series->rule->resolution, (ColumnRef *) node) : NULL;

    return reference != NULL && !reference->is_output && reference->column.index != PV_WHOLE_ROW &&
                   reference->owner == series->level && pv_rule_leaf(reference->column).rte == series->result
               ? reference
               : NULL;
}

/* A column of whatever result in FROM: two results compared with each other keep no rows. */
static bool
is_of_a_result(const struct series *series, Node *node)
{
    const struct pv_reference *reference =
        IsA(node, ColumnRef) ? pv_resolution_reference(series->rule->resolution, (ColumnRef *) node) : NULL;

    return reference != NULL && !reference->is_output &&
           pv_rule_is_result(series->rule, pv_rule_leaf(reference->column).rte);
}

/* Marks what the conditions, joined by AND, compare of the result. */
static void
mark_compared(struct series *series, Node *condition, unsigned depth)
{
    const struct pv_reference *left, *right;
    ListCell *cell;

    if (condition == NULL || depth > PV_QUERY_LEVELS_MAX)
        return;
    if (IsA(condition, BoolExpr) && ((BoolExpr *) condition)->boolop == AND_EXPR) {
        foreach (cell, ((BoolExpr *) condition)->args)
            mark_compared(series, lfirst(cell), depth + 1);
        return;
    }
    if (!IsA(condition, A_Expr) || strcmp(pv_rule_operator((A_Expr *) condition), "=") != 0 ||
        ((A_Expr *) condition)->kind != AEXPR_OP || ((A_Expr *) condition)->lexpr == NULL)
        return;
    left = result_column(series, ((A_Expr *) condition)->lexpr);
    right = result_column(series, ((A_Expr *) condition)->rexpr);
    if ((left == NULL) == (right == NULL) ||
        is_of_a_result(series, left == NULL ? ((A_Expr *) condition)->lexpr : ((A_Expr *) condition)->rexpr))
        return;
    series->are_compared[pv_rule_leaf(left != NULL ? left->column : right->column).index] = true;
    series->use_count++;
}

/* 3: every naming of the result's columns is one of the comparisons'; a star would name them too. */
static bool
is_named_elsewhere(const struct series *series)
{
    const struct pv_resolution *resolution = series->rule->resolution;
    size_t count = 0;

    for (size_t i = 0; i < resolution->reference_count; i++)
        if (!resolution->references[i].is_output && resolution->references[i].owner == series->level &&
            pv_rule_leaf(resolution->references[i].column).rte == series->result)
            count++;
    for (size_t i = 0; i < series->level->output_count; i++)
        if (series->level->outputs[i].expr == NULL && pv_rule_leaf(series->level->outputs[i].column).rte == series->result)
            return true;
    return count != series->use_count;
}

static enum pv_status
check_result(struct series *series)
{
    struct pv_rule_trial *rule = series->rule;
    const struct pv_level *inner = series->result->level;
    bool is_whole = inner->left == NULL && inner->stmt->groupClause != NIL && draws_rows(rule, inner);
    ListCell *cell;

    series->are_compared = pv_arena_alloc(rule->trial->arena, (inner->output_count + 1) * sizeof(bool));
    if (series->are_compared == NULL)
        return PV_NOMEM;
    mark_compared(series, series->level->stmt->whereClause, 0);
    for (size_t i = 0; i < series->level->rte_count; i++)
        if (series->level->rtes[i]->kind == PV_RTE_JOIN)
            mark_compared(series, ((const JoinExpr *) series->level->rtes[i]->node)->quals, 0);
    if (is_whole)
        foreach (cell, inner->stmt->groupClause) {
            size_t output = 0;

            if (!pv_rule_is_constant(lfirst(cell)) ||
                (IsA(lfirst(cell), A_Const) && ((A_Const *) lfirst(cell))->val.node.type == T_Integer))
                is_whole = is_whole && output_of(rule, inner, lfirst(cell), &output) && series->are_compared[output];
        }
    if (is_whole && series->use_count > 0 && !is_named_elsewhere(series))
        return PV_OK;
    return pv_rule_deny_clause(rule, "Rows of data sets can be joined with rows of data sets only, not with values, functions or "
                                     "aggregated results; but with the groups of rows, by ON column = group for each thing that "
                                     "they are grouped by, and nothing else of them.");
}

enum pv_status
pv_rule_results(struct pv_rule_trial *rule, struct pv_level *level)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < level->rte_count && status == PV_OK; i++) {
        struct series series = {.rule = rule, .level = level, .result = level->rtes[i]};

        if (pv_rule_is_result(rule, level->rtes[i]))
            status = check_result(&series);
    }
    /* A gathered remainder copies FROM before the results in it have their thresholds. */
    for (size_t i = 0; i < rule->resolution->relation_count && status == PV_OK; i++) {
        const struct pv_dataset *dataset = pv_rte_dataset(rule->resolution->relations[i]);

        if (dataset != NULL && dataset->rule->suppression == PV_SUPPRESS_REMAINDER)
            status = pv_rule_deny(rule, dataset, -1, "suppression",
                                  "rows cannot be joined with aggregated results where it is \"remainder\"");
    }
    return status;
}
