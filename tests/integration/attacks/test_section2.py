"""ATTACKS section 2: names, functions, catalog. Each test is named after its attack."""
import psycopg
import pytest

from tests.integration.conftest import ROOM
from tests.lib import data

ALLOWED = "SELECT q.grp FROM questions.by_group q"


def refuse(conn, guard, sql, states=("42501", "42883", "42P01", "42703", "0A000", "42704", "3F000", "42601")):
    """Refused, and its text never reaches the server; gives the SQLSTATE."""
    guard.denied.append(sql)
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    assert caught.value.diag.sqlstate in states, (sql, caught.value.diag.sqlstate, caught.value.diag.message_primary)
    assert data.CANARY not in str(caught.value)
    assert conn.execute("SELECT 1").fetchone() == (1,)
    return caught.value.diag


@pytest.mark.parametrize("sql", ["SELECT 1 OPERATOR(evil.=) 1", "SELECT 1 OPERATOR(public.+) 1", "SELECT 1 OPERATOR(crm.<) 2"])
def test_N1_operator_schema(conn, guard, sql):
    refuse(conn, guard, sql)


def test_N1_pg_catalog_operator_is_the_plain_one(conn):
    assert conn.execute("SELECT 1 OPERATOR(pg_catalog.+) 2").fetchone() == (3,)


@pytest.fixture
def traps(cluster):
    """Functions, operators and relations that would capture names if anything resolved by a client's path."""
    cluster.psql("""
        CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS $$SELECT 'captured'::text$$;
        CREATE FUNCTION public.count_star() RETURNS bigint LANGUAGE sql AS $$SELECT 666::bigint$$;
        CREATE FUNCTION public.length(text) RETURNS integer LANGUAGE sql AS $$SELECT 666$$;
        CREATE FUNCTION public.plus(integer, integer) RETURNS integer LANGUAGE sql AS $$SELECT 666$$;
        CREATE OPERATOR public.+ (LEFTARG = integer, RIGHTARG = integer, FUNCTION = public.plus);
        CREATE TABLE public.pg_class (relname text); INSERT INTO public.pg_class VALUES ('captured');
        CREATE TYPE public.int4 AS (captured text);
        GRANT ALL ON public.pg_class TO PUBLIC;
    """)
    yield
    cluster.psql("DROP OPERATOR public.+ (integer, integer); DROP FUNCTION public.lower(text), public.count_star(), "
                 "public.length(text), public.plus(integer, integer); DROP TABLE public.pg_class; DROP TYPE public.int4")


def test_N2_shadowed_names(traps, conn, guard):
    conn.execute("SET search_path TO public")
    assert conn.execute("SELECT lower('AB'), length('abc'), 1 + 2, '7'::int4").fetchone() == ("ab", 3, 3, 7)
    assert conn.execute("SELECT relname FROM pg_class WHERE relname = 'captured'").fetchall() == []
    for sql in ("SELECT public.lower('AB')", "SELECT public.count_star()", "SELECT count_star()", "SELECT * FROM public.pg_class",
                "SELECT '(x)'::public.int4"):
        refuse(conn, guard, sql)


