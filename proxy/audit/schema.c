#include "proxy/audit/db_int.h"

#include <stdio.h>
#include <string.h>

/* `schema` stands before the tables' names. */
#define SELECT_QUERY_LOG(schema, collate) \
    "SELECT s.seq AS seq, s.at" collate " AS at, s.session AS session, s.room AS room, s.user AS user, s.party AS party, " \
    "s.client AS client, s.application AS application, s.protocol AS protocol, s.question AS question, " \
    "s.question_type AS question_type, s.decision AS decision, " \
    "coalesce(s.reason, s.end_reason, e.reason) AS reason, s.query AS query, s.parameters AS parameters, " \
    "s.forwarded AS forwarded, s.datasets AS datasets, s.columns AS columns, coalesce(s.rows, e.rows) AS rows, " \
    "coalesce(s.suppressed, e.suppressed) AS suppressed, coalesce(s.bytes, e.bytes) AS bytes, " \
    "coalesce(s.duration_us, e.duration_us) AS duration_us, coalesce(s.outcome, e.outcome) AS outcome, " \
    "coalesce(s.sqlstate, e.sqlstate) AS sqlstate, s.service AS service FROM " schema "statement AS s LEFT JOIN " schema \
    "statement_end AS e ON e.id = s.id AND s.outcome IS NULL"
#define SELECT_EVENT_LOG(schema, collate) \
    "SELECT seq, at" collate " AS at, session, room, user, client, event, detail FROM " schema "event"

/*
 * SQLite takes a view of two parts apart for a search only where their columns have the same affinity: what is computed
 * above is computed here. And it asks a virtual table for an order by its rowid alone, which is the seq.
 */
#define SAME(column) "coalesce(" column ", NULL) AS " column
#define VIEW_COLUMNS \
    "SELECT rowid AS seq, at@: AS at, session, room, user, party, client, application, protocol, question," \
    " question_type, decision, " SAME("reason") ", query, parameters, forwarded, datasets, columns, " SAME("rows") ", " \
    SAME("suppressed") ", " SAME("bytes") ", " SAME("duration_us") ", " SAME("outcome") ", " SAME("sqlstate") ", service"
#define EVENT_COLUMNS "SELECT rowid AS seq, at@: AS at, session, room, user, client, event, detail"

/*
 * The words of the database and of the parser quote values. A denial's own name columns, clauses and bounds, which the
 * policy's readers know.
 */
#define MASKED_COLUMNS \
    "SELECT seq, at, session, room, user, party, client, application, protocol, question, question_type, decision," \
    " iif(decision = 'denied' AND coalesce(sqlstate, '') NOT IN ('42601', '22021', '22P02', '22007'), reason," \
    " pv_mask_text(reason)) AS reason, pv_mask(query) AS query, pv_mask_parameters(parameters) AS parameters," \
    " pv_mask(forwarded) AS forwarded, datasets, columns, rows, suppressed, bytes, duration_us, outcome, sqlstate, service"

/* What usage is counted from: no wide column, and none that is masked. Sealed records come added up already. */
#define USAGE_OF(at, room, question, user, party, columns, decision, outcome, rows) \
    "substr(" at ", 1, 10) AS day, " room " AS room, " question " AS question, " user " AS user, " party " AS party, " \
    columns " AS columns, 1 AS statements, " decision " = 'allowed' AS allowed, " decision " = 'denied' AS denied, " \
    decision " = 'allowed' AND " outcome " IS 'failed' AS failed, " rows " AS rows, " at " AS at"
#define USAGE_LIVE \
    "SELECT " USAGE_OF("s.at", "s.room", "s.question", "s.user", "s.party", "s.columns", "s.decision", \
                       "coalesce(s.outcome, e.outcome)", "coalesce(s.rows, e.rows)") \
    " FROM @.statement AS s LEFT JOIN @.statement_end AS e ON e.id = s.id AND s.outcome IS NULL"
#define USAGE_COLUMNS "SELECT day, room, question, user, party, columns, statements, allowed, denied, failed, rows, at"

const struct pv_schema_log pv_schema_logs[PV_SCHEMA_LOG_COUNT] = {
    {"query_log", "query_log", SELECT_QUERY_LOG("@.", "@:"), VIEW_COLUMNS, MASKED_COLUMNS, "s.seq", "s.room"},
    {"event_log", "event_log", SELECT_EVENT_LOG("@.", "@:"), EVENT_COLUMNS, "SELECT *", "seq", "room"},
    {"usage_rows", "usage", USAGE_LIVE, USAGE_COLUMNS, "SELECT *", "s.seq", "s.room"},
};

