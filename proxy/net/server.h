/*
 * A connection to a room's upstream, logged in as the room's own role with its settings
 * pinned as startup parameters, so that RESET and DISCARD come back to them (PROTOCOL,
 * session pinning); and the cancel of what it runs.
 */
#ifndef PV_SERVER_H
#define PV_SERVER_H

#include "proxy/net/hosts.h"
#include "proxy/net/link.h"
#include "proxy/net/lookup.h"
#include "proxy/net/world.h"
#include "proxy/session/session.h"

struct pv_server;

/* Of one thread. */
struct pv_server_thread {
    struct pv_loop *loop;
    struct pv_link_thread *links;
    struct pv_lookup *lookup;
    struct pv_hosts *hosts;
    const char *conformance_room; /* NULL: off */
    size_t cancel_count;          /* cancels under way */
};

struct pv_server_events {
    /*
     * Logged in; the link wants its session as owner (pv_link_set_owner). The facts are valid until this returns.
     * `rest`: bytes that came behind the login, if any.
     */
    void (*open)(void *context, struct pv_server *server, const struct pv_server_facts *facts, struct pv_slice rest);
    /* Not to be had; the server is gone after this. Words for the client, free of the upstream's secrets. */
    void (*failed)(void *context, const char *sqlstate, const char *words);
};

/*
 * Tries the upstream's servers in turn (net/hosts.h). Shares the world, in whose policy the room is. PV_NOMEM: nothing follows. A login that the database refuses is read
 * from the state once more, since the room may have been provisioned again.
 */
enum pv_status pv_server_connect(struct pv_server_thread *thread, struct pv_world *world, const struct pv_room *room,
                                 const struct pv_server_events *events, void *context,
                                 struct pv_server **server) PV_MUST_CHECK;
struct pv_link *pv_server_link(struct pv_server *server);
struct pv_side *pv_server_side(struct pv_server *server); /* once open; lives as long as the server */
/* Once open. False: it was promoted, and is not what its upstream asks for any more. */
bool pv_server_is_fit(const struct pv_server *server);
/* Once open. True: a connect to its address failed a short while ago. */
bool pv_server_is_doubtful(const struct pv_server *server);
/* To another thread: `leave` on the one that it is on, when nothing of it is under way, then `join` on the other. */
void pv_server_leave(struct pv_server *server);
enum pv_status pv_server_join(struct pv_server *server, struct pv_server_thread *thread) PV_MUST_CHECK;
/* At any time: sends what is gathered and closes, with Terminate (once open) when `is_polite`. NULL is fine. */
void pv_server_close(struct pv_server *server, bool is_polite);

/*
 * Sends a CancelRequest over a connection of its own to the same address, TLS likewise. `done` comes when the
 * server has closed that one (it has acted then) or it failed; the op outlives the server. Gives the op.
 */
struct pv_server_cancel;
enum pv_status pv_server_cancel_start(struct pv_server *server, void (*done)(void *context), void *context,
                                      struct pv_server_cancel **cancel) PV_MUST_CHECK;
/* Nobody waits for `done` any more; the request goes on. NULL is fine. */
void pv_server_cancel_forget(struct pv_server_cancel *cancel);

#endif
