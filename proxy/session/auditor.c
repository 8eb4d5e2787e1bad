/*
 * The auditors' database `pgveil`: a session without a server. A member with the role `auditor` of a room reads the
 * query log of its rooms with SQL from any client.
 *  1. SQL runs at the host's desk (proxy/audit/desk.h), never here: a statement leaves as an ask, and the message that
 *     began it is taken again when the answer is there. One ask at a time.
 *  2. What an ask may see are the auditor's rooms in the policy in force when it is sent.
 *  3. Each statement has its record, as in a room; nothing of its answer leaves before that is on disk.
 *  4. Rows leave in pieces, the next one when the client has taken the last.
 * Transactions, SET and cursors of the protocol are answered from here; the log only grows, so there is nothing that
 * a transaction could hold together or undo.
 * Here: the items that a session keeps, its coming and going. auditor_statement.c takes the messages, auditor_run.c runs
 * what they ask for, auditor_trail.c tells the client and the log.
 */
#include "proxy/session/auditor_int.h"

#include <string.h>

/* Far from process ids of real servers, of which this one has none. */
#define PID_BASE 0x70000000u

/* ---- Items ---- */

void
pv_auditor_item_free(struct pv_auditor_item *item)
{
    if (item == NULL)
        return;
    pv_ask_unref(item->answer);
    pv_arena_free(item->arena);
    pv_free(item->name);
    pv_free(item);
}

struct pv_auditor_item *
pv_auditor_item_new(struct pv_slice name)
{
    struct pv_auditor_item *item = pv_calloc(1, sizeof(*item));

    if (item == NULL)
        return NULL;
    item->arena = pv_arena_new(1024);
    item->name = pv_calloc(1, name.len + 1);
    if (item->arena == NULL || item->name == NULL) {
        pv_auditor_item_free(item);
        return NULL;
    }
    if (name.len > 0)
        memcpy(item->name, name.data, name.len);
    return item;
}

struct pv_auditor_item *
pv_auditor_item_find(struct pv_auditor_item *list, struct pv_slice name)
{
    while (list != NULL && !pv_slice_is(name, list->name))
        list = list->next;
    return list;
}

void
pv_auditor_item_drop(struct pv_auditor *a, struct pv_auditor_item **list, struct pv_slice name)
{
    for (; *list != NULL; list = &(*list)->next)
        if (pv_slice_is(name, (*list)->name)) {
            struct pv_auditor_item *gone = *list;

            *list = gone->next;
            pv_auditor_item_free(gone);
            a->name_count--;
            return;
        }
}

void
pv_auditor_items_drop(struct pv_auditor *a, struct pv_auditor_item **list)
{
    while (*list != NULL) {
        struct pv_auditor_item *gone = *list;

        *list = gone->next;
        pv_auditor_item_free(gone);
        a->name_count--;
    }
}

void
pv_auditor_item_keep(struct pv_auditor *a, struct pv_auditor_item **list, struct pv_auditor_item *item)
{
    item->next = *list;
    *list = item;
    a->name_count++;
}

/* Copies the text and reads it; PV_INVALID: more than one statement. */
enum pv_status
pv_auditor_item_read(struct pv_auditor_item *item, struct pv_slice text)
{
    char *copy = pv_arena_strndup(item->arena, (const char *) text.data, text.len);
    size_t count = 0;
    enum pv_status status;

    if (copy == NULL)
        return PV_NOMEM;
    status = pv_dialect_read(item->arena, pv_slice_of(copy, text.len), &item->statement, &count);
    if (status != PV_OK)
        return status;
    if (count == 0)
        item->statement = NULL;
    return count > 1 ? PV_INVALID : PV_OK;
}

/* ---- Coming and going ---- */

