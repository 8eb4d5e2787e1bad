/* The way in: packets before the startup packet, versions, options, authentication, refusals. */
#include "harness.h"

#include "proxy/crypto/scram.h"

static const uint8_t ssl_request[] = {0, 0, 0, 8, 4, 0xD2, 0x16, 0x2F};
static const uint8_t gss_request[] = {0, 0, 0, 8, 4, 0xD2, 0x16, 0x30};

static bool
client_has(const struct stage *stage, const char *text)
{
    struct pv_slice all = pv_buf_slice(&stage->client);

    return all.len > 0 && memmem(all.data, all.len, text, strlen(text)) != NULL;
}

static bool
log_has(const struct stage *stage, const char *text)
{
    struct pv_slice all = pv_buf_slice(&stage->log);

    return all.len > 0 && memmem(all.data, all.len, text, strlen(text)) != NULL;
}

static void
test_encryption_requests(void **state)
{
    struct stage stage;

    (void) state;
    stage_open(&stage);
    stage_client(&stage, gss_request, 8);
    assert_true(pv_slice_is(pv_buf_slice(&stage.client), "N"));
    stage_client(&stage, ssl_request, 8);
    assert_true(pv_slice_is(pv_buf_slice(&stage.client), "NS"));
    assert_true(stage.is_tls_started);
    stage_client(&stage, "x", 1); /* in the clear, after the S */
    assert_true(stage.is_closed);
    stage_close_all(&stage);

    stage_open(&stage);
    stage_client(&stage, gss_request, 8);
    stage_client(&stage, gss_request, 8);
    assert_true(stage.is_closed);
    assert_int_equal(pv_buf_len(&stage.client), 1);
    stage_close_all(&stage);
}

static void
test_stuffing(void **state)
{
    uint8_t bytes[9];
    struct stage stage;

    (void) state;
    memcpy(bytes, ssl_request, 8);
    bytes[8] = 0;
    stage_open(&stage);
    stage_client(&stage, bytes, sizeof(bytes));
    assert_true(stage.is_closed && !stage.is_tls_started);
    assert_true(client_has(&stage, "received unencrypted data after SSL request"));
    stage_close_all(&stage);
}

static void
test_cancel_request(void **state)
{
    static const uint8_t request[] = {0, 0, 0, 16, 4, 0xD2, 0x16, 0x2E, 0, 0, 0, 1, 1, 2, 3, 4};
    struct stage stage;

    (void) state;
    for (size_t len = 1; len <= sizeof(request); len++) {
        stage_open(&stage);
        stage_client(&stage, request, len);
        assert_int_equal(stage.cancel_requests, len == sizeof(request) ? 1 : 0);
        assert_int_equal(stage.is_closed, len == sizeof(request));
        assert_int_equal(pv_buf_len(&stage.client), 0);
        stage_close_all(&stage);
    }
}

static void
test_login_order(void **state)
{
    struct stage stage;
    struct pv_frame frame;
    char tags[64] = "";

    (void) state;
    stage_login(&stage, PV_PROTOCOL_3_0);
    while (pv_frame_next(pv_buf_slice(&stage.client), PV_FRAME_BACKEND, 0, &frame) == PV_OK) {
        tags[strlen(tags)] = (char) frame.tag;
        pv_buf_consume(&stage.client, frame.total_len);
    }
    assert_string_equal(tags, "RSSSSKZ");
    assert_int_equal(stage.key_pid, 4711);
    assert_int_equal(stage.key_len, 4);
    assert_true(log_has(&stage, "event login {\"application\":\"app\",\"tls\":true,\"method\":\"cert\"}"));
    assert_string_equal(pv_session_user(stage.session), "alice");
    assert_string_equal(pv_session_room(stage.session), "room");
    stage_close_all(&stage);

    stage_login(&stage, PV_PROTOCOL_3_2);
    assert_int_equal(stage.key_len, 32);
    assert_false(client_has(&stage, "hidden"));
    stage_close_all(&stage);
}

static void
test_versions(void **state)
{
    static const struct {
        uint32_t version;
        bool has_option;
        uint32_t answer; /* 0: none */
    } rows[] = {
        {0x00030000, false, 0},          {0x00030000, true, 0x00030000}, {0x00030001, false, 0x00030000},
        {0x00030002, false, 0},          {0x00030002, true, 0x00030002}, {0x00030003, false, 0x00030002},
        {0x0003270F, true, 0x00030002},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        const char *pairs[] = {"user", "nobody", rows[i].has_option ? "_pq_.test" : "application_name", "x"};
        struct stage stage;
        struct pv_slice all;

        stage_open(&stage);
        stage_startup(&stage, rows[i].version, pairs, 2);
        all = pv_buf_slice(&stage.client);
        assert_true(all.len > 9);
        assert_int_equal(all.data[0], rows[i].answer == 0 ? 'R' : 'v');
        if (rows[i].answer != 0)
            assert_int_equal(all.data[8], rows[i].answer & 0xFF);
        stage_close_all(&stage);
    }
}

