/*
 * Prepared statements of a session that shares servers: what goes in front of a message so that the server at hand has
 * what it names, and under which name.
 */
#include "proxy/session/side_int.h"

#include <string.h>

/* ---- Requests of ours ---- */

static struct pv_request *
replay_new(struct pv_session *s, enum pv_request_kind kind)
{
    struct pv_request *r = pv_request_new(s, kind);

    if (r != NULL)
        r->is_internal = true;
    return r;
}

/* Sends it before another request. */
bool
pv_lease_send_before(struct pv_session *s, struct pv_request *before, struct pv_request *r, enum pv_status status)
{
    if (status != PV_OK || r->bytes.failed) {
        pv_request_free(r);
        pv_session_fail(s, status == PV_OK ? PV_NOMEM : status);
        return false;
    }
    pv_buf_put_slice(&s->server_out, pv_buf_slice(&r->bytes));
    pv_buf_clear(&r->bytes);
    pv_request_insert_sent(s, before, r);
    return true;
}

static bool
send_close(struct pv_session *s, struct pv_request *before, const char *name)
{
    struct pv_request *r = replay_new(s, PV_REQUEST_CLOSE);
    struct pv_msg_target target = {PV_TARGET_STATEMENT, pv_slice_cstr(name)};

    return r != NULL && pv_lease_send_before(s, before, r, pv_msg_target_write(&r->bytes, PV_CLIENT_CLOSE, &target));
}

static void
write_parse(struct pv_buf *out, const char *name, const struct pv_prep *prep)
{
    pv_buf_put_u8(out, PV_CLIENT_PARSE);
    pv_buf_put_u32(out, (uint32_t) (4 + strlen(name) + 1 + prep->tail_len));
    pv_buf_put_cstr(out, name);
    pv_buf_put(out, prep->bytes, prep->tail_len);
}

static bool
send_parse(struct pv_session *s, struct pv_request *before, const char *name, struct pv_named *statement,
           uint32_t number, bool is_binding)
{
    struct pv_request *r = replay_new(s, PV_REQUEST_PARSE);

    if (r == NULL)
        return false;
    r->is_replay = true;
    r->statement = pv_named_ref(statement);
    r->named = pv_named_ref(statement); /* whose question says how much of an error is told */
    r->side_number = number;
    if (is_binding)
        r->bound = pv_named_ref(statement);
    r->name = name[0] == '\0' ? "" : NULL;
    write_parse(&r->bytes, name, statement->prep);
    return pv_lease_send_before(s, before, r, PV_OK);
}

static bool
send_sync(struct pv_session *s, struct pv_request *before)
{
    struct pv_request *r = replay_new(s, PV_REQUEST_SYNC);

    if (r == NULL)
        return false;
    r->is_apart = true;
    s->side->segment++;
    return pv_lease_send_before(s, before, r, pv_msg_empty_write(&r->bytes, PV_CLIENT_SYNC));
}

/* ---- Statements ---- */

const char *
pv_lease_name(const struct pv_session *s, const struct pv_named *named)
{
    if (!s->is_pooled || named->prep == NULL || named->name[0] == '\0')
        return named->name;
    return PV_SIDE_NAME_BLANK;
}

/* What its text means hangs on names that the session itself gave. */
static bool
is_of_the_session(const struct pv_decision *decision)
{
    static const enum pv_statement_kind plain[] = {
        PV_KIND_SELECT,   PV_KIND_COPY_OUT, PV_KIND_EMPTY,     PV_KIND_BEGIN, PV_KIND_COMMIT,
        PV_KIND_ROLLBACK, PV_KIND_SET,      PV_KIND_SET_LOCAL, PV_KIND_SHOW,  PV_KIND_RESET,
    };

    for (size_t i = 0; i < PV_COUNT_OF(plain); i++)
        if (decision->kind == plain[i])
            return false;
    return true;
}

enum pv_status
pv_lease_prepare(struct pv_session *s, struct pv_request *r, struct pv_named *named)
{
    /* Behind what constants are read under: the caller, so that no plan serves two of them. */
    const char *styles[] = {pv_texts_at(s->reported, PV_REPORTED_DATESTYLE), pv_texts_at(s->reported, PV_REPORTED_INTERVALSTYLE),
                            pv_texts_at(s->reported, PV_REPORTED_TIMEZONE), s->user};
    struct pv_slice all = pv_buf_slice(&r->bytes);
    size_t head = 5 + strlen((const char *) all.data + 5) + 1; /* tag, length, name */

    named->prep = pv_prep_new(pv_slice_of(all.data + head, all.len - head), styles, PV_COUNT_OF(styles),
                              is_of_the_session(&named->judged->decisions[named->index]));
    if (named->prep == NULL)
        return PV_NOMEM;
    r->statement = pv_named_ref(named);
    r->name_at = 5;
    return PV_OK;
}

