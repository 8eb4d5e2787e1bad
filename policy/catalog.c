#include "policy/catalog_int.h"

#include "parser/sqltext.h"
#include "policy/catalog_columns.h"
#include "policy/views_int.h"
#include "policy/words.h"
#include "proxy/base/arena.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define LAYER_FIRST 100u
#define SPACE_VIEW "pgveil_space"
#define TITLE_VIEW "pgveil_title"
#define ME_VIEW "pgveil_me"

/* ---- lookups ---- */

/* The rows stand in the order of their making; here they are by name, then by schema. Every name of a statement is
 * sought. */
#define RELATIONS_MAX 512u
static const struct pv_catalog_relation *by_name[RELATIONS_MAX];
static pthread_once_t by_name_once = PTHREAD_ONCE_INIT;

static int
compare_relation(const struct pv_catalog_relation *a, const char *schema, const char *name)
{
    int order = strcmp(name, a->relation.name);

    return order != 0 ? order : strcmp(schema, a->relation.schema);
}

static void
sort_by_name(void)
{
    pv_assert(pv_catalog_relation_count <= RELATIONS_MAX);
    for (size_t i = 0; i < pv_catalog_relation_count; i++) {
        const struct pv_catalog_relation *row = &pv_catalog_relations[i];
        size_t at = i;

        for (; at > 0 && compare_relation(by_name[at - 1], row->relation.schema, row->relation.name) < 0; at--)
            by_name[at] = by_name[at - 1];
        by_name[at] = row;
    }
}

const struct pv_catalog_relation *
pv_catalog_find(const char *schema, const char *name)
{
    const char *wanted = schema != NULL ? schema : "pg_catalog";
    size_t from = 0, to = pv_catalog_relation_count;

    (void) pthread_once(&by_name_once, sort_by_name);
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = compare_relation(by_name[middle], wanted, name);

        if (order == 0)
            return by_name[middle];
        if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return NULL;
}

size_t
pv_catalog_count(void)
{
    return pv_catalog_relation_count;
}

const struct pv_catalog_relation *
pv_catalog_at(size_t i)
{
    return &pv_catalog_relations[i];
}

void
pv_catalog_schema(const struct pv_catalog_relation *relation, const char *room, char schema[PV_VIEWS_NAME_SIZE])
{
    if (relation->mode == PV_CATALOG_VIEW)
        pv_views_catalog_schema(room, schema);
    else
        memcpy(schema, relation->relation.schema, strlen(relation->relation.schema) + 1);
}

/* ---- columns of types that look names up ---- */

/* Sorted. */
static const char *const regproc_columns[] = {
    "aggcombinefn", "aggdeserialfn", "aggfinalfn",  "aggfnoid",    "aggmfinalfn",    "aggminvtransfn", "aggmtransfn",
    "aggserialfn",  "aggtransfn",    "amhandler",   "amproc",      "conproc",        "oprcode",        "oprjoin",
    "oprrest",      "prosupport",    "prsend",      "prsheadline", "prslextype",     "prsstart",       "prstoken",
    "rngcanonical", "rngsubdiff",    "tmplinit",    "tmpllexize",  "trffromsql",     "trftosql",       "typanalyze",
    "typinput",     "typmodin",      "typmodout",   "typoutput",   "typreceive",     "typsend",        "typsubscript",
};

bool
pv_catalog_column_is_regproc(const struct pv_relation *relation, const char *column)
{
    if (relation->kind != PV_RELATION_CATALOG || strcmp(relation->schema, "pg_catalog") != 0)
        return false;
    return pv_word_in_sorted(column, regproc_columns, PV_COUNT_OF(regproc_columns));
}

/* Tables of pg_catalog whose rows have no OID; all others whose first column is `oid` are tables too. */
static const char *const tables_without_oid[] = {
    "pg_aggregate",       "pg_attribute",       "pg_db_role_setting",   "pg_depend",       "pg_description",
    "pg_foreign_table",   "pg_index",           "pg_inherits",          "pg_init_privs",   "pg_partitioned_table",
    "pg_range",           "pg_sequence",        "pg_shdepend",          "pg_shdescription", "pg_ts_config_map",
    "pg_seclabel",        "pg_shseclabel",      "pg_subscription_rel",
};

