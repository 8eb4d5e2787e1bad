/*
 * What a reader sees who may not see literals: the text comes from whoever opened the reader, who knows SQL; what has
 * no masked form is told by its length and hash alone, so that two records can be compared all the same.
 */
#include "proxy/audit/db_int.h"
#include "proxy/audit/query_int.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void
give(sqlite3_context *context, struct pv_buf *out)
{
    const char *text = pv_buf_text(out);

    if (text == NULL)
        sqlite3_result_error_nomem(context);
    else
        sqlite3_result_text64(context, text, strlen(text), SQLITE_TRANSIENT, SQLITE_UTF8);
    pv_buf_clear(out);
}

static enum pv_status
put_whole(struct pv_slice text, struct pv_buf *out)
{
    uint8_t hash[PV_SHA256_BYTES];
    enum pv_status status = pv_sha256(text, hash);

    pv_buf_printf(out, "(masked: %zu bytes, sha256 ", text.len);
    if (status == PV_OK)
        status = pv_hex_encode(pv_slice_of(hash, sizeof(hash)), out);
    pv_buf_put_u8(out, ')');
    return status;
}

static struct pv_slice
bytes_of(sqlite3_value *value)
{
    const uint8_t *data = sqlite3_value_blob(value);

    return pv_slice_of(data == NULL ? (const uint8_t *) "" : data, (size_t) sqlite3_value_bytes(value));
}

/* pv_mask(sql) */
static void
mask_sql(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const struct pv_log_reader *reader = sqlite3_user_data(context);
    struct pv_buf out = {0};
    enum pv_status status;

    if (argc != 1 || sqlite3_value_type(argv[0]) == SQLITE_NULL)
        return;
    status = reader->mask(bytes_of(argv[0]), &out);
    if (status != PV_OK && status != PV_NOMEM)
        status = put_whole(bytes_of(argv[0]), &out);
    if (status == PV_OK) {
        give(context, &out);
        return;
    }
    pv_buf_clear(&out);
    sqlite3_result_error_nomem(context);
}

/* pv_mask_text(words): words that may quote a value. */
static void
mask_text(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct pv_buf out = {0};

    if (argc != 1 || sqlite3_value_type(argv[0]) == SQLITE_NULL)
        return;
    if (put_whole(bytes_of(argv[0]), &out) == PV_OK)
        give(context, &out);
    else
        sqlite3_result_error_nomem(context);
    pv_buf_clear(&out);
}

/* By its look: what it was sent as is not in the log. */
static const char *
kind_of(const char *text)
{
    size_t digits = strspn(text, "-0123456789");
    char *end = NULL;

    if (digits == 10 && text[4] == '-' && text[7] == '-')
        return text[10] == '\0' ? "date" : text[10] == ' ' || text[10] == 'T' ? "timestamp" : "text";
    if (text[0] == '\0' || strspn(text, "+-.0123456789eE") != strlen(text))
        return "text";
    (void) strtod(text, &end);
    if (*end != '\0')
        return "text";
    return text[digits] == '\0' ? "integer" : "numeric";
}

/* pv_mask_parameters(json): ["text", null, "integer"] */
static void
mask_parameters(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct pv_slice text;
    json_t *array;
    struct pv_buf out = {0};

    if (argc != 1 || sqlite3_value_type(argv[0]) == SQLITE_NULL)
        return;
    text = bytes_of(argv[0]);
    array = json_loadb((const char *) text.data, text.len, JSON_ALLOW_NUL, NULL);
    if (!json_is_array(array)) {
        json_decref(array);
        mask_text(context, argc, argv);
        return;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *value = json_array_get(array, i);

        pv_buf_put_text(&out, i == 0 ? "[" : ", ");
        if (json_is_null(value))
            pv_buf_put_text(&out, "null");
        else
            pv_buf_printf(&out, "\"%s\"",
                          json_is_string(value)    ? kind_of(json_string_value(value))
                          : json_is_integer(value) ? "integer"
                          : json_is_real(value)    ? "numeric"
                          : json_is_boolean(value) ? "boolean"
                                                   : "text");
    }
    pv_buf_put_text(&out, json_array_size(array) == 0 ? "[]" : "]");
    json_decref(array);
    give(context, &out);
}

enum pv_status
pv_masking_add(struct pv_log_reader *reader)
{
    static const struct {
        const char *name;
        void (*call)(sqlite3_context *, int, sqlite3_value **);
    } rows[] = {{"pv_mask", mask_sql}, {"pv_mask_text", mask_text}, {"pv_mask_parameters", mask_parameters}};
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < PV_COUNT_OF(rows); i++)
        rc = sqlite3_create_function_v2(reader->sqlite, rows[i].name, 1,
                                        SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, reader, rows[i].call,
                                        NULL, NULL, NULL);
    return pv_db_status(rc);
}
