#include <string.h>

#include "parser/walk.h"
#include "policy/functions.h"
#include "policy/rule_int.h"
#include "proxy/base/limits.h"

/*
 * Which columns may stand where. An expression is followed through derived tables to the base columns, and
 * everything done to them on the way is judged as if it stood in one place, so that no alias, cast or sub-query
 * hides a use.
 */

struct value_check {
    struct pv_rule_trial *rule;
    enum pv_use use;
    const char *function; /* of PV_USE_AGGREGATE */
    enum pv_status status;
};

bool
pv_names_hold(const struct pv_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->names[i], name) == 0)
            return true;
    return false;
}

const struct pv_dataset *
pv_rte_dataset(const struct pv_rte *rte)
{
    return rte->relation != NULL && rte->relation->kind == PV_RELATION_DATASET ? rte->relation->owner : NULL;
}

static enum pv_walk
visit_any_column(void *context, Node *node, const struct pv_walk_at *at)
{
    (void) at;
    if (!IsA(node, ColumnRef) && !IsA(node, SubLink))
        return PV_WALK_ON;
    *(bool *) context = true;
    return PV_WALK_STOP;
}

bool
pv_rule_is_constant(Node *expr)
{
    bool has_column = false;

    return expr == NULL ||
           (pv_tree_walk(expr, &pv_sql_limits_default, visit_any_column, &has_column, NULL) == PV_OK && !has_column);
}

bool
pv_rule_is_aggregate(const FuncCall *call)
{
    const struct pv_function *function = pv_function_find(strVal(llast(call->funcname)));

    return function != NULL && function->class == PV_FN_AGGREGATE && call->over == NULL;
}

/* ---- plain columns ------------------------------------------------------------------ */

struct pv_column_at
pv_rule_plain_column(const struct pv_rule_trial *rule, struct pv_column_at column)
{
    static const struct pv_column_at none = {NULL, 0};

    for (unsigned i = 0; i < PV_QUERY_LEVELS_MAX && column.rte != NULL; i++) {
        const struct pv_rte *rte = column.rte;
        const struct pv_output *output;

        if (column.index == PV_WHOLE_ROW)
            return none;
        if (rte->kind == PV_RTE_JOIN) {
            const struct pv_join_column *at = &rte->join_columns[column.index];

            column = at->left.rte != NULL ? at->left : at->right;
            continue;
        }
        if (rte->relation != NULL)
            return column;
        if (rte->level == NULL || rte->level->left != NULL || column.index >= rte->level->output_count)
            return none;
        output = &rte->level->outputs[column.index];
        if (output->expr == NULL) {
            column = output->column;
        } else {
            const struct pv_reference *reference =
                IsA(output->expr, ColumnRef)
                    ? pv_resolution_reference(rule->resolution, (ColumnRef *) output->expr)
                    : NULL;

            if (reference == NULL || reference->is_output)
                return none;
            column = reference->column;
        }
    }
    return none;
}

struct pv_column_at
pv_rule_plain(const struct pv_rule_trial *rule, Node *expr)
{
    const struct pv_reference *reference =
        IsA(expr, ColumnRef) ? pv_resolution_reference(rule->resolution, (ColumnRef *) expr) : NULL;

    if (reference == NULL || reference->is_output)
        return (struct pv_column_at){NULL, 0};
    return pv_rule_plain_column(rule, reference->column);
}

/* ---- base columns ------------------------------------------------------------------- */

static bool
aggregate_holds(const struct pv_analysis_rule *rule, const char *column, const char *function)
{
    for (size_t i = 0; i < rule->aggregate_count; i++) {
        const struct pv_aggregate_rule *aggregate = &rule->aggregates[i];
        struct pv_names columns = {aggregate->columns, aggregate->column_count};
        struct pv_names functions = {aggregate->functions, aggregate->function_count};

        if (pv_names_hold(&columns, column) && pv_names_hold(&functions, function))
            return true;
    }
    return false;
}

static const struct pv_names *
literal_columns(const struct pv_analysis_rule *rule)
{
    if (rule->has_literal_columns)
        return &rule->literal_columns;
    return rule->type == PV_RULE_LIST ? &rule->list_columns : &rule->dimension_columns;
}

