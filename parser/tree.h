/*
 * The PostgreSQL 15 node headers, as the one dialect that the parser and the
 * policy know. Only parser/ and policy/ include this. Three things are put right:
 *
 * - port.h renames the printf family, strerror and others; the names are given back.
 * - libpg_query keeps PostgreSQL's globals thread-local, while these headers declare
 *   them plain. CurrentMemoryContext and PG_exception_stack must therefore not be
 *   touched by name: use pv_sql_enter and pv_sql_guard (parse.h). makeNode is
 *   redefined here to go through the library's own palloc0.
 * - libpg_query numbers LimitOption otherwise (its default comes first); macros of the
 *   enumerators' names give its values.
 */
#ifndef PV_TREE_H
#define PV_TREE_H

#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodes.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "nodes/primnodes.h"
#include "nodes/value.h"

#undef vsnprintf
#undef snprintf
#undef vsprintf
#undef sprintf
#undef vfprintf
#undef fprintf
#undef vprintf
#undef printf
#undef strerror
#undef strerror_r
#undef qsort
#undef gettext
#undef Min
#undef Max
#undef Abs

#define LIMIT_OPTION_DEFAULT ((LimitOption) 0)
#define LIMIT_OPTION_COUNT ((LimitOption) 1)
#define LIMIT_OPTION_WITH_TIES ((LimitOption) 2)

#undef makeNode
#undef newNode
#define makeNode(kind) ((kind *) pv_tree_new(sizeof(kind), T_##kind))

static inline void *
pv_tree_new(Size size, NodeTag tag)
{
    Node *node = (Node *) palloc0(size);

    node->type = tag;
    return node;
}

#endif