/* Of one element of pv_tally's array (tally.c), as it is numbered there. */
#define TALLIED(place) "t.value ->> " #place
#define TALLY_OF(keys, from) \
    "(SELECT pv_tally(" keys ", statements, allowed, denied, failed, rows, at) FROM " from ")"
#define TALLY(a, b, c, who, where) \
    "json_each(" TALLY_OF(a ", " b ", " c ", NULL, NULL, NULL, " who, "usage_rows" where) ") AS t"

const struct pv_schema_view pv_schema_views[PV_SCHEMA_VIEW_COUNT] = {
    {"daily_usage", "SELECT substr(at, 1, 10) AS day, room, question, count(*) AS statements,"
                    " count(*) FILTER (WHERE decision = 'allowed') AS allowed,"
                    " count(*) FILTER (WHERE decision = 'denied') AS denied,"
                    " count(*) FILTER (WHERE outcome = 'failed' AND decision = 'allowed') AS failed,"
                    " count(DISTINCT user) AS users, sum(rows) AS rows FROM query_log GROUP BY 1, 2, 3",
     "SELECT " TALLIED(0) " AS day, " TALLIED(1) " AS room, " TALLIED(2) " AS question, " TALLIED(6) " AS statements, "
     TALLIED(7) " AS allowed, " TALLIED(8) " AS denied, " TALLIED(9) " AS failed, " TALLIED(10) " AS users, "
     TALLIED(11) " AS rows FROM " TALLY("day", "room", "question", "user", "") " ORDER BY 1, 2, 3"},
    {"denials", "SELECT seq, at, session, room, user, party, client, application, sqlstate, reason, query"
                " FROM query_log WHERE decision = 'denied'", NULL},
    /* What the policy grants, read or not, and what was read under an earlier policy. */
    {"column_usage",
     "SELECT room, column_name, max(granted) AS granted, sum(reads) AS reads, max(last_at) AS last_at FROM ("
     "SELECT room, column_name, 1 AS granted, 0 AS reads, NULL AS last_at FROM granted_column UNION ALL "
     "SELECT q.room, j.value, 0, count(*), max(q.at) FROM query_log AS q, json_each(q.columns) AS j"
     " WHERE q.decision = 'allowed' GROUP BY 1, 2) GROUP BY room, column_name",
     "SELECT room, column_name, max(granted) AS granted, sum(reads) AS reads, max(last_at) AS last_at FROM ("
     "SELECT room, column_name, 1 AS granted, 0 AS reads, NULL AS last_at FROM granted_column UNION ALL "
     "SELECT " TALLIED(0) ", j.value, 0, " TALLIED(7) ", " TALLIED(12) " FROM "
     TALLY("room", "columns", "NULL", "NULL", " WHERE allowed > 0") ", json_each(" TALLIED(1) ") AS j)"
     " GROUP BY room, column_name"},
    {"top_members", "SELECT room, user, party, count(*) AS statements,"
                    " count(*) FILTER (WHERE decision = 'denied') AS denied, sum(rows) AS rows, max(at) AS last_at"
                    " FROM query_log GROUP BY room, user, party",
     "SELECT " TALLIED(0) " AS room, " TALLIED(1) " AS user, " TALLIED(2) " AS party, " TALLIED(6) " AS statements, "
     TALLIED(8) " AS denied, " TALLIED(11) " AS rows, " TALLIED(12) " AS last_at FROM "
     TALLY("room", "user", "party", "NULL", "") " ORDER BY 1, 2, 3"},
    {"unused_questions", "SELECT room, question FROM question AS g WHERE NOT EXISTS (SELECT 1 FROM query_log AS q"
                         " WHERE q.room = g.room AND q.question = g.question AND q.decision = 'allowed')",
     "SELECT room, question FROM question WHERE (room, question) NOT IN (SELECT " TALLIED(0) ", " TALLIED(1) " FROM "
     TALLY("room", "question", "NULL", "NULL", " WHERE allowed > 0 AND question IS NOT NULL AND room IS NOT NULL")
     ")"},
};

