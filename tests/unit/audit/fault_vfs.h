/*
 * A VFS over SQLite's own that remembers every write, truncation, deletion and sync, so that a test can say what a disk
 * may hold after a power cut at any moment: all that was synced, and of what was not, any sectors, torn or not at all.
 */
#ifndef FAULT_VFS_H
#define FAULT_VFS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#define FV_SECTOR 512
#define FV_FILES 64

enum fv_kind { FV_WRITE, FV_TRUNCATE, FV_SYNC, FV_DELETE, FV_RENAME, FV_MARK };

struct fv_op {
    enum fv_kind kind;
    int file, target;     /* RENAME: to which; SYNC: of what (below) */
    sqlite3_int64 offset; /* TRUNCATE: the size; MARK: what the test says */
    size_t len;
    uint8_t *data;
};

/*
 * A sync may be of a file, or of the folder after a rename, or of both: SQLite's unix VFS syncs the folder with the
 * first sync of a journal that it made, and with that earlier deletions there are durable too.
 */
enum { FV_OF_FILE, FV_OF_FOLDER, FV_OF_BOTH };

/* What becomes of sectors that were not synced. */
enum fv_loss { FV_KEEP_ALL, FV_KEEP_NONE, FV_KEEP_SOME, FV_GARBAGE, FV_LOSS_COUNT };

static struct {
    sqlite3_vfs vfs, *real;
    pthread_mutex_t mutex;
    struct fv_op *ops;
    size_t count, room;
    char *paths[FV_FILES];
    int path_count;
    int is_recording;
    _Atomic int fail_after; /* writes until all fail with fail_code; negative: never */
    _Atomic int fail_code;
    _Atomic unsigned sync_us; /* what a sync takes */
} fv = {.mutex = PTHREAD_MUTEX_INITIALIZER, .fail_after = -1, .fail_code = SQLITE_FULL};

struct fv_file {
    sqlite3_file base;
    int index; /* of its path; negative: not followed */
    int is_new;
    sqlite3_file *real;
};

static int
fv_path(const char *path)
{
    for (int i = 0; i < fv.path_count; i++)
        if (strcmp(fv.paths[i], path) == 0)
            return i;
    if (fv.path_count == FV_FILES)
        abort();
    fv.paths[fv.path_count] = strdup(path);
    return fv.path_count++;
}

static void
fv_add(struct fv_op op, const void *data)
{
    (void) pthread_mutex_lock(&fv.mutex);
    if (fv.is_recording) {
        if (fv.count == fv.room) {
            fv.room = fv.room == 0 ? 1024 : fv.room * 2;
            fv.ops = realloc(fv.ops, fv.room * sizeof(*fv.ops));
            if (fv.ops == NULL)
                abort();
        }
        if (data != NULL) {
            op.data = malloc(op.len);
            if (op.data == NULL)
                abort();
            memcpy(op.data, data, op.len);
        }
        fv.ops[fv.count++] = op;
    }
    (void) pthread_mutex_unlock(&fv.mutex);
}

/* The test's own note: what it was told by now. */
static __attribute__((unused)) void
fv_mark(sqlite3_int64 what)
{
    fv_add((struct fv_op){.kind = FV_MARK, .offset = what}, NULL);
}

/* ---- Methods ---- */

#define REAL(file) (((struct fv_file *) (file))->real)

static int
fv_close(sqlite3_file *file)
{
    struct fv_file *own = (struct fv_file *) file;
    int rc = own->real->pMethods == NULL ? SQLITE_OK : own->real->pMethods->xClose(own->real);

    sqlite3_free(own->real);
    return rc;
}

static int
fv_read(sqlite3_file *file, void *data, int len, sqlite3_int64 offset)
{
    return REAL(file)->pMethods->xRead(REAL(file), data, len, offset);
}

static int
fv_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
    struct fv_file *own = (struct fv_file *) file;

    if (own->index >= 0) {
        if (fv.fail_after == 0)
            return fv.fail_code;
        if (fv.fail_after > 0)
            fv.fail_after--;
        fv_add((struct fv_op){.kind = FV_WRITE, .file = own->index, .offset = offset, .len = (size_t) len}, data);
    }
    return own->real->pMethods->xWrite(own->real, data, len, offset);
}

static int
fv_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct fv_file *own = (struct fv_file *) file;

    if (own->index >= 0)
        fv_add((struct fv_op){.kind = FV_TRUNCATE, .file = own->index, .offset = size}, NULL);
    return own->real->pMethods->xTruncate(own->real, size);
}

/* Recorded once it is done: what is acknowledged later was acknowledged after it. The real disk need not be waited for.
 */
