#include "policy/mask.h"

#include "parser/sqltext.h"
#include "policy/views.h"

#include <string.h>

/*
 * 1. NULL gives NULL, under every mask but `constant`.
 * 2. No value of a column makes its mask fail: what would leave the type's range is clamped to it,
 *    what is beyond a calendar function's range gives NULL, a float beyond exact arithmetic NaN.
 * 3. Texts are made from bytes and numbers alone, never from a type's output under DateStyle, TimeZone,
 *    extra_float_digits, bytea_output or the like.
 * 4. Columns of one room with analysis rules have no two collations, and none that is nondeterministic: what compares or
 *    searches texts fails, on rows alone, where collations meet or LIKE is asked of such a one.
 * 5. Unqualified names below are pg_catalog's: the views are made under search_path = pg_catalog.
 */

enum family {
    F_OTHER, /* no mask but plain, null and constant */
    F_TEXT,  /* text, character varying, character, citext */
    F_LABEL, /* enums, name, "char": hashed as text, not cut */
    F_BYTEA,
    F_UUID,
    F_INT,
    F_NUMERIC,
    F_FLOAT,
    F_DATE,
    F_TIMESTAMP,
    F_TIMESTAMPTZ,
    F_SENT /* hashed over the binary form that `send` gives */
};

struct type_row {
    const char *base;
    enum family family;
    const char *send; /* expression over the column, at `%`: bytes that hang on the value alone */
    const char *low, *high;
};

static const struct type_row type_rows[] = {
    {"text", F_TEXT, NULL, NULL, NULL},
    {"character varying", F_TEXT, NULL, NULL, NULL},
    {"character", F_TEXT, NULL, NULL, NULL},
    {"name", F_LABEL, NULL, NULL, NULL},
    {"\"char\"", F_LABEL, NULL, NULL, NULL},
    {"bytea", F_BYTEA, "%", NULL, NULL},
    {"uuid", F_UUID, "uuid_send(%)", NULL, NULL},
    {"smallint", F_INT, "int8send(%::bigint)", "-32768", "32767"},
    {"integer", F_INT, "int8send(%::bigint)", "-2147483648", "2147483647"},
    {"bigint", F_INT, "int8send(%)", "-9223372036854775808", "9223372036854775807"},
    /* Equal numbers may differ in display scale, equal floats in the sign of zero. */
    {"numeric", F_NUMERIC, "numeric_send(trim_scale(%))", NULL, NULL},
    {"real", F_FLOAT, "float8send(%::double precision + '0'::double precision)", "-1e37", "1e37"},
    {"double precision", F_FLOAT, "float8send(% + '0'::double precision)", "-1e300", "1e300"},
    {"date", F_DATE, "date_send(%)", NULL, NULL},
    {"timestamp without time zone", F_TIMESTAMP, "timestamp_send(%)", NULL, NULL},
    {"timestamp with time zone", F_TIMESTAMPTZ, "timestamptz_send(%)", NULL, NULL},
    {"time without time zone", F_SENT, "time_send(%)", NULL, NULL},
    {"time with time zone", F_SENT, "timetz_send(%)", NULL, NULL},
    {"boolean", F_SENT, "boolsend(%)", NULL, NULL},
    {"inet", F_SENT, "inet_send(%)", NULL, NULL},
    {"cidr", F_SENT, "cidr_send(%)", NULL, NULL},
    {"macaddr", F_SENT, "macaddr_send(%)", NULL, NULL},
    {"macaddr8", F_SENT, "macaddr8_send(%)", NULL, NULL},
    {"oid", F_SENT, "oidsend(%)", NULL, NULL},
};

static const struct type_row row_citext = {"citext", F_TEXT, NULL, NULL, NULL};
static const struct type_row row_enum = {"enum", F_LABEL, NULL, NULL, NULL};
static const struct type_row row_other = {"", F_OTHER, NULL, NULL, NULL};

static const struct type_row *
type_row_of(const struct pv_column_type *type)
{
    if (type->is_citext)
        return &row_citext;
    if (type->is_enum)
        return &row_enum;
    for (size_t i = 0; i < PV_COUNT_OF(type_rows); i++)
        if (strcmp(type_rows[i].base, type->base) == 0)
            return &type_rows[i];
    return &row_other;
}

/* Appends a pattern with the column in place of each `%` and, in place of each `@`, the second text. */
static void
put_pattern(struct pv_buf *buf, const char *pattern, const char *column, const char *second)
{
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '%')
            pv_buf_put_text(buf, column);
        else if (*pattern == '@')
            pv_buf_put_text(buf, second);
        else
            pv_buf_put_u8(buf, (uint8_t) *pattern);
    }
}

