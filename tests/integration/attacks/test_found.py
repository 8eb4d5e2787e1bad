"""Ways out that were found once, each kept shut by a test."""
import re
import time

import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib.data import small_room
from tests.lib.wire import SYNC, bind, errors, execute, parse, query, rows

# Names of the database behind the room: sources, other rooms' schemas, roles.
BEHIND = re.compile(r"crm|zoo|ledger|staff|pgveil_|postgres|pg_toast")

# PostgreSQL turns an integer beside a regclass (regtype, regrole, ...) into one, and prints the name of what has that OID.
BESIDE_LOOKED_UP = [
    "coalesce(to_regclass('no_such'), g)", "coalesce(to_regnamespace('no_such'), g)", "coalesce(to_regrole('no_such'), g)",
    "coalesce(to_regrole('no_such'), g - 16374)", "coalesce(to_regproc('no_such'), g)", "coalesce(to_regtype('no_such'), g)",
    "coalesce(nullif(pg_typeof(1), 23), g)", "CASE WHEN g = 0 THEN pg_typeof(1) ELSE g END",
    "(array_append(ARRAY[pg_typeof(1)], g))[2]", "coalesce((SELECT typinput FROM pg_type LIMIT 0), g)",
    "coalesce((SELECT oprcode FROM pg_operator LIMIT 0), g)", "coalesce((SELECT t.rngsubdiff FROM (TABLE pg_range) t LIMIT 0), g)",
    "coalesce((SELECT data_type FROM pg_sequences), g)", "(array_append((SELECT parameter_types FROM pg_prepared_statements), g))[1]",
]


@pytest.mark.parametrize("expression", BESIDE_LOOKED_UP)
def test_N6_an_integer_beside_a_looked_up_type(conn, expression):
    sql = "SELECT string_agg((%s)::text, ',') FROM generate_series(16384, 17600) g" % expression
    try:
        said = conn.execute(sql).fetchone()[0]
    except psycopg.Error as error:
        said = error.diag.message_primary
    assert not BEHIND.search(said), BEHIND.findall(said)


@pytest.mark.parametrize("sql", [
    "SELECT to_regnamespace('public')", "SELECT to_regrole('alice')", "SELECT 'public'::regnamespace",
    "SELECT 'public'::regnamespace::text", "SELECT ARRAY[16385, 16400]::_regtype", "SELECT '{16400}'::_regtype",
    "SELECT string_agg(typinput::text, ',') FROM pg_type a RIGHT JOIN generate_series(16384, 17600) AS typinput USING (typinput)",
    "SELECT coalesce(pg_typeof(1), 'crm.staff')", "SELECT coalesce(typinput, 'crm.staff') FROM pg_type LIMIT 1",
])
def test_N6_physical_names(conn, sql):
    try:
        said = str(conn.execute(sql).fetchone())
    except psycopg.Error as error:
        said = error.diag.message_primary.replace('"crm.staff"', "")
    assert not BEHIND.search(said), said


def test_N6_regprocs_of_the_catalog_still_show(conn):
    assert conn.execute("SELECT typinput, typoutput::text FROM pg_type WHERE typname = 'int4'").fetchone() == ("int4in", "int4out")
    assert conn.execute("SELECT count(*) > 100 FROM pg_type WHERE typinput = 'array_in'::regproc").fetchone() == (True,)


@pytest.mark.parametrize("oid", [2205, 2206, 24, 2202, 4089, 4096, 2210, 2211, 142, 2249])
def test_N6_a_parameter_declared_as_a_looked_up_type(wire, oid):
    """Its input function would look a name up among everybody's, and its output function print one."""
    one = wire()
    for value in ("10", "16389", "16421", "crm.staff"):
        answer = one.ask(parse("SELECT $1::text", "", [oid]), bind([value]), execute(), SYNC)
        assert rows(answer) == []
        error, = [m for m in answer if m.tag == "E"]
        assert error.sqlstate == "42704" and not BEHIND.search(error.fields["M"]), error


