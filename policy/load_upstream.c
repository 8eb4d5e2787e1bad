/*
 * Upstreams of the config. Beyond the keys of INTERFACE 2: `connect_timeout` (10s), `sslcert`, `sslkey`, and libpq's
 * way to name several servers, one of which is chosen when a connection is made: `host` and `port` with commas or as
 * arrays (one port for all, or as many as hosts), `target_session_attrs`, `load_balance_hosts`.
 */
#include "policy/load_int.h"

#include <string.h>

#define PORT_DEFAULT 5432u
#define SECOND_MS UINT64_C(1000)
#define HOUR_MS (3600 * SECOND_MS)
#define HOST_BYTES_MAX 255u
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char *const sslmode_words[] = {"disable", "require", "verify-ca", "verify-full", NULL};
static const char *const balance_words[] = {"disable", "random", NULL};
static const char *const attrs_words[] = {
    [PV_ATTRS_ANY] = "any",         [PV_ATTRS_READ_WRITE] = "read-write", [PV_ATTRS_READ_ONLY] = "read-only",
    [PV_ATTRS_PRIMARY] = "primary", [PV_ATTRS_STANDBY] = "standby",       [PV_ATTRS_PREFER_STANDBY] = "prefer-standby",
    NULL};

const char *
pv_session_attrs_word(enum pv_session_attrs attrs)
{
    return attrs_words[attrs];
}

/* ---- hosts and ports ---------------------------------------------------- */

/* One of several items: an item of an array, or what stands between two commas. */
struct item {
    const struct pv_located *place;
    const char *text; /* NULL: a number, of the place */
};

/* Items of a string with commas, of an array, or the one number. False after a fault. */
static bool
read_items(struct pv_doc *doc, const struct pv_located *value, unsigned item_kinds, const char *name,
           struct item items[PV_UPSTREAM_HOSTS_MAX], size_t *count)
{
    bool is_array = pv_located_kind(value) == PV_J_ARRAY;
    const char *text = pv_located_kind(value) == PV_J_STRING ? pv_located_string(value) : NULL;

    *count = 0;
    if (is_array && value->child_count == 0) {
        pv_load_fault(doc, value, "\"%s\" must hold at least one", name);
        return false;
    }
    for (size_t i = 0; is_array ? i < value->child_count : i == 0 || text != NULL; i++) {
        const struct pv_located *place = is_array ? &value->children[i] : value;
        const char *comma = text == NULL ? NULL : strchr(text, ',');

        if (*count == PV_UPSTREAM_HOSTS_MAX) {
            pv_load_fault(doc, place, "\"%s\" holds more than %u", name, PV_UPSTREAM_HOSTS_MAX);
            return false;
        }
        if (is_array && !pv_load_kind(doc, place, item_kinds, name))
            return false;
        items[*count].place = place;
        items[(*count)++].text = text != NULL ? pv_load_strndup(doc, text, comma == NULL ? strlen(text) : (size_t) (comma - text))
                                 : pv_located_kind(place) == PV_J_STRING ? pv_located_string(place)
                                                                         : NULL;
        text = comma == NULL ? NULL : comma + 1;
    }
    return true;
}

static bool
read_host(struct pv_doc *doc, const struct item *item, struct pv_upstream_host *host)
{
    const char *name = item->text;

    if (*name != '/' && (*name == '\0' || strlen(name) > HOST_BYTES_MAX || strspn(name, ALNUM ".-_:%") != strlen(name))) {
        pv_load_fault(doc, item->place,
                      "\"host\" must be a name, an address or the absolute path of a folder, not \"%s\"", name);
        return false;
    }
    host->name = pv_load_strdup(doc, name);
    return true;
}

static bool
read_port(struct pv_doc *doc, const struct item *item, uint16_t *port)
{
    uint64_t number = 0;

    if (item->text == NULL)
        number = (uint64_t) json_integer_value(item->place->json);
    else if (*item->text != '\0' && strlen(item->text) <= 5 && strspn(item->text, "0123456789") == strlen(item->text))
        for (const char *at = item->text; *at != '\0'; at++)
            number = number * 10 + (uint64_t) (*at - '0');
    if (number == 0 || number > UINT16_MAX) {
        pv_load_fault(doc, item->place, "\"port\" must be between 1 and %u", UINT16_MAX);
        return false;
    }
    *port = (uint16_t) number;
    return true;
}

static void
read_hosts(struct pv_doc *doc, const struct pv_located *value, struct pv_upstream *upstream)
{
    const struct pv_located *at_host = pv_located_find(value, "host"), *at_port = pv_located_find(value, "port");
    struct item hosts[PV_UPSTREAM_HOSTS_MAX], ports[PV_UPSTREAM_HOSTS_MAX];
    struct pv_upstream_host *read;
    size_t count = 0, port_count = 0;

    if (!read_items(doc, at_host, PV_J_STRING, "host", hosts, &count) ||
        (at_port != NULL && !read_items(doc, at_port, PV_J_INTEGER | PV_J_STRING, "port", ports, &port_count)))
        return;
    if (port_count > 1 && port_count != count) {
        pv_load_fault(doc, at_port, "\"port\" holds %zu for %zu hosts: one for all of them, or one for each", port_count,
                      count);
        return;
    }
    read = pv_load_alloc(doc, count, sizeof(*read));
    for (size_t i = 0; read != NULL && i < count; i++) {
        read[i].port = (uint16_t) PORT_DEFAULT;
        if (!read_host(doc, &hosts[i], &read[i]) ||
            (port_count > 0 && !read_port(doc, &ports[port_count == 1 ? 0 : i], &read[i].port)))
            return;
    }
    upstream->hosts = read;
    upstream->host_count = read == NULL ? 0 : count;
}

