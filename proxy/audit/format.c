#include "proxy/audit/query.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 character at `at`; 0 when there is none. */
static size_t
character_len(const uint8_t *at, size_t left)
{
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;

    /* pv_utf8_valid refuses NUL, which is a character all the same. */
    if (at[0] == 0)
        return 1;
    return len <= left && pv_utf8_valid(pv_slice_of(at, len)) ? len : 0;
}

/* C1 controls, and the marks that turn the direction of text: they steer a terminal as C0 controls do. */
static bool
is_steering(const uint8_t *at, size_t len)
{
    if (len == 2)
        return at[0] == 0xC2 && at[1] < 0xA0;
    if (len != 3 || at[0] != 0xE2)
        return false;
    return (at[1] == 0x80 && ((at[2] >= 0xA8 && at[2] <= 0xAE) || (at[2] >= 0x8E && at[2] <= 0x8F))) ||
           (at[1] == 0x81 && at[2] >= 0xA6 && at[2] <= 0xA9);
}

static void
put_escaped_bytes(const uint8_t *at, size_t len, const char *prefix, struct pv_buf *out)
{
    char text[12];

    for (size_t i = 0; i < len; i++) {
        (void) snprintf(text, sizeof(text), "%s%02X", prefix, at[i]);
        pv_buf_put_text(out, text);
    }
}

/* ---- JSON (RFC 8259) ---- */

static void
put_json_string(struct pv_slice text, struct pv_buf *out)
{
    size_t len;

    pv_buf_put_u8(out, '"');
    for (size_t i = 0; i < text.len; i += len) {
        const uint8_t *at = text.data + i;

        len = character_len(at, text.len - i);
        if (len == 0) {
            len = 1;
            put_escaped_bytes(at, 1, "\\\\x", out);
        } else if (*at == '"' || *at == '\\') {
            pv_buf_put_u8(out, '\\');
            pv_buf_put_u8(out, *at);
        } else if (*at == '\n')
            pv_buf_put_text(out, "\\n");
        else if (*at == '\t')
            pv_buf_put_text(out, "\\t");
        else if (*at == '\r')
            pv_buf_put_text(out, "\\r");
        else if (*at < 0x20 || *at == 0x7F)
            put_escaped_bytes(at, 1, "\\u00", out);
        else
            pv_buf_put(out, at, len);
    }
    pv_buf_put_u8(out, '"');
}

/* The shortest of two forms that reads back as the same number. */
static void
put_real(double real, struct pv_buf *out)
{
    char text[40];

    (void) snprintf(text, sizeof(text), "%.15g", real);
    if (strtod(text, NULL) != real)
        (void) snprintf(text, sizeof(text), "%.17g", real);
    pv_buf_put_text(out, text);
}

static void
put_json_cell(const struct pv_cell *cell, struct pv_buf *out)
{
    switch (cell->kind) {
    case PV_CELL_NULL:
        pv_buf_put_text(out, "null");
        break;
    case PV_CELL_INT:
        pv_buf_printf(out, "%" PRId64, cell->number);
        break;
    case PV_CELL_REAL:
        if (isfinite(cell->real))
            put_real(cell->real, out);
        else
            pv_buf_put_text(out, "null");
        break;
    case PV_CELL_JSON:
        pv_buf_put_slice(out, cell->bytes);
        break;
    case PV_CELL_TEXT:
    case PV_CELL_BLOB:
        put_json_string(cell->bytes, out);
        break;
    }
}

void
pv_row_put_json(const struct pv_row *row, struct pv_buf *out)
{
    pv_buf_put_u8(out, '{');
    for (size_t i = 0; i < row->count; i++) {
        if (i > 0)
            pv_buf_put_text(out, ", ");
        put_json_string(pv_slice_cstr(row->names[i]), out);
        pv_buf_put_text(out, ": ");
        put_json_cell(&row->cells[i], out);
    }
    pv_buf_put_u8(out, '}');
}

/* ---- CSV (RFC 4180) ---- */

static void
put_csv_field(struct pv_slice text, struct pv_buf *out)
{
    bool is_quoted = text.len == 0;

    for (size_t i = 0; i < text.len && !is_quoted; i++)
        is_quoted = text.data[i] != '\0' && strchr(",\"\r\n ", text.data[i]) != NULL;
    if (!is_quoted) {
        pv_buf_put_slice(out, text);
        return;
    }
    pv_buf_put_u8(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '"')
            pv_buf_put_u8(out, '"');
        pv_buf_put_u8(out, text.data[i]);
    }
    pv_buf_put_u8(out, '"');
}

void
pv_row_put_csv(const struct pv_row *row, struct pv_buf *out)
{
    for (size_t i = 0; i < row->count; i++) {
        const struct pv_cell *cell = &row->cells[i];

        if (i > 0)
            pv_buf_put_u8(out, ',');
        if (cell->kind == PV_CELL_INT)
            pv_buf_printf(out, "%" PRId64, cell->number);
        else if (cell->kind == PV_CELL_REAL)
            put_real(cell->real, out);
        else if (cell->kind != PV_CELL_NULL)
            put_csv_field(cell->bytes, out);
    }
    pv_buf_put_text(out, "\r\n");
}

void
pv_row_put_csv_names(const struct pv_row *row, struct pv_buf *out)
{
    for (size_t i = 0; i < row->count; i++) {
        if (i > 0)
            pv_buf_put_u8(out, ',');
        put_csv_field(pv_slice_cstr(row->names[i]), out);
    }
    pv_buf_put_text(out, "\r\n");
}

/* ---- Text for people ---- */

static void
put_plain(struct pv_slice text, struct pv_buf *out)
{
    size_t len;

    for (size_t i = 0; i < text.len; i += len) {
        const uint8_t *at = text.data + i;

        len = character_len(at, text.len - i);
        if (*at == '\n')
            pv_buf_put_text(out, "\\n");
        else if (*at == '\t')
            pv_buf_put_text(out, "\\t");
        else if (len == 0 || *at < 0x20 || *at == 0x7F || is_steering(at, len)) {
            len = len == 0 ? 1 : len;
            put_escaped_bytes(at, len, "\\x", out);
        } else
            pv_buf_put(out, at, len);
    }
}

void
pv_cell_put_text(const struct pv_cell *cell, struct pv_buf *out)
{
    switch (cell->kind) {
    case PV_CELL_NULL:
        break;
    case PV_CELL_INT:
        pv_buf_printf(out, "%" PRId64, cell->number);
        break;
    case PV_CELL_REAL:
        put_real(cell->real, out);
        break;
    case PV_CELL_TEXT:
    case PV_CELL_BLOB:
    case PV_CELL_JSON:
        put_plain(cell->bytes, out);
        break;
    }
}

void
pv_row_put_lines(const struct pv_row *row, struct pv_buf *out)
{
    int width = 0;

    for (size_t i = 0; i < row->count; i++)
        if ((int) strlen(row->names[i]) > width)
            width = (int) strlen(row->names[i]);
    for (size_t i = 0; i < row->count; i++) {
        pv_buf_printf(out, "%-*s  ", width, row->names[i]);
        pv_cell_put_text(&row->cells[i], out);
        pv_buf_put_u8(out, '\n');
    }
}
