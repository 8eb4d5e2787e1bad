#include "tests/unit/policy/decide_fixture.h"

/* Statements of all kinds, names, functions and types; parameters; the places of what is forwarded. */

/* A name that an enum of a data set may have is a call that only the database can tell to be one. */
static void
types_of_data_sets(void **state)
{
    static const struct row rows[] = {
        {"SELECT 'paid'::order_status", NULL, "\"pgveil_retail$$catalog\".pgveil_cast_order_status(CAST('paid' AS", NULL},
        {"SELECT CAST('paid' AS public.order_status)", NULL, ".pgveil_cast_order_status(", NULL},
        {"SELECT '{paid}'::\"Order status\"[]", NULL, ".\"pgveil_cast_Order status[]\"(", NULL},
        {"SELECT 1 WHERE NULL::order_status IS NULL", NULL, ".pgveil_cast_order_status(", NULL},
        {"SET search_path = pg_catalog; SELECT 'paid'::integer", NULL, NULL, NULL},
        {"SELECT 'x'::nosuch.order_status", "3F000", "type", "schema \"nosuch\" does not exist"},
        {"SELECT 'x'::questions.order_status", "42704", "type", "type \"questions.order_status\" does not exist"},
        {"SELECT 'x'::pg_catalog.order_status", "42704", "type", NULL},
        {"SELECT 'x'::retail.public.order_status", "42704", "type", NULL},
        {"SELECT 'x'::order_status(3)", "42704", "type", NULL},
        {"SELECT 'x'::tsvector", "42704", "type", NULL},
        {"SELECT 'x'::_order_status", "42704", "type", NULL},
        {"SELECT * FROM json_to_record('{}') AS r(a order_status)", "42501", "function", NULL},
        {"PREPARE p (order_status) AS SELECT $1", NULL, "PREPARE p (\"unknown\") AS SELECT \"pgveil_retail$$catalog\".pgveil_cast2_order_status($1) AS \"?column?\"", NULL},
        {"PREPARE p (order_status, int4) AS SELECT $1::order_status, $2, $1", NULL,
         "AS SELECT \"pgveil_retail$$catalog\".pgveil_cast2_order_status($1) AS order_status, $2, ", NULL},
        {"PREPARE p (hidden.order_status) AS SELECT $1", "3F000", "type", "schema \"hidden\" does not exist"},
        /* Over data an enum's input would tell of each row whether its value is a label. */
        {"SELECT count(*) FROM customers WHERE region::order_status IS NOT NULL", "42704", "type", NULL},
        /* A constant is a literal there, under whatever cast. */
        {"SELECT region, count(DISTINCT customer_id) FROM customers WHERE region = 'x'::order_status GROUP BY region", NULL,
         ".pgveil_cast_order_status(", NULL},
        {"SELECT region, count(DISTINCT customer_id) FROM customers WHERE email = 'x'::order_status GROUP BY region", "42501",
         "rule", NULL},
        {"SELECT region, count(DISTINCT customer_id) FROM customers WHERE customer_id = '1'::order_status GROUP BY region",
         "42501", "rule", NULL},
    };

    (void) state;
    judge("alice", rows, PV_COUNT_OF(rows));
}

struct placed {
    const char *sql;
    const char *at;     /* what begins at the server's position in what is forwarded */
    const char *stands; /* what begins at the position in `sql`; NULL: nothing is found */
    bool is_own;
};

