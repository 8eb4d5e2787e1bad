#include <string.h>

#include "parser/walk.h"
#include "policy/decide_int.h"
#include "policy/functions.h"
#include "policy/settings.h"
#include "policy/views_int.h"

/*
 * The allow-lists applied to a tree, before anything is edited. Default deny: a node kind that nodes.h does not
 * list, a function, operator or type that functions.c does not list, a clause that is named here.
 */

struct allowance {
    struct pv_trial *trial;
    enum pv_allow_mode mode;
    enum pv_status status;
};

/* The one name of an unqualified or pg_catalog-qualified name; NULL: another schema. */
static const char *
system_name(const List *names)
{
    if (list_length(names) == 1)
        return strVal(linitial(names));
    if (list_length(names) == 2 && strcmp(strVal(linitial(names)), "pg_catalog") == 0)
        return strVal(lsecond(names));
    return NULL;
}

static const char *
dotted(struct pv_trial *trial, const List *names)
{
    const char *text = "";
    const ListCell *cell;

    foreach (cell, names) {
        const char *longer = pv_arena_printf(trial->arena, "%s%s%s", text, text[0] == '\0' ? "" : ".",
                                             IsA(lfirst(cell), String) ? strVal(lfirst(cell)) : "*");

        text = longer == NULL ? "" : longer;
    }
    return text;
}

/* The constant text of a function's argument; NULL when it is none. */
static const char *
constant_text(const Node *node)
{
    if (IsA(node, TypeCast))
        node = ((const TypeCast *) node)->arg;
    if (!IsA(node, A_Const) || ((const A_Const *) node)->isnull || ((const A_Const *) node)->val.node.type != T_String)
        return NULL;
    return ((const A_Const *) node)->val.sval.sval;
}

/*
 * current_setting: a constant name that SHOW allows, or, with missing_ok, any; an expression is answered from the
 * settings that the room shows. set_config: as SET, of settings whose every value is harmless.
 */
static enum pv_status
allow_setting_call(struct pv_trial *trial, const FuncCall *call, bool is_set)
{
    const char *name = call->args == NIL ? NULL : constant_text(linitial(call->args));
    const struct pv_setting *setting = name == NULL ? NULL : pv_setting_find(name);

    if (name == NULL && !is_set && call->args != NIL)
        return PV_OK;
    if (setting == NULL && !is_set && list_length(call->args) == 2)
        return PV_OK;
    if (setting == NULL)
        return pv_deny(trial, PV_REASON_SETTING, "42704", -1, /* PostgreSQL finds out when it runs, and names no place */
                       "unrecognized configuration parameter \"%s\"", name == NULL ? "" : name);
    if (is_set) {
        const char *value = list_length(call->args) == 3 ? constant_text(lsecond(call->args)) : NULL;
        /* A zone that is no constant is looked at when it is run (substitute.c). */
        bool is_later = value == NULL && pv_setting_is_zone(setting) && list_length(call->args) == 3 &&
                        !IsA(lsecond(call->args), NamedArgExpr) && !IsA(lthird(call->args), NamedArgExpr);
        bool is_harmless = setting->values == NULL || is_later ||
                           (value != NULL && pv_setting_value_is_allowed(setting, value));

        /* search_path is the session's: own_session.c has told whether this is the whole statement. */
        if (setting->class == PV_SETTING_PATH && trial->decision->setting != NULL)
            return PV_OK;
        if (setting->class != PV_SETTING_FORWARD || !is_harmless) {
            enum pv_status status =
                pv_deny(trial, PV_REASON_SETTING, "42501", call->location,
                        "parameter \"%s\" cannot be changed by set_config in a clean room", name);

            if (setting->class == PV_SETTING_PATH)
                pv_deny_hint(trial, "SET search_path = ..., or SELECT set_config('search_path', '...', false) by itself.");
            return status;
        }
    }
    return PV_OK;
}

