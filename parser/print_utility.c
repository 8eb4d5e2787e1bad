/*
 * The statements beside SELECT that a session may send on.
 */
#include "parser/print_int.h"

#include <string.h>

static void
put(struct pv_printer *p, const char *text)
{
    pv_buf_put_text(p->buf, text);
}

static void
put_name(struct pv_printer *p, const char *name)
{
    if (name == NULL)
        pv_print_deny(p, "missing name");
    else
        pv_sql_quote_identifier(p->buf, name);
}

static bool
text_is(const char *a, const char *b)
{
    return a != NULL && strcmp(a, b) == 0;
}

static const A_Const *
const_arg(struct pv_printer *p, const DefElem *option, NodeTag tag)
{
    const A_Const *value = (const A_Const *) option->arg;

    if (value != NULL && IsA(value, A_Const) && !value->isnull && nodeTag(&value->val.node) == tag)
        return value;
    pv_print_deny(p, "transaction mode");
    return NULL;
}

static void
print_isolation(struct pv_printer *p, const DefElem *option)
{
    static const char *const levels[][2] = {{"read uncommitted", "READ UNCOMMITTED"},
                                            {"read committed", "READ COMMITTED"},
                                            {"repeatable read", "REPEATABLE READ"},
                                            {"serializable", "SERIALIZABLE"}};
    const A_Const *value = const_arg(p, option, T_String);

    for (size_t i = 0; value != NULL && i < PV_COUNT_OF(levels); i++) {
        if (text_is(value->val.sval.sval, levels[i][0])) {
            put(p, "ISOLATION LEVEL ");
            put(p, levels[i][1]);
            return;
        }
    }
    pv_print_deny(p, "transaction mode");
}

static void
print_modes(struct pv_printer *p, const List *options)
{
    for (int i = 0; i < list_length(options); i++) {
        const DefElem *option = list_nth(options, i);
        const A_Const *value;

        put(p, i > 0 ? ", " : " ");
        if (!IsA(option, DefElem)) {
            pv_print_deny(p, "transaction mode");
        } else if (text_is(option->defname, "transaction_isolation")) {
            print_isolation(p, option);
        } else if (text_is(option->defname, "transaction_read_only")) {
            value = const_arg(p, option, T_Integer);
            put(p, value != NULL && value->val.ival.ival != 0 ? "READ ONLY" : "READ WRITE");
        } else if (text_is(option->defname, "transaction_deferrable")) {
            value = const_arg(p, option, T_Integer);
            put(p, value != NULL && value->val.ival.ival != 0 ? "DEFERRABLE" : "NOT DEFERRABLE");
        } else {
            pv_print_deny(p, "transaction mode");
        }
    }
}

static void
print_transaction(struct pv_printer *p, const TransactionStmt *stmt)
{
    switch (stmt->kind) {
    case TRANS_STMT_BEGIN:
        put(p, "BEGIN");
        print_modes(p, stmt->options);
        break;
    case TRANS_STMT_START:
        put(p, "START TRANSACTION");
        print_modes(p, stmt->options);
        break;
    case TRANS_STMT_COMMIT:
        put(p, stmt->chain ? "COMMIT AND CHAIN" : "COMMIT");
        break;
    case TRANS_STMT_ROLLBACK:
        put(p, stmt->chain ? "ROLLBACK AND CHAIN" : "ROLLBACK");
        break;
    case TRANS_STMT_SAVEPOINT:
        put(p, "SAVEPOINT ");
        put_name(p, stmt->savepoint_name);
        break;
    case TRANS_STMT_RELEASE:
        put(p, "RELEASE ");
        put_name(p, stmt->savepoint_name);
        break;
    case TRANS_STMT_ROLLBACK_TO:
        put(p, "ROLLBACK TO ");
        put_name(p, stmt->savepoint_name);
        break;
    case TRANS_STMT_PREPARE:
    case TRANS_STMT_COMMIT_PREPARED:
    case TRANS_STMT_ROLLBACK_PREPARED:
        pv_print_deny(p, "two-phase commit");
        break;
    }
}

