/* The writer's thread: when there is a batch, and a log that cannot be written. */
#include "proxy/audit/journal_int.h"
#include "proxy/base/log.h"

#include <errno.h>
#include <stdio.h>

static enum pv_status
reopen(struct pv_journal *journal, char *error, size_t error_size)
{
    const struct pv_db_options options = {
        .is_relaxed = journal->options.is_relaxed, .leaves_checkpoints = true, .busy_ms = journal->options.busy_ms};
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
        status = pv_batch_write(journal, batch, true, &what);
    }
    if (status != PV_OK) {
        pv_batch_fail(journal, batch, status, what);
        return;
    }
    pv_batch_complete(batch);
    (void) pthread_mutex_lock(&journal->mutex);
    journal->is_failed = false;
    (void) pthread_mutex_unlock(&journal->mutex);
    pv_log(PV_LOG_INFO, "the query log can be written again");
}

/* ---- The writer's thread ---- */

/* Waits until `us` or until somebody closes; in a relaxed pause also until the queue is deep. Holds the mutex. */
static void
pause_until(struct pv_journal *journal, int64_t until_us, size_t depth)
{
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = (long) (until_us % 1000000) * 1000};

    while (!journal->is_closing && !journal->is_due && pv_journal_depth(journal) < depth &&
           (!journal->is_urgent || journal->is_failed))
        if (pthread_cond_timedwait(&journal->wake, &journal->mutex, &until) == ETIMEDOUT)
            return;
}

/* Holds the mutex. */
static void
await_batch(struct pv_journal *journal, int64_t relaxed_until_us)
{
    /* Other threads' batches may have failed, or have left something owed. */
    while (!journal->is_closing && !journal->is_due && pv_journal_depth(journal) == 0 && !journal->is_failed &&
           !atomic_load(&journal->is_owing))
        (void) pthread_cond_wait(&journal->wake, &journal->mutex);
    if (journal->is_failed)
        pause_until(journal, pv_monotonic_us() + PV_JOURNAL_RETRY_MS * 1000, SIZE_MAX);
    else if (atomic_load(&journal->is_owing))
        pause_until(journal, pv_monotonic_us() + PV_JOURNAL_QUIET_MS * 1000, 1);
    else if (journal->options.is_relaxed)
        pause_until(journal, relaxed_until_us, PV_JOURNAL_RELAXED_DEPTH);
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
    pv_batch_take(journal, batch);
    (void) pthread_mutex_lock(&journal->mutex);
    is_going = !journal->is_closing || batch->count > 0 || journal->owed.count > 0;
    (void) pthread_mutex_unlock(&journal->mutex);
    return is_going;
}

/* After the last attempt at closing failed there is nothing left but to say what is not in the log. */
static void
drop_rest(struct pv_journal *journal)
{
    struct pv_queue rest;
    struct pv_entry *entry;
    size_t count;

    pv_backlog_collect(journal);
    pv_backlog_take(journal, &rest, SIZE_MAX);
    count = rest.count;
    while ((entry = pv_queue_take(&rest)) != NULL)
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
    else if (pv_batch_is_for_spill(journal, batch))
        status = pv_batch_spill(journal, batch);
    if (status == PV_LIMIT || (status == PV_OK && (is_quiet || pv_journal_is_owed_due(journal)))) {
        status = pv_batch_write(journal, batch, true, &what);
        if (status == PV_OK)
            pv_batch_complete(batch);
    }
    if (status == PV_OK)
        return;
    pv_batch_fail(journal, batch, status, what);
}

/* The road is held. False: it was the last attempt. */
static bool
write_or_recover(struct pv_journal *journal, struct pv_queue *batch)
{
    bool is_last;

    if (!atomic_load(&journal->is_failed)) {
        if (batch->count > 0 || journal->owed.count > 0)
            write_next(journal, batch);
        /* When nobody waits for it any more. */
        if (!atomic_load(&journal->is_failed) && pv_db_is_checkpoint_due(journal->db))
            pv_db_checkpoint(journal->db);
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
