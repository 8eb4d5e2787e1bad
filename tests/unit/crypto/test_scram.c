#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/crypto/scram.h"

#define SALT pv_slice_of("sixteen byte salt", 16)
#define HASH pv_slice_of("0123456789abcdef0123456789abcdef", 32)
#define NO_HASH pv_slice_of(NULL, 0)

static struct pv_scram_verifier
verifier_of(const char *password)
{
    struct pv_scram_verifier verifier;

    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr(password), 4096, SALT, &verifier), PV_OK);
    return verifier;
}

/* One exchange between the two sides, with each message open to a change on the way. */
struct exchange {
    struct pv_scram_verifier verifier;
    const char *password;
    struct pv_slice server_binding;
    enum pv_scram_binding client_binding;
    struct pv_slice client_data;
    const char *mechanism; /* NULL: the client's own */
    int tamper_message;    /* 1 to 4; 0 none */
    size_t tamper_at;
    bool is_cut; /* cut there instead of changed */
};

struct outcome {
    enum pv_status server_first;
    enum pv_status client_final;
    enum pv_status server_final;
    enum pv_status client_verify;
    size_t message_lens[5];
};

static void
message_tamper(const struct exchange *exchange, int message, struct pv_buf *bytes, struct outcome *outcome)
{
    outcome->message_lens[message] = pv_buf_len(bytes);
    if (exchange->tamper_message != message || exchange->tamper_at >= pv_buf_len(bytes))
        return;
    if (exchange->is_cut)
        pv_buf_truncate(bytes, exchange->tamper_at);
    else
        bytes->data[bytes->start + exchange->tamper_at] ^= 1;
}

static struct outcome
exchange_run(const struct exchange *exchange)
{
    struct outcome outcome = {PV_CLOSED, PV_CLOSED, PV_CLOSED, PV_CLOSED, {0}};
    struct pv_scram_server *server = NULL;
    struct pv_scram_client *client = NULL;
    struct pv_buf m[5] = {0};
    struct pv_slice mechanism;

    assert_int_equal(pv_scram_server_new(&exchange->verifier, exchange->server_binding, &server), PV_OK);
    assert_int_equal(pv_scram_client_new(pv_slice_cstr(exchange->password), exchange->client_binding,
                                         exchange->client_data, &client),
                     PV_OK);
    /* Fixed, so that each flipped bit is tried against the same messages. */
    assert_int_equal(pv_scram_server_nonce_set(server, pv_slice_cstr("server-nonce")), PV_OK);
    assert_int_equal(pv_scram_client_nonce_set(client, pv_slice_cstr("client-nonce")), PV_OK);
    mechanism = pv_slice_cstr(exchange->mechanism != NULL ? exchange->mechanism : pv_scram_client_mechanism(client));
    assert_int_equal(pv_scram_client_first(client, &m[1]), PV_OK);
    message_tamper(exchange, 1, &m[1], &outcome);
    outcome.server_first = pv_scram_server_first(server, mechanism, pv_buf_slice(&m[1]), &m[2]);
    if (outcome.server_first != PV_OK)
        goto done;
    message_tamper(exchange, 2, &m[2], &outcome);
    outcome.client_final = pv_scram_client_final(client, pv_buf_slice(&m[2]), &m[3]);
    if (outcome.client_final != PV_OK)
        goto done;
    message_tamper(exchange, 3, &m[3], &outcome);
    outcome.server_final = pv_scram_server_final(server, pv_buf_slice(&m[3]), &m[4]);
    if (outcome.server_final != PV_OK)
        goto done;
    message_tamper(exchange, 4, &m[4], &outcome);
    outcome.client_verify = pv_scram_client_verify(client, pv_buf_slice(&m[4]));
done:
    if (outcome.server_first != PV_OK)
        assert_int_equal(pv_buf_len(&m[2]), 0);
    if (outcome.client_final != PV_OK)
        assert_int_equal(pv_buf_len(&m[3]), 0);
    if (outcome.server_final != PV_OK)
        assert_int_equal(pv_buf_len(&m[4]), 0);
    for (size_t i = 0; i < PV_COUNT_OF(m); i++)
        pv_buf_clear(&m[i]);
    pv_scram_server_free(server);
    pv_scram_client_free(client);
    return outcome;
}

