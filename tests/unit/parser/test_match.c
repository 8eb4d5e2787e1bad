#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "parser/match.h"
#include "parser/print.h"
#include "parser/template.h"

/* As a room with `public` on its search path would say. */
static bool
same_relation(void *ctx, const RangeVar *ours, const RangeVar *theirs)
{
    const char *a = ours->schemaname == NULL ? "public" : ours->schemaname;
    const char *b = theirs->schemaname == NULL ? "public" : theirs->schemaname;

    (void) ctx;
    return ours->catalogname == NULL && theirs->catalogname == NULL && strcmp(a, b) == 0 &&
           strcmp(ours->relname, theirs->relname) == 0;
}

static const char overlap[] =
    "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING "
    "(customer_id) WHERE i.seen_on >= :since GROUP BY c.region";

struct row {
    const char *ours;
    const char *theirs;
    const char *captured; /* what stood for the parameters, printed and joined by '|'; NULL: no match */
    const char *names;    /* output aliases joined by '|', '-' for none; NULL: not looked at */
};

static const struct row rows[] = {
    {overlap,
     "select C.REGION, Count(distinct c.customer_id) as reached from customers as c inner join ads.impressions i using "
     "(customer_id) /* x */ where i.seen_on >= '2024-06-01' group by c.region",
     "'2024-06-01'", "-|reached"},
    {overlap,
     "SELECT x.region AS r, count(DISTINCT x.customer_id) FROM public.customers x JOIN ads.impressions AS \"Y\" USING "
     "(customer_id) WHERE \"Y\".seen_on >= $1 GROUP BY x.region",
     "$1", "r|-"},
    {overlap,
     "SELECT customers.region, count(DISTINCT customers.customer_id) FROM customers JOIN ads.impressions USING "
     "(customer_id) WHERE ads.impressions.seen_on >= date '2024-01-01' GROUP BY public.customers.region",
     "CAST('2024-01-01' AS date)", "-|-"},
    /* other tables, columns, constants, shapes */
    {overlap,
     "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM crm.customers c JOIN ads.impressions i USING "
     "(customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region",
     NULL, NULL},
    {overlap,
     "SELECT c.full_name, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i "
     "USING (customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region",
     NULL, NULL},
    {overlap,
     "SELECT c.region, count(DISTINCT i.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING "
     "(customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region",
     NULL, NULL},
    {overlap,
     "SELECT c.region, count(c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING "
     "(customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region",
     NULL, NULL},
    {overlap,
     "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c LEFT JOIN ads.impressions i "
     "USING (customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region",
     NULL, NULL},
    {overlap,
     "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING "
     "(customer_id) WHERE i.seen_on >= '2024-06-01' OR true GROUP BY c.region",
     NULL, NULL},
    {overlap,
     "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING "
     "(customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region LIMIT 1",
     NULL, NULL},
    /* what may stand for a parameter */
    {"SELECT 1 FROM t WHERE a = :x", "SELECT 1 FROM t WHERE a = -5", "(-5)", NULL},
    {"SELECT 1 FROM t WHERE a = :x", "SELECT 1 FROM t WHERE a = NULL", "NULL", NULL},
    {"SELECT 1 FROM t WHERE a = :x", "SELECT 1 FROM t WHERE a = $1::int", "CAST($1 AS pg_catalog.int4)", NULL},
    {"SELECT 1 FROM t WHERE a = ANY (:x)", "SELECT 1 FROM t WHERE a = ANY (ARRAY[1, $2])", "ARRAY[1, $2]", NULL},
    {"SELECT 1 FROM t WHERE a = ANY (:x)", "SELECT 1 FROM t WHERE a = ANY (ARRAY['a']::text[])",
     "CAST(ARRAY['a'] AS \"text\"[])", NULL},
    {"SELECT 1 FROM t WHERE a = ANY (:x)", "SELECT 1 FROM t WHERE a = ANY ('{1,2}')", "'{1,2}'", NULL},
    {"SELECT 1 FROM t WHERE a = :x::date", "SELECT 1 FROM t WHERE a = '2024-01-01'", "'2024-01-01'", NULL},
    {"SELECT 1 FROM t WHERE a = :x::date", "SELECT 1 FROM t WHERE a = CAST($1 AS date)", "$1", NULL},
    {"SELECT 1 FROM t WHERE a = :x::date", "SELECT 1 FROM t WHERE a = '2024-01-01'::text", NULL, NULL},
    {"SELECT 1 FROM t WHERE a = :x", "SELECT 1 FROM t WHERE a = '1'::text::int", NULL, NULL},
    {"SELECT 1 FROM t WHERE a = :x", "SELECT 1 FROM t WHERE a = b", NULL, NULL},
    {"SELECT 1 FROM t WHERE a = :x", "SELECT 1 FROM t WHERE a = (SELECT 1)", NULL, NULL},
    {"SELECT 1 FROM t WHERE a = :x", "SELECT 1 FROM t WHERE a = f(1)", NULL, NULL},
    {"SELECT 1 FROM t WHERE a = :x", "SELECT 1 FROM t WHERE a = 1 + 1", NULL, NULL},
    {"SELECT 1 FROM t WHERE a = ANY (:x)", "SELECT 1 FROM t WHERE a = ANY (ARRAY[b])", NULL, NULL},
    {"SELECT 1 FROM t WHERE a = :x AND b = :x", "SELECT 1 FROM t WHERE a = 1 AND b = 1", "1", NULL},
    {"SELECT 1 FROM t WHERE a = :x AND b = :x", "SELECT 1 FROM t WHERE a = 1 AND b = 2", NULL, NULL},
    {"SELECT 1 FROM t WHERE a = :x AND b = :y", "SELECT 1 FROM t WHERE a = 1 AND b = 2", "1|2", NULL},
    {"SELECT 1 FROM t LIMIT :n", "SELECT 1 FROM t FETCH FIRST 5 ROWS ONLY", "5", NULL},
    {"SELECT 1 FROM t LIMIT 10", "SELECT 1 FROM t LIMIT 1000000", NULL, NULL},
    {"SELECT 1 FROM t LIMIT 10", "SELECT 1 FROM t", NULL, NULL},
    /* aliases: one to one, for the whole statement */
    {"SELECT a.x FROM t a, t b WHERE a.y = b.y", "SELECT b.x FROM t b, t a WHERE b.y = a.y", "", NULL},
    {"SELECT a.x FROM t a, t b WHERE a.y = b.y", "SELECT b.x FROM t a, t b WHERE a.y = b.y", NULL, NULL},
    {"SELECT a.x FROM t a, t b WHERE a.y = b.y", "SELECT c.x FROM t c, t d WHERE c.y = c.y", NULL, NULL},
    {"SELECT s.x FROM (SELECT x FROM t) s", "SELECT q.x FROM (SELECT x FROM t) AS q", "", NULL},
    {"SELECT s.x FROM (SELECT x FROM t) s", "SELECT q.x FROM (SELECT y AS x FROM t) AS q", NULL, NULL},
    {"SELECT c FROM t c", "SELECT d FROM t d", "", NULL},
    {"SELECT c.* FROM t c", "SELECT d.* FROM t d", "", NULL},
    {"SELECT c.* FROM t c", "SELECT * FROM t c", NULL, NULL},
    {"WITH w AS (SELECT x FROM t) SELECT x FROM w", "WITH w AS (SELECT x FROM public.t) SELECT x FROM w", "", NULL},
    {"WITH w AS (SELECT x FROM t) SELECT x FROM w", "WITH w AS (SELECT x FROM t) SELECT x FROM public.w", NULL, NULL},
    /* output names and what refers to them */
    {"SELECT a AS b FROM t ORDER BY b", "SELECT a AS c FROM t ORDER BY c", "", "c"},
    {"SELECT a AS b FROM t ORDER BY b", "SELECT a FROM t ORDER BY a", "", "-"},
    {"SELECT a AS b FROM t ORDER BY b", "SELECT a AS c FROM t ORDER BY b", NULL, NULL},
    {"SELECT a, b FROM t ORDER BY a", "SELECT a AS b, b AS a FROM t ORDER BY b", "", "b|a"},
    {"SELECT a, b FROM t ORDER BY a", "SELECT a AS b, b AS a FROM t ORDER BY a", NULL, NULL},
    {"SELECT count(*) FROM t ORDER BY count", "SELECT count(*) AS n FROM t ORDER BY n DESC", NULL, NULL},
    {"SELECT count(*) FROM t ORDER BY count", "SELECT count(*) AS n FROM t ORDER BY n ASC", "", "n"},
    /* an output that is a column of FROM is that column, by either name */
    {"SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY a", "SELECT a AS x, count(*) FROM t GROUP BY a ORDER BY a", "", "x|-"},
    {"SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY a", "SELECT a AS x, count(*) FROM t GROUP BY a ORDER BY x", "", "x|-"},
    {"SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY a", "SELECT a AS x, count(*) FROM t GROUP BY a ORDER BY count", NULL, NULL},
    {"SELECT a, b FROM t ORDER BY a", "SELECT a AS x, b FROM t ORDER BY b", NULL, NULL},
    {"SELECT a AS x, b FROM t ORDER BY a", "SELECT a, b FROM t ORDER BY a", "", "-|-"},
    {"SELECT a AS x, b FROM t ORDER BY a", "SELECT a AS y, b AS a FROM t ORDER BY a", NULL, NULL},
    {"SELECT lower(a) AS a FROM t ORDER BY a", "SELECT lower(a) AS x FROM t ORDER BY a", NULL, NULL},
    {"SELECT lower(a) AS a FROM t ORDER BY a", "SELECT lower(a) AS x FROM t ORDER BY x", "", "x"},
    {"SELECT a FROM t UNION SELECT b FROM u ORDER BY a", "SELECT a AS x FROM t UNION SELECT b FROM u ORDER BY a", NULL, NULL},
    {"SELECT a FROM t UNION SELECT b FROM u", "SELECT a AS x FROM t UNION SELECT b AS y FROM u", "", "x"},
    /* spellings of one thing */
    {"SELECT count(a)::int FROM t", "SELECT pg_catalog.count(a)::pg_catalog.int4 FROM t", "", NULL},
    {"SELECT a FROM t WHERE a != 1", "SELECT a FROM t WHERE a <> 1", "", NULL},
    {"SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a OPERATOR(pg_catalog.=) 1", "", NULL},
    {"SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a OPERATOR(evil.=) 1", NULL, NULL},
    {"SELECT count(a) FROM t", "SELECT evil.count(a) FROM t", NULL, NULL},
    {"SELECT a::text FROM t", "SELECT a::evil.text FROM t", NULL, NULL},
    {"SELECT a FROM t", "SELECT a FROM ONLY t", NULL, NULL},
    {"SELECT a FROM t", "SELECT a INTO u FROM t", NULL, NULL},
    {"SELECT a FROM t", "SELECT a FROM t FOR UPDATE", NULL, NULL},
    {"SELECT a FROM t", "SELECT DISTINCT a FROM t", NULL, NULL},
    {"SELECT a FROM t", "DELETE FROM t", NULL, NULL},
    {"SELECT a FROM t", "WITH w AS (SELECT 1) SELECT a FROM t", NULL, NULL},
    {"SELECT a FROM t", "SELECT a FROM t, t u", NULL, NULL},
    {"SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = 'X'", NULL, NULL},
    {"SELECT a FROM t GROUP BY (a, b)", "SELECT a FROM t GROUP BY ROW(a, b)", NULL, NULL},
};

