#include "proxy/audit/export.h"
#include "proxy/audit/export_int.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct pv_chain chain;
    struct pv_verdict *verdict;
    struct pv_sign_key *key;
    uint64_t line;
    bool has_start;
    char *error;
    size_t error_size;
};

static enum pv_status
refuse(struct check *check, const char *words)
{
    pv_db_error(check->error, check->error_size, "line %" PRIu64 ": %s", check->line, words);
    return PV_INVALID;
}

/* ---- Values ---- */

static bool
take_hex(const json_t *object, const char *name, uint8_t *out, size_t len)
{
    const char *text = json_string_value(json_object_get(object, name));
    struct pv_buf bytes = {0};
    bool is_right = text != NULL && pv_hex_decode(pv_slice_cstr(text), &bytes) == PV_OK && pv_buf_len(&bytes) == len;

    if (is_right)
        memcpy(out, pv_buf_slice(&bytes).data, len);
    pv_buf_clear(&bytes);
    return is_right;
}

static bool
take_number(const json_t *object, const char *name, uint64_t *number)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *number = (uint64_t) json_integer_value(value);
    return true;
}

static bool
take_text(const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL && (size_t) snprintf(out, size, "%s", text) < size;
}

/* One column; NULL: of no type that a record has, or not there. */
static bool
take_value(const json_t *object, const char *name, struct pv_buf *blob, struct pv_value *value)
{
    const json_t *found = json_object_get(object, name);
    char hex_name[48];

    *value = (struct pv_value){.kind = PV_VALUE_NULL};
    if (json_is_null(found))
        return true;
    if (json_is_integer(found)) {
        value->kind = PV_VALUE_INT;
        value->number = json_integer_value(found);
        return true;
    }
    if (json_is_string(found)) {
        *value =
            (struct pv_value){PV_VALUE_TEXT, 0, (const uint8_t *) json_string_value(found), json_string_length(found)};
        return true;
    }
    (void) snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
    found = json_object_get(object, hex_name);
    if (!json_is_string(found) || pv_buf_len(blob) > 0 ||
        pv_hex_decode(pv_slice_cstr(json_string_value(found)), blob) != PV_OK)
        return false;
    *value = (struct pv_value){PV_VALUE_BLOB, 0, pv_buf_slice(blob).data, pv_buf_len(blob)};
    return true;
}

/* ---- Lines ---- */

static enum pv_status
check_record(struct check *check, const json_t *object, enum pv_table_id id)
{
    struct pv_value values[PV_TABLE_COLUMNS_MAX];
    const char *at = pv_tables[id].columns;
    uint8_t hash[PV_SHA256_BYTES];
    struct pv_buf blob = {0};
    bool is_shaped = true;
    uint64_t seq = 0;
    enum pv_status status;

    for (size_t i = 0; i < pv_tables[id].column_count && is_shaped; i++) {
        size_t len = strcspn(at, ",");
        char name[32];

        (void) snprintf(name, sizeof(name), "%.*s", (int) len, at);
        at += len;
        at += strspn(at, ", ");
        is_shaped = take_value(object, name, &blob, &values[i]);
    }
    if (!take_number(object, "seq", &seq))
        status = refuse(check, "the record has no number");
    else
        status = pv_chain_push(&check->chain, id, seq, is_shaped ? values : NULL,
                               take_hex(object, "hash", hash, sizeof(hash)) ? pv_slice_of(hash, sizeof(hash))
                                                                            : pv_slice_of(NULL, 0));
    pv_buf_clear(&blob);
    return status;
}

/* A head stands behind its record. */
static enum pv_status
check_head(struct check *check, struct pv_slice line)
{
    static const char kind[] = "\"kind\": \"head\", ";
    struct pv_log_head head;
    struct pv_buf text = {0};
    enum pv_status status = PV_INVALID;

    if (line.len > sizeof(kind) && memcmp(line.data + 1, kind, sizeof(kind) - 1) == 0) {
        pv_buf_put_u8(&text, '{');
        pv_buf_put(&text, line.data + sizeof(kind), line.len - sizeof(kind));
        status = pv_buf_ok(&text) ? pv_log_head_parse(pv_buf_slice(&text), &head) : PV_NOMEM;
    }
    pv_buf_clear(&text);
    if (status == PV_INVALID)
        return refuse(check, "not a signed head");
    if (status == PV_OK)
        status = pv_head_check(&check->chain, check->key, &head);
    if (status != PV_OK || check->verdict->fault != PV_FAULT_NONE)
        return status;
    if (head.seq != check->chain.seq || memcmp(head.hash, check->chain.hash, PV_SHA256_BYTES) != 0)
        pv_chain_fault(&check->chain, PV_FAULT_HEAD, head.seq,
                       "head: the signed head of record %" PRIu64 " does not fit the records before it", head.seq);
    else
        check->verdict->signed_seq = head.seq;
    return PV_OK;
}

