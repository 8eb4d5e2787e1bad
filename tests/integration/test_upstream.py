"""The second lock: logged in straight to the database as the login that carries a room's queries, past all of pgveil."""
import psycopg
import pytest

from tests.lib import data
from tests.lib.cluster import Cluster


@pytest.fixture(scope="module")
def logins(cluster, veil, request):
    """Names of the room logins: found in the server's log as those that ran a room's statements, and by their name."""
    with veil.connect("alice", "retail_media", veil.tap.port) as conn:
        conn.execute("SELECT * FROM questions.by_group")
    names = [n for n, in cluster.rows("SELECT rolname::text FROM pg_roles WHERE rolcanlogin AND rolname LIKE 'pgveil%' "
                                      "AND rolname <> 'pgveil' AND rolname LIKE '%retail_media%'")]
    assert names, "no login of the room was found"
    return names


@pytest.fixture
def straight(cluster, logins):
    opened = [cluster.connect(user=name) for name in logins]
    yield opened
    for conn in opened:
        conn.close()


def refused(conn, sql, states=("42501",)):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    assert caught.value.diag.sqlstate in states, (sql, caught.value.diag.sqlstate, caught.value.diag.message_primary)


@pytest.mark.parametrize("source", ["crm.customers", "crm.staff", "ads.impressions", "shop.purchases", "zoo.cells", "public.ledger"])
def test_cannot_read_a_source(straight, source):
    for conn in straight:
        refused(conn, "SELECT * FROM " + source)
        refused(conn, "SELECT count(*) FROM " + source)
        refused(conn, "COPY %s TO STDOUT" % source)


@pytest.mark.parametrize("sql", ["CREATE TABLE public.t (a int)", "CREATE TEMP TABLE t (a int)", "CREATE SCHEMA s", "CREATE ROLE r",
                                 "INSERT INTO crm.staff VALUES (1)", "UPDATE crm.customers SET region = 'x'", "DELETE FROM ads.impressions"])
def test_cannot_write_even_read_write(straight, sql):
    for conn in straight:
        conn.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        conn.execute("SET default_transaction_read_only = off")
        refused(conn, sql, ("42501", "25006", "0A000"))


def test_cannot_become_another(straight, cluster, logins):
    others = [n for n, in cluster.rows("SELECT rolname::text FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%'") if n not in logins]
    assert "postgres" in others and "pgveil" in others
    for conn, own in zip(straight, logins):
        for role in others:
            refused(conn, 'SET ROLE "%s"' % role)
            refused(conn, 'SET SESSION AUTHORIZATION "%s"' % role)
        assert conn.execute("SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles "
                            "WHERE rolname = current_user").fetchone() == (False,)


def test_owns_nothing(cluster, logins):
    for name in logins:
        assert cluster.rows("SELECT count(*) FROM pg_class WHERE relowner = %s::regrole", (name,)) == [(0,)]
        assert cluster.rows("SELECT count(*) FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid WHERE r.rolname = %s "
                            "AND d.deptype = 'o'", (name,)) == [(0,)]


def test_can_read_nothing_but_views_of_its_room(straight, cluster, logins):
    for name in logins:
        readable = cluster.rows(
            "SELECT n.nspname::text, c.relname::text, c.relkind::text, c.reloptions::text FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') "
            "AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND has_schema_privilege(%s, n.oid, 'USAGE') "
            "AND has_any_column_privilege(%s, c.oid, 'SELECT')", (name, name))
        assert readable
        for schema, relation, kind, _ in readable:
            assert kind == "v", (schema, relation)
            assert "other_room" not in schema + relation


def test_views_show_no_canary_to_it(straight, cluster, logins):
    for conn, name in zip(straight, logins):
        views = cluster.rows(
            "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema') "
            "AND has_schema_privilege(%s, n.oid, 'USAGE') AND has_table_privilege(%s, c.oid, 'SELECT')", (name, name))
        assert views
        shown = 0
        for view, in views:
            for row in conn.execute("SELECT * FROM %s" % view):
                shown += 1
                assert data.CANARY not in repr(row), view
        assert shown > 0


def test_a_leaky_predicate_sees_no_filtered_row(straight):
    # A cast that fails on any row's value would show it in the error; the filter has to come first.
    for conn in straight:
        names = [n for n, in conn.execute(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'country' WHERE c.relkind = 'v' "
            "AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')")]
        for name in names:
            rows = conn.execute("SELECT country FROM %s WHERE country::text >= '' AND 1 / (CASE WHEN country = 'GB' THEN 0 ELSE 1 END) = 1"
                                % name).fetchall()
            assert ("GB",) not in rows


