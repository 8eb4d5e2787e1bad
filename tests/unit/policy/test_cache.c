#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/cache.h"
#include "policy/cache_int.h"
#include "policy/repeat.h"
#include "policy/standing.h"
#include "proxy/base/arena.h"
#include "tests/unit/files.h"

/*
 * What the cache gives is what a fresh judgement gives: for every statement, every caller, in every order, whether the
 * cache has room for one entry or for all. Compared field by field.
 */

static const char config_text[] =
    "{\"listen\": [\"127.0.0.1:6432\"], \"upstreams\": {\"main\": {\"host\": \"127.0.0.1\", \"dbname\": \"w\", "
    "\"user\": \"p\", \"sslmode\": \"disable\"}}, \"users\": \"users.json\", \"rooms\": \"rooms\", \"state\": "
    "\"s.db\", \"pool\": {\"auto_prepare\": 5}}";
static const char users_text[] = "{\"alice\": {\"cert_cn\": \"alice\"}, \"bob\": {\"cert_cn\": \"bob\"}}";
#define ROOM(name, expiry) \
    "{\"room\": \"" name "\", \"upstream\": \"main\", " expiry "\"parties\": {\"acme\": {}, \"mega\": {}}," \
    "\"members\": {\"alice\": {\"party\": \"acme\", \"roles\": [\"analyst\"]}, \"bob\": {\"party\": \"mega\"}}," \
    "\"datasets\": {" \
    "\"public.accounts\": {\"owner\": \"mega\", \"columns\": {\"aid\": {\"category\": 1}, \"abalance\": " \
    "{\"category\": 1}," \
    " \"filler\": {\"category\": 2}, \"name\": {\"category\": 1}, \"day\": {\"category\": 1}}}," \
    "\"other.accounts\": {\"owner\": \"mega\", \"columns\": {\"aid\": {\"category\": 1}, \"abalance\": " \
    "{\"category\": 1}}}}," \
    "\"questions\": {" \
    "\"balance\": {\"type\": \"list\", \"sql\": \"SELECT abalance FROM accounts WHERE aid = :aid\"," \
    " \"parameters\": {\"aid\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 100000}}}," \
    "\"named\": {\"type\": \"list\", \"sql\": \"SELECT aid FROM accounts WHERE name = :name AND abalance > 5\"," \
    " \"parameters\": {\"name\": {\"type\": \"text\", \"max_length\": 8}}, \"members\": [\"user:alice\"]}," \
    "\"twice\": {\"type\": \"list\", \"sql\": \"SELECT aid FROM accounts WHERE aid = :n OR abalance = :n\"," \
    " \"parameters\": {\"n\": {\"type\": \"integer\"}}}," \
    "\"two\": {\"type\": \"list\", \"sql\": \"SELECT aid, day FROM accounts WHERE day >= :since AND aid < :top ORDER " \
    "BY 1\"," \
    " \"parameters\": {\"since\": {\"type\": \"date\"}, \"top\": {\"type\": \"bigint\"}}}," \
    "\"listed\": {\"type\": \"list\", \"sql\": \"SELECT day FROM accounts WHERE aid = ANY (:ids)\"," \
    " \"parameters\": {\"ids\": {\"type\": \"integer[]\", \"max_items\": 3}}}," \
    "\"elsewhere\": {\"type\": \"list\", \"sql\": \"SELECT aid FROM other.accounts WHERE abalance = :b\"," \
    " \"parameters\": {\"b\": {\"type\": \"numeric\", \"maximum\": 10}}}}}"

static struct pv_policy *policy, *policy_again;
static char folder[64];

