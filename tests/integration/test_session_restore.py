"""
What statements undo of a session, and what stands behind it again: DISCARD ALL commits by itself amid a segment, what
brings back the startup's settings and whose rows a filter shows must not be lost with the rest of that segment.
"""
import ssl
import time

import pytest

from tests.integration.conftest import make_veil
from tests.integration.test_pooling import BY_COUNTRY, COUNTRIES, pool_room
from tests.lib.wire import SYNC, Wire, bind, close, describe, errors, execute, parse, query, rows, tags

STARTUP = [("TimeZone", "Asia/Tokyo"), ("application_name", "restored")]


@pytest.fixture(scope="module", params=["session", "transaction"])
def veil(cluster, request):
    name = "restore_%d" % time.monotonic_ns()
    veil = make_veil(cluster, [pool_room(name)], config={
        "workers": 1, "pool": {"mode": request.param, "size": 1 if request.param == "transaction" else 4}})
    veil.room = name
    veil.provision()
    veil.start()
    yield veil
    assert veil.stop() == 0
    veil.provision("--drop")
    veil.close()


def run(sql):
    return parse(sql), bind(), execute()


def is_whole(wire, user="alice"):
    """Settings and identity are those of the login."""
    assert rows(wire.ask(query("SHOW TimeZone"))) == [("Asia/Tokyo",)]
    assert rows(wire.ask(query("SHOW application_name"))) == [("restored",)]
    assert {row[0] for row in rows(wire.ask(query(BY_COUNTRY)))} == COUNTRIES[user]
    assert wire.parameters["TimeZone"] == "Asia/Tokyo" and wire.parameters["application_name"] == "restored"


@pytest.mark.parametrize("behind, sqlstate", [
    (run("SELECT 1/0") + (SYNC,), "22012"),
    ((parse("SELEC"), SYNC), "42601"),
    ((bind([], "nobody"), SYNC), "26000"),
    ((parse("SELECT * FROM public.nowhere"), SYNC), "42P01"),
    ((parse("SELECT * FROM public.customers"), SYNC), "42501"),
    (run("SELECT 1") + run("SELECT 1/0") + (SYNC,), "22012"),
    ((query("SELEC"),), "42601"),
    ((query("SELECT 1/0"),), "22012"),
    (run("ROLLBACK") + (SYNC,), None),
    (run("BEGIN") + run("SELECT 1/0") + (SYNC, query("ROLLBACK")), "22012"),
    (run("BEGIN") + (SYNC, query("ROLLBACK")), None),
    (run("BEGIN") + (SYNC, query("SELECT 1"), query("ROLLBACK")), None),
    (run("BEGIN") + (SYNC, query("COMMIT")), None),
    ((SYNC, query("SELECT 1/0")), "22012"),
])
def test_what_discard_all_takes_is_back_whatever_fails_behind_it(veil, behind, sqlstate):
    with veil.wire("alice", veil.room, params=STARTUP) as wire:
        other = veil.wire("norma", veil.room)
        assert errors(wire.ask(query("SET TimeZone = 'UTC'"))) == []
        # All of it and the question behind it in one piece: the server must not see that one before its session is whole.
        wire.send(*run("DISCARD ALL"), *behind, query(BY_COUNTRY))
        got = []
        for _ in range(sum(frame[:1] in b"SQ" for frame in behind) + 1):
            got.append(wire.until("Z"))
        assert [code for part in got[:-1] for code in errors(part)] == ([] if sqlstate is None else [sqlstate])
        assert "DISCARD ALL" in [m.text for m in got[0] if m.tag == "C"]
        assert {row[0] for row in rows(got[-1])} == COUNTRIES["alice"]
        is_whole(wire)
        assert rows(other.ask(query(BY_COUNTRY))) == []
        is_whole(wire)
        other.sock.close()


@pytest.mark.parametrize("behind", [
    run("SET TimeZone = 'UTC'") + run("COMMIT") + run("SELECT 1/0") + (SYNC,),
    run("BEGIN") + run("SET TimeZone = 'UTC'") + run("COMMIT") + run("SELECT 1/0") + (SYNC,),
    run("BEGIN") + (SYNC, query("SET TimeZone = 'UTC'; COMMIT; SELECT 1/0")),
    run("BEGIN") + (SYNC, query("SET TimeZone = 'UTC'; COMMIT AND CHAIN"), query("SELECT 1/0"), query("ROLLBACK")),
    run("BEGIN") + run("SAVEPOINT a") + (SYNC, query("SELECT 1/0"), query("ROLLBACK TO a; SET TimeZone = 'UTC'"), query("COMMIT")),
])
def test_what_was_set_and_committed_behind_discard_all_stays(veil, behind):
    with veil.wire("alice", veil.room, params=STARTUP) as wire:
        wire.send(*run("DISCARD ALL"), *behind)
        got = [wire.until("Z") for frame in behind if frame[:1] in b"SQ"]
        assert [code for part in got for code in errors(part)] == ["22012"]
        assert rows(wire.ask(query("SHOW TimeZone"))) == [("UTC",)] and wire.parameters["TimeZone"] == "UTC"
        assert {row[0] for row in rows(wire.ask(query(BY_COUNTRY)))} == COUNTRIES["alice"]


