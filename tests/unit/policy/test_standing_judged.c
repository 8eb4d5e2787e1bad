#include "tests/unit/policy/standing_fixture.h"

/* What the judgement makes of approvals, consent, receivers and budgets. */

/* ---- the judgement ----------------------------------------------------------------------- */

static const struct pv_decision *
decide(struct pv_arena *arena, const struct pv_policy *policy, const struct pv_standing *standing, const char *sql)
{
    static const char *const path[] = {"public"};
    const struct pv_caller caller = {.policy = policy,
                                     .room = &policy->rooms[0],
                                     .member = pv_room_member(&policy->rooms[0], "alice"),
                                     .user = "alice",
                                     .search_path = {path, 1},
                                     .standing = standing};
    struct pv_decision *decisions = NULL;
    size_t count = 0;

    assert_int_equal(pv_decide_query(arena, &caller, pv_slice_cstr(sql), &decisions, &count), PV_OK);
    return &decisions[0];
}

static void
the_judgement_asks_for_standing(void **state)
{
    static const char reach[] = "SELECT * FROM questions.reach", days[] = "SELECT * FROM questions.days";
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_policy *policy = load(NULL, "");
    struct pv_slice text = text_of(arena, policy, "reach");
    struct pv_given_approval given[] = {sign(arena, keys[0], "reach", "acme", 100, text),
                                        sign(arena, keys[1], "reach", "mega", 100, text)};
    struct pv_given_consent withdrawn = say(arena, keys[0], "acme", PV_SUBJECT_DATASET, "ads.seen", true);
    struct pv_standing *standing = NULL;
    const struct pv_decision *decision;

    (void) state;
    decision = decide(arena, policy, NULL, reach);
    assert_false(decision->is_allowed);
    assert_int_equal(decision->reason, PV_REASON_APPROVAL);
    assert_string_equal(decision->sqlstate, "42501");
    assert_true(decide(arena, policy, NULL, days)->is_allowed);
    assert_int_equal(pv_standing_new(policy, given, 1, &withdrawn, 1, &standing), PV_OK);
    decision = decide(arena, policy, standing, reach);
    assert_int_equal(decision->reason, PV_REASON_APPROVAL);
    assert_non_null(strstr(decision->detail, "party \"mega\" is missing"));
    decision = decide(arena, policy, standing, days);
    assert_int_equal(decision->reason, PV_REASON_CONSENT);
    assert_true(decide(arena, policy, standing, "SELECT 1")->is_allowed);
    pv_standing_unref(standing);
    assert_int_equal(pv_standing_new(policy, given, 2, NULL, 0, &standing), PV_OK);
    decision = decide(arena, policy, standing, reach);
    assert_true(decision->is_allowed);
    assert_int_equal(decision->questions.count, 1);
    {
        /* A standing of another snapshot proves nothing of this one. */
        struct pv_policy *again = load(NULL, "");

        assert_int_equal(decide(arena, again, standing, reach)->reason, PV_REASON_APPROVAL);
        pv_policy_unref(again);
    }
    pv_standing_unref(standing);
    pv_policy_unref(policy);
    pv_arena_free(arena);
}

static const struct pv_budget_demand *
demand_of(const struct pv_decision *decision, const char *key, enum pv_budget_period per)
{
    for (size_t i = 0; i < decision->budget_count; i++)
        if (strcmp(decision->budgets[i].key, key) == 0 && decision->budgets[i].per == per)
            return &decision->budgets[i];
    fail_msg("no demand of %s per %s", key, pv_budget_period_word(per));
    return NULL;
}

