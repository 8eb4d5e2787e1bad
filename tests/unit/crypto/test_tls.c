#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/crypto/mac.h"
#include "proxy/crypto/tls.h"

/* ---- Certificates, made once for the whole program in a folder of their own ---- */

static char folder[64];
static char paths[16][128];
static size_t path_count;

enum file {
    FILE_CA,
    FILE_OTHER_CA,
    FILE_SERVER_CERT,
    FILE_SERVER_KEY,
    FILE_SHA384_CERT,
    FILE_SHA384_KEY,
    FILE_ED_CERT,
    FILE_ED_KEY,
    FILE_CLIENT_CERT,
    FILE_CLIENT_KEY,
    FILE_NO_CERT,
    FILE_ROGUE_CERT,
    FILE_ROGUE_KEY,
};

struct issuer {
    X509 *cert;
    EVP_PKEY *key;
};

static FILE *
file_open(enum file file)
{
    FILE *stream;

    (void) snprintf(paths[file], sizeof(paths[file]), "%s/%d.pem", folder, (int) file);
    path_count = PV_COUNT_OF(paths);
    stream = fopen(paths[file], "w");
    assert_non_null(stream);
    return stream;
}

static void
extension_add(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* A certificate of version 3, signed by the issuer or, without one, by itself as a CA. */
static struct issuer
cert_make(const char *common_name, const char *alt_names, const struct issuer *issuer, const EVP_MD *md, bool is_ed)
{
    struct issuer made = {X509_new(), is_ed ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_EC_gen("P-256")};
    X509_NAME *name = X509_NAME_new();
    static long serial;

    assert_true(made.cert != NULL && made.key != NULL && name != NULL);
    assert_int_equal(X509_set_version(made.cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(made.cert), ++serial), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(made.cert), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(made.cert), 86400));
    if (common_name != NULL)
        assert_int_equal(
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *) common_name, -1, -1, 0), 1);
    assert_int_equal(X509_set_subject_name(made.cert, name), 1);
    assert_int_equal(X509_set_issuer_name(made.cert, issuer == NULL ? name : X509_get_subject_name(issuer->cert)), 1);
    assert_int_equal(X509_set_pubkey(made.cert, made.key), 1);
    extension_add(made.cert, NID_basic_constraints, issuer == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    if (alt_names != NULL)
        extension_add(made.cert, NID_subject_alt_name, alt_names);
    assert_true(X509_sign(made.cert, issuer == NULL ? made.key : issuer->key, md) > 0);
    X509_NAME_free(name);
    return made;
}

