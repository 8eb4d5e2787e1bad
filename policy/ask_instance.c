#include <string.h>

#include "parser/print.h"
#include "parser/rewrite.h"
#include "policy/decide_int.h"
#include "policy/question_int.h"
#include "policy/threshold.h"

/*
 * The statement that is forwarded for a fixed question: its own tree with the caller's arguments in it; or, where it is
 * the whole statement, the text that this tree has, of pieces that were printed and checked at load.
 */

struct instance {
    const struct pv_room *room;
    const struct pv_question *question;
    const struct pv_argument *arguments; /* by the plan's $n */
    const char *const *names;            /* output names; NULL entries: the question's */
    bool is_whole;                       /* it is the whole statement: nothing of the caller's stands around it */
    Node *tree;
};

static Node *
edit_param(void *context, Node *node, bool *is_entered)
{
    struct instance *instance = context;
    const struct pv_argument *argument;
    Node *value;

    if (!IsA(node, ParamRef))
        return node;
    *is_entered = false;
    argument = &instance->arguments[((ParamRef *) node)->number - 1];
    if (argument->number > 0)
        value = pv_make_param(argument->number);
    else
        value = argument->text == NULL ? pv_make_null() : pv_make_string(argument->text);
    return pv_make_cast(value, copyObject(instance->question->plan->types[((ParamRef *) node)->number - 1]));
}

/* The output columns get the names that they have already, written out, so that no rewriting of their expressions changes one. */
static bool
keeps_names(SelectStmt *query, const struct pv_relation *relation, const char *const *names)
{
    ListCell *cell;
    size_t at = 0;

    if (query->op != SETOP_NONE || query->valuesLists != NIL ||
        (size_t) list_length(query->targetList) != relation->column_count)
        return false;
    foreach (cell, query->targetList) {
        const Node *value = ((ResTarget *) lfirst(cell))->val;

        if (IsA(value, ColumnRef) && IsA(llast(((const ColumnRef *) value)->fields), A_Star))
            return false;
        if (names != NULL && names[at] != NULL && strcmp(names[at], relation->columns[at]) != 0)
            return false;
        at++;
    }
    at = 0;
    foreach (cell, query->targetList)
        ((ResTarget *) lfirst(cell))->name = pstrdup(relation->columns[at++]);
    return true;
}

/*
 * The arguments in, then the caller's names and the row guard around. A question that is the whole statement, under its own
 * names and with no bound on its rows, needs neither, and PostgreSQL plans it in two thirds of the time.
 */
static void
fill(void *context)
{
    struct instance *instance = context;
    const struct pv_question *question = instance->question;
    const struct pv_relation *relation = &question->relation;
    const char **names;

    pv_tree_mutate(&instance->tree, edit_param, instance);
    if (instance->is_whole && question->max_rows == 0 &&
        keeps_names((SelectStmt *) instance->tree, relation, instance->names))
        return;
    names = palloc0((relation->column_count + 1) * sizeof(*names));
    for (size_t i = 0; i < relation->column_count; i++)
        names[i] = instance->names == NULL || instance->names[i] == NULL ? relation->columns[i] : instance->names[i];
    instance->tree = (Node *) pv_guarded_query(instance->room->name, (SelectStmt *) instance->tree,
                                               names, relation->column_count, question->max_rows);
}

enum pv_status
pv_question_instance(struct pv_sql *sql, const struct pv_room *room, const struct pv_question *question,
                     const struct pv_argument *arguments, const char *const *names, bool is_whole, SelectStmt **query)
{
    struct instance instance = {room, question, arguments, names, is_whole, NULL};
    enum pv_status status = pv_sql_copy(sql, question->plan->forward_tree, &instance.tree);
    MemoryContext before;

    if (status != PV_OK)
        return status;
    before = pv_sql_enter(sql);
    status = pv_sql_guard(fill, &instance, NULL);
    pv_sql_leave(before);
    if (status == PV_OK)
        *query = (SelectStmt *) instance.tree;
    return status;
}

/* ---- the same as text ------------------------------------------------------------- */

enum pv_status
pv_question_pieces(struct pv_arena *arena, const struct pv_question *question, const char *const *names,
                   const struct pv_pieces **pieces, const char *const **all_names)
{
    const struct pv_plan *plan = question->plan;
    const struct pv_relation *relation = &question->relation;
    const char **filled = pv_arena_alloc(arena, (relation->column_count + 1) * sizeof(*filled));
    bool is_own = true;

    if (filled == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < relation->column_count; i++) {
        filled[i] = names == NULL || names[i] == NULL ? relation->columns[i] : names[i];
        is_own = is_own && strcmp(filled[i], relation->columns[i]) == 0;
    }
    *pieces = is_own && plan->bare.count > 0 ? &plan->bare : &plan->named;
    *all_names = filled;
    return (*pieces)->count > 0 ? PV_OK : PV_NOTFOUND;
}

static enum pv_status
fill_pieces(struct pv_arena *arena, const struct pv_question *question, const struct pv_pieces *pieces,
            const struct pv_argument *arguments, const char *const *names, const char **text)
{
    size_t count = question->plan->number_count;
    struct pv_filling *values = pv_arena_alloc(arena, (count + 1) * sizeof(*values));

    if (values == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < count; i++)
        values[i] = (struct pv_filling){arguments[i].text, arguments[i].number};
    return pv_pieces_fill(arena, pieces, values, names, text);
}

