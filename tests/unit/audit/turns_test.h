/* A thread that puts as a loop does: a turn's statements, their batch, and what comes of it. */
#ifndef TURNS_TEST_H
#define TURNS_TEST_H

#include "tests/unit/audit/audit_test.h"

#include <pthread.h>
#include <stdatomic.h>

enum { TURN_STATEMENTS = 3 };

struct turner {
    struct pv_journal *journal;
    struct pv_journal_port *port; /* made and held by turner_init */
    _Atomic unsigned notified;
    uint64_t first; /* statement's id */
    unsigned turns;
    unsigned left_every; /* each turn of that number is left to others */
    unsigned helped;     /* turns that it wrote itself */
};

static UNUSED void
count_notified(void *context)
{
    (void) atomic_fetch_add((_Atomic unsigned *) context, 1);
}

static UNUSED void
turner_init(struct turner *turner, struct pv_journal *journal, unsigned thread)
{
    turner->journal = journal;
    turner->first = 1 + 10000u * thread;
    turner->port = pv_journal_port_new(count_notified, &turner->notified);
    assert_non_null(turner->port);
    pv_journal_port_hold(turner->port, thread);
}

/* Begins and ends are awaited in the order of their puts. NULL, or what went wrong. */
static UNUSED void *
turn_all(void *context)
{
    struct turner *turner = context;
    struct pv_journal_done done[2 * TURN_STATEMENTS];
    uint64_t ticket = 0, last = 0;

    for (unsigned turn = 0; turn < turner->turns; turn++) {
        size_t have = 0;

        for (unsigned i = 0; i < TURN_STATEMENTS; i++) {
            uint64_t id = turner->first + turn * TURN_STATEMENTS + i;

            if (put_begin(turner->journal, id, turner->port, NULL, &ticket) != PV_OK ||
                put_end(turner->journal, id, turner->port, NULL, &ticket) != PV_OK)
                return "put";
        }
        if (pv_journal_kick(turner->journal, turner->port, turn % turner->left_every == turner->left_every - 1)) {
            turner->helped++;
            have = pv_journal_port_take(turner->port, done, PV_COUNT_OF(done));
        }
        have += await_done(turner->port, done + have, PV_COUNT_OF(done) - have);
        if (have != PV_COUNT_OF(done))
            return "a ticket did not complete";
        for (size_t i = 0; i < have; i++) {
            if (done[i].status != PV_OK || done[i].ticket <= last)
                return "a ticket failed, or out of its turn";
            last = done[i].ticket;
        }
    }
    return NULL;
}

static UNUSED void
turner_join(pthread_t thread)
{
    void *what = NULL;

    assert_int_equal(pthread_join(thread, &what), 0);
    if (what != NULL)
        fail_msg("%s", (const char *) what);
}

#endif
