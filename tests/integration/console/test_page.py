"""
The page for auditors in a browser: headless Chromium, driven by keys as people do, wide and narrow, light and dark. What the
server behind it lets through is tested in the files beside this. PAGE_SHOTS=DIR keeps a picture of each view.
"""
import base64
import itertools
import json
import os
import re
import time

import psycopg
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.lib import data
from tests.lib.cluster import free_port
from tests.lib.console import Console
from tests.lib.pgveil import TOP

HOSTILE = "SELECT '<img src=/icon.svg onerror=document.title=1><script>document.title=2</script>', 'quoted \"name\"'"
VIEWS = ["overview?range=week", "log", "columns", "denials", "rooms", "live"]
USERS = {"ana": {"password": "ana-secret"}, "aud": {"password": "aud-secret"}}


@pytest.fixture(scope="module")
def house(cluster):
    from tests.integration.conftest import make_veil

    room = data.small_room("page_room")
    room["title"] = "Acme & MegaMart <b>measure</b>"
    room["members"] = {"ana": {"party": "acme", "roles": ["analyst"]}, "aud": {"party": "megamart", "roles": ["auditor"]}}
    room["questions"]["labels"]["approvals"] = ["acme", "megamart"]
    port = free_port()
    house = make_veil(cluster, [room], USERS, {"console": "127.0.0.1:%d" % port})
    house.console_port = port
    house.provision()
    house.start()
    with house.connect("ana", "page_room") as conn:
        conn.execute("SELECT * FROM questions.first(n => 3)")
        conn.execute(HOSTILE)
        for sql in ("DELETE FROM public.cells", "SELECT nothing FROM public.cells", "SELECT * FROM questions.labels"):
            with pytest.raises(psycopg.Error):
                conn.execute(sql)
        for n in range(60):
            conn.execute("SELECT %d AS filler" % n)
    yield house
    assert house.stop() == 0, house.stderr()[-3000:]
    house.close()


