#include <string.h>

#include "parser/match.h"
#include "parser/print.h"
#include "parser/rewrite.h"
#include "policy/cache_int.h"
#include "policy/decide_int.h"
#include "policy/param.h"
#include "policy/question_int.h"
#include "policy/threshold.h"

/* Asking a fixed question: by its statement, or by its name as a relation. What is forwarded is its own tree. */

/* ---- arguments ------------------------------------------------------------------ */

static enum pv_status
deny_parameter(struct pv_trial *trial, const struct pv_parameter *parameter, int location, const char *words)
{
    enum pv_status status = pv_deny(trial, PV_REASON_PARAMETER, "22023", location, "%s", words);
    const char *bounds = pv_param_bounds(trial->arena, parameter);

    if (bounds == NULL)
        return PV_NOMEM;
    pv_deny_detail(trial, "%s", bounds);
    return status;
}

const char *
pv_constant_text(struct pv_trial *trial, const A_Const *constant)
{
    char digits[PV_DECIMAL_SIZE];

    if (constant->isnull)
        return NULL;
    switch ((int) constant->val.node.type) {
    case T_Integer:
        return pv_arena_strdup(trial->arena, pv_decimal(constant->val.ival.ival, digits));
    case T_Float:
        return constant->val.fval.fval;
    case T_Boolean:
        return constant->val.boolval.boolval ? "true" : "false";
    case T_BitString:
        return constant->val.bsval.bsval;
    default:
        return constant->val.sval.sval;
    }
}

static bool
is_plain_constant(const Node *node)
{
    return IsA(node, A_Const) || (IsA(node, TypeCast) && IsA(((const TypeCast *) node)->arg, A_Const));
}

static const A_Const *
as_constant(const Node *node)
{
    return IsA(node, TypeCast) ? (const A_Const *) ((const TypeCast *) node)->arg : (const A_Const *) node;
}

/* ARRAY[...] of constants as PostgreSQL writes an array in text. */
static enum pv_status
array_text(struct pv_trial *trial, const A_ArrayExpr *array, const struct pv_parameter *parameter, const char **text)
{
    struct pv_buf buf = {0};
    const ListCell *cell;
    enum pv_status status = PV_OK;

    pv_buf_put_u8(&buf, '{');
    foreach (cell, array->elements) {
        const char *value;

        if (!is_plain_constant(lfirst(cell))) {
            pv_buf_clear(&buf);
            return deny_parameter(trial, parameter, array->location, "array elements must be constants here");
        }
        value = pv_constant_text(trial, as_constant(lfirst(cell)));
        if (pv_buf_len(&buf) > 1)
            pv_buf_put_u8(&buf, ',');
        if (value == NULL) {
            pv_buf_put_text(&buf, "NULL");
            continue;
        }
        pv_buf_put_u8(&buf, '"');
        for (; *value != '\0'; value++) {
            if (*value == '"' || *value == '\\')
                pv_buf_put_u8(&buf, '\\');
            pv_buf_put_u8(&buf, (uint8_t) *value);
        }
        pv_buf_put_u8(&buf, '"');
    }
    pv_buf_put_u8(&buf, '}');
    *text =
        pv_buf_ok(&buf) ? pv_arena_strndup(trial->arena, (const char *) buf.data + buf.start, pv_buf_len(&buf)) : NULL;
    if (*text == NULL)
        status = PV_NOMEM;
    pv_buf_clear(&buf);
    return status;
}

enum pv_status
pv_ask_constant(struct pv_trial *trial, const struct pv_parameter *parameter, const Node *node, int location,
                const char **canonical)
{
    const char *text = NULL, *words = NULL;
    enum pv_status status = PV_OK;

    if (IsA(node, TypeCast) && IsA(((const TypeCast *) node)->arg, A_ArrayExpr))
        node = ((const TypeCast *) node)->arg;
    if (IsA(node, A_ArrayExpr)) {
        if (!parameter->is_array)
            return deny_parameter(trial, parameter, location, "one value is wanted here, not an array");
        status = array_text(trial, (const A_ArrayExpr *) node, parameter, &text);
    } else if (is_plain_constant(node)) {
        text = pv_constant_text(trial, as_constant(node));
    } else {
        return deny_parameter(trial, parameter, location,
                              "a constant or a parameter is wanted here, not an expression");
    }
    if (status == PV_OK)
        status = pv_param_judge_text(trial->arena, parameter, text, canonical, &words);
    return status == PV_INVALID ? deny_parameter(trial, parameter, location, words) : status;
}