struct pair {
    struct pv_arena *arena;
    struct pv_match_form form;
    struct pv_template ours;
    struct pv_sql *theirs;
};

static void
open_pair(const struct row *row, struct pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    assert_int_equal(pv_template_parse(pv_slice_cstr(row->ours), &pv_sql_limits_default, &pair->ours, NULL), PV_OK);
    assert_int_equal(pv_sql_parse(pv_slice_cstr(row->theirs), &pv_sql_limits_default, &pair->theirs, NULL), PV_OK);
    pair->arena = pv_arena_new(0);
    assert_int_equal(
        pv_match_form_make(pair->arena, pv_sql_stmt(pair->ours.sql, 0), pair->ours.name_count, &pair->form), PV_OK);
}

static void
close_pair(struct pair *pair)
{
    pv_arena_free(pair->arena);
    pv_template_clear(&pair->ours);
    pv_sql_free(pair->theirs);
}

static enum pv_status
match_pair(const struct pair *pair, struct pv_match *match, bool *matched)
{
    return pv_match(&pair->form, pv_sql_stmt(pair->theirs, 0), same_relation, NULL, match, matched);
}

static void
check_match(const struct row *row, const struct pv_match *match)
{
    struct pv_buf buf = {0};

    for (unsigned i = 0; i < match->capture_count; i++) {
        assert_non_null(match->captures[i]);
        pv_buf_put_text(&buf, i > 0 ? "|" : "");
        assert_int_equal(pv_print(match->captures[i], &buf, NULL), PV_OK);
    }
    assert_string_equal(pv_buf_text(&buf), row->captured);
    pv_buf_clear(&buf);
    for (unsigned i = 0; i < match->name_count; i++) {
        pv_buf_put_text(&buf, i > 0 ? "|" : "");
        pv_buf_put_text(&buf, match->names[i] == NULL ? "-" : match->names[i]);
    }
    if (row->names != NULL)
        assert_string_equal(pv_buf_text(&buf), row->names);
    pv_buf_clear(&buf);
}

