/* Certificates and rules: what connections are made from. */
#include "proxy/crypto/key_int.h"
#include "proxy/crypto/tls_int.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* ALPN wire form: one length byte and the name that PostgreSQL registered. */
static const uint8_t alpn_protocols[] = "\x0apostgresql";
#define ALPN_PROTOCOLS_LEN (sizeof(alpn_protocols) - 1)

void
pv_tls_words(char *error, size_t error_size, const char *what)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);

    if (error_size > 0) {
        if (code != 0 && ERR_SYSTEM_ERROR(code))
            reason = strerror(ERR_GET_REASON(code));
        if (reason == NULL)
            (void) snprintf(error, error_size, "%s", what);
        else
            (void) snprintf(error, error_size, "%s: %s", what, reason);
    }
    ERR_clear_error();
}

static int
alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned int in_len,
            void *unused)
{
    unsigned char *chosen = NULL;

    (void) ssl;
    (void) unused;
    if (SSL_select_next_proto(&chosen, out_len, alpn_protocols, ALPN_PROTOCOLS_LEN, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static enum pv_status
context_new(bool is_server, struct pv_tls_context **context)
{
    struct pv_tls_context *made = pv_calloc(1, sizeof(*made));

    if (made == NULL)
        return PV_NOMEM;
    atomic_init(&made->ref_count, 1);
    made->is_server = is_server;
    made->ssl = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    made->socket = pv_tls_socket_method();
    if (made->ssl == NULL || made->socket == NULL || SSL_CTX_set_min_proto_version(made->ssl, TLS1_2_VERSION) != 1) {
        pv_tls_context_unref(made);
        return PV_NOMEM;
    }
    SSL_CTX_set_default_passwd_cb(made->ssl, pv_no_passphrase);
    SSL_CTX_set_options(made->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void) SSL_CTX_set_mode(made->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                           SSL_MODE_RELEASE_BUFFERS);
    (void) SSL_CTX_set_session_cache_mode(made->ssl, SSL_SESS_CACHE_OFF);
    *context = made;
    return PV_OK;
}

/* What went wrong with one file of the configuration. */
static enum pv_status
file_fault(char *error, size_t error_size, const char *what, const char *path)
{
    char words[512];

    (void) snprintf(words, sizeof(words), "cannot use %s \"%s\"", what, path);
    pv_tls_words(error, error_size, words);
    return PV_INVALID;
}

static enum pv_status
own_cert_use(SSL_CTX *ssl, const char *cert_file, const char *key_file, char *error, size_t error_size)
{
    if (SSL_CTX_use_certificate_chain_file(ssl, cert_file) != 1)
        return file_fault(error, error_size, "certificate file", cert_file);
    /* Compares with the certificate too, so a key of another one fails here. */
    if (SSL_CTX_use_PrivateKey_file(ssl, key_file, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ssl) != 1)
        return file_fault(error, error_size, "private key file", key_file);
    return PV_OK;
}

static enum pv_status
client_ca_use(SSL_CTX *ssl, const struct pv_tls_server_options *options, char *error, size_t error_size)
{
    STACK_OF(X509_NAME) * names;
    int mode = SSL_VERIFY_PEER | (options->is_client_cert_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);

    if (SSL_CTX_load_verify_file(ssl, options->client_ca_file) != 1)
        return file_fault(error, error_size, "client CA file", options->client_ca_file);
    /* Names for the request, by which a client picks among its certificates. */
    names = SSL_load_client_CA_file(options->client_ca_file);
    if (names == NULL)
        return file_fault(error, error_size, "client CA file", options->client_ca_file);
    SSL_CTX_set_client_CA_list(ssl, names);
    SSL_CTX_set_verify(ssl, mode, NULL);
    return PV_OK;
}

enum pv_status
pv_tls_server_context_new(const struct pv_tls_server_options *options, struct pv_tls_context **context, char *error,
                          size_t error_size)
{
    struct pv_tls_context *made;
    enum pv_status status;

    ERR_clear_error();
    status = context_new(true, &made);
    if (status != PV_OK) {
        pv_tls_words(error, error_size, "cannot make a TLS context");
        return status;
    }
    SSL_CTX_set_alpn_select_cb(made->ssl, alpn_select, NULL);
    (void) SSL_CTX_set_num_tickets(made->ssl, 0);
    status = own_cert_use(made->ssl, options->cert_file, options->key_file, error, error_size);
    if (status == PV_OK && options->client_ca_file != NULL)
        status = client_ca_use(made->ssl, options, error, error_size);
    else if (status == PV_OK && options->is_client_cert_required) {
        pv_tls_words(error, error_size, "client certificates are required but there is no client CA file");
        status = PV_INVALID;
    }
    if (status != PV_OK) {
        pv_tls_context_unref(made);
        return status;
    }
    *context = made;
    return PV_OK;
}

/* Whom a client trusts, by sslmode. */
static enum pv_status
client_trust_set(struct pv_tls_context *context, const struct pv_tls_client_options *options, char *error,
                 size_t error_size)
{
    bool is_verified = options->mode == PV_TLS_VERIFY_CA || options->mode == PV_TLS_VERIFY_FULL;

    if (options->root_cert_file == NULL) {
        if (is_verified) {
            pv_tls_words(error, error_size, "sslmode verify-ca and verify-full need a root certificate file");
            return PV_INVALID;
        }
        SSL_CTX_set_verify(context->ssl, SSL_VERIFY_NONE, NULL);
        return PV_OK;
    }
    if (SSL_CTX_load_verify_file(context->ssl, options->root_cert_file) != 1)
        return file_fault(error, error_size, "root certificate file", options->root_cert_file);
    SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
    context->is_host_verified = options->mode == PV_TLS_VERIFY_FULL;
    return PV_OK;
}

enum pv_status
pv_tls_client_context_new(const struct pv_tls_client_options *options, struct pv_tls_context **context, char *error,
                          size_t error_size)
{
    struct pv_tls_context *made;
    enum pv_status status;

    pv_assert(options->mode != PV_TLS_DISABLE);
    ERR_clear_error();
    status = context_new(false, &made);
    if (status != PV_OK) {
        pv_tls_words(error, error_size, "cannot make a TLS context");
        return status;
    }
    status = client_trust_set(made, options, error, error_size);
    if (status == PV_OK && options->cert_file != NULL)
        status = own_cert_use(made->ssl, options->cert_file,
                              options->key_file != NULL ? options->key_file : options->cert_file, error, error_size);
    /* This one call says 0 for success. */
    if (status == PV_OK && SSL_CTX_set_alpn_protos(made->ssl, alpn_protocols, ALPN_PROTOCOLS_LEN) != 0) {
        pv_tls_words(error, error_size, "cannot set ALPN");
        status = PV_NOMEM;
    }
    if (status != PV_OK) {
        pv_tls_context_unref(made);
        return status;
    }
    *context = made;
    return PV_OK;
}

struct pv_tls_context *
pv_tls_context_ref(struct pv_tls_context *context)
{
    (void) atomic_fetch_add(&context->ref_count, 1);
    return context;
}

void
pv_tls_context_unref(struct pv_tls_context *context)
{
    if (context == NULL || atomic_fetch_sub(&context->ref_count, 1) != 1)
        return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->socket);
    pv_free(context);
}
