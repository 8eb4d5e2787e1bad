/* What readers, the writer and the store share of SQLite: statuses, statements, the newest head, opening to read. */
#include "proxy/audit/spill.h"

#include "proxy/base/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NEWEST(table) "SELECT * FROM (SELECT seq, hash FROM main." table " ORDER BY seq DESC LIMIT 1)"

const char pv_db_head_sql[] = "SELECT seq, hash FROM (" NEWEST("statement") " UNION ALL " NEWEST(
    "statement_end") " UNION ALL " NEWEST("event") ") ORDER BY seq DESC LIMIT 1";

/* ---- Small tools ---- */

void
pv_db_error(char *error, size_t error_size, const char *format, ...)
{
    va_list args;

    if (error_size == 0)
        return;
    va_start(args, format);
    (void) vsnprintf(error, error_size, format, args);
    va_end(args);
}

enum pv_status
pv_db_status(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return PV_OK;
    case SQLITE_NOMEM:
        return PV_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return PV_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return PV_CORRUPT;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        return PV_INVALID;
    case SQLITE_INTERRUPT:
        return PV_LIMIT;
    case SQLITE_AUTH:
        return PV_DENIED;
    default:
        return PV_IO;
    }
}

const char *
pv_db_reason(sqlite3 *sqlite, enum pv_status status)
{
    int rc = sqlite == NULL ? SQLITE_OK : sqlite3_errcode(sqlite);

    return rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE ? pv_status_words(status) : sqlite3_errmsg(sqlite);
}

enum pv_status
pv_db_prepare(sqlite3 *sqlite, const char *sql, sqlite3_stmt **statement)
{
    return pv_db_status(sqlite3_prepare_v3(sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL));
}

enum pv_status
pv_db_exec(sqlite3 *sqlite, const char *sql)
{
    return pv_db_status(sqlite3_exec(sqlite, sql, NULL, NULL, NULL));
}

enum pv_status
pv_db_step(sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);

    return rc == SQLITE_ROW ? PV_OK : rc == SQLITE_DONE ? PV_NOTFOUND : pv_db_status(rc);
}

enum pv_status
pv_db_number(sqlite3 *sqlite, const char *sql, int64_t given, int64_t *number)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status = pv_db_prepare(sqlite, sql, &statement);

    if (status == PV_OK && sqlite3_bind_parameter_count(statement) > 0)
        status = pv_db_status(sqlite3_bind_int64(statement, 1, given));
    if (status == PV_OK)
        status = pv_db_step(statement);
    if (status == PV_OK)
        *number = sqlite3_column_int64(statement, 0);
    (void) sqlite3_finalize(statement);
    return status;
}

/* ---- Heads ---- */

enum pv_status
pv_db_hash_take(sqlite3_stmt *statement, int column, uint8_t hash[PV_SHA256_BYTES])
{
    if (sqlite3_column_bytes(statement, column) != (int) PV_SHA256_BYTES)
        return PV_CORRUPT;
    memcpy(hash, sqlite3_column_blob(statement, column), PV_SHA256_BYTES);
    return PV_OK;
}

enum pv_status
pv_db_head_read(sqlite3_stmt *head, struct pv_db_head *result)
{
    struct pv_db_head found = {0};
    enum pv_status status = pv_db_step(head);

    if (status == PV_OK) {
        found.seq = (uint64_t) sqlite3_column_int64(head, 0);
        status = pv_db_hash_take(head, 1, found.hash);
    } else if (status == PV_NOTFOUND)
        status = PV_OK;
    (void) sqlite3_reset(head);
    if (status == PV_OK)
        *result = found;
    return status;
}

/* ---- Opening for reading ---- */

/* https://www.sqlite.org/uri.html: of the path, '%', '?' and '#' are escaped. */
char *
pv_db_reading_uri(const char *path, bool is_immutable)
{
    sqlite3_str *uri = sqlite3_str_new(NULL);

    sqlite3_str_appendall(uri, "file:");
    for (const char *at = path; *at != '\0'; at++)
        if (strchr("%?#", *at) != NULL)
            sqlite3_str_appendf(uri, "%%%02X", (unsigned) (unsigned char) *at);
        else
            sqlite3_str_appendchar(uri, 1, *at);
    sqlite3_str_appendall(uri, is_immutable ? "?mode=ro&immutable=1" : "?mode=ro");
    return sqlite3_str_finish(uri);
}

/* A copy on a disk that cannot be written has no room for SQLite's -shm: then the file is read as it lies there. */
static enum pv_status
open_reading(const char *path, bool is_immutable, sqlite3 **sqlite)
{
    char *uri = pv_db_reading_uri(path, is_immutable);
    int rc = SQLITE_NOMEM;

    if (uri != NULL)
        rc = sqlite3_open_v2(uri, sqlite, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL);
    sqlite3_free(uri);
    if (rc != SQLITE_OK)
        return pv_db_status(rc);
    (void) sqlite3_extended_result_codes(*sqlite, 1);
    (void) sqlite3_busy_timeout(*sqlite, (int) PV_AUDIT_BUSY_MS);
    (void) sqlite3_db_config(*sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void) sqlite3_db_config(*sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (!is_immutable)
        pv_spill_settle(path, *sqlite);
    return pv_db_exec(*sqlite, "PRAGMA temp_store = MEMORY; BEGIN; SELECT count(*) FROM sqlite_schema");
}

enum pv_status
pv_db_open_sealed(const char *path, sqlite3 **sqlite)
{
    char *uri = pv_db_reading_uri(path, true);
    sqlite3 *made = NULL;
    int rc = SQLITE_NOMEM;

    if (access(path, F_OK) != 0) {
        sqlite3_free(uri);
        return PV_NOTFOUND;
    }
    if (uri != NULL)
        rc = sqlite3_open_v2(uri, &made, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL);
    sqlite3_free(uri);
    if (rc != SQLITE_OK) {
        (void) sqlite3_close(made);
        return pv_db_status(rc);
    }
    (void) sqlite3_extended_result_codes(made, 1);
    (void) sqlite3_db_config(made, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void) sqlite3_db_config(made, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    *sqlite = made;
    return PV_OK;
}

enum pv_status
pv_db_open_reading(const char *path, sqlite3 **sqlite, char *error, size_t error_size)
{
    char words[256] = "";
    sqlite3 *made = NULL;
    enum pv_status status;

    if (access(path, F_OK) != 0) {
        pv_db_error(error, error_size, "there is no query log at %s", path);
        return PV_NOTFOUND;
    }
    status = open_reading(path, false, &made);
    if (status == PV_IO) {
        char *wal = pv_path_with(path, "-wal");
        bool has_wal = wal == NULL || access(wal, F_OK) == 0;

        pv_free(wal);
        /* What is still in the write-ahead log would be left out in silence. */
        if (!has_wal) {
            (void) sqlite3_close(made);
            made = NULL;
            status = open_reading(path, true, &made);
        }
    }
    if (status == PV_OK)
        status = pv_schema_ensure(made, PV_SCHEMA_READ, words, sizeof(words));
    if (status == PV_OK) {
        *sqlite = made;
        return PV_OK;
    }
    pv_db_error(error, error_size, "cannot read the query log %s: %s", path,
                words[0] != '\0' ? words
                : made == NULL   ? pv_status_words(status)
                                 : sqlite3_errmsg(made));
    (void) sqlite3_close(made);
    return status;
}
