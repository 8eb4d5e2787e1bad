#include "tests/unit/audit/audit_test.h"

#include "policy/policy.h"
#include "proxy/app/commands.h"

#include <fcntl.h>

/* What a command wrote and how it ended. */
struct run {
    int status;
    char out[16384];
    char err[4096];
};

static void
read_back(int fd, char *text, size_t size)
{
    ssize_t len = pread(fd, text, size - 1, 0);

    assert_true(len >= 0);
    text[len] = '\0';
}

static struct run
run_audit(const char *state_path, const char *const *words)
{
    const struct pv_config config = {.state_path = state_path};
    char out_path[] = "/tmp/pgveil-out-XXXXXX";
    char err_path[] = "/tmp/pgveil-err-XXXXXX";
    int out = mkstemp(out_path), err = mkstemp(err_path);
    int old_out, old_err, argc = 0;
    char copies[12][256];
    char *argv[13];
    struct run run;

    (void) fflush(stdout);
    (void) fflush(stderr);
    old_out = dup(STDOUT_FILENO);
    old_err = dup(STDERR_FILENO);
    assert_true(out >= 0 && err >= 0 && old_out >= 0 && old_err >= 0);
    for (; words[argc] != NULL; argc++) {
        (void) snprintf(copies[argc], sizeof(copies[argc]), "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    argv[argc] = NULL;
    (void) dup2(out, STDOUT_FILENO);
    (void) dup2(err, STDERR_FILENO);
    run.status = pv_command_audit(&config, argc, argv);
    (void) fflush(stdout);
    (void) fflush(stderr);
    (void) dup2(old_out, STDOUT_FILENO);
    (void) dup2(old_err, STDERR_FILENO);
    read_back(out, run.out, sizeof(run.out));
    read_back(err, run.err, sizeof(run.err));
    (void) close(out);
    (void) close(err);
    (void) close(old_out);
    (void) close(old_err);
    (void) unlink(out_path);
    (void) unlink(err_path);
    return run;
}

#define RUN(where, ...) run_audit(((const struct place *) (where))->path, (const char *const[]){__VA_ARGS__, NULL})

static int
log_make(void **state)
{
    struct pv_journal *journal;
    uint64_t ticket = 0;

    if (place_make(state) != 0)
        return -1;
    journal = open_journal(*state, (struct pv_journal_options){0});
    assert_int_equal(put_begin(journal, 1, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 1, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_denied(journal, 2, NULL, &ticket), PV_OK);
    assert_int_equal(put_event(journal, "logout"), PV_OK);
    pv_journal_close(journal);
    return 0;
}

static void
lists_a_table_and_json(void **state)
{
    struct run run = RUN(*state, "list");
    const char *denied = strstr(run.out, "mallory");

    assert_int_equal(run.status, 0);
    assert_non_null(denied);
    /* Newest first. */
    assert_true(denied < strstr(run.out, "alice"));
    assert_memory_equal(run.out, "seq", 3);
    run =
        RUN(*state, "list", "--json", "--decision", "denied", "--room=retail", "--limit", "5", "--since", "2020-01-01");
    assert_int_equal(run.status, 0);
    assert_memory_equal(run.out, "[\n{\"seq\": 3, ", 13);
    assert_non_null(strstr(run.out, "\"outcome\": \"failed\", \"sqlstate\": \"42501\", \"service\": null}\n]\n"));
    run = RUN(*state, "list", "--json", "--user", "nobody");
    assert_int_equal(run.status, 0);
    assert_string_equal(run.out, "[]\n");
}

static void
shows_one(void **state)
{
    struct run run = RUN(*state, "show", "1");

    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.out, "query          SELECT region, count(*) FROM public.customers GROUP BY 1\n"));
    run = RUN(*state, "show", "--json", "1");
    assert_non_null(strstr(run.out, "\"parameters\": [\"2024-01-01\", null]"));
    run = RUN(*state, "show", "4");
    assert_non_null(strstr(run.out, "logout"));
    run = RUN(*state, "show", "99");
    assert_int_equal(run.status, 1);
    assert_string_equal(run.out, "");
}

static void
queries(void **state)
{
    struct run run = RUN(*state, "query", "SELECT user, count(*) AS n FROM query_log GROUP BY 1 ORDER BY 1");

    assert_int_equal(run.status, 0);
    assert_string_equal(run.out, "user     n\n-------  ----------\nalice    1\nmallory  1\n");
    run = RUN(*state, "query", "--json", "SELECT user FROM query_log WHERE seq = 1");
    assert_string_equal(run.out, "[\n{\"user\": \"alice\"}\n]\n");
    run = RUN(*state, "query", "CREATE TABLE t (a)");
    assert_int_equal(run.status, 2);
    assert_string_equal(run.out, "");
    assert_non_null(strstr(run.err, "only SELECT is allowed"));
}

static void
exports(void **state)
{
    struct run run = RUN(*state, "export", "--format", "csv");

    assert_int_equal(run.status, 0);
    assert_memory_equal(run.out, "seq,at,session,room,", 20);
    assert_non_null(strstr(run.out, "\"[\"\"2024-01-01\"\", null]\""));
    run = RUN(*state, "export", "--format", "jsonl");
    assert_memory_equal(run.out, "{\"seq\": 1, ", 11);
    assert_non_null(strstr(run.out, "}\n{\"seq\": 3, "));
    run = RUN(*state, "export");
    assert_int_equal(run.status, 2);
}

static void
verifies_with_a_head(void **state)
{
    const struct place *place = *state;
    char head_path[128];
    struct run run = RUN(*state, "verify");
    FILE *file;

    assert_int_equal(run.status, 0);
    assert_memory_equal(run.out, "ok: 4 records", 13);
    run = RUN(*state, "head");
    assert_int_equal(run.status, 0);
    assert_memory_equal(run.out, "{\"seq\": 4, \"hash\": \"", 20);
    (void) snprintf(head_path, sizeof(head_path), "%s.copy", place->path);
    file = fopen(head_path, "w");
    assert_non_null(file);
    assert_true(fputs(run.out, file) >= 0);
    assert_int_equal(fclose(file), 0);
    run = RUN(*state, "verify", "--head", head_path);
    assert_int_equal(run.status, 0);
    raw(place, "DROP TRIGGER event_no_delete; DELETE FROM event");
    run = RUN(*state, "verify", "--head", head_path);
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.out, "TAMPERED: head mismatch"));
    run = RUN(*state, "verify", "--head", place->path);
    assert_int_equal(run.status, 2);
    raw(place, "DROP TRIGGER statement_no_update; UPDATE statement SET room = 'x' WHERE seq = 3");
    run = RUN(*state, "verify");
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.out, "changed: record 3"));
}

