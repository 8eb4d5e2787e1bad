/* Signatures of tokens: the examples of RFC 7515 (A.2, A.3) and RFC 8037 (A.4), each byte changed; keys that are none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/crypto/jwt.h"

#include <string.h>

static struct pv_buf
decoded(const char *text)
{
    struct pv_buf bytes = {0};

    assert_int_equal(pv_base64url_decode(pv_slice_cstr(text), &bytes), PV_OK);
    return bytes;
}

#define CLAIMS "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

static const struct {
    enum pv_jwt_alg alg;
    const char *first, *second; /* n and e, x and y, x */
    const char *input, *signature;
} examples[] = {
    {PV_JWT_RS256,
     "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-"
     "pCgNMs"
     "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"
     "UTo7WTBEMa2R2CapHg665xsmtdV"
     "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
     "AQAB", "eyJhbGciOiJSUzI1NiJ9." CLAIMS,
     "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
     "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ"
     "cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--"
     "xi12jzDwusC-e"
     "OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},
    {PV_JWT_ES256, "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
     "eyJhbGciOiJFUzI1NiJ9." CLAIMS,
     "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
    {PV_JWT_EDDSA, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", NULL,
     "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
     "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"},
};

static enum pv_status
make(enum pv_jwt_alg alg, struct pv_slice first, struct pv_slice second, struct pv_jwt_key **key)
{
    return alg == PV_JWT_RS256   ? pv_jwt_key_rsa(first, second, key)
           : alg == PV_JWT_ES256 ? pv_jwt_key_p256(first, second, key)
                                 : pv_jwt_key_ed25519(first, key);
}

static struct pv_jwt_key *
key_of(size_t i)
{
    struct pv_buf first = decoded(examples[i].first), second = decoded(examples[i].second ? examples[i].second : "");
    struct pv_jwt_key *key = NULL;

    assert_int_equal(make(examples[i].alg, pv_buf_slice(&first), pv_buf_slice(&second), &key), PV_OK);
    assert_int_equal(pv_jwt_key_alg(key), examples[i].alg);
    pv_buf_clear(&first);
    pv_buf_clear(&second);
    return key;
}

static void
examples_verify_and_changed_bytes_do_not(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(examples); i++) {
        struct pv_jwt_key *key = key_of(i);
        struct pv_buf signature = decoded(examples[i].signature);
        struct pv_slice input = pv_slice_cstr(examples[i].input);
        size_t len = pv_buf_len(&signature);

        assert_int_equal(pv_jwt_verify(key, input, pv_buf_slice(&signature)), PV_OK);
        for (size_t at = 0; at < len; at++) {
            signature.data[signature.start + at] ^= 0x01;
            assert_int_equal(pv_jwt_verify(key, input, pv_buf_slice(&signature)), PV_DENIED);
            signature.data[signature.start + at] ^= 0x01;
        }
        for (size_t at = 0; at < len; at++)
            assert_int_equal(pv_jwt_verify(key, input, pv_slice_of(pv_buf_slice(&signature).data, at)), PV_DENIED);
        assert_int_equal(pv_jwt_verify(key, pv_slice_of(input.data, input.len - 1), pv_buf_slice(&signature)),
                         PV_DENIED);
        pv_buf_put_u8(&signature, 0);
        assert_int_equal(pv_jwt_verify(key, input, pv_buf_slice(&signature)), PV_DENIED);
        pv_buf_clear(&signature);
        pv_jwt_key_free(key);
    }
}

static void
keys_do_not_serve_for_one_another(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(examples); i++) {
        struct pv_jwt_key *key = key_of(i);

        for (size_t j = 0; j < PV_COUNT_OF(examples); j++) {
            struct pv_buf signature = decoded(examples[j].signature);

            assert_int_equal(pv_jwt_verify(key, pv_slice_cstr(examples[j].input), pv_buf_slice(&signature)),
                             i == j ? PV_OK : PV_DENIED);
            pv_buf_clear(&signature);
        }
        pv_jwt_key_free(key);
    }
}

