/*
 * The server's side of SCRAM.
 *
 * 1. Each step is taken once and in order; any failure ends the exchange.
 * 2. Whether a verifier is a mock is looked at only after all the work is done.
 */
#include "proxy/crypto/scram.h"

#include "proxy/crypto/scram_int.h"

#include <string.h>

enum step { STEP_FIRST, STEP_FINAL, STEP_OVER };

struct pv_scram_server {
    enum step step;
    struct pv_scram_verifier verifier;
    struct pv_buf binding;      /* hash of our certificate, empty when PLUS is not offered */
    struct pv_buf own_nonce;    /* set by a test, else made in the first step */
    struct pv_buf nonce;        /* the client's followed by ours */
    struct pv_buf expected_c;   /* what `c=` must be, in base64 */
    struct pv_buf auth_message; /* grows: client-first-bare ',' server-first ',' client-final-without-proof */
};

/* The GS2 header and client-first-message-bare, split up. Borrows. */
struct client_first {
    const char *gs2_header; /* static */
    struct pv_slice bare;
    struct pv_slice nonce;
    bool is_bound;
};

enum pv_status
pv_scram_server_new(const struct pv_scram_verifier *verifier, struct pv_slice binding, struct pv_scram_server **server)
{
    struct pv_scram_server *made;

    if (binding.len > PV_SCRAM_BINDING_BYTES_MAX)
        return PV_INVALID;
    made = pv_calloc(1, sizeof(*made));
    if (made == NULL)
        return PV_NOMEM;
    made->verifier = *verifier;
    pv_buf_put_slice(&made->binding, binding);
    if (!pv_buf_ok(&made->binding)) {
        pv_scram_server_free(made);
        return PV_NOMEM;
    }
    *server = made;
    return PV_OK;
}

void
pv_scram_server_free(struct pv_scram_server *server)
{
    if (server == NULL)
        return;
    pv_buf_clear(&server->binding);
    pv_buf_clear(&server->own_nonce);
    pv_buf_clear(&server->nonce);
    pv_buf_clear(&server->expected_c);
    pv_buf_wipe(&server->auth_message);
    pv_wipe(server, sizeof(*server));
    pv_free(server);
}

enum pv_status
pv_scram_server_nonce_set(struct pv_scram_server *server, struct pv_slice nonce)
{
    if (!pv_scram_nonce_is_valid(nonce))
        return PV_INVALID;
    pv_buf_clear(&server->own_nonce);
    pv_buf_put_slice(&server->own_nonce, nonce);
    return pv_buf_ok(&server->own_nonce) ? PV_OK : PV_NOMEM;
}

/* gs2-header of RFC 5802 section 7, without an authorization identity. */
static enum pv_status
gs2_read(struct pv_reader *reader, struct client_first *first)
{
    static const char *const headers[] = {"n,,", "y,,", PV_SCRAM_ENDPOINT_HEADER};

    for (size_t i = 0; i < PV_COUNT_OF(headers); i++) {
        struct pv_reader ahead = *reader;
        struct pv_slice header;

        if (pv_read_slice(&ahead, strlen(headers[i]), &header) == PV_OK && pv_slice_is(header, headers[i])) {
            first->gs2_header = headers[i];
            first->is_bound = headers[i][0] == 'p';
            *reader = ahead;
            return PV_OK;
        }
    }
    return PV_PROTOCOL;
}

static enum pv_status
client_first_read(struct pv_slice message, struct client_first *first)
{
    struct pv_reader reader = pv_reader_of(message);
    struct pv_slice head;

    if (message.len > PV_SCRAM_MESSAGE_BYTES_MAX || gs2_read(&reader, first) != PV_OK)
        return PV_PROTOCOL;
    first->bare = pv_slice_of(reader.at, reader.left);
    /* The name may be empty, as libpq sends it, and is not looked at: the startup packet's counts. */
    if (reader.left >= 3 && memcmp(reader.at, "n=,", 3) == 0) {
        if (pv_read_slice(&reader, 3, &head) != PV_OK)
            return PV_PROTOCOL;
    } else if (pv_scram_attribute_read(&reader, 'n', &head) != PV_OK)
        return PV_PROTOCOL;
    if (pv_scram_attribute_read(&reader, 'r', &first->nonce) != PV_OK || !pv_scram_nonce_is_valid(first->nonce))
        return PV_PROTOCOL;
    return pv_scram_extensions_skip(&reader, 0);
}

/* Mechanism, GS2 flag and our own offer must agree. */
static enum pv_status
binding_judge(const struct pv_scram_server *server, struct pv_slice mechanism, const struct client_first *first)
{
    bool is_offered = pv_buf_len(&server->binding) > 0;

    if (pv_slice_is(mechanism, PV_SCRAM_PLUS_MECHANISM))
        return is_offered && first->is_bound ? PV_OK : PV_PROTOCOL;
    if (!pv_slice_is(mechanism, PV_SCRAM_MECHANISM) || first->is_bound)
        return PV_PROTOCOL;
    return first->gs2_header[0] == 'y' && is_offered ? PV_AUTH : PV_OK;
}

