#include "proxy/console/console_int.h"

#include "proxy/audit/journal.h"
#include "proxy/base/log.h"
#include "proxy/net/world.h"

#include <event2/http_struct.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Inactivity of a connection; the guard bounds the whole. */
#define TIMEOUT_S 10

uint64_t
pv_console_now_ms(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000u + (uint64_t) now.tv_nsec / 1000000u;
}

/* ---- Calls ---- */

const struct pv_policy *
pv_call_policy(const struct pv_call *call)
{
    return pv_world_policy(call->world);
}

const struct pv_room *
pv_call_room(const struct pv_call *call, const char *name)
{
    for (size_t i = 0; i < call->room_count; i++)
        if (strcmp(call->rooms[i], name) == 0)
            return pv_policy_room(pv_call_policy(call), pv_slice_cstr(name));
    return NULL;
}

const char *
pv_call_text(const struct pv_call *call, const char *name)
{
    const char *text = json_string_value(json_object_get(call->parameters, name));

    return text == NULL || text[0] == '\0' ? NULL : text;
}

void
pv_call_json(struct pv_call *call, json_t *object)
{
    pv_buf_clear(&call->body);
    call->code = 200;
    if (object == NULL || !pv_console_dump(object, &call->body))
        pv_call_error(call, 503, "out of memory");
    json_decref(object);
}

void
pv_call_error(struct pv_call *call, int code, const char *format, ...)
{
    char words[512];
    va_list arguments;
    json_t *object;

    va_start(arguments, format);
    (void) vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    pv_buf_clear(&call->body);
    call->code = code;
    object = json_pack("{s:s}", "error", words);
    if (object == NULL || !pv_console_dump(object, &call->body))
        pv_buf_clear(&call->body);
    json_decref(object);
}

static void
free_call(struct pv_call *call)
{
    pv_buf_clear(&call->body);
    json_decref(call->parameters);
    pv_world_unref(call->world);
    pv_arena_free(call->arena);
    pv_free(call);
}

void
pv_call_finish(struct pv_call *call)
{
    if (call->cookie != NULL)
        (void) evhttp_add_header(evhttp_request_get_output_headers(call->request), "Set-Cookie", call->cookie);
    pv_web_reply(call->request, call->code, "application/json", pv_buf_slice(&call->body));
    free_call(call);
}

bool
pv_call_take_rooms(struct pv_call *call, const char *user)
{
    const struct pv_policy *policy = pv_call_policy(call);

    call->user = pv_arena_strdup(call->arena, user);
    call->rooms = pv_arena_alloc(call->arena, (policy->room_count + 1) * sizeof(*call->rooms));
    call->room_count = 0;
    if (call->user == NULL || call->rooms == NULL)
        return false;
    for (size_t i = 0; i < policy->room_count; i++) {
        const struct pv_member *member = pv_room_member(&policy->rooms[i], user);

        if (member == NULL || !pv_member_has_role(member, "auditor"))
            continue;
        call->rooms[call->room_count] = pv_arena_strdup(call->arena, policy->rooms[i].name);
        if (call->rooms[call->room_count++] == NULL)
            return false;
    }
    return true;
}

static struct pv_world *
world_of(struct pv_console *console)
{
    struct pv_world *world;

    (void) pthread_mutex_lock(&console->lock);
    world = pv_world_ref(console->world);
    (void) pthread_mutex_unlock(&console->lock);
    return world;
}

static const char *
client_of(struct pv_arena *arena, struct evhttp_request *request)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    char *address = NULL;
    ev_uint16_t port = 0;

    if (connection != NULL)
        evhttp_connection_get_peer(connection, &address, &port);
    return address == NULL ? NULL : pv_arena_printf(arena, "%s:%u", address, (unsigned) port);
}

struct pv_call *
pv_call_new(struct pv_console *console, struct evhttp_request *request)
{
    struct pv_call *call = pv_calloc(1, sizeof(*call));

    if (call == NULL)
        return NULL;
    call->console = console;
    call->request = request;
    call->code = 500;
    call->world = world_of(console);
    call->arena = pv_arena_new(0);
    if (call->arena == NULL) {
        free_call(call);
        return NULL;
    }
    call->client = client_of(call->arena, request);
    return call;
}

static bool
put_event(struct pv_console *console, struct pv_event *happened, json_t *detail, bool is_waiting)
{
    struct pv_buf text = {0};
    const struct pv_record record = {.kind = PV_RECORD_EVENT, .event = happened};
    uint64_t ticket;
    enum pv_status status = PV_NOMEM;

    if (detail != NULL && pv_console_dump(detail, &text) && pv_buf_text(&text) != NULL) {
        happened->detail = pv_buf_text(&text);
        status = is_waiting ? pv_witness_put(console, &record)
                            : pv_journal_put(console->journal, &record, NULL, NULL, &ticket);
    }
    if (status != PV_OK)
        pv_log(PV_LOG_WARNING, "console: event %s: %s", happened->event, pv_status_words(status));
    json_decref(detail);
    pv_buf_clear(&text);
    return status == PV_OK;
}

