#include "proxy/console/crew.h"
#include "proxy/base/limits.h"

#include <pthread.h>
#include <signal.h>

struct pv_crew {
    struct pv_loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t threads[PV_CREW_THREADS];
    unsigned thread_count;
    struct pv_errand *first, **last;
    size_t waiting;
    bool is_ending;
    atomic_bool cancel;
};

static void
come_home(struct pv_message *message)
{
    struct pv_errand *errand = (struct pv_errand *) message;

    errand->home(errand);
}

static void *
work(void *context)
{
    struct pv_crew *crew = context;

    (void) pthread_mutex_lock(&crew->lock);
    for (;;) {
        struct pv_errand *errand;

        while (crew->first == NULL && !crew->is_ending)
            (void) pthread_cond_wait(&crew->wake, &crew->lock);
        errand = crew->first;
        if (errand == NULL)
            break;
        crew->first = errand->next;
        if (crew->first == NULL)
            crew->last = &crew->first;
        crew->waiting--;
        (void) pthread_mutex_unlock(&crew->lock);
        errand->run(errand);
        pv_loop_post(crew->loop, &errand->message);
        (void) pthread_mutex_lock(&crew->lock);
    }
    (void) pthread_mutex_unlock(&crew->lock);
    return NULL;
}

struct pv_crew *
pv_crew_new(struct pv_loop *loop)
{
    struct pv_crew *crew = pv_calloc(1, sizeof(*crew));
    pthread_attr_t attributes;
    sigset_t all, before;

    if (crew == NULL)
        return NULL;
    crew->loop = loop;
    crew->last = &crew->first;
    atomic_init(&crew->cancel, false);
    (void) pthread_mutex_init(&crew->lock, NULL);
    (void) pthread_cond_init(&crew->wake, NULL);
    /* Signals are the main thread's. */
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_BLOCK, &all, &before);
    (void) pthread_attr_init(&attributes);
    /* Statements whose literals are masked are parsed. */
    (void) pthread_attr_setstacksize(&attributes, PV_PARSE_STACK_BYTES);
    while (crew->thread_count < PV_CREW_THREADS &&
           pthread_create(&crew->threads[crew->thread_count], &attributes, work, crew) == 0)
        crew->thread_count++;
    (void) pthread_attr_destroy(&attributes);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (crew->thread_count == 0) {
        pv_crew_free(crew);
        return NULL;
    }
    return crew;
}

enum pv_status
pv_crew_put(struct pv_crew *crew, struct pv_errand *errand)
{
    enum pv_status status = PV_LIMIT;

    errand->message.deliver = come_home;
    errand->next = NULL;
    (void) pthread_mutex_lock(&crew->lock);
    if (crew->waiting < PV_CREW_QUEUE_MAX && !crew->is_ending) {
        *crew->last = errand;
        crew->last = &errand->next;
        crew->waiting++;
        status = PV_OK;
        (void) pthread_cond_signal(&crew->wake);
    }
    (void) pthread_mutex_unlock(&crew->lock);
    return status;
}

const atomic_bool *
pv_crew_cancel(const struct pv_crew *crew)
{
    return &crew->cancel;
}

void
pv_crew_stop(struct pv_crew *crew)
{
    if (crew == NULL)
        return;
    atomic_store(&crew->cancel, true);
    (void) pthread_mutex_lock(&crew->lock);
    crew->is_ending = true;
    (void) pthread_cond_broadcast(&crew->wake);
    (void) pthread_mutex_unlock(&crew->lock);
    for (; crew->thread_count > 0; crew->thread_count--)
        (void) pthread_join(crew->threads[crew->thread_count - 1], NULL);
}

void
pv_crew_free(struct pv_crew *crew)
{
    if (crew == NULL)
        return;
    pv_crew_stop(crew);
    (void) pthread_cond_destroy(&crew->wake);
    (void) pthread_mutex_destroy(&crew->lock);
    pv_free(crew);
}
