/* The view of one data set: columns through their masks, the row filter over who asks. */
#include "policy/views_int.h"

#include "parser/print.h"
#include "parser/sqltext.h"
#include "parser/template.h"
#include "parser/walk.h"
#include "proxy/base/arena.h"

#include <string.h>

static const char *
say(struct pv_arena *arena, const char *format, ...) PV_PRINTF(2, 3);

static const char *
say(struct pv_arena *arena, const char *format, ...)
{
    va_list args;
    const char *text;

    va_start(args, format);
    text = pv_arena_vprintf(arena, format, args);
    va_end(args);
    return text != NULL ? text : "out of memory";
}

/* ---- the row filter's text ---- */

struct column_collector {
    struct pv_arena *arena;
    const char **names;
    size_t count, size;
    bool is_nomem;
};

/* The last name of each column reference; a star or a system column is for the database to refuse. */
static enum pv_walk
collect_column(void *ctx, Node *node, const struct pv_walk_at *at)
{
    struct column_collector *collector = ctx;
    const ColumnRef *reference = (const ColumnRef *) node;
    const Node *last;

    (void) at;
    if (nodeTag(node) != T_ColumnRef || reference->fields == NIL)
        return PV_WALK_ON;
    last = reference->fields->elements[reference->fields->length - 1].ptr_value;
    if (!IsA(last, String))
        return PV_WALK_ON;
    for (size_t i = 0; i < collector->count; i++)
        if (strcmp(collector->names[i], ((const String *) last)->sval) == 0)
            return PV_WALK_ON;
    if (collector->count == collector->size) {
        size_t size = collector->size == 0 ? 8 : collector->size * 2;
        const char **names = pv_arena_alloc(collector->arena, size * sizeof(*names));

        if (names == NULL) {
            collector->is_nomem = true;
            return PV_WALK_STOP;
        }
        if (collector->count > 0)
            memcpy(names, collector->names, collector->count * sizeof(*names));
        collector->names = names;
        collector->size = size;
    }
    collector->names[collector->count] = pv_arena_strdup(collector->arena, ((const String *) last)->sval);
    if (collector->names[collector->count] == NULL) {
        collector->is_nomem = true;
        return PV_WALK_STOP;
    }
    collector->count++;
    return PV_WALK_ON;
}

static enum pv_status
fill_filter(struct pv_arena *arena, const struct pv_template *parsed, struct pv_row_filter *filter, const char **words)
{
    struct column_collector collector = {.arena = arena};
    Node *where = ((SelectStmt *) pv_sql_stmt(parsed->sql, 0))->whereClause;
    const char **attributes;
    struct pv_buf text = {0};
    const char *what = NULL;
    enum pv_status status = pv_print(where, &text, &what);

    if (status != PV_OK) {
        *words = say(arena, "%s cannot stand in a row filter", what != NULL ? what : "this expression");
        goto done;
    }
    status = pv_tree_walk(where, &pv_sql_limits_default, collect_column, &collector, NULL);
    if (status != PV_OK || collector.is_nomem) {
        status = status == PV_OK ? PV_NOMEM : status;
        *words = "the row filter is too large";
        goto done;
    }
    status = PV_NOMEM;
    attributes = pv_arena_alloc(arena, (parsed->name_count + 1u) * sizeof(*attributes));
    filter->sql = pv_arena_strndup(arena, (const char *) pv_buf_slice(&text).data, pv_buf_len(&text));
    if (attributes == NULL || filter->sql == NULL)
        goto done;
    for (unsigned i = 0; i < parsed->name_count; i++) {
        attributes[i] = pv_arena_strdup(arena, parsed->names[i]);
        if (attributes[i] == NULL)
            goto done;
    }
    filter->attributes = (struct pv_names) {attributes, parsed->name_count};
    filter->columns = (struct pv_names) {collector.names, collector.count};
    status = PV_OK;
done:
    pv_buf_clear(&text);
    return status;
}

