/*
 * Calls, windows, orderings, and type names. Types and functions that SQL writes with words of their
 * own (interval day to second, EXTRACT) are printed as the plain qualified names that the tree holds.
 */
#include "parser/print_int.h"

#include <string.h>

static void
put(struct pv_printer *p, const char *text)
{
    pv_buf_put_text(p->buf, text);
}

void
pv_print_type(struct pv_printer *p, const TypeName *type)
{
    if (type == NULL || type->typemod != -1) {
        pv_print_deny(p, "TypeName.typemod");
        return;
    }
    pv_print_names(p, type->names);
    if (type->typmods != NIL) {
        put(p, "(");
        pv_print_exprs(p, type->typmods);
        put(p, ")");
    }
    for (int i = 0; i < list_length(type->arrayBounds); i++) {
        const Integer *bound = list_nth(type->arrayBounds, i);

        if (!IsA(bound, Integer) || bound->ival < -1) {
            pv_print_deny(p, "TypeName.arrayBounds");
        } else if (bound->ival == -1) {
            put(p, "[]");
        } else {
            put(p, "[");
            pv_buf_put_decimal(p->buf, bound->ival);
            put(p, "]");
        }
    }
}

static void
print_sort(struct pv_printer *p, const SortBy *sort)
{
    if (!IsA(sort, SortBy)) {
        pv_print_deny(p, "sort clause");
        return;
    }
    pv_print_expr(p, sort->node);
    switch (sort->sortby_dir) {
    case SORTBY_DEFAULT:
        break;
    case SORTBY_ASC:
        put(p, " ASC");
        break;
    case SORTBY_DESC:
        put(p, " DESC");
        break;
    case SORTBY_USING:
        put(p, " USING ");
        pv_print_operator(p, sort->useOp);
        break;
    }
    if (sort->sortby_nulls == SORTBY_NULLS_FIRST)
        put(p, " NULLS FIRST");
    else if (sort->sortby_nulls == SORTBY_NULLS_LAST)
        put(p, " NULLS LAST");
}

void
pv_print_order(struct pv_printer *p, const List *order)
{
    put(p, "ORDER BY ");
    for (int i = 0; i < list_length(order); i++) {
        if (i > 0)
            put(p, ", ");
        print_sort(p, list_nth(order, i));
    }
}

static void
print_bound(struct pv_printer *p, int options, const Node *offset, bool start)
{
    static const struct {
        int start;
        int end;
        const char *words;
        bool offset;
    } bounds[] = {
        {FRAMEOPTION_START_UNBOUNDED_PRECEDING, FRAMEOPTION_END_UNBOUNDED_PRECEDING, "UNBOUNDED PRECEDING", false},
        {FRAMEOPTION_START_UNBOUNDED_FOLLOWING, FRAMEOPTION_END_UNBOUNDED_FOLLOWING, "UNBOUNDED FOLLOWING", false},
        {FRAMEOPTION_START_CURRENT_ROW, FRAMEOPTION_END_CURRENT_ROW, "CURRENT ROW", false},
        {FRAMEOPTION_START_OFFSET_PRECEDING, FRAMEOPTION_END_OFFSET_PRECEDING, " PRECEDING", true},
        {FRAMEOPTION_START_OFFSET_FOLLOWING, FRAMEOPTION_END_OFFSET_FOLLOWING, " FOLLOWING", true},
    };

    for (size_t i = 0; i < PV_COUNT_OF(bounds); i++) {
        if ((options & (start ? bounds[i].start : bounds[i].end)) == 0)
            continue;
        if (bounds[i].offset)
            pv_print_expr(p, offset);
        put(p, bounds[i].words);
        return;
    }
    pv_print_deny(p, "WindowDef.frameOptions");
}

static void
print_frame(struct pv_printer *p, const WindowDef *window)
{
    int options = window->frameOptions;

    if ((options & FRAMEOPTION_RANGE) != 0)
        put(p, "RANGE ");
    else if ((options & FRAMEOPTION_ROWS) != 0)
        put(p, "ROWS ");
    else
        put(p, "GROUPS ");
    if ((options & FRAMEOPTION_BETWEEN) != 0)
        put(p, "BETWEEN ");
    print_bound(p, options, window->startOffset, true);
    if ((options & FRAMEOPTION_BETWEEN) != 0) {
        put(p, " AND ");
        print_bound(p, options, window->endOffset, false);
    }
    if ((options & FRAMEOPTION_EXCLUDE_CURRENT_ROW) != 0)
        put(p, " EXCLUDE CURRENT ROW");
    else if ((options & FRAMEOPTION_EXCLUDE_GROUP) != 0)
        put(p, " EXCLUDE GROUP");
    else if ((options & FRAMEOPTION_EXCLUDE_TIES) != 0)
        put(p, " EXCLUDE TIES");
}

