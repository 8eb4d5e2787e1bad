"""
Types and collations that meet (ATTACKS: S2 to S5): joins of columns of two types, comparisons of types whose operators
fail for some values, texts of several collations, dates that no calendar function takes. Each is asked over rows that hold
odd values and over none; the answer must not tell which. The same statements fail on the bare tables.
"""
import itertools

import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib.pgveil import serving

ROOM = "odd_types"
UNITS = ("year", "quarter", "month", "week", "day", "hour")

# column: (type, ordinary value, odd value), as SQL
COLUMNS = {
    "n": ("numeric", "1", "1e400"), "n2": ("meet.amount", "1", "-1e400"), "f8": ("float8", "1", "'Infinity'"), "f82": ("meet.ratio", "1", "'NaN'"),
    "f4": ("float4", "1", "3e38"), "i2": ("smallint", "1", "32767"), "i4": ("integer", "1", "2147483647"), "i8": ("bigint", "1", "9223372036854775807"),
    "o": ("oid", "1", "4294967295"), "mo": ("money", "'1'", "'92233720368547758.07'"), "d": ("date", "'2024-01-01'", "'5874897-12-31'"),
    "dd": ("meet.day", "'2024-01-01'", "'5874897-12-31'"), "ts": ("timestamp", "'2024-01-01'", "'-infinity'"), "ts0": ("timestamp(0)", "'2024-01-01'", "'294276-12-31 23:59:59'"),
    "tz": ("timestamptz", "'2024-01-01Z'", "'4714-11-24 00:00Z BC'"), "iv": ("interval", "'1 day'", "'178000000 years'"), "tm": ("time", "'05:05'", "'24:00'"),
    "t": ("text", "'x'", "'ß'"), "tc": ("text COLLATE \"C\"", "'x'", "'ß'"), "tp": ("text COLLATE \"POSIX\"", "'x'", "'ß'"),
    "tde": ("text COLLATE meet.de", "'x'", "'ß'"), "tfr": ("varchar(9) COLLATE meet.fr", "'x'", "'ß'"), "bc": ("char(4) COLLATE meet.de", "'x'", "''"),
    "nm": ("name", "'x'", "'ß'"), "ade": ("text[] COLLATE meet.de", "'{x}'", "'{ß}'"), "afr": ("text[] COLLATE meet.fr", "'{x}'", "'{ß}'"),
    "en": ("meet.mood", "'fine'", "'odd'"), "ip": ("inet", "'1.1.1.1'", "'::/0'"), "ci": ("cidr", "'1.1.1.1'", "'::/0'"), "vb": ("varbit", "'01'", "''"),
    "bx": ("box", "'((0,0),(1,1))'", "'((-1e300,-1e300),(1e300,1e300))'"), "cc": ("circle", "'<(0,0),1>'", "'<(0,0),1e300>'"),
    "ls": ("lseg", "'((0,0),(1,1))'", "'((-1e308,-1e308),(1e308,1e308))'"), "ap": ("point[]", "NULL", "'{\"(0,0)\",\"(1,1)\"}'"),
    "aj": ("json[]", "NULL", "'{1}'"), "pr": ("meet.pair", "NULL", "ROW('{}', 1)::meet.pair"), "jb": ("jsonb", "'{}'", "'[]'"),
    "rg": ("int4range", "'[1,2)'", "'empty'"), "mr": ("nummultirange", "'{[1,2)}'", "'{}'"), "by": ("bytea", r"'\x01'", "''"),
}
DATES = ("d", "dd", "ts", "ts0", "tz")
# Beside the odd ones, columns that only a room without analysis rules may show.
SQL = """
CREATE SCHEMA meet;
CREATE COLLATION meet.de (provider = icu, locale = 'de'); CREATE COLLATION meet.fr (provider = icu, locale = 'fr');
CREATE COLLATION meet.alike (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN meet.amount AS numeric; CREATE DOMAIN meet.ratio AS float8; CREATE DOMAIN meet.day AS date CHECK (value > '2000-05-05');
CREATE TYPE meet.mood AS ENUM ('fine', 'odd'); CREATE TYPE meet.pair AS (a json, b integer);
CREATE TABLE meet.things (id integer, label text, alike text COLLATE meet.alike, {columns});
INSERT INTO meet.things SELECT g, 'many', 'a@b.c', {tame} FROM generate_series(1, 40) g;
INSERT INTO meet.things SELECT 100 + g, 'few', 'A@B.C', {odd} FROM generate_series(1, 3) g;
CREATE TABLE meet.others AS SELECT * FROM meet.things;
GRANT USAGE ON SCHEMA meet TO pgveil WITH GRANT OPTION; GRANT SELECT ON ALL TABLES IN SCHEMA meet TO pgveil WITH GRANT OPTION;
""".format(columns=", ".join("%s %s" % (name, kind) for name, (kind, _, _) in COLUMNS.items()),
           tame=", ".join("%s" % tame for _, tame, _ in COLUMNS.values()), odd=", ".join(odd for _, _, odd in COLUMNS.values()))