@pytest.mark.parametrize("setting", ["countries", "attributes", "user", "alice"])
def test_attributes_cannot_be_set_by_hand(straight, cluster, setting):
    # Without the keyed code of the setting's value there are no rows, whatever a client sets.
    for conn in straight:
        for prefix in ("pgveil", "pv", "room", "retail_media"):
            conn.execute('SET %s."%s" = \'{US,CA,GB,DE}\'' % (prefix, setting))
        names = [n for n, in conn.execute(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'country' WHERE c.relkind = 'v' "
            "AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')")]
        assert names
        for name in names:
            assert conn.execute("SELECT count(*) FROM %s" % name).fetchone() == (0,)


def test_no_dangerous_function(straight):
    for conn in straight:
        for sql in ("SELECT pg_read_file('/etc/passwd')", "SELECT pg_ls_dir('/')", "SELECT pg_reload_conf()",
                    "SELECT lo_import('/etc/passwd')", "SELECT pg_stat_file('/etc/passwd')"):
            refused(conn, sql)


@pytest.mark.parametrize("sslmode, works", [("disable", True), ("require", True), ("verify-ca", True), ("verify-full", True)])
def test_sslmodes(own_veil, cluster, sslmode, works):
    veil = own_veil(sslmode=sslmode)
    veil.provision()
    veil.start()
    mark = cluster.log_size()
    with veil.connect("alice", veil.room) as conn:
        assert len(conn.execute("SELECT * FROM questions.labels").fetchall()) == 60
    log = [line for line in cluster.log(mark).splitlines() if "connection authorized" in line and "user=postgres" not in line]
    assert all(("SSL enabled" in line) == (sslmode != "disable") for line in log)
    assert veil.stop() == 0
    veil.provision("--drop")


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
def test_a_stranger_ca_is_refused(own_veil, tmp_path, sslmode):
    from tests.lib.certs import Authority
    veil = own_veil(sslmode=sslmode)
    veil.provision()
    veil.config["upstreams"]["main"]["sslrootcert"] = Authority(str(tmp_path), "stranger").cert
    veil.write_config()
    assert veil.run("provision").returncode == 2
    refused_login(veil)


def test_verify_full_wants_the_host_in_the_certificate(own_veil):
    veil = own_veil(sslmode="verify-full")
    veil.provision()
    veil.config["upstreams"]["main"]["host"] = "127.0.0.2"
    veil.write_config()
    assert veil.run("provision").returncode == 2


def refused_login(veil):
    """serve either says it cannot reach its database, or stays up and answers 08006; no row comes either way."""
    veil.start(wait=False)
    try:
        veil.wait_until_open()
    except RuntimeError:
        veil.process = None
        return
    with pytest.raises(psycopg.Error) as caught:
        with veil.connect("alice", veil.room) as conn:
            conn.execute("SELECT * FROM questions.labels")
    assert (caught.value.diag.sqlstate or "08006") == "08006"
    assert veil.stop() == 0


def test_warns_where_public_may_do_too_much(own_veil):
    own = Cluster()
    data.load(own)
    own.psql("GRANT TEMPORARY ON DATABASE warehouse TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC; "
             "GRANT USAGE ON SCHEMA zoo TO PUBLIC; GRANT SELECT ON zoo.others TO PUBLIC")
    from tests.integration.conftest import make_veil
    veil = make_veil(own, [data.small_room("warned")])
    try:
        done = veil.run("provision")
        assert done.returncode == 0
        said = done.stderr.lower()
        assert "temporary" in said and "public" in said and "zoo.others" in said
        veil.start()
        veil.wait_stderr("zoo.others")
        assert veil.stop() == 0
    finally:
        veil.close()
        own.stop()


def test_a_superuser_as_upstream_user_is_said(own_veil, cluster):
    from tests.lib.pgveil import write_private
    cluster.psql("CREATE ROLE too_mighty LOGIN SUPERUSER PASSWORD 'x'")
    veil = own_veil()
    try:
        veil.config["upstreams"]["main"]["user"] = "too_mighty"
        write_private(veil.path("secret/main"), "x\n")
        veil.write_config()
        done = veil.run("provision")
        assert done.returncode in (0, 2) and "superuser" in done.stderr
        if done.returncode == 0:
            veil.provision("--drop")
    finally:
        cluster.psql("DROP ROLE too_mighty")
