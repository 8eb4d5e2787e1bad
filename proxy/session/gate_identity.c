/*
 * Identity and startup settings after RESET ALL and DISCARD ALL, which take them away, and after a reload that changed
 * the user's attributes: statements of ours, queued where the client's would be (invariant 11 of gate.c).
 */
#include "proxy/session/side_int.h"

#include "parser/sqltext.h"

#include <string.h>

static void
put_set_config(struct pv_buf *out, const struct pv_startup_setting *setting, const struct pv_decision *reset)
{
    pv_buf_put_text(out, "SELECT pg_catalog.set_config(");
    pv_sql_quote_literal(out, setting->name);
    pv_buf_put_text(out, ", ");
    pv_sql_quote_literal(out, setting->value);
    /* Behind a SET LOCAL it is for the transaction alone, too. */
    pv_buf_put_text(out, reset != NULL && reset->kind == PV_KIND_SET_LOCAL ? ", true)" : ", false)");
}

void
pv_gate_setup_sql(struct pv_session *s, const struct pv_decision *reset, struct pv_buf *out)
{
    const char *only = reset == NULL ? NULL : pv_gate_only_of(reset);
    struct pv_slice identity = pv_buf_slice(&s->identity_sql);
    bool is_first = true;

    if (only == NULL && identity.len > 0) {
        pv_buf_put_slice(out, identity);
        is_first = false;
    }
    for (size_t i = 0; i < s->setting_count; i++) {
        if (only != NULL && strcmp(s->settings[i].name, only) != 0)
            continue;
        if (!is_first)
            pv_buf_put_text(out, "; ");
        put_set_config(out, &s->settings[i], reset);
        is_first = false;
    }
}

bool
pv_gate_is_reset(const struct pv_decision *decision)
{
    return decision->kind == PV_KIND_RESET_ALL || decision->kind == PV_KIND_DISCARD_ALL ||
           ((decision->kind == PV_KIND_RESET ||
             ((decision->kind == PV_KIND_SET || decision->kind == PV_KIND_SET_LOCAL) && decision->value == NULL)) &&
            decision->setting != NULL);
}

size_t
pv_gate_count_statements(struct pv_session *s, const char *only)
{
    size_t count = only == NULL && pv_buf_len(&s->identity_sql) > 0 ? 1 : 0;

    for (size_t i = 0; i < s->setting_count; i++)
        if (only == NULL || strcmp(s->settings[i].name, only) == 0)
            count++;
    return count;
}

const char *
pv_gate_only_of(const struct pv_decision *decision)
{
    return decision->kind == PV_KIND_RESET_ALL || decision->kind == PV_KIND_DISCARD_ALL ? NULL : decision->setting;
}

/* Parse, Bind, Execute, Close of one statement of ours, under a name of ours, replies swallowed. */
static void
push_internal_statement(struct pv_session *s, struct pv_slice sql, bool is_apart)
{
    /* The first Close is for one that a timeout left behind. */
    static const enum pv_request_kind kinds[] = {PV_REQUEST_CLOSE,   PV_REQUEST_PARSE, PV_REQUEST_BIND,
                                                 PV_REQUEST_EXECUTE, PV_REQUEST_CLOSE, PV_REQUEST_CLOSE};
    struct pv_slice name = pv_slice_cstr(PV_INTERNAL_NAME);
    struct pv_msg_parse parse = {name, sql, 0, NULL};
    struct pv_msg_bind bind = {name, name, 0, NULL, 0, NULL, 0, NULL};
    struct pv_msg_execute execute = {name, 0};
    struct pv_msg_target portal = {PV_TARGET_PORTAL, name}, statement = {PV_TARGET_STATEMENT, name};

    for (size_t i = 0; i < PV_COUNT_OF(kinds) && s->phase != PV_PHASE_CLOSED; i++) {
        struct pv_request *r = pv_request_new(s, kinds[i]);
        enum pv_status status;

        if (r == NULL)
            return;
        r->is_internal = true;
        r->is_apart = is_apart;
        status = i == 1   ? pv_msg_parse_write(&r->bytes, &parse)
                 : i == 2 ? pv_msg_bind_write(&r->bytes, &bind)
                 : i == 3 ? pv_msg_execute_write(&r->bytes, &execute)
                          : pv_msg_target_write(&r->bytes, PV_CLIENT_CLOSE, i == 4 ? &portal : &statement);
        if (status != PV_OK) {
            pv_request_free(r);
            pv_session_fail(s, status);
            return;
        }
        pv_request_push(s, r);
    }
}

