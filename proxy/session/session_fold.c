/*
 * Sessions at rest. Most sessions of a pool wait most of the time, so what one needs only while it does something is let
 * go when it has been quiet for a while, and what the login alone needed at the login's end.
 *  1. A session is folded only where every byte behind PV_SESSION_BUSY is zero: whatever it still has to do keeps it whole.
 *  2. Of a folded session nothing is asked but pv_session_look, pv_session_is_at_rest, pv_session_deadline, its names, and
 *     its end.
 */
#include "proxy/session/session_int.h"

#include <string.h>

/* ---- The end of the login ---- */

/* As pv_arena_alloc rounds. */
static size_t
size_of(const char *text)
{
    return text == NULL ? 0 : (strlen(text) + sizeof(max_align_t)) / sizeof(max_align_t) * sizeof(max_align_t);
}

static bool
move(struct pv_arena *arena, const char **text)
{
    if (*text != NULL)
        *text = pv_arena_strdup(arena, *text);
    return *text != NULL;
}

/* Names and settings, which the packet's other contents and what was made of them lie between. */
static void
repack(struct pv_session *s)
{
    const char *user = s->user, *login_user = s->login_user, *room_name = s->room_name, *startup = s->user_startup;
    struct pv_startup_setting *settings = pv_calloc(s->setting_count + 1, sizeof(*settings));
    size_t size = size_of(user) + (login_user == user ? 0 : size_of(login_user)) + size_of(room_name) + size_of(startup);
    struct pv_arena *arena;
    bool is_whole;

    for (size_t i = 0; i < s->setting_count; i++)
        size += size_of(s->settings[i].name) + size_of(s->settings[i].value);
    arena = pv_arena_new(size);
    is_whole = settings != NULL && arena != NULL && move(arena, &user) && move(arena, &room_name) &&
               (startup == NULL || move(arena, &startup));
    if (is_whole && login_user == s->user)
        login_user = user;
    else
        is_whole = is_whole && move(arena, &login_user);
    for (size_t i = 0; i < s->setting_count && is_whole; i++) {
        settings[i] = s->settings[i];
        is_whole = move(arena, &settings[i].name) && move(arena, &settings[i].value);
    }
    if (!is_whole) {
        /* Then it stays where it is. */
        pv_arena_free(arena);
        pv_free(settings);
        return;
    }
    s->user = s->own_member.user = user;
    s->login_user = login_user;
    s->service = s->service == NULL ? NULL : login_user;
    s->room_name = room_name;
    s->user_startup = startup;
    pv_free(s->settings);
    s->settings = settings;
    s->setting_size = s->setting_count + 1;
    if (s->setting_count == 0) {
        pv_free(settings);
        s->settings = NULL;
        s->setting_size = 0;
    }
    pv_arena_free(s->arena);
    s->arena = arena;
}

void
pv_session_login_done(struct pv_session *s)
{
    s->version = 0;
    s->has_asked_ssl = s->has_asked_gss = s->is_cert_proven = s->is_denied_anyhow = false;
    s->endpoint_hash = pv_slice_of(NULL, 0);
    s->cert_cn = s->scram_mechanism = s->login_refusal = NULL;
    pv_buf_fit(&s->identity_key);
    /* A token's claims and an auditor's party lie there too, for as long as the session lasts. */
    if (s->token == NULL && s->auditor == NULL)
        repack(s);
}

/* ---- At rest ---- */

/* Tables and lists that were used and are empty now. */
static void
tidy(struct pv_session *s)
{
    if (s->gate_count == 0) {
        pv_free(s->gates);
        s->gates = NULL;
        s->gate_size = 0;
    }
    if (s->described_count == 0) {
        pv_free(s->described);
        s->described = NULL;
        s->described_size = 0;
    }
    if (s->track.savepoint_count == 0) {
        pv_free(s->track.savepoints);
        s->track.savepoints = NULL;
        s->track.savepoint_size = 0;
    }
    if (s->statements.count == 0)
        pv_names_clear(&s->statements);
    if (s->portals.count == 0)
        pv_names_clear(&s->portals);
    s->looking_runs = NULL;
    pv_buf_wipe(&s->identity_sql);
    /* What came while something else was under way was taken in another event. */
    if (pv_buf_len(&s->client_in) == 0)
        pv_buf_clear(&s->client_in);
    if (pv_buf_len(&s->server_in) == 0)
        pv_buf_clear(&s->server_in);
}

static bool
is_zero(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint8_t all = 0;

    for (size_t i = 0; i < len; i++)
        all |= at[i];
    return all == 0;
}

/* What points into the session goes with it. */
static void
take_place(struct pv_session *now, const struct pv_session *before)
{
    memcpy(now, before, PV_SESSION_BUSY);
    if (before->member == &before->own_member)
        now->member = &now->own_member;
}

bool
pv_session_fold(struct pv_session **session)
{
    struct pv_session *whole = *session, *folded;

    if (whole->is_folded)
        return true;
    if (whole->phase != PV_PHASE_READY || whole->auditor != NULL || whole->is_draining || !pv_session_is_at_rest(whole) ||
        whole->gate_count > 0)
        return false;
    tidy(whole);
    if (!is_zero((const uint8_t *) whole + PV_SESSION_BUSY, sizeof(*whole) - PV_SESSION_BUSY))
        return false;
    folded = pv_alloc(PV_SESSION_BUSY);
    if (folded == NULL)
        return false;
    take_place(folded, whole);
    folded->is_folded = true;
    pv_free(whole);
    *session = folded;
    return true;
}

enum pv_status
pv_session_unfold(struct pv_session **session)
{
    struct pv_session *folded = *session, *whole;

    if (!folded->is_folded)
        return PV_OK;
    whole = pv_calloc(1, sizeof(*whole));
    if (whole == NULL)
        return PV_NOMEM;
    take_place(whole, folded);
    whole->is_folded = false;
    pv_free(folded);
    *session = whole;
    return PV_OK;
}

int64_t
pv_session_quiet_us(const struct pv_session *s)
{
    return s->now_us;
}
