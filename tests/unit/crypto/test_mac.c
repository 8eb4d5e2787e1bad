#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/crypto/mac.h"

static void
assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    struct pv_buf text = {0};

    assert_int_equal(pv_hex_encode(pv_slice_of(bytes, len), &text), PV_OK);
    assert_string_equal(pv_buf_text(&text), hex);
    pv_buf_clear(&text);
}

/* FIPS 180-4 examples. */
static void
sha256_known_answers(void **state)
{
    static const struct {
        const char *text;
        const char *hex;
    } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    struct pv_sha256_state *hash = pv_sha256_new();

    (void) state;
    assert_non_null(hash);
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_slice text = pv_slice_cstr(rows[i].text);
        uint8_t digest[PV_SHA256_BYTES];

        assert_int_equal(pv_sha256(text, digest), PV_OK);
        assert_hex(digest, sizeof(digest), rows[i].hex);
        /* The same, a byte at a time, in a state that was used before. */
        for (size_t k = 0; k < text.len; k++)
            assert_int_equal(pv_sha256_update(hash, pv_slice_of(text.data + k, 1)), PV_OK);
        assert_int_equal(pv_sha256_finish(hash, digest), PV_OK);
        assert_hex(digest, sizeof(digest), rows[i].hex);
    }
    pv_sha256_free(hash);
    pv_sha256_free(NULL);
}

