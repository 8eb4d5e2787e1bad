/*
 * A record as the journal holds it: one heap block with the values of its rows, in the
 * order of the tables' columns, and the links that carry it from queue to port.
 */
#ifndef PV_RECORD_INT_H
#define PV_RECORD_INT_H

#include "proxy/audit/journal.h"
#include "proxy/audit/record.h"
#include "proxy/base/bytes.h"

#include <endian.h>
#include <stdatomic.h>
#include <string.h>

enum pv_value_kind { PV_VALUE_NULL, PV_VALUE_INT, PV_VALUE_TEXT, PV_VALUE_BLOB };

struct pv_value {
    enum pv_value_kind kind;
    int64_t number;      /* INT */
    const uint8_t *data; /* TEXT, BLOB */
    size_t len;
};

/* Of a statement's end, in the row of a statement that was over when it was written. */
#define PV_WHOLE_COLUMNS "rows, suppressed, bytes, duration_us, outcome, sqlstate, end_reason"
/* The chained tables. Columns between seq and hash; the tag opens a row's canonical bytes. */
#define PV_STATEMENT_COLUMNS \
    "id, at, session, room, user, party, client, application, protocol, question, question_type, decision, " \
    "reason, query, parameters, forwarded, datasets, columns, service, " PV_WHOLE_COLUMNS
#define PV_STATEMENT_END_COLUMNS "id, at, rows, suppressed, bytes, duration_us, outcome, sqlstate, reason"
#define PV_EVENT_COLUMNS "at, session, room, user, client, event, detail"

enum pv_table_id { PV_TABLE_STATEMENT, PV_TABLE_STATEMENT_END, PV_TABLE_EVENT, PV_TABLE_COUNT };

struct pv_table {
    const char *name;
    const char *columns;
    size_t column_count;
    uint8_t tag;
};

extern const struct pv_table pv_tables[PV_TABLE_COUNT];

#define PV_TABLE_COLUMNS_MAX 26u
/* Values of a begin, and of an end's that a whole statement's row has: those behind its id and time. */
#define PV_BEGIN_VALUES 19u
#define PV_END_VALUES 9u
#define PV_EVENT_VALUES 7u
#define PV_WHOLE_VALUES 7u

/*
 * What the hash of a row covers: a statement without its end is 'B' and 19 values, as a row of a whole one is 'W' and
 * all. False: values that no row of the log has, an end's without an outcome.
 */
struct pv_row_shape {
    uint8_t tag;
    size_t count;
};

bool pv_row_shape(const struct pv_table *table, const struct pv_value *values, struct pv_row_shape *shape);

struct pv_entry {
    struct pv_entry *next;      /* in the queue */
    struct pv_entry *port_next; /* in the port */
    struct pv_entry_chunk *chunk; /* that it lies in; NULL: none */
    struct pv_journal_port *port;
    void *cookie;
    uint64_t ticket;
    enum pv_status status;      /* of the writing */
    enum pv_status done_status; /* of the completion, which a later attempt does not change */
    _Atomic int refs;           /* the queue's and the port's */
    size_t size;                /* of the block */
    enum pv_record_kind kind;
    bool is_kept;
    uint8_t lane; /* of the journal, through which it came */
    struct pv_budget_take *takes; /* in the block; a BEGIN with takes has the values of a WHOLE one, whose end may not be used */
    size_t take_count;
    size_t spent; /* PV_LIMIT: which */
    struct pv_entry *end; /* of a BEGIN in the same batch: its end, which goes into the same row */
    bool is_in_begin;     /* of that end */
    uint64_t spilled;     /* its number beside the state (spill.h); 0: none */
    /*
     * The values once more, one behind the other, as a hash covers and a spill holds them (pv_value_put); what `values`
     * point into. NULL: the values have changed since, or were never written so. The first `packed_begin_len` bytes are a
     * statement's begin; behind them a WHOLE record has its end.
     */
    const uint8_t *packed;
    size_t packed_len, packed_begin_len;
    size_t value_count;
    struct pv_value values[]; /* of a WHOLE record the statement's, then its end's */
};

/*
 * A value in what a hash covers, and in a spill: its kind, then nothing, eight bytes, or length in eight and the bytes.
 * Every piece has a fixed or a stated length, so no two rows have the same bytes.
 */
#define PV_VALUE_LETTERS "NITB" /* by kind */

static inline size_t
pv_value_size(const struct pv_value *value)
{
    return value->kind == PV_VALUE_NULL ? 1 : 9 + value->len;
}

/* Gives what is behind it, where the bytes of a text or blob end. */
static inline uint8_t *
pv_value_put(uint8_t *at, const struct pv_value *value)
{
    uint64_t number = htobe64(value->kind == PV_VALUE_INT ? (uint64_t) value->number : value->len);

    *at++ = (uint8_t) PV_VALUE_LETTERS[value->kind];
    if (value->kind == PV_VALUE_NULL)
        return at;
    memcpy(at, &number, sizeof(number));
    at += sizeof(number);
    if (value->len > 0)
        memcpy(at, value->data, value->len);
    return at + value->len;
}

/* Times as the log has them: the order of the texts is theirs. */
static inline int
pv_time_compare(struct pv_slice a, struct pv_slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/*
 * Where a thread that puts many records has them: one piece of the heap for many, which goes when the last of them does.
 * Zero-initialised is empty. One thread's.
 */
struct pv_entry_room {
    struct pv_entry_chunk *chunk;
};

void pv_entry_room_clear(struct pv_entry_room *room);

/*
 * Copies. PV_INVALID: a field that record.h does not allow. The entry has one reference. `room` NULL: a piece of the heap
 * of its own.
 */
enum pv_status pv_entry_new(struct pv_entry_room *room, const struct pv_record *record,
                            struct pv_entry **entry) PV_MUST_CHECK;
void pv_entry_unref(struct pv_entry *entry);
/* Makes every text UTF-8, or the query a blob; before the entry is written, on the writer's thread. */
void pv_entry_settle(struct pv_entry *entry);

/* A BEGIN whose take `spent` found nothing left becomes the record of a denied statement: a WHOLE one. */
void pv_entry_deny(struct pv_entry *entry, size_t spent);

/*
 * Replaces the buffer's content with what the hash of a row covers. The second takes the row from the packed entries that
 * it is of: `end` NULL: no statement, or one that runs yet; else the entry that has the end, which may be the same.
 */
enum pv_status pv_canonical(struct pv_buf *out, const uint8_t *hash_before, uint8_t tag, uint64_t seq,
                            const struct pv_value *values, size_t count) PV_MUST_CHECK;
enum pv_status pv_canonical_packed(struct pv_buf *out, const uint8_t *hash_before, uint8_t tag, uint64_t seq,
                                   const struct pv_entry *entry, const struct pv_entry *end) PV_MUST_CHECK;
/* Values of the end of an END or a WHOLE record, from its id on. */
const struct pv_value *pv_entry_end_values(const struct pv_entry *entry);

/* Moves the count so that the next id is above `id`. */
void pv_statement_id_raise(uint64_t id);

/* Words of enums as the log holds them. */
const char *pv_outcome_word(enum pv_outcome outcome);

#endif
