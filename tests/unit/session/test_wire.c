/*
 * Replays the transcripts of tests/wire over the session engine: whole, cut in two at every byte,
 * byte by byte; the bytes that come out must be the same. tests/wire/README says what a line means.
 */
#include "harness.h"

#include <glob.h>

enum mode { MODE_WHOLE, MODE_CUT, MODE_BYTES };

struct replay {
    struct stage stage;
    enum mode mode;
    size_t cut, fed;     /* over all input of the transcript */
    struct pv_buf input; /* of one side, not yet fed */
    bool is_input_client, is_client_whole;
    struct pv_buf client, server, log; /* expected */
    const char *path;
    unsigned line;
};

/* ---- Frames as text ---- */

static const char *
put_string(struct pv_buf *out, const char *at)
{
    char quote = *at++;

    for (; *at != quote; at++) {
        unsigned code;

        assert_int_not_equal(*at, '\0');
        if (*at == '\\' && sscanf(at, "\\x%2x", &code) == 1) {
            pv_buf_put_u8(out, (uint8_t) code);
            at += 3;
        } else {
            pv_buf_put_u8(out, (uint8_t) *at);
        }
    }
    if (quote == '"')
        pv_buf_put_u8(out, 0);
    return at + 1;
}

static void
put_tokens(struct pv_buf *out, const char *at)
{
    while (*(at += strspn(at, " ")) != '\0') {
        char *end;

        if (*at == '"' || *at == '\'') {
            at = put_string(out, at);
            continue;
        }
        switch (*at) {
        case 'b':
            pv_buf_put_u8(out, (uint8_t) strtol(at + 1, &end, 10));
            break;
        case 'h':
            pv_buf_put_u16(out, (uint16_t) strtol(at + 1, &end, 10));
            break;
        case 'w':
            pv_buf_put_u32(out, (uint32_t) strtol(at + 1, &end, 10));
            break;
        default:
            fail_msg("unknown token: %s", at);
            return;
        }
        at = end;
    }
}

/* ERROR 42501 "message" "detail" "hint"; FATAL likewise. */
static void
put_error(struct pv_buf *out, const char *text)
{
    static const char fields[] = "MDH";
    char severity[6], sqlstate[6];
    int used = 0;

    assert_int_equal(sscanf(text, "%5s %5s%n", severity, sqlstate, &used), 2);
    pv_buf_printf(out, "S%s%cV%s%cC%s%c", severity, 0, severity, 0, sqlstate, 0);
    text += used;
    for (size_t i = 0; *(text += strspn(text, " ")) != '\0'; i++) {
        assert_true(i < 3);
        pv_buf_put_u8(out, (uint8_t) fields[i]);
        text = put_string(out, text);
    }
    pv_buf_put_u8(out, 0);
}

static void
put_frame(struct pv_buf *out, const char *text)
{
    size_t start = pv_buf_len(out);
    bool is_error = starts(text, "ERROR ") || starts(text, "FATAL ");

    pv_buf_put_u8(out, is_error ? 'E' : (uint8_t) text[0]);
    pv_buf_put_u32(out, 0);
    if (is_error)
        put_error(out, text);
    else
        put_tokens(out, text + 1);
    pv_buf_patch_u32(out, start + 1, (uint32_t) (pv_buf_len(out) - start - 1));
}

/* ---- Running ---- */

static void
feed_piece(struct replay *replay, const uint8_t *data, size_t len)
{
    if (len == 0)
        return;
    if (replay->is_input_client)
        stage_client(&replay->stage, data, len);
    else
        stage_server(&replay->stage, data, len);
}

static void
feed(struct replay *replay)
{
    struct pv_slice input = pv_buf_slice(&replay->input);

    if (replay->is_input_client && replay->is_client_whole) {
        feed_piece(replay, input.data, input.len);
    } else if (replay->mode == MODE_BYTES) {
        for (size_t i = 0; i < input.len; i++)
            feed_piece(replay, input.data + i, 1);
    } else if (replay->mode == MODE_CUT && replay->cut > replay->fed && replay->cut < replay->fed + input.len) {
        size_t at = replay->cut - replay->fed;

        feed_piece(replay, input.data, at);
        feed_piece(replay, input.data + at, input.len - at);
    } else {
        feed_piece(replay, input.data, input.len);
    }
    replay->fed += input.len;
    pv_buf_clear(&replay->input);
}

