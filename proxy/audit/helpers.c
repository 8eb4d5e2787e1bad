/*
 * What auditors' SQL finds beside SQLite's own under PostgreSQL's names: casts, patterns, who asks; and the list of all
 * such functions, those on times (helpers_time.c) and of the catalog (helpers_catalog.c) among them.
 */
#include "proxy/audit/helpers_int.h"

#include "proxy/audit/db_int.h"

#include <ctype.h>
#include <regex.h>
#include <string.h>
#include <strings.h>

static const char version[] = "PostgreSQL 15.0 (pgveil query log)";

/* ---- Arguments and results ---- */

const char *
pv_helper_text(sqlite3_value *value)
{
    return (const char *) sqlite3_value_text(value);
}

bool
pv_helper_has_null(sqlite3_context *context, int count, sqlite3_value **values)
{
    for (int i = 0; i < count; i++)
        if (sqlite3_value_type(values[i]) == SQLITE_NULL || pv_helper_text(values[i]) == NULL) {
            sqlite3_result_null(context);
            return true;
        }
    return false;
}

void
pv_helper_give_text(sqlite3_context *context, const char *text)
{
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

void
pv_helper_give_fault(sqlite3_context *context, const char *what, const char *text)
{
    char *words = sqlite3_mprintf("invalid input syntax for type %s: \"%.200s\"", what, text);

    if (words == NULL)
        sqlite3_result_error_nomem(context);
    else
        sqlite3_result_error(context, words, -1);
    sqlite3_free(words);
}

/* ---- Casts ---- */

static void
sql_text(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (!pv_helper_has_null(context, count, values))
        sqlite3_result_text64(context, pv_helper_text(values[0]), (sqlite3_uint64) sqlite3_value_bytes(values[0]),
                              SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void
sql_int8(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (pv_helper_has_null(context, count, values))
        return;
    if (sqlite3_value_type(values[0]) == SQLITE_FLOAT)
        sqlite3_result_int64(context, (sqlite3_int64) (sqlite3_value_double(values[0]) +
                                                       (sqlite3_value_double(values[0]) < 0 ? -0.5 : 0.5)));
    else if (sqlite3_value_numeric_type(values[0]) == SQLITE_INTEGER)
        sqlite3_result_int64(context, sqlite3_value_int64(values[0]));
    else
        pv_helper_give_fault(context, "bigint", pv_helper_text(values[0]));
}

static void
sql_float8(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (pv_helper_has_null(context, count, values))
        return;
    if (sqlite3_value_numeric_type(values[0]) == SQLITE_TEXT)
        pv_helper_give_fault(context, "double precision", pv_helper_text(values[0]));
    else
        sqlite3_result_double(context, sqlite3_value_double(values[0]));
}

static void
sql_bool(sqlite3_context *context, int count, sqlite3_value **values)
{
    static const char *const yes[] = {"t", "true", "yes", "on", "1"}, *const no[] = {"f", "false", "no", "off", "0"};

    if (pv_helper_has_null(context, count, values))
        return;
    for (size_t i = 0; i < PV_COUNT_OF(yes); i++)
        if (strcasecmp(pv_helper_text(values[0]), yes[i]) == 0 || strcasecmp(pv_helper_text(values[0]), no[i]) == 0) {
            sqlite3_result_int(context, strcasecmp(pv_helper_text(values[0]), yes[i]) == 0);
            return;
        }
    pv_helper_give_fault(context, "boolean", pv_helper_text(values[0]));
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

    if (pv_helper_has_null(context, count, values) || pv_helper_is_long(context, values[0], values[1]))
        return;
    if (count == 3) {
        const char *at = pv_helper_text(values[2]);

        escape = *at == '\0' ? 0 : next_char(&at, false);
    }
    sqlite3_result_int(context, is_like(pv_helper_text(values[0]), pv_helper_text(values[1]), escape, is_folding));
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

    if (pv_helper_has_null(context, count, values))
        return;
    if (sqlite3_value_bytes(values[0]) > 200 || sqlite3_value_bytes(values[1]) > 4096 ||
        strpbrk(pv_helper_text(values[0]), "{}\\") != NULL) {
        sqlite3_result_error(context, "this regular expression is not supported for the query log", -1);
        return;
    }
    if (regcomp(&regex, pv_helper_text(values[0]), REG_EXTENDED | REG_NOSUB) != 0) {
        sqlite3_result_error(context, "invalid regular expression", -1);
        return;
    }
    sqlite3_result_int(context, regexec(&regex, pv_helper_text(values[1]), 0, NULL, 0) == 0);
    regfree(&regex);
}

/* ---- Who and what ---- */

static void
sql_user(sqlite3_context *context, int count, sqlite3_value **values)
{
    const struct pv_log_reader *reader = sqlite3_user_data(context);

    (void) count;
    (void) values;
    pv_helper_give_text(context, reader->user);
}

static void
sql_version(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    pv_helper_give_text(context, version);
}

static void
sql_schema(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    pv_helper_give_text(context, "public");
}

static void
sql_database(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    pv_helper_give_text(context, "pgveil");
}

static void
sql_setting(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (pv_helper_has_null(context, 1, values))
        return;
    if (strcasecmp(pv_helper_text(values[0]), "server_version_num") == 0)
        pv_helper_give_text(context, "150000");
    else if (strcasecmp(pv_helper_text(values[0]), "search_path") == 0)
        pv_helper_give_text(context, "public");
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
sql_schemas(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    sqlite3_result_text(context,
                        sqlite3_value_int(values[0]) != 0 ? "[\"pg_catalog\",\"public\"]" : "[\"public\"]", -1,
                        SQLITE_STATIC);
}

/* Inspectors name it over catalogs that are empty here, where it never runs. */
static void
sql_unnest(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    sqlite3_result_error(context, "arrays are JSON in the query log: take them apart with json_each(...)", -1);
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

/* ---- The list ---- */

/* A relation's name stays as it is, its number too. */
static const struct {
    const char *name;
    int count;
    void (*run)(sqlite3_context *context, int count, sqlite3_value **values);
} functions[] = {
    {"now", 0, pv_helper_now}, {"date_trunc", 2, pv_helper_date_trunc}, {"date_part", 2, pv_helper_date_part},
    {"pv_shift", 3, pv_helper_shift}, {"pv_timestamp", 1, pv_helper_timestamp}, {"pv_date", 1, pv_helper_date},
    {"pv_text", 1, sql_text}, {"pv_int8", 1, sql_int8}, {"pv_float8", 1, sql_float8}, {"pv_bool", 1, sql_bool},
    {"like", 2, sql_like}, {"like", 3, sql_like}, {"match", 2, sql_ilike}, {"regexp", 2, sql_regexp},
    {"instr", 2, pv_helper_instr}, {"replace", 3, pv_helper_replace}, {"glob", 2, pv_helper_glob},
    {"trim", 2, pv_helper_trim}, {"ltrim", 2, pv_helper_ltrim}, {"rtrim", 2, pv_helper_rtrim},
    {"printf", -1, pv_helper_printf}, {"format", -1, pv_helper_printf},
    {"version", 0, sql_version}, {"current_schema", 0, sql_schema}, {"current_schemas", 1, sql_schemas}, {"current_database", 0, sql_database},
    {"pv_current_user", 0, sql_user}, {"current_setting", 1, sql_setting}, {"current_setting", 2, sql_setting},
    {"pg_table_is_visible", 1, sql_true}, {"pg_type_is_visible", 1, sql_true},
    {"has_schema_privilege", 2, sql_true}, {"has_table_privilege", 2, sql_true},
    {"pg_get_userbyid", 1, sql_database}, {"pg_get_expr", 2, sql_null}, {"pg_get_expr", 3, sql_null},
    {"pg_get_serial_sequence", 2, sql_null}, {"pg_get_constraintdef", 1, sql_null},
    {"pg_get_constraintdef", 2, sql_null}, {"pg_get_indexdef", 1, sql_null}, {"pg_get_indexdef", 3, sql_null}, {"any", 1, sql_unnest}, {"pv_field", 2, sql_unnest},
    {"information_schema__pg_expandarray", 1, sql_unnest},
    {"unnest", 1, sql_unnest}, {"generate_subscripts", 2, sql_unnest},
    {"obj_description", 1, sql_null}, {"obj_description", 2, sql_null}, {"col_description", 2, sql_null},
    {"format_type", 2, pv_helper_format_type}, {"pv_regtype", 1, pv_helper_format_type},
    {"to_regtype", 1, pv_helper_to_regtype},
    {"pv_regclass", 1, sql_first}, {"pg_encoding_to_char", 1, sql_null},
};

bool
pv_helpers_is_function(const char *name)
{
    for (size_t i = 0; i < PV_COUNT_OF(functions); i++)
        if (strcasecmp(functions[i].name, name) == 0)
            return true;
    return false;
}

enum pv_status
pv_helpers_add(struct pv_log_reader *reader)
{
    int rc = sqlite3_create_collation(reader->sqlite, "pv_time", SQLITE_UTF8, NULL, pv_helper_compare_times);

    for (size_t i = 0; rc == SQLITE_OK && i < PV_COUNT_OF(functions); i++)
        rc = sqlite3_create_function(reader->sqlite, functions[i].name, functions[i].count,
                                     SQLITE_UTF8 | SQLITE_INNOCUOUS, reader,
                                     functions[i].run, NULL, NULL);
    return pv_db_status(rc);
}
