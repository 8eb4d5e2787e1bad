"""
What a proxy must do that is easy to miss, in fourteen points gathered from real clients. POINTS says which tests show each;
CONVERSATIONS has the messages of each as clients send them, held against the plain database: the same replies in the same
order, the same rows, the same codes.
"""
import ast
import os

import pytest

from tests.lib import wire as w

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE, PROTOCOL, CURSORS, SESSIONS = ("tests/clients/test_points.py", "tests/integration/test_protocol.py", "tests/integration/test_copy_cursor.py",
                                     "tests/integration/test_own_sessions.py")

# point: (what it says, tests that show it besides the conversation of that number)
POINTS = {
    1: ("answers flow on Flush, not only at Sync", [PROTOCOL + "::test_flush_brings_answers_without_sync", PROTOCOL + "::test_flush_after_a_denial_gives_one_error",
                                                    HERE + "::test_flush", "tests/clients/test_programs.py::test_node_pg", CURSORS + "::test_executemany_and_pipeline_mode"]),
    2: ("several statements in one simple query", [PROTOCOL + "::test_several_statements_in_one_query", CURSORS + "::test_with_hold_as_psqlodbc_sends_it",
                                                   "tests/integration/test_denials.py::test_none_of_several_statements_runs", "tests/clients/test_programs.py::test_psqlodbc"]),
    3: ("names cross the border between SQL and protocol", [PROTOCOL + "::test_sql_deallocate_drops_a_protocol_statement", CURSORS + "::test_sql_prepare_and_execute",
                                                            CURSORS + "::test_sql_execute_of_a_protocol_statement_and_back",
                                                            "tests/integration/test_pooling.py::test_sql_and_protocol_share_their_names"]),
    4: ("transactions and settings in the extended protocol, hundreds of Executes, Syncs in flight", [
        PROTOCOL + "::test_255_executes_before_one_sync", PROTOCOL + "::test_five_syncs_in_flight", PROTOCOL + "::test_pipeline_with_a_denied_statement_in_the_middle",
        "tests/clients/test_programs.py::test_pgjdbc"]),
    5: ("keep-alives: `;`, empty, comments, in both protocols", [PROTOCOL + "::test_empty_and_comment_only"]),
    6: ("Parse and Describe without Execute is judged and logged", ["tests/integration/test_log.py::test_a_statement_described_and_not_executed",
                                                                   "tests/integration/test_denials.py::test_denied_at_parse_in_the_extended_protocol"]),
    7: ("COPY of a relation, whole rows, queries inside DECLARE, COPY, EXPLAIN, PREPARE", [
        HERE + "::test_what_reads_without_a_select", CURSORS + "::test_copy_denied", CURSORS + "::test_declare_denied", CURSORS + "::test_sql_prepare_of_what_is_not_approved"]),
    8: ("table OIDs drive look-ups; ParameterStatus that drivers use", [HERE + "::test_table_oids_lead_to_what_the_room_shows",
                                                                       "tests/integration/test_connect.py::test_parameter_status_that_drivers_use"]),
    9: ("FunctionCall is refused and the session goes on", [PROTOCOL + "::test_function_call_is_refused_and_the_session_goes_on"]),
    10: ("cancel by SQL, and nobody else's query", ["tests/clients/test_sessions.py::test_cancel_and_terminate_reach_ones_own_and_nobody_else",
                                                    SESSIONS + "::test_cancel_and_terminate_by_sql", SESSIONS + "::test_activity_is_ones_own"]),
    11: ("errors keep their SQLSTATE", ["tests/clients/test_errors.py::test_mistakes", HERE + "::test_codes_that_clients_expect", "tests/clients/test_replay.py::test_replay"]),
    12: ("SSLRequest and GSSENCRequest, in any order", [PROTOCOL + "::test_ssl_request_is_answered_once_with_one_byte",
                                                       PROTOCOL + "::test_gss_request_is_refused_and_ssl_may_follow"]),
    13: ("client_encoding as clients spell it", [PROTOCOL + "::test_encodings_as_clients_spell_them", HERE + "::test_encodings_at_startup"]),
    14: ("row limits up to 2147483647, PortalSuspended", [PROTOCOL + "::test_row_limit_and_suspended_portal", PROTOCOL + "::test_a_named_portal_across_syncs_in_a_transaction",
                                                         CURSORS + "::test_a_portal_sees_max_rows_over_all_its_executes"]),
}

