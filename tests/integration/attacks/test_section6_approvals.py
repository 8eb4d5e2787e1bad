"""ATTACKS section 6: approvals and consent that are edited under, replayed, forged or copied (G3, G4); rooms that expire."""
import copy
import datetime
import os
import time

import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib import data, wire as w
from tests.lib.certs import ed25519
from tests.lib.governance import FIRST, LABELS, approve, comes_true, consent, needs, refusal, reload, state_of, states
from tests.lib.running import wait_running


# --- G3, G4: approvals that are changed under, copied, forged

def signed_twice(veil):
    """The party signs version 1, then a stricter version 2; the operator goes back to version 1."""
    approve(veil, "labels", "megamart")
    first = copy.deepcopy(veil.shape)
    veil.shape["questions"]["labels"]["output"] = {"max_rows": 5}
    veil.write_room(veil.shape)
    assert states(veil)[("labels", "megamart")]["state"] == "stale"
    approve(veil, "labels", "megamart")
    assert states(veil)[("labels", "megamart")]["state"] == "valid"
    veil.shape = first
    veil.write_room(first)


def test_G3_an_edit_and_its_undoing(governed):
    veil = governed(needs("megamart"))
    approve(veil, "labels", "megamart")
    conn = veil.connect("alice", veil.room)
    assert comes_true(lambda: refusal(conn, LABELS, prepare=True) is None)
    conn.execute("PREPARE p AS " + LABELS)
    reload(veil, lambda room: room["questions"]["labels"].update(sql="SELECT id, label FROM public.others ORDER BY id DESC"))
    for sql, more in ((LABELS, {"prepare": True}), ("EXECUTE p", {}), (LABELS, {})):
        assert comes_true(lambda: refusal(conn, sql, **more) is not None)
        assert "stale" in refusal(conn, sql, **more).message_detail
    # What was signed is what stands there again: the party's word is about the text, not about its history.
    reload(veil, lambda room: room["questions"]["labels"].update(sql="SELECT id, label FROM public.others ORDER BY id"))
    assert comes_true(lambda: refusal(conn, LABELS, prepare=True) is None)


@pytest.mark.parametrize("how", ["none", "copy", "copy_as_newest", "newest_made_older", "text_exchanged"])
def test_G3_an_old_approval_is_replayed(governed, how):
    veil = governed(needs("megamart"), start=False)
    signed_twice(veil)
    state = state_of(veil)
    columns = "room, question, party, at, text, signature, fingerprint"
    old, new = state.execute("SELECT %s FROM approval ORDER BY seq" % columns).fetchall()
    insert = "INSERT INTO approval (%s) VALUES (?, ?, ?, ?, ?, ?, ?)" % columns
    if how == "copy":
        state.execute(insert, old)
    elif how == "copy_as_newest":
        state.execute(insert, (*old[:3], new[3] + 1000000, *old[4:]))
    elif how == "newest_made_older":
        state.execute("UPDATE approval SET at = ? WHERE at = ?", (old[3] - 1000000, new[3]))
        state.execute("UPDATE approval SET at = at + 2000000 WHERE at = ?", (old[3],))
    elif how == "text_exchanged":
        state.execute("UPDATE approval SET text = ? WHERE at = ?", (old[4], new[3]))
        state.execute("DELETE FROM approval WHERE at = ?", (old[3],))
    state.close()
    assert states(veil)[("labels", "megamart")]["state"] in ("stale", "missing")
    assert veil.explain(LABELS, veil.room, "alice")[1]["code"] == "approval"
    if how == "copy":
        veil.start()
        diag = refusal(veil.connect("alice", veil.room), LABELS)
        assert diag.sqlstate == "42501" and "approval" in diag.message_detail
    approve(veil, "labels", "megamart")
    assert states(veil)[("labels", "megamart")]["state"] == "valid", "the party itself may go back"


def test_G3_an_old_grant_of_consent_is_replayed(governed):
    veil = governed()
    consent(veil, "megamart", "withdraw", "--question", "labels")
    consent(veil, "megamart", "grant", "--question", "labels")
    consent(veil, "megamart", "withdraw", "--question", "labels")
    conn = veil.connect("alice", veil.room)
    state = state_of(veil)
    columns = "room, kind, subject, party, withdrawn, at, signature, fingerprint"
    grant = state.execute("SELECT %s FROM consent WHERE withdrawn = 0" % columns).fetchone()
    insert = "INSERT INTO consent (%s) VALUES (?, ?, ?, ?, ?, ?, ?, ?)" % columns
    state.execute(insert, grant)
    time.sleep(0.5)
    assert refusal(conn, LABELS).sqlstate == "42501"
    state.execute(insert, (*grant[:5], grant[5] + 60000000, *grant[6:]))
    time.sleep(0.5)
    assert "withdrawn" in refusal(conn, LABELS).message_detail
    state.execute("DELETE FROM consent WHERE at = ?", (grant[5] + 60000000,))
    state.close()
    consent(veil, "megamart", "grant", "--question", "labels")
    assert comes_true(lambda: refusal(conn, LABELS) is None)


