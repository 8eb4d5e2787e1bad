#include "proxy/session/repeat_int.h"

#include <string.h>

struct pv_repeats *
pv_repeats_of(struct pv_side *side)
{
    if (side->repeats == NULL)
        side->repeats = pv_calloc(1, sizeof(*side->repeats));
    return side->repeats;
}

static void
clear_name(struct pv_repeat_name *name)
{
    pv_repeat_unref(name->of);
    pv_free(name->user);
    pv_texts_unref(name->reported);
    pv_values_unref(name->values);
}

void
pv_repeats_free(struct pv_repeats *repeats)
{
    if (repeats == NULL)
        return;
    for (size_t i = 0; i < repeats->name_count; i++)
        clear_name(&repeats->names[i]);
    pv_free(repeats->names);
    pv_free(repeats->sights);
    pv_free(repeats);
}

void
pv_repeats_doubt(struct pv_repeats *repeats)
{
    for (size_t i = 0; i < repeats->name_count; i++)
        repeats->names[i].is_there = false;
}

/* ---- Names --------------------------------------------------------------------------- */

static bool
has_styles(const struct pv_texts *a, const struct pv_texts *b)
{
    static const size_t styles[] = {PV_REPORTED_DATESTYLE, PV_REPORTED_INTERVALSTYLE, PV_REPORTED_TIMEZONE};

    if (a == b)
        return true;
    for (size_t i = 0; i < PV_COUNT_OF(styles); i++) {
        const char *x = pv_texts_at(a, styles[i]), *y = pv_texts_at(b, styles[i]);

        if (x != y && (x == NULL || y == NULL || strcmp(x, y) != 0))
            return false;
    }
    return true;
}

static bool
is_name_of(const struct pv_repeat_name *name, const struct pv_repeat *of, const struct pv_repeat_key *key)
{
    return name->of->hash == of->hash && pv_repeat_equal(name->of, of) && strcmp(name->user, key->user) == 0 &&
           has_styles(name->reported, key->reported) && pv_values_equal(name->values, key->values);
}

/* What is equal is the same object from now on, so that it is seen at a glance. */
static void
take_key(struct pv_repeat_name *name, const struct pv_repeat *of, const struct pv_repeat_key *key)
{
    if (name->of != of) {
        pv_repeat_unref(name->of);
        name->of = pv_repeat_ref(of);
    }
    if (name->reported != key->reported) {
        pv_texts_unref(name->reported);
        name->reported = pv_texts_ref(key->reported);
    }
    if (name->values != key->values) {
        pv_values_unref(name->values);
        name->values = pv_values_ref(key->values);
    }
}

struct pv_repeat_name *
pv_repeats_find(struct pv_repeats *repeats, const struct pv_repeat *of, const struct pv_repeat_key *key)
{
    size_t at = repeats->name_last;

    if (at >= repeats->name_count || !is_name_of(&repeats->names[at], of, key))
        for (at = 0; at < repeats->name_count && !is_name_of(&repeats->names[at], of, key);)
            at++;
    if (at == repeats->name_count)
        return NULL;
    repeats->name_last = at;
    repeats->names[at].used = ++repeats->used;
    take_key(&repeats->names[at], of, key);
    return &repeats->names[at];
}

struct pv_repeat_name *
pv_repeats_numbered(struct pv_repeats *repeats, uint32_t number)
{
    if (repeats->name_last < repeats->name_count && repeats->names[repeats->name_last].number == number)
        return &repeats->names[repeats->name_last];
    for (size_t i = 0; i < repeats->name_count; i++)
        if (repeats->names[i].number == number)
            return &repeats->names[i];
    return NULL;
}

struct pv_repeat_name *
pv_repeats_excess(struct pv_repeats *repeats, size_t text_len)
{
    struct pv_repeat_name *oldest = NULL;

    if (repeats->name_count < PV_REPEAT_NAMES_MAX && repeats->bytes + text_len <= PV_REPEAT_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < repeats->name_count; i++)
        if (oldest == NULL || repeats->names[i].used < oldest->used)
            oldest = &repeats->names[i];
    return oldest;
}

void
pv_repeats_drop(struct pv_repeats *repeats, struct pv_repeat_name *name)
{
    repeats->bytes -= name->of->text_len;
    clear_name(name);
    *name = repeats->names[--repeats->name_count];
}

struct pv_repeat_name *
pv_repeats_put(struct pv_repeats *repeats, const struct pv_repeat *of, const struct pv_repeat_key *key)
{
    struct pv_repeat_name *name;
    char *user;

    if (repeats->name_count == repeats->name_size) {
        size_t size = repeats->name_size == 0 ? 4 : repeats->name_size * 2;
        struct pv_repeat_name *grown = pv_realloc(repeats->names, size * sizeof(*grown));

        if (grown == NULL)
            return NULL;
        repeats->names = grown;
        repeats->name_size = size;
    }
    user = pv_strdup(key->user);
    if (user == NULL)
        return NULL;
    repeats->name_last = repeats->name_count;
    name = &repeats->names[repeats->name_count++];
    *name = (struct pv_repeat_name){.of = pv_repeat_ref(of),
                                    .user = user,
                                    .reported = pv_texts_ref(key->reported),
                                    .values = pv_values_ref(key->values),
                                    .epoch = key->epoch,
                                    .used = ++repeats->used,
                                    .number = repeats->number_next++,
                                    .rest_next = PV_REPEAT_REST_FIRST};
    repeats->bytes += of->text_len;
    return name;
}

void
pv_repeats_rest(struct pv_repeat_name *name)
{
    name->rest = name->rest_next;
    name->rest_next = name->rest_next >= PV_REPEAT_REST_MAX / 2 ? PV_REPEAT_REST_MAX : name->rest_next * 2;
}

/* ---- Sights -------------------------------------------------------------------------- */

struct pv_repeat_sight *
pv_repeats_sight(struct pv_repeats *repeats, uint64_t hash)
{
    struct pv_repeat_sight *sight;

    for (size_t i = 0; i < repeats->sight_count; i++)
        if (repeats->sights[i].hash == hash)
            return &repeats->sights[i];
    if (repeats->sight_count == repeats->sight_size && repeats->sight_size < PV_REPEAT_SIGHTS_MAX) {
        size_t size = repeats->sight_size == 0 ? 4 : repeats->sight_size * 2;
        struct pv_repeat_sight *grown = pv_realloc(repeats->sights, size * sizeof(*grown));

        if (grown == NULL)
            return NULL;
        repeats->sights = grown;
        repeats->sight_size = size;
    }
    if (repeats->sight_count < repeats->sight_size) {
        sight = &repeats->sights[repeats->sight_count++];
    } else {
        sight = &repeats->sights[repeats->sight_oldest];
        repeats->sight_oldest = (repeats->sight_oldest + 1) % repeats->sight_size;
    }
    *sight = (struct pv_repeat_sight){hash, 0};
    return sight;
}
