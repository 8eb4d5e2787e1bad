#include "tests/unit/policy/decide_fixture.h"

/* Fixed questions, open questions under their rules, and questions inside other statements. */

static void
fixed_questions(void **state)
{
    static const struct row rows[] = {
        {"SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING "
         "(customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region",
         NULL, "'2024-06-01' AS date", NULL},
        {"select X.region, COUNT(distinct X.customer_id) n from \"customers\" X inner join ads.impressions as y "
         "using (customer_id) where y.seen_on >= date '2024-06-01' group by X.region",
         NULL, "AS n", NULL},
        {"SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING "
         "(customer_id) WHERE i.seen_on >= '2023-06-01' GROUP BY c.region",
         "22023", "parameter", "since"},
        {"SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING "
         "(customer_id) WHERE i.seen_on >= now() GROUP BY c.region",
         NULL, "pg_catalog.now()", NULL}, /* no constant, so not that question, but the open one takes it */
        {"SELECT * FROM questions.reach(since => '2024-06-01')", NULL, ">=) 25", NULL},
        /* A whole statement that is a question needs no fence against the caller; one around it, or another name, does. */
        {"SELECT email FROM customers WHERE region = 'North' OR lower(region) = 'North' ORDER BY 1", NULL, "SELECT email AS email FROM", NULL},
        {"SELECT email AS e FROM customers WHERE region = 'North' OR lower(region) = 'North' ORDER BY 1", NULL, "SELECT q.c1 AS e FROM (", NULL},
        {"SELECT * FROM questions.twice('North')", NULL, "AS q (c1) OFFSET 0", NULL},
        {"SELECT * FROM questions.reach('2024-06-01')", NULL, "<=) 1000", NULL},
        {"SELECT max(reached) FROM questions.reach('2024-06-01') q WHERE q.region <> 'x' LIMIT 1 OFFSET 1", NULL, NULL,
         NULL},
        {"SELECT row_to_json(q), rank() OVER (ORDER BY reached) FROM questions.reach('2024-06-01') q", NULL, NULL, NULL},
        {"SELECT q.full_name FROM questions.reach('2024-06-01') q", "42703", "no_column", NULL},
        {"SELECT * FROM questions.reach", "22023", "parameter_count", "needs a value for parameter \"since\""},
        {"SELECT * FROM questions.reach(since => '2024-06-01', since => '2024-06-01')", "42883", "parameter_count",
         "twice"},
        {"SELECT * FROM questions.reach(until => '2024-06-01')", "42883", "parameter_count", "no parameter \"until\""},
        {"SELECT * FROM questions.reach('2024-06-01', 1)", "42883", "parameter_count", NULL},
        {"SELECT * FROM questions.reach(current_date)", "22023", "parameter", NULL},
        {"SELECT * FROM questions.reach(NULL)", "22023", "parameter", NULL},
        {"SELECT * FROM questions.reach('2024-06-01''; DROP TABLE x; --')", "22023", "parameter", NULL},
        {"SELECT questions.reach('2024-06-01')", "42501", "not_a_question", "stands in FROM"},
        {"SELECT * FROM questions.twice", NULL, "'North'", NULL},
        {"SELECT * FROM questions.twice('West')", "22023", "parameter", NULL},
        {"SELECT email FROM customers WHERE region = 'South' OR lower(region) = 'South' ORDER BY 1", NULL, "'South'", NULL},
        {"SELECT email FROM customers WHERE region = 'South' OR lower(region) = 'North' ORDER BY 1", "42501", "rule", NULL},
        {"SELECT count(*) AS n FROM shop.purchases", "42501", "not_admitted", "not for user \"alice\""},
        {"SELECT n FROM questions.buyers", "42501", "not_admitted", NULL},
        {"SELECT sum(amount) FROM shop.purchases", "42501", "not_a_question", "shop.purchases"},
        {"PREPARE p AS SELECT * FROM questions.reach($1); EXECUTE p('2024-05-05')", NULL, "EXECUTE p ('2024-05-05')", NULL},
        {"PREPARE p AS SELECT * FROM questions.reach($1); EXECUTE p('2020-05-05')", "22023", "parameter", NULL},
        {"PREPARE p AS SELECT * FROM questions.reach($1), questions.twice($1) t", "42501", "parameter", "two parameters"},
        {"PREPARE p AS SELECT email FROM customers WHERE region = $1 OR lower(region) = $2 ORDER BY 1; EXECUTE p('North', 'North')",
         NULL, "EXECUTE p ('North', 'North')", NULL},
        {"PREPARE p AS SELECT email FROM customers WHERE region = $1 OR lower(region) = $2 ORDER BY 1; EXECUTE p('North', 'South')",
         "22023", "parameter", "$1 and $2 differ"},
        {"SELECT * FROM questions.reach($1)", "42P02", "parameter", "there is no parameter $1"},
        {"COPY (SELECT * FROM questions.reach('2024-06-01')) TO STDOUT", NULL, "COPY (SELECT * FROM (", NULL},
        {"DECLARE c CURSOR FOR SELECT * FROM questions.reach('2024-06-01')", NULL, "DECLARE c CURSOR FOR", NULL},
    };
    static const struct row bobs[] = {
        {"SELECT count(*) AS n FROM shop.purchases", NULL, "pgveil_retail$shop", NULL},
        {"SELECT count(*) total FROM shop.purchases", NULL, "AS total", NULL},
        {"SELECT count(*) FROM shop.purchases p", NULL, "AS count", NULL},
        {"SELECT region, count(*) FROM customers GROUP BY 1", "42501", "not_a_question", NULL},
    };

    (void) state;
    judge("alice", rows, PV_COUNT_OF(rows));
    judge("bob", bobs, PV_COUNT_OF(bobs));
}

