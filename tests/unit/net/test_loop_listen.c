#include "net_fixture.h"

#include "proxy/net/counters.h"
#include "proxy/net/dial.h"
#include "proxy/net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/un.h>

/* ---- Messages between threads ---- */

struct counted {
    struct pv_message message;
    unsigned number;
};

struct poster {
    struct pv_loop *loop;
    struct counted messages[1000];
};

static unsigned delivered, last_of[2];
static bool is_in_order;

static void
count(struct pv_message *message)
{
    struct counted *counted = (struct counted *) message;
    unsigned poster = counted->number / 10000, number = counted->number % 10000;

    is_in_order = is_in_order && number == last_of[poster];
    last_of[poster]++;
    delivered++;
}

static void *
post(void *context)
{
    struct poster *poster = context;

    for (size_t i = 0; i < PV_COUNT_OF(poster->messages); i++)
        pv_loop_post(poster->loop, &poster->messages[i].message);
    return NULL;
}

static void
test_messages_of_many_threads_arrive_in_order(void **state)
{
    static struct poster posters[2];
    pthread_t threads[2];
    struct bench bench;

    (void) state;
    bench_open(&bench);
    delivered = last_of[0] = last_of[1] = 0;
    is_in_order = true;
    for (unsigned i = 0; i < 2; i++) {
        posters[i].loop = bench.loop;
        for (unsigned j = 0; j < 1000; j++) {
            posters[i].messages[j].message.deliver = count;
            posters[i].messages[j].number = i * 10000 + j;
        }
        assert_int_equal(pthread_create(&threads[i], NULL, post, &posters[i]), 0);
    }
    bench_until(&bench, delivered == 2000);
    assert_true(is_in_order);
    for (unsigned i = 0; i < 2; i++)
        (void) pthread_join(threads[i], NULL);
    bench_close(&bench);
}

static void
test_what_is_queued_at_the_end_is_delivered(void **state)
{
    struct bench bench;
    struct counted one = {.message = {.deliver = count}, .number = 0};

    (void) state;
    bench_open(&bench);
    delivered = last_of[0] = 0;
    pv_loop_post(bench.loop, &one.message);
    bench_close(&bench);
    assert_int_equal(delivered, 1);
}

static void *
run_loop(void *context)
{
    pv_loop_run(context);
    return NULL;
}

static void
test_stop_from_another_thread(void **state)
{
    struct bench bench;
    pthread_t thread;

    (void) state;
    bench_open(&bench);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, bench.loop), 0);
    pv_loop_stop(bench.loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    bench_close(&bench);
}

/* ---- Listening ---- */

static int last_fd;
static unsigned accepted_count;

static void
accepted(void *context, int fd, const struct sockaddr_storage *peer)
{
    (void) context;
    (void) peer;
    last_fd = fd;
    accepted_count++;
}

static unsigned refused_count;

static void
refused(void *context)
{
    (void) context;
    refused_count++;
}

static const struct pv_listener_events listener_events = {.accepted = accepted, .refused = refused};

