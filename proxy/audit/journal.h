/*
 * The writer of the query log: a queue, group commit. The writer's thread, or one that puts records (pv_journal_kick),
 * takes all that is queued, writes it in one transaction with its hash chain, commits, and then completes the tickets.
 *
 * Strict: a ticket completes when its record is on disk: in the log (WAL, synchronous FULL), or, with write_behind_ms
 * and while records come without a pause, in a synced file beside it (spill.h), from where the thread writes it into the
 * log within that time, or 20 ms after the last. Readers of this folder wait for that; a killed process's are brought in
 * by the next opening.
 * Relaxed: a put gives ticket 0, which means that there is nothing to wait for; the
 * thread commits at most every 200 ms (synchronous NORMAL). Until then a copy stands in a file beside the state, unsynced: a
 * killed process loses none, a power cut may (spill.h). A record that takes from budgets has its ticket in
 * both, and ends such a pause.
 *
 * When writing fails (disk full, read-only, locked, corrupt) the waiting tickets
 * complete with PV_IO, puts are refused with PV_IO at once, and the thread tries again
 * every 250 ms until the log works. Ends, records marked is_kept, and in relaxed mode all
 * that was accepted stay in memory, within the queue's limits, and are written first
 * then, together with an event `log_recovered` that says how long the log was away.
 */
#ifndef PV_JOURNAL_H
#define PV_JOURNAL_H

#include "proxy/audit/record.h"

struct pv_journal;
struct pv_journal_port;

struct pv_journal_options {
    bool is_serving;  /* take the lock beside the state, mark statements without an end as lost */
    bool is_relaxed;  /* durability */
    uint32_t threads; /* that put with a held port */
    bool is_hasty;    /* tests: every disk is taken for quick, and with write_behind_ms every record for load */
    /* Strict, under load: longest that a record stands in the synced file beside the log alone. 0: each ticket waits
     * for the log itself, so that whoever reads the file with SQLite finds all that was confirmed. */
    uint32_t write_behind_ms;
    uint32_t delay_us, siblings; /* strict: pv_journal_delay_set */
    uint32_t busy_ms; /* longest wait for another process's transaction; 0: PV_AUDIT_BUSY_MS */
};

/*
 * Opens the log at `path`, makes it with its key pair (`path`.key, `path`.pub) where it is missing, and starts the
 * thread. PV_BUSY: another process serves this state, the error text names it. PV_CORRUPT: not a log of
 * ours, a newer one, or damaged. `error` (always terminated; NULL with size 0 for none) gets the words.
 */
enum pv_status pv_journal_open(const char *path, const struct pv_journal_options *options, struct pv_journal **journal,
                               char *error, size_t error_size) PV_MUST_CHECK;

/* Writes what is queued (one last attempt if the log is failing), completes every ticket, ends the thread. NULL is
 * fine. */
void pv_journal_close(struct pv_journal *journal);

/*
 * Queues a copy of the record; never waits for the disk; any thread. With a port, the completion goes there unless
 * *ticket is 0; without one nobody is told. PV_LIMIT: the queue is full. PV_IO: the log is failing (an end or
 * an is_kept record is kept all the same, and must not be put again). PV_NOMEM, PV_INVALID (a field
 * outside what record.h says). No completion follows a put that failed.
 */
enum pv_status pv_journal_put(struct pv_journal *journal, const struct pv_record *record, struct pv_journal_port *port,
                              void *cookie, uint64_t *ticket) PV_MUST_CHECK;

/* ---- Ports: where completions wait, one a thread; tickets come in the order of the puts. ---- */

struct pv_journal_done {
    void *cookie;
    uint64_t ticket;
    /* PV_OK on disk; PV_IO not written; PV_INVALID refused by the log, such as a second end; PV_LIMIT a budget is spent */
    enum pv_status status;
    size_t spent; /* PV_LIMIT: which of the record's takes; the record is on disk, as a denied one */
};

