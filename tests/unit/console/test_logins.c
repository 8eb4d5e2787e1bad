/* Who is logged in to the page, and who has tried too often: every time is the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/console/logins.h"

static const struct pv_user users[] = {
    {.name = "ann", .scram = "SCRAM-SHA-256$4096:a"},
    {.name = "bob", .scram = "SCRAM-SHA-256$4096:b"},
};
static const struct pv_user changed[] = {
    {.name = "ann", .scram = "SCRAM-SHA-256$4096:another"},
};
static const struct pv_policy policy = {.users = users, .user_count = 2};
static const struct pv_policy later = {.users = changed, .user_count = 1};

static int
set_up(void **state)
{
    *state = pv_logins_new();
    return *state == NULL;
}

static int
tear_down(void **state)
{
    pv_logins_free(*state);
    return 0;
}

static void
enter(struct pv_logins *logins, size_t user, uint64_t now_ms, char token[PV_LOGIN_TOKEN_SIZE])
{
    assert_int_equal(pv_logins_add(logins, &users[user], now_ms, token), PV_OK);
    assert_int_equal(strlen(token), 64);
    assert_int_equal(strspn(token, "0123456789abcdef"), 64);
}

static const struct pv_user *
find(struct pv_logins *logins, const char *token, uint64_t now_ms, bool is_active)
{
    return pv_logins_find(logins, &policy, pv_slice_cstr(token), now_ms, is_active);
}

static void
a_token_is_its_user_s(void **state)
{
    char ann[PV_LOGIN_TOKEN_SIZE], bob[PV_LOGIN_TOKEN_SIZE];

    enter(*state, 0, 1000, ann);
    enter(*state, 1, 1000, bob);
    assert_string_not_equal(ann, bob);
    assert_ptr_equal(find(*state, ann, 2000, true), &users[0]);
    assert_ptr_equal(find(*state, bob, 2000, true), &users[1]);
    pv_logins_drop(*state, pv_slice_cstr(ann));
    assert_null(find(*state, ann, 2000, true));
    assert_non_null(find(*state, bob, 2000, true));
    assert_int_equal(pv_logins_count(*state), 1);
}

static void
other_tokens_are_nobody_s(void **state)
{
    char token[PV_LOGIN_TOKEN_SIZE];

    enter(*state, 0, 1000, token);
    assert_null(find(*state, "", 1000, true));
    assert_null(find(*state, "0", 1000, true));
    for (size_t len = 0; len < 64; len++)
        assert_null(pv_logins_find(*state, &policy, pv_slice_of(token, len), 1000, true));
    for (size_t i = 0; i < 64; i++) {
        char before = token[i];

        token[i] = before == 'f' ? '0' : 'f';
        assert_null(find(*state, token, 1000, true));
        token[i] = before;
    }
    assert_non_null(find(*state, token, 1000, true));
    pv_logins_drop(*state, pv_slice_cstr("unknown"));
    assert_int_equal(pv_logins_count(*state), 1);
}

static void
idleness_ends_a_login(void **state)
{
    char token[PV_LOGIN_TOKEN_SIZE];
    uint64_t now_ms = 5000;

    enter(*state, 0, now_ms, token);
    assert_int_equal(pv_logins_left_ms(*state, pv_slice_cstr(token), now_ms), PV_LOGIN_IDLE_MS);
    now_ms += PV_LOGIN_IDLE_MS - 1;
    assert_non_null(find(*state, token, now_ms, false)); /* what the page asks by itself does not count */
    assert_int_equal(pv_logins_left_ms(*state, pv_slice_cstr(token), now_ms), 1);
    assert_non_null(find(*state, token, now_ms, true));
    now_ms += PV_LOGIN_IDLE_MS - 1;
    assert_non_null(find(*state, token, now_ms, false));
    now_ms += 1;
    assert_int_equal(pv_logins_left_ms(*state, pv_slice_cstr(token), now_ms), 0);
    assert_null(find(*state, token, now_ms, true));
    assert_null(find(*state, token, 5000, true)); /* and it does not come back */
    assert_int_equal(pv_logins_count(*state), 0);
}

