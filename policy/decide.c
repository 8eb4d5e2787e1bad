#include "policy/decide.h"

#include <string.h>

#include "parser/place.h"
#include "parser/print.h"
#include "parser/walk.h"
#include "policy/decide_int.h"
#include "policy/functions.h"
#include "policy/settings.h"
#include "proxy/base/limits.h"

/*
 * The doors of the judgement. Each statement: parse, judge by kind, print what is forwarded from the judged tree,
 * check that the print parses back to the same tree. Nothing else ever becomes forwarded text; of a fixed question the
 * printing and checking may have been done at load, for all texts that differ in constants and names (parser/pieces.h).
 */

static const struct pv_sql_limits *
limits_of(const struct pv_caller *caller, struct pv_sql_limits *limits)
{
    *limits = pv_sql_limits_default;
    if (caller->policy != NULL)
        limits->bytes_max = (size_t) caller->policy->config.query_bytes_max;
    return limits;
}

/* The whole text is one denial: it does not parse, or must not be parsed. */
static void
deny_text(struct pv_trial *trial, enum pv_status status, const struct pv_sql_error *err)
{
    enum pv_reason reason = status == PV_LIMIT     ? PV_REASON_TOO_LONG
                            : status == PV_DEPTH   ? PV_REASON_TOO_DEEP
                            : status == PV_INVALID ? PV_REASON_ENCODING
                            : status == PV_SYNTAX  ? PV_REASON_SYNTAX
                                                   : PV_REASON_INTERNAL;

    trial->decision->kind = PV_KIND_INVALID;
    trial->decision->text = trial->text;
    (void) pv_deny(trial, reason, err->sqlstate[0] == '\0' ? pv_status_sqlstate(status) : err->sqlstate, -1, "%s",
                   err->message[0] == '\0' ? pv_status_words(status) : err->message);
    if (err->detail[0] != '\0')
        pv_deny_detail(trial, "%s", err->detail);
    if (err->hint[0] != '\0')
        pv_deny_hint(trial, "%s", err->hint);
    trial->decision->position = err->position > 0 ? (uint32_t) err->position : 0;
}

/* What does not parse, or must not be parsed: under --conformance the server is to say so. */
static enum pv_status
refuse_text(struct pv_trial *trial, enum pv_status status, const struct pv_sql_error *err)
{
    if (trial->caller->is_conformance)
        return pv_conform_unread(trial);
    deny_text(trial, status, err);
    return PV_OK;
}

enum pv_status
pv_find_place(struct pv_trial *trial, const Node *stmt, struct pv_slice printed)
{
    int location = -1;
    enum pv_status status;

    if (trial->place == NULL || strcmp(trial->decision->forwarded, trial->place->forwarded) != 0)
        return PV_OK;
    status = pv_place_find(stmt, printed, (int) trial->place->offset, trial->place->is_own, pv_substituted_location,
                           &location);

    if (status == PV_OK)
        trial->place->position = (uint32_t) pv_text_position(trial->text, location);
    return status;
}

static enum pv_status
print_forwarded(struct pv_trial *trial, const Node *stmt)
{
    struct pv_buf text = {0};
    const char *what = NULL;
    enum pv_status status = pv_print_checked(stmt, &text, &what);

    if (status == PV_OK) {
        trial->decision->forwarded =
            pv_arena_strndup(trial->arena, (const char *) pv_buf_slice(&text).data, pv_buf_len(&text));
        if (trial->decision->forwarded == NULL)
            status = PV_NOMEM;
        else
            status = pv_find_place(trial, stmt, pv_buf_slice(&text));
    } else if (status == PV_DENIED) {
        status = pv_deny_question(trial, PV_REASON_CLAUSE, -1, "%s is not allowed.", what == NULL ? "This" : what);
    } else if (status != PV_NOMEM) {
        status = pv_deny(trial, status == PV_DEPTH ? PV_REASON_TOO_DEEP : PV_REASON_INTERNAL,
                         status == PV_DEPTH ? "54001" : "XX000", -1,
                         status == PV_DEPTH ? "statement is nested too deeply"
                                            : "the statement could not be rewritten exactly and was not sent");
    }
    pv_buf_clear(&text);
    return status;
}