@pytest.mark.parametrize("oid", [16384, 16385, 999999])
def test_N6_a_parameter_declared_as_a_type_made_here(wire, oid):
    """Whatever stands behind the number, the parameter is a text: nothing is read or printed by that type."""
    one = wire()
    for value in ("10", "16389", "crm.staff"):
        assert rows(one.ask(parse("SELECT $1::text", "", [oid]), bind([value]), execute(), SYNC)) == [(value,)]


def test_N6_a_parameter_prepared_as_a_looked_up_type(conn):
    for kind in ("regclass", "regrole", "regtype[]", "_regtype"):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("PREPARE looked_up (%s) AS SELECT $1" % kind)
        assert caught.value.diag.sqlstate == "42704"


@pytest.mark.parametrize("inner", ["SELECT 'x'::text AS a", "SELECT region AS a FROM public.customers",
                                   "SELECT campaign AS a FROM questions.sales_by_campaign(channel => 'video')"])
@pytest.mark.parametrize("star", [False, True])
def test_P14_columns_of_columns_of_columns(conn, inner, star):
    """Ten uses of a column of ten uses of a column, nine deep: a short text, a thousand million parts in a planner."""
    sql = inner
    for _ in range(9):
        sql = "SELECT %s AS a FROM (%s) AS t" % ("||".join(["a"] * 10), sql)
    sql = "SELECT * FROM (%s) AS t" % sql if star else "SELECT length(a) FROM (%s) AS t" % sql
    began = time.monotonic()
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    assert caught.value.diag.sqlstate == "54001"
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("name", ["crm.x", "no_such_schema.x", '"crm"."x"', "crm.x.y"])
@pytest.mark.parametrize("call", ["ts_token_type('%s')", "ts_token_type('%s'::text)", "ts_token_type(parser_name => '%s')",
                                  "ts_token_type((SELECT '%s'::text))", "ts_token_type('%s' || '')", "ts_token_type(('%s'::name)::text)"])
def test_N6_a_parser_by_name_tells_of_no_schema(conn, call, name):
    """PostgreSQL says permission denied of a schema that is there, and that there is none of another."""
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT count(*) FROM " + call % name)
    assert caught.value.diag.sqlstate in ("22P02", "42846", "42883"), caught.value


@pytest.mark.parametrize("call", ["ts_token_type('default')", "ts_token_type(3722)", "ts_token_type('3722'::oid)", "ts_token_type(parser_name => 'default')",
                                  "ts_token_type((SELECT 3722::oid))"])
def test_the_tokens_of_the_system_s_parser(conn, call):
    assert conn.execute("SELECT count(*) FROM " + call).fetchone() == (23,)


BOUNDED = "SELECT id, grp FROM public.cells WHERE id >= $1 AND id < $1 + 5 ORDER BY id"  # the question `twice`: 1 to 100


@pytest.mark.parametrize("is_bound_before", [False, True])
def test_P3_execute_of_a_name_that_means_another_statement_by_then(wire, is_bound_before):
    """EXECUTE by Parse is judged by what its name means when it runs, not when it was parsed or bound."""
    one = wire()
    one.ask(query("BEGIN; PREPARE swapped AS SELECT $1::int AS id, 'x'::text AS grp"))
    answer = one.ask(parse("EXECUTE swapped(101)", "e"), *([bind([], "e", "p")] if is_bound_before else []), SYNC)
    assert errors(answer) == []
    assert errors(one.ask(query("DEALLOCATE swapped; PREPARE swapped AS " + BOUNDED))) == []
    answer = one.ask(*([] if is_bound_before else [bind([], "e", "p")]), execute("p"), SYNC)
    assert errors(answer) == ["22023"] and rows(answer) == []
    one.ask(query("ROLLBACK"))
    # In one go, each judged before the server has said anything.
    one.ask(query("DEALLOCATE swapped; PREPARE swapped AS SELECT $1::int AS id, 'x'::text AS grp"))
    one.send(query("DEALLOCATE swapped; PREPARE swapped AS " + BOUNDED), bind([], "e"), execute(), SYNC)
    answer = one.until("Z") + one.until("Z")
    assert errors(answer) == ["22023"] and rows(answer) == []
    assert rows(one.ask(query("DEALLOCATE swapped; PREPARE swapped AS SELECT $1::int AS id, 'x'::text AS grp"),)) == []
    assert rows(one.ask(bind([], "e"), execute(), SYNC)) == [("101", "x")]