static void
half_a_day_ends_a_login(void **state)
{
    char token[PV_LOGIN_TOKEN_SIZE];
    uint64_t now_ms = 1;

    enter(*state, 0, now_ms, token);
    while (now_ms + PV_LOGIN_IDLE_MS / 2 < 1 + PV_LOGIN_ABSOLUTE_MS) {
        now_ms += PV_LOGIN_IDLE_MS / 2;
        assert_non_null(find(*state, token, now_ms, true));
    }
    assert_non_null(find(*state, token, PV_LOGIN_ABSOLUTE_MS, true));
    assert_null(find(*state, token, 1 + PV_LOGIN_ABSOLUTE_MS, true));
}

static void
another_password_or_no_user_ends_a_login(void **state)
{
    char ann[PV_LOGIN_TOKEN_SIZE], bob[PV_LOGIN_TOKEN_SIZE];

    enter(*state, 0, 1000, ann);
    enter(*state, 1, 1000, bob);
    assert_null(pv_logins_find(*state, &later, pv_slice_cstr(ann), 1000, true));
    assert_null(pv_logins_find(*state, &later, pv_slice_cstr(bob), 1000, true));
    assert_null(find(*state, ann, 1000, true));
    assert_int_equal(pv_logins_count(*state), 0);
}

static void
a_user_has_so_many_logins(void **state)
{
    char first[PV_LOGIN_TOKEN_SIZE], other[PV_LOGIN_TOKEN_SIZE], token[PV_LOGIN_TOKEN_SIZE];

    enter(*state, 1, 1, other);
    enter(*state, 0, 2, first);
    for (uint64_t i = 1; i < PV_LOGINS_PER_USER_MAX; i++)
        enter(*state, 0, 2 + i, token);
    assert_int_equal(pv_logins_count(*state), PV_LOGINS_PER_USER_MAX + 1);
    assert_non_null(find(*state, first, 20, false));
    enter(*state, 0, 30, token);
    assert_int_equal(pv_logins_count(*state), PV_LOGINS_PER_USER_MAX + 1);
    assert_null(find(*state, first, 40, true));
    assert_non_null(find(*state, other, 40, true));
    assert_non_null(find(*state, token, 40, true));
}

static void
everybody_together_has_so_many(void **state)
{
    char oldest[PV_LOGIN_TOKEN_SIZE] = "", token[PV_LOGIN_TOKEN_SIZE];

    for (uint64_t i = 0; i < PV_LOGINS_MAX; i++) {
        char name[16];
        const struct pv_user user = {.name = name, .scram = "x"};

        (void) snprintf(name, sizeof(name), "user %d", (int) i);
        assert_int_equal(pv_logins_add(*state, &user, 100 + i, i == 0 ? oldest : token), PV_OK);
    }
    assert_int_equal(pv_logins_count(*state), PV_LOGINS_MAX);
    enter(*state, 0, 1000, token);
    assert_int_equal(pv_logins_count(*state), PV_LOGINS_MAX);
    assert_int_equal(pv_logins_left_ms(*state, pv_slice_cstr(oldest), 1000), 0);
}

static bool
try(struct pv_logins *logins, const char *user, uint64_t now_ms, uint64_t *wait_ms)
{
    bool is_first;

    return pv_logins_try(logins, pv_slice_cstr(user), now_ms, wait_ms, &is_first);
}

