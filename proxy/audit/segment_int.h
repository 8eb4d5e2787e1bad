/*
 * Segments from inside: segment.c reads and signs manifests, seal.c seals and retires, sealed.c reads their records.
 */
#ifndef PV_SEGMENT_INT_H
#define PV_SEGMENT_INT_H

#include "proxy/audit/db_int.h"
#include "proxy/audit/segment.h"

/* Every segment of the live file under `schema`, retired ones too, by number; freed with pv_free. None: NULL and 0. */
enum pv_status pv_segments_load(sqlite3 *sqlite, const char *schema, struct pv_segment **segments,
                                size_t *count) PV_MUST_CHECK;
/* The one manifest of a segment's own file. */
enum pv_status pv_segment_manifest(sqlite3 *sqlite, struct pv_segment *segment) PV_MUST_CHECK;
/* INSERT of the manifest: into `segment` of the live file, or `manifest` of the segment's. */
enum pv_status pv_segment_insert(sqlite3 *sqlite, const char *table, const struct pv_segment *segment) PV_MUST_CHECK;
enum pv_status pv_segment_insert_retired(sqlite3 *sqlite, const struct pv_segment *segment) PV_MUST_CHECK;
/* Says the same as the other, signature and all; whether it is retired is not looked at. */
bool pv_segment_equal(const struct pv_segment *a, const struct pv_segment *b);

enum pv_status pv_segment_sign(const struct pv_sign_key *key, struct pv_segment *segment) PV_MUST_CHECK;
enum pv_status pv_segment_sign_retired(const struct pv_sign_key *key, struct pv_segment *segment) PV_MUST_CHECK;
/* PV_DENIED: not by this key, or not of this text. */
enum pv_status pv_segment_check(const struct pv_sign_key *key, const struct pv_segment *segment) PV_MUST_CHECK;
enum pv_status pv_segment_check_retired(const struct pv_sign_key *key, const struct pv_segment *segment) PV_MUST_CHECK;

/*
 * For tests that end the process, or fail, at each step of sealing; NULL: nothing. `step` is one word.
 */
extern void (*pv_seal_at)(const char *step);

/* ---- sealed.c ---- */

struct pv_sealed_host {
    int (*is_overdue)(void *context); /* a progress handler: ends what takes too long */
    void *context;
    unsigned steps;   /* between two looks at it */
    bool *is_trusted; /* true while statements of our own run, which the connection's authorizer has to let through */
};

/*
 * Makes the tables SCHEMA_query_log and SCHEMA_event_log on a reader's connection: the records of all segments that the
 * live file under `schema` names, of `path`'s folder. Rows come in order of seq. A statement reads them as they are
 * when it starts.
 */
enum pv_status pv_sealed_add(sqlite3 *sqlite, const char *path, const char *schema,
                             const struct pv_sealed_host *host) PV_MUST_CHECK;

#endif
