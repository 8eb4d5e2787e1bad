/*
 * Keys of caches over texts that clients choose: SipHash-1-3 under a secret of the
 * process, so that nobody can make texts collide. Source: J.-P. Aumasson and D. J. Bernstein,
 * "SipHash: a fast short-input PRF", with 1 compression and 3 finalisation rounds.
 */
#ifndef PV_KEY_H
#define PV_KEY_H

#include "proxy/base/base.h"

struct pv_key {
    uint64_t k0;
    uint64_t k1;
};

/* A fresh key from the system's randomness; PV_IO when there is none. */
enum pv_status pv_key_make(struct pv_key *key) PV_MUST_CHECK;
struct pv_key pv_key_of(const uint8_t bytes[16]); /* little-endian, as the paper's vectors */
uint64_t pv_key_hash(const struct pv_key *key, struct pv_slice text);
/* With a number mixed in first: a policy generation, a room. */
uint64_t pv_key_hash_with(const struct pv_key *key, uint64_t salt, struct pv_slice text);
/* The hash of a head and a text behind it, for many texts: the head is gone through once. Its length is a multiple of 8. */
struct pv_key_state {
    uint64_t v0, v1, v2, v3;
    uint64_t len; /* of what was taken in */
};
struct pv_key_state pv_key_begin(const struct pv_key *key, struct pv_slice head);
uint64_t pv_key_end(const struct pv_key_state *state, struct pv_slice text);

#endif
