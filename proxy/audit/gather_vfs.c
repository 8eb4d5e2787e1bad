/*
 * Invariants:
 * 1. `held` is what was written from `at` on and is not in the file; every other call finds the file as SQLite left it.
 * 2. What a sync was asked for is in the file when it is made. SQLite tells other connections of a transaction's pages
 *    only after that: none reads what is still held. Where a disk's sectors are written around the bytes asked for
 *    (no powersafe overwrite), SQLite writes on behind its last sync: there nothing is held.
 * 3. A lazy sync is one that SQLite would not ask for under synchronous NORMAL: that of a commit. That of a new header of
 *    the write-ahead log, which frames of an earlier turn must not follow, is made all the same.
 * 4. What could not be written is held no more: SQLite was told, rolls back, and writes the place anew.
 */
#include "proxy/audit/gather_vfs.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sqlite3.h>

/* More than most transactions; larger ones leave in several writes. */
enum { HELD_BYTES = 128 * 1024 };
/* Of zeros that are written ahead at once: as much as is there already, within these. */
enum { ROOM_BYTES_LEAST = 256 * 1024, ROOM_BYTES_MOST = 2 * 1024 * 1024 };

struct gather_file {
    sqlite3_file base;
    uint8_t *held; /* made by the first write */
    int len;
    sqlite3_int64 at;
    bool is_holding;
    bool is_lazy;
    bool is_header_new; /* written since the last sync */
    sqlite3_int64 room; /* what is known to be there of the file; 0: nothing */
    sqlite3_file *real; /* behind this in its memory */
};

static sqlite3_vfs gather;
static const char *gather_name;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct gather_file *
own(sqlite3_file *file)
{
    return (struct gather_file *) file;
}

static int
flush(struct gather_file *file)
{
    int len = file->len;

    file->len = 0;
    return len == 0 ? SQLITE_OK : file->real->pMethods->xWrite(file->real, file->held, len, file->at);
}

/*
 * A write that makes a file longer takes several times as much of the disk and of its file system as one into what is
 * there: so the file grows by zeros, ahead of what is to be written, and seldom. Zeros are no frame of a write-ahead log.
 * Without room for them there is none for what is to come either: that will be said then.
 */
static void
make_room(struct gather_file *file, sqlite3_int64 end)
{
    static const uint8_t zeros[65536];
    sqlite3_int64 size = 0;

    if (end <= file->room || file->real->pMethods->xFileSize(file->real, &size) != SQLITE_OK)
        return;
    file->room = size;
    if (size > end)
        return;
    file->room = size + (size < ROOM_BYTES_LEAST ? ROOM_BYTES_LEAST : size < ROOM_BYTES_MOST ? size : ROOM_BYTES_MOST);
    for (sqlite3_int64 at = size; at < file->room; at += (sqlite3_int64) sizeof(zeros))
        if (file->real->pMethods->xWrite(file->real, zeros, (int) sizeof(zeros), at) != SQLITE_OK)
            return;
}

static int
gather_write(sqlite3_file *base, const void *data, int len, sqlite3_int64 at)
{
    struct gather_file *file = own(base);
    int rc = SQLITE_OK;

    file->is_header_new = file->is_header_new || at == 0;
    if (file->is_holding && file->held == NULL)
        file->held = sqlite3_malloc(HELD_BYTES);
    if (file->len > 0 && (at != file->at + file->len || len > HELD_BYTES - file->len))
        rc = flush(file);
    if (rc != SQLITE_OK)
        return rc;
    if (!file->is_holding || file->held == NULL || len > HELD_BYTES)
        return file->real->pMethods->xWrite(file->real, data, len, at);
    if (file->len == 0)
        file->at = at;
    /* The log begins anew; somebody may have made it shorter. */
    if (at == 0)
        file->room = 0;
    memcpy(file->held + file->len, data, (size_t) len);
    file->len += len;
    return SQLITE_OK;
}

static int
gather_read(sqlite3_file *base, void *data, int len, sqlite3_int64 at)
{
    int rc = flush(own(base));

    return rc == SQLITE_OK ? own(base)->real->pMethods->xRead(own(base)->real, data, len, at) : rc;
}

static int
gather_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    int rc = flush(own(base));

    return rc == SQLITE_OK ? own(base)->real->pMethods->xTruncate(own(base)->real, size) : rc;
}

static int
gather_sync(sqlite3_file *base, int flags)
{
    struct gather_file *file = own(base);
    sqlite3_int64 end = file->at + file->len;
    int rc = flush(file);

    if (rc != SQLITE_OK || (file->is_lazy && !file->is_header_new))
        return rc;
    if (file->is_holding && !file->is_lazy)
        make_room(file, end);
    rc = file->real->pMethods->xSync(file->real, flags);
    file->is_header_new = file->is_header_new && rc != SQLITE_OK;
    return rc;
}

