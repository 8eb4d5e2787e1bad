#include "proxy/console/metrics.h"

#include "proxy/audit/journal.h"
#include "proxy/base/arena.h"
#include "proxy/net/loop.h"
#include "proxy/net/net.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <inttypes.h>
#include <stdio.h>

/* A scraper sends a line and a few headers. */
#define HEADERS_MAX 8192
#define BODY_MAX 1024
#define TIMEOUT_S 10

struct pv_metrics {
    struct evhttp *http;
    struct pv_net *net;
    struct pv_journal *journal;
};

static const uint64_t latency_bounds_us[] = {
#define PV_X(us) us,
    PV_LATENCY_BUCKETS(PV_X)
#undef PV_X
};

static const uint64_t flush_bounds_us[] = {
#define PV_X(us) us,
    PV_JOURNAL_BUCKETS(PV_X)
#undef PV_X
};

static void
head(struct evbuffer *out, const char *name, const char *type, const char *help)
{
    (void) evbuffer_add_printf(out, "# HELP pgveil_%s %s\n# TYPE pgveil_%s %s\n", name, help, name, type);
}

static void
one(struct evbuffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    head(out, name, type, help);
    (void) evbuffer_add_printf(out, "pgveil_%s %" PRIu64 "\n", name, value);
}

/* `counts` has one more than `bounds`: what lies above them all. */
static void
histogram(struct evbuffer *out, const char *name, const char *help, const uint64_t *bounds, size_t bound_count,
          const uint64_t *counts, uint64_t sum_us)
{
    uint64_t total = 0;

    head(out, name, "histogram", help);
    for (size_t i = 0; i < bound_count; i++) {
        total += counts[i];
        (void) evbuffer_add_printf(out, "pgveil_%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, (double) bounds[i] / 1e6,
                                   total);
    }
    total += counts[bound_count];
    (void) evbuffer_add_printf(out, "pgveil_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, total);
    (void) evbuffer_add_printf(out, "pgveil_%s_sum %.6f\npgveil_%s_count %" PRIu64 "\n", name, (double) sum_us / 1e6,
                               name, total);
}

/* A label's value: backslash, quote and line feed are escaped. */
static void
label(struct evbuffer *out, const char *name, const char *value)
{
    (void) evbuffer_add_printf(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"')
            (void) evbuffer_add_printf(out, "\\%c", *value);
        else if (*value == '\n')
            (void) evbuffer_add_printf(out, "\\n");
        else
            (void) evbuffer_add(out, value, 1);
    }
    (void) evbuffer_add_printf(out, "\"");
}

static void
show_net(struct evbuffer *out, struct pv_counters *sum)
{
    uint64_t latency[PV_LATENCY_BUCKET_COUNT];

#define PV_X(field, name, type, help) \
    if ((name) != NULL) \
        one(out, name, type, help, atomic_load(&sum->field));
    PV_COUNTER_TABLE(PV_X)
#undef PV_X
    head(out, "pool_wait_seconds_total", "counter", "Time that sessions waited for a connection to a database");
    (void) evbuffer_add_printf(out, "pgveil_pool_wait_seconds_total %.6f\n",
                               (double) atomic_load(&sum->pool_wait_us) / 1e6);
    for (size_t i = 0; i < PV_LATENCY_BUCKET_COUNT; i++)
        latency[i] = atomic_load(&sum->latency[i]);
    histogram(out, "statement_duration_seconds", "Time from a statement's arrival to its end", latency_bounds_us,
              PV_COUNT_OF(latency_bounds_us), latency, atomic_load(&sum->latency_sum_us));
    head(out, "statements_total", "counter", "Statements by room, question and decision");
    for (const struct pv_statement_counter *at = sum->statements; at != NULL; at = at->next) {
        (void) evbuffer_add_printf(out, "pgveil_statements_total{");
        label(out, "room", at->room);
        (void) evbuffer_add_printf(out, ",");
        label(out, "question", at->question);
        (void) evbuffer_add_printf(out, ",decision=\"%s\"} %" PRIu64 "\n", at->is_allowed ? "allowed" : "denied",
                                   at->count);
    }
}

static void
show_journal(struct evbuffer *out, const struct pv_journal *journal)
{
    struct pv_journal_stats stats;

    pv_journal_stats(journal, &stats);
    one(out, "audit_queue_depth", "gauge", "Records that wait to be written to the query log", stats.queue_depth);
    one(out, "audit_records_total", "counter", "Records written to the query log", stats.records);
    one(out, "audit_failures_total", "counter", "Transactions of the query log that failed", stats.failures);
    one(out, "audit_dropped_total", "counter", "Records that had no room while the query log was away", stats.dropped);
    one(out, "audit_failed", "gauge", "1 while the query log cannot be written", stats.is_failed ? 1 : 0);
    histogram(out, "audit_flush_seconds", "Time of one transaction of the query log", flush_bounds_us,
              PV_COUNT_OF(flush_bounds_us), stats.flush_buckets, stats.flush_us_sum);
}

static void
on_metrics(struct evhttp_request *request, void *context)
{
    struct pv_metrics *metrics = context;
    struct evbuffer *out = evbuffer_new();
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_counters sum;

    pv_counters_init(&sum);
    if (out == NULL || arena == NULL || pv_net_counters(metrics->net, &sum, arena) != PV_OK) {
        evhttp_send_error(request, HTTP_SERVUNAVAIL, NULL);
    } else {
        show_net(out, &sum);
        show_journal(out, metrics->journal);
        (void) evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                                 "text/plain; version=0.0.4; charset=utf-8");
        evhttp_send_reply(request, HTTP_OK, "OK", out);
    }
    sum.statements = NULL; /* the arena's */
    pv_counters_clear(&sum);
    pv_arena_free(arena);
    if (out != NULL)
        evbuffer_free(out);
}

enum pv_status
pv_metrics_open(struct pv_loop *loop, const struct pv_listen *listen, struct pv_net *net, struct pv_journal *journal,
                struct pv_metrics **metrics, char *error, size_t error_size)
{
    struct pv_metrics *opened;

    if (listen->host == NULL) {
        (void) snprintf(error, error_size, "metrics: a Unix socket is not offered, only HOST:PORT");
        return PV_INVALID;
    }
    opened = pv_calloc(1, sizeof(*opened));
    (void) snprintf(error, error_size, "metrics: out of memory");
    if (opened == NULL)
        return PV_NOMEM;
    opened->net = net;
    opened->journal = journal;
    opened->http = evhttp_new(pv_loop_base(loop));
    if (opened->http == NULL) {
        pv_free(opened);
        return PV_NOMEM;
    }
    evhttp_set_allowed_methods(opened->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(opened->http, HEADERS_MAX);
    evhttp_set_max_body_size(opened->http, BODY_MAX);
    evhttp_set_timeout(opened->http, TIMEOUT_S);
    if (evhttp_set_cb(opened->http, "/metrics", on_metrics, opened) != 0 ||
        evhttp_bind_socket_with_handle(opened->http, listen->host, listen->port) == NULL) {
        (void) snprintf(error, error_size, "metrics: cannot listen on %s:%u", listen->host, listen->port);
        pv_metrics_close(opened);
        return PV_IO;
    }
    *metrics = opened;
    return PV_OK;
}

void
pv_metrics_close(struct pv_metrics *metrics)
{
    if (metrics == NULL)
        return;
    evhttp_free(metrics->http);
    pv_free(metrics);
}
