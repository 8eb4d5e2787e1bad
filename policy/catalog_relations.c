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
/* Where a data set's own types are shown, wherever they stand. */
#define TYPE_SPACE(column) \
    "(SELECT s." column " FROM {cat}.pgveil_space AS s WHERE s.is_room ORDER BY s.published <> 'public', s.published LIMIT 1)"
#define RELATIONS \
    "{cat}.pg_class AS c JOIN {cat}.pg_namespace AS n ON n.oid = c.relnamespace"

/* Which tables there are, as some drivers ask for it here; how they are used is nobody's to know. */
#define SEEN_TABLES \
    "(SELECT c.oid AS relid, n.nspname AS schemaname, c.relname AS relname FROM " RELATIONS \
    " WHERE c.relkind = 'r' AND c.oid >= '16384'::oid) AS t"
#define NO_USE \
    "seq_scan='0'::bigint;seq_tup_read='0'::bigint;idx_scan=NULL::bigint;idx_tup_fetch=NULL::bigint;n_tup_ins='0'::bigint;" \
    "n_tup_upd='0'::bigint;n_tup_del='0'::bigint;n_tup_hot_upd='0'::bigint;n_live_tup='0'::bigint;n_dead_tup='0'::bigint;" \
    "n_mod_since_analyze='0'::bigint;n_ins_since_vacuum='0'::bigint;last_vacuum=NULL::timestamptz;" \
    "last_autovacuum=NULL::timestamptz;last_analyze=NULL::timestamptz;last_autoanalyze=NULL::timestamptz;" \
    "vacuum_count='0'::bigint;autovacuum_count='0'::bigint;analyze_count='0'::bigint;autoanalyze_count='0'::bigint"
