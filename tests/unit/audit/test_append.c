/* Lists of records, many to one statement of SQL: what the log takes, refuses and takes back. */
#include "tests/unit/audit/audit_test.h"

#include "proxy/audit/db_int.h"

enum { LIST_MAX = 16 };

struct list {
    struct pv_entry *entries[LIST_MAX];
    size_t count;
};

static struct pv_entry *
put(struct list *list, const struct pv_record *record)
{
    struct pv_entry *entry = NULL;

    assert_true(list->count < LIST_MAX);
    assert_int_equal(pv_entry_new(NULL, record, &entry), PV_OK);
    if (list->count > 0)
        list->entries[list->count - 1]->next = entry;
    list->entries[list->count++] = entry;
    return entry;
}

static struct pv_entry *
put_statement(struct list *list, enum pv_record_kind kind, uint64_t id, const char *query)
{
    struct pv_statement_begin begin = sample_begin(id);
    struct pv_statement_end end = sample_end(id);
    const struct pv_record record = {.kind = kind, .begin = &begin, .end = &end};

    begin.query = pv_slice_cstr(query);
    return put(list, &record);
}

static void
clear(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        pv_entry_unref(list->entries[i]);
    list->count = 0;
}

static struct pv_db *
open_db(const struct place *place)
{
    const struct pv_db_options options = {.is_creating = true, .is_relaxed = true};
    struct pv_db *db = NULL;

    assert_int_equal(pv_db_open(place->path, &options, &db, NULL, 0), PV_OK);
    return db;
}

/* As the journal's writer does it; the last status that ends the batch. */
static enum pv_status
append(struct pv_db *db, const struct list *list, size_t *statements)
{
    enum pv_status status = pv_db_begin(db);

    *statements = 0;
    for (struct pv_entry *entry = list->entries[0]; status == PV_OK && entry != NULL; ++*statements) {
        status = pv_db_append_some(db, entry, &entry);
        status = status == PV_INVALID || status == PV_LIMIT ? PV_OK : status;
    }
    if (status == PV_OK)
        status = pv_db_commit(db);
    else
        pv_db_rollback(db);
    return status;
}

static void
mixed_list_is_one_chain(void **state)
{
    struct pv_db *db = open_db(*state);
    const struct pv_event event = {.event = "login", .detail = "{}"};
    const struct pv_record event_record = {.kind = PV_RECORD_EVENT, .event = &event};
    struct list list = {0};
    struct pv_entry *first = put_statement(&list, PV_RECORD_BEGIN, 1, "SELECT 1");
    struct pv_entry *end;
    size_t statements;

    (void) put_statement(&list, PV_RECORD_BEGIN, 2, "SELECT '\xFF'");
    end = put_statement(&list, PV_RECORD_END, 1, "");
    first->end = end;
    end->is_in_begin = true;
    (void) put_statement(&list, PV_RECORD_WHOLE, 3, "SELECT 3");
    (void) put(&list, &event_record);
    (void) put_statement(&list, PV_RECORD_END, 2, "");
    (void) put_statement(&list, PV_RECORD_BEGIN, 4, "SELECT 4");
    assert_int_equal(append(db, &list, &statements), PV_OK);
    /* Three statements, an event, an end, a statement. */
    assert_int_equal(statements, 4);
    for (size_t i = 0; i < list.count; i++)
        assert_int_equal(list.entries[i]->status, PV_OK);
    assert_int_equal(db->committed.seq, 6);
    clear(&list);
    pv_db_close(db);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE rows = 3 AND outcome = 'completed'"), 3);
    assert_int_equal(raw_number(*state, "SELECT seq FROM query_log WHERE outcome IS NULL AND query = 'SELECT 4'"), 6);
    assert_int_equal(raw_number(*state, "SELECT hex(query) = '53454C4543542027FF27' FROM query_log WHERE seq = 2"), 1);
    assert_int_equal(raw_number(*state, "SELECT seq FROM event_log"), 4);
    assert_sound(*state);
}

/* Whatever place in the list it has. */
static void
refused_record_is_left_out_alone(void **state)
{
    char query[4000];

    memset(query, 'x', sizeof(query) - 1);
    query[sizeof(query) - 1] = '\0';
    for (size_t at = 0; at < 4; at++) {
        struct pv_db *db = open_db(*state);
        struct list list = {0};
        size_t statements;

        (void) sqlite3_limit(db->sqlite, SQLITE_LIMIT_LENGTH, 3000);
        for (size_t i = 0; i < 4; i++)
            (void) put_statement(&list, PV_RECORD_BEGIN, 1 + 4 * at + i, i == at ? query : "SELECT 1");
        assert_int_equal(append(db, &list, &statements), PV_OK);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(list.entries[i]->status, i == at ? PV_INVALID : PV_OK);
        assert_int_equal(db->committed.seq, 3 * (at + 1));
        clear(&list);
        pv_db_close(db);
        assert_sound(*state);
    }
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log WHERE query = 'SELECT 1'"), 12);
}

