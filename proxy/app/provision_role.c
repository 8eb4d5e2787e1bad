/* The two roles of a room and the secrets in its private table. */
#include "proxy/app/provision.h"

#include "parser/sqltext.h"
#include "proxy/crypto/mac.h"
#include "proxy/crypto/scram.h"

#include <stdio.h>
#include <string.h>

#define FINGERPRINT_HEX 16u

/* A few digits that change when a secret does and tell nothing of it. */
static enum pv_status
fingerprint(struct pv_slice secret, char hex[FINGERPRINT_HEX + 1])
{
    uint8_t mac[PV_SHA256_BYTES];
    enum pv_status status = pv_hmac_sha256(secret, pv_slice_cstr("pgveil fingerprint"), mac);

    if (status != PV_OK)
        return status;
    for (size_t i = 0; i < FINGERPRINT_HEX / 2; i++)
        (void) snprintf(hex + 2 * i, 3, "%02x", (unsigned) mac[i]);
    return PV_OK;
}

/* A secret of the store. Without a store, or under --plan where it is missing yet: PV_NOTFOUND. */
static enum pv_status
stored_secret(struct pv_provision *p, const char *scope, const char *name, bool as_hex, struct pv_buf *out)
{
    enum pv_status status;

    if (p->store == NULL)
        return PV_NOTFOUND;
    if (p->is_plan)
        status = pv_store_secret_get(p->store, scope, name, out);
    else
        status = pv_store_secret_ensure(p->store, scope, name, PV_SECRET_BYTES, as_hex, out);
    if (status != PV_OK && status != PV_NOTFOUND)
        return pv_provision_fail(p, status, "room %s: cannot read a secret from the state: %s", p->room->name,
                                 pv_status_words(status));
    return status;
}

/* ---- roles ---- */

struct role_facts {
    bool is_there;
    const char *comment;
};

static enum pv_status
find_role(struct pv_provision *p, const char *name, struct role_facts *facts)
{
    static const char sql[] =
        "SELECT shobj_description(oid, 'pg_authid'), rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR "
        "rolbypassrls OR EXISTS (SELECT 1 FROM pg_auth_members m WHERE m.member = r.oid) FROM pg_roles r WHERE rolname = $1";
    const char *values[] = {name};
    PGresult *rows = pv_provision_query(p, sql, 1, values);
    struct pv_buf mine = {0};
    const char *prefix;
    enum pv_status status = PV_OK;

    if (rows == NULL)
        return PV_IO;
    facts->is_there = PQntuples(rows) == 1;
    if (!facts->is_there)
        goto done;
    facts->comment = pv_provision_text(p, rows, 0, 0);
    pv_buf_printf(&mine, "pgveil room \"%s\" in database \"%s\" ", p->room->name, p->database);
    prefix = pv_buf_text(&mine);
    if (prefix == NULL)
        status = pv_provision_fail(p, PV_NOMEM, "out of memory");
    else if (facts->comment == NULL || strncmp(facts->comment, prefix, strlen(prefix)) != 0)
        status = pv_provision_fail(p, PV_DENIED,
                                   "room %s: role \"%s\" exists and was not made by pgveil for this room in this "
                                   "database; nothing was changed",
                                   p->room->name, name);
    else if (strcmp(PQgetvalue(rows, 0, 1), "t") == 0)
        status = pv_provision_fail(p, PV_DENIED,
                                   "room %s: role \"%s\" has been given attributes or memberships that it must not "
                                   "have; nothing was changed",
                                   p->room->name, name);
done:
    pv_buf_clear(&mine);
    PQclear(rows);
    return status;
}

static enum pv_status
role_comment(struct pv_provision *p, const char *role, const char *mark, const struct role_facts *facts, bool *is_same)
{
    struct pv_buf text = {0};
    struct pv_buf sql = {0};
    const char *comment;
    enum pv_status status = PV_OK;

    pv_buf_printf(&text, "pgveil room \"%s\" in database \"%s\" %s", p->room->name, p->database, mark);
    comment = pv_buf_text(&text);
    if (comment == NULL) {
        status = pv_provision_fail(p, PV_NOMEM, "out of memory");
    } else {
        *is_same = facts->is_there && strcmp(facts->comment, comment) == 0;
        if (!*is_same) {
            pv_buf_put_text(&sql, "COMMENT ON ROLE ");
            pv_sql_quote_identifier(&sql, role);
            pv_buf_put_text(&sql, " IS ");
            pv_sql_quote_literal(&sql, comment);
            status = pv_provision_step(p, false, &sql, NULL);
        }
    }
    pv_buf_clear(&text);
    return status;
}

