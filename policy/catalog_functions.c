/*
 * Functions of the room's catalog schema. Those of a name of pg_catalog stand in for it, because it would look behind
 * the views; those that begin pgveil_ are what casts and the other functions rest on. A function rests on functions
 * above it only. Where a room holds no such object, they say what PostgreSQL says of one that is not there.
 */
#include "policy/catalog_int.h"

#define MISSING(sqlstate, words) "{cat}.pgveil_missing('" sqlstate "', " words ")"
#define TEXT(name, arguments, body) {name, arguments, "text", body, false}
#define BOOLEAN(name, arguments, body) {name, arguments, "boolean", body, true}
#define BLANK(name, arguments) TEXT(name, arguments, "NULL::text")

/* ---- privileges: by name or OID, with and without a role in front ---- */

/* A role that is not the caller holds nothing, and one of another name does not exist. */
#define OF_ROLE_NAME(answer) \
    "CASE WHEN $1 = {user} THEN " answer " WHEN $1 = 'public' THEN false ELSE " \
    MISSING("42704", "format('role \"%s\" does not exist', $1)") " END"
#define OF_ROLE(answer) "CASE WHEN $1 = {me} THEN " answer " ELSE false END"
#define HOLDS(wanted, held, known) "{cat}.pgveil_holds(" wanted ", '" held "', '{" known "}')"
/* An OID of nothing gives NULL, as in PostgreSQL. */
#define IF_THERE(relation, object, answer) \
    "CASE WHEN EXISTS (SELECT 1 FROM {cat}." relation " AS x WHERE x.oid = " object ") THEN " answer " END"
/* `find` is an expression over {o}, the object's name, that is NULL where there is none. */
#define IF_NAMED(find, sqlstate, words, answer) \
    "CASE WHEN " find " IS NULL THEN " MISSING(sqlstate, words) " ELSE " answer " END"

#define PRIVILEGES(name, path, relation, named, held, known) \
    BOOLEAN(name, "text, text" path, named("$1", HOLDS("$2", held, known), "$3")), \
        BOOLEAN(name, "oid, text" path, IF_THERE(relation, "$1", HOLDS("$2", held, known))), \
        BOOLEAN(name, "name, text, text" path, OF_ROLE_NAME(named("$2", HOLDS("$3", held, known), "$4"))), \
        BOOLEAN(name, "name, oid, text" path, OF_ROLE_NAME(IF_THERE(relation, "$2", HOLDS("$3", held, known)))), \
        BOOLEAN(name, "oid, text, text" path, OF_ROLE(named("$2", HOLDS("$3", held, known), "$4"))), \
        BOOLEAN(name, "oid, oid, text" path, OF_ROLE(IF_THERE(relation, "$2", HOLDS("$3", held, known))))

#define NAMED_IN(relation, column, sqlstate, kind, object, answer) \
    IF_NAMED("(SELECT x.oid FROM {cat}." relation " AS x WHERE x." column " = " object ")", sqlstate, \
             "format('" kind " \"%s\" does not exist', " object ")", answer)
#define NAMED_SCHEMA(object, answer, path) NAMED_IN("pg_namespace", "nspname", "3F000", "schema", object, answer)
#define NAMED_DATABASE(object, answer, path) NAMED_IN("pg_database", "datname", "3D000", "database", object, answer)
#define NAMED_LANGUAGE(object, answer, path) NAMED_IN("pg_language", "lanname", "42704", "language", object, answer)
#define NAMED_TABLESPACE(object, answer, path) NAMED_IN("pg_tablespace", "spcname", "42704", "tablespace", object, answer)
#define NAMED_SERVER(object, answer, path) NAMED_IN("pg_foreign_server", "srvname", "42704", "server", object, answer)
#define NAMED_WRAPPER(object, answer, path) \
    NAMED_IN("pg_foreign_data_wrapper", "fdwname", "42704", "foreign-data wrapper", object, answer)
#define NAMED_TYPE(object, answer, path) \
    IF_NAMED("{cat}.to_regtype(" object ")", "42704", "format('type \"%s\" does not exist', " object ")", answer)
#define NAMED_FUNCTION(object, answer, path) \
    IF_NAMED("{cat}.pgveil_function(" object ")", "42883", "format('function \"%s\" does not exist', " object ")", answer)
