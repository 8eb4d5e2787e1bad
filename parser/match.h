/*
 * Does a client's statement ask a fixed question? Lockstep comparison of the two
 * trees, equal up to: locations, spelling of table aliases and output columns (a
 * consistent renaming), built-in functions and types written with or without pg_catalog, and, where the
 * template has a parameter, a constant or $n of the client (also one cast once, or ARRAY[…] of those).
 */
#ifndef PV_MATCH_H
#define PV_MATCH_H

#include "parser/parse.h"

/* Whether two names (of the template, of the client) mean one relation. Neither is a CTE's name. */
typedef bool (*pv_match_same_relation)(void *ctx, const RangeVar *ours, const RangeVar *theirs);

struct pv_match {
    Node **captures; /* captures[n - 1]: what stood for $n, in the client's tree; NULL where $n stands nowhere */
    unsigned capture_count;
    const char **names;   /* the client's output column names, NULL for one without an alias */
    unsigned name_count;  /* of the top-level SELECT's targets (of the first leaf of a set operation) */
    char difference[160]; /* when not matched: the first difference in words, as a hint */
    unsigned agreed;      /* nodes that agreed before it: how near it was */
};

/*
 * PV_OK with *matched set; PV_NOMEM; PV_DENIED for kinds that nodes.h does not list.
 * `parameter_count` is that of the template. The match borrows from the client's tree.
 * Fill with zeroes before; pv_match_clear after, matched or not.
 */
enum pv_status pv_match(const Node *ours, unsigned parameter_count, Node *theirs, pv_match_same_relation same,
                        void *ctx, struct pv_match *match, bool *matched) PV_MUST_CHECK;
/* A look at the outermost clauses: false where pv_match would certainly find a difference. Costs next to nothing. */
bool pv_match_may(const Node *ours, const Node *theirs);
void pv_match_clear(struct pv_match *match);

#endif