static enum pv_status
allow_function(struct pv_trial *trial, const FuncCall *call, enum pv_allow_mode mode)
{
    const char *schema = list_length(call->funcname) > 1 ? strVal(linitial(call->funcname)) : NULL;
    const char *name = strVal(llast(call->funcname));
    const struct pv_function *function =
        list_length(call->funcname) > 2 ? NULL : pv_function_find_qualified(schema, name);

    /* A question with arguments, in FROM; where it stands elsewhere the substitution refuses it. */
    if (function == NULL && list_length(call->funcname) < 3 && mode == PV_ALLOW_RELEASED &&
        pv_is_question_schema(&trial->caller->search_path, schema)) {
        const struct pv_question *question = pv_room_question(trial->caller->room, name);

        if (question != NULL && !question->is_open)
            return PV_OK;
        if (schema != NULL)
            return pv_deny(trial, PV_REASON_NO_FUNCTION, "42883", call->location, "function questions.%s does not exist",
                           name);
    }
    if (function == NULL) {
        enum pv_status status = pv_deny_question(trial, PV_REASON_FUNCTION, call->location,
                                                 "Function \"%s\" is not on the allow-list.",
                                                 dotted(trial, call->funcname));
        pv_deny_hint(trial, "Use aggregates and functions of plain values: count, sum, avg, date_trunc, lower, ...");
        return status;
    }
    if (function->class == PV_FN_SETTING || function->class == PV_FN_SET_CONFIG)
        return allow_setting_call(trial, call, function->class == PV_FN_SET_CONFIG);
    if (mode == PV_ALLOW_DATA && function->class >= PV_FN_CATALOG)
        return pv_deny_question(trial, PV_REASON_FUNCTION, call->location,
                                "Function \"%s\" cannot be used in a question over data.", name);
    return PV_OK;
}

static enum pv_status
allow_operator(struct pv_trial *trial, const List *names, int location)
{
    const char *name = system_name(names);

    if (name == NULL || !pv_operator_is_allowed(name))
        return pv_deny_question(trial, PV_REASON_OPERATOR, location, "Operator \"%s\" is not on the allow-list.",
                                dotted(trial, names));
    return PV_OK;
}

/* A schema that the caller finds: one of the room's, or the system's. */
static bool
is_schema(const struct pv_trial *trial, const char *name)
{
    const char *published;

    if (strcmp(name, "pg_catalog") == 0 || strcmp(name, "information_schema") == 0)
        return true;
    for (size_t i = 0; (published = pv_views_published_schema(trial->caller->room, i)) != NULL; i++)
        if (strcmp(published, name) == 0)
            return true;
    return false;
}

static enum pv_status
allow_type(struct pv_trial *trial, const TypeName *type, enum pv_allow_mode mode)
{
    const char *name = system_name(type->names);

    if (name == NULL && list_length(type->names) == 2 && trial->caller != NULL && trial->caller->room != NULL &&
        !is_schema(trial, strVal(linitial(type->names))))
        return pv_deny(trial, PV_REASON_TYPE, "3F000", type->location, "schema \"%s\" does not exist",
                       strVal(linitial(type->names)));
    if (name == NULL || !pv_type_is_allowed(name))
        return pv_deny(trial, PV_REASON_TYPE, "42704", type->location, "type \"%s\" does not exist",
                       dotted(trial, type->names));
    if (mode == PV_ALLOW_DATA && pv_type_is_lookup(name))
        return pv_deny_question(trial, PV_REASON_TYPE, type->location,
                                "Type \"%s\" cannot be used in a question over data.", name);
    return PV_OK;
}

/*
 * `(expression).name` may call a function by PostgreSQL's attribute notation (ATTACKS: N9). Only the fields of
 * information_schema._pg_expandarray are read that way by clients.
 */
static enum pv_status
allow_indirection(struct pv_trial *trial, const A_Indirection *indirection)
{
    const ListCell *cell;

    foreach (cell, indirection->indirection) {
        const Node *item = lfirst(cell);

        if (IsA(item, A_Star) || IsA(item, A_Indices))
            continue;
        if (IsA(item, String)) {
            const char *name = strVal(lfirst(cell));

            if (strcmp(name, "n") == 0 || strcmp(name, "x") == 0 || strcmp(name, "key") == 0 ||
                strcmp(name, "value") == 0)
                continue;
            return pv_deny_question(trial, PV_REASON_CLAUSE, pv_node_location((const Node *) indirection),
                                    "Field selection \".%s\" of an expression is not allowed.", name);
        }
    }
    return PV_OK;
}

