/*
 * SELECT in all its parts, and what stands in FROM.
 */
#include "parser/print_int.h"

#include <string.h>

static void
put(struct pv_printer *p, const char *text)
{
    pv_buf_put_text(p->buf, text);
}

static void
print_targets(struct pv_printer *p, const List *targets)
{
    for (int i = 0; i < list_length(targets); i++) {
        const ResTarget *target = list_nth(targets, i);

        if (!IsA(target, ResTarget)) {
            pv_print_deny(p, "SelectStmt.targetList");
            return;
        }
        put(p, i > 0 ? ", " : " ");
        pv_print_expr(p, target->val);
        if (target->name != NULL) {
            put(p, " AS ");
            pv_sql_quote_identifier(p->buf, target->name);
        }
    }
}

static void
print_distinct(struct pv_printer *p, const List *distinct)
{
    if (distinct == NIL)
        return;
    put(p, " DISTINCT");
    if (linitial(distinct) == NULL)
        return;
    put(p, " ON (");
    pv_print_exprs(p, distinct);
    put(p, ")");
}

static void
print_columns(struct pv_printer *p, const List *columns)
{
    put(p, " (");
    pv_print_name_list(p, columns);
    put(p, ")");
}

static void
print_alias(struct pv_printer *p, const Alias *alias)
{
    if (alias == NULL)
        return;
    put(p, " AS ");
    pv_sql_quote_identifier(p->buf, alias->aliasname);
    if (alias->colnames != NIL)
        print_columns(p, alias->colnames);
}

static void
print_relation_name(struct pv_printer *p, const RangeVar *rel)
{
    if (rel->relpersistence != 'p' || rel->relname == NULL || (rel->catalogname != NULL && rel->schemaname == NULL))
        pv_print_deny(p, "RangeVar.relpersistence");
    if (rel->catalogname != NULL) {
        pv_sql_quote_identifier(p->buf, rel->catalogname);
        put(p, ".");
    }
    if (p->denied == NULL)
        pv_sql_quote_qualified(p->buf, rel->schemaname, rel->relname);
}

static void
print_relation(struct pv_printer *p, const RangeVar *rel)
{
    if (!rel->inh)
        put(p, "ONLY ");
    print_relation_name(p, rel);
    print_alias(p, rel->alias);
}

static void
print_column_definitions(struct pv_printer *p, const List *columns)
{
    put(p, " (");
    for (int i = 0; i < list_length(columns); i++) {
        const ColumnDef *column = list_nth(columns, i);

        if (!IsA(column, ColumnDef) || !column->is_local || column->colname == NULL) {
            pv_print_deny(p, "ColumnDef");
            return;
        }
        put(p, i > 0 ? ", " : "");
        pv_sql_quote_identifier(p->buf, column->colname);
        put(p, " ");
        pv_print_type(p, column->typeName);
        if (column->collClause != NULL) {
            put(p, " COLLATE ");
            pv_print_names(p, column->collClause->collname);
        }
    }
    put(p, ")");
}

/* One function of FROM: a two-element list of the call and its column definitions. */
static void
print_from_call(struct pv_printer *p, const List *pair, bool rows_from)
{
    if (pair == NULL || !IsA(pair, List) || list_length(pair) != 2) {
        pv_print_deny(p, "RangeFunction.functions");
        return;
    }
    pv_print_expr(p, linitial(pair));
    if (lsecond(pair) == NULL)
        return;
    if (!rows_from || !IsA(lsecond(pair), List)) {
        pv_print_deny(p, "RangeFunction.functions");
        return;
    }
    put(p, " AS");
    print_column_definitions(p, lsecond(pair));
}

static void
print_range_function(struct pv_printer *p, const RangeFunction *range)
{
    if (range->functions == NIL || (!range->is_rowsfrom && list_length(range->functions) != 1))
        pv_print_deny(p, "RangeFunction.functions");
    put(p, range->lateral ? "LATERAL " : "");
    put(p, range->is_rowsfrom ? "ROWS FROM(" : "");
    for (int i = 0; i < list_length(range->functions); i++) {
        put(p, i > 0 ? ", " : "");
        print_from_call(p, list_nth(range->functions, i), range->is_rowsfrom);
    }
    put(p, range->is_rowsfrom ? ")" : "");
    put(p, range->ordinality ? " WITH ORDINALITY" : "");
    if (range->coldeflist == NIL) {
        print_alias(p, range->alias);
        return;
    }
    put(p, " AS");
    if (range->alias != NULL) {
        if (range->alias->colnames != NIL)
            pv_print_deny(p, "RangeFunction.alias");
        put(p, " ");
        pv_sql_quote_identifier(p->buf, range->alias->aliasname);
    }
    print_column_definitions(p, range->coldeflist);
}

