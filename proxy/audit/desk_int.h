/*
 * An ask from inside: desk.c runs it and says what went wrong, desk_values.c gives the statement its parameters and
 * keeps its rows.
 */
#ifndef PV_DESK_INT_H
#define PV_DESK_INT_H

#include "proxy/audit/desk.h"
#include "proxy/audit/query_int.h"

/* The first fault stays. NULL `message`: there was no memory for it. Keeps the words, which live as long as the ask. */
void pv_ask_fail(struct pv_ask *ask, const char *sqlstate, const char *message, const char *hint);
void pv_ask_fail_status(struct pv_ask *ask, enum pv_status status);
/* A step of the statement failed: in SQLite's words, or because of time or whoever asks. */
void pv_ask_fail_step(struct pv_ask *ask, struct pv_log_reader *reader);

/* ---- desk_values.c: a fault stands in the ask ---- */

/* False: a fault. */
bool pv_ask_bind(struct pv_ask *ask, sqlite3_stmt *statement) PV_MUST_CHECK;
/* Steps to the end and keeps columns and rows. */
void pv_ask_read(struct pv_ask *ask, struct pv_log_reader *reader, sqlite3_stmt *statement);

#endif
