#include "parser/resolve.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "parser/resolve_int.h"
#include "parser/walk.h"
#include "proxy/base/limits.h"

/*
 * Levels and names. Invariants:
 * 1. A name is looked up in PostgreSQL's order: this level first, then each enclosing one; within a level a
 *    column before a whole row; in ORDER BY an output before a column, in GROUP BY after it.
 * 2. Every ColumnRef that is reached gets exactly one reference, or resolution fails.
 * 3. Recursion is over levels and FROM trees only, counted against PV_TREE_DEPTH_MAX; expressions are walked.
 */

void *
pv_resolver_grow(struct pv_resolver *resolver, void *items, size_t count, size_t *size, size_t item_bytes)
{
    size_t wanted = *size == 0 ? 8 : *size * 2;
    void *grown;

    if (count < *size)
        return items;
    grown = pv_arena_alloc(resolver->arena, wanted * item_bytes);
    if (grown == NULL)
        return NULL;
    if (count > 0)
        memcpy(grown, items, count * item_bytes);
    *size = wanted;
    return grown;
}

int
pv_text_position(struct pv_slice text, int location)
{
    int position = 1;

    if (location < 0)
        return 0;
    for (size_t i = 0; i < text.len && i < (size_t) location; i++)
        if ((text.data[i] & 0xC0) != 0x80)
            position++;
    return position;
}

enum pv_status
pv_resolve_error(struct pv_resolver *resolver, enum pv_status status, const char *sqlstate, int location,
                 const char *format, ...)
{
    char message[sizeof(resolver->err->message)];
    va_list args;

    va_start(args, format);
    (void) vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    pv_sql_error_set(resolver->err, sqlstate, pv_text_position(resolver->text, location), "%s", message);
    return status;
}

/* ---- expressions ------------------------------------------------------------ */

struct expression_visit {
    struct pv_resolver *resolver;
    struct pv_scope *scope;
    enum pv_status status;
};

static enum pv_walk
visit_expression(void *context, Node *node, const struct pv_walk_at *at)
{
    struct expression_visit *visit = context;
    struct pv_level *level;

    (void) at;
    if (IsA(node, ColumnRef)) {
        visit->status = pv_resolve_column_ref(visit->resolver, visit->scope, (ColumnRef *) node);
        return visit->status == PV_OK ? PV_WALK_SKIP : PV_WALK_STOP;
    }
    if (IsA(node, SelectStmt)) {
        visit->status = pv_resolve_level(visit->resolver, (SelectStmt *) node, visit->scope, visit->scope->ctes, true,
                                         &level);
        return visit->status == PV_OK ? PV_WALK_SKIP : PV_WALK_STOP;
    }
    return PV_WALK_ON;
}

enum pv_status
pv_resolve_expression(struct pv_resolver *resolver, struct pv_scope *scope, Node *expr)
{
    struct expression_visit visit = {resolver, scope, PV_OK};
    enum pv_status status;

    if (expr == NULL)
        return PV_OK;
    status = pv_tree_walk(expr, &pv_sql_limits_default, visit_expression, &visit, NULL);
    return status == PV_OK ? visit.status : status;
}

/* ---- outputs ---------------------------------------------------------------- */

struct output_list {
    struct pv_output *items;
    size_t count, size;
};

static enum pv_status
add_output(struct pv_resolver *resolver, struct output_list *list, struct pv_output output)
{
    struct pv_output *grown = pv_resolver_grow(resolver, list->items, list->count, &list->size, sizeof(*grown));

    if (grown == NULL)
        return PV_NOMEM;
    list->items = grown;
    grown[list->count++] = output;
    return PV_OK;
}