/* What the caller put where a parameter stands. */
static enum pv_status
judge_argument(struct pv_trial *trial, const struct pv_parameter *parameter, Node *node, int location,
               struct pv_argument *argument)
{
    argument->parameter = parameter;
    if (IsA(node, ParamRef) || (IsA(node, TypeCast) && IsA(((TypeCast *) node)->arg, ParamRef))) {
        const ParamRef *ref = IsA(node, ParamRef) ? (ParamRef *) node : (ParamRef *) ((TypeCast *) node)->arg;

        argument->number = ref->number;
        return pv_trial_bind_param(trial, ref->number, parameter, ref->location);
    }
    return pv_ask_constant(trial, parameter, node, location, &argument->text);
}

enum pv_status
pv_ask_twin(struct pv_trial *trial, const struct pv_ask_twin *twin)
{
    return pv_trial_twin(trial, twin->question->plan->by_number[twin->twin.of - 1], twin->twin.number, twin->twin.first,
                         twin->twin.location);
}

/* ---- by statement ------------------------------------------------------------------- */

struct spelling {
    struct pv_trial *trial;
    const struct pv_names *ctes; /* of the statement around; NULL: none */
};

static bool
same_relation(void *context, const RangeVar *ours, const RangeVar *theirs)
{
    const struct spelling *spelling = context;
    struct pv_trial *trial = spelling->trial;
    struct pv_room_names names = {trial->caller->room, trial->caller->search_path, trial->arena, true, false};
    struct pv_catalogue catalogue = pv_room_catalogue(&names);
    static const char *const ours_path[] = {"public"};
    struct pv_room_names our_names = {trial->caller->room, {ours_path, 1}, trial->arena, true, false};
    struct pv_catalogue our_catalogue = pv_room_catalogue(&our_names);
    const struct pv_relation *found;

    for (size_t i = 0; spelling->ctes != NULL && theirs->schemaname == NULL && i < spelling->ctes->count; i++)
        if (strcmp(spelling->ctes->names[i], theirs->relname) == 0)
            return false;
    if (theirs->catalogname != NULL && strcmp(theirs->catalogname, trial->caller->room->name) != 0)
        return false;
    found = catalogue.find(catalogue.context, theirs->schemaname, theirs->relname);
    return found != NULL && found == our_catalogue.find(our_catalogue.context, ours->schemaname, ours->relname) &&
           ours->inh == theirs->inh;
}

enum pv_status
pv_question_match(struct pv_trial *trial, const struct pv_question *question, Node *select, const struct pv_names *ctes,
                  struct pv_match *match, bool *is_matched)
{
    struct spelling spelling = {trial, ctes};

    return pv_match(&question->plan->form, select, same_relation, &spelling, match, is_matched);
}

/*
 * The caller's names, where there is one for each column (a star has none); without an alias it is the name that
 * PostgreSQL gives the caller's own expression.
 */
enum pv_status
pv_question_name_outputs(struct pv_trial *trial, const SelectStmt *theirs, const struct pv_match *match,
                         const struct pv_question *question, const char **names)
{
    if (match->name_count != question->relation.column_count)
        return PV_OK;
    while (theirs->op != SETOP_NONE)
        theirs = theirs->larg;
    for (size_t i = 0; i < match->name_count; i++) {
        const ResTarget *target =
            (int) i < list_length(theirs->targetList) ? list_nth(theirs->targetList, (int) i) : NULL;
        const char *name = match->names[i];

        if (name == NULL && target != NULL &&
            !(IsA(target->val, ColumnRef) && IsA(llast(((const ColumnRef *) target->val)->fields), A_Star)))
            name = pv_default_column_name(target->val);
        names[i] = name == NULL ? NULL : pv_arena_strdup(trial->arena, name);
        if (name != NULL && names[i] == NULL)
            return PV_NOMEM;
    }
    return PV_OK;
}

/* For the cache: where the constants stood. What is forwarded with others in their place, the question's pieces say. */
static enum pv_status
trace_question(struct pv_trial *trial, const struct pv_question *question, const struct pv_match *match,
               const char *const *names)
{
    const struct pv_plan *plan = question->plan;
    struct pv_trace *trace = trial->caller->trace;
    struct pv_traced *traced = pv_arena_alloc(trial->arena, (plan->number_count + 1) * sizeof(*traced));
    const struct pv_pieces *pieces = NULL;
    enum pv_status status;

    if (traced == NULL)
        return PV_NOMEM;
    for (unsigned i = 0; i < plan->number_count; i++) {
        if (!is_plain_constant(match->captures[i]))
            return PV_OK;
        traced[i].location = as_constant(match->captures[i])->location;
        traced[i].text = pv_constant_text(trial, as_constant(match->captures[i]));
    }
    status = pv_question_pieces(trial->arena, question, names, &pieces, &names);
    if (status == PV_OK)
        *trace = (struct pv_trace){question, traced, plan->by_number, plan->number_count, pieces, names};
    return status == PV_NOMEM ? status : PV_OK;
}

