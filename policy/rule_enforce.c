#include <stdio.h>
#include <string.h>

#include "parser/rewrite.h"
#include "policy/rule_int.h"
#include "policy/threshold.h"
#include "policy/views.h"
#include "proxy/base/limits.h"

/*
 * What the rules demand, put into the tree by the engine: at every level that aggregates rows, a threshold of
 * distinct entities for each reference to each data set, counted after the joins; a filtered aggregate counts its own; a
 * division that could fail gives NULL; a list is DISTINCT.
 */

/* A base column made visible in a sub-query's output under a name that no caller uses. */
struct exposed {
    struct exposed *next;
    const struct pv_level *level;
    const struct pv_rte *base;
    uint32_t index;
    const char *name;
};

struct enforce {
    struct pv_rule_trial *rule;
    Node **select;
    struct exposed *exposed;
    unsigned exposed_count;
    enum pv_status status;
};

static bool
draws(const struct enforce *enforce, const struct pv_level *level, const struct pv_rte *base, unsigned depth)
{
    if (depth > PV_QUERY_LEVELS_MAX)
        return false;
    for (size_t i = 0; i < level->rte_count; i++) {
        const struct pv_rte *rte = level->rtes[i];

        if (rte == base)
            return true;
        if (rte->level != NULL &&
            enforce->rule->classes[pv_level_number(enforce->rule->resolution, rte->level)] == PV_LEVEL_RAW &&
            draws(enforce, rte->level, base, depth + 1))
            return true;
    }
    return false;
}

static Node *column_of(struct enforce *enforce, const struct pv_level *level, const struct pv_rte *via,
                       const struct pv_rte *base, uint32_t index);

/* The name under which a sub-query's level gives the base column; added to its outputs when it does not. */
static const char *
expose(struct enforce *enforce, const struct pv_level *level, const struct pv_rte *base, uint32_t index)
{
    struct exposed *exposed;
    Node *column = NULL;

    for (exposed = enforce->exposed; exposed != NULL; exposed = exposed->next)
        if (exposed->level == level && exposed->base == base && exposed->index == index)
            return exposed->name;
    for (size_t i = 0; i < level->rte_count && column == NULL; i++)
        column = column_of(enforce, level, level->rtes[i], base, index);
    exposed = pv_arena_alloc(enforce->rule->trial->arena, sizeof(*exposed));
    if (column == NULL || exposed == NULL) {
        enforce->status = PV_NOMEM;
        return "";
    }
    exposed->level = level;
    exposed->base = base;
    exposed->index = index;
    exposed->name = pv_arena_printf(enforce->rule->trial->arena, "pgveil entity %u", ++enforce->exposed_count);
    if (exposed->name == NULL) {
        enforce->status = PV_NOMEM;
        return "";
    }
    exposed->next = enforce->exposed;
    enforce->exposed = exposed;
    level->stmt->targetList = lappend(level->stmt->targetList, pv_make_target(exposed->name, column));
    return exposed->name;
}

/* The base column as this level may write it, by way of one entry of its FROM; NULL: it does not come that way. */
static Node *
column_of(struct enforce *enforce, const struct pv_level *level, const struct pv_rte *via, const struct pv_rte *base,
          uint32_t index)
{
    (void) level;
    if (via == base)
        return pv_make_column(base->alias, base->columns[index]);
    if (via->level == NULL || !draws(enforce, via->level, base, 0) ||
        enforce->rule->classes[pv_level_number(enforce->rule->resolution, via->level)] != PV_LEVEL_RAW)
        return NULL;
    return pv_make_column(via->alias, expose(enforce, via->level, base, index));
}

struct need {
    Node *column;
    uint64_t minimum;
    struct need *next;
};

static struct need *
add_need(struct enforce *enforce, struct need *needs, const struct pv_level *level, const struct pv_rte *base,
         const char *name, uint64_t minimum)
{
    const struct pv_dataset *dataset = pv_rte_dataset(base);

    for (uint32_t c = 0; c < dataset->relation.column_count; c++) {
        if (strcmp(dataset->relation.columns[c], name) != 0)
            continue;
        for (size_t i = 0; i < level->rte_count; i++) {
            Node *column = column_of(enforce, level, level->rtes[i], base, c);
            struct need *need;

            if (column == NULL)
                continue;
            need = pv_arena_alloc(enforce->rule->trial->arena, sizeof(*need));
            if (need == NULL) {
                enforce->status = PV_NOMEM;
                return needs;
            }
            *need = (struct need){column, minimum, needs};
            needs = need;
        }
        return needs;
    }
    /* The loader has checked that the column is there. */
    enforce->status = PV_INTERNAL;
    return needs;
}

