#include <string.h>

#include "parser/resolve_int.h"
#include "parser/walk.h"
#include "proxy/base/limits.h"

/* FROM lists: relations, sub-queries, functions, joins, and what of them may be named. */

struct pv_rte *
pv_rte_new(struct pv_resolver *resolver, struct pv_scope *scope, enum pv_rte_kind kind, Node *node)
{
    struct pv_level *level = scope->level;
    struct pv_rte *rte = pv_arena_alloc(resolver->arena, sizeof(*rte));
    struct pv_rte **rtes;

    if (rte == NULL)
        return NULL;
    /* The list grows in powers of two from 8, so that its size need not be kept. */
    if (level->rte_count == 0 || (level->rte_count >= 8 && (level->rte_count & (level->rte_count - 1)) == 0)) {
        size_t size = level->rte_count == 0 ? 8 : level->rte_count * 2;

        rtes = pv_arena_alloc(resolver->arena, size * sizeof(struct pv_rte *));
        if (rtes == NULL)
            return NULL;
        if (level->rte_count > 0)
            memcpy(rtes, level->rtes, level->rte_count * sizeof(struct pv_rte *));
        level->rtes = rtes;
    }
    rte->kind = kind;
    rte->node = node;
    rte->home = level;
    level->rtes[level->rte_count++] = rte;
    return rte;
}

