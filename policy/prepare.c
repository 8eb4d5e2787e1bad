#include <stdio.h>
#include <string.h>

#include "parser/rewrite.h"
#include "parser/walk.h"
#include "policy/decide_int.h"
#include "policy/functions.h"
#include "policy/param.h"

/* PREPARE of a question with the types that its parameters have, and what EXECUTE gives for them. */

struct typing {
    struct pv_trial *trial;
    PrepareStmt *stmt;
};

/* A type's name as a node in the trial's memory. */
static TypeName *
parsed_type(struct pv_trial *trial, const char *name)
{
    struct pv_sql *sql = NULL;
    TypeName *type = NULL;
    Node *copy = NULL;

    if (pv_sql_parse_type(pv_slice_cstr(name), &sql, &type, NULL) == PV_OK &&
        pv_sql_copy(trial->sql, (Node *) type, &copy) != PV_OK)
        copy = NULL;
    pv_sql_free(sql);
    return (TypeName *) copy;
}

static void
type_parameters(void *context)
{
    struct typing *typing = context;
    struct pv_trial *trial = typing->trial;
    List *types = NIL;
    size_t declared = (size_t) list_length(typing->stmt->argtypes);
    size_t count = trial->parameter_count > declared ? trial->parameter_count : declared;

    for (size_t i = 0; i < count; i++) {
        const struct pv_parameter *parameter = i < trial->parameter_count ? trial->parameters[i] : NULL;
        TypeName *type = i < declared ? list_nth(typing->stmt->argtypes, (int) i) : NULL;

        if (parameter != NULL || type == NULL) {
            char name[80];

            (void) snprintf(name, sizeof(name), "%s%s", parameter == NULL ? "unknown" : parameter->type->name,
                            parameter != NULL && parameter->is_array ? "[]" : "");
            type = parsed_type(trial, name);
            if (type == NULL)
                return;
        }
        types = lappend(types, type);
    }
    typing->stmt->argtypes = types;
}

static enum pv_status
type_prepare(struct pv_trial *trial, PrepareStmt *stmt)
{
    struct typing typing = {trial, stmt};
    MemoryContext before;
    enum pv_status status;
    bool is_needed = false;

    for (size_t i = 0; i < trial->parameter_count; i++)
        is_needed |= trial->parameters[i] != NULL;
    if (!is_needed)
        return PV_OK;
    before = pv_sql_enter(trial->sql);
    status = pv_sql_guard(type_parameters, &typing, NULL);
    pv_sql_leave(before);
    return status;
}

enum pv_status
pv_judge_prepare(struct pv_trial *trial, PrepareStmt *stmt)
{
    enum pv_status status;

    pv_note_statement(trial, PV_KIND_PREPARE, stmt->name);
    if (!IsA(stmt->query, SelectStmt))
        return pv_deny_kind(trial, stmt->query);
    trial->has_parameters = true;
    /* The declared types are checked like any type; those of question parameters are replaced below. */
    if (stmt->argtypes != NIL) {
        const ListCell *cell;

        status = pv_own_type_prepare(trial, stmt);
        if (status == PV_OK)
            status = pv_allow_tree(trial, (Node *) stmt->argtypes, PV_ALLOW_RELEASED);
        if (status != PV_OK)
            return status;
        /* A value would be looked up among everybody's names when it is given. */
        foreach (cell, stmt->argtypes) {
            const TypeName *type = lfirst(cell);

            if (pv_type_is_lookup(strVal(llast(type->names))))
                return pv_deny(trial, PV_REASON_TYPE, "42704", type->location, "type \"%s\" does not exist",
                               strVal(llast(type->names)));
        }
    }
    trial->prepared_types = stmt->argtypes;
    status = pv_judge_select(trial, &stmt->query);
    return status == PV_OK ? type_prepare(trial, stmt) : status;
}

/* ---- EXECUTE ---------------------------------------------------------------------------- */

static enum pv_status
judge_execute_argument(struct pv_trial *trial, const struct pv_parameter *parameter, ListCell *cell)
{
    const char *canonical = NULL;
    MemoryContext before;
    enum pv_status status = pv_ask_constant(trial, parameter, lfirst(cell), -1, &canonical);

    if (status != PV_OK)
        return status;
    before = pv_sql_enter(trial->sql);
    /* An A_Const is small; running out here is the same as anywhere: the guard of the caller is above. */
    lfirst(cell) = canonical == NULL ? pv_make_null() : pv_make_string(canonical);
    pv_sql_leave(before);
    return PV_OK;
}

struct execution {
    struct pv_trial *trial;
    ExecuteStmt *stmt;
    const struct pv_prepared_facts *facts;
    enum pv_status status;
};

/* As everything that is sent: a function is PostgreSQL's own, whatever a path says. */
static Node *
qualify(void *context, Node *node, bool *is_entered)
{
    FuncCall *call = (FuncCall *) node;

    (void) context;
    (void) is_entered;
    if (IsA(node, FuncCall) && list_length(call->funcname) == 1)
        call->funcname = list_make2(makeString(pstrdup("pg_catalog")), linitial(call->funcname));
    return node;
}