static enum pv_status
check_base(struct value_check *check, const struct pv_dataset *dataset, const char *column, int location)
{
    const struct pv_analysis_rule *rule = dataset->rule;
    struct pv_rule_trial *trial = check->rule;
    bool is_join = pv_names_hold(&rule->join_columns, column);

    switch (check->use) {
    case PV_USE_PASS:
        return PV_OK;
    case PV_USE_GROUP:
    case PV_USE_OUTPUT:
        if (pv_names_hold(rule->type == PV_RULE_LIST ? &rule->list_columns : &rule->dimension_columns, column))
            return PV_OK;
        return pv_rule_deny(trial, dataset, location, "dimension_columns",
                            "column \"%s\" is no dimension: it can be neither grouped by nor output", column);
    case PV_USE_AGGREGATE:
        if (rule->type == PV_RULE_LIST)
            return pv_rule_deny(trial, dataset, location, "list_columns",
                                "column \"%s\" may not stand under %s: a list is not aggregated", column,
                                check->function);
        if (is_join && strcmp(check->function, "count_distinct") == 0)
            return PV_OK;
        if (aggregate_holds(rule, column, check->function))
            return PV_OK;
        return pv_rule_deny(trial, dataset, location, "aggregate_columns",
                            "column \"%s\" may not stand under %s", column, check->function);
    case PV_USE_CONDITION:
        if (dataset->entity != NULL && strcmp(dataset->entity, column) == 0)
            return pv_rule_deny(trial, dataset, location, "comparison_controls",
                                "entity column \"%s\" never meets a literal", column);
        if (pv_names_hold(literal_columns(rule), column))
            return PV_OK;
        return pv_rule_deny(trial, dataset, location, "comparison_controls",
                            "column \"%s\" may not be compared with a literal", column);
    case PV_USE_LIST:
    default:
        if (pv_names_hold(&rule->list_columns, column))
            return PV_OK;
        return pv_rule_deny(trial, dataset, location, "list_columns", "column \"%s\" may not be output", column);
    }
}

static enum pv_status check_column(struct value_check *check, struct pv_column_at column, int location);

static enum pv_status
check_derived(struct value_check *check, const struct pv_level *level, uint32_t index, int location)
{
    const struct pv_output *output;

    if (level->left != NULL) {
        enum pv_status status = check_derived(check, level->left, index, location);

        return status == PV_OK ? check_derived(check, level->right, index, location) : status;
    }
    if (index >= level->output_count)
        return PV_OK;
    output = &level->outputs[index];
    return output->expr == NULL ? check_column(check, output->column, location)
                                : pv_rule_value(check->rule, output->expr, check->use, check->function);
}

static enum pv_status
check_column(struct value_check *check, struct pv_column_at column, int location)
{
    const struct pv_rte *rte = column.rte;
    const struct pv_dataset *dataset = pv_rte_dataset(rte);
    enum pv_status status = PV_OK;

    if (column.index == PV_WHOLE_ROW)
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, location,
                                "A whole row (\"%s\") cannot be used; name its columns.",
                                rte->alias == NULL ? "" : rte->alias);
    if (++check->rule->depth > PV_QUERY_LEVELS_MAX || ++check->rule->work > PV_RULE_WORK_MAX)
        return pv_deny(check->rule->trial, PV_REASON_TOO_DEEP, "54001", location, "statement is nested too deeply");
    if (rte->kind == PV_RTE_JOIN) {
        const struct pv_join_column *at = &rte->join_columns[column.index];

        if (at->left.rte != NULL)
            status = check_column(check, at->left, location);
        if (status == PV_OK && at->right.rte != NULL)
            status = check_column(check, at->right, location);
    } else if (dataset != NULL) {
        status = check_base(check, dataset, dataset->relation.columns[column.index], location);
    } else if (rte->level != NULL) {
        status = check_derived(check, rte->level, column.index, location);
    } else {
        status = pv_deny_question(check->rule->trial, PV_REASON_RULE, location,
                                  "Functions in FROM cannot be used in a question over data.");
    }
    check->rule->depth--;
    return status;
}

/* ---- expressions ----------------------------------------------------------------------- */

