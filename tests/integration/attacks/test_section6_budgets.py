"""
ATTACKS sections 6 and 4: budgets that one spends for all (G8, T15), that are raced for (G9), that edits bring back (T14).
"""
import copy
import datetime
import random
import threading

import psycopg
import pytest

from tests.lib import data
from tests.lib.governance import FIRST, PORTAL_USERS, budget, comes_true, in_parallel, portal, refusal, reload, share_spent, spent


# --- G8, T15: one member spends what is meant for all

def test_G8_nobody_spends_more_than_his_share(governed):
    """By statement and by name, simple and prepared, by EXECUTE, cursor, COPY, in many sessions, over a kill."""
    veil = governed(budget("first", day=20, share=6))
    statement = "SELECT id, grp FROM public.cells WHERE id <= 3 ORDER BY id"
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, FIRST) is None
    assert refusal(conn, statement, prepare=True) is None
    conn.execute("PREPARE p AS " + FIRST)
    assert refusal(conn, "EXECUTE p") is None
    with conn.cursor().copy("COPY (%s) TO STDOUT" % FIRST) as copying:
        assert len(b"".join(bytes(part) for part in copying).splitlines()) == 3
    veil.kill()
    veil.start()
    conn = veil.connect("alice", veil.room, autocommit=False)
    conn.execute("DECLARE c CURSOR FOR " + FIRST)
    assert len(conn.execute("FETCH ALL FROM c").fetchall()) == 3
    conn.rollback()  # what was taken is not given back
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, statement) is None
    # Six are had. Two at once would not have fitted either.
    conn.execute("PREPARE p AS " + FIRST)
    for one in (conn, veil.connect("alice", veil.room)):
        for sql, more in ((FIRST, {}), (FIRST, {"prepare": True}), (statement, {}), ("DECLARE c CURSOR WITH HOLD FOR " + FIRST, {})):
            assert share_spent(refusal(one, sql, **more), "alice"), sql
    assert share_spent(refusal(conn, "EXECUTE p"), "alice")
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
        with conn.cursor().copy("COPY (%s) TO STDOUT" % FIRST) as copying:
            list(copying)
    diag = refusal(conn, FIRST)
    assert "each user 6 runs per day" in diag.message_detail and "next day begins at" in diag.message_hint
    tomorrow = datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=1)
    assert tomorrow.isoformat() + "T00:00Z" in diag.message_hint or datetime.datetime.now(datetime.timezone.utc).hour == 0
    row = veil.last_log("sqlstate = '53400'")
    assert row["reason"].startswith("budget_share: share of user") and row["user"] == "alice"
    # The other one has hers, and the total binds all.
    other = veil.connect("bi_service", veil.room)
    assert [refusal(other, FIRST) for _ in range(6)] == [None] * 6
    assert share_spent(refusal(other, FIRST), "bi_service")
    assert veil.run("audit", "verify").returncode == 0


def test_G8_a_failed_or_cancelled_run_is_one_of_the_share(governed):
    def change(room):
        room["questions"]["fails"] = copy.deepcopy(data.QUESTIONS["fails"])
        room["questions"]["fails"]["access_budget"] = [{"per": "lifetime", "runs": 9, "runs_per_member": 2}]

    veil = governed(change)
    conn = veil.connect("alice", veil.room)
    sql = "SELECT * FROM questions.fails(n => 1)"
    assert [refusal(conn, sql).sqlstate for _ in range(2)] == ["22012"] * 2
    diag = refusal(conn, sql)
    assert share_spent(diag, "alice") and "does not come back" in diag.message_hint


def test_T15_a_service_spends_the_shares_of_those_it_names(governed):
    """Prepared once and executed for many: each run is the one's for whom it is asked."""
    veil = governed(portal(budget("first", day=5, share=2)), users=PORTAL_USERS)
    conn = veil.connect("portal", veil.room)
    conn.execute("PREPARE p AS " + FIRST)
    answers = []
    for user in ("alice", "bob", "alice", "alice", "bob", "bob"):
        conn.execute("SET pgveil.user = '%s'" % user)
        answers.append(refusal(conn, random.choice(["EXECUTE p", FIRST]), prepare=None))
    assert [answer is None for answer in answers] == [True, True, True, False, True, False]
    assert share_spent(answers[3], "alice") and share_spent(answers[5], "bob")
    # As itself it has one share, and everybody together have what is left: one of five.
    conn.execute("RESET pgveil.user")
    assert refusal(conn, FIRST) is None
    diag = refusal(conn, FIRST)
    assert spent(diag) and "share" not in diag.message_primary
    # Alice by herself is the alice of the service.
    assert spent(refusal(veil.connect("alice", veil.room), FIRST))


def test_T15_many_members_together_have_one_budget(governed):
    veil = governed(portal(budget(dataset="public.cells", day=7, share=4)), users=PORTAL_USERS)
    users = ["alice", "bob", "portal", "bi_service"]

    def ask(i):
        with veil.connect(users[i % 4], veil.room) as conn:
            return [(users[i % 4], refusal(conn, FIRST)) for _ in range(3)]

    answers = [answer for each in in_parallel(8, ask) for answer in each]
    had = [user for user, diag in answers if diag is None]
    assert len(had) == 7 and max(had.count(user) for user in users) <= 4
    assert all(spent(diag) for _, diag in answers if diag is not None)


# --- G9: runs race