static void
push_internal_sync(struct pv_session *s)
{
    struct pv_request *r = s->phase == PV_PHASE_CLOSED ? NULL : pv_request_new(s, PV_REQUEST_SYNC);

    if (r == NULL)
        return;
    r->is_internal = r->is_apart = true;
    if (pv_msg_empty_write(&r->bytes, PV_CLIENT_SYNC) != PV_OK)
        r->bytes.failed = true;
    pv_request_push(s, r);
}

/* In the client's segment (extended), or apart in one of ours, which leaves the unnamed statement alone. */
static void
push_setup(struct pv_session *s, const struct pv_decision *reset, bool is_apart)
{
    const char *only = reset == NULL ? NULL : pv_gate_only_of(reset);
    struct pv_buf sql = {0};
    bool is_any = false;

    if (only == NULL && pv_buf_len(&s->identity_sql) > 0) {
        push_internal_statement(s, pv_buf_slice(&s->identity_sql), is_apart);
        is_any = true;
    }
    for (size_t i = 0; i < s->setting_count && s->phase != PV_PHASE_CLOSED; i++) {
        if (only != NULL && strcmp(s->settings[i].name, only) != 0)
            continue;
        pv_buf_truncate(&sql, 0);
        put_set_config(&sql, &s->settings[i], reset);
        if (pv_buf_ok(&sql))
            push_internal_statement(s, pv_buf_slice(&sql), is_apart);
        else
            pv_session_fail(s, PV_NOMEM);
        is_any = true;
    }
    pv_buf_clear(&sql);
    if (is_apart && is_any)
        push_internal_sync(s);
}

bool
pv_gate_make_identity(struct pv_session *s)
{
    enum pv_status status;

    if (s->side != NULL)
        return pv_lease_identity(s);
    /* A conformance room has neither. */
    if (pv_buf_len(&s->identity_sql) > 0 || pv_buf_len(&s->identity_key) == 0)
        return true;
    status = pv_identity_sql(s->room, s->user, s->account->attributes, s->account->attribute_count, s->server_pid,
                             pv_buf_slice(&s->identity_key), &s->identity_sql);
    if (status != PV_OK)
        pv_session_fail(s, status);
    return status == PV_OK;
}

void
pv_gate_identity_after(struct pv_session *s, enum pv_request_kind kind, const struct pv_decision *decision)
{
    if (pv_gate_is_reset(decision) && !pv_gate_make_identity(s))
        return;
    /*
     * A Sync of ours inside a segment of the client's would end what an earlier error skips. Behind a Query there is
     * none: its ReadyForQuery has come, and nothing was taken since.
     */
    if (pv_gate_is_reset(decision))
        push_setup(s, decision, kind == PV_REQUEST_QUERY);
    if (decision->kind == PV_KIND_DISCARD_ALL && kind == PV_REQUEST_EXECUTE && s->discard == PV_DISCARD_NONE)
        s->discard = PV_DISCARD_SENT;
}

void
pv_gate_discard_ready(struct pv_session *s, const struct pv_request *r)
{
    bool is_undone = s->discard == PV_DISCARD_UNDONE;

    /* One that the client made before is not the end of it. */
    if (r->is_internal || !r->is_reset || (s->track.status != 'I' && s->discard != PV_DISCARD_SENT))
        return;
    s->discard = PV_DISCARD_NONE;
    if (is_undone && pv_gate_make_identity(s))
        push_setup(s, NULL, true);
}

/*
 * A reload changed the user's attributes: the server learns of it before the next statement. A transaction that is open
 * may yet take it back, so it is said again until it was said outside of one.
 */
void
pv_gate_refresh_identity(struct pv_session *s)
{
    if (!s->is_identity_stale || s->is_segment_open || s->is_identity_said)
        return;
    if (s->tail == NULL && s->track.status == 'I')
        s->is_identity_stale = false;
    if (s->side != NULL) {
        /* A transaction that is open may take it back: whoever is next says it again. */
        pv_tag_unref(s->side->identity);
        s->side->identity = NULL;
    }
    pv_buf_wipe(&s->identity_sql);
    if (!pv_gate_make_identity(s))
        return;
    push_internal_statement(s, pv_buf_slice(&s->identity_sql), true);
    push_internal_sync(s);
    s->is_identity_said = true;
}
