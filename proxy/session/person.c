/*
 * Who asks: the user who logged in, or the end user whom a trusted service named by `pgveil.user` (room key
 * trusted_services). Statements are judged, logged and filtered for that one.
 *  1. The person changes between two statements and never amid a transaction: a change stands alone, and nothing is
 * taken behind it until the server has confirmed it.
 *  2. The identity that the views see is said to the server anew before the next statement; what was prepared
 *     before is judged anew; no cursor outlives the change.
 *  3. RESET ALL and DISCARD ALL bring back whom the startup packet named, so that a pool hands nobody on.
 */
#include "proxy/session/session_int.h"

#include "policy/settings.h"

#include <string.h>

/* ---- Finding ---- */

/* The user who logged in, as another snapshot sees it. */
static bool
find_login(struct pv_session *s, const struct pv_policy *policy, const struct pv_room *room, struct pv_person *person)
{
    struct pv_slice name = pv_slice_cstr(s->login_user);

    person->account = pv_policy_user(policy, name);
    if (!s->is_bearer) {
        person->member = room == NULL || person->account == NULL ? NULL : pv_room_member(room, s->login_user);
        return person->member != NULL;
    }
    /* Who has a password or a certificate by now, or is no token's user any more, has lost this way in. */
    if (room == NULL || policy->config.tokens == NULL ||
        (person->account != NULL && (person->account->scram != NULL || person->account->cert_cn != NULL)))
        return false;
    person->account = &s->token->user;
    person->member = pv_room_token_member(room, s->login_user, s->token->roles);
    return person->member != NULL;
}

bool
pv_person_find(struct pv_session *s, const struct pv_policy *policy, const struct pv_room *room, const char *end_user,
               struct pv_person *person)
{
    if (!find_login(s, policy, room, person))
        return false;
    person->name = s->login_user;
    if (end_user == NULL || strcmp(end_user, s->login_user) == 0)
        return true;
    if (!pv_room_trusts(room, s->login_user))
        return false;
    person->account = pv_policy_user(policy, pv_slice_cstr(end_user));
    person->member = person->account == NULL ? NULL : pv_room_member(room, end_user);
    person->name = person->account == NULL ? NULL : person->account->name;
    return person->member != NULL;
}

void
pv_person_take(struct pv_session *s, const struct pv_person *person)
{
    s->user = person->name;
    s->account = person->account;
    /* An entry that stands for a role becomes this user's own. */
    s->own_member = *person->member;
    s->own_member.user = person->name;
    s->member = &s->own_member;
    s->party = person->member->party;
    pv_lease_person(s);
    s->service = strcmp(person->name, s->login_user) == 0 ? NULL : s->login_user;
}

/* ---- Changing ---- */

static void
log_change(struct pv_session *s, const char *before)
{
    struct pv_buf buf = {0};
    const char *detail;

    pv_buf_put_text(&buf, "{\"service\":");
    pv_buf_put_json(&buf, pv_slice_cstr(s->login_user));
    pv_buf_put_text(&buf, ",\"before\":");
    pv_buf_put_json(&buf, pv_slice_cstr(before));
    pv_buf_put_u8(&buf, '}');
    detail = pv_buf_text(&buf);
    pv_trail_event(s, "end_user", detail);
    pv_buf_clear(&buf);
}

bool
pv_person_switch(struct pv_session *s, const char *end_user)
{
    const char *before = s->user;
    struct pv_person person;

    if (!pv_person_find(s, s->policy, s->room, end_user, &person))
        return false;
    if (strcmp(person.name, before) == 0)
        return true;
    pv_person_take(s, &person);
    s->person_count++;
    s->is_identity_stale = s->has_server;
    log_change(s, before);
    return true;
}

bool
pv_person_is_change(const struct pv_session *s, const struct pv_decision *decision)
{
    const char *startup = s->user_startup == NULL ? s->login_user : s->user_startup;

    if (!decision->is_allowed || s->login_user == NULL)
        return false;
    if (decision->kind == PV_KIND_RESET_ALL || decision->kind == PV_KIND_DISCARD_ALL)
        return strcmp(s->user, startup) != 0;
    return (decision->kind == PV_KIND_SET || decision->kind == PV_KIND_RESET) && decision->setting != NULL &&
           strcmp(decision->setting, PV_SETTING_END_USER) == 0;
}

