#include "parser/resolve.h"

#include <string.h>

/* The last name of a list that may hold stars; NULL when there is none. */
static const char *
last_name(const List *names)
{
    const ListCell *cell;
    const char *name = NULL;

    foreach (cell, names)
        if (IsA(lfirst(cell), String))
            name = strVal(lfirst(cell));
    return name;
}

/* A cast's own name is weak: what it casts goes first, and the outermost of several casts before the others. */
static const char *
name_below_casts(const Node *expr)
{
    const char *name;

    while (expr != NULL && IsA(expr, TypeCast))
        expr = (const Node *) ((const TypeCast *) expr)->arg;
    name = expr == NULL ? "?column?" : pv_default_column_name(expr);
    return strcmp(name, "case") == 0 ? "?column?" : name;
}

const char *
pv_default_column_name(const Node *expr)
{
    const char *inner;

    switch ((int) nodeTag(expr)) {
    case T_ColumnRef: {
        const char *name = last_name(((const ColumnRef *) expr)->fields);

        return name == NULL ? "?column?" : name;
    }
    case T_A_Indirection: {
        const char *name = last_name(((const A_Indirection *) expr)->indirection);

        return name != NULL ? name : pv_default_column_name(((const A_Indirection *) expr)->arg);
    }
    case T_FuncCall:
        return last_name(((const FuncCall *) expr)->funcname);
    case T_A_Expr:
        return ((const A_Expr *) expr)->kind == AEXPR_NULLIF ? "nullif" : "?column?";
    case T_TypeCast:
        inner = name_below_casts(expr);
        if (strcmp(inner, "?column?") != 0)
            return inner;
        return last_name(((const TypeCast *) expr)->typeName->names);
    case T_CollateClause:
        return pv_default_column_name(((const CollateClause *) expr)->arg);
    case T_GroupingFunc:
        return "grouping";
    case T_SubLink: {
        const SubLink *link = (const SubLink *) expr;
        const SelectStmt *select = (const SelectStmt *) link->subselect;

        if (link->subLinkType == EXISTS_SUBLINK)
            return "exists";
        if (link->subLinkType == ARRAY_SUBLINK)
            return "array";
        if (link->subLinkType != EXPR_SUBLINK)
            return "?column?";
        while (select->op != SETOP_NONE)
            select = select->larg;
        if (list_head(select->targetList) != NULL) {
            const ResTarget *target = lfirst(list_head(select->targetList));

            return target->name != NULL ? target->name : pv_default_column_name(target->val);
        }
        return "column1";
    }
    case T_CaseExpr: {
        const CaseExpr *choice = (const CaseExpr *) expr;

        inner = name_below_casts((const Node *) choice->defresult);
        return strcmp(inner, "?column?") == 0 ? "case" : inner;
    }
    case T_A_ArrayExpr:
        return "array";
    case T_RowExpr:
        return "row";
    case T_CoalesceExpr:
        return "coalesce";
    case T_MinMaxExpr:
        return ((const MinMaxExpr *) expr)->op == IS_GREATEST ? "greatest" : "least";
    case T_SQLValueFunction: {
        static const char *const names[] = {
            [SVFOP_CURRENT_DATE] = "current_date",
            [SVFOP_CURRENT_TIME] = "current_time",
            [SVFOP_CURRENT_TIME_N] = "current_time",
            [SVFOP_CURRENT_TIMESTAMP] = "current_timestamp",
            [SVFOP_CURRENT_TIMESTAMP_N] = "current_timestamp",
            [SVFOP_LOCALTIME] = "localtime",
            [SVFOP_LOCALTIME_N] = "localtime",
            [SVFOP_LOCALTIMESTAMP] = "localtimestamp",
            [SVFOP_LOCALTIMESTAMP_N] = "localtimestamp",
            [SVFOP_CURRENT_ROLE] = "current_role",
            [SVFOP_CURRENT_USER] = "current_user",
            [SVFOP_USER] = "user",
            [SVFOP_SESSION_USER] = "session_user",
            [SVFOP_CURRENT_CATALOG] = "current_catalog",
            [SVFOP_CURRENT_SCHEMA] = "current_schema",
        };

        return names[((const SQLValueFunction *) expr)->op];
    }
    default:
        return "?column?";
    }
}
