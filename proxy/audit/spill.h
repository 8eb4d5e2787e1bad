/*
 * What the log has accepted and not yet written, in files beside the state.
 *
 * Relaxed: each lane of the journal has two files, which take turns: while one is written the other waits until all that
 * it holds is in the log, and then begins anew. A killed process loses none of it, since what a file was given is the
 * kernel's. Nothing is synced; a power cut may lose it, as relaxed says. STATE.spill0 and .spill1 are those of lane 0,
 * .spill3 and .spill4 of lane 1, and so on.
 *
 * Strict, under load: STATE.spill2, whole batches, on disk when pv_spill_put_synced returns: one write where a
 * transaction of the log takes several. Its numbers are lane 0's.
 *
 * The records of a lane are numbered on and on, and those that stand behind one another in a file are numbered without a
 * gap; the log holds each lane's number up to which it has them, set in the transaction that wrote them, so that none is
 * written twice, and what a file still holds of earlier turns is told from what is new.
 */
#ifndef PV_SPILL_H
#define PV_SPILL_H

#include "proxy/audit/db_int.h"

struct pv_spill;

/* What O_DIRECT asks for on every disk of today. */
#define PV_SPILL_BLOCK_BYTES ((size_t) 4096)
/* Of STATE.spill2: a batch that has no room goes into the log at once, with all that stood before it. */
#define PV_SPILL_SYNCED_BYTES (1024u * 1024u)

/* Lanes at most: what a state may have beside it does not depend on how many a life had. */
enum { PV_SPILL_LANES_MAX = 33, PV_SPILL_SYNCED = 2, PV_SPILL_FILES = 2 * PV_SPILL_LANES_MAX + 1 };

struct pv_spill_options {
    unsigned lane;
    uint64_t number; /* of the last record of the lane that the log has */
    bool is_synced;  /* of lane 0 */
};

/* Makes the files where they are missing, 0600. `error` (terminated; NULL with size 0 for none) gets the words. */
enum pv_status pv_spill_open(const char *path, const struct pv_spill_options *options, struct pv_spill **spill,
                             char *error, size_t error_size) PV_MUST_CHECK;
void pv_spill_close(struct pv_spill *spill); /* NULL is fine */

/* Not thread-safe: the caller's lock is held over each of these, or one thread calls them all. */

/* Gives the entry its number. PV_IO, PV_NOMEM: nothing was written. */
enum pv_status pv_spill_put(struct pv_spill *spill, struct pv_entry *entry) PV_MUST_CHECK;
/*
 * All entries of the list, each given its number; on disk when it returns PV_OK. PV_LIMIT: no room; nothing was
 * written. PV_IO: nothing of it counts.
 */
enum pv_status pv_spill_put_synced(struct pv_spill *spill, struct pv_entry *first) PV_MUST_CHECK;
/* The newest number that was given, to a record or to one that could not be written. */
uint64_t pv_spill_number(const struct pv_spill *spill);
/* All up to `number` is in the log, durably. */
void pv_spill_written(struct pv_spill *spill, uint64_t number);

/* Tests: told of each write to STATE.spill2 before it is made, and of its being on disk (NULL, 0 bytes). */
extern void (*pv_spill_at)(const void *data, size_t len, uint64_t offset);

/* ---- spill_read.c ---- */

enum { PV_SPILL_HEAD_BYTES = 12, PV_SPILL_CHECK_BYTES = 8 };

/* What tells a record that is there whole from one that is torn: no secret and no proof, that is the chain's. */
uint64_t pv_spill_check(struct pv_slice body);
/* The same of an earlier release. */
uint64_t pv_spill_check_before(struct pv_slice body);
/* STATE.spillN; freed with pv_free. */
char *pv_spill_name(const char *path, int which) PV_MUST_CHECK;
void pv_spill_remove_one(const char *path, int which);

/* N of the first of the lane's two files. */
static inline int
pv_spill_first(unsigned lane)
{
    return lane == 0 ? 0 : 1 + 2 * (int) lane;
}

/* The number up to which the log has spilled records of the lane; 0 where it never had one. */
enum pv_status pv_db_spilled(sqlite3 *sqlite, unsigned lane, uint64_t *number) PV_MUST_CHECK;
/* Inside a transaction. */
enum pv_status pv_db_spilled_set(struct pv_db *db, unsigned lane, uint64_t number) PV_MUST_CHECK;

/*
 * Inside a transaction, by whoever holds the state's lock: appends what the files of all lanes hold beyond that, each
 * lane's in their order, and counts it.
 */
enum pv_status pv_spill_recover(const char *path, struct pv_db *db, uint64_t *count) PV_MUST_CHECK;
/* Whether the files of `path` may hold anything. */
bool pv_spill_is_there(const char *path);
/* After that transaction was committed. */
void pv_spill_remove(const char *path);

/*
 * For readers, outside a transaction: waits until what stood in STATE.spill2 is in the log, as whoever serves it sees to
 * within a moment; two seconds at most, for a log that cannot be written.
 */
void pv_spill_settle(const char *path, sqlite3 *sqlite);

#endif
