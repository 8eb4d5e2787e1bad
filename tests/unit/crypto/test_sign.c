#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/crypto/mac.h"
#include "proxy/crypto/sign.h"

/* RFC 8410 section 10.3: a private key and its public key. */
static const char rfc_private[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                                  "-----END PRIVATE KEY-----\n";
static const char rfc_public[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                                 "-----END PUBLIC KEY-----\n";
/* A P-256 key: PEM, but of another kind. */
static const char other_kind[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n"
                                 "6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n"
                                 "-----END PUBLIC KEY-----\n";

struct folder {
    char path[64];
    char file[128];
};

static int
folder_setup(void **state)
{
    struct folder *folder = calloc(1, sizeof(*folder));

    if (folder == NULL)
        return 1;
    strcpy(folder->path, "/tmp/pgveil-sign-XXXXXX");
    if (mkdtemp(folder->path) == NULL)
        return 1;
    (void) snprintf(folder->file, sizeof(folder->file), "%s/key.pem", folder->path);
    *state = folder;
    return 0;
}

static int
folder_teardown(void **state)
{
    struct folder *folder = *state;

    (void) unlink(folder->file);
    (void) rmdir(folder->path);
    free(folder);
    return 0;
}

static void
file_put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* RFC 8032 section 7.1, test 3, its seed in the PKCS #8 form of RFC 8410. */
static void
rfc8032_signature(void **state)
{
    static const char seed[] = "302e020100300506032b657004220420"
                               "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
    static const char expected[] = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                                   "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";
    struct pv_buf der = {0}, pem = {0}, hex = {0};
    struct pv_sign_key *key;
    uint8_t signature[PV_SIGNATURE_BYTES];

    (void) state;
    assert_int_equal(pv_hex_decode(pv_slice_cstr(seed), &der), PV_OK);
    pv_buf_put_text(&pem, "-----BEGIN PRIVATE KEY-----\n");
    assert_int_equal(pv_base64_encode(pv_buf_slice(&der), &pem), PV_OK);
    pv_buf_put_text(&pem, "\n-----END PRIVATE KEY-----\n");
    assert_int_equal(pv_sign_private_parse(pv_buf_slice(&pem), &key), PV_OK);
    assert_int_equal(pv_sign(key, pv_slice_of("\xaf\x82", 2), signature), PV_OK);
    assert_int_equal(pv_hex_encode(pv_slice_of(signature, sizeof(signature)), &hex), PV_OK);
    assert_string_equal(pv_buf_text(&hex), expected);
    pv_sign_key_free(key);
    pv_buf_clear(&der);
    pv_buf_clear(&pem);
    pv_buf_clear(&hex);
}

static void
signatures_hold_for_key_and_bytes(void **state)
{
    struct pv_sign_key *private, *public, *other;
    uint8_t signature[PV_SIGNATURE_BYTES];
    struct pv_slice text = pv_slice_cstr("the question as it stands");

    (void) state;
    assert_int_equal(pv_sign_private_parse(pv_slice_cstr(rfc_private), &private), PV_OK);
    assert_int_equal(pv_sign_public_parse(pv_slice_cstr(rfc_public), &public), PV_OK);
    assert_int_equal(pv_sign_generate(&other), PV_OK);
    assert_int_equal(pv_sign(private, text, signature), PV_OK);
    assert_int_equal(pv_sign_verify(public, text, pv_slice_of(signature, 64)), PV_OK);
    assert_int_equal(pv_sign_verify(private, text, pv_slice_of(signature, 64)), PV_OK);
    assert_int_equal(pv_sign_verify(other, text, pv_slice_of(signature, 64)), PV_DENIED);
    assert_int_equal(pv_sign_verify(public, pv_slice_cstr("the question otherwise"), pv_slice_of(signature, 64)),
                     PV_DENIED);
    assert_int_equal(pv_sign_verify(public, text, pv_slice_of(signature, 63)), PV_DENIED);
    assert_int_equal(pv_sign_verify(public, text, pv_slice_of(NULL, 0)), PV_DENIED);
    for (size_t i = 0; i < sizeof(signature); i++) {
        signature[i] ^= 0x10;
        assert_int_equal(pv_sign_verify(public, text, pv_slice_of(signature, 64)), PV_DENIED);
        signature[i] ^= 0x10;
    }
    assert_int_equal(pv_sign(public, text, signature), PV_DENIED);
    assert_int_equal(pv_sign(private, pv_slice_of(NULL, 0), signature), PV_OK);
    assert_int_equal(pv_sign_verify(public, pv_slice_of(NULL, 0), pv_slice_of(signature, 64)), PV_OK);
    pv_sign_key_free(private);
    pv_sign_key_free(public);
    pv_sign_key_free(other);
    pv_sign_key_free(NULL);
}

static void
fingerprint_is_the_public_keys(void **state)
{
    struct pv_sign_key *private, *public;
    char a[PV_FINGERPRINT_SIZE], b[PV_FINGERPRINT_SIZE];
    struct pv_buf der = {0}, hex = {0};
    uint8_t digest[PV_SHA256_BYTES];

    (void) state;
    assert_int_equal(pv_sign_private_parse(pv_slice_cstr(rfc_private), &private), PV_OK);
    assert_int_equal(pv_sign_public_parse(pv_slice_cstr(rfc_public), &public), PV_OK);
    assert_int_equal(pv_sign_fingerprint(private, a), PV_OK);
    assert_int_equal(pv_sign_fingerprint(public, b), PV_OK);
    assert_string_equal(a, b);
    /* The PEM's body is the SubjectPublicKeyInfo itself. */
    assert_int_equal(
        pv_base64_decode(pv_slice_cstr("MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="), &der), PV_OK);
    assert_int_equal(pv_sha256(pv_buf_slice(&der), digest), PV_OK);
    assert_int_equal(pv_hex_encode(pv_slice_of(digest, sizeof(digest)), &hex), PV_OK);
    assert_string_equal(a, pv_buf_text(&hex));
    pv_sign_key_free(private);
    pv_sign_key_free(public);
    pv_buf_clear(&der);
    pv_buf_clear(&hex);
}

static void
keys_go_to_files_and_back(void **state)
{
    struct folder *folder = *state;
    struct pv_sign_key *key, *back;
    char before[PV_FINGERPRINT_SIZE], after[PV_FINGERPRINT_SIZE], error[256] = "";
    uint8_t signature[PV_SIGNATURE_BYTES];
    struct stat stat_of;

    assert_int_equal(pv_sign_generate(&key), PV_OK);
    assert_int_equal(pv_sign_fingerprint(key, before), PV_OK);
    assert_int_equal(pv_sign_private_write(key, folder->file), PV_OK);
    assert_int_equal(stat(folder->file, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0600);
    assert_int_equal(pv_sign_private_write(key, folder->file), PV_BUSY);
    assert_int_equal(pv_sign_private_load(folder->file, &back, error, sizeof(error)), PV_OK);
    assert_int_equal(pv_sign_fingerprint(back, after), PV_OK);
    assert_string_equal(before, after);
    assert_int_equal(pv_sign(back, pv_slice_cstr("x"), signature), PV_OK);
    assert_int_equal(pv_sign_verify(key, pv_slice_cstr("x"), pv_slice_of(signature, 64)), PV_OK);
    pv_sign_key_free(back);
    assert_int_equal(unlink(folder->file), 0);
    assert_int_equal(pv_sign_public_write(key, folder->file), PV_OK);
    pv_sign_key_free(key);
    assert_int_equal(pv_sign_public_load(folder->file, &back, error, sizeof(error)), PV_OK);
    assert_int_equal(pv_sign_fingerprint(back, after), PV_OK);
    assert_string_equal(before, after);
    assert_int_equal(pv_sign_private_write(back, "/nonexistent/key.pem"), PV_DENIED);
    assert_int_equal(pv_sign_public_write(back, "/nonexistent/key.pem"), PV_IO);
    pv_sign_key_free(back);
}

static void
bad_files_are_said(void **state)
{
    struct folder *folder = *state;
    static const char *const texts[] = {"", "not PEM", rfc_public, other_kind,
                                        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"};
    struct pv_sign_key *key = NULL;
    char error[256];

    assert_int_equal(pv_sign_private_load("/nonexistent/key.pem", &key, error, sizeof(error)), PV_NOTFOUND);
    assert_non_null(strstr(error, "No such file"));
    assert_int_equal(pv_sign_private_load(folder->path, &key, error, sizeof(error)), PV_IO);
    for (size_t i = 0; i < PV_COUNT_OF(texts); i++) {
        file_put(folder->file, texts[i]);
        assert_int_equal(pv_sign_private_load(folder->file, &key, error, sizeof(error)), PV_INVALID);
        assert_non_null(strstr(error, "is not an Ed25519 private key"));
        assert_int_equal(pv_sign_private_load(folder->file, &key, NULL, 0), PV_INVALID);
    }
    file_put(folder->file, other_kind);
    assert_int_equal(pv_sign_public_load(folder->file, &key, error, sizeof(error)), PV_INVALID);
    file_put(folder->file, rfc_private);
    assert_int_equal(pv_sign_public_load(folder->file, &key, error, sizeof(error)), PV_INVALID);
    assert_null(key);
}

static void
allocation_failures_are_said(void **state)
{
    struct folder *folder = *state;
    struct pv_sign_key *key = NULL;
    enum pv_status status = PV_NOMEM;

    file_put(folder->file, rfc_private);
    for (long nth = 1; status != PV_OK; nth++) {
        pv_alloc_fail_at(nth);
        status = pv_sign_private_load(folder->file, &key, NULL, 0);
        pv_alloc_fail_at(0);
        if (status != PV_OK)
            assert_int_equal(status, PV_NOMEM);
        assert_true(nth > 1 || status == PV_NOMEM);
    }
    pv_sign_key_free(key);
    pv_alloc_fail_at(1);
    assert_int_equal(pv_sign_generate(&key), PV_NOMEM);
    pv_alloc_fail_at(0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc8032_signature),
        cmocka_unit_test(signatures_hold_for_key_and_bytes),
        cmocka_unit_test(fingerprint_is_the_public_keys),
        cmocka_unit_test_setup_teardown(keys_go_to_files_and_back, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(bad_files_are_said, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(allocation_failures_are_said, folder_setup, folder_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