static void
open_questions_that_keep_the_rules(void **state)
{
    static const struct row rows[] = {
        {"SELECT region, count(*) FROM customers GROUP BY 1 ORDER BY 2 DESC NULLS LAST LIMIT 1000", NULL,
         "count(DISTINCT customers.customer_id) OPERATOR(pg_catalog.>=) 25", NULL},
        {"SELECT count(*) FROM customers", NULL, "HAVING", NULL},
        {"SELECT count(DISTINCT customer_id), avg(income) FROM customers WHERE region IN ('a', 'b')", NULL, NULL, NULL},
        {"SELECT * FROM (SELECT region, count(*) AS n FROM customers GROUP BY region) AS virtual_table LIMIT 10", NULL, NULL,
         NULL},
        {"SELECT v.region, sum(v.income) AS s FROM (SELECT * FROM customers) AS v GROUP BY 1 ORDER BY 2 DESC LIMIT 1000",
         NULL, "pgveil entity 1", NULL},
        {"WITH x AS (SELECT region, customer_id FROM customers) SELECT region, count(*) FROM x JOIN ads.impressions i ON "
         "x.customer_id = i.customer_id GROUP BY 1",
         NULL, "count(DISTINCT i.customer_id) OPERATOR(pg_catalog.>=) 10", NULL},
        {"SELECT count(*) FROM customers a, ads.impressions b WHERE a.customer_id = b.customer_id AND b.channel = 'x'", NULL,
         NULL, NULL},
        {"SELECT count(*) FROM customers NATURAL JOIN ads.impressions", NULL, NULL, NULL},
        {"SELECT count(*) FROM customers CROSS JOIN ads.impressions i WHERE i.customer_id = customers.customer_id", NULL, NULL,
         NULL},
        {"SELECT CASE WHEN region = 'N' THEN 'north' ELSE 'other' END AS r, count(*) FROM customers GROUP BY 1", NULL, NULL,
         NULL},
        {"SELECT region, sum(income) / count(*) AS ratio FROM customers GROUP BY region", NULL, "NULLIF", NULL},
        {"SELECT region, count(*) FILTER (WHERE birth_date > '1990-01-01') FROM customers GROUP BY region", NULL,
         "CASE WHEN (pg_catalog.count(DISTINCT customers.customer_id) FILTER", NULL},
        {"SELECT region, count(*) FROM customers GROUP BY region HAVING count(*) > 100", NULL, NULL, NULL},
        {"SELECT region, sum(n) FROM (SELECT region, count(*) AS n FROM customers GROUP BY 1) x GROUP BY ROLLUP (region)",
         NULL, "ROLLUP", NULL},
        {"SELECT region AS \"Region\", count(*) AS \"COUNT(*)\" FROM \"public\".\"customers\" GROUP BY region UNION ALL "
         "SELECT channel, count(*) FROM ads.impressions GROUP BY channel",
         NULL, "UNION ALL", NULL},
        {"SELECT max(n) FROM (SELECT region, count(*) AS n FROM customers GROUP BY 1) z", NULL, NULL, NULL},
        {"SELECT region, sum(n) FROM (SELECT region, channel, count(*) n FROM customers JOIN ads.impressions USING "
         "(customer_id) GROUP BY 1, 2) z GROUP BY 1",
         NULL, NULL, NULL},
        {"SELECT lower(region), count(*) FROM customers GROUP BY lower(region)", NULL, NULL, NULL},
        {"SELECT sum(coalesce(income, 0)) FROM customers", NULL, NULL, NULL},
        {"SELECT region::text, count(*)::float8 FROM customers GROUP BY region::text", NULL, NULL, NULL},
        {"SELECT segment FROM shop.matches WHERE segment LIKE 'a%' ORDER BY 1 LIMIT 5", NULL, "SELECT DISTINCT", NULL},
        {"SELECT * FROM (SELECT region, count(*) AS n FROM customers GROUP BY region) AS v WHERE n > 5", NULL, "OFFSET 0", NULL},
        {"SELECT * FROM questions.reach('2024-06-01') WHERE region::int > 0", NULL, "OFFSET 0", NULL},
        {"SELECT region, sum(CASE WHEN region = 'N' THEN income ELSE 0.0 END) FROM customers GROUP BY 1", NULL,
         "(COALESCE(income, 0.0))) FILTER (WHERE (region = 'N'))", NULL},
        {"SELECT region, sum(CASE region WHEN 'N' THEN 1 ELSE 0.0 END) FROM customers GROUP BY 1", NULL,
         "sum(1.0) FILTER (WHERE (region OPERATOR(pg_catalog.=) 'N'))", NULL},
        {"SELECT c.region, count(*) FROM customers c JOIN (SELECT region AS r, count(*) AS n FROM customers GROUP BY region "
         "ORDER BY n DESC LIMIT 3) AS s ON c.region = r GROUP BY 1",
         NULL, "pgveil_joins(c.region, s.r)", NULL},
        {"SELECT count(*) FROM customers JOIN ads.impressions USING (customer_id)", NULL,
         "pgveil_joins(customers.customer_id, impressions.customer_id)", NULL},
        {"SELECT count(*) FROM customers WHERE region COLLATE \"C\" = 'N'", NULL, "pgveil_compares(customers.region)", NULL},
        {"SELECT count(*) FROM customers WHERE birth_date::timestamp > '2000-01-01'", NULL, "CAST(\"pgveil_retail$$catalog\".pgveil_tame_date(birth_date) AS", NULL},
        {"SELECT coalesce(region, 'x') AS r, count(*) FROM customers GROUP BY coalesce(region, 'x')", NULL, "COALESCE(region, 'x')", NULL},
        {"SELECT coalesce(region, lower(region)), count(*) FROM customers GROUP BY 1", NULL, "COALESCE(\"pgveil_retail$$catalog\".pgveil_tame(region)", NULL},
        {"SELECT DISTINCT region FROM customers", NULL, "GROUP BY 1 HAVING CASE WHEN", NULL},
        {"SELECT sum(CASE WHEN region = 'x' THEN 1 ELSE 0 END) FROM customers", NULL, "count(1) FILTER (WHERE (region = 'x'))", NULL},
        {"SELECT sum(income) FROM customers", NULL, "sum(\"pgveil_retail$$catalog\".pgveil_tame(income))", NULL},
        {"SELECT lower(region || 'x') FROM customers GROUP BY 1", NULL,
         "pg_catalog.lower(\"pgveil_retail$$catalog\".pgveil_tame((\"pgveil_retail$$catalog\".pgveil_tame(region) || 'x'))) AS lower", NULL},
        {"SELECT count(*) FROM customers WHERE region = 'x' AND birth_date >= DATE '2000-01-01'", NULL, "WHERE ((region = 'x') AND (birth_date >= CAST(", NULL},
        {"SELECT count(*) FROM customers c JOIN ads.impressions i ON c.customer_id = i.customer_id", NULL, "ON (c.customer_id = i.customer_id)", NULL},
        {"SELECT lower(count(*)::text) FROM customers", NULL, "pg_catalog.lower(CAST(pg_catalog.count(*) AS", NULL},
        {"PREPARE p (numeric) AS SELECT coalesce(region, 'x') FROM customers WHERE region = 'x' AND 1.5 = $1 GROUP BY 1", NULL,
         "pgveil_tame($1)", NULL},
        {"SELECT count(*) FROM customers WHERE region LIKE 'a' || lower('B')", NULL, "CASE WHEN", NULL},
        {"SELECT count(DISTINCT CASE WHEN region = 'x' THEN customer_id END) FROM customers", NULL, "FILTER (WHERE", NULL},
        {"SELECT count(*) FROM customers GROUP BY (region, birth_date)", NULL, NULL, NULL},
        {"WITH x AS (SELECT customer_id FROM customers) SELECT count(*) FROM x a NATURAL JOIN x b", NULL, "b.\"pgveil entity", NULL},
        {"PREPARE p AS SELECT count(*) FROM customers WHERE birth_date > $1::date", NULL, NULL, NULL},
    };

    (void) state;
    judge("alice", rows, PV_COUNT_OF(rows));
}

