#include "tests/unit/policy/load_fixture.h"

#include <pthread.h>

#include "policy/load_int.h"

/* Config and users; snapshots. Rooms are test_load_room.c's. */

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
    assert_int_equal(config->commit_delay_us, 1000);
    assert_int_equal(config->commit_siblings, 2);
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
config_faults_have_their_place(void **state)
{
    static const struct row rows[] = {
        {"\"audit\": {\"durability\": \"strict\"", "\"audit\": \1{\"durability\": \"relaxed\", \"write_behind\": \"1s\"",
         "\"write_behind\" is for a strict log: a relaxed one is written behind anyhow"},
        {"\"audit\": {\"durability\": \"strict\"", "\"audit\": {\"commit_delay\": \1" "100001",
         "\"commit_delay\" must be between 0 and 100000"},
        {"\"audit\": {\"durability\": \"strict\"", "\"audit\": {\"commit_siblings\": \1\"5\"",
         "\"commit_siblings\" must be an integer, not a string"},
        {"\"workers\": 0", "\1\"worker\": 0", "unknown key \"worker\": did you mean \"workers\"?"},
        {"\"workers\": 0", "\"workers\": \1\"0\"", "\"workers\" must be an integer, not a string"},
        {"\"workers\": 0", "\"workers\": \1-1", "\"workers\" must be between 0 and 1024"},
        {"\"mode\": \"transaction\"", "\1\"zebra\": 1",
         "unknown key \"zebra\": known here are mode, size, idle_timeout, server_lifetime, "
        "query_wait_timeout, server_check_delay, server_login_retry, max_prepared_statements, auto_prepare"},
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
        {"\"sslmode\": \"verify-full\", \"sslrootcert\": \"ca.crt\"", "\"sslmode\": \1\"prefer\"",
         "\"sslmode\" must be \"disable\", \"require\", \"verify-ca\" or \"verify-full\", not \"prefer\""},
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
    faults = pv_faults_new();
    assert_non_null(faults);
    assert_int_equal(pv_policy_load(".", faults, &policy), PV_IO);
    assert_string_equal(pv_faults_at(faults, 0)->message, "cannot read the file: Is a directory");
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
        cmocka_unit_test(config_faults_have_their_place),
        cmocka_unit_test(unix_sockets_take_the_tcp_port),
        cmocka_unit_test(secrets_are_looked_at),
        cmocka_unit_test(user_faults_have_their_place),
        cmocka_unit_test(faults_of_all_files_come_at_once),
        cmocka_unit_test(paths_are_shown_as_their_user_opens_them),
        cmocka_unit_test(snapshots_are_freed_where_they_were_loaded),
        cmocka_unit_test(failing_allocations_fail_the_load),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
