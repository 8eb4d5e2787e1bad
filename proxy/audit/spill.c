/*
 * A record in a file: length of the body, its check, body. The body: number, kind, count, and each
 * value as kind and content. Reading ends at the first thing that is not so, or not the next in number: the end, what a
 * power cut left, or an earlier turn's.
 *
 * Invariants:
 * 1. Whatever lies in a file beyond `size` is no record that counts: zeros, or records that the log has.
 * 2. A mapped file is never made shorter than its mapping.
 * 3. A synced file is written in whole blocks, and each batch begins a new one: no write touches a record that counts,
 *    whatever becomes of the blocks under it when the power goes.
 */
#include "proxy/audit/spill.h"

#include "proxy/base/limits.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Of each mapped file: the records of a pause of the writer; what comes on top is written behind it. */
#define MAP_BYTES ((size_t) (2u * 1024u * 1024u))
/* linux/magic.h; spelled here because not every libc brings that. */
#define MAGIC_EXT4 0xEF53
#define MAGIC_TMPFS 0x01021994

struct pv_spill {
    char *path; /* of the state */
    bool is_synced;
    int first; /* the number in the name of the first file */
    int count; /* two files, or the synced one alone */
    int fd[2];
    uint8_t *map[2]; /* NULL: written with pwrite */
    off_t size[2];   /* up to the newest record's end */
    uint64_t last[2]; /* number of the newest record in it */
    int current;
    uint64_t number;
    struct pv_buf body;
    uint8_t *image; /* of STATE.spill2, aligned for it */
    bool is_direct; /* O_DIRECT and O_DSYNC; else each write is followed by a sync */
};

void (*pv_spill_at)(const void *data, size_t len, uint64_t offset);

/* ---- Opening ---- */

static enum pv_status
write_zeros(int fd, size_t size)
{
    static const uint8_t zeros[65536];

    for (size_t at = 0; at < size; at += sizeof(zeros)) {
        ssize_t len = pwrite(fd, zeros, sizeof(zeros), (off_t) at);

        if (len >= 0 && len < (ssize_t) sizeof(zeros))
            errno = ENOSPC; /* a part of it had room: the file's end is the disk's */
        if (len != (ssize_t) sizeof(zeros))
            return PV_IO;
    }
    return PV_OK;
}

/*
 * A store into a mapping cannot fail, it can only kill: so only where a file whose zeros were written keeps their place
 * for whatever is written over them. File systems that write elsewhere, and those that are not known to us, get pwrite.
 */
static void
map_file(struct pv_spill *spill, int which)
{
    struct statfs facts;
    void *map;

    if (fstatfs(spill->fd[which], &facts) != 0 || (facts.f_type != MAGIC_EXT4 && facts.f_type != MAGIC_TMPFS))
        return;
    if (write_zeros(spill->fd[which], MAP_BYTES) != PV_OK) {
        (void) !ftruncate(spill->fd[which], 0);
        return;
    }
    map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, spill->fd[which], 0);
    if (map != MAP_FAILED)
        spill->map[which] = map;
}