static void
print_range_subselect(struct pv_printer *p, const RangeSubselect *range)
{
    if (range->subquery == NULL || !IsA(range->subquery, SelectStmt)) {
        pv_print_deny(p, "RangeSubselect.subquery");
        return;
    }
    put(p, range->lateral ? "LATERAL (" : "(");
    pv_print_select(p, (const SelectStmt *) range->subquery);
    put(p, ")");
    print_alias(p, range->alias);
}

static void
print_sample(struct pv_printer *p, const RangeTableSample *sample)
{
    if (sample->relation == NULL || !IsA(sample->relation, RangeVar)) {
        pv_print_deny(p, "RangeTableSample.relation");
        return;
    }
    print_relation(p, (const RangeVar *) sample->relation);
    put(p, " TABLESAMPLE ");
    pv_print_names(p, sample->method);
    put(p, "(");
    pv_print_exprs(p, sample->args);
    put(p, ")");
    if (sample->repeatable != NULL) {
        put(p, " REPEATABLE (");
        pv_print_expr(p, sample->repeatable);
        put(p, ")");
    }
}

static const char *
join_words(const JoinExpr *join)
{
    bool conditional = join->isNatural || join->usingClause != NIL || join->quals != NULL;

    if ((unsigned) join->jointype == JOIN_LEFT)
        return "LEFT JOIN ";
    if ((unsigned) join->jointype == JOIN_FULL)
        return "FULL JOIN ";
    if ((unsigned) join->jointype == JOIN_RIGHT)
        return "RIGHT JOIN ";
    if ((unsigned) join->jointype != JOIN_INNER)
        return NULL;
    return conditional ? "JOIN " : "CROSS JOIN ";
}

static bool
is_bare_join(const Node *node)
{
    return node != NULL && IsA(node, JoinExpr) && ((const JoinExpr *) node)->alias == NULL;
}

/* A join without its own alias and parentheses. */
static void
print_join(struct pv_printer *p, const JoinExpr *join)
{
    if (join_words(join) == NULL) {
        pv_print_deny(p, "JoinExpr.jointype");
        return;
    }
    /* Joins group to the left, so there a bare join needs no parentheses. */
    if (is_bare_join(join->larg))
        print_join(p, (const JoinExpr *) join->larg);
    else
        pv_print_from_item(p, join->larg);
    put(p, join->isNatural ? " NATURAL " : " ");
    put(p, join_words(join));
    pv_print_from_item(p, join->rarg);
    if (join->usingClause != NIL) {
        put(p, " USING");
        print_columns(p, join->usingClause);
        if (join->join_using_alias != NULL) {
            put(p, " AS ");
            pv_sql_quote_identifier(p->buf, join->join_using_alias->aliasname);
        }
    }
    if (join->quals != NULL) {
        put(p, " ON ");
        pv_print_expr(p, join->quals);
    }
}

void
pv_print_from_item(struct pv_printer *p, const Node *item)
{
    if (item == NULL) {
        pv_print_deny(p, "missing FROM item");
    } else if (IsA(item, RangeVar)) {
        print_relation(p, (const RangeVar *) item);
    } else if (IsA(item, RangeSubselect)) {
        print_range_subselect(p, (const RangeSubselect *) item);
    } else if (IsA(item, RangeFunction)) {
        print_range_function(p, (const RangeFunction *) item);
    } else if (IsA(item, RangeTableSample)) {
        print_sample(p, (const RangeTableSample *) item);
    } else if (IsA(item, JoinExpr)) {
        put(p, "(");
        print_join(p, (const JoinExpr *) item);
        put(p, ")");
        print_alias(p, ((const JoinExpr *) item)->alias);
    } else {
        pv_print_deny(p, "FROM item");
    }
}

