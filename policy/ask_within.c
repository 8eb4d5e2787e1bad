/*
 * A fixed question's statement inside another: SELECT ... FROM (the question) AS t, in a WITH query, as an arm of
 * UNION ALL, or followed by an ORDER BY or LIMIT of the caller's. That is how BI tools wrap a text that a person typed.
 * What they select from is a question's result, so each such part is exchanged for the question by name, and the
 * statement that comes out is judged as if the caller had written it.
 *
 * 1. Only edits a copy: a statement that is not wholly made of questions goes its own way unchanged.
 * 2. Decides nothing. Who may ask, arguments and allow-lists are judged on the statement that comes out.
 */
#include <string.h>

#include "parser/match.h"
#include "parser/rewrite.h"
#include "parser/walk.h"
#include "policy/decide_int.h"
#include "policy/question_int.h"

struct part {
    const Node *stands; /* in the copied statement; whose place the question takes */
    const struct pv_question *question;
    Node **captures;    /* by the plan's $n */
    struct pv_match_twin *twins;
    unsigned twin_count;
    const char **names; /* of its columns, as the caller calls them; NULL entries: the question's */
    List *sort;         /* the caller's own, over the result */
    Node *count, *offset;
    LimitOption option;
};

struct search {
    struct pv_trial *trial;
    const Node *root;
    struct pv_names ctes; /* that the statement declares: such a name is no data set */
    struct part *parts;
    size_t count, size;
    enum pv_status status;
};

static enum pv_status
add_part(struct search *search, const struct part *part)
{
    if (search->count == search->size) {
        size_t size = search->size == 0 ? 4 : search->size * 2;
        struct part *parts = pv_arena_alloc(search->trial->arena, size * sizeof(*parts));

        if (parts == NULL)
            return PV_NOMEM;
        if (search->count > 0)
            memcpy(parts, search->parts, search->count * sizeof(*parts));
        search->parts = parts;
        search->size = size;
    }
    search->parts[search->count++] = *part;
    return PV_OK;
}

/* PV_OK with part->question set or NULL. The captures are copied out of the match. */
static enum pv_status
match_question(struct search *search, const struct pv_question *question, Node *select, struct part *part)
{
    struct pv_trial *trial = search->trial;
    unsigned count = question->plan->number_count;
    struct pv_match match = {0};
    bool is_matched = false;
    enum pv_status status = pv_question_match(trial, question, select, &search->ctes, &match, &is_matched);

    if (status == PV_OK && is_matched) {
        part->question = question;
        part->captures = pv_arena_alloc(trial->arena, (count + 1) * sizeof(*part->captures));
        part->names = pv_arena_alloc(trial->arena, (question->relation.column_count + 1) * sizeof(*part->names));
        part->twins = pv_arena_alloc(trial->arena, (match.twin_count + 1) * sizeof(*part->twins));
        part->twin_count = match.twin_count;
        status = part->captures == NULL || part->names == NULL || part->twins == NULL ? PV_NOMEM : PV_OK;
    }
    if (status == PV_OK && is_matched) {
        if (match.twin_count > 0)
            memcpy(part->twins, match.twins, match.twin_count * sizeof(*part->twins));
        if (count > 0)
            memcpy(part->captures, match.captures, count * sizeof(*part->captures));
        status = pv_question_name_outputs(trial, (const SelectStmt *) select, &match, question, part->names);
    }
    pv_match_clear(&match);
    return status == PV_DENIED ? PV_OK : status; /* of a kind that we do not know: no question */
}

/* A question that the caller may ask comes before one that says the same and is for others. */
static enum pv_status
find_question(struct search *search, Node *select, struct part *part)
{
    const struct pv_room *room = search->trial->caller->room;
    struct part others = *part;
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < room->question_count && status == PV_OK && part->question == NULL; i++) {
        const struct pv_question *question = &room->questions[i];

        if (question->is_open || question->plan == NULL ||
            !pv_match_may(pv_sql_stmt(question->plan->match.sql, 0), select))
            continue;
        if (pv_question_admits(question, search->trial->caller->member))
            status = match_question(search, question, select, part);
        else if (others.question == NULL)
            status = match_question(search, question, select, &others);
    }
    if (part->question == NULL)
        *part = others;
    return status;
}

/* ---- the caller's own ORDER BY and LIMIT ------------------------------------------------ */

