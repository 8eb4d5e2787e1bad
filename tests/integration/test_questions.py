"""INTERFACE 3 and 4, approved questions: asked verbatim, respelled and by name; oracle: the same sum done directly."""
import datetime
from decimal import Decimal

import psycopg
import pytest

from tests.integration.conftest import ROOM
from tests.lib import data, wire as w

OVERLAP = ("SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i "
           "USING (customer_id) WHERE i.seen_on >= {} GROUP BY c.region")
ORACLE = ("SELECT c.region, count(DISTINCT c.customer_id) FROM crm.customers c JOIN ads.impressions i "
          "USING (customer_id) WHERE i.seen_on >= %s AND c.country = ANY (%s) GROUP BY 1 "
          "HAVING count(DISTINCT c.customer_id) >= 25")
SALES_ORACLE = ("SELECT i.campaign, count(DISTINCT p.customer_id), sum(p.amount) FROM ads.impressions i "
                "JOIN shop.purchases p ON p.customer_id = i.customer_id WHERE i.channel = %s GROUP BY 1")


@pytest.fixture(scope="module")
def overlap(cluster):
    def answer(since="2024-06-01", countries=("US", "CA")):
        return sorted(cluster.rows(ORACLE, (datetime.date.fromisoformat(since), list(countries))))
    return answer


def test_verbatim_with_a_constant(conn, overlap):
    rows = conn.execute(OVERLAP.format("'2024-06-01'")).fetchall()
    assert sorted(rows) == overlap() and len(rows) == 5


def test_the_small_group_is_really_there_and_left_out(cluster, conn):
    small = cluster.rows(ORACLE.replace(">= 25", "< 25"), (datetime.date(2024, 6, 1), ["US", "CA"]))
    assert [row[0] for row in small] == ["Islands"]
    assert "Islands" not in [row[0] for row in conn.execute(OVERLAP.format("'2024-06-01'"))]


RESPELLED = [
    "select c.region, count(distinct c.customer_id) as reached from public.customers c join ads.impressions i "
    "using (customer_id) where i.seen_on >= '2024-06-01' group by c.region",
    "SELECT c.region,\n\tcount(DISTINCT c.customer_id) reached -- said otherwise\nFROM public.customers AS c\n"
    "INNER JOIN ads.impressions AS i USING (customer_id) /* nested /* comment */ */\n"
    "WHERE i.seen_on >= DATE '2024-06-01'\nGROUP BY c.region;",
    'SELECT "c"."region", count(DISTINCT "c"."customer_id") AS "reached" FROM "public"."customers" "c" '
    'JOIN "ads"."impressions" "i" USING ("customer_id") WHERE "i"."seen_on" >= $q$2024-06-01$q$ GROUP BY "c"."region"',
    "SELECT who.region, count(DISTINCT who.customer_id) AS reached FROM public.customers who JOIN ads.impressions seen "
    "USING (customer_id) WHERE seen.seen_on >= '2024-06-01'::date GROUP BY who.region",
    "SELECT c.REGION, COUNT(DISTINCT C.Customer_Id) AS Reached FROM Public.Customers C JOIN Ads.Impressions I "
    "USING (CUSTOMER_ID) WHERE I.Seen_On >= CAST('2024-06-01' AS date) GROUP BY C.Region",
]


@pytest.mark.parametrize("sql", RESPELLED, ids=["keywords", "layout", "quotes", "aliases", "letters"])
def test_respelled(conn, overlap, sql):
    cur = conn.execute(sql)
    assert sorted(cur.fetchall()) == overlap()
    assert [c.name for c in cur.description] == ["region", "reached"]


def test_the_callers_aliases_name_the_result(conn, overlap):
    cur = conn.execute(OVERLAP.format("'2024-06-01'").replace("AS reached", 'AS "How Many"')
                       .replace("SELECT c.region,", "SELECT c.region AS place,"))
    assert [c.name for c in cur.description] == ["place", "How Many"]
    assert sorted(cur.fetchall()) == overlap()


def test_unqualified_by_search_path(conn, overlap):
    sql = OVERLAP.format("'2024-06-01'").replace("public.customers", "customers")
    assert sorted(conn.execute(sql).fetchall()) == overlap()
    conn.execute("SET search_path TO ads, public")
    assert sorted(conn.execute(sql.replace("ads.impressions", "impressions")).fetchall()) == overlap()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("value", ["2024-06-01", datetime.date(2024, 6, 1)])
