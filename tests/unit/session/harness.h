/*
 * A session with a host, a judge and a policy of the test's own. The judge knows a
 * toy language: DENY… is denied, SYNTAX… does not parse, ASK… is a question with a threshold, one parameter
 * n (1 to 10), 5 rows at most and one second, GEN… is allowed under generation 1 alone, TEXT… is
 * forwarded with another text in each generation, DATA… reads data set public.d for question q and takes runs of both,
 * while consent stands, AGAIN n is a question that a server may prepare with $1 for n from its third time on, REPEAT…
 * another, in generation 1, that it may prepare as it stands (of a Parse both are), transaction and naming commands are what they say; all else is an
 * allowed SELECT. What is forwarded is the text behind "F ".
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef HARNESS_PLAIN /* without cmocka, for fuzzing */
#include "proxy/base/base.h"
#define assert_true(claim) pv_assert(claim)
#define assert_false(claim) pv_assert(!(claim))
#define assert_non_null(pointer) pv_assert((pointer) != NULL)
#define assert_int_equal(a, b) pv_assert((a) == (b))
#else
#include <cmocka.h>
#endif

#include "policy/decide.h"
#include "policy/param.h"
#include "policy/repeat.h"
#include "policy/standing.h"
#include "proxy/base/arena.h"
#include "proxy/base/bytes.h"
#include "proxy/session/session.h"
#include "proxy/session/session_int.h"
#include "proxy/session/side_int.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1700000000000000)

/* ---- Policy ---- */

struct world {
    struct pv_policy policies[3]; /* generation 1, 2, and 3, where the member is gone */
    struct pv_room rooms[2];
    struct pv_user users[3];
    struct pv_member member;
    struct pv_upstream_host upstream_host;
    struct pv_upstream upstream;
    struct pv_question question;
    struct pv_parameter parameter;
    const struct pv_parameter *parameters[1];
    uint32_t oids[1];
};

static struct world world;
/* What stands before every forwarded text; empty where a real server has to understand it. */
static const char *toy_prefix = "F ";

static inline void
world_make(void)
{
    static const char *const roles[] = {"analyst"};
    bool is_array;

    memset(&world, 0, sizeof(world));
    world.upstream_host = (struct pv_upstream_host) {"h", 1};
    world.upstream = (struct pv_upstream) {.name = "main", .hosts = &world.upstream_host, .host_count = 1, .dbname = "d", .user = "u"};
    world.member = (struct pv_member) {"alice", "acme", roles, 1};
    world.rooms[0] = (struct pv_room) {.name = "room", .upstream = &world.upstream, .timezone = "UTC",
                                       .members = &world.member, .member_count = 1};
    world.rooms[1] = (struct pv_room) {.name = "room", .upstream = &world.upstream, .timezone = "UTC"};
    world.users[0] = (struct pv_user) {.name = "alice", .cert_cn = "alice"};
    world.users[1] = (struct pv_user) {.name = "bob", .cert_cn = "bob"};
    for (size_t i = 0; i < 3; i++) {
        struct pv_policy *policy = &world.policies[i];

        atomic_init(&policy->refs, 1);
        policy->generation = i + 1;
        policy->users = world.users;
        policy->user_count = 2;
        policy->rooms = &world.rooms[i == 2 ? 1 : 0];
        policy->room_count = 1;
        policy->config.query_bytes_max = 4096;
        policy->config.pool_auto_prepare = 2;
        policy->config.login_timeout_ms = 15000;
        policy->config.is_logging_parameters = true;
    }
    world.parameter = (struct pv_parameter) {.name = "n", .type = pv_param_type_find("integer", &is_array),
                                             .minimum = "1", .maximum = "10"};
    world.parameters[0] = &world.parameter;
    world.oids[0] = 23;
    world.question = (struct pv_question) {.id = "q", .type = PV_QUESTION_ANALYTICAL, .minimum_entities = 5,
                                           .max_rows = 5, .timeout_ms = 1000, .parameters = &world.parameter,
                                           .parameter_count = 1};
}

/* ---- Judge ---- */

