/*
 * Invariants:
 * 1. Entries change under `lock` alone, which is never held while anything is waited for.
 * 2. When what is known against an address has grown old, one connection tries it; the others go on putting it last
 *    until that one has found out.
 */
#include "proxy/net/hosts.h"

#include "proxy/base/bytes.h"
#include "proxy/base/limits.h"
#include "proxy/crypto/mac.h"
#include "proxy/net/loop.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

int64_t pv_hosts_memory_us = (int64_t) PV_HOSTS_MEMORY_S * 1000000;

struct entry {
    struct entry *next;
    struct pv_address address;
    enum pv_session_attrs attrs;
    enum pv_host_state state;
    int64_t until_us;
    bool has_default, is_read_only;
    int64_t default_until_us;
};

struct pv_hosts {
    pthread_mutex_t lock;
    struct entry *entries;
    _Atomic uint64_t failures;
};

enum tried { UNTRIED, TRIED_MISMATCH, TRIED };

struct way {
    struct pv_candidate candidate;
    enum pv_host_state before; /* as remembered when the choice began */
    enum tried tried;
};

struct pv_choice {
    struct pv_hosts *hosts;
    enum pv_session_attrs attrs;
    bool is_second_round; /* of prefer-standby */
    size_t at, count;
    struct way ways[];
};

void
pv_address_print(const struct pv_address *address, char text[PV_ADDRESS_TEXT_SIZE])
{
    text[0] = '\0';
    if (address->storage.ss_family != AF_UNIX &&
        getnameinfo((const struct sockaddr *) &address->storage, address->len, text, PV_ADDRESS_TEXT_SIZE, NULL, 0,
                    NI_NUMERICHOST) != 0)
        text[0] = '\0';
}

struct pv_hosts *
pv_hosts_new(void)
{
    struct pv_hosts *hosts = pv_calloc(1, sizeof(*hosts));

    if (hosts != NULL)
        (void) pthread_mutex_init(&hosts->lock, NULL);
    return hosts;
}

void
pv_hosts_free(struct pv_hosts *hosts)
{
    if (hosts == NULL)
        return;
    while (hosts->entries != NULL) {
        struct entry *entry = hosts->entries;

        hosts->entries = entry->next;
        pv_free(entry);
    }
    (void) pthread_mutex_destroy(&hosts->lock);
    pv_free(hosts);
}

/* ---- Memory ---- */

static bool
is_same_address(const struct pv_address *a, const struct pv_address *b)
{
    return a->len == b->len && memcmp(&a->storage, &b->storage, a->len) == 0;
}

static struct entry *
find(struct pv_hosts *hosts, const struct pv_address *address, enum pv_session_attrs attrs)
{
    struct entry *at = hosts->entries;

    while (at != NULL && (at->attrs != attrs || !is_same_address(&at->address, address)))
        at = at->next;
    return at;
}

/* Names may go on resolving to ever other addresses. */
static void
drop_old(struct pv_hosts *hosts, int64_t now_us)
{
    struct entry **at = &hosts->entries;

    while (*at != NULL) {
        struct entry *entry = *at;

        if (entry->until_us > now_us - pv_hosts_memory_us || entry->default_until_us > now_us) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        pv_free(entry);
    }
}

/* Under the lock. NULL: no memory. */
static struct entry *
find_or_add(struct pv_hosts *hosts, const struct pv_address *address, enum pv_session_attrs attrs)
{
    struct entry *entry = find(hosts, address, attrs);

    if (entry != NULL)
        return entry;
    drop_old(hosts, pv_now_us());
    entry = pv_calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->address = *address;
    entry->attrs = attrs;
    entry->next = hosts->entries;
    hosts->entries = entry;
    return entry;
}

