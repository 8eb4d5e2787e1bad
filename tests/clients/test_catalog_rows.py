"""
Every relation of the catalogs that real clients read and every function that they call there, row by row: through pgveil and
of the plain database that holds the same tables, views and functions. OIDs are exchanged for what they stand for. What is not
alike by intent stands in the tables below, each with its reason; nothing else may differ.
"""
import collections
import re

import psycopg
import pytest

# How many of 35 real clients were seen to read a relation of pg_catalog; 1: one or two of them.
CATALOG = dict(
    pg_type=32, pg_attribute=29, pg_namespace=28, pg_class=27, pg_attrdef=22, pg_index=22, pg_constraint=21, pg_am=15,
    pg_description=15, pg_proc=13, pg_enum=10, pg_database=8, pg_depend=8, pg_roles=7, pg_sequence=7, pg_language=6, pg_settings=6,
    pg_range=5, pg_collation=4, pg_inherits=4, pg_matviews=4, pg_tablespace=4, pg_trigger=4, pg_conversion=3, pg_extension=3,
    pg_rewrite=3, pg_tables=3, **dict.fromkeys((
        "pg_auth_members", "pg_cast", "pg_default_acl", "pg_event_trigger", "pg_foreign_data_wrapper", "pg_foreign_server",
        "pg_foreign_table", "pg_indexes", "pg_opclass", "pg_operator", "pg_opfamily", "pg_policy", "pg_publication",
        "pg_publication_namespace", "pg_publication_rel", "pg_publication_tables", "pg_stat_activity", "pg_statistic_ext",
        "pg_subscription", "pg_ts_config", "pg_ts_config_map", "pg_ts_dict", "pg_ts_parser", "pg_ts_template", "pg_user", "pg_views",
        "pg_cursors", "pg_prepared_statements", "pg_partitioned_table", "pg_stat_user_tables", "pg_statio_all_tables", "pg_locks",
        "pg_user_mappings", "pg_db_role_setting", "pg_largeobject_metadata"), 1))
# The same of information_schema.
INFORMATION = dict(
    tables=5, columns=4, key_column_usage=4, table_constraints=4, constraint_column_usage=3, **dict.fromkeys((
        "schemata", "element_types", "referential_constraints", "routines", "parameters", "triggers", "views", "table_privileges",
        "column_privileges", "character_sets"), 1))

# ---- what is not alike by intent