static void
put_key(struct pv_buf *buf, const struct pv_mask_context *context, const char *part, const char *label)
{
    char schema[PV_VIEWS_NAME_SIZE];

    pv_views_private_schema(context->room, schema);
    pv_buf_printf(buf, "(SELECT s.%s FROM ", part);
    pv_sql_quote_qualified(buf, schema, "secret");
    pv_buf_put_text(buf, " AS s WHERE s.name = ");
    pv_sql_quote_literal(buf, label);
    pv_buf_put_text(buf, ")");
}

void
pv_mask_hmac_sql(struct pv_buf *buf, const struct pv_mask_context *context, const char *key_label, const char *bytes)
{
    if (context->hmac_schema != NULL) {
        pv_sql_quote_qualified(buf, context->hmac_schema, "hmac");
        pv_buf_printf(buf, "(%s, ", bytes);
        put_key(buf, context, "key", key_label);
        pv_buf_put_text(buf, ", 'sha256')");
        return;
    }
    pv_buf_put_text(buf, "sha256(");
    put_key(buf, context, "opad", key_label);
    pv_buf_put_text(buf, " || sha256(");
    put_key(buf, context, "ipad", key_label);
    pv_buf_printf(buf, " || %s))", bytes);
}

static void
put_hash(struct pv_buf *buf, const struct pv_mask *mask, const char *column, const struct type_row *row,
         const struct pv_mask_context *context)
{
    struct pv_buf bytes = {0};
    struct pv_buf label = {0};
    const char *bytes_text, *label_text;

    put_pattern(&bytes, row->send != NULL ? row->send : "convert_to(%::text, 'UTF8')", column, "");
    if (mask->key_name != NULL)
        pv_buf_printf(&label, PV_KEY_LABEL_SHARED "%s", mask->key_name);
    else
        pv_buf_put_text(&label, PV_KEY_LABEL_HASH);
    bytes_text = pv_buf_text(&bytes);
    label_text = pv_buf_text(&label);
    if (bytes_text == NULL || label_text == NULL) {
        buf->failed = true;
    } else {
        bool is_cut = row->family == F_UUID || row->family == F_INT;

        if (row->family == F_INT)
            pv_buf_put_text(buf, "('x' || ");
        pv_buf_put_text(buf, is_cut ? "encode(substr(" : "encode(");
        pv_mask_hmac_sql(buf, context, label_text, bytes_text);
        if (row->family == F_INT)
            pv_buf_put_text(buf, ", 1, 8), 'hex'))::bit(64)::bigint");
        else if (row->family == F_UUID)
            pv_buf_put_text(buf, ", 1, 16), 'hex')::uuid");
        else
            pv_buf_put_text(buf, ", 'hex')");
    }
    pv_buf_clear(&bytes);
    pv_buf_clear(&label);
}

/* date_trunc with the ends of the calendar left out: it fails there, and a failing row would tell of itself. */
static void
put_truncate(struct pv_buf *buf, const struct pv_mask *mask, const char *column, const struct type_row *row,
             const struct pv_column_type *type, const struct pv_mask_context *context)
{
    static const char range[] = "CASE WHEN % > '4712-01-01 BC'::@ AND % < '290000-01-01'::@ THEN ";

    if (row->family == F_TIMESTAMPTZ)
        put_pattern(buf, "CASE WHEN % > '4712-01-01 00:00:00+00 BC'::@ AND % < '290000-01-01 00:00:00+00'::@ THEN ",
                    column, row->base);
    else
        put_pattern(buf, range, column, row->base);
    pv_buf_put_text(buf, "date_trunc(");
    pv_sql_quote_literal(buf, mask->unit);
    if (row->family == F_DATE) {
        pv_buf_printf(buf, ", %s::timestamp without time zone)::date", column);
    } else {
        pv_buf_printf(buf, ", %s", column);
        if (row->family == F_TIMESTAMPTZ) {
            pv_buf_put_text(buf, ", ");
            pv_sql_quote_literal(buf, context->timezone);
        }
        pv_buf_printf(buf, ")::%s", type->full);
    }
    put_pattern(buf, " WHEN NOT isfinite(%) THEN % END", column, "");
}

static bool
is_whole(const char *number)
{
    const char *point = strchr(number, '.');

    return strpbrk(number, "eE") == NULL && (point == NULL || strspn(point + 1, "0") == strlen(point + 1));
}

