#include "tests/unit/audit/reader_test.h"

/* Two rooms: retail with ids 1 to 5 (3 denied), other with 6; two events; a secret beside them. */
static int
log_make(void **state)
{
    struct pv_journal *journal;
    struct pv_store *store = NULL;
    struct pv_statement_begin begin = sample_begin(6);
    const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};
    uint64_t ticket = 0;

    if (place_make(state) != 0)
        return -1;
    journal = open_journal(*state, (struct pv_journal_options){0});
    for (uint64_t id = 1; id <= 5; id++)
        if (id == 3)
            assert_int_equal(put_denied(journal, id, NULL, &ticket), PV_OK);
        else {
            assert_int_equal(put_begin(journal, id, NULL, NULL, &ticket), PV_OK);
            assert_int_equal(put_end(journal, id, NULL, NULL, &ticket), PV_OK);
        }
    begin.room = "other";
    begin.user = "O'Brien";
    begin.query = pv_slice_cstr("SELECT \"a\",\n\t'\x1b[31m'");
    begin.parameters = "not json";
    assert_int_equal(pv_journal_put(journal, &record, NULL, NULL, &ticket), PV_OK);
    assert_int_equal(put_event(journal, "login"), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(pv_store_open(((struct place *) *state)->path, &store, NULL, 0), PV_OK);
    assert_int_equal(pv_store_secret_put(store, "retail", "mask", pv_slice_cstr("TOPSECRET")), PV_OK);
    pv_store_close(store);
    return 0;
}

/* First cells of all rows, joined. */
static enum pv_status
take_first(void *context, const struct pv_row *row)
{
    struct pv_buf *out = context;

    if (row->cells == NULL)
        return PV_OK;
    pv_cell_put_text(&row->cells[0], out);
    pv_buf_put_u8(out, ' ');
    return PV_OK;
}

static void
lists_filter(void **state)
{
    static const struct {
        struct pv_log_filter filter;
        const char *want;
    } rows[] = {
        {{0}, "10 8 6 5 3 1 "},
        {{.limit = 2}, "10 8 "},
        {{.room = "retail"}, "8 6 5 3 1 "},
        {{.room = "nowhere"}, ""},
        {{.user = "O'Brien"}, "10 "},
        {{.decision = "denied"}, "5 "},
        {{.decision = "allowed", .room = "retail", .limit = 3}, "8 6 3 "},
        {{.has_since = true, .since_us = INT64_C(1767225600000005)}, "10 8 6 "},
        {{.has_since = true, .since_us = INT64_C(1767225600000006), .user = "alice"}, "8 "},
    };
    struct pv_log_reader *reader = open_reader(*state, NULL);
    const struct pv_log_filter wrong = {.decision = "maybe"};
    struct pv_buf out = {0};

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        assert_int_equal(pv_log_list(reader, &rows[i].filter, take_first, &out), PV_OK);
        assert_string_equal(pv_buf_text(&out), rows[i].want);
        pv_buf_clear(&out);
    }
    assert_int_equal(pv_log_list(reader, &wrong, take_first, &out), PV_INVALID);
    pv_log_reader_close(reader);
}

static void
shows_statements_ends_and_events(void **state)
{
    static const struct {
        uint64_t seq;
        enum pv_status status;
        const char *want;
    } rows[] = {{1, PV_OK, "1 "},      {2, PV_OK, "1 "},     {11, PV_OK, "11 "},
                {12, PV_NOTFOUND, ""}, {0, PV_NOTFOUND, ""}, {UINT64_MAX, PV_NOTFOUND, ""}};
    struct pv_log_reader *reader = open_reader(*state, NULL);

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_buf out = {0};

        assert_int_equal(pv_log_show(reader, rows[i].seq, take_first, &out), rows[i].status);
        assert_string_equal(pv_buf_text(&out), rows[i].want);
        pv_buf_clear(&out);
    }
    pv_log_reader_close(reader);
}

