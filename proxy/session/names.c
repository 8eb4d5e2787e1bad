/*
 * What prepared statements and portals are called. A table holds what the server has
 * confirmed; requests in flight say what is about to change. A name is looked up in
 * the requests of the segment at hand first, newest first (an error among them would skip the message at hand too,
 * so that they may be believed), then in the table; where an earlier segment, whose outcome is open,
 * could change the answer, the answer is PV_MORE and the message waits.
 */
#include "policy/standing.h"
#include "proxy/session/side_int.h"

#include <string.h>

/* ---- Judgements ---- */

/* With its heads a little under the kilobyte that allocators hand out from a list: one is made for every statement. */
#define JUDGED_BLOCK_BYTES 896u

static enum pv_status
copy_path(struct pv_arena *arena, struct pv_names from, struct pv_names *to)
{
    const char **names = pv_arena_alloc(arena, (from.count + 1) * sizeof(*names));

    if (names == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < from.count; i++) {
        names[i] = pv_arena_strdup(arena, from.names[i]);
        if (names[i] == NULL)
            return PV_NOMEM;
    }
    to->names = names;
    to->count = from.count;
    return PV_OK;
}

struct pv_judged *
pv_judged_new(struct pv_session *s, struct pv_slice text, const uint32_t *oids, size_t oid_count,
              const struct pv_names *path)
{
    struct pv_arena *arena = pv_arena_new(JUDGED_BLOCK_BYTES);
    struct pv_judged *judged = arena == NULL ? NULL : pv_arena_alloc(arena, sizeof(*judged));
    char *copy;
    uint32_t *oid_copy;

    if (judged == NULL)
        goto failed;
    copy = pv_arena_strndup(arena, (const char *) text.data, text.len);
    oid_copy = pv_arena_alloc(arena, (oid_count + 1) * sizeof(*oid_copy));
    if (copy == NULL || oid_copy == NULL || (path != NULL && copy_path(arena, *path, &judged->path) != PV_OK))
        goto failed;
    if (oid_count > 0)
        memcpy(oid_copy, oids, oid_count * sizeof(*oids));
    judged->refs = 1;
    judged->arena = arena;
    judged->policy = s->policy;
    judged->hold = pv_hold_ref(s, s->policy);
    if (judged->hold == NULL)
        goto failed;
    judged->standing = pv_standing_generation(s->standing);
    judged->person = s->person_count;
    judged->text = pv_slice_of(copy, text.len);
    judged->oids = oid_copy;
    judged->oid_count = oid_count;
    return judged;
failed:
    pv_arena_free(arena);
    return NULL;
}

struct pv_judged *
pv_judged_ref(struct pv_judged *judged)
{
    judged->refs++;
    return judged;
}

void
pv_judged_unref(struct pv_judged *judged)
{
    if (judged == NULL || --judged->refs > 0)
        return;
    pv_hold_unref(judged->hold);
    pv_arena_free(judged->arena);
}

/* ---- Named things ---- */

/* FNV-1a: a client can only slow down its own tables, which are bounded. */
static uint32_t
hash_name(const char *name)
{
    uint32_t hash = 2166136261u;

    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t) *name) * 16777619u;
    return hash;
}

/* With its name behind it, and room for a text behind that. */
static struct pv_named *
named_new(const char *name, size_t name_len, struct pv_judged *judged, size_t index, size_t text_bytes)
{
    struct pv_named *named = pv_alloc(sizeof(*named) + name_len + 1 + text_bytes);

    if (named == NULL)
        return NULL;
    memset(named, 0, sizeof(*named));
    named->name = (char *) (named + 1);
    memcpy(named->name, name, name_len);
    named->name[name_len] = '\0';
    named->refs = 1;
    named->hash = hash_name(named->name);
    named->judged = pv_judged_ref(judged);
    named->index = index;
    named->facts = pv_decision_facts(&judged->decisions[index]);
    return named;
}

