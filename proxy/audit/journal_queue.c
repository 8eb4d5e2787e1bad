/* What waits to be written, and the ports where those wait who put it. */
#include "proxy/audit/journal_int.h"

void
pv_queue_init(struct pv_queue *queue)
{
    *queue = (struct pv_queue){0};
    queue->last = &queue->first;
}

void
pv_queue_put(struct pv_queue *queue, struct pv_entry *entry)
{
    entry->next = NULL;
    *queue->last = entry;
    queue->last = &entry->next;
    queue->count++;
    queue->bytes += entry->size;
}

struct pv_entry *
pv_queue_take(struct pv_queue *queue)
{
    struct pv_entry *entry = queue->first;

    if (entry == NULL)
        return NULL;
    queue->first = entry->next;
    if (queue->first == NULL)
        queue->last = &queue->first;
    queue->count--;
    queue->bytes -= entry->size;
    return entry;
}

void
pv_queue_append(struct pv_queue *queue, struct pv_queue *more)
{
    if (more->first == NULL)
        return;
    *queue->last = more->first;
    queue->last = more->last;
    queue->count += more->count;
    queue->bytes += more->bytes;
    pv_queue_init(more);
}

void
pv_queue_prepend(struct pv_queue *queue, struct pv_queue *front)
{
    if (front->first == NULL)
        return;
    pv_queue_append(front, queue);
    pv_queue_append(queue, front);
}

/* ---- Ports ---- */

struct pv_journal_port *
pv_journal_port_new(void (*notify)(void *context), void *context)
{
    struct pv_journal_port *port = pv_calloc(1, sizeof(*port));

    if (port == NULL)
        return NULL;
    (void) pthread_mutex_init(&port->mutex, NULL);
    port->last = &port->first;
    port->notify = notify;
    port->context = context;
    return port;
}

void
pv_journal_port_free(struct pv_journal_port *port)
{
    if (port == NULL)
        return;
    while (port->first != NULL) {
        struct pv_entry *next = port->first->port_next;

        pv_entry_unref(port->first);
        port->first = next;
    }
    pv_entry_room_clear(&port->room);
    (void) pthread_mutex_destroy(&port->mutex);
    pv_free(port);
}

void
pv_entry_complete(struct pv_entry *entry, enum pv_status status)
{
    struct pv_journal_port *port = entry->port;
    bool was_empty;

    if (port == NULL)
        return;
    entry->port = NULL;
    entry->done_status = status;
    entry->port_next = NULL;
    (void) atomic_fetch_add(&entry->refs, 1);
    (void) pthread_mutex_lock(&port->mutex);
    was_empty = port->first == NULL;
    *port->last = entry;
    port->last = &entry->port_next;
    (void) pthread_mutex_unlock(&port->mutex);
    if (was_empty && !port->is_helping && port->notify != NULL)
        port->notify(port->context);
}

size_t
pv_journal_port_take(struct pv_journal_port *port, struct pv_journal_done *done, size_t max)
{
    struct pv_entry *taken;
    struct pv_entry *entry;
    size_t count = 0;

    (void) pthread_mutex_lock(&port->mutex);
    taken = port->first;
    for (entry = taken; entry != NULL && count < max; entry = entry->port_next) {
        done[count] = (struct pv_journal_done){entry->cookie, entry->ticket, entry->done_status, entry->spent};
        count++;
    }
    port->first = entry;
    if (entry == NULL)
        port->last = &port->first;
    (void) pthread_mutex_unlock(&port->mutex);
    for (size_t i = 0; i < count; i++) {
        struct pv_entry *next = taken->port_next;

        pv_entry_unref(taken);
        taken = next;
    }
    return count;
}