/* What a sealed segment holds may leave the live file. */
#define APPEND_ONLY_LIVE(table) \
    "CREATE TRIGGER " table "_no_update BEFORE UPDATE ON " table \
    " BEGIN SELECT RAISE(ABORT, 'the query log is append-only'); END;" \
    "CREATE TRIGGER " table "_no_delete BEFORE DELETE ON " table \
    " WHEN old.seq > (SELECT coalesce(max(last_seq), 0) FROM segment)" \
    " BEGIN SELECT RAISE(ABORT, 'the query log is append-only'); END;"

#define APPEND_ONLY(table, words) \
    "CREATE TRIGGER " table "_no_update BEFORE UPDATE ON " table " BEGIN SELECT RAISE(ABORT, '" words "'); END;" \
    "CREATE TRIGGER " table "_no_delete BEFORE DELETE ON " table " BEGIN SELECT RAISE(ABORT, '" words "'); END;"

/* An approval, a consent or a secret that changes is counted, so that serve sees it (store.h, pv_store_changes). */
#define COUNTED(table, verb) \
    "CREATE TRIGGER " table "_counts_" verb " AFTER " verb " ON " table \
    " BEGIN UPDATE meta SET value = value + 1 WHERE name = 'changes'; END;"

/*
 * The log: one chain through three tables, seq is common to them. Each index is paid for by every statement, and a look
 * at each of a million rows takes a fifth of a second: so there is none by room, user or time, which goes along with seq.
 * A statement that was over when it was written has its end in its row, any other in statement_end.
 */
#define STATEMENT_TABLE \
    "CREATE TABLE statement (seq INTEGER PRIMARY KEY NOT NULL, id INTEGER NOT NULL, at TEXT NOT NULL," \
    " session INTEGER, room TEXT, user TEXT, party TEXT, client TEXT, application TEXT, protocol TEXT NOT NULL," \
    " question TEXT, question_type TEXT, decision TEXT NOT NULL, reason TEXT, query ANY, parameters TEXT," \
    " forwarded TEXT, datasets TEXT NOT NULL, columns TEXT NOT NULL, service TEXT, rows INTEGER, suppressed TEXT," \
    " bytes INTEGER, duration_us INTEGER, outcome TEXT, sqlstate TEXT, end_reason TEXT, hash BLOB NOT NULL) STRICT;" \
    "CREATE INDEX statement_denied ON statement (decision) WHERE decision = 'denied';"
#define OTHER_TABLES \
    "CREATE TABLE statement_end (seq INTEGER PRIMARY KEY NOT NULL, id INTEGER NOT NULL UNIQUE, at TEXT NOT NULL," \
    " rows INTEGER, suppressed TEXT, bytes INTEGER, duration_us INTEGER, outcome TEXT NOT NULL, sqlstate TEXT," \
    " reason TEXT, hash BLOB NOT NULL) STRICT;" \
    "CREATE TABLE event (seq INTEGER PRIMARY KEY NOT NULL, at TEXT NOT NULL, session INTEGER, room TEXT, user TEXT," \
    " client TEXT, event TEXT NOT NULL, detail TEXT, hash BLOB NOT NULL) STRICT;" \
    "CREATE INDEX event_at ON event (at);" \
    "CREATE INDEX event_room ON event (room);"
#define LOG_VIEWS \
    "CREATE VIEW query_log AS " SELECT_QUERY_LOG("", "") ";" \
    "CREATE VIEW event_log AS " SELECT_EVENT_LOG("", "") ";"
#define LOG_TRIGGERS APPEND_ONLY_LIVE("statement") APPEND_ONLY_LIVE("statement_end") APPEND_ONLY_LIVE("event")

