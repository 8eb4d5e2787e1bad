/*
 * The journal as its own files see it. Invariants:
 * 1. A lane's queue holds records in the order of their puts, and the tickets of a port grow along it; each ticket
 *    completes once, in that order. Who holds the road merges the lanes into one order, which keeps each lane's.
 * 2. A ticket completes with PV_OK only after the transaction with its record was committed, or, strict under load,
 *    after its record is on disk beside the log, from where it comes into the log whatever happens.
 * 3. While is_failed, nothing enters the queue but what will be written later whatever its caller was told.
 * 4. Whoever holds `road` takes from the queues and writes: the writer's thread, or a port's thread that found it free.
 *    `db`, `owed`, `synced` and all that is said to be the road's are touched under it alone. A log that fails is the
 *    writer's alone until it works again.
 * 5. Lock order: the road, then one of the journal's, a lane's or a port's; these are never held over a call into SQLite
 *    or a notify.
 * 6. `owed` holds, in their order, the completed records that stand in the spill alone; whatever transaction comes next
 *    begins with them, so that the log has all records in the order of their puts.
 * 7. Nobody waits for disk in a relaxed log, so each thread whose port is held has a lane of its own, whose lock is
 *    shared with the road's holder alone, a few times a second. Everybody else, and who puts into a strict log, has lane
 *    0, whose lock is the journal's.
 * 8. `taken` covers what all lanes and the backlog hold; a lane takes from it for several records at once.
 */
#ifndef PV_JOURNAL_INT_H
#define PV_JOURNAL_INT_H

#include "proxy/audit/db_int.h"
#include "proxy/audit/spill.h"

#include <pthread.h>
#include <time.h>

/* Pause between two attempts while the log is failing. */
#define PV_JOURNAL_RETRY_MS 250u
/* Longest that a relaxed record stays out of its transaction. */
#define PV_JOURNAL_RELAXED_MS 200u
/* Records of one transaction: bounds how long the first of them waits for the last. */
#define PV_JOURNAL_BATCH_MAX 4096u
/*
 * Strict with write_behind_ms: records that come one by one go into the log at once, where each reader of the file finds
 * them. Under load, that is so many of them for so long without a pause, they go beside it first, for write_behind_ms and
 * so many at most, and into the log as soon as it is quiet for a moment.
 */
#define PV_JOURNAL_LOAD_COUNT 200u
#define PV_JOURNAL_LOAD_MS 500u
#define PV_JOURNAL_LOAD_PAUSE_MS 20u
#define PV_JOURNAL_OWED_MAX 256u
#define PV_JOURNAL_QUIET_MS 20u
/*
 * A disk that mostly takes no longer than this may be waited for by a thread that serves others too, until it took so
 * long once.
 */
#define PV_JOURNAL_QUICK_US 500
#define PV_JOURNAL_STALL_US 20000
/* A batch waits for others' records a fifth of what a statement takes, at most, so that a record waits half of that. */
#define PV_JOURNAL_DELAY_SHARE 5
/* Queued records that end a relaxed pause early. */
#define PV_JOURNAL_RELAXED_DEPTH 2048u

struct pv_queue {
    struct pv_entry *first;
    struct pv_entry **last; /* where the next one goes */
    size_t count;
    size_t bytes;
};

void pv_queue_init(struct pv_queue *queue);
void pv_queue_put(struct pv_queue *queue, struct pv_entry *entry);
struct pv_entry *pv_queue_take(struct pv_queue *queue); /* NULL: empty */
/* Moves all of `front` before what `queue` holds. */
void pv_queue_prepend(struct pv_queue *queue, struct pv_queue *front);
/* Moves all of `more` behind what `queue` holds. */
void pv_queue_append(struct pv_queue *queue, struct pv_queue *more);
/* Tells the entry's port, once; where there is none, nobody. Gives the port one reference. */
void pv_entry_complete(struct pv_entry *entry, enum pv_status status);

struct pv_journal_port {
    pthread_mutex_t mutex; /* over first and last: completions that nobody took yet */
    struct pv_entry *first;
    struct pv_entry **last;
    void (*notify)(void *context);
    void *context;
    bool is_helping; /* the road's: its thread holds it, and looks into the port itself */
    /* Its thread's own. */
    bool is_held, is_kick_owed;
    unsigned lane;             /* of one that is held: which of the threads' own */
    struct pv_entry_room room; /* of one that is held */
    size_t begin_count;        /* statements that were put since the last kick */
    int64_t since_us;          /* since when what was put waits for more; 0: it does not */
};

#define PV_PACE_ALL 65536

/* How quick a way to the disk is of late. */
struct pv_pace {
    int share;     /* of writes that were quick, of PV_PACE_ALL */
    bool is_quick; /* taken for quick from three quarters on, and until it is less than half */
};

/* What a lane takes of the journal's room at once: then it looks at nothing that others write for so long. */
#define PV_LANE_ROOM_COUNT 128u
#define PV_LANE_ROOM_BYTES (128u * 1024u)

/* Room in the queues. */
struct pv_room {
    _Atomic size_t count, bytes;
};

/* Where records of one thread, or of all others, wait for whoever writes. */
struct pv_lane {
    pthread_mutex_t *mutex; /* its own, or of lane 0 the journal's; over what follows */
    pthread_mutex_t own;
    struct pv_queue queue;
    struct pv_spill *spill; /* relaxed: what is queued survives the process */
    size_t room_count, room_bytes; /* of the journal's that it has taken, for what is queued and what comes */
    _Atomic size_t count;          /* of the queue, for those who do not hold the mutex */
    /* The road's. */
    uint64_t written; /* the log has the spilled ones up to here */
    uint64_t newest;  /* and after this transaction up to here */
    char apart[128];  /* no two lanes are on one line of the processor's cache */
};

