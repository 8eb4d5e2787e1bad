/*
 * Sealing from inside: seal.c says what is due, removes and retires, under the invariants at its head; seal_write.c
 * makes a segment of it.
 */
#ifndef PV_SEAL_INT_H
#define PV_SEAL_INT_H

#include "proxy/audit/segment_int.h"

struct pv_sealing {
    const char *path;
    const struct pv_seal_options *options;
    struct pv_seal_result *result;
    struct pv_db *db; /* the live file */
    struct pv_sign_key *key;
    struct pv_segment *segments;
    size_t count;
    char *error;
    size_t error_size;
};

/* Tells a test, if there is one, that this step is reached. */
void pv_seal_step(const char *step);
/* Inside a transaction. */
enum pv_status pv_seal_event(struct pv_db *db, const char *word, const char *detail) PV_MUST_CHECK;

/* ---- seal_write.c: words of what fails stand in the sealing's error ---- */

/* Everything into a draft of the segment, which is synced when this is done. */
enum pv_status pv_seal_draft(struct pv_sealing *sealing, const char *draft, struct pv_segment *segment) PV_MUST_CHECK;
enum pv_status pv_seal_put_in_place(struct pv_sealing *sealing, const char *draft, const char *path) PV_MUST_CHECK;
/* The segment as it lies there now, by its own name. */
enum pv_status pv_seal_check(struct pv_sealing *sealing, const struct pv_segment *segment) PV_MUST_CHECK;
/* One transaction with the event that tells of it. */
enum pv_status pv_seal_register(struct pv_sealing *sealing, const struct pv_segment *segment) PV_MUST_CHECK;

#endif