def test_as_a_bound_parameter(conn, overlap, value, binary):
    if binary and isinstance(value, datetime.date):
        sql = OVERLAP.format("%b")
    else:
        sql = OVERLAP.format("%s")
    cur = conn.execute(sql, (value,), binary=binary)
    assert sorted(cur.fetchall()) == overlap()


def test_each_user_sees_own_rows(connect, overlap):
    everything = ("US", "CA", "GB", "DE")
    sql = OVERLAP.format("'2024-06-01'")
    assert sorted(connect("bi_service").execute(sql).fetchall()) == overlap(countries=everything)
    assert overlap(countries=everything) != overlap()


def test_absent_attribute_and_wrong_shape_give_no_rows(connect):
    sql = OVERLAP.format("'2024-06-01'")
    assert connect("norma").execute(sql).fetchall() == []
    assert connect("scalar").execute(sql).fetchall() == []


def test_by_name_with_an_argument(conn, overlap):
    rows = conn.execute("SELECT * FROM questions.overlap_by_region(since => '2024-06-01')").fetchall()
    assert sorted(rows) == overlap()


def test_any_select_over_a_released_result(conn, overlap):
    got = conn.execute("SELECT upper(q.region) AS r, q.reached * 2, rank() OVER (ORDER BY q.reached DESC, q.region) "
                       "FROM questions.overlap_by_region(since => '2024-06-01') AS q WHERE q.region <> 'East' "
                       "ORDER BY 1 DESC LIMIT 3 OFFSET 1").fetchall()
    rest = [row for row in overlap() if row[0] != "East"]
    ranks = {row[0]: at for at, row in enumerate(sorted(rest, key=lambda r: (-r[1], r[0])), 1)}
    want = [(r.upper(), n * 2, ranks[r]) for r, n in sorted(rest, reverse=True)]
    assert got == want[1:4]


def test_two_questions_joined_by_name(conn, cluster):
    got = conn.execute("SELECT a.campaign, a.buyers, b.buyers AS other FROM questions.sales_by_campaign(channel => 'video') a "
                       "JOIN questions.sales_by_campaign(channel => 'audio') b USING (campaign) ORDER BY 1").fetchall()
    video, audio = (dict((r[0], r[1]) for r in cluster.rows(SALES_ORACLE, (c,))) for c in ("video", "audio"))
    assert got == [(name, video[name], audio[name]) for name in sorted(set(video) & set(audio))] and got


def test_by_name_as_a_table_with_defaults(conn, cluster):
    want = cluster.rows("SELECT grp, count(*), sum(floor(b_int / 10.0) * 10)::bigint FROM zoo.cells "
                        "WHERE id BETWEEN 1 AND 120 GROUP BY 1 ORDER BY 1")
    assert conn.execute("SELECT * FROM questions.by_group").fetchall() == want
    assert conn.execute("TABLE questions.by_group").fetchall() == want
    assert conn.execute("SELECT grp, n FROM questions.by_group(low => 100) ORDER BY grp").fetchall() == cluster.rows(
        "SELECT grp, count(*) FROM zoo.cells WHERE id BETWEEN 100 AND 120 GROUP BY 1 ORDER BY 1")


def test_types_and_values_as_the_database_gives_them(conn, cluster):
    cur = conn.execute("SELECT * FROM questions.sales_by_campaign(channel => 'video') ORDER BY campaign")
    assert [(c.name, c.type_code) for c in cur.description] == [("campaign", 25), ("buyers", 20), ("sales", 1700)]
    want = sorted(cluster.rows(SALES_ORACLE, ("video",)))
    assert cur.fetchall() == want and isinstance(want[0][2], Decimal)


def test_binary_results(conn, overlap):
    cur = conn.cursor(binary=True)
    cur.execute(OVERLAP.format("%s"), ("2024-06-01",))
    assert sorted(cur.fetchall()) == overlap()


@pytest.mark.parametrize("value", ["2023-12-31", "1900-01-01"])
def test_parameter_below_its_minimum(conn, value):
    for sql, params in ((OVERLAP.format("'%s'" % value), None), (OVERLAP.format("%s"), (value,)),
                        ("SELECT * FROM questions.overlap_by_region(since => '%s')" % value, None)):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(sql, params)
        said = "%s %s" % (caught.value.diag.message_primary, caught.value.diag.message_detail)
        assert caught.value.diag.sqlstate == "22023" and "since" in said and "2024-01-01" in said
        assert conn.execute("SELECT 1").fetchone() == (1,)