/* Every threshold that holds at a level: for each reference to each data set that rows come from. */
static struct need *
needs_of(struct enforce *enforce, const struct pv_level *level)
{
    const struct pv_resolution *resolution = enforce->rule->resolution;
    const struct pv_question *question = enforce->rule->question;
    struct need *needs = NULL;

    for (size_t i = 0; i < resolution->relation_count; i++) {
        const struct pv_rte *base = resolution->relations[i];
        const struct pv_dataset *dataset = pv_rte_dataset(base);

        if (!draws(enforce, level, base, 0))
            continue;
        for (size_t k = 0; k < dataset->rule->constraint_count; k++)
            needs = add_need(enforce, needs, level, base, dataset->rule->constraints[k].column,
                             dataset->rule->constraints[k].minimum);
        if (question->minimum_entities > 0 && dataset->entity != NULL)
            needs = add_need(enforce, needs, level, base, dataset->entity, question->minimum_entities);
    }
    return needs;
}

/* ---- filtered aggregates ------------------------------------------------------------------ */

struct filtering {
    const struct need *needs;
};

static Node *
edit_filtered(void *context, Node *node, bool *is_entered)
{
    const struct filtering *filtering = context;
    FuncCall *call = (FuncCall *) node;
    Node *result;

    if (IsA(node, SelectStmt)) {
        *is_entered = false;
        return node;
    }
    if (!IsA(node, FuncCall) || call->agg_filter == NULL)
        return node;
    *is_entered = false;
    result = node;
    for (const struct need *need = filtering->needs; need != NULL; need = need->next) {
        FuncCall *count = pv_make_call("pg_catalog", "count", list_make1(copyObject(need->column)));

        count->agg_distinct = true;
        count->agg_filter = copyObject(call->agg_filter);
        result = pv_make_case(
            pv_make_operator(">=", (Node *) count, pv_make_integer((int64_t) need->minimum)), result, pv_make_null());
    }
    return result;
}

/* ---- divisions ------------------------------------------------------------------------------- */

static Node *
edit_division(void *context, Node *node, bool *is_entered)
{
    A_Expr *expr = (A_Expr *) node;
    A_Expr *guard;
    const char *name;

    (void) context;
    (void) is_entered;
    if (!IsA(node, A_Expr) || expr->kind != AEXPR_OP || expr->rexpr == NULL || IsA(expr->rexpr, A_Const))
        return node;
    name = strVal(llast(expr->name));
    if (strcmp(name, "/") != 0 && strcmp(name, "%") != 0)
        return node;
    guard = makeNode(A_Expr);
    guard->kind = AEXPR_NULLIF;
    guard->name = list_make1(makeString(pstrdup("=")));
    guard->lexpr = expr->rexpr;
    guard->rexpr = pv_make_integer(0);
    guard->location = -1;
    expr->rexpr = (Node *) guard;
    return node;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static void
enforce_level(struct enforce *enforce, struct pv_level *level)
{
    struct need *needs = needs_of(enforce, level);
    struct filtering filtering = {needs};

    if (needs == NULL || level->is_thresholded)
        return;
    level->is_thresholded = true;
    for (ListCell *cell = list_head(level->stmt->targetList); cell != NULL;
         cell = lnext(level->stmt->targetList, cell)) {
        ResTarget *target = lfirst(cell);

        /* The name stays what it was without the CASE around. */
        if (target->name == NULL)
            target->name = pstrdup(pv_default_column_name(target->val));
        pv_tree_mutate(&target->val, edit_filtered, &filtering);
    }
    pv_tree_mutate(&level->stmt->havingClause, edit_filtered, &filtering);
    pv_tree_mutate((Node **) (void *) &level->stmt->sortClause, edit_filtered, &filtering);
    for (const struct need *need = needs; need != NULL; need = need->next)
        pv_threshold_add(enforce->rule->trial->caller->room->name, level->stmt, need->column, need->minimum);
    if (level != enforce->rule->resolution->top)
        pv_fence(level->stmt);
}

static void
run(void *context)
{
    struct enforce *enforce = context;
    struct pv_rule_trial *rule = enforce->rule;
    const struct pv_resolution *resolution = rule->resolution;
    const struct pv_level *top = resolution->top;

    for (size_t i = 0; i < resolution->level_count; i++)
        if (rule->classes[i] == PV_LEVEL_RELEASED && pv_level_aggregates(resolution->levels[i]))
            enforce_level(enforce, resolution->levels[i]);
    if (rule->is_list && rule->classes[pv_level_number(resolution, top)] == PV_LEVEL_RAW &&
        top->stmt->distinctClause == NIL)
        top->stmt->distinctClause = lappend(NIL, NULL);
    pv_tree_mutate(enforce->select, edit_division, NULL);
    if (rule->question->max_rows > 0) {
        const char **names = palloc0((top->output_count + 1) * sizeof(*names));

        for (size_t i = 0; i < top->output_count; i++)
            names[i] = top->outputs[i].name;
        *enforce->select =
            (Node *) pv_guarded_query(rule->trial->caller->room->name, (SelectStmt *) *enforce->select, names,
                                      top->output_count, rule->question->max_rows);
    }
}

enum pv_status
pv_rule_enforce(struct pv_rule_trial *rule, Node **select)
{
    struct enforce enforce = {.rule = rule, .select = select, .status = PV_OK};
    MemoryContext before = pv_sql_enter(rule->trial->sql);
    enum pv_status status = pv_sql_guard(run, &enforce, NULL);

    pv_sql_leave(before);
    return status == PV_OK ? enforce.status : status;
}
