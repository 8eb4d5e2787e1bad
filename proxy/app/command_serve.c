/*
 * `pgveil serve`: one thread here for signals, reload and metrics, the workers in
 * proxy/net for clients, the console's for its page.
 */
#include "policy/token.h"
#include "proxy/app/commands.h"
#include "proxy/app/governance.h"
#include "proxy/app/notify.h"
#include "proxy/app/serve_int.h"
#include "proxy/audit/journal.h"
#include "proxy/audit/keeper.h"
#include "proxy/audit/store.h"
#include "proxy/base/bytes.h"
#include "proxy/base/limits.h"
#include "proxy/base/log.h"
#include "proxy/console/console.h"
#include "proxy/console/metrics.h"
#include "proxy/crypto/mac.h"
#include "proxy/net/loop.h"
#include "proxy/net/net.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How often snapshots that nobody uses any more are freed. */
#define REAP_MS 1000u
/* How often the state is asked for new approvals and consent: these hold within a second, in every worker. */
#define LOOK_MS 200u
/* The secret behind logins of users who do not exist: kept, so that they look the same after a restart. */
#define MOCK_SCOPE "$pgveil"
#define MOCK_NAME "mock"
#define MOCK_BYTES 32u

static const struct pv_config *
config_of(const struct pv_world *world)
{
    return &pv_world_policy(world)->config;
}

/* ---- Loading ---- */

static void
say_faults(const struct pv_faults *faults)
{
    for (size_t i = 0; i < pv_faults_total(faults); i++) {
        const struct pv_fault *fault = pv_faults_at(faults, i);

        pv_log(fault->is_warning ? PV_LOG_WARNING : PV_LOG_ERROR, "%s:%u:%u: %s", fault->file, fault->line,
               fault->column, fault->message);
    }
}

/* Everything that a world is made of, or faults. Without a store (it is named by the config) no approval is known yet.
 */
static enum pv_status
load_world(const char *config_path, struct pv_store *store, struct pv_faults *faults, struct pv_world **world)
{
    struct pv_policy *policy = NULL;
    struct pv_standing *standing = NULL;
    enum pv_status status = pv_policy_load(config_path, faults, &policy);

    if (status != PV_OK)
        return status;
    if (store != NULL) {
        status = pv_governance_read(store, policy, &standing);
        if (status != PV_OK)
            pv_faults_add(faults, policy->config.state_path, 1, 1, false, "approvals and consent cannot be read: %s",
                          pv_status_words(status));
    }
    if (status == PV_OK)
        status = pv_world_new(policy, standing, faults, world);
    pv_standing_unref(standing);
    pv_policy_unref(policy);
    return status;
}

/* ---- Saying what serves ---- */

static const char *
plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void
say_rooms(const struct pv_policy *policy)
{
    for (size_t i = 0; i < policy->room_count; i++) {
        const struct pv_room *room = &policy->rooms[i];

        pv_log(PV_LOG_INFO, "room \"%s\": %zu data set%s, %zu question%s, upstream %s", room->name, room->dataset_count,
               plural(room->dataset_count), room->question_count, plural(room->question_count), room->upstream->name);
    }
}

/* ---- Conformance ---- */

static bool
may_conform(const struct serve *serve, const struct pv_policy *policy)
{
    const char *room = serve->conformance_room;

    if (room == NULL)
        return true;
    if (pv_policy_room(policy, pv_slice_cstr(room)) == NULL) {
        pv_log(PV_LOG_ERROR, "--conformance: there is no room \"%s\"", room);
        return false;
    }
    for (size_t i = 0; i < policy->config.listen_count; i++)
        if (!pv_listen_is_loopback(&policy->config.listens[i])) {
            pv_log(PV_LOG_ERROR,
                   "--conformance is for tests: every listen must be a loopback address or a Unix socket,"
                   " and %s is not",
                   policy->config.listens[i].host);
            return false;
        }
    pv_log(PV_LOG_WARNING,
           "CONFORMANCE: room \"%s\" ANSWERS EVERY STATEMENT, as the upstream user, with no policy at"
           " all. Never do this with data that matters",
           room);
    return true;
}

/* ---- The log's views ---- */

