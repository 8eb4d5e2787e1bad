/*
 * The server's errors: which statement they end, what the log is told, what becomes of the requests behind them.
 */
#include "proxy/session/result_int.h"

#include <string.h>

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
    if (strcmp(sqlstate, "57014") != 0 && (pv_error_is_redacted(s, r, run) ||
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

void
pv_result_fail_request(struct pv_session *s, struct pv_request *r)
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

/* One of the Parses of ours, in a segment of theirs, before a Query that calls statements by name. */
static bool
is_of_a_query(const struct pv_request *r)
{
    const struct pv_request *next = r->next;

    if (r->bound == NULL)
        return false;
    while (next != NULL && next->is_internal && !next->is_apart)
        next = next->next;
    return next == NULL || next->is_apart;
}

void
pv_result_on_error(struct pv_session *s, struct pv_request *r, const struct pv_reply *reply)
{
    struct pv_msg_notice notice;
    char retold[PV_RETOLD_SIZE];

    if (pv_msg_notice_read(reply->body, &notice) != PV_OK) {
        pv_result_violation(s);
        return;
    }
    pv_error_retell_type(&notice, retold);
    if (r == NULL || is_fatal(&notice)) {
        relay_fatal(s, r, &notice);
        return;
    }
    if (r->has_failed && !s->is_conformance) {
        pv_result_violation(s);
        return;
    }
    if (r->kind == PV_REQUEST_PARSE)
        r = pv_repeat_segment_error(s, r, &notice);
    if (r == NULL || pv_repeat_swallows(s, r, &notice))
        return;
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
    } else if (is_of_a_query(r)) {
        pv_trail_database_error(s, NULL, &notice); /* what calls it by name says that it is not there */
    } else if (r->is_apart) {
        if (s->track.status == 'I')
            pv_session_fatal(s, "XX000", "the database does not take the session's identity");
    } else {
        relay_error(s, r, &notice);
    }
    if (s->phase != PV_PHASE_CLOSED)
        pv_result_fail_request(s, r);
}
