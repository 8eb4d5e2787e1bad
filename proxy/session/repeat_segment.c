/*
 * The unnamed statement of the extended protocol that comes again: Parse, Bind, Describe of the portal or none, Execute and
 * Sync in one go, as drivers send what has parameters. Where the Parse came often on its server connection, the server
 * prepares it under a name of ours (repeat.c), and from then on is sent Bind to that, and what follows as it came.
 *  1. Which it is hangs on the whole segment, which is looked at before its first byte is sent: what comes in another order,
 * in parts or in a transaction goes as it came.
 *  2. Up to BindComplete nothing has happened but parsing and planning. Until then the client hears nothing, nothing goes
 * behind the segment, and its requests keep their bytes; whatever error comes is swallowed, and the segment sent as it came.
 *  3. Parse and its reply are the client's from there on: its unnamed statement stands until the next one or a Query. The
 * server has it under another name, or has another one as the unnamed; so whatever uses it without a Parse brings
 * one along (statement_parse.c; of shared servers lease_names.c).
 *  4. What is bound, described and executed has the text that the client's Parse would have had, byte for byte, so positions
 * in errors and the log's records are those of the segment as it came.
 */
#include "proxy/session/repeat_int.h"
#include "proxy/session/result_int.h"

#include "policy/cache.h"

#include <string.h>

/* Of all its messages: they are copied. */
#define SEGMENT_BYTES_MAX (64u * 1024u)

/* ---- Which may be sent so -------------------------------------------------------------- */

static bool
is_own(const struct pv_request *r, enum pv_request_kind kind)
{
    return r != NULL && r->kind == kind && !r->is_internal && !r->is_poison && !r->is_sent;
}

/* The judgement's only decision, where the Parse as it was written says what may be prepared. */
static const struct pv_decision *
decision_of(const struct pv_request *parse)
{
    const struct pv_decision *decision = &parse->named->judged->decisions[0];
    const struct pv_repeat *repeat = decision->repeat;
    struct pv_slice bytes = pv_buf_slice(&parse->bytes);
    const uint8_t *at = bytes.data + 6; /* behind tag, length and the name's NUL */

    if (repeat == NULL || decision->repeat_values != NULL || decision->kind != PV_KIND_SELECT || parse->named->index != 0 ||
        bytes.len != 6 + repeat->text_len + 1 + 2 + 4 * (size_t) repeat->count || bytes.data[5] != 0 ||
        memcmp(at, pv_repeat_text(repeat), repeat->text_len + 1) != 0)
        return NULL;
    at += repeat->text_len + 1 + 2;
    for (size_t i = 0; i < repeat->count; i++, at += 4)
        if ((uint32_t) at[0] << 24 != (repeat->oids[i] & 0xFF000000u) || at[1] != (repeat->oids[i] >> 16 & 0xFFu) ||
            at[2] != (repeat->oids[i] >> 8 & 0xFFu) || at[3] != (repeat->oids[i] & 0xFFu))
            return NULL;
    return decision;
}

static bool
is_bind_of(const struct pv_request *r, const struct pv_request *parse)
{
    return is_own(r, PV_REQUEST_BIND) && r->named != NULL && r->named->judged == parse->named->judged &&
           r->name[0] == '\0' && r->bind_count == 0 && pv_buf_len(&r->bytes) > 7 && r->bytes.data[r->bytes.start + 6] == '\0';
}

static bool
is_execute_of(const struct pv_request *r, const struct pv_request *bind, const struct pv_decision *decision)
{
    return is_own(r, PV_REQUEST_EXECUTE) && r->named == bind->named && r->run_count == 1 &&
           r->runs[0].decision == decision && r->runs[0].effective == decision && r->runs[0].kind == PV_KIND_SELECT;
}

/* Invariant 1: its Execute; NULL: it is no such segment. */
static struct pv_request *
execute_of(const struct pv_request *parse, const struct pv_decision *decision)
{
    struct pv_request *bind = parse->next, *execute;
    size_t bytes = 0;

    if (!is_bind_of(bind, parse))
        return NULL;
    execute = bind->next;
    if (is_own(execute, PV_REQUEST_DESCRIBE) && execute->target == PV_TARGET_PORTAL && execute->named == bind->named)
        execute = execute->next;
    if (!is_execute_of(execute, bind, decision) || !is_own(execute->next, PV_REQUEST_SYNC) ||
        execute->next->next != NULL || execute->next->run_count > 0 || execute->next->is_reset)
        return NULL;
    for (const struct pv_request *r = parse; r != NULL; r = r->next)
        bytes += pv_buf_len(&r->bytes);
    return bytes <= SEGMENT_BYTES_MAX ? execute : NULL;
}

struct pv_request *
pv_repeat_segment_end(struct pv_request *parse)
{
    while (parse->kind != PV_REQUEST_SYNC)
        parse = parse->next;
    return parse;
}

/* ---- Sending ------------------------------------------------------------------------------ */

