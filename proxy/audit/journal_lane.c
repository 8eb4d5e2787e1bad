/* Where records wait, each thread's apart, and how they become one order. */
#include "proxy/audit/journal_int.h"
#include "proxy/base/limits.h"

/* ---- Opening and closing ---- */

static enum pv_status
open_spill(struct pv_journal *journal, unsigned index, char *error, size_t error_size)
{
    struct pv_spill_options options = {.lane = index};
    enum pv_status status = pv_db_spilled(journal->db->sqlite, index, &options.number);

    journal->lanes[index].written = options.number;
    if (status == PV_OK)
        return pv_spill_open(journal->path, &options, &journal->lanes[index].spill, error, error_size);
    pv_db_error(error, error_size, "cannot read the query log %s: %s", journal->path,
                pv_db_reason(journal->db->sqlite, status));
    return status;
}

enum pv_status
pv_lanes_open(struct pv_journal *journal, char *error, size_t error_size)
{
    const struct pv_journal_options *options = &journal->options;
    unsigned own = !options->is_relaxed                          ? 0
                   : options->threads < PV_SPILL_LANES_MAX ? options->threads
                                                                 : PV_SPILL_LANES_MAX - 1;
    enum pv_status status = PV_OK;

    journal->lanes = pv_calloc(1 + own, sizeof(journal->lanes[0]));
    if (journal->lanes == NULL) {
        pv_db_error(error, error_size, "%s", pv_status_words(PV_NOMEM));
        return PV_NOMEM;
    }
    journal->lane_count = 1 + own;
    journal->lane_depth = PV_JOURNAL_RELAXED_DEPTH / (own == 0 ? 1 : own);
    for (unsigned i = 0; i < journal->lane_count; i++) {
        struct pv_lane *lane = &journal->lanes[i];

        (void) pthread_mutex_init(&lane->own, NULL);
        lane->mutex = i == 0 ? &journal->mutex : &lane->own;
        pv_queue_init(&lane->queue);
    }
    for (unsigned i = 0; status == PV_OK && options->is_relaxed && options->is_serving && i < journal->lane_count; i++)
        status = open_spill(journal, i, error, error_size);
    return status;
}

void
pv_lanes_close(struct pv_journal *journal)
{
    for (unsigned i = 0; i < journal->lane_count; i++) {
        pv_spill_close(journal->lanes[i].spill);
        (void) pthread_mutex_destroy(&journal->lanes[i].own);
    }
    pv_free(journal->lanes);
}

/* ---- Room ---- */

struct pv_lane *
pv_lane_of(struct pv_journal *journal, const struct pv_journal_port *port)
{
    if (journal->lane_count == 1 || port == NULL || !port->is_held)
        return &journal->lanes[0];
    return &journal->lanes[1 + port->lane % (journal->lane_count - 1)];
}

static void
give_room(struct pv_journal *journal, size_t count, size_t bytes)
{
    (void) atomic_fetch_sub(&journal->taken.count, count);
    (void) atomic_fetch_sub(&journal->taken.bytes, bytes);
}

static bool
take_room(struct pv_journal *journal, struct pv_lane *lane, size_t count, size_t bytes, size_t share)
{
    size_t count_before = atomic_fetch_add(&journal->taken.count, count);
    size_t bytes_before = atomic_fetch_add(&journal->taken.bytes, bytes);

    if (count_before + count > share * PV_AUDIT_QUEUE_MAX || bytes_before + bytes > share * PV_AUDIT_QUEUE_BYTES_MAX) {
        give_room(journal, count, bytes);
        return false;
    }
    lane->room_count += count;
    lane->room_bytes += bytes;
    return true;
}

/*
 * An end finds room where a begin does not: ends are small, there is at most one for each statement that was let through,
 * and a log without them is not whole. What is taken ahead is within what a begin finds.
 */
