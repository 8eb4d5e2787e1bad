#include "parser/rewrite.h"

#include <stdio.h>
#include <string.h>

#include "parser/nodes.h"

#define SLOTS_INLINE 64u

/* Slots still to be visited. What they outgrow their first room into is the library's, so that a throw leaves nothing. */
struct slots {
    Node ***items;
    size_t count, size;
    Node **first[SLOTS_INLINE];
};

static void
grow(struct slots *slots)
{
    size_t size = slots->size * 2;

    if (slots->items == slots->first) {
        slots->items = palloc(size * sizeof(*slots->items));
        memcpy(slots->items, slots->first, sizeof(slots->first));
    } else {
        slots->items = repalloc(slots->items, size * sizeof(*slots->items));
    }
    slots->size = size;
}

static inline void
push(struct slots *slots, Node **slot)
{
    if (slots->count == slots->size)
        grow(slots);
    slots->items[slots->count++] = slot;
}

static void
push_children(struct slots *slots, Node *node)
{
    const struct pv_kind *kind = pv_kind_of(nodeTag(node));

    if (IsA(node, List)) {
        ListCell *cell;

        foreach (cell, (List *) node)
            push(slots, (Node **) &lfirst(cell));
        return;
    }
    for (unsigned i = 0; kind != NULL && i < kind->children.count; i++) {
        Node **slot = (Node **) (void *) ((char *) node + kind->children.list[i].offset);

        if (*slot != NULL)
            push(slots, slot);
    }
}

void
pv_tree_mutate(Node **root, pv_tree_edit edit, void *context)
{
    struct slots slots;

    slots.items = slots.first;
    slots.count = 0;
    slots.size = SLOTS_INLINE;
    push(&slots, root);
    while (slots.count > 0) {
        Node **slot = slots.items[--slots.count];
        bool is_entered = true;

        if (*slot == NULL)
            continue;
        if (!IsA(*slot, List))
            *slot = edit(context, *slot, &is_entered);
        if (*slot != NULL && is_entered)
            push_children(&slots, *slot);
    }
    if (slots.items != slots.first)
        pfree(slots.items);
}

static A_Const *
make_const(void)
{
    A_Const *constant = makeNode(A_Const);

    constant->location = -1;
    return constant;
}

Node *
pv_make_string(const char *text)
{
    A_Const *constant = make_const();

    constant->val.sval.type = T_String;
    constant->val.sval.sval = pstrdup(text);
    return (Node *) constant;
}

Node *
pv_make_integer(int64_t value)
{
    A_Const *constant = make_const();

    if (value > INT32_MAX || value < INT32_MIN) {
        char digits[32];

        (void) snprintf(digits, sizeof(digits), "%lld", (long long) value);
        constant->val.fval.type = T_Float;
        constant->val.fval.fval = pstrdup(digits);
    } else {
        constant->val.ival.type = T_Integer;
        constant->val.ival.ival = (int) value;
    }
    return (Node *) constant;
}

Node *
pv_make_null(void)
{
    A_Const *constant = make_const();

    constant->isnull = true;
    return (Node *) constant;
}

Node *
pv_make_cast(Node *arg, TypeName *type)
{
    TypeCast *cast = makeNode(TypeCast);

    cast->arg = arg;
    cast->typeName = type;
    cast->location = -1;
    return (Node *) cast;
}

static List *
make_names(const char *first, const char *second)
{
    List *names = NIL;

    if (first != NULL)
        names = lappend(names, makeString(pstrdup(first)));
    return lappend(names, makeString(pstrdup(second)));
}

Node *
pv_make_type_cast(Node *arg, const char *type)
{
    TypeName *name = makeNode(TypeName);

    name->names = make_names("pg_catalog", type);
    name->typemod = -1;
    name->location = -1;
    return pv_make_cast(arg, name);
}

Node *
pv_make_column(const char *relation, const char *column)
{
    ColumnRef *ref = makeNode(ColumnRef);

    ref->fields = make_names(relation, column);
    ref->location = -1;
    return (Node *) ref;
}

Node *
pv_make_star(void)
{
    ColumnRef *ref = makeNode(ColumnRef);

    ref->fields = lappend(NIL, makeNode(A_Star));
    ref->location = -1;
    return (Node *) ref;
}

Node *
pv_make_param(int number)
{
    ParamRef *param = makeNode(ParamRef);

    param->number = number;
    param->location = -1;
    return (Node *) param;
}

FuncCall *
pv_make_call(const char *schema, const char *name, List *args)
{
    FuncCall *call = makeNode(FuncCall);

    call->funcname = make_names(schema, name);
    call->args = args;
    call->location = -1;
    return call;
}

Node *
pv_make_case(Node *when, Node *then, Node *otherwise)
{
    CaseExpr *choice = makeNode(CaseExpr);
    CaseWhen *branch = makeNode(CaseWhen);

    branch->expr = (Expr *) when;
    branch->result = (Expr *) then;
    branch->location = -1;
    choice->args = lappend(NIL, branch);
    choice->defresult = (Expr *) otherwise;
    choice->location = -1;
    return (Node *) choice;
}

Node *
pv_make_and(Node *left, Node *right)
{
    BoolExpr *all;

    if (left == NULL)
        return right;
    all = makeNode(BoolExpr);
    all->boolop = AND_EXPR;
    if (IsA(left, BoolExpr) && ((BoolExpr *) left)->boolop == AND_EXPR)
        all->args = lappend(list_copy(((BoolExpr *) left)->args), right);
    else
        all->args = list_make2(left, right);
    all->location = -1;
    return (Node *) all;
}

Node *
pv_make_operator(const char *name, Node *left, Node *right)
{
    A_Expr *expr = makeNode(A_Expr);

    expr->kind = AEXPR_OP;
    expr->name = make_names("pg_catalog", name);
    expr->lexpr = left;
    expr->rexpr = right;
    expr->location = -1;
    return (Node *) expr;
}

ResTarget *
pv_make_target(const char *name, Node *value)
{
    ResTarget *target = makeNode(ResTarget);

    target->name = name == NULL ? NULL : pstrdup(name);
    target->val = value;
    target->location = -1;
    return target;
}

Alias *
pv_make_alias(const char *name, List *columns)
{
    Alias *alias = makeNode(Alias);

    alias->aliasname = pstrdup(name);
    alias->colnames = columns;
    return alias;
}

SelectStmt *
pv_make_select(List *targets, List *from, Node *where)
{
    SelectStmt *select = makeNode(SelectStmt);

    select->targetList = targets;
    select->fromClause = from;
    select->whereClause = where;
    select->limitOption = LIMIT_OPTION_DEFAULT;
    return select;
}

Node *
pv_make_subselect(SelectStmt *query, Alias *alias)
{
    RangeSubselect *sub = makeNode(RangeSubselect);

    sub->subquery = (Node *) query;
    sub->alias = alias;
    return (Node *) sub;
}
