#include "parser/literals.h"

#include "parser/parse.h"
#include "parser/print.h"
#include "parser/rewrite.h"

struct masking {
    struct pv_sql *sql;
    Node *stmt;
};

/* The numbers of a type's name, as in numeric(10,2), are no data. */
static Node *
mask_node(void *context, Node *node, bool *is_entered)
{
    (void) context;
    if (IsA(node, TypeName))
        *is_entered = false;
    if (!IsA(node, A_Const))
        return node;
    *is_entered = false;
    return ((A_Const *) node)->isnull ? node : pv_make_string(PV_LITERAL_MASKED);
}

static void
mask_tree(void *arg)
{
    struct masking *masking = arg;
    MemoryContext before = pv_sql_enter(masking->sql);

    pv_tree_mutate(&masking->stmt, mask_node, NULL);
    pv_sql_leave(before);
}

enum pv_status
pv_literals_mask(struct pv_slice text, struct pv_buf *out)
{
    size_t len = pv_buf_len(out);
    struct masking masking = {0};
    enum pv_status status = pv_sql_parse(text, &pv_sql_limits_default, &masking.sql, NULL);
    unsigned count = status == PV_OK ? pv_sql_count(masking.sql) : 0;

    for (unsigned i = 0; status == PV_OK && i < count; i++) {
        masking.stmt = pv_sql_stmt(masking.sql, i);
        status = pv_sql_guard(mask_tree, &masking, NULL);
        if (i > 0)
            pv_buf_put_text(out, "; ");
        if (status == PV_OK)
            status = pv_print(masking.stmt, out, NULL);
    }
    if (status == PV_OK && !pv_buf_ok(out))
        status = PV_NOMEM;
    if (status != PV_OK)
        pv_buf_truncate(out, len);
    pv_sql_free(masking.sql);
    return status;
}
