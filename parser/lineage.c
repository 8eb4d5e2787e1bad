#include <string.h>

#include "parser/resolve.h"
#include "parser/walk.h"
#include "proxy/base/limits.h"

/* From a column back to the base columns that it is made of. Levels are finite and acyclic but for recursion, which is cut. */

struct lineage {
    const struct pv_resolution *resolution;
    void (*visit)(void *context, struct pv_column_at base);
    void *context;
    unsigned depth, visits;
    enum pv_status status;
};

/* Queries that read each other twice, and so on, have more ways back than can be gone. */
#define VISITS_MAX 100000u

static void column_origins(struct lineage *lineage, struct pv_column_at column);

static enum pv_walk
visit_reference(void *context, Node *node, const struct pv_walk_at *at)
{
    struct lineage *lineage = context;
    const struct pv_reference *reference;

    (void) at;
    if (!IsA(node, ColumnRef))
        return PV_WALK_ON;
    reference = pv_resolution_reference(lineage->resolution, (ColumnRef *) node);
    if (reference == NULL)
        return PV_WALK_SKIP;
    if (reference->is_output) {
        const struct pv_output *output = &reference->owner->outputs[reference->output];

        if (output->expr == NULL)
            column_origins(lineage, output->column);
        else if (output->expr != node && lineage->depth < PV_QUERY_LEVELS_MAX) {
            lineage->depth++;
            if (lineage->status == PV_OK)
                lineage->status =
                    pv_tree_walk(output->expr, &pv_sql_limits_default, visit_reference, lineage, NULL);
            lineage->depth--;
        }
    } else {
        column_origins(lineage, reference->column);
    }
    return lineage->status == PV_OK ? PV_WALK_SKIP : PV_WALK_STOP;
}

static void
expression_origins(struct lineage *lineage, Node *expr)
{
    enum pv_status status = pv_tree_walk(expr, &pv_sql_limits_default, visit_reference, lineage, NULL);

    if (status != PV_OK)
        lineage->status = status;
}

static void
output_origins(struct lineage *lineage, const struct pv_level *level, uint32_t index)
{
    if (level->left != NULL) {
        output_origins(lineage, level->left, index);
        output_origins(lineage, level->right, index);
        return;
    }
    if (index >= level->output_count)
        return;
    if (level->stmt->valuesLists != NIL) {
        ListCell *cell;

        foreach (cell, level->stmt->valuesLists)
            if ((int) index < list_length(lfirst(cell)))
                expression_origins(lineage, list_nth(lfirst(cell), (int) index));
    } else if (level->outputs[index].expr == NULL) {
        column_origins(lineage, level->outputs[index].column);
    } else {
        expression_origins(lineage, level->outputs[index].expr);
    }
}

static void
column_origins(struct lineage *lineage, struct pv_column_at column)
{
    const struct pv_rte *rte = column.rte;

    if (lineage->status != PV_OK)
        return;
    if (++lineage->depth > PV_QUERY_LEVELS_MAX || ++lineage->visits > VISITS_MAX) {
        lineage->status = PV_DEPTH;
        return;
    }
    if (column.index == PV_WHOLE_ROW) {
        for (uint32_t i = 0; i < rte->column_count; i++)
            column_origins(lineage, (struct pv_column_at){column.rte, i});
    } else if (rte->kind == PV_RTE_JOIN) {
        if (rte->join_columns[column.index].left.rte != NULL)
            column_origins(lineage, rte->join_columns[column.index].left);
        if (rte->join_columns[column.index].right.rte != NULL)
            column_origins(lineage, rte->join_columns[column.index].right);
    } else if (rte->relation != NULL) {
        lineage->visit(lineage->context, column);
    } else if (rte->level != NULL) {
        output_origins(lineage, rte->level, column.index);
    } else if (rte->kind == PV_RTE_FUNCTION) {
        expression_origins(lineage, (Node *) ((RangeFunction *) rte->node)->functions);
    }
    lineage->depth--;
}

enum pv_status
pv_column_origins(const struct pv_resolution *resolution, struct pv_column_at column,
                  void (*visit)(void *context, struct pv_column_at base), void *context)
{
    struct lineage lineage = {resolution, visit, context, 0, 0, PV_OK};

    column_origins(&lineage, column);
    return lineage.status;
}

enum pv_status
pv_expression_origins(const struct pv_resolution *resolution, Node *expr,
                      void (*visit)(void *context, struct pv_column_at base), void *context)
{
    struct lineage lineage = {resolution, visit, context, 0, 0, PV_OK};

    expression_origins(&lineage, expr);
    return lineage.status;
}
