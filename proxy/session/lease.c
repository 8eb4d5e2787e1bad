/*
 * A session that shares server connections with others (pool.mode transaction). It holds one from the first message
 * that needs it to the end of the transaction.
 *  1. The first thing that a server gets from a session is what makes it this session's: its identity where the
 *     server has another's or nobody's for sure, then its settings. A server that cannot be brought there ends with
 *     the session that asked.
 *  2. The server is given back only when every reply has come, no transaction and no segment is open, no cancel is
 *     on its way, and nothing of the client's is left on it. What cannot be carried over (statements prepared by SQL,
 *     cursors held over a commit) pins it.
 *  3. Settings are not guessed: after anything that may have changed them they are read back before the server leaves.
 *  4. A protocol-level statement lives in the session. On a server it has a name of ours, equal statements one name,
 *     and its Parse goes in front of its use wherever the server has not confirmed it.
 *  5. Without a server at hand nothing is open, so an error or a Sync needs none.
 */
#include "proxy/session/side_int.h"

#include <string.h>

/* ---- Getting a server ---- */

void
pv_lease_ask(struct pv_session *s)
{
    if (s->is_asking)
        return;
    s->is_asking = true;
    s->host->open_server(s->host_context, s->room);
}

bool
pv_lease_must_wait(struct pv_session *s)
{
    if (!s->is_pooled || s->side != NULL)
        return false;
    s->must_have_server = true;
    return true;
}

/* ---- The server is there ---- */

/* Of a session that is logging in: what its startup packet asked for is set, and read back. */
static void
open_setup(struct pv_session *s)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_QUERY);
    struct pv_buf sql = {0};
    enum pv_status status = PV_NOMEM;

    if (r == NULL)
        return;
    r->is_internal = r->is_setup = r->is_checkout = true;
    if (pv_lease_put_checkout(s, &sql)) {
        for (size_t i = 0; i < s->setting_count; i++)
            pv_lease_put_change(&sql, s->settings[i].name, s->settings[i].value);
        if (s->setting_count > 0) {
            pv_lease_put_harvest(&sql);
            r->is_harvest = true;
            s->side->is_values_unknown = true; /* until the row is there */
        }
        status = pv_buf_ok(&sql) ? pv_msg_text_write(&r->bytes, PV_CLIENT_QUERY, pv_buf_slice(&sql)) : PV_NOMEM;
    }
    pv_buf_wipe(&sql);
    if (status == PV_OK) {
        pv_request_push(s, r);
    } else {
        pv_request_free(r);
        pv_session_fail(s, status);
    }
}

/* Makes the server this session's, before a request or at the end. */
void
pv_lease_checkout(struct pv_session *s, struct pv_request *before)
{
    struct pv_buf sql = {0};
    struct pv_request *r;

    if (!pv_lease_put_checkout(s, &sql)) {
        pv_buf_wipe(&sql);
        return;
    }
    if (pv_buf_len(&sql) == 0) {
        pv_lease_relay_reports(s);
        return;
    }
    r = pv_request_new(s, PV_REQUEST_QUERY);
    if (r != NULL) {
        r->is_internal = r->is_checkout = true;
        s->side->segment++;
        pv_side_queried(s->side);
        (void) pv_lease_send_before(s, before, r,
                                    pv_buf_ok(&sql) ? pv_msg_text_write(&r->bytes, PV_CLIENT_QUERY, pv_buf_slice(&sql))
                                                    : PV_NOMEM);
    }
    pv_buf_wipe(&sql);
}

void
pv_lease_open(struct pv_session *s, const struct pv_server_facts *facts)
{
    s->is_asking = s->must_have_server = false;
    s->has_server = true;
    s->side = facts->side;
    s->side->segment++;
    s->is_stalled = false;
    if (s->phase == PV_PHASE_SETUP)
        open_setup(s);
    else
        pv_lease_checkout(s, s->head);
}

