"""
Identity carried through: logins by bearer token (as a password over TLS, by OAUTHBEARER), rooms by role, row filters by
what the token says, keys rotated by file; and services that ask for end users.
"""
import json
import os
import ssl
import struct
import subprocess
import time

import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib import data
from tests.lib import wire as w
from tests.lib.certs import Authority
from tests.lib.tokens import Issuer

ROOM, BEARER_ROOM, TRUST_ROOM = "token_room", "bearer_room", "trust_room"
ASK = "SELECT DISTINCT grp FROM questions.cells ORDER BY grp"


def room(name):
    one = data.small_room(name)
    one["members"] = {
        "tina": {"party": "acme", "roles": ["analyst"]},
        "role:analysts": {"party": "acme", "roles": ["analyst"]},
        "portal": {"party": "megamart", "roles": ["service"]},
        "alice": {"party": "acme", "roles": ["analyst"]},
        "bob": {"party": "acme", "roles": ["clerk"]},
    }
    one["trusted_services"] = ["portal"]
    one["datasets"]["public.cells"]["row_filter"] = "grp = ANY (:groups)"
    one["questions"] = {"cells": {"type": "list", "sql": "SELECT id, grp FROM public.cells ORDER BY id"},
                        "clerks": {"type": "list", "sql": "SELECT id FROM public.cells ORDER BY id",
                                   "members": ["role:clerk"]}}
    return one


USERS = {
    "portal": {"password": "portal"},
    "alice": {"password": "alice", "attributes": {"groups": ["g0"]}},
    "bob": {"password": "bob", "attributes": {"groups": ["g1"]}},
    "mallory": {"password": "mallory", "attributes": {"groups": ["g2"]}},
}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    made = Issuer(str(tmp_path_factory.mktemp("issuer")))
    return made.key("rsa", "RS256").key("ec", "ES256").key("ed", "EdDSA").key("next", "ES256")


def write_keys(veil, issuer, *kids):
    with open(veil.path("jwks.json.new"), "w") as out:
        json.dump(issuer.jwks(*kids), out)
    os.rename(veil.path("jwks.json.new"), veil.path("jwks.json"))


def start(cluster, issuer, name, **tokens):
    veil = make_veil(cluster, [room(name)], USERS)
    ca = Authority(veil.path("tls"))
    cert, key = ca.issue("pgveil")
    write_keys(veil, issuer, "rsa", "ec", "ed")
    veil.ca = ca
    veil.config["tls"] = {"cert": cert, "key": key}
    veil.config["tokens"] = {"jwks": "jwks.json", "issuer": issuer.NAME, "audience": issuer.AUDIENCE,
                             "clock_skew": "2s", **tokens}
    veil.write_config()
    veil.provision()
    return veil.start()


@pytest.fixture(scope="module")
def token_veil(cluster, issuer):
    veil = start(cluster, issuer, ROOM)
    yield veil
    assert veil.stop() == 0, veil.stderr()
    veil.close()


def login(veil, user, password, **more):
    return psycopg.connect(host="localhost", hostaddr="127.0.0.1", port=veil.port, user=user, password=password,
                           autocommit=True, **{"dbname": ROOM, "sslmode": "verify-full",
                                                                  "sslrootcert": veil.ca.cert, **more})


def refused(veil, user, password, **more):
    before = len(veil.event_rows("event = 'login_failed'"))
    with pytest.raises(psycopg.OperationalError) as caught:
        login(veil, user, password, **more)
    assert 'password authentication failed for user "%s"' % user in str(caught.value)
    return events(veil, "login_failed", before + 1)[-1]["detail"]


def events(veil, event, count):
    """Nobody waits for the record of a login; so do we here."""
    deadline = time.monotonic() + 60
    while True:
        rows = veil.event_rows("event = ?", (event,))
        if len(rows) >= count or time.monotonic() > deadline:
            return rows
        time.sleep(0.02)


def groups(conn):
    return [row[0] for row in conn.execute(ASK)]


