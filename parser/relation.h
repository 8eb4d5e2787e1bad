/*
 * What the resolver needs to know of a relation that a caller may name: its
 * published name and its columns. Policy makes these; the parser only reads them.
 */
#ifndef PV_RELATION_H
#define PV_RELATION_H

#include "proxy/base/base.h"

enum pv_relation_kind {
    PV_RELATION_DATASET,  /* a data set of the room: columns are exactly those listed */
    PV_RELATION_QUESTION, /* a question by name: columns are its result's */
    PV_RELATION_CATALOG   /* pg_catalog, information_schema: columns unknown here, the database checks them */
};

struct pv_relation {
    enum pv_relation_kind kind;
    const char *schema; /* as callers write it */
    const char *name;
    const char *const *columns;
    size_t column_count;
    const void *owner; /* struct pv_dataset, pv_question or pv_catalog_relation, by kind */
};

#endif
