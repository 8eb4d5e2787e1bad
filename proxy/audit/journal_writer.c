/* The writer's thread: batches, what becomes of a log that cannot be written, and the fast road of a strict one. */
#include "proxy/audit/journal_int.h"
#include "proxy/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- Writing ---- */

static void
count_flush(struct pv_journal *journal, uint64_t us, size_t records)
{
#define PV_X(bound) bound,
    static const uint64_t bounds[] = {PV_JOURNAL_BUCKETS(PV_X)};
#undef PV_X
    size_t bucket = 0;

    while (bucket < PV_COUNT_OF(bounds) && us > bounds[bucket])
        bucket++;
    (void) atomic_fetch_add(&journal->flush_buckets[bucket], 1);
    (void) atomic_fetch_add(&journal->flush_us_sum, us);
    (void) atomic_fetch_add(&journal->batches, 1);
    (void) atomic_fetch_add(&journal->records, records);
}

/* Whoever moved the file away would have us write where nobody looks. Once a second is enough to notice. */
static enum pv_status
check_place(struct pv_journal *journal)
{
    int64_t now_us = pv_monotonic_us();

    if (now_us - journal->checked_us < 1000000)
        return PV_OK;
    if (!pv_db_is_in_place(journal->db, journal->path))
        return PV_NOTFOUND;
    journal->checked_us = now_us;
    return PV_OK;
}

/*
 * Where nobody waits for the disk, a statement that was over before its begin was written becomes one row: half the
 * work. Without memory for the table each has its own, as a statement has whose end comes in a later batch.
 */
static void
pair_ends(struct pv_journal *journal, const struct pv_queue *batch)
{
    size_t size = 64;

    while (size < 2 * batch->count)
        size *= 2;
    if (size > journal->pair_size) {
        pv_free(journal->pairs);
        journal->pairs = pv_alloc(size * sizeof(journal->pairs[0]));
        journal->pair_size = journal->pairs == NULL ? 0 : size;
    }
    if (journal->pairs != NULL)
        memset(journal->pairs, 0, journal->pair_size * sizeof(journal->pairs[0]));
    for (struct pv_entry *entry = batch->first; entry != NULL; entry = entry->next) {
        uint64_t id = entry->value_count == 0 ? 0 : (uint64_t) entry->values[0].number;
        size_t slot = journal->pair_size == 0 ? 0 : (size_t) id & (journal->pair_size - 1);

        entry->end = NULL;
        entry->is_in_begin = false;
        if (journal->pairs == NULL || (entry->kind != PV_RECORD_BEGIN && entry->kind != PV_RECORD_END) ||
            entry->take_count > 0)
            continue;
        while (journal->pairs[slot] != NULL && (uint64_t) journal->pairs[slot]->values[0].number != id)
            slot = (slot + 1) & (journal->pair_size - 1);
        if (entry->kind == PV_RECORD_BEGIN)
            journal->pairs[slot] = entry;
        else if (journal->pairs[slot] != NULL && journal->pairs[slot]->end == NULL) {
            journal->pairs[slot]->end = entry;
            entry->is_in_begin = true;
        }
    }
}

static uint64_t
newest_spilled(const struct pv_queue *batch)
{
    uint64_t newest = 0;

    for (const struct pv_entry *entry = batch->first; entry != NULL; entry = entry->next)
        if (entry->spilled > newest)
            newest = entry->spilled;
    return newest;
}

/* Up to which spilled record the log will be when `batch` is in it. */
static uint64_t
spilled_by(const struct pv_journal *journal, const struct pv_queue *batch)
{
    uint64_t number = journal->synced == NULL ? newest_spilled(batch) : pv_spill_number(journal->synced);

    return number > journal->spilled ? number : 0;
}

