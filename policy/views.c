#include "policy/views.h"

#include "parser/sqltext.h"
#include "proxy/base/arena.h"
#include "proxy/crypto/mac.h"
#include "policy/views_int.h"

#include <jansson.h>
#include <string.h>

/* ---- names ---- */

#define TAIL_HEX 16u

static void
join_name(char name[PV_VIEWS_NAME_SIZE], const char *const pieces[4])
{
    struct pv_sha256_state *state = NULL;
    char head[PV_VIEWS_NAME_SIZE];
    uint8_t digest[PV_SHA256_BYTES];
    size_t len = 0, total = 0;
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < 4; i++) {
        size_t piece = strlen(pieces[i]);
        size_t room_left = sizeof(head) - 1 - len;
        size_t take = piece < room_left ? piece : room_left;

        memcpy(head + len, pieces[i], take);
        len += take;
        total += piece;
    }
    head[len] = '\0';
    if (total < PV_VIEWS_NAME_SIZE) {
        memcpy(name, head, len + 1);
        return;
    }
    state = pv_sha256_new();
    pv_assert(state != NULL);
    for (size_t i = 0; i < 4; i++) {
        enum pv_status status = pv_sha256_update(state, pv_slice_cstr(pieces[i]));

        pv_assert(status == PV_OK);
    }
    pv_assert(pv_sha256_finish(state, digest) == PV_OK);
    pv_sha256_free(state);
    /* Cut at a whole character, with room for the tail. */
    len = PV_VIEWS_NAME_SIZE - 1 - TAIL_HEX - 1;
    while (len > 0 && ((uint8_t) head[len] & 0xC0u) == 0x80u)
        len--;
    memcpy(name, head, len);
    name[len++] = '~';
    for (size_t i = 0; i < TAIL_HEX / 2; i++) {
        name[len++] = hex[digest[i] >> 4];
        name[len++] = hex[digest[i] & 15u];
    }
    name[len] = '\0';
}

static void
make_name(char name[PV_VIEWS_NAME_SIZE], const char *room, const char *separator, const char *rest)
{
    const char *const pieces[4] = {"pgveil_", room, separator, rest};

    join_name(name, pieces);
}

void
pv_views_cut_name(const char *head, const char *text, char name[PV_VIEWS_NAME_SIZE])
{
    const char *const pieces[4] = {head, text, "", ""};

    join_name(name, pieces);
}

void
pv_views_login_role(const char *room, char name[PV_VIEWS_NAME_SIZE])
{
    make_name(name, room, "$", "login");
}

void
pv_views_owner_role(const char *room, char name[PV_VIEWS_NAME_SIZE])
{
    make_name(name, room, "$", "owner");
}

void
pv_views_schema(const char *room, const char *published, char name[PV_VIEWS_NAME_SIZE])
{
    make_name(name, room, "$", published);
}

void
pv_views_private_schema(const char *room, char name[PV_VIEWS_NAME_SIZE])
{
    make_name(name, room, "$$", "private");
}

void
pv_views_catalog_schema(const char *room, char name[PV_VIEWS_NAME_SIZE])
{
    make_name(name, room, "$$", "catalog");
}

void
pv_views_relation(const char *room, const struct pv_dataset *dataset, char schema[PV_VIEWS_NAME_SIZE],
                  const char **name)
{
    pv_views_schema(room, dataset->relation.schema, schema);
    *name = dataset->relation.name;
}

/* The i-th published schema in the order of the search path; NULL after the last. */
const char *
pv_views_published_schema(const struct pv_room *room, size_t i)
{
    size_t seen = 0;

    for (size_t d = 0; d < room->dataset_count; d++) {
        if (strcmp(room->datasets[d].relation.schema, "public") == 0) {
            if (seen++ == i)
                return "public";
            break;
        }
    }
    for (size_t d = 0; d < room->dataset_count; d++) {
        const char *schema = room->datasets[d].relation.schema;
        bool is_new = strcmp(schema, "public") != 0 && strcmp(schema, PV_VIEWS_QUESTIONS) != 0;

        for (size_t e = 0; e < d && is_new; e++)
            is_new = strcmp(room->datasets[e].relation.schema, schema) != 0;
        if (is_new && seen++ == i)
            return schema;
    }
    return seen == i ? PV_VIEWS_QUESTIONS : NULL;
}

