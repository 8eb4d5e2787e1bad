#include "tests/unit/audit/audit_test.h"

/* Ten statements with their ends, a denied one and two events: 23 records in three tables. */
static int
log_make(void **state)
{
    struct pv_journal *journal;
    uint64_t ticket = 0;

    if (place_make(state) != 0)
        return -1;
    journal = open_journal(*state, (struct pv_journal_options){0});
    assert_int_equal(put_event(journal, "login"), PV_OK);
    for (uint64_t id = 1; id <= 10; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    assert_int_equal(put_denied(journal, 11, NULL, &ticket), PV_OK);
    assert_int_equal(put_event(journal, "logout"), PV_OK);
    pv_journal_close(journal);
    return 0;
}

#define DROP \
    "DROP TRIGGER statement_no_update; DROP TRIGGER statement_no_delete; DROP TRIGGER statement_end_no_update;" \
    "DROP TRIGGER statement_end_no_delete; DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete;"

/* Swaps the numbers of two rows of one table. */
#define SWAP(table, a, b) \
    "UPDATE " table " SET seq = -1 WHERE seq = " #a "; UPDATE " table " SET seq = " #a " WHERE seq = " #b \
    "; UPDATE " table " SET seq = " #b " WHERE seq = -1;"

/* Seqs: 1 login; begins 2 4 .. 20, ends 3 5 .. 21; denied 22; logout 23. */
static const struct {
    const char *sql;
    enum pv_log_fault fault;
    uint64_t seq;
} tampers[] = {
    {"SELECT 1", PV_FAULT_NONE, 0},
    {"UPDATE statement SET query = 'SELECT 1' WHERE seq = 4", PV_FAULT_CHANGED, 4},
    {"UPDATE statement SET decision = 'allowed' WHERE seq = 22", PV_FAULT_CHANGED, 22},
    {"UPDATE statement SET room = NULL WHERE seq = 2", PV_FAULT_CHANGED, 2},
    {"UPDATE statement SET room = '' WHERE seq = 2", PV_FAULT_CHANGED, 2},
    {"UPDATE statement SET query = CAST(query AS BLOB) WHERE seq = 2", PV_FAULT_CHANGED, 2},
    {"UPDATE statement SET user = party, party = user WHERE seq = 2", PV_FAULT_CHANGED, 2},
    {"UPDATE statement SET user = user || 'ac', party = 'me' WHERE seq = 2", PV_FAULT_CHANGED, 2},
    {"UPDATE statement_end SET rows = 0 WHERE seq = 21", PV_FAULT_CHANGED, 21},
    {"UPDATE statement_end SET hash = zeroblob(32) WHERE seq = 21", PV_FAULT_CHANGED, 21},
    {"UPDATE statement_end SET hash = x'00' WHERE seq = 21", PV_FAULT_CHANGED, 21},
    {"UPDATE statement SET outcome = 'completed' WHERE seq = 22", PV_FAULT_CHANGED, 22},
    {"UPDATE statement SET rows = 1 WHERE seq = 22", PV_FAULT_CHANGED, 22},
    {"UPDATE statement SET end_reason = 'x' WHERE seq = 22", PV_FAULT_CHANGED, 22},
    {"UPDATE statement SET outcome = NULL, rows = NULL, bytes = NULL, duration_us = NULL, sqlstate = NULL WHERE seq = 22",
     PV_FAULT_CHANGED, 22},
    {"UPDATE statement SET outcome = 'failed' WHERE seq = 4", PV_FAULT_CHANGED, 4},
    {"UPDATE statement SET rows = 9 WHERE seq = 4", PV_FAULT_CHANGED, 4},
    {"UPDATE event SET user = 'bob' WHERE seq = 1", PV_FAULT_CHANGED, 1},
    {"UPDATE event SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 23", PV_FAULT_CHANGED, 23},
    {"DELETE FROM statement WHERE seq = 4", PV_FAULT_MISSING, 4},
    {"DELETE FROM event WHERE seq = 1", PV_FAULT_MISSING, 1},
    {"DELETE FROM statement WHERE seq = 4; UPDATE statement SET seq = 4 WHERE seq = 6", PV_FAULT_REORDERED, 4},
    {SWAP("statement", 4, 6), PV_FAULT_REORDERED, 4},
    {SWAP("statement_end", 5, 21), PV_FAULT_REORDERED, 5},
    {"UPDATE statement SET id = 99 WHERE seq = 4; UPDATE statement SET id = 2 WHERE seq = 6;"
     "UPDATE statement SET id = 3 WHERE seq = 4",
     PV_FAULT_CHANGED, 4},
    {"UPDATE statement SET seq = 1 WHERE seq = 2", PV_FAULT_REORDERED, 1},
    {"UPDATE event SET seq = 22 WHERE seq = 23", PV_FAULT_CHANGED, 22},
};

static void
every_tampering_is_found(void **state)
{
    for (size_t i = 0; i < PV_COUNT_OF(tampers); i++) {
        void *inner = NULL;
        struct pv_verdict verdict;

        assert_int_equal(log_make(&inner), 0);
        raw(inner, DROP);
        raw(inner, tampers[i].sql);
        verdict = verify(inner, NULL);
        /* Nothing but the triggers missing is a fault too, the last one looked for. */
        if (tampers[i].fault == PV_FAULT_NONE)
            assert_int_equal(verdict.fault, PV_FAULT_SCHEMA);
        else if (verdict.fault != tampers[i].fault || verdict.seq != tampers[i].seq)
            fail_msg("%s: fault %d at %d: %s", tampers[i].sql, (int) verdict.fault, (int) verdict.seq, verdict.words);
        assert_int_equal(place_remove(&inner), 0);
    }
    (void) state;
}

static void
untouched_log_is_sound(void **state)
{
    const struct pv_verdict verdict = verify(*state, NULL);

    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_int_equal(verdict.records, 23);
    assert_int_equal(verdict.head_seq, 23);
}

static void
tables_refuse_changes_without_tampering(void **state)
{
    static const char *const statements[] = {
        "UPDATE statement SET room = 'x'", "DELETE FROM statement",     "UPDATE statement_end SET rows = 1",
        "DELETE FROM statement_end",       "UPDATE event SET user = 1", "DELETE FROM event",
    };
    const struct place *place = *state;
    sqlite3 *sqlite = NULL;

    assert_int_equal(sqlite3_open(place->path, &sqlite), SQLITE_OK);
    for (size_t i = 0; i < PV_COUNT_OF(statements); i++)
        assert_int_equal(sqlite3_exec(sqlite, statements[i], NULL, NULL, NULL), SQLITE_CONSTRAINT);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
    assert_sound(place);
}

static void
changed_view_is_found(void **state)
{
    struct pv_verdict verdict;

    raw(*state, "DROP VIEW query_log; CREATE VIEW query_log AS SELECT 1 AS seq");
    verdict = verify(*state, NULL);
    assert_int_equal(verdict.fault, PV_FAULT_SCHEMA);
    assert_non_null(strstr(verdict.words, "view query_log"));
}

static struct pv_log_head
sign_head(const struct place *place)
{
    struct pv_log_head head;
    char error[256] = "";

    if (pv_log_head_sign(place->path, &head, error, sizeof(error)) != PV_OK)
        fail_msg("%s", error);
    return head;
}

static void
cut_tail_is_found_by_the_head(void **state)
{
    const struct pv_log_head head = sign_head(*state);
    struct pv_verdict verdict = verify(*state, &head);

    assert_int_equal(head.seq, 23);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    raw(*state, "DROP TRIGGER event_no_delete; DROP TRIGGER statement_no_delete");
    raw(*state, "DELETE FROM event WHERE seq = 23; DELETE FROM statement WHERE seq = 22");
    verdict = verify(*state, &head);
    assert_int_equal(verdict.fault, PV_FAULT_HEAD);
    assert_int_equal(verdict.seq, 22);
    /* Put back in its place the trigger leaves no trace; the head alone tells. */
    raw(*state,
        "CREATE TRIGGER event_no_delete BEFORE DELETE ON event WHEN old.seq > (SELECT coalesce(max(last_seq), 0) FROM "
        "segment) BEGIN SELECT RAISE(ABORT, 'the query log is append-only'); END; CREATE TRIGGER "
        "statement_no_delete BEFORE DELETE ON statement WHEN old.seq > (SELECT coalesce(max(last_seq), 0) FROM "
        "segment) BEGIN SELECT RAISE(ABORT, 'the query log is append-only'); END;");
    assert_int_equal(verify(*state, NULL).fault, PV_FAULT_NONE);
    assert_int_equal(verify(*state, &head).fault, PV_FAULT_HEAD);
}

static void
rewritten_log_is_found_by_the_head(void **state)
{
    const struct pv_log_head head = sign_head(*state);
    struct place *place = *state;
    struct pv_journal *journal;
    struct pv_verdict verdict;

    assert_int_equal(unlink(place->path), 0);
    journal = open_journal(place, (struct pv_journal_options){0});
    for (int i = 0; i < 30; i++)
        assert_int_equal(put_event(journal, "forged"), PV_OK);
    pv_journal_close(journal);
    assert_sound(place);
    verdict = verify(place, &head);
    assert_int_equal(verdict.fault, PV_FAULT_HEAD);
    assert_int_equal(verdict.seq, 23);
}

static void
later_records_leave_a_head_valid(void **state)
{
    const struct pv_log_head head = sign_head(*state);
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});

    assert_int_equal(put_event(journal, "login"), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(verify(*state, &head).fault, PV_FAULT_NONE);
}