static enum pv_status
allow_select(struct pv_trial *trial, const SelectStmt *select)
{
    if (select->lockingClause != NIL)
        return pv_deny_question(trial, PV_REASON_CLAUSE, -1, "Row locking (FOR UPDATE, FOR SHARE) is not allowed.");
    return PV_OK;
}

static enum pv_status
allow_node(struct allowance *allowance, Node *node)
{
    struct pv_trial *trial = allowance->trial;

    switch ((int) nodeTag(node)) {
    case T_SelectStmt:
        return allow_select(trial, (SelectStmt *) node);
    case T_FuncCall:
        return allow_function(trial, (FuncCall *) node, allowance->mode);
    case T_A_Expr: {
        const A_Expr *expr = (A_Expr *) node;

        if (expr->kind >= AEXPR_BETWEEN)
            return PV_OK;
        return allow_operator(trial, expr->name, expr->location);
    }
    case T_SubLink:
        return ((SubLink *) node)->operName == NIL
                   ? PV_OK
                   : allow_operator(trial, ((SubLink *) node)->operName, ((SubLink *) node)->location);
    case T_SortBy:
        return ((SortBy *) node)->useOp == NIL
                   ? PV_OK
                   : allow_operator(trial, ((SortBy *) node)->useOp, ((SortBy *) node)->location);
    case T_TypeName:
        return allow_type(trial, (TypeName *) node, allowance->mode);
    case T_A_Indirection:
        return allow_indirection(trial, (A_Indirection *) node);
    case T_CollateClause:
        if (system_name(((CollateClause *) node)->collname) == NULL)
            return pv_deny(trial, PV_REASON_TYPE, "42704", ((CollateClause *) node)->location,
                           "collation \"%s\" does not exist", dotted(trial, ((CollateClause *) node)->collname));
        return PV_OK;
    case T_RangeTableSample:
        return pv_deny_question(trial, PV_REASON_CLAUSE, ((RangeTableSample *) node)->location,
                                "TABLESAMPLE is not allowed.");
    case T_RangeVar:
        if (!((RangeVar *) node)->inh)
            return pv_deny_question(trial, PV_REASON_CLAUSE, ((RangeVar *) node)->location, "ONLY is not allowed.");
        return PV_OK;
    case T_SQLValueFunction:
        if (allowance->mode == PV_ALLOW_DATA && ((SQLValueFunction *) node)->op >= SVFOP_CURRENT_ROLE)
            return pv_deny_question(trial, PV_REASON_FUNCTION, ((SQLValueFunction *) node)->location,
                                    "The user's or the database's name cannot be used in a question over data.");
        return PV_OK;
    case T_ParamRef:
        return pv_trial_param(trial, ((ParamRef *) node)->number, ((ParamRef *) node)->location);
    default:
        return PV_OK;
    }
}

static enum pv_walk
visit(void *context, Node *node, const struct pv_walk_at *at)
{
    struct allowance *allowance = context;

    if (IsA(node, TypeName) && at->parent != NULL && IsA(at->parent, TypeCast) &&
        pv_own_type_is_allowed(allowance->trial, (TypeCast *) at->parent, allowance->mode))
        return PV_WALK_ON;
    allowance->status = allow_node(allowance, node);
    return allowance->status == PV_OK ? PV_WALK_ON : PV_WALK_STOP;
}

enum pv_status
pv_allow_tree(struct pv_trial *trial, Node *tree, enum pv_allow_mode mode)
{
    struct allowance allowance = {trial, mode, PV_OK};
    struct pv_walk_result result = {0};
    enum pv_status status = pv_tree_walk(tree, &pv_sql_limits_default, visit, &allowance, &result);

    if (allowance.status != PV_OK)
        return allowance.status;
    if (status == PV_DENIED) {
        if (strcmp(result.denied_name, "SelectStmt.intoClause") == 0)
            return pv_deny_question(trial, PV_REASON_CLAUSE, result.location, "SELECT INTO is not allowed.");
        return pv_deny_question(trial, PV_REASON_CLAUSE, result.location, "%s is not allowed.", result.denied_name);
    }
    if (status == PV_DEPTH || status == PV_LIMIT)
        return pv_deny(trial, PV_REASON_TOO_DEEP, "54001", -1, "statement is nested too deeply or has too many parts");
    return status;
}