/* The log's views tell granted from read; that they cannot is no reason not to serve. */
static void
refresh_usage(struct serve *serve)
{
    enum pv_status status = pv_usage_refresh(serve->state_path, pv_world_policy(serve->world));

    if (status != PV_OK)
        pv_log(PV_LOG_WARNING, "the views column_usage and unused_questions show an older policy: %s",
               pv_status_words(status));
}

/* ---- Reload ---- */

static bool
is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
is_same_listen(const struct pv_listen *a, const struct pv_listen *b)
{
    return a == b || (a != NULL && b != NULL && a->port == b->port && is_same_text(a->host, b->host) &&
                      is_same_text(a->unix_dir, b->unix_dir));
}

static bool
is_same_listens(const struct pv_config *a, const struct pv_config *b)
{
    bool is_same = a->listen_count == b->listen_count;

    for (size_t i = 0; is_same && i < a->listen_count; i++)
        is_same = is_same_listen(&a->listens[i], &b->listens[i]);
    return is_same;
}

static void
say_unchangeable(const struct pv_config *now, const struct pv_config *then)
{
    const struct {
        const char *name;
        bool is_same;
    } settings[] = {
        {"listen", is_same_listens(now, then)},
        {"state", is_same_text(now->state_path, then->state_path)},
        {"workers", now->workers == then->workers},
        {"audit.durability", now->durability == then->durability},
        {"audit.write_behind", now->write_behind_ms == then->write_behind_ms},
        {"audit.head_interval", now->head_interval_ms == then->head_interval_ms},
        {"audit.ship",
         is_same_text(now->ship_file, then->ship_file) && is_same_text(now->ship_syslog, then->ship_syslog)},
        {"audit.segment_bytes", now->segment_bytes == then->segment_bytes},
        {"audit.segment_age", now->segment_age_ms == then->segment_age_ms},
        {"audit.retention_bytes", now->retention_bytes == then->retention_bytes},
        {"audit.retention_age", now->retention_age_ms == then->retention_age_ms},
        {"metrics", is_same_listen(now->metrics, then->metrics)},
        {"console", is_same_listen(now->console, then->console)},
    };

    for (size_t i = 0; i < PV_COUNT_OF(settings); i++)
        if (!settings[i].is_same)
            pv_log(PV_LOG_WARNING, "setting \"%s\" has changed in the config; it needs a restart to take effect",
                   settings[i].name);
}

static void
on_hup(void *context)
{
    struct serve *serve = context;
    struct pv_faults *faults = pv_faults_new();
    struct pv_world *world = NULL;
    enum pv_status status;

    if (serve->is_stopping) {
        pv_faults_free(faults);
        return;
    }
    pv_log(PV_LOG_INFO, "reloading %s", serve->config_path);
    pv_notify_reloading();
    status = faults == NULL ? PV_NOMEM : load_world(serve->config_path, serve->store, faults, &world);
    if (status == PV_OK && serve->conformance_room != NULL && !may_conform(serve, pv_world_policy(world)))
        status = PV_INVALID;
    if (status == PV_OK)
        status = pv_net_policy(serve->net, world);
    if (faults != NULL)
        say_faults(faults);
    if (status == PV_OK) {
        say_unchangeable(config_of(serve->world), config_of(world));
        pv_world_unref(serve->world);
        serve->world = world;
        pv_console_world(serve->console, world);
        pv_journal_delay_set(serve->journal, config_of(world)->commit_delay_us, config_of(world)->commit_siblings);
        refresh_usage(serve);
        say_rooms(pv_world_policy(world));
        pv_log(PV_LOG_INFO, "reloaded: generation %llu is in force",
               (unsigned long long) pv_world_policy(world)->generation);
        pv_serve_record_loaded(serve, "reload");
    } else {
        pv_world_unref(world);
        pv_log(PV_LOG_ERROR, "reload failed (%s); what was in force stays in force", pv_status_words(status));
        if (faults != NULL)
            pv_serve_record_faults(serve, faults);
    }
    pv_faults_free(faults);
    pv_notify("READY=1");
}

/* ---- Approvals and consent ---- */

