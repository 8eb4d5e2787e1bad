/*
 * SQLite writes each page of a transaction to its write-ahead log in two pieces; through this VFS they leave as one
 * write when the log is synced, which under synchronous FULL is before any of it counts.
 */
#ifndef PV_GATHER_VFS_H
#define PV_GATHER_VFS_H

/* The name for sqlite3_open_v2; NULL, which is SQLite's own, where it cannot be had. For synchronous FULL alone. */
const char *pv_gather_vfs(void);

#endif
