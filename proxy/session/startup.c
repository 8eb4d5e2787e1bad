/*
 * The way in: requests before the startup packet, the packet, authentication, the
 * server. Sources: PostgreSQL documentation, "Start-up", "SASL Authentication",
 * "Canceling Requests in Progress", "SSL Session Encryption"; INTERFACE 4. A wrong
 * password, an unknown user and a certificate that does not serve are told apart in the log alone.
 */
#include "proxy/session/side_int.h"

#include "policy/settings.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What a mock exchange shows; real verifiers are made with as many. */
#define MOCK_ITERATIONS 4096u
#define CANCEL_KEY_BYTES_3_0 4u
/* Process ids of sessions that share servers: far from those of real ones, and from the auditors'. */
#define SHARED_PID_BASE 0x50000000u
#define CANCEL_KEY_BYTES_3_2 32u

/* ---- Refusals ---- */

static void
refuse_login(struct pv_session *s, const char *sqlstate, const char *words, const char *reason)
{
    pv_trail_login_failed(s, s->user, s->room_name, reason);
    pv_session_fatal(s, sqlstate, words);
}

void
pv_startup_refuse_password(struct pv_session *s, const char *reason)
{
    refuse_login(s, "28P01",
                 pv_error_printf(s->arena, "password authentication failed for user \"%s\"", s->user), reason);
}

static void
refuse_room(struct pv_session *s, const char *reason)
{
    refuse_login(s, "3D000", pv_error_printf(s->arena, "database \"%s\" does not exist", s->room_name), reason);
}

/* ---- Settings of the packet ---- */

static enum pv_status
put_setting(struct pv_session *s, const char *name, const char *value)
{
    for (size_t i = 0; i < s->setting_count; i++) {
        if (strcasecmp(s->settings[i].name, name) == 0) {
            s->settings[i].value = value;
            return PV_OK;
        }
    }
    if (s->setting_count == s->setting_size) {
        size_t size = s->setting_size == 0 ? 8 : s->setting_size * 2;
        struct pv_startup_setting *grown = pv_realloc(s->settings, size * sizeof(*grown));

        if (grown == NULL)
            return PV_NOMEM;
        s->settings = grown;
        s->setting_size = size;
    }
    s->settings[s->setting_count].name = name;
    s->settings[s->setting_count].value = value;
    s->setting_count++;
    return PV_OK;
}

static enum pv_status
take_setting(struct pv_session *s, const char *name, const char *value)
{
    return put_setting(s, name, value);
}

static char *
copy_slice(struct pv_session *s, struct pv_slice text)
{
    return pv_arena_strndup(s->arena, (const char *) text.data, text.len);
}

/* One word of `options`, backslash escapes resolved (libpq's connect option of that name). */
static const uint8_t *
read_word(const uint8_t *at, const uint8_t *end, char *word)
{
    while (at < end && *at != ' ' && (*at < '\t' || *at > '\r')) {
        if (*at == '\\' && at + 1 < end)
            at++;
        *word++ = (char) *at++;
    }
    *word = '\0';
    return at;
}

static const uint8_t *
skip_space(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || (*at >= '\t' && *at <= '\r')))
        at++;
    return at;
}

/* name=value; dashes in the name of the --name form stand for underscores, as in PostgreSQL. */
static enum pv_status
take_assignment(struct pv_session *s, char *text, bool is_long,
                enum pv_status (*take)(struct pv_session *s, const char *name, const char *value))
{
    char *equals = strchr(text, '=');

    if (equals == NULL || equals == text)
        return PV_INVALID;
    *equals = '\0';
    for (char *c = text; is_long && *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    return take(s, text, equals + 1);
}

enum pv_status
pv_startup_options(struct pv_session *s, struct pv_slice options,
                   enum pv_status (*take)(struct pv_session *s, const char *name, const char *value))
{
    const uint8_t *at = options.data, *end = options.data + options.len;