static void
test_refusals(void **state)
{
    static const struct {
        const char *name, *value, *expected;
        bool is_admitted_first; /* said only to those who proved who they are */
    } rows[] = {
        {"replication", "true", "0A000", false},     {"options", "-x", "42601", false},
        {"options", "-c role=x", "42501", true},     {"role", "x", "42501", true},
        {"options", "--role=x", "42501", true},      {"options", "-crole=x", "42501", true},
        {"database", "elsewhere", "3D000", true},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        const char *pairs[] = {"user", "alice", rows[i].name, rows[i].value, "database", "room"};
        struct stage stage;

        stage_open(&stage);
        pv_session_client_tls(stage.session, NOW, pv_slice_of("hash", 4), rows[i].is_admitted_first ? "alice" : "mallory");
        stage_startup(&stage, PV_PROTOCOL_3_0, pairs, strcmp(rows[i].name, "database") == 0 ? 2 : 3);
        assert_true(stage.is_closed && client_has(&stage, rows[i].expected));
        assert_false(stage.is_server_asked);
        stage_close_all(&stage);
    }
}

static void
test_same_words(void **state)
{
    /* bob proves himself, and is no member; alice asks for a room that is not there */
    static const char *const bob[] = {"user", "bob", "database", "room"};
    static const char *const alice[] = {"user", "alice", "database", "elsewhere"};
    struct stage stage;

    (void) state;
    stage_open(&stage);
    pv_session_client_tls(stage.session, NOW, pv_slice_of("hash", 4), "bob");
    stage_startup(&stage, PV_PROTOCOL_3_0, bob, 2);
    assert_true(stage.is_closed && client_has(&stage, "database \"room\" does not exist"));
    assert_true(log_has(&stage, "not a member"));
    stage_close_all(&stage);

    stage_open(&stage);
    pv_session_client_tls(stage.session, NOW, pv_slice_of("hash", 4), "alice");
    stage_startup(&stage, PV_PROTOCOL_3_0, alice, 2);
    assert_true(stage.is_closed && client_has(&stage, "database \"elsewhere\" does not exist"));
    stage_close_all(&stage);
}

static void
send_frame(struct stage *stage, struct pv_buf *frame)
{
    stage_client(stage, pv_buf_slice(frame).data, pv_buf_len(frame));
    pv_buf_clear(frame);
}

/* The client's side of SCRAM; false when the session refused. */
static bool
scram_login(struct stage *stage, const char *user, const char *password)
{
    const char *pairs[] = {"user", user, "database", "room"};
    struct pv_scram_client *client;
    struct pv_msg_sasl_initial initial = {{0}, true, {0}};
    struct pv_buf bytes = {0}, frame = {0};
    struct pv_frame reply;
    struct pv_msg_auth auth;

    stage_startup(stage, PV_PROTOCOL_3_0, pairs, 2);
    assert_int_equal(pv_scram_client_new(pv_slice_cstr(password), PV_SCRAM_BINDING_NONE, pv_slice_of(NULL, 0), &client),
                     PV_OK);
    assert_int_equal(pv_scram_client_first(client, &bytes), PV_OK);
    initial.mechanism = pv_slice_cstr(pv_scram_client_mechanism(client));
    initial.data = pv_buf_slice(&bytes);
    assert_int_equal(pv_msg_sasl_initial_write(&frame, &initial), PV_OK);
    pv_buf_clear(&stage->client);
    send_frame(stage, &frame);
    assert_int_equal(pv_frame_next(pv_buf_slice(&stage->client), PV_FRAME_BACKEND, 0, &reply), PV_OK);
    assert_int_equal(pv_msg_auth_read(reply.body, &auth), PV_OK);
    pv_buf_clear(&bytes);
    assert_int_equal(pv_scram_client_final(client, auth.data, &bytes), PV_OK);
    assert_int_equal(pv_msg_bytes_write(&frame, PV_CLIENT_PASSWORD, pv_buf_slice(&bytes)), PV_OK);
    pv_buf_clear(&stage->client);
    send_frame(stage, &frame);
    pv_buf_clear(&bytes);
    pv_scram_client_free(client);
    return !stage->is_closed;
}

static void
test_scram(void **state)
{
    struct pv_scram_verifier verifier;
    struct pv_buf text = {0};
    struct stage stage;

    (void) state;
    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr("secret"), 4096, pv_slice_of("0123456789abcdef", 16), &verifier),
                     PV_OK);
    assert_int_equal(pv_scram_verifier_format(&verifier, &text), PV_OK);

    stage_open(&stage);
    world.users[0].scram = pv_buf_text(&text);
    assert_true(scram_login(&stage, "alice", "secret"));
    assert_true(stage.is_server_asked);
    assert_true(log_has(&stage, "\"tls\":false,\"method\":\"scram-sha-256\""));
    assert_false(log_has(&stage, "secret"));
    stage_close_all(&stage);

    stage_open(&stage);
    world.users[0].scram = pv_buf_text(&text);
    assert_false(scram_login(&stage, "alice", "wrong"));
    assert_true(client_has(&stage, "28P01") && client_has(&stage, "password authentication failed for user \"alice\""));
    assert_true(log_has(&stage, "wrong password"));
    stage_close_all(&stage);

    stage_open(&stage);
    assert_false(scram_login(&stage, "nobody", "secret"));
    assert_true(client_has(&stage, "28P01") && log_has(&stage, "no such user"));
    stage_close_all(&stage);

    /* Both required: the right password alone does not serve. */
    stage_open(&stage);
    world.users[0].scram = pv_buf_text(&text);
    world.users[0].is_cert_required = world.users[0].is_scram_required = true;
    assert_false(scram_login(&stage, "alice", "secret"));
    assert_true(client_has(&stage, "28P01"));
    stage_close_all(&stage);
    pv_buf_clear(&text);
}

