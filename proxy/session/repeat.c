/*
 * Statements that come again (pool.auto_prepare): a Query whose text came often on its server connection is sent as Bind,
 * Describe, Execute and Sync of a statement that the server prepared for it under a name of ours, so that it is neither
 * parsed nor rewritten anew, nor planned where one plan will do. The client sees what it sees of a Query.
 *  1. Only a decision of today says what a text may be prepared as, and what is prepared is compared with that byte for
 * byte, with all settings under which constants are read, and with who asks. A decision of another generation has another
 * text, or the same one judged anew.
 *  2. It is the only request under way, outside a transaction, and nothing goes behind it until the server has described
 * its rows. So up to there nothing has happened but parsing and planning: whatever error comes is swallowed, and the
 * statement sent as text (to which the server says what it has to say, in its words and at its place), unless it was to be
 * stopped. "cached plan must not change result type" never gets to a client.
 *  3. Who asks, their attributes and whatever else views read is read when a plan runs: they stand in settings, by functions
 * that are not IMMUTABLE, and plans keep none of those. What a constant may read at its parsing is refused by
 * policy/repeat.c.
 *  4. What the database does not answer at once goes as text; so does what says something beside its rows.
 *  5. The unnamed statement of the extended protocol: repeat_segment.c.
 *  6. Names of ours cannot be said by clients, and no client sees PostgreSQL's list of them. DISCARD ALL and DEALLOCATE ALL
 * put them in doubt: then a Close goes before the next Parse.
 */
#include "proxy/session/repeat_int.h"
#include "proxy/session/result_int.h"

#include "policy/cache.h"

#include <string.h>

struct pv_side *
pv_repeat_side(const struct pv_session *s)
{
    return s->side != NULL ? s->side : s->home;
}

/* ---- What else is sent ---------------------------------------------------------------- */

static bool
names_set_config(const struct pv_decision *decision)
{
    return decision != NULL && decision->forwarded != NULL && decision->repeat == NULL &&
           strstr(decision->forwarded, "set_config") != NULL;
}

/* Does it leave settings as they are? COMMIT and ROLLBACK bring back what was before a SET that has been counted. */
static bool
keeps_settings(const struct pv_run *run)
{
    static const enum pv_statement_kind plain[] = {
        PV_KIND_SELECT,    PV_KIND_COPY_OUT, PV_KIND_EMPTY,       PV_KIND_BEGIN, PV_KIND_COMMIT, PV_KIND_ROLLBACK,
        PV_KIND_SAVEPOINT, PV_KIND_RELEASE,  PV_KIND_ROLLBACK_TO, PV_KIND_SHOW,  PV_KIND_EXECUTE, PV_KIND_FETCH,
        PV_KIND_MOVE,      PV_KIND_CLOSE,    PV_KIND_DECLARE,     PV_KIND_PREPARE, PV_KIND_DEALLOCATE,
    };

    for (size_t i = 0; i < PV_COUNT_OF(plain); i++)
        if (run->kind == plain[i])
            return !names_set_config(run->decision) && !names_set_config(run->effective);
    return false;
}

static void
note_others(struct pv_repeats *repeats, const struct pv_request *r)
{
    if (r->is_poison || (r->kind != PV_REQUEST_QUERY && r->kind != PV_REQUEST_EXECUTE))
        return;
    for (size_t i = 0; i < r->run_count; i++) {
        const struct pv_run *run = &r->runs[i];

        if (run->is_internal || keeps_settings(run))
            continue;
        repeats->epoch++;
        if (run->kind == PV_KIND_DISCARD_ALL || run->kind == PV_KIND_DEALLOCATE_ALL)
            pv_repeats_doubt(repeats);
    }
}

/* ---- Which may be sent so -------------------------------------------------------------- */

