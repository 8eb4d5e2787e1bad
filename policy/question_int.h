/* A compiled question: made at load by question.c, asked by ask.c. */
#ifndef PV_QUESTION_INT_H
#define PV_QUESTION_INT_H

#include "parser/match.h"
#include "parser/pieces.h"
#include "parser/template.h"
#include "policy/question.h"

struct pv_plan {
    struct pv_template match;   /* as written: what a caller's statement is compared with */
    struct pv_match_form form;  /* of it */
    struct pv_template forward; /* physical names, thresholds injected; $n still parameters of the template */
    Node *forward_tree;
    const struct pv_parameter **by_number; /* the parameter of $n */
    unsigned number_count;
    struct pv_sql **type_memory; /* by number: where the type's name lives */
    TypeName **types;            /* by number */
    struct pv_names datasets;    /* keys */
    struct pv_names columns;     /* dataset.column */
    const char *datasets_json, *columns_json;
    bool has_threshold;
    /* What a statement that is the question is sent as, where it could be cut: with its own columns' names, with others. */
    struct pv_pieces bare, named;
};

/* A room's fixed questions by the shape of their statements. */
struct pv_question_index {
    uint32_t *heads, *next; /* a question's number + 1, in the order of the file; 0: no further one */
    size_t mask;
};
enum pv_status pv_question_index_make(struct pv_arena *arena, const struct pv_question *questions, size_t count,
                                      const struct pv_question_index **index) PV_MUST_CHECK;

/*
 * The names of what a resolution reads: data set keys, and `dataset.column` for each column that any expression
 * names. In the arena.
 */
struct pv_resolution;
enum pv_status pv_names_read(struct pv_arena *arena, const struct pv_resolution *resolution, struct pv_names *datasets,
                             struct pv_names *columns) PV_MUST_CHECK;

/* ---- ask.c, for those who look for a question in a part of a statement (decide_int.h has struct pv_trial) ---- */

struct pv_trial;
/* As pv_match. ctes: names that are no data set where they stand unqualified; NULL: none. */
enum pv_status pv_question_match(struct pv_trial *trial, const struct pv_question *question, Node *select,
                                 const struct pv_names *ctes, struct pv_match *match, bool *is_matched) PV_MUST_CHECK;
/* A parameter of a question that is asked stands in two places, and the caller has a $n of its own in each. */
struct pv_ask_twin {
    const struct pv_question *question;
    struct pv_match_twin twin;
};
struct pv_ask_twins {
    struct pv_ask_twin *items;
    size_t count;
};
/* Both $n are of that parameter and have one value. */
enum pv_status pv_ask_twin(struct pv_trial *trial, const struct pv_ask_twin *twin) PV_MUST_CHECK;
/* The caller's names of a matched question's columns, NULL for its own; `names` has room for all. */
enum pv_status pv_question_name_outputs(struct pv_trial *trial, const SelectStmt *theirs, const struct pv_match *match,
                                        const struct pv_question *question, const char **names) PV_MUST_CHECK;

/* ---- ask_instance.c ---------------------------------------------------------------- */

struct pv_argument;
/*
 * The query that stands for the question, in `sql`: arguments by the plan's $n; names NULL, or NULL entries: its own;
 * is_whole: nothing of the caller's stands around it.
 */
enum pv_status pv_question_instance(struct pv_sql *sql, const struct pv_room *room, const struct pv_question *question,
                                    const struct pv_argument *arguments, const char *const *names, bool is_whole,
                                    SelectStmt **query) PV_MUST_CHECK;
/* The text of the whole instance, as pv_print_checked gives it. PV_NOTFOUND: print the instance's tree. */
enum pv_status pv_question_compose(struct pv_arena *arena, const struct pv_question *question,
                                   const struct pv_argument *arguments, const char *const *names,
                                   const char **text) PV_MUST_CHECK;
/* The pieces for these names, and the names with none missing. PV_NOTFOUND: there are none. */
enum pv_status pv_question_pieces(struct pv_arena *arena, const struct pv_question *question, const char *const *names,
                                  const struct pv_pieces **pieces, const char *const **all_names) PV_MUST_CHECK;
/* At load: cuts the plan's pieces. PV_NOMEM; what cannot be cut has none. */
enum pv_status pv_question_cut(struct pv_arena *arena, const struct pv_room *room, const struct pv_question *question,
                               struct pv_plan *plan) PV_MUST_CHECK;

#endif
