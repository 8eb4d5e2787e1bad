/* Putting, opening and closing; what must hold stands in journal_int.h. */
#include "proxy/audit/journal_int.h"
#include "proxy/base/limits.h"
#include "proxy/base/log.h"

#include <signal.h>
#include <string.h>

/* ---- Putting ---- */

struct waiter {
    struct pv_journal_port *port;
    void *cookie;
};

/* The lane's mutex is held. PV_IO of a log that fails: refused, or, where it is_kept, in the queue all the same. */
static enum pv_status
enqueue(struct pv_journal *journal, struct pv_lane *lane, struct pv_entry *entry, const struct waiter *waiter)
{
    bool is_failed = atomic_load_explicit(&journal->is_failed, memory_order_relaxed);

    if (is_failed && !entry->is_kept)
        return PV_IO;
    if (!pv_lane_take_room(journal, lane, entry)) {
        if (is_failed)
            (void) atomic_fetch_add(&journal->dropped, 1);
        return is_failed ? PV_IO : PV_LIMIT;
    }
    entry->lane = (uint8_t) (lane - journal->lanes);
    /* A statement that nobody waits for goes on as soon as this returns: a killed process must not have lost it. */
    if (lane->spill != NULL && waiter == NULL) {
        enum pv_status status = pv_spill_put(lane->spill, entry);

        if (status != PV_OK && !entry->is_kept)
            return status;
    }
    /* Where nobody waits for the disk, what was accepted is owed to the log. */
    entry->is_kept = entry->is_kept || (journal->options.is_relaxed && waiter == NULL);
    if (!is_failed && waiter != NULL) {
        entry->port = waiter->port;
        entry->cookie = waiter->cookie;
        entry->ticket = atomic_fetch_add_explicit(&journal->ticket, 1, memory_order_relaxed) + 1;
    }
    pv_queue_put(&lane->queue, entry);
    atomic_store_explicit(&lane->count, lane->queue.count, memory_order_relaxed);
    return is_failed ? PV_IO : PV_OK;
}

/* Tells the writer that there is something, or that somebody waits. It may be about to sleep, having seen what was
 * before. */
static void
note(struct pv_journal *journal, const struct pv_lane *lane, struct pv_journal_port *port, bool is_urgent)
{
    bool is_held = port != NULL && port->is_held;

    if (lane->mutex != &journal->mutex && (is_urgent || !is_held)) {
        (void) pthread_mutex_lock(&journal->mutex);
        journal->is_urgent = journal->is_urgent || is_urgent;
        (void) pthread_mutex_unlock(&journal->mutex);
    }
    if (is_held)
        port->is_kick_owed = true;
    else
        (void) pthread_cond_signal(&journal->wake);
}

enum pv_status
pv_journal_put(struct pv_journal *journal, const struct pv_record *record, struct pv_journal_port *port, void *cookie,
               uint64_t *ticket)
{
    struct pv_lane *lane = pv_lane_of(journal, port);
    const struct waiter waiter = {port, cookie};
    struct pv_entry *entry = NULL;
    enum pv_status status = pv_entry_new(port != NULL && port->is_held ? &port->room : NULL, record, &entry);
    size_t count;
    bool is_awaited, is_queued;

    if (status != PV_OK)
        return status;
    is_awaited = port != NULL && (!journal->options.is_relaxed || entry->take_count > 0);
    (void) pthread_mutex_lock(lane->mutex);
    pv_assert(!atomic_load_explicit(&journal->is_closing, memory_order_relaxed));
    count = lane->queue.count;
    status = enqueue(journal, lane, entry, is_awaited ? &waiter : NULL);
    is_queued = lane->queue.count > count;
    count = lane->queue.count;
    if (status == PV_OK)
        *ticket = entry->ticket;
    if (is_queued && is_awaited && lane->mutex == &journal->mutex)
        journal->is_urgent = true;
    (void) pthread_mutex_unlock(lane->mutex);
    if (status == PV_OK && port != NULL && record->kind == PV_RECORD_BEGIN)
        port->begin_count++;
    /* The writer sleeps only with empty queues or in a pause of its own. */
    if (is_queued && (count == 1 || count % journal->lane_depth == 0 || (journal->options.is_relaxed && is_awaited)))
        note(journal, lane, port, is_awaited);
    if (!is_queued)
        pv_entry_unref(entry);
    return status;
}

