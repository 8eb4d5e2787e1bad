"""INTERFACE 4: what is refused, with which SQLSTATE, and that the session goes on."""
import psycopg
import pytest

from tests.integration.conftest import NOT_APPROVED, ROOM
from tests.lib import data, wire as w

OVERLAP = ("SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i "
           "USING (customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region")

NOT_APPROVED_STATEMENTS = [
    "SELECT * FROM public.customers",
    "SELECT region FROM public.customers",
    "SELECT count(*) FROM public.customers",
    "SELECT 1 FROM public.customers",
    "TABLE public.customers",
    "SELECT EXISTS (SELECT FROM ads.impressions)",
    "SELECT (SELECT count(*) FROM shop.purchases)",
    "WITH c AS (SELECT region FROM public.customers) SELECT * FROM c",
    "SELECT region FROM public.customers UNION SELECT 'x'",
    "VALUES ((SELECT max(region) FROM public.customers))",
    OVERLAP.replace("2024-06-01' GROUP", "2024-06-01' AND c.region = 'North' GROUP"),
    OVERLAP.replace("DISTINCT ", ""),
    OVERLAP.replace(">=", "="),
    OVERLAP.replace(">=", ">"),
    OVERLAP.replace("JOIN", "LEFT JOIN"),
    OVERLAP + " LIMIT 1",
    OVERLAP + " ORDER BY 2",
    OVERLAP + " HAVING count(*) < 3",
    OVERLAP.replace("count(DISTINCT c.customer_id)", "count(DISTINCT i.customer_id)"),
    OVERLAP.replace("c.region", "c.country"),
    OVERLAP.replace("'2024-06-01'", "'2024-06-01'::date + 0"),
    OVERLAP.replace("'2024-06-01'", "now()"),
    OVERLAP.replace("'2024-06-01'", "(SELECT date '2024-06-01')"),
    OVERLAP.replace("c.region, count(DISTINCT c.customer_id) AS reached", "count(DISTINCT c.customer_id) AS reached, c.region"),
    "SELECT * FROM (" + OVERLAP + ") q",
    "SELECT q.region FROM questions.by_group b, public.customers q",
]


@pytest.mark.parametrize("sql", NOT_APPROVED_STATEMENTS)
def test_not_approved(conn, denied, sql):
    denied(conn, sql)


def test_a_denial_has_a_hint_and_names_the_rule(conn, denied):
    diag = denied(conn, "SELECT region, count(*) FROM public.customers GROUP BY region")
    assert diag.message_hint


@pytest.mark.parametrize("sql", [
    "INSERT INTO public.customers VALUES (1)", "INSERT INTO public.customers (region) SELECT 'x'",
    "UPDATE public.customers SET region = 'x'", "DELETE FROM public.customers", "TRUNCATE public.customers",
    "MERGE INTO public.customers c USING ads.impressions i ON false WHEN MATCHED THEN DELETE",
    "CREATE TABLE t (a int)", "CREATE TEMP TABLE t (a int)", "CREATE TABLE t AS SELECT 1 AS a", "SELECT 1 AS a INTO t",
    "CREATE VIEW v AS SELECT 1", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE SCHEMA s",
    "CREATE ROLE r", "ALTER ROLE postgres PASSWORD 'x'", "ALTER TABLE public.customers ADD a int", "DROP TABLE public.customers",
    "DROP SCHEMA public CASCADE", "GRANT ALL ON public.customers TO PUBLIC", "REVOKE ALL ON public.customers FROM PUBLIC",
    "COMMENT ON TABLE public.customers IS 'x'", "SECURITY LABEL ON TABLE public.customers IS 'x'",
    "DO $$ BEGIN NULL; END $$", "CALL p()", "COPY public.customers FROM STDIN", "COPY public.customers FROM '/etc/passwd'",
    "COPY public.customers FROM PROGRAM 'id'", "COPY (SELECT 1) TO '/tmp/pgveil-never'", "COPY (SELECT 1) TO PROGRAM 'cat'",
    "LOCK TABLE public.customers", "LISTEN c", "NOTIFY c, 'x'", "VACUUM", "ANALYZE public.customers", "CLUSTER",
    "REINDEX TABLE public.customers", "CHECKPOINT", "LOAD 'x'", "ALTER SYSTEM SET fsync = off", "REASSIGN OWNED BY a TO b",
    "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y", "CREATE EXTENSION pgcrypto", "PREPARE TRANSACTION 'x'",
    "COMMIT PREPARED 'x'", "REFRESH MATERIALIZED VIEW v", "CREATE PUBLICATION p FOR ALL TABLES",
    "EXPLAIN SELECT region FROM public.customers", "EXPLAIN ANALYZE " + OVERLAP,
])
def test_utility_and_writes(conn, guard, sql):
    guard.denied.append(sql)
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    assert caught.value.diag.sqlstate in ("42501", "0A000", "42P01", "3F000"), caught.value.diag.sqlstate
    assert conn.execute("SELECT 1").fetchone() == (1,)


