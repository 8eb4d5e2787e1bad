/*
 * pgveil provision: brings the rooms' roles, schemas and views in the upstream
 * database in line with the room files. One transaction a room.
 */
#include "policy/catalog.h"
#include "proxy/app/commands.h"
#include "proxy/app/provision.h"
#include "proxy/audit/journal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *room;
    bool is_plan, is_drop;
};

static bool
read_options(int argc, char **argv, struct options *options)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--plan") == 0) {
            options->is_plan = true;
        } else if (strcmp(argv[i], "--drop") == 0) {
            options->is_drop = true;
        } else if (!pv_option_take("--room", argc, argv, &i, &options->room) || options->room == NULL) {
            (void) pv_option_refuse("provision", argv[i], strncmp(argv[i], "--room", 6) == 0,
                                    "provision [-c FILE] [--room R] [--plan] [--drop]");
            return false;
        }
    }
    return true;
}

static void
say_warning(void *context, const char *words)
{
    (void) context;
    fprintf(stderr, "pgveil provision: warning: %s\n", words);
}

static void
print_faults(const struct pv_faults *faults)
{
    for (size_t i = 0; i < pv_faults_total(faults); i++) {
        const struct pv_fault *fault = pv_faults_at(faults, i);

        if (!fault->is_warning)
            fprintf(stderr, "%s:%u:%u: %s\n", fault->file, fault->line, fault->column, fault->message);
    }
}

/* ---- one room ---- */

static enum pv_status
run(struct pv_provision *p, const char *sql)
{
    PGresult *rows = pv_provision_query(p, sql, 0, NULL);

    PQclear(rows);
    return rows == NULL ? PV_IO : PV_OK;
}

/*
 * Everything that a constant or a date in a definition could hang on is pinned, so that the
 * views mean the same whoever's defaults the database has. Two provisionings wait for each other.
 */
static enum pv_status
begin(struct pv_provision *p)
{
    static const char *const statements[] = {
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        "SET LOCAL search_path = pg_catalog, pg_temp",
        "SET LOCAL client_min_messages = warning",
        "SET LOCAL DateStyle = 'ISO, YMD'",
        "SET LOCAL IntervalStyle = 'postgres'",
        "SET LOCAL extra_float_digits = 1",
        "SET LOCAL standard_conforming_strings = on",
        "SET LOCAL lock_timeout = '30s'",
        "SELECT pg_advisory_xact_lock(8102097, 1346783820)",
    };
    enum pv_status status = PV_OK;
    const char *values[] = {p->room->timezone};
    PGresult *rows;

    for (size_t i = 0; i < PV_COUNT_OF(statements) && status == PV_OK; i++)
        status = run(p, statements[i]);
    if (status != PV_OK)
        return status;
    rows = pv_provision_query(p, "SELECT set_config('TimeZone', $1, true)", 1, values);
    if (rows == NULL)
        return pv_provision_fail(p, PV_INVALID, "room %s: timezone \"%s\" is not one that the database knows",
                                 p->room->name, p->room->timezone);
    PQclear(rows);
    return PV_OK;
}

static enum pv_status
look_around(struct pv_provision *p)
{
    static const char sql[] =
        "SELECT current_database(), rolsuper, rolsuper OR rolcreaterole, "
        "has_database_privilege(current_database(), 'CREATE'), current_setting('server_encoding'), "
        "(SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pgcrypto' "
        " AND has_schema_privilege('public', n.oid, 'USAGE') AND EXISTS (SELECT 1 FROM pg_proc f WHERE f.pronamespace = n.oid "
        "  AND f.proname = 'hmac' AND f.proargtypes = '17 17 25'::oidvector AND has_function_privilege('public', f.oid, 'EXECUTE'))), "
        "current_setting('server_version_num')::int >= 150000, "
        "EXISTS (SELECT 1 FROM pg_auth_members m JOIN pg_roles o ON o.oid = m.roleid WHERE o.rolname = $1 "
        " AND m.member = (SELECT oid FROM pg_roles WHERE rolname = current_user)) "
        "FROM pg_roles WHERE rolname = current_user";
    const char *values[] = {p->owner};
    PGresult *rows = pv_provision_query(p, sql, 1, values);
    enum pv_status status = PV_OK;
    bool is_creating, may_create, is_new_enough;

    if (rows == NULL)
        return PV_IO;
    p->database = pv_provision_text(p, rows, 0, 0);
    p->is_superuser = strcmp(PQgetvalue(rows, 0, 1), "t") == 0;
    is_creating = strcmp(PQgetvalue(rows, 0, 2), "t") == 0;
    may_create = strcmp(PQgetvalue(rows, 0, 3), "t") == 0;
    p->hmac_schema = pv_provision_text(p, rows, 0, 5);
    is_new_enough = strcmp(PQgetvalue(rows, 0, 6), "t") == 0;
    p->is_owner_member = strcmp(PQgetvalue(rows, 0, 7), "t") == 0;
    if (p->database == NULL)
        status = pv_provision_fail(p, PV_NOMEM, "out of memory");
    else if (!is_new_enough)
        status = pv_provision_fail(p, PV_DENIED, "the database is older than PostgreSQL 15");
    else if (strcmp(PQgetvalue(rows, 0, 4), "UTF8") != 0)
        status = pv_provision_fail(p, PV_DENIED, "database \"%s\" has encoding %s; pgveil needs UTF8", p->database,
                                   PQgetvalue(rows, 0, 4));
    else if (!is_creating)
        status = pv_provision_fail(p, PV_DENIED, "user \"%s\" lacks CREATEROLE", PQuser(p->conn));
    else if (!may_create)
        status = pv_provision_fail(p, PV_DENIED, "user \"%s\" lacks CREATE on database \"%s\"", PQuser(p->conn),
                                   p->database);
    PQclear(rows);
    return status;
}

