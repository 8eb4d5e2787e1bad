/*
 * Requests in flight, in the order in which the client made them.
 *  1. A request is sent when every record that it waits for is on disk, no cancel is on its way, and all before it are sent
 * (and none of them may have to be sent again: repeat.c).
 *  2. Replies belong to the first request that was sent and has a reply due; nothing else.
 *  3. The server keeps replies until a Sync, a Flush or 8 KiB of them: what it is at is found by what it was sent, not by
 * what it has said (pv_request_running). Where that would not tell, an Execute takes a Flush before it.
 *  4. Requests that were never sent are answered in their turn all the same (is_local, pv_lease_answer).
 *  5. A poisoned request carries nothing of the client's but a name it chose for a statement.
 *  6. Within a Query the server is at the statement behind the last that it has spoken of, or at one of those after that
 * take no time. Between any two that do there is a marker (PV_MARKER_SQL), so each has its own time from its start.
 */
#include "proxy/session/session_int.h"

#include <stdio.h>
#include <string.h>

struct pv_request *
pv_request_new(struct pv_session *s, enum pv_request_kind kind)
{
    struct pv_arena *arena = pv_spare_arena_take(s->env->spares);
    struct pv_request *r = arena == NULL ? NULL : pv_arena_alloc(arena, sizeof(*r));

    if (r == NULL) {
        pv_arena_free(arena);
        pv_session_fail(s, PV_NOMEM);
        return NULL;
    }
    r->arena = arena;
    r->spares = s->env->spares;
    r->kind = kind;
    r->deadline_us = INT64_MAX;
    pv_spare_take(s, &r->bytes);
    return r;
}

/* Skipped, refused, never sent: its next Execute takes from budgets as its first. */
static void
unstart(struct pv_run *run)
{
    if (run->starts != NULL)
        run->starts->has_run = false;
    pv_named_unref(run->starts);
    run->starts = NULL;
}

void
pv_run_release(struct pv_run *run)
{
    pv_judged_unref(run->judged);
    pv_judged_unref(run->effective_judged);
    pv_named_unref(run->defines);
    unstart(run);
}

void
pv_request_free(struct pv_request *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->run_count; i++)
        pv_run_release(&r->runs[i]);
    for (size_t i = 0; i < r->bind_count; i++)
        pv_named_unref(r->binds[i]);
    pv_named_unref(r->named);
    pv_named_unref(r->statement);
    pv_named_unref(r->bound);
    if (r->bytes.data != NULL)
        pv_buf_clear(&r->bytes);
    pv_spare_arena_give(r->spares, r->arena);
}

struct pv_run *
pv_request_run(struct pv_request *r)
{
    return r->run_at < r->run_count ? &r->runs[r->run_at] : NULL;
}

static bool
is_quick(const struct pv_request *r)
{
    return r->kind == PV_REQUEST_PARSE || r->kind == PV_REQUEST_BIND || r->kind == PV_REQUEST_DESCRIBE ||
           r->kind == PV_REQUEST_CLOSE || r->kind == PV_REQUEST_FLUSH;
}

struct pv_request *
pv_request_running(const struct pv_session *s)
{
    struct pv_request *r = s->not_passed;

    return r != NULL && r->is_sent && !is_quick(r) && !r->has_failed ? r : NULL;
}

bool
pv_run_is_watched(const struct pv_run *run)
{
    return run->effective != NULL && (run->effective->timeout_ms > 0 || run->effective->datasets.count > 0);
}

static bool
is_watched(const struct pv_request *r)
{
    return r->run_count > 0 && pv_run_is_watched(&r->runs[0]);
}

bool
pv_request_needs_flush(const struct pv_session *s, const struct pv_request *r)
{
    return s->execute_count > 0 && s->has_segment_run && (s->is_segment_watched || is_watched(r));
}

/* Of the statement that the server is at; 0: none. Those before it up to the marker take no time. */
static uint64_t
timeout_of(const struct pv_request *r)
{
    for (size_t i = r->run_at; i < r->run_count && (i == r->run_at || !r->runs[i].is_marker); i++)
        if (pv_run_is_watched(&r->runs[i]))
            return r->runs[i].has_timed_out ? 0 : r->runs[i].effective->timeout_ms;
    return 0;
}

void
pv_request_start_clock(struct pv_session *s)
{
    struct pv_request *r;
    uint64_t timeout_ms;

    while (s->not_passed != NULL && s->not_passed->is_sent && is_quick(s->not_passed))
        s->not_passed = s->not_passed->next;
    r = pv_request_running(s);
    pv_govern_head(s);
    if (r == NULL || r->deadline_us != INT64_MAX)
        return;
    timeout_ms = r->kind == PV_REQUEST_SYNC ? 0 : timeout_of(r);
    if (timeout_ms == 0) /* it may be the transaction's end, which runs what is held */
        timeout_ms = pv_track_holds_ms(s);
    if (timeout_ms > 0 && timeout_ms < (UINT64_C(1) << 40))
        r->deadline_us = s->now_us + (int64_t) timeout_ms * 1000;
}

