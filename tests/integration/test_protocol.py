"""The wire, message by message, with frames made by hand: startup, query phase, pipelines, cancel."""
import socket
import struct
import time

import pytest

from tests.integration.conftest import ROOM
from tests.lib import wire as w
from tests.lib.running import wait_running

LISTED = "SELECT id, grp FROM public.cells WHERE id = ANY ($1) ORDER BY id"
TEN = "SELECT id FROM public.cells WHERE id <= $1 ORDER BY id"


@pytest.fixture
def raw(veil):
    """A connection on which nothing was said yet."""
    opened = []

    def open_one():
        one = w.Wire("127.0.0.1", veil.tap.port)
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.sock.close()


def startup(*params, version=196608):
    return w.startup_packet([("user", "alice"), ("database", ROOM), *params], version)


# --- startup

def test_ssl_request_is_answered_once_with_one_byte(raw):
    conn = raw()
    conn.send(w.SSL_REQUEST)
    assert conn.sock.recv(10) == b"N"
    conn.send(startup())
    assert conn.take().tag == "R"


def test_gss_request_is_refused_and_ssl_may_follow(raw):
    conn = raw()
    conn.send(w.GSSENC_REQUEST)
    assert conn.sock.recv(10) == b"N"
    conn.send(w.SSL_REQUEST)
    assert conn.sock.recv(10) == b"N"
    conn.send(startup())
    assert conn.take().tag == "R"


@pytest.mark.parametrize("request_bytes", [w.SSL_REQUEST, w.GSSENC_REQUEST])
def test_second_request_of_a_kind_closes(raw, request_bytes):
    conn = raw()
    conn.send(request_bytes)
    assert conn.sock.recv(10) == b"N"
    conn.send(request_bytes)
    got = conn.sock.recv(1)
    assert got in (b"", b"E")


@pytest.mark.parametrize("packet", [struct.pack("!i", 7) + b"abc", struct.pack("!i", 10005) + b"\0" * 20,
                                    struct.pack("!i", -1), struct.pack("!i", 0x7fffffff) + b"x" * 100,
                                    struct.pack("!i", 4)])
def test_bad_startup_length_is_a_silent_close(raw, packet):
    conn = raw()
    conn.send(packet)
    assert conn.at_end()


def fatal(conn, sqlstate):
    error = conn.take()
    assert error.tag == "E", error
    assert (error.fields["V"], error.fields["C"]) == ("FATAL", sqlstate), error.fields
    assert conn.at_end()


@pytest.mark.parametrize("body", [
    b"user\0alice\0database\0retail_media\0", b"user\0alice\0\0trailing", b"user\0", b"user\0alice\0database",
    b"user\0alice\0user\0bi_service\0\0"])
def test_malformed_startup_is_a_protocol_violation(raw, body):
    conn = raw()
    packet = struct.pack("!i", 196608) + body
    conn.send(struct.pack("!i", len(packet) + 4) + packet)
    fatal(conn, "08P01")


def test_user_is_required(raw):
    for params in ([("database", ROOM)], [("user", ""), ("database", ROOM)]):
        conn = raw()
        conn.send(w.startup_packet(params))
        fatal(conn, "28000")


@pytest.mark.parametrize("version", [2 << 16, 4 << 16, (1 << 16) | 5])
def test_other_major_versions(raw, version):
    conn = raw()
    conn.send(startup(version=version))
    if version >> 16 >= 3:
        fatal(conn, "0A000")
    else:
        # Clients before protocol 3 read an error without length or fields; either form or a close will do.
        try:
            conn.until("R")
        except w.Closed:
            return
        raise AssertionError("it was let in")


@pytest.mark.parametrize("minor, extra", [(1, ()), (9999, (("_pq_.test_protocol_negotiation", ""),)),
                                          (0, (("_pq_.unknown", "on"),))])
def test_negotiation(raw, minor, extra):
    conn = raw()
    conn.send(startup(*extra, version=(3 << 16) | minor))
    message = conn.take()
    assert message.tag == "v", message
    newest, count = struct.unpack_from("!ii", message.body)
    assert (newest & 0xffff) in (0, 2) and count == len(extra)
    assert message.body[8:] == b"".join(w.z(name) for name, _ in extra)
    assert conn.take().tag == "R"


@pytest.mark.parametrize("value, refused", [("true", True), ("on", True), ("1", True), ("database", True), ("false", False),
                                            ("0", False), ("off", False)])