/* Everything that the room should be, in the order of making. */
static enum pv_status
gather(struct pv_provision *p, struct pv_made **out, size_t *out_count)
{
    struct pv_mask_context context = {p->room->name, p->hmac_schema, p->room->timezone, pv_views_need_tame(p->room)};
    struct pv_made *own = NULL, *questions = NULL, *catalog = NULL, *types = NULL, *all;
    size_t own_count = 0, question_count = 0, catalog_count = 0, type_count = 0, count = 0;
    enum pv_status status = pv_views_private(p->arena, p->room, &context, &own, &own_count);

    if (status == PV_OK)
        status = pv_views_questions(p->arena, p->room, &questions, &question_count);
    if (status == PV_OK)
        status = pv_catalog_views(p->arena, p->room, &catalog, &catalog_count);
    if (status != PV_OK)
        return pv_provision_fail(p, status, "room %s: %s", p->room->name, pv_status_words(status));
    status = pv_provision_types(p, &types, &type_count);
    if (status != PV_OK)
        return status;
    all = pv_arena_alloc(p->arena, (own_count + p->room->dataset_count + question_count + catalog_count + type_count) *
                                       sizeof(*all));
    if (all == NULL)
        return pv_provision_fail(p, PV_NOMEM, "out of memory");
    memcpy(all, own, own_count * sizeof(*all));
    count = own_count;
    for (size_t i = 0; i < p->room->dataset_count; i++) {
        struct pv_source source = {0};
        const char *words = "out of memory";

        status = pv_provision_source(p, &p->room->datasets[i], &source);
        if (status != PV_OK)
            return status;
        status = pv_views_dataset(p->arena, p->room, &p->room->datasets[i], &source, &context, &all[count++], &words);
        if (status != PV_OK)
            return pv_provision_fail(p, status, "%s", words);
    }
    if (question_count > 0)
        memcpy(all + count, questions, question_count * sizeof(*all));
    count += question_count;
    memcpy(all + count, catalog, catalog_count * sizeof(*all));
    count += catalog_count;
    if (type_count > 0)
        memcpy(all + count, types, type_count * sizeof(*all));
    *out = all;
    *out_count = count + type_count;
    return PV_OK;
}

static enum pv_status
plan_room(struct pv_provision *p, bool is_drop)
{
    struct pv_made *made = NULL;
    size_t count = 0;
    enum pv_status status = look_around(p);

    if (status == PV_OK && is_drop) {
        status = pv_provision_drop_objects(p);
        if (status == PV_OK)
            status = pv_provision_revoke(p, true);
        if (status == PV_OK)
            status = pv_provision_end(p);
        return status == PV_OK ? pv_provision_drop_roles(p) : status;
    }
    if (status == PV_OK)
        status = pv_provision_roles(p);
    if (status == PV_OK)
        status = gather(p, &made, &count);
    if (status == PV_OK)
        status = pv_provision_objects(p, made, count);
    if (status == PV_OK)
        status = pv_provision_secrets(p);
    if (status == PV_OK)
        status = pv_provision_revoke(p, false);
    return status == PV_OK ? pv_provision_end(p) : status;
}

static enum pv_status
run_steps(struct pv_provision *p)
{
    for (size_t i = 0; i < p->step_count; i++) {
        PGresult *rows = PQexec(p->conn, p->steps[i].sql);
        ExecStatusType result = PQresultStatus(rows);

        if (result != PGRES_COMMAND_OK && result != PGRES_TUPLES_OK) {
            const char *message = PQresultErrorField(rows, PG_DIAG_MESSAGE_PRIMARY);
            const char *detail = PQresultErrorField(rows, PG_DIAG_MESSAGE_DETAIL);
            enum pv_status status =
                pv_provision_fail(p, PV_IO, "room %s: %s%s%s; nothing was changed. The statement was: %.400s",
                                  p->room->name, message != NULL ? message : PQerrorMessage(p->conn),
                                  detail != NULL ? ": " : "", detail != NULL ? detail : "", p->steps[i].shown);

            PQclear(rows);
            return status;
        }
        PQclear(rows);
    }
    return run(p, "COMMIT");
}

