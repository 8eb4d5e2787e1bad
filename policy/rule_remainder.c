#include <string.h>

#include "parser/rewrite.h"
#include "parser/walk.h"
#include "policy/rule_int.h"
#include "policy/views.h"

/*
 * suppression "remainder": groups below the threshold become one group. The level gets one more entry in FROM, the
 * groups as they were with a flag whether each has enough entities,
 *
 *   (SELECT ROW(d1, d2) AS "pgveil group", count(DISTINCT e) >= K AS "pgveil enough" FROM ... GROUP BY d1, d2 OFFSET 0)
 *
 * and groups by CASE WHEN "pgveil enough" THEN d END and the flag itself. Rows find their group by = of records, for
 * which two NULLs are equal.
 */

#define GROUPS "pgveil groups"
#define GROUP "pgveil group"
#define ENOUGH "pgveil enough"

/* GROUP BY's items as expressions over FROM; constants, which part nothing, left out. */
static List *
dimensions_of(const struct pv_rule_trial *rule, const struct pv_level *level)
{
    List *dimensions = NIL;
    ListCell *cell;

    foreach (cell, level->stmt->groupClause) {
        Node *item = lfirst(cell);
        const struct pv_reference *reference =
            IsA(item, ColumnRef) ? pv_resolution_reference(rule->resolution, (ColumnRef *) item) : NULL;

        if (IsA(item, A_Const) && ((A_Const *) item)->val.node.type == T_Integer)
            item = level->outputs[((A_Const *) item)->val.ival.ival - 1].target->val;
        else if (reference != NULL && reference->is_output)
            item = level->outputs[reference->output].target->val;
        if (IsA(item, RowExpr))
            dimensions = list_concat(dimensions, list_copy(((RowExpr *) item)->args));
        else if (!pv_rule_is_constant(item))
            dimensions = lappend(dimensions, item);
    }
    return dimensions;
}

/* Columns all written alias.column, so that equal ones are equal trees. */
static Node *
edit_qualify(void *context, Node *node, bool *is_entered)
{
    const struct pv_rule_trial *rule = context;
    const struct pv_reference *reference;
    ColumnRef *ref = (ColumnRef *) node;

    if (IsA(node, SelectStmt) || IsA(node, RangeSubselect))
        *is_entered = false;
    if (!IsA(node, ColumnRef))
        return node;
    reference = pv_resolution_reference(rule->resolution, ref);
    if (reference != NULL && !reference->is_output && reference->column.rte != NULL &&
        reference->column.rte->kind != PV_RTE_JOIN && reference->column.rte->alias != NULL &&
        reference->column.index != PV_WHOLE_ROW)
        ref->fields = list_make2(makeString(pstrdup(reference->column.rte->alias)),
                                 makeString(pstrdup(reference->column.rte->columns[reference->column.index])));
    return node;
}

static Node *
when_enough(Node *dimension)
{
    return pv_make_case(pv_make_column(GROUPS, ENOUGH), (Node *) copyObject(dimension), pv_make_null());
}

struct gather {
    const struct pv_rule_trial *rule;
    List *dimensions;
    enum pv_status status;
};

static Node *
edit_dimension(void *context, Node *node, bool *is_entered)
{
    struct gather *gather = context;
    ListCell *cell;

    if (IsA(node, SelectStmt)) {
        *is_entered = false;
        return node;
    }
    foreach (cell, gather->dimensions) {
        bool is_same = false;
        enum pv_status status = pv_tree_equal(lfirst(cell), node, &is_same);

        if (status != PV_OK)
            gather->status = status;
        if (is_same) {
            *is_entered = false;
            return when_enough(node);
        }
    }
    /* What an aggregate is over stays as it is. */
    if (IsA(node, FuncCall) && pv_rule_is_aggregate((FuncCall *) node))
        *is_entered = false;
    return node;
}

static Node *
make_row(List *fields)
{
    RowExpr *row = makeNode(RowExpr);

    row->args = fields;
    row->row_format = COERCE_EXPLICIT_CALL;
    row->location = -1;
    return (Node *) row;
}

