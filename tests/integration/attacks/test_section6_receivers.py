"""ATTACKS section 6: a result goes to somebody who may not have it (G10)."""

from tests.integration.conftest import statements_of_rooms
from tests.lib import wire as w
from tests.lib.governance import FIRST, LABELS, PORTAL_USERS, approve, comes_true, needs, portal, refusal, reload, states


# --- G10: a result goes to somebody who may not have it

OPEN = {
    "type": "aggregation", "join_columns": ["id"], "dimension_columns": ["label"],
    "output_constraints": [{"column": "id", "type": "count_distinct", "minimum": 2}]}
OPEN_SQL = "SELECT count(*) FROM public.others"


def receivers(*entries):
    def change(room):
        room["datasets"]["public.others"].update(entity="id", analysis_rule=OPEN, allowed_result_receivers=list(entries))
        room["datasets"]["public.others"]["columns"]["id"] = {"category": 3}
        room["questions"]["both"] = {"type": "list", "sql": "SELECT c.id FROM public.cells c WHERE EXISTS (SELECT 1 FROM public.others)"}
        room["questions"]["explore"] = {"type": "analytical", "open": True, "datasets": ["public.others"]}

    return change


def test_G10_a_result_goes_to_receivers_alone_on_every_road(governed, cluster, guard):
    veil = governed(receivers("party:megamart"))
    conn = veil.connect("alice", veil.room)
    mark = cluster.log_size()
    statement = "SELECT id, label FROM public.others ORDER BY id"
    asked = [LABELS, statement, "SELECT * FROM questions.both", OPEN_SQL, "SELECT count(*) FROM questions.labels",
             "SELECT f.id FROM questions.first(n => 1) f, questions.labels l", "WITH x AS (TABLE questions.labels) SELECT 1 FROM x",
             "SELECT EXISTS (SELECT 1 FROM questions.labels)", "SELECT 1 WHERE (SELECT count(*) FROM questions.labels) > 0"]
    for sql in asked:
        for head in ("%s", "PREPARE p AS %s", "DECLARE c CURSOR WITH HOLD FOR %s", "COPY (%s) TO STDOUT", "SELECT 1; %s"):
            guard.denied.append(head % sql)
            diag = refusal(conn, head % sql)
            assert diag is not None and diag.sqlstate == "42501", head % sql
            assert 'data set "public.others" (owner megamart)' in diag.message_detail and 'user "alice"' in diag.message_detail
            assert "megamart" in diag.message_hint
        assert refusal(conn, sql, prepare=True).sqlstate == "42501"
        code = veil.explain(sql, veil.room, "alice")[1]["code"]
        assert code == "not_receiver", (sql, code)
    raw = veil.wire("alice", veil.room)
    assert w.tags(raw.ask(w.parse(LABELS), w.bind(), w.execute(), w.SYNC)) == "EZ", "denied at Parse"
    assert not [sql for sql in statements_of_rooms(cluster.log(mark)) if "others" in sql]
    row = veil.last_log("query = ?", (LABELS,))
    assert row["decision"] == "denied" and row["reason"].startswith("not_receiver: ") and row["forwarded"] is None
    assert refusal(conn, FIRST) is None, "what does not read it is answered"
    # Its receivers have all of that.
    other = veil.connect("bi_service", veil.room)
    for sql in asked:
        assert refusal(other, sql) is None, sql
    assert veil.explain(LABELS, veil.room, "bi_service")[1]["receivers"] == [
        {"dataset": "public.others", "owner": "megamart", "receivers": ["party:megamart"]}]


def test_G10_the_strictest_data_set_of_all_decides(governed):
    def change(room):
        receivers("user:bi_service", "role:analyst")(room)
        room["datasets"]["public.cells"]["allowed_result_receivers"] = ["party:acme"]

    veil = governed(change)
    alice, service = veil.connect("alice", veil.room), veil.connect("bi_service", veil.room)
    for conn, sql, is_received in ((alice, LABELS, True), (alice, FIRST, True), (alice, "TABLE questions.both", True),
                                   (service, LABELS, True), (service, FIRST, False), (service, "TABLE questions.both", False)):
        diag = refusal(conn, sql)
        assert (diag is None) == is_received, (sql, diag and diag.message_detail)
    assert "public.cells" in refusal(service, "TABLE questions.both").message_detail
    reload(veil, receivers())
    assert comes_true(lambda: refusal(alice, LABELS) is not None and refusal(service, LABELS) is not None)
    assert "nobody who may ask" in veil.run("check").stdout


def test_G10_who_is_a_receiver_no_more_loses_what_was_prepared(governed):
    veil = governed(receivers("party:acme"))
    conn = veil.connect("alice", veil.room)
    held = veil.connect("alice", veil.room, autocommit=False)
    raw = veil.wire("alice", veil.room)
    assert refusal(conn, LABELS, prepare=True) is None
    conn.execute("PREPARE p AS " + LABELS)
    held.execute("DECLARE c CURSOR FOR " + LABELS)
    assert len(held.execute("FETCH 1 FROM c").fetchall()) == 1
    raw.ask(w.query("BEGIN"))
    assert w.errors(raw.ask(w.parse(LABELS), w.bind(), w.execute("", 1), w.SYNC)) == []
    reload(veil, receivers("party:megamart"))
    assert comes_true(lambda: refusal(conn, LABELS, prepare=True) is not None)
    assert refusal(conn, "EXECUTE p").sqlstate == "42501"
    assert refusal(held, "FETCH 1 FROM c").sqlstate == "42501"
    assert w.errors(raw.ask(w.execute("", 1), w.SYNC)) == ["42501"]


def test_G10_receivers_are_signed_and_judged_for_the_end_user(governed):
    def change(room):
        portal()(room)
        receivers("party:acme")(room)
        needs("megamart")(room)

    veil = governed(change, users=PORTAL_USERS)
    approve(veil, "labels", "megamart")
    conn = veil.connect("portal", veil.room)
    assert comes_true(lambda: "receivers" in refusal(conn, LABELS).message_detail)
    conn.execute("SET pgveil.user = 'bob'")
    assert comes_true(lambda: refusal(conn, LABELS) is None)
    reload(veil, receivers("party:acme", "user:portal"))
    assert comes_true(lambda: "stale" in (refusal(conn, LABELS) or conn).message_detail)
    found = states(veil)[("labels", "megamart")]
    assert '+  allowed_result_receivers "party:acme", "user:portal"' in found["diff"]
