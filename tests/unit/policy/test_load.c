#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <pthread.h>

#include "policy/load_int.h"
#include "policy/param.h"
#include "policy/policy.h"
#include "proxy/crypto/sign.h"

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

static void
write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void
write_sound_files(void)
{
    write_file("pgveil.json", config_text, 0644);
    write_file("users.json", users_text, 0644);
    write_file("rooms/retail_media.json", room_text, 0644);
    write_file("server.key", "key\n", 0600);
    write_file("secret/main", "password\n", 0600);
    write_file("secret/room", "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\n", 0600);
}

static int
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

static int
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
static size_t
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

static char *
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

static char *
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
static void
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

static void
expect_rows(const char *file, const char *sound, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *changed = exchange(sound, rows[i].old, rows[i].new);

        expect_faults(file, changed, rows[i].words);
        free(changed);
    }
    write_sound_files();
}

/* ---- tests -------------------------------------------------------------- */

static struct pv_policy *
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

static void
sound_config_is_read(void **state)
{
    struct pv_policy *policy = load_sound();
    const struct pv_config *config = &policy->config;
    char path[256];

    (void) state;
    assert_string_equal(config->path, "pgveil.json");
    assert_int_equal(config->listen_count, 1);
    assert_string_equal(config->listens[0].host, "127.0.0.1");
    assert_int_equal(config->listens[0].port, 6432);
    assert_true(config->has_tls);
    assert_int_equal(config->upstreams[0].host_count, 1);
    assert_string_equal(config->upstreams[0].hosts[0].name, "127.0.0.1");
    assert_int_equal(config->upstreams[0].hosts[0].port, 5433);
    assert_int_equal(config->upstreams[0].session_attrs, PV_ATTRS_ANY);
    assert_int_equal(config->upstreams[0].balance, PV_BALANCE_DISABLE);
    assert_int_equal(config->upstreams[0].sslmode, PV_SSL_VERIFY_FULL);
    assert_int_equal(config->upstreams[0].connect_timeout_ms, 10000);
    (void) snprintf(path, sizeof(path), "%s/secret/main", config->dir);
    assert_string_equal(config->upstreams[0].password_file, path);
    assert_int_equal(config->pool_mode, PV_POOL_TRANSACTION);
    assert_int_equal(config->pool_idle_timeout_ms, 600000);
    assert_true(config->has_pool_size);
    assert_int_equal(config->pool_wait_ms, 120000);
    assert_int_equal(config->pool_prepared_max, 200);
    assert_int_equal(config->query_bytes_max, 1024 * 1024);
    assert_int_equal(config->drain_timeout_ms, 30000);
    assert_int_equal(config->durability, PV_DURABILITY_STRICT);
    assert_true(config->is_logging_parameters);
    assert_int_equal(config->metrics->port, 9187);
    assert_null(config->console);
    pv_policy_unref(policy);
}

static void
several_hosts_are_read(void **state)
{
    static const struct {
        const char *text, *hosts; /* and what is read, as HOST:PORT */
    } rows[] = {
        {"\"host\": \"a,b\", \"port\": \"5432,5433\"", "a:5432 b:5433 "},
        {"\"host\": \"a,b\", \"port\": 5433", "a:5433 b:5433 "},
        {"\"host\": \"a,b\", \"port\": \"5433\"", "a:5433 b:5433 "},
        {"\"host\": [\"a\", \"b\", \"::1\"], \"port\": [1, 2, \"3\"]", "a:1 b:2 ::1:3 "},
        {"\"port\": [5434], \"host\": \"/run/pg,b\"", "/run/pg:5434 b:5434 "},
        {"\"host\": \"a\"", "a:5432 "},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        char *changed = exchange(config_text, "\"host\": \"127.0.0.1\", \"port\": 5433", rows[i].text);
        const struct pv_upstream *upstream;
        struct pv_policy *policy;
        char got[256] = "";

        write_file("pgveil.json", changed, 0644);
        free(changed);
        policy = load_sound();
        upstream = &policy->config.upstreams[0];
        for (size_t j = 0; j < upstream->host_count; j++)
            (void) snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s:%u ", upstream->hosts[j].name,
                            upstream->hosts[j].port);
        assert_string_equal(got, rows[i].hosts);
        pv_policy_unref(policy);
    }
    write_sound_files();
}

static void
session_attrs_are_read(void **state)
{
    static const char *const words[] = {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(words); i++) {
        char text[128];
        struct pv_policy *policy;
        char *changed;

        (void) snprintf(text, sizeof(text),
                        "\"port\": 5433, \"target_session_attrs\": \"%s\", \"load_balance_hosts\": \"random\"", words[i]);
        changed = exchange(config_text, "\"port\": 5433", text);
        write_file("pgveil.json", changed, 0644);
        free(changed);
        policy = load_sound();
        assert_int_equal(policy->config.upstreams[0].session_attrs, i);
        assert_int_equal(policy->config.upstreams[0].balance, PV_BALANCE_RANDOM);
        pv_policy_unref(policy);
    }
    write_sound_files();
}

