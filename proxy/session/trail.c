/*
 * What the query log is told (INTERFACE 5).
 *  1. A request with a statement waits, unsent, for the begin records of all its statements.
 *  2. A statement's last message waits, untold, for its end record.
 */
#include "proxy/session/session_int.h"

#include <stdio.h>
#include <string.h>

static const char *const question_types[] = {
    [PV_QUESTION_ANALYTICAL] = "analytical",
    [PV_QUESTION_LIST] = "list",
    [PV_QUESTION_CLEANML] = "cleanml",
};

static enum pv_status
put(struct pv_session *s, const struct pv_record *record, uint64_t *ticket)
{
    return s->host->record(s->host_context, record, ticket);
}

static void
wait_for(struct pv_request *r, uint64_t ticket)
{
    if (ticket == 0)
        return;
    if (r->ticket_first == 0)
        r->ticket_first = ticket;
    r->ticket_last = ticket;
}

void
pv_trail_fill(struct pv_session *s, struct pv_statement_begin *begin, bool is_extended)
{
    memset(begin, 0, sizeof(*begin));
    begin->id = pv_statement_id_next();
    begin->at_us = pv_session_wall_us(s);
    begin->session = s->id;
    begin->room = s->room_name;
    begin->user = s->user;
    begin->party = s->party;
    begin->service = s->service;
    begin->client = s->client;
    begin->application = pv_texts_at(s->reported, PV_REPORTED_APPLICATION);
    begin->protocol = is_extended ? PV_RECORD_EXTENDED : PV_RECORD_SIMPLE;
    s->statement_count++;
}

static enum pv_status
fill_question(struct pv_statement_begin *begin, struct pv_arena *arena, const struct pv_decision *decision)
{
    if (decision->question != NULL) {
        begin->question = decision->question->id;
        begin->question_type = question_types[decision->question->type];
    }
    /* A decision from the cache brings the texts along. */
    begin->datasets =
        decision->datasets_json != NULL ? decision->datasets_json : pv_names_json(arena, &decision->datasets);
    begin->columns = decision->columns_json != NULL ? decision->columns_json : pv_names_json(arena, &decision->columns);
    return begin->datasets == NULL || begin->columns == NULL ? PV_NOMEM : PV_OK;
}

/* What is no text cannot be kept as one; the decision's reason says so. */
static void
set_query(struct pv_statement_begin *begin, struct pv_slice text)
{
    begin->has_query = pv_utf8_valid(text);
    if (begin->has_query)
        begin->query = text;
}

enum pv_status
pv_trail_begin(struct pv_session *s, struct pv_request *r, struct pv_run *run)
{
    struct pv_statement_begin begin;
    struct pv_record record = {PV_RECORD_BEGIN, &begin, NULL, NULL, false};
    uint64_t ticket = 0;
    enum pv_status status;

    pv_trail_fill(s, &begin, r->kind != PV_REQUEST_QUERY);
    status = fill_question(&begin, r->arena, run->effective);
    if (status != PV_OK)
        return status;
    begin.is_allowed = true;
    if (s->is_conformance)
        begin.reason = run->decision->detail;
    set_query(&begin, run->decision->text);
    begin.parameters = run->parameters;
    begin.forwarded = run->decision->forwarded;
    status = pv_govern_takes(s, r, run, &begin);
    if (status == PV_OK)
        status = put(s, &record, &ticket);
    if (status != PV_OK)
        return status;
    run->ticket = ticket;
    run->id = begin.id;
    run->started_us = s->now_us;
    run->has_begun = true;
    wait_for(r, ticket);
    return PV_OK;
}

static enum pv_suppressed
suppression_of(const struct pv_run *run)
{
    if (run->is_suppressed)
        return PV_SUPPRESSED_SOME;
    if (run->effective == NULL || run->effective->question == NULL ||
        (run->effective->question->minimum_entities == 0 && !run->effective->has_threshold))
        return PV_SUPPRESSED_UNKNOWN;
    return PV_SUPPRESSED_NONE;
}

void
pv_trail_end(struct pv_session *s, struct pv_run *run, enum pv_outcome outcome, const char *sqlstate)
{
    struct pv_statement_end end = {0};
    struct pv_record record = {PV_RECORD_END, NULL, &end, NULL, true};
    uint64_t ticket = 0;
    enum pv_status status;

    if (!run->has_begun || run->has_ended)
        return;
    run->has_ended = true;
    end.id = run->id;
    end.at_us = pv_session_wall_us(s);
    end.rows = run->rows;
    end.bytes = run->bytes;
    end.duration_us = s->now_us > run->started_us ? (uint64_t) (s->now_us - run->started_us) : 0;
    end.suppressed = suppression_of(run);
    end.outcome = outcome;
    end.sqlstate = sqlstate != NULL && strlen(sqlstate) == 5 ? sqlstate : NULL;
    end.reason = run->database_words;
    status = put(s, &record, &ticket);
    pv_free(run->database_words);
    run->database_words = NULL;
    if (s->phase == PV_PHASE_CLOSED)
        return;
    /* The statement ran; that its outcome cannot be kept ends the session, before the client sees the statement end. */
    if (status != PV_OK)
        pv_session_fatal(s, "58030", "the query log cannot be written");
    else
        pv_session_gate(s, ticket);
}

static void
put_whole(struct pv_session *s, struct pv_request *r, struct pv_statement_begin *begin, const char *sqlstate)
{
    struct pv_statement_end end = {0};
    struct pv_record record = {PV_RECORD_WHOLE, begin, &end, NULL, true};
    struct pv_error error;
    uint64_t ticket = 0;

    end.id = begin->id;
    end.at_us = pv_session_wall_us(s);
    end.outcome = PV_OUTCOME_FAILED;
    end.sqlstate = sqlstate;
    if (put(s, &record, &ticket) == PV_OK) {
        wait_for(r, ticket);
        return;
    }
    pv_error_simple(&error, "58030", "the query log cannot be written");
    pv_request_poison(s, r, &error);
}

