/*
 * What comes back from the server.
 *  1. A reply belongs to the request at the head of the pipeline; the [request][tag] table says which it may have,
 *     an empty cell ends the session.
 *  2. Rows go on as they come, uncopied where nothing waits before them. A statement's last message waits for its end
 *     record.
 *  3. Errors and notices are written anew; replies to requests of ours go nowhere.
 * Here: each reply and the table. result_bytes.c takes them from the server's bytes, result_error.c has the errors.
 */
#include "proxy/session/result_int.h"
#include "proxy/session/side_int.h"

#include <string.h>
#include <strings.h>

void
pv_result_violation(struct pv_session *s)
{
    pv_session_fatal(s, "08P01", "the database broke the protocol");
}

static void
pass(struct pv_session *s, struct pv_request *r, struct pv_slice raw)
{
    struct pv_run *run = pv_request_run(r);

    if (r->is_internal || (run != NULL && run->is_internal))
        return;
    pv_session_append_client(s, raw.data, raw.len);
    if (run != NULL)
        run->bytes += raw.len;
}

/* ---- Rows ---- */

/* A row of SHOW for a setting of ours: the value that the client must see. */
static void
pass_shown(struct pv_session *s, struct pv_request *r, const char *value)
{
    struct pv_msg_value column = {false, pv_slice_cstr(value)};
    struct pv_buf row = {0};

    if (pv_msg_data_row_write(&row, &column, 1) == PV_OK)
        pass(s, r, pv_buf_slice(&row));
    else
        pv_session_fail(s, PV_NOMEM);
    pv_buf_clear(&row);
}

static void
on_row(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    struct pv_run *run = pv_request_run(r);

    if (run == NULL && s->is_conformance && !r->is_poison) { /* a text that we could not take apart */
        pass(s, r, reply->raw);
        return;
    }
    if (run == NULL || r->is_poison || pv_repeat_is_early(r)) {
        pv_result_violation(s);
        return;
    }
    if (pv_govern_drops(run))
        return;
    run->rows++;
    if (run->decision != NULL && run->decision->show_value != NULL)
        pass_shown(s, r, run->decision->show_value);
    else
        pass(s, r, reply->raw);
}

static void
on_copy_data(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    struct pv_run *run = pv_request_run(r);

    if (run == NULL || reply->tag == PV_SERVER_COPY_DONE || !pv_govern_drops(run))
        pass(s, r, reply->raw);
}

/* Or EXECUTE of one that was prepared by the protocol. */
static bool
is_copy_out(const struct pv_run *run)
{
    return run->kind == PV_KIND_COPY_OUT ||
           (run->kind == PV_KIND_EXECUTE && run->effective != NULL && run->effective->kind == PV_KIND_COPY_OUT);
}

static void
on_copy_out(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    struct pv_run *run = pv_request_run(r);

    if (run == NULL || (!is_copy_out(run) && !s->is_conformance))
        pv_result_violation(s);
    else
        pass(s, r, reply->raw);
}

static void
on_copy_in(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    if (!s->is_conformance) {
        pv_result_violation(s);
        return;
    }
    r->is_copying_in = true;
    pass(s, r, reply->raw);
    s->is_stalled = false;
}

static void
on_row_description(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    if (r->is_poison || (r->repeat_stage != PV_REPEAT_NONE && !pv_repeat_reply(s, r, PV_SERVER_ROW_DESCRIPTION))) {
        pv_result_violation(s);
        return;
    }
    pass(s, r, reply->raw);
    if (r->kind != PV_REQUEST_DESCRIBE)
        return;
    if (r->named != NULL)
        r->named->judged->is_described = true;
    pv_request_pop(s);
}

static void
on_parameter_description(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    if (r->is_poison || r->target != PV_TARGET_STATEMENT)
        pv_result_violation(s);
    else
        pass(s, r, reply->raw);
}

/* ---- Ends of statements ---- */