/* Durably, where the file is a synced one: it may be written over now. */
static void
begin_spill_anew(struct pv_journal *journal, uint64_t spilled)
{
    journal->spilled = spilled;
    if (journal->synced != NULL) {
        pv_spill_written(journal->synced, spilled);
        return;
    }
    (void) pthread_mutex_lock(&journal->mutex);
    pv_spill_written(journal->spill, spilled);
    (void) pthread_mutex_unlock(&journal->mutex);
}

static enum pv_status
append_batch(struct pv_journal *journal, const struct pv_queue *batch)
{
    uint64_t spilled = spilled_by(journal, batch);
    enum pv_status status = pv_db_begin(journal->db);

    if (status != PV_OK)
        return status;
    for (struct pv_entry *entry = batch->first; entry != NULL && status == PV_OK;) {
        status = pv_db_append_some(journal->db, entry, &entry);
        if (status == PV_INVALID)
            pv_log(PV_LOG_WARNING, "the query log refused a record: %s", journal->db->words);
        if (status == PV_INVALID || status == PV_LIMIT) /* a spent budget is an answer */
            status = PV_OK;
    }
    if (status == PV_OK && spilled > 0)
        status = pv_db_spilled_set(journal->db, spilled);
    if (status == PV_OK)
        status = pv_db_commit(journal->db);
    else
        pv_db_rollback(journal->db);
    if (status == PV_OK && spilled > 0)
        begin_spill_anew(journal, spilled);
    return status;
}

/* One transaction, with what is owed first of all. Refused records keep their status for their tickets. */
static enum pv_status
write_batch(struct pv_journal *journal, struct pv_queue *batch, const char **what)
{
    int64_t began_us = pv_monotonic_us();
    size_t told = journal->owed.count;
    enum pv_status status = check_place(journal);

    pv_queue_prepend(batch, &journal->owed);
    atomic_store(&journal->is_owing, false);
    *what = "the file is no longer there";
    if (status != PV_OK)
        return status;
    *what = journal->db->words;
    if (journal->options.is_relaxed || told > 0)
        pair_ends(journal, batch);
    status = append_batch(journal, batch);
    if (status == PV_OK) {
        journal->seen = journal->db->committed;
        if (batch->count > told)
            count_flush(journal, (uint64_t) (pv_monotonic_us() - began_us), batch->count - told);
    }
    return status;
}

/* ---- Strict under load ---- */

static bool
is_under_load(struct pv_journal *journal, size_t count)
{
    int64_t now_us = pv_monotonic_us();

    if (now_us - journal->newest_us > PV_JOURNAL_LOAD_PAUSE_MS * 1000) {
        journal->busy_since_us = now_us;
        journal->busy_count = 0;
    }
    journal->newest_us = now_us;
    journal->busy_count += count;
    return journal->options.is_hasty || (journal->busy_count >= PV_JOURNAL_LOAD_COUNT &&
                                         now_us - journal->busy_since_us >= PV_JOURNAL_LOAD_MS * 1000);
}

static bool
has_takes(const struct pv_queue *batch)
{
    for (const struct pv_entry *entry = batch->first; entry != NULL; entry = entry->next)
        if (entry->take_count > 0)
            return true;
    return false;
}

/* Without it every batch is a transaction, as it is without load. */
static bool
has_synced(struct pv_journal *journal)
{
    char error[256];
    enum pv_status status = PV_OK;

    if (journal->synced != NULL || journal->is_spill_refused)
        return journal->synced != NULL;
    status = pv_db_spilled(journal->db->sqlite, &journal->spilled);
    if (status == PV_OK)
        status = pv_spill_open(journal->path, journal->spilled, true, &journal->synced, error, sizeof(error));
    else
        pv_db_error(error, sizeof(error), "%s", sqlite3_errmsg(journal->db->sqlite));
    if (status != PV_OK) {
        journal->is_spill_refused = true;
        pv_log(PV_LOG_WARNING, "a strict log under load takes more work than it need: %s", error);
    }
    return status == PV_OK;
}

