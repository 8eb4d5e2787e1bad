"""
What the catalogs show and what they keep: a database whose every hidden object bears a mark in its name, its comment or its
rows, one room that shows a little of it, and the mark looked for in whatever the catalogs, their functions, their casts and
their errors give to a member.
"""
import secrets

import psycopg
import pytest
from psycopg.rows import tuple_row

from tests.lib import data
from tests.lib.pgveil import serving

MARK = "zq" + secrets.token_hex(4)
ROOM = "catalogs"

HIDDEN = """
CREATE ROLE {m}_role; COMMENT ON ROLE {m}_role IS '{m}';
CREATE SCHEMA {m}_schema; COMMENT ON SCHEMA {m}_schema IS '{m}';
CREATE TYPE {m}_schema.feeling AS ENUM ('low', 'high'); COMMENT ON TYPE {m}_schema.feeling IS '{m}';
CREATE DOMAIN {m}_schema.word AS text CONSTRAINT {m}_check CHECK (VALUE <> '{m}');
CREATE TYPE {m}_schema.{m}_enum AS ENUM ('{m}');
CREATE TYPE {m}_schema.{m}_pair AS (a integer, {m}_b text);
CREATE TYPE {m}_schema.{m}_range AS RANGE (subtype = integer);
CREATE SEQUENCE {m}_schema.{m}_seq;
CREATE TABLE {m}_schema.{m}_people (id integer CONSTRAINT {m}_key PRIMARY KEY, mood {m}_schema.feeling, moods {m}_schema.feeling[],
    word {m}_schema.word, {m}_col text DEFAULT '{m}', n integer DEFAULT nextval('{m}_schema.{m}_seq')) PARTITION BY RANGE (id);
CREATE TABLE {m}_schema.{m}_part PARTITION OF {m}_schema.{m}_people FOR VALUES FROM (0) TO (1000);
COMMENT ON TABLE {m}_schema.{m}_people IS '{m}'; COMMENT ON COLUMN {m}_schema.{m}_people.id IS '{m}';
INSERT INTO {m}_schema.{m}_people SELECT n, 'low', '{{low,high}}', 'w', '{m}' FROM generate_series(1, 500) AS n;
CREATE INDEX {m}_index ON {m}_schema.{m}_people ({m}_col); CREATE STATISTICS {m}_schema.{m}_stat ON id, {m}_col FROM {m}_schema.{m}_part;
CREATE VIEW {m}_schema.{m}_view AS SELECT '{m}' AS {m}_c, * FROM {m}_schema.{m}_people;
CREATE MATERIALIZED VIEW {m}_schema.{m}_mat AS SELECT '{m}'::text AS {m}_c;
CREATE FUNCTION {m}_schema.{m}_fn({m}_arg integer, x {m}_schema.{m}_pair) RETURNS text LANGUAGE sql AS $$SELECT '{m}'$$;
CREATE FUNCTION {m}_schema.{m}_tg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER {m}_trigger AFTER INSERT ON {m}_schema.{m}_part FOR EACH ROW EXECUTE FUNCTION {m}_schema.{m}_tg();
CREATE RULE {m}_rule AS ON DELETE TO {m}_schema.{m}_view DO INSTEAD NOTHING;
CREATE FUNCTION {m}_schema.{m}_plus(integer, integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE OPERATOR {m}_schema.<#> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = {m}_schema.{m}_plus);
CREATE OPERATOR FAMILY {m}_schema.{m}_family USING btree; CREATE OPERATOR CLASS {m}_schema.{m}_class FOR TYPE integer USING hash AS STORAGE integer;
CREATE COLLATION {m}_schema.{m}_collation FROM "C"; CREATE CONVERSION {m}_schema.{m}_conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TEXT SEARCH DICTIONARY {m}_schema.{m}_dict (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION {m}_schema.{m}_config (COPY = simple);
CREATE FOREIGN DATA WRAPPER {m}_wrapper; CREATE SERVER {m}_server FOREIGN DATA WRAPPER {m}_wrapper OPTIONS (host '{m}');
CREATE FOREIGN TABLE {m}_schema.{m}_foreign (x integer) SERVER {m}_server;
CREATE USER MAPPING FOR PUBLIC SERVER {m}_server OPTIONS (password '{m}');
CREATE PUBLICATION {m}_publication FOR TABLE {m}_schema.{m}_part;
ALTER TABLE {m}_schema.{m}_part ENABLE ROW LEVEL SECURITY; CREATE POLICY {m}_policy ON {m}_schema.{m}_part USING ({m}_col <> '{m}');
ALTER TABLE {m}_schema.{m}_part DISABLE ROW LEVEL SECURITY;
ALTER ROLE {m}_role SET application_name = '{m}'; ALTER DEFAULT PRIVILEGES FOR ROLE {m}_role GRANT SELECT ON TABLES TO PUBLIC;
SELECT lo_create(0); ANALYZE {m}_schema.{m}_people, {m}_schema.{m}_part;
GRANT USAGE ON SCHEMA {m}_schema TO pgveil WITH GRANT OPTION; GRANT SELECT ON {m}_schema.{m}_people TO pgveil WITH GRANT OPTION;
"""
DROP = "DROP SCHEMA {m}_schema CASCADE; DROP FOREIGN DATA WRAPPER {m}_wrapper CASCADE; DROP PUBLICATION {m}_publication; DROP OWNED BY {m}_role; DROP ROLE {m}_role"

