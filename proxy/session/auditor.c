/*
 * The auditors' database `pgveil`: a session without a server. A member with the role `auditor` of a room reads the
 * query log of its rooms with SQL from any client.
 *  1. SQL runs at the host's desk (proxy/audit/desk.h), never here: a statement leaves as an ask, and the message that
 *     began it is taken again when the answer is there. One ask at a time.
 *  2. What an ask may see are the auditor's rooms in the policy in force when it is sent.
 *  3. Each statement has its record, as in a room; nothing of its answer leaves before that is on disk.
 *  4. Rows leave in pieces, the next one when the client has taken the last.
 * Transactions, SET and cursors of the protocol are answered from here; the log only grows, so there is nothing that
 * a transaction could hold together or undo.
 */
#include "parser/literals.h"
#include "proxy/audit/desk.h"
#include "proxy/audit/dialect.h"
#include "proxy/session/session_int.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Rows that leave at once. */
#define PIECE_BYTES PV_LINK_HIGH_BYTES
/* Far from process ids of real servers, of which this one has none. */
#define PID_BASE 0x70000000u
#define NAMES_MAX 1000u

/* A prepared statement or a portal. */
struct item {
    struct item *next;
    char *name;
    struct pv_arena *arena;
    struct pv_dialect *statement; /* NULL: empty */
    const uint32_t *oids;         /* prepared: as declared */
    size_t oid_count;
    struct pv_ask_parameter *parameters;
    size_t parameter_count;
    const uint16_t *formats;
    size_t format_count;
    struct pv_ask *answer; /* portal: its rows; prepared: its description */
    const struct pv_ask_column *promised; /* portal: what its statement's description told */
    size_t promised_count;
    size_t offset;
    uint64_t rows_left;
    bool is_done;
};

struct pv_auditor {
    const char **rooms;
    size_t room_count;
    struct pv_arena *rooms_arena;
    struct item *statements, *portals;
    size_t name_count;
    struct pv_ask *ask; /* sent */
    bool is_answered;
    bool has_more;
    uint8_t status;
    /* The Query at hand. */
    struct pv_arena *query_arena;
    struct pv_dialect *query;
    size_t query_count, query_at;
    struct item *query_item;
    /* The record at hand. */
    bool is_open, has_described_row;
    bool has_failed; /* an error was said since the Query or segment began */
    uint64_t run_id, rows, bytes;
    int64_t started_us;
};

/* ---- Bytes out ---- */

static void
wrote(struct pv_session *s, size_t before, enum pv_status status)
{
    s->client_total += pv_buf_len(&s->client_out) - before;
    s->auditor->bytes += pv_buf_len(&s->client_out) - before;
    if (status != PV_OK)
        s->client_out.failed = true;
}

static void
put_empty(struct pv_session *s, enum pv_server_tag tag)
{
    size_t before = pv_buf_len(&s->client_out);

    wrote(s, before, pv_msg_empty_write(&s->client_out, (uint8_t) tag));
}

static void
put_complete(struct pv_session *s, const char *tag)
{
    size_t before = pv_buf_len(&s->client_out);

    wrote(s, before, pv_msg_text_write(&s->client_out, PV_SERVER_COMMAND_COMPLETE, pv_slice_cstr(tag)));
}

static void
put_ready(struct pv_session *s)
{
    size_t before = pv_buf_len(&s->client_out);

    wrote(s, before, pv_msg_ready_write(&s->client_out, s->auditor->status));
    pv_session_after_ready(s);
}

static void
put_setting(struct pv_session *s, const char *name, const char *value)
{
    struct pv_msg_parameter_status parameter = {pv_slice_cstr(name), pv_slice_cstr(value)};
    size_t before = pv_buf_len(&s->client_out);

    wrote(s, before, pv_msg_parameter_status_write(&s->client_out, &parameter));
}

static void
put_description(struct pv_session *s, const struct pv_ask_column *columns, size_t count, const struct item *item)
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
    wrote(s, before, pv_msg_row_description_write(&s->client_out, &description));
    pv_free(fields);
}

/* ---- The log of it ---- */

static void
fill_begin(struct pv_session *s, struct pv_statement_begin *begin, const struct pv_dialect *statement, bool is_extended)
{
    memset(begin, 0, sizeof(*begin));
    begin->id = pv_statement_id_next();
    begin->at_us = s->now_us;
    begin->session = s->id;
    begin->room = s->room_name;
    begin->user = s->user;
    begin->party = s->party;
    begin->client = s->client;
    begin->application = s->reported[0];
    begin->protocol = is_extended ? PV_RECORD_EXTENDED : PV_RECORD_SIMPLE;
    begin->datasets = begin->columns = "[]";
    begin->has_query = statement != NULL;
    if (statement != NULL)
        begin->query = statement->text;
    s->statement_count++;
}

/* What the caller sees of a record that fails. */
static bool
settle(struct pv_session *s, enum pv_status status, uint64_t ticket)
{
    if (status == PV_OK)
        pv_session_gate(s, ticket);
    return status == PV_OK;
}

static bool
log_whole(struct pv_session *s, const struct pv_dialect *statement, bool is_extended, const char *reason,
          const char *sqlstate)
{
    struct pv_statement_begin begin;
    struct pv_statement_end end = {.at_us = s->now_us, .outcome = PV_OUTCOME_FAILED, .sqlstate = sqlstate};
    struct pv_record record = {PV_RECORD_WHOLE, &begin, &end, NULL, true};
    uint64_t ticket = 0;

    fill_begin(s, &begin, statement, is_extended);
    begin.reason = reason;
    end.id = begin.id;
    return settle(s, s->host->record(s->host_context, &record, &ticket), ticket);
}