enum pv_status
pv_views_row_filter(struct pv_arena *arena, const struct pv_dataset *dataset, struct pv_row_filter *filter,
                    const char **words)
{
    struct pv_template parsed = {0};
    struct pv_sql_error error = {0};
    struct pv_row_filter found = {0};
    enum pv_status status;

    if (dataset->row_filter == NULL) {
        *filter = found;
        return PV_OK;
    }
    status = pv_template_parse_filter(pv_slice_cstr(dataset->row_filter), &pv_sql_limits_default, &parsed, &error);
    if (status != PV_OK) {
        *words = say(arena, "row filter: %s", error.message);
        return status;
    }
    status = fill_filter(arena, &parsed, &found, words);
    if (status == PV_OK)
        *filter = found;
    pv_template_clear(&parsed);
    return status;
}

/* ---- attributes as SQL ---- */

#define DATE_TEXT "(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
#define TIME_TEXT "[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?"
#define ZONE_TEXT "(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"
#define DAY_EXISTS \
    "substr(x.v, 9, 2)::integer <= extract(day FROM make_date(substr(x.v, 1, 4)::integer, substr(x.v, 6, 2)::integer, 1) " \
    "+ '1 month'::interval - '1 day'::interval)"

/*
 * Texts that a type's input takes without failing, by a regular expression and then a condition; what does not pass gives
 * NULL, so no row. Only forms that mean the same under every setting.
 */
static const struct conversion {
    const char *type;
    const char *pattern;   /* NULL: any text */
    const char *condition; /* checked once the pattern matches; NULL: none */
} conversions[] = {
    {"text", NULL, NULL},
    {"character varying", NULL, NULL},
    {"name", NULL, NULL},
    {"smallint", "[+-]?[0-9]{1,20}", "x.v::numeric BETWEEN '-32768' AND '32767'"},
    {"integer", "[+-]?[0-9]{1,20}", "x.v::numeric BETWEEN '-2147483648' AND '2147483647'"},
    {"bigint", "[+-]?[0-9]{1,20}", "x.v::numeric BETWEEN '-9223372036854775808' AND '9223372036854775807'"},
    {"numeric", "[+-]?[0-9]{1,200}([.][0-9]{1,200})?([eE][+-]?[0-9]{1,2})?", NULL},
    {"real", "[+-]?[0-9]{1,30}([.][0-9]{1,30})?", NULL},
    {"double precision", "[+-]?[0-9]{1,100}([.][0-9]{1,100})?([eE][+-]?[0-9]{1,2})?", NULL},
    {"boolean", "(true|false|t|f|yes|no|on|off|1|0)", NULL},
    {"uuid", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", NULL},
    {"date", DATE_TEXT, DAY_EXISTS},
    {"timestamp without time zone", DATE_TEXT "(" TIME_TEXT ")?", DAY_EXISTS},
    {"timestamp with time zone", DATE_TEXT TIME_TEXT ZONE_TEXT, DAY_EXISTS},
};

/* The text x.v as a value of the type, or NULL. */
static bool
put_conversion(struct pv_buf *sql, const struct pv_attribute_type *type)
{
    const struct conversion *conversion = NULL;

    if (type->is_enum) {
        pv_buf_printf(sql, "CASE WHEN x.v = ANY (enum_range(NULL::%s)::text[]) THEN x.v::%s END", type->name,
                      type->name);
        return true;
    }
    for (size_t i = 0; i < PV_COUNT_OF(conversions); i++)
        if (strcmp(conversions[i].type, type->name) == 0)
            conversion = &conversions[i];
    if (conversion == NULL)
        return false;
    if (conversion->pattern == NULL) {
        pv_buf_printf(sql, "x.v::%s", type->name);
        return true;
    }
    pv_buf_printf(sql, "CASE WHEN x.v ~ '^%s$' THEN ", conversion->pattern);
    if (conversion->condition != NULL)
        pv_buf_printf(sql, "CASE WHEN %s THEN x.v::%s END END", conversion->condition, type->name);
    else
        pv_buf_printf(sql, "x.v::%s END", type->name);
    return true;
}

/* An attribute's value, read once a statement: a sub-select that hangs on no row. NULL unless the identity holds. */
static bool
put_attribute(struct pv_buf *sql, const char *room, const char *name, const struct pv_attribute_type *type)
{
    char schema[PV_VIEWS_NAME_SIZE];
    struct pv_buf value = {0};
    const char *value_text;
    bool is_known;

    pv_views_private_schema(room, schema);
    pv_buf_put_text(&value, "((i.claims -> 'a') -> ");
    pv_sql_quote_literal(&value, name);
    pv_buf_put_text(&value, ")");
    value_text = pv_buf_text(&value);
    if (value_text == NULL) {
        sql->failed = true;
        return true;
    }
    if (type->is_array) {
        pv_buf_printf(sql, "((SELECT (SELECT CASE WHEN count(*) = 0 THEN '{}'::%s[] WHEN bool_and(y.c IS NOT NULL) THEN "
                           "array_agg(y.c) END FROM (SELECT ", type->name);
        is_known = put_conversion(sql, type);
        pv_buf_printf(sql, " AS c FROM jsonb_array_elements_text(%s) AS x(v)) AS y) FROM ", value_text);
    } else {
        pv_buf_put_text(sql, "((SELECT ");
        is_known = put_conversion(sql, type);
        pv_buf_printf(sql, " FROM (SELECT %s #>> '{}' AS v FROM ", value_text);
    }
    pv_sql_quote_qualified(sql, schema, "identity");
    pv_buf_printf(sql, " AS i WHERE jsonb_typeof(%s) = '%s')", value_text, type->is_array ? "array" : "string");
    if (!type->is_array)
        pv_buf_put_text(sql, " AS x)");
    /* The cast also keeps ANY (…) from reading a sub-select's rows in place of its array. */
    pv_buf_printf(sql, "::%s%s)", type->name, type->is_array ? "[]" : "");
    pv_buf_clear(&value);
    return is_known;
}

static bool
is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           (c & '\x80') != 0;
}

