#include "tests/unit/audit/audit_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

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
    static const char *const names[] = {
        "seq",      "at",       "session",       "room",       "user",   "party",       "client",     "application",
        "protocol", "question", "question_type", "decision",   "reason", "query",       "parameters", "forwarded",
        "datasets", "columns",  "rows",          "suppressed", "bytes",  "duration_us", "outcome",    "sqlstate",
        "service"};
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
    (void) usleep(600000);
    pv_journal_stats(journal, &stats);
    assert_int_equal(stats.records, 100);
    assert_in_range(stats.batches, 1, 3);
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
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE decision = 'allowed' AND outcome = 'completed'"), 2);
    assert_int_equal(raw_number(*state,
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

/* ---- Trouble with the disk ---- */

/* With the log away, a begin is refused at once and an end is kept; afterwards the log is whole. */
static void
ride_through(const struct place *place, struct pv_journal *journal, void (*break_it)(const struct place *),
             void (*mend_it)(const struct place *))
{
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal_done done[3];
    struct pv_journal_stats stats;
    enum pv_status status;
    size_t awaited;
    uint64_t ticket;

    assert_int_equal(put_begin(journal, 1, port, NULL, &ticket), PV_OK);
    assert_int_equal(put_begin(journal, 2, port, NULL, &ticket), PV_OK);
    assert_int_equal(await_done(port, done, 2), 2);
    assert_int_equal(done[1].status, PV_OK);
    (void) usleep(1100000);
    break_it(place);
    assert_int_equal(put_begin(journal, 3, port, NULL, &ticket), PV_OK);
    status = put_end(journal, 1, port, NULL, &ticket);
    awaited = status == PV_OK ? 2 : 1;
    /* The writer may have found out in between. */
    assert_true(status == PV_OK || status == PV_IO);
    assert_int_equal(await_done(port, done, awaited), awaited);
    assert_int_equal(done[0].status, PV_IO);
    assert_int_equal(done[awaited - 1].status, PV_IO);
    assert_true(await_health(journal, true));
    assert_int_equal(put_begin(journal, 4, port, NULL, &ticket), PV_IO);
    assert_int_equal(put_denied(journal, 5, port, &ticket), PV_IO);
    assert_int_equal(put_end(journal, 2, port, NULL, &ticket), PV_IO);
    (void) usleep(600000);
    assert_true(await_health(journal, true));
    mend_it(place);
    assert_true(await_health(journal, false));
    assert_int_equal(put_begin(journal, 6, port, NULL, &ticket), PV_OK);
    assert_int_equal(await_done(port, done, 1), 1);
    assert_int_equal(done[0].status, PV_OK);
    pv_journal_stats(journal, &stats);
    assert_true(stats.failures >= 1);
    assert_int_equal(stats.dropped, 0);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 3);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 2);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM event_log WHERE event = 'log_recovered' AND"
                                       " json_extract(detail, '$.dropped') = 0"),
                     1);
    assert_sound(place);
}

static sqlite3 *blocker;

static void
lock_it(const struct place *place)
{
    assert_int_equal(sqlite3_open(place->path, &blocker), SQLITE_OK);
    assert_int_equal(sqlite3_exec(blocker, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
}

static void
unlock_it(const struct place *place)
{
    (void) place;
    assert_int_equal(sqlite3_exec(blocker, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(blocker), SQLITE_OK);
}

static void
locked_log_recovers(void **state)
{
    ride_through(*state, open_journal(*state, (struct pv_journal_options){.busy_ms = 50}), lock_it, unlock_it);
}

/* No file of this process may grow: what a full disk looks like from inside. */
static void
fill_it(const struct place *place)
{
    struct rlimit limit;

    (void) place;
    (void) signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
empty_it(const struct place *place)
{
    struct rlimit limit;

    (void) place;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
full_disk_recovers(void **state)
{
    ride_through(*state, open_journal(*state, (struct pv_journal_options){0}), fill_it, empty_it);
}

static void
move_it(const struct place *place)
{
    char moved[128];

    (void) snprintf(moved, sizeof(moved), "%s.moved", place->path);
    assert_int_equal(rename(place->path, moved), 0);
}

static void
move_it_back(const struct place *place)
{
    char moved[128];

    (void) snprintf(moved, sizeof(moved), "%s.moved", place->path);
    assert_int_equal(rename(moved, place->path), 0);
}

static void
moved_file_is_noticed_and_found_again(void **state)
{
    ride_through(*state, open_journal(*state, (struct pv_journal_options){0}), move_it, move_it_back);
}

static void
shortened_log_is_never_written_on(void **state)
{
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});
    struct pv_journal_done done[1];
    uint64_t ticket;

    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_OK);
        assert_int_equal(await_done(port, done, 1), 1);
    }
    raw(*state, "DROP TRIGGER statement_no_delete; DELETE FROM statement WHERE seq = 3");
    assert_int_equal(put_begin(journal, 4, port, NULL, &ticket), PV_OK);
    assert_int_equal(await_done(port, done, 1), 1);
    assert_int_equal(done[0].status, PV_IO);
    (void) usleep(400000);
    assert_true(await_health(journal, true));
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(*state, "SELECT max(seq) FROM statement"), 2);
}

