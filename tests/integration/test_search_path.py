"""
search_path as PostgreSQL has it: names that need quotes, names nobody has, and statements that were prepared before it
moved. What a plain session of the database says, where schemas of the same names stand, is what is right.
"""
import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib import data
from tests.lib.pgveil import serving
from tests.lib.wire import SYNC, bind, errors, execute, parse, query, rows

ROOM = "paths"
SCHEMAS = ("My Sch", "low", 'a"b')
PATHS = ('"My Sch"', "'My Sch'", "low", '"My Sch", low', "LOW", "'Low'", '"$user", low, "My Sch"', "''", "nowhere", "nowhere, low",
         '"a""b", "My Sch"', "'low, My Sch'", "low, pg_catalog", "pg_catalog", "low, low")
ASKED = ("SHOW search_path", "SELECT current_setting('search_path'), current_schema(), current_schemas(true), current_schemas(false)",
         "SELECT * FROM t")


@pytest.fixture(scope="module")
def rooms(cluster):
    for schema in SCHEMAS:
        name = '"%s"' % schema.replace('"', '""')
        cluster.psql("CREATE SCHEMA {0}; CREATE TABLE {0}.t AS SELECT '{1}'::text AS whose; GRANT USAGE ON SCHEMA {0} TO pgveil WITH GRANT "
                     "OPTION; GRANT SELECT ON {0}.t TO pgveil WITH GRANT OPTION".format(name, schema))
    room = data.small_room(ROOM)
    room["datasets"] = {schema + ".t": {"owner": "acme", "columns": {"whose": {"category": 1}}} for schema in SCHEMAS}
    room["questions"] = {"t%d" % at: {"type": "list", "sql": 'SELECT * FROM "%s".t' % schema.replace('"', '""')}
                         for at, schema in enumerate(SCHEMAS)}
    yield room
    cluster.psql("; ".join('DROP SCHEMA "%s" CASCADE' % schema.replace('"', '""') for schema in SCHEMAS))


@pytest.fixture(scope="module", params=["session", "transaction"])
def asked(request, cluster, rooms):
    with serving(make_veil(cluster, [rooms], config={"pool": {"mode": request.param, "size": 2}})) as veil:
        yield veil


def said(conn, sql, **more):
    try:
        cursor = conn.execute(sql, **more)
        return cursor.fetchall() if cursor.description else cursor.statusmessage
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary


# Prepared at once or never: a statement that was prepared before the path moved says what a new one does.
@pytest.mark.parametrize("is_prepared", [False, True])
def test_paths_are_what_PostgreSQL_makes_of_them(cluster, asked, is_prepared):
    with cluster.connect() as plain, asked.connect("alice", ROOM, prepare_threshold=0 if is_prepared else None) as conn:
        for path in PATHS:
            for sql in ("SET search_path = " + path,) + ASKED:
                assert said(conn, sql) == said(plain, sql), (path, sql)


def test_a_path_in_the_startup_packet(cluster, asked):
    options = '-c search_path="My\\ Sch",\\ low'
    with cluster.connect(options=options) as plain, asked.connect("alice", ROOM, options=options) as conn:
        for sql in ASKED[1:]:
            assert said(conn, sql) == said(plain, sql)
    with asked.connect("alice", ROOM) as conn:
        assert said(conn, "SELECT set_config('search_path', '\"My Sch\"', false)") == [('"My Sch"',)]
        assert said(conn, "SELECT * FROM t") == [("My Sch",)]


def test_prepared_statements_follow_the_path_through_transactions(asked):
    with asked.connect("alice", ROOM, prepare_threshold=0) as conn:
        conn.execute("SET search_path = low")
        assert said(conn, "SELECT * FROM t") == [("low",)]
        conn.execute("BEGIN")
        conn.execute('SET LOCAL search_path = "My Sch"')
        assert said(conn, "SELECT * FROM t") == [("My Sch",)]
        conn.execute("SAVEPOINT s")
        conn.execute('SET search_path = "a""b"')
        assert said(conn, "SELECT * FROM t") == [('a"b',)]
        conn.execute("ROLLBACK TO s")
        assert said(conn, "SELECT * FROM t") == [("My Sch",)]
        conn.execute("COMMIT")
        assert said(conn, "SELECT * FROM t") == [("low",)]
        conn.execute("SET search_path = nowhere")
        assert said(conn, "SELECT * FROM t") == ("42P01", 'relation "t" does not exist')
        conn.execute("RESET search_path")
        assert said(conn, "SELECT * FROM t")[0] == "42P01"
        conn.execute("SET search_path = low")
        assert said(conn, "SELECT * FROM t") == [("low",)]


def test_prepared_statements_follow_the_path_in_one_go(asked):
    with asked.wire("alice", ROOM) as one:
        assert errors(one.ask(query("SET search_path = low"))) == []
        assert errors(one.ask(parse("SELECT * FROM t", "s"), parse('SET search_path = "My Sch"', "set"), parse("BEGIN", "b"), SYNC)) == []
        # The path moves in the segment before, and in the very segment.
        one.send(bind([], "set"), execute(), SYNC, bind([], "s"), execute(), SYNC)
        answer = one.until("Z") + one.until("Z")
        assert errors(answer) == [] and rows(answer) == [("My Sch",)]
        one.send(query("SET search_path = low"), bind([], "s"), execute(), bind([], "set"), execute(), bind([], "s"), execute(), SYNC)
        answer = one.until("Z") + one.until("Z")
        assert errors(answer) == [] and rows(answer) == [("low",), ("My Sch",)]
        # A portal stays what it was bound to.
        answer = one.ask(bind([], "b"), execute(), bind([], "s", "p"), SYNC)
        assert errors(answer + one.ask(query("SET search_path = low"))) == []
        answer = one.ask(execute("p"), bind([], "s"), execute(), SYNC)
        assert errors(answer) == [] and rows(answer) == [("My Sch",), ("low",)]
