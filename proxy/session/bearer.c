/*
 * Logins by bearer token (policy/token.h): as the password of an exchange in the clear, which TLS covers, or by SASL
 * OAUTHBEARER. Sources: PostgreSQL documentation, "SASL Authentication"; RFC 7628. Why a token does not serve is for
 * the log alone; the client hears the words of a wrong password.
 */
#include "proxy/session/session_int.h"

#include <string.h>

/* What an issuer's own document is found under (RFC 8414 3). */
#define WELL_KNOWN "/.well-known/"
#define KEY_VALUE_SEPARATOR 0x01

static bool
may_log_in(const struct pv_session *s)
{
    const struct pv_user *listed = pv_policy_user(s->policy, pv_slice_cstr(s->user));

    return s->policy->config.tokens != NULL && s->is_tls &&
           (listed == NULL || (listed->scram == NULL && listed->cert_cn == NULL));
}

bool
pv_bearer_start(struct pv_session *s)
{
    static const char *const mechanisms[] = {PV_BEARER_MECHANISM};
    const struct pv_msg_auth cleartext = {PV_AUTH_CLEARTEXT, {NULL, 0}};
    size_t before = pv_buf_len(&s->client_out);
    bool is_password;
    enum pv_status status;

    if (!may_log_in(s))
        return false;
    is_password = s->policy->config.tokens->method == PV_TOKEN_PASSWORD;
    s->is_bearer = true;
    s->account = NULL;
    if (is_password)
        status = pv_msg_auth_write(&s->client_out, &cleartext);
    else
        status = pv_msg_auth_sasl_write(&s->client_out, mechanisms, 1);
    s->client_total += pv_buf_len(&s->client_out) - before;
    if (status != PV_OK)
        pv_session_fail(s, status);
    else
        s->phase = is_password ? PV_PHASE_PASSWORD : PV_PHASE_BEARER_INITIAL;
    return true;
}

/* NULL: the token serves, and the session knows whose it is. Else why not, for the log; the session may have ended. */
static const char *
judge_token(struct pv_session *s, struct pv_slice text)
{
    const char *why = NULL;
    struct pv_token *token;
    enum pv_status status;

    /* A reload in between may have changed the answer. */
    if (!may_log_in(s))
        return "the user cannot log in by token";
    token = pv_arena_alloc(s->arena, sizeof(*token));
    status = token == NULL ? PV_NOMEM
                           : pv_token_verify(s->policy->config.tokens, text, pv_session_date_us(s), s->arena, token, &why);
    if (status == PV_NOMEM) {
        pv_session_fail(s, status);
        return "";
    }
    if (status != PV_OK)
        return why == NULL ? "the token's signature is wrong" : why;
    if (!pv_constant_time_equal(pv_slice_cstr(token->user.name), pv_slice_cstr(s->user)))
        return "the token is another user's";
    s->token = token;
    s->account = &token->user;
    return NULL;
}

enum pv_step
pv_bearer_password(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_slice password;
    const char *why;

    if (pv_msg_text_read(frame->body, &password) != PV_OK) {
        pv_session_fatal(s, "08P01", "invalid password packet");
        return PV_STEP_DONE;
    }
    why = judge_token(s, password);
    if (s->phase == PV_PHASE_CLOSED)
        return PV_STEP_DONE;
    if (why != NULL)
        pv_startup_refuse_password(s, why);
    else
        pv_startup_admit(s);
    return PV_STEP_DONE;
}

/* ---- OAUTHBEARER ---- */

/*
 * n,,^Aauth=Bearer TOKEN^A...^A (RFC 7628 3.1). PV_PROTOCOL for what is not of that form. An empty `auth`, by which a
 * client asks what is wanted, gives an empty token.
 */