static Node *
groups_of(const SelectStmt *stmt, List *dimensions, Node *enough)
{
    SelectStmt *groups = pv_make_select(
        list_make2(pv_make_target(GROUP, make_row(copyObject(dimensions))), pv_make_target(ENOUGH, enough)),
        copyObject(stmt->fromClause), copyObject(stmt->whereClause));

    groups->groupClause = copyObject(dimensions);
    pv_threshold_fence(groups);
    return pv_make_subselect(groups, pv_make_alias(GROUPS, NIL));
}

/* HAVING of a group that had enough by itself; the gathered one says first that something was suppressed. */
static Node *
having(const struct pv_rule_trial *rule, Node *passes)
{
    char schema[PV_VIEWS_NAME_SIZE];
    CaseExpr *choice;
    CaseWhen *second = makeNode(CaseWhen);

    if (passes == NULL)
        passes = pv_make_type_cast(pv_make_string("t"), "bool");
    pv_views_catalog_schema(rule->trial->caller->room->name, schema);
    choice = (CaseExpr *) pv_make_case(pv_make_column(GROUPS, ENOUGH), passes, (Node *) copyObject(passes));
    second->expr = (Expr *) pv_make_call(schema, PV_VIEWS_SUPPRESSED_FUNCTION, NIL);
    second->result = (Expr *) copyObject(passes);
    second->location = -1;
    choice->args = lappend(choice->args, second);
    return (Node *) choice;
}

static void
gather_sorts(struct gather *gather, SelectStmt *stmt)
{
    ListCell *cell;

    foreach (cell, stmt->sortClause) {
        SortBy *sort = lfirst(cell);
        const struct pv_reference *reference =
            IsA(sort->node, ColumnRef) ? pv_resolution_reference(gather->rule->resolution, (ColumnRef *) sort->node) : NULL;

        if (!IsA(sort->node, A_Const) && (reference == NULL || !reference->is_output))
            pv_tree_mutate(&sort->node, edit_dimension, gather);
    }
}

static bool
has_grouping_sets(const SelectStmt *stmt)
{
    ListCell *cell;

    foreach (cell, stmt->groupClause)
        if (IsA(lfirst(cell), GroupingSet))
            return true;
    return false;
}

enum pv_status
pv_rule_remainder(struct pv_rule_trial *rule, struct pv_level *level, Node *enough)
{
    SelectStmt *stmt = level->stmt;
    struct gather gather = {rule, NIL, PV_OK};
    List *items = NIL;
    ListCell *cell;

    if (stmt->groupClause == NIL)
        return PV_OK; /* one group alone: there is nothing to gather it with */
    if (has_grouping_sets(stmt))
        return pv_deny_question(rule->trial, PV_REASON_RULE, -1,
                                "GROUPING SETS, ROLLUP and CUBE cannot be combined with suppression \"remainder\" "
                                "(rule suppression).");
    pv_tree_mutate((Node **) (void *) &stmt->targetList, edit_qualify, rule);
    pv_tree_mutate((Node **) (void *) &stmt->groupClause, edit_qualify, rule);
    pv_tree_mutate(&stmt->havingClause, edit_qualify, rule);
    pv_tree_mutate((Node **) (void *) &stmt->sortClause, edit_qualify, rule);
    gather.dimensions = copyObject(dimensions_of(rule, level));
    if (gather.dimensions == NIL)
        return PV_OK;
    {
        Node *groups = groups_of(stmt, gather.dimensions, enough);
        Node *found = pv_make_operator("=", make_row(copyObject(gather.dimensions)), pv_make_column(GROUPS, GROUP));

        stmt->fromClause = lappend(stmt->fromClause, groups);
        stmt->whereClause = pv_make_and(stmt->whereClause, found);
    }
    foreach (cell, stmt->targetList)
        pv_tree_mutate(&((ResTarget *) lfirst(cell))->val, edit_dimension, &gather);
    pv_tree_mutate(&stmt->havingClause, edit_dimension, &gather);
    gather_sorts(&gather, stmt);
    foreach (cell, gather.dimensions)
        items = lappend(items, when_enough(lfirst(cell)));
    stmt->groupClause = lappend(items, pv_make_column(GROUPS, ENOUGH));
    stmt->havingClause = having(rule, stmt->havingClause);
    return gather.status;
}
