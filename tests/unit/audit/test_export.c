/* Exports of records: what they hold is checked by the public key alone, and each change is found. */
#include "tests/unit/audit/audit_test.h"

#include "proxy/audit/export.h"
#include "proxy/audit/segment.h"

static void
put_query(struct pv_journal *journal, uint64_t id, const char *query, size_t len)
{
    struct pv_statement_begin begin = sample_begin(id);
    struct pv_statement_end end = {
        .outcome = PV_OUTCOME_FAILED, .sqlstate = "42601", .reason = "words \"of\" the\nserver"};
    const struct pv_record record = {.kind = PV_RECORD_WHOLE, .begin = &begin, .end = &end};
    uint64_t ticket = 0;

    begin.is_allowed = false;
    begin.reason = "it's \\ denied\t\x01";
    begin.query = pv_slice_of((const uint8_t *) query, len);
    begin.parameters = NULL;
    assert_int_equal(pv_journal_put(journal, &record, NULL, NULL, &ticket), PV_OK);
}

/* 1 login; 2 to 5 two statements; 6 and 7 texts that are hard to carry; 8 logout. */
static int
log_make(void **state)
{
    struct pv_journal *journal;
    uint64_t ticket = 0;

    if (place_make(state) != 0)
        return -1;
    journal = open_journal(*state, (struct pv_journal_options){0});
    assert_int_equal(put_event(journal, "login"), PV_OK);
    for (uint64_t id = 1; id <= 2; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    put_query(journal, 3, "SELECT '\xff\xfe' -- no UTF-8", sizeof("SELECT '\xff\xfe' -- no UTF-8") - 1);
    put_query(journal, 4, "SELECT 'a\0b \xc3\xa9 \x7f \xe2\x80\xa8'",
              sizeof("SELECT 'a\0b \xc3\xa9 \x7f \xe2\x80\xa8'") - 1);
    assert_int_equal(put_event(journal, "logout"), PV_OK);
    pv_journal_close(journal);
    return 0;
}

static enum pv_status
put_line(void *context, struct pv_slice line)
{
    pv_buf_put_slice(context, line);
    return PV_OK;
}

static void
export_log(const struct place *place, struct pv_buf *out)
{
    struct pv_verdict verdict;
    char error[256] = "";

    if (pv_log_export_records(place->path, put_line, out, &verdict, error, sizeof(error)) != PV_OK)
        fail_msg("export: %s", error);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_non_null(pv_buf_text(out));
}

static enum pv_status
verify_text(const struct place *place, const char *text, size_t len, const struct pv_log_head *head,
            struct pv_verdict *verdict, char error[256])
{
    FILE *file = len == 0 ? fopen("/dev/null", "re") : fmemopen((void *) (uintptr_t) text, len, "r");
    char key[128];
    enum pv_status status;

    assert_non_null(file);
    (void) snprintf(key, sizeof(key), "%s.pub", place->path);
    status = pv_export_verify(file, key, head, verdict, error, 256);
    (void) fclose(file);
    return status;
}

static struct pv_verdict
verified(const struct place *place, const char *text, const struct pv_log_head *head)
{
    struct pv_verdict verdict;
    char error[256] = "";

    if (verify_text(place, text, strlen(text), head, &verdict, error) != PV_OK)
        fail_msg("%s", error);
    return verdict;
}

/* The text with its line number `n` (from 1) left out, doubled or moved behind the next. */
static char *
without(const char *text, int n, int times, bool is_swapped)
{
    char *out = calloc(2, strlen(text) + 1);
    const char *kept = NULL;
    size_t kept_len = 0;

    assert_non_null(out);
    for (int at = 1; *text != '\0'; at++) {
        size_t len = strcspn(text, "\n") + 1;

        if (at == n && is_swapped) {
            kept = text;
            kept_len = len;
        } else
            for (int i = 0; i < (at == n ? times : 1); i++)
                (void) strncat(out, text, len);
        if (at == n + 1 && kept != NULL)
            (void) strncat(out, kept, kept_len);
        text += len;
    }
    return out;
}

static void
an_export_is_verified_by_the_key_alone(void **state)
{
    struct place *place = *state;
    struct pv_buf out = {0};
    struct pv_log_head head;
    struct pv_verdict verdict;
    char path[160];

    assert_int_equal(pv_log_head_sign(place->path, &head, NULL, 0), PV_OK);
    export_log(place, &out);
    assert_non_null(strstr(pv_buf_text(&out), "\"query_hex\": \"53454c45435420"));
    assert_non_null(strstr(pv_buf_text(&out), "\"parameters\": \"[\\\"2024-01-01\\\", null]\""));
    /* No log is left: the key alone. */
    (void) snprintf(path, sizeof(path), "%s.moved", place->path);
    assert_int_equal(rename(place->path, path), 0);
    verdict = verified(place, pv_buf_text(&out), &head);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_int_equal(verdict.records, 8);
    assert_int_equal(verdict.signed_seq, 8);
    pv_buf_clear(&out);
}

static void
every_change_of_an_export_is_found(void **state)
{
    static const struct {
        const char *old, *new;
        enum pv_log_fault fault;
        uint64_t seq;
    } changes[] = {
        {"\"user\": \"alice\"", "\"user\": \"mallo\"", PV_FAULT_CHANGED, 1},
        {"\"rows\": 3", "\"rows\": 4", PV_FAULT_CHANGED, 3},
        {"\"seq\": 3", "\"seq\": 4", PV_FAULT_MISSING, 3},
        {"\"seq\": 3", "\"seq\": 2", PV_FAULT_CHANGED, 2},
        {"\"query_hex\": \"53", "\"query_hex\": \"54", PV_FAULT_CHANGED, 6},
        {"\"reason\": \"it's", "\"reason\": \"it s", PV_FAULT_CHANGED, 6},
        {"\"session\": 7", "\"session\": \"7\"", PV_FAULT_CHANGED, 1},
        {"\"session\": 7", "\"session\": 7.0", PV_FAULT_CHANGED, 1},
        {"\"client\"", "\"klient\"", PV_FAULT_CHANGED, 1},
        {"\"kind\": \"head\", \"seq\": 8", "\"kind\": \"head\", \"seq\": 7", PV_FAULT_SIGNATURE, 0},
    };
    struct place *place = *state;
    struct pv_buf out = {0};

    export_log(place, &out);
    for (size_t i = 0; i < PV_COUNT_OF(changes); i++) {
        const char *found = strstr(pv_buf_text(&out), changes[i].old);
        char *text = calloc(1, pv_buf_len(&out) + 64);
        struct pv_verdict verdict;

        assert_non_null(found);
        assert_non_null(text);
        (void) sprintf(text, "%.*s%s%s", (int) (found - pv_buf_text(&out)), pv_buf_text(&out), changes[i].new,
                       found + strlen(changes[i].old));
        verdict = verified(place, text, NULL);
        if (verdict.fault != changes[i].fault || verdict.seq != changes[i].seq)
            fail_msg("%s: fault %d at %d: %s", changes[i].new, (int) verdict.fault, (int) verdict.seq, verdict.words);
        free(text);
    }
    /* Each record left out, doubled, or behind its next; the last line is the head. */
    for (int n = 2; n <= 8; n++) {
        char *less = without(pv_buf_text(&out), n, 0, false), *more = without(pv_buf_text(&out), n, 2, false);
        char *moved = without(pv_buf_text(&out), n, 1, true);

        assert_int_equal(verified(place, less, NULL).fault, PV_FAULT_MISSING);
        assert_int_equal(verified(place, less, NULL).seq, n - 1);
        assert_int_equal(verified(place, more, NULL).fault, PV_FAULT_CHANGED);
        assert_int_equal(verified(place, moved, NULL).fault, PV_FAULT_MISSING);
        free(less);
        free(more);
        free(moved);
    }
    pv_buf_clear(&out);
}

static void
a_tail_that_was_cut_is_found(void **state)
{
    struct place *place = *state;
    struct pv_buf out = {0};
    struct pv_log_head head;
    struct pv_verdict verdict;
    char *text, *rest;
    char error[256] = "";

    assert_int_equal(pv_log_head_sign(place->path, &head, NULL, 0), PV_OK);
    export_log(place, &out);
    /* Without its last head nothing vouches for what is there. */
    text = without(pv_buf_text(&out), 10, 0, false);
    verdict = verified(place, text, NULL);
    assert_int_equal(verdict.fault, PV_FAULT_SIGNATURE);
    assert_non_null(strstr(verdict.words, "no signed head vouches"));
    /* A head that was kept elsewhere does. */
    assert_int_equal(verified(place, text, &head).fault, PV_FAULT_NONE);
    rest = without(text, 9, 0, false);
    verdict = verified(place, rest, &head);
    assert_int_equal(verdict.fault, PV_FAULT_HEAD);
    assert_int_equal(verdict.seq, 8);
    /* In the middle of a line. */
    assert_int_equal(verify_text(place, text, strlen(text) - 5, NULL, &verdict, error), PV_INVALID);
    assert_non_null(strstr(error, "line 9: the export ends in the middle of a line"));
    assert_int_equal(verify_text(place, text, 0, NULL, &verdict, error), PV_INVALID);
    free(text);
    free(rest);
    pv_buf_clear(&out);
}

static void
another_key_does_not_do(void **state)
{
    struct place *place = *state;
    void *other = NULL;
    struct pv_buf out = {0};
    struct pv_verdict verdict;

    export_log(place, &out);
    assert_int_equal(log_make(&other), 0);
    verdict = verified(other, pv_buf_text(&out), NULL);
    assert_int_equal(verdict.fault, PV_FAULT_SIGNATURE);
    assert_int_equal(place_remove(&other), 0);
    pv_buf_clear(&out);
}

static void
other_texts_are_refused(void **state)
{
    static const char *const texts[] = {
        "\n",
        "x\n",
        "{}\n",
        "[]\n",
        "{\"seq\": 1}\n",
        "{\"kind\": \"event\", \"seq\": 1}\n",
        "{\"kind\": \"start\"}\n",
        "{\"kind\": \"start\", \"first_seq\": 9}\n",
        "{\"kind\": \"start\", \"first_seq\": 1}\n{\"kind\": \"other\"}\n",
        "{\"kind\": \"start\", \"first_seq\": 1}\n{\"kind\": \"head\"}\n",
        "{\"kind\": \"start\", \"first_seq\": 1}\n{\"kind\": \"event\"}\n",
        "{\"kind\": \"start\", \"first_seq\": 1, \"first_seq\": 1}\n",
    };

    for (size_t i = 0; i < PV_COUNT_OF(texts); i++) {
        struct pv_verdict verdict;
        char error[256] = "";

        assert_int_equal(verify_text(*state, texts[i], strlen(texts[i]), NULL, &verdict, error), PV_INVALID);
        assert_memory_equal(error, "line ", 5);
    }
}

static void
an_export_goes_over_segments_and_from_behind_the_retired(void **state)
{
    struct place *place = *state;
    struct pv_seal_result result;
    struct pv_journal *journal;
    struct pv_buf whole = {0}, sealed = {0}, rest = {0};
    struct pv_verdict verdict;
    char *forged, *found;

    export_log(place, &whole);
    assert_int_equal(pv_log_seal(place->path, &(struct pv_seal_options){.is_now = true}, &result, NULL, 0), PV_OK);
    export_log(place, &sealed);
    /* The same records, and one that tells of the sealing. */
    assert_memory_equal(pv_buf_text(&whole), pv_buf_text(&sealed),
                        (size_t) (strstr(pv_buf_text(&whole), "{\"kind\": \"head\"") - pv_buf_text(&whole)));
    assert_int_equal(verified(place, pv_buf_text(&sealed), NULL).records, 9);
    journal = open_journal(place, (struct pv_journal_options){0});
    assert_int_equal(put_event(journal, "login"), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(pv_log_seal(place->path, &(struct pv_seal_options){.retention_bytes = 1}, &result, NULL, 0),
                     PV_OK);
    assert_int_equal(result.retired, 1);
    export_log(place, &rest);
    verdict = verified(place, pv_buf_text(&rest), NULL);
    assert_int_equal(verdict.fault, PV_FAULT_NONE);
    assert_int_equal(verdict.first_seq, 8);
    assert_int_equal(verdict.retired, 1);
    assert_int_equal(verdict.signed_seq, verdict.head_seq);
    /* A tombstone of one's own making. */
    forged = strdup(pv_buf_text(&rest));
    found = strstr(forged, "retention_bytes 1");
    assert_non_null(found);
    found[0] = 'R';
    assert_int_equal(verified(place, forged, NULL).fault, PV_FAULT_SIGNATURE);
    free(forged);
    pv_buf_clear(&whole);
    pv_buf_clear(&sealed);
    pv_buf_clear(&rest);
}

static void
what_is_not_sound_does_not_go_out(void **state)
{
    struct place *place = *state;
    struct pv_buf out = {0};
    struct pv_verdict verdict;

    raw(place, "DROP TRIGGER statement_no_update; UPDATE statement SET room = 'x' WHERE seq = 4");
    assert_int_equal(pv_log_export_records(place->path, put_line, &out, &verdict, NULL, 0), PV_OK);
    assert_int_equal(verdict.fault, PV_FAULT_CHANGED);
    assert_null(strstr(pv_buf_text(&out), "\"seq\": 4"));
    pv_buf_clear(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, log_make, place_remove)
        TEST(an_export_is_verified_by_the_key_alone),
        TEST(every_change_of_an_export_is_found),
        TEST(a_tail_that_was_cut_is_found),
        TEST(another_key_does_not_do),
        TEST(other_texts_are_refused),
        TEST(an_export_goes_over_segments_and_from_behind_the_retired),
        TEST(what_is_not_sound_does_not_go_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