static void
lack_of_memory_takes_all_back(void **state)
{
    struct pv_db *db = open_db(*state);
    struct list list = {0};
    size_t statements;

    for (size_t i = 0; i < 3; i++)
        (void) put_statement(&list, PV_RECORD_BEGIN, 1 + i, "SELECT 1");
    pv_alloc_fail_at(1);
    assert_int_equal(append(db, &list, &statements), PV_NOMEM);
    pv_alloc_fail_at(0);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log"), 0);
    assert_int_equal(append(db, &list, &statements), PV_OK);
    clear(&list);
    pv_db_close(db);
    assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log"), 3);
    assert_sound(*state);
}

/* With a trigger of somebody's SQLite reads all rows before it inserts the first. */
static void
rows_that_somebody_takes_out_are_noticed(void **state)
{
    static const char *const triggers[] = {
        "CREATE TRIGGER t BEFORE INSERT ON statement WHEN new.id = 2 BEGIN SELECT RAISE(IGNORE); END",
        "CREATE TRIGGER t BEFORE INSERT ON statement WHEN new.id = 2 BEGIN SELECT RAISE(FAIL, 'no'); END",
    };
    struct list list = {0};
    size_t statements;

    pv_db_close(open_db(*state));
    for (size_t i = 0; i < 3; i++)
        (void) put_statement(&list, PV_RECORD_BEGIN, 1 + i, "SELECT 1");
    for (size_t i = 0; i < PV_COUNT_OF(triggers); i++) {
        struct pv_db *db;

        raw(*state, triggers[i]);
        db = open_db(*state);
        assert_int_equal(append(db, &list, &statements), PV_CORRUPT);
        pv_db_close(db);
        raw(*state, "DROP TRIGGER t");
        assert_int_equal(raw_number(*state, "SELECT count(*) FROM query_log"), 0);
    }
    clear(&list);
    assert_sound(*state);
}

/* The hash of a row is the same whichever way its bytes were put together. */
static void
packed_is_canonical(void **state)
{
    static const uint8_t before[PV_SHA256_BYTES] = {1, 2, 3};
    struct list list = {0};
    struct pv_buf left = {0}, right = {0};
    struct pv_value values[PV_BEGIN_VALUES + PV_WHOLE_VALUES];
    struct pv_entry *begin = put_statement(&list, PV_RECORD_BEGIN, 1, "SELECT 1");
    struct pv_entry *end = put_statement(&list, PV_RECORD_END, 1, "");
    struct pv_entry *whole = put_statement(&list, PV_RECORD_WHOLE, 1, "SELECT 1");

    (void) state;
    memcpy(values, begin->values, PV_BEGIN_VALUES * sizeof(values[0]));
    assert_int_equal(pv_canonical(&left, before, 'B', 9, values, PV_BEGIN_VALUES), PV_OK);
    assert_int_equal(pv_canonical_packed(&right, before, 'B', 9, begin, NULL), PV_OK);
    assert_true(pv_slice_equal(pv_buf_slice(&left), pv_buf_slice(&right)));
    memcpy(values + PV_BEGIN_VALUES, end->values + 2, PV_WHOLE_VALUES * sizeof(values[0]));
    assert_int_equal(pv_canonical(&left, before, 'W', 9, values, PV_COUNT_OF(values)), PV_OK);
    assert_int_equal(pv_canonical_packed(&right, before, 'W', 9, begin, end), PV_OK);
    assert_true(pv_slice_equal(pv_buf_slice(&left), pv_buf_slice(&right)));
    assert_int_equal(pv_canonical_packed(&right, before, 'W', 9, whole, whole), PV_OK);
    assert_true(pv_slice_equal(pv_buf_slice(&left), pv_buf_slice(&right)));
    assert_int_equal(pv_canonical(&left, before, 'E', 9, end->values, end->value_count), PV_OK);
    assert_int_equal(pv_canonical_packed(&right, before, 'E', 9, end, NULL), PV_OK);
    assert_true(pv_slice_equal(pv_buf_slice(&left), pv_buf_slice(&right)));
    pv_buf_clear(&left);
    pv_buf_clear(&right);
    clear(&list);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(mixed_list_is_one_chain),
        TEST(refused_record_is_left_out_alone),
        TEST(lack_of_memory_takes_all_back),
        TEST(rows_that_somebody_takes_out_are_noticed),
        TEST(packed_is_canonical),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
