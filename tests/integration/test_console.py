"""
The page for auditors, asked as a program asks it: who comes in, what each sees, and what must not get through. Oracle: the
state file itself, read beside pgveil. How the page looks and works in a browser: test_page.py.
"""
import concurrent.futures
import glob
import json
import resource
import socket
import sqlite3
import time
import urllib.parse

import psycopg
import pytest

from tests.lib import data
from tests.lib.cluster import free_port
from tests.lib.console import Console

USERS = {
    "ana": {"password": "ana-secret"}, "bea": {"password": "bea-secret"}, "aud": {"password": "aud-secret"},
    "both": {"password": "both-secret"}, "cert": {"password": "cert-secret", "cert_cn": "cert", "require": ["cert", "scram"]},
    "gone": {"password": "gone-secret"}, "tried": {"password": "tried-secret"},
}
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                               "frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
}
HOSTILE = "SELECT '<img src=x onerror=alert(1)>', '100%_\\', 'it''s', 'Ünïcode'"


def rooms():
    made = []
    for name in ("page_one", "page_two"):
        room = data.small_room(name)
        party = sorted(room["parties"])[0]
        room["members"] = {"ana": {"party": party, "roles": ["analyst"]}, "both": {"party": party, "roles": ["auditor"]},
                           "bea": {"party": party, "roles": ["analyst"]}}
        if name == "page_one":
            for user in ("aud", "cert", "gone", "tried"):
                room["members"][user] = {"party": party, "roles": ["auditor"]}
        made.append(room)
    return made


@pytest.fixture(scope="module")
def house(cluster):
    from tests.integration.conftest import make_veil

    port = free_port()
    house = make_veil(cluster, rooms(), USERS, {"console": "127.0.0.1:%d" % port})
    house.console_port = port
    house.provision()
    house.start()
    for name in ("page_one", "page_two"):
        with house.connect("ana", name) as conn:
            conn.execute("SELECT 'in %s'" % name)
            conn.execute("SELECT * FROM questions.first(n => 3)")
            for sql in ("SELECT * FROM pg_authid_%s" % name, "DELETE FROM public.cells", "SELECT nothing FROM public.cells"):
                with pytest.raises(psycopg.Error):
                    conn.execute(sql)
    with house.connect("bea", "page_one") as conn:
        conn.execute(HOSTILE)
    yield house
    assert house.stop() == 0, house.stderr()[-3000:]
    house.close()


def client(house, user=None):
    made = Console(house.console_port)
    if user is not None:
        made.login(user, USERS[user]["password"])
    return made


@pytest.fixture(scope="module")
def aud(house):
    return client(house, "aud")


@pytest.fixture(scope="module")
def both(house):
    return client(house, "both")


def last_event(house, event, user):
    deadline = time.monotonic() + 5
    while True:
        found = house.event_rows("event = ? AND user = ?", (event, user))
        if found or time.monotonic() > deadline:
            return found[-1] if found else None
        time.sleep(0.02)


# ---- Logins

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
    deadline = time.monotonic() + 5
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

    known, unknown = min(seconds("gone") for _ in range(3)), min(seconds("nobody-%d" % i) for i in range(3))
    assert known < 3 * unknown + 0.02 and unknown < 3 * known + 0.02


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


# ---- What each sees

def test_the_list_is_the_log(house, both):
    answer = both.get("log?limit=200")
    want = house.log_rows("room IN ('page_one', 'page_two')", order="seq DESC")
    assert [row["seq"] for row in answer["rows"]] == [row["seq"] for row in want] and answer["is_complete"]
    for got, row in zip(answer["rows"], want):
        assert {key: got[key] for key in ("at", "room", "user", "question", "decision", "reason", "rows", "outcome", "sqlstate",
                                          "session", "protocol")} == {key: row[key] for key in (
                                              "at", "room", "user", "question", "decision", "reason", "rows", "outcome",
                                              "sqlstate", "session", "protocol")}
        assert got["query"] == row["query"][:400]


