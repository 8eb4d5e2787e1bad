/* The config's "tokens" and the key set that it names (RFC 7517): policy.h says what stands there. */
#include "policy/load_int.h"
#include "policy/token.h"
#include "proxy/crypto/jwt.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define JWKS_BYTES_MAX (256u * 1024u)
/* Issuers keep two or three; each login looks at all. */
#define JWKS_KEYS_MAX 64u
#define CLOCK_SKEW_DEFAULT_MS (60u * 1000u)
/* A clock that is further off is broken, and tokens would live that much longer. */
#define CLOCK_SKEW_MAX_MS (10u * 60u * 1000u)

static const char *const method_words[] = {"password", "oauthbearer", NULL};

/* ---- keys --------------------------------------------------------------- */

/* A member that must be text; NULL after a fault. */
static const struct pv_located *
find_text(struct pv_doc *doc, const struct pv_located *object, const char *key, bool is_required)
{
    const struct pv_located *found = pv_located_find(object, key);

    if (found == NULL && is_required)
        pv_load_fault(doc, object, "missing key \"%s\"", key);
    return found != NULL && pv_load_kind(doc, found, PV_J_STRING, NULL) ? found : NULL;
}

static bool
is_word(const struct pv_located *value, const char *word)
{
    return value != NULL && pv_located_kind(value) == PV_J_STRING && strcmp(pv_located_string(value), word) == 0;
}

/* The bytes of a base64url member; false after a fault. */
static bool
read_bytes(struct pv_doc *doc, const struct pv_located *object, const char *key, struct pv_buf *bytes)
{
    const struct pv_located *found = find_text(doc, object, key, true);
    enum pv_status status;

    if (found == NULL)
        return false;
    status = pv_base64url_decode(pv_slice_cstr(pv_located_string(found)), bytes);
    if (status == PV_NOMEM)
        doc->load->is_out_of_memory = true;
    else if (status != PV_OK)
        pv_load_fault(doc, found, "\"%s\" is no base64url", key);
    return status == PV_OK;
}

/* PV_INVALID: not a key of the kind, or said already when *is_said. */
static enum pv_status
make_key(struct pv_doc *doc, const struct pv_located *item, enum pv_jwt_alg alg, struct pv_jwt_key **key, bool *is_said)
{
    struct pv_buf first = {0}, second = {0};
    enum pv_status status = PV_INVALID;

    *is_said = !read_bytes(doc, item, alg == PV_JWT_RS256 ? "n" : "x", &first);
    if (alg != PV_JWT_EDDSA)
        *is_said |= !read_bytes(doc, item, alg == PV_JWT_RS256 ? "e" : "y", &second);
    if (!*is_said && alg == PV_JWT_RS256)
        status = pv_jwt_key_rsa(pv_buf_slice(&first), pv_buf_slice(&second), key);
    else if (!*is_said && alg == PV_JWT_ES256)
        status = pv_jwt_key_p256(pv_buf_slice(&first), pv_buf_slice(&second), key);
    else if (!*is_said)
        status = pv_jwt_key_ed25519(pv_buf_slice(&first), key);
    pv_buf_clear(&first);
    pv_buf_clear(&second);
    return status;
}

/* The algorithm that a key serves; false when it is none of ours, which RFC 7517 (5) bids to pass over. */
static bool
algorithm_of(const struct pv_located *item, enum pv_jwt_alg *alg)
{
    const struct pv_located *kind = pv_located_find(item, "kty"), *curve = pv_located_find(item, "crv");
    const struct pv_located *use = pv_located_find(item, "use"), *named = pv_located_find(item, "alg");

    if (is_word(kind, "RSA"))
        *alg = PV_JWT_RS256;
    else if (is_word(kind, "EC") && is_word(curve, "P-256"))
        *alg = PV_JWT_ES256;
    else if (is_word(kind, "OKP") && is_word(curve, "Ed25519"))
        *alg = PV_JWT_EDDSA;
    else
        return false;
    return (use == NULL || is_word(use, "sig")) && (named == NULL || is_word(named, pv_jwt_alg_text(*alg)));
}

static bool
may_verify(const struct pv_located *item)
{
    const struct pv_located *operations = pv_located_find(item, "key_ops");

    if (operations == NULL)
        return true;
    for (size_t i = 0; i < operations->child_count; i++)
        if (is_word(&operations->children[i], "verify"))
            return true;
    return false;
}

/* Notes the key outside of the arena, so that the snapshot gives it back. */
static bool
hold_key(struct pv_doc *doc, struct pv_jwt_key *key)
{
    struct pv_held *held = pv_load_alloc(doc, 1, sizeof(*held));

    if (held == NULL) {
        pv_jwt_key_free(key);
        return false;
    }
    held->token_key = key;
    held->next = doc->load->snapshot->held;
    doc->load->snapshot->held = held;
    return true;
}