MISSING = [
    ("SELECT * FROM crm.customers", "42P01", 'relation "crm.customers" does not exist'),
    ("SELECT * FROM crm.staff", "42P01", 'relation "crm.staff" does not exist'),
    ("SELECT * FROM no.such_table", "42P01", 'relation "no.such_table" does not exist'),
    ("SELECT * FROM ledger", "42P01", 'relation "ledger" does not exist'),
    ("SELECT * FROM public.ledger", "42P01", 'relation "public.ledger" does not exist'),
    ("SELECT * FROM staff", "42P01", 'relation "staff" does not exist'),
    ("SELECT * FROM zoo.cells", "42P01", 'relation "zoo.cells" does not exist'),
    ("SELECT full_name FROM public.customers", "42703", 'column "full_name" does not exist'),
    ("SELECT phone FROM public.customers", "42703", 'column "phone" does not exist'),
    ("SELECT no_such_column FROM public.customers", "42703", 'column "no_such_column" does not exist'),
    ("SELECT c.national_id FROM public.customers c", "42703", "column c.national_id does not exist"),
    ("SELECT c.no_such FROM public.customers c", "42703", "column c.no_such does not exist"),
    ("SELECT omitted FROM public.cells", "42703", 'column "omitted" does not exist'),
    ("SELECT count(*) FROM public.customers WHERE full_name = 'x'", "42703", 'column "full_name" does not exist'),
    ("SELECT count(*) FROM public.customers GROUP BY phone", "42703", 'column "phone" does not exist'),
    ("SELECT region FROM public.customers ORDER BY national_id", "42703", 'column "national_id" does not exist'),
    ("DELETE FROM crm.staff", "42P01", 'relation "crm.staff" does not exist'),
]


@pytest.mark.parametrize("sql, sqlstate, message", MISSING)
def test_what_the_room_does_not_hold_is_missing(conn, guard, sql, sqlstate, message):
    guard.denied.append(sql)
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    diag = caught.value.diag
    if sql.startswith("DELETE"):
        # A write may be refused as such before its names are looked at; nothing may be told about the name.
        assert diag.sqlstate in ("42P01", "42501", "0A000")
        return
    assert (diag.sqlstate, diag.message_primary) == (sqlstate, message)
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_hidden_and_absent_differ_in_nothing(conn):
    def said(sql):
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(sql)
        diag = caught.value.diag
        return (diag.sqlstate, diag.message_primary, diag.message_detail, diag.message_hint, diag.statement_position)

    def same(hidden, absent, one, other):
        a, b = said(one), said(other)
        assert tuple(x and x.replace(hidden, absent) for x in a) == b

    same("crm.staff", "crm.stuff", "SELECT * FROM crm.staff", "SELECT * FROM crm.stuff")
    same("full_name", "full_nick", "SELECT full_name FROM public.customers", "SELECT full_nick FROM public.customers")
    same("ledger", "lodger", "SELECT * FROM ledger", "SELECT * FROM lodger")


@pytest.mark.parametrize("sql, position", [("SELEC 1", "1"), ("SELECT 1 FROM", "14"), ("SELECT ((1)", "12"),
                                           ("SELECT 'äö', FROM x", "14")])