def test_replication(raw, veil, value, refused):
    conn = raw()
    conn.send(startup(("replication", value)))
    if refused:
        fatal(conn, "0A000")
    else:
        conn.authenticate(veil.users["alice"]["password"])
        conn.until("Z")


@pytest.mark.parametrize("params", [
    [("application_name", "tests")], [("client_encoding", "'utf-8'")], [("client_encoding", "UNICODE")],
    [("DateStyle", "ISO")], [("TimeZone", "Europe/Paris")], [("extra_float_digits", "2")], [("statement_timeout", "5000")],
    [("options", "-c statement_timeout=5000 --extra_float_digits=3")], [("options", "-cTimeZone=UTC")],
    [("options", "-c application_name=a\\ b")], [("search_path", "public")]])
def test_harmless_startup_parameters(wire, params):
    conn = wire(params=params)
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"
    if params[0] == ("TimeZone", "Europe/Paris"):
        assert w.rows(conn.ask(w.query("SHOW TimeZone"))) == [("Europe/Paris",)]
    if "a\\ b" in params[0][1]:
        assert w.rows(conn.ask(w.query("SHOW application_name"))) == [("a b",)]


@pytest.mark.parametrize("params", [
    [("role", "postgres")], [("session_authorization", "postgres")], [("row_security", "off")],
    [("standard_conforming_strings", "off")], [("client_encoding", "SJIS")],
    [("session_replication_role", "replica")], [("options", "-c role=postgres")], [("options", "--row_security=off")],
    [("options", "-c session_preload_libraries=x")], [("options", "-d 5")], [("no_such_setting", "x")]])
def test_harmful_startup_parameters(raw, veil, params):
    conn = raw()
    conn.send(startup(*params))
    with pytest.raises(PermissionError) as caught:
        conn.authenticate(veil.users["alice"]["password"])
        conn.until("Z")
        raise AssertionError("it was let in")
    assert caught.value.args[0]["V"] == "FATAL"
    assert caught.value.args[0]["C"] in ("42501", "0A000", "22023", "42601", "42704", "28000", "3F000")


@pytest.mark.parametrize("params", [[("search_path", "crm")], [("options", "-c search_path=crm,public")], [("search_path", "pg_temp")],
                                    [("backslash_quote", "on")], [("default_transaction_read_only", "off")]])
def test_startup_parameters_that_are_refused_or_have_no_effect(raw, veil, params):
    conn = raw()
    conn.send(startup(*params))
    try:
        conn.authenticate(veil.users["alice"]["password"])
        conn.until("Z")
    except PermissionError as refused:
        assert refused.args[0]["C"] in ("42501", "0A000", "22023", "42704", "3F000")
        return
    for sql, sqlstate in (("SELECT * FROM staff", "42P01"), ("SELECT * FROM crm.staff", "42P01"), ("SELECT region FROM public.customers", "42501"),
                          ("CREATE TABLE public.t (a int)", "42501")):
        assert w.errors(conn.ask(w.query(sql))) == [sqlstate], sql
    assert w.rows(conn.ask(w.query(r"SELECT 'a\'"))) == [("a\\",)]


def test_names_longer_than_63_bytes(raw):
    conn = raw()
    conn.send(w.startup_packet([("user", "a" * 64), ("database", ROOM)]))
    while True:
        message = conn.take()
        if message.tag == "E":
            break
        conn.send(w.frame("p", w.z("SCRAM-SHA-256") + struct.pack("!i", 12) + b"n,,n=,r=abcd"))
    assert message.fields["V"] == "FATAL"


def test_order_of_the_greeting(raw, veil):
    conn = raw()
    conn.send(startup())
    conn.authenticate(veil.users["alice"]["password"])
    order = "".join(m.tag for m in conn.until("Z"))
    assert order.strip("S") == "KZ" and "K" in order and order.index("K") > order.index("S")
    assert len(conn.key) == 4 and conn.pid > 0


@pytest.mark.parametrize("frames", [w.query("SELECT 1"), w.frame("p", b"NOSUCH\0" + struct.pack("!i", -1)), w.frame("p", b""),
                                    w.frame("p", w.z("SCRAM-SHA-256") + struct.pack("!i", 2 ** 31 - 1) + b"n,,"),
                                    b"p" + struct.pack("!i", 70000) + b"x" * 100, w.SYNC])
