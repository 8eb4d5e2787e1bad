"""
The auditors' database `pgveil`: a member with the role `auditor` reads the query log of its rooms, and nothing else,
with SQL from the clients that people use. Oracle: the state file itself, read beside pgveil.
"""
import datetime
import hashlib
import os
import subprocess
import time
import urllib.parse

import pandas
import psycopg
import psycopg2
import pytest
import sqlalchemy

from tests.lib import data, wire as w

USERS = {
    "ana": {"password": "ana-secret"}, "aud": {"password": "aud-secret"}, "both": {"password": "both-secret"},
}


@pytest.fixture(scope="module")
def house(cluster):
    from tests.integration.conftest import make_veil

    rooms = []
    for name in ("audit_one", "audit_two"):
        room = data.small_room(name)
        party = sorted(room["parties"])[0]
        room["members"] = {"ana": {"party": party, "roles": ["analyst"]}, "both": {"party": party, "roles": ["auditor"]}}
        if name == "audit_one":
            room["members"]["aud"] = {"party": party, "roles": ["auditor"]}
        rooms.append(room)
    house = make_veil(cluster, rooms, USERS)
    house.provision()
    house.start()
    for name, text in (("audit_one", "SELECT 'in one'"), ("audit_two", "SELECT 'in two'")):
        with house.connect("ana", name) as conn:
            conn.execute(text)
            with pytest.raises(psycopg.Error):
                conn.execute("SELECT * FROM pg_authid_%s" % name)
    yield house
    assert house.stop() == 0, house.stderr()[-3000:]
    house.close()


@pytest.fixture
def aud(house):
    with house.connect("aud", "pgveil") as conn:
        yield conn


def test_rows_are_those_of_the_log(house, aud):
    got = aud.execute("SELECT seq, room, user, decision, query, rows FROM query_log WHERE room = %s ORDER BY seq",
                      ("audit_one",)).fetchall()
    want = [(r["seq"], r["room"], r["user"], r["decision"], r["query"], r["rows"])
            for r in house.log_rows("room = 'audit_one'")]
    assert got == want and any("in one" in row[4] for row in got)


def test_another_rooms_rows_do_not_exist(house, aud):
    assert aud.execute("SELECT DISTINCT room FROM query_log").fetchall() == [("audit_one",)]
    assert aud.execute("SELECT count(*) FROM query_log WHERE room = 'audit_two'").fetchone() == (0,)
    assert aud.execute("SELECT count(*) FROM event_log WHERE room IS NULL OR room <> 'audit_one'").fetchone() == (0,)
    for view in ("daily_usage", "denials", "column_usage", "top_members", "unused_questions"):
        assert aud.execute("SELECT count(*) FROM %s WHERE room <> 'audit_one'" % view).fetchone() == (0,)
    with house.connect("both", "pgveil") as conn:
        assert conn.execute("SELECT DISTINCT room FROM query_log ORDER BY 1").fetchall() == [("audit_one",), ("audit_two",)]


