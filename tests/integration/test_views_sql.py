"""
The room inside the database, with every check of the proxy out of the way: a psql session as the room's login role. Masks at
their edges against values computed here, row filters under right, wrong and missing identities, what the role cannot do,
what the catalogs tell.
"""
import datetime
import hashlib
import hmac
import json
import struct
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

import psycopg
import pytest

from tests.lib import data

ROOM = "sql_views"
ZONE = "America/New_York"
CATALOG = '"pgveil_sql_views$$catalog"'
PRIVATE = '"pgveil_sql_views$$private"'
KEY = bytes.fromhex(data.SECRET_HEX)

SOURCE = """
CREATE SCHEMA vault;
CREATE TYPE vault.state AS ENUM ('open', 'shut', 'öffen');
CREATE DOMAIN vault.mail AS varchar(60) CHECK (VALUE LIKE '%@%');
CREATE TABLE vault.cells (
    id integer, country text, amount numeric(6, 2), born date, state vault.state,
    i2 smallint, i4 integer, i8 bigint, num numeric(10, 2), f8 double precision, txt text, fixed character(8),
    mail vault.mail, yes boolean, at timestamptz, day date, stamp timestamp, u uuid, raw bytea, addr inet, clock time);
INSERT INTO vault.cells VALUES
 (1, 'US', 10, '2000-02-29', 'open', -32768, -2147483648, -9223372036854775808, -99999999.99, '-Infinity', '', 'ab', 'a@b@x.org',
  true, '2024-03-10 06:59:59+00', '5874897-12-31', '294276-12-31 23:59:59', '00000000-0000-0000-0000-000000000000', '', '::1', '23:59:59.5'),
 (2, 'CA', 20, '1999-12-31', 'shut', 32767, 2147483647, 9223372036854775807, 99999999.99, 'NaN', 'äöü', 'abcdefgh', 'jörg@exämple.com',
  false, '2024-11-03 05:30:00+00', 'infinity', '-infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\\x00ff', '10.0.0.0/8', '00:00'),
 (3, 'DE', 30, NULL, 'öffen', -1, -1, -1, -0.01, 1e308, 'a😀b', NULL, 'x@y', NULL, '2024-01-01 04:59:59.999+00', '-infinity',
  '4713-01-01 00:00:00 BC', NULL, NULL, NULL, NULL),
 (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (5, 'US', 50, '2010-01-01', 'open', 7, 7, 7, 7, -2.5, 'no at sign', 'a', 'q@example.com', true, '1950-06-01 12:00+00',
  '2024-02-29', '2024-02-29 13:14:15', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x41', '192.168.0.1', '12:34');
CREATE TABLE vault.hidden (x text);
INSERT INTO vault.hidden VALUES ('{c}');
GRANT USAGE ON SCHEMA vault TO pgveil WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA vault TO pgveil WITH GRANT OPTION;
"""


def masked(mask):
    return {"category": 3, "mask": mask}


# data set name, its columns, its filter
DATASETS = {
    "hashes": ({c: masked("hash") for c in ("i2", "i4", "i8", "num", "f8", "txt", "fixed", "mail", "yes", "at", "day", "u",
                                            "raw", "addr", "clock", "state")}, None),
    "buckets": ({c: masked({"bucket": 10}) for c in ("i2", "i4", "i8", "num", "f8")}, None),
    "rounds": ({c: masked({"round": -1}) for c in ("i2", "i4", "i8", "num", "f8")}, None),
    "dates": ({c: masked({"truncate_date": "month"}) for c in ("at", "day", "stamp")}, None),
    "days": ({"at": masked({"truncate_date": "day"})}, None),
    "texts": ({"txt": masked({"prefix": 2}), "fixed": masked({"suffix": 2}), "mail": masked("email_domain")}, None),
    "nulls": ({"num": masked("null"), "state": masked({"constant": "shut"}), "day": masked({"constant": "2020-01-02"}),
               "mail": masked({"constant": "c@d"})}, None),
    "by_country": ({}, "country = ANY (:countries)"),
    "by_tier": ({}, "amount >= :least"),
    "by_day": ({}, "born >= :since"),
    "by_state": ({}, "state = :state"),
    "negated": ({}, "NOT coalesce(country = :country, false)"),
    "unless": ({}, "country <> ALL (:countries)"),
    "literal": ({}, "country = '$1 :countries' OR country = 'US'"),
}


