#include "proxy/audit/spill.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long a reader waits for the log to have what was spilled, with and without a process that serves it, and how often
 * it looks. */
#define SETTLE_US 2000000u
#define SETTLE_ALONE_US 200000u
#define SETTLE_STEP_US 4000u

char *
pv_spill_name(const char *path, int which)
{
    size_t size = strlen(path) + sizeof(".spill") + 11;
    char *name = pv_alloc(size);

    if (name != NULL)
        (void) snprintf(name, size, "%s.spill%d", path, which);
    return name;
}

/* All bits of a product of both, in half as many. */
static inline uint64_t
fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128) a * b;

    return (uint64_t) product ^ (uint64_t) (product >> 64);
}

static inline uint64_t
word_at(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

/* Two sums, so that the processor need not wait for one product before the next. Two odd numbers of no meaning. */
uint64_t
pv_spill_check(struct pv_slice body)
{
    const uint64_t key = UINT64_C(0xa0761d6478bd642f), other = UINT64_C(0xe7037ed1a0b428db);
    uint64_t a = key ^ body.len, b = other;
    const uint8_t *at = body.data, *end = body.data + body.len / 32 * 32;
    uint8_t rest[32] = {0};

    for (; at != end; at += 32) {
        a ^= fold(a ^ word_at(at), key ^ word_at(at + 8));
        b ^= fold(b ^ word_at(at + 16), other ^ word_at(at + 24));
    }
    if (body.len % 32 > 0) {
        memcpy(rest, at, body.len % 32);
        a ^= fold(a ^ word_at(rest), key ^ word_at(rest + 8));
        b ^= fold(b ^ word_at(rest + 16), other ^ word_at(rest + 24));
    }
    return fold(a ^ other, b ^ key);
}

/* FNV-1a, eight bytes at a time. */
uint64_t
pv_spill_check_before(struct pv_slice body)
{
    const uint64_t prime = UINT64_C(1099511628211);
    uint64_t hash = UINT64_C(14695981039346656037) ^ body.len;
    size_t at = 0;

    for (; body.len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, body.data + at, sizeof(word));
        hash = (hash ^ word) * prime;
        /* A multiplication carries nothing down. */
        hash ^= hash >> 29;
    }
    for (; at < body.len; at++)
        hash = (hash ^ body.data[at]) * prime;
    return hash ^ (hash >> 32);
}

/* ---- What the log has of it ---- */

/* Of lane 0 as releases had it that knew no other. */
static void
lane_name(unsigned lane, char name[24])
{
    (void) snprintf(name, 24, lane == 0 ? "spilled" : "spilled.%u", lane);
}

enum pv_status
pv_db_spilled(sqlite3 *sqlite, unsigned lane, uint64_t *number)
{
    sqlite3_stmt *statement = NULL;
    char name[24];
    enum pv_status status = pv_db_prepare(sqlite, "SELECT value FROM meta WHERE name = ?1", &statement);

    lane_name(lane, name);
    if (status == PV_OK)
        status = pv_db_status(sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC));
    if (status == PV_OK)
        status = pv_db_step(statement);
    *number = status == PV_OK ? (uint64_t) sqlite3_column_int64(statement, 0) : 0;
    (void) sqlite3_finalize(statement);
    return status == PV_NOTFOUND ? PV_OK : status;
}

