"""
What the integration tests stand on: the demo's data with a canary in every hidden cell, a table with one column for
each mask, and two rooms over them. The canary's text is made by chance for each run, so no test can expect it by
writing it down, and it cannot stand in any file.
"""
import copy
import json
import os
import secrets

from tests.lib.pgveil import TOP

CANARY = "cnry" + secrets.token_hex(4)
UPSTREAM_PASSWORD = secrets.token_hex(12)
SECRET_HEX = secrets.token_hex(32)

USERS = {
    "alice": {"password": "alice pässword", "attributes": {"countries": ["US", "CA"], "tier": "gold"}},
    "bi_service": {"password": "bi", "attributes": {"countries": ["US", "CA", "GB", "DE"]}},
    "norma": {"password": "norma"},
    "scalar": {"password": "scalar", "attributes": {"countries": "US"}},
    "mallory": {"password": "mallory", "attributes": {"countries": ["US", "CA", "GB", "DE"]}},
    "olga": {"password": "olga", "attributes": {"countries": ["DE"]}},
}

# Hidden cells: what no client may see. Where a mask shows part of a value the canary stands in the other part.
CANARIES = """
UPDATE crm.customers SET email = '{c}' || customer_id || email, full_name = '{c} ' || full_name,
    phone = '{c}' || customer_id % 100000, national_id = '{c}' || national_id, postcode = postcode || '{c}';
UPDATE shop.purchases SET card_number = '{c}' || card_number;
CREATE TABLE crm.staff (staff_id integer PRIMARY KEY, name text, salary numeric);
INSERT INTO crm.staff SELECT n, '{c} staff ' || n, 50000 + n FROM generate_series(1, 100) AS n;
CREATE TABLE public.ledger (entry text);
INSERT INTO public.ledger VALUES ('{c} ledger');
REVOKE ALL ON public.ledger FROM PUBLIC;
"""

# One column a mask; `id` tells rows apart. NULLs, short values, negative numbers and edge dates are all in there.
MASKS = """
CREATE SCHEMA zoo;
CREATE TABLE zoo.cells (
    id integer PRIMARY KEY, grp text NOT NULL,
    h_text text, h_varchar varchar(40), h_bytea bytea, h_uuid uuid, h_int integer, h_big bigint, h_big_same bigint,
    h_shared text,
    d_year date, d_quarter timestamp, d_month timestamptz, d_week date, d_day timestamptz, d_hour timestamp,
    b_int integer, b_num numeric, b_float double precision, r_num numeric, r_neg numeric,
    p_text text, s_text text, mail text, c_text text, c_int integer, n_date date, n_text text, omitted text
);
INSERT INTO zoo.cells
SELECT n, 'g' || n % 3, '{c}' || n % 50, '{c}v' || n, convert_to('{c}b' || n, 'UTF8'), md5('z' || n)::uuid,
       1730010000 + n % 40, 1730010000 + n % 40, 9000000000000 + n, '{c}s' || n,
       date '1999-12-25' + n, timestamp '2020-02-28 23:59:59.5' + n * interval '37 days 5 hours',
       timestamptz '2021-01-01 00:30:00+02' + n * interval '11 days 7 hours', date '2021-01-01' + n,
       timestamptz '2022-03-27 01:30:00+00' + n * interval '55 minutes', timestamp '2023-06-30 10:59:59' + n * interval '13 minutes',
       n * 7 - 100, n * 1.75 - 50, n * 2.5 - 60, n * 1.23456 - 20, n * 137.5 - 3000,
       CASE n % 4 WHEN 0 THEN 'ab' WHEN 1 THEN 'abc' WHEN 2 THEN 'äöü{c}' ELSE 'pre{c}' || n END,
       CASE n % 4 WHEN 0 THEN 'wxyz' WHEN 1 THEN '{c}-wxÿz' ELSE '{c}tail' END,
       CASE n % 4 WHEN 0 THEN '{c}@example.com' WHEN 1 THEN '{c}+a@sub.example.org' ELSE '{c}.x@example.net' END,
       '{c}c', 1730020000 + n, date '2020-01-01' + n, '{c}n' || n, '{c}o' || n
FROM generate_series(1, 120) AS n;
INSERT INTO zoo.cells (id, grp) VALUES (1000, 'g0');
CREATE TABLE zoo.others (id integer PRIMARY KEY, ref bigint, label text, h_text text);
INSERT INTO zoo.others SELECT n, 1730010000 + n, 'label ' || n, '{c}' || n FROM generate_series(0, 59) AS n;
GRANT USAGE ON SCHEMA zoo TO pgveil WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA zoo TO pgveil WITH GRANT OPTION;
"""