@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_G9_twenty_sessions_race_for_shares_and_for_the_total(governed, durability):
    veil = governed(budget("first", day=50, share=17), config={"audit": {"durability": durability}, "workers": 4})

    def ask(i):
        user = ("alice", "bi_service")[i % 2]
        with veil.connect(user, veil.room) as conn:
            return [(user, refusal(conn, FIRST, prepare=n % 2 == 0)) for n in range(4)]

    answers = [answer for each in in_parallel(20, ask) for answer in each]
    for user in ("alice", "bi_service"):
        mine = [diag for who, diag in answers if who == user]
        assert len(mine) == 40 and sum(diag is None for diag in mine) == 17
        others = [(diag.sqlstate, diag.message_primary) for diag in mine if diag is not None and not share_spent(diag, user)]
        assert not others, others
    reload(veil, budget("first", day=40))
    answers = [diag for each in in_parallel(20, ask) for _, diag in each]
    assert sum(diag is None for diag in answers) == 40 - 34
    assert all(spent(diag) and "share" not in diag.message_primary for diag in answers if diag is not None)
    assert veil.stop() == 0
    assert len(veil.log_rows("question = 'first' AND decision = 'allowed'")) == 40
    assert veil.run("audit", "verify").returncode == 0


def test_G9_a_kill_amid_the_race_gives_nothing_back(governed):
    veil = governed(budget("first", lifetime=100000, share=100000), config={"workers": 4})
    answered, stop = [0] * 6, threading.Event()

    def ask(i):
        try:
            with veil.connect("alice", veil.room) as conn:
                while not stop.is_set():
                    conn.execute(FIRST).fetchall()
                    answered[i] += 1
        except psycopg.Error:
            pass

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    assert comes_true(lambda: sum(answered) > 100)
    veil.kill()
    stop.set()
    for thread in threads:
        thread.join()
    used = {row["user"]: row["used"] for row in veil.explain(FIRST, veil.room, "alice")[1]["budgets"]}
    assert used[None] == used["alice"] >= sum(answered)
    assert used["alice"] == len(veil.log_rows("question = 'first' AND decision = 'allowed'"))
    veil.start()
    assert veil.run("audit", "verify").returncode == 0


# --- T14: a budget is refreshed by editing

def both(runs, share):
    def change(room):
        for where in (room["questions"]["first"], room["datasets"]["public.cells"]):
            where["access_budget"] = [{"per": "month", "runs": runs, **({"runs_per_member": share} if share else {})}]

    return change


EDITS = {
    "other_bounds_and_back": lambda room: None,
    "another_period": lambda room: [where.update(access_budget=[{"per": "week", "runs": 2}, {"per": "lifetime", "runs": 2}])
                                    for where in (room["questions"]["first"], room["datasets"]["public.cells"])],
    "share_first_now": lambda room: [where.update(access_budget=[{"per": "day", "runs": 90, "runs_per_member": 2}])
                                     for where in (room["questions"]["first"], room["datasets"]["public.cells"])],
    "another_text": lambda room: room["questions"]["first"].update(sql="SELECT id FROM public.cells WHERE id < :n"),
    "another_type": lambda room: room["questions"]["first"].update(type="cleanml"),
    "no_lifetime": lambda room: room["questions"]["first"].pop("access_budget"),
    "another_owner": lambda room: room["datasets"]["public.cells"].update(owner="megamart"),
    "another_source": lambda room: room["datasets"]["public.cells"].update(
        source="zoo.cells", columns={"id": {"category": 1}, "grp": {"category": 1}}),
    "renamed": lambda room: room["questions"].update(other_name=room["questions"].pop("first")),
}


def test_T14_no_edit_brings_runs_back(governed):
    veil = governed(both(2, None))
    base = copy.deepcopy(veil.shape)
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, FIRST) is None and refusal(conn, FIRST) is None and spent(refusal(conn, FIRST))
    for name, edit in EDITS.items():
        veil.shape = copy.deepcopy(base)
        reload(veil, both(100, 50))
        veil.shape = copy.deepcopy(base)
        reload(veil, edit)
        sql = "SELECT * FROM questions.other_name(n => 3)" if name == "renamed" else FIRST
        diag = refusal(conn, sql)
        assert spent(diag), (name, diag)
        if name == "renamed":  # a question of another name is another one: what holds is the budget of the data set
            assert 'data set "public.cells"' in diag.message_primary
        if name == "share_first_now":
            assert share_spent(diag, "alice")
    veil.stop()
    veil.start()
    assert spent(refusal(veil.connect("alice", veil.room), sql))


def test_T14_deleting_and_listing_again(governed):
    veil = governed(both(2, 2))
    conn = veil.connect("alice", veil.room)
    assert refusal(conn, FIRST) is None and refusal(conn, FIRST) is None
    question, dataset = veil.shape["questions"].pop("first"), veil.shape["datasets"].pop("public.cells")
    slow = veil.shape["questions"].pop("slow")
    reload(veil, lambda room: None)
    assert refusal(conn, FIRST).sqlstate == "42P01" or refusal(conn, FIRST).sqlstate == "42883"
    veil.shape["datasets"]["public.cells"] = dataset
    reload(veil, lambda room: room["questions"].update(first=question, slow=slow))
    assert spent(refusal(conn, FIRST))
    # Taken out whole and put back, from both.
    reload(veil, lambda room: [where.pop("access_budget") for where in (room["questions"]["first"], room["datasets"]["public.cells"])])
    assert refusal(conn, FIRST) is None
    reload(veil, both(2, 2))
    assert spent(refusal(conn, FIRST))


def test_T14_check_warns_of_budgets_that_come_back_for_ever(governed):
    veil = governed(budget("first", day=5), start=False)
    done = veil.run("check")
    assert done.returncode == 0 and "comes back with every new period" in done.stdout
    budget("first", day=5, lifetime=50)(veil.shape)
    veil.write_room(veil.shape)
    assert "comes back" not in veil.run("check").stdout
