#include "proxy/audit/segment_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS \
    "number, file, first_seq, last_seq, before, hash, records, id_max, first_at, last_at, at, key, signature"

/* ---- Reading ---- */

static bool
take_blob(sqlite3_stmt *row, int column, uint8_t *out, size_t len)
{
    if (sqlite3_column_bytes(row, column) != (int) len)
        return false;
    memcpy(out, sqlite3_column_blob(row, column), len);
    return true;
}

static bool
take_text(sqlite3_stmt *row, int column, char *out, size_t size)
{
    const char *text = (const char *) sqlite3_column_text(row, column);

    return text != NULL && (size_t) snprintf(out, size, "%s", text) < size;
}

static bool
take_manifest(sqlite3_stmt *row, struct pv_segment *segment)
{
    *segment = (struct pv_segment){
        .number = (uint64_t) sqlite3_column_int64(row, 0),
        .first_seq = (uint64_t) sqlite3_column_int64(row, 2),
        .last_seq = (uint64_t) sqlite3_column_int64(row, 3),
        .records = (uint64_t) sqlite3_column_int64(row, 6),
        .id_max = (uint64_t) sqlite3_column_int64(row, 7),
        .at_us = sqlite3_column_int64(row, 10),
    };
    return take_text(row, 1, segment->file, sizeof(segment->file)) && strchr(segment->file, '/') == NULL &&
           take_blob(row, 4, segment->before, PV_SHA256_BYTES) && take_blob(row, 5, segment->hash, PV_SHA256_BYTES) &&
           take_text(row, 8, segment->first_at, sizeof(segment->first_at)) &&
           take_text(row, 9, segment->last_at, sizeof(segment->last_at)) &&
           take_text(row, 11, segment->fingerprint, sizeof(segment->fingerprint)) &&
           take_blob(row, 12, segment->signature, PV_SIGNATURE_BYTES);
}

/* A tombstone repeats what its segment said, so that the two cannot be of different ones. */
static bool
take_tombstone(sqlite3_stmt *row, struct pv_segment *segment)
{
    uint8_t hash[PV_SHA256_BYTES];

    if (sqlite3_column_type(row, 13) == SQLITE_NULL)
        return true;
    segment->is_retired = true;
    segment->retired_us = sqlite3_column_int64(row, 15);
    return (uint64_t) sqlite3_column_int64(row, 13) == segment->last_seq && take_blob(row, 14, hash, sizeof(hash)) &&
           memcmp(hash, segment->hash, sizeof(hash)) == 0 &&
           take_text(row, 16, segment->policy, sizeof(segment->policy)) &&
           take_text(row, 17, segment->retired_fingerprint, sizeof(segment->retired_fingerprint)) &&
           take_blob(row, 18, segment->retired_signature, PV_SIGNATURE_BYTES);
}

static enum pv_status
load_all(sqlite3_stmt *row, struct pv_segment **segments, size_t *count)
{
    size_t room = 0;
    enum pv_status status;

    while ((status = pv_db_step(row)) == PV_OK) {
        if (*count == room) {
            struct pv_segment *more;

            room = room == 0 ? 16 : room * 2;
            more = pv_realloc(*segments, room * sizeof(**segments));
            if (more == NULL)
                return PV_NOMEM;
            *segments = more;
        }
        if (!take_manifest(row, &(*segments)[*count]) || !take_tombstone(row, &(*segments)[*count]))
            return PV_CORRUPT;
        ++*count;
    }
    return status == PV_NOTFOUND ? PV_OK : status;
}

enum pv_status
pv_segments_load(sqlite3 *sqlite, const char *schema, struct pv_segment **segments, size_t *count)
{
    struct pv_segment *list = NULL;
    size_t found = 0;
    sqlite3_stmt *row = NULL;
    enum pv_status status;

    *segments = NULL;
    *count = 0;
    {
        char *sql =
            sqlite3_mprintf("SELECT s.number, s.file, s.first_seq, s.last_seq, s.before, s.hash, s.records, s.id_max,"
                            " s.first_at, s.last_at, s.at, s.key, s.signature, r.last_seq, r.hash, r.at, r.policy,"
                            " r.key, r.signature FROM %s.segment AS s LEFT JOIN %s.retired AS r ON"
                            " r.number = s.number ORDER BY s.number",
                            schema, schema);

        status = sql == NULL ? PV_NOMEM : pv_db_prepare(sqlite, sql, &row);
        sqlite3_free(sql);
    }
    if (status == PV_OK)
        status = load_all(row, &list, &found);
    (void) sqlite3_finalize(row);
    if (status != PV_OK) {
        pv_free(list);
        return status;
    }
    *segments = list;
    *count = found;
    return PV_OK;
}

