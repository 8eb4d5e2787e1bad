"""
A reload while a client is in the middle of something: cursors and portals that were opened before it, transactions that
are open, in both modes of pooling. What was chosen for other attributes, or masked otherwise, is shown no more.
"""
import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib import data
from tests.lib.governance import reload
from tests.lib.pgveil import serving
from tests.lib.wire import SYNC, bind, errors, execute, parse, query, rows

USERS = {**data.USERS, "alice": {"password": "alice", "attributes": {"groups": ["g0"]}}}
CHANGED = "the clean room's policy has changed since the statement was made"
MINE = "SELECT id, grp FROM public.cells WHERE id <= 9 ORDER BY id"


@pytest.fixture(scope="module", params=["session", "transaction"])
def served(request, cluster):
    name = "reload_" + request.param
    room = data.small_room(name)
    room["datasets"]["public.cells"]["row_filter"] = "grp = ANY (:groups)"
    room["questions"]["first"]["sql"] = MINE.replace("9", ":n")
    with serving(make_veil(cluster, [room], USERS, {"pool": {"mode": request.param, "size": 2}})) as veil:
        veil.room, veil.shape = name, room
        yield veil


@pytest.fixture
def veil(served):
    yield served
    move(served, "g0")


def move(veil, *groups):
    """Alice's groups are others from now on."""
    veil.write_users({**USERS, "alice": {"password": "alice", "attributes": {"groups": list(groups)}}})
    reload(veil, lambda room: None)


def said(answer):
    return [m.fields["M"] for m in answer if m.tag == "E"]


def groups(answer):
    assert errors(answer) == [], said(answer)
    return {row[1] for row in rows(answer)}


def opened(veil):
    """A client with a held cursor, a prepared statement, and in an open transaction a cursor and a portal half read."""
    one = veil.wire("alice", veil.room)
    assert errors(one.ask(query("DECLARE held CURSOR WITH HOLD FOR " + MINE))) == []
    assert errors(one.ask(parse(MINE, "s"), SYNC) + one.ask(query("PREPARE p AS " + MINE))) == []
    assert errors(one.ask(query("BEGIN"))) == []
    assert groups(one.ask(bind([], "s", "half"), execute("half", 1), SYNC)) == {"g0"}
    assert errors(one.ask(query("DECLARE fresh CURSOR FOR " + MINE))) == []
    assert errors(one.ask(query("DECLARE plain CURSOR FOR SELECT n FROM generate_series(1, 3) n"))) == []
    assert groups(one.ask(query("FETCH 1 FROM held"))) == {"g0"}
    return one


@pytest.mark.parametrize("last", ["portal", "fresh", "held", "query", "prepared"])
def test_other_attributes(veil, cluster, last):
    with opened(veil) as one:
        mark = cluster.log_size()
        move(veil, "g1")
        if last == "portal":
            assert said(one.ask(execute("half", 1), SYNC)) == [CHANGED]
        elif last in ("fresh", "held"):
            assert said(one.ask(query("FETCH 1 FROM " + last))) == [CHANGED]
        elif last == "query":
            assert groups(one.ask(query(MINE))) == {"g1"}
            assert len(rows(one.ask(query("FETCH 1 FROM plain")))) == 1
        else:
            assert groups(one.ask(bind([], "s"), execute(), SYNC)) == {"g1"}
        assert errors(one.ask(query("ROLLBACK"))) == []
        assert said(one.ask(query("FETCH 1 FROM held"))) == [CHANGED]
        assert groups(one.ask(bind([], "s"), execute(), SYNC)) == groups(one.ask(query("EXECUTE p"))) == {"g1"}
        assert groups(one.ask(query("CLOSE held; " + MINE))) == {"g1"}
        # Who asks is told before a statement, not over and over.
        assert cluster.log(mark).count("pgveil.identity_mac") < 40


def test_other_attributes_in_a_failed_transaction(veil):
    with opened(veil) as one:
        assert errors(one.ask(query("SELECT 1/0"))) == ["22012"]
        move(veil, "g1")
        assert errors(one.ask(query("FETCH 1 FROM fresh"))) in (["25P02"], ["42501"])
        assert errors(one.ask(bind([], "s"), execute(), SYNC)) == ["25P02"]
        assert errors(one.ask(query("ROLLBACK"))) == []
        assert groups(one.ask(bind([], "s"), execute(), SYNC)) == {"g1"}


def test_another_mask(veil):
    with opened(veil) as one:
        assert errors(one.ask(query("ROLLBACK"))) == []  # provisioning waits for who reads the view
        veil.shape["datasets"]["public.cells"]["columns"]["grp"] = {"category": 3}
        veil.write_room(veil.shape)
        veil.provision()
        reload(veil, lambda room: None)
        assert said(one.ask(query("FETCH 1 FROM held"))) == [CHANGED]
        assert {len(group) for group in groups(one.ask(bind([], "s"), execute(), SYNC))} == {64}
    veil.shape["datasets"]["public.cells"]["columns"]["grp"] = {"category": 1}
    veil.write_room(veil.shape)
    veil.provision()
    reload(veil, lambda room: None)


def test_a_reload_of_the_same(veil):
    with opened(veil) as one:
        reload(veil, lambda room: room["questions"].pop("slow"))
        assert groups(one.ask(execute("half", 1), SYNC)) == {"g0"}
        assert groups(one.ask(query("FETCH 1 FROM fresh"))) == groups(one.ask(query("FETCH 1 FROM held"))) == {"g0"}
        assert errors(one.ask(query("COMMIT"))) == []
        assert groups(one.ask(query("FETCH 1 FROM held"))) == {"g0"}


def test_a_driver_in_a_transaction(veil):
    with veil.connect("alice", veil.room, autocommit=False) as conn:
        with conn.cursor("one by one") as cursor:
            cursor.itersize = 1
            cursor.execute(MINE)
            move(veil, "g2")
            with pytest.raises(psycopg.Error, match=CHANGED):
                cursor.fetchone()
        conn.rollback()
        assert {group for _, group in conn.execute(MINE).fetchall()} == {"g2"}