static enum pv_status
check_declared(struct pv_trial *trial)
{
    for (size_t i = 0; i < trial->declared_count && !trial->caller->is_conformance; i++)
        if (!pv_type_is_declarable(trial->declared_oids[i]))
            return pv_deny(trial, PV_REASON_TYPE, "42704", -1, "type with OID %u does not exist",
                           (unsigned) trial->declared_oids[i]);
    return PV_OK;
}

static enum pv_status
check_room(struct pv_trial *trial)
{
    const struct pv_room *room = trial->caller->room;

    if (room->has_expiry && trial->caller->now_us >= room->expires_us) {
        enum pv_status status = pv_deny(trial, PV_REASON_EXPIRED, "42501", -1, "clean room \"%s\" expired on %s",
                                        room->name, room->expires);

        pv_deny_hint(trial, "Ask the room's parties to renew it.");
        return status;
    }
    return PV_OK;
}

static enum pv_status
judge(struct pv_trial *trial, Node *stmt)
{
    struct pv_decision *decision = trial->decision;
    enum pv_status status;

    decision->kind = PV_KIND_SELECT;
    if (trial->caller->is_conformance) {
        status = pv_conform(trial, stmt);
    } else if (IsA(stmt, SelectStmt)) {
        status = check_room(trial);
        if (status == PV_OK)
            pv_note_path_call(trial, (SelectStmt *) stmt);
        trial->is_composing = trial->place == NULL;
        if (status == PV_OK)
            status = pv_judge_select(trial, &stmt);
    } else {
        status = pv_judge_utility(trial, &stmt);
        /* An expired room still lets a session end its transactions and say what it is. */
        if (status == PV_OK && (decision->kind == PV_KIND_PREPARE || decision->kind == PV_KIND_EXECUTE ||
                                decision->kind == PV_KIND_DECLARE || decision->kind == PV_KIND_FETCH ||
                                decision->kind == PV_KIND_COPY_OUT))
            status = check_room(trial);
    }
    if (status == PV_OK && trial->composed != NULL)
        decision->forwarded = trial->composed;
    else if (status == PV_OK && !trial->caller->is_conformance)
        status = print_forwarded(trial, stmt);
    decision->is_allowed = status == PV_OK;
    if (status == PV_OK) {
        decision->reason = PV_REASON_ALLOWED;
        decision->parameters = trial->parameters;
        decision->parameter_oids = trial->parameter_oids;
        decision->twins = trial->has_twins ? trial->twins : NULL;
        decision->parameter_count = trial->parameter_count;
    }
    if (status != PV_OK && status != PV_DENIED && status != PV_NOMEM)
        status = pv_deny(trial, PV_REASON_INTERNAL, pv_status_sqlstate(status), -1, "the statement could not be judged: %s",
                         pv_status_words(status));
    /* Who wrote the denial may know better; what can be asked at all can always be told. */
    if (status == PV_DENIED && trial->is_off_list && decision->hint == NULL)
        decision->hint = pv_hint_questions;
    return status == PV_DENIED ? PV_OK : status;
}

static struct pv_decision *
empty_decision(struct pv_arena *arena, struct pv_slice text)
{
    struct pv_decision *decision = pv_arena_alloc(arena, sizeof(*decision));

    if (decision != NULL) {
        decision->is_allowed = true;
        decision->kind = PV_KIND_EMPTY;
        decision->text = text;
        decision->forwarded = "";
    }
    return decision;
}

struct pv_prepared_facts
pv_decision_facts(const struct pv_decision *decision)
{
    return (struct pv_prepared_facts){.parameters = decision->parameters,
                                      .twins = decision->twins,
                                      .parameter_count = decision->parameter_count,
                                      .is_redacted = decision->is_redacted,
                                      .question = decision->question,
                                      .forwarded = decision->forwarded,
                                      .datasets = decision->datasets,
                                      .columns = decision->columns};
}

/* PREPARE earlier in the same text is known to EXECUTE later in it. */
struct pending {
    const struct pv_caller *outer;
    const struct pv_decision *decisions;
    size_t count;
    struct pv_prepared_facts facts;
};

