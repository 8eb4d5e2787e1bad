/*
 * What a shared server is told before it serves a session: whose identity, which settings; and how a session's settings
 * are learnt: as the server says them, whatever way they were changed.
 */
#include "proxy/session/side_int.h"

#include "parser/sqltext.h"

#include <string.h>

/* ---- Who asks ---- */

static bool
make_tag(struct pv_session *s)
{
    struct pv_buf sql = {0};
    enum pv_status status;

    if (s->tag != NULL)
        return true;
    status = pv_identity_sql(s->room, s->user, s->account->attributes, s->account->attribute_count, 0,
                             pv_slice_of(s->side->key, s->side->key_len), &sql);
    if (status == PV_OK) {
        s->tag = pv_tag_new(pv_buf_slice(&sql));
        status = s->tag == NULL ? PV_NOMEM : PV_OK;
    }
    pv_buf_wipe(&sql);
    if (status != PV_OK)
        pv_session_fail(s, status);
    return status == PV_OK;
}

bool
pv_lease_identity(struct pv_session *s)
{
    enum pv_status status;

    pv_buf_wipe(&s->identity_sql);
    status = pv_identity_sql(s->room, s->user, s->account->attributes, s->account->attribute_count, s->side->pid,
                             pv_slice_of(s->side->key, s->side->key_len), &s->identity_sql);
    if (status != PV_OK)
        pv_session_fail(s, status);
    return status == PV_OK;
}

void
pv_lease_person(struct pv_session *s)
{
    pv_tag_unref(s->tag);
    s->tag = NULL;
}

/* ---- Settings ---- */

static void
put_separator(struct pv_buf *sql)
{
    if (pv_buf_len(sql) > 0)
        pv_buf_put_text(sql, "; ");
}

/* One row with the value of each tracked setting. */
void
pv_lease_put_harvest(struct pv_buf *sql)
{
    const char *name;

    put_separator(sql);
    for (size_t i = 0; (name = pv_tracked_name(i)) != NULL; i++) {
        pv_buf_put_text(sql, i == 0 ? "SELECT pg_catalog.current_setting(" : ", pg_catalog.current_setting(");
        pv_sql_quote_literal(sql, name);
        pv_buf_put_text(sql, ", true)");
    }
}

void
pv_lease_put_change(struct pv_buf *sql, const char *name, const char *value)
{
    put_separator(sql);
    if (value == NULL) {
        pv_buf_put_text(sql, "RESET ");
        pv_buf_put_text(sql, name);
        return;
    }
    pv_buf_put_text(sql, "SELECT pg_catalog.set_config(");
    pv_sql_quote_literal(sql, name);
    pv_buf_put_text(sql, ", ");
    pv_sql_quote_literal(sql, value);
    pv_buf_put_text(sql, ", false)");
}

static void
put_changes(struct pv_buf *sql, const struct pv_values *from, const struct pv_values *to)
{
    const char *name;

    for (size_t i = 0; (name = pv_tracked_name(i)) != NULL; i++) {
        const char *have = pv_values_at(from, i), *want = pv_values_at(to, i);

        if (have != want && (have == NULL || want == NULL || strcmp(have, want) != 0))
            pv_lease_put_change(sql, name, want);
    }
}

/* What differs between the server and the session, as SQL; empty when nothing does. */
bool
pv_lease_put_checkout(struct pv_session *s, struct pv_buf *sql)
{
    struct pv_side *side = s->side;
    bool is_known = !side->is_values_unknown;

    if (side->is_values_unknown) {
        pv_buf_put_text(sql, "RESET ALL");
        pv_tag_unref(side->identity);
        side->identity = NULL;
    }
    if (!make_tag(s))
        return false;
    if (!pv_tag_equal(side->identity, s->tag)) {
        if (!pv_lease_identity(s))
            return false;
        put_separator(sql);
        pv_buf_put_slice(sql, pv_buf_slice(&s->identity_sql));
        pv_tag_unref(side->identity);
        side->identity = pv_tag_ref(s->tag);
    } else if (side->identity != s->tag) {
        pv_tag_unref(s->tag);
        s->tag = pv_tag_ref(side->identity); /* one object for all that are alike: the next look is short */
    }
    if (side->base == NULL)
        pv_lease_put_harvest(sql);
    if (is_known && pv_values_equal(side->values, s->values)) {
        if (side->values != s->values) {
            pv_values_unref(s->values);
            s->values = pv_values_ref(side->values);
        }
    } else {
        put_changes(sql, is_known ? side->values : NULL, s->values);
        pv_values_unref(side->values);
        side->values = pv_values_ref(s->values);
    }
    side->is_values_unknown = false;
    return true;
}

