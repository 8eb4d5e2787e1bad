/* Segments that leave, that were tampered with, and state files from before there were any. */
#include "tests/unit/audit/segment_test.h"

/* ---- Retention ---- */

static void
a_retired_segment_leaves_a_tombstone(void **state)
{
    const struct place *place = *state;
    const struct pv_log_head *none = NULL;
    struct pv_log_head early, edge;
    struct pv_verdict verdict;
    char *answer, path[160];

    assert_int_equal(pv_log_head_sign(place->path, &early, NULL, 0), PV_OK);
    (void) seal(place, now);
    assert_int_equal(pv_log_head_sign(place->path, &edge, NULL, 0), PV_OK);
    add_statements(place, 100, 5);
    (void) seal(place, now);
    assert_int_equal(seal(place, (struct pv_seal_options){.retention_bytes = 1024 * 1024}).retired, 0);
    assert_int_equal(seal(place, (struct pv_seal_options){.retention_age_ms = UINT64_C(36500) * 86400000}).retired, 0);
    verdict = verify(place, &early);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_false(verdict.is_head_unreachable);
    assert_int_equal(seal(place, (struct pv_seal_options){.retention_bytes = 100 * 1024}).retired, 1);
    segment_path(place, 1, path);
    assert_int_equal(access(path, F_OK), -1);
    verdict = verify(place, none);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_int_equal(verdict.retired, 1);
    assert_int_equal(verdict.segments, 1);
    assert_int_equal(verdict.first_seq, 26);
    assert_string_equal(verdict.policy, "retention_bytes 102400");
    /* A head of before says no more than that its signature is right; a later one is found. */
    verdict = verify(place, &early);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_false(verify(place, &edge).is_head_unreachable);
    answer = ask_once(place, "SELECT min(seq) AS first, count(*) AS n FROM query_log");
    assert_string_equal(answer, "{\"first\": 28, \"n\": 5}\n");
    free(answer);
    answer = ask_once(place, "SELECT count(*) AS n FROM event_log WHERE event = 'segment_retired' AND"
                             " json_extract(detail, '$.segment') = 1");
    assert_string_equal(answer, "{\"n\": 1}\n");
    free(answer);
}

static void
age_retires_what_is_old(void **state)
{
    const struct place *place = *state;

    (void) seal(place, now);
    add_statements(place, 100, 5);
    (void) seal(place, now);
    (void) usleep(50000);
    assert_int_equal(seal(place, (struct pv_seal_options){.retention_age_ms = 20}).retired, 2);
    assert_sound(place);
    add_statements(place, 200, 5);
    assert_sound(place);
}

static void
what_is_not_the_log_outlives_retention(void **state)
{
    const struct place *place = *state;
    const struct pv_budget_take take = {.key = "k", .period = "day 2026-01-01", .runs_max = 10, .runs = 3};
    const struct pv_approval approval = {.room = "retail",
                                         .question = "overlap",
                                         .party = "acme",
                                         .text = pv_slice_cstr("text"),
                                         .signature = pv_slice_cstr("signature"),
                                         .fingerprint = "f"};
    const struct pv_consent consent = {.room = "retail", .party = "acme", .is_withdrawn = true};
    struct pv_store *store = NULL;
    struct pv_approval *approvals = NULL;
    struct pv_consent *consents = NULL;
    struct pv_arena *arena = pv_arena_new(1024);
    size_t spent = 0, count = 0;
    uint64_t used = 0;

    assert_int_equal(pv_store_open(place->path, &store, NULL, 0), PV_OK);
    assert_int_equal(pv_store_budgets_reserve(store, &take, 1, &spent), PV_OK);
    assert_int_equal(pv_store_approval_add(store, &approval), PV_OK);
    assert_int_equal(pv_store_consent_add(store, &consent), PV_OK);
    (void) seal(place, (struct pv_seal_options){.is_now = true, .retention_bytes = 1});
    assert_int_equal(verify(place, NULL).retired, 1);
    assert_int_equal(pv_store_budget_used(store, "k", "day 2026-01-01", &used), PV_OK);
    assert_int_equal(used, 3);
    assert_int_equal(pv_store_approvals(store, "retail", NULL, arena, &approvals, &count), PV_OK);
    assert_int_equal(count, 1);
    assert_int_equal(pv_store_consents(store, "retail", arena, &consents, &count), PV_OK);
    assert_int_equal(count, 1);
    assert_true(consents[0].is_withdrawn);
    pv_store_close(store);
    pv_arena_free(arena);
}