bool
pv_lane_take_room(struct pv_journal *journal, struct pv_lane *lane, const struct pv_entry *entry)
{
    size_t count = lane->queue.count + 1, bytes = lane->queue.bytes + entry->size;

    if (count <= lane->room_count && bytes <= lane->room_bytes)
        return true;
    count = count > lane->room_count ? count - lane->room_count : 0;
    bytes = bytes > lane->room_bytes ? bytes - lane->room_bytes : 0;
    return take_room(journal, lane, count + PV_LANE_ROOM_COUNT, bytes + PV_LANE_ROOM_BYTES, 1) ||
           take_room(journal, lane, count, bytes, entry->is_kept ? 2 : 1);
}

size_t
pv_journal_depth(const struct pv_journal *journal)
{
    size_t depth = atomic_load_explicit(&journal->backlog_count, memory_order_relaxed);

    for (unsigned i = 0; i < journal->lane_count; i++)
        depth += atomic_load_explicit(&journal->lanes[i].count, memory_order_relaxed);
    return depth;
}

/* ---- One order ---- */

static void
empty_lane(struct pv_journal *journal, struct pv_lane *lane, struct pv_queue *queue)
{
    size_t count, bytes;

    pv_queue_init(queue);
    (void) pthread_mutex_lock(lane->mutex);
    pv_queue_append(queue, &lane->queue);
    count = lane->room_count - queue->count;
    bytes = lane->room_bytes - queue->bytes;
    lane->room_count = 0;
    lane->room_bytes = 0;
    atomic_store_explicit(&lane->count, 0, memory_order_relaxed);
    (void) pthread_mutex_unlock(lane->mutex);
    give_room(journal, count, bytes);
}

static struct pv_slice
time_of(const struct pv_entry *entry)
{
    const struct pv_value *value = &entry->values[entry->kind == PV_RECORD_EVENT ? 0 : 1];

    return pv_slice_of(value->data, value->len);
}

/* The queue whose first entry is the oldest; the number of queues that are not empty. */
static unsigned
find_oldest(struct pv_queue *queues, unsigned count, struct pv_queue **oldest)
{
    unsigned filled = 0;

    for (unsigned i = 0; i < count; i++) {
        if (queues[i].first == NULL)
            continue;
        if (filled++ == 0 || pv_time_compare(time_of(queues[i].first), time_of((*oldest)->first)) < 0)
            *oldest = &queues[i];
    }
    return filled;
}

void
pv_backlog_collect(struct pv_journal *journal)
{
    struct pv_queue queues[PV_SPILL_LANES_MAX];
    struct pv_queue *oldest = NULL;
    unsigned filled;

    for (unsigned i = 0; i < journal->lane_count; i++)
        empty_lane(journal, &journal->lanes[i], &queues[i]);
    while ((filled = find_oldest(queues, journal->lane_count, &oldest)) > 1)
        pv_queue_put(&journal->backlog, pv_queue_take(oldest));
    if (filled == 1)
        pv_queue_append(&journal->backlog, oldest);
    atomic_store(&journal->backlog_count, journal->backlog.count);
}

void
pv_backlog_take(struct pv_journal *journal, struct pv_queue *batch, size_t max)
{
    struct pv_entry *entry;

    pv_queue_init(batch);
    if (journal->backlog.count <= max)
        pv_queue_append(batch, &journal->backlog);
    while (batch->count < max && (entry = pv_queue_take(&journal->backlog)) != NULL)
        pv_queue_put(batch, entry);
    atomic_store(&journal->backlog_count, journal->backlog.count);
    give_room(journal, batch->count, batch->bytes);
}

void
pv_backlog_prepend(struct pv_journal *journal, struct pv_queue *batch)
{
    (void) atomic_fetch_add(&journal->taken.count, batch->count);
    (void) atomic_fetch_add(&journal->taken.bytes, batch->bytes);
    pv_queue_prepend(&journal->backlog, batch);
    atomic_store(&journal->backlog_count, journal->backlog.count);
}
