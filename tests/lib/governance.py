"""What tests of approvals, consent and budgets have in common: the commands, and asking until it comes true."""
import json
import sqlite3
import threading
import time

import psycopg

from tests.lib import data

LABELS = "SELECT * FROM questions.labels"
FIRST = "SELECT * FROM questions.first(n => 3)"


def approve(veil, question, party, *more, status=0, key=None):
    done = veil.run("approve", "--room", veil.room, "--question", question, "--party", party, "--key",
                    key or veil.keys[party], *more)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def consent(veil, party, verb, *subject, key=None, status=0):
    done = veil.run("consent", "--room", veil.room, *subject, "--party", party, "--key", key or veil.keys[party], verb)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def states(veil):
    done = veil.run("approvals", "--room", veil.room, "--json")
    assert done.returncode == 0, done.stderr
    return {(row["question"], row["party"]): row for row in json.loads(done.stdout)}


def reload(veil, change):
    change(veil.shape)
    veil.write_room(veil.shape)
    mark = len(veil.stderr())
    veil.hup()
    veil.wait_stderr("reloaded", mark)


def comes_true(attempt, seconds=60):
    """Whether attempt() comes true; it is asked until then."""
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def refusal(conn, sql, params=None, **more):
    """The diagnostics of a refusal, None when it is answered."""
    try:
        conn.execute(sql, params, **more).fetchall()
        return None
    except psycopg.Error as error:
        return error.diag


def budget(question=None, dataset=None, share=None, **runs):
    """budget("first", day=3, share=1): so many runs a period, and each user's share of them."""

    def change(room):
        limits = [{"per": per, "runs": n, **({"runs_per_member": share} if share else {})} for per, n in runs.items()]
        if question:
            room["questions"][question]["access_budget"] = limits
        if dataset:
            room["datasets"][dataset]["access_budget"] = limits

    return change


def clear_of_midnight(seconds=60):
    """Waits where a day is about to end: what is counted by days, weeks and months would begin anew amid a test."""
    left = 86400 - time.time() % 86400
    if left < seconds:
        time.sleep(left + 1)


def spent(diag):
    return diag is not None and diag.sqlstate == "53400" and "is spent" in diag.message_primary


def state_of(veil):
    """The state file as its operator writes it: nothing in the file stops him."""
    state = sqlite3.connect(veil.path("state", "pgveil.db"), isolation_level=None, timeout=60)
    for name, in state.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        if "only ever" in state.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]:
            state.execute('DROP TRIGGER "%s"' % name)
    return state


def share_spent(diag, user):
    return spent(diag) and 'share of user "%s"' % user in diag.message_primary


def in_parallel(count, one):
    """one(i) in so many threads at once; what they give, in order. A failure of any is a failure."""
    results, start = [None] * count, threading.Barrier(count)

    def run(i):
        start.wait()
        try:
            results[i] = one(i)
        except Exception as error:  # noqa: BLE001 - it is raised below
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def needs(*parties, question="labels"):
    def change(room):
        room["questions"][question]["approvals"] = list(parties)

    return change


PORTAL_USERS = {**data.USERS, "portal": {"password": "portal"}, "bob": {"password": "bob"}}


def portal(*budgets):
    def change(room):
        room["members"]["portal"] = {"party": "megamart", "roles": ["service"]}
        room["members"]["bob"] = {"party": "acme", "roles": ["clerk"]}
        room["trusted_services"] = ["portal"]
        for one in budgets:
            one(room)

    return change
