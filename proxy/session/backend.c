/*
 * The client's side of a login at a PostgreSQL server. Sources: PostgreSQL
 * documentation, "Start-up" and "SASL Authentication". What a server says before it has
 * proven itself is untrusted text: it is cut, and stripped of control characters.
 */
#include "proxy/session/backend.h"

#include "proxy/base/arena.h"
#include "proxy/crypto/mac.h"
#include "proxy/crypto/scram.h"
#include "proxy/wire/frame.h"
#include "proxy/wire/message.h"

#include <stdio.h>
#include <string.h>

/* ParameterStatus messages of one login; servers send about fifteen. */
#define PARAMETERS_MAX 128u
#define WORDS_SIZE 256u

enum state {
    STATE_START,     /* the packet is to be sent */
    STATE_AUTH,      /* the server says how */
    STATE_CONTINUE,  /* SASLContinue is due */
    STATE_FINAL,     /* SASLFinal is due */
    STATE_OK_DUE,    /* AuthenticationOk is due */
    STATE_READY_DUE, /* parameters, key, ReadyForQuery */
    STATE_DONE,
    STATE_FAILED,
};

struct parameter {
    char *name, *value;
};

struct pv_backend_login {
    struct pv_arena *arena;
    enum state state;
    char *user, *dbname, *password;
    bool is_tls;
    struct pv_slice endpoint_hash;
    struct pv_msg_startup_param *startup;
    size_t startup_count;
    struct pv_scram_client *scram;
    struct parameter parameters[PARAMETERS_MAX];
    size_t parameter_count;
    uint32_t pid;
    struct pv_slice key;
    char words[WORDS_SIZE];
    char sqlstate[6];
};

static char *
copy_optional(struct pv_arena *arena, const char *text, bool *is_lost)
{
    char *copy = text == NULL ? NULL : pv_arena_strdup(arena, text);

    *is_lost = *is_lost || (text != NULL && copy == NULL);
    return copy;
}

static bool
copy_parameters(struct pv_backend_login *login, const struct pv_backend_options *options)
{
    bool is_lost = false;

    login->startup = pv_arena_alloc(login->arena, (options->parameter_count + 2) * sizeof(*login->startup));
    if (login->startup == NULL)
        return false;
    login->startup[0].name = pv_slice_cstr("user");
    login->startup[0].value = pv_slice_cstr(login->user);
    login->startup[1].name = pv_slice_cstr("database");
    login->startup[1].value = pv_slice_cstr(login->dbname);
    login->startup_count = 2;
    for (size_t i = 0; i < options->parameter_count; i++) {
        const char *name = copy_optional(login->arena, options->parameters[2 * i], &is_lost);
        const char *value = copy_optional(login->arena, options->parameters[2 * i + 1], &is_lost);

        if (name == NULL || value == NULL)
            return false;
        login->startup[login->startup_count].name = pv_slice_cstr(name);
        login->startup[login->startup_count++].value = pv_slice_cstr(value);
    }
    return !is_lost;
}

struct pv_backend_login *
pv_backend_login_new(const struct pv_backend_options *options)
{
    struct pv_backend_login *login = pv_calloc(1, sizeof(*login));
    bool is_lost = false;
    char *hash;

    if (login == NULL)
        return NULL;
    login->arena = pv_arena_new(1024);
    if (login->arena == NULL)
        goto failed;
    login->user = copy_optional(login->arena, options->user, &is_lost);
    login->dbname = copy_optional(login->arena, options->dbname, &is_lost);
    login->is_tls = options->is_tls;
    if (options->password != NULL) {
        login->password = pv_strdup(options->password);
        is_lost = is_lost || login->password == NULL;
    }
    hash = pv_arena_strndup(login->arena, (const char *) options->endpoint_hash.data, options->endpoint_hash.len);
    if (is_lost || hash == NULL)
        goto failed;
    login->endpoint_hash = pv_slice_of(hash, options->endpoint_hash.len);
    if (!copy_parameters(login, options))
        goto failed;
    return login;
failed:
    pv_backend_login_free(login);
    return NULL;
}

static void
forget_password(struct pv_backend_login *login)
{
    if (login->password != NULL)
        pv_wipe(login->password, strlen(login->password));
    pv_free(login->password);
    login->password = NULL;
    pv_scram_client_free(login->scram);
    login->scram = NULL;
}

void
pv_backend_login_free(struct pv_backend_login *login)
{
    if (login == NULL)
        return;
    forget_password(login);
    pv_arena_free(login->arena);
    pv_free(login);
}

static enum pv_status
fail(struct pv_backend_login *login, enum pv_status status, const char *words)
{
    login->state = STATE_FAILED;
    if (login->words[0] == '\0')
        (void) snprintf(login->words, sizeof(login->words), "%s", words);
    forget_password(login);
    return status;
}

static enum pv_status
malformed(struct pv_backend_login *login)
{
    return fail(login, PV_PROTOCOL, "the database's answer is malformed");
}

