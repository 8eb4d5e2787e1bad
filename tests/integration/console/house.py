"""Two rooms with a page, and who may see what of them."""
import time

from tests.lib import data
from tests.lib.console import Console

USERS = {
    "ana": {"password": "ana-secret"}, "bea": {"password": "bea-secret"}, "aud": {"password": "aud-secret"},
    "both": {"password": "both-secret"}, "cert": {"password": "cert-secret", "cert_cn": "cert", "require": ["cert", "scram"]},
    "gone": {"password": "gone-secret"}, "tried": {"password": "tried-secret"},
}
HOSTILE = "SELECT '<img src=x onerror=alert(1)>', '100%_\\', 'it''s', 'Ünïcode'"


def rooms():
    made = []
    for name in ("page_one", "page_two"):
        room = data.small_room(name)
        party = sorted(room["parties"])[0]
        room["members"] = {"ana": {"party": party, "roles": ["analyst"]}, "both": {"party": party, "roles": ["auditor"]},
                           "bea": {"party": party, "roles": ["analyst"]}}
        if name == "page_one":
            for user in ("aud", "cert", "gone", "tried"):
                room["members"][user] = {"party": party, "roles": ["auditor"]}
        made.append(room)
    return made


def client(house, user=None):
    made = Console(house.console_port)
    if user is not None:
        made.login(user, USERS[user]["password"])
    return made


def last_event(house, event, user):
    deadline = time.monotonic() + 60
    while True:
        found = house.event_rows("event = ? AND user = ?", (event, user))
        if found or time.monotonic() > deadline:
            return found[-1] if found else None
        time.sleep(0.02)
