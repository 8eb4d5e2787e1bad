/* Shared between catalog*.c alone. */
#ifndef PV_CATALOG_INT_H
#define PV_CATALOG_INT_H

#include "policy/catalog.h"

/*
 * How a catalog view is made of the system's own relation, which stands in FROM as `t`. In the SQL, {cat} is the room's
 * catalog schema, {room} the room's name as a constant, {me} the caller's role OID, {user} the caller's name.
 */
struct pv_catalog_recipe {
    const char *from;      /* NULL: the relation itself AS t */
    const char *where;     /* NULL: all rows */
    const char *overrides; /* `column=expression;…`; NULL: none */
};

struct pv_catalog_function {
    const char *name;
    const char *arguments; /* types, by comma and blank */
    const char *returns;
    const char *body; /* an expression over $n, placeholders as above; or a PL/pgSQL block */
    bool is_strict;
};

extern const struct pv_catalog_relation pv_catalog_relations[];
extern const size_t pv_catalog_relation_count;
extern const struct pv_catalog_function pv_catalog_functions[];
extern const size_t pv_catalog_function_count;

#endif
