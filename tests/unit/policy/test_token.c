/* Tokens: each claim and header that counts, wrong by one thing at a time; key sets that are faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/token.h"
#include "proxy/base/arena.h"
#include "proxy/crypto/jwt.h"
#include "proxy/crypto/mac.h"
#include "proxy/crypto/sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOW_S 1700000000
#define HEADER "{\"alg\":\"EdDSA\",\"kid\":\"k\"}"
#define WHO "\"iss\":\"issuer\",\"aud\":\"veil\",\"sub\":\"tina\""
#define TIME ",\"exp\":1700000100"

static struct pv_sign_key *signer;
static struct pv_token_key keys[1];
static struct pv_tokens tokens;

static void
encode(struct pv_buf *out, struct pv_slice bytes)
{
    struct pv_buf text = {0};

    assert_int_equal(pv_base64_encode(bytes, &text), PV_OK);
    for (size_t i = 0; i < pv_buf_len(&text); i++) {
        uint8_t c = pv_buf_slice(&text).data[i];

        if (c != '=')
            pv_buf_put_u8(out, c == '+' ? '-' : c == '/' ? '_' : c);
    }
    pv_buf_clear(&text);
}

static struct pv_buf
sign(const char *header, const char *claims)
{
    struct pv_buf token = {0};
    uint8_t signature[PV_SIGNATURE_BYTES];

    encode(&token, pv_slice_cstr(header));
    pv_buf_put_u8(&token, '.');
    encode(&token, pv_slice_cstr(claims));
    assert_int_equal(pv_sign(signer, pv_buf_slice(&token), signature), PV_OK);
    pv_buf_put_u8(&token, '.');
    encode(&token, pv_slice_of(signature, sizeof(signature)));
    return token;
}

static int
set_up(void **state)
{
    char path[] = "/tmp/pv-token-XXXXXX", line[256], pem[256] = "";
    struct pv_buf der = {0};
    struct pv_jwt_key *key = NULL;
    FILE *file;

    (void) state;
    assert_non_null(mkdtemp(path));
    strcat(pem, path);
    strcat(pem, "/key");
    assert_int_equal(pv_sign_generate(&signer), PV_OK);
    assert_int_equal(pv_sign_public_write(signer, pem), PV_OK);
    file = fopen(pem, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '-')
            assert_int_equal(pv_base64_decode(pv_slice_cstr(line), &der), PV_OK);
    }
    (void) fclose(file);
    (void) unlink(pem);
    (void) rmdir(path);
    /* RFC 8410: the key's 32 bytes end it. */
    assert_int_equal(pv_jwt_key_ed25519(pv_slice_of(pv_buf_slice(&der).data + pv_buf_len(&der) - 32, 32), &key), PV_OK);
    pv_buf_clear(&der);
    keys[0] = (struct pv_token_key){"k", key};
    tokens = (struct pv_tokens){.issuer = "issuer",
                                .audience = "veil",
                                .clock_skew_ms = 60000,
                                .user_claim = "sub",
                                .roles_claim = "roles",
                                .attributes_claim = "attributes",
                                .keys = keys,
                                .key_count = 1};
    return 0;
}

static int
tear_down(void **state)
{
    union {
        const struct pv_jwt_key *borrowed;
        struct pv_jwt_key *owned;
    } key = {keys[0].key};

    (void) state;
    pv_jwt_key_free(key.owned);
    pv_sign_key_free(signer);
    return 0;
}

