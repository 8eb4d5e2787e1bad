#include "policy/param_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Bounds of `values` that words name one by one. */

#define OID_UNKNOWN 705u
#define OID_NAME 19u

/* Name as format_type prints it, the kind, its OIDs (pg_type.dat), its other spellings, what a value is in words. */
#define TYPE_TABLE(X) \
    X("smallint", PV_KIND_INT2, 21, 1005, "int2", NULL, "an integer of 2 bytes") \
    X("integer", PV_KIND_INT4, 23, 1007, "int4", "int", "an integer of 4 bytes") \
    X("bigint", PV_KIND_INT8, 20, 1016, "int8", NULL, "an integer of 8 bytes") \
    X("numeric", PV_KIND_NUMERIC, 1700, 1231, "decimal", "dec", "a number") \
    X("real", PV_KIND_FLOAT4, 700, 1021, "float4", NULL, "a floating-point number of 4 bytes") \
    X("double precision", PV_KIND_FLOAT8, 701, 1022, "float8", "float", "a floating-point number of 8 bytes") \
    X("boolean", PV_KIND_BOOL, 16, 1000, "bool", NULL, "true or false") \
    X("text", PV_KIND_TEXT, 25, 1009, NULL, NULL, "text") \
    X("character varying", PV_KIND_VARCHAR, 1043, 1015, "varchar", "char varying", "text") \
    X("bpchar", PV_KIND_BPCHAR, 1042, 1014, NULL, NULL, "text") \
    X("date", PV_KIND_DATE, 1082, 1182, NULL, NULL, "a date such as 2024-01-31") \
    X("timestamp without time zone", PV_KIND_TIMESTAMP, 1114, 1115, "timestamp", NULL, \
      "a timestamp such as 2024-01-31 12:00:00") \
    X("timestamp with time zone", PV_KIND_TIMESTAMPTZ, 1184, 1185, "timestamptz", NULL, \
      "a timestamp with its offset from UTC such as 2024-01-31 12:00:00+00") \
    X("time without time zone", PV_KIND_TIME, 1083, 1183, "time", NULL, "a time such as 12:00:00") \
    X("uuid", PV_KIND_UUID, 2950, 2951, NULL, NULL, "a UUID") \
    X("bytea", PV_KIND_BYTEA, 17, 1001, NULL, NULL, "bytes in hexadecimal such as \\x00ff")

static const struct pv_param_type types[] = {
#define X(name, kind, oid, array_oid, alias, other_alias, words) {name, oid, array_oid, kind},
    TYPE_TABLE(X)
#undef X
};

static const struct {
    const char *alias;
    const char *other_alias;
    const char *words;
} type_rows[] = {
#define X(name, kind, oid, array_oid, alias, other_alias, words) {alias, other_alias, words},
    TYPE_TABLE(X)
#undef X
};

static enum pv_param_kind
kind_of(const struct pv_param_type *type)
{
    return (enum pv_param_kind) type->kind;
}

static bool
is_spelling(const char *spelling, size_t len, const char *name)
{
    return name != NULL && strlen(name) == len && strncasecmp(spelling, name, len) == 0;
}

const struct pv_param_type *
pv_param_type_find(const char *spelling, bool *is_array)
{
    size_t len = strlen(spelling);
    bool has_brackets = len > 2 && strcmp(spelling + len - 2, "[]") == 0;

    if (has_brackets)
        len -= 2;
    for (size_t i = 0; i < PV_COUNT_OF(types); i++) {
        if (is_spelling(spelling, len, types[i].name) || is_spelling(spelling, len, type_rows[i].alias) ||
            is_spelling(spelling, len, type_rows[i].other_alias)) {
            *is_array = has_brackets;
            return &types[i];
        }
    }
    return NULL;
}

const struct pv_param_type *
pv_param_type_by_oid(uint32_t oid, bool *is_array)
{
    for (size_t i = 0; i < PV_COUNT_OF(types); i++) {
        if (oid == types[i].oid || oid == types[i].array_oid) {
            *is_array = oid == types[i].array_oid;
            return &types[i];
        }
    }
    return NULL;
}

