"""
INTERFACE 3, open questions over real rows: what BI tools send is answered as a reference query over the source tables
answers, thresholds and masks included; what breaks a rule is refused, though over the bare tables it runs and tells.
"""
import time

import psycopg
import pytest

from tests.lib import openroom

PASSES = "count(DISTINCT p.id) >= %d" % openroom.PEOPLE_K
SEEN = "count(DISTINCT v.id) >= %d" % openroom.VISITS_K


@pytest.fixture(scope="module")
def ask(lab):
    with lab.connect("alice", openroom.ROOM) as conn:
        def run(sql):
            cur = conn.execute(sql)
            return [c.name for c in cur.description], cur.fetchall()
        yield run


@pytest.fixture(scope="module")
def reference(cluster, lab):
    with cluster.connect() as conn:
        yield lambda sql: conn.execute(sql).fetchall()


def as_set(rows):
    return sorted(repr(tuple(float(v) if hasattr(v, "as_tuple") else v for v in row)) for row in rows)


# ---- what the tools send: {d} a dimension as they write it, {a} an aggregate
DIMENSIONS = {  # as sent over table alias t: as the reference computes it over people p
    '{q}region{q}': "p.region",
    'DATE_TRUNC(\'year\', {q}born{q})': "date_trunc('year', date_trunc('month', p.born))",
    'EXTRACT(YEAR FROM {q}born{q})': "extract(year from date_trunc('month', p.born))",
    '{q}age{q}': "p.age",
    "LOWER({q}region{q})": "lower(p.region)",
    "TO_CHAR({q}born{q}, 'YYYY')": "to_char(p.born, 'YYYY')",
    "CASE WHEN {q}region{q} IN ('North', 'South') THEN 'NS' ELSE 'other' END":
        "CASE WHEN p.region IN ('North', 'South') THEN 'NS' ELSE 'other' END",
    "COALESCE({q}region{q}, 'none')": "coalesce(p.region, 'none')",
}
AGGREGATES = {
    "COUNT(*)": "count(*)",
    "SUM({q}income{q})": "sum(p.income)",
    "AVG({q}income{q})": "avg(p.income)",
    "COUNT(DISTINCT {q}id{q})": "count(DISTINCT p.id)",
    "SUM({q}income{q}) / COUNT(*)": "sum(p.income) / count(*)",
}
STYLES = {
    "superset": 'SELECT {d} AS "d", {a} AS "metric" FROM public.people GROUP BY {d} ORDER BY "metric" DESC LIMIT 1000',
    "superset_virtual": 'SELECT {d} AS d, {a} AS m FROM (SELECT * FROM public.people) AS virtual_table '
                        'GROUP BY {d} ORDER BY m DESC LIMIT 50000',
    "metabase": 'SELECT {d} AS "d", {a} AS "agg" FROM "public"."people" GROUP BY {d} ORDER BY {d} ASC',
    "metabase_nested": 'SELECT "source"."d" AS "d", "source"."agg" AS "agg" FROM (SELECT {d} AS "d", {a} AS "agg" FROM '
                       '"public"."people" GROUP BY {d}) AS "source" LIMIT 2000',
    "tableau": 'SELECT {d} AS "d", {a} AS "sum:x:ok" FROM "public"."people" "people" GROUP BY 1',
    "looker": 'SELECT {d} AS "people.d", {a} AS "people.a" FROM public.people AS people GROUP BY 1 ORDER BY 2 DESC '
              'FETCH NEXT 500 ROWS ONLY',
    "looker_cte": 'WITH people_facts AS (SELECT * FROM public.people) SELECT {d} AS d, {a} AS a FROM people_facts GROUP BY 1',
}
STYLED = [(style, d, a) for i, style in enumerate(STYLES) for j, d in enumerate(DIMENSIONS)
          for k, a in enumerate(AGGREGATES) if (i + j + k) % 2 == 0]


@pytest.mark.parametrize("style,d,a", STYLED)
def test_bi_tools(ask, reference, style, d, a):
    quote = '"' if "looker" not in style else ""
    names, got = ask(STYLES[style].format(d=d.format(q=quote), a=a.format(q=quote)))
    want = reference("SELECT %s, %s FROM lab.people p GROUP BY 1 HAVING %s" % (DIMENSIONS[d], AGGREGATES[a], PASSES))
    assert as_set(got) == as_set(want) and got
    assert len(names) == 2


