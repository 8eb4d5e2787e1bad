/* Sealed segments and retention: nothing lost, nothing twice, whatever happens on the way (seal.c's invariants). */
#include "tests/unit/audit/audit_test.h"

#include "proxy/audit/segment_int.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- Logs and what is read from them ---- */

/*
 * 26 records: 1 login; begins 2 4 .. 20, ends 3 5 .. 21; denied 22 and 23; then two statements that cross: begin 24,
 * begin 25, end 26 of the second, end 27 of the first. Up to 26 can be sealed, and 24 has its end beyond.
 */
static void
fill(const struct place *place)
{
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){0});
    uint64_t ticket = 0;

    assert_int_equal(put_event(journal, "login"), PV_OK);
    for (uint64_t id = 1; id <= 10; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    assert_int_equal(put_denied(journal, 11, NULL, &ticket), PV_OK);
    assert_int_equal(put_begin(journal, 12, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_begin(journal, 13, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 13, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 12, NULL, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
}

static void
add_statements(const struct place *place, uint64_t first_id, uint64_t count)
{
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){0});
    uint64_t ticket = 0;

    for (uint64_t id = first_id; id < first_id + count; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    pv_journal_close(journal);
}

static int
log_make(void **state)
{
    if (place_make(state) != 0)
        return -1;
    fill(*state);
    return 0;
}

static struct pv_seal_result
seal(const struct place *place, struct pv_seal_options options)
{
    struct pv_seal_result result;
    char error[512] = "";

    if (pv_log_seal(place->path, &options, &result, error, sizeof(error)) != PV_OK)
        fail_msg("seal: %s", error);
    return result;
}

static const struct pv_seal_options now = {.is_now = true};

static enum pv_status
take_json(void *context, const struct pv_row *row)
{
    if (row->cells != NULL) {
        pv_row_put_json(row, context);
        pv_buf_put_u8(context, '\n');
    }
    return PV_OK;
}

static struct pv_log_reader *
open_reader(const struct place *place, const struct pv_log_reader_options *options)
{
    struct pv_log_reader *reader = NULL;
    char error[256] = "";

    if (pv_log_reader_open(place->path, options, &reader, error, sizeof(error)) != PV_OK)
        fail_msg("reader: %s", error);
    return reader;
}

static char *
ask(struct pv_log_reader *reader, const char *sql)
{
    struct pv_buf out = {0};
    char error[256] = "";
    char *text;

    if (pv_log_query(reader, sql, take_json, &out, error, sizeof(error)) != PV_OK)
        fail_msg("%s: %s", sql, error);
    text = strdup(pv_buf_text(&out));
    pv_buf_clear(&out);
    assert_non_null(text);
    return text;
}

static char *
ask_once(const struct place *place, const char *sql)
{
    struct pv_log_reader *reader = open_reader(place, NULL);
    char *text = ask(reader, sql);

    pv_log_reader_close(reader);
    return text;
}

/* All that sealing may not change; it adds events of its own. */
static const char *const looks[] = {
    "SELECT * FROM query_log ORDER BY seq",
    "SELECT * FROM query_log ORDER BY seq DESC LIMIT 3",
    "SELECT * FROM query_log WHERE room = 'retail' AND seq >= 4 AND seq < 9 ORDER BY seq",
    "SELECT * FROM query_log WHERE user = 'mallory'",
    "SELECT * FROM query_log WHERE seq = 23",
    "SELECT seq FROM query_log WHERE at >= '2026-01-01T00:00:00.000009Z' ORDER BY at DESC",
    "SELECT * FROM event_log WHERE event NOT LIKE 'segment%'",
    "SELECT count(*), sum(rows), min(seq), max(at) FROM query_log",
    "SELECT * FROM daily_usage",
    "SELECT * FROM denials",
    "SELECT * FROM column_usage",
    "SELECT * FROM top_members ORDER BY user",
    "SELECT * FROM unused_questions",
    "SELECT a.seq, b.seq FROM query_log AS a JOIN query_log AS b ON b.seq = a.seq + 2 WHERE a.room <> 'x' ORDER BY 1",
    "SELECT outcome FROM query_log WHERE seq = 23 UNION ALL SELECT event FROM event_log WHERE seq = 1",
};

static char *answers[PV_COUNT_OF(looks)];

static void
remember(const struct place *place)
{
    for (size_t i = 0; i < PV_COUNT_OF(looks); i++) {
        free(answers[i]);
        answers[i] = ask_once(place, looks[i]);
    }
}

static void
assert_same(const struct place *place)
{
    struct pv_log_reader *reader = open_reader(place, NULL);

    for (size_t i = 0; i < PV_COUNT_OF(looks); i++) {
        char *answer = ask(reader, looks[i]);

        if (strcmp(answer, answers[i]) != 0)
            fail_msg("%s\nbefore:\n%safter:\n%s", looks[i], answers[i], answer);
        free(answer);
    }
    pv_log_reader_close(reader);
}

static void
segment_path(const struct place *place, int number, char path[160])
{
    (void) snprintf(path, 160, "%s.segment-%06d", place->path, number);
}

/* Runs SQL on a segment's file as somebody would who has it in hand. */
static void
raw_segment(const struct place *place, int number, const char *sql)
{
    char path[160];
    sqlite3 *sqlite = NULL;
    char *words = NULL;

    segment_path(place, number, path);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(sqlite3_open(path, &sqlite), SQLITE_OK);
    if (sqlite3_exec(sqlite, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

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

/* ---- Retention ---- */

static void
a_retired_segment_leaves_a_tombstone(void **state)
{
    const struct place *place = *state;
    const struct pv_log_head *none = NULL;
    struct pv_log_head early, edge;
    struct pv_verdict verdict;
    char *answer, path[160];

    assert_int_equal(pv_log_head_sign(place->path, &early, NULL, 0), PV_OK);
    (void) seal(place, now);
    assert_int_equal(pv_log_head_sign(place->path, &edge, NULL, 0), PV_OK);
    add_statements(place, 100, 5);
    (void) seal(place, now);
    assert_int_equal(seal(place, (struct pv_seal_options){.retention_bytes = 1024 * 1024}).retired, 0);
    assert_int_equal(seal(place, (struct pv_seal_options){.retention_age_ms = UINT64_C(36500) * 86400000}).retired, 0);
    verdict = verify(place, &early);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_false(verdict.is_head_unreachable);
    assert_int_equal(seal(place, (struct pv_seal_options){.retention_bytes = 100 * 1024}).retired, 1);
    segment_path(place, 1, path);
    assert_int_equal(access(path, F_OK), -1);
    verdict = verify(place, none);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_int_equal(verdict.retired, 1);
    assert_int_equal(verdict.segments, 1);
    assert_int_equal(verdict.first_seq, 26);
    assert_string_equal(verdict.policy, "retention_bytes 102400");
    /* A head of before says no more than that its signature is right; a later one is found. */
    verdict = verify(place, &early);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_false(verify(place, &edge).is_head_unreachable);
    answer = ask_once(place, "SELECT min(seq) AS first, count(*) AS n FROM query_log");
    assert_string_equal(answer, "{\"first\": 28, \"n\": 5}\n");
    free(answer);
    answer = ask_once(place, "SELECT count(*) AS n FROM event_log WHERE event = 'segment_retired' AND"
                             " json_extract(detail, '$.segment') = 1");
    assert_string_equal(answer, "{\"n\": 1}\n");
    free(answer);
}

static void
age_retires_what_is_old(void **state)
{
    const struct place *place = *state;

    (void) seal(place, now);
    add_statements(place, 100, 5);
    (void) seal(place, now);
    (void) usleep(50000);
    assert_int_equal(seal(place, (struct pv_seal_options){.retention_age_ms = 20}).retired, 2);
    assert_sound(place);
    add_statements(place, 200, 5);
    assert_sound(place);
}

static void
what_is_not_the_log_outlives_retention(void **state)
{
    const struct place *place = *state;
    const struct pv_budget_take take = {.key = "k", .period = "day 2026-01-01", .runs_max = 10, .runs = 3};
    const struct pv_approval approval = {.room = "retail",
                                         .question = "overlap",
                                         .party = "acme",
                                         .text = pv_slice_cstr("text"),
                                         .signature = pv_slice_cstr("signature"),
                                         .fingerprint = "f"};
    const struct pv_consent consent = {.room = "retail", .party = "acme", .is_withdrawn = true};
    struct pv_store *store = NULL;
    struct pv_approval *approvals = NULL;
    struct pv_consent *consents = NULL;
    struct pv_arena *arena = pv_arena_new(1024);
    size_t spent = 0, count = 0;
    uint64_t used = 0;

    assert_int_equal(pv_store_open(place->path, &store, NULL, 0), PV_OK);
    assert_int_equal(pv_store_budgets_reserve(store, &take, 1, &spent), PV_OK);
    assert_int_equal(pv_store_approval_add(store, &approval), PV_OK);
    assert_int_equal(pv_store_consent_add(store, &consent), PV_OK);
    (void) seal(place, (struct pv_seal_options){.is_now = true, .retention_bytes = 1});
    assert_int_equal(verify(place, NULL).retired, 1);
    assert_int_equal(pv_store_budget_used(store, "k", "day 2026-01-01", &used), PV_OK);
    assert_int_equal(used, 3);
    assert_int_equal(pv_store_approvals(store, "retail", NULL, arena, &approvals, &count), PV_OK);
    assert_int_equal(count, 1);
    assert_int_equal(pv_store_consents(store, "retail", arena, &consents, &count), PV_OK);
    assert_int_equal(count, 1);
    assert_true(consents[0].is_withdrawn);
    pv_store_close(store);
    pv_arena_free(arena);
}

/* ---- Tampering ---- */

#define UNLOCK \
    "DROP TRIGGER segment_no_update; DROP TRIGGER segment_no_delete; DROP TRIGGER retired_no_update;" \
    "DROP TRIGGER retired_no_delete;"

/* Two segments, 1 to 25 and 26 to 36, then the live file from 37; the first is retired where the row says so. */
static const struct {
    const char *live, *segment; /* SQL on the live file, and on segment 2 */
    bool is_retired;
    enum pv_log_fault fault;
    const char *words;
} tampers[] = {
    {NULL, NULL, true, PV_FAULT_NONE, NULL},
    {NULL, "UPDATE statement SET query = 'SELECT 1' WHERE seq = 28", false, PV_FAULT_CHANGED,
     "segment 2: changed: record 28"},
    {NULL, "DELETE FROM statement_end WHERE seq = 29", false, PV_FAULT_MISSING, "segment 2: missing: record 29"},
    {NULL, "DELETE FROM statement WHERE seq = 36", false, PV_FAULT_SEGMENT,
     "segment 2: segment: it ends with record 35"},
    {NULL, "INSERT INTO event SELECT 37, at, session, room, user, client, event, detail, hash FROM event LIMIT 1",
     false, PV_FAULT_REORDERED, "segment 2: reordered: at record 37"},
    {NULL, "INSERT INTO event SELECT -5, at, session, room, user, client, event, detail, hash FROM event LIMIT 1",
     false, PV_FAULT_MISSING, "segment 2: missing: record 27"},
    {NULL, "UPDATE manifest SET last_seq = 35", false, PV_FAULT_SEGMENT, "segment 2: segment: the file is not the one"},
    {NULL, "DROP VIEW query_log", false, PV_FAULT_SCHEMA, "segment 2: schema: view query_log"},
    {UNLOCK "DELETE FROM segment WHERE number = 2", NULL, false, PV_FAULT_MISSING, "missing: record 26"},
    {UNLOCK "DELETE FROM segment", NULL, false, PV_FAULT_MISSING, "missing: record 1 "},
    {UNLOCK "UPDATE segment SET last_seq = 35 WHERE number = 2", NULL, false, PV_FAULT_SIGNATURE,
     "segment 2: signature"},
    {UNLOCK "UPDATE segment SET signature = zeroblob(64) WHERE number = 1", NULL, false, PV_FAULT_SIGNATURE,
     "segment 1: signature"},
    {UNLOCK "UPDATE retired SET policy = 'none'", NULL, true, PV_FAULT_SIGNATURE, "segment 1: signature"},
    {UNLOCK "DELETE FROM retired", NULL, true, PV_FAULT_SEGMENT,
     "segment 1: missing: its file state.db.segment-000001 is gone"},
    {UNLOCK
     "INSERT INTO retired SELECT number, last_seq, hash, at, 'forged', key, signature FROM segment WHERE number = 1",
     NULL, false, PV_FAULT_SIGNATURE, "segment 1: signature"},
    {UNLOCK
     "INSERT INTO retired SELECT number, last_seq, hash, at, 'forged', key, signature FROM segment WHERE number = 2",
     NULL, false, PV_FAULT_SIGNATURE, "segment 2: signature"},
};

static void
every_tampering_with_segments_is_found(void **state)
{
    for (size_t i = 0; i < PV_COUNT_OF(tampers); i++) {
        void *inner = NULL;
        struct pv_verdict verdict;

        assert_int_equal(log_make(&inner), 0);
        (void) seal(inner, now);
        add_statements(inner, 100, 5);
        (void) seal(inner, now);
        if (tampers[i].is_retired)
            assert_int_equal(seal(inner, (struct pv_seal_options){.retention_bytes = 100 * 1024}).retired, 1);
        if (tampers[i].live != NULL)
            raw(inner, tampers[i].live);
        if (tampers[i].segment != NULL)
            raw_segment(inner, 2, tampers[i].segment);
        verdict = verify(inner, NULL);
        if (verdict.fault != tampers[i].fault ||
            (tampers[i].words != NULL && strstr(verdict.words, tampers[i].words) == NULL))
            fail_msg("%s%s: fault %d: %s", tampers[i].live == NULL ? "" : tampers[i].live,
                     tampers[i].segment == NULL ? "" : tampers[i].segment, (int) verdict.fault, verdict.words);
        assert_int_equal(place_remove(&inner), 0);
    }
    (void) state;
}

static void
a_copied_end_that_was_changed_is_found(void **state)
{
    const struct place *place = *state;
    struct pv_verdict verdict;

    (void) seal(place, now);
    raw_segment(place, 1, "UPDATE late_end SET rows = 99");
    verdict = verify(place, NULL);
    assert_int_equal(verdict.fault, PV_FAULT_CHANGED);
    assert_int_equal(verdict.seq, 26);
}

static void
a_segment_that_is_gone_is_said_to_be(void **state)
{
    const struct place *place = *state;
    struct pv_log_reader *reader;
    struct pv_verdict verdict;
    struct pv_buf out = {0};
    char path[160], error[256] = "";

    (void) seal(place, now);
    segment_path(place, 1, path);
    assert_int_equal(unlink(path), 0);
    verdict = verify(place, NULL);
    assert_int_equal(verdict.fault, PV_FAULT_SEGMENT);
    assert_non_null(strstr(verdict.words, "no tombstone"));
    /* Reading refuses, it does not leave out. */
    reader = open_reader(place, NULL);
    assert_int_equal(pv_log_query(reader, "SELECT * FROM query_log", take_json, &out, error, sizeof(error)), PV_IO);
    assert_non_null(strstr(error, "segment 1 of the query log cannot be read"));
    pv_log_reader_close(reader);
    pv_buf_clear(&out);
}

/* The deletion of a live record that is in no segment is refused by the file itself, as it was before. */
static void
only_sealed_records_may_leave(void **state)
{
    const struct place *place = *state;
    sqlite3 *sqlite = NULL;

    (void) seal(place, now);
    add_statements(place, 100, 1);
    assert_int_equal(sqlite3_open(place->path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, "DELETE FROM statement", NULL, NULL, NULL), SQLITE_CONSTRAINT);
    assert_int_equal(sqlite3_exec(sqlite, "DELETE FROM segment", NULL, NULL, NULL), SQLITE_CONSTRAINT);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

/* ---- A state file of version 2 ---- */

static void
load_version_2(const struct place *place)
{
    FILE *file = fopen("tests/unit/audit/state_v2.sql", "re");
    char *sql = calloc(1, 1 << 20);

    assert_non_null(file);
    assert_non_null(sql);
    assert_true(fread(sql, 1, (1 << 20) - 1, file) > 1000);
    (void) fclose(file);
    raw(place, sql);
    free(sql);
}

static void
an_older_state_file_is_brought_to_this_version(void **state)
{
    struct place *place = *state;
    struct pv_journal *journal;
    struct pv_verdict verdict;
    char *rows, error[256] = "";

    load_version_2(place);
    /* Reading changes nothing; whoever asks is told what to do. */
    assert_int_equal(pv_log_verify(place->path, NULL, &verdict, error, sizeof(error)), PV_CORRUPT);
    assert_non_null(strstr(error, "version 2; pgveil serve brings it to version 3"));
    assert_int_equal(raw_number(place, "PRAGMA user_version"), 2);
    journal = open_journal(place, (struct pv_journal_options){.is_serving = true});
    pv_journal_close(journal);
    assert_int_equal(raw_number(place, "PRAGMA user_version"), PV_DB_VERSION);
    verdict = verify(place, NULL);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_int_equal(verdict.records, 13);
    rows = ask_once(place, "SELECT count(*) AS n, count(outcome) AS ended, max(decision) AS d FROM query_log");
    assert_string_equal(rows, "{\"n\": 6, \"ended\": 6, \"d\": \"denied\"}\n");
    free(rows);
    assert_true(pv_statement_id_next() > 6);
    remember(place);
    (void) seal(place, now);
    assert_same(place);
    assert_sound(place);
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
        TEST(a_retired_segment_leaves_a_tombstone),
        TEST(age_retires_what_is_old),
        TEST(what_is_not_the_log_outlives_retention),
        cmocka_unit_test(every_tampering_with_segments_is_found),
        TEST(a_copied_end_that_was_changed_is_found),
        TEST(a_segment_that_is_gone_is_said_to_be),
        TEST(only_sealed_records_may_leave),
        cmocka_unit_test_setup_teardown(an_older_state_file_is_brought_to_this_version, place_make, place_remove),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    for (size_t i = 0; i < PV_COUNT_OF(answers); i++)
        free(answers[i]);
    return failed;
}
