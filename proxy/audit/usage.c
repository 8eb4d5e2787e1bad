/*
 * The policy in force, as far as the log's views tell of it: columns that are granted and never read, questions that
 * nobody asks.
 */
#include "policy/policy.h"
#include "proxy/audit/db_int.h"
#include "proxy/audit/keeper.h"

static enum pv_status
add(sqlite3_stmt *statement, const char *room, const char *name)
{
    enum pv_status status;

    (void) sqlite3_bind_text(statement, 1, room, -1, SQLITE_STATIC);
    (void) sqlite3_bind_text(statement, 2, name, -1, SQLITE_TRANSIENT);
    status = pv_db_step(statement);
    (void) sqlite3_reset(statement);
    return status == PV_NOTFOUND ? PV_OK : status;
}

static enum pv_status
add_room(const struct pv_room *room, sqlite3_stmt *columns, sqlite3_stmt *questions)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < room->question_count && status == PV_OK; i++)
        status = add(questions, room->name, room->questions[i].id);
    for (size_t i = 0; i < room->dataset_count; i++)
        for (size_t k = 0; k < room->datasets[i].column_count && status == PV_OK; k++) {
            const struct pv_column *column = &room->datasets[i].columns[k];
            char *name;

            if (column->category == 2)
                continue;
            name = sqlite3_mprintf("%s.%s", room->datasets[i].key, column->name);
            status = name == NULL ? PV_NOMEM : add(columns, room->name, name);
            sqlite3_free(name);
        }
    return status;
}

enum pv_status
pv_usage_refresh(const char *path, const struct pv_policy *policy)
{
    const struct pv_db_options options = {0};
    struct pv_db *db = NULL;
    sqlite3_stmt *columns = NULL, *questions = NULL;
    enum pv_status status = pv_db_open(path, &options, &db, NULL, 0);

    if (status != PV_OK)
        return status;
    status = pv_db_exec(db->sqlite, "BEGIN IMMEDIATE; DELETE FROM granted_column; DELETE FROM question");
    if (status == PV_OK)
        status = pv_db_prepare(db->sqlite, "INSERT OR IGNORE INTO granted_column VALUES (?1, ?2)", &columns);
    if (status == PV_OK)
        status = pv_db_prepare(db->sqlite, "INSERT OR IGNORE INTO question VALUES (?1, ?2)", &questions);
    for (size_t i = 0; i < policy->room_count && status == PV_OK; i++)
        status = add_room(&policy->rooms[i], columns, questions);
    (void) sqlite3_finalize(columns);
    (void) sqlite3_finalize(questions);
    if (status == PV_OK)
        status = pv_db_exec(db->sqlite, "COMMIT");
    pv_db_close(db); /* an open transaction is rolled back */
    return status;
}
