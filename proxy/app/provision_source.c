/* The sources of a room: their columns and types, and the owner role's grants on them. */
#include "proxy/app/provision.h"

#include "parser/sqltext.h"

#include <string.h>

/* Domains are looked through; a domain's modifier counts where it has one. */
static const char columns_sql[] =
    "WITH RECURSIVE rel AS (SELECT c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    " WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')), "
    "chain AS (SELECT a.attnum, a.attname, a.atttypid AS declared, a.atttypmod AS declared_mod, a.atttypid AS typ, "
    "  a.atttypmod AS typmod, a.attrelid, a.attcollation FROM pg_attribute a JOIN rel ON rel.oid = a.attrelid "
    "  WHERE a.attnum > 0 AND NOT a.attisdropped "
    " UNION ALL SELECT c.attnum, c.attname, c.declared, c.declared_mod, t.typbasetype, "
    "  CASE WHEN t.typtypmod <> -1 THEN t.typtypmod ELSE c.typmod END, c.attrelid, c.attcollation "
    "  FROM chain c JOIN pg_type t ON t.oid = c.typ WHERE t.typtype = 'd') "
    "SELECT c.attname, format_type(c.declared, c.declared_mod), format_type(c.typ, c.typmod), format_type(c.typ, NULL), "
    " t.typtype = 'e', "
    " t.typname = 'citext' AND EXISTS (SELECT 1 FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid "
    "  AND d.refclassid = 'pg_extension'::regclass WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid "
    "  AND d.deptype = 'e' AND e.extname = 'citext'), "
    " has_column_privilege(c.attrelid, c.attnum, 'SELECT WITH GRANT OPTION'), "
    " coalesce(has_column_privilege(r.oid, c.attrelid, c.attnum, 'SELECT'), false), "
    " CASE WHEN l.oid NOT IN ('pg_catalog.\"default\"'::regcollation, 'pg_catalog.\"C\"'::regcollation) THEN l.oid::regcollation::text "
    "  END, coalesce(NOT l.collisdeterministic, false) "
    "FROM chain c JOIN pg_type t ON t.oid = c.typ LEFT JOIN pg_roles r ON r.rolname = $3 "
    "LEFT JOIN pg_collation l ON l.oid = c.attcollation "
    "WHERE t.typtype <> 'd' ORDER BY c.attnum";

static bool
is_true(const PGresult *rows, int row, int column)
{
    return strcmp(PQgetvalue(rows, row, column), "t") == 0;
}

static bool
is_read(const struct pv_dataset *dataset, const char *column)
{
    for (size_t i = 0; i < dataset->column_count; i++)
        if (strcmp(dataset->columns[i].name, column) == 0)
            return pv_column_mask_kind(&dataset->columns[i]) != PV_MASK_OMIT;
    return false;
}

static bool
is_filtered_on(const struct pv_row_filter *filter, const char *column)
{
    for (size_t i = 0; i < filter->columns.count; i++)
        if (strcmp(filter->columns.names[i], column) == 0)
            return true;
    return false;
}

static enum pv_status
grant_schema(struct pv_provision *p, const struct pv_dataset *dataset)
{
    const char *values[] = {dataset->source_schema, p->owner};
    PGresult *rows = pv_provision_query(p,
                                        "SELECT has_schema_privilege(n.oid, 'USAGE WITH GRANT OPTION'), "
                                        "coalesce(has_schema_privilege(r.oid, n.oid, 'USAGE'), false), "
                                        "has_schema_privilege('public', n.oid, 'USAGE') FROM pg_namespace n "
                                        "LEFT JOIN pg_roles r ON r.rolname = $2 WHERE n.nspname = $1",
                                        2, values);
    struct pv_buf sql = {0};
    enum pv_status status = PV_OK;

    if (rows == NULL)
        return PV_IO;
    if (PQntuples(rows) == 0)
        status = pv_provision_fail(p, PV_INVALID, "room %s: data set %s: schema \"%s\" of the source does not exist",
                                   p->room->name, dataset->key, dataset->source_schema);
    else if (is_true(rows, 0, 1) || is_true(rows, 0, 2))
        status = PV_OK;
    else if (!is_true(rows, 0, 0))
        status = pv_provision_fail(p, PV_DENIED,
                                   "room %s: data set %s: user \"%s\" lacks USAGE WITH GRANT OPTION on schema \"%s\"",
                                   p->room->name, dataset->key, PQuser(p->conn), dataset->source_schema);
    else {
        pv_buf_put_text(&sql, "GRANT USAGE ON SCHEMA ");
        pv_sql_quote_identifier(&sql, dataset->source_schema);
        pv_buf_put_text(&sql, " TO ");
        pv_sql_quote_identifier(&sql, p->owner);
        status = pv_provision_step(p, false, &sql, NULL);
    }
    PQclear(rows);
    return status;
}

