/*
 * The config: INTERFACE 2. Beyond the keys shown there: `console` (HOST:PORT, off by default),
 * `limits.drain_timeout` (30s), `limits.client_idle_timeout` (0s: none). Upstreams are load_upstream.c's.
 */
#include "policy/load_int.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#define PORT_DEFAULT 6432u
#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define DAY_MS (24 * 60 * MINUTE_MS)
#define KIB UINT64_C(1024)
#define TIB (KIB * KIB * KIB * KIB)
/* The longest name that libpq gives a socket in its directory. */
#define SOCKET_NAME "/.s.PGSQL.65535"
#define HOST_BYTES_MAX 255u
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char *const pool_words[] = {"session", "transaction", NULL};
static const char *const literals_words[] = {"shown", "masked", NULL};
static const char *const durability_words[] = {"strict", "relaxed", NULL};

/* ---- addresses ---------------------------------------------------------- */

static bool
read_port(const char *text, uint16_t *port)
{
    uint32_t number = 0;
    size_t len = strlen(text);

    if (len == 0 || len > 5 || strspn(text, "0123456789") != len)
        return false;
    for (; *text != '\0'; text++)
        number = number * 10 + (uint32_t) (*text - '0');
    if (number == 0 || number > UINT16_MAX)
        return false;
    *port = (uint16_t) number;
    return true;
}

/* HOST:PORT or [V6]:PORT. */
static bool
read_address(struct pv_doc *doc, const char *text, struct pv_listen *listen)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t len;

    if (colon == NULL || colon == text || !read_port(colon + 1, &listen->port))
        return false;
    len = (size_t) (colon - text);
    if (*text == '[') {
        if (len < 4 || text[len - 1] != ']' || strspn(text + 1, "0123456789abcdefABCDEF:.%" ALNUM) != len - 2 ||
            memchr(text + 1, ':', len - 2) == NULL)
            return false;
        host++;
        len -= 2;
    } else if (len > HOST_BYTES_MAX || strspn(text, ALNUM ".-_") != len) {
        return false;
    }
    listen->host = pv_load_strndup(doc, host, len);
    return true;
}

void
pv_set_listen(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_listen *listen = pv_load_alloc(doc, 1, sizeof(*listen));

    (void) key;
    if (listen == NULL)
        return;
    if (read_address(doc, pv_located_string(value), listen))
        *(const struct pv_listen **) field = listen;
    else
        pv_load_fault(doc, value, "\"%s\" must be HOST:PORT or [V6]:PORT, not \"%s\"", value->key,
                      pv_located_string(value));
}

bool
pv_listen_is_loopback(const struct pv_listen *listen)
{
    struct in_addr four;
    struct in6_addr six;

    if (listen->unix_dir != NULL)
        return true;
    if (listen->host == NULL)
        return false;
    if (inet_pton(AF_INET, listen->host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, listen->host, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six);
    return strcmp(listen->host, "localhost") == 0;
}

/* Passwords and the log travel there in clear. */
static void
set_console(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    const struct pv_listen **listen = field;

    pv_set_listen(doc, value, field, key);
    if (*listen == NULL || pv_listen_is_loopback(*listen))
        return;
    pv_load_fault(doc, value,
                  "\"console\" must be a loopback address (127.0.0.1:PORT, [::1]:PORT or localhost:PORT), not \"%s\":"
                  " it speaks HTTP without TLS; reach it through an SSH tunnel",
                  pv_located_string(value));
    *listen = NULL;
}

static void
read_socket_directory(struct pv_doc *doc, const struct pv_located *item, struct pv_listen *listen)
{
    const char *path = pv_located_string(item);
    struct stat info;

    if (strlen(path) + sizeof(SOCKET_NAME) > sizeof(((struct sockaddr_un *) NULL)->sun_path))
        pv_load_fault(doc, item, "\"%s\" is too long for the folder of a Unix socket", path);
    else if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        pv_load_fault(doc, item, "\"%s\" is no folder", path);
    listen->unix_dir = pv_load_strdup(doc, path);
}

static bool
is_same_listen(const struct pv_listen *a, const struct pv_listen *b)
{
    if (a->unix_dir != NULL || b->unix_dir != NULL)
        return a->unix_dir != NULL && b->unix_dir != NULL && strcmp(a->unix_dir, b->unix_dir) == 0;
    return a->port == b->port && a->host != NULL && b->host != NULL && strcmp(a->host, b->host) == 0;
}

static void
say_twice(struct pv_doc *doc, const struct pv_located *item, const struct pv_listen *listens, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_same_listen(&listens[i], &listens[count])) {
            pv_load_fault(doc, item, "\"%s\" stands twice in \"listen\"", pv_located_string(item));
            return;
        }
    }
}

