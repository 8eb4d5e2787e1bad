/*
 * Parse, and what it prepared under an older snapshot: that is judged and parsed again before its next use.
 */
#include "proxy/session/side_int.h"

#include "policy/functions.h"

#include <string.h>

/* ---- Parse ---- */

static enum pv_status
write_parse(struct pv_request *r, const char *name, const struct pv_judged *judged, size_t index)
{
    const struct pv_decision *decision = &judged->decisions[index];
    /* Those of a PREPARE are of the statement in it, and stand in its text. */
    size_t known = decision->parameter_oids == NULL || decision->kind == PV_KIND_PREPARE ? 0 : decision->parameter_count;
    size_t count = known > judged->oid_count ? known : judged->oid_count;
    uint32_t *oids = pv_arena_alloc(r->arena, (count + 1) * sizeof(*oids));
    struct pv_msg_parse parse;

    if (oids == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < count; i++) {
        oids[i] = i < judged->oid_count ? judged->oids[i] : 0;
        if (i < known && decision->parameter_oids[i] != 0)
            oids[i] = decision->parameter_oids[i];
    }
    parse.statement = pv_slice_cstr(name);
    parse.text = pv_slice_cstr(decision->forwarded == NULL ? "" : decision->forwarded);
    parse.type_count = count;
    parse.types = oids;
    return pv_msg_parse_write(&r->bytes, &parse);
}

static enum pv_step
deny_parse(struct pv_session *s, struct pv_request *r, struct pv_judged *judged)
{
    const struct pv_decision *decision = &judged->decisions[0];
    struct pv_error error;

    pv_error_of_decision(&error, decision);
    pv_request_poison(s, r, &error);
    pv_trail_denied(s, r, judged, 0, true,
                    pv_error_printf(r->arena, "%s: %s", pv_reason_code(decision->reason),
                                    decision->detail == NULL ? error.message : decision->detail),
                    error.sqlstate, NULL);
    pv_judged_unref(judged);
    pv_request_push(s, r);
    return PV_STEP_DONE;
}

/* In a failed transaction the server refuses all but what ends it, whatever the name. */
static bool
may_be_parsed_now(const struct pv_session *s, const struct pv_decision *decision)
{
    return s->track.status != 'E' || decision->kind == PV_KIND_COMMIT || decision->kind == PV_KIND_ROLLBACK ||
           decision->kind == PV_KIND_ROLLBACK_TO;
}

static enum pv_step
parse_named(struct pv_session *s, struct pv_request *r, const struct pv_msg_parse *parse)
{
    struct pv_judged *judged;
    struct pv_named *same = NULL;
    enum pv_status status;
    bool is_taken;

    /* A shared server has it under another name, or not at all, and so cannot say that it is taken. */
    status = s->is_pooled && r->name[0] != '\0' ? pv_names_statement(s, r->name, &same) : PV_NOTFOUND;
    if (status == PV_MORE)
        return pv_statement_stall(r);
    is_taken = status == PV_OK;
    judged = pv_gate_judge(s, parse->text, parse->types, parse->type_count, true);
    if (judged == NULL) {
        if (s->phase != PV_PHASE_CLOSED)
            return pv_statement_stall(r);
        pv_request_free(r);
        return PV_STEP_DONE;
    }
    if (!judged->decisions[0].is_allowed)
        return deny_parse(s, r, judged);
    if (is_taken && may_be_parsed_now(s, &judged->decisions[0])) {
        pv_judged_unref(judged);
        return pv_statement_refuse_with(s, r, "42P05",
                                        pv_error_printf(r->arena, "prepared statement \"%s\" already exists", r->name));
    }
    r->named = pv_named_new(r->name, strlen(r->name), judged, 0);
    r->is_verbatim = judged->decisions[0].forwarded != NULL &&
                     pv_slice_is(parse->text, judged->decisions[0].forwarded);
    status = r->named == NULL ? PV_NOMEM
                              : write_parse(r, s->is_pooled && r->name[0] != '\0' ? PV_SIDE_NAME_BLANK : r->name, judged, 0);
    if (status == PV_OK && s->is_pooled)
        status = pv_lease_prepare(s, r, r->named);
    if (status == PV_OK)
        status = pv_lease_bind(s, r, &judged->decisions[0]);
    pv_judged_unref(judged);
    if (status == PV_MORE)
        return pv_statement_stall(r);
    return pv_statement_push_written(s, r, status);
}

/*
 * An enum of a data set, say, is left to the server to find: whether the room shows the type that has this OID, nobody
 * here knows, and an enum's values read as a text's in both formats.
 */
static bool
leave_own_types(struct pv_session *s, struct pv_arena *arena, struct pv_msg_parse *parse)
{
    uint32_t *types;

    if (s->is_conformance || parse->type_count == 0)
        return true;
    types = pv_arena_alloc(arena, parse->type_count * sizeof(*types));
    if (types == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return false;
    }
    for (size_t i = 0; i < parse->type_count; i++)
        types[i] = parse->types[i] < PV_OID_FIRST_NORMAL ? parse->types[i] : 0;
    parse->types = types;
    return true;
}