BAD_VALUES = [
    ("SELECT * FROM questions.by_group(low => 0)", "low"), ("SELECT * FROM questions.by_group(high => 121)", "high"),
    ("SELECT * FROM questions.by_group(high => 99999999999)", "high"),
    ("SELECT * FROM questions.by_group(low => NULL)", "low"), ("SELECT * FROM questions.by_group(low => 'x')", "low"),
    ("SELECT * FROM questions.sales_by_campaign(channel => 'mail')", "channel"),
    ("SELECT * FROM questions.sales_by_campaign(channel => 'Video')", "channel"),
    ("SELECT * FROM questions.maybe(g => 'h1')", "g"), ("SELECT * FROM questions.maybe(g => 'g12')", "g"),
    ("SELECT * FROM questions.maybe(g => 'xg1')", "g"),
    ("SELECT * FROM questions.several(ids => '{1,2,3,4,5}')", "ids"),
    ("SELECT * FROM questions.several(ids => '{0}')", "ids"),
    ("SELECT * FROM questions.several(ids => ARRAY[121])", "ids"),
]

# Whatever was wrong with the value: every bound, so that the next try can be right.
DETAILS = {name: 'Parameter "%s" has type %s.' % (name, bounds) for name, bounds in {
    "low": "integer; at least 1", "high": "integer; at most 120", "g": "text; matching the pattern g[0-9]; at most 3 characters long; or NULL",
    "ids": "integer[]; at most 4 items; at least 1; at most 120",
    "channel": 'text; one of "social", "search", "video", "display", "audio"'}.items()}


@pytest.mark.parametrize("sql, name", BAD_VALUES)
def test_parameter_out_of_bounds(conn, sql, name):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    assert caught.value.diag.sqlstate == "22023"
    assert '"%s"' % name in caught.value.diag.message_primary
    assert caught.value.diag.message_detail == DETAILS[name]
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_bound_parameter_out_of_bounds_fails_at_bind(wire):
    conn = wire()
    got = conn.ask(w.parse(OVERLAP.format("$1"), "s1"), w.describe("S", "s1"), w.SYNC)
    assert w.tags(got) == "1tTZ"
    got = conn.ask(w.bind(["2020-01-01"], "s1"), w.execute(), w.SYNC)
    assert w.tags(got) == "EZ" and w.errors(got) == ["22023"]
    got = conn.ask(w.bind([None], "s1"), w.execute(), w.SYNC)
    assert [m.fields["D"] for m in got if m.tag == "E"] == [ 'Parameter "since" has type date; at least 2024-01-01.']
    got = conn.ask(w.bind(["2024-06-01"], "s1"), w.execute(), w.SYNC)
    assert w.tags(got)[:2] == "2D" and w.tags(got)[-2:] == "CZ"


@pytest.mark.parametrize("n", [1, 50, 100])
def test_a_parameter_that_stands_twice(conn, cluster, n):
    sql = "SELECT id, grp FROM public.cells WHERE id >= %d AND id < %d + 5 ORDER BY id"
    assert conn.execute(sql % (n, n)).fetchall() == cluster.rows(sql.replace("public", "zoo") % (n, n))


def test_a_parameter_that_stands_twice_takes_one_value(conn, denied):
    denied(conn, "SELECT id, grp FROM public.cells WHERE id >= 1 AND id < 50 + 5 ORDER BY id")


FROM_N = "SELECT id, grp FROM public.cells WHERE id >= {} AND id < {} + 5 ORDER BY id"
DIFFER = 'parameter "n" stands in several places and takes one value: $1 and $2 differ'


def differs(ask):
    with pytest.raises(psycopg.Error) as caught:
        ask()
    assert (caught.value.diag.sqlstate, caught.value.diag.message_primary) == ("22023", DIFFER)


@pytest.mark.parametrize("prepare", [True, False])
def test_drivers_number_each_place_of_a_parameter(conn, cluster, prepare):
    """What a driver makes of two "?" is $1 and $2, and who asks gives the same value twice."""
    def ask(*values, places=("%s", "%s")):
        return conn.execute(FROM_N.format(*places), values, prepare=prepare).fetchall()
    # Often enough for what comes again to be prepared by pgveil.
    for n in list(range(1, 12)) + [100, 1]:
        assert ask(n, n) == cluster.rows(FROM_N.format(n, n).replace("public", "zoo"))
        if n % 5 == 0:
            differs(lambda: ask(n, n - 1))
    assert ask(7, 7, places=("%t", "%b")) == ask(7, 7, places=("%b", "%t")) == ask("7", " 7") == ask(7, 7)
    differs(lambda: ask(7, 8, places=("%t", "%b")))
    assert ask(3, 3, places=("%s::int", "%s")) == ask(3, 3)


