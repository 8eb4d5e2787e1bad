"""Whose session a client may stop by SQL, and what it is told of relations by name."""
import psycopg
import pytest


def test_cancel_and_terminate_reach_ones_own_and_nobody_else(veiled, veil):
    bob = dict(veiled.dsn, user="bob", password="bob")
    with psycopg.connect(autocommit=True, **veiled.dsn) as one, psycopg.connect(autocommit=True, **bob) as other:
        pid = one.execute("SELECT pg_backend_pid()").fetchone()[0]
        assert pid == one.info.backend_pid
        for call in ("pg_cancel_backend(%s)", "pg_terminate_backend(%s)"):
            assert other.execute("SELECT " + call, (pid,)).fetchone() == (False,)
            assert other.execute("SELECT %s FROM pg_catalog.pg_database" % (call % pid)).fetchall() == [(False,)]
        assert one.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.errors.QueryCanceled):
            one.execute("SELECT pg_cancel_backend(pg_backend_pid())")
        assert one.execute("SELECT 2").fetchone() == (2,)


def test_visibility_follows_the_search_path(veiled):
    with psycopg.connect(autocommit=True, **veiled.dsn) as conn:
        ask = "SELECT to_regclass('impressions') IS NULL, count(*) FROM pg_class WHERE relname = 'impressions' AND pg_table_is_visible(oid)"
        assert conn.execute(ask).fetchone() == (True, 0)
        conn.execute("SET search_path = ads, public")
        assert conn.execute(ask).fetchone() == (False, 1)
        conn.execute("RESET search_path")
        assert conn.execute(ask).fetchone() == (True, 0)


def test_privileges_of_what_is_not_there(veiled):
    with psycopg.connect(autocommit=True, **veiled.dsn) as conn:
        for name in ("nosuch", "crm.customers", "public.ledger", "market.kinds"):
            with pytest.raises(psycopg.errors.UndefinedTable, match=name):
                conn.execute("SELECT has_table_privilege(%s, 'select')", (name,))
