/* Who is connected now. */
#include "proxy/console/console_int.h"

#include "parser/literals.h"

#include <string.h>

static json_t *
text_json(const char *text)
{
    return text == NULL ? json_null() : pv_console_text(pv_slice_cstr(text));
}

static json_t *
session_json(const struct pv_net_session *session)
{
    return json_pack("{s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:o,s:o,s:b,s:o,s:o}", "session", (json_int_t) session->id,
                     "room", text_json(session->room), "user", text_json(session->user), "party",
                     text_json(session->party), "service", text_json(session->service), "client",
                     text_json(session->client), "application", text_json(session->application), "state",
                     session->state, "question", text_json(session->question), "query", text_json(session->query),
                     "is_query_cut", session->is_query_cut, "since", pv_console_time(session->started_us), "query_since",
                     pv_console_time(session->query_us));
}

/* Where auditors may not see literals: the statement without them, or, where it cannot be read, nothing of it. */
static void
mask_query(json_t *session)
{
    const char *query = json_string_value(json_object_get(session, "query"));
    struct pv_buf masked = {0};

    if (query == NULL)
        return;
    if (json_is_true(json_object_get(session, "is_query_cut")) ||
        pv_literals_mask(pv_slice_cstr(query), &masked) != PV_OK ||
        json_object_set_new(session, "query", pv_console_text(pv_buf_slice(&masked))) != 0)
        (void) json_object_set_new(session, "query", json_string(PV_LITERAL_MASKED));
    pv_buf_clear(&masked);
}

/* On a thread of the crew, which may parse. */
static void
mask_queries(struct pv_call *call)
{
    json_t *sessions = json_object_get(call->parameters, "sessions"), *session;
    size_t i;

    json_array_foreach(sessions, i, session)
        mask_query(session);
    pv_call_json(call, json_incref(call->parameters));
}

static void
on_listed(void *context, const struct pv_net_session *sessions, size_t count, bool is_cut)
{
    struct pv_call *call = context;
    json_t *array = json_array(), *answer;

    for (size_t i = 0; i < count; i++)
        (void) json_array_append_new(array, session_json(&sessions[i]));
    answer = json_pack("{s:o,s:o,s:b}", "now", pv_console_time(pv_record_now_us()), "sessions", array, "is_cut", is_cut);
    if (answer != NULL && pv_call_policy(call)->config.is_masking_literals) {
        json_decref(call->parameters);
        call->parameters = answer;
        call->away = mask_queries;
        pv_call_send(call);
        return;
    }
    pv_call_json(call, answer);
    pv_call_finish(call);
}

void
pv_api_sessions(struct pv_call *call)
{
    if (pv_net_sessions(call->console->net, call->rooms, call->room_count, call->console->loop, on_listed, call) ==
        PV_OK)
        return;
    pv_call_error(call, 503, "out of memory");
    pv_call_finish(call);
}