bool
pv_catalog_is_table(const struct pv_relation *relation)
{
    const char *columns;
    char qualified[80];

    if (relation->kind != PV_RELATION_CATALOG || strcmp(relation->schema, "pg_catalog") != 0)
        return false;
    for (size_t i = 0; i < PV_COUNT_OF(tables_without_oid); i++)
        if (strcmp(tables_without_oid[i], relation->name) == 0)
            return true;
    (void) snprintf(qualified, sizeof(qualified), "pg_catalog.%s", relation->name);
    columns = pv_catalog_column_list(qualified);
    return columns != NULL && strncmp(columns, "oid,", 4) == 0;
}

/* Access lists: the input of their type looks roles up, in a constant beside an empty column too (ATTACKS: N6). */
static const char *const acl_columns[] = {"attacl", "datacl", "defaclacl", "fdwacl", "initprivs", "lanacl", "lomacl",
                                          "nspacl", "paracl", "proacl",    "relacl", "spcacl",    "srvacl", "typacl"};

/* The cast that a view puts behind such a column; "": it is none. */
static const char *
plain_cast(const struct pv_relation *relation, const char *column, size_t len)
{
    char name[64];

    if (len >= sizeof(name))
        return "";
    memcpy(name, column, len);
    name[len] = '\0';
    if (strcmp(relation->name, "pg_prepared_statements") == 0 && strcmp(name, "parameter_types") == 0)
        return "::oid[]";
    for (size_t i = 0; i < PV_COUNT_OF(acl_columns); i++)
        if (strcmp(acl_columns[i], name) == 0)
            return "::text[]";
    if (pv_catalog_column_is_regproc(relation, name) ||
        (strcmp(relation->name, "pg_sequences") == 0 && strcmp(name, "data_type") == 0))
        return "::oid";
    return "";
}

/* ---- recipes to SQL ---- */

struct maker {
    struct pv_arena *arena;
    const struct pv_room *room;
    const char *schema; /* physical catalog schema, in the arena */
    struct pv_made *list;
    size_t count;
};

static void
put_catalog(struct pv_buf *sql, const struct maker *maker, const char *name)
{
    pv_sql_quote_qualified(sql, maker->schema, name);
}

/* Appends `len` bytes of a recipe's SQL, placeholders filled in. */
static void
put_filled(struct pv_buf *sql, const struct maker *maker, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t left = len - at;

        if (left >= 5 && memcmp(text + at, "{cat}", 5) == 0) {
            pv_sql_quote_identifier(sql, maker->schema);
            at += 5;
        } else if (left >= 6 && memcmp(text + at, "{room}", 6) == 0) {
            pv_sql_quote_literal(sql, maker->room->name);
            at += 6;
        } else if (left >= 4 && memcmp(text + at, "{me}", 4) == 0) {
            pv_buf_put_text(sql, "(SELECT m.oid FROM ");
            put_catalog(sql, maker, ME_VIEW);
            pv_buf_put_text(sql, " AS m)");
            at += 4;
        } else if (left >= 6 && memcmp(text + at, "{user}", 6) == 0) {
            pv_buf_put_text(sql, "(SELECT m.name FROM ");
            put_catalog(sql, maker, ME_VIEW);
            pv_buf_put_text(sql, " AS m)");
            at += 6;
        } else {
            pv_buf_put_u8(sql, (uint8_t) text[at++]);
        }
    }
}

static bool
ends_with(const char *text, size_t len, const char *tail)
{
    size_t tail_len = strlen(tail);

    return len >= tail_len && memcmp(text + len - tail_len, tail, tail_len) == 0;
}

/* The override of a column, up to the next `;`. NULL: none. */
static const char *
find_override(const char *overrides, const char *column, size_t len, size_t *override_len)
{
    for (const char *at = overrides; at != NULL && *at != '\0';) {
        size_t piece = strcspn(at, ";");

        if (piece > len && memcmp(at, column, len) == 0 && at[len] == '=') {
            *override_len = piece - len - 1;
            return at + len + 1;
        }
        at += piece + (at[piece] == ';' ? 1 : 0);
    }
    return NULL;
}

