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

/* How rows of a data set come to a level: by an entry of its FROM, and on within that one's own query. */
struct path {
    struct path *next;
    const struct pv_rte *via;
    struct path *inner; /* NULL: via is the data set itself */
    const struct pv_rte *base;
    struct exposed *exposed;
};

/* A base column made visible in a sub-query's output, by one path, under a name that no caller uses. */
struct exposed {
    struct exposed *next;
    uint32_t index;
    const char *name;
};

struct enforce {
    struct pv_rule_trial *rule;
    Node **select;
    struct path **paths; /* by the level's number */
    bool *is_traced;
    unsigned path_count, exposed_count;
    enum pv_status status;
};

/* Paths multiply where a WITH query is read twice by one that is read twice, and so on. */
#define PATHS_MAX 256u

static struct path *trace(struct enforce *enforce, const struct pv_level *level);

static void
add_path(struct enforce *enforce, struct path **list, const struct pv_rte *via, struct path *inner)
{
    struct path *path;

    if (++enforce->path_count > PATHS_MAX) {
        if (enforce->status == PV_OK)
            enforce->status = pv_deny(enforce->rule->trial, PV_REASON_TOO_DEEP, "54001", -1,
                                      "data sets are read in too many ways");
        return;
    }
    path = palloc0(sizeof(*path));
    path->via = via;
    path->inner = inner;
    path->base = inner == NULL ? via : inner->base;
    path->next = *list;
    *list = path;
}

static struct path *
trace(struct enforce *enforce, const struct pv_level *level)
{
    size_t number = pv_level_number(enforce->rule->resolution, level);
    struct path *list = NULL;

    if (enforce->is_traced[number])
        return enforce->paths[number];
    enforce->is_traced[number] = true;
    for (size_t i = 0; i < level->rte_count && enforce->status == PV_OK; i++) {
        const struct pv_rte *rte = level->rtes[i];

        if (pv_rte_dataset(rte) != NULL)
            add_path(enforce, &list, rte, NULL);
        else if (rte->level != NULL &&
                 enforce->rule->classes[pv_level_number(enforce->rule->resolution, rte->level)] == PV_LEVEL_RAW)
            for (struct path *inner = trace(enforce, rte->level); inner != NULL && enforce->status == PV_OK;
                 inner = inner->next)
                add_path(enforce, &list, rte, inner);
    }
    enforce->paths[number] = list;
    return list;
}

/* The base column as the level that the path leads to may write it; sub-queries on the way give it as well. */
static Node *
column_of(struct enforce *enforce, struct path *path, uint32_t index)
{
    struct exposed *exposed;
    SelectStmt *query;
    char name[64];

    if (path->inner == NULL)
        return pv_make_column(path->via->alias, path->via->columns[index]);
    for (exposed = path->inner->exposed; exposed != NULL; exposed = exposed->next)
        if (exposed->index == index)
            return pv_make_column(path->via->alias, exposed->name);
    (void) snprintf(name, sizeof(name), "pgveil entity %u", ++enforce->exposed_count);
    query = path->via->level->stmt;
    query->targetList = lappend(query->targetList, pv_make_target(name, column_of(enforce, path->inner, index)));
    exposed = palloc0(sizeof(*exposed));
    exposed->index = index;
    exposed->name = pstrdup(name);
    exposed->next = path->inner->exposed;
    path->inner->exposed = exposed;
    return pv_make_column(path->via->alias, exposed->name);
}

struct need {
    Node *column;
    uint64_t minimum;
    struct need *next;
};

static struct need *
add_need(struct enforce *enforce, struct need *needs, struct path *path, const char *name, uint64_t minimum)
{
    const struct pv_dataset *dataset = pv_rte_dataset(path->base);

    for (uint32_t c = 0; c < dataset->relation.column_count; c++)
        if (strcmp(dataset->relation.columns[c], name) == 0) {
            struct need *need = palloc0(sizeof(*need));

            *need = (struct need){column_of(enforce, path, c), minimum, needs};
            return need;
        }
    if (enforce->status == PV_OK)
        enforce->status = pv_rule_deny(enforce->rule, dataset, -1, "output_constraints",
                                       "its entities cannot be counted: column \"%s\" is omitted from the room", name);
    return needs;
}

/* Every threshold that holds at a level: by each path that rows of a data set take to it. */
static struct need *
needs_of(struct enforce *enforce, const struct pv_level *level, bool *is_remainder)
{
    const struct pv_question *question = enforce->rule->question;
    struct need *needs = NULL;

    *is_remainder = true;
    for (struct path *path = trace(enforce, level); path != NULL && enforce->status == PV_OK; path = path->next) {
        const struct pv_dataset *dataset = pv_rte_dataset(path->base);
        const struct need *before = needs;

        for (size_t k = 0; k < dataset->rule->constraint_count; k++)
            needs = add_need(enforce, needs, path, dataset->rule->constraints[k].column,
                             dataset->rule->constraints[k].minimum);
        if (question->minimum_entities > 0 && dataset->entity != NULL)
            needs = add_need(enforce, needs, path, dataset->entity, question->minimum_entities);
        /* Where rules differ the strictest holds: groups are dropped. */
        if (needs != before && dataset->rule->suppression != PV_SUPPRESS_REMAINDER)
            *is_remainder = false;
    }
    return needs;
}