static void
places_of_what_is_forwarded(void **state)
{
    static const struct placed rows[] = {
        {"SELECT  lower(1)", "pg_catalog.lower", "lower", true},
        {"SELECT 1 + 'x'", "'x'", "'x'", false},
        {"SELECT  now()::integer", "CAST", "::", true},
        {"SELECT  now()::integer", "CAST", "now", false},
        {"SELECT 'é',  now() AT TIME ZONE 1", "pg_catalog.timezone", "AT TIME", true},
        {"SELECT current_user, current_user - 1", "- ", "- 1", false},
        {"SELECT current_user", "'alice'", NULL, false},
        {"SELECT 'x'::order_status", "\"pgveil_retail$$catalog\"", "order_status", true},
        {"SELECT relname - 1 FROM pg_class", "relname", "relname", false},
        {"SELECT 'pg_class'::regclass::text", "CAST", "'pg_class'", false},
        {"SELECT 1", "SELECT", NULL, false},
        {"SELECT 1", "", NULL, false},
    };
    static const char *const path[] = {"public"};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_arena *arena = pv_arena_new(0);
        struct pv_caller again = {.policy = policy, .user = "alice", .search_path = {path, 1}, .now_us = 1};
        struct pv_place place = {0};
        struct pv_decision *decisions = NULL;
        size_t count = 0, position = 0;
        const char *at;

        again.room = pv_policy_room(policy, pv_slice_cstr("retail"));
        again.member = pv_room_member(again.room, again.user);
        assert_int_equal(pv_decide_query(arena, &again, pv_slice_cstr(rows[i].sql), &decisions, &count), PV_OK);
        assert_true(decisions[0].is_allowed);
        at = rows[i].at[0] == '\0' ? strchr(decisions[0].forwarded, '\0') : strstr(decisions[0].forwarded, rows[i].at);
        if (at == NULL)
            fail_msg("%s: %s is not in %s", rows[i].sql, rows[i].at, decisions[0].forwarded);
        place.forwarded = decisions[0].forwarded;
        place.offset = (uint32_t) (at - decisions[0].forwarded);
        place.is_own = rows[i].is_own;
        again.place = &place;
        assert_int_equal(pv_decide_query(arena, &again, pv_slice_cstr(rows[i].sql), &decisions, &count), PV_OK);
        if (rows[i].stands != NULL) {
            const char *found = strstr(rows[i].sql, rows[i].stands);

            for (const char *c = rows[i].sql; c < found; c++)
                position += ((uint8_t) *c & 0xC0u) != 0x80u;
            position++;
        }
        if (place.position != position)
            fail_msg("%s: %s at %u, not %zu", rows[i].sql, rows[i].at, (unsigned) place.position, position);
        /* Of what is forwarded otherwise by now nothing is said. */
        place.forwarded = "SELECT 2";
        place.position = 0;
        assert_int_equal(pv_decide_query(arena, &again, pv_slice_cstr(rows[i].sql), &decisions, &count), PV_OK);
        assert_int_equal(place.position, 0);
        pv_arena_free(arena);
    }
}

static void
names_that_are_not_there(void **state)
{
    static const struct row rows[] = {
        {"SELECT full_name FROM customers", "42703", "no_column", "column \"full_name\" does not exist"},
        {"SELECT c.full_name FROM customers c", "42703", "no_column", "column c.full_name does not exist"},
        {"SELECT count(*) FROM customers WHERE full_name = 'x'", "42703", "no_column", "full_name"},
        {"SELECT * FROM crm.customers", "42P01", "no_relation", "relation \"crm.customers\" does not exist"},
        {"SELECT * FROM nope", "42P01", "no_relation", "relation \"nope\" does not exist"},
        {"SELECT * FROM impressions", "42P01", "no_relation", "relation \"impressions\" does not exist"},
        {"SELECT * FROM pg_authid", "42P01", "no_relation", NULL},
        {"SELECT * FROM pg_catalog.pg_stats", "42P01", "no_relation", NULL},
        {"SELECT * FROM other.public.customers", "0A000", "clause", "cross-database"},
        {"SELECT x.region FROM customers c", "42P01", "no_relation", "missing FROM-clause entry for table \"x\""},
        {"SELECT customer_id FROM customers a JOIN ads.impressions b ON a.customer_id = b.customer_id", "42702",
         "ambiguous_column", "ambiguous"},
        {"SELECT c.ctid FROM customers c", "42703", "no_column", NULL},
        {"SELECT xmin FROM customers", "42703", "no_column", NULL},
        {"SELECT g.pg_sleep FROM generate_series(1, 2) g", "42703", "no_column", NULL},
        {"SELECT * FROM questions.nope", "42P01", "no_relation", NULL},
        {"SELECT * FROM questions.explore", "42P01", "no_relation", NULL},
        {"SELECT * FROM questions.nope(a => 1)", "42883", "no_function", "function questions.nope does not exist"},
        {"SELECT questions.nope(1)", "42883", "no_function", NULL},
        {"selec 1", "42601", "syntax", "syntax error"},
        {"SELECT 1; selec 1", "42601", "syntax", NULL},
    };

    (void) state;
    judge("alice", rows, PV_COUNT_OF(rows));
}

