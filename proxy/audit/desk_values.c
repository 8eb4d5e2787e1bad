/* Values of auditors' SQL: parameters in, and columns and rows out, by PostgreSQL's types and SQLite's. */
#include "proxy/audit/desk_int.h"

#include "proxy/audit/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* PostgreSQL counts binary times from 2000-01-01. */
#define EPOCH_2000_US INT64_C(946684800000000)

enum cell_tag { CELL_NULL, CELL_INT, CELL_REAL, CELL_TEXT };

/* ---- Parameters ---- */

static bool
bind_time(sqlite3_stmt *statement, int at, int64_t us)
{
    char text[PV_RECORD_TIME_SIZE];

    pv_record_time_format(us, text);
    return sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT) == SQLITE_OK;
}

/* PV_INVALID: a type that is not read in binary. */
static enum pv_status
bind_binary(sqlite3_stmt *statement, int at, const struct pv_ask_parameter *parameter)
{
    struct pv_reader reader = pv_reader_of(parameter->bytes);
    enum pv_status status;
    int64_t long_value = 0;
    int32_t value = 0;
    int16_t short_value = 0;
    bool is_bound = false;

    switch (parameter->type_oid) {
    case PV_TYPE_INT2:
        status = pv_read_i16(&reader, &short_value);
        is_bound = status == PV_OK && sqlite3_bind_int64(statement, at, short_value) == SQLITE_OK;
        break;
    case PV_TYPE_INT4:
    case PV_TYPE_OID:
        status = pv_read_i32(&reader, &value);
        is_bound = status == PV_OK && sqlite3_bind_int64(statement, at, value) == SQLITE_OK;
        break;
    case PV_TYPE_INT8:
        status = pv_read_i64(&reader, &long_value);
        is_bound = status == PV_OK && sqlite3_bind_int64(statement, at, long_value) == SQLITE_OK;
        break;
    case PV_TYPE_FLOAT8: {
        double real;

        status = pv_read_i64(&reader, &long_value);
        memcpy(&real, &long_value, sizeof(real));
        is_bound = status == PV_OK && sqlite3_bind_double(statement, at, real) == SQLITE_OK;
        break;
    }
    case PV_TYPE_FLOAT4: {
        float real;

        status = pv_read_i32(&reader, &value);
        memcpy(&real, &value, sizeof(real));
        is_bound = status == PV_OK && sqlite3_bind_double(statement, at, (double) real) == SQLITE_OK;
        break;
    }
    case PV_TYPE_BOOL: {
        uint8_t byte = 0;

        status = pv_read_u8(&reader, &byte);
        is_bound = status == PV_OK && sqlite3_bind_int(statement, at, byte != 0) == SQLITE_OK;
        break;
    }
    case PV_TYPE_TIMESTAMP:
    case PV_TYPE_TIMESTAMPTZ:
        status = pv_read_i64(&reader, &long_value);
        if (status == PV_OK && (long_value > INT64_MAX / 4 || long_value < INT64_MIN / 4))
            return PV_INVALID;
        is_bound = status == PV_OK && bind_time(statement, at, long_value + EPOCH_2000_US);
        break;
    case PV_TYPE_DATE:
        status = pv_read_i32(&reader, &value);
        is_bound = status == PV_OK && value < 10000000 && value > -10000000 &&
                   bind_time(statement, at, (int64_t) value * INT64_C(86400000000) + EPOCH_2000_US);
        break;
    default:
        return PV_INVALID;
    }
    if (status == PV_OK)
        status = pv_read_end(&reader);
    return status != PV_OK || !is_bound ? PV_INVALID : PV_OK;
}

static bool
is_text_type(uint32_t oid)
{
    return oid == 0 || oid == PV_TYPE_TEXT || oid == PV_TYPE_VARCHAR || oid == PV_TYPE_UNKNOWN || oid == PV_TYPE_BPCHAR;
}

static enum pv_status
bind_text(struct pv_ask *ask, sqlite3_stmt *statement, int at, const struct pv_ask_parameter *parameter)
{
    const char *text = pv_arena_strndup(ask->arena, (const char *) parameter->bytes.data, parameter->bytes.len);
    char *end = NULL;

    if (text == NULL)
        return PV_NOMEM;
    if (!pv_utf8_valid(parameter->bytes))
        return PV_INVALID;
    switch (parameter->type_oid) {
    case PV_TYPE_INT2:
    case PV_TYPE_INT4:
    case PV_TYPE_INT8:
    case PV_TYPE_OID: {
        long long number = strtoll(text, &end, 10);

        if (end == text || *end != '\0')
            return PV_INVALID;
        return sqlite3_bind_int64(statement, at, number) == SQLITE_OK ? PV_OK : PV_NOMEM;
    }
    case PV_TYPE_FLOAT4:
    case PV_TYPE_FLOAT8:
    case PV_TYPE_NUMERIC: {
        double real = strtod(text, &end);

        if (end == text || *end != '\0')
            return PV_INVALID;
        return sqlite3_bind_double(statement, at, real) == SQLITE_OK ? PV_OK : PV_NOMEM;
    }
    case PV_TYPE_BOOL:
        return sqlite3_bind_int(statement, at, text[0] == 't' || text[0] == 'T' || text[0] == '1') == SQLITE_OK
                   ? PV_OK
                   : PV_NOMEM;
    default:
        return sqlite3_bind_text64(statement, at, text, parameter->bytes.len, SQLITE_TRANSIENT, SQLITE_UTF8) ==
                       SQLITE_OK
                   ? PV_OK
                   : PV_NOMEM;
    }
}

