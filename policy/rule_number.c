#include <stdlib.h>
#include <string.h>

#include "policy/functions.h"
#include "policy/rule_int.h"

/*
 * The arithmetic that tools put around dimensions, and that no value makes fail: bins of numbers (floor(age / 10.0) *
 * 10.0), fields of dates (floor(extract(epoch FROM t) / 3600) * 3600, extract(year FROM t)::integer). The left operand is
 * tamed by pv_rule_guard, the right one is a literal. An integer is never multiplied or added to, which could leave its
 * type, unless it was made a numeric or a float before.
 */

#define STEPS_MAX 16u     /* 1e140 times 1e10 so often is within a float8, and so is 1e-140 divided */
#define LITERAL_MAX 11u   /* digits and the point */

static bool
is_call_of(const Node *node, const char *const *names, size_t count)
{
    const char *name = IsA(node, FuncCall) ? strVal(llast(((const FuncCall *) node)->funcname)) : "";

    for (size_t i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

bool
pv_rule_is_field(const Node *node)
{
    static const char *const names[] = {"extract", "date_part"};

    return is_call_of(node, names, PV_COUNT_OF(names)) && list_length(((const FuncCall *) node)->args) == 2;
}

static bool
is_rounding(const Node *node)
{
    static const char *const names[] = {"floor", "ceil", "ceiling", "round", "trunc"};

    return is_call_of(node, names, PV_COUNT_OF(names)) && list_length(((const FuncCall *) node)->args) == 1;
}

/* A positive number, or not less than 0, that is no longer than LITERAL_MAX. */
static bool
is_literal(const Node *node, bool *is_decimal, bool *is_zero)
{
    const A_Const *constant = (const A_Const *) node;

    if (!IsA(node, A_Const) || constant->isnull)
        return false;
    *is_decimal = false;
    if (constant->val.node.type == T_Integer) {
        *is_zero = constant->val.ival.ival == 0;
        return constant->val.ival.ival >= 0;
    }
    if (constant->val.node.type != T_Float || strlen(constant->val.fval.fval) > LITERAL_MAX ||
        strspn(constant->val.fval.fval, "0123456789.") != strlen(constant->val.fval.fval))
        return false;
    *is_decimal = strchr(constant->val.fval.fval, '.') != NULL;
    *is_zero = strtod(constant->val.fval.fval, NULL) < 0.001;
    return *is_decimal;
}

static bool
is_arithmetic_kind(const Node *node)
{
    const char *name = IsA(node, A_Expr) ? pv_rule_operator((const A_Expr *) node) : "";

    return strlen(name) == 1 && strchr("+-*/", name[0]) != NULL && ((const A_Expr *) node)->kind == AEXPR_OP &&
           ((const A_Expr *) node)->lexpr != NULL;
}

/* numeric or float8 whatever the column is. */
static bool
is_wide(const Node *node)
{
    bool is_decimal, is_zero;

    if (is_rounding(node) || pv_rule_is_field(node) || (IsA(node, TypeCast) && pv_rule_cast_is_number((const TypeCast *) node)))
        return true;
    return is_arithmetic_kind(node) && (is_wide(((const A_Expr *) node)->lexpr) ||
                                        (is_literal(((const A_Expr *) node)->rexpr, &is_decimal, &is_zero) && is_decimal));
}

/* n / 10 * 10 of integers is no larger than n. */
static bool
is_undone(const A_Expr *expr)
{
    const A_Const *left, *right = (const A_Const *) expr->rexpr;

    if (!is_arithmetic_kind(expr->lexpr) || strcmp(pv_rule_operator((const A_Expr *) expr->lexpr), "/") != 0)
        return false;
    left = (const A_Const *) ((const A_Expr *) expr->lexpr)->rexpr;
    return IsA(left, A_Const) && left->val.node.type == T_Integer && right->val.node.type == T_Integer &&
           left->val.ival.ival == right->val.ival.ival;
}

bool
pv_rule_is_arithmetic(struct pv_rule_trial *rule, const A_Expr *expr)
{
    bool is_decimal, is_zero;
    const Node *left = expr->lexpr;

    if (!is_arithmetic_kind((const Node *) expr) || !is_literal(expr->rexpr, &is_decimal, &is_zero))
        return false;
    /* A field made an integer is small, so a small integer may be added. */
    if (IsA(left, TypeCast) && pv_rule_cast_of_field((TypeCast *) expr->lexpr) != NULL)
        return strcmp(pv_rule_operator(expr), "*") != 0 && !is_decimal && !(strcmp(pv_rule_operator(expr), "/") == 0 && is_zero) &&
               ((const A_Const *) expr->rexpr)->val.ival.ival <= 1000000;
    if (!IsA(left, ColumnRef) && !is_rounding(left) && !pv_rule_is_field(left) && !is_arithmetic_kind(left) &&
        !(IsA(left, TypeCast) && pv_rule_cast_is_number((const TypeCast *) left)))
        return false;
    if (++rule->number_count > STEPS_MAX)
        return false;
    if (strcmp(pv_rule_operator(expr), "/") == 0)
        return !is_zero;
    return is_decimal || is_wide(left) || (strcmp(pv_rule_operator(expr), "*") == 0 && is_undone(expr));
}

static const char *
plain_type(const TypeCast *cast)
{
    return cast->typeName->arrayBounds != NIL || cast->typeName->typmods != NIL ? ""
                                                                              : strVal(llast(cast->typeName->names));
}

bool
pv_rule_cast_is_number(const TypeCast *cast)
{
    return strcmp(plain_type(cast), "numeric") == 0 || strcmp(plain_type(cast), "float8") == 0;
}

FuncCall *
pv_rule_cast_of_field(TypeCast *cast)
{
    const char *type = plain_type(cast);
    Node *node = cast->arg;
    const A_Const *unit;

    if (strcmp(type, "int4") != 0 && strcmp(type, "int8") != 0)
        return NULL;
    if (is_rounding(node))
        node = linitial(((FuncCall *) node)->args);
    if (!pv_rule_is_field(node))
        return NULL;
    unit = linitial(((FuncCall *) node)->args);
    if (!IsA(unit, A_Const) || unit->val.node.type != T_String)
        return NULL;
    return strcmp(type, "int4") == 0 && strcmp(unit->val.sval.sval, "epoch") == 0 ? NULL : (FuncCall *) node;
}
