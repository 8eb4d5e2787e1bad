"""
What the first sight of a statement costs beyond PostgreSQL's own parser: microseconds of CPU, the least of twenty batches,
and instructions by callgrind, which no noise touches. The room is that of bench.py. `make bench-judge` runs it.
    judge.py BENCH_JUDGE
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench  # noqa: E402

# An open question, as a dashboard asks it.
REPORT = """SELECT
    a.region,
    date_trunc('month', a.bought_at) AS month,
    count(*) AS n,
    count(a.amount) AS paid,
    sum(a.amount) AS total,
    avg(a.amount) AS average
FROM public.orders AS a
WHERE a.region IN ('north', 'south', 'east', 'west')
  AND a.channel = 'web'
  AND a.bought_at >= '2024-01-01'
  AND a.bought_at < '2024-03-01'
  AND (a.region <> 'unknown' OR a.channel <> 'unknown')
GROUP BY a.region,
    date_trunc('month', a.bought_at)
HAVING count(*) > 1
ORDER BY
    a.region,
    month DESC
LIMIT 100"""

# What psql sends for \\d.
CATALOG = r"""SELECT n.nspname as "Schema",
  c.relname as "Name",
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index'
    WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table'
    WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as "Type",
  pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind IN ('r','p','v','m','S','f','')
      AND n.nspname <> 'pg_catalog'
      AND n.nspname !~ '^pg_toast'
      AND n.nspname <> 'information_schema'
  AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 1,2;"""

BATCHES = 20  # as bench_judge.c has them

STATEMENTS = [
    ("pgbench -S, a fixed question", "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;", 5000),
    ("a report of 20 lines, an open question", REPORT, 300),
    ("psql's \\d, of the catalogs", CATALOG, 300),
]


def write(folder, name, text):
    with open(os.path.join(folder, name), "w") as out:
        out.write(text)
    return os.path.join(folder, name)


def make_room(folder, questions):
    """The config of a server that is never asked; `questions` more fixed questions stand before the others."""
    room = bench.room("bench")
    more = {"other_%d" % i: {"type": "list", "sql": "SELECT bid FROM pgbench_accounts WHERE abalance = :n AND bid <> %d" % i,
                             "parameters": {"n": {"type": "integer"}}} for i in range(questions)}
    room["questions"] = {**more, **room["questions"]}
    os.mkdir(os.path.join(folder, "rooms"))
    write(folder, "rooms/bench.json", json.dumps(room))
    write(folder, "users.json", json.dumps({bench.USER: {"cert_cn": bench.USER}}))
    return write(folder, "pgveil.json", json.dumps({
        "listen": ["127.0.0.1:6432"], "users": "users.json", "rooms": "rooms", "state": "state.db",
        "upstreams": {"main": {"host": "127.0.0.1", "dbname": "bench", "user": "u", "sslmode": "disable"}}}))


def microseconds(command, rounds):
    """Of the parse, of the first sight; and what became of the statement."""
    out = subprocess.run(command + [str(rounds)], check=True, stdout=subprocess.PIPE, text=True).stdout
    times, words = out.split("\n", 1)
    return [float(time) for time in times.split()] + [words.strip()]


def instructions(command, function, rounds):
    """Of one round in the steady state: the difference of two counts."""
    counts = []
    for times in (rounds, 3 * rounds):
        err = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no",
                              "--toggle-collect=" + function] + command + [str(times)],
                             check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
        counts.append(int(re.search(r"Collected : (\d+)", err).group(1)))
    return (counts[1] - counts[0]) / (2.0 * rounds * BATCHES)


def measure(program, config, text, rounds, folder):
    command = [program, config, "bench", bench.USER, write(folder, "statement.sql", text)]
    found = dict(zip(("parse", "judge", "words"), microseconds(command, rounds)))
    if shutil.which("valgrind"):
        found["parse_count"] = instructions(command, "parse_rounds", 10)
        found["judge_count"] = instructions(command, "judge_rounds", 10)
    return found


def main(program):
    print("| statement | fixed questions | parse, us | first sight, us | beyond the parse, us | parse, instructions | "
          "beyond the parse, instructions |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for more in (0, 100):
        with tempfile.TemporaryDirectory(prefix="pgveil-judge-") as folder:
            config = make_room(folder, more)
            for name, text, rounds in STATEMENTS:
                m = measure(program, config, text, rounds, folder)
                if os.environ.get("BENCH_SHOW"):
                    print("<!-- %s -->" % m["words"])
                count = "%.0f | %.0f" % (m["parse_count"], m["judge_count"] - m["parse_count"]) \
                    if "parse_count" in m else "- | -"
                print("| %s | %d | %.2f | %.2f | %.2f | %s |" % (name, 17 + more, m["parse"], m["judge"],
                                                                m["judge"] - m["parse"], count), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
