/*
 * Text to PostgreSQL's own parse tree, inside limits. libpg_query's native parser
 * is used, never its protobuf forms (they recurse without a bound).
 *
 * Memory: each pv_sql owns one memory context; all nodes of its trees live there
 * and go with pv_sql_free. A pv_sql may be read by several threads at a time and
 * freed by any, as long as nobody builds nodes in it meanwhile. A thread that parses
 * takes one pthread key for the life of the process, so parse on fixed threads only,
 * with PV_PARSE_STACK_BYTES of stack.
 */
#ifndef PV_PARSE_H
#define PV_PARSE_H

#include "parser/tree.h"
#include "proxy/base/base.h"

struct pv_sql_limits {
    size_t bytes_max;        /* of the text, before anything reads it */
    unsigned statements_max; /* in one text */
    unsigned nodes_max;      /* of one statement */
    unsigned depth_max;      /* nested nodes, chains left out */
    unsigned chain_max;      /* left-deep operator chains such as a + b + c along one path */
};

/* The values of limits.h. */
extern const struct pv_sql_limits pv_sql_limits_default;

struct pv_sql_error {
    char sqlstate[6];
    char message[512]; /* worded as PostgreSQL words it; cut at a whole character */
    int position;      /* 1-based, in characters, as in an ErrorResponse's P field; 0: none */
    char detail[256], hint[256]; /* "": none */
};

struct pv_sql;

/*
 * PV_LIMIT (bytes, statements, nodes), PV_INVALID (not UTF-8, or a NUL; 22021), PV_SYNTAX, PV_DEPTH,
 * PV_NOMEM, PV_INTERNAL; `err` (may be NULL) is filled whenever it is not PV_OK. The text is copied.
 * An empty text gives no statements. Only kinds of nodes.h are entered for counting: others are
 * leaves here, and a denial for whoever walks them.
 */
enum pv_status pv_sql_parse(struct pv_slice text, const struct pv_sql_limits *limits, struct pv_sql **out,
                            struct pv_sql_error *err) PV_MUST_CHECK;

/* No text, no statements: a place to build trees in. */
enum pv_status pv_sql_new_empty(struct pv_sql **out) PV_MUST_CHECK;
void pv_sql_free(struct pv_sql *sql); /* NULL is fine */

unsigned pv_sql_count(const struct pv_sql *sql);
Node *pv_sql_stmt(const struct pv_sql *sql, unsigned index);           /* without its RawStmt; lives as long as sql */
/*
 * Every statement holds only kinds and fields that nodes.h admits, within the limits of the parse: pv_tree_walk of it, or of a
 * part of it, as long as nobody has edited it, is PV_OK.
 */
bool pv_sql_is_known(const struct pv_sql *sql);
struct pv_slice pv_sql_text(const struct pv_sql *sql, unsigned index); /* verbatim, outer white space off; borrows */

/*
 * Between these, makeNode, copyObject and the list functions allocate in `sql`. Nests; give back
 * what enter gave. What allocates can throw: use inside pv_sql_guard.
 */
MemoryContext pv_sql_enter(struct pv_sql *sql);
void pv_sql_leave(MemoryContext before);

/*
 * Runs fn(arg) so that an error that PostgreSQL code throws (out of memory) becomes a status
 * instead of an abort; afterwards the memory context is the one that was current before. fn must
 * not hold what only it can free when it calls something that throws. Nests.
 */
enum pv_status pv_sql_guard(void (*fn)(void *arg), void *arg, struct pv_sql_error *err) PV_MUST_CHECK;

/* copyObject of a tree into `sql`, guarded. The tree must have passed the limits. */
enum pv_status pv_sql_copy(struct pv_sql *sql, const Node *tree, Node **out) PV_MUST_CHECK;

/* A type's name alone, such as `numeric(10,2)[]`, to its TypeName; errors as pv_sql_parse. */
enum pv_status pv_sql_parse_type(struct pv_slice text, struct pv_sql **out, TypeName **type,
                                 struct pv_sql_error *err) PV_MUST_CHECK;

/* Fills err with a status of ours; for those who refuse a tree. */
void pv_sql_error_set(struct pv_sql_error *err, const char *sqlstate, int position, const char *format, ...)
    PV_PRINTF(4, 5);

#endif
