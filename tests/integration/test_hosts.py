"""
An upstream of several servers: a primary and hot standbys that really replicate. Which one a connection goes to, that a
dead one is passed by, and what clients see when the primary dies and a standby takes its place.
"""
import os
import shutil
import signal
import socket
import threading
import time

import psycopg
import pytest

from tests.integration.conftest import make_veil
from tests.lib import data
from tests.lib.cluster import Cluster
from tests.lib.running import Running

FULL = os.environ.get("HOSTS", "") == "all"
LABELS = "SELECT * FROM questions.labels"
SLOW = "SELECT * FROM questions.slow(n => 1)"


@pytest.fixture(scope="module")
def primary():
    own = Cluster()
    data.load(own)
    yield own
    own.stop()


@pytest.fixture(scope="module")
def standby(primary):
    own = Cluster(primary=primary, cert_names="DNS:localhost")
    yield own
    own.stop()


def provision(cluster):
    """An installation whose room stands in that cluster's database."""
    name = "hosts_%d" % time.monotonic_ns()
    veil = make_veil(cluster, [data.small_room(name)])
    veil.room = name
    veil.provision()
    return veil


@pytest.fixture(scope="module")
def provisioned(primary):
    veil = provision(primary)
    yield veil
    veil.close()


@pytest.fixture
def veils(primary, provisioned):
    """
    veils(servers, attrs, mode, base=...): an installation over these servers (or ports), with the room and the state of
    `base`, by default of one that is provisioned in `primary`; taken down at the end.
    """
    made = []

    def make(servers, attrs=None, mode="transaction", base=provisioned, sslmode="disable", **upstream):
        veil = make_veil(primary, [data.small_room(base.room)], sslmode=sslmode,
                         config={"workers": 2, "pool": {"mode": mode}})
        veil.room = base.room
        shutil.copytree(base.path("state"), veil.path("state"), dirs_exist_ok=True)
        veil.config["upstreams"]["main"].update(
            host=["127.0.0.1" for _ in servers],
            port=[server if isinstance(server, int) else server.port for server in servers], **upstream)
        if attrs:
            veil.config["upstreams"]["main"]["target_session_attrs"] = attrs
        veil.write_config()
        made.append(veil)
        return veil

    yield make
    for veil in made:
        veil.close()


def eventually(claim, seconds=90):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return claim()
        except (AssertionError, psycopg.Error):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def standby_state(conn):
    return conn.execute("SHOW in_hot_standby").fetchone()[0]


def labels(conn):
    assert len(conn.execute(LABELS).fetchall()) == 60


def ask_new(veil):
    """in_hot_standby of the server that a new client gets."""
    with veil.connect("alice", veil.room) as conn:
        labels(conn)
        return standby_state(conn)


def refused(veil):
    with pytest.raises(psycopg.Error) as caught:
        with veil.connect("alice", veil.room) as conn:
            conn.execute(LABELS)
    return str(caught.value)


# ---- which server

@pytest.mark.parametrize("attrs, wanted", [
    ("any", "off"), ("read-write", "off"), ("primary", "off"), ("read-only", "on"), ("standby", "on"), ("prefer-standby", "on")])
def test_each_kind_finds_its_server(veils, primary, standby, attrs, wanted):
    # Whichever stands first, the right one serves, and nothing but what libpq's words say makes it so.
    servers = [primary, standby] if wanted == "on" or attrs == "any" else [standby, primary]
    standby.caught_up(primary)
    for mode in ("session", "transaction"):
        veil = veils(servers, attrs, mode)
        veil.start()
        assert [ask_new(veil) for _ in range(3)] == [wanted] * 3
        assert veil.stop() == 0


@pytest.mark.parametrize("attrs, words", [
    ("read-write", "session is read-only"), ("primary", "server is in hot standby mode"), ("standby", None), ("read-only", None)])
def test_no_server_of_that_kind(veils, primary, standby, attrs, words):
    only = standby if words else primary
    words = words or {"standby": "server is not in hot standby mode", "read-only": "session is not read-only"}[attrs]
    veil = veils([only, 1], attrs)
    standby.caught_up(primary)
    veil.start()
    said = refused(veil)
    # Who else there is and how it failed is for the operator alone.
    assert veil.room in said and str(only.port) not in said and "127.0.0.1" not in said.replace('"127.0.0.1", port %d' % veil.port, "")
    log = veil.stderr()
    assert "host 127.0.0.1 port %d: %s; host 127.0.0.1 port 1: Connection refused" % (only.port, words) in log
    assert veil.stop() == 0


