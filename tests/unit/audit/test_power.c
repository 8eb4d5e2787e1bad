/*
 * Power cuts: at some hundred moments of a journal's life the disk is what SQLite had synced, and of the rest any
 * sectors, torn or full of junk. Each time the log must open, verify, and hold every record that was acknowledged as
 * durable.
 */
#include "tests/unit/audit/audit_test.h"

#include "proxy/audit/segment_int.h"
#include "proxy/audit/spill.h"
#include "tests/unit/audit/fault_vfs.h"

#define STATEMENTS 60u
#define CUTS_MAX 90u

/* ---- A life ---- */

/* How its log is written: by the writer's thread, by the thread that puts the records, beside it first. */
enum way { STRICT, BY_ITSELF, BESIDE, RELAXED };

/* Batches that the putting thread wrote; where the writer has the log just then, or has to have it, that one does. */
static size_t kicks_done;

static void
put_and_wait(struct pv_journal *journal, struct pv_journal_port *port, uint64_t first, uint64_t count, bool kicks)
{
    struct pv_journal_done done[32];
    uint64_t ticket = 0;

    assert_true(count <= 16);
    for (uint64_t id = first; id < first + count; id++) {
        assert_int_equal(put_begin(journal, id, port, NULL, &ticket), PV_OK);
        assert_int_equal(put_end(journal, id, port, NULL, &ticket), PV_OK);
    }
    if (kicks && pv_journal_kick(journal, port, false))
        kicks_done++;
    if (ticket != 0)
        assert_int_equal(await_done(port, done, (size_t) (2 * count)), (size_t) (2 * count));
    for (size_t i = 0; ticket != 0 && i < 2 * count; i++)
        assert_int_equal(done[i].status, PV_OK);
    /* Told: every statement below is durable. */
    fv_mark((sqlite3_int64) (first + count));
}

static const char *sealing_path;

/* What seal.c does past SQLite: the draft becomes the segment, and is that for good when the folder was synced. */
static void
note_rename(const char *step)
{
    char from[200], to[180];

    (void) snprintf(to, sizeof(to), "%s.segment-%06d", sealing_path, 1);
    (void) snprintf(from, sizeof(from), "%s.new", to);
    if (strcmp(step, "renamed") == 0)
        fv_add((struct fv_op){.kind = FV_RENAME, .file = fv_path(from), .target = fv_path(to)}, NULL);
    else if (strcmp(step, "registering") == 0)
        fv_add((struct fv_op){.kind = FV_SYNC, .file = fv_path(from), .target = FV_OF_FOLDER}, NULL);
}

static const char *spilling_path;

/* What spill.c does past SQLite: a write that is durable when it says so. */
static void
note_spill(const void *data, size_t len, uint64_t offset)
{
    char name[200];

    (void) snprintf(name, sizeof(name), "%s.spill2", spilling_path);
    if (data == NULL)
        fv_add((struct fv_op){.kind = FV_SYNC, .file = fv_path(name), .target = FV_OF_FILE}, NULL);
    else
        fv_add((struct fv_op){.kind = FV_WRITE, .file = fv_path(name), .offset = (sqlite3_int64) offset, .len = len},
               data);
}

static void
live_once(const struct place *place, enum way way, bool is_sealing)
{
    const struct pv_journal_options options = {.is_serving = true,
                                               .is_relaxed = way == RELAXED,
                                               .is_hasty = way == BESIDE || way == BY_ITSELF,
                                               .write_behind_ms = way == BESIDE ? 100 : 0};
    struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
    struct pv_journal *journal;
    uint64_t id = 1;

    fv_forget();
    fv.is_recording = 1;
    spilling_path = place->path;
    pv_spill_at = note_spill;
    journal = open_journal(place, options);
    if (way == BY_ITSELF)
        pv_journal_port_hold(port, 0);
    while (id <= STATEMENTS) {
        uint64_t count = id % 3 == 0 ? 7 : 1;

        put_and_wait(journal, port, id, count, way == BY_ITSELF);
        id += count;
        if (id % 5 == 0)
            raw(place, "PRAGMA wal_checkpoint(PASSIVE)");
        if (id % 11 == 0)
            raw(place, "PRAGMA wal_checkpoint(TRUNCATE)");
        if (is_sealing && id > STATEMENTS / 2) {
            struct pv_seal_result result;
            const struct pv_seal_options now = {.is_now = true};

            sealing_path = place->path;
            pv_seal_at = note_rename;
            assert_int_equal(pv_log_seal(place->path, &now, &result, NULL, 0), PV_OK);
            assert_int_equal(result.sealed, 1);
            pv_seal_at = NULL;
            is_sealing = false;
        }
    }
    pv_journal_close(journal);
    fv.is_recording = 0;
    pv_spill_at = NULL;
    pv_journal_port_free(port);
}

