/*
 * The one road: judge, record, forward. What must always hold, each with tests that cite its number:
 *  1. What reaches the database was encoded by us from a judged structure. No peeked bytes are passed on.
 *  2. SQL reaches the database only as text that was printed from the judged tree and parses to it (policy/decide.h),
 * never the client's text, never SQL made by printf from what a client sent. Of a fixed question printing and check may
 *     be of its load, but for constants and output names, each a token that reads back (parser/pieces.h). A statement
 * that comes again may go as the use of one that was prepared from such a text (repeat.c).
 *  3. Default deny: what policy/decide.h does not allow, and every message that cannot be read, is denied.
 *  4. No name that a client chose captures another: physical names come from the printer, and the one
 *     statement name of ours cannot be taken by a client.
 *  5. The server login can read the room's masked views and nothing else: proxy/net logs in as that one.
 *  6. No statement is sent before its record is written; no record, no query.
 *  7. Every server reply is matched to one request in the pipeline; one that matches none ends the session. After an
 *     error, messages are skipped to Sync, as the server does.
 *  8. One immutable snapshot, and one standing of it, judges a statement from end to end; under another generation of
 * either it is tried anew before its next use.
 *  9. Memory is bounded: pipeline, names, held bytes and waits have their limits in proxy/base/limits.h.
 * 10. No secret is logged, printed or put in an error. Password messages are wiped after use.
 * 11. A session serves one room and one login from its start to its end. A server that sessions share serves one room,
 * and is told whose it is before a session's first statement (lease.c).
 *
 * Denial is by poison: in place of the denied text goes one that the server must refuse, and its
 * ErrorResponse becomes ours. So transaction status, skipping and the unnamed statement are always the server's own.
 * gate_identity.c brings the server back what resets take away.
 */
#include "proxy/session/side_int.h"

#include "policy/standing.h"

#include <string.h>

/* ---- Judging ---- */

static const struct pv_prepared_facts *
prepared_facts(void *context, const char *name)
{
    struct pv_session *s = context;
    struct pv_named *named = NULL;
    enum pv_status status = pv_names_statement(s, name, &named);

    if (status == PV_MORE)
        s->has_stalled_inside = true;
    return status == PV_OK ? &named->facts : NULL;
}

void
pv_gate_caller(struct pv_session *s, struct pv_caller *caller, struct pv_names path)
{
    memset(caller, 0, sizeof(*caller));
    caller->policy = s->policy;
    caller->standing = s->standing;
    caller->room = s->room;
    caller->member = s->member;
    caller->user = s->user;
    caller->login = s->login_user;
    caller->attributes = s->account->attributes;
    caller->search_path = path;
    caller->now_us = pv_session_date_us(s);
    caller->backend_pid = s->is_pooled ? s->server_pid : 0;
    caller->peers = s->peers;
    caller->is_conformance = s->is_conformance;
    caller->is_backslashed = s->is_conformance && s->is_backslashed;
    caller->prepared = prepared_facts;
    caller->context = s;
    caller->cache = s->env->cache;
}

static struct pv_judged *
judge_under(struct pv_session *s, struct pv_slice text, const uint32_t *oids, size_t oid_count, bool is_parse,
            const struct pv_names *path)
{
    struct pv_judged *judged = pv_judged_new(s, text, oids, oid_count, path);
    struct pv_caller caller;
    enum pv_status status = judged == NULL ? PV_NOMEM : PV_OK;

    s->has_stalled_inside = false;
    if (judged != NULL && path == NULL)
        status = pv_names_path(s, judged->arena, &judged->path);
    if (status == PV_MORE) {
        s->has_stalled_inside = true;
        pv_judged_unref(judged);
        return NULL;
    }
    if (status == PV_NOMEM)
        goto failed;
    /* A search_path that cannot be read names no schema. */
    status = PV_NOMEM;
    pv_gate_caller(s, &caller, judged->path);
    if (is_parse) {
        judged->decisions = pv_arena_alloc(judged->arena, sizeof(*judged->decisions));
        judged->count = 1;
        if (judged->decisions != NULL)
            status = s->judge->parse(judged->arena, &caller, judged->text, judged->oids, judged->oid_count,
                                     judged->decisions);
    } else {
        status = s->judge->query(judged->arena, &caller, judged->text, &judged->decisions, &judged->count);
    }
    if (status == PV_OK && !s->has_stalled_inside)
        s->has_stalled_inside = pv_peers_are_due(s, judged);
    if (status == PV_OK && !s->has_stalled_inside)
        return judged;
    if (status == PV_OK) {
        pv_judged_unref(judged);
        return NULL;
    }
failed:
    pv_judged_unref(judged);
    pv_session_fail(s, status);
    return NULL;
}

