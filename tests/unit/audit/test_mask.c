/* Readers who may not see literals: no value of a statement reaches them, by any view, also not by a search. */
#include "tests/unit/audit/reader_test.h"

#include "parser/literals.h"
#include "proxy/audit/segment.h"

#define SECRET "jane.doe@example.com"

static void
put(struct pv_journal *journal, uint64_t id, const char *query, bool is_allowed, const char *sqlstate,
    const char *reason)
{
    struct pv_statement_begin begin = sample_begin(id);
    struct pv_statement_end end = {.outcome = PV_OUTCOME_COMPLETED, .sqlstate = sqlstate};
    const struct pv_record record = {.kind = PV_RECORD_WHOLE, .begin = &begin, .end = &end};
    uint64_t ticket = 0;

    begin.is_allowed = is_allowed;
    begin.query = pv_slice_cstr(query);
    begin.forwarded = is_allowed ? "SELECT (email) FROM masked.x WHERE ((email) = ('" SECRET "'))" : NULL;
    begin.parameters = "[\"" SECRET "\", \"2024-01-01\", \"42\", \"4.2\", null, \"2024-01-01 10:00\", \"-\", 7, true]";
    begin.reason = reason;
    assert_int_equal(pv_journal_put(journal, &record, NULL, NULL, &ticket), PV_OK);
}

static int
log_make(void **state)
{
    struct pv_journal *journal;

    if (place_make(state) != 0)
        return -1;
    journal = open_journal(*state, (struct pv_journal_options){0});
    put(journal, 1, "SELECT region FROM public.customers WHERE email = '" SECRET "' -- for " SECRET, true, NULL, NULL);
    put(journal, 2, "SELECT '" SECRET, false, "42601", "unterminated quoted string at or near \"'" SECRET "\"");
    put(journal, 3, "INSERT INTO t VALUES ('" SECRET "')", false, "42501", "INSERT is not allowed");
    put(journal, 4, "SELECT 1", true, "22P02", "invalid input syntax for type integer: \"" SECRET "\"");
    put(journal, 5, "SELECT $1::numeric(10,2), E'" SECRET "', $q$" SECRET "$q$, -5, NULL, true", true, NULL, NULL);
    pv_journal_close(journal);
    return 0;
}

static struct pv_log_reader *
open_masked(const struct place *place)
{
    const struct pv_log_reader_options options = {.mask = pv_literals_mask};

    return open_reader(place, &options);
}

static void
assert_answer(struct pv_log_reader *reader, const char *sql, const char *want)
{
    char *have = ask(reader, sql);

    if (strcmp(have, want) != 0)
        fail_msg("%s\nwant: %shave: %s", sql, want, have);
    free(have);
}

static void
check_reader(struct pv_log_reader *reader)
{
    static const char *const looks[] = {
        "SELECT * FROM query_log",
        "SELECT * FROM denials",
        "SELECT group_concat(query || forwarded) FROM query_log",
        "SELECT hex(query), hex(reason), hex(parameters) FROM query_log",
        "SELECT max(query), max(reason), max(parameters), max(forwarded) FROM query_log GROUP BY decision",
        "SELECT pv_mask(query) FROM query_log",
    };

    for (size_t i = 0; i < PV_COUNT_OF(looks); i++) {
        char *text = ask(reader, looks[i]);

        assert_true(strlen(text) > 10);
        if (strstr(text, SECRET) != NULL || strstr(text, "6A616E652E646F65") != NULL)
            fail_msg("%s: %s", looks[i], text);
        free(text);
    }
    assert_answer(reader, "SELECT query FROM query_log WHERE seq = 1",
                  "{\"query\": \"SELECT region FROM public.customers WHERE (email = '\xe2\x80\xa6')\"}\n");
    assert_answer(reader, "SELECT count(*) AS n FROM query_log WHERE query LIKE '%jane%' OR reason LIKE '%jane%'",
                  "{\"n\": 0}\n");
    assert_answer(
        reader, "SELECT parameters FROM query_log WHERE seq = 1",
        "{\"parameters\": [\"text\", \"date\", \"integer\", \"numeric\", null, \"timestamp\", \"text\", \"integer\","
        " \"boolean\"]}\n");
    assert_answer(reader,
                  "SELECT query LIKE '(masked: 28 bytes, sha256 ________________________________________________"
                  "________________)' AS is_whole FROM query_log WHERE seq = 2",
                  "{\"is_whole\": 1}\n");
    assert_answer(reader, "SELECT reason FROM query_log WHERE seq = 3", "{\"reason\": \"INSERT is not allowed\"}\n");
    assert_answer(reader, "SELECT substr(reason, 1, 8) AS r FROM query_log WHERE seq IN (2, 4) GROUP BY 1",
                  "{\"r\": \"(masked:\"}\n");
    assert_answer(reader, "SELECT room, user, decision, rows FROM query_log WHERE seq = 5",
                  "{\"room\": \"retail\", \"user\": \"alice\", \"decision\": \"allowed\", \"rows\": 0}\n");
}

