/*
 * Questions as the catalogs show them. The question's own SQL, parameters at NULL, stands below `WHERE false`: the database
 * finds the columns' types by itself, and no plan ever reads a row.
 */
#include "policy/views_int.h"

#include "parser/print.h"
#include "parser/sqltext.h"
#include "policy/param.h"
#include "policy/question_int.h"
#include "proxy/base/arena.h"

#include <string.h>

#define LAYER_SHAPE 50u
#define LAYER_FUNCTION 51u

static void
put_type(struct pv_buf *sql, const struct pv_parameter *parameter)
{
    pv_buf_printf(sql, "%s%s", parameter->type->name, parameter->is_array ? "[]" : "");
}

static bool
put_null(void *context, struct pv_buf *sql, size_t number)
{
    const struct pv_plan *plan = context;

    if (number > plan->number_count || plan->by_number[number - 1] == NULL)
        return false;
    pv_buf_put_text(sql, "NULL::");
    put_type(sql, plan->by_number[number - 1]);
    return true;
}

static bool
is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool
is_parameter(const struct pv_question *question, const char *name)
{
    for (size_t i = 0; i < question->parameter_count; i++)
        if (strcmp(question->parameters[i].name, name) == 0)
            return true;
    return false;
}

/* The n-th form of a name, cut as PostgreSQL would not cut it: before what makes it differ. */
static const char *
numbered(struct pv_arena *arena, const char *name, size_t number)
{
    const char *suffix = pv_arena_printf(arena, "_%zu", number);
    size_t len = strlen(name);

    if (suffix == NULL)
        return NULL;
    if (len + strlen(suffix) >= PV_VIEWS_NAME_SIZE)
        for (len = PV_VIEWS_NAME_SIZE - 1 - strlen(suffix); ((uint8_t) name[len] & 0xC0) == 0x80; len--)
            ;
    return pv_arena_printf(arena, "%.*s%s", (int) len, name, suffix);
}

/* A relation's columns must differ, also from the parameters of a function; a result's need not. */
static enum pv_status
put_columns(struct pv_arena *arena, struct pv_buf *sql, const struct pv_question *question, bool is_function)
{
    const struct pv_relation *relation = &question->relation;
    const char **chosen = pv_arena_alloc(arena, (relation->column_count + 1) * sizeof(*chosen));

    if (chosen == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < relation->column_count; i++) {
        chosen[i] = relation->columns[i];
        for (size_t number = 2; is_among(chosen[i], chosen, i) || (is_function && is_parameter(question, chosen[i])) ||
                                (number > 2 && is_among(chosen[i], relation->columns, relation->column_count));
             number++) {
            chosen[i] = numbered(arena, relation->columns[i], number);
            if (chosen[i] == NULL)
                return PV_NOMEM;
        }
        pv_buf_put_text(sql, i == 0 ? "" : ", ");
        pv_sql_quote_identifier(sql, chosen[i]);
    }
    return PV_OK;
}

static enum pv_status
make_shape(struct pv_arena *arena, const struct pv_question *question, const char *schema, const char *name,
           bool is_function, struct pv_made *made)
{
    struct pv_plan *plan = (struct pv_plan *) (uintptr_t) question->plan;
    struct pv_buf text = {0}, sql = {0};
    const char *what = NULL;
    enum pv_status status = pv_print(plan->forward_tree, &text, &what);

    *made = (struct pv_made) {.kind = PV_MADE_VIEW, .schema = schema, .name = name, .layer = LAYER_SHAPE,
                              .is_readable = !is_function};
    if (status == PV_OK && pv_buf_text(&text) == NULL)
        status = PV_NOMEM;
    if (status == PV_OK) {
        pv_buf_put_text(&sql, "CREATE VIEW ");
        pv_sql_quote_qualified(&sql, schema, name);
        pv_buf_put_text(&sql, " WITH (security_barrier) AS SELECT * FROM (");
        status = pv_views_put_printed(&sql, pv_buf_text(&text), put_null, plan);
        pv_buf_put_text(&sql, ") AS q(");
    }
    if (status == PV_OK)
        status = put_columns(arena, &sql, question, is_function);
    pv_buf_put_text(&sql, ") WHERE false");
    if (status == PV_OK)
        status = pv_made_finish(arena, made, &sql);
    pv_buf_clear(&text);
    pv_buf_clear(&sql);
    return status;
}

