/*
 * What all events of a session begin and end with (invariants 1 to 3 of session.c): the [phase][tag] table, messages
 * taken from the client's bytes, and bytes handed over as far as nothing holds them.
 */
#include "proxy/session/session_int.h"

#include <stdio.h>

/* Client input above this, with nothing to be done about it now, stops the reading. */
#define STALLED_BYTES_MAX PV_LINK_HIGH_BYTES

/* Rows before an end that waits for the log: fewer bytes than this wait with it. */
#define HELD_ANSWER_BYTES (16u * 1024u)

typedef enum pv_step (*handler)(struct pv_session *s, const struct pv_frame *frame);

static enum pv_step
on_terminate(struct pv_session *s, const struct pv_frame *frame)
{
    if (pv_msg_empty_read(frame->body) != PV_OK)
        pv_session_fatal(s, "08P01", "invalid message format");
    else
        pv_session_end(s, PV_OUTCOME_LOST);
    return PV_STEP_DONE;
}

/* Client's CopyData, CopyDone, CopyFail: only a conformance room ever copies in; elsewhere PostgreSQL ignores them. */
static enum pv_step
on_copy(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_request *r = pv_request_head(s);
    struct pv_slice text;
    enum pv_status status = PV_OK;

    if (r == NULL || !r->is_copying_in)
        return s->is_conformance && s->head != NULL ? PV_STEP_STALL : PV_STEP_DONE;
    if (frame->tag == PV_CLIENT_COPY_DATA)
        status = pv_msg_bytes_write(&s->server_out, frame->tag, frame->body);
    else if (frame->tag == PV_CLIENT_COPY_DONE)
        status = pv_msg_empty_write(&s->server_out, frame->tag);
    else if ((status = pv_msg_text_read(frame->body, &text)) == PV_OK)
        status = pv_msg_text_write(&s->server_out, frame->tag, text);
    if (frame->tag != PV_CLIENT_COPY_DATA)
        r->is_copying_in = false;
    if (status != PV_OK)
        pv_session_fail(s, status);
    return PV_STEP_DONE;
}

static const handler handlers[PV_PHASE_COUNT][128] = {
    [PV_PHASE_SASL_INITIAL] = {['p'] = pv_startup_sasl_initial, ['X'] = on_terminate},
    [PV_PHASE_SASL_FINAL] = {['p'] = pv_startup_sasl_final, ['X'] = on_terminate},
    [PV_PHASE_PASSWORD] = {['p'] = pv_bearer_password, ['X'] = on_terminate},
    [PV_PHASE_BEARER_INITIAL] = {['p'] = pv_bearer_initial, ['X'] = on_terminate},
    [PV_PHASE_BEARER_FINAL] = {['p'] = pv_bearer_final, ['X'] = on_terminate},
    [PV_PHASE_READY] =
        {
            [PV_CLIENT_BIND] = pv_statement_bind,
            [PV_CLIENT_CLOSE] = pv_statement_close,
            [PV_CLIENT_COPY_DATA] = on_copy,
            [PV_CLIENT_COPY_DONE] = on_copy,
            [PV_CLIENT_COPY_FAIL] = on_copy,
            [PV_CLIENT_DESCRIBE] = pv_statement_describe,
            [PV_CLIENT_EXECUTE] = pv_statement_execute,
            [PV_CLIENT_FLUSH] = pv_statement_flush,
            [PV_CLIENT_FUNCTION_CALL] = pv_gate_function_call,
            [PV_CLIENT_PARSE] = pv_statement_parse,
            [PV_CLIENT_QUERY] = pv_gate_query,
            [PV_CLIENT_SYNC] = pv_statement_sync,
            [PV_CLIENT_TERMINATE] = on_terminate,
        },
};

/* ---- Bytes out ---- */

void
pv_session_append_client(struct pv_session *s, const void *data, size_t len)
{
    if (s->client_out.data == NULL)
        pv_spare_take(s, &s->client_out);
    pv_buf_put(&s->client_out, data, len);
    s->client_total += len;
}

void
pv_session_gate(struct pv_session *s, uint64_t ticket)
{
    if (ticket == 0 || ticket <= s->durable)
        return;
    if (s->gate_count == s->gate_size) {
        size_t size = s->gate_size == 0 ? 8 : s->gate_size * 2;
        struct pv_gate *grown = pv_realloc(s->gates, size * sizeof(*grown));

        if (grown == NULL) {
            pv_session_fail(s, PV_NOMEM);
            return;
        }
        s->gates = grown;
        s->gate_size = size;
    }
    s->gates[s->gate_count].offset = s->client_total;
    s->gates[s->gate_count].ticket = ticket;
    s->gate_count++;
}

size_t
pv_session_held(const struct pv_session *s)
{
    return pv_buf_len(&s->client_in) + pv_buf_len(&s->server_in) + pv_buf_len(&s->client_out) + s->unsent_bytes;
}

