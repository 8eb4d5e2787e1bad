/*
 * Template against statement, in lockstep over the table of nodes.h.
 *
 * 1. A match says that the client asked the template's question: every node of both trees was compared.
 *    What differs must be one of the spellings listed in match.h.
 * 2. Table aliases are renamed one to one over the whole statement.
 */
#include "parser/match_int.h"

#include "parser/resolve.h"
#include "parser/walk_int.h"

#include <stdio.h>
#include <string.h>

/* Where a pair of nodes stands; kept in a frame's `chain`. */
#define AT_TOP 1u    /* the statement, and the leaves of its set operations */
#define AT_TARGET 2u /* an output column of the statement */
#define AT_NAMED 4u  /* directly in the statement's ORDER BY or GROUP BY, where output names hold */

struct alias_pair {
    const char *ours;
    const char *theirs;
};

/* As many as most statements have; more are on the heap. */
#define ALIASES_INLINE 8u

struct matcher {
    const struct pv_match_form *ours;
    const Node *theirs;
    pv_match_same_relation same;
    void *ctx;
    struct pv_match *match;
    struct alias_pair *aliases;
    size_t alias_count;
    size_t alias_size;
    enum pv_status status;
    bool differs;
    struct alias_pair first_aliases[ALIASES_INLINE];
    struct pv_stack stack;
};

static void
fail(struct matcher *m, enum pv_status status)
{
    if (m->status == PV_OK)
        m->status = status;
}

static void PV_PRINTF(2, 3) differ(struct matcher *m, const char *format, ...)
{
    va_list args;

    if (m->differs)
        return;
    m->differs = true;
    if (m->match->difference[0] != '\0')
        return; /* weighed: the first one is told */
    va_start(args, format);
    (void) vsnprintf(m->match->difference, sizeof(m->match->difference), format, args);
    va_end(args);
}

/* `where` is a field's name, as the frames carry it from the clause down. */
static const char *
clause_words(const char *where)
{
    static const char *const words[][2] = {
        {"targetList", "the select list"},       {"fromClause", "the FROM clause"},
        {"whereClause", "the WHERE clause"},     {"groupClause", "the GROUP BY clause"},
        {"havingClause", "the HAVING clause"},   {"windowClause", "the WINDOW clause"},
        {"sortClause", "the ORDER BY clause"},   {"limitCount", "the LIMIT clause"},
        {"limitOffset", "the OFFSET clause"},    {"limitOption", "the LIMIT clause"},
        {"withClause", "the WITH clause"},       {"distinctClause", "the DISTINCT clause"},
        {"valuesLists", "the VALUES list"},      {"op", "the set operation"},
        {"lockingClause", "the locking clause"}, {"intoClause", "the INTO clause"},
    };

    for (size_t i = 0; where != NULL && i < PV_COUNT_OF(words); i++)
        if (strcmp(where, words[i][0]) == 0)
            return words[i][1];
    return "the statement";
}