/* The rooms that this user audits, in the policy given; none: PV_NOTFOUND. */
static enum pv_status
find_rooms(struct pv_session *s, const struct pv_policy *policy, struct pv_auditor *a)
{
    struct pv_arena *arena = pv_arena_new(256);
    const char **rooms = arena == NULL ? NULL : pv_arena_alloc(arena, (policy->room_count + 1) * sizeof(*rooms));
    size_t count = 0;

    for (size_t i = 0; rooms != NULL && i < policy->room_count; i++) {
        const struct pv_member *member = pv_room_member(&policy->rooms[i], s->user);

        if (member == NULL || !pv_member_has_role(member, "auditor"))
            continue;
        rooms[count] = pv_arena_strdup(arena, policy->rooms[i].name);
        if (count == 0)
            s->party = pv_arena_strdup(s->arena, member->party);
        if (rooms[count++] == NULL)
            rooms = NULL;
    }
    if (rooms == NULL || count == 0) {
        pv_arena_free(arena);
        return rooms == NULL ? PV_NOMEM : PV_NOTFOUND;
    }
    pv_arena_free(a->rooms_arena);
    a->rooms_arena = arena;
    a->rooms = rooms;
    a->room_count = count;
    return PV_OK;
}

enum pv_status
pv_auditor_new(struct pv_session *s)
{
    struct pv_auditor *a = pv_calloc(1, sizeof(*a));
    enum pv_status status = a == NULL ? PV_NOMEM : find_rooms(s, s->policy, a);

    if (status == PV_OK) {
        a->status = 'I';
        s->auditor = a;
    } else {
        pv_free(a);
    }
    return status;
}

enum pv_status
pv_auditor_policy(struct pv_session *s, const struct pv_policy *policy)
{
    s->account = pv_policy_user(policy, pv_slice_cstr(s->user));
    return s->account == NULL ? PV_NOTFOUND : find_rooms(s, policy, s->auditor);
}

void
pv_auditor_start(struct pv_session *s)
{
    static const struct {
        const char *name, *value;
    } reported[] = {
#define PV_X(name) {name, NULL},
        PV_REPORTED_TABLE(PV_X)
#undef PV_X
    };

    const char *values[PV_REPORTED_COUNT];

    for (size_t i = 0; i < PV_COUNT_OF(reported); i++) {
        char name[48];
        const char *value;
        size_t len = strlen(reported[i].name);

        pv_assert(len < sizeof(name));
        for (size_t k = 0; k <= len; k++)
            name[k] = (char) (reported[i].name[k] >= 'A' && reported[i].name[k] <= 'Z' ? reported[i].name[k] + 32
                                                                                      : reported[i].name[k]);
        value = pv_auditor_setting(s, name);
        for (size_t k = 0; i == 0 && k < s->setting_count; k++)
            if (strcmp(s->settings[k].name, "application_name") == 0)
                value = s->settings[k].value;
        values[i] = value == NULL ? "" : value;
    }
    s->reported = pv_texts_of(values, PV_REPORTED_COUNT);
    if (s->reported == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    s->server_pid = PID_BASE + (uint32_t) (s->id & 0x0fffffffu);
    pv_startup_finish(s);
}

void
pv_auditor_end(struct pv_session *s)
{
    if (s->auditor->ask != NULL)
        pv_ask_cancel(s->auditor->ask);
    pv_auditor_log_end(s, PV_OUTCOME_LOST, NULL);
}

void
pv_auditor_cancel(struct pv_session *s)
{
    if (s->auditor->ask != NULL)
        pv_ask_cancel(s->auditor->ask);
}

bool
pv_auditor_is_busy(const struct pv_session *s)
{
    return s->auditor->ask != NULL || s->auditor->has_more || s->auditor->status != 'I';
}

bool
pv_auditor_has_more(const struct pv_session *s)
{
    return s->auditor->has_more;
}

void
pv_auditor_free(struct pv_auditor *a)
{
    if (a == NULL)
        return;
    if (a->ask != NULL)
        pv_ask_cancel(a->ask);
    pv_ask_unref(a->ask);
    pv_auditor_item_free(a->query_item);
    pv_arena_free(a->query_arena);
    pv_auditor_items_drop(a, &a->statements);
    pv_auditor_items_drop(a, &a->portals);
    pv_arena_free(a->rooms_arena);
    pv_free(a);
}