bool
pv_console_event(struct pv_console *console, const char *event, const char *user, const char *client, json_t *detail)
{
    struct pv_event happened = {.room = PV_CONSOLE_ROOM, .user = user, .client = client, .event = event};

    return put_event(console, &happened, detail, false);
}

bool
pv_console_event_kept(struct pv_console *console, const char *event, const char *user, const char *client,
                      json_t *detail)
{
    struct pv_event happened = {.room = PV_CONSOLE_ROOM, .user = user, .client = client, .event = event};

    return put_event(console, &happened, detail, true);
}

/* ---- Routes ---- */

static const char *const log_names[] = {"room", "user", "question", "decision", "outcome", "code", "column",
                                        "text", "since", "until", "before_seq", "limit"};
static const char *const record_names[] = {"seq"};
static const char *const summary_names[] = {"room", "since", "step"};

static const struct route {
    const char *path;
    const char *const *names;
    size_t name_count;
    void (*away)(struct pv_call *call); /* on the crew's threads */
    void (*here)(struct pv_call *call); /* on this one; it keeps the call */
} routes[] = {
    {"/api/me", NULL, 0, pv_api_me, NULL},
    {"/api/log", log_names, PV_COUNT_OF(log_names), pv_api_log, NULL},
    {"/api/record", record_names, PV_COUNT_OF(record_names), pv_api_record, NULL},
    {"/api/summary", summary_names, PV_COUNT_OF(summary_names), pv_api_summary, NULL},
    {"/api/rooms", NULL, 0, pv_api_rooms, NULL},
    {"/api/sessions", NULL, 0, NULL, pv_api_sessions},
};

static void
run_call(struct pv_errand *errand)
{
    struct pv_call *call = (struct pv_call *) errand;

    call->away(call);
}

static void
end_call(struct pv_errand *errand)
{
    struct pv_call *call = (struct pv_call *) errand;

    if (call->after != NULL)
        call->after(call);
    pv_call_finish(call);
}

void
pv_call_send(struct pv_call *call)
{
    call->errand.run = run_call;
    call->errand.home = end_call;
    if (pv_crew_put(call->console->crew, &call->errand) == PV_OK)
        return;
    pv_call_error(call, 503, "the page is busy; try again in a moment");
    pv_call_finish(call);
}

static void
answer_route(struct pv_console *console, struct evhttp_request *request, const struct route *route)
{
    const char *background = evhttp_find_header(evhttp_request_get_input_headers(request), PV_CONSOLE_HEADER);
    struct pv_slice token = pv_web_token(request);
    struct pv_call *call = pv_call_new(console, request);
    const char *words = "out of memory";
    const struct pv_user *user;
    uint64_t now_ms = pv_console_now_ms();

    if (call == NULL) {
        pv_web_error(request, 503, "out of memory");
        return;
    }
    /* What the page asks for by itself, to stay fresh, keeps nobody logged in. */
    user = pv_logins_find(console->logins, pv_call_policy(call), token, now_ms,
                          background == NULL || strcmp(background, "background") != 0);
    call->parameters = user == NULL ? NULL : pv_web_query(request, route->names, route->name_count, &words);
    call->left_ms = pv_logins_left_ms(console->logins, token, now_ms);
    call->away = route->away;
    if (user == NULL && route->away == pv_api_me) {
        pv_call_json(call, json_pack("{s:n}", "user")); /* the page asks this first, to know whether to ask for a login */
    } else if (user == NULL) {
        pv_call_error(call, 401, "log in first");
    } else if (!pv_call_take_rooms(call, user->name)) {
        pv_call_error(call, 503, "out of memory");
    } else if (call->room_count == 0) {
        pv_logins_drop(console->logins, token);
        pv_call_error(call, 401, "you audit no room any more");
    } else if (call->parameters == NULL) {
        pv_call_error(call, 400, "%s", words);
    } else if (route->here != NULL) {
        route->here(call);
        return;
    } else {
        pv_call_send(call);
        return;
    }
    pv_call_finish(call);
}

static bool
is_method(struct evhttp_request *request, const char *allowed)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    bool is_get = method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD;

    if (allowed[0] == 'G' ? is_get : method == EVHTTP_REQ_POST)
        return true;
    (void) evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", allowed);
    pv_web_error(request, 405, "this address does not take that method");
    return false;
}

static void
answer_api(struct pv_console *console, struct evhttp_request *request, const char *path)
{
    bool is_login = strcmp(path, "/api/login") == 0;

    if (!pv_web_is_same_origin(request)) {
        pv_web_error(request, 403, "only the page itself may ask this");
        return;
    }
    if (is_login || strcmp(path, "/api/logout") == 0) {
        if (!is_method(request, "POST"))
            return;
        if (is_login)
            pv_enter_login(console, request);
        else
            pv_enter_logout(console, request);
        return;
    }
    for (size_t i = 0; i < PV_COUNT_OF(routes); i++) {
        if (strcmp(path, routes[i].path) != 0)
            continue;
        if (is_method(request, "GET, HEAD"))
            answer_route(console, request, &routes[i]);
        return;
    }
    pv_web_error(request, 404, "there is nothing at this address");
}

