/* What --conformance sends on: SELECTs as printed, everything else as it came, with a word for the log on which it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/decide.h"
#include "proxy/base/arena.h"
#include "proxy/base/base.h"

struct row {
    const char *sql, *forwarded, *detail; /* forwarded NULL: as it came */
    enum pv_statement_kind kind;
    bool is_backslashed;
};

static const struct row rows[] = {
    {"SELECT  1 ;", "SELECT 1", "printed", PV_KIND_SELECT, false},
    {"TABLE pg_class", "SELECT * FROM pg_class", "printed", PV_KIND_SELECT, false},
    {"SELECT xmlelement(name a);", NULL, "as it came: XmlExpr", PV_KIND_SELECT, false},
    {" INSERT INTO t VALUES (1); ", NULL, "as it came: no SELECT", PV_KIND_OTHER, false},
    {"SELEKT 1", NULL, "as it came: not parsed", PV_KIND_OTHER, false},
    {"SELECT '\xff'", NULL, "as it came: not parsed", PV_KIND_OTHER, false},
    {"SELECT 'a\\'b'", NULL, "as it came: not parsed", PV_KIND_OTHER, true},
    {"RESET ALL", NULL, "as it came: no SELECT", PV_KIND_RESET_ALL, false},
    {"DISCARD ALL", NULL, "as it came: no SELECT", PV_KIND_DISCARD_ALL, false},
    {"DISCARD PLANS", NULL, "as it came: no SELECT", PV_KIND_OTHER, false},
    {"RESET DateStyle", NULL, "as it came: no SELECT", PV_KIND_RESET, false},
    {"SET datestyle TO DEFAULT", NULL, "as it came: no SELECT", PV_KIND_RESET, false},
    {"RESET work_mem", NULL, "as it came: no SELECT", PV_KIND_OTHER, false},
};

static void
check(const struct row *row, const struct pv_decision *decision)
{
    assert_true(decision->is_allowed);
    assert_string_equal(decision->detail, row->detail);
    assert_string_equal(decision->forwarded, row->forwarded == NULL ? row->sql : row->forwarded);
    assert_int_equal(decision->kind, row->kind);
    if (row->kind == PV_KIND_RESET)
        assert_string_equal(decision->setting, "datestyle");
}

static void
statements(void **state)
{
    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        const struct pv_caller caller = {.is_conformance = true, .is_backslashed = rows[i].is_backslashed};
        struct pv_arena *arena = pv_arena_new(256);
        struct pv_decision *decisions = NULL, parsed;
        size_t count = 0;

        assert_non_null(arena);
        assert_int_equal(pv_decide_query(arena, &caller, pv_slice_cstr(rows[i].sql), &decisions, &count), PV_OK);
        assert_int_equal(count, 1);
        check(&rows[i], decisions);
        assert_int_equal(pv_decide_parse(arena, &caller, pv_slice_cstr(rows[i].sql), NULL, 0, &parsed), PV_OK);
        check(&rows[i], &parsed);
        pv_arena_free(arena);
    }
}

/* Each goes for itself, so the blanks between them are not the sender's. */
static void
several_in_a_text(void **state)
{
    const struct pv_caller caller = {.is_conformance = true};
    struct pv_arena *arena = pv_arena_new(256);
    struct pv_decision *decisions = NULL;
    size_t count = 0;

    (void) state;
    assert_non_null(arena);
    assert_int_equal(pv_decide_query(arena, &caller, pv_slice_cstr("BEGIN ;  SELECT  2; DROP TABLE x"), &decisions, &count), PV_OK);
    assert_int_equal(count, 3);
    assert_string_equal(decisions[0].forwarded, "BEGIN");
    assert_string_equal(decisions[1].forwarded, "SELECT 2");
    assert_string_equal(decisions[2].forwarded, "DROP TABLE x");
    pv_arena_free(arena);
}

static void
settings_of_the_start(void **state)
{
    static const struct {
        const char *name, *known_as;
    } settings[] = {{"DateStyle", "datestyle"}, {"search_path", NULL}, {"work_mem", NULL}, {"client_encoding", NULL}};
    const struct pv_caller caller = {.is_conformance = true};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(settings); i++) {
        struct pv_arena *arena = pv_arena_new(256);
        struct pv_decision decision;

        assert_non_null(arena);
        assert_int_equal(pv_decide_setting(arena, &caller, settings[i].name, "any", &decision), PV_OK);
        assert_true(decision.is_allowed);
        assert_string_equal(decision.value, "any");
        if (settings[i].known_as == NULL)
            assert_null(decision.setting);
        else
            assert_string_equal(decision.setting, settings[i].known_as);
        pv_arena_free(arena);
    }
}

static void
every_allocation_may_fail(void **state)
{
    const struct pv_caller caller = {.is_conformance = true};

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(rows); i++) {
        bool is_done = false;

        for (long nth = 1; !is_done; nth++) {
            struct pv_arena *arena = pv_arena_new(256);
            struct pv_decision *decisions = NULL;
            size_t count = 0;
            enum pv_status status;

            assert_non_null(arena);
            assert_true(nth < 1000);
            pv_alloc_fail_at(nth);
            status = pv_decide_query(arena, &caller, pv_slice_cstr(rows[i].sql), &decisions, &count);
            is_done = status == PV_OK;
            pv_alloc_fail_at(0);
            if (is_done)
                assert_true(decisions[0].is_allowed);
            else
                assert_int_equal(status, PV_NOMEM);
            pv_arena_free(arena);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements),
        cmocka_unit_test(several_in_a_text),
        cmocka_unit_test(settings_of_the_start),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