/* RFC 7677 section 3, both sides. */
static void
rfc7677_example(void **state)
{
    static const char client_first[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    static const char server_first[] =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    static const char client_final[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                       "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    static const char server_final[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    struct pv_scram_verifier verifier;
    struct pv_scram_server *server;
    struct pv_scram_client *client;
    struct pv_buf salt = {0};
    struct pv_buf out = {0};

    (void) state;
    assert_int_equal(pv_base64_decode(pv_slice_cstr("W22ZaJ0SNY7soEsUEjb6gQ=="), &salt), PV_OK);
    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr("pencil"), 4096, pv_buf_slice(&salt), &verifier), PV_OK);
    assert_int_equal(pv_scram_server_new(&verifier, NO_HASH, &server), PV_OK);
    assert_int_equal(pv_scram_server_nonce_set(server, pv_slice_cstr("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")), PV_OK);
    assert_int_equal(pv_scram_client_new(pv_slice_cstr("pencil"), PV_SCRAM_BINDING_NONE, NO_HASH, &client), PV_OK);
    assert_int_equal(pv_scram_client_nonce_set(client, pv_slice_cstr("rOprNGfwEbeRWgbNEkqO")), PV_OK);
    assert_int_equal(pv_scram_client_user_set(client, pv_slice_cstr("user")), PV_OK);

    assert_int_equal(pv_scram_client_first(client, &out), PV_OK);
    assert_string_equal(pv_buf_text(&out), client_first);
    pv_buf_truncate(&out, 0);
    assert_int_equal(pv_scram_server_first(server, pv_slice_cstr("SCRAM-SHA-256"), pv_slice_cstr(client_first), &out),
                     PV_OK);
    assert_string_equal(pv_buf_text(&out), server_first);
    pv_buf_truncate(&out, 0);
    assert_int_equal(pv_scram_client_final(client, pv_slice_cstr(server_first), &out), PV_OK);
    assert_string_equal(pv_buf_text(&out), client_final);
    pv_buf_truncate(&out, 0);
    assert_int_equal(pv_scram_server_final(server, pv_slice_cstr(client_final), &out), PV_OK);
    assert_string_equal(pv_buf_text(&out), server_final);
    assert_int_equal(pv_scram_client_verify(client, pv_slice_cstr(server_final)), PV_OK);

    pv_buf_clear(&salt);
    pv_buf_clear(&out);
    pv_scram_server_free(server);
    pv_scram_client_free(client);
}

static void
verifier_text_round_trips(void **state)
{
    /* Of the password and the salt of RFC 7677. */
    static const char text[] =
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    struct pv_scram_verifier verifier, made;
    struct pv_buf out = {0};

    (void) state;
    assert_int_equal(pv_scram_verifier_parse(pv_slice_cstr(text), &verifier), PV_OK);
    assert_int_equal(verifier.iterations, 4096);
    assert_int_equal(verifier.salt_len, 16);
    assert_false(verifier.is_mock);
    assert_int_equal(pv_scram_verifier_format(&verifier, &out), PV_OK);
    assert_string_equal(pv_buf_text(&out), text);
    assert_int_equal(
        pv_scram_verifier_make(pv_slice_cstr("pencil"), 4096, pv_slice_of(verifier.salt, verifier.salt_len), &made),
        PV_OK);
    assert_memory_equal(made.stored_key, verifier.stored_key, PV_SHA256_BYTES);
    assert_memory_equal(made.server_key, verifier.server_key, PV_SHA256_BYTES);
    for (size_t len = 0; len < strlen(text); len++)
        assert_int_equal(pv_scram_verifier_parse(pv_slice_of(text, len), &verifier), PV_INVALID);
    pv_buf_truncate(&out, strlen(text));
    pv_buf_put_u8(&out, 'x');
    assert_int_equal(pv_scram_verifier_parse(pv_buf_slice(&out), &verifier), PV_INVALID);
    pv_buf_clear(&out);
}

static void
a_password_in_clear_is_checked(void **state)
{
    struct pv_scram_verifier verifier = verifier_of("pencil"), mock;

    (void) state;
    assert_int_equal(pv_scram_verifier_check(&verifier, pv_slice_cstr("pencil")), PV_OK);
    assert_int_equal(pv_scram_verifier_check(&verifier, pv_slice_cstr("pencil ")), PV_AUTH);
    assert_int_equal(pv_scram_verifier_check(&verifier, pv_slice_cstr("Pencil")), PV_AUTH);
    assert_int_equal(pv_scram_verifier_check(&verifier, pv_slice_cstr("")), PV_INVALID);
    assert_int_equal(pv_scram_verifier_check(&verifier, pv_slice_of("\xff", 1)), PV_INVALID);
    /* A mock lets nobody in, not even whoever had its very keys. */
    mock = verifier;
    mock.is_mock = true;
    assert_int_equal(pv_scram_verifier_check(&mock, pv_slice_cstr("pencil")), PV_AUTH);
    verifier.stored_key[31] ^= 1;
    assert_int_equal(pv_scram_verifier_check(&verifier, pv_slice_cstr("pencil")), PV_AUTH);
}

