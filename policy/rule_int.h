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

enum pv_level_class { PV_LEVEL_UNKNOWN, PV_LEVEL_RAW, PV_LEVEL_RELEASED, PV_LEVEL_CONSTANT };

/* What an expression over raw columns is used for; decides which columns may stand in it. */
enum pv_use {
    PV_USE_GROUP,     /* GROUP BY: dimension columns */
    PV_USE_AGGREGATE, /* argument of an aggregate */
    PV_USE_CONDITION, /* meets literals: comparison_controls */
    PV_USE_LIST       /* output of a list */
};

struct pv_rule_trial {
    struct pv_trial *trial;
    const struct pv_question *question;
    const struct pv_resolution *resolution;
    enum pv_level_class *classes; /* by the level's place in resolution->levels */
    bool *is_visiting;
    bool is_list; /* every data set has a list rule */
    unsigned depth;
};

/* A data set's row source that reaches a level, and how: directly, or through RAW sub-queries. */
struct pv_draw {
    struct pv_rte *base;  /* of the data set */
    struct pv_rte *via;   /* the entry in the level's own FROM */
};

const struct pv_dataset *pv_rte_dataset(const struct pv_rte *rte);
bool pv_names_hold(const struct pv_names *names, const char *name);

/* Denials that name the rule and its owner. */
enum pv_status pv_rule_deny(struct pv_rule_trial *rule, const struct pv_dataset *dataset, int location,
                            const char *rule_name, const char *format, ...) PV_PRINTF(5, 6);

size_t pv_level_number(const struct pv_resolution *resolution, const struct pv_level *level);

/* rule_value.c: is the expression, at that level, one that the use allows, through derived tables and all? */
enum pv_status pv_rule_value(struct pv_rule_trial *rule, Node *expr, enum pv_use use, const char *function)
    PV_MUST_CHECK;
/* The one base column that an expression is, with nothing done to it; rte NULL when it is something else. */
struct pv_column_at pv_rule_plain(const struct pv_rule_trial *rule, Node *expr);
struct pv_column_at pv_rule_plain_column(const struct pv_rule_trial *rule, struct pv_column_at column);
/* Does the expression name any column at all? */
bool pv_rule_is_constant(Node *expr);

/* rule_join.c: joins and WHERE of a level that draws rows. */
enum pv_status pv_rule_joins(struct pv_rule_trial *rule, struct pv_level *level) PV_MUST_CHECK;

/* rule_enforce.c: thresholds, DISTINCT, guards, put into the tree after the judgement. */
enum pv_status pv_rule_enforce(struct pv_rule_trial *rule, Node **select) PV_MUST_CHECK;

#endif
