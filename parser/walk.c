/*
 * Walks and compares trees with a stack of its own, so that no depth of input can
 * exhaust ours.
 */
#include "parser/walk.h"

#include "parser/walk_int.h"
#include "proxy/base/limits.h"

#include <string.h>

const struct pv_sql_limits pv_sql_limits_default = {PV_QUERY_BYTES_DEFAULT, PV_STATEMENTS_MAX, PV_TREE_NODES_MAX,
                                                    PV_TREE_DEPTH_MAX, PV_TREE_CHAIN_MAX};

void
pv_stack_init(struct pv_stack *stack)
{
    stack->frames = stack->first;
    stack->count = 0;
    stack->size = PV_STACK_INLINE;
}

void
pv_stack_clear(struct pv_stack *stack)
{
    if (stack->frames != stack->first)
        pv_free(stack->frames);
    pv_stack_init(stack);
}

enum pv_status
pv_stack_grow(struct pv_stack *stack)
{
    size_t size = stack->size * 2;
    struct pv_frame *frames;

    if (stack->frames == stack->first) {
        frames = pv_alloc(size * sizeof(*frames));
        if (frames != NULL)
            memcpy(frames, stack->first, stack->count * sizeof(*frames));
    } else {
        frames = pv_realloc(stack->frames, size * sizeof(*frames));
    }
    if (frames == NULL)
        return PV_NOMEM;
    stack->frames = frames;
    stack->size = size;
    return PV_OK;
}

bool
pv_in_chain(const Node *parent, const struct pv_field *field, const Node *child)
{
    return IsA(parent, A_Expr) && IsA(child, A_Expr) && field->offset == offsetof(A_Expr, lexpr) &&
           ((const A_Expr *) parent)->kind == AEXPR_OP && ((const A_Expr *) child)->kind == AEXPR_OP;
}

/* A name is a list of words, in some places ended by a star. */
static bool
names_valid(const List *names)
{
    for (int i = 0; i < list_length(names); i++) {
        const Node *word = list_nth(names, i);

        if (word == NULL || !(IsA(word, String) || IsA(word, A_Star)))
            return false;
    }
    return true;
}

/* A field that is no child: whether it holds what the table allows. */
static bool
value_allowed(const Node *node, const struct pv_field *field)
{
    const char *at = (const char *) node + field->offset;
    int number;

    switch (field->kind) {
    case PV_FIELD_NO_PTR:
        return pv_field_pointer(node, field) == NULL;
    case PV_FIELD_NO_INT:
        memcpy(&number, at, sizeof(number));
        return number == 0;
    case PV_FIELD_NO_BOOL:
    case PV_FIELD_NO_CHAR:
        return *at == 0;
    case PV_FIELD_NAMES:
        return names_valid(pv_field_pointer(node, field));
    case PV_FIELD_NODE:
    case PV_FIELD_LIST:
    case PV_FIELD_STRING:
    case PV_FIELD_INT:
    case PV_FIELD_BOOL:
    case PV_FIELD_CHAR:
    case PV_FIELD_LONG:
    case PV_FIELD_CONST:
    case PV_FIELD_LOCATION:
    case PV_FIELD_FORM:
        break;
    }
    return true;
}

struct walker {
    const struct pv_sql_limits *limits;
    bool lenient;
    struct pv_stack stack;
    struct pv_walk_result result;
};

static enum pv_status
deny(struct walker *w, const Node *node, const char *name)
{
    w->result.denied = nodeTag(node);
    w->result.denied_name = name;
    w->result.location = pv_node_location(node);
    return PV_DENIED;
}

/* The frame's depth and chain are those of `above`, and one is added to either. */
static inline enum pv_status
push_child(struct walker *w, const struct pv_frame *above, Node *parent, const struct pv_field *field,
           const Node *child)
{
    bool is_chain = IsA(parent, A_Expr) && pv_in_chain(parent, field, child);
    struct pv_frame *frame;
    enum pv_status status = pv_stack_room(&w->stack, &frame);

    if (status != PV_OK)
        return status;
    *frame = (struct pv_frame){
        child, NULL, parent, field->name, above->depth + (is_chain ? 0 : 1), above->chain + (is_chain ? 1 : 0)};
    return frame->depth > w->limits->depth_max || frame->chain > w->limits->chain_max ? PV_DEPTH : PV_OK;
}