static void
head_round_trips_and_is_bound_to_its_key(void **state)
{
    struct pv_log_head head = sign_head(*state);
    struct pv_log_head back;
    struct pv_buf text = {0};

    pv_log_head_format(&head, &text);
    assert_true(pv_buf_ok(&text));
    assert_int_equal(pv_log_head_parse(pv_buf_slice(&text), &back), PV_OK);
    assert_memory_equal(&back, &head, sizeof(head));
    assert_int_equal(verify(*state, &back).fault, PV_FAULT_NONE);
    /* Every proper prefix that leaves out more than the line's end is refused, and so is one more byte. */
    for (size_t len = 0; len + 1 < pv_buf_len(&text); len++)
        assert_int_equal(pv_log_head_parse(pv_slice_of(pv_buf_slice(&text).data, len), &back), PV_INVALID);
    pv_buf_put_text(&text, "x");
    assert_int_equal(pv_log_head_parse(pv_buf_slice(&text), &back), PV_INVALID);
    pv_buf_clear(&text);
    head.seq--;
    assert_int_equal(verify(*state, &head).fault, PV_FAULT_SIGNATURE);
    head.seq++;
    head.signature[0] ^= 1;
    assert_int_equal(verify(*state, &head).fault, PV_FAULT_SIGNATURE);
    head.signature[0] ^= 1;
    head.fingerprint[0] = head.fingerprint[0] == '0' ? '1' : '0';
    assert_int_equal(verify(*state, &head).fault, PV_FAULT_SIGNATURE);
}

