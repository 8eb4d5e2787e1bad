/*
 * The allow-lists as tables: functions, operators and types of pg_catalog that a
 * statement may use, and what stands in place of those that would show the database
 * behind the room. What is not here is denied (ATTACKS: N1 to N5, N10, N11).
 */
#ifndef PV_FUNCTIONS_H
#define PV_FUNCTIONS_H

#include "parser/relation.h"
#include "proxy/base/base.h"

enum pv_function_class {
    PV_FN_SCALAR,    /* of its arguments alone, or of the clock */
    PV_FN_AGGREGATE,
    PV_FN_WINDOW,
    PV_FN_SET,       /* set-returning */
    PV_FN_CATALOG,   /* about catalogs, types, sessions: refused together with data */
    PV_FN_REDIRECT,  /* our own function of the same name in the room's catalog schema stands in */
    PV_FN_ON_PATH,   /* likewise, with the caller's search_path as a further argument */
    PV_FN_SIGNAL,    /* likewise, with the caller's own sessions */
    PV_FN_DATABASE,  /* current_database: the room's name */
    PV_FN_USER,      /* current_user and kin: the user's name */
    PV_FN_SCHEMA,    /* current_schema */
    PV_FN_SCHEMAS,   /* current_schemas(boolean) */
    PV_FN_SETTING,   /* current_setting(name): names that SHOW allows */
    PV_FN_SET_CONFIG /* set_config(name, value, local): as SET */
};

struct pv_function {
    const char *name;
    enum pv_function_class class;
    /* Columns in FROM, by commas; NULL: one, named after the function. */
    const char *columns;
};

/* By its pg_catalog name; NULL: not on the list. */
const struct pv_function *pv_function_find(const char *name);
/* information_schema._pg_expandarray is the one function outside pg_catalog. */
const struct pv_function *pv_function_find_qualified(const char *schema, const char *name);
bool pv_operator_is_allowed(const char *name);
/* A type's name as the parser leaves it (int4, varchar, ...). Reg* types (regclass, ...) look names up. */
bool pv_type_is_allowed(const char *name);
/* One of pg_catalog's, allowed or not; or an array's own name. */
bool pv_type_is_system(const char *name);
bool pv_type_is_lookup(const char *name);
/* By its pg_catalog name: is its result of a type that looks names up? */
bool pv_function_gives_lookup(const char *name);
/* May a client declare a parameter of the type with this OID? 0, no type, it may. */
bool pv_type_is_declarable(uint32_t oid);

/* Columns of a set-returning function as a relation of kind CATALOG (static); NULL when it gives one column. */
const struct pv_relation *pv_function_relation(const struct pv_function *function);

/* Types from here on were made since initdb: FirstNormalObjectId of transam.h. */
#define PV_OID_FIRST_NORMAL 16384u

/* Types that parameters are declared to be, by their OIDs of pg_type.dat. */
#define PV_OID_INT8 20u
#define PV_OID_INT8_ARRAY 1016u
#define PV_OID_OID 26u
#define PV_OID_OID_ARRAY 1028u
#define PV_OID_MACADDR 829u
#define PV_OID_MACADDR_ARRAY 1040u
#define PV_OID_NUMERIC 1700u
#define PV_OID_FLOAT4 700u
#define PV_OID_FLOAT8 701u
#define PV_OID_FLOAT4_ARRAY 1021u
#define PV_OID_FLOAT8_ARRAY 1022u
#define PV_OID_DATE 1082u
#define PV_OID_TIMESTAMP 1114u
#define PV_OID_TIMESTAMPTZ 1184u
#define PV_OID_DATE_ARRAY 1182u
#define PV_OID_TIMESTAMP_ARRAY 1115u
#define PV_OID_TIMESTAMPTZ_ARRAY 1185u
#define PV_OID_NUMERIC_ARRAY 1231u

#endif
