/*
 * A record in a file: length of the body, eight bytes of its SHA-256, body. The body: number, kind, count, and each
 * value as kind and content. Reading ends at the first thing that is not so: the end, or what a power cut left.
 */
#include "proxy/audit/spill.h"

#include "proxy/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 2, HEAD_BYTES = 12, CHECK_BYTES = 8 };

struct pv_spill {
    char *path; /* of the state */
    int fd[FILES];
    off_t size[FILES];
    uint64_t last[FILES]; /* number of the newest record in it */
    int current;
    uint64_t number;
    struct pv_buf body;
};

static char *
file_name(const char *path, int which)
{
    size_t size = strlen(path) + sizeof(".spill0");
    char *name = pv_alloc(size);

    if (name != NULL)
        (void) snprintf(name, size, "%s.spill%d", path, which);
    return name;
}

/* ---- Writing ---- */

enum pv_status
pv_spill_open(const char *path, uint64_t number, struct pv_spill **spill, char *error, size_t error_size)
{
    struct pv_spill *made = pv_calloc(1, sizeof(*made));
    enum pv_status status = made == NULL ? PV_NOMEM : PV_OK;

    for (int i = 0; made != NULL && i < FILES; i++)
        made->fd[i] = -1;
    if (made != NULL && (made->path = pv_strdup(path)) == NULL)
        status = PV_NOMEM;
    for (int i = 0; status == PV_OK && i < FILES; i++) {
        char *name = file_name(path, i);

        if (name != NULL)
            made->fd[i] = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
        if (name == NULL)
            status = PV_NOMEM;
        else if (made->fd[i] < 0) {
            pv_db_error(error, error_size, "cannot make %s: %s", name, strerror(errno));
            status = PV_IO;
        }
        pv_free(name);
    }
    if (status != PV_OK) {
        pv_spill_close(made);
        return status;
    }
    made->number = number;
    *spill = made;
    return PV_OK;
}

void
pv_spill_close(struct pv_spill *spill)
{
    if (spill == NULL)
        return;
    for (int i = 0; i < FILES; i++)
        if (spill->fd[i] >= 0)
            (void) close(spill->fd[i]);
    /* What is left in them could not be written, and is brought in by the next life. */
    if (spill->path != NULL && !pv_spill_is_there(spill->path))
        pv_spill_remove(spill->path);
    pv_free(spill->path);
    pv_buf_clear(&spill->body);
    pv_free(spill);
}

static void
put_body(struct pv_buf *body, uint64_t number, const struct pv_entry *entry)
{
    pv_buf_put_u64(body, number);
    pv_buf_put_u8(body, (uint8_t) entry->kind);
    pv_buf_put_u8(body, (uint8_t) entry->value_count);
    for (size_t i = 0; i < entry->value_count; i++) {
        const struct pv_value *value = &entry->values[i];

        pv_buf_put_u8(body, (uint8_t) value->kind);
        if (value->kind == PV_VALUE_INT)
            pv_buf_put_u64(body, (uint64_t) value->number);
        if (value->kind == PV_VALUE_TEXT || value->kind == PV_VALUE_BLOB) {
            pv_buf_put_u32(body, (uint32_t) value->len);
            pv_buf_put(body, value->data, value->len);
        }
    }
}

/* Where the other file is empty, writing goes on in it, so that this one can be emptied in its turn. */
static void
take_turns(struct pv_spill *spill)
{
    int other = 1 - spill->current;

    if (spill->size[spill->current] > 0 && spill->size[other] == 0)
        spill->current = other;
}

