/* Threads with a lane of their own in a relaxed log: what they share, in which order it comes out, what outlives a kill. */
#include "tests/unit/audit/audit_test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "proxy/audit/journal_int.h"

enum { THREADS = 3 };

static const struct pv_journal_options relaxed = {.is_serving = true, .is_relaxed = true, .threads = THREADS};

static struct pv_journal_port *
held_port(unsigned thread)
{
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);

    assert_non_null(port);
    pv_journal_port_hold(port, thread);
    return port;
}

/* Files that lie beside the state, of any lane. */
static unsigned
spill_count(const struct place *place)
{
    unsigned count = 0;

    for (int i = 0; i < PV_SPILL_FILES; i++) {
        char *name = pv_spill_name(place->path, i);
        struct stat facts;

        if (stat(name, &facts) == 0) {
            assert_int_equal(facts.st_mode & 0777, 0600);
            count++;
        }
        pv_free(name);
    }
    return count;
}

/* Every lock that another thread may hold for long is held: who shared one would wait until the alarm ends the test. */
static void
a_put_takes_no_lock_of_others(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, relaxed);
    struct pv_journal_port *port = held_port(1);
    uint64_t ticket = 1;

    assert_int_equal(journal->lane_count, 1 + THREADS);
    assert_int_equal(spill_count(place), 2 * (1 + THREADS));
    (void) alarm(60);
    (void) pthread_mutex_lock(&journal->road);
    (void) pthread_mutex_lock(&journal->mutex);
    for (unsigned i = 1; i < journal->lane_count; i++)
        if (i != 2)
            (void) pthread_mutex_lock(journal->lanes[i].mutex);
    for (uint64_t id = 1; id <= 5000; id++) {
        assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, port, NULL, &ticket), PV_OK);
        assert_int_equal(ticket, 0);
    }
    assert_int_equal(journal->lanes[2].queue.count, 10000);
    for (unsigned i = 1; i < journal->lane_count; i++)
        if (i != 2)
            (void) pthread_mutex_unlock(journal->lanes[i].mutex);
    (void) pthread_mutex_unlock(&journal->mutex);
    (void) pthread_mutex_unlock(&journal->road);
    (void) alarm(0);
    (void) pv_journal_kick(journal, port, false);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(spill_count(place), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 5000);
    assert_sound(place);
}

/* ---- Threads at once ---- */

enum { EACH = 2000 };

struct putter {
    pthread_t thread;
    struct pv_journal *journal;
    struct pv_journal_port *port;
    uint64_t first;
    bool is_good;
};

/* A statement's end comes some statements after its begin, and each turn of so many ends with a kick. */
static void *
put_many(void *context)
{
    struct putter *putter = context;
    uint64_t ticket;

    putter->is_good = true;
    for (uint64_t i = 0; i < EACH + 8; i++) {
        if (i < EACH && put_begin(putter->journal, putter->first + i, putter->port, NULL, &ticket) != PV_OK)
            putter->is_good = false;
        if (i >= 8 && put_end(putter->journal, putter->first + i - 8, putter->port, NULL, &ticket) != PV_OK)
            putter->is_good = false;
        if (i % 5 == 0)
            (void) pv_journal_kick(putter->journal, putter->port, false);
    }
    (void) pv_journal_kick(putter->journal, putter->port, false);
    return NULL;
}

/* More threads than lanes: two share one. The main thread puts through the common one meanwhile. */
static void
many_threads_put_at_once(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, relaxed);
    struct putter putters[THREADS + 1];

    for (unsigned i = 0; i <= THREADS; i++) {
        putters[i] = (struct putter){.journal = journal, .port = held_port(i), .first = 1 + 10000 * (uint64_t) i};
        assert_int_equal(pthread_create(&putters[i].thread, NULL, put_many, &putters[i]), 0);
    }
    for (int i = 0; i < 200; i++)
        assert_int_equal(put_event(journal, "login"), PV_OK);
    for (unsigned i = 0; i <= THREADS; i++) {
        assert_int_equal(pthread_join(putters[i].thread, NULL), 0);
        assert_true(putters[i].is_good);
    }
    pv_journal_close(journal);
    for (unsigned i = 0; i <= THREADS; i++)
        pv_journal_port_free(putters[i].port);
    assert_int_equal(spill_count(place), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed' AND rows = 3"),
                     (THREADS + 1) * EACH);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM event_log"), 200);
    /* What a thread put stands in the order of its puts. */
    assert_int_equal(raw_number(place, "SELECT count(*) FROM (SELECT id, lag(id) OVER (PARTITION BY id / 10000 ORDER BY seq)"
                                       " AS before FROM statement) WHERE before >= id"),
                     0);
    assert_sound(place);
}

