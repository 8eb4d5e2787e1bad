#include <string.h>

#include "parser/rewrite.h"
#include "policy/catalog_columns.h"
#include "policy/decide_int.h"
#include "policy/functions.h"
#include "policy/settings.h"
#include "policy/views.h"

/* What the catalogs show of the caller's own session: its settings as the client set them. */

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

const char *
pv_path_text(struct pv_trial *trial)
{
    const struct pv_names *path = &trial->caller->search_path;
    const char *text = path->count == 0 ? "\"\"" : "";

    for (size_t i = 0; i < path->count; i++) {
        const char *longer = pv_arena_printf(trial->arena, "%s%s%s", text, i == 0 ? "" : ", ", path->names[i]);

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
