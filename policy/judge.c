#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "parser/rewrite.h"
#include "parser/sqltext.h"
#include "parser/walk.h"
#include "policy/decide_int.h"
#include "policy/param.h"
#include "policy/question_int.h"

/* Denials, the trial's parameters, and the road of a SELECT from names to what is forwarded. */

/* ---- denials ------------------------------------------------------------------- */

static const struct {
    const char *code;
    const char *words;
} reasons[] = {
#define PV_X(name, code, words) [PV_REASON_##name] = {code, words},
    PV_REASON_TABLE(PV_X)
#undef PV_X
};

static const char *const kinds[] = {
#define PV_X(name) [PV_KIND_##name] = #name,
    PV_KIND_TABLE(PV_X)
#undef PV_X
};

const char *
pv_reason_code(enum pv_reason reason)
{
    return reasons[reason].code;
}

const char *
pv_reason_words(enum pv_reason reason)
{
    return reasons[reason].words;
}

const char *
pv_statement_kind_name(enum pv_statement_kind kind)
{
    return kinds[kind];
}

const char pv_hint_questions[] =
    "List the questions you may ask with: SELECT table_name FROM information_schema.tables WHERE table_schema = 'questions' "
    "UNION ALL SELECT routine_name FROM information_schema.routines WHERE routine_schema = 'questions'.";

static const char *format_text(struct pv_trial *trial, const char *format, va_list args) PV_PRINTF(2, 0);

static const char *
format_text(struct pv_trial *trial, const char *format, va_list args)
{
    const char *text = pv_arena_vprintf(trial->arena, format, args);

    return text == NULL ? "out of memory" : text;
}

enum pv_status
pv_deny(struct pv_trial *trial, enum pv_reason reason, const char *sqlstate, int location, const char *format, ...)
{
    struct pv_decision *decision = trial->decision;
    va_list args;

    va_start(args, format);
    decision->message = format_text(trial, format, args);
    va_end(args);
    trial->is_off_list = false;
    decision->is_allowed = false;
    decision->reason = reason;
    decision->sqlstate = pv_arena_strdup(trial->arena, sqlstate);
    if (decision->sqlstate == NULL)
        decision->sqlstate = "42501";
    decision->detail = decision->hint = NULL;
    decision->position = (uint32_t) pv_text_position(trial->text, location);
    return PV_DENIED;
}

void
pv_deny_detail(struct pv_trial *trial, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    trial->decision->detail = format_text(trial, format, args);
    va_end(args);
}

void
pv_deny_hint(struct pv_trial *trial, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    trial->decision->hint = format_text(trial, format, args);
    va_end(args);
}

const char *
pv_quoted(struct pv_trial *trial, const char *name)
{
    struct pv_buf buf = {0};
    const char *quoted = NULL;

    pv_sql_quote_identifier(&buf, name);
    if (pv_buf_text(&buf) != NULL)
        quoted = pv_arena_strdup(trial->arena, pv_buf_text(&buf));
    pv_buf_clear(&buf);
    return quoted == NULL ? name : quoted;
}

enum pv_status
pv_deny_question(struct pv_trial *trial, enum pv_reason reason, int location, const char *format, ...)
{
    va_list args;
    enum pv_status status =
        pv_deny(trial, reason, "42501", location, "query is not an approved question of clean room \"%s\"",
                trial->caller->room->name);

    trial->is_off_list = true;
    va_start(args, format);
    trial->decision->detail = format_text(trial, format, args);
    va_end(args);
    return status;
}

/* ---- parameters ------------------------------------------------------------------- */

