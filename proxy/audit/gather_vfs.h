/*
 * SQLite writes each page of a transaction to its write-ahead log in two pieces; through this VFS they leave as one
 * write when the log is synced, which under synchronous FULL is before any of it counts.
 */
#ifndef PV_GATHER_VFS_H
#define PV_GATHER_VFS_H

#include <stdbool.h>

struct sqlite3;

/* The name for sqlite3_open_v2; NULL, which is SQLite's own, where it cannot be had. For synchronous FULL alone. */
const char *pv_gather_vfs(void);

/*
 * While it is, a commit's sync only writes: what synchronous NORMAL is, in one write. For the commit alone, without a
 * checkpoint in it, whose syncs have to be made. No effect on a connection without this VFS.
 */
void pv_gather_be_lazy(struct sqlite3 *sqlite, bool is_lazy);

#endif
