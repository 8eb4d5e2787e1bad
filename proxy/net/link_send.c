#include "proxy/crypto/tls.h"
#include "proxy/net/link_int.h"
#include "proxy/net/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

void
pv_link_give_gather(struct pv_link *link)
{
    struct pv_gather *gather = link->gather;

    if (gather == NULL)
        return;
    link->gather = NULL;
    gather->count = 0;
    gather->next = link->thread->spare;
    link->thread->spare = gather;
}

static struct pv_gather *
take_gather(struct pv_link *link)
{
    struct pv_gather *gather = link->thread->spare;

    if (gather != NULL)
        link->thread->spare = gather->next;
    else
        gather = pv_calloc(1, sizeof(*gather));
    link->gather = gather;
    return gather;
}

static void
hold(struct pv_link *link, struct pv_slice bytes)
{
    if (link->held == NULL)
        link->held = pv_calloc(1, sizeof(*link->held));
    if (link->held != NULL)
        pv_buf_put_slice(link->held, bytes);
    if (link->held == NULL || !pv_buf_ok(link->held))
        pv_link_break(link, "out of memory");
}

void
pv_link_drop_held(struct pv_link *link)
{
    if (link->held != NULL)
        pv_buf_clear(link->held);
    pv_free(link->held);
    link->held = NULL;
}

/* The first bytes of it have gone. */
static void
consume_held(struct pv_link *link, size_t len)
{
    pv_buf_consume(link->held, len);
    if (pv_buf_len(link->held) == 0)
        pv_link_drop_held(link);
}

/* Takes `len` sent bytes off the front of the pieces; gives the first that is left. */
static size_t
advance(struct pv_gather *gather, size_t at, size_t len)
{
    while (at < gather->count && len >= gather->pieces[at].iov_len) {
        len -= gather->pieces[at].iov_len;
        at++;
    }
    if (at < gather->count) {
        gather->pieces[at].iov_base = (uint8_t *) gather->pieces[at].iov_base + len;
        gather->pieces[at].iov_len -= len;
    }
    return at;
}

static size_t
send_plain(struct pv_link *link, struct pv_gather *gather)
{
    size_t at = 0;

    while (at < gather->count) {
        struct msghdr message = {.msg_iov = &gather->pieces[at], .msg_iovlen = gather->count - at};
        /* Mostly it is one piece, for which the kernel has the shorter way. */
        ssize_t len = message.msg_iovlen == 1
                          ? send(link->fd, message.msg_iov->iov_base, message.msg_iov->iov_len, MSG_NOSIGNAL)
                          : sendmsg(link->fd, &message, MSG_NOSIGNAL);

        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                pv_link_break_errno(link);
            return at;
        }
        link->sent += (uint64_t) len;
        at = advance(gather, at, (size_t) len);
    }
    return at;
}

/* Writes as TLS takes it. False: it takes no more now. */
static bool
tls_send(struct pv_link *link, struct pv_slice bytes, size_t *taken)
{
    *taken = 0;
    while (*taken < bytes.len) {
        size_t len = 0;
        enum pv_tls_result result = pv_tls_write(link->tls, pv_slice_of(bytes.data + *taken, bytes.len - *taken), &len);

        link->write_wants_read = result == PV_TLS_WANT_READ;
        if (result == PV_TLS_FAILED || result == PV_TLS_CLOSED)
            pv_link_break(link, result == PV_TLS_FAILED ? pv_tls_error(link->tls) : "TLS connection closed");
        if (result != PV_TLS_OK)
            return false;
        *taken += len;
        link->sent += len;
    }
    return true;
}

/*
 * Pieces become records: large ones as they are, small ones joined. What TLS saw once must be
 * offered again with the same bytes in front, which holding the rest in order does.
 */