PARTIES = {"acme": {"public_key": "keys/acme.pem"}, "megamart": {"public_key": "keys/megamart.pem"}}


def rooms():
    people = {"owner": "acme", "source": "%s_schema.%s_people" % (MARK, MARK),
              "columns": {"id": {"category": 1}, "mood": {"category": 1}, "moods": {"category": 1}, "word": {"category": 1}}}
    other = "%s_room" % MARK
    return [
        {"room": ROOM, "upstream": "main", "parties": PARTIES, "members": {"alice": {"party": "acme"}},
         "datasets": {"public.people": dict(people, title="People"), "ads.folk": people},
         "questions": {
             "people": {"type": "list", "title": "All of them", "sql": "SELECT id, mood, moods, word FROM public.people"},
             "span": {"type": "list", "sql": "SELECT id FROM public.people WHERE id >= :low AND id < :high AND word <> :word",
                      "parameters": {"low": {"type": "integer"}, "high": {"type": "integer", "default": 7},
                                     "word": {"type": "text", "default": "it's"}}}}},
        {"room": other, "title": MARK, "upstream": "main", "parties": PARTIES, "members": {"bi_service": {"party": "acme"}},
         "datasets": {"public.%s_set" % MARK: dict(people, title=MARK), "%s_space.folk" % MARK: people},
         "questions": {"%s_question" % MARK: {"type": "list", "title": MARK, "sql": 'SELECT id FROM public.%s_set' % MARK}}},
    ]


@pytest.fixture(scope="module")
def installed(cluster):
    from tests.integration.conftest import make_veil
    cluster.psql(HIDDEN.format(m=MARK))
    veil = make_veil(cluster, rooms())
    with serving(veil):
        yield veil
    cluster.psql(DROP.format(m=MARK))


@pytest.fixture
def one(installed):
    with installed.connect("alice", ROOM) as conn:
        yield conn


def shows(what):
    """What must not stand in an answer: the mark, a room's physical name, the database's, its login's."""
    text = repr(what)
    return [word for word in (MARK, "pgveil_", "warehouse", data.CANARY) if word in text]


def ask(conn, sql, params=None):
    """The rows, or what was said instead."""
    try:
        return conn.execute(sql, params).fetchall()
    except psycopg.Error as error:
        said = error.diag
        return [said.sqlstate, said.message_primary, said.message_detail, said.message_hint, said.context, said.schema_name,
                said.table_name, said.column_name, said.datatype_name, said.constraint_name]


# ---- what is hidden


