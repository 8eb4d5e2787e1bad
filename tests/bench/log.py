"""
What a large query log costs its readers: `log.py FILL_LOG PGVEIL [COUNT]`. Fills a log by way of the journal (fill_log.c),
times the command and the views on the live file, then seals it and times them again. Prints a Markdown table.
"""
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time

FILL, PGVEIL = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
COUNT = int(sys.argv[3]) if len(sys.argv) > 3 else 1000000


def run(*words, check=True):
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True)
    took = time.monotonic() - began
    if check and done.returncode != 0:
        sys.exit("%s: %s" % (" ".join(words), done.stdout + done.stderr))
    return took, done.stdout


def main():
    folder = tempfile.mkdtemp(prefix="pgveil-log-")
    os.makedirs(folder + "/rooms")
    config = {"listen": ["127.0.0.1:0"], "upstreams": {"main": {"host": "127.0.0.1", "dbname": "x", "user": "x", "sslmode": "disable"}},
              "users": "users.json", "rooms": "rooms", "state": "state.db", "audit": {"segment_bytes": "64MiB"}}
    config["listen"] = ["127.0.0.1:6432"]
    for name, content in (("pgveil.json", config), ("users.json", {})):
        with open(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
            json.dump(content, out)
    took, _ = run(FILL, folder + "/state.db", str(COUNT))
    size = os.path.getsize(folder + "/state.db")
    print("%d statements written by the journal in %.0f s; the file has %.0f MiB, %d bytes a statement\n" % (
        COUNT, took, size / 2 ** 20, size / COUNT))
    week = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    query = ["query", "--json"]
    looks = [
        ("list, newest 50", ["list"]),
        ("list, a room and user", ["list", "--room", "study", "--user", "user7"]),
        ("list, denied", ["list", "--decision", "denied"]),
        ("list, last day, 1000 rows", ["list", "--since", week, "--limit", "1000"]),
        ("show, one in the middle", ["show", str(COUNT)]),
        ("count of one day, by at", query + ["SELECT count(*) FROM query_log WHERE at >= '%s'" % week]),
        ("count by room and question", query + ["SELECT room, question, count(*) FROM query_log GROUP BY 1, 2"]),
        ("who read e-mails", query + ["SELECT user, count(*), max(at) FROM query_log WHERE columns LIKE '%.email\"%' AND decision ="
                                      " 'allowed' GROUP BY 1"]),
        ("text search", query + ["SELECT seq FROM query_log WHERE query LIKE '%-- 4711%'"]),
        ("daily_usage", query + ["SELECT * FROM daily_usage"]),
        ("denials, newest 100", query + ["SELECT * FROM denials ORDER BY seq DESC LIMIT 100"]),
        ("column_usage", query + ["SELECT * FROM column_usage"]),
        ("top_members", query + ["SELECT * FROM top_members"]),
        ("unused_questions", query + ["SELECT * FROM unused_questions"]),
        ("verify", ["verify"]),
        ("export, records", ["export", "--format", "records"]),
    ]
    live = {}
    os.chdir(folder)
    for name, words in looks:
        live[name] = min(run(PGVEIL, "audit", *words)[0] for _ in range(2))
        print("%s: %.2f s" % (name, live[name]), file=sys.stderr, flush=True)
    took, said = run(PGVEIL, "audit", "seal")
    count = len([name for name in os.listdir(folder) if ".segment-" in name])
    print("| | live file, s | %d segments, s |\n| --- | --- | --- |" % count)
    for name, words in looks:
        print("| %s | %.2f | %.2f |" % (name, live[name], min(run(PGVEIL, "audit", *words)[0] for _ in range(2))), flush=True)
    print("\nsealing took %.0f s: %s" % (took, said.strip()))
    subprocess.run(["rm", "-r", folder], check=True)


main()