/*
 * `notify` is called from the writer's thread whenever an empty port got completions; it should only wake
 * the port's owner. The port must outlive every journal it was given to. NULL: out of memory.
 */
struct pv_journal_port *pv_journal_port_new(void (*notify)(void *context), void *context) PV_MUST_CHECK;
void pv_journal_port_free(struct pv_journal_port *port); /* NULL is fine */
/* Up to `max` completions, oldest first; gives their number. Call until it is less than `max`. */
size_t pv_journal_port_take(struct pv_journal_port *port, struct pv_journal_done *done, size_t max);

/*
 * For a thread that puts many records a turn: from now on its puts with this port wake nobody; it calls pv_journal_kick
 * at the end of each turn, and the records of a turn are one batch. `thread` counts such threads from 0: in a relaxed log
 * that was opened for so many no two of them share a lock when they put.
 */
void pv_journal_port_hold(struct pv_journal_port *port, unsigned thread);
/* Whether something was put with it since that is to be kicked and waited for. */
bool pv_journal_port_is_owed(const struct pv_journal *journal, const struct pv_journal_port *port);
/*
 * The port's own thread. Where the log is strict and the disk quick, this thread writes the batch itself, with what
 * others queued meanwhile, which saves waking another and being woken by it: true then, its completions wait in the port
 * and nobody was notified of them. On a slow disk, while another process writes to the file, and while the log fails, it
 * is the writer's thread that does. `is_last`: somebody else is to write, whatever there is.
 */
bool pv_journal_kick(struct pv_journal *journal, struct pv_journal_port *port, bool is_last);

/*
 * The port's own thread, of a strict log: until when (CLOCK_MONOTONIC, microseconds) it is to leave what is owed unkicked
 * unless a turn before then finds it otherwise, so that others' records share the sync; 0: it is to kick now.
 * `under_way`: how many of its statements have begun and not ended, those that were just put included.
 */
int64_t pv_journal_delay_until_us(const struct pv_journal *journal, struct pv_journal_port *port, size_t under_way);
/*
 * Any thread. What is put waits `delay_us` for others' records at most (0: never), never more than a fifth of what a
 * statement takes of late, and only while `siblings` others of the thread's are at the database, one at least, and no
 * fewer than the records that wait; where records come too seldom for that, not at all.
 */
void pv_journal_delay_set(struct pv_journal *journal, uint32_t delay_us, uint32_t siblings);

/* ---- What metrics read; any thread, no waiting. ---- */

/* Upper bounds of the flush histogram's buckets, in microseconds; one more bucket holds the rest. */
#define PV_JOURNAL_BUCKETS(X) \
    X(100) X(250) X(500) X(1000) X(2500) X(5000) X(10000) X(25000) X(50000) X(100000) X(250000) X(1000000)
#define PV_X(us) +1
enum { PV_JOURNAL_BUCKET_COUNT = 1 PV_JOURNAL_BUCKETS(PV_X) };
#undef PV_X

struct pv_journal_stats {
    uint64_t records;  /* written since the opening */
    uint64_t batches;  /* transactions */
    uint64_t failures; /* transactions that failed */
    uint64_t dropped;  /* ends and kept records that had no room while the log was away */
    uint64_t flush_us_sum;
    uint64_t flush_buckets[PV_JOURNAL_BUCKET_COUNT]; /* not cumulative */
    uint64_t queue_depth;                            /* records queued or kept now */
    bool is_failed;
};

void pv_journal_stats(const struct pv_journal *journal, struct pv_journal_stats *stats);

/*
 * For commands that read: where no process serves this state, what a killed one with a relaxed log had accepted and not
 * written (STATE.spill0 and on) goes into the log. What cannot be done is left to the next `serve`.
 */
void pv_journal_recover(const char *path);

/* One record in a transaction of its own, for commands; on disk when it returns PV_OK. Makes the log where it is
 * missing. */
enum pv_status pv_journal_append_once(const char *path, const struct pv_record *record, char *error,
                                      size_t error_size) PV_MUST_CHECK;

#endif
