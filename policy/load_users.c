/* The users' file: INTERFACE 2. */
#include "parser/template.h"
#include "policy/load_int.h"
#include "proxy/crypto/scram.h"

#include <stdlib.h>
#include <string.h>

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
#define DIGITS "0123456789"

static void
set_scram(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_scram_verifier verifier;
    enum pv_status status = pv_scram_verifier_parse(pv_slice_cstr(pv_located_string(value)), &verifier);

    (void) key;
    pv_wipe(&verifier, sizeof(verifier));
    if (status == PV_NOMEM)
        doc->load->is_out_of_memory = true;
    else if (status == PV_LIMIT)
        pv_load_fault(doc, value, "the verifier's iteration count must be between %u and %u", PV_SCRAM_ITERATIONS_MIN,
                      PV_SCRAM_ITERATIONS_MAX);
    else if (status != PV_OK)
        pv_load_fault(doc, value, "this is no SCRAM-SHA-256 verifier, as `pgveil passwd` prints one");
    else
        *(const char **) field = pv_load_strdup(doc, pv_located_string(value));
}

static void
set_require(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_user *user = field;

    (void) key;
    for (size_t i = 0; i < value->child_count; i++) {
        const struct pv_located *item = &value->children[i];

        if (!pv_load_kind(doc, item, PV_J_STRING, NULL))
            continue;
        if (strcmp(pv_located_string(item), "cert") == 0)
            user->is_cert_required = true;
        else if (strcmp(pv_located_string(item), "scram") == 0)
            user->is_scram_required = true;
        else
            pv_load_fault(doc, item, "\"require\" holds \"cert\" and \"scram\", not \"%s\"", pv_located_string(item));
    }
}

static const char *
attribute_text(struct pv_doc *doc, const struct pv_located *value, enum pv_attribute_kind *kind)
{
    if (pv_located_kind(value) == PV_J_STRING) {
        *kind = PV_ATTRIBUTE_TEXT;
        return pv_load_strdup(doc, pv_located_string(value));
    }
    if (pv_located_kind(value) == PV_J_BOOL) {
        *kind = PV_ATTRIBUTE_BOOL;
        return json_is_true(value->json) ? "true" : "false";
    }
    *kind = PV_ATTRIBUTE_NUMBER;
    return pv_load_strndup(doc, (const char *) value->raw.data, value->raw.len);
}

/* As row filters name it: SQL's names know no case. */
static const char *
folded_name(struct pv_doc *doc, const char *key)
{
    char *name = pv_arena_strdup(doc->load->arena, key);

    if (name == NULL) {
        doc->load->is_out_of_memory = true;
        return "";
    }
    pv_template_fold(name);
    return name;
}

#define SCALAR (PV_J_STRING | PV_J_NUMBER | PV_J_BOOL)

static void
read_attribute(struct pv_doc *doc, const struct pv_located *value, struct pv_attribute *attribute)
{
    const struct pv_located *items = value;
    size_t count = 1;
    const char **values;

    attribute->name = folded_name(doc, value->key);
    if (!pv_name_fits(value->key, LETTERS, LETTERS DIGITS, PV_NAME_BYTES_MAX))
        pv_load_fault_key(doc, value, "an attribute's name is made of letters, digits and _, not \"%s\"", value->key);
    if (!pv_load_kind(doc, value, SCALAR | PV_J_ARRAY, NULL))
        return;
    attribute->is_list = pv_located_kind(value) == PV_J_ARRAY;
    if (attribute->is_list) {
        items = value->children;
        count = value->child_count;
    }
    values = pv_load_alloc(doc, count, sizeof(*values));
    attribute->values = values;
    for (size_t i = 0; i < count && values != NULL; i++) {
        enum pv_attribute_kind kind;

        if (!pv_load_kind(doc, &items[i], SCALAR, NULL))
            continue;
        values[attribute->value_count] = attribute_text(doc, &items[i], &kind);
        if (attribute->value_count++ == 0)
            attribute->kind = kind;
        else if (kind != attribute->kind)
            pv_load_fault(doc, &items[i], "the values of \"%s\" must be of one type", value->key);
    }
}

