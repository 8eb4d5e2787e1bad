#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parser/parse.h"
#include "parser/print.h"
#include "policy/decide.h"
#include "policy/question_int.h"
#include "proxy/base/arena.h"
#include "tests/unit/policy/room_fixture.h"

/*
 * What is put together of a fixed question's pieces is what would be printed of its tree and checked, byte by byte, for
 * whatever callers put in its place. Who asks for a place in what is forwarded is judged by the tree: that is the oracle.
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

static const struct pv_decision *
decide(struct pv_arena *arena, const char *sql, bool is_parse, struct pv_place *place)
{
    static const char *const path[] = {"public"};
    const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr("retail"));
    struct pv_caller caller = {.policy = policy,
                               .room = room,
                               .member = pv_room_member(room, "alice"),
                               .user = "alice",
                               .search_path = {path, 1},
                               .now_us = 1,
                               .place = place};
    struct pv_decision *decisions = pv_arena_alloc(arena, sizeof(*decisions));
    size_t count = 1;

    assert_int_equal(is_parse ? pv_decide_parse(arena, &caller, pv_slice_cstr(sql), NULL, 0, decisions)
                              : pv_decide_query(arena, &caller, pv_slice_cstr(sql), &decisions, &count),
                     PV_OK);
    assert_int_equal(count, 1);
    return decisions;
}

/* Allowed or not, the same by both roads; and what is allowed is what its own tree prints as. */
static bool
check_both(const char *sql, bool is_parse)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_place place = {.forwarded = "nothing that was ever forwarded"};
    const struct pv_decision *composed = decide(arena, sql, is_parse, NULL);
    const struct pv_decision *printed = decide(arena, sql, is_parse, &place);
    bool is_allowed = composed->is_allowed;

    assert_int_equal(is_allowed, printed->is_allowed);
    assert_int_equal(composed->reason, printed->reason);
    if (is_allowed) {
        struct pv_sql *again = NULL;
        struct pv_buf text = {0};

        assert_string_equal(composed->forwarded, printed->forwarded);
        assert_int_equal(composed->parameter_count, printed->parameter_count);
        assert_int_equal(pv_sql_parse(pv_slice_cstr(composed->forwarded), &pv_sql_limits_default, &again, NULL), PV_OK);
        assert_int_equal(pv_print_checked(pv_sql_stmt(again, 0), &text, NULL), PV_OK);
        assert_string_equal(pv_buf_text(&text), composed->forwarded);
        pv_buf_clear(&text);
        pv_sql_free(again);
    }
    pv_arena_free(arena);
    return is_allowed;
}

static void
every_question_is_cut(void **state)
{
    const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr("retail"));

    (void) state;
    for (size_t i = 0; i < room->question_count; i++) {
        const struct pv_question *question = &room->questions[i];

        if (question->is_open)
            continue;
        assert_true(question->plan->named.count > question->relation.column_count);
        assert_int_equal(question->plan->bare.count > 0, question->max_rows == 0);
    }
}

static const char reach[] = "SELECT %s.region%s, count(DISTINCT %s.customer_id)%s FROM public.customers %s JOIN ads.impressions i"
                            " USING (customer_id) WHERE i.seen_on >= %s GROUP BY %s.region";
static const char list[] =
    "SELECT email%s FROM public.customers WHERE region = %s OR lower(region) = %s ORDER BY 1";

static void
both_roads_give_one_text(void **state)
{
    static const char *const values[] = {"'2024-06-01'", "date '2024-06-01'", "CAST('2024-06-01' AS text)", "'2024-13-01'",
                                         "E'2024\\055\\x30\\u0036-01'", "$$2024-06-01$$", "$1", "$2::date", "NULL", "'x'''",
                                         "U&'2024\\002d06-01'", "20240601", "'North'", "E'No\\162th'", "'it''s'", "$1::text"};
    static const char *const names[] = {"", " AS reached", " AS \"Reached\"", " AS \"a\"\"b\"", " AS \"select\"", " AS region",
                                        " AS email", " r", " AS \xC3\xA4", " AS \"\x01n0\x01\"", " AS \"'\"",
                                        " AS a23456789012345678901234567890123456789012345678901234567890123",
                                        " AS a2345678901234567890123456789012345678901234567890123456789012345"};
    unsigned allowed = 0;

    (void) state;
    for (size_t v = 0; v < PV_COUNT_OF(values); v++) {
        for (size_t n = 0; n < PV_COUNT_OF(names); n++) {
            const char *other = names[(n * 7 + v) % PV_COUNT_OF(names)];
            char sql[1024];

            (void) snprintf(sql, sizeof(sql), reach, "c", names[n], "c", other, "c", values[v], "c");
            allowed += check_both(sql, false);
            allowed += check_both(sql, true);
            (void) snprintf(sql, sizeof(sql), list, names[n], values[v], values[v]);
            allowed += check_both(sql, false);
            allowed += check_both(sql, true);
        }
    }
    assert_true(allowed > 200);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_question_is_cut),
        cmocka_unit_test(both_roads_give_one_text),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