void
pv_views_search_path(const struct pv_room *room, struct pv_buf *buf)
{
    const char *published;
    char schema[PV_VIEWS_NAME_SIZE];

    pv_buf_put_text(buf, "pg_catalog");
    for (size_t i = 0; (published = pv_views_published_schema(room, i)) != NULL; i++) {
        pv_views_schema(room->name, published, schema);
        pv_buf_put_text(buf, ", ");
        pv_sql_quote_identifier(buf, schema);
    }
}

/* ---- identity ---- */

static json_t *
claims_of(const char *user, const struct pv_attribute *attributes, size_t count)
{
    json_t *values = json_object();
    json_t *claims = json_pack("{s:s}", "u", user);

    for (size_t i = 0; i < count && values != NULL; i++) {
        const struct pv_attribute *attribute = &attributes[i];
        json_t *value = attribute->is_list ? json_array() : json_string(attribute->values[0]);

        for (size_t v = 0; attribute->is_list && v < attribute->value_count; v++) {
            if (json_array_append_new(value, json_string(attribute->values[v])) != 0) {
                json_decref(value);
                value = NULL;
                break;
            }
        }
        if (json_object_set_new(values, attribute->name, value) != 0) {
            json_decref(values);
            values = NULL;
        }
    }
    if (claims == NULL || values == NULL || json_object_set_new(claims, "a", values) != 0) {
        json_decref(claims);
        return NULL;
    }
    return claims;
}

static bool
texts_are_valid(const char *user, const struct pv_attribute *attributes, size_t count)
{
    if (!pv_utf8_valid(pv_slice_cstr(user)))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!pv_utf8_valid(pv_slice_cstr(attributes[i].name)) ||
            (!attributes[i].is_list && attributes[i].value_count != 1))
            return false;
        for (size_t v = 0; v < attributes[i].value_count; v++)
            if (!pv_utf8_valid(pv_slice_cstr(attributes[i].values[v])))
                return false;
    }
    return true;
}

enum pv_status
pv_identity_sql(const struct pv_room *room, const char *user, const struct pv_attribute *attributes,
                size_t attribute_count, uint32_t server_pid, struct pv_slice key, struct pv_buf *out)
{
    struct pv_buf signed_text = {0};
    struct pv_buf hex = {0};
    uint8_t mac[PV_SHA256_BYTES];
    json_t *claims = NULL;
    char *text = NULL;
    enum pv_status status = PV_NOMEM;
    size_t before = pv_buf_len(out);

    (void) room;
    if (key.len != PV_SECRET_BYTES || !texts_are_valid(user, attributes, attribute_count))
        return PV_INVALID;
    claims = claims_of(user, attributes, attribute_count);
    if (claims == NULL)
        goto done;
    text = json_dumps(claims, JSON_COMPACT | JSON_SORT_KEYS);
    if (text == NULL)
        goto done;
    pv_buf_printf(&signed_text, "%u:%s", (unsigned) server_pid, text);
    if (!pv_buf_ok(&signed_text))
        goto done;
    status = pv_hmac_sha256(key, pv_buf_slice(&signed_text), mac);
    if (status != PV_OK)
        goto done;
    status = pv_hex_encode(pv_slice_of(mac, sizeof(mac)), &hex);
    if (status != PV_OK)
        goto done;
    status = PV_NOMEM;
    if (pv_buf_text(&hex) == NULL)
        goto done;
    pv_buf_put_text(out, "SELECT pg_catalog.set_config('" PV_SETTING_IDENTITY "', ");
    pv_sql_quote_literal(out, text);
    pv_buf_put_text(out, ", false), pg_catalog.set_config('" PV_SETTING_IDENTITY_MAC "', ");
    pv_sql_quote_literal(out, pv_buf_text(&hex));
    pv_buf_put_text(out, ", false)");
    if (pv_buf_ok(out))
        status = PV_OK;
    else
        pv_buf_truncate(out, before);
done:
    pv_buf_clear(&signed_text);
    pv_buf_clear(&hex);
    free(text);
    json_decref(claims);
    return status;
}

/* ---- the private schema and the helpers ---- */

