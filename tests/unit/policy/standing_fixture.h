/*
 * A room with keys of its parties, for those who test what stands: approvals, consent, budgets.
 */
#ifndef PV_STANDING_FIXTURE_H
#define PV_STANDING_FIXTURE_H

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
#include "tests/unit/files.h"

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

static inline int
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
    file_write_in(folder, "pgveil.json", config_text);
    file_write_in(folder, "users.json", users_text);
    return 0;
}

static inline int
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
static inline struct pv_policy *
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
    file_write_in(folder, "rooms/retail.json", pv_buf_text(&text));
    pv_buf_clear(&text);
    (void) snprintf(path, sizeof(path), "%s/pgveil.json", folder);
    if (pv_policy_load(path, faults, &policy) != PV_OK)
        fail_msg("%s: %s", to, pv_faults_at(faults, 0)->message);
    pv_faults_free(faults);
    return policy;
}

static inline struct pv_slice
text_of(struct pv_arena *arena, const struct pv_policy *policy, const char *question)
{
    struct pv_slice text = {NULL, 0};

    assert_int_equal(pv_approval_text(arena, &policy->rooms[0], pv_room_question(&policy->rooms[0], question), &text),
                     PV_OK);
    return text;
}

static inline struct pv_given_approval
sign(struct pv_arena *arena, const struct pv_sign_key *key, const char *question, const char *party, int64_t at_us,
     struct pv_slice text)
{
    uint8_t *signature = pv_arena_alloc(arena, PV_SIGNATURE_BYTES);
    struct pv_slice whole = {NULL, 0};

    assert_int_equal(pv_approval_signed_text(arena, text, party, at_us, &whole), PV_OK);
    assert_int_equal(pv_sign(key, whole, signature), PV_OK);
    return (struct pv_given_approval){"retail", question, party, at_us, text, {signature, PV_SIGNATURE_BYTES}};
}

static inline struct pv_given_consent
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

static inline const struct pv_approval_standing *
approval_of(const struct pv_standing *standing, const char *question, const char *party)
{
    const struct pv_question_standing *found = pv_standing_question(standing, "retail", question);

    for (size_t i = 0; found != NULL && i < found->count; i++)
        if (strcmp(found->approvals[i].party, party) == 0)
            return &found->approvals[i];
    fail_msg("question %s does not ask for %s", question, party);
    abort();
}

#endif
