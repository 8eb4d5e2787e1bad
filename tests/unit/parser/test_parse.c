#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "parser/key.h"
#include "parser/parse.h"
#include "parser/print.h"
#include "parser/template.h"
#include "parser/walk.h"

static void
faults_are_worded_as_postgresql_words_them(void **state)
{
    static const struct {
        const char *text;
        enum pv_status status;
        const char *sqlstate;
        const char *message;
        int position;
    } rows[] = {
        {"SELECT 'é', frm x y z", PV_SYNTAX, "42601", "syntax error at or near \"y\"", 19},
        {"SELECT", PV_OK, "", "", 0},
        {"SELECT (", PV_SYNTAX, "42601", "syntax error at end of input", 9},
        {"SELEC 1", PV_SYNTAX, "42601", "syntax error at or near \"SELEC\"", 1},
        {"SELECT 'abc", PV_SYNTAX, "42601", "unterminated quoted string at or near \"'abc\"", 8},
        {"SELECT /* x", PV_SYNTAX, "42601", "unterminated /* comment at or near \"/* x\"", 8},
        {"SELECT ?", PV_SYNTAX, "42601", "syntax error at end of input", 9},
        {"SELECT E'\\u00'", PV_SYNTAX, "22025", "invalid Unicode escape", 10},
        {"SELECT UNIQUE (SELECT 1)", PV_SYNTAX, "0A000", "UNIQUE predicate is not yet implemented", 8},
        {"SELECT 1 FROM (SELECT 1)", PV_SYNTAX, "42601", "subquery in FROM must have an alias", 15},
        {"SELECT \xC3", PV_INVALID, "22021", "invalid byte sequence for encoding \"UTF8\"", 0},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_sql *sql = NULL;
        struct pv_sql_error err = {0};

        assert_int_equal(pv_sql_parse(pv_slice_cstr(rows[i].text), &pv_sql_limits_default, &sql, &err), rows[i].status);
        assert_string_equal(err.sqlstate, rows[i].sqlstate);
        assert_string_equal(err.message, rows[i].message);
        assert_int_equal(err.position, rows[i].position);
        assert_int_equal(sql != NULL, rows[i].status == PV_OK);
        pv_sql_free(sql);
    }
}