static void
sound_users_are_read(void **state)
{
    struct pv_policy *policy = load_sound();
    const struct pv_user *alice = pv_policy_user(policy, pv_slice_cstr("alice"));
    const struct pv_user *service = pv_policy_user(policy, pv_slice_cstr("bi_service"));

    (void) state;
    assert_null(pv_policy_user(policy, pv_slice_cstr("ali")));
    assert_null(pv_policy_user(policy, pv_slice_cstr("")));
    assert_string_equal(alice->scram, VERIFIER);
    assert_null(alice->cert_cn);
    assert_int_equal(alice->attribute_count, 2);
    assert_true(alice->attributes[0].is_list);
    assert_int_equal(alice->attributes[0].value_count, 2);
    assert_string_equal(alice->attributes[0].values[1], "CA");
    assert_int_equal(alice->attributes[1].kind, PV_ATTRIBUTE_NUMBER);
    assert_string_equal(alice->attributes[1].values[0], "1.50");
    assert_string_equal(service->cert_cn, "bi@acme");
    assert_true(service->is_cert_required && service->is_scram_required);
    pv_policy_unref(policy);
}

static void
sound_room_is_read(void **state)
{
    struct pv_policy *policy = load_sound();
    const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr("retail_media"));
    const struct pv_dataset *customers, *impressions;
    const struct pv_question *overlap, *explore;
    const struct pv_member *alice;

    (void) state;
    assert_non_null(room);
    assert_null(pv_policy_room(policy, pv_slice_cstr("retail")));
    assert_string_equal(room->file, "rooms/retail_media.json");
    assert_ptr_equal(room->upstream, &policy->config.upstreams[0]);
    assert_true(room->has_expiry);
    assert_int_equal(room->expires_us, INT64_C(1798761600000000));
    assert_string_equal(room->timezone, "UTC");
    customers = pv_room_dataset(room, "public", "customers");
    impressions = pv_room_dataset(room, "ads", "impressions");
    assert_string_equal(customers->source_schema, "crm");
    assert_string_equal(impressions->source_schema, "ads");
    assert_int_equal(customers->column_count, 6);
    assert_int_equal(customers->relation.column_count, 5);
    assert_string_equal(customers->relation.columns[2], "region");
    assert_ptr_equal(customers->relation.owner, customers);
    assert_int_equal(pv_dataset_column(customers, "full_name")->mask.kind, PV_MASK_OMIT);
    assert_int_equal(pv_dataset_column(customers, "customer_id")->mask.kind, PV_MASK_HASH);
    assert_string_equal(pv_dataset_column(customers, "birth_date")->mask.unit, "year");
    assert_int_equal(pv_dataset_column(customers, "postcode")->mask.digits, 3);
    assert_string_equal(pv_dataset_column(impressions, "amount")->mask.number, "0.50");
    assert_int_equal(customers->rule->constraints[0].minimum, 25);
    assert_true(customers->rule->has_literal_columns);
    assert_int_equal(impressions->rule->type, PV_RULE_LIST);
    assert_int_equal(impressions->budgets[0].runs, 10);
    assert_int_equal(impressions->budgets[0].runs_per_member, 0);
    assert_false(impressions->has_receivers);
    overlap = pv_room_question(room, "overlap_by_region");
    explore = pv_room_question(room, "explore");
    assert_string_equal(overlap->parameters[0].minimum, "2024-01-01");
    assert_string_equal(overlap->parameters[0].type->name, "date");
    assert_int_equal(overlap->timeout_ms, 60000);
    assert_int_equal(overlap->approvals.count, 2);
    assert_true(explore->is_open);
    assert_int_equal(explore->dataset_count, 2);
    alice = pv_room_member(room, "alice");
    assert_true(pv_member_has_role(alice, "analyst"));
    assert_true(pv_question_admits(explore, alice));
    assert_true(pv_question_admits(overlap, pv_room_member(room, "bi_service")));
    assert_false(pv_question_admits(explore, pv_room_member(room, "bi_service")));
    pv_policy_unref(policy);
}

