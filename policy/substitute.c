#include <string.h>

#include "parser/rewrite.h"
#include "parser/walk.h"
#include "policy/catalog.h"
#include "policy/functions.h"
#include "policy/settings.h"
#include "policy/substitute_int.h"
#include "policy/views_int.h"

/*
 * The edit from what the caller wrote to what the database runs: relations become views by their physical
 * names, functions are qualified, those that would show the database behind the room are replaced, questions by
 * name become their queries. One pass over a tree that the allow-lists have passed.
 */

static void
refuse(struct pv_substitution *sub, enum pv_status status)
{
    if (sub->status == PV_OK)
        sub->status = status;
}

static const struct pv_rte *
rte_of(const struct pv_resolution *resolution, const Node *node)
{
    for (size_t i = 0; i < resolution->relation_count; i++)
        if (resolution->relations[i]->node == node)
            return resolution->relations[i];
    return NULL;
}

static Node *
edit_relation(struct pv_substitution *sub, RangeVar *var)
{
    const struct pv_rte *rte = rte_of(sub->resolution, (Node *) var);
    char schema[PV_VIEWS_NAME_SIZE];
    const char *name;

    if (rte == NULL)
        return (Node *) var; /* a WITH query's name */
    if (rte->relation->kind == PV_RELATION_QUESTION) {
        SelectStmt *query = NULL;
        enum pv_status status = pv_ask_by_name(sub->trial, rte->relation->owner, NIL, var->location, &query);

        if (status != PV_OK) {
            refuse(sub, status);
            return (Node *) var;
        }
        return pv_make_subselect(query, var->alias != NULL ? var->alias : pv_make_alias(var->relname, NIL));
    }
    if (rte->relation->kind == PV_RELATION_CATALOG && sub->trial != NULL &&
        strcmp(rte->relation->name, "pg_settings") == 0)
        return pv_own_settings(sub->trial, var->alias != NULL ? var->alias : pv_make_alias(var->relname, NIL));
    if (rte->relation->kind == PV_RELATION_CATALOG && sub->trial != NULL &&
        strcmp(rte->relation->name, "pg_stat_activity") == 0)
        return pv_own_activity(sub->trial, var->alias != NULL ? var->alias : pv_make_alias(var->relname, NIL));
    (void) pv_physical_name(sub->room, rte->relation, schema, &name);
    if (var->alias == NULL)
        var->alias = pv_make_alias(var->relname, NIL);
    var->catalogname = NULL;
    var->schemaname = pstrdup(schema);
    var->relname = pstrdup(name);
    return (Node *) var;
}

/* What PostgreSQL reads in unnest(a, b) is written out, since it does so only where the name has no schema. */
static void
write_out_unnest(RangeFunction *range)
{
    List *functions = NIL;
    ListCell *cell, *inner;

    foreach (cell, range->functions) {
        List *item = lfirst(cell);
        const FuncCall *call = linitial(item);

        if (!IsA(call, FuncCall) || pv_unnested_count(call, lsecond(item)) == 1) {
            functions = lappend(functions, item);
            continue;
        }
        foreach (inner, call->args) {
            FuncCall *one = makeNode(FuncCall);

            one->funcname = list_make1(linitial(call->funcname));
            one->args = list_make1(lfirst(inner));
            one->funcformat = call->funcformat;
            one->location = call->location;
            functions = lappend(functions, list_make2(one, NULL));
        }
        range->is_rowsfrom = true;
    }
    range->functions = functions;
}

