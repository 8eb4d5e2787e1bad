"""The page for auditors, asked as a program asks it: who comes in, and what takes a login away again."""
import concurrent.futures
import json
import time

import psycopg
import pytest

from tests.integration.console.house import USERS, client, last_event, rooms
from tests.lib.cluster import free_port
from tests.lib.console import Console
from tests.lib.running import wait_running


def test_a_login_is_recorded_and_gives_a_cookie(house):
    one = Console(house.console_port)
    status, headers, body = one.ask("POST", "/api/login", {"user": "both", "password": "both-secret"})
    assert status == 200
    parts = [part.strip() for part in headers["Set-Cookie"].split(";")]
    name, value = parts[0].split("=")
    assert name == "pgveil_console" and len(value) == 64 and set(value) <= set("0123456789abcdef")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(parts)
    assert [room["name"] for room in json.loads(body)["rooms"]] == ["page_one", "page_two"]
    event = last_event(house, "login", "both")
    assert event["room"] == "pgveil" and event["client"].startswith("127.0.0.1:")
    assert json.loads(event["detail"]) == {"application": "pgveil console"}
    assert value not in house.stderr() and "both-secret" not in house.stderr()


@pytest.mark.parametrize("user, password, reason", [
    ("aud", "no-secret", "wrong password"), ("aud", "aud-secret ", "wrong password"),
    ("nobody", "aud-secret", "no such user"), ("ana", "ana-secret", "not an auditor of any room"),
    ("cert", "cert-secret", "client certificate"), ("Aud", "aud-secret", "no such user"),
])
def test_wrong_logins_get_the_same_words(house, user, password, reason):
    answer = client(house).login(user, password, 401)
    assert answer == {"error": "wrong name or password, or no auditor of any room"}
    event = last_event(house, "login_failed", user)
    assert reason in json.loads(event["detail"])["reason"] and password not in event["detail"]


@pytest.mark.parametrize("body, headers", [
    (b"", {"Content-Type": "application/json"}), (b"{", {"Content-Type": "application/json"}),
    (b"[]", {"Content-Type": "application/json"}), (b'{"user":"aud"}', {"Content-Type": "application/json"}),
    (b'{"user":"aud","password":1}', {"Content-Type": "application/json"}),
    (b'{"user":"aud","password":""}', {"Content-Type": "application/json"}),
    (b'{"user":"aud","password":"aud-secret","user":"both"}', {"Content-Type": "application/json"}),
    (b'{"user":"aud","password":"aud-secret","more":"x"}', {"Content-Type": "application/json"}),
    (b'{"user":"aud\\u0000","password":"aud-secret"}', {"Content-Type": "application/json"}),
    (b'{"user":"\xff","password":"aud-secret"}', {"Content-Type": "application/json"}),
    (json.dumps({"user": "aud", "password": "x" * 1025}).encode(), {"Content-Type": "application/json"}),
    (b"user=aud&password=aud-secret", {"Content-Type": "application/x-www-form-urlencoded"}),
    (b'{"user":"aud","password":"aud-secret"}', {"Content-Type": "text/plain"}),
    (b'{"user":"aud","password":"aud-secret"}', {}),
])
def test_malformed_logins(house, body, headers):
    status, _, answer = client(house).ask("POST", "/api/login", body, headers)
    assert status == 400 and "error" in json.loads(answer)


def test_failures_make_a_name_wait_and_no_other(house):
    for _ in range(5):
        client(house).login("tried", "wrong", 401)
    status, headers, body = client(house).ask("POST", "/api/login", {"user": "tried", "password": "tried-secret"})
    assert status == 429 and 0 < int(headers["Retry-After"]) <= 16 and "too many failed logins" in json.loads(body)["error"]
    client(house).login("tried", "tried-secret", 429)
    deadline = time.monotonic() + 60
    while True:
        reasons = [json.loads(row["detail"])["reason"] for row in house.event_rows("event = 'login_failed' AND user = 'tried'")]
        if len(reasons) == 6 or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert reasons == ["wrong password"] * 5 + ["too many failed logins"]
    client(house, "aud")


def test_who_is_unknown_costs_the_same(house):
    def seconds(user):
        began = time.monotonic()
        client(house).login(user, "not the password", 401)
        return time.monotonic() - began

    known, unknown = [], []
    # Turn by turn, the quickest of each: what a busy machine adds is not always there. A name waits after five failures.
    for turn in range(4):
        known.append(seconds("gone"))
        unknown.append(seconds("nobody-%d" % turn))
        if turn > 1 and min(known) < 3 * min(unknown) + 0.02 and min(unknown) < 3 * min(known) + 0.02:
            return
    raise AssertionError((known, unknown))


def test_logout_ends_the_login(house):
    one = client(house, "both")
    old = one.cookie
    status, headers, _ = one.ask("POST", "/api/logout", {})
    assert status == 200 and "Max-Age=0" in headers["Set-Cookie"]
    one.cookie = old
    assert one.get("rooms", 401) == {"error": "log in first"}
    assert last_event(house, "logout", "both") is not None


