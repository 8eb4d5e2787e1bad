/*
 * Invariants:
 * 1. `head`, `tail` and `is_woken` change under `lock` alone; a message is in the queue of one loop at most.
 * 2. The eventfd is written only when the queue was not woken since it was last emptied: one write a burst.
 */
#include "proxy/net/loop.h"

#include <event2/event.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

struct pv_loop {
    struct event_base *base;
    struct event *wake;
    int wake_fd;
    pthread_mutex_t lock;
    struct pv_message *head, *tail;
    bool is_woken;
    struct event *turn; /* finer than the base's own timers, which know milliseconds; made by the first use */
    int turn_fd;
    int64_t turn_at_us;
    _Atomic bool is_stopped; /* asked to be; each turn of libevent's forgets what was said before it */
    void (*after_turn)(void *context);
    void *after_context;
};

struct pv_task {
    struct event *event;
    void (*run)(void *context);
    void *context;
};

static int64_t
clock_us(clockid_t clock)
{
    struct timespec now;

    (void) clock_gettime(clock, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static _Thread_local int64_t last_us;

int64_t
pv_now_us(void)
{
    static _Atomic int64_t start_us; /* of the clock that passes, by the time of day; 0: nobody asked yet */
    int64_t passing_us = clock_us(CLOCK_MONOTONIC);
    int64_t began_us = atomic_load_explicit(&start_us, memory_order_relaxed);

    if (began_us == 0) {
        int64_t none = 0;

        began_us = clock_us(CLOCK_REALTIME) - passing_us;
        if (!atomic_compare_exchange_strong(&start_us, &none, began_us))
            began_us = none;
    }
    return last_us = began_us + passing_us;
}

int64_t
pv_now_last_us(void)
{
    return last_us != 0 ? last_us : pv_now_us();
}

int64_t
pv_wall_ahead_us(int64_t now_us)
{
    return clock_us(CLOCK_REALTIME) - now_us;
}

static void
deliver_queued(struct pv_loop *loop)
{
    struct pv_message *message;

    (void) pthread_mutex_lock(&loop->lock);
    message = loop->head;
    loop->head = loop->tail = NULL;
    loop->is_woken = false;
    (void) pthread_mutex_unlock(&loop->lock);
    while (message != NULL) {
        struct pv_message *next = message->next;

        message->next = NULL;
        message->deliver(message);
        message = next;
    }
}

static void
on_wake(evutil_socket_t fd, short what, void *context)
{
    uint64_t count;

    (void) what;
    if (read(fd, &count, sizeof(count)) < 0)
        return; /* somebody else's wake-up was taken already */
    deliver_queued(context);
}

void
pv_loop_deliver(struct pv_loop *loop)
{
    deliver_queued(loop);
}

struct pv_loop *
pv_loop_new(void)
{
    struct pv_loop *loop = pv_calloc(1, sizeof(*loop));
    struct event_config *config = NULL;

    if (loop == NULL)
        return NULL;
    (void) pthread_mutex_init(&loop->lock, NULL);
    loop->turn_fd = -1;
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    config = event_config_new();
    if (loop->wake_fd < 0 || config == NULL)
        goto fail;
    /* Each base is used by its own thread alone: no locks. Timers hang on the coarse clock, which is enough for ours.
     */
    (void) event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    loop->base = event_base_new_with_config(config);
    if (loop->base == NULL)
        goto fail;
    loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
    if (loop->wake == NULL || event_add(loop->wake, NULL) != 0)
        goto fail;
    event_config_free(config);
    return loop;
fail:
    if (config != NULL)
        event_config_free(config);
    pv_loop_free(loop);
    return NULL;
}

void
pv_loop_free(struct pv_loop *loop)
{
    if (loop == NULL)
        return;
    deliver_queued(loop);
    if (loop->wake != NULL)
        event_free(loop->wake);
    if (loop->turn != NULL)
        event_free(loop->turn);
    if (loop->base != NULL)
        event_base_free(loop->base);
    if (loop->wake_fd >= 0)
        (void) close(loop->wake_fd);
    if (loop->turn_fd >= 0)
        (void) close(loop->turn_fd);
    (void) pthread_mutex_destroy(&loop->lock);
    pv_free(loop);
}

void
pv_loop_after_turn(struct pv_loop *loop, void (*run)(void *context), void *context)
{
    loop->after_turn = run;
    loop->after_context = context;
}

void
pv_loop_run(struct pv_loop *loop)
{
    if (loop->after_turn == NULL) {
        (void) event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
        return;
    }
    while (!atomic_load_explicit(&loop->is_stopped, memory_order_relaxed)) {
        if (event_base_loop(loop->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
            return;
        loop->after_turn(loop->after_context);
    }
}

static void
on_turn(evutil_socket_t fd, short what, void *context)
{
    uint64_t count;

    (void) what;
    (void) context;
    if (read(fd, &count, sizeof(count)) < 0)
        return; /* it was set anew meanwhile */
}

static bool
has_turn_timer(struct pv_loop *loop)
{
    if (loop->turn != NULL)
        return true;
    if (loop->turn_fd < 0)
        loop->turn_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->turn_fd >= 0)
        loop->turn = event_new(loop->base, loop->turn_fd, EV_READ | EV_PERSIST, on_turn, NULL);
    if (loop->turn != NULL && event_add(loop->turn, NULL) != 0) {
        event_free(loop->turn);
        loop->turn = NULL;
    }
    return loop->turn != NULL;
}

bool
pv_loop_turn_at(struct pv_loop *loop, int64_t at_us)
{
    const struct itimerspec at = {.it_value = {(time_t) (at_us / 1000000), (long) (at_us % 1000000) * 1000}};

    if (!has_turn_timer(loop))
        return false;
    if (loop->turn_at_us != at_us && timerfd_settime(loop->turn_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
        return false;
    loop->turn_at_us = at_us;
    return true;
}

void
pv_loop_poll(struct pv_loop *loop)
{
    (void) event_base_loop(loop->base, EVLOOP_NONBLOCK | EVLOOP_NO_EXIT_ON_EMPTY);
}

void
pv_loop_post(struct pv_loop *loop, struct pv_message *message)
{
    const uint64_t one = 1;
    bool must_wake;

    message->next = NULL;
    (void) pthread_mutex_lock(&loop->lock);
    if (loop->tail != NULL)
        loop->tail->next = message;
    else
        loop->head = message;
    loop->tail = message;
    must_wake = !loop->is_woken;
    loop->is_woken = true;
    (void) pthread_mutex_unlock(&loop->lock);
    /* EAGAIN alone can happen, when the counter is full: then the loop is awake anyway. */
    if (must_wake && write(loop->wake_fd, &one, sizeof(one)) < 0)
        return;
}

struct stop_message {
    struct pv_message message;
    struct pv_loop *loop;
};

static void
stop_now(struct pv_message *message)
{
    struct stop_message *stop = (struct stop_message *) message;

    atomic_store(&stop->loop->is_stopped, true);
    (void) event_base_loopbreak(stop->loop->base);
    pv_free(stop);
}

void
pv_loop_stop(struct pv_loop *loop)
{
    struct stop_message *stop = pv_calloc(1, sizeof(*stop));

    if (stop == NULL) {
        /* Not woken then, but the flag is seen after the next event: timers bound how long that is. */
        atomic_store(&loop->is_stopped, true);
        (void) event_base_loopbreak(loop->base);
        return;
    }
    stop->message.deliver = stop_now;
    stop->loop = loop;
    pv_loop_post(loop, &stop->message);
}

static void
on_task(evutil_socket_t fd, short what, void *context)
{
    struct pv_task *task = context;

    (void) fd;
    (void) what;
    task->run(task->context);
}

static struct pv_task *
task_new(struct pv_loop *loop, evutil_socket_t fd, short what, uint64_t period_ms, void (*run)(void *), void *context)
{
    struct pv_task *task = pv_calloc(1, sizeof(*task));
    struct timeval period = {(time_t) (period_ms / 1000), (suseconds_t) (period_ms % 1000 * 1000)};

    if (task == NULL)
        return NULL;
    task->run = run;
    task->context = context;
    task->event = event_new(loop->base, fd, what, on_task, task);
    if (task->event == NULL || event_add(task->event, (what & EV_SIGNAL) != 0 ? NULL : &period) != 0) {
        pv_task_free(task);
        return NULL;
    }
    return task;
}

struct pv_task *
pv_loop_every(struct pv_loop *loop, uint64_t period_ms, void (*run)(void *context), void *context)
{
    return task_new(loop, -1, EV_PERSIST, period_ms, run, context);
}

struct pv_task *
pv_loop_once(struct pv_loop *loop, uint64_t delay_ms, void (*run)(void *context), void *context)
{
    return task_new(loop, -1, 0, delay_ms, run, context);
}

struct pv_task *
pv_loop_signal(struct pv_loop *loop, int signal_number, void (*run)(void *context), void *context)
{
    return task_new(loop, signal_number, EV_SIGNAL | EV_PERSIST, 0, run, context);
}

void
pv_task_free(struct pv_task *task)
{
    if (task == NULL)
        return;
    if (task->event != NULL)
        event_free(task->event);
    pv_free(task);
}

struct event_base *
pv_loop_base(struct pv_loop *loop)
{
    return loop->base;
}
