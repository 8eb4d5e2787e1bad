#include "net_fixture.h"

#include "policy/policy.h"
#include "proxy/audit/journal.h"
#include "proxy/audit/store.h"
#include "proxy/net/net.h"
#include "proxy/net/net_int.h"
#include "tests/unit/files.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>

/* A whole net over a Unix socket, with no database behind it. */
struct world {
    char folder[64];
    struct pv_world *world;
    struct pv_journal *journal;
    struct pv_store *store;
    struct pv_loop *main;
    struct pv_net *net;
    struct sockaddr_un address;
};

static bool has_ended;

static void
ended(void *context)
{
    (void) context;
    has_ended = true;
}

static void
open_world(struct world *w)
{
    char path[256], text[512], error[256] = "";
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    const struct pv_journal_options options = {.is_serving = true};

    memset(w, 0, sizeof(*w));
    (void) snprintf(w->folder, sizeof(w->folder), "/tmp/pv-net-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    (void) snprintf(path, sizeof(path), "%s/rooms", w->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void) snprintf(text, sizeof(text),
                    "{\"listen\": [\"%s\"], \"upstreams\": {\"main\": {\"host\": \"127.0.0.1\", \"port\": 1, "
                    "\"dbname\": \"d\", \"user\": \"u\", \"sslmode\": \"disable\"}}, \"users\": \"users.json\", "
                    "\"rooms\": \"rooms\", \"state\": \"state.db\", \"workers\": 2, \"limits\": {\"clients\": 2}}",
                    w->folder);
    file_write_in(w->folder, "pgveil.json", text);
    file_write_in(w->folder, "users.json", "{}");
    (void) snprintf(path, sizeof(path), "%s/pgveil.json", w->folder);
    assert_non_null(faults);
    assert_int_equal(pv_policy_load(path, faults, &policy), PV_OK);
    assert_int_equal(pv_world_new(policy, NULL, faults, &w->world), PV_OK);
    assert_int_equal(pv_journal_open(policy->config.state_path, &options, &w->journal, error, sizeof(error)), PV_OK);
    assert_int_equal(pv_store_open(policy->config.state_path, &w->store, error, sizeof(error)), PV_OK);
    pv_policy_unref(policy);
    pv_faults_free(faults);
    w->main = pv_loop_new();
    assert_non_null(w->main);
}

static enum pv_status
open_net(struct world *w)
{
    const struct pv_net_options options = {.world = w->world,
                                           .journal = w->journal,
                                           .store = w->store,
                                           .main = w->main,
                                           .mock_secret = pv_slice_cstr("thirty-two bytes of a mock secret"),
                                           .ended = ended};
    char error[256] = "";
    enum pv_status status = pv_net_open(&options, &w->net, error, sizeof(error));

    if (status != PV_OK) {
        w->net = NULL;
        assert_string_not_equal(error, "");
    }
    return status;
}

static void
close_world(struct world *w)
{
    char command[128];

    if (w->net != NULL)
        pv_net_join(w->net);
    pv_journal_close(w->journal);
    pv_net_free(w->net);
    pv_store_close(w->store);
    pv_loop_free(w->main);
    pv_world_unref(w->world);
    pv_policy_reap();
    (void) snprintf(command, sizeof(command), "rm -rf %s", w->folder);
    assert_int_equal(system(command), 0);
}

static void
drain(struct world *w)
{
    has_ended = false;
    assert_int_equal(pv_net_drain(w->net, 1000), PV_OK);
    for (int i = 0; i < 60000 && !has_ended; i++) {
        (void) event_base_loop(pv_loop_base(w->main), EVLOOP_NONBLOCK);
        (void) usleep(1000);
    }
    assert_true(has_ended);
}

static int
connect_client(const struct world *w)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", pv_net_listen_name(w->net, 0));
    assert_int_equal(connect(fd, (const struct sockaddr *) &address, sizeof(address)), 0);
    return fd;
}