static void
verifier_refusals(void **state)
{
#define KEYS "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    static const struct {
        const char *text;
        enum pv_status status;
    } rows[] = {
        {"SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS, PV_LIMIT},
        {"SCRAM-SHA-256$1000001:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS, PV_LIMIT},
        {"SCRAM-SHA-256$99999999999999999999:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS, PV_LIMIT},
        {"SCRAM-SHA-256$04096:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS, PV_INVALID},
        {"SCRAM-SHA-256$+4096:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS, PV_INVALID},
        {"SCRAM-SHA-256$:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS, PV_INVALID},
        {"SCRAM-SHA-256$4096:" KEYS, PV_INVALID},
        {"SCRAM-SHA-256$4096:!!!!" KEYS, PV_INVALID},
        {"SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS, PV_INVALID},
        {"scram-sha-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS, PV_INVALID},
        {"md5c29fd7d1cd24ea0d1d8bc3ff6dcd4e95", PV_INVALID},
    };
    struct pv_scram_verifier verifier;
    char *long_password = pv_calloc(1, PV_SCRAM_PASSWORD_BYTES_MAX + 2);

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        if (pv_scram_verifier_parse(pv_slice_cstr(rows[i].text), &verifier) != rows[i].status)
            fail_msg("row %zu: %s", i, rows[i].text);
    assert_non_null(long_password);
    memset(long_password, 'x', PV_SCRAM_PASSWORD_BYTES_MAX + 1);
    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr(long_password), 4096, SALT, &verifier), PV_INVALID);
    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr(""), 4096, SALT, &verifier), PV_INVALID);
    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr("\xff"), 4096, SALT, &verifier), PV_INVALID);
    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr("p"), 4096, NO_HASH, &verifier), PV_INVALID);
    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr("p"), 4095, SALT, &verifier), PV_LIMIT);
    assert_int_equal(pv_scram_verifier_make(pv_slice_cstr("p"), 1000001, SALT, &verifier), PV_LIMIT);
    assert_int_equal(pv_scram_verifier_mock(HASH, pv_slice_cstr("u"), 1, &verifier), PV_LIMIT);
    pv_free(long_password);
}

static void
mock_verifiers_are_steady_and_unlike(void **state)
{
    struct pv_scram_verifier a, again, b, other;

    (void) state;
    assert_int_equal(pv_scram_verifier_mock(HASH, pv_slice_cstr("alice"), 4096, &a), PV_OK);
    assert_int_equal(pv_scram_verifier_mock(HASH, pv_slice_cstr("alice"), 4096, &again), PV_OK);
    assert_int_equal(pv_scram_verifier_mock(HASH, pv_slice_cstr("bob"), 4096, &b), PV_OK);
    assert_int_equal(pv_scram_verifier_mock(pv_slice_cstr("secret"), pv_slice_cstr("alice"), 4096, &other), PV_OK);
    assert_true(a.is_mock);
    assert_int_equal(a.salt_len, PV_SCRAM_SALT_BYTES);
    assert_memory_equal(a.salt, again.salt, a.salt_len);
    assert_memory_not_equal(a.salt, b.salt, a.salt_len);
    assert_memory_not_equal(a.salt, other.salt, a.salt_len);
}