def test_prefer_standby_takes_a_primary_when_there_is_no_other(veils, primary):
    veil = veils([1, primary], "prefer-standby")
    veil.start()
    assert ask_new(veil) == "off"
    assert veil.stop() == 0


def test_read_only_by_default_is_no_read_write(veils, primary):
    """A server may call itself read-only without being a standby, which is asked for past our own pin of that setting."""
    veil = veils([primary], "read-write")
    other = veils([primary], "read-only")
    try:
        primary.psql("ALTER SYSTEM SET default_transaction_read_only = on")
        primary.psql("SELECT pg_reload_conf()")
        eventually(lambda: primary.rows("SHOW default_transaction_read_only") == [("on",)] or pytest.fail("not yet"))
        veil.start()
        other.start()
        refused(veil)
        assert ": session is read-only" in veil.stderr()
        assert ask_new(other) == "off"
        assert veil.run("provision").returncode == 2
    finally:
        primary.psql("SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only")
        primary.psql("SELECT pg_reload_conf()")
    assert veil.stop() == 0 and other.stop() == 0


def test_balanced_hosts_all_serve(veils, primary, standby):
    veil = veils([primary, standby], load_balance_hosts="random", mode="session")
    standby.caught_up(primary)
    veil.start()
    conns = []
    # Each keeps its server; that thirty of them all get the same one happens to nobody.
    while {standby_state(conn) for conn in conns} != {"on", "off"}:
        assert len(conns) < 30
        conns.append(veil.connect("alice", veil.room))
    for conn in conns:
        conn.close()
    assert veil.stop() == 0


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_hosts_change_with_a_reload(veils, primary, standby, mode):
    """Who is there stays when servers are added; when one is taken away its sessions end, as for another database."""
    veil = veils([primary], mode=mode)
    standby.caught_up(primary)
    veil.start()
    main = veil.config["upstreams"]["main"]
    conn = veil.connect("alice", veil.room)
    main.update(host=["127.0.0.1", "127.0.0.1"], port=[standby.port, primary.port], target_session_attrs="standby")
    veil.write_config()
    veil.hup()
    veil.wait_stderr("generation 2 is in force")
    assert ask_new(veil) == "on"
    labels(conn)
    assert standby_state(conn) == ("off" if mode == "session" else "on")
    main.update(host="127.0.0.1", port=standby.port)
    veil.write_config()
    veil.hup()
    veil.wait_stderr("generation 3 is in force")
    assert ask_new(veil) == "on"
    with pytest.raises(psycopg.Error):
        labels(conn)
    assert conn.closed
    assert veil.stop() == 0


def test_provision_goes_to_the_primary(veils, primary, standby):
    """Whatever rooms ask of a server, roles and views are made where that is possible."""
    veil = veils([standby, primary], "standby", base=provision(primary))
    done = veil.run("provision", "--plan")
    assert done.returncode == 0, done.stderr
    room = dict(data.small_room(veil.room))
    room["questions"]["more"] = {"type": "list", "sql": "SELECT id FROM public.others ORDER BY id"}
    veil.write_room(room)
    veil.provision()
    standby.caught_up(primary)
    veil.start()
    with veil.connect("alice", veil.room) as conn:
        assert len(conn.execute("SELECT * FROM questions.more").fetchall()) == 60
        assert standby_state(conn) == "on"
    assert veil.stop() == 0
    main = veil.config["upstreams"]["main"]
    main["host"], main["port"] = "127.0.0.1", standby.port
    veil.write_config()
    done = veil.run("provision")
    assert done.returncode == 2 and "session is read-only" in done.stderr


# ---- names and certificates

def test_each_host_is_verified_by_its_own_name(veils, primary, standby):
    # The standby's certificate names localhost, which may have an address more, where nobody listens.
    veil = veils([primary, standby], "standby", sslmode="verify-full")
    main = veil.config["upstreams"]["main"]
    main["host"] = ["127.0.0.1", "localhost"]
    veil.write_config()
    standby.caught_up(primary)
    mark = standby.log_size()
    veil.start()
    assert ask_new(veil) == "on"
    assert veil.stop() == 0
    assert any("SSL enabled" in line and "user=pgveil_" in line for line in standby.log(mark).splitlines())
    main["host"] = ["127.0.0.1", "127.0.0.1"]
    veil.write_config()
    veil.start()
    refused(veil)
    assert "host 127.0.0.1 port %d: " % standby.port in veil.stderr() and "certificate" in veil.stderr()
    assert veil.stop() == 0