static void
closing_while_away_tells_everybody(void **state)
{
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){.busy_ms = 20});
    struct pv_journal_done done[2];
    uint64_t ticket;

    lock_it(*state);
    assert_int_equal(put_begin(journal, 1, port, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 1, port, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(pv_journal_port_take(port, done, 2), 2);
    assert_int_equal(done[0].status, PV_IO);
    assert_int_equal(done[1].status, PV_IO);
    unlock_it(*state);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM statement"), 0);
}

/* ---- Other processes, and dying ---- */

static void
second_serve_is_told_who_holds_the_state(void **state)
{
    const struct place *place = *state;
    const struct pv_journal_options serving = {.is_serving = true};
    const struct pv_journal_options aside = {0};
    struct pv_journal *journal = open_journal(place, serving);
    struct pv_journal *second = NULL;
    char error[256], want[64];

    (void) snprintf(want, sizeof(want), "process %ld", (long) getpid());
    assert_int_equal(pv_journal_open(place->path, &serving, &second, error, sizeof(error)), PV_BUSY);
    assert_non_null(strstr(error, want));
    assert_int_equal(pv_journal_open(place->path, &aside, &second, error, sizeof(error)), PV_OK);
    pv_journal_close(second);
    pv_journal_close(journal);
    journal = open_journal(place, serving);
    pv_journal_close(journal);
}

static void
files_are_the_owners_alone(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm", ".key", ".lock"};
    const struct place *place = *state;
    mode_t before = umask(0);
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){.is_serving = true});
    char path[128];
    struct stat facts;

    for (size_t i = 0; i < PV_COUNT_OF(endings); i++) {
        (void) snprintf(path, sizeof(path), "%s%s", place->path, endings[i]);
        assert_int_equal(stat(path, &facts), 0);
        if ((facts.st_mode & 0777) != 0600)
            fail_msg("%s has mode %o", path, (unsigned) facts.st_mode & 0777);
    }
    (void) umask(before);
    pv_journal_close(journal);
}

/* A child writes begins and ends as fast as it can until it is killed, and tells over a shared page what was completed.
 */
static void
write_until_killed(const struct place *place, bool is_hasty, _Atomic uint64_t *confirmed)
{
    const struct pv_journal_options options = {
        .is_serving = true, .is_hasty = is_hasty, .write_behind_ms = is_hasty ? 100 : 0};
    struct pv_journal *journal = NULL;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal_done done[16];
    uint64_t ticket;

    if (port == NULL || pv_journal_open(place->path, &options, &journal, NULL, 0) != PV_OK)
        _exit(3);
    for (;;) {
        uint64_t ids[8];

        for (int i = 0; i < 8; i++) {
            ids[i] = pv_statement_id_next();
            if (put_begin(journal, ids[i], port, NULL, &ticket) != PV_OK)
                _exit(4);
        }
        if (await_done(port, done, 8) != 8)
            _exit(5);
        (void) atomic_fetch_add(confirmed, 8);
        for (int i = 0; i < 6; i++)
            if (put_end(journal, ids[i], NULL, NULL, &ticket) != PV_OK)
                _exit(6);
    }
}

