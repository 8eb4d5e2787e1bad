#include "tests/unit/policy/standing_fixture.h"

/* Approvals by edit: the room with one text exchanged, and whether a signature of before still stands. */

/* ---- the text -------------------------------------------------------------------- */

static void
the_text_says_all_that_is_signed(void **state)
{
    static const char expected[] = "pgveil approval 1\n"
                                   "room \"retail\"\n"
                                   "timezone \"UTC\"\n"
                                   "question \"reach\"\n"
                                   "type analytical\n"
                                   "sql\n"
                                   "    | SELECT c.region, pg_catalog.count(*) AS n FROM public.customers AS c WHERE "
                                   "(c.region <> $1) GROUP BY c.region\n"
                                   "parameter \"r\" is $1\n"
                                   "  type text\n"
                                   "  default \"x\"\n"
                                   "  max_length 9\n"
                                   "result column \"region\"\n"
                                   "result column \"n\"\n"
                                   "output entity \"c.id\"\n"
                                   "output minimum_entities 5\n"
                                   "output max_rows 10\n"
                                   "dataset \"public.customers\"\n"
                                   "  owner \"mega\"\n"
                                   "  source schema \"crm\"\n"
                                   "  source name \"customers\"\n"
                                   "  entity \"id\"\n"
                                   "  row_filter\n"
                                   "    | (region = ANY ($1))\n"
                                   "  row_filter $1 is attribute \"regions\"\n"
                                   "  column \"born\" category 3 mask truncate_date year\n"
                                   "  column \"id\" category 3 mask hash\n"
                                   "  column \"region\" category 1 mask plain\n"
                                   "  analysis_rule aggregation\n"
                                   "    join_columns \"id\"\n"
                                   "    dimension_columns \"born\", \"region\"\n"
                                   "    output_constraint count_distinct \"id\" minimum 25\n"
                                   "    suppression drop\n"
                                   "  access_budget 9 runs per day\n";
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_policy *policy = load(NULL, "");
    struct pv_slice text = text_of(arena, policy, "reach");
    /* PostgreSQL's grammar gives count no schema; the printer may. */
    const char *found = pv_arena_strndup(arena, (const char *) text.data, text.len);
    const char *schema = strstr(found, "pg_catalog.count");
    char *wanted = pv_arena_strdup(arena, expected);

    (void) state;
    if (schema == NULL) {
        char *cut = strstr(wanted, "pg_catalog.");

        memmove(cut, cut + 11, strlen(cut + 11) + 1);
    }
    assert_string_equal(found, wanted);
    pv_arena_free(arena);
    pv_policy_unref(policy);
}

static void
names_cannot_pass_for_lines(void **state)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_policy *policy = load("\"default\": \"x\"", "\"default\": \"a\\\"\\n ow\\u202e\"");
    struct pv_slice text = text_of(arena, policy, "reach");

    (void) state;
    assert_non_null(strstr((const char *) text.data, "  default \"a\\\"\\x0a ow\\xe2\\x80\\xae\"\n"));
    pv_policy_unref(policy);
    policy = load("c.region <> :r", "c.region <> :r AND c.region <> 'a\\n| b\\u0007'");
    text = text_of(arena, policy, "reach");
    assert_non_null(strstr((const char *) text.data, "sql (escaped)\n    | "));
    assert_non_null(strstr((const char *) text.data, "'a\n    | | b\\x07'"));
    pv_policy_unref(policy);
    pv_arena_free(arena);
}

