/*
 * One socket of a session, client's or server's, plain or TLS: bytes in by callback,
 * bytes out gathered during an engine call and sent at its end with one writev (or
 * TLS write). A buffer exists only while the peer does not take what we have for it.
 * A link belongs to one thread at a time.
 *
 * Callbacks run from the loop, never from within a pv_link_* call, so an owner may
 * call anything from anywhere, pv_link_finish and pv_link_free included.
 */
#ifndef PV_LINK_H
#define PV_LINK_H

#include "proxy/base/base.h"
#include "proxy/base/limits.h"

struct pv_link;
struct pv_loop;
struct pv_tls;
struct pv_tls_context;

/* What the links of one thread share: its loop, one read buffer, counters. */
struct pv_link_thread;
struct pv_link_thread *pv_link_thread_new(struct pv_loop *loop) PV_MUST_CHECK; /* NULL: out of memory */
void pv_link_thread_free(struct pv_link_thread *thread);                       /* no link may be left; NULL is fine */
size_t pv_link_count(const struct pv_link_thread *thread); /* open links, those that are still finishing too */

struct pv_link_events {
    /* NULL, or told the first byte before it is read, once, while the link is plain: may start TLS. */
    void (*first)(void *context, uint8_t byte);
    /* Valid until the callback returns. */
    void (*bytes)(void *context, struct pv_slice bytes);
    /* The peer is gone: closed (words NULL), or failed. Nothing more is read. Once, after the last bytes. */
    void (*eof)(void *context, const char *words);
    /* TLS that pv_link_start_tls began is up. A handshake that fails is an eof with words. */
    void (*tls)(void *context);
    /* Held bytes fell: to PV_LINK_LOW_BYTES, or to none. */
    void (*drained)(void *context);
};

/*
 * Takes the non-blocking socket and starts to read it (a paused one once unpaused). `events` is borrowed for life.
 * PV_NOMEM: the socket stays the caller's.
 */
enum pv_status pv_link_open(struct pv_link_thread *thread, int fd, bool is_paused, const struct pv_link_events *events,
                            void *context, struct pv_link **link) PV_MUST_CHECK;
/* Hands the link to another owner on the same thread. */
void pv_link_set_owner(struct pv_link *link, const struct pv_link_events *events, void *context);

/* Adds to what goes out; the bytes must stay until pv_link_flush. Order is kept. */
void pv_link_gather(struct pv_link *link, struct pv_slice bytes);
/* Sends what was gathered; what the socket does not take is copied and goes out when it does. */
void pv_link_flush(struct pv_link *link);
/* Bytes held for a peer that does not take them. */
size_t pv_link_held(const struct pv_link *link);
/* Bytes that the peer took since the link opened. */
uint64_t pv_link_sent(const struct pv_link *link);
/* Bytes that wait unread in the socket (or inside TLS): is the peer waiting for us to read? */
bool pv_link_has_unread(const struct pv_link *link);
void pv_link_pause(struct pv_link *link, bool is_paused);

/*
 * TLS from here on, by the side of the context, once held bytes are out. Borrows `context` for the call. `host`
 * as in pv_tls_new. PV_BUSY: it has TLS already.
 */
enum pv_status pv_link_start_tls(struct pv_link *link, struct pv_tls_context *context, const char *host) PV_MUST_CHECK;
const struct pv_tls *pv_link_tls(const struct pv_link *link); /* NULL: plain */

/*
 * Sends what is left, says goodbye (close_notify, FIN), and frees the link; with `is_lingering` it first reads
 * and drops what the peer still sends, so that a last error reaches it instead of a reset. Bounded in time.
 * The owner hears nothing more.
 */
void pv_link_finish(struct pv_link *link, bool is_lingering);
/*
 * To another thread: `leave` on its own, outside of its callbacks, when it holds nothing and no TLS handshake runs;
 * `join` on the other, which reads it from then on. PV_NOMEM: it has joined, and can only be freed.
 */
void pv_link_leave(struct pv_link *link);
bool pv_link_may_leave(const struct pv_link *link);
enum pv_status pv_link_join(struct pv_link *link, struct pv_link_thread *thread) PV_MUST_CHECK;
/* At once. NULL is fine. */
void pv_link_free(struct pv_link *link);

/* ---- Sockets ---- */

/* Non-blocking, close-on-exec; on TCP also no delay, keepalive and a bound on unacknowledged data. */
void pv_socket_prepare(int fd, bool is_tcp);

#endif