/* All blocks are there before the first record, so that a write of one changes nothing of the file but its bytes. */
static enum pv_status
prepare_synced(struct pv_spill *spill, const char *name)
{
    int fd = spill->fd[0];
    int direct;
    void *image;

    /* Pages are aligned as blocks have to be, and are zeros. */
    image = mmap(NULL, PV_SPILL_SYNCED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (image == MAP_FAILED)
        return PV_NOMEM;
    spill->image = image;
    if (write_zeros(fd, PV_SPILL_SYNCED_BYTES) != PV_OK || fsync(fd) != 0)
        return PV_IO;
    direct = open(name, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC | O_NOFOLLOW);
    if (direct >= 0) {
        /* Some file systems take the flag and refuse the write. */
        spill->is_direct = pwrite(direct, spill->image, PV_SPILL_BLOCK_BYTES, 0) == (ssize_t) PV_SPILL_BLOCK_BYTES;
        if (spill->is_direct) {
            (void) close(fd);
            spill->fd[0] = direct;
        } else
            (void) close(direct);
    }
    return pv_folder_sync(spill->path);
}

static enum pv_status
open_file(struct pv_spill *spill, int which, char *error, size_t error_size)
{
    char *name = pv_spill_name(spill->path, spill->first + which);
    enum pv_status status = PV_OK;

    if (name == NULL)
        return PV_NOMEM;
    spill->fd[which] = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (spill->fd[which] < 0)
        status = PV_IO;
    else if (spill->is_synced)
        status = prepare_synced(spill, name);
    else
        map_file(spill, which);
    if (status != PV_OK)
        pv_db_error(error, error_size, "cannot make %s: %s", name,
                    status == PV_IO ? strerror(errno) : pv_status_words(status));
    pv_free(name);
    return status;
}

enum pv_status
pv_spill_open(const char *path, const struct pv_spill_options *options, struct pv_spill **spill, char *error,
              size_t error_size)
{
    struct pv_spill *made = pv_calloc(1, sizeof(*made));
    enum pv_status status = PV_OK;

    pv_assert(options->lane < PV_SPILL_LANES_MAX && (!options->is_synced || options->lane == 0));
    pv_db_error(error, error_size, "%s", pv_status_words(PV_NOMEM));
    if (made == NULL)
        return PV_NOMEM;
    made->fd[0] = made->fd[1] = -1;
    made->is_synced = options->is_synced;
    made->first = options->is_synced ? PV_SPILL_SYNCED : pv_spill_first(options->lane);
    made->count = options->is_synced ? 1 : 2;
    made->number = options->number;
    made->path = pv_strdup(path);
    if (made->path == NULL)
        status = PV_NOMEM;
    for (int i = 0; status == PV_OK && i < made->count; i++)
        status = open_file(made, i, error, error_size);
    if (status != PV_OK) {
        pv_spill_close(made);
        return status;
    }
    pv_db_error(error, error_size, "%s", "");
    *spill = made;
    return PV_OK;
}

void
pv_spill_close(struct pv_spill *spill)
{
    bool is_empty = true;

    if (spill == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        is_empty = is_empty && spill->size[i] == 0;
        if (spill->map[i] != NULL)
            (void) munmap(spill->map[i], MAP_BYTES);
        if (spill->fd[i] >= 0)
            (void) close(spill->fd[i]);
    }
    /* What is left in them could not be written, and is brought in by the next life. */
    for (int i = 0; spill->path != NULL && is_empty && i < spill->count; i++)
        pv_spill_remove_one(spill->path, spill->first + i);
    pv_free(spill->path);
    pv_buf_clear(&spill->body);
    if (spill->image != NULL)
        (void) munmap(spill->image, PV_SPILL_SYNCED_BYTES);
    pv_free(spill);
}

/* ---- Writing ---- */

static size_t
record_bytes(const struct pv_entry *entry)
{
    size_t bytes = PV_SPILL_HEAD_BYTES + 8 + 1 + 1;

    if (entry->packed != NULL)
        return bytes + entry->packed_len;
    for (size_t i = 0; i < entry->value_count; i++)
        bytes += pv_value_size(&entry->values[i]);
    return bytes;
}

static uint8_t *
put_values(uint8_t *at, const struct pv_entry *entry)
{
    if (entry->packed != NULL) {
        memcpy(at, entry->packed, entry->packed_len);
        return at + entry->packed_len;
    }
    for (size_t i = 0; i < entry->value_count; i++)
        at = pv_value_put(at, &entry->values[i]);
    return at;
}

/* `record` has room for `bytes`, which is what record_bytes says. */
static void
put_record(uint8_t *record, size_t bytes, const struct pv_entry *entry, uint64_t number)
{
    uint8_t *body = record + PV_SPILL_HEAD_BYTES;
    uint64_t big = htobe64(number), check;
    uint32_t len = htobe32((uint32_t) (bytes - PV_SPILL_HEAD_BYTES));
    uint8_t *at = body + sizeof(big);

    memcpy(body, &big, sizeof(big));
    *at++ = (uint8_t) entry->kind;
    *at++ = (uint8_t) entry->value_count;
    at = put_values(at, entry);
    pv_assert(at == record + bytes);
    check = htobe64(pv_spill_check(pv_slice_of(body, bytes - PV_SPILL_HEAD_BYTES)));
    memcpy(record, &len, sizeof(len));
    memcpy(record + sizeof(len), &check, sizeof(check));
}

/* Where the other file is empty, writing goes on in it, so that this one can begin anew in its turn. */
static void
take_turns(struct pv_spill *spill)
{
    int other = 1 - spill->current;

    if (spill->size[spill->current] > 0 && spill->size[other] == 0)
        spill->current = other;
}

static enum pv_status
put_through(struct pv_spill *spill, int at, size_t bytes, const struct pv_entry *entry)
{
    uint8_t *record;
    enum pv_status status = PV_OK;

    pv_buf_truncate(&spill->body, 0);
    record = pv_buf_reserve(&spill->body, bytes);
    if (record == NULL) {
        pv_buf_clear(&spill->body);
        return PV_NOMEM;
    }
    put_record(record, bytes, entry, spill->number + 1);
    if (pwrite(spill->fd[at], record, bytes, spill->size[at]) != (ssize_t) bytes) {
        if (spill->map[at] == NULL || spill->size[at] >= (off_t) MAP_BYTES)
            (void) !ftruncate(spill->fd[at], spill->size[at]);
        status = PV_IO;
    }
    /* A long statement's room is not held for ever. */
    if (spill->body.size > 65536)
        pv_buf_clear(&spill->body);
    return status;
}

enum pv_status
pv_spill_put(struct pv_spill *spill, struct pv_entry *entry)
{
    size_t bytes = record_bytes(entry);
    enum pv_status status = PV_OK;
    int at;

    take_turns(spill);
    at = spill->current;
    if (spill->map[at] != NULL && (size_t) spill->size[at] + bytes <= MAP_BYTES)
        put_record(spill->map[at] + spill->size[at], bytes, entry, spill->number + 1);
    else
        status = put_through(spill, at, bytes, entry);
    if (status != PV_OK)
        return status;
    spill->size[at] += (off_t) bytes;
    spill->last[at] = entry->spilled = ++spill->number;
    return PV_OK;
}

/* `from` and `to` are the blocks' bounds. */
static enum pv_status
sync_blocks(struct pv_spill *spill, size_t from, size_t to)
{
    int fd = spill->fd[0];

    if (pv_spill_at != NULL)
        pv_spill_at(spill->image + from, to - from, from);
    if (pwrite(fd, spill->image + from, to - from, (off_t) from) != (ssize_t) (to - from) ||
        (!spill->is_direct && fdatasync(fd) != 0))
        return PV_IO;
    if (pv_spill_at != NULL)
        pv_spill_at(NULL, 0, 0);
    return PV_OK;
}

enum pv_status
pv_spill_put_synced(struct pv_spill *spill, struct pv_entry *first)
{
    size_t from = (size_t) spill->size[0];
    size_t to = from, end;
    uint64_t number = spill->number;
    enum pv_status status;

    for (const struct pv_entry *entry = first; entry != NULL; entry = entry->next) {
        to += record_bytes(entry);
        if (to > PV_SPILL_SYNCED_BYTES)
            return PV_LIMIT;
    }
    to = from;
    for (struct pv_entry *entry = first; entry != NULL; entry = entry->next) {
        size_t bytes = record_bytes(entry);

        put_record(spill->image + to, bytes, entry, ++number);
        to += bytes;
    }
    end = (to + PV_SPILL_BLOCK_BYTES - 1) / PV_SPILL_BLOCK_BYTES * PV_SPILL_BLOCK_BYTES;
    memset(spill->image + to, 0, end - to);
    status = sync_blocks(spill, from, end);
    if (status != PV_OK) {
        /*
         * Some of it may be there. Those who wait are told that it is not, and what they will put in its place must not
         * stand behind it as if it went on: the numbers that were used are given up.
         */
        spill->number = number;
        return status;
    }
    for (struct pv_entry *entry = first; entry != NULL; entry = entry->next)
        entry->spilled = ++spill->number;
    spill->size[0] = (off_t) end;
    spill->last[0] = spill->number;
    return PV_OK;
}

uint64_t
pv_spill_number(const struct pv_spill *spill)
{
    return spill->number;
}

void
pv_spill_written(struct pv_spill *spill, uint64_t number)
{
    for (int i = 0; i < spill->count; i++) {
        if (spill->size[i] == 0 || spill->last[i] > number)
            continue;
        if (spill->map[i] == NULL && !spill->is_synced && ftruncate(spill->fd[i], 0) != 0)
            continue;
        if (spill->map[i] != NULL && spill->size[i] > (off_t) MAP_BYTES)
            (void) !ftruncate(spill->fd[i], (off_t) MAP_BYTES);
        spill->size[i] = 0;
    }
}