# ---- tokens as passwords


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_a_token_is_a_password_and_its_attributes_filter_rows(token_veil, issuer, kid):
    token = issuer.token(kid, "tina", attributes={"groups": ["g0", "g2"]})
    with login(token_veil, "tina", token) as conn:
        assert groups(conn) == ["g0", "g2"]
    row = token_veil.last_log("user = 'tina'")
    assert (row["user"], row["party"], row["decision"], row["service"]) == ("tina", "acme", "allowed", None)
    assert json.loads(token_veil.event_rows("event = 'login'")[-1]["detail"])["method"] == "token"
    with login(token_veil, "tina", issuer.token(kid, "tina", attributes={"groups": ["g1"]})) as conn:
        assert groups(conn) == ["g1"]
    with login(token_veil, "tina", issuer.token(kid, "tina")) as conn:
        assert groups(conn) == []


def test_psql_takes_one(token_veil, issuer):
    token = issuer.token("rsa", "tina", attributes={"groups": ["g1"]})
    done = subprocess.run(
        ["psql", "-X", "-At", "-c", ASK, "host=localhost hostaddr=127.0.0.1 port=%d user=tina dbname=%s "
         "sslmode=verify-full sslrootcert=%s" % (token_veil.port, ROOM, token_veil.ca.cert)],
        env={**os.environ, "PGPASSWORD": token}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "g1\n"), done.stderr


def test_a_role_in_the_token_admits(token_veil, issuer):
    token = issuer.token("ed", "una", roles=["others", "analysts"], attributes={"groups": ["g2"]})
    with login(token_veil, "una", token) as conn:
        assert groups(conn) == ["g2"]
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("SELECT * FROM questions.clerks")
        assert caught.value.diag.sqlstate == "42501"
    assert token_veil.last_log("user = 'una'")["user"] == "una"
    with pytest.raises(psycopg.OperationalError, match='database "%s" does not exist' % ROOM):
        login(token_veil, "una", issuer.token("ed", "una", roles=["others"]))
    # An entry for a role is nobody's name.
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        login(token_veil, "role:analysts", issuer.token("ed", "role:analysts"))


def test_what_is_refused_and_why(token_veil, issuer):
    now = int(time.time())
    cases = [
        ("has expired", issuer.token("rsa", "tina", seconds=-10)),
        ("not valid yet", issuer.token("rsa", "tina", nbf=now + 60)),
        ("issued in the future", issuer.token("rsa", "tina", iat=now + 60)),
        ("another issuer", issuer.token("rsa", "tina", iss="https://issuer.test")),
        ("another audience", issuer.token("rsa", "tina", aud=["other"])),
        ("another user's", issuer.token("rsa", "una")),
        ("not in the key set", issuer.token("next", "tina")),
        ("not that of the key", issuer.token("rsa", "tina", header={"alg": "ES256"})),
        ("not that of the key", issuer.token("rsa", "tina", header={"alg": "none"})),
        ("not that of the key", issuer.token("rsa", "tina", header={"alg": "HS256"})),
        ("signature is wrong", issuer.token("rsa", "tina")[:-6] + "AAAAAA"),
        ("no signed token", "secret"),
        ("no \\\"exp\\\"", issuer.token("rsa", "tina", exp="tomorrow")),
    ]
    for words, token in cases:
        detail = refused(token_veil, "tina", token)
        assert words in detail, (words, detail)
        assert token not in detail
    # Within the skew; a machine that is slow just then lets a token pass it, so there are a few.
    for left in range(9, -1, -1):
        try:
            login(token_veil, "tina", issuer.token("rsa", "tina", seconds=-1)).close()
            break
        except psycopg.OperationalError:
            assert left > 0, "a token within the skew is refused"


def test_no_token_without_tls_and_none_for_users_with_a_password(token_veil, issuer):
    token = issuer.token("rsa", "tina")
    # In the clear nobody is asked for a token: the exchange is SCRAM.
    conn = w.Wire("127.0.0.1", token_veil.port)
    conn.send(w.startup_packet([("user", "tina"), ("database", ROOM)]))
    message = conn.take()
    assert struct.unpack("!i", message.body[:4])[0] == 10 and b"SCRAM-SHA-256" in message.body
    conn.sock.close()
    refused(token_veil, "tina", token, sslmode="disable")
    # Nor is a user who has a password of their own.
    refused(token_veil, "alice", issuer.token("rsa", "alice"))
    with login(token_veil, "alice", "alice") as conn:
        assert groups(conn) == ["g0"]


