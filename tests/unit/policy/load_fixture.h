/*
 * A config, its users and a room, all sound, in a folder of their own, and faults put into them: for those who test the
 * loader.
 */
#ifndef PV_LOAD_FIXTURE_H
#define PV_LOAD_FIXTURE_H

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
#include "proxy/crypto/sign.h"
#include "tests/unit/files.h"

/*
 * Files are made from the sound ones below with one text exchanged. Where the new text
 * holds the byte \1 a fault is expected on the character behind it; the byte itself is
 * not written. So the test knows line and column without the loader's help.
 */
#define MARK '\1'
#define KEY_ZERO "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define VERIFIER "SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$" KEY_ZERO ":" KEY_ZERO

static const char config_text[] =
    "{\n"
    "  \"listen\": [\"127.0.0.1:6432\"],\n"
    "  \"tls\": {\"cert\": \"server.crt\", \"key\": \"server.key\", \"client_ca\": \"ca.crt\", \"require\": false},\n"
    "  \"upstreams\": {\n"
    "    \"main\": {\"host\": \"127.0.0.1\", \"port\": 5433, \"dbname\": \"warehouse\", \"user\": \"pgveil\",\n"
    "             \"password_file\": \"secret/main\", \"sslmode\": \"verify-full\", \"sslrootcert\": \"ca.crt\"}\n"
    "  },\n"
    "  \"users\": \"users.json\",\n"
    "  \"rooms\": \"rooms\",\n"
    "  \"state\": \"state/pgveil.db\",\n"
    "  \"workers\": 0,\n"
    "  \"pool\": {\"mode\": \"transaction\", \"size\": 20, \"idle_timeout\": \"10min\"},\n"
    "  \"limits\": {\"clients\": 10000, \"query_bytes\": \"1MiB\", \"login_timeout\": \"15s\"},\n"
    "  \"audit\": {\"durability\": \"strict\", \"parameters\": true},\n"
    "  \"metrics\": \"127.0.0.1:9187\"\n"
    "}\n";

static const char users_text[] =
    "{\n"
    "  \"alice\": {\"scram\": \"" VERIFIER "\", \"attributes\": {\"countries\": [\"US\", \"CA\"], \"level\": 1.50}},\n"
    "  \"bi_service\": {\"scram\": \"" VERIFIER "\", \"cert_cn\": \"bi@acme\", \"require\": [\"cert\", \"scram\"]}\n"
    "}\n";

