#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/policy.h"
#include "tests/unit/files.h"

/* Rooms that load and protect badly: each row changes a sound room in one place and names the warning it must bring. */

static const char config_text[] =
    "{\"listen\": [\"127.0.0.1:6432\"], \"upstreams\": {\"main\": {\"host\": \"127.0.0.1\", \"dbname\": \"w\", "
    "\"user\": \"p\", \"sslmode\": \"disable\"}}, \"users\": \"users.json\", \"rooms\": \"rooms\", \"state\": \"s.db\"}";

#define KEY_ZERO "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static const char users_text[] =
    "{\"alice\": {\"scram\": \"SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$" KEY_ZERO ":" KEY_ZERO "\"}}";

static const char sound_text[] =
    "{\"room\": \"r\", \"upstream\": \"main\", \"expires\": \"2099-01-01T00:00:00Z\",\n"
    "\"parties\": {\"acme\": {}}, \"members\": {\"alice\": {\"party\": \"acme\", \"roles\": [\"analyst\"]}},\n"
    "\"datasets\": {\"public.people\": {\"owner\": \"acme\", \"entity\": \"who\", \"columns\": {\n"
    "\"who\": {\"category\": 3},\n"
    "\"email\": {\"category\": 3},\n"
    "\"region\": {\"category\": 1}},\n"
    "\"analysis_rule\": {\"type\": \"aggregation\", \"join_columns\": [\"who\"],\n"
    "\"dimension_columns\": [\"region\"],\n"
    "\"scalar_functions\": [\"lower\", \"nullif\"],\n"
    "\"output_constraints\": [{\"column\": \"who\", \"type\": \"count_distinct\", \"minimum\": 20}]}}},\n"
    "\"questions\": {\"open\": {\"type\": \"analytical\", \"open\": true, \"datasets\": [\"public.people\"],\n"
    "\"members\": [\"role:analyst\"]},\n"
    "\"fixed\": {\"type\": \"analytical\", \"sql\": \"SELECT region, count(*) AS n FROM public.people GROUP BY region\",\n"
    "\"output\": {\"entity\": \"who\", \"minimum_entities\": 20}}}}";

