/*
 * Invariants:
 * 1. The queue holds records in the order of their puts, and tickets grow along it; each ticket
 *    completes once, in that order (tickets of one port among themselves).
 * 2. A ticket completes with PV_OK only after the transaction with its record was committed.
 * 3. While is_failed, nothing enters the queue but what will be written later whatever its caller was told.
 * 4. `db` belongs to the writer's thread once that runs.
 * 5. Lock order: the journal's, then a port's; neither is held over a call into SQLite or a notify.
 */
#include "proxy/audit/db_int.h"
#include "proxy/audit/spill.h"
#include "proxy/base/limits.h"
#include "proxy/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Pause between two attempts while the log is failing. */
#define RETRY_MS 250u
/* Longest that a relaxed record stays out of its transaction. */
#define RELAXED_MS 200u
/* Records of one transaction: bounds how long the first of them waits for the last. */
#define BATCH_MAX 4096u
/* Queued records that end a relaxed pause early. */
#define RELAXED_DEPTH 2048u

struct queue {
    struct pv_entry *first;
    struct pv_entry **last; /* where the next one goes */
    size_t count;
    size_t bytes;
};

struct pv_journal {
    char *path;
    struct pv_journal_options options;
    int lock_fd;
    struct pv_db *db;
    struct pv_spill *spill; /* relaxed: what is queued survives the process; under the mutex */
    struct pv_db_head seen; /* carried over when the file is opened anew */
    pthread_t thread;
    int64_t failed_us; /* when the log began to fail; writer's own */
    int64_t checked_us;
    struct pv_entry **pairs; /* begins of a batch by id, an open table; writer's own */
    size_t pair_size;

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct queue queue;
    uint64_t ticket;
    bool is_failed;
    bool is_urgent; /* somebody waits for what is queued: no relaxed pause */
    bool is_closing;

    _Atomic uint64_t records, batches, failures, dropped, flush_us_sum, depth;
    _Atomic uint64_t flush_buckets[PV_JOURNAL_BUCKET_COUNT];
    _Atomic bool is_failed_seen;
};

struct pv_journal_port {
    pthread_mutex_t mutex;
    struct pv_entry *first;
    struct pv_entry **last;
    void (*notify)(void *context);
    void *context;
};

