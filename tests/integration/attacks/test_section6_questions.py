"""ATTACKS section 6: safeguards that the author of a question leaves out (G1), and parameters as a way to other SQL (G2)."""
import copy
import struct

import psycopg
import pytest

from tests.integration.conftest import make_veil, statements_of_rooms
from tests.lib import data, wire as w
from tests.lib.governance import FIRST, refusal
from tests.lib.pgveil import serving

K = 10


# --- G1: the author leaves the safeguard out, or undoes it

RARE = "CASE WHEN c.id <= 3 THEN 'rare' ELSE c.grp END"
WEAKENED = {
    "left_out": "SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1",
    "having_one": "SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1 HAVING count(DISTINCT c.id) >= 1",
    "having_true": "SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1 HAVING count(*) > 99 OR true",
    "smallest_first": "SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1 ORDER BY 2 LIMIT 1",
    "in_a_derived_table": "SELECT x.g, x.n FROM (SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1) x",
    "in_a_with": "WITH x AS (SELECT %s AS g, count(*) AS n FROM public.cells c GROUP BY 1) SELECT x.g, x.n FROM x",
    "added_up": "SELECT x.g, sum(x.n) AS n FROM (SELECT %s AS g, c.b_int AS b, count(*) AS n FROM public.cells c GROUP BY 1, 2) x GROUP BY x.g",
    "fanned_out": "SELECT %s AS g, count(*) AS n FROM public.cells c CROSS JOIN public.others o GROUP BY 1",
}


@pytest.fixture(scope="module")
def weakened(cluster):
    room = data.small_room("weakened")
    room["questions"] = {
        name: {"type": "analytical", "sql": sql % RARE, "output": {"entity": "c.id", "minimum_entities": K}}
        for name, sql in WEAKENED.items()}
    veil = make_veil(cluster, [room])
    with serving(veil):
        yield veil


@pytest.mark.parametrize("name", WEAKENED)
def test_G1_the_engine_puts_the_safeguard_in(weakened, cluster, name):
    bare = (WEAKENED[name] % RARE).replace("public.cells", "zoo.cells").replace("public.others", "zoo.others")
    leaked = dict(cluster.rows(bare))
    assert "rare" in leaked, "the attack shows nothing on the bare database"
    with weakened.connect("alice", "weakened") as conn:
        for sql in ("SELECT * FROM questions.%s" % name, WEAKENED[name] % RARE):
            rows = conn.execute(sql).fetchall()
            assert "rare" not in dict(rows), rows
            if name not in ("added_up", "smallest_first"):  # every inner group is small; the smallest is the rare one
                assert {g: n for g, n in leaked.items() if g != "rare"} == dict(rows)
        # Nor does what is asked of the result bring it back.
        for sql in ("SELECT g FROM questions.%s WHERE g = 'rare'", "SELECT * FROM questions.%s ORDER BY n LIMIT 1",
                    "SELECT min(n) FROM questions.%s HAVING min(n) <= 3"):
            assert all(row[0] != "rare" and row[0] != 3 for row in conn.execute(sql % name).fetchall())


# --- G2: parameters as a way to other SQL

INJECTIONS = ["' OR '1'='1", "'; DROP TABLE zoo.others; --", "\\' OR true --", "label 1' UNION SELECT 1, 'x", "$1", ":l", "--", "/*",
              "label", "public.others", "pg_catalog.pg_authid", "1); SELECT 1; --", "E'\\x27'", "U&'\\0027'", "$$x$$", "label 1"]

PARAMETERS = {
    "by_label": {"type": "list", "sql": "SELECT id, label FROM public.others WHERE label = :l ORDER BY id",
                 "parameters": {"l": {"type": "text", "max_length": 60}}},
    "column": {"type": "list", "sql": "SELECT id, :c AS c FROM public.others WHERE id < 3 ORDER BY :c, id",
               "parameters": {"c": {"type": "text", "max_length": 60}}},
    "minus": {"type": "list", "sql": "SELECT id, 10 -:n AS v FROM public.others WHERE id = 1", "parameters": {"n": {"type": "integer"}}},
    "quoted": {"type": "list", "sql": "SELECT id, ':l' AS a, $t$:l$t$ AS b, label AS \":l\" FROM public.others WHERE label = :l",
               "parameters": {"l": {"type": "text"}}},
    "among": {"type": "list", "sql": "SELECT id FROM public.others WHERE id = ANY (:ids) ORDER BY id",
              "parameters": {"ids": {"type": "integer[]", "max_items": 3, "minimum": 1, "maximum": 9}}},
}


@pytest.fixture(scope="module")
def asking(cluster):
    room = data.small_room("asking")
    room["questions"].update(copy.deepcopy(PARAMETERS))
    veil = make_veil(cluster, [room])
    with serving(veil):
        yield veil


def literal(text):
    return psycopg.sql.Literal(text).as_string(None)


