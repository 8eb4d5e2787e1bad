/*
 * What stops a statement that was let through: consent withdrawn while it waits or runs, a budget that turned out to be
 * spent.
 *  1. Once a withdrawal is known, no row of a statement that it stops goes to the client, and one that lost a row never
 * ends well.
 *  2. A statement that takes from a budget is sent only when its runs were taken, on disk.
 */
#include "policy/standing.h"
#include "proxy/session/session_int.h"

#include <string.h>

/* ---- Consent ---- */

static const struct pv_withdrawal *
find_withdrawal(const struct pv_session *s, const struct pv_run *run)
{
    const struct pv_decision *decision = run->effective;

    /* A PREPARE reads nothing yet, and its EXECUTE is judged again. */
    if (run->is_internal || decision == NULL || run->has_ended || run->kind == PV_KIND_PREPARE ||
        (decision->questions.count == 0 && decision->datasets.count == 0))
        return NULL;
    return pv_standing_withdrawn(s->standing, s->room_name, &decision->questions, &decision->datasets);
}

static const char *
withdrawn_words(struct pv_arena *arena, const struct pv_withdrawal *withdrawal)
{
    const char *words =
        pv_arena_printf(arena, "canceling statement: consent withdrawn by party \"%s\"", withdrawal->party);

    return words == NULL ? "canceling statement: consent withdrawn" : words;
}

/* Of a request that is not sent: it never will be, as what it was. */
static void
stop_unsent(struct pv_session *s, struct pv_request *r, const struct pv_error *error)
{
    size_t before = pv_buf_len(&r->bytes);

    for (size_t i = 0; i < r->run_count; i++)
        pv_trail_end(s, &r->runs[i], PV_OUTCOME_FAILED, error->sqlstate);
    if (s->phase == PV_PHASE_CLOSED)
        return;
    pv_request_poison(s, r, error);
    s->unsent_bytes = s->unsent_bytes - before + pv_buf_len(&r->bytes);
}

static void
stop_request(struct pv_session *s, struct pv_request *r)
{
    for (size_t i = r->run_at; i < r->run_count && !r->is_poison; i++) {
        const struct pv_withdrawal *withdrawal = find_withdrawal(s, &r->runs[i]);
        struct pv_error error;

        if (withdrawal == NULL)
            continue;
        if (r->is_sent) {
            r->runs[i].withdrawn_words = withdrawn_words(r->arena, withdrawal);
            continue;
        }
        pv_error_simple(
            &error, "42501",
            pv_error_printf(r->arena, "query is not an approved question of clean room \"%s\"", s->room_name));
        error.detail = pv_error_printf(r->arena, "Party \"%s\" has withdrawn its consent.", withdrawal->party);
        stop_unsent(s, r, &error);
        return;
    }
}

void
pv_govern_standing(struct pv_session *s)
{
    for (struct pv_request *r = s->head; r != NULL && s->phase != PV_PHASE_CLOSED; r = r->next)
        if (r->kind == PV_REQUEST_QUERY || r->kind == PV_REQUEST_EXECUTE)
            stop_request(s, r);
    pv_govern_head(s);
}

void
pv_govern_head(struct pv_session *s)
{
    struct pv_request *r = s->phase == PV_PHASE_READY ? pv_request_running(s) : NULL;

    /* Of a Query any statement that is not over may be the one that runs. */
    for (size_t i = r == NULL ? 0 : r->run_at; r != NULL && i < r->run_count; i++) {
        struct pv_run *run = &r->runs[i];

        if (run->withdrawn_words == NULL || run->is_stopping)
            continue;
        run->is_stopping = true;
        pv_trail_event(s, "consent_cancel", NULL);
        if (s->is_cancel_pending)
            continue;
        s->is_cancel_pending = true;
        s->host->cancel_server(s->host_context);
    }
}

/* Nothing that the server did would be undone by an error here: one statement, alone in its implicit transaction. */
static bool
may_fail_late(const struct pv_session *s, const struct pv_request *r)
{
    if (s->track.status != 'I')
        return false;
    if (r->kind == PV_REQUEST_QUERY)
        return r->run_at + 1 == r->run_count;
    return r->next != NULL && r->next->kind == PV_REQUEST_SYNC;
}

