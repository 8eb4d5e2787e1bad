/* Times of many on one timer: each fires at its time, in order, whatever was moved or taken away before. */
#include "proxy/net/due.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

enum { COUNT = 300 };

struct item {
    struct pv_due due;
    int64_t wanted_us; /* INT64_MAX: must not fire */
    unsigned fired;
};

static struct item items[COUNT];
static struct pv_loop *loop;
static struct pv_dues *dues;
static unsigned fired, again, wanted;
static int64_t last_us;

static void
fire(struct pv_due *due)
{
    struct item *item = (struct item *) (void *) ((char *) due - offsetof(struct item, due));
    int64_t now_us = pv_now_us();

    assert_int_equal(due->at_us, INT64_MAX);
    assert_true(item->wanted_us <= now_us);
    assert_true(item->wanted_us >= last_us);
    last_us = item->wanted_us;
    item->fired++;
    if (item == &items[7] && again == 0) {
        again++;
        item->wanted_us = now_us + 5000;
        assert_int_equal(pv_due_set(dues, due, item->wanted_us), PV_OK);
    }
    if (++fired == wanted)
        pv_loop_stop(loop);
}

static void
stop(void *context)
{
    (void) context;
    pv_loop_stop(loop);
}

static void
open_both(void)
{
    loop = pv_loop_new();
    assert_non_null(loop);
    dues = pv_dues_new(loop, fire);
    assert_non_null(dues);
    fired = again = 0;
    wanted = 1; /* the one that comes twice */
    last_us = 0;
    for (int i = 0; i < COUNT; i++) {
        items[i] = (struct item){.wanted_us = INT64_MAX};
        pv_due_init(&items[i].due);
    }
}

static void
set(int i, int64_t at_us)
{
    items[i].wanted_us = at_us;
    assert_int_equal(pv_due_set(dues, &items[i].due, at_us), PV_OK);
}

static void
test_each_at_its_time(void **state)
{
    int64_t now_us;
    struct pv_task *end;

    (void) state;
    srand(1);
    open_both();
    now_us = pv_now_us();
    for (int i = 0; i < COUNT; i++)
        set(i, now_us + rand() % 200000);
    for (int i = 0; i < COUNT; i += 3)
        set(i, now_us + rand() % 200000); /* moved, either way */
    for (int i = 0; i < COUNT; i += 5) {
        items[i].wanted_us = INT64_MAX;
        if (i % 2 == 0)
            pv_due_clear(dues, &items[i].due);
        else
            assert_int_equal(pv_due_set(dues, &items[i].due, INT64_MAX), PV_OK);
        pv_due_clear(dues, &items[i].due); /* it may not wait */
    }
    for (int i = 0; i < COUNT; i++)
        wanted += items[i].wanted_us != INT64_MAX;
    end = pv_loop_once(loop, 120000, stop, NULL);
    pv_loop_run(loop);
    assert_int_equal(fired, wanted);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(items[i].fired, i == 7 ? 2 : i % 5 == 0 ? 0 : 1);
    pv_task_free(end);
    pv_dues_free(dues);
    pv_loop_free(loop);
}

static void
test_without_memory(void **state)
{
    (void) state;
    open_both();
    pv_alloc_fail_at(1);
    assert_null(pv_dues_new(loop, fire));
    pv_alloc_fail_at(1);
    assert_int_equal(pv_due_set(dues, &items[0].due, 1), PV_NOMEM);
    assert_int_equal(items[0].due.at_us, INT64_MAX);
    set(0, 1);
    pv_due_clear(dues, &items[0].due);
    pv_dues_free(dues);
    pv_dues_free(NULL);
    pv_loop_free(loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_at_its_time),
        cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
