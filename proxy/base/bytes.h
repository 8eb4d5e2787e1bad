/*
 * Bytes on the way in and out. A reader borrows peer bytes and never reads past
 * their end; a buffer owns bytes and grows. Wire numbers come only from a reader.
 */
#ifndef PV_BYTES_H
#define PV_BYTES_H

#include "proxy/base/base.h"

#include <stdarg.h>
#include <string.h>

/* Borrows. A failed read returns PV_PROTOCOL and leaves the reader where it was. */
struct pv_reader {
    const uint8_t *at;
    size_t left;
};

/* Inline, as the buffers' small pieces below: frames and messages are read and written by them on every statement. */
static inline struct pv_reader
pv_reader_of(struct pv_slice bytes)
{
    struct pv_reader reader = {bytes.data, bytes.len};
    return reader;
}

PV_MUST_CHECK static inline enum pv_status
pv_read_slice(struct pv_reader *reader, size_t len, struct pv_slice *value)
{
    if (reader->left < len)
        return PV_PROTOCOL;
    *value = pv_slice_of(reader->at, len);
    if (len > 0)
        reader->at += len;
    reader->left -= len;
    return PV_OK;
}

PV_MUST_CHECK static inline enum pv_status
pv_read_u8(struct pv_reader *reader, uint8_t *value)
{
    if (reader->left < 1)
        return PV_PROTOCOL;
    *value = *reader->at++;
    reader->left--;
    return PV_OK;
}

/* Numbers are in network order. */
PV_MUST_CHECK static inline enum pv_status
pv_read_u16(struct pv_reader *reader, uint16_t *value)
{
    if (reader->left < 2)
        return PV_PROTOCOL;
    *value = (uint16_t) (reader->at[0] << 8 | reader->at[1]);
    reader->at += 2;
    reader->left -= 2;
    return PV_OK;
}

PV_MUST_CHECK static inline enum pv_status
pv_read_u32(struct pv_reader *reader, uint32_t *value)
{
    if (reader->left < 4)
        return PV_PROTOCOL;
    *value =
        (uint32_t) reader->at[0] << 24 | (uint32_t) reader->at[1] << 16 | (uint32_t) reader->at[2] << 8 | reader->at[3];
    reader->at += 4;
    reader->left -= 4;
    return PV_OK;
}

enum pv_status pv_read_i16(struct pv_reader *reader, int16_t *value) PV_MUST_CHECK;
enum pv_status pv_read_i32(struct pv_reader *reader, int32_t *value) PV_MUST_CHECK;
enum pv_status pv_read_i64(struct pv_reader *reader, int64_t *value) PV_MUST_CHECK;
/* Text up to a NUL; the slice leaves the NUL out but it is there in memory, so data is a C string. */
enum pv_status pv_read_cstr(struct pv_reader *reader, struct pv_slice *value) PV_MUST_CHECK;
/* PV_PROTOCOL unless every byte was read. */
enum pv_status pv_read_end(const struct pv_reader *reader) PV_MUST_CHECK;

/*
 * Owns. Zero-initialised is empty and valid. Grows by doubling; an append that
 * runs out of memory sets `failed` and changes nothing, so that a writer may
 * append many pieces and check once with pv_buf_ok.
 */
struct pv_buf {
    uint8_t *data;
    size_t start; /* first byte not yet consumed */
    size_t end;   /* one past the last byte */
    size_t size;
    bool failed;
};

void pv_buf_clear(struct pv_buf *buf); /* frees; the buffer is empty and usable again */
void pv_buf_wipe(struct pv_buf *buf);  /* clear for secrets: zeroes first */

static inline bool
pv_buf_ok(const struct pv_buf *buf)
{
    return !buf->failed;
}

static inline size_t
pv_buf_len(const struct pv_buf *buf)
{
    return buf->end - buf->start;
}