static void
set_attributes(struct pv_doc *doc, const struct pv_located *value, void *field, const struct pv_key *key)
{
    struct pv_user *user = field;
    struct pv_attribute *attributes = pv_load_alloc(doc, value->child_count, sizeof(*attributes));

    (void) key;
    if (attributes == NULL)
        return;
    for (size_t i = 0; i < value->child_count; i++) {
        read_attribute(doc, &value->children[i], &attributes[i]);
        for (size_t k = 0; k < i; k++)
            if (strcmp(attributes[k].name, attributes[i].name) == 0)
                pv_load_fault_key(doc, &value->children[i], "attributes \"%s\" and \"%s\" differ in letter case only",
                                  value->children[k].key, value->children[i].key);
    }
    user->attributes = attributes;
    user->attribute_count = value->child_count;
}

static void
check_user(struct pv_doc *doc, const struct pv_located *value, const struct pv_user *user)
{
    const struct pv_located *require = pv_located_find(value, "require");
    const struct pv_located *cert = pv_located_find(value, "cert_cn");
    bool has_scram = pv_located_find(value, "scram") != NULL;
    const struct pv_config *config = &doc->load->snapshot->policy.config;

    if (!has_scram && cert == NULL && config->tokens == NULL)
        pv_load_fault(doc, value, "a user needs \"scram\" or \"cert_cn\" to log in");
    if (user->is_cert_required && cert == NULL)
        pv_load_fault(doc, require, "\"cert\" is required, but there is no \"cert_cn\"");
    if (user->is_scram_required && !has_scram)
        pv_load_fault(doc, require, "\"scram\" is required, but there is no \"scram\"");
    if (cert != NULL && config->tls_client_ca == NULL)
        pv_load_warning(doc, cert, "no certificate can log in: the config has no \"client_ca\" in \"tls\"");
}

static void
read_user(struct pv_doc *doc, const struct pv_located *value, struct pv_user *user)
{
    static const struct pv_key keys[] = {
        {"scram", PV_J_STRING, false, set_scram, offsetof(struct pv_user, scram), 0, 0, NULL},
        {"cert_cn", PV_J_STRING, false, pv_set_name, offsetof(struct pv_user, cert_cn), 0, 255, NULL},
        {"require", PV_J_ARRAY, false, set_require, 0, 0, 0, NULL},
        {"attributes", PV_J_OBJECT, false, set_attributes, 0, 0, 0, NULL},
    };
    size_t len = strlen(value->key);

    user->name = pv_load_strdup(doc, value->key);
    if (len == 0 || len > PV_NAME_BYTES_MAX)
        pv_load_fault_key(doc, value, "a user's name is 1 to %u bytes long", PV_NAME_BYTES_MAX);
    if (strncmp(value->key, PV_MEMBER_ROLE_PREFIX, strlen(PV_MEMBER_ROLE_PREFIX)) == 0)
        pv_load_fault_key(doc, value, "a user's name must not begin with \"" PV_MEMBER_ROLE_PREFIX "\"");
    for (size_t i = 0; i < len; i++) {
        if ((uint8_t) value->key[i] < 0x20 || value->key[i] == 0x7F) {
            pv_load_fault_key(doc, value, "a user's name must not hold control characters");
            break;
        }
    }
    if (pv_load_object(doc, value, keys, PV_COUNT_OF(keys), user))
        check_user(doc, value, user);
}

static int
compare_users(const void *a, const void *b)
{
    return strcmp(((const struct pv_user *) a)->name, ((const struct pv_user *) b)->name);
}

void
pv_load_users(struct pv_doc *doc, struct pv_policy *policy)
{
    struct pv_user *users;

    if (!pv_load_kind(doc, doc->top, PV_J_OBJECT, NULL))
        return;
    users = pv_load_alloc(doc, doc->top->child_count, sizeof(*users));
    if (users == NULL)
        return;
    for (size_t i = 0; i < doc->top->child_count; i++)
        read_user(doc, &doc->top->children[i], &users[i]);
    if (doc->load->is_out_of_memory)
        return;
    if (doc->top->child_count > 0)
        qsort(users, doc->top->child_count, sizeof(*users), compare_users);
    policy->users = users;
    policy->user_count = doc->top->child_count;
    doc->load->has_users = true;
}
