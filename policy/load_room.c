/*
 * A room's file: INTERFACE 3. Beyond the keys shown there: `timezone` (of truncate_date over timestamptz, default UTC), `secret_file`,
 * `trusted_services` (users who may name an end user), `approvals` (what questions without their own need).
 */
#include "policy/load_int.h"
#include "policy/param_int.h"
#include "proxy/crypto/sign.h"

#include <errno.h>
#include <string.h>

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
/* A role's name in the database is made from the room's, and is at most 63 bytes long. */
#define ROOM_BYTES_MAX 40u
/* A PEM file of one Ed25519 key has about 120. */
#define PUBLIC_KEY_BYTES_MAX 65536u
/* Microseconds from 1970-01-01 to 2000-01-01. */
#define EPOCH_US INT64_C(946684800000000)

bool
pv_room_has_party(const struct pv_room *room, const char *name)
{
    for (size_t i = 0; i < room->party_count; i++)
        if (strcmp(room->parties[i].name, name) == 0)
            return true;
    return false;
}

void
pv_load_party_names(struct pv_doc *doc, const struct pv_room *room, const struct pv_located *value,
                    struct pv_names *names)
{
    pv_set_names(doc, value, names, NULL);
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];

        if (pv_located_kind(item) == PV_J_STRING && !pv_room_has_party(room, pv_located_string(item)))
            pv_load_fault(doc, item, "the room has no party \"%s\"", pv_located_string(item));
    }
}

static bool
room_has_role(const struct pv_room *room, const char *role)
{
    for (size_t i = 0; i < room->member_count; i++)
        if (pv_member_has_role(&room->members[i], role))
            return true;
    return false;
}

static void
check_member(struct pv_doc *doc, const struct pv_located *item, const struct pv_room *room)
{
    const char *text = pv_located_string(item);

    if (strncmp(text, "role:", 5) == 0 && text[5] != '\0') {
        if (!room_has_role(room, text + 5))
            pv_load_warning(doc, item, "no member of the room has the role \"%s\"", text + 5);
    } else if (strncmp(text, "party:", 6) == 0) {
        if (!pv_room_has_party(room, text + 6))
            pv_load_fault(doc, item, "the room has no party \"%s\"", text + 6);
    } else if (strncmp(text, "user:", 5) == 0) {
        if (pv_room_member(room, text + 5) == NULL)
            pv_load_fault(doc, item, "the room has no member \"%s\"", text + 5);
    } else {
        pv_load_fault(doc, item, "must be role:R, party:P or user:U, not \"%s\"", text);
    }
}

void
pv_load_member_entries(struct pv_doc *doc, const struct pv_room *room, const struct pv_located *value,
                       struct pv_names *entries)
{
    pv_set_names(doc, value, entries, NULL);
    for (size_t i = 0; i < value->child_count; i++)
        if (pv_located_kind(&value->children[i]) == PV_J_STRING)
            check_member(doc, &value->children[i], room);
}

/* ---- scalars ------------------------------------------------------------ */

static void
set_room_name(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    const char *name = pv_located_string(value);

    if (!pv_name_fits(name, ALNUM "_", ALNUM "_-", ROOM_BYTES_MAX))
        pv_load_fault(doc, value,
                      "a room's name is 1 to %u letters, digits, _ and -, and does not begin with -, not \"%s\"",
                      ROOM_BYTES_MAX, name);
    else if (strcmp(name, "pgveil") == 0)
        pv_load_fault(doc, value, "a room cannot be named \"pgveil\", which is the auditors' database");
    pv_set_string(doc, value, field, key);
}

static void
set_upstream(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    const struct pv_config *config = &doc->load->snapshot->policy.config;

    (void) key;
    for (size_t i = 0; i < config->upstream_count; i++) {
        if (strcmp(config->upstreams[i].name, pv_located_string(value)) == 0) {
            *(const struct pv_upstream **) field = &config->upstreams[i];
            return;
        }
    }
    pv_load_fault(doc, value, "the config has no upstream \"%s\"", pv_located_string(value));
}

static void
set_expires(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_room *room = field;
    const char *text = pv_located_string(value);
    int64_t moment;

    /* Of the forms that PostgreSQL takes, RFC 3339 is the one with T (or t) and a zone without a space. */
    if (strlen(text) < 20 || (text[10] != 'T' && text[10] != 't') || strchr(text, ' ') != NULL || text[16] != ':' ||
        pv_time_parse(PV_KIND_TIMESTAMPTZ, text, &moment) != PV_OK || strlen(strpbrk(text + 10, "Zz+-")) % 5 != 1) {
        pv_load_fault(doc, value, "\"expires\" must be a time as RFC 3339 writes it, such as \"2027-01-01T00:00:00Z\"");
        return;
    }
    room->has_expiry = true;
    room->expires_us = moment + EPOCH_US;
    pv_set_string(doc, value, &room->expires, key);
}