/* Down to a multiple, below zero too: x - ((x mod n) + n) mod n, in exact arithmetic. */
static bool
put_bucket(struct pv_buf *buf, const struct pv_mask *mask, const char *column, const struct type_row *row)
{
    static const char floor_pattern[] = "%::numeric - mod(mod(%::numeric, '@'::numeric) + '@'::numeric, '@'::numeric)";

    if (row->family == F_INT) {
        if (!is_whole(mask->number))
            return false;
        put_pattern(buf, "CASE WHEN % IS NOT NULL THEN greatest(", column, "");
        put_pattern(buf, floor_pattern, column, mask->number);
        pv_buf_printf(buf, ", '%s'::numeric)::%s END", row->low, row->base);
    } else if (row->family == F_FLOAT) {
        pv_buf_printf(buf, "CASE WHEN %s BETWEEN '%s'::%s AND '%s'::%s THEN (", column, row->low, row->base,
                      row->high, row->base);
        put_pattern(buf, "%::double precision::numeric - mod(mod(%::double precision::numeric, '@'::numeric) + "
                         "'@'::numeric, '@'::numeric)", column, mask->number);
        put_pattern(buf, ")::@ WHEN % IS NOT NULL THEN 'NaN'::@ END", column, row->base);
    } else {
        put_pattern(buf, floor_pattern, column, mask->number);
    }
    return true;
}

static void
put_round(struct pv_buf *buf, const struct pv_mask *mask, const char *column, const struct type_row *row)
{
    if (row->family == F_INT) {
        pv_buf_printf(buf,
                      "CASE WHEN %s IS NOT NULL THEN least(greatest(round(%s::numeric, %d), '%s'::numeric), "
                      "'%s'::numeric)::%s END",
                      column, column, mask->digits, row->low, row->high, row->base);
    } else if (row->family == F_FLOAT) {
        pv_buf_printf(buf,
                      "CASE WHEN %s BETWEEN '%s'::%s AND '%s'::%s THEN round(%s::double precision::numeric, %d)::%s "
                      "WHEN %s IS NOT NULL THEN 'NaN'::%s END",
                      column, row->low, row->base, row->high, row->base, column, mask->digits, row->base, column,
                      row->base);
    } else {
        pv_buf_printf(buf, "round(%s, %d)", column, mask->digits);
    }
}

static void
put_cut(struct pv_buf *buf, const struct pv_mask *mask, const char *column, const struct pv_column_type *type)
{
    char digits[16];
    static const char prefix[] = "(CASE WHEN length(%::text) <= @ THEN repeat('*', length(%::text)) "
                                 "ELSE left(%::text, @) || repeat('*', length(%::text) - @) END)";
    static const char suffix[] = "(CASE WHEN length(%::text) <= @ THEN repeat('*', length(%::text)) "
                                 "ELSE repeat('*', length(%::text) - @) || right(%::text, @) END)";
    struct pv_buf number = {0};
    const char *text;

    pv_buf_printf(&number, "%d", mask->digits);
    text = pv_buf_text(&number);
    if (text == NULL || strlen(text) >= sizeof(digits)) {
        buf->failed = true;
        pv_buf_clear(&number);
        return;
    }
    memcpy(digits, text, strlen(text) + 1);
    pv_buf_clear(&number);
    put_pattern(buf, mask->kind == PV_MASK_PREFIX ? prefix : suffix, column, digits);
    pv_buf_printf(buf, "::%s", type->full);
}

static const char *
fit_words(enum pv_mask_kind kind)
{
    switch (kind) {
    case PV_MASK_HASH:
        return "text, bytea, uuid, number, date, time, boolean, enum and network address columns";
    case PV_MASK_TRUNCATE_DATE:
        return "date and timestamp columns";
    case PV_MASK_BUCKET:
        return "number columns (whole numbers only on columns of an integer type)";
    case PV_MASK_ROUND:
        return "number columns";
    case PV_MASK_PREFIX:
    case PV_MASK_SUFFIX:
    case PV_MASK_EMAIL_DOMAIN:
        return "text columns";
    case PV_MASK_PLAIN:
    case PV_MASK_OMIT:
    case PV_MASK_NULL:
    case PV_MASK_CONSTANT:
        break;
    }
    return "every column";
}

