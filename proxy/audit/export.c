/*
 * The log's records as JSON lines that carry all that the hashes cover: whoever has the public key checks them with
 * nothing else at hand. A text is exactly the text of the record, also where it holds JSON; bytes that are no UTF-8
 * stand as hex digits under the column's name with _hex.
 */
#include "proxy/audit/export_int.h"

#include "proxy/audit/export.h"
#include "proxy/audit/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const pv_export_kinds[PV_TABLE_COUNT] = {
    [PV_TABLE_STATEMENT] = "statement", [PV_TABLE_STATEMENT_END] = "end", [PV_TABLE_EVENT] = "event"};

/* kind, seq, hash, and the columns. */
#define CELLS_MAX (PV_TABLE_COLUMNS_MAX + 3u)
#define NAME_SIZE 32u

struct export
{
    const char *path;
    pv_export_put put;
    void *context;
    struct pv_buf line, hex;
    struct pv_db_head newest;
    uint64_t head_seq; /* of the last head that went out */
};

/* Goes through the columns of a table: "id, at, session". */
static void
next_name(const char **at, char name[NAME_SIZE])
{
    size_t len = strcspn(*at, ",");

    (void) snprintf(name, NAME_SIZE, "%.*s", (int) len, *at);
    *at += len;
    *at += strspn(*at, ", ");
}

static enum pv_status
send_line(struct export *export)
{
    enum pv_status status;

    pv_buf_put_u8(&export->line, '\n');
    status = pv_buf_ok(&export->line) ? export->put(export->context, pv_buf_slice(&export->line)) : PV_NOMEM;
    pv_buf_truncate(&export->line, 0);
    return status;
}

static enum pv_status
put_record(void *context, enum pv_table_id id, uint64_t seq, const struct pv_value *values,
           const uint8_t hash[PV_SHA256_BYTES])
{
    struct export *export = context;
    char names[PV_TABLE_COLUMNS_MAX][NAME_SIZE];
    const char *row_names[CELLS_MAX] = {"kind", "seq"};
    struct pv_cell cells[CELLS_MAX] = {{.kind = PV_CELL_TEXT, .bytes = pv_slice_cstr(pv_export_kinds[id])},
                                       {.kind = PV_CELL_INT, .number = (int64_t) seq}};
    const char *at = pv_tables[id].columns;
    size_t count = pv_tables[id].column_count;
    size_t blob = SIZE_MAX, hash_at;
    enum pv_status status = PV_OK;

    pv_buf_truncate(&export->hex, 0);
    for (size_t i = 0; i < count; i++) {
        struct pv_cell *cell = &cells[i + 2];

        next_name(&at, names[i]);
        row_names[i + 2] = names[i];
        *cell = (struct pv_cell){
            .kind = PV_CELL_NULL, .number = values[i].number, .bytes = pv_slice_of(values[i].data, values[i].len)};
        if (values[i].kind == PV_VALUE_INT)
            cell->kind = PV_CELL_INT;
        else if (values[i].kind == PV_VALUE_TEXT)
            cell->kind = PV_CELL_TEXT;
        else if (values[i].kind == PV_VALUE_BLOB && blob == SIZE_MAX) {
            /* The query alone can be one. */
            blob = i + 2;
            cell->kind = PV_CELL_TEXT;
            (void) snprintf(names[i] + strlen(names[i]), NAME_SIZE - strlen(names[i]), "_hex");
            status = pv_hex_encode(cell->bytes, &export->hex);
        } else if (values[i].kind == PV_VALUE_BLOB)
            status = PV_INVALID;
    }
    hash_at = pv_buf_len(&export->hex);
    if (status == PV_OK)
        status = pv_hex_encode(pv_slice_of(hash, PV_SHA256_BYTES), &export->hex);
    if (status != PV_OK || !pv_buf_ok(&export->hex))
        return status == PV_OK ? PV_NOMEM : status;
    if (blob != SIZE_MAX)
        cells[blob].bytes = pv_slice_of(pv_buf_slice(&export->hex).data, hash_at);
    row_names[count + 2] = "hash";
    cells[count + 2] = (struct pv_cell){
        .kind = PV_CELL_TEXT, .bytes = pv_slice_of(pv_buf_slice(&export->hex).data + hash_at, 2 * PV_SHA256_BYTES)};
    pv_row_put_json(&(struct pv_row){count + 3, row_names, cells}, &export->line);
    export->newest.seq = seq;
    memcpy(export->newest.hash, hash, PV_SHA256_BYTES);
    return send_line(export);
}

