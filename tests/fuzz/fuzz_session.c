/*
 * libFuzzer target: a logged-in session with both sides fed at will. The input is a list of pieces: a byte that says
 * who speaks or what happens and how long the piece is, then its bytes.
 *
 * Claims: nothing is read or written out of bounds, nothing leaks, no input reaches an assertion; a text that the
 * judge denies never goes to the server; nothing goes to the server behind a refused record.
 */
#define HARNESS_PLAIN
#include "tests/unit/session/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
happen(struct stage *stage, unsigned what)
{
    switch (what) {
    case 0:
        pv_session_tick(stage->session, stage->now_us += 2000000);
        break;
    case 1:
        pv_session_recorded(stage->session, stage->now_us, stage->ticket, PV_OK);
        break;
    case 2:
        pv_session_recorded(stage->session, stage->now_us, stage->ticket, PV_IO);
        break;
    case 3:
        pv_session_cancel(stage->session, stage->now_us);
        break;
    case 4:
        pv_session_server_cancelled(stage->session, stage->now_us);
        break;
    case 5:
        pv_session_policy(stage->session, stage->now_us, &world.policies[1], NULL);
        break;
    case 6:
        pv_session_policy(stage->session, stage->now_us, &world.policies[0], NULL);
        break;
    case 7:
        pv_session_drain(stage->session, stage->now_us);
        break;
    case 8:
        stage->is_log_manual = true;
        break;
    case 9:
        stage->is_log_refusing = !stage->is_log_refusing;
        break;
    default:
        pv_session_client_eof(stage->session, stage->now_us);
        break;
    }
}

/* The judge denies what begins with DENY; an allowed text is forwarded behind "F ". */
static void
check_text(struct pv_slice text, bool is_query)
{
    pv_assert(text.len < 6 || memcmp(text.data, "F DENY", 6) != 0);
    pv_assert(!is_query || text.len < 8 || memmem(text.data, text.len, "; F DENY", 8) == NULL);
}

/* What went to the server is whole frames that a server can read. */
static void
check_server(struct stage *stage)
{
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_frame frame;

    while (arena != NULL && pv_buf_len(&stage->server) > 0) {
        struct pv_msg_parse parse;
        struct pv_slice text;

        pv_assert(pv_frame_next(pv_buf_slice(&stage->server), PV_FRAME_QUERY, PV_QUERY_BYTES_DEFAULT, &frame) == PV_OK);
        if (frame.tag == PV_CLIENT_QUERY) {
            pv_assert(pv_msg_text_read(frame.body, &text) == PV_OK);
            check_text(text, true);
        } else if (frame.tag == PV_CLIENT_PARSE) {
            pv_assert(pv_msg_parse_read(frame.body, arena, &parse) == PV_OK);
            check_text(parse.text, false);
        }
        pv_buf_consume(&stage->server, frame.total_len);
    }
    pv_arena_free(arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stage stage;

    stage_login(&stage, PV_PROTOCOL_3_0);
    stage_forget(&stage);
    while (size > 0) {
        unsigned what = data[0] >> 6, len = data[0] & 0x3F;

        data++;
        size--;
        if (what == 3) {
            happen(&stage, len % 11);
            continue;
        }
        if (what == 2)
            len *= 64;
        if (len > size)
            len = (unsigned) size;
        if (what == 1)
            stage_server(&stage, data, len);
        else
            stage_client(&stage, data, len);
        data += len;
        size -= len;
    }
    check_server(&stage);
    stage_close_all(&stage);
    return 0;
}
