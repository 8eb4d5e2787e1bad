/*
 * What stands in place of each relation of pg_catalog and information_schema. A relation
 * that is not here is missing for callers: pg_authid, pg_shadow, pg_statistic, pg_stats, pg_hba_file_rules, … Rows below
 * OID 16384 (FirstNormalObjectId) are the system's own, the same in every database.
 */
#include "policy/catalog_int.h"

#define SYSTEM "t.oid < '16384'::oid"
#define IN_SPACE(column) "EXISTS (SELECT 1 FROM {cat}.pgveil_space AS s WHERE s.oid = " column ")"
#define IN_CLASS(column) "EXISTS (SELECT 1 FROM {cat}.pg_class AS c WHERE c.oid = " column ")"
#define QUESTIONS "(SELECT q.oid FROM {cat}.pgveil_space AS q WHERE q.published = 'questions')"
#define RELATIONS \
    "{cat}.pg_class AS c JOIN {cat}.pg_namespace AS n ON n.oid = c.relnamespace"

/* Information schema: rows of the room's schemas and the system's; names, catalogs and owners are exchanged by rule. */
#define SCHEMA_IS_SEEN(column) \
    "EXISTS (SELECT 1 FROM {cat}.pgveil_space AS s WHERE s.physical::text = t." column "::text)"