static void
killed_writer_leaves_a_sound_log(void **state)
{
    const struct place *place = *state;
    _Atomic uint64_t *confirmed =
        mmap(NULL, sizeof(*confirmed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int64_t lost = 0;

    assert_ptr_not_equal(confirmed, MAP_FAILED);
    pv_journal_close(open_journal(place, (struct pv_journal_options){0}));
    /* On a slow machine a child may be killed before it wrote anything: then there are more rounds. */
    for (int round = 0; round < 10 || (round < 60 && (lost == 0 || atomic_load(confirmed) < 100)); round++) {
        pid_t child = fork();
        int status;

        assert_true(child >= 0);
        if (child == 0)
            write_until_killed(place, round % 2 == 1, confirmed);
        (void) usleep(20000u + (unsigned) round * 7000u);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_sound(place);
        pv_journal_close(open_journal(place, (struct pv_journal_options){.is_serving = true}));
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome IS NULL"), 0);
        assert_true(raw_number(place, "SELECT count(*) FROM query_log") >= (int64_t) atomic_load(confirmed));
        assert_sound(place);
        lost = raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'lost' AND rows IS NULL");
    }
    assert_true(lost > 0);
    assert_true(atomic_load(confirmed) >= 100);
    assert_int_equal(munmap(confirmed, sizeof(*confirmed)), 0);
}

/* What is left of a process that was killed between making the file and its tables. */
static void
empty_file_becomes_a_log(void **state)
{
    const struct place *place = *state;
    struct pv_verdict verdict;
    char error[256];
    FILE *file = fopen(place->path, "w");

    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(pv_log_verify(place->path, NULL, &verdict, error, sizeof(error)), PV_NOTFOUND);
    assert_non_null(strstr(error, "empty"));
    pv_journal_close(open_journal(place, (struct pv_journal_options){.is_serving = true}));
    assert_sound(place);
}

static void
only_serving_marks_lost(void **state)
{
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){.is_serving = true});
    uint64_t ticket, next;

    assert_int_equal(put_begin(journal, 1000001, NULL, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
    pv_journal_close(open_journal(*state, (struct pv_journal_options){0}));
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE outcome IS NULL"), 1);
    pv_journal_close(open_journal(*state, (struct pv_journal_options){.is_serving = true}));
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE outcome = 'lost'"), 1);
    /* Ids of this life come after all that the log holds. */
    next = pv_statement_id_next();
    assert_true(next > 1000001);
    /* A second opening finds nothing more to mark. */
    pv_journal_close(open_journal(*state, (struct pv_journal_options){.is_serving = true}));
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM statement_end"), 1);
}

static void
processes_append_to_one_chain(void **state)
{
    enum { CHILDREN = 3, RECORDS = 40 };
    const struct place *place = *state;
    pid_t children[CHILDREN];
    struct pv_journal_port *port;
    struct pv_journal *journal;
    struct pv_journal_done done[RECORDS];
    uint64_t ticket;

    /* The file does not exist yet: they race for its making too. */
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            const struct pv_event event = {.event = "approve", .room = "retail"};
            const struct pv_record record = {.kind = PV_RECORD_EVENT, .event = &event};

            for (int n = 0; n < RECORDS; n++)
                if (pv_journal_append_once(place->path, &record, NULL, 0) != PV_OK)
                    _exit(1);
            _exit(0);
        }
    }
    port = pv_journal_port_new(NULL, NULL);
    journal = open_journal(place, (struct pv_journal_options){.is_serving = true});
    for (int n = 0; n < RECORDS; n++) {
        assert_int_equal(put_begin(journal, (uint64_t) n + 1, port, NULL, &ticket), PV_OK);
        assert_int_equal(await_done(port, done, 1), 1);
        assert_int_equal(done[0].status, PV_OK);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM event_log"), CHILDREN * RECORDS);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), RECORDS);
    assert_sound(place);
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
        TEST(locked_log_recovers),
        TEST(full_disk_recovers),
        TEST(moved_file_is_noticed_and_found_again),
        TEST(shortened_log_is_never_written_on),
        TEST(closing_while_away_tells_everybody),
        TEST(second_serve_is_told_who_holds_the_state),
        TEST(files_are_the_owners_alone),
        TEST(killed_writer_leaves_a_sound_log),
        TEST(empty_file_becomes_a_log),
        TEST(only_serving_marks_lost),
        TEST(processes_append_to_one_chain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
