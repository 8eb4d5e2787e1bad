/*
 * The socket under a connection. The library reads a record in two calls, its header and its body, and asks once more to
 * learn that there is none; what the caller received at once and lent is given to it from memory instead.
 */
#include "proxy/crypto/tls_int.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static size_t
less_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool
is_to_come_again(ssize_t answer)
{
    return answer < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* What was kept, before what is lent. */
static size_t
take(struct pv_tls *tls, char *data, size_t size)
{
    bool is_kept = pv_buf_len(&tls->kept) > 0;
    struct pv_slice from = is_kept ? pv_buf_slice(&tls->kept) : tls->lent;
    size_t len = less_of(size, from.len);

    if (len == 0)
        return 0;
    memcpy(data, from.data, len);
    if (!is_kept) {
        tls->lent = pv_slice_of(from.data + len, from.len - len);
    } else {
        pv_buf_consume(&tls->kept, len);
        if (pv_buf_len(&tls->kept) == 0)
            pv_buf_clear(&tls->kept);
    }
    return len;
}

/* The library's way: 1 with bytes, 0 at the end, -1 for an error or, with a flag, for what is to be tried again. */
static int
socket_read(BIO *bio, char *data, size_t size, size_t *len)
{
    struct pv_tls *tls = BIO_get_data(bio);
    ssize_t answer;

    BIO_clear_retry_flags(bio);
    *len = take(tls, data, size);
    if (*len > 0)
        return 1;
    if (tls->is_lent) {
        BIO_set_retry_read(bio);
        return -1;
    }
    answer = recv(tls->fd, data, size, 0);
    if (answer > 0) {
        *len = (size_t) answer;
        return 1;
    }
    tls->is_eof = answer == 0;
    if (is_to_come_again(answer))
        BIO_set_retry_read(bio);
    return (int) answer;
}

static int
socket_write(BIO *bio, const char *data, size_t size, size_t *len)
{
    const struct pv_tls *tls = BIO_get_data(bio);
    ssize_t answer = send(tls->fd, data, size, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (answer >= 0) {
        *len = (size_t) answer;
        return 1;
    }
    if (is_to_come_again(answer))
        BIO_set_retry_write(bio);
    return -1;
}

static long
socket_control(BIO *bio, int command, long number, void *pointer)
{
    const struct pv_tls *tls = BIO_get_data(bio);

    (void) number;
    (void) pointer;
    switch (command) {
    case BIO_CTRL_FLUSH: /* nothing is held back */
        return 1;
    case BIO_CTRL_EOF:
        return tls->is_eof ? 1 : 0;
    default:
        return 0;
    }
}

BIO_METHOD *
pv_tls_socket_method(void)
{
    /* Without an index of its own, of which a process has a few and a reload would take one: nobody looks for it by type. */
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "pgveil socket");

    if (method == NULL || BIO_meth_set_read_ex(method, socket_read) != 1 ||
        BIO_meth_set_write_ex(method, socket_write) != 1 || BIO_meth_set_ctrl(method, socket_control) != 1) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}