struct pv_named *
pv_named_new(const char *name, size_t name_len, struct pv_judged *judged, size_t index)
{
    return named_new(name, name_len, judged, index, 0);
}

struct pv_named *
pv_portal_new(const char *name, const struct pv_named *statement, struct pv_slice parameters)
{
    size_t name_len = strlen(name), bytes = parameters.data == NULL ? 0 : parameters.len + 1;
    struct pv_named *named = named_new(name, name_len, statement->judged, statement->index, bytes);

    if (named == NULL)
        return NULL;
    named->is_portal = true;
    named->is_of_sql = statement->is_of_sql;
    if (parameters.data != NULL) {
        named->parameters = named->name + name_len + 1;
        memcpy(named->parameters, parameters.data, parameters.len);
        named->parameters[parameters.len] = '\0';
    }
    return named;
}

struct pv_named *
pv_named_ref(struct pv_named *named)
{
    named->refs++;
    return named;
}

void
pv_named_unref(struct pv_named *named)
{
    if (named == NULL || --named->refs > 0)
        return;
    pv_judged_unref(named->judged);
    pv_named_unref(named->called);
    pv_prep_unref(named->prep);
    pv_free(named);
}

/* ---- Tables ---- */

static enum pv_status
grow(struct pv_name_table *table)
{
    size_t count = table->bucket_count == 0 ? 8 : table->bucket_count * 4;
    struct pv_named **buckets = pv_calloc(count, sizeof(struct pv_named *));

    if (buckets == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (struct pv_named *named = table->buckets[i], *next; named != NULL; named = next) {
            next = named->next;
            named->next = buckets[named->hash & (count - 1)];
            buckets[named->hash & (count - 1)] = named;
        }
    }
    pv_free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
    return PV_OK;
}

/* The link that points at the name, or at the end of its chain. */
static struct pv_named **
find_link(const struct pv_name_table *table, const char *name)
{
    uint32_t hash = hash_name(name);
    struct pv_named **link = &table->buckets[hash & (table->bucket_count - 1)];

    while (*link != NULL && ((*link)->hash != hash || strcmp((*link)->name, name) != 0))
        link = &(*link)->next;
    return link;
}

struct pv_named *
pv_names_get(const struct pv_name_table *table, const char *name)
{
    return table->bucket_count == 0 ? NULL : *find_link(table, name);
}

void
pv_names_drop(struct pv_name_table *table, const char *name)
{
    struct pv_named **link = table->bucket_count == 0 ? NULL : find_link(table, name);
    struct pv_named *named = link == NULL ? NULL : *link;

    if (named == NULL)
        return;
    *link = named->next;
    named->next = NULL;
    table->count--;
    table->bound_count -= named->is_bound ? 1 : 0;
    pv_named_unref(named);
}

enum pv_status
pv_names_put(struct pv_name_table *table, struct pv_named *named)
{
    struct pv_named **bucket;

    if (table->count >= table->bucket_count * 2 && grow(table) != PV_OK)
        return PV_NOMEM;
    pv_names_drop(table, named->name);
    bucket = &table->buckets[named->hash & (table->bucket_count - 1)];
    named->next = *bucket;
    *bucket = pv_named_ref(named);
    table->count++;
    table->bound_count += named->is_bound ? 1 : 0;
    return PV_OK;
}

void
pv_names_drop_if(struct pv_name_table *table, bool (*is_dropped)(const struct pv_named *named, size_t depth),
                 size_t depth)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct pv_named **link = &table->buckets[i];

        while (*link != NULL) {
            struct pv_named *named = *link;

            if (!is_dropped(named, depth)) {
                link = &named->next;
                continue;
            }
            *link = named->next;
            named->next = NULL;
            table->count--;
            table->bound_count -= named->is_bound ? 1 : 0;
            pv_named_unref(named);
        }
    }
}

static bool
is_any(const struct pv_named *named, size_t depth)
{
    (void) named;
    (void) depth;
    return true;
}

