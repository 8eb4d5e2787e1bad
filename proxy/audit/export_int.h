/* Names and shapes that the writer and the reader of an export of records share. */
#ifndef PV_EXPORT_INT_H
#define PV_EXPORT_INT_H

#include "proxy/audit/chain_int.h"
#include "proxy/audit/segment_int.h"

/* Of the lines' `kind`, one a chained table. */
extern const char *const pv_export_kinds[PV_TABLE_COUNT];

/* ---- verify.c ---- */

/* Checks the log as pv_log_verify does, and tells of each record and kept head on the way. */
struct pv_chain_listener {
    enum pv_status (*start)(void *context, const struct pv_segment *retired); /* NULL: from record 1 */
    enum pv_status (*record)(void *context, enum pv_table_id id, uint64_t seq, const struct pv_value *values,
                             const uint8_t hash[PV_SHA256_BYTES]);
    enum pv_status (*head)(void *context, const struct pv_log_head *head);
    void *context;
};

enum pv_status pv_log_walk(const char *path, const struct pv_chain_listener *listener, struct pv_verdict *verdict,
                           char *error, size_t error_size) PV_MUST_CHECK;

#endif