static void
put_parameters(struct pv_buf *sql, const struct pv_question *question, bool with_names)
{
    bool is_first = true;

    /* Those with a default stand last, as PostgreSQL asks; callers name them anyway. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < question->parameter_count; i++) {
            const struct pv_parameter *parameter = &question->parameters[i];

            if (parameter->has_default != (pass == 1))
                continue;
            pv_buf_put_text(sql, is_first ? "" : ", ");
            is_first = false;
            if (with_names) {
                pv_sql_quote_identifier(sql, parameter->name);
                pv_buf_put_u8(sql, ' ');
            }
            put_type(sql, parameter);
            if (!with_names || pass == 0)
                continue;
            pv_buf_put_text(sql, " DEFAULT ");
            if (parameter->default_text == NULL) {
                pv_buf_put_text(sql, "NULL");
                continue;
            }
            pv_sql_quote_literal(sql, parameter->default_text);
            pv_buf_put_text(sql, "::");
            put_type(sql, parameter);
        }
    }
}

static const char *
take_text(struct pv_arena *arena, struct pv_buf *buf)
{
    const char *text = pv_buf_text(buf) == NULL ? NULL : pv_arena_strdup(arena, pv_buf_text(buf));

    pv_buf_clear(buf);
    return text;
}

/* The function takes its result's columns from the shape that stands in the private schema. */
static enum pv_status
make_function(struct pv_arena *arena, const struct pv_question *question, const char *schema, const struct pv_made *shape,
              struct pv_made *made)
{
    struct pv_buf head = {0}, relation = {0}, arguments = {0}, body = {0}, sql = {0};
    const char *head_text, *relation_text, *body_text;

    *made = (struct pv_made) {.kind = PV_MADE_FUNCTION, .schema = schema, .name = question->id, .layer = LAYER_FUNCTION,
                              .is_readable = true};
    pv_buf_put_text(&head, "CREATE FUNCTION ");
    pv_sql_quote_qualified(&head, schema, question->id);
    pv_buf_put_text(&head, "(");
    put_parameters(&head, question, true);
    pv_buf_put_text(&head, ") RETURNS TABLE (");
    pv_sql_quote_qualified(&relation, shape->schema, shape->name);
    put_parameters(&arguments, question, false);
    head_text = take_text(arena, &head);
    relation_text = take_text(arena, &relation);
    made->arguments = take_text(arena, &arguments);
    if (head_text == NULL || relation_text == NULL || made->arguments == NULL)
        return PV_NOMEM;
    pv_buf_put_text(&body, "BEGIN EXECUTE (SELECT ");
    pv_sql_quote_literal(&body, head_text);
    pv_buf_put_text(&body, " || string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY "
                          "attnum) || ') LANGUAGE sql STABLE AS ' || quote_literal('SELECT ' || string_agg('NULL::' || "
                          "format_type(atttypid, atttypmod), ', ' ORDER BY attnum) || ' WHERE false') FROM pg_attribute "
                          "WHERE attnum > 0 AND attrelid = ");
    pv_sql_quote_literal(&body, relation_text);
    /* The shape's own mark stands for the columns: another shape makes another function. */
    pv_buf_printf(&body, "::regclass); /* %s */ END", shape->mark);
    body_text = take_text(arena, &body);
    if (body_text == NULL)
        return PV_NOMEM;
    /* No dollar quotes: names and defaults may hold any. */
    pv_buf_put_text(&sql, "DO ");
    pv_sql_quote_literal(&sql, body_text);
    return pv_made_finish(arena, made, &sql);
}

static bool
has_required(const struct pv_question *question)
{
    for (size_t i = 0; i < question->parameter_count; i++)
        if (!question->parameters[i].has_default)
            return true;
    return false;
}

static enum pv_status
make_question(struct pv_arena *arena, const struct pv_room *room, const struct pv_question *question,
              struct pv_made *list, size_t *count)
{
    char cut[PV_VIEWS_NAME_SIZE], space[PV_VIEWS_NAME_SIZE], private_space[PV_VIEWS_NAME_SIZE];
    const char *schema, *private_schema, *name;
    enum pv_status status;

    pv_views_schema(room->name, PV_VIEWS_QUESTIONS, space);
    schema = pv_arena_strdup(arena, space);
    if (schema == NULL)
        return PV_NOMEM;
    if (!has_required(question)) {
        status = make_shape(arena, question, schema, question->id, false, &list[*count]);
        *count += status == PV_OK;
        return status;
    }
    pv_views_private_schema(room->name, private_space);
    pv_views_cut_name("question_", question->id, cut);
    private_schema = pv_arena_strdup(arena, private_space);
    name = pv_arena_strdup(arena, cut);
    if (private_schema == NULL || name == NULL)
        return PV_NOMEM;
    status = make_shape(arena, question, private_schema, name, true, &list[*count]);
    if (status == PV_OK)
        status = make_function(arena, question, schema, &list[*count], &list[*count + 1]);
    *count += status == PV_OK ? 2 : 0;
    return status;
}

enum pv_status
pv_views_questions(struct pv_arena *arena, const struct pv_room *room, struct pv_made **made, size_t *count)
{
    struct pv_made *list = pv_arena_alloc(arena, (2 * room->question_count + 1) * sizeof(*list));
    enum pv_status status = PV_OK;
    size_t made_count = 0;

    if (list == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < room->question_count && status == PV_OK; i++)
        if (!room->questions[i].is_open && room->questions[i].plan != NULL)
            status = make_question(arena, room, &room->questions[i], list, &made_count);
    if (status != PV_OK)
        return status;
    *made = list;
    *count = made_count;
    return PV_OK;
}