bool
pv_govern_drops(struct pv_run *run)
{
    run->has_dropped |= run->withdrawn_words != NULL;
    return run->has_dropped;
}

bool
pv_govern_is_over(struct pv_session *s, struct pv_request *r, struct pv_run *run)
{
    struct pv_error error;

    /* All of it had gone to the client before the withdrawal was known. */
    if (run->withdrawn_words == NULL || !run->has_dropped)
        return false;
    pv_trail_end(s, run, PV_OUTCOME_CANCELLED, "57014");
    if (s->phase == PV_PHASE_CLOSED)
        return true;
    pv_error_simple(&error, "57014", run->withdrawn_words);
    if (may_fail_late(s, r))
        pv_error_write(s, &error);
    else /* the client and the server would not agree on what has failed */
        pv_session_fatal(s, error.sqlstate, error.message);
    return true;
}

/* ---- Budgets ---- */

static bool
takes_runs(const struct pv_request *r, const struct pv_run *run)
{
    if (run->effective == NULL || run->effective->budget_count == 0 || r->kind == PV_REQUEST_SYNC)
        return false;
    /* DECLARE took for its cursor; of a portal that the protocol bound this may be the first that runs it. */
    if (run->kind == PV_KIND_FETCH || run->kind == PV_KIND_MOVE)
        return run->starts != NULL;
    if (run->is_continued)
        return false;
    return run->kind == PV_KIND_SELECT || run->kind == PV_KIND_COPY_OUT || run->kind == PV_KIND_DECLARE ||
           run->kind == PV_KIND_EXECUTE;
}

enum pv_status
pv_govern_takes(struct pv_session *s, struct pv_request *r, struct pv_run *run, struct pv_statement_begin *begin)
{
    size_t count = takes_runs(r, run) ? run->effective->budget_count : 0;
    struct pv_budget_take *takes;

    if (count == 0)
        return PV_OK;
    takes = pv_arena_alloc(r->arena, count * sizeof(*takes));
    if (takes == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct pv_budget_demand *demand = &run->effective->budgets[i];
        char period[PV_BUDGET_PERIOD_SIZE];
        struct pv_budget_words words;

        pv_budget_period_text(demand->per, pv_session_date_us(s), period);
        takes[i].key = demand->key;
        takes[i].period = pv_arena_strdup(r->arena, period);
        takes[i].runs = demand->runs;
        takes[i].runs_max = demand->runs_max;
        takes[i].reason = NULL;
        if (takes[i].period == NULL)
            return PV_NOMEM;
        if (demand->runs_max == UINT64_MAX)
            continue;
        if (pv_budget_words(r->arena, demand, pv_session_date_us(s), &words) != PV_OK)
            return PV_NOMEM;
        takes[i].reason = pv_arena_printf(r->arena, "%s: %s. %s", pv_reason_code(pv_budget_reason(demand)),
                                          words.message, words.detail);
        if (takes[i].reason == NULL)
            return PV_NOMEM;
    }
    begin->takes = run->takes = takes;
    begin->take_count = count;
    return PV_OK;
}

static struct pv_run *
find_taker(struct pv_session *s, uint64_t ticket, struct pv_request **request)
{
    for (struct pv_request *r = s->unsent; r != NULL; r = r->next)
        for (size_t i = 0; i < r->run_count; i++)
            if (r->runs[i].takes != NULL && r->runs[i].ticket == ticket) {
                *request = r;
                return &r->runs[i];
            }
    return NULL;
}

void
pv_govern_spent(struct pv_session *s, uint64_t ticket, size_t spent)
{
    struct pv_request *r = NULL;
    struct pv_run *run = find_taker(s, ticket, &r);
    struct pv_budget_words words;
    struct pv_error error;

    /* An error before it may have swept it away. */
    if (run == NULL || r->is_poison || spent >= run->effective->budget_count)
        return;
    if (pv_budget_words(r->arena, &run->effective->budgets[spent], pv_session_date_us(s), &words) != PV_OK) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    pv_error_simple(&error, "53400", words.message);
    error.detail = words.detail;
    error.hint = words.hint;
    run->has_ended = true; /* its record says so itself */
    stop_unsent(s, r, &error);
}
