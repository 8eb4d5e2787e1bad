/*
 * Sealed segments: old records leave the live file for a read-only SQLite file beside it, whole and in order, with a
 * signed manifest that says which records it holds and between which hashes of the chain they stand. The live file goes
 * on where the newest segment ends. Retention deletes whole segments, the oldest first, and leaves a signed tombstone
 * for each.
 *
 * Sealing never touches a record that is not yet in a synced segment, never takes a statement that still runs, and
 * leaves the newest record where it is. A crash at any point loses nothing and shows nothing twice: readers take a
 * segment's records from the segment as soon as it is registered, and from the live file before that.
 */
#ifndef PV_SEGMENT_H
#define PV_SEGMENT_H

#include "proxy/audit/record.h"
#include "proxy/base/base.h"
#include "proxy/crypto/mac.h"
#include "proxy/crypto/sign.h"

#include <stdatomic.h>

struct pv_segment {
    uint64_t number; /* from 1 up */
    char file[272];  /* its name, in the state's folder */
    uint64_t first_seq, last_seq, records, id_max;
    uint8_t before[PV_SHA256_BYTES], hash[PV_SHA256_BYTES]; /* of the records before first_seq and at last_seq */
    char first_at[PV_RECORD_TIME_SIZE], last_at[PV_RECORD_TIME_SIZE];
    int64_t at_us; /* of the sealing */
    char fingerprint[PV_FINGERPRINT_SIZE];
    uint8_t signature[PV_SIGNATURE_BYTES];
    bool is_retired;
    int64_t retired_us;
    char policy[96]; /* the words by which it was retired */
    char retired_fingerprint[PV_FINGERPRINT_SIZE];
    uint8_t retired_signature[PV_SIGNATURE_BYTES];
};

struct pv_seal_options {
    uint64_t segment_bytes;                     /* seal when the live log is this large; 0: not by size */
    uint64_t segment_age_ms;                    /* seal when its oldest record is this old; 0: not by age */
    uint64_t retention_bytes, retention_age_ms; /* of the sealed segments; 0: keep */
    bool is_now;                                /* seal what can be, whatever size and age */
    bool is_file_shipped, is_syslog_shipped;    /* records that these have not got stay in the live file */
    const atomic_bool *cancel; /* NULL: nobody can; true ends it with PV_LIMIT, to be gone on with another time */
};

struct pv_seal_result {
    uint64_t sealed, retired; /* segments */
    uint64_t records;         /* sealed */
    uint64_t last_seq;        /* of the newest segment; 0: there is none */
};

/*
 * Finishes what an earlier run left, seals what is due, retires what is due. PV_BUSY: somebody else is at it.
 * PV_CORRUPT: the records to be sealed do not make a chain; they stay where they are. Needs `path`.key.
 */
enum pv_status pv_log_seal(const char *path, const struct pv_seal_options *options, struct pv_seal_result *result,
                           char *error, size_t error_size) PV_MUST_CHECK;

/* Whether records wait to be sealed; looks at the file's size and its oldest record, so it may be asked often. */
bool pv_log_seal_is_due(const char *path, const struct pv_seal_options *options);

#endif