void
pv_views_secret_sql(struct pv_buf *buf, const char *room, const char *label, struct pv_slice key, bool is_hidden)
{
    char schema[PV_VIEWS_NAME_SIZE];
    static const uint8_t masks[] = {0x00, 0x36, 0x5C}; /* RFC 2104: the key itself, ipad, opad */

    pv_views_private_schema(room, schema);
    pv_buf_put_text(buf, "INSERT INTO ");
    pv_sql_quote_qualified(buf, schema, "secret");
    pv_buf_put_text(buf, " (name, key, ipad, opad) VALUES (");
    pv_sql_quote_literal(buf, label);
    for (size_t i = 0; i < PV_COUNT_OF(masks); i++) {
        size_t len = masks[i] == 0 ? key.len : 64;

        pv_buf_put_text(buf, ", '\\x");
        for (size_t at = 0; at < len && !is_hidden; at++)
            pv_buf_printf(buf, "%02x", (unsigned) ((at < key.len ? key.data[at] : 0u) ^ masks[i]));
        pv_buf_put_text(buf, is_hidden ? "***'" : "'");
    }
    pv_buf_put_text(buf, ") ON CONFLICT (name) DO UPDATE SET key = excluded.key, ipad = excluded.ipad, "
                         "opad = excluded.opad");
}

/* Completes an object from the SQL in `create`, which is consumed. */
enum pv_status
pv_made_finish(struct pv_arena *arena, struct pv_made *made, struct pv_buf *create)
{
    uint8_t digest[PV_SHA256_BYTES];
    struct pv_buf hex = {0};
    enum pv_status status = PV_NOMEM;

    if (!pv_buf_ok(create))
        goto done;
    made->create = pv_arena_strndup(arena, (const char *) pv_buf_slice(create).data, pv_buf_len(create));
    if (made->create == NULL)
        goto done;
    status = pv_sha256(pv_buf_slice(create), digest);
    if (status == PV_OK)
        status = pv_hex_encode(pv_slice_of(digest, sizeof(digest)), &hex);
    if (status != PV_OK)
        goto done;
    made->mark = pv_arena_strndup(arena, (const char *) pv_buf_slice(&hex).data, pv_buf_len(&hex));
    if (made->mark == NULL)
        status = PV_NOMEM;
done:
    pv_buf_clear(create);
    pv_buf_clear(&hex);
    return status;
}

static enum pv_status
make_schema(struct pv_arena *arena, const char *name, const char *owner, bool is_readable, struct pv_made *made)
{
    struct pv_buf sql = {0};

    made->kind = PV_MADE_SCHEMA;
    made->schema = pv_arena_strdup(arena, name);
    made->is_readable = is_readable;
    if (made->schema == NULL)
        return PV_NOMEM;
    pv_buf_put_text(&sql, "CREATE SCHEMA ");
    pv_sql_quote_identifier(&sql, name);
    pv_buf_put_text(&sql, " AUTHORIZATION ");
    pv_sql_quote_identifier(&sql, owner);
    return pv_made_finish(arena, made, &sql);
}

static void
put_identity_view(struct pv_buf *sql, const struct pv_mask_context *context, const char *schema)
{
    pv_buf_put_text(sql, "CREATE VIEW ");
    pv_sql_quote_qualified(sql, schema, "identity");
    pv_buf_put_text(sql, " WITH (security_barrier) AS SELECT current_setting('" PV_SETTING_IDENTITY
                         "', true)::jsonb AS claims WHERE current_setting('" PV_SETTING_IDENTITY_MAC
                         "', true) = encode(");
    pv_mask_hmac_sql(sql, context, PV_KEY_LABEL_IDENTITY,
                     "convert_to(pg_backend_pid()::text || ':' || current_setting('" PV_SETTING_IDENTITY
                     "', true), 'UTF8')");
    pv_buf_put_text(sql, ", 'hex')");
}

static enum pv_status
make_objects(struct pv_arena *arena, const struct pv_room *room, const struct pv_mask_context *context,
             struct pv_made *list, size_t *count)
{
    char owner[PV_VIEWS_NAME_SIZE], private_schema[PV_VIEWS_NAME_SIZE], catalog[PV_VIEWS_NAME_SIZE];
    char schema[PV_VIEWS_NAME_SIZE];
    const char *published;
    struct pv_made *made = list;
    struct pv_buf sql = {0};
    enum pv_status status;

