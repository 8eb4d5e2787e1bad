/*
 * The extended protocol's messages: Parse, Bind, Describe, Execute, Close, Sync,
 * Flush. Each is judged where it stands in the pipeline, written anew from what was judged, and queued. One that is
 * denied is poisoned, and what follows to the next Sync is dropped, as the server skips it too.
 * statement_parse.c has Parse, and parsing again what an older snapshot judged; all else is here.
 */
#include "proxy/session/side_int.h"

#include <string.h>

enum pv_step
pv_statement_refuse(struct pv_session *s, struct pv_request *r, const struct pv_error *error)
{
    pv_request_poison(s, r, error);
    pv_request_push(s, r);
    return PV_STEP_DONE;
}

enum pv_step
pv_statement_refuse_with(struct pv_session *s, struct pv_request *r, const char *sqlstate, const char *message)
{
    struct pv_error error;

    pv_error_simple(&error, sqlstate, message);
    return pv_statement_refuse(s, r, &error);
}

enum pv_step
pv_statement_stall(struct pv_request *r)
{
    pv_request_free(r);
    return PV_STEP_STALL;
}

static enum pv_step
no_statement(struct pv_session *s, struct pv_request *r, const char *name)
{
    return pv_statement_refuse_with(s, r, "26000",
                                    name[0] == '\0'
                                        ? "unnamed prepared statement does not exist"
                                        : pv_error_printf(r->arena, "prepared statement \"%s\" does not exist", name));
}

static enum pv_step
no_portal(struct pv_session *s, struct pv_request *r, const char *name)
{
    return pv_statement_refuse_with(s, r, "34000", pv_error_printf(r->arena, "portal \"%s\" does not exist", name));
}

/* The name as text in the arena; NULL with *error when no server would keep it apart from others. */
const char *
pv_statement_take_name(struct pv_session *s, struct pv_request *r, struct pv_slice name, struct pv_error *error)
{
    char *copy;

    if (name.len == 0)
        return "";
    if (name.len > PV_NAME_BYTES_MAX) {
        pv_error_simple(error, "42622", "the name is too long");
        return NULL;
    }
    if (!pv_utf8_valid(name)) {
        pv_error_simple(error, "22021", "invalid byte sequence for encoding \"UTF8\"");
        return NULL;
    }
    if (name.len >= strlen(PV_RESERVED_PREFIX) &&
        memcmp(name.data, PV_RESERVED_PREFIX, strlen(PV_RESERVED_PREFIX)) == 0) {
        pv_error_simple(error, "42939", "the name is reserved");
        return NULL;
    }
    copy = pv_arena_strndup(r->arena, (const char *) name.data, name.len);
    if (copy == NULL) {
        pv_error_simple(error, "53200", pv_status_words(PV_NOMEM));
        pv_session_fail(s, PV_NOMEM);
    }
    return copy;
}

enum pv_step
pv_statement_push_written(struct pv_session *s, struct pv_request *r, enum pv_status status)
{
    if (status == PV_OK) {
        pv_request_push(s, r);
    } else {
        pv_request_free(r);
        pv_session_fail(s, status);
    }
    return PV_STEP_DONE;
}

/* A statement or a portal that may be used no more. */
static enum pv_step
deny_use(struct pv_session *s, struct pv_request *r, const struct pv_named *portal, const struct pv_error *error)
{
    pv_request_poison(s, r, error);
    pv_trail_denied(s, r, portal->judged, portal->index, true, error->reason != NULL ? error->reason : error->message,
                    error->sqlstate, portal->parameters);
    pv_request_push(s, r);
    return PV_STEP_DONE;
}

/* ---- Bind ---- */

struct bound {
    uint16_t *formats;
    struct pv_msg_value *values;
    struct pv_buf json;
};