static const struct {
    const char *sql;
    enum pv_status status;
    const char *want;
} queries[] = {
    {"SELECT count(*) FROM query_log", PV_OK, "6 "},
    {"SELECT count(*) FROM event_log", PV_OK, "1 "},
    {"SELECT 1", PV_OK, "1 "},
    {"SELECT 1;  -- so be it", PV_OK, "1 "},
    {"VALUES (1), (2)", PV_OK, "1 2 "},
    {"SELECT user FROM query_log WHERE outcome IS NULL", PV_OK, "O'Brien "},
    {"WITH x AS (SELECT room, count(*) AS n FROM query_log GROUP BY 1) SELECT n FROM x ORDER BY 1", PV_OK, "1 5 "},
    {"WITH x AS (SELECT 1) SELECT count(*) FROM x", PV_OK, "1 "},
    {"SELECT DISTINCT j.value FROM query_log, json_each(columns) AS j", PV_OK, "public.customers.region "},
    {"SELECT q.seq FROM query_log q JOIN event_log e USING (session) WHERE e.event = 'login' AND q.seq < 4", PV_OK,
     "1 3 "},
    {"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r", PV_OK, "1 2 3 "},
    {"SELECT row_number() OVER (ORDER BY seq DESC) FROM query_log LIMIT 2", PV_OK, "1 2 "},
    {"", PV_SYNTAX, NULL},
    {"-- nothing", PV_SYNTAX, NULL},
    {"SELEC 1", PV_SYNTAX, NULL},
    {"SELECT 1; SELECT 2", PV_SYNTAX, NULL},
    {"SELECT 1; DROP TABLE statement", PV_SYNTAX, NULL},
    {"SELECT nothing_such FROM query_log", PV_SYNTAX, NULL},
    {"SELECT secret FROM secret", PV_SYNTAX, NULL},
    {"SELECT count(*) FROM secret", PV_DENIED, NULL},
    {"SELECT 1 FROM secret", PV_DENIED, NULL},
    {"SELECT hidden FROM secret", PV_DENIED, NULL},
    {"SELECT secret FROM main.secret", PV_SYNTAX, NULL},
    {"SELECT text FROM approval", PV_SYNTAX, NULL},
    {"SELECT name FROM sqlite_master", PV_DENIED, NULL},
    {"SELECT sql FROM sqlite_temp_master", PV_DENIED, NULL},
    {"SELECT count(*) FROM sqlite_temp_schema", PV_DENIED, NULL},
    {"SELECT name FROM pragma_database_list", PV_DENIED, NULL},
    {"SELECT file FROM pragma_database_list", PV_DENIED, NULL},
    {"SELECT count(*) FROM pragma_database_list", PV_DENIED, NULL},
    {"SELECT name FROM dbstat", PV_DENIED, NULL},
    {"WITH query_log AS (SELECT * FROM secret) SELECT * FROM query_log", PV_DENIED, NULL},
    {"PRAGMA database_list", PV_DENIED, NULL},
    {"PRAGMA query_only = 0", PV_DENIED, NULL},
    {"ATTACH '/etc/passwd' AS x", PV_DENIED, NULL},
    {"ATTACH ':memory:' AS x", PV_DENIED, NULL},
    {"DETACH temp", PV_DENIED, NULL},
    {"SELECT load_extension('x')", PV_DENIED, NULL},
    {"SELECT fts3_tokenizer('simple')", PV_DENIED, NULL},
    {"SELECT randomblob(10)", PV_DENIED, NULL},
    {"SELECT sqlite_version()", PV_DENIED, NULL},
    {"CREATE TABLE t (a)", PV_DENIED, NULL},
    {"CREATE TEMP TABLE t (a)", PV_DENIED, NULL},
    {"DROP VIEW query_log", PV_DENIED, NULL},
    {"DELETE FROM query_log", PV_DENIED, NULL},
    {"INSERT INTO event (event) VALUES ('x')", PV_DENIED, NULL},
    {"UPDATE query_log SET room = 'x'", PV_DENIED, NULL},
    {"BEGIN", PV_DENIED, NULL},
    {"VACUUM INTO '/tmp/copy'", PV_DENIED, NULL},
    {"REINDEX", PV_DENIED, NULL},
    {"ANALYZE", PV_DENIED, NULL},
    {"EXPLAIN SELECT 1", PV_DENIED, NULL},
    {"EXPLAIN QUERY PLAN SELECT * FROM query_log", PV_DENIED, NULL},
};