static enum pv_status
spread_rte(struct pv_resolver *resolver, struct output_list *list, struct pv_rte *rte, ResTarget *target)
{
    for (size_t i = 0; i < rte->column_count; i++) {
        struct pv_output output = {rte->columns[i], NULL, {rte, (uint32_t) i}, target};
        enum pv_status status = add_output(resolver, list, output);

        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}

static enum pv_status
spread_star(struct pv_resolver *resolver, struct pv_scope *scope, struct output_list *list, ResTarget *target)
{
    ColumnRef *ref = (ColumnRef *) target->val;
    enum pv_status status = PV_OK;

    if (list_length(ref->fields) == 1) {
        bool is_any = false;

        for (size_t i = 0; i < scope->ns.count && status == PV_OK; i++)
            if (scope->ns.items[i].is_spread) {
                is_any = true;
                status = spread_rte(resolver, list, scope->ns.items[i].rte, target);
            }
        if (status == PV_OK && !is_any)
            return pv_resolve_error(resolver, PV_INVALID, "42601", ref->location,
                                    "SELECT * with no tables specified is not valid");
    } else {
        struct pv_reference reference = {.ref = ref, .level = scope->level};
        struct pv_rte *rte = NULL;

        status = pv_ns_find_qualifier(resolver, scope, ref, &rte, &reference.owner);
        if (status != PV_OK)
            return status;
        reference.column = (struct pv_column_at){rte, PV_WHOLE_ROW};
        status = pv_resolver_refer(resolver, &reference);
        if (status == PV_OK)
            status = spread_rte(resolver, list, rte, target);
    }
    return status;
}

static bool
is_star(const Node *expr)
{
    return IsA(expr, ColumnRef) && IsA(llast(((const ColumnRef *) expr)->fields), A_Star);
}

static enum pv_status
resolve_targets(struct pv_resolver *resolver, struct pv_scope *scope, List *targets)
{
    struct output_list list = {0};
    ListCell *cell;

    foreach (cell, targets) {
        ResTarget *target = lfirst(cell);
        enum pv_status status;

        if (is_star(target->val)) {
            status = spread_star(resolver, scope, &list, target);
        } else {
            struct pv_output output = {
                target->name != NULL ? target->name : pv_default_column_name(target->val), target->val, {0}, target};

            status = pv_resolve_expression(resolver, scope, target->val);
            if (status == PV_OK)
                status = add_output(resolver, &list, output);
        }
        if (status != PV_OK)
            return status;
    }
    scope->level->outputs = list.items;
    scope->level->output_count = list.count;
    return PV_OK;
}

/* ---- clauses whose bare names may mean outputs -------------------------------- */

static const char *
bare_name(const Node *expr)
{
    const ColumnRef *ref = (const ColumnRef *) expr;

    if (!IsA(expr, ColumnRef) || list_length(ref->fields) != 1 || !IsA(linitial(ref->fields), String))
        return NULL;
    return strVal(linitial(ref->fields));
}

static bool
find_output(const struct pv_level *level, const char *name, uint32_t *index)
{
    for (size_t i = 0; i < level->output_count; i++)
        if (strcmp(level->outputs[i].name, name) == 0) {
            *index = (uint32_t) i;
            return true;
        }
    return false;
}

static enum pv_status
resolve_sort_item(struct pv_resolver *resolver, struct pv_scope *scope, Node *expr, bool is_group)
{
    const char *name = bare_name(expr);
    struct pv_reference reference = {
        .ref = (ColumnRef *) expr, .level = scope->level, .owner = scope->level, .is_output = true};

    if (name == NULL || !find_output(scope->level, name, &reference.output))
        return pv_resolve_expression(resolver, scope, expr);
    if (is_group) {
        struct pv_column_at column;
        bool is_input;
        enum pv_status status =
            pv_ns_find_spread(resolver, scope, name, ((ColumnRef *) expr)->location, &column, &is_input);

        if (status != PV_OK)
            return status;
        if (is_input)
            return pv_resolve_expression(resolver, scope, expr);
    }
    return pv_resolver_refer(resolver, &reference);
}

static enum pv_status
resolve_group_list(struct pv_resolver *resolver, struct pv_scope *scope, List *items)
{
    ListCell *cell;
    enum pv_status status = PV_OK;

    if (++resolver->depth > PV_QUERY_LEVELS_MAX)
        return PV_DEPTH;
    foreach (cell, items) {
        Node *item = lfirst(cell);

        if (IsA(item, GroupingSet))
            status = resolve_group_list(resolver, scope, ((GroupingSet *) item)->content);
        else if (IsA(item, RowExpr) && ((RowExpr *) item)->row_format == COERCE_IMPLICIT_CAST)
            status = resolve_group_list(resolver, scope, ((RowExpr *) item)->args); /* (a, b) is a, b */
        else
            status = resolve_sort_item(resolver, scope, item, true);
        if (status != PV_OK)
            break;
    }
    resolver->depth--;
    return status;
}

static enum pv_status
resolve_sort_list(struct pv_resolver *resolver, struct pv_scope *scope, List *items)
{
    ListCell *cell;

    foreach (cell, items) {
        Node *item = lfirst(cell);
        enum pv_status status;

        if (item == NULL)
            continue;
        status = resolve_sort_item(resolver, scope, IsA(item, SortBy) ? ((SortBy *) item)->node : item, false);
        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}

/* ---- levels -------------------------------------------------------------------- */

static enum pv_status
resolve_list(struct pv_resolver *resolver, struct pv_scope *scope, List *items)
{
    return items == NIL ? PV_OK : pv_resolve_expression(resolver, scope, (Node *) items);
}

static enum pv_status
resolve_values(struct pv_resolver *resolver, struct pv_scope *scope, SelectStmt *stmt)
{
    struct output_list list = {0};
    List *first = linitial(stmt->valuesLists);
    enum pv_status status = resolve_list(resolver, scope, stmt->valuesLists);

    for (int i = 0; i < list_length(first) && status == PV_OK; i++) {
        struct pv_output output = {pv_arena_printf(resolver->arena, "column%d", i + 1), list_nth(first, i), {0}, NULL};

        status = output.name == NULL ? PV_NOMEM : add_output(resolver, &list, output);
    }
    scope->level->outputs = list.items;
    scope->level->output_count = list.count;
    return status;
}

static enum pv_status
resolve_plain(struct pv_resolver *resolver, struct pv_scope *scope, SelectStmt *stmt)
{
    enum pv_status status = pv_resolve_from(resolver, scope, stmt->fromClause);

    if (status == PV_OK)
        status = resolve_targets(resolver, scope, stmt->targetList);
    if (status == PV_OK)
        status = pv_resolve_expression(resolver, scope, stmt->whereClause);
    if (status == PV_OK)
        status = resolve_group_list(resolver, scope, stmt->groupClause);
    if (status == PV_OK)
        status = pv_resolve_expression(resolver, scope, stmt->havingClause);
    if (status == PV_OK)
        status = resolve_list(resolver, scope, stmt->windowClause);
    if (status == PV_OK)
        status = resolve_sort_list(resolver, scope, stmt->distinctClause);
    return status;
}

static enum pv_status
resolve_set_operation(struct pv_resolver *resolver, struct pv_scope *scope, SelectStmt *stmt)
{
    struct pv_level *level = scope->level;
    enum pv_status status =
        pv_resolve_level(resolver, stmt->larg, scope->parent, scope->ctes, level->is_sublink, &level->left);

    if (status == PV_OK)
        status = pv_resolve_level(resolver, stmt->rarg, scope->parent, scope->ctes, level->is_sublink, &level->right);
    if (status != PV_OK)
        return status;
    level->outputs = level->left->outputs;
    level->output_count = level->left->output_count;
    return PV_OK;
}

static enum pv_status
resolve_cte(struct pv_resolver *resolver, struct pv_scope *scope, CommonTableExpr *expr, bool is_recursive)
{
    struct pv_cte *cte = pv_arena_alloc(resolver->arena, sizeof(*cte));
    SelectStmt *query = (SelectStmt *) expr->ctequery;
    struct pv_level *level;
    const char **columns;
    enum pv_status status;

    if (cte == NULL)
        return PV_NOMEM;
    if (!IsA(query, SelectStmt))
        return pv_resolve_error(resolver, PV_DENIED, "42501", expr->location,
                                "WITH query \"%s\" is not a SELECT", expr->ctename);
    cte->name = expr->ctename;
    cte->next = scope->ctes;
    if (is_recursive && query->op != SETOP_NONE) {
        /* The recursive term sees the columns of the other one. */
        status = pv_resolve_level(resolver, query->larg, scope->parent, scope->ctes, false, &level);
        if (status != PV_OK)
            return status;
        resolver->resolution->has_recursion = true;
        cte->level = level;
    } else {
        level = NULL;
    }
    for (int pass = level == NULL ? 1 : 0; pass < 2; pass++) {
        if (pass == 1) {
            status = pv_resolve_level(resolver, query, scope->parent, level == NULL ? scope->ctes : cte, false,
                                      &cte->level);
            if (status != PV_OK)
                return status;
        }
        columns = pv_arena_alloc(resolver->arena, (cte->level->output_count + 1) * sizeof(*columns));
        if (columns == NULL)
            return PV_NOMEM;
        cte->column_count = cte->level->output_count;
        if ((size_t) list_length(expr->aliascolnames) > cte->column_count)
            return pv_resolve_error(resolver, PV_INVALID, "42P10", expr->location,
                                    "WITH query \"%s\" has %zu columns available but %d columns specified", cte->name,
                                    cte->column_count, list_length(expr->aliascolnames));
        for (size_t i = 0; i < cte->column_count; i++)
            columns[i] = (int) i < list_length(expr->aliascolnames) ? strVal(list_nth(expr->aliascolnames, (int) i))
                                                                    : cte->level->outputs[i].name;
        cte->columns = columns;
    }
    scope->ctes = cte;
    return PV_OK;
}

enum pv_status
pv_resolve_level(struct pv_resolver *resolver, SelectStmt *stmt, struct pv_scope *parent, struct pv_cte *ctes,
                 bool is_sublink, struct pv_level **out)
{
    struct pv_resolution *resolution = resolver->resolution;
    struct pv_level *level = pv_arena_alloc(resolver->arena, sizeof(*level));
    struct pv_level **grown = pv_resolver_grow(resolver, resolution->levels, resolution->level_count,
                                               &resolver->level_size, sizeof(*grown));
    struct pv_scope scope = {.level = level, .parent = parent, .ctes = ctes};
    enum pv_status status = PV_OK;

    if (level == NULL || grown == NULL)
        return PV_NOMEM;
    if (++resolver->depth > PV_QUERY_LEVELS_MAX)
        return pv_resolve_error(resolver, PV_DEPTH, "54001", -1, "statement is nested too deeply");
    level->stmt = stmt;
    level->parent = parent == NULL ? NULL : parent->level;
    level->is_sublink = is_sublink;
    level->depth = level->parent == NULL ? 0 : level->parent->depth + 1;
    resolution->levels = grown;
    grown[resolution->level_count++] = level;
    if (stmt->withClause != NULL) {
        ListCell *cell;

        foreach (cell, stmt->withClause->ctes) {
            status = resolve_cte(resolver, &scope, lfirst(cell), stmt->withClause->recursive);
            if (status != PV_OK)
                return status;
        }
    }
    if (stmt->op != SETOP_NONE)
        status = resolve_set_operation(resolver, &scope, stmt);
    else if (stmt->valuesLists != NIL)
        status = resolve_values(resolver, &scope, stmt);
    else
        status = resolve_plain(resolver, &scope, stmt);
    if (status == PV_OK)
        status = resolve_sort_list(resolver, &scope, stmt->sortClause);
    if (status == PV_OK)
        status = pv_resolve_expression(resolver, &scope, stmt->limitOffset);
    if (status == PV_OK)
        status = pv_resolve_expression(resolver, &scope, stmt->limitCount);
    resolver->depth--;
    if (status == PV_OK)
        *out = level;
    return status;
}

enum pv_status
pv_resolve(struct pv_arena *arena, Node *select, const struct pv_catalogue *catalogue, struct pv_slice text,
           struct pv_resolution **out, struct pv_sql_error *err)
{
    struct pv_resolution *resolution = pv_arena_alloc(arena, sizeof(*resolution));
    struct pv_resolver resolver = {arena, catalogue, text, resolution, err, 0, 0, 0, 0};
    enum pv_status status;

    if (resolution == NULL)
        return PV_NOMEM;
    resolution->index = pv_arena_alloc(arena, sizeof(*resolution->index));
    if (resolution->index == NULL)
        return PV_NOMEM;
    status = pv_resolve_level(&resolver, (SelectStmt *) select, NULL, NULL, false, &resolution->top);
    if (status == PV_OK)
        *out = resolution;
    return status;
}
