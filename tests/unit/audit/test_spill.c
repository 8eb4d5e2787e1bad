#include "tests/unit/audit/turns_test.h"

#include "proxy/audit/spill.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* What a relaxed log had accepted outlives the process, and comes into the log once. */

static const struct pv_journal_options relaxed = {.is_serving = true, .is_relaxed = true};

static void
name_of(const struct place *place, int which, char name[256])
{
    (void) snprintf(name, 256, "%s.spill%d", place->path, which);
}

static off_t
spilled_bytes(const struct place *place)
{
    off_t bytes = 0;

    for (int i = 0; i < 3; i++) {
        char name[256];
        struct stat facts;

        name_of(place, i, name);
        if (stat(name, &facts) == 0) {
            assert_int_equal(facts.st_mode & 0777, 0600);
            bytes += facts.st_size;
        }
    }
    return bytes;
}

/* A life that puts `begins` statements from `first` on, ends the first of them, and is killed before its 200 ms are
 * over. */
static void
be_killed(const struct place *place, uint64_t first, unsigned begins)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct pv_journal *journal = NULL;
        uint64_t ticket;

        if (pv_journal_open(place->path, &relaxed, &journal, NULL, 0) != PV_OK)
            _exit(1);
        for (unsigned i = 0; i < begins; i++)
            if (put_begin(journal, first + i, NULL, NULL, &ticket) != PV_OK)
                _exit(2);
        if (put_end(journal, first, NULL, NULL, &ticket) != PV_OK)
            _exit(3);
        (void) raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void
a_killed_relaxed_log_has_every_record(void **state)
{
    const struct place *place = *state;

    for (uint64_t life = 0; life < 8; life++) {
        int64_t before = life == 0 ? 0 : raw_number(place, "SELECT count(*) FROM query_log");

        be_killed(place, 1000 * (life + 1), 5);
        /* A command that reads brings it in, serving or not; a second time there is nothing left to bring. */
        if (life % 2 == 0)
            pv_journal_recover(place->path);
        else
            pv_journal_close(open_journal(place, relaxed));
        pv_journal_recover(place->path);
        assert_int_equal(spilled_bytes(place), 0);
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), before + 5);
        assert_sound(place);
    }
    pv_journal_close(open_journal(place, relaxed));
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed' AND rows = 3"), 8);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'lost'"), 32);
    assert_sound(place);
}

static void
nothing_is_brought_in_twice(void **state)
{
    const struct place *place = *state;
    char name[2][256], copy[2][256], command[1200];

    be_killed(place, 1, 5);
    for (int i = 0; i < 2; i++) {
        name_of(place, i, name[i]);
        (void) snprintf(copy[i], sizeof(copy[i]), "%.200s.copy%d", place->path, i);
    }
    (void) snprintf(command, sizeof(command), "cp %s %s && cp %s %s", name[0], copy[0], name[1], copy[1]);
    assert_int_equal(system(command), 0);
    pv_journal_recover(place->path);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 5);
    /* As if it had been killed again between the commit and the emptying. */
    (void) snprintf(command, sizeof(command), "mv %s %s && mv %s %s", copy[0], name[0], copy[1], name[1]);
    assert_int_equal(system(command), 0);
    assert_true(spilled_bytes(place) > 0);
    pv_journal_recover(place->path);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 5);
    assert_int_equal(spilled_bytes(place), 0);
    assert_sound(place);
}

