/* What the tests of TLS share: certificates, and the two ends of a socket pair. */
#ifndef TLS_TEST_H
#define TLS_TEST_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/crypto/mac.h"
#include "proxy/crypto/tls.h"

/* ---- Certificates, made once for the whole program in a folder of their own ---- */

static char folder[64];
static char paths[16][128];
static size_t path_count;

enum file {
    FILE_CA,
    FILE_OTHER_CA,
    FILE_SERVER_CERT,
    FILE_SERVER_KEY,
    FILE_SHA384_CERT,
    FILE_SHA384_KEY,
    FILE_ED_CERT,
    FILE_ED_KEY,
    FILE_CLIENT_CERT,
    FILE_CLIENT_KEY,
    FILE_NO_CERT,
    FILE_ROGUE_CERT,
    FILE_ROGUE_KEY,
};

struct issuer {
    X509 *cert;
    EVP_PKEY *key;
};

static inline FILE *
file_open(enum file file)
{
    FILE *stream;

    (void) snprintf(paths[file], sizeof(paths[file]), "%s/%d.pem", folder, (int) file);
    path_count = PV_COUNT_OF(paths);
    stream = fopen(paths[file], "w");
    assert_non_null(stream);
    return stream;
}

static inline void
extension_add(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* A certificate of version 3, signed by the issuer or, without one, by itself as a CA. */
static inline struct issuer
cert_make(const char *common_name, const char *alt_names, const struct issuer *issuer, const EVP_MD *md, bool is_ed)
{
    struct issuer made = {X509_new(), is_ed ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_EC_gen("P-256")};
    X509_NAME *name = X509_NAME_new();
    static long serial;

    assert_true(made.cert != NULL && made.key != NULL && name != NULL);
    assert_int_equal(X509_set_version(made.cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(made.cert), ++serial), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(made.cert), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(made.cert), 86400));
    if (common_name != NULL)
        assert_int_equal(
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *) common_name, -1, -1, 0), 1);
    assert_int_equal(X509_set_subject_name(made.cert, name), 1);
    assert_int_equal(X509_set_issuer_name(made.cert, issuer == NULL ? name : X509_get_subject_name(issuer->cert)), 1);
    assert_int_equal(X509_set_pubkey(made.cert, made.key), 1);
    extension_add(made.cert, NID_basic_constraints, issuer == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    if (alt_names != NULL)
        extension_add(made.cert, NID_subject_alt_name, alt_names);
    assert_true(X509_sign(made.cert, issuer == NULL ? made.key : issuer->key, md) > 0);
    X509_NAME_free(name);
    return made;
}

