/* Strict batches that wait for others' records (journal_delay.c): when they do, how long at most, and when never. */
#include "tests/unit/audit/audit_test.h"

#include "proxy/audit/journal_int.h"

#include "tests/unit/audit/fault_vfs.h"

/* What the statements of a load take, and a wait that is longer than any pause of this machine ought to be. */
#define STATEMENT_US 600000000
#define DELAY_US 60000000u

struct desk {
    const struct place *place;
    struct pv_journal *journal;
    struct pv_journal_port *port;
    uint64_t id;
    size_t awaited; /* completions that are to come */
};

static void
desk_open(struct desk *desk, const struct place *place, uint32_t delay_us, uint32_t siblings)
{
    const struct pv_journal_options options = {
        .is_serving = true, .is_hasty = true, .delay_us = delay_us, .siblings = siblings};

    *desk = (struct desk){.place = place, .journal = open_journal(place, options), .id = 1};
    desk->port = pv_journal_port_new(NULL, NULL);
    assert_non_null(desk->port);
    pv_journal_port_hold(desk->port, 0);
}

static void
desk_close(struct desk *desk)
{
    pv_journal_close(desk->journal);
    pv_journal_port_free(desk->port);
    assert_sound(desk->place);
}

static int64_t
rows_of(const struct desk *desk)
{
    return raw_number(desk->place, "SELECT count(*) FROM statement");
}

static void
put_statement(struct desk *desk, uint64_t duration_us, bool has_end)
{
    struct pv_statement_end end = sample_end(desk->id);
    const struct pv_record record = {.kind = PV_RECORD_END, .end = &end};
    uint64_t ticket;

    end.duration_us = duration_us;
    assert_int_equal(put_begin(desk->journal, desk->id, desk->port, NULL, &ticket), PV_OK);
    desk->awaited++;
    if (has_end) {
        assert_int_equal(pv_journal_put(desk->journal, &record, desk->port, NULL, &ticket), PV_OK);
        desk->awaited++;
    }
    desk->id++;
}

/* Whoever writes it: the writer's thread may be at it, as it is when it begins late. */
static void
kick(struct desk *desk)
{
    struct pv_journal_done done;

    (void) pv_journal_kick(desk->journal, desk->port, false);
    for (; desk->awaited > 0; desk->awaited--)
        assert_int_equal(await_done(desk->port, &done, 1), 1);
}

/* A load as the journal learns of it, statements of so long one right behind the other. */
static void
load(struct desk *desk, int count, uint64_t duration_us)
{
    for (int i = 0; i < count; i++) {
        put_statement(desk, duration_us, true);
        kick(desk);
    }
}

static int64_t
until(struct desk *desk, size_t under_way)
{
    return pv_journal_delay_until_us(desk->journal, desk->port, under_way);
}

static void
a_batch_waits_while_others_are_under_way(void **state)
{
    struct desk desk;
    int64_t at_us, before_us;
    int64_t rows;

    desk_open(&desk, *state, DELAY_US, 2);
    load(&desk, 500, STATEMENT_US);
    rows = rows_of(&desk);
    /* Nothing is put, so nothing waits. */
    assert_int_equal(until(&desk, 9), 0);
    before_us = pv_monotonic_us();
    put_statement(&desk, 0, false);
    /* Alone; beside one; beside two. */
    assert_int_equal(until(&desk, 1), 0);
    assert_int_equal(until(&desk, 2), 0);
    at_us = until(&desk, 3);
    assert_in_range(at_us, before_us + DELAY_US, pv_monotonic_us() + DELAY_US);
    /* Later turns know the same time, and what they put waits with it; meanwhile none of it counts. */
    put_statement(&desk, 0, false);
    assert_int_equal(until(&desk, 4), at_us);
    assert_int_equal(rows_of(&desk), rows);
    /* No fewer others than records: as many as may be waited for have come. */
    put_statement(&desk, 0, false);
    assert_int_equal(until(&desk, 5), 0);
    assert_int_equal(until(&desk, 6), at_us);
    kick(&desk);
    assert_int_equal(rows_of(&desk), rows + 3);
    /* The next batch has a wait of its own. */
    put_statement(&desk, 0, false);
    assert_true(until(&desk, 6) > at_us);
    kick(&desk);
    desk_close(&desk);
}