def room():
    datasets = {}
    for name, (columns, row_filter) in DATASETS.items():
        entry = {"owner": "acme", "source": "vault.cells", "columns": {"id": {"category": 1}, **columns}}
        if row_filter:
            entry["row_filter"] = row_filter
        datasets["public." + name] = entry
    return {"room": ROOM, "upstream": "main", "timezone": ZONE, "secret_file": "../secret/retail_media",
            "parties": {"acme": {"public_key": "keys/acme.pem"}},
            "members": {"alice": {"party": "acme", "roles": ["analyst"]}}, "datasets": datasets,
            "questions": {"ids": {"type": "list", "title": "All ids", "sql": "SELECT id, txt FROM public.texts"},
                          "some": {"type": "list", "sql": "SELECT id, num AS n FROM public.buckets WHERE id > :low AND id < :high",
                                   "parameters": {"low": {"type": "integer", "default": 0}, "high": {"type": "bigint"}}}}}


@pytest.fixture(scope="module")
def installed(cluster):
    from tests.integration.conftest import make_veil
    cluster.psql(SOURCE.replace("{c}", data.CANARY))
    veil = make_veil(cluster, [room()])
    veil.provision()
    yield veil
    veil.provision("--drop")
    veil.close()
    cluster.psql("DROP SCHEMA vault CASCADE")


@pytest.fixture
def login(installed, cluster):
    with cluster.connect(user="pgveil_sql_views$login") as conn:
        yield conn


@pytest.fixture(scope="module", params=["built-in", "pgcrypto"])
def views(request, installed, cluster):
    """Rows by id of each view, under hostile settings; with each of the two ways to an HMAC."""
    if request.param == "pgcrypto":
        cluster.psql("CREATE SCHEMA crypt; CREATE EXTENSION pgcrypto SCHEMA crypt; GRANT USAGE ON SCHEMA crypt TO PUBLIC")
        assert "hmac(" in installed.provision("--plan")
        installed.provision()
        assert "no changes" in installed.provision()
    rows = {}
    with cluster.connect(user="pgveil_sql_views$login") as conn:
        conn.execute("SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SET bytea_output = 'escape'; "
                     "SET extra_float_digits = -15; SET IntervalStyle = 'sql_standard'")
        for name, (columns, _) in DATASETS.items():
            if columns:
                texts = ", ".join("%s::text" % c if c in ("at", "day", "stamp", "f8") and name != "hashes" else c for c in columns)
                conn.execute("SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; SET extra_float_digits = 1"
                             if name in ("dates", "days", "nulls", "buckets", "rounds") else "SELECT 1")
                rows[name] = {row[0]: dict(zip(columns, row[1:])) for row in
                              conn.execute("SELECT id, %s FROM public_view.%s" .replace("public_view", '"pgveil_sql_views$public"')
                                           % (texts, name)).fetchall()}
    yield rows
    if request.param == "pgcrypto":
        installed.provision("--drop")
        cluster.psql("DROP SCHEMA crypt CASCADE")
        installed.provision()


def mac(value):
    return hmac.new(KEY, value, hashlib.sha256).digest()


def as_bigint(value):
    return struct.unpack(">q", mac(struct.pack(">q", value))[:8])[0]