@pytest.mark.parametrize("user", ["ana"])
def test_no_auditor_no_database(house, user):
    with pytest.raises(psycopg.OperationalError, match='database "pgveil" does not exist'):
        house.connect(user, "pgveil")
    deadline = time.monotonic() + 60
    while not house.event_rows("event = 'login_failed' AND user = ?", (user,)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "auditor" in house.event_rows("event = 'login_failed' AND user = ?", (user,))[-1]["detail"]


@pytest.mark.parametrize("sql, sqlstate", [
    ("DELETE FROM query_log", "42501"),
    ("INSERT INTO query_log (seq) VALUES (1)", "42501"),
    ("UPDATE statement SET query = 'x'", "42501"),
    ("DROP TABLE statement", "42501"),
    ("CREATE TABLE t (x int)", "42501"),
    ("ATTACH 'other.db' AS x", "42501"),
    ("PRAGMA table_info(statement)", "42501"),
    ("VACUUM INTO 'copy.db'", "42501"),
    ("COPY query_log TO '/tmp/x'", "42501"),
    ("EXPLAIN SELECT 1", "42501"),
    ("SELECT * FROM secret", "42501"),
    ("SELECT * FROM main.secret", "42P01"),
    ("SELECT hash FROM statement", "42703"),
    ("SELECT hash FROM statement_end", "42703"),
    ("SELECT * FROM sqlite_schema", "42501"),
    ("SELECT * FROM temp.sqlite_schema", "42501"),
    ("SELECT name FROM pragma_database_list", "42501"),
    ("SELECT load_extension('x')", "42501"),
    ("SELECT readfile('/etc/passwd')", "42883"),
    ("SELECT writefile('x', 'y')", "42883"),
    ("WITH d AS (SELECT 1) DELETE FROM query_log", "42501"),
    ("SELECT 1; DELETE FROM query_log", "42501"),
    ("SELECT * FROM nowhere", "42P01"),
    ("SELECT nix FROM query_log", "42703"),
    ('SELECT "nix" FROM query_log', "42703"),
    ("SELECT frobnicate(1)", "42883"),
    ("SELEC 1", "42501"),
    ("SELECT FROM WHERE", "42601"),
    ("SELECT 'open", "42601"),
    ("SELECT 'x'::int8", "22P02"),
    ("SELECT interval '1 day'", "0A000"),
    ("SELECT now() AT TIME ZONE 'CET'", "0A000"),
    ("SELECT * FROM pg_stat_activity", "0A000"),
    ("SELECT at::point FROM query_log", "0A000"),
    ("SELECT columns[seq] FROM query_log", "0A000"),
    ("SELECT `query` FROM query_log", "42601"),
])
def test_refused(house, aud, sql, sqlstate):
    with pytest.raises(psycopg.Error) as caught:
        aud.execute(sql)
    assert caught.value.diag.sqlstate == sqlstate, caught.value
    assert aud.execute("SELECT 1").fetchone() == (1,)
    logged = house.last_log("room = 'pgveil' AND query = ?", (sql,)) if ";" not in sql else None
    if logged:
        assert logged["sqlstate"] == sqlstate and logged["outcome"] == "failed"


@pytest.mark.parametrize("sql, want", [
    ("SELECT count(*) FILTER (WHERE decision = 'denied') FROM query_log WHERE room = 'audit_two'", 0),
    ("SELECT '5'::int + 1", 6),
    ("SELECT CAST('7' AS bigint)", 7),
    ("SELECT 1.5::text", "1.5"),
    ("SELECT CAST('2026-01-31 12:00:00+01' AS date)", "2026-01-31"),
    ("SELECT 'AbC' ILIKE 'a%'", 1),
    ("SELECT 'AbC' LIKE 'a%'", 0),
    ("SELECT 'abc' ~ '^a.c$'", 1),
    ("SELECT E'a\\'b\\\\c'", "a'b\\c"),
    ("SELECT $x$it's$x$", "it's"),
    ("SELECT current_user", "aud"),
    ("SELECT current_database()", "pgveil"),
    ("SELECT pg_catalog.current_schema()", "public"),
    ("SELECT extract(year FROM timestamptz '2026-03-04 05:06:07+00')", 2026),
    ("SELECT (timestamp '2026-03-31' - interval '1 month')::date", "2026-02-28"),
    ("SELECT date_trunc('week', '2026-11-22'::date)::date", "2026-11-16"),
    ("SELECT at > '2020-01-01 00:00:00' FROM query_log LIMIT 1", 1),
    ("SELECT at > now() - interval '7 days' FROM query_log LIMIT 1", 1),
    ("SELECT string_agg(x, '-') FROM (SELECT 'a' AS x UNION ALL SELECT 'b')", "a-b"),
    ("SELECT /* a /* nested */ comment */ 3 -- end", 3),
])
def test_dialect(aud, sql, want):
    assert aud.execute(sql).fetchone()[0] == want


def test_types(house, aud):
    cursor = aud.execute("SELECT seq, at, session, query, count(*) OVER (), avg(seq) OVER (), max(at) OVER () AS last"
                         " FROM query_log LIMIT 1")
    row = cursor.fetchone()
    assert [column.type_code for column in cursor.description] == [20, 1184, 20, 25, 20, 701, 1184]
    stored = house.log_rows("seq = ?", (row[0],))[0]
    assert row[1] == datetime.datetime.fromisoformat(stored["at"].replace("Z", "+00:00"))
    binary = aud.execute("SELECT seq, at, query FROM query_log WHERE seq = %s", (row[0],), binary=True).fetchone()
    assert binary == (row[0], row[1], row[3])


def test_parameters(aud):
    now = datetime.datetime.now(datetime.timezone.utc)
    for one in (now, now.isoformat(" "), now.replace(tzinfo=None)):
        assert aud.execute("SELECT count(*) > 0 FROM query_log WHERE at < %s AND at > %s",
                           (one, datetime.date(2020, 1, 1))).fetchone() == (1,)
    assert aud.execute("SELECT %s + 1, %s, %s IS NULL", (41, "text", None)).fetchone() == (42, "text", 1)
    assert aud.execute("SELECT count(*) FROM query_log WHERE room = %s", ("' OR 1=1 --",)).fetchone() == (0,)
    for _ in range(8):  # beyond the threshold at which psycopg prepares
        assert aud.execute("SELECT count(*) FROM query_log WHERE seq = %s", (-1,), prepare=True).fetchone() == (0,)


def test_portal_is_suspended(wire_of):
    conn = wire_of("aud")
    text = "WITH v(x) AS (VALUES (1), (2), (3), (4), (5)) SELECT x FROM v WHERE x < $1"
    got = conn.ask(w.query("BEGIN"))
    got = conn.ask(w.parse(text, oids=(23,)), w.bind((b"6",), portal="p"), w.execute("p", 2), w.execute("p", 2),
                   w.execute("p", 2), w.frame("S"))
    assert w.tags(got) == "12DDsDDsDCZ", w.tags(got)
    assert conn.ask(w.parse("SELECT 1", "s"), w.describe("S", "s"), w.close("S", "s"), w.frame("S"))
    got = conn.ask(w.bind(statement="s"), w.frame("S"))
    assert w.errors(got) == ["26000"]


@pytest.fixture
def wire_of(house):
    made = []

    def make(user):
        made.append(house.wire(user, "pgveil"))
        return made[-1]

    yield make
    for one in made:
        one.sock.close()


def test_transactions(aud):
    aud.autocommit = False
    assert aud.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
    with pytest.raises(psycopg.Error):
        aud.execute("SELECT * FROM nowhere")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        aud.execute("SELECT 1")
    aud.rollback()
    assert aud.execute("SELECT 1").fetchone() == (1,)
    aud.commit()
    aud.autocommit = True
    with aud.pipeline():
        first = aud.execute("SELECT 1")
        second = aud.execute("SELECT 2")
    assert (first.fetchone(), second.fetchone()) == ((1,), (2,))


def test_large_result(aud):
    rows = aud.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)"
                       " SELECT i, printf('%0100d', i) FROM n").fetchall()
    assert len(rows) == 40000 and rows[-1][0] == 40000 and all(len(row[1]) == 100 for row in rows)