struct pv_judged *
pv_gate_judge(struct pv_session *s, struct pv_slice text, const uint32_t *oids, size_t oid_count, bool is_parse)
{
    return judge_under(s, text, oids, oid_count, is_parse, NULL);
}

void
pv_error_of_decision(struct pv_error *error, const struct pv_decision *decision)
{
    pv_error_simple(error, decision->sqlstate == NULL ? "42501" : decision->sqlstate,
                    decision->message == NULL ? pv_reason_words(decision->reason) : decision->message);
    error->detail = decision->detail;
    error->hint = decision->hint;
    error->position = decision->position;
}

/* `code: detail`, as the log holds it. */
static const char *
log_reason(struct pv_arena *arena, const struct pv_decision *decision)
{
    return pv_error_printf(arena, "%s: %s", pv_reason_code(decision->reason),
                           decision->detail != NULL    ? decision->detail
                           : decision->message != NULL ? decision->message
                                                       : pv_reason_words(decision->reason));
}

/* ---- Another snapshot (invariant 8) ---- */

static void
take_over(struct pv_named *named, struct pv_judged *fresh)
{
    fresh->is_logged = named->judged->is_logged;
    pv_judged_unref(named->judged);
    named->judged = fresh;
    named->index = 0;
    named->facts = pv_decision_facts(&fresh->decisions[0]);
}

static bool
same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_oids(const struct pv_decision *a, const struct pv_decision *b)
{
    if (a->parameter_count != b->parameter_count || (a->parameter_oids == NULL) != (b->parameter_oids == NULL))
        return false;
    return a->parameter_oids == NULL || a->parameter_count == 0 ||
           memcmp(a->parameter_oids, b->parameter_oids, a->parameter_count * sizeof(*a->parameter_oids)) == 0;
}

static bool
same_path(const struct pv_names *a, const struct pv_names *b)
{
    bool is_same = a->count == b->count;

    for (size_t i = 0; is_same && i < a->count && a->names != b->names; i++)
        is_same = strcmp(a->names[i], b->names[i]) == 0;
    return is_same;
}

/*
 * The search_path that names of a statement mean now: PostgreSQL looks them up anew where it was changed since. A portal
 * stays what it was bound to, and what SQL prepared cannot be brought to the server again.
 */
static enum pv_status
path_today(struct pv_session *s, const struct pv_named *named, struct pv_arena *arena, struct pv_names *path)
{
    if (!named->is_portal && named->judged->decisions[named->index].kind != PV_KIND_PREPARE)
        return pv_names_path(s, arena, path);
    *path = named->judged->path;
    return PV_OK;
}

static const struct pv_dataset *
dataset_of(const struct pv_policy *policy, const struct pv_session *s, const char *key)
{
    const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr(s->room_name));

    for (size_t i = 0; room != NULL && i < room->dataset_count; i++)
        if (strcmp(room->datasets[i].key, key) == 0)
            return &room->datasets[i];
    return NULL;
}

/*
 * A portal goes on with rows that were chosen and masked when it began. May it, under the policy and for the attributes
 * of today?
 */
