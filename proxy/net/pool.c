#include "proxy/net/pool.h"

enum pv_status
pv_pool_take(struct pv_server_thread *thread, struct pv_world *world, const struct pv_room *room,
             const struct pv_server_events *events, void *context, struct pv_server **server)
{
    return pv_server_connect(thread, world, room, events, context, server);
}

void
pv_pool_give(struct pv_server_thread *thread, struct pv_server *server)
{
    (void) thread;
    pv_server_close(server, true);
}