/* A time, or how long ago; what is neither is named, with what would be one. */
static void
since_is_a_time_or_a_span(void **state)
{
    /* The sample's records are of 2024 or so: all of them lie within the last million days, none within the last minute. */
    static const char *const all[] = {"2000-01-01", "2000-01-01T00:00:00Z", "1000000d", "99999999h", "9223372036854775807d",
                                      "9000000000000ms"};
    static const char *const none[] = {"2100-01-01", "0d", "60s", "1min", "0h", "500ms"};
    static const char *const wrong[] = {"yesterday", "1", "h", "1m", "1w", "-1h", "1h30min", " 1h", "1 h", "1.5h", "",
                                        "99999999999999999999d", "2026-02-30", "1H", "2026-01-31 x"};

    for (size_t i = 0; i < PV_COUNT_OF(all); i++) {
        struct run run = RUN(*state, "list", "--since", all[i]);

        assert_int_equal(run.status, 0);
        assert_non_null(strstr(run.out, "mallory"));
    }
    for (size_t i = 0; i < PV_COUNT_OF(none); i++) {
        struct run run = RUN(*state, "list", "--since", none[i]);

        assert_int_equal(run.status, 0);
        assert_null(strstr(run.out, "mallory"));
    }
    for (size_t i = 0; i < PV_COUNT_OF(wrong); i++) {
        struct run run = RUN(*state, "list", "--since", wrong[i]);
        char words[64];

        (void) snprintf(words, sizeof(words), "12h or 7d; not: %s\n", wrong[i]);
        assert_int_equal(run.status, 2);
        assert_true(run.out[0] == '\0' && strstr(run.err, words) != NULL);
    }
}

static void
misuse_exits_2(void **state)
{
    static const char *const rows[][4] = {
        {"nonsense"},
        {"list", "extra"},
        {"list", "--nonsense"},
        {"list", "--limit", "many"},
        {"list", "--decision", "maybe"},
        {"list", "--since", "yesterday"},
        {"list", "--limit"},
        {"show"},
        {"show", "one"},
        {"show", "-1"},
        {"query"},
        {"head", "--json"},
        {"verify", "--head", "/nonexistent"},
        {"export", "--format", "xml"},
    };

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        const char *const words[] = {rows[i][0], rows[i][1], rows[i][2], rows[i][3], NULL};
        struct run run = run_audit(((struct place *) *state)->path, words);

        if (run.status != 2 || run.err[0] == '\0' || run.out[0] != '\0')
            fail_msg("%s %s: %d %s", words[0], words[1] == NULL ? "" : words[1], run.status, run.err);
    }
    assert_int_equal(run_audit("/nonexistent/state.db", (const char *const[]){"list", NULL}).status, 2);
    assert_int_equal(run_audit("/nonexistent/state.db", (const char *const[]){NULL}).status, 2);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, log_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(lists_a_table_and_json), TEST(shows_one),      TEST(queries), TEST(exports),
        TEST(verifies_with_a_head),   TEST(misuse_exits_2), TEST(since_is_a_time_or_a_span),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
