#include "proxy/audit/db_int.h"
#include "proxy/base/log.h"
#include "proxy/crypto/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

char *
pv_path_with(const char *path, const char *ending)
{
    size_t path_len = strlen(path);
    size_t ending_len = strlen(ending);
    char *joined = pv_alloc(path_len + ending_len + 1);

    if (joined != NULL) {
        memcpy(joined, path, path_len);
        memcpy(joined + path_len, ending, ending_len + 1);
    }
    return joined;
}

/* A new file's name is on disk only when its folder is. */
enum pv_status
pv_folder_sync(const char *path)
{
    char *copy = pv_strdup(path);
    enum pv_status status = PV_IO;
    int fd;

    if (copy == NULL)
        return PV_NOMEM;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        status = fsync(fd) == 0 ? PV_OK : PV_IO;
        (void) close(fd);
    }
    pv_free(copy);
    return status;
}

static void
sync_folder_of(const char *path)
{
    enum pv_status status = pv_folder_sync(path);

    if (status != PV_OK)
        pv_log(PV_LOG_WARNING, "the folder of %s could not be synced: %s", path, pv_status_words(status));
}

char *
pv_path_beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t folder_len = slash == NULL ? 0 : (size_t) (slash - path) + 1;
    size_t name_len = strlen(name);
    char *joined = pv_alloc(folder_len + name_len + 1);

    if (joined != NULL) {
        memcpy(joined, path, folder_len);
        memcpy(joined + folder_len, name, name_len + 1);
    }
    return joined;
}

enum pv_status
pv_file_ensure(const char *path, char *error, size_t error_size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);

    if (fd < 0 && errno == EEXIST)
        return PV_OK;
    if (fd < 0) {
        pv_db_error(error, error_size, "cannot make %s: %s", path, strerror(errno));
        return PV_IO;
    }
    (void) close(fd);
    sync_folder_of(path);
    return PV_OK;
}

/*
 * A key is written under a name of our own and then linked to its place, so that nobody reads
 * half of it and, of two processes, one wins.
 */
static enum pv_status
write_key(const struct pv_sign_key *key, bool is_private, const char *path)
{
    char ending[32];
    char *draft;
    enum pv_status status;

    (void) snprintf(ending, sizeof(ending), ".%ld.new", (long) getpid());
    draft = pv_path_with(path, ending);
    if (draft == NULL)
        return PV_NOMEM;
    (void) unlink(draft);
    status = is_private ? pv_sign_private_write(key, draft) : pv_sign_public_write(key, draft);
    if (status == PV_OK && link(draft, path) != 0 && errno != EEXIST)
        status = PV_IO;
    (void) unlink(draft);
    pv_free(draft);
    if (status == PV_OK)
        sync_folder_of(path);
    return status;
}

static enum pv_status
ensure_private(const char *path, struct pv_sign_key **key, char *error, size_t error_size)
{
    struct pv_sign_key *made = NULL;
    enum pv_status status = pv_sign_private_load(path, key, error, error_size);

    if (status != PV_NOTFOUND)
        return status;
    status = pv_sign_generate(&made);
    if (status == PV_OK)
        status = write_key(made, true, path);
    pv_sign_key_free(made);
    if (status != PV_OK) {
        pv_db_error(error, error_size, "cannot write %s: %s", path, pv_status_words(status));
        return status;
    }
    pv_log(PV_LOG_INFO, "made the query log's signing key %s", path);
    return pv_sign_private_load(path, key, error, error_size);
}

enum pv_status
pv_keys_ensure(const char *path, char *error, size_t error_size)
{
    char *private_path = pv_path_with(path, ".key");
    char *public_path = pv_path_with(path, ".pub");
    struct pv_sign_key *key = NULL;
    enum pv_status status = PV_NOMEM;

    if (private_path == NULL || public_path == NULL)
        goto done;
    status = PV_OK;
    if (access(private_path, F_OK) == 0 && access(public_path, F_OK) == 0)
        goto done;
    status = ensure_private(private_path, &key, error, error_size);
    if (status == PV_OK && access(public_path, F_OK) != 0)
        status = write_key(key, false, public_path);
    if (status == PV_OK || status == PV_NOMEM)
        goto done;
    if (key != NULL)
        pv_db_error(error, error_size, "cannot write %s: %s", public_path, pv_status_words(status));
done:
    if (status == PV_NOMEM)
        pv_db_error(error, error_size, "%s", pv_status_words(status));
    pv_sign_key_free(key);
    pv_free(private_path);
    pv_free(public_path);
    return status;
}

static enum pv_status
refuse_held(int fd, const char *path, const char *verb, char *error, size_t error_size)
{
    char pid[24];
    ssize_t len = pread(fd, pid, sizeof(pid) - 1, 0);

    pid[len > 0 ? len : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    pv_db_error(error, error_size, "the state file %s is %s by process %s", path, verb,
                pid[0] == '\0' ? "(unknown)" : pid);
    return PV_BUSY;
}

static enum pv_status
take_lock(const char *path, const char *ending, const char *verb, int *fd, char *error, size_t error_size)
{
    char *lock_path = pv_path_with(path, ending);
    enum pv_status status = PV_IO;
    int lock = -1;

    if (lock_path == NULL) {
        pv_db_error(error, error_size, "%s", pv_status_words(PV_NOMEM));
        return PV_NOMEM;
    }
    lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (lock < 0 || (flock(lock, LOCK_EX | LOCK_NB) != 0 && errno != EWOULDBLOCK))
        pv_db_error(error, error_size, "cannot lock %s: %s", lock_path, strerror(errno));
    else if (flock(lock, LOCK_EX | LOCK_NB) != 0)
        status = refuse_held(lock, path, verb, error, error_size);
    else if (ftruncate(lock, 0) != 0 || dprintf(lock, "%ld\n", (long) getpid()) < 0)
        pv_db_error(error, error_size, "cannot write %s: %s", lock_path, strerror(errno));
    else {
        *fd = lock;
        lock = -1;
        status = PV_OK;
    }
    if (lock >= 0)
        (void) close(lock);
    pv_free(lock_path);
    return status;
}

enum pv_status
pv_lock_take(const char *path, int *fd, char *error, size_t error_size)
{
    return take_lock(path, ".lock", "served", fd, error, error_size);
}

enum pv_status
pv_seal_lock_take(const char *path, int *fd, char *error, size_t error_size)
{
    return take_lock(path, ".seal", "being sealed", fd, error, error_size);
}

void
pv_lock_release(int fd)
{
    if (fd < 0)
        return;
    (void) !ftruncate(fd, 0);
    (void) close(fd);
}