static bool
shows_what_was(const struct pv_session *s, const struct pv_named *named)
{
    const struct pv_judged *judged = named->judged;
    const struct pv_names *datasets = &judged->decisions[named->index].datasets;
    bool is_same = datasets->count == 0 || judged->person == s->person_count;

    for (size_t i = 0; is_same && judged->policy->generation != s->policy->generation && i < datasets->count; i++)
        is_same = pv_dataset_shows_same(dataset_of(judged->policy, s, datasets->names[i]),
                                        dataset_of(s->policy, s, datasets->names[i]));
    return is_same;
}

enum pv_status
pv_gate_trial(struct pv_session *s, struct pv_named *named, struct pv_arena *arena, struct pv_error *error,
              struct pv_judged **fresh)
{
    const struct pv_decision *before = &named->judged->decisions[named->index], *now;
    struct pv_judged *judged;
    struct pv_names path;
    enum pv_status status = path_today(s, named, arena, &path);

    *fresh = NULL;
    s->has_stalled_inside = status == PV_MORE;
    if (status == PV_MORE)
        return PV_NOTFOUND;
    if (status == PV_NOMEM) {
        pv_session_fail(s, status);
        pv_error_simple(error, "XX000", "the decision could not be made");
        return PV_DENIED;
    }
    /* One that cannot be read names no schema. */
    if (status != PV_OK)
        path = (struct pv_names){0};
    /*
     * An expiry passes without a new snapshot, what EXECUTE runs is whatever has its name by then, and the user's
     * sessions come and go.
     */
    if (before->kind != PV_KIND_EXECUTE && (!before->is_of_peers || named->is_portal) &&
        named->judged->policy->generation == s->policy->generation &&
        named->judged->standing == pv_standing_generation(s->standing) && named->judged->person == s->person_count &&
        same_path(&path, &named->judged->path) &&
        !(s->room->has_expiry && pv_session_date_us(s) >= s->room->expires_us))
        return PV_OK;
    judged = judge_under(s, before->text, named->judged->oids, named->judged->oid_count, true, &path);
    if (judged == NULL && s->has_stalled_inside)
        return PV_NOTFOUND;
    if (judged == NULL) {
        pv_error_simple(error, "XX000", "the decision could not be made");
        return PV_DENIED;
    }
    now = &judged->decisions[0];
    if (!now->is_allowed) {
        pv_error_of_decision(error, now);
        error->message = pv_arena_strdup(arena, error->message);
        error->sqlstate = pv_arena_strdup(arena, error->sqlstate);
        error->detail = error->detail == NULL ? NULL : pv_arena_strdup(arena, error->detail);
        error->hint = error->hint == NULL ? NULL : pv_arena_strdup(arena, error->hint);
        error->reason = log_reason(arena, now);
        pv_judged_unref(judged);
        if (error->message == NULL || error->sqlstate == NULL)
            pv_session_fail(s, PV_NOMEM);
        return PV_DENIED;
    }
    if ((!named->is_portal || shows_what_was(s, named)) && same_text(before->forwarded, now->forwarded) &&
        same_oids(before, now)) {
        take_over(named, judged);
        return PV_OK;
    }
    *fresh = judged;
    return PV_MORE;
}

/* What a text means today, statement by statement as before. */
static bool
is_same_today(struct pv_session *s, struct pv_judged *judged, bool is_parse)
{
    struct pv_judged *fresh = judge_under(s, judged->text, judged->oids, judged->oid_count, is_parse, &judged->path);
    bool is_same = fresh != NULL && fresh->count == judged->count;

    for (size_t i = 0; is_same && i < fresh->count; i++)
        is_same = fresh->decisions[i].is_allowed &&
                  same_text(fresh->decisions[i].forwarded, judged->decisions[i].forwarded) &&
                  same_oids(&fresh->decisions[i], &judged->decisions[i]);
    pv_judged_unref(fresh);
    return is_same;
}