static const struct pv_prepared_facts *
find_prepared(void *context, const char *name)
{
    struct pending *pending = context;

    for (size_t i = pending->count; i > 0; i--) {
        const struct pv_decision *decision = &pending->decisions[i - 1];

        if (!decision->is_allowed || decision->kind != PV_KIND_PREPARE || strcmp(decision->name, name) != 0)
            continue;
        pending->facts = pv_decision_facts(decision);
        return &pending->facts;
    }
    return pending->outer->prepared == NULL ? NULL : pending->outer->prepared(pending->outer->context, name);
}

static enum pv_status
judge_all(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text, struct pv_sql *sql,
          struct pv_decision *decisions)
{
    struct pending pending = {.outer = caller, .decisions = decisions};
    struct pv_caller inner = *caller;
    enum pv_status status = PV_OK;

    inner.prepared = find_prepared;
    inner.context = &pending;
    for (unsigned i = 0; i < pv_sql_count(sql) && status == PV_OK; i++) {
        struct pv_trial trial = {
            .arena = arena, .caller = &inner, .text = text, .sql = sql, .decision = &decisions[i],
            .place = caller->place != NULL && caller->place->index == i ? caller->place : NULL};

        pending.count = i;
        decisions[i].text = pv_sql_text(sql, i);
        /* The parse copies the text; the decision speaks of the caller's own bytes where it can. */
        status = judge(&trial, pv_sql_stmt(sql, i));
    }
    return status;
}

/* pv_sql_text borrows from the parse, which goes: the texts move into the arena. */
static enum pv_status
keep_texts(struct pv_arena *arena, struct pv_decision *decisions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *copy = pv_arena_strndup(arena, (const char *) decisions[i].text.data, decisions[i].text.len);

        if (copy == NULL)
            return PV_NOMEM;
        decisions[i].text.data = (const uint8_t *) copy;
    }
    return PV_OK;
}

/* Parses; `statement` is set where the text was parsed in another spelling, as one statement. */
static enum pv_status
parse_text(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text, struct pv_sql **sql,
           struct pv_sql_error *err, struct pv_slice *statement)
{
    struct pv_sql_limits limits;
    struct pv_slice quoted, sent;
    struct pv_sql_error ignored = {0};
    enum pv_status status = caller->is_backslashed ? PV_SYNTAX : pv_sql_parse(text, limits_of(caller, &limits), sql, err);
    enum pv_status again;

    if (status != PV_SYNTAX || caller->is_conformance)
        return status;
    again = pv_end_user_quote(arena, text, &quoted, &sent);
    if (again == PV_OK)
        again = pv_sql_parse(quoted, &limits, sql, &ignored);
    if (again == PV_OK && pv_sql_count(*sql) == 1) {
        *statement = sent;
        return PV_OK;
    }
    if (again == PV_OK) {
        pv_sql_free(*sql);
        *sql = NULL;
    }
    return again == PV_NOMEM ? again : status;
}

enum pv_status
pv_decide_query(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
                struct pv_decision **decisions, size_t *count)
{
    struct pv_sql_error err = {0};
    struct pv_slice statement = {NULL, 0};
    struct pv_sql *sql = NULL;
    struct pv_decision *list = NULL;
    size_t statements = 1;
    enum pv_status status = parse_text(arena, caller, text, &sql, &err, &statement);

    if (status == PV_NOMEM)
        return status;
    if (status != PV_OK) {
        struct pv_trial trial = {.arena = arena, .caller = caller, .text = text};

        list = pv_arena_alloc(arena, sizeof(*list));
        if (list == NULL)
            return PV_NOMEM;
        trial.decision = list;
        status = refuse_text(&trial, status, &err);
    } else if (pv_sql_count(sql) == 0) {
        list = empty_decision(arena, text);
        status = list == NULL ? PV_NOMEM : PV_OK;
    } else {
        statements = pv_sql_count(sql);
        list = pv_arena_alloc(arena, statements * sizeof(*list));
        status = list == NULL ? PV_NOMEM : judge_all(arena, caller, text, sql, list);
        if (status == PV_OK && statement.len > 0)
            list[0].text = statement;
        if (status == PV_OK)
            status = keep_texts(arena, list, statements);
    }
    pv_sql_free(sql);
    if (status == PV_OK) {
        *decisions = list;
        *count = statements;
    }
    return status;
}

