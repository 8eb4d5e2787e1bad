/* What the tests of sealed segments share: a log with known records, its sealing, and what is read of both. */
#ifndef SEGMENT_TEST_H
#define SEGMENT_TEST_H

#include "tests/unit/audit/reader_test.h"

#include "proxy/audit/segment_int.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- Logs and what is read from them ---- */

/*
 * 26 records: 1 login; begins 2 4 .. 20, ends 3 5 .. 21; denied 22 and 23; then two statements that cross: begin 24,
 * begin 25, end 26 of the second, end 27 of the first. Up to 26 can be sealed, and 24 has its end beyond.
 */
static UNUSED void
fill(const struct place *place)
{
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){0});
    uint64_t ticket = 0;

    assert_int_equal(put_event(journal, "login"), PV_OK);
    for (uint64_t id = 1; id <= 10; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    assert_int_equal(put_denied(journal, 11, NULL, &ticket), PV_OK);
    assert_int_equal(put_begin(journal, 12, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_begin(journal, 13, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 13, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 12, NULL, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
}

static UNUSED void
add_statements(const struct place *place, uint64_t first_id, uint64_t count)
{
    struct pv_journal *journal = open_journal(place, (struct pv_journal_options){0});
    uint64_t ticket = 0;

    for (uint64_t id = first_id; id < first_id + count; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    pv_journal_close(journal);
}

static UNUSED int
log_make(void **state)
{
    if (place_make(state) != 0)
        return -1;
    fill(*state);
    return 0;
}

static UNUSED struct pv_seal_result
seal(const struct place *place, struct pv_seal_options options)
{
    struct pv_seal_result result;
    char error[512] = "";

    if (pv_log_seal(place->path, &options, &result, error, sizeof(error)) != PV_OK)
        fail_msg("seal: %s", error);
    return result;
}

static UNUSED const struct pv_seal_options now = {.is_now = true};

static UNUSED char *
ask_once(const struct place *place, const char *sql)
{
    struct pv_log_reader *reader = open_reader(place, NULL);
    char *text = ask(reader, sql);

    pv_log_reader_close(reader);
    return text;
}

/* All that sealing may not change; it adds events of its own. */
static UNUSED const char *const looks[] = {
    "SELECT * FROM query_log ORDER BY seq",
    "SELECT * FROM query_log ORDER BY seq DESC LIMIT 3",
    "SELECT * FROM query_log WHERE room = 'retail' AND seq >= 4 AND seq < 9 ORDER BY seq",
    "SELECT * FROM query_log WHERE user = 'mallory'",
    "SELECT * FROM query_log WHERE seq = 23",
    "SELECT seq FROM query_log WHERE at >= '2026-01-01T00:00:00.000009Z' ORDER BY at DESC",
    "SELECT * FROM event_log WHERE event NOT LIKE 'segment%'",
    "SELECT count(*), sum(rows), min(seq), max(at) FROM query_log",
    "SELECT * FROM daily_usage",
    "SELECT * FROM denials",
    "SELECT * FROM column_usage",
    "SELECT * FROM top_members ORDER BY user",
    "SELECT * FROM unused_questions",
    "SELECT a.seq, b.seq FROM query_log AS a JOIN query_log AS b ON b.seq = a.seq + 2 WHERE a.room <> 'x' ORDER BY 1",
    "SELECT outcome FROM query_log WHERE seq = 23 UNION ALL SELECT event FROM event_log WHERE seq = 1",
};

static UNUSED char *answers[PV_COUNT_OF(looks)];

static UNUSED void
remember(const struct place *place)
{
    for (size_t i = 0; i < PV_COUNT_OF(looks); i++) {
        free(answers[i]);
        answers[i] = ask_once(place, looks[i]);
    }
}

static UNUSED void
assert_same(const struct place *place)
{
    struct pv_log_reader *reader = open_reader(place, NULL);

    for (size_t i = 0; i < PV_COUNT_OF(looks); i++) {
        char *answer = ask(reader, looks[i]);

        if (strcmp(answer, answers[i]) != 0)
            fail_msg("%s\nbefore:\n%safter:\n%s", looks[i], answers[i], answer);
        free(answer);
    }
    pv_log_reader_close(reader);
}

static UNUSED void
segment_path(const struct place *place, int number, char path[160])
{
    (void) snprintf(path, 160, "%s.segment-%06d", place->path, number);
}

/* Runs SQL on a segment's file as somebody would who has it in hand. */
static UNUSED void
raw_segment(const struct place *place, int number, const char *sql)
{
    char path[160];
    sqlite3 *sqlite = NULL;
    char *words = NULL;

    segment_path(place, number, path);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(sqlite3_open(path, &sqlite), SQLITE_OK);
    if (sqlite3_exec(sqlite, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

#endif
