/*
 * Operators and what the grammar writes like them.
 */
#include "parser/print_int.h"

#include <string.h>

static void
put(struct pv_printer *p, const char *text)
{
    pv_buf_put_text(p->buf, text);
}

/* Characters of operators, as the scanner's `operator` class. */
static bool
is_operator(const char *name)
{
    return name != NULL && name[0] != '\0' && name[strspn(name, "+-*/<>=~!@#%^&|`?")] == '\0';
}

static void
print_qualified_operator(struct pv_printer *p, const List *name)
{
    int last = list_length(name) - 1;

    put(p, "OPERATOR(");
    for (int i = 0; i < last; i++) {
        const char *word = pv_print_word(list_nth(name, i));

        if (word == NULL)
            pv_print_deny(p, "operator name");
        else
            pv_sql_quote_identifier(p->buf, word);
        put(p, ".");
    }
    put(p, pv_print_word(list_nth(name, last)));
    put(p, ")");
}

void
pv_print_operator(struct pv_printer *p, const List *name)
{
    const char *symbol = name == NIL ? NULL : pv_print_word(llast(name));

    if (!is_operator(symbol)) {
        pv_print_deny(p, "operator name");
        return;
    }
    if (list_length(name) > 1)
        print_qualified_operator(p, name);
    else
        put(p, symbol);
}

/* Operators of one class and none of another may stand side by side without parentheses: each class is %left. */
enum chain { CHAIN_NONE, CHAIN_SUM, CHAIN_PRODUCT, CHAIN_POWER, CHAIN_OTHER };

static enum chain
chain_of(const A_Expr *expr)
{
    const char *symbol = expr->name == NIL ? NULL : pv_print_word(llast(expr->name));

    if (expr->kind != AEXPR_OP || expr->lexpr == NULL || !is_operator(symbol))
        return CHAIN_NONE;
    if (list_length(expr->name) > 1)
        return CHAIN_OTHER;
    if (strcmp(symbol, "+") == 0 || strcmp(symbol, "-") == 0)
        return CHAIN_SUM;
    if (strcmp(symbol, "*") == 0 || strcmp(symbol, "/") == 0 || strcmp(symbol, "%") == 0)
        return CHAIN_PRODUCT;
    if (strcmp(symbol, "^") == 0)
        return CHAIN_POWER;
    if (strcmp(symbol, "<") == 0 || strcmp(symbol, ">") == 0 || strcmp(symbol, "=") == 0 || strcmp(symbol, "<=") == 0 ||
        strcmp(symbol, ">=") == 0 || strcmp(symbol, "<>") == 0)
        return CHAIN_NONE;
    return CHAIN_OTHER;
}

/* The operation without its outer parentheses; recurses with a small frame down the left of a chain. */
static void
print_operation(struct pv_printer *p, const A_Expr *expr)
{
    enum chain chain = chain_of(expr);

    if (chain != CHAIN_NONE && IsA(expr->lexpr, A_Expr) && chain_of((const A_Expr *) expr->lexpr) == chain)
        print_operation(p, (const A_Expr *) expr->lexpr);
    else
        pv_print_expr(p, expr->lexpr);
    put(p, " ");
    pv_print_operator(p, expr->name);
    put(p, " ");
    pv_print_expr(p, expr->rexpr);
}

/*
 * Before its operand. The grammar knows + and - here (and folds - into a constant) and words of the
 * generic class; anything else was written OPERATOR(…).
 */
static void
print_prefix(struct pv_printer *p, const A_Expr *expr)
{
    const char *symbol = expr->name == NIL ? NULL : pv_print_word(llast(expr->name));
    bool folds = symbol != NULL && strcmp(symbol, "-") == 0 && expr->rexpr != NULL && IsA(expr->rexpr, A_Const);
    bool special =
        symbol != NULL &&
        (strcmp(symbol, "*") == 0 || strcmp(symbol, "/") == 0 || strcmp(symbol, "%") == 0 || strcmp(symbol, "^") == 0 ||
         strcmp(symbol, "<") == 0 || strcmp(symbol, ">") == 0 || strcmp(symbol, "=") == 0 ||
         strcmp(symbol, "<=") == 0 || strcmp(symbol, ">=") == 0 || strcmp(symbol, "<>") == 0);

    if (!is_operator(symbol))
        pv_print_deny(p, "operator name");
    else if (folds || special)
        print_qualified_operator(p, expr->name);
    else
        pv_print_operator(p, expr->name);
    put(p, " ");
    pv_print_expr(p, expr->rexpr);
}

static bool
name_is(const List *name, const char *word)
{
    const char *text = list_length(name) == 1 ? pv_print_word(linitial(name)) : NULL;

    return text != NULL && strcmp(text, word) == 0;
}

/* `words` when the operator's name is the plain one, `not_words` when the negated one. */
static void
print_named(struct pv_printer *p, const A_Expr *expr, const char *plain, const char *words, const char *negated,
            const char *not_words)
{
    pv_print_expr(p, expr->lexpr);
    if (name_is(expr->name, plain))
        put(p, words);
    else if (negated != NULL && name_is(expr->name, negated))
        put(p, not_words);
    else
        pv_print_deny(p, "A_Expr.name");
}