static void
damaged_file_is_a_verdict_or_an_error(void **state)
{
    const struct place *place = *state;
    struct pv_verdict verdict;
    char error[256];
    enum pv_status status;
    FILE *file;

    /* Everything into the file itself, then noise over its pages, the first one spared. */
    raw(place, "PRAGMA wal_checkpoint(TRUNCATE)");
    file = fopen(place->path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 4096, SEEK_SET), 0);
    for (int i = 0; i < 200000; i++)
        assert_int_not_equal(fputc(0xA5, file), EOF);
    assert_int_equal(fclose(file), 0);
    status = pv_log_verify(place->path, NULL, &verdict, error, sizeof(error));
    assert_true(status == PV_CORRUPT || (status == PV_OK && verdict.fault == PV_FAULT_DAMAGED));
}

static void
other_files_are_refused(void **state)
{
    const struct place *place = *state;
    struct pv_verdict verdict;
    struct pv_journal *journal = NULL;
    const struct pv_journal_options options = {0};
    char error[256];

    assert_int_equal(pv_log_verify("/nonexistent/state.db", NULL, &verdict, error, sizeof(error)), PV_NOTFOUND);
    raw(place, "CREATE TABLE other (a)");
    assert_int_equal(pv_log_verify(place->path, NULL, &verdict, error, sizeof(error)), PV_CORRUPT);
    assert_int_equal(pv_journal_open(place->path, &options, &journal, error, sizeof(error)), PV_CORRUPT);
    raw(place, "PRAGMA application_id = 1885828716; PRAGMA user_version = 9");
    assert_int_equal(pv_journal_open(place->path, &options, &journal, error, sizeof(error)), PV_CORRUPT);
    assert_non_null(strstr(error, "version 9"));
}

