/*
 * Invariants:
 * 1. The caches and the queue change under `lock` alone, which is never held while a name server or the store is asked.
 * 2. `done` and `context` of a request belong to its loop's thread; the helper thread never looks at them.
 */
#include "proxy/net/lookup.h"

#include "policy/views.h"
#include "proxy/audit/store.h"
#include "proxy/base/bytes.h"
#include "proxy/crypto/mac.h"
#include "proxy/net/loop.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>
#include <fcntl.h>

/* Addresses of one host that are looked at. */
#define HOST_ADDRESSES_MAX 8u

struct found {
    struct pv_address addresses[HOST_ADDRESSES_MAX];
    size_t count;
    char words[128]; /* of none */
};

struct host_entry {
    struct host_entry *next;
    char *host;
    uint16_t port;
    int64_t until_us;
    struct found found;
};

struct asked_host {
    char *name;
    uint16_t port;
    bool is_known;
    struct found found;
};

struct login_entry {
    struct login_entry *next;
    char *room;
    char password[PV_LOOKUP_PASSWORD_SIZE];
    uint8_t identity[PV_LOOKUP_IDENTITY_MAX];
    size_t identity_len;
};

struct pv_lookup_request {
    struct pv_message message;
    struct pv_lookup_request *next;
    struct pv_loop *loop;
    char *room;
    char *password_file; /* is_owner; NULL: the room's login */
    struct asked_host *hosts;
    size_t host_count;
    bool is_owner, is_fresh;
    void (*done)(void *context, struct pv_lookup_answer *answer);
    void *context;
    struct pv_lookup_answer answer;
};

struct pv_lookup {
    struct pv_store *store;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct pv_lookup_request *head, *tail;
    bool is_ending;
    struct host_entry *hosts;
    struct login_entry *logins;
};

static void
request_free(struct pv_lookup_request *request)
{
    if (request == NULL)
        return;
    for (size_t i = 0; request->hosts != NULL && i < request->host_count; i++)
        pv_free(request->hosts[i].name);
    pv_free(request->hosts);
    pv_free(request->room);
    pv_free(request->password_file);
    pv_wipe(&request->answer, sizeof(request->answer));
    pv_free(request);
}

static void
deliver(struct pv_message *message)
{
    struct pv_lookup_request *request = (struct pv_lookup_request *) message;

    if (request->done != NULL)
        request->done(request->context, &request->answer);
    request_free(request);
}

/* ---- Addresses ---- */

static void
socket_path_address(struct asked_host *host)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct found *found = &host->found;
    int len = snprintf(path.sun_path, sizeof(path.sun_path), "%s/.s.PGSQL.%u", host->name, host->port);

    if (len < 0 || (size_t) len >= sizeof(path.sun_path)) {
        (void) snprintf(found->words, sizeof(found->words), "the socket's path is too long");
        return;
    }
    memcpy(&found->addresses[0].storage, &path, sizeof(path));
    found->addresses[0].len = (socklen_t) sizeof(path);
    found->count = 1;
}

/* flags: AI_NUMERICHOST never waits for anybody. False: `found` has the words. */
static bool
resolve(const struct asked_host *host, int flags, struct found *found)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *list = NULL;
    char port[8];
    int error;

    found->count = 0;
    (void) snprintf(port, sizeof(port), "%u", host->port);
    error = getaddrinfo(host->name, port, &hints, &list);
    if (error != 0) {
        (void) snprintf(found->words, sizeof(found->words), "name \"%.60s\": %s", host->name, gai_strerror(error));
        return false;
    }
    for (struct addrinfo *at = list; at != NULL && found->count < HOST_ADDRESSES_MAX; at = at->ai_next)
        if (at->ai_addrlen <= sizeof(struct sockaddr_storage)) {
            struct pv_address *address = &found->addresses[found->count++];

            memset(address, 0, sizeof(*address));
            memcpy(&address->storage, at->ai_addr, at->ai_addrlen);
            address->len = at->ai_addrlen;
        }
    freeaddrinfo(list);
    return found->count > 0;
}

static struct host_entry *
host_find(struct pv_lookup *lookup, const struct asked_host *host)
{
    struct host_entry *at = lookup->hosts;

    while (at != NULL && (at->port != host->port || strcmp(at->host, host->name) != 0))
        at = at->next;
    return at;
}

