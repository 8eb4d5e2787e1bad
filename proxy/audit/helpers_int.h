/*
 * Functions of auditors' SQL from inside: helpers.c lists them, helpers_time.c and helpers_catalog.c have those on
 * times and of the catalog. Each is called by SQLite with as many values as the list says.
 */
#ifndef PV_HELPERS_INT_H
#define PV_HELPERS_INT_H

#include "proxy/audit/query_int.h"

/* ---- helpers.c: arguments and results ---- */

const char *pv_helper_text(sqlite3_value *value);
/* True: one of the values is NULL, which is the result then. */
bool pv_helper_has_null(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_give_text(sqlite3_context *context, const char *text);
/* An error as the result: `text` does not spell a `what`. */
void pv_helper_give_fault(sqlite3_context *context, const char *what, const char *text);

/* ---- helpers_text.c ---- */

void pv_helper_instr(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_replace(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_glob(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_trim(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_ltrim(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_rtrim(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_printf(sqlite3_context *context, int count, sqlite3_value **values);
/* True: both have been said to be too long for what takes time by the product of their lengths. */
bool pv_helper_is_long(sqlite3_context *context, sqlite3_value *a, sqlite3_value *b);
/* Takes `out`, whose text is the result. */
void pv_helper_give_str(sqlite3_context *context, sqlite3_str *out);

/* ---- helpers_time.c ---- */

void pv_helper_now(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_timestamp(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_date(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_date_trunc(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_date_part(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_shift(sqlite3_context *context, int count, sqlite3_value **values);
/* A collation. */
int pv_helper_compare_times(void *context, int len_a, const void *a, int len_b, const void *b);

/* ---- helpers_catalog.c ---- */

void pv_helper_format_type(sqlite3_context *context, int count, sqlite3_value **values);
void pv_helper_to_regtype(sqlite3_context *context, int count, sqlite3_value **values);

#endif