enum pv_status
pv_lease_bind(struct pv_session *s, struct pv_request *r, const struct pv_decision *decision)
{
    struct pv_named *named = NULL;
    struct pv_named **grown;
    enum pv_status status;

    if (!s->is_pooled || decision->name == NULL ||
        (decision->kind != PV_KIND_EXECUTE && decision->kind != PV_KIND_DEALLOCATE &&
         decision->kind != PV_KIND_PREPARE))
        return PV_OK;
    status = pv_names_statement(s, decision->name, &named);
    if (status == PV_MORE)
        return PV_MORE;
    if (status != PV_OK || named->prep == NULL || named->name[0] == '\0')
        return PV_OK;
    grown = pv_arena_alloc(r->arena, (r->bind_count + 1) * sizeof(struct pv_named *));
    if (grown == NULL)
        return PV_NOMEM;
    if (r->bind_count > 0)
        memcpy(grown, r->binds, r->bind_count * sizeof(struct pv_named *));
    grown[r->bind_count++] = pv_named_ref(named);
    r->binds = grown;
    return PV_OK;
}

/* Statements of the protocol that SQL calls by name: from here on they are on this server under it. */
static bool
send_binds(struct pv_session *s, struct pv_request *r)
{
    bool is_any = false;

    for (size_t i = 0; i < r->bind_count; i++) {
        struct pv_named *named = r->binds[i];

        if (named->is_bound || named->prep == NULL)
            continue;
        if (!send_close(s, r, named->name) || !send_parse(s, r, named->name, named, 0, true))
            return false;
        is_any = true;
    }
    return !is_any || r->kind != PV_REQUEST_QUERY || r->is_in_segment || send_sync(s, r);
}

static bool
send_unnamed(struct pv_session *s, struct pv_request *r)
{
    struct pv_side *side = s->side;
    struct pv_prep *prep = r->statement->prep;

    if (r->kind == PV_REQUEST_PARSE) {
        pv_side_set_unnamed(side, prep, s->side->segment);
        return true;
    }
    if (side->unnamed != NULL && pv_prep_equal(side->unnamed, prep) &&
        (side->is_unnamed_confirmed || side->unnamed_segment == s->side->segment))
        return true;
    pv_side_set_unnamed(side, prep, s->side->segment);
    return send_parse(s, r, "", r->statement, 0, false);
}

static struct pv_side_entry *
make_entry(struct pv_session *s, struct pv_request *r, struct pv_prep *prep)
{
    struct pv_side *side = s->side;
    struct pv_side_entry *entry;
    char name[PV_SIDE_NAME_BYTES + 1];

    if (side->count >= side->count_max) {
        pv_side_name('p', side->oldest->number, name);
        if (!send_close(s, r, name))
            return NULL;
        pv_side_drop(side, side->oldest);
    }
    entry = pv_side_put(side, prep);
    if (entry == NULL)
        pv_session_fail(s, PV_NOMEM);
    return entry;
}

static bool
send_named(struct pv_session *s, struct pv_request *r)
{
    struct pv_prep *prep = r->statement->prep;
    struct pv_side_entry *entry = pv_side_find(s->side, prep);
    bool is_own = r->kind == PV_REQUEST_PARSE;
    bool is_there = entry != NULL && (entry->is_confirmed || entry->segment == s->side->segment) &&
                    !(is_own && s->track.status == 'E');
    char name[PV_SIDE_NAME_BYTES + 1];

    if (entry != NULL)
        pv_side_use(s->side, entry);
    if (is_there && is_own) {
        r->is_local = true;
        pv_buf_truncate(&r->bytes, 0);
        return true;
    }
    if (!is_there && entry != NULL) {
        pv_side_name('p', entry->number, name);
        if (!send_close(s, r, name))
            return false;
    } else if (!is_there) {
        entry = make_entry(s, r, prep);
        if (entry == NULL)
            return false;
        pv_side_name('p', entry->number, name);
    } else {
        pv_side_name('p', entry->number, name);
    }
    if (!is_there) {
        entry->segment = s->side->segment;
        entry->is_confirmed = false;
        r->side_number = entry->number;
        if (!is_own && !send_parse(s, r, name, r->statement, entry->number, false))
            return false;
    }
    memcpy(r->bytes.data + r->bytes.start + r->name_at, name, PV_SIDE_NAME_BYTES);
    return true;
}