GROWING = [
    "repeat(repeat(repeat(repeat(repeat(region, 100), 100), 100), 100), 100)", "repeat(concat(region, region), 100)",
    "repeat(region || region, 100)", "replace(replace(region, 'a', 'aaaa'), 'a', 'aaaa')", "replace(concat(region, region), 'a', 'aa')",
    "replace(region, 'a', '%s')" % ("a" * 1000), "replace(region, 'a', repeat('a', 100))", "repeat(lower(repeat(region, 9)), 9)",
    "concat(region, repeat(repeat(repeat(repeat('x', 100), 100), 100), 100))", "concat(region, repeat('%s', 100))" % ("x" * 2000),
]


@pytest.fixture(scope="module")
def growing_room():
    room = small_room("growing")
    room["datasets"]["public.cells"].update({
        "entity": "id", "columns": {"id": {"category": 1}, "region": {"category": 1}},
        "analysis_rule": {"type": "aggregation", "dimension_columns": ["region"],
                          "scalar_functions": ["repeat", "replace", "concat", "lower"],
                          "output_constraints": [{"column": "id", "type": "count_distinct", "minimum": 2}]}})
    room["questions"] = {"open": {"type": "analytical", "open": True, "datasets": ["public.cells"]}}
    return room


@pytest.fixture(scope="module")
def growing(growing_room, cluster):
    one = make_veil(cluster, [growing_room])
    yield one
    one.close()


@pytest.mark.parametrize("expression", GROWING)
def test_S3_texts_that_grow_where_there_is_a_row(growing, expression):
    """Too long for PostgreSQL is an error for rows that exist, and none where there are none."""
    status, said = growing.explain("SELECT count(*) FROM cells WHERE %s <> 'x'" % expression, "growing", "alice")
    assert status == 1 and "could fail" in said["reason"], said


def test_S3_texts_that_stay_short(growing):
    for expression in ("repeat(region, 3)", "replace(replace(lower(region), '-', ''), 'a', 'bb')", "repeat('x', 3) || region"):
        status, said = growing.explain("SELECT count(*) FROM cells WHERE %s <> 'x'" % expression, "growing", "alice")
        assert status == 0, said


@pytest.mark.parametrize("argument, sqlstate", [
    ("(SELECT 20)", "0A000"), ("(SELECT 1 FROM crm.staff)", "0A000"), ("20 + (SELECT count(*) FROM zoo.cells)::int", "0A000"),
    ("ARRAY(SELECT 1 FROM crm.staff)", "0A000"), ("cells.id", "42P01"), ("crm.staff.salary", "42P01"), ("id", "42703")])
@pytest.mark.parametrize("prepared", ["SELECT $1::int", "SELECT b_int, count(*) FROM questions.cells WHERE id > $1 GROUP BY b_int"])
def test_P4_what_execute_is_given_names_nothing(conn, cluster, guard, prepared, argument, sqlstate):
    """PostgreSQL refuses it as well, but it has read the name by then."""
    conn.execute("PREPARE names (int) AS " + prepared)
    mark = cluster.log_size()
    guard.denied.append("EXECUTE names (%s)" % argument)
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("EXECUTE names (%s)" % argument)
    assert caught.value.sqlstate == sqlstate
    assert "EXECUTE names" not in cluster.log(mark)
    assert conn.execute("EXECUTE names (5 + 15)").fetchall()


ZONES = ["X+167", "-167", "16", "-7.3", "A0B-100,J1/0,J300/0", "A0B", "UTC+00:07", "INTERVAL '00:00:01'", "<X>+99", "UTC+1\nX"]


