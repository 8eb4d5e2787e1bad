"""What must not get through: requests of all kinds, and from other sites. How the page looks and works in a browser: test_page.py."""
import concurrent.futures
import json
import socket
import threading
import time

import pytest

from tests.integration.console.house import client
from tests.lib.console import Console

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                               "frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
}


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


def trickle(house, is_there):
    """Seconds until a client that sends a byte now and then is cut off."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", house.console_port), 60) as sock:
        is_there.set()
        text = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
        sock.settimeout(1)
        try:
            while time.monotonic() - began < 120:
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
        is_there = threading.Event()
        slow = pool.submit(trickle, house, is_there)
        assert is_there.wait(60)
        idle = [socket.create_connection(("127.0.0.1", house.console_port), 60) for _ in range(120)]
        try:
            for sock in idle[::2]:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            # The proxy's own clients do not notice, and once the time of the slow ones is up the page is there again.
            with house.connect("ana", "page_one") as conn:
                assert conn.execute("SELECT 41 + 1").fetchone() == (42,)
            assert client_within(house, 100)
        finally:
            for sock in idle:
                sock.close()
        assert 5 < slow.result(180) < 100


def client_within(house, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Console(house.console_port).ask("GET", "/")[0] == 200:
                return True
        except OSError:
            time.sleep(0.1)
    return False