static void
finish_run(struct pv_session *s, struct pv_request *r, struct pv_run *run, const struct pv_reply *reply)
{
    bool is_over = pv_govern_is_over(s, r, run);

    run->bytes += reply->raw.len;
    pv_repeat_ran(s, r);
    pv_named_unref(run->starts);
    run->starts = NULL;
    pv_trail_end(s, run, PV_OUTCOME_COMPLETED, NULL);
    if (s->phase == PV_PHASE_CLOSED)
        return;
    if (!is_over && !r->is_internal && !run->is_internal)
        pv_session_append_client(s, reply->raw.data, reply->raw.len);
    /* The end of what takes no time comes with the next one's beginning, whose time runs already. */
    if (pv_run_is_watched(run) || r->kind != PV_REQUEST_QUERY)
        r->deadline_us = INT64_MAX;
    r->run_at++;
    if (r->kind == PV_REQUEST_EXECUTE)
        pv_request_pop(s);
    else
        pv_request_start_clock(s);
}

static void
on_command(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    struct pv_run *run = pv_request_run(r);
    struct pv_slice tag;

    if (r->is_internal) {
        if (r->kind == PV_REQUEST_EXECUTE)
            pv_request_pop(s);
        return;
    }
    if (run == NULL && s->is_conformance && !r->is_poison) {
        pass(s, r, reply->raw);
        return;
    }
    if (run == NULL || r->is_poison || pv_repeat_is_early(r) || pv_msg_text_read(reply->body, &tag) != PV_OK) {
        pv_result_violation(s);
        return;
    }
    if (is_copy_out(run) && pv_msg_command_rows(tag, &run->rows) != PV_OK)
        run->rows = 0;
    if (!run->is_internal)
        pv_track_command(s, run, tag);
    if (s->phase != PV_PHASE_CLOSED)
        finish_run(s, r, run, reply);
}

static void
on_empty_query(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    struct pv_run *run = pv_request_run(r);

    if (r->is_internal && r->kind == PV_REQUEST_QUERY) /* a setup of nothing */
        return;
    if (run == NULL && s->is_conformance && !r->is_poison)
        pass(s, r, reply->raw);
    else if (run == NULL || r->is_poison || r->repeat_stage != PV_REPEAT_NONE)
        pv_result_violation(s);
    else
        finish_run(s, r, run, reply);
}

/* Of a Query that went as the use of a prepared statement: the client knows nothing of it. */
static void
on_repeat(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    if (!pv_repeat_reply(s, r, (enum pv_server_tag) reply->tag))
        pv_result_violation(s);
}

/* PortalSuspended ends an Execute; the portal goes on with the next one. */
static void
on_suspended(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    on_empty_query(s, r, reply);
}

/* ---- Parse, Bind, Close, Describe ---- */

static void
confirm(struct pv_session *s, struct pv_name_table *table, struct pv_named *named)
{
    if (named == NULL)
        return;
    named->is_new = true;
    named->depth = s->track.savepoint_count;
    if (pv_names_put(table, named) != PV_OK)
        pv_session_fail(s, PV_NOMEM);
}

/* Of a Parse whose segment went as the use of a prepared statement. */
static void
on_segment_repeat(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    struct pv_request *next = NULL;

    if (r->repeat_stage == PV_REPEAT_NONE || !pv_repeat_segment_reply(s, r, (enum pv_server_tag) reply->tag, &next))
        pv_result_violation(s);
    else if (next != NULL)
        pv_result_replies[next->kind][reply->tag](s, next, reply);
}

static void
on_segment_ready(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    uint8_t status;

    if (r->repeat_stage != PV_REPEAT_FAILED || pv_msg_ready_read(reply->body, &status) != PV_OK || status != 'I')
        pv_result_violation(s);
    else
        pv_repeat_segment_again(s, r);
}

