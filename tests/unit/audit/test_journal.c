#include "tests/unit/audit/audit_test.h"

#include <pthread.h>
#include <stdatomic.h>

static void
count_notify(void *context)
{
    (void) atomic_fetch_add((_Atomic int *) context, 1);
}

static void
record_is_on_disk_when_its_ticket_completes(void **state)
{
    _Atomic int notified = 0;
    struct pv_journal_port *port = pv_journal_port_new(count_notify, &notified);
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});
    struct pv_journal_done done[2];
    uint64_t ticket = 0;
    int cookie;

    assert_int_equal(put_begin(journal, 1, port, &cookie, &ticket), PV_OK);
    assert_int_not_equal(ticket, 0);
    assert_int_equal(await_done(port, done, 1), 1);
    assert_int_equal(done[0].status, PV_OK);
    assert_ptr_equal(done[0].cookie, &cookie);
    assert_int_equal(done[0].ticket, ticket);
    assert_int_equal(atomic_load(&notified), 1);
    /* Another process sees it while the journal is open, and that it runs. */
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE outcome IS NULL AND rows IS NULL"), 1);
    assert_int_equal(put_end(journal, 1, port, NULL, &ticket), PV_OK);
    assert_int_equal(await_done(port, done, 1), 1);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE outcome = 'completed' AND rows = 3"), 1);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_sound(*state);
}

static void
view_has_the_promised_columns(void **state)
{
    static const char *const names[] = {"seq",           "at",          "session",     "room",     "user",
                                        "party",         "client",      "application", "protocol", "question",
                                        "question_type", "decision",    "reason",      "query",    "parameters",
                                        "forwarded",     "datasets",    "columns",     "rows",     "suppressed",
                                        "bytes",         "duration_us", "outcome",     "sqlstate", "service"};
    static const char *const values[] = {"1",
                                         "2026-01-01T00:00:00.000002Z",
                                         "7",
                                         "retail",
                                         "alice",
                                         "acme",
                                         "127.0.0.1:50000",
                                         "psql",
                                         "extended",
                                         "overlap",
                                         "analytical",
                                         "allowed",
                                         NULL,
                                         "SELECT region, count(*) FROM public.customers GROUP BY 1",
                                         "[\"2024-01-01\", null]",
                                         "SELECT 1",
                                         "[\"public.customers\"]",
                                         "[\"public.customers.region\"]",
                                         "3",
                                         "some",
                                         "120",
                                         "450",
                                         "completed",
                                         NULL,
                                         NULL};
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});
    const struct place *place = *state;
    sqlite3 *sqlite = NULL;
    sqlite3_stmt *statement = NULL;
    uint64_t ticket;

    assert_int_equal(put_begin(journal, 1, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 1, NULL, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(sqlite3_open(place->path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(sqlite, "SELECT * FROM query_log", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_count(statement), PV_COUNT_OF(names));
    for (int i = 0; i < (int) PV_COUNT_OF(names); i++) {
        assert_string_equal(sqlite3_column_name(statement, i), names[i]);
        if (values[i] == NULL)
            assert_null(sqlite3_column_text(statement, i));
        else
            assert_string_equal((const char *) sqlite3_column_text(statement, i), values[i]);
    }
    (void) sqlite3_finalize(statement);
    (void) sqlite3_close(sqlite);
}

static void
denied_statement_is_whole(void **state)
{
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});
    uint64_t ticket;

    assert_int_equal(put_denied(journal, 1, NULL, &ticket), PV_OK);
    assert_int_equal(put_event(journal, "login_failed"), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(raw_number(*state,
                                "SELECT count(*) FROM query_log WHERE decision = 'denied' AND outcome = 'failed'"
                                " AND rows = 0 AND sqlstate = '42501' AND datasets = '[]' AND seq = 1"),
                     1);
    assert_int_equal(raw_number(*state, "SELECT seq FROM event_log WHERE event = 'login_failed' AND room = 'retail'"),
                     2);
    assert_sound(*state);
}

/* ---- Group commit, order ---- */

enum { THREADS = 8, EACH = 300 };

struct putter {
    pthread_t thread;
    struct pv_journal *journal;
    struct pv_journal_port *port;
    bool is_ordered;
};

static void *
put_many(void *context)
{
    struct putter *putter = context;
    uint64_t last = 0, ticket;
    struct pv_journal_done done[EACH];

    for (int i = 0; i < EACH; i++)
        if (put_begin(putter->journal, pv_statement_id_next(), putter->port, NULL, &ticket) != PV_OK)
            return NULL;
    if (await_done(putter->port, done, EACH) != EACH)
        return NULL;
    putter->is_ordered = true;
    for (int i = 0; i < EACH; i++) {
        putter->is_ordered = putter->is_ordered && done[i].status == PV_OK && done[i].ticket > last;
        last = done[i].ticket;
    }
    return NULL;
}

static void
many_threads_share_commits_and_keep_their_order(void **state)
{
    struct putter putters[THREADS];
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});
    struct pv_journal_stats stats;
    uint64_t flushes = 0;

    for (int i = 0; i < THREADS; i++) {
        putters[i] = (struct putter){.journal = journal, .port = pv_journal_port_new(NULL, NULL)};
        assert_int_equal(pthread_create(&putters[i].thread, NULL, put_many, &putters[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(putters[i].thread, NULL), 0);
        assert_true(putters[i].is_ordered);
    }
    pv_journal_stats(journal, &stats);
    assert_int_equal(stats.records, THREADS * EACH);
    assert_true(stats.batches * 4 < stats.records);
    assert_int_equal(stats.queue_depth, 0);
    for (size_t i = 0; i < PV_JOURNAL_BUCKET_COUNT; i++)
        flushes += stats.flush_buckets[i];
    assert_int_equal(flushes, stats.batches);
    pv_journal_close(journal);
    for (int i = 0; i < THREADS; i++)
        pv_journal_port_free(putters[i].port);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log"), THREADS * EACH);
    assert_sound(*state);
}

static void
relaxed_never_waits_and_commits_in_time(void **state)
{
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){.is_relaxed = true});
    struct pv_journal_stats stats;
    struct pv_journal_done done;
    uint64_t ticket = 1;

    for (uint64_t id = 1; id <= 100; id++) {
        assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_OK);
        assert_int_equal(ticket, 0);
    }
    for (int i = 0; i < 60000; i++) {
        pv_journal_stats(journal, &stats);
        if (stats.records == 100)
            break;
        (void) usleep(1000);
    }
    assert_int_equal(stats.records, 100);
    /* Few of them: were this thread to stop amid the loop above, there would be one more for each of its stops. */
    assert_in_range(stats.batches, 1, 20);
    assert_int_equal(pv_journal_port_take(port, &done, 1), 0);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log"), 100);
}

