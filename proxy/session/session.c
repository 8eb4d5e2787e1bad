/*
 * Phases and events. A session holds these:
 *  1. Every event appends to two buffers and hands their free part to the host once, at its end. Rows may go to the host
 *     before that, as they came, while nothing else of the event is for the client.
 *  2. Bytes behind a gate leave when the gate's record is on disk, in order, never before.
 *  3. The [phase][tag] table says which messages a phase takes; an empty cell ends the session.
 *  4. After pv_session_end nothing is handed over any more and no event has an effect.
 * Here: a session's life and each event. session_event.c has the table, and what all events begin and end with.
 */
#include "policy/standing.h"
#include "proxy/session/session_int.h"

#include <stdio.h>
#include <string.h>

/* ---- Ends ---- */

void
pv_session_end(struct pv_session *s, enum pv_outcome outcome)
{
    char detail[96];

    if (s->phase == PV_PHASE_CLOSED)
        return;
    s->phase = PV_PHASE_CLOSED;
    s->is_close_wanted = true;
    for (struct pv_request *r = s->head; r != NULL; r = r->next)
        for (size_t i = 0; i < r->run_count; i++)
            pv_trail_end(s, &r->runs[i], outcome, NULL);
    if (s->auditor != NULL)
        pv_auditor_end(s);
    pv_oversize_cut(s);
    if (s->is_logged_in) {
        (void) snprintf(detail, sizeof(detail), "{\"duration_us\":%lld,\"statements\":%llu}",
                        (long long) (s->now_us - s->started_us), (unsigned long long) s->statement_count);
        pv_trail_event(s, "session_end", detail);
    }
}

void
pv_session_fatal(struct pv_session *s, const char *sqlstate, const char *message)
{
    struct pv_error error = {"FATAL", sqlstate, message, NULL, NULL, 0, NULL};

    if (s->phase == PV_PHASE_CLOSED)
        return;
    pv_session_end(s, PV_OUTCOME_LOST);
    if (s->gate_count > 0) {
        /* What waits for the log stays unsaid: its outcome is not on disk. Gates stand between messages. */
        uint64_t base = s->client_total - pv_buf_len(&s->client_out);

        s->client_total = s->gates[0].offset;
        pv_buf_truncate(&s->client_out, (size_t) (s->gates[0].offset - base));
        s->gate_count = 0;
    }
    if (s->server_row_left == 0)
        pv_error_write(s, &error);
}

void
pv_session_fail(struct pv_session *s, enum pv_status status)
{
    pv_session_fatal(s, pv_status_sqlstate(status), pv_status_words(status));
}

/* ---- Events ---- */

struct pv_session *
pv_session_new(const struct pv_session_env *env, struct pv_policy *policy, struct pv_standing *standing,
               void *host_context, uint64_t session_id, const char *client, bool is_unix_socket, int64_t now_us)
{
    struct pv_session *s = pv_calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->env = env;
    s->host = env->host;
    s->judge = env->judge == NULL ? &pv_session_judge_policy : env->judge;
    s->host_context = host_context;
    s->id = session_id;
    s->is_unix_socket = is_unix_socket;
    s->now_us = s->started_us = s->active_us = now_us;
    s->phase = PV_PHASE_STARTUP;
    s->track.status = 'I';
    s->policy = pv_policy_ref(policy);
    s->standing = pv_standing_ref(standing);
    s->arena = pv_arena_new(512);
    s->client = pv_strdup(client);
    if (s->arena == NULL || s->client == NULL) {
        pv_session_free(s);
        return NULL;
    }
    return s;
}

/* What a folded one does not have. */
static void
free_busy(struct pv_session *s)
{
    pv_oversize_free(s->oversize);
    pv_pipeline_clear(s);
    for (size_t i = 0; i < s->described_count; i++)
        pv_judged_unref(s->described[i]);
    pv_free(s->described);
    pv_free(s->gates);
    pv_buf_wipe(&s->identity_sql);
    pv_arena_free(s->peers_arena);
    pv_scram_server_free(s->scram);
    pv_buf_wipe(&s->client_in);
    pv_buf_clear(&s->server_in);
    pv_buf_clear(&s->row_given);
    pv_buf_clear(&s->client_out);
    pv_buf_wipe(&s->server_out);
    pv_free(s->user_pending);
}

