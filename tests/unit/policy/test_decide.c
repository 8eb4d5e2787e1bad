#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parser/parse.h"
#include "policy/decide.h"
#include "policy/policy.h"
#include "proxy/base/arena.h"
#include "tests/unit/policy/room_fixture.h"

/*
 * The judgement by table: what is asked, and what must come of it. A row that is allowed names text that the forwarded SQL
 * must hold; one that is denied names the SQLSTATE, the reason's code, and text of message or detail.
 * Whatever is forwarded is parsed again and may name views of the room and catalogs only.
 */

static struct pv_policy *policy;

static int
load(void **state)
{
    (void) state;
    policy = fixture_load();
    return policy == NULL ? -1 : 0;
}

static int
unload(void **state)
{
    (void) state;
    pv_policy_unref(policy);
    fixture_remove();
    return 0;
}

struct row {
    const char *sql;
    const char *sqlstate; /* NULL: allowed */
    const char *code;     /* denied: reason code; allowed: text that must be forwarded, or NULL */
    const char *words;    /* denied: part of message or detail */
};

static void
judge_in(const struct pv_room *room, const char *user, const struct row *rows, size_t count)
{
    static const char *const path[] = {"public"};
    struct pv_caller caller = {.policy = policy,
                               .room = room,
                               .member = pv_room_member(room, user),
                               .user = user,
                               .search_path = {path, 1},
                               .now_us = 1};

    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        struct pv_arena *arena = pv_arena_new(0);
        struct pv_decision *decisions = NULL;
        const struct pv_decision *got;
        size_t number = 0;
        bool is_right;

        assert_int_equal(pv_decide_query(arena, &caller, pv_slice_cstr(row->sql), &decisions, &number), PV_OK);
        got = &decisions[number - 1];
        if (row->sqlstate == NULL) {
            is_right = got->is_allowed && (row->code == NULL || strstr(got->forwarded, row->code) != NULL);
            if (is_right && got->forwarded[0] != '\0') {
                struct pv_sql *again = NULL;

                assert_int_equal(pv_sql_parse(pv_slice_cstr(got->forwarded), &pv_sql_limits_default, &again, NULL),
                                 PV_OK);
                pv_sql_free(again);
                /* No source relation is ever named, but within a string. */
                assert_null(strstr(got->forwarded, " crm."));
            }
        } else {
            is_right = !got->is_allowed && strcmp(got->sqlstate, row->sqlstate) == 0 &&
                       strcmp(pv_reason_code(got->reason), row->code) == 0 &&
                       (row->words == NULL || strstr(got->message, row->words) != NULL ||
                        (got->detail != NULL && strstr(got->detail, row->words) != NULL)) &&
                       got->forwarded == NULL;
        }
        if (!is_right)
            fail_msg("%s\n  gave %s %s %s | %s | %s | %s", row->sql, got->is_allowed ? "allowed" : "denied",
                     got->sqlstate == NULL ? "" : got->sqlstate, pv_reason_code(got->reason),
                     got->message == NULL ? "" : got->message, got->detail == NULL ? "" : got->detail,
                     got->forwarded == NULL ? "" : got->forwarded);
        pv_arena_free(arena);
    }
}

static void
judge(const char *user, const struct row *rows, size_t count)
{
    judge_in(pv_policy_room(policy, pv_slice_cstr("retail")), user, rows, count);
}

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

#define REACH                                                                                                       \
    "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING " \
    "(customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region"
#define TWICE "SELECT email FROM public.customers WHERE region = 'North' OR lower(region) = 'North' ORDER BY 1"

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
        cmocka_unit_test(fixed_questions),
        cmocka_unit_test(open_questions_that_keep_the_rules),
        cmocka_unit_test(open_questions_that_break_a_rule),
        cmocka_unit_test(questions_inside_other_statements),
        cmocka_unit_test(parse_knows_its_parameters),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
