/*
 * A small room in a folder of its own, loaded as serve would: for those who judge statements without a database.
 */
#ifndef PV_ROOM_FIXTURE_H
#define PV_ROOM_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/policy.h"
#include "tests/unit/files.h"

static const char fixture_config[] =
    "{\"listen\": [\"127.0.0.1:6432\"], \"upstreams\": {\"main\": {\"host\": \"127.0.0.1\", \"dbname\": \"w\", "
    "\"user\": \"p\", \"sslmode\": \"disable\"}}, \"users\": \"users.json\", \"rooms\": \"rooms\", \"state\": \"s.db\"}";

static const char fixture_users[] = "{\"alice\": {\"cert_cn\": \"alice\"}, \"bob\": {\"cert_cn\": \"bob\"}}";

static const char fixture_room[] =
    "{\"room\": \"retail\", \"upstream\": \"main\", \"parties\": {\"acme\": {}, \"mega\": {}},"
    "\"members\": {\"alice\": {\"party\": \"acme\", \"roles\": [\"analyst\"]}, \"bob\": {\"party\": \"mega\"}},"
    "\"datasets\": {"
    "\"public.customers\": {\"owner\": \"mega\", \"source\": \"crm.customers\", \"entity\": \"customer_id\","
    " \"columns\": {\"customer_id\": {\"category\": 3}, \"email\": {\"category\": 3}, \"full_name\": {\"category\": 2},"
    "  \"region\": {\"category\": 1}, \"birth_date\": {\"category\": 3, \"mask\": {\"truncate_date\": \"year\"}},"
    "  \"income\": {\"category\": 1}},"
    " \"analysis_rule\": {\"type\": \"aggregation\", \"join_columns\": [\"customer_id\"],"
    "  \"dimension_columns\": [\"region\", \"birth_date\"],"
    "  \"aggregate_columns\": [{\"columns\": [\"income\"], \"functions\": [\"sum\", \"avg\"]}],"
    "  \"scalar_functions\": [\"date_trunc\", \"coalesce\", \"lower\"],"
    "  \"comparison_controls\": {\"allowed_literal_comparison_columns\": [\"region\", \"birth_date\"]},"
    "  \"disallowed_output_columns\": [\"birth_date\"],"
    "  \"output_constraints\": [{\"column\": \"customer_id\", \"type\": \"count_distinct\", \"minimum\": 25}]}},"
    "\"ads.impressions\": {\"owner\": \"acme\", \"entity\": \"customer_id\","
    " \"columns\": {\"customer_id\": {\"category\": 3}, \"channel\": {\"category\": 1}, \"seen_on\": {\"category\": 1},"
    "  \"cost\": {\"category\": 1}},"
    " \"analysis_rule\": {\"type\": \"aggregation\", \"join_columns\": [\"customer_id\"],"
    "  \"dimension_columns\": [\"channel\", \"seen_on\"], \"aggregate_columns\": [{\"columns\": [\"cost\"],"
    "  \"functions\": [\"sum\"]}], \"scalar_functions\": [\"coalesce\"],"
    "  \"output_constraints\": [{\"column\": \"customer_id\", \"type\": \"count_distinct\", \"minimum\": 10}]}},"
    "\"shop.matches\": {\"owner\": \"mega\", \"entity\": \"customer_id\","
    " \"columns\": {\"customer_id\": {\"category\": 3}, \"segment\": {\"category\": 1}, \"store\": {\"category\": 1}},"
    " \"analysis_rule\": {\"type\": \"list\", \"join_columns\": [\"customer_id\"], \"list_columns\": [\"segment\"]}},"
    "\"shop.purchases\": {\"owner\": \"mega\", \"entity\": \"customer_id\","
    " \"columns\": {\"customer_id\": {\"category\": 3}, \"amount\": {\"category\": 1}}}},"
    "\"questions\": {"
    "\"reach\": {\"type\": \"analytical\","
    " \"sql\": \"SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i"
    " USING (customer_id) WHERE i.seen_on >= :since GROUP BY c.region\","
    " \"parameters\": {\"since\": {\"type\": \"date\", \"minimum\": \"2024-01-01\"}},"
    " \"output\": {\"entity\": \"c.customer_id\", \"minimum_entities\": 25, \"max_rows\": 1000, \"timeout\": \"60s\"}},"
    "\"buyers\": {\"type\": \"analytical\", \"sql\": \"SELECT count(*) AS n FROM shop.purchases\","
    " \"members\": [\"user:bob\"]},"
    "\"twice\": {\"type\": \"list\","
    " \"sql\": \"SELECT email FROM public.customers WHERE region = :r OR lower(region) = :r ORDER BY 1\","
    " \"parameters\": {\"r\": {\"type\": \"text\", \"values\": [\"North\", \"South\"], \"default\": \"North\"}}},"
    "\"explore\": {\"type\": \"analytical\", \"open\": true, \"datasets\": [\"public.customers\", \"ads.impressions\"],"
    " \"members\": [\"role:analyst\"]},"
    "\"lists\": {\"type\": \"list\", \"open\": true, \"datasets\": [\"shop.matches\"]}}}";

static char fixture_folder[64];

/* NULL after saying the faults on standard error. */
static inline struct pv_policy *
fixture_load(void)
{
    char path[160];
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;

    (void) snprintf(fixture_folder, sizeof(fixture_folder), "/tmp/pv_room_XXXXXX");
    pv_assert(faults != NULL && mkdtemp(fixture_folder) != NULL);
    (void) snprintf(path, sizeof(path), "%s/rooms", fixture_folder);
    pv_assert(mkdir(path, 0700) == 0);
    file_write_in(fixture_folder, "pgveil.json", fixture_config);
    file_write_in(fixture_folder, "users.json", fixture_users);
    file_write_in(fixture_folder, "rooms/retail.json", fixture_room);
    (void) snprintf(path, sizeof(path), "%s/pgveil.json", fixture_folder);
    if (pv_policy_load(path, faults, &policy) != PV_OK)
        for (size_t i = 0; i < pv_faults_total(faults); i++)
            fprintf(stderr, "%s:%u:%u: %s\n", pv_faults_at(faults, i)->file, pv_faults_at(faults, i)->line,
                    pv_faults_at(faults, i)->column, pv_faults_at(faults, i)->message);
    pv_faults_free(faults);
    return policy;
}

static inline void
fixture_remove(void)
{
    static const char *const names[] = {"pgveil.json", "users.json", "rooms/retail.json"};
    char path[160];

    for (size_t i = 0; i < PV_COUNT_OF(names); i++) {
        (void) snprintf(path, sizeof(path), "%s/%s", fixture_folder, names[i]);
        pv_assert(unlink(path) == 0);
    }
    (void) snprintf(path, sizeof(path), "%s/rooms", fixture_folder);
    pv_assert(rmdir(path) == 0);
    pv_assert(rmdir(fixture_folder) == 0);
}

#endif