enum pv_status
pv_spill_put(struct pv_spill *spill, struct pv_entry *entry)
{
    uint8_t digest[PV_SHA256_BYTES];
    uint8_t *head;
    size_t len;
    int at;

    pv_buf_truncate(&spill->body, 0);
    head = pv_buf_reserve(&spill->body, HEAD_BYTES);
    if (head == NULL)
        return PV_NOMEM;
    pv_buf_commit(&spill->body, HEAD_BYTES);
    put_body(&spill->body, spill->number + 1, entry);
    if (!pv_buf_ok(&spill->body)) {
        pv_buf_clear(&spill->body);
        return PV_NOMEM;
    }
    head = spill->body.data + spill->body.start;
    len = pv_buf_len(&spill->body);
    if (pv_sha256(pv_slice_of(head + HEAD_BYTES, len - HEAD_BYTES), digest) != PV_OK)
        return PV_NOMEM;
    for (int i = 0; i < 4; i++)
        head[i] = (uint8_t) ((len - HEAD_BYTES) >> (24 - 8 * i));
    memcpy(head + 4, digest, CHECK_BYTES);
    take_turns(spill);
    at = spill->current;
    if (pwrite(spill->fd[at], head, len, spill->size[at]) != (ssize_t) len) {
        (void) !ftruncate(spill->fd[at], spill->size[at]);
        return PV_IO;
    }
    spill->size[at] += (off_t) len;
    spill->last[at] = entry->spilled = ++spill->number;
    /* A long statement's room is not held for ever. */
    if (spill->body.size > 65536)
        pv_buf_clear(&spill->body);
    return PV_OK;
}

void
pv_spill_written(struct pv_spill *spill, uint64_t number)
{
    for (int i = 0; i < FILES; i++)
        if (spill->size[i] > 0 && spill->last[i] <= number && ftruncate(spill->fd[i], 0) == 0)
            spill->size[i] = 0;
}

/* ---- What the log has of it ---- */

enum pv_status
pv_db_spilled(struct pv_db *db, uint64_t *number)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status = pv_db_prepare(db->sqlite, "SELECT value FROM meta WHERE name = 'spilled'", &statement);

    if (status == PV_OK)
        status = pv_db_step(statement);
    *number = status == PV_OK ? (uint64_t) sqlite3_column_int64(statement, 0) : 0;
    (void) sqlite3_finalize(statement);
    return status == PV_NOTFOUND ? PV_OK : status;
}

