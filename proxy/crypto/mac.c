#include "proxy/crypto/mac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

/* Fetched once: OpenSSL would look it up at each use, which costs as much as hashing a record. */
static EVP_MD *sha256_fetched;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void
fetch_sha256(void)
{
    sha256_fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static const EVP_MD *
sha256_md(void)
{
    (void) pthread_once(&sha256_once, fetch_sha256);
    return sha256_fetched != NULL ? sha256_fetched : EVP_sha256();
}

enum pv_status
pv_sha256(struct pv_slice data, uint8_t digest[PV_SHA256_BYTES])
{
    unsigned int len = 0;

    if (EVP_Digest(data.data, data.len, digest, &len, sha256_md(), NULL) != 1 || len != PV_SHA256_BYTES)
        return PV_INTERNAL;
    return PV_OK;
}

struct pv_sha256_state {
    EVP_MD_CTX *md;
};

struct pv_sha256_state *
pv_sha256_new(void)
{
    struct pv_sha256_state *state = pv_calloc(1, sizeof(*state));

    if (state == NULL)
        return NULL;
    state->md = EVP_MD_CTX_new();
    if (state->md == NULL || EVP_DigestInit_ex(state->md, sha256_md(), NULL) != 1) {
        pv_sha256_free(state);
        return NULL;
    }
    return state;
}

enum pv_status
pv_sha256_update(struct pv_sha256_state *state, struct pv_slice data)
{
    return EVP_DigestUpdate(state->md, data.data, data.len) == 1 ? PV_OK : PV_INTERNAL;
}

enum pv_status
pv_sha256_finish(struct pv_sha256_state *state, uint8_t digest[PV_SHA256_BYTES])
{
    unsigned int len = 0;

    if (EVP_DigestFinal_ex(state->md, digest, &len) != 1 || len != PV_SHA256_BYTES)
        return PV_INTERNAL;
    return EVP_DigestInit_ex(state->md, sha256_md(), NULL) == 1 ? PV_OK : PV_INTERNAL;
}

void
pv_sha256_free(struct pv_sha256_state *state)
{
    if (state == NULL)
        return;
    EVP_MD_CTX_free(state->md);
    pv_free(state);
}

enum pv_status
pv_hmac_sha256(struct pv_slice key, struct pv_slice data, uint8_t mac[PV_SHA256_BYTES])
{
    static const uint8_t nothing[1];
    unsigned int len = 0;

    if (key.len > INT32_MAX)
        return PV_INVALID;
    /* A NULL key means "the last key" to the library, so an empty one is given an address. */
    if (HMAC(EVP_sha256(), key.len == 0 ? nothing : key.data, (int) key.len, data.len == 0 ? nothing : data.data,
             data.len, mac, &len) == NULL ||
        len != PV_SHA256_BYTES)
        return PV_INTERNAL;
    return PV_OK;
}

enum pv_status
pv_random_bytes(uint8_t *bytes, size_t len)
{
    if (len > 0)
        memset(bytes, 0, len);
    if (len > INT32_MAX || (len > 0 && RAND_bytes(bytes, (int) len) != 1)) {
        pv_wipe(bytes, len);
        return PV_INTERNAL;
    }
    return PV_OK;
}

bool
pv_constant_time_equal(struct pv_slice a, struct pv_slice b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0);
}

void
pv_wipe(void *memory, size_t len)
{
    if (len > 0)
        OPENSSL_cleanse(memory, len);
}

enum pv_status
pv_hex_encode(struct pv_slice bytes, struct pv_buf *out)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *room = bytes.len > SIZE_MAX / 2 ? NULL : pv_buf_reserve(out, bytes.len * 2);

    if (room == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < bytes.len; i++) {
        room[2 * i] = (uint8_t) digits[bytes.data[i] >> 4];
        room[2 * i + 1] = (uint8_t) digits[bytes.data[i] & 15];
    }
    pv_buf_commit(out, bytes.len * 2);
    return PV_OK;
}

static int
hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

enum pv_status
pv_hex_decode(struct pv_slice text, struct pv_buf *out)
{
    uint8_t *room;

    if (text.len % 2 != 0)
        return PV_INVALID;
    room = pv_buf_reserve(out, text.len / 2);
    if (room == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < text.len / 2; i++) {
        int high = hex_digit(text.data[2 * i]);
        int low = hex_digit(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return PV_INVALID;
        room[i] = (uint8_t) (high << 4 | low);
    }
    pv_buf_commit(out, text.len / 2);
    return PV_OK;
}

enum pv_status
pv_base64_encode(struct pv_slice bytes, struct pv_buf *out)
{
    size_t len;
    uint8_t *room;

    /* The library counts in int. */
    if (bytes.len > INT32_MAX / 2)
        return PV_NOMEM;
    len = (bytes.len + 2) / 3 * 4;
    /* It also writes a NUL behind the text. */
    room = pv_buf_reserve(out, len + 1);
    if (room == NULL)
        return PV_NOMEM;
    if (bytes.len > 0)
        (void) EVP_EncodeBlock(room, bytes.data, (int) bytes.len);
    pv_buf_commit(out, len);
    return PV_OK;
}

/* Value of a base64 character, 64 for any other. */
static uint8_t
base64_value(uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return (uint8_t) (byte - 'A');
    if (byte >= 'a' && byte <= 'z')
        return (uint8_t) (byte - 'a' + 26);
    if (byte >= '0' && byte <= '9')
        return (uint8_t) (byte - '0' + 52);
    return byte == '+' ? 62 : byte == '/' ? 63 : 64;
}

/* One quantum of four characters to `keep` bytes; the bits that are left over must be zero. */
static enum pv_status
base64_quantum(const uint8_t *text, size_t keep, uint8_t *bytes)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < 4; i++) {
        uint8_t value = i <= keep ? base64_value(text[i]) : 0;

        if (value > 63 || (i > keep && text[i] != '='))
            return PV_INVALID;
        bits = bits << 6 | value;
    }
    if ((bits & ((1u << (8 * (3 - keep))) - 1)) != 0)
        return PV_INVALID;
    for (size_t i = 0; i < keep; i++)
        bytes[i] = (uint8_t) (bits >> (8 * (2 - i)));
    return PV_OK;
}

/*
 * By hand, since EVP_DecodeBlock takes white space, padding anywhere and stray bits,
 * and does not say how many bytes the padding stands for.
 */
enum pv_status
pv_base64_decode(struct pv_slice text, struct pv_buf *out)
{
    size_t padding = 0;
    size_t len;
    uint8_t *room;

    if (text.len % 4 != 0)
        return PV_INVALID;
    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=')
        padding++;
    len = text.len / 4 * 3 - padding;
    room = pv_buf_reserve(out, len);
    if (room == NULL)
        return PV_NOMEM;
    for (size_t at = 0, done = 0; at < text.len; at += 4, done += 3) {
        size_t keep = at + 4 == text.len ? 3 - padding : 3;

        if (base64_quantum(text.data + at, keep, room + done) != PV_OK)
            return PV_INVALID;
    }
    pv_buf_commit(out, len);
    return PV_OK;
}