bool
pv_ask_bind(struct pv_ask *ask, sqlite3_stmt *statement)
{
    for (size_t i = 0; i < ask->parameter_count && (int) i < sqlite3_bind_parameter_count(statement); i++) {
        const struct pv_ask_parameter *parameter = &ask->parameters[i];
        enum pv_status status;

        if (parameter->is_null)
            continue;
        status = parameter->is_binary && !is_text_type(parameter->type_oid)
                     ? bind_binary(statement, (int) i + 1, parameter)
                     : bind_text(ask, statement, (int) i + 1, parameter);
        if (status == PV_INVALID) {
            pv_ask_fail(ask, "22P02", pv_arena_printf(ask->arena, "invalid value for parameter $%zu", i + 1),
                        "Send it as text, an integer, a float, a date or a timestamp.");
            return false;
        }
        if (status != PV_OK) {
            pv_ask_fail_status(ask, status);
            return false;
        }
    }
    return true;
}

/* ---- Columns ---- */

/* What a column turned out to hold. */
struct seen {
    bool has_int, has_real, has_text, has_time;
    uint32_t known; /* 0: by what it holds */
};

/* 2026-01-31T12:00:00.123456Z and nothing else. */
static bool
is_log_time(struct pv_slice text)
{
    static const char shape[] = "0000-00-00T00:00:00.000000Z";

    if (text.len != sizeof(shape) - 1)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (shape[i] == '0' ? text.data[i] < '0' || text.data[i] > '9' : text.data[i] != (uint8_t) shape[i])
            return false;
    return true;
}

/* count(*) is `count` in PostgreSQL, and an expression without a name `?column?`. */
static const char *
name_column(struct pv_ask *ask, const char *name)
{
    size_t len = 0;
    char *copy;

    if (name == NULL)
        return NULL;
    while ((name[len] >= 'a' && name[len] <= 'z') || (name[len] >= 'A' && name[len] <= 'Z') ||
           (name[len] >= '0' && name[len] <= '9') || name[len] == '_')
        len++;
    if (name[len] == '\0' && len > 0 && (name[0] < '0' || name[0] > '9'))
        return pv_arena_strdup(ask->arena, name);
    if (len == 0 || name[0] <= '9' || strcspn(name + len, "(") > 1)
        return strpbrk(name, " '\"()+-*/|<>=?.") == NULL && len > 0 && name[0] > '9'
                   ? pv_arena_strdup(ask->arena, name)
                   : pv_arena_strdup(ask->arena, "?column?");
    if (strncmp(name, "pv_", 3) == 0) {
        name += 3;
        len -= 3;
    }
    copy = pv_arena_strndup(ask->arena, name, len);
    for (char *c = copy; c != NULL && *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char) (*c + 32);
    return copy;
}

static bool
begin_columns(struct pv_ask *ask, sqlite3_stmt *statement, struct seen *seen)
{
    for (size_t i = 0; i < ask->column_count; i++) {
        const char *declared = sqlite3_column_decltype(statement, (int) i);
        const char *name = sqlite3_column_name(statement, (int) i);

        ask->columns[i].name = name_column(ask, name);
        if (ask->columns[i].name == NULL) {
            pv_ask_fail_status(ask, PV_NOMEM);
            return false;
        }
        if (ask->promised != NULL && i < ask->promised_count)
            seen[i].known = ask->promised[i].type_oid;
        else if (declared != NULL)
            seen[i].known = strcmp(declared, "INTEGER") == 0 ? PV_TYPE_INT8
                            : strcmp(declared, "REAL") == 0  ? PV_TYPE_FLOAT8
                                                             : PV_TYPE_TEXT;
    }
    return true;
}