#define NO_IO \
    "heap_blks_read='0'::bigint;heap_blks_hit='0'::bigint;idx_blks_read=NULL::bigint;idx_blks_hit=NULL::bigint;" \
    "toast_blks_read='0'::bigint;toast_blks_hit='0'::bigint;tidx_blks_read='0'::bigint;tidx_blks_hit='0'::bigint"

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
         "nspname=s.published;nspowner={me};nspacl=NULL::text[]")
    VIEW(pg_class, NULL,
         "CASE WHEN " SYSTEM " THEN " IN_SPACE("t.relnamespace")
         " ELSE t.relkind = 'v' AND EXISTS (SELECT 1 FROM {cat}.pgveil_space AS s WHERE s.oid = t.relnamespace AND s.is_room)"
         " AND has_table_privilege(t.oid, 'SELECT') END",
         "relkind=CASE WHEN t.oid >= '16384'::oid AND t.relnamespace <> " QUESTIONS " THEN 'r'::\"char\" ELSE t.relkind END;"
         "relowner={me};relfrozenxid='0'::xid;relminmxid='0'::xid;relacl=NULL::text[];reltuples='-1'::real;relpages=0;relallvisible=0;relfilenode='0'::oid;"
         "reltoastrelid='0'::oid;relhasrules=t.relhasrules AND " SYSTEM ";relhasindex=false;relhastriggers=false;"
         "reloptions=NULL::text[];relpartbound=NULL::pg_node_tree;relchecks='0'::smallint;"
         "relreplident=CASE WHEN " SYSTEM " OR t.relnamespace = " QUESTIONS " THEN t.relreplident ELSE 'd'::\"char\" END;"
         "relam=CASE WHEN " SYSTEM " OR t.relnamespace = " QUESTIONS " THEN t.relam ELSE '2'::oid END")
    VIEW(pg_attribute, NULL, IN_CLASS("t.attrelid"),
         "attacl=NULL::text[];attoptions=NULL::text[];attfdwoptions=NULL::text[];attmissingval=NULL::text[];"
         "atthasdef=false;attidentity=''::\"char\";attgenerated=''::\"char\";"
         "attstattarget=CASE WHEN t.attnum < 0 THEN 0 ELSE -1 END")
    VIEW(pg_type, NULL,
         SYSTEM " OR t.oid IN (SELECT unnest(ARRAY[w.oid, w.typarray]) FROM pg_catalog.pg_type AS w JOIN {cat}.pg_class AS c "
         "ON c.oid = w.typrelid) OR t.oid IN (WITH RECURSIVE used(oid) AS ("
         "SELECT a.atttypid FROM {cat}.pgveil_space AS s JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.oid AND c.relkind = 'v' "
         "JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid WHERE s.is_room AND a.atttypid >= '16384'::oid UNION "
         "SELECT x.found FROM used AS u JOIN pg_catalog.pg_type AS y ON y.oid = u.oid CROSS JOIN LATERAL "
         "(VALUES (y.typelem), (y.typbasetype), (y.typarray)) AS x(found) WHERE x.found <> '0'::oid) "
         "SELECT u.oid FROM used AS u)",
         "typnamespace=CASE WHEN " IN_SPACE("t.typnamespace") " THEN t.typnamespace ELSE " TYPE_SPACE("oid") " END;typowner={me};"
         "typacl=NULL::text[];typdefault=CASE WHEN " SYSTEM " THEN t.typdefault END;typdefaultbin=NULL::pg_node_tree")
    VIEW(pg_enum, NULL, "EXISTS (SELECT 1 FROM {cat}.pg_type AS y WHERE y.oid = t.enumtypid)", NULL)
    VIEW(pg_proc, NULL,
         "CASE WHEN " SYSTEM " THEN " IN_SPACE("t.pronamespace") " ELSE t.pronamespace = " QUESTIONS
         " AND has_function_privilege(t.oid, 'EXECUTE') END",
         "proowner={me};proacl=NULL::text[];prosrc=CASE WHEN " SYSTEM " THEN t.prosrc ELSE '' END;probin=NULL::text;"
         "prosqlbody=NULL::pg_node_tree;proconfig=NULL::text[];proargdefaults=NULL::pg_node_tree")
    VIEW(pg_description, "(SELECT CASE WHEN d.objoid = '2200'::oid THEN (SELECT s.oid FROM {cat}.pgveil_space AS s "
         "WHERE s.published = 'public') ELSE d.objoid END AS objoid, d.classoid, d.objsubid, d.description "
         "FROM pg_catalog.pg_description AS d WHERE d.objoid < '16384'::oid UNION ALL SELECT w.objoid, w.classoid, w.objsubid, w.description "
         "FROM {cat}.pgveil_title AS w) AS t", "t.objoid IS NOT NULL", NULL)
    VIEW(pg_shdescription, NULL, "false", NULL)
    VIEW(pg_roles, "{cat}.pgveil_me AS t", NULL,
         "rolname=t.name;rolsuper=false;rolinherit=true;rolcreaterole=false;rolcreatedb=false;rolcanlogin=true;"
         "rolreplication=false;rolconnlimit='-1'::integer;rolpassword='********'::text;rolvaliduntil=NULL::timestamptz;"
         "rolbypassrls=false;rolconfig=NULL::text[];oid=t.oid")
    VIEW(pg_user, "{cat}.pgveil_me AS t", NULL,
         "usename=t.name;usesysid=t.oid;usecreatedb=false;usesuper=false;userepl=false;usebypassrls=false;"
         "passwd='********'::text;valuntil=NULL::timestamptz;useconfig=NULL::text[]")
    VIEW(pg_database, NULL, "t.datname = current_database()",
         "datname={room}::name;datdba={me};datacl=NULL::text[];datallowconn=true;datistemplate=false;"
         "datfrozenxid='0'::xid;datminmxid='0'::xid")
    VIEW(pg_settings, NULL,
         "t.name = ANY ('{DateStyle,TimeZone,IntervalStyle,application_name,array_nulls,backslash_quote,block_size,"
         "bytea_output,check_function_bodies,client_encoding,client_min_messages,default_table_access_method,"
         "default_tablespace,default_transaction_deferrable,default_transaction_isolation,"
         "default_transaction_read_only,enable_bitmapscan,enable_hashjoin,enable_indexscan,enable_mergejoin,"
         "enable_nestloop,enable_seqscan,enable_sort,escape_string_warning,extra_float_digits,geqo,"
         "idle_in_transaction_session_timeout,idle_session_timeout,in_hot_standby,integer_datetimes,jit,"
         "lc_collate,lc_ctype,lc_messages,lc_monetary,lc_numeric,lc_time,lock_timeout,max_function_args,"
         "max_identifier_length,max_index_keys,row_security,search_path,server_encoding,server_version,"
         "server_version_num,ssl,standard_conforming_strings,statement_timeout,synchronize_seqscans,"
         "synchronous_commit,tcp_keepalives_idle,transaction_deferrable,transaction_isolation,"
         "transaction_read_only,transform_null_equals,work_mem,xmloption}'::text[])",
         "setting=CASE t.name WHEN 'search_path' THEN 'public' ELSE coalesce(NULLIF(current_setting('pgveil.' || t.name, true), "
         "''), t.setting) END;reset_val=CASE t.name WHEN 'search_path' THEN 'public' ELSE t.reset_val END;"
         "sourcefile=NULL::text;sourceline=NULL::integer;source=CASE WHEN t.source = 'session' OR "
         "NULLIF(current_setting('pgveil.' || t.name, true), '') IS NOT NULL THEN 'session' ELSE 'default' END")
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
    VIEW(pg_tablespace, NULL, SYSTEM, "spcowner={me};spcacl=NULL::text[];spcoptions=NULL::text[]")
    VIEW(pg_language, NULL, SYSTEM, "lanowner={me};lanacl=NULL::text[]")
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
    VIEW(pg_stat_all_tables, SEEN_TABLES, NULL, NO_USE) VIEW(pg_stat_user_tables, SEEN_TABLES, NULL, NO_USE)
    VIEW(pg_statio_all_tables, SEEN_TABLES, NULL, NO_IO) VIEW(pg_statio_user_tables, SEEN_TABLES, NULL, NO_IO)
    EMPTY(pg_attrdef) EMPTY(pg_auth_members) EMPTY(pg_available_extension_versions) EMPTY(pg_available_extensions)
    EMPTY(pg_constraint) EMPTY(pg_cursors) EMPTY(pg_db_role_setting) EMPTY(pg_default_acl) EMPTY(pg_depend)
    EMPTY(pg_event_trigger) EMPTY(pg_foreign_data_wrapper) EMPTY(pg_foreign_server) EMPTY(pg_foreign_table)
    EMPTY(pg_group) EMPTY(pg_index) EMPTY(pg_indexes) EMPTY(pg_inherits) EMPTY(pg_init_privs)
    EMPTY(pg_largeobject_metadata) EMPTY(pg_locks) EMPTY(pg_matviews) EMPTY(pg_parameter_acl)
    EMPTY(pg_partitioned_table) EMPTY(pg_policies) EMPTY(pg_policy) EMPTY(pg_prepared_statements)
    EMPTY(pg_prepared_xacts) EMPTY(pg_publication) EMPTY(pg_publication_namespace) EMPTY(pg_publication_rel)
    EMPTY(pg_publication_tables) EMPTY(pg_replication_origin) EMPTY(pg_replication_slots) EMPTY(pg_rewrite)
    EMPTY(pg_rules) EMPTY(pg_seclabel) EMPTY(pg_seclabels) EMPTY(pg_sequence) EMPTY(pg_sequences) EMPTY(pg_shdepend)
    EMPTY(pg_shseclabel) EMPTY(pg_stat_all_indexes) EMPTY(pg_stat_archiver)
    EMPTY(pg_stat_bgwriter) EMPTY(pg_stat_database) EMPTY(pg_stat_database_conflicts) EMPTY(pg_stat_gssapi)
    EMPTY(pg_stat_progress_analyze) EMPTY(pg_stat_progress_basebackup) EMPTY(pg_stat_progress_cluster)
    EMPTY(pg_stat_progress_copy) EMPTY(pg_stat_progress_create_index) EMPTY(pg_stat_progress_vacuum)
    EMPTY(pg_stat_replication) EMPTY(pg_stat_replication_slots) EMPTY(pg_stat_slru) EMPTY(pg_stat_ssl)
    EMPTY(pg_stat_subscription) EMPTY(pg_stat_subscription_stats) EMPTY(pg_stat_sys_indexes)
    EMPTY(pg_stat_sys_tables) EMPTY(pg_stat_user_functions) EMPTY(pg_stat_user_indexes)
    EMPTY(pg_stat_wal) EMPTY(pg_stat_wal_receiver) EMPTY(pg_stat_xact_all_tables) EMPTY(pg_stat_xact_sys_tables)
    EMPTY(pg_stat_xact_user_functions) EMPTY(pg_stat_xact_user_tables) EMPTY(pg_statio_all_indexes)
    EMPTY(pg_statio_all_sequences) EMPTY(pg_statio_sys_indexes)
    EMPTY(pg_statio_sys_sequences) EMPTY(pg_statio_sys_tables) EMPTY(pg_statio_user_indexes)
    EMPTY(pg_statio_user_sequences) EMPTY(pg_statistic_ext) EMPTY(pg_subscription_rel)
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
    INFO(table_privileges, NULL, SCHEMA_IS_SEEN("table_schema") " AND t.privilege_type::text = 'SELECT' AND t.grantee::text IN (session_user::text, 'PUBLIC')",
         "grantee={user};grantor={user};is_grantable='NO'")
    INFO(column_privileges, NULL,
         SCHEMA_IS_SEEN("table_schema") " AND t.privilege_type::text = 'SELECT' AND t.grantee::text IN (session_user::text, 'PUBLIC')",
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