static const char schema_sql[] =
    "CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO meta VALUES ('changes', 0), ('swept', 0), ('swept_id', 0);"
    STATEMENT_TABLE OTHER_TABLES LOG_VIEWS
    /* Beside the log. */
    "CREATE TABLE secret (scope TEXT NOT NULL, name TEXT NOT NULL, secret BLOB NOT NULL, PRIMARY KEY (scope, name))"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE approval (seq INTEGER PRIMARY KEY NOT NULL, room TEXT NOT NULL, question TEXT NOT NULL,"
    " party TEXT NOT NULL, at INTEGER NOT NULL, text BLOB NOT NULL, signature BLOB NOT NULL, fingerprint TEXT NOT NULL)"
    " STRICT;"
    "CREATE INDEX approval_question ON approval (room, question);"
    "CREATE TABLE consent (seq INTEGER PRIMARY KEY NOT NULL, room TEXT NOT NULL, kind INTEGER NOT NULL,"
    " subject TEXT NOT NULL, party TEXT NOT NULL, withdrawn INTEGER NOT NULL, at INTEGER NOT NULL,"
    " signature BLOB NOT NULL, fingerprint TEXT) STRICT;"
    "CREATE INDEX consent_subject ON consent (room, kind, subject, party);"
    "CREATE TABLE budget (key TEXT NOT NULL, period TEXT NOT NULL, runs INTEGER NOT NULL, PRIMARY KEY (key, period))"
    " STRICT, WITHOUT ROWID;" APPEND_ONLY("approval", "approvals are only ever added")
        APPEND_ONLY("consent", "consent is only ever added") COUNTED("secret", "INSERT") COUNTED("secret", "UPDATE")
            COUNTED("secret", "DELETE") COUNTED("approval", "INSERT") COUNTED("consent", "INSERT");

/* The policy in force as far as views tell of it, kept heads, and how far the log was shipped. */
static const char schema_2_sql[] =
    "CREATE TABLE granted_column (room TEXT NOT NULL, column_name TEXT NOT NULL, PRIMARY KEY (room, column_name))"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE question (room TEXT NOT NULL, question TEXT NOT NULL, PRIMARY KEY (room, question))"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE head (seq INTEGER PRIMARY KEY NOT NULL, hash BLOB NOT NULL, at INTEGER NOT NULL, key TEXT NOT NULL,"
    " signature BLOB NOT NULL) STRICT;"
    "CREATE TABLE shipped (target TEXT PRIMARY KEY NOT NULL, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    APPEND_ONLY("head", "heads are only ever added");

#define MANIFEST_COLUMNS \
    " (number INTEGER PRIMARY KEY NOT NULL, file TEXT NOT NULL, first_seq INTEGER NOT NULL," \
    " last_seq INTEGER NOT NULL, before BLOB NOT NULL, hash BLOB NOT NULL, records INTEGER NOT NULL," \
    " id_max INTEGER NOT NULL, first_at TEXT NOT NULL, last_at TEXT NOT NULL, at INTEGER NOT NULL, key TEXT NOT NULL," \
    " signature BLOB NOT NULL) STRICT;"

/* Version 3: the segments that were sealed, and the tombstones of those that were retired (segment.h). */
static const char schema_3_sql[] =
    "CREATE TABLE segment" MANIFEST_COLUMNS
    "CREATE TABLE retired (number INTEGER PRIMARY KEY NOT NULL, last_seq INTEGER NOT NULL, hash BLOB NOT NULL,"
    " at INTEGER NOT NULL, policy TEXT NOT NULL, key TEXT NOT NULL, signature BLOB NOT NULL) STRICT;"
    APPEND_ONLY("segment", "segments are only ever added") APPEND_ONLY("retired", "tombstones are only ever added")
    LOG_TRIGGERS;

/*
 * From version 2, which had a statement's end in statement_end alone, and more indexes. Rows keep their numbers and
 * their hashes, which cover no column that is new.
 */
static const char leave_2_sql[] =
    "DROP VIEW unused_questions; DROP VIEW top_members; DROP VIEW column_usage; DROP VIEW denials; DROP VIEW daily_usage;"
    "DROP VIEW query_log; DROP VIEW event_log;"
    "DROP TRIGGER statement_no_update; DROP TRIGGER statement_no_delete; DROP TRIGGER statement_end_no_update;"
    "DROP TRIGGER statement_end_no_delete; DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete;"
    "DROP INDEX statement_at; DROP INDEX statement_room; DROP INDEX statement_user; DROP INDEX statement_denied;"
    "ALTER TABLE statement RENAME TO statement_2;" STATEMENT_TABLE
    "INSERT INTO statement (seq, id, at, session, room, user, party, client, application, protocol, question,"
    " question_type, decision, reason, query, parameters, forwarded, datasets, columns, service, hash) SELECT seq, id,"
    " at, session, room, user, party, client, application, protocol, question, question_type, decision, reason, query,"
    " parameters, forwarded, datasets, columns, service, hash FROM statement_2 ORDER BY seq;"
    "DROP TABLE statement_2;"
    "INSERT INTO meta SELECT 'swept_id', coalesce(max(id), 0) FROM statement;" LOG_VIEWS;

/*
 * A segment's own file. The end of a statement may lie beyond the segment's last record: then a copy of it is in late_end,
 * so that the file tells of its statements whole; the record itself is in the chain where it was written. Nobody waits
 * for its indexes.
 */
static const char segment_sql[] =
    STATEMENT_TABLE OTHER_TABLES
    "CREATE INDEX statement_id ON statement (id);"
    "CREATE INDEX statement_at ON statement (at);"
    "CREATE INDEX statement_room ON statement (room);"
    "CREATE INDEX statement_user ON statement (user);"
    "CREATE INDEX statement_question ON statement (question);"
    "CREATE TABLE late_end (seq INTEGER PRIMARY KEY NOT NULL, id INTEGER NOT NULL UNIQUE, at TEXT NOT NULL,"
    " rows INTEGER, suppressed TEXT, bytes INTEGER, duration_us INTEGER, outcome TEXT NOT NULL, sqlstate TEXT,"
    " reason TEXT, hash BLOB NOT NULL) STRICT;"
    "CREATE TABLE manifest" MANIFEST_COLUMNS
    "CREATE VIEW query_log AS SELECT s.seq AS seq, s.at AS at, s.session AS session, s.room AS room, s.user AS user,"
    " s.party AS party, s.client AS client, s.application AS application, s.protocol AS protocol,"
    " s.question AS question, s.question_type AS question_type, s.decision AS decision,"
    " coalesce(s.reason, s.end_reason, e.reason, l.reason) AS reason, s.query AS query, s.parameters AS parameters,"
    " s.forwarded AS forwarded, s.datasets AS datasets, s.columns AS columns, coalesce(s.rows, e.rows, l.rows) AS rows,"
    " coalesce(s.suppressed, e.suppressed, l.suppressed) AS suppressed, coalesce(s.bytes, e.bytes, l.bytes) AS bytes,"
    " coalesce(s.duration_us, e.duration_us, l.duration_us) AS duration_us,"
    " coalesce(s.outcome, e.outcome, l.outcome) AS outcome, coalesce(s.sqlstate, e.sqlstate, l.sqlstate) AS sqlstate,"
    " s.service AS service, coalesce(e.seq, l.seq) AS end_seq"
    " FROM statement AS s LEFT JOIN statement_end AS e ON e.id = s.id AND s.outcome IS NULL"
    " LEFT JOIN late_end AS l ON l.id = s.id AND s.outcome IS NULL;"
    "CREATE VIEW event_log AS " SELECT_EVENT_LOG("", "") ";";

/*
 * Version 2: who asked what of which columns on which day, added up once and for all. An allowed and a denied statement
 * are of different groups, or `at` of what was read could be that of a denial.
 */
static const char segment_2_sql[] =
    "CREATE TABLE usage (seq INTEGER PRIMARY KEY NOT NULL, day TEXT NOT NULL, room TEXT, question TEXT, user TEXT,"
    " party TEXT, columns TEXT NOT NULL, statements INTEGER NOT NULL, allowed INTEGER NOT NULL,"
    " denied INTEGER NOT NULL, failed INTEGER NOT NULL, rows INTEGER, at TEXT NOT NULL) STRICT;";

const char pv_schema_segment_usage[] =
    "SELECT seq, " USAGE_OF("at", "room", "question", "user", "party", "columns", "decision", "outcome", "rows")
    " FROM query_log";

#define USAGE_KEYS "day, room, question, user, party, columns, NULL"
#define TALLIED_USAGE \
    TALLIED(0) ", " TALLIED(1) ", " TALLIED(2) ", " TALLIED(3) ", " TALLIED(4) ", " TALLIED(5) ", " TALLIED(6) ", " \
    TALLIED(7) ", " TALLIED(8) ", " TALLIED(9) ", " TALLIED(11) ", " TALLIED(12)

/* `sql` has up to two places for the rows of the records. */
static enum pv_status
run_usage(sqlite3 *sqlite, const char *sql, sqlite3_stmt **row)
{
    char *text = sqlite3_mprintf(sql, pv_schema_segment_usage, pv_schema_segment_usage);
    enum pv_status status = text == NULL ? PV_NOMEM : pv_tally_add(sqlite);

    if (status == PV_OK)
        status = pv_db_prepare(sqlite, text, row);
    if (status == PV_OK)
        status = pv_db_step(*row);
    sqlite3_free(text);
    return status;
}

enum pv_status
pv_schema_fill_usage(sqlite3 *sqlite)
{
    static const char *const decisions[] = {"allowed > 0", "allowed = 0"};
    enum pv_status status = PV_OK;

    for (size_t i = 0; status == PV_OK && i < PV_COUNT_OF(decisions); i++) {
        char *sql = sqlite3_mprintf(
            "INSERT INTO usage (day, room, question, user, party, columns, statements, allowed, denied, failed, rows, at)"
            " SELECT " TALLIED_USAGE " FROM json_each(" TALLY_OF(USAGE_KEYS, "(%%s) WHERE %s") ") AS t",
            decisions[i]);
        sqlite3_stmt *row = NULL;

        status = sql == NULL ? PV_NOMEM : run_usage(sqlite, sql, &row);
        (void) sqlite3_finalize(row);
        sqlite3_free(sql);
        status = status == PV_NOTFOUND ? PV_OK : status;
    }
    return status;
}

enum pv_status
pv_schema_check_usage(sqlite3 *sqlite, bool *is_same)
{
    static const char sql[] =
        "SELECT " TALLY_OF(USAGE_KEYS, "(%s) WHERE allowed > 0") " IS " TALLY_OF(USAGE_KEYS, "usage WHERE allowed > 0")
        " AND " TALLY_OF(USAGE_KEYS, "(%s) WHERE allowed = 0") " IS "
        TALLY_OF(USAGE_KEYS, "usage WHERE allowed = 0");
    sqlite3_stmt *row = NULL;
    enum pv_status status = run_usage(sqlite, sql, &row);

    if (status == PV_OK)
        *is_same = sqlite3_column_int(row, 0) != 0;
    (void) sqlite3_finalize(row);
    return status;
}

static enum pv_status
make_segment(sqlite3 *sqlite, int64_t version)
{
    char sql[96];
    enum pv_status status = pv_db_exec(sqlite, segment_sql);

    if (status == PV_OK && version > PV_SEGMENT_VERSION_OLDEST)
        status = pv_db_exec(sqlite, segment_2_sql);
    if (status != PV_OK)
        return status;
    (void) snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d", PV_SEGMENT_APPLICATION_ID,
                    (int) version);
    return pv_db_exec(sqlite, sql);
}