enum pv_status
pv_trial_param(struct pv_trial *trial, int number, int location)
{
    size_t wanted = (size_t) number;

    /* PostgreSQL's own bound: a Bind counts in 16 bits. */
    if (number < 1 || number > 65535)
        return pv_deny(trial, PV_REASON_PARAMETER, "42P02", location, "there is no parameter $%d", number);
    if (wanted > trial->parameter_size) {
        size_t size = trial->parameter_size == 0 ? 16 : trial->parameter_size;
        const struct pv_parameter **parameters;
        uint32_t *oids;
        uint16_t *twins;

        while (size < wanted)
            size *= 2;
        parameters = pv_arena_alloc(trial->arena, size * sizeof(*parameters));
        oids = pv_arena_alloc(trial->arena, size * sizeof(*oids));
        twins = pv_arena_alloc(trial->arena, size * sizeof(*twins));
        if (parameters == NULL || oids == NULL || twins == NULL)
            return PV_NOMEM;
        if (trial->parameter_count > 0) {
            memcpy(parameters, trial->parameters, trial->parameter_count * sizeof(*parameters));
            memcpy(oids, trial->parameter_oids, trial->parameter_count * sizeof(*oids));
            memcpy(twins, trial->twins, trial->parameter_count * sizeof(*twins));
        }
        trial->parameters = parameters;
        trial->parameter_oids = oids;
        trial->twins = twins;
        trial->parameter_size = size;
    }
    for (; trial->parameter_count < wanted; trial->parameter_count++)
        trial->parameter_oids[trial->parameter_count] =
            trial->parameter_count < trial->declared_count ? trial->declared_oids[trial->parameter_count] : 0;
    return PV_OK;
}

enum pv_status
pv_trial_bind_param(struct pv_trial *trial, int number, const struct pv_parameter *parameter, int location)
{
    enum pv_status status = pv_trial_param(trial, number, location);
    size_t at = (size_t) number - 1;

    if (status != PV_OK)
        return status;
    if (!trial->has_parameters)
        return pv_deny(trial, PV_REASON_PARAMETER, "42P02", location, "there is no parameter $%d", number);
    if (trial->parameters[at] != NULL && trial->parameters[at] != parameter)
        return pv_deny(trial, PV_REASON_PARAMETER, "42501", location,
                       "$%d stands for two parameters, \"%s\" and \"%s\": give each its own", number,
                       trial->parameters[at]->name, parameter->name);
    trial->parameters[at] = parameter;
    trial->parameter_oids[at] = parameter->is_array ? parameter->type->array_oid : parameter->type->oid;
    return PV_OK;
}

/* The lowest of those that are the same. */
static size_t
lowest_twin(const struct pv_trial *trial, size_t number)
{
    while (trial->twins[number - 1] != 0)
        number = trial->twins[number - 1];
    return number;
}

enum pv_status
pv_trial_twin(struct pv_trial *trial, const struct pv_parameter *parameter, int number, int first, int location)
{
    enum pv_status status = pv_trial_bind_param(trial, first, parameter, location);
    size_t a, b;

    if (status == PV_OK)
        status = pv_trial_bind_param(trial, number, parameter, location);
    if (status != PV_OK)
        return status;
    a = lowest_twin(trial, (size_t) first);
    b = lowest_twin(trial, (size_t) number);
    if (a != b)
        trial->twins[(a > b ? a : b) - 1] = (uint16_t) (a > b ? b : a);
    trial->has_twins = true;
    return PV_OK;
}

const char *
pv_twin_words(struct pv_arena *arena, const struct pv_parameter *parameter, size_t number, size_t twin)
{
    return pv_arena_printf(arena, "parameter \"%s\" stands in several places and takes one value: $%zu and $%zu differ",
                           parameter->name, twin, number);
}

/* ---- names -------------------------------------------------------------------------- */

static enum pv_status
add_names(struct pv_trial *trial, struct pv_names *to, const struct pv_names *from)
{
    const char **names = pv_arena_alloc(trial->arena, (to->count + from->count + 1) * sizeof(*names));
    size_t count = to->count;

    if (names == NULL)
        return PV_NOMEM;
    if (count > 0)
        memcpy(names, to->names, count * sizeof(*names));
    for (size_t i = 0; i < from->count; i++) {
        bool is_known = false;

        for (size_t k = 0; k < count && !is_known; k++)
            is_known = strcmp(names[k], from->names[i]) == 0;
        if (!is_known)
            names[count++] = from->names[i];
    }
    *to = (struct pv_names){names, count};
    return PV_OK;
}

enum pv_status
pv_names_add(struct pv_trial *trial, const struct pv_names *datasets, const struct pv_names *columns)
{
    enum pv_status status = add_names(trial, &trial->decision->datasets, datasets);

    return status == PV_OK ? add_names(trial, &trial->decision->columns, columns) : status;
}

/* ---- the road ----------------------------------------------------------------------------- */

