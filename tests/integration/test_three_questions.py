"""
What a security engineer wants to know on the first day: who read customer e-mails last week, which granted columns nobody
uses, what was refused and why. By the commands of docs/audit.md as they stand there, and on the page in Chromium.
"""
import os
import re
import subprocess

import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.integration.console.test_page import Browser
from tests.lib import data
from tests.lib.cluster import free_port
from tests.lib.pgveil import TOP

USERS = {name: {"password": name + "-secret"} for name in ("ana", "ben", "eve", "olga")}
EMAILS = "SELECT email, region FROM public.customers WHERE customer_id IS NOT NULL ORDER BY region"


@pytest.fixture(scope="module")
def house(cluster):
    room = data.small_room("desk_room")
    room["members"] = {name: {"party": "acme", "roles": ["analyst"]} for name in ("ana", "ben", "eve")}
    room["members"]["olga"] = {"party": "megamart", "roles": ["auditor"]}
    room["datasets"]["public.customers"] = {"owner": "megamart", "source": "crm.customers", "columns": {
        "customer_id": {"category": 3}, "email": {"category": 3}, "region": {"category": 1}, "birth_date": {"category": 3},
        "full_name": {"category": 2}}}
    room["questions"]["emails"] = {"type": "list", "sql": EMAILS}
    room["questions"]["labels"]["members"] = ["user:ben"]
    port = free_port()
    house = make_veil(cluster, [room], USERS, {"console": "127.0.0.1:%d" % port})
    house.console_port = port
    house.provision()
    house.start()
    for user, count in (("ana", 3), ("ben", 1)):
        with house.connect(user, "desk_room") as conn:
            for _ in range(count):
                house.email_rows = len(conn.execute(EMAILS).fetchall())
    with house.connect("ben", "desk_room") as conn:
        conn.execute("SELECT id, label FROM public.others ORDER BY id")
    with house.connect("eve", "desk_room") as conn:
        for sql in ("SELECT email FROM public.customers", "SELECT full_name FROM public.customers",
                    "DELETE FROM public.customers", "SELECT id, label FROM public.others ORDER BY id"):
            with pytest.raises(psycopg.Error):
                conn.execute(sql)
    house.last_log("decision = 'denied' AND query LIKE '%label%'")
    yield house
    assert house.stop() == 0, house.stderr()[-3000:]
    house.provision("--drop")
    house.close()


def commands():
    with open(os.path.join(TOP, "docs", "audit.md")) as source:
        section = source.read().split("## Three questions\n")[1].split("\n## ")[0]
    found = re.findall(r"^\*(.+?)\*\n\n((?:    .*\n)+)", section, re.M)
    assert [question for question, _ in found] == [
        "Who read customer e-mails last week?", "Which granted columns does nobody use?", "What was refused, and why?"]
    return [re.sub(r"^    ", "", text, flags=re.M) for _, text in found]


def run(house, number):
    """As it stands there, but for the port that this test's proxy has."""
    command = commands()[number]
    assert command.count("port=6432") == 1
    command = command.replace("port=6432", "port=%d" % house.port)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, env={
        **os.environ, "PGPASSWORD": "olga-secret", "PSQLRC": "/dev/null", "PAGER": "cat", "PGSSLMODE": "disable"})
    assert done.returncode == 0, done.stderr
    lines = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines() if "|" in line]
    return [dict(zip(lines[0], line)) for line in lines[1:]]


def test_who_read_customer_emails_last_week(house):
    rows = run(house, 0)
    assert [(row["room"], row["user"], row["party"], row["question"], row["times"], row["rows"]) for row in rows] == [
        ("desk_room", "ana", "acme", "emails", "3", str(3 * house.email_rows)),
        ("desk_room", "ben", "acme", "emails", "1", str(house.email_rows))]
    assert house.email_rows > 0


def test_which_granted_columns_nobody_uses(house):
    assert [row["column_name"] for row in run(house, 1)] == [
        "public.cells.b_int", "public.cells.grp", "public.cells.h_text", "public.cells.id", "public.customers.birth_date",
        "public.others.ref"]


def test_what_was_refused_and_why(house):
    rows = run(house, 2)
    assert all(row["user"] == "eve" and row["times"] == "1" for row in rows) and len(rows) == 4
    assert {(row["reason"].split(":")[0], row["sqlstate"]) for row in rows} == {
        ("not_a_question", "42501"), ("no_column", "42703"), ("statement_kind", "42501"), ("not_admitted", "42501")}


def test_the_same_on_the_page(house):
    browser = Browser(house.console_port)
    try:
        browser.driver.get(browser.address)
        browser.wait("document.activeElement.id === 'user'", "the name never got the focus")
        browser.keys("olga", "\t")
        browser.keys("olga-secret", "\n")
        browser.shown("Overview")
        browser.go("columns")
        browser.tab_to("e.type === 'search'")
        browser.keys("email")
        rows = browser.wait("(() => { const r = [...document.querySelectorAll('main tbody tr')].map((tr) => tr.innerText);"
                            " return r.length === 1 && r; })()", "the search for email found something else")
        assert "public.customers.email" in rows[0] and re.search(r"ana\s+3", rows[0]) and re.search(r"ben\s+1", rows[0])
        assert "eve" not in rows[0]
        browser.go("columns?kind=unread")
        unread = browser.wait("(() => { const r = [...document.querySelectorAll('main tbody tr')]; return r.length > 1 &&"
                              " r.every((tr) => tr.innerText.includes('nobody')) && r.map((tr) => tr.querySelector('code').innerText);"
                              " })()", "nothing unread came")
        assert sorted(unread) == [row["column_name"] for row in run(house, 1)]
        browser.go("denials")
        refused = browser.wait("(() => { const t = [...document.querySelectorAll('main tbody')].map((e) => e.innerText).join();"
                               " return t.includes('not_admitted') && t; })()", "no denials came")
        for code in ("not_a_question", "no_column", "statement_kind", "not_admitted"):
            assert code in refused
        assert browser.complaints() == []
        # From a number to the records behind it, and from there to one of them whole.
        browser.js("[...document.querySelectorAll('main tbody a')].find((a) => a.innerText === 'not_admitted').click()")
        browser.shown("Log")
        browser.js("document.querySelector('.results tbody a').click()")
        browser.shown("Record")
        assert "SELECT id, label FROM public.others" in browser.text() and "eve" in browser.text()
    finally:
        browser.driver.quit()
