/*
 * A client from inside: client_accept.c lets it in, client_host.c notes what the engine asks for, client.c does it.
 */
#ifndef PV_CLIENT_INT_H
#define PV_CLIENT_INT_H

#include "proxy/net/net_int.h"

struct pv_client {
    struct pv_client_hooks hooks;
    struct pv_worker *worker;
    struct pv_session *session;
    struct pv_link *link;
    struct pv_pooled *pooled;    /* NULL: none at hand */
    struct pv_pool_wait *wait;   /* NULL: none is waited for */
    struct pv_link *server_link; /* its link, once open */
    struct pv_server_cancel *cancel;
    struct pv_due due;
    uint32_t cancel_pid; /* under which the cancel map knows the session; 0: it does not */
    bool is_unix;
    bool is_direct_tls;
    bool is_over_limit; /* accepted to be refused */
    /* What the engine asked for in the call at hand. */
    bool is_shared;     /* of the server connections: told at the first one */
    bool is_conforming; /* as the upstream's own user, with no policy: its connection is nobody else's */
    bool has_asked;  /* for the first one */
    bool is_pinned;
    bool wants_tls, wants_server, wants_release, wants_cancel, wants_close, wants_refusal;
    bool is_under_way; /* a statement that began has not ended: of several the newest */
    bool was_busy;  /* before the call at hand */
    bool is_folded; /* the session is */
    bool rests_next; /* it is to be after this call, if it can */
    /* Back pressure. */
    bool is_engine_full; /* pause_client */
    bool is_client_stopped, is_server_stopped;
    size_t granted;      /* held bytes that are allowed beyond the high mark */
    int64_t stall_at_us; /* INT64_MAX: no standstill */
    uint64_t stall_sent;
};

extern const struct pv_link_events pv_client_link_events;
/* What its newest record says of it, or its end. */
void pv_client_under_way(struct pv_client *client, bool is_under_way);
/* Sends what the call gave, does what it asked for, and sets what to wait for. The client may be gone afterwards. */
void pv_client_leave(struct pv_client *client);

#endif
