#include "proxy/crypto/jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#define P256_BYTES 32u
#define ED25519_KEY_BYTES 32u
#define ED25519_SIGNATURE_BYTES 64u
/* An exponent longer than 32 bits makes each check dear and gains nothing. */
#define RSA_EXPONENT_BYTES_MAX 4u

struct pv_jwt_key {
    EVP_PKEY *pkey;
    enum pv_jwt_alg alg;
};

/* ---- base64url ---- */

static int
digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

enum pv_status
pv_base64url_decode(struct pv_slice text, struct pv_buf *out)
{
    size_t before = pv_buf_len(out);
    uint32_t bits = 0;
    unsigned count = 0;

    if (text.len % 4 == 1)
        return PV_INVALID;
    for (size_t i = 0; i < text.len; i++) {
        int value = digit(text.data[i]);

        if (value < 0) {
            pv_buf_truncate(out, before);
            return PV_INVALID;
        }
        bits = (bits << 6) | (uint32_t) value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            pv_buf_put_u8(out, (uint8_t) (bits >> count));
            bits &= (1u << count) - 1;
        }
    }
    if (!pv_buf_ok(out) || bits != 0) {
        enum pv_status status = pv_buf_ok(out) ? PV_INVALID : PV_NOMEM;

        pv_buf_truncate(out, before);
        return status;
    }
    return PV_OK;
}

/* ---- Keys ---- */

/* Takes the library's key: frees it on failure. */
static enum pv_status
key_wrap(EVP_PKEY *pkey, enum pv_jwt_alg alg, struct pv_jwt_key **key)
{
    struct pv_jwt_key *made;

    ERR_clear_error();
    if (pkey == NULL)
        return PV_INVALID;
    made = pv_calloc(1, sizeof(*made));
    if (made == NULL) {
        EVP_PKEY_free(pkey);
        return PV_NOMEM;
    }
    made->pkey = pkey;
    made->alg = alg;
    *key = made;
    return PV_OK;
}

/* A public key of a named kind from parameters, which are taken; NULL when they make none. */
static EVP_PKEY *
key_of_params(const char *kind, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *context = params == NULL ? NULL : EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    EVP_PKEY_CTX *check = NULL;
    EVP_PKEY *pkey = NULL;

    if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    if (pkey != NULL) {
        check = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
        if (check == NULL || EVP_PKEY_public_check(check) != 1) {
            EVP_PKEY_free(pkey);
            pkey = NULL;
        }
    }
    EVP_PKEY_CTX_free(check);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    return pkey;
}

enum pv_status
pv_jwt_key_rsa(struct pv_slice n, struct pv_slice e, struct pv_jwt_key **key)
{
    OSSL_PARAM_BLD *build;
    BIGNUM *modulus, *exponent;
    EVP_PKEY *pkey = NULL;
    int bits;

    if (n.len == 0 || n.len > PV_JWT_RSA_BITS_MAX / 8 || e.len == 0 || e.len > RSA_EXPONENT_BYTES_MAX ||
        e.data[e.len - 1] % 2 == 0 || (e.len == 1 && e.data[0] == 1))
        return PV_INVALID;
    build = OSSL_PARAM_BLD_new();
    modulus = BN_bin2bn(n.data, (int) n.len, NULL);
    exponent = BN_bin2bn(e.data, (int) e.len, NULL);
    if (build == NULL || modulus == NULL || exponent == NULL) {
        OSSL_PARAM_BLD_free(build);
        BN_free(modulus);
        BN_free(exponent);
        ERR_clear_error();
        return PV_NOMEM;
    }
    bits = BN_num_bits(modulus);
    if (bits >= (int) PV_JWT_RSA_BITS_MIN && BN_is_odd(modulus) && !BN_is_one(exponent) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        pkey = key_of_params("RSA", OSSL_PARAM_BLD_to_param(build));
    OSSL_PARAM_BLD_free(build);
    BN_free(modulus);
    BN_free(exponent);
    return key_wrap(pkey, PV_JWT_RS256, key);
}

enum pv_status
pv_jwt_key_p256(struct pv_slice x, struct pv_slice y, struct pv_jwt_key **key)
{
    uint8_t point[1 + 2 * P256_BYTES] = {0x04}; /* SEC 1: uncompressed */
    OSSL_PARAM_BLD *build;
    EVP_PKEY *pkey = NULL;

    if (x.len != P256_BYTES || y.len != P256_BYTES)
        return PV_INVALID;
    memcpy(point + 1, x.data, P256_BYTES);
    memcpy(point + 1 + P256_BYTES, y.data, P256_BYTES);
    build = OSSL_PARAM_BLD_new();
    if (build == NULL)
        return PV_NOMEM;
    if (OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1)
        pkey = key_of_params("EC", OSSL_PARAM_BLD_to_param(build));
    OSSL_PARAM_BLD_free(build);
    return key_wrap(pkey, PV_JWT_ES256, key);
}

enum pv_status
pv_jwt_key_ed25519(struct pv_slice x, struct pv_jwt_key **key)
{
    if (x.len != ED25519_KEY_BYTES)
        return PV_INVALID;
    return key_wrap(EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x.data, x.len), PV_JWT_EDDSA, key);
}