#define NAMED_RELATION(object, answer, path) "CASE WHEN {cat}.pgveil_found(" object ", " path ") IS NOT NULL THEN " answer " END"
#define NAMED_SEQUENCE(object, answer, path) \
    "CASE WHEN {cat}.pgveil_found(" object ", " path ") IS NOT NULL THEN " \
    MISSING("42809", "format('\"%s\" is not a sequence', " object ")") " END"

#define TABLE_WORDS "select,insert,update,delete,truncate,references,trigger,rule"
#define COLUMN_WORDS "select,insert,update,references"

/* A column by name must be there; one by number that is not gives NULL. */
#define COLUMN_NAMED(oid, table, column, wanted) \
    "CASE WHEN EXISTS (SELECT 1 FROM {cat}.pg_attribute AS a WHERE a.attrelid = " oid " AND a.attname = " column ") THEN " \
    HOLDS(wanted, "select", COLUMN_WORDS) " ELSE " \
    MISSING("42703", "format('column \"%s\" of relation \"%s\" does not exist', " column ", " table ")") " END"
#define COLUMN_AT(oid, table, column, wanted) \
    "CASE WHEN EXISTS (SELECT 1 FROM {cat}.pg_attribute AS a WHERE a.attrelid = " oid " AND a.attnum = " column ") THEN " \
    HOLDS(wanted, "select", COLUMN_WORDS) " END"
#define BARE(table) "regexp_replace(" table ", '^.*[.]', '')"
#define NAME_OF(oid) "(SELECT c.relname FROM {cat}.pg_class AS c WHERE c.oid = " oid ")"
#define COLUMN_PRIVILEGE(column_type, find) \
    BOOLEAN("has_column_privilege", "text, " column_type ", text, name[]", \
            find("{cat}.pgveil_found($1, $4)", BARE("$1"), "$2", "$3")), \
        BOOLEAN("has_column_privilege", "oid, " column_type ", text, name[]", \
                IF_THERE("pg_class", "$1", find("$1", NAME_OF("$1"), "$2", "$3"))), \
        BOOLEAN("has_column_privilege", "name, text, " column_type ", text, name[]", \
                OF_ROLE_NAME(find("{cat}.pgveil_found($2, $5)", BARE("$2"), "$3", "$4"))), \
        BOOLEAN("has_column_privilege", "name, oid, " column_type ", text, name[]", \
                OF_ROLE_NAME(IF_THERE("pg_class", "$2", find("$2", NAME_OF("$2"), "$3", "$4")))), \
        BOOLEAN("has_column_privilege", "oid, text, " column_type ", text, name[]", \
                OF_ROLE(find("{cat}.pgveil_found($2, $5)", BARE("$2"), "$3", "$4"))), \
        BOOLEAN("has_column_privilege", "oid, oid, " column_type ", text, name[]", \
                OF_ROLE(IF_THERE("pg_class", "$2", find("$2", NAME_OF("$2"), "$3", "$4"))))

/* ---- names ---- */

/* An OID in digits, as casts hand it over. */
#define DIGITS "$1 ~ '^[0-9]+$'"
/* One of the system's: no look at the views, which costs more than the cast. */
#define SYSTEM_DIGITS DIGITS " AND CASE WHEN length($1) < 6 THEN $1::integer < 16384 ELSE false END"
/*
 * The system's to_regtype reads every spelling; a schema in it would be an answer about that schema. Types of the room's
 * data sets have names alone, and arrays.
 */
#define TYPE_BY_NAME \
    "coalesce((SELECT y.t FROM pg_catalog.to_regtype(CASE WHEN replace($1, 'pg_catalog.', '') !~ '[.]' THEN $1 END) AS y(t) " \
    "WHERE y.t::oid < '16384'::oid), (SELECT CASE WHEN i.is_array THEN t.typarray ELSE t.oid END::regtype FROM {cat}.pg_type AS t " \
    "JOIN {cat}.pg_namespace AS n ON n.oid = t.typnamespace JOIN (SELECT parse_ident(regexp_replace($1, '\\[\\]$', '')), " \
    "$1 LIKE '%[]' WHERE $1 ~ '^([[:alnum:]_$.]|\"[^\"]*\")+(\\[\\])?$') AS i(parts, is_array) ON " \
    "t.typname = i.parts[array_upper(i.parts, 1)] AND (array_upper(i.parts, 1) = 1 OR n.nspname = i.parts[1]) " \
    "WHERE t.oid >= '16384'::oid ORDER BY t.typrelid <> '0'::oid, t.oid LIMIT 1))"
