/* For this folder's tls*.c alone. */
#ifndef PV_TLS_INT_H
#define PV_TLS_INT_H

#include "proxy/base/bytes.h"
#include "proxy/crypto/tls.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdatomic.h>

struct pv_tls_context {
    atomic_uint ref_count;
    SSL_CTX *ssl;
    BIO_METHOD *socket; /* tls_socket.c */
    bool is_server;
    bool is_host_verified; /* PV_TLS_VERIFY_FULL */
};

struct pv_tls {
    SSL *ssl;
    struct pv_tls_context *context; /* shared */
    int fd;
    bool is_eof;          /* as the socket last said */
    bool is_lent;         /* reads take `lent` and leave the socket alone */
    struct pv_slice lent; /* borrowed; what of it is not taken yet */
    struct pv_buf kept;   /* received, and behind what was last taken: comes before the socket's */
    char error[256];
};

/* What connections read and write by; NULL: out of memory. */
BIO_METHOD *pv_tls_socket_method(void) PV_MUST_CHECK;

/* `what`, then the library's reason for the oldest error in the thread's queue, which is emptied. */
void pv_tls_words(char *error, size_t error_size, const char *what);

#endif