static void
print_bytes(const char *what, struct pv_slice bytes)
{
    fprintf(stderr, "%s: ", what);
    for (size_t i = 0; i < bytes.len; i++)
        fprintf(stderr, bytes.data[i] >= 0x20 && bytes.data[i] < 0x7F ? "%c" : "\\x%02x", bytes.data[i]);
    fputc('\n', stderr);
}

static void
compare(struct replay *replay, const char *side, struct pv_buf *expected, struct pv_buf *found)
{
    if (!pv_slice_equal(pv_buf_slice(expected), pv_buf_slice(found))) {
        print_bytes("expected", pv_buf_slice(expected));
        print_bytes("found   ", pv_buf_slice(found));
        fail_msg("%s:%u: %s differs (mode %d, cut %zu)", replay->path, replay->line, side, (int) replay->mode,
                 replay->cut);
    }
    pv_buf_clear(expected);
    pv_buf_clear(found);
}

static void
settle(struct replay *replay)
{
    feed(replay);
    compare(replay, "client", &replay->client, &replay->stage.client);
    compare(replay, "server", &replay->server, &replay->stage.server);
}

static void
give(struct replay *replay, bool is_client, const char *frame)
{
    bool is_checking = pv_buf_len(&replay->client) + pv_buf_len(&replay->server) > 0;

    if (is_checking || replay->is_input_client != is_client)
        settle(replay);
    replay->is_input_client = is_client;
    put_frame(&replay->input, frame);
}

/* A consent that nobody's key signed counts as withdrawn. */
static void
withdraw(struct stage *stage)
{
    static const struct pv_given_consent consent = {
        .room = "room", .kind = PV_SUBJECT_DATASET, .subject = "public.d", .party = "acme", .is_withdrawn = true, .at_us = 1};
    struct pv_standing *standing = NULL;

    assert_int_equal(pv_standing_new(stage->session->policy, NULL, 0, &consent, 1, &standing), PV_OK);
    pv_session_policy(stage->session, stage->now_us, stage->session->policy, standing);
    pv_standing_unref(standing);
}

static void
give_server(struct stage *stage, unsigned number)
{
    struct pv_server_facts facts;

    pv_side_facts(stage->sides[number], true, &facts);
    pv_session_server_open(stage->session, stage->now_us, &facts);
}

/* The first thing that a server gets makes it this session's; it answers. */
static void
check_out(struct replay *replay, const char *text)
{
    struct stage *stage = &replay->stage;
    struct pv_slice said = pv_buf_slice(&stage->server);
    struct pv_frame_head head;

    if (pv_frame_peek(said, PV_FRAME_QUERY, PV_QUERY_BYTES_DEFAULT, &head) != PV_OK || head.tag != PV_CLIENT_QUERY ||
        memmem(said.data, head.total_len, text, strlen(text)) == NULL)
        fail_msg("%s:%u: no Query holds %s (mode %d, cut %zu)", replay->path, replay->line, text, (int) replay->mode,
                 replay->cut);
    pv_buf_consume(&stage->server, head.total_len);
}