static void
times_read_and_write(void **state)
{
    static const struct {
        const char *text;
        int64_t at_us; /* -1: refused */
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-31T12:00:00.123456Z", INT64_C(1769860800123456)},
        {"2026-01-31T13:00:00.123456+01:00", INT64_C(1769860800123456)},
        {"2026-01-31t11:30:00.1234569-00:30", INT64_C(1769860800123456)},
        {"2026-01-31", INT64_C(1769817600000000)},
        {"2024-02-29", INT64_C(1709164800000000)},
        {"2026-02-29", -1},
        {"2026-01-31T12:00:00", -1},
        {"2026-01-31T24:00:00Z", -1},
        {"2026-01-31T12:00:00.Z", -1},
        {"2026-01-31T12:00:00ZZ", -1},
        {"2026-13-01", -1},
        {"1969-12-31", -1},
        {"1970-01-01T00:00:00+01:00", -1},
        {"yesterday", -1},
        {"", -1},
    };
    char text[PV_RECORD_TIME_SIZE];
    int64_t at_us;

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        enum pv_status status = pv_record_time_parse(rows[i].text, &at_us);

        if (status != (rows[i].at_us < 0 ? PV_INVALID : PV_OK))
            fail_msg("%s: %s", rows[i].text, pv_status_words(status));
        if (status == PV_OK)
            assert_int_equal(at_us, rows[i].at_us);
    }
    pv_record_time_format(INT64_C(1769860800123456), text);
    assert_string_equal(text, "2026-01-31T12:00:00.123456Z");
    pv_record_time_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
    pv_record_time_format(INT64_MIN, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(untouched_log_is_sound, log_make, place_remove),
        cmocka_unit_test_setup_teardown(tables_refuse_changes_without_tampering, log_make, place_remove),
        cmocka_unit_test(every_tampering_is_found),
        cmocka_unit_test_setup_teardown(changed_view_is_found, log_make, place_remove),
        cmocka_unit_test_setup_teardown(cut_tail_is_found_by_the_head, log_make, place_remove),
        cmocka_unit_test_setup_teardown(rewritten_log_is_found_by_the_head, log_make, place_remove),
        cmocka_unit_test_setup_teardown(later_records_leave_a_head_valid, log_make, place_remove),
        cmocka_unit_test_setup_teardown(head_round_trips_and_is_bound_to_its_key, log_make, place_remove),
        cmocka_unit_test_setup_teardown(damaged_file_is_a_verdict_or_an_error, log_make, place_remove),
        cmocka_unit_test_setup_teardown(other_files_are_refused, place_make, place_remove),
        cmocka_unit_test(times_read_and_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
