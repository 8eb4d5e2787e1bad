/*
 * What auditors' SQL finds beside SQLite's own: functions under PostgreSQL's names, and
 * a small catalog, so that psql's \d, JDBC's getTables and SQLAlchemy's inspector see the log's views.
 */
#include "proxy/audit/db_int.h"
#include "proxy/audit/query_int.h"

#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define DAY_US (86400 * INT64_C(1000000))

static const char version[] = "PostgreSQL 15.0 (pgveil query log)";

/* ---- Arguments and results ---- */

static const char *
text_of(sqlite3_value *value)
{
    return (const char *) sqlite3_value_text(value);
}

static bool
has_null(sqlite3_context *context, int count, sqlite3_value **values)
{
    for (int i = 0; i < count; i++)
        if (sqlite3_value_type(values[i]) == SQLITE_NULL || text_of(values[i]) == NULL) {
            sqlite3_result_null(context);
            return true;
        }
    return false;
}

static void
give_text(sqlite3_context *context, const char *text)
{
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static void
give_fault(sqlite3_context *context, const char *what, const char *text)
{
    char *words = sqlite3_mprintf("invalid input syntax for type %s: \"%.200s\"", what, text);

    if (words == NULL)
        sqlite3_result_error_nomem(context);
    else
        sqlite3_result_error(context, words, -1);
    sqlite3_free(words);
}

static void
give_time(sqlite3_context *context, int64_t at_us)
{
    char text[PV_RECORD_TIME_SIZE];

    pv_record_time_format(at_us, text);
    give_text(context, text);
}

/* RFC 3339, or as PostgreSQL writes it: a blank for the T, no zone (UTC), a zone of hours alone. */
static bool
read_time(const char *text, int64_t *at_us)
{
    char copy[48];
    size_t len = strlen(text);
    char *zone;

    if (len + 7 > sizeof(copy))
        return false;
    memcpy(copy, text, len + 1);
    if (len > 10 && copy[10] == ' ')
        copy[10] = 'T';
    if (len <= 10)
        return pv_record_time_parse(copy, at_us) == PV_OK;
    if (len == 16) { /* no seconds */
        memcpy(copy + 16, ":00", 4);
        len = 19;
    }
    zone = strpbrk(copy + 11, "Zz+-");
    if (zone == NULL)
        memcpy(copy + len, "Z", 2);
    else if ((*zone == '+' || *zone == '-') && strlen(zone) == 3)
        memcpy(zone + 3, ":00", 4);
    return pv_record_time_parse(copy, at_us) == PV_OK;
}

static bool
time_of(sqlite3_context *context, sqlite3_value *value, int64_t *at_us)
{
    if (read_time(text_of(value), at_us))
        return true;
    give_fault(context, "timestamp with time zone", text_of(value));
    return false;
}

/* ---- Times ---- */

static void
sql_now(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    give_time(context, pv_record_now_us());
}

static void
sql_timestamp(sqlite3_context *context, int count, sqlite3_value **values)
{
    int64_t at_us;

    if (!has_null(context, count, values) && time_of(context, values[0], &at_us))
        give_time(context, at_us);
}

static void
sql_date(sqlite3_context *context, int count, sqlite3_value **values)
{
    char text[PV_RECORD_TIME_SIZE];
    int64_t at_us;

    if (has_null(context, count, values) || !time_of(context, values[0], &at_us))
        return;
    pv_record_time_format(at_us, text);
    text[10] = '\0';
    give_text(context, text);
}

static struct tm
parts_of(int64_t at_us)
{
    time_t seconds = (time_t) (at_us / 1000000);
    struct tm parts;

    memset(&parts, 0, sizeof(parts));
    (void) gmtime_r(&seconds, &parts);
    return parts;
}

static int64_t
whole_days(struct tm *parts)
{
    parts->tm_hour = parts->tm_min = parts->tm_sec = 0;
    return (int64_t) timegm(parts) * 1000000;
}

static void
sql_date_trunc(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *unit;
    struct tm parts;
    int64_t at_us;

    if (has_null(context, count, values) || !time_of(context, values[1], &at_us))
        return;
    unit = text_of(values[0]);
    parts = parts_of(at_us);
    if (strcasecmp(unit, "second") == 0)
        at_us -= at_us % 1000000;
    else if (strcasecmp(unit, "minute") == 0)
        at_us -= at_us % 60000000;
    else if (strcasecmp(unit, "hour") == 0)
        at_us -= at_us % (INT64_C(3600) * 1000000);
    else if (strcasecmp(unit, "day") == 0)
        at_us -= at_us % DAY_US;
    else if (strcasecmp(unit, "week") == 0)
        at_us = whole_days(&parts) - ((parts.tm_wday + 6) % 7) * DAY_US;
    else if (strcasecmp(unit, "month") == 0 || strcasecmp(unit, "quarter") == 0 || strcasecmp(unit, "year") == 0) {
        if (unit[0] == 'q' || unit[0] == 'Q')
            parts.tm_mon -= parts.tm_mon % 3;
        else if (unit[0] == 'y' || unit[0] == 'Y')
            parts.tm_mon = 0;
        parts.tm_mday = 1;
        at_us = whole_days(&parts);
    } else {
        give_fault(context, "a unit of date_trunc", unit);
        return;
    }
    give_time(context, at_us);
}

static void
sql_date_part(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct tm parts;
    int64_t at_us;
    const char *unit;

    if (has_null(context, count, values) || !time_of(context, values[1], &at_us))
        return;
    unit = text_of(values[0]);
    parts = parts_of(at_us);
    if (strcasecmp(unit, "epoch") == 0 || strcasecmp(unit, "second") == 0) {
        int64_t us = strcasecmp(unit, "epoch") == 0 ? at_us : at_us % 60000000;

        sqlite3_result_double(context, (double) us / 1000000.0);
        return;
    }
    {
        const struct {
            const char *unit;
            int value;
        } rows[] = {
            {"year", parts.tm_year + 1900}, {"quarter", parts.tm_mon / 3 + 1}, {"month", parts.tm_mon + 1},
            {"day", parts.tm_mday},         {"hour", parts.tm_hour},           {"minute", parts.tm_min},
            {"dow", parts.tm_wday},         {"isodow", (parts.tm_wday + 6) % 7 + 1}, {"doy", parts.tm_yday + 1},
        };

        for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
            if (strcasecmp(unit, rows[i].unit) == 0) {
                sqlite3_result_int(context, rows[i].value);
                return;
            }
    }
    give_fault(context, "a unit of date_part", unit);
}

static int64_t
add_months(int64_t at_us, int64_t months)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct tm parts = parts_of(at_us);
    int64_t rest = at_us % DAY_US;
    int64_t total = (int64_t) parts.tm_year * 12 + parts.tm_mon + months;
    int year, most;

    if (total < 70 * 12 || total > 8099 * 12)
        return at_us;
    year = (int) (total / 12) + 1900;
    parts.tm_year = year - 1900;
    parts.tm_mon = (int) (total % 12);
    most = days[parts.tm_mon];
    if (parts.tm_mon == 1 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0))
        most = 29;
    if (parts.tm_mday > most)
        parts.tm_mday = most;
    return whole_days(&parts) + rest;
}