/* The columns that the view reads and that the owner role cannot read yet, in one GRANT. */
static enum pv_status
grant_columns(struct pv_provision *p, const struct pv_dataset *dataset, const struct pv_row_filter *filter,
              const PGresult *rows)
{
    struct pv_buf sql = {0};
    size_t count = 0;

    pv_buf_put_text(&sql, "GRANT SELECT (");
    for (int row = 0; row < PQntuples(rows); row++) {
        const char *name = PQgetvalue(rows, row, 0);

        if (!is_read(dataset, name) && !is_filtered_on(filter, name))
            continue;
        if (is_true(rows, row, 7))
            continue;
        if (!is_true(rows, row, 6)) {
            pv_buf_clear(&sql);
            return pv_provision_fail(p, PV_DENIED,
                                     "room %s: data set %s: user \"%s\" lacks SELECT WITH GRANT OPTION on %s.%s",
                                     p->room->name, dataset->key, PQuser(p->conn), dataset->source_schema,
                                     dataset->source_name);
        }
        pv_buf_put_text(&sql, count++ == 0 ? "" : ", ");
        pv_sql_quote_identifier(&sql, name);
    }
    if (count == 0) {
        pv_buf_clear(&sql);
        return PV_OK;
    }
    pv_buf_put_text(&sql, ") ON TABLE ");
    pv_sql_quote_qualified(&sql, dataset->source_schema, dataset->source_name);
    pv_buf_put_text(&sql, " TO ");
    pv_sql_quote_identifier(&sql, p->owner);
    return pv_provision_step(p, false, &sql, NULL);
}

static enum pv_status
check_filter_columns(struct pv_provision *p, const struct pv_dataset *dataset, const struct pv_row_filter *filter,
                     const PGresult *rows)
{
    for (size_t i = 0; i < filter->columns.count; i++) {
        bool is_found = false;

        for (int row = 0; row < PQntuples(rows) && !is_found; row++)
            is_found = strcmp(PQgetvalue(rows, row, 0), filter->columns.names[i]) == 0;
        if (!is_found)
            return pv_provision_fail(p, PV_INVALID, "room %s: data set %s: row filter: %s.%s has no column \"%s\"",
                                     p->room->name, dataset->key, dataset->source_schema, dataset->source_name,
                                     filter->columns.names[i]);
    }
    return PV_OK;
}

/* What the database takes each attribute for, by preparing the filter over the source and asking. */
static enum pv_status
infer_types(struct pv_provision *p, const struct pv_dataset *dataset, const struct pv_row_filter *filter,
            struct pv_source *source)
{
    static const char ask[] =
        "SELECT format_type(coalesce(e.oid, t.oid), NULL), e.oid IS NOT NULL, coalesce(e.typtype, t.typtype) = 'e' "
        "FROM pg_prepared_statements s, unnest(s.parameter_types) WITH ORDINALITY AS u(typ, n) "
        "JOIN pg_type t ON t.oid = u.typ LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' "
        "WHERE s.name = 'pgveil_row_filter' ORDER BY u.n";
    struct pv_attribute_type *types;
    struct pv_buf sql = {0};
    PGresult *rows = NULL;
    const char *text;