static void
on_request(struct evhttp_request *request, void *context)
{
    struct pv_console *console = context;
    const struct pv_asset *asset;
    const char *path;

    if (!pv_web_admit(console, request))
        return;
    path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    if (strncmp(path, "/api/", 5) == 0) {
        answer_api(console, request, path);
        return;
    }
    asset = pv_asset_find(path);
    if (asset == NULL)
        pv_web_error(request, 404, "there is nothing at this address");
    else if (is_method(request, "GET, HEAD"))
        pv_web_reply(request, 200, asset->type, pv_slice_of(asset->start, (size_t) (asset->end - asset->start)));
}

/* ---- The server ---- */

static bool
open_parts(struct pv_console *console)
{
    if (console->port_of_journal == NULL)
        return false;
    console->loop = pv_loop_new();
    console->http = console->loop == NULL ? NULL : evhttp_new(pv_loop_base(console->loop));
    console->logins = pv_logins_new();
    console->summaries = pv_summaries_new();
    if (console->http == NULL || console->logins == NULL || console->summaries == NULL)
        return false;
    /* All of them, so that it is us who refuse, with our headers. */
    evhttp_set_allowed_methods(console->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                                  EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
                                                  EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
    evhttp_set_max_headers_size(console->http, PV_CONSOLE_HEADERS_MAX);
    evhttp_set_max_body_size(console->http, PV_CONSOLE_BODY_MAX);
    evhttp_set_timeout(console->http, TIMEOUT_S);
    evhttp_set_gencb(console->http, on_request, console);
    return true;
}

enum pv_status
pv_console_open(const struct pv_console_options *options, struct pv_console **console, char *error, size_t error_size)
{
    struct pv_console *made = pv_calloc(1, sizeof(*made));
    enum pv_status status = PV_NOMEM;

    (void) snprintf(error, error_size, "console: out of memory");
    if (made == NULL)
        return PV_NOMEM;
    (void) pthread_mutex_init(&made->lock, NULL);
    pv_witness_open(made);
    made->world = pv_world_ref(options->world);
    made->net = options->net;
    made->journal = options->journal;
    made->version = options->version;
    made->mock_secret = options->mock_secret;
    made->port = options->listen->port;
    made->host = pv_strdup(options->listen->host == NULL ? "" : options->listen->host);
    made->state_path = pv_strdup(options->state_path);
    if (!pv_listen_is_loopback(options->listen) || options->listen->host == NULL) {
        (void) snprintf(error, error_size, "console: it listens on loopback addresses alone");
        status = PV_INVALID;
    } else if (made->host != NULL && made->state_path != NULL && open_parts(made)) {
        status = pv_guard_open(made->loop, made->http, made->host, made->port, &made->guard, error, error_size);
    }
    if (status != PV_OK) {
        pv_console_free(made);
        return status;
    }
    *console = made;
    return PV_OK;
}

static void *
work(void *context)
{
    struct pv_console *console = context;

    pv_loop_run(console->loop);
    return NULL;
}

enum pv_status
pv_console_start(struct pv_console *console)
{
    sigset_t all, before;

    if (console == NULL)
        return PV_OK;
    console->crew = pv_crew_new(console->loop);
    if (console->crew == NULL)
        return PV_NOMEM;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_BLOCK, &all, &before);
    console->is_started = pthread_create(&console->thread, NULL, work, console) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    return console->is_started ? PV_OK : PV_NOMEM;
}

void
pv_console_world(struct pv_console *console, struct pv_world *world)
{
    struct pv_world *before;

    if (console == NULL)
        return;
    (void) pthread_mutex_lock(&console->lock);
    before = console->world;
    console->world = pv_world_ref(world);
    (void) pthread_mutex_unlock(&console->lock);
    pv_world_unref(before);
}

void
pv_console_stop(struct pv_console *console)
{
    if (console == NULL || console->is_stopped)
        return;
    console->is_stopped = true;
    pv_crew_stop(console->crew);
    if (console->is_started) {
        pv_loop_stop(console->loop);
        (void) pthread_join(console->thread, NULL);
    }
}

void
pv_console_free(struct pv_console *console)
{
    struct pv_loop *loop;

    if (console == NULL)
        return;
    pv_console_stop(console);
    loop = console->loop;
    /* What came home late, of the crew or of the workers, still replies to a request that evhttp holds. */
    if (loop != NULL)
        pv_loop_deliver(loop);
    if (console->http != NULL)
        evhttp_free(console->http);
    pv_guard_close(console->guard);
    pv_loop_free(loop);
    pv_crew_free(console->crew);
    pv_logins_free(console->logins);
    pv_summaries_free(console->summaries);
    pv_world_unref(console->world);
    pv_free(console->host);
    pv_free(console->state_path);
    pv_witness_close(console);
    (void) pthread_mutex_destroy(&console->lock);
    pv_free(console);
}
