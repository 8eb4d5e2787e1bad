#include "parser/resolve.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "parser/resolve_int.h"
#include "parser/walk.h"

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

/* ---- references ---------------------------------------------------------- */

/* Open addressing over the references by ColumnRef; rebuilt when half full. */
struct pv_reference_index {
    uint32_t *slots; /* reference number + 1; 0: free */
    size_t size;
};

static size_t
slot_of(const ColumnRef *ref, size_t size)
{
    return (size_t) (((uintptr_t) ref >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 17) & (size - 1);
}

static void
index_put(struct pv_reference_index *index, const struct pv_reference *references, uint32_t number)
{
    size_t at = slot_of(references[number].ref, index->size);

    while (index->slots[at] != 0)
        at = (at + 1) & (index->size - 1);
    index->slots[at] = number + 1;
}

static enum pv_status
index_grow(struct pv_resolver *resolver)
{
    struct pv_resolution *resolution = resolver->resolution;
    struct pv_reference_index *index = resolution->index;
    size_t wanted = index->size == 0 ? 64 : index->size * 2;

    index->slots = pv_arena_alloc(resolver->arena, wanted * sizeof(*index->slots));
    if (index->slots == NULL)
        return PV_NOMEM;
    index->size = wanted;
    for (uint32_t i = 0; i < resolution->reference_count; i++)
        index_put(index, resolution->references, i);
    return PV_OK;
}

static enum pv_status
add_reference(struct pv_resolver *resolver, const struct pv_reference *reference)
{
    struct pv_resolution *resolution = resolver->resolution;
    struct pv_reference *grown = pv_resolver_grow(resolver, resolution->references, resolution->reference_count,
                                                  &resolver->reference_size, sizeof(*grown));

    if (grown == NULL)
        return PV_NOMEM;
    resolution->references = grown;
    if ((resolution->reference_count + 1) * 2 > resolution->index->size) {
        enum pv_status status = index_grow(resolver);

        if (status != PV_OK)
            return status;
    }
    grown[resolution->reference_count] = *reference;
    index_put(resolution->index, grown, (uint32_t) resolution->reference_count);
    resolution->reference_count++;
    return PV_OK;
}

const struct pv_reference *
pv_resolution_reference(const struct pv_resolution *resolution, const ColumnRef *ref)
{
    const struct pv_reference_index *index = resolution->index;

    if (index->size == 0)
        return NULL;
    for (size_t at = slot_of(ref, index->size); index->slots[at] != 0; at = (at + 1) & (index->size - 1))
        if (resolution->references[index->slots[at] - 1].ref == ref)
            return &resolution->references[index->slots[at] - 1];
    return NULL;
}

/* ---- looking names up ------------------------------------------------------ */

enum pv_status
pv_ns_add(struct pv_resolver *resolver, struct pv_ns *ns, struct pv_rte *rte, bool is_named, bool is_spread)
{
    struct pv_ns_item *grown = pv_resolver_grow(resolver, ns->items, ns->count, &ns->size, sizeof(*grown));

    if (grown == NULL)
        return PV_NOMEM;
    ns->items = grown;
    grown[ns->count++] = (struct pv_ns_item){rte, is_named, is_spread};
    return PV_OK;
}

enum pv_status
pv_rte_column(struct pv_resolver *resolver, const struct pv_rte *rte, const char *name, int location, bool *is_found,
              uint32_t *index)
{
    bool found = false;

    for (size_t i = 0; i < rte->column_count; i++) {
        if (strcmp(rte->columns[i], name) != 0)
            continue;
        if (found)
            return pv_resolve_error(resolver, PV_INVALID, "42702", location, "column reference \"%s\" is ambiguous",
                                    name);
        found = true;
        *index = (uint32_t) i;
    }
    *is_found = found;
    return PV_OK;
}

/* Columns alone, in one scope. */
static enum pv_status
find_spread(struct pv_resolver *resolver, const struct pv_scope *scope, const char *name, int location,
            struct pv_column_at *column, bool *is_found)
{
    *is_found = false;
    for (size_t i = 0; i < scope->ns.count; i++) {
        const struct pv_ns_item *item = &scope->ns.items[i];
        uint32_t index;
        bool found;
        enum pv_status status;

        if (!item->is_spread)
            continue;
        status = pv_rte_column(resolver, item->rte, name, location, &found, &index);
        if (status != PV_OK)
            return status;
        if (!found)
            continue;
        if (*is_found)
            return pv_resolve_error(resolver, PV_INVALID, "42702", location, "column reference \"%s\" is ambiguous",
                                    name);
        *is_found = true;
        *column = (struct pv_column_at){item->rte, index};
    }
    return PV_OK;
}

/* A relation by its name: an alias, or schema.name of one without an alias. */
static struct pv_rte *
find_named(const struct pv_scope *scope, const char *schema, const char *name, bool *is_ambiguous)
{
    struct pv_rte *found = NULL;

    *is_ambiguous = false;
    for (size_t i = 0; i < scope->ns.count; i++) {
        struct pv_rte *rte = scope->ns.items[i].rte;

        if (!scope->ns.items[i].is_named || rte->alias == NULL || strcmp(rte->alias, name) != 0)
            continue;
        if (schema != NULL &&
            (rte->is_aliased || rte->relation == NULL || strcmp(rte->relation->schema, schema) != 0))
            continue;
        if (found != NULL)
            *is_ambiguous = true;
        found = rte;
    }
    return found;
}

static enum pv_status
find_table(struct pv_resolver *resolver, struct pv_scope *scope, const char *schema, const char *name, int location,
           struct pv_rte **rte, struct pv_level **owner)
{
    for (struct pv_scope *at = scope; at != NULL; at = at->parent) {
        bool is_ambiguous;
        struct pv_rte *found = find_named(at, schema, name, &is_ambiguous);

        if (is_ambiguous)
            return pv_resolve_error(resolver, PV_INVALID, "42P09", location, "table reference \"%s\" is ambiguous",
                                    name);
        if (found != NULL) {
            *rte = found;
            *owner = at->level;
            return PV_OK;
        }
    }
    return pv_resolve_error(resolver, PV_NOTFOUND, "42P01", location, "missing FROM-clause entry for table \"%s\"",
                            name);
}

/* `name` alone: a column here or further out, else a whole row. */
static enum pv_status
find_bare(struct pv_resolver *resolver, struct pv_scope *scope, const char *name, int location,
          struct pv_column_at *column, struct pv_level **owner)
{
    for (struct pv_scope *at = scope; at != NULL; at = at->parent) {
        bool found;
        enum pv_status status = find_spread(resolver, at, name, location, column, &found);

        if (status != PV_OK)
            return status;
        if (found) {
            *owner = at->level;
            return PV_OK;
        }
    }
    for (struct pv_scope *at = scope; at != NULL; at = at->parent) {
        bool is_ambiguous;
        struct pv_rte *rte = find_named(at, NULL, name, &is_ambiguous);

        if (rte != NULL && !is_ambiguous) {
            *column = (struct pv_column_at){rte, PV_WHOLE_ROW};
            *owner = at->level;
            return PV_OK;
        }
    }
    return pv_resolve_error(resolver, PV_NOTFOUND, "42703", location, "column \"%s\" does not exist", name);
}

static const char *
field_name(const List *fields, int n)
{
    Node *field = list_nth(fields, n);

    return IsA(field, String) ? strVal(field) : NULL;
}

/* The relation part of a qualified reference: all fields but the last. */
static enum pv_status
find_qualifier(struct pv_resolver *resolver, struct pv_scope *scope, const ColumnRef *ref, struct pv_rte **rte,
               struct pv_level **owner)
{
    int count = list_length(ref->fields);
    const char *schema = count >= 3 ? field_name(ref->fields, count - 3) : NULL;
    const char *name = field_name(ref->fields, count - 2);

    if (count > 4 || name == NULL || (count >= 3 && schema == NULL))
        return pv_resolve_error(resolver, PV_INVALID, "42601", ref->location,
                                "improper qualified name (too many dotted names)");
    if (count == 4) {
        const char *database = field_name(ref->fields, 0);

        if (database == NULL || resolver->catalogue->database == NULL ||
            strcmp(database, resolver->catalogue->database) != 0)
            return pv_resolve_error(resolver, PV_DENIED, "0A000", ref->location,
                                    "cross-database references are not implemented: %s",
                                    database == NULL ? "" : database);
    }
    return find_table(resolver, scope, schema, name, ref->location, rte, owner);
}

static enum pv_status
resolve_column_ref(struct pv_resolver *resolver, struct pv_scope *scope, ColumnRef *ref)
{
    struct pv_reference reference = {.ref = ref, .level = scope->level};
    int count = list_length(ref->fields);
    Node *last = llast(ref->fields);
    enum pv_status status;
    bool is_found;

    if (count == 1) {
        if (IsA(last, A_Star))
            return pv_resolve_error(resolver, PV_DENIED, "42601", ref->location,
                                    "\"*\" is not allowed in this place");
        status = find_bare(resolver, scope, strVal(last), ref->location, &reference.column, &reference.owner);
    } else {
        struct pv_rte *rte = NULL;

        status = find_qualifier(resolver, scope, ref, &rte, &reference.owner);
        if (status != PV_OK)
            return status;
        reference.column = (struct pv_column_at){rte, PV_WHOLE_ROW};
        if (!IsA(last, A_Star)) {
            status = pv_rte_column(resolver, rte, strVal(last), ref->location, &is_found, &reference.column.index);
            if (status == PV_OK && !is_found)
                status = pv_resolve_error(resolver, PV_NOTFOUND, "42703", ref->location,
                                          "column %s.%s does not exist", rte->alias, strVal(last));
        }
    }
    return status == PV_OK ? add_reference(resolver, &reference) : status;
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
        visit->status = resolve_column_ref(visit->resolver, visit->scope, (ColumnRef *) node);
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

const char *
pv_default_column_name(const Node *expr)
{
    const char *inner;

    switch ((int) nodeTag(expr)) {
    case T_ColumnRef: {
        const char *name = NULL;
        const ListCell *cell;

        foreach (cell, ((const ColumnRef *) expr)->fields)
            if (IsA(lfirst(cell), String))
                name = strVal(lfirst(cell));
        return name == NULL ? "?column?" : name;
    }
    case T_A_Indirection: {
        const ListCell *cell;
        const char *name = NULL;

        foreach (cell, ((const A_Indirection *) expr)->indirection)
            if (IsA(lfirst(cell), String))
                name = strVal(lfirst(cell));
        return name != NULL ? name : pv_default_column_name(((const A_Indirection *) expr)->arg);
    }
    case T_FuncCall:
        return strVal(llast(((const FuncCall *) expr)->funcname));
    case T_A_Expr:
        return ((const A_Expr *) expr)->kind == AEXPR_NULLIF ? "nullif" : "?column?";
    case T_TypeCast:
        inner = pv_default_column_name(((const TypeCast *) expr)->arg);
        /* A cast's own name stands in only where what is cast has none. */
        if (strcmp(inner, "?column?") != 0 && strcmp(inner, "case") != 0)
            return inner;
        return strVal(llast(((const TypeCast *) expr)->typeName->names));
    case T_CollateClause:
        return pv_default_column_name(((const CollateClause *) expr)->arg);
    case T_GroupingFunc:
        return "grouping";
    case T_SubLink: {
        const SubLink *link = (const SubLink *) expr;
        const SelectStmt *select = (const SelectStmt *) link->subselect;

        if (link->subLinkType == EXISTS_SUBLINK)
            return "exists";
        if (link->subLinkType == ARRAY_SUBLINK)
            return "array";
        if (link->subLinkType != EXPR_SUBLINK)
            return "?column?";
        while (select->op != SETOP_NONE)
            select = select->larg;
        if (select->targetList != NIL) {
            const ResTarget *target = linitial(select->targetList);

            return target->name != NULL ? target->name : pv_default_column_name(target->val);
        }
        return "column1";
    }
    case T_CaseExpr: {
        const CaseExpr *choice = (const CaseExpr *) expr;

        inner = choice->defresult == NULL ? "?column?" : pv_default_column_name((Node *) choice->defresult);
        return strcmp(inner, "?column?") == 0 ? "case" : inner;
    }
    case T_A_ArrayExpr:
        return "array";
    case T_RowExpr:
        return "row";
    case T_CoalesceExpr:
        return "coalesce";
    case T_MinMaxExpr:
        return ((const MinMaxExpr *) expr)->op == IS_GREATEST ? "greatest" : "least";
    case T_SQLValueFunction: {
        static const char *const names[] = {
            [SVFOP_CURRENT_DATE] = "current_date",
            [SVFOP_CURRENT_TIME] = "current_time",
            [SVFOP_CURRENT_TIME_N] = "current_time",
            [SVFOP_CURRENT_TIMESTAMP] = "current_timestamp",
            [SVFOP_CURRENT_TIMESTAMP_N] = "current_timestamp",
            [SVFOP_LOCALTIME] = "localtime",
            [SVFOP_LOCALTIME_N] = "localtime",
            [SVFOP_LOCALTIMESTAMP] = "localtimestamp",
            [SVFOP_LOCALTIMESTAMP_N] = "localtimestamp",
            [SVFOP_CURRENT_ROLE] = "current_role",
            [SVFOP_CURRENT_USER] = "current_user",
            [SVFOP_USER] = "user",
            [SVFOP_SESSION_USER] = "session_user",
            [SVFOP_CURRENT_CATALOG] = "current_catalog",
            [SVFOP_CURRENT_SCHEMA] = "current_schema",
        };

        return names[((const SQLValueFunction *) expr)->op];
    }
    default:
        return "?column?";
    }
}

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

        status = find_qualifier(resolver, scope, ref, &rte, &reference.owner);
        if (status != PV_OK)
            return status;
        reference.column = (struct pv_column_at){rte, PV_WHOLE_ROW};
        status = add_reference(resolver, &reference);
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
            find_spread(resolver, scope, name, ((ColumnRef *) expr)->location, &column, &is_input);

        if (status != PV_OK)
            return status;
        if (is_input)
            return pv_resolve_expression(resolver, scope, expr);
    }
    return add_reference(resolver, &reference);
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
