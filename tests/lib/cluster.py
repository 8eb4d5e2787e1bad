"""
A throwaway PostgreSQL 15 cluster: a temporary folder, loopback and a Unix socket, a free port, TLS with a CA of its
own, SCRAM over TCP, trust over the socket, every statement in a log that tests read. It ends with the process that
made it, however that ends: at exit by us, and otherwise because the kernel signals the postmaster.
"""
import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from tests.lib.certs import Authority

# What connections made here call themselves, so that the server's log tells them from those that pgveil makes.
STRAIGHT = "straight"
BIN = os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin")


_ports_given = set()


def free_port():
    """One that nobody has, and that no call before gave: who asked may not have bound it yet."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _ports_given:
            _ports_given.add(port)
            return port


def _as_owner():
    """PostgreSQL refuses to run as root; a command prefix that drops to its user and dies with us."""
    prefix = ["setpriv", "--pdeathsig", "QUIT"]
    if os.getuid() == 0:
        prefix += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
    return prefix


class Cluster:
    """`cluster.psql(sql)` runs as superuser; `cluster.connect()` gives a psycopg connection over the socket."""

    def __init__(self, settings=None, primary=None, cert_names=None):
        """`primary`: another one, of which this is a hot standby. `cert_names`: whom its certificate names."""
        self.folder = tempfile.mkdtemp(prefix="pgveil-pg-")
        self.data = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "server.log")
        self.port = free_port()
        self.process = None
        atexit.register(self.stop)
        self.ca = primary.ca if primary else Authority(os.path.join(self.folder, "ca"))
        cert, key = self.ca.issue("postgres-%d" % self.port, *([cert_names] if cert_names else []))
        os.mkdir(os.path.join(self.folder, "run"))
        self._give_away(cert, key)
        if primary:
            self._run("pg_basebackup", "-D", self.data, "-h", primary.socket_dir, "-p", str(primary.port), "-U",
                      "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync")
            self._configure(cert, key, {"hot_standby": "on", **(settings or {})})
            self.start()
            return
        self._run("initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
                  "--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions")
        self._configure(cert, key, settings or {})
        self.start()

    @property
    def socket_dir(self):
        return os.path.join(self.folder, "run")

    def _give_away(self, cert, key):
        if os.getuid() != 0:
            return
        owner = pwd.getpwnam("postgres")
        for path in (self.folder, os.path.dirname(cert), cert, key, self.socket_dir):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        os.chmod(self.folder, 0o755)

    def _run(self, program, *args):
        done = subprocess.run(_as_owner() + [os.path.join(BIN, program), *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, cwd="/", env=dict(os.environ, LC_ALL="C.UTF-8"))
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (program, done.stdout + done.stderr))

    def _configure(self, cert, key, more):
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.socket_dir,
            "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": 100,
            "shared_buffers": "32MB", "ssl": "on", "ssl_cert_file": cert, "ssl_key_file": key,
            "password_encryption": "scram-sha-256", "log_statement": "all", "log_min_messages": "log",
            "log_line_prefix": "%m [%p] user=%u db=%d app=%a ", "log_connections": "on", "logging_collector": "off",
            "autovacuum": "off", "TimeZone": "UTC", "log_timezone": "UTC",
        }
        settings.update(more)
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as out:
            for name, value in settings.items():
                out.write("%s = '%s'\n" % (name, str(value).replace("'", "''")))

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(_as_owner() + [os.path.join(BIN, "postgres"), "-D", self.data], cwd="/",
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        deadline = time.monotonic() + 90
        while subprocess.run([os.path.join(BIN, "pg_isready"), "-q", "-h", self.socket_dir, "-p",
                              str(self.port)]).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start: " + self.log()[-2000:])
            time.sleep(0.05)

    def halt(self, how=signal.SIGINT):
        """Stops the server, sending its clients away, and keeps its data; `start` brings it back."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(90)
            self.process = None

    def promote(self):
        """A standby becomes a primary, and is one when this returns."""
        self._run("pg_ctl", "promote", "-D", self.data, "-w", "-t", "60")

    def caught_up(self, primary, seconds=90):
        """Waits until this standby has replayed what its primary has written by now."""
        primary.psql("SET synchronous_commit = on; SELECT txid_current()")  # what was written late is written now
        (lsn,), = primary.rows("SELECT pg_current_wal_lsn()::text")
        deadline = time.monotonic() + seconds
        while not self.rows("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,))[0][0]:
            if time.monotonic() > deadline:
                raise RuntimeError("the standby does not follow: " + self.log()[-2000:])
            time.sleep(0.02)

    def stop(self):
        try:
            self.halt(signal.SIGQUIT)  # nothing is kept, so nothing need be written
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            atexit.unregister(self.stop)

    def log(self, since=0):
        """The server's log from byte offset `since` on."""
        with open(self.log_path, "rb") as source:
            source.seek(since)
            return source.read().decode("utf-8", "replace")

    def log_size(self):
        return os.path.getsize(self.log_path)

    def psql(self, sql, dbname="warehouse", user="postgres"):
        """Runs SQL text over the socket; gives its output unaligned."""
        done = subprocess.run([os.path.join(BIN, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h",
                               self.socket_dir, "-p", str(self.port), "-U", user, "-d", dbname], input=sql,
                              capture_output=True, text=True, env=dict(os.environ, PGAPPNAME=STRAIGHT))
        if done.returncode != 0:
            raise RuntimeError("psql: " + done.stderr)
        return done.stdout.strip()

    def connect(self, dbname="warehouse", user="postgres", **more):
        import psycopg
        return psycopg.connect(host=self.socket_dir, port=self.port, dbname=dbname, user=user, autocommit=True,
                               application_name=STRAIGHT, **more)

    def rows(self, sql, params=None, dbname="warehouse"):
        """Rows of one statement run as superuser: the oracle's side."""
        with self.connect(dbname) as conn:
            return conn.execute(sql, params).fetchall()
