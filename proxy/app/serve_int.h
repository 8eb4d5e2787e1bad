/*
 * `pgveil serve` from inside: command_serve.c starts, reloads and ends it, serve_events.c tells the query log of that,
 * serve_look.c looks at what it stands on.
 */
#ifndef PV_SERVE_INT_H
#define PV_SERVE_INT_H

#include "policy/policy.h"
#include "proxy/base/bytes.h"
#include "proxy/net/loop.h"
#include "proxy/net/world.h"

struct pv_console;
struct pv_journal;
struct pv_keeper;
struct pv_metrics;
struct pv_net;
struct pv_store;

struct serve {
    const char *config_path;
    const char *conformance_room;
    char *state_path; /* as opened: a reload may name another, which is not ours until a restart */
    struct pv_world *world; /* in force */
    struct pv_journal *journal;
    struct pv_keeper *keeper;
    struct pv_store *store;
    struct pv_loop *loop;
    struct pv_net *net;
    struct pv_metrics *metrics;
    struct pv_console *console; /* NULL: off */
    int64_t keys_time_ns; /* of the key set's file when it was last loaded for its change */
    uint64_t changes; /* of the store, as of the standing in force */
    struct pv_task *tasks[8];
    size_t task_count;
    struct pv_buf mock_secret;
    bool is_stopping;
};

/* ---- serve_events.c: into the query log ---- */
void pv_serve_record_loaded(struct serve *serve, const char *name); /* start, reload, stop */
void pv_serve_record_faults(struct serve *serve, const struct pv_faults *faults);

/* ---- serve_look.c ---- */
/* Warns of what the databases let everybody do, on a thread that nobody waits for. */
void pv_serve_look_start(struct serve *serve);
/* It is at work: it uses libraries that the end of the process would clean up under it. */
bool pv_serve_is_looking(void);
void pv_serve_raise_descriptors(void);
void pv_serve_warn_of_descriptors(const struct pv_config *config);

#endif
