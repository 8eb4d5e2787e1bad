/*
 * What a relaxed log has accepted and not yet written, in files beside the state: a killed process loses none of it,
 * since what a file was given is the kernel's. Nothing here is synced; a power cut may lose it, as relaxed says.
 *
 * Two files, STATE.spill0 and STATE.spill1, take turns: while one is written the other waits until all that it holds is
 * in the log, and is then emptied. Records are numbered on and on; the log holds the number up to which it has them,
 * set in the transaction that wrote them, so that none is written twice.
 */
#ifndef PV_SPILL_H
#define PV_SPILL_H

#include "proxy/audit/db_int.h"

struct pv_spill;

/* Makes the files where they are missing, 0600. `number`: of the last record that the log has. */
enum pv_status pv_spill_open(const char *path, uint64_t number, struct pv_spill **spill, char *error,
                             size_t error_size) PV_MUST_CHECK;
void pv_spill_close(struct pv_spill *spill); /* NULL is fine */

/* Not thread-safe: the caller's lock is held over each of these. */

/* Gives the entry its number. PV_IO, PV_NOMEM: nothing was written. */
enum pv_status pv_spill_put(struct pv_spill *spill, struct pv_entry *entry) PV_MUST_CHECK;
/* All up to `number` is in the log. */
void pv_spill_written(struct pv_spill *spill, uint64_t number);

/* The number up to which the log has spilled records; 0 where it never had one. */
enum pv_status pv_db_spilled(struct pv_db *db, uint64_t *number) PV_MUST_CHECK;
/* Inside a transaction. */
enum pv_status pv_db_spilled_set(struct pv_db *db, uint64_t number) PV_MUST_CHECK;

/* Inside a transaction, by whoever holds the state's lock: appends what the files hold beyond that, and counts it. */
enum pv_status pv_spill_recover(const char *path, struct pv_db *db, uint64_t *count) PV_MUST_CHECK;
/* Whether the files of `path` hold anything. */
bool pv_spill_is_there(const char *path);
/* After that transaction was committed. */
void pv_spill_remove(const char *path);

#endif