/* Reads them again. What is in force meanwhile stays so when they cannot be read, and the next turn tries again. */
static bool
renew_standing(struct serve *serve, struct pv_world **world)
{
    struct pv_standing *standing = NULL;
    enum pv_status status = pv_governance_read(serve->store, pv_world_policy(serve->world), &standing);

    *world = status == PV_OK ? pv_world_with_standing(serve->world, standing) : NULL;
    pv_standing_unref(standing);
    if (*world == NULL)
        pv_log(PV_LOG_ERROR, "approvals and consent cannot be read: %s",
               pv_status_words(status == PV_OK ? PV_NOMEM : status));
    return *world != NULL;
}

/* The issuer's keys are rotated by their file; one that cannot be loaded is tried once, and again when it changes
 * again. */
static void
look_at_keys(struct serve *serve)
{
    const struct pv_tokens *tokens = config_of(serve->world)->tokens;
    int64_t time_ns = tokens == NULL ? 0 : pv_tokens_file_time(tokens->jwks_path);

    if (time_ns == 0 || time_ns == tokens->jwks_time_ns || time_ns == serve->keys_time_ns)
        return;
    serve->keys_time_ns = time_ns;
    pv_log(PV_LOG_INFO, "the key set %s has changed", tokens->jwks_path);
    on_hup(serve);
}

static void
on_look(void *context)
{
    struct serve *serve = context;
    struct pv_world *world = NULL;
    uint64_t changes = 0;

    look_at_keys(serve);
    /* A state that is busy or away is looked at again; the query log says that it is away, and refuses. */
    if (pv_store_changes(serve->store, &changes) != PV_OK || changes == serve->changes)
        return;
    if (!renew_standing(serve, &world))
        return;
    if (pv_net_policy(serve->net, world) != PV_OK) {
        pv_world_unref(world);
        return;
    }
    pv_world_unref(serve->world);
    serve->world = world;
    pv_console_world(serve->console, world);
    serve->changes = changes;
    pv_log(PV_LOG_INFO, "approvals or consent changed: in force");
}

/* ---- The end ---- */

static void
on_stop(void *context)
{
    struct serve *serve = context;

    if (serve->is_stopping) {
        pv_log(PV_LOG_WARNING, "second signal: ending at once");
        _exit(1);
    }
    pv_log(PV_LOG_INFO, "shutting down: idle clients now, busy ones when their transaction ends");
    pv_notify("STOPPING=1");
    if (pv_net_drain(serve->net, config_of(serve->world)->drain_timeout_ms) != PV_OK) {
        pv_log(PV_LOG_ERROR, "out of memory: ending at once");
        _exit(1);
    }
    serve->is_stopping = true;
}

static void
on_ended(void *context)
{
    struct serve *serve = context;

    pv_loop_stop(serve->loop);
}

static void
on_reap(void *context)
{
    (void) context;
    pv_policy_reap();
}

/* ---- The start ---- */

static bool
parse_options(struct serve *serve, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (!pv_option_take("--conformance", argc, argv, &i, &serve->conformance_room) ||
            serve->conformance_room == NULL) {
            (void) pv_option_refuse("serve", argv[i], strncmp(argv[i], "--conformance", 13) == 0,
                                    "serve [-c FILE] [--conformance ROOM]");
            return false;
        }
    }
    return true;
}

static bool
load_first(struct serve *serve)
{
    struct pv_faults *faults = pv_faults_new();
    enum pv_status status = faults == NULL ? PV_NOMEM : load_world(serve->config_path, NULL, faults, &serve->world);

    if (faults != NULL)
        say_faults(faults);
    pv_faults_free(faults);
    if (status != PV_OK)
        pv_log(PV_LOG_ERROR, "%s cannot be served: %s", serve->config_path, pv_status_words(status));
    return status == PV_OK;
}

static enum pv_status
open_keeper(struct serve *serve, const struct pv_config *config)
{
    const struct pv_keeper_options options = {.path = config->state_path,
                                              .head_interval_ms = config->head_interval_ms,
                                              .file = config->ship_file,
                                              .syslog = config->ship_syslog,
                                              .seal = {.segment_bytes = config->segment_bytes,
                                                       .segment_age_ms = config->segment_age_ms,
                                                       .retention_bytes = config->retention_bytes,
                                                       .retention_age_ms = config->retention_age_ms}};

    refresh_usage(serve);
    return pv_keeper_open(&options, &serve->keeper);
}

