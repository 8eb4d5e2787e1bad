/*
 * Where sessions get server connections and leave them. One a client for now (session
 * pooling): taking connects, giving back closes. A pool for transactions keeps its seam
 * here: keyed by room and login role, never shared between rooms.
 */
#ifndef PV_POOL_H
#define PV_POOL_H

#include "proxy/net/server.h"

/* As pv_server_connect. */
enum pv_status pv_pool_take(struct pv_server_thread *thread, struct pv_world *world, const struct pv_room *room,
                            const struct pv_server_events *events, void *context,
                            struct pv_server **server) PV_MUST_CHECK;
/* Takes the server, open or still connecting. NULL is fine. */
void pv_pool_give(struct pv_server_thread *thread, struct pv_server *server);

#endif
