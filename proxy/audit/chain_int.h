/*
 * Walking the chain, record by record, over the live file, a segment or an export; heads and what they say.
 */
#ifndef PV_CHAIN_INT_H
#define PV_CHAIN_INT_H

#include "proxy/audit/db_int.h"
#include "proxy/audit/record_int.h"
#include "proxy/audit/verify.h"

struct pv_chain_listener;

struct pv_chain {
    struct pv_verdict *verdict;
    struct pv_buf canonical;
    uint64_t seq; /* of the last good record, and its hash */
    uint8_t hash[PV_SHA256_BYTES];
    sqlite3 *sqlite;                 /* where a moved record is looked for; NULL: nowhere */
    const char *where;               /* stands before the words of a fault: "" or "segment 3: " */
    const struct pv_log_head *heads; /* by seq; what the chain must hold when it comes by */
    size_t head_count, head_next;
    const struct pv_log_head *head; /* one more, which must be there at the end; NULL: none */
    bool is_head_seen;
    const struct pv_chain_listener *listener; /* export_int.h; NULL: nobody listens */
};

void pv_chain_clear(struct pv_chain *chain);
void pv_chain_fault(struct pv_chain *chain, enum pv_log_fault fault, uint64_t seq, const char *format, ...)
    PV_PRINTF(4, 5);
/* The next record. NULL `values`: some are of a type that no record has. */
enum pv_status pv_chain_push(struct pv_chain *chain, enum pv_table_id id, uint64_t seq, const struct pv_value *values,
                             struct pv_slice hash) PV_MUST_CHECK;
/* The file's records with a number above `above` (INT64_MIN: all); stops at the first fault. */
enum pv_status pv_chain_walk(struct pv_chain *chain, sqlite3 *sqlite, int64_t above) PV_MUST_CHECK;
/* A row's values from column 1 on. False: of a type that no record has. They borrow from the statement. */
bool pv_chain_values(sqlite3_stmt *row, const struct pv_table *table, struct pv_value values[PV_TABLE_COLUMNS_MAX]);

/* ---- head.c ---- */

/* By the public key; `words` says of what. PV_OK with a fault in the verdict where the signature is another's. */
enum pv_status pv_head_check(struct pv_chain *chain, const struct pv_sign_key *key,
                             const struct pv_log_head *head) PV_MUST_CHECK;
enum pv_status pv_head_sign(const struct pv_db_head *newest, const char *path, struct pv_log_head *head, char *error,
                            size_t error_size) PV_MUST_CHECK;

#endif