enum pv_status
pv_schema_make_segment(sqlite3 *sqlite)
{
    return make_segment(sqlite, PV_SEGMENT_VERSION);
}

/* Views over the views, and what came with version 3. */
static enum pv_status
make_rest(sqlite3 *sqlite)
{
    enum pv_status status = pv_db_exec(sqlite, schema_3_sql);

    for (size_t i = 0; status == PV_OK && i < PV_SCHEMA_VIEW_COUNT; i++) {
        char *sql = sqlite3_mprintf("CREATE VIEW %s AS %s", pv_schema_views[i].name, pv_schema_views[i].select);

        status = sql == NULL ? PV_NOMEM : pv_db_exec(sqlite, sql);
        sqlite3_free(sql);
    }
    return status;
}

enum pv_status
pv_schema_version(sqlite3 *sqlite, int64_t *version)
{
    return pv_db_number(sqlite, "PRAGMA user_version", 0, version);
}

static enum pv_status
make(sqlite3 *sqlite)
{
    char sql[96];
    enum pv_status status = pv_db_exec(sqlite, schema_sql);

    if (status == PV_OK)
        status = pv_db_exec(sqlite, schema_2_sql);
    if (status == PV_OK)
        status = make_rest(sqlite);
    if (status != PV_OK)
        return status;
    (void) snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d", PV_DB_APPLICATION_ID,
                    PV_DB_VERSION);
    return pv_db_exec(sqlite, sql);
}