static void
config_faults_have_their_place(void **state)
{
    static const struct row rows[] = {
        {"\"audit\": {\"durability\": \"strict\"", "\"audit\": \1{\"durability\": \"relaxed\", \"write_behind\": \"1s\"",
         "\"write_behind\" is for a strict log: a relaxed one is written behind anyhow"},
        {"\"workers\": 0", "\1\"worker\": 0", "unknown key \"worker\": did you mean \"workers\"?"},
        {"\"workers\": 0", "\"workers\": \1\"0\"", "\"workers\" must be an integer, not a string"},
        {"\"workers\": 0", "\"workers\": \1-1", "\"workers\" must be between 0 and 1024"},
        {"\"mode\": \"transaction\"", "\1\"zebra\": 1",
         "unknown key \"zebra\": known here are mode, size, idle_timeout, server_lifetime, "
        "query_wait_timeout, server_check_delay, server_login_retry, max_prepared_statements"},
        {"\"mode\": \"transaction\"", "\"mode\": \1\"statement\"",
         "\"mode\" must be \"session\" or \"transaction\", not \"statement\""},
        {"{\n  \"listen\": [\"127.0.0.1:6432\"],", "\1{", "missing key \"listen\""},
        {"[\"127.0.0.1:6432\"]", "\1[]", "\"listen\" must name at least one address"},
        {"127.0.0.1:6432\"]", "127.0.0.1:6432\", \1\"127.0.0.1:6432\"]",
         "\"127.0.0.1:6432\" stands twice in \"listen\""},
        {"\"127.0.0.1:6432\"]", "\1\"127.0.0.1\", \1\":6432\", \1\"[::1]\", \1\"h:0\", \1\"h:65536\", \1\"::1:5\"]",
         "must be HOST:PORT, [V6]:PORT or the absolute path of a folder for a Unix socket, not \"127.0.0.1\"\n"
         "must be HOST:PORT, [V6]:PORT or the absolute path of a folder for a Unix socket, not \":6432\"\n"
         "must be HOST:PORT, [V6]:PORT or the absolute path of a folder for a Unix socket, not \"[::1]\"\n"
         "must be HOST:PORT, [V6]:PORT or the absolute path of a folder for a Unix socket, not \"h:0\"\n"
         "must be HOST:PORT, [V6]:PORT or the absolute path of a folder for a Unix socket, not \"h:65536\"\n"
         "must be HOST:PORT, [V6]:PORT or the absolute path of a folder for a Unix socket, not \"::1:5\""},
        {"\"127.0.0.1:6432\"]", "\1\"/nowhere/at/all\"]", "\"/nowhere/at/all\" is no folder"},
        {"\"1MiB\"", "\1\"1MB\"",
         "\"query_bytes\" must be a size with its unit KiB, MiB or GiB, such as \"1MiB\", not \"1MB\""},
        {"\"1MiB\"", "\1\"99999999999999999999KiB\"",
         "\"query_bytes\" must be a size with its unit KiB, MiB or GiB, such as \"1MiB\", not "
         "\"99999999999999999999KiB\""},
        {"\"1MiB\"", "\1\"1GiB\"", "\"query_bytes\" must be between 1KiB and 16MiB"},
        {"\"15s\"", "\1\"15\"",
         "\"login_timeout\" must be a time with its unit ms, s, min, h or d, such as \"15s\", not \"15\""},
        {"\"15s\"", "\1\"0s\"", "\"login_timeout\" must be between 1ms and 1h"},
        {"\"server.crt\"", "\1\"absent.crt\"", "cannot read \"absent.crt\": No such file or directory"},
        {"\"server.crt\"", "\1\"rooms\"", "cannot read \"rooms\": Is a directory"},
        {"\"password_file\": \"secret/main\"", "\"password_file\": \1\"server.crt\"",
         "\"server.crt\" is a secret file that group or others can read or write (mode 0644): chmod 600 it"},
        {"\"sslmode\": \"verify-full\", \"sslrootcert\": \"ca.crt\"", "\"sslmode\": \1\"verify-full\"",
         "sslmode \"verify-full\" needs \"sslrootcert\", the certificate to verify the server by"},
        {"{\"host\": \"127.0.0.1\", \"port\": 5433, \"dbname\": \"warehouse\", \"user\": \"pgveil\",\n"
         "             \"password_file\": \"secret/main\", \"sslmode\": \"verify-full\", \"sslrootcert\": \"ca.crt\"}",
         "\1{\"host\": \"h\", \"dbname\": \"d\", \"user\": \"u\"}",
         "sslmode \"verify-full\", the default, needs \"sslrootcert\", the certificate to verify the server by"},
        {"\"users\": \"users.json\"", "\"users\": \1\"absent.json\"",
         "cannot read \"absent.json\": No such file or directory"},
        {"\"rooms\": \"rooms\"", "\"rooms\": \1\"absent\"",
         "cannot read the folder \"absent\": No such file or directory"},
        {"\"metrics\": \"127.0.0.1:9187\"", "\"metrics\": \1\"9187\"",
         "\"metrics\" must be HOST:PORT or [V6]:PORT, not \"9187\""},
        {"\"metrics\": \"127.0.0.1:9187\"", "\"console\": \1\"6480\"",
         "\"console\" must be HOST:PORT or [V6]:PORT, not \"6480\""},
        {"\"metrics\": \"127.0.0.1:9187\"", "\"console\": \1\"128.0.0.1:6480\"",
         "\"console\" must be a loopback address (127.0.0.1:PORT, [::1]:PORT or localhost:PORT), not"
         " \"128.0.0.1:6480\": it speaks HTTP without TLS; reach it through an SSH tunnel"},
        {"\"port\": 5433", "\1\"sslcert\": \"ca.crt\", \"port\": \1" "0",
         "\"sslcert\" and \"sslkey\" go together\n\"port\" must be between 1 and 65535"},
        {"\"port\": 5433", "\"port\": \1\"5433,\"", "\"port\" holds 2 for 1 hosts: one for all of them, or one for each"},
        {"\"port\": 5433", "\"port\": \1\"five\"", "\"port\" must be between 1 and 65535"},
        {"\"port\": 5433", "\"port\": \1[]", "\"port\" must hold at least one"},
        {"\"port\": 5433", "\"port\": [\1true]", "\"port\" must be a string or an integer, not true or false"},
        {"\"host\": \"127.0.0.1\"", "\"host\": \1\"a,,b\"",
         "\"host\" must be a name, an address or the absolute path of a folder, not \"\""},
        {"\"host\": \"127.0.0.1\"", "\"host\": [\"a\", \1\"b c\"]",
         "\"host\" must be a name, an address or the absolute path of a folder, not \"b c\""},
        {"\"host\": \"127.0.0.1\"", "\"host\": [\"a\", \1" "7]", "\"host\" must be a string, not an integer"},
        {"\"host\": \"127.0.0.1\"", "\"host\": \1\"a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\"", "\"host\" holds more than 16"},
        {"\"port\": 5433", "\"target_session_attrs\": \1\"master\"",
         "\"target_session_attrs\" must be \"any\", \"read-write\", \"read-only\", \"primary\", \"standby\" or "
         "\"prefer-standby\", not \"master\""},
        {"\"workers\": 0,", "\"workers\": 0, \1\"workers\": 1,", "not valid JSON: duplicate object key near '\"workers\"'"},
        {"\"workers\": 0,", "\"workers\": 0\n  \1\"title\": 1,", "not valid JSON: '}' expected near '\"title\"'"},
        {"\"workers\": 0,", "\"workers\": \1nul,", "not valid JSON: invalid token near 'nul'"},
    };

    (void) state;
    expect_rows("pgveil.json", config_text, rows, PV_COUNT_OF(rows));
}