def test_a_cancel_goes_to_the_server_that_works(veils, primary, standby):
    veil = veils([primary, standby], "standby")
    standby.caught_up(primary)
    veil.start()
    conn = veil.connect("alice", veil.room)
    running = Running(conn, SLOW)
    wait_running(running, standby)
    conn.cancel()
    assert running.end().diag.sqlstate == "57014"
    labels(conn)
    conn.close()
    assert veil.stop() == 0


def test_a_name_without_address_is_passed_by(veils, primary):
    veil = veils([1, primary])
    veil.config["upstreams"]["main"]["host"] = ["nobody.invalid", "127.0.0.1"]
    veil.write_config()
    veil.start()
    assert ask_new(veil) == "off"
    veil.config["upstreams"]["main"]["port"] = [1, 1]
    veil.write_config()
    veil.hup()
    veil.wait_stderr("generation 2 is in force")
    refused(veil)
    log = veil.stderr()
    assert 'name "nobody.invalid"' in log and "host 127.0.0.1 port 1: Connection refused" in log
    assert veil.stop() == 0


# ---- dead ones

def wait_running(running, cluster, count=1):
    """Until so many statements of rooms run there, and this one among them."""
    def look():
        assert running.said is None, running.said
        assert len(cluster.rows("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND usename LIKE 'pgveil!_%' ESCAPE '!'")) == count
    eventually(look)


def is_loss(error):
    """Said by the server when it ends, or by us when it is gone; psycopg keeps no SQLSTATE of what came with the end."""
    return error.diag.sqlstate in ("57P01", "08006") or "terminating connection due to administrator command" in str(error) \
        or "the connection to the database was lost" in str(error)


class Relay:
    """A way to a server that can be cut without a word, as when a machine or its network dies."""

    def __init__(self, target):
        self.target = target
        self.is_cut = False
        self.accepted = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.sockets.append(one)
            if self.is_cut or self.target is None:
                continue
            other = socket.create_connection(("127.0.0.1", self.target))
            self.sockets.append(other)
            for a, b in ((one, other), (other, one)):
                threading.Thread(target=self.carry, args=(a, b), daemon=True).start()

    def carry(self, a, b):
        try:
            while True:
                data = a.recv(65536)
                if self.is_cut:
                    return
                if not data:
                    b.shutdown(socket.SHUT_WR)
                    return
                b.sendall(data)
        except OSError:
            pass

    def close(self):
        for one in self.sockets:
            one.close()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_silent_first_host_is_waited_for_once(veils, primary, mode):
    def test(seconds):
        silent = Relay(None)
        veil = veils([silent.port, primary], mode=mode, connect_timeout="%ds" % seconds)
        veil.start()
        try:
            for _ in range(6):
                assert ask_new(veil) == "off"
            # Once for the first client, once by what looks at the database when serving begins.
            assert silent.accepted <= 2
            assert veil.stderr().count("timeout expired") == 1
            assert "upstream \"main\": host 127.0.0.1 port %d: timeout expired" % silent.port in veil.stderr()
            assert veil.stop() == 0
        finally:
            silent.close()
    # So slow a machine that the other one has no time left to answer, either, needs more of it.
    for seconds in (1, 5):
        try:
            return test(seconds)
        except (AssertionError, psycopg.Error):
            pass
    test(20)