STEPS, ONE = "SELECT n, label FROM questions.some_steps ORDER BY n", "SELECT n FROM questions.one_step($1)"
ODBC = "BEGIN;declare \"SQL_CUR0x1\" cursor with hold for %s;fetch 2 in \"SQL_CUR0x1\"" % STEPS

# point: conversations; each is a list of batches that end in ReadyForQuery
CONVERSATIONS = {
    1: [[[w.parse(STEPS, "s"), w.describe("S", "s"), w.FLUSH, w.bind([], "s"), w.execute("", 3), w.FLUSH, w.execute("", 3), w.close("P"), w.SYNC]]],
    2: [[[w.query("BEGIN;" + STEPS)], [w.query("SAVEPOINT _EXEC_SVP;" + STEPS)], [w.query("RELEASE _EXEC_SVP")], [w.query("COMMIT")]],
        [[w.query(ODBC)], [w.query("fetch 200 in \"SQL_CUR0x1\"")], [w.query("close \"SQL_CUR0x1\"; COMMIT")]],
        [[w.query("SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;")], [w.query(STEPS)]],
        [[w.query("SET client_min_messages TO warning;SELECT 1; SELECT 2; SHOW standard_conforming_strings")]],
        [[w.query("START TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT 1/0; SELECT 2")], [w.query("SELECT 1")], [w.query("ROLLBACK;")]]],
    3: [[[w.parse(STEPS, "_PLAN1"), w.SYNC], [w.query("EXECUTE \"_PLAN1\"")], [w.query("DEALLOCATE \"_PLAN1\"")], [w.bind([], "_PLAN1"), w.SYNC]],
        [[w.query("PREPARE q1 (integer) AS " + ONE)], [w.bind(["7"], "q1"), w.execute(), w.SYNC], [w.query("EXECUTE q1(8)")], [w.close("S", "q1"), w.SYNC], [w.query("EXECUTE q1(8)")]],
        [[w.query("BEGIN")], [w.parse(STEPS), w.bind([], "", "C_1"), w.execute("C_1", 2), w.SYNC], [w.query("MOVE 3 IN \"C_1\"")], [w.execute("C_1", 2), w.SYNC],
         [w.query("FETCH 1 FROM \"C_1\"")], [w.query("CLOSE \"C_1\"")], [w.execute("C_1", 1), w.SYNC], [w.query("ROLLBACK")]],
        [[w.query("BEGIN; DECLARE c SCROLL CURSOR FOR " + STEPS)], [w.describe("P", "c"), w.execute("c", 2), w.SYNC], [w.query("FETCH BACKWARD 1 FROM c")], [w.close("P", "c"), w.SYNC],
         [w.query("FETCH 1 FROM c")], [w.query("ROLLBACK")]],
        [[w.query("DEALLOCATE ALL")], [w.query("DISCARD ALL")]]],
    4: [[[w.parse("BEGIN", "S_1"), w.bind([], "S_1"), w.execute("", 0), w.parse(STEPS, "S_2"), w.bind([], "S_2", "C_2"), w.describe("P", "C_2"), w.execute("C_2", 4), w.SYNC],
         [w.execute("C_2", 4), w.SYNC], [w.close("P", "C_2"), w.parse("COMMIT", "S_3"), w.bind([], "S_3"), w.execute(), w.SYNC]],
        [[w.parse("SET extra_float_digits = 3"), w.bind(), w.execute(), w.parse("SET application_name = 'x'"), w.bind(), w.execute(), w.parse("SHOW extra_float_digits"),
          w.bind(), w.describe("P"), w.execute(), w.SYNC]],
        [[w.parse(ONE, "s")] + [w.bind([str(n)], "s") + w.execute() for n in range(255)] + [w.SYNC]],
        [[w.parse("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), w.bind(), w.execute(), w.SYNC],
         [w.parse("SHOW transaction_isolation"), w.bind(), w.execute(), w.SYNC]]],
    5: [[[w.query(text)] for text in ("", ";", " ; ; ", "-- x", "/* x */", "\n")],
        [[w.parse(text), w.bind(), w.describe("P"), w.execute(), w.SYNC] for text in ("", ";", "-- x", "/* x */")]],
    6: [[[w.parse(STEPS, "d"), w.describe("S", "d"), w.SYNC], [w.parse(ONE), w.describe("S"), w.SYNC], [w.parse("SELECT $1::order_status[], $2 + 1"), w.describe("S"), w.SYNC],
         [w.parse("SELECT nosuch FROM questions.some_steps"), w.describe("S"), w.SYNC], [w.parse(STEPS), w.bind(), w.describe("P"), w.SYNC]]],
    7: [[[w.query("SELECT row_to_json(s) FROM questions.one_step(5) AS s")], [w.query("COPY (%s) TO STDOUT" % STEPS)], [w.query("PREPARE x AS " + STEPS)], [w.query("EXECUTE x")],
         [w.query("BEGIN; DECLARE k CURSOR FOR %s; FETCH ALL FROM k; COMMIT" % STEPS)]]],
    8: [[[w.query("SHOW server_version"), w.query("SHOW client_encoding")]]],
    9: [[[w.query("SELECT 1")]]],
    10: [[[w.query("SELECT pg_cancel_backend(pg_backend_pid())")], [w.query("SELECT 1")], [w.query("SELECT pg_cancel_backend(1)")]]],
    11: [[[w.parse("SELECT 'x'::nosuch"), w.SYNC], [w.query("SELECT nosuch")], [w.query("SELECT * FROM nosuch")]]],
    12: [[[w.query("SELECT 1")]]],
    13: [[[w.query("SET client_encoding TO 'UTF8'")], [w.query("SET client_encoding = 'utf-8'")], [w.query("SHOW client_encoding")], [w.query("SET NAMES 'UNICODE'")]]],
    14: [[[w.parse(STEPS), w.bind(), w.execute("", 2147483647), w.SYNC], [w.parse(STEPS), w.bind(), w.execute("", 10), w.execute("", 10), w.SYNC],
          [w.parse(STEPS), w.bind(), w.execute("", 3), w.execute("", 3), w.execute("", 3), w.execute("", 2147483647), w.SYNC], [w.parse(STEPS), w.bind(), w.execute("", -1), w.SYNC],
          [w.parse("SELECT 1"), w.bind(), w.execute("", 1), w.SYNC]]],
}


def login(end, params=()):
    return w.Wire.login(end.host, end.port, end.user, end.password, end.dbname, params, timeout=60)


def told(messages):
    """Tags in order, rows, command tags, codes, columns by name and type."""
    return (w.tags(messages), w.rows(messages), [m.text for m in messages if m.tag == "C"], w.errors(messages),
            [[(c[0], c[3], c[6]) for c in m.columns] for m in messages if m.tag == "T"], [m.body for m in messages if m.tag in "tZd"])


def test_every_point_has_its_tests():
    assert sorted(POINTS) == sorted(CONVERSATIONS) == list(range(1, 15))
    for point, (words, ids) in POINTS.items():
        assert words and ids, point
        for name in ids:
            path, _, function = name.partition("::")
            with open(os.path.join(TOP, path)) as source:
                defined = {node.name for node in ast.parse(source.read()).body if isinstance(node, ast.FunctionDef)}
            assert function in defined, "point %d: %s" % (point, name)


@pytest.mark.parametrize("point", sorted(CONVERSATIONS))
def test_conversation(veiled, plain, point):
    for number, conversation in enumerate(CONVERSATIONS[point]):
        with login(veiled) as ours, login(plain) as theirs:
            for at, batch in enumerate(conversation):
                expected = told(theirs.ask(*batch))
                assert told(ours.ask(*batch)) == expected, (number, at)


def test_flush(veiled, plain):
    """Each reply is there before anything more is sent."""
    for end in (veiled, plain):
        with login(end) as conn:
            for message, reply in ((w.parse(STEPS, "f"), "1"), (w.describe("S", "f"), "tT"), (w.bind([], "f"), "2"), (w.execute("", 2), "DDs"), (w.execute("", 1), "Ds"),
                                   (w.close("P"), "3")):
                conn.send(message, w.FLUSH)
                assert w.tags(conn.until(reply[-1])) == reply
            assert w.tags(conn.ask(w.SYNC)) == "Z"


def test_what_reads_without_a_select(veiled):
    """Each reads a data set that is no question, in a way that has no SELECT of it in sight."""
    with login(veiled) as conn:
        for sql in ("COPY public.steps TO STDOUT", "COPY public.steps (n) TO STDOUT", "COPY (SELECT * FROM public.steps) TO STDOUT", "TABLE public.steps", "SELECT row_to_json(s) FROM public.steps AS s",
                    "SELECT s FROM public.steps AS s", "DECLARE c CURSOR FOR TABLE public.steps", "EXPLAIN SELECT * FROM public.steps", "EXPLAIN ANALYZE TABLE public.steps",
                    "PREPARE p AS SELECT * FROM public.steps", "SELECT (SELECT count(s) FROM public.steps AS s)", "WITH x AS (TABLE public.steps) SELECT * FROM x",
                    "SELECT * FROM (TABLE public.steps) AS t, LATERAL (SELECT t.n) AS u"):
            got = conn.ask(w.query(sql))
            assert (w.tags(got), w.errors(got)) == ("EZ", ["42501"]), sql
            got = conn.ask(w.parse(sql), w.bind(), w.describe("P"), w.execute(), w.SYNC)
            assert (w.tags(got), w.errors(got)) == ("EZ", ["42501"]), sql
        assert w.rows(conn.ask(w.query("SELECT 1"))) == [("1",)]


def test_table_oids_lead_to_what_the_room_shows(veiled):
    """A driver looks up the table and the column that a RowDescription names: nothing, or something of the room."""
    with login(veiled) as conn:
        for sql in (STEPS, "SELECT * FROM questions.orders", "SELECT * FROM questions.by_region", "SELECT relname, oid FROM pg_class LIMIT 1", "SELECT typname FROM pg_type LIMIT 1",
                    "SELECT table_name FROM information_schema.tables LIMIT 1"):
            for name, table, attribute, *_ in [m for m in conn.ask(w.query(sql)) if m.tag == "T"][0].columns:
                if table == 0:
                    continue
                found = w.rows(conn.ask(w.query("SELECT a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.oid = %d AND a.attnum = %d" % (table, attribute))))
                assert found in ([], [(name,)]), (sql, name)


def test_codes_that_clients_expect(veiled, plain):
    with login(veiled) as ours, login(plain) as theirs:
        for sql, code in (("SELECT 'x'::nosuch", "42704"), ("SELECT 'nosuch'::regtype", "42704"), ("SELECT 'nosuch'::regclass", "42P01"), ("SELECT * FROM nosuch", "42P01"),
                          ("SELEC", "42601"), ("SELECT pg_cancel_backend(pg_backend_pid())", "57014"), ("SET statement_timeout = 1; SELECT count(*) FROM generate_series(1, 100000000)", "57014"),
                          ("RESET statement_timeout; BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT 1 UNION SELECT 2; FETCH 1 FROM c; FETCH BACKWARD 1 FROM c", "55000"), ("SELECT 1", "25P02"), ("ROLLBACK; FETCH 1 FROM nosuch", "34000"),
                          ("EXECUTE nosuch", "26000"), ("SELECT nosuch", "42703"), ("SELECT current_setting('nosuch')", "42704"), ("SHOW nosuch", "42704"), ("RELEASE nosuch", "25P01"),
                          ("SELECT 1/0", "22012"), ("SELECT 'x'::integer", "22P02")):
            assert w.errors(theirs.ask(w.query(sql))) == [code], sql
            assert w.errors(ours.ask(w.query(sql))) == [code], sql


@pytest.mark.parametrize("spelled", ["'utf-8'", "UTF8", "utf8", "UNICODE", "utf-8", "'UTF8'"])
def test_encodings_at_startup(veiled, plain, spelled):
    with login(veiled, [("client_encoding", spelled)]) as ours, login(plain, [("client_encoding", spelled)]) as theirs:
        # PostgreSQL repeats that old name, for a driver of its time.
        assert ours.parameters["client_encoding"] == theirs.parameters["client_encoding"].replace("UNICODE", "UTF8") == "UTF8"
        assert w.rows(ours.ask(w.query("SELECT 'ä'"))) == [("ä",)]