static void
limits_come_first(void **state)
{
    struct pv_sql_limits limits = pv_sql_limits_default;
    struct pv_sql_error err;
    struct pv_sql *sql = NULL;

    (void) state;
    limits.bytes_max = 8;
    assert_int_equal(pv_sql_parse(pv_slice_cstr("SELECT 1"), &limits, &sql, &err), PV_OK);
    pv_sql_free(sql);
    sql = NULL;
    /* Too long is said before anything about what it holds. */
    assert_int_equal(pv_sql_parse(pv_slice_cstr("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), &limits, &sql, &err),
                     PV_LIMIT);
    assert_string_equal(err.sqlstate, "54000");
    assert_int_equal(pv_sql_parse(pv_slice_of("SELECT\0", 7), &limits, &sql, &err), PV_INVALID);
    assert_string_equal(err.sqlstate, "22021");
    limits = pv_sql_limits_default;
    limits.statements_max = 2;
    assert_int_equal(pv_sql_parse(pv_slice_cstr("SELECT 1; SELECT 2; ;"), &limits, &sql, &err), PV_OK);
    assert_int_equal(pv_sql_count(sql), 2);
    pv_sql_free(sql);
    sql = NULL;
    assert_int_equal(pv_sql_parse(pv_slice_cstr("SELECT 1; SELECT 2; BEGIN"), &limits, &sql, &err), PV_LIMIT);
    limits.nodes_max = 3;
    assert_int_equal(pv_sql_parse(pv_slice_cstr("SELECT 1, 2"), &limits, &sql, &err), PV_LIMIT);
    assert_string_equal(err.message, "statement is too complex");
    limits = pv_sql_limits_default;
    limits.depth_max = 3;
    assert_int_equal(pv_sql_parse(pv_slice_cstr("SELECT f(f(f(1)))"), &limits, &sql, &err), PV_DEPTH);
    assert_string_equal(err.sqlstate, "54001");
    assert_null(sql);
    assert_int_equal(pv_sql_parse(pv_slice_of(NULL, 0), &limits, &sql, NULL), PV_OK);
    assert_int_equal(pv_sql_count(sql), 0);
    pv_sql_free(sql);
}

/* What a judgement need not walk once more: nothing that a strict walk would refuse. */
static void
known_is_what_a_walk_admits(void **state)
{
    static const struct {
        const char *text;
        bool is_known;
    } rows[] = {
        {"", true},
        {"SELECT a FROM t WHERE b = ANY (SELECT c FROM u)", true},
        {"BEGIN; SELECT 1; COMMIT", true},
        {"SELECT 1; INSERT INTO t VALUES (1)", false},
        {"SELECT xmlelement(name a)", false},
        {"SELECT a INTO b FROM t", false},
        {"SELECT * FROM (SELECT a[1:2], (b).c FROM t) AS s WHERE x IS DOCUMENT", false},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_sql *sql = NULL;
        bool is_admitted = true;

        assert_int_equal(pv_sql_parse(pv_slice_cstr(rows[i].text), &pv_sql_limits_default, &sql, NULL), PV_OK);
        for (unsigned k = 0; k < pv_sql_count(sql); k++)
            is_admitted &= pv_tree_walk(pv_sql_stmt(sql, k), &pv_sql_limits_default, NULL, NULL, NULL) == PV_OK;
        assert_int_equal(pv_sql_is_known(sql), rows[i].is_known);
        assert_int_equal(is_admitted, rows[i].is_known);
        pv_sql_free(sql);
    }
}

static void
texts_are_verbatim(void **state)
{
    static const char *const parts[] = {"SELECT 'a;b' -- c\n, 2", "/* d */ insert into T values (1)", "BEGIN"};
    struct pv_sql *sql = NULL;
    struct pv_slice text;

    (void) state;
    assert_int_equal(
        pv_sql_parse(pv_slice_cstr("\n SELECT 'a;b' -- c\n, 2 ;; /* d */ insert into T values (1);\tBEGIN  "),
                     &pv_sql_limits_default, &sql, NULL),
        PV_OK);
    assert_int_equal(pv_sql_count(sql), PV_COUNT_OF(parts));
    for (unsigned i = 0; i < pv_sql_count(sql); i++) {
        text = pv_sql_text(sql, i);
        assert_int_equal(text.len, strlen(parts[i]));
        assert_memory_equal(text.data, parts[i], text.len);
    }
    pv_sql_free(sql);
}

struct building {
    struct pv_sql *sql;
    SelectStmt *made;
};

static void
build(void *arg)
{
    struct building *building = arg;
    MemoryContext before = pv_sql_enter(building->sql);
    ResTarget *target = makeNode(ResTarget);
    ColumnRef *ref = makeNode(ColumnRef);

    building->made = makeNode(SelectStmt);
    ref->fields = list_make1(makeString(pstrdup("Order")));
    target->val = (Node *) ref;
    building->made->targetList = list_make1(target);
    pv_sql_leave(before);
}

static void
ask_too_much(void *arg)
{
    (void) arg;
    (void) palloc((Size) 1 << 31); /* more than PostgreSQL hands out in one piece */
}

static void
guard_within(void *arg)
{
    enum pv_status *inner = arg;

    *inner = pv_sql_guard(ask_too_much, NULL, NULL);
    ask_too_much(NULL);
}

static void
trees_are_built_and_copied(void **state)
{
    struct building building = {NULL, NULL};
    struct pv_sql *other = NULL;
    struct pv_buf buf = {0};
    Node *copy = NULL;

    (void) state;
    assert_int_equal(pv_sql_new_empty(&building.sql), PV_OK);
    assert_int_equal(pv_sql_count(building.sql), 0);
    assert_int_equal(pv_sql_guard(build, &building, NULL), PV_OK);
    assert_int_equal(pv_sql_new_empty(&other), PV_OK);
    assert_int_equal(pv_sql_copy(other, (Node *) building.made, &copy), PV_OK);
    pv_sql_free(building.sql);
    assert_int_equal(pv_print_checked(copy, &buf, NULL), PV_OK);
    assert_string_equal(pv_buf_text(&buf), "SELECT \"Order\"");
    pv_buf_clear(&buf);
    pv_sql_free(other);
    pv_sql_free(NULL);
}

static void
thrown_errors_become_statuses(void **state)
{
    struct pv_sql_error err = {0};
    enum pv_status inner = PV_OK;

    (void) state;
    assert_int_equal(pv_sql_guard(ask_too_much, NULL, &err), PV_INTERNAL);
    assert_string_equal(err.sqlstate, "XX000");
    assert_int_equal(pv_sql_guard(guard_within, &inner, &err), PV_INTERNAL);
    assert_int_equal(inner, PV_INTERNAL);
    for (int i = 0; i < 100; i++)
        assert_int_equal(pv_sql_guard(ask_too_much, NULL, NULL), PV_INTERNAL);
}

static void *
parse_many(void *arg)
{
    struct pv_sql **out = arg;

    for (int i = 0; i < 200; i++) {
        struct pv_sql *sql = NULL;

        if (pv_sql_parse(pv_slice_cstr("SELECT a, b FROM t WHERE c = 'x'"), &pv_sql_limits_default, &sql, NULL) !=
            PV_OK)
            return NULL;
        if (i < 199)
            pv_sql_free(sql);
        else
            *out = sql;
    }
    return arg;
}

/* A snapshot's trees outlive the thread that loaded them. */
static void
trees_outlive_their_thread(void **state)
{
    pthread_t threads[4];
    struct pv_sql *sql[PV_COUNT_OF(threads)] = {NULL};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, parse_many, &sql[i]), 0);
    for (size_t i = 0; i < PV_COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < PV_COUNT_OF(threads); i++) {
        struct pv_buf buf = {0};

        assert_non_null(sql[i]);
        assert_int_equal(pv_print_checked(pv_sql_stmt(sql[i], 0), &buf, NULL), PV_OK);
        pv_buf_clear(&buf);
        pv_sql_free(sql[i]);
    }
}

