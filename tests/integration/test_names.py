"""
Names as people choose them: questions, parameters, attributes and columns whose names SQL has to quote, or that meet each
other, are asked, shown, approved and logged like any other. Types of a data set's columns by their names.
"""
import json
import re
import time

import psycopg
import pytest

from tests.lib import data

ODD = ["Overlap-2026", 'Revenue by "Region" (é) $do$ it\'s', "select", "2026", "a.b", " x ", "é" * 31, "q" * 63]
TYPES = """
CREATE SCHEMA kinds;
CREATE TYPE kinds.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN kinds.code AS text CONSTRAINT code_secret CHECK (VALUE ~ '^[a-z0-9]+$');
CREATE DOMAIN kinds."Pos Int" AS integer NOT NULL CHECK (VALUE > 0);
CREATE FUNCTION kinds.watched(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE DOMAIN kinds.calling AS text CHECK (kinds.watched(VALUE));
CREATE DOMAIN kinds.looking AS regclass;
CREATE TABLE kinds.people (id integer, m kinds.mood, c kinds.code, p kinds."Pos Int", w kinds.calling, l kinds.looking, country text);
INSERT INTO kinds.people SELECT n, (ARRAY['sad', 'ok', 'happy'])[1 + n % 3]::kinds.mood, 'code' || n, n, 'w', NULL,
    CASE WHEN n % 2 = 0 THEN 'US' ELSE 'DE' END FROM generate_series(1, 60) AS n;
GRANT USAGE ON SCHEMA kinds TO pgveil WITH GRANT OPTION; GRANT SELECT ON kinds.people TO pgveil WITH GRANT OPTION;
"""
ROOM = "Names-1"
PLAIN = {"category": 1}


def room():
    listed = {"type": "list", "sql": "SELECT id, m FROM public.people WHERE id <= :maxId", "parameters": {"maxId": {"type": "integer"}}}
    return {
        "room": ROOM, "upstream": "main",
        "parties": {"acme": {"public_key": "keys/acme.pem"}, "megamart": {"public_key": "keys/megamart.pem"}},
        "members": {"alice": {"party": "acme"}, "b \"i\" é'": {"party": "megamart"}},
        "datasets": {"public.people": {"owner": "acme", "source": "kinds.people", "row_filter": "country = ANY (:Countries)",
                                       "columns": dict.fromkeys(["id", "m", "c", "p", "w", "l"], PLAIN)}},
        "questions": {
            **{name: dict(listed, sql=listed["sql"] + " AND id <> %d" % -n) for n, name in enumerate(ODD)},
            "signed One": dict(listed, sql="SELECT id FROM public.people WHERE id = :maxId", approvals=["acme"]),
            "Plain View": {"type": "list", "sql": "SELECT id, c FROM public.people"},
            # Parameters and columns of one name, and a default that holds what could end a quoted text.
            "meets": {"type": "list", "sql": "SELECT id, id AS id_2, m FROM public.people WHERE id = :id AND c <> :m",
                      "parameters": {"id": {"type": "integer"}, "m": {"type": "text", "default": "x$do$'y"}}}}}


USERS = {"alice": {"password": "a", "attributes": {"countRies": ["US"]}},
         "b \"i\" é'": {"password": "b", "attributes": {"Countries": ["DE"]}}}


@pytest.fixture(scope="module")
def named(cluster):
    from tests.integration.conftest import make_veil
    cluster.psql(TYPES)
    veil = make_veil(cluster, [room()], USERS)
    veil.provision()
    veil.start()
    yield veil
    status = veil.stop()
    veil.provision("--drop")
    veil.close()
    cluster.psql("DROP SCHEMA kinds CASCADE")
    assert status == 0


def quoted(name):
    return '"%s"' % name.replace('"', '""')


@pytest.mark.parametrize("name", ODD)
def test_a_question_of_any_name_is_asked_by_it(named, name):
    with named.connect("alice", ROOM) as one:
        for call in ("maxId => 4", '"maxId" => 4', "4", "MAXID => 4"):
            rows = one.execute("SELECT * FROM questions.%s(%s)" % (quoted(name), call)).fetchall()
            assert rows == [(2, "happy"), (4, "ok")], call
        record = named.last_log("query LIKE ?", ("%MAXID%",))
        assert (record["question"], record["decision"], record["outcome"], record["rows"]) == (name, "allowed", "completed", 2)
        with pytest.raises(psycopg.Error) as caught:
            one.execute("SELECT * FROM questions." + quoted(name))
        assert caught.value.sqlstate == "22023"
        hint = caught.value.diag.message_hint
        assert one.execute(hint.replace("...", "4")).fetchall() == rows, hint
        number = ODD.index(name)
        text = "SELECT id, m FROM public.people WHERE id <= 4 AND id <> %d" % -number
        assert one.execute(text).fetchall() == rows
        assert named.last_log("query = ?", (text,))["question"] == name
        # The catalogs show it under its name, for casts to find.
        shown = one.execute("SELECT proname, pg_get_function_arguments(oid), pg_get_function_result(oid) FROM pg_proc "
                            "WHERE oid = %s::regproc", ["questions." + quoted(name)]).fetchall()
        assert shown == [(name, '"maxId" integer', "TABLE(id integer, m mood)")]
        assert one.execute("SELECT 'questions.%s'::regproc::text" % quoted(name).replace("'", "''")).fetchone()[0].endswith(
            name if re.fullmatch("[a-z]+", name) and name != "select" else quoted(name))
    status, told = named.explain("SELECT * FROM questions.%s(maxId => 4)" % quoted(name), ROOM, "alice")
    assert (status, told["question"]) == (0, name)