static void
sql_is_held_to_the_views(void **state)
{
    struct pv_log_reader *reader = open_reader(*state, NULL);

    for (size_t i = 0; i < PV_COUNT_OF(queries); i++) {
        struct pv_buf out = {0};
        char error[256] = "";
        enum pv_status status = pv_log_query(reader, queries[i].sql, take_first, &out, error, sizeof(error));

        /* What is not there and what is not allowed are both refusals; which one comes first is SQLite's. */
        if (queries[i].status == PV_OK ? status != PV_OK : status != PV_SYNTAX && status != PV_DENIED)
            fail_msg("%s: %s: %s", queries[i].sql, pv_status_words(status), error);
        if (queries[i].status != PV_OK) {
            assert_int_equal(pv_buf_len(&out), 0);
            assert_int_not_equal(error[0], '\0');
        } else
            assert_string_equal(pv_buf_text(&out), queries[i].want);
        assert_null(strstr(error, "TOPSECRET"));
        pv_buf_clear(&out);
    }
    pv_log_reader_close(reader);
    assert_sound(*state);
}

static void
rooms_are_kept_apart(void **state)
{
    static const char *const rooms[] = {"other", "it's"};
    static const struct {
        const char *sql, *want;
    } rows[] = {
        {"SELECT count(*) FROM query_log", "1 "},
        {"SELECT room FROM query_log", "other "},
        {"SELECT count(*) FROM event_log", "0 "},
        {"WITH query_log AS (SELECT * FROM query_log) SELECT count(*) FROM query_log", NULL},
        {"SELECT count(*) FROM main.query_log", NULL},
        {"SELECT seq FROM main.statement", NULL},
        {"SELECT count(*) FROM statement", "0 "},
        {"SELECT count(*) FROM statement_end", "0 "},
        {"SELECT count(*) FROM event", "0 "},
        {"SELECT seq FROM statement", NULL},
        {"WITH query_log AS (SELECT * FROM statement) SELECT * FROM query_log", ""},
    };
    const struct pv_log_reader_options options = {.rooms = rooms, .room_count = 2};
    const struct pv_log_reader_options none = {.rooms = rooms, .room_count = 0};
    const struct pv_log_filter all = {0};
    struct pv_log_reader *reader = open_reader(*state, &options);
    struct pv_buf out = {0};

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        char error[256];
        enum pv_status status = pv_log_query(reader, rows[i].sql, take_first, &out, error, sizeof(error));

        if (status != PV_OK && rows[i].want != NULL)
            fail_msg("%s: %s", rows[i].sql, error);
        assert_string_equal(pv_buf_text(&out), rows[i].want == NULL ? "" : rows[i].want);
        pv_buf_clear(&out);
    }
    assert_int_equal(pv_log_show(reader, 1, take_first, &out), PV_NOTFOUND);
    assert_int_equal(pv_log_list(reader, &all, take_first, &out), PV_OK);
    assert_string_equal(pv_buf_text(&out), "10 ");
    pv_buf_clear(&out);
    pv_log_reader_close(reader);
    reader = open_reader(*state, &none);
    assert_int_equal(pv_log_list(reader, &all, take_first, &out), PV_OK);
    assert_int_equal(pv_buf_len(&out), 0);
    pv_log_reader_close(reader);
}

