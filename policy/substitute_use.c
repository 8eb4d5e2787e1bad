#include <limits.h>
#include <string.h>

#include "parser/walk.h"
#include "policy/catalog.h"
#include "policy/functions.h"
#include "policy/substitute_int.h"

/*
 * What becomes of values whose types look names up (ATTACKS: N6): into another expression, or to be shown. Found before
 * anything is edited.
 */

/*
 * Marks on what gives looked-up types, in its location, which carries no other meaning once a statement is judged: that
 * it was seen to, or what its value is for, each in a range of its own that holds the location.
 */
#define USE_RANGE (INT_MAX / 4)
#define USE_MARK(use) (-(int) (use) *USE_RANGE)

bool
pv_use_is_seen(int location)
{
    return location <= -2 && location > -USE_RANGE;
}

int
pv_use_seen(int location)
{
    if (pv_use_is_seen(location))
        return location;
    return location >= 0 && location < USE_RANGE - 3 ? -2 - location : 1 - USE_RANGE;
}

int
pv_substituted_location(int location)
{
    if (pv_use_is_seen(location))
        return location == 1 - USE_RANGE ? -1 : -2 - location;
    return location <= -USE_RANGE ? -location % USE_RANGE : location;
}

static void
mark_use(int *location, enum pv_lookup_use use)
{
    int plain = *location < 0 ? 0 : *location;

    if (use != PV_LOOKUP_FLOWS && plain < USE_RANGE)
        *location = USE_MARK(use) - plain;
}

enum pv_lookup_use
pv_use_take(int *location)
{
    int use = *location > USE_MARK(PV_LOOKUP_KEPT) ? PV_LOOKUP_FLOWS : -*location / USE_RANGE;

    if (use != PV_LOOKUP_FLOWS)
        *location = USE_MARK(use) - *location;
    return (enum pv_lookup_use) use;
}

/* A column that the room's view gives as an OID and PostgreSQL's own catalog as a regproc. */
static bool
is_regproc_column(const struct pv_substitution *sub, const ColumnRef *ref)
{
    const struct pv_reference *reference = pv_resolution_reference(sub->resolution, ref);
    const struct pv_rte *rte = reference == NULL || reference->is_output ? NULL : reference->column.rte;
    uint32_t index = rte == NULL ? 0 : reference->column.index;

    return rte != NULL && rte->relation != NULL && index < rte->relation->column_count &&
           pv_catalog_column_is_regproc(rte->relation, rte->relation->columns[index]);
}

bool
pv_use_is_call(const Node *node)
{
    return IsA(node, FuncCall) && !pv_use_is_seen(((const FuncCall *) node)->location) &&
           pv_function_gives_lookup(strVal(llast(((const FuncCall *) node)->funcname)));
}

/* The location of a node whose value may keep a type that looks names up. */
static int *
lookup_location(struct pv_substitution *sub, Node *node)
{
    if (IsA(node, TypeCast) && pv_type_is_lookup(strVal(llast(((TypeCast *) node)->typeName->names))))
        return &((TypeCast *) node)->location;
    if (pv_use_is_call(node))
        return &((FuncCall *) node)->location;
    if (IsA(node, ColumnRef) && is_regproc_column(sub, (ColumnRef *) node))
        return &((ColumnRef *) node)->location;
    return NULL;
}

static bool
is_text_cast(const TypeCast *cast)
{
    const char *name = strVal(llast(cast->typeName->names));

    return cast->typeName->arrayBounds == NIL && (strcmp(name, "text") == 0 || strcmp(name, "varchar") == 0 ||
                                                  strcmp(name, "bpchar") == 0 || strcmp(name, "name") == 0);
}

/* ARRAY(SELECT one) under a cast to text: its elements are written out, and nothing is put beside them. */
static void
mark_written_array(const TypeCast *cast)
{
    const SubLink *link = (const SubLink *) cast->arg;
    const SelectStmt *select;
    ResTarget *target;

    if (!IsA(link, SubLink) || link->subLinkType != ARRAY_SUBLINK || !is_text_cast(cast))
        return;
    select = (const SelectStmt *) link->subselect;
    if (!IsA(select, SelectStmt) || select->op != SETOP_NONE || list_length(select->targetList) != 1)
        return;
    target = linitial(select->targetList);
    mark_use(&target->location, PV_LOOKUP_WRITTEN);
}