static Node *
edit_range_function(struct pv_substitution *sub, RangeFunction *range)
{
    const struct pv_rte *rte = rte_of(sub->resolution, (Node *) range);
    FuncCall *call;
    SelectStmt *query = NULL;
    enum pv_status status;

    if (rte == NULL || rte->relation->kind != PV_RELATION_QUESTION) {
        write_out_unnest(range);
        return (Node *) range;
    }
    call = linitial((List *) linitial(range->functions));
    if (list_length(range->functions) != 1 || range->ordinality || range->coldeflist != NIL) {
        refuse(sub, pv_deny_question(sub->trial, PV_REASON_CLAUSE, call->location,
                                     "A question in FROM stands alone: no ROWS FROM, ORDINALITY or column list."));
        return (Node *) range;
    }
    status = pv_ask_by_name(sub->trial, rte->relation->owner, call->args, call->location, &query);
    if (status != PV_OK) {
        refuse(sub, status);
        return (Node *) range;
    }
    return pv_make_subselect(query,
                             range->alias != NULL ? range->alias : pv_make_alias(strVal(llast(call->funcname)), NIL));
}

static bool
is_tableoid(const ColumnRef *ref)
{
    return IsA(llast(ref->fields), String) && strcmp(strVal(llast(ref->fields)), "tableoid") == 0;
}

/*
 * tableoid of a catalog's row: the view has no such column, and the catalog's OID is the same everywhere. A row that an
 * outer join made up has none, and none of these has a row whose first column is NULL.
 */
static Node *
edit_tableoid(struct pv_substitution *sub, ColumnRef *ref, const struct pv_rte *rte)
{
    NullTest *is_row = makeNode(NullTest);
    Node *oid;

    if (!pv_catalog_is_table(rte->relation)) {
        refuse(sub,
               pv_deny(sub->trial, PV_REASON_NO_COLUMN, "42703", ref->location, "column \"tableoid\" does not exist"));
        return (Node *) ref;
    }
    is_row->arg = (Expr *) pv_make_column(rte->alias, rte->columns[0]);
    is_row->nulltesttype = IS_NOT_NULL;
    is_row->location = -1;
    oid = pv_make_type_cast(pv_make_string(psprintf("pg_catalog.%s", rte->relation->name)), "regclass");
    ((TypeCast *) oid)->location = pv_use_seen(-1);
    return pv_make_case((Node *) is_row, pv_make_type_cast(oid, "oid"), pv_make_type_cast(pv_make_null(), "oid"));
}

/* schema.relation.column and longer: the relation is known by its alias alone now. */
static Node *
edit_column(struct pv_substitution *sub, ColumnRef *ref)
{
    const struct pv_reference *reference;
    int count = list_length(ref->fields);

    if (is_tableoid(ref) && sub->trial != NULL) {
        const struct pv_rte *rte;

        reference = pv_resolution_reference(sub->resolution, ref);
        rte = reference == NULL || reference->is_output ? NULL : reference->column.rte;
        if (rte != NULL && rte->relation != NULL && rte->relation->kind == PV_RELATION_CATALOG &&
            reference->column.index == PV_WHOLE_ROW && rte->kind == PV_RTE_RELATION)
            return edit_tableoid(sub, ref, rte);
    }
    if (count < 3)
        return (Node *) ref;
    reference = pv_resolution_reference(sub->resolution, ref);
    if (reference != NULL && reference->column.rte != NULL)
        ref->fields = list_make2(makeString(pstrdup(reference->column.rte->alias)), llast(ref->fields));
    return (Node *) ref;
}

static Node *
name_constant(const char *text)
{
    return pv_make_type_cast(pv_make_string(text), "name");
}

static Node *
make_path(const struct pv_names *path, bool (*is_wanted)(struct pv_trial *trial, size_t i), struct pv_trial *trial,
          bool has_system)
{
    A_ArrayExpr *array = makeNode(A_ArrayExpr);

    array->location = -1;
    if (has_system)
        array->elements = lappend(array->elements, pv_make_string("pg_catalog"));
    for (size_t i = 0; i < path->count; i++)
        if (is_wanted == NULL || is_wanted(trial, i))
            array->elements = lappend(array->elements, pv_make_string(path->names[i]));
    return pv_make_type_cast((Node *) array, "_name");
}

Node *
pv_make_path(struct pv_trial *trial)
{
    return make_path(&trial->caller->search_path, NULL, trial, false);
}