/* A setting's name is kept as one string; a dot in it parts two words. */
static void
print_setting_name(struct pv_printer *p, const char *name)
{
    if (name == NULL || name[0] == '\0' || strlen(name) > 1000) {
        pv_print_deny(p, "setting name");
        return;
    }
    while (*name != '\0') {
        char word[1024];
        size_t len = strcspn(name, ".");

        if (len == 0) {
            pv_print_deny(p, "setting name");
            return;
        }
        memcpy(word, name, len);
        word[len] = '\0';
        pv_sql_quote_identifier(p->buf, word);
        name += len;
        if (*name == '.') {
            put(p, ".");
            name++;
            if (*name == '\0')
                pv_print_deny(p, "setting name");
        }
    }
}

static void
print_setting_value(struct pv_printer *p, const Node *node)
{
    const A_Const *value = (const A_Const *) node;

    if (value == NULL || !IsA(value, A_Const) || value->isnull)
        pv_print_deny(p, "setting value");
    else if (IsA(&value->val.node, String))
        pv_sql_quote_literal(p->buf, value->val.sval.sval);
    else
        pv_print_number(p, value);
}

/* SET TIME ZONE INTERVAL '…' [HOUR TO MINUTE]: the one setting whose value is a cast. */
static void
print_time_zone(struct pv_printer *p, const TypeCast *cast)
{
    const TypeName *type = cast->typeName;
    const A_Const *mask = list_length(type->typmods) == 1 ? linitial(type->typmods) : NULL;
    const int hour = 1 << 10;   /* utils/datetime.h, HOUR */
    const int minute = 1 << 11; /* the same, MINUTE */

    put(p, "TIME ZONE INTERVAL ");
    print_setting_value(p, cast->arg);
    if (type->typmods == NIL)
        return;
    if (mask == NULL || !IsA(mask, A_Const) || mask->isnull || !IsA(&mask->val.node, Integer))
        pv_print_deny(p, "time zone interval");
    else if (mask->val.ival.ival == (hour | minute))
        put(p, " HOUR TO MINUTE");
    else if (mask->val.ival.ival == hour)
        put(p, " HOUR");
    else
        pv_print_deny(p, "time zone interval");
}

static void
print_set_value(struct pv_printer *p, const VariableSetStmt *stmt)
{
    if (stmt->args == NIL) {
        pv_print_deny(p, "setting value");
        return;
    }
    if (IsA(linitial(stmt->args), TypeCast)) {
        if (list_length(stmt->args) != 1 || !text_is(stmt->name, "timezone"))
            pv_print_deny(p, "setting value");
        print_time_zone(p, linitial(stmt->args));
        return;
    }
    print_setting_name(p, stmt->name);
    for (int i = 0; i < list_length(stmt->args); i++) {
        put(p, i > 0 ? ", " : " TO ");
        print_setting_value(p, list_nth(stmt->args, i));
    }
}

static void
print_set_multi(struct pv_printer *p, const VariableSetStmt *stmt)
{
    if (text_is(stmt->name, "TRANSACTION")) {
        put(p, "TRANSACTION");
        print_modes(p, stmt->args);
    } else if (text_is(stmt->name, "SESSION CHARACTERISTICS")) {
        put(p, "SESSION CHARACTERISTICS AS TRANSACTION");
        print_modes(p, stmt->args);
    } else {
        pv_print_deny(p, "SET TRANSACTION SNAPSHOT");
    }
}

static void
print_set(struct pv_printer *p, const VariableSetStmt *stmt)
{
    switch (stmt->kind) {
    case VAR_SET_VALUE:
        put(p, stmt->is_local ? "SET LOCAL " : "SET ");
        print_set_value(p, stmt);
        break;
    case VAR_SET_DEFAULT:
        put(p, stmt->is_local ? "SET LOCAL " : "SET ");
        print_setting_name(p, stmt->name);
        put(p, " TO DEFAULT");
        break;
    case VAR_SET_MULTI:
        put(p, stmt->is_local ? "SET LOCAL " : "SET ");
        print_set_multi(p, stmt);
        break;
    case VAR_RESET:
        put(p, "RESET ");
        print_setting_name(p, stmt->name);
        break;
    case VAR_RESET_ALL:
        put(p, "RESET ALL");
        break;
    case VAR_SET_CURRENT:
        pv_print_deny(p, "SET FROM CURRENT");
        break;
    }
}

