#include "parser/print.h"
#include "policy/decide_int.h"
#include "policy/settings.h"

/*
 * --conformance: the room answers everything. A SELECT that the printer knows goes as it was printed and checked, anything
 * else as it came. Which of the two it was stands in the decision's detail, for the query log's column `reason`.
 */

static enum pv_status
go_printed(struct pv_trial *trial, const Node *stmt, const struct pv_buf *text)
{
    trial->decision->detail = "printed";
    trial->decision->forwarded =
        pv_arena_strndup(trial->arena, (const char *) pv_buf_slice(text).data, pv_buf_len(text));
    if (trial->decision->forwarded == NULL)
        return PV_NOMEM;
    return pv_find_place(trial, stmt, pv_buf_slice(text));
}

/* The server shows a statement's text in its catalogs: one that came alone goes with its blanks and its semicolon. */
static enum pv_status
go_as_it_came(struct pv_trial *trial, const char *why)
{
    bool is_alone = trial->sql == NULL || pv_sql_count(trial->sql) == 1;
    struct pv_slice text = is_alone ? trial->text : trial->decision->text;

    trial->decision->detail = why;
    trial->decision->forwarded = pv_arena_strndup(trial->arena, (const char *) text.data, text.len);
    return trial->decision->forwarded == NULL ? PV_NOMEM : PV_OK;
}

/* What takes settings back, or names away, is followed by the session here as elsewhere. */
static void
set_kind(struct pv_trial *trial, const Node *stmt)
{
    struct pv_decision *decision = trial->decision;
    const VariableSetStmt *set = (const VariableSetStmt *) (const void *) stmt;

    decision->kind = PV_KIND_OTHER;
    if (IsA(stmt, DiscardStmt) && ((const DiscardStmt *) (const void *) stmt)->target == DISCARD_ALL)
        decision->kind = PV_KIND_DISCARD_ALL;
    if (!IsA(stmt, VariableSetStmt))
        return;
    if (set->kind == VAR_RESET_ALL) {
        decision->kind = PV_KIND_RESET_ALL;
    } else if ((set->kind == VAR_RESET || set->kind == VAR_SET_DEFAULT) && !set->is_local && set->name != NULL) {
        const struct pv_setting *setting = pv_setting_find(set->name);

        if (setting == NULL || setting->class != PV_SETTING_FORWARD)
            return;
        decision->kind = PV_KIND_RESET;
        decision->setting = setting->name;
    }
}

enum pv_status
pv_conform(struct pv_trial *trial, const Node *stmt)
{
    struct pv_buf text = {0};
    const char *what = NULL;
    enum pv_status status;

    if (!IsA(stmt, SelectStmt)) {
        set_kind(trial, stmt);
        return go_as_it_came(trial, "as it came: no SELECT");
    }
    status = pv_print_checked(stmt, &text, &what);
    if (status == PV_OK)
        status = go_printed(trial, stmt, &text);
    else if (status == PV_INTERNAL)
        status = go_as_it_came(trial, "as it came: THE PRINTER CHANGED IT");
    else if (status != PV_NOMEM)
        status = go_as_it_came(trial, pv_arena_printf(trial->arena, "as it came: %s", what == NULL ? "not printed" : what));
    pv_buf_clear(&text);
    return status;
}

enum pv_status
pv_conform_unread(struct pv_trial *trial)
{
    struct pv_decision *decision = trial->decision;

    *decision = (struct pv_decision){.kind = PV_KIND_OTHER, .text = trial->text, .is_allowed = true,
                                     .reason = PV_REASON_ALLOWED};
    return go_as_it_came(trial, "as it came: not parsed");
}
