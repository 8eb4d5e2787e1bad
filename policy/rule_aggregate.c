#include <string.h>

#include "parser/rewrite.h"
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

/* 0.0 or 1.0, as some tools have it: the digit, then a point and zeros. */
static bool
is_decimal(const Node *node, char digit)
{
    const A_Const *constant = (const A_Const *) node;
    const char *text;

    if (!IsA(node, A_Const) || constant->isnull || constant->val.node.type != T_Float)
        return false;
    text = constant->val.fval.fval;
    return text[0] == digit && text[1] == '.' && strspn(text + 2, "0") == strlen(text + 2);
}

static Node *
make_decimal(const char *text)
{
    A_Const *constant = makeNode(A_Const);

    constant->val.fval.type = T_Float;
    constant->val.fval.fval = pstrdup(text);
    constant->location = -1;
    return (Node *) constant;
}

struct spelling {
    FuncCall *call;
    bool is_sum;
    bool is_decimal; /* the sum is numeric by the zero that CASE gives, whatever its column is */
};

/*
 * agg(CASE WHEN c THEN x END) is agg(x) FILTER (WHERE c): aggregates of one column pass NULLs over, a sum zeros too.
 * CASE a WHEN b is CASE WHEN a = b. Throws.
 */
static void
filter_case(void *context)
{
    struct spelling *spelling = context;
    FuncCall *call = spelling->call;
    CaseExpr *choice = list_length(call->args) == 1 ? linitial(call->args) : NULL;
    const Node *otherwise;
    CaseWhen *branch;

    if (choice == NULL || !IsA(choice, CaseExpr) || list_length(choice->args) != 1 || call->agg_filter != NULL)
        return;
    otherwise = (const Node *) choice->defresult;
    spelling->is_decimal = otherwise != NULL && is_decimal(otherwise, '0');
    if (otherwise != NULL && !(IsA(otherwise, A_Const) && ((const A_Const *) otherwise)->isnull) &&
        !(spelling->is_sum && (is_integer(otherwise, 0) || spelling->is_decimal))) {
        spelling->is_decimal = false;
        return;
    }
    branch = linitial(choice->args);
    call->agg_filter = choice->arg == NULL ? (Node *) branch->expr
                                           : pv_make_operator("=", (Node *) choice->arg, (Node *) branch->expr);
    linitial(call->args) = branch->result;
    if (spelling->is_decimal && is_integer(linitial(call->args), 1))
        linitial(call->args) = make_decimal("1.0");
}

/* sum(1) is count(*). Throws. */
static void
count_ones(void *context)
{
    FuncCall *call = context;

    call->funcname = list_make2(makeString(pstrdup("pg_catalog")), makeString(pstrdup("count")));
}

/* sum(x) with the zero's type: sum(coalesce(x, 0.0)). Throws. */
static void
widen_sum(void *context)
{
    FuncCall *call = context;
    CoalesceExpr *wide = makeNode(CoalesceExpr);

    wide->args = list_make2(linitial(call->args), make_decimal("0.0"));
    wide->location = -1;
    linitial(call->args) = wide;
}

static enum pv_status
spell(struct pv_rule_trial *rule, void (*edit)(void *context), void *context)
{
    MemoryContext before = pv_sql_enter(rule->trial->sql);
    enum pv_status status = pv_sql_guard(edit, context, NULL);

    pv_sql_leave(before);
    return status;
}

static enum pv_status
check_aggregate(struct pv_rule_trial *rule, FuncCall *call)
{
    const char *name = aggregate_name(call);
    struct spelling spelling = {call, name != NULL && strcmp(name, "sum") == 0, false};
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
    status = spell(rule, filter_case, &spelling);
    if (status == PV_OK && strcmp(name, "sum") == 0 && list_length(call->args) == 1) {
        bool is_one = is_integer(linitial(call->args), 1);

        if (is_one)
            status = spell(rule, count_ones, call);
        /* sum(1.0) stays, for its type, and tells what a count does. */
        if (is_one || is_decimal(linitial(call->args), '1'))
            name = "count";
    }
    if (status != PV_OK)
        return status;
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
    if (status == PV_OK && spelling.is_decimal && !pv_rule_is_constant(linitial(call->args)))
        status = spell(rule, widen_sum, call);
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
