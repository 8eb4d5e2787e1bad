/*
 * Bearer tokens: JSON Web Tokens (RFC 7519) in compact form, signed by a key of the configured key set (RFC 7515, RFC
 * 7517), as logins. What is checked: the signature with the one algorithm of the key that `kid` names (without `kid`,
 * of the only key that fits); `typ` absent or one of a token; no `crit`; issuer and audience; exp, which must be there,
 * nbf and iat, by the configured clock skew. Every piece is bounded by PV_TOKEN_BYTES_MAX. Thread-safe.
 */
#ifndef PV_TOKEN_H
#define PV_TOKEN_H

#include "policy/policy.h"

struct pv_arena;

/* Tokens of busy issuers with many roles have some 4 KiB. */
#define PV_TOKEN_BYTES_MAX (16u * 1024u)

/* In the caller's arena; nothing of the token's text is borrowed. */
struct pv_token {
    struct pv_user user;   /* name and attributes; no verifier */
    struct pv_names roles; /* of the roles claim */
    int64_t expires_us;    /* exp, without the skew */
};

/*
 * PV_DENIED with *why, static words for the log that hold nothing of the token; PV_NOMEM. now_us: microseconds since
 * 1970 UTC.
 */
enum pv_status pv_token_verify(const struct pv_tokens *tokens, struct pv_slice text, int64_t now_us,
                               struct pv_arena *arena, struct pv_token *token, const char **why) PV_MUST_CHECK;

/*
 * Whose place in the room such a user takes: the member of that name, else the first "role:NAME" entry whose NAME the
 * roles hold; NULL: none.
 */
const struct pv_member *pv_room_token_member(const struct pv_room *room, const char *user, struct pv_names roles);

/* When the key set's file was changed, in nanoseconds since 1970; 0: it cannot be seen now. */
int64_t pv_tokens_file_time(const char *path);

#endif
