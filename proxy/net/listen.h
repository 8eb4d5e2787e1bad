/*
 * Listening sockets. TCP: one socket a worker on the same address, between which the
 * kernel spreads connections (SO_REUSEPORT). Unix: one socket, accepted on one thread,
 * handed on in turn. What accept cannot take now (no descriptors) waits a moment.
 */
#ifndef PV_LISTEN_H
#define PV_LISTEN_H

#include "policy/policy.h"
#include "proxy/base/base.h"

#include <sys/socket.h>

#define PV_LISTEN_ADDRESSES_MAX 8u

struct pv_loop;

/* What one `listen` entry resolves to, bound and listening. */
struct pv_bound {
    char name[128];   /* for the log: 127.0.0.1:6432, or the socket's path */
    const char *path; /* of a Unix socket, points into name; NULL for TCP */
    struct sockaddr_storage address;
    socklen_t address_len;
};

/*
 * Resolves and claims the addresses of one entry: afterwards pv_bound_socket makes the sockets. `name` may be `*`.
 * Fails with words when an address is somebody else's, another pgveil's on this port included. A port of 0 is replaced
 * by the one that the system gave. fds[i] is the first socket of bounds[i].
 */
enum pv_status pv_bound_make(const struct pv_listen *listen, struct pv_bound bounds[PV_LISTEN_ADDRESSES_MAX],
                             int fds[PV_LISTEN_ADDRESSES_MAX], size_t *count, char *error,
                             size_t error_size) PV_MUST_CHECK;
/* One more listening socket on a TCP address; -1 and errno. */
int pv_bound_socket(const struct pv_bound *bound);

struct pv_listener;

struct pv_listener_events {
    void (*accepted)(void *context, int fd, const struct sockaddr_storage *peer); /* a socket, prepared */
    void (*refused)(void *context); /* one for which there was no descriptor: it was told so and is gone; NULL: nobody counts */
};

/* Takes the socket; a descriptor is kept for refusals. NULL: out of memory. */
struct pv_listener *pv_listener_new(struct pv_loop *loop, int fd, bool is_tcp, const struct pv_listener_events *events,
                                    void *context) PV_MUST_CHECK;
/*
 * Says why to a client of whom nothing was read, as PostgreSQL does when it cannot start a process for it, and closes the
 * socket. Whoever waits for an answer to an SSLRequest takes that for one too.
 */
void pv_socket_refuse(int fd, const char *sqlstate, const char *words);
/* Closes the socket; on the loop's thread or when that has ended. NULL is fine. */
void pv_listener_free(struct pv_listener *listener);

#endif