    pv_buf_put_text(&sql, "SELECT 1 FROM ");
    pv_sql_quote_qualified(&sql, dataset->source_schema, dataset->source_name);
    pv_buf_printf(&sql, " WHERE (%s)", filter->sql);
    text = pv_buf_text(&sql);
    if (text == NULL) {
        pv_buf_clear(&sql);
        return pv_provision_fail(p, PV_NOMEM, "out of memory");
    }
    rows = PQprepare(p->conn, "pgveil_row_filter", text, 0, NULL);
    pv_buf_clear(&sql);
    if (PQresultStatus(rows) != PGRES_COMMAND_OK) {
        const char *message = PQresultErrorField(rows, PG_DIAG_MESSAGE_PRIMARY);
        enum pv_status status = pv_provision_fail(p, PV_INVALID, "room %s: data set %s: row filter: %s", p->room->name,
                                                  dataset->key, message != NULL ? message : PQerrorMessage(p->conn));

        PQclear(rows);
        return status;
    }
    PQclear(rows);
    rows = pv_provision_query(p, ask, 0, NULL);
    if (rows == NULL)
        return PV_IO;
    types = pv_arena_alloc(p->arena, ((size_t) PQntuples(rows) + 1) * sizeof(*types));
    source->attribute_count = (size_t) PQntuples(rows);
    source->attribute_types = types;
    for (int row = 0; row < PQntuples(rows) && types != NULL; row++) {
        types[row] = (struct pv_attribute_type) {pv_provision_text(p, rows, row, 0), is_true(rows, row, 1),
                                                 is_true(rows, row, 2)};
        if (types[row].name == NULL)
            types = NULL;
    }
    PQclear(rows);
    rows = pv_provision_query(p, "DEALLOCATE pgveil_row_filter", 0, NULL);
    PQclear(rows);
    if (types == NULL || rows == NULL)
        return pv_provision_fail(p, PV_NOMEM, "out of memory");
    return PV_OK;
}

static enum pv_status
copy_columns(struct pv_provision *p, const PGresult *rows, struct pv_source *source)
{
    size_t count = (size_t) PQntuples(rows);
    struct pv_source_column *columns = pv_arena_alloc(p->arena, (count + 1) * sizeof(*columns));

    if (columns == NULL)
        return pv_provision_fail(p, PV_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        int row = (int) i;

        columns[i].name = pv_provision_text(p, rows, row, 0);
        columns[i].type.declared = pv_provision_text(p, rows, row, 1);
        columns[i].type.full = pv_provision_text(p, rows, row, 2);
        columns[i].type.base = pv_provision_text(p, rows, row, 3);
        columns[i].type.is_enum = is_true(rows, row, 4);
        columns[i].type.is_citext = is_true(rows, row, 5);
        columns[i].type.collation = pv_provision_text(p, rows, row, 8);
        columns[i].type.is_nondeterministic = is_true(rows, row, 9);
        if (columns[i].name == NULL || columns[i].type.declared == NULL || columns[i].type.full == NULL ||
            columns[i].type.base == NULL ||
            (columns[i].type.collation == NULL && !PQgetisnull(rows, row, 8)))
            return pv_provision_fail(p, PV_NOMEM, "out of memory");
    }
    source->columns = columns;
    source->column_count = count;
    return PV_OK;
}

enum pv_status
pv_provision_source(struct pv_provision *p, const struct pv_dataset *dataset, struct pv_source *source)
{
    const char *values[] = {dataset->source_schema, dataset->source_name, p->owner};
    struct pv_row_filter filter = {0};
    struct pv_source found = {0};
    const char *words = "out of memory";
    PGresult *rows = NULL;
    enum pv_status status = grant_schema(p, dataset);

    if (status != PV_OK)
        return status;
    status = pv_views_row_filter(p->arena, dataset, &filter, &words);
    if (status != PV_OK)
        return pv_provision_fail(p, status, "room %s: data set %s: %s", p->room->name, dataset->key, words);
    rows = pv_provision_query(p, columns_sql, 3, values);
    if (rows == NULL)
        return PV_IO;
    if (PQntuples(rows) == 0)
        status = pv_provision_fail(p, PV_INVALID, "room %s: data set %s: source %s.%s does not exist", p->room->name,
                                   dataset->key, dataset->source_schema, dataset->source_name);
    if (status == PV_OK)
        status = copy_columns(p, rows, &found);
    if (status == PV_OK)
        status = check_filter_columns(p, dataset, &filter, rows);
    if (status == PV_OK)
        status = grant_columns(p, dataset, &filter, rows);
    if (status == PV_OK && filter.attributes.count > 0)
        status = infer_types(p, dataset, &filter, &found);
    PQclear(rows);
    if (status == PV_OK)
        *source = found;
    return status;
}