/* {"kind": "head", "seq": ... as `pgveil audit head` prints it. */
static enum pv_status
put_head(void *context, const struct pv_log_head *head)
{
    struct export *export = context;
    struct pv_buf text = {0};
    enum pv_status status;

    pv_log_head_format(head, &text);
    if (!pv_buf_ok(&text) || pv_buf_len(&text) < 2) {
        pv_buf_clear(&text);
        return PV_NOMEM;
    }
    pv_buf_put_text(&export->line, "{\"kind\": \"head\", ");
    pv_buf_put(&export->line, pv_buf_slice(&text).data + 1, pv_buf_len(&text) - 2);
    pv_buf_clear(&text);
    status = send_line(export);
    export->head_seq = head->seq;
    return status;
}

static enum pv_status
put_hex(struct pv_buf *out, const char *name, const uint8_t *bytes, size_t len)
{
    enum pv_status status;

    pv_buf_printf(out, ", \"%s\": \"", name);
    status = pv_hex_encode(pv_slice_of(bytes, len), out);
    pv_buf_put_u8(out, '"');
    return status;
}

/* Where the chain begins: at nothing, or where the last retired segment ended, as its tombstone says. */
static enum pv_status
put_start(void *context, const struct pv_segment *retired)
{
    struct export *export = context;
    struct pv_buf *line = &export->line;
    const struct pv_cell file = {.kind = PV_CELL_TEXT, .bytes = pv_slice_cstr(retired == NULL ? "" : retired->file)};
    const char *const file_name = "file";
    enum pv_status status = PV_OK;

    if (retired == NULL) {
        pv_buf_put_text(line, "{\"kind\": \"start\", \"version\": 1, \"first_seq\": 1}");
        return send_line(export);
    }
    export->newest.seq = retired->last_seq;
    memcpy(export->newest.hash, retired->hash, PV_SHA256_BYTES);
    pv_row_put_json(&(struct pv_row){1, &file_name, &file}, line);
    if (!pv_buf_ok(line))
        return PV_NOMEM;
    pv_buf_truncate(line, pv_buf_len(line) - 1);
    pv_buf_printf(line,
                  ", \"kind\": \"start\", \"version\": 1, \"first_seq\": %" PRIu64 ", \"segment\": %" PRIu64
                  ", \"segment_first_seq\": %" PRIu64 ", \"segment_last_seq\": %" PRIu64 ", \"records\": %" PRIu64
                  ", \"id_max\": %" PRIu64 ", \"first_at\": \"%s\", \"last_at\": \"%s\", \"sealed_us\": %" PRId64
                  ", \"retired_us\": %" PRId64 ", \"policy\": \"%s\", \"key\": \"%s\"",
                  retired->last_seq + 1, retired->number, retired->first_seq, retired->last_seq, retired->records,
                  retired->id_max, retired->first_at, retired->last_at, retired->at_us, retired->retired_us,
                  retired->policy, retired->retired_fingerprint);
    status = put_hex(line, "before", retired->before, PV_SHA256_BYTES);
    if (status == PV_OK)
        status = put_hex(line, "hash", retired->hash, PV_SHA256_BYTES);
    if (status == PV_OK)
        status = put_hex(line, "signature", retired->retired_signature, PV_SIGNATURE_BYTES);
    pv_buf_put_u8(line, '}');
    return status == PV_OK ? send_line(export) : status;
}

enum pv_status
pv_log_export_records(const char *path, pv_export_put put, void *context, struct pv_verdict *verdict, char *error,
                      size_t error_size)
{
    struct export export = {.path = path, .put = put, .context = context};
    const struct pv_chain_listener listener = {put_start, put_record, put_head, &export};
    struct pv_log_head head;
    enum pv_status status = pv_log_walk(path, &listener, verdict, error, error_size);

    /* The end is signed now, where the key is at hand; a copy without it ends with the head that was kept last. */
    if (status == PV_OK && verdict->fault == PV_FAULT_NONE && export.newest.seq > export.head_seq &&
        pv_head_sign(&export.newest, path, &head, NULL, 0) == PV_OK)
        status = put_head(&export, &head);
    pv_buf_clear(&export.line);
    pv_buf_clear(&export.hex);
    return status;
}
