"""ATTACKS section 5: masks. Each test is named after its attack."""
import hashlib

import psycopg
import pytest

from tests.integration.conftest import ROOM
from tests.lib import data


def test_M1_a_dictionary_without_the_key_finds_nothing(conn, cluster):
    emails = [e for e, in cluster.rows("SELECT email FROM crm.customers LIMIT 2000")]
    seen = {row[1] for row in conn.execute("SELECT customer_id, email, birth_date, postcode FROM public.customers "
                                           "WHERE region = 'North' ORDER BY email LIMIT 500")}
    for make in (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512):
        assert not seen & {make(e.encode()).hexdigest() for e in emails}
        assert not seen & {make((ROOM + e).encode()).hexdigest() for e in emails}
        assert not seen & {make(e.upper().encode()).hexdigest() for e in emails}


def test_M1_the_key_is_no_setting_that_a_caller_can_read(conn):
    try:
        rows = conn.execute("SELECT name, setting FROM pg_settings").fetchall()
    except psycopg.Error:
        rows = []
    assert data.SECRET_HEX not in repr(rows).lower()
    for name in ("pgveil.secret", "pgveil.key", "pgveil.room_secret"):
        with pytest.raises(psycopg.Error):
            conn.execute("SELECT current_setting('%s')" % name)
        with pytest.raises(psycopg.Error):
            conn.execute("SHOW %s" % name)


def test_M1_hashing_functions_do_not_make_pseudonyms(conn):
    rows = conn.execute("SELECT md5('a'), 1").fetchall()
    assert data.SECRET_HEX not in repr(rows)
    for sql in ("SELECT hmac('a', 'b', 'sha256')", "SELECT public.hmac('a', 'b', 'sha256')", "SELECT pgveil_hash('a')",
                "SELECT digest('a', 'sha256')"):
        with pytest.raises(psycopg.Error):
            conn.execute(sql)


@pytest.mark.parametrize("sql", [
    "SELECT email, count(*) FROM public.customers GROUP BY email", "SELECT customer_id, count(*) FROM ads.impressions GROUP BY customer_id",
    "SELECT email FROM public.customers", "SELECT DISTINCT customer_id FROM shop.purchases",
    "SELECT c.email, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING (customer_id) "
    "WHERE i.seen_on >= '2024-06-01' GROUP BY c.email"])
def test_M2_frequencies_of_pseudonyms(conn, denied, sql):
    denied(conn, sql)


@pytest.mark.parametrize("sql", [
    "SELECT count(*) FROM public.customers WHERE email = 'jon.fisher3@example.com'",
    "SELECT customer_id, email, birth_date, postcode FROM public.customers WHERE email = 'x' ORDER BY email LIMIT 500",
    "SELECT customer_id, email, birth_date, postcode FROM public.customers WHERE region = 'North' AND postcode = '00541' ORDER BY email LIMIT 500",
    "SELECT count(*) FROM public.customers WHERE birth_date = '1940-02-07'"])
def test_M3_filters_on_the_original(conn, denied, sql):
    denied(conn, sql)


def test_M3_a_released_pseudonym_is_compared_not_the_original(conn, cluster):
    original = cluster.rows("SELECT h_text FROM zoo.others WHERE id = 1")[0][0]
    assert original.startswith(data.CANARY)
    assert conn.execute("SELECT count(*) FROM questions.others WHERE ref = 1730010001").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM questions.others WHERE h_text LIKE 'cnry%'").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM questions.others").fetchone() == (60,)


@pytest.mark.parametrize("expression", ["h_text::text", "upper(h_text)", "h_text || ''", "substr(h_text, 1)", "(h_text)", "coalesce(h_text, 'x')",
                                        "h_text AS label", "left(h_text, 20)", "reverse(h_text)", "encode(convert_to(h_text, 'UTF8'), 'hex')",
                                        "CASE WHEN true THEN h_text END", "(ARRAY[h_text])[1]", "min(h_text)", "string_agg(h_text, ',')",
                                        "quote_literal(h_text)", "to_json(h_text)", "format('%s', h_text)"])
def test_M4_aliases_and_casts_do_not_unmask(conn, cluster, expression):
    originals = {v for v, in cluster.rows("SELECT h_text FROM zoo.others")}
    try:
        rows = conn.execute("SELECT %s FROM questions.others" % expression).fetchall()
    except psycopg.Error as error:
        assert error.diag.sqlstate in ("42501", "42883")
        return
    text = repr(rows)
    assert data.CANARY not in text and not any(o in text for o in originals)


def test_M5_a_mask_gives_the_same_every_time(connect):
    sql = "SELECT id, ref, h_text FROM public.others ORDER BY id"
    assert connect().execute(sql).fetchall() == connect().execute(sql).fetchall() == connect("bi_service").execute(sql).fetchall()


def test_M6_pseudonyms_keep_neither_order_nor_length_nor_distance(conn):
    rows = conn.execute("SELECT id, ref, h_text FROM public.others ORDER BY id").fetchall()
    refs = [ref for _, ref, _ in rows]
    assert refs != sorted(refs) and len(set(refs)) == 60
    assert len({b - a for a, b in zip(refs, refs[1:])}) == 59
    assert {len(text) for _, _, text in rows} == {64}


def test_M7_masks_hold_through_every_layer(conn):
    sql = ("WITH a AS (SELECT * FROM questions.others), b AS (SELECT a.*, x.h_text AS again FROM a JOIN questions.others x USING (id)) "
           "SELECT * FROM (SELECT id, h_text, again FROM b UNION ALL SELECT id, again, h_text FROM b) AS u ORDER BY id")
    rows = conn.execute(sql).fetchall()
    assert len(rows) == 120 and all(len(row[1]) == len(row[2]) == 64 for row in rows)


def test_M7_a_view_as_source_keeps_its_masks(own_veil, cluster):
    cluster.psql("CREATE VIEW zoo.derived AS SELECT id, h_text AS moved FROM zoo.others; "
                 "GRANT SELECT ON zoo.derived TO pgveil WITH GRANT OPTION")
    room = data.small_room("derived_room")
    room["datasets"]["public.derived"] = {"owner": "acme", "source": "zoo.derived", "columns": {"id": {"category": 1}, "moved": {"category": 3}}}
    room["questions"] = {"moved": {"type": "list", "sql": "SELECT id, moved FROM public.derived ORDER BY id"}}
    veil = own_veil(rooms=[room])
    try:
        veil.provision()
        veil.start()
        with veil.connect("alice", "derived_room") as conn:
            rows = conn.execute("SELECT * FROM questions.moved").fetchall()
        assert len(rows) == 60 and all(len(text) == 64 and data.CANARY not in text for _, text in rows)
        assert veil.stop() == 0
        veil.provision("--drop")
    finally:
        cluster.psql("DROP VIEW zoo.derived")
