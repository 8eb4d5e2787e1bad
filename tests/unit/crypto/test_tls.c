/* Connections over TLS: who is taken for whom, and what is said where they fail. */
#include "tests/unit/crypto/tls_test.h"

static void
both_sides_talk(void **state)
{
    struct pair pair = pair_open(server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, NULL, false),
                                 client_context(PV_TLS_REQUIRE, NULL, NULL, NULL), "anything");
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_tls_names names;
    uint8_t room[4];
    size_t len = 99;

    (void) state;
    assert_int_equal(pair.server_result, PV_TLS_OK);
    assert_int_equal(pair.client_result, PV_TLS_OK);
    assert_string_equal(pv_tls_version(pair.server), "TLSv1.3");
    assert_non_null(strstr(pv_tls_cipher(pair.client), "TLS_"));
    assert_true(pv_tls_has_alpn(pair.server));
    assert_true(pv_tls_has_alpn(pair.client));
    assert_int_equal(pv_tls_read(pair.server, room, sizeof(room), &len), PV_TLS_WANT_READ);
    assert_int_equal(len, 99);
    text_send(pair.client, pair.server, "hello");
    text_send(pair.server, pair.client, "and back");
    assert_int_equal(pv_tls_write(pair.server, pv_slice_cstr(""), &len), PV_TLS_OK);
    assert_int_equal(len, 0);
    /* A record read in part: the rest is pending and the socket silent. */
    assert_int_equal(pv_tls_write(pair.client, pv_slice_cstr("12345678"), &len), PV_TLS_OK);
    assert_int_equal(pv_tls_read(pair.server, room, sizeof(room), &len), PV_TLS_OK);
    assert_int_equal(len, 4);
    assert_int_equal(pv_tls_pending(pair.server), 4);
    assert_int_equal(pv_tls_read(pair.server, room, sizeof(room), &len), PV_TLS_OK);
    assert_int_equal(pv_tls_pending(pair.server), 0);
    /* A client without a certificate. */
    assert_int_equal(pv_tls_peer_names(pair.server, arena, &names), PV_NOTFOUND);
    assert_int_equal(pv_tls_shutdown(pair.client), PV_TLS_OK);
    assert_int_equal(pv_tls_read(pair.server, room, sizeof(room), &len), PV_TLS_CLOSED);
    assert_int_equal(pv_tls_shutdown(pair.server), PV_TLS_OK);
    assert_int_equal(pv_tls_read(pair.client, room, sizeof(room), &len), PV_TLS_CLOSED);
    pv_arena_free(arena);
    pair_close(&pair);
}

static void
servers_are_verified_by_mode(void **state)
{
    static const struct {
        enum pv_tls_mode mode;
        bool has_root;
        enum file root;
        const char *host;
        bool is_accepted;
    } rows[] = {
        {PV_TLS_REQUIRE, false, FILE_CA, "wrong.example", true},
        {PV_TLS_REQUIRE, true, FILE_CA, "wrong.example", true},
        {PV_TLS_REQUIRE, true, FILE_OTHER_CA, "db.example.com", false},
        {PV_TLS_VERIFY_CA, true, FILE_CA, "wrong.example", true},
        {PV_TLS_VERIFY_CA, true, FILE_OTHER_CA, "db.example.com", false},
        {PV_TLS_VERIFY_FULL, true, FILE_CA, "db.example.com", true},
        {PV_TLS_VERIFY_FULL, true, FILE_CA, "DB.Example.com", true},
        {PV_TLS_VERIFY_FULL, true, FILE_CA, "wrong.example", false},
        {PV_TLS_VERIFY_FULL, true, FILE_CA, "server", false}, /* its CN, but there are alternative names */
        {PV_TLS_VERIFY_FULL, true, FILE_CA, "x.wild.example.com", true},
        {PV_TLS_VERIFY_FULL, true, FILE_CA, "y.x.wild.example.com", false},
        {PV_TLS_VERIFY_FULL, true, FILE_CA, "127.0.0.1", true},
        {PV_TLS_VERIFY_FULL, true, FILE_CA, "127.0.0.2", false},
        {PV_TLS_VERIFY_FULL, true, FILE_CA, "::1", true},
        {PV_TLS_VERIFY_FULL, true, FILE_OTHER_CA, "db.example.com", false},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        const char *root = rows[i].has_root ? paths[rows[i].root] : NULL;
        struct pair pair = pair_open(server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, NULL, false),
                                     client_context(rows[i].mode, root, NULL, NULL), rows[i].host);

        if ((pair.client_result == PV_TLS_OK) != rows[i].is_accepted)
            fail_msg("row %zu: %s", i, pv_tls_error(pair.client));
        if (!rows[i].is_accepted)
            assert_non_null(strstr(pv_tls_error(pair.client), "certificate of the peer: "));
        pair_close(&pair);
    }
}

