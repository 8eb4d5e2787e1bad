"""INTERFACE 1, provision: what it makes, that a second run changes nothing, that --drop leaves nothing."""
import pytest

from tests.lib import data

OBJECTS = """
SELECT 'role', rolname::text FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' OR rolname LIKE 'pgveil%'
UNION ALL SELECT 'schema', nspname::text FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_t%'
UNION ALL SELECT 'relation', oid::regclass::text FROM pg_class WHERE relnamespace::regnamespace::text NOT LIKE 'pg\\_t%'
UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc WHERE oid >= 16384
UNION ALL SELECT 'acl', relname || relacl::text FROM pg_class WHERE relacl IS NOT NULL
UNION ALL SELECT 'nspacl', nspname || nspacl::text FROM pg_namespace WHERE nspacl IS NOT NULL
ORDER BY 1, 2
"""


@pytest.fixture
def installed(own_veil, cluster):
    before = cluster.rows(OBJECTS)
    veil = own_veil()
    yield veil, before
    veil.provision("--drop")


def views_of(cluster, before):
    return sorted(set(cluster.rows(OBJECTS)) - set(before))


def test_plan_changes_nothing(installed, cluster):
    veil, before = installed
    plan = veil.provision("--plan")
    assert "CREATE" in plan and "security_barrier" in plan
    assert cluster.rows(OBJECTS) == before


def test_second_run_changes_nothing(installed, cluster):
    veil, before = installed
    veil.provision()
    first = cluster.rows(OBJECTS)
    assert first != before
    mark = cluster.log_size()
    veil.provision()
    assert cluster.rows(OBJECTS) == first
    ran = [line for line in cluster.log(mark).splitlines() if "user=pgveil " in line and "statement:" in line]
    words = ("CREATE ", "ALTER ", "DROP ", "GRANT ", "REVOKE ")
    assert not [line for line in ran if line.split("statement:", 1)[1].strip().upper().startswith(words)]


def test_drop_removes_all_and_nothing_else(installed, cluster):
    veil, before = installed
    veil.provision()
    assert cluster.rows(OBJECTS) != before
    veil.provision("--drop")
    assert cluster.rows(OBJECTS) == before
    veil.provision("--drop")
    assert cluster.rows(OBJECTS) == before


def test_room_option(own_veil, cluster):
    veil = own_veil(rooms=[data.small_room("one_of_two"), data.small_room("two_of_two")])
    before = cluster.rows(OBJECTS)
    veil.provision("--room", "one_of_two")
    made = str(views_of(cluster, before))
    assert "one_of_two" in made and "two_of_two" not in made
    assert veil.run("provision", "--room", "no_such_room").returncode != 0
    veil.provision("--room", "one_of_two", "--drop")
    assert cluster.rows(OBJECTS) == before


def test_views_are_security_barriers_over_listed_columns_only(installed, cluster):
    veil, before = installed
    veil.provision()
    names = [name for kind, name in views_of(cluster, before) if kind == "relation"]
    with cluster.connect() as conn:
        found = 0
        for name in names:
            kind, options, definition = conn.execute(
                "SELECT relkind, reloptions::text, pg_get_viewdef(oid) FROM pg_class WHERE oid = %s::regclass", (name,)).fetchone()
            if kind == "v" and ("zoo.cells" in (definition or "") or "zoo.others" in (definition or "")):
                assert "security_barrier=true" in (options or ""), name
                columns = [c for c, in conn.execute("SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass "
                                                    "AND attnum > 0", (name,))]
                assert set(columns) in ({"id", "grp", "h_text", "b_int"}, {"id", "label", "ref"}), columns
                found += 1
    assert found == 2


def test_a_changed_room_is_updated(installed, cluster):
    veil, before = installed
    veil.provision()
    room = data.small_room(veil.room)
    room["datasets"]["public.cells"]["columns"] = {"id": {"category": 1}, "grp": {"category": 1}, "mail": {"category": 3, "mask": "email_domain"}}
    room["questions"] = {"mails": {"type": "list", "sql": "SELECT id, mail FROM public.cells ORDER BY id"}}
    veil.write_room(room)
    assert veil.provision("--plan").strip()
    veil.provision()
    veil.start()
    with veil.connect("alice", veil.room) as conn:
        assert conn.execute("SELECT id, mail FROM cells ORDER BY id").fetchone()[1].startswith("***@")
    assert veil.stop() == 0


def test_a_column_added_to_the_source_stays_hidden(installed, cluster):
    veil, before = installed
    veil.provision()
    cluster.psql("ALTER TABLE zoo.others ADD fresh text DEFAULT '%s'" % data.CANARY)
    try:
        veil.provision()
        veil.start()
        import psycopg
        with veil.connect("alice", veil.room) as conn:
            assert len(conn.execute("SELECT * FROM questions.labels").description) == 2
            with pytest.raises(psycopg.Error) as caught:
                conn.execute("SELECT fresh FROM others")
            assert caught.value.diag.sqlstate == "42703"
        assert veil.stop() == 0
    finally:
        cluster.psql("ALTER TABLE zoo.others DROP fresh")


def test_missing_source_is_said_and_nothing_is_left(own_veil, cluster):
    before = cluster.rows(OBJECTS)
    room = data.small_room("missing_source")
    room["datasets"]["public.cells"]["source"] = "zoo.no_such_table"
    veil = own_veil(rooms=[room])
    done = veil.run("provision")
    assert done.returncode == 2 and "zoo.no_such_table" in done.stderr
    assert cluster.rows(OBJECTS) == before


def test_no_database_exits_2(own_veil):
    veil = own_veil(config={"upstreams": {"main": {"host": "127.0.0.1", "port": 1, "dbname": "d", "user": "u", "sslmode": "disable"}}})
    done = veil.run("provision")
    assert done.returncode == 2 and done.stderr.strip()


def test_secrets_are_not_in_the_plan(installed):
    veil, _ = installed
    veil.provision()
    plan = veil.provision("--plan")
    assert data.UPSTREAM_PASSWORD not in plan


def test_names_that_need_quoting(own_veil, cluster):
    cluster.psql('CREATE SCHEMA "Odd ""Schema"; CREATE TABLE "Odd ""Schema"."Sel;ect" ("Key" int, "a b" text, "c""d" text);'
                 'INSERT INTO "Odd ""Schema"."Sel;ect" VALUES (1, \'x\', \'y\');'
                 'GRANT USAGE ON SCHEMA "Odd ""Schema" TO pgveil WITH GRANT OPTION;'
                 'GRANT SELECT ON "Odd ""Schema"."Sel;ect" TO pgveil WITH GRANT OPTION')
    room = data.small_room("odd_names")
    room["datasets"] = {'Odd "Schema.Sel;ect': {"owner": "acme", "columns": {
        "Key": {"category": 1}, "a b": {"category": 1}, 'c"d': {"category": 3}}}}
    room["questions"] = {"odd": {"type": "list", "sql": 'SELECT "Key", "a b", "c""d" FROM "Odd ""Schema"."Sel;ect"'}}
    veil = own_veil(rooms=[room])
    try:
        veil.provision()
        veil.start()
        with veil.connect("alice", "odd_names") as conn:
            assert conn.execute(room["questions"]["odd"]["sql"]).fetchall()[0][:2] == (1, "x")
        assert veil.stop() == 0
        veil.provision("--drop")
    finally:
        cluster.psql('DROP SCHEMA "Odd ""Schema" CASCADE')
