/*
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides, as state machines over bytes:
 * the caller carries the messages. Sources: RFC 5802 (SCRAM), RFC 7677 (SHA-256),
 * RFC 5929 section 4 (tls-server-end-point), and PostgreSQL's documentation, "SASL
 * Authentication", where it narrows them: the user name inside the exchange is not
 * looked at (the startup packet's counts), no authorization identity.
 *
 * Passwords: PostgreSQL applies SASLprep (RFC 4013) and, where that fails, uses the
 * bytes as they are. Here the bytes are always used as they are. That is the same for
 * ASCII and for any text that is already in normal form KC without special spaces,
 * which is what keyboards make; a password whose form SASLprep would change does not
 * match between this and a client that applies it.
 */
#ifndef PV_SCRAM_H
#define PV_SCRAM_H

#include "proxy/base/base.h"
#include "proxy/base/bytes.h"
#include "proxy/base/limits.h"
#include "proxy/crypto/mac.h"

#define PV_SCRAM_MECHANISM "SCRAM-SHA-256"
#define PV_SCRAM_PLUS_MECHANISM "SCRAM-SHA-256-PLUS"
/* Salt of a verifier; PostgreSQL makes 16 bytes. */
#define PV_SCRAM_SALT_BYTES 16u
#define PV_SCRAM_SALT_BYTES_MAX 256u
/* One SCRAM message, either way; the nonce inside may be as long as that allows. */
#define PV_SCRAM_MESSAGE_BYTES_MAX PV_AUTH_MESSAGE_BYTES_MAX
/* Longest password, as libpq and psql bound it by the message. */
#define PV_SCRAM_PASSWORD_BYTES_MAX 1024u

/* What a server keeps of a password: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, the bytes in base64. */
struct pv_scram_verifier {
    uint32_t iterations;
    size_t salt_len;
    uint8_t salt[PV_SCRAM_SALT_BYTES_MAX];
    uint8_t stored_key[PV_SHA256_BYTES];
    uint8_t server_key[PV_SHA256_BYTES];
    bool is_mock; /* of a user who is unknown: never lets anybody in */
};

/* PV_INVALID unless exactly of that form; PV_LIMIT for iterations outside PV_SCRAM_ITERATIONS_MIN to _MAX. */
enum pv_status pv_scram_verifier_parse(struct pv_slice text, struct pv_scram_verifier *verifier) PV_MUST_CHECK;
/* Appends the text. */
enum pv_status pv_scram_verifier_format(const struct pv_scram_verifier *verifier, struct pv_buf *out) PV_MUST_CHECK;
/*
 * From a password. PV_INVALID for an empty one, one that is too long or not UTF-8.
 * Costs `iterations` HMACs: milliseconds.
 */
enum pv_status pv_scram_verifier_make(struct pv_slice password, uint32_t iterations, struct pv_slice salt,
                                      struct pv_scram_verifier *verifier) PV_MUST_CHECK;
/*
 * Whether a password that was sent in clear is the verifier's: PV_OK or PV_AUTH, after the same work for any password and
 * for a mock; PV_INVALID as in pv_scram_verifier_make.
 */
enum pv_status pv_scram_verifier_check(const struct pv_scram_verifier *verifier, struct pv_slice password) PV_MUST_CHECK;
/*
 * For a user who does not exist or may not log in: looks the same at every attempt,
 * since it is derived from a secret of the server and the name. The exchange with it
 * does the same work as any other and then fails. `iterations` should be what real
 * verifiers use.
 */
enum pv_status pv_scram_verifier_mock(struct pv_slice server_secret, struct pv_slice user, uint32_t iterations,
                                      struct pv_scram_verifier *verifier) PV_MUST_CHECK;

/* ---- Server side: first, final; each once and in this order ---- */

struct pv_scram_server;

/*
 * Copies the verifier. `binding` is the tls-server-end-point hash of our certificate,
 * empty where there is no TLS: then PLUS is not offered. It is copied too.
 */
