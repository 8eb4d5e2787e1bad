"""INTERFACE 4, logging in: who gets in, in what words the others are turned away, TLS and certificates."""
import ssl

import psycopg
import psycopg2
import pytest
import sqlalchemy

from tests.integration.conftest import ROOM
from tests.lib import wire as w
from tests.lib.certs import Authority
from tests.lib.pgveil import serving


def test_psycopg3_logs_in(conn):
    assert conn.execute("SELECT 1").fetchone() == (1,)
    assert conn.info.server_version // 10000 == 15
    assert conn.info.parameter_status("client_encoding") == "UTF8"
    assert conn.info.parameter_status("standard_conforming_strings") == "on"


def test_psycopg2_logs_in(veil):
    conn = psycopg2.connect(**veil.dsn("alice", ROOM, veil.tap.port))
    with conn.cursor() as cur:
        cur.execute("SELECT 1 AS one")
        assert cur.fetchall() == [(1,)] and cur.description[0].name == "one"
    conn.rollback()
    conn.close()


def test_sqlalchemy_logs_in(veil):
    dsn = veil.dsn("alice", ROOM, veil.tap.port)
    url = sqlalchemy.engine.URL.create("postgresql+psycopg2", dsn["user"], dsn["password"], dsn["host"], dsn["port"], ROOM,
                                       query={"sslmode": "disable"})
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as conn:
        assert conn.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("name", ["server_version", "client_encoding", "standard_conforming_strings", "DateStyle",
                                  "integer_datetimes", "TimeZone"])
def test_parameter_status_that_drivers_use(wire, name):
    assert wire().parameters.get(name)


def login_error(veil, user, password, database):
    conn = w.Wire("127.0.0.1", veil.tap.port)
    try:
        conn.send(w.startup_packet([("user", user), ("database", database)]))
        with pytest.raises(PermissionError) as caught:
            conn.authenticate(password)
            conn.until("Z")
            pytest.fail("it was let in")
        assert conn.at_end()
        return caught.value.args[0]
    finally:
        conn.sock.close()


def test_wrong_password(veil):
    error = login_error(veil, "alice", "wrong", ROOM)
    assert (error["V"], error["C"]) == ("FATAL", "28P01")
    assert error["M"] == 'password authentication failed for user "alice"'


def words(error):
    return {key: error.get(key) for key in "VCMDH"}


def test_unknown_user_sounds_like_a_wrong_password(veil):
    unknown = words(login_error(veil, "nobody", "wrong", ROOM))
    known = words(login_error(veil, "alice", "wrong", ROOM))
    assert unknown["M"].replace("nobody", "alice") == known["M"] and unknown["C"] == known["C"] == "28P01"


def test_no_member_and_no_room_sound_alike(veil):
    no_member = words(login_error(veil, "alice", veil.users["alice"]["password"], "other_room"))
    no_room = words(login_error(veil, "alice", veil.users["alice"]["password"], "no_such_room"))
    assert (no_member["V"], no_member["C"]) == ("FATAL", "3D000")
    assert no_member["M"].replace("other_room", "no_such_room") == no_room["M"]
    assert no_room["C"] == "3D000" and no_member["D"] == no_room["D"] and no_member["H"] == no_room["H"]


def test_wrong_password_says_nothing_of_rooms(veil):
    for room in ("other_room", "no_such_room", ROOM):
        assert login_error(veil, "alice", "wrong", room)["C"] == "28P01"


def test_database_password_of_the_upstream_login_does_not_serve(veil):
    from tests.lib.data import UPSTREAM_PASSWORD
    assert login_error(veil, "pgveil", UPSTREAM_PASSWORD, ROOM)["C"] == "28P01"


def test_password_is_normalised_as_sasl_wants(veil):
    # libpq applies SASLprep; ä decomposed is the same password as ä composed.
    dsn = veil.dsn("alice", ROOM, veil.tap.port)
    dsn["password"] = dsn["password"].replace("ä", "a\u0308")
    with psycopg.connect(**dsn) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_logins_and_failures_stand_in_the_event_log(veil, connect):
    connect()
    login_error(veil, "alice", "wrong", ROOM)
    login_error(veil, "alice", veil.users["alice"]["password"], "no_such_room")
    events = veil.event_rows()
    assert any(e["user"] == "alice" and e["room"] == ROOM and "login" in e["event"] for e in events)
    assert sum("fail" in e["event"] + (e["detail"] or "") for e in events) >= 2
    text = repr(events)
    assert veil.users["alice"]["password"] not in text


