/*
 * The objects of a room, wanted against found. Each bears a COMMENT `pgveil:LAYER:MARK`; what has none
 * was made by somebody else and is never touched. An object whose mark, owner or grants are
 * not as they should be is dropped and made again, with all that rests on it.
 */
#include "proxy/app/provision.h"

#include "parser/sqltext.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Layers from here on are one body: they may rest on each other, so they go and come together. */
#define LAYER_TOGETHER 100u
/* Everything from this layer up reads the private schema, which is below. */
#define LAYER_READERS 3u
/* From here on objects rest on the data sets' views. */
#define LAYER_QUESTIONS 50u

struct found {
    enum pv_made_kind kind;
    const char *schema, *name, *arguments;
    const char *comment; /* NULL: none */
    const char *owner;
    const char *grants; /* `grantee:PRIVILEGE` of all but the owner, sorted, comma between */
    const char *words;  /* kind and name, for messages */
    unsigned layer;
    bool is_ours, is_wanted, is_dropped;
};

struct found_list {
    struct found *items;
    size_t count;
};

/* $1: pattern of the room's schemas is not enough (names may be cut), so they are told by owner, plus the wanted names. */
static const char found_sql[] =
    "WITH own AS (SELECT oid FROM pg_roles WHERE rolname = $1), "
    "spaces AS (SELECT n.* FROM pg_namespace n WHERE n.nspowner = (SELECT oid FROM own) OR n.nspname = ANY ($2::text[])), "
    "objects AS ("
    "SELECT 0 AS kind, n.nspname AS schema, NULL::text AS name, NULL::text AS arguments, "
    " obj_description(n.oid, 'pg_namespace') AS comment, n.nspowner AS owner, n.nspacl AS acl, "
    " 'schema ' || n.nspname AS words FROM spaces n "
    "UNION ALL SELECT CASE c.relkind WHEN 'r' THEN 1 WHEN 'v' THEN 2 ELSE 4 END, n.nspname, c.relname, NULL, "
    " obj_description(c.oid, 'pg_class'), c.relowner, c.relacl, 'relation ' || n.nspname || '.' || c.relname "
    " FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace WHERE c.relkind NOT IN ('i', 'I', 't', 'c') "
    "UNION ALL SELECT CASE f.prokind WHEN 'f' THEN 3 ELSE 4 END, n.nspname, f.proname, "
    " coalesce((SELECT string_agg(format_type(u.typ, NULL), ', ' ORDER BY u.n) FROM unnest(f.proargtypes) WITH ORDINALITY "
    "  AS u(typ, n)), ''), "
    " obj_description(f.oid, 'pg_proc'), f.proowner, coalesce(f.proacl, acldefault('f', f.proowner)), "
    " 'function ' || n.nspname || '.' || f.proname FROM pg_proc f JOIN spaces n ON n.oid = f.pronamespace "
    "UNION ALL SELECT 4, n.nspname, t.typname, NULL, NULL, t.typowner, NULL, 'type ' || n.nspname || '.' || t.typname "
    " FROM pg_type t JOIN spaces n ON n.oid = t.typnamespace LEFT JOIN pg_class k ON k.oid = t.typrelid "
    " WHERE t.typelem = 0 AND (k.oid IS NULL OR k.relkind = 'c')) "
    "SELECT o.kind, o.schema, o.name, o.arguments, o.comment, r.rolname, o.words, "
    " coalesce((SELECT string_agg(coalesce(g.rolname, 'PUBLIC') || ':' || x.privilege_type, ',' "
    "  ORDER BY 1) FROM (SELECT * FROM aclexplode(o.acl)) x LEFT JOIN pg_roles g ON g.oid = x.grantee "
    "  WHERE x.grantee <> o.owner), '') "
    "FROM objects o JOIN pg_roles r ON r.oid = o.owner";

/* The wanted schemas as an array literal. */
static const char *
schema_array(struct pv_provision *p, const struct pv_made *made, size_t count)
{
    struct pv_buf text = {0};
    const char *copy = NULL;
    bool is_first = true;

    pv_buf_put_text(&text, "{");
    for (size_t i = 0; i < count; i++) {
        if (made[i].kind != PV_MADE_SCHEMA)
            continue;
        pv_buf_put_text(&text, is_first ? "\"" : ",\"");
        is_first = false;
        for (const char *at = made[i].schema; *at != '\0'; at++) {
            if (*at == '"' || *at == '\\')
                pv_buf_put_u8(&text, '\\');
            pv_buf_put_u8(&text, (uint8_t) *at);
        }
        pv_buf_put_text(&text, "\"");
    }
    pv_buf_put_text(&text, "}");
    if (pv_buf_text(&text) != NULL)
        copy = pv_arena_strdup(p->arena, pv_buf_text(&text));
    pv_buf_clear(&text);
    return copy;
}