static size_t
send_tls(struct pv_link *link, struct pv_gather *gather)
{
    size_t at = 0;

    while (at < gather->count) {
        struct pv_slice bytes = pv_slice_of(gather->pieces[at].iov_base, gather->pieces[at].iov_len);
        size_t taken, end = at;
        bool goes_on;

        if (bytes.len < PV_LINK_RECORD_BYTES / 2 && at + 1 < gather->count) {
            size_t used = 0;

            for (; end < gather->count && used + gather->pieces[end].iov_len <= PV_LINK_RECORD_BYTES; end++) {
                memcpy(link->thread->record + used, gather->pieces[end].iov_base, gather->pieces[end].iov_len);
                used += gather->pieces[end].iov_len;
            }
            bytes = pv_slice_of(link->thread->record, used);
        }
        goes_on = tls_send(link, bytes, &taken);
        at = advance(gather, at, taken);
        if (!goes_on)
            break;
    }
    return at;
}

static void
send_gathered(struct pv_link *link)
{
    struct pv_gather *gather = link->gather;
    size_t at = 0;

    if (gather == NULL || gather->count == 0)
        return;
    if (!link->is_broken && link->held == NULL && link->phase != PV_LINK_HANDSHAKE)
        at = link->phase == PV_LINK_TLS ? send_tls(link, gather) : send_plain(link, gather);
    for (; at < gather->count && !link->is_broken; at++)
        hold(link, pv_slice_of(gather->pieces[at].iov_base, gather->pieces[at].iov_len));
    gather->count = 0;
}

void
pv_link_gather(struct pv_link *link, struct pv_slice bytes)
{
    struct pv_gather *gather = link->gather;
    struct iovec *last;

    if (bytes.len == 0 || link->is_broken)
        return;
    if (gather == NULL && (gather = take_gather(link)) == NULL) {
        pv_link_break(link, "out of memory");
        return;
    }
    last = gather->count > 0 ? &gather->pieces[gather->count - 1] : NULL;
    if (last != NULL && (const uint8_t *) last->iov_base + last->iov_len == bytes.data) {
        last->iov_len += bytes.len;
        return;
    }
    if (gather->count == PV_LINK_PIECES)
        send_gathered(link);
    /* An iovec is for reading and writing alike; this one is only ever sent. */
    gather->pieces[gather->count].iov_base = (void *) (uintptr_t) bytes.data;
    gather->pieces[gather->count++].iov_len = bytes.len;
}

void
pv_link_flush(struct pv_link *link)
{
    if (link->gather == NULL)
        return;
    send_gathered(link);
    pv_link_give_gather(link);
    pv_link_arm(link);
}

/* Sends of what is held. */
void
pv_link_send_held(struct pv_link *link)
{
    size_t before = pv_link_held(link), left;

    while (!link->is_broken && link->held != NULL) {
        struct pv_slice bytes = pv_buf_slice(link->held);
        size_t taken = 0;

        if (link->phase == PV_LINK_TLS) {
            bool goes_on = tls_send(link, bytes, &taken);

            if (!link->is_broken)
                consume_held(link, taken);
            if (!goes_on)
                break;
        } else {
            ssize_t len = send(link->fd, bytes.data, bytes.len, MSG_NOSIGNAL);

            if (len < 0 && errno == EINTR)
                continue;
            if (len < 0) {
                if (errno != EAGAIN && errno != EWOULDBLOCK)
                    pv_link_break_errno(link);
                break;
            }
            link->sent += (uint64_t) len;
            consume_held(link, (size_t) len);
        }
    }
    left = pv_link_held(link);
    if (left < before)
        link->finish_by_us = pv_now_us() + PV_LINK_FINISH_MS * 1000;
    if (!link->is_finishing && !link->is_broken && link->events->drained != NULL && left < before &&
        (left == 0 || (before > PV_LINK_LOW_BYTES && left <= PV_LINK_LOW_BYTES)))
        link->events->drained(link->context);
}

size_t
pv_link_held(const struct pv_link *link)
{
    return link->held == NULL ? 0 : pv_buf_len(link->held);
}

uint64_t
pv_link_sent(const struct pv_link *link)
{
    return link->sent;
}
