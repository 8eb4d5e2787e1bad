/*
 * The system catalogs as a room sees them: which relations of pg_catalog and
 * information_schema a caller may name, and what stands in their place. What is not in
 * the table is missing for the caller (42P01).
 */
#ifndef PV_CATALOG_H
#define PV_CATALOG_H

#include "policy/policy.h"
#include "policy/views.h"

enum pv_catalog_mode {
    PV_CATALOG_PASS, /* the system's own: the same in every database, nothing of the room's or anybody's in it */
    PV_CATALOG_VIEW  /* a view of the room's catalog schema, filtered or empty, with the same columns */
};

struct pv_catalog_relation {
    struct pv_relation relation; /* kind PV_RELATION_CATALOG; schema and name as callers write them; no columns */
    enum pv_catalog_mode mode;
    const char *physical_name; /* in pg_catalog for PASS, in pv_views_catalog_schema for VIEW */
    const void *recipe;        /* policy/catalog.c's own */
};

/* NULL schema: pg_catalog, as for an unqualified name. NULL: the caller finds no such relation. */
const struct pv_catalog_relation *pv_catalog_find(const char *schema, const char *name);
size_t pv_catalog_count(void);
const struct pv_catalog_relation *pv_catalog_at(size_t i);

/* The catalog schema's views for a room, in the order of making (layers from 100 up, one body). PV_NOMEM. */
enum pv_status pv_catalog_views(struct pv_arena *arena, const struct pv_room *room, struct pv_made **made,
                                size_t *count) PV_MUST_CHECK;

/*
 * Is this column of pg_catalog one that PostgreSQL has as a regproc? The room's view gives it as an OID: next to a
 * regproc PostgreSQL turns any integer into one and prints a name for it (ATTACKS: N6).
 */
bool pv_catalog_column_is_regproc(const struct pv_relation *relation, const char *column);

/* Is it a table in PostgreSQL, which has system columns, rather than a view? */
bool pv_catalog_is_table(const struct pv_relation *relation);

/* Physical schema of a relation of the table, for a room. */
void pv_catalog_schema(const struct pv_catalog_relation *relation, const char *room, char schema[PV_VIEWS_NAME_SIZE]);

#endif
