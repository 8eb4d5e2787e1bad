#include "proxy/net/server_int.h"

#include "policy/views.h"
#include "proxy/base/bytes.h"
#include "proxy/base/log.h"
#include "proxy/crypto/mac.h"
#include "proxy/crypto/tls.h"
#include "proxy/net/loop.h"

#include <stdio.h>
#include <string.h>

static void
forget_password(struct pv_server *server)
{
    if (server->password != NULL)
        pv_wipe(server->password, strlen(server->password));
    pv_free(server->password);
    server->password = NULL;
}

static struct pv_server_secret *
secret_new(const uint8_t *bytes, size_t len)
{
    struct pv_server_secret *secret = pv_alloc(sizeof(*secret) + len);

    if (secret == NULL)
        return NULL;
    secret->len = len;
    memcpy(secret->bytes, bytes, len);
    return secret;
}

static void
secret_free(struct pv_server_secret *secret)
{
    if (secret != NULL)
        pv_wipe(secret->bytes, secret->len);
    pv_free(secret);
}

/* Of the login at hand; another may follow with the same password. */
void
pv_server_drop_attempt(struct pv_server *server)
{
    pv_link_free(server->link);
    server->link = NULL;
    pv_backend_login_free(server->login);
    server->login = NULL;
    pv_task_free(server->timeout);
    server->timeout = NULL;
}

static void
forget_login(struct pv_server *server)
{
    pv_backend_login_free(server->login);
    server->login = NULL;
    forget_password(server);
    secret_free(server->identity);
    server->identity = NULL;
    pv_task_free(server->timeout);
    server->timeout = NULL;
}

/* Frees it; the link has been dealt with. */
static void
server_free(struct pv_server *server)
{
    forget_login(server);
    pv_lookup_forget(server->request);
    pv_dial_free(server->dial);
    pv_way_free(server);
    secret_free(server->key);
    pv_world_unref(server->world);
    pv_tls_context_unref(server->tls);
    pv_side_free(server->side);
    pv_free(server->host);
    pv_free(server);
}

/* What the client hears of each: SQLSTATE, words before and after the room's name. */
static const struct {
    const char *sqlstate, *before, *after;
} failures[] = {
    [PV_SERVER_AWAY] = {"08006", "could not connect to the database of clean room", ""},
    [PV_SERVER_NO_MATCH] = {"08006", "no server of the database of clean room",
                         " is what target_session_attrs asks for"},
    [PV_SERVER_NOT_PROVISIONED] = {"08006", "clean room", " has not been provisioned; run pgveil provision"},
    [PV_SERVER_FULL] = {"53300", "too many connections to the database of clean room", ""},
    [PV_SERVER_NOMEM] = {"53200", "out of memory in clean room", ""},
};

/* To the client as the table says; to the operational log: why. */
void
pv_server_fail(struct pv_server *server, enum pv_server_failure failure, const char *why)
{
    const struct pv_server_events *events = server->events;
    void *context = server->context;
    char said[256];

    pv_log(PV_LOG_WARNING, "room \"%s\": no connection to upstream \"%s\": %s", server->room->name,
           server->room->upstream->name, why);
    (void) snprintf(said, sizeof(said), "%s \"%s\"%s", failures[failure].before, server->room->name,
                    failures[failure].after);
    pv_link_free(server->link);
    server_free(server);
    events->failed(context, failures[failure].sqlstate, said);
}

void
pv_server_fail_nomem(struct pv_server *server)
{
    pv_server_fail(server, PV_SERVER_NOMEM, "out of memory");
}

/* ---- Login ---- */

/*
 * Pinned settings. Those without a value here get it from the room. A client's own settings come
 * later, as SET of values that the gate allowed.
 */
