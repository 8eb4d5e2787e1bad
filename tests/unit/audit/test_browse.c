/* Lists by filter and passes over a stretch of time, over live records and sealed ones. */
#include "audit_test.h"

#include "proxy/audit/browse.h"
#include "proxy/audit/segment.h"

#include <stdatomic.h>

/* Statements of the log that each test makes: denied ones of mallory where n % 7 == 0, in two rooms by turns. */
#define COUNT 5000
#define FIRST_US INT64_C(1767225600000000)

static const char *const only_retail[] = {"retail"};

static void
fill(const struct place *place, int count)
{
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){.is_relaxed = true});
    uint64_t ticket;

    for (int n = 1; n <= count; n++) {
        char query[64];
        struct pv_statement_begin begin = sample_begin((uint64_t) n);
        struct pv_statement_end end = sample_end((uint64_t) n);
        const struct pv_record record = {.kind = PV_RECORD_WHOLE, .begin = &begin, .end = &end};
        enum pv_status status;

        (void) snprintf(query, sizeof(query), "SELECT %d AS n -- 100%%_\\", n);
        begin.query = pv_slice_cstr(query);
        begin.at_us = FIRST_US + n * INT64_C(1000000);
        begin.room = n % 2 == 0 ? "retail" : "other";
        if (n % 7 == 0) {
            begin.is_allowed = false;
            begin.user = "mallory";
            begin.reason = "no_column: column \"x\" does not exist";
            begin.columns = begin.question = begin.forwarded = NULL;
            end = (struct pv_statement_end){.outcome = PV_OUTCOME_FAILED, .sqlstate = "42703"};
        }
        while ((status = pv_journal_put(journal, &record, NULL, NULL, &ticket)) == PV_LIMIT)
            (void) usleep(1000);
        assert_int_equal(status, PV_OK);
    }
    pv_journal_close(journal);
}

static void
seal(const struct place *place)
{
    const struct pv_seal_options options = {.is_now = true};
    struct pv_seal_result result;
    char error[256] = "";

    if (pv_log_seal(place->path, &options, &result, error, sizeof(error)) != PV_OK)
        fail_msg("seal: %s", error);
    assert_true(result.sealed > 0);
}

static struct pv_log_reader *
open_reader(const struct place *place, const struct pv_log_reader_options *options)
{
    struct pv_log_reader *reader = NULL;

    assert_int_equal(pv_log_reader_open(place->path, options, &reader, NULL, 0), PV_OK);
    return reader;
}

struct got {
    uint64_t seqs[COUNT];
    size_t count;
    enum pv_status answer;
};

static enum pv_status
take(void *context, const struct pv_row *row)
{
    struct got *got = context;

    assert_string_equal(row->names[0], "seq");
    assert_true(got->count < COUNT);
    got->seqs[got->count++] = (uint64_t) row->cells[0].number;
    return got->answer;
}

/* All pages of a filter; each is as long as asked for, but for the last. */
static void
list(struct pv_log_reader *reader, struct pv_browse_filter filter, struct got *got)
{
    struct pv_browse_end end;

    memset(got, 0, sizeof(*got));
    if (filter.limit == 0)
        filter.limit = 300;
    do {
        size_t before = got->count;

        assert_int_equal(pv_browse_list(reader, &filter, take, got, &end), PV_OK);
        assert_false(end.is_overdue);
        if (!end.is_complete)
            assert_int_equal(got->count - before, filter.limit);
        filter.before_seq = end.last_seq;
    } while (!end.is_complete);
    for (size_t i = 1; i < got->count; i++)
        assert_true(got->seqs[i] < got->seqs[i - 1]);
}

