/*
 * The engine between a client and a real PostgreSQL: random pipelines, sent to the server directly and through the
 * engine, must be answered alike, byte by byte; of errors the SQLSTATE counts, and a denial (42501) answers as the
 * syntax error (42601) that the server finds in the same text. Runs where PGVEIL_TEST_SERVER names a
 * server as "socket-path user database" (trust), and is skipped elsewhere.
 */
#include "harness.h"

#include "proxy/session/backend.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MARKER "the-end-of-it"

static char server_path[108], server_user[64], server_database[64];

/* ---- A connection ---- */

static void
write_all(int fd, struct pv_slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);

        assert_true(n > 0);
        bytes = pv_slice_of(bytes.data + n, bytes.len - (size_t) n);
    }
}

/* Gives 0 at the end of the stream. */
static size_t
read_some(int fd, uint8_t *to, size_t size)
{
    struct pollfd wait = {fd, POLLIN, 0};
    ssize_t n;

    if (poll(&wait, 1, 60000) != 1)
        return 0;
    n = read(fd, to, size);
    return n > 0 ? (size_t) n : 0;
}

static int
connect_server(struct pv_server_facts *facts)
{
    struct pv_backend_options options = {.user = server_user, .dbname = server_database};
    struct pv_backend_login *login = pv_backend_login_new(&options);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct pv_buf out = {0}, in = {0};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    enum pv_status status;

    assert_non_null(login);
    strcpy(address.sun_path, server_path);
    assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
    do {
        uint8_t bytes[4096];
        size_t used = 0;

        status = pv_backend_login_feed(login, pv_buf_slice(&in), &used, &out);
        pv_buf_consume(&in, used);
        write_all(fd, pv_buf_slice(&out));
        pv_buf_truncate(&out, 0);
        if (status == PV_MORE)
            pv_buf_put(&in, bytes, read_some(fd, bytes, sizeof(bytes)));
    } while (status == PV_MORE);
    assert_int_equal(status, PV_OK);
    assert_true(pv_backend_parameter_count(login) > 5);
    facts->pid = pv_backend_pid(login);
    pv_backend_login_free(login);
    pv_buf_clear(&out);
    pv_buf_clear(&in);
    return fd;
}

/* ---- What came back, as text ---- */

static void
put_normal(struct pv_buf *out, const struct pv_frame *frame)
{
    struct pv_msg_notice notice;

    if (frame->tag == PV_SERVER_NOTICE_RESPONSE || frame->tag == PV_SERVER_PARAMETER_STATUS)
        return;
    pv_buf_put_u8(out, frame->tag);
    if (frame->tag == PV_SERVER_ERROR_RESPONSE) {
        assert_int_equal(pv_msg_notice_read(frame->body, &notice), PV_OK);
        if (pv_slice_is(notice.fields[PV_NOTICE_SQLSTATE], "42501"))
            pv_buf_put_text(out, "42601");
        else
            pv_buf_put_slice(out, notice.fields[PV_NOTICE_SQLSTATE]);
    } else {
        for (size_t i = 0; i < frame->body.len; i++)
            pv_buf_put_u8(out, frame->body.data[i] >= 0x20 && frame->body.data[i] < 0x7F ? frame->body.data[i] : '.');
    }
    pv_buf_put_u8(out, '\n');
}

/* True when the marker's ReadyForQuery was seen. */
static bool
normalise(struct pv_buf *in, struct pv_buf *out, bool *has_marker)
{
    struct pv_frame frame;

    while (pv_frame_next(pv_buf_slice(in), PV_FRAME_BACKEND, 0, &frame) == PV_OK) {
        if (frame.tag == PV_SERVER_DATA_ROW && memmem(frame.body.data, frame.body.len, MARKER, strlen(MARKER)) != NULL)
            *has_marker = true;
        if (*has_marker && frame.tag == PV_SERVER_READY_FOR_QUERY)
            return true;
        put_normal(out, &frame);
        pv_buf_consume(in, frame.total_len);
    }
    return false;
}