def test_anything_else_during_authentication_ends_it(raw, frames):
    conn = raw()
    conn.send(startup())
    conn.take()
    conn.send(frames)
    try:
        message = conn.take()
    except w.Closed:
        return
    assert message.tag == "E" and message.fields["V"] == "FATAL" and message.fields["C"] in ("08P01", "28P01", "28000")
    assert conn.at_end()


def test_scram_channel_binding_downgrade_and_bad_proof(raw):
    for first in (b"p=tls-server-end-point,,n=,r=abcdefgh", b"n,a=bob,n=,r=abcdefgh", b"n,,m=x,n=,r=abcdefgh"):
        conn = raw()
        conn.send(startup())
        conn.take()
        conn.send(w.frame("p", w.z("SCRAM-SHA-256") + struct.pack("!i", len(first)) + first))
        message = conn.take()
        assert message.tag == "E" and message.fields["V"] == "FATAL"


# --- query phase

def test_empty_and_comment_only(wire):
    conn = wire()
    for sql in ("", ";", "  ;; ", "-- nothing", "/* nothing */"):
        assert w.tags(conn.ask(w.query(sql))) == "IZ", sql
        assert w.tags(conn.ask(w.parse(sql), w.bind(), w.describe("P"), w.execute(), w.SYNC)) == "12nIZ", sql


def test_several_statements_in_one_query(wire):
    got = wire().ask(w.query("SELECT 1; SELECT 'b'; BEGIN; SHOW TimeZone; COMMIT"))
    assert w.tags(got) == "TDCTDCCTDCCZ"


def test_parse_bind_describe_execute(wire):
    got = wire().ask(w.parse(TEN), w.describe("S"), w.bind([3]), w.describe("P"), w.execute(), w.SYNC)
    assert w.tags(got) == "1tT2TDDDCZ"
    shown = [m for m in got if m.tag == "T"]
    assert shown[0].columns[0][0] == "id" and shown[0].columns[0][3] == 23 and shown[0].columns[0][6] == 0
    assert [m for m in got if m.tag == "t"][0].body == struct.pack("!hi", 1, 23)
    assert w.rows(got) == [("1",), ("2",), ("3",)]


def test_binary_parameters_and_results(wire):
    got = wire().ask(w.parse(TEN, oids=[23]), w.bind([struct.pack("!i", 2)], formats=[1], result_formats=[1]), w.execute(), w.SYNC)
    assert [m.values for m in got if m.tag == "D"] == [[struct.pack("!i", 1)], [struct.pack("!i", 2)]]


def test_binary_parameter_out_of_its_type(wire):
    got = wire().ask(w.parse(TEN, oids=[23]), w.bind([b"\0\0\0"], formats=[1]), w.execute(), w.SYNC)
    assert w.tags(got) == "1EZ" and w.errors(got)[0] in ("22P03", "22023", "08P01")


def test_named_statement_used_many_times(wire):
    conn = wire()
    assert w.tags(conn.ask(w.parse(TEN, "s"), w.SYNC)) == "1Z"
    for n in (1, 2, 3):
        assert len(w.rows(conn.ask(w.bind([n], "s"), w.execute(), w.SYNC))) == n
    assert w.errors(conn.ask(w.parse(TEN, "s"), w.SYNC)) == ["42P05"]
    assert w.tags(conn.ask(w.close("S", "s"), w.SYNC)) == "3Z"
    assert w.errors(conn.ask(w.bind([1], "s"), w.SYNC)) == ["26000"]


def test_closing_what_does_not_exist(wire):
    assert w.tags(wire().ask(w.close("S", "none"), w.close("P", "none"), w.SYNC)) == "33Z"


def test_closing_a_statement_closes_its_portals(wire):
    # The protocol chapter says so; PostgreSQL 15 itself lets such a portal live on to the end of the transaction.
    got = wire().ask(w.parse(TEN, "s"), w.bind([3], "s", "p"), w.close("S", "s"), w.execute("p"), w.SYNC)
    assert (w.tags(got), w.errors(got)) in (("123EZ", ["34000"]), ("123DDDCZ", []))


def test_row_limit_and_suspended_portal(wire):
    conn = wire()
    got = conn.ask(w.parse(TEN), w.bind([5]), w.execute("", 2), w.execute("", 2), w.execute("", 2), w.SYNC)
    assert w.tags(got) == "12DDsDDsDCZ"