static const struct {
    struct pv_browse_filter filter;
    size_t all, retail;
} cases[] = {
    {{.user = NULL}, COUNT, COUNT / 2},
    {{.user = "mallory"}, 714, 357},
    {{.user = "nobody"}, 0, 0},
    {{.decision = "denied"}, 714, 357},
    {{.decision = "allowed", .user = "mallory"}, 0, 0},
    {{.question = "overlap"}, COUNT - 714, COUNT / 2 - 357},
    {{.outcome = "failed"}, 714, 357},
    {{.outcome = "running"}, 0, 0},
    {{.code = "no_column"}, 714, 357},
    {{.code = "no_col"}, 0, 0},
    {{.column = "public.customers.region"}, COUNT - 714, COUNT / 2 - 357},
    {{.column = "region"}, COUNT - 714, COUNT / 2 - 357},
    {{.column = "egion"}, 0, 0},
    {{.column = "\"],[\""}, 0, 0},
    {{.text = "select 4000 as"}, 1, 1},
    {{.text = "100%_\\"}, COUNT, COUNT / 2},
    {{.text = "1%0"}, 0, 0},
    {{.text = "does not exist"}, 714, 357},
    {{.text = "2024-01-01"}, COUNT, COUNT / 2},
    {{.text = "' OR '1'='1"}, 0, 0},
    {{.has_since = true, .since_us = FIRST_US + INT64_C(4990000000)}, 11, 6},
    {{.has_until = true, .until_us = FIRST_US + INT64_C(11000000)}, 10, 5},
    {{.has_since = true, .since_us = FIRST_US + INT64_C(100000000), .has_until = true, .until_us = FIRST_US + INT64_C(110000000)}, 10, 5},
};

static void
check_filters(const struct place *place)
{
    const struct pv_log_reader_options retail = {.rooms = only_retail, .room_count = 1};
    struct pv_log_reader *all = open_reader(place, NULL), *one = open_reader(place, &retail);
    static struct got got;

    for (size_t i = 0; i < PV_COUNT_OF(cases); i++) {
        list(all, cases[i].filter, &got);
        assert_int_equal(got.count, cases[i].all);
        list(one, cases[i].filter, &got);
        assert_int_equal(got.count, cases[i].retail);
    }
    pv_log_reader_close(all);
    pv_log_reader_close(one);
}

static void
filters_find_what_they_say(void **state)
{
    fill(*state, COUNT);
    check_filters(*state);
}

static void
sealed_records_are_found_as_well(void **state)
{
    fill(*state, COUNT);
    seal(*state);
    check_filters(*state);
}

static void
pages_of_one(void **state)
{
    static struct got got;
    struct pv_log_reader *reader;

    fill(*state, 50);
    reader = open_reader(*state, NULL);
    list(reader, (struct pv_browse_filter){.decision = "denied", .limit = 1}, &got);
    assert_int_equal(got.count, 7);
    list(reader, (struct pv_browse_filter){.before_seq = 1}, &got);
    assert_int_equal(got.count, 0);
    list(reader, (struct pv_browse_filter){.before_seq = UINT64_C(1) << 60}, &got);
    assert_int_equal(got.count, 50);
    pv_log_reader_close(reader);
}

static void
an_empty_log_has_no_page(void **state)
{
    static struct got got;
    struct pv_log_reader *reader;

    fill(*state, 0);
    reader = open_reader(*state, NULL);
    list(reader, (struct pv_browse_filter){.user = NULL}, &got);
    assert_int_equal(got.count, 0);
    pv_log_reader_close(reader);
}

static void
what_stops_the_reading_is_given_back(void **state)
{
    static struct got got;
    const struct pv_browse_filter filter = {.limit = 10};
    struct pv_browse_end end;
    struct pv_log_reader *reader;

    fill(*state, 20);
    reader = open_reader(*state, NULL);
    got.answer = PV_NOMEM;
    assert_int_equal(pv_browse_list(reader, &filter, take, &got, &end), PV_NOMEM);
    got.answer = PV_LIMIT;
    assert_int_equal(pv_browse_list(reader, &filter, take, &got, &end), PV_INTERNAL);
    pv_log_reader_close(reader);
}