def load(cluster):
    cluster.psql("CREATE ROLE pgveil LOGIN CREATEROLE PASSWORD '%s'" % UPSTREAM_PASSWORD, "postgres")
    cluster.psql("CREATE DATABASE warehouse", "postgres")
    with open(os.path.join(TOP, "demo", "data.sql")) as source:
        demo = source.read()
    cluster.psql("REVOKE TEMPORARY ON DATABASE warehouse FROM PUBLIC; GRANT CREATE ON DATABASE warehouse TO pgveil;")
    cluster.psql(demo)
    cluster.psql((CANARIES + MASKS).replace("{c}", CANARY))


def upstream(cluster, sslmode="verify-full"):
    entry = {"host": "127.0.0.1", "port": cluster.port, "dbname": "warehouse", "user": "pgveil",
             "password": UPSTREAM_PASSWORD, "sslmode": sslmode}
    if sslmode.startswith("verify"):
        entry["sslrootcert"] = cluster.ca.cert
    return entry


def patterns():
    """What the tap looks for: the canary in any letter case, in hex, and raw customer ids as whole values."""
    text = CANARY.encode()
    return [b"(?i)" + text, b"(?i)" + text.hex().encode(),
            rb"\0\0\0\x0a1730[012]\d{5}", rb"\0\0\0\x04\x67\x1d[\xb1-\xff]."]


ZOO_COLUMNS = {
    "id": {"category": 1}, "grp": {"category": 1},
    "h_text": {"category": 3}, "h_varchar": {"category": 3, "mask": "hash"}, "h_bytea": {"category": 3, "mask": "hash"},
    "h_uuid": {"category": 3, "mask": "hash"}, "h_int": {"category": 3, "mask": "hash"},
    "h_big": {"category": 3, "mask": "hash"}, "h_big_same": {"category": 3},
    "h_shared": {"category": 3, "mask": {"hash": "partners"}},
    "d_year": {"category": 3, "mask": {"truncate_date": "year"}},
    "d_quarter": {"category": 3, "mask": {"truncate_date": "quarter"}},
    "d_month": {"category": 3, "mask": {"truncate_date": "month"}},
    "d_week": {"category": 3, "mask": {"truncate_date": "week"}},
    "d_day": {"category": 3, "mask": {"truncate_date": "day"}},
    "d_hour": {"category": 3, "mask": {"truncate_date": "hour"}},
    "b_int": {"category": 3, "mask": {"bucket": 10}}, "b_num": {"category": 3, "mask": {"bucket": 25}},
    "b_float": {"category": 3, "mask": {"bucket": 5}},
    "r_num": {"category": 3, "mask": {"round": 2}}, "r_neg": {"category": 3, "mask": {"round": -2}},
    "p_text": {"category": 3, "mask": {"prefix": 3}}, "s_text": {"category": 3, "mask": {"suffix": 4}},
    "mail": {"category": 3, "mask": "email_domain"}, "c_text": {"category": 3, "mask": {"constant": "x"}},
    "c_int": {"category": 3, "mask": {"constant": "7"}}, "n_date": {"category": 3, "mask": "null"},
    "n_text": {"category": 3, "mask": "null"}, "omitted": {"category": 3, "mask": "omit"},
}

ALL_LISTED = ("SELECT id, h_text, h_varchar, h_bytea, h_uuid, h_int, h_big, h_big_same, h_shared, d_year, d_quarter, "
              "d_month, d_week, d_day, d_hour, b_int, b_num, b_float, r_num, r_neg, p_text, s_text, mail, c_text, "
              "c_int, n_date, n_text FROM public.cells ORDER BY id")