REFUSED_CODES = (None, "42501", "42883", "42804", "42725", "42846", "0A000")


def dataset(source, unit=None, **more):
    names = ["id", "label", *COLUMNS]
    columns = {name: {"category": 3, "mask": {"truncate_date": unit}} if unit and name in DATES else {"category": 1} for name in names}
    return {"owner": "acme", "source": source, "entity": "id", "columns": {**columns, **more},
            "analysis_rule": {"type": "aggregation", "join_columns": names, "dimension_columns": names,
                              "aggregate_columns": [{"columns": names, "functions": ["count", "count_distinct"]}],
                              "scalar_functions": ["lower", "coalesce", "concat", "greatest", "position", "replace", "nullif"],
                              "output_constraints": [{"column": "id", "type": "count_distinct", "minimum": 20}]}}


def room(datasets):
    return {"room": ROOM, "upstream": "main", "timezone": "Europe/Berlin", "parties": {"acme": {"public_key": "keys/acme.pem"}},
            "members": {"alice": {"party": "acme", "roles": ["analyst"]}}, "datasets": datasets,
            "questions": {"explore": {"type": "analytical", "open": True, "datasets": list(datasets)}}}


@pytest.fixture(scope="module")
def odd(cluster):
    cluster.psql(SQL)
    veil = make_veil(cluster, [room({"public.things": dataset("meet.things"), "public.others": dataset("meet.others"),
                                     **{"public.by_" + unit: dataset("meet.things", unit) for unit in UNITS}})])
    with serving(veil):
        yield veil
    cluster.psql("DROP SCHEMA meet CASCADE")


@pytest.fixture(scope="module")
def answer(odd):
    with odd.connect("alice", ROOM) as conn:
        def run(sql):
            try:
                return conn.execute(sql).fetchall(), None
            except psycopg.Error as error:
                return None, (error.sqlstate, error.diag.message_primary, error.diag.message_detail)
        yield run


def check_alike(answer, sql):
    """The same answer to the odd rows and to none; gives whether it was one."""
    few, nobody = answer(sql % "few"), answer(sql % "nobody")
    assert few[1] == nobody[1], (sql, few[1], nobody[1])
    assert (few[1] or [None])[0] in REFUSED_CODES, (sql, few[1])
    return few[1] is None


JOIN = "SELECT count(*) FROM (SELECT * FROM things WHERE label = '%%s') a JOIN others b ON a.%s = b.%s"


# Types that may become one another; of the others each meets itself, a number and a text.
KIN = (("n", "n2", "f8", "f82", "f4", "i2", "i4", "i8", "o", "mo"), DATES + ("iv", "tm"), ("t", "tc", "tp", "tde", "tfr", "bc", "nm", "by", "en"),
       ("ade", "afr", "ap", "aj"), ("ip", "ci"))


