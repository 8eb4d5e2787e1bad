/*
 * What a template is known by before a client's statement comes: its names, and a number that statements are sought by.
 *
 * 1. Whatever match.h takes for the same goes into the number in the same way, or not at all: casts are looked through,
 *    what may stand for a parameter is one thing, aliases and names of columns that may be aliases are left out.
 */
#include "parser/match_int.h"

#include "parser/walk_int.h"

#include <string.h>

/* ---- names -------------------------------------------------------------------- */

struct noting {
    struct pv_arena *arena;
    struct pv_match_form *form;
    bool is_out_of_memory;
};

static void
note(struct noting *noting, struct pv_match_names *names, const char *name)
{
    if (names->count == names->size) {
        size_t size = names->size == 0 ? 8 : names->size * 2;
        const char **items = pv_arena_alloc(noting->arena, size * sizeof(*items));

        if (items == NULL) {
            noting->is_out_of_memory = true;
            return;
        }
        if (names->count > 0)
            memcpy(items, names->items, names->count * sizeof(*items));
        names->items = items;
        names->size = size;
    }
    names->items[names->count++] = name;
}

static enum pv_walk
note_name(void *context, Node *node, const struct pv_walk_at *at)
{
    struct noting *noting = context;
    struct pv_match_form *form = noting->form;

    (void) at;
    if (IsA(node, RangeVar) && ((RangeVar *) node)->alias == NULL)
        note(noting, &form->tables, ((RangeVar *) node)->relname);
    else if (IsA(node, Alias))
        note(noting, &form->tables, ((Alias *) node)->aliasname);
    else if (IsA(node, CommonTableExpr))
        note(noting, &form->ctes, ((CommonTableExpr *) node)->ctename);
    return PV_WALK_ON;
}

enum pv_status
pv_match_form_make(struct pv_arena *arena, const Node *tree, unsigned parameter_count, struct pv_match_form *form)
{
    struct noting noting = {arena, form, false};
    size_t count = pv_match_output_count(tree);
    enum pv_status status;

    memset(form, 0, sizeof(*form));
    form->tree = tree;
    form->parameter_count = parameter_count;
    status = pv_tree_walk(pv_mutable(tree), &pv_sql_limits_default, note_name, &noting, NULL);
    for (size_t i = 0; i < count; i++)
        note(&noting, &form->outputs, pv_match_output_at(tree, i));
    if (status == PV_OK && noting.is_out_of_memory)
        status = PV_NOMEM;
    return status == PV_OK ? pv_match_shape(tree, &form->shape) : status;
}

/* ---- the number ----------------------------------------------------------------- */

static uint64_t
mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ (hash >> 29);
}

static uint64_t
mix_text(uint64_t hash, const char *text)
{
    uint64_t sum = 0;

    for (; text != NULL && *text != '\0'; text++)
        sum = sum * 31 + (uint8_t) *text;
    return mix(hash, sum);
}

static uint64_t
mix_last(uint64_t hash, const List *names)
{
    const Node *last = names == NIL ? NULL : llast(names);

    return mix_text(hash, last != NULL && IsA(last, String) ? pv_word(last) : NULL);
}

/* Deeper arrays are no value, in a template as in what is compared with it. */
#define VALUE_DEPTH_MAX 8u

/* What may stand where the template has a parameter, and the parameter. */
static bool
is_value(const Node *node, unsigned depth)
{
    const List *elements;

    while (node != NULL && IsA(node, TypeCast))
        node = ((const TypeCast *) node)->arg;
    if (node == NULL || depth == VALUE_DEPTH_MAX)
        return false;
    if (!IsA(node, A_ArrayExpr))
        return IsA(node, A_Const) || IsA(node, ParamRef);
    elements = ((const A_ArrayExpr *) node)->elements;
    for (int i = 0; i < list_length(elements); i++)
        if (!is_value(list_nth(elements, i), depth + 1))
            return false;
    return true;
}

/* What a node says by itself. */
static uint64_t
mix_node(uint64_t hash, const Node *node, const struct pv_kind *kind)
{
    hash = mix(hash, (uint64_t) nodeTag(node));
    switch ((int) nodeTag(node)) {
    case T_RangeVar:
        return mix_text(hash, ((const RangeVar *) node)->relname);
    case T_ColumnRef: {
        const List *fields = ((const ColumnRef *) node)->fields;

        /* One name alone may be an output's or a table's, under another alias. */
        return list_length(fields) > 1 ? mix_last(hash, fields) : mix(hash, (uint64_t) nodeTag(llast(fields)));
    }
    case T_FuncCall:
        return mix_last(hash, ((const FuncCall *) node)->funcname);
    case T_A_Expr:
        return mix(mix_last(hash, ((const A_Expr *) node)->name), (uint64_t) ((const A_Expr *) node)->kind);
    case T_SortBy:
    case T_ResTarget:
        return hash;
    default:
        for (unsigned i = 0; i < kind->values.count; i++) {
            int number;

            if (kind->values.list[i].kind != PV_FIELD_INT)
                continue;
            memcpy(&number, (const char *) node + kind->values.list[i].offset, sizeof(number));
            hash = mix(hash, (uint64_t) number);
        }
        return hash;
    }
}

struct shaping {
    struct pv_stack stack;
    uint64_t hash;
};

static enum pv_status
put_child(struct shaping *shaping, const Node *child)
{
    struct pv_frame *frame;
    enum pv_status status;

    while (child != NULL && IsA(child, TypeCast))
        child = ((const TypeCast *) child)->arg;
    if (child == NULL || is_value(child, 0)) {
        shaping->hash = mix(shaping->hash, child == NULL ? 1 : 2);
        return PV_OK;
    }
    status = pv_stack_room(&shaping->stack, &frame);
    if (status == PV_OK)
        frame->a = child;
    return status;
}

static enum pv_status
put_list(struct shaping *shaping, const List *list)
{
    enum pv_status status = PV_OK;

    shaping->hash = mix(shaping->hash, (uint64_t) list_length(list));
    for (int i = 0; i < list_length(list) && status == PV_OK; i++)
        status = put_child(shaping, list_nth(list, i));
    return status;
}

static enum pv_status
put_node(struct shaping *shaping, const Node *node)
{
    const struct pv_kind *kind = pv_kind_of(nodeTag(node));
    enum pv_status status = PV_OK;

    if (kind == NULL)
        return PV_DENIED;
    shaping->hash = mix_node(shaping->hash, node, kind);
    if (IsA(node, List))
        return put_list(shaping, (const List *) node);
    if (IsA(node, RangeVar)) /* its alias may be there or not */
        return PV_OK;
    for (unsigned i = 0; i < kind->children.count && status == PV_OK; i++) {
        const struct pv_field *field = &kind->children.list[i];
        const void *child = pv_field_pointer(node, field);

        if (child == NULL)
            continue;
        shaping->hash = mix(shaping->hash, field->offset);
        status = field->kind == PV_FIELD_NODE ? put_child(shaping, child) : put_list(shaping, child);
    }
    return status;
}

enum pv_status
pv_match_shape(const Node *stmt, uint64_t *shape)
{
    struct shaping shaping;
    enum pv_status status;

    shaping.hash = 0;
    pv_stack_init(&shaping.stack);
    status = put_child(&shaping, stmt);
    while (status == PV_OK && shaping.stack.count > 0)
        status = put_node(&shaping, shaping.stack.frames[--shaping.stack.count].a);
    pv_stack_clear(&shaping.stack);
    if (status == PV_OK)
        *shape = shaping.hash;
    return status;
}