static bool
starts(const char *text, const char *word)
{
    return strncasecmp(text, word, strlen(word)) == 0;
}

static const char *
word_after(struct pv_arena *arena, const char *text, size_t skip)
{
    const char *at = text;
    size_t len;

    for (size_t i = 0; i < skip; i++) {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    len = strcspn(at, " ;");
    return pv_arena_strndup(arena, at, len);
}

static void
deny(struct pv_decision *decision, enum pv_reason reason, const char *sqlstate, const char *message)
{
    decision->is_allowed = false;
    decision->reason = reason;
    decision->sqlstate = sqlstate;
    decision->message = message;
}

static void
judge_ask(struct pv_decision *decision)
{
    decision->question = &world.question;
    decision->is_redacted = true;
    decision->timeout_ms = 1000;
    if (decision->text.len > 0 && memchr(decision->text.data, '$', decision->text.len) != NULL) {
        decision->parameters = world.parameters;
        decision->parameter_oids = world.oids;
        decision->parameter_count = 1;
    }
}

/* Reads a data set for a question, and takes a run of it; not while consent is withdrawn. */
static void
judge_data(struct pv_arena *arena, const struct pv_caller *caller, struct pv_decision *decision)
{
    static const char *const questions[] = {"q"}, *const datasets[] = {"public.d"};
    static const struct pv_budget_demand demands[] = {
        {"question/room/q", PV_PER_DAY, 1, 3, false, "q", NULL},
        {"dataset/room/public.d", PV_PER_LIFETIME, 2, 9, true, "public.d", NULL},
        {"question-member/room/1/q/alice", PV_PER_MONTH, 1, 2, false, "q", "alice"}};

    decision->questions = (struct pv_names){questions, 1};
    decision->datasets = (struct pv_names){datasets, 1};
    decision->budgets = pv_arena_alloc(arena, sizeof(demands));
    if (decision->budgets == NULL)
        return;
    memcpy(decision->budgets, demands, sizeof(demands));
    decision->budget_count = PV_COUNT_OF(demands);
    if (pv_standing_withdrawn(caller->standing, "room", &decision->questions, &decision->datasets) != NULL)
        deny(decision, PV_REASON_CONSENT, "42501", "withdrawn");
}

static void
judge_words(struct pv_arena *arena, const struct pv_caller *caller, const char *text, struct pv_decision *decision)
{
    static const struct {
        const char *words;
        enum pv_statement_kind kind;
        size_t name_at; /* word that is the name; 0: none */
    } rows[] = {
        {"BEGIN", PV_KIND_BEGIN, 0},
        {"COMMIT", PV_KIND_COMMIT, 0},
        {"ROLLBACK TO", PV_KIND_ROLLBACK_TO, 2},
        {"ROLLBACK", PV_KIND_ROLLBACK, 0},
        {"SAVEPOINT", PV_KIND_SAVEPOINT, 1},
        {"RELEASE", PV_KIND_RELEASE, 1},
        {"PREPARE", PV_KIND_PREPARE, 1},
        {"EXECUTE", PV_KIND_EXECUTE, 1},
        {"DEALLOCATE ALL", PV_KIND_DEALLOCATE_ALL, 0},
        {"DEALLOCATE", PV_KIND_DEALLOCATE, 1},
        {"DECLARE", PV_KIND_DECLARE, 1},
        {"FETCH", PV_KIND_FETCH, 1},
        {"CLOSE", PV_KIND_CLOSE, 1},
        {"DISCARD ALL", PV_KIND_DISCARD_ALL, 0},
        {"RESET ALL", PV_KIND_RESET_ALL, 0},
        {"COPY", PV_KIND_COPY_OUT, 0},
    };

    decision->kind = PV_KIND_SELECT;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        if (!starts(text, rows[i].words))
            continue;
        decision->kind = rows[i].kind;
        if (rows[i].name_at > 0)
            decision->name = word_after(arena, text, rows[i].name_at);
        break;
    }
    if (decision->kind == PV_KIND_EXECUTE)
        (void) caller->prepared(caller->context, decision->name); /* what it names, the server knows too */
    if (starts(text, "SET ") || starts(text, "SET LOCAL ")) {
        bool is_local = starts(text, "SET LOCAL ");

        decision->kind = is_local ? PV_KIND_SET_LOCAL : PV_KIND_SET;
        decision->setting = word_after(arena, text, is_local ? 2 : 1);
        decision->value = word_after(arena, text, is_local ? 4 : 3);
    }
    if (starts(text, "SHOW ")) {
        decision->kind = PV_KIND_SHOW;
        decision->setting = word_after(arena, text, 1);
        decision->show_value = caller->search_path.count > 0 ? caller->search_path.names[0] : "";
    }
}

