#include <string.h>

#include "parser/walk.h"
#include "policy/functions.h"
#include "policy/rule_int.h"
#include "policy/threshold.h"

/* What a level that aggregates rows gives: aggregates of listed columns, and around them what GROUP BY holds. */

struct output_check {
    struct pv_rule_trial *rule;
    struct pv_level *level;
    bool is_having;
    enum pv_status status;
};

static const char *
aggregate_name(const FuncCall *call)
{
    const char *name = strVal(llast(call->funcname));

    if (strcmp(name, "count") == 0)
        return call->agg_distinct ? "count_distinct" : "count";
    if (strcmp(name, "sum") == 0)
        return call->agg_distinct ? "sum_distinct" : "sum";
    if (strcmp(name, "avg") == 0)
        return call->agg_distinct ? "avg_distinct" : "avg";
    return NULL;
}

static bool
is_integer(const Node *node, int value)
{
    const A_Const *constant = (const A_Const *) node;

    return IsA(node, A_Const) && !constant->isnull && constant->val.node.type == T_Integer &&
           constant->val.ival.ival == value;
}

/*
 * agg(CASE WHEN c THEN x END) is agg(x) FILTER (WHERE c): aggregates of one column pass NULLs over, a sum zeros too.
 * sum(1) is count(*).
 */
static void
filter_case(FuncCall *call)
{
    CaseExpr *choice = list_length(call->args) == 1 ? linitial(call->args) : NULL;
    const A_Const *otherwise;
    CaseWhen *branch;

    if (choice == NULL || !IsA(choice, CaseExpr) || choice->arg != NULL || list_length(choice->args) != 1 ||
        call->agg_filter != NULL)
        return;
    otherwise = (const A_Const *) choice->defresult;
    if (otherwise != NULL && !(IsA(otherwise, A_Const) && otherwise->isnull) &&
        !(is_integer((const Node *) otherwise, 0) && strcmp(strVal(llast(call->funcname)), "sum") == 0 && !call->agg_distinct))
        return;
    branch = linitial(choice->args);
    call->agg_filter = (Node *) branch->expr;
    linitial(call->args) = branch->result;
}

static void
count_ones(void *context)
{
    FuncCall *call = context;

    call->funcname = list_make2(makeString(pstrdup("pg_catalog")), makeString(pstrdup("count")));
}

static enum pv_status
check_aggregate(struct pv_rule_trial *rule, FuncCall *call)
{
    const char *name = aggregate_name(call);
    enum pv_status status = PV_OK;
    ListCell *cell;

    if (call->over != NULL)
        return pv_rule_deny_clause(rule, "Window functions are not allowed.");
    if (name == NULL)
        return pv_deny_question(rule->trial, PV_REASON_RULE, call->location,
                                "Aggregate \"%s\" tells single values and is not allowed over data columns.",
                                strVal(llast(call->funcname)));
    if (call->agg_order != NIL || call->agg_within_group || call->func_variadic)
        return pv_rule_deny_clause(rule, "ORDER BY, WITHIN GROUP and VARIADIC are not allowed in an aggregate over data.");
    filter_case(call);
    if (strcmp(name, "sum") == 0 && list_length(call->args) == 1 && is_integer(linitial(call->args), 1)) {
        MemoryContext before = pv_sql_enter(rule->trial->sql);

        status = pv_sql_guard(count_ones, call, NULL);
        pv_sql_leave(before);
        if (status != PV_OK)
            return status;
        name = "count";
    }
    if (!call->agg_star && list_length(call->args) != 1)
        return pv_deny_question(rule->trial, PV_REASON_RULE, call->location, "Aggregate \"%s\" takes one column.", name);
    foreach (cell, call->args) {
        /* count(1) is count(*). */
        if (status == PV_OK && (!pv_rule_is_constant(lfirst(cell)) || strcmp(name, "count") == 0))
            status = pv_rule_value(rule, lfirst(cell), PV_USE_AGGREGATE, name);
        else if (status == PV_OK)
            status = pv_rule_deny_clause(rule, "An aggregate other than count needs a column.");
    }
    if (status == PV_OK && call->agg_filter != NULL)
        status = pv_rule_value(rule, call->agg_filter, PV_USE_CONDITION, NULL);
    return status;
}

/* Equal to one of GROUP BY's items, through positions and output names. */
static enum pv_status
is_grouped(struct pv_rule_trial *rule, const struct pv_level *level, Node *expr, bool *is_found)
{
    ListCell *cell;
    enum pv_status status = PV_OK;

    *is_found = false;
    foreach (cell, level->stmt->groupClause) {
        if (status == PV_OK && !*is_found && lfirst(cell) != NULL)
            status = pv_tree_equal(lfirst(cell), expr, is_found);
    }
    (void) rule;
    return status;
}

/*
 * What stands outside of aggregates at an aggregating level is grouped, so it is made of dimensions; in HAVING it
 * meets literals.
 */
static enum pv_walk
visit_output(void *context, Node *node, const struct pv_walk_at *at)
{
    struct output_check *check = context;

    (void) at;
    if (IsA(node, SubLink)) {
        check->status = pv_rule_deny_clause(check->rule, "A sub-query in an expression over data is not allowed.");
        return PV_WALK_STOP;
    }
    if (IsA(node, GroupingFunc))
        return PV_WALK_SKIP; /* its arguments are GROUP BY's, or PostgreSQL refuses them */
    if (IsA(node, FuncCall)) {
        const struct pv_function *function = pv_function_find(strVal(llast(((FuncCall *) node)->funcname)));

        if (function != NULL && (function->class == PV_FN_AGGREGATE || ((FuncCall *) node)->over != NULL)) {
            check->status = check_aggregate(check->rule, (FuncCall *) node);
            return check->status == PV_OK ? PV_WALK_SKIP : PV_WALK_STOP;
        }
        if (function == NULL || function->class != PV_FN_SCALAR) {
            check->status = pv_rule_deny_clause(check->rule, "Set-returning and catalog functions are not allowed over data.");
            return PV_WALK_STOP;
        }
    }
    if (!IsA(node, List) && !IsA(node, CaseWhen) && !IsA(node, TypeName) && !pv_rule_is_constant(node) &&
        !pv_tree_has_aggregate(node)) {
        check->status =
            pv_rule_value(check->rule, node, check->is_having ? PV_USE_CONDITION : PV_USE_OUTPUT, NULL);
        return check->status == PV_OK ? PV_WALK_SKIP : PV_WALK_STOP;
    }
    return PV_WALK_ON;
}

enum pv_status
pv_rule_output(struct pv_rule_trial *rule, struct pv_level *level, Node *expr, bool is_having)
{
    struct output_check check = {rule, level, is_having, PV_OK};
    bool is_group = false;
    enum pv_status status;

    if (expr == NULL)
        return PV_OK;
    status = is_grouped(rule, level, expr, &is_group);
    if (status != PV_OK || is_group)
        return status; /* GROUP BY's items are judged by themselves */
    status = pv_tree_walk(expr, &pv_sql_limits_default, visit_output, &check, NULL);
    return check.status != PV_OK ? check.status : status;
}