/* Does the room have the schema that stands there, and is it its first time? PostgreSQL tells of no other. */
static bool
is_there(struct pv_trial *trial, size_t at)
{
    const struct pv_names *path = &trial->caller->search_path;
    const char *published;

    for (size_t i = 0; i < at; i++)
        if (strcmp(path->names[i], path->names[at]) == 0)
            return false;
    if (strcmp(path->names[at], "pg_catalog") == 0 || strcmp(path->names[at], "information_schema") == 0)
        return true;
    for (size_t i = 0; (published = pv_views_published_schema(trial->caller->room, i)) != NULL; i++)
        if (strcmp(published, path->names[at]) == 0)
            return true;
    return false;
}

static Node *
current_schemas(struct pv_trial *trial, bool has_implicit)
{
    const struct pv_names *path = &trial->caller->search_path;

    for (size_t i = 0; i < path->count; i++)
        if (strcmp(path->names[i], "pg_catalog") == 0)
            has_implicit = false;
    return make_path(path, is_there, trial, has_implicit);
}

Node *
pv_make_call_on_path(struct pv_trial *trial, const char *name, List *args)
{
    char schema[PV_VIEWS_NAME_SIZE];

    pv_views_catalog_schema(trial->caller->room->name, schema);
    return (Node *) pv_make_call(schema, name, lappend(args, pv_make_path(trial)));
}

static Node *
current_schema(struct pv_substitution *sub)
{
    const struct pv_names *path = &sub->trial->caller->search_path;

    for (size_t i = 0; i < path->count; i++)
        if (is_there(sub->trial, i))
            return name_constant(path->names[i]);
    return pv_make_type_cast(pv_make_null(), "name");
}

static const char *
first_text(const FuncCall *call)
{
    const Node *node = call->args == NIL ? NULL : linitial(call->args);

    if (node != NULL && IsA(node, TypeCast))
        node = (const Node *) ((const TypeCast *) node)->arg;
    return node != NULL && IsA(node, A_Const) && !((const A_Const *) node)->isnull &&
                   ((const A_Const *) node)->val.node.type == T_String
               ? ((const A_Const *) node)->val.sval.sval
               : "";
}

static Node *edit(void *context, Node *node, bool *is_entered);

/* An argument that goes elsewhere: what is put in a call's place is not entered. */
static Node *
edited_argument(struct pv_substitution *sub, Node *arg)
{
    pv_tree_mutate(&arg, edit, sub);
    return arg;
}

/* From the settings that the room shows, as the client set them. */
static Node *
shown_setting(struct pv_substitution *sub, const FuncCall *call)
{
    Node *name = edited_argument(sub, linitial(call->args));
    Node *path = pv_make_type_cast(pv_make_string(pv_path_text(sub->trial)), "text");

    return (Node *) pv_make_call(sub->catalog_schema, "pgveil_setting", list_make2(name, path));
}

static Node *
edit_setting(struct pv_substitution *sub, FuncCall *call)
{
    const char *name = first_text(call);
    const struct pv_setting *setting = pv_setting_find(name);

    if (name[0] == '\0')
        return shown_setting(sub, call);
    if (setting == NULL)
        return pv_make_type_cast(pv_make_null(), "text"); /* missing_ok: allow.c has seen to it */
    if (setting->class == PV_SETTING_PATH)
        return pv_make_type_cast(pv_make_string(pv_path_text(sub->trial)), "text");
    if (setting->shown != NULL)
        return pv_make_type_cast(pv_make_string(setting->shown), "text");
    if (setting->class == PV_SETTING_IGNORED)
        return shown_setting(sub, call);
    if (strcmp(setting->name, "session_authorization") == 0)
        return pv_make_type_cast(pv_make_string(sub->trial->caller->user), "text");
    return (Node *) call;
}

static bool
is_true(const Node *node)
{
    if (IsA(node, TypeCast))
        node = (const Node *) ((const TypeCast *) node)->arg;
    if (!IsA(node, A_Const))
        return false;
    if (((const A_Const *) node)->val.node.type == T_Boolean)
        return ((const A_Const *) node)->val.boolval.boolval;
    return ((const A_Const *) node)->val.node.type == T_String && ((const A_Const *) node)->val.sval.sval[0] == 't';
}