#define FUNCTION_BY_NAME \
    "(SELECT f.oid::regproc FROM (SELECT parse_ident($1)) AS i(parts) JOIN {cat}.pg_proc AS f ON " \
    "f.proname = i.parts[array_upper(i.parts, 1)] JOIN {cat}.pg_namespace AS n ON n.oid = f.pronamespace " \
    "WHERE array_upper(i.parts, 1) = 1 OR (array_upper(i.parts, 1) = 2 AND n.nspname = i.parts[1]) ORDER BY f.oid LIMIT 1)"
/* Whether a relation is found by its bare name is a matter of the caller's search_path; the server's is pinned. */
#define PATH_PLACE(name) "array_position(array_prepend('pg_catalog'::name, $2), " name ")"
/* What {cat}.pg_class holds, without the look at each column's value. */
#define CLASSES(c, s) \
    "pg_catalog.pg_class AS " c " JOIN {cat}.pgveil_space AS " s " ON " s ".oid = " c ".relnamespace AND " \
    "CASE WHEN " s ".is_room THEN " c ".relkind = 'v' ELSE " c ".oid < '16384'::oid END"
#define FIRST_OF_NAME(name) \
    "(SELECT x.oid FROM " CLASSES("x", "m") " WHERE x.relname = " name " AND " PATH_PLACE("m.published") " IS NOT NULL ORDER BY " \
    PATH_PLACE("m.published") " LIMIT 1)"
#define RELATION_ON_PATH \
    "(SELECT CASE array_upper(i.parts, 1) WHEN 1 THEN " FIRST_OF_NAME("i.parts[1]") " ELSE (SELECT c.oid FROM " CLASSES("c", "s") \
    " WHERE c.relname = i.parts[array_upper(i.parts, 1)] AND CASE array_upper(i.parts, 1) WHEN 2 THEN s.published = i.parts[1] " \
    "WHEN 3 THEN i.parts[1] = {room} AND s.published = i.parts[2] ELSE false END) END FROM (SELECT parse_ident($1)) AS i(parts))"
/*
 * The system's own is told at once, in an expression that the planner writes into the query; only what was made since
 * initdb is looked for in the views, by a call.
 */
#define OWN_OID "$1 < '16384'::oid"
#define FRONT(name, arguments, returns, system, call) \
    {name, arguments, returns, "CASE WHEN " OWN_OID " THEN " system " ELSE {cat}." call " END", false}
/*
 * name(types) as to_regprocedure reads it, for functions of the system and questions. A schema anywhere else would be an
 * answer about that schema.
 */
#define FUNCTION_TEXT \
    "CASE WHEN split_part($1, '(', 2) !~ '[.]' AND split_part($1, '(', 1) ~ '^[[:space:]]*((pg_catalog|questions)[.])?[^.]*$' " \
    "THEN regexp_replace($1, '^[[:space:]]*questions[.]', (SELECT quote_ident(q.physical::text) || '.' " \
    "FROM {cat}.pgveil_space AS q WHERE q.published = 'questions')) END"
#define CAST_OF(type, arguments, call) \
    {"pgveil_" type, arguments, type, \
     "CASE WHEN " SYSTEM_DIGITS " THEN $1::oid::" type " ELSE {cat}.pgveil_find_" type "(" call ") END", false}
/* Casts to types that look names up: the system's objects, nobody else's. */
#define SYSTEM_ONLY(type) \
    {"pgveil_" type, "text", type, \
     "CASE WHEN " SYSTEM_DIGITS " THEN $1::oid::" type " ELSE '0'::oid::" type " END", false}
#define IS_VISIBLE(kind) \
    FRONT("pg_" kind "_is_visible", "oid, name[]", "boolean", "pg_catalog.pg_" kind "_is_visible($1)", \
          "pgveil_" kind "_is_visible($1, $2)")
#define VISIBLE(name, relation) \
    {name, "oid", "boolean", \
     "(SELECT pg_catalog." name "(x.oid) FROM {cat}." relation " AS x WHERE x.oid = $1)", false}

/* ---- the rest ---- */

/* The system's take a regclass: its input would look a written name up among everybody's. */
#define BY_OID_AND_NAME(name, more, path, returns, body) \
    {name, "oid" more ", name[]", returns, body, true}, \
        {name, "text" more ", name[]", returns, "CASE WHEN {cat}.pgveil_found($1, " path ") IS NOT NULL THEN " body " END", true}