@pytest.mark.parametrize("cookie", [None, "pgveil_console=", "pgveil_console=" + "0" * 64, "pgveil_console=x",
                                    "xpgveil_console=" + "0" * 64, ";;;", "pgveil_console"])
@pytest.mark.parametrize("path", ["rooms", "log", "record?seq=1", "sessions", "summary?since=2026-01-01T00:00:00Z&step=86400"])
def test_without_a_login_nothing_is_told(house, cookie, path):
    one = Console(house.console_port)
    one.cookie = cookie
    assert one.get(path, 401) == {"error": "log in first"}


def test_the_page_learns_that_nobody_is_logged_in(house):
    assert Console(house.console_port).get("me") == {"user": None}


# ---- The policy changes

def test_a_reload_takes_the_login_away(house):
    one = client(house, "gone")
    one.get("rooms")
    room = rooms()[0]
    room["members"]["gone"]["roles"] = ["analyst"]
    since = len(house.stderr())
    house.write_room(room)
    house.hup()
    house.wait_stderr("reloaded: generation", since)
    assert "error" in one.get("log", 401)
    since = len(house.stderr())
    house.write_room(rooms()[0])
    house.hup()
    house.wait_stderr("reloaded: generation", since)
    assert one.get("log", 401) == {"error": "log in first"}
    one.login("gone", "gone-secret")
    since = len(house.stderr())
    house.write_users({**USERS, "gone": {"password": "another"}})
    house.hup()
    house.wait_stderr("reloaded: generation", since)
    assert one.get("log", 401) == {"error": "log in first"}
    since = len(house.stderr())
    house.write_users(USERS)
    house.hup()
    house.wait_stderr("reloaded: generation", since)


def test_many_logins_push_out_the_oldest_of_the_same_user(house):
    kept = client(house, "aud")
    many = [client(house, "both") for _ in range(9)]
    many[0].get("rooms", 401)
    many[-1].get("rooms")
    kept.get("rooms")


def test_literals_are_hidden_where_auditors_may_not_see_them(house, cluster):
    one = client(house, "both")
    since = len(house.stderr())
    house.config["audit"] = {"literals": "masked"}
    house.write_config()
    house.hup()
    house.wait_stderr("reloaded: generation", since)
    try:
        secret = "sesame-%d" % time.time()
        with house.connect("ana", "page_one", application_name="hidden") as conn, \
                concurrent.futures.ThreadPoolExecutor(1) as pool:
            conn.execute("SELECT '%s'" % secret)
            seq = house.last_log("query LIKE ?", ("%" + secret + "%",))["seq"]
            slow = pool.submit(conn.execute, "SELECT * FROM questions.slow(n => 0) WHERE n <> 987654321")
            deadline = time.monotonic() + 60
            found = []
            while time.monotonic() < deadline and not (found and found[0]["query"]):
                found = [row for row in one.get("sessions")["sessions"] if row["application"] == "hidden"]
            wait_running(cluster)
            conn.cancel()
            with pytest.raises(psycopg.errors.QueryCanceled):
                slow.result(120)
        assert "987654321" not in found[0]["query"] and "slow" in found[0]["query"], found
        assert one.get("record?seq=%d" % seq)["record"]["query"] != "SELECT '%s'" % secret
        for path in ("record?seq=%d" % seq, "log", "log?text=" + secret, "summary?since=2026-01-01&step=86400"):
            assert secret.encode() not in one.ask("GET", "/api/" + path)[2], path
        assert one.get("log?text=" + secret)["rows"] == []
    finally:
        since = len(house.stderr())
        del house.config["audit"]
        house.write_config()
        house.hup()
        house.wait_stderr("reloaded: generation", since)


@pytest.mark.parametrize("address", ["0.0.0.0:6480", "192.168.1.1:6480", "[::]:6480", "example.com:6480", "10.127.0.1:6480"])
def test_other_machines_are_never_listened_to(house, address):
    before = house.config["console"]
    house.config["console"] = address
    house.write_config()
    try:
        done = house.run("check")
        assert done.returncode == 1 and '"console" must be a loopback address' in done.stdout + done.stderr
        assert "SSH tunnel" in done.stdout + done.stderr and ":console" not in done.stderr
    finally:
        house.config["console"] = before
        house.write_config()


def test_a_changed_address_needs_a_restart(house):
    before = house.config["console"]
    since = len(house.stderr())
    house.config["console"] = "127.0.0.1:%d" % free_port()
    house.write_config()
    house.hup()
    house.wait_stderr('setting "console" has changed', since)
    house.config["console"] = before
    house.write_config()
    house.hup()
    assert client(house).ask("GET", "/")[0] == 200


def test_an_address_that_is_taken(house, cluster):
    from tests.integration.conftest import make_veil

    second = make_veil(cluster, rooms(), USERS, {"console": "127.0.0.1:%d" % house.console_port})
    try:
        done = second.run("serve", timeout=120)
        assert done.returncode == 2 and "console: cannot listen on 127.0.0.1:%d" % house.console_port in done.stderr
    finally:
        second.close()