struct scalar_need {
    const char *name;
    bool is_missing;
    const struct pv_dataset *dataset;
};

static void
need_scalar(void *context, struct pv_column_at base)
{
    struct scalar_need *need = context;
    const struct pv_dataset *dataset = pv_rte_dataset(base.rte);

    if (dataset != NULL && dataset->rule != NULL && !pv_names_hold(&dataset->rule->scalar_functions, need->name)) {
        need->is_missing = true;
        need->dataset = dataset;
    }
}

static enum pv_status
deny_could_fail(struct value_check *check, int location, const char *what, const char *name)
{
    return pv_deny_question(check->rule->trial, PV_REASON_RULE, location,
                            "%s \"%s\" could fail on a value of a data column, or with these constants.", what, name);
}

struct bases {
    const struct pv_rte *first;
    bool are_several;
};

static void
visit_base(void *context, struct pv_column_at base)
{
    struct bases *bases = context;

    if (bases->first == NULL)
        bases->first = base.rte;
    else if (bases->first != base.rte)
        bases->are_several = true;
}

static enum pv_status
deny_meeting(struct value_check *check, int location)
{
    return pv_deny_question(check->rule->trial, PV_REASON_RULE, location,
                            "Columns of two data sets meet in join conditions only: column = column, of join_columns, "
                            "combined by AND.");
}

/*
 * A function over columns is on the list of each data set whose columns it gets, and no value makes it fail. One
 * that compares has its columns meet whatever else it gets.
 */
static enum pv_status
check_scalar(struct value_check *check, Node *call, const char *name, const List *args, int location)
{
    struct scalar_need need = {name, false, NULL};
    struct bases bases = {NULL, false};
    enum pv_status status = pv_expression_origins(check->rule->resolution, call, need_scalar, &need);
    ListCell *cell;

    if (status != PV_OK)
        return status;
    if (need.is_missing)
        return pv_rule_deny(check->rule, need.dataset, location, "scalar_functions", "function \"%s\" is not listed",
                            name);
    if (!pv_rule_call_is_safe(check->rule->trial, name, args) || !pv_rule_call_is_short(check->rule, name, args))
        return deny_could_fail(check, location, "Function", name);
    if (!pv_rule_call_meets(name))
        return PV_OK;
    status = pv_expression_origins(check->rule->resolution, call, visit_base, &bases);
    if (status == PV_OK && bases.are_several)
        return deny_meeting(check, location);
    if (check->use == PV_USE_CONDITION)
        return status;
    foreach (cell, args)
        if (status == PV_OK && !pv_rule_is_constant(lfirst(cell)))
            status = pv_rule_value(check->rule, lfirst(cell), PV_USE_CONDITION, NULL);
    return status;
}

/* A cast of data may fail on a value and so tell it (ATTACKS: S3): to text never, between dates never. */
static enum pv_status
check_cast(struct value_check *check, TypeCast *cast)
{
    /* That it is a date or a number which is cast, pv_rule_guard makes sure of. */
    if (pv_rule_cast_is_text(cast) || pv_rule_cast_is_date(cast) || pv_rule_cast_is_number(cast) ||
        pv_rule_cast_of_field(cast) != NULL)
        return PV_OK;
    return pv_deny_question(check->rule->trial, PV_REASON_RULE, cast->location,
                            "A cast of a data column to \"%s\" could fail on a value; cast to text, or leave it out.",
                            strVal(llast(cast->typeName->names)));
}

/* A comparison within a value: its columns meet what they are compared with. */
static enum pv_status
check_condition_within(struct value_check *check, Node *node)
{
    if (check->use == PV_USE_CONDITION)
        return PV_OK;
    if (check->use == PV_USE_AGGREGATE)
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, pv_node_location(node),
                                "A condition cannot stand under an aggregate; put it in WHERE or FILTER.");
    return pv_rule_value(check->rule, node, PV_USE_CONDITION, NULL);
}