/* Columns as the alias's list renames them: the first ones, as many as it has. */
static enum pv_status
set_columns(struct pv_resolver *resolver, struct pv_rte *rte, const Alias *alias, const char *const *columns,
            size_t count)
{
    size_t renamed = alias == NULL ? 0 : (size_t) list_length(alias->colnames);
    const char **names;

    rte->columns = columns;
    rte->column_count = count;
    if (renamed == 0)
        return PV_OK;
    if (renamed > count)
        return pv_resolve_error(resolver, PV_INVALID, "42P10", -1,
                                "table \"%s\" has %zu columns available but %zu columns specified", alias->aliasname,
                                count, renamed);
    names = pv_arena_alloc(resolver->arena, count * sizeof(*names));
    if (names == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = i < renamed ? strVal(list_nth(alias->colnames, (int) i)) : columns[i];
    rte->columns = names;
    return PV_OK;
}

static enum pv_status
level_columns(struct pv_resolver *resolver, const struct pv_level *level, const char *const **columns)
{
    const char **names = pv_arena_alloc(resolver->arena, (level->output_count + 1) * sizeof(*names));

    if (names == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < level->output_count; i++)
        names[i] = level->outputs[i].name;
    *columns = names;
    return PV_OK;
}

static enum pv_status
note_relation(struct pv_resolver *resolver, struct pv_rte *rte)
{
    struct pv_resolution *resolution = resolver->resolution;
    struct pv_rte **grown = pv_resolver_grow(resolver, resolution->relations, resolution->relation_count,
                                             &resolver->relation_size, sizeof(*grown));

    if (grown == NULL)
        return PV_NOMEM;
    resolution->relations = grown;
    grown[resolution->relation_count++] = rte;
    return PV_OK;
}

static enum pv_status
from_relation(struct pv_resolver *resolver, struct pv_scope *scope, RangeVar *var, struct pv_rte **out)
{
    const struct pv_catalogue *catalogue = resolver->catalogue;
    struct pv_rte *rte = pv_rte_new(resolver, scope, PV_RTE_RELATION, (Node *) var);
    enum pv_status status;

    if (rte == NULL)
        return PV_NOMEM;
    rte->is_aliased = var->alias != NULL;
    rte->alias = rte->is_aliased ? var->alias->aliasname : var->relname;
    *out = rte;
    if (var->catalogname != NULL &&
        (catalogue->database == NULL || strcmp(var->catalogname, catalogue->database) != 0))
        return pv_resolve_error(resolver, PV_DENIED, "0A000", var->location,
                                "cross-database references are not implemented: \"%s.%s.%s\"", var->catalogname,
                                var->schemaname, var->relname);
    if (var->schemaname == NULL)
        for (const struct pv_cte *cte = scope->ctes; cte != NULL; cte = cte->next)
            if (strcmp(cte->name, var->relname) == 0) {
                rte->kind = PV_RTE_CTE;
                rte->level = cte->level;
                return set_columns(resolver, rte, var->alias, cte->columns, cte->column_count);
            }
    rte->relation = catalogue->find(catalogue->context, var->schemaname, var->relname);
    if (rte->relation == NULL) {
        if (var->schemaname != NULL)
            return pv_resolve_error(resolver, PV_NOTFOUND, "42P01", var->location,
                                    "relation \"%s.%s\" does not exist", var->schemaname, var->relname);
        return pv_resolve_error(resolver, PV_NOTFOUND, "42P01", var->location, "relation \"%s\" does not exist",
                                var->relname);
    }
    status = note_relation(resolver, rte);
    if (status != PV_OK)
        return status;
    return set_columns(resolver, rte, var->alias, rte->relation->columns, rte->relation->column_count);
}

static enum pv_status
from_subquery(struct pv_resolver *resolver, struct pv_scope *scope, RangeSubselect *sub, struct pv_rte **out)
{
    struct pv_rte *rte = pv_rte_new(resolver, scope, PV_RTE_SUBQUERY, (Node *) sub);
    const char *const *columns = NULL;
    enum pv_status status;

    if (rte == NULL)
        return PV_NOMEM;
    *out = rte;
    if (sub->alias == NULL)
        return pv_resolve_error(resolver, PV_SYNTAX, "42601", -1, "subquery in FROM must have an alias");
    rte->alias = sub->alias->aliasname;
    rte->is_aliased = true;
    if (sub->lateral)
        resolver->resolution->has_lateral = true;
    status = pv_resolve_level(resolver, (SelectStmt *) sub->subquery, sub->lateral ? scope : scope->parent,
                              scope->ctes, false, &rte->level);
    if (status == PV_OK)
        status = level_columns(resolver, rte->level, &columns);
    if (status == PV_OK)
        status = set_columns(resolver, rte, sub->alias, columns, rte->level->output_count);
    return status;
}

size_t
pv_unnested_count(const FuncCall *call, const List *definitions)
{
    bool is_plain = call->agg_order == NIL && call->agg_filter == NULL && call->over == NULL && !call->agg_star &&
                    !call->agg_distinct && !call->func_variadic && definitions == NIL;

    return is_plain && list_length(call->funcname) == 1 && strcmp(strVal(linitial(call->funcname)), "unnest") == 0 &&
                   call->args != NIL
               ? (size_t) list_length(call->args)
               : 1;
}

/* The columns of one function: a relation's, a column definition list's, or as many as it has named after it. */
static enum pv_status
function_columns(struct pv_resolver *resolver, struct pv_rte *rte, const RangeFunction *range, const List *item,
                 const char ***columns, size_t *count)
{
    const Node *call = linitial(item);
    const List *definitions = lsecond(item) != NULL ? (List *) lsecond(item) : range->coldeflist;
    const struct pv_catalogue *catalogue = resolver->catalogue;
    const struct pv_relation *relation = NULL;
    const char *name = pv_default_column_name(call);
    size_t wanted, called = 1;
    const char **grown;

    if (IsA(call, FuncCall)) {
        const List *names = ((const FuncCall *) call)->funcname;

        relation = catalogue->find_function(catalogue->context,
                                            list_length(names) > 1 ? strVal(linitial(names)) : NULL,
                                            strVal(llast(names)));
        called = pv_unnested_count((const FuncCall *) call, definitions);
    }
    wanted = definitions != NIL ? (size_t) list_length(definitions) : relation != NULL ? relation->column_count : called;
    grown = pv_arena_alloc(resolver->arena, (*count + wanted + 1) * sizeof(*grown));
    if (grown == NULL)
        return PV_NOMEM;
    if (*count > 0)
        memcpy(grown, *columns, *count * sizeof(*grown));
    for (size_t i = 0; i < wanted; i++) {
        if (definitions != NIL)
            grown[*count + i] = ((const ColumnDef *) list_nth(definitions, (int) i))->colname;
        else if (relation != NULL)
            grown[*count + i] = relation->columns[i];
        else
            /* A function of one column that stands alone lends its alias to the column. */
            grown[*count + i] = rte->alias != NULL && wanted == 1 && list_length(range->functions) == 1 ? rte->alias : name;
    }
    if (relation != NULL && relation->kind == PV_RELATION_QUESTION) {
        enum pv_status status = note_relation(resolver, rte);

        rte->relation = relation;
        if (status != PV_OK)
            return status;
    }
    *columns = grown;
    *count += wanted;
    return PV_OK;
}

static enum pv_status
from_function(struct pv_resolver *resolver, struct pv_scope *scope, RangeFunction *range, struct pv_rte **out)
{
    struct pv_rte *rte = pv_rte_new(resolver, scope, PV_RTE_FUNCTION, (Node *) range);
    const char **columns = NULL;
    size_t count = 0;
    ListCell *cell;
    enum pv_status status;

    if (rte == NULL)
        return PV_NOMEM;
    *out = rte;
    rte->is_aliased = range->alias != NULL;
    rte->alias = rte->is_aliased ? range->alias->aliasname
                                 : pv_default_column_name(linitial((List *) linitial(range->functions)));
    foreach (cell, range->functions) {
        List *item = lfirst(cell);

        /* Arguments see what stands before them: functions in FROM are lateral by themselves. */
        status = pv_resolve_expression(resolver, scope, linitial(item));
        if (status == PV_OK)
            status = function_columns(resolver, rte, range, item, &columns, &count);
        if (status != PV_OK)
            return status;
    }
    if (range->ordinality)
        columns[count++] = "ordinality";
    return set_columns(resolver, rte, range->alias, columns, count);
}

static enum pv_status from_item(struct pv_resolver *resolver, struct pv_scope *scope, Node *item, struct pv_ns *ns,
                                struct pv_rte **out);

static bool
names_have(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* USING's columns, or NATURAL's: those that both sides have, in the left's order. */
static enum pv_status
merged_names(struct pv_resolver *resolver, const JoinExpr *join, const struct pv_rte *left, const struct pv_rte *right,
             const char ***names, size_t *count)
{
    size_t room = (size_t) list_length(join->usingClause) + left->column_count + 1;
    const char **merged = pv_arena_alloc(resolver->arena, room * sizeof(*merged));
    ListCell *cell;

    *count = 0;
    *names = merged;
    if (merged == NULL)
        return PV_NOMEM;
    foreach (cell, join->usingClause)
        merged[(*count)++] = strVal(lfirst(cell));
    if (join->isNatural)
        for (size_t i = 0; i < left->column_count; i++)
            if (names_have(right->columns, right->column_count, left->columns[i]))
                merged[(*count)++] = left->columns[i];
    return PV_OK;
}

static enum pv_status
merge_side(struct pv_resolver *resolver, struct pv_rte *side, const char *name, const char *words,
           struct pv_column_at *column)
{
    bool is_found;
    uint32_t index = 0;
    enum pv_status status = pv_rte_column(resolver, side, name, -1, &is_found, &index);

    if (status != PV_OK)
        return status;
    if (!is_found)
        return pv_resolve_error(resolver, PV_NOTFOUND, "42703", -1,
                                "column \"%s\" specified in USING clause does not exist in %s table", name, words);
    *column = (struct pv_column_at){side, index};
    return PV_OK;
}

static enum pv_status
join_columns(struct pv_resolver *resolver, struct pv_rte *rte, const JoinExpr *join, struct pv_rte *left,
             struct pv_rte *right)
{
    const char **merged, **names;
    size_t merged_count, count;
    struct pv_rte *sides[] = {left, right};
    enum pv_status status = merged_names(resolver, join, left, right, &merged, &merged_count);

    if (status != PV_OK)
        return status;
    names = pv_arena_alloc(resolver->arena, (left->column_count + right->column_count + 1) * sizeof(*names));
    rte->join_columns = pv_arena_alloc(resolver->arena, (left->column_count + right->column_count + 1) *
                                                            sizeof(*rte->join_columns));
    if (names == NULL || rte->join_columns == NULL)
        return PV_NOMEM;
    for (count = 0; count < merged_count; count++) {
        names[count] = merged[count];
        status = merge_side(resolver, left, merged[count], "left", &rte->join_columns[count].left);
        if (status == PV_OK)
            status = merge_side(resolver, right, merged[count], "right", &rte->join_columns[count].right);
        if (status != PV_OK)
            return status;
    }
    for (size_t side = 0; side < 2; side++)
        for (size_t i = 0; i < sides[side]->column_count; i++) {
            struct pv_column_at at = {sides[side], (uint32_t) i};

            if (names_have(merged, merged_count, sides[side]->columns[i]))
                continue;
            names[count] = sides[side]->columns[i];
            if (side == 0)
                rte->join_columns[count].left = at;
            else
                rte->join_columns[count].right = at;
            count++;
        }
    return set_columns(resolver, rte, join->alias, names, count);
}

static enum pv_status
from_join(struct pv_resolver *resolver, struct pv_scope *scope, JoinExpr *join, struct pv_ns *ns, struct pv_rte **out)
{
    struct pv_ns sides = {0};
    struct pv_ns before = scope->ns;
    struct pv_rte *left = NULL, *right = NULL, *rte;
    enum pv_status status = from_item(resolver, scope, join->larg, &sides, &left);

    /* The right side, when lateral, sees the left. */
    for (size_t i = 0; i < sides.count && status == PV_OK; i++)
        status = pv_ns_add(resolver, &scope->ns, sides.items[i].rte, sides.items[i].is_named, sides.items[i].is_spread);
    if (status == PV_OK)
        status = from_item(resolver, scope, join->rarg, &sides, &right);
    if (status != PV_OK)
        return status;
    scope->ns = sides;
    status = pv_resolve_expression(resolver, scope, join->quals);
    scope->ns = before;
    if (status != PV_OK)
        return status;
    rte = pv_rte_new(resolver, scope, PV_RTE_JOIN, (Node *) join);
    if (rte == NULL)
        return PV_NOMEM;
    *out = rte;
    rte->alias = join->alias == NULL ? NULL : join->alias->aliasname;
    rte->is_aliased = rte->alias != NULL;
    status = join_columns(resolver, rte, join, left, right);
    /* An alias hides what is inside; without one the sides keep their names and lend the join their columns. */
    for (size_t i = 0; i < sides.count && status == PV_OK && rte->alias == NULL; i++)
        status = pv_ns_add(resolver, ns, sides.items[i].rte, sides.items[i].is_named, false);
    if (status == PV_OK && join->join_using_alias != NULL)
        return pv_resolve_error(resolver, PV_DENIED, "0A000", -1, "an alias of a USING clause is not supported");
    if (status == PV_OK)
        status = pv_ns_add(resolver, ns, rte, rte->alias != NULL, true);
    return status;
}

static enum pv_status
check_alias(struct pv_resolver *resolver, const struct pv_ns *ns, const struct pv_rte *rte)
{
    for (size_t i = 0; i < ns->count; i++) {
        const struct pv_rte *other = ns->items[i].rte;

        if (!ns->items[i].is_named || other == rte || rte->alias == NULL || other->alias == NULL ||
            strcmp(other->alias, rte->alias) != 0)
            continue;
        /* Two relations without aliases may share a name when their schemas differ. */
        if (!other->is_aliased && !rte->is_aliased && other->relation != NULL && rte->relation != NULL &&
            strcmp(other->relation->schema, rte->relation->schema) != 0)
            continue;
        return pv_resolve_error(resolver, PV_INVALID, "42712", -1, "table name \"%s\" specified more than once",
                                rte->alias);
    }
    return PV_OK;
}

static enum pv_status
from_item(struct pv_resolver *resolver, struct pv_scope *scope, Node *item, struct pv_ns *ns, struct pv_rte **out)
{
    enum pv_status status;

    if (IsA(item, JoinExpr)) {
        if (++resolver->depth > PV_QUERY_LEVELS_MAX)
            return pv_resolve_error(resolver, PV_DEPTH, "54001", -1, "statement is nested too deeply");
        status = from_join(resolver, scope, (JoinExpr *) item, ns, out);
        resolver->depth--;
        return status;
    }
    if (IsA(item, RangeVar))
        status = from_relation(resolver, scope, (RangeVar *) item, out);
    else if (IsA(item, RangeSubselect))
        status = from_subquery(resolver, scope, (RangeSubselect *) item, out);
    else if (IsA(item, RangeFunction))
        status = from_function(resolver, scope, (RangeFunction *) item, out);
    else
        return pv_resolve_error(resolver, PV_DENIED, "42501", -1, "%s is not allowed in FROM",
                                IsA(item, RangeTableSample) ? "TABLESAMPLE" : pv_node_name(nodeTag(item)));
    return status == PV_OK ? pv_ns_add(resolver, ns, *out, true, true) : status;
}

enum pv_status
pv_resolve_from(struct pv_resolver *resolver, struct pv_scope *scope, List *from)
{
    ListCell *cell;

    foreach (cell, from) {
        struct pv_ns added = {0};
        struct pv_rte *rte = NULL;
        enum pv_status status = from_item(resolver, scope, lfirst(cell), &added, &rte);

        for (size_t i = 0; i < added.count && status == PV_OK; i++) {
            if (added.items[i].is_named)
                status = check_alias(resolver, &scope->ns, added.items[i].rte);
            if (status == PV_OK)
                status = pv_ns_add(resolver, &scope->ns, added.items[i].rte, added.items[i].is_named,
                                   added.items[i].is_spread);
        }
        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}