enum pv_status
pv_views_put_printed(struct pv_buf *sql, const char *text, bool (*put)(void *context, struct pv_buf *sql, size_t number),
                     void *context)
{
    char quote = '\0', last = '\0';

    for (const char *at = text; *at != '\0'; last = *at++) {
        size_t number = 0;

        if (quote != '\0') {
            quote = *at == quote ? '\0' : quote;
        } else if (*at == '\'' || *at == '"') {
            quote = *at;
        } else if (*at == '$' && !is_word_byte(last) && at[1] >= '1' && at[1] <= '9') {
            for (; at[1] >= '0' && at[1] <= '9'; at++)
                number = number * 10 + (size_t) (at[1] - '0');
            if (!put(context, sql, number))
                return PV_INTERNAL;
            continue;
        }
        pv_buf_put_u8(sql, (uint8_t) *at);
    }
    return PV_OK;
}

struct filter_context {
    const char *room;
    const struct pv_row_filter *filter;
    const struct pv_source *source;
};

static bool
put_filter_attribute(void *context, struct pv_buf *sql, size_t number)
{
    const struct filter_context *c = context;

    return number <= c->filter->attributes.count &&
           put_attribute(sql, c->room, c->filter->attributes.names[number - 1], &c->source->attribute_types[number - 1]);
}

/* Each attribute must be there, whatever the filter makes of a NULL; then the filter with the attributes in it. */
static enum pv_status
put_filter(struct pv_buf *sql, const char *room, const struct pv_row_filter *filter, const struct pv_source *source,
           size_t *unknown)
{
    struct filter_context context = {room, filter, source};
    enum pv_status status;

    for (size_t i = 0; i < filter->attributes.count; i++) {
        if (!put_attribute(sql, room, filter->attributes.names[i], &source->attribute_types[i])) {
            *unknown = i;
            return PV_INVALID;
        }
        pv_buf_put_text(sql, " IS NOT NULL AND ");
    }
    pv_buf_put_text(sql, "(");
    status = pv_views_put_printed(sql, filter->sql, put_filter_attribute, &context);
    pv_buf_put_text(sql, ")");
    return status;
}

/* ---- the view ---- */

static const struct pv_source_column *
source_column(const struct pv_source *source, const char *name)
{
    for (size_t i = 0; i < source->column_count; i++)
        if (strcmp(source->columns[i].name, name) == 0)
            return &source->columns[i];
    return NULL;
}

