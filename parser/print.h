/*
 * Tree to SQL text: our own printer over the kinds of nodes.h. Every sub-expression
 * stands in parentheses, names are quoted unless they are plain lower-case words that no
 * grammar knows, strings are '…' under standard_conforming_strings = on. What it cannot print
 * exactly it refuses; nothing is printed partially.
 */
#ifndef PV_PRINT_H
#define PV_PRINT_H

#include "parser/parse.h"
#include "proxy/base/bytes.h"

/*
 * Appends. The tree must have passed the limits of depth (the printer recurses). PV_DENIED: a kind or field
 * that is not printed, named by *what (static words; may be NULL); PV_NOMEM. On failure buf is as before.
 * Prints statements, expressions, and TypeName.
 */
enum pv_status pv_print(const Node *tree, struct pv_buf *buf, const char **what) PV_MUST_CHECK;

/*
 * Prints a statement, parses the text again and compares the trees whole. PV_INTERNAL when they
 * differ: a fault of ours, and the text must not be used (it is left in `buf` for the log, without
 * having been sent). PV_DEPTH: too deep for the grammar once printed. Others as pv_print.
 */
enum pv_status pv_print_checked(const Node *stmt, struct pv_buf *buf, const char **what) PV_MUST_CHECK;

#endif
