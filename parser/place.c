#include "parser/place.h"

#include <limits.h>
#include <string.h>

#include "parser/nodes.h"
#include "parser/walk.h"
#include "proxy/base/limits.h"

static const struct pv_sql_limits place_limits = {0, 1, UINT_MAX, PV_TREE_DEPTH_MAX, PV_TREE_CHAIN_MAX};

/* ---- forgetting ---- */

static enum pv_walk
forget(void *context, Node *node, const struct pv_walk_at *at)
{
    const struct pv_kind *kind = pv_kind_of(nodeTag(node));
    const int none = -1;

    (void) context;
    (void) at;
    for (unsigned i = 0; kind != NULL && i < kind->fields.count; i++)
        if (kind->fields.list[i].kind == PV_FIELD_LOCATION)
            memcpy((char *) node + kind->fields.list[i].offset, &none, sizeof(none));
    return PV_WALK_ON;
}

enum pv_status
pv_place_forget(Node *tree)
{
    enum pv_status status = pv_tree_walk(tree, &place_limits, forget, NULL, NULL);

    return status == PV_NOMEM ? status : PV_OK;
}

/* ---- finding ---- */

/* The nodes that begin at an offset, by their number in the order of walking; the innermost of them stands last. */
struct search {
    int offset;
    unsigned at, found;
    bool is_found;
};

static enum pv_walk
visit_printed(void *context, Node *node, const struct pv_walk_at *at)
{
    struct search *search = context;

    (void) at;
    /* A target's place is that of its expression, and says nothing more. */
    if (!IsA(node, ResTarget) && !IsA(node, SortBy) && pv_node_location(node) == search->offset) {
        search->found = search->at;
        search->is_found = true;
    }
    search->at++;
    return PV_WALK_ON;
}

struct taking {
    unsigned at, wanted;
    Node *node;
};

static enum pv_walk
visit_wanted(void *context, Node *node, const struct pv_walk_at *at)
{
    struct taking *taking = context;

    (void) at;
    if (taking->at++ != taking->wanted)
        return PV_WALK_ON;
    taking->node = node;
    return PV_WALK_STOP;
}

struct leftmost {
    int (*plain)(int location);
    int location;
};

static enum pv_walk
visit_left(void *context, Node *node, const struct pv_walk_at *at)
{
    struct leftmost *left = context;
    int location = left->plain(pv_node_location(node));

    (void) at;
    if (location >= 0 && (left->location < 0 || location < left->location))
        left->location = location;
    return PV_WALK_ON;
}

/* The number of nodes in a tree, and which begins at the offset. */
static enum pv_status
search_printed(struct pv_slice printed, struct search *search)
{
    const struct pv_sql_limits limits = {printed.len + 1, 1, UINT_MAX, PV_TREE_DEPTH_MAX, PV_TREE_CHAIN_MAX};
    struct pv_sql *again = NULL;
    enum pv_status status = pv_sql_parse(printed, &limits, &again, NULL);

    if (status == PV_OK && pv_sql_count(again) == 1)
        status = pv_tree_walk(pv_sql_stmt(again, 0), &place_limits, visit_printed, search, NULL);
    pv_sql_free(again);
    return status;
}

enum pv_status
pv_place_find(const Node *tree, struct pv_slice printed, int offset, bool is_own, int (*plain)(int location), int *location)
{
    struct search search = {.offset = offset};
    struct pv_walk_result whole = {0};
    struct taking taking = {0};
    Node *root = (Node *) (uintptr_t) tree;
    enum pv_status status = search_printed(printed, &search);

    *location = -1;
    if (status == PV_OK && search.is_found)
        status = pv_tree_walk(root, &place_limits, NULL, NULL, &whole);
    if (status != PV_OK || !search.is_found || whole.nodes != search.at)
        return status == PV_NOMEM ? status : PV_OK;
    taking.wanted = search.found;
    status = pv_tree_walk(root, &place_limits, visit_wanted, &taking, NULL);
    if (status != PV_OK || taking.node == NULL)
        return status == PV_NOMEM ? status : PV_OK;
    *location = plain(pv_node_location(taking.node));
    /* x::t and x AT TIME ZONE z begin with their operand, their printed forms with a word of their own. */
    if (*location >= 0 && !is_own && (IsA(taking.node, TypeCast) || IsA(taking.node, FuncCall))) {
        struct leftmost left = {plain, -1};

        status = pv_tree_walk(taking.node, &place_limits, visit_left, &left, NULL);
        if (status == PV_OK)
            *location = left.location;
    }
    return status == PV_NOMEM ? status : PV_OK;
}
