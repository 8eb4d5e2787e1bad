#include "tests/unit/audit/audit_test.h"

#include <sys/wait.h>

static struct pv_store *
open_store(const struct place *place)
{
    struct pv_store *store = NULL;
    char error[256] = "";

    if (pv_store_open(place->path, &store, error, sizeof(error)) != PV_OK)
        fail_msg("%s", error);
    return store;
}

static void
assert_secret(struct pv_store *store, const char *scope, const char *name, const char *want)
{
    struct pv_buf out = {0};

    assert_int_equal(pv_store_secret_get(store, scope, name, &out), PV_OK);
    assert_true(pv_slice_is(pv_buf_slice(&out), want));
    pv_buf_wipe(&out);
}

static void
secrets_come_back(void **state)
{
    struct pv_store *store = open_store(*state);
    struct pv_buf first = {0}, again = {0}, hex = {0};

    assert_int_equal(pv_store_secret_get(store, "retail", "mask", &first), PV_NOTFOUND);
    assert_int_equal(pv_store_secret_ensure(store, "retail", "mask", 32, false, &first), PV_OK);
    assert_int_equal(pv_buf_len(&first), 32);
    assert_int_equal(pv_store_secret_ensure(store, "retail", "mask", 32, false, &again), PV_OK);
    assert_true(pv_slice_equal(pv_buf_slice(&first), pv_buf_slice(&again)));
    assert_int_equal(pv_store_secret_ensure(store, "other", "mask", 32, true, &hex), PV_OK);
    assert_int_equal(pv_buf_len(&hex), 64);
    assert_false(pv_slice_equal(pv_buf_slice(&first), pv_buf_slice(&hex)));
    assert_int_equal(pv_store_secret_put(store, "retail", "login", pv_slice_cstr("one")), PV_OK);
    assert_int_equal(pv_store_secret_put(store, "retail", "login", pv_slice_cstr("two")), PV_OK);
    assert_secret(store, "retail", "login", "two");
    assert_int_equal(pv_store_secret_remove(store, "retail", "login"), PV_OK);
    pv_buf_clear(&again);
    assert_int_equal(pv_store_secret_get(store, "retail", "login", &again), PV_NOTFOUND);
    assert_int_equal(pv_store_secret_get(store, "retail", "mask", &again), PV_OK);
    assert_int_equal(pv_store_secret_remove(store, "retail", NULL), PV_OK);
    assert_int_equal(pv_store_secret_get(store, "retail", "mask", &again), PV_NOTFOUND);
    pv_buf_wipe(&first);
    pv_buf_wipe(&again);
    pv_buf_wipe(&hex);
    pv_store_close(store);
}