static void
set_listens(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_config *config = field;
    struct pv_listen *listens = pv_load_alloc(doc, value->child_count, sizeof(*listens));
    uint16_t port = 0;
    size_t count = 0;

    (void) key;
    if (listens == NULL)
        return;
    if (value->child_count == 0)
        pv_load_fault(doc, value, "\"listen\" must name at least one address");
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];

        if (!pv_load_kind(doc, item, PV_J_STRING, NULL))
            continue;
        if (*pv_located_string(item) == '/') {
            read_socket_directory(doc, item, &listens[count]);
        } else if (!read_address(doc, pv_located_string(item), &listens[count])) {
            pv_load_fault(doc, item,
                          "must be HOST:PORT, [V6]:PORT or the absolute path of a folder for a Unix socket, not \"%s\"",
                          pv_located_string(item));
            continue;
        }
        if (port == 0)
            port = listens[count].port;
        say_twice(doc, item, listens, count);
        count++;
    }
    for (size_t i = 0; i < count; i++)
        if (listens[i].unix_dir != NULL)
            listens[i].port = port == 0 ? (uint16_t) PORT_DEFAULT : port;
    config->listens = listens;
    config->listen_count = count;
}

/* ---- groups of keys ----------------------------------------------------- */

#define KEY(type, field, name, kinds, is_required, set, ...) \
    { \
        name, kinds, is_required, set, offsetof(struct type, field), __VA_ARGS__ \
    }

static void
set_tls(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        KEY(pv_config, tls_cert, "cert", PV_J_STRING, true, pv_set_file, 0, 0, NULL),
        KEY(pv_config, tls_key, "key", PV_J_STRING, true, pv_set_secret_file, 0, 0, NULL),
        KEY(pv_config, tls_client_ca, "client_ca", PV_J_STRING, false, pv_set_file, 0, 0, NULL),
        KEY(pv_config, is_tls_required, "require", PV_J_BOOL, false, pv_set_bool, 0, 0, NULL),
    };

    (void) key;
    ((struct pv_config *) field)->has_tls = true;
    (void) pv_load_object(doc, value, keys, PV_COUNT_OF(keys), field);
}

static void
set_pool(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        KEY(pv_config, pool_mode, "mode", PV_J_STRING, false, pv_set_word, 0, 0, pool_words),
        KEY(pv_config, pool_size, "size", PV_J_INTEGER, false, pv_set_u32, 1, 10000, NULL),
        KEY(pv_config, pool_idle_timeout_ms, "idle_timeout", PV_J_STRING, false, pv_set_time, SECOND_MS, DAY_MS, NULL),
        KEY(pv_config, pool_lifetime_ms, "server_lifetime", PV_J_STRING, false, pv_set_time, 0, 7 * DAY_MS, NULL),
        KEY(pv_config, pool_wait_ms, "query_wait_timeout", PV_J_STRING, false, pv_set_time, 0, DAY_MS, NULL),
        KEY(pv_config, pool_check_ms, "server_check_delay", PV_J_STRING, false, pv_set_time, 0, DAY_MS, NULL),
        KEY(pv_config, pool_retry_ms, "server_login_retry", PV_J_STRING, false, pv_set_time, 1, 60 * MINUTE_MS, NULL),
        KEY(pv_config, pool_prepared_max, "max_prepared_statements", PV_J_INTEGER, false, pv_set_u32, 1, 10000, NULL),
        KEY(pv_config, pool_auto_prepare, "auto_prepare", PV_J_INTEGER, false, pv_set_u32, 0, 1000000, NULL),
    };

    (void) key;
    (void) pv_load_object(doc, value, keys, PV_COUNT_OF(keys), field);
    for (size_t i = 0; i < value->child_count; i++)
        if (value->children[i].key != NULL && strcmp(value->children[i].key, "size") == 0)
            ((struct pv_config *) field)->has_pool_size = true;
}

