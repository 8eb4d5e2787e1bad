#include <string.h>

#include "parser/print.h"
#include "parser/template.h"
#include "parser/walk.h"
#include "policy/functions.h"
#include "policy/question.h"
#include "proxy/base/arena.h"
#include "proxy/base/limits.h"

/* Row filters at load: one condition over the source's columns and the user's attributes, nothing that reaches further. */

struct filter_check {
    struct pv_arena *arena;
    const char *words;
};

static enum pv_walk
refuse(struct filter_check *check, const char *what, const char *name)
{
    check->words = pv_arena_printf(check->arena, "%s%s%s%s is not allowed in a row filter", what,
                                   name == NULL ? "" : " \"", name == NULL ? "" : name, name == NULL ? "" : "\"");
    if (check->words == NULL)
        check->words = "out of memory";
    return PV_WALK_STOP;
}

static enum pv_walk
visit(void *context, Node *node, const struct pv_walk_at *at)
{
    struct filter_check *check = context;

    switch ((int) nodeTag(node)) {
    case T_SelectStmt:
        return at->parent == NULL ? PV_WALK_ON : refuse(check, "a sub-query", NULL);
    case T_SubLink:
        return refuse(check, "a sub-query", NULL);
    case T_FuncCall: {
        const FuncCall *call = (FuncCall *) node;
        const struct pv_function *function = pv_function_find_qualified(
            list_length(call->funcname) > 1 ? strVal(linitial(call->funcname)) : NULL, strVal(llast(call->funcname)));

        if (function == NULL || function->class != PV_FN_SCALAR || call->over != NULL)
            return refuse(check, "function", strVal(llast(call->funcname)));
        return PV_WALK_ON;
    }
    case T_A_Expr: {
        const A_Expr *expr = (A_Expr *) node;

        if (expr->kind < AEXPR_BETWEEN && !pv_operator_is_allowed(strVal(llast(expr->name))))
            return refuse(check, "operator", strVal(llast(expr->name)));
        return PV_WALK_ON;
    }
    case T_TypeName: {
        const char *type = strVal(llast(((TypeName *) node)->names));

        if (!pv_type_is_allowed(type) || pv_type_is_lookup(type))
            return refuse(check, "type", type);
        return PV_WALK_ON;
    }
    default:
        return PV_WALK_ON;
    }
}

static enum pv_status
set_fault(struct pv_arena *arena, struct pv_compile_fault *fault, const char *words, int position)
{
    const char *copy = pv_arena_strdup(arena, words);

    if (copy == NULL)
        return PV_NOMEM;
    *fault = (struct pv_compile_fault){copy, position > 0 ? (unsigned) position : 0};
    return PV_INVALID;
}

enum pv_status
pv_row_filter_check(struct pv_arena *arena, const char *sql, struct pv_names *attributes,
                    struct pv_compile_fault *fault)
{
    struct pv_template filter = {0};
    struct pv_sql_error err = {0};
    struct filter_check check = {arena, NULL};
    struct pv_walk_result walk = {0};
    const char **names;
    enum pv_status status =
        pv_template_parse_filter(pv_slice_cstr(sql), &pv_sql_limits_default, &filter, &err);

    if (status == PV_NOMEM)
        return status;
    if (status != PV_OK)
        return set_fault(arena, fault, err.message, err.position);
    status = pv_tree_walk(pv_sql_stmt(filter.sql, 0), &pv_sql_limits_default, visit, &check, &walk);
    if (status == PV_DENIED)
        check.words = walk.denied_name;
    if (status == PV_NOMEM) {
        pv_template_clear(&filter);
        return status;
    }
    if (check.words != NULL || status != PV_OK) {
        status = set_fault(arena, fault, check.words != NULL ? check.words : pv_status_words(status), 0);
        pv_template_clear(&filter);
        return status;
    }
    names = pv_arena_alloc(arena, (filter.name_count + 1) * sizeof(*names));
    for (unsigned i = 0; names != NULL && i < filter.name_count; i++) {
        names[i] = pv_arena_strdup(arena, filter.names[i]);
        if (names[i] == NULL)
            names = NULL;
    }
    if (names != NULL)
        *attributes = (struct pv_names){names, filter.name_count};
    pv_template_clear(&filter);
    return names == NULL ? PV_NOMEM : PV_OK;
}