/* How records come of late. */
struct pv_traffic {
    int64_t newest_us;      /* when the newest batch was written */
    int64_t gap_fine;       /* between two records */
    int64_t statement_fine; /* what a statement takes, from its begin to its end */
};

struct pv_journal {
    char *path;
    struct pv_journal_options options;
    int lock_fd;
    struct pv_db *db;
    struct pv_lane *lanes;
    unsigned lane_count;
    size_t lane_depth; /* at so many records of a lane, and at each multiple, the writer looks how many there are in all */
    struct pv_db_head seen; /* carried over when the file is opened anew */
    pthread_t thread;

    pthread_mutex_t road;
    int64_t failed_us; /* when the log began to fail; down to is_spill_refused the road's */
    int64_t checked_us;
    struct pv_pace commits;  /* transactions */
    struct pv_traffic traffic;
    struct pv_entry **pairs; /* begins of a batch by id, an open table */
    size_t pair_size;
    struct pv_queue backlog; /* taken from the lanes, not yet or no more in a batch */
    _Atomic size_t backlog_count;
    /* Strict under load. */
    struct pv_spill *synced; /* made by the first load */
    struct pv_queue owed;
    int64_t owed_since_us;
    int64_t busy_since_us, newest_us; /* since when records have come without a pause; of the newest batch */
    uint64_t busy_count;              /* of those records */
    struct pv_pace syncs;             /* batches beside the log */
    bool is_spill_refused;            /* it could not be made; without it all goes on, dearer */
    _Atomic bool is_owing;            /* there is something in `owed` */

    struct pv_room taken;
    _Atomic uint64_t ticket;

    pthread_mutex_t mutex; /* over is_urgent and is_due; who changes what `wake` tells of holds it, or has held it since */
    pthread_cond_t wake;
    _Atomic bool is_failed; /* set before the lanes are emptied: whoever puts later sees it */
    bool is_urgent;         /* somebody waits for what is queued: no relaxed pause */
    bool is_due;            /* what is owed shall go into the log now */
    _Atomic bool is_closing;

    _Atomic uint32_t delay_us, siblings; /* pv_journal_delay_set */
    _Atomic uint32_t wait_us; /* of what is put, as things are; 0: it is written at once */

    _Atomic uint64_t records, batches, failures, dropped, flush_us_sum;
    _Atomic uint64_t flush_buckets[PV_JOURNAL_BUCKET_COUNT];
};

/* ---- journal_lane.c ---- */

/* `threads` have one of their own; a relaxed log that serves has files beside it for each. */
enum pv_status pv_lanes_open(struct pv_journal *journal, char *error, size_t error_size) PV_MUST_CHECK;
void pv_lanes_close(struct pv_journal *journal);
struct pv_lane *pv_lane_of(struct pv_journal *journal, const struct pv_journal_port *port);
/* Whether there was room, which is taken; the lane's mutex is held. */
bool pv_lane_take_room(struct pv_journal *journal, struct pv_lane *lane, const struct pv_entry *entry) PV_MUST_CHECK;
/* Records that wait; any thread. */
size_t pv_journal_depth(const struct pv_journal *journal);

/* What all lanes hold, behind the backlog, in the order of time; the road is held. */
void pv_backlog_collect(struct pv_journal *journal);
/* Up to `max` of it. */
void pv_backlog_take(struct pv_journal *journal, struct pv_queue *batch, size_t max);
/* Puts it back in front. */
void pv_backlog_prepend(struct pv_journal *journal, struct pv_queue *batch);

/* ---- journal_batch.c: the road is held over each ---- */

/* What is queued, as much as one transaction may hold. */
void pv_batch_take(struct pv_journal *journal, struct pv_queue *batch);
/* Puts it back, for the writer's thread, which is to be woken. */
void pv_batch_leave(struct pv_journal *journal, struct pv_queue *batch);
/*
 * One transaction, with what is owed first of all. Refused records keep their status for their tickets. PV_BUSY of one
 * that is not patient: another process is writing, and nothing was done.
 */
enum pv_status pv_batch_write(struct pv_journal *journal, struct pv_queue *batch, bool is_patient,
                              const char **what) PV_MUST_CHECK;
/* Whether it goes beside the log first. What takes from budgets learns from the log's transaction whether it may run. */
bool pv_batch_is_for_spill(struct pv_journal *journal, const struct pv_queue *batch);
/* All of it is on disk beside the log, and told so; or nothing was done (PV_LIMIT: there is no room for it). */
enum pv_status pv_batch_spill(struct pv_journal *journal, struct pv_queue *batch) PV_MUST_CHECK;
/* Of one that was written: tells everybody who waits. */
void pv_batch_complete(struct pv_queue *batch);
/* The log fails: tells everybody who waits, and keeps what will be written later, what is owed first of all. */
void pv_batch_fail(struct pv_journal *journal, struct pv_queue *batch, enum pv_status status, const char *what);
bool pv_journal_is_owed_due(const struct pv_journal *journal);

/* ---- journal_delay.c ---- */

/* The road is held: of a batch that is on disk now, but for the first `told` of it, which were before. */
void pv_journal_delay_learn(struct pv_journal *journal, const struct pv_queue *batch, size_t told);

/* The writer's thread, of a journal that was set up. */
void *pv_journal_write_all(void *journal);

static inline int64_t
pv_monotonic_us(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#endif