void
pv_session_free(struct pv_session *s)
{
    if (s == NULL)
        return;
    if (!s->is_folded)
        free_busy(s);
    pv_auditor_free(s->auditor);
    pv_names_clear(&s->statements);
    pv_names_clear(&s->portals);
    pv_track_clear(s);
    pv_texts_unref(s->reported);
    pv_buf_wipe(&s->identity_key);
    pv_lease_clear(s);
    pv_free(s->settings);
    pv_free(s->client);
    pv_arena_free(s->arena);
    pv_standing_unref(s->standing);
    if (s->policy != NULL)
        pv_policy_unref(s->policy);
    pv_free(s);
}

void
pv_session_client_bytes(struct pv_session *s, int64_t now_us, struct pv_slice bytes)
{
    size_t skipped;
    bool is_lent;

    if (!pv_session_start_event(s, now_us))
        return;
    s->active_us = now_us;
    if (s->phase == PV_PHASE_TLS) {
        /* The host owns the handshake; bytes that reach us now were sent before it, in the clear. */
        pv_session_fatal(s, "08P01", "received unencrypted data after SSL request");
        pv_session_finish_event(s);
        return;
    }
    skipped = pv_oversize_feed(s, bytes);
    if (skipped > 0)
        bytes = pv_slice_of(bytes.data + skipped, bytes.len - skipped);
    /* Before the session is ready there are passwords, which are wiped where they lie. */
    is_lent = s->phase == PV_PHASE_READY && pv_lend(&s->client_in, bytes);
    if (!is_lent)
        pv_buf_put_slice(&s->client_in, bytes);
    pv_session_finish_event(s);
    if (is_lent)
        pv_take_back(&s->client_in);
    else if (pv_buf_len(&s->client_in) == 0 && s->client_in.size > 0)
        pv_buf_clear(&s->client_in);
}

void
pv_session_client_eof(struct pv_session *s, int64_t now_us)
{
    if (!pv_session_start_event(s, now_us))
        return;
    if (pv_pipeline_is_running(s))
        s->host->cancel_server(s->host_context);
    pv_session_end(s, PV_OUTCOME_LOST);
    pv_session_finish_event(s);
}

void
pv_session_client_tls(struct pv_session *s, int64_t now_us, struct pv_slice endpoint_hash, const char *cn)
{
    if (!pv_session_start_event(s, now_us))
        return;
    if (s->phase == PV_PHASE_TLS || (s->phase == PV_PHASE_STARTUP && !s->has_asked_ssl)) {
        char *hash = pv_arena_strndup(s->arena, (const char *) endpoint_hash.data, endpoint_hash.len);

        s->cert_cn = cn == NULL ? NULL : pv_arena_strdup(s->arena, cn);
        if (hash == NULL || (cn != NULL && s->cert_cn == NULL)) {
            pv_session_fail(s, PV_NOMEM);
        } else {
            s->endpoint_hash = pv_slice_of(hash, endpoint_hash.len);
            s->is_tls = true;
            s->phase = PV_PHASE_STARTUP;
        }
    }
    pv_session_finish_event(s);
}

void
pv_session_server_open(struct pv_session *s, int64_t now_us, const struct pv_server_facts *facts)
{
    if (!pv_session_start_event(s, now_us))
        return;
    if (s->phase == PV_PHASE_SERVER) {
        s->has_server = true;
        pv_startup_server_open(s, facts);
    } else if (s->is_pooled && s->is_asking) {
        pv_lease_open(s, facts);
    }
    pv_session_finish_event(s);
}

void
pv_session_server_lost(struct pv_session *s, int64_t now_us, const char *sqlstate, const char *words)
{
    if (!pv_session_start_event(s, now_us))
        return;
    s->home = NULL;
    if (!pv_lease_lost(s, sqlstate, words))
        pv_session_fatal(s, sqlstate, words);
    pv_session_finish_event(s);
}