/* Printable ASCII and sound UTF-8 alone: these words may end in a terminal. */
static void
keep_words(struct pv_backend_login *login, struct pv_slice text)
{
    bool is_sound = pv_utf8_valid(text);
    size_t len = 0;

    for (size_t i = 0; i < text.len && len + 1 < sizeof(login->words); i++) {
        uint8_t c = text.data[i];

        login->words[len++] = c < 0x20 || c == 0x7F || (c >= 0x80 && !is_sound) ? '?' : (char) c;
    }
    /* No half a character at the cut. */
    while (len > 0 && len + 1 == sizeof(login->words) && ((uint8_t) login->words[len - 1] & 0x80) != 0)
        len--;
    login->words[len] = '\0';
}

static enum pv_status
take_error(struct pv_backend_login *login, struct pv_slice body)
{
    struct pv_msg_notice notice;
    struct pv_slice code;

    if (pv_msg_notice_read(body, &notice) != PV_OK)
        return malformed(login);
    code = notice.fields[PV_NOTICE_SQLSTATE];
    if (code.data != NULL && code.len == 5) {
        for (size_t i = 0; i < 5; i++)
            login->sqlstate[i] = (code.data[i] >= '0' && code.data[i] <= '9') ||
                                         (code.data[i] >= 'A' && code.data[i] <= 'Z')
                                     ? (char) code.data[i]
                                     : '0';
    }
    if (notice.fields[PV_NOTICE_MESSAGE].data != NULL)
        keep_words(login, notice.fields[PV_NOTICE_MESSAGE]);
    return fail(login, strncmp(login->sqlstate, "28", 2) == 0 ? PV_AUTH : PV_CLOSED,
                "the database refused the connection");
}

/* ---- Authentication ---- */

static enum pv_status
start_scram(struct pv_backend_login *login, const struct pv_msg_auth *auth, struct pv_buf *out)
{
    bool is_plus = login->is_tls && login->endpoint_hash.len > 0 && pv_msg_auth_offers(auth, PV_SCRAM_PLUS_MECHANISM);
    enum pv_scram_binding binding = is_plus         ? PV_SCRAM_BINDING_ENDPOINT
                                    : login->is_tls && login->endpoint_hash.len > 0 ? PV_SCRAM_BINDING_UNOFFERED
                                                                                    : PV_SCRAM_BINDING_NONE;
    struct pv_msg_sasl_initial initial;
    struct pv_buf first = {0};
    enum pv_status status;

    if (login->password == NULL)
        return fail(login, PV_AUTH, "the database asks for a password and none is configured");
    if (!is_plus && !pv_msg_auth_offers(auth, PV_SCRAM_MECHANISM))
        return fail(login, PV_AUTH, "the database offers no SASL mechanism that we know");
    status = pv_scram_client_new(pv_slice_cstr(login->password), binding,
                                 is_plus ? login->endpoint_hash : pv_slice_of(NULL, 0), &login->scram);
    if (status == PV_OK)
        status = pv_scram_client_first(login->scram, &first);
    if (status == PV_OK) {
        initial.mechanism = pv_slice_cstr(pv_scram_client_mechanism(login->scram));
        initial.has_data = true;
        initial.data = pv_buf_slice(&first);
        status = pv_msg_sasl_initial_write(out, &initial);
    }
    pv_buf_wipe(&first);
    if (status != PV_OK)
        return fail(login, status, pv_status_words(status));
    login->state = STATE_CONTINUE;
    return PV_OK;
}

static enum pv_status
continue_scram(struct pv_backend_login *login, struct pv_slice data, struct pv_buf *out)
{
    struct pv_buf final = {0};
    enum pv_status status = pv_scram_client_final(login->scram, data, &final);

    if (status == PV_OK)
        status = pv_msg_bytes_write(out, PV_CLIENT_PASSWORD, pv_buf_slice(&final));
    pv_buf_wipe(&final);
    if (status != PV_OK)
        return fail(login, status, "the database's SCRAM message cannot be taken");
    login->state = STATE_FINAL;
    return PV_OK;
}

/* Which authentication messages each state takes. */
static enum pv_status
take_auth(struct pv_backend_login *login, struct pv_slice body, struct pv_buf *out)
{
    struct pv_msg_auth auth;
    enum pv_status status = pv_msg_auth_read(body, &auth);

    if (status == PV_INVALID)
        return fail(login, PV_AUTH, "the database asks for an authentication method that we do not speak");
    if (status != PV_OK)
        return malformed(login);
    switch (auth.kind) {
    case PV_AUTH_OK:
        /* Without our password having been asked for: trust, peer or certificate. Amid SCRAM it is a forgery. */
        if (login->state != STATE_AUTH && login->state != STATE_OK_DUE)
            return fail(login, PV_AUTH, "the database ended the login before it proved itself");
        forget_password(login);
        login->state = STATE_READY_DUE;
        return PV_OK;
    case PV_AUTH_SASL:
        return login->state == STATE_AUTH ? start_scram(login, &auth, out) : malformed(login);
    case PV_AUTH_SASL_CONTINUE:
        return login->state == STATE_CONTINUE ? continue_scram(login, auth.data, out) : malformed(login);
    case PV_AUTH_SASL_FINAL:
        if (login->state != STATE_FINAL)
            return malformed(login);
        if (pv_scram_client_verify(login->scram, auth.data) != PV_OK)
            return fail(login, PV_AUTH, "the database does not know its side of the password");
        login->state = STATE_OK_DUE;
        return PV_OK;
    case PV_AUTH_CLEARTEXT:
        if (login->state != STATE_AUTH)
            return malformed(login);
        return fail(login, PV_AUTH, "the database asks for the password in clear text; SCRAM-SHA-256 is needed");
    case PV_AUTH_MD5:
        return fail(login, PV_AUTH, "the database asks for an MD5 password; SCRAM-SHA-256 is needed");
    }
    return malformed(login);
}