enum pv_status
pv_db_spilled_set(struct pv_db *db, unsigned lane, uint64_t number)
{
    static const char sql[] = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    enum pv_status status = db->spilled != NULL ? PV_OK : pv_db_prepare(db->sqlite, sql, &db->spilled);
    char name[24];

    lane_name(lane, name);
    if (status == PV_OK)
        status = pv_db_status(sqlite3_bind_text(db->spilled, 1, name, -1, SQLITE_TRANSIENT));
    if (status != PV_OK)
        return status;
    (void) sqlite3_bind_int64(db->spilled, 2, (int64_t) number);
    status = pv_db_step(db->spilled);
    (void) sqlite3_reset(db->spilled);
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* ---- After a life that ended before its time ---- */

/* As pv_value_put wrote it; an earlier release wrote the kind as a number, and lengths in four bytes. */
static enum pv_status
read_value(struct pv_reader *reader, struct pv_value *value)
{
    static const char letters[] = PV_VALUE_LETTERS;
    struct pv_slice bytes = {NULL, 0};
    const char *letter;
    uint8_t kind = 0;
    int64_t long_len = 0;
    uint32_t len = 0;
    enum pv_status status = pv_read_u8(reader, &kind);

    letter = status == PV_OK && kind > PV_VALUE_BLOB ? strchr(letters, kind) : NULL;
    if (status == PV_OK && kind > PV_VALUE_BLOB && letter == NULL)
        return PV_PROTOCOL;
    *value = (struct pv_value){.kind = (enum pv_value_kind)(letter == NULL ? kind : letter - letters)};
    if (status != PV_OK || value->kind == PV_VALUE_NULL)
        return status;
    if (value->kind == PV_VALUE_INT)
        return pv_read_i64(reader, &value->number);
    if (letter == NULL)
        status = pv_read_u32(reader, &len);
    else
        status = pv_read_i64(reader, &long_len);
    if (status == PV_OK && (long_len < 0 || long_len > UINT32_MAX))
        return PV_PROTOCOL;
    if (status == PV_OK)
        status = pv_read_slice(reader, letter == NULL ? len : (size_t) long_len, &bytes);
    value->data = bytes.data;
    value->len = bytes.len;
    return status;
}

static bool
has_values(enum pv_record_kind kind, size_t count)
{
    switch (kind) {
    case PV_RECORD_BEGIN:
        return count == PV_BEGIN_VALUES;
    case PV_RECORD_END:
        return count == pv_tables[PV_TABLE_STATEMENT_END].column_count;
    case PV_RECORD_WHOLE:
        return count == PV_BEGIN_VALUES + pv_tables[PV_TABLE_STATEMENT_END].column_count;
    case PV_RECORD_EVENT:
        return count == pv_tables[PV_TABLE_EVENT].column_count;
    }
    return false;
}

/* What stands before the values. PV_PROTOCOL: not one of ours. */
static enum pv_status
read_head(struct pv_reader *reader, enum pv_record_kind *kind, uint8_t *count)
{
    int64_t number = 0;
    uint8_t byte = 0;
    enum pv_status status = pv_read_i64(reader, &number);

    if (status == PV_OK)
        status = pv_read_u8(reader, &byte);
    if (status == PV_OK)
        status = pv_read_u8(reader, count);
    *kind = (enum pv_record_kind) byte;
    return status != PV_OK || !has_values(*kind, *count) ? PV_PROTOCOL : PV_OK;
}

/* PV_PROTOCOL: not one of ours. PV_INVALID: the log does not take it, as was said when it was put. */
static enum pv_status
append_body(struct pv_db *db, struct pv_slice body)
{
    struct pv_reader reader = pv_reader_of(body);
    enum pv_record_kind kind = PV_RECORD_EVENT;
    struct pv_entry *entry;
    uint8_t count = 0;
    enum pv_status status = read_head(&reader, &kind, &count);

    if (status != PV_OK)
        return status;
    entry = pv_calloc(1, sizeof(*entry) + count * sizeof(entry->values[0]));
    if (entry == NULL)
        return PV_NOMEM;
    entry->kind = kind;
    entry->value_count = count;
    for (size_t i = 0; status == PV_OK && i < count; i++)
        status = read_value(&reader, &entry->values[i]);
    if (status == PV_OK)
        status = pv_read_end(&reader);
    if (status == PV_OK)
        status = pv_db_append(db, entry);
    pv_free(entry);
    return status;
}

/* When it happened, as the log has it: the order of such texts is that of the times. Empty: it cannot be told. */
static struct pv_slice
time_of(struct pv_slice body)
{
    struct pv_reader reader = pv_reader_of(body);
    enum pv_record_kind kind = PV_RECORD_EVENT;
    struct pv_value value = {.kind = PV_VALUE_NULL};
    uint8_t count = 0;
    enum pv_status status = read_head(&reader, &kind, &count);

    if (status == PV_OK)
        status = read_value(&reader, &value);
    if (status == PV_OK && kind != PV_RECORD_EVENT)
        status = read_value(&reader, &value);
    return status == PV_OK && value.kind == PV_VALUE_TEXT ? pv_slice_of(value.data, value.len) : pv_slice_of(NULL, 0);
}

/* The whole file; an absent one is empty. */
static enum pv_status
read_file(const char *path, int which, struct pv_buf *bytes)
{
    char *name = pv_spill_name(path, which);
    int fd = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    enum pv_status status = name == NULL ? PV_NOMEM : PV_OK;
    ssize_t got = fd < 0 ? 0 : 1;

    while (status == PV_OK && got > 0) {
        uint8_t *room = pv_buf_reserve(bytes, 65536);

        got = room == NULL ? 0 : read(fd, room, 65536);
        if (room == NULL)
            status = PV_NOMEM;
        else if (got < 0)
            status = PV_IO;
        else
            pv_buf_commit(bytes, (size_t) got);
    }
    if (fd >= 0)
        (void) close(fd);
    pv_free(name);
    return status;
}

/* At the beginning of a body; UINT64_MAX: there is none. */
static uint64_t
first_number(struct pv_slice body)
{
    struct pv_reader reader = pv_reader_of(body);
    int64_t number;

    return pv_read_i64(&reader, &number) != PV_OK || number <= 0 ? UINT64_MAX : (uint64_t) number;
}

/* Of the file's first record. */
static uint64_t
file_number(const struct pv_buf *bytes)
{
    struct pv_slice all = pv_buf_slice(bytes);

    return all.len < PV_SPILL_HEAD_BYTES ? UINT64_MAX
                                         : first_number(pv_slice_of(all.data + PV_SPILL_HEAD_BYTES,
                                                                    all.len - PV_SPILL_HEAD_BYTES));
}

/* What is read of a file: `number` is of the record before `at`, 0 for none. */
struct tape {
    struct pv_slice bytes;
    size_t at;
    uint64_t number;
};

static bool
record_at(const struct tape *tape, size_t at, struct pv_slice *check, struct pv_slice *body)
{
    struct pv_reader reader, inner;
    uint32_t len = 0;
    int64_t found = 0;

    if (at >= tape->bytes.len)
        return false;
    reader = pv_reader_of(pv_slice_of(tape->bytes.data + at, tape->bytes.len - at));
    if (pv_read_u32(&reader, &len) != PV_OK || pv_read_slice(&reader, PV_SPILL_CHECK_BYTES, check) != PV_OK ||
        pv_read_slice(&reader, len, body) != PV_OK)
        return false;
    inner = pv_reader_of(*body);
    return pv_read_i64(&inner, &found) == PV_OK && found > 0 &&
           (tape->number == 0 || (uint64_t) found == tape->number + 1);
}

/* The next one stands behind the one before, or, a batch of its own, at the next block. */
static bool
next_record(struct tape *tape, struct pv_slice *check, struct pv_slice *body)
{
    size_t at = tape->at;

    if (!record_at(tape, at, check, body)) {
        at = (at + PV_SPILL_BLOCK_BYTES - 1) / PV_SPILL_BLOCK_BYTES * PV_SPILL_BLOCK_BYTES;
        if (!record_at(tape, at, check, body))
            return false;
    }
    tape->at = at + PV_SPILL_HEAD_BYTES + body->len;
    tape->number = first_number(*body);
    return true;
}

/* What earlier releases left behind has the check that was theirs, or the beginning of the body's SHA-256. */
static bool
is_whole(struct pv_slice check, struct pv_slice body)
{
    struct pv_reader reader = pv_reader_of(check);
    uint8_t digest[PV_SHA256_BYTES];
    int64_t number;

    if (pv_read_i64(&reader, &number) == PV_OK &&
        ((uint64_t) number == pv_spill_check(body) || (uint64_t) number == pv_spill_check_before(body)))
        return true;
    return pv_sha256(body, digest) == PV_OK && memcmp(digest, check.data, PV_SPILL_CHECK_BYTES) == 0;
}

/* ---- All lanes of it ---- */

enum { LANE_FILES = 3 }; /* lane 0 has the synced one too */

/* The files of a lane, one behind the other, up to the first thing of each that is no record. */
struct reel {
    unsigned lane;
    uint64_t known;  /* the log has up to here */
    uint64_t newest; /* appended */
    struct pv_buf bytes[LANE_FILES];
    int order[LANE_FILES];
    int file; /* of `order` */
    struct tape tape;
    struct pv_slice body; /* of the next record; NULL: there is none left */
    struct pv_slice time;
};

/* In the order of their first numbers. */
static void
order_files(struct reel *reel)
{
    for (int i = 0; i < LANE_FILES; i++) {
        int at = i;

        for (; at > 0 && file_number(&reel->bytes[reel->order[at - 1]]) > file_number(&reel->bytes[i]); at--)
            reel->order[at] = reel->order[at - 1];
        reel->order[at] = i;
    }
}

static void
next_file(struct reel *reel)
{
    reel->file++;
    if (reel->file < LANE_FILES)
        reel->tape = (struct tape){.bytes = pv_buf_slice(&reel->bytes[reel->order[reel->file]])};
}

/* To the next record that the log has not yet. */
static void
wind(struct reel *reel)
{
    struct pv_slice check, body;

    reel->body = pv_slice_of(NULL, 0);
    while (reel->file < LANE_FILES) {
        if (!next_record(&reel->tape, &check, &body) || !is_whole(check, body)) {
            next_file(reel);
        } else if (reel->tape.number > reel->known) {
            reel->body = body;
            reel->time = time_of(body);
            return;
        }
    }
}

static enum pv_status
open_reel(const char *path, sqlite3 *sqlite, unsigned lane, struct reel *reel)
{
    int files = lane == 0 ? LANE_FILES : LANE_FILES - 1;
    enum pv_status status = pv_db_spilled(sqlite, lane, &reel->known);

    reel->lane = lane;
    reel->newest = reel->known;
    for (int i = 0; status == PV_OK && i < files; i++)
        status = read_file(path, pv_spill_first(lane) + i, &reel->bytes[i]);
    if (status != PV_OK)
        return status;
    order_files(reel);
    reel->file = -1;
    next_file(reel);
    wind(reel);
    return PV_OK;
}

/* Of the lanes that have any left the one whose next is the oldest; NULL: none has. */
static struct reel *
oldest_reel(struct reel *reels)
{
    struct reel *oldest = NULL;

    for (unsigned i = 0; i < PV_SPILL_LANES_MAX; i++)
        if (reels[i].body.data != NULL && (oldest == NULL || pv_time_compare(reels[i].time, oldest->time) < 0))
            oldest = &reels[i];
    return oldest;
}

static enum pv_status
append_oldest(struct reel *reel, struct pv_db *db, uint64_t *count)
{
    enum pv_status status = append_body(db, reel->body);

    if (status == PV_PROTOCOL) {
        next_file(reel);
        wind(reel);
        return PV_OK;
    }
    if (status != PV_OK && status != PV_INVALID)
        return status;
    if (reel->tape.number > reel->newest)
        reel->newest = reel->tape.number;
    *count += status == PV_OK ? 1 : 0;
    wind(reel);
    return PV_OK;
}

enum pv_status
pv_spill_recover(const char *path, struct pv_db *db, uint64_t *count)
{
    struct reel *reels = pv_calloc(PV_SPILL_LANES_MAX, sizeof(*reels));
    struct reel *reel;
    enum pv_status status = reels == NULL ? PV_NOMEM : PV_OK;

    *count = 0;
    for (unsigned i = 0; status == PV_OK && i < PV_SPILL_LANES_MAX; i++)
        status = open_reel(path, db->sqlite, i, &reels[i]);
    while (status == PV_OK && (reel = oldest_reel(reels)) != NULL)
        status = append_oldest(reel, db, count);
    for (unsigned i = 0; reels != NULL && i < PV_SPILL_LANES_MAX; i++) {
        if (status == PV_OK && reels[i].newest > reels[i].known)
            status = pv_db_spilled_set(db, i, reels[i].newest);
        for (int file = 0; file < LANE_FILES; file++)
            pv_buf_clear(&reels[i].bytes[file]);
    }
    pv_free(reels);
    return status;
}

bool
pv_spill_is_there(const char *path)
{
    bool is_there = false;

    for (int i = 0; i < PV_SPILL_FILES; i++) {
        char *name = pv_spill_name(path, i);
        struct stat facts;

        is_there = is_there || (name != NULL && stat(name, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size > 0);
        pv_free(name);
    }
    return is_there;
}

void
pv_spill_remove_one(const char *path, int which)
{
    char *name = pv_spill_name(path, which);

    if (name != NULL)
        (void) unlink(name);
    pv_free(name);
}

void
pv_spill_remove(const char *path)
{
    for (int i = 0; i < PV_SPILL_FILES; i++)
        pv_spill_remove_one(path, i);
}

/* ---- Readers beside a log that is served ---- */

/* Of what is being written this very moment all or nothing: nobody was told of it. */
static uint64_t
newest_synced(const char *path)
{
    struct pv_buf bytes = {0};
    struct pv_slice check, body;
    struct tape tape = {0};

    if (read_file(path, PV_SPILL_SYNCED, &bytes) == PV_OK) {
        tape.bytes = pv_buf_slice(&bytes);
        while (next_record(&tape, &check, &body))
            ;
    }
    pv_buf_clear(&bytes);
    return tape.number;
}

/* Somebody's whom this one cannot see, in another container, counts as none: then it is a short wait. */
static bool
is_served(const char *path)
{
    char *name = pv_path_with(path, ".lock");
    char text[24] = "";
    int fd = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    long pid = 0;

    pv_free(name);
    if (fd < 0)
        return false;
    if (read(fd, text, sizeof(text) - 1) > 0)
        pid = strtol(text, NULL, 10);
    (void) close(fd);
    return pid > 0 && (kill((pid_t) pid, 0) == 0 || errno == EPERM);
}

void
pv_spill_settle(const char *path, sqlite3 *sqlite)
{
    uint64_t newest = newest_synced(path);
    uint64_t known = 0;
    uint32_t wait_us = newest == 0 ? 0 : is_served(path) ? SETTLE_US : SETTLE_ALONE_US;

    for (uint32_t waited_us = 0; waited_us < wait_us; waited_us += SETTLE_STEP_US) {
        if (pv_db_spilled(sqlite, 0, &known) != PV_OK || known >= newest)
            return;
        (void) usleep(SETTLE_STEP_US);
    }
}