static void
release_repeat(void *repeat)
{
    pv_repeat_unref(repeat);
}

static enum pv_status
judge_repeat(struct pv_arena *arena, struct pv_decision *decision)
{
    static const uint32_t oids[] = {23};
    bool has_value = strncmp(decision->forwarded, "F AGAIN ", 8) == 0;
    struct pv_slice text = pv_slice_cstr(has_value ? "F AGAIN $1" : decision->forwarded);
    struct pv_slice *value = pv_arena_alloc(arena, sizeof(*value));
    struct pv_repeat *repeat = pv_repeat_new(text, oids, has_value ? 1 : 0);

    if (value == NULL || repeat == NULL || !pv_arena_keep(arena, release_repeat, repeat)) {
        pv_repeat_unref(repeat);
        return PV_NOMEM;
    }
    if (has_value)
        *value = pv_slice_of(decision->forwarded + 8, strlen(decision->forwarded) - 8);
    decision->repeat = repeat;
    decision->repeat_values = value;
    return PV_OK;
}

static enum pv_status
judge_text(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text, struct pv_decision *decision)
{
    const char *copy = pv_arena_strndup(arena, (const char *) text.data, text.len);

    if (copy == NULL)
        return PV_NOMEM;
    memset(decision, 0, sizeof(*decision));
    decision->text = text;
    decision->is_allowed = true;
    decision->forwarded = pv_arena_printf(arena, "%s%s", toy_prefix, copy);
    judge_words(arena, caller, copy, decision);
    if (text.len == 0) {
        decision->kind = PV_KIND_EMPTY;
        decision->forwarded = "";
    } else if (starts(copy, "DENY")) {
        deny(decision, PV_REASON_NOT_A_QUESTION, "42501", "not approved");
        decision->detail = "why";
        decision->hint = "what";
    } else if (starts(copy, "SYNTAX")) {
        decision->kind = PV_KIND_INVALID;
        deny(decision, PV_REASON_SYNTAX, "42601", "syntax error");
        decision->position = 1;
    } else if (starts(copy, "GEN") && caller->policy->generation != 1) {
        deny(decision, PV_REASON_NOT_A_QUESTION, "42501", "no more");
    } else if (starts(copy, "TEXT")) {
        decision->forwarded = pv_arena_printf(arena, "F%u %s", (unsigned) caller->policy->generation, copy);
    } else if (starts(copy, "AGAIN") || (starts(copy, "REPEAT") && caller->policy->generation == 1)) {
        return decision->forwarded == NULL ? PV_NOMEM : judge_repeat(arena, decision);
    } else if (starts(copy, "REPEAT")) {
        deny(decision, PV_REASON_NOT_A_QUESTION, "42501", "no more");
    } else if (strstr(copy, "ASK") != NULL) {
        judge_ask(decision);
    } else if (strstr(copy, "DATA") != NULL) {
        judge_data(arena, caller, decision);
        if (decision->budgets == NULL)
            return PV_NOMEM;
    }
    return decision->forwarded == NULL ? PV_NOMEM : PV_OK;
}

