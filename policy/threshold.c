#include "policy/threshold.h"

#include <stdio.h>
#include <string.h>

#include "parser/rewrite.h"
#include "parser/walk.h"
#include "policy/functions.h"
#include "policy/views.h"
#include "proxy/base/limits.h"

struct inject {
    const struct pv_room *room;
    const struct pv_resolution *resolution;
    char alias[256];
    char column[256];
    uint64_t minimum;
    void (*report)(void *context, const char *words);
    void *context;
    size_t added;
    unsigned depth;
    enum pv_status status;
};

/* ---- does a level aggregate ----------------------------------------------------- */

static enum pv_walk
visit_aggregate(void *context, Node *node, const struct pv_walk_at *at)
{
    bool *found = context;

    (void) at;
    if (IsA(node, SelectStmt))
        return PV_WALK_SKIP;
    if (IsA(node, FuncCall) && ((FuncCall *) node)->over == NULL) {
        const FuncCall *call = (FuncCall *) node;
        const struct pv_function *function = pv_function_find(strVal(llast(call->funcname)));

        if (function != NULL && function->class == PV_FN_AGGREGATE) {
            *found = true;
            return PV_WALK_STOP;
        }
    }
    return PV_WALK_ON;
}

bool
pv_tree_has_aggregate(Node *tree)
{
    bool found = false;

    if (tree == NULL || pv_tree_walk(tree, &pv_sql_limits_default, visit_aggregate, &found, NULL) != PV_OK)
        return false;
    return found;
}

bool
pv_level_aggregates(const struct pv_level *level)
{
    const SelectStmt *select = level->stmt;

    if (level->left != NULL || select->valuesLists != NIL)
        return false;
    return select->groupClause != NIL || select->havingClause != NULL || pv_tree_has_aggregate((Node *) select->targetList) ||
           pv_tree_has_aggregate((Node *) select->sortClause);
}

/* ---- adding one ------------------------------------------------------------------- */

static Node *
make_true(void)
{
    A_Const *yes = makeNode(A_Const);

    yes->val.boolval.type = T_Boolean;
    yes->val.boolval.boolval = true;
    yes->location = -1;
    return (Node *) yes;
}

void
pv_threshold_add(const char *room, SelectStmt *select, Node *entity, uint64_t minimum)
{
    char schema[PV_VIEWS_NAME_SIZE];
    FuncCall *count = pv_make_call("pg_catalog", "count", list_make1(entity));
    Node *passes = select->havingClause;
    Node *enough;

    count->agg_distinct = true;
    pv_views_catalog_schema(room, schema);
    enough = pv_make_operator(">=", (Node *) count, pv_make_integer((int64_t) minimum));
    if (passes == NULL)
        passes = make_true();
    /* The threshold comes first: nothing else is evaluated for a group that is left out. */
    select->havingClause = pv_make_case(
        enough, passes, (Node *) pv_make_call(schema, PV_VIEWS_SUPPRESSED_FUNCTION, NIL));
}

void
pv_threshold_fence(SelectStmt *query)
{
    if (query->limitCount != NULL || query->limitOffset != NULL)
        return;
    query->limitOffset = pv_make_integer(0);
    query->limitOption = LIMIT_OPTION_COUNT;
}

/* SELECT p.*, row_number() OVER () FROM (query) AS p */
static SelectStmt *
numbered(SelectStmt *query)
{
    FuncCall *number = pv_make_call("pg_catalog", "row_number", NIL);
    WindowDef *over = makeNode(WindowDef);
    ColumnRef *all = makeNode(ColumnRef);

    over->frameOptions = FRAMEOPTION_DEFAULTS;
    over->location = -1;
    number->over = over;
    all->fields = list_make2(makeString(pstrdup("p")), makeNode(A_Star));
    all->location = -1;
    return pv_make_select(list_make2(pv_make_target(NULL, (Node *) all), pv_make_target(NULL, (Node *) number)),
                          list_make1(pv_make_subselect(query, pv_make_alias("p", NIL))), NULL);
}

SelectStmt *
pv_guarded_query(const char *room, SelectStmt *query, const char *const *names, size_t count, uint64_t max_rows)
{
    List *targets = NIL, *columns = NIL;
    Node *guard = NULL;

    pv_threshold_fence(query);
    for (size_t i = 0; i < count; i++) {
        char column[32];

        (void) snprintf(column, sizeof(column), "c%zu", i + 1);
        columns = lappend(columns, makeString(pstrdup(column)));
        targets = lappend(targets, pv_make_target(names[i], pv_make_column("q", column)));
    }
    if (max_rows > 0) {
        char schema[PV_VIEWS_NAME_SIZE];
        Node *bound = pv_make_type_cast(pv_make_integer((int64_t) max_rows), "int8");

        pv_views_catalog_schema(room, schema);
        query = numbered(query);
        columns = lappend(columns, makeString(pstrdup("row_number")));
        guard = pv_make_case(
            pv_make_operator("<=", pv_make_column("q", "row_number"), pv_make_integer((int64_t) max_rows)), make_true(),
            (Node *) pv_make_call(schema, PV_VIEWS_ROW_GUARD_FUNCTION, list_make1(bound)));
    }
    query = pv_make_select(targets, list_make1(pv_make_subselect(query, pv_make_alias("q", columns))), guard);
    pv_fence(query);
    return query;
}

void
pv_fence(SelectStmt *query)
{
    if (query->limitOffset == NULL && query->limitCount == NULL) {
        query->limitOffset = pv_make_integer(0);
        query->limitOption = LIMIT_OPTION_COUNT;
    }
}

struct addition {
    const char *room;
    SelectStmt *select;
    const char *alias, *column;
    uint64_t minimum;
};

