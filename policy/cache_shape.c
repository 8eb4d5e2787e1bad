#include "policy/cache_int.h"

#include <string.h>

/* A scan for constants that can be told from all else by their bytes alone. What it does not know for sure, it
 * declines. */

enum class { OTHER, WORD, DIGIT, POINT, SIGN, QUOTE, DOUBLE_QUOTE, REFUSED };

/* Dollar quotes and $n, escapes, whatever is neither printable ASCII nor a tab or a line's end, are refused. */
static const uint8_t classes[256] = {
    [0 ... 8] = REFUSED, [11 ... 12] = REFUSED, [14 ... 31] = REFUSED, ['a' ... 'z'] = WORD, ['A' ... 'Z'] = WORD,
    ['_'] = WORD,        ['0' ... '9'] = DIGIT, ['.'] = POINT,         ['\''] = QUOTE,       ['"'] = DOUBLE_QUOTE,
    ['-'] = SIGN,        ['/'] = SIGN,          ['$'] = REFUSED,       ['\\'] = REFUSED,     [0x7F ... 0xFF] = REFUSED};

static enum class class_of(uint8_t byte) { return (enum class) classes[byte]; }

/* Bytes of words and numbers. */
static const bool joined[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['_'] = true, ['0' ... '9'] = true, ['.'] = true};

static inline bool
is_joined(uint8_t byte)
{
    return joined[byte];
}

/* Words and numbers, with all that may belong to them. */
static size_t
run_length(struct pv_slice text, size_t at)
{
    const uint8_t *byte = text.data + at, *end = text.data + text.len;

    /* Most of a text are words: one look a byte. */
    while (byte < end && is_joined(*byte))
        byte++;
    return (size_t) (byte - text.data) - at;
}

static bool
is_plain_integer(struct pv_slice text, size_t at, size_t len)
{
    if (len > 9 || (len > 1 && text.data[at] == '0'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (classes[text.data[at + i]] != DIGIT)
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
        if (classes[text.data[end]] == REFUSED || text.data[end] < 0x20)
            return 0;
    }
    return 0;
}

/* A comment begins here, or what may be one. */
static bool
is_comment(struct pv_slice text, size_t at)
{
    uint8_t next = at + 1 < text.len ? text.data[at + 1] : 0;

    return (text.data[at] == '-' && next == '-') || (text.data[at] == '/' && next == '*');
}

/* Of a word, a number or a quoted text: its length, and whether it is a constant to be taken out; 0: declined. */
static size_t
token_length(struct pv_slice text, size_t at, bool *is_slot)
{
    enum class class = class_of(text.data[at]);
    size_t len;
    uint8_t next;

    if (class == QUOTE || class == DOUBLE_QUOTE) {
        len = string_length(text, at, text.data[at]);
        *is_slot = class == QUOTE;
        if (len > 0 && at + len < text.len &&
            (is_joined(text.data[at + len]) || class_of(text.data[at + len]) == DOUBLE_QUOTE))
            return 0;
        return len;
    }
    len = run_length(text, at);
    next = at + len < text.len ? text.data[at + len] : 0;
    *is_slot = class == DIGIT && is_plain_integer(text, at, len);
    /* A prefix such as E'' or U&'' changes what the quotes mean. */
    return next == '\'' || next == '&' ? 0 : len;
}

bool
pv_shape_of(struct pv_slice text, struct pv_buf *shape, struct pv_slot *slots, size_t *count)
{
    size_t found = 0, at = 0, copied = 0, len = 0;

    if (text.len > PV_SHAPE_BYTES_MAX)
        return false;
    for (; at < text.len; at += len) {
        bool is_slot = false;

        switch (class_of(text.data[at])) {
        case OTHER:
            len = 1;
            continue;
        case SIGN:
            if (is_comment(text, at))
                return false;
            len = 1;
            continue;
        case REFUSED:
            return false;
        case WORD:
        case DIGIT:
        case POINT:
        case QUOTE:
        case DOUBLE_QUOTE:
            len = token_length(text, at, &is_slot);
            break;
        }
        if (len == 0 || (is_slot && found == PV_SLOTS_MAX))
            return false;
        if (!is_slot)
            continue;
        pv_buf_put(shape, text.data + copied, at - copied);
        pv_buf_put_u8(shape, text.data[at] == '\'' ? 2 : 1);
        copied = at + len;
        slots[found++] = (struct pv_slot){at, len, text.data[at] == '\''};
    }
    pv_buf_put(shape, text.data + copied, text.len - copied);
    *count = found;
    return found > 0 && pv_buf_ok(shape);
}