static void
failures_make_a_name_wait(void **state)
{
    uint64_t wait_ms = 0, now_ms = 1000, expected = PV_LOGIN_WAIT_MS;
    bool is_first = false;

    for (unsigned i = 0; i < PV_LOGIN_TRIES; i++)
        assert_true(try(*state, "ann", now_ms, &wait_ms));
    for (int round = 0; round < 9; round++) {
        assert_false(pv_logins_try(*state, pv_slice_cstr("ann"), now_ms, &wait_ms, &is_first));
        assert_true(is_first);
        assert_int_equal(wait_ms, expected);
        assert_false(pv_logins_try(*state, pv_slice_cstr("ann"), now_ms + expected - 1, &wait_ms, &is_first));
        assert_false(is_first);
        assert_int_equal(wait_ms, 1);
        assert_true(try(*state, "bob", now_ms, &wait_ms));
        pv_logins_succeeded(*state, pv_slice_cstr("bob"));
        now_ms += expected;
        assert_true(try(*state, "ann", now_ms, &wait_ms));
        expected = expected * 2 > PV_LOGIN_WAIT_MAX_MS ? PV_LOGIN_WAIT_MAX_MS : expected * 2;
    }
    assert_int_equal(expected, PV_LOGIN_WAIT_MAX_MS);
    /* Who is let in at last starts afresh. */
    now_ms += expected;
    assert_true(try(*state, "ann", now_ms, &wait_ms));
    pv_logins_succeeded(*state, pv_slice_cstr("ann"));
    for (unsigned i = 0; i < PV_LOGIN_TRIES; i++)
        assert_true(try(*state, "ann", now_ms, &wait_ms));
    assert_false(try(*state, "ann", now_ms, &wait_ms));
}

static void
tries_at_once_count_before_they_are_answered(void **state)
{
    uint64_t wait_ms = 0;
    unsigned let_through = 0;

    for (int i = 0; i < 100; i++)
        let_through += try(*state, "ann", 1000, &wait_ms);
    assert_int_equal(let_through, PV_LOGIN_TRIES);
}

static void
failures_of_everybody_make_everybody_wait(void **state)
{
    uint64_t wait_ms = 0;
    char name[16];

    for (unsigned i = 0; i < PV_LOGIN_FAILURES_PER_MINUTE; i++) {
        (void) snprintf(name, sizeof(name), "name %u", i);
        assert_true(try(*state, name, 1000, &wait_ms));
    }
    assert_false(try(*state, "ann", 1000, &wait_ms));
    assert_true(wait_ms > 0 && wait_ms <= 60000);
    assert_true(try(*state, "ann", 1000 + 60000, &wait_ms));
}

static void
a_success_is_no_failure(void **state)
{
    uint64_t wait_ms = 0;

    for (unsigned i = 0; i < 10 * PV_LOGIN_FAILURES_PER_MINUTE; i++) {
        assert_true(try(*state, "ann", 1000, &wait_ms));
        pv_logins_succeeded(*state, pv_slice_cstr("ann"));
    }
}

static void
a_name_is_forgiven_in_time(void **state)
{
    uint64_t wait_ms = 0;

    for (unsigned i = 0; i < PV_LOGIN_TRIES; i++)
        assert_true(try(*state, "ann", 1000, &wait_ms));
    assert_false(try(*state, "ann", 1001, &wait_ms));
    for (unsigned i = 0; i < PV_LOGIN_TRIES; i++)
        assert_true(try(*state, "ann", 1000 + 60 * 60 * 1000, &wait_ms));
}

static void
each_allocation_may_fail(void **state)
{
    char token[PV_LOGIN_TOKEN_SIZE];
    enum pv_status status = PV_NOMEM;

    for (long nth = 1; status != PV_OK; nth++) {
        assert_int_equal(pv_logins_count(*state), 0);
        pv_alloc_fail_at(nth);
        status = pv_logins_add(*state, &users[0], 1, token);
        pv_alloc_fail_at(0);
        assert_true(nth < 20);
    }
    assert_non_null(find(*state, token, 2, true));
    pv_alloc_fail_at(1);
    assert_null(pv_logins_new());
    pv_alloc_fail_at(0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_token_is_its_user_s),
        T(other_tokens_are_nobody_s),
        T(idleness_ends_a_login),
        T(half_a_day_ends_a_login),
        T(another_password_or_no_user_ends_a_login),
        T(a_user_has_so_many_logins),
        T(everybody_together_has_so_many),
        T(failures_make_a_name_wait),
        T(tries_at_once_count_before_they_are_answered),
        T(failures_of_everybody_make_everybody_wait),
        T(a_success_is_no_failure),
        T(a_name_is_forgiven_in_time),
        T(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