def test_G3_approvals_are_forged_by_who_may_write_the_state(governed, tmp_path):
    """Rows made from nothing, by a key of his own, by bending a true one; none of them opens anything."""
    def change(room):
        needs("acme", "megamart")(room)
        needs("acme", question="first")(room)
        room["parties"]["twin"] = {"public_key": "keys/acme.pem"}
        room["questions"]["slow"]["approvals"] = ["twin"]

    veil = governed(change)
    conn = veil.connect("alice", veil.room)
    approve(veil, "labels", "acme")
    approve(veil, "first", "acme")
    approve(veil, "slow", "acme")  # nobody asks for it, and it is not the twin's
    assert comes_true(lambda: refusal(conn, FIRST) is None)
    state = state_of(veil)
    columns = "room, question, party, at, text, signature, fingerprint"
    insert = "INSERT INTO approval (%s) VALUES (?, ?, ?, ?, ?, ?, ?)" % columns
    true = {row[1]: row for row in state.execute("SELECT %s FROM approval" % columns)}
    today = true["labels"]
    later = today[3] + 1000000
    for forged in ((*today[:2], "megamart", later, today[4], os.urandom(64), today[6]),
                   (*today[:2], "megamart", later, today[4], b"", today[6]),
                   (*today[:2], "megamart", *today[3:]),
                   (*true["slow"][:2], "twin", *true["slow"][3:])):
        state.execute(insert, forged)
    # A key of his own, under the fingerprint of the party's: by the program it is refused, so by hand.
    own = ed25519(str(tmp_path / "own"))[0]
    assert "not the key" in approve(veil, "labels", "megamart", key=own, status=1).stderr
    signature = openssl_sign(own, (today[4] if isinstance(today[4], bytes) else today[4].encode())
                             + b'approved by "megamart"\nat 2026-01-01T00:00:00.000000Z\n', tmp_path)
    state.execute(insert, (*today[:2], "megamart", 1767225600000000, today[4], signature, today[6]))
    time.sleep(1)
    found = states(veil)
    assert found[("labels", "megamart")]["state"] == "missing" and "key" in found[("labels", "megamart")]["why"]
    assert found[("slow", "twin")]["state"] == "missing"
    assert '"megamart" is missing' in refusal(conn, LABELS).message_detail
    # What does open it is the party's key over the very same bytes: the forgery failed by the key alone.
    signature = openssl_sign(veil.keys["megamart"], today[4] + b'approved by "megamart"\nat 2026-01-01T00:00:00.000000Z\n', tmp_path)
    state.execute(insert, (*today[:2], "megamart", 1767225600000000, today[4], signature, today[6]))
    state.close()
    assert comes_true(lambda: refusal(conn, LABELS) is None)


def openssl_sign(key, text, folder):
    import subprocess
    (folder / "text").write_bytes(text)
    subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", str(folder / "text"), "-out", str(folder / "signature")],
                   check=True, capture_output=True)
    return (folder / "signature").read_bytes()


def test_G3_an_approval_of_another_room_or_question_is_copied(cluster):
    """Two rooms of the same parties and keys, word for word the same but for their names."""
    rooms = [data.small_room(name) for name in ("copied_from", "copied_to")]
    for room in rooms:
        room["questions"]["again"] = copy.deepcopy(room["questions"]["labels"])
        for name in ("labels", "again"):
            room["questions"][name]["approvals"] = ["megamart"]
    veil = make_veil(cluster, rooms)
    try:
        veil.room = "copied_from"
        approve(veil, "labels", "megamart")
        state = state_of(veil)
        for room, question in (("copied_to", "labels"), ("copied_from", "again")):
            state.execute("INSERT INTO approval (room, question, party, at, text, signature, fingerprint) "
                          "SELECT ?, ?, party, at, text, signature, fingerprint FROM approval LIMIT 1", (room, question))
        state.close()
        assert states(veil)[("labels", "megamart")]["state"] == "valid"
        assert states(veil)[("again", "megamart")]["state"] == "stale", "signed by the party, and about another question"
        assert veil.explain("SELECT * FROM questions.again", "copied_from", "alice")[1]["code"] == "approval"
        veil.room = "copied_to"
        assert states(veil)[("labels", "megamart")]["state"] == "stale"
        assert veil.explain(LABELS, "copied_to", "alice")[1]["code"] == "approval"
    finally:
        veil.close()