enum pv_status
pv_db_spilled_set(struct pv_db *db, uint64_t number)
{
    static const char sql[] = "INSERT INTO meta VALUES ('spilled', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1";
    enum pv_status status = db->spilled != NULL ? PV_OK : pv_db_prepare(db->sqlite, sql, &db->spilled);

    if (status != PV_OK)
        return status;
    (void) sqlite3_bind_int64(db->spilled, 1, (int64_t) number);
    status = pv_db_step(db->spilled);
    (void) sqlite3_reset(db->spilled);
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* ---- After a life that ended before its time ---- */

struct recovery {
    struct pv_db *db;
    uint64_t known;  /* the log has up to here */
    uint64_t newest; /* appended */
    uint64_t count;
};

static enum pv_status
read_value(struct pv_reader *reader, struct pv_value *value)
{
    struct pv_slice bytes = {NULL, 0};
    uint8_t kind = 0;
    uint32_t len = 0;
    enum pv_status status = pv_read_u8(reader, &kind);

    *value = (struct pv_value){.kind = (enum pv_value_kind) kind};
    if (status != PV_OK || kind == PV_VALUE_NULL)
        return status;
    if (kind == PV_VALUE_INT)
        return pv_read_i64(reader, &value->number);
    if (kind != PV_VALUE_TEXT && kind != PV_VALUE_BLOB)
        return PV_PROTOCOL;
    status = pv_read_u32(reader, &len);
    if (status == PV_OK)
        status = pv_read_slice(reader, len, &bytes);
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

/* PV_PROTOCOL: not one of ours. */
static enum pv_status
append_body(struct recovery *recovery, struct pv_slice body)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_entry *entry;
    int64_t number = 0;
    uint8_t kind = 0, count = 0;
    enum pv_status status = pv_read_i64(&reader, &number);

    if (status == PV_OK)
        status = pv_read_u8(&reader, &kind);
    if (status == PV_OK)
        status = pv_read_u8(&reader, &count);
    if (status != PV_OK || !has_values((enum pv_record_kind) kind, count))
        return PV_PROTOCOL;
    if ((uint64_t) number <= recovery->known)
        return PV_OK;
    entry = pv_calloc(1, sizeof(*entry) + count * sizeof(entry->values[0]));
    if (entry == NULL)
        return PV_NOMEM;
    entry->kind = (enum pv_record_kind) kind;
    entry->value_count = count;
    for (size_t i = 0; status == PV_OK && i < count; i++)
        status = read_value(&reader, &entry->values[i]);
    if (status == PV_OK)
        status = pv_read_end(&reader);
    if (status == PV_OK)
        status = pv_db_append(recovery->db, entry);
    pv_free(entry);
    /* A record that the log does not take was said to be so when it was put; the others go on. */
    if (status == PV_OK || status == PV_INVALID) {
        recovery->newest = (uint64_t) number > recovery->newest ? (uint64_t) number : recovery->newest;
        recovery->count += status == PV_OK ? 1 : 0;
        status = PV_OK;
    }
    return status;
}

/* The whole file; an absent one is empty. */
static enum pv_status
read_file(const char *path, int which, struct pv_buf *bytes)
{
    char *name = file_name(path, which);
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

/* The number of the file's first record; UINT64_MAX: it has none. */
static uint64_t
first_number(const struct pv_buf *bytes)
{
    struct pv_reader reader = pv_reader_of(pv_buf_slice(bytes));
    struct pv_slice head;
    int64_t number;

    if (pv_read_slice(&reader, HEAD_BYTES, &head) != PV_OK || pv_read_i64(&reader, &number) != PV_OK)
        return UINT64_MAX;
    return (uint64_t) number;
}

static enum pv_status
append_file(struct recovery *recovery, const struct pv_buf *bytes)
{
    struct pv_reader reader = pv_reader_of(pv_buf_slice(bytes));
    uint8_t digest[PV_SHA256_BYTES];
    struct pv_slice check, body;
    uint32_t len = 0;
    enum pv_status status = PV_OK;

    while (status == PV_OK && pv_read_u32(&reader, &len) == PV_OK &&
           pv_read_slice(&reader, CHECK_BYTES, &check) == PV_OK && pv_read_slice(&reader, len, &body) == PV_OK) {
        status = pv_sha256(body, digest);
        if (status == PV_OK)
            status = memcmp(digest, check.data, CHECK_BYTES) == 0 ? append_body(recovery, body) : PV_PROTOCOL;
    }
    return status == PV_PROTOCOL ? PV_OK : status;
}

enum pv_status
pv_spill_recover(const char *path, struct pv_db *db, uint64_t *count)
{
    struct recovery recovery = {.db = db};
    struct pv_buf bytes[FILES] = {{0}};
    enum pv_status status = pv_db_spilled(db, &recovery.known);
    int first;

    recovery.newest = recovery.known;
    for (int i = 0; status == PV_OK && i < FILES; i++)
        status = read_file(path, i, &bytes[i]);
    first = first_number(&bytes[1]) < first_number(&bytes[0]) ? 1 : 0;
    for (int i = 0; status == PV_OK && i < FILES; i++)
        status = append_file(&recovery, &bytes[(first + i) % FILES]);
    if (status == PV_OK && recovery.newest > recovery.known)
        status = pv_db_spilled_set(db, recovery.newest);
    for (int i = 0; i < FILES; i++)
        pv_buf_clear(&bytes[i]);
    *count = recovery.count;
    return status;
}

bool
pv_spill_is_there(const char *path)
{
    bool is_there = false;

    for (int i = 0; i < FILES; i++) {
        char *name = file_name(path, i);
        struct stat facts;

        is_there = is_there || (name != NULL && stat(name, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size > 0);
        pv_free(name);
    }
    return is_there;
}

void
pv_spill_remove(const char *path)
{
    for (int i = 0; i < FILES; i++) {
        char *name = file_name(path, i);

        if (name != NULL)
            (void) unlink(name);
        pv_free(name);
    }
}