static void
set_limits(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        KEY(pv_config, clients_max, "clients", PV_J_INTEGER, false, pv_set_u32, 1, 1000000, NULL),
        KEY(pv_config, query_bytes_max, "query_bytes", PV_J_STRING, false, pv_set_size, 1024, PV_BIND_BYTES_MAX, NULL),
        KEY(pv_config, login_timeout_ms, "login_timeout", PV_J_STRING, false, pv_set_time, 1, 60 * MINUTE_MS, NULL),
        KEY(pv_config, drain_timeout_ms, "drain_timeout", PV_J_STRING, false, pv_set_time, 0, DAY_MS, NULL),
        KEY(pv_config, client_idle_timeout_ms, "client_idle_timeout", PV_J_STRING, false, pv_set_time, 0, 365 * DAY_MS,
            NULL),
    };

    (void) key;
    (void) pv_load_object(doc, value, keys, PV_COUNT_OF(keys), field);
}

/* HOST:PORT, [V6]:PORT or the absolute path of a datagram socket. */
static void
set_syslog(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    const char *text = pv_located_string(value);
    const char *colon = strrchr(text, ':');
    bool is_address = colon != NULL && colon > text && colon[1] != '\0' && strlen(colon + 1) <= 5 &&
                      strspn(colon + 1, "0123456789") == strlen(colon + 1);

    if (*text != '/' && !is_address)
        pv_load_fault(doc, value, "\"syslog\" must be HOST:PORT or the absolute path of a socket, not \"%s\"", text);
    else
        pv_set_string(doc, value, field, key);
}

static void
set_ship(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        KEY(pv_config, ship_file, "file", PV_J_STRING, false, pv_set_path, 0, 0, NULL),
        KEY(pv_config, ship_syslog, "syslog", PV_J_STRING, false, set_syslog, 0, 0, NULL),
    };

    (void) key;
    (void) pv_load_object(doc, value, keys, PV_COUNT_OF(keys), field);
}

static void
set_literals(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_config *config = field;
    struct pv_key word = *key;
    int shown = 0;

    word.offset = 0;
    pv_set_word(doc, value, &shown, &word);
    config->is_masking_literals = shown == 1;
}

static void
set_audit(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    static const struct pv_key keys[] = {
        KEY(pv_config, durability, "durability", PV_J_STRING, false, pv_set_word, 0, 0, durability_words),
        {"literals", PV_J_STRING, false, set_literals, 0, 0, 0, literals_words},
        KEY(pv_config, is_logging_parameters, "parameters", PV_J_BOOL, false, pv_set_bool, 0, 0, NULL),
        KEY(pv_config, write_behind_ms, "write_behind", PV_J_STRING, false, pv_set_time, 0, SECOND_MS, NULL),
        KEY(pv_config, commit_delay_us, "commit_delay", PV_J_INTEGER, false, pv_set_u32, 0, 100000, NULL),
        KEY(pv_config, commit_siblings, "commit_siblings", PV_J_INTEGER, false, pv_set_u32, 0, 1000, NULL),
        KEY(pv_config, head_interval_ms, "head_interval", PV_J_STRING, false, pv_set_time, 1, 365 * DAY_MS, NULL),
        {"ship", PV_J_OBJECT, false, set_ship, 0, 0, 0, NULL},
        KEY(pv_config, segment_bytes, "segment_bytes", PV_J_STRING, false, pv_set_size, 64 * KIB, TIB, NULL),
        KEY(pv_config, segment_age_ms, "segment_age", PV_J_STRING, false, pv_set_time, SECOND_MS, 36500 * DAY_MS, NULL),
        KEY(pv_config, retention_bytes, "retention_bytes", PV_J_STRING, false, pv_set_size, 64 * KIB, TIB, NULL),
        KEY(pv_config, retention_age_ms, "retention_age", PV_J_STRING, false, pv_set_time, SECOND_MS, 36500 * DAY_MS,
            NULL),
    };
    const struct pv_config *config = field;

    (void) key;
    if (!pv_load_object(doc, value, keys, PV_COUNT_OF(keys), field))
        return;
    if (config->write_behind_ms > 0 && config->durability == PV_DURABILITY_RELAXED)
        pv_load_fault(doc, value, "\"write_behind\" is for a strict log: a relaxed one is written behind anyhow");
    if ((config->retention_bytes > 0 || config->retention_age_ms > 0) && config->segment_bytes == 0 &&
        config->segment_age_ms == 0)
        pv_load_fault(doc, value,
                      "retention deletes sealed segments: \"segment_bytes\" or \"segment_age\" must say when"
                      " the log is sealed");
}

