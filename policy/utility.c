#include <string.h>
#include <strings.h>

#include "parser/rewrite.h"
#include "parser/walk.h"
#include "policy/decide_int.h"
#include "policy/settings.h"

/* Statements that are no question by themselves: transactions, settings, cursors, COPY TO. */

void
pv_note_statement(struct pv_trial *trial, enum pv_statement_kind kind, const char *name)
{
    trial->decision->kind = kind;
    trial->decision->name = name == NULL ? NULL : pv_arena_strdup(trial->arena, name);
}

enum pv_status
pv_deny_kind(struct pv_trial *trial, const Node *stmt)
{
    const char *name = pv_statement_name(stmt);
    enum pv_status status;

    trial->decision->kind = PV_KIND_OTHER;
    status = pv_deny_question(trial, PV_REASON_STATEMENT_KIND, -1,
                              "%s is not allowed: a clean room answers questions and changes nothing.",
                              name == NULL ? "This statement" : name);
    pv_deny_hint(trial, "Ask a question with SELECT; keep results on your own side.");
    return status;
}

/* ---- transactions --------------------------------------------------------------- */

/* READ WRITE is heard and dropped: the session is read-only whatever is asked. */
static void
drop_read_write(void *context)
{
    List **options = context;
    ListCell *cell;
    List *kept = NIL;

    foreach (cell, *options) {
        const DefElem *option = lfirst(cell);

        if (strcmp(option->defname, "transaction_read_only") != 0)
            kept = lappend(kept, lfirst(cell));
    }
    *options = kept;
}

static enum pv_status
judge_transaction(struct pv_trial *trial, TransactionStmt *stmt)
{
    MemoryContext before;
    enum pv_status status;

    switch (stmt->kind) {
    case TRANS_STMT_BEGIN:
    case TRANS_STMT_START:
        pv_note_statement(trial, PV_KIND_BEGIN, NULL);
        before = pv_sql_enter(trial->sql);
        status = pv_sql_guard(drop_read_write, &stmt->options, NULL);
        pv_sql_leave(before);
        return status;
    case TRANS_STMT_COMMIT:
        pv_note_statement(trial, PV_KIND_COMMIT, NULL);
        return PV_OK;
    case TRANS_STMT_ROLLBACK:
        pv_note_statement(trial, PV_KIND_ROLLBACK, NULL);
        return PV_OK;
    case TRANS_STMT_SAVEPOINT:
        pv_note_statement(trial, PV_KIND_SAVEPOINT, stmt->savepoint_name);
        return PV_OK;
    case TRANS_STMT_RELEASE:
        pv_note_statement(trial, PV_KIND_RELEASE, stmt->savepoint_name);
        return PV_OK;
    case TRANS_STMT_ROLLBACK_TO:
        pv_note_statement(trial, PV_KIND_ROLLBACK_TO, stmt->savepoint_name);
        return PV_OK;
    case TRANS_STMT_PREPARE:
    case TRANS_STMT_COMMIT_PREPARED:
    case TRANS_STMT_ROLLBACK_PREPARED:
    default:
        return pv_deny_kind(trial, (Node *) stmt);
    }
}

/* ---- settings ---------------------------------------------------------------------- */

/*
 * The value as one text, items by commas; NULL for DEFAULT or what is no plain constant (TIME ZONE INTERVAL). Of a list
 * of names each is one name, quoted where it has to be (PostgreSQL's flatten_set_variable_args).
 */
static const char *
value_text(struct pv_trial *trial, const VariableSetStmt *stmt, bool is_names)
{
    const char *text = NULL;
    const ListCell *cell;

    if (stmt->kind != VAR_SET_VALUE)
        return NULL;
    foreach (cell, stmt->args) {
        const Node *node = lfirst(cell);
        const char *item = IsA(node, A_Const) ? pv_constant_text(trial, (const A_Const *) node) : NULL;

        if (item == NULL)
            return NULL;
        if (is_names)
            item = pv_quoted(trial, item);
        text = text == NULL ? item : pv_arena_printf(trial->arena, "%s, %s", text, item);
        if (text == NULL)
            return NULL;
    }
    return text;
}

