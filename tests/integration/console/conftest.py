"""One installation with a page for each file of tests."""
import psycopg
import pytest

from tests.integration.console.house import HOSTILE, USERS, client, rooms
from tests.lib.cluster import free_port
from tests.lib.pgveil import serving


def fill(house):
    for name in ("page_one", "page_two"):
        with house.connect("ana", name) as conn:
            conn.execute("SELECT 'in %s'" % name)
            conn.execute("SELECT * FROM questions.first(n => 3)")
            for sql in ("SELECT * FROM pg_authid_%s" % name, "DELETE FROM public.cells", "SELECT nothing FROM public.cells"):
                with pytest.raises(psycopg.Error):
                    conn.execute(sql)
    with house.connect("bea", "page_one") as conn:
        conn.execute(HOSTILE)


@pytest.fixture(scope="module")
def house(cluster):
    from tests.integration.conftest import make_veil

    port = free_port()
    house = make_veil(cluster, rooms(), USERS, {"console": "127.0.0.1:%d" % port})
    house.console_port = port
    with serving(house):
        fill(house)
        yield house


@pytest.fixture(scope="module")
def aud(house):
    return client(house, "aud")


@pytest.fixture(scope="module")
def both(house):
    return client(house, "both")