/* Which wrote a value's kind as a number, and lengths in four bytes. */
static void
records_of_an_earlier_release_are_read(void **state)
{
    const struct place *place = *state;
    const char *const texts[] = {"2026-01-01T00:00:00.000002Z", NULL, "retail", "alice", NULL, "login", "{}"};
    struct pv_buf body = {0}, file = {0};
    char name[256];
    int fd;

    pv_journal_close(open_journal(place, (struct pv_journal_options){0}));
    pv_buf_put_u64(&body, 1);
    pv_buf_put_u8(&body, PV_RECORD_EVENT);
    pv_buf_put_u8(&body, PV_COUNT_OF(texts));
    for (size_t i = 0; i < PV_COUNT_OF(texts); i++) {
        pv_buf_put_u8(&body, i == 1 ? PV_VALUE_INT : texts[i] == NULL ? PV_VALUE_NULL : PV_VALUE_TEXT);
        if (i == 1)
            pv_buf_put_u64(&body, 77);
        if (texts[i] == NULL)
            continue;
        pv_buf_put_u32(&body, (uint32_t) strlen(texts[i]));
        pv_buf_put_text(&body, texts[i]);
    }
    pv_buf_put_u32(&file, (uint32_t) pv_buf_len(&body));
    pv_buf_put_u64(&file, pv_spill_check_before(pv_buf_slice(&body)));
    pv_buf_put_slice(&file, pv_buf_slice(&body));
    name_of(place, 0, name);
    fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, pv_buf_slice(&file).data, pv_buf_len(&file)), pv_buf_len(&file));
    assert_int_equal(close(fd), 0);
    pv_buf_clear(&body);
    pv_buf_clear(&file);
    pv_journal_recover(place->path);
    assert_int_equal(raw_number(place, "SELECT session FROM event_log WHERE event = 'login' AND user = 'alice' AND"
                                       " client IS NULL AND detail = '{}' AND at = '2026-01-01T00:00:00.000002Z'"),
                     77);
    assert_sound(place);
}

static void
tear(const char *name, off_t from, size_t len)
{
    uint8_t junk[64];
    int fd = open(name, O_WRONLY);

    assert_true(fd >= 0 && len <= sizeof(junk));
    memset(junk, 0xFF, sizeof(junk));
    assert_int_equal(pwrite(fd, junk, len, from), len);
    assert_int_equal(close(fd), 0);
}

static void
what_is_torn_ends_the_reading(void **state)
{
    const struct place *place = *state;
    char name[256];

    for (uint64_t life = 1; life < 4; life++) {
        int64_t before;

        be_killed(place, 100 * life, 5);
        /* What was in the log before it was killed; the rest is lost with the first record of each file. */
        before = raw_number(place, "SELECT count(*) FROM query_log");
        for (int i = 0; i < 2; i++) {
            name_of(place, i, name);
            if (life == 1)
                for (off_t size = 4000; size > 0; size -= 97)
                    assert_int_equal(truncate(name, size), 0);
            else
                tear(name, life == 2 ? 40 : 0, life == 2 ? 3 : 1);
        }
        pv_journal_recover(place->path);
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), before);
        assert_sound(place);
    }
}

static void
while_it_is_served_nobody_else_brings_it_in(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, relaxed);
    uint64_t ticket;

    for (uint64_t id = 1; id <= 3000; id++) {
        assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
        if (id % 1000 == 0)
            pv_journal_recover(place->path);
        assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
    }
    pv_journal_close(journal);
    assert_int_equal(spilled_bytes(place), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 3000);
    assert_sound(place);
}

static void
files_that_cannot_be_made_are_said(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = NULL;
    char name[256], error[512];

    name_of(place, 0, name);
    assert_int_equal(mkdir(name, 0700), 0);
    assert_int_equal(pv_journal_open(place->path, &relaxed, &journal, error, sizeof(error)), PV_IO);
    assert_non_null(strstr(error, ".spill0"));
    assert_int_equal(rmdir(name), 0);
    pv_journal_close(open_journal(place, relaxed));
}

/* Whatever the memory is missing for, whoever opens has words and nothing else. */
static void
want_of_memory_is_said(void **state)
{
    const struct place *place = *state;
    const struct pv_journal_options options = {.is_serving = true, .is_relaxed = true, .threads = 2};
    struct pv_journal *journal = NULL;
    enum pv_status status = PV_NOMEM;
    long nth;
    char error[512];

    pv_journal_close(open_journal(place, options));
    for (nth = 1; status != PV_OK; nth++) {
        assert_true(nth < 200);
        memset(error, 'x', sizeof(error));
        pv_alloc_fail_at(nth);
        status = pv_journal_open(place->path, &options, &journal, error, sizeof(error));
        pv_alloc_fail_at(0);
        assert_non_null(memchr(error, '\0', sizeof(error)));
        assert_true((status == PV_OK) == (error[0] == '\0'));
        assert_true((status == PV_OK) == (journal != NULL));
        assert_null(strstr(error, "not an error"));
    }
    /* Three lanes take some each. */
    assert_true(nth > 10);
    pv_journal_close(journal);
    assert_int_equal(spilled_bytes(place), 0);
}