static enum pv_status
push_list(struct walker *w, const struct pv_frame *above, Node *parent, const struct pv_field *field, const List *list)
{
    for (int i = list_length(list) - 1; i >= 0; i--) {
        const Node *child = list->elements[i].ptr_value;
        enum pv_status status = child == NULL ? PV_OK : push_child(w, above, parent, field, child);

        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}

/* Pushes the last child first, so that the first comes off first. */
static enum pv_status
push_children(struct walker *w, const struct pv_frame *above, Node *node, const struct pv_kind *kind)
{
    static const struct pv_field element = {PV_FIELD_LIST, (unsigned) -1, "element", "List.element"};

    if (IsA(node, List))
        return push_list(w, above, node, &element, (const List *) node);
    for (unsigned i = w->lenient ? 0 : kind->guarded.count; i-- > 0;)
        if (!value_allowed(node, &kind->guarded.list[i]))
            return deny(w, node, kind->guarded.list[i].words);
    for (unsigned i = kind->children.count; i-- > 0;) {
        const struct pv_field *field = &kind->children.list[i];
        const void *child = pv_field_pointer(node, field);
        enum pv_status status = PV_OK;

        if (child != NULL)
            status = field->kind == PV_FIELD_NODE ? push_child(w, above, node, field, child)
                                                  : push_list(w, above, node, field, child);
        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}

static enum pv_status
walk(struct walker *w, pv_walk_visit visit, void *ctx)
{
    while (w->stack.count > 0) {
        struct pv_frame frame = w->stack.frames[--w->stack.count];
        struct pv_walk_at at = {frame.parent, frame.field, frame.depth};
        Node *node = pv_mutable(frame.a);
        const struct pv_kind *kind = pv_kind_of(nodeTag(node));
        enum pv_walk answer = PV_WALK_ON;
        enum pv_status status;

        if (++w->result.nodes > w->limits->nodes_max)
            return PV_LIMIT;
        if (frame.depth > w->result.depth)
            w->result.depth = frame.depth;
        if (kind == NULL && w->lenient)
            continue;
        if (kind == NULL)
            return deny(w, node, pv_node_name(nodeTag(node)));
        if (visit != NULL)
            answer = visit(ctx, node, &at);
        if (answer == PV_WALK_STOP) {
            w->result.stopped = true;
            return PV_OK;
        }
        if (answer == PV_WALK_SKIP)
            continue;
        status = push_children(w, &frame, node, kind);
        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}

enum pv_status
pv_tree_walk_mode(Node *root, const struct pv_sql_limits *limits, bool lenient, pv_walk_visit visit, void *ctx,
                  struct pv_walk_result *result)
{
    struct walker w;
    struct pv_frame frame = {root, NULL, NULL, NULL, 0, 0};
    enum pv_status status = PV_OK;

    w.limits = limits;
    w.lenient = lenient;
    memset(&w.result, 0, sizeof(w.result));
    w.result.location = -1;
    pv_stack_init(&w.stack);
    if (root != NULL)
        status = pv_stack_push(&w.stack, frame);
    if (status == PV_OK)
        status = walk(&w, visit, ctx);
    pv_stack_clear(&w.stack);
    if (result != NULL)
        *result = w.result;
    return status;
}

enum pv_status
pv_tree_walk(Node *root, const struct pv_sql_limits *limits, pv_walk_visit visit, void *ctx,
             struct pv_walk_result *result)
{
    return pv_tree_walk_mode(root, limits, false, visit, ctx, result);
}

int
pv_node_location(const Node *node)
{
    const struct pv_kind *kind = node == NULL ? NULL : pv_kind_of(nodeTag(node));

    for (unsigned i = 0; kind != NULL && i < kind->fields.count; i++) {
        if (kind->fields.list[i].kind == PV_FIELD_LOCATION) {
            int location;

            memcpy(&location, (const char *) node + kind->fields.list[i].offset, sizeof(location));
            return location;
        }
    }
    return -1;
}