static void
an_edit_shows_or_does_not(void **state)
{
    static const struct {
        const char *from, *to;
        bool is_same;
    } edits[] = {
        {"\"title\": \"T\"", "\"title\": \"U\"", true},
        {"\"title\": \"Reach\"", "\"title\": \"Other\"", true},
        {"\"title\": \"people\"", "\"title\": \"persons\"", true},
        {"SELECT c.region, count(*) AS n", "select  C.region,\\n/* c */ Count( * )  n", true},
        {"{\"id\": {\"category\": 3}, \"region\": {\"category\": 1, \"title\": \"where\"},",
         "{\"region\": {\"category\": 1}, \"id\": {\"category\": 3, \"mask\": \"hash\"},", true},
        {"[\"region\", \"born\"]", "[\"born\", \"region\"]", true},
        {"SELECT day FROM ads.seen", "SELECT day, id FROM ads.seen", true},
        {"\"ads.seen\": {\"owner\": \"acme\"", "\"ads.seen\": {\"owner\": \"mega\"", true},
        {"\"max_rows\": 10}", "\"max_rows\": 10}, \"members\": [\"party:acme\"]", true},
        {"c.region <> :r", "c.region = :r", false},
        {"c.region <> :r", "c.region <> :r OR 1 = 1", false},
        {"AS n", "AS m", false},
        {"\"max_length\": 9", "\"max_length\": 90", false},
        {"\"default\": \"x\"", "\"default\": \"y\"", false},
        {"\"default\": \"x\"", "\"pattern\": \"[a-z]*\"", false},
        {"\"max_length\": 9", "\"nullable\": true, \"max_length\": 9", false},
        {"\"max_length\": 9", "\"values\": [\"x\", \"z\"], \"max_length\": 9", false},
        {"\"minimum_entities\": 5", "\"minimum_entities\": 4", false},
        {"\"max_rows\": 10", "\"max_rows\": 11", false},
        {"\"max_rows\": 10", "\"max_rows\": 10, \"timeout\": \"1s\"", false},
        {"\"analytical\", \"title\": \"Reach\"", "\"list\", \"title\": \"Reach\"", false},
        {"\"title\": \"Reach\"", "\"access_budget\": [{\"per\": \"day\", \"runs\": 1}]", false},
        {"\"runs\": 9", "\"runs\": 9, \"runs_per_member\": 9", false},
        {"\"owner\": \"mega\"", "\"owner\": \"mega\", \"allowed_result_receivers\": [\"party:mega\"]", false},
        {"\"owner\": \"mega\"", "\"owner\": \"mega\", \"allowed_result_receivers\": []", false},
        {"\"owner\": \"mega\"", "\"owner\": \"acme\"", false},
        {"\"source\": \"crm.customers\"", "\"source\": \"crm.people\"", false},
        {"\"source\": \"crm.customers\"", "\"source\": \"hr.customers\"", false},
        {"\"entity\": \"id\"", "\"entity\": \"region\"", false},
        {"region = ANY (:regions)", "region = ANY (:countries)", false},
        {"region = ANY (:regions)", "region <> ANY (:regions)", false},
        {"\"row_filter\": \"region = ANY (:regions)\",", "", false},
        {"\"id\": {\"category\": 3}, \"region\"", "\"id\": {\"category\": 1}, \"region\"", false},
        {"\"truncate_date\": \"year\"", "\"truncate_date\": \"month\"", false},
        {"{\"truncate_date\": \"year\"}", "{\"hash\": \"k\"}", false},
        {"{\"truncate_date\": \"year\"}", "{\"constant\": \"2000-01-01\"}", false},
        {"\"born\": {", "\"more\": {\"category\": 1}, \"born\": {", false},
        {"\"minimum\": 25", "\"minimum\": 24", false},
        {"\"join_columns\": [\"id\"],", "\"join_columns\": [\"id\"], \"join_required\": true,", false},
        {"\"join_columns\": [\"id\"],", "\"join_columns\": [\"id\"], \"scalar_functions\": [\"lower\"],", false},
        {"\"join_columns\": [\"id\"],", "\"join_columns\": [\"id\"], \"suppression\": \"remainder\",", false},
        {"\"join_columns\": [\"id\"],", "\"join_columns\": [\"id\"], \"allowed_join_operators\": [\"or\"],", false},
        {"\"join_columns\": [\"id\"],", "\"join_columns\": [\"id\"], \"disallowed_output_columns\": [\"born\"],",
         false},
        {"\"runs\": 9", "\"runs\": 10", false},
        {"\"upstream\": \"main\"", "\"upstream\": \"main\", \"timezone\": \"Europe/Madrid\"", false},
    };
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_policy *policy = load(NULL, "");
    struct pv_slice before = text_of(arena, policy, "reach");

    (void) state;
    pv_policy_unref(policy);
    for (size_t i = 0; i < PV_COUNT_OF(edits); i++) {
        policy = load(edits[i].from, edits[i].to);
        if (pv_slice_equal(text_of(arena, policy, "reach"), before) != edits[i].is_same)
            fail_msg("%s: %s", edits[i].to, edits[i].is_same ? "it shows" : "it does not show");
        pv_policy_unref(policy);
    }
    pv_arena_free(arena);
}

/* ---- approvals --------------------------------------------------------------------- */