enum pv_status
pv_segment_manifest(sqlite3 *sqlite, struct pv_segment *segment)
{
    sqlite3_stmt *row = NULL;
    enum pv_status status = pv_db_prepare(sqlite, "SELECT " COLUMNS " FROM main.manifest", &row);

    if (status == PV_OK)
        status = pv_db_step(row);
    if (status == PV_OK && !take_manifest(row, segment))
        status = PV_CORRUPT;
    (void) sqlite3_finalize(row);
    return status == PV_NOTFOUND ? PV_CORRUPT : status;
}

bool
pv_segment_equal(const struct pv_segment *a, const struct pv_segment *b)
{
    return a->number == b->number && strcmp(a->file, b->file) == 0 && a->first_seq == b->first_seq &&
           a->last_seq == b->last_seq && a->records == b->records && a->id_max == b->id_max && a->at_us == b->at_us &&
           memcmp(a->before, b->before, PV_SHA256_BYTES) == 0 && memcmp(a->hash, b->hash, PV_SHA256_BYTES) == 0 &&
           strcmp(a->first_at, b->first_at) == 0 && strcmp(a->last_at, b->last_at) == 0 &&
           strcmp(a->fingerprint, b->fingerprint) == 0 && memcmp(a->signature, b->signature, PV_SIGNATURE_BYTES) == 0;
}

/* ---- Writing ---- */

enum pv_status
pv_segment_insert(sqlite3 *sqlite, const char *table, const struct pv_segment *segment)
{
    char *sql =
        sqlite3_mprintf("INSERT INTO main.%s (" COLUMNS ") VALUES"
                        " (%lld, %Q, %lld, %lld, ?1, ?2, %lld, %lld, %Q, %Q, %lld, %Q, ?3)",
                        table, (long long) segment->number, segment->file, (long long) segment->first_seq,
                        (long long) segment->last_seq, (long long) segment->records, (long long) segment->id_max,
                        segment->first_at, segment->last_at, (long long) segment->at_us, segment->fingerprint);
    sqlite3_stmt *insert = NULL;
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_prepare(sqlite, sql, &insert);

    sqlite3_free(sql);
    if (status == PV_OK) {
        (void) sqlite3_bind_blob(insert, 1, segment->before, PV_SHA256_BYTES, SQLITE_STATIC);
        (void) sqlite3_bind_blob(insert, 2, segment->hash, PV_SHA256_BYTES, SQLITE_STATIC);
        (void) sqlite3_bind_blob(insert, 3, segment->signature, PV_SIGNATURE_BYTES, SQLITE_STATIC);
        status = pv_db_step(insert);
    }
    (void) sqlite3_finalize(insert);
    return status == PV_NOTFOUND ? PV_OK : status;
}

