/*
 * Names to what they mean: every relation, column and output name of a SELECT, at
 * every level, by PostgreSQL's own scoping rules (parse_relation.c, parse_clause.c of PostgreSQL 15 as
 * observed from outside). What it cannot resolve is an error worded as PostgreSQL words a
 * missing name, so that what a room does not hold does not seem to exist.
 *
 * The tree must have passed the limits of pv_sql_parse and hold only kinds of nodes.h. Everything made here is in
 * the arena; it points into the tree, which must outlive it and not be changed while it is asked.
 */
#ifndef PV_RESOLVE_H
#define PV_RESOLVE_H

#include "parser/parse.h"
#include "parser/relation.h"
#include "proxy/base/arena.h"

struct pv_level;

enum pv_rte_kind {
    PV_RTE_RELATION, /* data set, question or catalog relation: `relation` */
    PV_RTE_SUBQUERY, /* `level` */
    PV_RTE_CTE,      /* `level` is the WITH query's (NULL while a recursive one is being resolved) */
    PV_RTE_FUNCTION, /* set-returning functions in FROM; `relation` where it is a question with parameters */
    PV_RTE_JOIN      /* `join_columns` */
};

/* A column of something in a FROM list; PV_WHOLE_ROW as index is the row itself. */
#define PV_WHOLE_ROW UINT32_MAX
struct pv_column_at {
    struct pv_rte *rte;
    uint32_t index;
};

/* One column of a join: from the left, the right, or (USING, NATURAL) merged from both. rte NULL: not from there. */
struct pv_join_column {
    struct pv_column_at left, right;
};

struct pv_rte {
    enum pv_rte_kind kind;
    const char *alias; /* the name it goes by; NULL: a join or function without one */
    bool is_aliased;   /* alias was written, so schema.name no longer names it */
    const struct pv_relation *relation;
    struct pv_level *level;
    struct pv_level *home; /* the level in whose FROM it stands */
    const char *const *columns;
    size_t column_count;
    struct pv_join_column *join_columns;
    Node *node; /* RangeVar, RangeSubselect, RangeFunction, JoinExpr */
};

struct pv_output {
    const char *name;           /* as the client sees it */
    Node *expr;                 /* NULL when it came from a star */
    struct pv_column_at column; /* set (rte not NULL) when it came from a star */
    ResTarget *target;
};

struct pv_level {
    SelectStmt *stmt;
    struct pv_level *parent;      /* the level whose names are visible from here, or NULL */
    struct pv_level *left, *right; /* set operations */
    struct pv_rte **rtes;         /* in order of FROM, joins after their sides */
    size_t rte_count;
    struct pv_output *outputs;
    size_t output_count;
    bool is_sublink;              /* stands in an expression (EXISTS, IN, scalar) */
    bool is_thresholded;          /* free for those who edit the tree: its HAVING was seen to */
    uint32_t depth;
};

/* What a ColumnRef means: a column, or (in ORDER BY, GROUP BY, DISTINCT ON) an output of its own level. */
struct pv_reference {
    ColumnRef *ref;
    struct pv_level *level; /* where it stands */
    struct pv_column_at column;
    struct pv_level *owner; /* the level whose FROM holds the column (differs from level when correlated) */
    bool is_output;
    uint32_t output;
};

struct pv_resolution {
    struct pv_level *top;
    struct pv_level **levels; /* all, outermost first */
    size_t level_count;
    struct pv_reference *references;
    size_t reference_count;
    struct pv_rte **relations; /* RTEs of kind RELATION, and FUNCTION with a relation */
    size_t relation_count;
    bool has_recursion, has_lateral;
    /* private */
    struct pv_reference_index *index;
};

struct pv_catalogue {
    /* schema NULL: along the caller's search path. NULL: the caller has no such relation. */
    const struct pv_relation *(*find)(void *context, const char *schema, const char *name);
    /*
     * Columns of a function in FROM: a relation (a question with parameters, or a set-returning function that gives
     * several columns); NULL: it gives one column, named after its alias or itself.
     */
    const struct pv_relation *(*find_function)(void *context, const char *schema, const char *name);
    const char *database; /* accepted as the catalog part of a name; NULL: none is */
    void *context;
};

/*
 * Resolves a SELECT (also a VALUES or set operation). PV_OK; PV_NOTFOUND, PV_INVALID (ambiguous, wrong number of
 * names), PV_DENIED (something it does not resolve) with err filled: 42P01, 42703, 42702, ...; PV_NOMEM. `text` is what
 * locations count in (for positions in err).
 */
enum pv_status pv_resolve(struct pv_arena *arena, Node *select, const struct pv_catalogue *catalogue,
                          struct pv_slice text, struct pv_resolution **out, struct pv_sql_error *err) PV_MUST_CHECK;

/* The meaning of a ColumnRef of the tree; NULL for one that stands where names mean nothing to us. */
const struct pv_reference *pv_resolution_reference(const struct pv_resolution *resolution, const ColumnRef *ref);

/*
 * Calls visit for every base column (of a relation) that a column is made of, through joins, sub-queries and
 * CTEs, whatever expressions lie between. A whole row visits each column.
 */
enum pv_status pv_column_origins(const struct pv_resolution *resolution, struct pv_column_at column,
                                 void (*visit)(void *context, struct pv_column_at base), void *context) PV_MUST_CHECK;
/* The same for every ColumnRef within an expression that stands at `level`. */
enum pv_status pv_expression_origins(const struct pv_resolution *resolution, Node *expr,
                                     void (*visit)(void *context, struct pv_column_at base),
                                     void *context) PV_MUST_CHECK;

/* The name PostgreSQL gives an output column without an alias (FigureColname). */
const char *pv_default_column_name(const Node *expr);
/*
 * unnest(a, b) in FROM is ROWS FROM (unnest(a), unnest(b)) where the name has no schema and nothing else is said of the call:
 * as many columns as arguments. Of any other function 1.
 */
size_t pv_unnested_count(const FuncCall *call, const List *definitions);
/* A node's byte offset to a 1-based character position in text; 0 for -1. */
int pv_text_position(struct pv_slice text, int location);

#endif