def test_pages_follow_each_other(both):
    whole = [row["seq"] for row in both.get("log?limit=200")["rows"]]
    found, before = [], ""
    for _ in range(100):
        page = both.get("log?limit=3&before_seq=%s" % before)
        found += [row["seq"] for row in page["rows"]]
        before = page["before_seq"]
        if page["is_complete"]:
            break
    assert found == whole


FILTERS = [
    ({"room": "page_two"}, "room = 'page_two'"),
    ({"user": "bea"}, "user = 'bea'"),
    ({"question": "first"}, "question = 'first'"),
    ({"decision": "denied"}, "decision = 'denied'"),
    ({"decision": "allowed", "user": "ana"}, "decision = 'allowed' AND user = 'ana'"),
    ({"outcome": "completed"}, "outcome = 'completed'"),
    ({"outcome": "running"}, "outcome IS NULL"),
    ({"code": "statement_kind"}, "reason LIKE 'statement_kind:%'"),
    ({"column": "public.cells.grp"}, "columns LIKE '%\"public.cells.grp\"%'"),
    ({"column": "grp"}, "columns LIKE '%.grp\"%'"),
    ({"column": "cells.grp"}, "columns LIKE '%cells.grp\"%'"),
    ({"column": "rp"}, "0"),
    ({"text": "in page_one"}, "query LIKE '%in page\\_one%' ESCAPE '\\'"),
    ({"text": "IN PAGE_ONE"}, "query LIKE '%in page\\_one%' ESCAPE '\\'"),
    ({"text": "%_\\"}, "query LIKE '%100!%!_\\%' ESCAPE '!'"),
    ({"text": "it''s"}, "query LIKE '%it''''s%'"),
    ({"text": "Ünï"}, "query LIKE '%Ünï%'"),
    ({"text": "<img"}, "query LIKE '%<img%'"),
    ({"text": "delete"}, "query LIKE '%delete%' OR reason LIKE '%delete%'"),
    ({"since": "2030-01-01T00:00:00Z"}, "0"),
    ({"until": "2020-01-01T00:00:00Z"}, "0"),
    ({"since": "2020-01-01", "until": "2035-01-01"}, "1"),
]


@pytest.mark.parametrize("filter, where", FILTERS)
def test_filters(house, both, filter, where):
    got = [row["seq"] for row in both.get("log?limit=200&" + urllib.parse.urlencode(filter))["rows"]]
    want = [row["seq"] for row in house.log_rows("room IN ('page_one', 'page_two') AND (%s)" % where, order="seq DESC")]
    assert got == want
    if where not in ("0", "outcome IS NULL"):
        assert got


INJECTIONS = ["' OR 1=1 --", "x' UNION SELECT secret FROM secret --", "'; DROP TABLE statement; --", '" OR "1"="1',
              "%' OR room LIKE '%", "?1", ":x", "$1", "x\\", "')) OR 1=1 OR ((("]


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("name", ["user", "question", "code", "column", "text"])
def test_values_are_values(aud, name, text):
    assert aud.get("log?" + urllib.parse.urlencode({name: text}))["rows"] == []


@pytest.mark.parametrize("name, value, status", [
    ("room", "page_two' OR '1'='1", 404), ("room", "nowhere", 404), ("decision", "' OR 1=1 --", 400), ("outcome", "x", 400),
    ("since", "yesterday", 400), ("until", "' OR 1", 400), ("limit", "201", 400), ("limit", "-1", 400), ("limit", "1e3", 400),
    ("before_seq", "99999999999999999999", 400), ("before_seq", "1;2", 400), ("nothing", "1", 400), ("text", "x" * 1001, 400),
])
def test_values_out_of_their_bounds(aud, name, value, status):
    assert "error" in aud.get("log?" + urllib.parse.urlencode({name: value}), status)


