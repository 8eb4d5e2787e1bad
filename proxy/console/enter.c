/*
 * Logging in and out. A password comes in clear over loopback and is checked against the user's SCRAM verifier on a thread of the
 * crew; whoever fails learns that it did not work and nothing else, after the same work whoever they said they were.
 */
#include "proxy/console/console_int.h"

#include "proxy/crypto/scram.h"
#include "proxy/net/world.h"

#include <event2/buffer.h>
#include <string.h>

/* What verifiers have where nobody's says otherwise. */
#define ITERATIONS_DEFAULT PV_SCRAM_ITERATIONS_MIN

struct attempt {
    const char *user;
    char *password;
    const char *reason; /* why not, for the log; NULL: in */
    bool is_recorded;   /* that it is in */
};

static const char *const login_names[] = {"user", "password"};

/* ---- The check, on a thread of the crew ---- */

/* The dearest verifier that there is: each login is made to cost as much. */
static uint32_t
iterations_most(const struct pv_policy *policy)
{
    uint32_t most = ITERATIONS_DEFAULT;

    for (size_t i = 0; i < policy->user_count; i++) {
        struct pv_scram_verifier verifier;

        if (policy->users[i].scram != NULL &&
            pv_scram_verifier_parse(pv_slice_cstr(policy->users[i].scram), &verifier) == PV_OK &&
            verifier.iterations > most)
            most = verifier.iterations;
    }
    return most;
}

static enum pv_status
check_password(const struct pv_call *call, const struct pv_user *user, struct pv_slice password)
{
    uint32_t most = iterations_most(pv_call_policy(call));
    struct pv_scram_verifier verifier = {0}, rest = {0};
    const struct attempt *attempt = call->extra;
    enum pv_status status = PV_INVALID, left = PV_OK;

    if (user != NULL && user->scram != NULL)
        status = pv_scram_verifier_parse(pv_slice_cstr(user->scram), &verifier);
    if (status != PV_OK)
        status = pv_scram_verifier_mock(call->console->mock_secret, pv_slice_cstr(attempt->user), most, &verifier);
    if (status == PV_OK)
        status = pv_scram_verifier_check(&verifier, password);
    if (verifier.iterations + PV_SCRAM_ITERATIONS_MIN <= most)
        left = pv_scram_verifier_make(password, most - verifier.iterations,
                                      pv_slice_of(verifier.salt, verifier.salt_len), &rest);
    pv_wipe(&rest, sizeof(rest));
    pv_wipe(&verifier, sizeof(verifier));
    return status == PV_OK && left != PV_OK ? left : status;
}

static void
check(struct pv_call *call)
{
    struct attempt *attempt = call->extra;
    const struct pv_user *user = pv_policy_user(pv_call_policy(call), pv_slice_cstr(attempt->user));
    enum pv_status status = check_password(call, user, pv_slice_cstr(attempt->password));

    pv_wipe(attempt->password, strlen(attempt->password));
    attempt->reason = NULL;
    if (!pv_call_take_rooms(call, attempt->user))
        attempt->reason = "out of memory";
    else if (user == NULL)
        attempt->reason = "no such user";
    else if (user->scram == NULL)
        attempt->reason = "the user has no password";
    else if (status != PV_OK)
        attempt->reason = "wrong password";
    else if (user->is_cert_required)
        attempt->reason = "the user must bring a client certificate, which this page does not take";
    else if (call->room_count == 0)
        attempt->reason = "not an auditor of any room";
    /* No record, no login. */
    attempt->is_recorded = attempt->reason == NULL &&
                           pv_console_event_kept(call->console, "login", attempt->user, call->client,
                                                 json_pack("{s:s}", "application", "pgveil console"));
}

/* ---- The end of it, on the console's thread ---- */