/* The type that looks names up and that a target is cast to; NULL: none, or a constant, which may stay what it is. */
static const char *
cast_type(const SelectStmt *select, int at)
{
    const TypeCast *cast;

    if (select->op != SETOP_NONE || at >= list_length(select->targetList))
        return NULL;
    cast = (const TypeCast *) ((const ResTarget *) list_nth(select->targetList, at))->val;
    return IsA(cast, TypeCast) && !IsA(cast->arg, A_Const) && cast->typeName->arrayBounds == NIL &&
                   pv_type_is_lookup(strVal(llast(cast->typeName->names)))
               ? strVal(llast(cast->typeName->names))
               : NULL;
}

/* Is the column such a cast in every arm of a set operation, to the same type? With `mark` they are outputs. */
static bool
every_arm_casts(const SelectStmt *select, int at, const char *type, bool mark)
{
    const char *found;
    ResTarget *target;

    for (; select->op != SETOP_NONE; select = select->larg)
        if (!every_arm_casts(select->rarg, at, type, mark))
            return false;
    found = cast_type(select, at);
    if (found == NULL || strcmp(found, type) != 0)
        return false;
    target = list_nth(select->targetList, at);
    if (mark)
        target->location = pv_use_seen(target->location);
    return true;
}

/* psql's \dFp is a union of such casts. What mixes with anything else flows into another type. */
static void
mark_arms(const SelectStmt *top)
{
    const SelectStmt *first = top;

    while (first->op != SETOP_NONE)
        first = first->larg;
    for (int at = 0; top->op != SETOP_NONE && at < list_length(first->targetList); at++) {
        const char *type = cast_type(first, at);

        if (type != NULL && every_arm_casts(top, at, type, false))
            (void) every_arm_casts(top, at, type, true);
    }
}

/* Where a looked-up type may stay: an output of the statement itself, under a cast, beside a comparison. */
static enum pv_walk
visit_kept(void *context, Node *node, const struct pv_walk_at *at)
{
    struct pv_substitution *sub = context;
    const SelectStmt *top = (const SelectStmt *) *sub->root;
    enum pv_lookup_use use = PV_LOOKUP_FLOWS;
    int *location;

    if (IsA(node, ResTarget) && at->parent != NULL && IsA(top, SelectStmt) && top->op == SETOP_NONE &&
        (at->parent == (const Node *) top || at->parent == (const Node *) top->targetList))
        ((ResTarget *) node)->location = pv_use_seen(((ResTarget *) node)->location);
    if (IsA(node, TypeCast))
        mark_written_array((const TypeCast *) node);
    location = at->parent == NULL ? NULL : lookup_location(sub, node);
    if (location == NULL)
        return PV_WALK_ON;
    if (IsA(at->parent, TypeCast)) {
        const TypeCast *cast = (const TypeCast *) at->parent;

        if (is_text_cast(cast) || pv_is_own_type(sub->trial, cast->typeName))
            use = PV_LOOKUP_WRITTEN;
        else if (!IsA(node, ColumnRef) || !pv_type_is_lookup(strVal(llast(cast->typeName->names))))
            use = PV_LOOKUP_KEPT;
    } else if (IsA(at->parent, ResTarget)) {
        int mark = ((ResTarget *) at->parent)->location;

        use = pv_use_is_seen(mark)                  ? PV_LOOKUP_SHOWN
              : mark <= USE_MARK(PV_LOOKUP_WRITTEN) ? PV_LOOKUP_WRITTEN
                                                    : PV_LOOKUP_FLOWS;
    } else if (IsA(at->parent, A_Expr) && ((A_Expr *) at->parent)->kind == AEXPR_OP && !IsA(node, ColumnRef)) {
        const char *name = strVal(llast(((A_Expr *) at->parent)->name));

        use = strcmp(name, "=") == 0 || strcmp(name, "<>") == 0 ? PV_LOOKUP_KEPT : PV_LOOKUP_FLOWS;
    }
    mark_use(location, use);
    return PV_WALK_ON;
}

enum pv_status
pv_use_mark(struct pv_substitution *sub)
{
    if (IsA(*sub->root, SelectStmt))
        mark_arms((const SelectStmt *) *sub->root);
    return pv_tree_walk(*sub->root, &pv_sql_limits_default, visit_kept, sub, NULL) == PV_OK ? PV_OK : PV_NOMEM;
}

bool
pv_use_is_marked(int location)
{
    return location <= USE_MARK(PV_LOOKUP_KEPT);
}
