/* Which columns the system catalogs have (PostgreSQL 15). */
#ifndef PV_CATALOG_COLUMNS_H
#define PV_CATALOG_COLUMNS_H

#include "proxy/base/base.h"

/* "pg_catalog.pg_class" to "oid,relname,..."; NULL: no such relation. Static. */
const char *pv_catalog_column_list(const char *qualified);

#endif
