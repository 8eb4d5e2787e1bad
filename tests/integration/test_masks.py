"""
INTERFACE 3, masks: every mask against a value computed here from the source's raw rows, NULLs and short values included.
Plain Python wherever it can be; the session's own words for dates come from the database as values, never as text.
"""
import datetime
import hashlib
import hmac
import math
from decimal import ROUND_HALF_UP, Decimal

import pytest

from tests.lib import data

UTC = datetime.timezone.utc


@pytest.fixture(scope="module")
def raw(cluster):
    with cluster.connect() as conn:
        cur = conn.execute("SELECT * FROM zoo.cells ORDER BY id")
        names = [c.name for c in cur.description]
        return [dict(zip(names, row)) for row in cur.fetchall()]


@pytest.fixture(scope="module")
def answer(veil):
    """(rows as dicts, type OIDs by column) as alice gets them."""
    with veil.connect("alice", "retail_media", veil.tap.port) as conn:
        cur = conn.execute(data.ALL_LISTED)
        types = {c.name: c.type_code for c in cur.description}
        return [dict(zip(types, row)) for row in cur.fetchall()], types


@pytest.fixture
def seen(answer):
    return answer[0]


def hmac_hex(value):
    key = bytes.fromhex(data.SECRET_HEX)
    return hmac.new(key, value if isinstance(value, bytes) else value.encode(), hashlib.sha256).hexdigest()