/* Which output column an expression of ORDER BY is, 1-based; 0: none. */
static int
output_number(const SelectStmt *select, const Node *key)
{
    const ListCell *cell;
    int number = 0, named = 0;

    if (IsA(key, A_Const))
        return ((const A_Const *) key)->val.node.type == T_Integer && !((const A_Const *) key)->isnull
                   ? ((const A_Const *) key)->val.ival.ival
                   : 0;
    foreach (cell, select->targetList) {
        const ResTarget *target = lfirst(cell);
        bool is_same = false;

        number++;
        /* An output column's name goes before an input column's, as in PostgreSQL. */
        if (target->name != NULL && IsA(key, ColumnRef) && list_length(((const ColumnRef *) key)->fields) == 1 &&
            IsA(linitial(((const ColumnRef *) key)->fields), String) &&
            strcmp(strVal(linitial(((const ColumnRef *) key)->fields)), target->name) == 0)
            return number;
        if (named == 0 && pv_tree_equal(target->val, key, &is_same) == PV_OK && is_same)
            named = number;
    }
    return named;
}

/* The caller's ORDER BY over output columns as ORDER BY numbers; false: it sorts by something else. In the trial's
 * memory. */
struct sorting {
    const SelectStmt *select;
    List *sorted;
    bool is_of_outputs;
};

static void
sort_by_numbers(void *context)
{
    struct sorting *sorting = context;
    const ListCell *cell;

    foreach (cell, sorting->select->sortClause) {
        const SortBy *sort = lfirst(cell);
        SortBy *copy = makeNode(SortBy);
        int number = sort->useOp == NIL ? output_number(sorting->select, sort->node) : 0;

        if (number < 1 || number > list_length(sorting->select->targetList)) {
            sorting->is_of_outputs = false;
            return;
        }
        *copy = *sort;
        copy->node = pv_make_integer(number);
        sorting->sorted = lappend(sorting->sorted, copy);
    }
}

/* A statement that ends in ORDER BY or LIMIT which the question has not: without them first, then without both. */
static enum pv_status
find_trimmed(struct search *search, const SelectStmt *select, struct part *part)
{
    struct pv_trial *trial = search->trial;
    SelectStmt *trimmed = pv_arena_alloc(trial->arena, sizeof(*trimmed));
    struct sorting sorting = {select, NIL, true};
    enum pv_status status;
    MemoryContext before;

    if (trimmed == NULL)
        return PV_NOMEM;
    *trimmed = *select;
    trimmed->limitCount = trimmed->limitOffset = NULL;
    trimmed->limitOption = LIMIT_OPTION_DEFAULT;
    *part = (struct part){
        .stands = (const Node *) select,
        .count = select->limitCount,
        .offset = select->limitOffset,
        .option = select->limitOption,
    };
    if (select->limitCount != NULL || select->limitOffset != NULL) {
        /* WITH TIES needs the caller's own ORDER BY beside it. */
        status = select->limitOption == LIMIT_OPTION_WITH_TIES ? PV_OK : find_question(search, (Node *) trimmed, part);
        if (status != PV_OK || part->question != NULL)
            return status;
    }
    if (select->sortClause == NIL || select->op != SETOP_NONE)
        return PV_OK;
    before = pv_sql_enter(trial->sql);
    status = pv_sql_guard(sort_by_numbers, &sorting, NULL);
    pv_sql_leave(before);
    if (status != PV_OK || !sorting.is_of_outputs)
        return status;
    trimmed->sortClause = NIL;
    part->sort = sorting.sorted;
    return find_question(search, (Node *) trimmed, part);
}

static enum pv_walk
visit(void *context, Node *node, const struct pv_walk_at *at)
{
    struct search *search = context;
    struct part part = {.stands = node};

    (void) at;
    if (!IsA(node, SelectStmt) || ((SelectStmt *) node)->intoClause != NULL ||
        ((SelectStmt *) node)->lockingClause != NIL)
        return PV_WALK_ON;
    if (node != search->root)
        search->status = find_question(search, node, &part);
    if (search->status == PV_OK && part.question == NULL)
        search->status = find_trimmed(search, (const SelectStmt *) node, &part);
    if (search->status == PV_OK && part.question == NULL)
        return PV_WALK_ON;
    if (search->status == PV_OK)
        search->status = add_part(search, &part);
    return search->status == PV_OK ? PV_WALK_SKIP : PV_WALK_STOP;
}

struct cte_names {
    struct pv_arena *arena;
    const char **names;
    size_t count, size;
    enum pv_status status;
};

static enum pv_walk
note_cte(void *context, Node *node, const struct pv_walk_at *at)
{
    struct cte_names *ctes = context;

    (void) at;
    if (!IsA(node, CommonTableExpr))
        return PV_WALK_ON;
    if (ctes->count == ctes->size) {
        size_t size = ctes->size == 0 ? 8 : ctes->size * 2;
        const char **names = pv_arena_alloc(ctes->arena, size * sizeof(*names));

        if (names == NULL) {
            ctes->status = PV_NOMEM;
            return PV_WALK_STOP;
        }
        if (ctes->count > 0)
            memcpy(names, ctes->names, ctes->count * sizeof(*names));
        ctes->names = names;
        ctes->size = size;
    }
    ctes->names[ctes->count++] = ((CommonTableExpr *) node)->ctename;
    return PV_WALK_ON;
}