/* ---- Tampering ---- */

#define UNLOCK \
    "DROP TRIGGER segment_no_update; DROP TRIGGER segment_no_delete; DROP TRIGGER retired_no_update;" \
    "DROP TRIGGER retired_no_delete;"

/* Two segments, 1 to 25 and 26 to 36, then the live file from 37; the first is retired where the row says so. */
static const struct {
    const char *live, *segment; /* SQL on the live file, and on segment 2 */
    bool is_retired;
    enum pv_log_fault fault;
    const char *words;
} tampers[] = {
    {NULL, NULL, true, PV_FAULT_NONE, NULL},
    {NULL, "UPDATE statement SET query = 'SELECT 1' WHERE seq = 28", false, PV_FAULT_CHANGED,
     "segment 2: changed: record 28"},
    {NULL, "DELETE FROM statement_end WHERE seq = 29", false, PV_FAULT_MISSING, "segment 2: missing: record 29"},
    {NULL, "DELETE FROM statement WHERE seq = 36", false, PV_FAULT_SEGMENT,
     "segment 2: segment: it ends with record 35"},
    {NULL, "INSERT INTO event SELECT 37, at, session, room, user, client, event, detail, hash FROM event LIMIT 1",
     false, PV_FAULT_REORDERED, "segment 2: reordered: at record 37"},
    {NULL, "INSERT INTO event SELECT -5, at, session, room, user, client, event, detail, hash FROM event LIMIT 1",
     false, PV_FAULT_MISSING, "segment 2: missing: record 27"},
    {NULL, "UPDATE manifest SET last_seq = 35", false, PV_FAULT_SEGMENT, "segment 2: segment: the file is not the one"},
    {NULL, "DROP VIEW query_log", false, PV_FAULT_SCHEMA, "segment 2: schema: view query_log"},
    {UNLOCK "DELETE FROM segment WHERE number = 2", NULL, false, PV_FAULT_MISSING, "missing: record 26"},
    {UNLOCK "DELETE FROM segment", NULL, false, PV_FAULT_MISSING, "missing: record 1 "},
    {UNLOCK "UPDATE segment SET last_seq = 35 WHERE number = 2", NULL, false, PV_FAULT_SIGNATURE,
     "segment 2: signature"},
    {UNLOCK "UPDATE segment SET signature = zeroblob(64) WHERE number = 1", NULL, false, PV_FAULT_SIGNATURE,
     "segment 1: signature"},
    {UNLOCK "UPDATE retired SET policy = 'none'", NULL, true, PV_FAULT_SIGNATURE, "segment 1: signature"},
    {UNLOCK "DELETE FROM retired", NULL, true, PV_FAULT_SEGMENT,
     "segment 1: missing: its file state.db.segment-000001 is gone"},
    {UNLOCK
     "INSERT INTO retired SELECT number, last_seq, hash, at, 'forged', key, signature FROM segment WHERE number = 1",
     NULL, false, PV_FAULT_SIGNATURE, "segment 1: signature"},
    {UNLOCK
     "INSERT INTO retired SELECT number, last_seq, hash, at, 'forged', key, signature FROM segment WHERE number = 2",
     NULL, false, PV_FAULT_SIGNATURE, "segment 2: signature"},
};

static void
every_tampering_with_segments_is_found(void **state)
{
    for (size_t i = 0; i < PV_COUNT_OF(tampers); i++) {
        void *inner = NULL;
        struct pv_verdict verdict;

        assert_int_equal(log_make(&inner), 0);
        (void) seal(inner, now);
        add_statements(inner, 100, 5);
        (void) seal(inner, now);
        if (tampers[i].is_retired)
            assert_int_equal(seal(inner, (struct pv_seal_options){.retention_bytes = 100 * 1024}).retired, 1);
        if (tampers[i].live != NULL)
            raw(inner, tampers[i].live);
        if (tampers[i].segment != NULL)
            raw_segment(inner, 2, tampers[i].segment);
        verdict = verify(inner, NULL);
        if (verdict.fault != tampers[i].fault ||
            (tampers[i].words != NULL && strstr(verdict.words, tampers[i].words) == NULL))
            fail_msg("%s%s: fault %d: %s", tampers[i].live == NULL ? "" : tampers[i].live,
                     tampers[i].segment == NULL ? "" : tampers[i].segment, (int) verdict.fault, verdict.words);
        assert_int_equal(place_remove(&inner), 0);
    }
    (void) state;
}