static void
let_in(struct pv_call *call, const struct attempt *attempt)
{
    struct pv_console *console = call->console;
    const struct pv_user *user = pv_policy_user(pv_call_policy(call), pv_slice_cstr(attempt->user));
    char token[PV_LOGIN_TOKEN_SIZE];

    if (!attempt->is_recorded) {
        pv_call_error(call, 503, "the query log cannot be written, so nobody is let in");
        return;
    }
    if (pv_logins_add(console->logins, user, pv_console_now_ms(), token) != PV_OK)
        return;
    call->cookie = pv_arena_printf(call->arena, PV_CONSOLE_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict", token);
    pv_wipe(token, sizeof(token));
    call->left_ms = PV_LOGIN_IDLE_MS;
    pv_api_me(call);
}

static void
end_login(struct pv_call *call)
{
    const struct attempt *attempt = call->extra;

    pv_call_error(call, 503, "out of memory");
    if (attempt->reason == NULL) {
        pv_logins_succeeded(call->console->logins, pv_slice_cstr(attempt->user));
        let_in(call, attempt);
        return;
    }
    (void) pv_console_event(call->console, "login_failed", attempt->user, call->client,
                            json_pack("{s:s,s:s}", "application", "pgveil console", "reason", attempt->reason));
    pv_call_error(call, 401, "wrong name or password, or no auditor of any room");
}

/* ---- The way in ---- */

/* The text lies in memory of jansson's, which does not wipe. */
static void
wipe_text(const json_t *object, const char *name)
{
    const json_t *text = json_object_get(object, name);

    if (text != NULL)
        pv_wipe((void *) (uintptr_t) json_string_value(text), json_string_length(text));
}

static void
wipe_body(struct evhttp_request *request)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(request);
    size_t len = evbuffer_get_length(in);

    if (len > 0 && evbuffer_pullup(in, -1) != NULL)
        pv_wipe(evbuffer_pullup(in, -1), len);
}

/* The attempt, or NULL with words. */
static struct attempt *
read_attempt(struct pv_call *call, const char **words)
{
    json_t *body = pv_web_body(call->request, login_names, PV_COUNT_OF(login_names), words);
    const char *user = json_string_value(json_object_get(body, "user"));
    const char *password = json_string_value(json_object_get(body, "password"));
    struct attempt *attempt = NULL;

    wipe_body(call->request);
    if (body != NULL) {
        *words = "a login needs \"user\" and \"password\", neither empty nor long";
        if (user != NULL && password != NULL && user[0] != '\0' && password[0] != '\0' &&
            strlen(user) <= PV_CONSOLE_VALUE_MAX && strlen(password) <= PV_SCRAM_PASSWORD_BYTES_MAX)
            attempt = pv_arena_alloc(call->arena, sizeof(*attempt));
    }
    if (attempt != NULL) {
        attempt->user = pv_arena_strdup(call->arena, user);
        attempt->password = pv_arena_strdup(call->arena, password);
        attempt->reason = "out of memory";
        if (attempt->user == NULL || attempt->password == NULL)
            attempt = NULL;
    }
    wipe_text(body, "password");
    json_decref(body);
    return attempt;
}

void
pv_enter_login(struct pv_console *console, struct evhttp_request *request)
{
    struct pv_call *call = pv_call_new(console, request);
    const char *words = "out of memory";
    struct attempt *attempt;
    uint64_t wait_ms = 0;
    bool is_first = false;

    if (call == NULL) {
        pv_web_error(request, 503, "out of memory");
        return;
    }
    attempt = read_attempt(call, &words);
    if (attempt == NULL) {
        pv_call_error(call, 400, "%s", words);
        pv_call_finish(call);
        return;
    }
    if (!pv_logins_try(console->logins, pv_slice_cstr(attempt->user), pv_console_now_ms(), &wait_ms, &is_first)) {
        pv_wipe(attempt->password, strlen(attempt->password));
        /* Once a wait: who hammers does not fill the log. */
        if (is_first)
            (void) pv_console_event(console, "login_failed", attempt->user, call->client,
                                    json_pack("{s:s,s:s}", "application", "pgveil console", "reason",
                                              "too many failed logins"));
        (void) evhttp_add_header(evhttp_request_get_output_headers(request), "Retry-After",
                                 pv_arena_printf(call->arena, "%llu", (unsigned long long) (wait_ms / 1000 + 1)));
        pv_call_error(call, 429, "too many failed logins; wait %llu seconds",
                      (unsigned long long) (wait_ms / 1000 + 1));
        pv_call_finish(call);
        return;
    }
    call->extra = attempt;
    call->away = check;
    call->after = end_login;
    pv_call_send(call);
}

void
pv_enter_logout(struct pv_console *console, struct evhttp_request *request)
{
    struct pv_slice token = pv_web_token(request);
    struct pv_call *call = pv_call_new(console, request);
    const struct pv_user *user;

    if (call == NULL) {
        pv_web_error(request, 503, "out of memory");
        return;
    }
    user = pv_logins_find(console->logins, pv_call_policy(call), token, pv_console_now_ms(), true);
    if (user != NULL)
        (void) pv_console_event(console, "logout", user->name, call->client,
                                json_pack("{s:s}", "application", "pgveil console"));
    pv_logins_drop(console->logins, token);
    call->cookie = PV_CONSOLE_COOKIE "=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
    pv_call_json(call, json_object());
    pv_call_finish(call);
}