/* Borrows until the next change. */
static inline struct pv_slice
pv_buf_slice(const struct pv_buf *buf)
{
    return buf->data == NULL ? pv_slice_of(NULL, 0) : pv_slice_of(buf->data + buf->start, pv_buf_len(buf));
}

/* len at most pv_buf_len; frees nothing. */
static inline void
pv_buf_consume(struct pv_buf *buf, size_t len)
{
    pv_assert(len <= pv_buf_len(buf));
    buf->start += len;
    if (buf->start == buf->end)
        buf->start = buf->end = 0;
}

/* Keeps the first len bytes. */
static inline void
pv_buf_truncate(struct pv_buf *buf, size_t len)
{
    pv_assert(len <= pv_buf_len(buf));
    buf->end = buf->start + len;
}

void pv_buf_fit(struct pv_buf *buf); /* gives back room behind the bytes; nothing more will come */

/* Room for `len` more bytes; NULL (and failed) when out of memory. The caller fills and then commits. */
uint8_t *pv_buf_reserve(struct pv_buf *buf, size_t len);
static inline void
pv_buf_commit(struct pv_buf *buf, size_t len)
{
    pv_assert(len <= buf->size - buf->end);
    buf->end += len;
}

void pv_buf_put_growing(struct pv_buf *buf, const void *data, size_t len); /* pv_buf_put where room may be missing */

/* Inline: messages and keys are made of many small pieces, which mostly have room. */
static inline void
pv_buf_put(struct pv_buf *buf, const void *data, size_t len)
{
    if (buf->failed || len == 0 || buf->size - buf->end < len) {
        pv_buf_put_growing(buf, data, len);
        return;
    }
    memcpy(buf->data + buf->end, data, len);
    buf->end += len;
}

static inline void
pv_buf_put_u8(struct pv_buf *buf, uint8_t value)
{
    pv_buf_put(buf, &value, 1);
}

static inline void
pv_buf_put_u16(struct pv_buf *buf, uint16_t value)
{
    const uint8_t bytes[] = {(uint8_t) (value >> 8), (uint8_t) value};

    pv_buf_put(buf, bytes, sizeof(bytes));
}

static inline void
pv_buf_put_u32(struct pv_buf *buf, uint32_t value)
{
    const uint8_t bytes[] = {(uint8_t) (value >> 24), (uint8_t) (value >> 16), (uint8_t) (value >> 8), (uint8_t) value};

    pv_buf_put(buf, bytes, sizeof(bytes));
}

static inline void
pv_buf_put_slice(struct pv_buf *buf, struct pv_slice bytes)
{
    pv_buf_put(buf, bytes.data, bytes.len);
}

/* Without NUL. */
static inline void
pv_buf_put_text(struct pv_buf *buf, const char *text)
{
    pv_buf_put(buf, text, strlen(text));
}

void pv_buf_put_u64(struct pv_buf *buf, uint64_t value);
void pv_buf_put_cstr(struct pv_buf *buf, const char *text); /* with NUL */
/* A JSON string with its quotes; text that is not UTF-8 gets '?' for each byte above 127. */
void pv_buf_put_json(struct pv_buf *buf, struct pv_slice text);
/* As %lld, without printf's cost: the first digit or sign, which lies in `text`; ends in NUL. */
#define PV_DECIMAL_SIZE 21u
const char *pv_decimal(int64_t value, char text[PV_DECIMAL_SIZE]);
void pv_buf_put_decimal(struct pv_buf *buf, int64_t value);
void pv_buf_printf(struct pv_buf *buf, const char *format, ...) PV_PRINTF(2, 3);
void pv_buf_vprintf(struct pv_buf *buf, const char *format, va_list args) PV_PRINTF(2, 0);
/* Appends a NUL without counting it and gives the text; NULL when failed. */
const char *pv_buf_text(struct pv_buf *buf);
/* Overwrites a u32 that was put at `offset` bytes after start; for lengths known only afterwards. */
void pv_buf_patch_u32(struct pv_buf *buf, size_t offset, uint32_t value);

#endif