static void
a_copied_end_that_was_changed_is_found(void **state)
{
    const struct place *place = *state;
    struct pv_verdict verdict;

    (void) seal(place, now);
    raw_segment(place, 1, "UPDATE late_end SET rows = 99");
    verdict = verify(place, NULL);
    assert_int_equal(verdict.fault, PV_FAULT_CHANGED);
    assert_int_equal(verdict.seq, 26);
}

static void
a_segment_that_is_gone_is_said_to_be(void **state)
{
    const struct place *place = *state;
    struct pv_log_reader *reader;
    struct pv_verdict verdict;
    struct pv_buf out = {0};
    char path[160], error[256] = "";

    (void) seal(place, now);
    segment_path(place, 1, path);
    assert_int_equal(unlink(path), 0);
    verdict = verify(place, NULL);
    assert_int_equal(verdict.fault, PV_FAULT_SEGMENT);
    assert_non_null(strstr(verdict.words, "no tombstone"));
    /* Reading refuses, it does not leave out. */
    reader = open_reader(place, NULL);
    assert_int_equal(pv_log_query(reader, "SELECT * FROM query_log", take_json, &out, error, sizeof(error)), PV_IO);
    assert_non_null(strstr(error, "segment 1 of the query log cannot be read"));
    pv_log_reader_close(reader);
    pv_buf_clear(&out);
}

/* The deletion of a live record that is in no segment is refused by the file itself, as it was before. */
static void
only_sealed_records_may_leave(void **state)
{
    const struct place *place = *state;
    sqlite3 *sqlite = NULL;

    (void) seal(place, now);
    add_statements(place, 100, 1);
    assert_int_equal(sqlite3_open(place->path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, "DELETE FROM statement", NULL, NULL, NULL), SQLITE_CONSTRAINT);
    assert_int_equal(sqlite3_exec(sqlite, "DELETE FROM segment", NULL, NULL, NULL), SQLITE_CONSTRAINT);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

/* ---- A state file of version 2 ---- */

static void
load_version_2(const struct place *place)
{
    FILE *file = fopen("tests/unit/audit/state_v2.sql", "re");
    char *sql = calloc(1, 1 << 20);

    assert_non_null(file);
    assert_non_null(sql);
    assert_true(fread(sql, 1, (1 << 20) - 1, file) > 1000);
    (void) fclose(file);
    raw(place, sql);
    free(sql);
}

static void
an_older_state_file_is_brought_to_this_version(void **state)
{
    struct place *place = *state;
    struct pv_journal *journal;
    struct pv_verdict verdict;
    char *rows, error[256] = "";

    load_version_2(place);
    /* Reading changes nothing; whoever asks is told what to do. */
    assert_int_equal(pv_log_verify(place->path, NULL, &verdict, error, sizeof(error)), PV_CORRUPT);
    assert_non_null(strstr(error, "version 2; pgveil serve brings it to version 3"));
    assert_int_equal(raw_number(place, "PRAGMA user_version"), 2);
    journal = open_journal(place, (struct pv_journal_options){.is_serving = true});
    pv_journal_close(journal);
    assert_int_equal(raw_number(place, "PRAGMA user_version"), PV_DB_VERSION);
    verdict = verify(place, NULL);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_int_equal(verdict.records, 13);
    rows = ask_once(place, "SELECT count(*) AS n, count(outcome) AS ended, max(decision) AS d FROM query_log");
    assert_string_equal(rows, "{\"n\": 6, \"ended\": 6, \"d\": \"denied\"}\n");
    free(rows);
    assert_true(pv_statement_id_next() > 6);
    remember(place);
    (void) seal(place, now);
    assert_same(place);
    assert_sound(place);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, log_make, place_remove)
        TEST(a_retired_segment_leaves_a_tombstone),
        TEST(age_retires_what_is_old),
        TEST(what_is_not_the_log_outlives_retention),
        cmocka_unit_test(every_tampering_with_segments_is_found),
        TEST(a_copied_end_that_was_changed_is_found),
        TEST(a_segment_that_is_gone_is_said_to_be),
        TEST(only_sealed_records_may_leave),
        cmocka_unit_test_setup_teardown(an_older_state_file_is_brought_to_this_version, place_make, place_remove),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    for (size_t i = 0; i < PV_COUNT_OF(answers); i++)
        free(answers[i]);
    return failed;
}