static void
type_names(void **state)
{
    static const struct {
        const char *text;
        const char *printed; /* NULL: refused */
    } rows[] = {
        {"numeric(10,2)[]", "pg_catalog.\"numeric\"(10, 2)[]"},
        {"date", "date"},
        {"timestamp with time zone", "pg_catalog.timestamptz"},
        {"public.\"T x\"", "public.\"T x\""},
        {"setof int", NULL},
        {"t.c%TYPE", NULL},
        {"int; DROP TABLE x", NULL},
        {"", NULL},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_sql *sql = NULL;
        struct pv_buf buf = {0};
        TypeName *type = NULL;
        enum pv_status status = pv_sql_parse_type(pv_slice_cstr(rows[i].text), &sql, &type, NULL);

        assert_int_equal(status == PV_OK, rows[i].printed != NULL);
        if (status != PV_OK)
            continue;
        assert_int_equal(pv_print((Node *) type, &buf, NULL), PV_OK);
        assert_string_equal(pv_buf_text(&buf), rows[i].printed);
        pv_buf_clear(&buf);
        pv_sql_free(sql);
    }
}

static void
templates_have_parameters(void **state)
{
    static const struct {
        const char *text;
        bool filter;
        const char *printed; /* NULL: refused */
        const char *names;
    } rows[] = {
        {"SELECT a FROM t WHERE b >= :since AND c = :Kind OR d = :since", false,
         "SELECT a FROM t WHERE (((b >= $1) AND (c = $2)) OR (d = $1))", "since kind "},
        {"SELECT ':no', \":no\", a::text, $$:no$$ -- :no\n, /* :no */ f(x := :yes)", false,
         "SELECT ':no', \":no\", CAST(a AS \"text\"), ':no', f(x => $1)", "yes "},
        {"SELECT a[1 : 2], :select, :größe", false, "SELECT (a)[1 : 2], $1, $2", "select größe "},
        {"SELECT 1", false, "SELECT 1", ""},
        {"SELECT :a, $1", false, NULL, NULL},
        {"SELECT :1", false, NULL, NULL},
        {"SELECT : a", false, NULL, NULL},
        {"SELECT '", false, NULL, NULL},
        {"country = ANY (:countries) -- x", true, "SELECT 1 WHERE (country = ANY ($1))", "countries "},
        {"true) UNION SELECT (1", true, NULL, NULL},
        {"true) GROUP BY (1", true, NULL, NULL},
        {"true); SELECT (1", true, NULL, NULL},
        {"", true, NULL, NULL},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_template made = {NULL, NULL, 0};
        struct pv_sql_error err = {0};
        struct pv_buf buf = {0};
        enum pv_status status = (rows[i].filter ? pv_template_parse_filter : pv_template_parse)(
            pv_slice_cstr(rows[i].text), &pv_sql_limits_default, &made, &err);

        assert_int_equal(status, rows[i].printed == NULL ? PV_SYNTAX : PV_OK);
        if (status != PV_OK) {
            assert_string_equal(err.sqlstate, "42601");
            continue;
        }
        assert_int_equal(pv_print_checked(pv_sql_stmt(made.sql, 0), &buf, NULL), PV_OK);
        assert_string_equal(pv_buf_text(&buf), rows[i].printed);
        pv_buf_clear(&buf);
        for (unsigned j = 0; j < made.name_count; j++)
            pv_buf_printf(&buf, "%s ", made.names[j]);
        pv_buf_put_text(&buf, "");
        assert_string_equal(pv_buf_text(&buf), rows[i].names);
        pv_buf_clear(&buf);
        pv_template_clear(&made);
    }
}