static enum pv_status
record_event(const struct pv_policy *policy, const struct pv_provision *p, bool is_drop, char *error, size_t error_size)
{
    json_t *detail = json_pack("{s:s, s:s, s:I}", "database", p->database, "action", is_drop ? "drop" : "provision",
                               "statements", (json_int_t) p->step_count);
    char *text = detail == NULL ? NULL : json_dumps(detail, JSON_COMPACT);
    struct pv_event event = {.room = p->room->name, .event = "provision", .detail = text};
    struct pv_record record = {.kind = PV_RECORD_EVENT, .event = &event};
    enum pv_status status = pv_journal_append_once(policy->config.state_path, &record, error, error_size);

    free(text);
    json_decref(detail);
    return status;
}

static enum pv_status
finish_room(struct pv_provision *p, const struct pv_policy *policy, const struct options *options)
{
    char error[256] = "";
    enum pv_status status;

    if (p->step_count == 0) {
        printf("%sroom %s: %s\n", options->is_plan ? "-- " : "", p->room->name,
               options->is_drop ? "nothing to drop" : "no changes");
        return PV_OK;
    }
    if (options->is_plan) {
        printf("-- room %s\nBEGIN;\nSET LOCAL search_path = pg_catalog, pg_temp;\n", p->room->name);
        for (size_t i = 0; i < p->step_count; i++)
            printf("%s;\n", p->steps[i].shown);
        printf("COMMIT;\n");
        return PV_OK;
    }
    status = run_steps(p);
    if (status != PV_OK)
        return status;
    printf("room %s: %s (%zu statements)\n", p->room->name, options->is_drop ? "dropped" : "provisioned",
           p->step_count);
    status = record_event(policy, p, options->is_drop, error, sizeof(error));
    if (status != PV_OK)
        return pv_provision_fail(p, status, "room %s: done, but the query log could not be written: %s", p->room->name,
                                 error[0] != '\0' ? error : pv_status_words(status));
    return PV_OK;
}

static bool
provision_room(const struct pv_policy *policy, const struct pv_room *room, struct pv_store *store,
               const struct options *options)
{
    struct pv_provision p = {.arena = pv_arena_new(65536), .room = room, .store = store, .is_plan = options->is_plan};
    enum pv_status status = PV_NOMEM;

    if (p.arena == NULL) {
        fprintf(stderr, "pgveil provision: out of memory\n");
        return false;
    }
    pv_views_owner_role(room->name, p.owner);
    pv_views_login_role(room->name, p.login);
    p.words = "out of memory";
    p.conn = pv_provision_connect(p.arena, room->upstream, true, &p.words);
    if (p.conn == NULL)
        goto done;
    status = begin(&p);
    if (status == PV_OK && !options->is_drop)
        status = pv_provision_warnings(p.conn, room, say_warning, NULL);
    if (status == PV_OK)
        status = plan_room(&p, options->is_drop);
    if (status == PV_OK)
        status = finish_room(&p, policy, options);
done:
    if (status != PV_OK)
        fprintf(stderr, "pgveil provision: %s\n", p.words != NULL ? p.words : pv_status_words(status));
    PQfinish(p.conn);
    pv_arena_free(p.arena);
    return status == PV_OK;
}

/* ---- the command ---- */

/* --plan makes no state file: without one no secret exists yet, which is all that it needs to know. */
static bool
open_store(const struct pv_policy *policy, const struct options *options, struct pv_store **store)
{
    char error[256] = "";
    const char *path = policy->config.state_path;

    if (options->is_drop || (options->is_plan && access(path, F_OK) != 0))
        return true;
    if (pv_store_open(path, store, error, sizeof(error)) == PV_OK)
        return true;
    fprintf(stderr, "pgveil provision: state %s: %s\n", path, error);
    return false;
}

int
pv_command_provision(const char *config_path, int argc, char **argv)
{
    struct options options = {0};
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;
    struct pv_store *store = NULL;
    enum pv_status status;
    int exit_status = 2;

    if (faults == NULL || !read_options(argc, argv, &options))
        goto done;
    status = pv_policy_load(config_path, faults, &policy);
    if (status != PV_OK) {
        print_faults(faults);
        if (pv_faults_total(faults) == 0)
            fprintf(stderr, "pgveil provision: %s\n", pv_status_words(status));
        goto done;
    }
    if (options.room != NULL && pv_policy_room(policy, pv_slice_cstr(options.room)) == NULL) {
        fprintf(stderr, "pgveil provision: there is no room \"%s\"\n", options.room);
        goto done;
    }
    if (!open_store(policy, &options, &store))
        goto done;
    exit_status = 0;
    for (size_t i = 0; i < policy->room_count; i++) {
        const struct pv_room *room = &policy->rooms[i];

        if (options.room != NULL && strcmp(options.room, room->name) != 0)
            continue;
        if (!provision_room(policy, room, store, &options))
            exit_status = 2;
    }
done:
    pv_store_close(store);
    if (policy != NULL)
        pv_policy_unref(policy);
    pv_faults_free(faults);
    return exit_status;
}
