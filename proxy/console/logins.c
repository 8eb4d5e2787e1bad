#include "proxy/console/logins.h"

#include "parser/key.h"
#include "proxy/base/limits.h"

#include <stdio.h>
#include <string.h>

/* Names that are watched at a time; one that hashes to another's place takes over its failures, to its own loss alone. */
#define TRY_SLOTS 1024u
/* A name that failed is forgiven after so long without a try. */
#define FORGET_MS (60u * 60u * 1000u)
#define MINUTE_MS 60000u

struct login {
    uint8_t token_hash[PV_SHA256_BYTES];
    uint8_t verifier_hash[PV_SHA256_BYTES];
    char *user; /* NULL: free */
    uint64_t started_ms, active_ms;
};

struct tries {
    uint64_t hash; /* of the name; 0: free */
    uint32_t failures;
    uint64_t last_ms, until_ms;
    bool is_turned_away;
};

struct pv_logins {
    struct login logins[PV_LOGINS_MAX];
    struct tries tries[TRY_SLOTS];
    struct pv_key key;
    uint64_t minute_ms; /* when the minute of `minute_failures` began */
    uint32_t minute_failures;
};

struct pv_logins *
pv_logins_new(void)
{
    struct pv_logins *logins = pv_calloc(1, sizeof(*logins));

    if (logins != NULL && pv_key_make(&logins->key) != PV_OK) {
        pv_free(logins);
        return NULL;
    }
    return logins;
}

static void
clear(struct login *login)
{
    pv_free(login->user);
    pv_wipe(login, sizeof(*login));
}

void
pv_logins_free(struct pv_logins *logins)
{
    if (logins == NULL)
        return;
    for (size_t i = 0; i < PV_LOGINS_MAX; i++)
        clear(&logins->logins[i]);
    pv_wipe(logins, sizeof(*logins));
    pv_free(logins);
}

/* ---- Tries ---- */

static struct tries *
tries_of(struct pv_logins *logins, struct pv_slice user, uint64_t now_ms)
{
    uint64_t hash = pv_key_hash(&logins->key, user) | 1;
    struct tries *tries = &logins->tries[(hash >> 1) % TRY_SLOTS];

    if (tries->hash != 0 && tries->hash != hash && now_ms < tries->last_ms + FORGET_MS)
        return tries;
    if (tries->hash != hash || now_ms >= tries->last_ms + FORGET_MS)
        *tries = (struct tries){.hash = hash};
    return tries;
}

static uint64_t
wait_of(uint32_t failures)
{
    uint64_t wait_ms = PV_LOGIN_WAIT_MS;

    if (failures < PV_LOGIN_TRIES)
        return 0;
    for (uint32_t i = PV_LOGIN_TRIES; i < failures && wait_ms < PV_LOGIN_WAIT_MAX_MS; i++)
        wait_ms *= 2;
    return wait_ms < PV_LOGIN_WAIT_MAX_MS ? wait_ms : PV_LOGIN_WAIT_MAX_MS;
}

bool
pv_logins_try(struct pv_logins *logins, struct pv_slice user, uint64_t now_ms, uint64_t *wait_ms, bool *is_first)
{
    struct tries *tries = tries_of(logins, user, now_ms);

    if (now_ms >= logins->minute_ms + MINUTE_MS) {
        logins->minute_ms = now_ms;
        logins->minute_failures = 0;
    }
    *wait_ms = tries->until_ms > now_ms ? tries->until_ms - now_ms : 0;
    if (*wait_ms == 0 && logins->minute_failures >= PV_LOGIN_FAILURES_PER_MINUTE)
        *wait_ms = logins->minute_ms + MINUTE_MS - now_ms;
    *is_first = !tries->is_turned_away;
    if (*wait_ms > 0) {
        tries->is_turned_away = true;
        return false;
    }
    logins->minute_failures++;
    tries->failures++;
    tries->last_ms = now_ms;
    tries->until_ms = now_ms + wait_of(tries->failures);
    tries->is_turned_away = false;
    return true;
}

void
pv_logins_succeeded(struct pv_logins *logins, struct pv_slice user)
{
    uint64_t hash = pv_key_hash(&logins->key, user) | 1;
    struct tries *tries = &logins->tries[(hash >> 1) % TRY_SLOTS];

    if (logins->minute_failures > 0)
        logins->minute_failures--;
    if (tries->hash == hash) {
        memset(tries, 0, sizeof(*tries));
    } else if (tries->failures > 0) { /* another name's place */
        tries->failures--;
        tries->until_ms = 0;
    }
}

/* ---- Logins ---- */

static bool
has_expired(const struct login *login, uint64_t now_ms)
{
    return now_ms >= login->started_ms + PV_LOGIN_ABSOLUTE_MS || now_ms >= login->active_ms + PV_LOGIN_IDLE_MS;
}

static void
expire(struct pv_logins *logins, uint64_t now_ms)
{
    for (size_t i = 0; i < PV_LOGINS_MAX; i++)
        if (logins->logins[i].user != NULL && has_expired(&logins->logins[i], now_ms))
            clear(&logins->logins[i]);
}