static void
exchanges_end_as_they_should(void **state)
{
    struct exchange mock = {.password = "secret"};
    struct exchange knows_mock_keys;
    const struct {
        const char *name;
        struct exchange exchange;
        struct outcome outcome;
    } rows[] = {
        {"plain", {.password = "secret"}, {PV_OK, PV_OK, PV_OK, PV_OK, {0}}},
        {"plus",
         {.password = "secret",
          .server_binding = HASH,
          .client_binding = PV_SCRAM_BINDING_ENDPOINT,
          .client_data = HASH},
         {PV_OK, PV_OK, PV_OK, PV_OK, {0}}},
        {"offered but not taken", {.password = "secret", .server_binding = HASH}, {PV_OK, PV_OK, PV_OK, PV_OK, {0}}},
        {"y, and not offered",
         {.password = "secret", .client_binding = PV_SCRAM_BINDING_UNOFFERED},
         {PV_OK, PV_OK, PV_OK, PV_OK, {0}}},
        {"y, though offered: downgrade",
         {.password = "secret", .server_binding = HASH, .client_binding = PV_SCRAM_BINDING_UNOFFERED},
         {PV_AUTH, PV_CLOSED, PV_CLOSED, PV_CLOSED, {0}}},
        {"plus, not offered",
         {.password = "secret", .client_binding = PV_SCRAM_BINDING_ENDPOINT, .client_data = HASH},
         {PV_PROTOCOL, PV_CLOSED, PV_CLOSED, PV_CLOSED, {0}}},
        {"plus of another certificate",
         {.password = "secret",
          .server_binding = HASH,
          .client_binding = PV_SCRAM_BINDING_ENDPOINT,
          .client_data = pv_slice_cstr("another hash")},
         {PV_OK, PV_OK, PV_AUTH, PV_CLOSED, {0}}},
        {"wrong password", {.password = "Secret"}, {PV_OK, PV_OK, PV_AUTH, PV_CLOSED, {0}}},
        {"another mechanism",
         {.password = "secret", .mechanism = "SCRAM-SHA-1"},
         {PV_PROTOCOL, PV_CLOSED, PV_CLOSED, PV_CLOSED, {0}}},
        {"plus by name, not bound",
         {.password = "secret", .mechanism = PV_SCRAM_PLUS_MECHANISM, .server_binding = HASH},
         {PV_PROTOCOL, PV_CLOSED, PV_CLOSED, PV_CLOSED, {0}}},
        {"bound, not plus by name",
         {.password = "secret",
          .mechanism = PV_SCRAM_MECHANISM,
          .server_binding = HASH,
          .client_binding = PV_SCRAM_BINDING_ENDPOINT,
          .client_data = HASH},
         {PV_PROTOCOL, PV_CLOSED, PV_CLOSED, PV_CLOSED, {0}}},
    };
    struct outcome outcome;

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct exchange exchange = rows[i].exchange;

        exchange.verifier = verifier_of("secret");
        outcome = exchange_run(&exchange);
        if (memcmp(&outcome, &rows[i].outcome, offsetof(struct outcome, message_lens)) != 0)
            fail_msg("%s: %d %d %d %d", rows[i].name, (int) outcome.server_first, (int) outcome.client_final,
                     (int) outcome.server_final, (int) outcome.client_verify);
    }
    assert_int_equal(pv_scram_verifier_mock(HASH, pv_slice_cstr("nobody"), 4096, &mock.verifier), PV_OK);
    outcome = exchange_run(&mock);
    assert_int_equal(outcome.server_final, PV_AUTH);
    /* Even who guesses its keys is not let in. */
    knows_mock_keys = mock;
    knows_mock_keys.verifier = verifier_of("secret");
    knows_mock_keys.verifier.is_mock = true;
    outcome = exchange_run(&knows_mock_keys);
    assert_int_equal(outcome.server_final, PV_AUTH);
}

/* Any one bit, any cut: never does the exchange succeed on both sides with the messages changed. */
static void
tampered_messages_never_pass(void **state)
{
    struct exchange exchange = {.verifier = verifier_of("secret"), .password = "secret"};
    struct outcome whole = exchange_run(&exchange);

    (void) state;
    assert_int_equal(whole.client_verify, PV_OK);
    for (exchange.tamper_message = 1; exchange.tamper_message <= 4; exchange.tamper_message++)
        for (int is_cut = 0; is_cut <= 1; is_cut++) {
            size_t len = whole.message_lens[exchange.tamper_message];

            exchange.is_cut = is_cut == 1;
            for (exchange.tamper_at = 0; exchange.tamper_at < len; exchange.tamper_at++) {
                struct outcome outcome = exchange_run(&exchange);

                if (outcome.client_verify == PV_OK)
                    fail_msg("message %d, byte %zu", exchange.tamper_message, exchange.tamper_at);
            }
        }
}