enum pv_status
pv_decide_parse(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
                const uint32_t *declared_oids, size_t declared_count, struct pv_decision *decision)
{
    struct pv_sql_error err = {0};
    struct pv_slice statement = {NULL, 0};
    struct pv_sql *sql = NULL;
    struct pv_trial trial = {.arena = arena,
                             .caller = caller,
                             .text = text,
                             .decision = decision,
                             .declared_oids = declared_oids,
                             .declared_count = declared_count,
                             .has_parameters = true,
                             .place = caller->place};
    enum pv_status status = parse_text(arena, caller, text, &sql, &err, &statement);

    memset(decision, 0, sizeof(*decision));
    if (status == PV_NOMEM)
        return status;
    if (status != PV_OK)
        return refuse_text(&trial, status, &err);
    trial.sql = sql;
    if (pv_sql_count(sql) == 0) {
        *decision = (struct pv_decision){.is_allowed = true, .kind = PV_KIND_EMPTY, .text = text, .forwarded = ""};
    } else if (pv_sql_count(sql) > 1) {
        decision->kind = PV_KIND_INVALID;
        decision->text = text;
        (void) pv_deny(&trial, PV_REASON_SYNTAX, "42601", -1,
                       "cannot insert multiple commands into a prepared statement");
    } else {
        decision->text = pv_sql_text(sql, 0);
        decision->kind = PV_KIND_INVALID;
        if (check_declared(&trial) == PV_OK)
            status = judge(&trial, pv_sql_stmt(sql, 0));
        if (statement.len > 0)
            decision->text = statement;
        if (status == PV_OK)
            status = keep_texts(arena, decision, 1);
    }
    pv_sql_free(sql);
    return status;
}

enum pv_status
pv_decide_setting(struct pv_arena *arena, const struct pv_caller *caller, const char *name, const char *value,
                  struct pv_decision *decision)
{
    const struct pv_setting *setting = pv_setting_find(name);
    struct pv_trial trial = {.arena = arena, .caller = caller, .decision = decision};

    memset(decision, 0, sizeof(*decision));
    decision->kind = PV_KIND_SET;
    if (caller->is_conformance) {
        /* By the name that a RESET of it is known by; search_path and whom a service asks for are the server's matter here. */
        decision->setting = setting != NULL && setting->class == PV_SETTING_FORWARD ? setting->name : NULL;
        decision->is_allowed = true;
        decision->value = pv_arena_strdup(arena, value);
        return decision->value == NULL ? PV_NOMEM : PV_OK;
    }
    if (setting == NULL) {
        (void) pv_deny(&trial, PV_REASON_SETTING, "42704", -1, "unrecognized configuration parameter \"%s\"", name);
        return PV_OK;
    }
    if (setting->class == PV_SETTING_SHOWN) {
        (void) pv_deny(&trial, PV_REASON_SETTING, "55P02", -1, "parameter \"%s\" cannot be changed", setting->name);
        return PV_OK;
    }
    if ((setting->class == PV_SETTING_FORWARD || setting->class == PV_SETTING_FIXED) &&
        !pv_setting_value_is_allowed(setting, value)) {
        (void) pv_deny(&trial, PV_REASON_SETTING, "42501", -1,
                       "parameter \"%s\" cannot be set to \"%s\" in a clean room", setting->name, value);
        return PV_OK;
    }
    if (setting->class == PV_SETTING_USER && pv_judge_end_user(&trial, value) != PV_OK)
        return PV_OK;
    decision->is_allowed = true;
    decision->setting = setting->name;
    if (setting->class == PV_SETTING_FORWARD || setting->class == PV_SETTING_PATH ||
        setting->class == PV_SETTING_USER) {
        decision->value = pv_arena_strdup(arena, value);
        if (decision->value == NULL)
            return PV_NOMEM;
    }
    return PV_OK;
}