/* INTERFACE 3, with the second data set that its questions name. */
static const char room_text[] =
    "{\n"
    "  \"room\": \"retail_media\",\n"
    "  \"title\": \"Acme x MegaMart campaign measurement\",\n"
    "  \"upstream\": \"main\",\n"
    "  \"expires\": \"2027-01-01T00:00:00Z\",\n"
    "  \"parties\": {\"acme\": {\"public_key\": \"keys/acme.pem\"}, \"megamart\": {\"public_key\": \"keys/acme.pem\"}},\n"
    "  \"members\": {\n"
    "    \"alice\": {\"party\": \"acme\", \"roles\": [\"analyst\"]},\n"
    "    \"bi_service\": {\"party\": \"megamart\", \"roles\": [\"dashboard\"]}\n"
    "  },\n"
    "  \"datasets\": {\n"
    "    \"public.customers\": {\n"
    "      \"owner\": \"megamart\",\n"
    "      \"source\": \"crm.customers\",\n"
    "      \"entity\": \"customer_id\",\n"
    "      \"row_filter\": \"country = ANY (:countries)\",\n"
    "      \"columns\": {\n"
    "        \"customer_id\": {\"category\": 3},\n"
    "        \"email\":       {\"category\": 3, \"mask\": \"hash\"},\n"
    "        \"full_name\":   {\"category\": 2},\n"
    "        \"region\":      {\"category\": 1},\n"
    "        \"birth_date\":  {\"category\": 3, \"mask\": {\"truncate_date\": \"year\"}},\n"
    "        \"postcode\":    {\"category\": 3, \"mask\": {\"prefix\": 3}}\n"
    "      },\n"
    "      \"analysis_rule\": {\n"
    "        \"type\": \"aggregation\",\n"
    "        \"join_columns\": [\"customer_id\"],\n"
    "        \"dimension_columns\": [\"region\", \"birth_date\"],\n"
    "        \"aggregate_columns\": [{\"columns\": [\"customer_id\"], \"functions\": [\"count\", \"count_distinct\"]}],\n"
    "        \"scalar_functions\": [\"date_trunc\", \"coalesce\", \"lower\"],\n"
    "        \"comparison_controls\": {\"allowed_literal_comparison_columns\": [\"region\", \"birth_date\"]},\n"
    "        \"output_constraints\": [{\"column\": \"customer_id\", \"type\": \"count_distinct\", \"minimum\": 25}],\n"
    "        \"suppression\": \"drop\"\n"
    "      }\n"
    "    },\n"
    "    \"ads.impressions\": {\n"
    "      \"owner\": \"acme\",\n"
    "      \"entity\": \"customer_id\",\n"
    "      \"columns\": {\"customer_id\": {\"category\": 3}, \"seen_on\": {\"category\": 1},\n"
    "                  \"amount\": {\"category\": 3, \"mask\": {\"bucket\": 0.50}}},\n"
    "      \"analysis_rule\": {\"type\": \"list\", \"join_columns\": [\"customer_id\"], \"list_columns\": [\"seen_on\"]},\n"
    "      \"access_budget\": [{\"per\": \"day\", \"runs\": 10}, {\"per\": \"lifetime\", \"runs\": 1000}]\n"
    "    }\n"
    "  },\n"
    "  \"questions\": {\n"
    "    \"overlap_by_region\": {\n"
    "      \"type\": \"analytical\",\n"
    "      \"title\": \"Customers reached, by region\",\n"
    "      \"sql\": \"SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN "
    "ads.impressions i USING (customer_id) WHERE i.seen_on >= :since GROUP BY c.region\",\n"
    "      \"parameters\": {\"since\": {\"type\": \"date\", \"minimum\": \"2024-01-01\"}},\n"
    "      \"members\": [\"role:analyst\", \"user:bi_service\"],\n"
    "      \"output\": {\"entity\": \"c.customer_id\", \"minimum_entities\": 25, \"max_rows\": 1000, \"timeout\": \"60s\"},\n"
    "      \"approvals\": [\"acme\", \"megamart\"]\n"
    "    },\n"
    "    \"explore\": {\"type\": \"analytical\", \"open\": true, \"datasets\": [\"public.customers\", "
    "\"ads.impressions\"], \"members\": [\"role:analyst\"]}\n"
    "  }\n"
    "}\n";

/* ---- files -------------------------------------------------------------- */

static char folder[] = "/tmp/pgveil-test-load-XXXXXX";

static inline void
write_file(const char *path, const char *text, mode_t mode)
{
    file_write_in(".", path, text);
    assert_int_equal(chmod(path, mode), 0);
}

static inline void
write_sound_files(void)
{
    write_file("pgveil.json", config_text, 0644);
    write_file("users.json", users_text, 0644);
    write_file("rooms/retail_media.json", room_text, 0644);
    write_file("server.key", "key\n", 0600);
    write_file("secret/main", "password\n", 0600);
    write_file("secret/room", "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\n", 0600);
}

static inline int
setup(void **state)
{
    struct pv_sign_key *key;

    (void) state;
    if (mkdtemp(folder) == NULL || chdir(folder) != 0)
        return -1;
    assert_int_equal(mkdir("rooms", 0700) | mkdir("rooms/keys", 0700) | mkdir("secret", 0700) | mkdir("none", 0700), 0);
    assert_int_equal(pv_sign_generate(&key), PV_OK);
    assert_int_equal(pv_sign_public_write(key, "rooms/keys/acme.pem"), PV_OK);
    pv_sign_key_free(key);
    write_file("server.crt", "certificate\n", 0644);
    write_file("ca.crt", "certificate\n", 0644);
    write_sound_files();
    return 0;
}

