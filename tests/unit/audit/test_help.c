/* Threads that write what they put (journal_help.c): when they do, and what becomes of it when the disk does not. */
#include "tests/unit/audit/turns_test.h"

#include "tests/unit/audit/fault_vfs.h"

static const struct pv_journal_options hasty = {.is_serving = true, .is_hasty = true};

/* Puts a begin and kicks; gives whether this thread wrote it, and how that went. */
static bool
put_and_kick(struct pv_journal *journal, struct pv_journal_port *port, uint64_t id, enum pv_status *status)
{
    struct pv_journal_done done[1];
    uint64_t ticket = 0;
    bool is_own;

    assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_OK);
    is_own = pv_journal_kick(journal, port, false);
    if (is_own)
        assert_int_equal(pv_journal_port_take(port, done, 1), 1);
    else
        assert_int_equal(await_done(port, done, 1), 1);
    assert_int_equal(done[0].ticket, ticket);
    *status = done[0].status;
    return is_own;
}

/* Until the writer's thread, which looks round when a log is opened, is out of the way. Gives how many begins that took. */
static int64_t
rest(struct pv_journal *journal, struct pv_journal_port *port)
{
    enum { FAR = 1000000, TRIES = 5000 };
    enum pv_status status = PV_OK;
    uint64_t tries = 1;

    for (; !put_and_kick(journal, port, FAR + tries, &status); tries++)
        assert_true(tries < TRIES);
    assert_int_equal(status, PV_OK);
    return (int64_t) tries;
}

static void
a_thread_writes_its_own_turn(void **state)
{
    const struct place *place = *state;
    _Atomic unsigned notified = 0;
    struct pv_journal_port *port = pv_journal_port_new(count_notified, &notified);
    struct pv_journal *journal = open_journal(place, hasty);
    struct pv_journal_stats before, after;
    struct pv_journal_done done[16];
    uint64_t ticket;

    pv_journal_port_hold(port, 0);
    (void) rest(journal, port);
    atomic_store(&notified, 0);
    assert_false(pv_journal_kick(journal, port, false));
    for (uint64_t turn = 0; turn < 20; turn++) {
        pv_journal_stats(journal, &before);
        for (uint64_t id = 1 + 5 * turn; id <= 5 * (turn + 1); id++) {
            assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_OK);
            assert_int_equal(put_end(journal, id, port, NULL, &ticket), PV_OK);
        }
        assert_int_equal(pv_journal_port_take(port, done, 16), 0);
        assert_true(pv_journal_kick(journal, port, false));
        /* All of the turn is in the file, by one transaction, before anything else happens. */
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE rows = 3"), 5 * (int64_t) (turn + 1));
        assert_int_equal(pv_journal_port_take(port, done, 16), 10);
        for (size_t i = 0; i < 10; i++)
            assert_int_equal(done[i].status, PV_OK);
        pv_journal_stats(journal, &after);
        assert_int_equal(after.batches, before.batches + 1);
        assert_int_equal(after.queue_depth, 0);
    }
    assert_int_equal(atomic_load(&notified), 0);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_sound(place);
}

/* A budget's verdict comes from the transaction, whoever makes it. */
static void
a_spent_budget_is_told(void **state)
{
    const struct place *place = *state;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(place, hasty);
    struct pv_budget_take take = {"question", "day 1", 2, 1, "the budget is spent"};
    struct pv_statement_begin begin = sample_begin(0);
    const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};
    struct pv_journal_done done[1];
    uint64_t ticket;

    pv_journal_port_hold(port, 0);
    (void) rest(journal, port);
    begin.takes = &take;
    begin.take_count = 1;
    for (uint64_t id = 1; id <= 4; id++) {
        begin.id = id;
        assert_int_equal(pv_journal_put(journal, &record, port, NULL, &ticket), PV_OK);
        assert_true(pv_journal_kick(journal, port, false));
        assert_int_equal(pv_journal_port_take(port, done, 1), 1);
        assert_int_equal(done[0].status, id <= 2 ? PV_OK : PV_LIMIT);
    }
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE decision = 'denied'"), 2);
    assert_sound(place);
}

/* Until the disk was seen to be quick, and after it once took long, the writer's thread waits for it. */
static void
a_slow_disk_is_the_writers(void **state)
{
    const struct place *place = *state;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){.is_serving = true});
    enum pv_status status;
    uint64_t id = 1;

    pv_journal_port_hold(port, 0);
    assert_false(put_and_kick(journal, port, id++, &status));
    assert_int_equal(status, PV_OK);
    while (!put_and_kick(journal, port, id++, &status))
        assert_true(id < 5000);
    fv.sync_us = 25000;
    /* One that this thread began it must end; or the machine was slow already. */
    (void) put_and_kick(journal, port, id++, &status);
    for (int i = 0; i < 5; i++) {
        assert_false(put_and_kick(journal, port, id++, &status));
        assert_int_equal(status, PV_OK);
    }
    fv.sync_us = 0;
    /* Not at the first quick one. */
    assert_false(put_and_kick(journal, port, id++, &status));
    for (uint64_t first = id; !put_and_kick(journal, port, id++, &status);)
        assert_true(id < first + 5000);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM statement"), (int64_t) id - 1);
    assert_sound(place);
}