static enum pv_status
judge_value(struct pv_session *s, struct pv_request *r, const struct pv_named *statement,
            const struct pv_msg_bind *bind, size_t i, struct bound *bound, struct pv_error *error)
{
    const struct pv_judged *judged = statement->judged;
    const struct pv_parameter *parameter =
        i < statement->facts.parameter_count && statement->facts.parameters != NULL ? statement->facts.parameters[i]
                                                                                     : NULL;
    uint32_t oid = i < judged->oid_count ? judged->oids[i] : 0;
    uint16_t format = pv_msg_bind_format(bind, i);
    const struct pv_msg_value *value = &bind->params[i];
    const char *text = NULL, *words = NULL;
    enum pv_status status = PV_OK;

    bound->formats[i] = format;
    bound->values[i] = *value;
    if (parameter != NULL) {
        status = pv_param_judge_bind(r->arena, parameter, oid, (int16_t) format, value->is_null, value->bytes, &text,
                                     &words);
        if (status == PV_OK) {
            bound->formats[i] = 0;
            bound->values[i].is_null = text == NULL;
            bound->values[i].bytes = text == NULL ? pv_slice_of(NULL, 0) : pv_slice_cstr(text);
        } else if (status != PV_NOMEM) {
            pv_error_simple(error, "22023", words == NULL ? "a parameter's value is out of its bounds" : words);
            error->detail = pv_param_bounds(r->arena, parameter);
            status = PV_DENIED;
        }
    } else if (!value->is_null && format == 0 && !pv_utf8_valid(value->bytes)) {
        pv_error_simple(error, "22021", "invalid byte sequence for encoding \"UTF8\"");
        status = PV_DENIED;
    }
    if (!s->policy->config.is_logging_parameters || status == PV_NOMEM)
        return status;
    if (i > 0)
        pv_buf_put_u8(&bound->json, ',');
    if (value->is_null)
        pv_buf_put_text(&bound->json, "null");
    else if (text != NULL || pv_param_display(r->arena, oid, (int16_t) format, value->bytes, &text) == PV_OK)
        pv_buf_put_json(&bound->json, pv_slice_cstr(text));
    else
        pv_buf_put_text(&bound->json, "null");
    return status;
}

/* Where a question's parameter stands in several places, each with a $n of its own: all have one canonical value. */
static enum pv_status
judge_twins(struct pv_request *r, const struct pv_prepared_facts *facts, size_t count, const struct bound *bound,
            struct pv_error *error)
{
    for (size_t i = 0; i < count && i < facts->parameter_count; i++) {
        size_t twin = facts->twins[i];
        const char *words;

        if (twin == 0 || (bound->values[i].is_null == bound->values[twin - 1].is_null &&
                          pv_slice_equal(bound->values[i].bytes, bound->values[twin - 1].bytes)))
            continue;
        words = pv_twin_words(r->arena, facts->parameters[i], i + 1, twin);
        if (words == NULL)
            return PV_NOMEM;
        pv_error_simple(error, "22023", words);
        error->detail = pv_param_bounds(r->arena, facts->parameters[i]);
        return PV_DENIED;
    }
    return PV_OK;
}

static enum pv_status
judge_values(struct pv_session *s, struct pv_request *r, const struct pv_named *statement,
             const struct pv_msg_bind *bind, struct bound *bound, struct pv_error *error)
{
    enum pv_status verdict = PV_OK;

    bound->formats = pv_arena_alloc(r->arena, (bind->param_count + 1) * sizeof(*bound->formats));
    bound->values = pv_arena_alloc(r->arena, (bind->param_count + 1) * sizeof(*bound->values));
    if (bound->formats == NULL || bound->values == NULL)
        return PV_NOMEM;
    pv_buf_put_u8(&bound->json, '[');
    /* All are looked at, so that the log has the whole list; the first fault counts. */
    for (size_t i = 0; i < bind->param_count; i++) {
        struct pv_error one;
        enum pv_status status = judge_value(s, r, statement, bind, i, bound, &one);

        if (status == PV_NOMEM)
            return status;
        if (status == PV_DENIED && verdict == PV_OK) {
            verdict = status;
            *error = one;
        }
    }
    pv_buf_put_u8(&bound->json, ']');
    if (verdict == PV_OK && statement->facts.twins != NULL)
        verdict = judge_twins(r, &statement->facts, bind->param_count, bound, error);
    return pv_buf_ok(&bound->json) ? verdict : PV_NOMEM;
}

