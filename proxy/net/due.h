/*
 * When the clients of one thread are to be looked at: one timer for all of them, and 16 bytes in each.
 */
#ifndef PV_DUE_H
#define PV_DUE_H

#include "proxy/net/loop.h"

/* In whatever is due; pv_due_init makes it wait for nothing. Stays where it is while it waits. */
struct pv_due {
    int64_t at_us;  /* pv_now_us; INT64_MAX: it does not wait */
    uint32_t place; /* in the heap */
};

struct pv_dues;

/* `fire`: its time has come; it waits for nothing any more, may be set again and may be freed. NULL: no memory. */
struct pv_dues *pv_dues_new(struct pv_loop *loop, void (*fire)(struct pv_due *due)) PV_MUST_CHECK;
void pv_dues_free(struct pv_dues *dues); /* nothing waits; NULL is fine */

static inline void
pv_due_init(struct pv_due *due)
{
    due->at_us = INT64_MAX;
}

/* At that time in place of the one before, if any. PV_NOMEM: as before. */
enum pv_status pv_due_set(struct pv_dues *dues, struct pv_due *due, int64_t at_us) PV_MUST_CHECK;
void pv_due_clear(struct pv_dues *dues, struct pv_due *due); /* it may not wait */

#endif
