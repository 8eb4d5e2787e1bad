"""
What breaks a rule of the open room is refused, and each such statement is shown, on the bare tables, to tell of single
people; those for which nobody knows how it would are listed apart, with the reason why they are refused all the same.
"""
import re

import psycopg
import pytest

from tests.integration.test_open_dashboards import CARDS
from tests.integration.test_open_questions import ACCEPTED, STYLED
from tests.lib import openroom
from tests.lib.openrefused import REFUSED, REFUSED_FOR_SAFETY
from tests.lib.witness import CHANGES, FAILURES, MARKS, REORDERED, Witness


@pytest.fixture(scope="module")
def conn(lab):
    with lab.connect("alice", openroom.ROOM) as conn:
        yield conn


@pytest.fixture(scope="module")
def witness(cluster, lab):
    one = Witness(cluster.connect())
    yield one
    one.close()


def check_refused(conn, sql, words):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql)
    diag = caught.value.diag
    assert diag.sqlstate == "42501" and diag.message_primary == 'query is not an approved question of clean room "open_lab"', \
        (diag.sqlstate, diag.message_primary, diag.message_detail)
    assert diag.message_detail and (words or "") in diag.message_detail, diag.message_detail


@pytest.mark.parametrize("sql,words,shown_by", REFUSED)
def test_refused_and_would_tell(conn, witness, sql, words, shown_by):
    check_refused(conn, sql, words)
    assert witness.holds(sql, shown_by), "on the bare tables it gives no %s" % shown_by


@pytest.mark.parametrize("sql,words,reason", REFUSED_FOR_SAFETY)
def test_refused_for_safety(conn, cluster, sql, words, reason):
    check_refused(conn, sql, words)
    with cluster.connect() as bare:
        bare.execute("SET search_path = lab_bare, pg_catalog")
        try:
            bare.execute(sql)
        except psycopg.Error as error:
            # It runs, or it fails while it runs. Never is it a text that PostgreSQL itself would refuse.
            assert error.sqlstate[:2] in ("22", "21", "25", "54", "0A"), (error.sqlstate, str(error))


def test_what_is_accepted_gives_no_witness(witness):
    """Otherwise the witnesses would show nothing."""
    # A third of them: each is asked forty times.
    found = {sql: witness.find(sql) for sql in ([sql for sql, _ in ACCEPTED] + [sql for sql, _ in CARDS.values()])[::3]}
    assert not [pair for pair in found.items() if pair[1]] and len(found) > 25


def test_every_change_is_of_one_person(witness):
    marks = {name: change for name, (change, _) in MARKS.items() if name != "born of many"}
    for changes in (CHANGES, FAILURES, marks, {name: change for name, change in REORDERED.items() if name != "born"}):
        for name, change in changes.items():
            with witness.undone():
                for statement in change.split(";"):
                    assert witness.conn.execute(statement).rowcount > 0, (name, statement)
                    assert re.search(r"WHERE (visits\.)?id = (1101|1260)\b", statement) or name == "two", (name, statement)


def test_numbers_of_cases():
    assert len(STYLED) + len(ACCEPTED) >= 100 and len(REFUSED) >= 150
    assert len(REFUSED_FOR_SAFETY) < 100 and all(reason != "?" for _, _, reason in REFUSED_FOR_SAFETY)
    assert {shown_by.split(" ")[0] for _, _, shown_by in REFUSED} == {
        "GROUP", "VALUE", "ORACLE", "FAILURE", "ORDER", "REST", "ANSWER", "APART", "OUTSIDE"}