/* The request's portal, with its parameters for the log. */
static enum pv_status
make_portal(struct pv_session *s, struct pv_request *r, struct pv_named *statement, const struct bound *bound)
{
    bool is_logged = s->policy->config.is_logging_parameters;

    r->named = pv_portal_new(r->name, statement, is_logged ? pv_buf_slice(&bound->json) : pv_slice_of(NULL, 0));
    return r->named == NULL ? PV_NOMEM : PV_OK;
}

static enum pv_step
deny_bind(struct pv_session *s, struct pv_request *r, const struct pv_named *statement, struct bound *bound,
          const struct pv_error *error)
{
    const char *parameters = s->policy->config.is_logging_parameters ? pv_buf_text(&bound->json) : NULL;

    pv_request_poison(s, r, error);
    pv_trail_denied(s, r, statement->judged, statement->index, true,
                    pv_error_printf(r->arena, "%s: %s", pv_reason_code(PV_REASON_PARAMETER), error->message),
                    error->sqlstate, parameters);
    pv_buf_clear(&bound->json);
    pv_request_push(s, r);
    return PV_STEP_DONE;
}

static enum pv_step
bind_statement(struct pv_session *s, struct pv_request *r, struct pv_named *statement, struct pv_msg_bind *bind)
{
    struct bound bound = {0};
    struct pv_error error;
    enum pv_status status;

    pv_spare_take(s, &bound.json);
    status = judge_values(s, r, statement, bind, &bound, &error);
    if (status == PV_DENIED)
        return deny_bind(s, r, statement, &bound, &error);
    if (status == PV_OK)
        status = make_portal(s, r, statement, &bound);
    pv_spare_give(s, &bound.json);
    bind->portal = pv_slice_cstr(r->name);
    bind->statement = pv_slice_cstr(pv_lease_name(s, statement));
    bind->format_count = bind->param_count;
    bind->formats = bound.formats;
    bind->params = bound.values;
    if (status == PV_OK)
        status = pv_msg_bind_write(&r->bytes, bind);
    if (status == PV_OK && statement->prep != NULL) {
        r->statement = pv_named_ref(statement);
        r->name_at = 5 + strlen(r->name) + 1;
        status = pv_lease_bind(s, r, &statement->judged->decisions[statement->index]);
        if (status == PV_MORE)
            return pv_statement_stall(r);
    }
    return pv_statement_push_written(s, r, status);
}

enum pv_step
pv_statement_bind(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_BIND);
    struct pv_msg_bind bind;
    struct pv_error error;
    struct pv_named *statement = NULL;
    const char *name = NULL;
    enum pv_status status;

    if (r == NULL)
        return PV_STEP_DONE;
    pv_gate_refresh_identity(s);
    status = pv_msg_bind_read(frame->body, r->arena, &bind);
    if (status != PV_OK)
        return pv_statement_refuse_with(s, r, "08P01", "invalid message format");
    r->name = pv_statement_take_name(s, r, bind.portal, &error);
    if (r->name != NULL)
        name = pv_statement_take_name(s, r, bind.statement, &error);
    if (name == NULL) {
        r->name = NULL;
        return pv_statement_refuse(s, r, &error);
    }
    status = pv_names_statement(s, name, &statement);
    if (status == PV_MORE)
        return pv_statement_stall(r);
    if (status != PV_OK)
        return no_statement(s, r, name);
    if (s->portals.count >= PV_PORTALS_MAX)
        return pv_statement_refuse_with(s, r, "53400", "too many portals in this session");
    status = pv_statement_try(s, r, &statement, &error);
    if (status == PV_NOTFOUND)
        return pv_statement_stall(r);
    if (status == PV_DENIED)
        return deny_use(s, r, statement, &error);
    if (status != PV_OK) {
        pv_request_free(r);
        return PV_STEP_DONE;
    }
    return bind_statement(s, r, statement, &bind);
}

