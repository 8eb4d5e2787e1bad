#include "proxy/net/counters.h"

#include <string.h>

static const uint64_t latency_bounds_us[] = {
#define PV_X(us) us,
    PV_LATENCY_BUCKETS(PV_X)
#undef PV_X
};

void
pv_counters_init(struct pv_counters *counters)
{
    memset(counters, 0, sizeof(*counters));
}

void
pv_counters_clear(struct pv_counters *counters)
{
    struct pv_statement_counter *counter = counters->statements;

    while (counter != NULL) {
        struct pv_statement_counter *next = counter->next;

        pv_free(counter->room);
        pv_free(counter->question);
        pv_free(counter);
        counter = next;
    }
    counters->statements = NULL;
}

static struct pv_statement_counter *
find(struct pv_statement_counter *at, const char *room, const char *question, bool is_allowed)
{
    while (at != NULL &&
           (at->is_allowed != is_allowed || strcmp(at->room, room) != 0 || strcmp(at->question, question) != 0))
        at = at->next;
    return at;
}

/* Rooms and questions are names of the policy's, so there are never many. Without memory a statement goes uncounted. */
static void
count_statement(struct pv_counters *counters, const struct pv_statement_begin *begin)
{
    const char *room = begin->room != NULL ? begin->room : "";
    const char *question = begin->question != NULL ? begin->question : "";
    struct pv_statement_counter *counter;

    counter = find(counters->statements, room, question, begin->is_allowed);
    if (counter == NULL && (counter = pv_calloc(1, sizeof(*counter))) != NULL) {
        counter->room = pv_strdup(room);
        counter->question = pv_strdup(question);
        counter->is_allowed = begin->is_allowed;
        if (counter->room == NULL || counter->question == NULL) {
            pv_free(counter->room);
            pv_free(counter->question);
            pv_free(counter);
            counter = NULL;
        } else {
            counter->next = counters->statements;
            counters->statements = counter;
        }
    }
    if (counter != NULL)
        pv_count(&counter->count, 1);
}

static void
count_end(struct pv_counters *counters, const struct pv_statement_end *end)
{
    size_t bucket = 0;

    PV_COUNT(counters, rows, end->rows);
    PV_COUNT(counters, bytes, end->bytes);
    PV_COUNT(counters, latency_sum_us, end->duration_us);
    while (bucket < PV_COUNT_OF(latency_bounds_us) && end->duration_us > latency_bounds_us[bucket])
        bucket++;
    PV_COUNT(counters, latency[bucket], 1);
}

void
pv_counters_record(struct pv_counters *counters, const struct pv_record *record)
{
    switch (record->kind) {
    case PV_RECORD_BEGIN:
        count_statement(counters, record->begin);
        break;
    case PV_RECORD_END:
        count_end(counters, record->end);
        break;
    case PV_RECORD_WHOLE:
        count_statement(counters, record->begin);
        count_end(counters, record->end);
        break;
    case PV_RECORD_EVENT:
        if (strcmp(record->event->event, "login") == 0)
            PV_COUNT(counters, logins, 1);
        else if (strcmp(record->event->event, "login_failed") == 0)
            PV_COUNT(counters, login_failures, 1);
        break;
    }
}

enum pv_status
pv_counters_add(struct pv_counters *counters, struct pv_counters *sum, struct pv_arena *arena)
{
    enum pv_status status = PV_OK;

#define PV_X(field, name, type, help) PV_COUNT(sum, field, atomic_load(&counters->field));
    PV_COUNTER_TABLE(PV_X)
#undef PV_X
    for (size_t i = 0; i < PV_LATENCY_BUCKET_COUNT; i++)
        PV_COUNT(sum, latency[i], atomic_load(&counters->latency[i]));
    for (const struct pv_statement_counter *at = counters->statements; at != NULL && status == PV_OK; at = at->next) {
        struct pv_statement_counter *into = find(sum->statements, at->room, at->question, at->is_allowed);

        if (into == NULL && (into = pv_arena_alloc(arena, sizeof(*into))) != NULL) {
            into->room = pv_arena_strdup(arena, at->room);
            into->question = pv_arena_strdup(arena, at->question);
            into->is_allowed = at->is_allowed;
            into->next = sum->statements;
            if (into->room != NULL && into->question != NULL)
                sum->statements = into;
            else
                into = NULL;
        }
        if (into != NULL)
            pv_count(&into->count, atomic_load_explicit(&at->count, memory_order_relaxed));
        else
            status = PV_NOMEM;
    }
    return status;
}
