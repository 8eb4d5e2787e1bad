#include <string.h>

#include "parser/walk.h"
#include "policy/rule_int.h"
#include "proxy/base/limits.h"

/*
 * Joins and WHERE of a level that rows of data sets pass through: inner equi-joins of join columns that connect
 * all of FROM, and conditions that meet literals only where comparison_controls lets them.
 */

struct joining {
    struct pv_rule_trial *rule;
    struct pv_level *level;
    size_t *groups; /* by the level's rtes: which connected part each is in */
    bool is_or_allowed;
};

static size_t
rte_number(const struct pv_level *level, const struct pv_rte *rte)
{
    for (size_t i = 0; i < level->rte_count; i++)
        if (level->rtes[i] == rte)
            return i;
    return 0;
}

static void
connect(struct joining *joining, const struct pv_rte *a, const struct pv_rte *b)
{
    size_t from = joining->groups[rte_number(joining->level, a)];
    size_t to = joining->groups[rte_number(joining->level, b)];

    for (size_t i = 0; i < joining->level->rte_count; i++)
        if (joining->groups[i] == from)
            joining->groups[i] = to;
}

/* By way of the merged columns of joins. */
struct pv_column_at
pv_rule_leaf(struct pv_column_at column)
{
    while (column.rte != NULL && column.rte->kind == PV_RTE_JOIN) {
        const struct pv_join_column *at = &column.rte->join_columns[column.index];

        column = at->left.rte != NULL ? at->left : at->right;
    }
    return column;
}

static struct pv_rte *
leaf_of(struct pv_column_at column)
{
    return pv_rule_leaf(column).rte;
}

static enum pv_status
check_join_column(struct joining *joining, struct pv_column_at column, int location)
{
    struct pv_column_at base = pv_rule_plain_column(joining->rule, column);
    const struct pv_dataset *dataset = base.rte == NULL ? NULL : pv_rte_dataset(base.rte);
    const char *name;

    if (dataset == NULL)
        return pv_deny_question(joining->rule->trial, PV_REASON_RULE, location,
                                "A join condition compares join columns themselves, not expressions.");
    name = dataset->relation.columns[base.index];
    if (pv_names_hold(&dataset->rule->join_columns, name))
        return PV_OK;
    return pv_rule_deny(joining->rule, dataset, location, "join_columns", "column \"%s\" may not be joined by", name);
}

static enum pv_status
join_pair(struct joining *joining, struct pv_column_at left, struct pv_column_at right, int location)
{
    enum pv_status status;

    if (pv_rule_is_result(joining->rule, leaf_of(left)) || pv_rule_is_result(joining->rule, leaf_of(right)))
        return pv_deny_question(joining->rule->trial, PV_REASON_RULE, location,
                                "Rows meet a result by ON column = group, not by USING or NATURAL.");
    status = check_join_column(joining, left, location);
    if (status == PV_OK)
        status = check_join_column(joining, right, location);
    if (status == PV_OK)
        connect(joining, leaf_of(left), leaf_of(right));
    return status;
}

static const struct pv_reference *
plain_reference(const struct joining *joining, const Node *node)
{
    const struct pv_reference *reference =
        IsA(node, ColumnRef) ? pv_resolution_reference(joining->rule->resolution, (const ColumnRef *) node) : NULL;

    return reference == NULL || reference->is_output || reference->column.index == PV_WHOLE_ROW ||
                   reference->owner != joining->level || pv_rule_is_result(joining->rule, leaf_of(reference->column))
               ? NULL
               : reference;
}

/* column = column, of two different entries of FROM. */
static bool
is_equi_join(const struct joining *joining, const Node *node, const struct pv_reference **left,
             const struct pv_reference **right)
{
    const A_Expr *expr = (const A_Expr *) node;

    if (!IsA(node, A_Expr) || expr->kind != AEXPR_OP || expr->lexpr == NULL || strcmp(pv_rule_operator(expr), "=") != 0)
        return false;
    *left = plain_reference(joining, expr->lexpr);
    *right = plain_reference(joining, expr->rexpr);
    return *left != NULL && *right != NULL && leaf_of((*left)->column) != leaf_of((*right)->column);
}

static bool
is_or_of_joins(const struct joining *joining, const Node *node)
{
    const struct pv_reference *left, *right;
    const ListCell *cell;

    if (!IsA(node, BoolExpr) || ((const BoolExpr *) node)->boolop != OR_EXPR)
        return false;
    foreach (cell, ((const BoolExpr *) node)->args)
        if (!is_equi_join(joining, lfirst(cell), &left, &right))
            return false;
    return true;
}

/* column = group of a result (rule_series.c has seen to it); the other side meets literals. */
static bool
is_of_result(const struct joining *joining, const Node *node, const struct pv_rte **result, Node **other)
{
    const A_Expr *expr = (const A_Expr *) node;

    if (!IsA(node, A_Expr) || expr->kind != AEXPR_OP || expr->lexpr == NULL || strcmp(pv_rule_operator(expr), "=") != 0)
        return false;
    for (int side = 0; side < 2; side++) {
        Node *column = side == 0 ? expr->lexpr : expr->rexpr;
        const struct pv_reference *reference =
            IsA(column, ColumnRef) ? pv_resolution_reference(joining->rule->resolution, (ColumnRef *) column) : NULL;

        if (reference == NULL || reference->is_output || reference->owner != joining->level)
            continue;
        *result = leaf_of(reference->column);
        *other = side == 0 ? expr->rexpr : expr->lexpr;
        if (pv_rule_is_result(joining->rule, *result))
            return true;
    }
    return false;
}

