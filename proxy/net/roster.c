/*
 * A worker's clients: by number, and those that are awake, whose sessions are whole.
 *  1. awake[i]'s place is i. One that found no room there stays whole, which costs memory alone.
 */
#include "proxy/net/net_int.h"

#define TABLE_SIZE_FIRST 64u
/* A session that was quiet for so long is folded, and how often that is looked at. */
#define QUIET_MS 1000u

/* ---- By number ---- */

struct pv_client *
pv_worker_find(struct pv_worker *worker, uint64_t session)
{
    struct pv_client *at = worker->table_size == 0 ? NULL : worker->table[session % worker->table_size];

    while (at != NULL && pv_client_hooks(at)->id != session)
        at = pv_client_hooks(at)->bucket_next;
    return at;
}

static enum pv_status
grow(struct pv_worker *worker)
{
    size_t size = worker->table_size == 0 ? TABLE_SIZE_FIRST : worker->table_size * 2;
    struct pv_client **table = pv_calloc(size, sizeof(struct pv_client *));

    if (table == NULL)
        return PV_NOMEM;
    for (struct pv_client *at = worker->clients; at != NULL; at = pv_client_next(at)) {
        struct pv_client_hooks *hooks = pv_client_hooks(at);

        hooks->bucket_next = table[hooks->id % size];
        table[hooks->id % size] = at;
    }
    pv_free(worker->table);
    worker->table = table;
    worker->table_size = size;
    return PV_OK;
}

enum pv_status
pv_worker_add(struct pv_worker *worker, struct pv_client *client)
{
    struct pv_client_hooks *hooks = pv_client_hooks(client);

    /* A table that cannot grow serves on, with longer chains. */
    if (worker->client_count >= worker->table_size && grow(worker) != PV_OK && worker->table_size == 0)
        return PV_NOMEM;
    hooks->bucket_next = worker->table[hooks->id % worker->table_size];
    worker->table[hooks->id % worker->table_size] = client;
    hooks->next = worker->clients;
    if (hooks->next != NULL)
        pv_client_hooks(hooks->next)->previous = client;
    worker->clients = client;
    worker->client_count++;
    hooks->awake_at = UINT32_MAX;
    pv_worker_wake(worker, client);
    return PV_OK;
}

void
pv_worker_remove(struct pv_worker *worker, struct pv_client *client)
{
    struct pv_client_hooks *hooks = pv_client_hooks(client);
    struct pv_client **at = &worker->table[hooks->id % worker->table_size];

    pv_worker_sleep(worker, client);
    while (*at != client)
        at = &pv_client_hooks(*at)->bucket_next;
    *at = hooks->bucket_next;
    if (hooks->next != NULL)
        pv_client_hooks(hooks->next)->previous = hooks->previous;
    if (hooks->previous != NULL)
        pv_client_hooks(hooks->previous)->next = hooks->next;
    else
        worker->clients = hooks->next;
    worker->client_count--;
}

/* ---- Awake and at rest ---- */

void
pv_worker_wake(struct pv_worker *worker, struct pv_client *client)
{
    if (worker->awake_count == worker->awake_size) {
        size_t size = worker->awake_size == 0 ? TABLE_SIZE_FIRST : worker->awake_size * 2;
        struct pv_client **grown = size > UINT32_MAX ? NULL : pv_realloc(worker->awake, size * sizeof(struct pv_client *));

        if (grown == NULL)
            return;
        worker->awake = grown;
        worker->awake_size = size;
    }
    worker->awake[worker->awake_count] = client;
    pv_client_hooks(client)->awake_at = (uint32_t) worker->awake_count++; /* below awake_size */
}

void
pv_worker_sleep(struct pv_worker *worker, struct pv_client *client)
{
    uint32_t place = pv_client_hooks(client)->awake_at;
    struct pv_client *last;

    if (place == UINT32_MAX)
        return;
    last = worker->awake[--worker->awake_count];
    worker->awake[place] = last;
    pv_client_hooks(last)->awake_at = place;
    pv_client_hooks(client)->awake_at = UINT32_MAX;
}

static void
fold_quiet(void *context)
{
    struct pv_worker *worker = context;
    int64_t quiet_since_us = pv_now_us() - (int64_t) QUIET_MS * 1000;

    /* From the end: one that goes to sleep gives its place to the last. */
    for (size_t i = worker->awake_count; i > 0; i--)
        pv_client_rest(worker->awake[i - 1], quiet_since_us);
    /* After many were awake at once: */
    if (worker->awake_size > TABLE_SIZE_FIRST && worker->awake_count < worker->awake_size / 4) {
        struct pv_client **less = pv_realloc(worker->awake, worker->awake_size / 2 * sizeof(struct pv_client *));

        if (less != NULL) {
            worker->awake = less;
            worker->awake_size /= 2;
        }
    }
}

enum pv_status
pv_roster_open(struct pv_worker *worker)
{
    worker->fold_task = pv_loop_every(worker->loop, QUIET_MS, fold_quiet, worker);
    return worker->fold_task == NULL ? PV_NOMEM : PV_OK;
}

void
pv_roster_close(struct pv_worker *worker)
{
    pv_task_free(worker->fold_task);
    pv_free(worker->awake);
    pv_free(worker->table);
    /* What is still queued, as the journal's last completions, finds nobody. */
    worker->awake = NULL;
    worker->table = NULL;
    worker->awake_count = worker->awake_size = worker->table_size = 0;
}
