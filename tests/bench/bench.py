"""
What a statement costs on its way: PostgreSQL straight, pgbouncer in session and in transaction mode, HAProxy in TCP
mode, and pgveil with a real room, its log strict and relaxed, with a server connection a client and in transaction
pooling. Everything is started here, on loopback, and taken down at the end. Where there are two cores the proxies are
pinned to the last one, PostgreSQL and the clients to the others. Rounds are interleaved: each target runs once before
any runs again, so that noise of the machine meets all of them; what the table shows are medians over the rounds. CPU is
what the kernel charged to the proxy's own threads (/proc/PID/task/*/schedstat, nanoseconds), so it says little about how
busy the machine was.

It keeps to a quarter of an hour: no further round begins once BENCH_SECONDS (720) are over. BENCH_LONG=1 takes ten
times as long for each and more rounds, and all the time it needs; BENCH_ROUNDS says how many rounds; BENCH_ONLY=word,word
narrows the parts, and then nothing is written.
"""
import atexit
import os
import platform
import re
import resource
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP)

from tests.lib.cluster import BIN, Cluster, free_port  # noqa: E402
from tests.lib.pgveil import BINARY, Pgveil  # noqa: E402
from tests.lib.wire import TERMINATE, Wire  # noqa: E402

LONG = os.environ.get("BENCH_LONG", "") not in ("", "0")
ONLY = [name for name in os.environ.get("BENCH_ONLY", "").split(",") if name]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7" if LONG else "2"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "1e9" if LONG else "720"))
ROWS = 1000000
MASKED_ROWS = 200000
IDLE = 1000  # 5,000 of them: make test-limits
RATE = 300  # transactions a second of the latency part: what each target can hold
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORES, OTHER_CORES = (CORES[-1:], CORES[:-1]) if len(CORES) > 1 else (CORES, CORES)
USER, PASSWORD, UPSTREAM_PASSWORD = "alice", "bench", "bench-upstream"

# pgbench puts the number in: no text comes twice.
REPORT = """SELECT a.region, date_trunc('month', a.bought_at) AS month,
       count(*) AS n,
       sum(a.amount) AS total,
       avg(a.amount) AS average
FROM public.orders AS a
WHERE a.region IN ('north', 'south', 'east', 'west')
  AND a.channel = 'web'
  AND a.bought_at >= '2024-01-01'
  AND a.bought_at < '2024-01-03'
  AND (a.region <> 'unknown' OR a.channel <> 'unknown')
GROUP BY a.region, date_trunc('month', a.bought_at)
HAVING count(*) > 1
ORDER BY a.region, month DESC
LIMIT :x"""

SCHEMA = """
CREATE TABLE public.orders (id integer PRIMARY KEY, customer integer, region text, channel text, bought_at date,
                            amount numeric);
INSERT INTO public.orders SELECT n, mod(n, 5000), (ARRAY['north', 'south', 'east', 'west'])[mod(n, 4) + 1],
    (ARRAY['web', 'shop', 'app'])[mod(n, 3) + 1], date '2023-01-01' + mod(n, 700), mod(n, 1000) / 10.0
FROM generate_series(1, 20000) AS n;
CREATE INDEX ON public.orders (bought_at);
CREATE TABLE public.people (id integer PRIMARY KEY, email text, born date, postcode text, income integer);
INSERT INTO public.people SELECT n, 'p' || n || '@example.com', date '1950-01-01' + mod(n, 20000), 'PC' || mod(n, 9973),
    mod(n, 100000) FROM generate_series(1, %(masked_rows)d) AS n;
CREATE VIEW public.people_plain AS SELECT * FROM public.people;
CREATE VIEW public.accounts_view WITH (security_barrier) AS SELECT aid, bid, abalance FROM public.pgbench_accounts;
CREATE TABLE public.stream (id integer PRIMARY KEY, a bigint, b text, c date);
INSERT INTO public.stream SELECT n, n * 7919::bigint, 'row number ' || n, date '2020-01-01' + mod(n, 1000)
FROM generate_series(1, %(rows)d) AS n;
"""