static void
server_first_grammar(void **state)
{
    static const struct {
        const char *message;
        enum pv_status status;
    } rows[] = {
        {"n,,n=,r=abc", PV_OK},
        {"n,,n=user,r=abc", PV_OK},
        {"n,,n=user,r=abc,x=ext", PV_OK},
        {"y,,n=user,r=abc", PV_OK},
        {"", PV_PROTOCOL},
        {"n", PV_PROTOCOL},
        {"n,,", PV_PROTOCOL},
        {"n,,n=user", PV_PROTOCOL},
        {"n,,n=user,", PV_PROTOCOL},
        {"n,,n=user,r=", PV_PROTOCOL},
        {"n,,n=user,r=abc,", PV_PROTOCOL},
        {"n,,n=user,r=a\tb", PV_PROTOCOL},
        {"n,,n=user,r=\xc3\xa9", PV_PROTOCOL},
        {"n,,m=ext,n=user,r=abc", PV_PROTOCOL},
        {"n,,n=user,r=abc,m=ext", PV_PROTOCOL},
        {"n,a=admin,n=user,r=abc", PV_PROTOCOL},
        {"x,,n=user,r=abc", PV_PROTOCOL},
        {"p=tls-unique,,n=user,r=abc", PV_PROTOCOL},
        {"p=tls-server-end-point,,n=user,r=abc", PV_PROTOCOL},
        {"n,,r=abc,n=user", PV_PROTOCOL},
    };
    struct pv_scram_verifier verifier = verifier_of("secret");

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_scram_server *server;
        struct pv_buf out = {0};

        assert_int_equal(pv_scram_server_new(&verifier, NO_HASH, &server), PV_OK);
        if (pv_scram_server_first(server, pv_slice_cstr(PV_SCRAM_MECHANISM), pv_slice_cstr(rows[i].message), &out) !=
            rows[i].status)
            fail_msg("%s", rows[i].message);
        /* A failure is final, and a step is taken once. */
        assert_int_equal(
            pv_scram_server_first(server, pv_slice_cstr(PV_SCRAM_MECHANISM), pv_slice_cstr("n,,n=,r=abc"), &out),
            PV_PROTOCOL);
        pv_scram_server_free(server);
        pv_buf_clear(&out);
    }
}

static void
client_final_grammar(void **state)
{
    static const struct {
        const char *message;
        enum pv_status status;
    } rows[] = {
        {"r=abcdef,s=c2FsdA==,i=4096", PV_OK},
        {"r=abcdef,s=c2FsdA==,i=4096,x=ext", PV_OK},
        {"r=abcdef,s=c2FsdA==,i=4095", PV_LIMIT},
        {"r=abcdef,s=c2FsdA==,i=1000001", PV_LIMIT},
        {"r=abcdef,s=c2FsdA==,i=4294967297", PV_LIMIT},
        {"r=abcdef,s=c2FsdA==,i=-4096", PV_PROTOCOL},
        {"r=abcdef,s=c2FsdA==,i=4096x", PV_PROTOCOL},
        {"r=abc,s=c2FsdA==,i=4096", PV_PROTOCOL},    /* nothing added to our nonce */
        {"r=xbcdef,s=c2FsdA==,i=4096", PV_PROTOCOL}, /* not our nonce */
        {"r=ab,s=c2FsdA==,i=4096", PV_PROTOCOL},
        {"r=abcdef,s=c2FsdA=,i=4096", PV_PROTOCOL},
        {"r=abcdef,s=,i=4096", PV_PROTOCOL},
        {"m=x,r=abcdef,s=c2FsdA==,i=4096", PV_PROTOCOL},
        {"s=c2FsdA==,r=abcdef,i=4096", PV_PROTOCOL},
        {"e=other-error", PV_PROTOCOL},
        {"", PV_PROTOCOL},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_scram_client *client;
        struct pv_buf out = {0};

        assert_int_equal(pv_scram_client_new(pv_slice_cstr("secret"), PV_SCRAM_BINDING_NONE, NO_HASH, &client), PV_OK);
        assert_int_equal(pv_scram_client_nonce_set(client, pv_slice_cstr("abc")), PV_OK);
        /* Out of turn. */
        assert_int_equal(pv_scram_client_verify(client, pv_slice_cstr("v=x")), PV_PROTOCOL);
        assert_int_equal(pv_scram_client_first(client, &out), PV_OK);
        if (pv_scram_client_final(client, pv_slice_cstr(rows[i].message), &out) != rows[i].status)
            fail_msg("%s", rows[i].message);
        assert_int_equal(pv_scram_client_final(client, pv_slice_cstr(rows[0].message), &out), PV_PROTOCOL);
        if (rows[i].status == PV_OK)
            assert_int_equal(pv_scram_client_verify(client, pv_slice_cstr("e=invalid-proof")), PV_AUTH);
        pv_scram_client_free(client);
        pv_buf_clear(&out);
    }
}