void
pv_lease_ready(struct pv_session *s, struct pv_request *r)
{
    if (r->is_harvest && !r->has_failed)
        s->side->is_values_unknown = false;
    if (r->is_checkout && s->phase == PV_PHASE_READY)
        pv_lease_relay_reports(s);
}

/* ---- Without a server ---- */

bool
pv_lease_answer(struct pv_session *s, struct pv_request *r)
{
    if (s->phase != PV_PHASE_READY || r != s->head)
        return false;
    if (!r->is_poison && r->kind != PV_REQUEST_SYNC && r->kind != PV_REQUEST_FLUSH && !r->is_local)
        return false;
    s->unsent_bytes -= pv_buf_len(&r->bytes);
    pv_buf_clear(&r->bytes);
    r->is_sent = true;
    s->unsent = r->next;
    s->has_answered = true;
    if (r->kind == PV_REQUEST_FLUSH)
        pv_request_pop(s);
    else
        pv_result_local(s, r);
    return true;
}

/* Of a request that waits: it will never be sent as what it was. */
static void
refuse_waiting(struct pv_session *s, struct pv_request *r, enum pv_outcome outcome, const struct pv_error *error)
{
    size_t before = pv_buf_len(&r->bytes);

    for (size_t i = 0; i < r->run_count; i++)
        pv_trail_end(s, &r->runs[i], outcome, error->sqlstate);
    if (s->phase == PV_PHASE_CLOSED)
        return;
    pv_request_poison(s, r, error);
    s->unsent_bytes = s->unsent_bytes - before + pv_buf_len(&r->bytes);
}

static bool
is_statement(const struct pv_request *r)
{
    return !r->is_poison && r->kind != PV_REQUEST_SYNC && r->kind != PV_REQUEST_FLUSH && !r->is_local;
}

bool
pv_lease_lost(struct pv_session *s, const char *sqlstate, const char *words)
{
    struct pv_error error;

    if (!s->is_pooled || s->side != NULL || s->phase != PV_PHASE_READY || !s->is_asking || s->must_have_server)
        return false;
    s->is_asking = false;
    pv_error_simple(&error, sqlstate, words);
    for (struct pv_request *r = s->unsent; r != NULL && s->phase == PV_PHASE_READY; r = r->next)
        if (is_statement(r))
            refuse_waiting(s, r, PV_OUTCOME_FAILED, &error);
    return true;
}

bool
pv_lease_cancel(struct pv_session *s)
{
    struct pv_request *r = pv_request_head(s);
    struct pv_error error;

    /* What has been sent is the server's to cancel; what still waits, for its record or for a server, it never sees. */
    if (r != NULL && !r->is_internal)
        return false;
    /* What is ours must not be hit: the cancel waits until the server has come to what stands behind it. */
    while (r != NULL && r->is_sent && (r->is_internal || !is_statement(r)))
        r = r->next;
    if (r != NULL && r->is_sent) {
        s->cancel_due = r;
        return true;
    }
    r = s->unsent;
    while (r != NULL && r->kind != PV_REQUEST_QUERY && r->kind != PV_REQUEST_EXECUTE)
        r = r->next;
    if (r == NULL || r->is_poison)
        return false;
    pv_error_simple(&error, "57014", "canceling statement due to user request");
    refuse_waiting(s, r, PV_OUTCOME_CANCELLED, &error);
    /* What stands before it in its segment would ask for a server all the same. */
    if (s->is_asking && s->unsent != r && s->phase == PV_PHASE_READY && is_statement(s->unsent))
        refuse_waiting(s, s->unsent, PV_OUTCOME_CANCELLED, &error);
    return true;
}

void
pv_lease_policy(struct pv_session *s)
{
    struct pv_error error;

    for (struct pv_request *r = s->unsent; s->is_pooled && r != NULL && s->phase == PV_PHASE_READY; r = r->next) {
        if (r->is_internal || !is_statement(r) || pv_gate_retry(s, r) == PV_OK)
            continue;
        pv_error_simple(&error, "42501", "the clean room's policy has changed since the statement was sent");
        error.hint = "Send the statement again.";
        if (s->phase == PV_PHASE_READY)
            refuse_waiting(s, r, PV_OUTCOME_FAILED, &error);
    }
}

