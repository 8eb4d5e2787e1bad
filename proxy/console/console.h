/*
 * The page for auditors (docs/console.md): HTTP on a loopback address of its own, on a thread of its own. Who logs in is
 * a user of users.json who holds the role `auditor` in at least one room, and sees those rooms, under the policy in force at each
 * request. The log is read by threads of this folder, each call with a time limit: neither the workers nor the log's writer
 * ever wait for the page.
 */
#ifndef PV_CONSOLE_H
#define PV_CONSOLE_H

#include "policy/policy.h"
#include "proxy/base/base.h"

struct pv_console;
struct pv_journal;
struct pv_net;
struct pv_world;

struct pv_console_options {
    const struct pv_listen *listen; /* borrowed, as all here, until pv_console_free; copied where it says */
    struct pv_world *world;         /* shared */
    struct pv_net *net;
    struct pv_journal *journal;  /* until pv_console_stop */
    const char *state_path;      /* copied */
    const char *version;         /* static; shown on the page */
    struct pv_slice mock_secret; /* for the logins of users who do not exist */
};

/* Listens; serves nobody yet. On failure `error` has the words. */
enum pv_status pv_console_open(const struct pv_console_options *options, struct pv_console **console, char *error,
                               size_t error_size) PV_MUST_CHECK;
/* Starts the threads; before the workers start, whose lists of sessions then wait for them. */
enum pv_status pv_console_start(struct pv_console *console) PV_MUST_CHECK;
/* Another world is in force, from the next request on. Any thread; NULL is fine here and below. */
void pv_console_world(struct pv_console *console, struct pv_world *world);
/* Ends the threads; what is under way is cut off. */
void pv_console_stop(struct pv_console *console);
/* After the net was freed, which may still answer. */
void pv_console_free(struct pv_console *console);

#endif