static inline void
cert_write(const struct issuer *made, enum file cert, enum file key)
{
    FILE *stream = file_open(cert);

    assert_int_equal(PEM_write_X509(stream, made->cert), 1);
    assert_int_equal(fclose(stream), 0);
    if (key == FILE_NO_CERT)
        return;
    stream = file_open(key);
    assert_int_equal(PEM_write_PrivateKey(stream, made->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(stream), 0);
}

static inline void
cert_free(struct issuer *made)
{
    X509_free(made->cert);
    EVP_PKEY_free(made->key);
}

static inline int
certs_setup(void **state)
{
    struct issuer ca, other, made;

    (void) state;
    (void) signal(SIGPIPE, SIG_IGN);
    strcpy(folder, "/tmp/pgveil-tls-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    ca = cert_make("test CA", NULL, NULL, EVP_sha256(), false);
    cert_write(&ca, FILE_CA, FILE_NO_CERT);
    other = cert_make("another CA", NULL, NULL, EVP_sha256(), false);
    cert_write(&other, FILE_OTHER_CA, FILE_NO_CERT);
    made =
        cert_make("server", "DNS:db.example.com,DNS:*.wild.example.com,IP:127.0.0.1,IP:::1", &ca, EVP_sha256(), false);
    cert_write(&made, FILE_SERVER_CERT, FILE_SERVER_KEY);
    cert_free(&made);
    made = cert_make("server", "DNS:db.example.com", &ca, EVP_sha384(), false);
    cert_write(&made, FILE_SHA384_CERT, FILE_SHA384_KEY);
    cert_free(&made);
    made = cert_make("ed", NULL, NULL, NULL, true);
    cert_write(&made, FILE_ED_CERT, FILE_ED_KEY);
    cert_free(&made);
    made = cert_make("alice@acme", "email:alice@acme.example,URI:spiffe://acme/alice,DNS:a.example,IP:10.0.0.1", &ca,
                     EVP_sha256(), false);
    cert_write(&made, FILE_CLIENT_CERT, FILE_CLIENT_KEY);
    cert_free(&made);
    made = cert_make("alice@acme", NULL, &other, EVP_sha256(), false);
    cert_write(&made, FILE_ROGUE_CERT, FILE_ROGUE_KEY);
    cert_free(&made);
    cert_free(&ca);
    cert_free(&other);
    return 0;
}

static inline int
certs_teardown(void **state)
{
    (void) state;
    for (size_t i = 0; i < path_count; i++)
        if (paths[i][0] != '\0')
            (void) unlink(paths[i]);
    return rmdir(folder);
}

/* ---- Two ends of a socket pair ---- */

struct pair {
    int fds[2];
    struct pv_tls *server;
    struct pv_tls *client;
    enum pv_tls_result server_result;
    enum pv_tls_result client_result;
};

static inline struct pv_tls_context *
server_context(enum file cert, enum file key, const char *client_ca, bool is_required)
{
    struct pv_tls_server_options options = {paths[cert], paths[key], client_ca, is_required};
    struct pv_tls_context *context = NULL;
    char error[256] = "";

    if (pv_tls_server_context_new(&options, &context, error, sizeof(error)) != PV_OK)
        fail_msg("%s", error);
    return context;
}

static inline struct pv_tls_context *
client_context(enum pv_tls_mode mode, const char *root, const char *cert, const char *key)
{
    struct pv_tls_client_options options = {mode, root, cert, key};
    struct pv_tls_context *context = NULL;
    char error[256] = "";

    if (pv_tls_client_context_new(&options, &context, error, sizeof(error)) != PV_OK)
        fail_msg("%s", error);
    return context;
}

/* Takes both contexts, so that the connections alone keep them. Handshakes until both sides are through or one fails.
 */
static inline struct pair
pair_open(struct pv_tls_context *server, struct pv_tls_context *client, const char *host)
{
    struct pair pair = {.server_result = PV_TLS_WANT_READ, .client_result = PV_TLS_WANT_READ};

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.fds), 0);
    assert_int_equal(pv_tls_new(server, pair.fds[0], NULL, &pair.server), PV_OK);
    assert_int_equal(pv_tls_new(client, pair.fds[1], host, &pair.client), PV_OK);
    pv_tls_context_unref(server);
    pv_tls_context_unref(client);
    for (int round = 0; round < 20; round++) {
        if (pair.client_result != PV_TLS_OK && pair.client_result != PV_TLS_FAILED)
            pair.client_result = pv_tls_handshake(pair.client);
        if (pair.server_result != PV_TLS_OK && pair.server_result != PV_TLS_FAILED)
            pair.server_result = pv_tls_handshake(pair.server);
    }
    return pair;
}

static inline void
pair_close(struct pair *pair)
{
    pv_tls_free(pair->server);
    pv_tls_free(pair->client);
    (void) close(pair->fds[0]);
    (void) close(pair->fds[1]);
}

static inline void
text_send(struct pv_tls *from, struct pv_tls *to, const char *text)
{
    uint8_t room[64];
    size_t len = 0;

    assert_int_equal(pv_tls_write(from, pv_slice_cstr(text), &len), PV_TLS_OK);
    assert_int_equal(len, strlen(text));
    assert_int_equal(pv_tls_read(to, room, sizeof(room), &len), PV_TLS_OK);
    assert_true(pv_slice_is(pv_slice_of(room, len), text));
}

#endif
