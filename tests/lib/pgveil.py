"""
Runs the pgveil binary for tests: writes its folder (config, users, rooms, secrets), starts and stops it, asks its
commands. The binary is $PGVEIL_BIN, by default build/pgveil.
"""
import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

from tests.lib.certs import ed25519
from tests.lib.cluster import free_port
from tests.lib.wire import Wire

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("PGVEIL_BIN", os.path.join(TOP, "build", "pgveil")))


# How installations pool server connections unless a test says so itself; empty: as pgveil does by default.
POOL_MODE = os.environ.get("PGVEIL_POOL_MODE", "")


def run_binary(*args, stdin="", cwd=None, timeout=120):
    return subprocess.run([BINARY, *args], input=stdin, capture_output=True, text=True, cwd=cwd, timeout=timeout)


def write_private(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)


class Pgveil:
    """
    One installation in a temporary folder. `rooms` is a list of room dicts; parties without a key get one (private
    half in `self.keys[party]`). `users` maps a name to {"password": …, "attributes": …, more keys as in users.json};
    the verifier is made with `pgveil passwd`.
    """

    def __init__(self, rooms, users, upstream, config=None):
        self.folder = tempfile.mkdtemp(prefix="pgveil-test-")
        atexit.register(self.close)
        self.port = free_port()
        self.process = None
        self.stderr_path = os.path.join(self.folder, "stderr.log")
        open(self.stderr_path, "w").close()
        self.users = users
        self.keys = {}
        self._verifiers = {}
        self.config = {
            "listen": ["127.0.0.1:%d" % self.port], "upstreams": {"main": dict(upstream)}, "users": "users.json",
            "rooms": "rooms", "state": "state/pgveil.db", "workers": 2,
        }
        if POOL_MODE:
            self.config["pool"] = {"mode": POOL_MODE}
        self.config.update(config or {})
        password = self.config["upstreams"]["main"].pop("password", None)
        if password is not None:
            write_private(self.path("secret/main"), password + "\n")
            self.config["upstreams"]["main"]["password_file"] = "secret/main"
        os.makedirs(self.path("state"), mode=0o700)
        os.makedirs(self.path("rooms"))
        self.write_config()
        self.write_users({})
        for room in rooms:
            self.write_room(room)
        self.write_users(users)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    # --- files

    def write_config(self):
        with open(self.path("pgveil.json"), "w") as out:
            json.dump(self.config, out, indent=2)

    def write_room(self, room):
        name = room["room"]
        for party, more in room.get("parties", {}).items():
            relative = more.get("public_key")
            if relative:
                stem = self.path("rooms", os.path.splitext(relative)[0])
                if not os.path.exists(stem + ".pem"):
                    self.keys[party] = ed25519(stem)[0]
        temporary = self.path("rooms", name + ".json.new")
        with open(temporary, "w") as out:
            json.dump(room, out, indent=2)
        os.rename(temporary, self.path("rooms", name + ".json"))

    def passwd(self, password, user):
        key = (password, user)
        if key not in self._verifiers:
            done = run_binary("passwd", stdin=password + "\n")
            if done.returncode != 0:
                raise RuntimeError("pgveil passwd: " + done.stderr)
            self._verifiers[key] = done.stdout.strip()
        return self._verifiers[key]

    def write_users(self, users):
        entries = {}
        for name, user in users.items():
            entry = {key: value for key, value in user.items() if key != "password"}
            if "password" in user:
                entry["scram"] = self.passwd(user["password"], name)
            entries[name] = entry
        write_private(self.path("users.json"), json.dumps(entries, indent=2))

    # --- commands

    def run(self, command, *args, stdin="", timeout=120):
        return run_binary(command, "-c", self.path("pgveil.json"), *args, stdin=stdin, timeout=timeout)

    def provision(self, *args):
        done = self.run("provision", *args)
        if done.returncode != 0:
            raise RuntimeError("pgveil provision: " + done.stdout + done.stderr)
        return done.stdout

    def explain(self, sql, room, user):
        """(exit status, the JSON object) of `pgveil explain --json`."""
        done = self.run("explain", "--room", room, "--user", user, "--json", "-", stdin=sql)
        if done.returncode not in (0, 1):
            raise RuntimeError("pgveil explain: " + done.stderr)
        return done.returncode, json.loads(done.stdout)

    def log_rows(self, where="1", params=(), order="seq"):
        """Rows of query_log as dicts, read from the state file itself."""
        return self._state("SELECT * FROM query_log WHERE %s ORDER BY %s" % (where, order), params)

    def event_rows(self, where="1", params=()):
        return self._state("SELECT * FROM event_log WHERE %s ORDER BY seq" % where, params)

    def _state(self, sql, params):
        state = sqlite3.connect("file:%s?mode=ro" % self.path("state", "pgveil.db"), uri=True, timeout=60)
        try:
            state.row_factory = sqlite3.Row
            return [dict(row) for row in state.execute(sql, params)]
        finally:
            state.close()

    def last_log(self, where="1", params=(), settled=True):
        """The newest matching row; waits for its outcome where the statement has just ended."""
        deadline = time.monotonic() + 60
        while True:
            found = self.log_rows(where, params, "seq DESC LIMIT 1")
            if found and (not settled or found[0]["outcome"] is not None) or time.monotonic() > deadline:
                return found[0] if found else None
            time.sleep(0.02)

    # --- the process

    def start(self, *args, wait=True):
        with open(self.stderr_path, "a") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", BINARY, "serve", "-c", self.path("pgveil.json"), *args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_until_open()
        return self

    def wait_until_open(self, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError("pgveil serve ended with %d: %s" % (self.process.returncode, self.stderr()))
                if time.monotonic() > deadline:
                    raise RuntimeError("pgveil serve does not listen: " + self.stderr())
                time.sleep(0.02)

    def stderr(self):
        with open(self.stderr_path, errors="replace") as source:
            return source.read()

    def wait_stderr(self, needle, since=0, seconds=60):
        deadline = time.monotonic() + seconds
        while needle not in self.stderr()[since:]:
            if time.monotonic() > deadline:
                raise AssertionError("%r never said: %s" % (needle, self.stderr()[since:]))
            time.sleep(0.02)

    def hup(self):
        self.process.send_signal(signal.SIGHUP)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=90):
        status = self.process.wait(seconds)
        self.process = None
        return status

    def kill(self):
        self.process.kill()
        self.process.wait(60)
        self.process = None

    def stop(self):
        """Ends it in an orderly way and gives the exit status; sanitizer reports make that non-zero."""
        if self.process is None:
            return 0
        self.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def close(self):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    # --- clients

    def dsn(self, user, room, port=None):
        return {"host": "127.0.0.1", "port": port or self.port, "user": user, "dbname": room,
                "password": self.users[user]["password"], "sslmode": "disable", "gssencmode": "disable"}

    def connect(self, user, room, port=None, **more):
        """psycopg 3, autocommit unless told otherwise."""
        import psycopg
        more.setdefault("autocommit", True)
        return psycopg.connect(**{**self.dsn(user, room, port), **more})

    def wire(self, user, room, port=None, params=(), **more):
        return Wire.login("127.0.0.1", port or self.port, user, self.users[user]["password"], room, params, **more)


@contextlib.contextmanager
def serving(veil):
    """Provisioned and started; at the end stopped with status 0 and taken out of the database."""
    veil.provision()
    veil.start()
    try:
        yield veil
    finally:
        status, said = veil.stop(), veil.stderr()
        veil.provision("--drop")
        veil.close()
    assert status == 0, said[-3000:]