/* Invariant 2: what stands before it makes the server this session's and says nothing of it. */
bool
pv_repeat_is_alone(const struct pv_session *s, const struct pv_request *r)
{
    if (s->track.status != 'I' || s->track.is_in_block || s->is_segment_open || r->is_in_segment ||
        s->phase != PV_PHASE_READY)
        return false;
    for (const struct pv_request *before = r->previous; before != NULL; before = before->previous)
        if (!before->is_checkout)
            return false;
    return true;
}

/* Of a session that shares servers: its settings are known, and the server has them. */
bool
pv_repeat_knows_settings(const struct pv_session *s)
{
    return s->side == NULL ||
           (!s->is_dirty && !s->has_local && !s->side->is_values_unknown && !pv_side_is_spoiled(s->side));
}

static const struct pv_decision *
decision_of(const struct pv_session *s, const struct pv_request *r)
{
    const struct pv_decision *decision;

    if (r->kind != PV_REQUEST_QUERY || r->run_count != 1 || r->is_poison || r->is_internal || s->is_conformance)
        return NULL;
    decision = r->runs[0].decision;
    return decision != NULL && decision->repeat != NULL && r->runs[0].effective == decision ? decision : NULL;
}

/* ---- Bytes ------------------------------------------------------------------------------ */

static enum pv_status
put_close(struct pv_buf *out, size_t *closes, const struct pv_repeat_name *name)
{
    char text[PV_SIDE_NAME_BYTES + 1];
    struct pv_msg_target target = {PV_TARGET_STATEMENT, pv_slice_of(text, PV_SIDE_NAME_BYTES)};

    pv_side_name('r', name->number, text);
    ++*closes;
    return pv_msg_target_write(out, PV_CLIENT_CLOSE, &target);
}

static enum pv_status
put_parse(struct pv_buf *out, const struct pv_repeat_name *name)
{
    char text[PV_SIDE_NAME_BYTES + 1];
    struct pv_msg_parse parse = {pv_slice_of(text, PV_SIDE_NAME_BYTES),
                                 pv_slice_of(pv_repeat_text(name->of), name->of->text_len),
                                 name->of->count, name->of->oids};

    pv_side_name('r', name->number, text);
    return pv_msg_parse_write(out, &parse);
}

enum pv_status
pv_repeat_put_name(struct pv_buf *out, size_t *closes, struct pv_repeat_name *name)
{
    enum pv_status status = PV_OK;

    if (name->is_there)
        return PV_OK;
    if (name->may_be_there)
        status = put_close(out, closes, name);
    if (status == PV_OK)
        status = put_parse(out, name);
    name->may_be_there = true;
    return status;
}

/* Bind with values and result in text, Describe, Execute and Sync: all of one length but for name and values. */
static void
put_use(struct pv_request *r, const struct pv_repeat_name *name, const struct pv_slice *values)
{
    static const uint8_t rest[] = {0, 0, /* result columns: text */
                                   PV_CLIENT_DESCRIBE, 0, 0, 0, 6, 'P', 0,
                                   PV_CLIENT_EXECUTE, 0, 0, 0, 9, 0, 0, 0, 0, 0,
                                   PV_CLIENT_SYNC, 0, 0, 0, 4};
    char text[PV_SIDE_NAME_BYTES + 1];
    size_t len = 4 + 1 + PV_SIDE_NAME_BYTES + 1 + 2 + 2 + 2;

    pv_side_name('r', name->number, text);
    for (size_t i = 0; i < name->of->count; i++)
        len += 4 + values[i].len;
    pv_buf_put_u8(&r->bytes, PV_CLIENT_BIND);
    pv_buf_put_u32(&r->bytes, (uint32_t) len);
    pv_buf_put_u8(&r->bytes, 0);
    pv_buf_put(&r->bytes, text, sizeof(text));
    pv_buf_put_u16(&r->bytes, 0);
    pv_buf_put_u16(&r->bytes, (uint16_t) name->of->count);
    for (size_t i = 0; i < name->of->count; i++) {
        pv_buf_put_u32(&r->bytes, (uint32_t) values[i].len);
        pv_buf_put_slice(&r->bytes, values[i]);
    }
    pv_buf_put(&r->bytes, rest, sizeof(rest));
}