static void
on_parse_complete(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    if (r->repeat_stage != PV_REPEAT_NONE) {
        on_segment_repeat(s, r, reply);
        return;
    }
    if (r->is_poison) {
        pv_result_violation(s);
        return;
    }
    pv_lease_parsed(s, r);
    if (!r->is_replay)
        confirm(s, &s->statements, r->named);
    pass(s, r, reply->raw);
    pv_request_pop(s);
}

static void
on_bind_complete(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    if (r->is_poison) {
        pv_result_violation(s);
        return;
    }
    confirm(s, &s->portals, r->named);
    pass(s, r, reply->raw);
    pv_request_pop(s);
}

static void
on_close_complete(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    if (r->is_poison) {
        pv_result_violation(s);
        return;
    }
    if (r->name != NULL)
        pv_names_drop(r->target == PV_TARGET_PORTAL ? &s->portals : &s->statements, r->name);
    pass(s, r, reply->raw);
    pv_request_pop(s);
}

static void
on_no_data(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    on_row_description(s, r, reply);
}

/* ---- ReadyForQuery ---- */

static void
end_described(struct pv_session *s, struct pv_request *r)
{
    for (size_t i = 0; i < r->run_count; i++) {
        struct pv_judged *judged = r->runs[i].judged;

        pv_trail_end(s, &r->runs[i], judged->is_described ? PV_OUTCOME_COMPLETED : PV_OUTCOME_FAILED,
                     judged->is_described ? NULL : s->segment_sqlstate);
        judged->is_described = false;
    }
}

/* A segment or a Query is over; `raw`: what says so to the client. */
static void
finish_segment(struct pv_session *s, struct pv_request *r, uint8_t status, struct pv_slice raw)
{
    bool is_shown = !r->is_internal, is_setup = r->is_setup, is_query = r->kind == PV_REQUEST_QUERY;

    if (r->kind == PV_REQUEST_SYNC)
        end_described(s, r);
    if (is_query && is_shown) {
        pv_names_drop(&s->statements, "");
        pv_names_drop(&s->portals, "");
    }
    for (size_t i = 0; i < r->run_count; i++)
        pv_trail_end(s, &r->runs[i], PV_OUTCOME_COMPLETED, NULL);
    s->segment_sqlstate[0] = '\0';
    pv_track_ready(s, status);
    /* A failed transaction takes its resets back by itself. */
    if (is_query && !r->has_failed && status != 'E' && r->run_count > 0 && r->runs[r->run_count - 1].decision != NULL)
        pv_gate_identity_after(s, PV_REQUEST_QUERY, r->runs[r->run_count - 1].decision);
    if (s->discard != PV_DISCARD_NONE)
        pv_gate_discard_ready(s, r);
    if (s->side != NULL)
        pv_lease_ready(s, r);
    pv_request_pop(s);
    if (s->phase == PV_PHASE_CLOSED)
        return;
    if (is_setup)
        pv_startup_finish(s);
    if (is_shown)
        pv_session_append_client(s, raw.data, raw.len);
    pv_session_after_ready(s);
}

static void
on_ready(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    uint8_t status;

    if (r->repeat_stage == PV_REPEAT_FAILED && pv_msg_ready_read(reply->body, &status) == PV_OK && status == 'I' &&
        pv_repeat_again(s, r))
        return;
    if (s->phase == PV_PHASE_CLOSED)
        return;
    if (pv_msg_ready_read(reply->body, &status) != PV_OK || (r->is_poison && !r->has_failed) ||
        r->repeat_stage == PV_REPEAT_FAILED ||
        (r->kind == PV_REQUEST_QUERY && !r->is_setup && r->run_at < r->run_count && !s->is_conformance))
        pv_result_violation(s);
    else
        finish_segment(s, r, status, reply->raw);
}

/* ---- Replies of our own ---- */

