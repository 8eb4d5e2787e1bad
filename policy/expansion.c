#include <string.h>

#include "parser/walk.h"
#include "policy/decide_int.h"
#include "policy/rule_int.h"
#include "proxy/base/limits.h"

/*
 * How large a statement is with every derived column written out where it is used. The planner writes sub-queries' columns
 * out so, and whoever follows a column to its origins walks as far: ten uses of a column of ten uses of a column, and so
 * on, are a short text and no end of work (ATTACKS: P14). Each column is sized once.
 */

struct sizing {
    struct pv_trial *trial;
    const struct pv_resolution *resolution;
    uint64_t **sizes; /* by the level's number and the output's; 0: not known yet */
    enum pv_status status;
};

struct walked {
    struct sizing *sizing;
    uint64_t size;
};

#define SIZE_BOUND (UINT64_C(1) << 40)

static uint64_t
add(uint64_t a, uint64_t b)
{
    return a + b > SIZE_BOUND ? SIZE_BOUND : a + b;
}

static uint64_t size_of_output(struct sizing *sizing, const struct pv_level *level, uint32_t index);

static uint64_t
size_of_column(struct sizing *sizing, struct pv_column_at column)
{
    const struct pv_rte *rte = column.rte;
    uint64_t size = 1;

    if (rte == NULL)
        return 1;
    if (column.index == PV_WHOLE_ROW) {
        for (uint32_t i = 0; i < rte->column_count; i++)
            size = add(size, size_of_column(sizing, (struct pv_column_at){column.rte, i}));
    } else if (rte->kind == PV_RTE_JOIN && column.index < rte->column_count) {
        size = add(size_of_column(sizing, rte->join_columns[column.index].left),
                   size_of_column(sizing, rte->join_columns[column.index].right));
    } else if (rte->level != NULL) {
        size = size_of_output(sizing, rte->level, column.index);
    }
    return size;
}

static enum pv_walk
visit(void *context, Node *node, const struct pv_walk_at *at)
{
    struct walked *walked = context;

    (void) at;
    walked->size = add(walked->size, 1);
    if (IsA(node, A_Const) && !((A_Const *) node)->isnull && ((A_Const *) node)->val.node.type == T_String) {
        /* A text that is repeated is long, too. */
        walked->size = add(walked->size, strlen(((A_Const *) node)->val.sval.sval) / 8);
    } else if (IsA(node, ColumnRef)) {
        const struct pv_reference *reference = pv_resolution_reference(walked->sizing->resolution, (ColumnRef *) node);

        if (reference != NULL && reference->is_output)
            walked->size = add(walked->size, size_of_output(walked->sizing, reference->owner, reference->output));
        else if (reference != NULL)
            walked->size = add(walked->size, size_of_column(walked->sizing, reference->column));
        return PV_WALK_SKIP;
    }
    return IsA(node, SelectStmt) ? PV_WALK_SKIP : PV_WALK_ON;
}

static uint64_t
size_of_output(struct sizing *sizing, const struct pv_level *level, uint32_t index)
{
    uint64_t *known = sizing->sizes[pv_level_number(sizing->resolution, level)];
    struct walked walked = {sizing, 0};
    enum pv_status status = PV_OK;

    if (index >= level->output_count)
        return 1;
    if (known[index] != 0)
        return known[index];
    known[index] = 1; /* what a recursive query finds of itself */
    if (level->left != NULL)
        walked.size = add(size_of_output(sizing, level->left, index), size_of_output(sizing, level->right, index));
    else if (level->outputs[index].expr == NULL)
        walked.size = size_of_column(sizing, level->outputs[index].column);
    else
        status = pv_tree_walk(level->outputs[index].expr, &pv_sql_limits_default, visit, &walked, NULL);
    if (status != PV_OK)
        sizing->status = status;
    known[index] = add(walked.size, 1);
    return known[index];
}

enum pv_status
pv_check_expansion(struct pv_trial *trial, const struct pv_resolution *resolution)
{
    struct sizing sizing = {trial, resolution, NULL, PV_OK};
    uint64_t size = 0;

    sizing.sizes = pv_arena_alloc(trial->arena, (resolution->level_count + 1) * sizeof(*sizing.sizes));
    if (sizing.sizes == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < resolution->level_count; i++) {
        sizing.sizes[i] = pv_arena_alloc(trial->arena, (resolution->levels[i]->output_count + 1) * sizeof(uint64_t));
        if (sizing.sizes[i] == NULL)
            return PV_NOMEM;
    }
    for (size_t i = 0; i < resolution->reference_count && sizing.status == PV_OK; i++)
        if (!resolution->references[i].is_output)
            size = add(size, size_of_column(&sizing, resolution->references[i].column));
    /* Columns that a star gives have no name of their own in the text. */
    for (size_t i = 0; i < resolution->level_count && sizing.status == PV_OK; i++)
        for (uint32_t k = 0; k < resolution->levels[i]->output_count; k++)
            if (resolution->levels[i]->left == NULL && resolution->levels[i]->outputs[k].expr == NULL)
                size = add(size, size_of_output(&sizing, resolution->levels[i], k));
    if (sizing.status != PV_OK && sizing.status != PV_DEPTH && sizing.status != PV_LIMIT)
        return sizing.status;
    if (sizing.status != PV_OK || size > PV_TREE_NODES_MAX)
        return pv_deny(trial, PV_REASON_TOO_DEEP, "54001", -1,
                       "statement is nested too deeply or has too many parts once its sub-queries' columns are written out");
    return PV_OK;
}