enum pv_status
pv_gate_retry(struct pv_session *s, struct pv_request *r)
{
    bool is_parse = r->kind != PV_REQUEST_QUERY;

    if (r->kind == PV_REQUEST_SYNC)
        return PV_OK;
    for (size_t i = 0; i < r->run_count; i++) {
        struct pv_judged *judged = r->runs[i].judged, *effective = r->runs[i].effective_judged;

        if (judged == NULL || (i > 0 && judged == r->runs[i - 1].judged))
            continue;
        if (!is_same_today(s, judged, is_parse) || (effective != NULL && !is_same_today(s, effective, true)))
            return PV_DENIED;
    }
    if (r->run_count == 0 && r->named != NULL && !is_same_today(s, r->named->judged, true))
        return PV_DENIED;
    return PV_OK;
}

/* ---- Runs ---- */

void
pv_gate_run_init(struct pv_session *s, struct pv_run *run, struct pv_judged *judged, size_t index)
{
    (void) s;
    memset(run, 0, sizeof(*run));
    run->judged = pv_judged_ref(judged);
    run->index = index;
    run->decision = run->effective = &judged->decisions[index];
    run->kind = run->decision->kind;
}

bool
pv_gate_define(struct pv_session *s, struct pv_run *run)
{
    if ((run->kind != PV_KIND_PREPARE && run->kind != PV_KIND_DECLARE) || run->decision->name == NULL)
        return true;
    run->defines = pv_named_new(run->decision->name, strlen(run->decision->name), run->judged, run->index);
    if (run->defines == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return false;
    }
    run->defines->is_portal = run->defines->is_cursor = run->kind == PV_KIND_DECLARE;
    run->defines->is_of_sql = run->kind == PV_KIND_PREPARE;
    /* The printer writes WITH HOLD in this place alone; a held cursor outlives its transaction. */
    run->defines->is_hold = run->defines->is_cursor && run->decision->forwarded != NULL &&
                            strstr(run->decision->forwarded, " WITH HOLD FOR ") != NULL;
    return true;
}

/*
 * By the protocol any statement can be prepared, and EXECUTE runs it. What would change the session so, its names,
 * settings, identity or transaction, is not followed by way of a name; nor is a value of ours put in there.
 */
static bool
may_be_called(const struct pv_named *named, struct pv_arena *arena, struct pv_error *error)
{
    const struct pv_decision *decision = &named->judged->decisions[named->index];

    if (named->is_of_sql || decision->kind == PV_KIND_SELECT || decision->kind == PV_KIND_COPY_OUT ||
        decision->kind == PV_KIND_EMPTY || (decision->kind == PV_KIND_SHOW && decision->show_value == NULL))
        return true;
    pv_error_simple(error, "0A000",
                    pv_error_printf(arena, "EXECUTE cannot run the prepared statement \"%s\", which is no query", named->name));
    error->hint = "Bind and execute it by the protocol, or send its text.";
    return false;
}

/*
 * SQL's FETCH and MOVE read what the protocol bound too, and run it with the first row. What a portal of a query holds is
 * known; one of EXECUTE, FETCH or SHOW would run another statement, two names away.
 */
static enum pv_status
fetch_of_portal(struct pv_request *r, struct pv_run *run, struct pv_named *portal, struct pv_error *error)
{
    if (!portal->is_of_sql && portal->judged->decisions[portal->index].kind != PV_KIND_SELECT) {
        pv_error_simple(error, "0A000",
                        pv_error_printf(r->arena, "%s cannot read the portal \"%s\", which is bound to no query",
                                        run->kind == PV_KIND_MOVE ? "MOVE" : "FETCH", portal->name));
        error->hint = "Execute it by the protocol.";
        return PV_DENIED;
    }
    if (r->kind == PV_REQUEST_QUERY && portal->parameters != NULL) {
        run->parameters = pv_arena_strdup(r->arena, portal->parameters);
        if (run->parameters == NULL)
            return PV_NOMEM;
    }
    if (!portal->has_run)
        run->starts = pv_named_ref(portal);
    portal->has_run = true;
    return PV_OK;
}