/* What takes from budgets learns from the log's own transaction whether it may run. */
static bool
is_for_spill(struct pv_journal *journal, const struct pv_queue *batch)
{
    return journal->options.is_serving && journal->options.write_behind_ms > 0 && batch->count > 0 &&
           is_under_load(journal, batch->count) && !has_takes(batch) && has_synced(journal);
}

/* All of the batch is on disk beside the log, and told so; or nothing was done (PV_LIMIT: there is no room for it). */
static enum pv_status
spill_batch(struct pv_journal *journal, struct pv_queue *batch)
{
    int64_t began_us = pv_monotonic_us();
    enum pv_status status = check_place(journal);
    struct pv_entry *entry;
    size_t count = batch->count;
    int64_t took_us;

    if (status == PV_OK)
        status = pv_spill_put_synced(journal->synced, batch->first);
    if (status != PV_OK)
        return status;
    took_us = pv_monotonic_us() - began_us;
    journal->sync_us += (took_us - journal->sync_us) / 8;
    if (journal->owed.count == 0)
        journal->owed_since_us = began_us;
    atomic_store(&journal->is_owing, true);
    while ((entry = pv_queue_take(batch)) != NULL) {
        entry->is_kept = true;
        pv_entry_complete(entry, PV_OK);
        pv_queue_put(&journal->owed, entry);
    }
    count_flush(journal, (uint64_t) took_us, count);
    return PV_OK;
}

static bool
is_owed_due(const struct pv_journal *journal)
{
    return journal->owed.count >= PV_JOURNAL_OWED_MAX ||
           (journal->owed.count > 0 &&
            pv_monotonic_us() - journal->owed_since_us >= (int64_t) journal->options.write_behind_ms * 1000);
}

static void
complete_written(struct pv_queue *batch)
{
    struct pv_entry *entry;

    while ((entry = pv_queue_take(batch)) != NULL) {
        pv_entry_complete(entry, entry->status);
        pv_entry_unref(entry);
    }
}

/* Tells everybody who waits, drops what they will not run, and keeps what is owed. */
static void
complete_failed(struct pv_queue *batch, struct pv_queue *kept)
{
    struct pv_entry *entry;

    while ((entry = pv_queue_take(batch)) != NULL) {
        pv_entry_complete(entry, PV_IO);
        if (entry->is_kept)
            pv_queue_put(kept, entry);
        else
            pv_entry_unref(entry);
    }
}

static void
enter_failed(struct pv_journal *journal, struct pv_queue *batch, enum pv_status status, const char *what)
{
    struct pv_queue kept, late;

    (void) atomic_fetch_add(&journal->failures, 1);
    pv_queue_init(&kept);
    pv_queue_init(&late);
    complete_failed(batch, &kept);
    (void) pthread_mutex_lock(&journal->mutex);
    if (!journal->is_failed) {
        journal->failed_us = pv_record_now_us();
        pv_log(PV_LOG_ERROR, "the query log cannot be written (%s: %s); statements are refused until it can",
               pv_status_words(status), what);
        /* What was queued meanwhile shares the fate, at once rather than at the next attempt. */
        pv_queue_prepend(&late, &journal->queue);
    }
    journal->is_failed = true;
    atomic_store(&journal->is_failed_seen, true);
    (void) pthread_mutex_unlock(&journal->mutex);
    complete_failed(&late, &kept);
    (void) pthread_mutex_lock(&journal->mutex);
    pv_queue_prepend(&journal->queue, &kept);
    atomic_store(&journal->depth, journal->queue.count);
    (void) pthread_mutex_unlock(&journal->mutex);
}

static enum pv_status
reopen(struct pv_journal *journal, char *error, size_t error_size)
{
    const struct pv_db_options options = {.is_relaxed = journal->options.is_relaxed,
                                          .busy_ms = journal->options.busy_ms};
    enum pv_status status;

    pv_db_close(journal->db);
    journal->db = NULL;
    status = pv_db_open(journal->path, &options, &journal->db, error, error_size);
    if (status == PV_OK)
        journal->db->committed = journal->seen;
    return status;
}