static const struct {
    const char *name, *value;
} pins[] = {
    {"search_path", NULL},
    {"client_encoding", "UTF8"},
    {"standard_conforming_strings", "on"},
    {"backslash_quote", "off"},
    {"default_transaction_read_only", "on"},
    {"row_security", "on"},
    {"array_nulls", "on"},
    {"transform_null_equals", "off"},
    {"statement_timeout", "0"},
    {"lock_timeout", "0"},
    {"idle_in_transaction_session_timeout", "0"},
    /* A statement whose proxy is gone ends, and gives its locks back. */
    {"client_connection_check_interval", "10s"},
    /* Mask expressions over rows without statistics look dear to the planner, and compiling them took longer than
     * running them; a client may switch it on. */
    {"jit", "off"},
};

static struct pv_backend_login *
make_login(struct pv_server *server)
{
    const char *parameters[2 * PV_COUNT_OF(pins)];
    char role[PV_VIEWS_NAME_SIZE];
    struct pv_buf search_path = {0};
    uint8_t hash[PV_TLS_ENDPOINT_BYTES_MAX];
    size_t hash_len = 0, count = 0;
    const struct pv_tls *tls = pv_link_tls(server->link);
    struct pv_backend_login *login = NULL;
    bool is_probe = server->way->is_probe;

    pv_views_login_role(server->room->name, role);
    pv_views_search_path(server->room, &search_path);
    for (size_t i = 0; i < PV_COUNT_OF(pins); i++) {
        /* Conformance tests want a session as the database gives it; the parser still reads UTF-8 only. And a probe
         * wants to hear what the server says of itself. */
        if ((server->is_owner || is_probe) && strcmp(pins[i].name, "client_encoding") != 0)
            continue;
        parameters[count++] = pins[i].name;
        parameters[count++] = pins[i].value != NULL ? pins[i].value : pv_buf_text(&search_path);
    }
    if (tls != NULL && pv_tls_endpoint_hash(tls, hash, &hash_len) != PV_OK)
        hash_len = 0; /* the certificate allows no channel binding; SCRAM without it */
    if (pv_buf_ok(&search_path)) {
        const struct pv_backend_options options = {
            .user = server->is_owner || is_probe ? server->room->upstream->user : role,
            .dbname = server->room->upstream->dbname,
            .password = is_probe ? server->way->password : server->password,
            .is_tls = tls != NULL,
            .endpoint_hash = pv_slice_of(hash, hash_len),
            .parameters = parameters,
            .parameter_count = count / 2,
        };

        login = pv_backend_login_new(&options);
    }
    pv_buf_clear(&search_path);
    return login;
}

void
pv_server_goodbye(struct pv_server *server)
{
    struct pv_buf terminate = {0};

    if (pv_msg_empty_write(&terminate, PV_CLIENT_TERMINATE) == PV_OK)
        pv_link_gather(server->link, pv_buf_slice(&terminate));
    pv_link_finish(server->link, false);
    server->link = NULL;
    pv_buf_clear(&terminate); /* borrowed until it was sent */
}

/* ---- Logged in ---- */

static void start(struct pv_server *server);

/*
 * Refused. A login from the cache may be an older one than the database's. One that is of no use, a database that is
 * not there and one that is full end the search, as in libpq: of replicas the next one would say the same, or be in
 * need of its places itself. All else is taken for this server's own trouble.
 */
static void
refused(struct pv_server *server, enum pv_status status)
{
    const char *sqlstate = pv_backend_login_sqlstate(server->login);
    const char *why = pv_backend_login_error(server->login);
    bool is_auth = status == PV_AUTH || strncmp(sqlstate, "28", 2) == 0;

    if (is_auth && server->way->is_probe) {
        pv_way_skip_probe(server, why);
    } else if (is_auth && !server->is_fresh && !server->is_owner) {
        pv_server_drop_attempt(server);
        forget_login(server);
        pv_way_free(server);
        server->is_fresh = true;
        start(server);
    } else if (is_auth && !server->is_owner) {
        pv_server_fail(server, PV_SERVER_NOT_PROVISIONED, pv_way_words(server, why));
    } else if (strcmp(sqlstate, "53300") == 0) {
        pv_server_fail(server, PV_SERVER_FULL, pv_way_words(server, why));
    } else if (is_auth || strcmp(sqlstate, "3D000") == 0) {
        pv_server_fail(server, PV_SERVER_AWAY, pv_way_words(server, why));
    } else {
        pv_way_give_up(server, PV_HOST_FAILED, why);
    }
}