enum pv_status
pv_segment_insert_retired(sqlite3 *sqlite, const struct pv_segment *segment)
{
    char *sql = sqlite3_mprintf("INSERT INTO main.retired (number, last_seq, hash, at, policy, key, signature) VALUES"
                                " (%lld, %lld, ?1, %lld, %Q, %Q, ?2)",
                                (long long) segment->number, (long long) segment->last_seq,
                                (long long) segment->retired_us, segment->policy, segment->retired_fingerprint);
    sqlite3_stmt *insert = NULL;
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_prepare(sqlite, sql, &insert);

    sqlite3_free(sql);
    if (status == PV_OK) {
        (void) sqlite3_bind_blob(insert, 1, segment->hash, PV_SHA256_BYTES, SQLITE_STATIC);
        (void) sqlite3_bind_blob(insert, 2, segment->retired_signature, PV_SIGNATURE_BYTES, SQLITE_STATIC);
        status = pv_db_step(insert);
    }
    (void) sqlite3_finalize(insert);
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* ---- What is signed ---- */

static enum pv_status
put_facts(const struct pv_segment *segment, struct pv_buf *out)
{
    enum pv_status status;

    pv_buf_printf(out,
                  "number %" PRIu64 "\nfile %s\nrecords %" PRIu64 " to %" PRIu64 ", %" PRIu64 "\nids to %" PRIu64
                  "\nfrom %s to %s\nbefore ",
                  segment->number, segment->file, segment->first_seq, segment->last_seq, segment->records,
                  segment->id_max, segment->first_at, segment->last_at);
    status = pv_hex_encode(pv_slice_of(segment->before, PV_SHA256_BYTES), out);
    pv_buf_put_text(out, "\nhash ");
    if (status == PV_OK)
        status = pv_hex_encode(pv_slice_of(segment->hash, PV_SHA256_BYTES), out);
    pv_buf_printf(out, "\nsealed %" PRId64 "\n", segment->at_us);
    return status == PV_OK && !pv_buf_ok(out) ? PV_NOMEM : status;
}

static enum pv_status
segment_text(const struct pv_segment *segment, struct pv_buf *out)
{
    pv_buf_put_text(out, "pgveil query log segment\n");
    return put_facts(segment, out);
}

static enum pv_status
retired_text(const struct pv_segment *segment, struct pv_buf *out)
{
    enum pv_status status;

    pv_buf_put_text(out, "pgveil query log segment, retired\n");
    status = put_facts(segment, out);
    pv_buf_printf(out, "retired %" PRId64 "\npolicy %s\n", segment->retired_us, segment->policy);
    return status == PV_OK && !pv_buf_ok(out) ? PV_NOMEM : status;
}

typedef enum pv_status (*text_of)(const struct pv_segment *segment, struct pv_buf *out);

static enum pv_status
sign(const struct pv_sign_key *key, const struct pv_segment *segment, text_of make_text,
     uint8_t signature[PV_SIGNATURE_BYTES])
{
    struct pv_buf text = {0};
    enum pv_status status = make_text(segment, &text);

    if (status == PV_OK)
        status = pv_sign(key, pv_buf_slice(&text), signature);
    pv_buf_clear(&text);
    return status;
}

static enum pv_status
check(const struct pv_sign_key *key, const struct pv_segment *segment, text_of make_text, const char *fingerprint,
      const uint8_t signature[PV_SIGNATURE_BYTES])
{
    char own[PV_FINGERPRINT_SIZE] = "";
    struct pv_buf text = {0};
    enum pv_status status = make_text(segment, &text);

    if (status == PV_OK)
        status = pv_sign_verify(key, pv_buf_slice(&text), pv_slice_of(signature, PV_SIGNATURE_BYTES));
    pv_buf_clear(&text);
    if (status == PV_OK)
        status = pv_sign_fingerprint(key, own);
    return status == PV_OK && strcmp(own, fingerprint) != 0 ? PV_DENIED : status;
}

enum pv_status
pv_segment_sign(const struct pv_sign_key *key, struct pv_segment *segment)
{
    enum pv_status status = pv_sign_fingerprint(key, segment->fingerprint);

    return status == PV_OK ? sign(key, segment, segment_text, segment->signature) : status;
}

enum pv_status
pv_segment_sign_retired(const struct pv_sign_key *key, struct pv_segment *segment)
{
    enum pv_status status = pv_sign_fingerprint(key, segment->retired_fingerprint);

    return status == PV_OK ? sign(key, segment, retired_text, segment->retired_signature) : status;
}

enum pv_status
pv_segment_check(const struct pv_sign_key *key, const struct pv_segment *segment)
{
    return check(key, segment, segment_text, segment->fingerprint, segment->signature);
}

enum pv_status
pv_segment_check_retired(const struct pv_sign_key *key, const struct pv_segment *segment)
{
    return check(key, segment, retired_text, segment->retired_fingerprint, segment->retired_signature);
}