@pytest.mark.parametrize("sql", ["CREATE TEMP TABLE customers (region text)", "CREATE TEMP VIEW customers AS SELECT 1",
                                 "SELECT 1 INTO TEMP customers", "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                                 "SELECT pg_temp.f()", "SELECT * FROM pg_temp.customers", "CREATE TYPE pg_temp.t AS (a int)"])
def test_N2_temporary_objects(conn, guard, sql):
    refuse(conn, guard, sql)


NAMED = {
    "N3": ["query_to_xml('SELECT * FROM crm.staff', true, true, '')", "table_to_xml('crm.staff', true, true, '')",
           "cursor_to_xml('c', 1, true, true, '')", "schema_to_xml('crm', true, true, '')", "database_to_xml(true, true, '')",
           "query_to_xml_and_xmlschema('SELECT 1', true, true, '')", "table_to_xmlschema('crm.staff', true, true, '')",
           "ts_stat('SELECT name FROM crm.staff')", "ts_rewrite('a'::tsquery, 'SELECT name FROM crm.staff')",
           "dblink('dbname=warehouse', 'SELECT 1')", "pg_get_viewdef('crm.staff'::regclass)", "plpgsql_call_handler()"],
    "N4": ["pg_read_file('/etc/passwd')", "pg_read_binary_file('PG_VERSION')", "pg_stat_file('PG_VERSION')", "pg_ls_dir('.')",
           "pg_ls_logdir()", "pg_ls_waldir()", "lo_get(1)", "lo_import('/etc/passwd')", "lo_export(1, '/tmp/x')", "lo_create(0)",
           "lo_open(1, 131072)", "loread(0, 10)", "lo_from_bytea(0, 'x')", "pg_current_logfile()", "pg_hba_file_rules()"],
    "N5": ["setval('s', 1)", "nextval('s')", "currval('s')", "lastval()", "pg_notify('a', 'b')", "pg_advisory_lock(1)",
           "pg_try_advisory_lock(1)", "pg_advisory_xact_lock(1)", "pg_logical_emit_message(true, 'a', 'b')",
           "pg_reload_conf()", "pg_rotate_logfile()", "pg_switch_wal()", "pg_create_restore_point('x')", "pg_stat_reset()",
           "pg_export_snapshot()", "txid_current()", "pg_current_xact_id()", "pg_promote()", "pg_log_backend_memory_contexts(1)"],
    "N11": ["ts_headline('a', 'a')", "ts_rank_cd('a'::tsvector, 'a'::tsquery)", "ts_delete('a'::tsvector, 'a')",
            "regexp_split_to_table('a', 'b')", "regexp_split_to_array('a', 'b')", "pg_sleep(1)", "pg_sleep_for('1 second')",
            "gtsvectorin('x')", "array_in('{1}', 23, -1)", "record_in('(1)', 16, -1)", "int4recv('x')", "cash_in('1')"],
}


@pytest.mark.parametrize("attack, call", [(key, call) for key in NAMED for call in NAMED[key]])
def test_N3_N4_N5_N11_functions_outside_the_allow_list(conn, guard, attack, call):
    refuse(conn, guard, "SELECT " + call)
    refuse(conn, guard, "SELECT * FROM " + call + " AS f")
    refuse(conn, guard, "SELECT pg_catalog." + call)
    refuse(conn, guard, ALLOWED + " WHERE (SELECT " + call + ") IS NULL")
    refuse(conn, guard, ALLOWED + " ORDER BY (" + call + ")::text")


@pytest.mark.parametrize("call", [call for key in NAMED for call in NAMED[key]])
def test_N3_functions_behind_other_syntax(conn, guard, call):
    name, rest = call.split("(", 1)
    for sql in ("SELECT %s(%s FILTER (WHERE true)" % (name, rest), "SELECT CASE WHEN true THEN %s END" % call,
                "SELECT ARRAY[%s]" % call, "SELECT COALESCE(%s)" % call, "VALUES (%s)" % call, "SELECT 1 LIMIT (%s)" % call,
                "SELECT 1 GROUP BY %s" % call, "SELECT \"%s\"(%s" % (name, rest)):
        guard.denied.append(sql)
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(sql)
        assert caught.value.diag.sqlstate not in ("XX000", None)


def test_N5_set_config_only_for_harmless_names(conn, guard):
    assert conn.execute("SELECT set_config('TimeZone', 'Europe/Rome', false)").fetchone() == ("Europe/Rome",)
    assert conn.execute("SHOW TimeZone").fetchone() == ("Europe/Rome",)
    for name in ("role", "row_security", "session_authorization", "search_path' || '", "default_transaction_read_only"):
        with pytest.raises(psycopg.Error):
            conn.execute("SELECT set_config(%s, 'off', false)", (name,))
    refuse(conn, guard, "SELECT set_config('sea' || 'rch_path', 'crm', false)")
    refuse(conn, guard, "SELECT set_config(n, v, false) FROM (VALUES ('role', 'postgres')) AS t (n, v)")


def test_N5_other_sessions_cannot_be_ended(conn, connect):
    other = connect("bi_service")
    for call in ("pg_terminate_backend", "pg_cancel_backend"):
        try:
            assert conn.execute("SELECT %s(%d)" % (call, other.info.backend_pid)).fetchone() == (False,)
        except psycopg.Error as error:
            assert error.diag.sqlstate == "42501"
    assert other.execute("SELECT 1").fetchone() == (1,)


CASTS = ["'crm.staff'::regclass", "'crm'::regnamespace", "'postgres'::regrole", "'pg_read_file'::regproc", "'no_such_table'::regclass",
         "'lower(text)'::regprocedure", "CAST('crm.staff' AS regclass)", "regclass 'crm.staff'", "to_regclass('crm.staff')",
         "to_regrole('postgres')", "'crm.staff'::regclass::oid", "'crm.staff'::text::regclass", "ARRAY['crm.staff']::regclass[]"]


@pytest.mark.parametrize("cast", CASTS)
def test_N6_casts_that_look_names_up(conn, cast):
    """Hidden names and absent ones answer alike: the same error, or the same NULL."""
    def outcome(expression):
        try:
            return conn.execute("SELECT " + expression).fetchone()
        except psycopg.Error as error:
            said = (error.diag.sqlstate, error.diag.message_primary)
            return tuple(part.replace("absent_x", "crm").replace("absent", "staff") for part in said)
    hidden = outcome(cast)
    absent = outcome(cast.replace("crm.staff", "absent_x.absent").replace("'crm'", "'absent_x'"))
    if "crm" in cast:
        assert hidden == absent or hidden == absent == (None,)
        assert not (isinstance(hidden, tuple) and hidden and isinstance(hidden[0], int))


def test_N6_casts_in_data_queries(conn, guard):
    refuse(conn, guard, ALLOWED + " WHERE 'crm.staff'::regclass IS NOT NULL")


CATALOG_SILENCE = [
    "SELECT count(*) FROM pg_class WHERE relname IN ('staff', 'impressions_pkey', 'ledger', 'customers_pkey')",
    "SELECT count(*) FROM pg_namespace WHERE nspname IN ('crm', 'zoo')",
    "SELECT count(*) FROM pg_attribute WHERE attname IN ('national_id', 'card_number', 'salary', 'full_name', 'omitted')",
    "SELECT count(*) FROM information_schema.tables WHERE table_name IN ('staff', 'ledger') OR table_schema IN ('crm', 'zoo')",
    "SELECT count(*) FROM information_schema.columns WHERE column_name IN ('national_id', 'card_number', 'salary', 'full_name')",
    "SELECT count(*) FROM information_schema.schemata WHERE schema_name IN ('crm', 'zoo')",
    "SELECT count(*) FROM pg_tables WHERE schemaname IN ('crm', 'zoo') OR tablename IN ('staff', 'ledger')",
    "SELECT count(*) FROM pg_views WHERE definition LIKE '%crm%' OR definition LIKE '%zoo%'",
    "SELECT count(*) FROM pg_indexes WHERE schemaname IN ('crm', 'zoo')",
    "SELECT count(*) FROM pg_roles WHERE rolname IN ('postgres') AND rolcanlogin",
    "SELECT count(*) FROM pg_database WHERE datname NOT IN ('%s')" % ROOM,
    "SELECT count(*) FROM pg_description WHERE description LIKE '%crm%'",
    "SELECT count(*) FROM pg_attrdef", "SELECT count(*) FROM pg_proc WHERE prosrc LIKE '%secret%'",
]


@pytest.mark.parametrize("sql", CATALOG_SILENCE)
def test_N7_the_catalog_holds_the_room_only(conn, sql):
    try:
        assert conn.execute(sql).fetchone() == (0,)
    except psycopg.Error as error:
        assert error.diag.sqlstate in ("42501", "42P01")


@pytest.mark.parametrize("relation", ["pg_authid", "pg_shadow", "pg_stats", "pg_statistic", "pg_stat_statements", "pg_user_mapping",
                                      "pg_largeobject", "pg_file_settings", "pg_hba_file_rules", "pg_stats_ext", "pg_statistic_ext_data",
                                      "pg_subscription", "pg_replication_slots", "pg_stat_replication", "pg_config", "pg_group"])
def test_N7_catalogs_that_nobody_needs(conn, relation):
    try:
        rows = conn.execute("SELECT * FROM pg_catalog." + relation).fetchall()
    except psycopg.Error as error:
        assert error.diag.sqlstate in ("42501", "42P01")
        return
    assert rows == []


@pytest.mark.parametrize("relation", ["pg_stat_activity", "pg_settings", "pg_roles", "pg_user", "pg_locks", "pg_prepared_statements", "pg_cursors"])
def test_N7_activity_of_others_is_not_shown(conn, connect, relation):
    other = connect("bi_service")
    other.execute("SELECT 424242 AS other_users_secret")
    try:
        text = repr(conn.execute("SELECT * FROM pg_catalog." + relation).fetchall())
    except psycopg.Error as error:
        assert error.diag.sqlstate in ("42501", "42P01")
        return
    for hidden in ("424242", "crm.", "postgres-server", data.UPSTREAM_PASSWORD, data.SECRET_HEX, "/data/"):
        assert hidden not in text


def test_N7_statistics_and_definitions_are_blank(conn):
    rows = conn.execute("SELECT c.relname, c.reltuples, c.relpages FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                        "WHERE n.nspname = 'public'").fetchall()
    assert {row[0] for row in rows} >= {"customers", "cells", "others"}
    assert all(tuples in (-1, 0) and pages == 0 for _, tuples, pages in rows)
    for sql in ("SELECT pg_get_viewdef('customers'::regclass)", "SELECT pg_get_viewdef('public.customers'::regclass, true)",
                "SELECT definition FROM pg_views WHERE viewname = 'customers'",
                "SELECT view_definition FROM information_schema.views WHERE table_name = 'customers'",
                "SELECT pg_get_ruledef(oid) FROM pg_rewrite"):
        try:
            text = repr(conn.execute(sql).fetchall())
        except psycopg.Error as error:
            assert error.diag.sqlstate in ("42501", "42P01", "42883")
            continue
        assert "crm" not in text and "zoo" not in text and "hmac" not in text.lower() and "SELECT" not in text.upper()


def test_N7_sizes(conn):
    for sql in ("SELECT pg_relation_size('customers'::regclass)", "SELECT pg_total_relation_size('public.customers')",
                "SELECT pg_database_size(current_database())"):
        try:
            assert conn.execute(sql).fetchone()[0] in (None, 0)
        except psycopg.Error as error:
            assert error.diag.sqlstate in ("42501", "42P01", "42883", "3D000")


def test_N7_privilege_questions_are_no_oracle(conn):
    for sql in ("SELECT has_table_privilege('%s', 'SELECT')", "SELECT has_column_privilege('%s', 'name', 'SELECT')",
                "SELECT has_table_privilege('postgres', '%s', 'SELECT')"):
        def outcome(name):
            try:
                return conn.execute(sql % name).fetchone()
            except psycopg.Error as error:
                return error.diag.sqlstate, error.diag.message_primary.replace(name, "NAME")
        assert outcome("crm.staff") == outcome("crm.absent")


@pytest.mark.parametrize("column", ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"])
def test_N8_system_columns(conn, guard, column):
    refuse(conn, guard, "SELECT %s FROM public.others" % column)
    refuse(conn, guard, "SELECT o.%s FROM public.others o" % column)


@pytest.mark.parametrize("expression", ["o", "o::text", "row_to_json(o)", "to_json(o)", "to_jsonb(o)", "(o).h_text", "(o).*", "ROW(o.*)",
                                        "o.*", "count(o)", "o IS NULL", "md5(o::text)", "others", "others.others", "public.others.others",
                                        "json_agg(o)", "array_agg(o)", "hash_record(o)", "xmlforest(o)"])
def test_N8_whole_rows(conn, guard, expression):
    refuse(conn, guard, "SELECT %s FROM public.others o ORDER BY id" % expression)


@pytest.mark.parametrize("sql", ["SELECT o.lower FROM others o", "SELECT (o).pg_typeof FROM others o", "SELECT o.text FROM others o",
                                 "SELECT (o.h_text).length FROM others o", "SELECT label.upper FROM others", "SELECT o.name FROM others o"])
def test_N9_attribute_notation(conn, guard, sql):
    refuse(conn, guard, sql)


@pytest.mark.parametrize("call", ["to_json(q)", "to_jsonb(q)", "row_to_json(q)", "json_build_object('a', q)", "xmlelement(name a, q)",
                                  "json_populate_record(NULL::crm.staff, '{}')", "jsonb_populate_record(NULL::crm.staff, '{}')"])
def test_N10_conversions_that_call_casts(conn, guard, call):
    sql = "SELECT %s FROM public.others q" % call
    refuse(conn, guard, sql)


@pytest.mark.parametrize("sql", ["LISTEN a", "NOTIFY a, 'b'", "SELECT pg_notify('a', 'b')", "SELECT pg_advisory_lock(1)",
                                 "SELECT pg_try_advisory_lock_shared(1)", "SELECT nextval('s')", "CREATE TEMP TABLE t (a int)",
                                 "LOCK customers IN SHARE MODE"])
def test_N12_signals_between_clients(conn, guard, sql):
    refuse(conn, guard, sql)


@pytest.fixture(scope="module")
def family(cluster):
    cluster.psql("CREATE TABLE zoo.parent (id int, label text); CREATE TABLE zoo.child (extra text) INHERITS (zoo.parent);"
                 "GRANT SELECT ON zoo.parent, zoo.child TO pgveil WITH GRANT OPTION")
    yield
    cluster.psql("DROP TABLE zoo.child, zoo.parent")


@pytest.mark.parametrize("sql", ["SELECT id FROM ONLY public.cells WHERE id <= 3 ORDER BY id", "SELECT * FROM zoo.child", "SELECT * FROM child",
                                 "SELECT * FROM public.child", "SELECT * FROM ONLY questions.by_group", "SELECT * FROM public.cells *",
                                 "SELECT id FROM public.cells TABLESAMPLE SYSTEM (10) WHERE id <= 3 ORDER BY id"])
def test_N13_children_and_only(family, conn, guard, sql):
    refuse(conn, guard, sql)


def test_N14_owner_of_the_views_cannot_log_in(cluster, veil):
    owners = cluster.rows("SELECT DISTINCT r.rolname::text, r.rolcanlogin, r.rolsuper, r.rolbypassrls FROM pg_class c "
                          "JOIN pg_roles r ON r.oid = c.relowner JOIN pg_namespace n ON n.oid = c.relnamespace "
                          "WHERE c.relkind = 'v' AND n.nspname LIKE 'pgveil%%retail_media%%'")
    assert owners
    for name, can_log_in, is_super, bypasses in owners:
        assert not can_log_in and not is_super and not bypasses, name


def test_N14_row_security_of_the_source_holds_through_the_view(cluster, veil):
    owners = [n for n, in cluster.rows("SELECT DISTINCT r.rolname::text FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner "
                                       "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v' "
                                       "AND n.nspname LIKE 'pgveil%%retail_media%%'")]
    cluster.psql("ALTER TABLE zoo.others ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON zoo.others USING (id < 10)")
    try:
        with veil.connect("alice", ROOM, veil.tap.port) as conn:
            assert len(conn.execute("SELECT id, ref, h_text FROM others ORDER BY id").fetchall()) == 10
        assert owners
    finally:
        cluster.psql("DROP POLICY few ON zoo.others; ALTER TABLE zoo.others DISABLE ROW LEVEL SECURITY")


@pytest.mark.parametrize("sql", [
    "INSERT INTO others (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET label = 'x' RETURNING *",
    "INSERT INTO others (id) VALUES (1) ON CONFLICT DO NOTHING",
    "MERGE INTO others o USING (SELECT 1 AS id) s ON o.id = s.id WHEN MATCHED THEN UPDATE SET label = 'x'",
    "UPDATE others SET label = label RETURNING *", "DELETE FROM others USING cells WHERE false"])
def test_N15_writes_through_views(conn, guard, sql):
    refuse(conn, guard, sql, ("42501", "0A000"))
