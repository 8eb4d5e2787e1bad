#include "tests/unit/audit/audit_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

/* What a relaxed log had accepted outlives the process, and comes into the log once. */

static const struct pv_journal_options relaxed = {.is_serving = true, .is_relaxed = true};

static void
name_of(const struct place *place, int which, char name[256])
{
    (void) snprintf(name, 256, "%s.spill%d", place->path, which);
}

static off_t
spilled_bytes(const struct place *place)
{
    off_t bytes = 0;

    for (int i = 0; i < 2; i++) {
        char name[256];
        struct stat facts;

        name_of(place, i, name);
        if (stat(name, &facts) == 0) {
            assert_int_equal(facts.st_mode & 0777, 0600);
            bytes += facts.st_size;
        }
    }
    return bytes;
}

/* A life that puts `begins` statements from `first` on, ends the first of them, and is killed before its 200 ms are
 * over. */
static void
be_killed(const struct place *place, uint64_t first, unsigned begins)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct pv_journal *journal = NULL;
        uint64_t ticket;

        if (pv_journal_open(place->path, &relaxed, &journal, NULL, 0) != PV_OK)
            _exit(1);
        for (unsigned i = 0; i < begins; i++)
            if (put_begin(journal, first + i, NULL, NULL, &ticket) != PV_OK)
                _exit(2);
        if (put_end(journal, first, NULL, NULL, &ticket) != PV_OK)
            _exit(3);
        (void) raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void
a_killed_relaxed_log_has_every_record(void **state)
{
    const struct place *place = *state;

    for (uint64_t life = 0; life < 8; life++) {
        int64_t before = life == 0 ? 0 : raw_number(place, "SELECT count(*) FROM query_log");

        be_killed(place, 1000 * (life + 1), 5);
        /* A command that reads brings it in, serving or not; a second time there is nothing left to bring. */
        if (life % 2 == 0)
            pv_journal_recover(place->path);
        else
            pv_journal_close(open_journal(place, relaxed));
        pv_journal_recover(place->path);
        assert_int_equal(spilled_bytes(place), 0);
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), before + 5);
        assert_sound(place);
    }
    pv_journal_close(open_journal(place, relaxed));
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed' AND rows = 3"), 8);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'lost'"), 32);
    assert_sound(place);
}

static void
nothing_is_brought_in_twice(void **state)
{
    const struct place *place = *state;
    char name[2][256], copy[2][256], command[1200];

    be_killed(place, 1, 5);
    for (int i = 0; i < 2; i++) {
        name_of(place, i, name[i]);
        (void) snprintf(copy[i], sizeof(copy[i]), "%.200s.copy%d", place->path, i);
    }
    (void) snprintf(command, sizeof(command), "cp %s %s && cp %s %s", name[0], copy[0], name[1], copy[1]);
    assert_int_equal(system(command), 0);
    pv_journal_recover(place->path);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 5);
    /* As if it had been killed again between the commit and the emptying. */
    (void) snprintf(command, sizeof(command), "mv %s %s && mv %s %s", copy[0], name[0], copy[1], name[1]);
    assert_int_equal(system(command), 0);
    assert_true(spilled_bytes(place) > 0);
    pv_journal_recover(place->path);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 5);
    assert_int_equal(spilled_bytes(place), 0);
    assert_sound(place);
}

static void
what_is_torn_ends_the_reading(void **state)
{
    const struct place *place = *state;
    char name[256];
    struct stat facts;

    /* All but the first record stand in the second file, for nobody emptied the first. */
    be_killed(place, 1, 5);
    name_of(place, 1, name);
    assert_int_equal(stat(name, &facts), 0);
    for (off_t size = facts.st_size; size > 0; size -= 97)
        assert_int_equal(truncate(name, size), 0);
    pv_journal_recover(place->path);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 1);
    be_killed(place, 100, 5);
    name_of(place, 1, name);
    {
        int fd = open(name, O_WRONLY);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, "\xff\xff\xff", 3, 40), 3);
        assert_int_equal(close(fd), 0);
    }
    pv_journal_recover(place->path);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 2);
    assert_sound(place);
}

static void
while_it_is_served_nobody_else_brings_it_in(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, relaxed);
    uint64_t ticket;

    for (uint64_t id = 1; id <= 3000; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        if (id % 1000 == 0)
            pv_journal_recover(place->path);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    pv_journal_close(journal);
    assert_int_equal(spilled_bytes(place), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 3000);
    assert_sound(place);
}

static void
files_that_cannot_be_made_are_said(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = NULL;
    char name[256], error[512];

    name_of(place, 0, name);
    assert_int_equal(mkdir(name, 0700), 0);
    assert_int_equal(pv_journal_open(place->path, &relaxed, &journal, error, sizeof(error)), PV_IO);
    assert_non_null(strstr(error, ".spill0"));
    assert_int_equal(rmdir(name), 0);
    pv_journal_close(open_journal(place, relaxed));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_killed_relaxed_log_has_every_record), TEST(nothing_is_brought_in_twice),
        TEST(what_is_torn_ends_the_reading),         TEST(while_it_is_served_nobody_else_brings_it_in),
        TEST(files_that_cannot_be_made_are_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