static enum pv_status
server_first_make(struct pv_scram_server *server, const struct client_first *first, struct pv_buf *out)
{
    const struct pv_scram_verifier *verifier = &server->verifier;
    size_t start = pv_buf_len(out);
    struct pv_slice message;
    enum pv_status status;

    if (pv_buf_len(&server->own_nonce) == 0) {
        status = pv_scram_nonce_make(&server->own_nonce);
        if (status != PV_OK)
            return status;
    }
    pv_buf_put_slice(&server->nonce, first->nonce);
    pv_buf_put_slice(&server->nonce, pv_buf_slice(&server->own_nonce));
    pv_buf_put_text(out, "r=");
    pv_buf_put_slice(out, pv_buf_slice(&server->nonce));
    pv_buf_put_text(out, ",s=");
    status = pv_base64_encode(pv_slice_of(verifier->salt, verifier->salt_len), out);
    pv_buf_printf(out, ",i=%u", (unsigned int) verifier->iterations);
    if (status != PV_OK || !pv_buf_ok(out) || !pv_buf_ok(&server->nonce)) {
        pv_buf_truncate(out, start);
        return PV_NOMEM;
    }
    message = pv_buf_slice(out);
    pv_buf_put_slice(&server->auth_message, first->bare);
    pv_buf_put_u8(&server->auth_message, ',');
    pv_buf_put(&server->auth_message, message.data + start, message.len - start);
    pv_buf_put_u8(&server->auth_message, ',');
    if (!pv_buf_ok(&server->auth_message)) {
        pv_buf_truncate(out, start);
        return PV_NOMEM;
    }
    return PV_OK;
}

enum pv_status
pv_scram_server_first(struct pv_scram_server *server, struct pv_slice mechanism, struct pv_slice client_first,
                      struct pv_buf *server_first)
{
    struct client_first first = {0};
    struct pv_slice bound = {NULL, 0};
    enum pv_status status;

    if (server->step != STEP_FIRST)
        return PV_PROTOCOL;
    server->step = STEP_OVER;
    status = client_first_read(client_first, &first);
    if (status == PV_OK)
        status = binding_judge(server, mechanism, &first);
    if (status != PV_OK)
        return status;
    if (first.is_bound)
        bound = pv_buf_slice(&server->binding);
    status = pv_scram_binding_input(first.gs2_header, bound, &server->expected_c);
    if (status == PV_OK)
        status = server_first_make(server, &first, server_first);
    if (status == PV_OK)
        server->step = STEP_FINAL;
    return status;
}

/* client-final-message: `c=` and `r=` must be what we expect, then extensions, then the proof and no more. */
static enum pv_status
client_final_read(struct pv_scram_server *server, struct pv_slice message, uint8_t proof[PV_SHA256_BYTES])
{
    struct pv_reader reader = pv_reader_of(message);
    struct pv_slice binding, nonce, proof_text;
    size_t without_proof;

    if (message.len > PV_SCRAM_MESSAGE_BYTES_MAX)
        return PV_PROTOCOL;
    if (pv_scram_attribute_read(&reader, 'c', &binding) != PV_OK ||
        pv_scram_attribute_read(&reader, 'r', &nonce) != PV_OK || pv_scram_extensions_skip(&reader, 'p') != PV_OK)
        return PV_PROTOCOL;
    if (reader.left == 0)
        return PV_PROTOCOL;
    /* Up to the comma before `p=`, which is there because an attribute came before. */
    without_proof = message.len - reader.left - 1;
    if (pv_scram_attribute_read(&reader, 'p', &proof_text) != PV_OK || pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    if (!pv_constant_time_equal(nonce, pv_buf_slice(&server->nonce)))
        return PV_PROTOCOL;
    if (!pv_constant_time_equal(binding, pv_buf_slice(&server->expected_c)))
        return PV_AUTH;
    pv_buf_put(&server->auth_message, message.data, without_proof);
    if (!pv_buf_ok(&server->auth_message))
        return PV_NOMEM;
    return pv_scram_hash_read(proof_text, proof);
}

/* RFC 5802 section 3: the proof xor the signature is ClientKey, whose hash we keep. */
static enum pv_status
proof_check(const struct pv_scram_server *server, const uint8_t proof[PV_SHA256_BYTES])
{
    uint8_t client_key[PV_SHA256_BYTES];
    uint8_t stored_key[PV_SHA256_BYTES];
    enum pv_status status = pv_scram_auth_mac(server->verifier.stored_key, &server->auth_message, client_key);

    for (size_t i = 0; i < PV_SHA256_BYTES; i++)
        client_key[i] ^= proof[i];
    if (status == PV_OK)
        status = pv_sha256(pv_slice_of(client_key, sizeof(client_key)), stored_key);
    pv_wipe(client_key, sizeof(client_key));
    if (status == PV_OK && !pv_constant_time_equal(pv_slice_of(stored_key, PV_SHA256_BYTES),
                                                   pv_slice_of(server->verifier.stored_key, PV_SHA256_BYTES)))
        status = PV_AUTH;
    return status;
}

enum pv_status
pv_scram_server_final(struct pv_scram_server *server, struct pv_slice client_final, struct pv_buf *server_final)
{
    uint8_t proof[PV_SHA256_BYTES] = {0};
    uint8_t signature[PV_SHA256_BYTES];
    size_t start = pv_buf_len(server_final);
    enum pv_status status;

    if (server->step != STEP_FINAL)
        return PV_PROTOCOL;
    server->step = STEP_OVER;
    status = client_final_read(server, client_final, proof);
    if (status == PV_OK)
        status = proof_check(server, proof);
    pv_wipe(proof, sizeof(proof));
    if (status == PV_OK && server->verifier.is_mock)
        status = PV_AUTH;
    if (status == PV_OK)
        status = pv_scram_auth_mac(server->verifier.server_key, &server->auth_message, signature);
    if (status != PV_OK)
        return status;
    pv_buf_put_text(server_final, "v=");
    status = pv_base64_encode(pv_slice_of(signature, sizeof(signature)), server_final);
    if (status == PV_OK && !pv_buf_ok(server_final))
        status = PV_NOMEM;
    if (status != PV_OK)
        pv_buf_truncate(server_final, start);
    return status;
}
