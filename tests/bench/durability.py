"""
What a durable log costs: `pgbench -S` through pgveil at 1, 8, 32 and 256 sessions, the log relaxed, strict, and strict
written behind, beside PostgreSQL itself. Statements a second and CPU of the proxy's threads as bench.py takes them, and
how many records one write to the disk carried. Rounds are interleaved; medians. Prints a Markdown table.
    durability.py [ROUNDS, 3] [SCALE: so many times as long, 1]
"""
import os
import re
import statistics
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench import bench  # noqa: E402
from tests.lib.cluster import BIN, Cluster, free_port  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
SCALE = int(sys.argv[2]) if len(sys.argv) > 2 else 1
# Transactions of each session, not seconds, which on a busy machine the logins alone may take.
SESSIONS = {1: 600, 8: 200, 32: 80, 256: 40}


def written(target):
    """(records, flushes) so far."""
    if not hasattr(target, "veil"):
        return 0, 0
    with urllib.request.urlopen("http://%s/metrics" % target.veil.config["metrics"], timeout=30) as answer:
        text = answer.read().decode()
    return tuple(float(re.search(r"^%s (\S+)" % name, text, re.M).group(1)) for name in (
        "pgveil_audit_records_total", "pgveil_audit_flush_seconds_count"))


def measure(target, sessions):
    args = ["-M", "extended", "-c", str(sessions), "-j", "1"]
    few, _, few_cpu, _ = bench.run_pgbench(target, args + ["-t", "1"])
    before = written(target)
    count, tps, cpu, _ = bench.run_pgbench(target, args + ["-t", str(SESSIONS[sessions] * SCALE)])
    records, flushes = (now - then for now, then in zip(written(target), before))
    return {"tps": tps, "cpu": max(0.0, cpu - few_cpu) / (count - few), "batch": records / flushes if flushes else 0}


def main():
    os.sched_setaffinity(0, bench.OTHER_CORES)
    cluster = Cluster({"max_connections": "1200", "shared_buffers": "256MB", "log_statement": "none",
                       "log_connections": "off", "ssl": "on"})
    cluster.psql("CREATE ROLE pgveil LOGIN CREATEROLE PASSWORD '%s'; CREATE ROLE bench_user LOGIN PASSWORD '%s';"
                 % (bench.UPSTREAM_PASSWORD, bench.PASSWORD), "postgres")
    cluster.psql("CREATE DATABASE bench", "postgres")
    subprocess.run([os.path.join(BIN, "pgbench"), "-i", "-q", "-s", "10", "-h", cluster.socket_dir, "-p",
                    str(cluster.port), "-U", "postgres", "bench"], check=True, capture_output=True)
    cluster.psql(bench.SCHEMA % {"rows": 10, "masked_rows": 10}, "bench")
    cluster.psql("REVOKE TEMPORARY ON DATABASE bench FROM PUBLIC; GRANT CREATE ON DATABASE bench TO pgveil;"
                 "GRANT SELECT ON ALL TABLES IN SCHEMA public TO bench_user;"
                 "GRANT SELECT ON ALL TABLES IN SCHEMA public TO pgveil WITH GRANT OPTION;", "bench")
    cert = cluster.ca.issue("localhost")
    targets = [bench.Target("PostgreSQL", cluster.port, "bench_user", bench.PASSWORD, "bench")]
    targets += [bench.pgveil(cluster, durability, cert, {"metrics": "127.0.0.1:%d" % free_port()})
                for durability in bench.WORDS]
    for target in targets:
        bench.wait_open(target)
    found = {}
    for _ in range(ROUNDS):
        for sessions in SESSIONS:
            for target in targets:
                found.setdefault((sessions, target.name), []).append(measure(target, sessions))
                print(sessions, target.name, found[sessions, target.name][-1], file=sys.stderr, flush=True)
    print("%s. Load by others: %.1f %.1f %.1f.\n" % ((bench.machine(),) + os.getloadavg()))
    print("| sessions | target | statements a second | proxy CPU, us each | records a write |\n"
          "| ---: | --- | ---: | ---: | ---: |")
    for (sessions, name), rows in found.items():
        cells = [statistics.median(row[column] for row in rows) for column in ("tps", "cpu", "batch")]
        print("| %d | %s | %s | %s | %s |" % (sessions, name, bench.show(cells[0]), *(
            bench.show(cell) if name != "PostgreSQL" else "-" for cell in cells[1:])))
    for target in targets[1:]:
        target.veil.stop()
        target.veil.close()
    cluster.stop()


main()