enum pv_status
pv_gate_effective(struct pv_session *s, struct pv_request *r, struct pv_run *run, struct pv_error *error)
{
    struct pv_named *named = NULL;
    struct pv_judged *fresh;
    enum pv_status status;
    bool is_cursor = run->kind == PV_KIND_FETCH || run->kind == PV_KIND_MOVE;

    if ((!is_cursor && run->kind != PV_KIND_EXECUTE) || run->decision->name == NULL)
        return PV_OK;
    status = is_cursor ? pv_names_portal(s, run->decision->name, &named)
                       : pv_names_statement(s, run->decision->name, &named);
    if (status == PV_MORE)
        return PV_MORE;
    if (status != PV_OK) /* the server says that there is none */
        return PV_OK;
    if (!is_cursor && !may_be_called(named, r->arena, error))
        return PV_DENIED;
    status = pv_gate_trial(s, named, r->arena, error, &fresh);
    if (status == PV_MORE) {
        pv_judged_unref(fresh);
        pv_error_simple(error, "42501", "the clean room's policy has changed since the statement was made");
        error->hint = is_cursor ? "Declare the cursor again." : "Prepare the statement again.";
        return PV_DENIED;
    }
    if (status == PV_NOTFOUND)
        return PV_MORE;
    if (status != PV_OK)
        return PV_DENIED;
    run->effective_judged = pv_judged_ref(named->judged);
    run->effective = &named->judged->decisions[named->index];
    return is_cursor && !named->is_cursor ? fetch_of_portal(r, run, named, error) : PV_OK;
}

/* ---- Query ---- */

/* Room for each statement, a marker before it and, behind each reset that is not the last, for statements of ours. */
static struct pv_run *
make_runs(struct pv_session *s, struct pv_request *r, const struct pv_judged *judged)
{
    size_t count = judged->count == 1 ? 1 : 2 * judged->count;
    struct pv_run *runs;

    for (size_t i = 0; i + 1 < judged->count; i++)
        if (pv_gate_is_reset(&judged->decisions[i]))
            count += pv_gate_count_statements(s, pv_gate_only_of(&judged->decisions[i]));
    runs = pv_arena_alloc(r->arena, count * sizeof(*runs));
    if (runs == NULL)
        pv_session_fail(s, PV_NOMEM);
    return runs;
}

static bool
takes_reserved_name(const struct pv_decision *decision)
{
    return decision->name != NULL && strncmp(decision->name, PV_RESERVED_PREFIX, strlen(PV_RESERVED_PREFIX)) == 0;
}

/* Since the last marker there was a statement that takes time, as this one does. */
static bool
needs_marker(const struct pv_request *r, const struct pv_run *run)
{
    if (!pv_run_is_watched(run))
        return false;
    for (const struct pv_run *at = run; at > r->runs && !at[-1].is_marker; at--)
        if (pv_run_is_watched(&at[-1]))
            return true;
    return false;
}

/* Before the last run; gives that one's new place. */
static struct pv_run *
put_marker(struct pv_request *r, struct pv_run *run)
{
    run[1] = run[0];
    run[0] = (struct pv_run){.is_internal = true, .is_marker = true};
    r->run_count++;
    return run + 1;
}