static void
statements_that_are_no_questions(void **state)
{
    static const struct row rows[] = {
        {"INSERT INTO customers VALUES (1)", "42501", "statement_kind", "INSERT"},
        {"UPDATE customers SET region = 'x'", "42501", "statement_kind", NULL},
        {"DELETE FROM customers", "42501", "statement_kind", NULL},
        {"CREATE TEMP TABLE t (a int)", "42501", "statement_kind", "CREATE TABLE"},
        {"CREATE TABLE t AS SELECT 1", "42501", "statement_kind", NULL},
        {"SELECT 1 INTO t", "42501", "clause", "SELECT INTO"},
        {"WITH x AS (DELETE FROM customers RETURNING *) SELECT * FROM x", "42501", "clause", NULL},
        {"SELECT 1 FOR UPDATE", "42501", "clause", "FOR UPDATE"},
        {"DO $$ BEGIN END $$", "42501", "statement_kind", NULL},
        {"CALL p()", "42501", "statement_kind", NULL},
        {"COPY customers FROM STDIN", "42501", "statement_kind", "COPY"},
        {"COPY customers TO STDOUT", "42501", "statement_kind", "COPY of a relation"},
        {"COPY (SELECT 1) TO '/tmp/x'", "42501", "statement_kind", NULL},
        {"COPY (SELECT 1) TO PROGRAM 'id'", "42501", "statement_kind", NULL},
        {"COPY (SELECT 1) TO STDOUT (ENCODING 'LATIN1')", "42501", "clause", "encoding"},
        {"EXPLAIN SELECT 1", "42501", "statement_kind", NULL},
        {"SET timezone = 'X+167'", "42501", "setting", "X+167"},
        {"SET TIME ZONE INTERVAL '5'", "42501", "setting", NULL},
        {"SELECT set_config('timezone', 'A0B-100,J1/0,J300/0', false)", "42501", "setting", NULL},
        {"LOCK TABLE customers", "42501", "statement_kind", NULL},
        {"LISTEN x", "42501", "statement_kind", NULL},
        {"NOTIFY x", "42501", "statement_kind", NULL},
        {"VACUUM", "42501", "statement_kind", NULL},
        {"PREPARE TRANSACTION 'x'", "42501", "statement_kind", NULL},
        {"PREPARE p AS DELETE FROM customers", "42501", "statement_kind", NULL},
        {"EXECUTE nope", "26000", "no_prepared", "prepared statement \"nope\" does not exist"},
        {"SET ROLE postgres", "42501", "setting", "role"},
        {"SET SESSION AUTHORIZATION postgres", "42501", "setting", NULL},
        {"SET row_security = off", "42501", "setting", "row_security"},
        {"SET client_min_messages = debug1", "42501", "setting", NULL},
        {"SET client_min_messages = log", "42501", "setting", NULL},
        {"SET standard_conforming_strings = off", "42501", "setting", NULL},
        {"SET client_encoding = latin1", "42501", "setting", NULL},
        {"SET session_replication_role = replica", "42704", "setting", "unrecognized"},
        {"SET pgveil.identity = 'x'", "42501", "setting", NULL},
        {"SET server_version = '1'", "55P02", "setting", "cannot be changed"},
        {"SHOW data_directory", "42704", "setting", "unrecognized"},
        {"SET TRANSACTION SNAPSHOT 'x'", "42501", "setting", NULL},
        {"SELECT set_config('role', 'postgres', false)", "42501", "setting", NULL},
        {"SELECT set_config('client_min_messages', 'debug5', false)", "42501", "setting", NULL},
        {"SELECT set_config('pgveil.identity', '{}', false)", "42704", "setting", NULL},
    };

    (void) state;
    judge("alice", rows, PV_COUNT_OF(rows));
}