static enum pv_status
toy_query(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text, struct pv_decision **decisions,
          size_t *count)
{
    struct pv_decision *all = pv_arena_alloc(arena, 64 * sizeof(*all));
    size_t made = 0, at = 0;

    if (all == NULL)
        return PV_NOMEM;
    while (at <= text.len && made < 64) {
        size_t end = at;

        while (end < text.len && text.data[end] != ';')
            end++;
        while (at < end && text.data[at] == ' ')
            at++;
        if ((end > at || (made == 0 && end == text.len)) &&
            judge_text(arena, caller, pv_slice_of(text.data + at, end - at), &all[made++]) != PV_OK)
            return PV_NOMEM;
        at = end + 1;
    }
    if (made == 0 && judge_text(arena, caller, pv_slice_of("", 0), &all[made++]) != PV_OK)
        return PV_NOMEM;
    *decisions = all;
    *count = made;
    return PV_OK;
}

static enum pv_status
toy_parse(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text, const uint32_t *declared_oids,
          size_t declared_count, struct pv_decision *decision)
{
    enum pv_status status = judge_text(arena, caller, text, decision);
    struct pv_repeat *repeat;

    if (status != PV_OK || decision->repeat == NULL)
        return status;
    decision->repeat_values = NULL;
    repeat = pv_repeat_new(pv_slice_cstr(decision->forwarded), declared_oids, declared_count);
    decision->repeat = repeat;
    return repeat != NULL && pv_arena_keep(arena, release_repeat, repeat) ? PV_OK : PV_NOMEM;
}

static enum pv_status
toy_setting(struct pv_arena *arena, const struct pv_caller *caller, const char *name, const char *value,
            struct pv_decision *decision)
{
    (void) arena;
    (void) caller;
    memset(decision, 0, sizeof(*decision));
    decision->is_allowed = strcmp(name, "role") != 0;
    decision->sqlstate = "42501";
    decision->message = "the setting is not one that a client may change";
    decision->setting = name;
    decision->value = value;
    return PV_OK;
}

static const struct pv_session_judge toy_judge = {toy_query, toy_parse, toy_setting};

/* ---- Host ---- */

struct stage {
    struct pv_session *session;
    struct pv_session_env env;
    struct pv_buf client, server; /* everything sent, not yet compared */
    struct pv_buf log;            /* one line a record */
    int64_t now_us;
    uint64_t ticket;      /* of the last record */
    bool is_log_manual;   /* tickets complete when the test says so */
    bool is_log_refusing; /* record() fails at once */
    bool is_closed, is_server_asked, is_tls_started, is_paused;
    unsigned cancels, cancel_requests, asks, releases, folds;
    bool is_shared;           /* servers are, and these are they */
    struct pv_side *sides[2];
    uint32_t key_pid;
    size_t key_len;
};

static void
stage_to_client(void *context, struct pv_slice bytes)
{
    pv_buf_put_slice(&((struct stage *) context)->client, bytes);
}

static void
stage_to_server(void *context, struct pv_slice bytes)
{
    pv_buf_put_slice(&((struct stage *) context)->server, bytes);
}

static void
stage_start_tls(void *context)
{
    ((struct stage *) context)->is_tls_started = true;
}

static void
stage_open_server(void *context, const struct pv_room *room)
{
    assert_non_null(room);
    ((struct stage *) context)->is_server_asked = true;
    ((struct stage *) context)->asks++;
}

static void
stage_cancel_server(void *context)
{
    ((struct stage *) context)->cancels++;
}

static void
stage_cancel_request(void *context, uint32_t pid, struct pv_slice key)
{
    (void) pid;
    (void) key;
    ((struct stage *) context)->cancel_requests++;
}

static void
stage_register_key(void *context, uint32_t pid, struct pv_slice key)
{
    ((struct stage *) context)->key_pid = pid;
    ((struct stage *) context)->key_len = key.len;
}

static void
log_begin(struct pv_buf *log, const struct pv_statement_begin *begin)
{
    pv_buf_printf(log, "%s %.*s", begin->is_allowed ? "allowed" : "denied", begin->has_query ? (int) begin->query.len : 1,
                  begin->has_query ? (const char *) begin->query.data : "-");
    if (!begin->has_query)
        pv_buf_printf(log, " (%s)", begin->reason);
    if (begin->parameters != NULL)
        pv_buf_printf(log, " %s", begin->parameters);
    if (begin->question != NULL)
        pv_buf_printf(log, " question=%s", begin->question);
    for (size_t i = 0; i < begin->take_count; i++)
        pv_buf_printf(log, " takes=%s/%s/%llu", begin->takes[i].key, begin->takes[i].period,
                      (unsigned long long) begin->takes[i].runs);
}