def test_names_nobody_bound(wire):
    conn = wire()
    assert w.errors(conn.ask(w.bind([], "none"), w.SYNC)) == ["26000"]
    assert w.errors(conn.ask(w.execute("none"), w.SYNC)) == ["34000"]
    assert w.errors(conn.ask(w.describe("S", "none"), w.SYNC)) == ["26000"]
    assert w.errors(conn.ask(w.describe("P", "none"), w.SYNC)) == ["34000"]
    assert w.errors(conn.ask(w.execute(), w.SYNC)) == ["34000"]


def test_the_unbound_portal_after_a_failed_begin(wire):
    # PostgreSQL 15.20 crashes on this sequence; it must not get there.
    conn = wire()
    got = conn.ask(w.query("BEGIN; FETCH 2 FROM a"))
    assert w.errors(got) == ["34000"]
    conn.ask(w.parse("ROLLBACK"), w.SYNC)
    got = conn.ask(w.execute(), w.SYNC)
    assert w.errors(got)[0] in ("34000", "25P02")
    conn.ask(w.query("ROLLBACK"))
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


def test_portals_die_with_the_transaction(wire):
    conn = wire()
    assert w.tags(conn.ask(w.parse(TEN, "s"), w.bind([3], "s", "p"), w.SYNC)) == "12Z"
    assert w.errors(conn.ask(w.execute("p"), w.SYNC)) == ["34000"]
    conn.ask(w.query("BEGIN"))
    conn.ask(w.bind([3], "s", "p"), w.SYNC)
    assert len(w.rows(conn.ask(w.execute("p"), w.SYNC))) == 3
    conn.ask(w.query("COMMIT"))
    assert w.errors(conn.ask(w.execute("p"), w.SYNC)) == ["34000"]


def test_a_named_portal_across_syncs_in_a_transaction(wire):
    """As JDBC's fetch size and node-pg's cursors use it, moved by SQL in between (CLIENTS 3 and 14)."""
    conn = wire()
    conn.ask(w.query("BEGIN"))
    got = conn.ask(w.parse("SELECT id FROM questions.cells", "s"), w.bind([], "s", "p"), w.execute("p", 2), w.SYNC)
    assert w.tags(got) == "12DDsZ" and w.rows(got) == [("1",), ("2",)] and got[-1].body == b"T"
    assert w.rows(conn.ask(w.execute("p", 3), w.SYNC)) == [("3",), ("4",), ("5",)]
    assert w.tags(conn.ask(w.query('MOVE FORWARD 10 FROM "p"'))) == "CZ"
    assert w.rows(conn.ask(w.query('FETCH 1 FROM "p"'))) == [("16",)]
    assert w.tags(conn.ask(w.parse("SELECT 1"), w.bind(), w.execute(), w.SYNC)) == "12DCZ"
    rest = conn.ask(w.execute("p", 2147483647), w.SYNC)
    assert w.rows(rest)[0] == ("17",) and w.tags(rest)[-2:] == "CZ"
    assert w.errors(conn.ask(w.parse("SELECT region FROM customers"), w.execute("p"), w.SYNC)) == ["42501"]
    assert w.errors(conn.ask(w.execute("p"), w.SYNC)) == ["25P02"]
    conn.ask(w.query("ROLLBACK"))
    assert w.errors(conn.ask(w.execute("p"), w.SYNC)) == ["34000"]


def test_what_speaks_of_sessions_in_a_pipeline(wire):
    """Such a statement waits for a look at them; what stands before and behind it keeps its place."""
    conn = wire()
    mine = [w.parse("SELECT pid FROM pg_stat_activity WHERE pid = pg_backend_pid()"), w.bind(), w.execute()]
    one, bad = [w.parse("SELECT 1"), w.bind(), w.execute()], [w.parse("SELECT region FROM customers"), w.bind(), w.execute()]
    got = conn.ask(*one, *mine, *one, *mine, *bad, *mine, w.SYNC)
    assert w.tags(got) == "12DC" * 4 + "EZ"
    assert w.rows(got)[1] == w.rows(got)[3] == w.rows(conn.ask(w.query("SELECT pg_backend_pid()")))[0]
    conn.ask(w.parse("SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid()", "s"), w.SYNC)
    for _ in range(3):
        assert w.rows(conn.ask(w.bind([], "s"), w.execute(), w.bind([], "s"), w.execute(), w.SYNC)) == [("1",), ("1",)]
    assert w.rows(conn.ask(w.query("SELECT 1; SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid(); SELECT 2"))) == [("1",), ("1",), ("2",)]