def test_no_token_reaches_a_log(token_veil, issuer):
    token = issuer.token("ed", "tina")
    login(token_veil, "tina", token).close()
    refused(token_veil, "tina", token[:-4] + "AAAA")
    signature = token.rsplit(".", 1)[1][:-4]
    assert signature not in token_veil.stderr()
    with open(token_veil.path("state", "pgveil.db"), "rb") as source:
        assert signature.encode() not in source.read()


def test_keys_are_rotated_by_their_file(token_veil, issuer):
    refused(token_veil, "tina", issuer.token("next", "tina"))
    with login(token_veil, "tina", issuer.token("ec", "tina", attributes={"groups": ["g0"]})) as conn:
        since = len(token_veil.stderr())
        write_keys(token_veil, issuer, "next", "rsa")
        token_veil.wait_stderr("reloaded", since)
        login(token_veil, "tina", issuer.token("next", "tina")).close()
        assert "not in the key set" in refused(token_veil, "tina", issuer.token("ec", "tina"))
        # Who is in stays in.
        assert groups(conn) == ["g0"]
        # A broken file leaves what was in force in force.
        since = len(token_veil.stderr())
        with open(token_veil.path("jwks.json"), "w") as out:
            out.write("{")
        token_veil.wait_stderr("reload failed", since)
        login(token_veil, "tina", issuer.token("next", "tina")).close()
    since = len(token_veil.stderr())
    write_keys(token_veil, issuer, "rsa", "ec", "ed")
    token_veil.wait_stderr("reloaded", since)
    login(token_veil, "tina", issuer.token("ec", "tina")).close()


# ---- the end of a token


EXPIRED = "terminating connection because the token of its login has expired"


def seconds_left(seconds):
    """Of a token whose session ends in that many at most and a second less at least: the clock skew of two goes on top."""
    return seconds - 2


def fatal(conn):
    said = conn.take()
    while said.tag not in "E":
        said = conn.take()
    return said


def token_wire(veil, user, token, **params):
    conn = w.Wire("127.0.0.1", veil.port)
    conn.start_tls(ssl.create_default_context(cafile=veil.ca.cert))
    conn.send(w.startup_packet([("user", user), ("database", ROOM), *params.items()]))
    assert conn.take().body == b"\0\0\0\3"
    conn.send(w.frame("p", w.z(token)))
    conn.until("Z")
    return conn


LIVES = (2, 6, 20)


def each_life(test):
    """test(life) with longer and longer ones until it passes, and it must with the last."""
    for life in LIVES:
        try:
            return test(life)
        except (AssertionError, w.Closed, OSError):
            if life == LIVES[-1]:
                raise


def test_an_idle_session_ends_with_its_token(token_veil, issuer):
    def test(life):
        token = issuer.token("ec", "tina", seconds=seconds_left(life), attributes={"groups": ["g1"]})
        began = time.monotonic()
        with token_wire(token_veil, "tina", token) as conn:
            assert w.rows(conn.ask(w.query(ASK))) == [("g1",)]
            said = fatal(conn)
            assert (said.sqlstate, said.fields["M"], said.fields["S"]) == ("57P01", EXPIRED, "FATAL")
            assert life - 1.1 < time.monotonic() - began < life + 3 and conn.at_end()
    each_life(test)


def test_a_session_in_a_transaction_ends_with_its_token(token_veil, issuer):
    def test(life):
        with token_wire(token_veil, "tina", issuer.token("ec", "tina", seconds=seconds_left(life))) as conn:
            assert w.errors(conn.ask(w.query("BEGIN; SELECT 1"))) == []
            assert fatal(conn).fields["M"] == EXPIRED and conn.at_end()
    each_life(test)