/* Fills runs and text. PV_DENIED: *error, and *at says which; PV_MORE: stall. */
static enum pv_status
fill_query(struct pv_session *s, struct pv_request *r, struct pv_judged *judged, struct pv_buf *sql,
           struct pv_error *error, size_t *at)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < judged->count && status == PV_OK; i++) {
        struct pv_run *run = &r->runs[r->run_count];
        const struct pv_decision *decision = &judged->decisions[i];

        *at = i;
        if (!decision->is_allowed) {
            pv_error_of_decision(error, decision);
            return PV_DENIED;
        }
        if (takes_reserved_name(decision)) {
            pv_error_simple(error, "42939", "the name is reserved");
            return PV_DENIED;
        }
        if (pv_person_is_change(s, decision) && !pv_person_may_change(s, judged, true, error))
            return PV_DENIED;
        /* Behind a reset that is not the last there is SQL of ours, which names the server's process. */
        if (i + 1 < judged->count && pv_gate_is_reset(decision) && pv_lease_must_wait(s))
            return PV_MORE;
        if (i + 1 < judged->count && pv_gate_is_reset(decision) && !pv_gate_make_identity(s))
            return PV_NOMEM;
        pv_gate_run_init(s, run, judged, i);
        r->run_count++;
        s->looking_runs = r->runs;
        s->looking_count = r->run_count - 1;
        status = pv_gate_effective(s, r, run, error);
        if (status == PV_OK)
            status = pv_lease_bind(s, r, decision);
        s->looking_count = 0;
        if (i > 0)
            pv_buf_put_text(sql, "; ");
        if (status == PV_OK && needs_marker(r, run)) {
            run = put_marker(r, run);
            pv_buf_put_text(sql, PV_MARKER_SQL "; ");
        }
        if (status == PV_OK && !pv_gate_define(s, run))
            return PV_NOMEM;
        if (judged->count == 1)
            break; /* it is sent as it stands in the decision */
        if (decision->forwarded != NULL)
            pv_buf_put_text(sql, decision->forwarded);
        if (i + 1 < judged->count && pv_gate_is_reset(decision)) {
            size_t ours = pv_gate_count_statements(s, pv_gate_only_of(decision));

            if (ours > 0)
                pv_buf_put_text(sql, "; ");
            pv_gate_setup_sql(s, decision, sql);
            while (ours-- > 0)
                r->runs[r->run_count++].is_internal = true;
        }
    }
    return status;
}

/* A denial of one is a denial of all; each statement has its row. */
static void
deny_query(struct pv_session *s, struct pv_request *r, struct pv_judged *judged, size_t at,
           const struct pv_error *error)
{
    pv_request_poison(s, r, error);
    for (size_t i = 0; i < judged->count && s->phase != PV_PHASE_CLOSED; i++) {
        const struct pv_decision *decision = &judged->decisions[i];
        const char *reason = i == at && decision->is_allowed ? (error->reason != NULL ? error->reason : error->message)
                             : !decision->is_allowed         ? log_reason(r->arena, decision)
                                                             : "another statement of the same query was denied";

        pv_trail_denied(s, r, judged, i, false, reason,
                        !decision->is_allowed && decision->sqlstate != NULL ? decision->sqlstate : error->sqlstate,
                        NULL);
    }
    r->run_count = 0;
}

/* Gives back what runs hold before they are forgotten. */
static void
drop_runs(struct pv_request *r)
{
    for (size_t i = 0; i < r->run_count; i++)
        pv_run_release(&r->runs[i]);
    r->run_count = 0;
}

static void
begin_query(struct pv_session *s, struct pv_request *r)
{
    struct pv_error error;

    for (size_t i = 0; i < r->run_count && s->phase != PV_PHASE_CLOSED; i++) {
        if (r->runs[i].is_internal || pv_trail_begin(s, r, &r->runs[i]) == PV_OK)
            continue;
        for (size_t j = 0; j < r->run_count; j++)
            r->runs[j].has_ended = true;
        pv_error_simple(&error, "58030", "the query log cannot be written");
        pv_request_poison(s, r, &error);
        return;
    }
}

