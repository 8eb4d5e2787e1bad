#include <string.h>

#include "parser/rewrite.h"
#include "parser/sqltext.h"
#include "policy/decide_int.h"
#include "policy/functions.h"
#include "policy/views_int.h"

/*
 * Enums and domains of a room's data sets, by the names that the catalogs show. Where the type itself stands the room's login may not
 * look, so provisioning makes a function for each, and a cast becomes a call of it. Which there are only the database knows:
 * one that is not there is an unknown function, which the session tells as an unknown type.
 */

/* Where the catalogs show types that stand in no schema of the room's; policy/catalog_relations.c says the same in SQL. */
static const char *
type_schema(const struct pv_room *room)
{
    const char *first = NULL, *schema;

    for (size_t i = 0; (schema = pv_views_published_schema(room, i)) != NULL; i++) {
        if (strcmp(schema, "public") == 0)
            return schema;
        if (first == NULL || strcmp(schema, first) < 0)
            first = schema;
    }
    return first;
}

static bool
is_on_path(const struct pv_names *path, const char *schema)
{
    for (size_t i = 0; i < path->count; i++)
        if (strcmp(path->names[i], schema) == 0)
            return true;
    return false;
}

bool
pv_is_own_type(const struct pv_trial *trial, const TypeName *type)
{
    const char *schema = NULL, *home;

    if (trial == NULL || trial->caller == NULL || trial->caller->room == NULL || list_length(type->names) > 2 ||
        type->typmods != NIL || type->setof || type->pct_type)
        return false;
    if (list_length(type->names) == 2)
        schema = strVal(linitial(type->names));
    else if (pv_type_is_system(strVal(llast(type->names))))
        return false;
    home = type_schema(trial->caller->room);
    return schema == NULL ? is_on_path(&trial->caller->search_path, home) : strcmp(schema, home) == 0;
}

static bool
is_plain_value(const Node *node)
{
    const ListCell *cell;

    if (IsA(node, A_ArrayExpr)) {
        foreach (cell, ((const A_ArrayExpr *) node)->elements)
            if (!IsA(lfirst(cell), A_Const) && !IsA(lfirst(cell), ParamRef))
                return false;
        return true;
    }
    return IsA(node, A_Const) || IsA(node, ParamRef);
}

bool
pv_own_type_is_allowed(const struct pv_trial *trial, const TypeCast *cast, enum pv_allow_mode mode)
{
    /* Over data the input of such a type would tell of each row whether its value is one of the allowed. */
    return pv_is_own_type(trial, cast->typeName) && (mode == PV_ALLOW_RELEASED || is_plain_value(cast->arg));
}

static void
type_function(const char *head, const char *type, bool is_array, char name[PV_VIEWS_NAME_SIZE])
{
    char text[2 * PV_VIEWS_NAME_SIZE];
    size_t len = strlen(type);

    /* PostgreSQL cuts a name in the same place. */
    if (len >= PV_VIEWS_NAME_SIZE)
        len = PV_VIEWS_NAME_SIZE - 1;
    memcpy(text, type, len);
    memcpy(text + len, is_array ? "[]" : "", is_array ? 3 : 1);
    pv_views_cut_name(head, text, name);
}

static bool
is_unknown(const TypeName *type)
{
    return list_length(type->names) == 1 && strcmp(strVal(linitial(type->names)), "unknown") == 0 && type->arrayBounds == NIL;
}

/* A parameter of a Parse or PREPARE that nobody has given a type: PostgreSQL takes it from the cast, and tells the client. */
static bool
is_untyped(const struct pv_trial *trial, const Node *node)
{
    size_t number;

    if (!IsA(node, ParamRef) || !trial->has_parameters)
        return false;
    number = (size_t) ((const ParamRef *) node)->number;
    if (number <= (size_t) list_length(trial->prepared_types))
        return is_unknown(list_nth(trial->prepared_types, (int) number - 1));
    return number > trial->declared_count || trial->declared_oids[number - 1] == 0;
}

/* ---- PREPARE ---- */

/* The room's login cannot name such a type: its parameters are left without one, and each use is cast. */
struct preparation {
    struct pv_trial *trial;
    PrepareStmt *stmt;
    const List *types; /* as they were declared */
};

static TypeName *
own_type_of(const struct preparation *prep, const Node *node)
{
    TypeName *type;

    if (node == NULL || !IsA(node, ParamRef) || ((const ParamRef *) node)->number > list_length(prep->types) ||
        ((const ParamRef *) node)->number < 1)
        return NULL;
    type = list_nth(prep->types, ((const ParamRef *) node)->number - 1);
    return pv_is_own_type(prep->trial, type) ? type : NULL;
}

