/*
 * Edits on a tree: replacing nodes wherever they stand, and making the few kinds of
 * node that edits need. Makers allocate in the current context (pv_sql_enter) and throw when
 * memory runs out: call inside pv_sql_guard. Texts are copied.
 */
#ifndef PV_REWRITE_H
#define PV_REWRITE_H

#include "parser/parse.h"

/*
 * Gives what shall stand in place of `node` (itself: unchanged), and whether the children of
 * that are visited too. Called for a parent before its children; inside pv_sql_guard.
 */
typedef Node *(*pv_tree_edit)(void *context, Node *node, bool *is_entered);

/*
 * Visits every node of the kinds of nodes.h (names and aliases left out) and puts the replacement in its
 * place. Throws out of memory as palloc does. Kinds that nodes.h does not list are not entered.
 */
void pv_tree_mutate(Node **root, pv_tree_edit edit, void *context);

Node *pv_make_string(const char *text);                 /* 'text' */
Node *pv_make_integer(int64_t value);
Node *pv_make_null(void);
Node *pv_make_cast(Node *arg, TypeName *type);          /* type is shared, not copied */
Node *pv_make_type_cast(Node *arg, const char *type);   /* pg_catalog.type */
Node *pv_make_column(const char *relation, const char *column); /* relation NULL: column alone */
Node *pv_make_star(void);
Node *pv_make_param(int number);
FuncCall *pv_make_call(const char *schema, const char *name, List *args);
Node *pv_make_case(Node *when, Node *then, Node *otherwise);
Node *pv_make_and(Node *left, Node *right); /* left NULL: the right one alone; one AND of all, as the parser has it */
Node *pv_make_operator(const char *name, Node *left, Node *right);
ResTarget *pv_make_target(const char *name, Node *value);
Alias *pv_make_alias(const char *name, List *columns); /* columns: of String, or NIL */
SelectStmt *pv_make_select(List *targets, List *from, Node *where);
Node *pv_make_subselect(SelectStmt *query, Alias *alias);

#endif
