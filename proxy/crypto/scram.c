/* The verifier, and what both sides of SCRAM share. */
#include "proxy/crypto/scram.h"

#include "proxy/crypto/scram_int.h"

#include <openssl/evp.h>
#include <string.h>

#define VERIFIER_PREFIX PV_SCRAM_MECHANISM "$"

enum pv_status
pv_scram_salted_password(struct pv_slice password, struct pv_slice salt, uint32_t iterations,
                         uint8_t salted[PV_SHA256_BYTES])
{
    /* Hi() is PBKDF2 with HMAC and one block of output (RFC 5802 section 2.2). */
    if (password.len > PV_SCRAM_PASSWORD_BYTES_MAX || salt.len > PV_SCRAM_MESSAGE_BYTES_MAX ||
        iterations > PV_SCRAM_ITERATIONS_MAX)
        return PV_LIMIT;
    if (PKCS5_PBKDF2_HMAC(password.len == 0 ? "" : (const char *) password.data, (int) password.len, salt.data,
                          (int) salt.len, (int) iterations, EVP_sha256(), PV_SHA256_BYTES, salted) != 1)
        return PV_INTERNAL;
    return PV_OK;
}

enum pv_status
pv_scram_nonce_make(struct pv_buf *nonce)
{
    uint8_t random[PV_SCRAM_NONCE_BYTES];
    enum pv_status status = pv_random_bytes(random, sizeof(random));

    if (status != PV_OK)
        return status;
    return pv_base64_encode(pv_slice_of(random, sizeof(random)), nonce);
}

bool
pv_scram_nonce_is_valid(struct pv_slice nonce)
{
    for (size_t i = 0; i < nonce.len; i++)
        if (nonce.data[i] < 0x21 || nonce.data[i] > 0x7E || nonce.data[i] == ',')
            return false;
    return nonce.len > 0;
}

enum pv_status
pv_scram_attribute_read(struct pv_reader *reader, char name, struct pv_slice *value)
{
    struct pv_reader ahead = *reader;
    struct pv_slice head;
    const uint8_t *comma;

    if (pv_read_slice(&ahead, 2, &head) != PV_OK || head.data[0] != (uint8_t) name || head.data[1] != '=')
        return PV_PROTOCOL;
    comma = ahead.left == 0 ? NULL : memchr(ahead.at, ',', ahead.left);
    if (pv_read_slice(&ahead, comma == NULL ? ahead.left : (size_t) (comma - ahead.at), &head) != PV_OK ||
        head.len == 0 || memchr(head.data, 0, head.len) != NULL)
        return PV_PROTOCOL;
    if (comma != NULL) {
        struct pv_slice skipped;

        /* A comma at the very end promises an attribute that is not there. */
        if (pv_read_slice(&ahead, 1, &skipped) != PV_OK || ahead.left == 0)
            return PV_PROTOCOL;
    }
    *reader = ahead;
    *value = head;
    return PV_OK;
}

