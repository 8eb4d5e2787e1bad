/*
 * What Prometheus scrapes: GET /metrics in its text format (exposition format 0.0.4). Names of
 * rooms and questions stand in it, never users, texts or values. Keep it on an address of your own.
 */
#ifndef PV_METRICS_H
#define PV_METRICS_H

#include "policy/policy.h"
#include "proxy/base/base.h"

struct pv_journal;
struct pv_loop;
struct pv_metrics;
struct pv_net;

/* Listens on the loop's thread; borrows net and journal. On failure `error` has the words. */
enum pv_status pv_metrics_open(struct pv_loop *loop, const struct pv_listen *listen, struct pv_net *net,
                               struct pv_journal *journal, struct pv_metrics **metrics, char *error,
                               size_t error_size) PV_MUST_CHECK;
void pv_metrics_close(struct pv_metrics *metrics); /* NULL is fine */

#endif