/* ---- Giving it back ---- */

static bool
is_pinned(const struct pv_session *s)
{
    const char *value = pv_values_known(s->values, PV_TRACKED_IDLE_TIMEOUT);

    return s->statements.bound_count > 0 || s->portals.count > 0 || s->is_pinned_by_settings ||
           (value != NULL && strcmp(value, "0") != 0);
}

static void
push_harvest(struct pv_session *s)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_QUERY);
    struct pv_buf sql = {0};

    if (r == NULL)
        return;
    s->is_dirty = false;
    r->is_internal = r->is_harvest = true;
    s->side->is_values_unknown = true;
    pv_lease_put_harvest(&sql);
    if (!pv_buf_ok(&sql) || pv_msg_text_write(&r->bytes, PV_CLIENT_QUERY, pv_buf_slice(&sql)) != PV_OK)
        r->bytes.failed = true;
    pv_buf_clear(&sql);
    pv_request_push(s, r);
    pv_pipeline_pump(s);
}

/*
 * A statement_timeout of milliseconds would end what the next session says first, and idle servers would keep it: it is
 * taken back before the server leaves. True: that is on its way.
 */
static bool
push_calming(struct pv_session *s)
{
    const char *value = pv_values_known(s->side->values, PV_TRACKED_STATEMENT_TIMEOUT);
    size_t len = value == NULL ? 0 : strlen(value);
    struct pv_values *without;
    struct pv_request *r;

    if (len < 2 || strcmp(value + len - 2, "ms") != 0 || s->side->is_spoiled)
        return false;
    without = pv_values_new();
    r = without == NULL ? NULL : pv_request_new(s, PV_REQUEST_QUERY);
    for (size_t i = 0; r != NULL && i < without->count; i++) {
        const char *kept = pv_values_at(s->side->values, i);

        if (kept == value)
            kept = NULL;
        without->values[i] = kept == NULL ? NULL : pv_strdup(kept);
        if (kept != NULL && without->values[i] == NULL)
            r->bytes.failed = true;
    }
    if (r == NULL) {
        pv_values_unref(without);
        pv_session_fail(s, PV_NOMEM);
        return true;
    }
    pv_values_unref(s->side->values);
    s->side->values = without;
    r->is_internal = r->is_calming = s->is_calmed = true;
    if (pv_msg_text_write(&r->bytes, PV_CLIENT_QUERY, pv_slice_cstr("RESET statement_timeout")) != PV_OK)
        r->bytes.failed = true;
    pv_request_push(s, r);
    pv_pipeline_pump(s);
    return true;
}

static void
set_pinned(struct pv_session *s, bool is_now_pinned)
{
    if (s->is_pinned == is_now_pinned)
        return;
    s->is_pinned = is_now_pinned;
    if (s->host->pin_server != NULL)
        s->host->pin_server(s->host_context, is_now_pinned);
}

void
pv_lease_settle(struct pv_session *s)
{
    if (s->must_have_server && s->side == NULL && s->phase == PV_PHASE_READY)
        pv_lease_ask(s);
    if (s->side == NULL || s->phase != PV_PHASE_READY || !pv_session_is_at_rest(s))
        return;
    s->has_local = false;
    if (s->is_dirty) {
        push_harvest(s);
        return;
    }
    set_pinned(s, is_pinned(s));
    if (s->is_pinned || push_calming(s))
        return;
    s->has_server = s->is_identity_stale = s->is_calmed = false;
    s->side = NULL;
    s->wants_release = true;
}

void
pv_lease_clear(struct pv_session *s)
{
    pv_tag_unref(s->tag);
    pv_values_unref(s->values);
    s->tag = NULL;
    s->values = NULL;
}