static void
logged_in(struct pv_server *server, struct pv_slice rest)
{
    struct pv_backend_login *login = server->login;
    size_t count = pv_backend_parameter_count(login);
    const char **names = pv_calloc(2 * count + 1, sizeof(*names));
    struct pv_slice key = pv_backend_key(login);
    struct pv_server_facts facts = {.pid = pv_backend_pid(login), .parameter_names = names, .parameter_count = count};

    server->host = pv_strdup(pv_way_host(server)->name);
    if (names == NULL || server->host == NULL) {
        pv_free(names);
        pv_server_fail_nomem(server);
        return;
    }
    facts.parameter_values = names + count;
    for (size_t i = 0; i < count; i++) {
        names[i] = pv_backend_parameter_name(login, i);
        names[count + i] = pv_backend_parameter_value(login, i);
    }
    facts.identity_key = pv_slice_of(server->identity->bytes, server->identity->len);
    server->side = pv_side_new(&facts, pv_world_policy(server->world)->config.pool_prepared_max);
    pv_free(names);
    if (key.len > 0 && key.len <= PV_CANCEL_KEY_BYTES_MAX)
        server->key = secret_new(key.data, key.len);
    if (server->side == NULL || (server->key == NULL && key.len > 0 && key.len <= PV_CANCEL_KEY_BYTES_MAX)) {
        pv_server_fail_nomem(server);
        return;
    }
    server->pid = facts.pid;
    server->is_open = true;
    /* The snapshot may be an old one for as long as the session lasts: keep what a cancel needs, and let go of it. */
    server->address = server->way->candidate->address;
    server->attrs = server->room->upstream->session_attrs;
    server->was_standby = server->way->kind.is_standby;
    pv_way_free(server);
    server->tls = pv_world_upstream_tls(server->world, server->room->upstream);
    if (server->tls != NULL)
        server->tls = pv_tls_context_ref(server->tls);
    server->room = NULL;
    pv_world_unref(server->world);
    server->world = NULL;
    forget_login(server);
    pv_side_facts(server->side, false, &facts);
    server->events->open(server->context, server, &facts, rest); /* which may close it */
}

static void
feed(struct pv_server *server, struct pv_slice bytes)
{
    struct pv_buf out = {0};
    size_t consumed = 0;
    enum pv_status status = pv_backend_login_feed(server->login, bytes, &consumed, &out);

    if (status == PV_MORE || status == PV_OK) {
        pv_link_gather(server->link, pv_buf_slice(&out));
        pv_link_flush(server->link);
    }
    pv_buf_wipe(&out);
    if (status == PV_OK && pv_way_is_match(server))
        logged_in(server, pv_slice_of(bytes.data + consumed, bytes.len - consumed));
    else if (status == PV_NOMEM)
        pv_server_fail_nomem(server);
    else if (status != PV_MORE && status != PV_OK)
        refused(server, status);
}

static void
on_bytes(void *context, struct pv_slice bytes)
{
    feed(context, bytes);
}

static void
on_eof(void *context, const char *words)
{
    pv_way_give_up(context, PV_HOST_FAILED, words != NULL ? words : "the server closed the connection during login");
}

static void
on_tls(void *context)
{
    (void) context; /* the dial has done that */
}

static const struct pv_link_events login_events = {.bytes = on_bytes, .eof = on_eof, .tls = on_tls};

static void
on_login_timeout(void *context)
{
    pv_way_give_up(context, PV_HOST_FAILED, "timeout expired during login");
}

