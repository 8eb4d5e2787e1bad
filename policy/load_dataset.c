/*
 * Data sets: INTERFACE 3. Beyond the keys shown there: `title`, `title` of a column, `allowed_result_receivers` (who may
 * have results that are made of it).
 */
#include "policy/load_int.h"
#include "policy/question.h"

#include <string.h>

/* A data set while it is read. */
struct dataset_load {
    struct pv_dataset *dataset;
    struct pv_room_load *room;
    struct pv_budgets budgets;
};

/* Schema and name, split at the first dot, case kept. False: no such form. */
static bool
split_name(struct pv_doc *doc, const char *text, const char **schema, const char **name)
{
    const char *dot = strchr(text, '.');

    if (dot == NULL || dot == text || dot[1] == '\0')
        return false;
    if ((size_t) (dot - text) > PV_NAME_BYTES_MAX || strlen(dot + 1) > PV_NAME_BYTES_MAX)
        return false;
    *schema = pv_load_strndup(doc, text, (size_t) (dot - text));
    *name = pv_load_strdup(doc, dot + 1);
    return true;
}

static void
set_source(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_dataset *dataset = ((struct dataset_load *) field)->dataset;

    (void) key;
    if (!split_name(doc, pv_located_string(value), &dataset->source_schema, &dataset->source_name))
        pv_load_fault(doc, value, "\"source\" must be SCHEMA.NAME, each 1 to %u bytes long, not \"%s\"",
                      PV_NAME_BYTES_MAX, pv_located_string(value));
}

static void
set_owner(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct dataset_load *load = field;

    if (!pv_room_has_party(load->room->room, pv_located_string(value)))
        pv_load_fault(doc, value, "the room has no party \"%s\"", pv_located_string(value));
    pv_set_string(doc, value, &load->dataset->owner, key);
}

static void
set_title(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    pv_set_string(doc, value, &((struct dataset_load *) field)->dataset->title, key);
}

static void
set_columns(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_dataset *dataset = ((struct dataset_load *) field)->dataset;
    struct pv_column *columns = pv_load_alloc(doc, value->child_count, sizeof(*columns));
    const char **names = pv_load_alloc(doc, value->child_count, sizeof(*names));
    const char **keys = pv_load_alloc(doc, value->child_count, sizeof(*keys));

    (void) key;
    if (value->child_count == 0)
        pv_load_fault(doc, value, "\"columns\" must list at least one column");
    if (columns == NULL || names == NULL || keys == NULL)
        return;
    for (size_t i = 0; i < value->child_count; i++) {
        pv_load_column(doc, &value->children[i], &columns[i]);
        if (columns[i].mask.kind == PV_MASK_OMIT)
            continue;
        keys[dataset->relation.column_count] =
            pv_arena_printf(doc->load->arena, "%s.%s", dataset->key, columns[i].name);
        if (keys[dataset->relation.column_count] == NULL)
            doc->load->is_out_of_memory = true;
        names[dataset->relation.column_count++] = columns[i].name;
    }
    dataset->column_keys = keys;
    dataset->columns = columns;
    dataset->column_count = value->child_count;
    dataset->relation.columns = names;
    if (value->child_count > 0 && dataset->relation.column_count == 0)
        pv_load_fault(doc, value, "every column is omitted: nothing is left to share");
}

/* The place of a fault inside the text of a JSON string: on its character. */
static void
say_inside(struct pv_doc *doc, const struct pv_located *value, const struct pv_compile_fault *fault)
{
    unsigned line, column;

    pv_located_place(value, fault->position, &line, &column);
    pv_faults_add(doc->load->faults, doc->file, line, column, false, "row filter: %s", fault->message);
}

static bool
has_attribute(const struct pv_room_load *load, const char *name)
{
    for (size_t i = 0; i < load->room->member_count; i++) {
        const struct pv_user *user = pv_policy_user(load->policy, pv_slice_cstr(load->room->members[i].user));

        for (size_t j = 0; user != NULL && j < user->attribute_count; j++)
            if (strcmp(user->attributes[j].name, name) == 0)
                return true;
    }
    return false;
}

static void
set_row_filter(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct dataset_load *load = field;
    struct pv_compile_fault fault = {NULL, 0};
    struct pv_names attributes = {NULL, 0};
    enum pv_status status;

    pv_set_string(doc, value, &load->dataset->row_filter, key);
    if (load->dataset->row_filter == NULL)
        return;
    status = pv_row_filter_check(doc->load->arena, load->dataset->row_filter, &attributes, &fault);
    if (status == PV_NOMEM || (status != PV_OK && fault.message == NULL))
        doc->load->is_out_of_memory = true;
    else if (status != PV_OK)
        say_inside(doc, value, &fault);
    if (status != PV_OK || !doc->load->has_users)
        return;
    for (size_t i = 0; i < attributes.count; i++)
        if (!has_attribute(load->room, attributes.names[i]))
            pv_load_warning(doc, value, "no member of the room has the attribute \"%s\": nobody sees a row",
                            attributes.names[i]);
}