enum pv_step
pv_statement_parse(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_PARSE);
    struct pv_msg_parse parse;
    struct pv_error error;
    const char *reason;

    if (r == NULL)
        return PV_STEP_DONE;
    pv_gate_refresh_identity(s);
    if (pv_msg_parse_read(frame->body, r->arena, &parse) != PV_OK) {
        pv_error_simple(&error, "08P01", "invalid message format");
        pv_request_poison(s, r, &error);
        pv_trail_unread(s, r, true, "encoding: invalid message format", error.sqlstate);
        pv_request_push(s, r);
        return PV_STEP_DONE;
    }
    if (!leave_own_types(s, r->arena, &parse)) {
        pv_request_free(r);
        return PV_STEP_DONE;
    }
    r->name = pv_statement_take_name(s, r, parse.statement, &error);
    if (r->name == NULL)
        return pv_statement_refuse(s, r, &error);
    if (parse.text.len > s->policy->config.query_bytes_max) {
        pv_error_simple(&error, "54000", "the statement is longer than limits.query_bytes");
        pv_request_poison(s, r, &error);
        reason = pv_oversize_reason(r->arena, parse.text);
        if (reason == NULL)
            pv_session_fail(s, PV_NOMEM);
        else
            pv_trail_unread(s, r, true, reason, error.sqlstate);
        pv_request_push(s, r);
        return PV_STEP_DONE;
    }
    if (s->statements.count >= PV_PREPARED_MAX)
        return pv_statement_refuse_with(s, r, "53400", "too many prepared statements in this session");
    return parse_named(s, r, &parse);
}

/* ---- Statements that an older snapshot judged (invariant 8) ---- */

/* Of a session that shares servers: the text of today takes the old one's place, and goes to a server with its use. */
static enum pv_status
replace(struct pv_session *s, struct pv_named **named, struct pv_judged *fresh)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_PARSE); /* for the writing alone */
    struct pv_named *made = r == NULL ? NULL : pv_named_new((*named)->name, strlen((*named)->name), fresh, 0);
    enum pv_status status = made == NULL ? PV_NOMEM : write_parse(r, pv_lease_name(s, *named), fresh, 0);

    if (status == PV_OK)
        status = pv_lease_prepare(s, r, made);
    if (status == PV_OK)
        status = pv_names_put(&s->statements, made);
    if (status == PV_OK)
        *named = made;
    else
        pv_session_fail(s, status);
    pv_named_unref(made);
    pv_request_free(r);
    return status;
}

/* Brings the server the text of today under the old name: Close and Parse of ours, in the client's segment. */
static enum pv_status
prepare_again(struct pv_session *s, struct pv_named *named, struct pv_judged *fresh)
{
    struct pv_request *close = named->name[0] == '\0' ? NULL : pv_request_new(s, PV_REQUEST_CLOSE);
    struct pv_request *parse = pv_request_new(s, PV_REQUEST_PARSE);
    struct pv_msg_target target = {PV_TARGET_STATEMENT, pv_slice_cstr(named->name)};
    enum pv_status status = PV_NOMEM;

    if (parse == NULL || (close == NULL && named->name[0] != '\0'))
        goto failed;
    parse->name = pv_arena_strdup(parse->arena, named->name);
    parse->named = pv_named_new(named->name, strlen(named->name), fresh, 0);
    if (parse->name == NULL || parse->named == NULL)
        goto failed;
    status = write_parse(parse, parse->name, fresh, 0);
    if (status == PV_OK && close != NULL)
        status = pv_msg_target_write(&close->bytes, PV_CLIENT_CLOSE, &target);
    if (status != PV_OK)
        goto failed;
    if (close != NULL) {
        close->is_internal = true;
        pv_request_push(s, close);
    }
    parse->is_internal = true;
    pv_request_push(s, parse);
    return s->phase == PV_PHASE_CLOSED ? PV_NOMEM : PV_OK;
failed:
    pv_request_free(close);
    pv_request_free(parse);
    pv_session_fail(s, status);
    return status;
}

/* PV_OK: *named may be used. PV_DENIED: *error. */
enum pv_status
pv_statement_try(struct pv_session *s, struct pv_request *r, struct pv_named **named, struct pv_error *error)
{
    struct pv_judged *fresh;
    enum pv_status status = pv_gate_trial(s, *named, r->arena, error, &fresh);

    if (status == PV_OK && (*named)->is_elsewhere) {
        status = prepare_again(s, *named, (*named)->judged);
        if (status == PV_OK)
            *named = s->tail->named;
    }
    if (status != PV_MORE)
        return status;
    /* PREPARE by SQL cannot be brought back by a Parse. */
    if ((*named)->judged->decisions[(*named)->index].kind == PV_KIND_PREPARE) {
        pv_error_simple(error, "42501", "the clean room's policy has changed since the statement was made");
        error->hint = "Prepare the statement again.";
        status = PV_DENIED;
    } else if ((*named)->prep != NULL) {
        status = replace(s, named, fresh);
    } else {
        status = prepare_again(s, *named, fresh);
        if (status == PV_OK)
            *named = s->tail->named;
    }
    pv_judged_unref(fresh);
    return status;
}

enum pv_status
pv_statement_try_portal(struct pv_session *s, struct pv_request *r, struct pv_named *portal, struct pv_error *error)
{
    struct pv_judged *fresh;
    enum pv_status status = pv_gate_trial(s, portal, r->arena, error, &fresh);

    if (status != PV_MORE)
        return status;
    pv_judged_unref(fresh);
    pv_error_simple(error, "42501", "the clean room's policy has changed since the statement was made");
    error->hint = "Bind the statement again.";
    return PV_DENIED;
}