static void
open_questions_that_break_a_rule(void **state)
{
    static const struct row rows[] = {
        {"SELECT * FROM customers", "42501", "rule", NULL},
        {"SELECT region, count(*) FROM customers GROUP BY ROLLUP (region)", "42501", "rule", "ROLLUP"},
        {"SELECT region FROM customers", "42501", "rule", "(owner mega)"},
        {"SELECT count(*) FROM customers WHERE region COLLATE \"POSIX\" = 'N'", "42501", "rule", "COLLATE \"POSIX\""},
        {"SELECT count(*) FROM customers WHERE region = 'N' COLLATE \"POSIX\"", "42501", "rule", NULL},
        {"SELECT avg(CASE WHEN region = 'N' THEN income ELSE 0.0 END) FROM customers", "42501", "rule", "CASE under an aggregate"},
        {"SELECT sum(n) FROM customers c JOIN (SELECT region AS r, count(*) AS n FROM customers GROUP BY 1) s ON c.region = r",
         "42501", "rule", "nothing else of them"},
        {"SELECT count(*) FROM customers c JOIN (SELECT region AS r, birth_date FROM customers GROUP BY 1, 2) s ON c.region = r",
         "42501", "rule", "nothing else of them"},
        {"SELECT count(*) FROM customers JOIN (SELECT region FROM customers GROUP BY 1) s USING (region)", "42501", "rule",
         "nothing else of them"},
        {"SELECT count(*) FROM customers c JOIN (SELECT region AS r FROM customers GROUP BY 1) s ON c.email = r", "42501", "rule",
         "comparison_controls"},
        {"SELECT customer_id, count(*) FROM customers GROUP BY 1", "42501", "rule", "dimension_columns"},
        {"SELECT email, count(*) FROM customers GROUP BY 1", "42501", "rule", "dimension_columns"},
        {"SELECT count(*) FROM customers WHERE customer_id = 5", "42501", "rule", "never meets a literal"},
        {"SELECT count(*) FROM customers WHERE email = 'jane'", "42501", "rule", "comparison_controls"},
        {"SELECT count(*) FROM customers WHERE CASE WHEN email = 'j' THEN true ELSE false END", "42501", "rule", NULL},
        {"SELECT count(*) FROM customers WHERE email = ANY (ARRAY['j'])", "42501", "rule", NULL},
        {"SELECT count(*) FROM customers WHERE email = (SELECT 'j')", "42501", "rule", NULL},
        {"SELECT count(*) FROM (SELECT email AS region FROM customers) x WHERE region = 'j'", "42501", "rule", NULL},
        {"SELECT count(*) FILTER (WHERE email = 'j') FROM customers", "42501", "rule", NULL},
        {"SELECT sum(CASE WHEN region = 'x' THEN 1 ELSE 2 END) FROM customers", "42501", "rule", "CASE under an aggregate"},
        {"SELECT max(income) FROM customers", "42501", "rule", "data set \"public.customers\" (owner mega)."},
        {"SELECT array_agg(region) FROM customers", "42501", "rule", NULL},
        {"SELECT sum(customer_id) FROM customers", "42501", "rule", "aggregate_columns"},
        {"SELECT count(income) FROM customers", "42501", "rule", "aggregate_columns"},
        {"SELECT sum(income * 2) FROM customers", "42501", "rule", "Operator"},
        {"SELECT sum(1 / (income - 5)) FROM customers", "42501", "rule", NULL},
        {"SELECT count(*) FROM customers WHERE 1 / income > 0", "42501", "rule", NULL},
        {"SELECT region::int, count(*) FROM customers GROUP BY 1", "42501", "rule", "cast"},
        {"SELECT upper(region), count(*) FROM customers GROUP BY 1", "42501", "rule", "scalar_functions"},
        {"SELECT birth_date, count(*) FROM customers GROUP BY 1", "42501", "rule", "disallowed_output_columns"},
        {"SELECT x.b || '' FROM (SELECT birth_date::text AS b, count(*) FROM customers GROUP BY 1) x", "42501", "rule",
         "disallowed_output_columns"},
        {"SELECT region, count(*) FROM customers LEFT JOIN ads.impressions USING (customer_id) GROUP BY 1", "42501", "rule",
         "Outer joins"},
        {"SELECT count(*) FROM customers, ads.impressions", "42501", "rule", "not joined"},
        {"SELECT count(*) FROM customers c JOIN ads.impressions i ON c.region = i.channel", "42501", "rule", "join_columns"},
        {"SELECT count(*) FROM customers c JOIN ads.impressions i ON c.customer_id = i.customer_id OR c.customer_id = "
         "i.customer_id",
         "42501", "rule", "AND only"},
        {"SELECT count(*) FROM customers c JOIN ads.impressions i ON c.customer_id > i.customer_id", "42501", "rule", NULL},
        {"SELECT count(*) FROM customers JOIN (VALUES (1)) v(customer_id) USING (customer_id)", "42501", "rule", NULL},
        {"SELECT count(*) FROM customers WHERE customer_id IN (SELECT customer_id FROM ads.impressions)", "42501", "rule",
         "sub-query"},
        {"SELECT count(*) FROM customers c WHERE NOT EXISTS (SELECT 1 FROM ads.impressions i)", "42501", "rule", NULL},
        {"SELECT region FROM customers GROUP BY 1 EXCEPT SELECT 'x'", "42501", "rule", "Set operations"},
        {"SELECT region, count(*) FROM customers GROUP BY 1 OFFSET 2", "42501", "rule", "OFFSET"},
        {"SELECT count(*) FROM (SELECT * FROM customers LIMIT 1) x", "42501", "rule", "LIMIT"},
        {"SELECT count(*) FROM (SELECT DISTINCT * FROM customers) x", "42501", "rule", "DISTINCT"},
        {"SELECT region, count(*) OVER () FROM customers", "42501", "rule", NULL},
        {"SELECT region, count(*), rank() OVER (ORDER BY count(*)) FROM customers GROUP BY 1", "42501", "rule", "Window"},
        {"SELECT n, count(*) FROM (SELECT region, count(*) AS n FROM customers GROUP BY 1) x GROUP BY n", "42501", "rule",
         "only dimensions"},
        {"SELECT count(*) FROM customers c, LATERAL (SELECT c.email) x", "42501", "rule", NULL},
        {"SELECT count(c) FROM customers c", "42501", "rule", "whole row"},
        {"SELECT count(*) FROM customers, pg_class", "42501", "rule", NULL},
        {"SELECT sum(amount) FROM shop.purchases JOIN customers USING (customer_id)", "42501", "not_a_question", NULL},
        {"SELECT store FROM shop.matches", "42501", "rule", "list_columns"},
        {"SELECT segment FROM shop.matches WHERE store = 'x'", "42501", "rule", "comparison_controls"},
        {"SELECT segment, customer_id FROM shop.matches", "42501", "rule", "list_columns"},
        {"SELECT * FROM shop.matches", "42501", "rule", "list_columns"},
        {"SELECT max(email) AS region, count(*) FROM customers GROUP BY region", "42501", "rule", "single values"},
        {"SELECT count(*) FROM customers GROUP BY (region, email)", "42501", "rule", "dimension_columns"},
        {"VALUES (ARRAY(SELECT email FROM customers))", "42501", "rule", "sub-query"},
        {"SELECT count(*) FROM customers LIMIT (SELECT income FROM customers)", "42501", "rule", "sub-query"},
        {"SELECT g FROM generate_series(1, (SELECT income FROM customers)) g", "42501", "rule", "sub-query"},
        {"SELECT x.n, (SELECT count(*) FROM customers WHERE x.n IS NULL) FROM (SELECT count(*) AS n FROM customers) x", "42501",
         "rule", "only dimensions"},
        {"SELECT (SELECT count(*) FROM customers WHERE x.r IS NULL) FROM (SELECT region AS r, count(*) FROM customers GROUP BY 1) "
         "x",
         "42501", "rule", "correlated"},
        {"SELECT count(*) FROM (SELECT generate_series(1, length(email)) FROM customers) x", "42501", "function", NULL},
        {"WITH x AS MATERIALIZED (SELECT email::int AS i FROM customers) SELECT count(*) FROM x", "42501", "rule", "cast"},
        {"SELECT count(*) FROM customers WHERE random() < 0.5", "42501", "rule", "random"},
        {"SELECT count(*) FROM customers WHERE region = 'x' AND date_trunc('bad', birth_date) IS NULL", "42501", "rule",
         "could fail"},
        {"SELECT count(*) FROM customers WHERE region LIKE 'x\\'", "42501", "rule", "LIKE"},
        {"SELECT count(*) FROM customers WHERE region || 1 = 'x' AND birth_date + 5 > '2000-01-01'", "42501", "rule", "Operator"},
        {"SELECT count(*) FROM customers c JOIN ads.impressions i USING (customer_id) WHERE c.region <> i.channel", "42501",
         "rule", "two data sets"},
        {"SELECT max(b) FROM (SELECT birth_date AS b, count(*) FROM customers GROUP BY 1) x", "42501", "rule",
         "disallowed_output_columns"},
        {"SELECT count(*) FROM customers GROUP BY birth_date ORDER BY birth_date", "42501", "rule", "disallowed_output_columns"},
        {"SELECT DISTINCT ON (customer_id) segment FROM shop.matches", "42501", "rule", "DISTINCT ON"},
        {"SELECT segment FROM shop.matches ORDER BY store", "42501", "rule", "list_columns"},
        {"SELECT count(*) FROM shop.matches", "42501", "rule", "not aggregated"},
        {"WITH x(a, b, c) AS (SELECT region, customer_id FROM customers) SELECT count(*) FROM x", "42P10", "clause", NULL},
        {"PREPARE p (text) AS SELECT count(*) FROM customers WHERE birth_date > $1::date", "42501", "rule", "could fail"},
    };

    (void) state;
    judge("alice", rows, PV_COUNT_OF(rows));
}