def truncate(unit):
    def apply(value):
        if unit == "hour":
            return value.replace(minute=0, second=0, microsecond=0)
        if isinstance(value, datetime.datetime):
            if value.tzinfo:
                value = value.astimezone(UTC)
            value = value.replace(hour=0, minute=0, second=0, microsecond=0)
        if unit == "week":
            return value - datetime.timedelta(days=value.weekday())
        month = {"year": 1, "quarter": (value.month - 1) // 3 * 3 + 1, "month": value.month, "day": value.month}[unit]
        return value.replace(month=month, day=value.day if unit == "day" else 1)
    return apply


def bucket(width):
    def apply(value):
        if isinstance(value, Decimal):
            return (value / width).to_integral_value(rounding="ROUND_FLOOR") * width
        return math.floor(value / width) * width
    return apply


def rounded(digits):
    return lambda value: value.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def prefix(keep):
    return lambda value: value[:keep] + "*" * (len(value) - keep) if len(value) > keep else "*" * len(value)


def suffix(keep):
    return lambda value: "*" * (len(value) - keep) + value[-keep:] if len(value) > keep else "*" * len(value)


FORMULAS = {
    "h_text": hmac_hex, "h_varchar": hmac_hex, "h_bytea": hmac_hex,
    "d_year": truncate("year"), "d_quarter": truncate("quarter"), "d_month": truncate("month"), "d_week": truncate("week"),
    "d_day": truncate("day"), "d_hour": truncate("hour"), "b_int": bucket(10), "b_num": bucket(25), "b_float": bucket(5),
    "r_num": rounded(2), "r_neg": rounded(-2), "p_text": prefix(3), "s_text": suffix(4),
    "mail": lambda value: "***@" + value.split("@")[-1],
}


@pytest.mark.parametrize("column", sorted(FORMULAS))
def test_mask(raw, seen, column):
    assert len(raw) == len(seen) == 121
    for source, got in zip(raw, seen):
        value = source[column]
        want = None if value is None else FORMULAS[column](value)
        assert got[column] == want, (column, value, got[column])


def test_null_and_constant(raw, seen):
    assert all(row["n_date"] is None and row["n_text"] is None for row in seen)
    assert all(row["c_text"] == "x" and row["c_int"] == 7 for row in seen)


def test_types_are_kept_as_promised(answer):
    want = {"id": 23, "h_text": 25, "h_varchar": 25, "h_bytea": 25, "h_uuid": 2950, "h_int": 20, "h_big": 20, "d_year": 1082,
            "d_quarter": 1114, "d_month": 1184, "d_week": 1082, "d_day": 1184, "d_hour": 1114, "p_text": 25, "n_date": 1082,
            "n_text": 25, "c_text": 25, "c_int": 23}
    assert {name: answer[1].get(name) for name in want} == want


@pytest.mark.parametrize("column", ["h_text", "h_varchar", "h_bytea", "h_uuid", "h_int", "h_big", "h_big_same", "h_shared"])
def test_pseudonyms_keep_equality_and_nothing_else(raw, seen, column):
    forward, backward = {}, {}
    for source, got in zip(raw, seen):
        value, pseudonym = source[column], got[column]
        if value is None:
            assert pseudonym is None
            continue
        assert str(pseudonym) != str(value) and pseudonym is not None
        assert forward.setdefault(value, pseudonym) == pseudonym
        assert backward.setdefault(pseudonym, value) == value
    assert len(forward) > 30


def test_equal_numbers_of_different_width_give_equal_pseudonyms(seen):
    assert all(row["h_int"] == row["h_big"] for row in seen)


def test_the_order_of_numbers_is_not_kept(raw, seen):
    pairs = sorted((s["h_big_same"], g["h_big_same"]) for s, g in zip(raw, seen) if s["h_big_same"] is not None)
    pseudonyms = [p for _, p in pairs]
    assert pseudonyms != sorted(pseudonyms) and pseudonyms != sorted(pseudonyms, reverse=True)


def test_same_pseudonym_in_every_dataset_of_the_room(raw, seen, conn, cluster):
    by_value = {s["h_int"]: g["h_int"] for s, g in zip(raw, seen) if s["h_int"] is not None}
    by_text = {s["h_text"]: g["h_text"] for s, g in zip(raw, seen) if s["h_text"] is not None}
    others = dict((i, (ref, text)) for i, ref, text in cluster.rows("SELECT id, ref, h_text FROM zoo.others"))
    met = 0
    for number, ref, text in conn.execute("SELECT id, ref, h_text FROM public.others ORDER BY id"):
        if others[number][0] in by_value:
            assert ref == by_value[others[number][0]]
            met += 1
        if others[number][1] in by_text:
            assert text == by_text[others[number][1]]
            met += 1
    assert met > 60


def test_joins_on_pseudonyms_work(conn, cluster):
    sql = "SELECT count(*) AS n FROM {0}.cells c JOIN {0}.others o ON o.ref = c.h_int AND o.h_text = c.h_text"
    got = conn.execute(sql.format("public")).fetchone()
    assert got == cluster.rows(sql.format("zoo"))[0] and got[0] > 0


def test_other_rooms_have_other_pseudonyms_save_for_shared_secrets(seen, connect):
    rows = connect("bi_service", "other_room").execute("SELECT id, h_text, h_big, h_shared FROM public.cells ORDER BY id").fetchall()
    mine = {row["id"]: row for row in seen}
    compared = 0
    for number, text, big, shared in rows:
        if text is None:
            continue
        assert text != mine[number]["h_text"] and big != mine[number]["h_big"]
        assert shared == mine[number]["h_shared"]
        compared += 1
    assert compared == 120


def test_the_secret_stands_in_no_definition(cluster, veil):
    for sql in ("SELECT count(*) FROM pg_views WHERE definition ILIKE %s", "SELECT count(*) FROM pg_proc WHERE prosrc ILIKE %s"):
        assert cluster.rows(sql, ("%" + data.SECRET_HEX + "%",)) == [(0,)]


def test_masked_customers_of_the_demo_room(conn, cluster):
    got = conn.execute("SELECT customer_id, email, birth_date, postcode FROM public.customers WHERE region = 'North' "
                       "ORDER BY email LIMIT 500").fetchall()
    raw = cluster.rows("SELECT customer_id, email, birth_date, postcode FROM crm.customers WHERE region = 'North' "
                       "AND country IN ('US', 'CA')")
    want = sorted((hmac_hex(email), truncate("year")(born), prefix(3)(postcode)) for _, email, born, postcode in raw)[:500]
    assert [row[1:] for row in got] == want
    assert len(set(row[0] for row in got)) == 500