    while ((at = skip_space(at, end)) < end) {
        char *word = pv_arena_alloc(s->arena, (size_t) (end - at) + 1);
        enum pv_status status;

        if (word == NULL)
            return PV_NOMEM;
        at = read_word(at, end, word);
        if (strncmp(word, "--", 2) == 0) {
            status = take_assignment(s, word + 2, true, take);
        } else if (strcmp(word, "-c") == 0) {
            at = skip_space(at, end);
            if (at == end)
                return PV_INVALID;
            at = read_word(at, end, word);
            status = take_assignment(s, word, false, take);
        } else {
            status = strncmp(word, "-c", 2) == 0 ? take_assignment(s, word + 2, false, take) : PV_INVALID;
        }
        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}

static bool
is_replication(struct pv_slice value)
{
    static const char *const off[] = {"false", "off", "no", "0", "f", "n", ""};

    for (size_t i = 0; i < PV_COUNT_OF(off); i++)
        if (value.len == strlen(off[i]) && strncasecmp((const char *) value.data, off[i], value.len) == 0)
            return false;
    return true;
}

/* What stands in `options` is weaker than the packet's own parameters, wherever it stands: so PostgreSQL has it. */
static enum pv_status
take_options(struct pv_session *s, const struct pv_msg_startup *startup)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < startup->param_count && status == PV_OK; i++)
        if (pv_slice_is(startup->params[i].name, "options"))
            status = pv_startup_options(s, startup->params[i].value, take_setting);
    if (status != PV_INVALID)
        return status;
    pv_session_fatal(s, "42601", "invalid command-line argument in the startup packet's options");
    return PV_DENIED;
}