static enum pv_status
find_objects(struct pv_provision *p, const struct pv_made *made, size_t count, struct found_list *list)
{
    const char *values[] = {p->owner, schema_array(p, made, count)};
    PGresult *rows;
    enum pv_status status = PV_OK;

    if (values[1] == NULL)
        return pv_provision_fail(p, PV_NOMEM, "out of memory");
    rows = pv_provision_query(p, found_sql, 2, values);
    if (rows == NULL)
        return PV_IO;
    list->count = (size_t) PQntuples(rows);
    list->items = pv_arena_alloc(p->arena, (list->count + 1) * sizeof(*list->items));
    for (size_t i = 0; i < list->count && list->items != NULL; i++) {
        struct found *item = &list->items[i];
        int row = (int) i;
        char *end;

        item->kind = (enum pv_made_kind) strtol(PQgetvalue(rows, row, 0), NULL, 10);
        item->schema = pv_provision_text(p, rows, row, 1);
        item->name = pv_provision_text(p, rows, row, 2);
        item->arguments = pv_provision_text(p, rows, row, 3);
        item->comment = pv_provision_text(p, rows, row, 4);
        item->owner = pv_provision_text(p, rows, row, 5);
        item->words = pv_provision_text(p, rows, row, 6);
        item->grants = pv_provision_text(p, rows, row, 7);
        if (item->schema == NULL || item->owner == NULL || item->grants == NULL || item->words == NULL)
            list->items = NULL;
        else if (item->comment != NULL && strncmp(item->comment, "pgveil:", 7) == 0 && strcmp(item->owner, p->owner) == 0) {
            item->layer = (unsigned) strtoul(item->comment + 7, &end, 10);
            item->is_ours = *end == ':';
        }
    }
    if (list->items == NULL)
        status = pv_provision_fail(p, PV_NOMEM, "out of memory");
    PQclear(rows);
    return status;
}

static bool
same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static struct found *
find_one(const struct found_list *list, const struct pv_made *made)
{
    for (size_t i = 0; i < list->count; i++) {
        struct found *item = &list->items[i];
        bool is_same_space = item->kind == PV_MADE_SCHEMA || item->kind == PV_MADE_FUNCTION
                                 ? item->kind == made->kind
                                 : made->kind != PV_MADE_SCHEMA && made->kind != PV_MADE_FUNCTION;

        if (is_same_space && same_text(item->schema, made->schema) && same_text(item->name, made->name) &&
            (made->kind != PV_MADE_FUNCTION || same_text(item->arguments, made->arguments)))
            return item;
    }
    return NULL;
}

static const char *
wanted_grants(const struct pv_provision *p, const struct pv_made *made, char grants[PV_VIEWS_NAME_SIZE + 16])
{
    static const char *const privileges[] = {[PV_MADE_SCHEMA] = ":USAGE", [PV_MADE_TABLE] = ":SELECT",
                                             [PV_MADE_VIEW] = ":SELECT", [PV_MADE_FUNCTION] = ":EXECUTE"};
    size_t len = strlen(p->login);

    grants[0] = '\0';
    if (!made->is_readable)
        return grants;
    memcpy(grants, p->login, len);
    memcpy(grants + len, privileges[made->kind], strlen(privileges[made->kind]) + 1);
    return grants;
}

static bool
is_as_wanted(const struct pv_provision *p, const struct found *found, const struct pv_made *made)
{
    char grants[PV_VIEWS_NAME_SIZE + 16];
    const char *mark;

    if (!found->is_ours || found->kind != made->kind || found->layer != made->layer)
        return false;
    mark = strrchr(found->comment, ':');
    return strcmp(mark + 1, made->mark) == 0 && strcmp(found->grants, wanted_grants(p, made, grants)) == 0;
}

/* ---- steps ---- */