static enum pv_status
read_initial(struct pv_slice data, struct pv_slice *token)
{
    const uint8_t *at = data.data, *end = data.data + data.len;
    bool has_auth = false;

    /* Channel binding is not part of the mechanism, and nobody acts for another here. */
    if (data.len < 5 || (at[0] != 'n' && at[0] != 'y') || at[1] != ',' || at[2] != ',' || at[3] != KEY_VALUE_SEPARATOR)
        return PV_PROTOCOL;
    at += 4;
    while (at < end && *at != KEY_VALUE_SEPARATOR) {
        const uint8_t *stop = memchr(at, KEY_VALUE_SEPARATOR, (size_t) (end - at));
        const uint8_t *equals = stop == NULL ? NULL : memchr(at, '=', (size_t) (stop - at));

        if (equals == NULL)
            return PV_PROTOCOL;
        if (pv_slice_is(pv_slice_of(at, (size_t) (equals - at)), "auth")) {
            if (has_auth)
                return PV_PROTOCOL;
            has_auth = true;
            *token = pv_slice_of(equals + 1, (size_t) (stop - equals - 1));
        }
        at = stop + 1;
    }
    return has_auth && at + 1 == end ? PV_OK : PV_PROTOCOL;
}

/* Takes the scheme off; false when it is another one. RFC 6750 2.1, the scheme in any case. */
static bool
take_scheme(struct pv_slice *auth)
{
    static const char scheme[] = "bearer ";
    size_t len = sizeof(scheme) - 1;

    if (auth->len < len)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((auth->data[i] | 0x20) != scheme[i])
            return false;
    while (len < auth->len && auth->data[len] == ' ')
        len++;
    *auth = pv_slice_of(auth->data + len, auth->len - len);
    return true;
}

/* RFC 7628 3.2.2: why, and where tokens are to be had. The client answers with one ^A, and then the login has failed.
 */
static void
answer_failure(struct pv_session *s)
{
    const struct pv_tokens *tokens = s->policy->config.tokens;
    struct pv_buf json = {0};
    struct pv_msg_auth message = {PV_AUTH_SASL_CONTINUE, {NULL, 0}};
    size_t before = pv_buf_len(&s->client_out);
    enum pv_status status = PV_NOMEM;

    pv_buf_put_text(&json, "{\"status\":\"invalid_token\"");
    if (tokens != NULL) {
        const char *issuer = tokens->issuer;

        if (strstr(issuer, WELL_KNOWN) == NULL)
            issuer = pv_error_printf(s->arena, "%s%sopenid-configuration", issuer,
                                     issuer[strlen(issuer) - 1] == '/' ? &WELL_KNOWN[1] : WELL_KNOWN);
        pv_buf_put_text(&json, ",\"openid-configuration\":");
        pv_buf_put_json(&json, pv_slice_cstr(issuer));
        if (tokens->scope != NULL) {
            pv_buf_put_text(&json, ",\"scope\":");
            pv_buf_put_json(&json, pv_slice_cstr(tokens->scope));
        }
    }
    pv_buf_put_text(&json, "}");
    message.data = pv_buf_slice(&json);
    if (pv_buf_ok(&json))
        status = pv_msg_auth_write(&s->client_out, &message);
    pv_buf_clear(&json);
    s->client_total += pv_buf_len(&s->client_out) - before;
    if (status != PV_OK)
        pv_session_fail(s, status);
    else
        s->phase = PV_PHASE_BEARER_FINAL;
}

enum pv_step
pv_bearer_initial(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_msg_sasl_initial initial;
    struct pv_slice token = {NULL, 0};
    const char *why;

    if (pv_msg_sasl_initial_read(frame->body, &initial) != PV_OK ||
        !pv_slice_is(initial.mechanism, PV_BEARER_MECHANISM) || !initial.has_data ||
        read_initial(initial.data, &token) != PV_OK) {
        pv_session_fatal(s, "08P01", "malformed OAUTHBEARER message");
        return PV_STEP_DONE;
    }
    if (token.len == 0)
        why = "the client asked where tokens are to be had";
    else
        why = take_scheme(&token) ? judge_token(s, token) : "the login is of another scheme";
    if (s->phase == PV_PHASE_CLOSED)
        return PV_STEP_DONE;
    if (why == NULL) {
        pv_startup_admit(s);
        return PV_STEP_DONE;
    }
    s->login_refusal = why;
    answer_failure(s);
    return PV_STEP_DONE;
}

/* Whatever the client says now, the login has failed; RFC 7628 wants it to say ^A. */
enum pv_step
pv_bearer_final(struct pv_session *s, const struct pv_frame *frame)
{
    if (frame->body.len != 1 || frame->body.data[0] != KEY_VALUE_SEPARATOR)
        pv_session_fatal(s, "08P01", "malformed OAUTHBEARER message");
    else
        pv_startup_refuse_password(s, s->login_refusal);
    return PV_STEP_DONE;
}