static void
print_show(struct pv_printer *p, const VariableShowStmt *stmt)
{
    put(p, "SHOW ");
    if (text_is(stmt->name, "all"))
        put(p, "ALL");
    else
        print_setting_name(p, stmt->name);
}

static void
print_query(struct pv_printer *p, const Node *query)
{
    if (query == NULL || !IsA(query, SelectStmt))
        pv_print_deny(p, "statement inside a statement");
    else
        pv_print_select(p, (const SelectStmt *) query);
}

static void
print_prepare(struct pv_printer *p, const PrepareStmt *stmt)
{
    put(p, "PREPARE ");
    put_name(p, stmt->name);
    for (int i = 0; i < list_length(stmt->argtypes); i++) {
        put(p, i > 0 ? ", " : " (");
        pv_print_type(p, list_nth(stmt->argtypes, i));
    }
    put(p, stmt->argtypes != NIL ? ") AS " : " AS ");
    print_query(p, stmt->query);
}

static void
print_execute(struct pv_printer *p, const ExecuteStmt *stmt)
{
    put(p, "EXECUTE ");
    put_name(p, stmt->name);
    if (stmt->params != NIL) {
        put(p, " (");
        pv_print_exprs(p, stmt->params);
        put(p, ")");
    }
}

static void
print_declare(struct pv_printer *p, const DeclareCursorStmt *stmt)
{
    const int known = CURSOR_OPT_BINARY | CURSOR_OPT_SCROLL | CURSOR_OPT_NO_SCROLL | CURSOR_OPT_INSENSITIVE |
                      CURSOR_OPT_ASENSITIVE | CURSOR_OPT_HOLD | CURSOR_OPT_FAST_PLAN;

    if ((stmt->options & ~known) != 0)
        pv_print_deny(p, "DeclareCursorStmt.options");
    put(p, "DECLARE ");
    put_name(p, stmt->portalname);
    put(p, (stmt->options & CURSOR_OPT_BINARY) != 0 ? " BINARY" : "");
    put(p, (stmt->options & CURSOR_OPT_INSENSITIVE) != 0 ? " INSENSITIVE" : "");
    put(p, (stmt->options & CURSOR_OPT_ASENSITIVE) != 0 ? " ASENSITIVE" : "");
    put(p, (stmt->options & CURSOR_OPT_SCROLL) != 0 ? " SCROLL" : "");
    put(p, (stmt->options & CURSOR_OPT_NO_SCROLL) != 0 ? " NO SCROLL" : "");
    put(p, (stmt->options & CURSOR_OPT_HOLD) != 0 ? " CURSOR WITH HOLD FOR " : " CURSOR FOR ");
    print_query(p, stmt->query);
}

static void
print_fetch(struct pv_printer *p, const FetchStmt *stmt)
{
    static const char *const directions[] = {
        [FETCH_FORWARD] = "FORWARD ",
        [FETCH_BACKWARD] = "BACKWARD ",
        [FETCH_ABSOLUTE] = "ABSOLUTE ",
        [FETCH_RELATIVE] = "RELATIVE ",
    };

    if ((size_t) stmt->direction >= PV_COUNT_OF(directions)) {
        pv_print_deny(p, "FetchStmt.direction");
        return;
    }
    put(p, stmt->ismove ? "MOVE " : "FETCH ");
    put(p, directions[stmt->direction]);
    if (stmt->howMany == FETCH_ALL)
        put(p, "ALL");
    else
        pv_buf_put_decimal(p->buf, stmt->howMany);
    put(p, " FROM ");
    put_name(p, stmt->portalname);
}

static void
print_explain(struct pv_printer *p, const ExplainStmt *stmt)
{
    put(p, "EXPLAIN ");
    for (int i = 0; i < list_length(stmt->options); i++) {
        const DefElem *option = list_nth(stmt->options, i);

        put(p, i > 0 ? ", " : "(");
        put_name(p, option->defname);
        if (option->arg == NULL)
            continue;
        put(p, " ");
        if (pv_print_word(option->arg) != NULL)
            pv_sql_quote_literal(p->buf, pv_print_word(option->arg));
        else if (IsA(option->arg, Integer))
            pv_buf_put_decimal(p->buf, ((const Integer *) option->arg)->ival);
        else
            pv_print_deny(p, "EXPLAIN option");
    }
    put(p, stmt->options != NIL ? ") " : "");
    if (stmt->query != NULL && IsA(stmt->query, ExecuteStmt))
        print_execute(p, (const ExecuteStmt *) stmt->query);
    else
        print_query(p, stmt->query);
}