static enum pv_status
owner_role(struct pv_provision *p)
{
    struct role_facts facts = {0};
    struct pv_buf sql = {0};
    enum pv_status status = find_role(p, p->owner, &facts);
    bool is_same;

    if (status != PV_OK)
        return status;
    if (!facts.is_there) {
        pv_buf_put_text(&sql, "CREATE ROLE ");
        pv_sql_quote_identifier(&sql, p->owner);
        pv_buf_put_text(&sql, " NOLOGIN NOINHERIT");
        status = pv_provision_step(p, false, &sql, NULL);
        if (status != PV_OK)
            return status;
    }
    return role_comment(p, p->owner, "owner", &facts, &is_same);
}

/* `CREATE|ALTER ROLE login ... PASSWORD 'verifier'`. */
static enum pv_status
login_password(struct pv_provision *p, struct pv_slice password, bool is_there)
{
    struct pv_scram_verifier verifier = {0};
    struct pv_buf text = {0}, sql = {0}, shown = {0};
    uint8_t salt[PV_SCRAM_SALT_BYTES];
    enum pv_status status = PV_OK;

    if (password.len > 0) {
        status = pv_random_bytes(salt, sizeof(salt));
        if (status == PV_OK)
            status = pv_scram_verifier_make(password, PV_SCRAM_ITERATIONS_MIN, pv_slice_of(salt, sizeof(salt)), &verifier);
        if (status == PV_OK)
            status = pv_scram_verifier_format(&verifier, &text);
    }
    if (status != PV_OK || pv_buf_text(&text) == NULL) {
        status = pv_provision_fail(p, status == PV_OK ? PV_NOMEM : status, "room %s: cannot make a password verifier",
                                   p->room->name);
    } else {
        pv_buf_put_text(&sql, is_there ? "ALTER ROLE " : "CREATE ROLE ");
        pv_sql_quote_identifier(&sql, p->login);
        pv_buf_put_text(&sql, " LOGIN NOINHERIT CONNECTION LIMIT -1 PASSWORD ");
        pv_buf_put_slice(&shown, pv_buf_slice(&sql));
        pv_buf_put_text(&shown, "'***'");
        pv_sql_quote_literal(&sql, pv_buf_text(&text));
        status = pv_provision_step(p, false, &sql, &shown);
    }
    pv_buf_wipe(&text);
    pv_wipe(&verifier, sizeof(verifier));
    return status;
}

/* What holds for the login role whoever connects as it, whatever the startup packet leaves out. */
static enum pv_status
login_settings(struct pv_provision *p)
{
    static const char *const settings[] = {"default_transaction_read_only = on", "standard_conforming_strings = on",
                                           "row_security = on", NULL};
    struct pv_buf sql = {0};
    enum pv_status status = PV_OK;

    for (size_t i = 0; status == PV_OK; i++) {
        pv_buf_put_text(&sql, "ALTER ROLE ");
        pv_sql_quote_identifier(&sql, p->login);
        pv_buf_put_text(&sql, " SET ");
        if (settings[i] == NULL) {
            pv_buf_put_text(&sql, "search_path = ");
            pv_views_search_path(p->room, &sql);
            return pv_provision_step(p, false, &sql, NULL);
        }
        pv_buf_put_text(&sql, settings[i]);
        status = pv_provision_step(p, false, &sql, NULL);
    }
    return status;
}

/* A mark of all that the login role is made of: password, settings. */
static enum pv_status
login_mark(struct pv_provision *p, struct pv_slice password, char mark[FINGERPRINT_HEX + 1])
{
    struct pv_buf text = {0};
    enum pv_status status;

    pv_buf_put_text(&text, "1\n");
    pv_buf_put_slice(&text, password);
    pv_buf_put_text(&text, "\n");
    pv_views_search_path(p->room, &text);
    status = pv_buf_ok(&text) ? fingerprint(pv_buf_slice(&text), mark) : PV_NOMEM;
    pv_buf_wipe(&text);
    return status == PV_OK ? PV_OK : pv_provision_fail(p, status, "%s", pv_status_words(status));
}

static enum pv_status
login_connect(struct pv_provision *p)
{
    const char *values[] = {p->login};
    PGresult *rows = pv_provision_query(p,
                                        "SELECT has_database_privilege('public', current_database(), 'CONNECT') OR "
                                        "coalesce((SELECT has_database_privilege(oid, current_database(), 'CONNECT') FROM "
                                        "pg_roles WHERE rolname = $1), false)",
                                        1, values);
    struct pv_buf sql = {0};
    bool is_held;

    if (rows == NULL)
        return PV_IO;
    is_held = strcmp(PQgetvalue(rows, 0, 0), "t") == 0;
    PQclear(rows);
    if (is_held)
        return PV_OK;
    pv_buf_put_text(&sql, "GRANT CONNECT ON DATABASE ");
    pv_sql_quote_identifier(&sql, p->database);
    pv_buf_put_text(&sql, " TO ");
    pv_sql_quote_identifier(&sql, p->login);
    return pv_provision_step(p, false, &sql, NULL);
}

