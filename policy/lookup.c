#include <ctype.h>
#include <string.h>

#include "parser/rewrite.h"
#include "parser/sqltext.h"
#include "policy/decide_int.h"
#include "policy/functions.h"
#include "policy/views_int.h"
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

/* Does the server, whose path holds all published schemas, find it by its bare name? */
static bool
is_first_of_name(const struct pv_room *room, const struct pv_catalogue *catalogue, const struct pv_relation *relation)
{
    const char *schema;

    for (size_t i = 0; (schema = pv_views_published_schema(room, i)) != NULL; i++) {
        const struct pv_relation *found = catalogue->find(catalogue->context, schema, relation->name);

        if (found != NULL)
            return found == relation;
    }
    return false;
}

/* `is_bare`: the relation reads by its bare name along the caller's search_path, and along the server's. */
static enum pv_status
lookup_relation(struct pv_trial *trial, A_Const *constant, const char *text, int location, bool *is_bare)
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
    *is_bare = relation != NULL && (relation->kind == PV_RELATION_CATALOG
                                        ? strcmp(relation->schema, "pg_catalog") == 0
                                        : catalogue.find(catalogue.context, NULL, relation->name) == relation &&
                                              is_first_of_name(trial->caller->room, &catalogue, relation));
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

/* A type of the allow-list needs no look; of another the room's catalog schema knows whether it is there. */
static enum pv_status
lookup_type(const char *text, bool *is_known)
{
    struct pv_sql *sql = NULL;
    TypeName *type = NULL;
    enum pv_status status = pv_sql_parse_type(pv_slice_cstr(text), &sql, &type, NULL);

    *is_known = status == PV_OK &&
                (list_length(type->names) == 1 ||
                 (list_length(type->names) == 2 && strcmp(strVal(linitial(type->names)), "pg_catalog") == 0)) &&
                pv_type_is_allowed(strVal(llast(type->names)));
    pv_sql_free(sql);
    return status == PV_NOMEM ? status : PV_OK;
}

/* The id of the question with parameters that a function's name stands for; NULL: none. */
static enum pv_status
question_function(struct pv_trial *trial, const char *name, const char **id)
{
    const struct pv_question *question = NULL;
    struct pv_sql *sql = NULL;
    RangeVar *var = NULL;
    enum pv_status status = parse_name(name, &sql, &var);

    *id = NULL;
    if (var != NULL && (var->schemaname != NULL || pv_function_find(var->relname) == NULL) &&
        pv_is_question_schema(&trial->caller->search_path, var->schemaname))
        question = pv_room_question(trial->caller->room, var->relname);
    if (question != NULL && !question->is_open && question->parameter_count > 0)
        *id = question->id;
    pv_sql_free(sql);
    return status;
}

/* Up to the parenthesis of the arguments, which is none between quotes. */
static size_t
function_name_len(const char *text)
{
    bool is_quoted = false;
    size_t len = 0;

    for (; text[len] != '\0' && (is_quoted || text[len] != '('); len++)
        is_quoted ^= text[len] == '"';
    return len;
}

