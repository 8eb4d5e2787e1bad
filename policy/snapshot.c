/*
 * Invariants.
 * 1. A snapshot is freed only on the thread that loaded it: the parse trees inside belong to that thread's parser.
 * 2. A snapshot stands on the waiting list only when its last reference is gone.
 */
#include "policy/load_int.h"
#include "policy/param.h"
#include "policy/question.h"
#include "proxy/crypto/jwt.h"

#include <string.h>

size_t pv_load_block_bytes = 65536;

static pthread_mutex_t waiting_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pv_snapshot *waiting;

struct pv_snapshot *
pv_snapshot_new(void)
{
    struct pv_arena *arena = pv_arena_new(pv_load_block_bytes);
    struct pv_snapshot *snapshot = pv_calloc(1, sizeof(*snapshot));

    if (arena == NULL || snapshot == NULL) {
        pv_arena_free(arena);
        pv_free(snapshot);
        return NULL;
    }
    snapshot->arena = arena;
    snapshot->owner = pthread_self();
    atomic_init(&snapshot->policy.refs, 1);
    return snapshot;
}

void
pv_snapshot_free(struct pv_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    for (struct pv_held *held = snapshot->held; held != NULL; held = held->next) {
        pv_param_regex_free(held->regex);
        pv_jwt_key_free(held->token_key);
        if (held->question != NULL && held->question->plan != NULL)
            pv_question_release(held->question);
    }
    pv_arena_free(snapshot->arena);
    pv_free(snapshot);
}

struct pv_policy *
pv_policy_ref(struct pv_policy *policy)
{
    uint32_t before = atomic_fetch_add_explicit(&policy->refs, 1, memory_order_relaxed);

    pv_assert(before > 0 && before < UINT32_MAX);
    return policy;
}

void
pv_policy_unref(struct pv_policy *policy)
{
    struct pv_snapshot *snapshot;
    uint32_t before;

    if (policy == NULL)
        return;
    before = atomic_fetch_sub_explicit(&policy->refs, 1, memory_order_acq_rel);
    pv_assert(before > 0);
    if (before > 1)
        return;
    snapshot = (struct pv_snapshot *) policy;
    if (pthread_equal(snapshot->owner, pthread_self())) {
        pv_snapshot_free(snapshot);
        return;
    }
    (void) pthread_mutex_lock(&waiting_lock);
    snapshot->next = waiting;
    waiting = snapshot;
    (void) pthread_mutex_unlock(&waiting_lock);
}

void
pv_policy_reap(void)
{
    struct pv_snapshot *ours = NULL;
    struct pv_snapshot **link = &waiting;

    (void) pthread_mutex_lock(&waiting_lock);
    while (*link != NULL) {
        struct pv_snapshot *snapshot = *link;

        if (!pthread_equal(snapshot->owner, pthread_self())) {
            link = &snapshot->next;
            continue;
        }
        *link = snapshot->next;
        snapshot->next = ours;
        ours = snapshot;
    }
    (void) pthread_mutex_unlock(&waiting_lock);
    while (ours != NULL) {
        struct pv_snapshot *next = ours->next;

        pv_snapshot_free(ours);
        ours = next;
    }
}

/* ---- lookups ------------------------------------------------------------ */

/* As strcmp orders; a slice that is a proper prefix stands first. */
static int
compare_name(struct pv_slice wanted, const char *name)
{
    size_t len = strlen(name);
    int order = wanted.len == 0 ? 0 : memcmp(wanted.data, name, wanted.len < len ? wanted.len : len);

    if (order != 0)
        return order;
    return wanted.len < len ? -1 : wanted.len > len ? 1 : 0;
}

const struct pv_user *
pv_policy_user(const struct pv_policy *policy, struct pv_slice name)
{
    size_t first = 0, end = policy->user_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = compare_name(name, policy->users[middle].name);

        if (order == 0)
            return &policy->users[middle];
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return NULL;
}

