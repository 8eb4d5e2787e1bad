/*
 * A client's message above its limit. Nothing of it is kept: it is skipped as it comes, a Query's or Parse's text is
 * hashed on the way, and the message is refused when all of it was there. So the query log knows which text it was by
 * length and SHA-256 (`sha256sum` of the text gives the same), and memory does not hang on what a client sends.
 */
#include "proxy/crypto/mac.h"
#include "proxy/session/session_int.h"

#include <inttypes.h>
#include <string.h>

#define WORDS "the statement is longer than limits.query_bytes"
#define BIND_WORDS "the parameters are longer than the limit"

struct pv_oversize {
    uint8_t tag;
    size_t left;     /* of the message, not yet seen */
    unsigned strings; /* NULs before the text ends: a Parse's name has one of its own, a message without a text none */
    uint64_t text_len;
    struct pv_sha256_state *sha256; /* NULL: no text, or one that nobody asks for */
};

void
pv_oversize_free(struct pv_oversize *oversize)
{
    if (oversize == NULL)
        return;
    pv_sha256_free(oversize->sha256);
    pv_free(oversize);
}

void
pv_oversize_begin(struct pv_session *s, uint8_t tag, size_t len)
{
    struct pv_oversize *oversize = pv_calloc(1, sizeof(*oversize));

    pv_assert(s->oversize == NULL);
    if (oversize == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    oversize->tag = tag;
    oversize->left = len;
    oversize->strings = tag == PV_CLIENT_QUERY ? 1 : tag == PV_CLIENT_PARSE ? 2 : 0;
    if (oversize->strings > 0 && !s->is_doomed) {
        oversize->sha256 = pv_sha256_new();
        if (oversize->sha256 == NULL) {
            pv_oversize_free(oversize);
            pv_session_fail(s, PV_NOMEM);
            return;
        }
    }
    s->oversize = oversize;
}

/* Takes one string's worth of bytes, or all of them where it does not end in them. */
static enum pv_status
take_string(struct pv_oversize *oversize, struct pv_slice *bytes)
{
    const uint8_t *end = memchr(bytes->data, 0, bytes->len);
    struct pv_slice string = pv_slice_of(bytes->data, end == NULL ? bytes->len : (size_t) (end - bytes->data));
    bool is_text = oversize->strings == 1;
    enum pv_status status = PV_OK;

    if (is_text) {
        oversize->text_len += string.len;
        if (oversize->sha256 != NULL)
            status = pv_sha256_update(oversize->sha256, string);
    }
    if (end == NULL) {
        *bytes = pv_slice_of(bytes->data + bytes->len, 0);
    } else {
        oversize->strings--;
        *bytes = pv_slice_of(end + 1, bytes->len - string.len - 1);
    }
    return status;
}

size_t
pv_oversize_feed(struct pv_session *s, struct pv_slice bytes)
{
    struct pv_oversize *oversize = s->oversize;
    struct pv_slice rest;
    enum pv_status status = PV_OK;

    if (oversize == NULL || bytes.len == 0)
        return 0;
    if (bytes.len > oversize->left)
        bytes.len = oversize->left;
    oversize->left -= bytes.len;
    rest = bytes;
    while (rest.len > 0 && oversize->strings > 0 && status == PV_OK)
        status = take_string(oversize, &rest);
    if (status != PV_OK)
        pv_session_fail(s, status);
    return bytes.len;
}

bool
pv_oversize_is_whole(const struct pv_session *s)
{
    return s->oversize->left == 0;
}

/* Words for the log; pv_free. NULL: out of memory. */
static char *
reason_of(struct pv_oversize *oversize)
{
    uint8_t digest[PV_SHA256_BYTES];
    struct pv_buf buf = {0};
    char *reason = NULL;

    if (pv_sha256_finish(oversize->sha256, digest) != PV_OK)
        return NULL;
    pv_buf_put_text(&buf, "too_long: " WORDS);
    if (oversize->left > 0)
        pv_buf_printf(&buf, "; the client left after %" PRIu64 " bytes of it, sha256 of these ", oversize->text_len);
    else
        pv_buf_printf(&buf, "; %" PRIu64 " bytes, sha256 ", oversize->text_len);
    if (pv_hex_encode(pv_slice_of(digest, sizeof(digest)), &buf) == PV_OK && pv_buf_text(&buf) != NULL)
        reason = pv_strdup(pv_buf_text(&buf));
    pv_buf_clear(&buf);
    return reason;
}

const char *
pv_oversize_reason(struct pv_arena *arena, struct pv_slice text)
{
    struct pv_oversize oversize = {.text_len = text.len, .sha256 = pv_sha256_new()};
    const char *kept = NULL;
    char *reason = NULL;

    if (oversize.sha256 != NULL && pv_sha256_update(oversize.sha256, text) == PV_OK)
        reason = reason_of(&oversize);
    if (reason != NULL)
        kept = pv_arena_strdup(arena, reason);
    pv_free(reason);
    pv_sha256_free(oversize.sha256);
    return kept;
}

void
pv_oversize_refuse(struct pv_session *s)
{
    struct pv_oversize *oversize = s->oversize;
    char *reason = NULL;

    s->oversize = NULL;
    if (!s->is_doomed && oversize->sha256 != NULL) {
        reason = reason_of(oversize);
        if (reason == NULL)
            pv_session_fail(s, PV_NOMEM);
    }
    /* What an error has doomed since is skipped, as the server does. */
    if (s->phase != PV_PHASE_CLOSED && !s->is_doomed) {
        bool is_bind = oversize->tag == PV_CLIENT_BIND;
        const char *message = is_bind ? BIND_WORDS : WORDS;
        const char *logged = reason != NULL ? reason : is_bind ? "too_long: " BIND_WORDS : "too_long: " WORDS;

        if (s->auditor != NULL)
            pv_auditor_oversize(s, oversize->tag, message, logged);
        else
            pv_gate_oversize(s, oversize->tag, message, logged);
    }
    pv_free(reason);
    pv_oversize_free(oversize);
}

void
pv_oversize_cut(struct pv_session *s)
{
    struct pv_oversize *oversize = s->oversize;
    char *reason;

    if (oversize == NULL || oversize->sha256 == NULL || s->is_doomed || !s->is_logged_in)
        return;
    reason = reason_of(oversize);
    pv_trail_cut(s, oversize->tag != PV_CLIENT_QUERY, reason == NULL ? "too_long: " WORDS : reason, "54000");
    pv_free(reason);
}