/* ---- filtered aggregates ------------------------------------------------------------------ */

struct filtering {
    const char *room;
    const struct need *needs;
};

static Node *
is_enough(const struct need *need, Node *filter)
{
    FuncCall *count = pv_make_call("pg_catalog", "count", list_make1(copyObject(need->column)));

    count->agg_distinct = true;
    count->agg_filter = copyObject(filter);
    return pv_make_operator(">=", (Node *) count, pv_make_integer((int64_t) need->minimum));
}

static Node *
all_enough(const struct need *needs, Node *filter)
{
    BoolExpr *all;

    if (needs->next == NULL)
        return is_enough(needs, filter);
    all = makeNode(BoolExpr);
    all->boolop = AND_EXPR;
    all->location = -1;
    for (; needs != NULL; needs = needs->next)
        all->args = lappend(all->args, is_enough(needs, filter));
    return (Node *) all;
}

/* CASE WHEN enough stand behind it THEN agg(...) FILTER (...) WHEN pgveil_suppressed() THEN NULL END: the second never holds. */
static Node *
edit_filtered(void *context, Node *node, bool *is_entered)
{
    const struct filtering *filtering = context;
    FuncCall *call = (FuncCall *) node;
    char schema[PV_VIEWS_NAME_SIZE];
    CaseExpr *choice;
    CaseWhen *said;

    if (IsA(node, SelectStmt)) {
        *is_entered = false;
        return node;
    }
    if (!IsA(node, FuncCall) || call->agg_filter == NULL)
        return node;
    *is_entered = false;
    pv_views_catalog_schema(filtering->room, schema);
    choice = (CaseExpr *) pv_make_case(all_enough(filtering->needs, call->agg_filter), node, pv_make_null());
    said = makeNode(CaseWhen);
    said->expr = (Expr *) pv_make_call(schema, PV_VIEWS_SUPPRESSED_FUNCTION, NIL);
    said->result = (Expr *) pv_make_null();
    said->location = -1;
    choice->args = lappend(choice->args, said);
    return (Node *) choice;
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
    const char *room = enforce->rule->trial->caller->room->name;
    bool is_remainder;
    struct need *needs = needs_of(enforce, level, &is_remainder);
    struct filtering filtering = {room, needs};

    if (needs == NULL || enforce->status != PV_OK || level->is_thresholded)
        return;
    level->is_thresholded = true;
    enforce->rule->trial->decision->has_threshold = true;
    if (is_remainder)
        enforce->status = pv_rule_remainder(enforce->rule, level, all_enough(needs, NULL));
    pv_tree_mutate((Node **) (void *) &level->stmt->targetList, edit_filtered, &filtering);
    pv_tree_mutate(&level->stmt->havingClause, edit_filtered, &filtering);
    pv_tree_mutate((Node **) (void *) &level->stmt->sortClause, edit_filtered, &filtering);
    for (const struct need *need = needs; need != NULL; need = need->next)
        pv_threshold_add(room, level->stmt, copyObject(need->column), need->minimum);
    if (level != enforce->rule->resolution->top)
        pv_threshold_fence(level->stmt);
}

static void
run(void *context)
{
    struct enforce *enforce = context;
    struct pv_rule_trial *rule = enforce->rule;
    const struct pv_resolution *resolution = rule->resolution;
    const struct pv_level *top = resolution->top;

    enforce->paths = palloc0((resolution->level_count + 1) * sizeof(*enforce->paths));
    enforce->is_traced = palloc0((resolution->level_count + 1) * sizeof(*enforce->is_traced));
    for (size_t i = 0; i < resolution->level_count; i++)
        if (rule->classes[i] != PV_LEVEL_CONSTANT && trace(enforce, resolution->levels[i]) != NULL)
            pv_rule_guard(rule, resolution->levels[i]);
    for (size_t i = 0; i < resolution->level_count; i++)
        if (rule->classes[i] == PV_LEVEL_RELEASED && pv_level_aggregates(resolution->levels[i]))
            enforce_level(enforce, resolution->levels[i]);
    for (size_t i = 0; i < resolution->level_count; i++) {
        const struct pv_level *level = resolution->levels[i];

        if (rule->is_list && rule->is_given[i] && level->left == NULL && rule->classes[i] == PV_LEVEL_RAW &&
            level->stmt->distinctClause == NIL)
            level->stmt->distinctClause = lappend(NIL, NULL);
    }
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