/* ---- After authentication ---- */

static enum pv_status
take_parameter(struct pv_backend_login *login, struct pv_slice body)
{
    struct pv_msg_parameter_status status;
    struct parameter *parameter = &login->parameters[login->parameter_count];

    if (pv_msg_parameter_status_read(body, &status) != PV_OK || login->parameter_count == PARAMETERS_MAX)
        return malformed(login);
    parameter->name = pv_arena_strndup(login->arena, (const char *) status.name.data, status.name.len);
    parameter->value = pv_arena_strndup(login->arena, (const char *) status.value.data, status.value.len);
    if (parameter->name == NULL || parameter->value == NULL)
        return fail(login, PV_NOMEM, pv_status_words(PV_NOMEM));
    login->parameter_count++;
    return PV_OK;
}

static enum pv_status
take_key(struct pv_backend_login *login, struct pv_slice body)
{
    struct pv_msg_backend_key message;
    char *copy;

    if (pv_msg_backend_key_read(body, &message) != PV_OK)
        return malformed(login);
    copy = pv_arena_strndup(login->arena, (const char *) message.key.data, message.key.len);
    if (copy == NULL)
        return fail(login, PV_NOMEM, pv_status_words(PV_NOMEM));
    login->pid = message.pid;
    login->key = pv_slice_of(copy, message.key.len);
    return PV_OK;
}

static enum pv_status
take_message(struct pv_backend_login *login, const struct pv_frame *frame, struct pv_buf *out)
{
    uint8_t transaction;

    if (frame->tag == PV_SERVER_ERROR_RESPONSE)
        return take_error(login, frame->body);
    if (frame->tag == PV_SERVER_NOTICE_RESPONSE)
        return PV_OK;
    if (login->state != STATE_READY_DUE)
        return frame->tag == PV_SERVER_AUTHENTICATION ? take_auth(login, frame->body, out) : malformed(login);
    switch (frame->tag) {
    case PV_SERVER_PARAMETER_STATUS:
        return take_parameter(login, frame->body);
    case PV_SERVER_BACKEND_KEY_DATA:
        return take_key(login, frame->body);
    case PV_SERVER_READY_FOR_QUERY:
        if (pv_msg_ready_read(frame->body, &transaction) != PV_OK || transaction != 'I')
            return malformed(login);
        login->state = STATE_DONE;
        return PV_OK;
    default: /* we asked for 3.0, so there is nothing to negotiate */
        return malformed(login);
    }
}

enum pv_status
pv_backend_login_feed(struct pv_backend_login *login, struct pv_slice bytes, size_t *consumed, struct pv_buf *out)
{
    size_t used = 0;
    enum pv_status status = PV_OK;

    if (login->state == STATE_START) {
        struct pv_msg_startup startup = {PV_PROTOCOL_3_0, login->startup_count, login->startup};

        status = pv_msg_startup_write(out, &startup);
        if (status != PV_OK)
            return fail(login, status, pv_status_words(status));
        login->state = STATE_AUTH;
    }
    while (status == PV_OK && login->state != STATE_DONE && login->state != STATE_FAILED) {
        struct pv_frame frame;

        status = pv_frame_next(pv_slice_of(bytes.data == NULL ? NULL : bytes.data + used, bytes.len - used),
                               PV_FRAME_BACKEND, 0, &frame);
        if (status == PV_MORE)
            break;
        if (status != PV_OK)
            return malformed(login);
        status = take_message(login, &frame, out);
        used += frame.total_len;
    }
    if (login->state == STATE_FAILED)
        return status == PV_OK || status == PV_MORE ? PV_CLOSED : status;
    *consumed = used;
    return status;
}

const char *
pv_backend_login_error(const struct pv_backend_login *login)
{
    return login->words;
}

const char *
pv_backend_login_sqlstate(const struct pv_backend_login *login)
{
    return login->sqlstate;
}

uint32_t
pv_backend_pid(const struct pv_backend_login *login)
{
    return login->pid;
}

struct pv_slice
pv_backend_key(const struct pv_backend_login *login)
{
    return login->key;
}

size_t
pv_backend_parameter_count(const struct pv_backend_login *login)
{
    return login->parameter_count;
}

const char *
pv_backend_parameter_name(const struct pv_backend_login *login, size_t i)
{
    pv_assert(i < login->parameter_count);
    return login->parameters[i].name;
}

const char *
pv_backend_parameter_value(const struct pv_backend_login *login, size_t i)
{
    pv_assert(i < login->parameter_count);
    return login->parameters[i].value;
}