/* `7 days`, `1 hour 30 minutes`, `-1 month`, `02:30`. */
static bool
shift(int64_t *at_us, int64_t sign, const char *text)
{
    static const struct {
        const char *unit;
        int64_t us;
        int64_t months;
    } units[] = {
        {"microsecond", 1, 0}, {"millisecond", 1000, 0}, {"second", 1000000, 0}, {"sec", 1000000, 0},
        {"minute", 60000000, 0}, {"min", 60000000, 0}, {"hour", INT64_C(3600000000), 0}, {"h", INT64_C(3600000000), 0},
        {"day", DAY_US, 0}, {"d", DAY_US, 0}, {"week", 7 * DAY_US, 0}, {"month", 0, 1}, {"mon", 0, 1}, {"year", 0, 12},
    };
    bool is_any = false;

    for (;;) {
        char unit[16];
        char *end;
        long number;
        size_t len = 0, k;

        while (*text == ' ')
            text++;
        if (*text == '\0')
            return is_any;
        number = strtol(text, &end, 10);
        if (end == text || number > 1000000 || number < -1000000)
            return false;
        text = end;
        while (*text == ' ')
            text++;
        while (isalpha((unsigned char) *text) != 0 && len + 1 < sizeof(unit))
            unit[len++] = (char) tolower((unsigned char) *text++);
        unit[len] = '\0';
        if (len > 3 && unit[len - 1] == 's')
            unit[len - 1] = '\0';
        for (k = 0; k < PV_COUNT_OF(units) && strcmp(units[k].unit, unit) != 0; k++)
            ;
        if (k == PV_COUNT_OF(units))
            return false;
        *at_us = units[k].months == 0 ? *at_us + sign * number * units[k].us
                                      : add_months(*at_us, sign * number * units[k].months);
        is_any = true;
    }
}

