/*
 * The cryptography of JSON Web Signatures (RFC 7515, RFC 7518, RFC 8037), without the JSON: public keys from the
 * numbers of a JWK (RFC 7517), and signatures checked by them. A key knows its one algorithm, so that no header can
 * ask for another. Keys are immutable: any thread may verify with one.
 */
#ifndef PV_JWT_H
#define PV_JWT_H

#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

/* Columns: name, `alg` of a header. Nothing else is ever accepted: no "none", no MACs. */
#define PV_JWT_ALG_TABLE(X) \
    X(RS256, "RS256") /* RSASSA-PKCS1-v1_5 with SHA-256 */ \
    X(ES256, "ES256") /* ECDSA with P-256 and SHA-256 */ \
    X(EDDSA, "EdDSA") /* Ed25519 */

enum pv_jwt_alg {
#define PV_X(name, text) PV_JWT_##name,
    PV_JWT_ALG_TABLE(PV_X)
#undef PV_X
};

/* RSA moduli in bits: below is too weak, above costs too much time a login. */
#define PV_JWT_RSA_BITS_MIN 2048u
#define PV_JWT_RSA_BITS_MAX 8192u

struct pv_jwt_key;

/*
 * From a JWK's numbers, big-endian, decoded. PV_INVALID for what is no public key of that kind: a modulus out of its
 * bounds, an even or tiny exponent, coordinates that are not 32 bytes or no point of the curve. Gives the key.
 */
enum pv_status pv_jwt_key_rsa(struct pv_slice n, struct pv_slice e, struct pv_jwt_key **key) PV_MUST_CHECK;
enum pv_status pv_jwt_key_p256(struct pv_slice x, struct pv_slice y, struct pv_jwt_key **key) PV_MUST_CHECK;
enum pv_status pv_jwt_key_ed25519(struct pv_slice x, struct pv_jwt_key **key) PV_MUST_CHECK;
void pv_jwt_key_free(struct pv_jwt_key *key); /* NULL is fine */

enum pv_jwt_alg pv_jwt_key_alg(const struct pv_jwt_key *key);
const char *pv_jwt_alg_text(enum pv_jwt_alg alg);

/*
 * `signature` decoded, as the token carries it (ES256: r and s of 32 bytes each, RFC 7518 3.4). PV_DENIED unless the
 * key signed these very bytes; PV_NOMEM.
 */
enum pv_status pv_jwt_verify(const struct pv_jwt_key *key, struct pv_slice signed_bytes,
                             struct pv_slice signature) PV_MUST_CHECK;

/* Appends. Strict base64url without padding (RFC 7515 2): PV_INVALID for any other character, a length that cannot be,
 * or left-over bits that are not zero, so that each value has one text. */
enum pv_status pv_base64url_decode(struct pv_slice text, struct pv_buf *out) PV_MUST_CHECK;

#endif