static enum pv_status
recovery_event(const struct pv_journal *journal, struct pv_entry **entry)
{
    char since[PV_RECORD_TIME_SIZE];
    char detail[128];
    const struct pv_event event = {.event = "log_recovered", .detail = detail};
    const struct pv_record record = {.kind = PV_RECORD_EVENT, .event = &event};

    pv_record_time_format(journal->failed_us, since);
    (void) snprintf(detail, sizeof(detail), "{\"failing_since\": \"%s\", \"dropped\": %llu}", since,
                    (unsigned long long) atomic_load(&journal->dropped));
    return pv_entry_new(NULL, &record, entry);
}

/* An attempt to write again: what was kept, and an event that says so, which also proves that the disk takes bytes. */
static void
try_recover(struct pv_journal *journal, struct pv_queue *batch)
{
    char error[256] = "";
    const char *what = error;
    struct pv_entry *event = NULL;
    enum pv_status status = reopen(journal, error, sizeof(error));

    if (status == PV_OK)
        status = recovery_event(journal, &event);
    if (status == PV_OK) {
        pv_queue_put(batch, event);
        status = write_batch(journal, batch, &what);
    }
    if (status != PV_OK) {
        enter_failed(journal, batch, status, what);
        return;
    }
    complete_written(batch);
    (void) pthread_mutex_lock(&journal->mutex);
    journal->is_failed = false;
    atomic_store(&journal->is_failed_seen, false);
    (void) pthread_mutex_unlock(&journal->mutex);
    pv_log(PV_LOG_INFO, "the query log can be written again");
}

/* ---- The writer's thread ---- */

/* Waits until `us` or until somebody closes; in a relaxed pause also until the queue is deep. Holds the mutex. */
static void
pause_until(struct pv_journal *journal, int64_t until_us, size_t depth)
{
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = (long) (until_us % 1000000) * 1000};

    while (!journal->is_closing && !journal->is_due && journal->queue.count < depth &&
           (!journal->is_urgent || journal->is_failed))
        if (pthread_cond_timedwait(&journal->wake, &journal->mutex, &until) == ETIMEDOUT)
            return;
}

/* Holds the mutex. */
static void
await_batch(struct pv_journal *journal, int64_t relaxed_until_us)
{
    if (journal->is_failed) {
        pause_until(journal, pv_monotonic_us() + PV_JOURNAL_RETRY_MS * 1000, SIZE_MAX);
        return;
    }
    if (atomic_load(&journal->is_owing)) {
        pause_until(journal, pv_monotonic_us() + PV_JOURNAL_QUIET_MS * 1000, 1);
        return;
    }
    while (!journal->is_closing && !journal->is_due && journal->queue.count == 0)
        (void) pthread_cond_wait(&journal->wake, &journal->mutex);
    if (journal->options.is_relaxed)
        pause_until(journal, relaxed_until_us, PV_JOURNAL_RELAXED_DEPTH);
}

/* The road is held. */
static void
take_queue(struct pv_journal *journal, struct pv_queue *batch)
{
    struct pv_entry *entry;

    pv_queue_init(batch);
    (void) pthread_mutex_lock(&journal->mutex);
    journal->is_urgent = false;
    journal->is_due = false;
    while ((batch->count < PV_JOURNAL_BATCH_MAX || journal->is_failed) &&
           (entry = pv_queue_take(&journal->queue)) != NULL)
        pv_queue_put(batch, entry);
    atomic_store(&journal->depth, journal->queue.count);
    (void) pthread_mutex_unlock(&journal->mutex);
}

