/* Files that a document names: that they are there, and that secrets are secret. */
#include "policy/load_int.h"
#include "proxy/crypto/mac.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A password file is one line; more than this is another file. */
#define PASSWORD_FILE_BYTES_MAX 4096u

static int
open_regular(const char *path, struct stat *info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error;

    if (fd < 0)
        return -1;
    if (fstat(fd, info) == 0 && S_ISREG(info->st_mode))
        return fd;
    error = S_ISDIR(info->st_mode) ? EISDIR : EINVAL;
    (void) close(fd);
    errno = error;
    return -1;
}

static const char *
checked_path(struct pv_doc *doc, const struct pv_located *value, struct stat *info, int *fd)
{
    const char *path;

    *fd = -1;
    if (*pv_located_string(value) == '\0') {
        pv_load_fault(doc, value, "\"%s\" must not be empty", value->key);
        return NULL;
    }
    path = pv_load_path(doc, pv_located_string(value));
    if (path == NULL)
        return NULL;
    *fd = open_regular(path, info);
    if (*fd < 0)
        pv_load_fault(doc, value, "cannot read \"%s\": %s", pv_located_string(value), strerror(errno));
    return path;
}

void
pv_set_file(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct stat info;
    int fd;

    (void) key;
    *(const char **) field = checked_path(doc, value, &info, &fd);
    if (fd >= 0)
        (void) close(fd);
}

static void
check_password(struct pv_doc *doc, const struct pv_located *value, const char *text, size_t len)
{
    const char *end = memchr(text, '\n', len);
    size_t line = end == NULL ? len : (size_t) (end - text);

    if (line > 0 && text[line - 1] == '\r')
        line--;
    if (line == 0)
        pv_load_fault(doc, value, "\"%s\" holds no password", pv_located_string(value));
    else if (end != NULL && (size_t) (end - text) + 1 != len)
        pv_load_fault(doc, value, "\"%s\" must hold one line", pv_located_string(value));
    else if (!pv_utf8_valid(pv_slice_of(text, line)))
        pv_load_fault(doc, value, "\"%s\" must hold valid UTF-8", pv_located_string(value));
}

static void
check_hex(struct pv_doc *doc, const struct pv_located *value, const char *text, size_t len)
{
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    for (size_t i = 0; len == 64 && i < len; i++)
        if (text[i] == '\0' || strchr("0123456789abcdefABCDEF", text[i]) == NULL)
            len = 0;
    if (len != 64)
        pv_load_fault(doc, value, "\"%s\" must hold 64 hexadecimal digits and nothing else",
                      pv_located_string(value));
}

/* The text is looked at and wiped; no fault quotes it. */
static void
check_secret(struct pv_doc *doc, const struct pv_located *value, int fd, const struct stat *info)
{
    char text[PASSWORD_FILE_BYTES_MAX];
    size_t len = 0;
    ssize_t got;

    if ((uint64_t) info->st_size > sizeof(text)) {
        pv_load_fault(doc, value, "\"%s\" is longer than a secret may be", pv_located_string(value));
        return;
    }
    while (len < sizeof(text) && (got = read(fd, text + len, sizeof(text) - len)) != 0) {
        if (got < 0 && errno != EINTR) {
            pv_load_fault(doc, value, "cannot read \"%s\": %s", pv_located_string(value), strerror(errno));
            break;
        }
        len += got > 0 ? (size_t) got : 0;
    }
    if (strcmp(value->key, "password_file") == 0)
        check_password(doc, value, text, len);
    else if (strcmp(value->key, "secret_file") == 0)
        check_hex(doc, value, text, len);
    pv_wipe(text, sizeof(text));
}

void
pv_set_secret_file(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct stat info;
    int fd;

    (void) key;
    *(const char **) field = checked_path(doc, value, &info, &fd);
    if (fd < 0)
        return;
    if ((info.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) != 0)
        pv_load_fault(doc, value, "\"%s\" is a secret file that group or others can read or write (mode %04o): chmod 600 it",
                      pv_located_string(value), (unsigned) info.st_mode & 07777u);
    else if (strcmp(value->key, "password_file") == 0 || strcmp(value->key, "secret_file") == 0)
        check_secret(doc, value, fd, &info);
    (void) close(fd);
}