void
pv_session_server_bytes(struct pv_session *s, int64_t now_us, struct pv_slice bytes)
{
    bool is_lent;

    if (!pv_session_start_event(s, now_us))
        return;
    if (s->phase == PV_PHASE_READY)
        bytes = pv_result_pass_rows(s, bytes);
    is_lent = pv_lend(&s->server_in, bytes);
    if (!is_lent)
        pv_buf_put_slice(&s->server_in, bytes);
    if (s->phase != PV_PHASE_SETUP && s->phase != PV_PHASE_READY)
        pv_session_fatal(s, "08P01", "the database spoke out of turn");
    else
        pv_result_bytes(s);
    pv_session_finish_event(s);
    if (is_lent)
        pv_take_back(&s->server_in);
    else if (pv_buf_len(&s->server_in) == 0 && s->server_in.size > 0)
        pv_buf_clear(&s->server_in);
}

void
pv_session_server_cancelled(struct pv_session *s, int64_t now_us)
{
    if (!pv_session_start_event(s, now_us))
        return;
    s->is_cancel_pending = false;
    pv_session_finish_event(s);
}

/* Tickets up to this one need no more waiting. */
static void
settle(struct pv_session *s, uint64_t ticket)
{
    size_t open = 0;

    if (ticket > s->durable)
        s->durable = ticket;
    while (open < s->gate_count && s->gates[open].ticket <= s->durable)
        open++;
    if (open > 0) {
        memmove(s->gates, s->gates + open, (s->gate_count - open) * sizeof(*s->gates));
        s->gate_count -= open;
    }
}

void
pv_session_recorded(struct pv_session *s, int64_t now_us, uint64_t ticket, enum pv_status status)
{
    if (!pv_session_start_event(s, now_us))
        return;
    if (status != PV_OK && ticket > s->durable) {
        pv_pipeline_io_failed(s, ticket);
        if (s->gate_count > 0 && s->gates[0].ticket <= ticket)
            pv_session_fatal(s, "58030", "the query log cannot be written");
    }
    settle(s, ticket);
    pv_session_finish_event(s);
}

void
pv_session_spent(struct pv_session *s, int64_t now_us, uint64_t ticket, size_t spent)
{
    if (!pv_session_start_event(s, now_us))
        return;
    pv_govern_spent(s, ticket, spent);
    settle(s, ticket);
    pv_session_finish_event(s);
}

void
pv_session_audit_answer(struct pv_session *s, int64_t now_us, struct pv_ask *ask)
{
    if (!pv_session_start_event(s, now_us))
        return;
    if (s->auditor != NULL)
        pv_auditor_answer(s, ask);
    pv_session_finish_event(s);
}

bool
pv_session_has_more(const struct pv_session *s)
{
    return s->auditor != NULL && s->phase == PV_PHASE_READY && s->gate_count == 0 && pv_auditor_has_more(s);
}

void
pv_session_more(struct pv_session *s, int64_t now_us)
{
    if (!pv_session_start_event(s, now_us))
        return;
    if (pv_session_has_more(s))
        s->is_stalled = false;
    pv_session_finish_event(s);
}

void
pv_session_cancel(struct pv_session *s, int64_t now_us)
{
    if (!pv_session_start_event(s, now_us))
        return;
    if (s->phase == PV_PHASE_READY && s->auditor != NULL) {
        pv_auditor_cancel(s);
    } else if (s->phase == PV_PHASE_READY) {
        bool is_running = pv_pipeline_is_running(s) && !s->is_cancel_pending;
        bool was_waiting = pv_lease_cancel(s);

        pv_trail_event(s, "cancel", is_running || was_waiting ? "{\"running\":true}" : "{\"running\":false}");
        if (is_running) {
            s->is_cancel_pending = true;
            s->host->cancel_server(s->host_context);
        }
    }
    pv_session_finish_event(s);
}

static bool
has_host(const struct pv_upstream *upstream, const struct pv_upstream_host *host)
{
    for (size_t i = 0; i < upstream->host_count; i++)
        if (upstream->hosts[i].port == host->port && strcmp(upstream->hosts[i].name, host->name) == 0)
            return true;
    return false;
}

