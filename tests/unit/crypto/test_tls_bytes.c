/* Bytes over TLS: lent ones, the end of a stream, large writes. */
#include "tests/unit/crypto/tls_test.h"

/* Receives what the peer wrote, past the connection. */
static struct pv_slice
cipher_receive(int fd, uint8_t *room, size_t size)
{
    ssize_t len = recv(fd, room, size, 0);

    assert_true(len > 0);
    return pv_slice_of(room, (size_t) len);
}

static void
text_write(struct pv_tls *tls, const char *text)
{
    size_t len = 0;

    assert_int_equal(pv_tls_write(tls, pv_slice_cstr(text), &len), PV_TLS_OK);
    assert_int_equal(len, strlen(text));
}

static void
text_read(struct pv_tls *tls, const char *text)
{
    uint8_t room[16];
    size_t len = 0;

    assert_int_equal(pv_tls_read(tls, room, sizeof(room), &len), PV_TLS_OK);
    assert_true(pv_slice_is(pv_slice_of(room, len), text));
}

/* Bytes that the caller received: taken in place of the socket's, whole or cut anywhere, and what is left is kept. */
static void
lent_bytes_are_read(void **state)
{
    struct pair pair = pair_open(server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, NULL, false),
                                 client_context(PV_TLS_REQUIRE, NULL, NULL, NULL), NULL);
    uint8_t room[512], text[16];
    struct pv_slice cipher;
    size_t len, whole;

    (void) state;
    text_write(pair.client, "one");
    cipher = cipher_receive(pair.fds[0], room, sizeof(room));
    whole = cipher.len;
    /* Whatever is lent ends inside the record: more is wanted, though the socket has the next one. */
    text_write(pair.client, "two");
    for (size_t i = 0; i + 1 < whole; i++) {
        pv_tls_lend(pair.server, pv_slice_of(cipher.data + i, 1));
        assert_true(pv_tls_has_lent(pair.server));
        assert_int_equal(pv_tls_read(pair.server, text, sizeof(text), &len), PV_TLS_WANT_READ);
        assert_false(pv_tls_has_lent(pair.server));
        assert_int_equal(pv_tls_give_back(pair.server), PV_OK);
        assert_int_equal(pv_tls_pending(pair.server), 0);
    }
    pv_tls_lend(pair.server, pv_slice_of(cipher.data + whole - 1, 1));
    text_read(pair.server, "one");
    assert_false(pv_tls_has_lent(pair.server));
    assert_int_equal(pv_tls_give_back(pair.server), PV_OK);
    text_read(pair.server, "two");

    /* Three records at once, of which one is read: the others wait, and come before the socket's. */
    for (int i = 0; i < 3; i++)
        text_write(pair.client, i == 0 ? "three" : i == 1 ? "four" : "five");
    cipher = cipher_receive(pair.fds[0], room, sizeof(room));
    text_write(pair.client, "six");
    pv_tls_lend(pair.server, cipher);
    text_read(pair.server, "three");
    assert_true(pv_tls_has_lent(pair.server));
    pv_alloc_fail_at(1);
    assert_int_equal(pv_tls_give_back(pair.server), PV_NOMEM);
    pv_alloc_fail_at(0);
    pair_close(&pair);

    pair = pair_open(server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, NULL, false),
                     client_context(PV_TLS_REQUIRE, NULL, NULL, NULL), NULL);
    for (int i = 0; i < 3; i++)
        text_write(pair.client, i == 0 ? "three" : i == 1 ? "four" : "five");
    cipher = cipher_receive(pair.fds[0], room, sizeof(room));
    text_write(pair.client, "six");
    pv_tls_lend(pair.server, cipher);
    text_read(pair.server, "three");
    assert_int_equal(pv_tls_give_back(pair.server), PV_OK);
    memset(room, 0, sizeof(room));
    assert_true(pv_tls_pending(pair.server) > 0);
    text_read(pair.server, "four");
    text_read(pair.server, "five");
    assert_int_equal(pv_tls_pending(pair.server), 0);
    text_read(pair.server, "six");
    assert_int_equal(pv_tls_read(pair.server, text, sizeof(text), &len), PV_TLS_WANT_READ);

    /* A record that was changed on its way. */
    text_write(pair.client, "seven");
    cipher = cipher_receive(pair.fds[0], room, sizeof(room));
    room[cipher.len - 1] ^= 1;
    pv_tls_lend(pair.server, cipher);
    assert_int_equal(pv_tls_read(pair.server, text, sizeof(text), &len), PV_TLS_FAILED);
    assert_int_equal(pv_tls_give_back(pair.server), PV_OK);
    pair_close(&pair);
}

static void
end_of_stream_closes(void **state)
{
    struct pair pair = pair_open(server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, NULL, false),
                                 client_context(PV_TLS_REQUIRE, NULL, NULL, NULL), NULL);
    uint8_t room[4];
    size_t len;

    (void) state;
    assert_int_equal(shutdown(pair.fds[1], SHUT_RDWR), 0);
    assert_int_equal(pv_tls_read(pair.server, room, sizeof(room), &len), PV_TLS_CLOSED);
    assert_int_equal(pv_tls_write(pair.server, pv_slice_cstr("x"), &len), PV_TLS_CLOSED);
    pair_close(&pair);
}

/* More than the socket holds: a partial write, then a retry from another address. */
static void
large_writes_come_in_parts(void **state)
{
    struct pair pair = pair_open(server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, NULL, false),
                                 client_context(PV_TLS_REQUIRE, NULL, NULL, NULL), NULL);
    size_t size = 4 * 1024 * 1024;
    uint8_t *data = malloc(size), *moved = malloc(size), *received = malloc(size);
    size_t sent = 0, got = 0, len;
    bool has_blocked = false;

    (void) state;
    assert_true(data != NULL && moved != NULL && received != NULL);
    assert_int_equal(pv_random_bytes(data, size), PV_OK);
    memcpy(moved, data, size);
    while (got < size) {
        const uint8_t *from = has_blocked ? moved : data;
        enum pv_tls_result result = pv_tls_write(pair.server, pv_slice_of(from + sent, size - sent), &len);

        if (result == PV_TLS_OK) {
            assert_true(sent == size || len > 0);
            sent += len;
        } else {
            assert_int_equal(result, PV_TLS_WANT_WRITE);
            has_blocked = true;
        }
        if (result == PV_TLS_OK && sent < size)
            continue;
        while (got < size && pv_tls_read(pair.client, received + got, size - got, &len) == PV_TLS_OK)
            got += len;
    }
    assert_true(has_blocked);
    assert_memory_equal(data, received, size);
    free(data);
    free(moved);
    free(received);
    pair_close(&pair);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lent_bytes_are_read),
        cmocka_unit_test(end_of_stream_closes),
        cmocka_unit_test(large_writes_come_in_parts),
    };

    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
