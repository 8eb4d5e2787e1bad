#include "policy/token.h"

#include "parser/template.h"
#include "proxy/base/arena.h"
#include "proxy/base/limits.h"
#include "proxy/crypto/jwt.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Dates beyond 9999 are nobody's honest expiry, and this keeps the sums far from their ends. */
#define NUMERIC_DATE_MAX 253402300799.0

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
#define DIGITS "0123456789"

struct pieces {
    struct pv_slice header, claims, signature; /* encoded */
    struct pv_slice signed_bytes;              /* header.claims */
};

static enum pv_status
deny(const char **why, const char *words)
{
    *why = words;
    return PV_DENIED;
}

/* Three pieces by two dots (RFC 7515 7.1); an encrypted token has five. */
static bool
split(struct pv_slice text, struct pieces *pieces)
{
    const uint8_t *end = text.data + text.len;
    const uint8_t *first = text.len == 0 ? NULL : memchr(text.data, '.', text.len);
    const uint8_t *second = first == NULL ? NULL : memchr(first + 1, '.', (size_t) (end - first - 1));

    if (second == NULL || memchr(second + 1, '.', (size_t) (end - second - 1)) != NULL)
        return false;
    pieces->header = pv_slice_of(text.data, (size_t) (first - text.data));
    pieces->claims = pv_slice_of(first + 1, (size_t) (second - first - 1));
    pieces->signature = pv_slice_of(second + 1, (size_t) (end - second - 1));
    pieces->signed_bytes = pv_slice_of(text.data, (size_t) (second - text.data));
    return true;
}

/* An object from encoded JSON; PV_INVALID for anything else. */
static enum pv_status
decode_object(struct pv_slice encoded, json_t **object)
{
    struct pv_buf text = {0};
    json_error_t error = {0};
    enum pv_status status = pv_base64url_decode(encoded, &text);

    if (status == PV_OK) {
        struct pv_slice bytes = pv_buf_slice(&text);

        *object =
            json_loadb(bytes.data == NULL ? "" : (const char *) bytes.data, bytes.len, JSON_REJECT_DUPLICATES, &error);
        if (*object == NULL)
            status =
                error.text[0] == '\0' || json_error_code(&error) == json_error_out_of_memory ? PV_NOMEM : PV_INVALID;
        else if (!json_is_object(*object))
            status = PV_INVALID;
    }
    pv_buf_wipe(&text);
    return status;
}