/* The same database, on the hosts of before in whatever order, or on more: whichever this session is on, it may stay. */
static bool
is_same_upstream(const struct pv_upstream *now, const struct pv_upstream *before)
{
    bool is_same = strcmp(now->dbname, before->dbname) == 0;

    for (size_t i = 0; is_same && i < before->host_count; i++)
        is_same = has_host(now, &before->hosts[i]);
    return is_same;
}

static bool
same_attributes(const struct pv_user *a, const struct pv_user *b)
{
    if (a->attribute_count != b->attribute_count)
        return false;
    for (size_t i = 0; i < a->attribute_count; i++) {
        const struct pv_attribute *x = &a->attributes[i], *y = &b->attributes[i];

        if (strcmp(x->name, y->name) != 0 || x->is_list != y->is_list || x->kind != y->kind ||
            x->value_count != y->value_count)
            return false;
        for (size_t j = 0; j < x->value_count; j++)
            if (strcmp(x->values[j], y->values[j]) != 0)
                return false;
    }
    return true;
}

/* Takes the caller's place in another snapshot; false when there is none. */
static bool
find_place(struct pv_session *s, struct pv_policy *policy)
{
    const struct pv_room *room = pv_policy_room(policy, pv_slice_cstr(s->room_name));
    struct pv_person person;

    if (!pv_person_find(s, policy, room, s->service == NULL ? NULL : s->user, &person) ||
        !is_same_upstream(room->upstream, s->room->upstream))
        return false;
    if (!same_attributes(s->account, person.account)) {
        s->is_identity_stale = s->has_server;
        s->person_count++;
    }
    s->room = room;
    pv_person_take(s, &person);
    return true;
}

void
pv_session_policy(struct pv_session *s, int64_t now_us, struct pv_policy *policy, struct pv_standing *standing)
{
    struct pv_policy *old = s->policy;
    struct pv_standing *old_standing = s->standing;

    if (!pv_session_start_event(s, now_us))
        return;
    if (s->auditor != NULL) {
        if (pv_auditor_policy(s, policy) != PV_OK) {
            pv_session_fatal(s, "42501", "this user audits no clean room any more");
        } else {
            s->policy = pv_policy_ref(policy);
            pv_policy_unref(old);
        }
    } else if (s->room != NULL && !find_place(s, policy)) {
        pv_session_fatal(s, "42501", "the clean room is no longer open to this user");
    } else {
        s->policy = pv_policy_ref(policy);
        s->standing = pv_standing_ref(standing);
        if (s->room == NULL && s->user != NULL && !s->is_bearer) {
            /* Amid the password exchange: who was taken off the list does not get in by it. */
            s->account = pv_policy_user(policy, pv_slice_cstr(s->user));
            s->is_denied_anyhow = s->is_denied_anyhow || s->account == NULL;
        }
        if (s->is_logged_in && s->phase != PV_PHASE_CLOSED && s->standing != old_standing)
            pv_govern_standing(s);
        if (s->is_logged_in && s->phase == PV_PHASE_READY)
            pv_lease_policy(s);
        pv_standing_unref(old_standing);
        pv_policy_unref(old);
    }
    pv_session_finish_event(s);
}

static void
drain_if_idle(struct pv_session *s)
{
    if (s->phase != PV_PHASE_READY || (s->head == NULL && s->track.status == 'I' && s->gate_count == 0 &&
                                       (s->auditor == NULL || !pv_auditor_is_busy(s))))
        pv_session_fatal(s, "57P01", "terminating connection due to administrator command");
}

void
pv_session_drain(struct pv_session *s, int64_t now_us)
{
    if (!pv_session_start_event(s, now_us))
        return;
    s->is_draining = true;
    drain_if_idle(s);
    pv_session_finish_event(s);
}