def test_encodings_as_clients_spell_them(wire):
    conn = wire()
    for spelling in ("'utf-8'", "'UTF8'", "\"utf8\"", "UNICODE", "'unicode'", "\"'utf-8'\""):
        assert w.tags(conn.ask(w.query("SET client_encoding TO " + spelling)))[-2:] == "CZ", spelling
        assert w.rows(conn.ask(w.query("SHOW client_encoding"))) == [("UTF8",)]
    assert w.errors(conn.ask(w.query("SET client_encoding TO 'LATIN1'"))) == ["42501"]


def test_settings_beside_those_of_the_startup_packet(veil):
    """Each in its own words: only what names no value goes back to the startup packet's."""
    wire = veil.wire("alice", ROOM, params=[("TimeZone", "Asia/Tokyo")])

    def zone():
        return w.rows(wire.ask(w.query("SHOW TimeZone")))[0][0]

    for sql, during, after in [
        ("SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE", "<+02>-02", "<+02>-02"),
        ("BEGIN; SET LOCAL TIME ZONE INTERVAL '-3' HOUR", "<-03>+03", "<+02>-02"),
        ("BEGIN; SET LOCAL TIME ZONE DEFAULT", "Asia/Tokyo", "<+02>-02"),
        ("BEGIN; SET TIME ZONE 'UTC'; SET LOCAL TIME ZONE LOCAL", "Asia/Tokyo", "UTC"),
        ("SET LOCAL TimeZone TO DEFAULT", "UTC", "UTC"),
        ("SET TimeZone TO DEFAULT", "Asia/Tokyo", "Asia/Tokyo"),
    ]:
        wire.ask(w.query(sql))
        assert zone() == during, sql
        wire.ask(w.query("COMMIT"))
        assert zone() == after, sql
    for statement in ("SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE", "BEGIN", "SET LOCAL TimeZone TO DEFAULT"):
        wire.ask(w.parse(statement), w.bind(), w.execute(), w.SYNC)
    assert zone() == "Asia/Tokyo"
    wire.ask(w.query("COMMIT"))
    assert zone() == "<+02>-02"


def test_a_query_destroys_the_unnamed_statement(wire):
    conn = wire()
    conn.ask(w.parse("SELECT 1"), w.SYNC)
    conn.ask(w.query("SELECT 2"))
    assert w.errors(conn.ask(w.bind(), w.SYNC)) == ["26000"]


def test_a_failed_parse_destroys_the_unnamed_statement(wire):
    conn = wire()
    conn.ask(w.parse("SELECT 1"), w.SYNC)
    assert w.errors(conn.ask(w.parse("SELECT region FROM customers"), w.SYNC)) == ["42501"]
    assert w.errors(conn.ask(w.bind(), w.SYNC)) == ["26000"]


def test_flush_brings_answers_without_sync(wire):
    conn = wire()
    conn.send(w.parse(TEN), w.FLUSH)
    assert conn.take().tag == "1"
    conn.send(w.bind([2]), w.describe("P"), w.FLUSH)
    assert w.tags(conn.until("T")) == "2T"
    conn.send(w.execute(), w.FLUSH)
    assert w.tags(conn.until("C")) == "DDC"
    assert conn.quiet()
    assert w.tags(conn.ask(w.SYNC)) == "Z"


def test_flush_after_a_denial_gives_one_error(wire):
    conn = wire()
    conn.send(w.parse("SELECT region FROM customers"), w.FLUSH)
    assert conn.take().sqlstate == "42501"
    conn.send(w.FLUSH, w.bind(), w.query("SELECT 1"), w.FLUSH)
    assert conn.quiet()
    assert w.tags(conn.ask(w.SYNC)) == "Z"
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


def test_pipeline_with_a_denied_statement_in_the_middle(wire):
    one = [w.parse("SELECT 1"), w.bind(), w.describe("P"), w.execute()]
    bad = [w.parse("SELECT region FROM customers"), w.bind(), w.describe("P"), w.execute()]
    got = wire().ask(*one, *bad, *one, w.SYNC)
    assert w.tags(got) == "12TDCEZ" and w.errors(got) == ["42501"] and got[-1].body == b"I"


