#include "proxy/app/line_diff.h"

#include <string.h>

/* Lines of a text; the table of common lengths has the product of two such counts. */
#define LINES_MAX 4000u
#define CONTEXT_LINES 3u

struct lines {
    struct pv_slice *at;
    size_t count;
};

struct step {
    char mark; /* ' ', '-' or '+' */
    struct pv_slice line;
    size_t before, after; /* lines passed so far in each text */
};

static enum pv_status
split(struct pv_slice text, struct lines *lines)
{
    size_t count = 1;

    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '\n';
    if (count > LINES_MAX)
        return PV_LIMIT;
    lines->at = pv_calloc(count, sizeof(*lines->at));
    if (lines->at == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < text.len;) {
        const uint8_t *end = memchr(text.data + i, '\n', text.len - i);
        size_t len = end == NULL ? text.len - i : (size_t) (end - (text.data + i));

        lines->at[lines->count++] = pv_slice_of(text.data + i, len);
        i += len + 1;
    }
    return PV_OK;
}

/* common[i][j]: the longest common sequence of what follows line i and line j. */
static uint16_t *
measure(const struct lines *a, const struct lines *b)
{
    size_t width = b->count + 1;
    uint16_t *common = pv_calloc((a->count + 1) * width, sizeof(*common));

    if (common == NULL)
        return NULL;
    for (size_t i = a->count; i-- > 0;)
        for (size_t j = b->count; j-- > 0;) {
            uint16_t down = common[(i + 1) * width + j], right = common[i * width + j + 1];

            if (pv_slice_equal(a->at[i], b->at[j]))
                common[i * width + j] = (uint16_t) (common[(i + 1) * width + j + 1] + 1); /* at most LINES_MAX */
            else
                common[i * width + j] = down >= right ? down : right;
        }
    return common;
}

static size_t
walk(const struct lines *a, const struct lines *b, const uint16_t *common, struct step *steps)
{
    size_t width = b->count + 1, i = 0, j = 0, count = 0;

    while (i < a->count || j < b->count) {
        struct step *step = &steps[count++];

        *step = (struct step){' ', {NULL, 0}, i, j};
        if (i < a->count && j < b->count && pv_slice_equal(a->at[i], b->at[j])) {
            step->line = a->at[i++];
            j++;
        } else if (i < a->count && (j == b->count || common[(i + 1) * width + j] >= common[i * width + j + 1])) {
            step->mark = '-';
            step->line = a->at[i++];
        } else {
            step->mark = '+';
            step->line = b->at[j++];
        }
    }
    return count;
}

/* What an indented line belongs to: the last one before it that is not, where the hunk does not show it itself. */
static void
put_section(struct pv_buf *out, const struct step *steps, size_t first)
{
    if (steps[first].line.len == 0 || steps[first].line.data[0] != ' ')
        return;
    for (size_t i = first; i > 0; i--)
        if (steps[i - 1].mark != '+' && steps[i - 1].line.len > 0 && steps[i - 1].line.data[0] != ' ') {
            pv_buf_put_u8(out, ' ');
            pv_buf_put_slice(out, steps[i - 1].line);
            return;
        }
}

static void
put_hunk(struct pv_buf *out, const struct step *steps, size_t first, size_t end)
{
    size_t before = 0, after = 0;

    for (size_t i = first; i < end; i++) {
        before += steps[i].mark != '+';
        after += steps[i].mark != '-';
    }
    pv_buf_printf(out, "@@ -%zu,%zu +%zu,%zu @@", steps[first].before + 1, before, steps[first].after + 1, after);
    put_section(out, steps, first);
    pv_buf_put_u8(out, '\n');
    for (size_t i = first; i < end; i++) {
        pv_buf_put_u8(out, (uint8_t) steps[i].mark);
        pv_buf_put_slice(out, steps[i].line);
        pv_buf_put_u8(out, '\n');
    }
}

static void
put_hunks(struct pv_buf *out, const struct step *steps, size_t count)
{
    size_t i = 0;

    while (i < count) {
        size_t first, last;

        while (i < count && steps[i].mark == ' ')
            i++;
        if (i == count)
            return;
        first = i < CONTEXT_LINES ? 0 : i - CONTEXT_LINES;
        /* Changes with no more than two contexts between them share a hunk. */
        for (last = i; i < count && i - last <= 2 * CONTEXT_LINES; i++)
            if (steps[i].mark != ' ')
                last = i;
        i = last + 1 + CONTEXT_LINES < count ? last + 1 + CONTEXT_LINES : count;
        put_hunk(out, steps, first, i);
    }
}

enum pv_status
pv_line_diff(struct pv_buf *out, struct pv_slice before, struct pv_slice after)
{
    struct lines a = {NULL, 0}, b = {NULL, 0};
    uint16_t *common = NULL;
    struct step *steps = NULL;
    enum pv_status status = split(before, &a);

    if (status == PV_OK)
        status = split(after, &b);
    if (status == PV_OK) {
        common = measure(&a, &b);
        steps = pv_calloc(a.count + b.count + 1, sizeof(*steps));
        status = common == NULL || steps == NULL ? PV_NOMEM : PV_OK;
    }
    if (status == PV_OK)
        put_hunks(out, steps, walk(&a, &b, common, steps));
    pv_free(common);
    pv_free(steps);
    pv_free(a.at);
    pv_free(b.at);
    return status == PV_OK && !pv_buf_ok(out) ? PV_NOMEM : status;
}
