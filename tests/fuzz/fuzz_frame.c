/*
 * libFuzzer target: any bytes, cut into frames in every phase, every message read.
 *
 * Claims: nothing is read or written out of bounds (the sanitizers say); a frame is
 * never longer than the bytes given; what was read can be written, and the frame
 * written equals the one read, save where a message leaves unknown fields out, and
 * then what was written reads and writes back the same.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire/roundtrip.h"

#define QUERY_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pv_frame
written_frame(const struct pv_buf *out, enum pv_frame_phase phase)
{
    struct pv_frame frame;

    pv_assert(pv_frame_next(pv_buf_slice(out), phase, PV_QUERY_BYTES_DEFAULT, &frame) == PV_OK);
    pv_assert(frame.total_len == pv_buf_len(out));
    return frame;
}

static void
message_try(const struct roundtrip *row, struct pv_slice body, struct pv_arena *arena)
{
    struct pv_buf out = {0};
    struct pv_buf again = {0};
    struct pv_frame frame;

    if (row->fn(body, arena, &out) != PV_OK) {
        pv_assert(pv_buf_len(&out) == 0);
        pv_buf_clear(&out);
        return;
    }
    frame = written_frame(&out, row->phase);
    if (row->is_lenient) {
        pv_assert(row->fn(frame.body, arena, &again) == PV_OK);
        frame = written_frame(&again, row->phase);
        pv_assert(pv_slice_equal(pv_buf_slice(&out), pv_buf_slice(&again)));
    } else
        pv_assert(pv_slice_equal(frame.body, body));
    pv_buf_clear(&out);
    pv_buf_clear(&again);
}

/* A body alone in memory of its own size, so that a read past its end is seen. */
static void
body_try(const struct pv_frame *frame, enum pv_frame_phase phase, struct pv_arena *arena)
{
    uint8_t *copy = malloc(frame->body.len == 0 ? 1 : frame->body.len);

    if (copy == NULL)
        return;
    if (frame->body.len > 0)
        memcpy(copy, frame->body.data, frame->body.len);
    for (size_t i = 0; i < PV_COUNT_OF(roundtrips); i++)
        if (roundtrips[i].phase == phase && roundtrips[i].tag == frame->tag)
            message_try(&roundtrips[i], pv_slice_of(copy, frame->body.len), arena);
    free(copy);
    pv_arena_reset(arena);
}

static void
stream_try(struct pv_slice bytes, enum pv_frame_phase phase, struct pv_arena *arena)
{
    struct pv_frame frame;

    for (;;) {
        enum pv_status status = pv_frame_next(bytes, phase, QUERY_MAX, &frame);

        if (status == PV_OK) {
            pv_assert(frame.total_len <= bytes.len && frame.total_len > 0);
            body_try(&frame, phase, arena);
        } else if (status != PV_LIMIT || frame.total_len > bytes.len)
            break;
        bytes = pv_slice_of(bytes.data + frame.total_len, bytes.len - frame.total_len);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum pv_frame_phase phases[] = {PV_FRAME_STARTUP, PV_FRAME_AUTH, PV_FRAME_QUERY, PV_FRAME_BACKEND};
    struct pv_arena *arena = pv_arena_new(0);

    if (arena == NULL)
        return 0;
    for (size_t i = 0; i < PV_COUNT_OF(phases); i++)
        stream_try(pv_slice_of(data, size), phases[i], arena);
    pv_arena_free(arena);
    return 0;
}