/* The time zone of a set_config, where it is no constant: another than the allowed ones becomes one that there is not. */
static void
guard_zone(FuncCall *call)
{
    const struct pv_setting *setting = pv_setting_find(first_text(call));
    List *args;

    if (setting == NULL || !pv_setting_is_zone(setting) || IsA(lsecond(call->args), A_Const))
        return;
    args = list_make2(lsecond(call->args), pv_make_string("^(?!(" PV_ZONE_PATTERN ")$).*$"));
    args = lappend(args, pv_make_string("not allowed in a clean room"));
    args = lappend(args, pv_make_string("i"));
    lsecond(call->args) = pv_make_call("pg_catalog", "regexp_replace", args);
}

/*
 * ts_token_type('schema.parser') would tell of the schemas behind the room; a parser by its bare name is one of the
 * system's, and anything else is an OID.
 */
static void
guard_parser(FuncCall *call)
{
    NamedArgExpr *named = call->args == NIL ? NULL : linitial(call->args);
    Node *parser = named != NULL && IsA(named, NamedArgExpr) ? (Node *) named->arg : (Node *) named;
    const A_Const *name = (const A_Const *) parser;
    bool is_bare;

    if (list_length(call->args) != 1)
        return;
    if (IsA(parser, TypeCast))
        name = (const A_Const *) ((const TypeCast *) parser)->arg;
    is_bare = IsA(name, A_Const) && !name->isnull && name->val.node.type == T_String &&
              strchr(name->val.sval.sval, '.') == NULL;
    if (is_bare)
        return;
    parser = pv_make_type_cast(parser, "oid");
    if (IsA(named, NamedArgExpr))
        named->arg = (Expr *) parser;
    else
        linitial(call->args) = parser;
}

static Node *
edit_function(struct pv_substitution *sub, FuncCall *call)
{
    const char *schema = list_length(call->funcname) > 1 ? strVal(linitial(call->funcname)) : NULL;
    const char *name = strVal(llast(call->funcname));
    const struct pv_function *function = pv_function_find_qualified(schema, name);
    char physical[PV_VIEWS_NAME_SIZE];

    if (function == NULL && schema != NULL && strcmp(schema, sub->catalog_schema) == 0)
        return (Node *) call;
    if (function == NULL) {
        /* allow.c lets only questions through to here. */
        if (sub->trial != NULL)
            refuse(sub, pv_deny_question(sub->trial, PV_REASON_NOT_A_QUESTION, call->location,
                                         "Question \"%s\" stands in FROM, as SELECT ... FROM questions.%s(...).", name,
                                         pv_quoted(sub->trial, name)));
        return (Node *) call;
    }
    if (sub->trial != NULL)
        switch (function->class) {
        case PV_FN_DATABASE:
            return name_constant(sub->room->name);
        case PV_FN_USER:
            return name_constant(sub->trial->caller->user);
        case PV_FN_SCHEMA:
            return current_schema(sub);
        case PV_FN_SCHEMAS:
            return current_schemas(sub->trial, call->args != NIL && is_true(linitial(call->args)));
        case PV_FN_ON_PATH:
            call->args = lappend(call->args, pv_make_path(sub->trial));
            /* FALLTHROUGH */
        case PV_FN_REDIRECT:
        case PV_FN_SIGNAL:
            if (function->class == PV_FN_SIGNAL)
                call->args = lappend(call->args, pv_own_pids(sub->trial));
            pv_views_catalog_schema(sub->room->name, physical);
            call->funcname = list_make2(makeString(pstrdup(physical)), makeString(pstrdup(name)));
            call->funcformat = COERCE_EXPLICIT_CALL;
            return (Node *) call;
        case PV_FN_SETTING: {
            Node *setting = edit_setting(sub, call);

            if (setting != (Node *) call)
                return setting;
            break;
        }
        case PV_FN_SET_CONFIG:
            /* The session has taken the path; what the call gives is the value. */
            if (pv_setting_find(first_text(call))->class == PV_SETTING_PATH)
                return pv_make_type_cast(edited_argument(sub, lsecond(call->args)), "text");
            guard_zone(call);
            break;
        case PV_FN_SCALAR:
        case PV_FN_AGGREGATE:
        case PV_FN_WINDOW:
        case PV_FN_SET:
        case PV_FN_CATALOG:
            if (sub->trial->caller->backend_pid != 0 && !pv_use_is_seen(call->location) &&
                strcmp(name, "pg_backend_pid") == 0)
                return pv_own_pid(sub->trial);
            if (strcmp(name, "ts_token_type") == 0)
                guard_parser(call);
            break;
        default:
            break;
        }
    if (schema == NULL)
        call->funcname = list_make2(makeString(pstrdup("pg_catalog")), llast(call->funcname));
    return (Node *) call;
}