/* Under the lock. Without memory the name is simply asked for again. */
static void
host_keep(struct pv_lookup *lookup, const struct asked_host *host)
{
    struct host_entry *entry = host_find(lookup, host);

    if (entry == NULL) {
        entry = pv_calloc(1, sizeof(*entry));
        if (entry == NULL)
            return;
        entry->host = pv_strdup(host->name);
        if (entry->host == NULL) {
            pv_free(entry);
            return;
        }
        entry->port = host->port;
        entry->next = lookup->hosts;
        lookup->hosts = entry;
    }
    entry->found = host->found;
    entry->until_us = pv_now_us() + (int64_t) PV_LOOKUP_FRESH_S * 1000000;
}

/*
 * Asks for one host's name. A name server that fails takes nothing away: the addresses of before go on. That there are
 * none is kept as well when there are other hosts, which would all wait for that name server each time.
 */
static void
ask_for(struct pv_lookup *lookup, struct asked_host *host, bool has_others)
{
    const struct host_entry *entry;
    bool is_found = resolve(host, 0, &host->found);

    (void) pthread_mutex_lock(&lookup->lock);
    entry = host_find(lookup, host);
    if (!is_found && entry != NULL && entry->found.count > 0)
        host->found = entry->found;
    if (host->found.count > 0 || has_others)
        host_keep(lookup, host);
    (void) pthread_mutex_unlock(&lookup->lock);
    host->is_known = true;
}

/* All hosts are known: gathers what was found. */
static void
gather(struct pv_lookup_request *request)
{
    struct pv_lookup_answer *answer = &request->answer;
    size_t words_len = 0;

    answer->candidate_count = 0;
    for (size_t i = 0; i < request->host_count; i++) {
        const struct found *found = &request->hosts[i].found;

        for (size_t j = 0; j < found->count && answer->candidate_count < PV_UPSTREAM_ADDRESSES_MAX; j++) {
            answer->candidates[answer->candidate_count].address = found->addresses[j];
            answer->candidates[answer->candidate_count++].host = (unsigned) i;
        }
        if (found->count == 0 && words_len < sizeof(answer->words))
            words_len += (size_t) snprintf(answer->words + words_len, sizeof(answer->words) - words_len, "%s%s",
                                           words_len > 0 ? "; " : "", found->words);
    }
    if (answer->candidate_count == 0)
        answer->status = PV_IO;
}

/* ---- Logins ---- */

static struct login_entry *
login_find(struct pv_lookup *lookup, const char *room)
{
    struct login_entry *at = lookup->logins;

    while (at != NULL && strcmp(at->room, room) != 0)
        at = at->next;
    return at;
}

static void
login_keep(struct pv_lookup *lookup, const struct pv_lookup_request *request)
{
    struct login_entry *entry = login_find(lookup, request->room);

    if (entry == NULL) {
        entry = pv_calloc(1, sizeof(*entry));
        if (entry == NULL)
            return;
        entry->room = pv_strdup(request->room);
        if (entry->room == NULL) {
            pv_free(entry);
            return;
        }
        entry->next = lookup->logins;
        lookup->logins = entry;
    }
    memcpy(entry->password, request->answer.password, sizeof(entry->password));
    memcpy(entry->identity, request->answer.identity, sizeof(entry->identity));
    entry->identity_len = request->answer.identity_len;
}

static enum pv_status
secret(struct pv_lookup *lookup, struct pv_lookup_request *request, const char *name, void *into, size_t size,
       size_t *len)
{
    struct pv_buf value = {0};
    enum pv_status status = pv_store_secret_get(lookup->store, request->room, name, &value);

    *len = 0;
    if (status == PV_OK && pv_buf_len(&value) > size)
        status = PV_CORRUPT;
    if (status == PV_OK) {
        *len = pv_buf_len(&value);
        memcpy(into, pv_buf_slice(&value).data, *len);
    }
    pv_buf_wipe(&value);
    if (status != PV_OK && status != PV_NOTFOUND)
        (void) snprintf(request->answer.words, sizeof(request->answer.words), "the room's login in the state file: %s",
                        pv_status_words(status));
    return status;
}