static void
want_of_memory_for_a_synced_one_is_said(void **state)
{
    const struct place *place = *state;
    const struct pv_spill_options options = {.is_synced = true};
    struct pv_spill *spill = NULL;
    enum pv_status status = PV_NOMEM;
    char error[256];

    for (long nth = 1; status != PV_OK; nth++) {
        assert_true(nth < 20);
        memset(error, 'x', sizeof(error));
        pv_alloc_fail_at(nth);
        status = pv_spill_open(place->path, &options, &spill, error, sizeof(error));
        pv_alloc_fail_at(0);
        assert_non_null(memchr(error, '\0', sizeof(error)));
        assert_true(status == PV_OK ? error[0] == '\0' : strstr(error, pv_status_words(PV_NOMEM)) != NULL);
    }
    pv_spill_close(spill);
    assert_int_equal(spilled_bytes(place), 0);
}

/* ---- Strict under load ---- */

static const struct pv_journal_options hasty = {
    .is_serving = true, .is_hasty = true, .write_behind_ms = 100, .busy_ms = 50};

/* Puts begins and waits until they are told durable; gives how many were. */
static size_t
put_and_wait(struct pv_journal *journal, struct pv_journal_port *port, uint64_t first, size_t count)
{
    struct pv_journal_done done[64];
    uint64_t ticket = 0;
    size_t good = 0;

    assert_true(count <= PV_COUNT_OF(done));
    for (uint64_t id = first; id < first + count; id++)
        assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_OK);
    assert_int_equal(await_done(port, done, count), count);
    for (size_t i = 0; i < count; i++)
        good += done[i].status == PV_OK;
    return good;
}

/* Killed before what it was told durable is in the log. */
static void
be_killed_under_load(const struct place *place, uint64_t first, unsigned begins)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
        struct pv_journal *journal = NULL;

        if (port == NULL || pv_journal_open(place->path, &hasty, &journal, NULL, 0) != PV_OK)
            _exit(1);
        for (unsigned i = 0; i < begins; i++)
            if (put_and_wait(journal, port, first + i, 1) != 1)
                _exit(2);
        (void) raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void
a_killed_strict_log_has_every_record(void **state)
{
    const struct place *place = *state;
    int64_t late = 0;

    for (uint64_t life = 0; life < 6; life++) {
        int64_t before = life == 0 ? 0 : raw_number(place, "SELECT count(*) FROM query_log");

        be_killed_under_load(place, 1000 * (life + 1), 9);
        late += before + 9 - raw_number(place, "SELECT count(*) FROM query_log");
        if (life % 2 == 0)
            pv_journal_recover(place->path);
        else
            pv_journal_close(open_journal(place, hasty));
        assert_int_equal(spilled_bytes(place), 0);
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), before + 9);
        assert_sound(place);
    }
    /* It was the files beside the log that had them. */
    assert_true(late > 0);
}

static enum pv_status
take_number(void *context, const struct pv_row *row)
{
    /* The columns' names come first. */
    if (row->cells != NULL)
        *(int64_t *) context = row->cells[0].number;
    return PV_OK;
}

static int64_t
read_number(const struct place *place)
{
    struct pv_log_reader *reader = NULL;
    int64_t count = -1;

    assert_int_equal(pv_log_reader_open(place->path, NULL, &reader, NULL, 0), PV_OK);
    assert_int_equal(pv_log_query(reader, "SELECT count(*) FROM query_log", take_number, &count, NULL, 0), PV_OK);
    pv_log_reader_close(reader);
    return count;
}

static void
readers_see_what_was_told_durable(void **state)
{
    const struct place *place = *state;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(place, hasty);
    size_t count = 0;

    for (int i = 0; i < 20; i++) {
        assert_int_equal(put_and_wait(journal, port, count + 1, 7), 7);
        count += 7;
        assert_int_equal(read_number(place), count);
    }
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(spilled_bytes(place), 0);
    assert_sound(place);
}