enum pv_status
pv_question_compose(struct pv_arena *arena, const struct pv_question *question, const struct pv_argument *arguments,
                    const char *const *names, const char **text)
{
    const struct pv_pieces *pieces;
    enum pv_status status = pv_question_pieces(arena, question, names, &pieces, &names);

    return status == PV_OK ? fill_pieces(arena, question, pieces, arguments, names, text) : status;
}

/* ---- at load ------------------------------------------------------------------------ */

struct cutting {
    struct pv_arena *arena;
    const struct pv_room *room;
    const struct pv_question *question;
    struct pv_sql *sql;
    struct pv_argument *arguments;
    const char **names; /* NULL: its own */
};

/* The statement that these arguments and names make, printed from its tree and parsed again. */
static enum pv_status
print_instance(const struct cutting *cutting, struct pv_buf *text)
{
    SelectStmt *query = NULL;
    enum pv_status status = pv_question_instance(cutting->sql, cutting->room, cutting->question, cutting->arguments,
                                                 cutting->names, true, &query);

    pv_buf_truncate(text, 0);
    return status == PV_OK ? pv_print_checked((Node *) query, text, NULL) : status;
}

static size_t
count_holes(struct pv_slice marked)
{
    size_t count = 0;

    for (size_t i = 0; i < marked.len; i++)
        count += marked.data[i] == '\001';
    return count / 2;
}

/* What the pieces make of these arguments is byte by byte what the printer makes of their tree. */
static enum pv_status
check_pieces(const struct cutting *cutting, const struct pv_pieces *pieces, struct pv_buf *printed)
{
    const char *const *names = cutting->names == NULL ? cutting->question->relation.columns : cutting->names;
    const char *text = NULL;
    enum pv_status status = print_instance(cutting, printed);

    if (status == PV_OK)
        status = fill_pieces(cutting->arena, cutting->question, pieces, cutting->arguments, names, &text);
    if (status == PV_OK && !pv_slice_equal(pv_slice_cstr(text), pv_buf_slice(printed)))
        status = PV_NOTFOUND;
    return status;
}

/* With marks, it is cut; with NULL, with $n and with a constant that has to be quoted, it is compared. */
static enum pv_status
cut(struct cutting *cutting, struct pv_pieces *pieces)
{
    size_t count = cutting->question->plan->number_count;
    struct pv_pieces found = {0};
    struct pv_buf text = {0};
    enum pv_status status;

    for (unsigned i = 0; i < count; i++) {
        char mark[PV_HOLE_MARK_SIZE];

        pv_hole_mark(PV_HOLE_VALUE, i, mark);
        cutting->arguments[i] = (struct pv_argument){NULL, pv_arena_strdup(cutting->arena, mark), 0};
        if (cutting->arguments[i].text == NULL)
            return PV_NOMEM;
    }
    status = print_instance(cutting, &text);
    if (status == PV_OK)
        status = pv_pieces_cut(cutting->arena, pv_buf_slice(&text), count_holes(pv_buf_slice(&text)), &found);
    for (unsigned form = 0; form < 3 && status == PV_OK; form++) {
        for (unsigned i = 0; i < count; i++)
            cutting->arguments[i] = (struct pv_argument){NULL, form == 0 ? "it's \\ \"" : NULL, form == 1 ? (int) i + 1 : 0};
        status = check_pieces(cutting, &found, &text);
    }
    pv_buf_clear(&text);
    if (status == PV_OK)
        *pieces = found;
    return status;
}

enum pv_status
pv_question_cut(struct pv_arena *arena, const struct pv_room *room, const struct pv_question *question,
                struct pv_plan *plan)
{
    size_t count = question->relation.column_count;
    struct cutting cutting = {arena, room, question, NULL, NULL, NULL};
    const char **marks = pv_arena_alloc(arena, (count + 1) * sizeof(*marks));
    enum pv_status status = pv_sql_new_empty(&cutting.sql);

    if (status != PV_OK)
        return status;
    cutting.arguments = pv_arena_alloc(arena, (plan->number_count + 1) * sizeof(*cutting.arguments));
    for (unsigned i = 0; marks != NULL && i < count; i++) {
        char mark[PV_HOLE_MARK_SIZE];

        pv_hole_mark(PV_HOLE_NAME, i, mark);
        marks[i] = pv_arena_strdup(arena, mark);
        status = marks[i] == NULL ? PV_NOMEM : status;
    }
    if (marks == NULL || cutting.arguments == NULL)
        status = PV_NOMEM;
    if (status == PV_OK)
        status = question->max_rows == 0 ? cut(&cutting, &plan->bare) : PV_OK;
    cutting.names = marks;
    if (status == PV_OK || status == PV_NOTFOUND)
        status = cut(&cutting, &plan->named);
    pv_sql_free(cutting.sql);
    /* What cannot be cut is printed and checked each time. */
    return status == PV_NOMEM ? status : PV_OK;
}