static void
no_literal_is_shown(void **state)
{
    struct pv_log_reader *reader = open_masked(*state);

    check_reader(reader);
    pv_log_reader_close(reader);
}

static void
nor_out_of_segments(void **state)
{
    const struct place *place = *state;
    struct pv_seal_result result;
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){0});
    struct pv_log_reader *reader;

    assert_int_equal(put_event(journal, "logout"), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(pv_log_seal(place->path, &(struct pv_seal_options){.is_now = true}, &result, NULL, 0), PV_OK);
    assert_int_equal(result.records, 5);
    reader = open_masked(place);
    check_reader(reader);
    pv_log_reader_close(reader);
}

static void
the_file_keeps_the_text(void **state)
{
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE query LIKE '%" SECRET "%'"), 4);
}

static void
statements_are_printed_from_their_trees(void **state)
{
    static const struct {
        const char *text, *want; /* NULL: no masked form */
    } rows[] = {
        {"SELECT 1", "SELECT '\xe2\x80\xa6'"},
        {"SELECT /* x */ $1, $2 LIMIT 5", "SELECT $1, $2 LIMIT '\xe2\x80\xa6'"},
        {"SELECT U&'\\0061'", "SELECT '\xe2\x80\xa6'"},
        {"SELECT NULL", "SELECT NULL"},
        {"BEGIN", "BEGIN"},
        {"SELECT 1; SELECT 'x'", "SELECT '\xe2\x80\xa6'; SELECT '\xe2\x80\xa6'"},
        {"", ""},
        {"SELEC 'x'", NULL},
        {"CREATE TABLE t (a int DEFAULT 5)", NULL},
        {"SELECT '\xff'", NULL},
    };

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_buf out = {0};
        enum pv_status status;

        pv_buf_put_text(&out, ">");
        status = pv_literals_mask(pv_slice_cstr(rows[i].text), &out);
        if ((status == PV_OK) != (rows[i].want != NULL))
            fail_msg("%s: %s", rows[i].text, pv_status_words(status));
        if (strcmp(pv_buf_text(&out) + 1, rows[i].want == NULL ? "" : rows[i].want) != 0)
            fail_msg("%s: %s", rows[i].text, pv_buf_text(&out));
        pv_buf_clear(&out);
    }
    /* SET takes constants as well. */
    {
        struct pv_buf out = {0};

        assert_int_equal(pv_literals_mask(pv_slice_cstr("SET application_name = '" SECRET "'"), &out), PV_OK);
        assert_null(strstr(pv_buf_text(&out), "jane"));
        pv_buf_clear(&out);
    }
    (void) state;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_literal_is_shown, log_make, place_remove),
        cmocka_unit_test_setup_teardown(nor_out_of_segments, log_make, place_remove),
        cmocka_unit_test_setup_teardown(the_file_keeps_the_text, log_make, place_remove),
        cmocka_unit_test(statements_are_printed_from_their_trees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