void
pv_server_up(struct pv_server *server, struct pv_link *link)
{
    server->link = link;
    pv_link_set_owner(link, &login_events, server);
    server->login = make_login(server);
    server->timeout = pv_loop_once(server->thread->loop, server->room->upstream->connect_timeout_ms, on_login_timeout,
                                   server);
    if (server->login == NULL || server->timeout == NULL)
        pv_server_fail_nomem(server);
    else
        feed(server, pv_slice_of(NULL, 0));
}

static void
on_answer(void *context, struct pv_lookup_answer *answer)
{
    struct pv_server *server = context;

    server->request = NULL;
    if (answer->status == PV_NOTFOUND) {
        pv_server_fail(server, PV_SERVER_NOT_PROVISIONED, "the state holds no login for it");
        return;
    }
    if (answer->status != PV_OK) {
        pv_server_fail(server, PV_SERVER_AWAY, answer->words[0] != '\0' ? answer->words : pv_status_words(answer->status));
        return;
    }
    forget_password(server);
    if (answer->password[0] != '\0' && (server->password = pv_strdup(answer->password)) == NULL) {
        pv_server_fail_nomem(server);
        return;
    }
    secret_free(server->identity);
    server->identity = secret_new(answer->identity, answer->identity_len);
    if (server->identity == NULL) {
        pv_server_fail_nomem(server);
        return;
    }
    if (!answer->was_cached)
        server->is_fresh = true;
    if (pv_way_new(server, answer) == PV_OK)
        pv_way_next(server);
    else
        pv_server_fail_nomem(server);
}

static void
start(struct pv_server *server)
{
    enum pv_status status =
        pv_lookup_start(server->thread->lookup, server->thread->loop, server->room->upstream, server->room->name,
                        server->is_owner, server->is_fresh, on_answer, server, &server->request);

    if (status != PV_OK)
        pv_server_fail_nomem(server);
}

enum pv_status
pv_server_connect(struct pv_server_thread *thread, struct pv_world *world, const struct pv_room *room,
                  const struct pv_server_events *events, void *context, struct pv_server **server)
{
    struct pv_server *connecting = pv_calloc(1, sizeof(*connecting));
    enum pv_status status;

    if (connecting == NULL)
        return PV_NOMEM;
    connecting->thread = thread;
    connecting->world = pv_world_ref(world);
    connecting->room = room;
    connecting->events = events;
    connecting->context = context;
    connecting->is_owner = thread->conformance_room != NULL && strcmp(thread->conformance_room, room->name) == 0;
    status = pv_lookup_start(thread->lookup, thread->loop, room->upstream, room->name, connecting->is_owner, false,
                             on_answer, connecting, &connecting->request);
    if (status != PV_OK) {
        server_free(connecting);
        return status;
    }
    *server = connecting;
    return PV_OK;
}

struct pv_link *
pv_server_link(struct pv_server *server)
{
    return server->is_open ? server->link : NULL;
}

struct pv_side *
pv_server_side(struct pv_server *server)
{
    return server->side;
}

bool
pv_server_is_fit(const struct pv_server *server)
{
    const char *standby = pv_side_reported(server->side, "in_hot_standby");

    if (server->attrs == PV_ATTRS_ANY || server->attrs == PV_ATTRS_PREFER_STANDBY || standby == NULL)
        return true;
    return server->was_standby == (strcmp(standby, "on") == 0);
}

bool
pv_server_is_doubtful(const struct pv_server *server)
{
    return pv_hosts_state(server->thread->hosts, &server->address, server->attrs) == PV_HOST_FAILED;
}

void
pv_server_leave(struct pv_server *server)
{
    pv_link_leave(server->link);
}

enum pv_status
pv_server_join(struct pv_server *server, struct pv_server_thread *thread)
{
    server->thread = thread;
    return pv_link_join(server->link, thread->links);
}

void
pv_server_close(struct pv_server *server, bool is_polite)
{
    if (server == NULL)
        return;
    if (server->link != NULL && server->is_open && is_polite)
        pv_server_goodbye(server);
    else
        pv_link_free(server->link);
    server->link = NULL;
    server_free(server);
}