/* ---- Describe ---- */

/* Remembers a judgement whose columns were asked for; the next Sync writes it into the log unless it is executed by then. */
static void
remember_described(struct pv_session *s, struct pv_judged *judged)
{
    if (judged->is_logged)
        return;
    for (size_t i = 0; i < s->described_count; i++)
        if (s->described[i] == judged)
            return;
    if (s->described_count == s->described_size) {
        size_t size = s->described_size == 0 ? 4 : s->described_size * 2;
        struct pv_judged **grown = pv_realloc(s->described, size * sizeof(*grown));

        if (grown == NULL) {
            pv_session_fail(s, PV_NOMEM);
            return;
        }
        s->described = grown;
        s->described_size = size;
    }
    s->described[s->described_count++] = pv_judged_ref(judged);
}

static enum pv_step
describe_named(struct pv_session *s, struct pv_request *r, struct pv_named *named)
{
    struct pv_msg_target target = {r->target, pv_slice_cstr(named->name)};

    if (r->target == PV_TARGET_STATEMENT && named->prep != NULL) {
        target.name = pv_slice_cstr(pv_lease_name(s, named));
        r->statement = pv_named_ref(named);
        r->name_at = 6;
    }
    r->named = pv_named_ref(named);
    remember_described(s, named->judged);
    return pv_statement_push_written(s, r, pv_msg_target_write(&r->bytes, PV_CLIENT_DESCRIBE, &target));
}

enum pv_step
pv_statement_describe(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_DESCRIBE);
    struct pv_msg_target target;
    struct pv_error error;
    struct pv_named *named = NULL;
    const char *name;
    enum pv_status status;

    if (r == NULL)
        return PV_STEP_DONE;
    if (pv_msg_target_read(frame->body, &target) != PV_OK)
        return pv_statement_refuse_with(s, r, "08P01", "invalid message format");
    r->target = target.kind;
    name = pv_statement_take_name(s, r, target.name, &error);
    if (name == NULL)
        return pv_statement_refuse(s, r, &error);
    status = r->target == PV_TARGET_PORTAL ? pv_names_portal(s, name, &named) : pv_names_statement(s, name, &named);
    if (status == PV_MORE)
        return pv_statement_stall(r);
    if (status != PV_OK)
        return r->target == PV_TARGET_PORTAL ? no_portal(s, r, name) : no_statement(s, r, name);
    status = r->target == PV_TARGET_PORTAL ? pv_statement_try_portal(s, r, named, &error)
                                           : pv_statement_try(s, r, &named, &error);
    if (status == PV_NOTFOUND)
        return pv_statement_stall(r);
    if (status == PV_DENIED)
        return pv_statement_refuse(s, r, &error);
    if (status != PV_OK) {
        pv_request_free(r);
        return PV_STEP_DONE;
    }
    return describe_named(s, r, named);
}

/* ---- Execute ---- */

/* A portal of EXECUTE goes on with rows of what it ran: only while that is what has its name. */
static enum pv_status
go_on_with_called(struct pv_session *s, const struct pv_run *run, struct pv_named *portal, struct pv_error *error)
{
    struct pv_named *called = NULL;
    enum pv_status status = pv_names_statement(s, run->decision->name, &called);

    if (status == PV_MORE)
        return status;
    if (portal->has_run && called != portal->called) {
        pv_error_simple(error, "42501", "the statement that the portal runs is no longer prepared");
        error->hint = "Bind the statement again.";
        return PV_DENIED;
    }
    if (called == portal->called)
        return PV_OK;
    pv_named_unref(portal->called);
    portal->called = called == NULL ? NULL : pv_named_ref(called);
    return PV_OK;
}

