/*
 * A small catalog, so that psql's \d, JDBC's getTables and SQLAlchemy's inspector see the log's views, and the
 * functions that name its types.
 */
#include "proxy/audit/helpers_int.h"

#include "proxy/audit/db_int.h"

#include <string.h>
#include <strings.h>

/* ---- Types ---- */

static const struct {
    int oid;
    const char *name, *words;
    int len;
} types[] = {
    {16, "bool", "boolean", 1}, {20, "int8", "bigint", 8}, {23, "int4", "integer", 4}, {25, "text", "text", -1},
    {701, "float8", "double precision", 8}, {1043, "varchar", "character varying", -1},
    {1184, "timestamptz", "timestamp with time zone", 8}, {1082, "date", "date", 4},
};

void
pv_helper_format_type(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    for (size_t i = 0; i < PV_COUNT_OF(types); i++)
        if (sqlite3_value_int(values[0]) == types[i].oid) {
            pv_helper_give_text(context, types[i].words);
            return;
        }
    sqlite3_result_null(context);
}

void
pv_helper_to_regtype(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (pv_helper_has_null(context, count, values))
        return;
    for (size_t i = 0; i < PV_COUNT_OF(types); i++)
        if (strcmp(pv_helper_text(values[0]), types[i].name) == 0 ||
            strcmp(pv_helper_text(values[0]), types[i].words) == 0) {
            sqlite3_result_int(context, types[i].oid);
            return;
        }
    sqlite3_result_null(context);
}

/* ---- Tables ---- */

static const char *const tables[] = {
    "pg_class", "pg_namespace", "pg_attribute", "pg_type", "pg_attrdef", "pg_description", "pg_am", "pg_index",
    "pg_constraint", "pg_inherits", "pg_collation", "pg_sequence", "pg_enum", "pg_range", "information_schema_tables", "information_schema_columns",
};

bool
pv_helpers_is_table(const char *name)
{
    for (size_t i = 0; i < PV_COUNT_OF(tables); i++)
        if (strcasecmp(tables[i], name) == 0)
            return true;
    return false;
}

/* The tables' shapes: the columns that psql 15, pgjdbc and SQLAlchemy read. */
static const char catalog_sql[] =
    "CREATE TEMP TABLE pg_namespace (oid INTEGER, nspname TEXT, nspowner INTEGER, nspacl TEXT);"
    "INSERT INTO pg_namespace VALUES (11, 'pg_catalog', 10, NULL), (2200, 'public', 10, NULL);"
    "CREATE TEMP TABLE pg_am (oid INTEGER, amname TEXT);"
    "CREATE TEMP TABLE pg_class (oid INTEGER, relname TEXT, relnamespace INTEGER, reltype INTEGER, reloftype INTEGER,"
    " relowner INTEGER, relam INTEGER, relfilenode INTEGER, reltablespace INTEGER, reltuples REAL, relkind TEXT,"
    " relnatts INTEGER, relchecks INTEGER, relhasindex INTEGER, relhasrules INTEGER, relhastriggers INTEGER,"
    " relrowsecurity INTEGER, relforcerowsecurity INTEGER, relispartition INTEGER, relpersistence TEXT,"
    " relreplident TEXT, reltoastrelid INTEGER, relhasoids INTEGER, reloptions TEXT, relacl TEXT, relpartbound TEXT);"
    "CREATE TEMP TABLE pg_attribute (attrelid INTEGER, attname TEXT, atttypid INTEGER, attlen INTEGER, attnum INTEGER,"
    " atttypmod INTEGER, attnotnull INTEGER, atthasdef INTEGER, attidentity TEXT, attgenerated TEXT,"
    " attisdropped INTEGER, attcollation INTEGER, attacl TEXT, attfdwoptions TEXT, attstorage TEXT,"
    " attcompression TEXT, attstattarget INTEGER);"
    "CREATE TEMP TABLE pg_type (oid INTEGER, typname TEXT, typnamespace INTEGER, typlen INTEGER, typtype TEXT,"
    " typarray INTEGER, typelem INTEGER, typrelid INTEGER, typdelim TEXT, typbasetype INTEGER, typtypmod INTEGER,"
    " typnotnull INTEGER, typcollation INTEGER, typcategory TEXT, typdefault TEXT, typinput TEXT);"
    "CREATE TEMP TABLE pg_attrdef (oid INTEGER, adrelid INTEGER, adnum INTEGER, adbin TEXT);"
    "CREATE TEMP TABLE pg_description (objoid INTEGER, classoid INTEGER, objsubid INTEGER, description TEXT);"
    "CREATE TEMP TABLE pg_index (indexrelid INTEGER, indrelid INTEGER, indisprimary INTEGER, indisunique INTEGER,"
    " indisvalid INTEGER, indkey TEXT, indexprs TEXT, indpred TEXT, indoption TEXT, indnatts INTEGER,"
    " indnkeyatts INTEGER, indisclustered INTEGER, indisexclusion INTEGER, indclass TEXT, indcollation TEXT,"
    " indimmediate INTEGER, indisready INTEGER, indislive INTEGER, indisreplident INTEGER);"
    "CREATE TEMP TABLE pg_constraint (oid INTEGER, conname TEXT, contype TEXT, conrelid INTEGER, confrelid INTEGER,"
    " conindid INTEGER, conparentid INTEGER, conkey TEXT, confkey TEXT, connamespace INTEGER, condeferrable INTEGER,"
    " condeferred INTEGER, confupdtype TEXT, confdeltype TEXT, confmatchtype TEXT, conexclop TEXT);"
    "CREATE TEMP TABLE pg_inherits (inhrelid INTEGER, inhparent INTEGER, inhseqno INTEGER);"
    "CREATE TEMP TABLE pg_collation (oid INTEGER, collname TEXT);"
    "CREATE TEMP TABLE pg_sequence (seqrelid INTEGER, seqtypid INTEGER, seqstart INTEGER, seqincrement INTEGER,"
    " seqmax INTEGER, seqmin INTEGER, seqcache INTEGER, seqcycle INTEGER);"
    "CREATE TEMP TABLE pg_enum (oid INTEGER, enumtypid INTEGER, enumsortorder REAL, enumlabel TEXT);"
    "CREATE TEMP TABLE pg_range (rngtypid INTEGER, rngsubtype INTEGER);";