static bool
open_state(struct serve *serve)
{
    const struct pv_config *config = config_of(serve->world);
    const struct pv_journal_options options = {.is_serving = true,
                                               .is_relaxed = config->durability == PV_DURABILITY_RELAXED,
                                               .write_behind_ms = (uint32_t) config->write_behind_ms,
                                               .threads = pv_net_workers_of(config),
                                               .delay_us = config->commit_delay_us,
                                               .siblings = config->commit_siblings};
    char error[512] = "";
    enum pv_status status = PV_NOMEM;

    serve->state_path = pv_strdup(config->state_path);
    if (serve->state_path != NULL)
        status = pv_journal_open(config->state_path, &options, &serve->journal, error, sizeof(error));
    if (status == PV_OK)
        status = pv_store_open(config->state_path, &serve->store, error, sizeof(error));
    if (status == PV_OK)
        status = open_keeper(serve, config);
    if (status == PV_OK)
        status = pv_store_secret_ensure(serve->store, MOCK_SCOPE, MOCK_NAME, MOCK_BYTES, false, &serve->mock_secret);
    if (status != PV_OK)
        pv_log(PV_LOG_ERROR, "state %s: %s", config->state_path, error[0] != '\0' ? error : pv_status_words(status));
    return status == PV_OK;
}

/* The count before the reading: what changes in between shows again. */
static bool
take_standing(struct serve *serve)
{
    struct pv_world *world = NULL;

    if (pv_store_changes(serve->store, &serve->changes) != PV_OK) {
        pv_log(PV_LOG_ERROR, "approvals and consent cannot be read");
        return false;
    }
    if (!renew_standing(serve, &world))
        return false;
    pv_world_unref(serve->world);
    serve->world = world;
    return true;
}

static bool
open_net(struct serve *serve)
{
    const struct pv_config *config = config_of(serve->world);
    const struct pv_net_options options = {
        .world = serve->world,
        .journal = serve->journal,
        .store = serve->store,
        .state_path = config->state_path,
        .main = serve->loop,
        .conformance_room = serve->conformance_room,
        .mock_secret = pv_buf_slice(&serve->mock_secret),
        .ended = on_ended,
        .context = serve,
    };
    char error[512] = "";
    enum pv_status status = pv_net_open(&options, &serve->net, error, sizeof(error));

    if (status == PV_OK && config->metrics != NULL)
        status = pv_metrics_open(serve->loop, config->metrics, serve->net, serve->journal, &serve->metrics, error,
                                 sizeof(error));
    if (status != PV_OK)
        pv_log(PV_LOG_ERROR, "%s", error);
    return status == PV_OK;
}

static bool
open_console(struct serve *serve)
{
    const struct pv_config *config = config_of(serve->world);
    const struct pv_console_options options = {
        .listen = config->console,
        .world = serve->world,
        .net = serve->net,
        .journal = serve->journal,
        .state_path = config->state_path,
        .version = PV_VERSION,
        .mock_secret = pv_buf_slice(&serve->mock_secret),
    };
    char error[512] = "";

    if (config->console == NULL || pv_console_open(&options, &serve->console, error, sizeof(error)) == PV_OK)
        return true;
    pv_log(PV_LOG_ERROR, "%s", error);
    return false;
}

static bool
add_task(struct serve *serve, struct pv_task *task)
{
    if (task == NULL) {
        pv_log(PV_LOG_ERROR, "%s", pv_status_words(PV_NOMEM));
        return false;
    }
    pv_assert(serve->task_count < PV_COUNT_OF(serve->tasks));
    serve->tasks[serve->task_count++] = task;
    return true;
}

static bool
add_tasks(struct serve *serve)
{
    return add_task(serve, pv_loop_signal(serve->loop, SIGTERM, on_stop, serve)) &&
           add_task(serve, pv_loop_signal(serve->loop, SIGINT, on_stop, serve)) &&
           add_task(serve, pv_loop_signal(serve->loop, SIGHUP, on_hup, serve)) &&
           add_task(serve, pv_loop_every(serve->loop, REAP_MS, on_reap, serve)) &&
           add_task(serve, pv_loop_every(serve->loop, LOOK_MS, on_look, serve));
}