JOINED = "lab.people p JOIN lab.visits v ON p.id = v.id"
ACCEPTED = [
    ("SELECT count(*) FROM people", "SELECT count(*) FROM lab.people p HAVING " + PASSES),
    ("SELECT count(*) FROM people WHERE region = 'Lonely'", "SELECT 1 WHERE false"),
    ("SELECT region, count(*) FROM people WHERE age BETWEEN 20 AND 25 GROUP BY region",
     "SELECT region, count(*) FROM lab.people p WHERE age BETWEEN 20 AND 25 GROUP BY 1 HAVING " + PASSES),
    ("SELECT channel, count(*), sum(cost) FROM visits GROUP BY channel",
     "SELECT channel, count(*), sum(cost) FROM lab.visits v GROUP BY 1 HAVING " + SEEN),
    ("SELECT p.region, v.channel, count(*) FROM people p JOIN visits v ON p.id = v.id GROUP BY 1, 2",
     "SELECT region, channel, count(*) FROM %s GROUP BY 1, 2 HAVING %s AND %s" % (JOINED, PASSES, SEEN)),
    ("SELECT p.region, count(DISTINCT p.id) FROM people p, visits v WHERE p.id = v.id AND v.channel = 'video' GROUP BY 1",
     "SELECT region, count(DISTINCT p.id) FROM %s WHERE channel = 'video' GROUP BY 1 HAVING %s AND %s" % (JOINED, PASSES, SEEN)),
    ("SELECT region, sum(cost) FROM people JOIN visits USING (id) GROUP BY region",
     "SELECT region, sum(cost) FROM %s GROUP BY 1 HAVING %s AND %s" % (JOINED, PASSES, SEEN)),
    ("SELECT region, sum(cost) FROM people NATURAL JOIN visits GROUP BY region",
     "SELECT region, sum(cost) FROM %s GROUP BY 1 HAVING %s AND %s" % (JOINED, PASSES, SEEN)),
    ("SELECT count(*) FROM (SELECT id FROM people WHERE region = 'North') a JOIN (SELECT id FROM visits) b USING (id)",
     "SELECT count(*) FROM %s WHERE region = 'North' HAVING %s AND %s" % (JOINED, PASSES, SEEN)),
    ("WITH a AS (SELECT id AS k, region FROM people), b(k) AS (SELECT id FROM visits) SELECT region, count(*) FROM a JOIN b "
     "USING (k) GROUP BY region",
     "SELECT region, count(*) FROM %s GROUP BY 1 HAVING %s AND %s" % (JOINED, PASSES, SEEN)),
    ("SELECT region, count(*) FILTER (WHERE age > 70) FROM people GROUP BY 1",
     "SELECT region, CASE WHEN count(DISTINCT id) FILTER (WHERE age > 70) >= 10 THEN count(*) FILTER (WHERE age > 70) END "
     "FROM lab.people p GROUP BY 1 HAVING " + PASSES),
    ("SELECT region, count(DISTINCT CASE WHEN age > 70 THEN id END) FROM people GROUP BY 1",
     "SELECT region, CASE WHEN count(DISTINCT id) FILTER (WHERE age > 70) >= 10 THEN count(DISTINCT id) FILTER "
     "(WHERE age > 70) END FROM lab.people p GROUP BY 1 HAVING " + PASSES),
    ("SELECT region, sum(CASE WHEN age = 33 THEN income END) FROM people GROUP BY 1",
     "SELECT region, CASE WHEN count(DISTINCT id) FILTER (WHERE age = 33) >= 10 THEN sum(income) FILTER (WHERE age = 33) END "
     "FROM lab.people p GROUP BY 1 HAVING " + PASSES),
    ("SELECT region, count(*) FROM people GROUP BY region HAVING count(*) > 340",
     "SELECT region, count(*) FROM lab.people p GROUP BY 1 HAVING count(*) > 340 AND " + PASSES),
    ("SELECT region, sum(n) FROM (SELECT region, count(*) AS n FROM people GROUP BY region) x GROUP BY ROLLUP (region)",
     "SELECT region, sum(n) FROM (SELECT region, count(*) AS n FROM lab.people p GROUP BY region HAVING %s) x "
     "GROUP BY ROLLUP (region)" % PASSES),
    ("SELECT region, age, count(*) FROM people GROUP BY (region, age)",
     "SELECT region, age, count(*) FROM lab.people p GROUP BY region, age HAVING " + PASSES),
    ("SELECT DISTINCT region FROM people GROUP BY region, age",
     "SELECT DISTINCT region FROM lab.people p GROUP BY region, age HAVING " + PASSES),
    ("SELECT max(n), min(n), avg(n) FROM (SELECT city, count(*) AS n FROM people GROUP BY city) x",
     "SELECT max(n), min(n), avg(n) FROM (SELECT count(*) AS n FROM lab.people p GROUP BY city HAVING %s) x" % PASSES),
    ("SELECT region, sum(n) FROM (SELECT region, age, count(*) n FROM people GROUP BY 1, 2) x GROUP BY region",
     "SELECT region, sum(n) FROM (SELECT region, age, count(*) n FROM lab.people p GROUP BY 1, 2 HAVING %s) x GROUP BY 1" % PASSES),
    ("SELECT region, count(*) FROM people GROUP BY 1 UNION ALL SELECT channel, count(*) FROM visits GROUP BY 1 ORDER BY 2",
     "SELECT region, count(*) FROM lab.people p GROUP BY 1 HAVING %s UNION ALL SELECT channel, count(*) FROM lab.visits v "
     "GROUP BY 1 HAVING %s" % (PASSES, SEEN)),
    ("SELECT a.region, a.n, b.n FROM (SELECT region, count(*) n FROM people GROUP BY 1) a JOIN (SELECT region, sum(income) n "
     "FROM people GROUP BY 1) b ON a.region = b.region",
     "SELECT region, count(*), sum(income) FROM lab.people p WHERE region IS NOT NULL GROUP BY 1 HAVING " + PASSES),
    ("SELECT region, n FROM (SELECT region, count(*) n FROM people GROUP BY 1) a WHERE n > (SELECT avg(n) FROM (SELECT count(*) "
     "n FROM people GROUP BY region) b)",
     "SELECT region, n FROM (SELECT region, count(*) n FROM lab.people p GROUP BY 1 HAVING {0}) a WHERE n > (SELECT avg(n) FROM "
     "(SELECT count(*) n FROM lab.people p GROUP BY region HAVING {0}) b)".format(PASSES)),
    ("WITH x AS (SELECT region, id, household FROM people) SELECT x.region, count(*) FROM x JOIN x y USING (id) GROUP BY 1",
     "SELECT p.region, count(*) FROM lab.people p JOIN lab.people q USING (id) GROUP BY 1 HAVING " + PASSES),
    ("SELECT a.region, count(*) FROM people a JOIN people b ON a.household = b.household WHERE b.region = 'Lonely' GROUP BY 1",
     "SELECT 1 WHERE false"),
    ("WITH x AS (SELECT * FROM people), y AS (SELECT a.age, b.income FROM x a JOIN x b ON a.household = b.household WHERE "
     "b.region = 'Lonely') SELECT sum(income) FROM y", "SELECT 1 WHERE false"),
    ("SELECT sum(v.cost) FROM people p JOIN visits v ON p.id = v.id WHERE v.channel = 'lone'", "SELECT 1 WHERE false"),
    ("SELECT date_trunc('month', seen_on)::date AS month, count(*) FROM visits GROUP BY 1 ORDER BY 1",
     "SELECT date_trunc('month', seen_on)::date, count(*) FROM lab.visits v GROUP BY 1 HAVING " + SEEN),
    ("SELECT CAST(seen_on AS date) AS day, count(*) FROM visits GROUP BY CAST(seen_on AS date)",
     "SELECT seen_on, count(*) FROM lab.visits v GROUP BY 1 HAVING " + SEEN),
    ("SELECT count(*) FROM visits WHERE seen_on >= TO_DATE('2024-02-29', 'YYYY-MM-DD') AND seen_on < "
     "TO_TIMESTAMP('2024-12-31 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')",
     "SELECT count(*) FROM lab.visits v WHERE seen_on >= '2024-02-29' AND seen_on < '2024-12-31'"),
    ("SELECT count(*) FROM visits WHERE seen_on >= date_trunc('day', now()) - INTERVAL '30 days'", "SELECT 1 WHERE false"),
    ("SELECT (date_trunc('week', (CAST(seen_on AS timestamp) + INTERVAL '1 day')) + INTERVAL '-1 day') AS w, count(*) FROM visits "
     "GROUP BY (date_trunc('week', (CAST(seen_on AS timestamp) + INTERVAL '1 day')) + INTERVAL '-1 day')",
     "SELECT date_trunc('week', seen_on::timestamp + interval '1 day') - interval '1 day', count(*) FROM lab.visits v GROUP BY 1 "
     "HAVING " + SEEN),
    ("SELECT count(*) FROM people WHERE region LIKE 'N%' OR region ILIKE '%est'",
     "SELECT count(*) FROM lab.people WHERE region LIKE 'N%' OR region LIKE '%est'"),
    ("SELECT count(*) FROM people WHERE region = ANY (ARRAY['North', 'East']) AND age <> 30 AND region IS NOT NULL",
     "SELECT count(*) FROM lab.people WHERE region IN ('North', 'East') AND age <> 30"),
    ("SELECT region, CASE WHEN region = 'North' THEN count(*) ELSE 0 END FROM people GROUP BY region",
     "SELECT region, CASE WHEN region = 'North' THEN count(*) ELSE 0 END FROM lab.people p GROUP BY 1 HAVING " + PASSES),
    ("SELECT lower(region) AS region, count(*) FROM people GROUP BY people.region",
     "SELECT lower(region), count(*) FROM lab.people p GROUP BY region HAVING " + PASSES),
    ("SELECT region || '!' AS r, count(*)::text FROM people GROUP BY region ORDER BY region || '!'",
     "SELECT region || '!', count(*)::text FROM lab.people p GROUP BY region HAVING " + PASSES),
    ("SELECT region, count(*) / (count(*) - count(*)) FROM people GROUP BY region",
     "SELECT region, NULL FROM lab.people p GROUP BY region HAVING " + PASSES),
    ("SELECT age > 40 AS old, count(*) FROM people GROUP BY age > 40",
     "SELECT age > 40, count(*) FROM lab.people p GROUP BY 1 HAVING " + PASSES),
    ("SELECT DISTINCT segment FROM segments WHERE segment > 'segment 3'",
     "SELECT DISTINCT segment FROM lab.segments WHERE segment > 'segment 3'"),
    ("SELECT segment AS s FROM segments ORDER BY s LIMIT 3", "SELECT 'segment ' || n FROM generate_series(0, 2) n"),
    ("SELECT s.segment, count(*) FROM segments s JOIN people p ON s.id = p.id GROUP BY 1",
     "SELECT s.segment, count(*) FROM lab.segments s JOIN lab.people p ON s.id = p.id GROUP BY 1 HAVING " + PASSES),
    ("SELECT j.region, count(*) FROM joiners j JOIN visits v USING (id) GROUP BY 1",
     "SELECT region, count(*) FROM %s GROUP BY 1 HAVING %s AND %s" % (JOINED, PASSES, SEEN)),
    ("SELECT count(*) FROM (SELECT j.id FROM joiners j) x JOIN (SELECT id FROM visits) y USING (id)",
     "SELECT count(*) FROM %s HAVING %s AND %s" % (JOINED, PASSES, SEEN)),
    ("SELECT count(DISTINCT j.id) FROM joiners j JOIN visits v USING (id) WHERE j.born > '1980-01-01'",
     "SELECT count(DISTINCT p.id) FROM %s WHERE date_trunc('month', born) > '1980-01-01' HAVING %s AND %s" % (JOINED, PASSES, SEEN)),
    ("SELECT n FROM questions.by_region WHERE region = 'North'",
     "SELECT count(*) FROM lab.people p WHERE region = 'North'"),
    # the remainder: 'Lonely' alone is too few, so nothing is left of it
    ("SELECT region, count(*) FROM peers GROUP BY region",
     "SELECT region, count(*) FROM lab.people p GROUP BY 1 HAVING " + PASSES),
    ("SELECT region, age, count(*) AS n, sum(income) FROM peers GROUP BY 1, 2 ORDER BY n DESC, region LIMIT 10000",
     "WITH g AS (SELECT region, age, count(DISTINCT id) >= 10 AS ok FROM lab.people GROUP BY 1, 2) SELECT CASE WHEN ok THEN p.region "
     "END, CASE WHEN ok THEN p.age END, count(*), sum(income) FROM lab.people p JOIN g ON g.region IS NOT DISTINCT FROM p.region AND "
     "g.age = p.age GROUP BY 1, 2, ok HAVING " + PASSES),
    ("SELECT lower(p.region) || '.' AS r, city, count(*) FROM peers AS p GROUP BY lower(region), p.city HAVING count(*) > 10 "
     "ORDER BY lower(p.region)",
     "WITH g AS (SELECT lower(region) AS r, city, count(DISTINCT id) >= 10 AS ok FROM lab.people GROUP BY 1, 2) SELECT CASE WHEN ok "
     "THEN r || '.' END, CASE WHEN ok THEN p.city END, count(*) FROM lab.people p JOIN g ON g.r IS NOT DISTINCT FROM lower(p.region) "
     "AND g.city = p.city GROUP BY 1, 2, ok HAVING count(*) > 10 AND " + PASSES),
    ("SELECT city, count(*) FROM peers WHERE region = 'North' AND age > 20 AND age < 70 GROUP BY city",
     "SELECT NULL, count(*) FROM lab.people WHERE region = 'North' AND age > 20 AND age < 70"),
    ("SELECT age, count(*) FILTER (WHERE region = 'North') FROM (SELECT * FROM peers) x GROUP BY age",
     "WITH g AS (SELECT age, count(DISTINCT id) >= 10 AS ok FROM lab.people GROUP BY 1) SELECT CASE WHEN ok THEN p.age END, CASE WHEN "
     "count(DISTINCT id) FILTER (WHERE region = 'North') >= 10 THEN count(*) FILTER (WHERE region = 'North') END FROM lab.people p "
     "JOIN g USING (age) GROUP BY 1, ok HAVING " + PASSES),
]