static bool
is_text(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

/* ---- The header ---- */

/* RFC 8725 3.11: what says that it is something else is not taken for a token. */
static bool
is_token_type(const json_t *type)
{
    static const char *const types[] = {"JWT", "at+jwt", "application/jwt", "application/at+jwt"};

    if (type == NULL)
        return true;
    for (size_t i = 0; i < PV_COUNT_OF(types); i++)
        if (json_is_string(type) && strcasecmp(json_string_value(type), types[i]) == 0)
            return true;
    return false;
}

static enum pv_status
select_key(const struct pv_tokens *tokens, const json_t *header, const struct pv_jwt_key **key, const char **why)
{
    const json_t *alg = json_object_get(header, "alg");
    const json_t *kid = json_object_get(header, "kid");
    bool is_kid_known = false;
    size_t found = 0;

    if (json_object_get(header, "crit") != NULL)
        return deny(why, "the token's header has extensions that must be understood");
    if (!is_token_type(json_object_get(header, "typ")))
        return deny(why, "the token's header says that it is of another type");
    if (kid != NULL && !json_is_string(kid))
        return deny(why, "the token's \"kid\" is no text");
    for (size_t i = 0; i < tokens->key_count; i++) {
        const struct pv_token_key *candidate = &tokens->keys[i];

        if (kid != NULL && (candidate->kid == NULL || strcmp(json_string_value(kid), candidate->kid) != 0))
            continue;
        is_kid_known = true;
        if (!is_text(alg, pv_jwt_alg_text(pv_jwt_key_alg(candidate->key))))
            continue;
        *key = candidate->key;
        found++;
    }
    if (found == 1)
        return PV_OK;
    if (found > 1)
        return deny(why, "the token names no key, and several would fit");
    return deny(why, is_kid_known ? "the token's algorithm is not that of the key"
                                  : "the token's key is not in the key set");
}

static enum pv_status
check_signature(const struct pv_tokens *tokens, const struct pieces *pieces, const char **why)
{
    const struct pv_jwt_key *key = NULL;
    struct pv_buf signature = {0};
    json_t *header = NULL;
    enum pv_status status = decode_object(pieces->header, &header);

    if (status == PV_INVALID)
        status = deny(why, "the token's header is malformed");
    else if (status == PV_OK)
        status = select_key(tokens, header, &key, why);
    json_decref(header);
    if (status != PV_OK)
        return status;
    status = pv_base64url_decode(pieces->signature, &signature);
    if (status == PV_INVALID)
        status = deny(why, "the token's signature is malformed");
    else if (status == PV_OK)
        status = pv_jwt_verify(key, pieces->signed_bytes, pv_buf_slice(&signature));
    pv_buf_clear(&signature);
    if (status == PV_DENIED && *why == NULL)
        return deny(why, "the token's signature is wrong");
    return status;
}

/* ---- Claims ---- */

/* Microseconds of a NumericDate (RFC 7519 2), which may have a fraction. */
static bool
read_date(const json_t *value, int64_t *us)
{
    double seconds;

    if (!json_is_number(value))
        return false;
    seconds = json_number_value(value);
    if (!(seconds >= 0) || seconds > NUMERIC_DATE_MAX)
        return false;
    *us = (int64_t) (seconds * 1e6);
    return true;
}

static enum pv_status
check_times(const struct pv_tokens *tokens, const json_t *claims, int64_t now_us, struct pv_token *token,
            const char **why)
{
    const json_t *not_before = json_object_get(claims, "nbf"), *issued = json_object_get(claims, "iat");
    int64_t skew_us = (int64_t) tokens->clock_skew_ms * 1000;
    int64_t moment;

    if (!read_date(json_object_get(claims, "exp"), &token->expires_us))
        return deny(why, "the token has no \"exp\" that is a time");
    if (now_us >= token->expires_us + skew_us)
        return deny(why, "the token has expired");
    if (not_before != NULL && (!read_date(not_before, &moment) || now_us < moment - skew_us))
        return deny(why, "the token is not valid yet");
    if (issued != NULL && (!read_date(issued, &moment) || now_us < moment - skew_us))
        return deny(why, "the token was issued in the future");
    return PV_OK;
}

static bool
has_audience(const json_t *audience, const char *wanted)
{
    if (!json_is_array(audience))
        return is_text(audience, wanted);
    for (size_t i = 0; i < json_array_size(audience); i++)
        if (is_text(json_array_get(audience, i), wanted))
            return true;
    return false;
}

static bool
is_name(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if ((uint8_t) text[i] < 0x20 || text[i] == 0x7F)
            return false;
    return len > 0 && len <= PV_NAME_BYTES_MAX;
}

static enum pv_status
read_user(struct pv_arena *arena, const json_t *value, struct pv_token *token, const char **why)
{
    if (!json_is_string(value) || !is_name(json_string_value(value)))
        return deny(why, "the token's user claim is no user's name");
    token->user.name = pv_arena_strdup(arena, json_string_value(value));
    return token->user.name == NULL ? PV_NOMEM : PV_OK;
}

/* One text, or an array of texts. */
static enum pv_status
read_roles(struct pv_arena *arena, const json_t *value, struct pv_token *token, const char **why)
{
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    const char **roles;

    if (value == NULL)
        return PV_OK;
    roles = pv_arena_alloc(arena, (count + 1) * sizeof(*roles));
    if (roles == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;

        if (!json_is_string(item))
            return deny(why, "the token's roles claim is no list of texts");
        roles[i] = pv_arena_strdup(arena, json_string_value(item));
        if (roles[i] == NULL)
            return PV_NOMEM;
    }
    token->roles.names = roles;
    token->roles.count = count;
    return PV_OK;
}

/* The shortest text that stands for the same number. */
static const char *
real_text(struct pv_arena *arena, double value)
{
    char text[40];

    for (int digits = 15; digits <= 17; digits++) {
        (void) snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) >= value && strtod(text, NULL) <= value)
            break;
    }
    return pv_arena_strdup(arena, text);
}

/* NULL with PV_DENIED for what is no plain value. */
static enum pv_status
attribute_text(struct pv_arena *arena, const json_t *value, enum pv_attribute_kind *kind, const char **text)
{
    if (json_is_string(value)) {
        *kind = PV_ATTRIBUTE_TEXT;
        *text = pv_arena_strdup(arena, json_string_value(value));
    } else if (json_is_boolean(value)) {
        *kind = PV_ATTRIBUTE_BOOL;
        *text = json_is_true(value) ? "true" : "false";
    } else if (json_is_integer(value)) {
        *kind = PV_ATTRIBUTE_NUMBER;
        *text = pv_arena_printf(arena, "%lld", (long long) json_integer_value(value));
    } else if (json_is_real(value) && isfinite(json_real_value(value))) {
        *kind = PV_ATTRIBUTE_NUMBER;
        *text = real_text(arena, json_real_value(value));
    } else {
        return PV_DENIED;
    }
    return *text == NULL ? PV_NOMEM : PV_OK;
}

