/*
 * An auditor's messages: Query and the extended protocol, by the table at the end.
 */
#include "proxy/session/auditor_int.h"

#include <string.h>

#define NAMES_MAX 1000u
static const struct pv_ask_column show_column = {"setting", PV_TYPE_TEXT};

static void
put_ready(struct pv_session *s)
{
    size_t before = pv_buf_len(&s->client_out);

    pv_auditor_wrote(s, before, pv_msg_ready_write(&s->client_out, s->auditor->status));
    pv_session_after_ready(s);
}

/* One that is refused as it stands, and logged. */
static void
deny(struct pv_session *s, bool is_extended, const struct pv_dialect *statement)
{
    const char *message = statement->message != NULL ? statement->message : pv_status_words(PV_NOMEM);

    if (pv_auditor_log_whole(s, statement, is_extended, message, statement->sqlstate))
        pv_auditor_refuse(s, is_extended, statement->sqlstate, message, statement->hint);
    else
        pv_auditor_refuse_unwritten(s, is_extended);
}

static void
refuse_long(struct pv_session *s, bool is_extended, const char *message, const char *reason)
{
    if (pv_auditor_log_whole(s, NULL, is_extended, reason, "54000"))
        pv_auditor_refuse(s, is_extended, "54000", message, NULL);
    else
        pv_auditor_refuse_unwritten(s, is_extended);
}

/* ---- Simple Query ---- */

static void
end_query(struct pv_session *s)
{
    struct pv_auditor *a = s->auditor;

    pv_auditor_item_free(a->query_item);
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

        (void) pv_auditor_log_whole(s, NULL, false, words, sqlstate);
        pv_auditor_refuse(s, false, sqlstate, words, NULL);
        return false;
    }
    if (a->query_count == 0)
        pv_auditor_put_empty(s, PV_SERVER_EMPTY_QUERY);
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
        pv_auditor_item_drop(a, &a->statements, pv_slice_of(NULL, 0));
        pv_auditor_item_drop(a, &a->portals, pv_slice_of(NULL, 0));
        s->is_doomed = false;
        if (!begin_query(s, text)) {
            a->has_failed = false;
            end_query(s);
            return PV_STEP_DONE;
        }
    }
    while (a->query_at < a->query_count && s->phase != PV_PHASE_CLOSED) {
        if (a->query_item == NULL) {
            if (pv_auditor_is_aborted(s, &a->query[a->query_at], false))
                break;
            a->query_item = pv_auditor_item_new(pv_slice_of(NULL, 0));
            if (a->query_item == NULL) {
                pv_session_fail(s, PV_NOMEM);
                break;
            }
            a->query_item->statement = &a->query[a->query_at];
            a->query_item->rows_left = UINT64_MAX;
            a->has_described_row = false;
        }
        if (pv_auditor_run(s, a->query_item, false) == PV_STEP_STALL)
            return PV_STEP_STALL;
        if (a->has_failed)
            break;
        pv_auditor_item_free(a->query_item);
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
    struct pv_auditor_item *item;
    enum pv_status status;
    uint32_t *oids;

    s->is_segment_open = true;
    item = pv_auditor_item_new(pv_slice_of(NULL, 0));
    status = item == NULL ? PV_NOMEM : pv_msg_parse_read(frame->body, item->arena, &parse);
    if (status == PV_PROTOCOL || status == PV_INVALID) {
        pv_auditor_item_free(item);
        pv_session_fatal(s, "08P01", "invalid message format");
        return PV_STEP_DONE;
    }
    if (status == PV_OK && parse.text.len > s->policy->config.query_bytes_max) {
        const char *reason = pv_oversize_reason(item->arena, parse.text);

        if (reason == NULL)
            status = PV_NOMEM;
        else
            refuse_long(s, true, "the statement is longer than limits.query_bytes", reason);
    } else if (status == PV_OK && !pv_utf8_valid(parse.text)) {
        (void) pv_auditor_log_whole(s, NULL, true, "invalid byte sequence", "22021");
        pv_auditor_refuse(s, true, "22021", "invalid byte sequence for encoding \"UTF8\"", NULL);
    } else if (status == PV_OK) {
        status = pv_auditor_item_read(item, parse.text);
        if (status == PV_INVALID) {
            status = PV_OK;
            pv_auditor_refuse(s, true, "42601", "cannot insert multiple commands into a prepared statement", NULL);
        } else if (status == PV_OK && item->statement != NULL && item->statement->sqlstate != NULL) {
            deny(s, true, item->statement);
        } else if (status == PV_OK && item->statement != NULL && pv_auditor_is_aborted(s, item->statement, true)) {
            ; /* said */
        } else if (status == PV_OK && parse.statement.len > 0 &&
                   pv_auditor_item_find(a->statements, parse.statement) != NULL) {
            pv_auditor_refuse(s, true, "42P05", "prepared statement already exists", NULL);
        } else if (status == PV_OK && a->name_count >= NAMES_MAX) {
            pv_auditor_refuse(s, true, "54000", "too many prepared statements and portals", NULL);
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
                pv_auditor_item_drop(a, &a->statements, parse.statement);
                pv_auditor_item_keep(a, &a->statements, item);
                item = NULL;
                pv_auditor_put_empty(s, PV_SERVER_PARSE_COMPLETE);
            }
        }
    }
    pv_auditor_item_free(item);
    if (status != PV_OK)
        pv_session_fail(s, status);
    return PV_STEP_DONE;
}

