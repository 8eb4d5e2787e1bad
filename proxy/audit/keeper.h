/*
 * What is done with the log beside writing it, on a thread of its own that no query ever waits for: signed heads at
 * intervals and at the end, sealing and retention (segment.h), and shipping of committed records to syslog (RFC 5424)
 * and to a file of JSON lines. Shipping is at least once: how far it came is kept in the state, in sequence; a record's
 * seq says which it is.
 */
#ifndef PV_KEEPER_H
#define PV_KEEPER_H

#include "proxy/audit/segment.h"
#include "proxy/base/base.h"

/* New records are looked for this often. */
#define PV_KEEPER_WAKE_MS 500u
/* A head is signed after so many records, whatever the interval. */
#define PV_KEEPER_HEAD_RECORDS 10000u
/* Whether a segment is to be sealed is looked at this often, and whether one is to be retired, this often. */
#define PV_KEEPER_SEAL_MS 1000u
#define PV_KEEPER_RETIRE_MS 60000u
/* After a failure to seal, this long nothing is tried. */
#define PV_KEEPER_SEAL_PAUSE_MS 30000u
/* A clock that was set by more than this no longer says how old a segment is. */
#define PV_KEEPER_CLOCK_MS 3600000
/* Bytes of one syslog message: what receivers must take is 480, most take 8 KiB (RFC 5424, 6.1). */
#define PV_KEEPER_SYSLOG_BYTES_MAX 8000u

struct pv_keeper;
struct pv_policy; /* policy/policy.h */

struct pv_keeper_options {
    const char *path;            /* of the state, which exists */
    uint64_t head_interval_ms;   /* 0: heads at the end alone */
    const char *file;            /* NULL: none. Opened anew for each batch, so it may be renamed away at any time */
    const char *syslog;          /* HOST:PORT (UDP) or the path of a datagram socket; NULL: none */
    struct pv_seal_options seal; /* when to seal and to retire; what is shipped and who cancels is the keeper's own */
};

/* Copies the options. */
enum pv_status pv_keeper_open(const struct pv_keeper_options *options, struct pv_keeper **keeper) PV_MUST_CHECK;
/* After the journal has closed: ships what is left, signs the last head. NULL is fine. */
void pv_keeper_close(struct pv_keeper *keeper);

/* Tells the log's views which columns and questions the policy grants. */
enum pv_status pv_usage_refresh(const char *path, const struct pv_policy *policy) PV_MUST_CHECK;

#endif
