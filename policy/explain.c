#include <string.h>

#include "parser/walk.h"
#include "policy/rule_int.h"
#include "proxy/base/limits.h"

/* What `pgveil explain` tells of a statement that resolves: where each output column comes from, and how. */

const char *
pv_lineage_how_name(enum pv_lineage_how how)
{
    static const char *const names[] = {[PV_LINEAGE_CONSTANT] = "constant",
                                        [PV_LINEAGE_PLAIN] = "plain",
                                        [PV_LINEAGE_EXPRESSION] = "expression",
                                        [PV_LINEAGE_GROUPED] = "grouped",
                                        [PV_LINEAGE_AGGREGATED] = "aggregated"};

    return names[how];
}

struct how_visit {
    const struct pv_resolution *resolution;
    enum pv_lineage_how how;
    unsigned depth;
};

static enum pv_lineage_how how_output(const struct pv_resolution *resolution, const struct pv_level *level,
                                      uint32_t index, unsigned depth);

static enum pv_lineage_how
stronger(enum pv_lineage_how a, enum pv_lineage_how b)
{
    return a > b ? a : b;
}

static enum pv_lineage_how
how_column(const struct pv_resolution *resolution, struct pv_column_at column, unsigned depth)
{
    const struct pv_rte *rte = column.rte;

    if (depth > PV_QUERY_LEVELS_MAX || column.index == PV_WHOLE_ROW)
        return PV_LINEAGE_EXPRESSION;
    if (rte->kind == PV_RTE_JOIN) {
        const struct pv_join_column *at = &rte->join_columns[column.index];

        return how_column(resolution, at->left.rte != NULL ? at->left : at->right, depth + 1);
    }
    if (rte->relation != NULL)
        return PV_LINEAGE_PLAIN;
    return rte->level == NULL ? PV_LINEAGE_EXPRESSION : how_output(resolution, rte->level, column.index, depth + 1);
}

static enum pv_walk
visit_how(void *context, Node *node, const struct pv_walk_at *at)
{
    struct how_visit *visit = context;
    const struct pv_reference *reference;

    (void) at;
    if (!IsA(node, ColumnRef))
        return PV_WALK_ON;
    reference = pv_resolution_reference(visit->resolution, (ColumnRef *) node);
    if (reference != NULL && !reference->is_output)
        visit->how = stronger(visit->how,
                              stronger(PV_LINEAGE_EXPRESSION, how_column(visit->resolution, reference->column, visit->depth)));
    return PV_WALK_SKIP;
}

static enum pv_lineage_how
how_output(const struct pv_resolution *resolution, const struct pv_level *level, uint32_t index, unsigned depth)
{
    const struct pv_output *output;
    enum pv_lineage_how how;

    if (depth > PV_QUERY_LEVELS_MAX)
        return PV_LINEAGE_EXPRESSION;
    if (level->left != NULL)
        return stronger(how_output(resolution, level->left, index, depth + 1),
                        how_output(resolution, level->right, index, depth + 1));
    if (index >= level->output_count)
        return PV_LINEAGE_CONSTANT;
    output = &level->outputs[index];
    if (output->expr == NULL) {
        how = how_column(resolution, output->column, depth + 1);
    } else if (pv_tree_has_aggregate(output->expr)) {
        return PV_LINEAGE_AGGREGATED;
    } else {
        const struct pv_reference *reference =
            IsA(output->expr, ColumnRef) ? pv_resolution_reference(resolution, (ColumnRef *) output->expr) : NULL;
        struct how_visit visit = {resolution, PV_LINEAGE_CONSTANT, depth + 1};

        if (reference != NULL && !reference->is_output)
            how = how_column(resolution, reference->column, depth + 1);
        else
            how = pv_tree_walk(output->expr, &pv_sql_limits_default, visit_how, &visit, NULL) == PV_OK
                      ? visit.how
                      : PV_LINEAGE_EXPRESSION;
    }
    return how != PV_LINEAGE_CONSTANT && pv_level_aggregates(level) ? stronger(how, PV_LINEAGE_GROUPED) : how;
}