static int
fv_sync(sqlite3_file *file, int flags)
{
    struct fv_file *own = (struct fv_file *) file;

    (void) flags;
    if (own->index >= 0)
        fv_add((struct fv_op){.kind = FV_SYNC, .file = own->index, .target = own->is_new ? FV_OF_BOTH : FV_OF_FILE},
               NULL);
    own->is_new = 0;
    if (fv.sync_us > 0)
        (void) usleep(fv.sync_us);
    return SQLITE_OK;
}

static int
fv_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return REAL(file)->pMethods->xFileSize(REAL(file), size);
}

static int
fv_lock(sqlite3_file *file, int lock)
{
    return REAL(file)->pMethods->xLock(REAL(file), lock);
}

static int
fv_unlock(sqlite3_file *file, int lock)
{
    return REAL(file)->pMethods->xUnlock(REAL(file), lock);
}

static int
fv_check_lock(sqlite3_file *file, int *result)
{
    return REAL(file)->pMethods->xCheckReservedLock(REAL(file), result);
}

static int
fv_control(sqlite3_file *file, int op, void *argument)
{
    return REAL(file)->pMethods->xFileControl(REAL(file), op, argument);
}

static int
fv_sector_size(sqlite3_file *file)
{
    (void) file;
    return FV_SECTOR;
}

static int
fv_characteristics(sqlite3_file *file)
{
    return REAL(file)->pMethods->xDeviceCharacteristics(REAL(file)) & SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int
fv_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **memory)
{
    return REAL(file)->pMethods->xShmMap(REAL(file), page, size, extend, memory);
}

static int
fv_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return REAL(file)->pMethods->xShmLock(REAL(file), offset, n, flags);
}

static void
fv_shm_barrier(sqlite3_file *file)
{
    REAL(file)->pMethods->xShmBarrier(REAL(file));
}

static int
fv_shm_unmap(sqlite3_file *file, int is_deleting)
{
    return REAL(file)->pMethods->xShmUnmap(REAL(file), is_deleting);
}

static const sqlite3_io_methods fv_methods = {
    .iVersion = 2,
    .xClose = fv_close,
    .xRead = fv_read,
    .xWrite = fv_write,
    .xTruncate = fv_truncate,
    .xSync = fv_sync,
    .xFileSize = fv_file_size,
    .xLock = fv_lock,
    .xUnlock = fv_unlock,
    .xCheckReservedLock = fv_check_lock,
    .xFileControl = fv_control,
    .xSectorSize = fv_sector_size,
    .xDeviceCharacteristics = fv_characteristics,
    .xShmMap = fv_shm_map,
    .xShmLock = fv_shm_lock,
    .xShmBarrier = fv_shm_barrier,
    .xShmUnmap = fv_shm_unmap,
};

static int
fv_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out_flags)
{
    struct fv_file *own = (struct fv_file *) file;
    int rc;

    (void) vfs;
    own->base.pMethods = NULL;
    own->index = -1;
    own->is_new = (flags & SQLITE_OPEN_CREATE) != 0 && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    own->real = sqlite3_malloc(fv.real->szOsFile);
    if (own->real == NULL)
        return SQLITE_NOMEM;
    memset(own->real, 0, (size_t) fv.real->szOsFile);
    rc = fv.real->xOpen(fv.real, path, own->real, flags, out_flags);
    if (rc != SQLITE_OK) {
        sqlite3_free(own->real);
        return rc;
    }
    if (path != NULL && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0) {
        (void) pthread_mutex_lock(&fv.mutex);
        own->index = fv.is_recording ? fv_path(path) : 0;
        (void) pthread_mutex_unlock(&fv.mutex);
    }
    own->base.pMethods = &fv_methods;
    return SQLITE_OK;
}

static int
fv_delete(sqlite3_vfs *vfs, const char *path, int is_synced)
{
    int file;

    (void) vfs;
    (void) pthread_mutex_lock(&fv.mutex);
    file = fv.is_recording ? fv_path(path) : 0;
    (void) pthread_mutex_unlock(&fv.mutex);
    fv_add((struct fv_op){.kind = FV_DELETE, .file = file}, NULL);
    return fv.real->xDelete(fv.real, path, is_synced);
}

/* From now on SQLite's default. */
static void
fv_install(void)
{
    fv.real = sqlite3_vfs_find(NULL);
    fv.vfs = *fv.real;
    fv.vfs.zName = "fault";
    fv.vfs.szOsFile = (int) sizeof(struct fv_file);
    fv.vfs.pNext = NULL;
    fv.vfs.xOpen = fv_open;
    fv.vfs.xDelete = fv_delete;
    if (sqlite3_vfs_register(&fv.vfs, 1) != SQLITE_OK)
        abort();
}

