/*
 * The transaction as the server reports it, and search_path through it. A SET takes
 * effect when the server confirms it, lasts to the end of the session where its
 * transaction commits, to the transaction's end for SET LOCAL, and is undone by
 * ROLLBACK and ROLLBACK TO (PostgreSQL documentation, SET). Portals end with their transaction.
 */
#include "proxy/session/session_int.h"

#include <string.h>

/* What nearly every path is, once for all. */
static char common[] = "public";

static void
free_text(char *text)
{
    if (text != common)
        pv_free(text);
}

static void
set_text(struct pv_session *s, char **slot, const char *text)
{
    char *copy;

    if (text != NULL && *slot != NULL && strcmp(text, *slot) == 0)
        return;
    copy = text == NULL ? NULL : strcmp(text, common) == 0 ? common : pv_strdup(text);
    if (text != NULL && copy == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    free_text(*slot);
    *slot = copy;
}

bool
pv_track_init(struct pv_session *s, const char *path)
{
    set_text(s, &s->track.path_startup, path);
    set_text(s, &s->track.path, path);
    set_text(s, &s->track.path_session, path);
    set_text(s, &s->track.path_committed, path);
    return s->phase != PV_PHASE_CLOSED;
}

static void
cut_savepoints(struct pv_track *track, size_t count)
{
    while (track->savepoint_count > count) {
        struct pv_savepoint *last = &track->savepoints[--track->savepoint_count];

        free_text(last->name);
        free_text(last->path);
        free_text(last->path_session);
    }
}

void
pv_track_clear(struct pv_session *s)
{
    cut_savepoints(&s->track, 0);
    pv_free(s->track.savepoints);
    free_text(s->track.path_startup);
    free_text(s->track.path);
    free_text(s->track.path_session);
    free_text(s->track.path_committed);
    memset(&s->track, 0, sizeof(s->track));
}

/* ---- Ends of transactions ---- */

static bool
dies_at_commit(const struct pv_named *named, size_t depth)
{
    (void) depth;
    return !named->is_hold;
}

static bool
dies_at_rollback(const struct pv_named *named, size_t depth)
{
    (void) depth;
    return !named->is_hold || named->is_new;
}

static bool
dies_at_savepoint(const struct pv_named *named, size_t depth)
{
    return named->is_new && named->depth >= depth;
}

static void
keep_held(struct pv_name_table *table)
{
    for (size_t i = 0; i < table->bucket_count; i++)
        for (struct pv_named *named = table->buckets[i]; named != NULL; named = named->next)
            named->is_new = false;
}

static const struct pv_decision *
held_decision(const struct pv_named *named)
{
    return named->is_hold && named->is_new ? &named->judged->decisions[named->index] : NULL;
}

bool
pv_track_holds_redacted(const struct pv_session *s)
{
    for (size_t i = 0; s->portals.count > 0 && i < s->portals.bucket_count; i++)
        for (const struct pv_named *named = s->portals.buckets[i]; named != NULL; named = named->next) {
            const struct pv_decision *decision = held_decision(named);

            if (decision != NULL && decision->is_redacted)
                return true;
        }
    return false;
}

uint64_t
pv_track_holds_ms(const struct pv_session *s)
{
    uint64_t ms = 0;

    for (size_t i = 0; s->portals.count > 0 && i < s->portals.bucket_count; i++)
        for (const struct pv_named *named = s->portals.buckets[i]; named != NULL; named = named->next) {
            const struct pv_decision *decision = held_decision(named);

            if (decision != NULL && decision->timeout_ms == 0 && decision->datasets.count > 0)
                return 0;
            /* Each below what the clock takes, so that their sum is a sum. */
            if (decision != NULL && decision->timeout_ms < (UINT64_C(1) << 40))
                ms += decision->timeout_ms;
        }
    return ms;
}

static void
end_transaction(struct pv_session *s, bool is_commit)
{
    struct pv_track *track = &s->track;

    cut_savepoints(track, 0);
    track->is_in_block = false;
    if (track->path == NULL)
        return;
    if (is_commit) {
        set_text(s, &track->path, track->path_session);
        set_text(s, &track->path_committed, track->path_session);
    } else {
        set_text(s, &track->path, track->path_committed);
        set_text(s, &track->path_session, track->path_committed);
    }
    pv_names_drop_if(&s->portals, is_commit ? dies_at_commit : dies_at_rollback, 0);
    keep_held(&s->portals);
}

/* ---- Savepoints ---- */

static void
put_savepoint(struct pv_session *s, const char *name)
{
    struct pv_track *track = &s->track;
    struct pv_savepoint *savepoint;

    if (track->savepoint_count == track->savepoint_size) {
        size_t size = track->savepoint_size == 0 ? 4 : track->savepoint_size * 2;
        struct pv_savepoint *grown = pv_realloc(track->savepoints, size * sizeof(*grown));

        if (grown == NULL) {
            pv_session_fail(s, PV_NOMEM);
            return;
        }
        track->savepoints = grown;
        track->savepoint_size = size;
    }
    savepoint = &track->savepoints[track->savepoint_count++];
    memset(savepoint, 0, sizeof(*savepoint));
    set_text(s, &savepoint->name, name);
    set_text(s, &savepoint->path, track->path);
    set_text(s, &savepoint->path_session, track->path_session);
}

/* Index of the newest savepoint of that name, or savepoint_count. */
static size_t
find_savepoint(const struct pv_track *track, const char *name)
{
    for (size_t i = track->savepoint_count; i-- > 0;)
        if (track->savepoints[i].name != NULL && strcmp(track->savepoints[i].name, name) == 0)
            return i;
    return track->savepoint_count;
}

static void
rollback_to(struct pv_session *s, const char *name)
{
    struct pv_track *track = &s->track;
    size_t at = find_savepoint(track, name);

    if (at == track->savepoint_count)
        return;
    set_text(s, &track->path, track->savepoints[at].path);
    set_text(s, &track->path_session, track->savepoints[at].path_session);
    cut_savepoints(track, at + 1);
    pv_names_drop_if(&s->portals, dies_at_savepoint, at + 1);
}

/* ---- Confirmed commands ---- */

static void
set_path(struct pv_session *s, const struct pv_run *run)
{
    struct pv_track *track = &s->track;
    const char *value = run->kind == PV_KIND_SET || run->kind == PV_KIND_SET_LOCAL ? run->decision->value : NULL;

    if (run->decision->setting == NULL || strcmp(run->decision->setting, "search_path") != 0)
        return;
    if (value == NULL)
        value = track->path_startup;
    /* SET LOCAL outside a block has no effect: the end of its transaction takes it back. */
    set_text(s, &track->path, value);
    if (run->kind != PV_KIND_SET_LOCAL)
        set_text(s, &track->path_session, value);
}

static void
put_name(struct pv_session *s, struct pv_name_table *table, struct pv_named *named)
{
    if (named == NULL)
        return;
    named->is_new = true;
    named->is_bound = s->is_pooled && !named->is_portal;
    named->depth = s->track.savepoint_count;
    if (pv_names_put(table, named) != PV_OK)
        pv_session_fail(s, PV_NOMEM);
}

/* DEALLOCATE ALL and DISCARD ALL leave the unnamed statement. */
static bool
has_name(const struct pv_named *named, size_t depth)
{
    (void) depth;
    return named->name[0] != '\0';
}

static void
discard_all(struct pv_session *s)
{
    pv_names_clear(&s->portals);
    pv_names_drop_if(&s->statements, has_name, 0);
    set_text(s, &s->track.path, s->track.path_startup);
    set_text(s, &s->track.path_session, s->track.path_startup);
    /* It commits by itself: what fails behind it does not bring back the path before. */
    set_text(s, &s->track.path_committed, s->track.path_startup);
}

void
pv_track_command(struct pv_session *s, const struct pv_run *run, struct pv_slice tag)
{
    const char *name = run->decision == NULL ? NULL : run->decision->name;

    pv_person_confirm(s, run);
    pv_lease_command(s, run);
    switch (run->kind) {
    case PV_KIND_BEGIN:
        s->track.is_in_block = true;
        break;
    case PV_KIND_COMMIT:
    case PV_KIND_ROLLBACK:
        if (s->discard == PV_DISCARD_DONE)
            s->discard = pv_slice_is(tag, "COMMIT") ? PV_DISCARD_SENT : PV_DISCARD_UNDONE;
        end_transaction(s, pv_slice_is(tag, "COMMIT"));
        break;
    case PV_KIND_SAVEPOINT:
        if (name != NULL)
            put_savepoint(s, name);
        break;
    case PV_KIND_RELEASE:
        if (name != NULL)
            cut_savepoints(&s->track, find_savepoint(&s->track, name));
        break;
    case PV_KIND_ROLLBACK_TO:
        if (name != NULL)
            rollback_to(s, name);
        break;
    case PV_KIND_SET:
    case PV_KIND_SET_LOCAL:
    case PV_KIND_RESET:
        set_path(s, run);
        break;
    case PV_KIND_RESET_ALL:
        set_text(s, &s->track.path, s->track.path_startup);
        set_text(s, &s->track.path_session, s->track.path_startup);
        break;
    case PV_KIND_DISCARD_ALL:
        if (s->discard != PV_DISCARD_NONE)
            s->discard = PV_DISCARD_DONE;
        discard_all(s);
        break;
    case PV_KIND_PREPARE:
        put_name(s, &s->statements, run->defines);
        break;
    case PV_KIND_DECLARE:
        put_name(s, &s->portals, run->defines);
        break;
    case PV_KIND_DEALLOCATE:
        if (name != NULL)
            pv_names_drop(&s->statements, name);
        break;
    case PV_KIND_DEALLOCATE_ALL:
        pv_names_drop_if(&s->statements, has_name, 0);
        break;
    case PV_KIND_CLOSE:
        if (name != NULL)
            pv_names_drop(&s->portals, name);
        break;
    case PV_KIND_CLOSE_ALL:
        pv_names_clear(&s->portals);
        break;
    case PV_KIND_EMPTY:
    case PV_KIND_INVALID:
    case PV_KIND_SELECT:
    case PV_KIND_COPY_OUT:
    case PV_KIND_SET_TRANSACTION:
    case PV_KIND_SHOW:
    case PV_KIND_EXECUTE:
    case PV_KIND_FETCH:
    case PV_KIND_MOVE:
    case PV_KIND_DISCARD_OTHER:
    case PV_KIND_LISTEN:
    case PV_KIND_UNLISTEN:
    case PV_KIND_EXPLAIN:
    case PV_KIND_OTHER:
        break;
    }
}

/* An error takes an implicit transaction back at once; a block waits for its ROLLBACK. */
void
pv_track_error(struct pv_session *s)
{
    pv_person_forget(s);
    if (s->track.is_in_block)
        return;
    if (s->discard == PV_DISCARD_DONE)
        s->discard = PV_DISCARD_UNDONE;
    end_transaction(s, false);
}

void
pv_track_ready(struct pv_session *s, uint8_t status)
{
    s->track.status = status;
    if (status == 'I')
        end_transaction(s, true);
    else
        s->track.is_in_block = true;
    pv_person_ready(s);
}

/* ---- search_path texts ---- */

static bool
is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One name, quoted or folded to lower case, into `out`; NULL when malformed. Gives the place behind it. */
static const char *
read_name(const char *at, char *out)
{
    if (*at == '"') {
        for (at++;; at++) {
            if (*at == '\0')
                return NULL;
            if (*at == '"') {
                if (at[1] != '"')
                    break;
                at++;
            }
            *out++ = *at;
        }
        at++;
    } else {
        const char *first = at;

        while (*at != '\0' && *at != ',' && !is_space(*at)) {
            *out++ = *at >= 'A' && *at <= 'Z' ? (char) (*at + ('a' - 'A')) : *at;
            at++;
        }
        if (at == first)
            return NULL;
    }
    *out = '\0';
    while (is_space(*at))
        at++;
    return at;
}

enum pv_status
pv_track_path_split(struct pv_arena *arena, const char *text, struct pv_names *path)
{
    static const char *const common_names[] = {common};
    size_t len = strlen(text), count = 0;
    const char **names;
    const char *at = text;
    char *name;

    if (text == common) {
        *path = (struct pv_names){common_names, 1};
        return PV_OK;
    }
    names = pv_arena_alloc(arena, (len / 2 + 2) * sizeof(*names));
    /* Each name with its NUL takes no more than its letters and the comma behind it. */
    name = pv_arena_alloc(arena, len + 2);
    if (names == NULL || name == NULL)
        return PV_NOMEM;
    while (is_space(*at))
        at++;
    while (*at != '\0') {
        at = read_name(at, name);
        if (at == NULL || (*at != '\0' && *at != ','))
            return PV_INVALID;
        /* No schema is called "". pg_catalog always comes first by itself. */
        if (name[0] != '\0') {
            names[count++] = name;
            name += strlen(name) + 1;
        }
        if (*at == ',')
            at++;
        while (is_space(*at))
            at++;
    }
    path->names = names;
    path->count = count;
    return PV_OK;
}