static void
unix_sockets_take_the_tcp_port(void **state)
{
    char listens[128];
    char *changed;
    struct pv_policy *policy;

    (void) state;
    (void) snprintf(listens, sizeof(listens), "[\"%s\", \"[::1]:7000\"]", folder);
    changed = exchange(config_text, "[\"127.0.0.1:6432\"]", listens);
    write_file("pgveil.json", changed, 0644);
    free(changed);
    policy = load_sound();
    assert_string_equal(policy->config.listens[0].unix_dir, folder);
    assert_null(policy->config.listens[0].host);
    assert_int_equal(policy->config.listens[0].port, 7000);
    assert_string_equal(policy->config.listens[1].host, "::1");
    pv_policy_unref(policy);
    write_sound_files();
}

static void
secrets_are_looked_at(void **state)
{
    static const struct {
        const char *text;
        const char *words;
    } rows[] = {
        {"", "\"secret/main\" holds no password"},
        {"\n", "\"secret/main\" holds no password"},
        {"one\ntwo\n", "\"secret/main\" must hold one line"},
        {"\xFF\n", "\"secret/main\" must hold valid UTF-8"},
    };
    char *changed = exchange(config_text, "\"secret/main\"", "\1\"secret/main\"");

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        write_file("secret/main", rows[i].text, 0600);
        expect_faults("pgveil.json", changed, rows[i].words);
    }
    free(changed);
    write_sound_files();
}

static void
user_faults_have_their_place(void **state)
{
    static const struct row rows[] = {
        {"\"alice\": {\"scram\": \"" VERIFIER "\"", "\"alice\": {\"scram\": \1\"md5abc\"",
         "this is no SCRAM-SHA-256 verifier, as `pgveil passwd` prints one"},
        {"\"alice\": {\"scram\": \"SCRAM-SHA-256$4096", "\"alice\": {\"scram\": \1\"SCRAM-SHA-256$1",
         "the verifier's iteration count must be between 4096 and 1000000"},
        {"\"alice\": {\"scram\": \"" VERIFIER "\", ", "\"alice\": \1{",
         "a user needs \"scram\" or \"cert_cn\" to log in"},
        {"\"cert_cn\": \"bi@acme\", \"require\": [", "\"require\": \1[", "\"cert\" is required, but there is no \"cert_cn\""},
        {"[\"cert\", \"scram\"]", "[\1\"password\"]", "\"require\" holds \"cert\" and \"scram\", not \"password\""},
        {"[\"US\", \"CA\"]", "[\"US\", \1" "1]", "the values of \"countries\" must be of one type"},
        {"[\"US\", \"CA\"]", "\1null",
         "\"countries\" must be a string, a number, true, false or an array, not null"},
        {"\"level\"", "\1\"le vel\"", "an attribute's name is made of letters, digits and _, not \"le vel\""},
        {"\"level\"", "\1\"Countries\"", "attributes \"countries\" and \"Countries\" differ in letter case only"},
        {"\"scram\"", "\"scram\": \"\", \1\"scram\"", "not valid JSON: duplicate object key near '\"scram\"'"},
        /* Columns count characters: the first name is two bytes of one. */
        {"\"level\": 1.50", "\1\"\xC3\xA9\": 1, \"b\": \1null",
         "an attribute's name is made of letters, digits and _, not \"\xC3\xA9\"\n"
         "\"b\" must be a string, a number, true, false or an array, not null"},
    };

    (void) state;
    expect_rows("users.json", users_text, rows, PV_COUNT_OF(rows));
}