static enum pv_status
login_role(struct pv_provision *p)
{
    struct role_facts facts = {0};
    struct pv_buf password = {0};
    char mark[FINGERPRINT_HEX + 1] = "";
    bool is_same = false;
    enum pv_status status = find_role(p, p->login, &facts);

    if (status != PV_OK)
        return status;
    status = stored_secret(p, p->room->name, PV_SECRET_PASSWORD, true, &password);
    if (status == PV_NOTFOUND)
        status = PV_OK;
    if (status == PV_OK)
        status = login_mark(p, pv_buf_slice(&password), mark);
    if (status == PV_OK) {
        const char *tail = facts.comment != NULL ? strrchr(facts.comment, ' ') : NULL;

        is_same = tail != NULL && strcmp(tail + 1, mark) == 0;
        if (!is_same)
            status = login_password(p, pv_buf_slice(&password), facts.is_there);
        if (status == PV_OK && !is_same)
            status = login_settings(p);
    }
    if (status == PV_OK)
        status = role_comment(p, p->login, mark, &facts, &is_same);
    if (status == PV_OK)
        status = login_connect(p);
    pv_buf_wipe(&password);
    return status;
}

enum pv_status
pv_provision_roles(struct pv_provision *p)
{
    enum pv_status status = owner_role(p);

    return status == PV_OK ? login_role(p) : status;
}

enum pv_status
pv_provision_drop_roles(struct pv_provision *p)
{
    const char *const roles[] = {p->login, p->owner};
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < PV_COUNT_OF(roles) && status == PV_OK; i++) {
        struct role_facts facts = {0};
        const char *values[] = {roles[i]};
        struct pv_buf sql = {0};
        PGresult *rows;

        status = find_role(p, roles[i], &facts);
        if (status != PV_OK || !facts.is_there)
            continue;
        rows = pv_provision_query(p,
                                  "SELECT 1 FROM pg_database d, aclexplode(d.datacl) x WHERE d.datname = current_database() "
                                  "AND x.grantee = (SELECT oid FROM pg_roles WHERE rolname = $1)",
                                  1, values);
        if (rows == NULL)
            return PV_IO;
        if (PQntuples(rows) > 0) {
            pv_buf_put_text(&sql, "REVOKE ALL ON DATABASE ");
            pv_sql_quote_identifier(&sql, p->database);
            pv_buf_put_text(&sql, " FROM ");
            pv_sql_quote_identifier(&sql, roles[i]);
            status = pv_provision_step(p, false, &sql, NULL);
        }
        PQclear(rows);
        if (status != PV_OK)
            break;
        pv_buf_put_text(&sql, "DROP ROLE ");
        pv_sql_quote_identifier(&sql, roles[i]);
        status = pv_provision_step(p, false, &sql, NULL);
    }
    return status;
}

/* ---- secrets ---- */

/* 64 hex digits, white space after them. */
static enum pv_status
secret_from_file(struct pv_provision *p, struct pv_buf *out)
{
    char text[256];
    size_t len = 0;
    FILE *file = fopen(p->room->secret_file, "re");
    enum pv_status status;

    if (file != NULL) {
        setvbuf(file, NULL, _IONBF, 0);
        len = fread(text, 1, sizeof(text), file);
        (void) fclose(file);
    }
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
        len--;
    status = len == 2 * PV_SECRET_BYTES ? pv_hex_decode(pv_slice_of(text, len), out) : PV_INVALID;
    pv_wipe(text, sizeof(text));
    if (status == PV_OK)
        return PV_OK;
    return pv_provision_fail(p, status, "room %s: secret_file cannot be read, or does not hold 64 hex digits",
                             p->room->name);
}

struct key {
    const char *label;
    struct pv_buf bytes; /* empty: not made yet (--plan) */
};