static void
give_client(struct pv_session *s)
{
    uint64_t base = s->client_total - pv_buf_len(&s->client_out);
    size_t free_len = s->gate_count > 0 ? (size_t) (s->gates[0].offset - base) : pv_buf_len(&s->client_out);

    /* What is about to end waits for the log anyhow: a short answer goes out with its end, in one piece. */
    if (s->gate_count > 0 && s->client_given == 0 && free_len < HELD_ANSWER_BYTES && s->phase != PV_PHASE_CLOSED)
        return;
    if (free_len > s->client_given) {
        struct pv_slice all = pv_buf_slice(&s->client_out);

        s->host->to_client(s->host_context,
                           pv_slice_of(all.data + s->client_given, free_len - s->client_given));
        s->client_given = free_len;
    }
}

static void
give_server(struct pv_session *s)
{
    struct pv_slice all = pv_buf_slice(&s->server_out);

    if (all.len > s->server_given) {
        s->host->to_server(s->host_context, pv_slice_of(all.data + s->server_given, all.len - s->server_given));
        s->server_given = all.len;
    }
}

/* What was handed over in the last event is the host's past; an empty buffer is given back, idle sessions hold none. */
static void
forget_given(const struct pv_session *s, struct pv_buf *buf, size_t *given)
{
    pv_buf_consume(buf, *given);
    *given = 0;
    if (pv_buf_len(buf) == 0 && buf->size > 0)
        pv_spare_give(s, buf);
}

/* ---- Bytes in from the client ---- */

static enum pv_frame_phase
frame_phase(const struct pv_session *s)
{
    return s->phase == PV_PHASE_STARTUP ? PV_FRAME_STARTUP
           : s->phase == PV_PHASE_READY ? PV_FRAME_QUERY
                                        : PV_FRAME_AUTH;
}

/* When a login by token ends, by the clock of now_us; INT64_MAX: it is none. */
int64_t
pv_session_token_end(const struct pv_session *s)
{
    const struct pv_tokens *tokens = s->policy->config.tokens;

    if (!s->is_bearer || !s->is_logged_in)
        return INT64_MAX;
    return s->token->expires_us + (tokens == NULL ? 0 : (int64_t) tokens->clock_skew_ms * 1000) -
           (pv_session_date_us(s) - s->now_us);
}

/* The last answer is on its way to the client, and a statement that comes now would not be the token's any more. */
bool
pv_session_ends_with_token(struct pv_session *s)
{
    if (s->phase != PV_PHASE_READY || s->now_us < pv_session_token_end(s) || s->head != NULL || s->gate_count > 0 ||
        (s->auditor != NULL && pv_auditor_is_busy(s)))
        return false;
    pv_session_fatal(s, "57P01", "terminating connection because the token of its login has expired");
    return true;
}

static bool
is_reading(const struct pv_session *s)
{
    switch (s->phase) {
    case PV_PHASE_STARTUP:
    case PV_PHASE_SASL_INITIAL:
    case PV_PHASE_SASL_FINAL:
    case PV_PHASE_PASSWORD:
    case PV_PHASE_BEARER_INITIAL:
    case PV_PHASE_BEARER_FINAL:
        return true;
    case PV_PHASE_READY:
        /* With a token that has expired what was begun is finished, to its Sync, and nothing new is taken. */
        if (!s->is_segment_open && s->now_us >= pv_session_token_end(s))
            return false;
        return !s->is_stalled && s->reset_count == 0 && s->request_count < PV_PIPELINE_MAX &&
               s->unsent_bytes < PV_LINK_HELD_BYTES_MAX;
    case PV_PHASE_TLS:
    case PV_PHASE_SERVER:
    case PV_PHASE_SETUP:
    case PV_PHASE_CLOSED:
    case PV_PHASE_COUNT:
        return false;
    }
    return false;
}

/* A frame that cannot be taken: unknown tags are named, as PostgreSQL does, bad lengths end without a word. */
static void
refuse_frame(struct pv_session *s)
{
    struct pv_slice in = pv_buf_slice(&s->client_in);
    char words[64];

    if (s->phase != PV_PHASE_READY || (in.data[0] < 128 && handlers[PV_PHASE_READY][in.data[0]] != NULL)) {
        pv_session_end(s, PV_OUTCOME_LOST);
        return;
    }
    (void) snprintf(words, sizeof(words), "invalid frontend message type %u", (unsigned) in.data[0]);
    pv_session_fatal(s, "08P01", words);
}