/* Records of several lanes in one batch stand in the order of their times. */
static void
lanes_merge_by_time(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, relaxed);
    struct pv_journal_port *ports[THREADS];
    uint64_t ticket;

    for (unsigned i = 0; i < THREADS; i++)
        ports[i] = held_port(i);
    (void) pthread_mutex_lock(&journal->road);
    /* sample_begin's time is its id. */
    for (unsigned i = 0; i < THREADS; i++)
        for (uint64_t id = 1; id <= 300; id++)
            if (id % THREADS == i)
                assert_int_equal(put_begin(journal, id, ports[i], NULL, &ticket), PV_OK);
    (void) pthread_mutex_unlock(&journal->road);
    pv_journal_close(journal);
    for (unsigned i = 0; i < THREADS; i++)
        pv_journal_port_free(ports[i]);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM statement"), 300);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM statement WHERE seq <> id"), 0);
    assert_sound(place);
}

/* What takes from a budget is waited for, by its own thread, and ends the pause. */
static void
a_budget_is_waited_for(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, relaxed);
    struct pv_journal_port *port = held_port(2);
    struct pv_budget_take take = {"question", "day 1", 2, 1, "the budget is spent"};
    struct pv_statement_begin begin = sample_begin(0);
    const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};
    struct pv_journal_done done[1];
    uint64_t ticket;

    begin.takes = &take;
    begin.take_count = 1;
    for (uint64_t id = 1; id <= 6; id += 2) {
        assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_OK);
        begin.id = id + 1;
        assert_int_equal(pv_journal_put(journal, &record, port, NULL, &ticket), PV_OK);
        assert_int_not_equal(ticket, 0);
        (void) pv_journal_kick(journal, port, false);
        assert_int_equal(await_done(port, done, 1), 1);
        assert_int_equal(done[0].ticket, ticket);
        assert_int_equal(done[0].status, id <= 3 ? PV_OK : PV_LIMIT);
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), id + 1);
    }
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_sound(place);
}

/* ---- Bounds ---- */

/* The log cannot be written for a while: all lanes together hold what one queue may, and nothing of it is lost. */
static void
lanes_share_one_bound(void **state)
{
    const struct place *place = *state;
    struct pv_journal_options options = relaxed;
    struct pv_journal_port *ports[THREADS];
    struct pv_journal *journal;
    struct pv_statement_begin begin = sample_begin(1);
    const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};
    static char big[1024 * 1024];
    unsigned refused = 0;
    uint64_t ticket;
    size_t accepted = 0;

    options.busy_ms = 10000;
    journal = open_journal(place, options);
    memset(big, 'x', sizeof(big));
    begin.query = pv_slice_of(big, sizeof(big));
    for (unsigned i = 0; i < THREADS; i++)
        ports[i] = held_port(i);
    (void) pthread_mutex_lock(&journal->road);
    for (uint64_t id = 1; id <= 100; id++) {
        enum pv_status status;

        begin.id = id;
        status = pv_journal_put(journal, &record, ports[id % THREADS], NULL, &ticket);
        assert_true(status == PV_OK || status == PV_LIMIT);
        accepted += status == PV_OK;
        refused += status == PV_LIMIT;
    }
    assert_in_range(accepted, 60, 64);
    assert_int_equal(refused, 100 - accepted);
    assert_int_equal(pv_journal_depth(journal), accepted);
    /* An end has room where a begin has none. */
    assert_int_equal(put_end(journal, 1, ports[0], NULL, &ticket), PV_OK);
    (void) pthread_mutex_unlock(&journal->road);
    for (unsigned i = 0; i < THREADS; i++)
        (void) pv_journal_kick(journal, ports[i], false);
    pv_journal_close(journal);
    for (unsigned i = 0; i < THREADS; i++)
        pv_journal_port_free(ports[i]);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE length(query) = 1048576"),
                     (int64_t) accepted);
    assert_int_equal(spill_count(place), 0);
    assert_sound(place);
}

