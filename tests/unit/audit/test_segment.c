/* Sealed segments: nothing lost, nothing twice, whatever happens on the way (seal.c's invariants). */
#include "tests/unit/audit/segment_test.h"

/* ---- Sealing ---- */

static void
sealed_records_read_as_before(void **state)
{
    const struct place *place = *state;
    struct pv_seal_result result;
    struct pv_verdict verdict;
    struct stat facts;
    char path[160];

    remember(place);
    result = seal(place, now);
    assert_int_equal(result.sealed, 1);
    assert_int_equal(result.records, 25);
    assert_int_equal(result.last_seq, 25);
    assert_same(place);
    /* What was sealed is in the segment alone; the end of statement 23 and the event of the sealing are in the live
     * file. */
    assert_int_equal(raw_number(place, "SELECT count(*) FROM statement"), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM statement_end"), 1);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM event"), 1);
    segment_path(place, 1, path);
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0400);
    verdict = verify(place, NULL);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_int_equal(verdict.records, 27);
    assert_int_equal(verdict.segments, 1);
    assert_true(verdict.has_key);
    /* Nothing more is due, for the live file holds its newest record and no statement. */
    assert_int_equal(seal(place, now).sealed, 1);
    assert_int_equal(seal(place, now).sealed, 1);
    assert_same(place);
    assert_sound(place);
}

static void
the_log_goes_on_over_segments(void **state)
{
    const struct place *place = *state;

    for (uint64_t i = 0; i < 5; i++) {
        (void) seal(place, now);
        add_statements(place, 100 + i * 10, 10);
    }
    remember(place);
    (void) seal(place, now);
    assert_same(place);
    assert_sound(place);
    assert_int_equal(verify(place, NULL).segments, 6);
    {
        char *count = ask_once(place, "SELECT count(*) AS n FROM query_log");

        assert_string_equal(count, "{\"n\": 63}\n");
        free(count);
    }
}

