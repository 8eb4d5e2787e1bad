/*
 * Threads that do what an event loop must not wait for: reading the log, computing a password's verifier. An errand runs
 * on one of them and then comes home to the loop.
 */
#ifndef PV_CREW_H
#define PV_CREW_H

#include "proxy/net/loop.h"

#include <stdatomic.h>

#define PV_CREW_THREADS 2u
/* Errands that may wait: more means that somebody asks faster than the disk reads. */
#define PV_CREW_QUEUE_MAX 64u

/* Embedded in what is to be done. */
struct pv_errand {
    struct pv_message message;
    struct pv_errand *next;
    void (*run)(struct pv_errand *errand);  /* on a thread of the crew */
    void (*home)(struct pv_errand *errand); /* on the loop's, and owns it from then on */
};

struct pv_crew;
/* Borrows the loop. NULL: out of memory or threads. */
struct pv_crew *pv_crew_new(struct pv_loop *loop) PV_MUST_CHECK;
/* Takes the errand. PV_LIMIT: too many wait, and it is still the caller's. The loop's thread. */
enum pv_status pv_crew_put(struct pv_crew *crew, struct pv_errand *errand) PV_MUST_CHECK;
/* True once the crew is to end: long errands look at it. */
const atomic_bool *pv_crew_cancel(const struct pv_crew *crew);
/* Waits for the threads; every errand was posted home by then. */
void pv_crew_stop(struct pv_crew *crew); /* NULL is fine, here and below */
void pv_crew_free(struct pv_crew *crew);

#endif