/* Refused where the log fails, kept what may be, room given back: afterwards everything that was accepted is there. */
static void
a_log_that_fails_recovers(void **state)
{
    const struct place *place = *state;
    struct pv_journal_options options = relaxed;
    struct pv_journal_port *ports[THREADS];
    struct pv_journal *journal;
    sqlite3 *blocker = NULL;
    uint64_t id = 1, ticket;

    options.busy_ms = 50;
    journal = open_journal(place, options);
    for (unsigned i = 0; i < THREADS; i++)
        ports[i] = held_port(i);
    assert_int_equal(sqlite3_open(place->path, &blocker), SQLITE_OK);
    assert_int_equal(sqlite3_exec(blocker, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (; id <= 30; id++) {
        assert_int_equal(put_begin(journal, id, ports[id % THREADS], NULL, &ticket), PV_OK);
        (void) pv_journal_kick(journal, ports[id % THREADS], false);
    }
    assert_true(await_health(journal, true));
    assert_int_equal(put_begin(journal, 99, ports[0], NULL, &ticket), PV_IO);
    for (uint64_t ended = 1; ended <= 30; ended++)
        assert_int_equal(put_end(journal, ended, ports[ended % THREADS], NULL, &ticket), PV_IO);
    assert_int_equal(sqlite3_exec(blocker, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(blocker), SQLITE_OK);
    assert_true(await_health(journal, false));
    assert_int_equal(put_begin(journal, id, ports[1], NULL, &ticket), PV_OK);
    (void) pv_journal_kick(journal, ports[1], false);
    pv_journal_close(journal);
    for (unsigned i = 0; i < THREADS; i++)
        pv_journal_port_free(ports[i]);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 31);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 30);
    assert_int_equal(spill_count(place), 0);
    assert_sound(place);
}

/* ---- Killed ---- */

/* A life with so many threads, that is killed while what they put stands beside the log alone. */
static void
be_killed(const struct place *place, unsigned threads, uint64_t first, unsigned count)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct pv_journal_options options = relaxed;
        struct pv_journal *journal = NULL;
        struct pv_journal_port *port;
        struct pv_statement_end end;
        const struct pv_record record = {.kind = PV_RECORD_END, .end = &end};
        uint64_t ticket;

        options.threads = threads;
        if (pv_journal_open(place->path, &options, &journal, NULL, 0) != PV_OK)
            _exit(1);
        (void) pthread_mutex_lock(&journal->road);
        for (unsigned i = 0; i < count; i++) {
            port = pv_journal_port_new(NULL, NULL);
            if (port == NULL)
                _exit(2);
            pv_journal_port_hold(port, i);
            end = sample_end(first + i);
            end.at_us = sample_begin(first + i).at_us;
            if (put_begin(journal, first + i, i % 5 == 4 ? NULL : port, NULL, &ticket) != PV_OK ||
                pv_journal_put(journal, &record, i % 5 == 4 ? NULL : port, NULL, &ticket) != PV_OK)
                _exit(3);
        }
        (void) raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void
what_a_killed_life_put_comes_in_once(void **state)
{
    static const unsigned threads[] = {3, 1, 40, 0, 2, 2};
    const struct place *place = *state;

    for (unsigned life = 0; life < PV_COUNT_OF(threads); life++) {
        struct pv_journal_options options = relaxed;
        unsigned lanes = threads[life] < 32 ? threads[life] : 32;

        be_killed(place, threads[life], 1000 * (life + 1), 50);
        assert_int_equal(spill_count(place), 2 * (1 + lanes));
        /* A command brings it in, or a life of more or fewer threads; nothing is left to bring then. */
        options.threads = life;
        if (life % 2 == 0)
            pv_journal_recover(place->path);
        else
            pv_journal_close(open_journal(place, options));
        pv_journal_recover(place->path);
        assert_int_equal(spill_count(place), 0);
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed' AND rows = 3"),
                         50 * (life + 1));
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 50 * (life + 1));
        assert_sound(place);
    }
    /* In the order of their times, over all lanes: a life's statements came one after another. */
    assert_int_equal(raw_number(place, "SELECT count(*) FROM (SELECT id, lag(id) OVER (ORDER BY seq) AS before FROM"
                                       " statement) WHERE before >= id"),
                     0);
}

/* Killed between the commit that brought it in and the removal of the files: they are there again. */
static void
files_that_the_log_has_are_passed_over(void **state)
{
    const struct place *place = *state;
    char command[600];

    be_killed(place, 3, 1, 20);
    (void) snprintf(command, sizeof(command), "mkdir %s/kept && cp %s.spill* %s/kept", place->folder, place->path,
                    place->folder);
    assert_int_equal(system(command), 0);
    pv_journal_recover(place->path);
    (void) snprintf(command, sizeof(command), "mv %s/kept/* %s && rmdir %s/kept", place->folder, place->folder,
                    place->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(spill_count(place), 8);
    pv_journal_recover(place->path);
    assert_int_equal(spill_count(place), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 20);
    /* And the next life's numbers go on behind theirs. */
    be_killed(place, 3, 101, 20);
    pv_journal_recover(place->path);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 40);
    assert_sound(place);
}

static void
failing_allocations_leave_nothing(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = NULL;
    enum pv_status status;
    char error[256];
    long nth = 0;

    be_killed(place, THREADS, 1, 20);
    do {
        pv_alloc_fail_at(++nth);
        status = pv_journal_open(place->path, &relaxed, &journal, error, sizeof(error));
        pv_alloc_fail_at(0);
        assert_true(status == PV_OK || status == PV_NOMEM);
        assert_true(nth < 2000);
    } while (status != PV_OK);
    assert_true(nth > 8);
    pv_journal_close(journal);
    assert_int_equal(spill_count(place), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 20);
    assert_sound(place);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_put_takes_no_lock_of_others),
        TEST(many_threads_put_at_once),
        TEST(lanes_merge_by_time),
        TEST(a_budget_is_waited_for),
        TEST(lanes_share_one_bound),
        TEST(a_log_that_fails_recovers),
        TEST(what_a_killed_life_put_comes_in_once),
        TEST(files_that_the_log_has_are_passed_over),
        TEST(failing_allocations_leave_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