# A text of 2 ** n letters: what SQLite's own functions take for minutes within one instruction, where no clock is looked at.
LONG = "(WITH RECURSIVE b(t, n) AS (SELECT 'a', 0 UNION ALL SELECT t || t, n + 1 FROM b WHERE n < %d) SELECT t FROM b ORDER BY n DESC LIMIT 1)"


@pytest.mark.parametrize("sql, sqlstate", [
    ("SELECT length(printf('%1000000000d', 1))", "22P02"), ("SELECT length(format('%.*c', 1000000000, 'x'))", "22P02"),
    ("SELECT " + LONG % 21 + " GLOB '*' || " + LONG % 20 + " || 'b'", "22P02"),
    ("SELECT " + LONG % 21 + " LIKE '%' || " + LONG % 20 + " || 'b'", "22P02"),
    ("SELECT trim(" + LONG % 21 + ", 'b' || " + LONG % 20 + ")", "22P02"),
    ("SELECT length(replace(" + LONG % 21 + ", 'a', '" + "b" * 64 + "'))", "54000"),
    ("SELECT " + ", ".join(["length(%s)" % (LONG % 25)] * 20), "53200"),
    ("SELECT count(*) FROM (SELECT DISTINCT " + LONG % 24 + " || value FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]'))", "53200"),
])
def test_time_and_memory_of_texts_are_bounded(aud, sql, sqlstate):
    with pytest.raises(psycopg.Error) as caught:
        aud.execute(sql)
    assert caught.value.sqlstate in (sqlstate, "57014")
    assert aud.execute("SELECT 1").fetchone() == (1,)


