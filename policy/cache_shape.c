#include "policy/cache_int.h"

#include <string.h>

/* A scan for constants that can be told from all else by their bytes alone. What it does not know for sure, it
 * declines. */

enum class { OTHER, WORD, DIGIT, QUOTE, DOUBLE_QUOTE, REFUSED };

static enum class class_of(uint8_t byte) {
    if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_') return WORD;
    if (byte >= '0' && byte <= '9') return DIGIT;
    if (byte == '\'') return QUOTE;
    if (byte == '"') return DOUBLE_QUOTE;
    /* Dollar quotes and $n, escapes, whatever is not printable ASCII. */
    if (byte == '$' || byte == '\\' || byte >= 0x7F ||
        (byte < 0x20 && byte != '\n' && byte != '\t' && byte != '\r')) return REFUSED;
    return OTHER;
}

static bool
is_joined(uint8_t byte)
{
    enum class class = class_of(byte);

    return class == WORD || class == DIGIT || byte == '.';
}

/* Words and numbers, with all that may belong to them. */
static size_t
run_length(struct pv_slice text, size_t at)
{
    size_t end = at;

    while (end < text.len && is_joined(text.data[end]))
        end++;
    return end - at;
}

static bool
is_plain_integer(struct pv_slice text, size_t at, size_t len)
{
    if (len > 9 || (len > 1 && text.data[at] == '0'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (class_of(text.data[at + i]) != DIGIT)
            return false;
    return true;
}

/* Length with both quotes of what starts with one; 0: not plain. */
static size_t
string_length(struct pv_slice text, size_t at, uint8_t quote)
{
    for (size_t end = at + 1; end < text.len; end++) {
        if (text.data[end] == quote)
            return end + 1 < text.len && text.data[end + 1] == quote ? 0 : end + 1 - at;
        if (class_of(text.data[end]) == REFUSED || text.data[end] < 0x20)
            return 0;
    }
    return 0;
}

bool
pv_shape_of(struct pv_slice text, struct pv_buf *shape, struct pv_slot *slots, size_t *count)
{
    size_t found = 0, at = 0, copied = 0, len;

    if (text.len > PV_SHAPE_BYTES_MAX)
        return false;
    for (; at < text.len; at += len) {
        uint8_t byte = text.data[at], next = at + 1 < text.len ? text.data[at + 1] : 0;
        enum class class = class_of(byte);
        bool is_slot = false;

        len = 1;
        if (class == REFUSED || (byte == '-' && next == '-') || (byte == '/' && next == '*'))
            return false;
        if (class == WORD || class == DIGIT || byte == '.') {
            len = run_length(text, at);
            is_slot = class == DIGIT && is_plain_integer(text, at, len);
            /* A prefix such as E'' or U&'' changes what the quotes mean. */
            if (at + len < text.len && (text.data[at + len] == '\'' || text.data[at + len] == '&'))
                return false;
        } else if (class == QUOTE || class == DOUBLE_QUOTE) {
            len = string_length(text, at, byte);
            if (len == 0)
                return false;
            is_slot = class == QUOTE;
            if (at + len < text.len &&
                (is_joined(text.data[at + len]) || class_of(text.data[at + len]) == DOUBLE_QUOTE))
                return false;
        }
        if (!is_slot)
            continue;
        if (found == PV_SLOTS_MAX)
            return false;
        pv_buf_put(shape, text.data + copied, at - copied);
        pv_buf_put_u8(shape, class == QUOTE ? 2 : 1);
        copied = at + len;
        slots[found++] = (struct pv_slot){at, len, class == QUOTE};
    }
    pv_buf_put(shape, text.data + copied, text.len - copied);
    *count = found;
    return found > 0 && pv_buf_ok(shape);
}
