/*
 * What the client and the query log are told of an auditor's statements: rows' frames, records, errors.
 */
#include "proxy/session/auditor_int.h"

#include <string.h>

/* ---- Bytes out ---- */

void
pv_auditor_wrote(struct pv_session *s, size_t before, enum pv_status status)
{
    s->client_total += pv_buf_len(&s->client_out) - before;
    s->auditor->bytes += pv_buf_len(&s->client_out) - before;
    if (status != PV_OK)
        s->client_out.failed = true;
}

void
pv_auditor_put_empty(struct pv_session *s, enum pv_server_tag tag)
{
    size_t before = pv_buf_len(&s->client_out);

    pv_auditor_wrote(s, before, pv_msg_empty_write(&s->client_out, (uint8_t) tag));
}

void
pv_auditor_put_description(struct pv_session *s, const struct pv_ask_column *columns, size_t count,
                           const struct pv_auditor_item *item)
{
    struct pv_msg_field *fields = pv_calloc(count + 1, sizeof(*fields));
    struct pv_msg_row_description description = {count, fields};
    size_t before = pv_buf_len(&s->client_out);

    if (fields == NULL) {
        s->client_out.failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        fields[i].name = pv_slice_cstr(columns[i].name);
        fields[i].type_oid = columns[i].type_oid;
        fields[i].type_len = columns[i].type_oid == PV_TYPE_TEXT ? -1 : 8;
        fields[i].type_modifier = -1;
        if (item != NULL && item->format_count > 0)
            fields[i].format = item->format_count == 1 ? item->formats[0]
                               : i < item->format_count ? item->formats[i]
                                                        : 0;
    }
    pv_auditor_wrote(s, before, pv_msg_row_description_write(&s->client_out, &description));
    pv_free(fields);
}

/* ---- The log of it ---- */

static void
fill_begin(struct pv_session *s, struct pv_statement_begin *begin, const struct pv_dialect *statement, bool is_extended)
{
    pv_trail_fill(s, begin, is_extended);
    begin->datasets = begin->columns = "[]";
    begin->has_query = statement != NULL;
    if (statement != NULL)
        begin->query = statement->text;
}

/* What the caller sees of a record that fails. */
static bool
settle(struct pv_session *s, enum pv_status status, uint64_t ticket)
{
    if (status == PV_OK)
        pv_session_gate(s, ticket);
    return status == PV_OK;
}

bool
pv_auditor_log_whole(struct pv_session *s, const struct pv_dialect *statement, bool is_extended, const char *reason,
                     const char *sqlstate)
{
    struct pv_statement_begin begin;
    struct pv_statement_end end = {.at_us = pv_session_wall_us(s), .outcome = PV_OUTCOME_FAILED, .sqlstate = sqlstate};
    struct pv_record record = {PV_RECORD_WHOLE, &begin, &end, NULL, true};
    uint64_t ticket = 0;

    fill_begin(s, &begin, statement, is_extended);
    begin.reason = reason;
    end.id = begin.id;
    return settle(s, s->host->record(s->host_context, &record, &ticket), ticket);
}

static const char *
parameters_json(struct pv_session *s, const struct pv_auditor_item *item)
{
    struct pv_buf out = {0};
    const char *text = NULL;

    if (!s->policy->config.is_logging_parameters || item->parameter_count == 0)
        return NULL;
    pv_buf_put_u8(&out, '[');
    for (size_t i = 0; i < item->parameter_count; i++) {
        if (i > 0)
            pv_buf_put_u8(&out, ',');
        if (item->parameters[i].is_null) {
            pv_buf_put_text(&out, "null");
        } else if (item->parameters[i].is_binary) {
            pv_buf_put_text(&out, "\"\\\\x");
            for (size_t k = 0; k < item->parameters[i].bytes.len; k++)
                pv_buf_printf(&out, "%02x", (unsigned) item->parameters[i].bytes.data[k]);
            pv_buf_put_u8(&out, '"');
        } else {
            pv_buf_put_json(&out, item->parameters[i].bytes);
        }
    }
    pv_buf_put_u8(&out, ']');
    if (pv_buf_ok(&out))
        text = pv_arena_strndup(item->arena, (const char *) pv_buf_slice(&out).data, pv_buf_len(&out));
    pv_buf_clear(&out);
    return text;
}

bool
pv_auditor_log_begin(struct pv_session *s, const struct pv_auditor_item *item, bool is_extended)
{
    struct pv_auditor *a = s->auditor;
    struct pv_statement_begin begin;
    struct pv_record record = {PV_RECORD_BEGIN, &begin, NULL, NULL, false};
    uint64_t ticket = 0;

    if (a->is_open)
        return true;
    fill_begin(s, &begin, item->statement, is_extended);
    begin.is_allowed = true;
    begin.forwarded = item->statement->sql;
    begin.parameters = parameters_json(s, item);
    if (!settle(s, s->host->record(s->host_context, &record, &ticket), ticket))
        return false;
    a->is_open = true;
    a->run_id = begin.id;
    a->rows = a->bytes = 0;
    a->started_us = s->now_us;
    return true;
}

void
pv_auditor_log_end(struct pv_session *s, enum pv_outcome outcome, const char *sqlstate)
{
    struct pv_auditor *a = s->auditor;
    struct pv_statement_end end = {.id = a->run_id, .at_us = pv_session_wall_us(s), .rows = a->rows, .bytes = a->bytes,
                                   .outcome = outcome, .sqlstate = sqlstate};
    struct pv_record record = {PV_RECORD_END, NULL, &end, NULL, true};
    uint64_t ticket = 0;

    if (!a->is_open)
        return;
    a->is_open = false;
    end.duration_us = s->now_us > a->started_us ? (uint64_t) (s->now_us - a->started_us) : 0;
    if (!settle(s, s->host->record(s->host_context, &record, &ticket), ticket) && s->phase != PV_PHASE_CLOSED)
        pv_session_fatal(s, "58030", "the query log cannot be written");
}

/* ---- Errors ---- */

void
pv_auditor_refuse(struct pv_session *s, bool is_extended, const char *sqlstate, const char *message, const char *hint)
{
    struct pv_error error = {.severity = "ERROR", .sqlstate = sqlstate, .message = message, .hint = hint};

    if (s->auditor->is_open)
        pv_auditor_log_end(s, strcmp(sqlstate, "57014") == 0 ? PV_OUTCOME_CANCELLED : PV_OUTCOME_FAILED, sqlstate);
    if (s->phase == PV_PHASE_CLOSED)
        return;
    pv_error_write(s, &error);
    if (s->auditor->status == 'T')
        s->auditor->status = 'E';
    s->auditor->has_failed = true;
    s->is_doomed = is_extended;
}

void
pv_auditor_refuse_unwritten(struct pv_session *s, bool is_extended)
{
    pv_auditor_refuse(s, is_extended, "58030", "the query log cannot be written", NULL);
}
