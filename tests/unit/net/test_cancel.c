#include "net_fixture.h"

#include "proxy/net/cancel.h"

static const uint8_t key_a[] = {1, 2, 3, 4};
static const uint8_t key_b[] = {1, 2, 3, 5};
static uint8_t key_long[32] = {9};

#define KEY(bytes) pv_slice_of(bytes, sizeof(bytes))

static void
test_finds_exact_pairs_only(void **state)
{
    static const struct {
        uint32_t pid;
        const uint8_t *key;
        size_t len;
        enum pv_status status;
        uint64_t session;
    } asks[] = {
        {7, key_a, 4, PV_OK, 100},        {7, key_b, 4, PV_NOTFOUND, 0},        {8, key_a, 4, PV_NOTFOUND, 0},
        {7, key_a, 3, PV_NOTFOUND, 0},    {7, key_a, 0, PV_NOTFOUND, 0},        {8, key_long, 32, PV_OK, 101},
        {8, key_long, 4, PV_NOTFOUND, 0}, {7 + 4096, key_a, 4, PV_NOTFOUND, 0},
    };
    struct pv_cancel_map *map = pv_cancel_map_new();
    unsigned worker = 99;
    uint64_t session = 99;

    (void) state;
    assert_non_null(map);
    assert_int_equal(pv_cancel_map_put(map, 7, KEY(key_a), 1, 100), PV_OK);
    assert_int_equal(pv_cancel_map_put(map, 8, KEY(key_long), 2, 101), PV_OK);
    for (size_t i = 0; i < PV_COUNT_OF(asks); i++) {
        worker = 99;
        session = 99;
        assert_int_equal(pv_cancel_map_find(map, asks[i].pid, pv_slice_of(asks[i].key, asks[i].len), "1.2.3.4", 0,
                                            &worker, &session),
                         asks[i].status);
        assert_int_equal(session, asks[i].status == PV_OK ? asks[i].session : 99);
        assert_int_equal(worker, asks[i].status == PV_OK ? asks[i].session - 99 : 99);
    }
    pv_cancel_map_free(map);
}

static void
test_a_live_mapping_is_never_evicted(void **state)
{
    struct pv_cancel_map *map = pv_cancel_map_new();
    unsigned worker;
    uint64_t session;

    (void) state;
    assert_non_null(map);
    assert_int_equal(pv_cancel_map_put(map, 7, KEY(key_a), 0, 1), PV_OK);
    assert_int_equal(pv_cancel_map_put(map, 7, KEY(key_a), 0, 2), PV_BUSY);
    /* The same pid in another database, under another key, is another session. */
    assert_int_equal(pv_cancel_map_put(map, 7, KEY(key_b), 0, 3), PV_OK);
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_a), "s", 0, &worker, &session), PV_OK);
    assert_int_equal(session, 1);
    pv_cancel_map_remove(map, 7, 2);
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_a), "s", 0, &worker, &session), PV_OK);
    pv_cancel_map_remove(map, 7, 1);
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_a), "s", 0, &worker, &session), PV_NOTFOUND);
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_b), "s", 0, &worker, &session), PV_OK);
    assert_int_equal(session, 3);
    assert_int_equal(pv_cancel_map_put(map, 7, KEY(key_a), 0, 2), PV_OK);
    pv_cancel_map_free(map);
}

static void
test_guessing_is_answered_with_silence(void **state)
{
    struct pv_cancel_map *map = pv_cancel_map_new();
    unsigned worker;
    uint64_t session;
    int guesses = 0;

    (void) state;
    assert_non_null(map);
    assert_int_equal(pv_cancel_map_put(map, 7, KEY(key_a), 0, 1), PV_OK);
    while (pv_cancel_map_find(map, 7, KEY(key_b), "10.0.0.1", 1000, &worker, &session) == PV_NOTFOUND && guesses < 1000)
        guesses++;
    assert_in_range(guesses, 5, 100);
    /* Right keys of that source are ignored too, those of others are not. */
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_a), "10.0.0.1", 2000, &worker, &session), PV_LIMIT);
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_a), "10.0.0.2", 2000, &worker, &session), PV_OK);
    /* It is forgotten with time, a guess at a time. */
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_a), "10.0.0.1", 4000000, &worker, &session), PV_OK);
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_b), "10.0.0.1", 4000000, &worker, &session), PV_NOTFOUND);
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_a), "10.0.0.1", 4000000, &worker, &session), PV_LIMIT);
    pv_cancel_map_free(map);
}

static void
test_out_of_memory(void **state)
{
    struct pv_cancel_map *map;
    unsigned worker;
    uint64_t session;
    static const uint8_t too_long[33];

    (void) state;
    pv_alloc_fail_at(1);
    assert_null(pv_cancel_map_new());
    pv_alloc_fail_at(0);
    map = pv_cancel_map_new();
    assert_non_null(map);
    pv_alloc_fail_at(1);
    assert_int_equal(pv_cancel_map_put(map, 7, KEY(key_a), 0, 1), PV_NOMEM);
    pv_alloc_fail_at(0);
    assert_int_equal(pv_cancel_map_put(map, 7, KEY(too_long), 0, 1), PV_INVALID);
    assert_int_equal(pv_cancel_map_put(map, 7, pv_slice_of(key_a, 0), 0, 1), PV_INVALID);
    assert_int_equal(pv_cancel_map_find(map, 7, KEY(key_a), "s", 0, &worker, &session), PV_NOTFOUND);
    pv_cancel_map_free(map);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_exact_pairs_only),
        cmocka_unit_test(test_a_live_mapping_is_never_evicted),
        cmocka_unit_test(test_guessing_is_answered_with_silence),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
