/*
 * The client's side of SCRAM.
 *
 * 1. Each step is taken once and in order; any failure ends the exchange.
 * 2. The password is wiped as soon as the keys are derived.
 */
#include "proxy/crypto/scram.h"

#include "proxy/crypto/scram_int.h"

#include <string.h>

enum step { STEP_FIRST, STEP_FINAL, STEP_VERIFY, STEP_OVER };

struct pv_scram_client {
    enum step step;
    enum pv_scram_binding binding;
    struct pv_buf password;
    struct pv_buf binding_data;
    struct pv_buf user;
    struct pv_buf nonce;
    struct pv_buf auth_message; /* grows: client-first-bare ',' server-first ',' client-final-without-proof */
    uint8_t server_signature[PV_SHA256_BYTES];
};

static const char *const gs2_headers[] = {
    [PV_SCRAM_BINDING_NONE] = "n,,",
    [PV_SCRAM_BINDING_UNOFFERED] = "y,,",
    [PV_SCRAM_BINDING_ENDPOINT] = PV_SCRAM_ENDPOINT_HEADER,
};

enum pv_status
pv_scram_client_new(struct pv_slice password, enum pv_scram_binding binding, struct pv_slice binding_data,
                    struct pv_scram_client **client)
{
    struct pv_scram_client *made;

    if (password.len == 0 || password.len > PV_SCRAM_PASSWORD_BYTES_MAX)
        return PV_INVALID;
    if ((binding == PV_SCRAM_BINDING_ENDPOINT) != (binding_data.len > 0) ||
        binding_data.len > PV_SCRAM_BINDING_BYTES_MAX)
        return PV_INVALID;
    made = pv_calloc(1, sizeof(*made));
    if (made == NULL)
        return PV_NOMEM;
    made->binding = binding;
    pv_buf_put_slice(&made->password, password);
    pv_buf_put_slice(&made->binding_data, binding_data);
    if (!pv_buf_ok(&made->password) || !pv_buf_ok(&made->binding_data)) {
        pv_scram_client_free(made);
        return PV_NOMEM;
    }
    *client = made;
    return PV_OK;
}

void
pv_scram_client_free(struct pv_scram_client *client)
{
    if (client == NULL)
        return;
    pv_buf_wipe(&client->password);
    pv_buf_clear(&client->binding_data);
    pv_buf_clear(&client->user);
    pv_buf_clear(&client->nonce);
    pv_buf_wipe(&client->auth_message);
    pv_wipe(client, sizeof(*client));
    pv_free(client);
}

static enum pv_status
buf_set(struct pv_buf *buf, struct pv_slice bytes)
{
    pv_buf_clear(buf);
    pv_buf_put_slice(buf, bytes);
    return pv_buf_ok(buf) ? PV_OK : PV_NOMEM;
}

enum pv_status
pv_scram_client_nonce_set(struct pv_scram_client *client, struct pv_slice nonce)
{
    return pv_scram_nonce_is_valid(nonce) ? buf_set(&client->nonce, nonce) : PV_INVALID;
}

enum pv_status
pv_scram_client_user_set(struct pv_scram_client *client, struct pv_slice user)
{
    /* A comma or an equals sign would need the escapes of saslname; no test needs them. */
    for (size_t i = 0; i < user.len; i++)
        if (user.data[i] == ',' || user.data[i] == '=' || user.data[i] == 0)
            return PV_INVALID;
    return buf_set(&client->user, user);
}

const char *
pv_scram_client_mechanism(const struct pv_scram_client *client)
{
    return client->binding == PV_SCRAM_BINDING_ENDPOINT ? PV_SCRAM_PLUS_MECHANISM : PV_SCRAM_MECHANISM;
}

