/*
 * The judgement by table: what is asked, and what must come of it. A row that is allowed names text that the forwarded SQL
 * must hold; one that is denied names the SQLSTATE, the reason's code, and text of message or detail.
 * Whatever is forwarded is parsed again and may name views of the room and catalogs only.
 */
#ifndef PV_DECIDE_FIXTURE_H
#define PV_DECIDE_FIXTURE_H

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

/* Two of the room's questions, asked by their statements. */
#define REACH                                                                                                       \
    "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i USING " \
    "(customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY c.region"
#define TWICE "SELECT email FROM public.customers WHERE region = 'North' OR lower(region) = 'North' ORDER BY 1"

static struct pv_policy *policy;

static inline int
load(void **state)
{
    (void) state;
    policy = fixture_load();
    return policy == NULL ? -1 : 0;
}

static inline int
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

static inline void
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

static inline void
judge(const char *user, const struct row *rows, size_t count)
{
    judge_in(pv_policy_room(policy, pv_slice_cstr("retail")), user, rows, count);
}

#endif