/* Copies what the Bind says into the portal. */
static enum pv_status
fill_portal(struct pv_auditor_item *portal, const struct pv_auditor_item *prepared, const struct pv_msg_bind *bind)
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
    return prepared->statement == NULL ? PV_OK : pv_auditor_item_read(portal, prepared->statement->text);
}

static enum pv_step
on_bind(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;
    struct pv_arena *arena = pv_arena_new(1024);
    struct pv_msg_bind bind;
    struct pv_auditor_item *portal = NULL;
    const struct pv_auditor_item *prepared;
    enum pv_status status = arena == NULL ? PV_NOMEM : pv_msg_bind_read(frame->body, arena, &bind);

    s->is_segment_open = true;
    if (status == PV_PROTOCOL || status == PV_INVALID) {
        pv_session_fatal(s, "08P01", "invalid message format");
    } else if (status == PV_OK && (prepared = pv_auditor_item_find(a->statements, bind.statement)) == NULL) {
        pv_auditor_refuse(s, true, "26000", "prepared statement does not exist", NULL);
    } else if (status == PV_OK && prepared->statement != NULL && pv_auditor_is_aborted(s, prepared->statement, true)) {
        ; /* said */
    } else if (status == PV_OK && bind.param_count != prepared->oid_count) {
        pv_auditor_refuse(s, true, "08P01", "bind message supplies another number of parameters than the statement has",
                          NULL);
    } else if (status == PV_OK && bind.portal.len > 0 && pv_auditor_item_find(a->portals, bind.portal) != NULL) {
        pv_auditor_refuse(s, true, "42P03", "cursor already exists", NULL);
    } else if (status == PV_OK && a->name_count >= NAMES_MAX) {
        pv_auditor_refuse(s, true, "54000", "too many prepared statements and portals", NULL);
    } else if (status == PV_OK) {
        portal = pv_auditor_item_new(bind.portal);
        status = portal == NULL ? PV_NOMEM : fill_portal(portal, prepared, &bind);
        if (status == PV_OK) {
            pv_auditor_item_drop(a, &a->portals, bind.portal);
            pv_auditor_item_keep(a, &a->portals, portal);
            pv_auditor_put_empty(s, PV_SERVER_BIND_COMPLETE);
        } else {
            pv_auditor_item_free(portal);
        }
    }
    pv_arena_free(arena);
    if (status == PV_NOMEM)
        pv_session_fail(s, status);
    return PV_STEP_DONE;
}