def test_failover(veils):
    """The primary goes; who works on it hears of it, nobody else; the standby is promoted, and all go on there."""
    own = Cluster()
    made = [own]
    try:
        data.load(own)
        base = provision(own)
        rooms = {(mode, attrs): veils([own, 1], attrs, mode, base=base)
                 for mode, attrs in (("session", "primary"), ("transaction", "read-write"), ("transaction", "standby"))}
        other = Cluster(primary=own)
        made.append(other)
        for veil in rooms.values():
            veil.config["upstreams"]["main"]["port"] = [own.port, other.port]
            veil.write_config()
            veil.start()
        readers = rooms.pop(("transaction", "standby"))
        reader = readers.connect("alice", readers.room)
        assert standby_state(reader) == "on"
        conns = {}
        for key, veil in rooms.items():
            idle, busy, amid = (veil.connect("alice", veil.room) for _ in range(3))
            for conn in (idle, amid):
                conn.execute("SET TimeZone = 'Asia/Tokyo'")
                labels(conn)
            amid.execute("BEGIN")
            labels(amid)
            conns[key] = idle, Running(busy, SLOW), amid
        for _, running, _ in conns.values():
            wait_running(running, own, len(conns))
        own.halt(signal.SIGINT)
        for (mode, _), veil in rooms.items():
            idle, running, amid = conns[mode, _]
            assert is_loss(running.end())
            with pytest.raises(psycopg.Error) as caught:
                amid.execute(LABELS)
            assert amid.closed and is_loss(caught.value)
            assert "no connection" not in refused(veil) and "Connection refused" in veil.stderr()
            # A client that holds nothing has lost nothing.
            with pytest.raises(psycopg.Error) as caught:
                idle.execute(LABELS)
            assert idle.closed == (mode == "session")
            assert mode == "session" or caught.value.diag.sqlstate == "08006"
        assert standby_state(reader) == "on"
        other.promote()
        for (mode, _), veil in rooms.items():
            assert eventually(lambda: ask_new(veil)) == "off"
            idle = conns[mode, _][0]
            if mode == "transaction":
                labels(idle)
                assert idle.execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)
                assert standby_state(idle) == "off"
            idle.close()
            assert "upstream \"main\": host 127.0.0.1 port %d: Connection refused" % own.port in veil.stderr()
        # Its server is no standby any more: the statement under which that shows is the last one there.
        reader.execute(LABELS)
        with pytest.raises(psycopg.Error) as caught:
            reader.execute(LABELS)
        assert caught.value.diag.sqlstate == "08006"
        assert "port %d: server is not in hot standby mode" % other.port in readers.stderr()
        reader.close()
        for veil in [readers, *rooms.values()]:
            assert veil.stop() == 0
    finally:
        for one in made:
            one.stop()


# What takes longer: `make test-hosts`.
if FULL:
    def test_connections_at_rest_on_a_dead_server_are_dropped(veils, primary, standby):
        """One room finds its server dead; what another room has at rest there is asked whether it lives, and it does not."""
        relay = Relay(primary.port)
        veil = veils([relay.port, standby], connect_timeout="1s", base=provision(primary))
        room = data.small_room("second_" + veil.room)
        veil.write_room(room)
        veil.provision()
        standby.caught_up(primary)
        veil.start()
        try:
            resting = veil.connect("alice", room["room"])
            assert standby_state(resting) == "off"
            holder = veil.connect("alice", veil.room)
            holder.execute("BEGIN")
            assert standby_state(holder) == "off"
            relay.is_cut = True
            assert ask_new(veil) == "on"
            veil.wait_stderr("room \"%s\": an idle connection to the database gave no answer" % room["room"])
            assert standby_state(resting) == "on"
        finally:
            veil.kill()  # an orderly end would wait for the dead server
            relay.close()

    def test_a_storm_after_a_restart_is_spread(veils):
        """A hundred clients ask at once of a server that is starting: few logins at a time reach it, and all are served."""
        own = Cluster({"max_connections": "40"})
        try:
            data.load(own)
            veil = veils([1, own], "read-write", base=provision(own))
            veil.config["pool"] = {"mode": "transaction", "size": 10}
            veil.write_config()
            veil.start()
            conns = [veil.connect("alice", veil.room) for _ in range(100)]
            own.halt(signal.SIGQUIT)
            mark = own.log_size()
            served, errors = [], []

            def ask(conn):
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    try:
                        labels(conn)
                        served.append(conn)
                        return
                    except psycopg.Error as error:
                        errors.append(error.diag.sqlstate)
                        time.sleep(0.2)

            threads = [threading.Thread(target=ask, args=(conn,)) for conn in conns]
            for thread in threads:
                thread.start()
            time.sleep(1)
            own.start()
            for thread in threads:
                thread.join(120)
            assert len(served) == 100
            assert set(errors) <= {"08006", "53300"}
            received = own.log(mark).count("connection received")
            print("%d connects for %d clients" % (received, len(conns)))
            # Ten connections were needed, and a probe; the rest are logins that came too soon.
            assert received < 60, received
            for conn in conns:
                conn.close()
            assert veil.stop() == 0
        finally:
            own.stop()
