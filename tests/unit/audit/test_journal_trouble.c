/* The journal when its disk or its file is not as it should be, beside other processes, and when its own dies. */
#include "tests/unit/audit/audit_test.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

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

            for (int n = 0; n < RECORDS; n++) {
                enum pv_status status = PV_BUSY;

                /* Where syncs take long, the others' turns may be longer than it waits. */
                for (int turn = 0; status == PV_BUSY && turn < 30; turn++)
                    status = pv_journal_append_once(place->path, &record, NULL, 0);
                if (status != PV_OK)
                    _exit(1);
            }
            _exit(0);
        }
    }
    port = pv_journal_port_new(NULL, NULL);
    journal = open_journal(place, (struct pv_journal_options){.is_serving = true, .busy_ms = 60000});
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