static enum pv_status
bring_forward(sqlite3 *sqlite)
{
    char sql[40];
    enum pv_status status = pv_db_exec(sqlite, leave_2_sql);

    if (status == PV_OK)
        status = make_rest(sqlite);
    if (status != PV_OK)
        return status;
    (void) snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", PV_DB_VERSION);
    return pv_db_exec(sqlite, sql);
}

enum pv_status
pv_schema_ensure(sqlite3 *sqlite, enum pv_schema_use use, char *error, size_t error_size)
{
    int64_t objects = 0, version = 0, application = 0;
    enum pv_status status = pv_db_number(sqlite, "SELECT count(*) FROM sqlite_schema", 0, &objects);

    if (status == PV_OK)
        status = pv_db_number(sqlite, "PRAGMA user_version", 0, &version);
    if (status == PV_OK)
        status = pv_db_number(sqlite, "PRAGMA application_id", 0, &application);
    if (status == PV_OK && objects == 0 && version == 0 && use == PV_SCHEMA_CREATE)
        status = make(sqlite);
    else if (status == PV_OK && objects == 0 && version == 0 && application == 0) {
        pv_db_error(error, error_size, "the file is empty, no log was begun in it");
        return PV_NOTFOUND;
    } else if (status == PV_OK && application != PV_DB_APPLICATION_ID) {
        pv_db_error(error, error_size, "the file is not a pgveil state file");
        return PV_CORRUPT;
    } else if (status == PV_OK && version == PV_DB_VERSION_OLDEST && use != PV_SCHEMA_READ) {
        status = bring_forward(sqlite);
    } else if (status == PV_OK && version == PV_DB_VERSION_OLDEST) {
        pv_db_error(error, error_size, "the state file has version %lld; pgveil serve brings it to version %d",
                    (long long) version, PV_DB_VERSION);
        return PV_CORRUPT;
    } else if (status == PV_OK && version != PV_DB_VERSION) {
        pv_db_error(error, error_size, "the state file has version %lld, this pgveil knows version %d",
                    (long long) version, PV_DB_VERSION);
        return PV_CORRUPT;
    }
    if (status != PV_OK)
        pv_db_error(error, error_size, "%s", sqlite3_errmsg(sqlite));
    return status;
}

