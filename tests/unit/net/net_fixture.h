/* What the tests of net share: socket pairs, a loop that runs until something is true, throwaway certificates. */
#ifndef PV_NET_FIXTURE_H
#define PV_NET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/base/base.h"
#include "proxy/base/bytes.h"
#include "proxy/net/link.h"
#include "proxy/net/loop.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One side as the loop sees it: everything that its link told. */
struct side {
    struct pv_link *link;
    struct pv_buf got;
    unsigned eof_count, tls_count, drained_count;
    uint8_t first;
    char words[160];
    bool is_closing; /* finish the link at the next bytes */
    bool is_gone;
};

static inline void
side_bytes(void *context, struct pv_slice bytes)
{
    struct side *side = context;

    pv_buf_put_slice(&side->got, bytes);
    if (side->is_closing) {
        side->is_gone = true;
        pv_link_finish(side->link, true);
    }
}

static inline void
side_eof(void *context, const char *words)
{
    struct side *side = context;

    side->eof_count++;
    (void) snprintf(side->words, sizeof(side->words), "%s", words != NULL ? words : "");
}

static inline void
side_tls(void *context)
{
    ((struct side *) context)->tls_count++;
}

static inline void
side_drained(void *context)
{
    ((struct side *) context)->drained_count++;
}

static inline void
side_first(void *context, uint8_t byte)
{
    ((struct side *) context)->first = byte;
}

static const struct pv_link_events side_events = {
    .first = side_first, .bytes = side_bytes, .eof = side_eof, .tls = side_tls, .drained = side_drained};

struct bench {
    struct pv_loop *loop;
    struct pv_link_thread *thread;
};

static inline void
bench_open(struct bench *bench)
{
    bench->loop = pv_loop_new();
    assert_non_null(bench->loop);
    bench->thread = pv_link_thread_new(bench->loop);
    assert_non_null(bench->thread);
}

/* Handles what has happened, waiting a few milliseconds for it. */
static inline void
bench_turn(struct bench *bench)
{
    (void) event_base_loop(pv_loop_base(bench->loop), EVLOOP_NONBLOCK);
    (void) usleep(1000);
}

#define bench_until(bench, claim) \
    do { \
        for (int turns = 0; !(claim) && turns < 60000; turns++) \
            bench_turn(bench); \
        assert_true(claim); \
    } while (0)

static inline void
bench_close(struct bench *bench)
{
    bench_until(bench, pv_link_count(bench->thread) == 0);
    pv_link_thread_free(bench->thread);
    pv_loop_free(bench->loop);
}

static inline void
make_pair(int fds[2], int buffer_bytes)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; i++)
        if (buffer_bytes > 0)
            assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes)), 0);
}

static inline void
side_open(struct bench *bench, struct side *side, int fd, bool is_paused)
{
    memset(side, 0, sizeof(*side));
    assert_int_equal(pv_link_open(bench->thread, fd, is_paused, &side_events, side, &side->link), PV_OK);
}

static inline void
say(struct side *side, const char *text)
{
    pv_link_gather(side->link, pv_slice_cstr(text));
    pv_link_flush(side->link);
}

/* Byte i of a stream that no shift or swap leaves as it was. */
static inline uint8_t
pattern(size_t i)
{
    return (uint8_t) (i * 31 + i / 251);
}

#endif