# Relations that are empty in a room: what of theirs the plain database holds, and why a room keeps it.
EMPTY = {
    "pg_index": "indexes are the sources', and a catalog's own are of no use without them", "pg_indexes": "as pg_index",
    "pg_constraint": "constraints are the sources'", "pg_depend": "tells of the sources behind the views",
    "pg_rewrite": "definitions", "pg_auth_members": "other roles", "pg_locks": "other sessions",
    "pg_db_role_setting": "other roles", "key_column_usage": "as pg_constraint", "pg_prepared_statements": "the session's own, by another text",
}
# Rows of the plain database that a room does not show.
LEFT_OUT = {
    "pg_class": "relnamespace = 'pg_toast'::regnamespace", "pg_namespace": "nspname = 'pg_toast'",  # storage
    # Likewise; and a data set is a view behind its name, so it has no system columns.
    "pg_attribute": "(SELECT relnamespace = 'pg_toast'::regnamespace OR oid >= 16384 AND attnum < 0 FROM pg_class WHERE oid = attrelid)",
    "pg_database": "datname <> current_database()", "pg_roles": "rolname <> current_user", "pg_user": "usename <> current_user",
    "pg_stat_activity": "pid <> pg_backend_pid()",
    "pg_statio_all_tables": "schemaname NOT IN ('public', 'ads', 'questions')",
    "table_privileges": "privilege_type <> 'SELECT'", "column_privileges": "privilege_type <> 'SELECT'",
}
# Columns that hold one value in a room, whatever the plain database says.
OWNER = {"me"}
KEPT = {
    "pg_type": {"typowner": OWNER, "typacl": {None}, "typdefaultbin": {None}},
    "pg_attribute": {"attacl": {None}, "attoptions": {None}, "attmissingval": {None}},
    "pg_namespace": {"nspowner": OWNER, "nspacl": {None}},
    "pg_class": {"relowner": OWNER, "relacl": {None}, "relfilenode": {"0"}, "relpages": {"0"}, "reltuples": {"-1"},
                 "relallvisible": {"0"}, "reltoastrelid": {"0"}, "relhasindex": {"f"}, "relfrozenxid": {"0"}, "relminmxid": {"0"},
                 "reloptions": {None}},
    "pg_proc": {"proowner": OWNER, "proacl": {None}, "proargdefaults": {None}, "probin": {None}, "prosqlbody": {None}},
    "pg_database": {"datdba": OWNER, "datacl": {None}, "datfrozenxid": {"0"}, "datminmxid": {"0"}},
    "pg_language": {"lanowner": OWNER, "lanacl": {None}}, "pg_collation": {"collowner": OWNER},
    "pg_conversion": {"conowner": OWNER}, "pg_extension": {"extowner": OWNER}, "pg_opclass": {"opcowner": OWNER},
    "pg_operator": {"oprowner": OWNER}, "pg_opfamily": {"opfowner": OWNER}, "pg_ts_config": {"cfgowner": OWNER},
    "pg_ts_dict": {"dictowner": OWNER, "dictinitoption": {None}}, "pg_tablespace": {"spcowner": OWNER, "spcacl": {None}},
    "pg_tables": {"tableowner": {"alice"}, "hasindexes": {"f"}, "tablespace": {None}},
    "pg_views": {"viewowner": {"alice"}, "definition": {""}},
    "pg_stat_user_tables": {"seq_scan": {"0"}, "seq_tup_read": {"0"}, "n_tup_ins": {"0"}, "n_live_tup": {"0"}, "n_mod_since_analyze": {"0"}, "n_ins_since_vacuum": {"0"}},
    "pg_statio_all_tables": {"heap_blks_read": {"0"}, "heap_blks_hit": {"0"}, "toast_blks_read": {"0"}, "toast_blks_hit": {"0"},
                             "tidx_blks_read": {"0"}, "tidx_blks_hit": {"0"}},
    "tables": {"is_insertable_into": {"NO"}}, "columns": {"is_updatable": {"NO"}},
    "views": {"view_definition": {None}, "is_updatable": {"NO"}, "is_insertable_into": {"NO"}},
    "schemata": {"schema_owner": {"alice"}},
    "table_privileges": {"grantor": {"alice"}, "grantee": {"alice"}, "is_grantable": {"NO"}},
    "column_privileges": {"grantor": {"alice"}, "grantee": {"alice"}, "is_grantable": {"NO"}},
}
# Columns whose values belong to one connection, or to this room by its own words.
OTHER = {
    "pg_stat_activity": {"pid", "client_addr", "client_port", "backend_start", "xact_start", "query_start", "state_change",
                         "backend_xmin", "query"},
    "pg_settings": {"source"},
    "pg_class": {"relhasrules"},  # of the question views, as pg_rewrite; see below of these three
    "pg_proc": {"prosrc"},
    "routines": {"routine_definition"},
}
# Settings that are pinned, so that what is parsed here and there is the same and nothing is written.
PINNED = {"backslash_quote", "default_transaction_read_only", "jit", "search_path", "transaction_read_only"}
# Types of columns: access lists and regprocs look names up, so they are texts and numbers in a room.
TYPES = {("_text", "_aclitem"), ("oid", "regproc"), ("_text", "anyarray"), ("_oid", "_regtype")}

NAMES = """
SELECT oid::bigint, 'class ' || (SELECT nspname FROM pg_namespace n WHERE n.oid = relnamespace) || '.' || relname FROM pg_class WHERE oid >= 16384
UNION ALL SELECT oid::bigint, 'type ' || (SELECT nspname FROM pg_namespace n WHERE n.oid = typnamespace) || '.' || typname FROM pg_type WHERE oid >= 16384
UNION ALL SELECT oid::bigint, 'function ' || proname FROM pg_proc WHERE oid >= 16384
UNION ALL SELECT oid::bigint, 'schema ' || nspname FROM pg_namespace WHERE oid >= 2200 AND nspname !~ '^pg_|^information'
UNION ALL SELECT oid::bigint, 'database' FROM pg_database WHERE datname = current_database()
UNION ALL SELECT oid::bigint, 'me' FROM pg_roles WHERE rolname = current_user
"""
OID_TYPES = {"oid", "oidvector", "_oid"}