enum pv_status
pv_scram_client_first(struct pv_scram_client *client, struct pv_buf *client_first)
{
    size_t start = pv_buf_len(client_first);
    enum pv_status status = PV_OK;

    if (client->step != STEP_FIRST)
        return PV_PROTOCOL;
    client->step = STEP_OVER;
    if (pv_buf_len(&client->nonce) == 0)
        status = pv_scram_nonce_make(&client->nonce);
    if (status != PV_OK)
        return status;
    pv_buf_put_text(&client->auth_message, "n=");
    pv_buf_put_slice(&client->auth_message, pv_buf_slice(&client->user));
    pv_buf_put_text(&client->auth_message, ",r=");
    pv_buf_put_slice(&client->auth_message, pv_buf_slice(&client->nonce));
    pv_buf_put_text(client_first, gs2_headers[client->binding]);
    pv_buf_put_slice(client_first, pv_buf_slice(&client->auth_message));
    if (!pv_buf_ok(&client->auth_message) || !pv_buf_ok(client_first)) {
        pv_buf_truncate(client_first, start);
        return PV_NOMEM;
    }
    client->step = STEP_FINAL;
    return PV_OK;
}

/* server-first-message: the nonce must extend ours; the salt goes into a buffer of the caller's. */
static enum pv_status
server_first_read(const struct pv_scram_client *client, struct pv_slice message, struct pv_slice *nonce,
                  struct pv_buf *salt, uint32_t *iterations)
{
    struct pv_reader reader = pv_reader_of(message);
    struct pv_slice ours = pv_buf_slice(&client->nonce);
    struct pv_slice salt_text, iterations_text;
    enum pv_status status;

    if (message.len > PV_SCRAM_MESSAGE_BYTES_MAX)
        return PV_PROTOCOL;
    if (pv_scram_attribute_read(&reader, 'r', nonce) != PV_OK ||
        pv_scram_attribute_read(&reader, 's', &salt_text) != PV_OK ||
        pv_scram_attribute_read(&reader, 'i', &iterations_text) != PV_OK ||
        pv_scram_extensions_skip(&reader, 0) != PV_OK)
        return PV_PROTOCOL;
    if (!pv_scram_nonce_is_valid(*nonce) || nonce->len <= ours.len || memcmp(nonce->data, ours.data, ours.len) != 0)
        return PV_PROTOCOL;
    status = pv_scram_iterations_read(iterations_text, iterations);
    if (status == PV_OK && *iterations < PV_SCRAM_ITERATIONS_MIN)
        status = PV_LIMIT;
    if (status == PV_OK)
        status = pv_base64_decode(salt_text, salt);
    return status == PV_INVALID ? PV_PROTOCOL : status;
}

/* Both keys of RFC 5802 section 3 from the password; the proof's last step needs ClientKey itself. */
static enum pv_status
keys_derive(const struct pv_scram_client *client, struct pv_slice salt, uint32_t iterations,
            uint8_t client_key[PV_SHA256_BYTES], uint8_t server_key[PV_SHA256_BYTES])
{
    uint8_t salted[PV_SHA256_BYTES];
    struct pv_slice salted_slice = pv_slice_of(salted, sizeof(salted));
    enum pv_status status = pv_scram_salted_password(pv_buf_slice(&client->password), salt, iterations, salted);

    if (status == PV_OK)
        status = pv_hmac_sha256(salted_slice, pv_slice_cstr("Client Key"), client_key);
    if (status == PV_OK)
        status = pv_hmac_sha256(salted_slice, pv_slice_cstr("Server Key"), server_key);
    pv_wipe(salted, sizeof(salted));
    return status;
}

/* Appends server-first and client-final-without-proof to AuthMessage, and the latter to the output. */
static enum pv_status
auth_message_finish(struct pv_scram_client *client, struct pv_slice server_first, struct pv_slice nonce,
                    struct pv_buf *client_final)
{
    struct pv_slice bound = pv_buf_slice(&client->binding_data);
    size_t start = pv_buf_len(client_final);
    struct pv_slice whole;
    enum pv_status status;