static void
put_target(struct pv_buf *sql, enum pv_made_kind kind, const char *schema, const char *name, const char *arguments)
{
    static const char *const words[] = {[PV_MADE_SCHEMA] = "SCHEMA ", [PV_MADE_TABLE] = "TABLE ",
                                        [PV_MADE_VIEW] = "VIEW ", [PV_MADE_FUNCTION] = "FUNCTION "};

    pv_buf_put_text(sql, words[kind]);
    if (kind == PV_MADE_SCHEMA)
        pv_sql_quote_identifier(sql, schema);
    else
        pv_sql_quote_qualified(sql, schema, name);
    if (kind == PV_MADE_FUNCTION)
        pv_buf_printf(sql, "(%s)", arguments != NULL ? arguments : "");
}

static enum pv_status
make(struct pv_provision *p, const struct pv_made *made, bool is_new)
{
    struct pv_buf sql = {0};
    enum pv_status status;

    if (is_new) {
        status = pv_provision_member(p); /* CREATE SCHEMA ... AUTHORIZATION asks for it too */
        if (status != PV_OK)
            return status;
        pv_buf_put_text(&sql, made->create);
        status = pv_provision_step(p, made->kind != PV_MADE_SCHEMA, &sql, NULL);
        if (status != PV_OK)
            return status;
    }
    status = PV_OK;
    if (made->kind == PV_MADE_FUNCTION || !is_new) { /* anything else begins with no grant to anybody */
        pv_buf_put_text(&sql, "REVOKE ALL ON ");
        put_target(&sql, made->kind, made->schema, made->name, made->arguments);
        pv_buf_put_text(&sql, " FROM PUBLIC, ");
        pv_sql_quote_identifier(&sql, p->login);
        status = pv_provision_step(p, true, &sql, NULL);
    }
    if (status == PV_OK && made->is_readable) {
        pv_buf_put_text(&sql, made->kind == PV_MADE_SCHEMA     ? "GRANT USAGE ON "
                              : made->kind == PV_MADE_FUNCTION ? "GRANT EXECUTE ON "
                                                               : "GRANT SELECT ON ");
        put_target(&sql, made->kind == PV_MADE_VIEW ? PV_MADE_TABLE : made->kind, made->schema, made->name,
                   made->arguments);
        pv_buf_put_text(&sql, " TO ");
        pv_sql_quote_identifier(&sql, p->login);
        status = pv_provision_step(p, true, &sql, NULL);
    }
    if (status != PV_OK)
        return status;
    pv_buf_put_text(&sql, "COMMENT ON ");
    put_target(&sql, made->kind, made->schema, made->name, made->arguments);
    pv_buf_printf(&sql, " IS 'pgveil:%u:%s'", made->layer, made->mark);
    return pv_provision_step(p, true, &sql, NULL);
}

static enum pv_status
drop_kind(struct pv_provision *p, const struct found_list *list, enum pv_made_kind kind, unsigned layer_min,
          unsigned layer_end)
{
    struct pv_buf sql = {0};
    bool is_first = true;
    static const char *const words[] = {[PV_MADE_SCHEMA] = "DROP SCHEMA ", [PV_MADE_TABLE] = "DROP TABLE ",
                                        [PV_MADE_VIEW] = "DROP VIEW ", [PV_MADE_FUNCTION] = "DROP FUNCTION "};

    for (size_t i = 0; i < list->count; i++) {
        const struct found *item = &list->items[i];

        if (!item->is_dropped || item->kind != kind || item->layer < layer_min || item->layer >= layer_end)
            continue;
        pv_buf_put_text(&sql, is_first ? words[kind] : ", ");
        is_first = false;
        if (kind == PV_MADE_SCHEMA)
            pv_sql_quote_identifier(&sql, item->schema);
        else
            pv_sql_quote_qualified(&sql, item->schema, item->name);
        if (kind == PV_MADE_FUNCTION)
            pv_buf_printf(&sql, "(%s)", item->arguments);
    }
    return is_first ? PV_OK : pv_provision_step(p, true, &sql, NULL);
}