void
pv_request_push(struct pv_session *s, struct pv_request *r)
{
    if (r->bytes.failed) {
        pv_request_free(r);
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    if (s->discard != PV_DISCARD_NONE && !r->is_internal && (r->kind == PV_REQUEST_SYNC || r->kind == PV_REQUEST_QUERY))
        r->is_reset = true;
    r->previous = s->tail;
    if (s->tail == NULL)
        s->head = r;
    else
        s->tail->next = r;
    s->tail = r;
    if (s->unsent == NULL)
        s->unsent = r;
    if (s->not_passed == NULL)
        s->not_passed = r;
    s->request_count++;
    s->reset_count += r->is_reset ? 1 : 0;
    r->may_move_path = pv_names_may_move_path(r);
    s->path_count += r->may_move_path ? 1 : 0;
    if (r->kind == PV_REQUEST_SYNC || r->kind == PV_REQUEST_QUERY)
        s->has_segment_run = s->is_segment_watched = false;
    if (r->kind == PV_REQUEST_EXECUTE) {
        s->execute_count++;
        s->has_segment_run = true;
        s->is_segment_watched = s->is_segment_watched || is_watched(r);
    }
    if (r->kind == PV_REQUEST_SYNC)
        s->is_segment_open = false;
    else if (r->kind != PV_REQUEST_QUERY && r->kind != PV_REQUEST_FLUSH)
        s->is_segment_open = true;
    s->unsent_bytes += pv_buf_len(&r->bytes);
    if (r->is_poison && r->kind != PV_REQUEST_QUERY)
        s->is_doomed = true;
}

void
pv_request_insert_sent(struct pv_session *s, struct pv_request *before, struct pv_request *r)
{
    r->is_sent = true;
    r->next = before;
    r->previous = before == NULL ? s->tail : before->previous;
    if (r->previous == NULL)
        s->head = r;
    else
        r->previous->next = r;
    if (before == NULL)
        s->tail = r;
    else
        before->previous = r;
    if (s->not_passed == before)
        s->not_passed = r;
    s->request_count++;
}

static void
unlink_request(struct pv_session *s, struct pv_request *r)
{
    if (r->previous == NULL)
        s->head = r->next;
    else
        r->previous->next = r->next;
    if (r->next == NULL)
        s->tail = r->previous;
    else
        r->next->previous = r->previous;
    if (s->unsent == r)
        s->unsent = r->next;
    if (s->not_passed == r)
        s->not_passed = r->next;
    if (s->cancel_due == r)
        s->cancel_due = NULL;
    if (s->repeat_parse == r)
        s->repeat_parse = NULL;
    if (!r->is_sent)
        s->unsent_bytes -= pv_buf_len(&r->bytes);
    s->request_count--;
    s->execute_count -= r->kind == PV_REQUEST_EXECUTE ? 1 : 0;
    s->reset_count -= r->is_reset ? 1 : 0;
    s->path_count -= r->may_move_path ? 1 : 0;
    pv_request_free(r);
}

void
pv_request_pop(struct pv_session *s)
{
    /* What took no time was passed when it was sent: the server is where it was. */
    bool is_where_it_was = is_quick(s->head) && s->not_passed != s->head;

    unlink_request(s, s->head);
    s->active_us = s->now_us;
    if (!is_where_it_was)
        pv_request_start_clock(s);
}

struct pv_request *
pv_request_head_past(struct pv_session *s)
{
    while (s->head != NULL && s->head->is_sent && (s->head->kind == PV_REQUEST_FLUSH || s->head->is_local)) {
        if (s->head->kind == PV_REQUEST_FLUSH)
            pv_request_pop(s);
        else
            pv_result_local(s, s->head);
    }
    return s->head != NULL && s->head->is_sent ? s->head : NULL;
}

void
pv_request_skip(struct pv_session *s)
{
    while (s->head != NULL && s->head->kind != PV_REQUEST_SYNC) {
        for (size_t i = 0; i < s->head->run_count; i++)
            pv_trail_end(s, &s->head->runs[i], PV_OUTCOME_FAILED, s->segment_sqlstate);
        unlink_request(s, s->head);
    }
    if (s->head == NULL)
        s->is_doomed = true;
    s->is_stalled = false; /* a Query that the message at hand waited for may have been skipped */
    pv_request_start_clock(s);
}

static char *
copy_text(struct pv_request *r, const char *text)
{
    return text == NULL ? NULL : pv_arena_strdup(r->arena, text);
}

void
pv_request_poison(struct pv_session *s, struct pv_request *r, const struct pv_error *error)
{
    struct pv_msg_parse parse = {pv_slice_of("", 0), pv_slice_of("", 0), 0, NULL};
    struct pv_msg_bind bind = {pv_slice_of("", 0), pv_slice_cstr(PV_POISON_NAME), 0, NULL, 0, NULL, 0, NULL};
    char text[64];
    enum pv_status status;

    r->is_poison = true;
    r->is_verbatim = false;
    r->error.severity = error->severity;
    r->error.sqlstate = copy_text(r, error->sqlstate);
    r->error.message = copy_text(r, error->message);
    r->error.detail = copy_text(r, error->detail);
    r->error.hint = copy_text(r, error->hint);
    r->error.position = error->position;
    if (r->error.sqlstate == NULL || r->error.message == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    pv_named_unref(r->named);
    pv_named_unref(r->statement);
    r->named = r->statement = NULL;
    r->is_local = false;
    for (size_t i = 0; i < r->run_count; i++) {
        pv_named_unref(r->runs[i].defines);
        r->runs[i].defines = NULL;
        unstart(&r->runs[i]);
    }
    pv_buf_clear(&r->bytes);
    /* A string alone is no statement: 42601 before anything else is looked at, in every state of the session. */
    (void) snprintf(text, sizeof(text), "'denied %llu.%llu'", (unsigned long long) s->id,
                    (unsigned long long) ++s->denial_count);
    if (r->kind == PV_REQUEST_QUERY) {
        status = pv_msg_text_write(&r->bytes, PV_CLIENT_QUERY, pv_slice_cstr(text));
    } else if (r->kind == PV_REQUEST_SYNC) {
        pv_session_fatal(s, r->error.sqlstate, r->error.message);
        return;
    } else if (r->kind == PV_REQUEST_PARSE && r->name != NULL) {
        /* A shared server has other names than the client's. */
        parse.statement = pv_slice_cstr(s->is_pooled && r->name[0] != '\0' ? PV_POISON_NAME : r->name);
        parse.text = pv_slice_cstr(text);
        status = pv_msg_parse_write(&r->bytes, &parse);
    } else {
        status = pv_msg_bind_write(&r->bytes, &bind);
    }
    if (status != PV_OK)
        pv_session_fail(s, status);
}

void
pv_pipeline_pump(struct pv_session *s)
{
    bool is_any = false;

    if (s->phase != PV_PHASE_READY && s->phase != PV_PHASE_SETUP)
        return;
    while (s->unsent != NULL && !s->is_cancel_pending && s->unsent->ticket_last <= s->durable && !pv_repeat_holds(s)) {
        struct pv_request *r = s->unsent;
        size_t len = pv_buf_len(&r->bytes);

        if (s->is_pooled && s->side == NULL) {
            if (pv_lease_answer(s, r))
                continue;
            pv_lease_ask(s);
            break;
        }
        if (s->side != NULL && !pv_lease_send(s, r))
            break;
        pv_repeat_send(s, r);
        if (s->phase == PV_PHASE_CLOSED)
            break;
        s->unsent_bytes -= len;
        r->is_sent = true;
        if (s->repeat_parse != NULL) {
            pv_repeat_segment_put(s, r);
        } else if (s->server_out.data == NULL && !s->server_out.failed) {
            s->server_out = r->bytes;
            r->bytes = (struct pv_buf){0};
        } else {
            pv_buf_put_slice(&s->server_out, pv_buf_slice(&r->bytes));
            pv_spare_give(s, &r->bytes);
        }
        s->unsent = r->next;
        is_any = true;
    }
    if (is_any)
        pv_request_start_clock(s);
    (void) pv_request_head(s);
}

void
pv_pipeline_io_failed(struct pv_session *s, uint64_t ticket)
{
    struct pv_error error;

    pv_error_simple(&error, "58030", "the query log cannot be written");
    for (struct pv_request *r = s->unsent; r != NULL && s->phase != PV_PHASE_CLOSED; r = r->next) {
        size_t before = pv_buf_len(&r->bytes);

        if (r->ticket_last <= s->durable || r->ticket_first > ticket)
            continue;
        for (size_t i = 0; i < r->run_count; i++)
            r->runs[i].has_ended = true;
        pv_request_poison(s, r, &error);
        s->unsent_bytes = s->unsent_bytes - before + pv_buf_len(&r->bytes);
    }
}

bool
pv_pipeline_is_running(struct pv_session *s)
{
    struct pv_request *r = pv_request_head(s);

    return r != NULL && !r->is_internal && r->kind != PV_REQUEST_SYNC && !r->is_poison;
}

void
pv_pipeline_clear(struct pv_session *s)
{
    while (s->head != NULL)
        unlink_request(s, s->head);
}
