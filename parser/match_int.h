/* For match.c and match_form.c: the names of a statement's output columns. */
#ifndef PV_MATCH_INT_H
#define PV_MATCH_INT_H

#include "parser/match.h"

/* How many the statement's first leaf has; 0 for VALUES and other statements. */
size_t pv_match_output_count(const Node *stmt);
/* Explicit or implied; NULL: none. */
const char *pv_match_output_at(const Node *stmt, size_t index);

#endif
