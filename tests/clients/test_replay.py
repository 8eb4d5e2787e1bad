"""
Statements that the clients of this folder sent, as the query log had them (CLIENTS_CAPTURE=tests/clients/statements.jsonl
pytest tests/clients records them anew), one by one through pgveil and against the plain database: the same SQLSTATE, the
same columns and as many rows, save where pgveil refuses by intent.
"""
import json
import os
import re

import psycopg
from psycopg.pq import DiagnosticField, ExecStatus

STATEMENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "statements.jsonl")
# What lists all that the server holds, or what runs until it is stopped.
OID = re.compile(r"\b1[67]\d{3}\b")  # a relation's of the recorded run
NOT_ALIKE = ("slow(", "pg_roles", "pg_database", "pg_settings", "pg_tablespace", "pg_extension", "pg_language", "pg_db_role_setting",
             "pg_stat_activity", "pg_auth_members", "pg_proc", "pg_toast", "COPY ", "pg_type", "current_setting", "pg_class", "FETCH", "MOVE",
             "information_schema", "pg_get_keywords", "pg_attribute", "pg_collation", "conversion", "pg_operator", "pg_ts_", "SHOW ALL")
COPY = (ExecStatus.COPY_OUT, ExecStatus.COPY_IN)


def answer(conn, entry):
    """(SQLSTATE or None, columns, rows) of the statement alone, its parameters NULL."""
    pg = conn.pgconn
    if entry["protocol"] == "simple":
        result = pg.exec_(entry["sql"].encode())
    else:
        prepared = pg.prepare(b"", entry["sql"].encode())
        if prepared.status != ExecStatus.COMMAND_OK:
            return prepared.error_field(DiagnosticField.SQLSTATE).decode(), 0, 0
        count = pg.describe_prepared(b"").nparams
        result = pg.exec_prepared(b"", [None] * count)
    if result.status in COPY:
        return None, "copy", 0
    state = result.error_field(DiagnosticField.SQLSTATE)
    return state.decode() if state else None, [result.fname(i) for i in range(result.nfields)], result.ntuples


def test_replay(veiled, plain):
    with open(STATEMENTS) as source:
        entries = [json.loads(line) for line in source]
    entries = [e for e in entries if "slow(" not in e["sql"]]
    assert len(entries) > 300
    different = []
    open_ones = {}
    for entry in entries:
        got = []
        for end in (veiled, plain):
            if end not in open_ones or open_ones[end].info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                if end in open_ones:
                    open_ones[end].close()
                open_ones[end] = psycopg.connect(autocommit=True, **end.dsn)
            got.append(answer(open_ones[end], entry))
            if entry["refused"] and got[0][0] == entry["sqlstate"]:
                break  # and nothing is written to the plain database
            if end is veiled and got[0][0] == "22023" and "$1" in entry["sql"]:
                break  # a question's parameter that may not be NULL
        if len(got) == 1:
            continue
        ours, theirs = got
        if any(word in entry["sql"] for word in NOT_ALIKE) or OID.search(entry["sql"]):
            ours, theirs = ours[:2], theirs[:2]
        if ours != theirs:
            different.append((entry["sql"][:300], ours, theirs))
    for conn in open_ones.values():
        conn.close()
    assert not different, "%d: %r" % (len(different), different[:12])
