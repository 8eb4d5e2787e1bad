"""
A web tool for SQL, Adminer, driven over HTTP: log in, look at the schemas, a table and a question, ask, be refused. Each page
is compared with what the same Adminer shows of the plain database. Run where CLIENTS=all.
"""
import html
import http.cookiejar
import os
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from tests.lib.cluster import free_port

pytestmark = pytest.mark.skipif(os.environ.get("CLIENTS") != "all", reason="part of `make test-clients`")
ADMINER = "/usr/share/adminer/adminer"


class Browser:
    """A session with Adminer about one end."""

    def __init__(self, base, end):
        self.base, self.end = base, end
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.page = self._open(base, {"auth[driver]": "pgsql", "auth[server]": "%s:%d" % (end.host, end.port), "auth[username]": end.user,
                                      "auth[password]": end.password, "auth[db]": end.dbname})

    def _open(self, url, fields=None):
        request = urllib.request.Request(url, data=urllib.parse.urlencode(fields).encode() if fields else None)
        try:
            return self.opener.open(request, timeout=120).read().decode()
        except urllib.error.HTTPError as error:
            return "HTTP %d\n" % error.code + error.read().decode()

    def go(self, fields=None, **params):
        query = {"pgsql": "%s:%d" % (self.end.host, self.end.port), "username": self.end.user, "db": self.end.dbname, **params}
        if fields is not None:
            fields["token"] = re.search(r"name='token' value='([^']+)'", self.page).group(1)
        self.page = self._open(self.base + "?" + urllib.parse.urlencode(query), fields)
        return self.shown()

    def shown(self):
        """The page's text: without scripts and tags, and what is each end's own."""
        text = re.sub(r"<script.*?</script>", "", self.page, flags=re.S)
        text = text[text.find("<div id='content'>"):] if "<div id='content'>" in text else text
        text = html.unescape(re.sub(r"<[^>]+>", "\n", text)).replace(str(self.end.port), "PORT")
        text = re.sub(r"\d+\.\d+ s\b", "TIME", text)
        return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def adminer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adminer")
    port = free_port()
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "php", "-d", "session.save_path=%s" % folder, "-d", "sys_temp_dir=%s" % folder,
                                   "-S", "127.0.0.1:%d" % port, "-t", ADMINER], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    base = "http://127.0.0.1:%d/index.php" % port
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(base, timeout=30).read()
            break
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
    yield base
    server.kill()
    server.wait()


# What each server lists of itself: the room is all there is.
OWN = {"pg_toast", "postgres", "template0", "template1", "warehouse"}


@pytest.fixture(scope="module")
def browsers(adminer, veiled, plain):
    return Browser(adminer, veiled), Browser(adminer, plain)


def both(browsers, **params):
    ours, theirs = (browser.go(**params) for browser in browsers)
    return [line for line in ours if line not in OWN], [line for line in theirs if line not in OWN]


@pytest.mark.parametrize("seen,params", [
    (["customers", "kinds", "steps"], {"ns": "public"}),
    (["by_region", "everything", "one_step", "overlap_by_region"], {"ns": "questions"}),
    (["customers", "birth_date", "date"], {"ns": "public", "schema": ""}),
    (["customer_id", "bigint", "Sales region"], {"ns": "public", "table": "customers"}),
    (["region", "reached", "bigint"], {"ns": "questions", "table": "by_region"}),
    (["North", "South"], {"ns": "questions", "select": "by_region", "order[0]": "region"}),
    (["step 1", "step 50"], {"ns": "questions", "select": "steps", "order[0]": "n"}),
    (["step 2999"], {"ns": "questions", "select": "steps", "where[0][col]": "n", "where[0][op]": "=", "where[0][val]": "2999"}),
], ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "")
def test_browse(browsers, seen, params):
    ours, theirs = both(browsers, **params)
    assert ours == theirs
    for word in seen:
        assert any(word in line for line in ours), (word, ours)


def test_lists_the_room_alone(browsers):
    shown = browsers[0].go(ns="public")
    assert "market" in shown and not OWN & set(shown) and "warehouse" in browsers[1].go(ns="public")


def ask(browser, sql):
    browser.go(ns="public", sql="")
    return browser.go({"query": sql, "limit": "50"}, ns="public", sql="")


def test_asks(browsers):
    for browser in browsers:
        for wanted in ("7", "2999"):
            shown = ask(browser, "SELECT * FROM questions.one_step(%s)" % wanted)
            assert shown[shown.index("label") + 1:][:2] == [wanted, "step " + wanted], shown
        assert "ERROR:  syntax error at or near \"SELEKT\"" in " ".join(ask(browser, "SELEKT 1"))


def test_is_told_why_not_and_goes_on(browsers):
    shown = " ".join(ask(browsers[0], "SELECT label FROM public.steps"))
    assert 'query is not an approved question of clean room "market"' in shown and "step 1" not in shown
    shown = " ".join(ask(browsers[0], "INSERT INTO public.steps VALUES (1, 'x')"))
    assert "a clean room answers questions and changes nothing" in shown
    # The page that shows a table's rows: its columns, and why there are none.
    shown = " ".join(browsers[0].go(ns="public", select="customers"))
    assert "not an approved question" in shown
    assert "North" in browsers[0].go(ns="questions", select="by_region")


def test_shows_no_text_of_a_question(browsers):
    assert "impressions" not in " ".join(browsers[0].go(ns="questions", view="by_region"))