/* Relaxed: a begin and an end that are written together are one row, others two; readers see no difference. */
static void
relaxed_statement_is_one_row(void **state)
{
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){.is_relaxed = true});
    uint64_t ticket = 0;

    /* The first record is written at once; a pause follows, in which the rest are put. */
    assert_int_equal(put_event(journal, "login"), PV_OK);
    (void) usleep(50000);
    for (uint64_t id = 1; id <= 300; id++)
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
    /* The hundredth has none yet; one has an end that is put twice. */
    for (uint64_t id = 300; id >= 1; id--)
        if (id != 100)
            assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 7, NULL, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log"), 300);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE outcome = 'completed' AND rows = 3 AND"
                                        " bytes = 120 AND duration_us = 450 AND suppressed = 'some'"),
                     299);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE outcome IS NULL AND session = 7"), 1);
    assert_true(raw_number(*state, "SELECT count(*) FROM statement_end") < 299);
    assert_sound(*state);
    /* What comes in a later batch has a row of its own, and is found. */
    journal = open_journal(*state, (struct pv_journal_options){.is_relaxed = true});
    assert_int_equal(put_end(journal, 100, NULL, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 300);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM statement_end WHERE id = 100"), 1);
    assert_sound(*state);
}

/* ---- What a put refuses ---- */

static enum pv_status
put_taking(struct pv_journal *journal, uint64_t id, const struct pv_budget_take *takes, size_t count,
           struct pv_journal_port *port, uint64_t *ticket)
{
    struct pv_statement_begin begin = sample_begin(id);
    const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};

    begin.takes = takes;
    begin.take_count = count;
    return pv_journal_put(journal, &record, port, NULL, ticket);
}