static enum pv_step
forward_query(struct pv_session *s, struct pv_request *r, struct pv_judged *judged)
{
    struct pv_buf sql = {0};
    struct pv_error error;
    size_t at = 0;
    enum pv_status status = fill_query(s, r, judged, &sql, &error, &at);

    if (status == PV_MORE) {
        pv_buf_clear(&sql);
        pv_request_free(r);
        return PV_STEP_STALL;
    }
    if (status == PV_DENIED) {
        drop_runs(r);
        deny_query(s, r, judged, at, &error);
    } else if (status == PV_OK && pv_buf_ok(&sql)) {
        const char *alone = judged->decisions[0].forwarded;
        struct pv_slice text = judged->count > 1 ? pv_buf_slice(&sql) : pv_slice_cstr(alone == NULL ? "" : alone);

        r->is_verbatim = pv_slice_equal(text, judged->text);
        status = pv_msg_text_write(&r->bytes, PV_CLIENT_QUERY, text);
        if (status == PV_OK)
            begin_query(s, r);
    } else {
        status = PV_NOMEM;
    }
    if (sql.data != NULL)
        pv_buf_clear(&sql);
    if (status != PV_OK && status != PV_DENIED)
        pv_session_fail(s, status);
    /* What follows a reset waits until the identity is back behind it, which on_ready sees to. */
    r->is_in_segment = s->is_segment_open;
    r->is_reset = !r->is_poison && (pv_gate_is_reset(&judged->decisions[judged->count - 1]) ||
                                    pv_person_is_change(s, &judged->decisions[judged->count - 1]));
    pv_request_push(s, r);
    return PV_STEP_DONE;
}

static enum pv_step
refuse_unread(struct pv_session *s, struct pv_request *r, const struct pv_error *error, const char *reason)
{
    pv_request_poison(s, r, error);
    pv_trail_unread(s, r, r->kind != PV_REQUEST_QUERY, reason, error->sqlstate);
    pv_request_push(s, r);
    return PV_STEP_DONE;
}

enum pv_step
pv_gate_query(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_slice text;
    struct pv_judged *judged;
    struct pv_request *r;
    struct pv_error error;
    enum pv_step step;

    if (pv_msg_text_read(frame->body, &text) != PV_OK) {
        r = pv_request_new(s, PV_REQUEST_QUERY);
        if (r == NULL)
            return PV_STEP_DONE;
        pv_error_simple(&error, "08P01", "invalid message format");
        return refuse_unread(s, r, &error, "encoding: invalid message format");
    }
    pv_gate_refresh_identity(s);
    judged = s->phase == PV_PHASE_CLOSED ? NULL : pv_gate_judge(s, text, NULL, 0, false);
    if (judged == NULL)
        return s->phase == PV_PHASE_CLOSED ? PV_STEP_DONE : PV_STEP_STALL;
    r = pv_request_new(s, PV_REQUEST_QUERY);
    if (r != NULL)
        r->runs = make_runs(s, r, judged);
    if (r == NULL || r->runs == NULL) {
        pv_request_free(r);
        pv_judged_unref(judged);
        return PV_STEP_DONE;
    }
    step = forward_query(s, r, judged);
    pv_judged_unref(judged);
    return step;
}

enum pv_step
pv_gate_function_call(struct pv_session *s, const struct pv_frame *frame)
{
    struct pv_request *r = pv_request_new(s, PV_REQUEST_QUERY);
    struct pv_error error;

    (void) frame;
    if (r == NULL)
        return PV_STEP_DONE;
    pv_error_simple(&error, "0A000", "function call messages are not supported by a clean room");
    return refuse_unread(s, r, &error, "statement_kind: a function call message");
}

void
pv_gate_oversize(struct pv_session *s, uint8_t tag, const char *message, const char *reason)
{
    struct pv_request *r;
    struct pv_error error;

    if (tag == PV_CLIENT_COPY_DATA)
        return;
    r = pv_request_new(s, tag == PV_CLIENT_QUERY || tag == PV_CLIENT_FUNCTION_CALL ? PV_REQUEST_QUERY
                          : tag == PV_CLIENT_PARSE                                 ? PV_REQUEST_PARSE
                                                                                   : PV_REQUEST_BIND);
    if (r == NULL)
        return;
    pv_error_simple(&error, "54000", message);
    (void) refuse_unread(s, r, &error, reason);
}
