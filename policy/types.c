#include "policy/functions.h"
#include "policy/words.h"

#include <stdlib.h>
#include <string.h>

/* Sorted. */
static const char *const types[] = {
    "_bool",
    "_bpchar",
    "_bytea",
    "_char",
    "_date",
    "_float4",
    "_float8",
    "_int2",
    "_int4",
    "_int8",
    "_json",
    "_jsonb",
    "_name",
    "_numeric",
    "_oid",
    "_regclass",
    "_regtype",
    "_text",
    "_timestamp",
    "_timestamptz",
    "_uuid",
    "_varchar",
    "anyarray",
    "bit",
    "bool",
    "box",
    "bpchar",
    "bytea",
    "char",
    "cid",
    "cidr",
    "date",
    "daterange",
    "float4",
    "float8",
    "inet",
    "int2",
    "int2vector",
    "int4",
    "int4range",
    "int8",
    "int8range",
    "interval",
    "json",
    "jsonb",
    "jsonpath",
    "macaddr",
    "macaddr8",
    "money",
    "name",
    "numeric",
    "numrange",
    "oid",
    "oidvector",
    "pg_lsn",
    "point",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "text",
    "tid",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "tsrange",
    "tstzrange",
    "unknown",
    "uuid",
    "varbit",
    "varchar",
    "xid",
};

/* Sorted. The other types of pg_catalog: a name among these is that type, never one of a data set's. */
static const char *const system_types[] = {
    "aclitem",
    "any",
    "anycompatible",
    "anycompatiblearray",
    "anycompatiblemultirange",
    "anycompatiblenonarray",
    "anycompatiblerange",
    "anyelement",
    "anyenum",
    "anymultirange",
    "anynonarray",
    "anyrange",
    "circle",
    "cstring",
    "datemultirange",
    "event_trigger",
    "fdw_handler",
    "gtsvector",
    "index_am_handler",
    "int4multirange",
    "int8multirange",
    "internal",
    "language_handler",
    "line",
    "lseg",
    "nummultirange",
    "path",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_ddl_command",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
    "pg_snapshot",
    "polygon",
    "record",
    "refcursor",
    "table_am_handler",
    "trigger",
    "tsm_handler",
    "tsmultirange",
    "tsquery",
    "tstzmultirange",
    "tsvector",
    "txid_snapshot",
    "void",
    "xid8",
    "xml",
};

/* Sorted. Types whose input looks names up in the catalogs. */
static const char *const lookups[] = {
    "_regclass",
    "_regtype",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
};

/*
 * What a client may declare a parameter to be: the allowed types and their arrays, by their OIDs of pg_type.dat, sorted.
 * Of others the input function would look names up, or is not for clients.
 */
static const uint32_t declarable[] = {
    16,   17,   18,   19,   20,   21,   22,   23,   25,   26,   27,   28,   29,   30,   114,  199,  600,  603,  650,
    651,  700,  701,  705,  774,  775,  790,  791,  829,  869,  1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1010,
    1011, 1012, 1013, 1014, 1015, 1016, 1017, 1020, 1021, 1022, 1028, 1040, 1041, 1042, 1043, 1082, 1083, 1114, 1115,
    1182, 1183, 1184, 1185, 1186, 1187, 1231, 1266, 1270, 1560, 1561, 1562, 1563, 1700, 2950, 2951, 3220, 3221, 3802,
    3807, 3904, 3905, 3906, 3907, 3908, 3909, 3910, 3911, 3912, 3913, 3926, 3927, 4072, 4073,
};

bool
pv_type_is_allowed(const char *name)
{
    return pv_word_in_sorted(name, types, PV_COUNT_OF(types));
}

bool
pv_type_is_system(const char *name)
{
    return name[0] == '_' || pv_type_is_allowed(name) || pv_word_in_sorted(name, system_types, PV_COUNT_OF(system_types));
}

bool
pv_type_is_lookup(const char *name)
{
    return pv_word_in_sorted(name, lookups, PV_COUNT_OF(lookups));
}

bool
pv_type_is_declarable(uint32_t oid)
{
    for (size_t i = 0; i < PV_COUNT_OF(declarable); i++)
        if (declarable[i] == oid)
            return true;
    return oid == 0;
}
