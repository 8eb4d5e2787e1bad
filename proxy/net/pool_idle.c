/*
 * Connections that nobody holds. A server may say something unasked (a notice, a setting that its configuration
 * changed), and answers what the pool itself asks: an empty query to see whether it lives, DISCARD ALL to be as new.
 * Whatever else it says, or that it is gone, ends it, and the next one that needs a connection gets another.
 */
#include "proxy/base/log.h"
#include "proxy/net/pool_int.h"
#include "proxy/session/side.h"
#include "proxy/wire/frame.h"
#include "proxy/wire/message.h"

/* An answer of a server at rest that takes longer than this is none. */
#define ANSWER_US 5000000

static bool
is_expected(const struct pv_pooled *pooled, const struct pv_frame *frame, bool *is_end)
{
    uint8_t transaction;

    switch (frame->tag) {
    case PV_SERVER_PARAMETER_STATUS:
        return pv_side_report(pv_server_side(pooled->server), frame->body) == PV_OK;
    case PV_SERVER_NOTICE_RESPONSE:
    case PV_SERVER_NOTIFICATION:
        return true;
    case PV_SERVER_EMPTY_QUERY:
        return pooled->state == PV_POOLED_CHECKING;
    case PV_SERVER_COMMAND_COMPLETE:
        return pooled->state == PV_POOLED_RESETTING;
    case PV_SERVER_READY_FOR_QUERY:
        *is_end = true;
        return (pooled->state == PV_POOLED_CHECKING || pooled->state == PV_POOLED_RESETTING) &&
               pv_msg_ready_read(frame->body, &transaction) == PV_OK && transaction == 'I';
    default:
        return false;
    }
}

static void
end_answer(struct pv_pooled *pooled)
{
    if (pooled->state == PV_POOLED_RESETTING)
        pv_side_discarded(pv_server_side(pooled->server));
    pooled->checked_us = pv_now_us();
    pv_pooled_offer(pooled);
}

bool
pv_pooled_bytes(struct pv_pooled *pooled, struct pv_slice bytes)
{
    bool is_end = false;
    struct pv_frame frame;
    enum pv_status status;

    pv_buf_put_slice(&pooled->in, bytes);
    while ((status = pv_buf_ok(&pooled->in) ? pv_frame_next(pv_buf_slice(&pooled->in), PV_FRAME_BACKEND, 0, &frame)
                                            : PV_NOMEM) == PV_OK) {
        if (!is_expected(pooled, &frame, &is_end)) {
            status = PV_PROTOCOL;
            break;
        }
        pv_buf_consume(&pooled->in, frame.total_len);
    }
    if (status != PV_MORE) {
        pv_log(PV_LOG_INFO, "room \"%s\": an idle connection to the database ended", pooled->group->room);
        pv_pooled_close(pooled, false);
        return false;
    }
    if (pv_buf_len(&pooled->in) == 0)
        pv_buf_clear(&pooled->in);
    if (is_end) {
        end_answer(pooled);
    } else if (pooled->state == PV_POOLED_IDLE && !pv_server_is_fit(pooled->server)) {
        pv_log(PV_LOG_INFO, "room \"%s\": an idle connection was closed: its server was promoted",
               pooled->group->room);
        pv_pooled_close(pooled, true);
        return false;
    }
    return true;
}

static void
on_bytes(void *context, struct pv_slice bytes)
{
    (void) pv_pooled_bytes(context, bytes);
}

static void
on_eof(void *context, const char *words)
{
    struct pv_pooled *pooled = context;

    pv_log(PV_LOG_INFO, "room \"%s\": an idle connection to the database was lost: %s", pooled->group->room,
           words != NULL ? words : "closed by the server");
    pv_pooled_close(pooled, false);
}

static void
on_tls(void *context)
{
    (void) context; /* was up before the pool had it */
}

const struct pv_link_events pv_pooled_idle_events = {.bytes = on_bytes, .eof = on_eof, .tls = on_tls};

/* ---- What the pool asks ---- */

static void
ask(struct pv_pooled *pooled, enum pv_pooled_state state, const char *sql)
{
    struct pv_link *link = pv_server_link(pooled->server);
    struct pv_pool_group *group = pooled->group;
    struct pv_buf out = {0};

    if (pv_msg_text_write(&out, PV_CLIENT_QUERY, pv_slice_cstr(sql)) != PV_OK) {
        pv_buf_clear(&out);
        pv_pooled_close(pooled, true);
        return;
    }
    pv_pooled_unlink(pooled);
    pooled->state = state;
    pooled->since_us = pv_now_us();
    pv_pooled_link(group, pooled);
    pv_pool_cap_wait(group);
    pv_side_queried(pv_server_side(pooled->server));
    pv_link_set_owner(link, &pv_pooled_idle_events, pooled);
    pv_link_gather(link, pv_buf_slice(&out));
    pv_link_flush(link);
    pv_buf_clear(&out);
}

void
pv_pooled_reset(struct pv_pooled *pooled)
{
    ask(pooled, PV_POOLED_RESETTING, "DISCARD ALL");
}

void
pv_pool_look_after(struct pv_pool_group *group, int64_t now_us, bool is_doubting)
{
    const struct pv_config *config = &pv_world_policy(group->pool->world)->config;
    int64_t idle_us = (int64_t) config->pool_idle_timeout_ms * 1000;
    int64_t check_us = (int64_t) config->pool_check_ms * 1000;

    for (struct pv_pooled *at = group->first, *next; at != NULL; at = next) {
        next = at->next;
        if (at->state == PV_POOLED_CHECKING || at->state == PV_POOLED_RESETTING) {
            if (now_us - at->since_us < ANSWER_US)
                continue;
            pv_log(PV_LOG_INFO, "room \"%s\": an idle connection to the database gave no answer", group->room);
            pv_pooled_close(at, false);
        } else if (at->state == PV_POOLED_IDLE) {
            if (now_us >= at->expires_us || now_us - at->used_us >= idle_us)
                pv_pooled_close(at, true);
            else if (is_doubting && pv_server_is_doubtful(at->server))
                ask(at, PV_POOLED_CHECKING, "");
            else if (check_us > 0 && now_us - at->checked_us >= check_us && now_us - at->used_us >= check_us)
                ask(at, PV_POOLED_CHECKING, "");
        }
    }
}
