#include <string.h>
#include <strings.h>

#include "parser/rewrite.h"
#include "policy/rule_int.h"
#include "policy/threshold.h"

/*
 * Expressions over rows made such that no value makes them fail (ATTACKS: S2 to S4), where the judgement could not
 * know: it knows no column's type and no parameter's value.
 */

/* A backslash that escapes nothing, at the end of a pattern for LIKE. */
#define LONE_ESCAPE "(^|[^\\\\])(\\\\\\\\)*\\\\$"

static const char *
call_name(const Node *node)
{
    return IsA(node, FuncCall) ? strVal(llast(((const FuncCall *) node)->funcname)) : "";
}

static bool
has_clock_unit(const FuncCall *call)
{
    const A_Const *unit = linitial(call->args);
    static const char *const units[] = {"hour", "minute", "second"};

    if (IsA(unit, TypeCast))
        unit = (const A_Const *) ((const TypeCast *) unit)->arg;
    for (size_t i = 0; i < PV_COUNT_OF(units); i++)
        if (IsA(unit, A_Const) && unit->val.node.type == T_String && strcasecmp(unit->val.sval.sval, units[i]) == 0)
            return true;
    return false;
}

/* PostgreSQL refuses this, before any row, for whatever is no date; of a date it changes nothing. */
static Node *
as_date(Node *value)
{
    return (Node *) pv_make_call("pg_catalog", "date_trunc", list_make2(pv_make_string("microseconds"), value));
}

static Node *
edit_guard(void *context, Node *node, bool *is_entered)
{
    (void) context;
    if (IsA(node, SelectStmt) || IsA(node, RangeSubselect)) {
        *is_entered = false;
    } else if (IsA(node, TypeCast)) {
        TypeCast *cast = (TypeCast *) node;

        if (pv_rule_cast_is_date(cast) && !pv_rule_is_constant(cast->arg) && !pv_tree_has_aggregate(cast->arg))
            cast->arg = as_date(cast->arg);
    } else if (strcmp(call_name(node), "to_char") == 0 || strcmp(call_name(node), "extract") == 0) {
        FuncCall *call = (FuncCall *) node;
        bool is_char = strcmp(call_name(node), "to_char") == 0;
        ListCell *value = list_length(call->args) != 2 ? NULL : is_char ? list_head(call->args) : list_second_cell(call->args);

        if (value != NULL && !pv_rule_is_constant(lfirst(value)) && !pv_tree_has_aggregate(lfirst(value)) &&
            (is_char || has_clock_unit(call)))
            lfirst(value) = as_date(lfirst(value));
    } else if (IsA(node, A_Expr)) {
        A_Expr *expr = (A_Expr *) node;
        bool is_like = expr->kind == AEXPR_LIKE || expr->kind == AEXPR_ILIKE ||
                       (expr->kind == AEXPR_OP && strstr(strVal(llast(expr->name)), "~~") != NULL);

        if (is_like && !IsA(expr->rexpr, A_Const) && pv_rule_is_constant(expr->rexpr))
            expr->rexpr = pv_make_case(
                pv_make_operator("~", (Node *) copyObject(expr->rexpr), pv_make_string(LONE_ESCAPE)), pv_make_null(),
                expr->rexpr);
    }
    return node;
}

/* NATURAL JOIN joins by what both sides hold now, before columns are added to sub-queries. */
static void
spell_natural_joins(const struct pv_level *level)
{
    for (size_t i = 0; i < level->rte_count; i++) {
        const struct pv_rte *rte = level->rtes[i];
        JoinExpr *join = (JoinExpr *) rte->node;

        if (rte->kind != PV_RTE_JOIN || !join->isNatural)
            continue;
        join->isNatural = false;
        for (size_t k = 0; k < rte->column_count; k++)
            if (rte->join_columns[k].left.rte != NULL && rte->join_columns[k].right.rte != NULL)
                join->usingClause = lappend(join->usingClause, makeString(pstrdup(rte->columns[k])));
    }
}

void
pv_rule_guard(const struct pv_level *level)
{
    SelectStmt *stmt = level->stmt;

    spell_natural_joins(level);
    pv_tree_mutate((Node **) (void *) &stmt->targetList, edit_guard, NULL);
    pv_tree_mutate((Node **) (void *) &stmt->fromClause, edit_guard, NULL);
    pv_tree_mutate(&stmt->whereClause, edit_guard, NULL);
    pv_tree_mutate((Node **) (void *) &stmt->groupClause, edit_guard, NULL);
    pv_tree_mutate(&stmt->havingClause, edit_guard, NULL);
    pv_tree_mutate((Node **) (void *) &stmt->sortClause, edit_guard, NULL);
}
