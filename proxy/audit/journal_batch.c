/* What becomes of a batch: rows of the log, a block beside it, or refused. The road is held over each of these. */
#include "proxy/audit/journal_int.h"
#include "proxy/base/log.h"

#include <string.h>

/* ---- The queue ---- */

void
pv_batch_take(struct pv_journal *journal, struct pv_queue *batch)
{
    (void) pthread_mutex_lock(&journal->mutex);
    journal->is_urgent = false;
    journal->is_due = false;
    (void) pthread_mutex_unlock(&journal->mutex);
    pv_backlog_collect(journal);
    pv_backlog_take(journal, batch, atomic_load(&journal->is_failed) ? SIZE_MAX : PV_JOURNAL_BATCH_MAX);
}

void
pv_batch_leave(struct pv_journal *journal, struct pv_queue *batch)
{
    pv_backlog_prepend(journal, batch);
    (void) pthread_mutex_lock(&journal->mutex);
    journal->is_due = true;
    (void) pthread_mutex_unlock(&journal->mutex);
}

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

/* Up to which spilled records of each lane the log will be when `batch` is in it. */
static void
find_newest(struct pv_journal *journal, const struct pv_queue *batch)
{
    for (unsigned i = 0; i < journal->lane_count; i++)
        journal->lanes[i].newest = 0;
    if (journal->synced != NULL)
        journal->lanes[0].newest = pv_spill_number(journal->synced);
    else
        for (const struct pv_entry *entry = batch->first; entry != NULL; entry = entry->next)
            if (entry->spilled > journal->lanes[entry->lane].newest)
                journal->lanes[entry->lane].newest = entry->spilled;
}

static enum pv_status
set_newest(struct pv_journal *journal)
{
    enum pv_status status = PV_OK;

    for (unsigned i = 0; status == PV_OK && i < journal->lane_count; i++)
        if (journal->lanes[i].newest > journal->lanes[i].written)
            status = pv_db_spilled_set(journal->db, i, journal->lanes[i].newest);
    return status;
}

/* Durably, where the file is a synced one: it may be written over now. */
static void
begin_spills_anew(struct pv_journal *journal)
{
    for (unsigned i = 0; i < journal->lane_count; i++) {
        struct pv_lane *lane = &journal->lanes[i];

        if (lane->newest <= lane->written)
            continue;
        lane->written = lane->newest;
        if (journal->synced != NULL) {
            pv_spill_written(journal->synced, lane->newest);
            continue;
        }
        (void) pthread_mutex_lock(lane->mutex);
        pv_spill_written(lane->spill, lane->newest);
        (void) pthread_mutex_unlock(lane->mutex);
    }
}

/* In a transaction that has begun, which it ends. */
static enum pv_status
append_batch(struct pv_journal *journal, const struct pv_queue *batch)
{
    enum pv_status status = PV_OK;

    find_newest(journal, batch);
    for (struct pv_entry *entry = batch->first; entry != NULL && status == PV_OK;) {
        status = pv_db_append_some(journal->db, entry, &entry);
        if (status == PV_INVALID)
            pv_log(PV_LOG_WARNING, "the query log refused a record: %s", journal->db->words);
        if (status == PV_INVALID || status == PV_LIMIT) /* a spent budget is an answer */
            status = PV_OK;
    }
    if (status == PV_OK)
        status = set_newest(journal);
    if (status == PV_OK)
        status = pv_db_commit(journal->db);
    else
        pv_db_rollback(journal->db);
    if (status == PV_OK)
        begin_spills_anew(journal);
    return status;
}

/* Of the share of quick ones, so that a few slow ones among them, as a busy machine has, say nothing of the disk. */
static void
learn(struct pv_pace *pace, int64_t took_us, size_t records)
{
    enum { WEIGHT = 16, RECORD_US = 10 };
    bool was_quick = took_us <= PV_JOURNAL_QUICK_US + RECORD_US * (int64_t) records;

    pace->share += ((was_quick ? PV_PACE_ALL : 0) - pace->share) / WEIGHT;
    if (took_us > PV_JOURNAL_STALL_US)
        pace->share = 0;
    if (pace->share < PV_PACE_ALL / 2)
        pace->is_quick = false;
    else if (pace->share >= PV_PACE_ALL * 3 / 4)
        pace->is_quick = true;
}