static void
matches_what_asks_the_same(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_match match;
        struct pair pair;
        bool matched = false;

        memset(&match, 0, sizeof(match));
        open_pair(&rows[i], &pair);
        assert_int_equal(match_pair(&pair, &match, &matched), PV_OK);
        if (matched != (rows[i].captured != NULL))
            print_message("%s\n%s: %s\n", rows[i].ours, rows[i].theirs, match.difference);
        assert_int_equal(matched, rows[i].captured != NULL);
        if (matched) {
            uint64_t shape = 0;

            check_match(&rows[i], &match);
            /* It would be found. */
            assert_int_equal(pv_match_shape(pv_sql_stmt(pair.theirs, 0), &shape), PV_OK);
            assert_true(shape == pair.form.shape);
        } else {
            assert_true(match.difference[0] != '\0');
        }
        pv_match_clear(&match);
        close_pair(&pair);
    }
}

static void
says_what_differs(void **state)
{
    static const struct {
        struct row row;
        const char *words;
    } hints[] = {
        {{"SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 2", NULL, NULL},
         "the WHERE clause has another constant than the question"},
        {{"SELECT a FROM t", "SELECT full_name FROM t", NULL, NULL},
         "the select list has column \"full_name\" where the question has another"},
        {{"SELECT a FROM t", "SELECT a FROM u", NULL, NULL},
         "the FROM clause has relation \"u\" where the question has another"},
        {{"SELECT a FROM t", "SELECT a, b FROM t", NULL, NULL}, "the select list has 2 items where the question has 1"},
        {{"SELECT a FROM t", "SELECT a FROM t LIMIT 1", NULL, NULL}, "the LIMIT clause differs"},
        {{"SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC", NULL, NULL},
         "the ORDER BY clause sorts otherwise than the question"},
        {{"SELECT t.a FROM t", "SELECT a FROM t", NULL, NULL},
         "the select list has column \"a\" without a table's name, unlike the question"},
        {{"SELECT a FROM t", "SELECT x.a FROM t AS x", NULL, NULL},
         "the select list has column \"a\" with a table's name, unlike the question"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(hints); i++) {
        struct pv_match match;
        struct pair pair;
        bool matched = true;

        memset(&match, 0, sizeof(match));
        open_pair(&hints[i].row, &pair);
        assert_int_equal(match_pair(&pair, &match, &matched), PV_OK);
        assert_false(matched);
        assert_string_equal(match.difference, hints[i].words);
        pv_match_clear(&match);
        close_pair(&pair);
    }
}

/* Weighing compares on after a difference: the verdict and the first difference are the same ones. */
static void
weighing_says_the_same(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_match quick = {0}, weighed = {.is_weighed = true};
        struct pair pair;
        bool matched = false, matched_weighed = true;

        open_pair(&rows[i], &pair);
        assert_int_equal(match_pair(&pair, &quick, &matched), PV_OK);
        assert_int_equal(match_pair(&pair, &weighed, &matched_weighed), PV_OK);
        assert_int_equal(matched_weighed, matched);
        assert_string_equal(weighed.difference, quick.difference);
        assert_true(weighed.agreed >= quick.agreed);
        pv_match_clear(&quick);
        pv_match_clear(&weighed);
        close_pair(&pair);
    }
}