static Node *
edit_value_function(struct pv_substitution *sub, SQLValueFunction *function)
{
    switch (function->op) {
    case SVFOP_CURRENT_ROLE:
    case SVFOP_CURRENT_USER:
    case SVFOP_USER:
    case SVFOP_SESSION_USER:
        return name_constant(sub->trial->caller->user);
    case SVFOP_CURRENT_CATALOG:
        return name_constant(sub->room->name);
    case SVFOP_CURRENT_SCHEMA:
        return current_schema(sub);
    case SVFOP_CURRENT_DATE:
    case SVFOP_CURRENT_TIME:
    case SVFOP_CURRENT_TIME_N:
    case SVFOP_CURRENT_TIMESTAMP:
    case SVFOP_CURRENT_TIMESTAMP_N:
    case SVFOP_LOCALTIME:
    case SVFOP_LOCALTIME_N:
    case SVFOP_LOCALTIMESTAMP:
    case SVFOP_LOCALTIMESTAMP_N:
    default:
        return (Node *) function;
    }
}

static Node *
edit_cast(struct pv_substitution *sub, TypeCast *cast)
{
    Node *edited = (Node *) cast;
    enum pv_lookup_use use;
    enum pv_status status;

    if (pv_is_own_type(sub->trial, cast->typeName))
        return pv_own_type_cast(sub->trial, cast);
    if (pv_use_is_seen(cast->location) || !pv_type_is_lookup(strVal(llast(cast->typeName->names))))
        return edited;
    use = pv_use_take(&cast->location);
    status = pv_edit_lookup_cast(sub->trial, cast, use, &edited);
    cast->location = pv_use_seen(cast->location);
    if (status != PV_OK)
        refuse(sub, status);
    return edited;
}

/* These two would show the room's schema and login by their physical names. */
static bool
is_physical(const char *name)
{
    return strcmp(name, "to_regnamespace") == 0 || strcmp(name, "to_regrole") == 0;
}

/*
 * Where a value of a looked-up type could flow into another expression it is an OID, as with casts. The call is visited
 * again below what is put around it.
 */
static Node *
edit_lookup_call(struct pv_substitution *sub, FuncCall *call)
{
    const char *name = strVal(llast(call->funcname));
    enum pv_lookup_use use = pv_use_take(&call->location);
    bool is_typeof = strcmp(name, "pg_typeof") == 0, is_type = is_typeof || strcmp(name, "to_regtype") == 0;
    Node *found = (Node *) call;

    call->location = pv_use_seen(call->location);
    if (use == PV_LOOKUP_FLOWS || is_physical(name))
        return pv_make_type_cast(found, "oid");
    /* Where the type stands in no schema of the room's, its own output would say where it does. */
    if (is_typeof && (use == PV_LOOKUP_WRITTEN || use == PV_LOOKUP_SHOWN))
        return (Node *) pv_make_call(sub->catalog_schema, "pgveil_write_typeof", list_make1(found));
    if (is_typeof)
        found = (Node *) pv_make_call(sub->catalog_schema, "pgveil_typeof", list_make1(found));
    if (use == PV_LOOKUP_KEPT)
        return found;
    return pv_make_call_on_path(sub->trial, psprintf("pgveil_show_%s", is_type ? "regtype" : name + strlen("to_")),
                                list_make1(pv_make_type_cast(found, "oid")));
}

