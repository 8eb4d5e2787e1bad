/*
 * Replies as they come from the server's bytes (invariant 2 of result.c): rows go on in the pieces that they came in,
 * all else is taken whole.
 */
#include "proxy/session/result_int.h"

#include <string.h>

/* A row that is larger and not all there streams in pieces; below that it is waited for. */
#define STREAMED_ROW_BYTES PV_LINK_HIGH_BYTES

/* Starts a row that is larger than what is held; false when it has to be waited for. */
static bool
start_streaming(struct pv_session *s, const struct pv_frame_head *head)
{
    struct pv_request *r = pv_request_head(s);
    struct pv_run *run = r == NULL ? NULL : pv_request_run(r);
    struct pv_slice in = pv_buf_slice(&s->server_in);

    if ((head->tag != PV_SERVER_DATA_ROW && head->tag != PV_SERVER_COPY_DATA) ||
        head->total_len <= STREAMED_ROW_BYTES || in.len >= head->total_len)
        return false;
    if (run == NULL || r->is_poison || pv_repeat_is_early(r) || pv_result_replies[r->kind][head->tag] == NULL || run->decision == NULL ||
        run->decision->show_value != NULL) {
        pv_result_violation(s);
        return true;
    }
    if (pv_govern_drops(run)) { /* a row this large is not worth dropping in pieces */
        pv_session_fatal(s, "57014", run->withdrawn_words);
        return true;
    }
    if (head->tag == PV_SERVER_DATA_ROW)
        run->rows++;
    run->bytes += head->total_len;
    pv_session_append_client(s, in.data, in.len);
    s->server_row_left = head->total_len - in.len;
    pv_buf_consume(&s->server_in, in.len);
    return true;
}

static void
continue_row(struct pv_session *s)
{
    struct pv_slice in = pv_buf_slice(&s->server_in);
    size_t len = in.len < s->server_row_left ? in.len : s->server_row_left;

    pv_session_append_client(s, in.data, len);
    s->server_row_left -= len;
    pv_buf_consume(&s->server_in, len);
}

/* The run whose rows the client may have as they come; NULL: each must be looked at. */
static struct pv_run *
passing_run(struct pv_session *s, struct pv_request *r)
{
    struct pv_run *run = r == NULL ? NULL : pv_request_run(r);

    if (run == NULL || (r->kind != PV_REQUEST_QUERY && r->kind != PV_REQUEST_EXECUTE) || r->is_poison ||
        r->is_internal || pv_repeat_is_early(r) || run->is_internal || run->withdrawn_words != NULL || run->decision == NULL ||
        run->decision->show_value != NULL)
        return NULL;
    /* Nothing may wait before them: neither for the log nor for the end of this event. */
    return s->gate_count == 0 && pv_buf_len(&s->client_out) == 0 && s->server_row_left == 0 ? run : NULL;
}

static bool
is_row(struct pv_slice bytes, struct pv_frame_head *head)
{
    return pv_frame_peek(bytes, PV_FRAME_BACKEND, 0, head) == PV_OK &&
           (head->tag == PV_SERVER_DATA_ROW || head->tag == PV_SERVER_COPY_DATA) &&
           head->total_len <= STREAMED_ROW_BYTES;
}

static void
hand_over(struct pv_session *s, struct pv_run *run, struct pv_slice rows)
{
    s->client_total += rows.len;
    run->bytes += rows.len;
    s->host->to_client(s->host_context, rows);
}

/* The rest of a row whose beginning came before; *bytes moves on. False: it is not all there, or no row. */
static bool
complete_row(struct pv_session *s, struct pv_run *run, struct pv_slice *bytes)
{
    struct pv_frame_head head;
    size_t missing = pv_buf_len(&s->server_in) < 5 ? 5 - pv_buf_len(&s->server_in) : 0;

    if (missing > bytes->len)
        return false;
    pv_buf_put(&s->server_in, bytes->data, missing);
    *bytes = pv_slice_of(bytes->data + missing, bytes->len - missing);
    if (!pv_buf_ok(&s->server_in) || !is_row(pv_buf_slice(&s->server_in), &head) ||
        pv_buf_len(&s->server_in) > head.total_len || head.total_len - pv_buf_len(&s->server_in) > bytes->len)
        return false;
    missing = head.total_len - pv_buf_len(&s->server_in);
    pv_buf_put(&s->server_in, bytes->data, missing);
    *bytes = pv_slice_of(bytes->data + missing, bytes->len - missing);
    if (!pv_buf_ok(&s->server_in))
        return false;
    run->rows += head.tag == PV_SERVER_DATA_ROW ? 1 : 0;
    s->row_given = s->server_in;
    memset(&s->server_in, 0, sizeof(s->server_in));
    hand_over(s, run, pv_buf_slice(&s->row_given));
    return true;
}

struct pv_slice
pv_result_pass_rows(struct pv_session *s, struct pv_slice bytes)
{
    struct pv_request *r = pv_request_head(s);
    struct pv_run *run = passing_run(s, r);
    struct pv_frame_head head;
    size_t at = 0;

    if (run == NULL || (pv_buf_len(&s->server_in) > 0 && !complete_row(s, run, &bytes)))
        return bytes;
    while (is_row(pv_slice_of(bytes.data + at, bytes.len - at), &head) && head.total_len <= bytes.len - at &&
           pv_result_replies[r->kind][head.tag] != NULL) {
        run->rows += head.tag == PV_SERVER_DATA_ROW ? 1 : 0;
        at += head.total_len;
    }
    if (at > 0)
        hand_over(s, run, pv_slice_of(bytes.data, at));
    return pv_slice_of(bytes.data + at, bytes.len - at);
}

void
pv_result_bytes(struct pv_session *s)
{
    while (s->phase != PV_PHASE_CLOSED && pv_buf_len(&s->server_in) > 0) {
        struct pv_slice in = pv_buf_slice(&s->server_in);
        struct pv_frame_head head;
        struct pv_reply reply;
        enum pv_status status;

        if (s->server_row_left > 0) {
            continue_row(s);
            continue;
        }
        status = pv_frame_peek(in, PV_FRAME_BACKEND, 0, &head);
        if (status == PV_MORE)
            return;
        if (status == PV_OK && start_streaming(s, &head))
            continue;
        if (status != PV_OK || head.total_len > PV_SERVER_HELD_BYTES_MAX) {
            pv_result_violation(s);
            return;
        }
        if (in.len < head.total_len)
            return;
        reply.tag = head.tag;
        reply.body = pv_slice_of(in.data + head.head_len, head.body_len);
        reply.raw = pv_slice_of(in.data, head.total_len);
        pv_result_dispatch(s, &reply);
        pv_buf_consume(&s->server_in, head.total_len);
    }
}
