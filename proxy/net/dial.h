/*
 * A connection to a PostgreSQL server at one address, up to where its protocol begins:
 * connect, then SSLRequest and TLS by sslmode. Ends in exactly one of
 * the two callbacks, after which the dial is gone.
 */
#ifndef PV_DIAL_H
#define PV_DIAL_H

#include "proxy/net/link.h"
#include "proxy/net/hosts.h"

struct pv_dial;
struct pv_tls_context;

struct pv_dial_options {
    const struct pv_address *address; /* copied */
    struct pv_tls_context *tls;       /* shared; NULL: plain. Not asked for over a Unix socket, as in libpq */
    const char *host;                 /* as configured, for the certificate; copied */
    uint64_t timeout_ms;              /* for all of it; 0: a default */
};

struct pv_dial_events {
    /* Takes the link, whose events must get an owner at once. */
    void (*up)(void *context, struct pv_link *link);
    void (*failed)(void *context, const char *words);
};

/* PV_NOMEM: nothing follows. Callbacks come from the loop, never from in here. */
enum pv_status pv_dial_start(struct pv_link_thread *thread, struct pv_loop *loop, const struct pv_dial_options *options,
                             const struct pv_dial_events *events, void *context, struct pv_dial **dial) PV_MUST_CHECK;
/* Gives up without a word. NULL is fine. */
void pv_dial_free(struct pv_dial *dial);

#endif