static void
long_nonces_are_welcome_up_to_the_message(void **state)
{
    struct pv_scram_verifier verifier = verifier_of("secret");
    struct pv_buf message = {0};
    size_t lens[] = {10000, PV_SCRAM_MESSAGE_BYTES_MAX};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(lens); i++) {
        struct pv_scram_server *server;
        struct pv_buf out = {0};

        pv_buf_put_text(&message, "n,,n=,r=");
        for (size_t k = 0; k < lens[i]; k++)
            pv_buf_put_u8(&message, 'x');
        assert_int_equal(pv_scram_server_new(&verifier, NO_HASH, &server), PV_OK);
        assert_int_equal(pv_scram_server_first(server, pv_slice_cstr(PV_SCRAM_MECHANISM), pv_buf_slice(&message), &out),
                         i == 0 ? PV_OK : PV_PROTOCOL);
        pv_scram_server_free(server);
        pv_buf_clear(&out);
        pv_buf_clear(&message);
    }
}

static void
random_nonces_differ(void **state)
{
    struct pv_buf out[2] = {0};

    (void) state;
    for (size_t i = 0; i < 2; i++) {
        struct pv_scram_client *client;

        assert_int_equal(pv_scram_client_new(pv_slice_cstr("p"), PV_SCRAM_BINDING_NONE, NO_HASH, &client), PV_OK);
        assert_int_equal(pv_scram_client_first(client, &out[i]), PV_OK);
        pv_scram_client_free(client);
    }
    assert_int_equal(pv_buf_len(&out[0]), strlen("n,,n=,r=") + 24);
    assert_false(pv_slice_equal(pv_buf_slice(&out[0]), pv_buf_slice(&out[1])));
    pv_buf_clear(&out[0]);
    pv_buf_clear(&out[1]);
}

/* The whole exchange with the n-th allocation failing, for every n. */
static enum pv_status
exchange_with_failure(const struct pv_scram_verifier *verifier, long nth)
{
    struct pv_scram_server *server = NULL;
    struct pv_scram_client *client = NULL;
    struct pv_buf m[4] = {0};
    enum pv_status status;

    pv_alloc_fail_at(nth);
    status = pv_scram_server_new(verifier, HASH, &server);
    if (status == PV_OK)
        status = pv_scram_client_new(pv_slice_cstr("secret"), PV_SCRAM_BINDING_ENDPOINT, HASH, &client);
    if (status == PV_OK)
        status = pv_scram_client_first(client, &m[0]);
    if (status == PV_OK)
        status = pv_scram_server_first(server, pv_slice_cstr(PV_SCRAM_PLUS_MECHANISM), pv_buf_slice(&m[0]), &m[1]);
    if (status == PV_OK)
        status = pv_scram_client_final(client, pv_buf_slice(&m[1]), &m[2]);
    if (status == PV_OK)
        status = pv_scram_server_final(server, pv_buf_slice(&m[2]), &m[3]);
    if (status == PV_OK)
        status = pv_scram_client_verify(client, pv_buf_slice(&m[3]));
    pv_alloc_fail_at(0);
    for (size_t i = 0; i < PV_COUNT_OF(m); i++)
        pv_buf_clear(&m[i]);
    pv_scram_server_free(server);
    pv_scram_client_free(client);
    return status;
}

static void
every_failing_allocation_is_said(void **state)
{
    struct pv_scram_verifier verifier = verifier_of("secret");
    enum pv_status status = PV_NOMEM;
    long nth;

    (void) state;
    for (nth = 1; status != PV_OK; nth++) {
        status = exchange_with_failure(&verifier, nth);
        if (status != PV_OK)
            assert_int_equal(status, PV_NOMEM);
    }
    assert_true(nth > 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc7677_example),
        cmocka_unit_test(verifier_text_round_trips),
        cmocka_unit_test(verifier_refusals),
        cmocka_unit_test(a_password_in_clear_is_checked),
        cmocka_unit_test(mock_verifiers_are_steady_and_unlike),
        cmocka_unit_test(exchanges_end_as_they_should),
        cmocka_unit_test(tampered_messages_never_pass),
        cmocka_unit_test(server_first_grammar),
        cmocka_unit_test(client_final_grammar),
        cmocka_unit_test(long_nonces_are_welcome_up_to_the_message),
        cmocka_unit_test(random_nonces_differ),
        cmocka_unit_test(every_failing_allocation_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
