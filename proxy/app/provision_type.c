/* Enums and domains of the columns that a room shows, for casts by name. */
#include "policy/functions.h"
#include "proxy/app/provision.h"

#include <string.h>

/*
 * Enums and domains of the listed columns, through domains and arrays; of a domain the type below all domains, an enum or one
 * of pg_catalog. One whose schema or use is not for everybody is left out, unless it stands beside the source, whose schema
 * the owner role may use; so is a domain whose constraints call what is not PostgreSQL's own, since any constant of a caller
 * would call it.
 */
static const char types_sql[] =
    "WITH RECURSIVE used(oid) AS (SELECT a.atttypid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 "
    " AND a.attnum > 0 AND NOT a.attisdropped UNION SELECT x.found FROM used u JOIN pg_type y ON y.oid = u.oid "
    " CROSS JOIN LATERAL (VALUES (y.typelem), (y.typbasetype)) AS x(found) WHERE x.found <> 0) "
    "SELECT t.typname, format_type(t.oid, NULL), CASE WHEN t.typtype = 'd' THEN below.name END FROM used u "
    "JOIN pg_type t ON t.oid = u.oid JOIN pg_namespace n ON n.oid = t.typnamespace CROSS JOIN LATERAL ("
    " WITH RECURSIVE base(oid) AS (SELECT t.oid UNION ALL SELECT CASE y.typtype WHEN 'd' THEN y.typbasetype ELSE y.typelem END "
    "  FROM base JOIN pg_type y ON y.oid = base.oid WHERE y.typtype = 'd' OR (y.typelem <> 0 AND y.typlen = -1)) "
    " SELECT max(y.typname) FILTER (WHERE y.typtype NOT IN ('d', 'e') AND y.typelem = 0) AS name, bool_and(y.typtype IN ('d', 'e') "
    "  OR y.typnamespace = 'pg_catalog'::regnamespace OR y.typelem <> 0) AND NOT EXISTS (SELECT 1 FROM base b2 "
    "   JOIN pg_constraint k ON k.contypid = b2.oid JOIN pg_depend d ON d.objid = k.oid AND d.classid = 'pg_constraint'::regclass "
    "   WHERE d.refclassid <> 'pg_type'::regclass) AS is_plain FROM base JOIN pg_type y ON y.oid = base.oid) AS below "
    "WHERE (t.typtype = 'e' OR (t.typtype = 'd' AND n.nspname <> 'information_schema' AND below.is_plain)) "
    "AND has_type_privilege('public', t.oid, 'USAGE') "
    "AND (n.nspname = $1 OR has_schema_privilege('public', n.oid, 'USAGE')) ORDER BY t.oid";

struct types {
    const char **names;
    const char **physical;
    size_t count, size;
};

static enum pv_status
add_types(struct pv_provision *p, struct types *types, const PGresult *rows)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        const char *name = PQgetvalue(rows, row, 0);
        /* What values of a domain read as has to be a type that callers may cast to. */
        bool is_known = !PQgetisnull(rows, row, 2) && (!pv_type_is_allowed(PQgetvalue(rows, row, 2)) ||
                                                       pv_type_is_lookup(PQgetvalue(rows, row, 2)));

        for (size_t i = 0; i < types->count && !is_known; i++)
            is_known = strcmp(types->names[i], name) == 0;
        if (is_known)
            continue;
        if (types->count == types->size) {
            size_t size = types->size == 0 ? 8 : types->size * 2;
            const char **names = pv_arena_alloc(p->arena, size * sizeof(*names));
            const char **physical = pv_arena_alloc(p->arena, size * sizeof(*physical));

            if (names == NULL || physical == NULL)
                return pv_provision_fail(p, PV_NOMEM, "out of memory");
            if (types->count > 0) {
                memcpy(names, types->names, types->count * sizeof(*names));
                memcpy(physical, types->physical, types->count * sizeof(*physical));
            }
            *types = (struct types) {names, physical, types->count, size};
        }
        types->names[types->count] = pv_provision_text(p, rows, row, 0);
        types->physical[types->count] = pv_provision_text(p, rows, row, 1);
        if (types->names[types->count] == NULL || types->physical[types->count] == NULL)
            return pv_provision_fail(p, PV_NOMEM, "out of memory");
        types->count++;
    }
    return PV_OK;
}

/* Masks that leave a column its type. */
static bool
keeps_type(const struct pv_column *column)
{
    enum pv_mask_kind kind = pv_column_mask_kind(column);

    return kind == PV_MASK_PLAIN || kind == PV_MASK_NULL || kind == PV_MASK_CONSTANT;
}

static enum pv_status
find_types(struct pv_provision *p, const struct pv_dataset *dataset, struct types *types)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < dataset->column_count && status == PV_OK; i++) {
        const char *values[] = {dataset->source_schema, dataset->source_name, dataset->columns[i].name};
        PGresult *rows;

        if (!keeps_type(&dataset->columns[i]))
            continue;
        rows = pv_provision_query(p, types_sql, 3, values);
        if (rows == NULL)
            return PV_IO;
        status = add_types(p, types, rows);
        PQclear(rows);
    }
    return status;
}

enum pv_status
pv_provision_types(struct pv_provision *p, struct pv_made **made, size_t *count)
{
    struct types types = {0};
    struct pv_made *list;
    enum pv_status status = PV_OK;
    size_t made_count = 0;

    for (size_t i = 0; i < p->room->dataset_count && status == PV_OK; i++)
        status = find_types(p, &p->room->datasets[i], &types);
    if (status != PV_OK)
        return status;
    list = pv_arena_alloc(p->arena, (2 * PV_VIEWS_TYPE_COUNT * types.count + 1) * sizeof(*list));
    if (list == NULL)
        return pv_provision_fail(p, PV_NOMEM, "out of memory");
    for (size_t i = 0; i < types.count && status == PV_OK; i++) {
        struct pv_buf array = {0};

        pv_buf_printf(&array, "%s[]", types.physical[i]);
        status = pv_buf_text(&array) == NULL ? PV_NOMEM
                                             : pv_views_type(p->arena, p->room, types.names[i], true, pv_buf_text(&array),
                                                             (unsigned) made_count, &list[made_count]);
        pv_buf_clear(&array);
        made_count += PV_VIEWS_TYPE_COUNT;
        if (status == PV_OK)
            status = pv_views_type(p->arena, p->room, types.names[i], false, types.physical[i], (unsigned) made_count,
                                   &list[made_count]);
        made_count += PV_VIEWS_TYPE_COUNT;
    }
    if (status != PV_OK)
        return pv_provision_fail(p, status, "room %s: %s", p->room->name, pv_status_words(status));
    *made = list;
    *count = made_count;
    return PV_OK;
}
