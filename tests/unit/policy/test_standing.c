#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/decide.h"
#include "policy/standing.h"
#include "proxy/base/arena.h"
#include "proxy/crypto/sign.h"

/* Approvals by edit: the room below with one text exchanged, and whether a signature of before still stands. */

static const char config_text[] =
    "{\"listen\": [\"127.0.0.1:6432\"], \"upstreams\": {\"main\": {\"host\": \"127.0.0.1\", \"dbname\": \"w\", "
    "\"user\": \"p\", \"sslmode\": \"disable\"}}, \"users\": \"users.json\", \"rooms\": \"rooms\", \"state\": "
    "\"s.db\"}";

static const char users_text[] = "{\"alice\": {\"cert_cn\": \"alice\"}, \"bob\": {\"cert_cn\": \"bob\"}}";

static const char room_text[] =
    "{\"room\": \"retail\", \"title\": \"T\", \"upstream\": \"main\","
    " \"parties\": {\"acme\": {\"public_key\": \"acme.pem\"}, \"mega\": {\"public_key\": \"mega.pem\"}, \"mute\": {}},"
    " \"members\": {\"alice\": {\"party\": \"acme\", \"roles\": [\"analyst\"]}, \"bob\": {\"party\": \"mega\"}},"
    " \"datasets\": {"
    "\"public.customers\": {\"owner\": \"mega\", \"source\": \"crm.customers\", \"entity\": \"id\","
    " \"row_filter\": \"region = ANY (:regions)\", \"title\": \"people\","
    " \"columns\": {\"id\": {\"category\": 3}, \"region\": {\"category\": 1, \"title\": \"where\"},"
    " \"born\": {\"category\": 3, \"mask\": {\"truncate_date\": \"year\"}}},"
    " \"analysis_rule\": {\"type\": \"aggregation\", \"join_columns\": [\"id\"], \"dimension_columns\": [\"region\", "
    "\"born\"],"
    " \"output_constraints\": [{\"column\": \"id\", \"type\": \"count_distinct\", \"minimum\": 25}]},"
    " \"access_budget\": [{\"per\": \"day\", \"runs\": 9}]},"
    "\"ads.seen\": {\"owner\": \"acme\", \"columns\": {\"id\": {\"category\": 3}, \"day\": {\"category\": 1}}}},"
    " \"questions\": {"
    "\"reach\": {\"type\": \"analytical\", \"title\": \"Reach\","
    " \"sql\": \"SELECT c.region, count(*) AS n FROM public.customers c WHERE c.region <> :r GROUP BY c.region\","
    " \"parameters\": {\"r\": {\"type\": \"text\", \"max_length\": 9, \"default\": \"x\"}},"
    " \"output\": {\"entity\": \"c.id\", \"minimum_entities\": 5, \"max_rows\": 10}, \"approvals\": [\"acme\", "
    "\"mega\"]},"
    "\"days\": {\"type\": \"list\", \"sql\": \"SELECT day FROM ads.seen\","
    " \"access_budget\": [{\"per\": \"day\", \"runs\": 3}, {\"per\": \"lifetime\", \"runs\": 100}]},"
    "\"open\": {\"type\": \"analytical\", \"open\": true, \"datasets\": [\"public.customers\"], \"approvals\": "
    "\"owners\"}}}";

static char folder[64];
static struct pv_sign_key *keys[3]; /* acme, mega, a stranger */

