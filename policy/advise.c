/* Rooms that are sound and yet protect badly: warnings of `pgveil check`, each where the cause stands. */
#include "policy/load_int.h"
#include "policy/rule_int.h"

#include <string.h>
#include <time.h>

/* A word of a name, between its ends and underscores. */
static bool
has_word(const char *name, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = strstr(name, word); at != NULL; at = strstr(at + 1, word))
        if ((at == name || at[-1] == '_') && (at[length] == '\0' || at[length] == '_'))
            return true;
    return false;
}

/* Does the name say that the column tells people, or their devices, apart? */
static bool
names_a_person(const char *name)
{
    static const char *const words[] = {"email",      "e_mail",      "mail",      "phone",       "mobile",      "msisdn",
                                        "ssn",        "national_id", "passport",  "iban",        "card_number", "full_name",
                                        "first_name", "last_name",   "surname",   "family_name", "street",      "address",
                                        "ip",         "cookie",      "device_id", "idfa",        "gaid",        "maid",
                                        "user_id",    "customer_id", "person_id", "patient_id",  "member_id",   "household_id",
                                        "subject_id", "tax_id",      "imei",      "login",       "username",    "birth_date"};

    for (size_t i = 0; i < PV_COUNT_OF(words); i++)
        if (has_word(name, words[i]))
            return true;
    return false;
}

/* Does the name say that the column has nearly as many values as there are rows? */
static bool
names_many_values(const char *name)
{
    static const char *const words[] = {"postcode", "postal_code", "zip",       "zipcode",    "latitude",   "longitude", "lat",
                                        "lon",      "lng",         "geohash",   "timestamp",  "created_at", "updated_at", "url",
                                        "session",  "session_id",  "uuid",      "guid",       "token",      "hash",       "order_id",
                                        "user_agent"};

    for (size_t i = 0; i < PV_COUNT_OF(words); i++)
        if (has_word(name, words[i]))
            return true;
    return false;
}

static const struct pv_located *
find_in(const struct pv_located *object, const char *key)
{
    return object == NULL || pv_located_kind(object) != PV_J_OBJECT ? NULL : pv_located_find(object, key);
}

/* The string of an array that is `text`; the array itself where it is none of them. */
static const struct pv_located *
item_of(const struct pv_located *array, const char *text)
{
    for (size_t i = 0; array != NULL && i < array->child_count; i++)
        if (pv_located_kind(&array->children[i]) == PV_J_STRING &&
            strcmp(pv_located_string(&array->children[i]), text) == 0)
            return &array->children[i];
    return array;
}

static void
advise_columns(struct pv_doc *doc, const struct pv_dataset *dataset, const struct pv_located *at)
{
    const struct pv_located *columns = find_in(at, "columns");

    for (size_t i = 0; i < dataset->column_count; i++) {
        const struct pv_column *column = &dataset->columns[i];
        const struct pv_located *place = find_in(columns, column->name);
        bool is_entity = dataset->entity != NULL && strcmp(dataset->entity, column->name) == 0;

        if (place == NULL || column->mask.kind != PV_MASK_PLAIN || (!is_entity && !names_a_person(column->name)))
            continue;
        pv_load_warning(doc, place, "column \"%s\" of \"%s\" looks like an identifier and is shown as it is: mask it",
                        column->name, dataset->key);
    }
}

/* What may be compared with a literal, and so picked out. */
static void
advise_filters(struct pv_doc *doc, const struct pv_dataset *dataset, const struct pv_located *at)
{
    const struct pv_analysis_rule *rule = dataset->rule;
    const struct pv_names *outputs = rule->type == PV_RULE_LIST ? &rule->list_columns : &rule->dimension_columns;
    const struct pv_names *names = rule->has_literal_columns ? &rule->literal_columns : outputs;
    const struct pv_located *place =
        rule->has_literal_columns
            ? find_in(find_in(at, "comparison_controls"), "allowed_literal_comparison_columns")
            : find_in(at, rule->type == PV_RULE_LIST ? "list_columns" : "dimension_columns");

    for (size_t i = 0; i < names->count && place != NULL; i++) {
        const struct pv_column *column = pv_dataset_column(dataset, names->names[i]);
        bool is_coarse = column != NULL && (column->mask.kind == PV_MASK_TRUNCATE_DATE || column->mask.kind == PV_MASK_BUCKET ||
                                            column->mask.kind == PV_MASK_EMAIL_DOMAIN || column->mask.kind == PV_MASK_CONSTANT ||
                                            column->mask.kind == PV_MASK_NULL);

        if (is_coarse || column == NULL)
            continue;
        if (names_a_person(column->name) || pv_names_hold(&rule->join_columns, column->name))
            pv_load_warning(doc, item_of(place, column->name),
                            "column \"%s\" of \"%s\" tells people apart and may be compared with a literal: a question "
                            "can single one out",
                            column->name, dataset->key);
        else if (column->mask.kind == PV_MASK_HASH || names_many_values(column->name))
            pv_load_warning(doc, item_of(place, column->name),
                            "column \"%s\" of \"%s\" looks as if it had very many values and may be compared with a "
                            "literal: bucket it, or leave it out of comparison_controls",
                            column->name, dataset->key);
    }
}

static void
advise_functions(struct pv_doc *doc, const struct pv_dataset *dataset, const struct pv_located *at)
{
    const struct pv_names *names = &dataset->rule->scalar_functions;
    const struct pv_located *place = find_in(at, "scalar_functions");

    for (size_t i = 0; i < names->count && place != NULL; i++)
        if (strcmp(names->names[i], "nullif") != 0 && !pv_rule_function_is_safe(names->names[i]))
            pv_load_warning(doc, item_of(place, names->names[i]),
                            "function \"%s\" can fail on a value and so tell it: open questions over data are refused it",
                            names->names[i]);
}