/* ---- the upstream ------------------------------------------------------- */

/* Both are read when the whole is there: the one's count hangs on the other's. */
static void
set_later(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    (void) doc;
    (void) value;
    (void) key;
    *(bool *) field = true;
}

struct reading {
    struct pv_upstream upstream;
    bool has_host, has_port;
};

static bool
has_tcp(const struct pv_upstream *upstream)
{
    for (size_t i = 0; i < upstream->host_count; i++)
        if (*upstream->hosts[i].name != '/')
            return true;
    return false;
}

static void
check_upstream(struct pv_doc *doc, const struct pv_located *value, const struct pv_upstream *upstream)
{
    const struct pv_located *sslmode = pv_located_find(value, "sslmode");
    const struct pv_located *sslcert = pv_located_find(value, "sslcert");
    const struct pv_located *sslkey = pv_located_find(value, "sslkey");

    if ((sslcert == NULL) != (sslkey == NULL))
        pv_load_fault_key(doc, sslcert != NULL ? sslcert : sslkey, "\"sslcert\" and \"sslkey\" go together");
    if (!has_tcp(upstream) || upstream->sslmode < PV_SSL_VERIFY_CA)
        return;
    /* A mode that is none is said already; the default, which nobody wrote there, is not asked after beside it. */
    if (sslmode != NULL && (!json_is_string(sslmode->json) ||
                            strcmp(json_string_value(sslmode->json), sslmode_words[upstream->sslmode]) != 0))
        return;
    if (pv_located_find(value, "sslrootcert") == NULL)
        pv_load_fault(doc, sslmode != NULL ? sslmode : value,
                      "sslmode \"%s\"%s needs \"sslrootcert\", the certificate to verify the server by",
                      sslmode_words[upstream->sslmode], sslmode != NULL ? "" : ", the default,");
}

#define KEY(field, name, kinds, is_required, set, least, most, words) \
    { \
        name, kinds, is_required, set, offsetof(struct reading, field), least, most, words \
    }

static void
read_upstream(struct pv_doc *doc, const struct pv_located *value, struct pv_upstream *upstream)
{
    static const struct pv_key keys[] = {
        KEY(has_host, "host", PV_J_STRING | PV_J_ARRAY, true, set_later, 0, 0, NULL),
        KEY(has_port, "port", PV_J_INTEGER | PV_J_STRING | PV_J_ARRAY, false, set_later, 0, 0, NULL),
        KEY(upstream.session_attrs, "target_session_attrs", PV_J_STRING, false, pv_set_word, 0, 0, attrs_words),
        KEY(upstream.balance, "load_balance_hosts", PV_J_STRING, false, pv_set_word, 0, 0, balance_words),
        KEY(upstream.dbname, "dbname", PV_J_STRING, true, pv_set_name, 0, 0, NULL),
        KEY(upstream.user, "user", PV_J_STRING, true, pv_set_name, 0, 0, NULL),
        KEY(upstream.password_file, "password_file", PV_J_STRING, false, pv_set_secret_file, 0, 0, NULL),
        KEY(upstream.sslmode, "sslmode", PV_J_STRING, false, pv_set_word, 0, 0, sslmode_words),
        KEY(upstream.sslrootcert, "sslrootcert", PV_J_STRING, false, pv_set_file, 0, 0, NULL),
        KEY(upstream.sslcert, "sslcert", PV_J_STRING, false, pv_set_file, 0, 0, NULL),
        KEY(upstream.sslkey, "sslkey", PV_J_STRING, false, pv_set_secret_file, 0, 0, NULL),
        KEY(upstream.connect_timeout_ms, "connect_timeout", PV_J_STRING, false, pv_set_time, 1, HOUR_MS, NULL),
    };
    struct reading reading = {.upstream = {.name = pv_load_strdup(doc, value->key),
                                           .sslmode = PV_SSL_VERIFY_FULL,
                                           .connect_timeout_ms = 10 * SECOND_MS}};

    if (!pv_name_fits(value->key, ALNUM "_", ALNUM "_-", PV_NAME_BYTES_MAX))
        pv_load_fault_key(doc, value, "an upstream's name is made of letters, digits, _ and -, not \"%s\"", value->key);
    if (pv_load_object(doc, value, keys, PV_COUNT_OF(keys), &reading)) {
        if (reading.has_host && (reading.has_port || pv_located_find(value, "port") == NULL))
            read_hosts(doc, value, &reading.upstream);
        check_upstream(doc, value, &reading.upstream);
    }
    *upstream = reading.upstream;
}

void
pv_set_upstreams(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_config *config = field;
    struct pv_upstream *upstreams = pv_load_alloc(doc, value->child_count, sizeof(*upstreams));

    (void) key;
    if (value->child_count == 0)
        pv_load_fault(doc, value, "\"upstreams\" must name at least one database");
    if (upstreams == NULL)
        return;
    for (size_t i = 0; i < value->child_count; i++)
        read_upstream(doc, &value->children[i], &upstreams[i]);
    config->upstreams = upstreams;
    config->upstream_count = value->child_count;
}