static void
runs_are_demanded_of_every_period(void **state)
{
    static const char days[] = "question/retail/days", people[] = "dataset/retail/public.customers",
                      own_days[] = "question-member/retail/4/days/alice",
                      own_people[] = "dataset-member/retail/16/public.customers/alice";
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_policy *policy = load(", \"approvals\": [\"acme\", \"mega\"]", "");
    const struct pv_decision *decision = decide(arena, policy, NULL, "SELECT * FROM questions.days");

    (void) state;
    assert_true(decision->is_allowed);
    assert_int_equal(decision->budget_count, 8);
    assert_int_equal(demand_of(decision, days, PV_PER_DAY)->runs_max, 3);
    assert_true(demand_of(decision, days, PV_PER_WEEK)->runs_max == UINT64_MAX);
    assert_int_equal(demand_of(decision, days, PV_PER_LIFETIME)->runs_max, 100);
    /* What lasts longest is looked at first, and all together before each by himself. */
    assert_int_equal(decision->budgets[0].per, PV_PER_LIFETIME);
    assert_null(decision->budgets[0].user);
    assert_string_equal(decision->budgets[1].user, "alice");
    assert_int_equal(decision->budgets[7].per, PV_PER_DAY);
    decision = decide(arena, policy, NULL, "SELECT a.day FROM questions.days a, questions.days b, questions.reach");
    assert_int_equal(decision->budget_count, 16);
    for (int per = PV_PER_DAY; per <= PV_PER_LIFETIME; per++) {
        assert_int_equal(demand_of(decision, days, (enum pv_budget_period) per)->runs, 2);
        assert_int_equal(demand_of(decision, own_days, (enum pv_budget_period) per)->runs, 2);
        assert_int_equal(demand_of(decision, people, (enum pv_budget_period) per)->runs, 1);
        assert_int_equal(demand_of(decision, own_people, (enum pv_budget_period) per)->runs, 1);
    }
    assert_int_equal(demand_of(decision, people, PV_PER_DAY)->runs_max, 9);
    assert_true(demand_of(decision, own_people, PV_PER_DAY)->runs_max == UINT64_MAX);
    pv_policy_unref(policy);
    policy = load("\"runs\": 3}", "\"runs\": 3, \"runs_per_member\": 2}");
    decision = decide(arena, policy, NULL, "SELECT * FROM questions.days");
    assert_int_equal(demand_of(decision, days, PV_PER_DAY)->runs_max, 3);
    assert_int_equal(demand_of(decision, own_days, PV_PER_DAY)->runs_max, 2);
    assert_true(demand_of(decision, own_days, PV_PER_LIFETIME)->runs_max == UINT64_MAX);
    pv_policy_unref(policy);
    pv_arena_free(arena);
}

static void
results_go_to_receivers_alone(void **state)
{
    static const struct {
        const char *receivers;
        bool is_received;
    } rows[] = {
        {"[\"user:alice\"]", true},
        {"[\"party:acme\"]", true},
        {"[\"party:mega\", \"role:analyst\"]", true},
        {"[\"party:mega\"]", false},
        {"[]", false},
    };
    struct pv_arena *arena = pv_arena_new(0);

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        char to[128];
        struct pv_policy *policy;
        const struct pv_decision *decision;

        (void) snprintf(to, sizeof(to), "\"ads.seen\": {\"owner\": \"acme\", \"allowed_result_receivers\": %s",
                        rows[i].receivers);
        policy = load("\"ads.seen\": {\"owner\": \"acme\"", to);
        decision = decide(arena, policy, NULL, "SELECT day FROM ads.seen");
        assert_int_equal(decision->is_allowed, rows[i].is_received);
        decision = decide(arena, policy, NULL, "SELECT count(*) FROM questions.days");
        assert_int_equal(decision->is_allowed, rows[i].is_received);
        assert_int_equal(decision->reason, rows[i].is_received ? PV_REASON_ALLOWED : PV_REASON_NOT_RECEIVER);
        if (!rows[i].is_received) {
            assert_non_null(strstr(decision->detail, "data set \"ads.seen\" (owner acme)"));
            assert_non_null(decision->hint);
        }
        assert_int_equal(
            pv_question_serves(pv_room_question(&policy->rooms[0], "days"), pv_room_member(&policy->rooms[0], "alice")),
            rows[i].is_received);
        pv_policy_unref(policy);
    }
    pv_arena_free(arena);
}

static void
periods_are_utc(void **state)
{
    static const struct {
        int64_t at_s;
        enum pv_budget_period per;
        const char *text;
        int64_t end_s;
    } rows[] = {
        {0, PV_PER_DAY, "day 1970-01-01", 86400},
        {0, PV_PER_WEEK, "week 1969-12-29", 345600},
        {1772323199, PV_PER_DAY, "day 2026-02-28", 1772323200},
        {1772323200, PV_PER_DAY, "day 2026-03-01", 1772409600},
        {1772323199, PV_PER_MONTH, "month 2026-02", 1772323200},
        {1772323200, PV_PER_MONTH, "month 2026-03", 1775001600},
        {1798761599, PV_PER_MONTH, "month 2026-12", 1798761600},
        {1772323200, PV_PER_WEEK, "week 2026-02-23", 1772409600}, /* a Sunday */
        {1772409600, PV_PER_WEEK, "week 2026-03-02", 1773014400}, /* the Monday after */
        {1772409600, PV_PER_LIFETIME, "lifetime", 0},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        char text[PV_BUDGET_PERIOD_SIZE];

        pv_budget_period_text(rows[i].per, rows[i].at_s * 1000000, text);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(pv_budget_period_end(rows[i].per, rows[i].at_s * 1000000), rows[i].end_s * 1000000);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_judgement_asks_for_standing),
        cmocka_unit_test(runs_are_demanded_of_every_period),
        cmocka_unit_test(results_go_to_receivers_alone),
        cmocka_unit_test(periods_are_utc),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