void
pv_names_clear(struct pv_name_table *table)
{
    pv_names_drop_if(table, is_any, 0);
    pv_free(table->buckets);
    memset(table, 0, sizeof(*table));
}

/* ---- What requests in flight are about to change ---- */

enum effect { EFFECT_NONE, EFFECT_DEFINES, EFFECT_DROPS };

static enum effect
run_on_statement(const struct pv_run *run, const char *name, struct pv_named **named)
{
    const char *own = run->decision == NULL ? NULL : run->decision->name;

    if (run->is_internal)
        return EFFECT_NONE;
    if (run->kind == PV_KIND_DEALLOCATE_ALL || run->kind == PV_KIND_DISCARD_ALL)
        return name[0] == '\0' ? EFFECT_NONE : EFFECT_DROPS;
    if (own == NULL || strcmp(own, name) != 0)
        return EFFECT_NONE;
    if (run->kind == PV_KIND_PREPARE) {
        *named = run->defines;
        return run->defines == NULL ? EFFECT_NONE : EFFECT_DEFINES;
    }
    return run->kind == PV_KIND_DEALLOCATE ? EFFECT_DROPS : EFFECT_NONE;
}

static enum effect
run_on_portal(const struct pv_run *run, const char *name, struct pv_named **named)
{
    const char *own = run->decision == NULL ? NULL : run->decision->name;

    if (run->is_internal)
        return EFFECT_NONE;
    if (run->kind == PV_KIND_CLOSE_ALL || run->kind == PV_KIND_DISCARD_ALL || run->kind == PV_KIND_COMMIT ||
        run->kind == PV_KIND_ROLLBACK)
        return EFFECT_DROPS;
    if (own == NULL || strcmp(own, name) != 0)
        return EFFECT_NONE;
    if (run->kind == PV_KIND_DECLARE) {
        *named = run->defines;
        return run->defines == NULL ? EFFECT_NONE : EFFECT_DEFINES;
    }
    return run->kind == PV_KIND_CLOSE ? EFFECT_DROPS : EFFECT_NONE;
}

static enum effect
runs_on(const struct pv_run *runs, size_t count, bool is_portal, const char *name, struct pv_named **named)
{
    while (count-- > 0) {
        enum effect effect = is_portal ? run_on_portal(&runs[count], name, named)
                                       : run_on_statement(&runs[count], name, named);

        if (effect != EFFECT_NONE)
            return effect;
    }
    return EFFECT_NONE;
}

static enum effect
request_on(const struct pv_request *r, bool is_portal, const char *name, struct pv_named **named)
{
    /* A Sync's runs were described, not executed. */
    enum effect effect = r->kind == PV_REQUEST_SYNC ? EFFECT_NONE
                                                    : runs_on(r->runs, r->run_count, is_portal, name, named);

    if (effect != EFFECT_NONE)
        return effect;
    if (r->kind == PV_REQUEST_QUERY)
        return name[0] == '\0' ? EFFECT_DROPS : EFFECT_NONE;
    if (r->name == NULL || strcmp(r->name, name) != 0)
        return EFFECT_NONE;
    if (r->kind == (is_portal ? PV_REQUEST_BIND : PV_REQUEST_PARSE)) {
        *named = r->named;
        return r->named == NULL ? EFFECT_DROPS : EFFECT_DEFINES;
    }
    if (r->kind == PV_REQUEST_CLOSE && r->target == (is_portal ? PV_TARGET_PORTAL : PV_TARGET_STATEMENT))
        return EFFECT_DROPS;
    return EFFECT_NONE;
}

