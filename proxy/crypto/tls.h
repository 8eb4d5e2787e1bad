/*
 * TLS 1.2 and 1.3 over a non-blocking socket, both sides. Contexts hold certificates
 * and rules, are immutable and counted: a reload makes a new one while connections go
 * on with the old. A connection belongs to one thread; contexts may be shared.
 *
 * Words of an error go into a buffer of the caller's (always terminated; NULL with size 0
 * for none) and hold no secret.
 */
#ifndef PV_TLS_H
#define PV_TLS_H

#include "proxy/base/arena.h"
#include "proxy/base/base.h"

/* Longest hash of a certificate that channel binding may use (SHA-512). */
#define PV_TLS_ENDPOINT_BYTES_MAX 64u

/* ---- Contexts ---- */

struct pv_tls_context;

struct pv_tls_server_options {
    const char *cert_file;      /* PEM, the certificate first and then its chain */
    const char *key_file;       /* PEM, without a passphrase. That others cannot read it is for the caller to check */
    const char *client_ca_file; /* PEM; NULL: client certificates are not asked for */
    bool is_client_cert_required;
};

/*
 * TLS 1.2 at least, no renegotiation, no tickets and no session cache. A client that sends ALPN
 * must offer `postgresql` (PostgreSQL 17 does the same), one that sends none is
 * served; pv_tls_has_alpn tells, since direct TLS must have it. A client certificate
 * that is sent and does not verify against client_ca_file ends the handshake.
 */
enum pv_status pv_tls_server_context_new(const struct pv_tls_server_options *options, struct pv_tls_context **context,
                                         char *error, size_t error_size) PV_MUST_CHECK;

/* As libpq's sslmode. PV_TLS_DISABLE has no context: the caller does not come here with it. */
enum pv_tls_mode {
    PV_TLS_DISABLE,
    PV_TLS_REQUIRE,     /* encrypted, peer not verified; with a root_cert_file as PV_TLS_VERIFY_CA, as libpq does */
    PV_TLS_VERIFY_CA,   /* the chain leads to root_cert_file */
    PV_TLS_VERIFY_FULL, /* and the certificate is the host's */
};

struct pv_tls_client_options {
    enum pv_tls_mode mode;
    const char *root_cert_file; /* PEM; compulsory for PV_TLS_VERIFY_* */
    const char *cert_file;      /* our own, if the server asks; NULL: none */
    const char *key_file;
};

enum pv_status pv_tls_client_context_new(const struct pv_tls_client_options *options, struct pv_tls_context **context,
                                         char *error, size_t error_size) PV_MUST_CHECK;

struct pv_tls_context *pv_tls_context_ref(struct pv_tls_context *context); /* gives the same pointer back */
void pv_tls_context_unref(struct pv_tls_context *context);                 /* NULL is fine */

/* ---- Connections ---- */

struct pv_tls;

enum pv_tls_result {
    PV_TLS_OK,         /* done, or some bytes moved */
    PV_TLS_WANT_READ,  /* call again when the socket is readable */
    PV_TLS_WANT_WRITE, /* call again when the socket is writable, for a read too (a key update) */
    PV_TLS_CLOSED,     /* the peer closed, with close_notify or, as many do, without: frames tell if some are missing */
    PV_TLS_FAILED,     /* pv_tls_error has the words; the connection is of no more use */
};

/*
 * Shares the context; neither takes nor closes the socket. The side is the context's. `host`
 * is the peer's name or IP address as configured: needed for PV_TLS_VERIFY_FULL, sent as
 * SNI where it is a name, NULL for a server.
 */
enum pv_status pv_tls_new(struct pv_tls_context *context, int fd, const char *host, struct pv_tls **tls) PV_MUST_CHECK;
void pv_tls_free(struct pv_tls *tls); /* NULL is fine; sends nothing */

enum pv_tls_result pv_tls_handshake(struct pv_tls *tls) PV_MUST_CHECK;
/* Up to `size` bytes, at least 1 with PV_TLS_OK. Loop while pv_tls_pending: no event comes for those. */
enum pv_tls_result pv_tls_read(struct pv_tls *tls, uint8_t *data, size_t size, size_t *len) PV_MUST_CHECK;
/*
 * The caller has received these from the socket itself, at once what the library would ask for header by header and
 * body by body. Until pv_tls_give_back reads take them, and want more where they end. Borrowed until then, which copies
 * what is not read by then: it counts as pending. Not while anything is.
 */
void pv_tls_lend(struct pv_tls *tls, struct pv_slice received);
/* Whether another read can have something of what was lent. */
bool pv_tls_has_lent(const struct pv_tls *tls);
/* PV_NOMEM: bytes are lost, and the connection is of no more use. */
enum pv_status pv_tls_give_back(struct pv_tls *tls) PV_MUST_CHECK;
/* May take fewer bytes than given; a retry may come from another address and with more behind. `len` 0 is PV_TLS_OK. */
enum pv_tls_result pv_tls_write(struct pv_tls *tls, struct pv_slice data, size_t *len) PV_MUST_CHECK;
/* Bytes that are here and not yet read, decrypted or not. */
size_t pv_tls_pending(const struct pv_tls *tls);
/* Sends close_notify and does not wait for the peer's. PV_TLS_OK once sent. */
enum pv_tls_result pv_tls_shutdown(struct pv_tls *tls) PV_MUST_CHECK;
/* Words of the last PV_TLS_FAILED; lives as long as the connection; never NULL. */
const char *pv_tls_error(const struct pv_tls *tls);

/* "TLSv1.3" and the cipher's name; after the handshake. */
const char *pv_tls_version(const struct pv_tls *tls);
const char *pv_tls_cipher(const struct pv_tls *tls);
/* True when both sides settled on the ALPN protocol `postgresql`. */
bool pv_tls_has_alpn(const struct pv_tls *tls);

/* ---- The peer's certificate ---- */

enum pv_tls_name_kind { PV_TLS_NAME_DNS, PV_TLS_NAME_EMAIL, PV_TLS_NAME_URI, PV_TLS_NAME_IP };

struct pv_tls_name {
    enum pv_tls_name_kind kind;
    const char *text; /* an IP address in its usual text form */
};

struct pv_tls_names {
    const char *common_name; /* of the subject; NULL when it has none */
    size_t alt_count;
    const struct pv_tls_name *alts; /* subjectAltName, of the four kinds */
};

/*
 * From the arena. PV_NOTFOUND: the peer sent no certificate. PV_INVALID: a name with a
 * NUL inside, not UTF-8, or more than one common name, none of which may be trusted.
 * Of a server seen by a PV_TLS_REQUIRE client the names are unverified.
 */
enum pv_status pv_tls_peer_names(const struct pv_tls *tls, struct pv_arena *arena,
                                 struct pv_tls_names *names) PV_MUST_CHECK;

/*
 * The hash for tls-server-end-point (RFC 5929 section 4.1): of the server's certificate,
 * our own or the peer's by side, with the hash of its signature, SHA-256 in place
 * of MD5 and SHA-1. PV_NOTFOUND where the signature has no hash (Ed25519): PLUS cannot
 * be offered then. After the handshake.
 */
enum pv_status pv_tls_endpoint_hash(const struct pv_tls *tls, uint8_t hash[PV_TLS_ENDPOINT_BYTES_MAX],
                                    size_t *len) PV_MUST_CHECK;

#endif