/* Takes the road and the next batch, an empty one where it is quiet; false when there is nothing more to come. */
static bool
next_batch(struct pv_journal *journal, struct pv_queue *batch, int64_t relaxed_until_us)
{
    bool is_going;

    (void) pthread_mutex_lock(&journal->mutex);
    await_batch(journal, relaxed_until_us);
    (void) pthread_mutex_unlock(&journal->mutex);
    (void) pthread_mutex_lock(&journal->road);
    take_queue(journal, batch);
    (void) pthread_mutex_lock(&journal->mutex);
    is_going = !journal->is_closing || batch->count > 0 || journal->owed.count > 0;
    (void) pthread_mutex_unlock(&journal->mutex);
    return is_going;
}

/* After the last attempt at closing failed there is nothing left but to say what is not in the log. */
static void
drop_rest(struct pv_journal *journal)
{
    struct pv_entry *entry;
    size_t count = journal->queue.count;

    while ((entry = pv_queue_take(&journal->queue)) != NULL)
        pv_entry_unref(entry);
    if (count > 0)
        pv_log(PV_LOG_ERROR, "%zu outcomes of statements did not reach the query log", count);
}

/* The batch, beside the log or into it; and what is owed, when it is time. */
static void
write_next(struct pv_journal *journal, struct pv_queue *batch)
{
    const char *what = "the file beside it cannot be written";
    enum pv_status status = PV_LIMIT;
    bool is_quiet = batch->count == 0 && (journal->options.is_hasty || journal->is_closing ||
                                          pv_monotonic_us() - journal->newest_us >= PV_JOURNAL_QUIET_MS * 1000);

    if (batch->count == 0)
        status = PV_OK;
    else if (is_for_spill(journal, batch))
        status = spill_batch(journal, batch);
    if (status == PV_LIMIT || (status == PV_OK && (is_quiet || is_owed_due(journal)))) {
        status = write_batch(journal, batch, &what);
        if (status == PV_OK)
            complete_written(batch);
    }
    if (status == PV_OK)
        return;
    pv_queue_prepend(batch, &journal->owed);
    enter_failed(journal, batch, status, what);
}

bool
pv_journal_help(struct pv_journal *journal)
{
    struct pv_queue batch;
    bool is_quick = journal->synced != NULL && journal->owed.count > 0 &&
                    (journal->options.is_hasty || journal->sync_us <= PV_JOURNAL_HELP_US);
    bool is_done;

    /* When it is due the writer is to have the road. */
    if (!is_quick || is_owed_due(journal) || atomic_load(&journal->is_failed_seen))
        return false;
    take_queue(journal, &batch);
    is_done = batch.count == 0 || (is_for_spill(journal, &batch) && spill_batch(journal, &batch) == PV_OK);
    if (is_done && !is_owed_due(journal))
        return true;
    (void) pthread_mutex_lock(&journal->mutex);
    pv_queue_prepend(&journal->queue, &batch);
    journal->is_due = true;
    (void) pthread_mutex_unlock(&journal->mutex);
    (void) pthread_cond_signal(&journal->wake);
    return is_done;
}

/* The road is held. False: it was the last attempt. */
static bool
write_or_recover(struct pv_journal *journal, struct pv_queue *batch)
{
    bool is_last;

    if (!atomic_load(&journal->is_failed_seen)) {
        if (batch->count > 0 || journal->owed.count > 0)
            write_next(journal, batch);
        return true;
    }
    try_recover(journal, batch);
    (void) pthread_mutex_lock(&journal->mutex);
    is_last = journal->is_closing && journal->is_failed;
    (void) pthread_mutex_unlock(&journal->mutex);
    return !is_last;
}

void *
pv_journal_write_all(void *context)
{
    struct pv_journal *journal = context;
    struct pv_queue batch;
    int64_t relaxed_until_us = 0;
    bool is_going = true;

    while (is_going) {
        is_going = next_batch(journal, &batch, relaxed_until_us);
        if (journal->options.is_relaxed)
            relaxed_until_us = pv_monotonic_us() + PV_JOURNAL_RELAXED_MS * 1000;
        is_going = is_going && write_or_recover(journal, &batch);
        (void) pthread_mutex_unlock(&journal->road);
    }
    drop_rest(journal);
    return NULL;
}
