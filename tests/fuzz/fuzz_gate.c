/*
 * libFuzzer target: any text is judged in a room, and what would be forwarded is judged again from outside.
 *
 * Claims: nothing is read or written out of bounds and no depth exhausts the stack (the sanitizers say); a text that
 * is allowed gives SQL that parses, whose relations are views of the room, catalog relations that may pass, or WITH
 * queries of its own, and whose functions are on the allow-list or ours; a denied one gives none.
 */
#include "parser/parse.h"
#include "parser/walk.h"
#include "policy/catalog.h"
#include "policy/decide.h"
#include "policy/functions.h"
#include "proxy/base/arena.h"
#include "tests/unit/policy/room_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char own_prefix[] = "pgveil_retail$";

struct seen {
    const char *ctes[256];
    size_t cte_count;
    bool is_overfull;
};

static enum pv_walk
collect(void *context, Node *node, const struct pv_walk_at *at)
{
    struct seen *seen = context;

    (void) at;
    if (IsA(node, CommonTableExpr)) {
        if (seen->cte_count < PV_COUNT_OF(seen->ctes))
            seen->ctes[seen->cte_count++] = ((CommonTableExpr *) node)->ctename;
        else
            seen->is_overfull = true;
    }
    return PV_WALK_ON;
}

static void
check_relation(const struct seen *seen, const RangeVar *var)
{
    const struct pv_catalog_relation *catalog;
    bool is_known = seen->is_overfull;

    if (var->schemaname == NULL) {
        for (size_t i = 0; i < seen->cte_count; i++)
            is_known |= strcmp(seen->ctes[i], var->relname) == 0;
        pv_assert(is_known);
        return;
    }
    if (strncmp(var->schemaname, own_prefix, strlen(own_prefix)) == 0)
        return;
    catalog = pv_catalog_find(var->schemaname, var->relname);
    pv_assert(catalog != NULL && catalog->mode == PV_CATALOG_PASS);
}

static void
check_function(const FuncCall *call)
{
    const char *schema = list_length(call->funcname) == 2 ? strVal(linitial(call->funcname)) : NULL;
    const char *name = strVal(llast(call->funcname));
    const struct pv_function *function;

    pv_assert(schema != NULL);
    if (strncmp(schema, own_prefix, strlen(own_prefix)) == 0)
        return;
    function = pv_function_find_qualified(schema, name);
    pv_assert(function != NULL && function->class != PV_FN_REDIRECT);
}

static enum pv_walk
check(void *context, Node *node, const struct pv_walk_at *at)
{
    (void) at;
    if (IsA(node, RangeVar))
        check_relation(context, (RangeVar *) node);
    else if (IsA(node, FuncCall))
        check_function((FuncCall *) node);
    return PV_WALK_ON;
}

static void
check_forwarded(const char *text)
{
    static const struct pv_sql_limits limits = {SIZE_MAX, 1, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    struct pv_sql *sql = NULL;
    struct seen seen = {0};

    if (text[0] == '\0')
        return;
    pv_assert(pv_sql_parse(pv_slice_cstr(text), &limits, &sql, NULL) == PV_OK);
    pv_assert(pv_sql_count(sql) == 1);
    pv_assert(pv_tree_walk(pv_sql_stmt(sql, 0), &limits, collect, &seen, NULL) == PV_OK);
    pv_assert(pv_tree_walk(pv_sql_stmt(sql, 0), &limits, check, &seen, NULL) == PV_OK);
    pv_sql_free(sql);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_policy *policy;
    static const char *const path[] = {"public"};
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_decision *decisions = NULL;
    size_t count = 0;
    struct pv_caller caller = {.user = "alice", .search_path = {path, 1}, .now_us = 1};

    if (policy == NULL) {
        policy = fixture_load();
        pv_assert(policy != NULL);
        fixture_remove();
    }
    pv_assert(arena != NULL);
    caller.policy = policy;
    caller.room = pv_policy_room(policy, pv_slice_cstr("retail"));
    caller.member = pv_room_member(caller.room, "alice");
    pv_assert(pv_decide_query(arena, &caller, pv_slice_of(data, size), &decisions, &count) == PV_OK);
    for (size_t i = 0; i < count; i++) {
        pv_assert(decisions[i].is_allowed == (decisions[i].forwarded != NULL));
        pv_assert(decisions[i].is_allowed || decisions[i].sqlstate != NULL);
        if (decisions[i].is_allowed)
            check_forwarded(decisions[i].forwarded);
    }
    pv_arena_free(arena);
    return 0;
}