/* All that comes until the end, or until `enough` bytes are there; -1 if nothing happens for seconds. */
static ssize_t
take(int fd, char *bytes, size_t size, size_t enough)
{
    size_t used = 0;

    while (used < enough && used < size) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        ssize_t len;

        if (poll(&waiting, 1, 60000) <= 0)
            return -1;
        len = recv(fd, bytes + used, size - used, 0);
        if (len <= 0)
            break;
        used += (size_t) len;
    }
    return (ssize_t) used;
}

static const char startup[] = "\0\0\0\x26\0\3\0\0user\0nobody\0database\0nowhere\0";
static const char ssl_request[] = {0, 0, 0, 8, 4, (char) 0xd2, 0x16, 0x2f};
static const char cancel_request[] = {0, 0, 0, 16, 4, (char) 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 1, 2, 3, 4};

static int
start_client(const struct world *w, char *answer, size_t size, ssize_t *len)
{
    int fd = connect_client(w);

    assert_int_equal(send(fd, startup, sizeof(startup), MSG_NOSIGNAL), sizeof(startup));
    *len = take(fd, answer, size, 24);
    return fd;
}

/* A client sees its end a moment before it is counted: waits until so many are open, and so many cancels were refused. */
static void
await_counters(struct world *w, struct pv_counters *sum, struct pv_arena *arena, uint64_t sessions, uint64_t refused)
{
    for (int i = 0; i < 60000; i++) {
        pv_counters_init(sum);
        assert_int_equal(pv_net_counters(w->net, sum, arena), PV_OK);
        if (atomic_load(&sum->sessions) == sessions && atomic_load(&sum->cancels_refused) == refused)
            return;
        pv_counters_clear(sum);
        (void) usleep(1000);
    }
    fail_msg("%s", "never so many");
}

static bool
holds(const char *bytes, ssize_t len, const char *text)
{
    return len > 0 && memmem(bytes, (size_t) len, text, strlen(text)) != NULL;
}

static void
test_startup_limit_cancel_and_drain(void **state)
{
    struct world w;
    char answer[1024];
    int fds[3], fd;
    ssize_t len;
    struct pv_counters sum;
    struct pv_arena *arena = pv_arena_new(0);

    (void) state;
    assert_int_equal(startup[3], sizeof(startup));
    open_world(&w);
    assert_int_equal(open_net(&w), PV_OK);
    assert_int_equal(pv_net_worker_count(w.net), 2);
    assert_int_equal(pv_net_listen_count(w.net), 1);
    assert_int_equal(pv_net_start(w.net), PV_OK);
    /* No certificate: N, and the startup packet goes on in the clear. */
    fd = connect_client(&w);
    assert_int_equal(send(fd, ssl_request, sizeof(ssl_request), 0), sizeof(ssl_request));
    assert_int_equal(take(fd, answer, 1, 1), 1);
    assert_int_equal(answer[0], 'N');
    (void) close(fd);
    /* A cancel has no answer but the end. */
    fd = connect_client(&w);
    assert_int_equal(send(fd, cancel_request, sizeof(cancel_request), 0), sizeof(cancel_request));
    assert_int_equal(take(fd, answer, sizeof(answer), sizeof(answer)), 0);
    (void) close(fd);
    assert_non_null(arena);
    await_counters(&w, &sum, arena, 0, 1);
    pv_counters_clear(&sum);
    for (int i = 0; i < 3; i++) {
        fds[i] = start_client(&w, answer, sizeof(answer), &len);
        if (i < 2) {
            assert_int_equal(answer[0], 'R');
            assert_true(holds(answer, len, "SCRAM-SHA-256"));
        } else {
            assert_int_equal(answer[0], 'E');
            assert_true(holds(answer, len, "53300"));
            assert_true(holds(answer, len, "sorry, too many clients already"));
        }
    }
    /* Cancels get through all the same. */
    fd = connect_client(&w);
    assert_int_equal(send(fd, cancel_request, sizeof(cancel_request), 0), sizeof(cancel_request));
    assert_int_equal(take(fd, answer, sizeof(answer), sizeof(answer)), 0);
    (void) close(fd);
    await_counters(&w, &sum, arena, 2, 2);
    assert_int_equal(atomic_load(&sum.connections), 6);
    assert_int_equal(atomic_load(&sum.refused), 1);
    assert_int_equal(atomic_load(&sum.sessions), 2);
    assert_int_equal(atomic_load(&sum.cancels_refused), 2);
    pv_counters_clear(&sum);
    pv_arena_free(arena);
    /* The same world once more is as good as another. */
    assert_int_equal(pv_net_policy(w.net, w.world), PV_OK);
    drain(&w);
    len = take(fds[0], answer, sizeof(answer), sizeof(answer));
    assert_true(holds(answer, len, "57P01"));
    for (int i = 0; i < 3; i++)
        (void) close(fds[i]);
    close_world(&w);
}