static bool
open_all(struct serve *serve)
{
    if (!load_first(serve) || !may_conform(serve, pv_world_policy(serve->world)))
        return false;
    pv_serve_warn_of_descriptors(config_of(serve->world));
    if (!open_state(serve) || !take_standing(serve))
        return false;
    serve->loop = pv_loop_new();
    if (serve->loop == NULL) {
        pv_log(PV_LOG_ERROR, "%s", pv_status_words(PV_NOMEM));
        return false;
    }
    return open_net(serve) && open_console(serve) && add_tasks(serve);
}

static void
say_ready(struct serve *serve)
{
    const struct pv_config *config = config_of(serve->world);

    for (size_t i = 0; i < pv_net_listen_count(serve->net); i++)
        pv_log(PV_LOG_INFO, "listening on %s", pv_net_listen_name(serve->net, i));
    if (config->metrics != NULL)
        pv_log(PV_LOG_INFO, "metrics on http://%s:%u/metrics", config->metrics->host, config->metrics->port);
    if (config->console != NULL)
        pv_log(PV_LOG_INFO, strchr(config->console->host, ':') == NULL ? "console on http://%s:%u/" : "console on http://[%s]:%u/",
               config->console->host, config->console->port);
    say_rooms(pv_world_policy(serve->world));
    pv_log(PV_LOG_INFO, "ready: %u worker%s, query log %s, %s", pv_net_worker_count(serve->net),
           plural(pv_net_worker_count(serve->net)), config->state_path,
           config->durability == PV_DURABILITY_STRICT ? "strict" : "relaxed");
}

static void
close_all(struct serve *serve)
{
    /* Sessions first, then the log that they write to, then the ports that the log may still call. */
    if (serve->net != NULL)
        pv_net_join(serve->net);
    pv_metrics_close(serve->metrics);
    pv_console_stop(serve->console);
    pv_journal_close(serve->journal);
    pv_keeper_close(serve->keeper); /* the last records are there to ship and to sign */
    pv_net_free(serve->net);
    pv_console_free(serve->console);
    for (size_t i = 0; i < serve->task_count; i++)
        pv_task_free(serve->tasks[i]);
    pv_loop_free(serve->loop);
    pv_store_close(serve->store);
    pv_buf_wipe(&serve->mock_secret);
    pv_free(serve->state_path);
    pv_world_unref(serve->world);
    pv_policy_reap();
}

int
pv_command_serve(const char *config_path, int argc, char **argv)
{
    struct serve serve = {.config_path = config_path};
    int exit_code = 2;

    if (!parse_options(&serve, argc, argv))
        return 2;
    (void) signal(SIGPIPE, SIG_IGN);
    /* A limit on the size of files is a full disk like any other. */
    (void) signal(SIGXFSZ, SIG_IGN);
    (void) signal(SIGUSR2, SIG_IGN);
    pv_serve_raise_descriptors();
    /* Bursts of records come and go; giving their pages back each time costs more than keeping a few MiB. */
    (void) mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
    pv_log(PV_LOG_INFO, "pgveil %s starting", PV_VERSION);
    if (open_all(&serve)) {
        if (pv_console_start(serve.console) == PV_OK && pv_net_start(serve.net) == PV_OK) {
            say_ready(&serve);
            pv_serve_record_loaded(&serve, "start");
            pv_serve_look_start(&serve);
            pv_notify("READY=1");
            pv_loop_run(serve.loop);
            pv_serve_record_loaded(&serve, "stop");
            exit_code = 0;
        } else {
            pv_log(PV_LOG_ERROR, "cannot start the threads: %s", strerror(errno));
        }
    }
    close_all(&serve);
    if (exit_code == 0)
        pv_log(PV_LOG_INFO, "stopped");
    /* Nothing is left to save, and nobody waits for a database that may be slow to answer. */
    if (pv_serve_is_looking())
        _exit(exit_code);
    return exit_code;
}