@pytest.mark.parametrize("sql,oracle", ACCEPTED)
def test_accepted(ask, reference, sql, oracle):
    assert as_set(ask(sql)[1]) == as_set(reference(oracle))


def test_the_remainder_is_a_row_and_is_reported(lab, ask, reference):
    rows = ask("SELECT city, region, count(*) FROM peers GROUP BY 1, 2")[1]
    gathered = [row for row in rows if row[0] is None]
    assert len(gathered) == 1 and gathered[0][1] is None and gathered[0][2] > 500
    assert sum(row[2] for row in rows) == reference("SELECT count(*) FROM lab.people")[0][0]
    assert lab.last_log("query LIKE 'SELECT city, region, count(*) FROM peers%'")["suppressed"] == "some"


def test_suppression_is_reported(lab, ask):
    ask("SELECT region, count(*) FROM people GROUP BY 1 -- some")
    assert lab.last_log("query LIKE '%-- some'")["suppressed"] == "some"
    ask("SELECT channel, count(*) FROM visits WHERE channel <> 'lone' GROUP BY 1 -- none")
    assert lab.last_log("query LIKE '%-- none'")["suppressed"] == "none"
    ask("SELECT count(*) FILTER (WHERE region = 'Lonely') FROM people -- filter")
    assert lab.last_log("query LIKE '%-- filter'")["suppressed"] == "some"


def test_pseudonyms_join_and_mean_nothing(lab):
    with lab.connect("alice", openroom.ROOM) as conn, pytest.raises(psycopg.Error):
        conn.execute("SELECT id FROM people")


# ---- several open questions, data sets of two ways to suppress

def asked(lab, conn, sql):
    rows = conn.execute(sql).fetchall()
    return rows, lab.last_log("query = ?", (sql,))["question"]


def test_of_several_open_questions_the_strictest_that_stands(lab, reference):
    regions = "SELECT region, count(*) FROM people WHERE region IS NOT NULL GROUP BY 1"
    want = reference("SELECT region, count(*) FROM lab.people p WHERE region IS NOT NULL GROUP BY 1 HAVING " + PASSES)
    assert len(want) == openroom.CAREFUL_ROWS
    with lab.connect("alice", openroom.ROOM) as conn:
        rows, question = asked(lab, conn, regions)
        assert question == "explore" and as_set(rows) == as_set(want)
    with lab.connect("bi_service", openroom.ROOM) as conn:
        # "unsigned" allows fewer rows and nobody has signed it, "lax" more
        rows, question = asked(lab, conn, regions)
        assert question == "careful" and as_set(rows) == as_set(want)
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            conn.execute("SELECT region, count(*) FROM people GROUP BY 1")
        # what the strict ones do not cover is asked under one that does
        rows, question = asked(lab, conn, "SELECT age, count(*) FROM people JOIN visits USING (id) GROUP BY age")
        assert question == "explore" and len(rows) > 4
    assert lab.run("explain", "--room", openroom.ROOM, "--user", "bi_service", regions).stdout.count("careful")


