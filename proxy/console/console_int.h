/*
 * The page's server from inside. Reading order: console.c (threads, the road of a request), guard.c (how many connections,
 * for how long), web.c (what may come in and how replies look), assets.c (the page's files), logins and enter.c (who comes
 * in), api_log.c, summary.c, api_room.c, api_live.c (what the page asks for).
 *
 * 1. evhttp and its requests are touched on the console's thread alone; the crew's threads see a call's own fields.
 * 2. Without a login nothing is answered but the page's own files and the login.
 * 3. A call sees the rooms that its user audits under the world of that moment, and no other.
 * 4. Every request gets one reply, also when its client has gone: evhttp frees it then.
 */
#ifndef PV_CONSOLE_INT_H
#define PV_CONSOLE_INT_H

#include "proxy/audit/browse.h"
#include "proxy/base/arena.h"
#include "proxy/base/bytes.h"
#include "proxy/console/console.h"
#include "proxy/console/crew.h"
#include "proxy/console/logins.h"
#include "proxy/net/net.h"

#include <event2/http.h>
#include <jansson.h>
#include <pthread.h>

/* Connections at a time; more wait in the kernel's queue. A page opens six. */
#define PV_CONSOLE_CONNECTIONS_MAX 64u
/* From a connection's first byte to its last, the answer included: one request each. */
#define PV_CONSOLE_CONNECTION_MS 15000u
/* A request's first line and headers; its body, which is a login at most. */
#define PV_CONSOLE_HEADERS_MAX 16384
#define PV_CONSOLE_BODY_MAX 8192
/* One reading of the log: a list answers with what it has found by then and can go on, a summary says how far it came. */
#define PV_CONSOLE_READ_MS 4000u
#define PV_CONSOLE_SUMMARY_MS 8000u
/* Rows of a list. */
#define PV_CONSOLE_LIST_MAX 200u
#define PV_CONSOLE_LIST_DEFAULT 50u
/* Longest value of a parameter in the URL. */
#define PV_CONSOLE_VALUE_MAX 1000u

#define PV_CONSOLE_COOKIE "pgveil_console"
/* Under this room stand the auditors' own doings in the log, as those in the database `pgveil` do. */
#define PV_CONSOLE_ROOM "pgveil"
/* The page's own requests carry it, so that no other site's form can be one of them. */
#define PV_CONSOLE_HEADER "X-Pgveil-Console"

struct pv_guard;
struct pv_summaries;

struct pv_console {
    struct pv_loop *loop;
    pthread_t thread;
    bool is_started, is_stopped;
    struct evhttp *http;
    struct pv_guard *guard;
    struct pv_crew *crew;
    struct pv_logins *logins;
    struct pv_summaries *summaries;
    struct pv_net *net;
    struct pv_journal *journal;
    char *state_path;
    const char *version;
    char *host; /* as configured */
    uint16_t port;
    struct pv_slice mock_secret;
    pthread_mutex_t lock;   /* of what follows */
    struct pv_world *world; /* in force */
    struct pv_journal_port *port_of_journal; /* these three are witness.c's */
    pthread_mutex_t witness_lock;
    pthread_cond_t witnessed;
};

/* One request of the API on its way. */
struct pv_call {
    struct pv_errand errand;
    struct pv_console *console;
    struct evhttp_request *request; /* console's thread */
    struct pv_arena *arena;
    struct pv_world *world;
    const char *user; /* who asks; copies, in the arena */
    const char *client;
    const char **rooms; /* that the user audits, by name */
    size_t room_count;
    uint64_t left_ms; /* of the login */
    void (*away)(struct pv_call *call);
    void (*after)(struct pv_call *call); /* on the console's thread, before the reply; NULL: nothing */
    json_t *parameters;                  /* of the URL, or of the body: texts by name */
    void *extra;                         /* the handler's, in the arena */
    /* The reply. */
    int code;
    struct pv_buf body; /* JSON */
    const char *cookie; /* Set-Cookie */
};

