#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "parser/rewrite.h"
#include "policy/catalog_columns.h"
#include "policy/decide_int.h"
#include "policy/functions.h"
#include "policy/settings.h"
#include "policy/views.h"

/* What the catalogs show of the caller's own sessions: settings as the client set them, process ids, activity. */

/* pg_settings with what the session keeps itself in the row of search_path. */
static Node *
settings_column(struct pv_trial *trial, const char *column)
{
    const char *value = strcmp(column, "setting") == 0 ? pv_path_text(trial)
                        : strcmp(column, "source") == 0 && strcmp(pv_path_text(trial), "public") != 0 ? "session" : NULL;
    Node *is_path;

    if (value == NULL)
        return pv_make_column("s", column);
    is_path = pv_make_operator("=", pv_make_column("s", "name"), pv_make_string("search_path"));
    return pv_make_case(is_path, pv_make_type_cast(pv_make_string(value), "text"), pv_make_column("s", column));
}

Node *
pv_own_settings(struct pv_trial *trial, Alias *alias)
{
    const char *at = pv_catalog_column_list("pg_catalog.pg_settings");
    char schema[PV_VIEWS_NAME_SIZE];
    RangeVar *view = makeNode(RangeVar);
    List *targets = NIL;

    pv_views_catalog_schema(trial->caller->room->name, schema);
    view->schemaname = pstrdup(schema);
    view->relname = pstrdup("pg_settings");
    view->inh = true;
    view->relpersistence = 'p';
    view->alias = pv_make_alias("s", NIL);
    view->location = -1;
    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, ",");
        char *one = psprintf("%.*s", (int) len, at);

        targets = lappend(targets, pv_make_target(one, settings_column(trial, one)));
        at += len + (at[len] == ',' ? 1 : 0);
    }
    return pv_make_subselect(pv_make_select(targets, list_make1(view), NULL), alias);
}

/* ---- the caller's sessions ---- */

/* PostgreSQL shows as much by default (track_activity_query_size). */
#define OWN_QUERY_BYTES 1024u

Node *
pv_own_pid(struct pv_trial *trial)
{
    trial->decision->is_of_session = true;
    return pv_make_type_cast(pv_make_integer(trial->caller->backend_pid), "int4");
}

/* The server knows this session's process id where it is its own. */
Node *
pv_own_pids(struct pv_trial *trial)
{
    const struct pv_peers *peers = &trial->caller->peers;
    A_ArrayExpr *array = makeNode(A_ArrayExpr);
    Node *own = trial->caller->backend_pid != 0 ? pv_own_pid(trial)
                                                : (Node *) pv_make_call("pg_catalog", "pg_backend_pid", NIL);

    trial->decision->is_of_peers = true;
    array->location = -1;
    array->elements = list_make1(own);
    for (size_t i = 0; i < peers->count; i++)
        array->elements = lappend(array->elements, pv_make_integer(peers->list[i].pid));
    return pv_make_type_cast((Node *) array, "_int4");
}

/* What this very statement is to the session that sends it. */
static struct pv_peer
busy(struct pv_trial *trial, const struct pv_peer *peer)
{
    struct pv_peer own = *peer;
    size_t len = trial->text.len < OWN_QUERY_BYTES ? trial->text.len : OWN_QUERY_BYTES;

    while (len > 0 && len < trial->text.len && (trial->text.data[len] & 0xC0u) == 0x80u)
        len--;
    own.query = pv_arena_strndup(trial->arena, (const char *) trial->text.data, len);
    own.state = "active";
    own.query_us = trial->caller->now_us;
    return own;
}