void
pv_journal_port_hold(struct pv_journal_port *port, unsigned thread)
{
    port->is_held = true;
    port->lane = thread;
}

/* ---- Opening and closing ---- */

static enum pv_status
recover(const char *path, struct pv_db *db)
{
    uint64_t count = 0;
    enum pv_status status = pv_spill_is_there(path) ? pv_db_begin(db) : PV_NOTFOUND;

    if (status == PV_NOTFOUND)
        return PV_OK;
    if (status == PV_OK)
        status = pv_spill_recover(path, db, &count);
    if (status == PV_OK)
        status = pv_db_commit(db);
    else
        pv_db_rollback(db);
    if (status == PV_OK)
        pv_spill_remove(path);
    if (status == PV_OK && count > 0)
        pv_log(PV_LOG_WARNING, "%llu records of an earlier life that ended before it wrote them are in the log now",
               (unsigned long long) count);
    return status;
}

static enum pv_status
sweep_lost(struct pv_journal *journal)
{
    uint64_t lost = 0;
    enum pv_status status = recover(journal->path, journal->db);

    if (status == PV_OK)
        status = pv_db_begin(journal->db);
    if (status == PV_OK)
        status = pv_db_sweep_lost(journal->db, &lost);
    if (status == PV_OK)
        status = pv_db_commit(journal->db);
    else
        pv_db_rollback(journal->db);
    if (status == PV_OK && lost > 0)
        pv_log(PV_LOG_WARNING, "%llu statements of an earlier life have no end; marked as lost",
               (unsigned long long) lost);
    return status;
}

static enum pv_status
start_thread(struct pv_journal *journal)
{
    sigset_t all, before;
    int failure;

    /* Signals belong to the main thread. */
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    failure = pthread_create(&journal->thread, NULL, pv_journal_write_all, journal);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure == 0 ? PV_OK : PV_NOMEM;
}

static void
destroy(struct pv_journal *journal)
{
    pv_db_close(journal->db);
    pv_lanes_close(journal);
    pv_spill_close(journal->synced);
    pv_free(journal->pairs);
    pv_lock_release(journal->lock_fd);
    (void) pthread_cond_destroy(&journal->wake);
    (void) pthread_mutex_destroy(&journal->mutex);
    (void) pthread_mutex_destroy(&journal->road);
    pv_free(journal->path);
    pv_free(journal);
}

static enum pv_status
set_up(struct pv_journal *journal, char *error, size_t error_size)
{
    const struct pv_db_options options = {.is_creating = true,
                                          .is_relaxed = journal->options.is_relaxed,
                                          .leaves_checkpoints = true,
                                          .busy_ms = journal->options.busy_ms};
    uint64_t id = 0;
    enum pv_status status = PV_OK;

    if (journal->options.is_serving)
        status = pv_lock_take(journal->path, &journal->lock_fd, error, error_size);
    if (status == PV_OK)
        status = pv_db_open(journal->path, &options, &journal->db, error, error_size);
    if (status != PV_OK)
        return status;
    if (journal->options.is_serving)
        status = sweep_lost(journal);
    if (status == PV_OK) {
        status = pv_lanes_open(journal, error, error_size);
        if (status != PV_OK)
            return status; /* with words of its own */
    }
    if (status == PV_OK)
        status = pv_db_id_max(journal->db, &id);
    if (status == PV_OK) {
        pv_statement_id_raise(id);
        journal->seen = journal->db->committed;
        status = start_thread(journal);
    }
    if (status != PV_OK)
        pv_db_error(error, error_size, "cannot write the query log %s: %s", journal->path,
                    pv_db_reason(journal->db->sqlite, status));
    return status;
}