/* ---- console.c ---- */
uint64_t pv_console_now_ms(void); /* never goes back */
struct pv_call *pv_call_new(struct pv_console *console, struct evhttp_request *request) PV_MUST_CHECK; /* NULL: out of memory */
void pv_call_send(struct pv_call *call); /* `away` on a thread of the crew, `after` here, then the reply */
const struct pv_policy *pv_call_policy(const struct pv_call *call);
const struct pv_room *pv_call_room(const struct pv_call *call, const char *name); /* NULL: none that they audit */
/* A text of the parameters; NULL: not given, or empty. */
const char *pv_call_text(const struct pv_call *call, const char *name);
/* The reply: a JSON object; it takes the reference. Or an error with words for people. */
void pv_call_json(struct pv_call *call, json_t *object);
void pv_call_error(struct pv_call *call, int code, const char *format, ...) PV_PRINTF(3, 4);
void pv_call_finish(struct pv_call *call); /* replies and frees; console's thread */
/* The names of rooms that this user audits; false: out of memory. */
bool pv_call_take_rooms(struct pv_call *call, const char *user);
/* An event of the query log, under PV_CONSOLE_ROOM. Takes the reference to `detail`. False: the log refuses. */
bool pv_console_event(struct pv_console *console, const char *event, const char *user, const char *client,
                      json_t *detail);
/* The same, and not before it is on disk where the log is strict: for threads of the crew. */
bool pv_console_event_kept(struct pv_console *console, const char *event, const char *user, const char *client,
                           json_t *detail);

/* ---- witness.c ---- */
/* Out of memory: `port_of_journal` is NULL. */
void pv_witness_open(struct pv_console *console);
void pv_witness_close(struct pv_console *console); /* after the journal has closed */
/* Puts a record and waits for it; a thread of the crew. PV_IO: it is not written. */
enum pv_status pv_witness_put(struct pv_console *console, const struct pv_record *record) PV_MUST_CHECK;

/* ---- guard.c ---- */
enum pv_status pv_guard_open(struct pv_loop *loop, struct evhttp *http, const char *host, uint16_t port,
                             struct pv_guard **guard, char *error, size_t error_size) PV_MUST_CHECK;
void pv_guard_close(struct pv_guard *guard); /* after evhttp_free; NULL is fine */

/* ---- web.c ---- */
/* What every reply carries. */
void pv_web_headers(struct evhttp_request *request);
void pv_web_reply(struct evhttp_request *request, int code, const char *type, struct pv_slice body);
void pv_web_error(struct evhttp_request *request, int code, const char *words);
/* True: the request may be looked at. False: it was answered. */
bool pv_web_admit(const struct pv_console *console, struct evhttp_request *request);
bool pv_web_is_same_origin(struct evhttp_request *request);
/* The token of the cookie, empty where there is none; borrows. */
struct pv_slice pv_web_token(struct evhttp_request *request);
/* Texts by name from the query string; NULL with words: it is malformed. */
json_t *pv_web_query(struct evhttp_request *request, const char *const *names, size_t name_count, const char **words);
/* Likewise from a body that is a JSON object of texts. */
json_t *pv_web_body(struct evhttp_request *request, const char *const *names, size_t name_count, const char **words);
/* Whether `host`, with or without a port, is a name of this machine's loopback. */
bool pv_web_is_own_host(const struct pv_console *console, const char *host);

/* ---- assets.c ---- */
struct pv_asset {
    const char *path, *type;
    const uint8_t *start, *end;
};
const struct pv_asset *pv_asset_find(const char *path);

/* ---- enter.c: on the console's thread ---- */
void pv_enter_login(struct pv_console *console, struct evhttp_request *request);
void pv_enter_logout(struct pv_console *console, struct evhttp_request *request);

/* ---- the API, on the crew's threads ---- */
void pv_api_me(struct pv_call *call);
void pv_api_log(struct pv_call *call);
void pv_api_record(struct pv_call *call);
void pv_api_rooms(struct pv_call *call);
void pv_api_summary(struct pv_call *call);
/* On the console's thread: gives the call to the workers. */
void pv_api_sessions(struct pv_call *call);

struct pv_summaries *pv_summaries_new(void) PV_MUST_CHECK;
void pv_summaries_free(struct pv_summaries *summaries);

struct pv_call_rooms {
    const char *const *names;
    size_t count;
};
/* A reader of the log over these rooms; false: the call has its error. */
bool pv_call_reader(struct pv_call *call, const struct pv_call_rooms *rooms, uint64_t timeout_ms,
                    struct pv_log_reader **reader);
/* The room that the parameter `room` names, if they audit it, or all that they audit; false: the call has its error. */
bool pv_call_pick_rooms(struct pv_call *call, struct pv_call_rooms *rooms);
/* Appends what jansson prints. */
bool pv_console_dump(const json_t *value, struct pv_buf *out);
/* A JSON text from bytes that may be no UTF-8. */
json_t *pv_console_text(struct pv_slice bytes);

/* RFC 3339 in UTC; null for 0. */
json_t *pv_console_time(int64_t at_us);

#endif
