/* Parameters of questions: INTERFACE 3. */
#include "parser/template.h"
#include "policy/load_int.h"
#include "policy/param.h"

#include <string.h>

#define LENGTH_MAX UINT64_C(1000000)
#define ITEMS_MAX UINT64_C(100000)
#define SCALAR (PV_J_STRING | PV_J_NUMBER | PV_J_BOOL)

static void
set_type(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_parameter *parameter = field;

    (void) key;
    parameter->type = pv_param_type_find(pv_located_string(value), &parameter->is_array);
    if (parameter->type == NULL)
        pv_load_fault(doc, value, "\"%s\": %s", pv_located_string(value),
                      pv_param_type_refusal(pv_located_string(value)));
}

static void
set_pattern(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_parameter *parameter = field;
    struct pv_held *held = pv_load_alloc(doc, 1, sizeof(*held));
    const char *words = NULL;
    enum pv_status status;

    pv_set_string(doc, value, &parameter->pattern, key);
    if (held == NULL || parameter->pattern == NULL)
        return;
    status = pv_param_regex_new(doc->load->arena, parameter->pattern, &held->regex, &words);
    if (status == PV_INVALID) {
        pv_load_fault(doc, value, "\"pattern\" is no POSIX extended regular expression: %s", words);
    } else if (status != PV_OK) {
        doc->load->is_out_of_memory = true;
    } else {
        parameter->regex = held->regex;
        held->next = doc->load->snapshot->held;
        doc->load->snapshot->held = held;
    }
}

/* The text of a scalar: a string's own, a number's as in the file. NULL: said or without memory. */
static const char *
scalar_text(struct pv_doc *doc, const struct pv_located *value, const char *name)
{
    if (!pv_load_kind(doc, value, SCALAR, name))
        return NULL;
    if (pv_located_kind(value) == PV_J_STRING)
        return pv_load_strdup(doc, pv_located_string(value));
    return pv_load_strndup(doc, (const char *) value->raw.data, value->raw.len);
}

/* A scalar of the parameter's element type, canonical; NULL after a fault. */
static const char *
read_scalar(struct pv_doc *doc, const struct pv_parameter *parameter, const struct pv_located *value, const char *name)
{
    const char *text = scalar_text(doc, value, name);
    const char *canonical = NULL;
    enum pv_status status;

    if (text == NULL || doc->load->is_out_of_memory)
        return NULL;
    status = pv_param_canonical(doc->load->arena, parameter->type, text, &canonical);
    if (status == PV_INVALID)
        pv_load_fault(doc, value, "\"%s\" must be of type %s, which this is not", name, parameter->type->name);
    else if (status != PV_OK)
        doc->load->is_out_of_memory = true;
    return status == PV_OK ? canonical : NULL;
}

static void
read_values(struct pv_doc *doc, struct pv_parameter *parameter, const struct pv_located *value)
{
    const char **values = pv_load_alloc(doc, value->child_count, sizeof(*values));

    if (value->child_count == 0)
        pv_load_fault(doc, value, "\"values\" must allow at least one value");
    for (size_t i = 0; values != NULL && i < value->child_count; i++) {
        values[parameter->value_count] = read_scalar(doc, parameter, &value->children[i], "values");
        if (values[parameter->value_count] != NULL)
            parameter->value_count++;
    }
    parameter->values = values;
}

/* An array's default is a JSON array; as text, quoted as PostgreSQL quotes. */
static const char *
array_text(struct pv_doc *doc, const struct pv_located *value)
{
    struct pv_buf buf = {0};
    const char *text = NULL;

    pv_buf_put_u8(&buf, '{');
    for (size_t i = 0; i < value->child_count; i++) {
        const char *item = pv_located_kind(&value->children[i]) == PV_J_NULL
                               ? "NULL"
                               : scalar_text(doc, &value->children[i], "default");

        if (item == NULL)
            goto done;
        if (i > 0)
            pv_buf_put_u8(&buf, ',');
        if (pv_located_kind(&value->children[i]) != PV_J_STRING) {
            pv_buf_put_text(&buf, item);
            continue;
        }
        pv_buf_put_u8(&buf, '"');
        for (; *item != '\0'; item++) {
            if (*item == '"' || *item == '\\')
                pv_buf_put_u8(&buf, '\\');
            pv_buf_put_u8(&buf, (uint8_t) *item);
        }
        pv_buf_put_u8(&buf, '"');
    }
    pv_buf_put_u8(&buf, '}');
    if (pv_buf_ok(&buf))
        text = pv_load_strndup(doc, (const char *) pv_buf_slice(&buf).data, pv_buf_len(&buf));
    else
        doc->load->is_out_of_memory = true;
done:
    pv_buf_clear(&buf);
    return text;
}

static void
read_default(struct pv_doc *doc, struct pv_parameter *parameter, const struct pv_located *value)
{
    const char *text = NULL;
    const char *words = NULL;
    enum pv_status status;

    if (pv_located_kind(value) != PV_J_NULL) {
        if (parameter->is_array && !pv_load_kind(doc, value, PV_J_ARRAY, NULL))
            return;
        text = parameter->is_array ? array_text(doc, value) : scalar_text(doc, value, "default");
        if (text == NULL || doc->load->is_out_of_memory)
            return;
    }
    status = pv_param_judge_text(doc->load->arena, parameter, text, &parameter->default_text, &words);
    if (status == PV_OK)
        parameter->has_default = true;
    else if (status == PV_INVALID)
        pv_load_fault(doc, value, "\"default\" is outside the parameter's own bounds: %s", words);
    else
        doc->load->is_out_of_memory = true;
}