/* A record that takes from a budget has its verdict from the log, behind all that came before it. */
static void
takes_and_large_batches_go_into_the_log(void **state)
{
    const struct place *place = *state;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(place, hasty);
    static char text[700000];
    struct pv_budget_take take = {"question", "day 1", 2, 1, "the budget is spent"};
    struct pv_statement_begin begin = sample_begin(0);
    struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};
    struct pv_journal_done done[4];
    uint64_t ticket;

    memset(text, 'x', sizeof(text));
    begin.takes = &take;
    begin.take_count = 1;
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(put_and_wait(journal, port, 10 * i + 1, 1), 1);
        begin.id = 10 * i + 2;
        assert_int_equal(pv_journal_put(journal, &record, port, NULL, &ticket), PV_OK);
        assert_int_equal(await_done(port, done, 1), 1);
        assert_int_equal(done[0].status, i < 2 ? PV_OK : PV_LIMIT);
        /* Nothing is left beside it: this transaction had it all. */
        assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 2 * (int64_t) i + 2);
    }
    begin.takes = NULL;
    begin.take_count = 0;
    begin.query = pv_slice_of(text, sizeof(text));
    for (uint64_t id = 100; id < 104; id++) {
        begin.id = id;
        assert_int_equal(pv_journal_put(journal, &record, port, NULL, &ticket), PV_OK);
    }
    assert_int_equal(await_done(port, done, 4), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(done[i].status, PV_OK);
    assert_int_equal(read_number(place), 10);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE length(query) = 700000"), 4);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM (SELECT id, lag(id) OVER (ORDER BY seq) AS before FROM"
                                       " statement) WHERE before > id"),
                     0);
    assert_sound(place);
}

