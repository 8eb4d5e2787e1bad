"""
Enums of a data set by name, as the catalogs show them: casts both ways, arrays, parameters in text and binary, drivers that
register the type; and no trace of an enum that no column shows.
"""
import enum

import psycopg
import pytest
from psycopg.types.enum import EnumInfo, register_enum

ALIKE = [
    "'paid'::order_status", "'paid'::public.order_status", "CAST('new' AS order_status)", "order_status 'sent back'", "NULL::order_status",
    "'{new,\"sent back\"}'::order_status[]", "ARRAY['paid', NULL]::public.order_status[]", "'paid'::text::order_status", "'paid'::order_status::text",
    "'paid'::order_status < 'sent back'::order_status", "enum_range(NULL::order_status)", "enum_first(NULL::order_status)", "enum_range('paid'::order_status, NULL)",
    "'paid'::order_status = ANY ('{new,paid}'::order_status[])", "(SELECT max(status) FROM questions.orders)", "(SELECT array_agg(status ORDER BY status) FROM questions.orders)",
    "(SELECT count(*) FROM questions.orders WHERE status = 'paid'::order_status)", "(SELECT count(*) FROM questions.orders WHERE status = 'paid')",
    "(SELECT count(*) FROM questions.orders WHERE status IN ('paid'::public.order_status, 'new'))", "(SELECT string_agg(s::text, ',') FROM unnest(enum_range(NULL::order_status)) AS s)",
    "(SELECT order_id FROM questions.orders WHERE history = ARRAY['new', 'paid']::order_status[])", "(SELECT status::order_status FROM questions.orders WHERE order_id = 1)",
    "(SELECT count(*) FROM questions.orders WHERE 'paid'::order_status = ANY (history))", "CASE WHEN true THEN 'paid'::order_status END", "coalesce(NULL, 'new'::order_status)",
    "'bad'::order_status", "'{bad}'::order_status[]", "'x'::nosuch", "'x'::nosuch[]", "'x'::nosuch.order_status", "'x'::ads.order_status", "NULL::mood", "'x'::market.order_status",
    "'order_status'::regtype::text", "to_regtype('public.order_status[]')::text", "'mood'::regtype", "format_type('order_status'::regtype, NULL)",
    "(SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = 'order_status'::regtype)", "(SELECT typname FROM pg_type WHERE oid = 'order_status'::regtype)",
]


def told(conn, sql, params=None, binary=False):
    """Types and rows, or the SQLSTATE and the words with any schema off."""
    try:
        cur = conn.execute(sql, params, binary=binary)
        return [(c.name, conn.execute("SELECT %s::oid::regtype::text", (c.type_code,)).fetchone()) for c in cur.description], cur.fetchall()
    except psycopg.Error as error:
        return error.diag.sqlstate, error.diag.message_primary.replace("public.", "")


@pytest.mark.parametrize("expression", ALIKE)
def test_as_in_the_plain_database(both, expression):
    ours, theirs = (told(conn, "SELECT " + expression) for conn in both)
    assert ours == theirs


def test_the_type_of_a_value_reads_by_its_name(both):
    for sql in ("SELECT pg_typeof(status), pg_typeof(history), pg_typeof(item), pg_typeof(1) FROM questions.orders", "SELECT 'order_status'::regtype, to_regtype('order_status')",
                "SELECT pg_typeof('paid'::order_status)::text"):
        assert both[0].execute(sql).fetchall() == both[1].execute(sql).fetchall(), sql
    assert both[0].execute("SELECT pg_typeof(status), pg_typeof(history) FROM questions.orders").fetchone() == ("order_status", "order_status[]")


@pytest.mark.parametrize("binary", [False, True])
def test_parameters(both, binary):
    mark = "%b" if binary else "%t"
    for sql, value in (("SELECT {}::order_status", "paid"), ("SELECT order_id FROM questions.orders WHERE status = {}::order_status", "new"),
                       ("SELECT {}::order_status[]", ["paid", "sent back"]), ("SELECT {}::public.order_status", None), ("SELECT {}::order_status", "bad")):
        ours, theirs = (told(conn, sql.format(mark), (value,), binary) for conn in both)
        assert ours == theirs, sql


def test_a_driver_registers_the_type(both):
    status = enum.Enum("status", {"new": "new", "paid": "paid", "back": "sent back"})
    for conn in both:
        info = EnumInfo.fetch(conn, "order_status")
        assert info.name == "order_status" and list(info.labels) == ["new", "paid", "sent back"]
        register_enum(info, conn, status, mapping=[(member, member.value) for member in status])
        for binary in (False, True):
            rows = conn.execute("SELECT status, history FROM questions.orders ORDER BY order_id", binary=binary).fetchall()
            assert rows[0] == (status.paid, [status.new, status.paid]) and rows[3] == (None, None)
            # The driver declares its parameter to be of the type's own OID.
            for mark in ("%s", "%b", "%t"):
                sql = "SELECT order_id FROM questions.orders WHERE status = %s" % mark
                assert conn.execute(sql, (status.back,), binary=binary).fetchall() == [(3,)]
                assert conn.execute("SELECT order_id FROM questions.orders WHERE status = ANY (%s)" % mark, ([status.paid, status.new],)).fetchall() == [(1,), (2,)]
        assert EnumInfo.fetch(conn, "mood") is None


def test_an_oid_of_a_hidden_type_tells_nothing(both, stand):
    """Declared by a client that guessed it, it is as one that is not there."""
    hidden = int(stand[0].psql("SELECT 'market.mood'::regtype::oid"))
    said = []
    for oid in (hidden, 999999):
        for sql, value in ((b"SELECT $1", b"zz"), (b"SELECT $1::order_status", b"zz"), (b"SELECT pg_typeof($1)::text", b"zz"), (b"SELECT $1 = 'zz'", b"zz")):
            result = both[0].pgconn.exec_params(sql, [value], param_types=[oid])
            said.append((result.status, result.error_message.replace(b"999999", b""), [result.get_value(r, 0) for r in range(result.ntuples)]))
    assert said[:4] == said[4:] and b"mood" not in repr(said).encode()


def test_along_the_search_path(both):
    for conn in both:
        conn.execute("SET search_path = ads")
        assert told(conn, "SELECT 'paid'::order_status") == ("42704", 'type "order_status" does not exist')
        assert conn.execute("SELECT 'paid'::public.order_status::text").fetchone() == ("paid",)
        conn.execute("SET search_path = ads, public")
        assert told(conn, "SELECT 'paid'::order_status")[0] != "42704"
        conn.execute("RESET search_path")