def test_where_data_sets_disagree_groups_are_dropped(ask, reference):
    joined = "SELECT {0}.age, {0}.region, count(*) FROM peers p JOIN visits v USING (id) GROUP BY 1, 2"
    rows = ask(joined.format("p"))[1]
    assert as_set(rows) == as_set(reference("SELECT age, region, count(*) FROM %s GROUP BY 1, 2 HAVING %s AND %s" % (JOINED, PASSES, SEEN)))
    assert rows and all(row[0] is not None for row in rows)
    both = ask("SELECT a.age, b.city, count(*) FROM peers a JOIN peers b USING (id) GROUP BY 1, 2")[1]
    assert [row[2] for row in both if row[0] is None], "both gather, so a remainder stands"


def test_the_remainder_has_enough_entities_itself(ask, reference):
    # 'Lonely' and nobody else: three people are no remainder, by themselves or beside what passes.
    assert ask("SELECT region, count(*) FROM peers WHERE region = 'Lonely' GROUP BY 1")[1] == []
    rows = ask("SELECT region, count(*) FROM peers WHERE region IN ('North', 'Lonely') GROUP BY 1")[1]
    assert [row[0] for row in rows] == ["North"]
    # A month has two or three births: a few months are too few people, some more are enough.
    months = [row[0] for row in reference("SELECT DISTINCT date_trunc('month', born)::date FROM lab.people ORDER BY 1 LIMIT 6")]
    lengths = set()
    for count in range(1, 7):
        chosen = ", ".join("'%s'" % month for month in months[:count])
        people = reference("SELECT count(DISTINCT id) FROM lab.people WHERE date_trunc('month', born) IN (%s)" % chosen)[0][0]
        rows = ask("SELECT born, count(*) FROM peers WHERE born IN (%s) GROUP BY 1" % chosen)[1]
        assert len(rows) == (people >= openroom.PEOPLE_K) and all(row[0] is None for row in rows), (chosen, people)
        lengths.add(len(rows))
    assert lengths == {0, 1}


# ---- parameters of the extended protocol

def test_parameters(lab, reference):
    with lab.connect("alice", openroom.ROOM) as conn:
        got = conn.execute("SELECT region, count(*) FROM people WHERE region LIKE %s AND age > %s GROUP BY 1", ("N%", 30)).fetchall()
        assert as_set(got) == as_set(reference("SELECT region, count(*) FROM lab.people WHERE region LIKE 'N%' AND age > 30 GROUP BY 1"))
        # An unfinished pattern fails for rows only that it gets to the end with: here it fits nothing.
        assert conn.execute("SELECT count(*) FROM people WHERE region LIKE %s", ("Lonely\\",)).fetchall() == []
        assert conn.execute("SELECT count(*) FROM people WHERE region LIKE %s", ("North\\\\",)).fetchall() == []
        got = conn.execute("SELECT region, count(*) FROM people WHERE region ILIKE '%%' || %s || '%%' GROUP BY 1", ("orT",)).fetchall()
        assert [row[0] for row in got] == ["North"]
        assert len(conn.execute("SELECT count(*) FROM people WHERE born >= %s::date", ("1960-01-01",)).fetchall()) == 1


@pytest.mark.parametrize("sql", [
    # A text that is cast while the rows are read fails for those alone that get so far.
    "PREPARE late (text) AS SELECT count(*) FROM people WHERE region = 'Nowhere' AND born > $1::date",
    "PREPARE late (text) AS SELECT count(*) FROM people WHERE region = 'Nowhere' AND age > $1::int",
])
def test_typed_parameters_are_not_cast_beside_data(lab, sql):
    with lab.connect("alice", openroom.ROOM) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="could fail"):
            conn.execute(sql)
        conn.execute(sql.replace(" (text)", ""))


@pytest.mark.parametrize("aggregate,outcome", [("count(*)", "54001"), ("count(*), max(v)", "42501")])
def test_queries_that_read_each_other_twice_take_no_time(lab, aggregate, outcome):
    steps = ["x0 AS (SELECT id, region, region AS v FROM people)"]
    steps += ["x%d AS (SELECT a.id, a.region, a.v || b.v AS v FROM x%d a JOIN x%d b USING (id))" % (n, n - 1, n - 1) for n in range(1, 60)]
    began = time.monotonic()
    with lab.connect("alice", openroom.ROOM) as conn, pytest.raises(psycopg.Error) as caught:
        conn.execute("WITH %s SELECT %s FROM x59" % (", ".join(steps), aggregate))
    assert time.monotonic() - began < 2 and caught.value.sqlstate in ("54001", outcome), str(caught.value)


def test_long_statements_take_no_time(lab):
    with lab.connect("alice", openroom.ROOM) as conn:
        for long in (" || ".join(["'x'"] * 60000), " + ".join(["1"] * 60000), " OR ".join(["region = 'x'"] * 20000)):
            began = time.monotonic()
            with pytest.raises(psycopg.Error) as caught:
                conn.execute("SELECT count(*) FROM people WHERE (%s) IS NOT NULL" % long)
            assert time.monotonic() - began < 2 and caught.value.sqlstate == "54001"
        assert len(conn.execute("SELECT region, count(*) FROM people WHERE age IN (%s) GROUP BY 1" % ", ".join(
            map(str, range(3000)))).fetchall()) == 5


