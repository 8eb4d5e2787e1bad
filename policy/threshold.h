/*
 * Thresholds by the engine: each level that aggregates rows of data sets lets only groups through behind which
 * enough distinct entities stand (ATTACKS: T8, T10, T11, G1).
 */
#ifndef PV_THRESHOLD_H
#define PV_THRESHOLD_H

#include "parser/resolve.h"
#include "policy/policy.h"

/*
 * For a fixed analytical question: checks that only aggregates leave it and, with minimum > 0, adds to the
 * HAVING of every level that aggregates data set rows that `entity` (alias.column) has at least `minimum` distinct values.
 * Faults go to `report`. The tree's memory must be entered. PV_OK, PV_INVALID after a fault, PV_NOMEM.
 */
enum pv_status pv_threshold_inject(const struct pv_room *room, const struct pv_resolution *resolution,
                                   const char *entity, uint64_t minimum,
                                   void (*report)(void *context, const char *words), void *context) PV_MUST_CHECK;

/* Adds to one level's HAVING that count(DISTINCT entity) >= minimum. Throws: inside pv_sql_guard. */
void pv_threshold_add(const char *room, SelectStmt *select, Node *entity, uint64_t minimum);

/*
 * SELECT q.c1 AS name, ... FROM (query) AS q(c1, ...): the query under the given output names, and with max_rows > 0 an
 * error of the database's own (54000) as soon as there is one row more. The query is fenced. Throws: inside pv_sql_guard.
 */
SelectStmt *pv_guarded_query(const char *room, SelectStmt *query, const char *const *names, size_t count,
                             uint64_t max_rows);

/*
 * OFFSET 0: the database evaluates the query by itself, and no condition from outside is pushed below its threshold,
 * where an error of it would tell of a group that is left out (ATTACKS: S1, S2). Throws.
 */
void pv_fence(SelectStmt *query);

/*
 * OFFSET 0: no condition of an outer query is brought inside, where it would be tried on what is left out (ATTACKS:
 * S1). Throws: inside pv_sql_guard.
 */
void pv_threshold_fence(SelectStmt *query);

/* An aggregate call of this level stands in the tree (sub-queries left out). */
bool pv_tree_has_aggregate(Node *tree);

/* Does this level itself aggregate: GROUP BY, or an aggregate in its outputs or HAVING? */
bool pv_level_aggregates(const struct pv_level *level);

#endif