static const struct row {
    const char *from, *to; /* NULL: the room as it is */
    const char *warning;   /* NULL: none */
    unsigned line;
} rows[] = {
    {NULL, NULL, NULL, 0},
    {"2099-", "2020-", "has expired", 1},
    {"\"who\": {\"category\": 3}", "\"who\": {\"category\": 1}", "\"who\" of \"public.people\" looks like an identifier", 4},
    {"\"email\": {\"category\": 3}", "\"email\": {\"category\": 1}", "looks like an identifier", 5},
    {"\"email\": {\"category\": 3}", "\"email\": {\"category\": 3, \"mask\": \"email_domain\"}", NULL, 0},
    {"[\"region\"]", "[\"region\", \"email\"]", "tells people apart and may be compared with a literal", 8},
    {"\"lower\"", "\"sqrt\"", "function \"sqrt\" can fail on a value", 9},
    {"\"minimum\": 20", "\"minimum\": 1", "a minimum of 1 releases groups of one entity", 10},
    {"role:analyst", "user:alice", NULL, 0},
    {"\"minimum_entities\": 20", "\"minimum_entities\": 1", "a minimum of 1", 14},
    {"SELECT region, count(*) AS n", "SELECT region, count(*) AS who", "outputs \"who\"", 13},
    {"[\"analyst\"]", "[\"auditor\"]", "no member of the room may ask question \"open\"", 11},
    {"[\"analyst\"]", "[\"auditor\"]", "no member of the room has the role \"analyst\"", 12},
    {"\"region\": {\"category\": 1}}", "\"region\": {\"category\": 3}}", "\"region\" of \"public.people\" looks as if it had "
     "very many values", 8},
    {"\"email\": {\"category\": 3}", "\"postcode\": {\"category\": 1}", NULL, 0},
    {"\"who\": {\"category\": 3},\n\"email\": {\"category\": 3}", "\"who\": {\"category\": 3},\n\"email\": {\"category\": 3, "
     "\"mask\": \"email_domain\"}", NULL, 0},
    {"\"entity\": \"who\", \"columns\"", "\"columns\"", "\"public.people\" has an analysis rule and no \"entity\"", 7},
    {"[{\"column\": \"who\"", "[{\"column\": \"email\"", "no threshold counts the entity \"who\"", 10},
    {",\n\"output_constraints\": [{\"column\": \"who\", \"type\": \"count_distinct\", \"minimum\": 20}]", "",
     "no \"output_constraints\": groups of any size", 7},
    {",\n\"output\": {\"entity\": \"who\", \"minimum_entities\": 20}", "", "reads \"public.people\" and has no "
     "\"minimum_entities\"", 13},
    {"\"owner\": \"acme\",", "\"owner\": \"acme\", \"allowed_result_receivers\": [\"user:alice\"],", NULL, 0},
    {"\"owner\": \"acme\",", "\"owner\": \"acme\", \"allowed_result_receivers\": [],",
     "nobody who may ask question \"open\" is among the allowed_result_receivers", 11},
    {"\"owner\": \"acme\",", "\"owner\": \"acme\", \"allowed_result_receivers\": [],",
     "nobody who may ask question \"fixed\" is among the allowed_result_receivers", 13},
    {"\"owner\": \"acme\",", "\"owner\": \"acme\", \"access_budget\": [{\"per\": \"day\", \"runs\": 9, "
     "\"runs_per_member\": 9}],", "comes back with every new period", 3},
    {"\"owner\": \"acme\",", "\"owner\": \"acme\", \"access_budget\": [{\"per\": \"day\", \"runs\": 9}, {\"per\": "
     "\"lifetime\", \"runs\": 90}],", NULL, 0},
    {"\"members\": [\"role:analyst\"]},", "\"access_budget\": [{\"per\": \"week\", \"runs\": 9}]},",
     "comes back with every new period", 12},
};

static void
change(char *text, size_t size, const struct row *row)
{
    const char *at = row->from == NULL ? NULL : strstr(sound_text, row->from);

    if (row->from == NULL) {
        (void) snprintf(text, size, "%s", sound_text);
        return;
    }
    assert_non_null(at);
    (void) snprintf(text, size, "%.*s%s%s", (int) (at - sound_text), sound_text, row->to, at + strlen(row->from));
}

static void
check(const char *folder, const struct row *row)
{
    char path[160], text[4096];
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    size_t found = 0;

    change(text, sizeof(text), row);
    file_write_in(folder, "rooms/r.json", text);
    (void) snprintf(path, sizeof(path), "%s/pgveil.json", folder);
    assert_int_equal(pv_policy_load(path, faults, &policy), PV_OK);
    for (size_t i = 0; i < pv_faults_total(faults); i++) {
        const struct pv_fault *fault = pv_faults_at(faults, i);

        assert_true(fault->is_warning);
        if (row->warning == NULL)
            fail_msg("%s: %s", row->to == NULL ? "as it is" : row->to, fault->message);
        found += strstr(fault->message, row->warning) != NULL && fault->line == row->line;
    }
    if (row->warning != NULL && found != 1)
        fail_msg("%s: %zu warnings on line %u say: %s", row->to, found, row->line, row->warning);
    pv_policy_unref(policy);
    pv_faults_free(faults);
}

static void
rooms_that_protect_badly(void **state)
{
    static const char *const names[] = {"pgveil.json", "users.json", "rooms/r.json"};
    char folder[] = "/tmp/pv_advise_XXXXXX", path[160];

    (void) state;
    assert_non_null(mkdtemp(folder));
    (void) snprintf(path, sizeof(path), "%s/rooms", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    file_write_in(folder, "pgveil.json", config_text);
    file_write_in(folder, "users.json", users_text);
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        check(folder, &rows[i]);
    for (size_t i = 0; i < PV_COUNT_OF(names); i++) {
        (void) snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    (void) snprintf(path, sizeof(path), "%s/rooms", folder);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rooms_that_protect_badly)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
