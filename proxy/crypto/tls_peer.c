/* What certificates say. */
#include "proxy/crypto/tls_int.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

/* Text of a certificate into the arena. Without NUL: that is how `good.example\0.evil` passed (CVE-2009-4034). */
static enum pv_status
text_take(const ASN1_STRING *string, struct pv_arena *arena, const char **text)
{
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, string);
    enum pv_status status = PV_OK;
    char *copy;

    if (len < 0)
        return PV_INVALID;
    if (!pv_utf8_valid(pv_slice_of(utf8, (size_t) len)))
        status = PV_INVALID;
    else {
        copy = pv_arena_strndup(arena, (const char *) utf8, (size_t) len);
        if (copy == NULL)
            status = PV_NOMEM;
        else
            *text = copy;
    }
    OPENSSL_free(utf8);
    return status;
}

static enum pv_status
common_name_take(X509 *cert, struct pv_arena *arena, const char **text)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    *text = NULL;
    if (at < 0)
        return PV_OK;
    if (X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return PV_INVALID;
    return text_take(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), arena, text);
}

static enum pv_status
address_take(const ASN1_OCTET_STRING *octets, struct pv_arena *arena, const char **text)
{
    char printed[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(octets);
    int family = len == 4 ? AF_INET : AF_INET6;
    char *copy;

    if ((len != 4 && len != 16) || inet_ntop(family, ASN1_STRING_get0_data(octets), printed, sizeof(printed)) == NULL)
        return PV_INVALID;
    copy = pv_arena_strdup(arena, printed);
    if (copy == NULL)
        return PV_NOMEM;
    *text = copy;
    return PV_OK;
}

/* One entry of subjectAltName; PV_NOTFOUND for a kind that nobody asks about. */
static enum pv_status
alt_take(const GENERAL_NAME *general, struct pv_arena *arena, struct pv_tls_name *name)
{
    int type;
    const void *value = GENERAL_NAME_get0_value(general, &type);

    switch (type) {
    case GEN_DNS:
        name->kind = PV_TLS_NAME_DNS;
        return text_take(value, arena, &name->text);
    case GEN_EMAIL:
        name->kind = PV_TLS_NAME_EMAIL;
        return text_take(value, arena, &name->text);
    case GEN_URI:
        name->kind = PV_TLS_NAME_URI;
        return text_take(value, arena, &name->text);
    case GEN_IPADD:
        name->kind = PV_TLS_NAME_IP;
        return address_take(value, arena, &name->text);
    default:
        return PV_NOTFOUND;
    }
}

static enum pv_status
alts_take(X509 *cert, struct pv_arena *arena, struct pv_tls_names *names)
{
    int critical = -1;
    GENERAL_NAMES *found = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
    struct pv_tls_name *alts;
    enum pv_status status = PV_OK;
    int count;

    /* -1: not there. Anything else without a result is an extension that stands twice or cannot be read. */
    if (found == NULL)
        return critical == -1 ? PV_OK : PV_INVALID;
    count = sk_GENERAL_NAME_num(found);
    alts = pv_arena_alloc(arena, ((size_t) count + 1) * sizeof(*alts));
    if (alts == NULL)
        status = PV_NOMEM;
    for (int i = 0; i < count && status == PV_OK; i++) {
        status = alt_take(sk_GENERAL_NAME_value(found, i), arena, &alts[names->alt_count]);
        if (status == PV_OK)
            names->alt_count++;
        else if (status == PV_NOTFOUND)
            status = PV_OK;
    }
    names->alts = alts;
    GENERAL_NAMES_free(found);
    return status;
}

enum pv_status
pv_tls_peer_names(const struct pv_tls *tls, struct pv_arena *arena, struct pv_tls_names *names)
{
    X509 *cert = SSL_get0_peer_certificate(tls->ssl);
    struct pv_tls_names found = {0};
    enum pv_status status;

    if (cert == NULL)
        return PV_NOTFOUND;
    status = common_name_take(cert, arena, &found.common_name);
    if (status == PV_OK)
        status = alts_take(cert, arena, &found);
    ERR_clear_error();
    if (status == PV_OK)
        *names = found;
    return status;
}

enum pv_status
pv_tls_endpoint_hash(const struct pv_tls *tls, uint8_t hash[PV_TLS_ENDPOINT_BYTES_MAX], size_t *len)
{
    X509 *cert = tls->context->is_server ? SSL_get_certificate(tls->ssl) : SSL_get0_peer_certificate(tls->ssl);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned int digest_len = 0;
    const EVP_MD *md;
    int md_nid = NID_undef;

    if (cert == NULL || X509_get_signature_info(cert, &md_nid, NULL, NULL, NULL) != 1 || md_nid == NID_undef) {
        ERR_clear_error();
        return PV_NOTFOUND;
    }
    if (md_nid == NID_md5 || md_nid == NID_sha1)
        md_nid = NID_sha256;
    md = EVP_get_digestbynid(md_nid);
    if (md == NULL || EVP_MD_get_size(md) > (int) PV_TLS_ENDPOINT_BYTES_MAX)
        return PV_NOTFOUND;
    if (X509_digest(cert, md, digest, &digest_len) != 1) {
        ERR_clear_error();
        return PV_INTERNAL;
    }
    for (unsigned int i = 0; i < digest_len; i++)
        hash[i] = digest[i];
    *len = digest_len;
    return PV_OK;
}