/* What a statement does to the server beyond its transaction. */
static void
note_run(struct pv_session *s, const struct pv_run *run)
{
    const struct pv_decision *decision = run->effective == NULL ? run->decision : run->effective;

    if (run->is_internal || run->decision == NULL)
        return;
    if (run->kind == PV_KIND_RESET_ALL || run->kind == PV_KIND_DISCARD_ALL) {
        pv_tag_unref(s->side->identity);
        s->side->identity = NULL;
        s->is_dirty = true;
    } else if (run->kind == PV_KIND_SET_LOCAL) {
        s->has_local = true;
    } else if (run->kind == PV_KIND_SET || run->kind == PV_KIND_SET_TRANSACTION || run->kind == PV_KIND_RESET) {
        s->is_dirty = true;
    } else if (decision != NULL && decision->forwarded != NULL && strstr(decision->forwarded, "set_config") != NULL) {
        s->is_dirty = true; /* by whatever way; a constant of that text costs a look, no more */
    }
    if (run->kind == PV_KIND_DISCARD_ALL || run->kind == PV_KIND_DEALLOCATE_ALL) {
        pv_side_forget(s->side);
        s->side->is_spoiled = true; /* they are still there should it fail */
    }
}

void
pv_lease_command(struct pv_session *s, const struct pv_run *run)
{
    if (s->side != NULL && (run->kind == PV_KIND_DISCARD_ALL || run->kind == PV_KIND_DEALLOCATE_ALL))
        s->side->is_spoiled = false;
}

bool
pv_lease_send(struct pv_session *s, struct pv_request *r)
{
    if (s->is_calmed && !r->is_internal) {
        s->is_calmed = false;
        pv_lease_checkout(s, r);
        if (s->phase == PV_PHASE_CLOSED)
            return false;
    }
    if (r->is_poison) {
        if (r->kind == PV_REQUEST_PARSE && r->name != NULL && r->name[0] == '\0')
            pv_side_set_unnamed(s->side, NULL, 0);
    } else if (!send_binds(s, r)) {
        return false;
    } else if (r->statement != NULL) {
        struct pv_prep *prep = r->statement->prep;

        /* Constants may be read under settings that are in force for now alone. */
        if (r->kind == PV_REQUEST_PARSE && (s->is_dirty || s->has_local))
            prep->is_unique = true;
        if (!(r->statement->name[0] == '\0' ? send_unnamed(s, r) : send_named(s, r)))
            return false;
    }
    for (size_t i = 0; r->kind != PV_REQUEST_SYNC && !r->is_poison && i < r->run_count; i++)
        note_run(s, &r->runs[i]);
    if (r->kind == PV_REQUEST_QUERY)
        pv_side_queried(s->side);
    if (r->kind == PV_REQUEST_QUERY || r->kind == PV_REQUEST_SYNC)
        s->side->segment++;
    return true;
}

void
pv_lease_parsed(struct pv_session *s, struct pv_request *r)
{
    struct pv_side_entry *entry;

    if (s->side == NULL || r->statement == NULL || r->is_local)
        return;
    if (r->bound != NULL) {
        if (!r->bound->is_bound && pv_names_get(&s->statements, r->bound->name) == r->bound) {
            r->bound->is_bound = true;
            s->statements.bound_count++;
        }
        return;
    }
    if (r->statement->name[0] == '\0') {
        if (s->side->unnamed == r->statement->prep)
            s->side->is_unnamed_confirmed = true;
        return;
    }
    entry = pv_side_find(s->side, r->statement->prep);
    if (entry != NULL && entry->number == r->side_number)
        entry->is_confirmed = true;
}

void
pv_lease_failed(struct pv_session *s, struct pv_request *r)
{
    struct pv_side_entry *entry;

    if (s->side == NULL)
        return;
    if (r->is_calming)
        s->side->is_spoiled = true;
    else if (r->is_harvest || r->is_checkout)
        s->is_pinned_by_settings = true;
    if (r->kind != PV_REQUEST_PARSE || r->statement == NULL || r->bound != NULL || r->is_local)
        return;
    if (r->statement->name[0] == '\0') {
        pv_side_set_unnamed(s->side, NULL, 0);
        return;
    }
    entry = pv_side_find(s->side, r->statement->prep);
    if (entry != NULL && entry->number == r->side_number)
        pv_side_drop(s->side, entry);
}