static void
print_from(struct pv_printer *p, const List *from)
{
    for (int i = 0; i < list_length(from); i++) {
        put(p, i > 0 ? ", " : " FROM ");
        if (is_bare_join(list_nth(from, i)))
            print_join(p, list_nth(from, i));
        else
            pv_print_from_item(p, list_nth(from, i));
    }
}

static void print_groups(struct pv_printer *p, const List *groups);

static void
print_grouping_set(struct pv_printer *p, const GroupingSet *set)
{
    switch (set->kind) {
    case GROUPING_SET_EMPTY:
        put(p, "()");
        return;
    case GROUPING_SET_ROLLUP:
        put(p, "ROLLUP (");
        break;
    case GROUPING_SET_CUBE:
        put(p, "CUBE (");
        break;
    case GROUPING_SET_SETS:
        put(p, "GROUPING SETS (");
        break;
    case GROUPING_SET_SIMPLE:
        pv_print_deny(p, "GroupingSet.kind");
        return;
    }
    print_groups(p, set->content);
    put(p, ")");
}

static void
print_groups(struct pv_printer *p, const List *groups)
{
    for (int i = 0; i < list_length(groups); i++) {
        const Node *group = list_nth(groups, i);

        put(p, i > 0 ? ", " : "");
        if (group != NULL && IsA(group, GroupingSet))
            print_grouping_set(p, (const GroupingSet *) group);
        else
            pv_print_expr(p, group);
    }
}

static void
print_windows(struct pv_printer *p, const List *windows)
{
    for (int i = 0; i < list_length(windows); i++) {
        const WindowDef *window = list_nth(windows, i);

        if (!IsA(window, WindowDef) || window->name == NULL) {
            pv_print_deny(p, "SelectStmt.windowClause");
            return;
        }
        put(p, i > 0 ? ", " : " WINDOW ");
        pv_sql_quote_identifier(p->buf, window->name);
        put(p, " AS ");
        pv_print_window(p, window);
    }
}

static void
print_leaf(struct pv_printer *p, const SelectStmt *stmt)
{
    put(p, "SELECT");
    print_distinct(p, stmt->distinctClause);
    print_targets(p, stmt->targetList);
    print_from(p, stmt->fromClause);
    if (stmt->whereClause != NULL) {
        put(p, " WHERE ");
        pv_print_expr(p, stmt->whereClause);
    }
    if (stmt->groupClause != NIL) {
        put(p, stmt->groupDistinct ? " GROUP BY DISTINCT " : " GROUP BY ");
        print_groups(p, stmt->groupClause);
    }
    if (stmt->havingClause != NULL) {
        put(p, " HAVING ");
        pv_print_expr(p, stmt->havingClause);
    }
    print_windows(p, stmt->windowClause);
}

static void
print_values(struct pv_printer *p, const List *rows)
{
    put(p, "VALUES ");
    for (int i = 0; i < list_length(rows); i++) {
        const List *row = list_nth(rows, i);

        if (row == NULL || !IsA(row, List)) {
            pv_print_deny(p, "SelectStmt.valuesLists");
            return;
        }
        put(p, i > 0 ? ", (" : "(");
        pv_print_exprs(p, row);
        put(p, ")");
    }
}

static const char *
set_operation_words(SetOperation op)
{
    switch (op) {
    case SETOP_UNION:
        return " UNION ";
    case SETOP_INTERSECT:
        return " INTERSECT ";
    case SETOP_EXCEPT:
        return " EXCEPT ";
    case SETOP_NONE:
        break;
    }
    return NULL;
}

static bool
has_tail(const SelectStmt *stmt)
{
    return stmt->sortClause != NIL || stmt->limitOffset != NULL || stmt->limitCount != NULL ||
           stmt->lockingClause != NIL || stmt->withClause != NULL;
}

/* Set operations group to the left, INTERSECT before the others. */
static bool
may_stand_bare(const SelectStmt *above, const SelectStmt *left)
{
    return left != NULL && left->op != SETOP_NONE && !has_tail(left) &&
           (above->op == SETOP_INTERSECT) == (left->op == SETOP_INTERSECT);
}