/* information_schema: by a column's name, catalogs show the room, schemas their published names, owners the caller. */
static bool
put_by_rule(struct pv_buf *sql, const struct maker *maker, const char *column, size_t len)
{
    static const char schema_rule[] = "(SELECT s.published FROM {cat}.pgveil_space AS s WHERE s.physical::text = t.";
    /* A type that stands in no schema of the room's is shown where pg_type shows it. */
    static const char type_rule[] = ", (SELECT s.published FROM {cat}.pgveil_space AS s WHERE s.is_room AND t.";
    static const char type_order[] = " IS NOT NULL ORDER BY s.published <> 'public', s.published LIMIT 1))";
    bool is_type = ends_with(column, len, "udt_schema") || ends_with(column, len, "domain_schema");

    if (ends_with(column, len, "_catalog") || (len == 12 && memcmp(column, "catalog_name", 12) == 0)) {
        pv_buf_put_text(sql, "CASE WHEN t.");
        pv_buf_put(sql, column, len);
        pv_buf_put_text(sql, " IS NOT NULL THEN ");
        pv_sql_quote_literal(sql, maker->room->name);
        pv_buf_put_text(sql, " END");
        return true;
    }
    if (ends_with(column, len, "_schema") || (len == 11 && memcmp(column, "schema_name", 11) == 0)) {
        pv_buf_put_text(sql, is_type ? "coalesce(" : "");
        put_filled(sql, maker, schema_rule, sizeof(schema_rule) - 1);
        pv_buf_put(sql, column, len);
        pv_buf_put_text(sql, "::text)");
        if (is_type) {
            put_filled(sql, maker, type_rule, sizeof(type_rule) - 1);
            pv_buf_put(sql, column, len);
            put_filled(sql, maker, type_order, sizeof(type_order) - 1);
        }
        return true;
    }
    if (ends_with(column, len, "_owner")) {
        put_filled(sql, maker, "{user}", 6);
        return true;
    }
    return false;
}

/* A column that is exchanged keeps the type that it has in information_schema. */
static void
put_info_column(struct pv_buf *sql, const struct maker *maker, const char *column, size_t len, const char *override,
                size_t override_len)
{
    const char *type = "information_schema.sql_identifier";
    struct pv_buf value = {0};

    if (override != NULL)
        put_filled(&value, maker, override, override_len);
    else if (!put_by_rule(&value, maker, column, len))
        goto plain;
    if (len > 3 && memcmp(column, "is_", 3) == 0)
        type = "information_schema.yes_or_no";
    else if (ends_with(column, len, "_type") || ends_with(column, len, "_default") || ends_with(column, len, "_definition"))
        type = "information_schema.character_data";
    if (!pv_buf_ok(&value))
        sql->failed = true;
    pv_buf_put_text(sql, "CAST(");
    pv_buf_put_slice(sql, pv_buf_slice(&value));
    pv_buf_printf(sql, "::text AS %s)", type);
    pv_buf_clear(&value);
    return;
plain:
    pv_buf_put_text(sql, "t.");
    pv_buf_put(sql, column, len);
    pv_buf_clear(&value);
}

static void
put_columns(struct pv_buf *sql, const struct maker *maker, const struct pv_catalog_relation *relation,
            const char *columns)
{
    const struct pv_catalog_recipe *recipe = relation->recipe;
    bool is_info = strcmp(relation->relation.schema, "information_schema") == 0;

    for (const char *at = columns; *at != '\0';) {
        size_t len = strcspn(at, ",");
        size_t override_len = 0;
        const char *override = find_override(recipe->overrides, at, len, &override_len);

        pv_buf_put_text(sql, at == columns ? "" : ", ");
        if (is_info) {
            put_info_column(sql, maker, at, len, override, override_len);
        } else if (override != NULL) {
            put_filled(sql, maker, override, override_len);
        } else {
            pv_buf_put_text(sql, "t.");
            pv_buf_put(sql, at, len);
            pv_buf_put_text(sql, plain_cast(&relation->relation, at, len));
        }
        pv_buf_put_text(sql, " AS ");
        pv_buf_put(sql, at, len);
        at += len + (at[len] == ',' ? 1 : 0);
    }
}

static enum pv_status
add(struct maker *maker, enum pv_made_kind kind, const char *name, const char *arguments, struct pv_buf *sql)
{
    struct pv_made *made = &maker->list[maker->count];
    enum pv_status status;

    *made = (struct pv_made) {.kind = kind, .schema = maker->schema, .name = name, .arguments = arguments,
                              .layer = LAYER_FIRST + (unsigned) maker->count, .is_readable = true};
    status = pv_made_finish(maker->arena, made, sql);
    if (status == PV_OK)
        maker->count++;
    return status;
}

static void
begin_view(struct pv_buf *sql, const struct maker *maker, const char *name)
{
    pv_buf_put_text(sql, "CREATE VIEW ");
    put_catalog(sql, maker, name);
    pv_buf_put_text(sql, " WITH (security_barrier) AS SELECT ");
}