class Side:
    """One of the two databases, read with names for OIDs."""

    def __init__(self, end):
        self.is_veiled = end.is_veiled
        self.conn = psycopg.connect(autocommit=True, **end.dsn)
        self.types = dict(self.conn.execute("SELECT oid::bigint, typname::text FROM pg_type").fetchall())
        self.names = dict(self.conn.execute(NAMES).fetchall())

    def name(self, number):
        return self.names.get(int(number), number) if int(number) > 2000 else number

    def rows(self, sql):
        """(columns as (name, type), rows of texts)"""
        result = self.conn.execute(sql).pgresult
        columns = [(result.fname(i).decode(), self.types[result.ftype(i)]) for i in range(result.nfields)]
        rows = []
        for i in range(result.ntuples):
            row = []
            for k, (name, kind) in enumerate(columns):
                value = result.get_value(i, k)
                value = None if value is None else value.decode()
                if value is not None and kind in OID_TYPES:
                    value = re.sub(r"\d+", lambda found: self.name(found.group()), value)
                elif value is not None and name == "specific_name":
                    value = re.sub(r"_\d+$", "", value)
                row.append(value)
            rows.append(tuple(row))
        return columns, rows


@pytest.fixture(scope="module")
def sides(veiled, plain):
    pair = Side(veiled), Side(plain)
    yield pair
    for side in pair:
        side.conn.close()


def compare(sides, schema, name):
    ours, theirs = sides
    columns, rows = ours.rows("SELECT * FROM %s.%s" % (schema, name))
    plain_columns, _ = theirs.rows("SELECT * FROM %s.%s LIMIT 0" % (schema, name))
    assert [c for c, _ in columns] == [c for c, _ in plain_columns]
    assert {(a[1], b[1]) for a, b in zip(columns, plain_columns) if a != b} <= TYPES
    # A regproc as its number, so that overloaded names are told apart.
    listed = ", ".join('"%s"::oid AS "%s"' % (c, c) if kind == "regproc" else '"%s"' % c for c, kind in plain_columns)
    _, plain_rows = theirs.rows("SELECT %s FROM %s.%s WHERE (%s) IS NOT TRUE" % (listed, schema, name, LEFT_OUT.get(name, "false")))
    kept = KEPT.get(name, {})
    for at, (column, _) in enumerate(columns):
        assert {row[at] for row in rows} <= kept.get(column, {row[at] for row in rows}), column
    shown = [at for at, (column, _) in enumerate(columns) if column not in kept and column not in OTHER.get(name, ())]
    cut = lambda all_rows: collections.Counter(tuple(row[at] for at in shown) for row in all_rows)
    if name == "pg_settings":
        names = {row[0] for row in rows} - PINNED
        rows, plain_rows = [r for r in rows if r[0] in names], [r for r in plain_rows if r[0] in names]
    ours, theirs = cut(rows), cut(plain_rows)
    assert ours - theirs == theirs - ours, "only through pgveil: %r; only plain: %r" % (
        list((ours - theirs).elements())[:4], list((theirs - ours).elements())[:4])
    return len(rows)


@pytest.mark.parametrize("name", sorted(set(CATALOG) | set(INFORMATION)))
def test_relation(sides, name):
    schema = "pg_catalog" if name in CATALOG else "information_schema"
    if name in EMPTY:
        columns, rows = sides[0].rows("SELECT * FROM %s.%s" % (schema, name))
        assert columns and not rows
        assert [c for c, _ in columns] == [c for c, _ in sides[1].rows("SELECT * FROM %s.%s LIMIT 0" % (schema, name))[0]]
        return
    if name == "pg_subscription":  # nobody but a superuser may read it whole
        assert sides[0].rows("SELECT subname FROM pg_subscription") == sides[1].rows("SELECT subname FROM pg_subscription")
        return
    compare(sides, schema, name)


