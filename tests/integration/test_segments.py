"""Sealed segments of the query log while it is served: one log towards every reader, whatever ends the process."""
import glob
import json
import os
import re
import shutil
import sqlite3
import stat
import time

import psycopg

from tests.lib.pgveil import run_binary


def room_of(veil):
    with open(glob.glob(veil.path("rooms", "room_*.json"))[0]) as source:
        return json.load(source)


def serve(own_veil, **audit):
    veil = own_veil(config={"audit": {"segment_age": "1s", **audit}})
    room = room_of(veil)
    room["members"]["olga"] = {"party": next(iter(room["parties"])), "roles": ["auditor"]}
    veil.write_room(room)
    veil.provision()
    veil.start()
    return veil


def segments(veil):
    return sorted(glob.glob(veil.path("state", "pgveil.db.segment-??????")))


def wait_for(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def exported(veil):
    done = veil.run("audit", "export", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def ask(veil, first, count):
    with veil.connect("alice", veil.room) as conn:
        for n in range(first, first + count):
            conn.execute("SELECT * FROM questions.first(n => 1) -- %d" % n)


def test_one_log_for_every_reader(own_veil):
    veil = serve(own_veil)
    for round_ in range(3):
        ask(veil, round_ * 10, 10)
        wait_for(lambda: len(segments(veil)) > round_)
    assert all(stat.S_IMODE(os.stat(path).st_mode) == 0o400 for path in segments(veil))
    rows = [row for row in exported(veil) if "questions.first" in (row["query"] or "")]
    assert [int(row["query"].rsplit(" ", 1)[1]) for row in rows] == list(range(30))
    assert all(row["outcome"] == "completed" and row["rows"] == 1 for row in rows)
    listed = json.loads(veil.run("audit", "list", "--user", "alice", "--limit", "5", "--json").stdout)
    assert len(listed) == 5 and listed == sorted(listed, key=lambda row: -row["seq"])
    assert "SELECT" in veil.run("audit", "show", str(rows[0]["seq"])).stdout
    counted = json.loads(veil.run("audit", "query", "--json", "SELECT count(*) AS n FROM query_log WHERE query LIKE '%.first(%'").stdout)
    assert counted == [{"n": 30}]
    with veil.connect("olga", "pgveil") as auditor:
        got = auditor.execute("SELECT seq, query, rows FROM query_log WHERE query LIKE '%%.first(%%' ORDER BY seq").fetchall()
        assert got == [(row["seq"], row["query"], row["rows"]) for row in rows]
        assert auditor.execute("SELECT sum(statements) FROM top_members WHERE \"user\" = 'alice'").fetchone()[0] == 30
        for name in ("segment", "retired", "sealed_query_log", "manifest", "late_end"):
            # Empty views stand before the tables of the file; others do not exist.
            try:
                assert auditor.execute("SELECT * FROM " + name).fetchall() == []
            except psycopg.Error as caught:
                assert caught.sqlstate in ("42P01", "42501")
    done = veil.run("audit", "verify")
    assert done.returncode == 0 and re.search(r"[3-9] sealed segments and the live file are one chain", done.stdout), done.stdout
    # What was sealed has left the live file.
    state = sqlite3.connect(veil.path("state", "pgveil.db"))
    sealed = state.execute("SELECT max(last_seq) FROM segment").fetchone()[0]
    wait_for(lambda: state.execute("SELECT count(*) FROM statement WHERE seq <= ?", (sealed,)).fetchone()[0] == 0)
    state.close()
    events = [row["event"] for row in json.loads(veil.run(
        "audit", "query", "--json", "SELECT event FROM event_log WHERE event LIKE 'segment%'").stdout)]
    assert events.count("segment_sealed") >= 3
    assert veil.stop() == 0
    assert veil.run("audit", "verify").returncode == 0
    veil.provision("--drop")


def test_kill_9_between_and_while_sealing(own_veil):
    veil = serve(own_veil)
    for round_ in range(3):
        ask(veil, round_ * 20, 20)
        time.sleep(0.8 + 0.17 * round_)
        veil.kill()
        assert veil.run("audit", "verify").returncode == 0
        veil.start()
    rows = [row for row in exported(veil) if "questions.first" in (row["query"] or "")]
    assert [int(row["query"].rsplit(" ", 1)[1]) for row in rows] == list(range(60))
    wait_for(lambda: segments(veil))
    assert veil.stop() == 0
    assert not [name for name in os.listdir(veil.path("state")) if name.endswith(".new")]
    assert veil.run("audit", "verify").returncode == 0
    veil.provision("--drop")


def test_retention_leaves_a_log_that_says_so(own_veil):
    veil = serve(own_veil)
    ask(veil, 0, 20)
    wait_for(lambda: len(segments(veil)) > 0)
    head = veil.run("audit", "head").stdout
    assert veil.stop() == 0
    with open(veil.path("head"), "w") as out:
        out.write(head)
    veil.config["audit"]["retention_age"] = "1s"
    veil.write_config()
    time.sleep(1.1)
    veil.start()
    ask(veil, 20, 5)
    wait_for(lambda: "retired" in veil.run("audit", "verify").stdout)
    done = veil.run("audit", "verify", "--head", veil.path("head"))
    assert done.returncode == 0
    assert re.search(r"verified from record \d+; segments 1 to \d+ are retired, the last on .* by retention_age 1 s", done.stdout)
    assert not os.path.exists(veil.path("state", "pgveil.db.segment-000001"))
    assert veil.stop() == 0
    # The folder copied elsewhere verifies as well; a segment missing from it does not.
    veil.config["audit"].pop("retention_age")
    veil.write_config()
    assert veil.run("audit", "seal").returncode == 0
    shutil.copytree(veil.path("state"), veil.path("copy"))
    veil.config["state"] = "copy/pgveil.db"
    veil.write_config()
    assert veil.run("audit", "verify").returncode == 0
    gone = sorted(glob.glob(veil.path("copy", "pgveil.db.segment-*")))[-1]
    os.unlink(gone)
    done = veil.run("audit", "verify")
    assert done.returncode == 1 and "no tombstone" in done.stdout and os.path.basename(gone) in done.stdout
    done = veil.run("audit", "list", "--limit", "0")
    assert done.returncode == 2 and "is not there" in done.stderr
    veil.config["state"] = "state/pgveil.db"
    veil.write_config()
    veil.provision("--drop")


def test_settings_that_do_not_go_together(tmp_path, own_veil):
    veil = own_veil(config={"audit": {"retention_age": "30d"}})
    done = veil.run("check")
    assert done.returncode == 1 and "segment_age" in done.stdout + done.stderr
    assert run_binary("audit", "seal", "-c", "/nonexistent").returncode == 2