def test_sql_prepare_of_a_parameter_in_two_places(conn):
    conn.execute("PREPARE of_n AS " + FROM_N.format("$2", "$1"))
    assert [r[0] for r in conn.execute("EXECUTE of_n(4, 4)")] == [4, 5, 6, 7, 8]
    assert [r[0] for r in conn.execute("EXECUTE of_n(4, '04')")] == [4, 5, 6, 7, 8]
    differs(lambda: conn.execute("EXECUTE of_n(4, 5)"))
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("EXECUTE of_n(4)")
    assert caught.value.diag.sqlstate == "42601"
    conn.execute("DEALLOCATE of_n")
    # In one text, where the session does not know it yet.
    differs(lambda: conn.execute("PREPARE of_n AS " + FROM_N.format("$1", "$2") + "; EXECUTE of_n(4, 5)"))


def test_a_parameter_in_two_places_on_the_wire(wire):
    conn = wire()
    got = conn.ask(w.parse(FROM_N.format("$1", "$2"), "s1"), w.describe("S", "s1"), w.SYNC)
    assert w.tags(got) == "1tTZ" and got[1].body == b"\0\2" + 2 * b"\0\0\0\x17"
    got = conn.ask(w.bind(["2", "2"], "s1"), w.execute(), w.SYNC)
    assert w.tags(got) == "2DDDDDCZ"
    got = conn.ask(w.bind(["2", "3"], "s1"), w.execute(), w.SYNC)
    assert w.tags(got) == "EZ" and w.errors(got) == ["22023"]
    assert got[0].fields["D"].startswith('Parameter "n" has type integer')
    for values in (["2"], ["2", "2", "2"], []):
        assert w.errors(conn.ask(w.bind(values, "s1"), w.execute(), w.SYNC)) == ["08P01"]
    # A place that is a constant is no place of another parameter; nor are two parameters one.
    assert w.errors(conn.ask(w.parse(FROM_N.format("$1", "2")), w.SYNC)) == ["42501"]
    assert w.errors(conn.ask(w.query(FROM_N.format("$1", "$2")))) == ["42P02"]


def test_null_only_where_nullable(conn, cluster):
    sql = "SELECT id FROM public.cells WHERE coalesce(grp = %s, true) ORDER BY id"
    assert conn.execute(sql % "NULL").fetchall() == cluster.rows("SELECT id FROM zoo.cells ORDER BY id")
    assert conn.execute(sql, ("g1",)).fetchall() == cluster.rows("SELECT id FROM zoo.cells WHERE grp = 'g1' ORDER BY id")
    assert conn.execute(sql, (None,)).fetchall() == cluster.rows("SELECT id FROM zoo.cells ORDER BY id")


def test_array_parameter(conn):
    sql = "SELECT id, grp FROM public.cells WHERE id = ANY (%s) ORDER BY id"
    want = [(3, "g0"), (5, "g2")]
    assert conn.execute(sql, ([3, 5],)).fetchall() == want
    assert conn.execute(sql % "'{3,5}'").fetchall() == want
    assert conn.execute("SELECT * FROM questions.several(ids => ARRAY[3,5])").fetchall() == want
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql, ([1, 2, 3, 4, 5],))
    assert caught.value.diag.sqlstate == "22023"


def test_missing_argument_of_a_required_parameter(conn):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT * FROM questions.overlap_by_region()")
    assert caught.value.diag.sqlstate in ("22023", "42883") and "since" in str(caught.value)


def test_unknown_question_and_unknown_argument(conn):
    for sql, states in (("SELECT * FROM questions.no_such_question", ("42P01",)),
                        ("SELECT * FROM questions.no_such_question(a => 1)", ("42883", "42P01", "42501")),
                        ("SELECT * FROM questions.by_group(other => 1)", ("42883", "22023"))):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(sql)
        assert caught.value.diag.sqlstate in states


def test_question_for_others_only(connect, denied):
    sql = "SELECT customer_id, email, birth_date, postcode FROM public.customers WHERE region = 'North' ORDER BY email LIMIT 500"
    assert len(connect("alice").execute(sql).fetchall()) == 500
    denied(connect("bi_service"), sql)


def test_more_rows_than_max_rows_is_an_error(conn):
    sql = "SELECT id FROM public.cells WHERE id <= %d ORDER BY id"
    assert len(conn.execute(sql % 10).fetchall()) == 10
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql % 11)
    assert caught.value.diag.sqlstate == "54000"
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_timeout_of_a_question(conn):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT * FROM questions.hasty(n => 1)")
    assert caught.value.diag.sqlstate == "57014"


