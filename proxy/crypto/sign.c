#include "proxy/crypto/sign.h"

#include "proxy/base/bytes.h"
#include "proxy/crypto/key_int.h"
#include "proxy/crypto/mac.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A PEM key is some hundred bytes; comments around it may be longer. */
#define KEY_FILE_BYTES_MAX (64u * 1024u)

struct pv_sign_key {
    EVP_PKEY *pkey;
    bool is_private;
};

int
pv_no_passphrase(char *buffer, int size, int is_written, void *unused)
{
    (void) buffer;
    (void) size;
    (void) is_written;
    (void) unused;
    return -1;
}

/* Takes the library's key: frees it on failure. */
static enum pv_status
key_wrap(EVP_PKEY *pkey, bool is_private, struct pv_sign_key **key)
{
    struct pv_sign_key *made;

    ERR_clear_error();
    if (pkey == NULL)
        return PV_INVALID;
    if (EVP_PKEY_get_id(pkey) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(pkey);
        return PV_INVALID;
    }
    made = pv_calloc(1, sizeof(*made));
    if (made == NULL) {
        EVP_PKEY_free(pkey);
        return PV_NOMEM;
    }
    made->pkey = pkey;
    made->is_private = is_private;
    *key = made;
    return PV_OK;
}

static enum pv_status
key_parse(struct pv_slice pem, bool is_private, struct pv_sign_key **key)
{
    BIO *bio;
    EVP_PKEY *pkey;

    if (pem.len == 0 || pem.len > KEY_FILE_BYTES_MAX)
        return PV_INVALID;
    bio = BIO_new_mem_buf(pem.data, (int) pem.len);
    if (bio == NULL)
        return PV_NOMEM;
    pkey = is_private ? PEM_read_bio_PrivateKey(bio, NULL, pv_no_passphrase, NULL)
                      : PEM_read_bio_PUBKEY(bio, NULL, pv_no_passphrase, NULL);
    BIO_free(bio);
    return key_wrap(pkey, is_private, key);
}

enum pv_status
pv_sign_private_parse(struct pv_slice pem, struct pv_sign_key **key)
{
    return key_parse(pem, true, key);
}

enum pv_status
pv_sign_public_parse(struct pv_slice pem, struct pv_sign_key **key)
{
    return key_parse(pem, false, key);
}

/* The whole file into the buffer, which is the caller's to wipe. */
static enum pv_status
file_read(const char *path, struct pv_buf *pem)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum pv_status status = PV_OK;

    if (fd < 0)
        return errno == ENOENT ? PV_NOTFOUND : PV_IO;
    for (;;) {
        uint8_t *room = pv_buf_reserve(pem, 4096);
        ssize_t got = room == NULL ? 0 : read(fd, room, 4096);

        if (room == NULL)
            status = PV_NOMEM;
        else if (got < 0)
            status = PV_IO;
        else
            pv_buf_commit(pem, (size_t) got);
        if (pv_buf_len(pem) > KEY_FILE_BYTES_MAX)
            status = PV_INVALID;
        if (status != PV_OK || got == 0)
            break;
    }
    (void) close(fd);
    return status;
}

static enum pv_status
key_load(const char *path, bool is_private, struct pv_sign_key **key, char *error, size_t error_size)
{
    struct pv_buf pem = {0};
    const char *kind = is_private ? "private" : "public";
    enum pv_status status = file_read(path, &pem);
    int saved_errno = errno;

    if (status == PV_OK)
        status = key_parse(pv_buf_slice(&pem), is_private, key);
    pv_buf_wipe(&pem);
    if (status == PV_OK || error_size == 0)
        return status;
    if (status == PV_INVALID)
        (void) snprintf(error, error_size, "\"%s\" is not an Ed25519 %s key in PEM", path, kind);
    else
        (void) snprintf(error, error_size, "cannot read %s key \"%s\": %s", kind, path,
                        status == PV_NOMEM ? pv_status_words(status) : strerror(saved_errno));
    return status;
}

enum pv_status
pv_sign_private_load(const char *path, struct pv_sign_key **key, char *error, size_t error_size)
{
    return key_load(path, true, key, error, error_size);
}

enum pv_status
pv_sign_public_load(const char *path, struct pv_sign_key **key, char *error, size_t error_size)
{
    return key_load(path, false, key, error, error_size);
}