/* r and s of zeros: what a broken check once took for anybody's signature. */
static void
zeros_are_no_signature(void **state)
{
    uint8_t zeros[64] = {0};

    (void) state;
    for (size_t i = 1; i < PV_COUNT_OF(examples); i++) {
        struct pv_jwt_key *key = key_of(i);

        assert_int_equal(pv_jwt_verify(key, pv_slice_cstr(examples[i].input), pv_slice_of(zeros, sizeof(zeros))),
                         PV_DENIED);
        pv_jwt_key_free(key);
    }
}

static void
what_is_no_key(void **state)
{
    struct pv_buf n = decoded(examples[0].first), x = decoded(examples[1].first), y = decoded(examples[1].second);
    struct pv_slice modulus = pv_buf_slice(&n), px = pv_buf_slice(&x), py = pv_buf_slice(&y);
    static const uint8_t e[] = {1, 0, 1}, even[] = {1, 0, 0}, one[] = {1}, padded_one[] = {0, 0, 1};
    struct pv_jwt_key *key = NULL;

    (void) state;
    assert_int_equal(pv_jwt_key_rsa(modulus, pv_slice_of(even, 3), &key), PV_INVALID);
    assert_int_equal(pv_jwt_key_rsa(modulus, pv_slice_of(one, 1), &key), PV_INVALID);
    assert_int_equal(pv_jwt_key_rsa(modulus, pv_slice_of(padded_one, 3), &key), PV_INVALID);
    assert_int_equal(pv_jwt_key_rsa(modulus, pv_slice_of(NULL, 0), &key), PV_INVALID);
    assert_int_equal(pv_jwt_key_rsa(pv_slice_of(NULL, 0), pv_slice_of(e, 3), &key), PV_INVALID);
    assert_int_equal(pv_jwt_key_rsa(pv_slice_of(modulus.data, 128), pv_slice_of(e, 3), &key), PV_INVALID);
    assert_int_equal(pv_jwt_key_p256(px, px, &key), PV_INVALID);
    assert_int_equal(pv_jwt_key_p256(pv_slice_of(px.data, 31), py, &key), PV_INVALID);
    assert_int_equal(pv_jwt_key_p256(px, pv_slice_of(NULL, 0), &key), PV_INVALID);
    assert_int_equal(pv_jwt_key_ed25519(pv_slice_of(px.data, 31), &key), PV_INVALID);
    assert_null(key);
    pv_alloc_fail_at(1);
    assert_int_equal(pv_jwt_key_ed25519(px, &key), PV_NOMEM);
    pv_alloc_fail_at(0);
    pv_buf_clear(&n);
    pv_buf_clear(&x);
    pv_buf_clear(&y);
}

static void
base64url_is_strict(void **state)
{
    static const char *const wrong[] = {
        "A", "AAAAA", "AB", "AAB", "AA==", "AA=", "A+", "A/AA", " AAA", "AA\n", "AA.A", "\xC3\xA4"};
    struct pv_buf out = {0};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(wrong); i++) {
        assert_int_equal(pv_base64url_decode(pv_slice_cstr(wrong[i]), &out), PV_INVALID);
        assert_int_equal(pv_buf_len(&out), 0);
    }
    assert_int_equal(pv_base64url_decode(pv_slice_cstr(""), &out), PV_OK);
    assert_int_equal(pv_base64url_decode(pv_slice_cstr("-_8A"), &out), PV_OK);
    assert_memory_equal(pv_buf_slice(&out).data, "\xFB\xFF\x00", 3);
    pv_buf_clear(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_verify_and_changed_bytes_do_not),
        cmocka_unit_test(keys_do_not_serve_for_one_another),
        cmocka_unit_test(zeros_are_no_signature),
        cmocka_unit_test(what_is_no_key),
        cmocka_unit_test(base64url_is_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
