/* What tests read from a log by its readers: rows as lines of JSON. */
#ifndef READER_TEST_H
#define READER_TEST_H

#include "tests/unit/audit/audit_test.h"

static UNUSED struct pv_log_reader *
open_reader(const struct place *place, const struct pv_log_reader_options *options)
{
    struct pv_log_reader *reader = NULL;
    char error[256] = "";

    if (pv_log_reader_open(place->path, options, &reader, error, sizeof(error)) != PV_OK)
        fail_msg("reader: %s", error);
    return reader;
}

static UNUSED enum pv_status
take_json(void *context, const struct pv_row *row)
{
    if (row->cells != NULL) {
        pv_row_put_json(row, context);
        pv_buf_put_u8(context, '\n');
    }
    return PV_OK;
}

/* The caller's to free. */
static UNUSED char *
ask(struct pv_log_reader *reader, const char *sql)
{
    struct pv_buf out = {0};
    char error[256] = "";
    char *text;

    if (pv_log_query(reader, sql, take_json, &out, error, sizeof(error)) != PV_OK)
        fail_msg("%s: %s", sql, error);
    text = strdup(pv_buf_text(&out));
    pv_buf_clear(&out);
    assert_non_null(text);
    return text;
}

#endif