static bool
is_text(const struct pv_param_type *type)
{
    return strcmp(type->name, "text") == 0 || strcmp(type->name, "character varying") == 0 ||
           strcmp(type->name, "bpchar") == 0;
}

/* Bounds that the type does not know, or that contradict each other. */
static void
check_bounds(struct pv_doc *doc, const struct pv_located *value, const struct pv_parameter *parameter)
{
    static const char *const text_keys[] = {"pattern", "max_length"};
    const struct pv_located *max_items = pv_located_find(value, "max_items");

    for (size_t i = 0; i < PV_COUNT_OF(text_keys); i++) {
        const struct pv_located *found = pv_located_find(value, text_keys[i]);

        if (found != NULL && !is_text(parameter->type))
            pv_load_fault_key(doc, found, "\"%s\" is for text parameters, not for %s", text_keys[i],
                              parameter->type->name);
    }
    if (parameter->is_array && max_items == NULL)
        pv_load_fault(doc, value, "missing key \"max_items\": an array needs one");
    if (!parameter->is_array && max_items != NULL)
        pv_load_fault_key(doc, max_items, "\"max_items\" is for arrays, such as %s[]", parameter->type->name);
    if (parameter->minimum != NULL && parameter->maximum != NULL &&
        pv_param_compare(parameter->type, parameter->minimum, parameter->maximum) > 0)
        pv_load_fault_key(doc, pv_located_find(value, "minimum"), "\"minimum\" is above \"maximum\"");
}

/* What `:name` can be; letters differ in case from no other parameter's, since `:name` is read as SQL reads names. */
static void
check_name(struct pv_doc *doc, const struct pv_located *value, const struct pv_parameter *parameters, size_t count)
{
    if (!pv_template_is_name(value->key) || strlen(value->key) > PV_NAME_BYTES_MAX)
        pv_load_fault_key(doc, value,
                          "a parameter's name is 1 to %u bytes of letters, digits, _ and $, first a letter or _, not \"%s\"",
                          PV_NAME_BYTES_MAX, value->key);
    for (size_t i = 0; i < count; i++)
        if (pv_template_same_name(parameters[i].name, value->key))
            pv_load_fault_key(doc, value, "parameters \"%s\" and \"%s\" differ in letter case only", parameters[i].name,
                              value->key);
}

static void
read_parameter(struct pv_doc *doc, struct pv_room_load *load, const struct pv_located *value,
               struct pv_parameter *parameter)
{
    static const struct pv_key keys[] = {
        {"type", PV_J_STRING, true, set_type, 0, 0, 0, NULL},
        {"nullable", PV_J_BOOL, false, pv_set_bool, offsetof(struct pv_parameter, is_nullable), 0, 0, NULL},
        {"default", SCALAR | PV_J_NULL | PV_J_ARRAY, false, NULL, 0, 0, 0, NULL},
        {"minimum", SCALAR, false, NULL, 0, 0, 0, NULL},
        {"maximum", SCALAR, false, NULL, 0, 0, 0, NULL},
        {"values", PV_J_ARRAY, false, NULL, 0, 0, 0, NULL},
        {"pattern", PV_J_STRING, false, set_pattern, 0, 0, 0, NULL},
        {"max_length", PV_J_INTEGER, false, pv_set_u64, offsetof(struct pv_parameter, max_length), 1, LENGTH_MAX, NULL},
        {"max_items", PV_J_INTEGER, false, pv_set_u64, offsetof(struct pv_parameter, max_items), 1, ITEMS_MAX, NULL},
    };
    const struct pv_located *found;

    parameter->name = pv_load_strdup(doc, value->key);
    if (!pv_load_object(doc, value, keys, PV_COUNT_OF(keys), parameter) || parameter->type == NULL) {
        load->is_question_incomplete = true;
        return;
    }
    /* These need the type, wherever it stands in the object. */
    if ((found = pv_located_find(value, "minimum")) != NULL && (pv_located_kind(found) & SCALAR) != 0)
        parameter->minimum = read_scalar(doc, parameter, found, "minimum");
    if ((found = pv_located_find(value, "maximum")) != NULL && (pv_located_kind(found) & SCALAR) != 0)
        parameter->maximum = read_scalar(doc, parameter, found, "maximum");
    if ((found = pv_located_find(value, "values")) != NULL && pv_located_kind(found) == PV_J_ARRAY)
        read_values(doc, parameter, found);
    check_bounds(doc, value, parameter);
    found = pv_located_find(value, "default");
    if (found != NULL && !doc->load->is_out_of_memory)
        read_default(doc, parameter, found);
}

void
pv_load_parameters(struct pv_doc *doc, struct pv_room_load *load, const struct pv_located *value,
                   struct pv_question *question)
{
    struct pv_parameter *parameters = pv_load_alloc(doc, value->child_count, sizeof(*parameters));

    if (parameters == NULL)
        return;
    for (size_t i = 0; i < value->child_count && !doc->load->is_out_of_memory; i++) {
        check_name(doc, &value->children[i], parameters, i);
        read_parameter(doc, load, &value->children[i], &parameters[i]);
    }
    question->parameters = parameters;
    question->parameter_count = value->child_count;
}