static char *
activity_json(struct pv_trial *trial)
{
    const struct pv_peers *peers = &trial->caller->peers;
    json_t *rows = json_array();
    char *text = NULL;

    for (size_t i = 0; i < peers->count && rows != NULL; i++) {
        const struct pv_peer peer =
            peers->list[i].session == peers->own ? busy(trial, &peers->list[i]) : peers->list[i];
        json_t *row = json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:I}", "pid", (json_int_t) peer.pid, "usr", peer.user, "app",
                                peer.application, "state", peer.state, "query", peer.query == NULL ? "" : peer.query,
                                "began", (json_int_t) peer.started_us, "asked", (json_int_t) peer.query_us);

        if (row == NULL || json_array_append_new(rows, row) != 0) {
            json_decref(rows);
            rows = NULL;
        }
    }
    if (rows != NULL)
        text = json_dumps(rows, JSON_COMPACT);
    json_decref(rows);
    return text;
}

Node *
pv_own_activity(struct pv_trial *trial, Alias *alias)
{
    char *made = activity_json(trial);
    const char *text = made == NULL ? NULL : pv_arena_strdup(trial->arena, made);
    RangeFunction *range = makeNode(RangeFunction);
    char schema[PV_VIEWS_NAME_SIZE];
    Node *rows;

    free(made);
    trial->decision->is_of_peers = true;
    pv_views_catalog_schema(trial->caller->room->name, schema);
    rows = pv_make_type_cast(pv_make_string(text == NULL ? "[]" : text), "json");
    range->functions = list_make1(list_make2(pv_make_call(schema, "pgveil_activity", list_make1(rows)), NIL));
    range->alias = alias;
    return (Node *) range;
}

/* ---- search_path ---- */

const char *
pv_path_text(struct pv_trial *trial)
{
    const struct pv_names *path = &trial->caller->search_path;
    const char *text = path->count == 0 ? "\"\"" : "";

    for (size_t i = 0; i < path->count; i++) {
        const char *name = pv_quoted(trial, path->names[i]);
        const char *longer = pv_arena_printf(trial->arena, "%s%s%s", text, i == 0 ? "" : ", ", name);

        text = longer == NULL ? "" : longer;
    }
    return text;
}

static const A_Const *
constant_of(const Node *node)
{
    if (IsA(node, TypeCast))
        node = ((const TypeCast *) node)->arg;
    return IsA(node, A_Const) && !((const A_Const *) node)->isnull ? (const A_Const *) node : NULL;
}

/* SELECT set_config('search_path', 'text', false) and nothing else: the one call that stands for a SET of it. */
void
pv_note_path_call(struct pv_trial *trial, const SelectStmt *select)
{
    const ResTarget *target = list_length(select->targetList) == 1 ? linitial(select->targetList) : NULL;
    const FuncCall *call = target != NULL && IsA(target->val, FuncCall) ? (const FuncCall *) target->val : NULL;
    const A_Const *name, *value, *local;
    bool is_local;

    if (call == NULL || select->fromClause != NIL || select->whereClause != NULL || select->withClause != NULL ||
        select->op != SETOP_NONE || select->limitCount != NULL || select->limitOffset != NULL ||
        select->groupClause != NIL || select->havingClause != NULL || select->distinctClause != NIL ||
        list_length(call->args) != 3 || call->agg_filter != NULL || call->over != NULL || call->agg_order != NIL ||
        strcmp(strVal(llast(call->funcname)), "set_config") != 0)
        return;
    name = constant_of(linitial(call->args));
    value = constant_of(lsecond(call->args));
    local = constant_of(lthird(call->args));
    if (name == NULL || value == NULL || local == NULL || name->val.node.type != T_String ||
        value->val.node.type != T_String || strcmp(name->val.sval.sval, "search_path") != 0)
        return;
    if (local->val.node.type == T_Boolean)
        is_local = local->val.boolval.boolval;
    else if (local->val.node.type == T_String)
        is_local = local->val.sval.sval[0] == 't';
    else
        return;
    trial->decision->value = pv_arena_strdup(trial->arena, value->val.sval.sval);
    if (trial->decision->value == NULL)
        return;
    trial->decision->setting = "search_path";
    trial->decision->kind = is_local ? PV_KIND_SET_LOCAL : PV_KIND_SET;
}
