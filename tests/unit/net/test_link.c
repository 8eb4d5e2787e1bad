#include "net_fixture.h"

#include "proxy/crypto/tls.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void
test_bytes_arrive_in_order_and_pieces(void **state)
{
    struct bench bench;
    struct side a, b;
    int fds[2];
    char text[3 * 200 + 1] = "";

    (void) state;
    bench_open(&bench);
    make_pair(fds, 0);
    side_open(&bench, &a, fds[0], false);
    side_open(&bench, &b, fds[1], false);
    /* More pieces than one writev takes. */
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        text[i] = (char) ('0' + i % 10);
    for (int i = 0; i < 200; i++)
        pv_link_gather(a.link, pv_slice_of(&text[3 * i], 3));
    pv_link_flush(a.link);
    bench_until(&bench, pv_buf_len(&b.got) == 600);
    assert_memory_equal(pv_buf_slice(&b.got).data, text, 600);
    assert_int_equal(pv_link_held(a.link), 0);
    assert_int_equal(b.first, '0');
    pv_link_free(a.link);
    bench_until(&bench, b.eof_count == 1);
    assert_string_equal(b.words, "");
    pv_link_free(b.link);
    pv_buf_clear(&b.got);
    bench_close(&bench);
}

static void
test_scattered_pieces(void **state)
{
    struct bench bench;
    struct side a, b;
    int fds[2];
    static const char *const pieces[] = {"xx1xx", "yy2yy", "zz3zz"};

    (void) state;
    bench_open(&bench);
    make_pair(fds, 0);
    side_open(&bench, &a, fds[0], false);
    side_open(&bench, &b, fds[1], false);
    for (size_t i = 0; i < 150; i++)
        pv_link_gather(a.link, pv_slice_of(pieces[i % 3] + 2, 1));
    pv_link_flush(a.link);
    bench_until(&bench, pv_buf_len(&b.got) == 150);
    for (size_t i = 0; i < 150; i++)
        assert_int_equal(pv_buf_slice(&b.got).data[i], "123"[i % 3]);
    pv_link_free(a.link);
    pv_link_free(b.link);
    pv_buf_clear(&b.got);
    bench_close(&bench);
}

/* A peer that does not read: bytes are held, not lost, not doubled, and `drained` tells when they are out. */
static void
test_partial_writes_and_drained(void **state)
{
    struct bench bench;
    struct side a, b;
    int fds[2];
    const size_t len = 700 * 1024;
    uint8_t *bytes = malloc(len);

    (void) state;
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern(i);
    bench_open(&bench);
    make_pair(fds, 16 * 1024);
    side_open(&bench, &a, fds[0], false);
    side_open(&bench, &b, fds[1], true);
    for (size_t at = 0; at < len; at += len / 7) {
        pv_link_gather(a.link, pv_slice_of(bytes + at, len / 7));
        pv_link_flush(a.link);
    }
    assert_true(pv_link_held(a.link) > 600 * 1024);
    bench_turn(&bench);
    assert_int_equal(a.drained_count, 0);
    assert_int_equal(pv_buf_len(&b.got), 0);
    assert_true(pv_link_has_unread(b.link));
    pv_link_pause(b.link, false);
    bench_until(&bench, pv_buf_len(&b.got) == len / 7 * 7);
    assert_memory_equal(pv_buf_slice(&b.got).data, bytes, len / 7 * 7);
    assert_int_equal(pv_link_held(a.link), 0);
    /* Once at the low mark, once when empty. */
    assert_int_equal(a.drained_count, 2);
    assert_int_equal(pv_link_sent(a.link), len / 7 * 7);
    pv_link_free(a.link);
    pv_link_free(b.link);
    pv_buf_clear(&b.got);
    free(bytes);
    bench_close(&bench);
}

static void
test_finish_sends_what_is_held_and_lingers(void **state)
{
    struct bench bench;
    struct side a, b;
    int fds[2];
    static uint8_t bytes[300 * 1024];

    (void) state;
    bench_open(&bench);
    make_pair(fds, 16 * 1024);
    side_open(&bench, &a, fds[0], false);
    side_open(&bench, &b, fds[1], true);
    pv_link_gather(a.link, pv_slice_of(bytes, sizeof(bytes)));
    pv_link_finish(a.link, true); /* flushes by itself */
    say(&b, "still talking");
    pv_link_pause(b.link, false);
    bench_until(&bench, b.eof_count == 1);
    assert_int_equal(pv_buf_len(&b.got), sizeof(bytes));
    assert_int_equal(a.eof_count, 0);
    assert_int_equal(pv_link_count(bench.thread), 2);
    pv_link_free(b.link);
    bench_until(&bench, pv_link_count(bench.thread) == 0);
    pv_buf_clear(&b.got);
    bench_close(&bench);
}