static void
clients_are_verified(void **state)
{
    static const struct {
        enum file cert; /* FILE_NO_CERT: none */
        enum file key;
        bool is_required;
        bool is_accepted;
    } rows[] = {
        {FILE_CLIENT_CERT, FILE_CLIENT_KEY, true, true}, {FILE_CLIENT_CERT, FILE_CLIENT_KEY, false, true},
        {FILE_NO_CERT, FILE_NO_CERT, false, true},       {FILE_NO_CERT, FILE_NO_CERT, true, false},
        {FILE_ROGUE_CERT, FILE_ROGUE_KEY, false, false}, {FILE_ROGUE_CERT, FILE_ROGUE_KEY, true, false},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        bool has_cert = rows[i].cert != FILE_NO_CERT;
        struct pair pair =
            pair_open(server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, paths[FILE_CA], rows[i].is_required),
                      client_context(PV_TLS_VERIFY_FULL, paths[FILE_CA], has_cert ? paths[rows[i].cert] : NULL,
                                     has_cert ? paths[rows[i].key] : NULL),
                      "db.example.com");

        if ((pair.server_result == PV_TLS_OK) != rows[i].is_accepted)
            fail_msg("row %zu: %s", i, pv_tls_error(pair.server));
        pair_close(&pair);
    }
}

static void
names_of_the_peer(void **state)
{
    struct pair pair =
        pair_open(server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, paths[FILE_CA], true),
                  client_context(PV_TLS_VERIFY_FULL, paths[FILE_CA], paths[FILE_CLIENT_CERT], paths[FILE_CLIENT_KEY]),
                  "db.example.com");
    struct pv_arena *arena = pv_arena_new(16);
    struct pv_tls_names names;
    enum pv_status status = PV_NOMEM;

    (void) state;
    assert_int_equal(pair.server_result, PV_TLS_OK);
    for (long nth = 1; status != PV_OK; nth++) {
        pv_arena_free(arena);
        arena = pv_arena_new(16);
        pv_alloc_fail_at(nth);
        status = pv_tls_peer_names(pair.server, arena, &names);
        pv_alloc_fail_at(0);
        if (status != PV_OK)
            assert_int_equal(status, PV_NOMEM);
    }
    assert_string_equal(names.common_name, "alice@acme");
    assert_int_equal(names.alt_count, 4);
    assert_int_equal(names.alts[0].kind, PV_TLS_NAME_EMAIL);
    assert_string_equal(names.alts[0].text, "alice@acme.example");
    assert_int_equal(names.alts[1].kind, PV_TLS_NAME_URI);
    assert_string_equal(names.alts[1].text, "spiffe://acme/alice");
    assert_int_equal(names.alts[2].kind, PV_TLS_NAME_DNS);
    assert_string_equal(names.alts[2].text, "a.example");
    assert_int_equal(names.alts[3].kind, PV_TLS_NAME_IP);
    assert_string_equal(names.alts[3].text, "10.0.0.1");
    assert_int_equal(pv_tls_peer_names(pair.client, arena, &names), PV_OK);
    assert_string_equal(names.common_name, "server");
    assert_string_equal(names.alts[3].text, "::1");
    pv_arena_free(arena);
    pair_close(&pair);
}

/* What a hash of the certificate file says, with the digest that its signature uses. */
static size_t
file_hash(enum file file, const EVP_MD *md, uint8_t hash[EVP_MAX_MD_SIZE])
{
    FILE *stream = fopen(paths[file], "r");
    X509 *cert = stream == NULL ? NULL : PEM_read_X509(stream, NULL, NULL, NULL);
    unsigned int len = 0;

    assert_non_null(cert);
    assert_int_equal(X509_digest(cert, md, hash, &len), 1);
    X509_free(cert);
    (void) fclose(stream);
    return len;
}