const struct pv_room *
pv_policy_room(const struct pv_policy *policy, struct pv_slice name)
{
    size_t first = 0, end = policy->room_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = compare_name(name, policy->rooms[middle].name);

        if (order == 0)
            return &policy->rooms[middle];
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return NULL;
}

const struct pv_member *
pv_room_member(const struct pv_room *room, const char *user)
{
    if (strncmp(user, PV_MEMBER_ROLE_PREFIX, strlen(PV_MEMBER_ROLE_PREFIX)) == 0)
        return NULL;
    for (size_t i = 0; i < room->member_count; i++)
        if (strcmp(room->members[i].user, user) == 0)
            return &room->members[i];
    return NULL;
}

bool
pv_member_has_role(const struct pv_member *member, const char *role)
{
    for (size_t i = 0; i < member->role_count; i++)
        if (strcmp(member->roles[i], role) == 0)
            return true;
    return false;
}

const struct pv_dataset *
pv_room_dataset(const struct pv_room *room, const char *schema, const char *name)
{
    for (size_t i = 0; i < room->dataset_count; i++)
        if (strcmp(room->datasets[i].relation.schema, schema) == 0 &&
            strcmp(room->datasets[i].relation.name, name) == 0)
            return &room->datasets[i];
    return NULL;
}

static bool
same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_column(const struct pv_column *a, const struct pv_column *b)
{
    const struct pv_mask *x = &a->mask, *y = &b->mask;

    return same_text(a->name, b->name) && a->category == b->category && x->kind == y->kind &&
           same_text(x->key_name, y->key_name) && same_text(x->unit, y->unit) && same_text(x->number, y->number) &&
           x->digits == y->digits && same_text(x->constant, y->constant);
}

bool
pv_dataset_shows_same(const struct pv_dataset *a, const struct pv_dataset *b)
{
    bool is_same = a != NULL && b != NULL && same_text(a->source_schema, b->source_schema) &&
                   same_text(a->source_name, b->source_name) && same_text(a->row_filter, b->row_filter) &&
                   a->column_count == b->column_count;

    for (size_t i = 0; is_same && i < a->column_count; i++)
        is_same = same_column(&a->columns[i], &b->columns[i]);
    return is_same;
}

const struct pv_question *
pv_room_question(const struct pv_room *room, const char *id)
{
    for (size_t i = 0; i < room->question_count; i++)
        if (strcmp(room->questions[i].id, id) == 0)
            return &room->questions[i];
    return NULL;
}

const struct pv_column *
pv_dataset_column(const struct pv_dataset *dataset, const char *name)
{
    for (size_t i = 0; i < dataset->column_count; i++)
        if (strcmp(dataset->columns[i].name, name) == 0)
            return &dataset->columns[i];
    return NULL;
}

static bool
entry_admits(const char *entry, const struct pv_member *member)
{
    if (strncmp(entry, "role:", 5) == 0)
        return pv_member_has_role(member, entry + 5);
    if (strncmp(entry, "party:", 6) == 0)
        return member->party != NULL && strcmp(entry + 6, member->party) == 0;
    return strncmp(entry, "user:", 5) == 0 && strcmp(entry + 5, member->user) == 0;
}

static bool
entries_admit(const struct pv_names *entries, const struct pv_member *member)
{
    for (size_t i = 0; i < entries->count; i++)
        if (entry_admits(entries->names[i], member))
            return true;
    return false;
}

bool
pv_question_admits(const struct pv_question *question, const struct pv_member *member)
{
    return !question->has_members || entries_admit(&question->members, member);
}

bool
pv_dataset_releases_to(const struct pv_dataset *dataset, const struct pv_member *member)
{
    return !dataset->has_receivers || entries_admit(&dataset->receivers, member);
}

bool
pv_question_serves(const struct pv_question *question, const struct pv_member *member)
{
    size_t released = 0;

    for (size_t i = 0; i < question->dataset_count; i++)
        released += pv_dataset_releases_to(question->datasets[i], member);
    return pv_question_admits(question, member) &&
           (question->is_open ? released > 0 : released == question->dataset_count);
}