static enum pv_step
execute_portal(struct pv_session *s, struct pv_request *r, struct pv_named *portal, int32_t row_count_max)
{
    struct pv_msg_execute execute = {pv_slice_cstr(portal->name), row_count_max};
    struct pv_run *run = pv_arena_alloc(r->arena, sizeof(*run));
    struct pv_error error;
    enum pv_status status;
    bool is_change;

    if (run == NULL)
        return pv_statement_push_written(s, r, PV_NOMEM);
    pv_gate_run_init(s, run, portal->judged, portal->index);
    r->runs = run;
    r->run_count = 1;
    if (!portal->is_cursor && pv_gate_is_reset(run->decision) && pv_lease_must_wait(s)) {
        r->run_count = 0;
        pv_judged_unref(run->judged);
        return pv_statement_stall(r);
    }
    if (portal->is_cursor)
        run->kind = PV_KIND_FETCH; /* DECLARE ran already; this fetches */
    else if (portal->is_of_sql)
        run->kind = PV_KIND_SELECT; /* PREPARE ran already; this is what it prepared, and it takes from budgets */
    run->is_continued = portal->has_run;
    if (portal->parameters != NULL)
        run->parameters = pv_arena_strdup(r->arena, portal->parameters);
    is_change = !portal->is_cursor && pv_person_is_change(s, run->decision);
    if (is_change && !pv_person_may_change(s, portal->judged, false, &error))
        status = PV_DENIED;
    else
        status = portal->is_cursor ? PV_OK : pv_gate_effective(s, r, run, &error);
    if (status == PV_OK && run->kind == PV_KIND_EXECUTE && !portal->is_cursor)
        status = go_on_with_called(s, run, portal, &error);
    if (status == PV_MORE)
        return pv_statement_stall(r);
    if (status == PV_DENIED) {
        r->run_count = 0;
        pv_run_release(run);
        return deny_use(s, r, portal, &error);
    }
    if (status != PV_OK)
        return pv_statement_push_written(s, r, status);
    r->named = pv_named_ref(portal);
    if (!pv_gate_define(s, run))
        return pv_statement_push_written(s, r, PV_NOMEM);
    status = pv_request_needs_flush(s, r) ? pv_msg_empty_write(&r->bytes, PV_CLIENT_FLUSH) : PV_OK;
    if (status == PV_OK)
        status = pv_msg_execute_write(&r->bytes, &execute);
    if (status == PV_OK && pv_trail_begin(s, r, run) != PV_OK) {
        /* Its Sync must not want the row of what was described and not executed: this one cannot have any. */
        portal->judged->is_logged = true;
        pv_error_simple(&error, "58030", "the query log cannot be written");
        return pv_statement_refuse(s, r, &error);
    }
    if (!portal->has_run && run->starts == NULL)
        run->starts = pv_named_ref(portal);
    portal->judged->is_logged = portal->has_run = true;
    (void) pv_statement_push_written(s, r, status);
    s->is_changing_user = s->is_changing_user || is_change;
    if (s->phase != PV_PHASE_CLOSED)
        pv_gate_identity_after(s, PV_REQUEST_EXECUTE, run->decision);
    return PV_STEP_DONE;
}

enum pv_step
pv_statement_execute(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_EXECUTE);
    struct pv_msg_execute execute;
    struct pv_error error;
    struct pv_named *portal = NULL;
    const char *name;
    enum pv_status status;

    if (r == NULL)
        return PV_STEP_DONE;
    if (pv_msg_execute_read(frame->body, &execute) != PV_OK)
        return pv_statement_refuse_with(s, r, "08P01", "invalid message format");
    name = pv_statement_take_name(s, r, execute.portal, &error);
    if (name == NULL)
        return pv_statement_refuse(s, r, &error);
    status = pv_names_portal(s, name, &portal);
    if (status == PV_MORE)
        return pv_statement_stall(r);
    if (status != PV_OK) {
        pv_trail_unread(s, r, true, "no such portal", "34000");
        return r->is_poison ? pv_statement_refuse(s, r, &r->error) : no_portal(s, r, name);
    }
    status = pv_statement_try_portal(s, r, portal, &error);
    if (status == PV_NOTFOUND)
        return pv_statement_stall(r);
    if (status != PV_OK)
        return deny_use(s, r, portal, &error);
    return execute_portal(s, r, portal, execute.row_count_max);
}