@pytest.mark.parametrize("sql, want", [
    ("SELECT 1 AS a, 'x'::text AS b, NULL::date", (1, "x", None)), ("SELECT 2 + 3 * 4", (14,)),
    ("SELECT lower('AbC'), length('äö'), coalesce(NULL, 'd')", ("abc", 2, "d")),
    ("SELECT current_database()", (ROOM,)), ("VALUES (1, 'b')", (1, "b"))])
def test_constant_statements(conn, sql, want):
    assert conn.execute(sql).fetchone() == want


def test_version_and_now(conn):
    assert conn.execute("SELECT version()").fetchone()[0].startswith("PostgreSQL 15.")
    now = conn.execute("SELECT now()").fetchone()[0]
    assert abs((datetime.datetime.now(datetime.timezone.utc) - now).total_seconds()) < 60


def test_notices_and_command_tags(wire):
    got = wire().ask(w.query("SELECT id FROM public.cells WHERE id <= 3 ORDER BY id"))
    assert w.tags(got) == "TDDDCZ"
    assert [m.text for m in got if m.tag == "C"] == ["SELECT 3"]
    assert got[-1].body == b"I"


def test_no_table_identity_in_row_descriptions(wire):
    got = wire().ask(w.query("SELECT id, ref, h_text FROM public.others ORDER BY id"))
    names = [c[0] for m in got if m.tag == "T" for c in m.columns]
    assert names == ["id", "ref", "h_text"]
    assert len(w.rows(got)) == 60 and data.CANARY not in repr(w.rows(got))


@pytest.mark.parametrize("sql", [
    "SELECT id AS x, ref, h_text FROM public.others ORDER BY id", "select ID \"X y\", ref AS id_2, h_text FROM others ORDER BY \"X y\"",
    "SELECT id AS ref, ref AS h_text, h_text AS z FROM public.others ORDER BY id"])
def test_a_column_that_is_sorted_by_may_have_an_alias(conn, sql):
    plain = conn.execute("SELECT id, ref, h_text FROM public.others ORDER BY id").fetchall()
    assert conn.execute(sql).fetchall() == plain


def test_such_an_alias_means_no_other_column(conn, denied):
    denied(conn, "SELECT id AS ref, ref AS id, h_text FROM public.others ORDER BY id")
    denied(conn, "SELECT id AS x, ref, h_text FROM public.others ORDER BY ref")


@pytest.mark.parametrize("sql", [
    "SELECT * FROM unnest(ARRAY[1, 2], ARRAY['a', 'b', 'c'])", "SELECT * FROM unnest(ARRAY[1, 2], ARRAY['a', 'b']) AS u (a, b)",
    "SELECT u.*, u FROM unnest(ARRAY[1, 2], ARRAY['a'], ARRAY[1.5]) WITH ORDINALITY AS u (a, b)", "SELECT u FROM unnest(ARRAY[1, 2]) AS u",
    "SELECT c, a FROM ROWS FROM (unnest(ARRAY[1, 2], ARRAY['a']), generate_series(1, 3)) AS u (a, b, c)",
    "SELECT a, b FROM (SELECT ARRAY[1, 2] AS x, ARRAY[3] AS y) AS t, unnest(t.x, t.y) AS u (a, b)",
    "SELECT * FROM unnest(ARRAY[1], ARRAY[2]) AS u (a, b, c)", "SELECT unnest(ARRAY[1], ARRAY[2])"])
def test_unnest_of_several_arrays_is_postgresqls(cluster, conn, sql):
    def asked(one):
        try:
            cursor = one.execute(sql)
            return [(c.name, c.type_code) for c in cursor.description], cursor.fetchall()
        except psycopg.Error as error:
            return error.sqlstate, str(error)

    with cluster.connect() as straight:
        assert asked(conn) == asked(straight)


def test_a_question_may_read_several_arrays(own_veil):
    veil = own_veil(rooms=None)
    shape = data.small_room(veil.room)
    shape["questions"]["picked"] = {
        "type": "list", "sql": "SELECT c.id, u.b FROM public.cells c JOIN unnest(ARRAY[1, 2], ARRAY['x', 'y']) AS u (a, b) ON u.a = c.id ORDER BY 1"}
    veil.write_room(shape)
    veil.provision()
    veil.start()
    with veil.connect("alice", veil.room) as one:
        assert one.execute("SELECT * FROM questions.picked").fetchall() == [(1, "x"), (2, "y")]
