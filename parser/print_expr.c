/*
 * Expressions.
 */
#include "parser/print_int.h"

#include <string.h>

static void
put(struct pv_printer *p, const char *text)
{
    pv_buf_put_text(p->buf, text);
}

void
pv_print_exprs(struct pv_printer *p, const List *list)
{
    for (int i = 0; i < list_length(list); i++) {
        if (i > 0)
            put(p, ", ");
        pv_print_expr(p, list_nth(list, i));
    }
}

static void
print_words(struct pv_printer *p, const List *names, const char *between)
{
    if (names == NIL)
        pv_print_deny(p, "empty name");
    for (int i = 0; i < list_length(names); i++) {
        const Node *part = list_nth(names, i);

        if (i > 0)
            put(p, between);
        if (part != NULL && IsA(part, A_Star))
            put(p, "*");
        else if (pv_print_word(part) != NULL)
            pv_sql_quote_identifier(p->buf, pv_print_word(part));
        else
            pv_print_deny(p, "name");
    }
}

void
pv_print_names(struct pv_printer *p, const List *names)
{
    print_words(p, names, ".");
}

void
pv_print_name_list(struct pv_printer *p, const List *names)
{
    print_words(p, names, ", ");
}

static bool
is_number(const char *text)
{
    return text != NULL && text[0] != '\0' && text[strspn(text, "0123456789.eE+-")] == '\0';
}

void
pv_print_number(struct pv_printer *p, const A_Const *value)
{
    if (!value->isnull && IsA(&value->val.node, Integer))
        pv_buf_put_decimal(p->buf, value->val.ival.ival);
    else if (!value->isnull && IsA(&value->val.node, Float) && is_number(value->val.fval.fval))
        put(p, value->val.fval.fval);
    else
        pv_print_deny(p, "A_Const");
}

/* `b…` or `x…`, as the scanner keeps it. */
static void
print_bits(struct pv_printer *p, const char *bits)
{
    if (bits == NULL || (bits[0] != 'b' && bits[0] != 'x')) {
        pv_print_deny(p, "BitString");
        return;
    }
    put(p, bits[0] == 'b' ? "B" : "X");
    pv_sql_quote_literal(p->buf, bits + 1);
}

static void
print_const(struct pv_printer *p, const A_Const *value)
{
    bool negative;

    if (value->isnull) {
        put(p, "NULL");
        return;
    }
    if (IsA(&value->val.node, String)) {
        pv_sql_quote_literal(p->buf, value->val.sval.sval);
        return;
    }
    if (IsA(&value->val.node, BitString)) {
        print_bits(p, value->val.bsval.bsval);
        return;
    }
    if (IsA(&value->val.node, Boolean)) {
        put(p, value->val.boolval.boolval ? "TRUE" : "FALSE");
        return;
    }
    negative = (IsA(&value->val.node, Integer) && value->val.ival.ival < 0) ||
               (IsA(&value->val.node, Float) && value->val.fval.fval[0] == '-');
    put(p, negative ? "(" : "");
    pv_print_number(p, value);
    put(p, negative ? ")" : "");
}

static void
print_bool_expr(struct pv_printer *p, const BoolExpr *expr)
{
    const char *between = expr->boolop == AND_EXPR ? " AND " : " OR ";
    int count = list_length(expr->args);

    if (expr->boolop == NOT_EXPR ? count != 1 : count < 2) {
        pv_print_deny(p, "BoolExpr.args");
        return;
    }
    put(p, expr->boolop == NOT_EXPR ? "(NOT " : "(");
    for (int i = 0; i < count; i++) {
        if (i > 0)
            put(p, between);
        pv_print_expr(p, list_nth(expr->args, i));
    }
    put(p, ")");
}

static void
print_tested(struct pv_printer *p, const Expr *arg, const char *words)
{
    put(p, "(");
    pv_print_expr(p, (const Node *) arg);
    put(p, words);
    put(p, ")");
}