/* One DROP a row, since those of a row may rest on each other: from the top down. */
static enum pv_status
drop_marked(struct pv_provision *p, const struct found_list *list)
{
    static const struct {
        enum pv_made_kind kind;
        unsigned layer_min, layer_end;
    } order[] = {
        {PV_MADE_FUNCTION, LAYER_READERS, UINT_MAX}, {PV_MADE_VIEW, 0, UINT_MAX}, {PV_MADE_FUNCTION, 0, LAYER_READERS},
        {PV_MADE_TABLE, 0, UINT_MAX},                {PV_MADE_SCHEMA, 0, UINT_MAX},
    };
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < list->count; i++) {
        if (!list->items[i].is_dropped || list->items[i].kind != PV_MADE_SCHEMA)
            continue;
        for (size_t j = 0; j < list->count; j++)
            if (!list->items[j].is_ours && list->items[j].kind != PV_MADE_SCHEMA &&
                strcmp(list->items[j].schema, list->items[i].schema) == 0)
                return pv_provision_fail(p, PV_DENIED, "room %s: %s was not made by pgveil and stands in a schema that is "
                                                       "to be dropped; nothing was changed",
                                         p->room->name, list->items[j].words);
    }
    for (size_t i = 0; i < PV_COUNT_OF(order) && status == PV_OK; i++)
        status = drop_kind(p, list, order[i].kind, order[i].layer_min, order[i].layer_end);
    return status;
}

/* ---- wanted against found ---- */

static enum pv_status
refuse_foreign(struct pv_provision *p, const struct found_list *list, const struct pv_made *made, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct found *found = find_one(list, &made[i]);

        if (found == NULL)
            continue;
        found->is_wanted = true;
        if (!found->is_ours)
            return pv_provision_fail(p, PV_DENIED, "room %s: %s exists and was not made by pgveil; nothing was changed",
                                     p->room->name, found->words);
    }
    return PV_OK;
}

/* What an object's going takes with it. */
struct fallout {
    bool is_base, is_data, is_body;
};

static void
note_drop(struct fallout *fallout, unsigned layer)
{
    fallout->is_base |= layer < LAYER_READERS;
    fallout->is_data |= layer >= LAYER_READERS && layer < LAYER_QUESTIONS;
    fallout->is_body |= layer >= LAYER_TOGETHER;
}

static bool
is_hit(const struct fallout *fallout, const struct found *item)
{
    return (fallout->is_base && (item->layer >= LAYER_READERS || item->kind == PV_MADE_VIEW)) ||
           (fallout->is_data && item->layer >= LAYER_QUESTIONS && item->layer < LAYER_TOGETHER) ||
           (fallout->is_body && item->layer >= LAYER_TOGETHER);
}

/* Marks what has to go: unwanted, changed, or resting on what goes. A schema stays: its grants and mark are set in place. */
static void
mark_drops(const struct pv_provision *p, const struct found_list *list, const struct pv_made *made, size_t count)
{
    struct fallout fallout = {0};

    for (size_t i = 0; i < count; i++) {
        struct found *found = find_one(list, &made[i]);

        if (made[i].kind == PV_MADE_SCHEMA || (found != NULL && is_as_wanted(p, found, &made[i])))
            continue;
        if (found != NULL)
            found->is_dropped = true;
        note_drop(&fallout, made[i].layer);
    }
    for (size_t i = 0; i < list->count; i++) {
        struct found *item = &list->items[i];

        if (!item->is_ours || item->is_wanted)
            continue;
        item->is_dropped = true;
        if (item->kind != PV_MADE_SCHEMA)
            note_drop(&fallout, item->layer);
    }
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].is_ours && list->items[i].kind != PV_MADE_SCHEMA && is_hit(&fallout, &list->items[i]))
            list->items[i].is_dropped = true;
}

enum pv_status
pv_provision_objects(struct pv_provision *p, const struct pv_made *made, size_t count)
{
    struct found_list list = {0};
    enum pv_status status = find_objects(p, made, count, &list);

    if (status == PV_OK)
        status = refuse_foreign(p, &list, made, count);
    if (status != PV_OK)
        return status;
    mark_drops(p, &list, made, count);
    status = drop_marked(p, &list);
    for (size_t i = 0; i < count && status == PV_OK; i++) {
        const struct found *found = find_one(&list, &made[i]);
        bool is_new = found == NULL || found->is_dropped;

        if (is_new || !is_as_wanted(p, found, &made[i]))
            status = make(p, &made[i], is_new);
    }
    return status;
}

enum pv_status
pv_provision_drop_objects(struct pv_provision *p)
{
    struct found_list list = {0};
    enum pv_status status = find_objects(p, NULL, 0, &list);

    if (status != PV_OK)
        return status;
    for (size_t i = 0; i < list.count; i++)
        list.items[i].is_dropped = list.items[i].is_ours;
    return drop_marked(p, &list);
}