static enum pv_status
look_up(struct pv_session *s, bool is_portal, const char *name, struct pv_named **named)
{
    const struct pv_name_table *table = is_portal ? &s->portals : &s->statements;
    struct pv_named *found = NULL;
    enum effect effect = runs_on(s->looking_runs, s->looking_count, is_portal, name, &found);
    bool is_earlier = false;

    for (const struct pv_request *r = s->tail; effect == EFFECT_NONE && r != NULL; r = r->previous) {
        if (r->kind == PV_REQUEST_SYNC || r->kind == PV_REQUEST_QUERY)
            is_earlier = true;
        effect = request_on(r, is_portal, name, &found);
        /* The end of a segment may be the end of a transaction, and so of every portal. */
        if (is_earlier && (effect != EFFECT_NONE || is_portal))
            return PV_MORE;
    }
    if (effect == EFFECT_NONE)
        found = pv_names_get(table, name);
    if (effect == EFFECT_DROPS || found == NULL)
        return PV_NOTFOUND;
    *named = found;
    return PV_OK;
}

enum pv_status
pv_names_statement(struct pv_session *s, const char *name, struct pv_named **named)
{
    return look_up(s, false, name, named);
}

enum pv_status
pv_names_portal(struct pv_session *s, const char *name, struct pv_named **named)
{
    return look_up(s, true, name, named);
}

/* ---- search_path ---- */

static bool
is_block_end(const struct pv_run *run)
{
    return run->kind == PV_KIND_COMMIT || run->kind == PV_KIND_ROLLBACK || run->kind == PV_KIND_ROLLBACK_TO;
}

static bool
is_path_setting(const struct pv_run *run)
{
    if (run->kind != PV_KIND_SET && run->kind != PV_KIND_SET_LOCAL && run->kind != PV_KIND_RESET)
        return false;
    return run->decision->setting != NULL && strcmp(run->decision->setting, "search_path") == 0;
}

bool
pv_names_may_move_path(const struct pv_request *r)
{
    for (size_t i = 0; i < (r->kind == PV_REQUEST_SYNC ? 0 : r->run_count); i++) {
        const struct pv_run *run = &r->runs[i];

        if (!run->is_internal && (is_block_end(run) || run->kind == PV_KIND_RESET_ALL ||
                                  run->kind == PV_KIND_DISCARD_ALL || is_path_setting(run)))
            return true;
    }
    return false;
}

/* Does the run change search_path, or may its end? *value: to what, NULL when only the reply tells. */
static bool
changes_path(const struct pv_track *track, const struct pv_run *run, const char **value)
{
    *value = NULL;
    if (run->is_internal)
        return false;
    /* Where the block changed nothing there is nothing to keep or take back. */
    if (is_block_end(run))
        return strcmp(track->path, track->path_committed) != 0 || strcmp(track->path, track->path_session) != 0 ||
               track->savepoint_count > 0;
    if (run->kind == PV_KIND_RESET_ALL || run->kind == PV_KIND_DISCARD_ALL)
        return true;
    if (!is_path_setting(run))
        return false;
    *value = run->kind == PV_KIND_RESET ? NULL : run->decision->value;
    return true;
}

enum pv_status
pv_names_path(struct pv_session *s, struct pv_arena *arena, struct pv_names *path)
{
    bool is_earlier = false;
    const char *text = s->track.path;

    for (const struct pv_request *r = s->path_count == 0 ? NULL : s->tail; r != NULL; r = r->previous) {
        if (r->kind == PV_REQUEST_SYNC || r->kind == PV_REQUEST_QUERY)
            is_earlier = true;
        for (size_t i = r->kind == PV_REQUEST_SYNC ? 0 : r->run_count; i-- > 0;) {
            const char *value;

            if (!changes_path(&s->track, &r->runs[i], &value))
                continue;
            if (is_earlier)
                return PV_MORE;
            /* In the segment at hand: SET says to what, RESET to the start's value, a block's end to what was before. */
            if (is_block_end(&r->runs[i]))
                return pv_track_path_split(arena, s->track.path_committed, path);
            return pv_track_path_split(arena, value == NULL ? s->track.path_startup : value, path);
        }
    }
    return pv_track_path_split(arena, text, path);
}