static void
write_file(const char *name, const char *text)
{
    char path[128];
    FILE *file;

    (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int
set_up(void **state)
{
    static const char *const names[] = {"acme.pem", "mega.pem"};
    char path[128];

    (void) state;
    (void) snprintf(folder, sizeof(folder), "/tmp/pgveil-standing-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void) snprintf(path, sizeof(path), "%s/rooms", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < PV_COUNT_OF(keys); i++)
        assert_int_equal(pv_sign_generate(&keys[i]), PV_OK);
    for (size_t i = 0; i < PV_COUNT_OF(names); i++) {
        (void) snprintf(path, sizeof(path), "%s/rooms/%s", folder, names[i]);
        assert_int_equal(pv_sign_public_write(keys[i], path), PV_OK);
    }
    write_file("pgveil.json", config_text);
    write_file("users.json", users_text);
    return 0;
}

static int
tear_down(void **state)
{
    static const char *const names[] = {
        "rooms/acme.pem", "rooms/mega.pem", "rooms/retail.json", "pgveil.json", "users.json", "rooms", ""};
    char path[128];

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(keys); i++)
        pv_sign_key_free(keys[i]);
    for (size_t i = 0; i < PV_COUNT_OF(names); i++) {
        (void) snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void) remove(path);
    }
    return 0;
}

/* The room with each `from` (NULL: none) exchanged. */
static struct pv_policy *
load(const char *from, const char *to)
{
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    struct pv_buf text = {0};
    const char *at = room_text;
    char path[128];

    for (const char *found; from != NULL && (found = strstr(at, from)) != NULL; at = found + strlen(from)) {
        pv_buf_put(&text, at, (size_t) (found - at));
        pv_buf_put_text(&text, to);
    }
    assert_true(from == NULL || at != room_text);
    pv_buf_put_text(&text, at);
    write_file("rooms/retail.json", pv_buf_text(&text));
    pv_buf_clear(&text);
    (void) snprintf(path, sizeof(path), "%s/pgveil.json", folder);
    if (pv_policy_load(path, faults, &policy) != PV_OK)
        fail_msg("%s: %s", to, pv_faults_at(faults, 0)->message);
    pv_faults_free(faults);
    return policy;
}

static struct pv_slice
text_of(struct pv_arena *arena, const struct pv_policy *policy, const char *question)
{
    struct pv_slice text = {NULL, 0};

    assert_int_equal(pv_approval_text(arena, &policy->rooms[0], pv_room_question(&policy->rooms[0], question), &text),
                     PV_OK);
    return text;
}

static struct pv_given_approval
sign(struct pv_arena *arena, const struct pv_sign_key *key, const char *question, const char *party, int64_t at_us,
     struct pv_slice text)
{
    uint8_t *signature = pv_arena_alloc(arena, PV_SIGNATURE_BYTES);
    struct pv_slice whole = {NULL, 0};

    assert_int_equal(pv_approval_signed_text(arena, text, party, at_us, &whole), PV_OK);
    assert_int_equal(pv_sign(key, whole, signature), PV_OK);
    return (struct pv_given_approval){"retail", question, party, at_us, text, {signature, PV_SIGNATURE_BYTES}};
}

static struct pv_given_consent
say(struct pv_arena *arena, const struct pv_sign_key *key, const char *party, enum pv_subject_kind kind,
    const char *subject, bool is_withdrawn)
{
    struct pv_given_consent consent = {"retail", kind, subject, party, is_withdrawn, 77, {NULL, 0}};
    uint8_t *signature = pv_arena_alloc(arena, PV_SIGNATURE_BYTES);
    struct pv_slice text = {NULL, 0};

    assert_int_equal(pv_consent_text(arena, &consent, &text), PV_OK);
    assert_int_equal(pv_sign(key, text, signature), PV_OK);
    consent.signature = pv_slice_of(signature, PV_SIGNATURE_BYTES);
    return consent;
}

static const struct pv_approval_standing *
approval_of(const struct pv_standing *standing, const char *question, const char *party)
{
    const struct pv_question_standing *found = pv_standing_question(standing, "retail", question);

    assert_non_null(found);
    for (size_t i = 0; i < found->count; i++)
        if (strcmp(found->approvals[i].party, party) == 0)
            return &found->approvals[i];
    fail_msg("question %s does not ask for %s", question, party);
    return NULL;
}

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
        cmocka_unit_test(the_judgement_asks_for_standing),
        cmocka_unit_test(runs_are_demanded_of_every_period),
        cmocka_unit_test(results_go_to_receivers_alone),
        cmocka_unit_test(periods_are_utc),
        cmocka_unit_test(failing_allocations_are_reported),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