def test_discard_all_takes_the_search_path_for_good(veil):
    with veil.wire("alice", veil.room, params=STARTUP) as wire:
        before = rows(wire.ask(query("SHOW search_path")))
        assert errors(wire.ask(query("SET search_path = pg_catalog"))) == []
        assert rows(wire.ask(query("SHOW search_path"))) == [("pg_catalog",)] != before
        assert errors(wire.ask(*run("DISCARD ALL"), *run("SELECT 1/0"), SYNC)) == ["22012"]
        assert rows(wire.ask(query("SHOW search_path"))) == before


def test_a_query_that_resets_amid_a_segment(veil):
    for sql in ("SELECT 1", "DISCARD ALL"):
        with veil.wire("alice", veil.room, params=STARTUP) as wire:
            assert errors(wire.ask(*run(sql), query("RESET ALL"))) == []
            assert errors(wire.ask(parse("SELEC"), SYNC)) == ["42601"]
            is_whole(wire)


def plain(cluster):
    """A session of PostgreSQL's own, which says what is right."""
    cluster.psql("DROP ROLE IF EXISTS restore_plain; CREATE ROLE restore_plain LOGIN PASSWORD 'plain'")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return Wire.login("127.0.0.1", cluster.port, "restore_plain", "plain", "warehouse", tls=context)


def gist(messages):
    return [(m.tag, m.fields.get("C") if m.tag in "EN" else m.body) for m in messages if m.tag not in "TS"]


def test_execute_of_what_the_protocol_prepared(cluster, veil):
    with plain(cluster) as right, veil.wire("alice", veil.room) as wire:
        for sql in ("COPY (SELECT 1) TO STDOUT", "SHOW DateStyle", "SELECT 7", ""):
            for frames in ((parse(sql, "s"), SYNC), (query("EXECUTE s"),), (query("SELECT 5; EXECUTE s; SELECT 6"),),
                           (parse("EXECUTE s"), bind(), describe("P"), execute(), SYNC), (query("BEGIN; EXECUTE s"),),
                           (query("EXECUTE s; SELECT 1/0"),), (query("EXECUTE s"),), (query("ROLLBACK"),),
                           (close("S", "s"), SYNC)):
                assert gist(wire.ask(*frames)) == gist(right.ask(*frames)), (sql, frames)
        for turn in range(12):
            assert errors(wire.ask(parse("COPY (%s) TO STDOUT" % BY_COUNTRY, "c"), SYNC)) == []
            got = wire.ask(query("EXECUTE c"))
            assert tags(got)[0] == "H" and tags(got).count("d") == 2 and got[-2].text == "COPY 2", turn
            assert errors(wire.ask(query("DEALLOCATE c"))) == []


@pytest.mark.parametrize("sql", [
    "RESET ALL", "SET TimeZone = 'UTC'", "SET search_path = nowhere", "RESET TimeZone", "DISCARD ALL", "BEGIN", "COMMIT",
    "SAVEPOINT a", "DEALLOCATE ALL", "PREPARE q AS %s" % BY_COUNTRY, "DECLARE k CURSOR WITH HOLD FOR %s" % BY_COUNTRY,
    "SHOW search_path", "EXECUTE other"])
def test_execute_of_what_would_change_the_session_is_refused(veil, sql):
    with veil.wire("alice", veil.room, params=STARTUP) as wire, veil.wire("norma", veil.room) as other:
        assert errors(wire.ask(query("PREPARE other AS SELECT 1"))) == []
        assert errors(wire.ask(parse(sql, "s"), SYNC)) == []
        for frames in ((query("EXECUTE s"),), (query("SELECT 1; EXECUTE s"),), (parse("EXECUTE s"), bind(), execute(), SYNC)):
            got = wire.ask(*frames)
            assert errors(got) == ["0A000"] and got[-1].body == b"I"
        hint = [m.fields["H"] for m in got if m.tag == "E"]
        assert hint == ["Bind and execute it by the protocol, or send its text."]
        is_whole(wire)
        assert errors(wire.ask(query("DEALLOCATE s"))) == errors(wire.ask(query("DEALLOCATE other"))) == []
        # Nothing of it is there for another who has the same server next.
        assert errors(other.ask(query("EXECUTE q"))) == ["26000"]
        assert errors(other.ask(query("FETCH ALL k"))) == ["34000"]
        is_whole(wire)
