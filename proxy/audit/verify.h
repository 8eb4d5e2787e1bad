/*
 * The chain: every record (a statement's begin, its end, an event) holds the SHA-256
 * over the hash before it and its own columns. The newest hash, signed with the installation's Ed25519 key,
 * is a head: kept elsewhere, it proves later that the log still holds all up to it.
 */
#ifndef PV_VERIFY_H
#define PV_VERIFY_H

#include "proxy/base/base.h"
#include "proxy/base/bytes.h"
#include "proxy/crypto/mac.h"
#include "proxy/crypto/sign.h"

struct pv_log_head {
    uint64_t seq; /* 0: the log is empty, and the hash zero */
    uint8_t hash[PV_SHA256_BYTES];
    int64_t at_us; /* when it was signed */
    char fingerprint[PV_FINGERPRINT_SIZE];
    uint8_t signature[PV_SIGNATURE_BYTES];
};

enum pv_log_fault {
    PV_FAULT_NONE,
    PV_FAULT_CHANGED,   /* the record does not have its hash */
    PV_FAULT_MISSING,   /* a record was taken out */
    PV_FAULT_REORDERED, /* the record belongs to another place */
    PV_FAULT_HEAD,      /* the signed head is not in the log: the tail was cut, or the log was rewritten */
    PV_FAULT_SIGNATURE, /* the head's signature is not by this installation's key */
    PV_FAULT_SCHEMA,    /* a table, view or trigger is not as pgveil made it */
    PV_FAULT_DAMAGED,   /* SQLite itself finds the file damaged */
    PV_FAULT_SEGMENT,   /* a sealed segment is gone without a tombstone, or is another one */
};

struct pv_verdict {
    enum pv_log_fault fault; /* the first one */
    uint64_t seq;            /* where; 0 where no single record is meant */
    uint64_t records;        /* checked */
    uint64_t head_seq;       /* newest */
    uint8_t head_hash[PV_SHA256_BYTES];
    char words[256];    /* one line for people */
    uint64_t first_seq; /* the first record that was checked: those before it are retired */
    uint64_t segments;  /* sealed ones that were checked */
    uint64_t retired;   /* segments that are gone by policy, as their tombstones say */
    int64_t retired_us; /* when the newest of these went */
    char policy[96];
    uint64_t signed_seq;      /* of an export: the last record that a signed head vouches for */
    bool has_key;             /* signatures of heads, segments and tombstones were checked */
    bool is_head_unreachable; /* the given head is of a retired record: it could not be compared */
};

/* PV_OK: the verdict is filled, with or without a fault. Reads a copy too; `head` may be NULL, else `path`.pub must be
 * there. */
enum pv_status pv_log_verify(const char *path, const struct pv_log_head *head, struct pv_verdict *verdict, char *error,
                             size_t error_size) PV_MUST_CHECK;

/* Signs the newest head with `path`.key. */
enum pv_status pv_log_head_sign(const char *path, struct pv_log_head *head, char *error,
                                size_t error_size) PV_MUST_CHECK;
/* One JSON object on one line, with its line's end: {"seq", "hash", "at", "key", "signature"}. */
void pv_log_head_format(const struct pv_log_head *head, struct pv_buf *out);
/* Strict: PV_INVALID. */
enum pv_status pv_log_head_parse(struct pv_slice text, struct pv_log_head *head) PV_MUST_CHECK;

#endif