static bool
same_text(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

static const char *
word_at(const List *names, int index)
{
    const Node *node = index >= 0 && index < list_length(names) ? list_nth(names, index) : NULL;

    return node != NULL && IsA(node, String) ? pv_word(node) : NULL;
}

static bool
holds(const struct pv_match_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (same_text(names->items[i], name))
            return true;
    return false;
}

/* One to one, whichever of the two places of a name comes first. */
static bool
unify(struct matcher *m, const char *ours, const char *theirs)
{
    if (ours == NULL || theirs == NULL)
        return ours == theirs;
    for (size_t i = 0; i < m->alias_count; i++)
        if (same_text(m->aliases[i].ours, ours) || same_text(m->aliases[i].theirs, theirs))
            return same_text(m->aliases[i].ours, ours) && same_text(m->aliases[i].theirs, theirs);
    if (m->alias_count == m->alias_size) {
        size_t size = m->alias_size * 2;
        bool is_first = m->aliases == m->first_aliases;
        struct alias_pair *aliases = pv_realloc(is_first ? NULL : m->aliases, size * sizeof(*aliases));

        if (aliases == NULL) {
            fail(m, PV_NOMEM);
            return false;
        }
        if (is_first)
            memcpy(aliases, m->first_aliases, sizeof(m->first_aliases));
        m->aliases = aliases;
        m->alias_size = size;
    }
    m->aliases[m->alias_count].ours = ours;
    m->aliases[m->alias_count++].theirs = theirs;
    return true;
}

static void
push(struct matcher *m, const struct pv_frame *above, const char *where, unsigned flags, const Node *a, const Node *b)
{
    struct pv_frame frame = {a, b, NULL, where, above->depth + 1, flags};
    enum pv_status status;

    if (a == NULL || b == NULL) {
        if (a != b)
            differ(m, a == NULL ? "%s has a part that the question has not" : "%s lacks a part that the question has",
                   clause_words(where));
        return;
    }
    status = pv_stack_push(&m->stack, frame);
    if (status != PV_OK)
        fail(m, status);
}

static void
push_lists(struct matcher *m, const struct pv_frame *above, const char *where, unsigned flags, const List *a,
           const List *b)
{
    int common = list_length(a) < list_length(b) ? list_length(a) : list_length(b);

    if (list_length(a) != list_length(b)) {
        differ(m, "%s has %d items where the question has %d", clause_words(where), list_length(b), list_length(a));
        if (!m->match->is_weighed)
            return;
    }
    for (int i = common - 1; i >= 0; i--)
        push(m, above, where, flags, list_nth(a, i), list_nth(b, i));
}

/* Names of functions, types, operators and collations: pg_catalog may be said or not. */
static bool
same_builtin_name(const List *a, const List *b)
{
    int from_a = list_length(a) == 2 && same_text(word_at(a, 0), "pg_catalog") ? 1 : 0;
    int from_b = list_length(b) == 2 && same_text(word_at(b, 0), "pg_catalog") ? 1 : 0;

    if (list_length(a) - from_a != list_length(b) - from_b)
        return false;
    for (int i = 0; i < list_length(a) - from_a; i++) {
        const char *x = word_at(a, i + from_a);

        if (x == NULL || !same_text(x, word_at(b, i + from_b)))
            return false;
    }
    return true;
}

static bool
is_plain_value(const Node *node)
{
    return node != NULL && (IsA(node, A_Const) || IsA(node, ParamRef));
}

static bool
is_value(const Node *node)
{
    return is_plain_value(node) ||
           (node != NULL && IsA(node, TypeCast) && is_plain_value(((const TypeCast *) node)->arg));
}

static bool
is_value_array(const Node *node)
{
    const List *elements;

    if (node == NULL || !IsA(node, A_ArrayExpr))
        return false;
    elements = ((const A_ArrayExpr *) node)->elements;
    for (int i = 0; i < list_length(elements); i++)
        if (!is_value(list_nth(elements, i)))
            return false;
    return true;
}

/* What may stand for a parameter. */
static bool
may_capture(const Node *node)
{
    if (is_value(node) || is_value_array(node))
        return true;
    return node != NULL && IsA(node, TypeCast) && is_value_array(((const TypeCast *) node)->arg);
}

/* $n, or one that is cast; NULL: anything else. */
static const ParamRef *
client_param(const Node *node)
{
    if (IsA(node, TypeCast))
        node = ((const TypeCast *) node)->arg;
    return node != NULL && IsA(node, ParamRef) ? (const ParamRef *) node : NULL;
}

static void
add_twin(struct matcher *m, const ParamRef *param, const ParamRef *first, const ParamRef *theirs)
{
    struct pv_match *match = m->match;

    if (first->number == theirs->number)
        return;
    if (match->twin_count == match->twin_size) {
        unsigned size = match->twin_size == 0 ? 4 : match->twin_size * 2;
        struct pv_match_twin *twins = pv_realloc(match->twins, size * sizeof(*twins));

        if (twins == NULL) {
            fail(m, PV_NOMEM);
            return;
        }
        match->twins = twins;
        match->twin_size = size;
    }
    match->twins[match->twin_count++] =
        (struct pv_match_twin){theirs->number, first->number, (unsigned) param->number, theirs->location};
}

static void
capture(struct matcher *m, const ParamRef *param, const Node *theirs, const char *where)
{
    const ParamRef *first, *second;
    Node **place;
    bool same = false;
    enum pv_status status;

    if (param->number < 1 || (unsigned) param->number > m->match->capture_count) {
        fail(m, PV_INTERNAL);
        return;
    }
    if (!may_capture(theirs)) {
        differ(m, "%s holds more than a value where the question has a parameter", clause_words(where));
        return;
    }
    place = &m->match->captures[param->number - 1];
    if (*place == NULL) {
        *place = pv_mutable(theirs);
        return;
    }
    first = client_param(*place);
    second = client_param(theirs);
    if (first != NULL && second != NULL) {
        add_twin(m, param, first, second);
        return;
    }
    status = pv_tree_equal(*place, theirs, &same);
    if (status != PV_OK)
        fail(m, status);
    else if (!same)
        differ(m, "%s gives a parameter two values", clause_words(where));
}

static const char *
output_name(const ResTarget *target)
{
    return target->name != NULL || target->val == NULL ? target->name : pv_default_column_name(target->val);
}

/* The leaf whose targets name the statement's output; NULL for VALUES and other statements. */
static const SelectStmt *
naming_leaf(const Node *stmt)
{
    const SelectStmt *select = (const SelectStmt *) stmt;

    if (stmt == NULL || !IsA(stmt, SelectStmt))
        return NULL;
    while (select->op != SETOP_NONE && select->larg != NULL)
        select = select->larg;
    return select;
}

size_t
pv_match_output_count(const Node *stmt)
{
    const SelectStmt *leaf = naming_leaf(stmt);

    return leaf == NULL ? 0 : (size_t) list_length(leaf->targetList);
}

const char *
pv_match_output_at(const Node *stmt, size_t index)
{
    const SelectStmt *leaf = naming_leaf(stmt);
    const ResTarget *target = leaf == NULL ? NULL : list_nth(leaf->targetList, (int) index);

    return target != NULL && IsA(target, ResTarget) ? output_name(target) : NULL;
}

/*
 * What a single name in ORDER BY or GROUP BY of a statement means if it is no output's that is renamed: a column of FROM. An
 * output that shows such a column by its bare name is that column. NULL: it means an output made of something else.
 */
static const char *
column_meant(const Node *stmt, const char *name)
{
    const SelectStmt *leaf = naming_leaf(stmt);

    for (int i = 0; leaf != NULL && i < list_length(leaf->targetList); i++) {
        const ResTarget *target = list_nth(leaf->targetList, i);
        const List *fields;

        if (!same_text(pv_match_output_at(stmt, (size_t) i), name))
            continue;
        /* Of set operations only outputs can be named. */
        if ((const Node *) leaf != stmt || !IsA(target->val, ColumnRef))
            return NULL;
        fields = ((const ColumnRef *) target->val)->fields;
        return list_length(fields) == 1 ? word_at(fields, 0) : NULL;
    }
    return name;
}

/* A single name in ORDER BY or GROUP BY of the statement: of the same output, or of the same column of FROM. */
static bool
same_output_name(struct matcher *m, const char *ours, const char *theirs)
{
    const struct pv_match_names *outputs = &m->ours->outputs;
    size_t their_count = pv_match_output_count(m->theirs);
    const char *column;

    for (size_t i = 0; i < outputs->count && i < their_count; i++)
        if (same_text(outputs->items[i], ours)) {
            if (same_text(pv_match_output_at(m->theirs, i), theirs))
                return true;
            break;
        }
    column = column_meant(m->ours->tree, ours);
    return column != NULL && same_text(column, column_meant(m->theirs, theirs));
}

static bool
same_column(struct matcher *m, const ColumnRef *a, const ColumnRef *b, unsigned flags)
{
    int len_a = list_length(a->fields);
    int len_b = list_length(b->fields);
    const Node *last_a = len_a > 0 ? list_nth(a->fields, len_a - 1) : NULL;
    const Node *last_b = len_b > 0 ? list_nth(b->fields, len_b - 1) : NULL;

    if (last_a == NULL || last_b == NULL || (len_a == 1) != (len_b == 1))
        return false;
    if (nodeTag(last_a) != nodeTag(last_b))
        return false;
    if (len_a == 1 && IsA(last_a, String)) {
        if ((flags & AT_NAMED) != 0)
            return same_output_name(m, pv_word(last_a), pv_word(last_b));
        if (holds(&m->ours->tables, pv_word(last_a)) && !same_text(pv_word(last_a), pv_word(last_b)))
            return unify(m, pv_word(last_a), pv_word(last_b));
    }
    if (IsA(last_a, String) && !same_text(pv_word(last_a), pv_word(last_b)))
        return false;
    /* schema.table.column: the table's own name is its alias then. */
    return len_a == 1 || unify(m, word_at(a->fields, len_a - 2), word_at(b->fields, len_b - 2));
}

static void
match_column(struct matcher *m, const struct pv_frame *frame)
{
    const List *ours = ((const ColumnRef *) frame->a)->fields;
    const List *theirs = ((const ColumnRef *) frame->b)->fields;
    const char *column = word_at(theirs, list_length(theirs) - 1);
    bool is_same_word = column != NULL && same_text(column, word_at(ours, list_length(ours) - 1));

    if (same_column(m, (const ColumnRef *) frame->a, (const ColumnRef *) frame->b, frame->chain))
        return;
    if (is_same_word && (list_length(ours) == 1) != (list_length(theirs) == 1))
        differ(m, "%s has column \"%.60s\" %s a table's name, unlike the question", clause_words(frame->field), column,
               list_length(theirs) == 1 ? "without" : "with");
    else
        differ(m, "%s has column \"%.60s\" where the question has another", clause_words(frame->field),
               column == NULL ? "*" : column);
}

static bool
same_relation(struct matcher *m, const RangeVar *a, const RangeVar *b)
{
    if (a->inh != b->inh || a->relpersistence != b->relpersistence)
        return false;
    if (a->schemaname == NULL && holds(&m->ours->ctes, a->relname))
        return b->schemaname == NULL && same_text(a->relname, b->relname);
    if (m->same != NULL)
        return m->same(m->ctx, a, b);
    return same_text(a->catalogname, b->catalogname) && same_text(a->schemaname, b->schemaname) &&
           same_text(a->relname, b->relname);
}

static void
match_relation(struct matcher *m, const struct pv_frame *frame)
{
    const RangeVar *a = (const RangeVar *) frame->a;
    const RangeVar *b = (const RangeVar *) frame->b;
    const List *columns_a = a->alias != NULL ? a->alias->colnames : NIL;
    const List *columns_b = b->alias != NULL ? b->alias->colnames : NIL;

    if (!same_relation(m, a, b))
        differ(m, "%s has relation \"%.60s\" where the question has another", clause_words(frame->field), b->relname);
    else if (!pv_names_same(columns_a, columns_b) || !unify(m, a->alias != NULL ? a->alias->aliasname : a->relname,
                                                            b->alias != NULL ? b->alias->aliasname : b->relname))
        differ(m, "%s uses the aliases otherwise than the question", clause_words(frame->field));
}

static void
match_target(struct matcher *m, const struct pv_frame *frame)
{
    const ResTarget *a = (const ResTarget *) frame->a;
    const ResTarget *b = (const ResTarget *) frame->b;

    if (a->indirection != NIL || b->indirection != NIL)
        differ(m, "%s differs", clause_words(frame->field));
    else if ((frame->chain & AT_TARGET) == 0 && !same_text(output_name(a), output_name(b)))
        differ(m, "%s names an inner column otherwise than the question", clause_words(frame->field));
    push(m, frame, frame->field, 0, a->val, b->val);
}

/* Flags for the children of a field of a node. */
static unsigned
flags_below(const struct pv_frame *frame, const struct pv_field *field)
{
    const Node *a = frame->a;

    if (IsA(a, SelectStmt) && (frame->chain & AT_TOP) != 0) {
        if (field->offset == offsetof(SelectStmt, larg) || field->offset == offsetof(SelectStmt, rarg))
            return AT_TOP;
        if (field->offset == offsetof(SelectStmt, targetList))
            return AT_TARGET;
        if (field->offset == offsetof(SelectStmt, sortClause) || field->offset == offsetof(SelectStmt, groupClause) ||
            field->offset == offsetof(SelectStmt, distinctClause))
            return AT_NAMED;
    }
    if ((frame->chain & AT_NAMED) != 0 && (IsA(a, SortBy) || IsA(a, GroupingSet) || IsA(a, RowExpr)))
        return AT_NAMED;
    return 0;
}

static bool
same_sort_direction(const Node *a, const Node *b)
{
    const SortBy *x = (const SortBy *) a;
    const SortBy *y = (const SortBy *) b;
    SortByDir dir_x = x->sortby_dir == SORTBY_ASC ? SORTBY_DEFAULT : x->sortby_dir;
    SortByDir dir_y = y->sortby_dir == SORTBY_ASC ? SORTBY_DEFAULT : y->sortby_dir;

    return dir_x == dir_y && x->sortby_nulls == y->sortby_nulls && same_builtin_name(x->useOp, y->useOp);
}

static bool
has_builtin_name(const Node *node)
{
    return IsA(node, A_Expr) || IsA(node, FuncCall) || IsA(node, TypeName) || IsA(node, CollateClause) ||
           IsA(node, SubLink) || IsA(node, SortBy);
}

/* The fields that are not nodes, with the liberties that match.h grants. */
static void
match_fields(struct matcher *m, const struct pv_frame *frame, const struct pv_kind *kind)
{
    const struct pv_field *field = NULL;

    if (IsA(frame->a, SortBy)) {
        if (!same_sort_direction(frame->a, frame->b))
            differ(m, "%s sorts otherwise than the question", clause_words(frame->field));
        return;
    }
    if (IsA(frame->a, Alias)) {
        if (!pv_names_same(((const Alias *) frame->a)->colnames, ((const Alias *) frame->b)->colnames) ||
            !unify(m, ((const Alias *) frame->a)->aliasname, ((const Alias *) frame->b)->aliasname))
            differ(m, "%s uses the aliases otherwise than the question", clause_words(frame->field));
        return;
    }
    for (unsigned i = 0; i < kind->values.count && field == NULL; i++) {
        const struct pv_field *one = &kind->values.list[i];
        bool is_same = one->kind == PV_FIELD_NAMES && has_builtin_name(frame->a)
                           ? same_builtin_name(pv_field_pointer(frame->a, one), pv_field_pointer(frame->b, one))
                           : pv_field_same(frame->a, frame->b, one);

        if (!is_same)
            field = one;
    }
    if (field != NULL)
        differ(m, "%s differs", clause_words(IsA(frame->a, SelectStmt) ? field->name : frame->field));
}

static void
match_children(struct matcher *m, const struct pv_frame *frame, const struct pv_kind *kind)
{
    if (IsA(frame->a, List)) {
        push_lists(m, frame, frame->field, frame->chain, (const List *) frame->a, (const List *) frame->b);
        return;
    }
    for (unsigned i = kind->children.count; i-- > 0;) {
        const struct pv_field *field = &kind->children.list[i];
        const char *where = IsA(frame->a, SelectStmt) ? field->name : frame->field;
        unsigned flags = flags_below(frame, field);

        if (field->kind == PV_FIELD_NODE)
            push(m, frame, where, flags, pv_field_pointer(frame->a, field), pv_field_pointer(frame->b, field));
        else if (field->kind == PV_FIELD_LIST)
            push_lists(m, frame, where, flags, pv_field_pointer(frame->a, field), pv_field_pointer(frame->b, field));
    }
}

/* The parameter that stands in the template here, under a cast of the template's that the client left out. */
static const ParamRef *
param_of(const Node *ours, const Node *theirs)
{
    if (IsA(ours, ParamRef))
        return (const ParamRef *) ours;
    if (IsA(ours, TypeCast) && !IsA(theirs, TypeCast) && ((const TypeCast *) ours)->arg != NULL &&
        IsA(((const TypeCast *) ours)->arg, ParamRef))
        return (const ParamRef *) ((const TypeCast *) ours)->arg;
    return NULL;
}

static void
match_pair(struct matcher *m, const struct pv_frame *frame)
{
    const struct pv_kind *kind = pv_kind_of(nodeTag(frame->a));
    const ParamRef *param = param_of(frame->a, frame->b);

    if (param != NULL) {
        capture(m, param, frame->b, frame->field);
        return;
    }
    if (nodeTag(frame->a) != nodeTag(frame->b)) {
        differ(m, "%s differs", clause_words(frame->field));
        return;
    }
    if (kind == NULL) {
        fail(m, PV_DENIED);
        return;
    }
    if (IsA(frame->a, ColumnRef)) {
        match_column(m, frame);
    } else if (IsA(frame->a, RangeVar)) {
        match_relation(m, frame);
    } else if (IsA(frame->a, ResTarget)) {
        match_target(m, frame);
    } else if (IsA(frame->a, A_Const) && !pv_const_same((const A_Const *) frame->a, (const A_Const *) frame->b)) {
        differ(m, "%s has another constant than the question", clause_words(frame->field));
    } else {
        match_fields(m, frame, kind);
        if (!m->differs || m->match->is_weighed)
            match_children(m, frame, kind);
    }
}

/* What a statement is about, its relations and columns, says more than how it goes about it; constants say nothing. */
static unsigned
weight_of(const Node *node)
{
    if (IsA(node, RangeVar))
        return 8;
    if (IsA(node, ColumnRef))
        return 3;
    return IsA(node, A_Const) || IsA(node, List) ? 0 : 1;
}

static void
match_all(struct matcher *m)
{
    bool differs = m->differs;

    while (m->status == PV_OK && (!differs || m->match->is_weighed) && m->stack.count > 0) {
        struct pv_frame frame = m->stack.frames[--m->stack.count];

        m->differs = false;
        match_pair(m, &frame);
        m->match->agreed += m->differs ? 0 : weight_of(frame.a);
        differs |= m->differs;
    }
    m->differs = differs;
}

static enum pv_status
give_names(struct pv_match *match, const Node *stmt)
{
    const SelectStmt *leaf = naming_leaf(stmt);
    int count = leaf == NULL ? 0 : list_length(leaf->targetList);

    match->names = pv_calloc((size_t) count + 1, sizeof(*match->names));
    if (match->names == NULL)
        return PV_NOMEM;
    for (int i = 0; leaf != NULL && i < count; i++)
        match->names[i] = ((const ResTarget *) list_nth(leaf->targetList, i))->name;
    match->name_count = (unsigned) count;
    return PV_OK;
}

enum pv_status
pv_match(const struct pv_match_form *ours, Node *theirs, pv_match_same_relation same, void *ctx, struct pv_match *match,
         bool *matched)
{
    const struct pv_frame root = {NULL, NULL, NULL, NULL, 0, 0};
    struct matcher m;

    memset(&m, 0, offsetof(struct matcher, first_aliases));
    m.ours = ours;
    m.theirs = theirs;
    m.same = same;
    m.ctx = ctx;
    m.match = match;
    m.aliases = m.first_aliases;
    m.alias_size = ALIASES_INLINE;
    pv_stack_init(&m.stack);
    match->captures = pv_calloc((size_t) ours->parameter_count + 1, sizeof(*match->captures));
    if (match->captures == NULL)
        return PV_NOMEM;
    match->capture_count = ours->parameter_count;
    push(&m, &root, NULL, AT_TOP, ours->tree, theirs);
    match_all(&m);
    if (m.status == PV_OK && !m.differs)
        fail(&m, give_names(match, theirs));
    pv_stack_clear(&m.stack);
    if (m.aliases != m.first_aliases)
        pv_free(m.aliases);
    if (m.status == PV_OK)
        *matched = !m.differs;
    return m.status;
}

bool
pv_match_may(const Node *ours, const Node *theirs)
{
    const SelectStmt *a = (const SelectStmt *) ours, *b = (const SelectStmt *) theirs;

    if (nodeTag(ours) != nodeTag(theirs))
        return false;
    if (!IsA(ours, SelectStmt))
        return true;
    return a->op == b->op && list_length(a->targetList) == list_length(b->targetList) &&
           list_length(a->fromClause) == list_length(b->fromClause) &&
           list_length(a->groupClause) == list_length(b->groupClause) &&
           list_length(a->sortClause) == list_length(b->sortClause) &&
           (a->whereClause == NULL) == (b->whereClause == NULL) &&
           (a->havingClause == NULL) == (b->havingClause == NULL);
}

void
pv_match_clear(struct pv_match *match)
{
    pv_free(match->captures);
    pv_free(match->twins);
    pv_free(match->names);
    memset(match, 0, sizeof(*match));
}
