/* What a list of live sessions says of one. */
#include "proxy/session/session_int.h"

#include <string.h>

static const char *
state_of(const struct pv_session *s)
{
    if (s->phase == PV_PHASE_CLOSED)
        return "closing";
    if (s->phase != PV_PHASE_READY)
        return "starting";
    if (!s->is_folded && s->head != NULL)
        return "running";
    return s->track.status == 'T' ? "in transaction" : s->track.status == 'E' ? "in failed transaction" : "idle";
}

/* The statement that the database works on, or waits to: the first in flight that has not ended. */
static const struct pv_run *
run_of(const struct pv_session *s)
{
    for (const struct pv_request *r = s->is_folded ? NULL : s->head; r != NULL; r = r->next)
        for (size_t i = r->run_at; i < r->run_count; i++)
            if (!r->runs[i].is_internal && !r->runs[i].has_ended)
                return &r->runs[i];
    return NULL;
}

void
pv_session_look(const struct pv_session *s, struct pv_session_glance *glance)
{
    const struct pv_run *run = run_of(s);

    memset(glance, 0, sizeof(*glance));
    glance->id = s->id;
    glance->client = s->client;
    glance->started_us = s->started_us + s->wall_ahead_us;
    glance->state = state_of(s);
    if (!s->is_logged_in)
        return;
    glance->room = s->room_name;
    glance->user = s->user;
    glance->party = s->party;
    glance->service = s->service;
    glance->pid = s->phase == PV_PHASE_READY ? s->server_pid : 0;
    glance->application = pv_texts_at(s->reported, PV_REPORTED_APPLICATION);
    if (run == NULL || run->decision == NULL)
        return;
    glance->query = run->decision->text;
    glance->query_us = run->started_us + s->wall_ahead_us;
    if (run->effective != NULL && run->effective->question != NULL)
        glance->question = run->effective->question->id;
}