class Browser:
    def __init__(self, port):
        options = Options()
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--lang=en-GB",
                     "--no-proxy-server", "--disable-background-networking"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(120)
        self.driver.set_script_timeout(120)
        self.address = "http://127.0.0.1:%d/" % port
        self.look(1280, False)

    def look(self, width, is_dark):
        self.width = width
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]})

    def js(self, text, *values):
        return self.driver.execute_script(text, *values)

    def wait(self, condition, words, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            found = self.js("return " + condition)
            if found:
                return found
            assert time.monotonic() < deadline, "%s; the page shows: %s" % (words, self.text()[:800])
            time.sleep(0.05)

    def wait_for(self, claim, words, seconds=60):
        deadline = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < deadline, words
            time.sleep(0.05)

    def text(self):
        return self.js("return document.body.innerText")

    def shown(self, title):
        """The view is there, filled."""
        self.wait("document.title.startsWith(%s) && document.querySelector('main h1')?.textContent && "
                  "!document.querySelector('[aria-busy]')" % json.dumps(title), "view %s never came" % title)

    def go(self, place):
        self.js("location.hash = '#/' + arguments[0]", place)
        self.shown(place.split("?")[0].split("/")[0].capitalize())

    def keys(self, *keys):
        """To whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def focused(self):
        return self.js("const e = document.activeElement; return (e.getAttribute('aria-label') || e.innerText || e.id).trim()")

    def tab_to(self, condition, most=60):
        """Goes on by the Tab key until the focused element, `e`, is the one."""
        for _ in range(most):
            if self.js("const e = document.activeElement; return " + condition):
                return
            self.keys(Keys.TAB)
        raise AssertionError("the Tab key never comes to " + condition)

    def login(self):
        self.driver.delete_all_cookies()
        self.driver.get(self.address)
        self.wait("document.activeElement.id === 'user'", "the name never got the focus")
        self.keys("aud", Keys.TAB)
        self.keys("aud-secret", Keys.ENTER)
        self.shown("Overview")

    def shot(self, name):
        folder = os.environ.get("PAGE_SHOTS")
        if folder:
            size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            picture = self.driver.execute_cdp_cmd("Page.captureScreenshot", {
                "captureBeyondViewport": True,
                "clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 3000), "scale": 1}})
            with open(os.path.join(folder, name + ".png"), "wb") as out:
                out.write(base64.b64decode(picture["data"]))

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def browser(house):
    browser = Browser(house.console_port)
    yield browser
    browser.driver.quit()


@pytest.fixture(autouse=True)
def clean(browser):
    browser.complaints()
    browser.look(1280, False)
    yield
    assert browser.complaints() == []


def test_a_wrong_password_is_said(house):
    # A browser of its own words: a refused request is a line in its console.
    browser = Browser(house.console_port)
    try:
        browser.driver.get(browser.address)
        browser.wait("document.activeElement.id === 'user'", "the name never got the focus")
        browser.keys("aud", Keys.TAB)
        browser.keys("wrong", Keys.ENTER)
        browser.wait("document.querySelector('[role=alert]')", "nothing was said")
        assert "wrong name or password" in browser.text() and browser.js("return document.activeElement.id") == "password"
        assert browser.js("return document.cookie") == ""
        browser.keys("aud-secret", Keys.ENTER)
        browser.shown("Overview")
        # Who takes the login away elsewhere sees it end here.
        cookie = browser.driver.get_cookie("pgveil_console")
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and browser.js("return document.cookie") == ""
        other = Console(house.console_port)
        other.cookie = "pgveil_console=" + cookie["value"]
        assert other.ask("POST", "/api/logout", {})[0] == 200
        browser.js("location.hash = '#/rooms'")
        browser.wait("document.getElementById('password')", "the login never came")
        assert "Your login has ended" in browser.text()
    finally:
        browser.driver.quit()


def test_by_keys_alone(browser):
    browser.login()
    assert browser.js("return document.activeElement.tagName") == "H1"
    browser.driver.get(browser.address)
    browser.shown("Overview")
    browser.keys(Keys.TAB)
    assert browser.focused() == "Skip to the content"
    browser.keys(Keys.ENTER)
    assert browser.js("return document.activeElement.id") == "main"
    browser.tab_to("e.name === 'range'")
    browser.keys(Keys.ARROW_RIGHT)
    browser.wait("location.hash.includes('range=')", "the arrow chose nothing")
    browser.driver.get(browser.address)
    browser.shown("Overview")
    browser.tab_to("e.textContent === 'Log'")
    browser.keys(Keys.ENTER)
    browser.shown("Log")
    browser.tab_to("e.name === 'text'")
    browser.keys("delete from", Keys.ENTER)
    browser.wait("location.hash.includes('text=delete') && document.querySelectorAll('.results tbody tr').length === 1", "the search found nothing")
    browser.tab_to("e.matches('.results tbody a')")
    browser.keys(Keys.ENTER)
    browser.shown("Record")
    assert "DELETE FROM public.cells" in browser.text() and "Nothing was sent to the database." in browser.text()
    browser.tab_to("e.textContent === '← Log'")
    browser.keys(Keys.ENTER)
    browser.shown("Log")
    assert "text=delete" in browser.js("return location.hash")
    browser.tab_to("e.id === 'logout'", 80)


def test_the_log_and_its_pages(browser):
    browser.login()
    browser.go("log")
    rows = "document.querySelectorAll('.results tbody tr').length"
    assert browser.js("return " + rows) == 50
    button = browser.driver.find_element(By.CSS_SELECTOR, ".foot button")
    assert button.text == "Older records"
    button.send_keys(Keys.ENTER)
    browser.wait(rows + " > 50", "no older record came")
    browser.wait("document.querySelector('.foot').innerText.includes('that is all')", "the end is not said")
    assert browser.js("return document.activeElement.matches('.results tbody tr:nth-child(51) a')")
    browser.go("log?decision=denied")
    assert browser.js("return [...document.querySelectorAll('.results .badge')].every((e) => e.textContent === 'denied')")
    assert browser.js("return document.getElementById('f-decision').value") == "denied"
    browser.go("log?text=no+such+text+anywhere")
    assert "No record is like that." in browser.text()


def test_a_record_side_by_side(house, browser):
    browser.login()
    seq = house.last_log("question = 'first'")["seq"]
    row = house.log_rows("seq = ?", (seq,))[0]
    browser.go("record/%d" % seq)
    panes = browser.js("return [...document.querySelectorAll('.panes pre')].map((e) => e.textContent)")
    assert panes == [row["query"], row["forwarded"]]
    places = browser.js("return [...document.querySelectorAll('.panes .pane')].map((e) => e.getBoundingClientRect().top)")
    assert places[0] == places[1]
    assert browser.js("return document.querySelectorAll('.panes mark').length") > 0
    browser.look(360, False)
    places = browser.js("return [...document.querySelectorAll('.panes .pane')].map((e) => e.getBoundingClientRect().top)")
    assert places[0] < places[1]


def test_text_of_the_log_is_text(house, browser):
    browser.login()
    seq = house.last_log("query = ?", (HOSTILE,))["seq"]
    for place in ("log?text=onerror", "record/%d" % seq, "rooms"):
        browser.go(place)
        assert browser.js("return document.querySelectorAll('main img, main script, main b').length") == 0
        assert browser.js("return document.title").endswith("pgveil")
    assert "<b>measure</b>" in browser.text()


def test_who_read_and_who_did_not(browser):
    browser.login()
    browser.go("columns")
    browser.tab_to("e.type === 'search'")
    browser.keys("grp")
    rows = "return [...document.querySelectorAll('main tbody tr')].map((e) => e.innerText.replace(/\\s+/g, ' '))"
    found = browser.js(rows)
    assert len(found) == 1 and "public.cells.grp page_room 1 ana 1" in found[0]
    browser.keys(Keys.BACKSPACE, Keys.BACKSPACE, Keys.BACKSPACE)
    browser.tab_to("e.name === 'kind'")
    browser.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    found = browser.js(rows)
    assert found and all("nobody" in row for row in found) and any("public.others.label" in row for row in found)
    browser.go("overview")
    browser.go("columns")
    browser.tab_to("e.matches('main tbody .number a')")
    browser.keys(Keys.ENTER)
    browser.shown("Log")
    assert browser.js("return document.querySelectorAll('.results tbody tr').length") == 1


def test_what_was_refused_and_why(browser):
    browser.login()
    browser.go("denials")
    text = browser.text()
    for words in ("statement_kind", "no_column", "approval", "42501", "42703", "DELETE"):
        assert words in text
    browser.go("rooms")
    assert "acme: missing" in browser.text() and "megamart: missing" in browser.text()


COLOURED = """
const canvas = document.querySelector('canvas'), context = canvas.getContext('2d');
const [r, g, b] = getComputedStyle(document.documentElement).getPropertyValue('--allowed').match(/[0-9a-f]{2}/g).map((part) => parseInt(part, 16));
const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
let count = 0;
for (let i = 0; i < data.length; i += 4) count += data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255;
return count;
"""


def test_the_chart_is_drawn_in_the_colours_of_the_hour(browser):
    browser.login()
    for is_dark in (False, True, False):
        browser.go("overview?range=week")
        browser.wait_for(lambda: browser.js(COLOURED) > 300, "the chart was not drawn")
        browser.look(1280, not is_dark)
        browser.wait_for(lambda: browser.js(COLOURED) > 300, "the chart kept the colours of before")
        browser.go("rooms")
    # That it was read from is all that there is to say.
    assert [line for line in browser.complaints() if "willReadFrequently" not in line] == []


def test_live_sessions_come_and_go(house, browser):
    browser.login()
    browser.go("live")
    assert "Nobody is connected." in browser.text()
    with house.connect("ana", "page_room", application_name="seen live"):
        browser.wait("document.body.innerText.includes('seen live')", "the session never showed")
    browser.wait("!document.body.innerText.includes('seen live')", "the session never went")


@pytest.mark.parametrize("width, is_dark", [(1280, False), (1280, True), (360, False), (360, True), (320, False)])
def test_each_view_fits(house, browser, width, is_dark):
    browser.look(width, is_dark)
    browser.login()
    seq = house.last_log("question = 'first'")["seq"]
    for view in VIEWS + ["record/%d" % seq]:
        browser.go(view)
        assert browser.js("return document.documentElement.scrollWidth") <= width, view
        too_wide = browser.js("return [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1"
                              " && !e.closest('.visually-hidden, .scroll, .numbers, thead')).map((e) => e.outerHTML.slice(0, 120))")
        assert too_wide == [], (view, too_wide)
        paper = browser.js("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == is_dark
        browser.shot("%s-%d-%s" % (re.split(r"[?/]", view)[0], width, "dark" if is_dark else "light"))


NAMELESS = """
const named = (e) => (e.getAttribute('aria-label') || e.innerText || e.alt || '').trim() || e.getAttribute('aria-labelledby');
const bad = [];
for (const e of document.querySelectorAll('input, select')) if (!e.labels || e.labels.length === 0 || !e.labels[0].textContent.trim()) bad.push(e.outerHTML);
for (const e of document.querySelectorAll('a[href], button, summary')) if (e.offsetParent && !named(e)) bad.push(e.outerHTML);
for (const e of document.querySelectorAll('img')) if (!e.hasAttribute('alt')) bad.push(e.outerHTML);
for (const e of document.querySelectorAll('table')) if (!e.caption || !e.caption.textContent || e.querySelector('thead th:not([scope=col])')) bad.push(e.outerHTML.slice(0, 200));
for (const e of document.querySelectorAll('canvas')) if (e.getAttribute('role') !== 'img' || !e.getAttribute('aria-label')) bad.push(e.outerHTML);
const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) bad.push('twice: ' + id);
if (document.querySelectorAll('h1').length !== 1) bad.push('not one h1');
if (document.querySelectorAll('nav [aria-current=page]').length !== 1) bad.push('no current page');
for (const e of document.querySelectorAll('[style]')) if (!e.matches('canvas, .bar')) bad.push(e.outerHTML.slice(0, 100));
return bad;
"""


def test_names_for_those_who_do_not_see(house, browser):
    browser.login()
    seq = house.last_log("question = 'first'")["seq"]
    for view in VIEWS + ["record/%d" % seq]:
        browser.go(view)
        assert browser.js(NAMELESS) == [], view
        assert browser.js("return document.getElementById('status').textContent") != ""


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PAIRS = [("ink", "paper"), ("ink", "card"), ("quiet", "paper"), ("quiet", "card"), ("quiet", "accent-soft"), ("accent", "card"), ("accent", "paper"),
         ("accent", "accent-soft"), ("accent-ink", "accent"), ("allowed-ink", "allowed-soft"), ("denied-ink", "denied-soft"),
         ("failed-ink", "failed-soft"), ("running-ink", "running-soft"), ("ink", "mark"), ("ink", "denied-soft")]


def test_colours_can_be_told_apart():
    """WCAG 2: 4.5 to 1 for text, 3 to 1 for bars and focus."""
    with open(os.path.join(TOP, "proxy/console/page/console.css")) as source:
        blocks = re.findall(r":root \{(.*?)\}", source.read(), re.S)
    assert len(blocks) == 2
    for block in blocks:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for (one, two), least in itertools.chain(zip(PAIRS, itertools.repeat(4.5)),
                                                 zip([("allowed", "card"), ("denied", "card"), ("focus", "paper")], itertools.repeat(3))):
            light, dark = sorted((luminance(colours[one]), luminance(colours[two])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= least, (one, two, (light + 0.05) / (dark + 0.05))


def test_scripts_from_elsewhere_do_not_run(browser):
    browser.login()
    words = {"script-src-elem", "script-src-attr", "style-src-attr", "frame-src", "connect-src"}
    blocked = browser.driver.execute_async_script("""
        const done = arguments[arguments.length - 1], seen = [];
        document.addEventListener('securitypolicyviolation', (e) => seen.push(e.effectiveDirective));
        const script = document.createElement('script');
        script.textContent = 'window.hacked = 1';
        document.body.append(script);
        const div = document.createElement('div');
        div.innerHTML = '<img src=x onerror="window.hacked = 2"><a style="color: red" href="javascript:window.hacked = 3">x</a>';
        document.body.append(div);
        const frame = document.createElement('iframe');
        frame.src = 'data:text/html,x';
        document.body.append(frame);
        const until = Date.now() + 30000, end = () => done([window.hacked ?? null, seen]);
        // Once all is said, whatever was to run still has a moment to do so.
        const look = () => setTimeout(arguments[0].every((word) => seen.includes(word)) || Date.now() > until ? end : look, 300);
        fetch('http://127.0.0.2:1/').catch(look);
    """, sorted(words))
    assert blocked[0] is None
    assert words <= set(blocked[1]), blocked
    browser.complaints()
