/*
 * Whether two trees say the same, by the table of nodes.h.
 */
#include "parser/walk_int.h"

#include <string.h>

static bool
text_same(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

bool
pv_names_same(const List *a, const List *b)
{
    if (list_length(a) != list_length(b))
        return false;
    for (int i = 0; i < list_length(a); i++) {
        const Node *x = list_nth(a, i);
        const Node *y = list_nth(b, i);

        if (x == NULL || y == NULL || nodeTag(x) != nodeTag(y))
            return false;
        if (IsA(x, String) && !text_same(pv_word(x), pv_word(y)))
            return false;
        if (!IsA(x, String) && !IsA(x, A_Star))
            return false;
    }
    return true;
}

bool
pv_const_same(const A_Const *a, const A_Const *b)
{
    if (a->isnull || b->isnull)
        return a->isnull && b->isnull;
    if (nodeTag(&a->val.node) != nodeTag(&b->val.node))
        return false;
    if (IsA(&a->val.node, Integer))
        return a->val.ival.ival == b->val.ival.ival;
    if (IsA(&a->val.node, Float))
        return text_same(a->val.fval.fval, b->val.fval.fval);
    if (IsA(&a->val.node, Boolean))
        return a->val.boolval.boolval == b->val.boolval.boolval;
    if (IsA(&a->val.node, String))
        return text_same(a->val.sval.sval, b->val.sval.sval);
    return IsA(&a->val.node, BitString) && text_same(a->val.bsval.bsval, b->val.bsval.bsval);
}

bool
pv_field_same(const Node *a, const Node *b, const struct pv_field *field)
{
    const char *x = (const char *) a + field->offset;
    const char *y = (const char *) b + field->offset;

    switch (field->kind) {
    case PV_FIELD_INT:
    case PV_FIELD_NO_INT:
        return memcmp(x, y, sizeof(int)) == 0;
    case PV_FIELD_BOOL:
    case PV_FIELD_CHAR:
    case PV_FIELD_NO_BOOL:
    case PV_FIELD_NO_CHAR:
        return *x == *y;
    case PV_FIELD_LONG:
        return memcmp(x, y, sizeof(long)) == 0;
    case PV_FIELD_STRING:
        return text_same(pv_field_pointer(a, field), pv_field_pointer(b, field));
    case PV_FIELD_NAMES:
        return pv_names_same(pv_field_pointer(a, field), pv_field_pointer(b, field));
    case PV_FIELD_CONST:
        return pv_const_same((const A_Const *) a, (const A_Const *) b);
    case PV_FIELD_NO_PTR:
        /* Whatever stands there was refused before; two of them are never taken for the same. */
        return pv_field_pointer(a, field) == NULL && pv_field_pointer(b, field) == NULL;
    case PV_FIELD_NODE:
    case PV_FIELD_LIST:
    case PV_FIELD_LOCATION:
    case PV_FIELD_FORM:
        break;
    }
    return true;
}

static enum pv_status
push_pair(struct pv_stack *stack, const Node *a, const Node *b, bool *same)
{
    struct pv_frame *frame;
    enum pv_status status;

    if (a == NULL || b == NULL || nodeTag(a) != nodeTag(b)) {
        *same = a == NULL && b == NULL;
        return PV_OK;
    }
    status = pv_stack_room(stack, &frame);
    if (status == PV_OK) {
        frame->a = a;
        frame->b = b;
    }
    return status;
}

static enum pv_status
push_lists(struct pv_stack *stack, const List *a, const List *b, bool *same)
{
    enum pv_status status = PV_OK;

    if (list_length(a) != list_length(b)) {
        *same = false;
        return PV_OK;
    }
    for (int i = list_length(a) - 1; i >= 0 && *same && status == PV_OK; i--)
        status = push_pair(stack, a->elements[i].ptr_value, b->elements[i].ptr_value, same);
    return status;
}

static enum pv_status
push_pairs(struct pv_stack *stack, const Node *a, const Node *b, bool *same)
{
    const struct pv_kind *kind = pv_kind_of(nodeTag(a));
    enum pv_status status = PV_OK;

    if (kind == NULL)
        return PV_DENIED;
    if (IsA(a, List))
        return push_lists(stack, (const List *) a, (const List *) b, same);
    for (unsigned i = 0; i < kind->values.count && *same; i++)
        *same = pv_field_same(a, b, &kind->values.list[i]);
    for (unsigned i = kind->children.count; i-- > 0 && *same && status == PV_OK;) {
        const struct pv_field *field = &kind->children.list[i];
        const void *x = pv_field_pointer(a, field), *y = pv_field_pointer(b, field);

        if (x == NULL && y == NULL)
            continue;
        status = field->kind == PV_FIELD_NODE ? push_pair(stack, x, y, same) : push_lists(stack, x, y, same);
    }
    return status;
}

enum pv_status
pv_tree_equal(const Node *a, const Node *b, bool *same)
{
    struct pv_stack stack;
    enum pv_status status;
    bool equal_so_far = true;

    pv_stack_init(&stack);
    status = push_pair(&stack, a, b, &equal_so_far);
    while (status == PV_OK && equal_so_far && stack.count > 0) {
        struct pv_frame frame = stack.frames[--stack.count];

        status = push_pairs(&stack, frame.a, frame.b, &equal_so_far);
    }
    pv_stack_clear(&stack);
    if (status == PV_OK)
        *same = equal_so_far;
    return status;
}