/* False: the server went away. */
static bool
run_direct(struct pv_slice input, struct pv_buf *out)
{
    struct pv_server_facts facts;
    int fd = connect_server(&facts);
    struct pv_buf in = {0};
    bool has_marker = false, is_done = false;

    write_all(fd, input);
    while (!is_done) {
        uint8_t bytes[4096];
        size_t n = read_some(fd, bytes, sizeof(bytes));

        if (n == 0)
            break;
        pv_buf_put(&in, bytes, n);
        is_done = normalise(&in, out, &has_marker);
    }
    pv_buf_clear(&in);
    close(fd);
    return is_done;
}

static void
flush_server(struct stage *stage, int fd)
{
    write_all(fd, pv_buf_slice(&stage->server));
    pv_buf_truncate(&stage->server, 0);
}

static bool
run_proxied(struct pv_slice input, struct pv_buf *out)
{
    static const char *const pairs[] = {"user", "alice", "database", "room", "application_name", "app"};
    static const uint8_t key[32] = {1};
    struct pv_server_facts facts = {.identity_key = {key, sizeof(key)}};
    int fd = connect_server(&facts);
    struct stage stage;
    bool has_marker = false, is_done = false;

    stage_open(&stage);
    pv_session_client_tls(stage.session, stage.now_us, pv_slice_of("hash", 4), "alice");
    stage_startup(&stage, PV_PROTOCOL_3_0, pairs, 3);
    pv_session_server_open(stage.session, stage.now_us, &facts);
    while (!is_done && !stage.is_closed) {
        uint8_t bytes[4096];
        size_t n;

        flush_server(&stage, fd);
        n = read_some(fd, bytes, sizeof(bytes));
        if (n == 0)
            break;
        stage_server(&stage, bytes, n);
        if (input.len > 0 && stage.session->phase == PV_PHASE_READY) {
            stage_forget(&stage);
            stage_client(&stage, input.data, input.len);
            input.len = 0;
        }
        if (input.len == 0)
            is_done = normalise(&stage.client, out, &has_marker);
    }
    stage_close_all(&stage);
    close(fd);
    return is_done;
}

/* ---- Random pipelines ---- */

static uint32_t random_state;

static uint32_t
pick(uint32_t count)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % count;
}

static const char *const texts[] = {
    "SELECT 1",     "SELECT 1",      "DENY x",        "DENY y",     "BEGIN",
    "COMMIT",       "ROLLBACK",      "SAVEPOINT a",   "ROLLBACK TO a", "SELECT 1/0",
    "PREPARE p AS SELECT 7", "EXECUTE p", "DEALLOCATE p", "DEALLOCATE s", "DECLARE c CURSOR FOR SELECT 5",
    "CLOSE c", "", "SELECT generate_series(1, 3)", "SELECT 2; DENY z", "SELECT 2; SELECT 3", "BEGIN; SELECT 4",
    "DISCARD ALL", "SELECT no_such_column",
};
static const char *const statement_names[] = {"", "s", "t"};
static const char *const portal_names[] = {"", "q"};

static void
put_message(struct pv_buf *out)
{
    struct pv_slice text = pv_slice_cstr(texts[pick(PV_COUNT_OF(texts))]);
    struct pv_slice statement = pv_slice_cstr(statement_names[pick(3)]), portal = pv_slice_cstr(portal_names[pick(2)]);
    struct pv_msg_parse parse = {statement, text, 0, NULL};
    struct pv_msg_bind bind = {portal, statement, 0, NULL, 0, NULL, 0, NULL};
    struct pv_msg_execute execute = {portal, (int32_t) pick(3)};
    struct pv_msg_target target = {pick(2) == 0 ? PV_TARGET_PORTAL : PV_TARGET_STATEMENT, portal};
    uint32_t kind = pick(12);

    if (target.kind == PV_TARGET_STATEMENT)
        target.name = statement;
    if (kind < 3)
        assert_int_equal(pv_msg_text_write(out, PV_CLIENT_QUERY, text), PV_OK);
    else if (kind < 5)
        assert_int_equal(pv_msg_parse_write(out, &parse), PV_OK);
    else if (kind < 7)
        assert_int_equal(pv_msg_bind_write(out, &bind), PV_OK);
    else if (kind < 9)
        assert_int_equal(pv_msg_execute_write(out, &execute), PV_OK);
    else if (kind == 9)
        assert_int_equal(pv_msg_target_write(out, pick(3) == 0 ? PV_CLIENT_CLOSE : PV_CLIENT_DESCRIBE, &target), PV_OK);
    else if (kind == 10)
        assert_int_equal(pv_msg_empty_write(out, PV_CLIENT_SYNC), PV_OK);
    else
        put_message(out);
}