/* What is made for a question bears the room's name: without one its faults are found all the same. */
static void
a_room_without_a_name_is_read_to_its_end(void **state)
{
    static const struct row rows[] = {
        {"\"SELECT c.region", "\"SELECT \1nothing.region",
         "\"room\" must be a string, not an integer\n"
         "question \"overlap_by_region\": missing FROM-clause entry for table \"nothing\" in room \"rooms/retail_media.json\""},
        {"\"title\": \"Acme", "\"title\": \"Ace", "\"room\" must be a string, not an integer"},
    };
    char *nameless = exchange(room_text, "\"room\": \"retail_media\"", "\"room\": \1" "7");

    (void) state;
    expect_rows("rooms/retail_media.json", nameless, rows, PV_COUNT_OF(rows));
    free(nameless);
}

static void
room_faults_have_their_place(void **state)
{
    static const struct row rows[] = {
        {"\"retail_media\"", "\1\"pgveil\"", "a room cannot be named \"pgveil\", which is the auditors' database"},
        {"\"retail_media\"", "\1\"-x\"",
         "a room's name is 1 to 40 letters, digits, _ and -, and does not begin with -, not \"-x\""},
        {"\"upstream\": \"main\"", "\"upstream\": \1\"other\"", "the config has no upstream \"other\""},
        {"\"2027-01-01T00:00:00Z\"", "\1\"2027-01-01\"",
         "\"expires\" must be a time as RFC 3339 writes it, such as \"2027-01-01T00:00:00Z\""},
        {"\"2027-01-01T00:00:00Z\"", "\1\"2027-02-30T00:00:00Z\"",
         "\"expires\" must be a time as RFC 3339 writes it, such as \"2027-01-01T00:00:00Z\""},
        {"\"2027-01-01T00:00:00Z\"", "\"2027-01-01T00:00:00.5+02:00\"", ""},
        {"\"keys/acme.pem\"}, ", "\1\"keys/absent.pem\"}, ", "cannot read \"keys/absent.pem\": No such file or directory"},
        {"\"keys/acme.pem\"}, ", "\1\"../ca.crt\"}, ", "\"../ca.crt\" holds no Ed25519 public key in PEM"},
        {"{\"party\": \"acme\"", "{\"party\": \1\"nobody\"", "the room has no party \"nobody\""},
        {"\"alice\": {\"party\": \"acme\", ", "\"alice\": \1{", "missing key \"party\""},
        {"\"roles\": [\"dashboard\"]", "\"roles\": [\1\"dash board\"]",
         "a role's name is made of letters, digits, _ and -, not \"dash board\""},
        {"\"members\": {\n", "\"members\": {\n    \1\"carol\": {\"party\": \"acme\"},\n",
         "warning: the users' file has no user \"carol\""},
        {"\"owner\": \"megamart\"", "\"owner\": \1\"nobody\"", "the room has no party \"nobody\""},
        {"\"public.customers\": {", "\1\"customers\": {\"owner\": \"acme\", \"columns\": {\"a\": {\"category\": 1}}}, "
         "\"public.customers\": {",
         "a data set's name must be SCHEMA.NAME, each 1 to 63 bytes long, not \"customers\""},
        {"\"public.customers\": {", "\1\"pg_catalog.x\": {\"owner\": \"acme\", \"columns\": {\"a\": {\"category\": 1}}}, "
         "\"public.customers\": {",
         "the schema \"pg_catalog\" is not for data sets"},
        {"\"entity\": \"customer_id\",\n      \"row", "\"entity\": \1\"nothing\",\n      \"row",
         "the data set lists no column \"nothing\""},
        {"\"entity\": \"customer_id\",\n      \"row", "\"entity\": \1\"full_name\",\n      \"row",
         "the entity column \"full_name\" is omitted from the room"},
        {"\"room\": \"retail_media\"", "\"room\": \1" "7", "\"room\" must be a string, not an integer"},
        {"{\"category\": 1},\n        \"birth", "{\"category\": \1" "4},\n        \"birth",
         "\"category\" must be 1 (shared), 2 (omitted) or 3 (masked)"},
        {"{\"category\": 1},\n        \"birth", "\1{},\n        \"birth", "missing key \"category\""},
        {"{\"category\": 1},\n        \"birth", "{\"category\": 1, \"mask\": \1\"hash\"},\n        \"birth",
         "category 1 is shared as it is: its mask can only be \"plain\""},
        {"\"full_name\":   {\"category\": 2}", "\"full_name\": {\"category\": 2, \"mask\": \1\"null\"}",
         "category 2 is omitted: its mask can only be \"omit\""},
        {"{\"truncate_date\": \"year\"}", "{\"truncate_date\": \1\"decade\"}",
         "\"truncate_date\" must be \"year\", \"quarter\", \"month\", \"week\", \"day\" or \"hour\", not \"decade\""},
        {"{\"prefix\": 3}", "{\"prefix\": \1" "0}", "\"prefix\" must be between 1 and 10000"},
        {"{\"prefix\": 3}", "{\"round\": \1" "1.5}", "\"round\" must be an integer, not a number with a fraction"},
        {"{\"bucket\": 0.50}", "{\"bucket\": \1-1}", "\"bucket\" must be a number above 0"},
        {"{\"prefix\": 3}", "\1{\"prefix\": 3, \"suffix\": 3}", "a mask written as an object has exactly one key"},
        {"{\"prefix\": 3}", "\1\"shuffle\"",
         "unknown mask \"shuffle\": known are plain, omit, null, hash, email_domain, and as objects hash, "
         "truncate_date, bucket, round, prefix, suffix, constant"},
        {"\"dimension_columns\": [\"region\", \"birth_date\"]", "\"dimension_columns\": [\1\"nothing\", \1\"full_name\"]",
         "data set \"public.customers\" lists no column \"nothing\"\ncolumn \"full_name\" is omitted from the room"},
        {"\"type\": \"aggregation\"", "\"type\": \1\"aggregate\"",
         "\"type\" must be \"aggregation\" or \"list\", not \"aggregate\""},
        {"[\"count\", \"count_distinct\"]", "[\"count\", \1\"max\"]",
         "unknown aggregate \"max\": known are count, count_distinct, sum, sum_distinct, avg, avg_distinct"},
        {"\"lower\"]", "\1\"pg_sleep\"]", "\"pg_sleep\" is no scalar function that a statement may use"},
        {"\"minimum\": 25}]", "\"minimum\": \1" "0}]", "\"minimum\" must be between 1 and 9223372036854775807"},
        {"comparison_columns\": [\"region\"", "comparison_columns\": [\1\"customer_id\"",
         "the entity column \"customer_id\" may never be compared with a literal"},
        {"\"list_columns\": [\"seen_on\"]", "\"list_columns\": [\"seen_on\"], \1\"suppression\": \"drop\"",
         "\"suppression\" belongs to rules of type \"aggregation\""},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \"day\", \"runs\": 10, \"runs_per_member\": \1" "11}",
         "\"runs_per_member\" is a member's share of \"runs\" and cannot be more than 10"},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \"day\", \"runs\": 10, \"runs_per_member\": \1" "0}",
         "\"runs_per_member\" must be between 1 and 1000000000"},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \"day\", \"runs\": 10, \"runs_per_member\": \1\"all\"}",
         "\"runs_per_member\" must be an integer, not a string"},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \"day\", \"runs\": 10, \"runs_per_member\": 10}", ""},
        {"\"access_budget\": [", "\"allowed_result_receivers\": [\1\"party:nobody\", \1\"user:nobody\", \1\"alice\"],\n"
         "      \"access_budget\": [",
         "the room has no party \"nobody\"\nthe room has no member \"nobody\"\nmust be role:R, party:P or user:U, not \"alice\""},
        {"\"access_budget\": [", "\"allowed_result_receivers\": \1\"party:acme\",\n      \"access_budget\": [",
         "\"allowed_result_receivers\" must be an array, not a string"},
        {"\"access_budget\": [", "\"allowed_result_receivers\": [\1\"role:nobodys\", \"party:acme\"],\n      \"access_budget\": [",
         "warning: no member of the room has the role \"nobodys\""},
        {"{\"per\": \"day\", \"runs\": 10}", "{\"per\": \1\"year\", \"runs\": \1-1}",
         "\"per\" must be \"day\", \"week\", \"month\" or \"lifetime\", not \"year\"\n"
         "\"runs\" must be between 0 and 1000000000"},
        {"\"overlap_by_region\"", "\"Overlap-2026, by \\\"Region\\\" (\303\251)\"", ""},
        {"\"overlap_by_region\"", "\1\"\"", "a question's name is 1 to 63 bytes without control characters, not \"\""},
        {"\"overlap_by_region\"", "\1\"a\\tb\"", "a question's name is 1 to 63 bytes without control characters, not \"a?b\""},
        {"\"overlap_by_region\"", "\1\"1234567890123456789012345678901234567890123456789012345678901234\"",
         "a question's name is 1 to 63 bytes without control characters, not "
         "\"1234567890123456789012345678901234567890123456789012345678901234\""},
        {"\"role:analyst\", \"user:bi_service\"",
         "\1\"role:none\", \1\"user:none\", \1\"party:none\", \1\"analyst\", \1\"role:\"",
         "warning: no member of the room has the role \"none\"\nthe room has no member \"none\"\n"
         "the room has no party \"none\"\nmust be role:R, party:P or user:U, not \"analyst\"\n"
         "must be role:R, party:P or user:U, not \"role:\""},
        {"\"approvals\": [\"acme\", \"megamart\"]", "\"approvals\": [\"acme\", \1\"nobody\"]",
         "the room has no party \"nobody\""},
        {"\"approvals\": [\"acme\", \"megamart\"]", "\"approvals\": \1\"everybody\"",
         "\"approvals\" must be an array of parties or \"owners\", not \"everybody\""},
        {"{\"entity\": \"c.customer_id\", \"minimum_entities\": 25,", "\1{\"entity\": \"c.customer_id\",",
         "missing key \"minimum_entities\": without it \"entity\" does nothing"},
        {"\"open\": true, \"datasets\": [\"public.customers\"", "\"open\": true, \"datasets\": [\1\"public.nothing\"",
         "the room has no data set \"public.nothing\""},
        {"\"open\": true, ", "\"open\": true, \1\"sql\": \"SELECT 1\", ",
         "\"sql\" is for fixed questions: an open one has no SQL"},
        {"\"minimum\": \"2024-01-01\"", "\"minimum\": \1\"soon\"", "\"minimum\" must be of type date, which this is not"},
        {"\"minimum\": \"2024-01-01\"", "\"minimum\": \"2024-01-01\", \"default\": \1\"2023-01-01\"",
         "\"default\" is outside the parameter's own bounds: parameter \"since\" must be at least 2024-01-01"},
        {"\"minimum\": \"2024-01-01\"", "\1\"minimum\": \"2024-01-02\", \"maximum\": \"2024-01-01\"",
         "\"minimum\" is above \"maximum\""},
        {"\"type\": \"date\", ", "\"type\": \1\"interval\", ",
         "\"interval\": a parameter cannot be an interval, whose text depends on settings; use integer and multiply in "
         "the SQL"},
        {"\"minimum\": \"2024-01-01\"", "\1\"pattern\": \"x\"", "\"pattern\" is for text parameters, not for date"},
        {"\"minimum\": \"2024-01-01\"", "\1\"max_items\": 3", "\"max_items\" is for arrays, such as date[]"},
    };

    (void) state;
    expect_rows("rooms/retail_media.json", room_text, rows, PV_COUNT_OF(rows));
}

