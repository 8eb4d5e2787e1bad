"""The numbers of `metrics`, in Prometheus' text format: what is counted, by which labels, and what never stands there."""
import re
import sqlite3
import urllib.error
import urllib.request

import psycopg
import pytest

from tests.integration.test_operations import eventually
from tests.lib.cluster import free_port

SAMPLE = re.compile(r'(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>[0-9.e+-]+|NaN)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


@pytest.fixture
def measured(own_veil):
    """(an installation that serves, a function that gives the text of /metrics)"""
    port = free_port()
    veil = own_veil(config={"metrics": "127.0.0.1:%d" % port})
    veil.provision()
    veil.start()
    yield veil, lambda path="/metrics": urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=60)
    assert veil.stop() == 0
    veil.provision("--drop")


def families(text):
    """{name: type} and {(sample, labels): value}; every line is one of the format's, each family told before its samples."""
    types, samples, helped = {}, {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in helped and len(line.split()) > 3, line
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name in helped and name not in types and kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
        else:
            found = SAMPLE.match(line)
            assert found, line
            name, labels = found["name"], tuple(LABEL.findall(found["labels"] or ""))
            family = re.sub(r"_(bucket|sum|count)$", "", name) if name not in types else name
            assert family in types and (name, labels) not in samples, line
            samples[name, labels] = float(found["value"])
    return types, samples


def read(get):
    return families(get().read().decode())


def test_the_format_and_the_names(measured):
    veil, get = measured
    with veil.connect("alice", veil.room) as conn:
        conn.execute("SELECT * FROM questions.first(n => 3)")
    types, samples = read(get)
    assert all(name.startswith("pgveil_") for name in types)
    for name, kind in types.items():
        assert (kind == "counter") == name.endswith("_total"), name
        if kind != "histogram":
            continue
        buckets = [(float(dict(labels)["le"]), value) for (sample, labels), value in samples.items() if sample == name + "_bucket"]
        assert buckets == sorted(buckets) and [n for _, n in buckets] == sorted(n for _, n in buckets), name
        assert buckets[-1] == (float("inf"), samples[name + "_count", ()]) and samples[name + "_sum", ()] > 0, name
    assert get().headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_statements_by_room_question_and_decision(measured):
    veil, get = measured

    def count(question, decision):
        labels = (("room", veil.room), ("question", question), ("decision", decision))
        return read(get)[1].get(("pgveil_statements_total", labels), 0)

    with veil.connect("alice", veil.room) as conn:
        for _ in range(3):
            assert len(conn.execute("SELECT * FROM questions.first(n => 3)").fetchall()) == 3
        for _ in range(2):
            with pytest.raises(psycopg.Error):
                conn.execute("SELECT * FROM public.others WHERE label = 'private 4711'")
        eventually(lambda: (count("first", "allowed"), count("", "denied")) == (3, 2)
                   and read(get)[1]["pgveil_statement_duration_seconds_count", ()] >= 5)
        _, samples = read(get)
        text = get().read().decode()
        for hidden in ("alice", "4711", "SELECT", "others", "label "):
            assert hidden not in text.replace('question="', ""), hidden
        # What was written is what the log holds; rows are those that reached the client.
        state = sqlite3.connect("file:%s?mode=ro" % veil.path("state", "pgveil.db"), uri=True)
        rows, = state.execute("SELECT sum(rows) FROM query_log").fetchone()
        state.close()
        assert samples["pgveil_rows_total", ()] == rows == 9
        assert samples["pgveil_statement_duration_seconds_count", ()] >= 5
        assert samples["pgveil_audit_records_total", ()] >= 10 and samples["pgveil_audit_failed", ()] == 0
        assert samples["pgveil_audit_flush_seconds_count", ()] > 0


def test_nothing_else_is_there(measured):
    _, get = measured
    for path in ("/", "/metrics/", "/console", "/../metrics", "/state/pgveil.db"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(path)
        assert caught.value.code in (400, 404), path


def test_a_port_that_is_taken_is_said(own_veil, measured):
    _, get = measured
    port = int(get().url.split(":")[2].split("/")[0])
    veil = own_veil(config={"metrics": "127.0.0.1:%d" % port})
    done = veil.run("serve")
    assert done.returncode == 2 and "metrics: cannot listen on 127.0.0.1:%d" % port in done.stderr
