/*
 * What metrics show, counted on each thread by itself and added up when somebody asks.
 */
#ifndef PV_COUNTERS_H
#define PV_COUNTERS_H

#include "proxy/audit/record.h"
#include "proxy/base/arena.h"

#include <stdatomic.h>

/* Upper bounds of the latency histogram, in microseconds; one more bucket holds the rest. */
#define PV_LATENCY_BUCKETS(X) \
    X(500) \
    X(1000) X(2500) X(5000) X(10000) X(25000) X(50000) X(100000) X(250000) X(500000) X(1000000) X(2500000) X(5000000) \
        X(10000000) X(30000000) X(60000000)
#define PV_X(us) +1
enum { PV_LATENCY_BUCKET_COUNT = 1 PV_LATENCY_BUCKETS(PV_X) };
#undef PV_X

/* Columns: field, metric's name after `pgveil_`, type, help. */
#define PV_COUNTER_TABLE(X) \
    X(sessions, "sessions", "gauge", "Client connections now open") \
    X(servers, "server_connections", "gauge", "Connections to databases now open") \
    X(connections, "connections_total", "counter", "Client connections accepted") \
    X(refused, "connections_refused_total", "counter", "Client connections refused because of limits.clients or for want of open files") \
    X(logins, "logins_total", "counter", "Successful logins") \
    X(login_failures, "login_failures_total", "counter", "Failed logins") \
    X(cancels, "cancel_requests_total", "counter", "Cancel requests that named a session") \
    X(cancels_refused, "cancel_requests_refused_total", "counter", \
      "Cancel requests that named none or came too often") \
    X(server_failures, "server_connection_failures_total", "counter", "Connections to databases that failed or broke") \
    X(pool_used, "pool_servers_used", "gauge", "Connections to databases that serve a session now") \
    X(pool_idle, "pool_servers_idle", "gauge", "Connections to databases that wait for a session") \
    X(pool_dialing, "pool_servers_login", "gauge", "Connections to databases that are being opened") \
    X(pool_waiting, "pool_clients_waiting", "gauge", "Sessions that wait for a connection to a database") \
    X(pool_waits, "pool_waits_total", "counter", "Times that a session had to wait for a connection") \
    X(pool_wait_us, NULL, NULL, NULL) \
    X(pool_wait_timeouts, "pool_wait_timeouts_total", "counter", "Waits that pool.query_wait_timeout ended") \
    X(pool_pinned, "pool_sessions_pinned", "gauge", \
      "Sessions that keep their connection between transactions, for what cannot be carried to another") \
    X(pool_pins, "pool_pins_total", "counter", "Times that a session began to keep its connection") \
    X(client_in, "client_received_bytes_total", "counter", "Bytes received from clients") \
    X(server_in, "server_received_bytes_total", "counter", "Bytes received from databases") \
    X(rows, "rows_total", "counter", "Rows that reached clients") \
    X(bytes, "result_bytes_total", "counter", "Bytes of results sent to clients") \
    X(cache_hits, "decision_cache_hits_total", "counter", "Judgements found by the statement's exact text") \
    X(cache_shape_hits, "decision_cache_shape_hits_total", "counter", \
      "Judgements found by the statement's text without its constants") \
    X(cache_misses, "decision_cache_misses_total", "counter", "Statements that were judged afresh") \
    X(cache_entries, "decision_cache_entries", "gauge", "Judgements that are kept") \
    X(prepared, "auto_prepared_total", "counter", "Times that a database prepared a statement that came again") \
    X(repeated, "auto_prepared_uses_total", "counter", "Statements that ran as prepared so (pool.auto_prepare)") \
    X(cache_bytes, "decision_cache_bytes", "gauge", "Memory of the judgements that are kept") \
    X(latency_sum_us, NULL, NULL, NULL)

struct pv_counters {
#define PV_X(field, name, type, help) _Atomic uint64_t field;
    PV_COUNTER_TABLE(PV_X)
#undef PV_X
    _Atomic uint64_t latency[PV_LATENCY_BUCKET_COUNT]; /* not cumulative */
    /* Its own thread puts new ones in front, whole; all but their counts stays as it is. */
    struct pv_statement_counter *_Atomic statements;
};

struct pv_statement_counter {
    struct pv_statement_counter *next;
    char *room, *question; /* question "" where the statement was none */
    bool is_allowed;
    _Atomic uint64_t count;
};

/* One thread writes each of them, any may read. */
static inline void
pv_count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

#define PV_COUNT(counters, field, by) pv_count(&(counters)->field, (by))

void pv_counters_init(struct pv_counters *counters);
void pv_counters_clear(struct pv_counters *counters);
/* Counts what a record tells of statements, logins, rows, bytes and time. */
void pv_counters_record(struct pv_counters *counters, const struct pv_record *record);
/* Adds to `sum`, whose statements are the caller's list in the arena. PV_NOMEM. */
enum pv_status pv_counters_add(struct pv_counters *counters, struct pv_counters *sum,
                               struct pv_arena *arena) PV_MUST_CHECK;

#endif
