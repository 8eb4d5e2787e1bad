/*
 * For this folder alone: memory contexts, below pv_sql; a parse for comparing.
 */
#ifndef PV_PARSE_INT_H
#define PV_PARSE_INT_H

#include "parser/parse.h"

/* A context that belongs to no thread. PV_NOMEM. */
enum pv_status pv_context_new(MemoryContext *out) PV_MUST_CHECK;
void pv_context_free(MemoryContext context);
/* Makes it current and gives the one before. */
MemoryContext pv_context_enter(MemoryContext context);

/* Of a text that a tree within the limits was printed to, to be compared with it: its own trees are not walked. */
enum pv_status pv_sql_parse_printed(struct pv_slice text, size_t bytes_max, struct pv_sql **out) PV_MUST_CHECK;

#endif