static enum pv_status
add_relation(struct maker *maker, const struct pv_catalog_relation *relation)
{
    const struct pv_catalog_recipe *recipe = relation->recipe;
    struct pv_buf qualified = {0};
    struct pv_buf sql = {0};
    const char *columns;

    pv_buf_printf(&qualified, "%s.%s", relation->relation.schema, relation->relation.name);
    if (pv_buf_text(&qualified) == NULL) {
        pv_buf_clear(&qualified);
        return PV_NOMEM;
    }
    columns = pv_catalog_column_list(pv_buf_text(&qualified));
    pv_assert(columns != NULL);
    begin_view(&sql, maker, relation->physical_name);
    put_columns(&sql, maker, relation, columns);
    pv_buf_put_text(&sql, " FROM ");
    if (recipe->from != NULL)
        put_filled(&sql, maker, recipe->from, strlen(recipe->from));
    else
        pv_buf_printf(&sql, "%s AS t", pv_buf_text(&qualified));
    if (recipe->where != NULL) {
        pv_buf_put_text(&sql, " WHERE ");
        put_filled(&sql, maker, recipe->where, strlen(recipe->where));
    }
    pv_buf_clear(&qualified);
    return add(maker, PV_MADE_VIEW, relation->physical_name, NULL, &sql);
}

/* ---- the views that the others rest on; callers cannot name them ---- */

/* Who asks: the name in a valid identity, else the login role's own. */
static enum pv_status
add_me(struct maker *maker)
{
    char private_schema[PV_VIEWS_NAME_SIZE];
    struct pv_buf sql = {0};

    pv_views_private_schema(maker->room->name, private_schema);
    begin_view(&sql, maker, ME_VIEW);
    pv_buf_put_text(&sql, "coalesce((SELECT i.claims ->> 'u' FROM ");
    pv_sql_quote_qualified(&sql, private_schema, "identity");
    pv_buf_put_text(&sql, " AS i), session_user::text)::name AS name, (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE "
                          "r.rolname = session_user) AS oid");
    return add(maker, PV_MADE_VIEW, ME_VIEW, NULL, &sql);
}

static enum pv_status
add_space(struct maker *maker)
{
    char physical[PV_VIEWS_NAME_SIZE];
    const char *published;
    struct pv_buf sql = {0};

    begin_view(&sql, maker, SPACE_VIEW);
    pv_buf_put_text(&sql, "n.oid AS oid, n.nspname AS physical, v.published::name AS published, v.is_room AS is_room FROM "
                          "pg_catalog.pg_namespace AS n JOIN (VALUES ('pg_catalog', 'pg_catalog', false), "
                          "('information_schema', 'information_schema', false)");
    for (size_t i = 0; (published = pv_views_published_schema(maker->room, i)) != NULL; i++) {
        pv_views_schema(maker->room->name, published, physical);
        pv_buf_put_text(&sql, ", (");
        pv_sql_quote_literal(&sql, physical);
        pv_buf_put_text(&sql, ", ");
        pv_sql_quote_literal(&sql, published);
        pv_buf_put_text(&sql, ", true)");
    }
    pv_buf_put_text(&sql, ") AS v(physical, published, is_room) ON n.nspname = v.physical::name");
    return add(maker, PV_MADE_VIEW, SPACE_VIEW, NULL, &sql);
}

static void
put_title(struct pv_buf *sql, const char *schema, const char *name, const char *column, const char *title)
{
    if (title == NULL)
        return;
    pv_buf_put_text(sql, ", (");
    pv_sql_quote_literal(sql, schema);
    pv_buf_put_text(sql, ", ");
    pv_sql_quote_literal(sql, name);
    pv_buf_put_text(sql, ", ");
    if (column != NULL)
        pv_sql_quote_literal(sql, column);
    else
        pv_buf_put_text(sql, "NULL");
    pv_buf_put_text(sql, ", ");
    pv_sql_quote_literal(sql, title);
    pv_buf_put_text(sql, ")");
}