static inline int
teardown(void **state)
{
    char command[128];

    (void) state;
    (void) snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return chdir("/") != 0 || system(command) != 0 ? -1 : 0;
}

/* ---- faults ------------------------------------------------------------- */

#define PLACES_MAX 8

struct place {
    unsigned line, column;
};

/* Takes the marks out and notes their places. */
static inline size_t
take_marks(char *text, struct place *places)
{
    struct place at = {1, 1};
    char *to = text;
    size_t count = 0;

    for (; *text != '\0'; text++) {
        if (*text == MARK) {
            assert_true(count < PLACES_MAX);
            places[count++] = at;
            continue;
        }
        *to++ = *text;
        if (*text == '\n') {
            at.line++;
            at.column = 1;
        } else if (((unsigned char) *text & 0xC0) != 0x80) {
            at.column++;
        }
    }
    *to = '\0';
    return count;
}

static inline char *
exchange(const char *text, const char *old, const char *new)
{
    const char *found = strstr(text, old);
    char *changed;

    assert_non_null(found);
    changed = malloc(strlen(text) + strlen(new) + 1);
    assert_non_null(changed);
    (void) sprintf(changed, "%.*s%s%s", (int) (found - text), text, new, found + strlen(old));
    return changed;
}

static inline char *
faults_text(const struct pv_faults *faults)
{
    char *text = NULL;
    size_t len;
    FILE *file = open_memstream(&text, &len);

    assert_non_null(file);
    for (size_t i = 0; i < pv_faults_total(faults); i++) {
        const struct pv_fault *fault = pv_faults_at(faults, i);

        fprintf(file, "%s:%u:%u: %s%s\n", fault->file, fault->line, fault->column,
                fault->is_warning ? "warning: " : "", fault->message);
    }
    assert_int_equal(fclose(file), 0);
    return text;
}

/* Words are separated by new lines, one for each mark. */
static inline void
expect_faults(const char *file, const char *text, const char *words)
{
    struct pv_faults *faults = pv_faults_new();
    struct place places[PLACES_MAX];
    char *written = strdup(text);
    char *wanted = NULL;
    char *got;
    size_t len, count;
    FILE *list = open_memstream(&wanted, &len);
    struct pv_policy *policy = NULL;
    bool has_fault = false;

    assert_non_null(faults);
    assert_non_null(written);
    assert_non_null(list);
    count = take_marks(written, places);
    write_file(file, written, 0644);
    for (size_t i = 0; i < count; i++) {
        size_t line = strcspn(words, "\n");

        has_fault = has_fault || strncmp(words, "warning: ", 9) != 0;
        fprintf(list, "%s:%u:%u: %.*s\n", file, places[i].line, places[i].column, (int) line, words);
        words += line + (words[line] == '\n' ? 1 : 0);
    }
    assert_int_equal(fclose(list), 0);
    assert_int_equal(pv_policy_load("pgveil.json", faults, &policy), has_fault ? PV_INVALID : PV_OK);
    got = faults_text(faults);
    assert_string_equal(got, wanted);
    assert_string_equal(words, "");
    pv_policy_unref(policy);
    pv_faults_free(faults);
    free(written);
    free(wanted);
    free(got);
}

struct row {
    const char *old;
    const char *new;
    const char *words;
};

static inline void
expect_rows(const char *file, const char *sound, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *changed = exchange(sound, rows[i].old, rows[i].new);

        expect_faults(file, changed, rows[i].words);
        free(changed);
    }
    write_sound_files();
}

static inline struct pv_policy *
load_sound(void)
{
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    char *got;

    assert_non_null(faults);
    assert_int_equal(pv_policy_load("pgveil.json", faults, &policy), PV_OK);
    got = faults_text(faults);
    assert_string_equal(got, "");
    free(got);
    pv_faults_free(faults);
    return policy;
}

#endif