/* Thresholds protect whom they count. */
static void
advise_entity(struct pv_doc *doc, const struct pv_dataset *dataset, const struct pv_located *at)
{
    const struct pv_analysis_rule *rule = dataset->rule;
    bool is_counted = false;

    for (size_t i = 0; i < rule->constraint_count && dataset->entity != NULL; i++)
        is_counted |= strcmp(rule->constraints[i].column, dataset->entity) == 0;
    if (dataset->entity == NULL)
        pv_load_warning(doc, at,
                        "data set \"%s\" has an analysis rule and no \"entity\": nothing says which column must not meet a "
                        "literal, and whom a threshold counts",
                        dataset->key);
    else if (rule->constraint_count > 0 && !is_counted)
        pv_load_warning(doc, find_in(at, "output_constraints"),
                        "no threshold counts the entity \"%s\" of \"%s\"", dataset->entity, dataset->key);
}

static void
advise_thresholds(struct pv_doc *doc, const struct pv_dataset *dataset, const struct pv_located *at)
{
    const struct pv_located *place = find_in(at, "output_constraints");

    for (size_t i = 0; place != NULL && i < dataset->rule->constraint_count && i < place->child_count; i++) {
        const struct pv_located *minimum = find_in(&place->children[i], "minimum");

        if (dataset->rule->constraints[i].minimum < 2 && minimum != NULL)
            pv_load_warning(doc, minimum, "a minimum of %llu releases groups of one entity",
                            (unsigned long long) dataset->rule->constraints[i].minimum);
    }
}

/* What comes back every day comes back for ever. */
static void
advise_budgets(struct pv_doc *doc, const struct pv_budget *budgets, size_t count, const struct pv_located *at)
{
    const struct pv_located *place = find_in(at, "access_budget");

    if (place == NULL || count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (budgets[i].per == PV_PER_LIFETIME)
            return;
    pv_load_warning(doc, place,
                    "this budget comes back with every new period, for ever: add {\"per\": \"lifetime\", \"runs\": N}");
}

static bool
is_asked(const struct pv_room *room, const struct pv_question *question,
         bool (*may)(const struct pv_question *question, const struct pv_member *member))
{
    for (size_t i = 0; i < room->member_count; i++)
        if (may(question, &room->members[i]))
            return true;
    return false;
}

static bool
is_join_column(const struct pv_dataset *dataset, const char *name)
{
    return (dataset->entity != NULL && strcmp(dataset->entity, name) == 0) ||
           (dataset->rule != NULL && pv_names_hold(&dataset->rule->join_columns, name));
}

static void
advise_output(struct pv_doc *doc, const struct pv_question *question, const struct pv_located *at)
{
    for (size_t i = 0; i < question->relation.column_count; i++)
        for (size_t k = 0; k < question->dataset_count; k++)
            if (is_join_column(question->datasets[k], question->relation.columns[i])) {
                pv_load_warning(doc, at, "question \"%s\" outputs \"%s\", by which the rows of \"%s\" are told apart and joined",
                                question->id, question->relation.columns[i], question->datasets[k]->key);
                break;
            }
}

static void
advise_question(struct pv_doc *doc, const struct pv_room *room, const struct pv_question *question,
                const struct pv_located *at)
{
    if (!is_asked(room, question, pv_question_admits))
        pv_load_warning(doc, at, "no member of the room may ask question \"%s\"", question->id);
    else if (!is_asked(room, question, pv_question_serves))
        pv_load_warning(doc, at,
                        "nobody who may ask question \"%s\" is among the allowed_result_receivers of what it reads",
                        question->id);
    for (size_t i = 0; i < question->dataset_count && question->type == PV_QUESTION_ANALYTICAL && !question->is_open; i++)
        if (question->datasets[i]->entity != NULL && question->minimum_entities == 0) {
            pv_load_warning(doc, at,
                            "question \"%s\" reads \"%s\" and has no \"minimum_entities\": groups of any size are released",
                            question->id, question->datasets[i]->key);
            break;
        }
    advise_budgets(doc, question->budgets, question->budget_count, at);
    if (question->minimum_entities == 1)
        pv_load_warning(doc, find_in(at, "output"), "a minimum of 1 releases groups of one entity");
    if (question->type == PV_QUESTION_ANALYTICAL && !question->is_open)
        advise_output(doc, question, at);
}

void
pv_advise_room(struct pv_doc *doc, const struct pv_room *room)
{
    const struct pv_located *datasets = find_in(doc->top, "datasets"), *questions = find_in(doc->top, "questions");

    if (room->has_expiry && room->expires_us <= (int64_t) time(NULL) * 1000000)
        pv_load_warning(doc, find_in(doc->top, "expires"), "room \"%s\" has expired: nobody can enter it", room->name);
    for (size_t i = 0; i < room->dataset_count; i++) {
        const struct pv_dataset *dataset = &room->datasets[i];
        const struct pv_located *at = find_in(datasets, dataset->key), *rule = find_in(at, "analysis_rule");

        advise_columns(doc, dataset, at);
        advise_budgets(doc, dataset->budgets, dataset->budget_count, at);
        if (dataset->rule == NULL || rule == NULL)
            continue;
        advise_filters(doc, dataset, rule);
        advise_functions(doc, dataset, rule);
        advise_entity(doc, dataset, rule);
        advise_thresholds(doc, dataset, rule);
    }
    for (size_t i = 0; i < room->question_count; i++) {
        const struct pv_located *at = find_in(questions, room->questions[i].id);

        if (at != NULL)
            advise_question(doc, room, &room->questions[i], at);
    }
}
