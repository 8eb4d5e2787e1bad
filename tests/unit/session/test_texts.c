/* Rows of texts: equal ones are one, from whatever thread, for as long as anybody has one. Invariant 1 of texts.c. */
#include "harness.h"

#include <pthread.h>

static const char *const one[] = {"a", NULL, "", "long text that is no word"};

static void
test_equal_rows_are_one(void **state)
{
    static const char *const other[] = {"a", "", NULL, "long text that is no word"};
    char copy[] = "a";
    const char *const same[] = {copy, NULL, "", "long text that is no word"};
    struct pv_texts *a = pv_texts_of(one, 4), *b = pv_texts_of(same, 4), *c = pv_texts_of(other, 4);
    struct pv_texts *d = pv_texts_of(one, 3), *e;

    (void) state;
    assert_non_null(a);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_ptr_not_equal(a, d);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pv_texts_at(a, i) == NULL, one[i] == NULL);
        if (one[i] != NULL)
            assert_string_equal(pv_texts_at(a, i), one[i]);
    }
    e = pv_texts_with(a, 4, 1, "now");
    assert_string_equal(pv_texts_at(e, 1), "now");
    assert_string_equal(pv_texts_at(e, 3), one[3]);
    b = (pv_texts_unref(b), pv_texts_with(e, 4, 1, NULL));
    assert_ptr_equal(a, b);
    pv_texts_unref(e);
    e = pv_texts_with(NULL, 4, 2, "alone");
    assert_null(pv_texts_at(e, 0));
    assert_string_equal(pv_texts_at(e, 2), "alone");
    assert_null(pv_texts_at(NULL, 2));
    assert_ptr_equal(pv_texts_ref(a), a);
    assert_null(pv_texts_ref(NULL));
    pv_texts_unref(a);
    pv_texts_unref(a);
    pv_texts_unref(b);
    pv_texts_unref(c);
    pv_texts_unref(d);
    pv_texts_unref(e);
    pv_texts_unref(NULL);
}

static void
test_without_memory(void **state)
{
    (void) state;
    pv_alloc_fail_at(1);
    assert_null(pv_texts_of(one, 4));
    pv_alloc_fail_at(1);
    assert_null(pv_texts_with(NULL, 4, 0, "x"));
}

static void *
come_and_go(void *context)
{
    (void) context;
    for (int i = 0; i < 20000; i++) {
        char number[16];
        const char *texts[] = {"shared", number};
        struct pv_texts *row;

        (void) snprintf(number, sizeof(number), "%d", i % 3);
        row = pv_texts_of(texts, 2);
        if (strcmp(pv_texts_at(row, 1), number) != 0)
            return (void *) 1;
        pv_texts_unref(pv_texts_ref(row));
        pv_texts_unref(row);
    }
    return NULL;
}

static void
test_from_many_threads(void **state)
{
    pthread_t threads[4];
    void *failed;

    (void) state;
    for (size_t i = 0; i < PV_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    for (size_t i = 0; i < PV_COUNT_OF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_rows_are_one),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_from_many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