static bool
put_mask(struct pv_buf *buf, const struct pv_mask *mask, const char *column, const struct pv_column_type *type,
         const struct pv_mask_context *context)
{
    const struct type_row *row = type_row_of(type);
    bool is_number = row->family == F_INT || row->family == F_NUMERIC || row->family == F_FLOAT;
    bool is_calendar = row->family == F_DATE || row->family == F_TIMESTAMP || row->family == F_TIMESTAMPTZ;

    switch (mask->kind) {
    case PV_MASK_PLAIN:
        pv_buf_put_text(buf, column);
        return true;
    case PV_MASK_OMIT:
        return false;
    case PV_MASK_NULL:
        pv_buf_printf(buf, "NULL::%s", type->full);
        return true;
    case PV_MASK_CONSTANT:
        pv_sql_quote_literal(buf, mask->constant);
        pv_buf_printf(buf, "::%s", type->full);
        return true;
    case PV_MASK_HASH:
        if (row->family == F_OTHER)
            return false;
        put_hash(buf, mask, column, row, context);
        return true;
    case PV_MASK_TRUNCATE_DATE:
        if (is_calendar)
            put_truncate(buf, mask, column, row, type, context);
        return is_calendar;
    case PV_MASK_BUCKET:
        return is_number && put_bucket(buf, mask, column, row);
    case PV_MASK_ROUND:
        if (is_number)
            put_round(buf, mask, column, row);
        return is_number;
    case PV_MASK_PREFIX:
    case PV_MASK_SUFFIX:
        if (row->family == F_TEXT)
            put_cut(buf, mask, column, type);
        return row->family == F_TEXT;
    case PV_MASK_EMAIL_DOMAIN:
        if (row->family == F_TEXT)
            put_pattern(buf, "(CASE WHEN strpos(%::text, '@') = 0 THEN '***' ELSE '***@' || right(%::text, "
                             "strpos(reverse(%::text), '@') - 1) END)", column, "@");
        return row->family == F_TEXT;
    }
    return false;
}

/* Does the mask show the column's own text, under a collation that could meet another one? */
static bool
is_collated_anew(const struct pv_mask *mask, const struct pv_column_type *type, const struct pv_mask_context *context)
{
    return context->is_collated_alike && type->collation != NULL &&
           (mask->kind == PV_MASK_PLAIN || mask->kind == PV_MASK_PREFIX || mask->kind == PV_MASK_SUFFIX ||
            mask->kind == PV_MASK_EMAIL_DOMAIN);
}

enum pv_status
pv_mask_expression(struct pv_buf *buf, const struct pv_mask *mask, const char *column,
                   const struct pv_column_type *type, const struct pv_mask_context *context, const char **words)
{
    struct pv_buf quoted = {0};
    const char *name;
    enum pv_status status = PV_OK;
    bool is_collated = is_collated_anew(mask, type, context);

    /* Searching a text of such a collation fails, in whatever room. */
    if (type->is_nondeterministic && mask->kind != PV_MASK_PLAIN)
        is_collated = true;
    pv_buf_put_text(&quoted, is_collated ? "(" : "");
    pv_sql_quote_identifier(&quoted, column);
    pv_buf_put_text(&quoted, is_collated ? " COLLATE \"default\")" : "");
    name = pv_buf_text(&quoted);
    if (name == NULL) {
        status = PV_NOMEM;
    } else if (context->is_collated_alike && type->is_nondeterministic && mask->kind == PV_MASK_PLAIN) {
        *words = NULL;
        status = PV_INVALID;
    } else if (!put_mask(buf, mask, name, type, context)) {
        *words = fit_words(mask->kind);
        status = PV_INVALID;
    } else if (!pv_buf_ok(buf)) {
        status = PV_NOMEM;
    }
    pv_buf_clear(&quoted);
    return status;
}

const char *
pv_mask_name(enum pv_mask_kind kind)
{
    static const char *const names[] = {
        [PV_MASK_PLAIN] = "plain",   [PV_MASK_OMIT] = "omit",
        [PV_MASK_NULL] = "null",     [PV_MASK_HASH] = "hash",
        [PV_MASK_TRUNCATE_DATE] = "truncate_date", [PV_MASK_BUCKET] = "bucket",
        [PV_MASK_ROUND] = "round",   [PV_MASK_PREFIX] = "prefix",
        [PV_MASK_SUFFIX] = "suffix", [PV_MASK_EMAIL_DOMAIN] = "email_domain",
        [PV_MASK_CONSTANT] = "constant",
    };

    return names[kind];
}

enum pv_mask_kind
pv_column_mask_kind(const struct pv_column *column)
{
    return column->mask.kind;
}