/* Titles of data sets, columns and questions as rows of pg_description. */
static enum pv_status
add_titles(struct maker *maker)
{
    char schema[PV_VIEWS_NAME_SIZE];
    struct pv_buf sql = {0};

    begin_view(&sql, maker, TITLE_VIEW);
    pv_buf_put_text(&sql, "o.oid AS objoid, o.class AS classoid, coalesce(a.attnum::integer, 0) AS objsubid, "
                          "v.title AS description FROM (VALUES (NULL::text, NULL::text, NULL::text, NULL::text)");
    for (size_t d = 0; d < maker->room->dataset_count; d++) {
        const struct pv_dataset *dataset = &maker->room->datasets[d];

        pv_views_schema(maker->room->name, dataset->relation.schema, schema);
        put_title(&sql, schema, dataset->relation.name, NULL, dataset->title);
        for (size_t i = 0; i < dataset->column_count; i++)
            if (pv_column_mask_kind(&dataset->columns[i]) != PV_MASK_OMIT)
                put_title(&sql, schema, dataset->relation.name, dataset->columns[i].name, dataset->columns[i].title);
    }
    pv_views_schema(maker->room->name, PV_VIEWS_QUESTIONS, schema);
    for (size_t q = 0; q < maker->room->question_count; q++)
        if (!maker->room->questions[q].is_open)
            put_title(&sql, schema, maker->room->questions[q].id, NULL, maker->room->questions[q].title);
    pv_buf_put_text(&sql, ") AS v(space, relation, attribute, title) JOIN pg_catalog.pg_namespace AS n ON n.nspname = "
                          "v.space::name JOIN (SELECT c.oid, c.relnamespace, c.relname, '1259'::oid FROM pg_catalog.pg_class AS c "
                          "UNION ALL SELECT f.oid, f.pronamespace, f.proname, '1255'::oid FROM pg_catalog.pg_proc AS f) "
                          "AS o(oid, space, name, class) ON o.space = n.oid AND o.name = v.relation::name LEFT JOIN "
                          "pg_catalog.pg_attribute AS a ON o.class = '1259'::oid AND a.attrelid = o.oid AND a.attname = "
                          "v.attribute::name WHERE v.attribute IS NULL OR a.attnum > 0");
    return add(maker, PV_MADE_VIEW, TITLE_VIEW, NULL, &sql);
}

/* An expression is bound to what it names here and now; a block is read each time, so its own path is pinned. */
static enum pv_status
add_function(struct maker *maker, const struct pv_catalog_function *function)
{
    bool is_block = strncmp(function->body, "BEGIN ", 6) == 0 || strncmp(function->body, "DECLARE ", 8) == 0;
    struct pv_buf sql = {0};

    pv_buf_put_text(&sql, "CREATE FUNCTION ");
    put_catalog(&sql, maker, function->name);
    pv_buf_printf(&sql, "(%s) RETURNS ", function->arguments);
    put_filled(&sql, maker, function->returns, strlen(function->returns));
    pv_buf_printf(&sql, " LANGUAGE %s PARALLEL RESTRICTED%s%s",
                  is_block ? "plpgsql VOLATILE SET search_path = pg_catalog, pg_temp" : "sql STABLE",
                  function->is_strict ? " STRICT" : "", is_block ? " AS $body$" : " RETURN ");
    put_filled(&sql, maker, function->body, strlen(function->body));
    if (is_block)
        pv_buf_put_text(&sql, "$body$");
    return add(maker, PV_MADE_FUNCTION, function->name, function->arguments, &sql);
}

enum pv_status
pv_catalog_views(struct pv_arena *arena, const struct pv_room *room, struct pv_made **made, size_t *count)
{
    struct maker maker = {.arena = arena, .room = room};
    char schema[PV_VIEWS_NAME_SIZE];
    enum pv_status status;

    pv_views_catalog_schema(room->name, schema);
    maker.schema = pv_arena_strdup(arena, schema);
    maker.list = pv_arena_alloc(arena, (pv_catalog_relation_count + pv_catalog_function_count + 3) * sizeof(*maker.list));
    if (maker.schema == NULL || maker.list == NULL)
        return PV_NOMEM;
    status = add_me(&maker);
    if (status == PV_OK)
        status = add_space(&maker);
    if (status == PV_OK)
        status = add_titles(&maker);
    for (size_t i = 0; i < pv_catalog_relation_count && status == PV_OK; i++)
        if (pv_catalog_relations[i].mode == PV_CATALOG_VIEW)
            status = add_relation(&maker, &pv_catalog_relations[i]);
    for (size_t i = 0; i < pv_catalog_function_count && status == PV_OK; i++)
        status = add_function(&maker, &pv_catalog_functions[i]);
    if (status != PV_OK)
        return status;
    *made = maker.list;
    *count = maker.count;
    return PV_OK;
}