void
pv_repeat_segment_send(struct pv_session *s, struct pv_side *side, struct pv_request *parse)
{
    const struct pv_decision *decision;
    struct pv_request *execute;
    struct pv_repeats *repeats;
    struct pv_repeat_name *name;

    if (parse->is_said_again || parse->is_poison || s->is_conformance || parse->name == NULL || parse->name[0] != '\0' ||
        parse->named == NULL || s->policy->config.pool_auto_prepare == 0)
        return;
    decision = decision_of(parse);
    execute = decision == NULL ? NULL : execute_of(parse, decision);
    if (execute == NULL || !pv_repeat_is_alone(s, parse) || !pv_repeat_knows_settings(s))
        return;
    repeats = pv_repeats_of(side);
    name = repeats == NULL
               ? NULL
               : pv_repeat_choose(s, execute, repeats, decision->repeat, &s->server_out, &parse->repeat_closes);
    if (name == NULL || s->phase == PV_PHASE_CLOSED)
        return;
    parse->repeat_stage = name->is_there ? PV_REPEAT_BINDING : PV_REPEAT_PARSING;
    parse->repeat_number = name->number;
    s->repeat_parse = parse;
    pv_spare_take(s, &s->server_out);
    if (pv_repeat_put_name(&s->server_out, &parse->repeat_closes, name) != PV_OK) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    /* What a shared server has as its unnamed statement is not asked for by this Bind, and the Parse did not change it. */
    if (s->side != NULL)
        pv_side_set_unnamed(s->side, NULL, 0);
    pv_named_unref(parse->next->statement);
    parse->next->statement = NULL;
}

void
pv_repeat_segment_put(struct pv_session *s, struct pv_request *r)
{
    struct pv_slice bytes = pv_buf_slice(&r->bytes);
    char name[PV_SIDE_NAME_BYTES + 1];

    if (r == s->repeat_parse)
        return; /* what goes in its place is there */
    if (r->kind != PV_REQUEST_BIND) {
        pv_buf_put_slice(&s->server_out, bytes);
        return;
    }
    pv_side_name('r', s->repeat_parse->repeat_number, name);
    pv_buf_put_u8(&s->server_out, PV_CLIENT_BIND);
    pv_buf_put_u32(&s->server_out, (uint32_t) (bytes.len - 1 + PV_SIDE_NAME_BYTES));
    pv_buf_put_u8(&s->server_out, 0); /* the portal */
    pv_buf_put(&s->server_out, name, PV_SIDE_NAME_BYTES + 1);
    pv_buf_put(&s->server_out, bytes.data + 7, bytes.len - 7);
}

/* ---- Replies ---------------------------------------------------------------------------------- */

/* Invariant 3: nothing of it will be said again. Gives its Bind; NULL: the session has ended. */
static struct pv_request *
believe(struct pv_session *s, struct pv_request *parse)
{
    static const uint8_t parsed[] = {PV_SERVER_PARSE_COMPLETE, 0, 0, 0, 4};
    const struct pv_reply reply = {PV_SERVER_PARSE_COMPLETE, pv_slice_of(parsed + 5, 0), pv_slice_of(parsed, 5)};

    for (struct pv_request *r = parse;; r = r->next) {
        if (r->is_sent)
            pv_spare_give(s, &r->bytes);
        r->is_repeat = r->kind == PV_REQUEST_EXECUTE;
        if (r->kind == PV_REQUEST_SYNC)
            break;
    }
    parse->repeat_stage = PV_REPEAT_NONE;
    parse->named->is_elsewhere = parse->named->prep == NULL;
    s->repeat_parse = NULL;
    pv_result_replies[PV_REQUEST_PARSE][PV_SERVER_PARSE_COMPLETE](s, parse, &reply);
    return s->phase == PV_PHASE_CLOSED ? NULL : s->head;
}

bool
pv_repeat_segment_reply(struct pv_session *s, struct pv_request *parse, enum pv_server_tag tag, struct pv_request **next)
{
    *next = NULL;
    if (parse->repeat_stage != PV_REPEAT_BINDING || parse->repeat_closes > 0 || tag != PV_SERVER_BIND_COMPLETE)
        return pv_repeat_reply(s, parse, tag);
    if (s->env->cache != NULL)
        pv_cache_note_repeated(s->env->cache);
    *next = believe(s, parse);
    return true;
}

struct pv_request *
pv_repeat_segment_error(struct pv_session *s, struct pv_request *parse, const struct pv_msg_notice *notice)
{
    if (parse->repeat_stage == PV_REPEAT_NONE)
        return parse;
    /* A cancel or a timeout, which was meant for the statement. */
    if (parse->repeat_stage != PV_REPEAT_FAILED && pv_slice_is(notice->fields[PV_NOTICE_SQLSTATE], "57014"))
        return believe(s, parse);
    pv_repeat_failed(s, parse);
    return NULL;
}

/* Its Execute did not run and will not: the client hears why in place of ParseComplete. */
static void
stop(struct pv_session *s, struct pv_request *parse, struct pv_request *execute, const struct pv_error *error)
{
    pv_trail_end(s, &execute->runs[0], strcmp(error->sqlstate, "57014") == 0 ? PV_OUTCOME_CANCELLED : PV_OUTCOME_FAILED,
                 error->sqlstate);
    if (s->phase != PV_PHASE_CLOSED)
        pv_request_poison(s, parse, error);
}

void
pv_repeat_segment_again(struct pv_session *s, struct pv_request *parse)
{
    struct pv_request *execute = parse;
    struct pv_error error;

    while (execute->kind != PV_REQUEST_EXECUTE)
        execute = execute->next;
    parse->repeat_stage = PV_REPEAT_NONE;
    parse->is_said_again = true;
    execute->is_counted = execute->has_repeat_name = false;
    s->repeat_parse = NULL;
    if (!execute->is_poison && pv_repeat_find_stop(s, execute, &error))
        stop(s, parse, execute, &error);
    for (struct pv_request *r = parse;; r = r->next) {
        r->is_sent = false;
        s->unsent_bytes += pv_buf_len(&r->bytes);
        if (r->kind == PV_REQUEST_SYNC)
            break;
    }
    s->unsent = s->not_passed = parse;
}
