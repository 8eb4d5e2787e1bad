"""
The time of day jumps back an hour, forward a day and back again under a running proxy (tests/lib/clock_shift.c). Spans
do not notice; the log says what the clock said, in the order in which things happened; and what ends by a date or is
counted by the day is never open again because somebody set the clock back.
"""
import datetime
import json
import os
import sqlite3
import struct
import subprocess
import threading
import time

import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.integration.test_tokens import login as token_login
from tests.lib import cluster as clusters, data, wire as w
from tests.lib.certs import Authority
from tests.lib.console import Console
from tests.lib.governance import clear_of_midnight
from tests.lib.tokens import Issuer

HOUR, DAY = 3600, 86400
JUMPS = (-HOUR, DAY, 0)
BUDGET = "SELECT id FROM public.cells WHERE id < 5 ORDER BY id"
SLOW = "SELECT * FROM questions.brief(n => %d)"


def utc(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def stamp(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Shifted:
    """A proxy whose clock this test sets."""

    def __init__(self, cluster, folder):
        self.file = os.path.join(folder, "shift")
        self.shifter = os.path.join(folder, "clock_shift.so")
        source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib", "clock_shift.c")
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", self.shifter, source], check=True)
        self.by(0)
        self.soon = time.time() + 12
        self.issuer = Issuer(os.path.join(folder, "issuer")).key("ec", "ES256")
        rooms = []
        for name in ("clock_room", "clock_soon", "clock_later"):
            room = data.small_room(name)
            room["members"]["tina"] = {"party": "acme", "roles": ["analyst"]}
            room["members"]["aud"] = {"party": "acme", "roles": ["auditor"]}
            room["questions"]["counted"] = {"type": "list", "sql": BUDGET,
                                            "access_budget": [{"per": "day", "runs": 1}]}
            room["questions"]["brief"] = {
                "type": "analytical", "sql": "SELECT count(*) AS n FROM public.cells a, public.cells b, public.cells c, public.others o"
                " WHERE o.id <= 4 AND a.id + b.id + c.id + o.id > :n", "parameters": {"n": {"type": "integer"}},
                "output": {"timeout": "60s"}}
            rooms.append(room)
        rooms[1]["expires"] = stamp(self.soon)
        rooms[2]["expires"] = stamp(time.time() + 2 * HOUR)
        self.console_port = clusters.free_port()
        self.veil = make_veil(cluster, rooms, {
            "alice": {"password": "alice-secret"}, "bi_service": {"password": "bi-secret"},
            "aud": {"password": "aud-secret"}}, sslmode="disable")  # a certificate has dates of its own
        ca = Authority(self.veil.path("tls"))
        cert, key = ca.issue("pgveil")
        with open(self.veil.path("jwks.json"), "w") as out:
            json.dump(self.issuer.jwks("ec"), out)
        self.veil.ca = ca
        self.veil.config["tls"] = {"cert": cert, "key": key}
        self.veil.config["tokens"] = {"jwks": "jwks.json", "issuer": self.issuer.NAME,
                                      "audience": self.issuer.AUDIENCE, "clock_skew": "1s"}
        self.veil.config["console"] = "127.0.0.1:%d" % self.console_port
        self.veil.config["audit"] = {"head_interval": "1s", "segment_age": "12h", "retention_age": "13h"}
        self.veil.config.setdefault("limits", {})["client_idle_timeout"] = "10min"
        self.veil.write_config()
        self.veil.provision()
        before = {name: os.environ.get(name) for name in ("LD_PRELOAD", "CLOCK_SHIFT", "ASAN_OPTIONS")}
        os.environ.update(LD_PRELOAD=self.shifter, CLOCK_SHIFT=self.file,
                          ASAN_OPTIONS="verify_asan_link_order=0:" + (before["ASAN_OPTIONS"] or ""))
        try:
            self.veil.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def by(self, seconds):
        fd = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(fd, struct.pack("=q", int(seconds)), 0)
        os.close(fd)
        self.seconds = seconds

    def now(self):
        return time.time() + self.seconds

    def rows(self, where, view="query_log", order="seq"):
        """Of the whole log: a day ahead, what is old enough is sealed at once."""
        done = self.veil.run("audit", "query", "--json", "SELECT * FROM %s WHERE %s ORDER BY %s" % (view, where, order))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def last(self, where):
        deadline = time.monotonic() + 60
        while True:
            found = self.rows(where, order="seq DESC LIMIT 1")
            if found and found[0]["outcome"] is not None or time.monotonic() > deadline:
                return found[0]
            time.sleep(0.05)

    def number(self, sql):
        with sqlite3.connect("file:%s?mode=ro" % self.veil.path("state", "pgveil.db"), uri=True, timeout=60) as state:
            return state.execute(sql).fetchone()[0]


@pytest.fixture(scope="module")
def shifted(cluster, tmp_path_factory):
    made = Shifted(cluster, str(tmp_path_factory.mktemp("clock")))
    yield made
    made.by(0)
    assert made.veil.stop() == 0, made.veil.stderr()[-3000:]
    done = made.veil.run("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    made.veil.provision("--drop")
    made.veil.close()


@pytest.fixture(autouse=True)
def back(shifted):
    clear_of_midnight(120)
    shifted.by(0)
    yield
    shifted.by(0)


def test_records_say_what_the_clock_said_in_the_order_of_things(shifted):
    veil = shifted.veil
    said = []
    with veil.connect("alice", "clock_room") as conn:
        for number, jump in enumerate((0, *JUMPS)):
            shifted.by(jump)
            text = "SELECT %d -- jump" % number
            conn.execute(text)
            row = shifted.last("query = '%s'" % text)
            assert abs(utc(row["at"]) - shifted.now()) < 30, (jump, row["at"])
            assert row["outcome"] == "completed" and 0 <= row["duration_us"] < 30e6
            said.append(row)
    assert [row["seq"] for row in said] == sorted(row["seq"] for row in said)
    # The log's own order is that of seq, and it is whole.
    done = veil.run("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_since_finds_what_the_clock_dated_so(shifted):
    veil = shifted.veil
    with veil.connect("alice", "clock_room") as conn:
        for jump in JUMPS:
            shifted.by(jump)
            conn.execute("SELECT 'since %d'" % jump)
    shifted.last("query = 'SELECT ''since 0'''")
    shifted.by(0)
    for ahead in (-2 * HOUR, -HOUR / 2, DAY / 2):
        since = stamp(time.time() + ahead)
        want = [row["seq"] for row in shifted.rows("at >= '%s'" % since, order="seq DESC")]
        done = veil.run("audit", "list", "--since", since, "--limit", "100000", "--json")
        assert [row["seq"] for row in json.loads(done.stdout)] == want and want
        # The page walks from the newest record backwards, and does not stop at those of the right time.
        page = Console(shifted.console_port)
        page.login("aud", "aud-secret")
        got = page.get("log?room=clock_room&limit=200&since=" + since)
        assert [row["seq"] for row in got["rows"]] == [
            row["seq"] for row in shifted.rows("at >= '%s' AND room = 'clock_room'" % since, order="seq DESC LIMIT 200")]


def test_what_runs_and_who_waits_do_not_notice(shifted):
    """A question with a timeout runs through the jumps, an idle session stays, and spans are those that passed."""
    veil = shifted.veil
    idle = veil.wire("alice", "clock_room")
    began = time.monotonic()
    failed = []

    def ask(number):
        try:
            with veil.connect("alice", "clock_room") as conn:
                conn.execute(SLOW % number)
        except psycopg.Error as error:
            failed.append(error)

    for number, jump in enumerate(JUMPS, 1):
        asking = threading.Thread(target=ask, args=(number,))
        asking.start()
        deadline = time.monotonic() + 60
        while not shifted.rows("query = '%s'" % (SLOW % number)) and time.monotonic() < deadline:
            time.sleep(0.01)
        shifted.by(jump)
        asking.join(120)
        assert not asking.is_alive() and not failed, failed
        row = shifted.last("query = '%s'" % (SLOW % number))
        assert row["outcome"] == "completed" and 0 <= row["duration_us"] <= (time.monotonic() - began) * 1e6
        assert w.rows(idle.ask(w.query("SELECT 1"))) == [("1",)]
    idle.sock.close()
    deadline = time.monotonic() + 60
    while True:
        spans = [row["detail"]["duration_us"] for row in shifted.rows("event = 'session_end'", "event_log")]
        if len(spans) >= 4 or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert len(spans) >= 4 and all(0 <= span < 600e6 for span in spans)


def test_heads_are_signed_on_and_nothing_is_retired(shifted):
    veil = shifted.veil
    for jump in (*JUMPS, -HOUR, 0):
        shifted.by(jump)
        before = shifted.number("SELECT coalesce(max(seq), 0) FROM head")
        with veil.connect("alice", "clock_room") as conn:
            conn.execute("SELECT 'a head'")
        deadline = time.monotonic() + 90
        while shifted.number("SELECT coalesce(max(seq), 0) FROM head") <= before:
            assert time.monotonic() < deadline, "no head was signed after the clock went by %d s" % jump
            time.sleep(0.05)
    # A day later the log is old enough to be sealed; what a set clock says is too old is kept all the same.
    shifted.by(DAY)
    deadline = time.monotonic() + 90
    while shifted.number("SELECT count(*) FROM segment") == 0:
        assert time.monotonic() < deadline, veil.stderr()[-2000:]
        time.sleep(0.1)
    assert "the clock was set by" in veil.stderr()
    time.sleep(1.5)
    assert shifted.number("SELECT count(*) FROM retired") == 0
    shifted.by(0)
    done = veil.run("audit", "verify")
    assert done.returncode == 0 and "are one chain" in done.stdout, done.stdout + done.stderr


def code_of(conn, sql):
    try:
        conn.execute(sql)
    except psycopg.Error as error:
        return error.sqlstate or "closed"
    return None


def test_a_budget_of_a_day_never_comes_back(shifted):
    with shifted.veil.connect("alice", "clock_room") as conn:
        assert code_of(conn, BUDGET) is None and code_of(conn, BUDGET) == "53400"
        for jump in (-HOUR, -DAY, 0, -40 * DAY):
            shifted.by(jump)
            assert code_of(conn, BUDGET) == "53400", jump
        # Tomorrow's is another, whoever brought tomorrow about; and spent is spent.
        shifted.by(DAY)
        assert code_of(conn, BUDGET) is None and code_of(conn, BUDGET) == "53400"
        shifted.by(0)
        assert code_of(conn, BUDGET) == "53400"


def test_a_room_that_has_expired_stays_so(shifted):
    veil = shifted.veil
    with veil.connect("alice", "clock_later") as conn:
        assert code_of(conn, "SELECT id, label FROM public.others ORDER BY id") is None
        shifted.by(DAY)
        assert code_of(conn, "SELECT id, label FROM public.others ORDER BY id") == "42501"
        with pytest.raises(psycopg.OperationalError, match="clock_later"):
            veil.connect("alice", "clock_later")
        # The clock was wrong and is right again: so it is open until its date.
        shifted.by(0)
        assert code_of(conn, "SELECT id, label FROM public.others ORDER BY id") is None
    time.sleep(max(0.0, shifted.soon - time.time()) + 0.1)
    for jump in JUMPS:
        shifted.by(jump)
        with pytest.raises(psycopg.OperationalError, match="clock_soon"):
            veil.connect("alice", "clock_soon")


def test_a_token_ends_when_it_said(shifted):
    veil = shifted.veil
    short, long = (shifted.issuer.token("ec", "tina", seconds=seconds) for seconds in (6, 2 * HOUR))
    conn = token_login(veil, "tina", short, dbname="clock_room")
    with token_login(veil, "tina", long, dbname="clock_room") as kept:
        shifted.by(DAY)
        assert code_of(kept, "SELECT 1") is not None, "a token outlived its date"
    with pytest.raises(psycopg.OperationalError):
        token_login(veil, "tina", long, dbname="clock_room")
    shifted.by(-HOUR)
    # An hour back makes no token younger than it is.
    time.sleep(8)
    assert code_of(conn, "SELECT 1") is not None
    with pytest.raises(psycopg.OperationalError):
        token_login(veil, "tina", short, dbname="clock_room")
    shifted.by(0)
    with token_login(veil, "tina", long, dbname="clock_room") as kept:
        assert code_of(kept, "SELECT 1") is None


def test_latencies_are_those_that_passed(shifted):
    """Every duration of the log, and of all sessions through all the jumps of this module."""
    veil = shifted.veil
    with veil.connect("alice", "clock_room") as conn:
        for jump in JUMPS:
            shifted.by(jump)
            conn.execute("SELECT 1")
    worst = max(row["duration_us"] for row in shifted.rows("duration_us IS NOT NULL"))
    assert 0 <= worst < 300e6
    auditor = veil.connect("aud", "pgveil")
    shifted.by(-HOUR)
    assert auditor.execute("SELECT count(*) FROM query_log").fetchone()[0] > 0
    shifted.by(DAY)
    row = shifted.last("room = 'pgveil' AND query LIKE 'SELECT count%'")
    assert 0 <= row["duration_us"] < 300e6