enum pv_status
pv_journal_open(const char *path, const struct pv_journal_options *options, struct pv_journal **journal, char *error,
                size_t error_size)
{
    struct pv_journal *made = pv_calloc(1, sizeof(*made));
    pthread_condattr_t attributes;
    pthread_mutexattr_t short_held;
    enum pv_status status;

    pv_db_error(error, error_size, "%s", "");
    if (made == NULL) {
        pv_db_error(error, error_size, "%s", pv_status_words(PV_NOMEM));
        return PV_NOMEM;
    }
    made->lock_fd = -1;
    made->options = *options;
    made->checked_us = pv_monotonic_us();
    pv_journal_delay_set(made, options->delay_us, options->siblings);
    /* What is beside the log is written by the loops' threads until it is slow, the log itself when it was quick. */
    made->syncs = (struct pv_pace){PV_PACE_ALL, true};
    pv_queue_init(&made->backlog);
    pv_queue_init(&made->owed);
    /* Held for a few hundred instructions by those who put: to wait for it is to spin, not to sleep. */
    (void) pthread_mutexattr_init(&short_held);
    (void) pthread_mutexattr_settype(&short_held, PTHREAD_MUTEX_ADAPTIVE_NP);
    (void) pthread_mutex_init(&made->mutex, &short_held);
    (void) pthread_mutexattr_destroy(&short_held);
    (void) pthread_mutex_init(&made->road, NULL);
    (void) pthread_condattr_init(&attributes);
    (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&made->wake, &attributes);
    (void) pthread_condattr_destroy(&attributes);
    made->path = pv_strdup(path);
    if (made->path == NULL) {
        status = PV_NOMEM;
        pv_db_error(error, error_size, "%s", pv_status_words(PV_NOMEM));
    } else
        status = set_up(made, error, error_size);
    if (status != PV_OK) {
        destroy(made);
        return status;
    }
    *journal = made;
    return PV_OK;
}

void
pv_journal_close(struct pv_journal *journal)
{
    if (journal == NULL)
        return;
    (void) pthread_mutex_lock(&journal->mutex);
    journal->is_closing = true;
    (void) pthread_mutex_unlock(&journal->mutex);
    (void) pthread_cond_signal(&journal->wake);
    (void) pthread_join(journal->thread, NULL);
    destroy(journal);
}

void
pv_journal_stats(const struct pv_journal *journal, struct pv_journal_stats *stats)
{
    stats->records = atomic_load(&journal->records);
    stats->batches = atomic_load(&journal->batches);
    stats->failures = atomic_load(&journal->failures);
    stats->dropped = atomic_load(&journal->dropped);
    stats->flush_us_sum = atomic_load(&journal->flush_us_sum);
    stats->queue_depth = pv_journal_depth(journal);
    stats->is_failed = atomic_load(&journal->is_failed);
    for (size_t i = 0; i < PV_JOURNAL_BUCKET_COUNT; i++)
        stats->flush_buckets[i] = atomic_load(&journal->flush_buckets[i]);
}

void
pv_journal_recover(const char *path)
{
    const struct pv_db_options options = {.is_creating = false};
    struct pv_db *db = NULL;
    int lock_fd = -1;

    if (!pv_spill_is_there(path) || pv_lock_take(path, &lock_fd, NULL, 0) != PV_OK)
        return;
    if (pv_db_open(path, &options, &db, NULL, 0) == PV_OK && recover(path, db) != PV_OK)
        pv_log(PV_LOG_WARNING, "records beside %s could not be written into it: %s", path, db->words);
    pv_db_close(db);
    pv_lock_release(lock_fd);
}

static enum pv_status
append_alone(struct pv_db *db, struct pv_entry *entry)
{
    enum pv_status status = pv_db_begin(db);

    if (status != PV_OK)
        return status;
    status = pv_db_append(db, entry);
    if (status == PV_OK)
        return pv_db_commit(db);
    pv_db_rollback(db);
    return status;
}

enum pv_status
pv_journal_append_once(const char *path, const struct pv_record *record, char *error, size_t error_size)
{
    const struct pv_db_options options = {.is_creating = true};
    struct pv_entry *entry = NULL;
    struct pv_db *db = NULL;
    enum pv_status status = pv_entry_new(NULL, record, &entry);

    pv_db_error(error, error_size, "%s", status == PV_OK ? "" : pv_status_words(status));
    if (status == PV_OK)
        status = pv_db_open(path, &options, &db, error, error_size);
    if (status == PV_OK) {
        status = append_alone(db, entry);
        if (status != PV_OK)
            pv_db_error(error, error_size, "cannot write the query log %s: %s", path, db->words);
    }
    pv_db_close(db);
    pv_entry_unref(entry);
    return status;
}
