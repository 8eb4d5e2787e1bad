/*
 * Ed25519 signatures (RFC 8032) with keys in PEM, as `openssl genpkey -algorithm
 * ed25519` and `openssl pkey -pubout` write them (RFC 8410).
 */
#ifndef PV_SIGN_H
#define PV_SIGN_H

#include "proxy/base/base.h"

#define PV_SIGNATURE_BYTES 64u
/* Hex digits of a SHA-256, and the NUL. */
#define PV_FINGERPRINT_SIZE 65u

struct pv_sign_key;

/*
 * Words of an error go into a buffer of the caller's (NULL with size 0 for none).
 * PV_NOTFOUND no such file, PV_IO it cannot be read, PV_INVALID not one PEM key of
 * this kind. A private key serves as its public key too.
 */
enum pv_status pv_sign_private_load(const char *path, struct pv_sign_key **key, char *error,
                                    size_t error_size) PV_MUST_CHECK;
enum pv_status pv_sign_public_load(const char *path, struct pv_sign_key **key, char *error,
                                   size_t error_size) PV_MUST_CHECK;
/* The same from PEM text in memory. */
enum pv_status pv_sign_private_parse(struct pv_slice pem, struct pv_sign_key **key) PV_MUST_CHECK;
enum pv_status pv_sign_public_parse(struct pv_slice pem, struct pv_sign_key **key) PV_MUST_CHECK;
enum pv_status pv_sign_generate(struct pv_sign_key **key) PV_MUST_CHECK;
void pv_sign_key_free(struct pv_sign_key *key); /* NULL is fine */

/* Writes a new file: PV_BUSY when it exists. The private one with mode 0600. PV_DENIED: the key has no private half. */
enum pv_status pv_sign_private_write(const struct pv_sign_key *key, const char *path) PV_MUST_CHECK;
enum pv_status pv_sign_public_write(const struct pv_sign_key *key, const char *path) PV_MUST_CHECK;

/* PV_DENIED: the key has no private half. */
enum pv_status pv_sign(const struct pv_sign_key *key, struct pv_slice bytes,
                       uint8_t signature[PV_SIGNATURE_BYTES]) PV_MUST_CHECK;
/* PV_OK: it is this key's signature over exactly these bytes. PV_DENIED: it is not. */
enum pv_status pv_sign_verify(const struct pv_sign_key *key, struct pv_slice bytes,
                              struct pv_slice signature) PV_MUST_CHECK;

/* SHA-256 of the public key's SubjectPublicKeyInfo in DER, as hex digits. */
enum pv_status pv_sign_fingerprint(const struct pv_sign_key *key, char fingerprint[PV_FINGERPRINT_SIZE]) PV_MUST_CHECK;

#endif