/* A ReadyForQuery went out: what waited for the end of a segment goes on. */
void
pv_session_after_ready(struct pv_session *s)
{
    s->is_stalled = false;
    if (s->is_draining && s->head == NULL && s->track.status == 'I') {
        /* The answer must reach the client first, even where it waits for the log: the tick looks again. */
        if (s->gate_count == 0)
            drain_if_idle(s);
    }
}

void
pv_session_peers(struct pv_session *s, int64_t now_us, const struct pv_peer *peers, size_t count)
{
    if (!pv_session_start_event(s, now_us))
        return;
    s->is_asking_peers = false;
    if (pv_peers_take(s, peers, count)) {
        s->are_peers_fresh = true;
        s->is_stalled = false;
    } else {
        pv_session_fail(s, PV_NOMEM);
    }
    pv_session_finish_event(s);
}

void
pv_session_kill(struct pv_session *s, int64_t now_us, const char *sqlstate, const char *words)
{
    if (!pv_session_start_event(s, now_us))
        return;
    pv_session_fatal(s, sqlstate, words);
    pv_session_finish_event(s);
}

/* ---- Time ---- */

static int64_t
after_ms(int64_t from_us, uint64_t ms)
{
    return ms > (uint64_t) (INT64_MAX / 4000) ? INT64_MAX : from_us + (int64_t) ms * 1000;
}

int64_t
pv_session_deadline(const struct pv_session *s)
{
    const struct pv_config *config = &s->policy->config;
    int64_t end_us, idle_us;

    if (s->phase == PV_PHASE_CLOSED)
        return INT64_MAX;
    if (s->phase != PV_PHASE_READY)
        return after_ms(s->started_us, config->login_timeout_ms);
    if (!s->is_folded && s->head != NULL) {
        const struct pv_request *running = pv_request_running(s);

        return running == NULL ? INT64_MAX : running->deadline_us;
    }
    if (s->auditor != NULL && pv_auditor_is_busy(s))
        return INT64_MAX; /* the desk has a limit of its own */
    if (s->is_draining)
        return s->now_us;
    end_us = pv_session_token_end(s);
    idle_us = config->client_idle_timeout_ms == 0 ? INT64_MAX : after_ms(s->active_us, config->client_idle_timeout_ms);
    return end_us < idle_us ? end_us : idle_us;
}

void
pv_session_tick(struct pv_session *s, int64_t now_us)
{
    if (!pv_session_start_event(s, now_us))
        return;
    if (now_us < pv_session_deadline(s))
        ;
    else if (s->phase == PV_PHASE_STARTUP || s->phase == PV_PHASE_TLS)
        pv_session_end(s, PV_OUTCOME_LOST);
    else if (s->phase != PV_PHASE_READY)
        pv_session_fatal(s, "57014", "canceling authentication due to timeout");
    else if (s->head != NULL) {
        struct pv_request *running = pv_request_running(s);

        running->deadline_us = INT64_MAX;
        for (size_t i = running->run_at; i < running->run_count; i++)
            running->runs[i].has_timed_out = true;
        if (!s->is_cancel_pending) {
            s->is_cancel_pending = true;
            s->host->cancel_server(s->host_context);
        }
    } else if (s->is_draining)
        drain_if_idle(s);
    else if (!pv_session_ends_with_token(s) && now_us < pv_session_token_end(s))
        pv_session_fatal(s, "57P05", "terminating connection due to idle-session timeout");
    pv_session_finish_event(s);
}

bool
pv_session_is_busy(const struct pv_session *s)
{
    return s->phase == PV_PHASE_READY &&
           (s->head != NULL || s->track.status != 'I' || (s->auditor != NULL && pv_auditor_is_busy(s)));
}

bool
pv_session_is_at_rest(const struct pv_session *s)
{
    return s->is_folded || (s->head == NULL && s->track.status == 'I' && !s->is_segment_open && !s->is_cancel_pending &&
           s->server_row_left == 0 && pv_buf_len(&s->server_in) == 0);
}

const char *
pv_session_user(const struct pv_session *s)
{
    return s->is_logged_in ? s->user : "";
}

const char *
pv_session_room(const struct pv_session *s)
{
    return s->is_logged_in ? s->room_name : "";
}