def test_a_denial_s_hint_quotes_what_has_to_be(named):
    with named.connect("alice", ROOM) as one:
        with pytest.raises(psycopg.Error) as caught:
            one.execute("SELECT id, m FROM public.people WHERE id <= 4")
        assert 'questions."Overlap-2026"("maxId" => ...).' in caught.value.diag.message_hint
        assert len(one.execute('SELECT * FROM questions."Plain View"').fetchall()) == 30
        assert one.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'questions'::regnamespace").fetchone() == (1,)


def test_attributes_know_no_case(named):
    for user, least in (("alice", 2), ("b \"i\" é'", 1)):
        with named.connect(user, ROOM) as one:
            assert one.execute('SELECT min(id) FROM questions."Plain View"').fetchone() == (least,)
            assert one.execute("SELECT current_user::text").fetchone() == (user,)
        assert named.last_log("query LIKE 'SELECT min%'")["user"] == user


def test_parameters_and_columns_of_one_name(named):
    with named.connect("alice", ROOM) as one:
        cursor = one.execute("SELECT * FROM questions.meets(id => 4)")
        assert (cursor.fetchall(), [c.name for c in cursor.description]) == ([(4, 4, "ok")], ["id", "id_2", "m"])
        assert one.execute("SELECT pg_get_function_arguments(oid), pg_get_function_result(oid) FROM pg_proc WHERE proname = 'meets'"
                           ).fetchone() == ("id integer, m text DEFAULT 'x$do$''y'::text", "TABLE(id_3 integer, id_2 integer, m_2 mood)")
    assert named.provision() == "room %s: no changes\n" % ROOM


def eventually(one, sql, sqlstate):
    """Its rows, or its error, once it ends with that SQLSTATE (None: well)."""
    deadline = time.monotonic() + 60
    while True:
        try:
            ended, found = None, one.execute(sql).fetchall()
        except psycopg.Error as error:
            ended, found = error.sqlstate, str(error)
        if ended == sqlstate:
            return found
        assert time.monotonic() < deadline, (ended, found)
        time.sleep(0.05)


def test_approval_consent_and_page_take_such_names(named):
    key = named.keys["acme"]
    with named.connect("alice", ROOM) as one:
        ask = 'SELECT * FROM questions."signed One"(maxId => 4)'
        assert "signed One" in eventually(one, ask, "42501")
        for command, words, sqlstate in (("approve", [], None), ("consent", ["withdraw"], "42501"), ("consent", ["grant"], None)):
            done = named.run(command, "--room", ROOM, "--question", "signed One", "--party", "acme", "--key", key, *words)
            assert done.returncode == 0, done.stderr
            assert eventually(one, ask, sqlstate) == [(4,)] or sqlstate is not None
    assert "signed One" in named.run("approvals", "--room", ROOM).stdout
    assert [json.loads(row["detail"])["question"] for row in named.event_rows("event LIKE '%consent%'")] == ["signed One"] * 2


def test_domains_and_enums_are_known_by_their_names(named):
    with named.connect("alice", ROOM) as one:
        assert one.execute("SELECT 'sad'::mood, 'abc'::code, '7'::\"Pos Int\", 7::public.\"Pos Int\", '{a,b}'::code[]").fetchone() == (
            "sad", "abc", 7, 7, "{a,b}")
        assert one.execute("SELECT pg_typeof('x'::code)::text, pg_typeof(1::\"Pos Int\")::text").fetchone() == ("code", '"Pos Int"')
        assert one.execute("SELECT count(*) FROM questions.\"Plain View\" WHERE c = 'code4'::code").fetchone() == (1,)
        assert one.execute("SELECT %s::code", ["abc"]).fetchone() == ("abc",)
        for sql, sqlstate, words in (
                ("SELECT 'NO'::code", "23514", "value for domain code violates check constraint"),
                ('SELECT 0::"Pos Int"', "23514", 'value for domain "Pos Int" violates check constraint'),
                ('SELECT NULL::"Pos Int"', "23502", 'domain "Pos Int" does not allow null values'),
                ("SELECT 'nil'::mood", "22P02", 'invalid input value for enum mood: "nil"'),
                # A constraint of somebody's function, a base that looks names up: no cast of a caller reaches them.
                ("SELECT 'x'::calling", "42704", 'type "calling" does not exist'),
                ("SELECT 'pg_authid'::looking", "42704", 'type "looking" does not exist')):
            with pytest.raises(psycopg.Error) as caught:
                one.execute(sql)
            assert (caught.value.sqlstate, caught.value.diag.message_primary) == (sqlstate, words)