static void
one_thing_wrong(void **state)
{
    static const struct {
        const char *header, *claims, *why; /* why NULL: it serves */
    } rows[] = {
        {HEADER, "{" WHO TIME "}", NULL},
        {"{\"alg\":\"EdDSA\"}", "{" WHO TIME "}", NULL},
        {"{\"alg\":\"EdDSA\",\"typ\":\"jwt\"}", "{" WHO TIME "}", NULL},
        {HEADER, "{\"iss\":\"issuer\",\"aud\":[\"x\",\"veil\"],\"sub\":\"tina\",\"exp\":1699999940.5}", NULL},
        {HEADER, "{" WHO TIME ",\"nbf\":1700000060,\"iat\":1700000060}", NULL},
        {"{\"alg\":\"none\",\"kid\":\"k\"}", "{" WHO TIME "}", "not that of the key"},
        {"{\"alg\":\"HS256\",\"kid\":\"k\"}", "{" WHO TIME "}", "not that of the key"},
        {"{\"alg\":\"ES256\",\"kid\":\"k\"}", "{" WHO TIME "}", "not that of the key"},
        {"{\"alg\":\"eddsa\",\"kid\":\"k\"}", "{" WHO TIME "}", "not that of the key"},
        {"{\"kid\":\"k\"}", "{" WHO TIME "}", "not that of the key"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"other\"}", "{" WHO TIME "}", "not in the key set"},
        {"{\"alg\":\"EdDSA\",\"kid\":1}", "{" WHO TIME "}", "no text"},
        {"{\"alg\":\"EdDSA\",\"crit\":[\"b64\"],\"b64\":false}", "{" WHO TIME "}", "extensions"},
        {"{\"alg\":\"EdDSA\",\"typ\":\"logout+jwt\"}", "{" WHO TIME "}", "another type"},
        {"{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\"}", "{" WHO TIME "}", "header is malformed"},
        {"[]", "{" WHO TIME "}", "header is malformed"},
        {HEADER, "[]", "claims are malformed"},
        {HEADER, "{" WHO TIME ",\"sub\":\"tina\"}", "claims are malformed"},
        {HEADER, "{\"aud\":\"veil\",\"sub\":\"tina\"" TIME "}", "another issuer"},
        {HEADER, "{\"iss\":\"issuer/\",\"aud\":\"veil\",\"sub\":\"tina\"" TIME "}", "another issuer"},
        {HEADER, "{\"iss\":\"issuer\",\"sub\":\"tina\"" TIME "}", "another audience"},
        {HEADER, "{\"iss\":\"issuer\",\"aud\":[],\"sub\":\"tina\"" TIME "}", "another audience"},
        {HEADER, "{" WHO "}", "no \"exp\""},
        {HEADER, "{" WHO ",\"exp\":\"1700000100\"}", "no \"exp\""},
        {HEADER, "{" WHO ",\"exp\":1e300}", "no \"exp\""},
        {HEADER, "{" WHO ",\"exp\":-1}", "no \"exp\""},
        {HEADER, "{" WHO ",\"exp\":1699999940}", "expired"},
        {HEADER, "{" WHO TIME ",\"nbf\":1700000061}", "not valid yet"},
        {HEADER, "{" WHO TIME ",\"nbf\":null}", "not valid yet"},
        {HEADER, "{" WHO TIME ",\"iat\":1700000061}", "in the future"},
        {HEADER, "{\"iss\":\"issuer\",\"aud\":\"veil\"" TIME "}", "no user's name"},
        {HEADER, "{\"iss\":\"issuer\",\"aud\":\"veil\",\"sub\":\"\"" TIME "}", "no user's name"},
        {HEADER, "{\"iss\":\"issuer\",\"aud\":\"veil\",\"sub\":\"a\\nb\"" TIME "}", "no user's name"},
        {HEADER, "{" WHO TIME ",\"roles\":[1]}", "roles claim"},
        {HEADER, "{" WHO TIME ",\"attributes\":[]}", "attributes claim"},
        {HEADER, "{" WHO TIME ",\"attributes\":{\"a\":{}}}", "attribute"},
        {HEADER, "{" WHO TIME ",\"attributes\":{\"a\":[1,\"x\"]}}", "attribute"},
        {HEADER, "{" WHO TIME ",\"attributes\":{\"a b\":1}}", "attribute"},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_arena *arena = pv_arena_new(0);
        struct pv_buf text = sign(rows[i].header, rows[i].claims);
        struct pv_token token;
        const char *why = NULL;
        enum pv_status status =
            pv_token_verify(&tokens, pv_buf_slice(&text), NOW_S * INT64_C(1000000), arena, &token, &why);

        assert_int_equal(status, rows[i].why == NULL ? PV_OK : PV_DENIED);
        if (rows[i].why == NULL)
            assert_string_equal(token.user.name, "tina");
        else if (strstr(why, rows[i].why) == NULL)
            fail_msg("row %zu: %s", i, why);
        pv_buf_clear(&text);
        pv_arena_free(arena);
    }
}

static void
claims_are_read(void **state)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_buf text =
        sign(HEADER, "{" WHO TIME ",\"roles\":[\"a\",\"b\"],\"attributes\":{\"n\":[1,2.5],\"t\":\"x\",\"b\":true}}");
    struct pv_token token;
    const char *why;

    (void) state;
    assert_int_equal(pv_token_verify(&tokens, pv_buf_slice(&text), NOW_S * INT64_C(1000000), arena, &token, &why),
                     PV_OK);
    assert_int_equal(token.roles.count, 2);
    assert_string_equal(token.roles.names[1], "b");
    assert_int_equal(token.expires_us, INT64_C(1700000100000000));
    assert_int_equal(token.user.attribute_count, 3);
    assert_true(token.user.attributes[0].is_list);
    assert_string_equal(token.user.attributes[0].values[1], "2.5");
    assert_string_equal(token.user.attributes[2].values[0], "true");
    /* Every byte of it counts, and every prefix is none. */
    for (size_t i = 0; i < pv_buf_len(&text); i++) {
        uint8_t *at = &text.data[text.start + i];
        uint8_t before = *at;

        *at = before == 'A' ? 'B' : 'A';
        assert_int_equal(pv_token_verify(&tokens, pv_buf_slice(&text), NOW_S * INT64_C(1000000), arena, &token, &why),
                         PV_DENIED);
        *at = before;
        assert_int_equal(pv_token_verify(&tokens, pv_slice_of(pv_buf_slice(&text).data, i), NOW_S * INT64_C(1000000),
                                         arena, &token, &why),
                         PV_DENIED);
    }
    pv_buf_clear(&text);
    pv_arena_free(arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_thing_wrong), cmocka_unit_test(claims_are_read)};

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