/* Parse, Bind, Execute of one text, as drivers send them: pure chance seldom makes one that works. */
static void
put_whole(struct pv_buf *out)
{
    struct pv_slice none = pv_slice_cstr(""), statement = pv_slice_cstr(statement_names[pick(3)]);
    struct pv_slice portal = pv_slice_cstr(portal_names[pick(2)]);
    struct pv_msg_parse parse = {statement, pv_slice_cstr(texts[pick(PV_COUNT_OF(texts))]), 0, NULL};
    struct pv_msg_bind bind = {portal, statement, 0, NULL, 0, NULL, 0, NULL};
    struct pv_msg_execute execute = {portal, (int32_t) pick(3)};
    struct pv_msg_target target = {PV_TARGET_STATEMENT, statement};

    (void) none;
    if (statement.len > 0 && pick(2) == 0)
        assert_int_equal(pv_msg_target_write(out, PV_CLIENT_CLOSE, &target), PV_OK);
    assert_int_equal(pv_msg_parse_write(out, &parse), PV_OK);
    assert_int_equal(pv_msg_bind_write(out, &bind), PV_OK);
    assert_int_equal(pv_msg_execute_write(out, &execute), PV_OK);
    if (pick(2) == 0)
        assert_int_equal(pv_msg_empty_write(out, PV_CLIENT_SYNC), PV_OK);
}

static void
put_pipeline(struct pv_buf *out)
{
    uint32_t count = 2 + pick(10);

    for (uint32_t i = 0; i < count; i++) {
        if (pick(3) == 0)
            put_whole(out);
        else
            put_message(out);
    }
    assert_int_equal(pv_msg_empty_write(out, PV_CLIENT_SYNC), PV_OK);
    assert_int_equal(pv_msg_text_write(out, PV_CLIENT_QUERY, pv_slice_cstr("ROLLBACK")), PV_OK);
    assert_int_equal(pv_msg_text_write(out, PV_CLIENT_QUERY, pv_slice_cstr("SELECT '" MARKER "'")), PV_OK);
}

static void
print_input(struct pv_slice input)
{
    for (size_t i = 0; i < input.len; i++)
        fprintf(stderr, input.data[i] >= 0x20 && input.data[i] < 0x7F ? "%c" : ".", input.data[i]);
    fputc('\n', stderr);
}

static void
test_pipelines(void **state)
{
    const char *rounds = getenv("PGVEIL_TEST_ROUNDS");
    uint32_t count = rounds == NULL ? 200 : (uint32_t) strtoul(rounds, NULL, 10), skipped = 0;

    (void) state;
    toy_prefix = "";
    for (uint32_t seed = 1; seed <= count; seed++) {
        struct pv_buf input = {0}, direct = {0}, proxied = {0};

        random_state = seed * 2654435761u;
        put_pipeline(&input);
        if (!run_direct(pv_buf_slice(&input), &direct)) {
            skipped++; /* a pipeline that ends the server itself says nothing of us */
        } else if (!run_proxied(pv_buf_slice(&input), &proxied) ||
                   !pv_slice_equal(pv_buf_slice(&direct), pv_buf_slice(&proxied))) {
            print_input(pv_buf_slice(&input));
            fprintf(stderr, "direct:\n%s\nproxied:\n%s\n", pv_buf_text(&direct), pv_buf_text(&proxied));
            fail_msg("seed %u differs", seed);
        }
        pv_buf_clear(&input);
        pv_buf_clear(&direct);
        pv_buf_clear(&proxied);
    }
    assert_true(skipped * 10 < count || skipped < 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pipelines)};
    const char *server = getenv("PGVEIL_TEST_SERVER");

    if (server == NULL || sscanf(server, "%107s %63s %63s", server_path, server_user, server_database) != 3) {
        puts("skipped: PGVEIL_TEST_SERVER names no server");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
