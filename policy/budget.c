/*
 * Access budgets: what a statement takes from which counters, over which periods, and the words when one of them is
 * spent. A counter's key holds names alone - room, question or data set, user - so no edit of bounds, text or periods
 * leads to a fresh one; a question or a data set that is renamed is another one, and needs its approvals anew.
 */
#include <string.h>
#include <time.h>

#include "policy/decide_int.h"
#include "policy/standing.h"
#include "proxy/base/arena.h"

/* ---- periods ------------------------------------------------------------- */

const char *
pv_budget_period_word(enum pv_budget_period per)
{
    static const char *const words[] = {
        [PV_PER_DAY] = "day", [PV_PER_WEEK] = "week", [PV_PER_MONTH] = "month", [PV_PER_LIFETIME] = "lifetime"};

    return words[per];
}

/* When the period began that a moment lies in: midnight, UTC. */
static time_t
period_start(enum pv_budget_period per, int64_t now_us, struct tm *parts)
{
    time_t seconds = (time_t) (now_us / 1000000);

    memset(parts, 0, sizeof(*parts));
    (void) gmtime_r(&seconds, parts);
    if (per == PV_PER_WEEK) /* weeks begin on Monday (ISO 8601) */
        parts->tm_mday -= (parts->tm_wday + 6) % 7;
    else if (per == PV_PER_MONTH)
        parts->tm_mday = 1;
    parts->tm_hour = parts->tm_min = parts->tm_sec = 0;
    return timegm(parts); /* sets the other parts right too */
}

void
pv_budget_period_text(enum pv_budget_period per, int64_t now_us, char text[PV_BUDGET_PERIOD_SIZE])
{
    struct tm parts;

    text[0] = '\0';
    (void) period_start(per, now_us, &parts);
    switch (per) {
    case PV_PER_DAY:
        (void) strftime(text, PV_BUDGET_PERIOD_SIZE, "day %Y-%m-%d", &parts);
        break;
    case PV_PER_WEEK:
        (void) strftime(text, PV_BUDGET_PERIOD_SIZE, "week %Y-%m-%d", &parts);
        break;
    case PV_PER_MONTH:
        (void) strftime(text, PV_BUDGET_PERIOD_SIZE, "month %Y-%m", &parts);
        break;
    case PV_PER_LIFETIME:
        memcpy(text, "lifetime", sizeof("lifetime"));
        break;
    }
}

int64_t
pv_budget_period_end(enum pv_budget_period per, int64_t now_us)
{
    struct tm parts;

    if (per == PV_PER_LIFETIME)
        return 0;
    (void) period_start(per, now_us, &parts);
    if (per == PV_PER_MONTH)
        parts.tm_mon++;
    else
        parts.tm_mday += per == PV_PER_WEEK ? 7 : 1;
    return (int64_t) timegm(&parts) * 1000000;
}

/* ---- demands ------------------------------------------------------------- */

/* One more run of a counter; several instances of a question in one statement are as many runs. */
static enum pv_status
add_demand(struct pv_trial *trial, const struct pv_budget_demand *demand)
{
    struct pv_decision *decision = trial->decision;
    struct pv_budget_demand *demands;

    for (size_t i = 0; i < decision->budget_count; i++)
        if (decision->budgets[i].per == demand->per && strcmp(decision->budgets[i].key, demand->key) == 0) {
            decision->budgets[i].runs++;
            return PV_OK;
        }
    demands = pv_arena_alloc(trial->arena, (decision->budget_count + 1) * sizeof(*demands));
    if (demands == NULL)
        return PV_NOMEM;
    if (decision->budget_count > 0)
        memcpy(demands, decision->budgets, decision->budget_count * sizeof(*demands));
    demands[decision->budget_count++] = *demand;
    decision->budgets = demands;
    return PV_OK;
}

/* Names the counter of one user's runs; the length keeps subject and user apart, which may hold any byte. */
static const char *
share_key(struct pv_trial *trial, bool is_dataset, const char *subject)
{
    return pv_arena_printf(trial->arena, "%s-member/%s/%zu/%s/%s", is_dataset ? "dataset" : "question",
                           trial->caller->room->name, strlen(subject), subject, trial->caller->user);
}

/*
 * What has any budget is counted per every period, for everybody together and for whom it is asked, so that a budget
 * that is edited into another one, or gets shares, finds the runs that were had already (T14: edits never give back).
 * The longest period comes first: of two that are spent, the client hears of the one that lasts.
 */