enum pv_status
pv_batch_write(struct pv_journal *journal, struct pv_queue *batch, bool is_patient, const char **what)
{
    int64_t began_us = pv_monotonic_us();
    int64_t took_us;
    size_t told = journal->owed.count;
    enum pv_status status = check_place(journal);

    *what = "the file is no longer there";
    if (status == PV_OK) {
        *what = journal->db->words;
        pv_db_patience(journal->db, is_patient);
        status = pv_db_begin(journal->db);
        if (status == PV_BUSY && !is_patient)
            return status;
    }
    pv_queue_prepend(batch, &journal->owed);
    atomic_store(&journal->is_owing, false);
    if (status != PV_OK)
        return status;
    if (journal->options.is_relaxed || told > 0)
        pair_ends(journal, batch);
    status = append_batch(journal, batch);
    if (status != PV_OK)
        return status == PV_BUSY ? PV_IO : status;
    took_us = pv_monotonic_us() - began_us;
    if (told == 0)
        learn(&journal->commits, took_us, batch->count);
    journal->seen = journal->db->committed;
    pv_journal_delay_learn(journal, batch, told);
    if (batch->count > told)
        count_flush(journal, (uint64_t) took_us, batch->count - told);
    return PV_OK;
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
    struct pv_spill_options options = {.is_synced = true};
    char error[256];
    enum pv_status status = PV_OK;

    if (journal->synced != NULL || journal->is_spill_refused)
        return journal->synced != NULL;
    status = pv_db_spilled(journal->db->sqlite, 0, &options.number);
    journal->lanes[0].written = options.number;
    if (status == PV_OK)
        status = pv_spill_open(journal->path, &options, &journal->synced, error, sizeof(error));
    else
        pv_db_error(error, sizeof(error), "%s", pv_db_reason(journal->db->sqlite, status));
    if (status != PV_OK) {
        journal->is_spill_refused = true;
        pv_log(PV_LOG_WARNING, "a strict log under load takes more work than it need: %s", error);
    }
    return status == PV_OK;
}

bool
pv_batch_is_for_spill(struct pv_journal *journal, const struct pv_queue *batch)
{
    return journal->options.is_serving && journal->options.write_behind_ms > 0 && batch->count > 0 &&
           is_under_load(journal, batch->count) && !has_takes(batch) && has_synced(journal);
}

enum pv_status
pv_batch_spill(struct pv_journal *journal, struct pv_queue *batch)
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
    learn(&journal->syncs, took_us, count);
    pv_journal_delay_learn(journal, batch, 0);
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

bool
pv_journal_is_owed_due(const struct pv_journal *journal)
{
    return journal->owed.count >= PV_JOURNAL_OWED_MAX ||
           (journal->owed.count > 0 &&
            pv_monotonic_us() - journal->owed_since_us >= (int64_t) journal->options.write_behind_ms * 1000);
}

void
pv_batch_complete(struct pv_queue *batch)
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

void
pv_batch_fail(struct pv_journal *journal, struct pv_queue *batch, enum pv_status status, const char *what)
{
    struct pv_queue kept, late;

    pv_queue_prepend(batch, &journal->owed);
    atomic_store(&journal->is_owing, false);
    (void) atomic_fetch_add(&journal->failures, 1);
    pv_queue_init(&kept);
    complete_failed(batch, &kept);
    if (!journal->is_failed) {
        journal->failed_us = pv_record_now_us();
        pv_log(PV_LOG_ERROR, "the query log cannot be written (%s: %s); statements are refused until it can",
               pv_status_words(status), what);
        journal->is_failed = true;
        /* What was queued meanwhile shares the fate, at once rather than at the next attempt. */
        pv_backlog_collect(journal);
        pv_backlog_take(journal, &late, SIZE_MAX);
        complete_failed(&late, &kept);
    }
    pv_backlog_prepend(journal, &kept);
}
