/*
 * A server connection from inside. server.c: login and life; server_way.c: which of an upstream's servers;
 * server_cancel.c: cancels.
 */
#ifndef PV_SERVER_INT_H
#define PV_SERVER_INT_H

#include "proxy/net/dial.h"
#include "proxy/net/server.h"
#include "proxy/session/backend.h"
#include "proxy/session/side.h"
#include "proxy/wire/message.h"

/* What is said of servers that could not be had. */
#define PV_SERVER_WORDS_SIZE 1024u

/* From one server to the next, until one can be had. */
struct pv_way {
    struct pv_choice *choice;
    const struct pv_candidate *candidate; /* at hand */
    enum pv_session_attrs wanted;         /* of it */
    bool is_probe;                        /* this login only asks for what sessions there have by default */
    char *password;                       /* of that login; NULL: none */
    bool has_failed;                      /* one of them was no mismatch but could not be had */
    struct pv_server_kind kind;
    char words[PV_SERVER_WORDS_SIZE]; /* why those before were of no use */
};

/* As long as it is: thousands of connections hold one. */
struct pv_server_secret {
    size_t len;
    uint8_t bytes[];
};

struct pv_server {
    struct pv_server_thread *thread;
    struct pv_world *world;     /* until open */
    const struct pv_room *room; /* of the world's policy */
    /* For cancels, once open. */
    struct pv_tls_context *tls;
    char *host;
    const struct pv_server_events *events;
    void *context;
    struct pv_lookup_request *request;
    struct pv_way *way; /* until open; NULL: no addresses yet */
    struct pv_dial *dial;
    struct pv_link *link;
    struct pv_backend_login *login; /* while logging in */
    struct pv_task *timeout;
    struct pv_side *side; /* once open */
    struct pv_address address;
    enum pv_session_attrs attrs; /* asked for; once open */
    bool was_standby;
    uint32_t pid;
    struct pv_server_secret *key;      /* for cancels; NULL: it gave none */
    struct pv_server_secret *identity; /* the room's; until it is open */
    char *password; /* until it is logged in; NULL: none */
    bool is_owner; /* logs in as the upstream's own user: conformance */
    bool is_fresh; /* the login was read from the state just now */
    bool is_open;
};

/* ---- server.c ---- */

enum pv_server_failure {
    PV_SERVER_AWAY,
    PV_SERVER_NO_MATCH,
    PV_SERVER_NOT_PROVISIONED,
    PV_SERVER_FULL,
    PV_SERVER_NOMEM
};

/* Ends it: words for its waiter by the kind, `why` to the operational log. */
void pv_server_fail(struct pv_server *server, enum pv_server_failure failure, const char *why);
void pv_server_fail_nomem(struct pv_server *server);
/* Takes the link and logs in there. */
void pv_server_up(struct pv_server *server, struct pv_link *link);
void pv_server_drop_attempt(struct pv_server *server);
void pv_server_goodbye(struct pv_server *server); /* Terminate, and the link is gone */

/* ---- server_way.c ---- */

enum pv_status pv_way_new(struct pv_server *server, const struct pv_lookup_answer *answer) PV_MUST_CHECK;
void pv_way_free(struct pv_server *server); /* if there is one */
/* On to the next one, or to the failure of all. The server may be gone afterwards, as after the two below. */
void pv_way_next(struct pv_server *server);
void pv_way_give_up(struct pv_server *server, enum pv_host_state state, const char *why);
/* The server does not let the probe in. */
void pv_way_skip_probe(struct pv_server *server, const char *why);
/* Logged in: looks at what the server says of itself. False: it was not the one, and the way goes on. */
bool pv_way_is_match(struct pv_server *server) PV_MUST_CHECK;
const struct pv_upstream_host *pv_way_host(const struct pv_server *server); /* the one at hand */
/* Adds why the one at hand is of no use: by its name, unless it is the only one. Gives all that was said. */
const char *pv_way_words(struct pv_server *server, const char *why);

#endif
