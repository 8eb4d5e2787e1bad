/*
 * What comes back from the server.
 *  1. A reply belongs to the request at the head of the pipeline; the [request][tag] table says which it may have,
 *     an empty cell ends the session.
 *  2. Rows go on as they come, uncopied where nothing waits before them. A statement's last message waits for its end
 *     record.
 *  3. Errors and notices are written anew; replies to requests of ours go nowhere.
 */
#include "proxy/session/side_int.h"

#include <string.h>
#include <strings.h>

/* A row that is larger and not all there streams in pieces; below that it is waited for. */
#define STREAMED_ROW_BYTES PV_LINK_HIGH_BYTES

struct reply {
    uint8_t tag;
    struct pv_slice body;
    struct pv_slice raw; /* head and body */
};

typedef void (*reply_handler)(struct pv_session *s, struct pv_request *r, const struct reply *reply);

static void
violation(struct pv_session *s)
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
on_row(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    struct pv_run *run = pv_request_run(r);

    if (run == NULL && s->is_conformance && !r->is_poison) { /* a text that we could not take apart */
        pass(s, r, reply->raw);
        return;
    }
    if (run == NULL || r->is_poison) {
        violation(s);
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
on_copy_data(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    struct pv_run *run = pv_request_run(r);

    if (run == NULL || reply->tag == PV_SERVER_COPY_DONE || !pv_govern_drops(run))
        pass(s, r, reply->raw);
}

static void
on_copy_out(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    struct pv_run *run = pv_request_run(r);

    if (run == NULL || (run->kind != PV_KIND_COPY_OUT && !s->is_conformance))
        violation(s);
    else
        pass(s, r, reply->raw);
}

static void
on_copy_in(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    if (!s->is_conformance) {
        violation(s);
        return;
    }
    r->is_copying_in = true;
    pass(s, r, reply->raw);
    s->is_stalled = false;
}

static void
on_row_description(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    if (r->is_poison) {
        violation(s);
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
on_parameter_description(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    if (r->is_poison || r->target != PV_TARGET_STATEMENT)
        violation(s);
    else
        pass(s, r, reply->raw);
}

/* ---- Ends of statements ---- */

static void
finish_run(struct pv_session *s, struct pv_request *r, struct pv_run *run, const struct reply *reply)
{
    bool is_over = pv_govern_is_over(s, r, run);

    run->bytes += reply->raw.len;
    pv_trail_end(s, run, PV_OUTCOME_COMPLETED, NULL);
    if (s->phase == PV_PHASE_CLOSED)
        return;
    if (!is_over && !r->is_internal && !run->is_internal)
        pv_session_append_client(s, reply->raw.data, reply->raw.len);
    r->deadline_us = INT64_MAX;
    r->run_at++;
    if (r->kind == PV_REQUEST_EXECUTE)
        pv_request_pop(s);
    else
        pv_request_start_clock(s);
}

static void
on_command(struct pv_session *s, struct pv_request *r, const struct reply *reply)
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
    if (run == NULL || r->is_poison || pv_msg_text_read(reply->body, &tag) != PV_OK) {
        violation(s);
        return;
    }
    if (run->kind == PV_KIND_COPY_OUT && pv_msg_command_rows(tag, &run->rows) != PV_OK)
        run->rows = 0;
    if (!run->is_internal)
        pv_track_command(s, run, tag);
    if (s->phase != PV_PHASE_CLOSED)
        finish_run(s, r, run, reply);
}

static void
on_empty_query(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    struct pv_run *run = pv_request_run(r);

    if (r->is_internal && r->kind == PV_REQUEST_QUERY) /* a setup of nothing */
        return;
    if (run == NULL && s->is_conformance && !r->is_poison)
        pass(s, r, reply->raw);
    else if (run == NULL || r->is_poison)
        violation(s);
    else
        finish_run(s, r, run, reply);
}

/* PortalSuspended ends an Execute; the portal goes on with the next one. */
static void
on_suspended(struct pv_session *s, struct pv_request *r, const struct reply *reply)
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

static void
on_parse_complete(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    if (r->is_poison) {
        violation(s);
        return;
    }
    pv_lease_parsed(s, r);
    if (!r->is_replay)
        confirm(s, &s->statements, r->named);
    pass(s, r, reply->raw);
    pv_request_pop(s);
}

static void
on_bind_complete(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    if (r->is_poison) {
        violation(s);
        return;
    }
    confirm(s, &s->portals, r->named);
    pass(s, r, reply->raw);
    pv_request_pop(s);
}

static void
on_close_complete(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    if (r->is_poison) {
        violation(s);
        return;
    }
    if (r->name != NULL)
        pv_names_drop(r->target == PV_TARGET_PORTAL ? &s->portals : &s->statements, r->name);
    pass(s, r, reply->raw);
    pv_request_pop(s);
}

static void
on_no_data(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    on_row_description(s, r, reply);
}

/* ---- Errors ---- */

static bool
is_fatal(const struct pv_msg_notice *notice)
{
    struct pv_slice severity = notice->fields[PV_NOTICE_SEVERITY_PLAIN];

    if (severity.data == NULL)
        severity = notice->fields[PV_NOTICE_SEVERITY];
    return severity.data != NULL && (pv_slice_is(severity, "FATAL") || pv_slice_is(severity, "PANIC"));
}

static void
copy_sqlstate(char to[6], const struct pv_msg_notice *notice)
{
    struct pv_slice code = notice->fields[PV_NOTICE_SQLSTATE];

    memcpy(to, "XX000", 6);
    if (code.data != NULL && code.len == 5)
        memcpy(to, code.data, 5);
}

/* The server ends the session: its own words only where they say nothing of data. */
static void
relay_fatal(struct pv_session *s, struct pv_request *r, const struct pv_msg_notice *notice)
{
    struct pv_run *run = r == NULL ? NULL : pv_request_run(r);
    char sqlstate[6];

    copy_sqlstate(sqlstate, notice);
    if (run != NULL && !run->is_internal)
        pv_trail_end(s, run, PV_OUTCOME_FAILED, sqlstate);
    pv_trail_database_error(s, run, notice);
    pv_session_fatal(s, sqlstate,
                     strncmp(sqlstate, "57P", 3) == 0 ? "terminating connection due to administrator command"
                                                      : "the database ended the session");
}

/* What is not poisoned: log, then client. */
static void
relay_error(struct pv_session *s, struct pv_request *r, const struct pv_msg_notice *notice)
{
    struct pv_run *run = r->kind == PV_REQUEST_SYNC ? NULL : pv_request_run(r);
    char sqlstate[6];

    copy_sqlstate(sqlstate, notice);
    memcpy(s->segment_sqlstate, sqlstate, sizeof(sqlstate));
    if (strcmp(sqlstate, "57014") != 0 && ((run != NULL && run->effective != NULL && run->effective->is_redacted) ||
                                           (r->named != NULL && r->named->facts.is_redacted)))
        pv_trail_database_error(s, run, notice);
    if (run != NULL)
        pv_trail_end(s, run, strcmp(sqlstate, "57014") == 0 ? PV_OUTCOME_CANCELLED : PV_OUTCOME_FAILED, sqlstate);
    if (r->kind == PV_REQUEST_PARSE && r->named != NULL)
        pv_trail_failed_parse(s, r->named, sqlstate);
    if (s->phase != PV_PHASE_CLOSED)
        pv_error_relay(s, PV_SERVER_ERROR_RESPONSE, notice, r, run);
}

/* PostgreSQL destroys the unnamed statement or portal before it finds the fault in its successor. */
static void
drop_unnamed(struct pv_session *s, const struct pv_request *r)
{
    if (r->name == NULL || r->name[0] != '\0')
        return;
    if (r->kind == PV_REQUEST_PARSE)
        pv_names_drop(&s->statements, "");
    else if (r->kind == PV_REQUEST_BIND)
        pv_names_drop(&s->portals, "");
}

static void
fail_request(struct pv_session *s, struct pv_request *r)
{
    r->has_failed = true;
    r->deadline_us = INT64_MAX;
    pv_track_error(s);
    pv_lease_failed(s, r);
    if (r->kind == PV_REQUEST_QUERY || r->kind == PV_REQUEST_SYNC) {
        for (size_t i = 0; r->kind == PV_REQUEST_QUERY && i < r->run_count; i++)
            pv_trail_end(s, &r->runs[i], PV_OUTCOME_FAILED, s->segment_sqlstate);
        if (r->kind == PV_REQUEST_QUERY)
            r->run_at = r->run_count;
        return;
    }
    drop_unnamed(s, r);
    pv_request_pop(s);
    pv_request_skip(s);
}

static void
on_error(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    struct pv_msg_notice notice;

    if (pv_msg_notice_read(reply->body, &notice) != PV_OK) {
        violation(s);
        return;
    }
    if (r == NULL || is_fatal(&notice)) {
        relay_fatal(s, r, &notice);
        return;
    }
    if (r->has_failed && !s->is_conformance) {
        violation(s);
        return;
    }
    if (r->is_setup) {
        char sqlstate[6];

        /* A setting of the startup packet that the server does not take, or an identity that it cannot hold. */
        copy_sqlstate(sqlstate, &notice);
        pv_trail_database_error(s, NULL, &notice);
        pv_session_fatal(s, sqlstate, "a setting of the startup packet is invalid");
        return;
    }
    if (r->is_poison) {
        memcpy(s->segment_sqlstate, r->error.sqlstate, strlen(r->error.sqlstate) == 5 ? 6 : 0);
        pv_error_write(s, &r->error);
    } else if (r->is_harvest || r->is_calming) {
        pv_trail_database_error(s, NULL, &notice); /* the settings stay where they are, and the session with them */
    } else if (r->is_checkout) {
        pv_trail_database_error(s, NULL, &notice);
        pv_session_fatal(s, "08006", "the connection to the database cannot be used");
    } else if (r->bound != NULL && (r->next == NULL || r->next->is_apart)) {
        pv_trail_database_error(s, NULL, &notice); /* what calls it by name says that it is not there */
    } else if (r->is_apart) {
        if (s->track.status == 'I')
            pv_session_fatal(s, "XX000", "the database does not take the session's identity");
    } else {
        relay_error(s, r, &notice);
    }
    if (s->phase != PV_PHASE_CLOSED)
        fail_request(s, r);
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
on_ready(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    uint8_t status;

    if (pv_msg_ready_read(reply->body, &status) != PV_OK || (r->is_poison && !r->has_failed) ||
        (r->kind == PV_REQUEST_QUERY && !r->is_setup && r->run_at < r->run_count && !s->is_conformance))
        violation(s);
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
    struct reply reply = {0};

    if (r->is_poison) {
        memcpy(s->segment_sqlstate, r->error.sqlstate, strlen(r->error.sqlstate) == 5 ? 6 : 0);
        pv_error_write(s, &r->error);
        if (s->phase == PV_PHASE_CLOSED)
            return;
        fail_request(s, r);
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

static bool
is_ours(const char *name)
{
    return strcmp(name, "is_superuser") == 0 || strcmp(name, "session_authorization") == 0;
}

static void
on_parameter_status(struct pv_session *s, const struct reply *reply)
{
    struct pv_msg_parameter_status status;

    if (pv_msg_parameter_status_read(reply->body, &status) != PV_OK) {
        violation(s);
        return;
    }
    /* Texts are read by these two; the server must never leave them. */
    if (!s->is_conformance &&
        ((pv_slice_is(status.name, "client_encoding") && !pv_slice_is(status.value, "UTF8")) ||
         (pv_slice_is(status.name, "standard_conforming_strings") && !pv_slice_is(status.value, "on")))) {
        pv_session_fatal(s, "08P01", "the database session left its pinned settings");
        return;
    }
    if (pv_slice_is(status.name, "standard_conforming_strings"))
        s->is_backslashed = pv_slice_is(status.value, "off");
    for (size_t i = 0; i < PV_REPORTED_COUNT; i++) {
        char *copy;

        if (!pv_slice_is(status.name, pv_reported_names[i]) || is_ours(pv_reported_names[i]))
            continue;
        if (s->side != NULL && !pv_lease_reported(s, i, status.value))
            continue;
        copy = pv_strndup((const char *) status.value.data, status.value.len);
        if (copy == NULL) {
            pv_session_fail(s, PV_NOMEM);
            return;
        }
        pv_free(s->reported[i]);
        s->reported[i] = copy;
        if (s->phase == PV_PHASE_READY)
            pv_session_append_client(s, reply->raw.data, reply->raw.len);
    }
}

static void
on_notice(struct pv_session *s, struct pv_request *r, const struct reply *reply)
{
    struct pv_msg_notice notice;
    struct pv_run *run = r == NULL ? NULL : pv_request_run(r);

    if (pv_msg_notice_read(reply->body, &notice) != PV_OK) {
        violation(s);
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
    if (s->phase != PV_PHASE_READY || (r != NULL && (r->is_internal || (run != NULL && run->is_internal))))
        return;
    pv_error_relay(s, PV_SERVER_NOTICE_RESPONSE, &notice, r, run);
}

static const reply_handler replies[PV_REQUEST_KIND_COUNT][128] = {
    [PV_REQUEST_NONE] = {[PV_SERVER_ERROR_RESPONSE] = on_error},
    [PV_REQUEST_QUERY] =
        {
            [PV_SERVER_ROW_DESCRIPTION] = on_row_description,
            [PV_SERVER_DATA_ROW] = on_row,
            [PV_SERVER_COMMAND_COMPLETE] = on_command,
            [PV_SERVER_EMPTY_QUERY] = on_empty_query,
            [PV_SERVER_ERROR_RESPONSE] = on_error,
            [PV_SERVER_COPY_OUT_RESPONSE] = on_copy_out,
            [PV_SERVER_COPY_IN_RESPONSE] = on_copy_in,
            [PV_SERVER_COPY_DATA] = on_copy_data,
            [PV_SERVER_COPY_DONE] = on_copy_data,
            [PV_SERVER_READY_FOR_QUERY] = on_ready,
        },
    [PV_REQUEST_PARSE] = {[PV_SERVER_PARSE_COMPLETE] = on_parse_complete, [PV_SERVER_ERROR_RESPONSE] = on_error},
    [PV_REQUEST_BIND] = {[PV_SERVER_BIND_COMPLETE] = on_bind_complete, [PV_SERVER_ERROR_RESPONSE] = on_error},
    [PV_REQUEST_DESCRIBE] =
        {
            [PV_SERVER_PARAMETER_DESCRIPTION] = on_parameter_description,
            [PV_SERVER_ROW_DESCRIPTION] = on_row_description,
            [PV_SERVER_NO_DATA] = on_no_data,
            [PV_SERVER_ERROR_RESPONSE] = on_error,
        },
    [PV_REQUEST_EXECUTE] =
        {
            [PV_SERVER_DATA_ROW] = on_row,
            [PV_SERVER_COMMAND_COMPLETE] = on_command,
            [PV_SERVER_EMPTY_QUERY] = on_empty_query,
            [PV_SERVER_PORTAL_SUSPENDED] = on_suspended,
            [PV_SERVER_ERROR_RESPONSE] = on_error,
            [PV_SERVER_COPY_OUT_RESPONSE] = on_copy_out,
            [PV_SERVER_COPY_IN_RESPONSE] = on_copy_in,
            [PV_SERVER_COPY_DATA] = on_copy_data,
            [PV_SERVER_COPY_DONE] = on_copy_data,
        },
    [PV_REQUEST_CLOSE] = {[PV_SERVER_CLOSE_COMPLETE] = on_close_complete, [PV_SERVER_ERROR_RESPONSE] = on_error},
    [PV_REQUEST_SYNC] = {[PV_SERVER_ERROR_RESPONSE] = on_error, [PV_SERVER_READY_FOR_QUERY] = on_ready},
};

/* Rows of an Execute or Query of ours are read and dropped. */
static bool
is_swallowed(const struct pv_request *r, uint8_t tag)
{
    return r != NULL && r->is_internal && (tag == PV_SERVER_DATA_ROW || tag == PV_SERVER_ROW_DESCRIPTION);
}

static void
dispatch(struct pv_session *s, const struct reply *reply)
{
    struct pv_request *r = pv_request_head(s);
    reply_handler handle = reply->tag < 128 ? replies[r == NULL ? PV_REQUEST_NONE : r->kind][reply->tag] : NULL;

    if (reply->tag == PV_SERVER_DATA_ROW && r != NULL && r->is_internal && (r->is_harvest || r->is_checkout))
        pv_lease_row(s, r, reply->body);
    else if (reply->tag == PV_SERVER_NOTICE_RESPONSE)
        on_notice(s, r, reply);
    else if (reply->tag == PV_SERVER_PARAMETER_STATUS)
        on_parameter_status(s, reply);
    else if (reply->tag == PV_SERVER_NOTIFICATION && s->phase == PV_PHASE_READY)
        pv_session_append_client(s, reply->raw.data, reply->raw.len);
    else if (handle == NULL)
        violation(s);
    else if (!is_swallowed(r, reply->tag))
        handle(s, r, reply);
}

/* ---- Bytes ---- */

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
    if (run == NULL || r->is_poison || replies[r->kind][head->tag] == NULL || run->decision == NULL ||
        run->decision->show_value != NULL) {
        violation(s);
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
        r->is_internal || run->is_internal || run->withdrawn_words != NULL || run->decision == NULL ||
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
           replies[r->kind][head.tag] != NULL) {
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
        struct pv_frame frame;
        struct reply reply;
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
        if (status == PV_OK)
            status = pv_frame_next(in, PV_FRAME_BACKEND, 0, &frame);
        if (status == PV_MORE)
            return;
        if (status != PV_OK) {
            violation(s);
            return;
        }
        reply.tag = frame.tag;
        reply.body = frame.body;
        reply.raw = pv_slice_of(in.data, frame.total_len);
        dispatch(s, &reply);
        pv_buf_consume(&s->server_in, frame.total_len);
    }
}