static void
print_set_operation(struct pv_printer *p, const SelectStmt *stmt)
{
    if (stmt->larg == NULL || stmt->rarg == NULL || set_operation_words(stmt->op) == NULL) {
        pv_print_deny(p, "SelectStmt.op");
        return;
    }
    if (may_stand_bare(stmt, stmt->larg)) {
        print_set_operation(p, stmt->larg);
    } else {
        put(p, "(");
        pv_print_select(p, stmt->larg);
        put(p, ")");
    }
    put(p, set_operation_words(stmt->op));
    put(p, stmt->all ? "ALL (" : "(");
    pv_print_select(p, stmt->rarg);
    put(p, ")");
}

void
pv_print_with(struct pv_printer *p, const WithClause *with)
{
    put(p, with->recursive ? "WITH RECURSIVE " : "WITH ");
    for (int i = 0; i < list_length(with->ctes); i++) {
        const CommonTableExpr *cte = list_nth(with->ctes, i);

        if (!IsA(cte, CommonTableExpr) || cte->ctequery == NULL || !IsA(cte->ctequery, SelectStmt)) {
            pv_print_deny(p, "CommonTableExpr.ctequery");
            return;
        }
        put(p, i > 0 ? ", " : "");
        pv_sql_quote_identifier(p->buf, cte->ctename);
        if (cte->aliascolnames != NIL)
            print_columns(p, cte->aliascolnames);
        put(p, " AS ");
        if (cte->ctematerialized == CTEMaterializeAlways)
            put(p, "MATERIALIZED ");
        else if (cte->ctematerialized == CTEMaterializeNever)
            put(p, "NOT MATERIALIZED ");
        put(p, "(");
        pv_print_select(p, (const SelectStmt *) cte->ctequery);
        put(p, ")");
    }
    put(p, " ");
}

static void
print_limit(struct pv_printer *p, const SelectStmt *stmt)
{
    if (stmt->limitOffset != NULL) {
        put(p, " OFFSET ");
        pv_print_expr(p, stmt->limitOffset);
    }
    if (stmt->limitCount == NULL)
        return;
    if (stmt->limitOption == LIMIT_OPTION_WITH_TIES) {
        put(p, " FETCH FIRST ");
        pv_print_expr(p, stmt->limitCount);
        put(p, " ROWS WITH TIES");
    } else {
        put(p, " LIMIT ");
        pv_print_expr(p, stmt->limitCount);
    }
}

static const char *
lock_words(LockClauseStrength strength)
{
    switch (strength) {
    case LCS_FORKEYSHARE:
        return " FOR KEY SHARE";
    case LCS_FORSHARE:
        return " FOR SHARE";
    case LCS_FORNOKEYUPDATE:
        return " FOR NO KEY UPDATE";
    case LCS_FORUPDATE:
        return " FOR UPDATE";
    case LCS_NONE:
        break;
    }
    return NULL;
}

static void
print_lock(struct pv_printer *p, const LockingClause *lock)
{
    if (!IsA(lock, LockingClause) || lock_words(lock->strength) == NULL) {
        pv_print_deny(p, "SelectStmt.lockingClause");
        return;
    }
    put(p, lock_words(lock->strength));
    for (int i = 0; i < list_length(lock->lockedRels); i++) {
        const RangeVar *rel = list_nth(lock->lockedRels, i);

        if (!IsA(rel, RangeVar) || rel->alias != NULL) {
            pv_print_deny(p, "LockingClause.lockedRels");
            return;
        }
        put(p, i > 0 ? ", " : " OF ");
        print_relation_name(p, rel);
    }
    if (lock->waitPolicy == LockWaitError)
        put(p, " NOWAIT");
    else if (lock->waitPolicy == LockWaitSkip)
        put(p, " SKIP LOCKED");
}

void
pv_print_select(struct pv_printer *p, const SelectStmt *stmt)
{
    if (stmt->withClause != NULL)
        pv_print_with(p, stmt->withClause);
    if (stmt->op != SETOP_NONE)
        print_set_operation(p, stmt);
    else if (stmt->valuesLists != NIL)
        print_values(p, stmt->valuesLists);
    else
        print_leaf(p, stmt);
    if (stmt->sortClause != NIL) {
        put(p, " ");
        pv_print_order(p, stmt->sortClause);
    }
    print_limit(p, stmt);
    for (int i = 0; i < list_length(stmt->lockingClause); i++)
        print_lock(p, list_nth(stmt->lockingClause, i));
}