static void
end_columns(struct pv_ask *ask, const struct seen *seen)
{
    for (size_t i = 0; i < ask->column_count; i++) {
        const struct seen *s = &seen[i];

        ask->columns[i].type_oid = s->known != 0                 ? s->known
                                   : s->has_text                 ? PV_TYPE_TEXT
                                   : s->has_time && !s->has_int && !s->has_real ? PV_TYPE_TIMESTAMPTZ
                                   : s->has_time                 ? PV_TYPE_TEXT
                                   : s->has_real                 ? PV_TYPE_FLOAT8
                                   : s->has_int                  ? PV_TYPE_INT8
                                   : strcmp(ask->columns[i].name, "at") == 0 ? PV_TYPE_TIMESTAMPTZ
                                   : strcmp(ask->columns[i].name, "count") == 0 ? PV_TYPE_INT8
                                                                                : PV_TYPE_TEXT;
    }
}

/* ---- Rows: for each cell a tag, then 8 bytes, or 4 of a length and so many of text ---- */

static bool
fits(uint32_t known, enum cell_tag tag)
{
    return known != PV_TYPE_INT8 ? known != PV_TYPE_FLOAT8 || tag != CELL_TEXT : tag == CELL_INT;
}

static bool
keep_cell(struct pv_ask *ask, const struct pv_cell *cell, struct seen *seen)
{
    uint64_t bits;

    switch (cell->kind) {
    case PV_CELL_NULL:
        pv_buf_put_u8(&ask->rows, CELL_NULL);
        return true;
    case PV_CELL_INT:
        seen->has_int = true;
        pv_buf_put_u8(&ask->rows, CELL_INT);
        pv_buf_put_u64(&ask->rows, (uint64_t) cell->number);
        return seen->known == 0 || seen->known != PV_TYPE_TIMESTAMPTZ;
    case PV_CELL_REAL:
        seen->has_real = true;
        memcpy(&bits, &cell->real, sizeof(bits));
        pv_buf_put_u8(&ask->rows, CELL_REAL);
        pv_buf_put_u64(&ask->rows, bits);
        return seen->known == 0 || (fits(seen->known, CELL_REAL) && seen->known != PV_TYPE_TIMESTAMPTZ);
    case PV_CELL_TEXT:
    case PV_CELL_BLOB:
    case PV_CELL_JSON:
        break;
    }
    pv_buf_put_u8(&ask->rows, CELL_TEXT);
    if (pv_utf8_valid(cell->bytes)) {
        pv_buf_put_u32(&ask->rows, (uint32_t) cell->bytes.len);
        pv_buf_put_slice(&ask->rows, cell->bytes);
    } else { /* a query that was no UTF-8 */
        size_t at = pv_buf_len(&ask->rows);

        pv_buf_put_u32(&ask->rows, 0);
        for (size_t i = 0; i < cell->bytes.len; i++)
            if (cell->bytes.data[i] >= 0x20 && cell->bytes.data[i] < 0x7f)
                pv_buf_put_u8(&ask->rows, cell->bytes.data[i]);
            else
                pv_buf_printf(&ask->rows, "\\x%02X", (unsigned) cell->bytes.data[i]);
        if (pv_buf_ok(&ask->rows))
            pv_buf_patch_u32(&ask->rows, at, (uint32_t) (pv_buf_len(&ask->rows) - at - 4));
    }
    if (is_log_time(cell->bytes))
        seen->has_time = true;
    else
        seen->has_text = true;
    return seen->known == 0 || seen->known == PV_TYPE_TEXT ||
           (seen->known == PV_TYPE_TIMESTAMPTZ && is_log_time(cell->bytes));
}

static bool
keep_row(struct pv_ask *ask, struct pv_log_reader *reader, sqlite3_stmt *statement, struct seen *seen)
{
    for (size_t i = 0; i < ask->column_count; i++) {
        struct pv_cell cell = pv_reader_cell(reader, statement, (int) i, "");

        if (!keep_cell(ask, &cell, &seen[i])) {
            pv_ask_fail(ask, "42804", pv_arena_printf(ask->arena, "column %zu holds values of another type", i + 1),
                        "Cast it, as in x::text.");
            return false;
        }
    }
    ask->row_count++;
    if (!pv_buf_ok(&ask->rows)) {
        pv_ask_fail_status(ask, PV_NOMEM);
        return false;
    }
    if (pv_buf_len(&ask->rows) > PV_DESK_ANSWER_BYTES_MAX) {
        pv_ask_fail(ask, "54000", "the result is too large", "Ask for less, for example with LIMIT or by seq.");
        return false;
    }
    return true;
}