def test_syntax_error_with_its_position(conn, sql, position):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    assert caught.value.diag.sqlstate == "42601"
    assert caught.value.diag.statement_position == position
    assert caught.value.diag.message_primary.startswith("syntax error at")


def test_denied_at_parse_in_the_extended_protocol(wire, guard):
    conn = wire()
    sql = "SELECT region FROM public.customers WHERE region = $1"
    guard.denied.append(sql)
    got = conn.ask(w.parse(sql, "s"), w.bind(["North"], "s"), w.describe("P"), w.execute(), w.SYNC)
    assert w.tags(got) == "EZ" and w.errors(got) == ["42501"]
    assert got[0].fields["M"] == NOT_APPROVED and got[-1].body == b"I"
    assert w.errors(conn.ask(w.bind(["North"], "s"), w.execute(), w.SYNC)) == ["26000"]


def test_a_denial_fails_an_open_transaction(wire, guard):
    conn = wire()
    guard.denied.append("SELECT region FROM customers")
    assert conn.ask(w.query("BEGIN"))[-1].body == b"T"
    got = conn.ask(w.query("SELECT region FROM customers"))
    assert w.errors(got) == ["42501"] and got[-1].body == b"E"
    assert w.errors(conn.ask(w.query("SELECT 1"))) == ["25P02"]
    got = conn.ask(w.query("ROLLBACK"))
    assert w.tags(got) == "CZ" and got[-1].body == b"I"


def test_a_savepoint_recovers_from_a_denial(wire):
    conn = wire()
    for sql, tags, status in (("BEGIN", "CZ", b"T"), ("SAVEPOINT s", "CZ", b"T"), ("SELECT region FROM customers", "EZ", b"E"),
                              ("ROLLBACK TO SAVEPOINT s", "CZ", b"T"), ("SELECT 1", "TDCZ", b"T"), ("COMMIT", "CZ", b"I")):
        got = conn.ask(w.query(sql))
        assert (w.tags(got), got[-1].body) == (tags, status), sql


def test_none_of_several_statements_runs(conn, veil, cluster):
    mark = cluster.log_size()
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT 41471; SELECT region FROM public.customers; SELECT 41472")
    assert caught.value.diag.sqlstate == "42501"
    log = cluster.log(mark)
    assert "41471" not in log and "41472" not in log


def test_expired_room(own_veil):
    veil = own_veil()
    room = data.small_room(veil.room)
    room["expires"] = "2020-01-01T00:00:00Z"
    veil.provision()
    veil.write_room(room)
    veil.start()
    with pytest.raises(psycopg.OperationalError, match="FATAL"):
        veil.connect("alice", veil.room)
    veil.stop()
    veil.provision("--drop")


def test_room_expires_in_a_session(own_veil):
    veil = own_veil()
    veil.provision()
    veil.start()
    with veil.connect("alice", veil.room) as conn:
        assert conn.execute("SELECT * FROM questions.first(n => 1)").fetchall() == [(1, "g1")]
        room = data.small_room(veil.room)
        room["expires"] = "2020-01-01T00:00:00Z"
        veil.write_room(room)
        veil.hup()
        from tests.integration.test_operations import eventually
        eventually(lambda: sqlstate_of(conn, "SELECT * FROM questions.first(n => 1)") == "42501")
    veil.stop()
    veil.provision("--drop")


def sqlstate_of(conn, sql):
    try:
        conn.execute(sql)
    except psycopg.Error as error:
        return error.diag.sqlstate
    return None