def test_definitions_are_kept(sides):
    """The three columns that differ for questions alone."""
    for sql, kept in (("SELECT DISTINCT relhasrules FROM pg_class WHERE oid >= 16384", "f"),
                      ("SELECT DISTINCT prosrc FROM pg_proc WHERE oid >= 16384", ""),
                      ("SELECT DISTINCT routine_definition FROM information_schema.routines WHERE routine_schema = 'questions'", None)):
        assert sides[0].rows(sql)[1] == [(kept,)]
    for sql in ("SELECT relname, relhasrules FROM pg_class WHERE relnamespace = 11 AND relname <> 'pg_settings'",
                "SELECT oid, prosrc FROM pg_proc WHERE oid < 16384"):
        ours, theirs = (collections.Counter(side.rows(sql)[1]) for side in sides)
        assert sum((ours - theirs).values()) <= (5 if "relhasrules" in sql else 0)


# ---- functions and casts

TABLES = "(SELECT oid FROM pg_class WHERE relname IN ('customers', 'impressions', 'orders', 'steps', 'by_region', 'pg_class') ORDER BY relkind, relname)"
# Every function and cast, each called as clients call it, of what the room holds, of the system's and of what is not there.
FUNCTIONS = {
    "version": ["version()"],
    "current_schema": ["current_schema()", "current_schema"],
    "current_schemas": ["current_schemas(true)", "current_schemas(false)"],
    "current_database": ["current_database()", "current_catalog"],
    "current_user": ["current_user", "user", "current_role"], "session_user": ["session_user"],
    "pg_backend_pid": ["pg_backend_pid() > 0", "pg_backend_pid() = (SELECT pid FROM pg_stat_activity WHERE pid = pg_backend_pid())"],
    "current_setting": ["current_setting('server_version')", "current_setting('server_version_num')::integer", "current_setting('nosuch.thing', true)",
                        "current_setting('nosuch')", "current_setting('DateStyle')"],
    "set_config": ["set_config('application_name', 'one', false)", "set_config('bytea_output', 'hex', false)", "set_config('nosuch', '1', false)"],
    "format_type": ["array(SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attnum > 0 AND attrelid IN (SELECT oid FROM "
                    "pg_class WHERE relname IN ('kinds', 'orders', 'everything')) ORDER BY attrelid::regclass::text, attnum)",
                    "format_type(0, NULL)", "format_type(999999, NULL)", "format_type(NULL, NULL)", "format_type(1043, 44)"],
    "pg_get_expr": ["(SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef LIMIT 1)", "pg_get_expr(NULL, 1259)"],
    "pg_get_constraintdef": ["(SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'orders'::regclass)", "pg_get_constraintdef(999999)"],
    "pg_get_indexdef": ["(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'orders'::regclass)", "pg_get_indexdef(999999)",
                        "pg_get_indexdef(999999, 1, true)"],
    "pg_get_triggerdef": ["pg_get_triggerdef(999999)"],
    "pg_get_function_result": ["array(SELECT pg_get_function_result(oid) FROM pg_proc WHERE proname IN ('abs', 'one_step', 'ratio') ORDER BY oid)",
                               "pg_get_function_result(999999)"],
    "pg_get_function_arguments": ["array(SELECT pg_get_function_arguments(oid) FROM pg_proc WHERE proname IN ('one_step', 'slow', 'round') ORDER BY 1)",
                                  "pg_get_function_arguments(999999)", "(SELECT pg_get_function_identity_arguments(oid) FROM pg_proc WHERE proname = 'one_step')"],
    "pg_get_keywords": ["(SELECT string_agg(word || catcode, ',' ORDER BY word) FROM pg_get_keywords())"],
    "pg_get_userbyid": ["pg_get_userbyid((SELECT relowner FROM pg_class WHERE relname = 'orders'))", "pg_get_userbyid(999999)"],
    "pg_get_serial_sequence": ["pg_get_serial_sequence('orders', 'order_id')", "pg_get_serial_sequence('public.steps', 'n')"],
    "col_description": ["col_description('customers'::regclass, (SELECT attnum FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attname = 'region'))",
                        "col_description('orders'::regclass, 1)", "col_description(999999, 1)"],
    "obj_description": ["obj_description('customers'::regclass)", "obj_description('questions.by_region'::regclass, 'pg_class')",
                        "obj_description('orders'::regclass, 'pg_class')", "obj_description(999999, 'pg_class')", "obj_description(31, 'pg_proc')",
                        "obj_description((SELECT oid FROM pg_namespace WHERE nspname = 'public'), 'pg_namespace')"],
    "shobj_description": ["shobj_description((SELECT oid FROM pg_database WHERE datname = current_database()), 'pg_database')", "shobj_description(999999, 'pg_authid')"],
    "pg_table_is_visible": ["array(SELECT pg_table_is_visible(oid) FROM unnest(array%s) AS o(oid))" % TABLES, "pg_table_is_visible(999999)"],
    "pg_type_is_visible": ["array(SELECT pg_type_is_visible(oid) FROM pg_type WHERE typname IN ('int4', 'order_status', 'item_code') ORDER BY typname)",
                           "pg_type_is_visible(999999)"],
    "pg_function_is_visible": ["array(SELECT pg_function_is_visible(oid) FROM pg_proc WHERE proname IN ('abs', 'one_step') ORDER BY oid)"],
    "pg_opclass_is_visible": ["(SELECT bool_and(pg_opclass_is_visible(oid)) FROM pg_opclass)"], "pg_operator_is_visible": ["(SELECT bool_and(pg_operator_is_visible(oid)) FROM pg_operator)"],
    "pg_collation_is_visible": ["(SELECT bool_and(pg_collation_is_visible(oid)) FROM pg_collation)"], "pg_conversion_is_visible": ["(SELECT bool_and(pg_conversion_is_visible(oid)) FROM pg_conversion)"],
    "pg_ts_config_is_visible": ["(SELECT bool_and(pg_ts_config_is_visible(oid)) FROM pg_ts_config)"], "pg_ts_dict_is_visible": ["(SELECT bool_and(pg_ts_dict_is_visible(oid)) FROM pg_ts_dict)"],
    "pg_ts_parser_is_visible": ["(SELECT bool_and(pg_ts_parser_is_visible(oid)) FROM pg_ts_parser)"], "pg_ts_template_is_visible": ["(SELECT bool_and(pg_ts_template_is_visible(oid)) FROM pg_ts_template)"],
    "pg_opfamily_is_visible": ["(SELECT bool_and(pg_opfamily_is_visible(oid)) FROM pg_opfamily)"],
    "has_database_privilege": ["has_database_privilege(current_database(), 'connect')", "has_database_privilege('nosuch', 'connect')"],
    "has_schema_privilege": ["has_schema_privilege('public', 'usage')", "has_schema_privilege('nosuch', 'usage')", "has_schema_privilege('pg_catalog', 'create')",
                             "array(SELECT has_schema_privilege(oid, 'usage') FROM pg_namespace WHERE nspname <> 'pg_toast' ORDER BY nspname)"],
    "has_table_privilege": ["has_table_privilege('orders', 'select')", "has_table_privilege('nosuch', 'select')", "has_table_privilege('questions.by_region', 'SELECT')",
                            "has_table_privilege('alice', 'public.orders', 'select')", "has_table_privilege(999999, 'select')", "has_table_privilege('orders', 'eat')"],
    "has_any_column_privilege": ["has_any_column_privilege('orders', 'select')", "has_any_column_privilege(999999, 'select')"],
    "has_function_privilege": ["has_function_privilege('abs(integer)', 'execute')", "has_function_privilege('questions.one_step(integer)', 'execute')"],
    "pg_has_role": ["pg_has_role('alice', 'usage')", "pg_has_role(current_user, 'member')", "pg_has_role('nosuch', 'usage')"],
    "pg_indexes_size": ["pg_indexes_size('orders')", "pg_indexes_size('nosuch')"],
    "pg_encoding_to_char": ["pg_encoding_to_char(6)", "(SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database())"],
    "quote_ident": ["quote_ident('a b')"], "quote_literal": ["quote_literal('it''s')"],
    "unnest": ["(SELECT string_agg(x, ',') FROM unnest(ARRAY['a', 'b']) AS x)"], "generate_series": ["(SELECT sum(n) FROM generate_series(1, 10) AS n)"],
    "generate_subscripts": ["(SELECT sum(n) FROM generate_subscripts(ARRAY[5, 6, 7], 1) AS n)"],
    "information_schema._pg_expandarray": ["(SELECT string_agg((x).n || ':' || (x).x, ',') FROM (SELECT information_schema._pg_expandarray(ARRAY[7, 8]) AS x) AS k)"],
    "array_agg": ["(SELECT array_agg(n ORDER BY n) FROM generate_series(1, 3) AS n)"], "string_agg": ["(SELECT string_agg(n::text, ',') FROM generate_series(1, 3) AS n)"],
    "array_upper": ["array_upper(ARRAY[1, 2], 1)"], "array_lower": ["array_lower(ARRAY[1, 2], 1)"], "array_to_string": ["array_to_string(ARRAY[1, NULL, 2], ',', '*')"],
    "pg_is_in_recovery": ["pg_is_in_recovery()"], "pg_advisory_unlock_all": ["pg_advisory_unlock_all()::text"], "md5": ["md5('x')"],
    "row_to_json": ["(SELECT row_to_json(r) FROM (SELECT 1 AS a, 'b' AS b) AS r)", "(SELECT row_to_json(o) FROM questions.orders AS o WHERE order_id = 1)"],
    "json_build_object": ["json_build_object('a', 1, 'b', ARRAY[1, 2])"],
    "regclass": ["'orders'::regclass::text", "'questions.by_region'::regclass::text", "'ads.impressions'::regclass::text", "'pg_class'::regclass::text", "'nosuch'::regclass",
                 "array(SELECT oid::regclass::text FROM unnest(array%s) AS o(oid))" % TABLES, "'orders'::regclass::oid = (SELECT oid FROM pg_class WHERE relname = 'orders' AND relkind = 'r')",
                 "1259::regclass::text", "999999::regclass::text", "to_regclass('orders')::text", "to_regclass('nosuch') IS NULL"],
    "regtype": ["'integer'::regtype::text", "'order_status'::regtype::text", "'public.order_status[]'::regtype::text", "'nosuch'::regtype", "23::regtype::text", "to_regtype('item_code')::text",
                "array(SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0 ORDER BY attnum)"],
    "regproc": ["'now'::regproc::text", "'nosuch'::regproc", "'questions.one_step'::regproc::text", "(SELECT typinput::regproc::text FROM pg_type WHERE typname = 'int4')"],
    "regprocedure": ["'abs(integer)'::regprocedure::text", "'questions.one_step(integer)'::regprocedure::text", "'abs(nosuch)'::regprocedure"],
    "regnamespace": ["'public'::regnamespace::text", "'nosuch'::regnamespace", "'ads'::regnamespace::oid = (SELECT oid FROM pg_namespace WHERE nspname = 'ads')", "(SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'impressions' AND relkind = 'r')"],
}
# Told otherwise by intent: what a definition, a size or a role would show.
TOLD_OTHERWISE = {
    "pg_get_viewdef('questions.by_region'::regclass)": "", "pg_get_viewdef('questions.by_region')": "", "pg_get_viewdef('questions.by_region'::regclass, true)": "",
    "(SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'one_step')": None,
    "pg_relation_size('orders')": "0", "pg_total_relation_size('orders'::regclass)": "0", "pg_table_size('orders')": "0",
    "pg_database_size(current_database())": "0", "has_table_privilege('orders', 'insert')": "f", "has_schema_privilege('public', 'create')": "f",
    "has_database_privilege(current_database(), 'temp')": "f",
}


def told(side, expression):
    try:
        return side.rows("SELECT " + expression)
    except psycopg.Error as error:
        return error.diag.sqlstate, error.diag.message_primary


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_function(sides, name):
    for expression in FUNCTIONS[name]:
        ours, theirs = (told(side, expression) for side in sides)
        assert ours == theirs, expression


@pytest.mark.parametrize("expression", sorted(TOLD_OTHERWISE))
def test_function_told_otherwise(sides, expression):
    (ours, rows), (theirs, others) = (told(side, expression) for side in sides)
    assert ours == theirs and rows == [(TOLD_OTHERWISE[expression],)] != others