static enum pv_status
put_columns(struct pv_arena *arena, struct pv_buf *sql, const struct pv_room *room, const struct pv_dataset *dataset,
            const struct pv_source *source, const struct pv_mask_context *context, const char **words)
{
    size_t shown = 0;

    for (size_t i = 0; i < dataset->column_count; i++) {
        const struct pv_column *column = &dataset->columns[i];
        const struct pv_source_column *found = source_column(source, column->name);
        struct pv_mask mask = column->mask;
        const char *fit = "";
        enum pv_status status;

        mask.kind = pv_column_mask_kind(column);
        if (found == NULL) {
            *words = say(arena, "room %s: data set %s: the source %s.%s has no column \"%s\"", room->name, dataset->key,
                         dataset->source_schema, dataset->source_name, column->name);
            return PV_INVALID;
        }
        if (mask.kind == PV_MASK_OMIT)
            continue;
        pv_buf_put_text(sql, shown++ == 0 ? "" : ", ");
        status = pv_mask_expression(sql, &mask, column->name, &found->type, context, &fit);
        if (status == PV_INVALID && fit == NULL) {
            *words = say(arena, "room %s: data set %s: column \"%s\" has the nondeterministic collation %s, under which LIKE and "
                         "searches fail on its values alone; in a room with analysis rules mask it, or name as source a view "
                         "that gives it COLLATE \"C\"", room->name, dataset->key, column->name, found->type.collation);
            return status;
        }
        if (status != PV_OK) {
            *words = say(arena, "room %s: data set %s: mask %s does not fit column \"%s\" of type %s; it is for %s",
                         room->name, dataset->key, pv_mask_name(mask.kind), column->name, found->type.declared, fit);
            return status;
        }
        pv_buf_put_text(sql, " AS ");
        pv_sql_quote_identifier(sql, column->name);
    }
    if (shown == 0) {
        *words = say(arena, "room %s: data set %s: no column is left to show", room->name, dataset->key);
        return PV_INVALID;
    }
    return PV_OK;
}

static enum pv_status
put_view(struct pv_arena *arena, struct pv_buf *sql, const char *schema, const struct pv_room *room,
         const struct pv_dataset *dataset, const struct pv_source *source, const struct pv_mask_context *context,
         const char **words)
{
    struct pv_row_filter filter = {0};
    enum pv_status status;
    size_t unknown = 0;

    pv_buf_put_text(sql, "CREATE VIEW ");
    pv_sql_quote_qualified(sql, schema, dataset->relation.name);
    pv_buf_put_text(sql, " WITH (security_barrier) AS SELECT ");
    status = put_columns(arena, sql, room, dataset, source, context, words);
    if (status != PV_OK)
        return status;
    pv_buf_put_text(sql, " FROM ");
    pv_sql_quote_qualified(sql, dataset->source_schema, dataset->source_name);
    status = pv_views_row_filter(arena, dataset, &filter, words);
    if (status != PV_OK || filter.sql == NULL)
        return status;
    if (filter.attributes.count != source->attribute_count) {
        *words = say(arena, "room %s: data set %s: the row filter's attributes changed meanwhile", room->name,
                     dataset->key);
        return PV_INTERNAL;
    }
    pv_buf_put_text(sql, " WHERE ");
    status = put_filter(sql, room->name, &filter, source, &unknown);
    if (status == PV_INVALID)
        *words = say(arena, "room %s: data set %s: row filter: attribute :%s would have to be of type %s, which no "
                            "attribute can be (text, number, boolean, date, timestamp, uuid, enum)",
                     room->name, dataset->key, filter.attributes.names[unknown],
                     source->attribute_types[unknown].name);
    return status;
}

enum pv_status
pv_views_dataset(struct pv_arena *arena, const struct pv_room *room, const struct pv_dataset *dataset,
                 const struct pv_source *source, const struct pv_mask_context *context, struct pv_made *made,
                 const char **words)
{
    char schema[PV_VIEWS_NAME_SIZE];
    const char *name;
    struct pv_buf sql = {0};
    struct pv_made view = {.kind = PV_MADE_VIEW, .layer = 3, .is_readable = true};
    enum pv_status status;

    pv_views_relation(room->name, dataset, schema, &name);
    view.name = name;
    view.schema = pv_arena_strdup(arena, schema);
    if (view.schema == NULL)
        return PV_NOMEM;
    *words = "out of memory";
    status = put_view(arena, &sql, schema, room, dataset, source, context, words);
    if (status == PV_OK)
        status = pv_made_finish(arena, &view, &sql);
    pv_buf_clear(&sql);
    if (status == PV_OK)
        *made = view;
    return status;
}