static const char *
boolean_test_words(BoolTestType type)
{
    switch (type) {
    case IS_TRUE:
        return " IS TRUE";
    case IS_NOT_TRUE:
        return " IS NOT TRUE";
    case IS_FALSE:
        return " IS FALSE";
    case IS_NOT_FALSE:
        return " IS NOT FALSE";
    case IS_UNKNOWN:
        return " IS UNKNOWN";
    case IS_NOT_UNKNOWN:
        return " IS NOT UNKNOWN";
    }
    return NULL;
}

static void
print_cast(struct pv_printer *p, const TypeCast *cast)
{
    put(p, "CAST(");
    pv_print_expr(p, cast->arg);
    put(p, " AS ");
    pv_print_type(p, cast->typeName);
    put(p, ")");
}

static void
print_case(struct pv_printer *p, const CaseExpr *expr)
{
    if (expr->args == NIL)
        pv_print_deny(p, "CaseExpr.args");
    put(p, "CASE");
    if (expr->arg != NULL) {
        put(p, " ");
        pv_print_expr(p, (const Node *) expr->arg);
    }
    for (int i = 0; i < list_length(expr->args); i++) {
        const CaseWhen *when = list_nth(expr->args, i);

        if (!IsA(when, CaseWhen)) {
            pv_print_deny(p, "CaseExpr.args");
            return;
        }
        put(p, " WHEN ");
        pv_print_expr(p, (const Node *) when->expr);
        put(p, " THEN ");
        pv_print_expr(p, (const Node *) when->result);
    }
    if (expr->defresult != NULL) {
        put(p, " ELSE ");
        pv_print_expr(p, (const Node *) expr->defresult);
    }
    put(p, " END");
}

static void
print_subselect(struct pv_printer *p, const Node *select)
{
    if (select == NULL || !IsA(select, SelectStmt)) {
        pv_print_deny(p, "SubLink.subselect");
        return;
    }
    put(p, "(");
    pv_print_select(p, (const SelectStmt *) select);
    put(p, ")");
}

static void
print_any_sublink(struct pv_printer *p, const SubLink *link)
{
    put(p, "(");
    pv_print_expr(p, link->testexpr);
    put(p, " ");
    if (link->operName == NIL && link->subLinkType == ANY_SUBLINK) {
        put(p, "IN ");
    } else {
        pv_print_operator(p, link->operName);
        put(p, link->subLinkType == ANY_SUBLINK ? " ANY " : " ALL ");
    }
    print_subselect(p, link->subselect);
    put(p, ")");
}

static void
print_sublink(struct pv_printer *p, const SubLink *link)
{
    switch (link->subLinkType) {
    case EXISTS_SUBLINK:
        put(p, "EXISTS ");
        break;
    case ARRAY_SUBLINK:
        put(p, "ARRAY");
        break;
    case EXPR_SUBLINK:
        break;
    case ANY_SUBLINK:
    case ALL_SUBLINK:
        print_any_sublink(p, link);
        return;
    case ROWCOMPARE_SUBLINK:
    case MULTIEXPR_SUBLINK:
    case CTE_SUBLINK:
        pv_print_deny(p, "SubLink.subLinkType");
        return;
    }
    if (link->testexpr != NULL || link->operName != NIL)
        pv_print_deny(p, "SubLink.testexpr");
    print_subselect(p, link->subselect);
}

static void
print_index(struct pv_printer *p, const A_Indices *index)
{
    put(p, "[");
    if (index->lidx != NULL)
        pv_print_expr(p, index->lidx);
    if (index->is_slice)
        put(p, " : ");
    if (index->uidx != NULL)
        pv_print_expr(p, index->uidx);
    put(p, "]");
}

static void
print_indirection(struct pv_printer *p, const A_Indirection *expr)
{
    put(p, "(");
    pv_print_expr(p, expr->arg);
    put(p, ")");
    for (int i = 0; i < list_length(expr->indirection); i++) {
        const Node *step = list_nth(expr->indirection, i);

        if (IsA(step, A_Indices)) {
            print_index(p, (const A_Indices *) step);
        } else if (IsA(step, A_Star)) {
            put(p, ".*");
        } else if (pv_print_word(step) != NULL) {
            put(p, ".");
            pv_sql_quote_identifier(p->buf, pv_print_word(step));
        } else {
            pv_print_deny(p, "A_Indirection.indirection");
        }
    }
}