static enum pv_status
room_login(struct pv_lookup *lookup, struct pv_lookup_request *request)
{
    struct pv_lookup_answer *answer = &request->answer;
    size_t len = 0;
    enum pv_status status =
        secret(lookup, request, PV_SECRET_PASSWORD, answer->password, sizeof(answer->password) - 1, &len);

    answer->password[len] = '\0';
    if (status == PV_OK)
        status = secret(lookup, request, PV_SECRET_IDENTITY, answer->identity, sizeof(answer->identity),
                        &answer->identity_len);
    return status == PV_OK || status == PV_NOTFOUND ? status : PV_IO;
}

static enum pv_status
owner_login(struct pv_lookup_request *request)
{
    struct pv_lookup_answer *answer = &request->answer;
    ssize_t len;
    int fd;

    if (request->password_file == NULL)
        return PV_OK;
    fd = open(request->password_file, O_RDONLY | O_CLOEXEC);
    len = fd < 0 ? -1 : read(fd, answer->password, sizeof(answer->password) - 1);
    if (len < 0)
        (void) snprintf(answer->words, sizeof(answer->words), "password file: %s", strerror(errno));
    if (fd >= 0)
        (void) close(fd);
    answer->password[len > 0 ? len : 0] = '\0';
    answer->password[strcspn(answer->password, "\r\n")] = '\0';
    return len < 0 ? PV_IO : PV_OK;
}

/* ---- Asking ---- */

/* Under the lock: what is known already. True when that is all. */
static bool
answer_from_cache(struct pv_lookup *lookup, struct pv_lookup_request *request, bool *has_login)
{
    struct pv_lookup_answer *answer = &request->answer;
    const struct login_entry *login = request->is_owner || request->is_fresh ? NULL : login_find(lookup, request->room);
    bool has_hosts = true;

    for (size_t i = 0; i < request->host_count; i++) {
        struct asked_host *host = &request->hosts[i];
        const struct host_entry *entry = host->is_known ? NULL : host_find(lookup, host);

        if (entry != NULL && entry->until_us > pv_now_us()) {
            host->found = entry->found;
            host->is_known = true;
        }
        has_hosts = has_hosts && host->is_known;
    }
    *has_login = login != NULL;
    if (login != NULL) {
        memcpy(answer->password, login->password, sizeof(answer->password));
        memcpy(answer->identity, login->identity, sizeof(answer->identity));
        answer->identity_len = login->identity_len;
        answer->was_cached = true;
    }
    return has_hosts && *has_login;
}

static void
answer_slowly(struct pv_lookup *lookup, struct pv_lookup_request *request)
{
    struct pv_lookup_answer *answer = &request->answer;
    bool has_login;

    (void) pthread_mutex_lock(&lookup->lock);
    (void) answer_from_cache(lookup, request, &has_login);
    (void) pthread_mutex_unlock(&lookup->lock);
    answer->status = PV_OK;
    if (!has_login)
        answer->status = request->is_owner ? owner_login(request) : room_login(lookup, request);
    for (size_t i = 0; answer->status == PV_OK && i < request->host_count; i++)
        if (!request->hosts[i].is_known)
            ask_for(lookup, &request->hosts[i], request->host_count > 1);
    if (answer->status != PV_OK)
        return;
    gather(request);
    if (!has_login && !request->is_owner) {
        (void) pthread_mutex_lock(&lookup->lock);
        login_keep(lookup, request);
        (void) pthread_mutex_unlock(&lookup->lock);
    }
}

static void *
work(void *context)
{
    struct pv_lookup *lookup = context;

    (void) pthread_mutex_lock(&lookup->lock);
    for (;;) {
        struct pv_lookup_request *request = lookup->head;

        if (request == NULL) {
            if (lookup->is_ending)
                break;
            (void) pthread_cond_wait(&lookup->has_work, &lookup->lock);
            continue;
        }
        lookup->head = request->next;
        if (lookup->head == NULL)
            lookup->tail = NULL;
        if (lookup->is_ending) {
            request->answer.status = PV_CLOSED;
        } else {
            (void) pthread_mutex_unlock(&lookup->lock);
            answer_slowly(lookup, request);
            (void) pthread_mutex_lock(&lookup->lock);
        }
        pv_loop_post(request->loop, &request->message);
    }
    (void) pthread_mutex_unlock(&lookup->lock);
    return NULL;
}

