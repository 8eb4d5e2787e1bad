/*
 * COPY (query) TO STDOUT, in both spellings of its options: the tree tells them apart
 * (HEADER alone is a Boolean, `header true` a String), and the check wants the same tree back.
 */
#include "parser/print_int.h"

#include <string.h>

static void
put(struct pv_printer *p, const char *text)
{
    pv_buf_put_text(p->buf, text);
}

static bool
is_old_style(const List *options)
{
    for (int i = 0; i < list_length(options); i++) {
        const DefElem *option = list_nth(options, i);

        if (option->arg != NULL && IsA(option->arg, Boolean))
            return true;
    }
    return false;
}

static void
print_word_list(struct pv_printer *p, const List *words)
{
    for (int i = 0; i < list_length(words); i++) {
        const char *word = pv_print_word(list_nth(words, i));

        put(p, i > 0 ? ", " : "");
        if (word == NULL)
            pv_print_deny(p, "COPY option");
        else
            pv_sql_quote_literal(p->buf, word);
    }
}

static void
print_option(struct pv_printer *p, const DefElem *option)
{
    const Node *arg = option->arg;

    pv_sql_quote_identifier(p->buf, option->defname);
    if (arg == NULL)
        return;
    put(p, " ");
    if (pv_print_word(arg) != NULL) {
        pv_sql_quote_literal(p->buf, pv_print_word(arg));
    } else if (IsA(arg, Integer)) {
        pv_buf_put_decimal(p->buf, ((const Integer *) arg)->ival);
    } else if (IsA(arg, A_Star)) {
        put(p, "*");
    } else if (IsA(arg, List)) {
        put(p, "(");
        print_word_list(p, (const List *) arg);
        put(p, ")");
    } else {
        pv_print_deny(p, "COPY option");
    }
}

static void
print_old_option(struct pv_printer *p, const DefElem *option)
{
    static const char *const words[] = {"delimiter", "null", "quote", "escape", "encoding"};
    static const char *const printed[] = {"DELIMITER ", "NULL ", "QUOTE ", "ESCAPE ", "ENCODING "};
    const Node *arg = option->arg;

    for (size_t i = 0; i < PV_COUNT_OF(words); i++) {
        if (strcmp(option->defname, words[i]) == 0 && pv_print_word(arg) != NULL) {
            put(p, printed[i]);
            pv_sql_quote_literal(p->buf, pv_print_word(arg));
            return;
        }
    }
    if (strcmp(option->defname, "format") == 0 && pv_print_word(arg) != NULL &&
        (strcmp(pv_print_word(arg), "csv") == 0 || strcmp(pv_print_word(arg), "binary") == 0))
        put(p, strcmp(pv_print_word(arg), "csv") == 0 ? "CSV" : "BINARY");
    else if (strcmp(option->defname, "header") == 0 && arg != NULL && IsA(arg, Boolean))
        put(p, "HEADER");
    else if (strcmp(option->defname, "force_quote") == 0 && arg != NULL && IsA(arg, A_Star))
        put(p, "FORCE QUOTE *");
    else
        pv_print_deny(p, "COPY option");
}

void
pv_print_copy(struct pv_printer *p, const CopyStmt *stmt)
{
    bool old_style = is_old_style(stmt->options);

    if (stmt->query == NULL || !IsA(stmt->query, SelectStmt) || stmt->relation != NULL || stmt->is_from ||
        stmt->is_program || stmt->filename != NULL || stmt->attlist != NIL || stmt->whereClause != NULL) {
        pv_print_deny(p, "COPY other than COPY (SELECT …) TO STDOUT");
        return;
    }
    put(p, "COPY (");
    pv_print_select(p, (const SelectStmt *) stmt->query);
    put(p, ") TO STDOUT");
    put(p, stmt->options == NIL ? "" : old_style ? " WITH " : " WITH (");
    for (int i = 0; i < list_length(stmt->options); i++) {
        const DefElem *option = list_nth(stmt->options, i);

        if (option->defname == NULL) {
            pv_print_deny(p, "COPY option");
            return;
        }
        if (i > 0)
            put(p, old_style ? " " : ", ");
        if (old_style)
            print_old_option(p, option);
        else
            print_option(p, option);
    }
    put(p, stmt->options == NIL || old_style ? "" : ")");
}