/* The constants that stand for one parameter are the same (each is canonical by now). */
static enum pv_status
judge_twins(struct pv_trial *trial, const struct pv_prepared_facts *facts, const List *arguments)
{
    for (size_t i = 0; i < facts->parameter_count && i < (size_t) list_length(arguments); i++) {
        size_t twin = facts->twins[i];
        const char *one, *other, *words;

        if (twin == 0)
            continue;
        one = pv_constant_text(trial, list_nth(arguments, (int) twin - 1));
        other = pv_constant_text(trial, list_nth(arguments, (int) i));
        if (one == other || (one != NULL && other != NULL && strcmp(one, other) == 0))
            continue;
        words = pv_twin_words(trial->arena, facts->parameters[i], i + 1, twin);
        return words == NULL ? PV_NOMEM : pv_deny(trial, PV_REASON_PARAMETER, "22023", -1, "%s", words);
    }
    return PV_OK;
}

static void
judge_arguments(void *context)
{
    struct execution *execution = context;
    ListCell *cell;
    size_t i = 0;

    foreach (cell, execution->stmt->params) {
        MemoryContext before = pv_sql_enter(execution->trial->sql);
        Node *argument = lfirst(cell);

        pv_tree_mutate(&argument, qualify, NULL);
        lfirst(cell) = argument;
        pv_sql_leave(before);
        if (i < execution->facts->parameter_count && execution->facts->parameters[i] != NULL)
            execution->status = judge_execute_argument(execution->trial, execution->facts->parameters[i], cell);
        if (execution->status != PV_OK)
            return;
        i++;
    }
    if (execution->facts->twins != NULL)
        execution->status = judge_twins(execution->trial, execution->facts, execution->stmt->params);
}

static bool
is_of_values(const FuncCall *call)
{
    const char *schema = list_length(call->funcname) > 1 ? strVal(linitial(call->funcname)) : NULL;
    const struct pv_function *function = pv_function_find_qualified(schema, strVal(llast(call->funcname)));

    return function != NULL && (function->class == PV_FN_SCALAR || function->class == PV_FN_AGGREGATE ||
                                function->class == PV_FN_WINDOW || function->class == PV_FN_SET);
}

/*
 * What names something, or asks the server of itself: an argument goes as it came, so nothing of it may reach the
 * server, which would look the name up (invariant 4), or tell what substitute.c puts in such a call's place.
 */
static enum pv_walk
find_name(void *context, Node *node, const struct pv_walk_at *at)
{
    Node **found = context;

    (void) at;
    if (!IsA(node, SubLink) && !IsA(node, ColumnRef) && !(IsA(node, FuncCall) && !is_of_values((FuncCall *) node)))
        return PV_WALK_ON;
    *found = node;
    return PV_WALK_STOP;
}

/* In PostgreSQL's words: an argument of EXECUTE reads nothing. */
static enum pv_status
deny_names(struct pv_trial *trial, const ExecuteStmt *stmt)
{
    Node *found = NULL;
    const List *fields;
    enum pv_status status = pv_tree_walk((Node *) stmt->params, &pv_sql_limits_default, find_name, &found, NULL);

    if (status != PV_OK || found == NULL)
        return status;
    if (IsA(found, SubLink))
        return pv_deny(trial, PV_REASON_CLAUSE, "0A000", pv_node_location(found),
                       "cannot use subquery in EXECUTE parameter");
    if (IsA(found, FuncCall)) {
        const char *name = strVal(llast(((const FuncCall *) found)->funcname));

        status = pv_deny_question(trial, PV_REASON_CLAUSE, pv_node_location(found),
                                  "Function \"%s\" may not be called in an argument of EXECUTE.", name);
        pv_deny_hint(trial, "Ask for it first, and give EXECUTE its value: SELECT %s(...)", name);
        return status;
    }
    fields = ((const ColumnRef *) found)->fields;
    if (list_length(fields) > 1 && IsA(linitial(fields), String))
        return pv_deny(trial, PV_REASON_NO_RELATION, "42P01", pv_node_location(found),
                       "missing FROM-clause entry for table \"%s\"", strVal(list_nth(fields, list_length(fields) - 2)));
    return pv_deny(trial, PV_REASON_NO_COLUMN, "42703", pv_node_location(found), "column \"%s\" does not exist",
                   IsA(llast(fields), String) ? strVal(llast(fields)) : "*");
}

enum pv_status
pv_judge_execute(struct pv_trial *trial, ExecuteStmt *stmt)
{
    const struct pv_prepared_facts *facts =
        trial->caller->prepared == NULL ? NULL : trial->caller->prepared(trial->caller->context, stmt->name);
    struct execution execution = {trial, stmt, facts, PV_OK};
    struct pv_decision *decision = trial->decision;
    enum pv_status status;

    pv_note_statement(trial, PV_KIND_EXECUTE, stmt->name);
    if (facts == NULL)
        return pv_deny(trial, PV_REASON_NO_PREPARED, "26000", -1, "prepared statement \"%s\" does not exist",
                       stmt->name);
    if (stmt->params != NIL) {
        status = pv_allow_tree(trial, (Node *) stmt->params, PV_ALLOW_DATA);
        if (status == PV_OK)
            status = pv_sql_guard(judge_arguments, &execution, NULL);
        if (status == PV_OK)
            status = execution.status;
        if (status == PV_OK)
            status = deny_names(trial, stmt);
        if (status != PV_OK)
            return status;
    }
    decision->question = facts->question;
    decision->is_redacted = facts->is_redacted;
    decision->datasets = facts->datasets;
    decision->columns = facts->columns;
    decision->timeout_ms = facts->question == NULL ? 0 : facts->question->timeout_ms;
    return PV_OK;
}
