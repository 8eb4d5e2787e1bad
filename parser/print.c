/*
 * The printer's entry and its check.
 *
 * 1. A tree is walked under the strict table of nodes.h before a byte of it is printed, so
 *    no unknown kind, no forbidden field and no unbounded depth reaches the pieces.
 * 2. Every expression is printed as the grammar's c_expr, so none can be torn apart by its
 *    neighbours; the only runs without parentheses are left-deep chains of one precedence.
 * 3. A text counts as the tree's only after it was parsed again and found equal, both by our own
 *    comparison and by PostgreSQL's.
 */
#include "parser/print.h"

#include "parser/parse_int.h"
#include "parser/print_int.h"
#include "parser/walk.h"
#include "proxy/base/limits.h"

#include <limits.h>

/* Our own text is bounded by the nodes that it came from; this only keeps the scanner's cost in sight. */
#define PRINTED_BYTES_MAX (64u * 1024u * 1024u)

void
pv_print_deny(struct pv_printer *p, const char *what)
{
    if (p->denied == NULL)
        p->denied = what;
}

void
pv_print_text(struct pv_printer *p, const char *text)
{
    pv_buf_put_text(p->buf, text);
}

static void
print_any(struct pv_printer *p, const Node *tree)
{
    if (IsA(tree, SelectStmt))
        pv_print_select(p, (const SelectStmt *) tree);
    else if (IsA(tree, TypeName))
        pv_print_type(p, (const TypeName *) tree);
    else if (pv_print_is_utility(tree))
        pv_print_utility(p, tree);
    else
        pv_print_expr(p, tree);
}

static enum pv_status
check_tree(const Node *tree, const char **what)
{
    const struct pv_sql_limits limits = {0, 0, UINT_MAX, PV_TREE_DEPTH_MAX, PV_TREE_CHAIN_MAX};
    struct pv_walk_result result;
    enum pv_status status = pv_tree_walk((Node *) (uintptr_t) tree, &limits, NULL, NULL, &result);

    if (status == PV_DENIED && what != NULL)
        *what = result.denied_name;
    return status;
}

enum pv_status
pv_print(const Node *tree, struct pv_buf *buf, const char **what)
{
    struct pv_printer p = {buf, NULL};
    size_t before = pv_buf_len(buf);
    enum pv_status status;

    if (tree == NULL)
        return PV_INTERNAL;
    status = check_tree(tree, what);
    if (status != PV_OK)
        return status;
    print_any(&p, tree);
    if (p.denied == NULL && pv_buf_ok(buf))
        return PV_OK;
    if (!pv_buf_ok(buf))
        return PV_NOMEM;
    pv_buf_truncate(buf, before);
    if (what != NULL)
        *what = p.denied;
    return PV_DENIED;
}

struct comparing {
    const Node *a;
    const Node *b;
    bool same;
};

static void
compare(void *arg)
{
    struct comparing *comparing = arg;

    comparing->same = equal(comparing->a, comparing->b);
}

static enum pv_status
same_statement(const Node *stmt, const struct pv_sql *again, bool *same)
{
    struct comparing comparing = {stmt, NULL, false};
    enum pv_status status;

    *same = false;
    if (pv_sql_count(again) != 1)
        return PV_OK;
    comparing.b = pv_sql_stmt(again, 0);
    status = pv_tree_equal(stmt, comparing.b, same);
    if (status == PV_OK && *same)
        status = pv_sql_guard(compare, &comparing, NULL);
    *same = *same && comparing.same;
    return status;
}

enum pv_status
pv_print_checked(const Node *stmt, struct pv_buf *buf, const char **what)
{
    size_t before = pv_buf_len(buf);
    struct pv_sql *again = NULL;
    struct pv_slice text;
    bool same = false;
    enum pv_status status = pv_print(stmt, buf, what);

    if (status != PV_OK)
        return status;
    text = pv_buf_slice(buf);
    text = pv_slice_of(text.data + before, text.len - before);
    status = pv_sql_parse_printed(text, PRINTED_BYTES_MAX, &again);
    if (status == PV_SYNTAX || status == PV_INVALID)
        return PV_INTERNAL;
    if (status != PV_OK)
        return status;
    status = same_statement(stmt, again, &same);
    pv_sql_free(again);
    if (status == PV_OK && !same)
        status = PV_INTERNAL;
    return status;
}