static void
processes_agree_on_a_secret(void **state)
{
    enum { CHILDREN = 4 };
    const struct place *place = *state;
    struct pv_store *store;
    struct pv_buf mine = {0};
    int pipes[CHILDREN][2];

    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        if (fork() == 0) {
            struct pv_store *theirs = NULL;
            struct pv_buf out = {0};

            if (pv_store_open(place->path, &theirs, NULL, 0) != PV_OK ||
                pv_store_secret_ensure(theirs, "shared", "key", 32, false, &out) != PV_OK)
                _exit(1);
            _exit(write(pipes[i][1], pv_buf_slice(&out).data, 32) == 32 ? 0 : 1);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;

        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    store = open_store(place);
    assert_int_equal(pv_store_secret_get(store, "shared", "key", &mine), PV_OK);
    for (int i = 0; i < CHILDREN; i++) {
        uint8_t theirs[32];

        assert_int_equal(read(pipes[i][0], theirs, sizeof(theirs)), sizeof(theirs));
        assert_memory_equal(theirs, pv_buf_slice(&mine).data, sizeof(theirs));
        (void) close(pipes[i][0]);
        (void) close(pipes[i][1]);
    }
    pv_buf_wipe(&mine);
    pv_store_close(store);
}

static void
approvals_are_listed_newest_first(void **state)
{
    struct pv_store *store = open_store(*state);
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_approval approval = {.room = "retail",
                                   .question = "overlap",
                                   .party = "acme",
                                   .at_us = 5,
                                   .text = pv_slice_cstr("text one"),
                                   .signature = pv_slice_of("\0\1\2", 3),
                                   .fingerprint = "ab"};
    struct pv_approval *list = NULL;
    size_t count = 7;
    char *words = NULL;
    sqlite3 *sqlite = NULL;

    assert_int_equal(pv_store_approvals(store, "retail", NULL, arena, &list, &count), PV_OK);
    assert_int_equal(count, 0);
    assert_int_equal(pv_store_approval_add(store, &approval), PV_OK);
    approval.text = pv_slice_cstr("text two");
    assert_int_equal(pv_store_approval_add(store, &approval), PV_OK);
    approval.question = "other";
    assert_int_equal(pv_store_approval_add(store, &approval), PV_OK);
    approval.room = "elsewhere";
    assert_int_equal(pv_store_approval_add(store, &approval), PV_OK);
    assert_int_equal(pv_store_approvals(store, "retail", "overlap", arena, &list, &count), PV_OK);
    assert_int_equal(count, 2);
    assert_true(pv_slice_is(list[0].text, "text two"));
    assert_true(pv_slice_is(list[1].text, "text one"));
    assert_true(pv_slice_equal(list[1].signature, pv_slice_of("\0\1\2", 3)));
    assert_string_equal(list[1].fingerprint, "ab");
    assert_int_equal(list[1].at_us, 5);
    assert_int_equal(pv_store_approvals(store, "retail", NULL, arena, &list, &count), PV_OK);
    assert_int_equal(count, 3);
    assert_int_equal(pv_store_approvals(store, NULL, NULL, arena, &list, &count), PV_OK);
    assert_int_equal(count, 4);
    assert_int_equal(sqlite3_open(((struct place *) *state)->path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, "DELETE FROM approval", NULL, NULL, &words), SQLITE_CONSTRAINT);
    sqlite3_free(words);
    (void) sqlite3_close(sqlite);
    pv_arena_free(arena);
    pv_store_close(store);
}

static void
newest_consent_counts(void **state)
{
    struct pv_store *store = open_store(*state);
    struct pv_arena *arena = pv_arena_new(0);
    struct pv_consent consent = {.room = "retail", .kind = PV_CONSENT_ROOM, .party = "acme", .is_withdrawn = true};
    struct pv_consent *list = NULL;
    size_t count = 0;

    assert_int_equal(pv_store_consent_add(store, &consent), PV_OK);
    consent.kind = PV_CONSENT_DATASET;
    consent.subject = "public.customers";
    assert_int_equal(pv_store_consent_add(store, &consent), PV_OK);
    consent.party = "megamart";
    assert_int_equal(pv_store_consent_add(store, &consent), PV_OK);
    consent.party = "acme";
    consent.is_withdrawn = false;
    assert_int_equal(pv_store_consent_add(store, &consent), PV_OK);
    consent.room = "elsewhere";
    assert_int_equal(pv_store_consent_add(store, &consent), PV_OK);
    assert_int_equal(pv_store_consents(store, "retail", arena, &list, &count), PV_OK);
    assert_int_equal(count, 3);
    assert_int_equal(list[0].kind, PV_CONSENT_ROOM);
    assert_null(list[0].subject);
    assert_true(list[0].is_withdrawn);
    assert_true(list[0].at_us > 0);
    assert_string_equal(list[1].party, "megamart");
    assert_true(list[1].is_withdrawn);
    assert_string_equal(list[2].subject, "public.customers");
    assert_false(list[2].is_withdrawn);
    assert_int_equal(pv_store_consents(store, NULL, arena, &list, &count), PV_OK);
    assert_int_equal(count, 4);
    /* What was said earlier is no newer for standing further down. */
    consent.room = "retail";
    consent.at_us = 5;
    consent.is_withdrawn = true;
    assert_int_equal(pv_store_consent_add(store, &consent), PV_OK);
    assert_int_equal(pv_store_consents(store, "retail", arena, &list, &count), PV_OK);
    assert_int_equal(count, 3);
    assert_false(list[2].is_withdrawn);
    pv_arena_free(arena);
    pv_store_close(store);
}

static void
changes_by_others_are_seen(void **state)
{
    struct pv_store *store = open_store(*state);
    struct pv_store *other = open_store(*state);
    const struct pv_consent consent = {.room = "retail", .party = "acme", .is_withdrawn = true};
    const struct pv_budget_take budget = {"k", "2026", 9, 1, NULL};
    struct pv_journal *journal = open_journal(*state, (struct pv_journal_options){0});
    uint64_t before = 0, after = 0;
    size_t spent;

    assert_int_equal(pv_store_changes(store, &before), PV_OK);
    assert_int_equal(pv_store_consent_add(other, &consent), PV_OK);
    assert_int_equal(pv_store_changes(store, &after), PV_OK);
    assert_true(after > before);
    before = after;
    assert_int_equal(pv_store_secret_put(other, "a", "b", pv_slice_cstr("c")), PV_OK);
    assert_int_equal(pv_store_changes(store, &after), PV_OK);
    assert_true(after > before);
    /* Records and budgets are no news. */
    before = after;
    assert_int_equal(put_event(journal, "login"), PV_OK);
    pv_journal_close(journal);
    assert_int_equal(pv_store_budgets_reserve(other, &budget, 1, &spent), PV_OK);
    assert_int_equal(pv_store_changes(store, &after), PV_OK);
    assert_int_equal(after, before);
    pv_store_close(other);
    pv_store_close(store);
}

static void
budgets_are_taken_together_or_not_at_all(void **state)
{
    struct pv_store *store = open_store(*state);
    const struct pv_budget_take both[] = {{"question", "2026-01-01", 5, 1, NULL}, {"dataset", "2026-01-01", 2, 1, NULL}};
    const struct pv_budget_take none[] = {{"never", "2026-01-01", 0, 1, NULL}};
    uint64_t runs = 9;
    size_t spent = 9;

    assert_int_equal(pv_store_budgets_reserve(store, both, 2, &spent), PV_OK);
    assert_int_equal(pv_store_budgets_reserve(store, both, 2, &spent), PV_OK);
    assert_int_equal(spent, 9);
    assert_int_equal(pv_store_budgets_reserve(store, both, 2, &spent), PV_LIMIT);
    assert_int_equal(spent, 1);
    assert_int_equal(pv_store_budget_used(store, "question", "2026-01-01", &runs), PV_OK);
    assert_int_equal(runs, 2);
    assert_int_equal(pv_store_budget_used(store, "question", "2026-01-02", &runs), PV_OK);
    assert_int_equal(runs, 0);
    assert_int_equal(pv_store_budgets_reserve(store, none, 1, &spent), PV_LIMIT);
    /* Closing gives nothing back. */
    pv_store_close(store);
    store = open_store(*state);
    assert_int_equal(pv_store_budgets_reserve(store, &both[1], 1, &spent), PV_LIMIT);
    pv_store_close(store);
}

static void
racing_processes_never_overspend(void **state)
{
    enum { CHILDREN = 4, TRIES = 20, RUNS = 30 };
    const struct place *place = *state;
    const struct pv_budget_take budget = {"question", "2026", RUNS, 1, NULL};
    struct pv_store *store = open_store(place);
    int taken = 0;
    uint64_t runs = 0;

    for (int i = 0; i < CHILDREN; i++)
        if (fork() == 0) {
            struct pv_store *theirs = NULL;
            size_t spent;
            int count = 0;

            if (pv_store_open(place->path, &theirs, NULL, 0) != PV_OK)
                _exit(255);
            for (int n = 0; n < TRIES; n++) {
                enum pv_status status = pv_store_budgets_reserve(theirs, &budget, 1, &spent);

                if (status != PV_OK && status != PV_LIMIT)
                    _exit(255);
                count += status == PV_OK;
            }
            _exit(count);
        }
    for (int i = 0; i < CHILDREN; i++) {
        int status;

        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
        taken += WEXITSTATUS(status);
    }
    assert_int_equal(taken, RUNS);
    assert_int_equal(pv_store_budget_used(store, "question", "2026", &runs), PV_OK);
    assert_int_equal(runs, RUNS);
    pv_store_close(store);
}

static void
busy_and_memory_are_told(void **state)
{
    const struct place *place = *state;
    struct pv_store *store = open_store(place);
    sqlite3 *sqlite = NULL;
    struct pv_buf out = {0};

    pv_alloc_fail_at(1);
    assert_int_equal(pv_store_secret_ensure(store, "a", "b", 32, false, &out), PV_NOMEM);
    pv_alloc_fail_at(0);
    pv_buf_clear(&out);
    assert_int_equal(pv_store_secret_get(store, "a", "b", &out), PV_NOTFOUND);
    assert_int_equal(sqlite3_open(place->path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(pv_store_secret_put(store, "a", "b", pv_slice_cstr("c")), PV_BUSY);
    (void) sqlite3_close(sqlite);
    assert_int_equal(pv_store_secret_put(store, "a", "b", pv_slice_cstr("c")), PV_OK);
    assert_secret(store, "a", "b", "c");
    pv_store_close(store);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(secrets_come_back),
        TEST(processes_agree_on_a_secret),
        TEST(approvals_are_listed_newest_first),
        TEST(newest_consent_counts),
        TEST(changes_by_others_are_seen),
        TEST(budgets_are_taken_together_or_not_at_all),
        TEST(racing_processes_never_overspend),
        TEST(busy_and_memory_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