static void
an_approval_is_missing_valid_or_stale(void **state)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_policy *policy = load(NULL, ""), *edited;
    struct pv_slice text = text_of(arena, policy, "reach"), other = text_of(arena, policy, "open"), newer;
    struct pv_given_approval given[4];
    struct pv_standing *standing = NULL;

    (void) state;
    given[0] = sign(arena, keys[0], "reach", "acme", 100, text);
    assert_int_equal(pv_standing_new(policy, given, 1, NULL, 0, &standing), PV_OK);
    assert_true(pv_standing_fits(standing, policy));
    assert_int_equal(approval_of(standing, "reach", "acme")->state, PV_APPROVAL_VALID);
    assert_int_equal(approval_of(standing, "reach", "acme")->at_us, 100);
    assert_int_equal(approval_of(standing, "reach", "mega")->state, PV_APPROVAL_MISSING);
    assert_int_equal(approval_of(standing, "open", "mega")->state, PV_APPROVAL_MISSING);
    assert_null(pv_standing_question(standing, "retail", "days"));
    pv_standing_unref(standing);

    /* A wrong key, a signature over another text, bytes of no signature: none of them is one. */
    given[0] = sign(arena, keys[1], "reach", "acme", 100, text);
    given[1] = sign(arena, keys[2], "reach", "mega", 100, text);
    given[2] = sign(arena, keys[1], "open", "mega", 100, text);
    given[2].text = other;
    given[3] = sign(arena, keys[0], "reach", "mute", 100, text);
    given[3].signature = pv_slice_of("short", 5);
    assert_int_equal(pv_standing_new(policy, given, 4, NULL, 0, &standing), PV_OK);
    for (int i = 0; i < 2; i++) {
        const struct pv_approval_standing *found = approval_of(standing, "reach", i == 0 ? "acme" : "mega");

        assert_int_equal(found->state, PV_APPROVAL_MISSING);
        assert_true(found->is_foreign);
    }
    assert_int_equal(approval_of(standing, "open", "mega")->state, PV_APPROVAL_MISSING);
    pv_standing_unref(standing);

    /* Of several the newest of the party's own counts, even after the text came back. */
    edited = load("\"max_rows\": 10", "\"max_rows\": 11");
    newer = text_of(arena, edited, "reach");
    given[0] = sign(arena, keys[2], "reach", "acme", 300, text);
    given[1] = sign(arena, keys[0], "reach", "acme", 200, newer);
    given[2] = sign(arena, keys[0], "reach", "acme", 100, text);
    assert_int_equal(pv_standing_new(edited, given, 3, NULL, 0, &standing), PV_OK);
    assert_int_equal(approval_of(standing, "reach", "acme")->state, PV_APPROVAL_VALID);
    assert_false(pv_standing_fits(standing, policy));
    pv_standing_unref(standing);
    assert_int_equal(pv_standing_new(policy, given, 3, NULL, 0, &standing), PV_OK);
    assert_int_equal(approval_of(standing, "reach", "acme")->state, PV_APPROVAL_STALE);
    assert_int_equal(approval_of(standing, "reach", "acme")->at_us, 200);
    assert_true(pv_slice_equal(approval_of(standing, "reach", "acme")->signed_text, newer));
    pv_standing_unref(standing);

    /* The order of the rows says nothing, and a row that is said to be newer than it was signed is nobody's. */
    given[0] = sign(arena, keys[0], "reach", "acme", 100, text);
    given[1] = given[0];
    given[1].at_us = 400;
    given[2] = sign(arena, keys[0], "reach", "acme", 200, newer);
    assert_int_equal(pv_standing_new(policy, given, 3, NULL, 0, &standing), PV_OK);
    assert_int_equal(approval_of(standing, "reach", "acme")->state, PV_APPROVAL_STALE);
    assert_int_equal(approval_of(standing, "reach", "acme")->at_us, 200);
    assert_false(approval_of(standing, "reach", "acme")->is_foreign);
    pv_standing_unref(standing);
    /* One party's approval is no other's, even under one key. */
    given[0] = sign(arena, keys[1], "reach", "acme", 100, text);
    given[0].party = "mega";
    assert_int_equal(pv_standing_new(policy, given, 1, NULL, 0, &standing), PV_OK);
    assert_int_equal(approval_of(standing, "reach", "mega")->state, PV_APPROVAL_MISSING);
    assert_true(approval_of(standing, "reach", "mega")->is_foreign);
    pv_standing_unref(standing);
    pv_policy_unref(edited);
    pv_policy_unref(policy);
    pv_arena_free(arena);
}

static void
owners_are_those_of_what_is_read(void **state)
{
    static const struct {
        const char *from, *to, *question;
        size_t count;
    } rows[] = {
        {"\"approvals\": [\"acme\", \"mega\"]", "\"approvals\": \"owners\"", "reach", 1},
        {"\"approvals\": [\"acme\", \"mega\"]", "\"approvals\": []", "reach", 0},
        {"\"title\": \"T\"", "\"approvals\": [\"acme\", \"mega\"]", "days", 2},
        {"\"title\": \"T\"", "\"approvals\": \"owners\"", "days", 1},
        {"\"title\": \"T\"", "\"approvals\": [\"acme\"]", "open", 1},
        {"SELECT day FROM ads.seen\"",
         "SELECT s.day FROM ads.seen s JOIN public.customers c USING (id)\", \"approvals\": \"owners\"", "days", 2},
    };
    struct pv_arena *arena = pv_arena_new(0);

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_policy *policy = load(rows[i].from, rows[i].to);
        struct pv_names parties = {NULL, 0};

        assert_int_equal(pv_approval_parties(arena, &policy->rooms[0],
                                             pv_room_question(&policy->rooms[0], rows[i].question), &parties),
                         PV_OK);
        assert_int_equal(parties.count, rows[i].count);
        pv_policy_unref(policy);
    }
    pv_arena_free(arena);
}