def test_five_syncs_in_flight(wire):
    conn = wire()
    one = b"".join([w.parse("SELECT 1"), w.bind(), w.execute(), w.SYNC])
    bad = b"".join([w.parse("SELECT region FROM customers"), w.bind(), w.execute(), w.SYNC])
    conn.send(one, bad, one, bad, one)
    assert [w.tags(conn.until("Z")) for _ in range(5)] == ["12DCZ", "EZ", "12DCZ", "EZ", "12DCZ"]


def test_255_executes_before_one_sync(wire):
    got = wire().ask(w.parse("SELECT 1", "s"), *[w.bind([], "s") + w.execute() for _ in range(255)], w.SYNC)
    assert w.tags(got) == "1" + "2DC" * 255 + "Z"


def test_every_cut_of_a_pipeline_gives_the_same(wire):
    whole = b"".join([w.parse(TEN), w.bind([2]), w.describe("P"), w.execute(), w.SYNC])
    want = w.tags(wire().ask(whole))
    conn = wire()
    for cut in range(1, len(whole), 5):
        conn.send(whole[:cut])
        time.sleep(0.002)
        conn.send(whole[cut:])
        assert w.tags(conn.until("Z")) == want, cut
    for byte in whole:
        conn.send(bytes([byte]))
    assert w.tags(conn.until("Z")) == want


@pytest.mark.parametrize("message", [w.frame("F", struct.pack("!ihhh", 1234, 0, 0, 0))])
def test_function_call_is_refused_and_the_session_goes_on(wire, message):
    conn = wire()
    got = conn.ask(message)
    assert w.tags(got) == "EZ" and w.errors(got)[0] in ("42501", "0A000")
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


@pytest.mark.parametrize("tag", ["y", "\x01", "R", "T", "Z", "\xff"])
def test_unknown_message_type_is_fatal(wire, tag):
    conn = wire()
    conn.send(tag.encode("latin-1") + struct.pack("!i", 4))
    fatal(conn, "08P01")


@pytest.mark.parametrize("size", [0, 3, -1, -2147483648])
def test_bad_length_closes(wire, size):
    conn = wire()
    conn.send(b"Q" + struct.pack("!i", size))
    try:
        message = conn.take()
    except w.Closed:
        return
    assert message.tag == "E" and message.fields["V"] == "FATAL" and conn.at_end()


@pytest.mark.parametrize("tag", ["S", "H", "C", "D", "E", "X", "p", "Q", "P", "B"])
def test_a_length_of_two_gigabytes_never_allocates_or_hangs(wire, tag):
    conn = wire()
    conn.send(tag.encode() + struct.pack("!i", 2 ** 31 - 1) + b"x" * 1000)
    try:
        message = conn.take()
    except w.Closed:
        return
    assert message.tag == "E" and message.fields["C"] in ("08P01", "54000")


@pytest.mark.parametrize("body", [b"SELECT 1", b"SELECT 1\0x", b"SELECT 1\0\0", b""])
def test_malformed_query_message_is_an_error_and_the_session_goes_on(wire, body):
    conn = wire()
    got = conn.ask(w.frame("Q", body))
    assert w.tags(got) == "EZ" and w.errors(got) == ["08P01"]
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


MALFORMED = [
    w.frame("P", b"\0SELECT 1\0"), w.frame("P", b"\0SELECT 1\0\0\0x"), w.frame("P", b"\0SELECT 1\0\xff\xff"),
    w.frame("P", b"\0SELECT 1\0\0\1\0\0\0"), w.frame("B", b"\0\0\0\2\0\0\0\0\0\0"), w.frame("B", b"\0\0"),
    w.frame("B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"), w.frame("B", b"\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"),
    w.frame("D", b"X\0"), w.frame("D", b"S"), w.frame("D", b"S\0\0"), w.frame("E", b"\0\0\0\0"), w.frame("E", b"\0\0\0\0\0\0"),
    w.frame("C", b"Q\0"), w.frame("C", b"P"),
]


@pytest.mark.parametrize("message", MALFORMED)
def test_malformed_extended_message_is_an_error_until_sync(wire, message):
    conn = wire()
    conn.ask(w.parse("SELECT 1"), w.SYNC)
    got = conn.ask(message, w.SYNC)
    assert w.tags(got) == "EZ" and w.errors(got) == ["08P01"], got
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