/* ---- columns --------------------------------------------------------------------------- */

struct column_list {
    struct pv_arena *arena;
    const char **names;
    size_t count, size;
    bool is_out_of_memory;
};

static void
add_column(void *context, struct pv_column_at base)
{
    struct column_list *list = context;
    const struct pv_relation *relation = base.rte->relation;
    const char *name;

    if (relation == NULL)
        return;
    name = base.index == PV_WHOLE_ROW || base.index >= relation->column_count
               ? pv_arena_printf(list->arena, "%s.%s", relation->schema, relation->name)
               : pv_arena_printf(list->arena, "%s.%s.%s", relation->schema, relation->name, relation->columns[base.index]);
    if (name != NULL)
        for (size_t i = 0; i < list->count; i++)
            if (strcmp(list->names[i], name) == 0)
                return;
    if (list->count == list->size) {
        size_t size = list->size == 0 ? 8 : list->size * 2;
        const char **grown = pv_arena_alloc(list->arena, size * sizeof(*grown));

        if (grown != NULL && list->count > 0)
            memcpy(grown, list->names, list->count * sizeof(*grown));
        if (grown == NULL) {
            list->is_out_of_memory = true;
            return;
        }
        list->names = grown;
        list->size = size;
    }
    if (name == NULL)
        list->is_out_of_memory = true;
    else
        list->names[list->count++] = name;
}

static enum pv_status
output_columns(const struct pv_resolution *resolution, const struct pv_level *level, uint32_t index,
               struct column_list *list, unsigned depth)
{
    enum pv_status status;

    if (depth > PV_QUERY_LEVELS_MAX)
        return PV_DEPTH;
    if (level->left != NULL) {
        status = output_columns(resolution, level->left, index, list, depth + 1);
        return status == PV_OK ? output_columns(resolution, level->right, index, list, depth + 1) : status;
    }
    if (index >= level->output_count)
        return PV_OK;
    return level->outputs[index].expr == NULL
               ? pv_column_origins(resolution, level->outputs[index].column, add_column, list)
               : pv_expression_origins(resolution, level->outputs[index].expr, add_column, list);
}

/* ---- rules -------------------------------------------------------------------------------- */

static enum pv_status
apply_rules(struct pv_trial *trial, const struct pv_resolution *resolution)
{
    struct pv_decision *decision = trial->decision;
    struct pv_rule_applied *rules = pv_arena_alloc(trial->arena, (resolution->relation_count + 1) * sizeof(*rules));
    size_t count = 0;

    if (rules == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < resolution->relation_count; i++) {
        const struct pv_dataset *dataset = pv_rte_dataset(resolution->relations[i]);
        size_t at = 0;

        if (dataset == NULL || dataset->rule == NULL)
            continue;
        while (at < count && rules[at].dataset != dataset)
            at++;
        if (at == count)
            rules[count++] = (struct pv_rule_applied){dataset, 0};
        rules[at].references++;
    }
    decision->rules = rules;
    decision->rule_count = count;
    return PV_OK;
}

enum pv_status
pv_explain_resolution(struct pv_trial *trial, const struct pv_resolution *resolution)
{
    const struct pv_level *top = resolution->top;
    struct pv_lineage *lineage = pv_arena_alloc(trial->arena, (top->output_count + 1) * sizeof(*lineage));

    if (lineage == NULL)
        return PV_NOMEM;
    for (uint32_t i = 0; i < top->output_count; i++) {
        struct column_list list = {.arena = trial->arena};

        enum pv_status status = output_columns(resolution, top, i, &list, 0);

        if (status == PV_NOMEM || list.is_out_of_memory)
            return PV_NOMEM;
        if (status != PV_OK)
            return PV_OK; /* too deep: the judgement says so */
        lineage[i] = (struct pv_lineage){top->outputs[i].name, how_output(resolution, top, i, 0), {list.names, list.count}};
    }
    trial->decision->lineage = lineage;
    trial->decision->lineage_count = top->output_count;
    return apply_rules(trial, resolution);
}