enum pv_status
pv_scram_extensions_skip(struct pv_reader *reader, char stop)
{
    struct pv_slice value;

    while (reader->left > 0 && (stop == 0 || reader->at[0] != (uint8_t) stop)) {
        uint8_t letter = reader->at[0];

        /* `m` would be an extension that may not be ignored (RFC 5802 section 5.1). */
        if (letter == 'm' || !((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z')))
            return PV_PROTOCOL;
        if (pv_scram_attribute_read(reader, (char) letter, &value) != PV_OK)
            return PV_PROTOCOL;
    }
    return PV_OK;
}

enum pv_status
pv_scram_binding_input(const char *gs2_header, struct pv_slice data, struct pv_buf *out)
{
    struct pv_buf input = {0};
    enum pv_status status = PV_NOMEM;

    pv_buf_put_text(&input, gs2_header);
    pv_buf_put_slice(&input, data);
    if (pv_buf_ok(&input))
        status = pv_base64_encode(pv_buf_slice(&input), out);
    pv_buf_clear(&input);
    return status;
}

enum pv_status
pv_scram_auth_mac(const uint8_t key[PV_SHA256_BYTES], const struct pv_buf *auth_message, uint8_t mac[PV_SHA256_BYTES])
{
    return pv_hmac_sha256(pv_slice_of(key, PV_SHA256_BYTES), pv_buf_slice(auth_message), mac);
}

enum pv_status
pv_scram_hash_read(struct pv_slice base64, uint8_t hash[PV_SHA256_BYTES])
{
    struct pv_buf bytes = {0};
    enum pv_status status;

    /* 32 bytes are 44 characters; anything else is not worth the memory. */
    if (base64.len != 44)
        return PV_PROTOCOL;
    status = pv_base64_decode(base64, &bytes);
    if (status == PV_INVALID || (status == PV_OK && pv_buf_len(&bytes) != PV_SHA256_BYTES))
        status = PV_PROTOCOL;
    if (status == PV_OK)
        memcpy(hash, pv_buf_slice(&bytes).data, PV_SHA256_BYTES);
    pv_buf_wipe(&bytes);
    return status;
}

enum pv_status
pv_scram_iterations_read(struct pv_slice text, uint32_t *iterations)
{
    uint32_t number = 0;

    if (text.len == 0 || text.data[0] == '0')
        return PV_PROTOCOL;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return PV_PROTOCOL;
    for (size_t i = 0; i < text.len; i++) {
        number = number * 10 + (uint32_t) (text.data[i] - '0');
        if (number > PV_SCRAM_ITERATIONS_MAX)
            return PV_LIMIT;
    }
    *iterations = number;
    return PV_OK;
}

/* The bytes up to `mark`, which is consumed too. */
static enum pv_status
until_read(struct pv_reader *reader, uint8_t mark, struct pv_slice *part)
{
    const uint8_t *at = reader->left == 0 ? NULL : memchr(reader->at, mark, reader->left);
    struct pv_slice skipped;

    if (at == NULL || pv_read_slice(reader, (size_t) (at - reader->at), part) != PV_OK)
        return PV_INVALID;
    return pv_read_slice(reader, 1, &skipped) == PV_OK ? PV_OK : PV_INVALID;
}

static enum pv_status
salt_read(struct pv_slice base64, struct pv_scram_verifier *verifier)
{
    struct pv_buf salt = {0};
    enum pv_status status;

    if (base64.len > PV_SCRAM_SALT_BYTES_MAX / 3 * 4)
        return PV_INVALID;
    status = pv_base64_decode(base64, &salt);
    if (status == PV_OK && (pv_buf_len(&salt) == 0 || pv_buf_len(&salt) > PV_SCRAM_SALT_BYTES_MAX))
        status = PV_INVALID;
    if (status == PV_OK) {
        verifier->salt_len = pv_buf_len(&salt);
        memcpy(verifier->salt, pv_buf_slice(&salt).data, verifier->salt_len);
    }
    pv_buf_clear(&salt);
    return status;
}

enum pv_status
pv_scram_verifier_parse(struct pv_slice text, struct pv_scram_verifier *verifier)
{
    struct pv_reader reader = pv_reader_of(text);
    struct pv_scram_verifier found = {0};
    struct pv_slice prefix, iterations, salt, stored, server;
    enum pv_status status;

    if (pv_read_slice(&reader, strlen(VERIFIER_PREFIX), &prefix) != PV_OK || !pv_slice_is(prefix, VERIFIER_PREFIX))
        return PV_INVALID;
    if (until_read(&reader, ':', &iterations) != PV_OK || until_read(&reader, '$', &salt) != PV_OK ||
        until_read(&reader, ':', &stored) != PV_OK || pv_read_slice(&reader, reader.left, &server) != PV_OK)
        return PV_INVALID;
    status = pv_scram_iterations_read(iterations, &found.iterations);
    if (status == PV_OK && found.iterations < PV_SCRAM_ITERATIONS_MIN)
        status = PV_LIMIT;
    if (status == PV_OK)
        status = salt_read(salt, &found);
    if (status == PV_OK)
        status = pv_scram_hash_read(stored, found.stored_key);
    if (status == PV_OK)
        status = pv_scram_hash_read(server, found.server_key);
    if (status == PV_OK)
        *verifier = found;
    pv_wipe(&found, sizeof(found));
    return status == PV_PROTOCOL ? PV_INVALID : status;
}

enum pv_status
pv_scram_verifier_format(const struct pv_scram_verifier *verifier, struct pv_buf *out)
{
    size_t start = pv_buf_len(out);
    enum pv_status status;

    pv_buf_printf(out, VERIFIER_PREFIX "%u:", (unsigned int) verifier->iterations);
    status = pv_base64_encode(pv_slice_of(verifier->salt, verifier->salt_len), out);
    pv_buf_put_u8(out, '$');
    if (status == PV_OK)
        status = pv_base64_encode(pv_slice_of(verifier->stored_key, PV_SHA256_BYTES), out);
    pv_buf_put_u8(out, ':');
    if (status == PV_OK)
        status = pv_base64_encode(pv_slice_of(verifier->server_key, PV_SHA256_BYTES), out);
    if (status == PV_OK && !pv_buf_ok(out))
        status = PV_NOMEM;
    if (status != PV_OK)
        pv_buf_truncate(out, start);
    return status;
}

enum pv_status
pv_scram_verifier_make(struct pv_slice password, uint32_t iterations, struct pv_slice salt,
                       struct pv_scram_verifier *verifier)
{
    struct pv_scram_verifier made = {.iterations = iterations, .salt_len = salt.len};
    uint8_t salted[PV_SHA256_BYTES];
    uint8_t client_key[PV_SHA256_BYTES];
    enum pv_status status;

    if (password.len == 0 || password.len > PV_SCRAM_PASSWORD_BYTES_MAX || !pv_utf8_valid(password))
        return PV_INVALID;
    if (salt.len == 0 || salt.len > PV_SCRAM_SALT_BYTES_MAX)
        return PV_INVALID;
    if (iterations < PV_SCRAM_ITERATIONS_MIN || iterations > PV_SCRAM_ITERATIONS_MAX)
        return PV_LIMIT;
    memcpy(made.salt, salt.data, salt.len);
    status = pv_scram_salted_password(password, salt, iterations, salted);
    if (status == PV_OK)
        status = pv_hmac_sha256(pv_slice_of(salted, sizeof(salted)), pv_slice_cstr("Client Key"), client_key);
    if (status == PV_OK)
        status = pv_sha256(pv_slice_of(client_key, sizeof(client_key)), made.stored_key);
    if (status == PV_OK)
        status = pv_hmac_sha256(pv_slice_of(salted, sizeof(salted)), pv_slice_cstr("Server Key"), made.server_key);
    if (status == PV_OK)
        *verifier = made;
    pv_wipe(salted, sizeof(salted));
    pv_wipe(client_key, sizeof(client_key));
    pv_wipe(&made, sizeof(made));
    return status;
}

enum pv_status
pv_scram_verifier_check(const struct pv_scram_verifier *verifier, struct pv_slice password)
{
    struct pv_scram_verifier made;
    enum pv_status status = pv_scram_verifier_make(
        password, verifier->iterations, pv_slice_of(verifier->salt, verifier->salt_len), &made);
    bool is_equal;

    if (status != PV_OK)
        return status;
    is_equal = pv_constant_time_equal(pv_slice_of(made.stored_key, sizeof(made.stored_key)),
                                      pv_slice_of(verifier->stored_key, sizeof(verifier->stored_key)));
    pv_wipe(&made, sizeof(made));
    return is_equal && !verifier->is_mock ? PV_OK : PV_AUTH;
}

/* HMAC of a label, a NUL and the user's name, so that the three parts of a mock verifier are unlike each other. */
static enum pv_status
mock_part(struct pv_slice server_secret, const char *label, struct pv_slice user, uint8_t part[PV_SHA256_BYTES])
{
    struct pv_buf message = {0};
    enum pv_status status = PV_NOMEM;

    pv_buf_put_cstr(&message, label);
    pv_buf_put_slice(&message, user);
    if (pv_buf_ok(&message))
        status = pv_hmac_sha256(server_secret, pv_buf_slice(&message), part);
    pv_buf_clear(&message);
    return status;
}

enum pv_status
pv_scram_verifier_mock(struct pv_slice server_secret, struct pv_slice user, uint32_t iterations,
                       struct pv_scram_verifier *verifier)
{
    struct pv_scram_verifier made = {.iterations = iterations, .salt_len = PV_SCRAM_SALT_BYTES, .is_mock = true};
    uint8_t salt[PV_SHA256_BYTES];
    enum pv_status status;

    if (iterations < PV_SCRAM_ITERATIONS_MIN || iterations > PV_SCRAM_ITERATIONS_MAX)
        return PV_LIMIT;
    status = mock_part(server_secret, "scram mock salt", user, salt);
    if (status == PV_OK)
        status = mock_part(server_secret, "scram mock stored key", user, made.stored_key);
    if (status == PV_OK)
        status = mock_part(server_secret, "scram mock server key", user, made.server_key);
    if (status != PV_OK)
        return status;
    memcpy(made.salt, salt, PV_SCRAM_SALT_BYTES);
    *verifier = made;
    return PV_OK;
}
