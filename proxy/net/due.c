/*
 * A binary heap by time.
 *  1. heap[i]->place is i; heap[0] is the earliest.
 *  2. The timer fires at that one's time or before: it is set when something earlier comes, and looks again when it fires.
 */
#include "proxy/net/due.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#define FIRST_SIZE 64u

struct pv_dues {
    struct event timer;
    void (*fire)(struct pv_due *due);
    struct pv_due **heap;
    size_t count, size;
    int64_t timer_us; /* INT64_MAX: not set */
};

static void
put(struct pv_dues *dues, size_t place, struct pv_due *due)
{
    dues->heap[place] = due;
    due->place = (uint32_t) place; /* grow keeps `size` below */
}

static void
sift_up(struct pv_dues *dues, size_t place, struct pv_due *due)
{
    while (place > 0 && dues->heap[(place - 1) / 2]->at_us > due->at_us) {
        put(dues, place, dues->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(dues, place, due);
}

static void
sift_down(struct pv_dues *dues, size_t place, struct pv_due *due)
{
    for (;;) {
        size_t child = 2 * place + 1;

        if (child + 1 < dues->count && dues->heap[child + 1]->at_us < dues->heap[child]->at_us)
            child++;
        if (child >= dues->count || dues->heap[child]->at_us >= due->at_us)
            break;
        put(dues, place, dues->heap[child]);
        place = child;
    }
    put(dues, place, due);
}

static void
settle(struct pv_dues *dues, size_t place, struct pv_due *due)
{
    if (place > 0 && dues->heap[(place - 1) / 2]->at_us > due->at_us)
        sift_up(dues, place, due);
    else
        sift_down(dues, place, due);
}

static void
set_timer(struct pv_dues *dues)
{
    int64_t wait_us;
    struct timeval wait;

    if (dues->count == 0 || dues->heap[0]->at_us >= dues->timer_us)
        return;
    wait_us = dues->heap[0]->at_us - pv_now_us();
    if (wait_us < 0)
        wait_us = 0;
    wait.tv_sec = (time_t) (wait_us / 1000000);
    wait.tv_usec = (suseconds_t) (wait_us % 1000000);
    if (event_add(&dues->timer, &wait) == 0)
        dues->timer_us = dues->heap[0]->at_us;
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
    struct pv_dues *dues = context;
    int64_t now_us = pv_now_us();

    (void) fd;
    (void) what;
    dues->timer_us = INT64_MAX;
    while (dues->count > 0 && dues->heap[0]->at_us <= now_us) {
        struct pv_due *due = dues->heap[0];

        pv_due_clear(dues, due);
        dues->fire(due);
    }
    set_timer(dues);
}

struct pv_dues *
pv_dues_new(struct pv_loop *loop, void (*fire)(struct pv_due *due))
{
    struct pv_dues *dues = pv_calloc(1, sizeof(*dues));

    if (dues == NULL)
        return NULL;
    dues->fire = fire;
    dues->timer_us = INT64_MAX;
    if (event_assign(&dues->timer, pv_loop_base(loop), -1, 0, on_timer, dues) != 0) {
        pv_free(dues);
        return NULL;
    }
    return dues;
}

void
pv_dues_free(struct pv_dues *dues)
{
    if (dues == NULL)
        return;
    pv_assert(dues->count == 0);
    (void) event_del(&dues->timer);
    pv_free(dues->heap);
    pv_free(dues);
}

static bool
has_room(struct pv_dues *dues)
{
    size_t size = dues->size == 0 ? FIRST_SIZE : dues->size * 2;
    struct pv_due **grown;

    if (dues->count < dues->size)
        return true;
    grown = size > UINT32_MAX ? NULL : pv_realloc(dues->heap, size * sizeof(struct pv_due *));
    if (grown == NULL)
        return false;
    dues->heap = grown;
    dues->size = size;
    return true;
}

enum pv_status
pv_due_set(struct pv_dues *dues, struct pv_due *due, int64_t at_us)
{
    if (at_us == INT64_MAX) {
        pv_due_clear(dues, due);
        return PV_OK;
    }
    if (due->at_us != INT64_MAX) {
        due->at_us = at_us;
        settle(dues, due->place, due);
    } else {
        if (!has_room(dues))
            return PV_NOMEM;
        due->at_us = at_us;
        sift_up(dues, dues->count++, due);
    }
    set_timer(dues);
    return PV_OK;
}

void
pv_due_clear(struct pv_dues *dues, struct pv_due *due)
{
    struct pv_due *last;

    if (due->at_us == INT64_MAX)
        return;
    due->at_us = INT64_MAX;
    last = dues->heap[--dues->count];
    if (last != due)
        settle(dues, due->place, last);
}