enum pv_host_state
pv_hosts_state(struct pv_hosts *hosts, const struct pv_address *address, enum pv_session_attrs attrs)
{
    enum pv_host_state state = PV_HOST_GOOD;
    const struct entry *entry;

    (void) pthread_mutex_lock(&hosts->lock);
    entry = find(hosts, address, attrs);
    if (entry != NULL && entry->until_us > pv_now_us())
        state = entry->state;
    (void) pthread_mutex_unlock(&hosts->lock);
    return state;
}

/* One is going to try it: nobody else needs to until that one knows, or the time is over again (invariant 2). */
static void
postpone(struct pv_hosts *hosts, const struct pv_address *address, enum pv_session_attrs attrs)
{
    int64_t now_us = pv_now_us();
    struct entry *entry;

    (void) pthread_mutex_lock(&hosts->lock);
    entry = find(hosts, address, attrs);
    if (entry != NULL && entry->state != PV_HOST_GOOD && entry->until_us <= now_us)
        entry->until_us = now_us + pv_hosts_memory_us;
    (void) pthread_mutex_unlock(&hosts->lock);
}

bool
pv_hosts_note(struct pv_hosts *hosts, const struct pv_address *address, enum pv_session_attrs attrs,
              enum pv_host_state state)
{
    struct entry *entry;
    bool is_news = false;

    (void) pthread_mutex_lock(&hosts->lock);
    entry = state == PV_HOST_GOOD ? find(hosts, address, attrs) : find_or_add(hosts, address, attrs);
    if (entry != NULL) {
        is_news = entry->state != state;
        entry->state = state;
        entry->until_us = pv_now_us() + pv_hosts_memory_us;
    }
    (void) pthread_mutex_unlock(&hosts->lock);
    if (state == PV_HOST_FAILED)
        (void) atomic_fetch_add(&hosts->failures, 1);
    return is_news;
}

uint64_t
pv_hosts_failures(struct pv_hosts *hosts)
{
    return atomic_load_explicit(&hosts->failures, memory_order_relaxed);
}

/* Kept with the entry of those who ask for read-write: it is the address's own. */
bool
pv_hosts_default(struct pv_hosts *hosts, const struct pv_address *address, bool *is_read_only)
{
    const struct entry *entry;
    bool is_known;

    (void) pthread_mutex_lock(&hosts->lock);
    entry = find(hosts, address, PV_ATTRS_READ_WRITE);
    is_known = entry != NULL && entry->has_default && entry->default_until_us > pv_now_us();
    if (is_known)
        *is_read_only = entry->is_read_only;
    (void) pthread_mutex_unlock(&hosts->lock);
    return is_known;
}

void
pv_hosts_note_default(struct pv_hosts *hosts, const struct pv_address *address, bool is_read_only)
{
    struct entry *entry;

    (void) pthread_mutex_lock(&hosts->lock);
    entry = find_or_add(hosts, address, PV_ATTRS_READ_WRITE);
    if (entry != NULL) {
        entry->has_default = true;
        entry->is_read_only = is_read_only;
        entry->default_until_us = pv_now_us() + pv_hosts_memory_us;
    }
    (void) pthread_mutex_unlock(&hosts->lock);
}

const char *
pv_hosts_mismatch(enum pv_session_attrs attrs, const struct pv_server_kind *kind)
{
    if (attrs != PV_ATTRS_ANY && !kind->is_known)
        return "the server does not say whether it is a standby; PostgreSQL 14 and later do";
    switch (attrs) {
    case PV_ATTRS_READ_WRITE:
        return kind->is_standby || kind->is_read_only ? "session is read-only" : NULL;
    case PV_ATTRS_READ_ONLY:
        return kind->is_standby || kind->is_read_only ? NULL : "session is not read-only";
    case PV_ATTRS_PRIMARY:
        return kind->is_standby ? "server is in hot standby mode" : NULL;
    case PV_ATTRS_STANDBY:
    case PV_ATTRS_PREFER_STANDBY:
        return kind->is_standby ? NULL : "server is not in hot standby mode";
    case PV_ATTRS_ANY:
        break;
    }
    return NULL;
}