static void
a_running_statement_stays_in_the_live_file(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){0});
    uint64_t ticket = 0;
    struct pv_seal_result result;

    assert_int_equal(put_begin(journal, 50, NULL, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
    add_statements(place, 51, 5);
    result = seal(place, now);
    assert_int_equal(result.last_seq, 26);
    assert_int_equal(raw_number(place, "SELECT min(id) FROM statement"), 50);
    assert_int_equal(seal(place, now).sealed, 0);
    journal = open_journal(place, (struct pv_journal_options){.is_serving = true});
    pv_journal_close(journal); /* marked as lost: it may go */
    assert_int_equal(seal(place, now).sealed, 1);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM statement WHERE id = 50"), 0);
    assert_sound(place);
}

static void
a_number_is_never_given_twice(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal;

    (void) seal(place, now);
    journal = open_journal(place, (struct pv_journal_options){.is_serving = true});
    assert_true(pv_statement_id_next() > 13);
    pv_journal_close(journal);
}

static void
size_and_age_say_when(void **state)
{
    const struct place *place = *state;

    /* The records bear a time of January 2026, the login of now. */
    assert_int_equal(seal(place, (struct pv_seal_options){.segment_bytes = 1024 * 1024}).sealed, 0);
    assert_int_equal(seal(place, (struct pv_seal_options){.segment_age_ms = 3600 * 1000}).sealed, 0);
    assert_false(pv_log_seal_is_due(place->path, &(struct pv_seal_options){.segment_age_ms = 3600 * 1000}));
    (void) usleep(20000);
    assert_true(pv_log_seal_is_due(place->path, &(struct pv_seal_options){.segment_age_ms = 10}));
    assert_int_equal(seal(place, (struct pv_seal_options){.segment_age_ms = 10}).sealed, 1);
    add_statements(place, 100, 2000);
    assert_true(seal(place, (struct pv_seal_options){.segment_bytes = 64 * 1024}).sealed > 1);
    assert_true(verify(place, NULL).segments > 2);
    assert_sound(place);
}

static void
what_is_not_shipped_stays(void **state)
{
    const struct place *place = *state;
    const struct pv_seal_options options = {.is_now = true, .is_file_shipped = true, .is_syslog_shipped = true};

    assert_int_equal(seal(place, options).sealed, 0);
    raw(place, "INSERT INTO shipped VALUES ('file', 20), ('syslog', 9)");
    assert_int_equal(seal(place, options).last_seq, 9);
    assert_sound(place);
}

static void
a_broken_chain_is_not_sealed(void **state)
{
    const struct place *place = *state;
    struct pv_seal_result result;
    char error[512] = "", path[160];

    raw(place, "DROP TRIGGER statement_no_update; UPDATE statement SET query = 'SELECT 1' WHERE seq = 4");
    assert_int_equal(pv_log_seal(place->path, &now, &result, error, sizeof(error)), PV_CORRUPT);
    assert_non_null(strstr(error, "record 4"));
    assert_int_equal(raw_number(place, "SELECT count(*) FROM segment"), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM statement"), 13);
    segment_path(place, 1, path);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- The process ends at each step ---- */

static int steps_left;

static void
end_at(const char *step)
{
    (void) step;
    if (steps_left-- == 0)
        _exit(77);
}

/* In a child; whether it came to its end before the step. */
static bool
seal_killed_at(const struct place *place, int step, struct pv_seal_options options)
{
    int wstatus;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct pv_seal_result result;

        steps_left = step;
        pv_seal_at = end_at;
        _exit(pv_log_seal(place->path, &options, &result, NULL, 0) == PV_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &wstatus, 0), child);
    assert_true(WIFEXITED(wstatus) && (WEXITSTATUS(wstatus) == 0 || WEXITSTATUS(wstatus) == 77));
    return WEXITSTATUS(wstatus) == 0;
}

static void
a_kill_at_any_step_loses_and_doubles_nothing(void **state)
{
    bool is_done = false;
    int step;

    for (step = 0; !is_done; step++) {
        void *inner = NULL;

        assert_int_equal(log_make(&inner), 0);
        add_statements(inner, 100, 700); /* more than one removal */
        remember(inner);
        is_done = seal_killed_at(inner, step, now);
        assert_same(inner);
        assert_sound(inner);
        (void) seal(inner, now);
        assert_same(inner);
        assert_sound(inner);
        assert_int_equal(raw_number(inner, "SELECT count(*) FROM statement"), 0);
        assert_int_equal(place_remove(&inner), 0);
    }
    assert_true(step > 8);
    (void) state;
}

static void
a_kill_while_retiring_leaves_a_log_that_verifies(void **state)
{
    bool is_done = false;
    int step;

    for (step = 0; !is_done; step++) {
        const struct pv_seal_options options = {.retention_bytes = 1};
        void *inner = NULL;
        uint64_t last_seq;
        char path[160];

        assert_int_equal(log_make(&inner), 0);
        (void) seal(inner, now);
        add_statements(inner, 100, 5);
        (void) seal(inner, now);
        is_done = seal_killed_at(inner, step, options);
        assert_sound(inner);
        last_seq = seal(inner, options).last_seq;
        assert_int_equal(last_seq, verify(inner, NULL).first_seq - 1);
        assert_int_equal(verify(inner, NULL).retired, 2);
        segment_path(inner, 1, path);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(place_remove(&inner), 0);
    }
    assert_true(step > 3);
    (void) state;
}

/* A disk that is full: the segment cannot be written, and nothing of the log changes. */
static void
no_room_for_a_segment_changes_nothing(void **state)
{
    const struct place *place = *state;
    int wstatus;
    pid_t child;

    add_statements(place, 100, 700);
    remember(place);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit small = {64 * 1024, 64 * 1024};
        struct pv_seal_result result;
        char error[512] = "";

        (void) signal(SIGXFSZ, SIG_IGN);
        (void) setrlimit(RLIMIT_FSIZE, &small);
        _exit(pv_log_seal(place->path, &now, &result, error, sizeof(error)) == PV_IO && strlen(error) > 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &wstatus, 0), child);
    assert_true(WIFEXITED(wstatus) && WEXITSTATUS(wstatus) == 0);
    assert_same(place);
    assert_sound(place);
    assert_int_equal(seal(place, now).sealed, 1);
    assert_same(place);
    assert_sound(place);
}

/* ---- While it is served ---- */

struct traffic {
    struct pv_journal *journal;
    uint64_t first_id, count;
};

static void *
send_traffic(void *context)
{
    const struct traffic *traffic = context;
    uint64_t ticket = 0;

    for (uint64_t id = traffic->first_id; id < traffic->first_id + traffic->count; id++) {
        while (put_begin(traffic->journal, id, NULL, NULL, &ticket) != PV_OK)
            (void) usleep(1000);
        while (put_end(traffic->journal, id, NULL, NULL, &ticket) != PV_OK)
            (void) usleep(1000);
        if (id % 50 == 0)
            (void) usleep(1000);
    }
    return NULL;
}

static void
sealing_goes_on_beside_the_writer(void **state)
{
    const struct place *place = *state;
    struct traffic traffic = {.first_id = 1000, .count = 3000};
    struct pv_journal_stats stats;
    uint64_t sealed = 0;
    pthread_t thread;
    char *count;

    traffic.journal = open_journal(place, (struct pv_journal_options){.is_serving = true});
    assert_int_equal(pthread_create(&thread, NULL, send_traffic, &traffic), 0);
    for (int i = 0; i < 8; i++) {
        sealed += seal(place, now).sealed;
        (void) usleep(20000);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    pv_journal_stats(traffic.journal, &stats);
    pv_journal_close(traffic.journal);
    assert_int_equal(stats.failures, 0);
    assert_true(sealed >= 4);
    assert_sound(place);
    count = ask_once(place, "SELECT count(*) AS n, count(DISTINCT seq) AS d, count(outcome) AS o FROM query_log");
    assert_string_equal(count, "{\"n\": 3013, \"d\": 3013, \"o\": 3013}\n");
    free(count);
}

static void
a_reader_that_stays_open_sees_what_is_sealed_meanwhile(void **state)
{
    const struct place *place = *state;
    struct pv_log_reader *reader = open_reader(place, NULL);
    char *before = ask(reader, "SELECT * FROM query_log ORDER BY seq"), *after;

    (void) seal(place, now);
    after = ask(reader, "SELECT * FROM query_log ORDER BY seq");
    assert_string_equal(before, after);
    free(before);
    free(after);
    (void) seal(place, (struct pv_seal_options){.retention_bytes = 1});
    after = ask(reader, "SELECT count(*) AS n FROM query_log");
    assert_string_equal(after, "{\"n\": 0}\n");
    free(after);
    pv_log_reader_close(reader);
}

static void
two_do_not_seal_at_once(void **state)
{
    const struct place *place = *state;
    struct pv_seal_result result;
    char error[256] = "";
    int lock = -1;

    assert_int_equal(pv_seal_lock_take(place->path, &lock, NULL, 0), PV_OK);
    assert_int_equal(pv_log_seal(place->path, &now, &result, error, sizeof(error)), PV_BUSY);
    assert_non_null(strstr(error, "being sealed"));
    pv_lock_release(lock);
    assert_int_equal(seal(place, now).sealed, 1);
}

/* ---- Who may see what ---- */

static void
an_auditor_sees_sealed_records_of_its_rooms_alone(void **state)
{
    static const char *const refused[] = {
        "SELECT * FROM segment",          "SELECT * FROM retired",       "SELECT count(*) FROM segment",
        "SELECT * FROM sealed_query_log", "SELECT * FROM log_query_log", "SELECT count(*) FROM pragma_module_list",
        "SELECT file FROM segment",
    };
    static const char *const mine[] = {"retail"}, *const others[] = {"study"};
    const struct place *place = *state;
    const struct pv_log_reader_options options = {.rooms = mine, .room_count = 1},
                                       other = {.rooms = others, .room_count = 1};
    struct pv_log_reader *reader;
    char *answer;

    (void) seal(place, now);
    reader = open_reader(place, &other);
    answer = ask(reader, "SELECT * FROM query_log");
    assert_string_equal(answer, "");
    free(answer);
    pv_log_reader_close(reader);
    reader = open_reader(place, &options);
    answer = ask(reader, "SELECT count(*) AS n FROM query_log");
    assert_string_equal(answer, "{\"n\": 13}\n");
    free(answer);
    for (size_t i = 0; i < PV_COUNT_OF(refused); i++) {
        struct pv_buf out = {0};
        char error[256] = "";
        enum pv_status status = pv_log_query(reader, refused[i], take_json, &out, error, sizeof(error));

        /* The names that stand before the file's own tables are empty. */
        if (status == PV_OK && pv_buf_len(&out) > 0 && strstr(pv_buf_text(&out), ": 0}") == NULL)
            fail_msg("%s: %s", refused[i], pv_buf_text(&out));
        pv_buf_clear(&out);
    }
    pv_log_reader_close(reader);
}

static enum pv_status
take_count(void *context, const struct pv_row *row)
{
    *(size_t *) context += row->cells != NULL;
    return PV_OK;
}

static void
show_finds_a_sealed_record_by_either_number(void **state)
{
    const struct place *place = *state;
    struct pv_log_reader *reader;
    struct pv_buf out = {0};

    (void) seal(place, now);
    reader = open_reader(place, NULL);
    for (uint64_t seq = 1; seq <= 27; seq++) {
        size_t count = 0;

        assert_int_equal(pv_log_show(reader, seq, take_count, &count), PV_OK);
        assert_int_equal(count, 1);
    }
    assert_int_equal(pv_log_show(reader, 26, take_json, &out), PV_OK);
    assert_non_null(strstr(pv_buf_text(&out), "\"seq\": 23"));
    assert_int_equal(pv_log_show(reader, 99, take_json, &out), PV_NOTFOUND);
    pv_buf_clear(&out);
    pv_log_reader_close(reader);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, log_make, place_remove)
        TEST(sealed_records_read_as_before),
        TEST(the_log_goes_on_over_segments),
        TEST(a_running_statement_stays_in_the_live_file),
        TEST(a_number_is_never_given_twice),
        TEST(size_and_age_say_when),
        TEST(what_is_not_shipped_stays),
        TEST(a_broken_chain_is_not_sealed),
        cmocka_unit_test(a_kill_at_any_step_loses_and_doubles_nothing),
        cmocka_unit_test(a_kill_while_retiring_leaves_a_log_that_verifies),
        TEST(no_room_for_a_segment_changes_nothing),
        TEST(sealing_goes_on_beside_the_writer),
        TEST(a_reader_that_stays_open_sees_what_is_sealed_meanwhile),
        TEST(two_do_not_seal_at_once),
        TEST(an_auditor_sees_sealed_records_of_its_rooms_alone),
        TEST(show_finds_a_sealed_record_by_either_number),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    for (size_t i = 0; i < PV_COUNT_OF(answers); i++)
        free(answers[i]);
    return failed;
}
