#include <string.h>

#include "policy/catalog.h"
#include "policy/catalog_columns.h"
#include "policy/decide_int.h"
#include "policy/functions.h"
#include "policy/views.h"

/* What a caller's names mean in a room: data sets, questions, and the catalogs that the room may show. */

/* The catalog relation with its columns, so that their names resolve. */
static const struct pv_relation *
catalog_relation(struct pv_room_names *names, const struct pv_catalog_relation *found)
{
    const char *qualified = pv_arena_printf(names->arena, "%s.%s", found->relation.schema, found->relation.name);
    const char *list = qualified == NULL ? NULL : pv_catalog_column_list(qualified);
    struct pv_relation *relation;
    const char **columns;
    size_t count = 1;
    char *copy;

    if (list == NULL)
        return NULL;
    for (const char *at = list; *at != '\0'; at++)
        count += *at == ',';
    relation = pv_arena_alloc(names->arena, sizeof(*relation));
    columns = pv_arena_alloc(names->arena, count * sizeof(*columns));
    copy = pv_arena_strdup(names->arena, list);
    if (relation == NULL || columns == NULL || copy == NULL) {
        names->is_out_of_memory = true;
        return NULL;
    }
    *relation = found->relation;
    relation->owner = found;
    relation->columns = columns;
    relation->column_count = count;
    columns[0] = copy;
    for (size_t i = 1; i < count; i++) {
        char *comma = strchr(copy, ',');

        *comma = '\0';
        copy = comma + 1;
        columns[i] = copy;
    }
    return relation;
}

static const struct pv_relation *
find_in(struct pv_room_names *names, const char *schema, const char *name)
{
    const struct pv_dataset *dataset = pv_room_dataset(names->room, schema, name);
    const struct pv_question *question;

    if (dataset != NULL)
        return &dataset->relation;
    if (names->is_data_only || strcmp(schema, "questions") != 0)
        return NULL;
    question = pv_room_question(names->room, name);
    return question != NULL && !question->is_open ? &question->relation : NULL;
}

static const struct pv_relation *
find_relation(void *context, const char *schema, const char *name)
{
    struct pv_room_names *names = context;
    const struct pv_relation *found;

    if (!names->is_data_only) {
        const struct pv_catalog_relation *catalog = pv_catalog_find(schema, name);

        if (catalog != NULL)
            return catalog_relation(names, catalog);
    }
    if (schema != NULL)
        return find_in(names, schema, name);
    for (size_t i = 0; i < names->search_path.count; i++) {
        /* A schema after the one who asks, were there one; never one that is called so. */
        if (strcmp(names->search_path.names[i], "$user") == 0)
            continue;
        found = find_in(names, names->search_path.names[i], name);
        if (found != NULL)
            return found;
    }
    return NULL;
}

bool
pv_is_question_schema(const struct pv_names *search_path, const char *schema)
{
    if (schema != NULL)
        return strcmp(schema, "questions") == 0;
    for (size_t i = 0; i < search_path->count; i++)
        if (strcmp(search_path->names[i], "questions") == 0)
            return true;
    return false;
}

static const struct pv_relation *
find_function(void *context, const char *schema, const char *name)
{
    struct pv_room_names *names = context;
    const struct pv_function *function = pv_function_find_qualified(schema, name);

    if (function != NULL)
        return pv_function_relation(function);
    return names->is_data_only || !pv_is_question_schema(&names->search_path, schema) ? NULL
                                                                                      : find_in(names, "questions", name);
}

struct pv_catalogue
pv_room_catalogue(struct pv_room_names *names)
{
    struct pv_catalogue catalogue = {find_relation, find_function, names->room->name, names};

    return catalogue;
}

bool
pv_physical_name(const struct pv_room *room, const struct pv_relation *relation, char schema[64], const char **name)
{
    switch (relation->kind) {
    case PV_RELATION_DATASET:
        pv_views_relation(room->name, relation->owner, schema, name);
        return true;
    case PV_RELATION_CATALOG:
        pv_catalog_schema(relation->owner, room->name, schema);
        *name = ((const struct pv_catalog_relation *) relation->owner)->physical_name;
        return true;
    case PV_RELATION_QUESTION:
    default:
        return false;
    }
}