static void
read_key(struct pv_doc *doc, const struct pv_located *item, struct pv_tokens *tokens, struct pv_token_key *keys)
{
    const struct pv_located *kid;
    struct pv_jwt_key *key = NULL;
    enum pv_jwt_alg alg;
    enum pv_status status;
    bool is_said = false;

    if (!pv_load_kind(doc, item, PV_J_OBJECT, "keys"))
        return;
    if (pv_located_find(item, "d") != NULL || pv_located_find(item, "k") != NULL) {
        pv_load_fault(doc, item, "this is a secret key: the key set must hold public ones alone");
        return;
    }
    if (!algorithm_of(item, &alg) || !may_verify(item)) {
        pv_load_warning(doc, item, "this key is passed over: it does not verify RS256, ES256 or EdDSA (Ed25519)");
        return;
    }
    kid = find_text(doc, item, "kid", false);
    if (pv_located_find(item, "kid") != NULL && kid == NULL)
        return;
    status = make_key(doc, item, alg, &key, &is_said);
    if (status == PV_NOMEM)
        doc->load->is_out_of_memory = true;
    else if (status != PV_OK && !is_said)
        pv_load_fault(doc, item, "this is no sound public key for %s%s", pv_jwt_alg_text(alg),
                      alg == PV_JWT_RS256 ? " of 2048 to 8192 bits" : "");
    if (status != PV_OK || !hold_key(doc, key))
        return;
    for (size_t i = 0; i < tokens->key_count && kid != NULL; i++)
        if (keys[i].kid != NULL && strcmp(keys[i].kid, pv_located_string(kid)) == 0)
            pv_load_fault(doc, kid, "the \"kid\" \"%s\" stands twice in the key set", pv_located_string(kid));
    keys[tokens->key_count].kid = kid == NULL ? NULL : pv_load_strdup(doc, pv_located_string(kid));
    keys[tokens->key_count++].key = key;
}

static void
read_keys(struct pv_doc *doc, struct pv_tokens *tokens)
{
    const struct pv_located *list;
    struct pv_token_key *keys;

    if (!pv_load_kind(doc, doc->top, PV_J_OBJECT, NULL))
        return;
    list = pv_located_find(doc->top, "keys");
    if (list == NULL) {
        pv_load_fault(doc, doc->top, "missing key \"keys\"");
        return;
    }
    if (!pv_load_kind(doc, list, PV_J_ARRAY, NULL))
        return;
    if (list->child_count > JWKS_KEYS_MAX) {
        pv_load_fault(doc, list, "a key set holds at most %u keys", JWKS_KEYS_MAX);
        return;
    }
    keys = pv_load_alloc(doc, list->child_count, sizeof(*keys));
    if (keys == NULL)
        return;
    for (size_t i = 0; i < list->child_count && !doc->load->is_out_of_memory; i++)
        read_key(doc, &list->children[i], tokens, keys);
    tokens->keys = keys;
    if (tokens->key_count == 0)
        pv_load_warning(doc, list, "the key set holds no key that could verify a token: no token can log in");
}

static void
set_jwks(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_tokens *tokens = field;
    struct pv_doc set;

    pv_set_path(doc, value, &tokens->jwks_path, key);
    if (tokens->jwks_path == NULL || doc->load->is_out_of_memory)
        return;
    if (access(tokens->jwks_path, R_OK) != 0) {
        pv_load_fault(doc, value, "cannot read \"%s\": %s", pv_located_string(value), strerror(errno));
        return;
    }
    tokens->jwks_time_ns = pv_tokens_file_time(tokens->jwks_path);
    if (pv_doc_open(&set, doc->load, pv_load_shown_path(doc, pv_located_string(value)), doc->dir, tokens->jwks_path,
                    JWKS_BYTES_MAX))
        read_keys(&set, tokens);
    pv_doc_close(&set);
}

/* ---- the group ---------------------------------------------------------- */

#define KEY(field, name, kinds, is_required, set, least, most, words) \
    { \
        name, kinds, is_required, set, offsetof(struct pv_tokens, field), least, most, words \
    }

void
pv_set_tokens(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        {"jwks", PV_J_STRING, true, set_jwks, 0, 0, 0, NULL},
        KEY(issuer, "issuer", PV_J_STRING, true, pv_set_name, 0, 1024, NULL),
        KEY(audience, "audience", PV_J_STRING, true, pv_set_name, 0, 1024, NULL),
        KEY(scope, "scope", PV_J_STRING, false, pv_set_name, 0, 1024, NULL),
        KEY(clock_skew_ms, "clock_skew", PV_J_STRING, false, pv_set_time, 0, CLOCK_SKEW_MAX_MS, NULL),
        KEY(user_claim, "user_claim", PV_J_STRING, false, pv_set_name, 0, 255, NULL),
        KEY(roles_claim, "roles_claim", PV_J_STRING, false, pv_set_name, 0, 255, NULL),
        KEY(attributes_claim, "attributes_claim", PV_J_STRING, false, pv_set_name, 0, 255, NULL),
        KEY(method, "method", PV_J_STRING, false, pv_set_word, 0, 0, method_words),
    };
    struct pv_tokens *tokens = pv_load_alloc(doc, 1, sizeof(*tokens));

    (void) key;
    if (tokens == NULL)
        return;
    tokens->clock_skew_ms = CLOCK_SKEW_DEFAULT_MS;
    tokens->user_claim = "sub";
    tokens->roles_claim = "roles";
    tokens->attributes_claim = "attributes";
    (void) pv_load_object(doc, value, keys, PV_COUNT_OF(keys), tokens);
    *(const struct pv_tokens **) field = tokens;
    if (pv_located_find(doc->top, "tls") == NULL)
        pv_load_warning(doc, value,
                        "no token can log in: tokens are taken over TLS alone, and the config has no \"tls\"");
}