def test_statement_too_long_and_too_deep(conn):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT '" + "x" * (1024 * 1024) + "'")
    assert caught.value.diag.sqlstate == "54000"
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT " + "(" * 5000 + "1" + ")" * 5000 + "+ " + "+".join(["1"] * 9000))
    assert caught.value.diag.sqlstate in ("54001", "54000")
    assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("sql, show", [
    ("SET TimeZone TO 'Europe/Paris'", ("TimeZone", "Europe/Paris")), ("SET extra_float_digits = 3", ("extra_float_digits", "3")),
    ("SET DateStyle TO ISO, MDY", ("DateStyle", "ISO, MDY")), ("SET statement_timeout = 30000", ("statement_timeout", "30s")),
    ("SET application_name TO 'tests'", ("application_name", "tests")), ("SET search_path TO public, ads", ("search_path", "public, ads")),
    ("SET client_encoding TO 'UTF8'", ("client_encoding", "UTF8")), ("SET lock_timeout = 100", ("lock_timeout", "100ms")),
    ("SET client_min_messages TO warning", ("client_min_messages", "warning")),
    ("SET standard_conforming_strings = on", ("standard_conforming_strings", "on")),
    ("SET IntervalStyle TO 'iso_8601'", ("IntervalStyle", "iso_8601")), ("SET bytea_output = 'hex'", ("bytea_output", "hex")),
    ("SET idle_in_transaction_session_timeout = 60000", ("idle_in_transaction_session_timeout", "1min")),
])
def test_harmless_settings_have_their_effect(conn, sql, show):
    conn.execute(sql)
    assert conn.execute("SHOW " + show[0]).fetchone()[0] == show[1]
    conn.execute("RESET ALL")


@pytest.mark.parametrize("sql", ["SET row_security = off", "SET ROLE postgres", "SET SESSION AUTHORIZATION postgres",
                                 "SET session_replication_role = replica", "SET standard_conforming_strings = off",
                                 "SET client_encoding TO 'SJIS'", "SET work_mem = '1GB'", "SET backslash_quote = on",
                                 "SET search_path TO crm", "SET search_path TO pg_temp", "SET role TO pgveil",
                                 "SET default_transaction_read_only = off", "SET local_preload_libraries = 'x'",
                                 "SET pgveil.anything = 'x'", "SET transaction_read_only = off"])
def test_harmful_settings_are_refused_or_have_no_effect(conn, sql):
    try:
        conn.execute(sql)
    except psycopg.Error as error:
        assert error.diag.sqlstate in ("42501", "0A000", "22023", "42704", "3F000", "55P02")
    with pytest.raises(psycopg.Error):
        conn.execute("SELECT * FROM crm.customers")
    with pytest.raises(psycopg.Error):
        conn.execute("SELECT * FROM staff")
    with pytest.raises(psycopg.Error):
        conn.execute("CREATE TABLE public.t (a int)")
    assert conn.execute("SELECT E'a\\\\b', 'a\\b'").fetchone() == ("a\\b", "a\\b")
    assert conn.execute("SELECT current_database()").fetchone() == (ROOM,)


def test_writes_stay_refused_in_a_read_write_transaction(conn, denied):
    try:
        conn.execute("BEGIN READ WRITE")
    except psycopg.Error as error:
        assert error.diag.sqlstate in ("42501", "0A000", "25006")
        conn.execute("BEGIN")
    with pytest.raises(psycopg.Error):
        conn.execute("INSERT INTO public.customers VALUES (1)")
    conn.execute("ROLLBACK")


@pytest.mark.parametrize("sql, words", [
    ("COPY public.cells FROM STDIN", "COPY (SELECT * FROM questions.NAME) TO STDOUT"),
    ("COPY (SELECT 1) TO PROGRAM 'cat'", "COPY (SELECT * FROM questions.NAME) TO STDOUT"),
    ("SELECT 1 INTO kept", None), ("SELECT id FROM ONLY questions.others", None), ("SELECT id FROM questions.others FOR SHARE", None),
    ("SELECT id FROM questions.others TABLESAMPLE SYSTEM (10)", None), ("SELECT questions.twice(n => 1)", None),
    ("SELECT xmlelement(name a, 1)", None), ("SELECT (questions.twice(1)).id", None)])
def test_each_denial_says_what_to_ask_instead(conn, denied, sql, words):
    hint = denied(conn, sql).message_hint
    if words is not None:
        assert hint == words
        return
    # What it says can be run, and names questions of both kinds.
    listed = {name for name, in conn.execute(hint.split(": ", 1)[1].rstrip("."))}
    assert {"others", "twice", "overlap_by_region"} <= listed