static void
cert_write(const struct issuer *made, enum file cert, enum file key)
{
    FILE *stream = file_open(cert);

    assert_int_equal(PEM_write_X509(stream, made->cert), 1);
    assert_int_equal(fclose(stream), 0);
    if (key == FILE_NO_CERT)
        return;
    stream = file_open(key);
    assert_int_equal(PEM_write_PrivateKey(stream, made->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(stream), 0);
}

static void
cert_free(struct issuer *made)
{
    X509_free(made->cert);
    EVP_PKEY_free(made->key);
}

static int
certs_setup(void **state)
{
    struct issuer ca, other, made;

    (void) state;
    (void) signal(SIGPIPE, SIG_IGN);
    strcpy(folder, "/tmp/pgveil-tls-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    ca = cert_make("test CA", NULL, NULL, EVP_sha256(), false);
    cert_write(&ca, FILE_CA, FILE_NO_CERT);
    other = cert_make("another CA", NULL, NULL, EVP_sha256(), false);
    cert_write(&other, FILE_OTHER_CA, FILE_NO_CERT);
    made =
        cert_make("server", "DNS:db.example.com,DNS:*.wild.example.com,IP:127.0.0.1,IP:::1", &ca, EVP_sha256(), false);
    cert_write(&made, FILE_SERVER_CERT, FILE_SERVER_KEY);
    cert_free(&made);
    made = cert_make("server", "DNS:db.example.com", &ca, EVP_sha384(), false);
    cert_write(&made, FILE_SHA384_CERT, FILE_SHA384_KEY);
    cert_free(&made);
    made = cert_make("ed", NULL, NULL, NULL, true);
    cert_write(&made, FILE_ED_CERT, FILE_ED_KEY);
    cert_free(&made);
    made = cert_make("alice@acme", "email:alice@acme.example,URI:spiffe://acme/alice,DNS:a.example,IP:10.0.0.1", &ca,
                     EVP_sha256(), false);
    cert_write(&made, FILE_CLIENT_CERT, FILE_CLIENT_KEY);
    cert_free(&made);
    made = cert_make("alice@acme", NULL, &other, EVP_sha256(), false);
    cert_write(&made, FILE_ROGUE_CERT, FILE_ROGUE_KEY);
    cert_free(&made);
    cert_free(&ca);
    cert_free(&other);
    return 0;
}

static int
certs_teardown(void **state)
{
    (void) state;
    for (size_t i = 0; i < path_count; i++)
        if (paths[i][0] != '\0')
            (void) unlink(paths[i]);
    return rmdir(folder);
}

/* ---- Two ends of a socket pair ---- */

struct pair {
    int fds[2];
    struct pv_tls *server;
    struct pv_tls *client;
    enum pv_tls_result server_result;
    enum pv_tls_result client_result;
};

static struct pv_tls_context *
server_context(enum file cert, enum file key, const char *client_ca, bool is_required)
{
    struct pv_tls_server_options options = {paths[cert], paths[key], client_ca, is_required};
    struct pv_tls_context *context = NULL;
    char error[256] = "";

    if (pv_tls_server_context_new(&options, &context, error, sizeof(error)) != PV_OK)
        fail_msg("%s", error);
    return context;
}

static struct pv_tls_context *
client_context(enum pv_tls_mode mode, const char *root, const char *cert, const char *key)
{
    struct pv_tls_client_options options = {mode, root, cert, key};
    struct pv_tls_context *context = NULL;
    char error[256] = "";

    if (pv_tls_client_context_new(&options, &context, error, sizeof(error)) != PV_OK)
        fail_msg("%s", error);
    return context;
}

/* Takes both contexts, so that the connections alone keep them. Handshakes until both sides are through or one fails.
 */
static struct pair
pair_open(struct pv_tls_context *server, struct pv_tls_context *client, const char *host)
{
    struct pair pair = {.server_result = PV_TLS_WANT_READ, .client_result = PV_TLS_WANT_READ};

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.fds), 0);
    assert_int_equal(pv_tls_new(server, pair.fds[0], NULL, &pair.server), PV_OK);
    assert_int_equal(pv_tls_new(client, pair.fds[1], host, &pair.client), PV_OK);
    pv_tls_context_unref(server);
    pv_tls_context_unref(client);
    for (int round = 0; round < 20; round++) {
        if (pair.client_result != PV_TLS_OK && pair.client_result != PV_TLS_FAILED)
            pair.client_result = pv_tls_handshake(pair.client);
        if (pair.server_result != PV_TLS_OK && pair.server_result != PV_TLS_FAILED)
            pair.server_result = pv_tls_handshake(pair.server);
    }
    return pair;
}

static void
pair_close(struct pair *pair)
{
    pv_tls_free(pair->server);
    pv_tls_free(pair->client);
    (void) close(pair->fds[0]);
    (void) close(pair->fds[1]);
}

static void
text_send(struct pv_tls *from, struct pv_tls *to, const char *text)
{
    uint8_t room[64];
    size_t len = 0;

    assert_int_equal(pv_tls_write(from, pv_slice_cstr(text), &len), PV_TLS_OK);
    assert_int_equal(len, strlen(text));
    assert_int_equal(pv_tls_read(to, room, sizeof(room), &len), PV_TLS_OK);
    assert_true(pv_slice_is(pv_slice_of(room, len), text));
}

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
        cmocka_unit_test(lent_bytes_are_read), cmocka_unit_test(end_of_stream_closes),
        cmocka_unit_test(large_writes_come_in_parts),
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
