/*
 * For this folder alone: memory contexts, below pv_sql.
 */
#ifndef PV_PARSE_INT_H
#define PV_PARSE_INT_H

#include "parser/parse.h"

/* A context that belongs to no thread. PV_NOMEM. */
enum pv_status pv_context_new(MemoryContext *out) PV_MUST_CHECK;
void pv_context_free(MemoryContext context);
/* Makes it current and gives the one before. */
MemoryContext pv_context_enter(MemoryContext context);

#endif