void
pv_result_local(struct pv_session *s, struct pv_request *r)
{
    static const uint8_t ready[] = {PV_SERVER_READY_FOR_QUERY, 0, 0, 0, 5, 'I'};
    static const uint8_t parsed[] = {PV_SERVER_PARSE_COMPLETE, 0, 0, 0, 4};
    static const uint8_t closed[] = {PV_SERVER_CLOSE_COMPLETE, 0, 0, 0, 4};
    enum pv_request_kind kind = r->kind;
    struct pv_reply reply = {0};

    if (r->is_poison) {
        memcpy(s->segment_sqlstate, r->error.sqlstate, strlen(r->error.sqlstate) == 5 ? 6 : 0);
        pv_error_write(s, &r->error);
        if (s->phase == PV_PHASE_CLOSED)
            return;
        pv_result_fail_request(s, r);
        if (kind != PV_REQUEST_QUERY || s->phase == PV_PHASE_CLOSED)
            return;
    }
    if (kind == PV_REQUEST_QUERY || kind == PV_REQUEST_SYNC) {
        finish_segment(s, r, 'I', pv_slice_of(ready, sizeof(ready)));
    } else if (kind == PV_REQUEST_CLOSE) {
        reply.raw = pv_slice_of(closed, sizeof(closed));
        on_close_complete(s, r, &reply);
    } else {
        reply.raw = pv_slice_of(parsed, sizeof(parsed));
        on_parse_complete(s, r, &reply);
    }
}

/* ---- Replies without a request ---- */

bool
pv_reported_is_ours(const char *name)
{
    return strcmp(name, "is_superuser") == 0 || strcmp(name, "session_authorization") == 0;
}

/*
 * What a reset takes away of the startup packet's settings is said again behind it (gate_identity.c). The application's
 * name, where that is so: the log is not told what the server has between the two. NULL: nothing of the kind.
 */
static const struct pv_startup_setting *
application_again(struct pv_session *s)
{
    static const char name[] = "application_name";
    const struct pv_request *r = pv_request_head(s);
    const struct pv_decision *decision = r != NULL && r->kind == PV_REQUEST_QUERY && !r->is_internal && r->run_count > 0
                                             ? r->runs[r->run_count - 1].decision
                                             : NULL;
    const char *only;

    if (s->phase != PV_PHASE_READY || decision == NULL || !pv_gate_is_reset(decision))
        return NULL;
    only = pv_gate_only_of(decision);
    for (size_t i = 0; i < s->setting_count; i++)
        if (strcasecmp(s->settings[i].name, name) == 0 && (only == NULL || strcasecmp(only, name) == 0))
            return &s->settings[i];
    return NULL;
}

/* The log names the application of a statement that comes before the server has it again: so it is told as it will be.
 */
static void
put_application(struct pv_session *s, const char *value)
{
    struct pv_buf text = {0};
    struct pv_msg_parameter_status message = {pv_slice_cstr(pv_reported_names[PV_REPORTED_APPLICATION]),
                                              pv_slice_cstr("")};
    const char *told = pv_texts_at(s->reported, PV_REPORTED_APPLICATION);
    struct pv_texts *reported;
    size_t before = pv_buf_len(&s->client_out);

    for (; *value != '\0'; value++) /* as PostgreSQL shows it */
        pv_buf_put_u8(&text, *value < 32 || *value > 126 ? '?' : (uint8_t) *value);
    reported = pv_buf_text(&text) == NULL
                   ? NULL
                   : pv_texts_with(s->reported, PV_REPORTED_COUNT, PV_REPORTED_APPLICATION, pv_buf_text(&text));
    if (reported == NULL) {
        pv_session_fail(s, PV_NOMEM);
    } else if (told == NULL || strcmp(told, pv_buf_text(&text)) != 0) {
        message.value = pv_slice_cstr(pv_buf_text(&text));
        if (pv_msg_parameter_status_write(&s->client_out, &message) != PV_OK)
            pv_session_fail(s, PV_NOMEM);
        s->client_total += pv_buf_len(&s->client_out) - before;
    }
    if (reported != NULL) {
        pv_texts_unref(s->reported);
        s->reported = reported;
    }
    pv_buf_clear(&text);
}

