/* The pieces that messages share, and the messages that either side sends. */
#include "proxy/wire/message_int.h"

#include "proxy/wire/frame.h"

#include <string.h>

struct pv_msg_writer
pv_msg_writer_begin(struct pv_buf *out, uint8_t tag)
{
    struct pv_msg_writer writer = {.out = out, .start = pv_buf_len(out), .length_at = 0, .is_invalid = false};

    if (tag != 0)
        pv_buf_put_u8(out, tag);
    writer.length_at = pv_buf_len(out);
    pv_buf_put_u32(out, 0);
    return writer;
}

enum pv_status
pv_msg_writer_end(struct pv_msg_writer *writer)
{
    size_t length;

    if (!pv_buf_ok(writer->out)) {
        pv_buf_truncate(writer->out, writer->start);
        return PV_NOMEM;
    }
    length = pv_buf_len(writer->out) - writer->length_at;
    if (writer->is_invalid || length > PV_FRAME_BYTES_MAX) {
        pv_buf_truncate(writer->out, writer->start);
        return PV_INVALID;
    }
    pv_buf_patch_u32(writer->out, writer->length_at, (uint32_t) length);
    return PV_OK;
}

void
pv_msg_put_cstr(struct pv_msg_writer *writer, struct pv_slice text)
{
    if (text.len > 0 && memchr(text.data, 0, text.len) != NULL)
        writer->is_invalid = true;
    pv_buf_put_slice(writer->out, text);
    pv_buf_put_u8(writer->out, 0);
}

void
pv_msg_put_count(struct pv_msg_writer *writer, size_t count)
{
    if (count > UINT16_MAX) {
        writer->is_invalid = true;
        count = 0;
    }
    pv_buf_put_u16(writer->out, (uint16_t) count);
}

void
pv_msg_put_value(struct pv_msg_writer *writer, const struct pv_msg_value *value)
{
    if (value->is_null) {
        pv_buf_put_u32(writer->out, UINT32_MAX);
        return;
    }
    if (value->bytes.len > PV_FRAME_BYTES_MAX) {
        writer->is_invalid = true;
        return;
    }
    pv_buf_put_u32(writer->out, (uint32_t) value->bytes.len);
    pv_buf_put_slice(writer->out, value->bytes);
}

void
pv_msg_put_formats(struct pv_msg_writer *writer, const uint16_t *formats, size_t count)
{
    pv_msg_put_count(writer, count);
    for (size_t i = 0; i < count && !writer->is_invalid; i++) {
        if (formats[i] > 1)
            writer->is_invalid = true;
        pv_buf_put_u16(writer->out, formats[i]);
    }
}

void
pv_msg_put_oids(struct pv_msg_writer *writer, const uint32_t *oids, size_t count)
{
    pv_msg_put_count(writer, count);
    for (size_t i = 0; i < count && !writer->is_invalid; i++)
        pv_buf_put_u32(writer->out, oids[i]);
}

enum pv_status
pv_msg_read_array(struct pv_reader *reader, struct pv_arena *arena, size_t wire_size, size_t item_size, size_t *count,
                  void **items)
{
    uint16_t found;
    void *room;

    if (pv_read_u16(reader, &found) != PV_OK || reader->left / wire_size < found)
        return PV_PROTOCOL;
    room = pv_arena_alloc(arena, found == 0 ? 1 : found * item_size);
    if (room == NULL)
        return PV_NOMEM;
    *count = found;
    *items = room;
    return PV_OK;
}

enum pv_status
pv_msg_read_formats(struct pv_reader *reader, struct pv_arena *arena, size_t *count, const uint16_t **formats)
{
    size_t found;
    void *room;
    uint16_t *items;
    enum pv_status status = pv_msg_read_array(reader, arena, 2, sizeof(*items), &found, &room);

    if (status != PV_OK)
        return status;
    items = room;
    for (size_t i = 0; i < found; i++) {
        if (pv_read_u16(reader, &items[i]) != PV_OK)
            return PV_PROTOCOL;
        if (items[i] > 1)
            return PV_INVALID;
    }
    *count = found;
    *formats = items;
    return PV_OK;
}

enum pv_status
pv_msg_read_oids(struct pv_reader *reader, struct pv_arena *arena, size_t *count, const uint32_t **oids)
{
    size_t found;
    void *room;
    uint32_t *items;
    enum pv_status status = pv_msg_read_array(reader, arena, 4, sizeof(*items), &found, &room);

    if (status != PV_OK)
        return status;
    items = room;
    for (size_t i = 0; i < found; i++)
        if (pv_read_u32(reader, &items[i]) != PV_OK)
            return PV_PROTOCOL;
    *count = found;
    *oids = items;
    return PV_OK;
}

enum pv_status
pv_msg_read_value(struct pv_reader *reader, struct pv_msg_value *value)
{
    int32_t len;
    struct pv_slice bytes = {NULL, 0};

    if (pv_read_i32(reader, &len) != PV_OK || len < -1)
        return PV_PROTOCOL;
    if (len >= 0 && pv_read_slice(reader, (size_t) len, &bytes) != PV_OK)
        return PV_PROTOCOL;
    *value = (struct pv_msg_value){.is_null = len < 0, .bytes = bytes};
    return PV_OK;
}

enum pv_status
pv_msg_empty_read(struct pv_slice body)
{
    return body.len == 0 ? PV_OK : PV_PROTOCOL;
}

enum pv_status
pv_msg_empty_write(struct pv_buf *out, uint8_t tag)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, tag);

    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_text_read(struct pv_slice body, struct pv_slice *text)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_slice found;

    if (pv_read_cstr(&reader, &found) != PV_OK || pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *text = found;
    return PV_OK;
}

enum pv_status
pv_msg_text_write(struct pv_buf *out, uint8_t tag, struct pv_slice text)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, tag);

    pv_msg_put_cstr(&writer, text);
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_bytes_write(struct pv_buf *out, uint8_t tag, struct pv_slice bytes)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, tag);

    pv_buf_put_slice(out, bytes);
    return pv_msg_writer_end(&writer);
}