static enum pv_status
stage_record(void *context, const struct pv_record *record, uint64_t *ticket)
{
    struct stage *stage = context;
    static const char *const suppressed[] = {"", " none", " some"};
    static const char *const outcomes[] = {"completed", "failed", "cancelled", "lost"};

    if (stage->is_log_refusing)
        return PV_IO;
    if (record->kind == PV_RECORD_EVENT) {
        pv_buf_printf(&stage->log, "event %s %s\n", record->event->event,
                      record->event->detail == NULL ? "" : record->event->detail);
    } else {
        pv_buf_put_text(&stage->log, record->kind == PV_RECORD_BEGIN ? "begin " : record->kind == PV_RECORD_END ? "end" : "whole ");
        if (record->begin != NULL)
            log_begin(&stage->log, record->begin);
        if (record->end != NULL)
            pv_buf_printf(&stage->log, " %s rows=%llu%s%s%s", outcomes[record->end->outcome],
                          (unsigned long long) record->end->rows, suppressed[record->end->suppressed],
                          record->end->sqlstate == NULL ? "" : " ",
                          record->end->sqlstate == NULL ? "" : record->end->sqlstate);
        pv_buf_put_u8(&stage->log, '\n');
    }
    *ticket = stage->is_log_manual ? ++stage->ticket : 0;
    return PV_OK;
}

static void
stage_random(void *context, void *bytes, size_t len)
{
    (void) context;
    memset(bytes, 0x4B, len);
}

static void
stage_pause(void *context, bool is_paused)
{
    ((struct stage *) context)->is_paused = is_paused;
}

static void
stage_close(void *context)
{
    ((struct stage *) context)->is_closed = true;
}

static void
stage_release_server(void *context)
{
    ((struct stage *) context)->releases++;
}

static const struct pv_session_host stage_host = {
    stage_to_client, stage_to_server,    stage_start_tls,    stage_open_server, stage_cancel_server, stage_cancel_request,
    stage_register_key, stage_record, stage_random, stage_pause, stage_close, .release_server = stage_release_server,
};

static inline void
stage_open(struct stage *stage)
{
    memset(stage, 0, sizeof(*stage));
    world_make();
    stage->now_us = NOW;
    stage->env.host = &stage_host;
    stage->env.judge = &toy_judge;
    stage->env.has_tls = true;
    stage->env.mock_secret = pv_slice_of("mock", 4);
    stage->env.is_strict = true;
    stage->session = pv_session_new(&stage->env, &world.policies[0], NULL, stage, 7, "10.0.0.1:5", false, NOW);
    assert_non_null(stage->session);
}

static inline void
stage_close_all(struct stage *stage)
{
    pv_session_free(stage->session);
    for (size_t i = 0; i < PV_COUNT_OF(stage->sides); i++)
        pv_side_free(stage->sides[i]);
    pv_buf_clear(&stage->client);
    pv_buf_clear(&stage->server);
    pv_buf_clear(&stage->log);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(atomic_load(&world.policies[i].refs), 1);
}

/* A host folds sessions that it finds at rest: that changes nothing. What is at rest can be folded. */
static inline void
stage_rest(struct stage *stage)
{
    struct pv_session *s = stage->session;
    bool is_resting;

    pv_session_rest(s);
    is_resting = s->phase == PV_PHASE_READY && pv_session_is_at_rest(s) && s->auditor == NULL && s->gate_count == 0 &&
                 !s->is_draining && pv_buf_len(&s->client_in) == 0 && s->oversize == NULL && s->peers.count == 0;
    /* A second try: the allocation that a test wants to fail may be one of these. */
    if (pv_session_fold(&stage->session) || pv_session_fold(&stage->session))
        stage->folds++;
    else
        assert_false(is_resting);
    if (pv_session_unfold(&stage->session) != PV_OK)
        assert_int_equal(pv_session_unfold(&stage->session), PV_OK);
}