static void
on_parameter_status(struct pv_session *s, const struct pv_reply *reply)
{
    const struct pv_startup_setting *again;
    struct pv_msg_parameter_status status;

    if (pv_msg_parameter_status_read(reply->body, &status) != PV_OK) {
        pv_result_violation(s);
        return;
    }
    /* Texts are read by these two; the server must never leave them. */
    if (!s->is_conformance &&
        ((pv_slice_is(status.name, "client_encoding") && !pv_slice_is(status.value, "UTF8")) ||
         (pv_slice_is(status.name, "standard_conforming_strings") && !pv_slice_is(status.value, "on")))) {
        pv_session_fatal(s, "08P01", "the database session left its pinned settings");
        return;
    }
    if (s->home != NULL && pv_side_report(s->home, reply->body) != PV_OK) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    if (pv_slice_is(status.name, "standard_conforming_strings"))
        s->is_backslashed = pv_slice_is(status.value, "off");
    for (size_t i = 0; i < PV_REPORTED_COUNT; i++) {
        struct pv_texts *reported;

        if (!pv_slice_is(status.name, pv_reported_names[i]) || pv_reported_is_ours(pv_reported_names[i]))
            continue;
        if (s->side != NULL && !pv_lease_reported(s, i, status.value))
            continue;
        again = i == PV_REPORTED_APPLICATION ? application_again(s) : NULL;
        if (again != NULL) {
            put_application(s, again->value);
            continue;
        }
        reported = pv_texts_with(s->reported, PV_REPORTED_COUNT, i, (const char *) status.value.data); /* has its NUL */
        if (reported == NULL) {
            pv_session_fail(s, PV_NOMEM);
            return;
        }
        pv_texts_unref(s->reported);
        s->reported = reported;
        if (s->phase == PV_PHASE_READY)
            pv_session_append_client(s, reply->raw.data, reply->raw.len);
    }
}

static void
on_notice(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    struct pv_msg_notice notice;
    struct pv_run *run = r == NULL ? NULL : pv_request_run(r);

    if (pv_msg_notice_read(reply->body, &notice) != PV_OK) {
        pv_result_violation(s);
        return;
    }
    if (pv_slice_is(notice.fields[PV_NOTICE_SQLSTATE], PV_VIEWS_SUPPRESSED_SQLSTATE)) {
        if (run != NULL)
            run->is_suppressed = true;
        return;
    }
    if (pv_slice_is(notice.fields[PV_NOTICE_SQLSTATE], PV_VIEWS_SIGNAL_SQLSTATE)) {
        if (run != NULL && run->decision != NULL)
            pv_peers_signal(s, notice.fields[PV_NOTICE_MESSAGE]);
        return;
    }
    if (r != NULL)
        pv_repeat_noted(r);
    if (s->phase != PV_PHASE_READY || (r != NULL && (r->is_internal || (run != NULL && run->is_internal))))
        return;
    pv_error_relay(s, PV_SERVER_NOTICE_RESPONSE, &notice, r, run);
}

