/*
 * What the log has accepted and not yet written, in files beside the state.
 *
 * Relaxed: STATE.spill0 and STATE.spill1 take turns: while one is written the other waits until all that it holds is in
 * the log, and then begins anew. A killed process loses none of it, since what a file was given is the kernel's. Nothing
 * is synced; a power cut may lose it, as relaxed says.
 *
 * Strict, under load: STATE.spill2, whole batches, on disk when pv_spill_put_synced returns: one write where a
 * transaction of the log takes several.
 *
 * Records are numbered on and on, and those that stand behind one another in a file are numbered without a gap; the log
 * holds the number up to which it has them, set in the transaction that wrote them, so that none is written twice, and
 * what a file still holds of earlier turns is told from what is new.
 */
#ifndef PV_SPILL_H
#define PV_SPILL_H

#include "proxy/audit/db_int.h"

struct pv_spill;

/* What O_DIRECT asks for on every disk of today. */
#define PV_SPILL_BLOCK_BYTES ((size_t) 4096)
/* Of STATE.spill2: a batch that has no room goes into the log at once, with all that stood before it. */
#define PV_SPILL_SYNCED_BYTES (1024u * 1024u)

/* Makes the files where they are missing, 0600. `number`: of the last record that the log has. */
enum pv_status pv_spill_open(const char *path, uint64_t number, bool is_synced, struct pv_spill **spill, char *error,
                             size_t error_size) PV_MUST_CHECK;
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

enum { PV_SPILL_FILES = 3, PV_SPILL_SYNCED = 2, PV_SPILL_HEAD_BYTES = 12, PV_SPILL_CHECK_BYTES = 8 };

/* What tells a record that is there whole from one that is torn: no secret and no proof, that is the chain's. */
uint64_t pv_spill_check(struct pv_slice body);
/* STATE.spillN; freed with pv_free. */
char *pv_spill_name(const char *path, int which) PV_MUST_CHECK;

/* The number up to which the log has spilled records; 0 where it never had one. */
enum pv_status pv_db_spilled(sqlite3 *sqlite, uint64_t *number) PV_MUST_CHECK;
/* Inside a transaction. */
enum pv_status pv_db_spilled_set(struct pv_db *db, uint64_t number) PV_MUST_CHECK;

/* Inside a transaction, by whoever holds the state's lock: appends what the files hold beyond that, and counts it. */
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
