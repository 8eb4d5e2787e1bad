/* A compiled question: made at load by question.c, asked by ask.c. */
#ifndef PV_QUESTION_INT_H
#define PV_QUESTION_INT_H

#include "parser/template.h"
#include "policy/question.h"

struct pv_plan {
    struct pv_template match;   /* as written: what a caller's statement is compared with */
    struct pv_template forward; /* physical names, thresholds injected; $n still parameters of the template */
    Node *forward_tree;
    const struct pv_parameter **by_number; /* the parameter of $n */
    unsigned number_count;
    struct pv_sql **type_memory; /* by number: where the type's name lives */
    TypeName **types;            /* by number */
    struct pv_names datasets;    /* keys */
    struct pv_names columns;     /* dataset.column */
    bool has_threshold;
};

/*
 * The names of what a resolution reads: data set keys, and `dataset.column` for each column that any expression
 * names. In the arena.
 */
struct pv_resolution;
enum pv_status pv_names_read(struct pv_arena *arena, const struct pv_resolution *resolution, struct pv_names *datasets,
                             struct pv_names *columns) PV_MUST_CHECK;

#endif