const pv_reply_handler pv_result_replies[PV_REQUEST_KIND_COUNT][128] = {
    [PV_REQUEST_NONE] = {[PV_SERVER_ERROR_RESPONSE] = pv_result_on_error},
    [PV_REQUEST_QUERY] =
        {
            [PV_SERVER_ROW_DESCRIPTION] = on_row_description,
            [PV_SERVER_DATA_ROW] = on_row,
            [PV_SERVER_PARSE_COMPLETE] = on_repeat,
            [PV_SERVER_BIND_COMPLETE] = on_repeat,
            [PV_SERVER_CLOSE_COMPLETE] = on_repeat,
            [PV_SERVER_COMMAND_COMPLETE] = on_command,
            [PV_SERVER_EMPTY_QUERY] = on_empty_query,
            [PV_SERVER_ERROR_RESPONSE] = pv_result_on_error,
            [PV_SERVER_COPY_OUT_RESPONSE] = on_copy_out,
            [PV_SERVER_COPY_IN_RESPONSE] = on_copy_in,
            [PV_SERVER_COPY_DATA] = on_copy_data,
            [PV_SERVER_COPY_DONE] = on_copy_data,
            [PV_SERVER_READY_FOR_QUERY] = on_ready,
        },
    [PV_REQUEST_PARSE] =
        {
            [PV_SERVER_PARSE_COMPLETE] = on_parse_complete,
            [PV_SERVER_BIND_COMPLETE] = on_segment_repeat,
            [PV_SERVER_CLOSE_COMPLETE] = on_segment_repeat,
            [PV_SERVER_ERROR_RESPONSE] = pv_result_on_error,
            [PV_SERVER_READY_FOR_QUERY] = on_segment_ready,
        },
    [PV_REQUEST_BIND] = {[PV_SERVER_BIND_COMPLETE] = on_bind_complete, [PV_SERVER_ERROR_RESPONSE] = pv_result_on_error},
    [PV_REQUEST_DESCRIBE] =
        {
            [PV_SERVER_PARAMETER_DESCRIPTION] = on_parameter_description,
            [PV_SERVER_ROW_DESCRIPTION] = on_row_description,
            [PV_SERVER_NO_DATA] = on_no_data,
            [PV_SERVER_ERROR_RESPONSE] = pv_result_on_error,
        },
    [PV_REQUEST_EXECUTE] =
        {
            [PV_SERVER_DATA_ROW] = on_row,
            [PV_SERVER_COMMAND_COMPLETE] = on_command,
            [PV_SERVER_EMPTY_QUERY] = on_empty_query,
            [PV_SERVER_PORTAL_SUSPENDED] = on_suspended,
            [PV_SERVER_ERROR_RESPONSE] = pv_result_on_error,
            [PV_SERVER_COPY_OUT_RESPONSE] = on_copy_out,
            [PV_SERVER_COPY_IN_RESPONSE] = on_copy_in,
            [PV_SERVER_COPY_DATA] = on_copy_data,
            [PV_SERVER_COPY_DONE] = on_copy_data,
        },
    [PV_REQUEST_CLOSE] =
        {[PV_SERVER_CLOSE_COMPLETE] = on_close_complete, [PV_SERVER_ERROR_RESPONSE] = pv_result_on_error},
    [PV_REQUEST_SYNC] = {[PV_SERVER_ERROR_RESPONSE] = pv_result_on_error, [PV_SERVER_READY_FOR_QUERY] = on_ready},
};

/* Rows of an Execute or Query of ours are read and dropped. */
static bool
is_swallowed(const struct pv_request *r, uint8_t tag)
{
    return r != NULL && r->is_internal && (tag == PV_SERVER_DATA_ROW || tag == PV_SERVER_ROW_DESCRIPTION);
}

void
pv_result_dispatch(struct pv_session *s, const struct pv_reply *reply)
{
    struct pv_request *r = pv_request_head(s);
    pv_reply_handler handle =
        reply->tag < 128 ? pv_result_replies[r == NULL ? PV_REQUEST_NONE : r->kind][reply->tag] : NULL;

    if (reply->tag == PV_SERVER_DATA_ROW && r != NULL && r->is_internal && (r->is_harvest || r->is_checkout))
        pv_lease_row(s, r, reply->body);
    else if (reply->tag == PV_SERVER_NOTICE_RESPONSE)
        on_notice(s, r, reply);
    else if (reply->tag == PV_SERVER_PARAMETER_STATUS)
        on_parameter_status(s, reply);
    else if (reply->tag == PV_SERVER_NOTIFICATION && s->phase == PV_PHASE_READY)
        pv_session_append_client(s, reply->raw.data, reply->raw.len);
    else if (handle == NULL)
        pv_result_violation(s);
    else if (!is_swallowed(r, reply->tag))
        handle(s, r, reply);
}