/* ---- the question by name in the part's place --------------------------------------------- */

static List *
arguments(const struct part *part)
{
    const struct pv_question *question = part->question;
    List *args = NIL;

    for (size_t i = 0; i < question->parameter_count; i++)
        for (unsigned n = 0; n < question->plan->number_count; n++) {
            NamedArgExpr *named;

            if (question->plan->by_number[n] != &question->parameters[i])
                continue;
            named = makeNode(NamedArgExpr);
            named->name = pstrdup(question->parameters[i].name);
            named->arg = (Expr *) part->captures[n];
            named->argnumber = -1;
            named->location = -1;
            args = lappend(args, named);
            break; /* where it stands twice, both are equal */
        }
    return args;
}

static Node *
by_name(const struct part *part)
{
    const struct pv_relation *relation = &part->question->relation;
    SelectStmt *select;
    List *targets = NIL;
    Node *from;

    if (part->question->parameter_count == 0) {
        from = (Node *) makeRangeVar(pstrdup("questions"), pstrdup(part->question->id), -1);
    } else {
        RangeFunction *range = makeNode(RangeFunction);
        FuncCall *call = pv_make_call("questions", part->question->id, arguments(part));

        range->functions = list_make1(list_make2(call, NULL));
        from = (Node *) range;
    }
    for (size_t i = 0; i < relation->column_count; i++)
        targets = lappend(targets, pv_make_target(part->names[i] != NULL ? part->names[i] : relation->columns[i],
                                                  pv_make_column(part->question->id, relation->columns[i])));
    select = pv_make_select(targets, list_make1(from), NULL);
    select->sortClause = part->sort;
    select->limitCount = part->count;
    select->limitOffset = part->offset;
    select->limitOption = part->option;
    return (Node *) select;
}

static Node *
exchange(void *context, Node *node, bool *is_entered)
{
    const struct search *search = context;

    for (size_t i = 0; i < search->count; i++)
        if (search->parts[i].stands == node) {
            *is_entered = false;
            return by_name(&search->parts[i]);
        }
    return node;
}

struct exchanging {
    struct search *search;
    Node *tree;
};

static void
exchange_all(void *context)
{
    struct exchanging *exchanging = context;

    pv_tree_mutate(&exchanging->tree, exchange, exchanging->search);
}

/* By name each parameter has the first of its values; that the others are as it is, is left to who asks the whole. */
static enum pv_status
gather_twins(const struct search *search, struct pv_ask_twins *twins)
{
    size_t count = 0;

    for (size_t i = 0; i < search->count; i++)
        count += search->parts[i].twin_count;
    twins->items = pv_arena_alloc(search->trial->arena, (count + 1) * sizeof(*twins->items));
    if (twins->items == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < search->count; i++)
        for (unsigned k = 0; k < search->parts[i].twin_count; k++)
            twins->items[twins->count++] = (struct pv_ask_twin){search->parts[i].question, search->parts[i].twins[k]};
    return PV_OK;
}

enum pv_status
pv_ask_within(struct pv_trial *trial, const Node *select, Node **asked, struct pv_ask_twins *twins)
{
    struct search search = {.trial = trial};
    struct cte_names ctes = {.arena = trial->arena};
    struct exchanging exchanging = {&search, NULL};
    MemoryContext before;
    enum pv_status status = pv_sql_copy(trial->sql, select, &exchanging.tree);

    if (status != PV_OK)
        return status;
    search.root = exchanging.tree;
    status = pv_tree_walk(exchanging.tree, &pv_sql_limits_default, note_cte, &ctes, NULL);
    search.ctes = (struct pv_names){ctes.names, ctes.count};
    if (status == PV_OK && ctes.status == PV_OK)
        status = pv_tree_walk(exchanging.tree, &pv_sql_limits_default, visit, &search, NULL);
    if (ctes.status == PV_NOMEM || search.status == PV_NOMEM)
        return PV_NOMEM;
    if (search.status != PV_OK)
        return search.status;
    if (status == PV_NOMEM)
        return status;
    if (status != PV_OK || search.count == 0)
        return PV_NOTFOUND;
    before = pv_sql_enter(trial->sql);
    status = pv_sql_guard(exchange_all, &exchanging, NULL);
    pv_sql_leave(before);
    if (status == PV_OK)
        status = gather_twins(&search, twins);
    if (status == PV_OK)
        *asked = exchanging.tree;
    return status;
}