def room(name):
    """A room as a party would write it: masks, fixed questions, an open one under an analysis rule."""
    plain = {"category": 1}
    questions = {
        "balance": {"type": "list", "sql": "SELECT abalance FROM pgbench_accounts WHERE aid = :aid",
                    "parameters": {"aid": {"type": "integer", "minimum": 1}}},
        "branches": {"type": "analytical", "sql": "SELECT count(*) FROM pgbench_branches"},
        "stream": {"type": "list", "sql": "SELECT id, a, b, c FROM public.stream"},
        "masked": {"type": "list", "sql": "SELECT id, email, born, postcode, income FROM public.people"},
        "unmasked": {"type": "list", "sql": "SELECT id, email, born, postcode, income FROM public.people_plain"},
        "orders_by": {"type": "analytical", "open": True, "datasets": ["public.orders"]},
    }
    # A list that is long enough for the search through it to show.
    for i in range(12):
        questions["by_region_%d" % i] = {
            "type": "analytical", "parameters": {"since": {"type": "date"}},
            "sql": "SELECT o.region, count(DISTINCT o.customer) AS reached, sum(o.amount) AS amount_%d "
                   "FROM public.orders o WHERE o.bought_at >= :since GROUP BY o.region ORDER BY 1" % i,
            "output": {"entity": "o.customer", "minimum_entities": 5}}
    return {
        "room": name, "upstream": "main", "parties": {"acme": {}}, "members": {USER: {"party": "acme", "roles": ["analyst"]}},
        "datasets": {
            "public.pgbench_accounts": {"owner": "acme", "columns": {"aid": plain, "bid": plain, "abalance": plain,
                                                                    "filler": {"category": 2}}},
            "public.pgbench_branches": {"owner": "acme", "columns": {"bid": plain, "bbalance": plain}},
            "public.stream": {"owner": "acme", "columns": {name: plain for name in ("id", "a", "b", "c")}},
            "public.people": {"owner": "acme", "entity": "id", "columns": {
                "id": {"category": 3}, "email": {"category": 3, "mask": "email_domain"},
                "born": {"category": 3, "mask": {"truncate_date": "year"}},
                "postcode": {"category": 3, "mask": {"prefix": 3}}, "income": {"category": 3, "mask": {"bucket": 1000}}}},
            "public.people_plain": {"owner": "acme", "source": "public.people", "columns": {
                name: plain for name in ("id", "email", "born", "postcode", "income")}},
            "public.orders": {"owner": "acme", "entity": "customer", "columns": {
                name: plain for name in ("id", "customer", "region", "channel", "bought_at", "amount")},
                "analysis_rule": {
                    "type": "aggregation", "dimension_columns": ["region", "channel", "bought_at"],
                    "aggregate_columns": [{"columns": ["amount"], "functions": ["sum", "avg", "count"]}],
                    "scalar_functions": ["date_trunc"],
                    "output_constraints": [{"column": "customer", "type": "count_distinct", "minimum": 2}]}}},
        "questions": questions,
    }


# ---- Targets


class Target:
    """A place to connect to. `pids` are the proxy's processes; none for the database itself."""

    def __init__(self, name, port, user, password, dbname, process=None, pid=None):
        self.name, self.port, self.process = name, port, process
        self.pid = pid if pid is not None else (process.pid if process is not None else None)
        self.script = None  # what it is asked, where that is not what pgbench -S sends
        self.is_whole_only = False  # for the part that has all cores
        self.env = dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(port), PGUSER=user, PGPASSWORD=password,
                        PGDATABASE=dbname, PGSSLMODE="disable", PGGSSENCMODE="disable")

    def cpu_us(self):
        """CPU of all threads so far, in microseconds."""
        if self.pid is None:
            return 0.0
        total = 0
        for task in os.listdir("/proc/%d/task" % self.pid):
            with open("/proc/%d/task/%s/schedstat" % (self.pid, task)) as source:
                total += int(source.read().split()[0])
        return total / 1000.0

    def memory_kib(self):
        with open("/proc/%d/smaps_rollup" % self.pid) as source:
            return int(re.search(r"Pss:\s+(\d+)", source.read()).group(1))