static enum pv_status
ask_matched(struct pv_trial *trial, const struct pv_question *question, const struct pv_match *match, Node **select)
{
    const struct pv_plan *plan = question->plan;
    struct pv_argument *arguments = pv_arena_alloc(trial->arena, (plan->number_count + 1) * sizeof(*arguments));
    const char **names = pv_arena_alloc(trial->arena, (question->relation.column_count + 1) * sizeof(*names));
    SelectStmt *query = NULL;
    enum pv_status status = pv_ask_standing(trial, question);

    if (arguments == NULL || names == NULL)
        return PV_NOMEM;
    for (unsigned i = 0; i < plan->number_count && status == PV_OK; i++) {
        /* A placeholder that a fixed text holds always stands somewhere, so it was captured. */
        status = match->captures[i] == NULL
                     ? PV_INTERNAL
                     : judge_argument(trial, plan->by_number[i], match->captures[i], -1, &arguments[i]);
    }
    for (unsigned i = 0; i < match->twin_count && status == PV_OK; i++)
        status = pv_ask_twin(trial, &(struct pv_ask_twin){question, match->twins[i]});
    if (status != PV_OK)
        return status;
    status = pv_question_name_outputs(trial, (SelectStmt *) *select, match, question, names);
    if (status != PV_OK)
        return status;
    if (trial->is_composing && trial->caller->trace != NULL && plan->number_count > 0)
        status = trace_question(trial, question, match, names);
    if (status != PV_OK)
        return status;
    status = trial->is_composing
                 ? pv_question_compose(trial->arena, question, arguments, names, &trial->composed)
                 : PV_NOTFOUND;
    if (status != PV_NOTFOUND)
        return status;
    status = pv_question_instance(trial->sql, trial->caller->room, question, arguments, names, true, &query);
    if (status == PV_OK)
        *select = (Node *) query;
    return status;
}

static void
hint_nearest(struct pv_trial *trial, const struct pv_question *nearest, const char *difference)
{
    if (nearest == NULL)
        return;
    if (nearest->parameter_count == 0)
        pv_deny_hint(trial, "The nearest question is \"%s\"; %s. Ask it by name: SELECT * FROM questions.%s.",
                     nearest->id, difference, pv_quoted(trial, nearest->id));
    else
        pv_deny_hint(trial,
                     "The nearest question is \"%s\"; %s. Ask it by name: SELECT * FROM questions.%s(%s => ...).",
                     nearest->id, difference, pv_quoted(trial, nearest->id),
                     pv_quoted(trial, nearest->parameters[0].name));
}

enum pv_status
pv_ask_nearest(struct pv_trial *trial, Node *select)
{
    const struct pv_room *room = trial->caller->room;
    const struct pv_question *nearest = NULL;
    const char *difference = "";
    unsigned agreed = 0;

    for (size_t i = 0; i < room->question_count; i++) {
        const struct pv_question *question = &room->questions[i];
        struct pv_match match = {.is_weighed = true};
        bool is_matched = false;
        enum pv_status status;

        if (question->is_open || question->plan == NULL || !pv_question_serves(question, trial->caller->member))
            continue;
        status = pv_question_match(trial, question, select, NULL, &match, &is_matched);
        if (status != PV_NOMEM && (nearest == NULL || match.agreed > agreed)) {
            nearest = question;
            agreed = match.agreed;
            difference = pv_arena_strdup(trial->arena, match.difference);
            if (difference == NULL)
                difference = "";
        }
        pv_match_clear(&match);
        if (status == PV_NOMEM)
            return status;
    }
    hint_nearest(trial, nearest, difference);
    return PV_OK;
}