static enum pv_status
check_operator(struct value_check *check, A_Expr *expr)
{
    const char *name = pv_rule_operator(expr), *why;
    struct bases bases = {NULL, false};
    enum pv_status status;

    if (expr->kind == AEXPR_OP && strcmp(name, "||") == 0)
        return PV_OK;
    if (check->use != PV_USE_AGGREGATE &&
        (pv_rule_is_shift(check->rule, expr) || pv_rule_is_arithmetic(check->rule, expr)))
        return PV_OK;
    if (!pv_rule_is_comparison(expr, &why)) {
        if (why != NULL)
            return pv_deny_question(check->rule->trial, PV_REASON_RULE, expr->location, "%s.", why);
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, expr->location,
                                "Operator \"%s\" may not be applied to data columns; use the columns themselves.",
                                name[0] == '\0' ? "SIMILAR TO" : name);
    }
    if (expr->kind == AEXPR_NULLIF) {
        struct scalar_need need = {"nullif", false, NULL};

        status = pv_expression_origins(check->rule->resolution, (Node *) expr, need_scalar, &need);
        if (status != PV_OK)
            return status;
        if (need.is_missing)
            return pv_rule_deny(check->rule, need.dataset, expr->location, "scalar_functions",
                                "function \"nullif\" is not listed");
    }
    if (check->use != PV_USE_CONDITION)
        return check_condition_within(check, (Node *) expr);
    status = pv_expression_origins(check->rule->resolution, (Node *) expr, visit_base, &bases);
    if (status == PV_OK && bases.are_several)
        return deny_meeting(check, expr->location);
    return status;
}

/* CASE: its conditions meet literals, its results keep the use. */
static enum pv_status
check_case(struct value_check *check, CaseExpr *expr)
{
    ListCell *cell;
    enum pv_status status = PV_OK;

    if (check->use == PV_USE_AGGREGATE)
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, expr->location,
                                "CASE under an aggregate could single rows out; use %s(...) FILTER (WHERE ...).",
                                check->function);
    if (expr->arg != NULL) {
        struct bases bases = {NULL, false};

        status = pv_rule_value(check->rule, (Node *) expr->arg, PV_USE_CONDITION, NULL);
        if (status == PV_OK)
            status = pv_expression_origins(check->rule->resolution, (Node *) expr->arg, visit_base, &bases);
        foreach (cell, expr->args)
            if (status == PV_OK)
                status = pv_expression_origins(check->rule->resolution, (Node *) ((CaseWhen *) lfirst(cell))->expr,
                                               visit_base, &bases);
        if (status == PV_OK && bases.are_several)
            return deny_meeting(check, expr->location);
    }
    foreach (cell, expr->args) {
        CaseWhen *branch = lfirst(cell);

        if (status == PV_OK)
            status = pv_rule_value(check->rule, (Node *) branch->expr, PV_USE_CONDITION, NULL);
        if (status == PV_OK)
            status = pv_rule_value(check->rule, (Node *) branch->result, check->use, check->function);
    }
    if (status == PV_OK && expr->defresult != NULL)
        status = pv_rule_value(check->rule, (Node *) expr->defresult, check->use, check->function);
    return status;
}

static enum pv_status
check_call(struct value_check *check, FuncCall *call)
{
    const struct pv_function *function = pv_function_find(strVal(llast(call->funcname)));

    if (call->over != NULL)
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, call->location, "Window functions are not allowed.");
    if (function != NULL && function->class == PV_FN_AGGREGATE)
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, call->location,
                                "An aggregate cannot be grouped by or stand under another one: "
                                "only dimensions are groups.");
    if (function == NULL || function->class != PV_FN_SCALAR)
        return pv_deny_question(check->rule->trial, PV_REASON_FUNCTION, call->location,
                                "Function \"%s\" cannot be applied to data columns.", strVal(llast(call->funcname)));
    if (call->func_variadic)
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, call->location, "VARIADIC is not allowed over data.");
    return check_scalar(check, (Node *) call, function->name, call->args, call->location);
}

/* What people call it where they know it by no keyword. */
static const char *
words_of(const Node *node)
{
    if (IsA(node, A_Indirection))
        return "A subscript or a field of a value";
    return IsA(node, RowExpr) ? "A row of values, (a, b)," : pv_node_name(nodeTag(node));
}

