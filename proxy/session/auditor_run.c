/*
 * What an auditor's statement does: a query is asked of the host's desk and its rows leave in pieces (invariants 1, 2
 * and 4 of auditor.c); settings and transactions are answered here.
 */
#include "parser/literals.h"
#include "proxy/session/auditor_int.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Rows that leave at once. */
#define PIECE_BYTES PV_LINK_HIGH_BYTES

/* ---- Bytes out ---- */

static void
put_complete(struct pv_session *s, const char *tag)
{
    size_t before = pv_buf_len(&s->client_out);

    pv_auditor_wrote(s, before, pv_msg_text_write(&s->client_out, PV_SERVER_COMMAND_COMPLETE, pv_slice_cstr(tag)));
}

static void
put_setting(struct pv_session *s, const char *name, const char *value)
{
    struct pv_msg_parameter_status parameter = {pv_slice_cstr(name), pv_slice_cstr(value)};
    size_t before = pv_buf_len(&s->client_out);

    pv_auditor_wrote(s, before, pv_msg_parameter_status_write(&s->client_out, &parameter));
}

/* ---- Asking ---- */

/* True when the item's answer is there; false: stalled, or refused already. */
bool
pv_auditor_answered(struct pv_session *s, struct pv_auditor_item *item, bool is_describing, bool is_extended,
                    enum pv_step *step)
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
        if (is_describing &&
            !pv_auditor_log_whole(s, item->statement, is_extended, item->answer->message, item->answer->sqlstate))
            pv_auditor_refuse_unwritten(s, is_extended);
        else
            pv_auditor_refuse(s, is_extended, item->answer->sqlstate, item->answer->message, item->answer->hint);
        return false;
    }
    if (!is_describing && !pv_auditor_log_begin(s, item, is_extended)) {
        pv_auditor_refuse_unwritten(s, is_extended);
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
    pv_auditor_refuse(s, is_extended, "53300", "too many queries of the log wait already", NULL);
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

const char *
pv_auditor_setting(struct pv_session *s, const char *name)
{
    if (strcmp(name, "application_name") == 0)
        return pv_texts_at(s->reported, PV_REPORTED_APPLICATION) == NULL
                   ? ""
                   : pv_texts_at(s->reported, PV_REPORTED_APPLICATION);
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
        struct pv_texts *reported =
            pv_texts_with(s->reported, PV_REPORTED_COUNT, PV_REPORTED_APPLICATION, statement->value);

        if (reported == NULL)
            return pv_status_words(PV_NOMEM);
        pv_texts_unref(s->reported);
        s->reported = reported;
        put_setting(s, "application_name", statement->value);
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

static void
show(struct pv_session *s, const struct pv_auditor_item *item, bool is_extended)
{
    const char *value = item->statement->name == NULL ? NULL : pv_auditor_setting(s, item->statement->name);
    struct pv_msg_value cell;
    size_t before;

    if (value == NULL) {
        pv_auditor_refuse(s, is_extended, "42704",
                          pv_error_printf(item->arena, "unrecognized configuration parameter \"%s\"",
                                          item->statement->name == NULL ? "all" : item->statement->name),
                          NULL);
        return;
    }
    if (!is_extended) {
        struct pv_ask_column column = {item->statement->name, PV_TYPE_TEXT};

        pv_auditor_put_description(s, &column, 1, NULL);
    }
    cell.is_null = false;
    cell.bytes = pv_slice_cstr(value);
    before = pv_buf_len(&s->client_out);
    pv_auditor_wrote(s, before, pv_msg_data_row_write(&s->client_out, &cell, 1));
    s->auditor->rows++;
    pv_auditor_log_end(s, PV_OUTCOME_COMPLETED, NULL);
    put_complete(s, "SHOW");
}

/* Everything but a query. */
static void
run_local(struct pv_session *s, struct pv_auditor_item *item, bool is_extended)
{
    struct pv_auditor *a = s->auditor;
    const char *tag = "";
    const char *words = NULL;

    if (!pv_auditor_log_begin(s, item, is_extended)) {
        pv_auditor_refuse_unwritten(s, is_extended);
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
        pv_auditor_items_drop(a, &a->statements);
        tag = "DISCARD ALL";
        break;
    case PV_DIALECT_DEALLOCATE:
        if (item->statement->name == NULL)
            pv_auditor_items_drop(a, &a->statements);
        else
            pv_auditor_item_drop(a, &a->statements, pv_slice_cstr(item->statement->name));
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
        pv_auditor_refuse(s, is_extended, "0A000", words, NULL);
        return;
    }
    pv_auditor_log_end(s, PV_OUTCOME_COMPLETED, NULL);
    put_complete(s, tag);
}

static bool
is_exit(const struct pv_dialect *statement)
{
    return statement->kind == PV_DIALECT_ROLLBACK || statement->kind == PV_DIALECT_COMMIT ||
           statement->kind == PV_DIALECT_ROLLBACK_TO;
}

bool
pv_auditor_is_aborted(struct pv_session *s, const struct pv_dialect *statement, bool is_extended)
{
    static const char words[] = "current transaction is aborted, commands ignored until end of transaction block";

    if (s->auditor->status != 'E' || is_exit(statement))
        return false;
    if (pv_auditor_log_whole(s, statement, is_extended, words, "25P02"))
        pv_auditor_refuse(s, is_extended, "25P02", words, NULL);
    else
        pv_auditor_refuse_unwritten(s, is_extended);
    return true;
}

/* Rows of the answer, a piece of them. Stalls between pieces. */
static enum pv_step
send_rows(struct pv_session *s, struct pv_auditor_item *item)
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
        pv_auditor_wrote(s, before, PV_OK);
        a->rows++;
        if (item->rows_left != UINT64_MAX)
            item->rows_left--;
    }
    return PV_STEP_DONE;
}

/* Runs an item to its end or to the end of rows_left; what is sent first is the caller's. */
enum pv_step
pv_auditor_run(struct pv_session *s, struct pv_auditor_item *item, bool is_extended)
{
    enum pv_step step = PV_STEP_DONE;
    char tag[48];

    if (item->statement->kind != PV_DIALECT_QUERY) {
        run_local(s, item, is_extended);
        return PV_STEP_DONE;
    }
    if (!pv_auditor_answered(s, item, false, is_extended, &step))
        return step;
    if (!pv_auditor_log_begin(s, item, is_extended)) { /* a suspended portal that goes on is another Execute */
        pv_auditor_refuse_unwritten(s, is_extended);
        return PV_STEP_DONE;
    }
    if (!is_extended && !s->auditor->has_described_row) {
        pv_auditor_put_description(s, item->answer->columns, item->answer->column_count, NULL);
        s->auditor->has_described_row = true;
    }
    step = send_rows(s, item);
    if (step == PV_STEP_STALL)
        return step;
    (void) snprintf(tag, sizeof(tag), "SELECT %llu", (unsigned long long) s->auditor->rows);
    pv_auditor_log_end(s, PV_OUTCOME_COMPLETED, NULL);
    if (s->phase == PV_PHASE_CLOSED)
        return PV_STEP_DONE;
    if (item->is_done)
        put_complete(s, tag);
    else
        pv_auditor_put_empty(s, PV_SERVER_PORTAL_SUSPENDED);
    return PV_STEP_DONE;
}
