/*
 * A fixed question compiled at load: its template tree, what it reads, its result's
 * column names and the tree that is forwarded (thresholds injected, row guard around).
 */
#ifndef PV_QUESTION_H
#define PV_QUESTION_H

#include "policy/policy.h"

struct pv_arena;

/* Where in a question's text or entity something is wrong: words, and the character position in its SQL (0: none). */
struct pv_compile_fault {
    const char *message; /* in the arena */
    unsigned position;
};

/*
 * Compiles `question->sql` of a room whose datasets are complete. `report` is called
 * for each fault found: SQL that does not parse, a relation or column that the room
 * does not hold, a function or clause that is not allowed, a parameter used and undeclared or
 * declared and unused, an entity that does not resolve, an analytical question whose
 * result is not made of aggregates. Fills plan, datasets, dataset_count and relation of the question.
 * PV_OK when there was none; PV_INVALID after at least one fault.
 */
enum pv_status pv_question_compile(struct pv_arena *arena, const struct pv_room *room, struct pv_question *question,
                                   void (*report)(void *context, const struct pv_compile_fault *fault),
                                   void *context) PV_MUST_CHECK;
/* Frees what the plan holds outside the arena (parse trees). On the thread that compiled. */
void pv_question_release(const struct pv_question *question);

/* A row filter: parses, is one boolean expression over columns (any source column), no sub-query, no aggregate,
 * functions from the allow-list. Gives the names of the attributes it uses, in order of first use. */
enum pv_status pv_row_filter_check(struct pv_arena *arena, const char *sql, struct pv_names *attributes,
                                   struct pv_compile_fault *fault) PV_MUST_CHECK;

#endif