static void
faults_inside_sql_stand_on_their_character(void **state)
{
    struct pv_faults *faults = pv_faults_new();
    struct place places[PLACES_MAX];
    struct pv_policy *policy = NULL;
    char *changed = exchange(room_text, "SELECT c.region, count",
                             "SELECT \\\"region\\\", \\u0022\\ud83d\\ude00\\u0022, \xC3\xA9 FROM\\n \1WHERE count");

    (void) state;
    assert_non_null(faults);
    assert_int_equal(take_marks(changed, places), 1);
    write_file("rooms/retail_media.json", changed, 0644);
    assert_int_equal(pv_policy_load("pgveil.json", faults, &policy), PV_INVALID);
    assert_int_equal(pv_faults_count(faults), 1);
    assert_int_equal(pv_faults_at(faults, 0)->line, places[0].line);
    assert_int_equal(pv_faults_at(faults, 0)->column, places[0].column);
    pv_faults_free(faults);
    free(changed);
    write_sound_files();
}

static void
sql_may_stand_in_a_file(void **state)
{
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    const char *start = strstr(room_text, "\"sql\": \"");
    const char *end = strstr(start, "\",\n");
    char *old = strndup(start, (size_t) (end - start) + 1);
    char *changed = exchange(room_text, old, "\"sql_file\": \"q.sql\"");
    char *sql = strndup(start + 8, (size_t) (end - start) - 8);

    (void) state;
    assert_non_null(faults);
    write_file("rooms/retail_media.json", changed, 0644);
    write_file("rooms/q.sql", sql, 0644);
    policy = load_sound();
    assert_string_equal(pv_room_question(&policy->rooms[0], "overlap_by_region")->sql, sql);
    pv_policy_unref(policy);
    policy = NULL;
    write_file("rooms/q.sql", "SELECT\n  \xC3\xA9 FROM WHERE\n", 0644);
    assert_int_equal(pv_policy_load("pgveil.json", faults, &policy), PV_INVALID);
    assert_string_equal(pv_faults_at(faults, 0)->file, "rooms/q.sql");
    assert_int_equal(pv_faults_at(faults, 0)->line, 2);
    assert_int_equal(pv_faults_at(faults, 0)->column, 10);
    pv_faults_free(faults);
    free(old);
    free(sql);
    free(changed);
    assert_int_equal(unlink("rooms/q.sql"), 0);
    write_sound_files();
}

