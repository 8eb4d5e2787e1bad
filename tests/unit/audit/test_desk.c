/*
 * Auditors' SQL as it runs on the desk, without a wire: values with their types, what is refused with which code, rooms,
 * masks, cancelling, and many asks at once.
 */
#include "tests/unit/audit/audit_test.h"

#include "proxy/audit/desk.h"
#include "proxy/audit/dialect.h"

static const char *const retail[] = {"retail"};

/* Two statements of retail and a denied one; one of another room. */
static int
log_make(void **state)
{
    struct pv_journal *journal;
    struct pv_statement_begin begin = sample_begin(4);
    const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};
    uint64_t ticket = 0;

    if (place_make(state) != 0)
        return -1;
    journal = open_journal(*state, (struct pv_journal_options){0});
    for (uint64_t id = 1; id <= 2; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    assert_int_equal(put_denied(journal, 3, NULL, &ticket), PV_OK);
    begin.room = "other";
    assert_int_equal(pv_journal_put(journal, &record, NULL, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
    return 0;
}

/* As a session makes one of a client's text. */
static struct pv_ask *
ask_of(const char *sql)
{
    struct pv_ask *ask = pv_ask_new();
    struct pv_dialect *read = NULL;
    size_t count = 0;

    assert_non_null(ask);
    assert_int_equal(pv_dialect_read(ask->arena, pv_slice_cstr(sql), &read, &count), PV_OK);
    assert_int_equal(count, 1);
    assert_null(read->sqlstate);
    ask->user = "olga";
    ask->rooms = retail;
    ask->room_count = 1;
    ask->sql = read->sql;
    return ask;
}

/* Rows as text, cells apart by '|', rows by ';'. */
static void
expect_rows(struct pv_ask *ask, const char *expected)
{
    struct pv_buf body = {0}, text = {0};
    size_t offset = 0;

    while (pv_ask_next(ask, &offset, NULL, 0, &body)) {
        struct pv_reader reader = pv_reader_of(pv_buf_slice(&body));
        uint16_t count = 0;

        assert_int_equal(pv_read_u16(&reader, &count), PV_OK);
        for (uint16_t i = 0; i < count; i++) {
            uint32_t len = 0;
            struct pv_slice cell = {NULL, 0};

            assert_int_equal(pv_read_u32(&reader, &len), PV_OK);
            if (len != UINT32_MAX)
                assert_int_equal(pv_read_slice(&reader, len, &cell), PV_OK);
            pv_buf_put_text(&text, i == 0 ? "" : "|");
            if (len == UINT32_MAX)
                pv_buf_put_text(&text, "NULL");
            else
                pv_buf_put_slice(&text, cell);
        }
        pv_buf_put_text(&text, ";");
        pv_buf_truncate(&body, 0);
    }
    pv_buf_put_text(&text, "");
    assert_string_equal(pv_buf_len(&text) == 0 ? "" : pv_buf_text(&text), expected);
    pv_buf_clear(&body);
    pv_buf_clear(&text);
}

static void
values_and_their_types(void **state)
{
    static const struct {
        const char *sql, *rows;
        uint32_t type; /* of the first column */
    } cases[] = {
        {"SELECT count(*) FROM query_log", "3;", PV_TYPE_INT8},
        {"SELECT DISTINCT room FROM query_log", "retail;", PV_TYPE_TEXT},
        {"SELECT 1.5, NULL, 'x' || 1", "1.5|NULL|x1;", PV_TYPE_FLOAT8},
        {"SELECT decision, count(*) FROM query_log GROUP BY 1 ORDER BY 1", "allowed|2;denied|1;", PV_TYPE_TEXT},
        {"SELECT current_user, current_database()", "olga|pgveil;", PV_TYPE_TEXT},
        {"SELECT '12'::int + 1, CAST('7' AS bigint)", "13|7;", PV_TYPE_INT8},
        {"SELECT date_trunc('day', timestamptz '2026-05-06 07:08:09')", "2026-05-06 00:00:00.000000+00;", PV_TYPE_TIMESTAMPTZ},
        {"SELECT extract(hour FROM timestamptz '2026-05-06 07:08:09Z')", "7;", PV_TYPE_INT8},
        {"SELECT string_agg(decision, ',') FROM (SELECT DISTINCT decision FROM query_log ORDER BY 1) AS d", "allowed,denied;",
         PV_TYPE_TEXT},
        {"SELECT count(*) FROM query_log WHERE at > now() - interval '20 years'", "3;", PV_TYPE_INT8},
        {"SELECT count(*) FROM query_log WHERE at > now() - interval '100 years' AND at < now() + interval '90000 months'", "3;",
         PV_TYPE_INT8},
        {"SELECT count(*) FROM query_log WHERE room ILIKE 'RET%' AND room ~ '^re'", "3;", PV_TYPE_INT8},
        {"SELECT 1 WHERE 1 = 0", "", PV_TYPE_TEXT},
        {"SELECT statements, denied FROM top_members ORDER BY 2", "2|0;1|1;", PV_TYPE_INT8},
    };

    for (size_t i = 0; i < PV_COUNT_OF(cases); i++) {
        struct pv_ask *ask = ask_of(cases[i].sql);

        pv_ask_run(ask, ((struct place *) *state)->path);
        if (ask->sqlstate[0] != '\0')
            fail_msg("%s: %s %s", cases[i].sql, ask->sqlstate, ask->message);
        expect_rows(ask, cases[i].rows);
        if (ask->columns[0].type_oid != cases[i].type)
            fail_msg("%s: type %u", cases[i].sql, (unsigned) ask->columns[0].type_oid);
        pv_ask_unref(ask);
    }
}

static void
what_is_refused_says_why(void **state)
{
    static const struct {
        const char *sql, *sqlstate;
    } cases[] = {
        {"SELECT * FROM nowhere", "42P01"},        {"SELECT absent FROM query_log", "42703"},
        {"SELECT no_such(1)", "42883"},            {"SELECT 'x'::timestamptz", "22007"},
        {"SELECT load_extension('x')", "42501"},   {"SELECT date_trunc('fortnight', now())", "22P02"},
        {"SELECT * FROM statement_2", "42P01"},    {"SELECT hidden FROM secret, nowhere", "42P01"},
        {"SELECT randomblob(100000000)", "42501"}, {"SELECT 1 +", "42601"},
    };

    for (size_t i = 0; i < PV_COUNT_OF(cases); i++) {
        struct pv_ask *ask = ask_of(cases[i].sql);

        pv_ask_run(ask, ((struct place *) *state)->path);
        if (strcmp(ask->sqlstate, cases[i].sqlstate) != 0 || ask->message == NULL)
            fail_msg("%s: '%s' %s", cases[i].sql, ask->sqlstate, ask->message == NULL ? "" : ask->message);
        assert_int_equal(ask->row_count, 0);
        pv_ask_unref(ask);
    }
}

/* No rooms: no rows, whatever is asked. No log: an error that names no path. */
static void
rooms_and_logs_that_are_none(void **state)
{
    struct pv_ask *ask = ask_of("SELECT count(*) FROM query_log");

    ask->room_count = 0;
    pv_ask_run(ask, ((struct place *) *state)->path);
    assert_string_equal(ask->sqlstate, "");
    expect_rows(ask, "0;");
    pv_ask_unref(ask);
    ask = ask_of("SELECT count(*) FROM query_log");
    pv_ask_run(ask, "/nonexistent/state.db");
    assert_string_equal(ask->sqlstate, "58030");
    assert_null(strstr(ask->message, "/nonexistent"));
    pv_ask_unref(ask);
}

static void
a_long_statement_can_be_cancelled(void **state)
{
    struct pv_ask *ask = ask_of("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM c");

    pv_ask_cancel(ask);
    pv_ask_run(ask, ((struct place *) *state)->path);
    assert_string_equal(ask->sqlstate, "57014");
    pv_ask_unref(ask);
}

static atomic_uint done_count;

static void
on_done(struct pv_ask *ask)
{
    atomic_fetch_add(&done_count, 1);
    pv_ask_unref(ask);
}

/* Each ask that was taken is answered once, those beyond the queue are turned away, and closing answers what is left. */
static void
every_ask_is_answered_once(void **state)
{
    struct pv_desk *desk = NULL;
    unsigned taken = 0, refused = 0;

    atomic_store(&done_count, 0);
    assert_int_equal(pv_desk_open(((struct place *) *state)->path, &desk), PV_OK);
    for (unsigned i = 0; i < PV_DESK_QUEUE_MAX + 200; i++) {
        struct pv_ask *ask = ask_of(i % 3 == 0 ? "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < "
                                                 "3000000) SELECT count(*) FROM c"
                                               : "SELECT count(*) FROM query_log");
        enum pv_status status;

        ask->done = on_done;
        status = pv_desk_put(desk, ask);
        assert_true(status == PV_OK || status == PV_LIMIT);
        *(status == PV_OK ? &taken : &refused) += 1;
        pv_ask_unref(ask);
    }
    assert_true(taken >= PV_DESK_QUEUE_MAX && refused > 0);
    pv_desk_close(desk);
    assert_int_equal(atomic_load(&done_count), taken);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, log_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(values_and_their_types),       TEST(what_is_refused_says_why),          TEST(rooms_and_logs_that_are_none),
        TEST(a_long_statement_can_be_cancelled), TEST(every_ask_is_answered_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