def test_what_runs_is_finished_and_nothing_new_begins(token_veil, issuer):
    def test(life):
        with token_wire(token_veil, "tina", issuer.token("ec", "tina", seconds=seconds_left(life))) as conn:
            conn.send(w.query("SELECT count(*) FROM generate_series(1, 3000000) AS a(n)"))
            time.sleep(life + 0.2)
            conn.send(w.query("SELECT 'never'"))
            seen = []
            while not seen or seen[-1].tag != "E":
                seen.append(conn.take())
            assert [m.tag for m in seen] == ["T", "D", "C", "Z", "E"], seen
            assert seen[-1].fields["M"] == EXPIRED and conn.at_end()
        assert token_veil.log_rows("query = ?", ("SELECT 'never'",)) == []
    each_life(test)


def test_a_segment_is_finished_to_its_sync(token_veil, issuer):
    def test(life):
        with token_wire(token_veil, "tina", issuer.token("ec", "tina", seconds=seconds_left(life))) as conn:
            conn.send(w.parse("SELECT 1") + w.bind() + w.execute())
            time.sleep(life + 0.2)
            conn.send(w.SYNC)
            assert [m.tag for m in (conn.take() for _ in range(5))] == ["1", "2", "D", "C", "Z"]
            assert fatal(conn).fields["M"] == EXPIRED and conn.at_end()
    each_life(test)


def test_a_fresh_token_is_left_alone(token_veil, issuer):
    with token_wire(token_veil, "tina", issuer.token("ec", "tina", seconds=300)) as conn:
        time.sleep(1)
        assert w.rows(conn.ask(w.query("SELECT 1"))) == [("1",)]


# ---- OAUTHBEARER (RFC 7628)


@pytest.fixture(scope="module")
def bearer_veil(cluster, issuer):
    veil = start(cluster, issuer, BEARER_ROOM, method="oauthbearer", scope="openid rooms")
    yield veil
    assert veil.stop() == 0, veil.stderr()
    veil.close()


def bearer(veil, user, response):
    conn = w.Wire("127.0.0.1", veil.port)
    conn.start_tls(ssl.create_default_context(cafile=veil.ca.cert))
    conn.send(w.startup_packet([("user", user), ("database", BEARER_ROOM)]))
    message = conn.take()
    assert message.tag == "R" and message.body == b"\0\0\0\x0aOAUTHBEARER\0\0"
    conn.send(w.frame("p", w.z("OAUTHBEARER") + struct.pack("!i", len(response)) + response))
    return conn


def test_oauthbearer(bearer_veil, issuer):
    token = issuer.token("ec", "tina", attributes={"groups": ["g1"]})
    for scheme in ("Bearer", "bearer"):
        with bearer(bearer_veil, "tina", ("n,,\1auth=%s %s\1\1" % (scheme, token)).encode()) as conn:
            assert conn.take().body == b"\0\0\0\0"
            conn.until("Z")
            assert w.rows(conn.ask(w.query(ASK))) == [("g1",)]
    assert json.loads(bearer_veil.event_rows("event = 'login'")[-1]["detail"])["method"] == "oauthbearer"


@pytest.mark.parametrize("token", ["", "x.y.z", "expired"])
def test_oauthbearer_says_where_tokens_are_to_be_had(bearer_veil, issuer, token):
    if token == "expired":
        token = issuer.token("ec", "tina", seconds=-60)
    auth = "auth=Bearer %s" % token if token else "auth="
    with bearer(bearer_veil, "tina", ("n,,\1%s\1\1" % auth).encode()) as conn:
        message = conn.take()
        assert message.tag == "R" and message.body[:4] == b"\0\0\0\x0b"
        assert json.loads(message.body[4:]) == {
            "status": "invalid_token", "scope": "openid rooms",
            "openid-configuration": issuer.NAME + "/.well-known/openid-configuration"}
        conn.send(w.frame("p", b"\1"))
        message = conn.take()
        assert (message.tag, message.sqlstate) == ("E", "28P01")
        assert conn.at_end()