static void
rooms_of_one_name_are_refused_and_others_sorted(void **state)
{
    char *second = exchange(room_text, "\"retail_media\"", "\1\"retail_media\"");
    char *other = exchange(room_text, "\"retail_media\"", "\"another\"");
    struct pv_policy *policy;

    (void) state;
    expect_faults("rooms/zz.json", second, "the room \"retail_media\" is defined in rooms/retail_media.json already");
    write_file("rooms/zz.json", other, 0644);
    policy = load_sound();
    assert_int_equal(policy->room_count, 2);
    assert_string_equal(policy->rooms[0].name, "another");
    assert_string_equal(pv_policy_room(policy, pv_slice_cstr("another"))->file, "rooms/zz.json");
    pv_policy_unref(policy);
    assert_int_equal(unlink("rooms/zz.json"), 0);
    free(second);
    free(other);
}

static void
faults_of_all_files_come_at_once(void **state)
{
    static const char wanted[] =
        "pgveil.json:11:14: \"workers\" must be an integer, not a string\n"
        "users.json:2:22: this is no SCRAM-SHA-256 verifier, as `pgveil passwd` prints one\n"
        "rooms/bad.json:1:1: not valid JSON: '[' or '{' expected near end of file\n"
        "rooms/retail_media.json:2:11: a room cannot be named \"pgveil\", which is the auditors' database\n"
        "rooms/retail_media.json:13:16: the room has no party \"nobody\"\n"
        "rooms/retail_media.json:16:21: warning: no member of the room has the attribute \"countries\": nobody sees a "
        "row\n";
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    char *config = exchange(config_text, "\"workers\": 0", "\"workers\": \"0\"");
    char *room = exchange(room_text, "\"retail_media\"", "\"pgveil\"");
    char *room_again = exchange(room, "\"owner\": \"megamart\"", "\"owner\": \"nobody\"");
    char *got;

    (void) state;
    assert_non_null(faults);
    write_file("pgveil.json", config, 0644);
    write_file("users.json", "{\n  \"alice\": {\"scram\": \"x\"}, \"bi_service\": {\"cert_cn\": \"x\"}}", 0644);
    write_file("rooms/bad.json", "", 0644);
    write_file("rooms/retail_media.json", room_again, 0644);
    assert_int_equal(pv_policy_load("pgveil.json", faults, &policy), PV_INVALID);
    got = faults_text(faults);
    assert_string_equal(got, wanted);
    assert_int_equal(pv_faults_count(faults), 5);
    pv_faults_free(faults);
    free(config);
    free(room);
    free(room_again);
    free(got);
    assert_int_equal(unlink("rooms/bad.json"), 0);
    write_sound_files();
}

