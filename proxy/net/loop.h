/*
 * One thread's event loop, with the two things that other threads may do to it: post
 * a message, and stop it. Everything else happens on the thread that runs the loop.
 * Sockets and their events belong to one loop for life.
 */
#ifndef PV_LOOP_H
#define PV_LOOP_H

#include "proxy/base/base.h"

struct event_base;
struct pv_loop;
struct pv_task;

/* Embedded in what is sent. Posting takes it: `deliver` runs on the loop's thread and owns it from then on. */
struct pv_message {
    struct pv_message *next;
    void (*deliver)(struct pv_message *message);
};

struct pv_loop *pv_loop_new(void) PV_MUST_CHECK; /* NULL: out of memory or descriptors */
/* Frees a loop that no thread runs; messages that are still queued are delivered first. NULL is fine. */
void pv_loop_free(struct pv_loop *loop);
/* Delivers what is queued on a loop that no thread runs. */
void pv_loop_deliver(struct pv_loop *loop);
/* Before it runs: called at the end of each turn, when all that was ready has been seen to. */
void pv_loop_after_turn(struct pv_loop *loop, void (*run)(void *context), void *context);
/* Runs until pv_loop_stop. */
void pv_loop_run(struct pv_loop *loop);
/*
 * The loop's thread: a turn ends at `at_us` (CLOCK_MONOTONIC, microseconds) or soon after, where none does before. One
 * time at once, the last that was said. False: out of memory or descriptors.
 */
bool pv_loop_turn_at(struct pv_loop *loop, int64_t at_us) PV_MUST_CHECK;
/* Inside a turn: what else is ready by now. */
void pv_loop_poll(struct pv_loop *loop);

/* Any thread. Messages of one thread arrive in order. Never fails, never waits for the other side. */
void pv_loop_post(struct pv_loop *loop, struct pv_message *message);
/* Any thread: takes effect after the messages before it. */
void pv_loop_stop(struct pv_loop *loop);

/* Calls back every `period_ms`, or once after it. NULL: out of memory. Ends with pv_task_free. */
struct pv_task *pv_loop_every(struct pv_loop *loop, uint64_t period_ms, void (*run)(void *context),
                              void *context) PV_MUST_CHECK;
struct pv_task *pv_loop_once(struct pv_loop *loop, uint64_t delay_ms, void (*run)(void *context),
                             void *context) PV_MUST_CHECK;
/* Calls back on the loop's thread for each delivery of the signal. One loop a process may do this. */
struct pv_task *pv_loop_signal(struct pv_loop *loop, int signal_number, void (*run)(void *context),
                               void *context) PV_MUST_CHECK;
void pv_task_free(struct pv_task *task); /* NULL is fine; may be called from its own callback */

/* For the files that own sockets. */
struct event_base *pv_loop_base(struct pv_loop *loop);

/*
 * Microseconds since 1970-01-01 UTC as they stood when the process first asked, and passing since as a clock does that
 * nobody sets: for spans and deadlines.
 */
int64_t pv_now_us(void);
/* As this thread read it last: within an event of a client or of the pool, when that began. Costs nothing. */
int64_t pv_now_last_us(void);
/* How far the time of day, which may be set, is ahead of `now_us` of that clock. */
int64_t pv_wall_ahead_us(int64_t now_us);

#endif