static enum pv_status
read_attribute(struct pv_arena *arena, const char *name, const json_t *value, struct pv_attribute *attribute)
{
    size_t len = strlen(name);
    const char **values;
    char *folded;

    if (len == 0 || len > PV_NAME_BYTES_MAX || strchr(LETTERS, *name) == NULL || strspn(name, LETTERS DIGITS) != len)
        return PV_DENIED;
    attribute->is_list = json_is_array(value);
    attribute->value_count = attribute->is_list ? json_array_size(value) : 1;
    attribute->name = folded = pv_arena_strdup(arena, name);
    values = pv_arena_alloc(arena, (attribute->value_count + 1) * sizeof(*values));
    if (folded == NULL || values == NULL)
        return PV_NOMEM;
    pv_template_fold(folded); /* as row filters name it */
    for (size_t i = 0; i < attribute->value_count; i++) {
        enum pv_attribute_kind kind;
        enum pv_status status =
            attribute_text(arena, attribute->is_list ? json_array_get(value, i) : value, &kind, &values[i]);

        if (status != PV_OK)
            return status;
        if (i > 0 && kind != attribute->kind)
            return PV_DENIED;
        attribute->kind = kind;
    }
    attribute->values = values;
    return PV_OK;
}

static enum pv_status
read_attributes(struct pv_arena *arena, json_t *value, struct pv_token *token, const char **why)
{
    struct pv_attribute *attributes;
    size_t count = 0;

    if (value == NULL)
        return PV_OK;
    if (!json_is_object(value))
        return deny(why, "the token's attributes claim is no object");
    attributes = pv_arena_alloc(arena, (json_object_size(value) + 1) * sizeof(*attributes));
    if (attributes == NULL)
        return PV_NOMEM;
    for (void *member = json_object_iter(value); member != NULL; member = json_object_iter_next(value, member)) {
        enum pv_status status =
            read_attribute(arena, json_object_iter_key(member), json_object_iter_value(member), &attributes[count++]);

        if (status == PV_DENIED)
            return deny(why, "an attribute in the token is no value, and no list of values of one type");
        if (status != PV_OK)
            return status;
        for (size_t i = 0; i + 1 < count; i++)
            if (strcmp(attributes[i].name, attributes[count - 1].name) == 0)
                return deny(why, "two attributes in the token differ in letter case only");
    }
    token->user.attributes = attributes;
    token->user.attribute_count = count;
    return PV_OK;
}

static enum pv_status
check_claims(const struct pv_tokens *tokens, json_t *claims, int64_t now_us, struct pv_arena *arena,
             struct pv_token *token, const char **why)
{
    enum pv_status status;

    if (!is_text(json_object_get(claims, "iss"), tokens->issuer))
        return deny(why, "the token is of another issuer");
    if (!has_audience(json_object_get(claims, "aud"), tokens->audience))
        return deny(why, "the token is for another audience");
    status = check_times(tokens, claims, now_us, token, why);
    if (status == PV_OK)
        status = read_user(arena, json_object_get(claims, tokens->user_claim), token, why);
    if (status == PV_OK)
        status = read_roles(arena, json_object_get(claims, tokens->roles_claim), token, why);
    if (status == PV_OK)
        status = read_attributes(arena, json_object_get(claims, tokens->attributes_claim), token, why);
    return status;
}

enum pv_status
pv_token_verify(const struct pv_tokens *tokens, struct pv_slice text, int64_t now_us, struct pv_arena *arena,
                struct pv_token *token, const char **why)
{
    struct pv_token made = {.expires_us = 0};
    struct pieces pieces;
    json_t *claims = NULL;
    enum pv_status status;

    *why = NULL;
    if (text.len > PV_TOKEN_BYTES_MAX)
        return deny(why, "the token is too long");
    if (!split(text, &pieces))
        return deny(why, "this is no signed token");
    status = check_signature(tokens, &pieces, why);
    if (status != PV_OK)
        return status;
    status = decode_object(pieces.claims, &claims);
    if (status == PV_INVALID)
        status = deny(why, "the token's claims are malformed");
    else if (status == PV_OK)
        status = check_claims(tokens, claims, now_us, arena, &made, why);
    json_decref(claims);
    if (status == PV_OK)
        *token = made;
    return status;
}

/* ---- Rooms ---- */

const struct pv_member *
pv_room_token_member(const struct pv_room *room, const char *user, struct pv_names roles)
{
    const struct pv_member *member = pv_room_member(room, user);

    for (size_t i = 0; member == NULL && i < room->member_count; i++) {
        const char *key = room->members[i].user;

        if (strncmp(key, PV_MEMBER_ROLE_PREFIX, strlen(PV_MEMBER_ROLE_PREFIX)) != 0)
            continue;
        for (size_t j = 0; j < roles.count; j++)
            if (strcmp(roles.names[j], key + strlen(PV_MEMBER_ROLE_PREFIX)) == 0)
                member = &room->members[i];
    }
    return member;
}

int64_t
pv_tokens_file_time(const char *path)
{
    struct stat info;

    return stat(path, &info) != 0 ? 0 : (int64_t) info.st_mtim.tv_sec * 1000000000 + (int64_t) info.st_mtim.tv_nsec;
}
