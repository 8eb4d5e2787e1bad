/*
 * What cache.c keeps of a fixed question that was asked by its statement: which constants of the text are its
 * arguments, and the pieces of what is sent around them (invariants 3 and 5 there).
 */
#include "parser/pieces.h"
#include "parser/sqltext.h"
#include "policy/cache_int.h"
#include "policy/param.h"
#include "policy/question_int.h"
#include "policy/repeat.h"

#include <string.h>

/* A shape's constant: fixed text, or the argument for one parameter. */
struct place {
    const struct pv_parameter *parameter; /* NULL: fixed */
    struct pv_slice fixed;                /* as it stands in the text */
};

/* A part of what is forwarded: text, then the constant of a slot (the last one: none). */
struct part {
    struct pv_slice text;
    size_t slot;
};

/* A constant in today's text, as it goes to the database. */
struct argument {
    struct pv_slice text; /* canonical; NUL-terminated unless `is_digits` */
    bool is_digits;       /* nothing in it wants quoting */
};

struct pv_learned {
    struct place *places;
    size_t count;
    struct part *parts;
    size_t part_count;
    size_t lead, trail; /* bytes of the text before and behind the statement */
};

/* ---- Today's constants ---- */

/*
 * The canonical texts of the arguments, as they are now. PV_NOTFOUND: judge afresh.
 */
static enum pv_status
judge_arguments(struct pv_arena *arena, const struct pv_learned *shape, struct pv_slice text,
                const struct pv_slot *slots, struct argument *arguments)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct place *place = &shape->places[i];
        size_t quotes = slots[i].is_string ? 1 : 0;
        struct pv_slice given = pv_slice_of(text.data + slots[i].at, slots[i].len);
        const char *value, *words = NULL, *canonical = NULL;
        enum pv_status status;

        if (place->parameter == NULL) {
            if (!pv_slice_equal(place->fixed, given))
                return PV_NOTFOUND;
            continue;
        }
        if (!slots[i].is_string && pv_param_is_plain_integer(place->parameter, given)) {
            arguments[i] = (struct argument){given, true};
            continue;
        }
        value = pv_arena_strndup(arena, (const char *) given.data + quotes, given.len - 2 * quotes);
        if (value == NULL)
            return PV_NOMEM;
        status = pv_param_judge_text(arena, place->parameter, value, &canonical, &words);
        if (status != PV_OK)
            return status == PV_NOMEM ? status : PV_NOTFOUND;
        if (canonical == NULL)
            return PV_NOTFOUND;
        arguments[i] = (struct argument){pv_slice_cstr(canonical), false};
    }
    return PV_OK;
}

/* What is forwarded with these constants. PV_NOTFOUND: judge afresh. */
static enum pv_status
fill(struct pv_arena *arena, struct pv_buf *sql, const struct pv_learned *shape, struct pv_slice text,
     const struct pv_slot *slots, struct argument arguments[PV_SLOTS_MAX], const char **forwarded)
{
    enum pv_status status = judge_arguments(arena, shape, text, slots, arguments);

    if (status != PV_OK)
        return status;
    pv_buf_truncate(sql, 0);
    for (size_t i = 0; i < shape->part_count; i++) {
        const struct argument *argument = &arguments[shape->parts[i].slot % PV_SLOTS_MAX];

        pv_buf_put_slice(sql, shape->parts[i].text);
        if (shape->parts[i].slot == SIZE_MAX)
            continue;
        if (argument->is_digits) {
            pv_buf_put_u8(sql, '\'');
            pv_buf_put_slice(sql, argument->text);
            pv_buf_put_u8(sql, '\'');
        } else {
            pv_sql_quote_literal(sql, (const char *) argument->text.data);
        }
    }
    if (!pv_buf_ok(sql)) {
        pv_buf_clear(sql);
        return PV_NOMEM;
    }
    *forwarded = pv_arena_strndup(arena, (const char *) pv_buf_slice(sql).data, pv_buf_len(sql));
    return *forwarded == NULL ? PV_NOMEM : PV_OK;
}

/* ---- Learning ---- */

/* The slot whose constant this argument is; SIZE_MAX: none. */
static size_t
slot_of(struct pv_slice text, const struct pv_slot *slots, size_t slot_count, const struct pv_traced *argument)
{
    for (size_t i = 0; i < slot_count; i++) {
        size_t quotes = slots[i].is_string ? 1 : 0;

        if (argument->location >= 0 && (size_t) argument->location == slots[i].at && argument->text != NULL &&
            strlen(argument->text) == slots[i].len - 2 * quotes &&
            memcmp(argument->text, text.data + slots[i].at + quotes, slots[i].len - 2 * quotes) == 0)
            return i;
    }
    return SIZE_MAX;
}

/* Which constants are arguments. False: some argument is none of the constants that were taken out. */
static bool
find_places(struct pv_arena *arena, struct pv_learned *shape, struct pv_slice text, const struct pv_slot *slots,
            const struct pv_trace *trace, size_t *slot_by_number)
{
    for (size_t i = 0; i < shape->count; i++) {
        const char *copy = pv_arena_strndup(arena, (const char *) text.data + slots[i].at, slots[i].len);

        if (copy == NULL)
            return false;
        shape->places[i].fixed = pv_slice_of(copy, slots[i].len);
    }
    for (unsigned n = 0; n < trace->count; n++) {
        size_t slot = slot_of(text, slots, shape->count, &trace->arguments[n]);

        if (slot == SIZE_MAX || shape->places[slot].parameter != NULL || trace->parameters[n]->is_array)
            return false;
        shape->places[slot].parameter = trace->parameters[n];
        slot_by_number[n] = slot;
    }
    return true;
}