static void
add(void *context)
{
    struct addition *addition = context;

    pv_threshold_add(addition->room, addition->select,
                     pv_make_column(addition->alias[0] == '\0' ? NULL : addition->alias, addition->column),
                     addition->minimum);
}

/* ---- finding where ------------------------------------------------------------------ */

static void
report(struct inject *inject, const char *words)
{
    inject->report(inject->context, words);
    if (inject->status == PV_OK)
        inject->status = PV_INVALID;
}

static bool
has_column(const struct pv_rte *rte, const char *column)
{
    for (size_t i = 0; i < rte->column_count; i++)
        if (strcmp(rte->columns[i], column) == 0)
            return true;
    return false;
}

static bool
sees_entity(const struct inject *inject, const struct pv_level *level)
{
    for (size_t i = 0; i < level->rte_count; i++) {
        const struct pv_rte *rte = level->rtes[i];

        if (inject->alias[0] != '\0' && (rte->alias == NULL || strcmp(rte->alias, inject->alias) != 0))
            continue;
        if (has_column(rte, inject->column))
            return true;
    }
    return false;
}

static bool
reads_data(const struct pv_level *level)
{
    for (size_t i = 0; i < level->rte_count; i++)
        if (level->rtes[i]->relation != NULL && level->rtes[i]->relation->kind == PV_RELATION_DATASET)
            return true;
    return false;
}

/* Data set rows reach this level without having been aggregated below. */
static bool
draws_rows(struct inject *inject, const struct pv_level *level)
{
    bool found = reads_data(level);

    if (++inject->depth > PV_QUERY_LEVELS_MAX)
        found = true;
    for (size_t i = 0; i < level->rte_count && !found; i++) {
        const struct pv_level *below = level->rtes[i]->level;

        if (below != NULL && below != level)
            found = !pv_level_aggregates(below) && draws_rows(inject, below);
    }
    if (!found && level->left != NULL)
        found = (!pv_level_aggregates(level->left) && draws_rows(inject, level->left)) ||
                (!pv_level_aggregates(level->right) && draws_rows(inject, level->right));
    inject->depth--;
    return found;
}

static void check_level(struct inject *inject, struct pv_level *level, bool is_released);

static struct pv_level *
level_of(const struct pv_resolution *resolution, const Node *select)
{
    for (size_t i = 0; i < resolution->level_count; i++)
        if ((const Node *) resolution->levels[i]->stmt == select)
            return resolution->levels[i];
    return NULL;
}

static enum pv_walk
visit_sublink(void *context, Node *node, const struct pv_walk_at *at)
{
    struct inject *inject = context;

    (void) at;
    if (!IsA(node, SelectStmt))
        return PV_WALK_ON;
    {
        struct pv_level *level = level_of(inject->resolution, node);

        if (level != NULL)
            check_level(inject, level, false);
    }
    return PV_WALK_SKIP;
}

static void
check_level(struct inject *inject, struct pv_level *level, bool is_released)
{
    bool aggregates = pv_level_aggregates(level);

    if (++inject->depth > PV_QUERY_LEVELS_MAX) {
        report(inject, "it is nested too deeply");
        return;
    }
    if (level->left != NULL) {
        check_level(inject, level->left, is_released);
        check_level(inject, level->right, is_released);
    } else if (!is_released && !aggregates && reads_data(level)) {
        report(inject, "an analytical question gives aggregates only, but rows of a data set reach its result");
    } else {
        if (aggregates && draws_rows(inject, level) && inject->minimum > 0) {
            struct addition addition = {inject->room->name, level->stmt, inject->alias, inject->column,
                                        inject->minimum};

            if (!sees_entity(inject, level) && !is_released) {
                report(inject, "its output.entity is not a column of every level that aggregates data set rows");
            } else if (sees_entity(inject, level) && !level->is_thresholded) {
                level->is_thresholded = true; /* a WITH query may be read twice */
                if (pv_sql_guard(add, &addition, NULL) != PV_OK)
                    inject->status = PV_NOMEM;
                inject->added++;
            }
        }
        if (!is_released && !aggregates && pv_tree_walk((Node *) level->stmt->targetList, &pv_sql_limits_default,
                                                        visit_sublink, inject, NULL) != PV_OK)
            inject->status = PV_NOMEM;
        for (size_t i = 0; i < level->rte_count; i++)
            if (level->rtes[i]->level != NULL)
                check_level(inject, level->rtes[i]->level, is_released || aggregates);
    }
    inject->depth--;
}

enum pv_status
pv_threshold_inject(const struct pv_room *room, const struct pv_resolution *resolution, const char *entity,
                    uint64_t minimum, void (*report_fault)(void *context, const char *words), void *context)
{
    struct inject inject = {.room = room,
                            .resolution = resolution,
                            .minimum = minimum,
                            .report = report_fault,
                            .context = context,
                            .status = PV_OK};
    const char *dot = entity == NULL ? NULL : strrchr(entity, '.');

    if (minimum > 0 && entity == NULL) {
        report(&inject, "output.minimum_entities needs output.entity: the column whose distinct values are counted");
        return PV_INVALID;
    }
    if (entity != NULL) {
        (void) snprintf(inject.alias, sizeof(inject.alias), "%.*s", dot == NULL ? 0 : (int) (dot - entity), entity);
        (void) snprintf(inject.column, sizeof(inject.column), "%s", dot == NULL ? entity : dot + 1);
    }
    check_level(&inject, resolution->top, false);
    if (inject.status == PV_OK && minimum > 0 && inject.added == 0)
        report(&inject, "output.entity names no column of a level that aggregates");
    return inject.status;
}
