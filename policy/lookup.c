#include <ctype.h>
#include <string.h>

#include "parser/rewrite.h"
#include "parser/sqltext.h"
#include "policy/decide_int.h"
#include "policy/functions.h"
#include "policy/views.h"
#include "proxy/base/bytes.h"

/* Casts that look names up: 'orders'::regclass and kin, answered for the room's names only. */

static bool
is_number(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (!isdigit((unsigned char) *text))
            return false;
    return true;
}

/* `schema.name` as an identifier list, by the parser itself. The parse stays with the caller; NULL: no name. */
static enum pv_status
parse_name(const char *text, struct pv_sql **sql, RangeVar **name)
{
    struct pv_buf buf = {0};
    RangeVar *var = NULL;
    enum pv_status status;

    pv_buf_printf(&buf, "TABLE %s", text);
    status = pv_buf_ok(&buf) ? pv_sql_parse(pv_buf_slice(&buf), &pv_sql_limits_default, sql, NULL) : PV_NOMEM;
    if (status == PV_OK) {
        SelectStmt *select = pv_sql_count(*sql) == 1 ? (SelectStmt *) pv_sql_stmt(*sql, 0) : NULL;

        if (select != NULL && IsA(select, SelectStmt) && list_length(select->fromClause) == 1 &&
            IsA(linitial(select->fromClause), RangeVar) && select->sortClause == NIL && select->limitCount == NULL &&
            select->limitOffset == NULL && select->lockingClause == NIL) {
            var = linitial(select->fromClause);
            if (var->alias != NULL || !var->inh)
                var = NULL;
        }
    }
    pv_buf_clear(&buf);
    *name = var;
    return status == PV_NOMEM ? status : PV_OK;
}

static enum pv_status
lookup_relation(struct pv_trial *trial, A_Const *constant, const char *text, int location)
{
    struct pv_room_names names = {trial->caller->room, trial->caller->search_path, trial->arena, false, false};
    struct pv_catalogue catalogue = pv_room_catalogue(&names);
    struct pv_sql *sql = NULL;
    RangeVar *var = NULL;
    enum pv_status status = parse_name(text, &sql, &var);
    const struct pv_relation *relation = NULL;
    char schema[PV_VIEWS_NAME_SIZE];
    const char *name;
    struct pv_buf buf = {0};

    if (var != NULL)
        relation = catalogue.find(catalogue.context, var->schemaname, var->relname);
    if (relation != NULL && relation->kind == PV_RELATION_CATALOG) {
        pv_sql_quote_qualified(&buf, relation->schema, relation->name);
    } else if (relation != NULL && pv_physical_name(trial->caller->room, relation, schema, &name)) {
        pv_sql_quote_qualified(&buf, schema, name);
    } else if (relation != NULL) {
        pv_views_schema(trial->caller->room->name, "questions", schema);
        pv_sql_quote_qualified(&buf, schema, relation->name);
    }
    pv_sql_free(sql);
    if (status != PV_OK || names.is_out_of_memory)
        return PV_NOMEM;
    if (relation == NULL)
        return pv_deny(trial, PV_REASON_NO_RELATION, "42P01", location, "relation \"%s\" does not exist", text);
    name = pv_buf_text(&buf);
    if (name != NULL)
        constant->val.sval.sval = pstrdup(name);
    pv_buf_clear(&buf);
    return name == NULL ? PV_NOMEM : PV_OK;
}

static enum pv_status
lookup_type(struct pv_trial *trial, const char *text, int location)
{
    struct pv_sql *sql = NULL;
    TypeName *type = NULL;
    bool is_allowed = false;
    enum pv_status status = pv_sql_parse_type(pv_slice_cstr(text), &sql, &type, NULL);

    if (status == PV_NOMEM)
        return status;
    if (status == PV_OK)
        is_allowed = (list_length(type->names) == 1 ||
                      (list_length(type->names) == 2 && strcmp(strVal(linitial(type->names)), "pg_catalog") == 0)) &&
                     pv_type_is_allowed(strVal(llast(type->names)));
    pv_sql_free(sql);
    return is_allowed ? PV_OK
                      : pv_deny(trial, PV_REASON_TYPE, "42704", location, "type \"%s\" does not exist", text);
}

/* The id of a question with parameters that `questions.ID` or `questions.ID(types)` names; NULL: none. */
static const struct pv_question *
question_function(struct pv_trial *trial, const char *name)
{
    const struct pv_question *question;

    if (strncmp(name, "questions.", 10) != 0)
        return NULL;
    question = pv_room_question(trial->caller->room, name + 10);
    return question == NULL || question->is_open || question->parameter_count == 0 ? NULL : question;
}