/* True when a message was taken and another may follow. */
static bool
take_message(struct pv_session *s)
{
    enum pv_phase phase = s->phase;
    struct pv_frame frame;
    enum pv_status status;

    if (s->oversize != NULL) {
        if (!pv_oversize_is_whole(s))
            return false;
        pv_oversize_refuse(s);
        return true;
    }
    if (pv_buf_len(&s->client_in) == 0)
        return false;
    status = pv_frame_next(pv_buf_slice(&s->client_in), frame_phase(s), (size_t) s->policy->config.query_bytes_max,
                           &frame);
    if (status == PV_MORE)
        return false;
    if (status == PV_LIMIT) {
        s->are_peers_fresh = false;
        pv_oversize_begin(s, frame.tag, frame.total_len - PV_FRAME_HEAD_BYTES);
        pv_buf_consume(&s->client_in, PV_FRAME_HEAD_BYTES);
        pv_buf_consume(&s->client_in, pv_oversize_feed(s, pv_buf_slice(&s->client_in)));
        return true;
    }
    if (status != PV_OK) {
        refuse_frame(s);
        return false;
    }
    if (phase == PV_PHASE_STARTUP) {
        pv_startup_packet(s, frame.body, frame.total_len);
    } else {
        handler handle = frame.tag < 128 ? handlers[phase][frame.tag] : NULL;

        if (s->auditor != NULL && phase == PV_PHASE_READY && frame.tag != PV_CLIENT_TERMINATE)
            handle = pv_auditor_handler(frame.tag);

        if (handle == NULL) {
            refuse_frame(s);
            return false;
        }
        if (phase == PV_PHASE_READY && s->is_doomed && frame.tag != PV_CLIENT_SYNC && frame.tag != PV_CLIENT_TERMINATE)
            ; /* the server skips it too */
        else if (phase == PV_PHASE_READY && s->is_changing_user && frame.tag != PV_CLIENT_SYNC &&
                 frame.tag != PV_CLIENT_TERMINATE && frame.tag != PV_CLIENT_FLUSH && frame.tag != PV_CLIENT_CLOSE)
            pv_person_refuse(s, frame.tag);
        else if (handle(s, &frame) == PV_STEP_STALL) {
            s->is_stalled = true;
            return false;
        }
    }
    s->are_peers_fresh = s->is_identity_said = false;
    if (frame.tag == PV_CLIENT_PASSWORD)
        pv_wipe(s->client_in.data + s->client_in.start, frame.total_len);
    pv_buf_consume(&s->client_in, frame.total_len);
    return true;
}

static void
pause_as_needed(struct pv_session *s)
{
    bool is_paused = s->phase == PV_PHASE_READY && !is_reading(s) &&
                     (!s->is_stalled || pv_buf_len(&s->client_in) > STALLED_BYTES_MAX);

    if (is_paused != s->is_paused && s->phase != PV_PHASE_CLOSED) {
        s->is_paused = is_paused;
        s->host->pause_client(s->host_context, is_paused);
    }
}

/* The end of every event. */
/* The statement that a cancel was meant for is the server's now. */
static void
cancel_if_due(struct pv_session *s)
{
    if (s->cancel_due == NULL || s->phase != PV_PHASE_READY || pv_request_head(s) != s->cancel_due)
        return;
    s->cancel_due = NULL;
    if (s->is_cancel_pending)
        return;
    s->is_cancel_pending = true;
    s->host->cancel_server(s->host_context);
}

void
pv_session_finish_event(struct pv_session *s)
{
    do {
        s->has_answered = false;
        while (!pv_session_ends_with_token(s) && is_reading(s) && take_message(s))
            ;
        pv_pipeline_pump(s);
        /* What was answered without a server gives no other event, so what waited for it goes on now. */
    } while (s->has_answered && s->phase == PV_PHASE_READY);
    cancel_if_due(s);
    if (s->is_pooled)
        pv_lease_settle(s);
    if (s->phase != PV_PHASE_CLOSED && pv_session_held(s) > 2u * (size_t) PV_LINK_HELD_BYTES_MAX)
        pv_session_fatal(s, "53400", "too much data is waiting for the client or the database");
    if (s->client_out.failed || s->server_out.failed || s->client_in.failed || s->server_in.failed) {
        s->client_out.failed = s->server_out.failed = false;
        pv_session_end(s, PV_OUTCOME_LOST);
    }
    if (s->phase != PV_PHASE_CLOSED)
        give_server(s);
    give_client(s);
    pause_as_needed(s);
    if (s->wants_release) {
        s->wants_release = false;
        s->host->release_server(s->host_context);
    }
    if (s->is_close_wanted) {
        s->is_close_wanted = false;
        s->host->close(s->host_context);
    }
}

void
pv_session_rest(struct pv_session *s)
{
    if (s->client_out.size > 0)
        forget_given(s, &s->client_out, &s->client_given);
    if (s->server_out.size > 0)
        forget_given(s, &s->server_out, &s->server_given);
    if (s->row_given.size > 0)
        pv_buf_clear(&s->row_given);
}

void
pv_session_wall(struct pv_session *s, int64_t ahead_us)
{
    s->wall_ahead_us = ahead_us;
}

int64_t
pv_session_wall_us(const struct pv_session *s)
{
    return s->now_us + s->wall_ahead_us;
}

int64_t
pv_session_date_us(const struct pv_session *s)
{
    return s->now_us + (s->wall_ahead_us > 0 ? s->wall_ahead_us : 0);
}

bool
pv_session_start_event(struct pv_session *s, int64_t now_us)
{
    if (s->phase == PV_PHASE_CLOSED)
        return false;
    s->now_us = now_us;
    pv_session_rest(s);
    return true;
}