/* Cancelled before it begins: it says how far it came, and goes on from there. */
static void
what_is_cut_off_goes_on(void **state)
{
    static struct got got;
    atomic_bool cancel = true;
    const struct pv_log_reader_options options = {.cancel = &cancel};
    struct pv_browse_filter filter = {.text = "AS n", .limit = COUNT - 1};
    struct pv_browse_end end;
    struct pv_log_reader *reader;

    fill(*state, COUNT);
    reader = open_reader(*state, &options);
    memset(&got, 0, sizeof(got));
    assert_int_equal(pv_browse_list(reader, &filter, take, &got, &end), PV_OK);
    assert_true(end.is_overdue);
    assert_false(end.is_complete);
    assert_true(got.count < COUNT - 1);
    atomic_store(&cancel, false);
    filter.before_seq = end.last_seq;
    filter.limit = COUNT;
    assert_int_equal(pv_browse_list(reader, &filter, take, &got, &end), PV_OK);
    assert_true(end.is_complete);
    assert_int_equal(got.count, COUNT);
    for (size_t i = 1; i < got.count; i++)
        assert_true(got.seqs[i] < got.seqs[i - 1]);
    pv_log_reader_close(reader);
}

struct sums {
    uint64_t count, denied, rows, in_retail;
    int64_t newest_us, oldest_us;
};

static void
add(void *context, const struct pv_browse_fact *fact)
{
    struct sums *sums = context;

    sums->count++;
    sums->denied += fact->is_denied;
    sums->rows += fact->rows;
    sums->in_retail += pv_slice_is(fact->room, "retail");
    assert_true(sums->count == 1 || fact->at_us < sums->oldest_us);
    if (sums->count == 1)
        sums->newest_us = fact->at_us;
    sums->oldest_us = fact->at_us;
    if (fact->is_denied) {
        assert_true(pv_slice_is(fact->sqlstate, "42703"));
        assert_true(pv_slice_is(fact->user, "mallory"));
        assert_int_equal(fact->question.len, 0);
    } else {
        assert_true(pv_slice_is(fact->columns, "[\"public.customers.region\"]"));
        assert_int_equal(fact->duration_us, 450);
    }
}

static void
check_pass(const struct place *place)
{
    const struct pv_log_reader_options retail = {.rooms = only_retail, .room_count = 1};
    struct pv_log_reader *reader = open_reader(place, NULL);
    struct pv_browse_end end;
    struct sums sums = {0};

    assert_int_equal(pv_browse_scan(reader, 0, add, &sums, &end), PV_OK);
    assert_true(end.is_complete);
    assert_int_equal(sums.count, COUNT);
    assert_int_equal(sums.denied, 714);
    assert_int_equal(sums.rows, 3 * (COUNT - 714));
    memset(&sums, 0, sizeof(sums));
    assert_int_equal(pv_browse_scan(reader, FIRST_US + INT64_C(4000000000), add, &sums, &end), PV_OK);
    assert_int_equal(sums.count, COUNT - 4000 + 1);
    assert_int_equal(sums.oldest_us, FIRST_US + INT64_C(4000000000));
    pv_log_reader_close(reader);
    reader = open_reader(place, &retail);
    memset(&sums, 0, sizeof(sums));
    assert_int_equal(pv_browse_scan(reader, 0, add, &sums, &end), PV_OK);
    assert_int_equal(sums.count, COUNT / 2);
    assert_int_equal(sums.in_retail, COUNT / 2);
    pv_log_reader_close(reader);
}

static void
a_pass_sees_each_statement_once(void **state)
{
    fill(*state, COUNT);
    check_pass(*state);
    seal(*state);
    check_pass(*state);
}

static void
each_allocation_may_fail(void **state)
{
    static struct got got;
    const struct pv_browse_filter filter = {.text = "n", .column = "region", .limit = 10};
    struct pv_browse_end end;
    struct pv_log_reader *reader;
    enum pv_status status = PV_NOMEM;

    fill(*state, 20);
    reader = open_reader(*state, NULL);
    for (long nth = 1; status == PV_NOMEM; nth++) {
        memset(&got, 0, sizeof(got));
        pv_alloc_fail_at(nth);
        status = pv_browse_list(reader, &filter, take, &got, &end);
        pv_alloc_fail_at(0);
        assert_true(nth < 100);
    }
    assert_int_equal(status, PV_OK);
    assert_int_equal(got.count, 10);
    pv_log_reader_close(reader);
}

#define T(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(filters_find_what_they_say),
        T(sealed_records_are_found_as_well),
        T(pages_of_one),
        T(an_empty_log_has_no_page),
        T(what_stops_the_reading_is_given_back),
        T(what_is_cut_off_goes_on),
        T(a_pass_sees_each_statement_once),
        T(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