static void
test_finish_inside_its_own_callback(void **state)
{
    struct bench bench;
    struct side a, b;
    int fds[2];

    (void) state;
    bench_open(&bench);
    make_pair(fds, 0);
    side_open(&bench, &a, fds[0], false);
    side_open(&bench, &b, fds[1], false);
    a.is_closing = true;
    say(&b, "end");
    bench_until(&bench, a.is_gone && b.eof_count == 1);
    pv_link_free(b.link);
    pv_buf_clear(&a.got);
    bench_close(&bench);
}

static void
check_broken_peer(bool is_paused)
{
    struct bench bench;
    struct side a;
    int fds[2];

    bench_open(&bench);
    make_pair(fds, 0);
    side_open(&bench, &a, fds[0], is_paused);
    (void) close(fds[1]);
    say(&a, "nobody is there");
    assert_int_equal(a.eof_count, 0);
    bench_until(&bench, a.eof_count == 1);
    assert_string_not_equal(a.words, "");
    say(&a, "still nobody");
    bench_turn(&bench);
    assert_int_equal(a.eof_count, 1);
    assert_int_equal(pv_link_held(a.link), 0);
    pv_link_free(a.link);
    bench_close(&bench);
}

/* Whether it is being read, which ends with the send that fails, or not. */
static void
test_a_broken_peer_is_told_once_and_from_the_loop(void **state)
{
    (void) state;
    check_broken_peer(true);
    check_broken_peer(false);
}

static void
test_out_of_memory_breaks_the_link_and_nothing_else(void **state)
{
    struct bench bench;
    struct side a;
    struct pv_link *none = NULL;
    int fds[2];
    static uint8_t bytes[400 * 1024];

    (void) state;
    bench_open(&bench);
    make_pair(fds, 16 * 1024);
    pv_alloc_fail_at(1);
    assert_int_equal(pv_link_open(bench.thread, fds[0], false, &side_events, &a, &none), PV_NOMEM);
    pv_alloc_fail_at(0);
    for (long nth = 1; nth <= 2; nth++) {
        struct side b;
        int more[2];

        make_pair(more, 16 * 1024);
        side_open(&bench, &b, more[0], true);
        if (nth == 2)
            say(&b, "x"); /* the list of pieces is there already; now the held bytes fail */
        pv_alloc_fail_at(1);
        pv_link_gather(b.link, pv_slice_of(bytes, sizeof(bytes)));
        pv_link_flush(b.link);
        pv_alloc_fail_at(0);
        bench_until(&bench, b.eof_count == 1);
        assert_string_equal(b.words, "out of memory");
        pv_link_free(b.link);
        (void) close(more[1]);
    }
    (void) close(fds[0]);
    (void) close(fds[1]);
    bench_close(&bench);
}

/* ---- TLS ---- */

struct certificates {
    char folder[64], cert[96], key[96];
};

static void
make_certificates(struct certificates *made)
{
    char command[512];

    (void) snprintf(made->folder, sizeof(made->folder), "/tmp/pv-net-XXXXXX");
    assert_non_null(mkdtemp(made->folder));
    (void) snprintf(made->cert, sizeof(made->cert), "%s/cert.pem", made->folder);
    (void) snprintf(made->key, sizeof(made->key), "%s/key.pem", made->folder);
    (void) snprintf(
        command, sizeof(command),
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost -keyout %s -out %s 2>/dev/null",
        made->key, made->cert);
    assert_int_equal(system(command), 0);
}

static void
remove_certificates(const struct certificates *made)
{
    (void) unlink(made->cert);
    (void) unlink(made->key);
    (void) rmdir(made->folder);
}

static void
tls_pair(struct bench *bench, struct certificates *made, struct pv_tls_context *contexts[2])
{
    const struct pv_tls_server_options server = {made->cert, made->key, NULL, false};
    const struct pv_tls_client_options client = {PV_TLS_VERIFY_FULL, made->cert, NULL, NULL};
    char error[256];

    bench_open(bench);
    make_certificates(made);
    assert_int_equal(pv_tls_server_context_new(&server, &contexts[0], error, sizeof(error)), PV_OK);
    assert_int_equal(pv_tls_client_context_new(&client, &contexts[1], error, sizeof(error)), PV_OK);
}