/* Runs are taken all or none, with the record; what finds none left is a denial in the log. Relaxed waits likewise. */
static void
budgets_are_taken_with_the_record(void **state)
{
    static const struct pv_budget_take takes[] = {{"q", "day 1", UINT64_MAX, 1, "budget: never"},
                                                  {"q", "lifetime", 5, 2, "budget: q is spent"},
                                                  {"d", "day 1", 9, 1, NULL}};
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);

    for (int relaxed = 0; relaxed < 2; relaxed++) {
        struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){.is_relaxed = relaxed == 1});
        uint64_t first = relaxed == 0 ? 1 : 11;

        for (uint64_t id = first; id < first + 3; id++) {
            struct pv_journal_done done[1];
            uint64_t ticket = 0;
            /* Two runs of five, two times; the second opening finds one left. */
            bool is_spent = relaxed == 1 || id == first + 2;

            assert_int_equal(put_taking(journal, id, takes, PV_COUNT_OF(takes), port, &ticket), PV_OK);
            assert_true(ticket > 0);
            assert_int_equal(await_done(port, done, 1), 1);
            assert_int_equal(done[0].ticket, ticket);
            assert_int_equal(done[0].status, is_spent ? PV_LIMIT : PV_OK);
            if (is_spent)
                assert_int_equal(done[0].spent, 1);
            /* An end from somebody who had not heard yet is no harm. */
            assert_int_equal(put_end(journal, id, relaxed == 0 ? port : NULL, NULL, &ticket), PV_OK);
            if (relaxed == 0) {
                assert_int_equal(await_done(port, done, 1), 1);
                assert_int_equal(done[0].status, PV_OK);
            }
        }
        pv_journal_close(journal);
    }
    pv_journal_port_free(port);
    assert_int_equal(raw_number(*state, "SELECT runs FROM budget WHERE key = 'q' AND period = 'lifetime'"), 4);
    assert_int_equal(raw_number(*state, "SELECT runs FROM budget WHERE key = 'q' AND period = 'day 1'"), 2);
    assert_int_equal(raw_number(*state, "SELECT runs FROM budget WHERE key = 'd'"), 2);
    assert_int_equal(
        raw_number(*state, "SELECT count(*) FROM query_log WHERE decision = 'allowed' AND outcome = 'completed'"), 2);
    assert_int_equal(
        raw_number(*state,
                   "SELECT count(*) FROM query_log WHERE decision = 'denied' AND outcome = 'failed' AND rows = 0"
                   " AND sqlstate = '53400' AND reason = 'budget: q is spent' AND forwarded IS NULL"),
        4);
    assert_sound(*state);
}

static void
bad_takes_are_refused(void **state)
{
    static const struct pv_budget_take nameless = {NULL, "day", 1, 1, NULL}, timeless = {"k", NULL, 1, 1, NULL},
                                       endless = {"k", "day", 1, UINT64_MAX, NULL}, sound = {"k", "day", 1, 1, NULL};
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});
    struct pv_statement_begin begin = sample_begin(1);
    struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin, .is_kept = true};
    uint64_t ticket;

    assert_int_equal(put_taking(journal, 1, &nameless, 1, NULL, &ticket), PV_INVALID);
    assert_int_equal(put_taking(journal, 1, &timeless, 1, NULL, &ticket), PV_INVALID);
    assert_int_equal(put_taking(journal, 1, &endless, 1, NULL, &ticket), PV_INVALID);
    begin.takes = &sound;
    begin.take_count = 1;
    assert_int_equal(pv_journal_put(journal, &record, NULL, NULL, &ticket), PV_INVALID);
    record.is_kept = false;
    begin.is_allowed = false;
    assert_int_equal(pv_journal_put(journal, &record, NULL, NULL, &ticket), PV_INVALID);
    pv_journal_close(journal);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM budget"), 0);
}