static void
long_queries_end_in_time(void **state)
{
    const struct pv_log_reader_options options = {.timeout_ms = 50};
    struct pv_log_reader *reader = open_reader(*state, &options);
    struct pv_buf out = {0};
    char error[256];

    assert_int_equal(pv_log_query(reader,
                                  "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT"
                                  " count(*) FROM r",
                                  take_first, &out, error, sizeof(error)),
                     PV_LIMIT);
    assert_int_equal(pv_log_query(reader, "SELECT 1", take_first, &out, error, sizeof(error)), PV_OK);
    pv_buf_clear(&out);
    pv_log_reader_close(reader);
}

static void
searches_use_their_indexes(void **state)
{
    static const struct {
        const char *where, *plan;
    } rows[] = {
        {"WHERE seq = 3", "SEARCH s USING INTEGER PRIMARY KEY"},
        {"WHERE room = 'retail' ORDER BY seq DESC", "SCAN s"},
        {"WHERE user = 'alice' ORDER BY seq DESC", "SCAN s"},
        {"WHERE decision = 'denied' ORDER BY seq DESC", "USING INDEX statement_denied"},
        {"WHERE at > '2026'", "SCAN s"},
        {"ORDER BY seq DESC LIMIT 1", "SCAN s"},
    };
    const struct place *place = *state;
    sqlite3 *sqlite = NULL;

    assert_int_equal(sqlite3_open(place->path, &sqlite), SQLITE_OK);
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        char sql[200];
        sqlite3_stmt *statement = NULL;
        const char *plan;

        (void) snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN SELECT * FROM query_log %s", rows[i].where);
        assert_int_equal(sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        plan = (const char *) sqlite3_column_text(statement, 3);
        if (strstr(plan, rows[i].plan) == NULL)
            fail_msg("%s: %s", rows[i].where, plan);
        /* The ends are looked up one by one, and nothing is sorted. */
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        assert_non_null(strstr((const char *) sqlite3_column_text(statement, 3), "SEARCH e USING INDEX"));
        assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
        (void) sqlite3_finalize(statement);
    }
    (void) sqlite3_close(sqlite);
}

static void
json_nests_and_escapes(void **state)
{
    struct pv_log_reader *reader = open_reader(*state, NULL);
    struct pv_buf out = {0};
    char error[256];

    assert_int_equal(pv_log_query(reader,
                                  "SELECT seq, reason, query, parameters, datasets, 1.5 AS x, 1e999 AS y FROM"
                                  " query_log WHERE seq = 10",
                                  take_json, &out, error, sizeof(error)),
                     PV_OK);
    assert_string_equal(pv_buf_text(&out),
                        "{\"seq\": 10, \"reason\": null, \"query\": \"SELECT \\\"a\\\",\\n\\t'\\u001B[31m'\", "
                        "\"parameters\": \"not json\", \"datasets\": [\"public.customers\"], \"x\": 1.5, \"y\": null}\n");
    pv_buf_clear(&out);
    pv_log_reader_close(reader);
}