/* A free place; else that of whoever was idle longest, of this user alone when it has enough. */
static struct login *
place_for(struct pv_logins *logins, const char *user)
{
    struct login *free_one = NULL, *oldest = NULL, *own = NULL;
    size_t own_count = 0;

    for (size_t i = 0; i < PV_LOGINS_MAX; i++) {
        struct login *at = &logins->logins[i];

        if (at->user == NULL) {
            free_one = at;
            continue;
        }
        if (oldest == NULL || at->active_ms < oldest->active_ms)
            oldest = at;
        if (strcmp(at->user, user) != 0)
            continue;
        own_count++;
        if (own == NULL || at->active_ms < own->active_ms)
            own = at;
    }
    if (own_count >= PV_LOGINS_PER_USER_MAX)
        return own;
    if (free_one != NULL)
        return free_one;
    return own != NULL ? own : oldest;
}

static enum pv_status
hash_verifier(const struct pv_user *user, uint8_t hash[PV_SHA256_BYTES])
{
    return pv_sha256(pv_slice_cstr(user->scram == NULL ? "" : user->scram), hash);
}

enum pv_status
pv_logins_add(struct pv_logins *logins, const struct pv_user *user, uint64_t now_ms, char token[PV_LOGIN_TOKEN_SIZE])
{
    struct login made = {.started_ms = now_ms, .active_ms = now_ms};
    uint8_t bytes[PV_SHA256_BYTES];
    struct pv_buf hex = {0};
    struct login *login;
    enum pv_status status = pv_random_bytes(bytes, sizeof(bytes));

    expire(logins, now_ms);
    if (status == PV_OK)
        status = pv_hex_encode(pv_slice_of(bytes, sizeof(bytes)), &hex);
    pv_wipe(bytes, sizeof(bytes));
    if (status == PV_OK)
        status = pv_sha256(pv_buf_slice(&hex), made.token_hash);
    if (status == PV_OK)
        status = hash_verifier(user, made.verifier_hash);
    if (status == PV_OK) {
        made.user = pv_strdup(user->name);
        if (made.user == NULL || pv_buf_text(&hex) == NULL)
            status = PV_NOMEM;
    }
    if (status == PV_OK) {
        login = place_for(logins, user->name);
        clear(login);
        *login = made;
        (void) snprintf(token, PV_LOGIN_TOKEN_SIZE, "%s", pv_buf_text(&hex));
    } else {
        pv_free(made.user);
    }
    pv_buf_wipe(&hex);
    return status;
}

/* All are looked at, so that the time says nothing about where a match would be. */
static struct login *
find(const struct pv_logins *logins, struct pv_slice token)
{
    uint8_t hash[PV_SHA256_BYTES];
    const struct login *found = NULL;

    if (token.len != PV_LOGIN_TOKEN_SIZE - 1 || pv_sha256(token, hash) != PV_OK)
        return NULL;
    for (size_t i = 0; i < PV_LOGINS_MAX; i++)
        if (logins->logins[i].user != NULL &&
            pv_constant_time_equal(pv_slice_of(hash, sizeof(hash)),
                                   pv_slice_of(logins->logins[i].token_hash, PV_SHA256_BYTES)))
            found = &logins->logins[i];
    return found == NULL ? NULL : (struct login *) (uintptr_t) found;
}

const struct pv_user *
pv_logins_find(struct pv_logins *logins, const struct pv_policy *policy, struct pv_slice token, uint64_t now_ms,
               bool is_active)
{
    struct login *login = find(logins, token);
    const struct pv_user *user;
    uint8_t hash[PV_SHA256_BYTES];

    if (login == NULL)
        return NULL;
    user = pv_policy_user(policy, pv_slice_cstr(login->user));
    if (has_expired(login, now_ms) || user == NULL || hash_verifier(user, hash) != PV_OK ||
        memcmp(hash, login->verifier_hash, sizeof(hash)) != 0) {
        clear(login);
        return NULL;
    }
    if (is_active)
        login->active_ms = now_ms;
    return user;
}

uint64_t
pv_logins_left_ms(const struct pv_logins *logins, struct pv_slice token, uint64_t now_ms)
{
    const struct login *login = find(logins, token);
    uint64_t idle, absolute;

    if (login == NULL || has_expired(login, now_ms))
        return 0;
    idle = login->active_ms + PV_LOGIN_IDLE_MS - now_ms;
    absolute = login->started_ms + PV_LOGIN_ABSOLUTE_MS - now_ms;
    return idle < absolute ? idle : absolute;
}

void
pv_logins_drop(struct pv_logins *logins, struct pv_slice token)
{
    struct login *login = find(logins, token);

    if (login != NULL)
        clear(login);
}

size_t
pv_logins_count(const struct pv_logins *logins)
{
    size_t count = 0;

    for (size_t i = 0; i < PV_LOGINS_MAX; i++)
        count += logins->logins[i].user != NULL;
    return count;
}
