/* Connections. */
#include "proxy/crypto/tls.h"

#include "proxy/crypto/tls_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static bool
is_ip_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Whose certificate a client expects (RFC 6125), and the name it asks for (SNI, which has no addresses). */
static enum pv_status
host_set(struct pv_tls *tls, const char *host)
{
    bool is_ip = is_ip_address(host);
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);

    if (!is_ip) {
        /* A copy, for the library's macro casts const away. */
        char *name = pv_strdup(host);
        bool is_set;

        if (name == NULL)
            return PV_NOMEM;
        is_set = SSL_set_tlsext_host_name(tls->ssl, name) == 1;
        pv_free(name);
        if (!is_set)
            return PV_INVALID;
    }
    if (!tls->context->is_host_verified)
        return PV_OK;
    if (is_ip)
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1 ? PV_OK : PV_INVALID;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 ? PV_OK : PV_INVALID;
}

static bool
socket_set(struct pv_tls *tls, int fd)
{
    BIO *socket = BIO_new(tls->context->socket);

    if (socket == NULL)
        return false;
    tls->fd = fd;
    BIO_set_data(socket, tls);
    BIO_set_init(socket, 1);
    SSL_set_bio(tls->ssl, socket, socket);
    return true;
}

enum pv_status
pv_tls_new(struct pv_tls_context *context, int fd, const char *host, struct pv_tls **tls)
{
    struct pv_tls *made;
    enum pv_status status = PV_OK;

    /* An empty name would match any certificate. */
    if (context->is_host_verified && (host == NULL || host[0] == '\0'))
        return PV_INVALID;
    made = pv_calloc(1, sizeof(*made));
    if (made == NULL)
        return PV_NOMEM;
    ERR_clear_error();
    made->context = pv_tls_context_ref(context);
    made->ssl = SSL_new(context->ssl);
    if (made->ssl == NULL || !socket_set(made, fd))
        status = PV_NOMEM;
    else if (!context->is_server && host != NULL && host[0] != '\0')
        status = host_set(made, host);
    if (status != PV_OK) {
        pv_tls_free(made);
        ERR_clear_error();
        return status;
    }
    if (context->is_server)
        SSL_set_accept_state(made->ssl);
    else
        SSL_set_connect_state(made->ssl);
    *tls = made;
    return PV_OK;
}

void
pv_tls_free(struct pv_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    pv_buf_clear(&tls->kept);
    pv_tls_context_unref(tls->context);
    pv_free(tls);
}

/* What the library's answer means; the queue of errors was empty before the call. */
static enum pv_tls_result
result_of(struct pv_tls *tls, int answer, const char *what)
{
    int saved_errno = errno;
    long verdict;

    switch (SSL_get_error(tls->ssl, answer)) {
    case SSL_ERROR_NONE:
        return PV_TLS_OK;
    case SSL_ERROR_WANT_READ:
        return PV_TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return PV_TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return PV_TLS_CLOSED;
    case SSL_ERROR_SYSCALL:
        if (saved_errno == 0)
            return PV_TLS_CLOSED;
        (void) snprintf(tls->error, sizeof(tls->error), "%s: %s", what, strerror(saved_errno));
        break;
    default:
        verdict = SSL_get_verify_result(tls->ssl);
        if (verdict != X509_V_OK && !SSL_is_init_finished(tls->ssl))
            (void) snprintf(tls->error, sizeof(tls->error), "%s: certificate of the peer: %s", what,
                            X509_verify_cert_error_string(verdict));
        else
            pv_tls_words(tls->error, sizeof(tls->error), what);
        break;
    }
    ERR_clear_error();
    return PV_TLS_FAILED;
}

static void
call_prepare(void)
{
    /* Clearing goes through the whole queue, whether anything is in it or not. */
    if (ERR_peek_error() != 0)
        ERR_clear_error();
    errno = 0;
}

enum pv_tls_result
pv_tls_handshake(struct pv_tls *tls)
{
    enum pv_tls_result result;

    call_prepare();
    result = result_of(tls, SSL_do_handshake(tls->ssl), "TLS handshake");
    if (result == PV_TLS_CLOSED) {
        (void) snprintf(tls->error, sizeof(tls->error), "TLS handshake: the peer closed the connection");
        return PV_TLS_FAILED;
    }
    return result;
}

enum pv_tls_result
pv_tls_read(struct pv_tls *tls, uint8_t *data, size_t size, size_t *len)
{
    size_t moved = 0;
    enum pv_tls_result result;

    call_prepare();
    result = result_of(tls, SSL_read_ex(tls->ssl, data, size, &moved), "TLS read");
    if (result == PV_TLS_OK)
        *len = moved;
    return result;
}

enum pv_tls_result
pv_tls_write(struct pv_tls *tls, struct pv_slice data, size_t *len)
{
    size_t moved = 0;
    enum pv_tls_result result = PV_TLS_OK;

    if (data.len > 0) {
        call_prepare();
        result = result_of(tls, SSL_write_ex(tls->ssl, data.data, data.len, &moved), "TLS write");
    }
    if (result == PV_TLS_OK)
        *len = moved;
    return result;
}

size_t
pv_tls_pending(const struct pv_tls *tls)
{
    int len = SSL_pending(tls->ssl);

    return (len > 0 ? (size_t) len : 0) + pv_buf_len(&tls->kept);
}

void
pv_tls_lend(struct pv_tls *tls, struct pv_slice received)
{
    pv_assert(!tls->is_lent && pv_buf_len(&tls->kept) == 0);
    tls->lent = received;
    tls->is_lent = true;
}

bool
pv_tls_has_lent(const struct pv_tls *tls)
{
    return tls->lent.len > 0 || SSL_pending(tls->ssl) > 0;
}

enum pv_status
pv_tls_give_back(struct pv_tls *tls)
{
    if (tls->lent.len > 0)
        pv_buf_put_slice(&tls->kept, tls->lent);
    tls->lent = pv_slice_of(NULL, 0);
    tls->is_lent = false;
    return pv_buf_ok(&tls->kept) ? PV_OK : PV_NOMEM;
}

enum pv_tls_result
pv_tls_shutdown(struct pv_tls *tls)
{
    int answer;

    if (!SSL_is_init_finished(tls->ssl))
        return PV_TLS_OK;
    call_prepare();
    answer = SSL_shutdown(tls->ssl);
    /* 0: sent, and the peer's has not come, which nobody waits for. */
    return answer >= 0 ? PV_TLS_OK : result_of(tls, answer, "TLS shutdown");
}

const char *
pv_tls_error(const struct pv_tls *tls)
{
    return tls->error;
}

const char *
pv_tls_version(const struct pv_tls *tls)
{
    return SSL_get_version(tls->ssl);
}

const char *
pv_tls_cipher(const struct pv_tls *tls)
{
    const char *name = SSL_get_cipher_name(tls->ssl);

    return name == NULL ? "" : name;
}

bool
pv_tls_has_alpn(const struct pv_tls *tls)
{
    const unsigned char *name = NULL;
    unsigned int len = 0;

    SSL_get0_alpn_selected(tls->ssl, &name, &len);
    return pv_slice_is(pv_slice_of(name, len), "postgresql");
}