static const char *const relations[] = {"query_log",    "event_log",   "daily_usage",     "denials",
                                        "column_usage", "top_members", "unused_questions"};

/* Whole numbers and times are known by name; every other column is text. */
static int
type_of_column(const char *name)
{
    static const char *const numbers[] = {"seq", "session", "rows", "bytes", "duration_us", "statements", "allowed",
                                          "denied", "users", "reads", "failed"};

    for (size_t i = 0; i < PV_COUNT_OF(numbers); i++)
        if (strcmp(name, numbers[i]) == 0)
            return 20;
    return strcmp(name, "at") == 0 || strcmp(name, "last_at") == 0 || strcmp(name, "first_at") == 0 ? 1184 : 25;
}

static enum pv_status
exec(struct pv_log_reader *reader, char *sql)
{
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_exec(reader->sqlite, sql);

    sqlite3_free(sql);
    return status;
}

static enum pv_status
add_relation(struct pv_log_reader *reader, const char *name, int oid)
{
    sqlite3_stmt *statement = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM temp.%s LIMIT 0", name);
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_prepare(reader->sqlite, sql, &statement);
    int count = status == PV_OK ? sqlite3_column_count(statement) : 0;

    sqlite3_free(sql);
    if (status == PV_OK)
        status = exec(reader, sqlite3_mprintf("INSERT INTO pg_class VALUES (%d, %Q, 2200, 0, 0, 10, 0, 0, 0, -1, 'v',"
                                              " %d, 0, 0, 0, 0, 0, 0, 0, 'p', 'n', 0, 0, NULL, NULL, NULL)",
                                              oid, name, count));
    for (int i = 0; status == PV_OK && i < count; i++) {
        int type = type_of_column(sqlite3_column_name(statement, i));

        status = exec(reader, sqlite3_mprintf("INSERT INTO pg_attribute VALUES (%d, %Q, %d, %d, %d, -1, 0, 0, '', '',"
                                              " 0, 0, NULL, NULL, 'p', '', -1)",
                                              oid, sqlite3_column_name(statement, i), type, type == 25 ? -1 : 8,
                                              i + 1));
    }
    (void) sqlite3_finalize(statement);
    return status;
}

enum pv_status
pv_helpers_catalog(struct pv_log_reader *reader)
{
    enum pv_status status = pv_db_exec(reader->sqlite, catalog_sql);

    for (size_t i = 0; status == PV_OK && i < PV_COUNT_OF(types); i++)
        status = exec(reader, sqlite3_mprintf("INSERT INTO pg_type VALUES (%d, %Q, 11, %d, 'b', 0, 0, 0, ',', 0, -1,"
                                              " 0, 0, 'S', NULL, NULL)",
                                              types[i].oid, types[i].name, types[i].len));
    for (size_t i = 0; status == PV_OK && i < PV_COUNT_OF(relations); i++)
        status = add_relation(reader, relations[i], 16384 + (int) i);
    if (status == PV_OK)
        status = pv_db_exec(reader->sqlite,
                            "CREATE TEMP VIEW information_schema_tables AS SELECT 'pgveil' AS table_catalog,"
                            " 'public' AS table_schema, relname AS table_name, 'VIEW' AS table_type,"
                            " 'NO' AS is_insertable_into FROM pg_class;"
                            "CREATE TEMP VIEW information_schema_columns AS SELECT 'pgveil' AS table_catalog,"
                            " 'public' AS table_schema, c.relname AS table_name, a.attname AS column_name,"
                            " a.attnum AS ordinal_position, NULL AS column_default, 'YES' AS is_nullable,"
                            " format_type(a.atttypid, -1) AS data_type, t.typname AS udt_name"
                            " FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
                            " JOIN pg_type AS t ON t.oid = a.atttypid");
    return status;
}