@pytest.mark.parametrize("left", COLUMNS)
def test_joins_of_two_types(answer, left):
    rights = {left, "i4", "t"}.union(*(kin for kin in KIN if left in kin))
    answered = [right for right in sorted(rights) if check_alike(answer, JOIN % (left, right))]
    assert (left in answered) == (left not in ("bx", "cc", "ls", "ap", "aj", "pr")), answered


def bare_fails(cluster, left, right):
    """Does the join fail over the odd rows of the bare tables, which it would tell of?"""
    with cluster.connect() as conn:
        try:
            conn.execute("SELECT count(*) FROM (SELECT * FROM meet.things WHERE label = 'few') a JOIN meet.others b ON a.%s = b.%s" % (left, right))
            return False
        except psycopg.Error as error:
            return error.sqlstate


def test_what_is_refused_would_tell(cluster, answer):
    for left, right, code in (("n", "f8", "22003"), ("f4", "n", "22003"), ("n2", "f82", "22003"), ("i8", "o", "22003"), ("bx", "bx", "22003"),
                              ("cc", "cc", "22003"), ("ap", "ap", "42883"), ("aj", "aj", "42883"), ("pr", "pr", "42883"), ("tde", "tfr", "42P22"),
                              ("tc", "tde", "42P22"), ("nm", "tp", "42P22"), ("ade", "afr", "42P22")):
        assert bare_fails(cluster, left, right) == code, (left, right)
    error = answer(JOIN % ("n", "f8") % "few")[1]
    assert error[:2] == ("42883", "columns of types numeric, double precision cannot be joined in a question over data")
    assert answer("SELECT count(*) FROM things WHERE bx = '((0,0),(1,1))'")[1][1] == "values of type box cannot be compared in a question over data"


@pytest.mark.parametrize("sql", [
    "SELECT count(*) FROM (SELECT id, {0} AS k FROM things WHERE label = '%s') a JOIN (SELECT {1} AS k FROM others) b USING (k)",
    "SELECT count(*) FROM (SELECT {0} AS k FROM things WHERE label = '%s') a NATURAL JOIN (SELECT {1} AS k FROM others) b",
    "SELECT count(*) FROM (SELECT * FROM things WHERE label = '%s') a, others b WHERE a.{0} = b.{1}",
    "WITH a AS (SELECT * FROM things WHERE label = '%s'), b(k) AS (SELECT {1} FROM others) SELECT count(*) FROM a JOIN b ON b.k = a.{0}",
])
@pytest.mark.parametrize("left,right,is_answered", [("n", "f8", False), ("f4", "n2", False), ("o", "i8", False), ("bx", "bx", False), ("pr", "pr", False),
                                                    ("tde", "tfr", True), ("i4", "n", True), ("i2", "f8", True), ("n", "n2", True), ("ts", "d", True)])
def test_joins_in_every_spelling(answer, sql, left, right, is_answered):
    assert check_alike(answer, sql.format(left, right)) == is_answered


COMPARISONS = ["{0} = '{1}'", "{0} < '{1}'", "{0} IN ('{1}', '{1}')", "CASE {0} WHEN '{1}' THEN true ELSE true END", "{0} IS DISTINCT FROM '{1}'",
               "greatest({0}, '{1}') IS NOT NULL", "nullif({0}, '{1}') IS NULL", "coalesce({0}, '{1}') = '{1}'", "{0} BETWEEN '{1}' AND '{1}'"]


@pytest.mark.parametrize("column,literal", [("bx", "((0,0),(1,1))"), ("cc", "<(0,0),1>"), ("ls", "((0,0),(1,1))"), ("ap", "{}"), ("aj", "{}"), ("pr", "(1,1)"),
                                            ("ade", "{}"), ("mr", "{}"), ("o", "1"), ("tde", "a"), ("nm", "a")])