static void
failing_allocations_leave_nothing(void **state)
{
    struct pv_journal *journal = NULL;
    const struct pv_journal_options options = {.is_serving = true};
    struct pv_journal_port *port;
    char error[256];
    uint64_t ticket = 77;
    enum pv_status status;
    long nth = 0;

    pv_alloc_fail_at(1);
    assert_null(pv_journal_port_new(NULL, NULL));
    /* Opening, until no allocation is left to fail: each failure gives everything back. */
    do {
        pv_alloc_fail_at(++nth);
        status = pv_journal_open(*state == NULL ? "" : ((struct place *) *state)->path, &options, &journal, error,
                                 sizeof(error));
        pv_alloc_fail_at(0);
        assert_true(status == PV_OK || status == PV_NOMEM);
        assert_true(nth < 200);
    } while (status != PV_OK);
    assert_true(nth > 3);
    port = pv_journal_port_new(NULL, NULL);
    pv_alloc_fail_at(1);
    assert_int_equal(put_begin(journal, 1, port, NULL, &ticket), PV_NOMEM);
    assert_int_equal(ticket, 77);
    pv_alloc_fail_at(0);
    assert_int_equal(put_begin(journal, 1, port, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log"), 1);
    assert_sound(*state);
}

static void
bad_records_are_refused_alone(void **state)
{
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});
    struct pv_statement_begin begin = sample_begin(0);
    struct pv_statement_end end = sample_end(1);
    const struct pv_event event = {.event = NULL};
    const struct pv_record records[] = {
        {.kind = PV_RECORD_BEGIN, .begin = &begin},
        {.kind = PV_RECORD_EVENT, .event = &event},
        {.kind = (enum pv_record_kind) 9},
    };
    const struct pv_record end_record = {.kind = PV_RECORD_END, .end = &end};
    struct pv_journal_done done[4];
    uint64_t ticket;

    for (size_t i = 0; i < PV_COUNT_OF(records); i++)
        assert_int_equal(pv_journal_put(journal, &records[i], port, NULL, &ticket), PV_INVALID);
    end.rows = UINT64_MAX;
    assert_int_equal(pv_journal_put(journal, &end_record, port, NULL, &ticket), PV_INVALID);
    /* A second end: the log takes the first, and the chain goes on. */
    assert_int_equal(put_begin(journal, 5, port, NULL, &ticket), PV_OK);
    assert_int_equal(put_begin(journal, 6, port, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 5, port, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 5, port, NULL, &ticket), PV_OK);
    assert_int_equal(await_done(port, done, 4), 4);
    assert_int_equal(done[0].status, PV_OK);
    assert_int_equal(done[1].status, PV_OK);
    assert_int_equal(done[2].status, PV_OK);
    assert_int_equal(done[3].status, PV_INVALID);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log"), 2);
    assert_sound(*state);
}

static void
queue_is_bounded(void **state)
{
    struct place *place = *state;
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){.busy_ms = 10000});
    static char big[1024 * 1024];
    struct pv_statement_begin begin = sample_begin(1);
    const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};
    sqlite3 *sqlite = NULL;
    enum pv_status status = PV_OK;
    uint64_t ticket;
    size_t accepted = 0;

    memset(big, 'x', sizeof(big));
    begin.query = pv_slice_of(big, sizeof(big));
    /* Somebody else writes for a while: the writer's thread waits, the queue fills. */
    assert_int_equal(sqlite3_open(place->path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    while (accepted < 200 && status == PV_OK) {
        begin.id = accepted + 1;
        status = pv_journal_put(journal, &record, NULL, NULL, &ticket);
        accepted += status == PV_OK;
    }
    assert_int_equal(status, PV_LIMIT);
    /* A queue of 64 MiB, and what the writer had taken before it had to wait: at most as much again. */
    assert_in_range(accepted, 32, 130);
    /* An end has room where a begin has none. */
    assert_int_equal(put_end(journal, 1, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(sqlite3_exec(sqlite, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    (void) sqlite3_close(sqlite);
    pv_journal_close(journal);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE length(query) = 1048576"),
                     (int64_t) accepted);
    assert_sound(place);
}

static void
text_is_kept_as_it_came(void **state)
{
    static const struct {
        const char *query;
        size_t len;
        const char *type;
    } rows[] = {
        {"SELECT 1", 8, "text"},  {"", 0, "text"},     {"S\xC3\xA9lect", 7, "text"},
        {"S\xE9lect", 6, "blob"}, {"a\0b", 3, "blob"},
    };
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});
    char sql[160];
    uint64_t ticket;

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_statement_begin begin = sample_begin(i + 1);
        const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};

        begin.query = pv_slice_of(rows[i].query, rows[i].len);
        begin.application = "caf\xE9 \xF0\x9F\x98\x80 \xC0\x80";
        assert_int_equal(pv_journal_put(journal, &record, NULL, NULL, &ticket), PV_OK);
    }
    pv_journal_close(journal);
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        (void) snprintf(sql, sizeof(sql),
                        "SELECT length(CAST(query AS BLOB)) FROM query_log WHERE seq = %zu AND typeof(query) = '%s' AND"
                        " application = 'caf? ' || char(128512) || ' ?\?'",
                        i + 1, rows[i].type);
        assert_int_equal(raw_number(*state, sql), (int64_t) rows[i].len);
    }
    assert_sound(*state);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(record_is_on_disk_when_its_ticket_completes),
        TEST(view_has_the_promised_columns),
        TEST(denied_statement_is_whole),
        TEST(many_threads_share_commits_and_keep_their_order),
        TEST(relaxed_never_waits_and_commits_in_time),
        TEST(relaxed_statement_is_one_row),
        TEST(budgets_are_taken_with_the_record),
        TEST(bad_takes_are_refused),
        TEST(failing_allocations_leave_nothing),
        TEST(bad_records_are_refused_alone),
        TEST(queue_is_bounded),
        TEST(text_is_kept_as_it_came),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
