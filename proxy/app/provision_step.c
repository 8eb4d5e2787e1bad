/* The list of statements that a room's provisioning comes to, and who each is run as. */
#include "proxy/app/provision.h"

#include "parser/sqltext.h"

#include <string.h>

static enum pv_status
append(struct pv_provision *p, const char *sql, const char *shown)
{
    if (p->step_count == p->step_size) {
        size_t size = p->step_size == 0 ? 64 : p->step_size * 2;
        struct pv_step *steps = pv_arena_alloc(p->arena, size * sizeof(*steps));

        if (steps == NULL)
            return pv_provision_fail(p, PV_NOMEM, "out of memory");
        if (p->step_count > 0)
            memcpy(steps, p->steps, p->step_count * sizeof(*steps));
        p->steps = steps;
        p->step_size = size;
    }
    p->steps[p->step_count++] = (struct pv_step) {sql, shown};
    return PV_OK;
}

static enum pv_status
append_role(struct pv_provision *p, const char *before, const char *after)
{
    struct pv_buf sql = {0};
    const char *text = NULL;

    pv_buf_put_text(&sql, before);
    pv_sql_quote_identifier(&sql, p->owner);
    pv_buf_put_text(&sql, after);
    if (pv_buf_text(&sql) != NULL)
        text = pv_arena_strdup(p->arena, pv_buf_text(&sql));
    pv_buf_clear(&sql);
    if (text == NULL)
        return pv_provision_fail(p, PV_NOMEM, "out of memory");
    return append(p, text, text);
}

enum pv_status
pv_provision_member(struct pv_provision *p)
{
    if (p->is_owner_member || p->is_superuser)
        return PV_OK;
    p->is_owner_member = p->is_lent = true;
    return append_role(p, "GRANT ", " TO CURRENT_USER");
}

enum pv_status
pv_provision_step(struct pv_provision *p, bool as_owner, struct pv_buf *sql, struct pv_buf *shown)
{
    const char *text = pv_buf_text(sql) == NULL ? NULL : pv_arena_strdup(p->arena, pv_buf_text(sql));
    const char *shown_text = text;
    enum pv_status status = PV_OK;

    if (shown != NULL) {
        shown_text = pv_buf_text(shown) == NULL ? NULL : pv_arena_strdup(p->arena, pv_buf_text(shown));
        pv_buf_clear(shown);
    }
    pv_buf_wipe(sql);
    if (text == NULL || shown_text == NULL)
        return pv_provision_fail(p, PV_NOMEM, "out of memory");
    if (as_owner && !p->is_acting) {
        status = pv_provision_member(p);
        if (status == PV_OK)
            status = append_role(p, "SET LOCAL ROLE ", "");
    } else if (!as_owner && p->is_acting) {
        status = append(p, "RESET ROLE", "RESET ROLE");
    }
    p->is_acting = as_owner;
    return status == PV_OK ? append(p, text, shown_text) : status;
}

enum pv_status
pv_provision_end(struct pv_provision *p)
{
    enum pv_status status = PV_OK;

    if (p->is_acting)
        status = append(p, "RESET ROLE", "RESET ROLE");
    p->is_acting = false;
    if (status == PV_OK && p->is_lent)
        status = append_role(p, "REVOKE ", " FROM CURRENT_USER");
    p->is_lent = p->is_owner_member = false;
    return status;
}
