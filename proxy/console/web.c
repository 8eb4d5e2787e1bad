/* What may come in, and how replies look. */
#include "proxy/console/console_int.h"

#include <ctype.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <string.h>
#include <strings.h>

/* Nothing from elsewhere, nothing inline, no frame around it. */
static const struct {
    const char *name, *value;
} headers[] = {
    {"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                                "connect-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Permissions-Policy", "camera=(), geolocation=(), microphone=()"},
    {"Cache-Control", "no-store"},
    {"Connection", "close"},
};

void
pv_web_headers(struct evhttp_request *request)
{
    struct evkeyvalq *out = evhttp_request_get_output_headers(request);

    for (size_t i = 0; i < PV_COUNT_OF(headers); i++)
        (void) evhttp_add_header(out, headers[i].name, headers[i].value);
}

static const char *
phrase(int code)
{
    switch (code) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 415:
        return "Unsupported Media Type";
    case 421:
        return "Misdirected Request";
    case 429:
        return "Too Many Requests";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

void
pv_web_reply(struct evhttp_request *request, int code, const char *type, struct pv_slice body)
{
    struct evbuffer *out = evbuffer_new();

    pv_web_headers(request);
    (void) evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
    /* Without a buffer the reply has no body; its code still says what it is. */
    if (out != NULL && body.len > 0)
        (void) evbuffer_add(out, body.data, body.len);
    evhttp_send_reply(request, code, phrase(code), out);
    if (out != NULL)
        evbuffer_free(out);
}

void
pv_web_error(struct evhttp_request *request, int code, const char *words)
{
    json_t *object = json_pack("{s:s}", "error", words);
    struct pv_buf body = {0};

    if (object == NULL || !pv_console_dump(object, &body))
        pv_buf_clear(&body);
    json_decref(object);
    pv_web_reply(request, code, "application/json", pv_buf_slice(&body));
    pv_buf_clear(&body);
}

bool
pv_console_dump(const json_t *value, struct pv_buf *out)
{
    size_t size = json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    uint8_t *room = size == 0 ? NULL : pv_buf_reserve(out, size);

    if (room == NULL || json_dumpb(value, (char *) room, size, JSON_COMPACT | JSON_ENCODE_ANY) != size)
        return false;
    pv_buf_commit(out, size);
    return true;
}

json_t *
pv_console_time(int64_t at_us)
{
    char text[PV_RECORD_TIME_SIZE];

    if (at_us == 0)
        return json_null();
    pv_record_time_format(at_us, text);
    return json_string(text);
}

json_t *
pv_console_text(struct pv_slice bytes)
{
    struct pv_buf buf = {0};
    json_t *text;

    if (pv_utf8_valid(bytes))
        return json_stringn(bytes.len == 0 ? "" : (const char *) bytes.data, bytes.len);
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.data[i] >= 0x20 && bytes.data[i] < 0x7F)
            pv_buf_put_u8(&buf, bytes.data[i]);
        else
            pv_buf_printf(&buf, "\\x%02X", (unsigned) bytes.data[i]);
    text = pv_buf_ok(&buf) ? json_stringn((const char *) pv_buf_slice(&buf).data, pv_buf_len(&buf)) : NULL;
    pv_buf_clear(&buf);
    return text;
}

/* ---- Admission ---- */

/*
 * A name that somebody else's DNS can point here must not reach the page (DNS rebinding). Any port: a tunnel has its own.
 */
bool
pv_web_is_own_host(const struct pv_console *console, const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    const char *port = len <= strlen(host) ? host + len : "!";

    if (port[0] != '\0' && (port[0] != ':' || strspn(port + 1, "0123456789") != strlen(port + 1)))
        return false;
    for (size_t i = 0; i < PV_COUNT_OF(names); i++)
        if (strlen(names[i]) == len && strncasecmp(host, names[i], len) == 0)
            return true;
    return strlen(console->host) == len && strncasecmp(host, console->host, len) == 0;
}

bool
pv_web_admit(const struct pv_console *console, struct evhttp_request *request)
{
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(request), "Host");
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);

    if (host == NULL || uri == NULL || evhttp_uri_get_path(uri) == NULL) {
        pv_web_error(request, 400, "a request needs a Host header and a path");
        return false;
    }
    if (evhttp_uri_get_host(uri) != NULL) {
        pv_web_error(request, 400, "this is no proxy: ask for a path");
        return false;
    }
    if (!pv_web_is_own_host(console, host)) {
        pv_web_error(request, 421, "this page answers to localhost, 127.0.0.1 and [::1] alone");
        return false;
    }
    return true;
}