static enum pv_status
check_node(struct value_check *check, Node *node, bool *is_entered)
{
    const struct pv_reference *reference;

    if (pv_rule_is_constant(node)) {
        const struct pv_function *function =
            IsA(node, FuncCall) ? pv_function_find(strVal(llast(((FuncCall *) node)->funcname))) : NULL;

        *is_entered = false;
        if (function != NULL && function->class == PV_FN_AGGREGATE)
            return check_call(check, (FuncCall *) node);
        return pv_rule_constant(check->rule, node);
    }
    switch ((int) nodeTag(node)) {
    case T_ColumnRef:
        *is_entered = false;
        reference = pv_resolution_reference(check->rule->resolution, (ColumnRef *) node);
        if (reference == NULL)
            return pv_deny_question(check->rule->trial, PV_REASON_RULE, ((ColumnRef *) node)->location,
                                    "The column cannot be resolved.");
        if (reference->is_output) {
            const struct pv_output *output = &reference->owner->outputs[reference->output];

            return output->expr == NULL ? check_column(check, output->column, ((ColumnRef *) node)->location)
                                        : pv_rule_value(check->rule, output->expr, check->use, check->function);
        }
        return check_column(check, reference->column, ((ColumnRef *) node)->location);
    case T_FuncCall:
        return check_call(check, (FuncCall *) node);
    case T_CoalesceExpr:
        return check_scalar(check, node, "coalesce", ((CoalesceExpr *) node)->args,
                            ((CoalesceExpr *) node)->location);
    case T_MinMaxExpr:
        return check_scalar(check, node, ((MinMaxExpr *) node)->op == IS_GREATEST ? "greatest" : "least",
                            ((MinMaxExpr *) node)->args, ((MinMaxExpr *) node)->location);
    case T_TypeCast:
        return check_cast(check, (TypeCast *) node);
    case T_A_Expr:
        return check_operator(check, (A_Expr *) node);
    case T_CaseExpr:
        *is_entered = false;
        return check_case(check, (CaseExpr *) node);
    case T_BoolExpr:
    case T_NullTest:
    case T_BooleanTest:
        return check_condition_within(check, node);
    case T_SubLink:
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, ((SubLink *) node)->location,
                                "A sub-query in an expression over data is not allowed; join the data sets instead.");
    case T_A_ArrayExpr:
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, ((A_ArrayExpr *) node)->location,
                                "ARRAY[...] of data columns could fail on a value; use the columns themselves.");
    case T_CollateClause:
        return pv_rule_collation_meets((CollateClause *) node)
                   ? PV_OK
                   : pv_deny_question(check->rule->trial, PV_REASON_RULE, ((CollateClause *) node)->location,
                                      "COLLATE \"%s\" could meet another collation and fail on a value; beside data it is "
                                      "\"C\" or \"default\".",
                                      strVal(llast(((CollateClause *) node)->collname)));
    case T_TypeName:
    case T_NamedArgExpr:
    case T_List:
        return PV_OK;
    default:
        return pv_deny_question(check->rule->trial, PV_REASON_RULE, pv_node_location(node),
                                "%s cannot be used over data columns.", words_of(node));
    }
}

static enum pv_walk
visit_value(void *context, Node *node, const struct pv_walk_at *at)
{
    struct value_check *check = context;
    bool is_entered = true;

    (void) at;
    check->status = check_node(check, node, &is_entered);
    if (check->status != PV_OK)
        return PV_WALK_STOP;
    return is_entered ? PV_WALK_ON : PV_WALK_SKIP;
}

enum pv_status
pv_rule_value(struct pv_rule_trial *rule, Node *expr, enum pv_use use, const char *function)
{
    struct value_check check = {rule, use, function, PV_OK};
    struct pv_walk_result walk = {0};
    enum pv_status status;

    if (++rule->depth > PV_QUERY_LEVELS_MAX || rule->work > PV_RULE_WORK_MAX)
        return pv_deny(rule->trial, PV_REASON_TOO_DEEP, "54001", -1, "statement is nested too deeply");
    status = pv_tree_walk(expr, &pv_sql_limits_default, visit_value, &check, &walk);
    rule->work += walk.nodes + 1;
    rule->depth--;
    return check.status != PV_OK ? check.status : status;
}