static void
test_tls_required(void **state)
{
    static const char *const pairs[] = {"user", "alice", "database", "room"};
    struct stage stage;

    (void) state;
    stage_open(&stage);
    world.policies[0].config.is_tls_required = true;
    stage_startup(&stage, PV_PROTOCOL_3_0, pairs, 2);
    assert_true(stage.is_closed && client_has(&stage, "28000"));
    stage_close_all(&stage);
}

static void
test_expired(void **state)
{
    static const char *const pairs[] = {"user", "alice", "database", "room"};
    struct stage stage;

    (void) state;
    stage_open(&stage);
    world.rooms[0].has_expiry = true;
    world.rooms[0].expires_us = NOW;
    pv_session_client_tls(stage.session, NOW, pv_slice_of("hash", 4), "alice");
    stage_startup(&stage, PV_PROTOCOL_3_0, pairs, 2);
    assert_true(stage.is_closed && client_has(&stage, "3D000"));
    stage_close_all(&stage);
}

static void
test_server_away(void **state)
{
    static const char *const pairs[] = {"user", "alice", "database", "room"};
    struct stage stage;

    (void) state;
    stage_open(&stage);
    pv_session_client_tls(stage.session, NOW, pv_slice_of("hash", 4), "alice");
    stage_startup(&stage, PV_PROTOCOL_3_0, pairs, 2);
    pv_session_server_lost(stage.session, NOW, "08006", "the database is away");
    assert_true(stage.is_closed && client_has(&stage, "08006"));
    stage_close_all(&stage);
}

static void
test_login_timeout(void **state)
{
    struct stage stage;

    (void) state;
    stage_open(&stage);
    assert_int_equal(pv_session_deadline(stage.session), NOW + 15000000);
    pv_session_tick(stage.session, NOW + 14999999);
    assert_false(stage.is_closed);
    pv_session_tick(stage.session, NOW + 15000000);
    assert_true(stage.is_closed);
    assert_int_equal(pv_buf_len(&stage.client), 0);
    stage_close_all(&stage);
}

/* A whole login and two statements, each allocation failing in turn: no crash, no leak (asan sees it), never more sent. */
static void
test_no_memory(void **state)
{
    static const char start[] = "\0\0\0\51\0\3\0\0user\0alice\0database\0room\0jit\0on\0\0";
    static const char setup_reply[] = "C\0\0\0\15SELECT 1\0C\0\0\0\15SELECT 1\0Z\0\0\0\5I";
    static const char query[] = "Q\0\0\0\15SELECT 1\0"
                                "P\0\0\0\21s\0SELECT 1\0\0\0"
                                "B\0\0\0\15\0s\0\0\0\0\0\0\0"
                                "E\0\0\0\11\0\0\0\0\0S\0\0\0\4";
    static const char reply[] = "C\0\0\0\15SELECT 0\0Z\0\0\0\5I"
                                "1\0\0\0\4"
                                "2\0\0\0\4"
                                "C\0\0\0\15SELECT 0\0Z\0\0\0\5I";
    unsigned completed = 0;

    (void) state;
    for (long nth = 1; nth <= 400; nth++) {
        struct stage stage;

        stage_open(&stage);
        pv_session_client_tls(stage.session, NOW, pv_slice_of("hash", 4), "alice");
        if (stage.is_closed)
            fail();
        pv_alloc_fail_at(nth);
        stage_client(&stage, start, sizeof(start) - 1);
        stage_server_open(&stage);
        stage_server(&stage, setup_reply, sizeof(setup_reply) - 1);
        stage_client(&stage, query, sizeof(query) - 1);
        stage_server(&stage, reply, sizeof(reply) - 1);
        pv_alloc_fail_at(0);
        if (!stage.is_closed)
            completed++;
        stage_close_all(&stage);
    }
    assert_true(completed > 0 && completed < 400);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encryption_requests), cmocka_unit_test(test_stuffing),
        cmocka_unit_test(test_cancel_request),      cmocka_unit_test(test_login_order),
        cmocka_unit_test(test_versions),            cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_same_words),          cmocka_unit_test(test_scram),
        cmocka_unit_test(test_tls_required),        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_server_away),         cmocka_unit_test(test_login_timeout),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
