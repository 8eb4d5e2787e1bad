/*
 * For this folder alone: the printer's pieces. Each appends; the first thing that cannot
 * be printed is remembered and the rest no longer matters.
 */
#ifndef PV_PRINT_INT_H
#define PV_PRINT_INT_H

#include "parser/print.h"
#include "parser/sqltext.h"

struct pv_printer {
    struct pv_buf *buf;
    const char *denied; /* static words; NULL while all is well */
};

void pv_print_deny(struct pv_printer *p, const char *what);
void pv_print_text(struct pv_printer *p, const char *text);

/* A self-delimited expression (the grammar's c_expr): in parentheses wherever an operator is outermost. */
void pv_print_expr(struct pv_printer *p, const Node *node);
void pv_print_exprs(struct pv_printer *p, const List *list);      /* comma between */
void pv_print_names(struct pv_printer *p, const List *names);     /* dotted, each quoted as needed */
void pv_print_name_list(struct pv_printer *p, const List *names); /* comma between */
void pv_print_a_expr(struct pv_printer *p, const A_Expr *expr);
void pv_print_operator(struct pv_printer *p, const List *name);
void pv_print_number(struct pv_printer *p, const A_Const *value); /* a sign and digits, bare */
void pv_print_type(struct pv_printer *p, const TypeName *type);
void pv_print_window(struct pv_printer *p, const WindowDef *window); /* with its parentheses */
void pv_print_order(struct pv_printer *p, const List *order);
void pv_print_call(struct pv_printer *p, const FuncCall *call);
void pv_print_sql_value(struct pv_printer *p, const SQLValueFunction *value);

void pv_print_select(struct pv_printer *p, const SelectStmt *stmt); /* bare */
void pv_print_from_item(struct pv_printer *p, const Node *item);
void pv_print_with(struct pv_printer *p, const WithClause *with);

bool pv_print_is_utility(const Node *stmt);
void pv_print_utility(struct pv_printer *p, const Node *stmt);
void pv_print_copy(struct pv_printer *p, const CopyStmt *stmt);

static inline const char *
pv_print_word(const Node *node)
{
    return node != NULL && IsA(node, String) ? ((const String *) node)->sval : NULL;
}

#endif