static enum pv_status
lookup_function(struct pv_trial *trial, A_Const *constant, const char *text, int location)
{
    const char *name = strncmp(text, "pg_catalog.", 11) == 0 ? text + 11 : text;
    size_t len = function_name_len(name);
    const char *copy = pv_arena_strndup(trial->arena, name, len), *question;
    enum pv_status status;

    if (copy == NULL)
        return PV_NOMEM;
    /* A type of a schema would be an answer about that schema. */
    if (strchr(name + len, '.') != NULL)
        return pv_deny(trial, PV_REASON_NO_FUNCTION, "42883", location, "function \"%s\" does not exist", text);
    status = question_function(trial, copy, &question);
    if (status != PV_OK)
        return status;
    if (question != NULL) {
        char schema[PV_VIEWS_NAME_SIZE];
        struct pv_buf buf = {0};

        pv_views_schema(trial->caller->room->name, "questions", schema);
        pv_sql_quote_qualified(&buf, schema, question);
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
    bool is_known = strcmp(text, PV_VIEWS_QUESTIONS) == 0;

    if (strcmp(text, "pg_catalog") == 0 || strcmp(text, "information_schema") == 0)
        return PV_OK;
    for (size_t i = 0; i < room->dataset_count && !is_known; i++)
        is_known = strcmp(room->datasets[i].relation.schema, text) == 0;
    if (is_known) {
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
    List *args = list_make1(pv_make_type_cast((Node *) cast->arg, "text"));
    const char *name = psprintf("pgveil_%s", type);
    char schema[PV_VIEWS_NAME_SIZE];
    Node *call;

    pv_views_catalog_schema(trial->caller->room->name, schema);
    call = strcmp(type, "regclass") == 0 ? pv_make_call_on_path(trial, name, args)
                                         : (Node *) pv_make_call(schema, name, args);
    /* These two come back as names: their own output would be the physical one. */
    if (strcmp(type, "regnamespace") == 0 || strcmp(type, "regrole") == 0)
        return call;
    cast->arg = call;
    return (Node *) cast;
}

/* `is_bare`: the server reads it out as PostgreSQL would along the caller's search_path. */
static enum pv_status
lookup_constant(struct pv_trial *trial, TypeCast *cast, const char *type, bool *is_bare)
{
    A_Const *constant = (A_Const *) cast->arg;
    const char *text = constant->val.sval.sval;
    int location = constant->location >= 0 ? constant->location : cast->location;

    *is_bare = true;
    if (strcmp(type, "regclass") == 0)
        return lookup_relation(trial, constant, text, location, is_bare);
    if (strcmp(type, "regproc") == 0 || strcmp(type, "regprocedure") == 0) {
        enum pv_status status = lookup_function(trial, constant, text, location);

        *is_bare = constant->val.sval.sval == text;
        return status;
    }
    if (strcmp(type, "regnamespace") == 0)
        return lookup_namespace(trial, constant, text, location);
    return pv_deny(trial, PV_REASON_TYPE, "42704", location, "\"%s\" does not exist", text);
}

/* Types whose values the room's catalog schema has words for. */
static bool
is_shown_by_us(const char *type)
{
    return strcmp(type, "regclass") == 0 || strcmp(type, "regtype") == 0 || strcmp(type, "regproc") == 0 ||
           strcmp(type, "regprocedure") == 0;
}

enum pv_status
pv_edit_lookup_cast(struct pv_trial *trial, TypeCast *cast, enum pv_lookup_use use, Node **edited)
{
    const char *type = strVal(llast(cast->typeName->names));
    const A_Const *constant = (const A_Const *) cast->arg;
    enum pv_status status = PV_OK;
    bool is_bare = false;

    *edited = (Node *) cast;
    if (!pv_type_is_lookup(type))
        return PV_OK;
    if (type[0] == '_' || cast->typeName->arrayBounds != NIL)
        return pv_deny(trial, PV_REASON_TYPE, "42704", cast->location, "type \"%s[]\" does not exist",
                       type[0] == '_' ? type + 1 : type);
    if (!IsA(cast->arg, A_Const) || (!constant->isnull && constant->val.node.type != T_String) ||
        (!constant->isnull && is_number(constant->val.sval.sval)))
        *edited = checked_cast(trial, cast, type);
    else if (!constant->isnull && strcmp(type, "regtype") == 0) {
        status = lookup_type(constant->val.sval.sval, &is_bare);
        if (!is_bare)
            *edited = checked_cast(trial, cast, type);
    } else if (!constant->isnull && strcmp(constant->val.sval.sval, "-") != 0) {
        const char *published = constant->val.sval.sval;

        status = lookup_constant(trial, cast, type, &is_bare);
        /* As what the server prints it would be the physical schema. */
        if (status == PV_OK && strcmp(type, "regnamespace") == 0 && (use == PV_LOOKUP_SHOWN || use == PV_LOOKUP_WRITTEN)) {
            *edited = pv_make_type_cast(pv_make_string(published), "name");
            return PV_OK;
        }
    }
    else
        is_bare = true;
    if (status != PV_OK || !IsA(*edited, TypeCast))
        return status;
    /*
     * Where the value could flow into another expression it is an OID: next to a looked-up type PostgreSQL would
     * turn any integer into one, and print a name for it (ATTACKS: N6). A schema's own output would be the physical name.
     */
    if (use == PV_LOOKUP_FLOWS || strcmp(type, "regnamespace") == 0)
        *edited = pv_make_type_cast(*edited, "oid");
    else if (use != PV_LOOKUP_KEPT && !is_bare && is_shown_by_us(type))
        *edited = pv_make_call_on_path(trial, psprintf("pgveil_show_%s", type),
                                       list_make1(pv_make_type_cast(*edited, "oid")));
    return PV_OK;
}
