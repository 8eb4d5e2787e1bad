#include "policy/param_int.h"

#include <string.h>
#include <strings.h>

static bool
is_space(char c)
{
    return c != '\0' && strchr(" \t\n\r\f\v", c) != NULL;
}

/* Items by commas that stand outside quotes: an upper bound, good for one allocation. */
static size_t
count_items(const char *text)
{
    size_t count = 1;
    bool is_quoted = false;

    for (; *text != '\0'; text++) {
        if (*text == '\\' && text[1] != '\0')
            text++;
        else if (*text == '"')
            is_quoted = !is_quoted;
        else if (*text == ',' && !is_quoted)
            count++;
    }
    return count;
}

/* From the opening quote past the closing one. */
static bool
take_quoted(const char **at, char **room)
{
    char *to = *room;

    for ((*at)++; **at != '"'; (*at)++) {
        if (**at == '\\')
            (*at)++;
        if (**at == '\0')
            return false;
        *to++ = **at;
    }
    (*at)++;
    *to = '\0';
    *room = to + 1;
    return true;
}

/* White space inside counts, around it does not; an escaped character is never trimmed and never part of NULL. */
static bool
take_bare(const char **at, char **room, bool *is_null)
{
    char *start = *room;
    char *to = start;
    char *kept = start;
    bool is_escaped = false;

    for (; **at != ',' && **at != '}'; (*at)++) {
        bool is_literal = **at == '\\';

        if (is_literal) {
            (*at)++;
            is_escaped = true;
        }
        if (**at == '\0' || (!is_literal && (**at == '"' || **at == '{')))
            return false;
        *to++ = **at;
        if (is_literal || !is_space(**at))
            kept = to;
    }
    *kept = '\0';
    *room = kept + 1;
    *is_null = !is_escaped && strcasecmp(start, "NULL") == 0;
    return kept > start;
}

/* Writes at *room, which has space for what is left of the text: the comma or brace after an item pays for its NUL. */
static bool
take_item(const char **at, char **room, const char **item)
{
    char *start = *room;
    bool is_null = false;

    if (**at == '"' ? !take_quoted(at, room) : !take_bare(at, room, &is_null))
        return false;
    *item = is_null ? NULL : start;
    return true;
}

static const char *
skip_space(const char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

enum pv_status
pv_array_parse(struct pv_arena *arena, const char *text, struct pv_items *items)
{
    const char *at = skip_space(text);
    struct pv_items found = {NULL, 0};
    char *room;

    if (*at != '{')
        return PV_INVALID;
    at = skip_space(at + 1);
    found.items = pv_arena_alloc(arena, count_items(at) * sizeof(*found.items));
    room = pv_arena_alloc(arena, strlen(at) + 1);
    if (found.items == NULL || room == NULL)
        return PV_NOMEM;
    while (*at != '}' || found.count > 0) {
        if (!take_item(&at, &room, &found.items[found.count]))
            return PV_INVALID;
        found.count++;
        at = skip_space(at);
        if (*at == '}')
            break;
        if (*at != ',')
            return PV_INVALID;
        at = skip_space(at + 1);
    }
    if (*skip_space(at + 1) != '\0')
        return PV_INVALID;
    *items = found;
    return PV_OK;
}

/* As PostgreSQL's array_out decides. */
static bool
needs_quotes(const char *item)
{
    if (*item == '\0' || strcasecmp(item, "NULL") == 0)
        return true;
    return strpbrk(item, "\"\\{}, \t\n\r\f\v") != NULL;
}

static void
put_item(struct pv_buf *buf, const char *item)
{
    if (item == NULL) {
        pv_buf_put_text(buf, "NULL");
        return;
    }
    if (!needs_quotes(item)) {
        pv_buf_put_text(buf, item);
        return;
    }
    pv_buf_put_u8(buf, '"');
    for (; *item != '\0'; item++) {
        if (*item == '"' || *item == '\\')
            pv_buf_put_u8(buf, '\\');
        pv_buf_put_u8(buf, (uint8_t) *item);
    }
    pv_buf_put_u8(buf, '"');
}

enum pv_status
pv_array_format(struct pv_arena *arena, const struct pv_items *items, const char **text)
{
    struct pv_buf buf = {0};
    char *copy = NULL;

    pv_buf_put_u8(&buf, '{');
    for (size_t i = 0; i < items->count; i++) {
        if (i > 0)
            pv_buf_put_u8(&buf, ',');
        put_item(&buf, items->items[i]);
    }
    pv_buf_put_u8(&buf, '}');
    if (pv_buf_ok(&buf))
        copy = pv_arena_strndup(arena, (const char *) pv_buf_slice(&buf).data, pv_buf_len(&buf));
    pv_buf_clear(&buf);
    if (copy == NULL)
        return PV_NOMEM;
    *text = copy;
    return PV_OK;
}