/* Browsers say where a request comes from; what is no browser has no cookie that somebody could ride on. */
bool
pv_web_is_same_origin(struct evhttp_request *request)
{
    const struct evkeyvalq *in = evhttp_request_get_input_headers(request);
    const char *site = evhttp_find_header(in, "Sec-Fetch-Site");
    const char *origin = evhttp_find_header(in, "Origin");
    const char *host = evhttp_find_header(in, "Host");

    if (site != NULL && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return false;
    if (origin != NULL && (strncmp(origin, "http://", 7) != 0 || host == NULL || strcasecmp(origin + 7, host) != 0))
        return false;
    return evhttp_find_header(in, PV_CONSOLE_HEADER) != NULL;
}

struct pv_slice
pv_web_token(struct evhttp_request *request)
{
    const char *at = evhttp_find_header(evhttp_request_get_input_headers(request), "Cookie");
    static const char name[] = PV_CONSOLE_COOKIE "=";

    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, ";");

        if (len > sizeof(name) - 1 && strncmp(at, name, sizeof(name) - 1) == 0)
            return pv_slice_of(at + sizeof(name) - 1, len - (sizeof(name) - 1));
        at += len;
        at += strspn(at, "; ");
    }
    return pv_slice_of(NULL, 0);
}

/* ---- Parameters ---- */

static bool
is_known(const char *name, const char *const *names, size_t name_count)
{
    for (size_t i = 0; i < name_count; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

json_t *
pv_web_query(struct evhttp_request *request, const char *const *names, size_t name_count, const char **words)
{
    const char *text = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    json_t *found = json_object();
    struct evkeyvalq pairs = {0};

    *words = "out of memory";
    if (text == NULL || text[0] == '\0' || found == NULL)
        return found;
    if (evhttp_parse_query_str(text, &pairs) != 0) {
        *words = "the query string is malformed";
        goto refuse;
    }
    for (const struct evkeyval *at = pairs.tqh_first; at != NULL; at = at->next.tqe_next) {
        *words = "the query string has a parameter that is unknown here";
        if (!is_known(at->key, names, name_count))
            goto refuse;
        *words = "the query string gives a parameter twice";
        if (json_object_get(found, at->key) != NULL)
            goto refuse;
        *words = "a parameter is too long or not UTF-8";
        if (strlen(at->value) > PV_CONSOLE_VALUE_MAX || !pv_utf8_valid(pv_slice_cstr(at->value)) ||
            json_object_set_new(found, at->key, json_string(at->value)) != 0)
            goto refuse;
    }
    evhttp_clear_headers(&pairs);
    return found;
refuse:
    evhttp_clear_headers(&pairs);
    json_decref(found);
    return NULL;
}

json_t *
pv_web_body(struct evhttp_request *request, const char *const *names, size_t name_count, const char **words)
{
    const char *type = evhttp_find_header(evhttp_request_get_input_headers(request), "Content-Type");
    struct evbuffer *in = evhttp_request_get_input_buffer(request);
    size_t len = evbuffer_get_length(in);
    const char *bytes = len == 0 ? "" : (const char *) evbuffer_pullup(in, -1);
    json_t *object, *value;
    const char *name;

    *words = "the body must be JSON, sent as application/json";
    if (type == NULL || strncasecmp(type, "application/json", 16) != 0 || bytes == NULL)
        return NULL;
    object = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    *words = "the body must hold the parameters of this request as texts, and nothing else";
    json_object_foreach(object, name, value)
    {
        if (!json_is_string(value) || !is_known(name, names, name_count)) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}