@pytest.fixture(scope="module")
def tls_veil(cluster):
    from tests.integration.conftest import make_veil
    from tests.lib import data
    veil = make_veil(cluster, [data.small_room("tls_room")], dict(
        data.USERS, alice={"password": "alice", "cert_cn": "alice@acme"},
        bi_service={"password": "bi", "cert_cn": "bi@megamart", "require": ["cert", "scram"]}))
    ca = Authority(veil.path("ca"))
    cert, key = ca.issue("server")
    veil.config["tls"] = {"cert": cert, "key": key, "client_ca": ca.cert, "require": True}
    veil.write_config()
    veil.ca = ca
    veil.clients = {name: ca.issue(name) for name in ("alice@acme", "bi@megamart", "stranger@acme")}
    with serving(veil):
        yield veil


def tls_dsn(veil, user, **more):
    dsn = veil.dsn(user, "tls_room")
    dsn.update(sslmode="verify-full", sslrootcert=veil.ca.cert, host="localhost", hostaddr="127.0.0.1", sslcert="/dev/null/none")
    dsn.update(more)
    return dsn


def test_tls_with_channel_binding(tls_veil):
    with psycopg.connect(**tls_dsn(tls_veil, "alice", channel_binding="require")) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_the_downgrade_flag_is_seen_where_channel_binding_was_offered(tls_veil):
    context = ssl.create_default_context(cafile=tls_veil.ca.cert)
    conn = w.Wire("127.0.0.1", tls_veil.port)
    conn.start_tls(context)
    conn.send(w.startup_packet([("user", "alice"), ("database", "tls_room")]))
    offered = conn.take().body[4:].split(b"\0")
    assert offered[:2] == [b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"]
    first = b"y,,n=,r=abcdefghijklmnop"
    conn.send(w.frame("p", w.z("SCRAM-SHA-256") + len(first).to_bytes(4, "big") + first))
    message = conn.take()
    conn.sock.close()
    assert message.tag == "E" and message.fields["V"] == "FATAL"


def test_tls_is_required(tls_veil):
    with pytest.raises(psycopg.OperationalError, match="(?i)ssl|tls"):
        psycopg.connect(**tls_veil.dsn("alice", "tls_room"))
    conn = w.Wire("127.0.0.1", tls_veil.port)
    conn.send(w.startup_packet([("user", "alice"), ("database", "tls_room")]))
    error = conn.take()
    conn.sock.close()
    assert error.tag == "E" and error.fields["C"] == "28000"


def test_client_certificate_serves_without_password(tls_veil):
    cert, key = tls_veil.clients["alice@acme"]
    with psycopg.connect(**tls_dsn(tls_veil, "alice", sslcert=cert, sslkey=key, password="")) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_another_persons_certificate_does_not_serve(tls_veil):
    cert, key = tls_veil.clients["stranger@acme"]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**tls_dsn(tls_veil, "alice", sslcert=cert, sslkey=key, password="wrong"))


def test_both_are_required_where_the_user_says_so(tls_veil):
    cert, key = tls_veil.clients["bi@megamart"]
    with psycopg.connect(**tls_dsn(tls_veil, "bi_service", sslcert=cert, sslkey=key)) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**tls_dsn(tls_veil, "bi_service"))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**tls_dsn(tls_veil, "bi_service", sslcert=cert, sslkey=key, password="wrong"))


def test_certificate_of_another_ca_does_not_serve(tls_veil, tmp_path):
    cert, key = Authority(str(tmp_path), "another CA").issue("alice@acme")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**tls_dsn(tls_veil, "alice", sslcert=cert, sslkey=key, password="wrong"))


def test_old_tls_versions_are_refused(tls_veil):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    conn = w.Wire("127.0.0.1", tls_veil.port)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        conn.start_tls(context)
    conn.sock.close()


# As at PostgreSQL: what stands in `options` is weaker than the packet's own parameters, wherever it stands, in any spelling.
@pytest.mark.parametrize("params", [(("options", "-c DateStyle=German,DMY"), ("datestyle", "SQL, MDY")),
                                    (("datestyle", "SQL, MDY"), ("options", "-c DateStyle=German,DMY"))])
def test_options_are_weaker_than_parameters(wire, params):
    assert w.rows(wire(params=params).ask(w.query("SHOW DateStyle"))) == [("SQL, MDY",)]