enum pv_status pv_scram_server_new(const struct pv_scram_verifier *verifier, struct pv_slice binding,
                                   struct pv_scram_server **server) PV_MUST_CHECK;
void pv_scram_server_free(struct pv_scram_server *server); /* wipes; NULL is fine */
/* For tests: our part of the nonce, in place of a random one (copied). */
enum pv_status pv_scram_server_nonce_set(struct pv_scram_server *server, struct pv_slice nonce) PV_MUST_CHECK;

/*
 * Takes the mechanism that the client chose and its client-first-message; appends
 * server-first-message. PV_PROTOCOL malformed, or a mechanism that was not offered;
 * PV_AUTH the client says 'y', that it could bind but that we did not offer it, though
 * we did: somebody in between took the offer out (RFC 5802 section 6).
 */
enum pv_status pv_scram_server_first(struct pv_scram_server *server, struct pv_slice mechanism,
                                     struct pv_slice client_first, struct pv_buf *server_first) PV_MUST_CHECK;
/*
 * Takes client-final-message; PV_OK means that the client knows the password, and
 * appends server-final-message. PV_AUTH wrong password, mock verifier or a channel
 * binding that does not match; PV_PROTOCOL malformed or out of turn.
 */
enum pv_status pv_scram_server_final(struct pv_scram_server *server, struct pv_slice client_final,
                                     struct pv_buf *server_final) PV_MUST_CHECK;

/* ---- Client side: first, final, verify; each once and in this order ---- */

enum pv_scram_binding {
    PV_SCRAM_BINDING_NONE,      /* no TLS: 'n' */
    PV_SCRAM_BINDING_UNOFFERED, /* TLS, and the server did not offer PLUS: 'y' */
    PV_SCRAM_BINDING_ENDPOINT,  /* PLUS, with tls-server-end-point */
};

struct pv_scram_client;

/* Copies the password and, for PV_SCRAM_BINDING_ENDPOINT, the hash of the server's certificate. */
enum pv_status pv_scram_client_new(struct pv_slice password, enum pv_scram_binding binding,
                                   struct pv_slice binding_data, struct pv_scram_client **client) PV_MUST_CHECK;
void pv_scram_client_free(struct pv_scram_client *client); /* wipes; NULL is fine */
/* For tests: our nonce, in place of a random one, and the user name (default empty, as libpq sends it). Copied. */
enum pv_status pv_scram_client_nonce_set(struct pv_scram_client *client, struct pv_slice nonce) PV_MUST_CHECK;
enum pv_status pv_scram_client_user_set(struct pv_scram_client *client, struct pv_slice user) PV_MUST_CHECK;

/* PV_SCRAM_PLUS_MECHANISM or PV_SCRAM_MECHANISM, by the binding. */
const char *pv_scram_client_mechanism(const struct pv_scram_client *client);
/* Appends client-first-message. */
enum pv_status pv_scram_client_first(struct pv_scram_client *client, struct pv_buf *client_first) PV_MUST_CHECK;
/*
 * Takes server-first-message, appends client-final-message. PV_PROTOCOL malformed or
 * a nonce that does not extend ours; PV_LIMIT iterations outside PV_SCRAM_ITERATIONS_MIN
 * (few would help whoever listens to guess the password) to _MAX. Costs
 * the iterations: milliseconds, to about a second at the ceiling.
 */
enum pv_status pv_scram_client_final(struct pv_scram_client *client, struct pv_slice server_first,
                                     struct pv_buf *client_final) PV_MUST_CHECK;
/*
 * Takes server-final-message; PV_OK means that the server knows the verifier. PV_AUTH
 * it sent an error or its signature is wrong; PV_PROTOCOL malformed. An AuthenticationOk
 * before this said PV_OK must be refused.
 */
enum pv_status pv_scram_client_verify(struct pv_scram_client *client, struct pv_slice server_final) PV_MUST_CHECK;

#endif
