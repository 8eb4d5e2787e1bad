/*
 * libFuzzer target: any text that parses is printed and parsed again.
 *
 * Claims: nothing is read or written out of bounds and no depth exhausts the stack (the
 * sanitizers say); what is printed parses to the same tree, or printing is refused; what was
 * printed prints to itself.
 */
#include <stdlib.h>

#include "parser/print.h"
#include "parser/walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_stable(struct pv_slice text)
{
    struct pv_sql *again = NULL;
    struct pv_buf second = {0};

    if (pv_sql_parse(text, &pv_sql_limits_default, &again, NULL) != PV_OK)
        return; /* parentheses may take it over the depth that a client may send */
    pv_assert(pv_sql_count(again) == 1);
    if (pv_print(pv_sql_stmt(again, 0), &second, NULL) == PV_OK)
        pv_assert(pv_slice_equal(text, pv_buf_slice(&second)));
    pv_buf_clear(&second);
    pv_sql_free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_sql *sql = NULL;

    if (pv_sql_parse(pv_slice_of(data, size), &pv_sql_limits_default, &sql, NULL) != PV_OK)
        return 0;
    for (unsigned i = 0; i < pv_sql_count(sql); i++) {
        struct pv_buf buf = {0};
        const char *what = NULL;
        enum pv_status status = pv_print_checked(pv_sql_stmt(sql, i), &buf, &what);

        pv_assert(status == PV_OK || status == PV_DENIED || status == PV_DEPTH || status == PV_LIMIT);
        pv_assert(status != PV_DENIED || what != NULL);
        if (status == PV_OK)
            check_stable(pv_buf_slice(&buf));
        pv_buf_clear(&buf);
    }
    pv_sql_free(sql);
    return 0;
}