@pytest.mark.parametrize("response", [b"", b"n,,", b"p=tls-unique,,\1auth=Bearer x\1\1", b"n,a=bob,\1auth=Bearer x\1\1",
                                      b"n,,\1auth=Bearer x\1", b"n,,\1\1", b"n,,\1auth=Bearer x\1\1\1",
                                      b"n,,\1auth=Bearer x\1auth=Bearer y\1\1", b"n,,\1auth\1\1"])
def test_oauthbearer_malformed(bearer_veil, response):
    with bearer(bearer_veil, "tina", response) as conn:
        message = conn.take()
        assert (message.tag, message.sqlstate) == ("E", "08P01")
        assert conn.at_end()


# ---- services that ask for end users


def state_of(caught):
    return caught.value.diag.sqlstate


def test_a_service_asks_for_its_end_users(token_veil):
    with login(token_veil, "portal", "portal") as conn:
        assert groups(conn) == []
        conn.execute("SET pgveil.user = 'alice'")
        assert groups(conn) == ["g0"]
        row = token_veil.last_log("query LIKE 'SELECT DISTINCT%'")
        assert (row["user"], row["party"], row["service"]) == ("alice", "acme", "portal")
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("SELECT * FROM questions.clerks")
        assert state_of(caught) == "42501"
        conn.execute("SET pgveil.user TO bob")
        assert groups(conn) == ["g1"]
        assert conn.execute("SELECT count(*) FROM questions.clerks").fetchone()[0] > 0
        assert conn.execute("SELECT current_user").fetchone() == ("bob",)
        conn.execute("RESET pgveil.user")
        assert groups(conn) == []
        assert token_veil.last_log("query LIKE 'SELECT DISTINCT%'")["user"] == "portal"
    changes = [(e["user"], json.loads(e["detail"])) for e in events(token_veil, "end_user", 3)]
    assert changes[:3] == [("alice", {"service": "portal", "before": "portal"}),
                            ("bob", {"service": "portal", "before": "alice"}),
                            ("portal", {"service": "portal", "before": "bob"})]


def test_what_was_prepared_for_one_is_judged_anew_for_another(token_veil):
    with login(token_veil, "portal", "portal") as conn:
        conn.execute("SET pgveil.user = 'bob'")
        conn.execute("PREPARE c AS SELECT count(*) FROM questions.clerks")
        conn.execute("PREPARE g AS " + ASK)
        assert conn.execute("EXECUTE c").fetchone()[0] > 0
        assert conn.execute(ASK, prepare=True).fetchall() == [("g1",)]
        conn.execute("SET pgveil.user = 'alice'")
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("EXECUTE c")
        assert state_of(caught) == "42501"
        assert conn.execute("EXECUTE g").fetchall() == [("g0",)]
        assert conn.execute(ASK, prepare=True).fetchall() == [("g0",)]


def test_a_service_names_its_end_user_at_the_start(token_veil):
    with login(token_veil, "portal", "portal", options="-c pgveil.user=alice") as conn:
        assert groups(conn) == ["g0"]
        conn.execute("SET pgveil.user = 'bob'")
        assert groups(conn) == ["g1"]
        conn.execute("DISCARD ALL")
        assert groups(conn) == ["g0"]
        conn.execute("SET pgveil.user = 'bob'")
        conn.execute("RESET ALL")
        assert groups(conn) == ["g0"]
    with pytest.raises(psycopg.OperationalError, match="no member of clean room"):
        login(token_veil, "portal", "portal", options="-c pgveil.user=mallory")
    with pytest.raises(psycopg.OperationalError, match="not trusted"):
        login(token_veil, "alice", "alice", options="-c pgveil.user=bob")


