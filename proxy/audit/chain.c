#include "proxy/audit/export_int.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* How far from a broken place its record is looked for. */
#define WINDOW 32u

/* A cursor on one of the chained tables, at the row not yet checked. */
struct cursor {
    enum pv_table_id id;
    sqlite3_stmt *statement;
    bool is_done;
    uint64_t seq;
};

void
pv_chain_clear(struct pv_chain *chain)
{
    pv_buf_clear(&chain->canonical);
}

void
pv_chain_fault(struct pv_chain *chain, enum pv_log_fault fault, uint64_t seq, const char *format, ...)
{
    struct pv_verdict *verdict = chain->verdict;
    va_list args;
    int len;

    verdict->fault = fault;
    verdict->seq = seq;
    len = snprintf(verdict->words, sizeof(verdict->words), "%s", chain->where == NULL ? "" : chain->where);
    va_start(args, format);
    (void) vsnprintf(verdict->words + len, sizeof(verdict->words) - (size_t) len, format, args);
    va_end(args);
}

/* ---- Cursors ---- */

static enum pv_status
cursor_next(struct cursor *cursor)
{
    enum pv_status status = pv_db_step(cursor->statement);

    cursor->is_done = status == PV_NOTFOUND;
    if (status == PV_OK)
        cursor->seq = (uint64_t) sqlite3_column_int64(cursor->statement, 0);
    return cursor->is_done ? PV_OK : status;
}

static enum pv_status
cursor_open(struct cursor *cursor, sqlite3 *sqlite, enum pv_table_id id, int64_t above)
{
    char *sql = sqlite3_mprintf("SELECT seq, %s, hash FROM main.%s WHERE seq > %lld ORDER BY seq",
                                pv_tables[id].columns, pv_tables[id].name, (long long) above);
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_prepare(sqlite, sql, &cursor->statement);

    sqlite3_free(sql);
    cursor->id = id;
    return status == PV_OK ? cursor_next(cursor) : status;
}

/* The cursor with the lowest seq; NULL at the end. */
static struct cursor *
cursor_lowest(struct cursor cursors[PV_TABLE_COUNT])
{
    struct cursor *lowest = NULL;

    for (int i = 0; i < PV_TABLE_COUNT; i++)
        if (!cursors[i].is_done && (lowest == NULL || cursors[i].seq < lowest->seq))
            lowest = &cursors[i];
    return lowest;
}

/* The row's values as they are stored, whatever type somebody gave them. False: of a type that no record has. */
bool
pv_chain_values(sqlite3_stmt *row, const struct pv_table *table, struct pv_value values[PV_TABLE_COLUMNS_MAX])
{
    for (size_t i = 0; i < table->column_count; i++) {
        int column = (int) i + 1;
        struct pv_value value = {.kind = PV_VALUE_NULL};

        switch (sqlite3_column_type(row, column)) {
        case SQLITE_NULL:
            break;
        case SQLITE_INTEGER:
            value.kind = PV_VALUE_INT;
            value.number = sqlite3_column_int64(row, column);
            break;
        case SQLITE_TEXT:
            value.kind = PV_VALUE_TEXT;
            value.data = sqlite3_column_text(row, column);
            value.len = (size_t) sqlite3_column_bytes(row, column);
            break;
        case SQLITE_BLOB:
            value.kind = PV_VALUE_BLOB;
            value.data = sqlite3_column_blob(row, column);
            value.len = (size_t) sqlite3_column_bytes(row, column);
            break;
        default:
            return false;
        }
        values[i] = value;
    }
    return true;
}

/* ---- What happened to a record that does not fit ---- */

struct hashes {
    uint64_t count;
    uint8_t hash[3 * (2 * WINDOW + 2)][PV_SHA256_BYTES];
};