def test_hashes(views):
    rows = views["hashes"]
    assert [rows[n]["i4"] for n in (1, 2, 3, 5)] == [as_bigint(v) for v in (-2**31, 2**31 - 1, -1, 7)]
    assert rows[5]["i2"] == rows[5]["i4"] == rows[5]["i8"] == as_bigint(7)
    assert rows[1]["i8"] == as_bigint(-2**63)
    assert [rows[n]["txt"] for n in (1, 2, 3)] == [mac(v.encode()).hex() for v in ("", "äöü", "a😀b")]
    assert rows[1]["fixed"] == mac(b"ab").hex()
    assert rows[2]["mail"] == mac("jörg@exämple.com".encode()).hex()
    assert rows[3]["state"] == mac("öffen".encode()).hex()
    assert rows[2]["raw"] == mac(b"\x00\xff").hex() and rows[1]["raw"] == mac(b"").hex()
    for number, text in ((1, "0" * 32), (2, "f" * 32), (5, "a0eebc999c0b4ef8bb6d6bb9bd380a11")):
        assert rows[number]["u"] == uuid.UUID(bytes=mac(bytes.fromhex(text))[:16])
    assert rows[1]["yes"] == mac(b"\x01").hex() and rows[2]["yes"] == mac(b"\x00").hex()
    assert rows[5]["day"] == mac(struct.pack(">i", (datetime.date(2024, 2, 29) - datetime.date(2000, 1, 1)).days)).hex()
    instant = datetime.datetime(2024, 3, 10, 6, 59, 59) - datetime.datetime(2000, 1, 1)
    assert rows[1]["at"] == mac(struct.pack(">q", instant // datetime.timedelta(microseconds=1))).hex()
    assert rows[5]["f8"] == mac(struct.pack(">d", -2.5)).hex()
    assert rows[5]["num"] == mac(struct.pack(">hhHhH", 1, 0, 0, 0, 7)[:8] + struct.pack(">h", 7)).hex()
    assert all(value is None for value in rows[4].values())


def test_buckets_and_rounds_stay_inside_the_type(views):
    rows = views["buckets"]
    assert [rows[n]["i2"] for n in (1, 2, 3, 4, 5)] == [-32768, 32760, -10, None, 0]
    assert [rows[n]["i4"] for n in (1, 2, 3)] == [-2147483648, 2147483640, -10]
    assert [rows[n]["i8"] for n in (1, 2, 3)] == [-9223372036854775808, 9223372036854775800, -10]
    assert [rows[n]["num"] for n in (1, 2, 3, 5)] == [Decimal(-100000000), Decimal(99999990), Decimal(-10), Decimal(0)]
    assert [rows[n]["f8"] for n in (1, 2, 3, 4, 5)] == ["NaN", "NaN", "NaN", None, "-10"]
    rows = views["rounds"]
    assert [rows[n]["i2"] for n in (1, 2, 3, 4, 5)] == [-32768, 32767, 0, None, 10]
    assert [rows[n]["i8"] for n in (1, 2)] == [-9223372036854775808, 9223372036854775807]
    assert [rows[n]["num"] for n in (1, 2, 3, 4)] == [Decimal(-100000000), Decimal(100000000), 0, None]
    assert rows[5]["f8"] in ("0", "-0") and rows[4]["f8"] is None


def test_dates(views):
    rows, zone = views["dates"], ZoneInfo(ZONE)
    for number, text in ((1, "2024-03-10 06:59:59"), (2, "2024-11-03 05:30:00"), (3, "2024-01-01 04:59:59.999"), (5, "1950-06-01 12:00:00")):
        at = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).astimezone(zone)
        month = datetime.datetime(at.year, at.month, 1, tzinfo=zone).astimezone(datetime.timezone.utc)
        day = datetime.datetime(at.year, at.month, at.day, tzinfo=zone).astimezone(datetime.timezone.utc)
        assert rows[number]["at"] == month.strftime("%Y-%m-%d %H:%M:%S+00")
        assert views["days"][number]["at"] == day.strftime("%Y-%m-%d %H:%M:%S+00")
    assert [rows[n]["day"] for n in (1, 2, 3, 4, 5)] == [None, "infinity", "-infinity", None, "2024-02-01"]
    assert [rows[n]["stamp"] for n in (1, 2, 3, 5)] == [None, "-infinity", None, "2024-02-01 00:00:00"]


def test_texts(views):
    rows = views["texts"]
    assert [rows[n]["txt"] for n in (1, 2, 3, 4, 5)] == ["", "äö*", "a😀*", None, "no" + "*" * 8]
    assert [rows[n]["fixed"].rstrip() for n in (1, 2, 5)] == ["**", "******gh", "*"]
    assert [rows[n]["mail"] for n in (1, 2, 3, 4)] == ["***@x.org", "***@exämple.com", "***@y", None]


def test_constants_and_nulls(views):
    for row in views["nulls"].values():
        assert row == {"num": None, "state": "shut", "day": "2020-01-02", "mail": "c@d"}


# ---- identity and row filters


def claims(conn, cluster, attributes, key=None, pid=None, text=None):
    key = key or cluster.rows("SELECT key FROM %s.secret WHERE name = 'identity'" % PRIVATE)[0][0]
    text = text if text is not None else json.dumps({"u": "alice", "a": attributes})
    signed = "%d:%s" % (pid or conn.info.backend_pid, text)
    conn.execute("SELECT set_config('pgveil.identity', %s, false), set_config('pgveil.identity_mac', %s, false)",
                 (text, hmac.new(bytes(key), signed.encode(), hashlib.sha256).hexdigest()))


def ids(conn, name):
    return [n for n, in conn.execute('SELECT id FROM "pgveil_sql_views$public".%s ORDER BY id' % name)]


@pytest.mark.parametrize("name, attributes, want", [
    ("by_country", {"countries": ["US", "CA"]}, [1, 2, 5]),
    ("by_country", {"countries": ["O'X", "DE"]}, [3]),
    ("by_country", {"countries": []}, []),
    ("by_country", {"countries": "US"}, []),
    ("by_country", {"others": ["US"]}, []),
    ("by_country", {}, []),
    ("by_tier", {"least": "20"}, [2, 3, 5]),
    ("by_tier", {"least": "2e1"}, [2, 3, 5]),
    ("by_tier", {"least": "many"}, []),
    ("by_tier", {"least": ["20"]}, []),
    ("by_tier", {}, []),
    ("by_day", {"since": "2000-01-01"}, [1, 5]),
    ("by_day", {"since": "2000-02-30"}, []),
    ("by_day", {"since": "now"}, []),
    ("by_state", {"state": "open"}, [1, 5]),
    ("by_state", {"state": "ajar"}, []),
    ("negated", {"country": "US"}, [2, 3, 4]),
    ("negated", {}, []),
    ("negated", {"country": ["US"]}, []),
    ("unless", {"countries": ["US"]}, [2, 3]),
    ("unless", {}, []),
    ("literal", {}, [1, 5]),
])
def test_row_filters(login, cluster, name, attributes, want):
    claims(login, cluster, attributes)
    assert ids(login, name) == want


def test_only_a_right_identity_opens_rows(login, cluster):
    good = {"countries": ["US"]}
    assert ids(login, "by_country") == []
    claims(login, cluster, good, key=b"\0" * 32)
    assert ids(login, "by_country") == []
    claims(login, cluster, good, pid=login.info.backend_pid + 1)
    assert ids(login, "by_country") == []
    claims(login, cluster, good, text="{")
    with pytest.raises(psycopg.Error):
        ids(login, "by_country")
    claims(login, cluster, good)
    assert ids(login, "by_country") == [1, 5]
    login.execute("SELECT set_config('pgveil.identity', %s, false)", (json.dumps({"u": "alice", "a": {"countries": ["DE"]}}),))
    assert ids(login, "by_country") == []
    claims(login, cluster, good)
    login.execute("RESET ALL")
    assert ids(login, "by_country") == []


def test_leaky_predicates_see_no_filtered_row(login, cluster):
    claims(login, cluster, {"countries": ["CA"]})
    # Rows 1, 3 and 5 would fail the division; only row 2 may come before it.
    assert login.execute('SELECT id FROM "pgveil_sql_views$public".by_country WHERE 1 / (CASE WHEN id = 2 THEN 1 ELSE 0 END) = 1').fetchall() == [(2,)]


# ---- the second lock


@pytest.mark.parametrize("sql", [
    "SELECT * FROM vault.cells", "SELECT * FROM vault.hidden", "SELECT * FROM %s.secret" % PRIVATE,
    "SELECT * FROM %s.identity" % PRIVATE, 'SET ROLE "pgveil_sql_views$owner"', "SET ROLE pgveil", "SET ROLE postgres",
    "CREATE TABLE public.t (x int)", 'CREATE TABLE "pgveil_sql_views$public".t (x int)', "CREATE TEMP TABLE t (x int)",
    "CREATE SCHEMA s", "CREATE ROLE r", "CREATE FUNCTION %s.f() RETURNS int LANGUAGE sql RETURN 1" % CATALOG,
    'UPDATE "pgveil_sql_views$public".texts SET id = 1', 'DELETE FROM "pgveil_sql_views$public".texts',
    'INSERT INTO "pgveil_sql_views$public".texts (id) VALUES (9)', "SELECT * FROM pg_authid", "COPY (SELECT 1) TO PROGRAM 'true'",
    'DROP VIEW "pgveil_sql_views$public".texts', 'CREATE OR REPLACE VIEW "pgveil_sql_views$public".texts AS SELECT 1 AS id',
    'ALTER ROLE "pgveil_sql_views$login" SUPERUSER',
])
def test_the_login_role_cannot(login, sql):
    login.execute("SET default_transaction_read_only = off")
    with pytest.raises(psycopg.Error) as caught:
        login.execute(sql)
    assert caught.value.diag.sqlstate in ("42501", "55000", "0A000"), caught.value


def test_the_login_role_can_grant_nothing(login, cluster):
    # PostgreSQL answers with a warning alone.
    login.execute("SET default_transaction_read_only = off")
    login.execute('GRANT SELECT ON "pgveil_sql_views$public".texts TO PUBLIC')
    assert cluster.rows("SELECT has_table_privilege('public', '\"pgveil_sql_views$public\".texts', 'SELECT')") == [(False,)]


def test_roles_are_as_promised(installed, cluster):
    rows = cluster.rows("SELECT rolname, rolcanlogin, rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls OR rolreplication OR rolinherit "
                        "FROM pg_roles WHERE rolname LIKE 'pgveil\\_sql\\_views$%' ORDER BY 1")
    assert rows == [("pgveil_sql_views$login", True, False), ("pgveil_sql_views$owner", False, False)]
    assert cluster.rows("SELECT count(*) FROM pg_auth_members m WHERE 'pgveil_sql_views$owner'::regrole IN (m.roleid, m.member) OR "
                        "'pgveil_sql_views$login'::regrole IN (m.roleid, m.member)") == [(0,)]
    assert cluster.rows("SELECT count(*) FROM pg_shdepend d WHERE d.refobjid = '\"pgveil_sql_views$login\"'::regrole AND d.deptype = 'o'") == [(0,)]
    held = cluster.rows("SELECT attname::text FROM pg_attribute WHERE attrelid = 'vault.hidden'::regclass AND attnum > 0 AND "
                        "has_column_privilege('pgveil_sql_views$owner', attrelid, attnum, 'SELECT')")
    assert held == []


def test_helpers(login):
    notices = []
    login.add_notice_handler(lambda diag: notices.append((diag.severity, diag.sqlstate)))
    login.execute("SET client_min_messages = error")
    assert login.execute("SELECT %s.pgveil_suppressed()" % CATALOG).fetchone() == (False,)
    assert notices == [("INFO", "PV001")]
    with pytest.raises(psycopg.Error) as caught:
        login.execute("SELECT %s.pgveil_row_guard(10)" % CATALOG)
    assert caught.value.diag.sqlstate == "54000"


# ---- catalogs


def test_catalogs_show_the_room_and_nothing_else(login, cluster):
    claims(login, cluster, {})
    q = lambda sql: login.execute(sql.replace("@", CATALOG)).fetchall()
    assert [n for n, in q("SELECT nspname FROM @.pg_namespace ORDER BY 1")] == ["information_schema", "pg_catalog", "public", "questions"]
    shown = q("SELECT n.nspname || '.' || c.relname, c.relkind::text, @.pg_get_userbyid(c.relowner)::text FROM @.pg_class c "
              "JOIN @.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid >= 16384 ORDER BY 1")
    assert shown == sorted([("public." + n, "r", "alice") for n in DATASETS] + [("questions.ids", "v", "alice")])
    assert q("SELECT rolname::text FROM @.pg_roles") == q("SELECT usename::text FROM @.pg_user") == [("alice",)]
    assert q("SELECT datname::text FROM @.pg_database") == [(ROOM,)]
    assert q("SELECT DISTINCT table_catalog::text FROM @.is_tables") == [(ROOM,)]
    assert q("SELECT table_name::text FROM @.is_tables WHERE table_schema = 'questions'") == [("ids",)]
    assert q("SELECT column_name::text, data_type::text FROM @.is_columns WHERE table_name = 'dates' ORDER BY ordinal_position") == [
        ("id", "integer"), ("at", "timestamp with time zone"), ("day", "date"), ("stamp", "timestamp without time zone")]
    assert q("SELECT e.enumlabel::text FROM @.pg_enum e JOIN @.pg_type t ON t.oid = e.enumtypid WHERE t.typname = 'state' ORDER BY 1") == [
        ("open",), ("shut",), ("öffen",)]
    assert q("SELECT count(*) FROM @.pg_stat_activity WHERE datname = 'sql_views' AND query = ''") == [(1,)]
    assert q("SELECT @.obj_description(@.to_regclass('questions.ids', '{public}'), 'pg_class'), @.to_regclass('vault.cells', '{public}')::text") == [("All ids", None)]
    assert q("SELECT @.pg_get_function_arguments(oid), @.pg_get_function_result(oid) FROM @.pg_proc WHERE oid >= 16384") == [
        ("high bigint, low integer DEFAULT 0", "TABLE(id integer, n numeric)")]
    assert q('SELECT count(*) FROM "pgveil_sql_views$questions".ids') == [(0,)]
    assert q('SELECT count(*) FROM "pgveil_sql_views$questions".some(high => 5)') == [(0,)]


def test_no_catalog_tells_of_the_database_behind(login, cluster):
    claims(login, cluster, {})
    views = [name for name, in login.execute("SELECT c.relname FROM pg_class c WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'v' "
                                             "AND c.relname NOT LIKE 'pgveil\\_%%'", (CATALOG,))]
    assert len(views) > 150
    for name in views:
        text = "\n".join(row for row, in login.execute('SELECT v::text FROM %s."%s" AS v' % (CATALOG, name)))
        for word in ("warehouse", "vault", "crm", "zoo", "pgveil", "ledger", data.CANARY):
            assert word not in text, (name, word, [line for line in text.splitlines() if word in line][:2])


# ---- provisioning


def test_again_changes_nothing_and_tampering_is_undone(installed, cluster):
    assert "no changes" in installed.provision()
    cluster.psql('GRANT SELECT ON "pgveil_sql_views$public".texts TO PUBLIC')
    assert "no changes" not in installed.provision("--plan")
    installed.provision()
    assert cluster.rows("SELECT has_table_privilege('public', '\"pgveil_sql_views$public\".texts', 'SELECT')") == [(False,)]
    assert "no changes" in installed.provision()


def test_a_foreign_object_stops_the_drop(installed, cluster):
    cluster.psql('CREATE VIEW "pgveil_sql_views$public".mine AS SELECT 1 AS x')
    try:
        done = installed.run("provision", "--drop")
        assert done.returncode == 2 and "mine" in done.stderr
        assert "no changes" in installed.provision()
    finally:
        cluster.psql('DROP VIEW "pgveil_sql_views$public".mine')


def test_an_elevated_login_role_is_refused(installed, cluster):
    cluster.psql('GRANT pg_read_all_data TO "pgveil_sql_views$login"')
    try:
        done = installed.run("provision")
        assert done.returncode == 2 and "memberships" in done.stderr
    finally:
        cluster.psql('REVOKE pg_read_all_data FROM "pgveil_sql_views$login"')


@pytest.mark.parametrize("change, words", [
    (lambda r: r["datasets"]["public.texts"].update(source="vault.nowhere"), "vault.nowhere does not exist"),
    (lambda r: r["datasets"]["public.texts"]["columns"].update(no_such={"category": 1}), 'no column "no_such"'),
    (lambda r: r["datasets"]["public.texts"]["columns"].update(yes=masked({"prefix": 1})), 'mask prefix does not fit column "yes" of type boolean'),
    (lambda r: r["datasets"]["public.by_tier"].update(row_filter="nothing = :least"), 'no column "nothing"'),
    (lambda r: r["datasets"]["public.by_tier"].update(row_filter="addr = :least"), "attribute :least"),
    (lambda r: r.update(timezone="Mars/Olympus"), "timezone"),
])
def test_faults_are_named_and_change_nothing(installed, cluster, change, words):
    changed = room()
    change(changed)
    installed.write_room(changed)
    try:
        done = installed.run("provision")
        assert done.returncode == 2 and words in done.stderr, done.stderr
    finally:
        installed.write_room(room())
    assert "no changes" in installed.provision()


def test_missing_grant_option_names_the_relation(installed, cluster):
    cluster.psql("CREATE TABLE vault.ungranted (id int)")
    changed = room()
    changed["datasets"]["public.texts"]["source"] = "vault.ungranted"
    changed["datasets"]["public.texts"]["columns"] = {"id": {"category": 1}}
    del changed["questions"]["ids"]
    installed.write_room(changed)
    try:
        done = installed.run("provision")
        assert done.returncode == 2 and "SELECT WITH GRANT OPTION on vault.ungranted" in done.stderr
    finally:
        installed.write_room(room())


def test_a_dropped_column_loses_its_grant(installed, cluster):
    changed = room()
    for entry in changed["datasets"].values():
        entry["columns"].pop("addr", None)
    held = "SELECT has_column_privilege('pgveil_sql_views$owner', 'vault.cells', 'addr', 'SELECT')"
    assert cluster.rows(held) == [(True,)]
    installed.write_room(changed)
    try:
        installed.provision()
        assert cluster.rows(held) == [(False,)]
    finally:
        installed.write_room(room())
        installed.provision()
    assert cluster.rows(held) == [(True,)]


def test_a_new_secret_gives_new_pseudonyms(installed, cluster):
    from tests.lib.pgveil import write_private
    sql = 'SELECT txt FROM "pgveil_sql_views$public".hashes WHERE id = 2'
    with cluster.connect(user="pgveil_sql_views$login") as conn:
        before = conn.execute(sql).fetchone()
        write_private(installed.path("secret", "retail_media"), "ab" * 32 + "\n")
        try:
            plan = installed.provision("--plan")
            assert "'\\x***'" in plan and "abab" not in plan
            installed.provision()
            assert conn.execute(sql).fetchone()[0] == hmac.new(b"\xab" * 32, "äöü".encode(), hashlib.sha256).hexdigest()
        finally:
            write_private(installed.path("secret", "retail_media"), data.SECRET_HEX + "\n")
            installed.provision()
        assert conn.execute(sql).fetchone() == before


def test_it_stands_in_the_event_log(installed):
    rows = installed.event_rows("event = 'provision' AND room = ?", (ROOM,))
    assert rows and json.loads(rows[0]["detail"])["action"] == "provision"