static Node *
cast_parameter(void *context, Node *node, bool *is_entered)
{
    const struct preparation *prep = context;

    if (IsA(node, ResTarget) && ((ResTarget *) node)->name == NULL && own_type_of(prep, ((ResTarget *) node)->val) != NULL)
        ((ResTarget *) node)->name = pstrdup("?column?");
    if (IsA(node, TypeCast) && own_type_of(prep, ((TypeCast *) node)->arg) != NULL &&
        pv_is_own_type(prep->trial, ((TypeCast *) node)->typeName))
        *is_entered = false;
    if (own_type_of(prep, node) == NULL)
        return node;
    *is_entered = false;
    return pv_make_cast(node, own_type_of(prep, node));
}

static void
prepare(void *context)
{
    struct preparation *prep = context;
    List *types = NIL;
    const ListCell *cell;
    bool is_needed = false;

    foreach (cell, prep->types) {
        TypeName *type = lfirst(cell);

        if (pv_is_own_type(prep->trial, type)) {
            is_needed = true;
            type = makeTypeName(pstrdup("unknown"));
        }
        types = lappend(types, type);
    }
    if (!is_needed)
        return;
    prep->stmt->argtypes = types;
    pv_tree_mutate(&prep->stmt->query, cast_parameter, prep);
}

enum pv_status
pv_own_type_prepare(struct pv_trial *trial, PrepareStmt *stmt)
{
    struct preparation prep = {trial, stmt, stmt->argtypes};
    MemoryContext before = pv_sql_enter(trial->sql);
    enum pv_status status = pv_sql_guard(prepare, &prep, NULL);

    pv_sql_leave(before);
    return status;
}

Node *
pv_own_type_cast(struct pv_trial *trial, TypeCast *cast)
{
    bool is_untyped_param = is_untyped(trial, cast->arg);
    char schema[PV_VIEWS_NAME_SIZE], name[PV_VIEWS_NAME_SIZE];
    FuncCall *call;

    pv_views_catalog_schema(trial->caller->room->name, schema);
    type_function(is_untyped_param ? PV_VIEWS_TYPED_FUNCTION : PV_VIEWS_TYPE_FUNCTION,
                  strVal(llast(cast->typeName->names)), cast->typeName->arrayBounds != NIL, name);
    call = pv_make_call(schema, name,
                        list_make1(is_untyped_param ? (Node *) cast->arg : pv_make_type_cast(cast->arg, "text")));
    call->location = cast->typeName->location;
    return (Node *) call;
}

static enum pv_status
make_function(struct pv_arena *arena, const struct pv_room *room, const char *name, const char *argument, const char *physical,
              unsigned layer, struct pv_made *made)
{
    char schema[PV_VIEWS_NAME_SIZE];
    struct pv_buf sql = {0};

    pv_views_catalog_schema(room->name, schema);
    *made = (struct pv_made) {.kind = PV_MADE_FUNCTION, .layer = layer, .is_readable = true};
    made->schema = pv_arena_strdup(arena, schema);
    made->name = pv_arena_strdup(arena, name);
    made->arguments = pv_arena_strdup(arena, argument);
    if (made->schema == NULL || made->name == NULL || made->arguments == NULL)
        return PV_NOMEM;
    pv_buf_put_text(&sql, "CREATE FUNCTION ");
    pv_sql_quote_qualified(&sql, schema, name);
    pv_buf_printf(&sql, "(%s) RETURNS %s LANGUAGE sql STABLE PARALLEL SAFE RETURN $1::%s", argument, physical, physical);
    return pv_made_finish(arena, made, &sql);
}

enum pv_status
pv_views_type(struct pv_arena *arena, const struct pv_room *room, const char *type, bool is_array, const char *physical,
              unsigned number, struct pv_made made[PV_VIEWS_TYPE_COUNT])
{
    char name[PV_VIEWS_NAME_SIZE];
    enum pv_status status;

    type_function(PV_VIEWS_TYPE_FUNCTION, type, is_array, name);
    status = make_function(arena, room, name, "text", physical, PV_VIEWS_LAYER_TYPES + number, &made[0]);
    if (status != PV_OK)
        return status;
    type_function(PV_VIEWS_TYPED_FUNCTION, type, is_array, name);
    return make_function(arena, room, name, physical, physical, PV_VIEWS_LAYER_TYPES + number + 1, &made[1]);
}
