/* For this folder's scram*.c alone: the arithmetic and the grammar that both sides share. */
#ifndef PV_SCRAM_INT_H
#define PV_SCRAM_INT_H

#include "proxy/crypto/scram.h"

/* Random bytes in a nonce of ours, before base64; PostgreSQL uses 18. */
#define PV_SCRAM_NONCE_BYTES 18u
/* The binding data of a peer: a hash. */
#define PV_SCRAM_BINDING_BYTES_MAX 128u
/* GS2 header of PLUS: the only channel binding spoken. */
#define PV_SCRAM_ENDPOINT_HEADER "p=tls-server-end-point,,"

/* Hi() of RFC 5802 section 2.2. */
enum pv_status pv_scram_salted_password(struct pv_slice password, struct pv_slice salt, uint32_t iterations,
                                        uint8_t salted[PV_SHA256_BYTES]) PV_MUST_CHECK;

/* Appends a nonce of our own. */
enum pv_status pv_scram_nonce_make(struct pv_buf *nonce) PV_MUST_CHECK;
/* At least one byte, printable ASCII, no comma. */
bool pv_scram_nonce_is_valid(struct pv_slice nonce);

/*
 * The next attribute of a comma-separated list: `name` '=' value up to the comma or the
 * end. Consumes the comma. PV_PROTOCOL when another stands there or the value is empty.
 */
enum pv_status pv_scram_attribute_read(struct pv_reader *reader, char name, struct pv_slice *value) PV_MUST_CHECK;
/* Skips extensions, which begin with a letter of their own, up to the attribute `stop` or (stop 0) to the end. */
enum pv_status pv_scram_extensions_skip(struct pv_reader *reader, char stop) PV_MUST_CHECK;

/* What `c=` must say, before base64. */
enum pv_status pv_scram_binding_input(const char *gs2_header, struct pv_slice data, struct pv_buf *out) PV_MUST_CHECK;

/* `key` over AuthMessage: client-first-bare, server-first, client-final without its proof, joined by commas. */
enum pv_status pv_scram_auth_mac(const uint8_t key[PV_SHA256_BYTES], const struct pv_buf *auth_message,
                                 uint8_t mac[PV_SHA256_BYTES]) PV_MUST_CHECK;

/* Decodes base64 that must be a SHA-256. */
enum pv_status pv_scram_hash_read(struct pv_slice base64, uint8_t hash[PV_SHA256_BYTES]) PV_MUST_CHECK;

/* A decimal number without sign or leading zero: PV_PROTOCOL, or PV_LIMIT above PV_SCRAM_ITERATIONS_MAX. */
enum pv_status pv_scram_iterations_read(struct pv_slice text, uint32_t *iterations) PV_MUST_CHECK;

#endif