def test_linear_functions_answer_as_ever(aud):
    assert aud.execute("SELECT instr(" + LONG % 20 + ", " + LONG % 19 + " || 'b'), length(replace(" + LONG % 20 + ", " + LONG % 19 +
                       " || 'b', 'x'))").fetchone() == (0, 2 ** 20)
    assert aud.execute("SELECT instr('äbc', 'c'), instr('abc', 'z'), instr(NULL, 'a'), instr('abc', ''), instr(12345, 34)").fetchone() == (
        3, 0, None, 1, 3)
    assert aud.execute("SELECT replace('abcabc', 'b', 'xx'), replace('abc', '', 'z'), replace('abc', 'abc', ''), replace(NULL, 'a', 'b')"
                       ).fetchone() == ("axxcaxxc", "abc", "", None)
    assert aud.execute("SELECT trim('xxaxx', 'x'), ltrim('äöa', 'öä'), rtrim('abä', 'ä'), trim('  a '), trim('a', ''), trim('', 'a')"
                       ).fetchone() == ("a", "a", "ab", "a", "a", "")
    assert aud.execute("SELECT 'abc' GLOB 'a*', 'abc' GLOB '[a-b]bc', glob('x*', 'y')").fetchone() == (1, 1, 0)
    assert aud.execute("SELECT printf('%d %5s|%-5s|%05.2f %x %% %s', 42, 'ab', 'cd', 3.14159, 255, NULL), format('%Q', 'it''s'), printf('%5d')"
                       ).fetchone() == ("42    ab|cd   |03.14 ff % ", "'it''s'", "    0")


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_time_budget(house, aud):
    began = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled, match="timeout"):
        aud.execute(ENDLESS)
    assert 4 < time.monotonic() - began < 60
    assert house.last_log("query = ?", (ENDLESS,))["outcome"] == "cancelled"
    assert aud.execute("SELECT 1").fetchone() == (1,)


def test_others_are_served_meanwhile_and_cancel(house, aud):
    import threading

    # Where the machine was so slow that the time that auditors have was up first, it is tried again.
    for turn in range(6):
        began = time.monotonic()
        timer = threading.Timer(0.5, aud.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled) as caught:
            aud.execute(ENDLESS)
        took = time.monotonic() - began
        timer.join()
        if "user request" in str(caught.value) and took < 4:
            return
    raise AssertionError((took, str(caught.value)))


def test_what_auditors_do_is_logged(house, aud):
    aud.execute("SELECT %s || room FROM query_log LIMIT 3", ("marked",))
    row = house.last_log("query LIKE '%|| room FROM query_log LIMIT 3'")
    assert (row["room"], row["user"], row["decision"], row["outcome"]) == ("pgveil", "aud", "allowed", "completed")
    assert row["parameters"] == '["marked"]' and row["rows"] > 0 and row["question"] is None
    assert house.event_rows("event = 'login' AND room = 'pgveil' AND user = 'aud'")


def test_views(house, aud):
    first, last, room, allowed, denied = aud.execute(
        "SELECT min(day), max(day), min(room), sum(allowed), sum(denied) FROM daily_usage WHERE question IS NULL").fetchone()
    began, = house._state("SELECT min(at) AS at FROM event_log", ())
    assert began["at"][:10] <= first <= last <= datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    assert room == "audit_one" and allowed >= 1 and denied == 1
    assert aud.execute("SELECT user, reason IS NOT NULL FROM denials").fetchall() == [("ana", 1)]
    assert aud.execute("SELECT count(*) FROM column_usage WHERE granted = 1 AND reads = 0").fetchone()[0] > 0
    assert aud.execute("SELECT user, denied FROM top_members").fetchall() == [("ana", 1)]
    assert aud.execute("SELECT count(*) FROM unused_questions").fetchone()[0] > 0


def test_psql(house):
    def psql(command):
        return subprocess.run(["psql", "-X", "-A", "-t", "-c", command,
                               "host=127.0.0.1 port=%d user=aud dbname=pgveil password=aud-secret sslmode=disable"
                               % house.port], capture_output=True, text=True, timeout=120)

    done = psql("SELECT count(*) > 0 FROM query_log; SELECT 2")
    assert (done.stdout, done.returncode) == ("1\n2\n", 0), done.stderr
    assert "query_log" in psql("\\dv").stdout
    described = psql("\\d query_log")
    assert "seq|bigint" in described.stdout, described.stderr


def test_psycopg2(house):
    import psycopg2

    conn = psycopg2.connect(**house.dsn("aud", "pgveil"))
    with conn, conn.cursor() as cursor:
        cursor.execute("SELECT seq, at FROM query_log WHERE at < %s AND query <> %s LIMIT 1",
                       (datetime.datetime.now(datetime.timezone.utc), "back\\slash"))
        seq, at = cursor.fetchone()
        assert isinstance(seq, int) and at.tzinfo is not None
    conn.close()


