/* What is done beside the log: heads at the end, shipping in sequence that goes on where it stopped, also by datagrams. */
#include "tests/unit/audit/audit_test.h"

#include "proxy/audit/keeper.h"

#include <sys/socket.h>
#include <sys/un.h>

static void
put_some(const struct place *place, uint64_t first, uint64_t last)
{
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){0});
    uint64_t ticket = 0;

    for (uint64_t id = first; id <= last; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    assert_int_equal(put_denied(journal, last + 100, NULL, &ticket), PV_OK);
    assert_int_equal(put_event(journal, "login"), PV_OK);
    pv_journal_close(journal);
}

/* A whole life: it looks at least once more as it is closed. */
static void
keep(const struct pv_keeper_options *options)
{
    struct pv_keeper *keeper = NULL;

    assert_int_equal(pv_keeper_open(options, &keeper), PV_OK);
    pv_keeper_close(keeper);
}

static unsigned
lines_of(const char *path, const char *needle)
{
    FILE *file = fopen(path, "r");
    char line[8192];
    unsigned count = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, needle) != NULL;
    if (file != NULL)
        fclose(file);
    return count;
}

static void
ships_each_record_once_and_signs_the_end(void **state)
{
    const struct place *place = *state;
    char file[300];
    struct pv_keeper_options options = {.path = place->path, .file = file};

    (void) snprintf(file, sizeof(file), "%s.ship", place->path);
    put_some(place, 1, 3);
    keep(&options);
    keep(&options);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM head"), 1);
    assert_int_equal(raw_number(place, "SELECT max(seq) FROM head"),
                     raw_number(place, "SELECT max(seq) FROM event"));
    assert_int_equal(lines_of(file, "\"kind\":\"event\""), 1);
    assert_int_equal(lines_of(file, "\"decision\":\"denied\""), 1);
    assert_int_equal(lines_of(file, "\"seq\":"), raw_number(place, "SELECT seq FROM shipped WHERE target = 'file'"));
    /* Renamed away, as log shippers do: a new one begins with what is new. */
    assert_int_equal(unlink(file), 0);
    put_some(place, 11, 12);
    keep(&options);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM head"), 2);
    assert_int_equal(lines_of(file, "\"kind\":\"event\""), 1);
    assert_true(lines_of(file, "\"seq\":") > 0 && lines_of(file, "\"seq\":1,") == 0);
    (void) unlink(file);
}

/* A file that cannot be written costs nothing but itself, and is caught up with once it can. */
static void
catches_up_with_a_target_that_was_away(void **state)
{
    const struct place *place = *state;
    char folder[300], file[320];
    struct pv_keeper_options options = {.path = place->path, .file = file};

    (void) snprintf(folder, sizeof(folder), "%s.away", place->path);
    (void) snprintf(file, sizeof(file), "%s/ship", folder);
    put_some(place, 1, 2);
    keep(&options);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM shipped"), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM head"), 1);
    assert_int_equal(mkdir(folder, 0700), 0);
    keep(&options);
    assert_int_equal(lines_of(file, "\"seq\":"), raw_number(place, "SELECT seq FROM shipped WHERE target = 'file'"));
    assert_true(lines_of(file, "\"seq\":1,") == 1);
    (void) unlink(file);
    (void) rmdir(folder);
}

static void
sends_datagrams_of_rfc_5424(void **state)
{
    const struct place *place = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct pv_keeper_options options = {.path = place->path, .syslog = address.sun_path};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    char message[9000];
    unsigned good = 0, bad = 0;
    ssize_t len;

    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s.log", place->path);
    put_some(place, 1, 2);
    assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
    keep(&options);
    while ((len = recv(fd, message, sizeof(message) - 1, MSG_DONTWAIT)) > 0) {
        message[len] = '\0';
        assert_non_null(strstr(message, " pgveil "));
        assert_non_null(strstr(message, "[pgveil@32473 seq=\""));
        /* Facility 13: informational, or a warning for what was denied. */
        good += strncmp(message, "<110>1 ", 7) == 0;
        bad += strncmp(message, "<108>1 ", 7) == 0;
    }
    assert_int_equal(bad, 1);
    assert_int_equal(good + bad, raw_number(place, "SELECT seq FROM shipped WHERE target = 'syslog'"));
    (void) close(fd);
    (void) unlink(address.sun_path);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(ships_each_record_once_and_signs_the_end),
        TEST(catches_up_with_a_target_that_was_away),
        TEST(sends_datagrams_of_rfc_5424),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