static void
a_wait_ends(void **state)
{
    struct desk desk;
    int64_t at_us;

    desk_open(&desk, *state, 1000000, 1);
    load(&desk, 500, STATEMENT_US);
    put_statement(&desk, 0, false);
    at_us = until(&desk, 9);
    assert_true(at_us != 0);
    while (pv_monotonic_us() < at_us)
        (void) usleep(1000);
    assert_int_equal(until(&desk, 9), 0);
    kick(&desk);
    desk_close(&desk);
}

/* Not longer than a fifth of what statements take, whatever a few of them do. */
static void
a_wait_is_a_share_of_a_statement(void **state)
{
    enum { SHORT_US = 1000000 };
    struct desk desk;
    int64_t now_us;

    desk_open(&desk, *state, DELAY_US, 0);
    for (int i = 0; i < 50; i++) {
        load(&desk, 9, SHORT_US);
        load(&desk, 1, (uint64_t) 3600 * 1000000);
    }
    put_statement(&desk, 0, false);
    now_us = pv_monotonic_us();
    assert_in_range(until(&desk, 9), now_us + SHORT_US / 5 / 2, pv_monotonic_us() + SHORT_US / 5 * 3 / 2);
    kick(&desk);
    desk_close(&desk);
}

/* Where statements are over before another could come, or come one by one, nobody waits. */
static void
nobody_waits_in_vain(void **state)
{
    struct desk desk;

    desk_open(&desk, *state, DELAY_US, 0);
    load(&desk, 300, 1);
    put_statement(&desk, 0, false);
    assert_int_equal(until(&desk, 9), 0);
    load(&desk, 500, STATEMENT_US);
    put_statement(&desk, 0, false);
    assert_true(until(&desk, 9) != 0);
    kick(&desk);
    pv_journal_delay_set(desk.journal, 2000, 0);
    for (int i = 0; i < 10; i++) {
        (void) usleep(50000);
        put_statement(&desk, 0, false);
        kick(&desk);
    }
    put_statement(&desk, 0, false);
    assert_int_equal(until(&desk, 9), 0);
    kick(&desk);
    desk_close(&desk);
}

static void
a_reload_sets_it(void **state)
{
    struct desk desk;

    desk_open(&desk, *state, DELAY_US, 1);
    load(&desk, 500, STATEMENT_US);
    put_statement(&desk, 0, false);
    assert_true(until(&desk, 9) != 0);
    pv_journal_delay_set(desk.journal, DELAY_US, 9);
    assert_int_equal(until(&desk, 9), 0);
    assert_true(until(&desk, 10) != 0);
    pv_journal_delay_set(desk.journal, 0, 1);
    assert_int_equal(until(&desk, 10), 0);
    kick(&desk);
    /* And from nothing. */
    put_statement(&desk, 0, false);
    assert_int_equal(until(&desk, 10), 0);
    pv_journal_delay_set(desk.journal, DELAY_US, 1);
    load(&desk, 1, STATEMENT_US);
    put_statement(&desk, 0, false);
    assert_true(until(&desk, 10) != 0);
    kick(&desk);
    desk_close(&desk);
}

/* Nobody is waited for who waits for nothing. */
static void
a_relaxed_log_waits_for_nobody(void **state)
{
    const struct place *place = *state;
    struct desk desk = {.place = place, .id = 1};

    desk.journal =
        open_journal(place, (struct pv_journal_options){.is_serving = true, .is_relaxed = true, .delay_us = DELAY_US});
    desk.port = pv_journal_port_new(NULL, NULL);
    pv_journal_port_hold(desk.port, 0);
    for (int i = 0; i < 500; i++) {
        put_statement(&desk, STATEMENT_US, true);
        assert_int_equal(until(&desk, 9), 0);
        (void) pv_journal_kick(desk.journal, desk.port, false);
    }
    desk_close(&desk);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_batch_waits_while_others_are_under_way),
        TEST(a_wait_ends),
        TEST(a_wait_is_a_share_of_a_statement),
        TEST(nobody_waits_in_vain),
        TEST(a_reload_sets_it),
        TEST(a_relaxed_log_waits_for_nobody),
    };
    int failed;

    fv_install();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    fv_forget();
    return failed;
}