/* The pieces with the names in them: what lies between the constants, each of which stands exactly once. */
static bool
join_parts(struct pv_arena *arena, struct pv_learned *shape, const struct pv_trace *trace, const size_t *slot_by_number)
{
    bool is_seen[PV_SLOTS_MAX] = {false};
    struct pv_buf text = {0};
    bool is_whole = true;

    shape->parts = pv_arena_alloc(arena, (trace->count + 1) * sizeof(*shape->parts));
    for (size_t i = 0; i < trace->pieces->count && is_whole && shape->parts != NULL; i++) {
        const struct pv_piece *piece = &trace->pieces->items[i];
        size_t slot = piece->hole == PV_HOLE_VALUE ? slot_by_number[piece->index] : SIZE_MAX;
        const char *copy;

        pv_buf_put_slice(&text, piece->text);
        if (piece->hole == PV_HOLE_NAME) {
            pv_sql_quote_identifier(&text, trace->names[piece->index]);
            continue;
        }
        copy = pv_buf_ok(&text) ? pv_arena_strndup(arena, (const char *) pv_buf_slice(&text).data, pv_buf_len(&text))
                                : NULL;
        is_whole = copy != NULL && (slot == SIZE_MAX || !is_seen[slot]);
        if (!is_whole)
            break;
        if (slot != SIZE_MAX)
            is_seen[slot] = true;
        shape->parts[shape->part_count++] = (struct part){pv_slice_of(copy, pv_buf_len(&text)), slot};
        pv_buf_truncate(&text, 0);
    }
    pv_buf_clear(&text);
    return is_whole && shape->part_count == trace->count + 1;
}

/* Where the statement stands in the text. False: somewhere else than between space and semicolons. */
static bool
find_edges(struct pv_learned *shape, struct pv_slice text, struct pv_slice statement)
{
    while (shape->lead < text.len && strchr(" \t\r\n", text.data[shape->lead]) != NULL)
        shape->lead++;
    if (text.len - shape->lead < statement.len || memcmp(text.data + shape->lead, statement.data, statement.len) != 0)
        return false;
    shape->trail = text.len - shape->lead - statement.len;
    for (size_t i = text.len - shape->trail; i < text.len; i++)
        if (strchr(" \t\r\n;", text.data[i]) == NULL)
            return false;
    return true;
}

struct pv_learned *
pv_learned_new(struct pv_arena *arena, struct pv_buf *sql, const struct pv_asking *asking, const struct pv_slot *slots,
               size_t slot_count, const struct pv_trace *trace, const struct pv_decision *decision)
{
    struct pv_learned *shape = pv_arena_alloc(arena, sizeof(*shape));
    size_t slot_by_number[PV_SLOTS_MAX];
    struct argument arguments[PV_SLOTS_MAX];
    const char *forwarded = NULL;

    if (shape == NULL || trace->question == NULL || trace->pieces == NULL || trace->count == 0 ||
        trace->count > slot_count || !decision->is_allowed || decision->kind != PV_KIND_SELECT ||
        decision->forwarded == NULL || decision->parameter_count > 0)
        return NULL;
    shape->count = slot_count;
    shape->places = pv_arena_alloc(arena, slot_count * sizeof(*shape->places));
    if (shape->places == NULL || !find_edges(shape, asking->text, decision->text) ||
        !find_places(arena, shape, asking->text, slots, trace, slot_by_number) ||
        !join_parts(arena, shape, trace, slot_by_number) ||
        fill(arena, sql, shape, asking->text, slots, arguments, &forwarded) != PV_OK ||
        strcmp(forwarded, decision->forwarded) != 0)
        return NULL;
    return shape;
}

/* ---- What it gives ---- */

static const struct pv_slice *
repeat_values(struct pv_arena *arena, const struct pv_learned *shape, const struct argument *arguments)
{
    struct pv_slice *values = pv_arena_alloc(arena, shape->part_count * sizeof(*values));
    size_t count = 0;

    for (size_t i = 0; values != NULL && i < shape->part_count; i++)
        if (shape->parts[i].slot != SIZE_MAX)
            values[count++] = arguments[shape->parts[i].slot].text;
    return values;
}

enum pv_status
pv_learned_decide(struct pv_arena *arena, struct pv_buf *sql, const struct pv_learned *shape, struct pv_slice text,
                  const struct pv_slot *slots, struct pv_repeat *repeat, struct pv_decision *decision)
{
    struct argument arguments[PV_SLOTS_MAX];
    enum pv_status status = fill(arena, sql, shape, text, slots, arguments, &decision->forwarded);

    if (status != PV_OK)
        return status;
    if (repeat != NULL) {
        decision->repeat_values = repeat_values(arena, shape, arguments);
        decision->repeat = decision->repeat_values == NULL ? NULL : repeat;
    }
    decision->text = pv_slice_of(text.data + shape->lead, text.len - shape->lead - shape->trail);
    return PV_OK;
}

struct pv_repeat *
pv_learned_repeat(struct pv_buf *sql, const struct pv_learned *shape)
{
    uint32_t oids[PV_SLOTS_MAX];
    size_t count = 0;

    pv_buf_truncate(sql, 0);
    for (size_t i = 0; i < shape->part_count; i++) {
        pv_buf_put_slice(sql, shape->parts[i].text);
        if (shape->parts[i].slot == SIZE_MAX)
            continue;
        oids[count++] = shape->places[shape->parts[i].slot].parameter->type->oid;
        pv_buf_put_u8(sql, '$');
        pv_buf_put_decimal(sql, (int64_t) count);
    }
    if (pv_buf_ok(sql))
        return pv_repeat_new(pv_buf_slice(sql), oids, count);
    pv_buf_clear(sql);
    return NULL;
}
