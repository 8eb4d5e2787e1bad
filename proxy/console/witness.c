/*
 * Records that a thread of the crew waits for: where the log is strict, what an auditor does is on disk before its
 * answer is made. All that wait share a port; whoever takes a completion from it tells whom it is for.
 */
#include "proxy/console/console_int.h"

#include "proxy/audit/journal.h"

#include <time.h>

/* A wake that came between the look and the wait is made up for after this long. */
#define LOOK_MS 20

struct waiter {
    bool is_done;
    enum pv_status status;
};

static void
wake(void *context)
{
    struct pv_console *console = context;

    (void) pthread_cond_broadcast(&console->witnessed);
}

void
pv_witness_open(struct pv_console *console)
{
    pthread_condattr_t attributes;

    (void) pthread_mutex_init(&console->witness_lock, NULL);
    (void) pthread_condattr_init(&attributes);
    (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&console->witnessed, &attributes);
    (void) pthread_condattr_destroy(&attributes);
    console->port_of_journal = pv_journal_port_new(wake, console);
}

void
pv_witness_close(struct pv_console *console)
{
    pv_journal_port_free(console->port_of_journal);
    (void) pthread_cond_destroy(&console->witnessed);
    (void) pthread_mutex_destroy(&console->witness_lock);
}

static void
take_completions(struct pv_console *console)
{
    struct pv_journal_done done[16];
    size_t count;

    do {
        count = pv_journal_port_take(console->port_of_journal, done, PV_COUNT_OF(done));
        for (size_t i = 0; i < count; i++) {
            struct waiter *waiter = done[i].cookie;

            waiter->status = done[i].status;
            waiter->is_done = true;
        }
        if (count > 0)
            (void) pthread_cond_broadcast(&console->witnessed);
    } while (count == PV_COUNT_OF(done));
}

/* The journal completes every ticket, at the latest as it closes, which is after the crew has ended. */
enum pv_status
pv_witness_put(struct pv_console *console, const struct pv_record *record)
{
    struct waiter waiter = {false, PV_OK};
    uint64_t ticket = 0;
    enum pv_status status = pv_journal_put(console->journal, record, console->port_of_journal, &waiter, &ticket);

    if (status != PV_OK || ticket == 0)
        return status;
    (void) pthread_mutex_lock(&console->witness_lock);
    for (;;) {
        struct timespec until;

        take_completions(console);
        if (waiter.is_done)
            break;
        (void) clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long) LOOK_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void) pthread_cond_timedwait(&console->witnessed, &console->witness_lock, &until);
    }
    (void) pthread_mutex_unlock(&console->witness_lock);
    return waiter.status;
}