def engine_of(house):
    import sqlalchemy

    dsn = house.dsn("aud", "pgveil")
    return sqlalchemy.create_engine("postgresql+psycopg2://aud:aud-secret@127.0.0.1:%d/pgveil?sslmode=disable" % dsn["port"])


def test_sqlalchemy(house):
    import sqlalchemy

    engine = engine_of(house)
    with engine.connect() as conn:
        text = sqlalchemy.text("SELECT room, count(*) AS n FROM query_log WHERE room = :room GROUP BY room")
        assert conn.execute(text, {"room": "audit_one"}).one().n >= 2
    engine.dispose()


def test_pandas(house):
    import pandas

    engine = engine_of(house)
    frame = pandas.read_sql("SELECT seq, at, room FROM query_log ORDER BY seq", engine)
    assert list(frame.columns) == ["seq", "at", "room"] and frame["seq"].dtype.kind == "i" and len(frame) >= 2
    engine.dispose()


def test_a_role_that_is_lost_ends_the_session(house):
    import json

    with house.connect("aud", "pgveil") as conn:
        path = house.path("rooms", "audit_one.json")
        with open(path) as source:
            room = json.load(source)
        member = room["members"].pop("aud")
        house.write_room(room)
        since = len(house.stderr())
        house.hup()
        house.wait_stderr("reloaded", since)
        deadline = time.monotonic() + 60
        with pytest.raises(psycopg.OperationalError):
            while time.monotonic() < deadline:
                conn.execute("SELECT 1")
                time.sleep(0.1)
        room["members"]["aud"] = member
        house.write_room(room)
        since = len(house.stderr())
        house.hup()
        house.wait_stderr("reloaded", since)


def test_heads_and_shipping(own_veil):
    import json
    import socket

    syslog = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    syslog.bind(("127.0.0.1", 0))
    syslog.settimeout(60)
    house = own_veil(config={"audit": {"head_interval": "1s", "ship": {
        "file": "ship/audit.jsonl", "syslog": "127.0.0.1:%d" % syslog.getsockname()[1]}}})
    import os
    os.makedirs(house.path("ship"))
    house.start()
    with pytest.raises(psycopg.Error):
        house.connect("alice", "nowhere")
    message = syslog.recv(65536).decode()
    assert message.startswith("<110>1 ") and '[pgveil@32473 seq="1"' in message
    assert json.loads(message[message.index("] {") + 2:])["seq"] == 1
    # One of the time, over what there was by then; the end of serving has one of its own.
    deadline = time.monotonic() + 60
    while not house._state("SELECT seq FROM head", ()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert house.stop() == 0
    with open(house.path("ship", "audit.jsonl")) as source:
        lines = [json.loads(line) for line in source]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert {line.get("event") for line in lines} >= {"start", "login_failed", "stop"}
    before = len(lines)
    house.start()
    assert house.stop() == 0
    with open(house.path("ship", "audit.jsonl")) as source:
        assert [json.loads(line)["seq"] for line in source] == list(range(1, before + 3))
    heads = house._state("SELECT seq FROM head ORDER BY seq", ())
    assert len(heads) >= 3 and heads[-1]["seq"] == before + 2
    assert house.run("audit", "verify").returncode == 0
    import sqlite3
    state = sqlite3.connect(house.path("state", "pgveil.db"))
    state.execute("DROP TRIGGER head_no_update")
    state.execute("UPDATE head SET at = at + 1 WHERE seq = (SELECT min(seq) FROM head)")
    state.execute("CREATE TRIGGER head_no_update BEFORE UPDATE ON head BEGIN SELECT RAISE(ABORT, 'heads are only ever added'); END")
    state.commit()
    state.close()
    done = house.run("audit", "verify")
    assert done.returncode == 1 and "signature" in done.stdout + done.stderr


# --- tools that browse before they ask

VIEWS = ["column_usage", "daily_usage", "denials", "event_log", "query_log", "top_members", "unused_questions"]


@pytest.fixture(scope="module")
def engine(house):
    return sqlalchemy.create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(
        host="127.0.0.1", port=house.port, user="aud", password=USERS["aud"]["password"], dbname="pgveil"))