/* Another process's transaction is waited for by the writer's thread. */
static void
a_busy_file_is_the_writers(void **state)
{
    const struct place *place = *state;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(place, hasty);
    sqlite3 *blocker = NULL;
    struct pv_journal_done done[4];
    int64_t rested;
    uint64_t ticket;

    pv_journal_port_hold(port, 0);
    rested = rest(journal, port);
    assert_int_equal(sqlite3_open(place->path, &blocker), SQLITE_OK);
    assert_int_equal(sqlite3_exec(blocker, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (uint64_t id = 2; id <= 5; id++) {
        assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_OK);
        assert_false(pv_journal_kick(journal, port, false));
    }
    (void) usleep(20000);
    assert_int_equal(pv_journal_port_take(port, done, 4), 0);
    assert_int_equal(sqlite3_exec(blocker, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(blocker), SQLITE_OK);
    assert_int_equal(await_done(port, done, 4), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(done[i].status, PV_OK);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM statement"), 4 + rested);
    assert_sound(place);
}

/* At each of the first writes: refused at once, said so, and written again when the disk takes bytes. */
static void
a_failing_disk_refuses_and_recovers(void **state)
{
    enum { LIVES = 24 };
    static const int codes[] = {SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_READONLY};
    unsigned own = 0;

    (void) state;
    for (int life = 0; life < LIVES; life++) {
        enum { COUNT = 20 };
        void *inner = NULL;
        struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
        struct pv_journal *journal;
        enum pv_status status;
        uint64_t id = 1, ticket;
        int64_t rested;

        assert_int_equal(place_make(&inner), 0);
        journal = open_journal(inner, hasty);
        pv_journal_port_hold(port, 0);
        rested = rest(journal, port);
        fv.fail_code = codes[life % 3];
        fv.fail_after = life / 3;
        for (status = PV_OK; status == PV_OK; id++) {
            assert_true(id < COUNT);
            own += put_and_kick(journal, port, id, &status) ? 1 : 0;
        }
        assert_int_equal(status, PV_IO);
        assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_IO);
        /* An end is kept. */
        if (id > 2)
            assert_int_equal(put_end(journal, 1, port, NULL, &ticket), PV_IO);
        (void) pv_journal_kick(journal, port, false);
        fv.fail_after = -1;
        assert_true(await_health(journal, false));
        (void) put_and_kick(journal, port, id, &status);
        assert_int_equal(status, PV_OK);
        pv_journal_close(journal);
        pv_journal_port_free(port);
        /* The last of the loop was refused, the one after it is there. */
        assert_int_equal(raw_number(inner, "SELECT count(*) FROM statement"), (int64_t) id - 1 + rested);
        assert_int_equal(raw_number(inner, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), id > 2);
        assert_int_equal(raw_number(inner, "SELECT count(*) FROM event WHERE event = 'log_recovered'"), 1);
        assert_sound(inner);
        assert_int_equal(place_remove(&inner), 0);
    }
    /* The writer may have been at it now and then. */
    assert_true(own > LIVES);
}

/* ---- Several at once ---- */

enum { THREADS = 4, TURNS = 300 };

static void
several_take_each_others_along(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, hasty);
    struct turner turners[THREADS] = {0};
    pthread_t threads[THREADS];
    struct pv_journal_stats stats;

    for (unsigned i = 0; i < THREADS; i++) {
        turners[i].turns = TURNS;
        turners[i].left_every = 50;
        turner_init(&turners[i], journal, i);
        assert_int_equal(pthread_create(&threads[i], NULL, turn_all, &turners[i]), 0);
    }
    /* Somebody without a port, meanwhile. */
    for (int i = 0; i < 50; i++)
        assert_int_equal(put_event(journal, "something"), PV_OK);
    for (unsigned i = 0; i < THREADS; i++)
        turner_join(threads[i]);
    pv_journal_stats(journal, &stats);
    pv_journal_close(journal);
    for (unsigned i = 0; i < THREADS; i++)
        pv_journal_port_free(turners[i].port);
    assert_in_range(stats.batches, 1, THREADS * TURNS + 50);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE rows = 3"), THREADS * TURNS * TURN_STATEMENTS);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM event"), 50);
    assert_sound(place);
}

/* The write-ahead log is brought into the file by the writer's thread, and begins anew. */
static void
a_long_write_ahead_log_begins_anew(void **state)
{
    const struct place *place = *state;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(place, hasty);
    char name[128];
    struct stat facts;
    enum pv_status status;

    pv_journal_port_hold(port, 0);
    for (uint64_t id = 1; id <= 9000; id++) {
        (void) put_and_kick(journal, port, id, &status);
        assert_int_equal(status, PV_OK);
    }
    (void) snprintf(name, sizeof(name), "%s-wal", place->path);
    assert_int_equal(stat(name, &facts), 0);
    /* 4,000 pages, what came while that was found, and what the file grows by at once. */
    assert_in_range(facts.st_size, 4000 * 4096, 5000 * 4120);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM statement"), 9000);
    assert_sound(place);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_thread_writes_its_own_turn),
        TEST(a_spent_budget_is_told),
        TEST(a_slow_disk_is_the_writers),
        TEST(a_busy_file_is_the_writers),
        cmocka_unit_test(a_failing_disk_refuses_and_recovers),
        TEST(several_take_each_others_along),
        TEST(a_long_write_ahead_log_begins_anew),
    };
    int failed;

    fv_install();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    fv_forget();
    return failed;
}