/* The log can be written no more: what was told durable before that came out is kept, what comes after is refused. */
static void
a_log_that_fails_under_load_recovers(void **state)
{
    const struct place *place = *state;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(place, hasty);
    sqlite3 *blocker = NULL;
    uint64_t id = 1, ticket = 0;
    size_t good = 0;

    good += put_and_wait(journal, port, id, 5);
    id += 5;
    assert_int_equal(read_number(place), 5);
    assert_int_equal(sqlite3_open(place->path, &blocker), SQLITE_OK);
    assert_int_equal(sqlite3_exec(blocker, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    good += put_and_wait(journal, port, id, 5);
    id += 5;
    assert_true(await_health(journal, true));
    assert_int_equal(put_begin(journal, 99, port, NULL, &ticket), PV_IO);
    assert_int_equal(put_end(journal, 1, port, NULL, &ticket), PV_IO);
    assert_int_equal(sqlite3_exec(blocker, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(blocker), SQLITE_OK);
    assert_true(await_health(journal, false));
    good += put_and_wait(journal, port, id, 5);
    assert_int_equal(read_number(place), good);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(spilled_bytes(place), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed'"), 1);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM event WHERE event = 'log_recovered'"), 1);
    assert_sound(place);
}

/* Neither file can be written: what is refused is refused, and what was told durable is there in the end. */
static void
a_spill_that_cannot_be_written_fails_the_log(void **state)
{
    const struct place *place = *state;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(place, hasty);
    struct rlimit limit;
    uint64_t ticket;
    size_t good = put_and_wait(journal, port, 1, 3);

    (void) signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(read_number(place), 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    /* The file's first block can be written, the next cannot; what the first took outlasts that. */
    good += put_and_wait(journal, port, 10, 1);
    for (uint64_t id = 11; id < 14; id++) {
        struct pv_journal_done done[1];
        enum pv_status status = put_begin(journal, id, port, NULL, &ticket);

        /* The writer may have found out in between. */
        if (status == PV_OK) {
            assert_int_equal(await_done(port, done, 1), 1);
            status = done[0].status;
        }
        assert_int_equal(status, PV_IO);
    }
    assert_true(await_health(journal, true));
    assert_int_equal(put_begin(journal, 20, port, NULL, &ticket), PV_IO);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(await_health(journal, false));
    good += put_and_wait(journal, port, 30, 3);
    assert_int_equal(read_number(place), good);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_in_range(good, 6, 7);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), good);
    assert_sound(place);
}

static void
without_a_spill_a_strict_log_goes_on(void **state)
{
    const struct place *place = *state;
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal = open_journal(place, hasty);
    char name[256];

    name_of(place, 2, name);
    assert_int_equal(mkdir(name, 0700), 0);
    assert_int_equal(put_and_wait(journal, port, 1, 5), 5);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), 5);
    pv_journal_close(journal);
    pv_journal_port_free(port);
    assert_int_equal(rmdir(name), 0);
    assert_sound(place);
}

/* ---- Threads that write their own batches ---- */

static void
threads_write_their_own_batches(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, hasty);
    struct turner turners[3] = {0};
    pthread_t threads[3];
    unsigned helped = 0;

    for (unsigned i = 0; i < 3; i++) {
        turners[i].turns = 200;
        turners[i].left_every = 7;
        turner_init(&turners[i], journal, i);
        assert_int_equal(pthread_create(&threads[i], NULL, turn_all, &turners[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        turner_join(threads[i]);
        helped += turners[i].helped;
        /* Of what a thread wrote itself it was not notified. */
        assert_true(turners[i].notified <= 200 * 6);
    }
    assert_true(helped > 0);
    assert_int_equal(read_number(place), 1800);
    pv_journal_close(journal);
    for (unsigned i = 0; i < 3; i++)
        pv_journal_port_free(turners[i].port);
    assert_int_equal(spilled_bytes(place), 0);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log WHERE outcome = 'completed' AND rows = 3"), 1800);
    assert_sound(place);
}

static void
alone_a_thread_is_not_notified_of_its_own_batches(void **state)
{
    const struct place *place = *state;
    struct pv_journal *journal = open_journal(place, hasty);
    struct turner turner = {0};
    struct pv_journal_done done[1];
    uint64_t ticket;
    unsigned helped = 0, before;

    turner_init(&turner, journal, 0);
    assert_false(pv_journal_kick(journal, turner.port, false));
    for (uint64_t id = 1; id <= 50; id++) {
        assert_int_equal(put_begin(journal, id, turner.port, NULL, &ticket), PV_OK);
        before = turner.notified;
        if (pv_journal_kick(journal, turner.port, false)) {
            helped++;
            assert_int_equal(pv_journal_port_take(turner.port, done, 1), 1);
            assert_int_equal(turner.notified, before);
        } else {
            assert_int_equal(await_done(turner.port, done, 1), 1);
        }
        assert_int_equal(done[0].status, PV_OK);
        assert_int_equal(done[0].ticket, ticket);
    }
    assert_true(helped > 0);
    assert_int_equal(read_number(place), 50);
    pv_journal_close(journal);
    pv_journal_port_free(turner.port);
    assert_sound(place);
}

/* Each batch stands in blocks of its own: whatever becomes of the newest, those before it are read. */
static void
a_torn_batch_takes_no_other_with_it(void **state)
{
    const struct place *place = *state;
    char name[256];
    uint8_t junk[4096];
    int64_t before = 0;
    uint64_t life = 0;
    int fd;

    /* Until none of a life's batches went into the log meanwhile: so they stand from the file's beginning on. */
    for (;;) {
        be_killed_under_load(place, 1000 * ++life, 9);
        if (raw_number(place, "SELECT count(*) FROM query_log") == before)
            break;
        assert_true(life < 200);
        pv_journal_recover(place->path);
        before = raw_number(place, "SELECT count(*) FROM query_log");
    }
    name_of(place, 2, name);
    fd = open(name, O_RDWR);
    assert_true(fd >= 0);
    memset(junk, 0xA5, sizeof(junk));
    assert_int_equal(pwrite(fd, junk, sizeof(junk), 8 * 4096), sizeof(junk));
    assert_int_equal(close(fd), 0);
    pv_journal_recover(place->path);
    assert_int_equal(raw_number(place, "SELECT count(*) FROM query_log"), before + 8);
    assert_sound(place);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_killed_relaxed_log_has_every_record), TEST(nothing_is_brought_in_twice),
        TEST(records_of_an_earlier_release_are_read),
        TEST(what_is_torn_ends_the_reading),         TEST(while_it_is_served_nobody_else_brings_it_in),
        TEST(want_of_memory_is_said),                TEST(want_of_memory_for_a_synced_one_is_said),
        TEST(files_that_cannot_be_made_are_said),    TEST(a_killed_strict_log_has_every_record),
        TEST(readers_see_what_was_told_durable),     TEST(takes_and_large_batches_go_into_the_log),
        TEST(a_log_that_fails_under_load_recovers),  TEST(a_spill_that_cannot_be_written_fails_the_log),
        TEST(without_a_spill_a_strict_log_goes_on),  TEST(a_torn_batch_takes_no_other_with_it),
        TEST(threads_write_their_own_batches),       TEST(alone_a_thread_is_not_notified_of_its_own_batches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