/* RFC 4231 sections 4.2, 4.3 and 4.7. */
static void
hmac_known_answers(void **state)
{
    uint8_t key[131];
    uint8_t mac[PV_SHA256_BYTES];

    (void) state;
    memset(key, 0x0b, 20);
    assert_int_equal(pv_hmac_sha256(pv_slice_of(key, 20), pv_slice_cstr("Hi There"), mac), PV_OK);
    assert_hex(mac, sizeof(mac), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_int_equal(pv_hmac_sha256(pv_slice_cstr("Jefe"), pv_slice_cstr("what do ya want for nothing?"), mac), PV_OK);
    assert_hex(mac, sizeof(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, 131);
    assert_int_equal(pv_hmac_sha256(pv_slice_of(key, 131),
                                    pv_slice_cstr("Test Using Larger Than Block-Size Key - Hash Key First"), mac),
                     PV_OK);
    assert_hex(mac, sizeof(mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_int_equal(pv_hmac_sha256(pv_slice_of(NULL, 0), pv_slice_of(NULL, 0), mac), PV_OK);
    assert_hex(mac, sizeof(mac), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 4648 section 10. */
static void
base64_known_answers(void **state)
{
    static const struct {
        const char *plain;
        const char *text;
    } rows[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"},
                {"\xfb\xff\xfe", "+//+"}};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_buf out = {0};

        pv_buf_put_text(&out, "|");
        assert_int_equal(pv_base64_encode(pv_slice_cstr(rows[i].plain), &out), PV_OK);
        assert_string_equal(pv_buf_text(&out) + 1, rows[i].text);
        pv_buf_truncate(&out, 1);
        assert_int_equal(pv_base64_decode(pv_slice_cstr(rows[i].text), &out), PV_OK);
        assert_string_equal(pv_buf_text(&out) + 1, rows[i].plain);
        pv_buf_clear(&out);
    }
}

static void
decoders_are_strict(void **state)
{
    static const char *const bad_base64[] = {"Z",      "Zg",   "Zg=",      "Zg=a", "Z===", "====",  "Zh==", "Zm9=",
                                             "Zm9v\n", " Zm9", "Zg==Zg==", "Zm-_", "=Zg=", "Zm8=x", "Zm9vZ"};
    static const char *const bad_hex[] = {"0", "0g", "g0", "00 ", "0x", "-1"};
    struct pv_buf out = {0};

    (void) state;
    pv_buf_put_text(&out, "kept");
    for (size_t i = 0; i < PV_COUNT_OF(bad_base64); i++)
        if (pv_base64_decode(pv_slice_cstr(bad_base64[i]), &out) != PV_INVALID)
            fail_msg("base64 \"%s\" passed", bad_base64[i]);
    for (size_t i = 0; i < PV_COUNT_OF(bad_hex); i++)
        if (pv_hex_decode(pv_slice_cstr(bad_hex[i]), &out) != PV_INVALID)
            fail_msg("hex \"%s\" passed", bad_hex[i]);
    assert_true(pv_slice_is(pv_buf_slice(&out), "kept"));
    assert_int_equal(pv_hex_decode(pv_slice_cstr("00fFaB"), &out), PV_OK);
    assert_memory_equal(pv_buf_slice(&out).data + 4, "\x00\xff\xab", 3);
    pv_buf_clear(&out);
}

static void
every_length_round_trips(void **state)
{
    uint8_t bytes[100];

    (void) state;
    assert_int_equal(pv_random_bytes(bytes, sizeof(bytes)), PV_OK);
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        struct pv_buf text = {0};
        struct pv_buf back = {0};

        assert_int_equal(pv_base64_encode(pv_slice_of(bytes, len), &text), PV_OK);
        assert_int_equal(pv_base64_decode(pv_buf_slice(&text), &back), PV_OK);
        assert_true(pv_slice_equal(pv_buf_slice(&back), pv_slice_of(bytes, len)));
        pv_buf_truncate(&text, 0);
        pv_buf_truncate(&back, 0);
        assert_int_equal(pv_hex_encode(pv_slice_of(bytes, len), &text), PV_OK);
        assert_int_equal(pv_hex_decode(pv_buf_slice(&text), &back), PV_OK);
        assert_true(pv_slice_equal(pv_buf_slice(&back), pv_slice_of(bytes, len)));
        pv_buf_clear(&text);
        pv_buf_clear(&back);
    }
}

static void
random_compare_and_wipe(void **state)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};

    (void) state;
    assert_int_equal(pv_random_bytes(a, sizeof(a)), PV_OK);
    assert_int_equal(pv_random_bytes(b, sizeof(b)), PV_OK);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(pv_random_bytes(NULL, 0), PV_OK);
    assert_false(pv_constant_time_equal(pv_slice_of(a, 32), pv_slice_of(b, 32)));
    assert_true(pv_constant_time_equal(pv_slice_of(a, 32), pv_slice_of(a, 32)));
    assert_false(pv_constant_time_equal(pv_slice_of(a, 32), pv_slice_of(a, 31)));
    assert_true(pv_constant_time_equal(pv_slice_of(NULL, 0), pv_slice_of(a, 0)));
    pv_wipe(a, sizeof(a));
    memset(b, 0, sizeof(b));
    assert_memory_equal(a, b, sizeof(a));
    pv_wipe(NULL, 0);
}

static void
allocation_failures_are_said(void **state)
{
    struct pv_buf out = {0};

    (void) state;
    pv_alloc_fail_at(1);
    assert_null(pv_sha256_new());
    pv_alloc_fail_at(1);
    assert_int_equal(pv_base64_encode(pv_slice_cstr("foo"), &out), PV_NOMEM);
    pv_buf_clear(&out);
    pv_alloc_fail_at(1);
    assert_int_equal(pv_base64_decode(pv_slice_cstr("Zm9v"), &out), PV_NOMEM);
    pv_buf_clear(&out);
    pv_alloc_fail_at(1);
    assert_int_equal(pv_hex_encode(pv_slice_cstr("foo"), &out), PV_NOMEM);
    pv_buf_clear(&out);
    pv_alloc_fail_at(1);
    assert_int_equal(pv_hex_decode(pv_slice_cstr("00"), &out), PV_NOMEM);
    pv_alloc_fail_at(0);
    pv_buf_clear(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_known_answers),         cmocka_unit_test(hmac_known_answers),
        cmocka_unit_test(base64_known_answers),         cmocka_unit_test(decoders_are_strict),
        cmocka_unit_test(every_length_round_trips),     cmocka_unit_test(random_compare_and_wipe),
        cmocka_unit_test(allocation_failures_are_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
