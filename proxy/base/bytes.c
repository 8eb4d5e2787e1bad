#include "proxy/base/bytes.h"

#include <stdio.h>
#include <string.h>

static enum pv_status
read_number(struct pv_reader *reader, size_t len, uint64_t *value)
{
    struct pv_slice bytes;
    enum pv_status status = pv_read_slice(reader, len, &bytes);
    uint64_t number = 0;

    if (status != PV_OK)
        return status;
    for (size_t i = 0; i < len; i++)
        number = number << 8 | bytes.data[i];
    *value = number;
    return PV_OK;
}

enum pv_status
pv_read_i16(struct pv_reader *reader, int16_t *value)
{
    uint16_t number;
    enum pv_status status = pv_read_u16(reader, &number);

    if (status == PV_OK)
        *value = (int16_t) number;
    return status;
}

enum pv_status
pv_read_i32(struct pv_reader *reader, int32_t *value)
{
    uint32_t number;
    enum pv_status status = pv_read_u32(reader, &number);

    if (status == PV_OK)
        *value = (int32_t) number;
    return status;
}

enum pv_status
pv_read_i64(struct pv_reader *reader, int64_t *value)
{
    uint64_t number;
    enum pv_status status = read_number(reader, 8, &number);

    if (status == PV_OK)
        *value = (int64_t) number;
    return status;
}

enum pv_status
pv_read_cstr(struct pv_reader *reader, struct pv_slice *value)
{
    const uint8_t *nul = reader->left == 0 ? NULL : memchr(reader->at, 0, reader->left);
    size_t len;

    if (nul == NULL)
        return PV_PROTOCOL;
    len = (size_t) (nul - reader->at);
    *value = pv_slice_of(reader->at, len);
    reader->at += len + 1;
    reader->left -= len + 1;
    return PV_OK;
}

enum pv_status
pv_read_end(const struct pv_reader *reader)
{
    return reader->left == 0 ? PV_OK : PV_PROTOCOL;
}

void
pv_buf_clear(struct pv_buf *buf)
{
    pv_free(buf->data);
    memset(buf, 0, sizeof(*buf));
}

void
pv_buf_wipe(struct pv_buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->size);
    pv_buf_clear(buf);
}

void
pv_buf_fit(struct pv_buf *buf)
{
    uint8_t *fitting;

    if (buf->end == 0 || buf->end == buf->size)
        return;
    fitting = pv_realloc(buf->data, buf->end);
    if (fitting == NULL)
        return;
    buf->data = fitting;
    buf->size = buf->end;
}

uint8_t *
pv_buf_reserve(struct pv_buf *buf, size_t len)
{
    size_t used = pv_buf_len(buf);
    size_t want = used + len;
    size_t size;
    uint8_t *grown;

    if (want < used || buf->failed)
        goto failed;
    if (buf->size - buf->end >= len && buf->data != NULL)
        return buf->data + buf->end;
    if (buf->start > 0) {
        memmove(buf->data, buf->data + buf->start, used);
        buf->start = 0;
        buf->end = used;
        if (buf->size - used >= len)
            return buf->data + used;
    }
    size = buf->size < 256 ? 256 : buf->size;
    while (size < want) {
        if (size > SIZE_MAX / 2)
            goto failed;
        size *= 2;
    }
    grown = pv_realloc(buf->data, size);
    if (grown == NULL)
        goto failed;
    buf->data = grown;
    buf->size = size;
    return buf->data + buf->end;
failed:
    buf->failed = true;
    return NULL;
}

void
pv_buf_put_growing(struct pv_buf *buf, const void *data, size_t len)
{
    uint8_t *room = pv_buf_reserve(buf, len);

    if (room == NULL)
        return;
    if (len > 0)
        memcpy(room, data, len);
    pv_buf_commit(buf, len);
}

static void
put_number(struct pv_buf *buf, uint64_t value, size_t len)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t) (value >> (8 * (len - 1 - i)));
    pv_buf_put(buf, bytes, len);
}

void
pv_buf_put_u64(struct pv_buf *buf, uint64_t value)
{
    put_number(buf, value, 8);
}

void
pv_buf_put_cstr(struct pv_buf *buf, const char *text)
{
    pv_buf_put(buf, text, strlen(text) + 1);
}

const char *
pv_decimal(int64_t value, char text[PV_DECIMAL_SIZE])
{
    char *at = text + PV_DECIMAL_SIZE - 1;
    /* The least number has no opposite. */
    uint64_t rest = value < 0 ? 0 - (uint64_t) value : (uint64_t) value;

    *at = '\0';
    do
        *--at = (char) ('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0)
        *--at = '-';
    return at;
}

void
pv_buf_put_decimal(struct pv_buf *buf, int64_t value)
{
    char text[PV_DECIMAL_SIZE];

    pv_buf_put_text(buf, pv_decimal(value, text));
}

void
pv_buf_vprintf(struct pv_buf *buf, const char *format, va_list args)
{
    va_list again;
    int len;
    uint8_t *room;

    va_copy(again, args);
    len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0) {
        buf->failed = true;
        return;
    }
    room = pv_buf_reserve(buf, (size_t) len + 1);
    if (room == NULL)
        return;
    (void) vsnprintf((char *) room, (size_t) len + 1, format, args);
    pv_buf_commit(buf, (size_t) len);
}

void
pv_buf_printf(struct pv_buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    pv_buf_vprintf(buf, format, args);
    va_end(args);
}

const char *
pv_buf_text(struct pv_buf *buf)
{
    uint8_t *room = pv_buf_reserve(buf, 1);

    if (room == NULL)
        return NULL;
    *room = 0;
    return (const char *) buf->data + buf->start;
}

void
pv_buf_patch_u32(struct pv_buf *buf, size_t offset, uint32_t value)
{
    if (buf->failed)
        return;
    pv_assert(offset + 4 <= pv_buf_len(buf));
    for (size_t i = 0; i < 4; i++)
        buf->data[buf->start + offset + i] = (uint8_t) (value >> (8 * (3 - i)));
}

static bool
is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

void
pv_buf_put_json(struct pv_buf *buf, struct pv_slice text)
{
    bool is_sound = pv_utf8_valid(text);

    pv_buf_put_u8(buf, '"');
    for (size_t i = 0; i < text.len; i++) {
        size_t run = 0;
        uint8_t c;

        while (i + run < text.len && is_plain(text.data[i + run]))
            run++;
        pv_buf_put(buf, text.data + i, run);
        i += run;
        if (i == text.len)
            break;
        c = text.data[i];
        if (c == '"' || c == '\\') {
            pv_buf_put_u8(buf, '\\');
            pv_buf_put_u8(buf, c);
        } else if (c < 0x20 || c == 0x7F) {
            pv_buf_printf(buf, "\\u%04x", (unsigned) c);
        } else {
            pv_buf_put_u8(buf, c >= 0x80 && !is_sound ? '?' : c);
        }
    }
    pv_buf_put_u8(buf, '"');
}
