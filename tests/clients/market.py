"""
The room that clients are tried in, and its equal without pgveil: a plain database of the same name in the same cluster,
whose tables hold what the masked views give and whose schema `questions` holds the questions as views and functions.
What a client shows of the one it must show of the other.
"""
import secrets

from tests.lib import data

ROOM = "market"
PASSWORD = "alice " + secrets.token_hex(4)
USERS = {"alice": {"password": PASSWORD, "attributes": data.USERS["alice"]["attributes"]}, "bob": {"password": "bob"},
         "bi_service": data.USERS["bi_service"]}

SOURCE = """
CREATE SCHEMA market;
CREATE TABLE market.kinds (
    id integer PRIMARY KEY, flag boolean, small smallint, big bigint, real_ real, double_ double precision,
    amount numeric(12, 3), any_number numeric, txt text, vc varchar(40), ch character(6), raw bytea, day date,
    clock time, clock_tz timetz, stamp timestamp, stamp_tz timestamptz, span interval, u uuid, doc json, docb jsonb,
    addr inet, net cidr, bits bit varying(12), ints integer[], texts text[], stamps timestamptz[], span_of int4range,
    secret text);
INSERT INTO market.kinds VALUES
 (1, true, -32768, 9223372036854775807, 1.5, 0.1, 12345.678, 'NaN', 'plain', 'vc', 'ch', '\\x00ff41', '2024-02-29',
  '23:59:59.5', '12:00:00+02', '2024-02-29 13:14:15.123456', '2024-03-10 06:59:59+00', '1 year 2 mons 3 days 04:05:06.7',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, 2, {"b": null}]}', '{"k": "v", "n": 1.50}', '192.168.0.1/24',
  '10.0.0.0/8', B'10110', '{1,NULL,3}', '{"a,b","c\\"d",NULL,""}', '{"2024-01-01 00:00+00"}', '[1,5)', '{c}'),
 (2, false, 0, -1, 'Infinity', '-Infinity', -0.001, 1e30, 'äöü 😀', '', '', '', 'infinity', '00:00', '00:00+00',
  '-infinity', 'infinity', '-1 days', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '[]', '[]', '::1', 'fe80::/64', B'', '{}',
  '{}', '{}', 'empty', '{c}'),
 (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{c}');
CREATE TABLE market.steps (n integer PRIMARY KEY, label text NOT NULL, secret text);
INSERT INTO market.steps SELECT n, 'step ' || n, '{c}' || n FROM generate_series(1, 3000) AS n;
CREATE TYPE market.order_status AS ENUM ('new', 'paid', 'sent back');
CREATE TYPE market.mood AS ENUM ('{c}');
CREATE DOMAIN market.item_code AS text CHECK (VALUE <> '{c}');
CREATE TABLE market.orders (order_id integer PRIMARY KEY, status market.order_status, history market.order_status[],
    item market.item_code, mood market.mood);
INSERT INTO market.orders VALUES (1, 'paid', '{new,paid}', 'i1', '{c}'), (2, 'new', '{new}', 'i2', NULL),
    (3, 'sent back', '{new,paid,"sent back"}', NULL, NULL), (4, NULL, NULL, 'i1', NULL);
GRANT USAGE ON SCHEMA market TO pgveil WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA market TO pgveil WITH GRANT OPTION;
"""

KINDS = ("id flag small big real_ double_ amount any_number txt vc ch raw day clock clock_tz stamp stamp_tz span u doc docb "
         "addr net bits ints texts stamps span_of").split()
TITLES = {"public.customers": "Customers of MegaMart", "public.customers.region": "Sales region",
          "by_region": "Customers reached, by region"}

BY_REGION = ("SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c "
             "JOIN ads.impressions i USING (customer_id) GROUP BY c.region")
SINCE = ("SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c "
         "JOIN ads.impressions i USING (customer_id) WHERE i.seen_on >= :since GROUP BY c.region")

# id: (sql, parameters as (name, type, default or None), more keys)
QUESTIONS = {
    "by_region": (BY_REGION, [], {"type": "analytical"}),
    "overlap_by_region": (SINCE, [("since", "date", None)], {"type": "analytical"}),
    "everything": ("SELECT %s FROM public.kinds ORDER BY id" % ", ".join(KINDS), [], {"type": "list"}),
    "steps": ("SELECT n, label FROM public.steps ORDER BY n", [], {"type": "list"}),
    "some_steps": ("SELECT n, label FROM public.steps WHERE n >= :low AND n < :high ORDER BY n",
                   [("low", "integer", 1), ("high", "integer", 11)], {"type": "list"}),
    "one_step": ("SELECT n, label FROM public.steps WHERE n = :wanted", [("wanted", "integer", None)], {"type": "list"}),
    "orders": ("SELECT order_id, status, history, item FROM public.orders ORDER BY order_id", [], {"type": "list"}),
    "slow": ("SELECT count(*) AS n FROM public.steps a, public.steps b, public.steps c WHERE a.n + b.n + c.n > :above",
             [("above", "integer", None)], {"type": "analytical", "output": {"timeout": "60s"}}),
    "ratio": ("SELECT sum(1000 / (s.n - :hole)) AS total FROM public.steps s", [("hole", "integer", None)],
              {"type": "analytical"}),
}