def test_who_may_not(token_veil, issuer):
    with login(token_veil, "alice", "alice") as conn:
        for sql in ("SET pgveil.user = 'bob'", "RESET pgveil.user", "SET pgveil.user TO DEFAULT",
                    "SELECT set_config('pgveil.user', 'bob', false)", "SET pgveil.identity = 'x'",
                    "SET pgveil.pgveil.\"user\" = 'bob'"):
            with pytest.raises(psycopg.Error) as caught:
                conn.execute(sql)
            assert state_of(caught) == "42501", sql
        assert groups(conn) == ["g0"]
    with login(token_veil, "portal", "portal") as conn:
        for sql in ("SET pgveil.user = 'mallory'", "SET pgveil.user = 'nobody'", "SET pgveil.user = 'role:analysts'",
                    "SET LOCAL pgveil.user = 'bob'", "SELECT set_config('pgveil.user', 'bob', false)"):
            with pytest.raises(psycopg.Error) as caught:
                conn.execute(sql)
            assert state_of(caught) == "42501", sql
        assert groups(conn) == []


def test_a_change_stands_alone(token_veil):
    with login(token_veil, "portal", "portal") as conn:
        conn.execute("SET pgveil.user = 'alice'")
        for before, sql, after, sqlstate in (
                ("BEGIN", "SET pgveil.user = 'bob'", "ROLLBACK", "25001"),
                ("BEGIN", "RESET ALL", "ROLLBACK", "25001"),
                (None, "SET pgveil.\"user\" = 'bob'; " + ASK, None, "25001"),
                ("BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT id FROM questions.cells; COMMIT",
                 "SET pgveil.user = 'bob'", "CLOSE h", "55006")):
            if before:
                conn.execute(before)
            with pytest.raises(psycopg.Error) as caught:
                conn.execute(sql)
            assert state_of(caught) == sqlstate, sql
            if after:
                conn.execute(after)
            assert groups(conn) == ["g0"]
        conn.execute("SET pgveil.user = 'bob'")
        assert groups(conn) == ["g1"]


def service_wire(veil):
    return w.Wire.login("127.0.0.1", veil.port, "portal", "portal", ROOM,
                        tls=ssl.create_default_context(cafile=veil.ca.cert))


def test_pipelines_never_mix_end_users(token_veil):
    change = [w.parse("SET pgveil.user = 'bob'"), w.bind(), w.execute()]
    ask = [w.parse(ASK), w.bind(), w.execute()]
    with service_wire(token_veil) as conn:
        # Behind its Sync the change holds, whatever was sent ahead.
        replies = []
        conn.send(*change, w.SYNC, *ask, w.SYNC)
        replies = conn.until("Z") + conn.until("Z")
        assert w.rows(replies) == [("g1",)] and w.errors(replies) == []
        # In its own segment nothing may follow, and a failed segment changes nobody.
        replies = conn.ask(w.parse("SET pgveil.user = 'alice'"), w.bind(), w.execute(), *ask, w.SYNC)
        assert w.errors(replies) == ["25001"] and w.rows(replies) == []
        assert w.rows(conn.ask(*ask, w.SYNC)) == [("g1",)]
        # Nor may anything stand before it.
        replies = conn.ask(*ask, w.parse("SET pgveil.user = 'alice'"), w.bind(), w.execute(), w.SYNC)
        assert w.errors(replies) == ["25001"]
        # Simple queries likewise wait for a change that is under way.
        conn.send(w.query("SET pgveil.user = 'alice'"), w.query(ASK))
        assert w.rows(conn.until("Z") + conn.until("Z")) == [("g0",)]


def test_a_reload_takes_the_trust_away(cluster, issuer):
    veil = start(cluster, issuer, TRUST_ROOM)
    try:
        with login(veil, "portal", "portal", dbname=TRUST_ROOM) as conn:
            conn.execute("SET pgveil.user = 'alice'")
            assert groups(conn) == ["g0"]
            users = {**USERS, "alice": {"password": "alice", "attributes": {"groups": ["g2"]}}}
            since = len(veil.stderr())
            veil.write_users(users)
            veil.hup()
            veil.wait_stderr("reloaded", since)
            assert groups(conn) == ["g2"]
            changed = room(TRUST_ROOM)
            changed["trusted_services"] = []
            veil.write_room(changed)
            veil.hup()
            with pytest.raises(psycopg.Error):
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    conn.execute("SELECT 1")
                    time.sleep(0.05)
        assert veil.stop() == 0, veil.stderr()
    finally:
        veil.close()