static void
check_entity(struct pv_doc *doc, const struct pv_located *value, struct pv_dataset *dataset)
{
    const struct pv_located *entity = pv_located_find(value, "entity");
    const struct pv_column *column;

    if (entity == NULL || pv_located_kind(entity) != PV_J_STRING || dataset->columns == NULL)
        return;
    column = pv_dataset_column(dataset, pv_located_string(entity));
    if (column == NULL)
        pv_load_fault(doc, entity, "the data set lists no column \"%s\"", pv_located_string(entity));
    else if (column->mask.kind == PV_MASK_OMIT)
        pv_load_fault(doc, entity, "the entity column \"%s\" is omitted from the room", pv_located_string(entity));
    else if (column->mask.kind == PV_MASK_NULL || column->mask.kind == PV_MASK_CONSTANT)
        pv_load_fault(doc, entity, "the mask of \"%s\" makes all entities equal: they cannot be counted",
                      pv_located_string(entity));
}

static void
set_entity(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    pv_set_string(doc, value, &((struct dataset_load *) field)->dataset->entity, key);
}

static void
set_receivers(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct dataset_load *load = field;

    (void) key;
    load->dataset->has_receivers = true;
    pv_load_member_entries(doc, load->room->room, value, &load->dataset->receivers);
}

static void
read_key(struct pv_doc *doc, struct dataset_load *load, const struct pv_located *value)
{
    struct pv_dataset *dataset = load->dataset;
    const char *schema = "";
    const char *name = "";

    dataset->key = pv_load_strdup(doc, value->key);
    dataset->relation.kind = PV_RELATION_DATASET;
    dataset->relation.owner = dataset;
    if (!split_name(doc, value->key, &schema, &name)) {
        pv_load_fault_key(doc, value, "a data set's name must be SCHEMA.NAME, each 1 to %u bytes long, not \"%s\"",
                          PV_NAME_BYTES_MAX, value->key);
        load->room->is_incomplete = true;
        name = dataset->key;
    } else if (strncmp(schema, "pg_", 3) == 0 || strcmp(schema, "information_schema") == 0 ||
               strcmp(schema, "questions") == 0) {
        pv_load_fault_key(doc, value, "the schema \"%s\" is not for data sets", schema);
    }
    dataset->relation.schema = schema;
    dataset->relation.name = name;
    dataset->source_schema = schema;
    dataset->source_name = name;
}

static void
read_dataset(struct pv_doc *doc, struct pv_room_load *room, const struct pv_located *value, struct pv_dataset *dataset)
{
    /* Columns, entity and budgets first in the file or last: the rule is read when they are known. */
    static const struct pv_key keys[] = {
        {"owner", PV_J_STRING, true, set_owner, 0, 0, 0, NULL},
        {"source", PV_J_STRING, false, set_source, 0, 0, 0, NULL},
        {"entity", PV_J_STRING, false, set_entity, 0, 0, 0, NULL},
        {"row_filter", PV_J_STRING, false, set_row_filter, 0, 0, 0, NULL},
        {"title", PV_J_STRING, false, set_title, 0, 0, 0, NULL},
        {"columns", PV_J_OBJECT, true, set_columns, 0, 0, 0, NULL},
        {"analysis_rule", PV_J_OBJECT, false, NULL, 0, 0, 0, NULL},
        {"access_budget", PV_J_ARRAY, false, pv_set_budgets, offsetof(struct dataset_load, budgets), 0, 0, NULL},
        {"allowed_result_receivers", PV_J_ARRAY, false, set_receivers, 0, 0, 0, NULL},
    };
    struct dataset_load load = {dataset, room, {NULL, 0}};
    const struct pv_located *rule;

    read_key(doc, &load, value);
    if (!pv_load_object(doc, value, keys, PV_COUNT_OF(keys), &load)) {
        room->is_incomplete = true;
        return;
    }
    dataset->budgets = load.budgets.budgets;
    dataset->budget_count = load.budgets.count;
    if (dataset->columns == NULL) {
        room->is_incomplete = true;
        return;
    }
    check_entity(doc, value, dataset);
    rule = pv_located_find(value, "analysis_rule");
    if (rule != NULL && pv_located_kind(rule) == PV_J_OBJECT)
        pv_load_rule(doc, rule, dataset);
}

void
pv_load_datasets(struct pv_doc *doc, struct pv_room_load *load, const struct pv_located *value)
{
    struct pv_dataset *datasets = pv_load_alloc(doc, value->child_count, sizeof(*datasets));

    if (datasets == NULL)
        return;
    for (size_t i = 0; i < value->child_count && !doc->load->is_out_of_memory; i++)
        read_dataset(doc, load, &value->children[i], &datasets[i]);
    if (doc->load->is_out_of_memory)
        return;
    load->room->datasets = datasets;
    load->room->dataset_count = value->child_count;
}