static enum pv_status
deny_unresolved(struct pv_trial *trial, enum pv_status status, const struct pv_sql_error *err)
{
    enum pv_reason reason = PV_REASON_NO_COLUMN;
    struct pv_decision *decision = trial->decision;

    if (status == PV_NOMEM || err->sqlstate[0] == '\0')
        return status == PV_NOMEM ? status
                                  : pv_deny(trial, PV_REASON_TOO_DEEP, "54001", -1, "statement is nested too deeply");
    if (strcmp(err->sqlstate, "42P01") == 0)
        reason = PV_REASON_NO_RELATION;
    else if (strcmp(err->sqlstate, "42702") == 0 || strcmp(err->sqlstate, "42P09") == 0)
        reason = PV_REASON_AMBIGUOUS_COLUMN;
    else if (strcmp(err->sqlstate, "42703") != 0)
        reason = PV_REASON_CLAUSE;
    if (strcmp(err->sqlstate, "42501") == 0)
        return pv_deny_question(trial, PV_REASON_CLAUSE, -1, "%s.", err->message);
    (void) pv_deny(trial, reason, err->sqlstate, -1, "%s", err->message);
    decision->position = err->position > 0 ? (uint32_t) err->position : 0;
    return PV_DENIED;
}

/* Over questions' results, catalogs and constants. */
static enum pv_status
release(struct pv_trial *trial, const struct pv_resolution *resolution, Node **select)
{
    enum pv_status status = pv_allow_tree(trial, *select, PV_ALLOW_RELEASED);

    return status == PV_OK ? pv_substitute(trial, resolution, select) : status;
}

static bool
reads_data(const struct pv_resolution *resolution)
{
    for (size_t i = 0; i < resolution->relation_count; i++)
        if (resolution->relations[i]->relation->kind == PV_RELATION_DATASET)
            return true;
    return false;
}

/*
 * A statement over parts that are fixed questions' own texts, and nothing else that is data, is judged as one that
 * names the questions. PV_NOTFOUND: another statement.
 */
static enum pv_status
ask_within(struct pv_trial *trial, struct pv_catalogue *catalogue, Node **select)
{
    struct pv_resolution *resolution = NULL;
    struct pv_sql_error err = {0};
    struct pv_ask_twins twins = {NULL, 0};
    Node *asked = NULL;
    enum pv_status status = pv_ask_within(trial, *select, &asked, &twins);

    if (status != PV_OK)
        return status;
    status = pv_resolve(trial->arena, asked, catalogue, trial->text, &resolution, &err);
    if (status == PV_NOMEM)
        return status;
    if (status != PV_OK || reads_data(resolution))
        return PV_NOTFOUND;
    trial->decision->datasets = trial->decision->columns = (struct pv_names){NULL, 0};
    *select = asked;
    status = pv_check_expansion(trial, resolution);
    if (status == PV_OK)
        status = release(trial, resolution, select);
    for (size_t i = 0; i < twins.count && status == PV_OK; i++)
        status = pv_ask_twin(trial, &twins.items[i]);
    return status;
}

/* Every $n in the statement gets room in the trial's parameters, in data questions too. */
static enum pv_status
ask_data(struct pv_trial *trial, struct pv_catalogue *catalogue, const struct pv_resolution *resolution, Node **select)
{
    enum pv_status status =
        pv_names_read(trial->arena, resolution, &trial->decision->datasets, &trial->decision->columns);

    if (status != PV_OK)
        return status;
    status = pv_ask_fixed(trial, select);
    if (status == PV_NOTFOUND && trial->caller->room->is_embedding)
        status = ask_within(trial, catalogue, select);
    if (status != PV_NOTFOUND)
        return status;
    status = pv_ask_open(trial, resolution, select);
    if (status != PV_NOTFOUND)
        return status;
    status = pv_deny_question(trial, PV_REASON_NOT_A_QUESTION, -1,
                              "It reads data set \"%s\" and is none of the room's fixed questions.",
                              trial->decision->datasets.count > 0 ? trial->decision->datasets.names[0] : "");
    if (pv_ask_nearest(trial, *select) != PV_OK)
        return PV_NOMEM;
    if (trial->decision->hint == NULL)
        trial->decision->hint = pv_hint_questions;
    return status;
}

/* ---- `(t).c`, where t is a row of FROM, is `t.c` ----------------------------------------- */