static void
write_use(struct pv_session *s, struct pv_request *r, struct pv_repeat_name *name, const struct pv_decision *decision)
{
    enum pv_status status = pv_repeat_put_name(&r->bytes, &r->repeat_closes, name);

    put_use(r, name, decision->repeat_values);
    r->repeat_stage = !name->is_there ? PV_REPEAT_PARSING : PV_REPEAT_BINDING;
    r->repeat_number = name->number;
    if (status != PV_OK || !pv_buf_ok(&r->bytes))
        pv_session_fail(s, status == PV_OK ? PV_NOMEM : status);
}

/* ---- Sending ------------------------------------------------------------------------------ */

/* A name for what has none; Close messages of those that go for it are in `out`. NULL: it goes as text. */
static struct pv_repeat_name *
make_name(struct pv_session *s, struct pv_repeats *repeats, const struct pv_repeat *of, const struct pv_repeat_key *key,
          struct pv_buf *out, size_t *closes)
{
    struct pv_repeat_name *excess;

    while ((excess = pv_repeats_excess(repeats, of->text_len)) != NULL) {
        if (excess->may_be_there && put_close(out, closes, excess) != PV_OK) {
            pv_session_fail(s, PV_NOMEM);
            return NULL;
        }
        pv_repeats_drop(repeats, excess);
    }
    return pv_repeats_put(repeats, of, key);
}

struct pv_repeat_name *
pv_repeat_choose(struct pv_session *s, struct pv_request *r, struct pv_repeats *repeats, const struct pv_repeat *of,
                 struct pv_buf *out, size_t *closes)
{
    const struct pv_repeat_key key = {s->user, s->reported, s->side == NULL ? NULL : s->values,
                                      s->side == NULL ? repeats->epoch : 0};
    struct pv_repeat_name *name = pv_repeats_find(repeats, of, &key);
    struct pv_repeat_sight *sight;

    if (name != NULL && name->epoch != key.epoch) {
        /* Settings may be others than when it was parsed: it is counted, and parsed, anew. */
        name->epoch = key.epoch;
        name->is_there = false;
        name->rest = s->policy->config.pool_auto_prepare;
    }
    r->repeat_sent_us = s->now_us;
    r->is_counted = true;
    if (name != NULL) {
        r->repeat_number = name->number;
        r->has_repeat_name = true;
        return name->rest > 0 ? NULL : name;
    }
    sight = pv_repeats_sight(repeats, of->hash);
    if (sight == NULL || sight->count < s->policy->config.pool_auto_prepare)
        return NULL;
    sight->count = 0;
    if (out == &r->bytes)
        pv_buf_truncate(out, 0);
    name = make_name(s, repeats, of, &key, out, closes);
    if (name == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return NULL;
    }
    r->repeat_number = name->number;
    r->has_repeat_name = true;
    return name;
}

void
pv_repeat_send(struct pv_session *s, struct pv_request *r)
{
    struct pv_side *side = pv_repeat_side(s);
    const struct pv_decision *decision = decision_of(s, r);
    struct pv_repeats *repeats;
    struct pv_repeat_name *name;

    if (side == NULL || r->is_internal)
        return;
    if (r->kind == PV_REQUEST_PARSE) {
        pv_repeat_segment_send(s, side, r);
        return;
    }
    if (r->kind == PV_REQUEST_EXECUTE && r->is_counted)
        r->repeat_sent_us = s->now_us; /* its begin record was waited for */
    if (decision == NULL) {
        if (side->repeats != NULL)
            note_others(side->repeats, r);
        return;
    }
    if (s->policy->config.pool_auto_prepare == 0 || !pv_repeat_is_alone(s, r) || !pv_repeat_knows_settings(s))
        return;
    repeats = pv_repeats_of(side);
    name = repeats == NULL ? NULL
                           : pv_repeat_choose(s, r, repeats, decision->repeat, &r->bytes, &r->repeat_closes);
    if (name == NULL || s->phase == PV_PHASE_CLOSED)
        return;
    if (r->repeat_closes == 0)
        pv_buf_truncate(&r->bytes, 0);
    r->is_verbatim = r->is_verbatim && name->of->count == 0;
    write_use(s, r, name, decision);
}

