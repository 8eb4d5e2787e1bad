/*
 * A link from inside. link.c receives, speaks TLS and ends it; link_send.c sends.
 */
#ifndef PV_LINK_INT_H
#define PV_LINK_INT_H

#include "proxy/base/bytes.h"
#include "proxy/net/link.h"

#include <event2/event_struct.h>
#include <sys/uio.h>

/* One read: large enough that a streamed result costs few calls, small enough to stay in the cache. */
#define PV_LINK_READ_BYTES (64u * 1024u)
/* The same over TLS: with a record whose beginning came before, its text fits into one read. */
#define PV_LINK_CIPHER_BYTES (44u * 1024u)
/* Pieces of one writev; more are sent in between. */
#define PV_LINK_PIECES 64u
/* Small pieces are joined to this before they become a TLS record: old clients stumble over larger ones. */
#define PV_LINK_RECORD_BYTES (8u * 1024u)
/* A closing link that makes no progress is dropped after this. */
#define PV_LINK_FINISH_MS 10000

struct pv_gather {
    struct pv_gather *next;
    size_t count;
    struct iovec pieces[PV_LINK_PIECES];
};

struct pv_link_thread {
    struct pv_loop *loop;
    struct pv_gather *spare; /* of at most a few: one link gathers at a time, its partner beside it */
    size_t link_count;
    uint8_t read[PV_LINK_READ_BYTES];
    uint8_t record[PV_LINK_RECORD_BYTES];
    uint8_t cipher[PV_LINK_CIPHER_BYTES];
};

enum pv_link_phase { PV_LINK_PLAIN, PV_LINK_HANDSHAKE, PV_LINK_TLS };

struct pv_link {
    struct pv_link_thread *thread;
    const struct pv_link_events *events;
    void *context;
    struct pv_tls *tls;
    struct pv_gather *gather;
    struct pv_buf *held; /* NULL: nothing is */
    uint64_t sent;
    int64_t finish_by_us;
    int fd;
    uint8_t phase; /* enum pv_link_phase */
    uint8_t depth; /* callbacks of ours that are running */
    /* Bits: thousands of links do nothing but wait. */
    bool is_paused : 1;
    bool is_eof : 1;       /* the peer sends no more */
    bool is_broken : 1;    /* of no more use, either way */
    bool is_told : 1;      /* the owner has heard of eof */
    bool is_finishing : 1; /* the owner has let go */
    bool is_lingering : 1;
    bool is_first_seen : 1;
    bool is_shut : 1; /* our goodbye was sent */
    bool is_dead : 1; /* freed inside a callback */
    bool read_wants_write : 1, write_wants_read : 1, handshake_wants_write : 1;
    bool is_read_armed : 1, is_write_armed : 1;
    char *words; /* why it is broken; NULL: no memory to say */
    struct event *write_event; /* NULL until the peer does not take bytes */
    struct event read_event;
};

/* Asks for the events that its state wants. */
void pv_link_arm(struct pv_link *link);
/* Of no more use, either way: the owner hears of it from the loop. */
void pv_link_break(struct pv_link *link, const char *words);
void pv_link_break_errno(struct pv_link *link);
/* The socket takes bytes again. */
void pv_link_send_held(struct pv_link *link);
/* Forgets what is held. */
void pv_link_drop_held(struct pv_link *link);
/* Gives the list of pieces back to the thread. */
void pv_link_give_gather(struct pv_link *link);

#endif