static void
set_timezone(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    if (!pv_name_fits(pv_located_string(value), ALNUM, ALNUM "_+-/", PV_NAME_BYTES_MAX))
        pv_load_fault(doc, value, "\"timezone\" must be a time zone's name such as \"Europe/Madrid\", not \"%s\"",
                      pv_located_string(value));
    else
        pv_set_string(doc, value, field, key);
}

/* ---- parties and members ------------------------------------------------ */

/* The key is read with the room, so that it changes when the room is loaded again and not before. */
static void
set_public_key(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_party *party = field;
    struct pv_sign_key *public_key = NULL;
    struct pv_slice pem = {NULL, 0};
    enum pv_status status;
    int error;

    pv_set_file(doc, value, &party->public_key_path, key);
    if (party->public_key_path == NULL || party->public_key_path[0] == '\0' || doc->load->is_out_of_memory)
        return;
    error = pv_file_read(doc->load->arena, party->public_key_path, PUBLIC_KEY_BYTES_MAX, &pem);
    if (error == ENOMEM) {
        doc->load->is_out_of_memory = true;
        return;
    }
    /* A file that cannot be opened was said by pv_set_file. */
    if (error != 0 && error != EFBIG)
        return;
    status = error == EFBIG ? PV_INVALID : pv_sign_public_parse(pem, &public_key);
    if (status == PV_NOMEM)
        doc->load->is_out_of_memory = true;
    else if (status != PV_OK)
        pv_load_fault(doc, value, "\"%s\" holds no Ed25519 public key in PEM", pv_located_string(value));
    else
        party->public_key = (const char *) pem.data;
    pv_sign_key_free(public_key);
}

static void
load_parties(struct pv_doc *doc, struct pv_room *room, const struct pv_located *value)
{
    static const struct pv_key keys[] = {
        {"public_key", PV_J_STRING, false, set_public_key, 0, 0, 0, NULL},
    };
    struct pv_party *parties = pv_load_alloc(doc, value->child_count, sizeof(*parties));

    if (parties == NULL)
        return;
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];

        parties[i].name = pv_load_strdup(doc, item->key);
        if (!pv_name_fits(item->key, ALNUM "_", ALNUM "_-", PV_NAME_BYTES_MAX))
            pv_load_fault_key(doc, item, "a party's name is made of letters, digits, _ and -, not \"%s\"", item->key);
        (void) pv_load_object(doc, item, keys, PV_COUNT_OF(keys), &parties[i]);
    }
    room->parties = parties;
    room->party_count = value->child_count;
}

/* A member while it is read. */
struct member_load {
    struct pv_member *member;
    const struct pv_room *room;
};

static void
set_party(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct member_load *load = field;

    if (!pv_room_has_party(load->room, pv_located_string(value)))
        pv_load_fault(doc, value, "the room has no party \"%s\"", pv_located_string(value));
    pv_set_string(doc, value, &load->member->party, key);
}

static void
set_roles(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_member *member = ((struct member_load *) field)->member;
    struct pv_names roles = {NULL, 0};

    pv_set_names(doc, value, &roles, key);
    member->roles = roles.names;
    member->role_count = roles.count;
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];

        if (pv_located_kind(item) == PV_J_STRING &&
            !pv_name_fits(pv_located_string(item), ALNUM "_", ALNUM "_-", PV_NAME_BYTES_MAX))
            pv_load_fault(doc, item, "a role's name is made of letters, digits, _ and -, not \"%s\"",
                          pv_located_string(item));
    }
}

static void
say_unknown_user(struct pv_doc *doc, const struct pv_located *item)
{
    const char *role = item->key + strlen(PV_MEMBER_ROLE_PREFIX);

    if (strncmp(item->key, PV_MEMBER_ROLE_PREFIX, strlen(PV_MEMBER_ROLE_PREFIX)) == 0) {
        if (*role == '\0' || strlen(role) > PV_NAME_BYTES_MAX)
            pv_load_fault_key(doc, item, "\"" PV_MEMBER_ROLE_PREFIX "\" is followed by a role of 1 to %u bytes",
                              PV_NAME_BYTES_MAX);
        if (doc->load->snapshot->policy.config.tokens == NULL)
            pv_faults_add(doc->load->faults, doc->file, item->key_line, item->key_column, true,
                          "\"%s\" admits nobody: the config has no \"tokens\"", item->key);
        return;
    }
    /* Whom only the issuer knows may log in by token. */
    if (doc->load->snapshot->policy.config.tokens == NULL && doc->load->has_users &&
        pv_policy_user(&doc->load->snapshot->policy, pv_slice_cstr(item->key)) == NULL)
        pv_faults_add(doc->load->faults, doc->file, item->key_line, item->key_column, true,
                      "the users' file has no user \"%s\"", item->key);
}