def in_folder(folder, name, text, mode=0o600):
    path = os.path.join(folder, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as out:
        out.write(text)
    return path


def pin(pid, cores):
    """All threads of a process; those that it starts later inherit it."""
    for task in os.listdir("/proc/%d/task" % pid):
        os.sched_setaffinity(int(task), cores)


def spawn(command, folder, name, as_user=None):
    prefix = ["taskset", "-c", ",".join(map(str, PROXY_CORES)), "setpriv", "--pdeathsig", "KILL"]
    if as_user and os.getuid() == 0:
        prefix += ["--reuid", as_user, "--regid", as_user, "--init-groups"]
        subprocess.run(["chown", "-R", as_user, folder], check=True)
    with open(os.path.join(folder, name + ".log"), "a") as log:
        process = subprocess.Popen(prefix + command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    atexit.register(process.kill)
    return process


def pgbouncer(cluster, folder, mode, cert):
    port = free_port()
    folder = os.path.join(folder, "pgbouncer-" + mode)
    os.mkdir(folder, 0o755)
    shutil.copy(cert[0], os.path.join(folder, "cert"))
    shutil.copy(cert[1], os.path.join(folder, "key"))
    users = in_folder(folder, "users.txt", '"bench_user" "%s"\n' % PASSWORD)
    config = in_folder(folder, "pgbouncer.ini", """
[databases]
bench = host=127.0.0.1 port=%d dbname=bench
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = %s
default_pool_size = 64
max_client_conn = 6000
client_tls_sslmode = allow
client_tls_cert_file = %s/cert
client_tls_key_file = %s/key
server_tls_sslmode = disable
log_connections = 0
log_disconnections = 0
log_stats = 0
ignore_startup_parameters = extra_float_digits,options
""" % (cluster.port, port, users, mode, folder, folder))
    process = spawn(["pgbouncer", config], folder, "pgbouncer", "postgres")
    return Target("pgbouncer " + mode, port, "bench_user", PASSWORD, "bench", process)


def haproxy(cluster, folder):
    port = free_port()
    config = in_folder(folder, "haproxy.cfg", """
global
    maxconn 6000
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend in
    bind 127.0.0.1:%d
    default_backend out
backend out
    server one 127.0.0.1:%d
""" % (port, cluster.port))
    process = spawn(["haproxy", "-db", "-f", config], folder, "haproxy")
    return Target("haproxy tcp", port, "bench_user", PASSWORD, "bench", process)


def view_through(target, folder):
    """The same proxy, asked what pgveil makes of the statement: what the view costs the database, without pgveil."""
    found = Target(target.name + ", the view", target.port, "bench_user", PASSWORD, "bench", target.process)
    found.is_whole_only = True
    found.script = in_folder(folder, "view.sql", "\\set aid random(1, 1000000)\n"
                             "SELECT abalance AS abalance FROM public.accounts_view AS pgbench_accounts "
                             "WHERE (aid = CAST(':aid' AS pg_catalog.int4));\n", 0o644)
    return found


# "behind" is strict with audit.write_behind: under load, on disk beside the log first.
WORDS = {"relaxed": "relaxed", "strict": "strict", "behind": "strict, written behind"}


def pgveil(cluster, durability, cert, more=None, is_pooled=False, workers=1):
    upstream = {"host": "127.0.0.1", "port": cluster.port, "dbname": "bench", "user": "pgveil",
                "password": UPSTREAM_PASSWORD, "sslmode": "disable"}
    audit = {"durability": "strict", "write_behind": "100ms"} if durability == "behind" else {"durability": durability}
    config = {"workers": workers, "audit": audit, "tls": {"cert": cert[0], "key": cert[1]}}
    config["pool"] = {"mode": "transaction" if is_pooled else "session"}
    config.update(more or {})
    name = durability + ("_pooled" if is_pooled else "") + ("_%d" % workers if workers > 1 else "")
    veil = Pgveil([room(name)], {USER: {"password": PASSWORD}}, upstream, config)
    veil.provision()
    veil.start()
    pin(veil.process.pid, PROXY_CORES)
    target = Target("pgveil %s%s%s" % (WORDS[durability], ", pooled" if is_pooled else "",
                                       ", %d workers" % workers if workers > 1 else ""),
                    veil.port, USER, PASSWORD, name, pid=veil.process.pid)
    target.veil, target.is_whole_only = veil, workers > 1
    return target


def wait_open(target):
    for _ in range(200):
        done = subprocess.run([os.path.join(BIN, "psql"), "-XAtqc", "SELECT 1"], env=target.env, capture_output=True,
                              text=True)
        if done.returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError("%s does not answer: %s" % (target.name, done.stderr))


# ---- Parts. Each measures one target once and gives {column: value}.


def run_pgbench(target, args, script=None, env=None):
    """(transactions, seconds, proxy CPU in microseconds, mean latency ms)"""
    command = [os.path.join(BIN, "pgbench"), "-n", *args]
    command += ["-f", script] if script else ["-S"]
    before = target.cpu_us()
    began = time.monotonic()
    done = subprocess.run(command, env=env or target.env, capture_output=True, text=True)
    seconds = time.monotonic() - began
    cpu = target.cpu_us() - before
    count = re.search(r"number of transactions actually processed: (\d+)", done.stdout)
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    if done.returncode != 0 or not count or int(count.group(1)) == 0 or (failed and int(failed.group(1)) > 0):
        raise RuntimeError("pgbench against %s: %s%s" % (target.name, done.stdout[-500:], done.stderr[-1500:]))
    tps = float(re.search(r"tps = ([\d.]+)", done.stdout).group(1))
    return int(count.group(1)), tps, cpu, seconds


def statements(mode, clients, script=None, env=None):
    """Two seconds; what the logins cost (a run of one transaction a client) is taken off."""
    def measure(target):
        args = ["-M", mode, "-c", str(clients), "-j", "1"]
        more = env(target) if env else None
        few, _, few_cpu, _ = run_pgbench(target, args + ["-t", "1"], script, more)
        count, tps, cpu, _ = run_pgbench(target, args + ["-T", "20" if LONG else "2"], script, more)
        return {"tps": tps, "cpu_us": max(0.0, cpu - few_cpu) / (count - few)}
    return measure


def connects(target, env=None):
    count, _, cpu, seconds = run_pgbench(target, ["-C", "-c", "4", "-T", "20" if LONG else "3"], None,
                                         env(target) if env else None)
    return {"tps": count / seconds, "cpu_us": cpu / count}


def over_tls(target):
    return dict(target.env, PGSSLMODE="require")


def storm(target):
    """All clients at once: how many are served a second, from the first connect to the last answer."""
    clients = 50
    count, _, cpu, seconds = run_pgbench(target, ["-c", str(clients), "-j", "1", "-t", "1"])
    return {"tps": count / seconds, "cpu_us": cpu / count}


def children(pid):
    found = subprocess.run(["ps", "--no-headers", "-o", "pid", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(one) for one in found.split()]


def spread(pid, cores):
    """A process and those that it started onto these cores."""
    for one in [pid] + children(pid):
        try:
            pin(one, cores)
        except (ProcessLookupError, FileNotFoundError):
            pass  # a backend that has just gone


def database_us(cluster):
    """CPU of the postmaster, of those of its backends that are gone and of those that live, in microseconds."""
    time.sleep(0.2)  # those that are going
    ticks = 0
    for one in [cluster.process.pid] + children(cluster.process.pid):
        try:
            with open("/proc/%d/stat" % one) as source:
                fields = source.read().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks += sum(map(int, fields[11:15 if one == cluster.process.pid else 13]))
    return ticks * 1e6 / os.sysconf("SC_CLK_TCK")


def unpinned(cluster, clients):
    """What the whole machine gives: everything on all cores. The database's CPU shows what the statement itself costs."""
    def measure(target):
        ours = [cluster.process.pid, os.getpid()] + ([target.pid] if target.pid else [])
        homes = [OTHER_CORES, OTHER_CORES, PROXY_CORES]
        args = ["-c", str(clients), "-j", "1"]
        for pid in ours:
            spread(pid, CORES)
        try:
            few, _, few_cpu, _ = run_pgbench(target, args + ["-t", "1"], target.script)
            start = database_us(cluster)
            few, _, few_cpu, _ = run_pgbench(target, args + ["-t", "1"], target.script)
            middle = database_us(cluster)
            count, tps, cpu, _ = run_pgbench(target, args + ["-T", "20" if LONG else "3"], target.script)
            used = database_us(cluster) - middle - (middle - start)
            return {"tps": tps, "cpu_us": max(0.0, cpu - few_cpu) / (count - few), "database_us": max(0.0, used) / (count - few)}
        finally:
            for pid, home in zip(ours, homes):
                spread(pid, home)
    return measure


def latency(target):
    """Percentiles at a fixed rate: of the time from when a transaction was due to its end."""
    with tempfile.TemporaryDirectory(prefix="pgveil-bench-") as folder:
        prefix = os.path.join(folder, "log")
        run_pgbench(target, ["-c", "8", "-j", "1", "-R", str(RATE), "-T", "6", "-l", "--log-prefix", prefix])
        found = []
        for name in os.listdir(folder):
            with open(os.path.join(folder, name)) as lines:
                # client, transaction, time, script, second, microsecond, lag: time counts from when it was due.
                found += [int(line.split()[2]) for line in lines]
    found.sort()
    return {"p%g" % part: found[min(len(found) - 1, int(len(found) * part / 100))] for part in (50, 95, 99, 99.9)}


def streamed(sql, rows=ROWS):
    def measure(target):
        before, began = target.cpu_us(), time.monotonic()
        done = subprocess.run([os.path.join(BIN, "psql"), "-XAtq", "-c", sql], env=target.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (target.name, done.stderr.decode()))
        seconds = time.monotonic() - began
        return {"tps": rows / seconds, "cpu_us": (target.cpu_us() - before) / rows}
    return measure


def idle_memory(count, is_tls=False):
    """Clients that logged in and wait: that many, or those that half a minute is enough for."""
    def measure(target):
        context = ssl._create_unverified_context() if is_tls else None
        opened = []

        def open_one():
            opened.append(Wire.login("127.0.0.1", target.port, target.env["PGUSER"], PASSWORD, target.env["PGDATABASE"],
                                     tls=context, timeout=60))

        try:
            open_one()
            before = target.memory_kib()
            ends = time.monotonic() + (600 if LONG else 30)
            while len(opened) <= count and time.monotonic() < ends:
                open_one()
            # pgveil folds a session away when it was quiet for a second.
            time.sleep(2)
            return {"kib": (target.memory_kib() - before) / (len(opened) - 1), "clients": len(opened) - 1}
        finally:
            for one in opened:
                one.send(TERMINATE)
                one.sock.close()
    return measure


def logins(target):
    """Whole logins as libpq does them, 4096 rounds of HMAC each, four at once, with no statement."""
    import psycopg
    info = psycopg.conninfo.make_conninfo(host="127.0.0.1", port=target.port, user=target.env["PGUSER"], password=PASSWORD,
                                          dbname=target.env["PGDATABASE"], sslmode="disable", gssencmode="disable").encode()
    done, failed = [], []
    before, began = target.cpu_us(), time.monotonic()
    ends = began + (20 if LONG else 3)

    def come_and_go():
        while time.monotonic() < ends and not failed:
            conn = psycopg.pq.PGconn.connect(info)
            (done if conn.status == psycopg.pq.ConnStatus.OK else failed).append(conn.error_message)
            conn.finish()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError("login at %s: %s" % (target.name, failed[0].decode()))
    return {"tps": len(done) / (time.monotonic() - began), "cpu_us": (target.cpu_us() - before) / len(done)}


def parts(folder, cluster):
    report = in_folder(folder, "report.sql", "\\set x random(1, 1000000000)\n" + REPORT + ";\n", 0o644)
    first = in_folder(folder, "first.sql", "\\set x random(1, 1000000000)\n"
                      "SELECT abalance AS a:x FROM pgbench_accounts WHERE aid = 17;\n", 0o644)
    whole = [("simple", c) for c in (1, 8, 32)] + [("extended", c) for c in (1, 8, 32)] + \
        [("prepared", c) for c in (1, 8, 32)]
    # Before any work: memory that a proxy has given back to itself would be taken for none.
    found = [("%d idle clients: KiB each" % IDLE, idle_memory(IDLE), "memory"),
             ("%d idle clients over TLS: KiB each" % IDLE, idle_memory(IDLE, True), "memory-tls")]
    for mode, clients in whole:
        found.append(("pgbench -S, %s, %d client%s" % (mode, clients, "" if clients == 1 else "s"),
                      statements(mode, clients), "all"))
    found += [
        ("throughput: pgbench -S, simple, 32 clients, everything on all cores", unpinned(cluster, 32), "whole"),
        ("pgbench -S, simple, 8 clients, TLS to the client", statements("simple", 8, None, over_tls), "tls"),
        ("pgbench -S, extended, 8 clients, TLS to the client", statements("extended", 8, None, over_tls), "tls"),
        ("first sight: pgbench's statement, each text new, 1 client", statements("simple", 1, first), "all"),
        ("first sight: 15-line report, each text new, 1 client", statements("simple", 1, report), "all"),
        ("latency at %d transactions a second, 8 clients" % RATE, latency, "all"),
        ("%d rows by SELECT" % ROWS, streamed("SELECT id, a, b, c FROM public.stream"), "all"),
        ("%d rows by COPY TO STDOUT" % ROWS,
         streamed("COPY (SELECT id, a, b, c FROM public.stream) TO STDOUT"), "all"),
        ("%d masked rows by COPY" % MASKED_ROWS,
         streamed("COPY (SELECT id, email, born, postcode, income FROM public.people) TO STDOUT", MASKED_ROWS), "veil"),
        ("the same %d rows by COPY, unmasked" % MASKED_ROWS,
         streamed("COPY (SELECT id, email, born, postcode, income FROM public.people_plain) TO STDOUT", MASKED_ROWS), "all"),
        ("whole logins, 4 at once, without a statement", logins, "all"),
        ("connects (login and one statement)", connects, "all"),
        ("reconnect storm: 50 clients at once, one statement each", storm, "all"),
        ("connects over TLS", lambda target: connects(target, over_tls), "tls"),
    ]
    return found


def applies(target, to):
    if target.is_whole_only or to == "whole":
        return to == "whole" and (target.is_whole_only or not target.name.startswith("pgveil"))
    if to == "memory-tls":
        return "strict" not in target.name and applies(target, "tls")
    if to == "tls":
        return not target.name.startswith("haproxy") and target.pid is not None
    if to == "veil":
        return target.name.startswith("pgveil")
    if to == "memory":
        # Not PostgreSQL with thousands of processes for those that hold a server connection a client.
        return target.pid is not None and "strict" not in target.name
    return True


# ---- The table


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as source:
        for line in source:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return "%s, %d cores, Linux %s" % (model, os.cpu_count(), ".".join(platform.release().split(".")[:2]))


def median(rows, column):
    values = [row[column] for row in rows if column in row]
    return statistics.median(values) if values else None


def show(value):
    if value is None:
        return "-"
    return "%.0f" % value if value >= 1000 else "%.1f" % value if value >= 10 else "%.2f" % value


def show_spread(values):
    """The median, and where there are several the least and the most."""
    if not values:
        return "-"
    if show(min(values)) == show(max(values)):
        return show(values[0])
    return "%s (%s to %s)" % (show(statistics.median(values)), show(min(values)), show(max(values)))


def of_rounds(rows, column):
    return [row[column] for row in rows if column in row]


def base_of(results, column):
    """What ratios are against, round by round: pgbouncer in transaction mode, or in session mode where that one could not."""
    for name in ("pgbouncer transaction", "pgbouncer session"):
        found = of_rounds(results.get(name, []), column)
        if found and all(found):
            return name, found
    return "pgbouncer", []


HEADS = {
    "kib": ("clients", "KiB a client (PSS)"),
    "cpu_us": ("a second", "proxy CPU, us each"),
    "p50": ("p50 ms", "p95 ms", "p99 ms", "p99.9 ms"),
}


def write_part(out, name, targets, results):
    out.append("### %s\n" % name)
    kind = next((kind for kind in HEADS for rows in results.values() if kind in rows[0]), "cpu_us")
    base_name, base = base_of(results, kind)
    heads = list(HEADS[kind])
    if any("database_us" in rows[0] for rows in results.values()):
        heads.append("database CPU, us each")
    if kind != "p50" and base:
        heads.append("%s against %s" % ("KiB" if kind == "kib" else "CPU", base_name))
    out += ["| target | %s |" % " | ".join(heads), "| --- |%s" % (" ---: |" * len(heads))]
    for target in targets:
        rows = results.get(target.name)
        if not rows:
            continue
        costs = of_rounds(rows, kind)
        if "failed" in rows[0]:
            cells = ["could not: " + rows[0]["failed"]] + [""] * (len(heads) - 1)
        elif kind == "p50":
            cells = ["%.2f" % (median(rows, column) / 1000) for column in ("p50", "p95", "p99", "p99.9")]
        elif kind == "kib":
            cells = ["%d" % median(rows, "clients"), show_spread(costs)]
        else:
            cells = [show_spread(of_rounds(rows, "tps")), show_spread(costs) if target.pid is not None else "-"]
        if "database_us" in rows[0]:
            cells.append(show_spread(of_rounds(rows, "database_us")))
        if len(cells) < len(heads):
            cells.append(show_spread([cost / of for cost, of in zip(costs, base)]) if target.pid is not None else "-")
        out.append("| %s | %s |" % (target.name, " | ".join(cells)))
    out.append("")


def write_results(targets, measured, path, versions, loads):
    out = ["# What a statement costs through pgveil and through others\n",
           "Made by `%smake bench` on %s (%s)." % (
               "".join("%s=%s " % (name, os.environ[name]) for name in ("BENCH_LONG", "BENCH_ROUNDS")
                       if name in os.environ), time.strftime("%Y-%m-%d"), machine()),
           "%s. One thread each for every proxy but pgveil's log writer; proxies are pinned to core %s, PostgreSQL and "
           "the clients to core %s; plain TCP on loopback unless TLS is named. \"A second\" says how they share the "
           "machine, \"CPU\" what the proxy itself took, logins taken off. Medians of up to %d interleaved rounds, as many "
           "as the time was enough for (in parentheses the least and the most), and of each round's ratios; of one for "
           "memory." % (versions, ",".join(map(str, PROXY_CORES)), ",".join(map(str, OTHER_CORES)), ROUNDS),
           "pgveil parses, judges, rewrites, logs and masks; pgbouncer and HAProxy pass bytes on. pgveil's CPU includes "
           "the writing of its query log; strict: on disk before the statement reaches the database and before the "
           "client sees its end, in the log itself, or (written behind) under load beside it first, by audit.write_behind "
           "of 100ms. pgveil gives each client a server connection, or, pooled, shares them as pgbouncer "
           "does in transaction mode. A simple query, or an unnamed statement of the extended protocol, that comes for the "
           "sixth time on its server connection is prepared there (pool.auto_prepare, as by default), which spares the "
           "database most of its work.",
           "Load of the machine by others: %s at the start, %s at the end (1, 5, 15 minutes). Where that is not far below "
           "one, rows wander by half: read the ratios, as round numbers.\n" % tuple(loads)]
    for name, _, _ in measured["order"]:
        if name in measured:
            write_part(out, name, targets, measured[name])
    with open(path, "w") as target:
        target.write("\n".join(out))


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def measure_part(name, measure, targets, results, ends):
    """Each target once more; what failed once is not tried again."""
    for target in targets:
        rows = results.setdefault(target.name, [])
        if rows and "failed" in rows[0]:
            continue
        try:
            rows.append(measure(target) if time.monotonic() < ends else {"failed": "the time was over"})
        except (RuntimeError, OSError) as reason:
            rows[:] = [{"failed": str(reason).strip().splitlines()[-1][:160]}]
    print("%s:" % name)
    for target in targets:
        row = results[target.name][-1]
        print("   %-22s %s" % (target.name, "  ".join(
            "%s %s" % (key, value if key == "failed" else show(value)) for key, value in row.items())))
    sys.stdout.flush()


def main():
    # What was started here ends with it, however it ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = tempfile.mkdtemp(prefix="pgveil-bench-")
    os.chmod(folder, 0o755)
    atexit.register(shutil.rmtree, folder, True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    loads = ["%.1f %.1f %.1f" % os.getloadavg()]
    # What is started from here is pinned with us; proxies are pinned apart.
    os.sched_setaffinity(0, OTHER_CORES)
    ends = time.monotonic() + SECONDS
    cluster = Cluster({"max_connections": "2500", "shared_buffers": "256MB", "log_statement": "none",
                       "log_connections": "off", "ssl": "on"})
    cluster.psql("CREATE ROLE pgveil LOGIN CREATEROLE PASSWORD '%s'; CREATE ROLE bench_user LOGIN PASSWORD '%s';"
                 % (UPSTREAM_PASSWORD, PASSWORD), "postgres")
    cluster.psql("CREATE DATABASE bench", "postgres")
    subprocess.run([os.path.join(BIN, "pgbench"), "-i", "-q", "-s", "10", "-h", cluster.socket_dir, "-p",
                    str(cluster.port), "-U", "postgres", "bench"], check=True, capture_output=True)
    cluster.psql(SCHEMA % {"rows": ROWS, "masked_rows": MASKED_ROWS}, "bench")
    cluster.psql("REVOKE TEMPORARY ON DATABASE bench FROM PUBLIC; GRANT CREATE ON DATABASE bench TO pgveil;"
                 "GRANT SELECT ON ALL TABLES IN SCHEMA public TO bench_user;"
                 "GRANT SELECT ON ALL TABLES IN SCHEMA public TO pgveil WITH GRANT OPTION;", "bench")
    cert = cluster.ca.issue("localhost")
    targets = [Target("PostgreSQL", cluster.port, "bench_user", PASSWORD, "bench")]
    versions = [version(os.path.join(BIN, "postgres"), "--version")]
    if shutil.which("pgbouncer"):
        targets += [pgbouncer(cluster, folder, mode, cert) for mode in ("session", "transaction")]
        targets.append(view_through(targets[-1], folder))
        versions.append(version("pgbouncer", "--version"))
    if shutil.which("haproxy"):
        targets.append(haproxy(cluster, folder))
        versions.append(version("haproxy", "-v").split(" https")[0])
    targets += [pgveil(cluster, durability, cert, None, is_pooled) for is_pooled in (False, True)
                for durability in WORDS]
    targets += [pgveil(cluster, "relaxed", cert, None, is_pooled, 2) for is_pooled in (False, True)]
    for target in targets:
        wait_open(target)
    measured = {"order": parts(folder, cluster)}
    # A whole round before the next: what does not fit into the time any more is a later round.
    for round_at in range(ROUNDS):
        for name, measure, to in measured["order"]:
            if (ONLY and not any(word in name for word in ONLY)) or (round_at and ("KiB" in name or time.monotonic() > ends)):
                continue
            measure_part(name, measure, [target for target in targets if applies(target, to)],
                         measured.setdefault(name, {}), ends + SECONDS / 3)
    if not ONLY:
        write_results(targets, measured, os.environ.get("BENCH_RESULTS", os.path.join(TOP, "tests", "bench", "RESULTS.md")),
                      "; ".join(versions), loads + ["%.1f %.1f %.1f" % os.getloadavg()])
    for target in targets:
        if hasattr(target, "veil"):
            target.veil.stop()
            target.veil.close()
        elif target.process is not None:
            target.process.kill()
    cluster.stop()
    print("binary: " + BINARY if ONLY else "written: tests/bench/RESULTS.md")


if __name__ == "__main__":
    main()