def room():
    datasets = {
        "public.customers": {
            "owner": "megamart", "source": "crm.customers", "entity": "customer_id", "title": TITLES["public.customers"],
            "columns": {"customer_id": {"category": 3}, "email": {"category": 3, "mask": "hash"},
                        "full_name": {"category": 2},
                        "region": {"category": 1, "title": TITLES["public.customers.region"]},
                        "birth_date": {"category": 3, "mask": {"truncate_date": "year"}},
                        "postcode": {"category": 3, "mask": {"prefix": 3}}}},
        "ads.impressions": {
            "owner": "acme", "source": "ads.impressions", "entity": "customer_id",
            "columns": {"customer_id": {"category": 3}, "campaign": {"category": 1}, "channel": {"category": 1},
                        "seen_on": {"category": 1}, "cost": {"category": 1}}},
        "public.kinds": {"owner": "acme", "source": "market.kinds",
                         "columns": {name: {"category": 1} for name in KINDS}},
        "public.steps": {"owner": "acme", "source": "market.steps",
                         "columns": {"n": {"category": 1}, "label": {"category": 1}}},
        "public.orders": {"owner": "acme", "source": "market.orders", "columns": {
            "order_id": {"category": 1}, "status": {"category": 1}, "history": {"category": 1}, "item": {"category": 1},
            "mood": {"category": 2}}},
    }
    questions = {}
    for name, (sql, parameters, more) in QUESTIONS.items():
        questions[name] = dict(more, sql=sql)
        if name in TITLES:
            questions[name]["title"] = TITLES[name]
        if parameters:
            questions[name]["parameters"] = {
                p: {"type": t} if default is None else {"type": t, "default": default} for p, t, default in parameters}
    return {
        "room": ROOM, "upstream": "main",
        "parties": {"acme": {"public_key": "keys/acme.pem"}, "megamart": {"public_key": "keys/megamart.pem"}},
        "members": {"alice": {"party": "acme", "roles": ["analyst"]}, "bob": {"party": "megamart", "roles": ["analyst"]}},
        "datasets": datasets, "questions": questions,
    }


def load(cluster):
    cluster.psql(SOURCE.replace("{c}", data.CANARY))


def _plain_question(name):
    """CREATE VIEW or CREATE FUNCTION that answers as the question does."""
    sql, parameters, _ = QUESTIONS[name]
    if not [p for p in parameters if p[2] is None]:
        for p, kind, default in parameters:
            sql = sql.replace(":" + p, "'%s'::%s" % (default, kind))
        return "CREATE VIEW questions.%s AS %s;" % (name, sql)
    for p, _, _ in parameters:
        sql = sql.replace(":" + p, "$%d" % ([q[0] for q in parameters].index(p) + 1))
    return ("CREATE FUNCTION questions.%s(%s) RETURNS TABLE (%s) LANGUAGE sql STABLE AS $q$%s$q$;" %
            (name, ", ".join("%s %s" % p[:2] for p in parameters), RESULTS[name], sql))


RESULTS = {"overlap_by_region": "region text, reached bigint", "one_step": "n integer, label text", "slow": "n bigint",
           "ratio": "total bigint"}


def build_plain(cluster):
    """The equal without pgveil, made of the masked views that `provision` has put up; everything is alice's."""
    cluster.psql("CREATE ROLE alice LOGIN PASSWORD '%s'; CREATE DATABASE %s TEMPLATE warehouse" % (PASSWORD, ROOM), "postgres")
    tables = []
    for key in room()["datasets"]:
        schema, name = key.split(".")
        tables.append('CREATE TABLE %s.%s AS SELECT * FROM "pgveil_%s$%s".%s;' % (schema, name, ROOM, schema, name))
    script = ["ALTER SCHEMA ads RENAME TO old_ads; CREATE SCHEMA ads; CREATE SCHEMA questions;"] + tables
    script += [_plain_question(name) for name in QUESTIONS]
    script.append("DROP TABLE public.ledger; ALTER TYPE market.order_status SET SCHEMA public; "
                  "ALTER DOMAIN market.item_code SET SCHEMA public; ALTER DOMAIN public.item_code DROP CONSTRAINT item_code_check;")
    script.append("COMMENT ON TABLE public.customers IS '%s'; COMMENT ON COLUMN public.customers.region IS '%s';"
                  "COMMENT ON VIEW questions.by_region IS '%s';" % (TITLES["public.customers"],
                  TITLES["public.customers.region"], TITLES["by_region"]))
    script.append("""DO $do$
DECLARE s name; t text;
BEGIN
    FOR s IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND
             nspname NOT IN ('public', 'ads', 'questions', 'information_schema') OR nspname ~ '^pgveil' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', s);
    END LOOP;
    FOREACH s IN ARRAY '{public,ads,questions}'::name[] LOOP
        EXECUTE format('ALTER SCHEMA %I OWNER TO alice', s);
    END LOOP;
    FOR t IN SELECT format('ALTER %s %s OWNER TO alice', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, oid::regclass)
             FROM pg_class WHERE relkind IN ('r', 'v') AND oid >= 16384 UNION ALL
             SELECT format('ALTER FUNCTION %s OWNER TO alice', oid::regprocedure) FROM pg_proc WHERE oid >= 16384 LOOP
        EXECUTE t;
    END LOOP;
END $do$;
ALTER DATABASE market OWNER TO alice;
""")
    cluster.psql("\n".join(script), ROOM)