static void
endpoint_hashes_agree(void **state)
{
    const struct {
        enum file cert;
        enum file key;
        const EVP_MD *md;
    } rows[] = {{FILE_SERVER_CERT, FILE_SERVER_KEY, EVP_sha256()},
                {FILE_SHA384_CERT, FILE_SHA384_KEY, EVP_sha384()},
                {FILE_ED_CERT, FILE_ED_KEY, NULL}};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pair pair = pair_open(server_context(rows[i].cert, rows[i].key, NULL, false),
                                     client_context(PV_TLS_REQUIRE, NULL, NULL, NULL), NULL);
        uint8_t own[PV_TLS_ENDPOINT_BYTES_MAX], peer[PV_TLS_ENDPOINT_BYTES_MAX], expected[EVP_MAX_MD_SIZE];
        size_t own_len, peer_len;
        enum pv_status status = rows[i].md == NULL ? PV_NOTFOUND : PV_OK;

        assert_int_equal(pair.client_result, PV_TLS_OK);
        assert_int_equal(pv_tls_endpoint_hash(pair.server, own, &own_len), status);
        assert_int_equal(pv_tls_endpoint_hash(pair.client, peer, &peer_len), status);
        if (status == PV_OK) {
            assert_int_equal(own_len, file_hash(rows[i].cert, rows[i].md, expected));
            assert_int_equal(peer_len, own_len);
            assert_memory_equal(own, expected, own_len);
            assert_memory_equal(peer, expected, own_len);
        }
        pair_close(&pair);
    }
}

/* A client of the library's own: what it offers is up to the row. */
static void
what_foreign_clients_offer(void **state)
{
    static const struct {
        const char *alpn;
        unsigned int alpn_len;
        int version_max;
        bool is_accepted;
        bool has_alpn;
    } rows[] = {
        {"\x0apostgresql", 11, TLS1_3_VERSION, true, true},
        {"\x02h2\x0apostgresql", 14, TLS1_3_VERSION, true, true},
        {"\x02h2", 3, TLS1_3_VERSION, false, false},
        {"\x0bpostgresqlx", 12, TLS1_3_VERSION, false, false},
        {NULL, 0, TLS1_3_VERSION, true, false},
        {NULL, 0, TLS1_2_VERSION, true, false},
        {NULL, 0, TLS1_1_VERSION, false, false},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_tls_context *context = server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, NULL, false);
        SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
        SSL *client = NULL;
        struct pv_tls *server = NULL;
        enum pv_tls_result result = PV_TLS_WANT_READ;
        int fds[2];

        assert_non_null(client_ctx);
        SSL_CTX_set_security_level(client_ctx, 0);
        assert_int_equal(SSL_CTX_set_min_proto_version(client_ctx, TLS1_VERSION), 1);
        assert_int_equal(SSL_CTX_set_max_proto_version(client_ctx, rows[i].version_max), 1);
        client = SSL_new(client_ctx);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(SSL_set_fd(client, fds[1]), 1);
        if (rows[i].alpn != NULL)
            assert_int_equal(SSL_set_alpn_protos(client, (const uint8_t *) rows[i].alpn, rows[i].alpn_len), 0);
        assert_int_equal(pv_tls_new(context, fds[0], NULL, &server), PV_OK);
        for (int round = 0; round < 10 && result != PV_TLS_OK && result != PV_TLS_FAILED; round++) {
            (void) SSL_connect(client);
            result = pv_tls_handshake(server);
        }
        if ((result == PV_TLS_OK) != rows[i].is_accepted)
            fail_msg("row %zu: %s", i, pv_tls_error(server));
        assert_int_equal(pv_tls_has_alpn(server), rows[i].has_alpn);
        pv_tls_free(server);
        pv_tls_context_unref(context);
        SSL_free(client);
        SSL_CTX_free(client_ctx);
        (void) close(fds[0]);
        (void) close(fds[1]);
    }
}

