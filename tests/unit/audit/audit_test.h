/* What the tests of this folder share: a log in a folder of its own, records to put, and a raw look into the file. */
#ifndef AUDIT_TEST_H
#define AUDIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "proxy/audit/journal.h"
#include "proxy/audit/query.h"
#include "proxy/audit/record.h"
#include "proxy/audit/store.h"
#include "proxy/audit/verify.h"
#include "proxy/base/limits.h"
#include "proxy/base/log.h"

#define UNUSED __attribute__((unused))

struct place {
    char folder[64];
    char path[96];
};

static UNUSED int
place_make(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    pv_log_level_set((enum pv_log_level)(PV_LOG_ERROR + 1));
    (void) snprintf(place->folder, sizeof(place->folder), "/tmp/pgveil-audit-XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    (void) snprintf(place->path, sizeof(place->path), "%s/state.db", place->folder);
    *state = place;
    return 0;
}

static UNUSED int
place_remove(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm", ".key", ".pub", ".lock", ".moved", ".copy", ".seal"};
    struct place *place = *state;
    char path[160];

    for (size_t i = 0; i < PV_COUNT_OF(endings); i++) {
        (void) snprintf(path, sizeof(path), "%s%s", place->path, endings[i]);
        (void) unlink(path);
    }
    for (int number = 1; number < 100; number++) {
        (void) snprintf(path, sizeof(path), "%s.segment-%06d", place->path, number);
        (void) unlink(path);
    }
    /* Nothing else may lie about. */
    if (rmdir(place->folder) != 0)
        return -1;
    free(place);
    return 0;
}

static UNUSED struct pv_journal *
open_journal(const struct place *place, struct pv_journal_options options)
{
    struct pv_journal *journal = NULL;
    char error[256] = "";
    enum pv_status status = pv_journal_open(place->path, &options, &journal, error, sizeof(error));

    if (status != PV_OK)
        print_error("open: %s: %s\n", pv_status_words(status), error);
    assert_int_equal(status, PV_OK);
    return journal;
}

static UNUSED struct pv_statement_begin
sample_begin(uint64_t id)
{
    return (struct pv_statement_begin){
        .id = id,
        .at_us = INT64_C(1767225600000001) + (int64_t) id,
        .session = 7,
        .room = "retail",
        .user = "alice",
        .party = "acme",
        .client = "127.0.0.1:50000",
        .application = "psql",
        .protocol = PV_RECORD_EXTENDED,
        .question = "overlap",
        .question_type = "analytical",
        .is_allowed = true,
        .has_query = true,
        .query = pv_slice_cstr("SELECT region, count(*) FROM public.customers GROUP BY 1"),
        .parameters = "[\"2024-01-01\", null]",
        .forwarded = "SELECT 1",
        .datasets = "[\"public.customers\"]",
        .columns = "[\"public.customers.region\"]",
    };
}

static UNUSED struct pv_statement_end
sample_end(uint64_t id)
{
    return (struct pv_statement_end){.id = id,
                                     .rows = 3,
                                     .bytes = 120,
                                     .duration_us = 450,
                                     .suppressed = PV_SUPPRESSED_SOME,
                                     .outcome = PV_OUTCOME_COMPLETED};
}

static UNUSED enum pv_status
put_begin(struct pv_journal *journal, uint64_t id, struct pv_journal_port *port, void *cookie, uint64_t *ticket)
{
    const struct pv_statement_begin begin = sample_begin(id);
    const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};

    return pv_journal_put(journal, &record, port, cookie, ticket);
}

static UNUSED enum pv_status
put_end(struct pv_journal *journal, uint64_t id, struct pv_journal_port *port, void *cookie, uint64_t *ticket)
{
    const struct pv_statement_end end = sample_end(id);
    const struct pv_record record = {.kind = PV_RECORD_END, .end = &end};

    return pv_journal_put(journal, &record, port, cookie, ticket);
}

static UNUSED enum pv_status
put_denied(struct pv_journal *journal, uint64_t id, struct pv_journal_port *port, uint64_t *ticket)
{
    struct pv_statement_begin begin = sample_begin(id);
    struct pv_statement_end end = {.outcome = PV_OUTCOME_FAILED, .sqlstate = "42501"};
    const struct pv_record record = {.kind = PV_RECORD_WHOLE, .begin = &begin, .end = &end};

    begin.is_allowed = false;
    begin.user = "mallory";
    begin.reason = "no approved question";
    begin.forwarded = begin.datasets = begin.columns = begin.question = NULL;
    return pv_journal_put(journal, &record, port, NULL, ticket);
}

static UNUSED enum pv_status
put_event(struct pv_journal *journal, const char *word)
{
    const struct pv_event event = {
        .session = 7, .room = "retail", .user = "alice", .event = word, .detail = "{\"n\": 1}"};
    const struct pv_record record = {.kind = PV_RECORD_EVENT, .event = &event};
    uint64_t ticket = 0;

    return pv_journal_put(journal, &record, NULL, NULL, &ticket);
}

/* Where what must come does not: as long as no machine is so busy that a test fails by it. */
enum { PATIENCE_MS = 120000 };

/* Waits for so many completions; gives how many came. */
static UNUSED size_t
await_done(struct pv_journal_port *port, struct pv_journal_done *done, size_t count)
{
    size_t have = 0;

    for (int i = 0; i < PATIENCE_MS && have < count; i++) {
        have += pv_journal_port_take(port, done + have, count - have);
        if (have < count)
            (void) usleep(1000);
    }
    return have;
}

static UNUSED bool
await_health(const struct pv_journal *journal, bool is_failed)
{
    struct pv_journal_stats stats;

    for (int i = 0; i < PATIENCE_MS; i++) {
        pv_journal_stats(journal, &stats);
        if (stats.is_failed == is_failed)
            return true;
        (void) usleep(1000);
    }
    return false;
}

/* Runs SQL on the file as somebody would who has it in hand. */
static UNUSED void
raw(const struct place *place, const char *sql)
{
    sqlite3 *sqlite = NULL;
    char *words = NULL;

    assert_int_equal(sqlite3_open(place->path, &sqlite), SQLITE_OK);
    (void) sqlite3_busy_timeout(sqlite, 60000);
    if (sqlite3_exec(sqlite, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

/* First column of the first row, as a number; -1 for none. */
static UNUSED int64_t
raw_number(const struct place *place, const char *sql)
{
    sqlite3 *sqlite = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t number = -1;

    assert_int_equal(sqlite3_open(place->path, &sqlite), SQLITE_OK);
    (void) sqlite3_busy_timeout(sqlite, 60000);
    if (sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(sqlite));
    if (sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
    return number;
}

static UNUSED struct pv_verdict
verify(const struct place *place, const struct pv_log_head *head)
{
    struct pv_verdict verdict;
    char error[256] = "";

    if (pv_log_verify(place->path, head, &verdict, error, sizeof(error)) != PV_OK)
        fail_msg("verify: %s", error);
    return verdict;
}

static UNUSED void
assert_sound(const struct place *place)
{
    const struct pv_verdict verdict = verify(place, NULL);

    if (verdict.fault != PV_FAULT_NONE)
        fail_msg("verify: %s", verdict.words);
}

#endif