struct shadowing {
    VariableSetStmt *stmt;
    const char *kept; /* the value that SHOW gives back; NULL: none is kept */
};

static void
rename_setting(void *context)
{
    struct shadowing *shadowing = context;
    VariableSetStmt *stmt = shadowing->stmt;

    /* A placeholder of our own: the statement keeps its tag and its place in the transaction, and pins stay. */
    stmt->name = psprintf("pgveil.%s", stmt->kind == VAR_SET_MULTI ? "transaction" : stmt->name);
    if (stmt->kind == VAR_SET_MULTI)
        stmt->kind = VAR_SET_VALUE;
    stmt->args = NIL;
    if (stmt->kind == VAR_SET_VALUE)
        stmt->args = list_make1(pv_make_string(shadowing->kept == NULL ? "" : shadowing->kept));
    else if (stmt->kind != VAR_SET_DEFAULT) /* whose tag is SET */
        stmt->kind = VAR_RESET;
}

static enum pv_status
shadow(struct pv_trial *trial, VariableSetStmt *stmt, const char *kept)
{
    struct shadowing shadowing = {stmt, kept};
    MemoryContext before = pv_sql_enter(trial->sql);
    enum pv_status status = pv_sql_guard(rename_setting, &shadowing, NULL);

    pv_sql_leave(before);
    return status;
}

static enum pv_status
deny_setting(struct pv_trial *trial, const char *name, const char *value)
{
    enum pv_status status =
        value == NULL
            ? pv_deny(trial, PV_REASON_SETTING, "42501", -1, "parameter \"%s\" cannot be changed in a clean room", name)
            : pv_deny(trial, PV_REASON_SETTING, "42501", -1, "parameter \"%s\" cannot be set to \"%s\" in a clean room",
                      name, value);

    pv_deny_detail(trial, "The setting is pinned, so that what is checked is what runs.");
    return status;
}

static enum pv_status
deny_zone(struct pv_trial *trial, const char *value)
{
    enum pv_status status = deny_setting(trial, "timezone", value);

    pv_deny_detail(trial, "A time zone of one's own would move days, for what is filtered or grouped by them.");
    pv_deny_hint(trial,
                 "SET timezone = 'Europe/Berlin', or an offset in whole quarters of an hour: SET timezone = '+05:30'.");
    return status;
}

/* SET TIME ZONE INTERVAL: hours, and minutes beside them, as they are written. NULL: anything else. */
static const char *
interval_zone(const VariableSetStmt *stmt, const struct pv_setting *setting)
{
    const TypeCast *cast = linitial(stmt->args);
    const Node *mask;
    const char *text;
    const int hour = 1 << 10; /* utils/datetime.h, HOUR */

    if (list_length(stmt->args) != 1 || !IsA(cast, TypeCast) || !IsA(cast->arg, A_Const) ||
        ((const A_Const *) cast->arg)->isnull || ((const A_Const *) cast->arg)->val.node.type != T_String)
        return NULL;
    text = ((const A_Const *) cast->arg)->val.sval.sval;
    mask = cast->typeName->typmods == NIL ? NULL : linitial(cast->typeName->typmods);
    if (text[strspn(text, "+-0123456789:")] != '\0' || !pv_setting_value_is_allowed(setting, text))
        return NULL;
    /* A number alone is of the last unit that is named, seconds where none is. */
    return strchr(text, ':') != NULL ||
                   (mask != NULL && IsA(mask, A_Const) && ((const A_Const *) mask)->val.node.type == T_Integer &&
                    ((const A_Const *) mask)->val.ival.ival == hour)
               ? text
               : NULL;
}