def test_comparisons_with_literals(answer, column, literal):
    answered = [one for one in COMPARISONS if check_alike(answer, "SELECT count(*) FROM things WHERE CASE WHEN label = '%s' THEN " +
                                                          one.format(column, literal) + " ELSE true END")]
    assert not answered if column in ("bx", "cc", "ls", "ap", "aj", "pr") else len(answered) > 4, answered


TEXTS = ("t", "tc", "tp", "tde", "tfr", "bc", "nm")


@pytest.mark.parametrize("template", ["{0} = {1}", "lower({0} || {1}) = 'x'", "lower(coalesce({0}, {1})) LIKE 'x'", "concat({0}, {1}) ILIKE '%%x'",
                                      "greatest({0}, {1}) < 'x'", "lower(CASE WHEN i4 = 1 THEN {0} ELSE {1} END) = 'x'", "position('x' in {0} || {1}) = 1"])
def test_texts_of_several_collations(answer, template):
    for a, b in itertools.combinations(TEXTS, 2):
        sql = "SELECT count(*) FROM things WHERE CASE WHEN label = '%s' THEN " + template.format(a, b) + " ELSE true END"
        assert check_alike(answer, sql), sql


def test_grouping_by_texts_of_several_collations(answer):
    for a, b in itertools.combinations(TEXTS, 2):
        assert check_alike(answer, "SELECT %s || %s AS k, count(*) FROM things WHERE label = '%%s' GROUP BY 1 ORDER BY 1" % (a, b))


@pytest.mark.parametrize("clause", ['"POSIX"', '"ucs_basic"', '"de-x-icu"'])
def test_a_client_makes_no_collations_meet(answer, clause):
    inner = "SELECT count(*) FROM (SELECT t COLLATE %s AS a, nm AS b FROM things WHERE label = '%%s') x WHERE lower(a || b) = 'x'" % clause
    assert not check_alike(answer, inner)
    assert 'is "C" or "default"' in answer(inner % "few")[1][2]
    for fine in ('"C"', '"default"'):
        assert check_alike(answer, inner.replace(clause, fine))


@pytest.mark.parametrize("unit", UNITS)
def test_dates_beyond_the_calendar_are_truncated(cluster, answer, unit):
    for column in DATES:
        for expression in (column, column + "::text", "coalesce(%s, %s)" % (column, column)):
            assert check_alike(answer, "SELECT %s, count(*) FROM by_%s WHERE label = '%%s' GROUP BY 1" % (expression, unit))
        with cluster.connect() as conn:
            mask = "SELECT %s FROM \"pgveil_odd_types$public\".by_%s WHERE label = '%s'"
            assert {row[0] for row in conn.execute((mask % (column + "::text", unit, "few"))).fetchall()} <= {None, "-infinity"}
            assert conn.execute(mask % (column + " IS NULL", unit, "many")).fetchall() == [(False,)] * 40


def test_nondeterministic_collations(cluster, own_veil):
    """Masked they have the database's collation; as they are they cannot stand beside analysis rules."""
    veil = own_veil(rooms=[{**room({"public.things": dataset("meet.things", alike={"category": 1})}), "room": "odd_alike"}])
    done = veil.run("provision")
    assert done.returncode == 2 and 'column "alike" has the nondeterministic collation meet.alike' in done.stderr
    assert 'a view that gives it COLLATE "C"' in done.stderr
    for mask in ("email_domain", {"prefix": 1}, {"suffix": 1}, "hash"):
        veil.write_room({**room({"public.things": dataset("meet.things", alike={"category": 3, "mask": mask})}), "room": "odd_alike"})
        veil.provision()
        rows = cluster.rows('SELECT count(*) FILTER (WHERE alike LIKE \'*%\') > 0, count(DISTINCT alike) FROM "pgveil_odd_alike$public".things')
        assert rows[0][1] == (1 if mask == {"suffix": 0} else 2), (mask, rows)
    veil.provision("--drop")