static enum pv_status
check_start(struct check *check, const json_t *object)
{
    struct pv_segment segment = {0};
    uint64_t first = 0, at_us = 0, retired_us = 0;
    enum pv_status status;

    check->has_start = true;
    if (!take_number(object, "first_seq", &first) || first == 0)
        return refuse(check, "the export does not say where it starts");
    if (first == 1)
        return PV_OK;
    if (!take_number(object, "segment", &segment.number) ||
        !take_number(object, "segment_first_seq", &segment.first_seq) ||
        !take_number(object, "segment_last_seq", &segment.last_seq) || segment.last_seq + 1 != first ||
        !take_number(object, "records", &segment.records) || !take_number(object, "id_max", &segment.id_max) ||
        !take_number(object, "sealed_us", &at_us) || !take_number(object, "retired_us", &retired_us) ||
        !take_text(object, "file", segment.file, sizeof(segment.file)) ||
        !take_text(object, "first_at", segment.first_at, sizeof(segment.first_at)) ||
        !take_text(object, "last_at", segment.last_at, sizeof(segment.last_at)) ||
        !take_text(object, "policy", segment.policy, sizeof(segment.policy)) ||
        !take_text(object, "key", segment.retired_fingerprint, sizeof(segment.retired_fingerprint)) ||
        !take_hex(object, "before", segment.before, PV_SHA256_BYTES) ||
        !take_hex(object, "hash", segment.hash, PV_SHA256_BYTES) ||
        !take_hex(object, "signature", segment.retired_signature, PV_SIGNATURE_BYTES))
        return refuse(check, "the tombstone of what is retired is not whole");
    segment.at_us = (int64_t) at_us;
    segment.retired_us = (int64_t) retired_us;
    status = pv_segment_check_retired(check->key, &segment);
    if (status == PV_DENIED) {
        pv_chain_fault(&check->chain, PV_FAULT_SIGNATURE, first,
                       "signature: the tombstone of segment %" PRIu64 " is not signed by this key", segment.number);
        return PV_OK;
    }
    check->chain.seq = segment.last_seq;
    memcpy(check->chain.hash, segment.hash, PV_SHA256_BYTES);
    check->verdict->first_seq = first;
    check->verdict->retired = segment.number;
    check->verdict->retired_us = segment.retired_us;
    (void) snprintf(check->verdict->policy, sizeof(check->verdict->policy), "%s", segment.policy);
    return status;
}

static enum pv_status
check_line(struct check *check, struct pv_slice line)
{
    json_error_t at;
    json_t *object = json_loadb((const char *) line.data, line.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    const char *kind = json_string_value(json_object_get(object, "kind"));
    enum pv_status status = PV_INVALID;

    if (kind == NULL)
        status = refuse(check, "not a record: an export to be verified is made with --format records");
    else if (!check->has_start)
        status = strcmp(kind, "start") == 0 ? check_start(check, object)
                                            : refuse(check, "the export has no first line: \"kind\": \"start\"");
    else if (strcmp(kind, "head") == 0)
        status = check_head(check, line);
    else {
        int id = 0;

        while (id < PV_TABLE_COUNT && strcmp(kind, pv_export_kinds[id]) != 0)
            id++;
        status = id == PV_TABLE_COUNT ? refuse(check, "no such kind of record")
                                      : check_record(check, object, (enum pv_table_id) id);
    }
    json_decref(object);
    return status;
}

static void
check_end(struct check *check)
{
    const struct pv_log_head *head = check->chain.head;

    check->verdict->head_seq = check->chain.seq;
    memcpy(check->verdict->head_hash, check->chain.hash, PV_SHA256_BYTES);
    if (check->verdict->fault != PV_FAULT_NONE)
        return;
    if (head != NULL && head->seq > 0 && !check->chain.is_head_seen) {
        if (head->seq < check->verdict->first_seq)
            check->verdict->is_head_unreachable = true;
        else if (head->seq > check->chain.seq)
            pv_chain_fault(&check->chain, PV_FAULT_HEAD, check->chain.seq + 1,
                           "head mismatch: the signed head is record %" PRIu64 ", the export ends at %" PRIu64,
                           head->seq, check->chain.seq);
        else
            pv_chain_fault(&check->chain, PV_FAULT_HEAD, head->seq,
                           "head mismatch: record %" PRIu64 " has another hash than the signed head", head->seq);
    }
    /* Anybody can make a chain; the key's owner alone can sign one. */
    if (check->verdict->fault == PV_FAULT_NONE && check->verdict->signed_seq == 0 && check->verdict->records > 0 &&
        !check->chain.is_head_seen)
        pv_chain_fault(&check->chain, PV_FAULT_SIGNATURE, 0,
                       "signature: no signed head vouches for any of these records");
}

enum pv_status
pv_export_verify(FILE *file, const char *public_key, const struct pv_log_head *head, struct pv_verdict *verdict,
                 char *error, size_t error_size)
{
    struct check check = {
        .verdict = verdict, .chain = {.verdict = verdict, .head = head}, .error = error, .error_size = error_size};
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    enum pv_status status;

    *verdict = (struct pv_verdict){.first_seq = 1, .has_key = true};
    pv_db_error(error, error_size, "%s", "");
    status = pv_sign_public_load(public_key, &check.key, error, error_size);
    if (status == PV_OK && head != NULL)
        status = pv_head_check(&check.chain, check.key, head);
    while (status == PV_OK && verdict->fault == PV_FAULT_NONE && (len = getline(&line, &room, file)) > 0) {
        check.line++;
        if (line[len - 1] == '\n')
            len--;
        else
            status = refuse(&check, "the export ends in the middle of a line");
        if (status == PV_OK)
            status = check_line(&check, pv_slice_of((const uint8_t *) line, (size_t) len));
    }
    if (status == PV_OK && ferror(file) != 0) {
        pv_db_error(error, error_size, "cannot read the export");
        status = PV_IO;
    }
    if (status == PV_OK && !check.has_start && verdict->fault == PV_FAULT_NONE)
        status = refuse(&check, "the export is empty");
    if (status == PV_OK)
        check_end(&check);
    free(line);
    pv_sign_key_free(check.key);
    pv_chain_clear(&check.chain);
    return status;
}