static enum pv_status
judge_zone(struct pv_trial *trial, const VariableSetStmt *stmt, const struct pv_setting *setting, const char *value)
{
    const char *interval = value == NULL ? interval_zone(stmt, setting) : NULL;

    if (value != NULL)
        return pv_setting_value_is_allowed(setting, value) ? PV_OK : deny_zone(trial, value);
    if (interval == NULL)
        return deny_zone(trial, value);
    /* No value would be a return to the one before. */
    trial->decision->value = pv_arena_strdup(trial->arena, interval);
    return trial->decision->value == NULL ? PV_NOMEM : PV_OK;
}

static enum pv_status
judge_set(struct pv_trial *trial, VariableSetStmt *stmt)
{
    const struct pv_setting *setting = stmt->name == NULL ? NULL : pv_setting_find(stmt->name);
    struct pv_decision *decision = trial->decision;
    const char *value = value_text(trial, stmt, setting != NULL && setting->class == PV_SETTING_PATH);
    bool is_default = stmt->kind == VAR_SET_DEFAULT || stmt->kind == VAR_RESET;

    pv_note_statement(trial,
                      stmt->kind == VAR_RESET ? PV_KIND_RESET
                      : stmt->is_local        ? PV_KIND_SET_LOCAL
                                              : PV_KIND_SET,
                      NULL);
    if (stmt->kind == VAR_RESET_ALL) {
        pv_note_statement(trial, PV_KIND_RESET_ALL, NULL);
        return PV_OK;
    }
    if (stmt->kind == VAR_SET_MULTI) {
        /* SET TRANSACTION and SESSION CHARACTERISTICS; a snapshot's name belongs to other sessions. */
        MemoryContext before;
        enum pv_status status;

        pv_note_statement(trial, PV_KIND_SET_TRANSACTION, NULL);
        if (strcmp(stmt->name, "TRANSACTION SNAPSHOT") == 0)
            return deny_setting(trial, "transaction snapshot", NULL);
        before = pv_sql_enter(trial->sql);
        status = pv_sql_guard(drop_read_write, &stmt->args, NULL);
        pv_sql_leave(before);
        /* Where only READ WRITE was asked nothing is left to set. */
        return status == PV_OK && stmt->args == NIL ? shadow(trial, stmt, NULL) : status;
    }
    if (stmt->kind == VAR_SET_CURRENT)
        return deny_setting(trial, stmt->name, NULL);
    if (setting == NULL) {
        if (stmt->name != NULL && strncasecmp(stmt->name, "pgveil.", 7) == 0)
            return deny_setting(trial, stmt->name, NULL);
        return pv_deny(trial, PV_REASON_SETTING, "42704", -1, "unrecognized configuration parameter \"%s\"",
                       stmt->name == NULL ? "" : stmt->name);
    }
    decision->setting = setting->name;
    decision->value = value == NULL ? NULL : pv_arena_strdup(trial->arena, value);
    switch (setting->class) {
    case PV_SETTING_FORWARD:
        if (pv_setting_is_zone(setting) && !is_default)
            return judge_zone(trial, stmt, setting, value);
        if (value != NULL && !pv_setting_value_is_allowed(setting, value))
            return deny_setting(trial, setting->name, value);
        return PV_OK;
    case PV_SETTING_IGNORED:
        return shadow(trial, stmt, decision->value);
    case PV_SETTING_PATH:
        return shadow(trial, stmt, NULL);
    case PV_SETTING_FIXED:
        if (!is_default && (value == NULL || !pv_setting_value_is_allowed(setting, value)))
            return deny_setting(trial, setting->name, value);
        return shadow(trial, stmt, NULL);
    case PV_SETTING_USER: {
        enum pv_status status;

        /* The change holds for the session; a part of a transaction cannot be somebody else's. */
        if (stmt->is_local || (!is_default && value == NULL))
            return deny_setting(trial, setting->name, value);
        status = pv_judge_end_user(trial, value);
        return status == PV_OK ? shadow(trial, stmt, NULL) : status;
    }
    case PV_SETTING_SHOWN:
    default:
        return pv_deny(trial, PV_REASON_SETTING, "55P02", -1, "parameter \"%s\" cannot be changed", setting->name);
    }
}