/* Hashes stored near a place, in any order: after a swap they stand with the wrong records. */
static enum pv_status
read_hashes(struct pv_chain *chain, uint64_t seq, struct hashes *hashes)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status =
        pv_db_prepare(chain->sqlite,
                      "SELECT hash FROM main.statement WHERE seq BETWEEN ?1 AND ?2 UNION ALL SELECT hash FROM"
                      " main.statement_end WHERE seq BETWEEN ?1 AND ?2 UNION ALL SELECT hash FROM main.event WHERE seq"
                      " BETWEEN ?1 AND ?2",
                      &statement);

    hashes->count = 0;
    if (status == PV_OK) {
        (void) sqlite3_bind_int64(statement, 1, seq > WINDOW + 1 ? (int64_t) (seq - WINDOW - 1) : 0);
        (void) sqlite3_bind_int64(statement, 2, (int64_t) (seq + WINDOW));
    }
    while (status == PV_OK) {
        status = pv_db_step(statement);
        if (status != PV_OK || hashes->count >= PV_COUNT_OF(hashes->hash))
            break;
        if (sqlite3_column_bytes(statement, 0) == (int) PV_SHA256_BYTES)
            memcpy(hashes->hash[hashes->count++], sqlite3_column_blob(statement, 0), PV_SHA256_BYTES);
    }
    (void) sqlite3_finalize(statement);
    return status == PV_NOTFOUND ? PV_OK : status;
}

static bool
has_hash(const struct hashes *hashes, const uint8_t hash[PV_SHA256_BYTES])
{
    for (uint64_t i = 0; i < hashes->count; i++)
        if (memcmp(hashes->hash[i], hash, PV_SHA256_BYTES) == 0)
            return true;
    return false;
}

/* Whether these values make a known hash under another number: then the record was moved, not changed. */
static enum pv_status
find_origin(struct pv_chain *chain, const struct pv_table *table, uint64_t at, const struct pv_value *values,
            uint64_t *origin)
{
    struct hashes *hashes = pv_alloc(sizeof(*hashes));
    struct pv_row_shape shape;
    bool is_shaped = pv_row_shape(table, values, &shape);
    enum pv_status status = hashes == NULL ? PV_NOMEM : read_hashes(chain, at, hashes);
    uint64_t first = at > WINDOW ? at - WINDOW : 1;
    uint8_t hash[PV_SHA256_BYTES];

    *origin = 0;
    for (uint64_t seq = first; status == PV_OK && is_shaped && *origin == 0 && seq <= at + WINDOW; seq++) {
        for (uint64_t i = 0; status == PV_OK && *origin == 0 && i <= hashes->count; i++) {
            const uint8_t *before = i == hashes->count ? chain->hash : hashes->hash[i];

            status = pv_canonical(&chain->canonical, before, shape.tag, seq, values, shape.count);
            if (status == PV_OK)
                status = pv_sha256(pv_buf_slice(&chain->canonical), hash);
            if (status == PV_OK && has_hash(hashes, hash))
                *origin = seq;
        }
    }
    pv_free(hashes);
    return status;
}

static enum pv_status
name_break(struct pv_chain *chain, const struct pv_table *table, uint64_t at, const struct pv_value *values)
{
    uint64_t origin = 0;
    enum pv_status status =
        values == NULL || chain->sqlite == NULL ? PV_OK : find_origin(chain, table, at, values, &origin);

    if (status != PV_OK)
        return status;
    if (origin != 0 && origin != at)
        pv_chain_fault(chain, PV_FAULT_REORDERED, at,
                       "reordered: at record %" PRIu64 " stands what was record %" PRIu64, at, origin);
    else
        pv_chain_fault(chain, PV_FAULT_CHANGED, at, "changed: record %" PRIu64 " (%s) does not match its hash", at,
                       table->name);
    return PV_OK;
}

/* ---- The chain ---- */