static void
print_discard(struct pv_printer *p, const DiscardStmt *stmt)
{
    switch (stmt->target) {
    case DISCARD_ALL:
        put(p, "DISCARD ALL");
        break;
    case DISCARD_PLANS:
        put(p, "DISCARD PLANS");
        break;
    case DISCARD_SEQUENCES:
        put(p, "DISCARD SEQUENCES");
        break;
    case DISCARD_TEMP:
        put(p, "DISCARD TEMP");
        break;
    }
}

static void
print_named(struct pv_printer *p, const char *words, const char *name, const char *without)
{
    put(p, words);
    if (name == NULL && without != NULL)
        put(p, without);
    else
        put_name(p, name);
}

static void
print_notify(struct pv_printer *p, const NotifyStmt *stmt)
{
    print_named(p, "NOTIFY ", stmt->conditionname, NULL);
    if (stmt->payload != NULL) {
        put(p, ", ");
        pv_sql_quote_literal(p->buf, stmt->payload);
    }
}

bool
pv_print_is_utility(const Node *stmt)
{
    return IsA(stmt, TransactionStmt) || IsA(stmt, VariableSetStmt) || IsA(stmt, VariableShowStmt) ||
           IsA(stmt, PrepareStmt) || IsA(stmt, ExecuteStmt) || IsA(stmt, DeallocateStmt) ||
           IsA(stmt, DeclareCursorStmt) || IsA(stmt, FetchStmt) || IsA(stmt, ClosePortalStmt) || IsA(stmt, CopyStmt) ||
           IsA(stmt, ListenStmt) || IsA(stmt, UnlistenStmt) || IsA(stmt, NotifyStmt) || IsA(stmt, DiscardStmt) ||
           IsA(stmt, ExplainStmt);
}

void
pv_print_utility(struct pv_printer *p, const Node *stmt)
{
    if (IsA(stmt, TransactionStmt))
        print_transaction(p, (const TransactionStmt *) stmt);
    else if (IsA(stmt, VariableSetStmt))
        print_set(p, (const VariableSetStmt *) stmt);
    else if (IsA(stmt, VariableShowStmt))
        print_show(p, (const VariableShowStmt *) stmt);
    else if (IsA(stmt, PrepareStmt))
        print_prepare(p, (const PrepareStmt *) stmt);
    else if (IsA(stmt, ExecuteStmt))
        print_execute(p, (const ExecuteStmt *) stmt);
    else if (IsA(stmt, DeallocateStmt))
        print_named(p, "DEALLOCATE ", ((const DeallocateStmt *) stmt)->name, "ALL");
    else if (IsA(stmt, DeclareCursorStmt))
        print_declare(p, (const DeclareCursorStmt *) stmt);
    else if (IsA(stmt, FetchStmt))
        print_fetch(p, (const FetchStmt *) stmt);
    else if (IsA(stmt, ClosePortalStmt))
        print_named(p, "CLOSE ", ((const ClosePortalStmt *) stmt)->portalname, "ALL");
    else if (IsA(stmt, CopyStmt))
        pv_print_copy(p, (const CopyStmt *) stmt);
    else if (IsA(stmt, ListenStmt))
        print_named(p, "LISTEN ", ((const ListenStmt *) stmt)->conditionname, NULL);
    else if (IsA(stmt, UnlistenStmt))
        print_named(p, "UNLISTEN ", ((const UnlistenStmt *) stmt)->conditionname, "*");
    else if (IsA(stmt, NotifyStmt))
        print_notify(p, (const NotifyStmt *) stmt);
    else if (IsA(stmt, DiscardStmt))
        print_discard(p, (const DiscardStmt *) stmt);
    else
        print_explain(p, (const ExplainStmt *) stmt);
}