/* SHOW of a setting that is heard and not obeyed: what was set last, as its placeholder holds it. */
static enum pv_status
show_ignored(struct pv_trial *trial, const char *name, Node **stmt)
{
    const char *text = pv_arena_printf(trial->arena,
                                       "SELECT COALESCE(NULLIF(pg_catalog.current_setting('pgveil.%s', true), ''), "
                                       "pg_catalog.current_setting('%s')) AS %s",
                                       name, name, name);
    struct pv_sql *sql = NULL;
    enum pv_status status =
        text == NULL ? PV_NOMEM : pv_sql_parse(pv_slice_cstr(text), &pv_sql_limits_default, &sql, NULL);

    if (status == PV_OK)
        status = pv_sql_copy(trial->sql, pv_sql_stmt(sql, 0), stmt);
    pv_sql_free(sql);
    return status;
}

static enum pv_status
judge_show(struct pv_trial *trial, Node **stmt)
{
    const char *name = ((VariableShowStmt *) *stmt)->name;
    const struct pv_setting *setting = pv_setting_find(name);
    struct pv_decision *decision = trial->decision;

    pv_note_statement(trial, PV_KIND_SHOW, NULL);
    if (strcmp(name, "all") == 0)
        return pv_judge_show_all(trial, stmt);
    if (setting == NULL || setting->class == PV_SETTING_USER)
        return pv_deny(trial, PV_REASON_SETTING, "42704", -1, "unrecognized configuration parameter \"%s\"", name);
    decision->setting = setting->name;
    decision->show_value = setting->shown;
    if (setting->class == PV_SETTING_PATH) {
        decision->show_value = pv_path_text(trial);
        return decision->show_value == NULL ? PV_NOMEM : PV_OK;
    }
    if (strcmp(setting->name, "session_authorization") == 0)
        decision->show_value = trial->caller->user;
    return setting->class == PV_SETTING_IGNORED ? show_ignored(trial, setting->name, stmt) : PV_OK;
}

/* SHOW ALL as a query over the settings that a client may see. */
enum pv_status
pv_judge_show_all(struct pv_trial *trial, Node **stmt)
{
    static const char text[] = "SELECT name, setting, short_desc AS description FROM pg_catalog.pg_settings";
    struct pv_sql *sql = NULL;
    enum pv_status status = pv_sql_parse(pv_slice_cstr(text), &pv_sql_limits_default, &sql, NULL);

    if (status == PV_OK)
        status = pv_sql_copy(trial->sql, pv_sql_stmt(sql, 0), stmt);
    pv_sql_free(sql);
    return status == PV_OK ? pv_judge_select(trial, stmt) : status;
}

/* ---- cursors ------------------------------------------------------------------------------ */

static enum pv_status
judge_declare(struct pv_trial *trial, DeclareCursorStmt *stmt)
{
    enum pv_status status;

    pv_note_statement(trial, PV_KIND_DECLARE, stmt->portalname);
    if (!IsA(stmt->query, SelectStmt))
        return pv_deny_kind(trial, stmt->query);
    status = pv_judge_select(trial, &stmt->query);
    trial->decision->kind = PV_KIND_DECLARE;
    return status;
}

/* ---- COPY, EXPLAIN, the rest --------------------------------------------------------------- */

static enum pv_status
deny_copy(struct pv_trial *trial, const char *words)
{
    enum pv_status status = pv_deny_question(trial, PV_REASON_STATEMENT_KIND, -1, "%s", words);

    trial->decision->kind = PV_KIND_OTHER;
    pv_deny_hint(trial, "COPY (SELECT * FROM questions.NAME) TO STDOUT");
    return status;
}

