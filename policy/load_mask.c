/* Columns and their masks: INTERFACE 3, the table of masks. */
#include "policy/load_int.h"
#include "policy/param_int.h"

#include <string.h>

#define DIGITS_MAX 100
#define CHARACTERS_MAX 10000

static void
set_text_mask(struct pv_doc *doc, const struct pv_located *value, struct pv_mask *mask)
{
    static const struct {
        const char *word;
        enum pv_mask_kind kind;
    } rows[] = {
        {"plain", PV_MASK_PLAIN}, {"omit", PV_MASK_OMIT},
        {"null", PV_MASK_NULL},   {"hash", PV_MASK_HASH},
        {"email_domain", PV_MASK_EMAIL_DOMAIN},
    };

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        if (strcmp(rows[i].word, pv_located_string(value)) == 0) {
            mask->kind = rows[i].kind;
            return;
        }
    }
    pv_load_fault(doc, value,
                  "unknown mask \"%s\": known are plain, omit, null, hash, email_domain, and as objects hash, "
                  "truncate_date, bucket, round, prefix, suffix, constant",
                  pv_located_string(value));
}

static void
set_hash(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_mask *mask = field;

    mask->kind = PV_MASK_HASH;
    pv_set_name(doc, value, &mask->key_name, key);
}

static void
set_truncate(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const char *const units[] = {"year", "quarter", "month", "week", "day", "hour", NULL};
    static const struct pv_key unit_key = {"truncate_date", PV_J_STRING, false, NULL, 0, 0, 0, units};
    struct pv_mask *mask = field;
    int unit = -1;

    (void) key;
    mask->kind = PV_MASK_TRUNCATE_DATE;
    pv_set_word(doc, value, &unit, &unit_key);
    if (unit >= 0)
        mask->unit = units[unit];
}

static void
set_bucket(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_mask *mask = field;
    char *text = pv_arena_strndup(doc->scratch, (const char *) value->raw.data, value->raw.len);
    enum pv_status status = PV_NOMEM;

    (void) key;
    mask->kind = PV_MASK_BUCKET;
    if (text != NULL)
        status = pv_number_decimal(doc->load->arena, text, &mask->number);
    if (status == PV_NOMEM)
        doc->load->is_out_of_memory = true;
    else if (status != PV_OK || pv_number_compare(mask->number, "0") <= 0)
        pv_load_fault(doc, value, "\"bucket\" must be a number above 0");
}

static void
set_digits(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_mask *mask = field;
    json_int_t number = json_integer_value(value->json);

    (void) key;
    mask->kind = PV_MASK_ROUND;
    if (number < -DIGITS_MAX || number > DIGITS_MAX)
        pv_load_fault(doc, value, "\"round\" must be between %d and %d", -DIGITS_MAX, DIGITS_MAX);
    else
        mask->digits = (int32_t) number;
}

static void
set_characters(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_mask *mask = field;
    json_int_t number = json_integer_value(value->json);

    mask->kind = strcmp(key->name, "prefix") == 0 ? PV_MASK_PREFIX : PV_MASK_SUFFIX;
    if (number < 1 || number > CHARACTERS_MAX)
        pv_load_fault(doc, value, "\"%s\" must be between 1 and %d", key->name, CHARACTERS_MAX);
    else
        mask->digits = (int32_t) number;
}

static void
set_constant(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_mask *mask = field;

    (void) key;
    mask->kind = PV_MASK_CONSTANT;
    if (pv_located_kind(value) == PV_J_STRING) {
        mask->constant = pv_load_strdup(doc, pv_located_string(value));
        return;
    }
    mask->constant = pv_load_strndup(doc, (const char *) value->raw.data, value->raw.len);
}

static void
set_mask(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        {"hash", PV_J_STRING, false, set_hash, 0, 0, 0, NULL},
        {"truncate_date", PV_J_STRING, false, set_truncate, 0, 0, 0, NULL},
        {"bucket", PV_J_NUMBER, false, set_bucket, 0, 0, 0, NULL},
        {"round", PV_J_INTEGER, false, set_digits, 0, 0, 0, NULL},
        {"prefix", PV_J_INTEGER, false, set_characters, 0, 0, 0, NULL},
        {"suffix", PV_J_INTEGER, false, set_characters, 0, 0, 0, NULL},
        {"constant", PV_J_STRING | PV_J_NUMBER | PV_J_BOOL, false, set_constant, 0, 0, 0, NULL},
    };

    (void) key;
    if (pv_located_kind(value) == PV_J_STRING) {
        set_text_mask(doc, value, field);
        return;
    }
    (void) pv_load_object(doc, value, keys, PV_COUNT_OF(keys), field);
    if (value->child_count != 1)
        pv_load_fault(doc, value, "a mask written as an object has exactly one key");
}

static void
set_category(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    json_int_t number = json_integer_value(value->json);

    (void) key;
    if (number < 1 || number > 3)
        pv_load_fault(doc, value, "\"category\" must be 1 (shared), 2 (omitted) or 3 (masked)");
    else
        *(int *) field = (int) number;
}

void
pv_load_column(struct pv_doc *doc, const struct pv_located *value, struct pv_column *column)
{
    static const struct pv_key keys[] = {
        {"category", PV_J_INTEGER, true, set_category, offsetof(struct pv_column, category), 0, 0, NULL},
        {"mask", PV_J_STRING | PV_J_OBJECT, false, set_mask, offsetof(struct pv_column, mask), 0, 0, NULL},
        {"title", PV_J_STRING, false, pv_set_string, offsetof(struct pv_column, title), 0, 0, NULL},
    };
    const struct pv_located *mask;

    column->name = pv_load_strdup(doc, value->key);
    column->mask.kind = PV_MASK_HASH;
    if (*value->key == '\0' || strlen(value->key) > PV_NAME_BYTES_MAX)
        pv_load_fault_key(doc, value, "a column's name is 1 to %u bytes long", PV_NAME_BYTES_MAX);
    if (!pv_load_object(doc, value, keys, PV_COUNT_OF(keys), column))
        return;
    mask = pv_located_find(value, "mask");
    if (mask != NULL && column->category == 1 && column->mask.kind != PV_MASK_PLAIN)
        pv_load_fault(doc, mask, "category 1 is shared as it is: its mask can only be \"plain\"");
    if (mask != NULL && column->category == 2 && column->mask.kind != PV_MASK_OMIT)
        pv_load_fault(doc, mask, "category 2 is omitted: its mask can only be \"omit\"");
    if (mask == NULL && column->category == 1)
        column->mask.kind = PV_MASK_PLAIN;
    if (mask == NULL && column->category == 2)
        column->mask.kind = PV_MASK_OMIT;
}