void
pv_jwt_key_free(struct pv_jwt_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    pv_free(key);
}

enum pv_jwt_alg
pv_jwt_key_alg(const struct pv_jwt_key *key)
{
    return key->alg;
}

const char *
pv_jwt_alg_text(enum pv_jwt_alg alg)
{
    static const char *const texts[] = {
#define PV_X(name, text) [PV_JWT_##name] = text,
        PV_JWT_ALG_TABLE(PV_X)
#undef PV_X
    };

    return texts[alg];
}

/* ---- Signatures ---- */

static enum pv_status
verify(const struct pv_jwt_key *key, const EVP_MD *digest, struct pv_slice bytes, const uint8_t *signature, size_t len)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    enum pv_status status = PV_DENIED;

    if (md == NULL)
        return PV_NOMEM;
    if (EVP_DigestVerifyInit(md, NULL, digest, NULL, key->pkey) == 1 &&
        EVP_DigestVerify(md, signature, len, bytes.data, bytes.len) == 1)
        status = PV_OK;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return status;
}

/* The library wants r and s as DER (RFC 3279 2.2.3). */
static enum pv_status
verify_p256(const struct pv_jwt_key *key, struct pv_slice bytes, struct pv_slice signature)
{
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature.data, (int) P256_BYTES, NULL);
    BIGNUM *s = BN_bin2bn(signature.data + P256_BYTES, (int) P256_BYTES, NULL);
    unsigned char *der = NULL;
    enum pv_status status = PV_NOMEM;
    int len = -1;

    if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
    } else {
        len = i2d_ECDSA_SIG(pair, &der);
    }
    if (len > 0)
        status = verify(key, EVP_sha256(), bytes, der, (size_t) len);
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    ERR_clear_error();
    return status;
}

enum pv_status
pv_jwt_verify(const struct pv_jwt_key *key, struct pv_slice signed_bytes, struct pv_slice signature)
{
    switch (key->alg) {
    case PV_JWT_RS256:
        if (signature.len != (size_t) EVP_PKEY_get_size(key->pkey))
            return PV_DENIED;
        return verify(key, EVP_sha256(), signed_bytes, signature.data, signature.len);
    case PV_JWT_ES256:
        if (signature.len != 2 * (size_t) P256_BYTES)
            return PV_DENIED;
        return verify_p256(key, signed_bytes, signature);
    case PV_JWT_EDDSA:
        if (signature.len != ED25519_SIGNATURE_BYTES)
            return PV_DENIED;
        return verify(key, NULL, signed_bytes, signature.data, signature.len);
    }
    return PV_INTERNAL;
}
