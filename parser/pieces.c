#include "parser/pieces.h"

#include <string.h>

#include "parser/sqltext.h"
#include "parser/tree.h"

#define MARK '\001'

/* ---- marks ------------------------------------------------------------------ */

void
pv_hole_mark(enum pv_hole hole, unsigned index, char mark[PV_HOLE_MARK_SIZE])
{
    char digits[12];
    size_t count = 0, len = 0;

    mark[len++] = MARK;
    mark[len++] = hole == PV_HOLE_NAME ? 'n' : 'v';
    do
        digits[count++] = (char) ('0' + index % 10);
    while ((index /= 10) != 0);
    while (count > 0)
        mark[len++] = digits[--count];
    mark[len++] = MARK;
    mark[len] = '\0';
}

/* A mark with the quotes around it; false: something else. `end` is behind the second quote. */
static bool
read_mark(const char *quote, enum pv_hole *hole, unsigned *index, const char **end)
{
    const char *at = quote + 2;
    unsigned number = 0;

    if (quote[1] != MARK || (*at != 'n' && *at != 'v'))
        return false;
    *hole = *at++ == 'n' ? PV_HOLE_NAME : PV_HOLE_VALUE;
    if (*quote != (*hole == PV_HOLE_NAME ? '"' : '\''))
        return false;
    for (; *at >= '0' && *at <= '9' && number < 100000; at++)
        number = number * 10 + (unsigned) (*at - '0');
    if (at[0] != MARK || at[1] != *quote)
        return false;
    *index = number;
    *end = at + 2;
    return true;
}

/* Nothing beside it that a scanner could take for a part of it. */
static bool
stands_alone(const char *text, const char *quote, const char *end, enum pv_hole hole)
{
    if (hole == PV_HOLE_NAME ? quote - text < 4 || memcmp(quote - 4, " AS ", 4) != 0 : quote == text || quote[-1] != '(')
        return false;
    return *end == ' ' || *end == ',' || *end == ')' || *end == '\0';
}

enum pv_status
pv_pieces_cut(struct pv_arena *arena, struct pv_slice marked, size_t hole_count, struct pv_pieces *pieces)
{
    const char *text = pv_arena_strndup(arena, (const char *) marked.data, marked.len);
    struct pv_piece *items = pv_arena_alloc(arena, (hole_count + 1) * sizeof(*items));
    const char *rest = text, *mark;
    size_t count = 0;

    if (text == NULL || items == NULL)
        return PV_NOMEM;
    if (strlen(text) != marked.len)
        return PV_NOTFOUND;
    while ((mark = strchr(rest, MARK)) != NULL) {
        const char *end;

        if (count == hole_count || mark == text || !read_mark(mark - 1, &items[count].hole, &items[count].index, &end) ||
            !stands_alone(text, mark - 1, end, items[count].hole))
            return PV_NOTFOUND;
        items[count++].text = pv_slice_of(rest, (size_t) (mark - rest) - 1);
        rest = end;
    }
    if (count != hole_count)
        return PV_NOTFOUND;
    items[count++] = (struct pv_piece){pv_slice_cstr(rest), PV_HOLE_NONE, 0};
    *pieces = (struct pv_pieces){items, count};
    return PV_OK;
}

/* ---- tokens ------------------------------------------------------------------- */

/* Invariant 2, read as the scanner reads: to the first quote that is not doubled, which has to be the last byte. */
static bool
reads_back(struct pv_slice token, char quote, const char *text, size_t len)
{
    size_t at = 1, got = 0;

    if (token.len < 2 || token.data[0] != (uint8_t) quote)
        return false;
    for (; at < token.len; at++, got++) {
        if (token.data[at] == (uint8_t) quote) {
            if (at + 1 == token.len)
                break;
            if (token.data[++at] != (uint8_t) quote)
                return false;
        }
        if (got == len || token.data[at] != (uint8_t) text[got])
            return false;
    }
    return at + 1 == token.len && got == len;
}

/* The same of a name without quotes, which is the word itself: the scanner folds capitals and knows keywords. */
static bool
name_reads_back(struct pv_slice token, const char *name, size_t len)
{
    if (token.len > 0 && token.data[0] == '"')
        return reads_back(token, '"', name, len);
    return token.len == len && memcmp(token.data, name, len) == 0;
}

static bool
put_value(struct pv_buf *out, const struct pv_filling *value)
{
    size_t before = pv_buf_len(out), len;

    if (value->number > 0) {
        pv_buf_put_u8(out, '$');
        pv_buf_put_decimal(out, value->number);
        return true;
    }
    if (value->text == NULL) {
        pv_buf_put_text(out, "NULL");
        return true;
    }
    len = strlen(value->text);
    pv_sql_quote_literal(out, value->text);
    return !pv_buf_ok(out) || (pv_utf8_valid(pv_slice_of(value->text, len)) &&
                               reads_back(pv_slice_of(out->data + out->start + before, pv_buf_len(out) - before), '\'',
                                          value->text, len));
}

static bool
put_name(struct pv_buf *out, const char *name)
{
    size_t before = pv_buf_len(out), len = strlen(name);

    pv_sql_quote_identifier(out, name);
    return !pv_buf_ok(out) || (len > 0 && len < NAMEDATALEN && pv_utf8_valid(pv_slice_of(name, len)) &&
                               name_reads_back(pv_slice_of(out->data + out->start + before, pv_buf_len(out) - before),
                                               name, len));
}

enum pv_status
pv_pieces_fill(struct pv_arena *arena, const struct pv_pieces *pieces, const struct pv_filling *values,
               const char *const *names, const char **text)
{
    struct pv_buf out = {0};
    enum pv_status status = PV_OK;
    const char *copy;

    for (size_t i = 0; i < pieces->count && status == PV_OK; i++) {
        const struct pv_piece *piece = &pieces->items[i];

        pv_buf_put_slice(&out, piece->text);
        if ((piece->hole == PV_HOLE_VALUE && !put_value(&out, &values[piece->index])) ||
            (piece->hole == PV_HOLE_NAME && !put_name(&out, names[piece->index])))
            status = PV_NOTFOUND;
    }
    if (status == PV_OK) {
        copy = pv_buf_ok(&out) ? pv_arena_strndup(arena, (const char *) pv_buf_slice(&out).data, pv_buf_len(&out)) : NULL;
        if (copy == NULL)
            status = PV_NOMEM;
        else
            *text = copy;
    }
    pv_buf_clear(&out);
    return status;
}