static unsigned
agreed_of(const char *ours, const char *theirs)
{
    const struct row row = {ours, theirs, NULL, NULL};
    struct pv_match match = {.is_weighed = true};
    struct pair pair;
    bool matched = true;
    unsigned agreed;

    open_pair(&row, &pair);
    assert_int_equal(match_pair(&pair, &match, &matched), PV_OK);
    assert_false(matched);
    agreed = match.agreed;
    pv_match_clear(&match);
    close_pair(&pair);
    return agreed;
}

static void
weighs_which_question_is_nearer(void **state)
{
    static const struct {
        const char *statement, *nearer, *farther;
    } cases[] = {
        /* A clause more or less, as clients add them. */
        {"SELECT a, b FROM t WHERE c = 1 LIMIT 5", "SELECT a, b FROM t WHERE c = :p", "SELECT a, d FROM t ORDER BY e"},
        {"SELECT a, b FROM t WHERE c = 1", "SELECT a, b FROM t WHERE c = :p ORDER BY a", "SELECT d, e FROM t WHERE f = :p"},
        {"SELECT a, count(*) FROM t GROUP BY a HAVING true", "SELECT a, count(*) FROM t GROUP BY a",
         "SELECT x, y FROM u ORDER BY x"},
        /* Another operator over the same column is nearer than the same operator over another. */
        {"SELECT a FROM t WHERE b IN (1, 2)", "SELECT a FROM t WHERE b = ANY (:p)", "SELECT a FROM t WHERE c IN (1, 2)"},
        {"SELECT a FROM t", "SELECT a, b FROM t", "SELECT a FROM u"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(cases); i++)
        assert_true(agreed_of(cases[i].nearer, cases[i].statement) > agreed_of(cases[i].farther, cases[i].statement));
}

static void
failing_allocations_are_told(void **state)
{
    struct pair pair;
    enum pv_status status = PV_NOMEM;
    long nth;

    (void) state;
    open_pair(&rows[0], &pair);
    for (nth = 1; status == PV_NOMEM && nth < 100; nth++) {
        struct pv_match match;
        bool matched = false;

        memset(&match, 0, sizeof(match));
        pv_arena_free(pair.arena);
        pair.arena = pv_arena_new(16);
        pv_alloc_fail_at(nth);
        status = pv_match_form_make(pair.arena, pv_sql_stmt(pair.ours.sql, 0), pair.ours.name_count, &pair.form);
        if (status == PV_OK)
            status = match_pair(&pair, &match, &matched);
        pv_alloc_fail_at(0);
        assert_int_equal(matched, status == PV_OK);
        pv_match_clear(&match);
    }
    assert_int_equal(status, PV_OK);
    assert_true(nth > 4);
    close_pair(&pair);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_what_asks_the_same),
        cmocka_unit_test(says_what_differs),
        cmocka_unit_test(weighing_says_the_same),
        cmocka_unit_test(weighs_which_question_is_nearer),
        cmocka_unit_test(failing_allocations_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