@pytest.mark.parametrize("zone", ZONES)
def test_P7_a_time_zone_that_moves_days(conn, veil, zone):
    """By a week, or by a second on some days: groups by day, and filters that say current_date, would move along."""
    literal = zone.replace("'", "''")
    attempts = ["SET timezone = '%s'" % literal, "SET LOCAL timezone = '%s'" % literal,
                "SELECT set_config('timezone', '%s', false)" % literal, "SELECT set_config('TimeZone', '' || '%s', false)" % literal,
                "SELECT set_config('TimeZone', z, false) FROM (VALUES ('%s')) AS v(z)" % literal,
                "SELECT set_config('timezone', is_local => false, new_value => '%s')" % literal,
                "PREPARE p AS SELECT set_config('timezone', $1, false); EXECUTE p('%s')" % literal]
    for sql in attempts:
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(sql)
        assert caught.value.diag.sqlstate in ("42501", "22023"), (sql, caught.value)
    with pytest.raises(psycopg.Error):
        conn.execute("SELECT set_config('TimeZone', %s, false)", [zone])
    assert conn.execute("SELECT age(now()::timestamp, now() AT TIME ZONE current_setting('TimeZone')) = '0'").fetchone() == (True,)
    assert conn.execute("SELECT now() AT TIME ZONE current_setting('TimeZone') - now() AT TIME ZONE 'UTC' = '0'").fetchone() == (True,)
    with pytest.raises(PermissionError) as refused:
        veil.wire("alice", "retail_media", port=veil.tap.port, params=[("TimeZone", zone)])
    assert refused.value.args[0]["C"] == "42501"


@pytest.mark.parametrize("sql", ["SET TIME ZONE INTERVAL '00:00:01'", "SET TIME ZONE INTERVAL '5'", "SET TIME ZONE INTERVAL '5' HOUR TO MINUTE",
                                 "SET TIME ZONE INTERVAL '167' HOUR", "SET TIME ZONE 167", "SET SESSION TIME ZONE INTERVAL '01:07' HOUR TO MINUTE"])
def test_P7_a_time_zone_as_an_interval_that_moves_days(conn, sql):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    assert caught.value.diag.sqlstate == "42501" and "Europe/Berlin" in caught.value.diag.message_hint


@pytest.mark.parametrize("sql, shown", [
    ("SET timezone = 'europe/berlin'", "Europe/Berlin"), ("SET TIME ZONE 'EST5EDT'", "EST5EDT"), ("SET timezone = 'Etc/GMT+12'", "Etc/GMT+12"),
    ("SET timezone = 'GMT-02:00'", "GMT-02:00"), ("SET TIME ZONE -7", "<-07>+07"), ("SET TIME ZONE 5.75", "<+05:45>-05:45"),
    ("SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "<-08>+08"), ("SET TIME ZONE INTERVAL '1' HOUR", "<+01>-01"),
    ("SELECT set_config('TimeZone', 'America/' || 'Port-au-Prince', false)", "America/Port-au-Prince")])
def test_P7_time_zones_that_people_live_by(conn, sql, shown):
    conn.execute(sql)
    assert conn.execute("SHOW timezone").fetchone() == (shown,)
    conn.execute("SELECT set_config('TimeZone', %s, false)", [shown])
    conn.execute("SET timezone = '%s'" % shown)
    assert conn.execute("SHOW timezone").fetchone() == (shown,)


@pytest.mark.parametrize("hidden", [
    "EXISTS (SELECT FROM pg_namespace WHERE nspname IN ('crm', 'ledger'))", "(SELECT count(*) FROM pg_class WHERE relname = 'staff') > 0",
    "pg_get_userbyid(10) = 'postgres'", "current_setting(lower('PORT')) ~ '[0-9]'", "to_regclass('crm.staff') IS NOT NULL"])
def test_N6_what_an_argument_of_current_setting_reads(conn, hidden):
    """The argument is a statement of the room's like any other, whose answer the setting's name would tell."""
    sql = "SELECT current_setting(CASE WHEN %s THEN 'TimeZone' ELSE 'no_such' END, true)" % hidden
    assert conn.execute(sql).fetchone() == (None,)


@pytest.mark.parametrize("argument", ["current_setting(lower('PORT'))", "current_setting('data' || '_directory')", "upper(current_setting('TimeZone'))"])
def test_N6_what_an_argument_of_execute_reads(conn, argument):
    conn.execute("PREPARE p(text) AS SELECT $1")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not be called in an argument of EXECUTE"):
        conn.execute("EXECUTE p(%s)" % argument)
    assert conn.execute("EXECUTE p(lower('A') || trim(' b ') || extract(year FROM DATE '2024-01-01'))").fetchone() == ("ab2024",)