QUESTIONS = {
    "cells": {"type": "list", "sql": ALL_LISTED},
    "others": {"type": "list", "sql": "SELECT id, ref, h_text FROM public.others ORDER BY id"},
    "matched": {"type": "analytical", "sql": "SELECT count(*) AS n FROM public.cells c "
                "JOIN public.others o ON o.ref = c.h_int AND o.h_text = c.h_text"},
    "by_group": {"type": "analytical", "sql": "SELECT c.grp, count(*) AS n, sum(c.b_int) AS s FROM public.cells c "
                 "WHERE c.id BETWEEN :low AND :high GROUP BY c.grp ORDER BY c.grp",
                 "parameters": {"low": {"type": "integer", "default": 1, "minimum": 1},
                                "high": {"type": "integer", "default": 120, "maximum": 120}}},
    "twice": {"type": "list", "sql": "SELECT id, grp FROM public.cells WHERE id >= :n AND id < :n + 5 ORDER BY id",
              "parameters": {"n": {"type": "integer", "minimum": 1, "maximum": 100}}},
    "maybe": {"type": "list", "sql": "SELECT id FROM public.cells WHERE coalesce(grp = :g, true) ORDER BY id",
              "parameters": {"g": {"type": "text", "nullable": True, "pattern": "g[0-9]", "max_length": 3}}},
    "several": {"type": "list", "sql": "SELECT id, grp FROM public.cells WHERE id = ANY (:ids) ORDER BY id",
                "parameters": {"ids": {"type": "integer[]", "max_items": 4, "minimum": 1, "maximum": 120}}},
    "capped": {"type": "list", "sql": "SELECT id FROM public.cells WHERE id <= :n ORDER BY id",
               "parameters": {"n": {"type": "integer"}}, "output": {"max_rows": 10}},
    "slow": {"type": "analytical", "sql": "SELECT count(*) AS n FROM public.cells a, public.cells b, public.cells c, "
             "public.cells d, public.cells e, public.others o WHERE a.id + b.id + c.id + d.id + e.id + o.id > :n",
             "parameters": {"n": {"type": "integer"}}, "output": {"timeout": "60s"}},
    "hasty": {"type": "analytical", "sql": "SELECT count(*) AS pairs FROM public.cells a, public.cells b, "
              "public.cells c, public.cells d, public.cells e WHERE a.id + b.id + c.id + d.id + e.id > :n",
              "parameters": {"n": {"type": "integer"}}, "output": {"timeout": "300ms"}},
    "fails": {"type": "analytical", "sql": "SELECT sum(1 / (c.id - :n)) AS s FROM public.cells c",
              "parameters": {"n": {"type": "integer"}}},
    "many_rows": {"type": "list", "sql": "SELECT a.id, b.h_text, c.h_text AS other FROM public.cells a, public.cells b, "
                  "public.others c WHERE a.id <= :n", "parameters": {"n": {"type": "integer"}}},
}


def demo_room():
    with open(os.path.join(TOP, "demo", "rooms", "retail_media.json")) as source:
        return json.load(source)


def retail_room():
    """The demo's room with more members and questions, its secret in a file that tests know."""
    room = demo_room()
    room["secret_file"] = "../secret/retail_media"
    room["members"].update({"norma": {"party": "acme", "roles": ["analyst"]},
                            "scalar": {"party": "acme", "roles": ["analyst"]},
                            "olga": {"party": "megamart", "roles": ["auditor"]}})
    room["datasets"]["public.cells"] = {"owner": "acme", "source": "zoo.cells", "columns": copy.deepcopy(ZOO_COLUMNS)}
    room["datasets"]["public.others"] = {
        "owner": "acme", "source": "zoo.others",
        "columns": {"id": {"category": 1}, "ref": {"category": 3}, "h_text": {"category": 3}}}
    room["questions"].update(copy.deepcopy(QUESTIONS))
    return room


def other_room():
    """A second room over the same tables, with a secret of its own; bi_service is a member of both."""
    return {
        "room": "other_room", "upstream": "main",
        "parties": {"acme": {"public_key": "keys/acme.pem"}, "megamart": {"public_key": "keys/megamart.pem"}},
        "members": {"bi_service": {"party": "megamart", "roles": ["dashboard"]},
                    "mallory": {"party": "acme", "roles": ["analyst"]}},
        "datasets": {
            "public.cells": {"owner": "acme", "source": "zoo.cells", "columns": {
                "id": {"category": 1}, "h_text": {"category": 3}, "h_big": {"category": 3},
                "h_shared": {"category": 3, "mask": {"hash": "partners"}}}}},
        "questions": {"pseudonyms": {"type": "list",
                                     "sql": "SELECT id, h_text, h_big, h_shared FROM public.cells ORDER BY id"}},
    }


def small_room(name):
    """A room for a test of its own installation: no attributes, no secret file, quick questions and a slow one."""
    return {
        "room": name, "upstream": "main",
        "parties": {"acme": {"public_key": "keys/acme.pem"}, "megamart": {"public_key": "keys/megamart.pem"}},
        "members": {"alice": {"party": "acme", "roles": ["analyst"]},
                    "bi_service": {"party": "megamart", "roles": ["dashboard"]}},
        "datasets": {
            "public.cells": {"owner": "acme", "source": "zoo.cells", "columns": {
                "id": {"category": 1}, "grp": {"category": 1}, "h_text": {"category": 3}, "b_int": {"category": 1}}},
            "public.others": {"owner": "megamart", "source": "zoo.others", "columns": {
                "id": {"category": 1}, "label": {"category": 1}, "ref": {"category": 3}}}},
        "questions": {
            "first": {"type": "list", "sql": "SELECT id, grp FROM public.cells WHERE id <= :n ORDER BY id",
                      "parameters": {"n": {"type": "integer", "minimum": 1, "maximum": 1000}}},
            "labels": {"type": "list", "sql": "SELECT id, label FROM public.others ORDER BY id"},
            "slow": copy.deepcopy(QUESTIONS["slow"])},
    }