static void
sql_shift(sqlite3_context *context, int count, sqlite3_value **values)
{
    int64_t at_us;

    if (has_null(context, count, values) || !time_of(context, values[0], &at_us))
        return;
    if (shift(&at_us, sqlite3_value_int64(values[1]), text_of(values[2])))
        give_time(context, at_us < 0 ? 0 : at_us);
    else
        give_fault(context, "interval", text_of(values[2]));
}

/* A time compares with whatever spells a time; other texts by their bytes, after all times. */
static int
compare_times(void *context, int len_a, const void *a, int len_b, const void *b)
{
    char text_a[41], text_b[41];
    int64_t at_a = 0, at_b = 0;
    bool is_a = false, is_b = false;
    int order;

    (void) context;
    if (len_a > 0 && len_a < 41) {
        memcpy(text_a, a, (size_t) len_a);
        text_a[len_a] = '\0';
        is_a = read_time(text_a, &at_a);
    }
    if (len_b > 0 && len_b < 41) {
        memcpy(text_b, b, (size_t) len_b);
        text_b[len_b] = '\0';
        is_b = read_time(text_b, &at_b);
    }
    if (is_a && is_b)
        return at_a < at_b ? -1 : at_a > at_b;
    if (is_a != is_b)
        return is_a ? -1 : 1;
    order = memcmp(a, b, (size_t) (len_a < len_b ? len_a : len_b));
    return order != 0 ? order : len_a - len_b;
}

/* ---- Casts ---- */