/* ---- A choice ---- */

static void
swap(struct way *a, struct way *b)
{
    struct way kept = *a;

    *a = *b;
    *b = kept;
}

/* By chance, hosts and the addresses of one alike; those of a host need not stay together. Without chance: as they are. */
static void
shuffle(struct pv_choice *choice)
{
    for (size_t i = choice->count; i > 1; i--) {
        uint8_t bytes[4];
        uint32_t number = 0;

        if (pv_random_bytes(bytes, sizeof(bytes)) != PV_OK)
            return;
        memcpy(&number, bytes, sizeof(number));
        swap(&choice->ways[i - 1], &choice->ways[number % i]);
    }
}

struct pv_choice *
pv_choice_new(struct pv_hosts *hosts, const struct pv_upstream *upstream, const struct pv_candidate *candidates,
              size_t count)
{
    struct pv_choice *choice = pv_calloc(1, sizeof(*choice) + count * sizeof(choice->ways[0]));

    if (choice == NULL)
        return NULL;
    choice->hosts = hosts;
    choice->attrs = upstream->session_attrs;
    choice->at = choice->count = count;
    for (size_t i = 0; i < count; i++) {
        choice->ways[i].candidate = candidates[i];
        choice->ways[i].before = pv_hosts_state(hosts, &candidates[i].address, choice->attrs);
    }
    if (upstream->balance == PV_BALANCE_RANDOM)
        shuffle(choice);
    return choice;
}

void
pv_choice_free(struct pv_choice *choice)
{
    pv_free(choice);
}

static bool
find_untried(struct pv_choice *choice, enum pv_host_state before)
{
    for (choice->at = 0; choice->at < choice->count; choice->at++)
        if (choice->ways[choice->at].tried == UNTRIED && choice->ways[choice->at].before == before)
            return true;
    return false;
}

/* The second round of prefer-standby: those that are no standbys after all, or were none a moment ago. */
static bool
find_second_best(struct pv_choice *choice)
{
    for (choice->at = 0; choice->at < choice->count; choice->at++) {
        const struct way *way = &choice->ways[choice->at];

        if (way->tried == TRIED_MISMATCH || (way->tried == UNTRIED && way->before == PV_HOST_MISMATCH))
            return true;
    }
    return false;
}

const struct pv_candidate *
pv_choice_next(struct pv_choice *choice, enum pv_session_attrs *wanted)
{
    struct way *way;

    *wanted = choice->attrs;
    if (!find_untried(choice, PV_HOST_GOOD)) {
        if (choice->attrs == PV_ATTRS_PREFER_STANDBY) {
            *wanted = PV_ATTRS_ANY;
            choice->is_second_round = true;
            if (!find_second_best(choice) && !find_untried(choice, PV_HOST_FAILED))
                return NULL;
        } else if (!find_untried(choice, PV_HOST_MISMATCH) && !find_untried(choice, PV_HOST_FAILED)) {
            return NULL;
        }
    }
    way = &choice->ways[choice->at];
    /* Until it is noted how it came out. */
    way->tried = TRIED;
    if (way->before == PV_HOST_GOOD)
        postpone(choice->hosts, &way->candidate.address, choice->attrs);
    return &way->candidate;
}

bool
pv_choice_note(struct pv_choice *choice, enum pv_host_state state)
{
    struct way *way = &choice->ways[choice->at];

    if (state == PV_HOST_MISMATCH)
        way->tried = TRIED_MISMATCH;
    /* It serves for want of a better one: that it is no match stays true. */
    if (state == PV_HOST_GOOD && choice->is_second_round)
        return false;
    return pv_hosts_note(choice->hosts, &way->candidate.address, choice->attrs, state);
}

size_t
pv_choice_count(const struct pv_choice *choice)
{
    return choice->count;
}