def test_sqlalchemy_inspects(house, engine):
    inspector = sqlalchemy.inspect(engine)
    assert inspector.get_schema_names() == ["public"] and inspector.get_table_names() == []
    assert sorted(inspector.get_view_names()) == VIEWS
    types = {column["name"]: str(column["type"]) for column in inspector.get_columns("query_log")}
    assert types["seq"] == types["rows"] == "BIGINT" and types["at"] == "TIMESTAMP" and types["query"] == "TEXT"
    assert list(types) == list(house.log_rows()[0])
    assert inspector.get_pk_constraint("query_log")["constrained_columns"] == []
    assert inspector.get_foreign_keys("query_log") == [] == inspector.get_indexes("query_log")
    log = sqlalchemy.Table("query_log", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.connect() as conn:
        got = dict(conn.execute(sqlalchemy.select(log.c.decision, sqlalchemy.func.count()).group_by(log.c.decision)).fetchall())
    assert got["denied"] >= 1 and got["allowed"] >= 1


def test_pandas_reads(house, engine):
    frame = pandas.read_sql_table("denials", engine)
    want = house.log_rows("room = 'audit_one' AND decision = 'denied'")
    assert sorted(frame["seq"]) == [row["seq"] for row in want] and str(frame["at"].dtype) == "datetime64[ns, UTC]"
    assert frame["seq"].dtype == "int64"


def test_jdbc_browses(house, tmp_path):
    jar = "/usr/share/java/postgresql.jar"
    source = os.path.join(os.path.dirname(__file__), "Auditor.java")
    subprocess.run(["javac", "-d", str(tmp_path), source], check=True)
    url = "jdbc:postgresql://127.0.0.1:%d/pgveil?user=aud&password=%s&sslmode=disable" % (
        house.port, urllib.parse.quote(USERS["aud"]["password"]))
    done = subprocess.run(["java", "-cp", "%s:%s" % (tmp_path, jar), "Auditor", url], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert said["schemas"] == "pg_catalog|/public|/" and said["keys"] == ""
    assert said["tables"] == "".join("public|%s|VIEW|/" % view for view in VIEWS)
    assert said["views"] == "".join("%s|/" % view for view in VIEWS)
    assert said["columns"].startswith("seq|-5|int8|/at|93|timestamptz|/session|-5|int8|/room|12|text|/")
    allowed = house.log_rows("room = 'audit_one' AND decision = 'allowed'")
    assert said["count"] == "%d|/" % len(allowed)
    assert said["fetched"].count("/") == min(5, len(house.log_rows("room = 'audit_one'")))


@pytest.mark.parametrize("sql, want", [
    ("SELECT '[\"a\",\"b\"]'[2]", ("b",)), ("SELECT (current_schemas(true))[1]", ("pg_catalog",)),
    ("SELECT 1 AS default, 2 AS Order", (1, 2)), ("SELECT json_build_object('a', 1)", ('{"a":1}',))])
def test_spellings_of_inspectors(aud, sql, want):
    assert aud.execute(sql).fetchone() == want


@pytest.mark.parametrize("sql", ["SELECT (seq).x FROM query_log", "SELECT unnest(columns) FROM query_log",
                                 "SELECT 'a' = ANY (columns) FROM query_log", "SELECT columns[0] FROM query_log",
                                 "SELECT columns['a'] FROM query_log"])
def test_arrays_and_rows_are_refused_with_what_serves(house, sql):
    with house.connect("aud", "pgveil") as conn:
        with pytest.raises(psycopg.Error, match="JSON|arrays"):
            conn.execute(sql)


@pytest.mark.parametrize("is_extended", [False, True])
@pytest.mark.parametrize("size", [1024 * 1024 + 1, 2 * 1024 * 1024])
def test_a_statement_above_the_limit_is_known_by_its_hash(house, size, is_extended):
    text = "SELECT count(*) FROM query_log /* %d %s" % (is_extended, "x" * size)
    text = text[:size - 2] + "*/"
    conn = house.wire("aud", "pgveil")
    conn.send(*([w.parse(text), w.SYNC] if is_extended else [w.query(text)]))
    got = conn.until("Z")
    assert w.errors(got) == ["54000"] and len(got) == 2
    row = house.last_log("room = 'pgveil' AND query IS NULL AND reason LIKE ?",
                         ("%%; %d bytes, sha256 %s" % (size, hashlib.sha256(text.encode()).hexdigest()),))
    assert (row["decision"], row["sqlstate"], row["protocol"]) == (
        "denied", "54000", "extended" if is_extended else "simple")
    # The session goes on, with all statements of a message.
    assert w.rows(conn.ask(w.query("SELECT 1; SELECT 2"))) == [("1",), ("2",)]
