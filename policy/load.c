/*
 * Loading: the config, then its users, then its rooms in the order of their files' names. Every
 * fault is said before the load fails as a whole.
 */
#include "policy/load_int.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_BYTES_MAX (1024u * 1024u)
/* Users with their verifiers come to some 300 bytes each. */
#define USERS_BYTES_MAX (64u * 1024u * 1024u)
#define ROOM_BYTES_MAX (16u * 1024u * 1024u)
#define ROOMS_MAX 10000u

static _Atomic uint64_t last_generation;

/* Absolute folder of a file, by the working directory; NULL without memory (errno ENOMEM) or with another errno. */
static char *
absolute_dir(struct pv_arena *arena, const char *file)
{
    const char *slash = strrchr(file, '/');
    char *dir = slash == NULL      ? pv_arena_strdup(arena, ".")
                : slash == file ? pv_arena_strdup(arena, "/")
                                : pv_arena_strndup(arena, file, (size_t) (slash - file));
    char *resolved;
    char *copy;

    if (dir == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    resolved = realpath(dir, NULL);
    if (resolved == NULL)
        return NULL;
    copy = pv_arena_strdup(arena, resolved);
    free(resolved);
    if (copy == NULL)
        errno = ENOMEM;
    return copy;
}

/* ---- users -------------------------------------------------------------- */

static void
load_users(struct pv_doc *config, struct pv_load *load)
{
    const struct pv_located *value = pv_located_find(config->top, "users");
    const char *path = load->snapshot->policy.config.users_path;
    const char *shown, *dir;
    struct pv_doc doc;

    if (path == NULL)
        return;
    if (access(path, F_OK) != 0) {
        pv_load_fault(config, value, "cannot read \"%s\": %s", pv_located_string(value), strerror(errno));
        return;
    }
    shown = pv_load_shown_path(config, pv_located_string(value));
    dir = absolute_dir(load->arena, path);
    if (dir == NULL) {
        if (errno == ENOMEM)
            load->is_out_of_memory = true;
        else
            pv_load_fault(config, value, "cannot read \"%s\": %s", pv_located_string(value), strerror(errno));
        return;
    }
    if (pv_doc_open(&doc, load, shown, dir, path, USERS_BYTES_MAX))
        pv_load_users(&doc, &load->snapshot->policy);
    pv_doc_close(&doc);
}

/* ---- rooms -------------------------------------------------------------- */

static int
is_room_file(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

static int
compare_entries(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/*
 * Room files are opened first and given their places in the snapshot, in order of the rooms' names, and read then: a
 * question that is compiled may keep its room's address.
 */
struct room_file {
    struct pv_doc doc;
    const char *name; /* "" where there is none; the fault comes when the room is read */
    size_t place;
};

static bool
open_room(struct pv_doc *config, const char *entry, struct room_file *file)
{
    struct pv_load *load = config->load;
    const char *dir = load->snapshot->policy.config.rooms_path;
    const char *folder = pv_load_shown_path(config, pv_located_string(pv_located_find(config->top, "rooms")));
    size_t len = strlen(folder);
    char *shown = pv_arena_printf(load->arena, "%s%s%s", folder, len > 0 && folder[len - 1] == '/' ? "" : "/", entry);
    char *path = pv_arena_printf(load->arena, "%s/%s", dir, entry);
    const struct pv_located *name;

    if (shown == NULL || path == NULL) {
        load->is_out_of_memory = true;
        return false;
    }
    if (!pv_doc_open(&file->doc, load, shown, dir, path, ROOM_BYTES_MAX) ||
        !pv_load_kind(&file->doc, file->doc.top, PV_J_OBJECT, NULL)) {
        pv_doc_close(&file->doc);
        return false;
    }
    name = pv_located_find(file->doc.top, "room");
    file->name = name != NULL && pv_located_kind(name) == PV_J_STRING ? pv_located_string(name) : "";
    return true;
}

static int
compare_names(const void *a, const void *b)
{
    const struct room_file *left = *(struct room_file *const *) a;
    const struct room_file *right = *(struct room_file *const *) b;
    int order = strcmp(left->name, right->name);

    return order != 0 ? order : strcmp(left->doc.file, right->doc.file);
}

static bool
place_rooms(struct pv_doc *config, struct room_file *files, size_t count)
{
    struct room_file **sorted = pv_arena_alloc(config->scratch, count * sizeof(struct room_file *));

    if (sorted == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &files[i];
    if (count > 0)
        qsort(sorted, count, sizeof(struct room_file *), compare_names);
    for (size_t i = 0; i < count; i++) {
        struct room_file *file = sorted[i];

        file->place = i;
        if (i > 0 && *file->name != '\0' && strcmp(sorted[i - 1]->name, file->name) == 0)
            pv_load_fault(&file->doc, pv_located_find(file->doc.top, "room"), "the room \"%s\" is defined in %s already",
                          file->name, sorted[i - 1]->doc.file);
    }
    return true;
}

static void
read_rooms(struct pv_doc *config, struct dirent **entries, size_t entry_count)
{
    struct pv_load *load = config->load;
    struct pv_policy *policy = &load->snapshot->policy;
    struct room_file *files = pv_arena_alloc(config->scratch, entry_count * sizeof(*files));
    struct pv_room *rooms = pv_load_alloc(config, entry_count, sizeof(*rooms));
    size_t count = 0;

    if (files == NULL || rooms == NULL) {
        load->is_out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < entry_count && !load->is_out_of_memory; i++)
        count += open_room(config, entries[i]->d_name, &files[count]) ? 1 : 0;
    if (!load->is_out_of_memory && !place_rooms(config, files, count))
        load->is_out_of_memory = true;
    for (size_t i = 0; i < count; i++) {
        if (!load->is_out_of_memory)
            pv_load_room(&files[i].doc, policy, &rooms[files[i].place]);
        pv_doc_close(&files[i].doc);
    }
    policy->rooms = rooms;
    policy->room_count = count;
}

static void
load_rooms(struct pv_doc *config, struct pv_load *load)
{
    const struct pv_located *value = pv_located_find(config->top, "rooms");
    const char *path = load->snapshot->policy.config.rooms_path;
    struct dirent **entries = NULL;
    int found;

    if (path == NULL || load->is_out_of_memory)
        return;
    found = scandir(path, &entries, is_room_file, compare_entries);
    if (found < 0) {
        pv_load_fault(config, value, "cannot read the folder \"%s\": %s", pv_located_string(value), strerror(errno));
        return;
    }
    if ((unsigned) found > ROOMS_MAX)
        pv_load_fault(config, value, "the folder \"%s\" holds more than %u rooms", pv_located_string(value), ROOMS_MAX);
    else
        read_rooms(config, entries, (size_t) found);
    for (int i = 0; i < found; i++)
        free(entries[i]);
    free(entries);
}

/* ---- the whole ---------------------------------------------------------- */

/* PV_IO when the config itself cannot be read. */
static enum pv_status
load_config(struct pv_load *load, const char *path)
{
    struct pv_policy *policy = &load->snapshot->policy;
    struct pv_doc doc;
    const char *dir = absolute_dir(load->arena, path);
    struct stat found;
    int error = dir == NULL || access(path, R_OK) != 0 || stat(path, &found) != 0 ? errno : 0;

    if (error == ENOMEM)
        return PV_NOMEM;
    if (error == 0 && S_ISDIR(found.st_mode))
        error = EISDIR;
    if (error != 0) {
        pv_faults_add(load->faults, path, 1, 1, false, "cannot read the file: %s", strerror(error));
        return PV_IO;
    }
    policy->config.path = pv_arena_strdup(load->arena, path);
    policy->config.dir = dir;
    if (policy->config.path == NULL)
        return PV_NOMEM;
    if (pv_doc_open(&doc, load, path, dir, path, CONFIG_BYTES_MAX)) {
        pv_load_config(&doc, &policy->config);
        if (pv_located_kind(doc.top) == PV_J_OBJECT && !load->is_out_of_memory) {
            load_users(&doc, load);
            load_rooms(&doc, load);
        }
    }
    pv_doc_close(&doc);
    return PV_OK;
}

enum pv_status
pv_policy_load(const char *path, struct pv_faults *faults, struct pv_policy **policy)
{
    struct pv_load load = {pv_snapshot_new(), NULL, faults, false, false};
    size_t faults_before = pv_faults_count(faults);
    enum pv_status status;

    if (load.snapshot == NULL)
        return PV_NOMEM;
    load.arena = load.snapshot->arena;
    status = load_config(&load, path);
    pv_faults_sort(faults);
    if (status == PV_OK && (load.is_out_of_memory || !pv_faults_complete(faults)))
        status = PV_NOMEM;
    else if (status == PV_OK && pv_faults_count(faults) > faults_before)
        status = PV_INVALID;
    if (status != PV_OK) {
        pv_snapshot_free(load.snapshot);
        return status;
    }
    load.snapshot->policy.generation = atomic_fetch_add(&last_generation, 1) + 1;
    *policy = &load.snapshot->policy;
    return PV_OK;
}