/* Sorts the packet's parameters, `options` apart; PV_DENIED: refused, and said so. */
static enum pv_status
take_parameters(struct pv_session *s, const struct pv_msg_startup *startup)
{
    for (size_t i = 0; i < startup->param_count; i++) {
        struct pv_slice name = startup->params[i].name, value = startup->params[i].value;
        char *name_copy, *value_copy;
        enum pv_status status;

        if (!pv_utf8_valid(name) || !pv_utf8_valid(value)) {
            pv_session_fatal(s, "22021", "invalid byte sequence for encoding \"UTF8\"");
            return PV_DENIED;
        }
        if (pv_slice_is(name, "user") || pv_slice_is(name, "database") ||
            (name.len >= 5 && memcmp(name.data, "_pq_.", 5) == 0))
            continue;
        if (pv_slice_is(name, "replication")) {
            if (!is_replication(value))
                continue;
            pv_session_fatal(s, "0A000", "replication is not supported by a clean room");
            return PV_DENIED;
        }
        if (pv_slice_is(name, "options"))
            continue;
        name_copy = copy_slice(s, name);
        value_copy = copy_slice(s, value);
        status = name_copy == NULL || value_copy == NULL ? PV_NOMEM : put_setting(s, name_copy, value_copy);
        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}

/* ---- Versions: 3.0 and 3.2; whatever else of major 3 is asked for is answered with the newest below it. ---- */

static enum pv_status
negotiate(struct pv_session *s, const struct pv_msg_startup *startup)
{
    struct pv_slice options[PV_STARTUP_PARAMS_MAX];
    struct pv_msg_negotiate message = {PV_PROTOCOL_3_0, 0, options};
    size_t before = pv_buf_len(&s->client_out);
    enum pv_status status;

    if (startup->version >= PV_PROTOCOL_3_2)
        message.version = PV_PROTOCOL_3_2;
    s->version = message.version;
    for (size_t i = 0; i < startup->param_count && message.option_count < PV_STARTUP_PARAMS_MAX; i++)
        if (startup->params[i].name.len >= 5 && memcmp(startup->params[i].name.data, "_pq_.", 5) == 0)
            options[message.option_count++] = startup->params[i].name;
    if (startup->version == message.version && message.option_count == 0)
        return PV_OK;
    status = pv_msg_negotiate_write(&s->client_out, &message);
    s->client_total += pv_buf_len(&s->client_out) - before;
    return status;
}

/* ---- Authentication ---- */

static void
write_auth(struct pv_session *s, enum pv_msg_auth_kind kind, struct pv_slice data)
{
    struct pv_msg_auth auth = {kind, data};
    size_t before = pv_buf_len(&s->client_out);
    enum pv_status status = pv_msg_auth_write(&s->client_out, &auth);

    s->client_total += pv_buf_len(&s->client_out) - before;
    if (status != PV_OK)
        pv_session_fail(s, status);
}

/* The room that a login names. */
static const struct pv_room *
find_room(struct pv_session *s)
{
    return pv_policy_room(s->policy, pv_slice_cstr(s->room_name));
}

/* Startup settings under the rules of SET; what takes no effect is left out. */
static bool
judge_settings(struct pv_session *s)
{
    const char *path = "public";
    size_t kept = 0;

    for (size_t i = 0; i < s->setting_count; i++) {
        static const char *const default_path[] = {"public"};
        struct pv_decision decision;
        struct pv_caller caller;
        struct pv_names names = {default_path, 1};

        memset(&decision, 0, sizeof(decision));
        pv_gate_caller(s, &caller, names);
        if (s->judge->setting(s->arena, &caller, s->settings[i].name, s->settings[i].value, &decision) != PV_OK) {
            pv_session_fail(s, PV_NOMEM);
            return false;
        }
        if (!decision.is_allowed) {
            pv_session_fatal(s, decision.sqlstate == NULL ? "42501" : decision.sqlstate,
                             decision.message == NULL ? pv_reason_words(PV_REASON_SETTING) : decision.message);
            return false;
        }
        if (decision.value == NULL)
            continue;
        if (decision.setting != NULL && strcmp(decision.setting, "search_path") == 0) {
            path = decision.value;
            continue;
        }
        if (decision.setting != NULL && strcmp(decision.setting, PV_SETTING_END_USER) == 0) {
            s->user_startup = decision.value[0] == '\0' ? NULL : decision.value;
            continue;
        }
        s->settings[kept].name = decision.setting == NULL ? s->settings[i].name : decision.setting;
        s->settings[kept++].value = decision.value;
    }
    s->setting_count = kept;
    return pv_track_init(s, path);
}

static void
log_login(struct pv_session *s)
{
    struct pv_buf buf = {0};
    const char *application = "", *detail;

    for (size_t i = 0; i < s->setting_count; i++)
        if (strcmp(s->settings[i].name, "application_name") == 0)
            application = s->settings[i].value;
    pv_buf_put_text(&buf, "{\"application\":");
    pv_buf_put_json(&buf, pv_slice_cstr(application));
    pv_buf_printf(&buf, ",\"tls\":%s,\"method\":\"%s\"}", s->is_tls ? "true" : "false",
                  s->is_bearer && s->policy->config.tokens->method == PV_TOKEN_PASSWORD ? "token"
                  : s->is_bearer                                                        ? "oauthbearer"
                  : s->scram_mechanism == NULL                 ? "cert"
                  : s->is_cert_proven                         ? "scram-sha-256, cert"
                  : strstr(s->scram_mechanism, "PLUS") != NULL ? "scram-sha-256-plus"
                                                               : "scram-sha-256");
    detail = pv_buf_text(&buf);
    pv_trail_event(s, "login", detail);
    pv_buf_clear(&buf);
}

/* The auditors' database: no room, no server. */
static void
admit_auditor(struct pv_session *s)
{
    enum pv_status status = pv_auditor_new(s);

    if (status == PV_NOTFOUND) {
        refuse_room(s, "not an auditor of any room");
        return;
    }
    if (status != PV_OK) {
        pv_session_fail(s, status);
        return;
    }
    s->is_logged_in = true;
    log_login(s);
    write_auth(s, PV_AUTH_OK, pv_slice_of(NULL, 0));
    if (s->phase != PV_PHASE_CLOSED)
        pv_auditor_start(s);
}

/* The user is who they say; now the room. */
void
pv_startup_admit(struct pv_session *s)
{
    const struct pv_room *room = find_room(s);
    struct pv_person person;

    s->login_user = s->user;
    if (strcmp(s->room_name, PV_AUDIT_DATABASE) == 0) {
        admit_auditor(s);
        return;
    }
    if (room == NULL) {
        refuse_room(s, "no such room");
        return;
    }
    if (!pv_person_find(s, s->policy, room, NULL, &person)) {
        refuse_room(s, "not a member of the room");
        return;
    }
    if (room->has_expiry && pv_session_date_us(s) >= room->expires_us) {
        refuse_room(s, "the room has expired");
        return;
    }
    s->room = room;
    pv_person_take(s, &person);
    s->is_conformance = s->env->conformance_room != NULL && strcmp(s->env->conformance_room, room->name) == 0;
    if (!judge_settings(s))
        return;
    s->is_logged_in = true;
    log_login(s);
    if (s->user_startup != NULL && !pv_person_switch(s, s->user_startup)) {
        pv_session_fail(s, PV_DENIED);
        return;
    }
    write_auth(s, PV_AUTH_OK, pv_slice_of(NULL, 0));
    if (s->phase == PV_PHASE_CLOSED)
        return;
    s->phase = PV_PHASE_SERVER;
    s->host->open_server(s->host_context, room);
}

static void
start_scram(struct pv_session *s, const char *verifier_text)
{
    static const char *const with_plus[] = {PV_SCRAM_PLUS_MECHANISM, PV_SCRAM_MECHANISM};
    struct pv_scram_verifier verifier;
    struct pv_slice binding = s->is_tls ? s->endpoint_hash : pv_slice_of(NULL, 0);
    bool is_plus = binding.len > 0;
    size_t before = pv_buf_len(&s->client_out);
    enum pv_status status = PV_INVALID;

    if (verifier_text != NULL)
        status = pv_scram_verifier_parse(pv_slice_cstr(verifier_text), &verifier);
    if (status != PV_OK) {
        if (s->login_refusal == NULL)
            s->login_refusal = "the user has no password";
        s->is_denied_anyhow = true;
        status = pv_scram_verifier_mock(s->env->mock_secret, pv_slice_cstr(s->user), MOCK_ITERATIONS, &verifier);
    }
    if (status == PV_OK)
        status = pv_scram_server_new(&verifier, binding, &s->scram);
    pv_wipe(&verifier, sizeof(verifier));
    if (status == PV_OK)
        status = pv_msg_auth_sasl_write(&s->client_out, is_plus ? with_plus : with_plus + 1, is_plus ? 2 : 1);
    s->client_total += pv_buf_len(&s->client_out) - before;
    if (status != PV_OK)
        pv_session_fail(s, status);
    else
        s->phase = PV_PHASE_SASL_INITIAL;
}

static void
authenticate(struct pv_session *s)
{
    const struct pv_user *account = pv_policy_user(s->policy, pv_slice_cstr(s->user));

    s->account = account;
    if (pv_bearer_start(s))
        return;
    if (account == NULL) {
        s->login_refusal = "no such user";
        start_scram(s, NULL);
        return;
    }
    s->is_cert_proven = account->cert_cn != NULL && s->cert_cn != NULL && strcmp(account->cert_cn, s->cert_cn) == 0;
    if (s->is_cert_proven && !account->is_scram_required) {
        pv_startup_admit(s);
        return;
    }
    if (!s->is_cert_proven && account->is_cert_required) {
        s->login_refusal = "the client certificate is missing or another's";
        s->is_denied_anyhow = true;
    }
    start_scram(s, account->scram);
}

enum pv_step
pv_startup_sasl_initial(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_msg_sasl_initial initial;
    struct pv_buf answer = {0};
    enum pv_status status = pv_msg_sasl_initial_read(frame->body, &initial);

    if (status == PV_OK)
        status = pv_scram_server_first(s->scram, initial.mechanism, initial.data, &answer);
    if (status == PV_OK) {
        s->scram_mechanism = pv_slice_is(initial.mechanism, PV_SCRAM_PLUS_MECHANISM) ? PV_SCRAM_PLUS_MECHANISM
                                                                                    : PV_SCRAM_MECHANISM;
        write_auth(s, PV_AUTH_SASL_CONTINUE, pv_buf_slice(&answer));
        if (s->phase != PV_PHASE_CLOSED)
            s->phase = PV_PHASE_SASL_FINAL;
    } else if (status == PV_NOMEM) {
        pv_session_fail(s, status);
    } else if (status == PV_AUTH) {
        pv_startup_refuse_password(s, "channel binding was taken out of the offer");
    } else {
        refuse_login(s, "08P01", "malformed SCRAM message", "malformed SCRAM message");
    }
    pv_buf_wipe(&answer);
    return PV_STEP_DONE;
}

enum pv_step
pv_startup_sasl_final(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_buf answer = {0};
    enum pv_status status = pv_scram_server_final(s->scram, frame->body, &answer);

    if (status == PV_PROTOCOL) {
        refuse_login(s, "08P01", "malformed SCRAM message", "malformed SCRAM message");
    } else if (status != PV_OK || s->is_denied_anyhow) {
        pv_startup_refuse_password(s, s->login_refusal == NULL ? "wrong password" : s->login_refusal);
    } else {
        write_auth(s, PV_AUTH_SASL_FINAL, pv_buf_slice(&answer));
        if (s->phase != PV_PHASE_CLOSED)
            pv_startup_admit(s);
    }
    pv_buf_wipe(&answer);
    pv_scram_server_free(s->scram);
    s->scram = NULL;
    return PV_STEP_DONE;
}

/* ---- The packets ---- */

static void
take_startup(struct pv_session *s, struct pv_slice body)
{
    struct pv_msg_startup startup;
    const struct pv_slice *user, *database;
    enum pv_status status = pv_msg_startup_read(body, s->arena, &startup);

    if (status != PV_OK) {
        pv_session_fatal(s, status == PV_NOMEM ? "53200" : "08P01", "invalid startup packet layout");
        return;
    }
    user = pv_msg_startup_get(&startup, "user");
    database = pv_msg_startup_get(&startup, "database");
    if (user == NULL || user->len == 0) {
        pv_session_fatal(s, "28000", "no PostgreSQL user name specified in startup packet");
        return;
    }
    status = take_options(s, &startup);
    if (status == PV_OK)
        status = take_parameters(s, &startup);
    if (status == PV_DENIED)
        return;
    if (status == PV_OK)
        status = negotiate(s, &startup);
    s->user = copy_slice(s, *user);
    s->room_name = copy_slice(s, database == NULL || database->len == 0 ? *user : *database);
    if (status != PV_OK || s->user == NULL || s->room_name == NULL) {
        pv_session_fail(s, status == PV_OK ? PV_NOMEM : status);
        return;
    }
    if (s->policy->config.is_tls_required && !s->is_tls && !s->is_unix_socket) {
        refuse_login(s, "28000", "the connection must use TLS", "no TLS");
        return;
    }
    authenticate(s);
}

/* SSLRequest and GSSENCRequest: each once, one byte in answer, and nothing may follow before it was read. */
static void
take_encryption_request(struct pv_session *s, bool is_ssl, bool is_stuffed)
{
    bool *has_asked = is_ssl ? &s->has_asked_ssl : &s->has_asked_gss;
    bool is_yes = is_ssl && s->env->has_tls && !s->is_unix_socket;

    if (*has_asked || s->is_tls) {
        pv_session_end(s, PV_OUTCOME_LOST);
        return;
    }
    *has_asked = true;
    if (is_stuffed) {
        pv_session_fatal(s, "08P01",
                         is_ssl ? "received unencrypted data after SSL request"
                                : "received unencrypted data after GSSAPI encryption request");
        return;
    }
    if (is_yes) {
        s->phase = PV_PHASE_TLS;
        s->host->to_client(s->host_context, pv_slice_of("S", 1));
        s->host->start_tls(s->host_context);
        return;
    }
    pv_session_append_client(s, "N", 1);
}

void
pv_startup_packet(struct pv_session *s, struct pv_slice body, size_t total_len)
{
    enum pv_msg_startup_kind kind;
    struct pv_msg_cancel cancel;
    uint32_t code;
    bool is_stuffed = pv_buf_len(&s->client_in) > total_len;

    if (pv_msg_startup_kind_read(body, &kind, &code) != PV_OK) {
        pv_session_end(s, PV_OUTCOME_LOST);
        return;
    }
    switch (kind) {
    case PV_STARTUP_SESSION:
        take_startup(s, body);
        break;
    case PV_STARTUP_SSL:
    case PV_STARTUP_GSSENC:
        take_encryption_request(s, kind == PV_STARTUP_SSL, is_stuffed);
        break;
    case PV_STARTUP_CANCEL:
        if (pv_msg_cancel_read(body, &cancel) == PV_OK)
            s->host->cancel_request(s->host_context, cancel.pid, cancel.key);
        pv_session_end(s, PV_OUTCOME_LOST);
        break;
    case PV_STARTUP_UNSUPPORTED:
        pv_session_fatal(s, "0A000",
                         pv_error_printf(s->arena, "unsupported frontend protocol %u.%u: server supports 3.0 to 3.2",
                                         (unsigned) (code >> 16), (unsigned) (code & 0xFFFF)));
        break;
    }
}

/* ---- The server ---- */

void
pv_startup_server_open(struct pv_session *s, const struct pv_server_facts *facts)
{
    struct pv_request *r;
    struct pv_buf sql = {0};
    enum pv_status status = PV_NOMEM;

    s->server_pid = facts->pid;
    pv_texts_unref(s->reported);
    s->reported = facts->home != NULL ? pv_texts_ref(facts->home->reported) : pv_reported_of(facts);
    if (s->reported == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    s->phase = PV_PHASE_SETUP;
    if (facts->side != NULL) {
        s->is_pooled = true;
        s->server_pid = SHARED_PID_BASE + (uint32_t) (s->id & 0x0fffffffu);
        pv_lease_open(s, facts);
        return;
    }
    s->home = s->is_conformance ? NULL : facts->home;
    pv_buf_put_slice(&s->identity_key, facts->identity_key);
    if (facts->identity_key.len > 0) {
        status = pv_identity_sql(s->room, s->user, s->account->attributes, s->account->attribute_count, facts->pid,
                                 facts->identity_key, &s->identity_sql);
    } else if (s->is_conformance) /* a conformance room has no views, so nobody reads who asks */
        status = PV_OK;
    else
        status = PV_INVALID;
    pv_gate_setup_sql(s, NULL, &sql);
    r = status == PV_OK ? pv_request_new(s, PV_REQUEST_QUERY) : NULL;
    if (r == NULL) {
        pv_buf_wipe(&sql);
        if (s->phase != PV_PHASE_CLOSED)
            pv_session_fail(s, status);
        return;
    }
    r->is_internal = r->is_setup = true;
    status = pv_buf_ok(&sql) ? pv_msg_text_write(&r->bytes, PV_CLIENT_QUERY, pv_buf_slice(&sql)) : PV_NOMEM;
    if (status == PV_OK) {
        pv_request_push(s, r);
    } else {
        pv_request_free(r);
        pv_session_fail(s, status);
    }
    pv_buf_wipe(&sql);
}

void
pv_startup_finish(struct pv_session *s)
{
    uint8_t key[CANCEL_KEY_BYTES_3_2];
    struct pv_msg_backend_key message = {
        s->server_pid, {key, s->version >= PV_PROTOCOL_3_2 ? CANCEL_KEY_BYTES_3_2 : CANCEL_KEY_BYTES_3_0}};
    size_t before = pv_buf_len(&s->client_out);
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < PV_REPORTED_COUNT && status == PV_OK; i++) {
        const char *name = pv_reported_names[i], *value = pv_texts_at(s->reported, i);
        struct pv_msg_parameter_status parameter;

        /* The server's own are of the room's role. */
        if (strcmp(name, "session_authorization") == 0)
            value = s->user;
        else if (strcmp(name, "is_superuser") == 0)
            value = "off";
        if (value == NULL)
            continue;
        parameter.name = pv_slice_cstr(name);
        parameter.value = pv_slice_cstr(value);
        status = pv_msg_parameter_status_write(&s->client_out, &parameter);
    }
    s->host->random(s->host_context, key, message.key.len);
    s->host->register_key(s->host_context, message.pid, message.key);
    if (status == PV_OK)
        status = pv_msg_backend_key_write(&s->client_out, &message);
    if (status == PV_OK)
        status = pv_msg_ready_write(&s->client_out, 'I');
    pv_wipe(key, sizeof(key));
    s->client_total += pv_buf_len(&s->client_out) - before;
    s->phase = PV_PHASE_READY;
    s->active_us = s->now_us;
    pv_session_login_done(s);
    if (status != PV_OK)
        pv_session_fail(s, status);
}