static void
load_members(struct pv_doc *doc, struct pv_room *room, const struct pv_located *value)
{
    static const struct pv_key keys[] = {
        {"party", PV_J_STRING, true, set_party, 0, 0, 0, NULL},
        {"roles", PV_J_ARRAY, false, set_roles, 0, 0, 0, NULL},
    };
    struct pv_member *members = pv_load_alloc(doc, value->child_count, sizeof(*members));

    if (members == NULL)
        return;
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];
        struct member_load load = {&members[i], room};

        members[i].user = pv_load_strdup(doc, item->key);
        say_unknown_user(doc, item);
        (void) pv_load_object(doc, item, keys, PV_COUNT_OF(keys), &load);
    }
    room->members = members;
    room->member_count = value->child_count;
}

static void
check_services(struct pv_doc *doc, const struct pv_room *room, const struct pv_located *value)
{
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];

        if (pv_located_kind(item) == PV_J_STRING && pv_room_member(room, pv_located_string(item)) == NULL)
            pv_load_fault(doc, item, "\"%s\" is no member of the room", pv_located_string(item));
    }
}

static void
set_approvals(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_room *room = field;

    (void) key;
    room->has_approvals = true;
    if (pv_located_kind(value) == PV_J_ARRAY)
        return; /* the parties that it names come first */
    room->is_approved_by_owners = strcmp(pv_located_string(value), "owners") == 0;
    if (!room->is_approved_by_owners)
        pv_load_fault(doc, value, "\"approvals\" must be an array of parties or \"owners\", not \"%s\"",
                      pv_located_string(value));
}

/* ---- the whole ---------------------------------------------------------- */

/* The member of that key when it is of that kind; a wrong kind was said before. */
static const struct pv_located *
find_kind(const struct pv_located *object, const char *key, unsigned kind)
{
    const struct pv_located *found = pv_located_find(object, key);

    return found != NULL && pv_located_kind(found) == kind ? found : NULL;
}

void
pv_load_room(struct pv_doc *doc, const struct pv_policy *policy, struct pv_room *room)
{
    static const struct pv_key keys[] = {
        {"room", PV_J_STRING, true, set_room_name, offsetof(struct pv_room, name), 0, 0, NULL},
        {"title", PV_J_STRING, false, pv_set_string, offsetof(struct pv_room, title), 0, 0, NULL},
        {"upstream", PV_J_STRING, true, set_upstream, offsetof(struct pv_room, upstream), 0, 0, NULL},
        {"expires", PV_J_STRING, false, set_expires, 0, 0, 0, NULL},
        {"timezone", PV_J_STRING, false, set_timezone, offsetof(struct pv_room, timezone), 0, 0, NULL},
        {"secret_file", PV_J_STRING, false, pv_set_secret_file, offsetof(struct pv_room, secret_file), 0, 0, NULL},
        {"trusted_services", PV_J_ARRAY, false, pv_set_names, offsetof(struct pv_room, trusted_services), 0, 0, NULL},
        {"embedded_questions", PV_J_BOOL, false, pv_set_bool, offsetof(struct pv_room, is_embedding), 0, 0, NULL},
        {"parties", PV_J_OBJECT, false, NULL, 0, 0, 0, NULL},
        {"members", PV_J_OBJECT, true, NULL, 0, 0, 0, NULL},
        {"datasets", PV_J_OBJECT, true, NULL, 0, 0, 0, NULL},
        {"questions", PV_J_OBJECT, false, NULL, 0, 0, 0, NULL},
        {"approvals", PV_J_ARRAY | PV_J_STRING, false, set_approvals, 0, 0, 0, NULL},
    };
    struct pv_room_load load = {room, false, false, policy};
    size_t fault_count = pv_faults_count(doc->load->faults);
    const struct pv_located *top = doc->top;
    const struct pv_located *found;

    room->file = pv_load_strdup(doc, doc->file);
    room->timezone = "UTC";
    if (!pv_load_object(doc, top, keys, PV_COUNT_OF(keys), room))
        return;
    if (room->name == NULL)
        room->name = room->file; /* what is made for a question bears the room's name, and its faults are to be found too */
    /* In this order, whatever that of the file: each part names things of those before it. */
    if ((found = find_kind(top, "parties", PV_J_OBJECT)) != NULL)
        load_parties(doc, room, found);
    if ((found = find_kind(top, "members", PV_J_OBJECT)) != NULL)
        load_members(doc, room, found);
    if ((found = find_kind(top, "trusted_services", PV_J_ARRAY)) != NULL)
        check_services(doc, room, found);
    if ((found = find_kind(top, "approvals", PV_J_ARRAY)) != NULL)
        pv_load_party_names(doc, room, found, &room->approvals);
    if ((found = find_kind(top, "datasets", PV_J_OBJECT)) != NULL)
        pv_load_datasets(doc, &load, found);
    else
        load.is_incomplete = true;
    if ((found = find_kind(top, "questions", PV_J_OBJECT)) != NULL && !doc->load->is_out_of_memory)
        pv_load_questions(doc, &load, found);
    if (pv_faults_count(doc->load->faults) == fault_count && !doc->load->is_out_of_memory)
        pv_advise_room(doc, room);
}
