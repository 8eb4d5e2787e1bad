#include "parser/resolve_int.h"

#include <string.h>

/* References by ColumnRef, and the look-up of names in a namespace and the ones around it. */

/* ---- references ---------------------------------------------------------- */

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

enum pv_status
pv_resolver_refer(struct pv_resolver *resolver, const struct pv_reference *reference)
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
    /* The one system column that clients read from the catalogs; it is a fact of the relation, like its name. */
    if (!found && rte->relation != NULL && rte->relation->kind == PV_RELATION_CATALOG &&
        strcmp(name, "tableoid") == 0) {
        found = true;
        *index = PV_WHOLE_ROW;
    }
    *is_found = found;
    return PV_OK;
}

/* Columns alone, in one scope. */
enum pv_status
pv_ns_find_spread(struct pv_resolver *resolver, const struct pv_scope *scope, const char *name, int location,
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
        enum pv_status status = pv_ns_find_spread(resolver, at, name, location, column, &found);

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
enum pv_status
pv_ns_find_qualifier(struct pv_resolver *resolver, struct pv_scope *scope, const ColumnRef *ref, struct pv_rte **rte,
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

enum pv_status
pv_resolve_column_ref(struct pv_resolver *resolver, struct pv_scope *scope, ColumnRef *ref)
{
    struct pv_reference reference = {.ref = ref, .level = scope->level};
    int count = list_length(ref->fields);
    Node *last;
    enum pv_status status;
    bool is_found;

    pv_assert(ref->fields != NIL); /* the grammar makes none without */
    last = llast(ref->fields);

    if (count == 1) {
        if (IsA(last, A_Star))
            return pv_resolve_error(resolver, PV_DENIED, "42601", ref->location,
                                    "\"*\" is not allowed in this place");
        status = find_bare(resolver, scope, strVal(last), ref->location, &reference.column, &reference.owner);
    } else {
        struct pv_rte *rte = NULL;

        status = pv_ns_find_qualifier(resolver, scope, ref, &rte, &reference.owner);
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
    return status == PV_OK ? pv_resolver_refer(resolver, &reference) : status;
}