def test_G4_a_late_owner_stops_open_sessions_until_all_have_signed(governed):
    def change(room):
        room["questions"]["labels"]["approvals"] = "owners"

    veil = governed(change, start=False)
    approve(veil, "labels", "megamart")
    veil.start()
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, LABELS, prepare=True) is None
    reload(veil, lambda room: room["questions"]["labels"].update(
        sql="SELECT o.id, o.label FROM public.others o WHERE EXISTS (SELECT 1 FROM public.cells c WHERE c.id = o.id) ORDER BY o.id"))
    assert comes_true(lambda: refusal(conn, LABELS, prepare=True) is not None)
    approve(veil, "labels", "megamart")
    assert comes_true(lambda: '"acme" is missing' in refusal(conn, LABELS, prepare=True).message_detail)
    approve(veil, "labels", "acme")
    assert comes_true(lambda: refusal(conn, LABELS, prepare=True) is None)


# --- consent and expiry amid everything that runs

def test_consent_withdrawn_ends_what_runs_in_every_worker_on_every_road(governed, cluster):
    def change(room):
        room["questions"]["many"] = {"type": "list", "sql": "SELECT a.id, b.h_text FROM public.cells a, public.cells b, "
                                                            "public.cells c, public.others d"}

    veil = governed(change, config={"workers": 4})
    slow, many = "SELECT * FROM questions.slow(n => 1)", "SELECT * FROM questions.many"
    roads = {
        "simple": [w.query(slow)],
        "extended": [w.parse(slow), w.bind(), w.execute(), w.SYNC],
        "several": [w.query("SELECT 1; " + slow)],
        "pipelined": [w.parse(FIRST), w.bind(), w.execute(), w.parse(slow), w.bind(), w.execute(), w.SYNC],
        "copy": [w.query("COPY (%s) TO STDOUT" % slow)],
        "prepared": [w.query("EXECUTE p")],
        "cursor": [w.query("FETCH ALL FROM c")],
        "suspended": [w.parse(slow), w.bind(), w.execute("", 1), w.SYNC],
        "many_copied": [w.query("COPY (%s) TO STDOUT" % many)],
        "many_fetched": [w.query("FETCH ALL FROM d")],
    }
    conns = {}
    for name, frames in roads.items():
        conn = conns[name] = veil.wire("alice", veil.room)
        if name == "prepared":
            assert w.errors(conn.ask(w.query("PREPARE p AS " + slow))) == []
        if name == "cursor":
            assert w.errors(conn.ask(w.query("BEGIN"))) + w.errors(conn.ask(w.query("DECLARE c CURSOR FOR " + slow))) == []
        if name == "many_fetched":
            assert w.errors(conn.ask(w.query("BEGIN"))) + w.errors(conn.ask(w.query("DECLARE d CURSOR FOR " + many))) == []
        conn.send(*frames)
    wait_running(cluster, len(roads))
    began = time.monotonic()
    consent(veil, "megamart", "withdraw", "--dataset", "public.others")
    ended = {}
    for name, conn in conns.items():
        got = []
        while not got or got[-1].tag not in "E":
            got = [conn.take()]
        ended[name] = got[-1].sqlstate
    assert time.monotonic() - began < 45, "the question's own time may have ended it"
    assert ended == dict.fromkeys(roads, "57014"), ended
    assert comes_true(lambda: not veil.log_rows("outcome IS NULL"))
    rows = veil.log_rows("sqlstate = '57014'")
    assert len(rows) == len(roads) and {row["outcome"] for row in rows} == {"cancelled"}
    for conn in conns.values():
        conn.sock.close()


def test_a_room_expires_amid_cursors_portals_and_prepared_statements(governed):
    veil = governed()
    conn = veil.connect("alice", veil.room)
    held = veil.connect("alice", veil.room, autocommit=False)
    raw = veil.wire("alice", veil.room)
    conn.execute("PREPARE p AS " + FIRST)
    assert refusal(conn, FIRST, prepare=True) is None
    conn.execute("DECLARE h CURSOR WITH HOLD FOR " + FIRST)
    held.execute("DECLARE c CURSOR FOR " + FIRST)
    assert len(held.execute("FETCH 1 FROM c").fetchall()) == 1
    raw.ask(w.query("BEGIN"))
    assert w.errors(raw.ask(w.parse(FIRST), w.bind(), w.execute("", 1), w.SYNC)) == []
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    reload(veil, lambda room: room.update(expires=moment.strftime("%Y-%m-%dT%H:%M:%SZ")))
    assert comes_true(lambda: refusal(conn, FIRST, prepare=True) is not None)
    for sql in (FIRST, "EXECUTE p", "FETCH 1 FROM h", "SELECT id, grp FROM public.cells WHERE id <= 2 ORDER BY id", "COPY (%s) TO STDOUT" % FIRST):
        diag = refusal(conn, sql)
        assert diag is not None and diag.sqlstate == "42501" and "expired" in diag.message_primary, sql
    assert refusal(held, "FETCH 1 FROM c").sqlstate == "42501"
    assert w.errors(raw.ask(w.execute("", 1), w.SYNC)) == ["42501"]
    held.rollback()
    with pytest.raises(psycopg.OperationalError) as caught:
        veil.connect("alice", veil.room)
    assert "does not exist" in str(caught.value)