/* A description looks at a first row, with NULL for parameters, to learn the types of expressions. */
void
pv_ask_read(struct pv_ask *ask, struct pv_log_reader *reader, sqlite3_stmt *statement)
{
    struct seen *seen;

    ask->column_count = (size_t) sqlite3_column_count(statement);
    ask->columns = pv_arena_alloc(ask->arena, ask->column_count * sizeof(*ask->columns));
    seen = pv_arena_alloc(ask->arena, ask->column_count * sizeof(*seen));
    if (ask->columns == NULL || seen == NULL) {
        pv_ask_fail_status(ask, PV_NOMEM);
        return;
    }
    memset(ask->columns, 0, ask->column_count * sizeof(*ask->columns));
    memset(seen, 0, ask->column_count * sizeof(*seen));
    if (ask->promised != NULL && ask->promised_count != ask->column_count) {
        pv_ask_fail(ask, "0A000", "cached plan must not change result type", NULL);
        return;
    }
    if (!begin_columns(ask, statement, seen))
        return;
    for (;;) {
        int rc = sqlite3_step(statement);

        if (rc == SQLITE_DONE)
            break;
        if (rc != SQLITE_ROW) {
            pv_ask_fail_step(ask, reader);
            break;
        }
        if (!keep_row(ask, reader, statement, seen) || ask->is_describing)
            break;
    }
    end_columns(ask, seen);
    if (ask->is_describing) {
        pv_buf_clear(&ask->rows);
        ask->row_count = 0;
    }
}

/* ---- Rows out ---- */

static void
put_time(struct pv_buf *out, struct pv_slice text, bool is_binary)
{
    char copy[PV_RECORD_TIME_SIZE];
    int64_t at_us = 0;

    memcpy(copy, text.data, PV_RECORD_TIME_SIZE - 1);
    copy[PV_RECORD_TIME_SIZE - 1] = '\0';
    if (is_binary) {
        if (pv_record_time_parse(copy, &at_us) != PV_OK)
            at_us = EPOCH_2000_US; /* of the shape of a time, and none: the log writes no such */
        pv_buf_put_u32(out, 8);
        pv_buf_put_u64(out, (uint64_t) (at_us - EPOCH_2000_US));
        return;
    }
    copy[10] = ' ';
    pv_buf_put_u32(out, 29);
    pv_buf_put(out, copy, 26);
    pv_buf_put_text(out, "+00");
}

static void
put_number(struct pv_buf *out, enum cell_tag tag, uint64_t bits, uint32_t oid, bool is_binary)
{
    char text[40];
    double real;

    memcpy(&real, &bits, sizeof(real));
    if (is_binary && oid != PV_TYPE_TEXT) {
        if (tag == CELL_INT && oid == PV_TYPE_FLOAT8) {
            real = (double) (int64_t) bits;
            memcpy(&bits, &real, sizeof(bits));
        }
        pv_buf_put_u32(out, 8);
        pv_buf_put_u64(out, bits);
        return;
    }
    if (tag == CELL_INT) {
        (void) snprintf(text, sizeof(text), "%" PRId64, (int64_t) bits);
    } else {
        (void) snprintf(text, sizeof(text), "%.15g", real);
        if (strtod(text, NULL) < real || strtod(text, NULL) > real)
            (void) snprintf(text, sizeof(text), "%.17g", real);
    }
    pv_buf_put_u32(out, (uint32_t) strlen(text));
    pv_buf_put_text(out, text);
}

bool
pv_ask_next(const struct pv_ask *ask, size_t *offset, const uint16_t *formats, size_t format_count, struct pv_buf *out)
{
    struct pv_slice all = pv_buf_slice(&ask->rows);
    struct pv_reader reader;

    if (*offset >= all.len)
        return false;
    reader = pv_reader_of(pv_slice_of(all.data + *offset, all.len - *offset));
    pv_buf_put_u16(out, (uint16_t) ask->column_count);
    for (size_t i = 0; i < ask->column_count; i++) {
        uint16_t format = format_count == 0 ? 0 : format_count == 1 ? formats[0] : i < format_count ? formats[i] : 0;
        uint32_t oid = ask->columns[i].type_oid;
        struct pv_slice text;
        int64_t bits = 0;
        uint32_t len = 0;
        uint8_t tag = 0;
        enum pv_status status = pv_read_u8(&reader, &tag);

        if (tag == CELL_INT || tag == CELL_REAL)
            status = pv_read_i64(&reader, &bits);
        else if (tag == CELL_TEXT) {
            status = pv_read_u32(&reader, &len);
            if (status == PV_OK)
                status = pv_read_slice(&reader, len, &text);
        }
        pv_assert(status == PV_OK); /* keep_cell wrote it */
        if (tag == CELL_NULL)
            pv_buf_put_u32(out, UINT32_MAX);
        else if (tag != CELL_TEXT)
            put_number(out, (enum cell_tag) tag, (uint64_t) bits, oid, format == 1);
        else if (oid == PV_TYPE_TIMESTAMPTZ)
            put_time(out, text, format == 1);
        else {
            pv_buf_put_u32(out, (uint32_t) text.len);
            pv_buf_put_slice(out, text);
        }
    }
    *offset = all.len - reader.left;
    return true;
}