static void
paths_are_shown_as_their_user_opens_them(void **state)
{
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    char *room = exchange(room_text, "\"retail_media\"", "\"pgveil\"");

    (void) state;
    assert_non_null(faults);
    write_file("rooms/retail_media.json", room, 0644);
    assert_int_equal(chdir("none"), 0);
    assert_int_equal(pv_policy_load("../pgveil.json", faults, &policy), PV_INVALID);
    assert_string_equal(pv_faults_at(faults, 0)->file, "../rooms/retail_media.json");
    assert_int_equal(chdir(".."), 0);
    pv_faults_free(faults);
    faults = pv_faults_new();
    assert_non_null(faults);
    assert_int_equal(pv_policy_load("absent/pgveil.json", faults, &policy), PV_IO);
    assert_string_equal(pv_faults_at(faults, 0)->message, "cannot read the file: No such file or directory");
    pv_faults_free(faults);
    free(room);
    write_sound_files();
}

static void *
unref_elsewhere(void *policy)
{
    pv_policy_unref(policy);
    return NULL;
}

static void
snapshots_are_freed_where_they_were_loaded(void **state)
{
    struct pv_policy *policy = load_sound();
    uint64_t generation = policy->generation;
    pthread_t thread;

    (void) state;
    assert_ptr_equal(pv_policy_ref(policy), policy);
    pv_policy_unref(policy);
    assert_int_equal(pthread_create(&thread, NULL, unref_elsewhere, policy), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    /* Still whole: only this thread may free it, and it has not been asked to. */
    assert_string_equal(policy->rooms[0].name, "retail_media");
    pv_policy_reap();
    policy = load_sound();
    assert_true(policy->generation > generation);
    pv_policy_unref(policy);
}

/* Ours alone: jansson 2.14 itself writes out of bounds when one of its own allocations fails. */
static void
failing_allocations_fail_the_load(void **state)
{
    size_t block_bytes = pv_load_block_bytes;
    enum pv_status status = PV_NOMEM;
    long nth;

    (void) state;
    pv_load_block_bytes = 1;
    for (nth = 1; status != PV_OK; nth++) {
        struct pv_faults *faults = pv_faults_new();
        struct pv_policy *policy = NULL;

        assert_non_null(faults);
        pv_alloc_fail_at(nth);
        status = pv_policy_load("pgveil.json", faults, &policy);
        /* A load may succeed only when the failure still lies ahead: none is swallowed. */
        if (status == PV_OK)
            assert_null(pv_alloc(1));
        pv_alloc_fail_at(0);
        if (status != PV_OK && status != PV_NOMEM) {
            char *got = faults_text(faults);

            fail_msg("allocation %ld: %s", nth, got);
        }
        if (status == PV_OK)
            pv_policy_unref(policy);
        pv_faults_free(faults);
    }
    assert_true(nth > 200);
    pv_load_block_bytes = block_bytes;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_config_is_read),
        cmocka_unit_test(several_hosts_are_read),
        cmocka_unit_test(session_attrs_are_read),
        cmocka_unit_test(sound_users_are_read),
        cmocka_unit_test(sound_room_is_read),
        cmocka_unit_test(config_faults_have_their_place),
        cmocka_unit_test(unix_sockets_take_the_tcp_port),
        cmocka_unit_test(secrets_are_looked_at),
        cmocka_unit_test(user_faults_have_their_place),
        cmocka_unit_test(room_faults_have_their_place),
        cmocka_unit_test(a_room_without_a_name_is_read_to_its_end),
        cmocka_unit_test(faults_inside_sql_stand_on_their_character),
        cmocka_unit_test(sql_may_stand_in_a_file),
        cmocka_unit_test(rooms_of_one_name_are_refused_and_others_sorted),
        cmocka_unit_test(faults_of_all_files_come_at_once),
        cmocka_unit_test(paths_are_shown_as_their_user_opens_them),
        cmocka_unit_test(snapshots_are_freed_where_they_were_loaded),
        cmocka_unit_test(failing_allocations_fail_the_load),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