/* What the journal writes when it is closed is told to workers that have ended: nobody is looked for in what was freed. */
static void
test_records_of_the_end_find_nobody(void **state)
{
    struct world w;
    char answer[1024];
    ssize_t len;
    int fd;

    (void) state;
    open_world(&w);
    assert_int_equal(open_net(&w), PV_OK);
    assert_int_equal(pv_net_start(w.net), PV_OK);
    for (int i = 0; i < 8; i++) {
        fd = start_client(&w, answer, sizeof(answer), &len);
        (void) close(fd);
    }
    drain(&w);
    pv_net_join(w.net);
    for (unsigned i = 0; i < pv_net_worker_count(w.net); i++) {
        const struct pv_event event = {.session = 64, .event = "session_end"};
        const struct pv_record record = {.kind = PV_RECORD_EVENT, .event = &event};
        uint64_t ticket;

        /* The first place of a table, where freed memory holds what is not nothing. */
        assert_int_equal(
            pv_journal_put(w.journal, &record, w.net->workers[i].port, (void *) (uintptr_t) 64, &ticket), PV_OK);
    }
    close_world(&w);
}

/* Whatever allocation fails while a client comes, is served and goes: the others never notice. */
static void
test_each_allocation_failing(void **state)
{
    struct world w;
    char answer[1024];
    unsigned served = 0;

    (void) state;
    open_world(&w);
    assert_int_equal(open_net(&w), PV_OK);
    assert_int_equal(pv_net_start(w.net), PV_OK);
    for (long nth = 1; nth < 60; nth++) {
        int fd = connect_client(&w);
        ssize_t len;

        pv_alloc_fail_at(nth);
        assert_true(send(fd, startup, sizeof(startup), MSG_NOSIGNAL) > 0);
        len = take(fd, answer, sizeof(answer), 24);
        pv_alloc_fail_at(0);
        assert_true(len >= 0); /* an answer or an end, never silence */
        if (len > 0 && answer[0] == 'R')
            served++;
        (void) close(fd);
        (void) usleep(2000);
    }
    assert_true(served > 0);
    drain(&w);
    close_world(&w);
}

static void
test_opening_fails_cleanly(void **state)
{
    struct world w;
    enum pv_status status = PV_NOMEM;

    (void) state;
    open_world(&w);
    for (long nth = 1; nth < 200 && status != PV_OK; nth++) {
        pv_alloc_fail_at(nth);
        status = open_net(&w);
        pv_alloc_fail_at(0);
        assert_true(status == PV_OK || status == PV_NOMEM);
    }
    assert_int_equal(status, PV_OK);
    close_world(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_startup_limit_cancel_and_drain),
        cmocka_unit_test(test_records_of_the_end_find_nobody),
        cmocka_unit_test(test_each_allocation_failing),
        cmocka_unit_test(test_opening_fails_cleanly),
    };

    (void) signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