/* ---- Close, Flush, Sync ---- */

enum pv_step
pv_statement_close(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_CLOSE);
    struct pv_msg_target target;
    struct pv_error error;

    if (r == NULL)
        return PV_STEP_DONE;
    if (pv_msg_target_read(frame->body, &target) != PV_OK)
        return pv_statement_refuse_with(s, r, "08P01", "invalid message format");
    r->target = target.kind;
    r->name = pv_statement_take_name(s, r, target.name, &error);
    if (r->name == NULL)
        return pv_statement_refuse(s, r, &error);
    target.name = pv_slice_cstr(r->name);
    if (s->is_pooled && r->target == PV_TARGET_STATEMENT) {
        struct pv_named *named = NULL;
        enum pv_status status = pv_names_statement(s, r->name, &named);

        if (status == PV_MORE)
            return pv_statement_stall(r);
        /* On the servers it stays, for whoever prepares the same. */
        if (status != PV_OK || (named->prep != NULL && !named->is_bound)) {
            r->is_local = true;
            pv_request_push(s, r);
            return PV_STEP_DONE;
        }
    }
    return pv_statement_push_written(s, r, pv_msg_target_write(&r->bytes, PV_CLIENT_CLOSE, &target));
}

enum pv_step
pv_statement_flush(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_FLUSH);

    if (r == NULL)
        return PV_STEP_DONE;
    if (pv_msg_empty_read(frame->body) != PV_OK)
        return pv_statement_refuse_with(s, r, "08P01", "invalid message format");
    return pv_statement_push_written(s, r, pv_msg_empty_write(&r->bytes, PV_CLIENT_FLUSH));
}

/* Statements that were described and not executed since the last Sync get their rows; they end with its ReadyForQuery. */
static enum pv_status
log_described(struct pv_session *s, struct pv_request *r)
{
    enum pv_status status = PV_OK;

    if (s->described_count == 0)
        return PV_OK;
    r->runs = pv_arena_alloc(r->arena, s->described_count * sizeof(*r->runs));
    for (size_t i = 0; i < s->described_count; i++) {
        struct pv_judged *judged = s->described[i];

        if (status == PV_OK && r->runs != NULL && !judged->is_logged) {
            pv_gate_run_init(s, &r->runs[r->run_count], judged, 0);
            status = pv_trail_begin(s, r, &r->runs[r->run_count++]);
            judged->is_logged = true;
        }
        pv_judged_unref(judged);
    }
    s->described_count = 0;
    return r->runs == NULL ? PV_NOMEM : status;
}

enum pv_step
pv_statement_sync(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_SYNC);
    enum pv_status status;

    if (r == NULL)
        return PV_STEP_DONE;
    if (pv_msg_empty_read(frame->body) != PV_OK) {
        pv_request_free(r);
        pv_session_fatal(s, "08P01", "invalid message format");
        return PV_STEP_DONE;
    }
    s->is_doomed = false;
    /* Behind a change of the end user nothing is taken until it is in force. */
    r->is_reset = s->is_changing_user;
    s->is_changing_user = false;
    status = log_described(s, r);
    if (status == PV_OK)
        status = pv_msg_empty_write(&r->bytes, PV_CLIENT_SYNC);
    if (status != PV_OK && status != PV_NOMEM) {
        pv_request_free(r);
        pv_session_fatal(s, "58030", "the query log cannot be written");
        return PV_STEP_DONE;
    }
    return pv_statement_push_written(s, r, status);
}