static void
print_between(struct pv_printer *p, const A_Expr *expr, const char *words)
{
    const List *bounds = (const List *) expr->rexpr;

    if (bounds == NULL || !IsA(bounds, List) || list_length(bounds) != 2) {
        pv_print_deny(p, "A_Expr.rexpr");
        return;
    }
    pv_print_expr(p, expr->lexpr);
    put(p, words);
    pv_print_expr(p, linitial(bounds));
    put(p, " AND ");
    pv_print_expr(p, lsecond(bounds));
}

static bool
ends_with(const List *name, const char *word)
{
    const char *text = pv_print_word(llast(name));

    return text != NULL && strcmp(text, word) == 0;
}

/* The grammar wraps the pattern of SIMILAR TO in a call; it is taken off here. */
static void
print_similar(struct pv_printer *p, const A_Expr *expr)
{
    const FuncCall *call = (const FuncCall *) expr->rexpr;

    if (call == NULL || !IsA(call, FuncCall) || list_length(call->funcname) != 2 || list_length(call->args) < 1 ||
        list_length(call->args) > 2 || !ends_with(call->funcname, "similar_to_escape")) {
        pv_print_deny(p, "A_Expr.rexpr");
        return;
    }
    print_named(p, expr, "~", " SIMILAR TO ", "!~", " NOT SIMILAR TO ");
    pv_print_expr(p, linitial(call->args));
    if (list_length(call->args) == 2) {
        put(p, " ESCAPE ");
        pv_print_expr(p, lsecond(call->args));
    }
}

static void
print_in(struct pv_printer *p, const A_Expr *expr)
{
    const List *values = (const List *) expr->rexpr;

    if (values == NULL || !IsA(values, List) || values->length == 0) {
        pv_print_deny(p, "A_Expr.rexpr");
        return;
    }
    print_named(p, expr, "=", " IN (", "<>", " NOT IN (");
    pv_print_exprs(p, values);
    put(p, ")");
}

static void
print_any_all(struct pv_printer *p, const A_Expr *expr, const char *words)
{
    pv_print_expr(p, expr->lexpr);
    put(p, " ");
    pv_print_operator(p, expr->name);
    put(p, words);
    pv_print_expr(p, expr->rexpr);
    put(p, ")");
}

/* Inside the parentheses of an A_Expr. */
static void
print_a_expr_body(struct pv_printer *p, const A_Expr *expr)
{
    switch (expr->kind) {
    case AEXPR_OP:
        if (expr->lexpr == NULL)
            print_prefix(p, expr);
        else
            print_operation(p, expr);
        break;
    case AEXPR_OP_ANY:
        print_any_all(p, expr, " ANY (");
        break;
    case AEXPR_OP_ALL:
        print_any_all(p, expr, " ALL (");
        break;
    case AEXPR_DISTINCT:
        print_named(p, expr, "=", " IS DISTINCT FROM ", NULL, NULL);
        pv_print_expr(p, expr->rexpr);
        break;
    case AEXPR_NOT_DISTINCT:
        print_named(p, expr, "=", " IS NOT DISTINCT FROM ", NULL, NULL);
        pv_print_expr(p, expr->rexpr);
        break;
    case AEXPR_IN:
        print_in(p, expr);
        break;
    case AEXPR_LIKE:
        print_named(p, expr, "~~", " LIKE ", "!~~", " NOT LIKE ");
        pv_print_expr(p, expr->rexpr);
        break;
    case AEXPR_ILIKE:
        print_named(p, expr, "~~*", " ILIKE ", "!~~*", " NOT ILIKE ");
        pv_print_expr(p, expr->rexpr);
        break;
    case AEXPR_SIMILAR:
        print_similar(p, expr);
        break;
    case AEXPR_BETWEEN:
        print_between(p, expr, " BETWEEN ");
        break;
    case AEXPR_NOT_BETWEEN:
        print_between(p, expr, " NOT BETWEEN ");
        break;
    case AEXPR_BETWEEN_SYM:
        print_between(p, expr, " BETWEEN SYMMETRIC ");
        break;
    case AEXPR_NOT_BETWEEN_SYM:
        print_between(p, expr, " NOT BETWEEN SYMMETRIC ");
        break;
    case AEXPR_NULLIF:
        pv_print_deny(p, "A_Expr.kind");
        break;
    }
}

void
pv_print_a_expr(struct pv_printer *p, const A_Expr *expr)
{
    if (expr->kind == AEXPR_NULLIF) {
        put(p, "NULLIF(");
        pv_print_expr(p, expr->lexpr);
        put(p, ", ");
        pv_print_expr(p, expr->rexpr);
        put(p, ")");
        return;
    }
    put(p, "(");
    print_a_expr_body(p, expr);
    put(p, ")");
}