static enum pv_status
demand_runs(struct pv_trial *trial, bool is_dataset, const char *subject, const struct pv_budget *budgets, size_t count)
{
    const char *key, *own_key, *user;
    enum pv_status status;

    if (count == 0)
        return PV_OK;
    key = pv_arena_printf(trial->arena, "%s/%s/%s", is_dataset ? "dataset" : "question", trial->caller->room->name,
                          subject);
    own_key = share_key(trial, is_dataset, subject);
    /* The judgement may be kept for other sessions of the user, and outlive the caller's. */
    user = pv_arena_strdup(trial->arena, trial->caller->user);
    status = key == NULL || own_key == NULL || user == NULL ? PV_NOMEM : PV_OK;
    for (int per = PV_PER_LIFETIME; per >= PV_PER_DAY && status == PV_OK; per--) {
        struct pv_budget_demand all = {key, (enum pv_budget_period) per, 1, UINT64_MAX, is_dataset, subject, NULL};
        struct pv_budget_demand own = all;

        own.key = own_key;
        own.user = user;
        for (size_t i = 0; i < count; i++) {
            if (budgets[i].per != all.per)
                continue;
            all.runs_max = budgets[i].runs;
            if (budgets[i].runs_per_member > 0)
                own.runs_max = budgets[i].runs_per_member;
        }
        status = add_demand(trial, &all);
        if (status == PV_OK)
            status = add_demand(trial, &own);
    }
    return status;
}

enum pv_status
pv_budget_demand_all(struct pv_trial *trial, const struct pv_question *question, const struct pv_names *datasets)
{
    const struct pv_room *room = trial->caller->room;
    enum pv_status status = demand_runs(trial, false, question->id, question->budgets, question->budget_count);

    for (size_t i = 0; i < datasets->count; i++)
        for (size_t k = 0; k < room->dataset_count && status == PV_OK; k++)
            if (strcmp(room->datasets[k].key, datasets->names[i]) == 0)
                status = demand_runs(trial, true, room->datasets[k].key, room->datasets[k].budgets,
                                     room->datasets[k].budget_count);
    return status;
}

/* ---- words --------------------------------------------------------------- */

enum pv_reason
pv_budget_reason(const struct pv_budget_demand *demand)
{
    return demand->user == NULL ? PV_REASON_BUDGET : PV_REASON_BUDGET_SHARE;
}

static const char *
detail_of(struct pv_arena *arena, const struct pv_budget_demand *demand, int64_t now_us)
{
    const char *whom = demand->user == NULL ? "" : "each user ", *per = pv_budget_period_word(demand->per);
    unsigned long long runs = (unsigned long long) demand->runs_max;
    char period[PV_BUDGET_PERIOD_SIZE];
    const char *start;

    if (demand->per == PV_PER_LIFETIME)
        return pv_arena_printf(arena, "It allows %s%llu runs in its lifetime.", whom, runs);
    pv_budget_period_text(demand->per, now_us, period);
    start = strchr(period, ' ');
    return pv_arena_printf(arena, "It allows %s%llu runs per %s; this %s began on %s%s (UTC).", whom, runs, per, per,
                           start == NULL ? "" : start + 1, demand->per == PV_PER_MONTH ? "-01" : "");
}

static const char *
hint_of(struct pv_arena *arena, const struct pv_budget_demand *demand, int64_t now_us)
{
    int64_t end_us = pv_budget_period_end(demand->per, now_us);
    char at[PV_APPROVAL_TIME_SIZE];

    if (end_us == 0)
        return "It does not come back with time; who runs the room can raise it.";
    pv_approval_time(end_us, at);
    return pv_arena_printf(arena, "The next %s begins at %.16sZ.", pv_budget_period_word(demand->per), at);
}

enum pv_status
pv_budget_words(struct pv_arena *arena, const struct pv_budget_demand *demand, int64_t now_us,
                struct pv_budget_words *words)
{
    const char *what = demand->is_dataset ? "data set" : "question";

    words->message =
        demand->user == NULL
            ? pv_arena_printf(arena, "access budget of %s \"%s\" is spent", what, demand->subject)
            : pv_arena_printf(arena, "share of user \"%s\" in the access budget of %s \"%s\" is spent", demand->user,
                              what, demand->subject);
    words->detail = detail_of(arena, demand, now_us);
    words->hint = hint_of(arena, demand, now_us);
    return words->message == NULL || words->detail == NULL || words->hint == NULL ? PV_NOMEM : PV_OK;
}