enum pv_status
pv_sign_generate(struct pv_sign_key **key)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    return pkey == NULL ? PV_INTERNAL : key_wrap(pkey, true, key);
}

void
pv_sign_key_free(struct pv_sign_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    pv_free(key);
}

static bool
write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t done = write(fd, data, len);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        data += done;
        len -= (size_t) done;
    }
    return fsync(fd) == 0;
}

/* A new file with these bytes, or none at all. */
static enum pv_status
file_write(const char *path, mode_t mode, const char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    bool is_written;

    if (fd < 0)
        return errno == EEXIST ? PV_BUSY : PV_IO;
    is_written = write_all(fd, data, len);
    if (close(fd) != 0 || !is_written) {
        (void) unlink(path);
        return PV_IO;
    }
    return PV_OK;
}

static enum pv_status
key_write(const struct pv_sign_key *key, bool is_private, const char *path)
{
    /* Secure memory is zeroed when it is freed. */
    BIO *bio = BIO_new(is_private ? BIO_s_secmem() : BIO_s_mem());
    enum pv_status status = PV_NOMEM;
    char *data = NULL;
    long len;

    if (bio == NULL)
        return PV_NOMEM;
    if (is_private ? PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1
                   : PEM_write_bio_PUBKEY(bio, key->pkey) == 1) {
        len = BIO_get_mem_data(bio, &data);
        if (len > 0)
            status = file_write(path, is_private ? 0600 : 0644, data, (size_t) len);
        if (is_private && len > 0)
            pv_wipe(data, (size_t) len);
    }
    BIO_free(bio);
    ERR_clear_error();
    return status;
}

enum pv_status
pv_sign_private_write(const struct pv_sign_key *key, const char *path)
{
    return key->is_private ? key_write(key, true, path) : PV_DENIED;
}

enum pv_status
pv_sign_public_write(const struct pv_sign_key *key, const char *path)
{
    return key_write(key, false, path);
}

enum pv_status
pv_sign(const struct pv_sign_key *key, struct pv_slice bytes, uint8_t signature[PV_SIGNATURE_BYTES])
{
    EVP_MD_CTX *md;
    size_t len = PV_SIGNATURE_BYTES;
    enum pv_status status = PV_OK;

    if (!key->is_private)
        return PV_DENIED;
    md = EVP_MD_CTX_new();
    if (md == NULL)
        return PV_NOMEM;
    if (EVP_DigestSignInit(md, NULL, NULL, NULL, key->pkey) != 1 ||
        EVP_DigestSign(md, signature, &len, bytes.data, bytes.len) != 1 || len != PV_SIGNATURE_BYTES)
        status = PV_INTERNAL;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return status;
}

enum pv_status
pv_sign_verify(const struct pv_sign_key *key, struct pv_slice bytes, struct pv_slice signature)
{
    EVP_MD_CTX *md;
    enum pv_status status = PV_DENIED;

    if (signature.len != PV_SIGNATURE_BYTES)
        return PV_DENIED;
    md = EVP_MD_CTX_new();
    if (md == NULL)
        return PV_NOMEM;
    if (EVP_DigestVerifyInit(md, NULL, NULL, NULL, key->pkey) != 1)
        status = PV_INTERNAL;
    else if (EVP_DigestVerify(md, signature.data, signature.len, bytes.data, bytes.len) == 1)
        status = PV_OK;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return status;
}

enum pv_status
pv_sign_fingerprint(const struct pv_sign_key *key, char fingerprint[PV_FINGERPRINT_SIZE])
{
    uint8_t digest[PV_SHA256_BYTES];
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key->pkey, &der);
    struct pv_buf hex = {0};
    enum pv_status status;

    if (len <= 0) {
        ERR_clear_error();
        return PV_INTERNAL;
    }
    status = pv_sha256(pv_slice_of(der, (size_t) len), digest);
    OPENSSL_free(der);
    if (status == PV_OK)
        status = pv_hex_encode(pv_slice_of(digest, sizeof(digest)), &hex);
    if (status == PV_OK) {
        memcpy(fingerprint, pv_buf_slice(&hex).data, PV_FINGERPRINT_SIZE - 1);
        fingerprint[PV_FINGERPRINT_SIZE - 1] = '\0';
    }
    pv_buf_clear(&hex);
    return status;
}
