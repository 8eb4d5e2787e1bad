/*
 * The operational log: one line an event on standard error, as
 * `2026-01-31 12:00:00.123 UTC [PID] LEVEL: words`. Never holds secrets, parameters
 * or query text; those belong to the query log. Thread-safe: one write a line.
 */
#ifndef PV_LOG_H
#define PV_LOG_H

#include "proxy/base/base.h"

enum pv_log_level { PV_LOG_DEBUG, PV_LOG_INFO, PV_LOG_WARNING, PV_LOG_ERROR };

void pv_log_level_set(enum pv_log_level least);
void pv_log(enum pv_log_level level, const char *format, ...) PV_PRINTF(2, 3);

#endif