/* ---- the whole ---------------------------------------------------------- */

static void
set_defaults(struct pv_config *config)
{
    config->pool_mode = PV_POOL_SESSION;
    config->pool_size = 20;
    config->pool_idle_timeout_ms = 10 * MINUTE_MS;
    config->pool_lifetime_ms = 60 * MINUTE_MS;
    config->pool_wait_ms = 2 * MINUTE_MS;
    config->pool_check_ms = 30 * SECOND_MS;
    config->pool_retry_ms = 2 * SECOND_MS;
    config->pool_prepared_max = 200;
    config->pool_auto_prepare = 5;
    config->clients_max = 10000;
    config->query_bytes_max = PV_QUERY_BYTES_DEFAULT;
    config->login_timeout_ms = 15 * SECOND_MS;
    config->drain_timeout_ms = 30 * SECOND_MS;
    config->durability = PV_DURABILITY_STRICT;
    config->commit_delay_us = 1000;
    config->commit_siblings = 2;
    config->is_logging_parameters = true;
    config->head_interval_ms = 15 * MINUTE_MS;
}

/* A group's setter gets the whole config as its field. */
#define GROUP(name, kinds, is_required, set) \
    { \
        name, kinds, is_required, set, 0, 0, 0, NULL \
    }

void
pv_load_config(struct pv_doc *doc, struct pv_config *config)
{
    static const struct pv_key keys[] = {
        GROUP("listen", PV_J_ARRAY, true, set_listens),
        GROUP("tls", PV_J_OBJECT, false, set_tls),
        GROUP("upstreams", PV_J_OBJECT, true, pv_set_upstreams),
        KEY(pv_config, users_path, "users", PV_J_STRING, true, pv_set_path, 0, 0, NULL),
        KEY(pv_config, rooms_path, "rooms", PV_J_STRING, true, pv_set_path, 0, 0, NULL),
        KEY(pv_config, state_path, "state", PV_J_STRING, true, pv_set_path, 0, 0, NULL),
        KEY(pv_config, workers, "workers", PV_J_INTEGER, false, pv_set_u32, 0, 1024, NULL),
        GROUP("pool", PV_J_OBJECT, false, set_pool),
        GROUP("limits", PV_J_OBJECT, false, set_limits),
        GROUP("audit", PV_J_OBJECT, false, set_audit),
        KEY(pv_config, metrics, "metrics", PV_J_STRING, false, pv_set_listen, 0, 0, NULL),
        KEY(pv_config, tokens, "tokens", PV_J_OBJECT, false, pv_set_tokens, 0, 0, NULL),
        KEY(pv_config, console, "console", PV_J_STRING, false, set_console, 0, 0, NULL),
    };

    set_defaults(config);
    (void) pv_load_object(doc, doc->top, keys, PV_COUNT_OF(keys), config);
}
