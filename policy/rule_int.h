/*
 * Analysis rules applied to a statement (open questions). Every level of the query is of one class:
 *   RAW       rows of data sets pass through it, not yet aggregated;
 *   RELEASED  what it gives has been aggregated over enough entities, or made of such;
 *   CONSTANT  no data.
 * A RAW level may only be read by another RAW level or by one that aggregates; the top is RELEASED (or, under
 * list rules alone, RAW).
 */
#ifndef PV_RULE_INT_H
#define PV_RULE_INT_H

#include "policy/decide_int.h"
#include "policy/threshold.h"

enum pv_level_class { PV_LEVEL_UNKNOWN, PV_LEVEL_RAW, PV_LEVEL_RELEASED, PV_LEVEL_CONSTANT };

/* What an expression over raw columns is used for; decides which columns may stand in it. */
enum pv_use {
    PV_USE_GROUP,     /* GROUP BY: dimension columns */
    PV_USE_AGGREGATE, /* argument of an aggregate */
    PV_USE_CONDITION, /* meets literals: comparison_controls */
    PV_USE_LIST,      /* output of a list */
    PV_USE_OUTPUT,    /* beside aggregates: made of what GROUP BY holds, so of dimensions */
    PV_USE_PASS       /* output of a level that passes rows: any column, nothing that could fail or multiply rows */
};

/* Nodes of a statement over data, and of all that its judgement looks at by way of derived tables. */
#define PV_RULE_NODES_MAX 10000u
#define PV_RULE_WORK_MAX 2000000u
#define PV_RULE_PATTERN_MAX 1000 /* bytes of a pattern for LIKE, which takes stack for each % */

struct pv_rule_trial {
    struct pv_trial *trial;
    const struct pv_question *question;
    const struct pv_resolution *resolution;
    enum pv_level_class *classes; /* by the level's place in resolution->levels */
    bool *is_visiting;
    bool *is_given; /* the top, and where it is a UNION ALL its arms: what they give reaches the caller */
    bool is_list; /* every data set has a list rule */
    unsigned depth;
    unsigned shift_count; /* dates moved by intervals */
    unsigned number_count; /* steps of arithmetic */
    unsigned work;        /* nodes looked at: queries that read each other twice would take for ever */
};

const struct pv_dataset *pv_rte_dataset(const struct pv_rte *rte);
bool pv_names_hold(const struct pv_names *names, const char *name);

/* Denials that name the rule and its owner. */
enum pv_status pv_rule_deny(struct pv_rule_trial *rule, const struct pv_dataset *dataset, int location,
                            const char *rule_name, const char *format, ...) PV_PRINTF(5, 6);

/* A denial that is no data set's own rule. */
enum pv_status pv_rule_deny_clause(struct pv_rule_trial *rule, const char *words);

/* open_choose.c: the open questions that cover the statement and admit its asker, the strictest first. */
enum pv_status pv_open_questions(struct pv_trial *trial, const struct pv_resolution *resolution,
                                 const struct pv_question ***questions, size_t *count) PV_MUST_CHECK;
/* The first that stands; where none does PV_DENIED for what the first one wants. */
enum pv_status pv_open_choose(struct pv_trial *trial, const struct pv_question **questions, size_t count,
                              const struct pv_question **chosen) PV_MUST_CHECK;

/* rule_flow.c: rules about the statement as a whole, after every level was judged by itself. */
enum pv_status pv_rule_flow(struct pv_rule_trial *rule) PV_MUST_CHECK;

size_t pv_level_number(const struct pv_resolution *resolution, const struct pv_level *level);

/* rule_value.c: is the expression, at that level, one that the use allows, through derived tables and all? */
enum pv_status pv_rule_value(struct pv_rule_trial *rule, Node *expr, enum pv_use use, const char *function)
    PV_MUST_CHECK;
/* The one base column that an expression is, with nothing done to it; rte NULL when it is something else. */
struct pv_column_at pv_rule_plain(const struct pv_rule_trial *rule, Node *expr);
struct pv_column_at pv_rule_plain_column(const struct pv_rule_trial *rule, struct pv_column_at column);
/* Does the expression name any column at all? */
bool pv_rule_is_constant(Node *expr);

