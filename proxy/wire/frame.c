#include "proxy/wire/frame.h"

#include "proxy/base/bytes.h"
#include "proxy/wire/message.h"

/* First byte of a TLS record that holds a handshake. A startup packet begins with a length below 10001, so with 0. */
#define TLS_HANDSHAKE_RECORD 0x16

/* How a tag's length is bounded. NONE marks a byte that is no tag. */
enum class {
    CLASS_NONE,
    CLASS_SMALL,
    CLASS_AUTH,
    CLASS_QUERY,
    CLASS_PARSE,
    CLASS_BIND,
    CLASS_SERVER,
};

static const uint8_t auth_classes[256] = {
    [PV_CLIENT_PASSWORD] = CLASS_AUTH,
    [PV_CLIENT_TERMINATE] = CLASS_SMALL,
};

static const uint8_t query_classes[256] = {
    [PV_CLIENT_BIND] = CLASS_BIND,       [PV_CLIENT_CLOSE] = CLASS_SMALL,     [PV_CLIENT_COPY_DATA] = CLASS_BIND,
    [PV_CLIENT_COPY_DONE] = CLASS_SMALL, [PV_CLIENT_COPY_FAIL] = CLASS_SMALL, [PV_CLIENT_DESCRIBE] = CLASS_SMALL,
    [PV_CLIENT_EXECUTE] = CLASS_SMALL,   [PV_CLIENT_FLUSH] = CLASS_SMALL,     [PV_CLIENT_FUNCTION_CALL] = CLASS_BIND,
    [PV_CLIENT_PARSE] = CLASS_PARSE,     [PV_CLIENT_QUERY] = CLASS_QUERY,     [PV_CLIENT_SYNC] = CLASS_SMALL,
    [PV_CLIENT_TERMINATE] = CLASS_SMALL,
};

static const uint8_t backend_classes[256] = {
#define PV_X(name, byte) [byte] = CLASS_SERVER,
    PV_SERVER_TAGS(PV_X)
#undef PV_X
};

static const uint8_t *const phase_classes[] = {
    [PV_FRAME_AUTH] = auth_classes,
    [PV_FRAME_QUERY] = query_classes,
    [PV_FRAME_BACKEND] = backend_classes,
};

/* The largest length field that passes, counted as the protocol does: body and the 4 bytes of the length. */
static uint64_t
length_max(enum class class, size_t query_bytes_max)
{
    switch (class) {
    case CLASS_NONE:
        return 0;
    case CLASS_SMALL:
        return PV_SMALL_MESSAGE_BYTES_MAX;
    case CLASS_AUTH:
        return PV_AUTH_MESSAGE_BYTES_MAX;
    case CLASS_QUERY:
        return (uint64_t) query_bytes_max + 1 + 4;
    case CLASS_PARSE:
        return (uint64_t) query_bytes_max + 1 + 4 + PV_PARSE_EXTRA_BYTES;
    case CLASS_BIND:
        return PV_BIND_BYTES_MAX;
    case CLASS_SERVER:
        return PV_FRAME_BYTES_MAX;
    }
    return 0;
}

static enum pv_status
startup_peek(struct pv_slice bytes, struct pv_frame_head *head)
{
    struct pv_reader reader = pv_reader_of(bytes);
    uint32_t length;

    if (pv_read_u32(&reader, &length) != PV_OK)
        return PV_MORE;
    if (length < 8 || length > PV_STARTUP_BYTES_MAX)
        return PV_PROTOCOL;
    *head = (struct pv_frame_head){.tag = 0, .head_len = 4, .body_len = length - 4, .total_len = length};
    return PV_OK;
}

enum pv_status
pv_frame_peek(struct pv_slice bytes, enum pv_frame_phase phase, size_t query_bytes_max, struct pv_frame_head *head)
{
    struct pv_reader reader = pv_reader_of(bytes);
    enum class class;
    uint8_t tag;
    uint32_t length;
    bool is_skippable;

    if (phase == PV_FRAME_STARTUP)
        return startup_peek(bytes, head);
    if (pv_read_u8(&reader, &tag) != PV_OK)
        return PV_MORE;
    class = (enum class) phase_classes[phase][tag];
    if (class == CLASS_NONE)
        return PV_PROTOCOL;
    if (pv_read_u32(&reader, &length) != PV_OK)
        return PV_MORE;
    if (length < 4)
        return PV_PROTOCOL;
    is_skippable = class == CLASS_QUERY || class == CLASS_PARSE || class == CLASS_BIND;
    if (length > length_max(class, query_bytes_max) && (!is_skippable || length >= PV_SKIP_BYTES_MAX))
        return PV_PROTOCOL;
    *head = (struct pv_frame_head){.tag = tag, .head_len = 5, .body_len = length - 4, .total_len = (size_t) length + 1};
    return length > length_max(class, query_bytes_max) ? PV_LIMIT : PV_OK;
}

enum pv_status
pv_frame_next(struct pv_slice bytes, enum pv_frame_phase phase, size_t query_bytes_max, struct pv_frame *frame)
{
    struct pv_frame_head head;
    enum pv_status status = pv_frame_peek(bytes, phase, query_bytes_max, &head);

    if (status == PV_OK && phase == PV_FRAME_BACKEND && head.total_len > PV_SERVER_HELD_BYTES_MAX)
        status = PV_LIMIT;
    if (status == PV_LIMIT) {
        *frame = (struct pv_frame){.tag = head.tag, .body = {NULL, 0}, .total_len = head.total_len};
        return PV_LIMIT;
    }
    if (status != PV_OK)
        return status;
    if (bytes.len < head.total_len)
        return PV_MORE;
    *frame = (struct pv_frame){
        .tag = head.tag, .body = pv_slice_of(bytes.data + head.head_len, head.body_len), .total_len = head.total_len};
    return PV_OK;
}

bool
pv_frame_is_tls(uint8_t first_byte)
{
    return first_byte == TLS_HANDSHAKE_RECORD;
}