static void
fv_forget(void)
{
    for (size_t i = 0; i < fv.count; i++)
        free(fv.ops[i].data);
    free(fv.ops);
    for (int i = 0; i < fv.path_count; i++)
        free(fv.paths[i]);
    fv.ops = NULL;
    fv.count = fv.room = 0;
    fv.path_count = 0;
}

/* ---- What a disk holds after a cut ---- */

struct fv_image {
    uint8_t *data;
    size_t len, room;
    int exists;
};

static uint64_t fv_seed;

static uint64_t
fv_random(void)
{
    fv_seed ^= fv_seed << 13;
    fv_seed ^= fv_seed >> 7;
    fv_seed ^= fv_seed << 17;
    return fv_seed;
}

static void
fv_image_size(struct fv_image *image, size_t len)
{
    if (len > image->room) {
        image->room = len * 2;
        image->data = realloc(image->data, image->room);
        if (image->data == NULL)
            abort();
    }
    if (len > image->len)
        memset(image->data + image->len, 0, len - image->len);
    image->len = len;
}

static void
fv_image_put(struct fv_image *image, sqlite3_int64 offset, const uint8_t *data, size_t len)
{
    if ((size_t) offset + len > image->len)
        fv_image_size(image, (size_t) offset + len);
    memcpy(image->data + offset, data, len);
}

/* A write that was not synced, sector by sector. */
static void
fv_image_lose(struct fv_image *image, const struct fv_op *op, enum fv_loss loss)
{
    for (size_t at = 0; at < op->len;) {
        size_t left = FV_SECTOR - ((size_t) op->offset + at) % FV_SECTOR;
        size_t len = left < op->len - at ? left : op->len - at;
        uint64_t dice = fv_random();

        if (loss == FV_KEEP_ALL || (loss == FV_KEEP_SOME && dice % 2 == 0) || (loss == FV_GARBAGE && dice % 4 == 0))
            fv_image_put(image, op->offset + (sqlite3_int64) at, op->data + at, len);
        else if (loss == FV_KEEP_SOME && dice % 8 == 1) /* torn within a sector */
            fv_image_put(image, op->offset + (sqlite3_int64) at, op->data + at, dice / 8 % len);
        else if (loss == FV_GARBAGE && dice % 4 == 1) {
            uint8_t junk[FV_SECTOR];

            for (size_t i = 0; i < sizeof(junk); i++)
                junk[i] = (uint8_t) fv_random();
            fv_image_put(image, op->offset + (sqlite3_int64) at, junk, len);
        }
        at += len;
    }
}

/*
 * The files as they may be when the power goes before ops[cut]: written out through `name`, which says where a path's
 * content goes.
 */
static __attribute__((unused)) void
fv_cut(size_t cut, enum fv_loss loss, void (*put)(const char *path, const struct fv_image *image, void *context),
       void *context)
{
    struct fv_image images[FV_FILES] = {0};
    size_t synced[FV_FILES] = {0}, folder_synced = 0;

    for (size_t i = 0; i < cut; i++) {
        if (fv.ops[i].kind != FV_SYNC)
            continue;
        synced[fv.ops[i].file] = i;
        if (fv.ops[i].target != FV_OF_FILE)
            folder_synced = i;
    }
    for (size_t i = 0; i < cut; i++) {
        const struct fv_op *op = &fv.ops[i];
        struct fv_image *image = &images[op->file];
        int is_safe = i < synced[op->file];

        switch (op->kind) {
        case FV_WRITE:
            image->exists = image->exists || is_safe || loss != FV_KEEP_NONE;
            if (is_safe)
                fv_image_put(image, op->offset, op->data, op->len);
            else
                fv_image_lose(image, op, loss);
            break;
        case FV_TRUNCATE:
            if (is_safe || loss == FV_KEEP_ALL || (loss != FV_KEEP_NONE && fv_random() % 2 == 0))
                fv_image_size(image, (size_t) op->offset);
            break;
        case FV_SYNC:
            image->exists = image->exists || op->target != FV_OF_FOLDER;
            break;
        case FV_DELETE:
            if (i < folder_synced || loss == FV_KEEP_ALL || (loss != FV_KEEP_NONE && fv_random() % 2 == 0)) {
                image->len = 0;
                image->exists = 0;
            }
            break;
        case FV_RENAME:
            if (i < folder_synced || loss == FV_KEEP_ALL || (loss != FV_KEEP_NONE && fv_random() % 2 == 0)) {
                if (image->exists) {
                    free(images[op->target].data);
                    images[op->target] = *image;
                    *image = (struct fv_image){0};
                }
            }
            break;
        case FV_MARK:
            break;
        }
    }
    for (int i = 0; i < fv.path_count; i++) {
        if (images[i].exists)
            put(fv.paths[i], &images[i], context);
        free(images[i].data);
    }
}

#endif