static void
run_verb(struct replay *replay, const char *line)
{
    struct stage *stage = &replay->stage;
    unsigned number = 0;

    settle(replay);
    if (strcmp(line, "manual") == 0)
        stage->is_log_manual = true;
    else if (strcmp(line, "whole") == 0)
        replay->is_client_whole = true;
    else if (strcmp(line, "refusing") == 0)
        stage->is_log_refusing = true;
    else if (strcmp(line, "durable") == 0)
        pv_session_recorded(stage->session, stage->now_us, stage->ticket, PV_OK);
    else if (strcmp(line, "lost") == 0)
        pv_session_recorded(stage->session, stage->now_us, stage->ticket, PV_IO);
    else if (strcmp(line, "cancel") == 0)
        pv_session_cancel(stage->session, stage->now_us);
    else if (strcmp(line, "cancelled") == 0)
        pv_session_server_cancelled(stage->session, stage->now_us);
    else if (strcmp(line, "eof") == 0)
        pv_session_client_eof(stage->session, stage->now_us);
    else if (strcmp(line, "drain") == 0)
        pv_session_drain(stage->session, stage->now_us);
    else if (strcmp(line, "closed") == 0)
        assert_true(stage->is_closed);
    else if (sscanf(line, "policy %u", &number) == 1)
        pv_session_policy(stage->session, stage->now_us, &world.policies[number - 1], NULL);
    else if (strcmp(line, "withdraw") == 0)
        withdraw(stage);
    else if (strcmp(line, "grant") == 0)
        pv_session_policy(stage->session, stage->now_us, stage->session->policy, NULL);
    else if (sscanf(line, "spent %u", &number) == 1)
        pv_session_spent(stage->session, stage->now_us, stage->ticket, number);
    else if (sscanf(line, "limit %u", &number) == 1)
        world.policies[0].config.query_bytes_max = number;
    else if (sscanf(line, "tick +%u", &number) == 1)
        pv_session_tick(stage->session, stage->now_us += (int64_t) number * 1000);
    else if (sscanf(line, "server %u", &number) == 1)
        give_server(stage, number);
    else if (sscanf(line, "asks %u", &number) == 1)
        assert_int_equal(stage->asks, number);
    else if (sscanf(line, "releases %u", &number) == 1)
        assert_int_equal(stage->releases, number);
    else if (starts(line, "away "))
        pv_session_server_lost(stage->session, stage->now_us, "08006", line + 5);
    else if (starts(line, "settings "))
        stage_settings_row(stage, line + 9);
    else if (sscanf(line, "cancels %u", &number) == 1)
        assert_int_equal(stage->cancels, number);
    else
        fail_msg("%s:%u: unknown line: %s", replay->path, replay->line, line);
}

static void
run_line(struct replay *replay, const char *line)
{
    if (starts(line, "checkout ")) {
        feed(replay);
        check_out(replay, line + 9);
        return;
    }
    if (line[0] == '#' || line[0] == '\0')
        return;
    if (starts(line, "C: ") && line[0] == 'C')
        give(replay, true, line + 3);
    else if (line[0] == 'S' && line[1] == ':')
        give(replay, false, line + 3);
    else if (line[0] == 'c' && line[1] == ':')
        put_frame(&replay->client, line + 3);
    else if (line[0] == 's' && line[1] == ':')
        put_frame(&replay->server, line + 3);
    else if (starts(line, "log: "))
        pv_buf_printf(&replay->log, "%s\n", line + 5);
    else
        run_verb(replay, line);
}

/* Gives the number of input bytes. */
static size_t
replay_file(const char *path, enum mode mode, size_t cut)
{
    struct replay replay = {.mode = mode, .cut = cut, .path = path};
    FILE *file = fopen(path, "r");
    char line[4096];

    assert_non_null(file);
    stage_login_as(&replay.stage, PV_PROTOCOL_3_0, strstr(path, "/shared_") != NULL);
    stage_forget(&replay.stage);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        replay.line++;
        run_line(&replay, line);
    }
    fclose(file);
    settle(&replay);
    if (pv_buf_len(&replay.log) > 0)
        compare(&replay, "log", &replay.log, &replay.stage.log);
    pv_buf_clear(&replay.log);
    assert_true(replay.stage.folds > 0);
    stage_close_all(&replay.stage);
    return replay.fed;
}

static void
test_transcripts(void **state)
{
    glob_t found;

    (void) state;
    assert_int_equal(glob("tests/wire/*.txt", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 10);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        size_t total = replay_file(found.gl_pathv[i], MODE_WHOLE, 0);

        assert_true(total > 0);
        (void) replay_file(found.gl_pathv[i], MODE_BYTES, 0);
        for (size_t cut = 1; cut < total; cut++)
            (void) replay_file(found.gl_pathv[i], MODE_CUT, cut);
    }
    globfree(&found);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transcripts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