void
pv_trail_denied(struct pv_session *s, struct pv_request *r, const struct pv_judged *judged, size_t index,
                bool is_extended, const char *reason, const char *sqlstate, const char *parameters)
{
    const struct pv_decision *decision = &judged->decisions[index];
    struct pv_statement_begin begin;

    pv_trail_fill(s, &begin, is_extended);
    if (fill_question(&begin, r->arena, decision) != PV_OK) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    set_query(&begin, decision->text);
    begin.reason = reason;
    begin.parameters = parameters;
    put_whole(s, r, &begin, sqlstate);
}

void
pv_trail_failed_parse(struct pv_session *s, const struct pv_named *named, const char *sqlstate)
{
    const struct pv_decision *decision = &named->judged->decisions[named->index];
    struct pv_statement_begin begin;
    struct pv_statement_end end = {0};
    struct pv_record record = {PV_RECORD_WHOLE, &begin, &end, NULL, true};
    uint64_t ticket = 0;

    if (named->judged->is_logged)
        return;
    pv_trail_fill(s, &begin, true);
    if (fill_question(&begin, named->judged->arena, decision) != PV_OK) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    named->judged->is_logged = true;
    begin.is_allowed = true;
    set_query(&begin, decision->text);
    begin.forwarded = decision->forwarded;
    end.id = begin.id;
    end.at_us = pv_session_wall_us(s);
    end.outcome = PV_OUTCOME_FAILED;
    end.sqlstate = sqlstate;
    if (put(s, &record, &ticket) != PV_OK)
        pv_session_fatal(s, "58030", "the query log cannot be written");
    else
        pv_session_gate(s, ticket);
}

void
pv_trail_unread(struct pv_session *s, struct pv_request *r, bool is_extended, const char *reason, const char *sqlstate)
{
    struct pv_statement_begin begin;

    pv_trail_fill(s, &begin, is_extended);
    begin.reason = reason;
    put_whole(s, r, &begin, sqlstate);
}

void
pv_trail_cut(struct pv_session *s, bool is_extended, const char *reason, const char *sqlstate)
{
    struct pv_statement_begin begin;
    struct pv_statement_end end = {.at_us = pv_session_wall_us(s), .outcome = PV_OUTCOME_FAILED, .sqlstate = sqlstate};
    struct pv_record record = {PV_RECORD_WHOLE, &begin, &end, NULL, true};
    uint64_t ticket = 0;

    pv_trail_fill(s, &begin, is_extended);
    begin.reason = reason;
    end.id = begin.id;
    /* Nobody is there to be told that it failed; it is kept until the log works again. */
    (void) put(s, &record, &ticket);
}

static void
put_event(struct pv_session *s, const char *user, const char *room, const char *name, const char *detail)
{
    struct pv_event event = {pv_session_wall_us(s), s->id, room, user, s->client, name, detail};
    struct pv_record record = {PV_RECORD_EVENT, NULL, NULL, &event, true};
    uint64_t ticket = 0;

    /* An event that cannot be written now is kept by the log; nothing waits for it. */
    (void) put(s, &record, &ticket);
}

void
pv_trail_event(struct pv_session *s, const char *event, const char *detail_json)
{
    put_event(s, s->user, s->room_name, event, detail_json);
}

void
pv_trail_login_failed(struct pv_session *s, const char *user, const char *room, const char *reason)
{
    struct pv_buf buf = {0};
    const char *detail;

    pv_buf_put_text(&buf, "{\"reason\":");
    pv_buf_put_json(&buf, pv_slice_cstr(reason));
    pv_buf_put_u8(&buf, '}');
    detail = pv_buf_text(&buf);
    put_event(s, user, room, "login_failed", detail);
    pv_buf_clear(&buf);
}

/* The server's own words, which a client of a redacted question does not get. */
void
pv_trail_database_error(struct pv_session *s, struct pv_run *run, const struct pv_msg_notice *notice)
{
    static const struct {
        enum pv_msg_notice_field field;
        const char *key;
    } fields[] = {
        {PV_NOTICE_SQLSTATE, "sqlstate"}, {PV_NOTICE_MESSAGE, "message"}, {PV_NOTICE_DETAIL, "detail"},
        {PV_NOTICE_HINT, "hint"},         {PV_NOTICE_WHERE, "where"},
    };
    struct pv_buf buf = {0};
    struct pv_slice words = notice->fields[PV_NOTICE_MESSAGE];
    const char *detail;

    /* The original goes with the statement's end, which follows; running out of memory costs the words alone. */
    if (run != NULL && run->has_begun && !run->has_ended && words.data != NULL && run->database_words == NULL)
        run->database_words = pv_strndup((const char *) words.data, words.len);
    pv_buf_printf(&buf, "{\"statement\":%llu", (unsigned long long) (run == NULL ? 0 : run->id));
    for (size_t i = 0; i < PV_COUNT_OF(fields); i++) {
        struct pv_slice value = notice->fields[fields[i].field];

        if (value.data == NULL)
            continue;
        pv_buf_printf(&buf, ",\"%s\":", fields[i].key);
        pv_buf_put_json(&buf, value);
    }
    pv_buf_put_u8(&buf, '}');
    detail = pv_buf_text(&buf);
    if (detail != NULL)
        pv_trail_event(s, "database_error", detail);
    pv_buf_clear(&buf);
}
