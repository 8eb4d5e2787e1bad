/*
 * Bytes to frames: where one message of the PostgreSQL protocol 3.x ends and the
 * next begins, and how large each may be. No I/O, no allocation, no state: the
 * caller hands over what it has read so far and is told what stands at its head.
 *
 * A frame is Byte1 tag, Int32 length (which counts itself, not the tag), body. A
 * startup packet has no tag. Source: PostgreSQL documentation, Frontend/Backend
 * Protocol, "Messaging Overview" and "Message Formats".
 */
#ifndef PV_FRAME_H
#define PV_FRAME_H

#include "proxy/base/base.h"
#include "proxy/base/limits.h"

/* Who sent the bytes, and in which phase of its session. */
enum pv_frame_phase {
    PV_FRAME_STARTUP, /* from a client: no tag, length 8 to PV_STARTUP_BYTES_MAX */
    PV_FRAME_AUTH,    /* from a client that is asked for a password: 'p' only, or X */
    PV_FRAME_QUERY,   /* from a client that is logged in */
    PV_FRAME_BACKEND, /* from a server, in any phase */
};

/*
 * Body bytes of a Parse beside its text: two names and 65535 type OIDs. A Parse
 * whose frame passes may therefore still hold a text above query_bytes_max: the
 * caller compares the text's length too.
 */
#define PV_PARSE_EXTRA_BYTES (2u + 65535u * 4u + PV_SMALL_MESSAGE_BYTES_MAX)
/* PostgreSQL's own ceiling for one message of a server (MaxAllocSize and a little less). */
#define PV_FRAME_BYTES_MAX (1024u * 1024u * 1024u)

/* Bytes before the body: a tag and a length. */
#define PV_FRAME_HEAD_BYTES 5u

/* Head of a frame. */
struct pv_frame_head {
    uint8_t tag;      /* 0 in the startup phase */
    size_t head_len;  /* 5, or 4 in the startup phase */
    size_t body_len;  /* bytes after the head */
    size_t total_len; /* head_len + body_len */
};

struct pv_frame {
    uint8_t tag;
    struct pv_slice body; /* borrows from the bytes given */
    size_t total_len;     /* to consume once the frame is dealt with */
};

/*
 * Looks at the first 5 bytes (4 in the startup phase) alone: for a reader that
 * streams a large body (DataRow, CopyData) instead of holding it.
 *   PV_OK        the head is sound and within its limit;
 *   PV_MORE      fewer bytes than a head (the tag, where it is there, was checked);
 *   PV_LIMIT     a client's Query, Parse, Bind, FunctionCall or CopyData above its
 *                limit that may be skipped: *head is set, its total_len (at most
 *                PV_SKIP_BYTES_MAX) is what to drop, then 54000 and go on;
 *   PV_PROTOCOL  unknown tag, bad length, or too large to skip: end the session.
 * query_bytes_max is the longest text in bytes of a Query or Parse (limits.query_bytes);
 * of no account in the other phases. For a server the length may be up to 1 GiB.
 */
enum pv_status pv_frame_peek(struct pv_slice bytes, enum pv_frame_phase phase, size_t query_bytes_max,
                             struct pv_frame_head *head) PV_MUST_CHECK;

/*
 * The frame at the head of the bytes, whole. Statuses as pv_frame_peek's, and:
 *   PV_MORE      the body is not all there yet either;
 *   PV_LIMIT     frame->tag and frame->total_len are set, the body is empty. From a
 *                server: a frame above PV_SERVER_HELD_BYTES_MAX, which cannot be held
 *                whole; DataRow and CopyData may still be streamed with pv_frame_peek.
 */
enum pv_status pv_frame_next(struct pv_slice bytes, enum pv_frame_phase phase, size_t query_bytes_max,
                             struct pv_frame *frame) PV_MUST_CHECK;

/* True when a client's first byte opens a TLS handshake record (direct TLS) and no startup packet. */
bool pv_frame_is_tls(uint8_t first_byte);

#endif