#define SIZE(name) BY_OID_AND_NAME(name, "", "$2", "bigint", "'0'::bigint")
#define ZERO(name, arguments) {name, arguments, "bigint", "'0'::bigint", false}
#define OF_PROC(name) \
    TEXT(name, "oid", "CASE WHEN EXISTS (SELECT 1 FROM {cat}.pg_proc AS f WHERE f.oid = $1) THEN pg_catalog." name "($1) END")

const struct pv_catalog_function pv_catalog_functions[] = {
    {"pgveil_missing", "text, text", "boolean", "BEGIN RAISE EXCEPTION USING ERRCODE = $1, MESSAGE = $2; END", false},
    {"pgveil_holds", "text, text, text[]", "boolean",
     "DECLARE word text; is_held boolean := false; BEGIN FOREACH word IN ARRAY string_to_array($1, ',') LOOP "
     "word := regexp_replace(word, '^\\s+|\\s+$', '', 'g'); "
     "IF regexp_replace(lower(word), ' with grant option$', '') <> ALL ($3) THEN RAISE EXCEPTION USING "
     "ERRCODE = '22023', MESSAGE = format('unrecognized privilege type: \"%s\"', word); END IF; "
     "is_held := is_held OR lower(word) = $2; END LOOP; RETURN is_held; END",
     true},
    {"pgveil_format_type", "oid", "text",
     "coalesce((SELECT CASE WHEN t.typelem <> '0'::oid AND t.typlen = '-1'::smallint THEN (SELECT quote_ident(e.typname) || '[]' "
     "FROM {cat}.pg_type AS e WHERE e.oid = t.typelem) ELSE quote_ident(t.typname) END FROM {cat}.pg_type AS t WHERE "
     "t.oid = $1), '\?\?\?')",
     true},
    FRONT("format_type", "oid, integer", "text", "pg_catalog.format_type($1, $2)", "pgveil_format_type($1)"),
    {"to_regtype", "text", "regtype", TYPE_BY_NAME, false},
    {"pgveil_relation", "text, name[]", "oid", RELATION_ON_PATH, true},
    {"pgveil_found", "text, name[]", "oid",
     "CASE WHEN $1 IS NOT NULL THEN coalesce({cat}.pgveil_relation($1, $2), CASE WHEN "
     MISSING("42P01", "format('relation \"%s\" does not exist', $1)") " THEN '0'::oid END) END",
     false},
    {"pgveil_function", "text", "oid",
     "(SELECT f.oid FROM {cat}.pg_proc AS f WHERE f.oid = pg_catalog.to_regprocedure(" FUNCTION_TEXT ")::oid)", true},
    {"pgveil_find_regclass", "text, name[]", "regclass",
     "CASE WHEN " DIGITS " THEN $1::oid::regclass WHEN $1 = '-' THEN '0'::oid::regclass ELSE "
     "{cat}.pgveil_found($1, $2)::regclass END",
     true},
    {"pgveil_find_regtype", "text", "regtype",
     "CASE WHEN " DIGITS " THEN coalesce((SELECT t.oid::regtype FROM {cat}.pg_type AS t WHERE t.oid = $1::oid), "
     "'0'::oid::regtype) WHEN $1 = '-' THEN '0'::oid::regtype ELSE coalesce({cat}.to_regtype($1), CASE WHEN "
     MISSING("42704", "format('type \"%s\" does not exist', $1)") " THEN '0'::oid::regtype END) END",
     true},
    {"pgveil_find_regproc", "text", "regproc",
     "CASE WHEN " DIGITS " THEN coalesce((SELECT f.oid::regproc FROM {cat}.pg_proc AS f WHERE f.oid = $1::oid), "
     "'0'::oid::regproc) WHEN $1 = '-' THEN '0'::oid::regproc ELSE coalesce(" FUNCTION_BY_NAME ", CASE WHEN "
     MISSING("42883", "format('function \"%s\" does not exist', $1)") " THEN '0'::oid::regproc END) END",
     true},
    {"pgveil_find_regprocedure", "text", "regprocedure",
     "CASE WHEN $1 = '-' THEN '0'::oid::regprocedure ELSE coalesce((SELECT f.oid::regprocedure FROM {cat}.pg_proc AS f WHERE "
     "f.oid = CASE WHEN " DIGITS " THEN $1::oid ELSE {cat}.pgveil_function($1) END), CASE WHEN " DIGITS
     " THEN '0'::oid::regprocedure WHEN " MISSING("42883", "format('function \"%s\" does not exist', $1)")
     " THEN '0'::oid::regprocedure END) END",
     true},
    CAST_OF("regclass", "text, name[]", "$1, $2"),
    CAST_OF("regtype", "text", "$1"),
    CAST_OF("regproc", "text", "$1"),
    CAST_OF("regprocedure", "text", "$1"),
    {"pgveil_regnamespace", "text", "name",
     "(SELECT n.nspname FROM {cat}.pg_namespace AS n WHERE n.oid = CASE WHEN " DIGITS " THEN $1::oid END OR n.nspname = $1)",
     false},
    {"pgveil_regrole", "text", "name", "CASE WHEN $1 = {me}::text OR $1 = {user} THEN {user} ELSE '-'::name END", false},
    SYSTEM_ONLY("regoper"),
    SYSTEM_ONLY("regoperator"),
    SYSTEM_ONLY("regconfig"),
    SYSTEM_ONLY("regdictionary"),
    SYSTEM_ONLY("regcollation"),
    /* A setting by name, its unit with it; the second argument is the search_path, which the session keeps itself. */
    {"pgveil_setting", "text, text", "text",
     "(SELECT CASE t.name WHEN 'search_path' THEN $2 ELSE coalesce(NULLIF(current_setting('pgveil.' || t.name, true), ''), "
     "pg_catalog.current_setting(t.name)) END FROM {cat}.pg_settings AS t WHERE lower(t.name) = lower($1))",
     true},
    /* How values of such types read: the server would print them along its own search_path. */
    {"pgveil_name_regclass", "oid, name[]", "text",
     "coalesce((SELECT CASE WHEN c.oid = " FIRST_OF_NAME("c.relname") " THEN '' ELSE quote_ident(s.published) || '.' END || "
     "quote_ident(c.relname) FROM " CLASSES("c", "s") " WHERE c.oid = $1), $1::text)",
     true},
    {"pgveil_name_regproc", "oid, name[], boolean", "text",
     "coalesce((SELECT CASE WHEN 'questions' = ANY ($2) THEN '' ELSE 'questions.' END || quote_ident(f.proname) || CASE WHEN $3 THEN "
     "'(' || coalesce((SELECT string_agg({cat}.format_type(a.kind, NULL), ',' ORDER BY a.at) FROM "
     "unnest(f.proargtypes::oid[]) WITH ORDINALITY AS a(kind, at)), '') || ')' ELSE '' END FROM {cat}.pg_proc AS f WHERE "
     "f.oid = $1), $1::text)",
     true},
    FRONT("pgveil_show_regclass", "oid, name[]", "text", "$1::regclass::text", "pgveil_name_regclass($1, $2)"),
    FRONT("pgveil_show_regproc", "oid, name[]", "text", "$1::regproc::text", "pgveil_name_regproc($1, $2, false)"),
    FRONT("pgveil_show_regprocedure", "oid, name[]", "text", "$1::regprocedure::text", "pgveil_name_regproc($1, $2, true)"),
    FRONT("pgveil_show_regtype", "oid, name[]", "text", "$1::regtype::text", "pgveil_format_type($1)"),
    /* Of a value: the row type of a catalog's stand-in is the catalog's own. */
    {"pgveil_typeof", "regtype", "regtype",
     "CASE WHEN $1::oid < '16384'::oid THEN $1 ELSE coalesce((SELECT y.oid::regtype FROM pg_catalog.pg_type AS t JOIN "
     "pg_catalog.pg_type AS y ON y.typname = t.typname AND y.typnamespace = '11'::oid WHERE t.oid = $1::oid AND t.typnamespace = "
     "(SELECT c.typnamespace FROM pg_catalog.pg_type AS c WHERE c.oid = '{cat}.pg_class'::regtype::oid)), $1) END",
     true},
    /* No look at the views: the type is that of a value that the caller has. */
    {"pgveil_name_typeof", "regtype", "text",
     "(SELECT quote_ident(CASE WHEN t.typelem <> '0'::oid AND t.typlen = '-1'::smallint THEN e.typname ELSE t.typname END) || CASE "
     "WHEN t.typelem <> '0'::oid AND t.typlen = '-1'::smallint THEN '[]' ELSE '' END FROM pg_catalog.pg_type AS t LEFT JOIN "
     "pg_catalog.pg_type AS e ON e.oid = t.typelem WHERE t.oid = $1::oid)",
     true},
    {"pgveil_write_typeof", "regtype", "text",
     "CASE WHEN $1::oid < '16384'::oid THEN $1::text ELSE {cat}.pgveil_name_typeof({cat}.pgveil_typeof($1)) END", false},
    {"pg_partition_ancestors", "oid", "oid", "$1", false},
    {"pg_partition_ancestors", "text", "oid", "CASE WHEN " DIGITS " THEN $1::oid END", false},
    BLANK("pg_get_function_arg_default", "oid, integer"),
    OF_PROC("pg_get_function_identity_arguments"),
    {"to_regproc", "text", "regproc", FUNCTION_BY_NAME, false},
    {"to_regprocedure", "text", "regprocedure", "{cat}.pgveil_function($1)::regprocedure", false},
    {"to_regclass", "text, name[]", "regclass", "{cat}.pgveil_relation($1, $2)::regclass", false},
    {"pgveil_table_is_visible", "oid, name[]", "boolean",
     "(SELECT coalesce(c.oid = " FIRST_OF_NAME("c.relname") ", false) FROM " CLASSES("c", "s") " WHERE c.oid = $1)", true},
    {"pgveil_function_is_visible", "oid, name[]", "boolean",
     "(SELECT 'questions' = ANY ($2) FROM {cat}.pg_proc AS f WHERE f.oid = $1)", true},
    {"pgveil_type_is_visible", "oid, name[]", "boolean",
     "(SELECT n.nspname = ANY ($2) FROM {cat}.pg_type AS t JOIN {cat}.pg_namespace AS n ON n.oid = t.typnamespace WHERE t.oid = $1)",
     true},
    IS_VISIBLE("table"),
    IS_VISIBLE("function"),
    IS_VISIBLE("type"),
    VISIBLE("pg_collation_is_visible", "pg_collation"),
    VISIBLE("pg_conversion_is_visible", "pg_conversion"),
    VISIBLE("pg_opclass_is_visible", "pg_opclass"),
    VISIBLE("pg_operator_is_visible", "pg_operator"),
    VISIBLE("pg_opfamily_is_visible", "pg_opfamily"),
    VISIBLE("pg_statistics_obj_is_visible", "pg_statistic_ext"),
    VISIBLE("pg_ts_config_is_visible", "pg_ts_config"),
    VISIBLE("pg_ts_dict_is_visible", "pg_ts_dict"),
    VISIBLE("pg_ts_parser_is_visible", "pg_ts_parser"),
    VISIBLE("pg_ts_template_is_visible", "pg_ts_template"),
    {"to_regnamespace", "text", "regnamespace",
     "(SELECT n.oid::regnamespace FROM {cat}.pg_namespace AS n CROSS JOIN (SELECT parse_ident($1)) AS i(parts) "
     "WHERE array_upper(i.parts, 1) = 1 AND n.nspname = i.parts[1])",
     false},
    {"to_regrole", "text", "regrole",
     "(SELECT m.oid::regrole FROM {cat}.pgveil_me AS m CROSS JOIN (SELECT parse_ident($1)) AS i(parts) "
     "WHERE array_upper(i.parts, 1) = 1 AND m.name = i.parts[1])",
     false},
    PRIVILEGES("has_table_privilege", ", name[]", "pg_class", NAMED_RELATION, "select", TABLE_WORDS),
    PRIVILEGES("has_any_column_privilege", ", name[]", "pg_class", NAMED_RELATION, "select", COLUMN_WORDS),
    COLUMN_PRIVILEGE("text", COLUMN_NAMED),
    COLUMN_PRIVILEGE("smallint", COLUMN_AT),
    PRIVILEGES("has_sequence_privilege", ", name[]", "pg_class", NAMED_SEQUENCE, "", "usage,select,update"),
    PRIVILEGES("has_schema_privilege", "", "pg_namespace", NAMED_SCHEMA, "usage", "create,usage"),
    PRIVILEGES("has_database_privilege", "", "pg_database", NAMED_DATABASE, "connect", "create,temporary,temp,connect"),
    PRIVILEGES("has_function_privilege", "", "pg_proc", NAMED_FUNCTION, "execute", "execute"),
    PRIVILEGES("has_language_privilege", "", "pg_language", NAMED_LANGUAGE, "usage", "usage"),
    PRIVILEGES("has_type_privilege", "", "pg_type", NAMED_TYPE, "usage", "usage"),
    PRIVILEGES("has_server_privilege", "", "pg_foreign_server", NAMED_SERVER, "", "usage"),
    PRIVILEGES("has_foreign_data_wrapper_privilege", "", "pg_foreign_data_wrapper", NAMED_WRAPPER, "", "usage"),
    PRIVILEGES("has_tablespace_privilege", "", "pg_tablespace", NAMED_TABLESPACE, "", "create"),
    BOOLEAN("pg_has_role", "name, text", OF_ROLE_NAME("true")),
    BOOLEAN("pg_has_role", "oid, text", OF_ROLE("true")),
    BOOLEAN("pg_has_role", "name, name, text", OF_ROLE_NAME("CASE WHEN $2 = {user} THEN true ELSE " MISSING("42704",
            "format('role \"%s\" does not exist', $2)") " END")),
    BOOLEAN("pg_has_role", "name, oid, text", OF_ROLE_NAME("$2 = {me}")),
    BOOLEAN("pg_has_role", "oid, name, text", OF_ROLE("$2 = {user}")),
    BOOLEAN("pg_has_role", "oid, oid, text", OF_ROLE("$2 = {me}")),
    {"pg_get_userbyid", "oid", "name", "CASE WHEN $1 = {me} THEN {user} ELSE ('unknown (OID=' || $1 || ')')::name END", false},
    TEXT("obj_description", "oid, name",
         "(SELECT d.description FROM {cat}.pg_description AS d WHERE d.objoid = $1 AND d.objsubid = 0 AND d.classoid = "
         "(SELECT k.oid FROM pg_catalog.pg_class AS k WHERE k.relname = $2 AND k.relnamespace = '11'::oid))"),
    TEXT("obj_description", "oid",
         "(SELECT d.description FROM {cat}.pg_description AS d WHERE d.objoid = $1 AND d.objsubid = 0 LIMIT 1)"),
    TEXT("col_description", "oid, integer",
         "(SELECT d.description FROM {cat}.pg_description AS d WHERE d.objoid = $1 AND d.objsubid = $2 AND d.classoid = "
         "'1259'::oid)"),
    BLANK("pg_describe_object", "oid, oid, integer"),
    BLANK("shobj_description", "oid, name"),
    OF_PROC("pg_get_function_arguments"),
    /* The server would name a type of a source's schema with that schema. A question gives a table. */
    TEXT("pg_get_function_result", "oid",
         "(SELECT CASE WHEN f.proargmodes IS NULL OR f.oid < '16384'::oid THEN pg_catalog.pg_get_function_result(f.oid) ELSE "
         "'TABLE(' || (SELECT string_agg(quote_ident(a.name) || ' ' || {cat}.format_type(a.kind, NULL), ', ' ORDER BY a.at) FROM "
         "unnest(f.proallargtypes, f.proargmodes, f.proargnames) WITH ORDINALITY AS a(kind, mode, name, at) WHERE a.mode = 't') "
         "|| ')' END FROM {cat}.pg_proc AS f WHERE f.oid = $1)"),
    BLANK("pg_get_function_sqlbody", "oid"),
    BLANK("pg_get_functiondef", "oid"),
    BLANK("pg_get_constraintdef", "oid"),
    BLANK("pg_get_constraintdef", "oid, boolean"),
    BLANK("pg_get_expr", "pg_node_tree, oid"),
    BLANK("pg_get_expr", "pg_node_tree, oid, boolean"),
    BLANK("pg_get_indexdef", "oid"),
    BLANK("pg_get_indexdef", "oid, integer, boolean"),
    BLANK("pg_get_partkeydef", "oid"),
    BLANK("pg_get_ruledef", "oid"),
    BLANK("pg_get_ruledef", "oid, boolean"),
    BLANK("pg_get_serial_sequence", "text, text"),
    BLANK("pg_get_statisticsobjdef", "oid"),
    BLANK("pg_get_statisticsobjdef_columns", "oid"),
    BLANK("pg_get_triggerdef", "oid"),
    BLANK("pg_get_triggerdef", "oid, boolean"),
    TEXT("pg_get_viewdef", "oid", "''::text"),
    TEXT("pg_get_viewdef", "oid, boolean", "''::text"),
    TEXT("pg_get_viewdef", "oid, integer", "''::text"),
    TEXT("pg_get_viewdef", "text", "''::text"),
    TEXT("pg_get_viewdef", "text, boolean", "''::text"),
    BY_OID_AND_NAME("pg_relation_filepath", "", "$2", "text", "NULL::text"),
    BY_OID_AND_NAME("pg_relation_filenode", "", "$2", "oid", "NULL::oid"),
    SIZE("pg_relation_size"),
    BY_OID_AND_NAME("pg_relation_size", ", text", "$3", "bigint", "'0'::bigint"),
    SIZE("pg_table_size"),
    SIZE("pg_indexes_size"),
    SIZE("pg_total_relation_size"),
    BY_OID_AND_NAME("pg_relation_is_publishable", "", "$2", "boolean", "false"),
    BY_OID_AND_NAME("pg_sequence_last_value", "", "$2", "bigint", "NULL::bigint"),
    BY_OID_AND_NAME("row_security_active", "", "$2", "boolean", "false"),
    ZERO("pg_database_size", "name"),
    ZERO("pg_database_size", "oid"),
    ZERO("pg_tablespace_size", "name"),
    ZERO("pg_tablespace_size", "oid"),
    ZERO("pg_stat_get_numscans", "oid"),
    TEXT("pg_tablespace_location", "oid", "''::text"),
    /* The database sees the proxy, not the client, and the proxy's own comings and goings are nobody's matter. */
    {"inet_client_addr", "", "inet", "NULL::inet", false},
    {"inet_client_port", "", "integer", "NULL::integer", false},
    {"inet_server_addr", "", "inet", "NULL::inet", false},
    {"inet_server_port", "", "integer", "NULL::integer", false},
    {"pg_postmaster_start_time", "", "timestamptz", "NULL::timestamptz", false},
    {"pg_conf_load_time", "", "timestamptz", "NULL::timestamptz", false},
    /*
     * All of a room's sessions share one login, so the database cannot tell whose another session is: the proxy says which
     * are the caller's, this one first, and carries the signal. A cancel of one's own is the server's, or it would be late.
     */
    {"pgveil_signal", "integer, integer[], boolean", "boolean",
     "BEGIN IF $1 = $2[1] THEN RETURN CASE WHEN $3 THEN pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid()) ELSE "
     "pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid()) END; ELSIF $1 = ANY ($2) THEN RAISE INFO USING ERRCODE = '"
     PV_VIEWS_SIGNAL_SQLSTATE "', MESSAGE = format('pgveil: %s %s', CASE WHEN $3 THEN 'end' ELSE 'cancel' END, $1); RETURN true; "
     "END IF; RAISE WARNING USING MESSAGE = format('PID %s is not a PostgreSQL backend process', $1); RETURN false; END",
     true},
    {"pg_cancel_backend", "integer, integer[]", "boolean", "BEGIN RETURN {cat}.pgveil_signal($1, $2, false); END", true},
    {"pg_terminate_backend", "integer, integer[]", "boolean", "BEGIN RETURN {cat}.pgveil_signal($1, $2, true); END", true},
    {"pg_terminate_backend", "integer, bigint, integer[]", "boolean", "BEGIN RETURN {cat}.pgveil_signal($1, $3, true); END", true},
    {"pgveil_activity", "json", "SETOF {cat}.pg_stat_activity",
     "BEGIN RETURN QUERY SELECT d.oid, d.datname, x.pid, NULL::integer, m.oid, x.usr, x.app, NULL::inet, NULL::text, NULL::integer, "
     "to_timestamp(x.began / 1e6), NULL::timestamptz, CASE WHEN x.asked > 0 THEN to_timestamp(x.asked / 1e6) END, "
     "CASE WHEN x.asked > 0 THEN to_timestamp(x.asked / 1e6) END, CASE WHEN x.query = '' THEN 'Client' END, "
     "CASE WHEN x.query = '' THEN 'ClientRead' END, x.state, NULL::xid, NULL::xid, NULL::bigint, x.query, 'client backend'::text "
     "FROM json_to_recordset($1) AS x(pid integer, usr name, app text, state text, query text, began bigint, asked bigint) "
     "CROSS JOIN {cat}.pg_database AS d CROSS JOIN {cat}.pgveil_me AS m; END",
     true},
};
const size_t pv_catalog_function_count = PV_COUNT_OF(pv_catalog_functions);
