/*
 * The text of an approved question or a row filter: SQL with `:name` placeholders,
 * written by the operator. They become $1, $2, …; a name that stands twice has one number.
 */
#ifndef PV_TEMPLATE_H
#define PV_TEMPLATE_H

#include "parser/parse.h"
#include "proxy/base/bytes.h"

struct pv_template {
    struct pv_sql *sql; /* parsed with $n */
    char **names;       /* names[n - 1] is the parameter of $n */
    unsigned name_count;
};

/*
 * As pv_sql_parse; PV_SYNTAX also for a text that itself holds $n. Error positions count in the
 * given text. `out` is untouched on failure.
 */
enum pv_status pv_template_parse(struct pv_slice text, const struct pv_sql_limits *limits, struct pv_template *out,
                                 struct pv_sql_error *err) PV_MUST_CHECK;
/* The same for an expression alone (a row filter): the tree is `SELECT 1 WHERE <expression>`. */
enum pv_status pv_template_parse_filter(struct pv_slice text, const struct pv_sql_limits *limits,
                                        struct pv_template *out, struct pv_sql_error *err) PV_MUST_CHECK;
/* Can it stand as `:name`? */
bool pv_template_is_name(const char *name);
/* Letters A to Z to a to z, as it is done to the names in a template: `:minAge` is `minage`. */
void pv_template_fold(char *name);
/* Equal once folded. */
bool pv_template_same_name(const char *a, const char *b);
void pv_template_clear(struct pv_template *t);

#endif