static const char *
parameters_json(struct pv_session *s, const struct item *item)
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

static bool
log_begin(struct pv_session *s, const struct item *item, bool is_extended)
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

static void
log_end(struct pv_session *s, enum pv_outcome outcome, const char *sqlstate)
{
    struct pv_auditor *a = s->auditor;
    struct pv_statement_end end = {.id = a->run_id, .at_us = s->now_us, .rows = a->rows, .bytes = a->bytes,
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

static void
refuse(struct pv_session *s, bool is_extended, const char *sqlstate, const char *message, const char *hint)
{
    struct pv_error error = {.severity = "ERROR", .sqlstate = sqlstate, .message = message, .hint = hint};

    if (s->auditor->is_open)
        log_end(s, strcmp(sqlstate, "57014") == 0 ? PV_OUTCOME_CANCELLED : PV_OUTCOME_FAILED, sqlstate);
    if (s->phase == PV_PHASE_CLOSED)
        return;
    pv_error_write(s, &error);
    if (s->auditor->status == 'T')
        s->auditor->status = 'E';
    s->auditor->has_failed = true;
    s->is_doomed = is_extended;
}

static void
refuse_unwritten(struct pv_session *s, bool is_extended)
{
    refuse(s, is_extended, "58030", "the query log cannot be written", NULL);
}

/* One that is refused as it stands, and logged. */
static void
deny(struct pv_session *s, bool is_extended, const struct pv_dialect *statement)
{
    const char *message = statement->message != NULL ? statement->message : pv_status_words(PV_NOMEM);

    if (log_whole(s, statement, is_extended, message, statement->sqlstate))
        refuse(s, is_extended, statement->sqlstate, message, statement->hint);
    else
        refuse_unwritten(s, is_extended);
}

/* ---- Items ---- */

static void
item_free(struct item *item)
{
    if (item == NULL)
        return;
    pv_ask_unref(item->answer);
    pv_arena_free(item->arena);
    pv_free(item->name);
    pv_free(item);
}

static struct item *
item_new(struct pv_slice name)
{
    struct item *item = pv_calloc(1, sizeof(*item));

    if (item == NULL)
        return NULL;
    item->arena = pv_arena_new(1024);
    item->name = pv_calloc(1, name.len + 1);
    if (item->arena == NULL || item->name == NULL) {
        item_free(item);
        return NULL;
    }
    if (name.len > 0)
        memcpy(item->name, name.data, name.len);
    return item;
}

static struct item *
find(struct item *list, struct pv_slice name)
{
    while (list != NULL && !pv_slice_is(name, list->name))
        list = list->next;
    return list;
}

static void
drop(struct pv_auditor *a, struct item **list, struct pv_slice name)
{
    for (; *list != NULL; list = &(*list)->next)
        if (pv_slice_is(name, (*list)->name)) {
            struct item *gone = *list;

            *list = gone->next;
            item_free(gone);
            a->name_count--;
            return;
        }
}

static void
drop_all(struct pv_auditor *a, struct item **list)
{
    while (*list != NULL) {
        struct item *gone = *list;

        *list = gone->next;
        item_free(gone);
        a->name_count--;
    }
}

static void
keep(struct pv_auditor *a, struct item **list, struct item *item)
{
    item->next = *list;
    *list = item;
    a->name_count++;
}

/* Copies the text and reads it; PV_INVALID: more than one statement. */
static enum pv_status
item_read(struct item *item, struct pv_slice text)
{
    char *copy = pv_arena_strndup(item->arena, (const char *) text.data, text.len);
    size_t count = 0;
    enum pv_status status;

    if (copy == NULL)
        return PV_NOMEM;
    status = pv_dialect_read(item->arena, pv_slice_of(copy, text.len), &item->statement, &count);
    if (status != PV_OK)
        return status;
    if (count == 0)
        item->statement = NULL;
    return count > 1 ? PV_INVALID : PV_OK;
}

/* ---- Asking ---- */

/* True when the item's answer is there; false: stalled, or refused already. */
static bool
answered(struct pv_session *s, struct item *item, bool is_describing, bool is_extended, enum pv_step *step)
{
    struct pv_auditor *a = s->auditor;
    struct pv_ask *ask;

    if (item->answer != NULL)
        return true;
    if (a->ask != NULL) {
        *step = PV_STEP_STALL;
        if (!a->is_answered)
            return false;
        item->answer = a->ask;
        a->ask = NULL;
        a->is_answered = false;
        *step = PV_STEP_DONE;
        if (item->answer->sqlstate[0] == '\0')
            return true;
        if (is_describing && !log_whole(s, item->statement, is_extended, item->answer->message, item->answer->sqlstate))
            refuse_unwritten(s, is_extended);
        else
            refuse(s, is_extended, item->answer->sqlstate, item->answer->message, item->answer->hint);
        return false;
    }
    if (!is_describing && !log_begin(s, item, is_extended)) {
        refuse_unwritten(s, is_extended);
        return false;
    }
    ask = pv_ask_new();
    if (ask != NULL) {
        const char **rooms = pv_arena_alloc(ask->arena, (a->room_count + 1) * sizeof(*rooms));
        bool is_whole = rooms != NULL;

        for (size_t i = 0; is_whole && i < a->room_count; i++) {
            rooms[i] = pv_arena_strdup(ask->arena, a->rooms[i]);
            is_whole = rooms[i] != NULL;
        }
        ask->rooms = rooms;
        ask->room_count = a->room_count;
        ask->user = pv_arena_strdup(ask->arena, s->user);
        ask->sql = pv_arena_strdup(ask->arena, item->statement->sql);
        ask->has_catalog = item->statement->has_catalog;
        ask->is_describing = is_describing;
        ask->mask = s->policy->config.is_masking_literals ? pv_literals_mask : NULL;
        is_whole = is_whole && ask->user != NULL && ask->sql != NULL;
        if (is_whole && item->parameter_count > 0) {
            struct pv_ask_parameter *parameters =
                pv_arena_alloc(ask->arena, item->parameter_count * sizeof(*parameters));

            is_whole = parameters != NULL;
            for (size_t i = 0; is_whole && i < item->parameter_count; i++) {
                parameters[i] = item->parameters[i];
                parameters[i].bytes.data =
                    (const uint8_t *) pv_arena_strndup(ask->arena, (const char *) item->parameters[i].bytes.data,
                                                       item->parameters[i].bytes.len);
                is_whole = parameters[i].bytes.data != NULL;
            }
            ask->parameters = parameters;
            ask->parameter_count = item->parameter_count;
        }
        if (is_whole && item->promised != NULL) {
            struct pv_ask_column *promised = pv_arena_alloc(ask->arena, item->promised_count * sizeof(*promised));

            is_whole = promised != NULL;
            if (is_whole) /* names are not looked at */
                memcpy(promised, item->promised, item->promised_count * sizeof(*promised));
            ask->promised = promised;
            ask->promised_count = item->promised_count;
        }
        ask->session = s->id;
        if (is_whole && s->host->audit_ask != NULL && s->host->audit_ask(s->host_context, ask) == PV_OK) {
            a->ask = ask;
            *step = PV_STEP_STALL;
            return false;
        }
    }
    pv_ask_unref(ask);
    refuse(s, is_extended, "53300", "too many queries of the log wait already", NULL);
    return false;
}

void
pv_auditor_answer(struct pv_session *s, struct pv_ask *ask)
{
    if (s->auditor == NULL || s->auditor->ask != ask)
        return;
    s->auditor->is_answered = true;
    s->is_stalled = false;
}

/* ---- Settings ---- */

static const struct {
    const char *name, *value;
} settings[] = {
    {"transaction_isolation", "read committed"},
    {"default_transaction_isolation", "read committed"},
    {"transaction_isolation_level", "read committed"},
    {"transaction_read_only", "on"},
    {"default_transaction_read_only", "on"},
    {"standard_conforming_strings", "on"},
    {"server_version", "15.0"},
    {"server_version_num", "150000"},
    {"server_encoding", "UTF8"},
    {"client_encoding", "UTF8"},
    {"timezone", "UTC"},
    {"time_zone", "UTC"},
    {"datestyle", "ISO, MDY"},
    {"intervalstyle", "postgres"},
    {"integer_datetimes", "on"},
    {"is_superuser", "off"},
    {"search_path", "public"},
    {"max_identifier_length", "63"},
    {"statement_timeout", "5s"},
    {"lc_collate", "C"},
    {"bytea_output", "hex"},
    {"extra_float_digits", "1"},
    {"in_hot_standby", "off"},
    {"client_min_messages", "notice"},
};

static const char *
setting_of(struct pv_session *s, const char *name)
{
    if (strcmp(name, "application_name") == 0)
        return s->reported[0] == NULL ? "" : s->reported[0];
    if (strcmp(name, "session_authorization") == 0)
        return s->user;
    if (strcmp(name, "transaction_isolation") == 0 || strcmp(name, "transactionisolation_level") == 0)
        return "read committed";
    for (size_t i = 0; i < PV_COUNT_OF(settings); i++)
        if (strcmp(settings[i].name, name) == 0)
            return settings[i].value;
    return NULL;
}

/* NULL: fine. */
static const char *
apply_setting(struct pv_session *s, const struct pv_dialect *statement)
{
    if (strcmp(statement->name, "application_name") == 0 && statement->value != NULL) {
        char *copy = pv_strdup(statement->value);

        if (copy == NULL)
            return pv_status_words(PV_NOMEM);
        pv_free(s->reported[0]);
        s->reported[0] = copy;
        put_setting(s, "application_name", copy);
    } else if (strcmp(statement->name, "client_encoding") == 0 && statement->value != NULL &&
               strcasecmp(statement->value, "utf8") != 0 && strcasecmp(statement->value, "utf-8") != 0 &&
               strcasecmp(statement->value, "unicode") != 0) {
        return "the query log is read in UTF8 alone";
    } else if (strcmp(statement->name, "standard_conforming_strings") == 0 && statement->value != NULL &&
               strcasecmp(statement->value, "on") != 0) {
        return "standard_conforming_strings stays on for the query log";
    }
    return NULL;
}

/* ---- Statements ---- */

static const struct pv_ask_column show_column = {"setting", PV_TYPE_TEXT};

static void
show(struct pv_session *s, const struct item *item, bool is_extended)
{
    const char *value = item->statement->name == NULL ? NULL : setting_of(s, item->statement->name);
    struct pv_msg_value cell;
    size_t before;

    if (value == NULL) {
        refuse(s, is_extended, "42704",
               pv_error_printf(item->arena, "unrecognized configuration parameter \"%s\"",
                               item->statement->name == NULL ? "all" : item->statement->name),
               NULL);
        return;
    }
    if (!is_extended) {
        struct pv_ask_column column = {item->statement->name, PV_TYPE_TEXT};

        put_description(s, &column, 1, NULL);
    }
    cell.is_null = false;
    cell.bytes = pv_slice_cstr(value);
    before = pv_buf_len(&s->client_out);
    wrote(s, before, pv_msg_data_row_write(&s->client_out, &cell, 1));
    s->auditor->rows++;
    log_end(s, PV_OUTCOME_COMPLETED, NULL);
    put_complete(s, "SHOW");
}

/* Everything but a query. */
static void
run_local(struct pv_session *s, struct item *item, bool is_extended)
{
    struct pv_auditor *a = s->auditor;
    const char *tag = "";
    const char *words = NULL;

    if (!log_begin(s, item, is_extended)) {
        refuse_unwritten(s, is_extended);
        return;
    }
    switch (item->statement->kind) {
    case PV_DIALECT_BEGIN:
        a->status = 'T';
        tag = "BEGIN";
        break;
    case PV_DIALECT_COMMIT:
        tag = a->status == 'E' ? "ROLLBACK" : "COMMIT";
        a->status = 'I';
        break;
    case PV_DIALECT_ROLLBACK:
        a->status = 'I';
        tag = "ROLLBACK";
        break;
    case PV_DIALECT_ROLLBACK_TO:
        a->status = a->status == 'I' ? 'I' : 'T';
        tag = "ROLLBACK";
        break;
    case PV_DIALECT_SAVEPOINT:
        tag = "SAVEPOINT";
        break;
    case PV_DIALECT_RELEASE:
        tag = "RELEASE";
        break;
    case PV_DIALECT_SET:
        words = apply_setting(s, item->statement);
        tag = "SET";
        break;
    case PV_DIALECT_RESET:
        tag = "RESET";
        break;
    case PV_DIALECT_DISCARD:
        drop_all(a, &a->statements);
        tag = "DISCARD ALL";
        break;
    case PV_DIALECT_DEALLOCATE:
        if (item->statement->name == NULL)
            drop_all(a, &a->statements);
        else
            drop(a, &a->statements, pv_slice_cstr(item->statement->name));
        tag = item->statement->name == NULL ? "DEALLOCATE ALL" : "DEALLOCATE";
        break;
    case PV_DIALECT_SHOW:
        show(s, item, is_extended);
        return;
    case PV_DIALECT_EMPTY:
    case PV_DIALECT_QUERY:
    case PV_DIALECT_OTHER:
        break;
    }
    if (words != NULL) {
        refuse(s, is_extended, "0A000", words, NULL);
        return;
    }
    log_end(s, PV_OUTCOME_COMPLETED, NULL);
    put_complete(s, tag);
}

static bool
is_exit(const struct pv_dialect *statement)
{
    return statement->kind == PV_DIALECT_ROLLBACK || statement->kind == PV_DIALECT_COMMIT ||
           statement->kind == PV_DIALECT_ROLLBACK_TO;
}

static bool
is_aborted(struct pv_session *s, const struct pv_dialect *statement, bool is_extended)
{
    static const char words[] = "current transaction is aborted, commands ignored until end of transaction block";

    if (s->auditor->status != 'E' || is_exit(statement))
        return false;
    if (log_whole(s, statement, is_extended, words, "25P02"))
        refuse(s, is_extended, "25P02", words, NULL);
    else
        refuse_unwritten(s, is_extended);
    return true;
}

/* Rows of the answer, a piece of them. Stalls between pieces. */
static enum pv_step
send_rows(struct pv_session *s, struct item *item)
{
    struct pv_auditor *a = s->auditor;
    size_t began = pv_buf_len(&s->client_out);

    a->has_more = false;
    while (item->rows_left > 0) {
        size_t before = pv_buf_len(&s->client_out);

        if (before - began > PIECE_BYTES) {
            a->has_more = true;
            return PV_STEP_STALL;
        }
        pv_buf_put_u8(&s->client_out, PV_SERVER_DATA_ROW);
        pv_buf_put_u32(&s->client_out, 0);
        if (!pv_ask_next(item->answer, &item->offset, item->formats, item->format_count, &s->client_out)) {
            pv_buf_truncate(&s->client_out, before);
            item->is_done = true;
            break;
        }
        if (!pv_buf_ok(&s->client_out))
            return PV_STEP_DONE;
        pv_buf_patch_u32(&s->client_out, before + 1, (uint32_t) (pv_buf_len(&s->client_out) - before - 1));
        wrote(s, before, PV_OK);
        a->rows++;
        if (item->rows_left != UINT64_MAX)
            item->rows_left--;
    }
    return PV_STEP_DONE;
}

/* Runs an item to its end or to the end of rows_left; what is sent first is the caller's. */
static enum pv_step
run(struct pv_session *s, struct item *item, bool is_extended)
{
    enum pv_step step = PV_STEP_DONE;
    char tag[48];

    if (item->statement->kind != PV_DIALECT_QUERY) {
        run_local(s, item, is_extended);
        return PV_STEP_DONE;
    }
    if (!answered(s, item, false, is_extended, &step))
        return step;
    if (!log_begin(s, item, is_extended)) { /* a suspended portal that goes on is another Execute */
        refuse_unwritten(s, is_extended);
        return PV_STEP_DONE;
    }
    if (!is_extended && !s->auditor->has_described_row) {
        put_description(s, item->answer->columns, item->answer->column_count, NULL);
        s->auditor->has_described_row = true;
    }
    step = send_rows(s, item);
    if (step == PV_STEP_STALL)
        return step;
    (void) snprintf(tag, sizeof(tag), "SELECT %llu", (unsigned long long) s->auditor->rows);
    log_end(s, PV_OUTCOME_COMPLETED, NULL);
    if (s->phase == PV_PHASE_CLOSED)
        return PV_STEP_DONE;
    if (item->is_done)
        put_complete(s, tag);
    else
        put_empty(s, PV_SERVER_PORTAL_SUSPENDED);
    return PV_STEP_DONE;
}

/* ---- Simple Query ---- */

static void
end_query(struct pv_session *s)
{
    struct pv_auditor *a = s->auditor;

    item_free(a->query_item);
    a->query_item = NULL;
    pv_arena_free(a->query_arena);
    a->query_arena = NULL;
    a->query = NULL;
    if (s->phase != PV_PHASE_CLOSED)
        put_ready(s);
}

static bool
begin_query(struct pv_session *s, struct pv_slice text)
{
    struct pv_auditor *a = s->auditor;
    char *copy;
    enum pv_status status = PV_NOMEM;

    a->query_arena = pv_arena_new(0);
    a->query_count = a->query_at = 0;
    copy = a->query_arena == NULL ? NULL
                                  : pv_arena_strndup(a->query_arena, (const char *) text.data, text.len);
    if (copy != NULL)
        status = pv_utf8_valid(text) ? pv_dialect_read(a->query_arena, pv_slice_of(copy, text.len), &a->query,
                                                       &a->query_count)
                                     : PV_INVALID;
    if (status != PV_OK) {
        const char *sqlstate = status == PV_INVALID ? "22021" : pv_status_sqlstate(status);
        const char *words =
            status == PV_INVALID ? "invalid byte sequence for encoding \"UTF8\"" : pv_status_words(status);

        (void) log_whole(s, NULL, false, words, sqlstate);
        refuse(s, false, sqlstate, words, NULL);
        return false;
    }
    if (a->query_count == 0)
        put_empty(s, PV_SERVER_EMPTY_QUERY);
    for (size_t i = 0; i < a->query_count; i++) {
        if (a->query[i].sqlstate == NULL && a->query[i].parameter_count > 0) {
            a->query[i].sqlstate = "42P02";
            a->query[i].message = "there is no parameter $1";
        }
        if (a->query[i].sqlstate != NULL) { /* none of them runs */
            deny(s, false, &a->query[i]);
            return false;
        }
    }
    return true;
}

static enum pv_step
on_query(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;
    struct pv_slice text;

    if (a->query_arena == NULL) {
        if (pv_msg_text_read(frame->body, &text) != PV_OK) {
            pv_session_fatal(s, "08P01", "invalid message format");
            return PV_STEP_DONE;
        }
        drop(a, &a->statements, pv_slice_of(NULL, 0));
        drop(a, &a->portals, pv_slice_of(NULL, 0));
        s->is_doomed = false;
        if (!begin_query(s, text)) {
            a->has_failed = false;
            end_query(s);
            return PV_STEP_DONE;
        }
    }
    while (a->query_at < a->query_count && s->phase != PV_PHASE_CLOSED) {
        if (a->query_item == NULL) {
            if (is_aborted(s, &a->query[a->query_at], false))
                break;
            a->query_item = item_new(pv_slice_of(NULL, 0));
            if (a->query_item == NULL) {
                pv_session_fail(s, PV_NOMEM);
                break;
            }
            a->query_item->statement = &a->query[a->query_at];
            a->query_item->rows_left = UINT64_MAX;
            a->has_described_row = false;
        }
        if (run(s, a->query_item, false) == PV_STEP_STALL)
            return PV_STEP_STALL;
        if (a->has_failed)
            break;
        item_free(a->query_item);
        a->query_item = NULL;
        a->query_at++;
    }
    a->has_failed = false;
    end_query(s);
    return PV_STEP_DONE;
}

/* ---- The extended protocol ---- */

static enum pv_step
on_parse(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;
    struct pv_msg_parse parse;
    struct item *item;
    enum pv_status status;
    uint32_t *oids;

    s->is_segment_open = true;
    item = item_new(pv_slice_of(NULL, 0));
    status = item == NULL ? PV_NOMEM : pv_msg_parse_read(frame->body, item->arena, &parse);
    if (status == PV_PROTOCOL || status == PV_INVALID) {
        item_free(item);
        pv_session_fatal(s, "08P01", "invalid message format");
        return PV_STEP_DONE;
    }
    if (status == PV_OK && !pv_utf8_valid(parse.text)) {
        (void) log_whole(s, NULL, true, "invalid byte sequence", "22021");
        refuse(s, true, "22021", "invalid byte sequence for encoding \"UTF8\"", NULL);
    } else if (status == PV_OK) {
        status = item_read(item, parse.text);
        if (status == PV_INVALID) {
            status = PV_OK;
            refuse(s, true, "42601", "cannot insert multiple commands into a prepared statement", NULL);
        } else if (status == PV_OK && item->statement != NULL && item->statement->sqlstate != NULL) {
            deny(s, true, item->statement);
        } else if (status == PV_OK && item->statement != NULL && is_aborted(s, item->statement, true)) {
            ; /* said */
        } else if (status == PV_OK && parse.statement.len > 0 && find(a->statements, parse.statement) != NULL) {
            refuse(s, true, "42P05", "prepared statement already exists", NULL);
        } else if (status == PV_OK && a->name_count >= NAMES_MAX) {
            refuse(s, true, "54000", "too many prepared statements and portals", NULL);
        } else if (status == PV_OK) {
            size_t count = item->statement == NULL ? 0 : item->statement->parameter_count;

            item->oid_count = count > parse.type_count ? count : parse.type_count;
            oids = pv_arena_alloc(item->arena, (item->oid_count + 1) * sizeof(*oids));
            pv_free(item->name);
            item->name = pv_calloc(1, parse.statement.len + 1);
            if (oids == NULL || item->name == NULL) {
                status = PV_NOMEM;
            } else {
                memcpy(item->name, parse.statement.data, parse.statement.len);
                for (size_t i = 0; i < item->oid_count; i++)
                    oids[i] = i < parse.type_count ? parse.types[i] : 0;
                item->oids = oids;
                drop(a, &a->statements, parse.statement);
                keep(a, &a->statements, item);
                item = NULL;
                put_empty(s, PV_SERVER_PARSE_COMPLETE);
            }
        }
    }
    item_free(item);
    if (status != PV_OK)
        pv_session_fail(s, status);
    return PV_STEP_DONE;
}

/* Copies what the Bind says into the portal. */
static enum pv_status
fill_portal(struct item *portal, const struct item *prepared, const struct pv_msg_bind *bind)
{
    struct pv_ask_parameter *parameters = pv_arena_alloc(portal->arena, (bind->param_count + 1) * sizeof(*parameters));
    uint16_t *formats = pv_arena_alloc(portal->arena, (bind->result_format_count + 1) * sizeof(*formats));

    if (parameters == NULL || formats == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < bind->param_count; i++) {
        parameters[i].type_oid = i < prepared->oid_count ? prepared->oids[i] : 0;
        parameters[i].is_binary = pv_msg_bind_format(bind, i) == 1;
        parameters[i].is_null = bind->params[i].is_null;
        parameters[i].bytes.len = bind->params[i].is_null ? 0 : bind->params[i].bytes.len;
        parameters[i].bytes.data = (const uint8_t *) pv_arena_strndup(
            portal->arena, parameters[i].bytes.len == 0 ? "" : (const char *) bind->params[i].bytes.data,
            parameters[i].bytes.len);
        if (parameters[i].bytes.data == NULL)
            return PV_NOMEM;
    }
    for (size_t i = 0; i < bind->result_format_count; i++)
        formats[i] = bind->result_formats[i];
    portal->parameters = parameters;
    portal->parameter_count = bind->param_count;
    portal->formats = formats;
    portal->format_count = bind->result_format_count;
    if (prepared->answer != NULL && prepared->answer->sqlstate[0] == '\0') {
        struct pv_ask_column *promised =
            pv_arena_alloc(portal->arena, prepared->answer->column_count * sizeof(*promised));

        if (promised == NULL)
            return PV_NOMEM;
        for (size_t i = 0; i < prepared->answer->column_count; i++)
            promised[i] = (struct pv_ask_column){"", prepared->answer->columns[i].type_oid};
        portal->promised = promised;
        portal->promised_count = prepared->answer->column_count;
    }
    return prepared->statement == NULL ? PV_OK : item_read(portal, prepared->statement->text);
}

static enum pv_step
on_bind(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;
    struct pv_arena *arena = pv_arena_new(1024);
    struct pv_msg_bind bind;
    struct item *portal = NULL;
    const struct item *prepared;
    enum pv_status status = arena == NULL ? PV_NOMEM : pv_msg_bind_read(frame->body, arena, &bind);

    s->is_segment_open = true;
    if (status == PV_PROTOCOL || status == PV_INVALID) {
        pv_session_fatal(s, "08P01", "invalid message format");
    } else if (status == PV_OK && (prepared = find(a->statements, bind.statement)) == NULL) {
        refuse(s, true, "26000", "prepared statement does not exist", NULL);
    } else if (status == PV_OK && prepared->statement != NULL && is_aborted(s, prepared->statement, true)) {
        ; /* said */
    } else if (status == PV_OK && bind.param_count != prepared->oid_count) {
        refuse(s, true, "08P01", "bind message supplies another number of parameters than the statement has", NULL);
    } else if (status == PV_OK && bind.portal.len > 0 && find(a->portals, bind.portal) != NULL) {
        refuse(s, true, "42P03", "cursor already exists", NULL);
    } else if (status == PV_OK && a->name_count >= NAMES_MAX) {
        refuse(s, true, "54000", "too many prepared statements and portals", NULL);
    } else if (status == PV_OK) {
        portal = item_new(bind.portal);
        status = portal == NULL ? PV_NOMEM : fill_portal(portal, prepared, &bind);
        if (status == PV_OK) {
            drop(a, &a->portals, bind.portal);
            keep(a, &a->portals, portal);
            put_empty(s, PV_SERVER_BIND_COMPLETE);
        } else {
            item_free(portal);
        }
    }
    pv_arena_free(arena);
    if (status == PV_NOMEM)
        pv_session_fail(s, status);
    return PV_STEP_DONE;
}

static void
describe_parameters(struct pv_session *s, const struct item *prepared)
{
    uint32_t *types = pv_calloc(prepared->oid_count + 1, sizeof(*types));
    struct pv_msg_parameter_description description = {prepared->oid_count, types};
    size_t before = pv_buf_len(&s->client_out);

    if (types == NULL) {
        s->client_out.failed = true;
        return;
    }
    for (size_t i = 0; i < prepared->oid_count; i++)
        types[i] = prepared->oids[i] == 0 ? (uint32_t) PV_TYPE_TEXT : prepared->oids[i];
    wrote(s, before, pv_msg_parameter_description_write(&s->client_out, &description));
    pv_free(types);
}

static enum pv_step
on_describe(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;
    struct pv_msg_target target;
    struct item *item;
    enum pv_step step = PV_STEP_DONE;
    bool is_statement;

    s->is_segment_open = true;
    if (pv_msg_target_read(frame->body, &target) != PV_OK) {
        pv_session_fatal(s, "08P01", "invalid message format");
        return step;
    }
    is_statement = target.kind == PV_TARGET_STATEMENT;
    item = find(is_statement ? a->statements : a->portals, target.name);
    if (item == NULL) {
        refuse(s, true, is_statement ? "26000" : "34000",
               is_statement ? "prepared statement does not exist" : "portal does not exist", NULL);
        return step;
    }
    if (item->statement != NULL && is_aborted(s, item->statement, true))
        return step;
    if (item->statement != NULL && item->statement->kind == PV_DIALECT_QUERY &&
        !answered(s, item, is_statement, true, &step))
        return step;
    if (is_statement)
        describe_parameters(s, item);
    if (item->statement == NULL ||
        (item->statement->kind != PV_DIALECT_QUERY && item->statement->kind != PV_DIALECT_SHOW))
        put_empty(s, PV_SERVER_NO_DATA);
    else if (item->statement->kind == PV_DIALECT_SHOW)
        put_description(s, &show_column, 1, is_statement ? NULL : item);
    else
        put_description(s, item->answer->columns, item->answer->column_count, is_statement ? NULL : item);
    return step;
}

static enum pv_step
on_execute(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;
    struct pv_msg_execute execute;
    struct item *portal;

    s->is_segment_open = true;
    if (pv_msg_execute_read(frame->body, &execute) != PV_OK) {
        pv_session_fatal(s, "08P01", "invalid message format");
        return PV_STEP_DONE;
    }
    portal = find(a->portals, execute.portal);
    if (portal == NULL) {
        refuse(s, true, "34000", "portal does not exist", NULL);
        return PV_STEP_DONE;
    }
    if (portal->statement == NULL) {
        put_empty(s, PV_SERVER_EMPTY_QUERY);
        return PV_STEP_DONE;
    }
    if (is_aborted(s, portal->statement, true))
        return PV_STEP_DONE;
    if (portal->rows_left == 0 && !a->has_more)
        portal->rows_left = execute.row_count_max > 0 ? (uint64_t) execute.row_count_max : UINT64_MAX;
    if (run(s, portal, true) == PV_STEP_STALL)
        return PV_STEP_STALL;
    portal->rows_left = 0;
    return PV_STEP_DONE;
}

static enum pv_step
on_close(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;
    struct pv_msg_target target;

    s->is_segment_open = true;
    if (pv_msg_target_read(frame->body, &target) != PV_OK) {
        pv_session_fatal(s, "08P01", "invalid message format");
        return PV_STEP_DONE;
    }
    drop(a, target.kind == PV_TARGET_STATEMENT ? &a->statements : &a->portals, target.name);
    put_empty(s, PV_SERVER_CLOSE_COMPLETE);
    return PV_STEP_DONE;
}

static enum pv_step
on_sync(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;

    if (pv_msg_empty_read(frame->body) != PV_OK) {
        pv_session_fatal(s, "08P01", "invalid message format");
        return PV_STEP_DONE;
    }
    s->is_doomed = s->is_segment_open = false;
    a->has_failed = false;
    log_end(s, PV_OUTCOME_COMPLETED, NULL); /* described, never executed */
    if (a->status == 'I')
        drop_all(a, &a->portals);
    if (s->phase != PV_PHASE_CLOSED)
        put_ready(s);
    return PV_STEP_DONE;
}

static enum pv_step
on_flush(struct pv_session *s, const struct pv_frame *frame)
{
    if (pv_msg_empty_read(frame->body) != PV_OK)
        pv_session_fatal(s, "08P01", "invalid message format");
    return PV_STEP_DONE;
}

static enum pv_step
on_function_call(struct pv_session *s, const struct pv_frame *frame)
{
    (void) frame;
    (void) log_whole(s, NULL, false, "function-call message", "0A000");
    refuse(s, false, "0A000", "function calls are not supported for the query log", NULL);
    put_ready(s);
    return PV_STEP_DONE;
}

static enum pv_step
on_copy(struct pv_session *s, const struct pv_frame *frame)
{
    (void) s;
    (void) frame; /* ignored outside of COPY, as PostgreSQL does */
    return PV_STEP_DONE;
}

enum pv_step (*pv_auditor_handler(uint8_t tag))(struct pv_session *s, const struct pv_frame *frame)
{
    switch (tag) {
    case PV_CLIENT_QUERY:
        return on_query;
    case PV_CLIENT_PARSE:
        return on_parse;
    case PV_CLIENT_BIND:
        return on_bind;
    case PV_CLIENT_DESCRIBE:
        return on_describe;
    case PV_CLIENT_EXECUTE:
        return on_execute;
    case PV_CLIENT_CLOSE:
        return on_close;
    case PV_CLIENT_SYNC:
        return on_sync;
    case PV_CLIENT_FLUSH:
        return on_flush;
    case PV_CLIENT_FUNCTION_CALL:
        return on_function_call;
    case PV_CLIENT_COPY_DATA:
    case PV_CLIENT_COPY_DONE:
    case PV_CLIENT_COPY_FAIL:
        return on_copy;
    default:
        return NULL;
    }
}

void
pv_auditor_oversize(struct pv_session *s, uint8_t tag)
{
    bool is_extended = tag != PV_CLIENT_QUERY;

    (void) log_whole(s, NULL, is_extended, "the statement is too long", "54000");
    refuse(s, is_extended, "54000", "the statement is too long", NULL);
    if (!is_extended)
        put_ready(s);
}

/* ---- Coming and going ---- */

/* The rooms that this user audits, in the policy given; none: PV_NOTFOUND. */
static enum pv_status
find_rooms(struct pv_session *s, const struct pv_policy *policy, struct pv_auditor *a)
{
    struct pv_arena *arena = pv_arena_new(256);
    const char **rooms = arena == NULL ? NULL : pv_arena_alloc(arena, (policy->room_count + 1) * sizeof(*rooms));
    size_t count = 0;

    for (size_t i = 0; rooms != NULL && i < policy->room_count; i++) {
        const struct pv_member *member = pv_room_member(&policy->rooms[i], s->user);

        if (member == NULL || !pv_member_has_role(member, "auditor"))
            continue;
        rooms[count] = pv_arena_strdup(arena, policy->rooms[i].name);
        if (count == 0)
            s->party = pv_arena_strdup(s->arena, member->party);
        if (rooms[count++] == NULL)
            rooms = NULL;
    }
    if (rooms == NULL || count == 0) {
        pv_arena_free(arena);
        return rooms == NULL ? PV_NOMEM : PV_NOTFOUND;
    }
    pv_arena_free(a->rooms_arena);
    a->rooms_arena = arena;
    a->rooms = rooms;
    a->room_count = count;
    return PV_OK;
}

enum pv_status
pv_auditor_new(struct pv_session *s)
{
    struct pv_auditor *a = pv_calloc(1, sizeof(*a));
    enum pv_status status = a == NULL ? PV_NOMEM : find_rooms(s, s->policy, a);

    if (status == PV_OK) {
        a->status = 'I';
        s->auditor = a;
    } else {
        pv_free(a);
    }
    return status;
}

enum pv_status
pv_auditor_policy(struct pv_session *s, const struct pv_policy *policy)
{
    s->account = pv_policy_user(policy, pv_slice_cstr(s->user));
    return s->account == NULL ? PV_NOTFOUND : find_rooms(s, policy, s->auditor);
}

void
pv_auditor_start(struct pv_session *s)
{
    static const struct {
        const char *name, *value;
    } reported[] = {
#define PV_X(name) {name, NULL},
        PV_REPORTED_TABLE(PV_X)
#undef PV_X
    };

    for (size_t i = 0; i < PV_COUNT_OF(reported); i++) {
        char name[48];
        const char *value;
        size_t len = strlen(reported[i].name);

        pv_assert(len < sizeof(name));
        for (size_t k = 0; k <= len; k++)
            name[k] = (char) (reported[i].name[k] >= 'A' && reported[i].name[k] <= 'Z' ? reported[i].name[k] + 32
                                                                                      : reported[i].name[k]);
        value = setting_of(s, name);
        for (size_t k = 0; i == 0 && k < s->setting_count; k++)
            if (strcmp(s->settings[k].name, "application_name") == 0)
                value = s->settings[k].value;
        s->reported[i] = pv_strdup(value == NULL ? "" : value);
        if (s->reported[i] == NULL) {
            pv_session_fail(s, PV_NOMEM);
            return;
        }
    }
    s->server_pid = PID_BASE + (uint32_t) (s->id & 0x0fffffffu);
    pv_startup_finish(s);
}

void
pv_auditor_end(struct pv_session *s)
{
    if (s->auditor->ask != NULL)
        pv_ask_cancel(s->auditor->ask);
    log_end(s, PV_OUTCOME_LOST, NULL);
}

void
pv_auditor_cancel(struct pv_session *s)
{
    if (s->auditor->ask != NULL)
        pv_ask_cancel(s->auditor->ask);
}

bool
pv_auditor_is_busy(const struct pv_session *s)
{
    return s->auditor->ask != NULL || s->auditor->has_more || s->auditor->status != 'I';
}

bool
pv_auditor_has_more(const struct pv_session *s)
{
    return s->auditor->has_more;
}

void
pv_auditor_free(struct pv_auditor *a)
{
    if (a == NULL)
        return;
    if (a->ask != NULL)
        pv_ask_cancel(a->ask);
    pv_ask_unref(a->ask);
    item_free(a->query_item);
    pv_arena_free(a->query_arena);
    drop_all(a, &a->statements);
    drop_all(a, &a->portals);
    pv_arena_free(a->rooms_arena);
    pv_free(a);
}