def test_parameters_of_prepare_may_be_of_such_a_type(named):
    with named.connect("alice", ROOM) as one:
        one.execute("PREPARE one (mood) AS SELECT $1, $1::text")
        cursor = one.execute("EXECUTE one('ok')")
        assert (cursor.fetchall(), [c.name for c in cursor.description]) == ([("ok", "ok")], ["?column?", "text"])
        one.execute("PREPARE two (mood[], code, int) AS SELECT m, count(*) FROM questions.meets(id => $3) WHERE m = ANY ($1) AND $2 <> '' GROUP BY 1")
        assert one.execute("EXECUTE two('{ok}', 'abc', 4)").fetchall() == [("ok", 1)]
        for sql, sqlstate in (("EXECUTE one('nil')", "22P02"), ("EXECUTE two('{}', 'NO', 4)", "23514"),
                              ("PREPARE three (nosuch) AS SELECT $1", "42704"), ("PREPARE three (kinds.mood) AS SELECT $1", "3F000")):
            with pytest.raises(psycopg.Error) as caught:
                one.execute(sql)
            assert caught.value.sqlstate == sqlstate, sql


@pytest.mark.parametrize("change, words", [
    (lambda shape: shape["questions"].update({"a\tb": shape["questions"].pop("meets")}), "a question's name is 1 to 63 bytes"),
    (lambda shape: shape["questions"].update({"é" * 32: shape["questions"].pop("meets")}), "a question's name is 1 to 63 bytes"),
    (lambda shape: shape["questions"]["meets"]["parameters"].update({"a-b": {"type": "text"}}), "a parameter's name is 1 to 63 bytes"),
    (lambda shape: shape["questions"]["meets"]["parameters"].update({"ID": {"type": "text"}}), "differ in letter case only"),
    (lambda shape: shape["parties"].update({"Mega Mart": {}}), "a party's name is made of"),
    (lambda shape: shape["datasets"].update({"public." + "x" * 64: shape["datasets"]["public.people"]}), "a data set's name must be SCHEMA.NAME"),
    (lambda shape: shape["datasets"].update({"nodot": shape["datasets"]["public.people"]}), "a data set's name must be SCHEMA.NAME"),
    (lambda shape: shape["datasets"]["public.people"]["columns"].update({"c" * 64: PLAIN}), "a column's name is 1 to 63 bytes"),
])
def test_what_cannot_be_named_is_a_fault_in_its_place(own_veil, change, words):
    shape = room()
    change(shape)
    veil = own_veil([shape], USERS)
    done = veil.run("check")
    assert done.returncode == 1
    assert any(words in line and line.split(":")[0].endswith(ROOM + ".json") and line.split(":")[1].isdigit()
               for line in (done.stdout + done.stderr).splitlines()), done.stdout + done.stderr


def test_a_field_of_a_row_is_its_column(named, lab):
    with named.connect("alice", ROOM) as one:
        assert one.execute('SELECT (v).id, (v).c FROM questions."Plain View" v WHERE (v).id = 4').fetchall() == [(4, "code4")]
        assert one.execute("SELECT (o).id, (o).m FROM questions.\"Overlap-2026\"(maxId => 4) AS o").fetchall() == [(2, "happy"), (4, "ok")]
        for field in ("country", "nosuch", "ctid", "lower"):
            with pytest.raises(psycopg.Error) as caught:
                one.execute("SELECT (p).%s FROM public.people p" % field)
            assert caught.value.sqlstate == "42501"
    with lab.connect("alice", "open_lab") as one:
        assert one.execute("SELECT (p).region, count((p).id) FROM people p WHERE (p).age > 20 GROUP BY (p).region ORDER BY 1").fetchall() == one.execute(
            "SELECT p.region, count(p.id) FROM people p WHERE p.age > 20 GROUP BY p.region ORDER BY 1").fetchall()
        for sql in ("SELECT (p).income FROM people p", "SELECT count(*) FROM people p WHERE (p).id = 1001", "SELECT count((p).email) FROM people p",
                    "SELECT (p).* FROM people p", "SELECT (p).region.x FROM people p"):
            with pytest.raises(psycopg.Error) as caught:
                one.execute(sql)
            assert caught.value.sqlstate == "42501", sql