static int
gather_size(sqlite3_file *base, sqlite3_int64 *size)
{
    int rc = flush(own(base));

    return rc == SQLITE_OK ? own(base)->real->pMethods->xFileSize(own(base)->real, size) : rc;
}

static int
gather_control(sqlite3_file *base, int op, void *argument)
{
    int rc = flush(own(base));

    return rc == SQLITE_OK ? own(base)->real->pMethods->xFileControl(own(base)->real, op, argument) : rc;
}

static int
gather_close(sqlite3_file *base)
{
    int written = flush(own(base));
    int closed = own(base)->real->pMethods->xClose(own(base)->real);

    sqlite3_free(own(base)->held);
    return written == SQLITE_OK ? closed : written;
}

static int
gather_lock(sqlite3_file *base, int lock)
{
    return own(base)->real->pMethods->xLock(own(base)->real, lock);
}

static int
gather_unlock(sqlite3_file *base, int lock)
{
    return own(base)->real->pMethods->xUnlock(own(base)->real, lock);
}

static int
gather_check_lock(sqlite3_file *base, int *is_reserved)
{
    return own(base)->real->pMethods->xCheckReservedLock(own(base)->real, is_reserved);
}

static int
gather_sector_size(sqlite3_file *base)
{
    return own(base)->real->pMethods->xSectorSize(own(base)->real);
}

static int
gather_characteristics(sqlite3_file *base)
{
    return own(base)->real->pMethods->xDeviceCharacteristics(own(base)->real);
}

/* Version 1: a write-ahead log is neither mapped nor has it shared memory of its own. */
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = gather_close,
    .xRead = gather_read,
    .xWrite = gather_write,
    .xTruncate = gather_truncate,
    .xSync = gather_sync,
    .xFileSize = gather_size,
    .xLock = gather_lock,
    .xUnlock = gather_unlock,
    .xCheckReservedLock = gather_check_lock,
    .xFileControl = gather_control,
    .xSectorSize = gather_sector_size,
    .xDeviceCharacteristics = gather_characteristics,
};

static int
gather_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *flags_out)
{
    sqlite3_vfs *real = gather.pAppData;
    struct gather_file *file = own(base);
    int rc;

    (void) vfs;
    if ((flags & SQLITE_OPEN_WAL) == 0)
        return real->xOpen(real, path, base, flags, flags_out);
    memset(file, 0, sizeof(*file));
    file->real = (sqlite3_file *) (void *) (file + 1);
    memset(file->real, 0, (size_t) real->szOsFile);
    rc = real->xOpen(real, path, file->real, flags, flags_out);
    if (rc != SQLITE_OK) {
        /* A file that failed to open may have methods, and is to be closed by whoever opened it. */
        if (file->real->pMethods != NULL)
            (void) file->real->pMethods->xClose(file->real);
        return rc;
    }
    file->base.pMethods = &methods;
    file->is_holding = (gather_characteristics(base) & SQLITE_IOCAP_POWERSAFE_OVERWRITE) != 0;
    return SQLITE_OK;
}

/* All but the opening of files is the default's, which is asked with its own data. */
static int
gather_delete(sqlite3_vfs *vfs, const char *path, int is_synced)
{
    sqlite3_vfs *real = vfs->pAppData;

    return real->xDelete(real, path, is_synced);
}

static int
gather_access(sqlite3_vfs *vfs, const char *path, int flags, int *result)
{
    sqlite3_vfs *real = vfs->pAppData;

    return real->xAccess(real, path, flags, result);
}

static int
gather_full_path(sqlite3_vfs *vfs, const char *path, int size, char *out)
{
    sqlite3_vfs *real = vfs->pAppData;

    return real->xFullPathname(real, path, size, out);
}

static void
set_up(void)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);

    if (real == NULL)
        return;
    gather = *real;
    gather.zName = "pgveil-gather";
    gather.pNext = NULL;
    gather.pAppData = real;
    gather.szOsFile = (int) sizeof(struct gather_file) + real->szOsFile;
    gather.xOpen = gather_open;
    gather.xDelete = gather_delete;
    gather.xAccess = gather_access;
    gather.xFullPathname = gather_full_path;
    if (sqlite3_vfs_register(&gather, 0) == SQLITE_OK)
        gather_name = gather.zName;
}

const char *
pv_gather_vfs(void)
{
    (void) pthread_once(&once, set_up);
    return gather_name;
}

void
pv_gather_be_lazy(sqlite3 *sqlite, bool is_lazy)
{
    sqlite3_file *file = NULL;

    if (sqlite3_file_control(sqlite, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file) == SQLITE_OK && file != NULL &&
        file->pMethods == &methods)
        own(file)->is_lazy = is_lazy;
}