static enum pv_status
lookup_function(struct pv_trial *trial, A_Const *constant, const char *text, int location)
{
    const char *name = strncmp(text, "pg_catalog.", 11) == 0 ? text + 11 : text;
    size_t len = strcspn(name, "(");
    const char *copy = pv_arena_strndup(trial->arena, name, len);

    if (copy == NULL)
        return PV_NOMEM;
    if (question_function(trial, copy) != NULL) {
        char schema[PV_VIEWS_NAME_SIZE];
        struct pv_buf buf = {0};

        pv_views_schema(trial->caller->room->name, "questions", schema);
        pv_sql_quote_qualified(&buf, schema, copy + 10);
        pv_buf_put_text(&buf, name + len);
        copy = pv_buf_text(&buf);
        if (copy != NULL)
            constant->val.sval.sval = pstrdup(copy);
        pv_buf_clear(&buf);
        return copy == NULL ? PV_NOMEM : PV_OK;
    }
    /* Input and output functions of the allowed types are asked for by drivers, which only compare their OIDs. */
    if (pv_function_find(copy) == NULL && strcmp(copy, "array_recv") != 0 && strcmp(copy, "array_in") != 0 &&
        strcmp(copy, "array_out") != 0 && strcmp(copy, "record_in") != 0 && strcmp(copy, "nextval") != 0)
        return pv_deny(trial, PV_REASON_NO_FUNCTION, "42883", location, "function \"%s\" does not exist", text);
    return PV_OK;
}

static enum pv_status
lookup_namespace(struct pv_trial *trial, A_Const *constant, const char *text, int location)
{
    const struct pv_room *room = trial->caller->room;
    char schema[PV_VIEWS_NAME_SIZE];
    struct pv_buf buf = {0};
    const char *quoted;

    if (strcmp(text, "pg_catalog") == 0 || strcmp(text, "information_schema") == 0)
        return PV_OK;
    for (size_t i = 0; i < room->dataset_count; i++) {
        if (strcmp(room->datasets[i].relation.schema, text) != 0)
            continue;
        pv_views_schema(room->name, text, schema);
        pv_sql_quote_identifier(&buf, schema);
        quoted = pv_buf_text(&buf);
        if (quoted != NULL)
            constant->val.sval.sval = pstrdup(quoted);
        pv_buf_clear(&buf);
        return quoted == NULL ? PV_NOMEM : PV_OK;
    }
    return pv_deny(trial, PV_REASON_NO_RELATION, "3F000", location, "schema \"%s\" does not exist", text);
}

/* `X::type` of anything but a constant: a function of the room's catalog schema answers for what the room holds. */
static Node *
checked_cast(struct pv_trial *trial, TypeCast *cast, const char *type)
{
    char schema[PV_VIEWS_NAME_SIZE];
    Node *call;

    pv_views_catalog_schema(trial->caller->room->name, schema);
    call = (Node *) pv_make_call(schema, psprintf("pgveil_%s", type),
                                 list_make1(pv_make_type_cast((Node *) cast->arg, "text")));
    /* These two come back as names: their own output would be the physical one. */
    if (strcmp(type, "regnamespace") == 0 || strcmp(type, "regrole") == 0)
        return call;
    cast->arg = call;
    return (Node *) cast;
}

static enum pv_status
lookup_constant(struct pv_trial *trial, TypeCast *cast, const char *type)
{
    A_Const *constant = (A_Const *) cast->arg;
    const char *text = constant->val.sval.sval;

    if (strcmp(type, "regclass") == 0)
        return lookup_relation(trial, constant, text, cast->location);
    if (strcmp(type, "regtype") == 0)
        return lookup_type(trial, text, cast->location);
    if (strcmp(type, "regproc") == 0 || strcmp(type, "regprocedure") == 0)
        return lookup_function(trial, constant, text, cast->location);
    if (strcmp(type, "regnamespace") == 0)
        return lookup_namespace(trial, constant, text, cast->location);
    return pv_deny(trial, PV_REASON_TYPE, "42704", cast->location, "\"%s\" does not exist", text);
}

enum pv_status
pv_edit_lookup_cast(struct pv_trial *trial, TypeCast *cast, bool is_kept, Node **edited)
{
    const char *type = strVal(llast(cast->typeName->names));
    const A_Const *constant = (const A_Const *) cast->arg;
    enum pv_status status = PV_OK;

    *edited = (Node *) cast;
    if (!pv_type_is_lookup(type))
        return PV_OK;
    if (type[0] == '_' || cast->typeName->arrayBounds != NIL)
        return pv_deny(trial, PV_REASON_TYPE, "42704", cast->location, "type \"%s[]\" does not exist",
                       type[0] == '_' ? type + 1 : type);
    if (!IsA(cast->arg, A_Const) || (!constant->isnull && constant->val.node.type != T_String) ||
        (!constant->isnull && is_number(constant->val.sval.sval)))
        *edited = checked_cast(trial, cast, type);
    else if (!constant->isnull && strcmp(constant->val.sval.sval, "-") != 0)
        status = lookup_constant(trial, cast, type);
    /*
     * Where the value could flow into another expression it is an OID: next to a looked-up type PostgreSQL would
     * turn any integer into one, and print a name for it (ATTACKS: N6). A schema's own output would be the physical name.
     */
    if (status == PV_OK && IsA(*edited, TypeCast) && (!is_kept || strcmp(type, "regnamespace") == 0))
        *edited = pv_make_type_cast(*edited, "oid");
    return status;
}
