/*
 * Hashes, MACs, random bytes, and the two text encodings of bytes. With the other
 * doors of this folder the only place that knows OpenSSL. Stateless and thread-safe.
 */
#ifndef PV_MAC_H
#define PV_MAC_H

#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

#define PV_SHA256_BYTES 32u

/* FIPS 180-4. PV_INTERNAL only when the library is broken, PV_NOMEM when it has no memory. */
enum pv_status pv_sha256(struct pv_slice data, uint8_t digest[PV_SHA256_BYTES]) PV_MUST_CHECK;

/* Piece by piece: new, update any number of times, finish once, free (NULL is fine). */
struct pv_sha256_state;
struct pv_sha256_state *pv_sha256_new(void) PV_MUST_CHECK; /* NULL: out of memory */
enum pv_status pv_sha256_update(struct pv_sha256_state *state, struct pv_slice data) PV_MUST_CHECK;
/* Gives the digest and starts afresh, so that the state may hash again. */
enum pv_status pv_sha256_finish(struct pv_sha256_state *state, uint8_t digest[PV_SHA256_BYTES]) PV_MUST_CHECK;
void pv_sha256_free(struct pv_sha256_state *state);

/* RFC 2104 over SHA-256. */
enum pv_status pv_hmac_sha256(struct pv_slice key, struct pv_slice data, uint8_t mac[PV_SHA256_BYTES]) PV_MUST_CHECK;

/* Cryptographically random; on failure the bytes are zero and must not be used. */
enum pv_status pv_random_bytes(uint8_t *bytes, size_t len) PV_MUST_CHECK;

/* In time that hangs on the lengths alone. Different lengths are unequal at once. */
bool pv_constant_time_equal(struct pv_slice a, struct pv_slice b);

/* Zeroes in a way that no compiler leaves out. NULL with len 0 is fine. */
void pv_wipe(void *memory, size_t len);

/* Appends lower-case hex digits, or standard base64 with padding (RFC 4648). PV_NOMEM, buffer unchanged. */
enum pv_status pv_hex_encode(struct pv_slice bytes, struct pv_buf *out) PV_MUST_CHECK;
enum pv_status pv_base64_encode(struct pv_slice bytes, struct pv_buf *out) PV_MUST_CHECK;

/*
 * Append the bytes that the text stands for. Strict: PV_INVALID for any other
 * character, white space, odd or wrong length, missing or early padding, and
 * padding bits that are not zero, so that each value has one text. Hex takes both cases.
 */
enum pv_status pv_hex_decode(struct pv_slice text, struct pv_buf *out) PV_MUST_CHECK;
enum pv_status pv_base64_decode(struct pv_slice text, struct pv_buf *out) PV_MUST_CHECK;

#endif