    pv_views_owner_role(room->name, owner);
    pv_views_private_schema(room->name, private_schema);
    pv_views_catalog_schema(room->name, catalog);
    status = make_schema(arena, private_schema, owner, false, made++);
    if (status == PV_OK)
        status = make_schema(arena, catalog, owner, true, made++);
    for (size_t i = 0; status == PV_OK && (published = pv_views_published_schema(room, i)) != NULL; i++) {
        pv_views_schema(room->name, published, schema);
        status = make_schema(arena, schema, owner, true, made++);
    }
    if (status != PV_OK)
        return status;

    *made = (struct pv_made) {.kind = PV_MADE_TABLE, .schema = list[0].schema, .name = "secret", .layer = 1};
    pv_buf_put_text(&sql, "CREATE TABLE ");
    pv_sql_quote_qualified(&sql, private_schema, "secret");
    pv_buf_put_text(&sql, " (name text PRIMARY KEY, key bytea NOT NULL, ipad bytea NOT NULL, opad bytea NOT NULL)");
    status = pv_made_finish(arena, made++, &sql);
    if (status != PV_OK)
        return status;

    *made = (struct pv_made) {.kind = PV_MADE_VIEW, .schema = list[0].schema, .name = "identity", .layer = 2};
    put_identity_view(&sql, context, private_schema);
    status = pv_made_finish(arena, made++, &sql);
    if (status != PV_OK)
        return status;

    *made = (struct pv_made) {.kind = PV_MADE_FUNCTION, .schema = list[1].schema, .layer = 2, .is_readable = true,
                              .name = PV_VIEWS_SUPPRESSED_FUNCTION, .arguments = ""};
    pv_buf_put_text(&sql, "CREATE FUNCTION ");
    pv_sql_quote_qualified(&sql, catalog, PV_VIEWS_SUPPRESSED_FUNCTION);
    pv_buf_put_text(&sql, "() RETURNS boolean LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, "
                          "pg_temp AS $body$BEGIN RAISE INFO USING MESSAGE = 'pgveil: suppressed', ERRCODE = '"
                          PV_VIEWS_SUPPRESSED_SQLSTATE "'; RETURN false; END$body$");
    status = pv_made_finish(arena, made++, &sql);
    if (status != PV_OK)
        return status;

    *made = (struct pv_made) {.kind = PV_MADE_FUNCTION, .schema = list[1].schema, .layer = 2, .is_readable = true,
                              .name = PV_VIEWS_ROW_GUARD_FUNCTION, .arguments = "bigint"};
    pv_buf_put_text(&sql, "CREATE FUNCTION ");
    pv_sql_quote_qualified(&sql, catalog, PV_VIEWS_ROW_GUARD_FUNCTION);
    pv_buf_put_text(&sql, "(bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = "
                          "pg_catalog, pg_temp AS $body$BEGIN RAISE EXCEPTION USING MESSAGE = 'more rows than the question "
                          "allows', DETAIL = 'The question allows ' || $1 || ' rows.', ERRCODE = '54000'; END$body$");
    status = pv_made_finish(arena, made++, &sql);
    if (status == PV_OK && pv_views_need_tame(room)) {
        status = pv_views_make_tame(arena, list[1].schema, made);
        made += pv_views_tame_count();
        if (status == PV_OK)
            status = pv_views_make_meet(arena, list[1].schema, made);
        made += pv_views_meet_count();
    }
    *count = (size_t) (made - list);
    return status;
}

enum pv_status
pv_views_private(struct pv_arena *arena, const struct pv_room *room, const struct pv_mask_context *context,
                 struct pv_made **made, size_t *count)
{
    /* Two schemas of ours, one a published schema at most, four other objects, the functions of open questions. */
    struct pv_made *list = pv_arena_alloc(arena, (room->dataset_count + 8 + pv_views_tame_count() + pv_views_meet_count()) *
                                                     sizeof(*list));
    enum pv_status status;
    size_t found = 0;

    if (list == NULL)
        return PV_NOMEM;
    status = make_objects(arena, room, context, list, &found);
    if (status != PV_OK)
        return status;
    *made = list;
    *count = found;
    return PV_OK;
}