struct field_edit {
    const struct pv_resolution *resolution;
    Node **select;
    bool is_changed;
};

static bool
has_one_column(const struct pv_rte *rte, const char *name)
{
    size_t seen = 0;

    for (size_t i = 0; i < rte->column_count; i++)
        seen += strcmp(rte->columns[i], name) == 0;
    return seen == 1;
}

/* What a row is no field of stays as it is: it could call a function (ATTACKS: N9). */
static Node *
name_field(void *context, Node *node, bool *is_entered)
{
    struct field_edit *edit = context;
    A_Indirection *indirection = (A_Indirection *) node;
    const struct pv_reference *reference;
    ColumnRef *ref;
    List *rest = NIL;

    (void) is_entered;
    if (!IsA(node, A_Indirection) || !IsA(indirection->arg, ColumnRef) || !IsA(linitial(indirection->indirection), String))
        return node;
    ref = (ColumnRef *) indirection->arg;
    reference = pv_resolution_reference(edit->resolution, ref);
    if (!IsA(llast(ref->fields), String) || reference == NULL || reference->is_output ||
        reference->column.index != PV_WHOLE_ROW || reference->column.rte->kind == PV_RTE_JOIN ||
        !has_one_column(reference->column.rte, strVal(linitial(indirection->indirection))))
        return node;
    edit->is_changed = true;
    ref->fields = lappend(ref->fields, linitial(indirection->indirection));
    for (int i = 1; i < list_length(indirection->indirection); i++)
        rest = lappend(rest, list_nth(indirection->indirection, i));
    indirection->indirection = rest;
    return rest == NIL ? (Node *) ref : node;
}

static void
name_fields(void *context)
{
    struct field_edit *edit = context;

    pv_tree_mutate(edit->select, name_field, edit);
}

static bool
reads_rows(const struct pv_resolution *resolution)
{
    for (size_t i = 0; i < resolution->reference_count; i++)
        if (resolution->references[i].column.index == PV_WHOLE_ROW && !resolution->references[i].is_output)
            return true;
    return false;
}

/* The edited tree is resolved and judged as if it had been sent so. */
static enum pv_status
resolve(struct pv_trial *trial, Node **select, const struct pv_catalogue *catalogue, struct pv_resolution **resolution,
        struct pv_sql_error *err)
{
    struct field_edit edit = {NULL, select, false};
    enum pv_status status = pv_resolve(trial->arena, *select, catalogue, trial->text, resolution, err);
    MemoryContext before;

    if (status != PV_OK || !reads_rows(*resolution))
        return status;
    edit.resolution = *resolution;
    before = pv_sql_enter(trial->sql);
    status = pv_sql_guard(name_fields, &edit, NULL);
    pv_sql_leave(before);
    if (status != PV_OK || !edit.is_changed)
        return status;
    return pv_resolve(trial->arena, *select, catalogue, trial->text, resolution, err);
}

enum pv_status
pv_judge_select(struct pv_trial *trial, Node **select)
{
    struct pv_room_names names = {trial->caller->room, trial->caller->search_path, trial->arena, false, false};
    struct pv_catalogue catalogue = pv_room_catalogue(&names);
    struct pv_resolution *resolution = NULL;
    struct pv_walk_result walk = {0};
    struct pv_sql_error err = {0};
    /* is_composing: it is the statement as it was parsed. */
    enum pv_status status = trial->is_composing && pv_sql_is_known(trial->sql)
                                ? PV_OK
                                : pv_tree_walk(*select, &pv_sql_limits_default, NULL, NULL, &walk);

    if (status != PV_OK)
        return status == PV_NOMEM ? status : pv_allow_tree(trial, *select, PV_ALLOW_RELEASED);
    status = resolve(trial, select, &catalogue, &resolution, &err);
    if (names.is_out_of_memory)
        return PV_NOMEM;
    if (status != PV_OK)
        return deny_unresolved(trial, status, &err);
    status = pv_check_expansion(trial, resolution);
    if (status != PV_OK)
        return status;
    if (trial->caller->is_explaining && pv_explain_resolution(trial, resolution) != PV_OK)
        return PV_NOMEM;
    if (reads_data(resolution))
        return ask_data(trial, &catalogue, resolution, select);
    return release(trial, resolution, select);
}
