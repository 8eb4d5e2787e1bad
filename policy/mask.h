/*
 * What a mask does to a column, as an SQL expression over it (INTERFACE 3, the table of
 * masks). Errors of a row's value are impossible by construction (values at a type's edge
 * are clamped), and no result depends on a setting that a client can change.
 */
#ifndef PV_MASK_H
#define PV_MASK_H

#include "policy/policy.h"

/* A column's type as the database names it (format_type), with a domain looked through. */
struct pv_column_type {
    const char *declared; /* for words: `crm.email`, `numeric(10,2)` */
    const char *full;     /* of the base type, with its modifier: `numeric(10,2)` */
    const char *base;     /* of the base type, without: `numeric`, `character varying`, `"char"` */
    bool is_enum;
    bool is_citext;       /* the extension's type of that name, in whatever schema */
    const char *collation; /* for words; NULL: none, the database's, or "C" */
    bool is_nondeterministic; /* that collation is: LIKE and substring searches fail on its values */
};

struct pv_mask_context {
    const char *room;        /* name; the private schema follows from it */
    const char *hmac_schema; /* where pgcrypto lives; NULL: the built-in sha256 is used, with equal results */
    const char *timezone;    /* of the room */
    bool is_collated_alike;  /* columns of another collation than the database's or "C" get the database's */
};

/*
 * Appends the expression. `column` is the plain name. PV_INVALID: the mask does not fit the type; *words is what it
 * fits, static, such as "date and timestamp columns", or NULL where it is the collation that does not. PV_MASK_OMIT has no expression and must not come here.
 * Memory is watched by the buffer.
 */
enum pv_status pv_mask_expression(struct pv_buf *buf, const struct pv_mask *mask, const char *column,
                                  const struct pv_column_type *type, const struct pv_mask_context *context,
                                  const char **words) PV_MUST_CHECK;

/* As in a room file: "hash", "truncate_date". */
const char *pv_mask_name(enum pv_mask_kind kind);
/* The mask that is in force: by category, with `hash` as category 3's default. */
enum pv_mask_kind pv_column_mask_kind(const struct pv_column *column);

/* HMAC-SHA-256 of `bytes` (an SQL expression of type bytea) under a key of the private table; a bytea of 32. */
void pv_mask_hmac_sql(struct pv_buf *buf, const struct pv_mask_context *context, const char *key_label,
                      const char *bytes);

#endif