/* Asks the first matching question of those that admit the caller, or of those that do not (which is a denial). */
static enum pv_status
ask_first(struct pv_trial *trial, uint64_t shape, bool is_admitted, Node **select)
{
    const struct pv_room *room = trial->caller->room;
    const struct pv_question_index *index = room->question_index;
    enum pv_status status = PV_NOTFOUND;

    for (uint32_t at = index->heads[shape & index->mask]; at != 0 && status == PV_NOTFOUND; at = index->next[at - 1]) {
        const struct pv_question *question = &room->questions[at - 1];
        struct pv_match match = {0};
        bool is_matched = false;

        if (question->plan->form.shape != shape ||
            pv_question_admits(question, trial->caller->member) != is_admitted)
            continue;
        status = pv_question_match(trial, question, *select, NULL, &match, &is_matched);
        if (status == PV_OK && is_matched)
            status = ask_matched(trial, question, &match, select);
        else if (status == PV_OK || status == PV_DENIED)
            status = PV_NOTFOUND;
        pv_match_clear(&match);
    }
    return status;
}

enum pv_status
pv_ask_fixed(struct pv_trial *trial, Node **select)
{
    uint64_t shape;
    enum pv_status status = trial->caller->room->question_index == NULL ? PV_DENIED : pv_match_shape(*select, &shape);

    if (status != PV_OK)
        return status == PV_DENIED ? PV_NOTFOUND : status;
    status = ask_first(trial, shape, true, select);
    return status == PV_NOTFOUND ? ask_first(trial, shape, false, select) : status;
}

/* ---- by name ---------------------------------------------------------------------------- */

static enum pv_status
find_argument(struct pv_trial *trial, const struct pv_question *question, const Node *node, size_t position,
              size_t *index, Node **value)
{
    const NamedArgExpr *named = (const NamedArgExpr *) node;

    if (!IsA(node, NamedArgExpr)) {
        if (position >= question->parameter_count)
            return pv_deny(trial, PV_REASON_PARAMETER_COUNT, "42883", -1,
                           "question \"%s\" has %zu parameters, not more", question->id, question->parameter_count);
        *index = position;
        memcpy(value, &node, sizeof(*value));
        return PV_OK;
    }
    for (size_t i = 0; i < question->parameter_count; i++)
        if (pv_template_same_name(question->parameters[i].name, named->name)) {
            *index = i;
            *value = (Node *) named->arg;
            return PV_OK;
        }
    return pv_deny(trial, PV_REASON_PARAMETER_COUNT, "42883", named->location,
                   "question \"%s\" has no parameter \"%s\"", question->id, named->name);
}

static enum pv_status
read_arguments(struct pv_trial *trial, const struct pv_question *question, const List *args,
               struct pv_argument *by_parameter)
{
    const ListCell *cell;
    size_t position = 0;

    foreach (cell, args) {
        Node *value = NULL;
        size_t index = 0;
        enum pv_status status = find_argument(trial, question, lfirst(cell), position++, &index, &value);

        if (status != PV_OK)
            return status;
        if (by_parameter[index].parameter != NULL)
            return pv_deny(trial, PV_REASON_PARAMETER_COUNT, "42883", -1, "parameter \"%s\" is given twice",
                           question->parameters[index].name);
        status = judge_argument(trial, &question->parameters[index], value, -1, &by_parameter[index]);
        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}

enum pv_status
pv_ask_by_name(struct pv_trial *trial, const struct pv_question *question, List *args, int location, SelectStmt **query)
{
    const struct pv_plan *plan = question->plan;
    struct pv_argument *by_parameter =
        pv_arena_alloc(trial->arena, (question->parameter_count + 1) * sizeof(*by_parameter));
    struct pv_argument *by_number = pv_arena_alloc(trial->arena, (plan->number_count + 1) * sizeof(*by_number));
    enum pv_status status;

    if (by_parameter == NULL || by_number == NULL)
        return PV_NOMEM;
    status = pv_ask_standing(trial, question);
    if (status == PV_OK)
        status = read_arguments(trial, question, args, by_parameter);
    if (status != PV_OK)
        return status;
    for (size_t i = 0; i < question->parameter_count; i++) {
        const struct pv_parameter *parameter = &question->parameters[i];

        if (by_parameter[i].parameter != NULL)
            continue;
        if (!parameter->has_default) {
            status = pv_deny(trial, PV_REASON_PARAMETER_COUNT, "22023", location,
                             "question \"%s\" needs a value for parameter \"%s\"", question->id, parameter->name);
            pv_deny_hint(trial, "SELECT * FROM questions.%s(%s => ...)", pv_quoted(trial, question->id),
                         pv_quoted(trial, parameter->name));
            return status;
        }
        by_parameter[i] = (struct pv_argument){parameter, parameter->default_text, 0};
    }
    for (unsigned n = 0; n < plan->number_count; n++)
        by_number[n] = by_parameter[plan->by_number[n] - question->parameters];
    return pv_question_instance(trial->sql, trial->caller->room, question, by_number, NULL, false, query);
}