/* A column that was a regproc is one again where it can only be shown. */
static Node *
edit_kept_column(struct pv_substitution *sub, ColumnRef *ref)
{
    TypeCast *cast;

    (void) pv_use_take(&ref->location);
    cast = (TypeCast *) pv_make_type_cast(edit_column(sub, ref), "regproc");
    cast->location = pv_use_seen(ref->location);
    return (Node *) cast;
}

/* A substituted expression must not change the name of an output that has no alias. */
static void
name_targets(const struct pv_resolution *resolution)
{
    for (size_t i = 0; i < resolution->level_count; i++) {
        ListCell *cell;

        foreach (cell, resolution->levels[i]->stmt->targetList) {
            ResTarget *target = lfirst(cell);
            const char *name;

            if (target->name != NULL || IsA(target->val, A_Const) ||
                (IsA(target->val, ColumnRef) && !is_tableoid((ColumnRef *) target->val)))
                continue;
            name = pv_default_column_name(target->val);
            if (strcmp(name, "?column?") != 0)
                target->name = pstrdup(name);
        }
    }
}

static Node *
edit(void *context, Node *node, bool *is_entered)
{
    struct pv_substitution *sub = context;
    Node *edited;

    switch ((int) nodeTag(node)) {
    case T_RangeVar:
        edited = edit_relation(sub, (RangeVar *) node);
        *is_entered = false;
        return edited;
    case T_RangeFunction:
        edited = edit_range_function(sub, (RangeFunction *) node);
        *is_entered = edited == node && sub->status == PV_OK;
        return edited;
    case T_ColumnRef:
        if (!pv_use_is_marked(((ColumnRef *) node)->location)) {
            edited = edit_column(sub, (ColumnRef *) node);
            *is_entered = false;
            return edited;
        }
        *is_entered = false;
        return edit_kept_column(sub, (ColumnRef *) node);
    case T_FuncCall:
        /* One that is cast here is come to again, below the cast. */
        if (sub->trial != NULL && pv_use_is_call(node)) {
            edited = edit_lookup_call(sub, (FuncCall *) node);
            if (edited != node)
                return edited;
        }
        edited = edit_function(sub, (FuncCall *) node);
        *is_entered = edited == node;
        return edited;
    case T_SQLValueFunction:
        return sub->trial == NULL ? node : edit_value_function(sub, (SQLValueFunction *) node);
    case T_TypeCast:
        return sub->trial == NULL ? node : edit_cast(sub, (TypeCast *) node);
    default:
        return node;
    }
}

static void
run(void *context)
{
    struct pv_substitution *sub = context;

    name_targets(sub->resolution);
    if (sub->trial != NULL) {
        pv_views_catalog_schema(sub->room->name, sub->catalog_schema);
        if (pv_use_mark(sub) != PV_OK)
            refuse(sub, PV_NOMEM);
    }
    pv_tree_mutate(sub->root, edit, sub);
}

enum pv_status
pv_substitute(struct pv_trial *trial, const struct pv_resolution *resolution, Node **select)
{
    struct pv_substitution sub = {
        .trial = trial, .room = trial->caller->room, .resolution = resolution, .root = select, .status = PV_OK};
    MemoryContext before = pv_sql_enter(trial->sql);
    enum pv_status status = pv_sql_guard(run, &sub, NULL);

    pv_sql_leave(before);
    return status == PV_OK ? sub.status : status;
}

void
pv_substitute_data(const struct pv_room *room, const struct pv_resolution *resolution, Node **select)
{
    struct pv_substitution sub = {.room = room, .resolution = resolution, .root = select, .status = PV_OK};

    run(&sub);
}