/* ---- consent ------------------------------------------------------------------------- */

static void
consent_stops_what_it_names(void **state)
{
    static const char *const reach[] = {"reach"}, *const days[] = {"days"}, *const customers[] = {"public.customers"},
                             *const seen[] = {"ads.seen"};
    const struct pv_names questions[] = {{reach, 1}, {days, 1}}, datasets[] = {{customers, 1}, {seen, 1}};
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_policy *policy = load(NULL, "");
    struct {
        struct pv_given_consent consent;
        bool is_stopped[2];
    } rows[] = {
        {say(arena, keys[0], "acme", PV_SUBJECT_QUESTION, "reach", true), {true, false}},
        {say(arena, keys[1], "mega", PV_SUBJECT_DATASET, "ads.seen", true), {false, true}},
        {say(arena, keys[0], "acme", PV_SUBJECT_ROOM, NULL, true), {true, true}},
        {say(arena, keys[0], "acme", PV_SUBJECT_ROOM, NULL, false), {false, false}},
        /* Not the party's key: it counts as withdrawn, whatever it says. */
        {say(arena, keys[2], "acme", PV_SUBJECT_QUESTION, "days", false), {false, true}},
        {say(arena, keys[2], "acme", PV_SUBJECT_QUESTION, "days", true), {false, true}},
        {say(arena, keys[2], "mute", PV_SUBJECT_QUESTION, "days", false), {false, true}},
        /* A party that left: what it withdrew stays, what it granted binds nobody. */
        {say(arena, keys[2], "gone", PV_SUBJECT_ROOM, NULL, true), {true, true}},
        {say(arena, keys[2], "gone", PV_SUBJECT_ROOM, NULL, false), {false, false}},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_standing *standing = NULL;
        size_t count = 0;

        assert_int_equal(pv_standing_new(policy, NULL, 0, &rows[i].consent, 1, &standing), PV_OK);
        for (size_t k = 0; k < 2; k++)
            assert_int_equal(pv_standing_withdrawn(standing, "retail", &questions[k], &datasets[k]) != NULL,
                             rows[i].is_stopped[k]);
        assert_null(pv_standing_withdrawn(standing, "other", &questions[0], &datasets[0]));
        (void) pv_standing_withdrawals(standing, &count);
        assert_int_equal(count, rows[i].is_stopped[0] || rows[i].is_stopped[1] ? 1 : 0);
        pv_standing_unref(standing);
    }
    /* A signature covers who said what of what, and when. */
    rows[3].consent.at_us++;
    assert_true(rows[3].consent.signature.len > 0);
    {
        struct pv_standing *standing = NULL;

        assert_int_equal(pv_standing_new(policy, NULL, 0, &rows[3].consent, 1, &standing), PV_OK);
        assert_non_null(pv_standing_withdrawn(standing, "retail", &questions[0], &datasets[0]));
        pv_standing_unref(standing);
    }
    pv_policy_unref(policy);
    pv_arena_free(arena);
}

static void
failing_allocations_are_reported(void **state)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_policy *policy = load(NULL, "");
    struct pv_slice text = text_of(arena, policy, "reach");
    struct pv_given_approval given = sign(arena, keys[0], "reach", "acme", 100, text);
    struct pv_given_consent withdrawn = say(arena, keys[0], "acme", PV_SUBJECT_DATASET, "ads.seen", true);
    struct pv_standing *standing = NULL;
    enum pv_status status = PV_NOMEM;
    int tries = 0;

    (void) state;
    for (long n = 1; status == PV_NOMEM; n++, tries++) {
        pv_alloc_fail_at(n);
        status = pv_standing_new(policy, &given, 1, &withdrawn, 1, &standing);
        pv_alloc_fail_at(0);
    }
    assert_int_equal(status, PV_OK);
    assert_true(tries > 3);
    pv_standing_unref(standing);
    pv_policy_unref(policy);
    pv_arena_free(arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_says_all_that_is_signed),
        cmocka_unit_test(names_cannot_pass_for_lines),
        cmocka_unit_test(an_edit_shows_or_does_not),
        cmocka_unit_test(an_approval_is_missing_valid_or_stale),
        cmocka_unit_test(owners_are_those_of_what_is_read),
        cmocka_unit_test(consent_stops_what_it_names),
        cmocka_unit_test(failing_allocations_are_reported),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