/* ---- After a cut ---- */

struct after {
    const struct place *place; /* where the files are put */
    size_t folder_len;         /* of the paths of the life */
};

static void
put_file(const char *path, const struct fv_image *image, void *context)
{
    const struct after *after = context;
    char to[256];
    FILE *file;

    (void) snprintf(to, sizeof(to), "%s%s", after->place->folder, path + after->folder_len);
    file = fopen(to, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(image->data, 1, image->len, file), image->len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(to, 0600), 0);
}

static void
copy_key(const struct place *from, const struct place *to, const char *ending)
{
    char from_path[160], to_path[160], bytes[4096];
    FILE *file;
    size_t len;

    (void) snprintf(from_path, sizeof(from_path), "%s%s", from->path, ending);
    (void) snprintf(to_path, sizeof(to_path), "%s%s", to->path, ending);
    file = fopen(from_path, "re");
    assert_non_null(file);
    len = fread(bytes, 1, sizeof(bytes), file);
    (void) fclose(file);
    file = fopen(to_path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    (void) fclose(file);
    assert_int_equal(chmod(to_path, 0600), 0);
}

static enum pv_status
take_row(void *context, const struct pv_row *row)
{
    *(int64_t *) context += row->cells != NULL;
    return PV_OK;
}

static int64_t
statements_of(const struct place *place)
{
    struct pv_log_reader *reader = NULL;
    char error[256] = "";
    int64_t count = 0;

    if (pv_log_reader_open(place->path, NULL, &reader, error, sizeof(error)) != PV_OK ||
        pv_log_query(reader, "SELECT seq FROM query_log", take_row, &count, error, sizeof(error)) != PV_OK)
        fail_msg("%s", error);
    pv_log_reader_close(reader);
    return count;
}

/* Statements that had to be durable at the cut. */
static int64_t
owed_at(size_t cut)
{
    int64_t owed = 0;

    for (size_t i = 0; i < cut; i++)
        if (fv.ops[i].kind == FV_MARK)
            owed = fv.ops[i].offset - 1;
    return owed;
}

static void
check_cut(const struct place *life, size_t cut, enum fv_loss loss, bool is_relaxed)
{
    void *state = NULL;
    struct place *place;
    struct after after;
    struct pv_journal *journal;
    struct pv_verdict verdict;
    uint64_t ticket = 0;
    int64_t have;
    struct pv_seal_result result;
    const struct pv_seal_options options = {.is_now = true};
    char draft[200];

    assert_int_equal(place_make(&state), 0);
    place = state;
    after = (struct after){place, strlen(life->folder)};
    fv_seed = cut * 4 + (uint64_t) loss + 1;
    fv_cut(cut, loss, put_file, &after);
    copy_key(life, place, ".key");
    copy_key(life, place, ".pub");
    journal = open_journal(place, (struct pv_journal_options){.is_serving = true});
    have = statements_of(place);
    if (!is_relaxed && have < owed_at(cut))
        fail_msg("cut before op %zu of %zu, loss %d: %d statements are there, %d were acknowledged", cut, fv.count,
                 (int) loss, (int) have, (int) owed_at(cut));
    /* It goes on from there. */
    assert_int_equal(put_begin(journal, 1000, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_end(journal, 1000, NULL, NULL, &ticket), PV_OK);
    pv_journal_close(journal);
    verdict = verify(place, NULL);
    if (verdict.fault != PV_FAULT_NONE)
        fail_msg("cut before op %zu of %zu, loss %d: %s", cut, fv.count, (int) loss, verdict.words);
    /* What sealing left half done is finished, or begun anew. */
    assert_int_equal(pv_log_seal(place->path, &options, &result, NULL, 0), PV_OK);
    verdict = verify(place, NULL);
    if (verdict.fault != PV_FAULT_NONE)
        fail_msg("sealed after a cut before op %zu of %zu, loss %d: %s", cut, fv.count, (int) loss, verdict.words);
    assert_int_equal(statements_of(place), have + 1);
    (void) snprintf(draft, sizeof(draft), "%s.segment-000001.new", place->path);
    (void) unlink(draft);
    assert_int_equal(place_remove(&state), 0);
}

/* At each sync and mark, and the moments around them, as many as fit; the four losses take turns. */
static void
cut_everywhere(const struct place *life, bool is_relaxed, size_t first)
{
    size_t stride = (fv.count - first) / CUTS_MAX + 1;
    size_t cuts = 0;

    for (size_t cut = first; cut <= fv.count; cut += stride, cuts++)
        check_cut(life, cut, (enum fv_loss)(cuts % FV_LOSS_COUNT), is_relaxed);
    assert_true(cuts > 40);
}

/* The schema is one transaction; before it there is no log. */
static size_t
first_mark(void)
{
    size_t i = 0;

    while (i < fv.count && fv.ops[i].kind != FV_MARK)
        i++;
    return i;
}

static void
strict_log_outlives_every_cut(void **state)
{
    live_once(*state, STRICT, false);
    cut_everywhere(*state, false, 0);
}

static void
strict_log_written_by_its_users_outlives_every_cut(void **state)
{
    kicks_done = 0;
    live_once(*state, BY_ITSELF, false);
    assert_true(kicks_done > 0);
    cut_everywhere(*state, false, 0);
}

static void
strict_log_under_load_outlives_every_cut(void **state)
{
    size_t spilled = 0;

    live_once(*state, BESIDE, false);
    for (size_t i = 0; i < fv.count; i++)
        spilled += fv.ops[i].kind == FV_WRITE && strstr(fv.paths[fv.ops[i].file], ".spill2") != NULL;
    /* Once for each wait: the begin and the end of a statement, or of seven, share a batch or have two. */
    assert_true(spilled >= STATEMENTS / 3);
    cut_everywhere(*state, false, 0);
}

static void
relaxed_log_verifies_after_every_cut(void **state)
{
    live_once(*state, RELAXED, false);
    cut_everywhere(*state, true, 0);
}

static void
sealing_outlives_every_cut(void **state)
{
    size_t first;

    live_once(*state, STRICT, true);
    /* From the middle on: the writing of the segment, its registering, the removing. */
    first = fv.count / 3;
    assert_true(first > first_mark());
    cut_everywhere(*state, false, first);
}

/* That the harness loses what it says: a VFS whose syncs do nothing must lose what was acknowledged. */
static void
the_harness_loses_what_was_not_synced(void **state)
{
    struct place *place = *state;
    size_t last = 0;
    void *inner = NULL;
    struct after after;

    live_once(place, STRICT, false);
    for (size_t i = 0; i < fv.count; i++)
        if (fv.ops[i].kind == FV_MARK)
            last = i;
    for (size_t i = first_mark(); i < fv.count; i++)
        if (fv.ops[i].kind == FV_SYNC)
            fv.ops[i].kind = FV_MARK, fv.ops[i].offset = 1;
    assert_int_equal(place_make(&inner), 0);
    after = (struct after){inner, strlen(place->folder)};
    fv_cut(last, FV_KEEP_NONE, put_file, &after);
    copy_key(place, inner, ".key");
    copy_key(place, inner, ".pub");
    pv_journal_close(open_journal(inner, (struct pv_journal_options){0}));
    assert_true(statements_of(inner) < 10);
    assert_int_equal(place_remove(&inner), 0);
}

static void
failing_writes_recover(int code)
{
    /* Each is a write at least. */
    enum { FULL_STATEMENTS = 30 };

    for (int writes = 0; writes < 24; writes++) {
        void *inner = NULL;
        struct pv_journal_port *port = pv_journal_port_new(NULL, NULL);
        struct pv_journal *journal;
        struct pv_journal_done done[2];
        uint64_t ticket = 0;
        size_t refused = 0;

        assert_int_equal(place_make(&inner), 0);
        journal = open_journal(inner, (struct pv_journal_options){.is_serving = true});
        fv.fail_code = code;
        fv.fail_after = writes;
        for (uint64_t id = 1; id <= FULL_STATEMENTS; id++) {
            enum pv_status status = put_begin(journal, id, port, NULL, &ticket);

            if (status == PV_OK && await_done(port, done, 1) == 1)
                status = done[0].status;
            /* What was let through is in the log; what was not was told PV_IO. */
            assert_true(status == PV_OK || status == PV_IO);
            refused += status == PV_IO;
        }
        assert_true(refused > 0);
        assert_true(await_health(journal, true));
        fv.fail_after = -1;
        assert_true(await_health(journal, false));
        assert_int_equal(put_begin(journal, FULL_STATEMENTS + 1, port, NULL, &ticket), PV_OK);
        assert_int_equal(await_done(port, done, 1), 1);
        assert_int_equal(done[0].status, PV_OK);
        pv_journal_close(journal);
        pv_journal_port_free(port);
        assert_sound(inner);
        assert_int_equal(raw_number(inner, "SELECT count(*) FROM statement"),
                         (int64_t) (FULL_STATEMENTS + 1 - refused));
        assert_int_equal(raw_number(inner, "SELECT count(*) FROM event WHERE event = 'log_recovered'"), 1);
        assert_int_equal(place_remove(&inner), 0);
    }
}

/* A disk that fills up under the log's own writes, at each of the first of them. */
static void
a_full_disk_at_any_write_recovers(void **state)
{
    (void) state;
    failing_writes_recover(SQLITE_FULL);
}

/* What SQLite makes of EROFS and EIO, as when a file system turns read-only under the files that are open on it. */
static void
a_disk_that_turns_read_only_at_any_write_recovers(void **state)
{
    (void) state;
    failing_writes_recover(SQLITE_IOERR_WRITE);
}

static void
a_file_that_turns_read_only_at_any_write_recovers(void **state)
{
    (void) state;
    failing_writes_recover(SQLITE_READONLY);
}

/*
 * What a transaction writes to the write-ahead log leaves as one write, into what is there of the file; when that
 * grows, it does so by pieces of zeros, many at once.
 */
static void
a_strict_transaction_is_one_write(void **state)
{
    enum { PIECE = 65536 };
    size_t writes = 0, syncs = 0, grown = 0, beyond = 0;
    sqlite3_int64 size = 0;

    live_once(*state, STRICT, false);
    for (size_t i = 0; i < fv.count; i++) {
        bool is_counted = i >= first_mark();

        if (strstr(fv.paths[fv.ops[i].file], "-wal") == NULL)
            continue;
        if (fv.ops[i].kind == FV_WRITE && fv.ops[i].len == PIECE) {
            grown += fv.ops[i].offset != size;
            size = fv.ops[i].offset + PIECE;
        } else if (fv.ops[i].kind == FV_WRITE) {
            writes += is_counted;
            beyond += is_counted && fv.ops[i].offset + (sqlite3_int64) fv.ops[i].len > size;
        } else if (fv.ops[i].kind == FV_TRUNCATE) {
            size = 0;
        }
        syncs += is_counted && fv.ops[i].kind == FV_SYNC;
    }
    /* What does not fit makes it grow. */
    assert_true(grown > 0);
    assert_in_range(beyond, 0, grown);
    assert_true(syncs >= STATEMENTS / 3);
    assert_in_range(writes, 1, syncs);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(strict_log_outlives_every_cut, place_make, place_remove),
        cmocka_unit_test_setup_teardown(strict_log_written_by_its_users_outlives_every_cut, place_make, place_remove),
        cmocka_unit_test_setup_teardown(strict_log_under_load_outlives_every_cut, place_make, place_remove),
        cmocka_unit_test_setup_teardown(relaxed_log_verifies_after_every_cut, place_make, place_remove),
        cmocka_unit_test_setup_teardown(sealing_outlives_every_cut, place_make, place_remove),
        cmocka_unit_test_setup_teardown(the_harness_loses_what_was_not_synced, place_make, place_remove),
        cmocka_unit_test_setup_teardown(a_strict_transaction_is_one_write, place_make, place_remove),
        cmocka_unit_test(a_full_disk_at_any_write_recovers),
        cmocka_unit_test(a_disk_that_turns_read_only_at_any_write_recovers),
        cmocka_unit_test(a_file_that_turns_read_only_at_any_write_recovers),
    };
    int failed;

    fv_install();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    fv_forget();
    return failed;
}