def test_copy_messages_outside_copy_are_ignored(wire):
    conn = wire()
    conn.send(w.frame("d", b"data"), w.frame("c"), w.frame("f", b"no\0"))
    assert conn.quiet(0.2)
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


def test_transaction_status(wire):
    conn = wire()
    for sql, status in (("BEGIN", b"T"), ("SELECT 1", b"T"), ("SELECT 1 FROM", b"E"), ("ROLLBACK", b"I"),
                        ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", b"T"), ("END", b"I")):
        assert conn.ask(w.query(sql))[-1].body == status, sql


def test_terminate_closes(wire):
    conn = wire()
    conn.send(w.TERMINATE)
    assert conn.at_end()


def test_a_half_sent_message_and_a_reset_do_no_harm(wire, veil):
    conn = wire()
    conn.send(w.query("SELECT 1")[:7])
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.sock.close()
    assert w.tags(wire().ask(w.query("SELECT 1"))) == "TDCZ"


def test_sql_deallocate_drops_a_protocol_statement(wire):
    conn = wire()
    conn.ask(w.parse(TEN, "_PLAN1"), w.SYNC)
    assert w.tags(conn.ask(w.query('DEALLOCATE "_PLAN1"'))) == "CZ"
    assert w.errors(conn.ask(w.bind([1], "_PLAN1"), w.SYNC)) == ["26000"]
    conn.ask(w.parse(TEN, "a"), w.SYNC)
    for sql in ("DEALLOCATE ALL", "DISCARD ALL"):
        assert w.tags(conn.ask(w.query(sql))) == "CZ"
        assert w.errors(conn.ask(w.bind([1], "a"), w.SYNC)) == ["26000"]


def test_invalid_utf8_and_overlong(wire):
    conn = wire()
    for raw in (b"SELECT '\xff'", b"SELECT '\xc0\xa7 OR 1'", b"SELECT '\xed\xa0\x80'", b"SELECT \"\xe3\x81\""):
        got = conn.ask(w.frame("Q", raw + b"\0"))
        assert w.errors(got) == ["22021"], raw
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


# --- cancel

def cancel(port, pid, key):
    conn = w.Wire("127.0.0.1", port)
    conn.send(struct.pack("!iii", 12 + len(key), 80877102, pid) + key)
    assert conn.at_end()
    conn.sock.close()


def test_cancel_ends_a_running_question(wire, veil, cluster):
    conn = wire()
    conn.send(w.query("SELECT * FROM questions.slow(n => 1)"))
    wait_running(cluster)
    cancel(veil.tap.port, conn.pid, conn.key)
    got = conn.until("Z")
    assert w.errors(got) == ["57014"]
    assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


def test_cancel_with_a_wrong_key_does_nothing(wire, veil, cluster):
    conn = wire()
    conn.send(w.query("SELECT * FROM questions.slow(n => 2)"))
    wait_running(cluster)
    cancel(veil.tap.port, conn.pid, bytes(b ^ 0x55 for b in conn.key))
    cancel(veil.tap.port, conn.pid + 1, conn.key)
    assert conn.quiet(0.7)
    cancel(veil.tap.port, conn.pid, conn.key)
    assert w.errors(conn.until("Z")) == ["57014"]


def test_cancel_of_an_idle_session_does_not_hit_the_next_statement(wire, veil):
    conn = wire()
    for _ in range(5):
        cancel(veil.tap.port, conn.pid, conn.key)
        assert w.tags(conn.ask(w.query("SELECT 1"))) == "TDCZ"


def test_a_slow_reader_stops_its_server_and_not_the_proxy(wire):
    conn = wire()
    conn.send(w.query("SELECT * FROM questions.many_rows(n => 6)"))
    other = wire()
    for _ in range(20):
        assert w.tags(other.ask(w.query("SELECT 1"))) == "TDCZ"
    got = conn.until("Z")
    assert len([m for m in got if m.tag == "D"]) == 6 * 121 * 60


def test_a_vanished_client_ends_its_running_query(wire, cluster):
    conn = wire()
    conn.send(w.query("SELECT * FROM questions.slow(n => 3)"))
    wait_running(cluster)
    conn.sock.close()
    deadline = time.monotonic() + 60
    while cluster.rows("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%%cells%%' "
                       "AND pid <> pg_backend_pid()")[0][0]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
