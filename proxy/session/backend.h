/*
 * Logging in to a PostgreSQL server, as a pure engine: startup packet, SCRAM-SHA-256
 * (-PLUS where the connection is TLS and the server offers it), or no password at all where the server wants none (trust,
 * peer, certificate). Clear text and md5 are refused. Ends at the first ReadyForQuery.
 */
#ifndef PV_BACKEND_H
#define PV_BACKEND_H

#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

struct pv_backend_login;

struct pv_backend_options {
    const char *user, *dbname;
    const char *password; /* NULL: none */
    bool is_tls;
    struct pv_slice endpoint_hash; /* tls-server-end-point of the server's certificate; empty without TLS */
    /* Startup parameters in pairs, name then value: pinned search_path, client_encoding, ... (PROTOCOL: session pinning) */
    const char *const *parameters;
    size_t parameter_count; /* pairs */
};

struct pv_backend_login *pv_backend_login_new(const struct pv_backend_options *options) PV_MUST_CHECK;
void pv_backend_login_free(struct pv_backend_login *login);
/*
 * Feeds bytes from the server; appends bytes for it to `out` (the first call, with no bytes, gives the startup packet).
 * PV_MORE: go on; PV_OK: ready (nothing may be left of the input but what `consumed` says); PV_AUTH, PV_PROTOCOL, PV_CLOSED:
 * failed, see pv_backend_login_error.
 */
enum pv_status pv_backend_login_feed(struct pv_backend_login *login, struct pv_slice bytes, size_t *consumed,
                                     struct pv_buf *out) PV_MUST_CHECK;
const char *pv_backend_login_error(const struct pv_backend_login *login);    /* words, untrusted server text cleaned */
const char *pv_backend_login_sqlstate(const struct pv_backend_login *login); /* the server's, or "" */
uint32_t pv_backend_pid(const struct pv_backend_login *login);
struct pv_slice pv_backend_key(const struct pv_backend_login *login);
size_t pv_backend_parameter_count(const struct pv_backend_login *login);
const char *pv_backend_parameter_name(const struct pv_backend_login *login, size_t i);
const char *pv_backend_parameter_value(const struct pv_backend_login *login, size_t i);

#endif