static int
connect_to(const struct pv_bound *bound)
{
    int fd = socket(bound->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (connect(fd, (const struct sockaddr *) &bound->address, bound->address_len) != 0) {
        (void) close(fd);
        return -1;
    }
    return fd;
}

static void
test_tcp_listeners_share_a_port_and_refuse_strangers(void **state)
{
    struct pv_listen entry = {.host = "127.0.0.1", .port = 0};
    struct pv_bound bounds[PV_LISTEN_ADDRESSES_MAX], other[PV_LISTEN_ADDRESSES_MAX];
    int fds[PV_LISTEN_ADDRESSES_MAX], others[PV_LISTEN_ADDRESSES_MAX], second, client;
    struct pv_listener *listeners[2];
    struct bench bench;
    size_t count;
    char error[256] = "";

    (void) state;
    bench_open(&bench);
    assert_int_equal(pv_bound_make(&entry, bounds, fds, &count, error, sizeof(error)), PV_OK);
    assert_int_equal(count, 1);
    assert_memory_equal(bounds[0].name, "127.0.0.1:", 10);
    assert_string_not_equal(bounds[0].name, "127.0.0.1:0");
    second = pv_bound_socket(&bounds[0]);
    assert_true(second >= 0);
    listeners[0] = pv_listener_new(bench.loop, fds[0], true, &listener_events, NULL);
    listeners[1] = pv_listener_new(bench.loop, second, true, &listener_events, NULL);
    assert_non_null(listeners[0]);
    assert_non_null(listeners[1]);
    /* Another process of the same user must not get in beside us. */
    entry.port = ntohs(((struct sockaddr_in *) (void *) &bounds[0].address)->sin_port);
    assert_int_equal(pv_bound_make(&entry, other, others, &count, error, sizeof(error)), PV_IO);
    assert_non_null(strstr(error, bounds[0].name));
    accepted_count = 0;
    for (unsigned i = 0; i < 8; i++) {
        client = connect_to(&bounds[0]);
        assert_true(client >= 0);
        bench_until(&bench, accepted_count == i + 1);
        assert_true((fcntl(last_fd, F_GETFL) & O_NONBLOCK) != 0);
        (void) close(last_fd);
        (void) close(client);
    }
    pv_listener_free(listeners[0]);
    pv_listener_free(listeners[1]);
    assert_int_equal(connect_to(&bounds[0]), -1);
    bench_close(&bench);
}

static void
test_unix_socket_replaces_a_stale_one_only(void **state)
{
    char folder[] = "/tmp/pv-net-XXXXXX";
    struct pv_listen entry = {.port = 6432};
    struct pv_bound bounds[PV_LISTEN_ADDRESSES_MAX], other[PV_LISTEN_ADDRESSES_MAX];
    int fds[PV_LISTEN_ADDRESSES_MAX], others[PV_LISTEN_ADDRESSES_MAX];
    size_t count;
    char error[256] = "";

    (void) state;
    assert_non_null(mkdtemp(folder));
    entry.unix_dir = folder;
    assert_int_equal(pv_bound_make(&entry, bounds, fds, &count, error, sizeof(error)), PV_OK);
    assert_int_equal(count, 1);
    assert_non_null(strstr(bounds[0].path, "/.s.PGSQL.6432"));
    /* Alive: not ours to take. */
    assert_int_equal(pv_bound_make(&entry, other, others, &count, error, sizeof(error)), PV_IO);
    /* Left behind: replaced. */
    (void) close(fds[0]);
    assert_int_equal(pv_bound_make(&entry, bounds, fds, &count, error, sizeof(error)), PV_OK);
    (void) close(fds[0]);
    (void) unlink(bounds[0].path);
    (void) rmdir(folder);
    assert_int_equal(pv_bound_make(&entry, bounds, fds, &count, error, sizeof(error)), PV_IO);
}

/* Where the descriptors are used up but for the spare one, whoever comes is told so at once. */
static void
test_refused_in_words(void **state)
{
    const struct pv_listen entry = {.host = "127.0.0.1", .port = 0};
    struct pv_bound bounds[PV_LISTEN_ADDRESSES_MAX];
    int fds[PV_LISTEN_ADDRESSES_MAX], clients[3], taken[256], taken_count = 0, fd;
    struct pv_listener *listener;
    struct rlimit before, tight;
    struct bench bench;
    size_t count;
    char error[256], said[256];

    (void) state;
    bench_open(&bench);
    assert_int_equal(pv_bound_make(&entry, bounds, fds, &count, error, sizeof(error)), PV_OK);
    listener = pv_listener_new(bench.loop, fds[0], true, &listener_events, NULL);
    assert_non_null(listener);
    for (size_t i = 0; i < PV_COUNT_OF(clients); i++)
        assert_true((clients[i] = connect_to(&bounds[0])) >= 0);
    assert_int_equal(send(clients[1], "unread", 6, 0), 6);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = 128;
    accepted_count = refused_count = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    while (taken_count < (int) PV_COUNT_OF(taken) && (fd = dup(clients[0])) >= 0)
        taken[taken_count++] = fd;
    bench_until(&bench, refused_count == PV_COUNT_OF(clients));
    assert_int_equal(accepted_count, 0);
    while (taken_count > 0)
        (void) close(taken[--taken_count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (size_t i = 0; i < PV_COUNT_OF(clients); i++) {
        ssize_t len = recv(clients[i], said, sizeof(said), MSG_WAITALL);

        assert_true(len > 20);
        assert_int_equal(said[0], 'E');
        assert_non_null(memmem(said, (size_t) len, "C53300", 7));
        (void) close(clients[i]);
    }
    fd = connect_to(&bounds[0]);
    bench_until(&bench, accepted_count == 1);
    (void) close(last_fd);
    (void) close(fd);
    pv_listener_free(listener);
    bench_close(&bench);
}

/* Without descriptors accepting pauses, and goes on when there are some again. */
/* The words may be lost on who sends without end; the thread must not be. */
static void
test_refusal_of_who_sends_on_and_on(void **state)
{
    enum { SOME = 4096, MANY = 1024 * 1024 };
    static const uint8_t noise[SOME];
    int fds[2], own, size = MANY;
    size_t sent = 0, left = 0;
    ssize_t len;
    uint8_t seen[SOME];

    (void) state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    while ((len = send(fds[1], noise, sizeof(noise), MSG_DONTWAIT)) > 0)
        sent += (size_t) len;
    assert_true(sent > 64 * 1024);
    own = dup(fds[0]);
    assert_true(own >= 0);
    pv_socket_refuse(fds[0], "53300", "sorry");
    while ((len = recv(own, seen, sizeof(seen), MSG_DONTWAIT)) > 0)
        left += (size_t) len;
    assert_int_equal(left, sent - 64 * 1024);
    assert_true(recv(fds[1], seen, sizeof(seen), MSG_DONTWAIT) > 0);
    assert_int_equal(close(own), 0);
    assert_int_equal(close(fds[1]), 0);
}

static void
test_accept_backs_off(void **state)
{
    const struct pv_listen entry = {.host = "127.0.0.1", .port = 0};
    struct pv_bound bounds[PV_LISTEN_ADDRESSES_MAX];
    int fds[PV_LISTEN_ADDRESSES_MAX], client;
    struct pv_listener *listener;
    struct rlimit before, tight;
    struct bench bench;
    size_t count;
    char error[256];

    (void) state;
    bench_open(&bench);
    assert_int_equal(pv_bound_make(&entry, bounds, fds, &count, error, sizeof(error)), PV_OK);
    listener = pv_listener_new(bench.loop, fds[0], true, &listener_events, NULL);
    assert_non_null(listener);
    client = connect_to(&bounds[0]);
    assert_true(client >= 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = 3;
    accepted_count = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (int i = 0; i < 20; i++)
        bench_turn(&bench);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(accepted_count, 0);
    bench_until(&bench, accepted_count == 1);
    (void) close(last_fd);
    (void) close(client);
    pv_listener_free(listener);
    bench_close(&bench);
}

/* ---- Dialling ---- */

static struct pv_link *dialled;
static char dial_words[160];

static void
dial_up(void *context, struct pv_link *link)
{
    dialled = link;
    pv_link_set_owner(link, &side_events, context);
}

static void
dial_failed(void *context, const char *words)
{
    (void) context;
    (void) snprintf(dial_words, sizeof(dial_words), "%s", words);
}

static const struct pv_dial_events dial_events = {.up = dial_up, .failed = dial_failed};

static struct pv_address
address_of(const struct pv_bound *bound)
{
    struct pv_address address = {.storage = bound->address, .len = bound->address_len};

    return address;
}

static void
test_dial_reaches_a_live_address_and_says_of_a_dead_one(void **state)
{
    const struct pv_listen entry = {.host = "127.0.0.1", .port = 0};
    struct pv_bound dead[PV_LISTEN_ADDRESSES_MAX], live[PV_LISTEN_ADDRESSES_MAX];
    int dead_fds[PV_LISTEN_ADDRESSES_MAX], fds[PV_LISTEN_ADDRESSES_MAX];
    struct pv_address dead_address, live_address;
    struct pv_dial_options options = {.address = &live_address, .host = "127.0.0.1"};
    struct pv_dial *dial;
    struct side side = {0};
    struct bench bench;
    size_t count;
    char error[256];

    (void) state;
    bench_open(&bench);
    assert_int_equal(pv_bound_make(&entry, dead, dead_fds, &count, error, sizeof(error)), PV_OK);
    (void) close(dead_fds[0]);
    assert_int_equal(pv_bound_make(&entry, live, fds, &count, error, sizeof(error)), PV_OK);
    dead_address = address_of(&dead[0]);
    live_address = address_of(&live[0]);
    dialled = NULL;
    assert_int_equal(pv_dial_start(bench.thread, bench.loop, &options, &dial_events, &side, &dial), PV_OK);
    assert_null(dialled);
    bench_until(&bench, dialled != NULL);
    pv_link_free(dialled);
    options.address = &dead_address;
    dial_words[0] = '\0';
    assert_int_equal(pv_dial_start(bench.thread, bench.loop, &options, &dial_events, &side, &dial), PV_OK);
    bench_until(&bench, dial_words[0] != '\0');
    assert_string_equal(dial_words, strerror(ECONNREFUSED));
    /* Given up before it began. */
    assert_int_equal(pv_dial_start(bench.thread, bench.loop, &options, &dial_events, &side, &dial), PV_OK);
    pv_dial_free(dial);
    (void) close(fds[0]);
    bench_close(&bench);
}

/* ---- Counters ---- */

static void
test_counters_add_up(void **state)
{
    static const struct {
        const char *room, *question;
        bool is_allowed;
        unsigned worker, count;
    } statements[] = {
        {"r", "q", true, 0, 3},   {"r", "q", true, 1, 4}, {"r", "q", false, 1, 1},
        {"r", NULL, false, 0, 2}, {"s", "q", true, 1, 5},
    };
    struct pv_counters counters[2], sum;
    struct pv_arena *arena = pv_arena_new(0);
    unsigned total = 0, lines = 0;

    (void) state;
    assert_non_null(arena);
    pv_counters_init(&sum);
    for (int i = 0; i < 2; i++)
        pv_counters_init(&counters[i]);
    for (size_t i = 0; i < PV_COUNT_OF(statements); i++)
        for (unsigned j = 0; j < statements[i].count; j++) {
            const struct pv_statement_begin begin = {
                .room = statements[i].room, .question = statements[i].question, .is_allowed = statements[i].is_allowed};
            const struct pv_statement_end end = {.rows = 2, .bytes = 10, .duration_us = 700};
            const struct pv_record whole = {.kind = PV_RECORD_WHOLE, .begin = &begin, .end = &end};

            pv_counters_record(&counters[statements[i].worker], &whole);
        }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pv_counters_add(&counters[i], &sum, arena), PV_OK);
    for (const struct pv_statement_counter *at = sum.statements; at != NULL; at = at->next) {
        lines++;
        total += (unsigned) at->count;
        if (strcmp(at->room, "r") == 0 && strcmp(at->question, "q") == 0 && at->is_allowed)
            assert_int_equal(at->count, 7);
    }
    assert_int_equal(lines, 4);
    assert_int_equal(total, 15);
    assert_int_equal(atomic_load(&sum.rows), 30);
    assert_int_equal(atomic_load(&sum.bytes), 150);
    assert_int_equal(atomic_load(&sum.latency[1]), 15);
    sum.statements = NULL;
    pv_counters_clear(&sum);
    for (int i = 0; i < 2; i++)
        pv_counters_clear(&counters[i]);
    pv_arena_free(arena);
}

/* ---- Turns at a time ---- */

static struct pv_loop *loop_of_turns;
static unsigned turns;
static int64_t turned_us;

static int64_t
monotonic_us(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The first turns end for whatever reason; the one that was asked for is the first at or after its time. */
static void
end_turn(void *context)
{
    const int64_t *at_us = context;

    turns++;
    turned_us = monotonic_us();
    if (turned_us >= *at_us)
        pv_loop_stop(loop_of_turns);
}

static void
test_a_turn_ends_when_it_was_asked_for(void **state)
{
    int64_t at_us;

    (void) state;
    loop_of_turns = pv_loop_new();
    assert_non_null(loop_of_turns);
    turns = 0;
    pv_loop_after_turn(loop_of_turns, end_turn, &at_us);
    /* What was said before does not count. */
    assert_true(pv_loop_turn_at(loop_of_turns, monotonic_us() + 3600000000));
    at_us = monotonic_us() + 5300;
    assert_true(pv_loop_turn_at(loop_of_turns, at_us));
    assert_true(pv_loop_turn_at(loop_of_turns, at_us));
    pv_loop_run(loop_of_turns);
    assert_true(turned_us >= at_us);
    assert_in_range(turns, 1, 2);
    pv_loop_free(loop_of_turns);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_of_many_threads_arrive_in_order),
        cmocka_unit_test(test_what_is_queued_at_the_end_is_delivered),
        cmocka_unit_test(test_stop_from_another_thread),
        cmocka_unit_test(test_tcp_listeners_share_a_port_and_refuse_strangers),
        cmocka_unit_test(test_unix_socket_replaces_a_stale_one_only),
        cmocka_unit_test(test_refused_in_words),
        cmocka_unit_test(test_refusal_of_who_sends_on_and_on),
        cmocka_unit_test(test_accept_backs_off),
        cmocka_unit_test(test_dial_reaches_a_live_address_and_says_of_a_dead_one),
        cmocka_unit_test(test_counters_add_up),
        cmocka_unit_test(test_a_turn_ends_when_it_was_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