static void
describe_parameters(struct pv_session *s, const struct pv_auditor_item *prepared)
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
    pv_auditor_wrote(s, before, pv_msg_parameter_description_write(&s->client_out, &description));
    pv_free(types);
}

static enum pv_step
on_describe(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;
    struct pv_msg_target target;
    struct pv_auditor_item *item;
    enum pv_step step = PV_STEP_DONE;
    bool is_statement;

    s->is_segment_open = true;
    if (pv_msg_target_read(frame->body, &target) != PV_OK) {
        pv_session_fatal(s, "08P01", "invalid message format");
        return step;
    }
    is_statement = target.kind == PV_TARGET_STATEMENT;
    item = pv_auditor_item_find(is_statement ? a->statements : a->portals, target.name);
    if (item == NULL) {
        pv_auditor_refuse(s, true, is_statement ? "26000" : "34000",
                          is_statement ? "prepared statement does not exist" : "portal does not exist", NULL);
        return step;
    }
    if (item->statement != NULL && pv_auditor_is_aborted(s, item->statement, true))
        return step;
    if (item->statement != NULL && item->statement->kind == PV_DIALECT_QUERY &&
        !pv_auditor_answered(s, item, is_statement, true, &step))
        return step;
    if (is_statement)
        describe_parameters(s, item);
    if (item->statement == NULL ||
        (item->statement->kind != PV_DIALECT_QUERY && item->statement->kind != PV_DIALECT_SHOW))
        pv_auditor_put_empty(s, PV_SERVER_NO_DATA);
    else if (item->statement->kind == PV_DIALECT_SHOW)
        pv_auditor_put_description(s, &show_column, 1, is_statement ? NULL : item);
    else
        pv_auditor_put_description(s, item->answer->columns, item->answer->column_count, is_statement ? NULL : item);
    return step;
}

static enum pv_step
on_execute(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_auditor *a = s->auditor;
    struct pv_msg_execute execute;
    struct pv_auditor_item *portal;

    s->is_segment_open = true;
    if (pv_msg_execute_read(frame->body, &execute) != PV_OK) {
        pv_session_fatal(s, "08P01", "invalid message format");
        return PV_STEP_DONE;
    }
    portal = pv_auditor_item_find(a->portals, execute.portal);
    if (portal == NULL) {
        pv_auditor_refuse(s, true, "34000", "portal does not exist", NULL);
        return PV_STEP_DONE;
    }
    if (portal->statement == NULL) {
        pv_auditor_put_empty(s, PV_SERVER_EMPTY_QUERY);
        return PV_STEP_DONE;
    }
    if (pv_auditor_is_aborted(s, portal->statement, true))
        return PV_STEP_DONE;
    if (portal->rows_left == 0 && !a->has_more)
        portal->rows_left = execute.row_count_max > 0 ? (uint64_t) execute.row_count_max : UINT64_MAX;
    if (pv_auditor_run(s, portal, true) == PV_STEP_STALL)
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
    pv_auditor_item_drop(a, target.kind == PV_TARGET_STATEMENT ? &a->statements : &a->portals, target.name);
    pv_auditor_put_empty(s, PV_SERVER_CLOSE_COMPLETE);
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
    pv_auditor_log_end(s, PV_OUTCOME_COMPLETED, NULL); /* described, never executed */
    if (a->status == 'I')
        pv_auditor_items_drop(a, &a->portals);
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
    (void) pv_auditor_log_whole(s, NULL, false, "function-call message", "0A000");
    pv_auditor_refuse(s, false, "0A000", "function calls are not supported for the query log", NULL);
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
pv_auditor_oversize(struct pv_session *s, uint8_t tag, const char *message, const char *reason)
{
    bool is_extended = tag != PV_CLIENT_QUERY && tag != PV_CLIENT_FUNCTION_CALL;

    if (tag == PV_CLIENT_COPY_DATA)
        return;
    if (is_extended)
        s->is_segment_open = true;
    refuse_long(s, is_extended, message, reason);
    if (!is_extended) {
        s->auditor->has_failed = false;
        put_ready(s);
    }
}