bool
pv_repeat_holds(const struct pv_session *s)
{
    const struct pv_request *before = s->unsent == NULL ? NULL : s->unsent->previous;

    if (s->repeat_parse != NULL)
        return pv_repeat_segment_end(s->repeat_parse)->is_sent;
    return before != NULL && before->repeat_stage != PV_REPEAT_NONE && before->repeat_stage != PV_REPEAT_RUNNING;
}

/* ---- Replies -------------------------------------------------------------------------------- */

struct pv_repeat_name *
pv_repeat_under_way(const struct pv_session *s, const struct pv_request *r)
{
    const struct pv_side *side = pv_repeat_side(s);

    return side == NULL || side->repeats == NULL ? NULL : pv_repeats_numbered(side->repeats, r->repeat_number);
}

bool
pv_repeat_reply(struct pv_session *s, struct pv_request *r, enum pv_server_tag tag)
{
    struct pv_repeat_name *name;

    if (r->repeat_stage == PV_REPEAT_NONE)
        return false;
    if (r->repeat_closes > 0 && r->repeat_stage != PV_REPEAT_FAILED) {
        r->repeat_closes--;
        return tag == PV_SERVER_CLOSE_COMPLETE;
    }
    if (r->repeat_stage == PV_REPEAT_PARSING && tag == PV_SERVER_PARSE_COMPLETE) {
        name = pv_repeat_under_way(s, r);
        if (name != NULL)
            name->is_there = true;
        if (s->env->cache != NULL)
            pv_cache_note_prepared(s->env->cache);
        r->repeat_stage = PV_REPEAT_BINDING;
        return true;
    }
    if (r->repeat_stage == PV_REPEAT_BINDING && tag == PV_SERVER_BIND_COMPLETE) {
        r->repeat_stage = PV_REPEAT_DESCRIBING;
        return true;
    }
    if (r->repeat_stage == PV_REPEAT_DESCRIBING && tag == PV_SERVER_ROW_DESCRIPTION) {
        if (s->env->cache != NULL)
            pv_cache_note_repeated(s->env->cache);
        r->repeat_stage = PV_REPEAT_RUNNING;
        return true;
    }
    return false;
}

/* ---- Errors ------------------------------------------------------------------------------------ */

bool
pv_repeat_swallows(struct pv_session *s, struct pv_request *r, struct pv_msg_notice *notice)
{
    /* Positions are those in the text that was prepared, which is another than the one that was judged. */
    if (r->repeat_stage != PV_REPEAT_NONE && r->runs[0].decision->repeat->count > 0)
        memset(&notice->fields[PV_NOTICE_POSITION], 0, sizeof(notice->fields[PV_NOTICE_POSITION]));
    if (r->repeat_stage == PV_REPEAT_NONE || r->repeat_stage == PV_REPEAT_RUNNING)
        return false;
    if (pv_slice_is(notice->fields[PV_NOTICE_SQLSTATE], "57014")) {
        r->repeat_stage = PV_REPEAT_RUNNING; /* a cancel or a timeout, which was meant for the statement */
        return false;
    }
    pv_repeat_failed(s, r);
    return true;
}

void
pv_repeat_failed(struct pv_session *s, struct pv_request *r)
{
    struct pv_repeat_name *name = pv_repeat_under_way(s, r);

    if (name != NULL && r->repeat_stage != PV_REPEAT_FAILED) {
        name->is_there = false;
        pv_repeats_rest(name);
    }
    r->repeat_stage = PV_REPEAT_FAILED;
}