static struct pv_lookup_request *
request_new(const struct pv_upstream *upstream, const char *room, bool is_owner)
{
    struct pv_lookup_request *asked = pv_calloc(1, sizeof(*asked));
    bool has_file = is_owner && upstream->password_file != NULL;

    if (asked == NULL)
        return NULL;
    asked->room = pv_strdup(room);
    if (has_file)
        asked->password_file = pv_strdup(upstream->password_file);
    asked->hosts = pv_calloc(upstream->host_count, sizeof(*asked->hosts));
    if (asked->room == NULL || (has_file && asked->password_file == NULL) || asked->hosts == NULL)
        goto failed;
    asked->host_count = upstream->host_count;
    for (size_t i = 0; i < upstream->host_count; i++) {
        struct asked_host *host = &asked->hosts[i];

        host->name = pv_strdup(upstream->hosts[i].name);
        if (host->name == NULL)
            goto failed;
        host->port = upstream->hosts[i].port;
        if (host->name[0] == '/')
            socket_path_address(host);
        /* A name is no number, and no error yet. */
        host->is_known = host->name[0] == '/' || resolve(host, AI_NUMERICHOST, &host->found);
    }
    return asked;
failed:
    request_free(asked);
    return NULL;
}

enum pv_status
pv_lookup_start(struct pv_lookup *lookup, struct pv_loop *loop, const struct pv_upstream *upstream, const char *room,
                bool is_owner, bool is_fresh, void (*done)(void *context, struct pv_lookup_answer *answer),
                void *context, struct pv_lookup_request **request)
{
    struct pv_lookup_request *asked = request_new(upstream, room, is_owner);
    bool has_login;

    if (asked == NULL)
        return PV_NOMEM;
    asked->message.deliver = deliver;
    asked->loop = loop;
    asked->is_owner = is_owner;
    asked->is_fresh = is_fresh;
    asked->done = done;
    asked->context = context;
    *request = asked;
    (void) pthread_mutex_lock(&lookup->lock);
    if (answer_from_cache(lookup, asked, &has_login)) {
        (void) pthread_mutex_unlock(&lookup->lock);
        gather(asked);
        pv_loop_post(loop, &asked->message);
        return PV_OK;
    }
    if (lookup->tail != NULL)
        lookup->tail->next = asked;
    else
        lookup->head = asked;
    lookup->tail = asked;
    (void) pthread_cond_signal(&lookup->has_work);
    (void) pthread_mutex_unlock(&lookup->lock);
    return PV_OK;
}

void
pv_lookup_forget(struct pv_lookup_request *request)
{
    if (request != NULL)
        request->done = NULL;
}

struct pv_lookup *
pv_lookup_new(struct pv_store *store)
{
    struct pv_lookup *lookup = pv_calloc(1, sizeof(*lookup));

    if (lookup == NULL)
        return NULL;
    lookup->store = store;
    (void) pthread_mutex_init(&lookup->lock, NULL);
    (void) pthread_cond_init(&lookup->has_work, NULL);
    if (pthread_create(&lookup->thread, NULL, work, lookup) != 0) {
        pv_free(lookup);
        return NULL;
    }
    return lookup;
}

void
pv_lookup_free(struct pv_lookup *lookup)
{
    if (lookup == NULL)
        return;
    (void) pthread_mutex_lock(&lookup->lock);
    lookup->is_ending = true;
    (void) pthread_cond_signal(&lookup->has_work);
    (void) pthread_mutex_unlock(&lookup->lock);
    (void) pthread_join(lookup->thread, NULL);
    while (lookup->hosts != NULL) {
        struct host_entry *entry = lookup->hosts;

        lookup->hosts = entry->next;
        pv_free(entry->host);
        pv_free(entry);
    }
    while (lookup->logins != NULL) {
        struct login_entry *entry = lookup->logins;

        lookup->logins = entry->next;
        pv_wipe(entry->password, sizeof(entry->password));
        pv_wipe(entry->identity, sizeof(entry->identity));
        pv_free(entry->room);
        pv_free(entry);
    }
    (void) pthread_cond_destroy(&lookup->has_work);
    (void) pthread_mutex_destroy(&lookup->lock);
    pv_free(lookup);
}