static void
handshakes_fail_with_words(void **state)
{
    struct pv_tls_context *context = server_context(FILE_SERVER_CERT, FILE_SERVER_KEY, NULL, false);
    struct pv_tls *tls;
    int fds[2];

    (void) state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(pv_tls_new(context, fds[0], NULL, &tls), PV_OK);
    assert_int_equal(pv_tls_handshake(tls), PV_TLS_WANT_READ);
    assert_int_equal(write(fds[1], "SELECT plain text", 17), 17);
    assert_int_equal(pv_tls_handshake(tls), PV_TLS_FAILED);
    assert_non_null(strstr(pv_tls_error(tls), "TLS handshake: "));
    pv_tls_free(tls);
    (void) close(fds[0]);
    (void) close(fds[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    (void) close(fds[1]);
    assert_int_equal(pv_tls_new(context, fds[0], NULL, &tls), PV_OK);
    assert_int_equal(pv_tls_handshake(tls), PV_TLS_FAILED);
    assert_non_null(strstr(pv_tls_error(tls), "closed"));
    assert_int_equal(pv_tls_shutdown(tls), PV_TLS_OK);
    pv_tls_free(tls);
    (void) close(fds[0]);
    pv_tls_context_unref(context);
}

static void
bad_configurations_are_said(void **state)
{
    static const struct {
        enum file cert;
        const char *key; /* NULL: the server's */
        const char *client_ca;
        bool is_required;
        const char *words;
    } rows[] = {
        {FILE_SERVER_CERT, "/nonexistent.pem", NULL, false, "private key file \"/nonexistent.pem\""},
        {FILE_CLIENT_CERT, NULL, NULL, false, "private key file"},
        {FILE_SERVER_KEY, NULL, NULL, false, "certificate file"},
        {FILE_SERVER_CERT, NULL, "/nonexistent.pem", false, "client CA file"},
        {FILE_SERVER_CERT, NULL, NULL, true, "no client CA file"},
    };
    struct pv_tls_client_options client = {PV_TLS_VERIFY_FULL, NULL, NULL, NULL};
    struct pv_tls_context *context = NULL;
    struct pv_tls *tls = NULL;
    char error[256];

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_tls_server_options options = {paths[rows[i].cert],
                                                rows[i].key == NULL ? paths[FILE_SERVER_KEY] : rows[i].key,
                                                rows[i].client_ca, rows[i].is_required};

        assert_int_equal(pv_tls_server_context_new(&options, &context, error, sizeof(error)), PV_INVALID);
        if (strstr(error, rows[i].words) == NULL)
            fail_msg("row %zu: %s", i, error);
        assert_int_equal(pv_tls_server_context_new(&options, &context, NULL, 0), PV_INVALID);
    }
    assert_int_equal(pv_tls_client_context_new(&client, &context, error, sizeof(error)), PV_INVALID);
    assert_non_null(strstr(error, "root certificate"));
    client.root_cert_file = "/nonexistent.pem";
    assert_int_equal(pv_tls_client_context_new(&client, &context, error, sizeof(error)), PV_INVALID);
    assert_null(context);
    /* verify-full without a name to verify. */
    context = client_context(PV_TLS_VERIFY_FULL, paths[FILE_CA], NULL, NULL);
    assert_int_equal(pv_tls_new(context, 0, NULL, &tls), PV_INVALID);
    assert_int_equal(pv_tls_new(context, 0, "", &tls), PV_INVALID);
    assert_null(tls);
    pv_tls_context_unref(context);
    pv_tls_context_unref(NULL);
    pv_tls_free(NULL);
}

static void
allocation_failures_are_said(void **state)
{
    struct pv_tls_server_options options = {paths[FILE_SERVER_CERT], paths[FILE_SERVER_KEY], NULL, false};
    struct pv_tls_context *context = NULL;
    struct pv_tls *tls = NULL;
    char error[256];

    (void) state;
    pv_alloc_fail_at(1);
    assert_int_equal(pv_tls_server_context_new(&options, &context, error, sizeof(error)), PV_NOMEM);
    pv_alloc_fail_at(0);
    context = client_context(PV_TLS_REQUIRE, NULL, NULL, NULL);
    for (long nth = 1; nth <= 2; nth++) {
        pv_alloc_fail_at(nth);
        assert_int_equal(pv_tls_new(context, 0, "host", &tls), PV_NOMEM);
    }
    pv_alloc_fail_at(0);
    pv_tls_context_unref(context);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_talk),
        cmocka_unit_test(servers_are_verified_by_mode),
        cmocka_unit_test(clients_are_verified),
        cmocka_unit_test(names_of_the_peer),
        cmocka_unit_test(endpoint_hashes_agree),
        cmocka_unit_test(what_foreign_clients_offer),
        cmocka_unit_test(handshakes_fail_with_words),
        cmocka_unit_test(bad_configurations_are_said),
        cmocka_unit_test(allocation_failures_are_said),
    };

    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