/* The room's hash key, its identity key, and each key shared by name that a mask uses, once. */
static enum pv_status
gather_keys(struct pv_provision *p, struct key *keys, size_t *count)
{
    enum pv_status status;

    keys[0].label = PV_KEY_LABEL_HASH;
    keys[1].label = PV_KEY_LABEL_IDENTITY;
    *count = 2;
    status = p->room->secret_file != NULL ? secret_from_file(p, &keys[0].bytes)
                                          : stored_secret(p, p->room->name, PV_SECRET_HASH, false, &keys[0].bytes);
    if (status == PV_OK || status == PV_NOTFOUND)
        status = stored_secret(p, p->room->name, PV_SECRET_IDENTITY, false, &keys[1].bytes);
    for (size_t d = 0; d < p->room->dataset_count; d++) {
        const struct pv_dataset *dataset = &p->room->datasets[d];

        for (size_t c = 0; c < dataset->column_count && (status == PV_OK || status == PV_NOTFOUND); c++) {
            const char *name = dataset->columns[c].mask.key_name;
            const char *label;
            bool is_known = false;

            if (name == NULL || pv_column_mask_kind(&dataset->columns[c]) != PV_MASK_HASH)
                continue;
            label = pv_arena_printf(p->arena, PV_KEY_LABEL_SHARED "%s", name);
            if (label == NULL)
                return pv_provision_fail(p, PV_NOMEM, "out of memory");
            for (size_t k = 0; k < *count && !is_known; k++)
                is_known = strcmp(keys[k].label, label) == 0;
            if (is_known)
                continue;
            keys[*count].label = label;
            status = stored_secret(p, PV_SECRET_SHARED_SCOPE, name, false, &keys[(*count)++].bytes);
        }
    }
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* `hash=0123… identity=…`: the comment on the private table's key column. */
static const char *
keys_mark(struct pv_provision *p, const struct key *keys, size_t count)
{
    struct pv_buf mark = {0};
    const char *copy = NULL;

    for (size_t i = 0; i < count; i++) {
        char hex[FINGERPRINT_HEX + 1];

        if (fingerprint(pv_buf_slice(&keys[i].bytes), hex) != PV_OK) {
            pv_buf_clear(&mark);
            return NULL;
        }
        pv_buf_printf(&mark, "%s%s=%s", i == 0 ? "" : " ", keys[i].label, hex);
    }
    if (pv_buf_text(&mark) != NULL)
        copy = pv_arena_strdup(p->arena, pv_buf_text(&mark));
    pv_buf_clear(&mark);
    return copy;
}

static enum pv_status
put_keys(struct pv_provision *p, const struct key *keys, size_t count, const char *schema, const char *mark)
{
    struct pv_buf sql = {0}, shown = {0};
    enum pv_status status;

    pv_buf_put_text(&sql, "DELETE FROM ");
    pv_sql_quote_qualified(&sql, schema, "secret");
    status = pv_provision_step(p, true, &sql, NULL);
    for (size_t i = 0; i < count && status == PV_OK; i++) {
        pv_views_secret_sql(&sql, p->room->name, keys[i].label, pv_buf_slice(&keys[i].bytes), false);
        pv_views_secret_sql(&shown, p->room->name, keys[i].label, pv_buf_slice(&keys[i].bytes), true);
        status = pv_provision_step(p, true, &sql, &shown);
    }
    if (status != PV_OK)
        return status;
    pv_buf_put_text(&sql, "COMMENT ON COLUMN ");
    pv_sql_quote_qualified(&sql, schema, "secret");
    pv_buf_put_text(&sql, ".key IS ");
    pv_sql_quote_literal(&sql, mark);
    return pv_provision_step(p, true, &sql, NULL);
}

enum pv_status
pv_provision_secrets(struct pv_provision *p)
{
    char schema[PV_VIEWS_NAME_SIZE];
    const char *values[] = {schema};
    size_t count = 0, most = 2;
    struct key *keys;
    PGresult *rows = NULL;
    const char *mark = NULL;
    enum pv_status status;

    pv_views_private_schema(p->room->name, schema);
    for (size_t d = 0; d < p->room->dataset_count; d++)
        most += p->room->datasets[d].column_count;
    keys = pv_arena_alloc(p->arena, most * sizeof(*keys));
    if (keys == NULL)
        return pv_provision_fail(p, PV_NOMEM, "out of memory");
    status = gather_keys(p, keys, &count);
    if (status != PV_OK)
        goto done;
    mark = keys_mark(p, keys, count);
    if (mark == NULL) {
        status = pv_provision_fail(p, PV_NOMEM, "out of memory");
        goto done;
    }
    rows = pv_provision_query(p,
                              "SELECT col_description(c.oid, 2) FROM pg_class c JOIN pg_namespace n ON n.oid = "
                              "c.relnamespace WHERE n.nspname = $1 AND c.relname = 'secret' AND c.relkind = 'r'",
                              1, values);
    if (rows == NULL)
        status = PV_IO;
    else if (PQntuples(rows) == 0 || strcmp(PQgetvalue(rows, 0, 0), mark) != 0)
        status = put_keys(p, keys, count, schema, mark);
done:
    PQclear(rows);
    for (size_t i = 0; i < count; i++)
        pv_buf_wipe(&keys[i].bytes);
    return status;
}