static void
functions_and_types_off_the_list(void **state)
{
    static const char *const functions[] = {
        "pg_read_file('/etc/passwd')", "pg_sleep(1)", "lo_get(1)", "pg_ls_dir('.')", 
        "query_to_xml('select 1', true, true, '')", "table_to_xml('t', true, true, '')", "dblink('x')", "nextval('s')", "pg_notify('a', 'b')",
        "pg_advisory_lock(1)", "pg_logical_emit_message(true, 'a', 'b')", "ts_stat('select 1')", "to_tsvector('x')",
        "xmlparse(document 'x')", "public.lower('x')", "evil.f()", "pg_reload_conf()", "pg_stat_file('x')",
        "pg_current_logfile()", "lo_import('/etc/passwd')", "setval('s', 1)", "has_parameter_privilege('x', 'set')",
        "pg_terminate_backend_x(1)", "current_setting('data_directory')", "pg_stat_get_activity(1)",
    };
    static const struct row rows[] = {
        {"SELECT 1 OPERATOR(evil.=) 1", "42501", "operator", "evil.="},
        {"SELECT 1 OPERATOR(pg_catalog.=) 1", NULL, "OPERATOR(pg_catalog.=)", NULL},
        {"SELECT '<a/>'::xml", "42704", "type", "type \"xml\" does not exist"},
        {"SELECT 'x'::evil.t", "3F000", "type", "schema \"evil\" does not exist"},
        {"SELECT (5::float8).pg_sleep", "42501", "clause", "Field selection"},
        {"SELECT 'crm.customers'::regclass", "42P01", "no_relation", NULL},
        {"SELECT 'customers'::regclass", NULL, "pgveil_retail$public", NULL},
        {"SELECT ('crm.' || 'customers')::regclass", NULL, "pgveil_regclass(CAST(('crm.' || 'customers') AS", NULL},
        {"SELECT g::oid::regclass FROM generate_series(1, 9) g", NULL, "pgveil_regclass(", NULL},
        {"SELECT 16385::regclass", NULL, "pgveil_regclass(", NULL},
        {"SELECT '16385'::regclass", NULL, "pgveil_regclass(", NULL},
        {"SELECT CASE WHEN true THEN 'customers'::regclass ELSE 5 END", NULL, "regclass) AS pg_catalog.oid)", NULL},
        {"SELECT 'customers'::regclass UNION ALL SELECT 5", NULL, "regclass) AS pg_catalog.oid)", NULL},
        {"SELECT x.r FROM (SELECT 'customers'::regclass AS r) x", NULL, "regclass) AS pg_catalog.oid)", NULL},
        {"SELECT ARRAY['customers'::regclass, 5]", NULL, "regclass) AS pg_catalog.oid)", NULL},
        {"SELECT '{16385}'::regclass[]", "42704", "type", NULL},
        {"SELECT '{16385}'::_regtype", "42704", "type", NULL},
        /* What PostgreSQL makes of an integer beside a looked-up type is a name of anybody's. */
        {"SELECT pg_typeof(1)", NULL, "catalog\".pgveil_write_typeof(pg_catalog.pg_typeof(1))", NULL},
        {"SELECT pg_typeof(1)::text", NULL, "CAST(\"pgveil_retail$$catalog\".pgveil_write_typeof(", NULL},
        {"SELECT 'ads.impressions'::regclass", NULL, "pgveil_show_regclass(CAST(CAST('\"pgveil_retail$ads\".impressions' AS", NULL},
        {"SELECT pg_cancel_backend(5)", NULL, "pg_cancel_backend(5, CAST(ARRAY[pg_catalog.pg_backend_pid()] AS", NULL},
        {"SELECT count(*) FROM pg_stat_activity a", NULL, "pgveil_activity(CAST('[]' AS pg_catalog.json)) AS a", NULL},
        {"SELECT 1 FROM pg_settings", NULL, "'search_path') THEN CAST('public' AS", NULL},
        {"SELECT set_config('search_path', 'ads', false)", NULL, "SELECT CAST('ads' AS pg_catalog.\"text\") AS set_config", NULL},
        {"SELECT set_config('search_path', 'ads', false) FROM pg_class", "42501", "setting", NULL},
        {"SELECT 'abs(crm.t)'::regprocedure", "42883", "no_function", NULL},
        {"SELECT coalesce(pg_typeof(1), 16385)", NULL, "CAST(pg_catalog.pg_typeof(1) AS pg_catalog.oid)", NULL},
        {"SELECT array_append(ARRAY[pg_typeof(1)], 16385)", NULL, "CAST(pg_catalog.pg_typeof(1) AS pg_catalog.oid)", NULL},
        {"SELECT btrim(ARRAY(SELECT dictname::oid::regdictionary FROM pg_ts_dict)::text, '{}')", NULL, ".pgveil_regdictionary(CAST(", NULL},
        {"SELECT ARRAY(SELECT oid::regclass FROM pg_class)::text", NULL, ".pgveil_show_regclass(CAST(", NULL},
        {"SELECT ARRAY(SELECT oid::regclass FROM pg_class)", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT (ARRAY(SELECT oid::regclass FROM pg_class) || 16385)::text", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT ARRAY(SELECT oid::regclass FROM pg_class UNION SELECT 16385)::text", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT oid::regproc FROM pg_proc UNION ALL SELECT 5::oid::regproc", NULL, "UNION ALL (SELECT \"pgveil_retail$$catalog\".pgveil_show_regproc(", NULL},
        {"SELECT oid::regproc FROM pg_proc UNION ALL SELECT 16385", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT oid::regproc FROM pg_proc UNION ALL SELECT 'abs'::regproc", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT pg_typeof(1) UNION ALL SELECT 16385", NULL, "CAST(pg_catalog.pg_typeof(1) AS pg_catalog.oid)", NULL},
        {"SELECT coalesce(to_regclass('no'), 16385)", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT coalesce(to_regtype('no'), 16385)", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT to_regrole('alice')", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT to_regnamespace('public')", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT 'public'::regnamespace", NULL, "CAST('public' AS pg_catalog.\"name\")", NULL},
        {"SELECT coalesce('public'::regnamespace, 1)", NULL, "AS pg_catalog.oid)", NULL},
        {"SELECT typinput FROM pg_type", NULL, "SELECT CAST(typinput AS pg_catalog.regproc)", NULL},
        {"SELECT t.typinput::text FROM pg_type t", NULL, "CAST(CAST(t.typinput AS pg_catalog.regproc) AS", NULL},
        {"SELECT coalesce(typinput, 16385) FROM pg_type", NULL, "SELECT COALESCE(typinput, 16385)", NULL},
        {"SELECT typinput FROM pg_type a RIGHT JOIN (SELECT 16385 AS typinput) b USING (typinput)", NULL, "SELECT typinput FROM",
         NULL},
        {"PREPARE p (regclass) AS SELECT $1", "42704", "type", NULL},
        {"PREPARE p (int, regrole[]) AS SELECT $2", "42704", "type", NULL},
        {"SELECT 16385::regnamespace", NULL, "pgveil_regnamespace(", NULL},
        {"SELECT to_regoperator('=')", "42501", "function", NULL},
        {"SELECT 'postgres'::regrole", "42704", "type", NULL},
        {"SELECT * FROM pg_class TABLESAMPLE system (10)", "42501", "clause", "TABLESAMPLE"},
        {"SELECT * FROM ONLY pg_class", "42501", "clause", "ONLY"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(functions); i++) {
        char text[256];
        const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr("retail"));
        struct pv_caller caller = {
            .policy = policy, .room = room, .member = pv_room_member(room, "alice"), .user = "alice", .now_us = 1};
        struct pv_arena *arena = pv_arena_new(0);
        struct pv_decision *decisions = NULL;
        size_t number = 0;

        (void) snprintf(text, sizeof(text), "SELECT %s", functions[i]);
        assert_int_equal(pv_decide_query(arena, &caller, pv_slice_cstr(text), &decisions, &number), PV_OK);
        if (decisions[0].is_allowed)
            fail_msg("%s was allowed", text);
        pv_arena_free(arena);
    }
    judge("alice", rows, PV_COUNT_OF(rows));
}

static void
what_needs_no_data(void **state)
{
    static const struct row rows[] = {
        {"", NULL, "", NULL},
        {"-- nothing", NULL, "", NULL},
        {"SELECT 1", NULL, "SELECT 1", NULL},
        {"SELECT current_database()", NULL, "'retail'", NULL},
        {"SELECT current_user", NULL, "'alice'", NULL},
        {"SELECT session_user, current_schema()", NULL, "'public'", NULL},
        {"SELECT current_setting('search_path')", NULL, "'public'", NULL},
        {"SHOW search_path", NULL, "SHOW search_path", NULL},
        {"SET search_path TO ads, public", NULL, "pgveil.search_path", NULL},
        {"SET TimeZone = 'UTC'", NULL, "'UTC'", NULL},
        {"SET TIME ZONE INTERVAL '1' HOUR", NULL, NULL, NULL},
        {"SET work_mem = '1GB'", NULL, "SET pgveil.work_mem TO '1GB'", NULL},
        {"SHOW work_mem", NULL, "current_setting('pgveil.work_mem', TRUE)", NULL},
        {"RESET work_mem", NULL, "RESET pgveil.work_mem", NULL},
        {"SET client_encoding TO 'UTF8'", NULL, "pgveil.client_encoding", NULL},
        {"BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE", NULL, "BEGIN", NULL},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", NULL, NULL, NULL},
        {"SAVEPOINT a; RELEASE a", NULL, NULL, NULL},
        {"DISCARD ALL", NULL, "DISCARD ALL", NULL},
        {"UNLISTEN *", NULL, "UNLISTEN *", NULL},
        {"SELECT relname FROM pg_class WHERE relkind = 'r'", NULL, "pgveil_retail$$catalog", NULL},
        {"SELECT table_name FROM information_schema.tables", NULL, "pgveil_retail$$catalog", NULL},
        {"SELECT tableoid FROM pg_class", NULL, NULL, NULL},
        {"SELECT (information_schema._pg_expandarray(ARRAY[1, 2])).n", NULL, NULL, NULL},
        {"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t", NULL, NULL, NULL},
        {"SELECT a.oid FROM pg_class a, LATERAL (SELECT a.oid AS x) b", NULL, NULL, NULL},
        {"PREPARE p (int) AS SELECT $1; EXECUTE p (1)", NULL, "EXECUTE p (1)", NULL},
        {"DECLARE c CURSOR WITH HOLD FOR SELECT 1; FETCH 1 FROM c; CLOSE c", NULL, NULL, NULL},
        {"COPY (SELECT 1) TO STDOUT WITH (FORMAT csv, HEADER)", NULL, "COPY (SELECT 1) TO STDOUT", NULL},
        {"/* a */ SELECT /*+ hint */ 1 -- b", NULL, "SELECT 1", NULL},
    };

    (void) state;
    judge("alice", rows, PV_COUNT_OF(rows));
}

static void
parse_knows_its_parameters(void **state)
{
    static const char *const path[] = {"public"};
    const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr("retail"));
    struct pv_caller caller = {.policy = policy,
                               .room = room,
                               .member = pv_room_member(room, "alice"),
                               .user = "alice",
                               .search_path = {path, 1},
                               .now_us = 1};
    static const uint32_t declared[] = {25};
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_decision decision;

    (void) state;
    assert_int_equal(pv_decide_parse(arena, &caller, pv_slice_cstr("SELECT * FROM questions.reach(since => $1)"), declared, 1,
                                     &decision),
                     PV_OK);
    assert_true(decision.is_allowed);
    assert_int_equal(decision.parameter_count, 1);
    assert_string_equal(decision.parameters[0]->name, "since");
    assert_int_equal(decision.parameter_oids[0], 1082); /* date, whatever was declared */
    assert_true(decision.is_redacted);
    assert_int_equal(decision.timeout_ms, 60000);
    assert_int_equal(decision.datasets.count, 2);
    assert_int_equal(pv_decide_parse(arena, &caller, pv_slice_cstr("SELECT $2::int, $1"), declared, 1, &decision), PV_OK);
    assert_true(decision.is_allowed);
    assert_int_equal(decision.parameter_count, 2);
    assert_null(decision.parameters[0]);
    assert_int_equal(decision.parameter_oids[0], 25);
    assert_int_equal(decision.parameter_oids[1], 0);
    assert_int_equal(pv_decide_parse(arena, &caller, pv_slice_cstr("SELECT 1; SELECT 2"), NULL, 0, &decision), PV_OK);
    assert_false(decision.is_allowed);
    assert_string_equal(decision.sqlstate, "42601");
    pv_arena_free(arena);
}