static void
sql_text(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (!has_null(context, count, values))
        sqlite3_result_text64(context, text_of(values[0]), (sqlite3_uint64) sqlite3_value_bytes(values[0]),
                              SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void
sql_int8(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (has_null(context, count, values))
        return;
    if (sqlite3_value_type(values[0]) == SQLITE_FLOAT)
        sqlite3_result_int64(context, (sqlite3_int64) (sqlite3_value_double(values[0]) +
                                                       (sqlite3_value_double(values[0]) < 0 ? -0.5 : 0.5)));
    else if (sqlite3_value_numeric_type(values[0]) == SQLITE_INTEGER)
        sqlite3_result_int64(context, sqlite3_value_int64(values[0]));
    else
        give_fault(context, "bigint", text_of(values[0]));
}

static void
sql_float8(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (has_null(context, count, values))
        return;
    if (sqlite3_value_numeric_type(values[0]) == SQLITE_TEXT)
        give_fault(context, "double precision", text_of(values[0]));
    else
        sqlite3_result_double(context, sqlite3_value_double(values[0]));
}

static void
sql_bool(sqlite3_context *context, int count, sqlite3_value **values)
{
    static const char *const yes[] = {"t", "true", "yes", "on", "1"}, *const no[] = {"f", "false", "no", "off", "0"};

    if (has_null(context, count, values))
        return;
    for (size_t i = 0; i < PV_COUNT_OF(yes); i++)
        if (strcasecmp(text_of(values[0]), yes[i]) == 0 || strcasecmp(text_of(values[0]), no[i]) == 0) {
            sqlite3_result_int(context, strcasecmp(text_of(values[0]), yes[i]) == 0);
            return;
        }
    give_fault(context, "boolean", text_of(values[0]));
}

/* ---- Patterns ---- */

static size_t
next_char(const char **at, bool is_folding)
{
    const unsigned char *c = (const unsigned char *) *at;
    size_t value = *c++;

    if (value >= 0xC0)
        while ((*c & 0xC0) == 0x80)
            value = value << 6 | (*c++ & 0x3F);
    *at = (const char *) c;
    return is_folding && value < 0x80 ? (size_t) tolower((int) value) : value;
}

/* LIKE without recursion: the last % is the only one that ever needs to be tried again. */
static bool
is_like(const char *pattern, const char *text, size_t escape, bool is_folding)
{
    const char *retry_pattern = NULL, *retry_text = NULL;

    for (;;) {
        if (*pattern == '%' && escape != '%') {
            retry_pattern = ++pattern;
            retry_text = text;
            continue;
        }
        if (*text == '\0' && *pattern == '\0')
            return true;
        if (*pattern != '\0' && *text != '\0') {
            const char *at = pattern, *in = text;
            size_t want = next_char(&at, is_folding);
            size_t have = next_char(&in, is_folding);
            bool is_any = want == '_' && escape != '_';

            if (want == escape && escape != 0 && *at != '\0') {
                want = next_char(&at, is_folding);
                is_any = false;
            }
            if (is_any || want == have) {
                pattern = at;
                text = in;
                continue;
            }
        }
        if (retry_pattern == NULL || *retry_text == '\0')
            return false;
        (void) next_char(&retry_text, false);
        pattern = retry_pattern;
        text = retry_text;
    }
}

static void
like(sqlite3_context *context, int count, sqlite3_value **values, bool is_folding)
{
    size_t escape = '\\';

    if (has_null(context, count, values))
        return;
    if (count == 3) {
        const char *at = text_of(values[2]);

        escape = *at == '\0' ? 0 : next_char(&at, false);
    }
    sqlite3_result_int(context, is_like(text_of(values[0]), text_of(values[1]), escape, is_folding));
}

static void
sql_like(sqlite3_context *context, int count, sqlite3_value **values)
{
    like(context, count, values, false);
}

static void
sql_ilike(sqlite3_context *context, int count, sqlite3_value **values)
{
    like(context, count, values, true);
}

/* POSIX's expressions in the C library: bounded, since some patterns cost more than time budgets notice. */
static void
sql_regexp(sqlite3_context *context, int count, sqlite3_value **values)
{
    regex_t regex;

    if (has_null(context, count, values))
        return;
    if (sqlite3_value_bytes(values[0]) > 200 || sqlite3_value_bytes(values[1]) > 4096 ||
        strpbrk(text_of(values[0]), "{}\\") != NULL) {
        sqlite3_result_error(context, "this regular expression is not supported for the query log", -1);
        return;
    }
    if (regcomp(&regex, text_of(values[0]), REG_EXTENDED | REG_NOSUB) != 0) {
        sqlite3_result_error(context, "invalid regular expression", -1);
        return;
    }
    sqlite3_result_int(context, regexec(&regex, text_of(values[1]), 0, NULL, 0) == 0);
    regfree(&regex);
}

/* ---- Who and what ---- */

static void
sql_user(sqlite3_context *context, int count, sqlite3_value **values)
{
    const struct pv_log_reader *reader = sqlite3_user_data(context);

    (void) count;
    (void) values;
    give_text(context, reader->user);
}

static void
sql_version(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    give_text(context, version);
}

static void
sql_schema(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    give_text(context, "public");
}

static void
sql_database(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    give_text(context, "pgveil");
}

static void
sql_setting(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (has_null(context, 1, values))
        return;
    if (strcasecmp(text_of(values[0]), "server_version_num") == 0)
        give_text(context, "150000");
    else if (strcasecmp(text_of(values[0]), "search_path") == 0)
        give_text(context, "public");
    else
        sqlite3_result_null(context);
    (void) count;
}

static void
sql_true(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    sqlite3_result_int(context, 1);
}

static void
sql_null(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    sqlite3_result_null(context);
}

static void
sql_first(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    sqlite3_result_value(context, values[0]);
}

/* ---- The catalog ---- */

static const struct {
    int oid;
    const char *name, *words;
    int len;
} types[] = {
    {16, "bool", "boolean", 1}, {20, "int8", "bigint", 8}, {23, "int4", "integer", 4}, {25, "text", "text", -1},
    {701, "float8", "double precision", 8}, {1043, "varchar", "character varying", -1},
    {1184, "timestamptz", "timestamp with time zone", 8}, {1082, "date", "date", 4},
};

static void
sql_format_type(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    for (size_t i = 0; i < PV_COUNT_OF(types); i++)
        if (sqlite3_value_int(values[0]) == types[i].oid) {
            give_text(context, types[i].words);
            return;
        }
    sqlite3_result_null(context);
}

static void
sql_to_regtype(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (has_null(context, count, values))
        return;
    for (size_t i = 0; i < PV_COUNT_OF(types); i++)
        if (strcmp(text_of(values[0]), types[i].name) == 0 || strcmp(text_of(values[0]), types[i].words) == 0) {
            sqlite3_result_int(context, types[i].oid);
            return;
        }
    sqlite3_result_null(context);
}

/* A relation's name stays as it is, its number too. */
static const struct {
    const char *name;
    int count;
    void (*run)(sqlite3_context *context, int count, sqlite3_value **values);
} functions[] = {
    {"now", 0, sql_now}, {"date_trunc", 2, sql_date_trunc}, {"date_part", 2, sql_date_part},
    {"pv_shift", 3, sql_shift}, {"pv_timestamp", 1, sql_timestamp}, {"pv_date", 1, sql_date},
    {"pv_text", 1, sql_text}, {"pv_int8", 1, sql_int8}, {"pv_float8", 1, sql_float8}, {"pv_bool", 1, sql_bool},
    {"like", 2, sql_like}, {"like", 3, sql_like}, {"match", 2, sql_ilike}, {"regexp", 2, sql_regexp},
    {"version", 0, sql_version}, {"current_schema", 0, sql_schema}, {"current_database", 0, sql_database},
    {"pv_current_user", 0, sql_user}, {"current_setting", 1, sql_setting}, {"current_setting", 2, sql_setting},
    {"pg_table_is_visible", 1, sql_true}, {"pg_type_is_visible", 1, sql_true},
    {"has_schema_privilege", 2, sql_true}, {"has_table_privilege", 2, sql_true},
    {"pg_get_userbyid", 1, sql_database}, {"pg_get_expr", 2, sql_null}, {"pg_get_expr", 3, sql_null},
    {"obj_description", 1, sql_null}, {"obj_description", 2, sql_null}, {"col_description", 2, sql_null},
    {"format_type", 2, sql_format_type}, {"pv_regtype", 1, sql_format_type}, {"to_regtype", 1, sql_to_regtype},
    {"pv_regclass", 1, sql_first}, {"pg_encoding_to_char", 1, sql_null},
};

static const char *const tables[] = {
    "pg_class", "pg_namespace", "pg_attribute", "pg_type", "pg_attrdef", "pg_description", "pg_am", "pg_index",
    "pg_constraint", "pg_inherits", "pg_collation", "information_schema_tables", "information_schema_columns",
};

bool
pv_helpers_is_function(const char *name)
{
    for (size_t i = 0; i < PV_COUNT_OF(functions); i++)
        if (strcasecmp(functions[i].name, name) == 0)
            return true;
    return false;
}

bool
pv_helpers_is_table(const char *name)
{
    for (size_t i = 0; i < PV_COUNT_OF(tables); i++)
        if (strcasecmp(tables[i], name) == 0)
            return true;
    return false;
}

enum pv_status
pv_helpers_add(struct pv_log_reader *reader)
{
    int rc = sqlite3_create_collation(reader->sqlite, "pv_time", SQLITE_UTF8, NULL, compare_times);

    for (size_t i = 0; rc == SQLITE_OK && i < PV_COUNT_OF(functions); i++)
        rc = sqlite3_create_function(reader->sqlite, functions[i].name, functions[i].count,
                                     SQLITE_UTF8 | SQLITE_INNOCUOUS, reader,
                                     functions[i].run, NULL, NULL);
    return pv_db_status(rc);
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
    " indisvalid INTEGER, indkey TEXT);"
    "CREATE TEMP TABLE pg_constraint (oid INTEGER, conname TEXT, contype TEXT, conrelid INTEGER, confrelid INTEGER,"
    " conindid INTEGER, conparentid INTEGER);"
    "CREATE TEMP TABLE pg_inherits (inhrelid INTEGER, inhparent INTEGER, inhseqno INTEGER);"
    "CREATE TEMP TABLE pg_collation (oid INTEGER, collname TEXT);";

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