/* Where the room lets a question's text stand inside another statement: as its name may, and nothing more. */
static void
questions_inside_other_statements(void **state)
{
    static const struct row rows[] = {
        {REACH " LIMIT 2", NULL, "LIMIT 2", NULL},
        {REACH " ORDER BY 2 DESC LIMIT 2", NULL, "ORDER BY 2 DESC", NULL},
        {REACH " ORDER BY reached", NULL, "ORDER BY 2", NULL},
        {REACH " ORDER BY c.region DESC NULLS LAST OFFSET 1", NULL, "ORDER BY 1 DESC NULLS LAST", NULL},
        {REACH " ORDER BY count(DISTINCT c.customer_id)", NULL, "ORDER BY 2", NULL},
        {TWICE " LIMIT 3", NULL, "LIMIT 3", NULL},
        {"SELECT * FROM (" REACH ") t ORDER BY 2 DESC", NULL, "ORDER BY 2 DESC", NULL},
        {"SELECT max(reached) FROM (" REACH " LIMIT 3) AS virtual_table WHERE region <> 'x'", NULL, "max(", NULL},
        {"WITH q AS (" REACH "), r AS (" TWICE ") SELECT q.region, r.email FROM q, r", NULL, "WITH", NULL},
        {REACH " UNION ALL SELECT * FROM questions.reach(since => '2024-07-01')", NULL, "UNION ALL", NULL},
        {"SELECT (SELECT max(n) FROM (SELECT x.region, count(DISTINCT x.customer_id) n FROM customers x JOIN ads.impressions "
         "USING (customer_id) WHERE seen_on >= '2024-06-01' GROUP BY x.region) y)",
         "42501", "not_a_question", NULL},
        /* The parts are judged as questions by name are. */
        {"SELECT * FROM (SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN "
         "ads.impressions i USING (customer_id) WHERE i.seen_on >= '2020-06-01' GROUP BY c.region) t",
         "22023", "parameter", "since"},
        {"SELECT pg_sleep(reached) FROM (" REACH ") t", "42501", "function", "pg_sleep"},
        {"SELECT full_name FROM (" REACH ") t", "42703", "no_column", NULL},
        /* What stands beside is still data, and an edited question is none. */
        {"SELECT * FROM (" TWICE ") t JOIN shop.purchases p ON true", "42501", "not_a_question", NULL},
        {"SELECT * FROM (SELECT email FROM public.customers WHERE region = 'North' OR lower(region) = 'North' OR true) t",
         "42501", "not_a_question", NULL},
        {TWICE " FETCH FIRST 1 ROW WITH TIES", "42501", "not_a_question", NULL},
        {TWICE " FOR UPDATE", "42501", "not_a_question", NULL},
        {REACH " ORDER BY i.cost", "42501", "not_a_question", NULL},
        /* A name of WITH is no data set. */
        {"WITH customers AS (SELECT 'North' AS region, 'x' AS email) SELECT * FROM (SELECT email FROM customers WHERE region = "
         "'North' OR lower(region) = 'North' ORDER BY 1) t",
         NULL, "WITH", NULL},
    };
    static const struct row others[] = {
        {"SELECT n FROM (SELECT count(*) AS n FROM shop.purchases) t", "42501", "not_admitted", "buyers"},
    };
    struct pv_room room = *pv_policy_room(policy, pv_slice_cstr("retail"));

    (void) state;
    room.is_embedding = true;
    judge_in(&room, "bob", rows, PV_COUNT_OF(rows));
    judge_in(&room, "alice", others, PV_COUNT_OF(others));
    room.is_embedding = false;
    for (size_t i = 0; i < 9; i++) {
        const struct row refused = {rows[i].sql, "42501", "not_a_question", NULL};

        judge_in(&room, "bob", &refused, 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_questions),
        cmocka_unit_test(open_questions_that_keep_the_rules),
        cmocka_unit_test(open_questions_that_break_a_rule),
        cmocka_unit_test(questions_inside_other_statements),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