static bool
has_held_cursor(const struct pv_name_table *table)
{
    for (size_t i = 0; i < table->bucket_count; i++)
        for (const struct pv_named *named = table->buckets[i]; named != NULL; named = named->next)
            if (named->is_hold)
                return true;
    return false;
}

bool
pv_person_may_change(struct pv_session *s, const struct pv_judged *judged, bool is_query, struct pv_error *error)
{
    bool is_alone =
        judged->count == 1 && s->track.status == 'I' && !s->track.is_in_block && !(is_query && s->is_segment_open);

    for (const struct pv_request *r = s->head; r != NULL; r = r->next)
        if (!r->is_internal && (r->kind == PV_REQUEST_QUERY || r->kind == PV_REQUEST_EXECUTE))
            is_alone = false;
    if (!is_alone) {
        pv_error_simple(error, "25001", "the end user cannot be changed beside other statements");
        error->hint = "Send the statement by itself, outside of a transaction.";
    } else if (has_held_cursor(&s->portals)) {
        pv_error_simple(error, "55006", "the end user cannot be changed while a cursor is held");
        error->hint = "Close the cursor first.";
        is_alone = false;
    }
    return is_alone;
}

/* ---- On the way ---- */

void
pv_person_confirm(struct pv_session *s, const struct pv_run *run)
{
    if (run->decision == NULL || !pv_person_is_change(s, run->decision))
        return;
    pv_free(s->user_pending);
    s->user_pending = NULL;
    if (run->kind == PV_KIND_SET && run->decision->value != NULL && run->decision->value[0] != '\0')
        s->user_pending = pv_strdup(run->decision->value);
    else
        s->user_pending = pv_strdup(s->user_startup == NULL ? s->login_user : s->user_startup);
    if (s->user_pending == NULL)
        pv_session_fail(s, PV_NOMEM);
}

void
pv_person_forget(struct pv_session *s)
{
    pv_free(s->user_pending);
    s->user_pending = NULL;
}

void
pv_person_ready(struct pv_session *s)
{
    if (s->user_pending == NULL)
        return;
    /* A reload since the judgement may have taken the end user's place away. */
    if (s->track.status == 'I' && !pv_person_switch(s, s->user_pending))
        pv_session_fatal(s, "42501", "the clean room is no longer open to this user");
    pv_person_forget(s);
}

/* A message behind a change in the same segment would be judged for one person and run for another. */
void
pv_person_refuse(struct pv_session *s, uint8_t tag)
{
    static const struct {
        uint8_t tag;
        enum pv_request_kind kind;
    } rows[] = {
        {PV_CLIENT_PARSE, PV_REQUEST_PARSE},       {PV_CLIENT_BIND, PV_REQUEST_BIND},
        {PV_CLIENT_DESCRIBE, PV_REQUEST_DESCRIBE}, {PV_CLIENT_EXECUTE, PV_REQUEST_EXECUTE},
        {PV_CLIENT_QUERY, PV_REQUEST_QUERY},       {PV_CLIENT_FUNCTION_CALL, PV_REQUEST_QUERY},
    };
    struct pv_request *r;
    struct pv_error error;

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        if (rows[i].tag != tag)
            continue;
        r = pv_request_new(s, rows[i].kind);
        if (r == NULL)
            return;
        pv_error_simple(&error, "25001", "the end user cannot be changed beside other statements");
        error.hint = "Send the statement by itself, outside of a transaction.";
        pv_request_poison(s, r, &error);
        if (rows[i].kind == PV_REQUEST_QUERY) {
            r->is_reset = true;
            s->is_changing_user = false;
        }
        if (tag == PV_CLIENT_PARSE || tag == PV_CLIENT_EXECUTE || rows[i].kind == PV_REQUEST_QUERY)
            pv_trail_unread(s, r, rows[i].kind != PV_REQUEST_QUERY, "setting: behind a change of the end user",
                            error.sqlstate);
        pv_request_push(s, r);
        return;
    }
}
