/* For this folder's tls*.c alone. */
#ifndef PV_TLS_INT_H
#define PV_TLS_INT_H

#include "proxy/crypto/tls.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

struct pv_tls_context {
    atomic_uint ref_count;
    SSL_CTX *ssl;
    bool is_server;
    bool is_host_verified; /* PV_TLS_VERIFY_FULL */
};

struct pv_tls {
    SSL *ssl;
    struct pv_tls_context *context; /* shared */
    char error[256];
};

/* `what`, then the library's reason for the oldest error in the thread's queue, which is emptied. */
void pv_tls_words(char *error, size_t error_size, const char *what);

#endif