static inline void
stage_client(struct stage *stage, const void *data, size_t len)
{
    pv_session_client_bytes(stage->session, stage->now_us, pv_slice_of(data, len));
    stage_rest(stage);
}

static inline void
stage_server(struct stage *stage, const void *data, size_t len)
{
    pv_session_server_bytes(stage->session, stage->now_us, pv_slice_of(data, len));
    stage_rest(stage);
}

static inline void
stage_startup(struct stage *stage, uint32_t version, const char *const *pairs, size_t count)
{
    struct pv_msg_startup_param params[16];
    struct pv_msg_startup startup = {version, count, params};
    struct pv_buf out = {0};

    for (size_t i = 0; i < count; i++) {
        params[i].name = pv_slice_cstr(pairs[2 * i]);
        params[i].value = pv_slice_cstr(pairs[2 * i + 1]);
    }
    assert_int_equal(pv_msg_startup_write(&out, &startup), PV_OK);
    stage_client(stage, pv_buf_slice(&out).data, pv_buf_len(&out));
    pv_buf_clear(&out);
}

static inline void
stage_server_open(struct stage *stage)
{
    static const char *const names[] = {"server_version", "client_encoding", "is_superuser", "secret_guc"};
    static const char *const values[] = {"15.20", "UTF8", "on", "hidden"};
    static const uint8_t key[32] = {1};
    struct pv_server_facts facts = {4711, names, values, 4, {key, sizeof(key)}, NULL, NULL};

    for (size_t i = 0; stage->is_shared && i < PV_COUNT_OF(stage->sides); i++) {
        facts.pid = 4711 + (uint32_t) i;
        stage->sides[i] = pv_side_new(&facts, 2);
        assert_non_null(stage->sides[i]);
    }
    if (stage->is_shared) {
        pv_side_facts(stage->sides[0], true, &facts);
    } else {
        facts.home = stage->sides[0] = pv_side_new(&facts, 2); /* NULL where memory is short: then there is none */
    }
    pv_session_server_open(stage->session, stage->now_us, &facts);
}

/* A row of the server's settings, all at rest but for application_name. */
static inline void
stage_settings_row(struct stage *stage, const char *application)
{
    struct pv_msg_value columns[PV_TRACKED_MAX];
    size_t count = pv_tracked_count();
    struct pv_buf row = {0};

    for (size_t i = 0; i < count; i++) {
        columns[i].is_null = strcmp(pv_tracked_name(i), "application_name") != 0;
        columns[i].bytes = pv_slice_cstr(application);
    }
    assert_int_equal(pv_msg_data_row_write(&row, columns, count), PV_OK);
    stage_server(stage, pv_buf_slice(&row).data, pv_buf_len(&row));
    pv_buf_clear(&row);
}

/* Logs in alice by certificate, with these settings, and drops what was said so far. */
static inline void
stage_login_as(struct stage *stage, uint32_t version, bool is_shared)
{
    static const char *const pairs[] = {"user", "alice", "database", "room", "application_name", "app"};
    static const char setup_reply[] = "T\0\0\0\6\0\0"
                                      "D\0\0\0\6\0\0"
                                      "C\0\0\0\15SELECT 1\0"
                                      "C\0\0\0\15SELECT 1\0"
                                      "Z\0\0\0\5I";

    stage_open(stage);
    stage->is_shared = is_shared;
    pv_session_client_tls(stage->session, stage->now_us, pv_slice_of("hash", 4), "alice");
    stage_startup(stage, version, pairs, 3);
    assert_true(stage->is_server_asked);
    stage_server_open(stage);
    if (is_shared) {
        stage_settings_row(stage, "");
        stage_settings_row(stage, "app");
    }
    stage_server(stage, setup_reply, sizeof(setup_reply) - 1);
    assert_false(stage->is_closed);
}

static inline void
stage_login(struct stage *stage, uint32_t version)
{
    stage_login_as(stage, version, false);
}

static inline void
stage_forget(struct stage *stage)
{
    pv_buf_clear(&stage->client);
    pv_buf_clear(&stage->server);
    pv_buf_clear(&stage->log);
}

#endif
