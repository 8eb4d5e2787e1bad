#include "proxy/app/audit_command.h"

#include <stdio.h>
#include <string.h>

/* Output is handed on in pieces of about this size. */
#define OUT_BYTES (64u * 1024u)
/* Rows of a table that are held until its columns' widths are known. */
#define TABLE_ROWS_HELD 1000u

enum pv_status
pv_output_flush(struct pv_output *output, size_t bytes)
{
    if (!pv_buf_ok(&output->out))
        return PV_NOMEM;
    if (pv_buf_len(&output->out) < bytes || pv_buf_len(&output->out) == 0)
        return PV_OK;
    if (fwrite(pv_buf_slice(&output->out).data, 1, pv_buf_len(&output->out), stdout) != pv_buf_len(&output->out)) {
        output->is_write_failed = true;
        return PV_IO;
    }
    pv_buf_consume(&output->out, pv_buf_len(&output->out));
    return PV_OK;
}

/* ---- Tables ---- */

static size_t
characters_of(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char) *text & 0xC0u) != 0x80u;
    return count;
}

static void
put_padded(struct pv_output *output, const char *text, size_t column)
{
    size_t count = characters_of(text);
    bool is_last = column + 1 == output->columns;

    pv_buf_put_text(&output->out, column == 0 ? "" : "  ");
    pv_buf_put_text(&output->out, text);
    for (; !is_last && count < output->widths[column]; count++)
        pv_buf_put_u8(&output->out, ' ');
    if (is_last)
        pv_buf_put_u8(&output->out, '\n');
}

/* Gives out the rows held back, now that the widths are known. */
static void
spread(struct pv_output *output)
{
    const char *at = (const char *) pv_buf_slice(&output->held).data;

    output->is_spread = true;
    for (size_t row = 0; row < output->held_rows; row++) {
        for (size_t column = 0; column < output->columns; column++, at += strlen(at) + 1)
            put_padded(output, at, column);
        if (row > 0)
            continue;
        for (size_t column = 0; column < output->columns; column++) {
            size_t dashes = column + 1 == output->columns && output->characters_max == 0 ? 10 : output->widths[column];

            pv_buf_put_text(&output->out, column == 0 ? "" : "  ");
            for (size_t i = 0; i < dashes; i++)
                pv_buf_put_u8(&output->out, '-');
        }
        pv_buf_put_u8(&output->out, '\n');
    }
    pv_buf_clear(&output->held);
    output->held_rows = 0;
}

/* Cuts a text at so many characters, and shows that it did. */
static void
cut(struct pv_buf *text, size_t characters_max)
{
    struct pv_slice slice = pv_buf_slice(text);
    size_t count = 0;

    for (size_t i = 0; characters_max > 0 && i < slice.len; i++) {
        if ((slice.data[i] & 0xC0u) == 0x80u)
            continue;
        if (++count > characters_max) {
            pv_buf_truncate(text, i);
            pv_buf_put_text(text, "...");
            return;
        }
    }
}

/* The row's column for a place in the table; row->count when it has none. */
static size_t
find_column(const struct pv_output *output, const struct pv_row *row, size_t place)
{
    size_t column = 0;

    if (output->names == NULL)
        return place;
    while (column < row->count && strcmp(row->names[column], output->names[place]) != 0)
        column++;
    return column;
}

static enum pv_status
put_table_cell(struct pv_output *output, const struct pv_row *row, size_t place, bool is_name)
{
    size_t column = find_column(output, row, place);
    struct pv_cell name = {.kind = PV_CELL_TEXT};
    struct pv_buf text = {0};
    const char *chars;

    if (is_name && column < row->count) {
        name.bytes = pv_slice_cstr(row->names[column]);
        pv_cell_put_text(&name, &text);
    } else if (column < row->count)
        pv_cell_put_text(&row->cells[column], &text);
    cut(&text, output->characters_max);
    chars = pv_buf_text(&text);
    if (chars == NULL)
        return PV_NOMEM;
    if (output->is_spread)
        put_padded(output, chars, place);
    else {
        size_t count = characters_of(chars);

        output->widths[place] = count > output->widths[place] ? count : output->widths[place];
        pv_buf_put_cstr(&output->held, chars);
    }
    pv_buf_clear(&text);
    return PV_OK;
}

static enum pv_status
put_table_row(struct pv_output *output, const struct pv_row *row, bool is_name)
{
    enum pv_status status = PV_OK;

    if (output->columns == 0)
        output->columns = output->names == NULL ? row->count : output->name_count;
    if (output->columns > PV_TABLE_COLUMNS_MAX_SHOWN)
        return PV_LIMIT;
    for (size_t place = 0; status == PV_OK && place < output->columns; place++)
        status = put_table_cell(output, row, place, is_name);
    if (!output->is_spread && ++output->held_rows > TABLE_ROWS_HELD)
        spread(output);
    return status == PV_OK && !pv_buf_ok(&output->held) ? PV_NOMEM : status;
}

/* ---- Rows to shapes ---- */

/* Column names come once, before the first row: with cells NULL, or with the first row. */
static enum pv_status
take_names(struct pv_output *output, const struct pv_row *row)
{
    if (output->shape == PV_AS_CSV)
        pv_row_put_csv_names(row, &output->out);
    if (output->shape == PV_AS_TABLE)
        return put_table_row(output, row, true);
    return PV_OK;
}

enum pv_status
pv_output_take(void *context, const struct pv_row *row)
{
    struct pv_output *output = context;
    enum pv_status status = PV_OK;

    if (row->cells == NULL)
        return take_names(output, row);
    switch (output->shape) {
    case PV_AS_TABLE:
        if (output->columns == 0)
            status = put_table_row(output, row, true);
        if (status == PV_OK)
            status = put_table_row(output, row, false);
        break;
    case PV_AS_ARRAY:
        pv_buf_put_text(&output->out, output->rows == 0 ? "[\n" : ",\n");
        pv_row_put_json(row, &output->out);
        break;
    case PV_AS_JSONL:
        pv_row_put_json(row, &output->out);
        pv_buf_put_u8(&output->out, '\n');
        break;
    case PV_AS_CSV:
        pv_row_put_csv(row, &output->out);
        break;
    case PV_AS_LINES:
        pv_row_put_lines(row, &output->out);
        break;
    }
    output->rows++;
    return status == PV_OK ? pv_output_flush(output, OUT_BYTES) : status;
}

/* The rest of the output, and the exit status of the whole. */
int
pv_output_finish(struct pv_output *output, enum pv_status status, const char *error)
{
    if (status == PV_OK && output->shape == PV_AS_TABLE)
        spread(output);
    if (status == PV_OK && output->shape == PV_AS_ARRAY)
        pv_buf_put_text(&output->out, output->rows == 0 ? "[]\n" : "\n]\n");
    if (status == PV_OK)
        status = pv_output_flush(output, 0);
    if (status == PV_OK && fflush(stdout) != 0) {
        output->is_write_failed = true;
        status = PV_IO;
    }
    pv_buf_clear(&output->out);
    pv_buf_clear(&output->held);
    if (status == PV_OK)
        return DONE;
    if (output->is_write_failed)
        return pv_audit_failed("cannot write to standard output");
    if (status == PV_LIMIT && output->shape == PV_AS_TABLE && output->columns > PV_TABLE_COLUMNS_MAX_SHOWN)
        return pv_audit_failed("too many columns for a table; use --json");
    return pv_audit_failed(error != NULL && error[0] != '\0' ? error : pv_status_words(status));
}