@pytest.mark.parametrize("query, status", [("user=a&user=b", 400), ("user=%ff", 400), ("user=%zz", 200), ("&&&", 400),
                                           ("user", 400), ("?x", 400)])
def test_malformed_query_strings(aud, query, status):
    got, _, _ = aud.ask("GET", "/api/log?" + query)
    assert got == status


def test_an_auditor_of_one_room_sees_that_room(house, aud):
    assert {row["room"] for row in aud.get("log?limit=200")["rows"]} == {"page_one"}
    assert aud.get("log?room=page_two", 404) == {"error": "you audit no room of that name"}
    assert [room["name"] for room in aud.get("rooms")["rooms"]] == ["page_one"]
    other = house.log_rows("room = 'page_two'")[0]["seq"]
    assert aud.get("record?seq=%d" % other, 404) == {"error": "there is no such record in the rooms that you audit"}
    assert aud.get("record?seq=0", 404) and aud.get("record?seq=999999", 404)
    summary = aud.get("summary?since=2026-01-01T00:00:00Z&step=2592000")
    assert {row["room"] for key in ("rooms", "members", "questions", "codes", "columns") for row in summary[key]} == {"page_one"}
    aud.get("summary?since=2026-01-01T00:00:00Z&step=2592000&room=page_two", 404)
    with house.connect("ana", "page_two"), house.connect("ana", "page_one"):
        assert {row["room"] for row in aud.get("sessions")["sessions"]} == {"page_one"}
    assert b"page_two" not in aud.ask("GET", "/api/summary?since=2026-01-01T00:00:00Z&step=2592000")[2]


def test_a_record_whole(house, both):
    for want in house.log_rows("room = 'page_one'"):
        got = both.get("record?seq=%d" % want["seq"])["record"]
        for name in ("parameters", "datasets", "columns"):
            want[name] = json.loads(want[name]) if want[name] else want[name]
        assert got == want


def test_reading_is_recorded(house, aud):
    aud.get("log?text=who+looked")
    aud.get("record?seq=999998", 404)
    deadline = time.monotonic() + 5
    while True:
        details = [json.loads(row["detail"]) for row in house.event_rows("event = 'console_read' AND user = 'aud'")]
        if {"what": "record", "seq": 999998} in details or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert {"what": "log", "filter": {"text": "who looked"}} in details and {"what": "record", "seq": 999998} in details


def test_the_numbers_are_the_log_s(house, both):
    summary = both.get("summary?since=2026-01-01T00:00:00Z&step=86400")
    rows = house.log_rows("room IN ('page_one', 'page_two')")
    assert summary["statements"] == len(rows) == sum(summary["allowed"]) + sum(summary["denied"])
    assert summary["denials"] == sum(row["decision"] == "denied" for row in rows) == sum(summary["denied"])
    assert summary["rows"] == sum(row["rows"] or 0 for row in rows)
    for entry in summary["members"]:
        of = [row for row in rows if (row["room"], row["user"]) == (entry["room"], entry["user"])]
        assert (entry["statements"], entry["last_at"]) == (len(of), of[-1]["at"])
    codes = {(entry["room"], entry["code"]): entry for entry in summary["codes"]}
    assert sum(entry["statements"] for entry in summary["codes"]) == summary["denials"]
    kind = codes[("page_one", "statement_kind")]
    assert kind["sqlstate"] == "42501" and "DELETE" in kind["example"] and kind["words"].startswith("a clean room")


def test_who_read_a_column_and_which_nobody_reads(both):
    summary = both.get("summary?since=2026-01-01T00:00:00Z&step=86400&room=page_one")
    columns = {entry["column"]: entry for entry in summary["columns"]}
    grp = columns["public.cells.grp"]
    assert grp["is_granted"] and grp["reads"] == 1 and [reader["user"] for reader in grp["readers"]] == ["ana"]
    assert grp["readers"][0]["rows"] == 3 and grp["last_at"]
    assert columns["public.others.label"] == {"room": "page_one", "column": "public.others.label", "is_granted": True,
                                              "reads": 0, "last_at": None, "readers": []}