@pytest.mark.parametrize("value", INJECTIONS)
def test_G2_a_text_is_a_value_wherever_it_comes_from(asking, cluster, value):
    wanted = [(n, "label %d" % n) for n in range(60) if "label %d" % n == value]
    matched = "SELECT id, label FROM public.others WHERE label = %s ORDER BY id"
    named = "SELECT * FROM questions.by_label(l => %s)"
    with asking.connect("alice", "asking") as conn:
        for sql in (matched, named):
            assert conn.execute(sql % literal(value).strip().replace("%", "%%")).fetchall() == wanted
            for binary in (False, True):
                assert conn.execute(sql, [value], prepare=True, binary=binary).fetchall() == wanted
        conn.execute("PREPARE p(text) AS " + named % "$1")
        assert conn.execute("EXECUTE p(%s)" % literal(value).strip()).fetchall() == wanted
        # In the place of a column it is still a text, and orders nothing.
        assert conn.execute("SELECT * FROM questions.column(c => %s)", [value]).fetchall() == [(n, value) for n in range(3)]
        assert conn.execute("SELECT * FROM questions.quoted(l => %s)", ["label 7"]).fetchall() == [(7, ":l", ":l", "label 7")]
    assert cluster.rows("SELECT count(*) FROM zoo.others") == [(60,)]


def test_G2_a_sign_makes_no_comment(asking, cluster):
    mark = cluster.log_size()
    with asking.connect("alice", "asking") as conn:
        for n in (-1, -2147483600, 0, 5):
            for sql in ("SELECT * FROM questions.minus(n => %d)" % n, "SELECT id, 10 - %d AS v FROM public.others WHERE id = 1" % n):
                assert conn.execute(sql).fetchall() == [(1, 10 - n)]
            assert conn.execute("SELECT * FROM questions.minus(n => %s)", [n], prepare=True).fetchall() == [(1, 10 - n)]
    assert not [sql for sql in statements_of_rooms(cluster.log(mark)) if "--" in sql]


@pytest.mark.parametrize("argument", [
    "'pg_authid'::regclass", "(SELECT 1)", "id", "1 + 1", "length('abc')", "ARRAY[1]", "1.5", "'1 OR true'", "NULL", "1::bigint::text",
    "current_user", "$2", "ROW(1)", "n => 1", "'Infinity'", "9999999999"])
def test_G2_an_argument_is_a_constant_of_its_type(asking, guard, argument):
    with asking.connect("alice", "asking") as conn:
        for sql in ("SELECT * FROM questions.first(n => %s)", "SELECT id, grp FROM public.cells WHERE id <= %s ORDER BY id"):
            guard.denied.append(sql % argument)
            diag = refusal(conn, sql % argument)
            assert diag is not None and diag.sqlstate in ("42501", "22023", "42601", "42P02", "42883", "42703", "22P02", "22003"), (
                sql, diag and (diag.sqlstate, diag.message_primary))


@pytest.mark.parametrize("oid, value, fmt", [
    (25, b"1", 0), (2205, b"pg_authid", 0), (23, b"pg_authid", 0), (23, b"\0\0\0\0\0\0\0\1", 1), (23, b"\0", 1), (1700, b"1", 0),
    (0, b"1; DROP TABLE zoo.others", 0), (0, None, 0), (0, b"1001", 0), (0, struct.pack("!i", -1), 1), (2249, b"(1)", 0)])
def test_G2_types_that_the_client_declares(asking, oid, value, fmt):
    conn = asking.wire("alice", "asking")
    got = conn.ask(w.parse(FIRST.replace("3", "$1"), "", [oid] if oid else []), w.bind([value], formats=[fmt]), w.execute(), w.SYNC)
    if value == b"1" and not w.errors(got):
        assert w.rows(got) == [("1", "g1")], "whatever it was declared as, it is the question's integer"
    else:
        assert len(w.errors(got)) == 1 and w.rows(got) == [], got
        assert w.errors(got)[0] in ("42501", "22023", "22P02", "22P03", "42704", "42804", "22003"), got
    conn.sock.close()


def test_G2_arrays_hold_values_of_the_question_alone(asking):
    with asking.connect("alice", "asking") as conn:
        for ids in ("'{1,2,3,4}'", "'{0}'", "'{10}'", "'{{1},{2}}'", "'{NULL}'", "'{1,}'", "'[0:0]={10}'", "ARRAY[1, NULL]",
                    "ARRAY(SELECT 1)", "ARRAY[1] || ARRAY[2]"):
            diag = refusal(conn, "SELECT * FROM questions.among(ids => %s)" % ids)
            assert diag is not None and diag.sqlstate in ("22023", "42501", "22P02", "2202E"), (ids, diag and diag.sqlstate)
        assert conn.execute("SELECT * FROM questions.among(ids => '{3,1}')").fetchall() == [(1,), (3,)]


@pytest.mark.parametrize("sql", [
    "SELECT id FROM :t", "SELECT id FROM public.:t", "SELECT o.:c FROM public.others o", "SELECT id::(:t) FROM public.others",
    "SELECT CAST(id AS :t) FROM public.others", "SELECT :f(id) FROM public.others", "SELECT id FROM public.others ORDER BY id :d",
    "SELECT id AS :a FROM public.others", "SELECT id FROM public.others WHERE id :o 1", "SELECT id FROM public.others LIMIT 1 :x"])
def test_G2_no_question_takes_an_identifier(own_veil, sql):
    veil = own_veil()
    room = data.small_room(veil.room)
    name = sql[sql.index(":", sql.index("::") + 2 if "::" in sql else 0) + 1]
    room["questions"] = {"q": {"type": "list", "sql": sql, "parameters": {name: {"type": "text"}}}}
    veil.write_room(room)
    done = veil.run("check")
    assert done.returncode == 1 and 'question "q"' in done.stdout, done.stdout
