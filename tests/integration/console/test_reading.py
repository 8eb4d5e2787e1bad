"""What each auditor sees. Oracle: the state file itself, read beside pgveil."""
import concurrent.futures
import glob
import json
import resource
import sqlite3
import time
import urllib.parse

import psycopg
import pytest

from tests.lib.cluster import free_port
from tests.lib.console import Console
from tests.lib.running import wait_running


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
    deadline = time.monotonic() + 60
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


def test_live_sessions(house, both, cluster):
    with house.connect("ana", "page_one", application_name="looked at") as conn, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        conn.execute("BEGIN")
        found = [row for row in both.get("sessions")["sessions"] if row["application"] == "looked at"]
        assert len(found) == 1 and found[0]["state"] == "in transaction" and found[0]["user"] == "ana" and found[0]["query"] is None
        conn.execute("ROLLBACK")
        slow = pool.submit(conn.execute, "SELECT * FROM questions.slow(n => 0)")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [row for row in both.get("sessions", mark="background")["sessions"] if row["application"] == "looked at"]
            if found and found[0]["state"] == "running":
                break
            time.sleep(0.05)
        assert found[0]["state"] == "running" and found[0]["query"] == "SELECT * FROM questions.slow(n => 0)"
        assert found[0]["question"] == "slow" and found[0]["query_since"]
        wait_running(cluster)
        conn.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            slow.result(120)
    deadline = time.monotonic() + 60
    while any(row["application"] == "looked at" for row in both.get("sessions")["sessions"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
        holder = sqlite3.connect(veil.path("state", "pgveil.db"), isolation_level=None, timeout=60)
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