    pv_buf_put_text(client_final, "c=");
    status = pv_scram_binding_input(gs2_headers[client->binding], bound, client_final);
    pv_buf_put_text(client_final, ",r=");
    pv_buf_put_slice(client_final, nonce);
    if (status != PV_OK || !pv_buf_ok(client_final))
        return PV_NOMEM;
    whole = pv_buf_slice(client_final);
    pv_buf_put_u8(&client->auth_message, ',');
    pv_buf_put_slice(&client->auth_message, server_first);
    pv_buf_put_u8(&client->auth_message, ',');
    pv_buf_put(&client->auth_message, whole.data + start, whole.len - start);
    return pv_buf_ok(&client->auth_message) ? PV_OK : PV_NOMEM;
}

/* Signature of the server, kept for the last step, and our proof: ClientKey xor HMAC(H(ClientKey), AuthMessage). */
static enum pv_status
proof_make(struct pv_scram_client *client, uint8_t client_key[PV_SHA256_BYTES],
           const uint8_t server_key[PV_SHA256_BYTES], struct pv_buf *client_final)
{
    uint8_t stored_key[PV_SHA256_BYTES];
    uint8_t signature[PV_SHA256_BYTES];
    enum pv_status status = pv_scram_auth_mac(server_key, &client->auth_message, client->server_signature);

    if (status == PV_OK)
        status = pv_sha256(pv_slice_of(client_key, PV_SHA256_BYTES), stored_key);
    if (status == PV_OK)
        status = pv_scram_auth_mac(stored_key, &client->auth_message, signature);
    if (status != PV_OK)
        return status;
    for (size_t i = 0; i < PV_SHA256_BYTES; i++)
        signature[i] ^= client_key[i];
    pv_buf_put_text(client_final, ",p=");
    status = pv_base64_encode(pv_slice_of(signature, sizeof(signature)), client_final);
    pv_wipe(stored_key, sizeof(stored_key));
    pv_wipe(signature, sizeof(signature));
    return status == PV_OK && !pv_buf_ok(client_final) ? PV_NOMEM : status;
}

enum pv_status
pv_scram_client_final(struct pv_scram_client *client, struct pv_slice server_first, struct pv_buf *client_final)
{
    uint8_t client_key[PV_SHA256_BYTES] = {0};
    uint8_t server_key[PV_SHA256_BYTES] = {0};
    struct pv_buf salt = {0};
    size_t start = pv_buf_len(client_final);
    struct pv_slice nonce;
    uint32_t iterations;
    enum pv_status status;

    if (client->step != STEP_FINAL)
        return PV_PROTOCOL;
    client->step = STEP_OVER;
    status = server_first_read(client, server_first, &nonce, &salt, &iterations);
    if (status == PV_OK)
        status = keys_derive(client, pv_buf_slice(&salt), iterations, client_key, server_key);
    pv_buf_wipe(&client->password);
    if (status == PV_OK)
        status = auth_message_finish(client, server_first, nonce, client_final);
    if (status == PV_OK)
        status = proof_make(client, client_key, server_key, client_final);
    if (status == PV_OK)
        client->step = STEP_VERIFY;
    else
        pv_buf_truncate(client_final, start);
    pv_wipe(client_key, sizeof(client_key));
    pv_wipe(server_key, sizeof(server_key));
    pv_buf_clear(&salt);
    return status;
}

enum pv_status
pv_scram_client_verify(struct pv_scram_client *client, struct pv_slice server_final)
{
    struct pv_reader reader = pv_reader_of(server_final);
    uint8_t signature[PV_SHA256_BYTES];
    struct pv_slice value;
    enum pv_status status;

    if (client->step != STEP_VERIFY || server_final.len > PV_SCRAM_MESSAGE_BYTES_MAX)
        return PV_PROTOCOL;
    client->step = STEP_OVER;
    if (pv_scram_attribute_read(&reader, 'e', &value) == PV_OK)
        return PV_AUTH;
    if (pv_scram_attribute_read(&reader, 'v', &value) != PV_OK || pv_scram_extensions_skip(&reader, 0) != PV_OK)
        return PV_PROTOCOL;
    status = pv_scram_hash_read(value, signature);
    if (status == PV_OK && !pv_constant_time_equal(pv_slice_of(signature, PV_SHA256_BYTES),
                                                   pv_slice_of(client->server_signature, PV_SHA256_BYTES)))
        status = PV_AUTH;
    return status;
}