static void
template_positions_are_those_of_the_text(void **state)
{
    static const struct {
        const char *text;
        bool filter;
        int position;
    } rows[] = {
        {"SELECT :größe, :b, frm x y z", false, 26}, {"SELEC :a", false, 1}, {"SELECT é, $1", false, 11},
        {"SELECT 1 WHERE :a :bcd", false, 19},       {"a = :x :y", true, 8}, {"a b c", true, 3},
    };

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        struct pv_template made = {NULL, NULL, 0};
        struct pv_sql_error err = {0};
        enum pv_status status = (rows[i].filter ? pv_template_parse_filter : pv_template_parse)(
            pv_slice_cstr(rows[i].text), &pv_sql_limits_default, &made, &err);

        assert_int_equal(status, PV_SYNTAX);
        assert_int_equal(err.position, rows[i].position);
    }
}

static void
failing_allocations_are_told(void **state)
{
    enum pv_status status = PV_NOMEM;
    long nth;

    (void) state;
    for (nth = 1; status == PV_NOMEM && nth < 100; nth++) {
        struct pv_template made = {NULL, NULL, 0};
        struct pv_sql_error err = {0};

        pv_alloc_fail_at(nth);
        status = pv_template_parse(pv_slice_cstr("SELECT :a, :b, :a"), &pv_sql_limits_default, &made, &err);
        pv_alloc_fail_at(0);
        if (status == PV_OK)
            pv_template_clear(&made);
        else
            assert_string_equal(err.sqlstate, "53200");
        assert_null(made.sql);
    }
    assert_int_equal(status, PV_OK);
    assert_true(nth > 8);
}

/* Key 00…0f over the bytes 00, 01, …: the vectors of the reference implementation with 1 and 3 rounds. */
static void
siphash_has_its_vectors(void **state)
{
    static const struct {
        size_t len;
        uint8_t hash[8];
    } rows[] = {
        {0, {0xDC, 0xC4, 0x0F, 0x05, 0x58, 0x01, 0xAC, 0xAB}},  {1, {0x93, 0xCA, 0x57, 0x7D, 0xF3, 0x9B, 0xF4, 0xC9}},
        {4, {0x28, 0x83, 0xD3, 0x88, 0x60, 0x57, 0x75, 0xCF}},  {7, {0x40, 0x11, 0xB1, 0x9B, 0x98, 0x7D, 0x92, 0xD3}},
        {8, {0x8E, 0x9A, 0x29, 0x8D, 0x11, 0x95, 0x90, 0x36}},  {9, {0xE4, 0x3D, 0x06, 0x6C, 0xB3, 0x8E, 0xA4, 0x25}},
        {15, {0x56, 0x99, 0x51, 0x2A, 0x6D, 0xD8, 0x20, 0xD3}}, {16, {0x66, 0x8B, 0x90, 0x7D, 0x1A, 0xDD, 0x4F, 0xCC}},
        {17, {0x0C, 0xD8, 0xDB, 0x63, 0x90, 0x68, 0xF2, 0x9C}},
    };
    uint8_t bytes[64];
    struct pv_key key;
    struct pv_key other;

    (void) state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t) i;
    key = pv_key_of(bytes);
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        uint64_t hash = pv_key_hash(&key, pv_slice_of(bytes, rows[i].len));

        for (size_t j = 0; j < 8; j++)
            assert_int_equal((hash >> (8 * j)) & 0xFF, rows[i].hash[j]);
    }
    /* A salt is eight bytes in front. */
    assert_true(pv_key_hash_with(&key, 0x0706050403020100u, pv_slice_of(bytes + 8, 9)) ==
                pv_key_hash(&key, pv_slice_of(bytes, 17)));
    for (size_t head = 0; head <= 16; head += 8) {
        struct pv_key_state before = pv_key_begin(&key, pv_slice_of(bytes, head));

        for (size_t len = head; len <= 17; len++)
            assert_true(pv_key_end(&before, pv_slice_of(bytes + head, len - head)) ==
                        pv_key_hash(&key, pv_slice_of(bytes, len)));
    }
    assert_int_equal(pv_key_make(&key), PV_OK);
    assert_int_equal(pv_key_make(&other), PV_OK);
    assert_true(key.k0 != other.k0 && key.k1 != other.k1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_worded_as_postgresql_words_them),
        cmocka_unit_test(limits_come_first),
        cmocka_unit_test(known_is_what_a_walk_admits),
        cmocka_unit_test(texts_are_verbatim),
        cmocka_unit_test(trees_are_built_and_copied),
        cmocka_unit_test(thrown_errors_become_statuses),
        cmocka_unit_test(trees_outlive_their_thread),
        cmocka_unit_test(type_names),
        cmocka_unit_test(templates_have_parameters),
        cmocka_unit_test(template_positions_are_those_of_the_text),
        cmocka_unit_test(failing_allocations_are_told),
        cmocka_unit_test(siphash_has_its_vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