static void
every_allocation_may_fail(void **state)
{
    static const char *const texts[] = {
        "SELECT * FROM questions.reach(since => '2024-06-01')",
        "SELECT region, count(*) FROM customers JOIN ads.impressions USING (customer_id) GROUP BY 1",
        "SELECT relname FROM pg_class WHERE oid = 'customers'::regclass",
        "SELECT full_name FROM customers",
        ("WITH x AS (SELECT * FROM customers) SELECT x.region, count(*) FILTER (WHERE y.region LIKE 'a%') FROM x JOIN x y USING "
         "(customer_id) WHERE x.birth_date::date > now() - INTERVAL '1 day' GROUP BY 1"),
        "WITH q AS (" TWICE " LIMIT 3) SELECT * FROM q",
    };
    static const char *const path[] = {"public"};
    struct pv_room room = *pv_policy_room(policy, pv_slice_cstr("retail"));
    struct pv_caller caller = {.policy = policy,
                               .room = &room,
                               .member = pv_room_member(&room, "alice"),
                               .user = "alice",
                               .search_path = {path, 1},
                               .now_us = 1};

    (void) state;
    room.is_embedding = true;
    for (size_t i = 0; i < PV_COUNT_OF(texts); i++) {
        bool is_done = false;

        for (long nth = 1; !is_done; nth++) {
            struct pv_arena *arena = pv_arena_new(256);
            struct pv_decision *decisions = NULL;
            size_t count = 0;
            enum pv_status status;

            assert_non_null(arena);
            assert_true(nth < 5000);
            pv_alloc_fail_at(nth);
            status = pv_decide_query(arena, &caller, pv_slice_cstr(texts[i]), &decisions, &count);
            is_done = status == PV_OK;
            pv_alloc_fail_at(0);
            if (!is_done)
                assert_int_equal(status, PV_NOMEM);
            else if (decisions[0].is_allowed != (i != 3))
                fail_msg("allocation %ld of %s: %s %s", nth, texts[i], pv_reason_code(decisions[0].reason), decisions[0].message);
            pv_arena_free(arena);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_are_not_there),
        cmocka_unit_test(types_of_data_sets),
        cmocka_unit_test(places_of_what_is_forwarded),
        cmocka_unit_test(statements_that_are_no_questions),
        cmocka_unit_test(functions_and_types_off_the_list),
        cmocka_unit_test(what_needs_no_data),
        cmocka_unit_test(parse_knows_its_parameters),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