static int
load(void **state)
{
    char path[160];
    struct pv_faults *faults = pv_faults_new();

    (void) state;
    (void) snprintf(folder, sizeof(folder), "/tmp/pv_cache_XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void) snprintf(path, sizeof(path), "%s/rooms", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    file_write_in(folder, "pgveil.json", config_text);
    file_write_in(folder, "users.json", users_text);
    file_write_in(folder, "rooms/one.json", ROOM("one", ""));
    file_write_in(folder, "rooms/two.json", ROOM("two", "\"expires\": \"2030-01-01T00:00:00Z\", "));
    (void) snprintf(path, sizeof(path), "%s/pgveil.json", folder);
    if (pv_policy_load(path, faults, &policy) != PV_OK || pv_policy_load(path, faults, &policy_again) != PV_OK)
        for (size_t i = 0; i < pv_faults_total(faults); i++)
            print_error("%s: %s\n", pv_faults_at(faults, i)->file, pv_faults_at(faults, i)->message);
    pv_faults_free(faults);
    return policy == NULL || policy_again == NULL ? -1 : 0;
}

static int
unload(void **state)
{
    static const char *const names[] = {"pgveil.json", "users.json", "rooms/one.json", "rooms/two.json"};
    char path[160];

    (void) state;
    pv_policy_unref(policy);
    pv_policy_unref(policy_again);
    for (size_t i = 0; i < PV_COUNT_OF(names); i++) {
        (void) snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    (void) snprintf(path, sizeof(path), "%s/rooms", folder);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

/* ---- Comparing ---- */

static bool
same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_names(struct pv_names a, struct pv_names b)
{
    if (a.count != b.count)
        return false;
    for (size_t i = 0; i < a.count; i++)
        if (!same_text(a.names[i], b.names[i]))
            return false;
    return true;
}

static bool
same_parameters(const struct pv_decision *a, const struct pv_decision *b)
{
    if (a->parameter_count != b->parameter_count)
        return false;
    for (size_t i = 0; i < a->parameter_count; i++)
        if (a->parameters[i] != b->parameters[i] || a->parameter_oids[i] != b->parameter_oids[i])
            return false;
    return true;
}

static bool
same_decision(const struct pv_decision *a, const struct pv_decision *b)
{
    return a->is_allowed == b->is_allowed && a->kind == b->kind && a->reason == b->reason &&
           pv_slice_equal(a->text, b->text) && same_text(a->sqlstate, b->sqlstate) &&
           same_text(a->message, b->message) && same_text(a->detail, b->detail) && same_text(a->hint, b->hint) &&
           a->position == b->position && same_text(a->forwarded, b->forwarded) &&
           same_text(a->show_value, b->show_value) && a->question == b->question &&
           same_names(a->datasets, b->datasets) && same_names(a->columns, b->columns) && same_parameters(a, b) &&
           a->is_redacted == b->is_redacted && a->timeout_ms == b->timeout_ms && same_text(a->name, b->name) &&
           same_text(a->setting, b->setting) && same_text(a->value, b->value) &&
           same_names(a->questions, b->questions) && a->budget_count == b->budget_count;
}

static void
compare_query(const struct pv_caller *cached, const char *sql)
{
    struct pv_arena *arena = pv_arena_new(0), *fresh_arena = pv_arena_new(0);
    struct pv_caller fresh = *cached;
    struct pv_decision *a = NULL, *b = NULL;
    size_t a_count = 0, b_count = 0;

    fresh.cache = NULL;
    assert_int_equal(pv_cache_query(arena, cached, pv_slice_cstr(sql), &a, &a_count), PV_OK);
    assert_int_equal(pv_decide_query(fresh_arena, &fresh, pv_slice_cstr(sql), &b, &b_count), PV_OK);
    assert_int_equal(a_count, b_count);
    for (size_t i = 0; i < a_count; i++)
        if (!same_decision(&a[i], &b[i]))
            fail_msg("%s, as %s\n  cached %s | %s\n  fresh  %s | %s", sql, cached->user,
                     a[i].forwarded == NULL ? "" : a[i].forwarded, a[i].message == NULL ? "" : a[i].message,
                     b[i].forwarded == NULL ? "" : b[i].forwarded, b[i].message == NULL ? "" : b[i].message);
    pv_arena_free(arena);
    pv_arena_free(fresh_arena);
}

static void
compare_parse(const struct pv_caller *cached, const char *sql, const uint32_t *oids, size_t oid_count)
{
    struct pv_arena *arena = pv_arena_new(0), *fresh_arena = pv_arena_new(0);
    struct pv_caller fresh = *cached;
    struct pv_decision a, b;

    fresh.cache = NULL;
    assert_int_equal(pv_cache_parse(arena, cached, pv_slice_cstr(sql), oids, oid_count, &a), PV_OK);
    assert_int_equal(pv_decide_parse(fresh_arena, &fresh, pv_slice_cstr(sql), oids, oid_count, &b), PV_OK);
    if (!same_decision(&a, &b))
        fail_msg("parse of %s", sql);
    pv_arena_free(arena);
    pv_arena_free(fresh_arena);
}

/* ---- What is asked ---- */

static const char *const statements[] = {
    "SELECT abalance FROM accounts WHERE aid = \001",
    "SELECT aid FROM accounts WHERE name = \002 AND abalance > \001",
    "SELECT abalance FROM accounts WHERE aid = 1",
    "SELECT abalance FROM accounts WHERE aid = 2",
    "SELECT abalance FROM accounts WHERE aid = 2;",
    "  SELECT abalance FROM accounts WHERE aid = 77  ; ",
    "SELECT abalance FROM accounts WHERE aid = 0",
    "SELECT abalance FROM accounts WHERE aid = 100001",
    "SELECT abalance FROM accounts WHERE aid = 007",
    "SELECT abalance FROM accounts WHERE aid = 7.5",
    "SELECT abalance FROM accounts WHERE aid = 9999999999",
    "SELECT abalance FROM accounts WHERE aid = -5",
    "SELECT abalance FROM accounts WHERE aid = '12'",
    "SELECT abalance FROM accounts WHERE aid = '013'",
    "SELECT abalance FROM accounts WHERE aid = 'x'",
    "SELECT abalance FROM accounts WHERE aid = 12::integer",
    "SELECT abalance FROM accounts WHERE aid = '12'::text",
    "SELECT abalance FROM accounts WHERE aid = 1 + 1",
    "SELECT abalance FROM accounts WHERE aid = NULL",
    "SELECT abalance FROM accounts WHERE aid = 5 -- why",
    "SELECT abalance FROM accounts WHERE aid = 5 /* ; */",
    "SELECT abalance AS b FROM accounts a WHERE a.aid = 9",
    "SELECT abalance AS b FROM accounts a WHERE a.aid = 10",
    "SELECT abalance AS \"x'1\" FROM accounts WHERE aid = 10",
    "SELECT abalance FROM other.accounts WHERE aid = 1",
    "SELECT filler FROM accounts WHERE aid = 1",
    "SELECT aid FROM accounts WHERE name = 'ann' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = 'bob' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = 'bob' AND abalance > 6",
    "SELECT aid FROM accounts WHERE name = 'o''hara' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = E'a\\tb' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = 'toolongname' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = 'a'\n'b' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = 'c'\n'b' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = U&'x' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = $$x$$ AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = '' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = '\xC3\xA4' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = 'ann' AND abalance > 5 OR 1=1",
    "SELECT aid FROM accounts WHERE name = 'x' -- ' AND abalance > 5",
    "SELECT aid FROM accounts WHERE name = 5 AND abalance > 5",
    "SELECT aid FROM accounts WHERE aid = 3 OR abalance = 3",
    "SELECT aid FROM accounts WHERE aid = 4 OR abalance = 3",
    "SELECT aid FROM accounts WHERE aid = 4 OR abalance = 4",
    "SELECT aid FROM accounts WHERE aid = 3 OR abalance = 4",
    "SELECT aid, day FROM accounts WHERE day >= '2024-01-01' AND aid < 5 ORDER BY 1",
    "SELECT aid, day FROM accounts WHERE day >= '2024-02-30' AND aid < 5 ORDER BY 1",
    "SELECT aid, day FROM accounts WHERE day >= '2024-02-03' AND aid < 6 ORDER BY 1",
    "SELECT aid, day FROM accounts WHERE day >= '2024-02-03' AND aid < 6 ORDER BY 2",
    "SELECT aid, day FROM accounts WHERE day >= date '2024-02-03' AND aid < 6 ORDER BY 1",
    "SELECT day FROM accounts WHERE aid = ANY (ARRAY[1, 2])",
    "SELECT day FROM accounts WHERE aid = ANY ('{1,2}')",
    "SELECT day FROM accounts WHERE aid = ANY ('{1,3}')",
    "SELECT day FROM accounts WHERE aid = ANY (ARRAY[1,2,3,4])",
    "SELECT aid FROM other.accounts WHERE abalance = 7",
    "SELECT aid FROM other.accounts WHERE abalance = 8",
    "SELECT aid FROM other.accounts WHERE abalance = 11",
    "SELECT aid FROM accounts WHERE abalance = 8",
    "SELECT 1",
    "SELECT 2",
    "SELECT 'a'",
    "SELECT current_user",
    "SELECT current_schema()",
    "SELECT pg_backend_pid()",
    "SELECT now()",
    "SELECT * FROM questions.balance(aid => 3)",
    "SELECT * FROM questions.balance(aid => 4)",
    "SELECT * FROM questions.balance(3)",
    "SELECT current_setting('search_path')",
    "SELECT relname FROM pg_class",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "BEGIN; SELECT 1; COMMIT",
    "SET application_name = 'x'",
    "SHOW search_path",
    "EXECUTE p(1)",
    "PREPARE p AS SELECT abalance FROM accounts WHERE aid = 3",
    "DEALLOCATE p",
    "DISCARD ALL",
    "COPY (SELECT abalance FROM accounts WHERE aid = 3) TO STDOUT",
    "COPY (SELECT abalance FROM accounts WHERE aid = 4) TO STDOUT",
    "SELECT abalance FROM accounts WHERE aid = 1; SELECT abalance FROM accounts WHERE aid = 2",
    "",
    ";",
    " -- nothing",
    "SELEC 1",
    "SELECT $1",
    "SELECT abalance FROM accounts WHERE aid = $1",
    "INSERT INTO accounts VALUES (1)",
    "SELECT \xff",
    "SELECT 'unfinished",
    "SELECT aid FROM accounts WHERE name = 'a' 'b' AND abalance > 5",
};

static struct pv_caller
caller_of(const struct pv_policy *of, const char *room, const char *user, const struct pv_names *path, int64_t now_us,
          struct pv_cache *cache)
{
    struct pv_caller caller = {.policy = of,
                               .room = pv_policy_room(of, pv_slice_cstr(room)),
                               .user = user,
                               .search_path = *path,
                               .now_us = now_us,
                               .cache = cache};

    caller.member = pv_room_member(caller.room, user);
    return caller;
}

static void
ask_all(struct pv_cache *cache, unsigned seed)
{
    static const char *const first[] = {"public"}, *const second[] = {"other", "public"};
    const struct pv_names paths[] = {{first, 1}, {second, 2}, {NULL, 0}};
    static const char *const users[] = {"alice", "bob"}, *const rooms[] = {"one", "two"};
    const uint32_t oids[] = {23, 0};
    /* 2030-01-01 is 1893456000. */
    const int64_t times[] = {1000000, INT64_C(1893456000000000) - 1, INT64_C(1893456000000000)};

    srand(seed);
    for (int round = 0; round < 6000; round++) {
        const char *sql = statements[(size_t) rand() % PV_COUNT_OF(statements)];
        struct pv_caller caller = caller_of(rand() % 1000 == 0 ? policy_again : policy, rooms[rand() % 2],
                                            users[rand() % 2], &paths[rand() % 3], times[rand() % 3], cache);

        if (rand() % 3 == 0)
            compare_parse(&caller, sql, oids, (size_t) rand() % 3);
        else
            compare_query(&caller, sql);
    }
}

static void
cached_is_fresh(void **state)
{
    const size_t sizes[] = {0, 200 * 1024, 40 * 1024, 1};
    struct pv_cache_stats stats;

    (void) state;
    for (unsigned i = 0; i < PV_COUNT_OF(sizes); i++) {
        struct pv_cache *cache = pv_cache_new(sizes[i]);

        assert_non_null(cache);
        ask_all(cache, i + 1);
        pv_cache_stats(cache, &stats);
        assert_true(stats.bytes <= (sizes[i] == 0 ? 16u * 1024u * 1024u : sizes[i]));
        if (sizes[i] == 0) {
            assert_true(stats.hits > 400);
            assert_true(stats.shape_hits > 20);
        }
        pv_cache_free(cache);
    }
}

/* Numbers that never come twice: the road of `pgbench -S`. */
static void
shapes_hit(void **state)
{
    static const char *const first[] = {"public"};
    const struct pv_names path = {first, 1};
    struct pv_cache *cache = pv_cache_new(0);
    struct pv_caller caller = caller_of(policy, "one", "alice", &path, 1, cache);
    struct pv_cache_stats stats;
    char sql[200];

    (void) state;
    for (int i = 1; i <= 500; i++) {
        (void) snprintf(sql, sizeof(sql), "SELECT abalance FROM accounts WHERE aid = %d;", i * 211 % 100003);
        compare_query(&caller, sql);
        (void) snprintf(sql, sizeof(sql),
                        "select aid, day from accounts where day >= '20%02d-%02d-11' and aid < %d order by 1",
                        i % 90 + 10, i % 14, i);
        compare_query(&caller, sql);
    }
    pv_cache_stats(cache, &stats);
    assert_int_equal(stats.hits + stats.shape_hits + stats.misses, 1000);
    assert_true(stats.shape_hits > 900);
    pv_cache_free(cache);
}

/* What was given out outlives the cache and its entry. */
static void
decisions_outlive(void **state)
{
    static const char *const first[] = {"public"};
    const struct pv_names path = {first, 1};
    struct pv_cache *cache = pv_cache_new(0);
    struct pv_caller caller = caller_of(policy, "one", "alice", &path, 1, cache);
    struct pv_arena *arenas[3];
    struct pv_decision *decisions[3];
    size_t number;

    (void) state;
    for (size_t i = 0; i < 3; i++) {
        arenas[i] = pv_arena_new(0);
        assert_int_equal(pv_cache_query(arenas[i], &caller,
                                        pv_slice_cstr(i == 1 ? "SELECT abalance FROM accounts WHERE aid = 2"
                                                             : "SELECT abalance FROM accounts WHERE aid = 1"),
                                        &decisions[i], &number),
                         PV_OK);
    }
    pv_cache_free(cache);
    assert_non_null(strstr(decisions[0]->forwarded, "'1'"));
    assert_non_null(strstr(decisions[1]->forwarded, "'2'"));
    assert_string_equal(decisions[0]->forwarded, decisions[2]->forwarded);
    for (size_t i = 0; i < 3; i++)
        pv_arena_free(arenas[i]);
}

static void
every_allocation_fails(void **state)
{
    static const char *const first[] = {"public"};
    const struct pv_names path = {first, 1};
    bool was_refused = true;

    (void) state;
    for (size_t nth = 1; was_refused; nth++) {
        struct pv_cache *cache = pv_cache_new(0);
        struct pv_caller caller = caller_of(policy, "one", "alice", &path, 1, cache);

        was_refused = false;
        for (int i = 1; i < 4; i++) {
            struct pv_arena *arena = pv_arena_new(0);
            struct pv_decision *decisions = NULL;
            size_t number = 0;
            char sql[80];
            enum pv_status status;

            (void) snprintf(sql, sizeof(sql), "SELECT abalance FROM accounts WHERE aid = %d", i / 2);
            pv_alloc_fail_at((long) nth);
            status = pv_cache_query(arena, &caller, pv_slice_cstr(sql), &decisions, &number);
            pv_alloc_fail_at(0);
            assert_true(status == PV_OK || status == PV_NOMEM);
            was_refused = was_refused || status == PV_NOMEM || nth < 40;
            pv_arena_free(arena);
        }
        compare_query(&caller, "SELECT abalance FROM accounts WHERE aid = 5");
        pv_cache_free(cache);
    }
}

static void
shape_row(const char *text, const char *wanted)
{
    struct pv_buf shape = {0};
    struct pv_slot slots[PV_SLOTS_MAX];
    size_t number = 0;
    bool is_one = pv_shape_of(pv_slice_cstr(text), &shape, slots, &number);

    if (is_one != (wanted != NULL) || (is_one && strcmp(pv_buf_text(&shape), wanted) != 0))
        fail_msg("%s gave %s", text, is_one ? pv_buf_text(&shape) : "none");
    pv_buf_clear(&shape);
}

static void
shapes(void **state)
{
    (void) state;
    shape_row("a = 1", "a = \001");
    shape_row("a = 'x' and b=12", "a = \002 and b=\001");
    shape_row("a1 = 1x", NULL); /* joined to a word: left as it is, and nothing else is a constant */
    shape_row("a1 = 1x and b = 3", "a1 = 1x and b = \001");
    shape_row("1.5 007 1234567890 1e5 .5 5. 0", "1.5 007 1234567890 1e5 .5 5. \001");
    shape_row("\"a 5\" = 5", "\"a 5\" = \001");
    shape_row("\"a\"\"b\" = 5", NULL);
    shape_row("x = 'a''b'", NULL);
    shape_row("x = E'a'", NULL);
    shape_row("x = U&'a'", NULL);
    shape_row("x = 'a\\'", NULL);
    shape_row("x = $$5$$", NULL);
    shape_row("x = 5 -- y", NULL);
    shape_row("x = 5 /* y */", NULL);
    shape_row("x = 'open", NULL);
    shape_row("x = '\xC3\xA4'", NULL);
    shape_row("x = '5'5", NULL);
    shape_row("x = 5'5'", NULL);
    shape_row("none", NULL);
}

/* What a text that comes again may be prepared as: from its second time on, by its shape or as it stands. */
static void
comes_again(void **state)
{
    static const char *const first[] = {"public"};
    static const struct {
        const char *sqls[2];
        const char *prepared; /* NULL: nothing */
        const char *values[2];
        uint32_t oids[2];
    } rows[] = {
        {{"SELECT abalance FROM accounts WHERE aid = 17;", "SELECT abalance FROM accounts WHERE aid = 4711;"},
         "WHERE (aid = CAST($1 AS pg_catalog.int4))",
         {"4711"},
         {23}},
        {{"SELECT aid, day FROM accounts WHERE day >= '2024-01-31' AND aid < 9 ORDER BY 1",
          "SELECT aid, day FROM accounts WHERE day >= '2024-02-01' AND aid < 10 ORDER BY 1"},
         "CAST($1 AS date)) AND (aid < CAST($2 AS pg_catalog.int8)))",
         {"2024-02-01", "10"},
         {1082, 20}},
        {{"SELECT aid FROM accounts WHERE aid = 3 OR abalance = 3", "SELECT aid FROM accounts WHERE aid = 3 OR abalance = 3"},
         "(aid = CAST('3' AS pg_catalog.int4))",
         {NULL},
         {0}},
        {{"SELECT 17", "SELECT 17"}, NULL, {NULL}, {0}},
        {{"SELECT filler FROM accounts", "SELECT filler FROM accounts"}, NULL, {NULL}, {0}},
        {{"BEGIN", "BEGIN"}, NULL, {NULL}, {0}},
    };
    const struct pv_names path = {first, 1};

    (void) state;
    for (size_t k = 0; k < PV_COUNT_OF(rows); k++) {
        struct pv_cache *cache = pv_cache_new(0);
        struct pv_caller caller = caller_of(policy, "one", "alice", &path, 1, cache);
        struct pv_arena *arenas[2];
        struct pv_decision *waiting = NULL;

        for (size_t i = 0; i < 2; i++) {
            struct pv_arena *arena = arenas[i] = pv_arena_new(1024);
            struct pv_decision *decisions = NULL;
            const struct pv_repeat *repeat;
            size_t number = 0;

            assert_int_equal(pv_cache_query(arena, &caller, pv_slice_cstr(rows[k].sqls[i]), &decisions, &number), PV_OK);
            repeat = decisions[0].repeat;
            if (i == 0)
                waiting = decisions;
            if (i == 0 || rows[k].prepared == NULL) {
                assert_null(repeat);
            } else {
                assert_non_null(repeat);
                if (strstr(pv_repeat_text(repeat), rows[k].prepared) == NULL)
                    fail_msg("%s", pv_repeat_text(repeat));
                assert_int_equal(repeat->count, (rows[k].values[0] != NULL) + (rows[k].values[1] != NULL));
                for (size_t n = 0; n < repeat->count; n++) {
                    assert_int_equal(repeat->oids[n], rows[k].oids[n]);
                    assert_true(pv_slice_is(decisions[0].repeat_values[n], rows[k].values[n]));
                }
            }
        }
        /* The first of them may not have been sent by then: it has no values to go with. */
        assert_true(waiting->repeat == NULL || waiting->repeat->count == 0);
        pv_arena_free(arenas[0]);
        pv_arena_free(arenas[1]);
        pv_cache_free(cache);
    }
}

/* Of a Parse: what is sent, with the types that are declared for it. */
static void
parses_come_again(void **state)
{
    static const char *const first[] = {"public"};
    static const struct {
        const char *sql;
        uint32_t declared[2];
        size_t declared_count;
        bool is_prepared;
        uint32_t oids[2];
        size_t count;
    } rows[] = {
        {"SELECT abalance FROM accounts WHERE aid = $1", {23}, 1, true, {23}, 1},
        {"SELECT aid, day FROM accounts WHERE day >= $1 AND aid < $2 ORDER BY 1", {0, 20}, 2, true, {1082, 20}, 2},
        {"SELECT aid FROM accounts WHERE aid = 3 OR abalance = 3", {0}, 0, true, {0}, 0},
        {"SELECT $1::int", {23}, 1, false, {0}, 0},
        {"SELECT filler FROM accounts", {0}, 0, false, {0}, 0},
        /* By its shape: its constants are no parameters of the client's. */
        {"SELECT abalance FROM accounts WHERE aid = 17", {0}, 0, false, {0}, 0},
    };
    const struct pv_names path = {first, 1};

    (void) state;
    for (size_t k = 0; k < PV_COUNT_OF(rows); k++) {
        struct pv_cache *cache = pv_cache_new(0);
        struct pv_caller caller = caller_of(policy, "one", "alice", &path, 1, cache);

        for (size_t i = 0; i < 3; i++) {
            struct pv_arena *arena = pv_arena_new(1024);
            struct pv_decision decision;

            assert_int_equal(pv_cache_parse(arena, &caller, pv_slice_cstr(rows[k].sql), rows[k].declared,
                                            rows[k].declared_count, &decision),
                             PV_OK);
            if (i == 0 || !rows[k].is_prepared) {
                assert_null(decision.repeat);
            } else {
                assert_non_null(decision.repeat);
                assert_null(decision.repeat_values);
                assert_string_equal(pv_repeat_text(decision.repeat), decision.forwarded);
                assert_int_equal(decision.repeat->count, rows[k].count);
                for (size_t n = 0; n < rows[k].count; n++)
                    assert_int_equal(decision.repeat->oids[n], rows[k].oids[n]);
            }
            pv_arena_free(arena);
        }
        pv_cache_free(cache);
    }
}

/* Not an assertion of speed, which hangs on the machine: it says what a hit costs. */
static void
cost(void **state)
{
    static const char *const first[] = {"public"};
    static const char *const sqls[] = {"SELECT abalance FROM accounts WHERE aid = 17;", "SELECT current_user"};
    const struct pv_names path = {first, 1};

    (void) state;
    for (size_t k = 0; k < PV_COUNT_OF(sqls); k++) {
        enum { TIMES = 20000 };
        struct pv_cache *cache = pv_cache_new(0);
        struct pv_caller caller = caller_of(policy, "one", "alice", &path, 1, cache);
        struct timespec from, to;

        (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        for (int i = 0; i < TIMES; i++) {
            struct pv_arena *arena = pv_arena_new(1024);
            struct pv_decision *decisions = NULL;
            size_t number = 0;

            assert_int_equal(pv_cache_query(arena, &caller, pv_slice_cstr(sqls[k]), &decisions, &number), PV_OK);
            pv_arena_free(arena);
        }
        (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        print_message("%s: %.0f ns a hit\n", sqls[k],
                      ((double) (to.tv_sec - from.tv_sec) * 1e9 + (double) (to.tv_nsec - from.tv_nsec)) / TIMES);
        pv_cache_free(cache);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(cached_is_fresh),
        cmocka_unit_test(shapes_hit),
        cmocka_unit_test(comes_again),
        cmocka_unit_test(parses_come_again),
        cmocka_unit_test(decisions_outlive),
        cmocka_unit_test(every_allocation_fails),
        cmocka_unit_test(cost),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