static void
test_tls_carries_bytes_both_ways_under_pressure(void **state)
{
    struct bench bench;
    struct certificates made;
    struct pv_tls_context *contexts[2];
    struct side a, b;
    int fds[2];
    const size_t len = 500 * 1000;
    uint8_t *bytes = malloc(len);

    (void) state;
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern(i);
    tls_pair(&bench, &made, contexts);
    make_pair(fds, 16 * 1024);
    side_open(&bench, &a, fds[0], false);
    side_open(&bench, &b, fds[1], false);
    assert_int_equal(pv_link_start_tls(a.link, contexts[0], NULL), PV_OK);
    assert_int_equal(pv_link_start_tls(a.link, contexts[0], NULL), PV_BUSY);
    assert_int_equal(pv_link_start_tls(b.link, contexts[1], "localhost"), PV_OK);
    assert_null(pv_link_tls(a.link));
    bench_until(&bench, a.tls_count == 1 && b.tls_count == 1);
    assert_non_null(pv_link_tls(a.link));
    /* In pieces of every size, both ways at once. */
    for (size_t at = 0, size = 1; at < len; at += size, size = size * 3 % 20011 + 1) {
        if (size > len - at)
            size = len - at;
        pv_link_gather(a.link, pv_slice_of(bytes + at, size));
        pv_link_gather(b.link, pv_slice_of(bytes + at, size));
    }
    pv_link_flush(a.link);
    pv_link_flush(b.link);
    bench_until(&bench, pv_buf_len(&a.got) == len && pv_buf_len(&b.got) == len);
    assert_memory_equal(pv_buf_slice(&a.got).data, bytes, len);
    assert_memory_equal(pv_buf_slice(&b.got).data, bytes, len);
    /* Paused with bytes inside TLS: unpausing brings them although the socket has no news. */
    pv_link_pause(b.link, true);
    for (int i = 0; i < 3; i++)
        say(&a, "abc");
    for (int i = 0; i < 20; i++)
        bench_turn(&bench);
    assert_int_equal(pv_buf_len(&b.got), len);
    pv_link_pause(b.link, false);
    bench_until(&bench, pv_buf_len(&b.got) == len + 9);
    /* close_notify is a clean end. */
    pv_link_finish(a.link, true);
    bench_until(&bench, b.eof_count == 1);
    assert_string_equal(b.words, "");
    pv_link_finish(b.link, false);
    pv_buf_clear(&a.got);
    pv_buf_clear(&b.got);
    pv_tls_context_unref(contexts[0]);
    pv_tls_context_unref(contexts[1]);
    remove_certificates(&made);
    free(bytes);
    bench_close(&bench);
}

static void
test_tls_handshake_that_fails_is_an_eof_with_words(void **state)
{
    struct bench bench;
    struct certificates made;
    struct pv_tls_context *contexts[2];
    struct side a, b;
    int fds[2];

    (void) state;
    tls_pair(&bench, &made, contexts);
    make_pair(fds, 0);
    side_open(&bench, &a, fds[0], false);
    side_open(&bench, &b, fds[1], false);
    assert_int_equal(pv_link_start_tls(a.link, contexts[0], NULL), PV_OK);
    assert_int_equal(pv_link_start_tls(b.link, contexts[1], "another.example"), PV_OK);
    bench_until(&bench, a.eof_count == 1 && b.eof_count == 1);
    assert_string_not_equal(b.words, "");
    assert_int_equal(b.tls_count, 0);
    pv_link_finish(a.link, true);
    pv_link_finish(b.link, true);
    /* Bytes that are no handshake. */
    make_pair(fds, 0);
    side_open(&bench, &a, fds[0], false);
    assert_int_equal(pv_link_start_tls(a.link, contexts[0], NULL), PV_OK);
    say(&a, "must not leave in the clear");
    assert_int_equal(send(fds[1], "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
    bench_until(&bench, a.eof_count == 1);
    pv_link_free(a.link);
    {
        char answer[256];
        ssize_t len = recv(fds[1], answer, sizeof(answer), 0);

        /* A TLS alert at most. */
        assert_true(len <= 0 || answer[0] == 0x15);
    }
    (void) close(fds[1]);
    pv_tls_context_unref(contexts[0]);
    pv_tls_context_unref(contexts[1]);
    remove_certificates(&made);
    bench_close(&bench);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_arrive_in_order_and_pieces),
        cmocka_unit_test(test_scattered_pieces),
        cmocka_unit_test(test_partial_writes_and_drained),
        cmocka_unit_test(test_finish_sends_what_is_held_and_lingers),
        cmocka_unit_test(test_finish_inside_its_own_callback),
        cmocka_unit_test(test_a_broken_peer_is_told_once_and_from_the_loop),
        cmocka_unit_test(test_out_of_memory_breaks_the_link_and_nothing_else),
        cmocka_unit_test(test_tls_carries_bytes_both_ways_under_pressure),
        cmocka_unit_test(test_tls_handshake_that_fails_is_an_eof_with_words),
    };

    (void) signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