/* rule_safe.c: nothing that fails for some rows only. Does no value make the call fail, as far as its constants say? */
bool pv_rule_call_is_safe(const struct pv_trial *trial, const char *name, const List *args);
/* False for repeat and replace of what may be long already. */
bool pv_rule_call_is_short(const struct pv_rule_trial *rule, const char *name, const List *args);
/* Is there any call of it that no value makes fail? */
bool pv_rule_function_is_safe(const char *name);
/* Does the function compare what it gets, so that its literals meet its columns? */
bool pv_rule_call_meets(const char *name);
bool pv_rule_is_escape(const Node *node);
/* The name of an operator of kind OP, ANY or ALL, else "". */
const char *pv_rule_operator(const A_Expr *expr);
/* A comparison that cannot fail; *why says what is wrong with one that can, or NULL. */
bool pv_rule_is_comparison(const A_Expr *expr, const char **why);
/* A date moved by a short interval; counts it. */
bool pv_rule_is_shift(struct pv_rule_trial *rule, const A_Expr *expr);
/* One that is found beside any column of a room (mask.c, 4). */
bool pv_rule_collation_meets(const CollateClause *clause);
bool pv_rule_cast_is_text(const TypeCast *cast);
bool pv_rule_cast_is_date(const TypeCast *cast);
/* An expression without columns beside data: it gives one value for all rows and fails for all or none. */
enum pv_status pv_rule_constant(struct pv_rule_trial *rule, Node *expr) PV_MUST_CHECK;

/* rule_aggregate.c: an output, HAVING or ORDER BY of a level that aggregates rows; NULL is fine. */
enum pv_status pv_rule_output(struct pv_rule_trial *rule, struct pv_level *level, Node *expr, bool is_having) PV_MUST_CHECK;

/* rule_number.c: column or field of a date, operator, literal, which no value makes fail; counts it. */
bool pv_rule_is_arithmetic(struct pv_rule_trial *rule, const A_Expr *expr);
bool pv_rule_is_field(const Node *node); /* extract, date_part */
/* To numeric or float8, which every number can become. */
bool pv_rule_cast_is_number(const TypeCast *cast);
/* The field of a date that a cast makes an integer, rounded or not; NULL: another cast. */
FuncCall *pv_rule_cast_of_field(TypeCast *cast);

/* rule_series.c: the results in FROM beside rows only say which groups' rows are kept. */
enum pv_status pv_rule_results(struct pv_rule_trial *rule, struct pv_level *level) PV_MUST_CHECK;
bool pv_rule_is_result(const struct pv_rule_trial *rule, const struct pv_rte *rte);
/* The column of an entry of FROM that is no join, which a column comes from. */
struct pv_column_at pv_rule_leaf(struct pv_column_at column);
/* rule_join.c: joins and WHERE of a level that draws rows. */
enum pv_status pv_rule_joins(struct pv_rule_trial *rule, struct pv_level *level) PV_MUST_CHECK;

/* rule_guard.c: the type that a parameter was declared to be by Parse or PREPARE; 0: none. OTHER: none of functions.h. */
#define PV_RULE_OID_OTHER UINT32_MAX
uint32_t pv_rule_declared(const struct pv_trial *trial, const ParamRef *param);
/* Outputs keep the names that they had before they are edited; takes the trial, for pv_sql_guard. */
void pv_rule_spell_names(void *rule);
/* No value fails in the level's own clauses. Throws: inside pv_sql_guard. */
void pv_rule_guard(struct pv_rule_trial *rule, const struct pv_level *level);

/*
 * rule_remainder.c: a level's groups that are not `enough` (an expression over its FROM, grouped) become one. Before
 * the threshold is added. Throws: inside pv_sql_guard.
 */
enum pv_status pv_rule_remainder(struct pv_rule_trial *rule, struct pv_level *level, Node *enough) PV_MUST_CHECK;

bool pv_rule_is_aggregate(const FuncCall *call);

/* rule_enforce.c: thresholds, DISTINCT, guards, put into the tree after the judgement. */
enum pv_status pv_rule_enforce(struct pv_rule_trial *rule, Node **select) PV_MUST_CHECK;

#endif