static int64_t
monotonic_us(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- Queue ---- */

static void
queue_init(struct queue *queue)
{
    *queue = (struct queue){0};
    queue->last = &queue->first;
}

static void
queue_put(struct queue *queue, struct pv_entry *entry)
{
    entry->next = NULL;
    *queue->last = entry;
    queue->last = &entry->next;
    queue->count++;
    queue->bytes += entry->size;
}

static struct pv_entry *
queue_take(struct queue *queue)
{
    struct pv_entry *entry = queue->first;

    if (entry == NULL)
        return NULL;
    queue->first = entry->next;
    if (queue->first == NULL)
        queue->last = &queue->first;
    queue->count--;
    queue->bytes -= entry->size;
    return entry;
}

/* Moves all of `front` before what `queue` holds. */
static void
queue_prepend(struct queue *queue, struct queue *front)
{
    struct pv_entry *entry;

    while ((entry = queue_take(queue)) != NULL)
        queue_put(front, entry);
    while ((entry = queue_take(front)) != NULL)
        queue_put(queue, entry);
}

/* ---- Ports ---- */

struct pv_journal_port *
pv_journal_port_new(void (*notify)(void *context), void *context)
{
    struct pv_journal_port *port = pv_calloc(1, sizeof(*port));

    if (port == NULL)
        return NULL;
    (void) pthread_mutex_init(&port->mutex, NULL);
    port->last = &port->first;
    port->notify = notify;
    port->context = context;
    return port;
}

void
pv_journal_port_free(struct pv_journal_port *port)
{
    if (port == NULL)
        return;
    while (port->first != NULL) {
        struct pv_entry *next = port->first->port_next;

        pv_entry_unref(port->first);
        port->first = next;
    }
    (void) pthread_mutex_destroy(&port->mutex);
    pv_free(port);
}

/* Gives the port one reference. */
static void
complete(struct pv_entry *entry, enum pv_status status)
{
    struct pv_journal_port *port = entry->port;
    bool was_empty;

    if (port == NULL)
        return;
    entry->port = NULL;
    entry->done_status = status;
    entry->port_next = NULL;
    (void) atomic_fetch_add(&entry->refs, 1);
    (void) pthread_mutex_lock(&port->mutex);
    was_empty = port->first == NULL;
    *port->last = entry;
    port->last = &entry->port_next;
    (void) pthread_mutex_unlock(&port->mutex);
    if (was_empty && port->notify != NULL)
        port->notify(port->context);
}

size_t
pv_journal_port_take(struct pv_journal_port *port, struct pv_journal_done *done, size_t max)
{
    struct pv_entry *taken;
    struct pv_entry *entry;
    size_t count = 0;

    (void) pthread_mutex_lock(&port->mutex);
    taken = port->first;
    for (entry = taken; entry != NULL && count < max; entry = entry->port_next) {
        done[count] = (struct pv_journal_done){entry->cookie, entry->ticket, entry->done_status, entry->spent};
        count++;
    }
    port->first = entry;
    if (entry == NULL)
        port->last = &port->first;
    (void) pthread_mutex_unlock(&port->mutex);
    for (size_t i = 0; i < count; i++) {
        struct pv_entry *next = taken->port_next;

        pv_entry_unref(taken);
        taken = next;
    }
    return count;
}

/* ---- Putting ---- */

/*
 * Whether there is room. An end finds room where a begin does not: ends are small, there is at most one for each
 * statement that was let through, and a log without them is not whole.
 */
static bool
has_room(const struct pv_journal *journal, const struct pv_entry *entry)
{
    size_t share = entry->is_kept ? 2 : 1;

    return journal->queue.count < share * PV_AUDIT_QUEUE_MAX &&
           journal->queue.bytes + entry->size <= share * PV_AUDIT_QUEUE_BYTES_MAX;
}

static enum pv_status
enqueue(struct pv_journal *journal, struct pv_entry *entry, struct pv_journal_port *port, void *cookie,
        uint64_t *ticket)
{
    bool is_awaited = port != NULL && (!journal->options.is_relaxed || entry->take_count > 0);

    if (journal->is_failed && !entry->is_kept)
        return PV_IO;
    if (!has_room(journal, entry)) {
        if (journal->is_failed)
            (void) atomic_fetch_add(&journal->dropped, 1);
        return journal->is_failed ? PV_IO : PV_LIMIT;
    }
    /* A statement that nobody waits for goes on as soon as this returns: a killed process must not have lost it. */
    if (journal->spill != NULL && !is_awaited) {
        enum pv_status status = pv_spill_put(journal->spill, entry);

        if (status != PV_OK && !entry->is_kept)
            return status;
    }
    /* Where nobody waits for the disk, what was accepted is owed to the log. */
    entry->is_kept = entry->is_kept || (journal->options.is_relaxed && !is_awaited);
    if (!journal->is_failed) {
        if (is_awaited) {
            entry->port = port;
            entry->cookie = cookie;
            entry->ticket = ++journal->ticket;
        }
        *ticket = entry->ticket;
    }
    if (is_awaited)
        journal->is_urgent = true;
    queue_put(&journal->queue, entry);
    atomic_store_explicit(&journal->depth, journal->queue.count, memory_order_relaxed);
    return PV_OK;
}

enum pv_status
pv_journal_put(struct pv_journal *journal, const struct pv_record *record, struct pv_journal_port *port, void *cookie,
               uint64_t *ticket)
{
    struct pv_entry *entry = NULL;
    enum pv_status status = pv_entry_new(record, &entry);
    bool is_failed, is_waking;

    if (status != PV_OK)
        return status;
    (void) pthread_mutex_lock(&journal->mutex);
    pv_assert(!journal->is_closing);
    status = enqueue(journal, entry, port, cookie, ticket);
    is_failed = journal->is_failed;
    /* The writer sleeps only with an empty queue or in a pause of its own. */
    is_waking = status == PV_OK && (journal->queue.count == 1 || journal->queue.count == RELAXED_DEPTH ||
                                    (journal->options.is_relaxed && journal->is_urgent));
    (void) pthread_mutex_unlock(&journal->mutex);
    if (is_waking)
        (void) pthread_cond_signal(&journal->wake);
    if (status != PV_OK)
        pv_entry_unref(entry);
    return status == PV_OK && is_failed ? PV_IO : status;
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
    int64_t now_us = monotonic_us();

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
pair_ends(struct pv_journal *journal, const struct queue *batch)
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
newest_spilled(const struct queue *batch)
{
    uint64_t newest = 0;

    for (const struct pv_entry *entry = batch->first; entry != NULL; entry = entry->next)
        if (entry->spilled > newest)
            newest = entry->spilled;
    return newest;
}

/* One transaction. Refused records keep their status for their tickets. */
static enum pv_status
write_batch(struct pv_journal *journal, const struct queue *batch, const char **what)
{
    int64_t began_us = monotonic_us();
    uint64_t spilled;
    enum pv_status status = check_place(journal);

    *what = "the file is no longer there";
    if (status != PV_OK)
        return status;
    *what = journal->db->words;
    status = pv_db_begin(journal->db);
    if (status != PV_OK)
        return status;
    if (journal->options.is_relaxed)
        pair_ends(journal, batch);
    for (struct pv_entry *entry = batch->first; entry != NULL && status == PV_OK; entry = entry->next) {
        entry->status = pv_db_append(journal->db, entry);
        if (entry->status == PV_INVALID)
            pv_log(PV_LOG_WARNING, "the query log refused a record: %s", journal->db->words);
        else if (entry->status != PV_LIMIT) /* a spent budget is an answer */
            status = entry->status;
    }
    spilled = newest_spilled(batch);
    if (status == PV_OK && spilled > 0)
        status = pv_db_spilled_set(journal->db, spilled);
    if (status == PV_OK)
        status = pv_db_commit(journal->db);
    else
        pv_db_rollback(journal->db);
    if (status == PV_OK && spilled > 0) {
        (void) pthread_mutex_lock(&journal->mutex);
        pv_spill_written(journal->spill, spilled);
        (void) pthread_mutex_unlock(&journal->mutex);
    }
    if (status == PV_OK) {
        journal->seen = journal->db->committed;
        count_flush(journal, (uint64_t) (monotonic_us() - began_us), batch->count);
    }
    return status;
}

static void
complete_written(struct queue *batch)
{
    struct pv_entry *entry;

    while ((entry = queue_take(batch)) != NULL) {
        complete(entry, entry->status);
        pv_entry_unref(entry);
    }
}

/* Tells everybody who waits, drops what they will not run, and keeps what is owed. */
static void
complete_failed(struct queue *batch, struct queue *kept)
{
    struct pv_entry *entry;

    while ((entry = queue_take(batch)) != NULL) {
        complete(entry, PV_IO);
        if (entry->is_kept)
            queue_put(kept, entry);
        else
            pv_entry_unref(entry);
    }
}

static void
enter_failed(struct pv_journal *journal, struct queue *batch, enum pv_status status, const char *what)
{
    struct queue kept, late;

    (void) atomic_fetch_add(&journal->failures, 1);
    queue_init(&kept);
    queue_init(&late);
    complete_failed(batch, &kept);
    (void) pthread_mutex_lock(&journal->mutex);
    if (!journal->is_failed) {
        journal->failed_us = pv_record_now_us();
        pv_log(PV_LOG_ERROR, "the query log cannot be written (%s: %s); statements are refused until it can",
               pv_status_words(status), what);
        /* What was queued meanwhile shares the fate, at once rather than at the next attempt. */
        queue_prepend(&late, &journal->queue);
    }
    journal->is_failed = true;
    atomic_store(&journal->is_failed_seen, true);
    (void) pthread_mutex_unlock(&journal->mutex);
    complete_failed(&late, &kept);
    (void) pthread_mutex_lock(&journal->mutex);
    queue_prepend(&journal->queue, &kept);
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
    return pv_entry_new(&record, entry);
}

/* An attempt to write again: what was kept, and an event that says so, which also proves that the disk takes bytes. */
static void
try_recover(struct pv_journal *journal, struct queue *batch)
{
    char error[256] = "";
    const char *what = error;
    struct pv_entry *event = NULL;
    enum pv_status status = reopen(journal, error, sizeof(error));

    if (status == PV_OK)
        status = recovery_event(journal, &event);
    if (status == PV_OK) {
        queue_put(batch, event);
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

    while (!journal->is_closing && journal->queue.count < depth && (!journal->is_urgent || journal->is_failed))
        if (pthread_cond_timedwait(&journal->wake, &journal->mutex, &until) == ETIMEDOUT)
            return;
}

/* Takes the next batch; false when there is nothing more to come. */
static bool
next_batch(struct pv_journal *journal, struct queue *batch, int64_t relaxed_until_us)
{
    struct pv_entry *entry;
    bool is_going;

    queue_init(batch);
    (void) pthread_mutex_lock(&journal->mutex);
    if (journal->is_failed)
        pause_until(journal, monotonic_us() + RETRY_MS * 1000, SIZE_MAX);
    else {
        while (!journal->is_closing && journal->queue.count == 0)
            (void) pthread_cond_wait(&journal->wake, &journal->mutex);
        if (journal->options.is_relaxed)
            pause_until(journal, relaxed_until_us, RELAXED_DEPTH);
    }
    journal->is_urgent = false;
    is_going = !journal->is_closing || journal->queue.count > 0;
    while ((batch->count < BATCH_MAX || journal->is_failed) && (entry = queue_take(&journal->queue)) != NULL)
        queue_put(batch, entry);
    atomic_store(&journal->depth, journal->queue.count);
    (void) pthread_mutex_unlock(&journal->mutex);
    return is_going;
}

/* After the last attempt at closing failed there is nothing left but to say what is not in the log. */
static void
drop_rest(struct pv_journal *journal)
{
    struct pv_entry *entry;
    size_t count = journal->queue.count;

    while ((entry = queue_take(&journal->queue)) != NULL)
        pv_entry_unref(entry);
    if (count > 0)
        pv_log(PV_LOG_ERROR, "%zu outcomes of statements did not reach the query log", count);
}

static void *
write_all(void *context)
{
    struct pv_journal *journal = context;
    struct queue batch;
    int64_t relaxed_until_us = 0;

    while (next_batch(journal, &batch, relaxed_until_us)) {
        const char *what = "";
        enum pv_status status;
        bool was_failed = atomic_load(&journal->is_failed_seen);

        relaxed_until_us = monotonic_us() + RELAXED_MS * 1000;
        if (was_failed) {
            bool is_last;

            try_recover(journal, &batch);
            (void) pthread_mutex_lock(&journal->mutex);
            is_last = journal->is_closing && journal->is_failed;
            (void) pthread_mutex_unlock(&journal->mutex);
            if (is_last)
                break;
            continue;
        }
        status = write_batch(journal, &batch, &what);
        if (status == PV_OK)
            complete_written(&batch);
        else
            enter_failed(journal, &batch, status, what);
    }
    drop_rest(journal);
    return NULL;
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
open_spill(struct pv_journal *journal, char *error, size_t error_size)
{
    uint64_t number = 0;
    enum pv_status status = pv_db_spilled(journal->db, &number);

    return status == PV_OK ? pv_spill_open(journal->path, number, &journal->spill, error, error_size) : status;
}

static enum pv_status
start_thread(struct pv_journal *journal)
{
    sigset_t all, before;
    int failure;

    /* Signals belong to the main thread. */
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    failure = pthread_create(&journal->thread, NULL, write_all, journal);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure == 0 ? PV_OK : PV_NOMEM;
}

static void
destroy(struct pv_journal *journal)
{
    pv_db_close(journal->db);
    pv_spill_close(journal->spill);
    pv_free(journal->pairs);
    pv_lock_release(journal->lock_fd);
    (void) pthread_cond_destroy(&journal->wake);
    (void) pthread_mutex_destroy(&journal->mutex);
    pv_free(journal->path);
    pv_free(journal);
}

static enum pv_status
set_up(struct pv_journal *journal, char *error, size_t error_size)
{
    const struct pv_db_options options = {
        .is_creating = true, .is_relaxed = journal->options.is_relaxed, .busy_ms = journal->options.busy_ms};
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
    if (status == PV_OK && journal->options.is_serving && journal->options.is_relaxed) {
        status = open_spill(journal, error, error_size);
        if (status == PV_IO)
            return status;
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
                    sqlite3_errmsg(journal->db->sqlite));
    return status;
}

enum pv_status
pv_journal_open(const char *path, const struct pv_journal_options *options, struct pv_journal **journal, char *error,
                size_t error_size)
{
    struct pv_journal *made = pv_calloc(1, sizeof(*made));
    pthread_condattr_t attributes;
    enum pv_status status;

    pv_db_error(error, error_size, "%s", "");
    if (made == NULL) {
        pv_db_error(error, error_size, "%s", pv_status_words(PV_NOMEM));
        return PV_NOMEM;
    }
    made->lock_fd = -1;
    made->options = *options;
    made->checked_us = monotonic_us();
    queue_init(&made->queue);
    (void) pthread_mutex_init(&made->mutex, NULL);
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
    stats->queue_depth = atomic_load(&journal->depth);
    stats->is_failed = atomic_load(&journal->is_failed_seen);
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
    enum pv_status status = pv_entry_new(record, &entry);

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