const char *
pv_param_type_refusal(const char *spelling)
{
    size_t len = strcspn(spelling, "[");

    if (strpbrk(spelling, "()") != NULL)
        return "a parameter's type takes no length or precision; use max_length, minimum or maximum";
    if (is_spelling(spelling, len, "char") || is_spelling(spelling, len, "character"))
        return "character without a length is a single character for PostgreSQL; use text or bpchar";
    if (is_spelling(spelling, len, "interval"))
        return "a parameter cannot be an interval, whose text depends on settings; use integer and multiply in the SQL";
    if (is_spelling(spelling, len, "timetz") || is_spelling(spelling, len, "time with time zone"))
        return "a parameter cannot be a time with time zone; use timestamptz";
    if (is_spelling(spelling, len, "json") || is_spelling(spelling, len, "jsonb") || is_spelling(spelling, len, "xml"))
        return "a parameter cannot be a document, whose values have no bounds; use text";
    return "no type that a parameter may have: smallint, integer, bigint, numeric, real, double precision, boolean, "
           "text, varchar, bpchar, date, timestamp, timestamptz, time, uuid, bytea, or one of them with []";
}

/* ---- canonical texts ---------------------------------------------------- */

static enum pv_status
keep(char *text, const char **canonical)
{
    if (text == NULL)
        return PV_NOMEM;
    *canonical = text;
    return PV_OK;
}