/* It is joined to the rows, whichever: it keeps some of them and gives none. */
static void
connect_result(struct joining *joining, const struct pv_rte *result)
{
    for (size_t i = 0; i < joining->level->rte_count; i++) {
        const struct pv_rte *rte = joining->level->rtes[i];

        if (rte->kind != PV_RTE_JOIN && !pv_rule_is_result(joining->rule, rte)) {
            connect(joining, result, rte);
            return;
        }
    }
}

static enum pv_status
check_condition(struct joining *joining, Node *node)
{
    const struct pv_rte *result = NULL;
    Node *other = NULL;
    const struct pv_reference *left, *right;
    const BoolExpr *all = (const BoolExpr *) node;
    enum pv_status status = PV_OK;
    ListCell *cell;

    if (IsA(node, BoolExpr) && all->boolop == AND_EXPR) {
        foreach (cell, all->args) {
            if (++joining->rule->depth > PV_QUERY_LEVELS_MAX)
                return pv_deny(joining->rule->trial, PV_REASON_TOO_DEEP, "54001", -1,
                               "statement is nested too deeply");
            status = check_condition(joining, lfirst(cell));
            joining->rule->depth--;
            if (status != PV_OK)
                return status;
        }
        return PV_OK;
    }
    if (is_of_result(joining, node, &result, &other)) {
        connect_result(joining, result);
        return pv_rule_value(joining->rule, other, PV_USE_CONDITION, NULL);
    }
    if (is_equi_join(joining, node, &left, &right))
        return join_pair(joining, left->column, right->column, ((A_Expr *) node)->location);
    if (is_or_of_joins(joining, node)) {
        if (!joining->is_or_allowed)
            return pv_deny_question(joining->rule->trial, PV_REASON_RULE, all->location,
                                    "Join conditions may be combined by AND only (rule allowed_join_operators).");
        foreach (cell, all->args) {
            (void) is_equi_join(joining, lfirst(cell), &left, &right);
            status = join_pair(joining, left->column, right->column, all->location);
            if (status != PV_OK)
                return status;
        }
        return PV_OK;
    }
    return pv_rule_value(joining->rule, node, PV_USE_CONDITION, NULL);
}

static enum pv_status
check_join(struct joining *joining, const struct pv_rte *rte)
{
    const JoinExpr *join = (const JoinExpr *) rte->node;
    enum pv_status status = PV_OK;

    if (join->jointype != JOIN_INNER)
        return pv_deny_question(joining->rule->trial, PV_REASON_RULE, -1,
                                "Outer joins are not allowed over data sets: joins are inner equi-joins.");
    if (join->alias != NULL)
        return pv_deny_question(joining->rule->trial, PV_REASON_RULE, -1, "An alias of a join is not allowed here.");
    for (size_t i = 0; i < rte->column_count && status == PV_OK; i++)
        if (rte->join_columns[i].left.rte != NULL && rte->join_columns[i].right.rte != NULL)
            status = join_pair(joining, rte->join_columns[i].left, rte->join_columns[i].right, -1);
    if (status == PV_OK && join->quals != NULL)
        status = check_condition(joining, join->quals);
    return status;
}

static enum pv_status
check_connected(struct joining *joining)
{
    struct pv_level *level = joining->level;
    size_t first = SIZE_MAX;

    for (size_t i = 0; i < level->rte_count; i++) {
        if (level->rtes[i]->kind == PV_RTE_JOIN)
            continue;
        if (first == SIZE_MAX)
            first = joining->groups[i];
        else if (joining->groups[i] != first)
            return pv_deny_question(joining->rule->trial, PV_REASON_RULE, -1,
                                    "\"%s\" is not joined to the rest: every data set in FROM is joined by equality of "
                                    "join columns.",
                                    level->rtes[i]->alias == NULL ? "" : level->rtes[i]->alias);
    }
    return PV_OK;
}


static bool
allows_or(const struct pv_rule_trial *rule)
{
    for (size_t i = 0; i < rule->resolution->relation_count; i++) {
        const struct pv_dataset *dataset = pv_rte_dataset(rule->resolution->relations[i]);

        if (dataset == NULL || !(pv_names_hold(&dataset->rule->allowed_join_operators, "or") ||
                                 pv_names_hold(&dataset->rule->allowed_join_operators, "OR")))
            return false;
    }
    return true;
}

enum pv_status
pv_rule_joins(struct pv_rule_trial *rule, struct pv_level *level)
{
    struct joining joining = {rule, level, pv_arena_alloc(rule->trial->arena, (level->rte_count + 1) * sizeof(size_t)),
                              allows_or(rule)};
    enum pv_status status = PV_OK;

    if (joining.groups == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < level->rte_count; i++)
        joining.groups[i] = i;
    for (size_t i = 0; i < level->rte_count && status == PV_OK; i++)
        if (level->rtes[i]->kind == PV_RTE_JOIN)
            status = check_join(&joining, level->rtes[i]);
    if (status == PV_OK && level->stmt->whereClause != NULL)
        status = check_condition(&joining, level->stmt->whereClause);
    return status == PV_OK ? check_connected(&joining) : status;
}