static void
formats_are_exact(void **state)
{
    static const char *const names[] = {"a", "b,c", "d"};
    static const struct {
        struct pv_cell cells[3];
        const char *json, *csv, *lines;
    } rows[] = {
        {{{.kind = PV_CELL_NULL}, {.kind = PV_CELL_INT, .number = -3}, {.kind = PV_CELL_REAL, .real = 0.1}},
         "{\"a\": null, \"b,c\": -3, \"d\": 0.1}",
         ",-3,0.1\r\n",
         "a    \nb,c  -3\nd    0.1\n"},
        {{{.kind = PV_CELL_TEXT, .bytes = {(const uint8_t *) "", 0}},
          {.kind = PV_CELL_TEXT, .bytes = {(const uint8_t *) "x\"y", 3}},
          {.kind = PV_CELL_TEXT, .bytes = {(const uint8_t *) "l\r\nm", 4}}},
         "{\"a\": \"\", \"b,c\": \"x\\\"y\", \"d\": \"l\\r\\nm\"}",
         "\"\",\"x\"\"y\",\"l\r\nm\"\r\n",
         "a    \nb,c  x\"y\nd    l\\x0D\\nm\n"},
        {{{.kind = PV_CELL_JSON, .bytes = {(const uint8_t *) "[1]", 3}},
          {.kind = PV_CELL_BLOB,
           .bytes = {(const uint8_t *) "\xFF"
                                       "a",
                     2}},
          {.kind = PV_CELL_TEXT, .bytes = {(const uint8_t *) "\xE2\x80\xAE\xC2\x9B\xC3\xA9", 7}}},
         "{\"a\": [1], \"b,c\": \"\\\\xFFa\", \"d\": \"\xE2\x80\xAE\xC2\x9B\xC3\xA9\"}",
         "[1],\xFF"
         "a,\xE2\x80\xAE\xC2\x9B\xC3\xA9\r\n",
         "a    [1]\nb,c  \\xFFa\nd    \\xE2\\x80\\xAE\\xC2\\x9B\xC3\xA9\n"},
    };
    struct pv_buf out = {0};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        const struct pv_row row = {3, names, rows[i].cells};

        pv_row_put_json(&row, &out);
        assert_string_equal(pv_buf_text(&out), rows[i].json);
        pv_buf_clear(&out);
        pv_row_put_csv(&row, &out);
        assert_string_equal(pv_buf_text(&out), rows[i].csv);
        pv_buf_clear(&out);
        pv_row_put_lines(&row, &out);
        assert_string_equal(pv_buf_text(&out), rows[i].lines);
        pv_buf_clear(&out);
    }
    pv_row_put_csv_names(&(struct pv_row){3, names, NULL}, &out);
    assert_string_equal(pv_buf_text(&out), "a,\"b,c\",d\r\n");
    pv_buf_clear(&out);
}

static void
live_log_and_odd_path_are_read(void **state)
{
    struct place *place = *state;
    struct place odd = *place;
    struct pv_journal *journal;
    struct pv_log_reader *reader;
    struct pv_buf out = {0};
    char error[256];
    uint64_t ticket;

    (void) snprintf(odd.path, sizeof(odd.path), "%s/a%%20?b#c.db", place->folder);
    journal = open_journal(&odd, (struct pv_journal_options){.is_serving = true});
    assert_int_equal(put_begin(journal, 1, NULL, NULL, &ticket), PV_OK);
    reader = open_reader(&odd, NULL);
    for (int i = 0; i < 60000; i++) {
        assert_int_equal(pv_log_query(reader, "SELECT count(*) FROM query_log", take_first, &out, error, sizeof(error)),
                         PV_OK);
        if (strcmp(pv_buf_text(&out), "0 ") != 0)
            break;
        pv_buf_clear(&out);
        (void) usleep(1000);
    }
    assert_string_equal(pv_buf_text(&out), "1 ");
    pv_buf_clear(&out);
    pv_log_reader_close(reader);
    pv_journal_close(journal);
    for (size_t i = 0; i < 4; i++) {
        static const char *const endings[] = {"", ".key", ".pub", ".lock"};
        char path[140];

        (void) snprintf(path, sizeof(path), "%s%s", odd.path, endings[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(pv_log_reader_open("/nonexistent/x.db", NULL, &reader, error, sizeof(error)), PV_NOTFOUND);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, log_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(lists_filter),           TEST(shows_statements_ends_and_events), TEST(sql_is_held_to_the_views),
        TEST(rooms_are_kept_apart),   TEST(long_queries_end_in_time),         TEST(searches_use_their_indexes),
        TEST(json_nests_and_escapes), cmocka_unit_test(formats_are_exact),    TEST(live_log_and_odd_path_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
