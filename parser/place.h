/*
 * From a position in printed text back to what the tree was parsed from: a printed text, parsed again, gives the same
 * tree, so the two are walked side by side.
 */
#ifndef PV_PLACE_H
#define PV_PLACE_H

#include "parser/parse.h"

/*
 * `offset` is where a node begins in `printed`, which pv_print_checked made of `tree`. *location is where that one stands in
 * the tree's own text; -1: nowhere. With is_own it is the node's own, as PostgreSQL tells of a cast or a function that
 * is missing; otherwise the leftmost of the expression, as it tells of an expression. `plain` gives the location that a
 * node's field stands for. PV_OK or PV_NOMEM.
 */
enum pv_status pv_place_find(const Node *tree, struct pv_slice printed, int offset, bool is_own, int (*plain)(int location),
                             int *location) PV_MUST_CHECK;

/* Of a tree that becomes part of others: locations in its own text would point into theirs. PV_OK or PV_NOMEM. */
enum pv_status pv_place_forget(Node *tree) PV_MUST_CHECK;

#endif
