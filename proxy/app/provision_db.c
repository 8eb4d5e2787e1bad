#include "proxy/app/provision.h"

#include "proxy/crypto/mac.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum pv_status
pv_provision_fail(struct pv_provision *p, enum pv_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    p->words = pv_arena_vprintf(p->arena, format, args);
    va_end(args);
    if (p->words == NULL)
        p->words = "out of memory";
    return status;
}

/* libpq's words without their line end. */
static const char *
clean_words(struct pv_arena *arena, const char *text)
{
    size_t len = strlen(text);
    const char *copy;

    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        len--;
    copy = pv_arena_strndup(arena, text, len);
    return copy != NULL ? copy : "out of memory";
}

/* The one line of a password file, into `line`. */
static bool
read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    bool is_read = false;

    if (file == NULL)
        return false;
    setvbuf(file, NULL, _IONBF, 0);
    if (fgets(line, (int) size, file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        is_read = true;
    }
    (void) fclose(file);
    return is_read;
}

/* Of every host, in libpq's way to write them: names with commas between them, and their ports. */
static const char *
join_hosts(struct pv_arena *arena, const struct pv_upstream *upstream, bool is_ports)
{
    const char *all = "";

    for (size_t i = 0; i < upstream->host_count && all != NULL; i++) {
        const struct pv_upstream_host *host = &upstream->hosts[i];

        all = is_ports ? pv_arena_printf(arena, "%s%s%u", all, i > 0 ? "," : "", (unsigned) host->port)
                       : pv_arena_printf(arena, "%s%s%s", all, i > 0 ? "," : "", host->name);
    }
    return all;
}

PGconn *
pv_provision_connect(struct pv_arena *arena, const struct pv_upstream *upstream, bool is_writing, const char **words)
{
    static const char *const modes[] = {[PV_SSL_DISABLE] = "disable",
                                        [PV_SSL_REQUIRE] = "require",
                                        [PV_SSL_VERIFY_CA] = "verify-ca",
                                        [PV_SSL_VERIFY_FULL] = "verify-full"};
    char password[1026] = "";
    const char *hosts = join_hosts(arena, upstream, false), *ports = join_hosts(arena, upstream, true);
    const char *timeout = pv_arena_printf(arena, "%u", (unsigned) ((upstream->connect_timeout_ms + 999) / 1000));
    const char *const keywords[] = {"host", "port", "dbname", "user", "password", "sslmode", "sslrootcert", "sslcert",
                                    "sslkey", "connect_timeout", "gssencmode", "client_encoding",
                                    "application_name", "target_session_attrs", NULL};
    const char *values[] = {hosts, ports, upstream->dbname, upstream->user, NULL, modes[upstream->sslmode],
                            upstream->sslrootcert, upstream->sslcert, upstream->sslkey, timeout, "disable", "UTF8",
                            "pgveil provision", is_writing ? "read-write" : "any", NULL};
    PGconn *conn;

    if (hosts == NULL || ports == NULL) {
        *words = "out of memory";
        return NULL;
    }

    if (upstream->password_file != NULL) {
        if (!read_line(upstream->password_file, password, sizeof(password))) {
            *words = pv_arena_printf(arena, "cannot read the password of upstream %s", upstream->name);
            return NULL;
        }
        values[4] = password;
    }
    conn = PQconnectdbParams(keywords, values, 0);
    pv_wipe(password, sizeof(password));
    if (conn != NULL && PQstatus(conn) == CONNECTION_OK)
        return conn;
    *words = pv_arena_printf(arena, "upstream %s: %s", upstream->name,
                             conn == NULL ? "out of memory" : clean_words(arena, PQerrorMessage(conn)));
    PQfinish(conn);
    return NULL;
}

PGresult *
pv_provision_query(struct pv_provision *p, const char *sql, size_t count, const char *const *values)
{
    PGresult *rows = PQexecParams(p->conn, sql, (int) count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(rows);

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return rows;
    p->words = clean_words(p->arena, rows == NULL ? PQerrorMessage(p->conn) : PQresultErrorMessage(rows));
    PQclear(rows);
    return NULL;
}

char *
pv_provision_text(struct pv_provision *p, const PGresult *rows, int row, int column)
{
    if (PQgetisnull(rows, row, column))
        return NULL;
    return pv_arena_strdup(p->arena, PQgetvalue(rows, row, column));
}

enum pv_status
pv_provision_warnings(PGconn *conn, const struct pv_room *room, void (*warn)(void *context, const char *words),
                      void *context)
{
    static const char *const checks[] = {
        "SELECT 'the provisioning user \"' || rolname || '\" is a superuser' FROM pg_catalog.pg_roles "
        "WHERE rolname = current_user AND rolsuper",
        "SELECT 'PUBLIC may create temporary tables in database \"' || datname || '\": REVOKE TEMPORARY ON DATABASE \"' || "
        "datname || '\" FROM PUBLIC' FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database() "
        "AND pg_catalog.has_database_privilege('public', oid, 'TEMPORARY')",
        "SELECT 'PUBLIC may create in schema \"' || nspname || '\"' FROM pg_catalog.pg_namespace "
        "WHERE pg_catalog.has_schema_privilege('public', oid, 'CREATE') ORDER BY nspname",
    };
    enum pv_status status = PV_IO;
    PGresult *rows = NULL;

    for (size_t i = 0; i < PV_COUNT_OF(checks); i++) {
        rows = PQexec(conn, checks[i]);
        if (PQresultStatus(rows) != PGRES_TUPLES_OK)
            goto done;
        for (int row = 0; row < PQntuples(rows); row++)
            warn(context, PQgetvalue(rows, row, 0));
        PQclear(rows);
        rows = NULL;
    }
    for (size_t i = 0; i < room->dataset_count; i++) {
        const char *values[] = {room->datasets[i].source_schema, room->datasets[i].source_name};

        rows = PQexecParams(conn,
                            "SELECT 'PUBLIC may read source ' || n.nspname || '.' || c.relname FROM pg_catalog.pg_class c "
                            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 "
                            "AND pg_catalog.has_any_column_privilege('public', c.oid, 'SELECT')",
                            2, NULL, values, NULL, NULL, 0);
        if (PQresultStatus(rows) != PGRES_TUPLES_OK)
            goto done;
        for (int row = 0; row < PQntuples(rows); row++)
            warn(context, PQgetvalue(rows, row, 0));
        PQclear(rows);
        rows = NULL;
    }
    status = PV_OK;
done:
    PQclear(rows);
    return status;
}