static enum pv_status
judge_copy(struct pv_trial *trial, CopyStmt *stmt)
{
    static const char *const options[] = {"format", "delimiter", "null",        "header",
                                          "quote",  "escape",    "force_quote", "encoding"};
    ListCell *cell;

    pv_note_statement(trial, PV_KIND_COPY_OUT, NULL);
    if (stmt->is_from || stmt->is_program || stmt->filename != NULL)
        return deny_copy(trial, "Only COPY (question) TO STDOUT is allowed.");
    if (stmt->query == NULL || !IsA(stmt->query, SelectStmt))
        return deny_copy(trial, "COPY of a relation reads all of it: only COPY (question) TO STDOUT is allowed.");
    foreach (cell, stmt->options) {
        const DefElem *option = lfirst(cell);
        bool is_known = false;

        for (size_t i = 0; i < PV_COUNT_OF(options); i++)
            is_known |= strcmp(option->defname, options[i]) == 0;
        if (is_known && strcmp(option->defname, "encoding") == 0)
            is_known = option->arg != NULL && IsA(option->arg, String) &&
                       (strcasecmp(strVal(option->arg), "utf8") == 0 || strcasecmp(strVal(option->arg), "utf-8") == 0);
        if (!is_known)
            return pv_deny_question(trial, PV_REASON_CLAUSE, option->location, "COPY option \"%s\" is not allowed.",
                                    option->defname);
    }
    {
        enum pv_status status = pv_judge_select(trial, &stmt->query);

        trial->decision->kind = PV_KIND_COPY_OUT;
        return status;
    }
}

enum pv_status
pv_judge_utility(struct pv_trial *trial, Node **stmt)
{
    switch ((int) nodeTag(*stmt)) {
    case T_TransactionStmt:
        return judge_transaction(trial, (TransactionStmt *) *stmt);
    case T_VariableSetStmt:
        return judge_set(trial, (VariableSetStmt *) *stmt);
    case T_VariableShowStmt:
        return judge_show(trial, stmt);
    case T_PrepareStmt:
        return pv_judge_prepare(trial, (PrepareStmt *) *stmt);
    case T_ExecuteStmt:
        return pv_judge_execute(trial, (ExecuteStmt *) *stmt);
    case T_DeallocateStmt:
        pv_note_statement(trial, ((DeallocateStmt *) *stmt)->name == NULL ? PV_KIND_DEALLOCATE_ALL : PV_KIND_DEALLOCATE,
                          ((DeallocateStmt *) *stmt)->name);
        return PV_OK;
    case T_DeclareCursorStmt:
        return judge_declare(trial, (DeclareCursorStmt *) *stmt);
    case T_FetchStmt:
        pv_note_statement(trial, ((FetchStmt *) *stmt)->ismove ? PV_KIND_MOVE : PV_KIND_FETCH,
                          ((FetchStmt *) *stmt)->portalname);
        return PV_OK;
    case T_ClosePortalStmt:
        pv_note_statement(trial, ((ClosePortalStmt *) *stmt)->portalname == NULL ? PV_KIND_CLOSE_ALL : PV_KIND_CLOSE,
                          ((ClosePortalStmt *) *stmt)->portalname);
        return PV_OK;
    case T_DiscardStmt:
        pv_note_statement(
            trial, ((DiscardStmt *) *stmt)->target == DISCARD_ALL ? PV_KIND_DISCARD_ALL : PV_KIND_DISCARD_OTHER, NULL);
        return PV_OK;
    case T_UnlistenStmt:
        pv_note_statement(trial, PV_KIND_UNLISTEN, ((UnlistenStmt *) *stmt)->conditionname);
        return PV_OK;
    case T_CopyStmt:
        return judge_copy(trial, (CopyStmt *) *stmt);
    case T_ExplainStmt: {
        enum pv_status status = pv_deny_kind(trial, *stmt);

        trial->decision->kind = PV_KIND_EXPLAIN;
        pv_deny_detail(trial, "EXPLAIN would tell sizes and values of protected data.");
        return status;
    }
    default:
        return pv_deny_kind(trial, *stmt);
    }
}