/* What the client was told by the server before, and this one says otherwise. */
void
pv_lease_relay_reports(struct pv_session *s)
{
    if (s->phase != PV_PHASE_READY || s->side->reported == s->reported)
        return;
    for (size_t i = 0; i < PV_REPORTED_COUNT; i++) {
        struct pv_msg_parameter_status message;
        const char *value = pv_texts_at(s->side->reported, i), *told = pv_texts_at(s->reported, i);
        size_t before = pv_buf_len(&s->client_out);

        if (value == NULL || told == NULL || strcmp(value, told) == 0 || pv_reported_is_ours(pv_reported_names[i]))
            continue;
        message.name = pv_slice_cstr(pv_reported_names[i]);
        message.value = pv_slice_cstr(value);
        if (pv_msg_parameter_status_write(&s->client_out, &message) != PV_OK) {
            pv_session_fail(s, PV_NOMEM);
            return;
        }
        s->client_total += pv_buf_len(&s->client_out) - before;
    }
    pv_texts_unref(s->reported);
    s->reported = pv_texts_ref(s->side->reported);
}

bool
pv_lease_reported(struct pv_session *s, size_t i, struct pv_slice value)
{
    struct pv_request *r = pv_request_head(s);
    const char *told = pv_texts_at(s->reported, i);
    struct pv_texts *reported =
        pv_texts_with(s->side->reported, PV_REPORTED_COUNT, i, (const char *) value.data); /* has its NUL */

    if (reported == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return false;
    }
    pv_texts_unref(s->side->reported);
    s->side->reported = reported;
    /* Amid a checkout values come and go; its end tells what is left of it. */
    return s->phase != PV_PHASE_READY ||
           ((r == NULL || !r->is_checkout) && (told == NULL || !pv_slice_is(value, told)));
}

/* Text columns as they came; a placeholder that was reset is empty and means none. */
static struct pv_values *
read_row(struct pv_slice body)
{
    struct pv_msg_value columns[PV_TRACKED_MAX];
    struct pv_values *values = pv_values_new();
    size_t count = 0;
    const char *name;

    if (values == NULL || pv_msg_data_row_read(body, columns, PV_TRACKED_MAX, &count) != PV_OK ||
        count != values->count)
        goto failed;
    for (size_t i = 0; (name = pv_tracked_name(i)) != NULL; i++) {
        if (columns[i].is_null || (columns[i].bytes.len == 0 && strncmp(name, "pgveil.", 7) == 0))
            continue;
        values->values[i] = pv_strndup((const char *) columns[i].bytes.data, columns[i].bytes.len);
        if (values->values[i] == NULL)
            goto failed;
    }
    return values;
failed:
    pv_values_unref(values);
    return NULL;
}

/* Leaves of `values` what is not the server's own; NULL when nothing is. */
static struct pv_values *
less_base(struct pv_values *values, const struct pv_values *base)
{
    bool is_any = false;

    for (size_t i = 0; i < values->count; i++) {
        if (values->values[i] != NULL && base->values[i] != NULL && strcmp(values->values[i], base->values[i]) == 0) {
            pv_free(values->values[i]);
            values->values[i] = NULL;
        }
        is_any = is_any || values->values[i] != NULL;
    }
    if (is_any)
        return values;
    pv_values_unref(values);
    return NULL;
}

void
pv_lease_row(struct pv_session *s, struct pv_request *r, struct pv_slice body)
{
    struct pv_msg_value columns[PV_TRACKED_MAX];
    struct pv_values *values;
    size_t count = 0;

    /* Beside the harvest's own row there are those of set_config. */
    if (pv_msg_data_row_read(body, columns, PV_TRACKED_MAX, &count) != PV_OK || count != pv_tracked_count())
        return;
    values = read_row(body);
    if (values == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    if (s->side->base == NULL) {
        s->side->base = values;
        return;
    }
    if (!r->is_harvest) {
        pv_values_unref(values);
        return;
    }
    values = less_base(values, s->side->base);
    pv_values_unref(s->values);
    pv_values_unref(s->side->values);
    s->values = values;
    s->side->values = pv_values_ref(values);
    s->is_pinned_by_settings = false;
}