# ---- what breaks a rule: (sql, word of the detail); over the bare tables each runs
REFUSED = [
    # rows, hidden columns
    ("SELECT * FROM people", "Rows of a data set"), ("SELECT region FROM people", "Rows of a data set"),
    ("TABLE people", "Rows of a data set"), ("SELECT p FROM people p", None), ("SELECT p.* FROM people p", None),
    ("SELECT row_to_json(p) FROM people p", None), ("SELECT count(p) FROM people p", "whole row"),
    ("SELECT count(p.*) FROM people p", "whole row"), ("SELECT p::text, count(*) FROM people p GROUP BY p::text", "whole row"),
    ("SELECT count(DISTINCT p) FROM people p", "whole row"), ("SELECT count(DISTINCT (region, age)) FROM people", None),
    ("SELECT count(DISTINCT ROW(email)) FROM people", None), ("SELECT 1 FROM people", "Rows of a data set"),
    ("VALUES ((SELECT max(age) FROM people))", None), ("VALUES (ARRAY(SELECT email FROM people))", "sub-query"),
    ("SELECT ARRAY(SELECT email FROM people)", "sub-query"), ("SELECT EXISTS (SELECT 1 FROM people WHERE region = 'Lonely')", "sub-query"),
    ("SELECT (SELECT email FROM people WHERE region = 'Lonely' LIMIT 1)", None),
    ("SELECT 'p1@example.com' IN (SELECT email FROM people)", "sub-query"),
    ("SELECT 5 < ALL (SELECT age FROM people)", "sub-query"),
    ("SELECT * FROM generate_series(1, (SELECT age FROM people WHERE age = 18 AND region = 'x')) g", "sub-query"),
    ("SELECT count(*) FROM people LIMIT (SELECT age FROM people WHERE region = 'x')", "sub-query"),
    ("SELECT a.n FROM (SELECT count(*) n FROM people) a JOIN (SELECT count(*) n FROM visits) b ON a.n > (SELECT age FROM people WHERE "
     "region = 'x')", "sub-query"),
    ("SELECT x.region, (SELECT max(email) FROM people p WHERE p.region = x.region) FROM (SELECT region, count(*) FROM people GROUP BY 1) x",
     None),
    ("SELECT x.region, (SELECT count(*) FROM people p WHERE p.region = x.region) FROM (SELECT region, count(*) FROM people GROUP BY 1) x",
     "two data sets"),
    ("SELECT x.region, (SELECT count(*) FROM people p WHERE p.region IS NOT NULL AND x.region IS NOT NULL) FROM (SELECT region, count(*) "
     "FROM people GROUP BY 1) x", "correlated"),
    ("SELECT n FROM (SELECT region, count(*) n FROM people GROUP BY 1) x WHERE EXISTS (SELECT FROM people p WHERE p.region = x.region)",
     None),
    ("WITH a AS (SELECT email FROM people) SELECT * FROM a", "Rows of a data set"),
    ("WITH RECURSIVE r AS (SELECT email FROM people UNION ALL SELECT email FROM r WHERE false) SELECT count(*) FROM r", None),
    ("SELECT count(*) FROM people TABLESAMPLE system (50)", None),
    ("SELECT count(*) FROM people WHERE random() < 0.5", "random"),
    ("SELECT count(*) FROM people FOR UPDATE", None),
    # grouping by what is no dimension, at any level
    ("SELECT email, count(*) FROM people GROUP BY email", "dimension_columns"), ("SELECT id, count(*) FROM people GROUP BY 1", "dimension_columns"),
    ("SELECT email AS region, count(*) FROM people GROUP BY 1", "dimension_columns"),
    ("SELECT email AS e, count(*) FROM people GROUP BY e", "dimension_columns"),
    ("SELECT x.region, count(*) FROM (SELECT email AS region FROM people) x GROUP BY x.region", "dimension_columns"),
    ("SELECT r, count(*) FROM (SELECT email, region FROM people) x(r, q) GROUP BY r", "dimension_columns"),
    ("WITH x(region) AS (SELECT email FROM people) SELECT region, count(*) FROM x GROUP BY region", "dimension_columns"),
    ("SELECT region, count(*) FROM people GROUP BY region, id", "dimension_columns"),
    ("SELECT count(*) FROM people GROUP BY email", "dimension_columns"), ("SELECT count(*) FROM people GROUP BY income", "dimension_columns"),
    ("SELECT count(*) FROM people GROUP BY ROLLUP (region, email)", "dimension_columns"),
    ("SELECT count(*) FROM people GROUP BY GROUPING SETS ((region), (email))", "dimension_columns"),
    ("SELECT count(*) FROM people GROUP BY CUBE (id)", "dimension_columns"),
    ("SELECT count(*) FROM people GROUP BY (region, email)", "dimension_columns"),
    ("SELECT count(*) FROM people GROUP BY region || email", "dimension_columns"),
    ("SELECT count(*) FROM people GROUP BY coalesce(region, email)", "dimension_columns"),
    ("SELECT count(*) FROM people GROUP BY CASE WHEN region = 'Lonely' THEN email END", "dimension_columns"),
    ("SELECT lower(email) AS l, count(*) FROM people GROUP BY lower(email)", "dimension_columns"),
    ("SELECT email COLLATE \"C\" AS c, count(*) FROM people GROUP BY 1", "dimension_columns"),
    ("SELECT n, count(*) FROM (SELECT region, count(*) n FROM people GROUP BY 1) x GROUP BY n", "dimensions are groups"),
    ("SELECT id, count(*) FROM people JOIN visits USING (id) GROUP BY id", "dimension_columns"),
    ("SELECT region, count(*) FROM people GROUP BY region ORDER BY max(email)", "single values"),
    ("SELECT count(*) FROM people HAVING max(email) > 'p5'", "single values"),
    # aggregates that tell values
    ("SELECT max(email) AS region, count(*) FROM people GROUP BY region", "single values"),
    ("SELECT min(income) AS age, count(*) FROM people GROUP BY age", "single values"),
    ("SELECT string_agg(email, ',') AS region FROM people GROUP BY region", "single values"),
    ("SELECT array_agg(email) AS city, city FROM people GROUP BY city", "single values"),
    ("SELECT max(income) FROM people", "single values"), ("SELECT min(age) FROM people", "single values"),
    ("SELECT array_agg(region) FROM people", "single values"), ("SELECT json_agg(people) FROM people", "single values"),
    ("SELECT bool_or(region = 'Lonely') FROM people", "single values"), ("SELECT every(age > 5) FROM people", "single values"),
    ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY income) FROM people", None),
    ("SELECT percentile_disc(0.01) WITHIN GROUP (ORDER BY email) FROM people", None),
    ("SELECT mode() WITHIN GROUP (ORDER BY email) FROM people", None), ("SELECT stddev(income) FROM people", "single values"),
    ("SELECT variance(age) FROM people", "single values"), ("SELECT corr(age, income) FROM people", "single values"),
    ("SELECT bit_or(age) FROM people", "single values"), ("SELECT regr_count(age, income) FROM people", "single values"),
    ("SELECT sum(id) FROM people", "aggregate_columns"), ("SELECT sum(age) FROM people", "aggregate_columns"),
    ("SELECT avg(household) FROM people", "aggregate_columns"), ("SELECT count(email) FROM people", "aggregate_columns"),
    ("SELECT count(DISTINCT email) FROM people", "aggregate_columns"), ("SELECT count(household) FROM people", "aggregate_columns"),
    ("SELECT sum(DISTINCT income) FROM people", "aggregate_columns"), ("SELECT sum(income ORDER BY email) FROM people", "ORDER BY"),
    ("SELECT avg(cost), sum(x) FROM (SELECT cost, ad AS x FROM visits) v", "aggregate_columns"),
    ("SELECT sum(income * age) FROM people", "Operator"), ("SELECT sum(income + 1) FROM people", "Operator"),
    ("SELECT sum(-income) FROM people", "Operator"), ("SELECT sum((income > 5)::int) FROM people", None),
    ("SELECT sum(CASE WHEN region = 'x' THEN 1 ELSE 2 END) FROM people", "CASE"),
    ("SELECT avg(CASE WHEN region = 'x' THEN income ELSE 0 END) FROM people", "CASE"),
    ("SELECT sum(CASE WHEN email = 'p1@example.com' THEN 1 ELSE 0 END) FROM people", "comparison_controls"),
    ("SELECT sum(CASE WHEN region = 'x' THEN income WHEN age = 1 THEN 5 ELSE 0 END) FROM people", "CASE"),
    ("SELECT sum(2) FROM people", "needs a column"), ("SELECT DISTINCT email FROM people", "dimension_columns"),
    ("SELECT DISTINCT region, id FROM people", "dimension_columns"), ("SELECT DISTINCT * FROM people", "DISTINCT"),
    ("SELECT count(*) FROM (SELECT DISTINCT email FROM people) x", "dimension_columns"),
    ("SELECT DISTINCT id FROM (SELECT id, region FROM people) x", "dimension_columns"),
    ("SELECT age * 1000 AS a, count(*) FROM people GROUP BY 1", "Operator"), ("SELECT age / 0.0 AS a, count(*) FROM people GROUP BY 1", "Operator"),
    ("SELECT 100 / age AS a, count(*) FROM people GROUP BY 1", "Operator"), ("SELECT age / 10 * 20 AS a, count(*) FROM people GROUP BY 1", "Operator"),
    ("SELECT floor(id / 1000.0) AS a, count(*) FROM people GROUP BY 1", None), ("SELECT sum(income * 2.0) FROM people", "Operator"),
    ("SELECT sum(floor(income / 10.0) * 10.0) FROM people", None), ("SELECT count(*) FROM people WHERE income / 10.0 > 5", "comparison_controls"),
    ("SELECT extract(epoch FROM born)::integer AS e, count(*) FROM people GROUP BY 1", "cast"), ("SELECT age::integer, count(*) FROM people GROUP BY 1", "cast"),
    ("SELECT count(CASE WHEN email = 'p1@example.com' THEN 1 END) FROM people", "comparison_controls"),
    ("SELECT sum(greatest(income, 500)) FROM people", "greatest"), ("SELECT sum(nullif(income, 5)) FROM people", None),
    ("SELECT count(nullif(income, 5)) FROM people", None), ("SELECT sum(5) FROM people", "needs a column"),
    ("SELECT avg(DISTINCT 1) FROM people", "needs a column"), ("SELECT count(DISTINCT region) FROM people", "aggregate_columns"),
    # literals
    ("SELECT count(*) FROM people WHERE id = 1001", "never meets a literal"),
    ("SELECT count(*) FROM people WHERE id IS NOT NULL", "never meets a literal"),
    ("SELECT count(*) FROM people WHERE id > 5 AND id < 7", "never meets a literal"),
    ("SELECT count(*) FROM people WHERE id IN (1001, 1002)", "never meets a literal"),
    ("SELECT count(*) FROM people WHERE email = 'p1@example.com'", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE email LIKE 'p1%'", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE email COLLATE \"C\" = 'p1@example.com'", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE email::text = 'p1@example.com'", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE lower(email) = 'p1@example.com'", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE city = 'city 1'", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE (city || '') = 'city 1'", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE income > 5000", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE income BETWEEN 5000 AND 5001", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE NOT (income <> 5000)", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE (income = 5000) IS TRUE", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE income IS DISTINCT FROM 5000", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE nullif(income, 5000) IS NULL", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE coalesce(income, 5000) = 5000", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE CASE income WHEN 5000 THEN true END", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE CASE WHEN income = 5000 THEN region ELSE 'x' END = 'North'", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE 'p1@example.com' = ANY (ARRAY[email])", "ARRAY"),
    ("SELECT count(*) FROM people WHERE email = ANY (ARRAY['p1@example.com'])", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE ROW(email) = ROW('p1@example.com'::text)", None),
    ("SELECT count(*) FROM people WHERE (email, age) = ('p1@example.com', 19)", None),
    ("SELECT count(*) FROM people WHERE (SELECT email = 'p1@example.com')", "sub-query"),
    ("SELECT count(*) FROM people WHERE email = (SELECT 'p1@example.com')", "comparison_controls"),
    ("SELECT count(*) FROM people WHERE email IN (VALUES ('p1@example.com'))", "sub-query"),
    ("SELECT count(*) FROM (SELECT email = 'p1@example.com' AS is_he FROM people) x WHERE is_he", "comparison_controls"),
    ("SELECT is_he, count(*) FROM (SELECT email = 'p1@example.com' AS is_he, region FROM people) x GROUP BY 1", None),
    ("SELECT count(*) FROM (SELECT email e FROM people) x WHERE x.e = 'p1@example.com'", "comparison_controls"),
    ("SELECT count(*) FILTER (WHERE email = 'p1@example.com') FROM people", "comparison_controls"),
    ("SELECT count(*) FILTER (WHERE id = 1001) FROM people", "never meets a literal"),
    ("SELECT count(*) FROM people HAVING count(*) FILTER (WHERE income > 5000) > 3", "comparison_controls"),
    ("SELECT region, count(*) FROM people GROUP BY region ORDER BY count(*) FILTER (WHERE income > 5000)", "comparison_controls"),
    ("SELECT CASE WHEN city = 'city 1' THEN 1 END, count(*) FROM people GROUP BY city", "comparison_controls"),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id = v.id AND p.email = 'p1@example.com'", "comparison_controls"),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id = v.id WHERE v.note = 'note 1'", "comparison_controls"),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id = v.id WHERE v.note = p.email", "join_columns"),
    # joins
    ("SELECT count(*) FROM people, visits", "not joined"), ("SELECT count(*) FROM people CROSS JOIN visits", "not joined"),
    ("SELECT count(*) FROM people p JOIN visits v ON true", "not joined"),
    ("SELECT count(*) FROM people p LEFT JOIN visits v ON p.id = v.id", "Outer joins"),
    ("SELECT count(*) FROM people p RIGHT JOIN visits v ON p.id = v.id", "Outer joins"),
    ("SELECT count(*) FROM people p FULL JOIN visits v ON p.id = v.id", "Outer joins"),
    ("SELECT count(*) FROM people p JOIN visits v ON p.region = v.channel", "join_columns"),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id = v.id AND p.region = v.channel", "join_columns"),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id = v.id AND p.region <> v.channel", "two data sets"),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id = v.id WHERE p.region || '' = v.channel || ''", "two data sets"),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id = v.id WHERE CASE p.region WHEN v.channel THEN true END", "two data sets"),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id > v.id", None), ("SELECT count(*) FROM people p JOIN visits v ON p.id <> v.id", None),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id IS NOT DISTINCT FROM v.id", None),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id + 0 = v.id", None),
    ("SELECT count(*) FROM people p JOIN visits v ON coalesce(p.id, 5) = v.id", None),
    ("SELECT count(*) FROM people p JOIN visits v ON NOT (p.id = v.id)", None),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id = v.id OR p.region = 'x'", None),
    ("SELECT count(*) FROM people p JOIN visits v ON p.id = v.id OR p.household = v.ad", "AND only"),
    ("SELECT count(*) FROM people p JOIN (VALUES (1001)) o(id) USING (id)", "joined with rows of data sets only"),
    ("SELECT count(*) FROM people p, generate_series(1001, 1001) g WHERE p.id = g", "joined with rows of data sets only"),
    ("SELECT count(*) FROM people p, unnest(ARRAY[1001]) u(id) WHERE p.id = u.id", "joined with rows of data sets only"),
    ("SELECT count(*) FROM people p JOIN (SELECT region, count(*) n FROM people GROUP BY 1) x USING (region)", "joined with rows of data sets only"),
    ("SELECT count(*) FROM people p WHERE id IN (SELECT id FROM visits)", "sub-query"),
    ("SELECT count(*) FROM people p WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.id = p.id)", "sub-query"),
    ("SELECT count(*) FROM people p WHERE (SELECT count(*) FROM visits v WHERE v.id = p.id) > 3", "two data sets"),
    ("SELECT count(*) FROM people p, LATERAL (SELECT count(*) FROM visits v WHERE v.id = p.id) x", None),
    ("SELECT count(*) FROM (people p JOIN visits v USING (id)) j", "alias of a join"),
    # picking, ordering and multiplying rows
    ("SELECT count(*) FROM (SELECT * FROM people LIMIT 1) x", "LIMIT"), ("SELECT count(*) FROM (SELECT * FROM people OFFSET 1) x", "OFFSET"),
    ("SELECT sum(income) FROM (SELECT * FROM people ORDER BY income DESC LIMIT 1) x", "LIMIT"),
    ("SELECT sum(income) FROM (SELECT DISTINCT ON (region) income FROM people) x", "DISTINCT"),
    ("SELECT count(*) FROM (SELECT DISTINCT household FROM people) x", "dimension_columns"), ("SELECT count(*) FROM people GROUP BY region OFFSET 1", "OFFSET"),
    ("SELECT region, count(*) FROM people GROUP BY 1 UNION ALL SELECT channel, count(*) FROM visits GROUP BY 1 OFFSET 1", "OFFSET"),
    ("SELECT * FROM (SELECT region, count(*) FROM people GROUP BY 1 UNION ALL SELECT 'x', 1 OFFSET 2) x", "OFFSET"),
    ("SELECT ARRAY[region, city] AS a, count(*) FROM people GROUP BY 1", "ARRAY"),
    ("SELECT count(*) FROM people WHERE region LIKE '" + "%N" * 600 + "'", "1000 bytes"),
    ("SELECT count(*) FROM (SELECT generate_series(1, age) FROM people) x", None),
    ("SELECT count(*) FROM (SELECT generate_series(1, CASE WHEN email = 'p1@example.com' THEN 99999 ELSE 0 END) FROM people) x", None),
    ("SELECT count(*) FROM (SELECT unnest(ARRAY[region, email]) FROM people) x", None),
    ("SELECT region, generate_series(1, 2), count(*) FROM people GROUP BY region", "Set-returning"),
    ("SELECT region, rank() OVER (ORDER BY count(*)) FROM people GROUP BY region", "Window"),
    ("SELECT count(*) OVER () FROM people", "Window"), ("SELECT sum(count(*)) OVER () FROM people GROUP BY region", None),
    ("SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY income) AS r FROM people) x", None),
    ("SELECT count(*) FROM (SELECT lag(income) OVER (ORDER BY id) FROM people) x", None),
    ("SELECT region FROM people GROUP BY 1 EXCEPT SELECT 'North'", "Set operations"),
    ("SELECT region FROM people GROUP BY 1 INTERSECT SELECT 'North'", "Set operations"),
    ("SELECT region FROM people GROUP BY 1 UNION SELECT 'North'", "Set operations"),
    ("SELECT count(*) FROM (SELECT id FROM people UNION ALL SELECT id FROM visits) x", "UNION ALL"),
    ("SELECT count(*) FROM (SELECT id FROM people EXCEPT SELECT id FROM visits) x", "Set operations"),
    ("SELECT region FROM people GROUP BY 1 UNION ALL SELECT email FROM people", "UNION ALL"),
    # functions and casts off the lists, or that could fail
    ("SELECT reverse(region), count(*) FROM people GROUP BY 1", "scalar_functions"), ("SELECT md5(region), count(*) FROM people GROUP BY 1", "scalar_functions"),
    ("SELECT sum(ceiling(income)) FROM people", "scalar_functions"), ("SELECT count(*) FROM people WHERE length(region) = 6", "scalar_functions"),
    ("SELECT count(*) FROM people WHERE sqrt(age) > 1", "could fail"), ("SELECT count(*) FROM people WHERE ln(age) > 1", "could fail"),
    ("SELECT count(*) FROM people WHERE chr(age) = 'x'", "could fail"), ("SELECT count(*) FROM people WHERE age + 32700 > 0", "Operator"),
    ("SELECT count(*) FROM people WHERE age * 1000 > 0", "Operator"), ("SELECT count(*) FROM people WHERE 1 / age > 0", "Operator"),
    ("SELECT count(*) FROM people WHERE age % 5 = 0", "Operator"), ("SELECT count(*) FROM people WHERE age ^ 2 > 1", "Operator"),
    ("SELECT count(*) FROM people WHERE born + 5 > '2000-01-01'", "Operator"), ("SELECT age::int2, count(*) FROM people GROUP BY 1", "cast"),
    ("SELECT count(*) FROM people WHERE age::text::int > 5", "cast"), ("SELECT count(*) FROM people WHERE age::numeric(2,1) > 5", "cast"),
    ("SELECT count(*) FROM people WHERE repeat(region, 1000000000) = 'x' AND age > 900", "could fail"),
    ("SELECT count(*) FROM people WHERE substr(region, 1, -1) = 'x' AND region = 'Nowhere'", "could fail"),
    ("SELECT count(*) FROM people WHERE region = 'Nowhere' AND date_trunc('bad', born) IS NULL", "could fail"),
    ("SELECT count(*) FROM people WHERE region = 'Nowhere' AND date_trunc(region, born) IS NULL", "could fail"),
    ("SELECT count(*) FROM people WHERE region = 'Nowhere' AND region LIKE 'Nowhere\\'", "LIKE"),
    ("SELECT count(*) FROM people WHERE region LIKE region", "LIKE"), ("SELECT count(*) FROM people WHERE region ~ 'N'", "Operator"),
    ("SELECT count(*) FROM people WHERE region = 'Nowhere' AND region ~ '('", "Operator"),
    ("SELECT count(*) FROM people WHERE region SIMILAR TO 'N%'", None),
    ("SELECT count(*) FROM people WHERE region = 'Nowhere' AND (random()::text || 'x')::int > 0", "could fail"),
    ("SELECT count(*) FROM people WHERE region = 'Nowhere' AND to_date('x', 'YYYY') IS NULL", "to_date"),
    ("SELECT count(*) FROM people WHERE region = 'Nowhere' AND ('x'::text)::date IS NULL", "could fail"),
    ("SELECT count(*) FROM people WHERE region = 'Nowhere' AND now() + interval '300000 years' > now()", "could fail"),
    ("SELECT count(*) FROM people WHERE region = 'Nowhere' AND clock_timestamp() IS NULL", "clock_timestamp"),
    ("WITH x AS MATERIALIZED (SELECT CASE WHEN region = 'Nowhere' THEN email::int END FROM people) SELECT count(*) FROM x", "cast"),
    ("WITH x AS MATERIALIZED (SELECT CASE WHEN email = 'p0' THEN 1 / (age - age) END FROM people) SELECT count(*) FROM x", None),
    ("SELECT count(*) FROM people WHERE to_char(born, 'TZ') = 'x'", "could fail"),
    ("SELECT count(*) FROM people WHERE timezone('Mars/Base', born) IS NULL AND region = 'Nowhere'", "could fail"),
    # lists
    ("SELECT store FROM segments", "list_columns"), ("SELECT * FROM segments", "list_columns"), ("SELECT id FROM segments", "list_columns"),
    ("SELECT segment FROM segments WHERE store = 'store 1'", "comparison_controls"), ("SELECT segment FROM segments WHERE id = 1001", "never meets"),
    ("SELECT DISTINCT ON (id) segment FROM segments", "DISTINCT ON"), ("SELECT segment FROM segments ORDER BY store", "list_columns"),
    ("SELECT segment FROM segments OFFSET 1", "OFFSET"), ("SELECT count(*) FROM segments", "not aggregated"),
    ("SELECT segment, count(*) FROM segments GROUP BY 1", "not aggregated"), ("SELECT count(DISTINCT id) FROM segments", "list"),
    ("SELECT s.segment, count(DISTINCT s.id) FROM segments s JOIN people p USING (id) GROUP BY 1", "not aggregated"),
    ("SELECT s.segment FROM segments s JOIN people p USING (id)", "Rows of a data set"),
    # join_required, disallowed_output_columns
    ("SELECT region, count(*) FROM joiners GROUP BY 1", "join_required"),
    ("SELECT count(*) FROM (SELECT * FROM joiners) x", "join_required"),
    ("SELECT count(*) FROM joiners JOIN people USING (id)", "join_required"),
    ("SELECT count(*) FROM joiners j JOIN (SELECT id FROM people) x ON j.id = x.id", "join_required"),
    ("SELECT region, count(*) FROM joiners GROUP BY 1 UNION ALL SELECT channel, count(*) FROM visits GROUP BY 1", "join_required"),
    ("SELECT region, count(*) FROM (SELECT region FROM joiners) x GROUP BY 1 UNION ALL SELECT channel, count(*) FROM visits GROUP BY 1",
     "join_required"),
    ("WITH v AS (SELECT count(*) n FROM visits) SELECT j.region, count(*) FROM joiners j GROUP BY 1", "join_required"),
    ("SELECT born, count(*) FROM joiners JOIN visits USING (id) GROUP BY 1", "disallowed_output_columns"),
    ("SELECT b::text || '' FROM (SELECT born AS b, count(*) FROM joiners JOIN visits USING (id) GROUP BY 1) x", "disallowed_output_columns"),
    ("SELECT max(b) FROM (SELECT born AS b, count(*) FROM joiners JOIN visits USING (id) GROUP BY 1) x", "disallowed_output_columns"),
    ("SELECT array_agg(b) FROM (SELECT born AS b, count(*) FROM joiners JOIN visits USING (id) GROUP BY 1) x", "disallowed_output_columns"),
    ("SELECT x FROM (SELECT born AS b, count(*) FROM joiners JOIN visits USING (id) GROUP BY 1) x", "disallowed_output_columns"),
    ("SELECT (SELECT b FROM (SELECT born AS b, count(*) FROM joiners JOIN visits USING (id) GROUP BY 1) x LIMIT 1)",
     "disallowed_output_columns"),
    ("SELECT extract(year from born), count(*) FROM joiners JOIN visits USING (id) GROUP BY 1", "disallowed_output_columns"),
    ("SELECT CASE WHEN born > '1980-01-01' THEN born END, count(*) FROM joiners JOIN visits USING (id) GROUP BY 1",
     "disallowed_output_columns"),
    ("SELECT count(*) FROM joiners JOIN visits USING (id) GROUP BY born ORDER BY born", "disallowed_output_columns"),
    ("SELECT n FROM (SELECT born AS b, count(*) AS n FROM joiners JOIN visits USING (id) GROUP BY 1 ORDER BY b LIMIT 1) x",
     "disallowed_output_columns"),
    ("SELECT n FROM (SELECT born AS b, count(*) AS n FROM joiners JOIN visits USING (id) GROUP BY 1 ORDER BY 1 LIMIT 1) x",
     "disallowed_output_columns"),
    ("SELECT n FROM (SELECT born AS b, count(*) AS n FROM joiners JOIN visits USING (id) GROUP BY 1) x ORDER BY b", "disallowed_output_columns"),
    ("SELECT age, count(*) FROM peers GROUP BY ROLLUP (age)", "GROUPING SETS"),
    # a total beside its parts tells what was left out
    ("SELECT region, count(*) FROM people GROUP BY ROLLUP (region)", "GROUPING SETS"),
    ("SELECT region, age, count(*) FROM people GROUP BY CUBE (region, age)", "GROUPING SETS"),
    ("SELECT region, count(*) FROM people GROUP BY GROUPING SETS ((region), ())", "GROUPING SETS"),
    ("SELECT region, count(*) FROM people GROUP BY DISTINCT ROLLUP (region), ROLLUP (region)", "GROUPING SETS"),
    # beside catalogs and questions
    ("SELECT count(*) FROM people, pg_class", "Catalogs"),
]