#define RECIPE(from, where, overrides) &(const struct pv_catalog_recipe) {from, where, overrides}
#define VIEW(name, from, where, overrides) \
    {{PV_RELATION_CATALOG, "pg_catalog", #name, NULL, 0, NULL}, PV_CATALOG_VIEW, #name, RECIPE(from, where, overrides)},
#define INFO(name, from, where, overrides) \
    {{PV_RELATION_CATALOG, "information_schema", #name, NULL, 0, NULL}, PV_CATALOG_VIEW, "is_" #name, \
     RECIPE(from, where, overrides)},
#define EMPTY(name) VIEW(name, NULL, "false", NULL)
#define INFO_EMPTY(name) INFO(name, NULL, "false", NULL)
#define OWN(name) VIEW(name, NULL, SYSTEM, NULL)
#define PASS(schema, name) {{PV_RELATION_CATALOG, schema, #name, NULL, 0, NULL}, PV_CATALOG_PASS, #name, NULL},

/* In the order of making: a row rests on rows above it only. */
const struct pv_catalog_relation pv_catalog_relations[] = {
    VIEW(pg_namespace, "pg_catalog.pg_namespace AS t JOIN {cat}.pgveil_space AS s ON s.oid = t.oid", NULL,
         "nspname=s.published;nspowner={me};nspacl=NULL::aclitem[]")
    VIEW(pg_class, NULL,
         "CASE WHEN " SYSTEM " THEN " IN_SPACE("t.relnamespace")
         " ELSE t.relkind = 'v' AND EXISTS (SELECT 1 FROM {cat}.pgveil_space AS s WHERE s.oid = t.relnamespace AND s.is_room)"
         " AND has_table_privilege(t.oid, 'SELECT') END",
         "relkind=CASE WHEN t.oid >= '16384'::oid AND t.relnamespace <> " QUESTIONS " THEN 'r'::\"char\" ELSE t.relkind END;"
         "relowner={me};relacl=NULL::aclitem[];reltuples='-1'::real;relpages=0;relallvisible=0;relfilenode='0'::oid;"
         "reltoastrelid='0'::oid;relhasrules=t.relhasrules AND " SYSTEM ";relhasindex=false;relhastriggers=false;"
         "reloptions=NULL::text[];relpartbound=NULL::pg_node_tree;relchecks='0'::smallint;"
         "relreplident=CASE WHEN " SYSTEM " THEN t.relreplident ELSE 'd'::\"char\" END;"
         "relam=CASE WHEN " SYSTEM " OR t.relnamespace = " QUESTIONS " THEN t.relam ELSE '2'::oid END")
    VIEW(pg_attribute, NULL, IN_CLASS("t.attrelid"),
         "attacl=NULL::aclitem[];attoptions=NULL::text[];attfdwoptions=NULL::text[];attmissingval=NULL::text[];"
         "atthasdef=false;attidentity=''::\"char\";attgenerated=''::\"char\";attstattarget='-1'::integer")
    VIEW(pg_type, NULL,
         SYSTEM " OR t.typrelid IN (SELECT c.oid FROM {cat}.pg_class AS c) OR t.oid IN (WITH RECURSIVE used(oid) AS ("
         "SELECT a.atttypid FROM {cat}.pg_attribute AS a WHERE a.atttypid >= '16384'::oid UNION "
         "SELECT x.found FROM used AS u JOIN pg_catalog.pg_type AS y ON y.oid = u.oid CROSS JOIN LATERAL "
         "(VALUES (y.typelem), (y.typbasetype), (y.typarray)) AS x(found) WHERE x.found <> '0'::oid) "
         "SELECT u.oid FROM used AS u)",
         "typnamespace=CASE WHEN " IN_SPACE("t.typnamespace") " THEN t.typnamespace ELSE '11'::oid END;typowner={me};"
         "typacl=NULL::aclitem[];typdefault=CASE WHEN " SYSTEM " THEN t.typdefault END;typdefaultbin=NULL::pg_node_tree")
    VIEW(pg_enum, NULL, "EXISTS (SELECT 1 FROM {cat}.pg_type AS y WHERE y.oid = t.enumtypid)", NULL)
    VIEW(pg_proc, NULL,
         "CASE WHEN " SYSTEM " THEN " IN_SPACE("t.pronamespace") " ELSE t.pronamespace = " QUESTIONS
         " AND has_function_privilege(t.oid, 'EXECUTE') END",
         "proowner={me};proacl=NULL::aclitem[];prosrc=CASE WHEN " SYSTEM " THEN t.prosrc ELSE '' END;probin=NULL::text;"
         "prosqlbody=NULL::pg_node_tree;proconfig=NULL::text[];proargdefaults=NULL::pg_node_tree")
    VIEW(pg_description, "(SELECT d.objoid, d.classoid, d.objsubid, d.description FROM pg_catalog.pg_description AS d "
         "WHERE d.objoid < '16384'::oid UNION ALL SELECT w.objoid, w.classoid, w.objsubid, w.description "
         "FROM {cat}.pgveil_title AS w) AS t", NULL, NULL)
    VIEW(pg_shdescription, NULL, "false", NULL)
    VIEW(pg_roles, "{cat}.pgveil_me AS t", NULL,
         "rolname=t.name;rolsuper=false;rolinherit=true;rolcreaterole=false;rolcreatedb=false;rolcanlogin=true;"
         "rolreplication=false;rolconnlimit='-1'::integer;rolpassword='********'::text;rolvaliduntil=NULL::timestamptz;"
         "rolbypassrls=false;rolconfig=NULL::text[];oid=t.oid")
    VIEW(pg_user, "{cat}.pgveil_me AS t", NULL,
         "usename=t.name;usesysid=t.oid;usecreatedb=false;usesuper=false;userepl=false;usebypassrls=false;"
         "passwd='********'::text;valuntil=NULL::timestamptz;useconfig=NULL::text[]")
    VIEW(pg_database, NULL, "t.datname = current_database()",
         "datname={room}::name;datdba={me};datacl=NULL::aclitem[];datallowconn=true;datistemplate=false")
    VIEW(pg_settings, NULL,
         "t.name = ANY ('{DateStyle,TimeZone,IntervalStyle,application_name,array_nulls,backslash_quote,block_size,"
         "bytea_output,client_encoding,client_min_messages,default_transaction_isolation,"
         "default_transaction_read_only,default_transaction_deferrable,extra_float_digits,"
         "idle_in_transaction_session_timeout,integer_datetimes,jit,lc_collate,lc_ctype,lock_timeout,max_function_args,"
         "max_identifier_length,max_index_keys,server_encoding,server_version,server_version_num,"
         "standard_conforming_strings,statement_timeout,transaction_deferrable,transaction_isolation,"
         "transaction_read_only}'::text[])",
         "sourcefile=NULL::text;sourceline=NULL::integer;reset_val=t.setting;source='default'::text")
    VIEW(pg_stat_activity, NULL, "t.pid = pg_backend_pid()",
         "datname={room}::name;usesysid={me};usename={user};client_addr=NULL::inet;client_hostname=NULL::text;"
         "client_port=NULL::integer;query=''::text;query_id=NULL::bigint")
    VIEW(pg_tables, RELATIONS, "c.relkind IN ('r', 'p')",
         "schemaname=n.nspname;tablename=c.relname;tableowner={user};tablespace=NULL::name;hasindexes=false;hasrules=false;"
         "hastriggers=false;rowsecurity=false")
    VIEW(pg_views, RELATIONS, "c.relkind = 'v'",
         "schemaname=n.nspname;viewname=c.relname;viewowner={user};definition=''::text")
    VIEW(pg_subscription, "(SELECT NULL::text) AS t(x)", "false",
         "oid=NULL::oid;subdbid=NULL::oid;subskiplsn=NULL::pg_lsn;subname=NULL::name;subowner=NULL::oid;"
         "subenabled=NULL::boolean;subbinary=NULL::boolean;substream=NULL::boolean;subtwophasestate=NULL::\"char\";"
         "subdisableonerr=NULL::boolean;subconninfo=NULL::text;subslotname=NULL::name;subsynccommit=NULL::text;"
         "subpublications=NULL::text[]")
    VIEW(pg_tablespace, NULL, SYSTEM, "spcowner={me};spcacl=NULL::aclitem[];spcoptions=NULL::text[]")
    VIEW(pg_language, NULL, SYSTEM, "lanowner={me};lanacl=NULL::aclitem[]")
    VIEW(pg_extension, NULL, SYSTEM, "extowner={me};extconfig=NULL::oid[];extcondition=NULL::text[]")
    VIEW(pg_collation, NULL, SYSTEM, "collowner={me}")
    VIEW(pg_conversion, NULL, SYSTEM, "conowner={me}")
    VIEW(pg_operator, NULL, SYSTEM, "oprowner={me}")
    VIEW(pg_opclass, NULL, SYSTEM, "opcowner={me}")
    VIEW(pg_opfamily, NULL, SYSTEM, "opfowner={me}")
    VIEW(pg_ts_config, NULL, SYSTEM, "cfgowner={me}")
    VIEW(pg_ts_dict, NULL, SYSTEM, "dictowner={me};dictinitoption=NULL::text")
    OWN(pg_am) OWN(pg_amop) OWN(pg_amproc) OWN(pg_cast) OWN(pg_ts_parser) OWN(pg_ts_template)
    VIEW(pg_aggregate, NULL, "t.aggfnoid::oid < '16384'::oid", NULL)
    VIEW(pg_range, NULL, "t.rngtypid < '16384'::oid", NULL)
    VIEW(pg_ts_config_map, NULL, "t.mapcfg < '16384'::oid", NULL)
    EMPTY(pg_attrdef) EMPTY(pg_auth_members) EMPTY(pg_available_extension_versions) EMPTY(pg_available_extensions)
    EMPTY(pg_constraint) EMPTY(pg_cursors) EMPTY(pg_db_role_setting) EMPTY(pg_default_acl) EMPTY(pg_depend)
    EMPTY(pg_event_trigger) EMPTY(pg_foreign_data_wrapper) EMPTY(pg_foreign_server) EMPTY(pg_foreign_table)
    EMPTY(pg_group) EMPTY(pg_index) EMPTY(pg_indexes) EMPTY(pg_inherits) EMPTY(pg_init_privs)
    EMPTY(pg_largeobject_metadata) EMPTY(pg_locks) EMPTY(pg_matviews) EMPTY(pg_parameter_acl)
    EMPTY(pg_partitioned_table) EMPTY(pg_policies) EMPTY(pg_policy) EMPTY(pg_prepared_statements)
    EMPTY(pg_prepared_xacts) EMPTY(pg_publication) EMPTY(pg_publication_namespace) EMPTY(pg_publication_rel)
    EMPTY(pg_publication_tables) EMPTY(pg_replication_origin) EMPTY(pg_replication_slots) EMPTY(pg_rewrite)
    EMPTY(pg_rules) EMPTY(pg_seclabel) EMPTY(pg_seclabels) EMPTY(pg_sequence) EMPTY(pg_sequences) EMPTY(pg_shdepend)
    EMPTY(pg_shseclabel) EMPTY(pg_stat_all_indexes) EMPTY(pg_stat_all_tables) EMPTY(pg_stat_archiver)
    EMPTY(pg_stat_bgwriter) EMPTY(pg_stat_database) EMPTY(pg_stat_database_conflicts) EMPTY(pg_stat_gssapi)
    EMPTY(pg_stat_progress_analyze) EMPTY(pg_stat_progress_basebackup) EMPTY(pg_stat_progress_cluster)
    EMPTY(pg_stat_progress_copy) EMPTY(pg_stat_progress_create_index) EMPTY(pg_stat_progress_vacuum)
    EMPTY(pg_stat_replication) EMPTY(pg_stat_replication_slots) EMPTY(pg_stat_slru) EMPTY(pg_stat_ssl)
    EMPTY(pg_stat_subscription) EMPTY(pg_stat_subscription_stats) EMPTY(pg_stat_sys_indexes)
    EMPTY(pg_stat_sys_tables) EMPTY(pg_stat_user_functions) EMPTY(pg_stat_user_indexes) EMPTY(pg_stat_user_tables)
    EMPTY(pg_stat_wal) EMPTY(pg_stat_wal_receiver) EMPTY(pg_stat_xact_all_tables) EMPTY(pg_stat_xact_sys_tables)
    EMPTY(pg_stat_xact_user_functions) EMPTY(pg_stat_xact_user_tables) EMPTY(pg_statio_all_indexes)
    EMPTY(pg_statio_all_sequences) EMPTY(pg_statio_all_tables) EMPTY(pg_statio_sys_indexes)
    EMPTY(pg_statio_sys_sequences) EMPTY(pg_statio_sys_tables) EMPTY(pg_statio_user_indexes)
    EMPTY(pg_statio_user_sequences) EMPTY(pg_statio_user_tables) EMPTY(pg_statistic_ext) EMPTY(pg_subscription_rel)
    EMPTY(pg_transform) EMPTY(pg_trigger) EMPTY(pg_user_mappings)
    PASS("pg_catalog", pg_timezone_abbrevs) PASS("pg_catalog", pg_timezone_names)

    INFO(information_schema_catalog_name, NULL, NULL, NULL)
    INFO(schemata, NULL, SCHEMA_IS_SEEN("schema_name"), NULL)
    INFO(tables, NULL, SCHEMA_IS_SEEN("table_schema"),
         "table_type=CASE WHEN EXISTS (SELECT 1 FROM {cat}.pgveil_space AS s WHERE s.physical::text = t.table_schema::text AND "
         "s.is_room AND s.published <> 'questions') THEN 'BASE TABLE' ELSE t.table_type END;is_insertable_into='NO'")
    INFO(columns, NULL, SCHEMA_IS_SEEN("table_schema"), "column_default=NULL;is_updatable='NO'")
    INFO(views, NULL,
         "EXISTS (SELECT 1 FROM {cat}.pgveil_space AS s WHERE s.physical::text = t.table_schema::text AND "
         "(NOT s.is_room OR s.published = 'questions'))",
         "view_definition=NULL;is_updatable='NO';is_insertable_into='NO'")
    INFO(routines, NULL, SCHEMA_IS_SEEN("specific_schema"), "routine_definition=NULL")
    INFO(parameters, NULL, SCHEMA_IS_SEEN("specific_schema"), "parameter_default=NULL")
    INFO(element_types, NULL, SCHEMA_IS_SEEN("object_schema"), NULL)
    INFO(attributes, NULL, SCHEMA_IS_SEEN("udt_schema"), "attribute_default=NULL")
    INFO(character_sets, NULL, NULL, NULL)
    INFO(collations, NULL, SCHEMA_IS_SEEN("collation_schema"), NULL)
    INFO(collation_character_set_applicability, NULL, SCHEMA_IS_SEEN("collation_schema"), NULL)
    INFO(table_privileges, NULL, SCHEMA_IS_SEEN("table_schema") " AND t.grantee::text IN (session_user::text, 'PUBLIC')",
         "grantee={user};grantor={user};is_grantable='NO'")
    INFO(column_privileges, NULL,
         SCHEMA_IS_SEEN("table_schema") " AND t.grantee::text IN (session_user::text, 'PUBLIC')",
         "grantee={user};grantor={user};is_grantable='NO'")
    INFO(enabled_roles, "{cat}.pgveil_me AS t", NULL, "role_name=t.name")
    INFO_EMPTY(administrable_role_authorizations) INFO_EMPTY(applicable_roles)
    INFO_EMPTY(check_constraint_routine_usage) INFO_EMPTY(check_constraints) INFO_EMPTY(column_column_usage)
    INFO_EMPTY(column_domain_usage) INFO_EMPTY(column_options) INFO_EMPTY(column_udt_usage)
    INFO_EMPTY(constraint_column_usage) INFO_EMPTY(constraint_table_usage) INFO_EMPTY(data_type_privileges)
    INFO_EMPTY(domain_constraints) INFO_EMPTY(domain_udt_usage) INFO_EMPTY(domains)
    INFO_EMPTY(foreign_data_wrapper_options) INFO_EMPTY(foreign_data_wrappers) INFO_EMPTY(foreign_server_options)
    INFO_EMPTY(foreign_servers) INFO_EMPTY(foreign_table_options) INFO_EMPTY(foreign_tables)
    INFO_EMPTY(key_column_usage) INFO_EMPTY(referential_constraints) INFO_EMPTY(role_column_grants)
    INFO_EMPTY(role_routine_grants) INFO_EMPTY(role_table_grants) INFO_EMPTY(role_udt_grants)
    INFO_EMPTY(role_usage_grants) INFO_EMPTY(routine_column_usage) INFO_EMPTY(routine_privileges)
    INFO_EMPTY(routine_routine_usage) INFO_EMPTY(routine_sequence_usage) INFO_EMPTY(routine_table_usage)
    INFO_EMPTY(sequences) INFO_EMPTY(table_constraints) INFO_EMPTY(triggered_update_columns)
    INFO_EMPTY(triggers) INFO_EMPTY(udt_privileges) INFO_EMPTY(usage_privileges) INFO_EMPTY(user_defined_types)
    INFO_EMPTY(user_mapping_options) INFO_EMPTY(user_mappings) INFO_EMPTY(view_column_usage)
    INFO_EMPTY(view_routine_usage) INFO_EMPTY(view_table_usage)
    PASS("information_schema", sql_features) PASS("information_schema", sql_implementation_info)
    PASS("information_schema", sql_parts) PASS("information_schema", sql_sizing)
};
const size_t pv_catalog_relation_count = PV_COUNT_OF(pv_catalog_relations);

/* ---- functions that look behind the views: ours of the same name stand in ---- */

#define HOLDS(argument, privilege) "$" argument " ~* '(^|,)[[:space:]]*" privilege "[[:space:]]*(,|$)'"
/* By name or OID, with and without a role in front. The object is not looked at, so nothing is told of it. */
#define PRIVILEGE(name, privilege) \
    {name, "text, text", "boolean", HOLDS("2", privilege)}, {name, "oid, text", "boolean", HOLDS("2", privilege)}, \
        {name, "name, text, text", "boolean", HOLDS("3", privilege)}, \
        {name, "name, oid, text", "boolean", HOLDS("3", privilege)}, \
        {name, "oid, text, text", "boolean", HOLDS("3", privilege)}, \
        {name, "oid, oid, text", "boolean", HOLDS("3", privilege)}
/* Of a relation by name: one that the room does not hold is missing, in the words of a cast that fails. */
#define NAMED_PRIVILEGE(name_at, privilege_at, privilege) \
    "CASE WHEN " RELATION_NAMED(name_at) " IS NULL THEN quote_ident(" name_at ")::regclass IS NULL ELSE " \
    HOLDS(privilege_at, privilege) " END"
#define RELATION_PRIVILEGE(name, privilege) \
    {name, "text, text", "boolean", NAMED_PRIVILEGE("$1", "2", privilege)}, \
        {name, "oid, text", "boolean", HOLDS("2", privilege)}, \
        {name, "name, text, text", "boolean", NAMED_PRIVILEGE("$2", "3", privilege)}, \
        {name, "name, oid, text", "boolean", HOLDS("3", privilege)}, \
        {name, "oid, text, text", "boolean", NAMED_PRIVILEGE("$2", "3", privilege)}, \
        {name, "oid, oid, text", "boolean", HOLDS("3", privilege)}
#define COLUMN_PRIVILEGE(object, column) \
    {"has_column_privilege", object ", " column ", text", "boolean", HOLDS("3", "select")}, \
        {"has_column_privilege", "name, " object ", " column ", text", "boolean", HOLDS("4", "select")}, \
        {"has_column_privilege", "oid, " object ", " column ", text", "boolean", HOLDS("4", "select")}
#define BLANK(name, arguments) {name, arguments, "text", "NULL::text"}
#define ZERO(name, arguments) {name, arguments, "bigint", "'0'::bigint"}
/* The system's take a regclass: its input would look a written name up among everybody's. */
#define BY_OID_AND_NAME(name, more, returns, body) {name, "oid" more, returns, body}, {name, "text" more, returns, body}
#define OF_PROC(name) \
    {name, "oid", "text", "CASE WHEN EXISTS (SELECT 1 FROM {cat}.pg_proc AS f WHERE f.oid = $1) THEN pg_catalog." name "($1) END"}

/* An OID in digits, as casts hand it over; a name that is nobody's, so that its cast fails as a missing one's does. */
#define DIGITS "$1 ~ '^[0-9]+$'"
#define MISSING(type) "quote_ident(replace($1, '.', '_'))::" type
#define RELATION_BY_NAME RELATION_NAMED("$1")
#define RELATION_NAMED(argument) \
    "(SELECT c.oid::regclass FROM {cat}.pg_class AS c JOIN {cat}.pg_namespace AS n ON n.oid = c.relnamespace " \
     "CROSS JOIN (SELECT parse_ident(" argument ")) AS i(parts) WHERE c.relname = i.parts[array_upper(i.parts, 1)] AND " \
     "CASE array_upper(i.parts, 1) WHEN 1 THEN pg_table_is_visible(c.oid) WHEN 2 THEN n.nspname = i.parts[1] " \
     "WHEN 3 THEN i.parts[1] = {room} AND n.nspname = i.parts[2] ELSE false END " \
     "ORDER BY n.nspname = 'pg_catalog' DESC, n.nspname = 'public' DESC, n.nspname LIMIT 1)"
#define TYPE_BY_NAME \
    "(SELECT t.oid::regtype FROM {cat}.pg_type AS t WHERE t.typname = replace(lower($1), 'pg_catalog.', '') OR " \
    "pg_catalog.format_type(t.oid, NULL) = lower($1) ORDER BY t.oid LIMIT 1)"
#define FUNCTION_BY_NAME \
    "(SELECT f.oid::regproc FROM {cat}.pg_proc AS f WHERE f.proname = replace($1, 'pg_catalog.', '') ORDER BY f.oid LIMIT 1)"
/* Whether a relation is found by its bare name is a matter of the caller's search_path, $2; the server's is pinned. */
#define PATH_PLACE(name) "array_position(array_prepend('pg_catalog'::name, $2), " name ")"
#define FIRST_OF_NAME(name) \
    "(SELECT x.oid FROM {cat}.pg_class AS x JOIN {cat}.pg_namespace AS m ON m.oid = x.relnamespace WHERE x.relname = " name \
    " AND " PATH_PLACE("m.nspname") " IS NOT NULL ORDER BY " PATH_PLACE("m.nspname") " LIMIT 1)"
#define RELATION_ON_PATH \
    "(SELECT CASE array_upper(i.parts, 1) WHEN 1 THEN " FIRST_OF_NAME("i.parts[1]") " ELSE (SELECT c.oid FROM {cat}.pg_class AS c " \
    "JOIN {cat}.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relname = i.parts[array_upper(i.parts, 1)] AND " \
    "CASE array_upper(i.parts, 1) WHEN 2 THEN n.nspname = i.parts[1] " \
    "WHEN 3 THEN i.parts[1] = {room} AND n.nspname = i.parts[2] ELSE false END) END::regclass FROM (SELECT parse_ident($1)) AS i(parts))"
/* Casts to types that look names up: the room's own and the system's objects, nobody else's. */
#define SYSTEM_ONLY(type) \
    {"pgveil_" type, "text", type, \
     "CASE WHEN " DIGITS " AND length($1) < 6 AND $1::integer < 16384 THEN $1::oid::" type " ELSE '0'::oid::" type " END"}

const struct pv_catalog_function pv_catalog_functions[] = {
    {"pgveil_regclass", "text", "regclass",
     "CASE WHEN " DIGITS " THEN coalesce((SELECT c.oid::regclass FROM {cat}.pg_class AS c WHERE c.oid = $1::oid), "
     "'0'::oid::regclass) WHEN $1 = '-' THEN '0'::oid::regclass ELSE coalesce(" RELATION_BY_NAME ", " MISSING("regclass")
     ") END"},
    {"pgveil_regtype", "text", "regtype",
     "CASE WHEN " DIGITS " THEN coalesce((SELECT t.oid::regtype FROM {cat}.pg_type AS t WHERE t.oid = $1::oid), "
     "'0'::oid::regtype) WHEN $1 = '-' THEN '0'::oid::regtype ELSE coalesce(" TYPE_BY_NAME ", " MISSING("regtype") ") END"},
    {"pgveil_regproc", "text", "regproc",
     "CASE WHEN " DIGITS " THEN coalesce((SELECT f.oid::regproc FROM {cat}.pg_proc AS f WHERE f.oid = $1::oid), "
     "'0'::oid::regproc) WHEN $1 = '-' THEN '0'::oid::regproc ELSE coalesce(" FUNCTION_BY_NAME ", " MISSING("regproc") ") END"},
    {"pgveil_regprocedure", "text", "regprocedure",
     "coalesce((SELECT f.oid::regprocedure FROM {cat}.pg_proc AS f WHERE f.oid = CASE WHEN " DIGITS
     " THEN $1::oid END), '0'::oid::regprocedure)"},
    {"pgveil_regnamespace", "text", "name",
     "(SELECT n.nspname FROM {cat}.pg_namespace AS n WHERE n.oid = CASE WHEN " DIGITS " THEN $1::oid END OR n.nspname = $1)"},
    {"pgveil_regrole", "text", "name",
     "CASE WHEN $1 = {me}::text OR $1 = {user} THEN {user} ELSE '-'::name END"},
    SYSTEM_ONLY("regoper"),
    SYSTEM_ONLY("regoperator"),
    SYSTEM_ONLY("regconfig"),
    SYSTEM_ONLY("regdictionary"),
    SYSTEM_ONLY("regcollation"),
    {"format_type", "oid, integer", "text",
     "CASE WHEN $1 IS NULL THEN NULL WHEN $1 < '16384'::oid OR EXISTS (SELECT 1 FROM {cat}.pg_type AS t WHERE t.oid = $1) "
     "THEN pg_catalog.format_type($1, $2) ELSE '-' END"},
    {"pg_partition_ancestors", "oid", "oid", "$1"},
    {"pg_partition_ancestors", "text", "oid", "CASE WHEN " DIGITS " THEN $1::oid END"},
    BLANK("pg_get_function_arg_default", "oid, integer"),
    OF_PROC("pg_get_function_identity_arguments"),
    {"to_regtype", "text", "regtype", TYPE_BY_NAME},
    {"to_regproc", "text", "regproc", FUNCTION_BY_NAME},
    {"to_regclass", "text", "regclass", RELATION_BY_NAME},
    {"to_regclass", "text, name[]", "regclass", RELATION_ON_PATH},
    {"pg_table_is_visible", "oid, name[]", "boolean",
     "CASE WHEN $1 < '16384'::oid THEN pg_catalog.pg_table_is_visible($1) ELSE "
     "(SELECT coalesce(c.oid = " FIRST_OF_NAME("c.relname") ", false) FROM {cat}.pg_class AS c WHERE c.oid = $1) END"},
    {"pg_function_is_visible", "oid, name[]", "boolean",
     "CASE WHEN $1 < '16384'::oid THEN pg_catalog.pg_function_is_visible($1) ELSE "
     "(SELECT 'questions' = ANY ($2) FROM {cat}.pg_proc AS f WHERE f.oid = $1) END"},
    {"to_regnamespace", "text", "regnamespace",
     "(SELECT n.oid::regnamespace FROM {cat}.pg_namespace AS n CROSS JOIN (SELECT parse_ident($1)) AS i(parts) "
     "WHERE array_upper(i.parts, 1) = 1 AND n.nspname = i.parts[1])"},
    {"to_regrole", "text", "regrole",
     "(SELECT m.oid::regrole FROM {cat}.pgveil_me AS m CROSS JOIN (SELECT parse_ident($1)) AS i(parts) "
     "WHERE array_upper(i.parts, 1) = 1 AND m.name = i.parts[1])"},
    RELATION_PRIVILEGE("has_table_privilege", "select"),
    RELATION_PRIVILEGE("has_any_column_privilege", "select"),
    COLUMN_PRIVILEGE("text", "text"),
    COLUMN_PRIVILEGE("text", "smallint"),
    COLUMN_PRIVILEGE("oid", "text"),
    COLUMN_PRIVILEGE("oid", "smallint"),
    PRIVILEGE("has_schema_privilege", "usage"),
    PRIVILEGE("has_database_privilege", "connect"),
    PRIVILEGE("has_function_privilege", "execute"),
    PRIVILEGE("has_language_privilege", "usage"),
    PRIVILEGE("has_type_privilege", "usage"),
    PRIVILEGE("has_sequence_privilege", "none"),
    PRIVILEGE("has_server_privilege", "none"),
    PRIVILEGE("has_foreign_data_wrapper_privilege", "none"),
    PRIVILEGE("has_tablespace_privilege", "none"),
    {"pg_has_role", "name, text", "boolean", "$1 = {user}"},
    {"pg_has_role", "oid, text", "boolean", "$1 = {me}"},
    {"pg_has_role", "name, name, text", "boolean", "$2 = {user}"},
    {"pg_has_role", "name, oid, text", "boolean", "$2 = {me}"},
    {"pg_has_role", "oid, name, text", "boolean", "$2 = {user}"},
    {"pg_has_role", "oid, oid, text", "boolean", "$2 = {me}"},
    {"pg_get_userbyid", "oid", "name", "CASE WHEN $1 = {me} THEN {user} ELSE ('unknown (OID=' || $1 || ')')::name END"},
    {"obj_description", "oid, name", "text",
     "(SELECT d.description FROM {cat}.pg_description AS d WHERE d.objoid = $1 AND d.objsubid = 0 AND d.classoid = "
     "(SELECT k.oid FROM pg_catalog.pg_class AS k WHERE k.relname = $2 AND k.relnamespace = '11'::oid))"},
    {"obj_description", "oid", "text",
     "(SELECT d.description FROM {cat}.pg_description AS d WHERE d.objoid = $1 AND d.objsubid = 0 LIMIT 1)"},
    {"col_description", "oid, integer", "text",
     "(SELECT d.description FROM {cat}.pg_description AS d WHERE d.objoid = $1 AND d.objsubid = $2 AND d.classoid = "
     "'1259'::oid)"},
    BLANK("shobj_description", "oid, name"),
    OF_PROC("pg_get_function_arguments"),
    OF_PROC("pg_get_function_result"),
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
    {"pg_get_viewdef", "oid", "text", "''::text"},
    {"pg_get_viewdef", "oid, boolean", "text", "''::text"},
    {"pg_get_viewdef", "oid, integer", "text", "''::text"},
    {"pg_get_viewdef", "text", "text", "''::text"},
    {"pg_get_viewdef", "text, boolean", "text", "''::text"},
    BY_OID_AND_NAME("pg_relation_filepath", "", "text", "NULL::text"),
    BY_OID_AND_NAME("pg_relation_filenode", "", "oid", "NULL::oid"),
    BY_OID_AND_NAME("pg_relation_size", "", "bigint", "'0'::bigint"),
    BY_OID_AND_NAME("pg_relation_size", ", text", "bigint", "'0'::bigint"),
    BY_OID_AND_NAME("pg_table_size", "", "bigint", "'0'::bigint"),
    BY_OID_AND_NAME("pg_indexes_size", "", "bigint", "'0'::bigint"),
    BY_OID_AND_NAME("pg_total_relation_size", "", "bigint", "'0'::bigint"),
    BY_OID_AND_NAME("pg_relation_is_publishable", "", "boolean", "false"),
    ZERO("pg_database_size", "name"),
    ZERO("pg_database_size", "oid"),
    ZERO("pg_tablespace_size", "name"),
    ZERO("pg_tablespace_size", "oid"),
    ZERO("pg_stat_get_numscans", "oid"),
    BY_OID_AND_NAME("pg_sequence_last_value", "", "bigint", "NULL::bigint"),
    {"pg_tablespace_location", "oid", "text", "''::text"},
    {"inet_server_addr", "", "inet", "NULL::inet"},
    {"inet_server_port", "", "integer", "NULL::integer"},
    /* All of a room's sessions share one login, so the database cannot tell whose another session is: one's own alone. */
    {"pg_cancel_backend", "integer", "boolean", "CASE WHEN $1 = pg_backend_pid() THEN pg_catalog.pg_cancel_backend($1) ELSE false END"},
    {"pg_terminate_backend", "integer", "boolean",
     "CASE WHEN $1 = pg_backend_pid() THEN pg_catalog.pg_terminate_backend($1) ELSE false END"},
    {"pg_terminate_backend", "integer, bigint", "boolean",
     "CASE WHEN $1 = pg_backend_pid() THEN pg_catalog.pg_terminate_backend($1) ELSE false END"},
    {"row_security_active", "oid", "boolean", "false"},
    {"row_security_active", "text", "boolean", "false"},
};
const size_t pv_catalog_function_count = PV_COUNT_OF(pv_catalog_functions);