/* Heads that were kept along the way: what they say must be what the chain says. */
static enum pv_status
meet_heads(struct pv_chain *chain)
{
    enum pv_status status = PV_OK;

    for (; chain->head_next < chain->head_count && chain->heads[chain->head_next].seq <= chain->seq;
         chain->head_next++) {
        const struct pv_log_head *kept = &chain->heads[chain->head_next];

        if (kept->seq == chain->seq && memcmp(kept->hash, chain->hash, PV_SHA256_BYTES) != 0) {
            pv_chain_fault(chain, PV_FAULT_HEAD, kept->seq, "head: the kept head of seq %" PRIu64 " is not in the log",
                           kept->seq);
            return PV_OK;
        }
        if (kept->seq == chain->seq && chain->listener != NULL && status == PV_OK)
            status = chain->listener->head(chain->listener->context, kept);
    }
    if (chain->head != NULL && chain->head->seq == chain->seq)
        chain->is_head_seen = memcmp(chain->head->hash, chain->hash, PV_SHA256_BYTES) == 0;
    return status;
}

enum pv_status
pv_chain_push(struct pv_chain *chain, enum pv_table_id id, uint64_t seq, const struct pv_value *values,
              struct pv_slice stored)
{
    const struct pv_table *table = &pv_tables[id];
    struct pv_row_shape shape;
    uint8_t hash[PV_SHA256_BYTES];
    enum pv_status status;

    if (seq > chain->seq + 1) {
        pv_chain_fault(chain, PV_FAULT_MISSING, chain->seq + 1,
                       "missing: record %" PRIu64 " is not there, record %" PRIu64 " is next", chain->seq + 1, seq);
        return PV_OK;
    }
    if (seq <= chain->seq) {
        pv_chain_fault(chain, PV_FAULT_CHANGED, seq, "changed: two records bear the number %" PRIu64, seq);
        return PV_OK;
    }
    if (values == NULL || !pv_row_shape(table, values, &shape))
        return name_break(chain, table, seq, NULL);
    status = pv_canonical(&chain->canonical, chain->hash, shape.tag, seq, values, shape.count);
    if (status == PV_OK)
        status = pv_sha256(pv_buf_slice(&chain->canonical), hash);
    if (status != PV_OK)
        return status;
    if (stored.len != PV_SHA256_BYTES || memcmp(stored.data, hash, PV_SHA256_BYTES) != 0)
        return name_break(chain, table, seq, values);
    chain->seq = seq;
    memcpy(chain->hash, hash, PV_SHA256_BYTES);
    chain->verdict->records++;
    if (chain->listener != NULL)
        status = chain->listener->record(chain->listener->context, id, seq, values, hash);
    return status == PV_OK ? meet_heads(chain) : status;
}

static enum pv_status
push_row(struct pv_chain *chain, const struct cursor *cursor)
{
    const struct pv_table *table = &pv_tables[cursor->id];
    struct pv_value values[PV_TABLE_COLUMNS_MAX];
    int hash_column = (int) table->column_count + 1;
    bool is_shaped = pv_chain_values(cursor->statement, table, values);

    return pv_chain_push(chain, cursor->id, cursor->seq, is_shaped ? values : NULL,
                         pv_slice_of(sqlite3_column_blob(cursor->statement, hash_column),
                                     (size_t) sqlite3_column_bytes(cursor->statement, hash_column)));
}

enum pv_status
pv_chain_walk(struct pv_chain *chain, sqlite3 *sqlite, int64_t above)
{
    struct cursor cursors[PV_TABLE_COUNT] = {0};
    struct cursor *cursor;
    enum pv_status status = PV_OK;

    chain->sqlite = sqlite;
    for (int i = 0; status == PV_OK && i < PV_TABLE_COUNT; i++)
        status = cursor_open(&cursors[i], sqlite, (enum pv_table_id) i, above);
    while (status == PV_OK && chain->verdict->fault == PV_FAULT_NONE && (cursor = cursor_lowest(cursors)) != NULL) {
        status = push_row(chain, cursor);
        if (status == PV_OK && chain->verdict->fault == PV_FAULT_NONE)
            status = cursor_next(cursor);
    }
    for (int i = 0; i < PV_TABLE_COUNT; i++)
        (void) sqlite3_finalize(cursors[i].statement);
    chain->sqlite = NULL;
    return status;
}