/* ---- taking back ---- */

static enum pv_status
is_still_read(struct pv_provision *p, const char *schema, const char *name, const char *column, bool *is_kept)
{
    *is_kept = false;
    for (size_t i = 0; i < p->room->dataset_count && !*is_kept; i++) {
        const struct pv_dataset *dataset = &p->room->datasets[i];
        struct pv_row_filter filter = {0};
        const char *words = "";
        enum pv_status status;

        if (strcmp(dataset->source_schema, schema) != 0 || (name != NULL && strcmp(dataset->source_name, name) != 0))
            continue;
        if (name == NULL || (column != NULL && is_read(dataset, column))) {
            *is_kept = true;
            break;
        }
        status = pv_views_row_filter(p->arena, dataset, &filter, &words);
        if (status != PV_OK)
            return pv_provision_fail(p, status, "%s", words);
        *is_kept = column != NULL && is_filtered_on(&filter, column);
    }
    return PV_OK;
}

enum pv_status
pv_provision_revoke(struct pv_provision *p, bool is_all)
{
    static const char held[] =
        "SELECT n.nspname, c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        " JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(a.attacl) x "
        " WHERE x.grantee = (SELECT oid FROM pg_roles WHERE rolname = $1) "
        "UNION ALL SELECT n.nspname, c.relname, NULL FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, "
        " aclexplode(c.relacl) x WHERE x.grantee = (SELECT oid FROM pg_roles WHERE rolname = $1) AND x.grantee <> c.relowner "
        "UNION ALL SELECT n.nspname, NULL, NULL FROM pg_namespace n, aclexplode(n.nspacl) x "
        " WHERE x.grantee = (SELECT oid FROM pg_roles WHERE rolname = $1) AND x.grantee <> n.nspowner";
    const char *values[] = {p->owner};
    PGresult *rows = pv_provision_query(p, held, 1, values);
    enum pv_status status = PV_OK;

    if (rows == NULL)
        return PV_IO;
    for (int row = 0; row < PQntuples(rows) && status == PV_OK; row++) {
        const char *schema = PQgetvalue(rows, row, 0);
        const char *name = PQgetisnull(rows, row, 1) ? NULL : PQgetvalue(rows, row, 1);
        const char *column = PQgetisnull(rows, row, 2) ? NULL : PQgetvalue(rows, row, 2);
        struct pv_buf sql = {0};
        bool is_kept = false;

        if (!is_all)
            status = is_still_read(p, schema, name, column, &is_kept);
        if (is_kept || status != PV_OK)
            continue;
        pv_buf_put_text(&sql, name == NULL ? "REVOKE USAGE ON SCHEMA " : column == NULL ? "REVOKE ALL" : "REVOKE SELECT (");
        if (column != NULL) {
            pv_sql_quote_identifier(&sql, column);
            pv_buf_put_text(&sql, ")");
        }
        if (name != NULL) {
            pv_buf_put_text(&sql, " ON TABLE ");
            pv_sql_quote_qualified(&sql, schema, name);
        } else {
            pv_sql_quote_identifier(&sql, schema);
        }
        pv_buf_put_text(&sql, " FROM ");
        pv_sql_quote_identifier(&sql, p->owner);
        status = pv_provision_step(p, false, &sql, NULL);
    }
    PQclear(rows);
    return status;
}