void
pv_print_window(struct pv_printer *p, const WindowDef *window)
{
    const char *space = "";

    put(p, "(");
    if (window->refname != NULL) {
        pv_sql_quote_identifier(p->buf, window->refname);
        space = " ";
    }
    if (window->partitionClause != NIL) {
        put(p, space);
        put(p, "PARTITION BY ");
        pv_print_exprs(p, window->partitionClause);
        space = " ";
    }
    if (window->orderClause != NIL) {
        put(p, space);
        pv_print_order(p, window->orderClause);
        space = " ";
    }
    if ((window->frameOptions & FRAMEOPTION_NONDEFAULT) != 0) {
        put(p, space);
        print_frame(p, window);
    }
    put(p, ")");
}

static void
print_arg(struct pv_printer *p, const Node *arg)
{
    const NamedArgExpr *named = (const NamedArgExpr *) arg;

    if (arg == NULL || !IsA(arg, NamedArgExpr)) {
        pv_print_expr(p, arg);
        return;
    }
    if (named->argnumber != -1 || named->name == NULL) {
        pv_print_deny(p, "NamedArgExpr.argnumber");
        return;
    }
    pv_sql_quote_identifier(p->buf, named->name);
    put(p, " => ");
    pv_print_expr(p, (const Node *) named->arg);
}

static void
print_args(struct pv_printer *p, const FuncCall *call)
{
    int count = list_length(call->args);

    if (call->agg_star && (count > 0 || call->agg_distinct || call->agg_order != NIL))
        pv_print_deny(p, "FuncCall.agg_star");
    put(p, call->agg_star ? "*" : call->agg_distinct ? "DISTINCT " : "");
    for (int i = 0; i < count; i++) {
        if (i > 0)
            put(p, ", ");
        if (call->func_variadic && i == count - 1)
            put(p, "VARIADIC ");
        print_arg(p, list_nth(call->args, i));
    }
    if (call->agg_order != NIL && !call->agg_within_group) {
        put(p, " ");
        pv_print_order(p, call->agg_order);
    }
}

static void
print_over(struct pv_printer *p, const WindowDef *over)
{
    put(p, " OVER ");
    if (over->name != NULL)
        pv_sql_quote_identifier(p->buf, over->name);
    else
        pv_print_window(p, over);
}

void
pv_print_call(struct pv_printer *p, const FuncCall *call)
{
    pv_print_names(p, call->funcname);
    put(p, "(");
    print_args(p, call);
    put(p, ")");
    if (call->agg_within_group) {
        put(p, " WITHIN GROUP (");
        pv_print_order(p, call->agg_order);
        put(p, ")");
    }
    if (call->agg_filter != NULL) {
        put(p, " FILTER (WHERE ");
        pv_print_expr(p, call->agg_filter);
        put(p, ")");
    }
    if (call->over != NULL)
        print_over(p, call->over);
}

void
pv_print_sql_value(struct pv_printer *p, const SQLValueFunction *value)
{
    static const struct {
        SQLValueFunctionOp op;
        const char *words;
        bool precise;
    } names[] = {
        {SVFOP_CURRENT_DATE, "CURRENT_DATE", false},
        {SVFOP_CURRENT_TIME, "CURRENT_TIME", false},
        {SVFOP_CURRENT_TIME_N, "CURRENT_TIME", true},
        {SVFOP_CURRENT_TIMESTAMP, "CURRENT_TIMESTAMP", false},
        {SVFOP_CURRENT_TIMESTAMP_N, "CURRENT_TIMESTAMP", true},
        {SVFOP_LOCALTIME, "LOCALTIME", false},
        {SVFOP_LOCALTIME_N, "LOCALTIME", true},
        {SVFOP_LOCALTIMESTAMP, "LOCALTIMESTAMP", false},
        {SVFOP_LOCALTIMESTAMP_N, "LOCALTIMESTAMP", true},
        {SVFOP_CURRENT_ROLE, "CURRENT_ROLE", false},
        {SVFOP_CURRENT_USER, "CURRENT_USER", false},
        {SVFOP_USER, "USER", false},
        {SVFOP_SESSION_USER, "SESSION_USER", false},
        {SVFOP_CURRENT_CATALOG, "CURRENT_CATALOG", false},
        {SVFOP_CURRENT_SCHEMA, "CURRENT_SCHEMA", false},
    };

    for (size_t i = 0; i < PV_COUNT_OF(names); i++) {
        if (names[i].op != value->op)
            continue;
        put(p, names[i].words);
        if (names[i].precise) {
            put(p, "(");
            pv_buf_put_decimal(p->buf, value->typmod);
            put(p, ")");
        }
        return;
    }
    pv_print_deny(p, "SQLValueFunction.op");
}