/* (a, b) and ROW(a, b) are kept apart: GROUP BY reads them differently. */
static void
print_row(struct pv_printer *p, const RowExpr *row)
{
    bool implicit = row->row_format == COERCE_IMPLICIT_CAST;

    if (implicit && list_length(row->args) < 2)
        pv_print_deny(p, "RowExpr.args");
    put(p, implicit ? "(" : "ROW(");
    pv_print_exprs(p, row->args);
    put(p, ")");
}

static void
print_param(struct pv_printer *p, const ParamRef *param)
{
    if (param->number <= 0)
        pv_print_deny(p, "ParamRef.number");
    put(p, "$");
    pv_buf_put_decimal(p->buf, param->number);
}

static void
print_called(struct pv_printer *p, const char *name, const List *args)
{
    put(p, name);
    pv_print_exprs(p, args);
    put(p, ")");
}

/* The rarer kinds, apart so that the frame of the recursion stays small. */
static void
print_rare(struct pv_printer *p, const Node *node)
{
    if (IsA(node, MinMaxExpr)) {
        print_called(p, ((const MinMaxExpr *) node)->op == IS_GREATEST ? "GREATEST(" : "LEAST(",
                     ((const MinMaxExpr *) node)->args);
    } else if (IsA(node, GroupingFunc)) {
        print_called(p, "GROUPING(", ((const GroupingFunc *) node)->args);
    } else if (IsA(node, SQLValueFunction)) {
        pv_print_sql_value(p, (const SQLValueFunction *) node);
    } else if (IsA(node, CollateClause)) {
        put(p, "(");
        pv_print_expr(p, ((const CollateClause *) node)->arg);
        put(p, " COLLATE ");
        pv_print_names(p, ((const CollateClause *) node)->collname);
        put(p, ")");
    } else if (IsA(node, A_ArrayExpr)) {
        put(p, "ARRAY[");
        pv_print_exprs(p, ((const A_ArrayExpr *) node)->elements);
        put(p, "]");
    } else {
        pv_print_deny(p, "expression");
    }
}

void
pv_print_expr(struct pv_printer *p, const Node *node)
{
    if (node == NULL)
        pv_print_deny(p, "missing expression");
    else if (IsA(node, ColumnRef))
        pv_print_names(p, ((const ColumnRef *) node)->fields);
    else if (IsA(node, A_Const))
        print_const(p, (const A_Const *) node);
    else if (IsA(node, A_Expr))
        pv_print_a_expr(p, (const A_Expr *) node);
    else if (IsA(node, BoolExpr))
        print_bool_expr(p, (const BoolExpr *) node);
    else if (IsA(node, FuncCall))
        pv_print_call(p, (const FuncCall *) node);
    else if (IsA(node, TypeCast))
        print_cast(p, (const TypeCast *) node);
    else if (IsA(node, ParamRef))
        print_param(p, (const ParamRef *) node);
    else if (IsA(node, NullTest))
        print_tested(p, ((const NullTest *) node)->arg,
                     ((const NullTest *) node)->nulltesttype == IS_NULL ? " IS NULL" : " IS NOT NULL");
    else if (IsA(node, BooleanTest))
        print_tested(p, ((const BooleanTest *) node)->arg,
                     boolean_test_words(((const BooleanTest *) node)->booltesttype));
    else if (IsA(node, CaseExpr))
        print_case(p, (const CaseExpr *) node);
    else if (IsA(node, CoalesceExpr))
        print_called(p, "COALESCE(", ((const CoalesceExpr *) node)->args);
    else if (IsA(node, SubLink))
        print_sublink(p, (const SubLink *) node);
    else if (IsA(node, A_Indirection))
        print_indirection(p, (const A_Indirection *) node);
    else if (IsA(node, RowExpr))
        print_row(p, (const RowExpr *) node);
    else
        print_rare(p, node);
}
