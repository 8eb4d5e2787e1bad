/*
 * Which of an upstream's servers a connection goes to. What was found out about an address is remembered for
 * PV_HOSTS_MEMORY_S, for all workers: so a connect does not wait for a dead first host every time, and one that begins
 * to serve (again) is found soon. Nothing is ever left out for it, only put last.
 */
#ifndef PV_HOSTS_H
#define PV_HOSTS_H

#include "policy/policy.h"
#include "proxy/base/base.h"

#include <sys/socket.h>

#define PV_HOSTS_MEMORY_S 30
/* The same; tests cannot wait so long. */
extern int64_t pv_hosts_memory_us;
/* Longest text of an address, as pv_address_print writes it. */
#define PV_ADDRESS_TEXT_SIZE 64u

struct pv_address {
    struct sockaddr_storage storage;
    socklen_t len;
};

/* An address of one of an upstream's hosts. */
struct pv_candidate {
    struct pv_address address;
    unsigned host; /* index among the upstream's */
};

void pv_address_print(const struct pv_address *address, char text[PV_ADDRESS_TEXT_SIZE]); /* without its port; "" for a socket's path */

struct pv_hosts;
struct pv_hosts *pv_hosts_new(void) PV_MUST_CHECK; /* NULL: no memory */
void pv_hosts_free(struct pv_hosts *hosts);        /* NULL is fine */

enum pv_host_state {
    PV_HOST_GOOD,     /* nothing is known against it */
    PV_HOST_MISMATCH, /* it lives and is not what was asked for */
    PV_HOST_FAILED
};

/* All of these from any thread. */
enum pv_host_state pv_hosts_state(struct pv_hosts *hosts, const struct pv_address *address, enum pv_session_attrs attrs);
/* True when something else was known until now. Without memory it is forgotten. */
bool pv_hosts_note(struct pv_hosts *hosts, const struct pv_address *address, enum pv_session_attrs attrs,
                   enum pv_host_state state);
/* Grows with each address that was found dead. */
uint64_t pv_hosts_failures(struct pv_hosts *hosts);
/* Whether its sessions are read-only by default; false: that has to be asked for. */
bool pv_hosts_default(struct pv_hosts *hosts, const struct pv_address *address, bool *is_read_only);
void pv_hosts_note_default(struct pv_hosts *hosts, const struct pv_address *address, bool is_read_only);

/* What a server says of itself when a session begins. */
struct pv_server_kind {
    bool is_known;     /* in_hot_standby was reported: PostgreSQL 14 and later */
    bool is_standby;
    bool is_read_only; /* by default; counts for read-write and read-only alone */
};

/* NULL when it is what was asked for; else why not, in libpq's words. */
const char *pv_hosts_mismatch(enum pv_session_attrs attrs, const struct pv_server_kind *kind);

/* ---- One connection's way through the candidates ---- */

struct pv_choice;

/* Copies the candidates; borrows hosts. NULL: no memory. */
struct pv_choice *pv_choice_new(struct pv_hosts *hosts, const struct pv_upstream *upstream,
                                const struct pv_candidate *candidates, size_t count) PV_MUST_CHECK;
void pv_choice_free(struct pv_choice *choice); /* NULL is fine */
/*
 * The next one to try, and what it has to be; NULL when there is none left. In order those against which nothing is
 * known, then those that did not match, then those that failed; with prefer-standby any of those that did not match
 * serves in the end.
 */
const struct pv_candidate *pv_choice_next(struct pv_choice *choice, enum pv_session_attrs *wanted);
/* How the one at hand came out; true when that is news. */
bool pv_choice_note(struct pv_choice *choice, enum pv_host_state state);
size_t pv_choice_count(const struct pv_choice *choice);

#endif