@pytest.mark.parametrize("query", ["", "since=2026-01-01", "since=tomorrow&step=60", "since=2026-01-01&step=0", "since=2026-01-01&step=60",
                                   "since=2026-01-01&step=x", "since=2099-01-01&step=86400", "since=2026-01-01&step=99999999999"])
def test_summaries_that_are_none(both, query):
    got = both.ask("GET", "/api/summary?" + query)
    assert got[0] == 400, got


def test_rooms_with_approvals_and_without_what_is_hidden(both):
    room = both.get("rooms")["rooms"][0]
    assert room["name"] == "page_one" and room["parties"] == ["acme", "megamart"]
    first = [question for question in room["questions"] if question["name"] == "first"][0]
    assert first["sql"].startswith("SELECT id, grp") and first["type"] == "list" and first["parameters"] == ["n"]
    cells = [dataset for dataset in room["datasets"] if dataset["name"] == "public.cells"][0]
    assert {"name": "h_text", "category": 3, "mask": "hash", "title": None} in cells["columns"]
    assert "zoo" not in json.dumps(both.get("rooms"))


def test_live_sessions(house, both):
    with house.connect("ana", "page_one", application_name="looked at") as conn, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        conn.execute("BEGIN")
        found = [row for row in both.get("sessions")["sessions"] if row["application"] == "looked at"]
        assert len(found) == 1 and found[0]["state"] == "in transaction" and found[0]["user"] == "ana" and found[0]["query"] is None
        conn.execute("ROLLBACK")
        slow = pool.submit(conn.execute, "SELECT * FROM questions.slow(n => 0)")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            found = [row for row in both.get("sessions", mark="background")["sessions"] if row["application"] == "looked at"]
            if found and found[0]["state"] == "running":
                break
            time.sleep(0.05)
        assert found[0]["state"] == "running" and found[0]["query"] == "SELECT * FROM questions.slow(n => 0)"
        assert found[0]["question"] == "slow" and found[0]["query_since"]
        time.sleep(0.3)
        conn.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            slow.result(30)
    deadline = time.monotonic() + 5
    while any(row["application"] == "looked at" for row in both.get("sessions")["sessions"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- What must not get through

@pytest.mark.parametrize("path", ["/", "/console.js", "/chart.js", "/nothing", "/api/me", "/api/nothing", "/api/log"])
def test_every_answer_has_the_headers(house, path):
    _, headers, _ = client(house).ask("GET", path)
    for name, value in SECURITY.items():
        assert headers[name] == value, (path, name)
    assert headers["Connection"] == "close" and "Server" not in headers


def test_the_page_is_there(house):
    status, headers, body = client(house).ask("GET", "/", mark=None)
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    text = body.decode()
    assert "<script>" not in text and "style=" not in text and "http://" not in text and "https://" not in text
    for path, kind in (("/console.css", "text/css"), ("/views.js", "text/javascript"), ("/icon.svg", "image/svg+xml"),
                       ("/chart.LICENSE", "text/plain")):
        status, headers, body = client(house).ask("GET", path, mark=None)
        assert status == 200 and headers["Content-Type"].startswith(kind) and body
    assert b"Chart.js v3" in client(house).ask("GET", "/chart.js")[2][:200]


@pytest.mark.parametrize("path", [
    "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/console.css/..", "/page/index.html", "/index.html",
    "/./", "/console.css%00", "/CONSOLE.CSS", "/state/pgveil.db", "/users.json", "/metrics", "/%2f", "/api/../console.css", "/api/",
    "/api/log/", "/api//log", "/api/%6cog"])
def test_there_is_nothing_but_the_page(aud, path):
    status, _, body = aud.ask("GET", path)
    assert status == 404 and json.loads(body) == {"error": "there is nothing at this address"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:6480", "127.0.0.1.evil.example", "localhost.evil.example", "localhost:x",
                                  "127.0.0.2", "[::2]", "[::1", "localhost@evil", "", "localhost:80:80", "127.1"])
@pytest.mark.parametrize("path", ["/", "/api/log"])
def test_names_that_are_not_ours_are_turned_away(aud, host, path):
    status, _, body = aud.ask("GET", path, headers={"Host": host})
    assert status == 421 and b"page_one" not in body


def test_a_request_without_a_host(aud):
    assert aud.ask("GET", "/", headers={"Host": None})[0] == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080"])
def test_our_names_are_ours_at_any_port(aud, host):
    assert aud.ask("GET", "/api/me", headers={"Host": host})[0] == 200


@pytest.mark.parametrize("headers", [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"}, {"X-Pgveil-Console": None}, {"Origin": "http://127.0.0.1:1"},
])
def test_other_sites_cannot_ask(house, headers):
    one = client(house, "both")
    assert one.ask("GET", "/api/rooms", headers=headers)[0] == 403
    assert one.ask("POST", "/api/logout", {}, headers=headers)[0] == 403
    assert one.ask("POST", "/api/login", {"user": "both", "password": "both-secret"}, headers=headers)[0] == 403
    one.get("rooms")


@pytest.mark.parametrize("method, path, allowed", [
    ("POST", "/", "GET, HEAD"), ("PUT", "/api/log", "GET, HEAD"), ("DELETE", "/api/log", "GET, HEAD"), ("OPTIONS", "/", "GET, HEAD"),
    ("TRACE", "/", "GET, HEAD"), ("GET", "/api/login", "POST"), ("GET", "/api/logout", "POST"), ("PATCH", "/api/rooms", "GET, HEAD"),
])
def test_methods(aud, method, path, allowed):
    status, headers, _ = aud.ask(method, path)
    assert status == 405 and headers["Allow"] == allowed


def test_a_method_that_nobody_knows(house):
    assert raw(house, b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n").split(b" ")[1] in (b"400", b"501")


def test_head_has_no_body(aud):
    status, headers, body = aud.ask("HEAD", "/")
    assert status == 200 and body == b""


def raw(house, text, seconds=30):
    with socket.create_connection(("127.0.0.1", house.console_port), seconds) as sock:
        sock.sendall(text)
        found = b""
        try:
            while True:
                more = sock.recv(65536)
                if not more:
                    return found
                found += more
        except ConnectionResetError:
            return found


@pytest.mark.parametrize("text, codes", [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40000 + b"\r\n\r\n", (b"400", b"413", b"431", b"")),
    (b"GET /" + b"x" * 40000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", (b"400", b"413", b"414", b"")),
    (b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", (b"413",)),
    (b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", (b"400",)),
    (b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", (b"413", b"")),
    (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", (b"400",)),
    (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", (b"400", b"505", b"200", b"")),
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", (b"400", b"")),
    (b"\x00" * 100 + b"\r\n\r\n", (b"400", b"")),
])
def test_what_is_no_good_request(house, text, codes):
    answer = raw(house, text)
    assert (answer.split(b" ")[1] if b" " in answer else b"") in codes, answer[:200]
    assert b"page_one" not in answer
    assert client(house).ask("GET", "/")[0] == 200


def test_one_request_a_connection(house):
    answer = raw(house, b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    assert answer.count(b"HTTP/1.1 200") == 1


def trickle(house):
    """Seconds until a client that sends a byte now and then is cut off."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", house.console_port), 40) as sock:
        text = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
        sock.settimeout(1)
        try:
            while time.monotonic() - began < 40:
                sock.sendall(text)
                text = b"x"
                try:
                    if sock.recv(1000) == b"":
                        break
                except socket.timeout:
                    pass
        except OSError:
            pass
    return time.monotonic() - began


def test_many_connections_and_slow_ones_hold_nobody_up(house):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(trickle, house)
        time.sleep(0.2)
        idle = [socket.create_connection(("127.0.0.1", house.console_port), 10) for _ in range(120)]
        try:
            for sock in idle[::2]:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            # The proxy's own clients do not notice, and once the time of the slow ones is up the page is there again.
            with house.connect("ana", "page_one") as conn:
                assert conn.execute("SELECT 41 + 1").fetchone() == (42,)
            assert client_within(house, 40)
        finally:
            for sock in idle:
                sock.close()
        assert 5 < slow.result(60) < 25


def client_within(house, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Console(house.console_port).ask("GET", "/")[0] == 200:
                return True
        except OSError:
            time.sleep(0.1)
    return False


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


def test_literals_are_hidden_where_auditors_may_not_see_them(house):
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
            deadline = time.monotonic() + 5
            found = []
            while time.monotonic() < deadline and not (found and found[0]["query"]):
                found = [row for row in one.get("sessions")["sessions"] if row["application"] == "hidden"]
            time.sleep(0.3)
            conn.cancel()
            with pytest.raises(psycopg.errors.QueryCanceled):
                slow.result(30)
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
        done = second.run("serve", timeout=30)
        assert done.returncode == 2 and "console: cannot listen on 127.0.0.1:%d" % house.console_port in done.stderr
    finally:
        second.close()


# ---- A log that takes no record


@pytest.mark.parametrize("how", ["full", "locked"])
def test_without_its_record_nothing_is_shown_and_nobody_let_in(own_veil, how):
    """A disk without room (a limit on files that the kernel holds the process to), and a file that another one holds."""
    port = free_port()
    veil = own_veil(config={"console": "127.0.0.1:%d" % port})
    with open(glob.glob(veil.path("rooms", "room_*.json"))[0]) as source:
        room = json.load(source)
    room["members"]["olga"] = {"party": next(iter(room["parties"])), "roles": ["auditor"]}
    veil.write_room(room)
    veil.provision()
    veil.start()
    with veil.connect("alice", veil.room) as conn:
        conn.execute("SELECT * FROM questions.first(n => 1)")
    veil.last_log("query LIKE '%first(n%'")
    page, late = Console(port), Console(port)
    page.login("olga", veil.users["olga"]["password"])
    seq = page.get("log")["rows"][0]["seq"]
    before = len(veil.event_rows("event = 'console_read'"))
    holder = None
    if how == "locked":
        holder = sqlite3.connect(veil.path("state", "pgveil.db"), isolation_level=None, timeout=10)
        holder.execute("BEGIN EXCLUSIVE")
    else:
        resource.prlimit(veil.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    for _ in range(2):
        assert page.ask("GET", "/api/log")[0] == 503
        status, headers, body = page.ask("GET", "/api/record?seq=%d" % seq)
        assert status == 503 and "first(n" not in body.decode() and "Content-Security-Policy" in headers
        assert late.ask("POST", "/api/login", {"user": "olga", "password": veil.users["olga"]["password"]})[0] == 503
        assert late.cookie is None
    # Who is there sees what needs no record; the proxy stays up.
    assert page.ask("GET", "/api/me")[0] == 200
    if holder is not None:
        holder.execute("ROLLBACK")
        holder.close()
    else:
        resource.prlimit(veil.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    deadline = time.monotonic() + 60
    while page.ask("GET", "/api/log")[0] != 200:
        assert time.monotonic() < deadline, veil.stderr()[-2000:]
        time.sleep(0.2)
    assert late.login("olga", veil.users["olga"]["password"])
    assert len(veil.event_rows("event = 'console_read'")) > before
    assert veil.stop() == 0
    assert veil.run("audit", "verify").returncode == 0
    veil.provision("--drop")
