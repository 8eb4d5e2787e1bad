"""
A room of open questions over small tables whose every row the oracle may read: people (megamart's), visits (acme's),
segments (a list), and the same people under other rules. Region 'Lonely' holds three people, some people have no
region, some rows no id.
"""
ROOM = "open_lab"
PEOPLE_K, VISITS_K, CAREFUL_ROWS = 10, 5, 4

DATA = """
CREATE SCHEMA lab;
CREATE TABLE lab.people (id integer, household integer, email text, region text, city text, born date, age smallint,
                         income numeric);
INSERT INTO lab.people
SELECT CASE WHEN n %% 97 = 0 THEN NULL ELSE 1000 + n END, n / 3, 'p' || n || '@example.com',
       CASE WHEN n <= 3 THEN 'Lonely' WHEN n %% 19 = 0 THEN NULL ELSE (ARRAY['North', 'South', 'East', 'West'])[n * 7 %% 4 + 1] END,
       'city ' || n %% 150, date '1950-03-01' + n * 29 %% 18000, (18 + n %% 60)::smallint,
       CASE WHEN n %% 13 = 0 THEN NULL ELSE 1000 + n * 37 %% 90000 END
FROM generate_series(1, 1500) AS n;
CREATE TABLE lab.visits (id integer, ad integer, channel text, seen_on date, cost numeric, note text);
INSERT INTO lab.visits
SELECT 1000 + n * 11 %% 1900, n %% 40, (ARRAY['video', 'search', 'social', 'audio'])[n * 3 %% 4 + 1],
       date '2024-01-01' + n * 17 %% 400, (n %% 700) / 100.0, 'note ' || n
FROM generate_series(1, 4000) AS n;
INSERT INTO lab.visits VALUES (1001, 999, 'lone', '2025-05-05', 5, 'x'), (1002, 998, 'lone', '2025-05-06', 6, 'y');
CREATE TABLE lab.segments (id integer, segment text, store text);
INSERT INTO lab.segments SELECT 1000 + n, 'segment ' || n %% 9, 'store ' || n FROM generate_series(1, 600) AS n;
CREATE SCHEMA lab_bare;
CREATE VIEW lab_bare.people AS SELECT * FROM lab.people;
CREATE VIEW lab_bare.peers AS SELECT * FROM lab.people;
CREATE VIEW lab_bare.joiners AS SELECT * FROM lab.people;
CREATE VIEW lab_bare.visits AS SELECT * FROM lab.visits;
CREATE VIEW lab_bare.segments AS SELECT * FROM lab.segments;
GRANT USAGE ON SCHEMA lab TO pgveil WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA lab TO pgveil WITH GRANT OPTION;
""".replace("%%", "%")

PLAIN = {"category": 1}
HASHED = {"category": 3}


def people(owner="megamart", **rule):
    return {
        "owner": owner, "source": "lab.people", "entity": "id",
        "columns": {"id": HASHED, "household": HASHED, "email": HASHED, "region": PLAIN, "city": PLAIN,
                    "born": {"category": 3, "mask": {"truncate_date": "month"}}, "age": PLAIN, "income": PLAIN},
        "analysis_rule": {
            "type": "aggregation", "join_columns": ["id", "household"], "dimension_columns": ["region", "city", "born", "age"],
            "aggregate_columns": [{"columns": ["income"], "functions": ["sum", "avg", "count"]},
                                  {"columns": ["id"], "functions": ["count", "count_distinct"]}],
            "scalar_functions": ["date_trunc", "extract", "date_part", "lower", "upper", "coalesce", "substr", "to_char",
                                 "sqrt", "ln", "repeat", "nullif", "left", "chr", "round", "timezone", "floor", "ceil",
                                 "date", "abs"],
            "comparison_controls": {"allowed_literal_comparison_columns": ["region", "born", "age"]},
            "output_constraints": [{"column": "id", "type": "count_distinct", "minimum": PEOPLE_K}], **rule}}


def room():
    return {
        "room": ROOM, "upstream": "main",
        "parties": {"acme": {"public_key": "keys/acme.pem"}, "megamart": {"public_key": "keys/megamart.pem"}},
        "members": {"alice": {"party": "acme", "roles": ["analyst"]},
                    "bi_service": {"party": "megamart", "roles": ["dashboard"]}},
        "datasets": {
            "public.people": people(),
            "public.peers": people(suppression="remainder"),
            "public.joiners": people(join_required=True, disallowed_output_columns=["born"]),
            "public.visits": {
                "owner": "acme", "source": "lab.visits", "entity": "id",
                "columns": {"id": HASHED, "ad": HASHED, "channel": PLAIN, "seen_on": PLAIN, "cost": PLAIN, "note": PLAIN},
                "analysis_rule": {
                    "type": "aggregation", "join_columns": ["id", "ad"], "dimension_columns": ["channel", "seen_on"],
                    "aggregate_columns": [{"columns": ["cost"], "functions": ["sum", "avg", "sum_distinct"]}],
                    "scalar_functions": ["date_trunc", "coalesce", "lower", "to_char", "extract", "date_part", "floor", "trunc", "date",
                                         "upper"],
                    "output_constraints": [{"column": "id", "type": "count_distinct", "minimum": VISITS_K}]}},
            "public.segments": {
                "owner": "megamart", "source": "lab.segments", "entity": "id",
                "columns": {"id": HASHED, "segment": PLAIN, "store": PLAIN},
                "analysis_rule": {"type": "list", "join_columns": ["id"], "list_columns": ["segment"],
                                  "scalar_functions": ["lower"]}}},
        "questions": {
            "explore": {"type": "analytical", "open": True,
                        "datasets": ["public.people", "public.visits", "public.joiners", "public.peers", "public.segments"]},
            # For one member several open questions: the strictest that is signed is the one.
            "careful": {"type": "analytical", "open": True, "datasets": ["public.people", "public.peers"], "members": ["user:bi_service"],
                        "output": {"max_rows": CAREFUL_ROWS}},
            "unsigned": {"type": "analytical", "open": True, "datasets": ["public.people"], "members": ["user:bi_service"],
                         "output": {"max_rows": 1}, "approvals": ["acme"]},
            "lax": {"type": "analytical", "open": True, "datasets": ["public.people"], "members": ["user:bi_service"],
                    "output": {"max_rows": 100000}},
            "by_region": {"type": "analytical", "sql": "SELECT p.region, count(*) AS n FROM public.people p GROUP BY p.region",
                          "output": {"entity": "p.id", "minimum_entities": PEOPLE_K}}},
    }
