/*
 * Does a client's statement ask a fixed question? Lockstep comparison of the two
 * trees, equal up to: locations, spelling of table aliases and output columns (a
 * consistent renaming), built-in functions and types written with or without pg_catalog, and, where the
 * template has a parameter, a constant or $n of the client (also one cast once, or ARRAY[…] of those).
 */
#ifndef PV_MATCH_H
#define PV_MATCH_H

#include "parser/parse.h"
#include "proxy/base/arena.h"

/* Whether two names (of the template, of the client) mean one relation; relname is equal then. Neither is a CTE's. */
typedef bool (*pv_match_same_relation)(void *ctx, const RangeVar *ours, const RangeVar *theirs);

/* A parameter of the template stands in two places, where the client has a $n each: drivers number every "?" by itself. */
struct pv_match_twin {
    int number, first; /* the client's $n in a further place, and its $n in the first one */
    unsigned of;       /* the template's $n */
    int location;      /* of $number in the client's text */
};

struct pv_match {
    Node **captures; /* captures[n - 1]: what stood for $n, in the client's tree; NULL where $n stands nowhere */
    unsigned capture_count;
    struct pv_match_twin *twins; /* the client's parameters that have to have the value of another one */
    unsigned twin_count, twin_size;
    const char **names;   /* the client's output column names, NULL for one without an alias */
    unsigned name_count;  /* of the top-level SELECT's targets (of the first leaf of a set operation) */
    char difference[160]; /* when not matched: the first difference in words, as a hint */
    bool is_weighed;      /* in: compare all of both trees, differences or not, and say how much agrees */
    unsigned agreed;      /* how near it was: what agreed before the difference; where weighed, all that agrees */
};

/* What is known of a template beforehand. */
struct pv_match_names {
    const char **items;
    size_t count, size;
};

struct pv_match_form {
    const Node *tree;
    unsigned parameter_count;
    uint64_t shape;
    struct pv_match_names tables; /* aliases, and names of relations without one, that it declares */
    struct pv_match_names ctes;
    struct pv_match_names outputs; /* explicit or implied; NULL where there is none */
};

/* In the arena, and borrows the tree. PV_NOMEM; PV_DENIED for kinds that nodes.h does not list. */
enum pv_status pv_match_form_make(struct pv_arena *arena, const Node *tree, unsigned parameter_count,
                                  struct pv_match_form *form) PV_MUST_CHECK;

/*
 * A number that is the same for two statements that match: made of the kinds of nodes and of those names that have to
 * agree, without constants and parameters. Templates are sought by it. PV_NOMEM; PV_DENIED for kinds that nodes.h does not
 * list: nothing matches.
 */
enum pv_status pv_match_shape(const Node *stmt, uint64_t *shape) PV_MUST_CHECK;

/*
 * PV_OK with *matched set; PV_NOMEM; PV_DENIED for kinds that nodes.h does not list.
 * The match borrows from the client's tree. Fill with zeroes before; pv_match_clear after, matched or not.
 */
enum pv_status pv_match(const struct pv_match_form *ours, Node *theirs, pv_match_same_relation same, void *ctx,
                        struct pv_match *match, bool *matched) PV_MUST_CHECK;
/* A look at the outermost clauses: false where pv_match would certainly find a difference. Costs next to nothing. */
bool pv_match_may(const Node *ours, const Node *theirs);
void pv_match_clear(struct pv_match *match);

#endif