@pytest.mark.parametrize("sql,words", REFUSED)
def test_refused(lab, cluster, sql, words):
    with lab.connect("alice", openroom.ROOM) as conn, pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    diag = caught.value.diag
    assert diag.sqlstate == "42501" and diag.message_primary == 'query is not an approved question of clean room "open_lab"', \
        (diag.sqlstate, diag.message_primary, diag.message_detail)
    assert diag.message_detail and (words or "") in diag.message_detail, diag.message_detail
    with cluster.connect() as bare:
        bare.execute("SET search_path = lab_bare, pg_catalog")
        try:
            bare.execute(sql)
        except psycopg.Error as error:
            # It runs, or it fails while it runs: an oracle. Never is it a text that PostgreSQL itself would refuse.
            assert error.sqlstate[:2] in ("22", "21", "25", "54", "0A"), (error.sqlstate, str(error))


def test_numbers_of_cases():
    assert len(STYLED) + len(ACCEPTED) >= 100 and len(REFUSED) >= 150


# ---- conditions of an outer query are not tried on what was left out (ATTACKS: S1, S2)
LEAKY = [
    "SELECT * FROM (SELECT region, count(*) AS n FROM people GROUP BY region) x WHERE CASE WHEN region = 'Lonely' THEN "
    "region::int > 0 ELSE true END",
    "SELECT * FROM (SELECT region, count(*) AS n FROM people GROUP BY region) x WHERE ln(n - 3) > 0",
    "WITH x AS (SELECT region, count(*) AS n FROM people GROUP BY region) SELECT * FROM x WHERE CASE WHEN n < 10 THEN n::text::date "
    "> '2000-01-01' ELSE true END",
    "SELECT * FROM (SELECT region AS r, count(*) AS n FROM people GROUP BY 1 UNION ALL SELECT channel, count(*) FROM visits GROUP BY "
    "1) x WHERE CASE WHEN r = 'Lonely' THEN r::int > 0 ELSE true END",
    "SELECT * FROM questions.by_region q WHERE CASE WHEN q.region = 'Lonely' THEN q.region::int > 0 ELSE true END",
    "SELECT region, count(*) FROM people GROUP BY region HAVING CASE WHEN count(*) < 5 THEN sqrt(-count(*)) > 0 ELSE true END",
    "SELECT region, CASE WHEN count(*) < 5 THEN ln(-count(*)) END FROM people GROUP BY region ORDER BY CASE WHEN count(*) < 5 THEN "
    "ln(-count(*)) END",
    "SELECT age, CASE WHEN count(*) < 10 THEN ln(count(*) - count(*)) END FROM peers GROUP BY age",
]


@pytest.mark.parametrize("sql", LEAKY)
def test_no_oracle_over_what_is_left_out(ask, sql):
    rows = ask(sql)[1]
    assert rows and all("Lonely" not in repr(row) for row in rows)