/* PostgreSQL takes every unique beginning of these words, in any case, with white space around. */
static enum pv_status
canonical_bool(const char *text, const char **canonical)
{
    static const struct {
        const char *word;
        size_t least;
        bool value;
    } rows[] = {
        {"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
        {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false},
    };
    size_t len;

    text += strspn(text, " \t\n\r\f\v");
    len = strlen(text);
    while (len > 0 && strchr(" \t\n\r\f\v", text[len - 1]) != NULL)
        len--;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        if (len >= rows[i].least && len <= strlen(rows[i].word) && strncasecmp(text, rows[i].word, len) == 0) {
            *canonical = rows[i].value ? "true" : "false";
            return PV_OK;
        }
    }
    return PV_INVALID;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* uuid_in: 32 digits, a hyphen after any group of four, braces around or none. */
static enum pv_status
canonical_uuid(struct pv_arena *arena, const char *text, const char **canonical)
{
    uint8_t bytes[16] = {0};
    bool is_braced = *text == '{';

    text += is_braced ? 1 : 0;
    for (int i = 0; i < 32; i++, text++) {
        int digit = hex_digit(*text);

        if (digit < 0)
            return PV_INVALID;
        bytes[i / 2] = (uint8_t) (bytes[i / 2] << 4 | digit);
        if (i % 4 == 3 && i < 31 && text[1] == '-')
            text++;
    }
    if ((is_braced && *text++ != '}') || *text != '\0')
        return PV_INVALID;
    return pv_binary_scalar(arena, PV_KIND_UUID, pv_slice_of(bytes, sizeof(bytes)), canonical);
}

static enum pv_status
canonical_bytea(struct pv_arena *arena, const char *text, const char **canonical)
{
    size_t len = strlen(text);
    char *copy;

    if (len < 2 || len % 2 != 0 || text[0] != '\\' || text[1] != 'x')
        return PV_INVALID;
    for (size_t i = 2; i < len; i++)
        if (hex_digit(text[i]) < 0)
            return PV_INVALID;
    copy = pv_arena_strdup(arena, text);
    for (size_t i = 2; copy != NULL && i < len; i++)
        copy[i] = "0123456789abcdef"[hex_digit(copy[i])];
    return keep(copy, canonical);
}

enum pv_status
pv_param_canonical(struct pv_arena *arena, const struct pv_param_type *type, const char *text, const char **canonical)
{
    int64_t moment;
    enum pv_status status;

    if (!pv_utf8_valid(pv_slice_cstr(text)))
        return PV_INVALID;
    switch (kind_of(type)) {
    case PV_KIND_INT2:
        return pv_number_int(arena, text, INT16_MIN, INT16_MAX, canonical);
    case PV_KIND_INT4:
        return pv_number_int(arena, text, INT32_MIN, INT32_MAX, canonical);
    case PV_KIND_INT8:
        return pv_number_int(arena, text, INT64_MIN, INT64_MAX, canonical);
    case PV_KIND_NUMERIC:
        return pv_number_decimal(arena, text, canonical);
    case PV_KIND_FLOAT4:
    case PV_KIND_FLOAT8:
        return pv_number_float(arena, text, kind_of(type) == PV_KIND_FLOAT4, canonical);
    case PV_KIND_BOOL:
        return canonical_bool(text, canonical);
    case PV_KIND_TEXT:
    case PV_KIND_VARCHAR:
    case PV_KIND_BPCHAR:
        return pv_binary_scalar(arena, kind_of(type), pv_slice_cstr(text), canonical);
    case PV_KIND_DATE:
    case PV_KIND_TIMESTAMP:
    case PV_KIND_TIMESTAMPTZ:
    case PV_KIND_TIME:
        status = pv_time_parse(kind_of(type), text, &moment);
        return status == PV_OK ? pv_time_format(arena, kind_of(type), moment, canonical) : status;
    case PV_KIND_UUID:
        return canonical_uuid(arena, text, canonical);
    case PV_KIND_BYTEA:
        return canonical_bytea(arena, text, canonical);
    }
    return PV_INVALID;
}

static int
compare_floats(const char *a, const char *b)
{
    double left = strtod(a, NULL);
    double right = strtod(b, NULL);
    bool is_left_nan = strcmp(a, "NaN") == 0;
    bool is_right_nan = strcmp(b, "NaN") == 0;

    if (is_left_nan || is_right_nan)
        return (int) is_left_nan - (int) is_right_nan;
    return left < right ? -1 : left > right ? 1 : 0;
}

int
pv_param_compare(const struct pv_param_type *type, const char *a, const char *b)
{
    int64_t left, right;

    switch (kind_of(type)) {
    case PV_KIND_INT2:
    case PV_KIND_INT4:
    case PV_KIND_INT8:
    case PV_KIND_NUMERIC:
        return pv_number_compare(a, b);
    case PV_KIND_FLOAT4:
    case PV_KIND_FLOAT8:
        return compare_floats(a, b);
    case PV_KIND_DATE:
    case PV_KIND_TIMESTAMP:
    case PV_KIND_TIMESTAMPTZ:
    case PV_KIND_TIME:
        if (pv_time_parse(kind_of(type), a, &left) == PV_OK && pv_time_parse(kind_of(type), b, &right) == PV_OK)
            return left < right ? -1 : left > right ? 1 : 0;
        return strcmp(a, b);
    case PV_KIND_BOOL:
    case PV_KIND_TEXT:
    case PV_KIND_VARCHAR:
    case PV_KIND_BPCHAR:
    case PV_KIND_UUID:
    case PV_KIND_BYTEA:
        break;
    }
    return strcmp(a, b);
}

/* ---- judging ------------------------------------------------------------ */

static bool
is_text(enum pv_param_kind kind)
{
    return kind == PV_KIND_TEXT || kind == PV_KIND_VARCHAR || kind == PV_KIND_BPCHAR;
}

static size_t
character_count(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((uint8_t) *text & 0xC0) != 0x80 ? 1 : 0;
    return count;
}

static bool
is_listed(const struct pv_parameter *parameter, const char *canonical)
{
    for (size_t i = 0; i < parameter->value_count; i++)
        if (pv_param_compare(parameter->type, parameter->values[i], canonical) == 0)
            return true;
    return parameter->value_count == 0;
}

/* Digits that no 64 bits can overflow. */
#define PLAIN_DIGITS_MAX 18u

/* A canonical integer; false: too long for here. */
static bool
read_integer(const char *text, int64_t *value)
{
    bool is_negative = *text == '-';
    int64_t number = 0;
    size_t len = 0;

    for (text += is_negative ? 1 : 0; *text != '\0'; text++, len++) {
        if (len == PLAIN_DIGITS_MAX)
            return false;
        number = number * 10 + (*text - '0');
    }
    *value = is_negative ? -number : number;
    return true;
}

bool
pv_param_is_plain_integer(const struct pv_parameter *parameter, struct pv_slice text)
{
    static const int64_t most[] = {[PV_KIND_INT2] = INT16_MAX, [PV_KIND_INT4] = INT32_MAX, [PV_KIND_INT8] = INT64_MAX};
    enum pv_param_kind kind = kind_of(parameter->type);
    int64_t value = 0, bound;

    if ((kind != PV_KIND_INT2 && kind != PV_KIND_INT4 && kind != PV_KIND_INT8) || parameter->is_array ||
        parameter->value_count > 0 || parameter->regex != NULL || parameter->max_length > 0 || text.len == 0 ||
        text.len > PLAIN_DIGITS_MAX || (text.data[0] == '0' && text.len > 1))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    return value <= most[kind] &&
           (parameter->minimum == NULL || (read_integer(parameter->minimum, &bound) && value >= bound)) &&
           (parameter->maximum == NULL || (read_integer(parameter->maximum, &bound) && value <= bound));
}

/* One scalar, not NULL: its type and every bound. */
static enum pv_status
judge_item(struct pv_arena *arena, const struct pv_parameter *parameter, const char *text, const char **canonical,
           const char **words)
{
    const char *found;
    enum pv_status status;

    if (pv_param_is_plain_integer(parameter, pv_slice_cstr(text)))
        return keep(pv_arena_strdup(arena, text), canonical);
    status = pv_param_canonical(arena, parameter->type, text, &found);
    if (status == PV_INVALID)
        return pv_param_refuse(arena, parameter, words, "%s", type_rows[parameter->type - types].words);
    if (status != PV_OK)
        return status;
    if ((parameter->minimum != NULL && pv_param_compare(parameter->type, found, parameter->minimum) < 0) ||
        (parameter->maximum != NULL && pv_param_compare(parameter->type, found, parameter->maximum) > 0))
        return pv_param_refuse_range(arena, parameter, words);
    if (parameter->max_length > 0 && character_count(found) > parameter->max_length)
        return pv_param_refuse(arena, parameter, words, "at most %llu characters long",
                      (unsigned long long) parameter->max_length);
    if (!is_listed(parameter, found))
        return pv_param_refuse_value(arena, parameter, words);
    if (parameter->regex != NULL && !pv_regex_matches(parameter->regex, found))
        return pv_param_refuse(arena, parameter, words, "text that matches the pattern %s", parameter->pattern);
    *canonical = found;
    return PV_OK;
}

static enum pv_status
judge_items(struct pv_arena *arena, const struct pv_parameter *parameter, struct pv_items *items,
            const char **canonical, const char **words)
{
    enum pv_status status;

    if (items->count > parameter->max_items)
        return pv_param_say(pv_arena_printf(arena, "parameter \"%s\" must be at most %llu items long", parameter->name,
                                   (unsigned long long) parameter->max_items),
                   words);
    for (size_t i = 0; i < items->count; i++) {
        if (items->items[i] == NULL && !parameter->is_nullable)
            return pv_param_say(pv_arena_printf(arena, "each item of parameter \"%s\" must be other than NULL",
                                       parameter->name),
                       words);
        if (items->items[i] == NULL)
            continue;
        status = judge_item(arena, parameter, items->items[i], &items->items[i], words);
        if (status != PV_OK)
            return status;
    }
    return pv_array_format(arena, items, canonical);
}

static enum pv_status
judge_null(struct pv_arena *arena, const struct pv_parameter *parameter, const char **canonical, const char **words)
{
    if (!parameter->is_nullable)
        return pv_param_say(pv_arena_printf(arena, "parameter \"%s\" must be other than NULL", parameter->name), words);
    *canonical = NULL;
    return PV_OK;
}

enum pv_status
pv_param_judge_text(struct pv_arena *arena, const struct pv_parameter *parameter, const char *text,
                    const char **canonical, const char **words)
{
    struct pv_items items;
    enum pv_status status;

    if (text == NULL)
        return judge_null(arena, parameter, canonical, words);
    if (!parameter->is_array)
        return judge_item(arena, parameter, text, canonical, words);
    status = pv_array_parse(arena, text, &items);
    if (status == PV_INVALID)
        return pv_param_refuse_array(arena, parameter, words);
    return status == PV_OK ? judge_items(arena, parameter, &items, canonical, words) : status;
}

/* ---- Bind --------------------------------------------------------------- */

static bool
is_number(enum pv_param_kind kind)
{
    return kind <= PV_KIND_FLOAT8;
}

/* A canonical text of the declared type as text of the parameter's type. PV_DENIED: another family. */
static enum pv_status
convert(struct pv_arena *arena, enum pv_param_kind from, enum pv_param_kind to, const char *text,
        const char **converted)
{
    size_t len = strlen(text);
    const char midnight[] = " 00:00:00";

    if (from == to || is_text(from)) {
        *converted = text;
        return PV_OK;
    }
    if (is_number(from) && is_number(to))
        return pv_number_convert(arena, from, to, text, converted);
    if (from == PV_KIND_DATE && to == PV_KIND_TIMESTAMP) {
        *converted = text;
        return PV_OK;
    }
    if (from == PV_KIND_TIMESTAMP && to == PV_KIND_DATE) {
        if (len >= sizeof(midnight) && strcmp(text + len - (sizeof(midnight) - 1), midnight) == 0)
            len -= sizeof(midnight) - 1;
        else if (strstr(text, "infinity") == NULL)
            return PV_INVALID;
        return keep(pv_arena_strndup(arena, text, len), converted);
    }
    return PV_DENIED;
}

static enum pv_status
refuse_family(struct pv_arena *arena, const struct pv_parameter *parameter, uint32_t oid, const char **words)
{
    bool is_array = false;
    const struct pv_param_type *type = pv_param_type_by_oid(oid, &is_array);

    if (type == NULL)
        return pv_param_say(pv_arena_printf(arena, "parameter \"%s\" is of type %s%s, not of the declared type %u",
                                   parameter->name, parameter->type->name, parameter->is_array ? "[]" : "", oid),
                   words);
    return pv_param_say(pv_arena_printf(arena, "parameter \"%s\" is of type %s%s, not of the declared type %s%s",
                               parameter->name, parameter->type->name, parameter->is_array ? "[]" : "", type->name,
                               is_array ? "[]" : ""),
               words);
}

static enum pv_status
judge_scalar_bind(struct pv_arena *arena, const struct pv_parameter *parameter, const struct pv_param_type *declared,
                  int16_t format, struct pv_slice value, const char **canonical, const char **words)
{
    const char *text;
    enum pv_status status;

    if (format == 1)
        status = pv_binary_scalar(arena, kind_of(declared), value, &text);
    else
        status = pv_binary_scalar(arena, PV_KIND_TEXT, value, &text);
    if (status == PV_OK && format == 0)
        status = pv_param_canonical(arena, declared, text, &text);
    if (status == PV_OK)
        status = convert(arena, kind_of(declared), kind_of(parameter->type), text, &text);
    if (status == PV_DENIED)
        return refuse_family(arena, parameter, declared->oid, words);
    if (status == PV_INVALID)
        return pv_param_refuse(arena, parameter, words, "%s", type_rows[parameter->type - types].words);
    return status == PV_OK ? pv_param_judge_text(arena, parameter, text, canonical, words) : status;
}

/* Items of an array value in the declared element type, as canonical texts of that type. */
static enum pv_status
array_items(struct pv_arena *arena, const struct pv_param_type *declared, int16_t format, struct pv_slice value,
            struct pv_items *items)
{
    const struct pv_param_type *found;
    const char *text;
    enum pv_status status;

    if (format == 1) {
        status = pv_binary_array(arena, value, &found, items);
        return status == PV_OK && found != declared ? PV_INVALID : status;
    }
    status = pv_binary_scalar(arena, PV_KIND_TEXT, value, &text);
    if (status == PV_OK)
        status = pv_array_parse(arena, text, items);
    for (size_t i = 0; status == PV_OK && i < items->count; i++)
        if (items->items[i] != NULL)
            status = pv_param_canonical(arena, declared, items->items[i], &items->items[i]);
    return status;
}

static enum pv_status
judge_array_bind(struct pv_arena *arena, const struct pv_parameter *parameter, const struct pv_param_type *declared,
                 int16_t format, struct pv_slice value, const char **canonical, const char **words)
{
    struct pv_items items = {NULL, 0};
    enum pv_status status = array_items(arena, declared, format, value, &items);

    for (size_t i = 0; status == PV_OK && i < items.count; i++)
        if (items.items[i] != NULL)
            status = convert(arena, kind_of(declared), kind_of(parameter->type), items.items[i], &items.items[i]);
    if (status == PV_DENIED)
        return refuse_family(arena, parameter, declared->array_oid, words);
    if (status == PV_INVALID)
        return pv_param_refuse_array(arena, parameter, words);
    return status == PV_OK ? judge_items(arena, parameter, &items, canonical, words) : status;
}

enum pv_status
pv_param_judge_bind(struct pv_arena *arena, const struct pv_parameter *parameter, uint32_t declared_oid,
                    int16_t format, bool is_null, struct pv_slice value, const char **canonical, const char **words)
{
    bool is_unspecified = declared_oid == 0 || declared_oid == OID_UNKNOWN;
    bool is_array = parameter->is_array;
    const struct pv_param_type *declared = parameter->type;
    const char *text;
    enum pv_status status;

    if (format != 0 && format != 1)
        return pv_param_say(pv_arena_printf(arena, "parameter \"%s\" comes in the unknown format %d", parameter->name,
                                   (int) format),
                   words);
    if (!is_unspecified && declared_oid != OID_NAME) {
        declared = pv_param_type_by_oid(declared_oid, &is_array);
        if (declared == NULL)
            return refuse_family(arena, parameter, declared_oid, words);
    }
    if (is_null)
        return judge_null(arena, parameter, canonical, words);
    /* A text type has one form for both formats, and any type may be written in it. */
    if (declared_oid == OID_NAME || (is_unspecified && format == 0) || (is_text(kind_of(declared)) && !is_array)) {
        status = pv_binary_scalar(arena, PV_KIND_TEXT, value, &text);
        if (status == PV_INVALID)
            return pv_param_say(pv_arena_printf(arena, "parameter \"%s\" must be valid UTF-8", parameter->name), words);
        return status == PV_OK ? pv_param_judge_text(arena, parameter, text, canonical, words) : status;
    }
    if (is_array != parameter->is_array)
        return refuse_family(arena, parameter, declared_oid, words);
    if (is_array)
        return judge_array_bind(arena, parameter, declared, format, value, canonical, words);
    return judge_scalar_bind(arena, parameter, declared, format, value, canonical, words);
}

/* ---- display ------------------------------------------------------------ */

enum pv_status
pv_param_display(struct pv_arena *arena, uint32_t declared_oid, int16_t format, struct pv_slice value,
                 const char **text)
{
    bool is_array = false;
    const struct pv_param_type *type = pv_param_type_by_oid(declared_oid, &is_array);
    struct pv_items items;
    enum pv_status status = PV_INVALID;

    if (format == 0)
        status = pv_binary_scalar(arena, PV_KIND_TEXT, value, text);
    else if (type != NULL && is_array)
        status = pv_binary_array(arena, value, &type, &items);
    else if (type != NULL)
        status = pv_binary_scalar(arena, kind_of(type), value, text);
    if (status == PV_OK && format != 0 && is_array)
        status = pv_array_format(arena, &items, text);
    return status == PV_INVALID ? pv_binary_scalar(arena, PV_KIND_BYTEA, value, text) : status;
}