/* Every object of ours, as SQLite keeps its text; indexes that SQLite makes itself have none. */
#define OBJECTS_SQL \
    "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' ORDER BY 1"

static bool
is_same_object(sqlite3_stmt *a, sqlite3_stmt *b)
{
    for (int i = 0; i < 2; i++) {
        struct pv_slice left = pv_slice_of(sqlite3_column_text(a, i), (size_t) sqlite3_column_bytes(a, i));
        struct pv_slice right = pv_slice_of(sqlite3_column_text(b, i), (size_t) sqlite3_column_bytes(b, i));

        if (!pv_slice_equal(left, right))
            return false;
    }
    return true;
}

static enum pv_status
compare_objects(sqlite3_stmt *expected, sqlite3_stmt *actual, char *name, size_t name_size)
{
    for (;;) {
        enum pv_status want = pv_db_step(expected);
        enum pv_status have = pv_db_step(actual);
        sqlite3_stmt *culprit = expected;

        if (want == PV_NOTFOUND && have == PV_NOTFOUND)
            return PV_OK;
        if (want != PV_OK && want != PV_NOTFOUND)
            return want;
        if (have != PV_OK && have != PV_NOTFOUND)
            return have;
        if (want == PV_OK && have == PV_OK && is_same_object(expected, actual))
            continue;
        /* The lists are sorted: an extra object stands before the expected one. */
        if (want == PV_NOTFOUND || (have == PV_OK && strcmp((const char *) sqlite3_column_text(actual, 0),
                                                            (const char *) sqlite3_column_text(expected, 0)) < 0))
            culprit = actual;
        (void) snprintf(name, name_size, "%s", (const char *) sqlite3_column_text(culprit, 0));
        return PV_OK;
    }
}

enum pv_status
pv_schema_compare(sqlite3 *sqlite, enum pv_schema_kind kind, char *name, size_t name_size)
{
    sqlite3 *model = NULL;
    sqlite3_stmt *expected = NULL, *actual = NULL;
    int64_t version = 0;
    enum pv_status status = pv_db_status(sqlite3_open(":memory:", &model));

    pv_assert(name_size > 0);
    name[0] = '\0';
    if (status == PV_OK)
        status = kind == PV_SCHEMA_LIVE ? PV_OK : pv_schema_version(sqlite, &version);
    if (status == PV_OK)
        status = kind == PV_SCHEMA_LIVE ? make(model) : make_segment(model, version);
    if (status == PV_OK)
        status = pv_db_prepare(model, OBJECTS_SQL, &expected);
    if (status == PV_OK)
        status = pv_db_prepare(sqlite, OBJECTS_SQL, &actual);
    if (status == PV_OK)
        status = compare_objects(expected, actual, name, name_size);
    (void) sqlite3_finalize(expected);
    (void) sqlite3_finalize(actual);
    (void) sqlite3_close(model);
    return status;
}
