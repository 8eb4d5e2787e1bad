/*
 * For this folder alone: the stack that walks without recursion, and children by field.
 */
#ifndef PV_WALK_INT_H
#define PV_WALK_INT_H

#include "parser/nodes.h"
#include "parser/walk.h"

#define PV_STACK_INLINE 96u

struct pv_frame {
    const Node *a;
    const Node *b; /* the other tree's node, where two are compared */
    Node *parent;
    const char *field;
    unsigned depth;
    unsigned chain;
};

/* Lives on the C stack; grows on the heap only for wide or deep trees. */
struct pv_stack {
    struct pv_frame *frames;
    size_t count;
    size_t size;
    struct pv_frame first[PV_STACK_INLINE];
};

void pv_stack_init(struct pv_stack *stack);
void pv_stack_clear(struct pv_stack *stack);
enum pv_status pv_stack_grow(struct pv_stack *stack) PV_MUST_CHECK;

/* One more on top, not filled. Inline, as what follows: walks are most of what a judgement does. */
static inline enum pv_status
pv_stack_room(struct pv_stack *stack, struct pv_frame **frame)
{
    if (stack->count == stack->size) {
        enum pv_status status = pv_stack_grow(stack);

        if (status != PV_OK)
            return status;
    }
    *frame = &stack->frames[stack->count++];
    return PV_OK;
}

static inline enum pv_status
pv_stack_push(struct pv_stack *stack, struct pv_frame frame)
{
    struct pv_frame *room;
    enum pv_status status = pv_stack_room(stack, &room);

    if (status == PV_OK)
        *room = frame;
    return status;
}

/* As pv_tree_walk; a lenient walk takes kinds and fields that are refused for leaves. */
enum pv_status pv_tree_walk_mode(Node *root, const struct pv_sql_limits *limits, bool lenient, pv_walk_visit visit,
                                 void *ctx, struct pv_walk_result *result) PV_MUST_CHECK;

/* A field of two nodes of one kind that is no child node: a value, a text, a name. */
bool pv_field_same(const Node *a, const Node *b, const struct pv_field *field);
bool pv_names_same(const List *a, const List *b);
bool pv_const_same(const A_Const *a, const A_Const *b);

/* The tree was given to us to walk and is handed to a visitor that may edit it. */
static inline Node *
pv_mutable(const Node *node)
{
    return (Node *) (uintptr_t) node;
}

/* The text of a String node. */
static inline const char *
pv_word(const Node *node)
{
    return ((const String *) node)->sval;
}

/* Whether `child` hangs to the left of an operator chain of `parent`. */
bool pv_in_chain(const Node *parent, const struct pv_field *field, const Node *child);

#endif