bool
pv_repeat_find_stop(struct pv_session *s, struct pv_request *r, struct pv_error *error)
{
    const struct pv_run *run = &r->runs[0];

    if (run->withdrawn_words != NULL) {
        pv_error_simple(error, "57014", run->withdrawn_words);
    } else if (run->has_timed_out) {
        pv_error_simple(error, "57014", "canceling statement due to statement timeout");
    } else if (s->is_cancel_pending) {
        pv_error_simple(error, "57014", "canceling statement due to user request");
    } else if (s->is_identity_stale || run->judged->person != s->person_count || pv_gate_retry(s, r) != PV_OK) {
        pv_error_simple(error, "42501", "the clean room's policy has changed since the statement was sent");
        error->hint = "Send the statement again.";
    } else {
        return false;
    }
    return true;
}

bool
pv_repeat_again(struct pv_session *s, struct pv_request *r)
{
    const char *text = r->runs[0].decision->forwarded;
    struct pv_error error;

    r->repeat_stage = PV_REPEAT_NONE;
    r->has_repeat_name = r->is_counted = false;
    if (pv_repeat_find_stop(s, r, &error)) {
        memcpy(s->segment_sqlstate, error.sqlstate, sizeof(s->segment_sqlstate));
        pv_trail_end(s, &r->runs[0], strcmp(error.sqlstate, "57014") == 0 ? PV_OUTCOME_CANCELLED : PV_OUTCOME_FAILED,
                     error.sqlstate);
        if (s->phase != PV_PHASE_CLOSED) {
            pv_error_write(s, &error);
            pv_result_fail_request(s, r);
        }
        return false;
    }
    r->is_verbatim = pv_slice_equal(pv_slice_cstr(text), r->runs[0].judged->text);
    pv_buf_truncate(&r->bytes, 0);
    if (pv_msg_text_write(&r->bytes, PV_CLIENT_QUERY, pv_slice_cstr(text)) != PV_OK) {
        pv_session_fail(s, PV_NOMEM);
        return true;
    }
    if (s->side != NULL)
        s->side->segment++;
    pv_buf_put_slice(&s->server_out, pv_buf_slice(&r->bytes));
    pv_buf_clear(&r->bytes);
    return true;
}

/* ---- Ends ---------------------------------------------------------------------------------------- */

void
pv_repeat_noted(struct pv_request *r)
{
    /* What is said to a Parse or a Bind is said of what executes it. */
    while (r->next != NULL && (r->kind == PV_REQUEST_PARSE || r->kind == PV_REQUEST_BIND || r->kind == PV_REQUEST_DESCRIBE))
        r = r->next;
    r->is_noisy = true;
}

void
pv_repeat_ran(struct pv_session *s, struct pv_request *r)
{
    bool is_quick = s->now_us - r->repeat_sent_us <= PV_REPEAT_QUICK_US && !r->is_noisy;
    const struct pv_side *side = pv_repeat_side(s);
    struct pv_repeats *repeats = side == NULL ? NULL : side->repeats;
    struct pv_repeat_name *name;
    struct pv_repeat_sight *sight;

    if (!r->is_counted || repeats == NULL)
        return;
    r->is_counted = false;
    name = r->has_repeat_name ? pv_repeats_numbered(repeats, r->repeat_number) : NULL;
    if (name != NULL && (r->is_repeat || r->repeat_stage == PV_REPEAT_RUNNING)) {
        if (!is_quick)
            pv_repeats_rest(name);
        else if (name->rest_next > PV_REPEAT_REST_FIRST)
            name->rest_next /= 2; /* the machine was busy then */
    } else if (name != NULL) {
        if (name->rest > 0 && is_quick)
            name->rest--;
    } else if (!r->has_repeat_name) {
        sight = pv_repeats_sight(repeats, r->runs[0].decision->repeat->hash);
        if (sight != NULL)
            sight->count = is_quick ? sight->count + 1 : sight->count / 2;
    }
}