def relations(cluster):
    return cluster.rows("SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                        "WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v') ORDER BY 1, 2")


def hidden_oids(cluster):
    """OIDs of whatever was made since initdb, and of what the server holds besides: databases, roles, tablespaces."""
    tables = cluster.rows("SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'oid' "
                          "WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND c.relname <> 'pg_largeobject_metadata'")
    found = set()
    for name, in tables:
        found.update(oid for oid, in cluster.rows("SELECT oid::bigint FROM pg_catalog.%s WHERE oid >= 16384 OR tableoid IN (1260, 1262)" % name))
    assert len(found) > 500
    marked = {oid for oid, in cluster.rows("SELECT oid::bigint FROM pg_class WHERE relname LIKE %s UNION SELECT oid FROM pg_type WHERE typname LIKE %s "
                                           "UNION SELECT oid FROM pg_proc WHERE proname LIKE %s UNION SELECT oid FROM pg_namespace WHERE nspname LIKE %s "
                                           "UNION SELECT oid FROM pg_constraint WHERE conname LIKE %s", ("%" + MARK + "%",) * 5)}
    assert len(marked) > 30
    return sorted(marked | set(sorted(found)[::20]))


def test_no_relation_shows_a_mark(installed, cluster, one):
    answered = 0
    for schema, name in relations(cluster):
        rows = ask(one, "SELECT t::text, row_to_json(t) FROM %s.%s AS t" % (schema, name))
        assert not shows(rows), (name, shows(rows))
        with one.cursor(binary=True, row_factory=tuple_row) as cur:
            try:
                raw = [cur.pgresult.get_value(r, c) for cur in [cur.execute("SELECT * FROM %s.%s" % (schema, name))]
                       for r in range(cur.pgresult.ntuples) for c in range(cur.pgresult.nfields)]
            except psycopg.Error as error:
                # PostgreSQL itself keeps sql_parts from all but its owner.
                assert error.diag.sqlstate == ("42501" if name == "sql_parts" else "42P01") and not shows(error), name
                continue
            answered += 1
            assert not [value for value in raw if value and MARK.encode() in value], name
    assert answered > 150


def test_no_hidden_row_is_counted(installed, cluster, one):
    """Marked objects are in none of the counts: what was made since initdb is the room's own, and that is known."""
    made = one.execute("SELECT 'class', count(*) FROM pg_class WHERE oid >= 16384 UNION ALL SELECT 'proc', count(*) FROM pg_proc WHERE oid >= 16384 "
                       "UNION ALL SELECT 'namespace', count(*) FROM pg_namespace UNION ALL SELECT 'constraint', count(*) FROM pg_constraint "
                       "UNION ALL SELECT 'depend', count(*) FROM pg_depend UNION ALL SELECT 'shdepend', count(*) FROM pg_shdepend "
                       "UNION ALL SELECT 'roles', count(*) FROM pg_roles UNION ALL SELECT 'database', count(*) FROM pg_database "
                       "UNION ALL SELECT 'description', count(*) FROM pg_description WHERE objoid >= 16384").fetchall()
    assert made == [("class", 3), ("proc", 1), ("namespace", 5), ("constraint", 0), ("depend", 0), ("shdepend", 0), ("roles", 1),
                    ("database", 1), ("description", 3)]  # of two that the room made; and of public, which initdb describes
    types = one.execute("SELECT t.typname::text, n.nspname::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
                        "WHERE t.oid >= 16384 ORDER BY 1, 2").fetchall()
    assert types == [("_feeling", "public"), ("_folk", "ads"), ("_people", "public"), ("_people", "questions"), ("_word", "public"), ("feeling", "public"), ("folk", "ads"), ("people", "public"),
                     ("people", "questions"), ("word", "public")]


SAMPLES = {"oid": "o::oid", "regclass": "o::oid", "int4": "1", "int2": "1::int2", "int8": "1", "bool": "true", "text": "'select'",
           "name": "'pg_class'", "pg_node_tree": "NULL::pg_node_tree"}


def test_no_function_of_oids_shows_a_mark(installed, cluster, one):
    """Every function of pg_catalog that takes OIDs, asked for every OID that the room does not hold."""
    oids = hidden_oids(cluster)
    calls = cluster.rows("SELECT p.proname::text, array(SELECT t.typname::text FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY a(o, n) "
                         "JOIN pg_type t ON t.oid = a.o ORDER BY a.n), p.proretset FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace "
                         "AND p.pronargs BETWEEN 1 AND 4 AND p.prokind = 'f' AND 2205 <> ALL (p.proargtypes::oid[]) ORDER BY 1")
    answered = set()
    for name, types, is_set in calls:
        if "oid" not in types or any(t not in SAMPLES for t in types):
            continue
        call = "%s(%s)" % (name, ", ".join(SAMPLES[t] for t in types))
        for sql in ("SELECT x.* FROM unnest(%%s::oid[]) AS o CROSS JOIN LATERAL %s AS x" if is_set else
                    "SELECT DISTINCT %s FROM unnest(%%s::oid[]) AS o",):
            rows = ask(one, sql % call, (oids,))
            assert not shows(rows), (call, shows(rows), rows[:5])
            if rows and isinstance(rows[0], tuple):
                answered.add(name)
                # Of what is not there, all are told alike; that function says the number itself.
                if name.startswith(("pg_", "has_", "obj_", "col_", "format_type")) and name != "pg_get_userbyid":
                    assert len({value for row in rows for value in row}) < 40, (call, rows[:5])
    assert len(answered) > 40


@pytest.mark.parametrize("kind", ["regclass", "regtype", "regproc", "regprocedure", "regnamespace", "regrole", "regoper", "regoperator",
                                  "regconfig", "regdictionary", "regcollation"])
def test_no_cast_shows_a_mark(installed, cluster, one, kind):
    oids = hidden_oids(cluster)
    for expression in ("o::oid::%s", "o::oid::%s::text", "o::text::%s", "(SELECT o::oid::%s)", "ARRAY[o::oid::%s]::text", "to_json(o::oid::%s)",
                       "coalesce(o::oid::%s::oid, 1)", "concat(o::oid::%s)", "format('%%s', o::oid::%s)", "min(o::oid::%s::text)"):
        rows = ask(one, "SELECT %s FROM unnest(%%s::oid[]) AS o GROUP BY o" % (expression % kind).replace("%s", "%%s"), (oids,))
        assert not shows(rows), (expression, shows(rows))
    for oid in oids[::25]:
        assert not shows(ask(one, "SELECT %d::%s, '%d'::%s, %d::%s::text" % (oid, kind, oid, kind, oid, kind)))


NAMES = ["'{}'::regclass", "to_regclass('{}')", "'{}'::regtype", "to_regtype('{}')", "'{}'::regproc", "'{}(integer)'::regprocedure",
         "to_regproc('{}')", "to_regprocedure('{}(integer, integer)')", "'abs({})'::regprocedure", "to_regprocedure('abs({})')",
         "has_table_privilege('{}', 'select')", "has_any_column_privilege('{}', 'select')", "has_column_privilege('{}', 'id', 'select')",
         "has_sequence_privilege('{}', 'usage')", "has_type_privilege('{}', 'usage')", "has_function_privilege('{}(integer)', 'execute')",
         "pg_relation_size('{}')", "pg_total_relation_size('{}')", "pg_relation_filepath('{}')", "pg_get_viewdef('{}')",
         "pg_get_serial_sequence('{}', 'id')", "pg_sequence_last_value('{}')", "row_security_active('{}')", "col_description('{}'::regclass, 1)",
         "'{}'::regcollation", "'{}'::regconfig", "'{}'::regdictionary", "NULL::{}", "currval('{}')"]
SINGLE = ["has_schema_privilege('{}', 'usage')", "'{}'::regnamespace", "to_regnamespace('{}')", "has_database_privilege('{}', 'connect')",
          "pg_has_role('{}', 'usage')", "'{}'::regrole", "to_regrole('{}')", "has_table_privilege('{}', 'people', 'select')",
          "has_server_privilege('{}', 'usage')", "has_foreign_data_wrapper_privilege('{}', 'usage')", "has_tablespace_privilege('{}', 'create')",
          "has_language_privilege('{}', 'usage')", "pg_database_size('{}')", "pg_tablespace_size('{}')",
          "(SELECT coalesce(relacl, '{{{}=r/{}}}') IS NULL FROM pg_class LIMIT 1)", "(SELECT coalesce(defaclacl, '{{{}=r/{}}}') IS NULL FROM pg_default_acl)"]


def test_hidden_names_and_absent_ones_answer_alike(one):
    hidden = {"schema": "%s_schema" % MARK, "thing": "%s_people %s_part %s_view %s_seq %s_fn %s_enum %s_plus %s_config %s_dict %s_collation"
              .replace("%s", MARK).split()}
    for expression in NAMES:
        for thing in hidden["thing"]:
            there = ask(one, "SELECT " + expression.format("%s.%s" % (hidden["schema"], thing)))
            absent = ask(one, "SELECT " + expression.format("zx_nosuch.zx_absent"))
            assert repr(there).replace(hidden["schema"], "zx_nosuch").replace(thing, "zx_absent") == repr(absent), expression
    for expression in SINGLE:
        for name in (hidden["schema"], "%s_role" % MARK, "%s_server" % MARK, "%s_wrapper" % MARK, "postgres", "pgveil", "template0",
                     "pgveil_%s$login" % ROOM, "pgveil_%s$$catalog" % ROOM, "pgveil_%s_room$public" % MARK, "warehouse"):
            there = ask(one, "SELECT " + expression.format(name, name))
            absent = ask(one, "SELECT " + expression.format("zx_nosuch", "zx_nosuch"))
            # Physical names are cut from whatever is said, a caller's own words included.
            said = repr(there)
            for part in (name, name.partition("$")[2] or name):
                said = said.replace(part, "zx_nosuch")
            assert said == repr(absent), (expression, name)


@pytest.mark.parametrize("sql", [
    "SELECT * FROM questions.people WHERE mood = 'bad'", "SELECT mood + 1 FROM questions.people", "SELECT max(p) FROM questions.people p",
    "SELECT sum(mood) FROM questions.people", "SELECT mood = word FROM questions.people", "SELECT sum(c) FROM pg_class c",
    "SELECT c + 1 FROM pg_class c", "SELECT mood FROM questions.people UNION SELECT 1", "SELECT coalesce(c, 1) FROM pg_class c",
    "SELECT CASE WHEN true THEN mood ELSE 1 END FROM questions.people", "SELECT lower(mood) FROM questions.people",
    "SELECT has_table_privilege(1, 2, 3, 4)", "SELECT pg_relation_size(now())", "SELECT mood::integer FROM questions.people",
    "SELECT t.relname.x FROM pg_class t", "SELECT word::integer FROM questions.people", "SELECT array_append(moods, 1) FROM questions.people",
    "SELECT moods || 'nosuch' FROM questions.people", "SELECT * FROM questions.span(low => now())", "SELECT * FROM pg_class UNION SELECT 1",
    "SELECT pg_typeof(c), pg_typeof(s) FROM pg_class c, pg_settings s LIMIT 5", "SELECT pg_typeof(p) FROM questions.people p",
    "SELECT pg_typeof(mood)::text, pg_typeof(moods), pg_typeof(word) FROM questions.people", "SELECT pg_typeof(t)::oid::regtype FROM pg_type t LIMIT 1",
    "SELECT pg_describe_object(1259, 1259, 0)", "SELECT * FROM ads.people", "SELECT tableoid::regclass FROM pg_class LIMIT 1",
    "SELECT set_config('search_path', current_setting('search_path', true) || 'x', false)", "SHOW ALL", "SELECT version(), current_user, user"])
def test_words_show_no_mark(one, sql):
    said = ask(one, sql)
    assert said and not shows(said), said


def test_words_are_postgresqls(one):
    assert ask(one, "SELECT * FROM questions.people WHERE mood = 'bad'")[:2] == ["22P02", 'invalid input value for enum feeling: "bad"']
    assert ask(one, "SELECT mood + 1 FROM questions.people")[:2] == ["42883", "operator does not exist: feeling + integer"]
    assert ask(one, "SELECT lower(mood) FROM questions.people")[:2] == ["42883", "function lower(feeling) does not exist"]
    assert ask(one, "SELECT has_table_privilege(1, 2, 3, 4)")[:2] == [
        "42883", "function has_table_privilege(integer, integer, integer, integer) does not exist"]
    assert ask(one, "SELECT 'a.b' + 1")[1] == 'invalid input syntax for type integer: "a.b"'
    assert ask(one, "SELECT 'x.y'::text + 1")[1] == "operator does not exist: text + integer"


# ---- what is shown


def test_privileges_as_postgresql_tells_them(one):
    row = lambda sql: one.execute("SELECT " + sql).fetchone()
    assert row("has_table_privilege('people', 'select'), has_table_privilege('ads.folk', 'insert, SELECT'), has_table_privilege('people', 'update')") == (
        True, True, False)
    assert row("has_table_privilege('alice', 'people', 'select'), has_table_privilege('questions.people', 'SELECT WITH GRANT OPTION')") == (True, False)
    assert row("has_schema_privilege('ads', 'usage'), has_schema_privilege('ads', 'create'), has_schema_privilege('alice', 'public', 'usage')") == (
        True, False, True)
    assert row("has_column_privilege('people', 'id', 'select'), has_column_privilege('people', 77::int2, 'select')") == (True, None)
    assert row("has_database_privilege(current_database(), 'connect'), has_database_privilege(current_database(), 'temp')") == (True, False)
    assert row("has_function_privilege('questions.span(integer, integer, text)', 'execute'), has_function_privilege('abs(integer)', 'execute')") == (True, True)
    assert row("has_language_privilege('sql', 'usage'), has_type_privilege('integer', 'usage'), pg_has_role('alice', 'usage')") == (True, True, True)
    assert row("has_table_privilege(1::oid, 'select'), has_schema_privilege(1::oid, 'usage'), has_function_privilege(1::oid, 'execute'), "
               "has_table_privilege(NULL::text, 'select')") == (None, None, None, None)
    for sql, sqlstate, words in [
            ("has_table_privilege('nosuch', 'select')", "42P01", 'relation "nosuch" does not exist'),
            ("has_table_privilege('folk', 'select')", "42P01", 'relation "folk" does not exist'),
            ("has_table_privilege('nobody', 'people', 'select')", "42704", 'role "nobody" does not exist'),
            ("has_table_privilege('people', 'eat')", "22023", 'unrecognized privilege type: "eat"'),
            ("has_schema_privilege('nosuch', 'usage')", "3F000", 'schema "nosuch" does not exist'),
            ("has_database_privilege('nosuch', 'connect')", "3D000", 'database "nosuch" does not exist'),
            ("has_column_privilege('people', 'nosuch', 'select')", "42703", 'column "nosuch" of relation "people" does not exist'),
            ("has_function_privilege('nosuch()', 'execute')", "42883", 'function "nosuch()" does not exist'),
            ("has_type_privilege('nosuch', 'usage')", "42704", 'type "nosuch" does not exist'),
            ("has_language_privilege('nosuch', 'usage')", "42704", 'language "nosuch" does not exist'),
            ("has_server_privilege('nosuch', 'usage')", "42704", 'server "nosuch" does not exist'),
            ("has_sequence_privilege('people', 'usage')", "42809", '"people" is not a sequence'),
            ("pg_relation_size('nosuch')", "42P01", 'relation "nosuch" does not exist')]:
        assert ask(one, "SELECT " + sql)[:2] == [sqlstate, words]
    one.execute("SET search_path = ads")
    assert row("has_table_privilege('folk', 'select'), pg_relation_size('folk')") == (True, 0)
    assert ask(one, "SELECT has_table_privilege('people', 'select')")[0] == "42P01"


def test_search_path_by_every_way(one):
    row = lambda sql: one.execute(sql).fetchone()
    asked = "SELECT current_setting('search_path'), (SELECT setting FROM pg_settings WHERE name = 'search_path'), current_schema::text"
    assert row(asked) == ("public", "public", "public")
    assert row("SELECT set_config('search_path', 'ads, public', false)") == ("ads, public",)
    assert row("SHOW search_path") == ("ads, public",) and row(asked) == ("ads, public", "ads, public", "ads")
    assert row("SELECT source FROM pg_settings WHERE name = 'search_path'") == ("session",)
    assert row("SELECT 'folk'::regclass::text, 'people'::regclass::text") == ("folk", "people")
    with one.transaction(force_rollback=True):
        assert row("SELECT pg_catalog.set_config('search_path', 'questions', false)") == ("questions",)
        assert row("SELECT count(*) FROM span(5)") == (2,)
    assert row("SHOW search_path") == ("ads, public",)
    with one.transaction():
        row("SELECT set_config('search_path', '', true)")
        assert row("SHOW search_path") == ('""',)
        row("SELECT set_config('search_path', 'questions', true)")
        assert row("SELECT 'people'::regclass::text, 'public.people'::regclass::text") == ("people", "public.people")
    assert row("SHOW search_path") == ("ads, public",)
    for sql in ("SELECT set_config('search_path', 'public', false), 1", "SELECT set_config('search_path', n, false) FROM (VALUES ('public')) AS v(n)",
                "SELECT (SELECT set_config('search_path', 'public', false))"):
        said = ask(one, sql)
        assert said[0] == "42501" and "search_path" in said[1] and "SET search_path" in said[3]
    one.execute("RESET search_path")
    assert row(asked) == ("public", "public", "public")


def test_settings_agree_however_they_are_asked(one):
    one.execute("SET work_mem = '77MB'; SET TimeZone = 'Asia/Tokyo'; SET statement_timeout = '90s'")
    rows = one.execute("SELECT name, current_setting(name), setting, unit FROM pg_settings").fetchall()
    assert len(rows) > 50
    for name, value, setting, unit in rows:
        assert one.execute("SHOW " + name).fetchone() == (value,), name
        assert one.execute("SELECT current_setting('%s')" % name).fetchone() == (value,), name
        assert unit or value == setting, name
    assert one.execute("SELECT name, source FROM pg_settings WHERE source <> 'default' AND name <> 'application_name' ORDER BY 1").fetchall() == [
        ("TimeZone", "session"), ("statement_timeout", "session"), ("work_mem", "session")]


def test_names_read_along_the_search_path(one):
    row = lambda sql: one.execute(sql).fetchone()
    assert row("SELECT 'people'::regclass::text, 'ads.folk'::regclass::text, 'questions.people'::regclass::text, 'pg_class'::regclass::text") == (
        "people", "ads.folk", "questions.people", "pg_class")
    assert row("SELECT 'questions.span'::regproc::text, to_regclass('questions.people')::text, 'questions.span(integer,integer,text)'::regprocedure::text") == (
        "questions.span", "questions.people", "questions.span(integer,integer,text)")
    assert one.execute("SELECT oid::regclass, oid::regclass::text FROM pg_class WHERE oid >= 16384 ORDER BY 2").fetchall() == [
        ("ads.folk", "ads.folk"), ("people", "people"), ("questions.people", "questions.people")]
    assert row("SELECT 'ads.folk'::regclass::oid = (SELECT oid FROM pg_class WHERE relname = 'folk'), "
               "('ads.folk'::regclass::oid)::regclass::text, to_regclass('folk') IS NULL") == (True, "ads.folk", True)
    assert one.execute("SELECT format_type(atttypid, atttypmod), atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'people'::regclass AND "
                       "attnum > 0 ORDER BY attnum").fetchall() == [("integer",) * 2, ("feeling",) * 2, ("feeling[]",) * 2, ("word",) * 2]
    assert row("SELECT 'feeling'::regtype::oid = to_regtype('feeling')::oid, to_regtype('nosuch') IS NULL") == (True, True)
    assert ask(one, "SELECT 'nosuch'::regtype")[:2] == ["42704", 'type "nosuch" does not exist']
    assert one.execute("SELECT enumlabel::text FROM pg_enum WHERE enumtypid = 'feeling'::regtype ORDER BY enumsortorder").fetchall() == [("low",), ("high",)]
    assert one.execute("SELECT data_type::text, udt_schema::text, udt_name::text, domain_schema::text, domain_name::text FROM information_schema.columns "
                       "WHERE table_name = 'folk' ORDER BY ordinal_position").fetchall() == [
        ("integer", "pg_catalog", "int4", None, None), ("USER-DEFINED", "public", "feeling", None, None), ("ARRAY", "public", "_feeling", None, None),
        ("text", "pg_catalog", "text", "public", "word")]


def test_a_question_shows_its_parameters_defaults(one):
    assert one.execute("SELECT pg_get_function_arguments(oid), pg_get_function_result(oid) FROM pg_proc WHERE proname = 'span' AND oid >= 16384").fetchone() == (
        "low integer, high integer DEFAULT 7, word text DEFAULT 'it''s'::text", "TABLE(id integer)")


def test_errors_of_names_point_at_the_name(one):
    for sql, position in (("SELECT 'nosuch'::regclass", 8), ("SELECT 1, CAST('nosuch.x' AS regclass)", 16), ("SELECT 'nosuch()'::regprocedure", 8)):
        with pytest.raises(psycopg.Error) as caught:
            one.execute(sql)
        assert caught.value.diag.statement_position == str(position), sql


def test_nothing_of_the_proxys_own_comings_and_goings(one):
    assert one.execute("SELECT pg_postmaster_start_time(), pg_conf_load_time(), inet_server_addr(), inet_server_port(), inet_client_addr(), "
                       "inet_client_port(), pg_type_is_visible(16999), pg_table_is_visible(16999), pg_opclass_is_visible(16999)").fetchone() == (None,) * 9
