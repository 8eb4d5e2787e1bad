#include "proxy/audit/ration_int.h"

#include <pthread.h>
#include <sqlite3.h>

static sqlite3_mem_methods below;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* `used` goes below zero where something older than the ration is given back. */
static _Thread_local struct {
    bool is_on;
    int64_t used, most;
} ration;

static void *
take(int size)
{
    void *memory;

    if (!ration.is_on)
        return below.xMalloc(size);
    if (ration.used + size > ration.most)
        return NULL;
    memory = below.xMalloc(size);
    if (memory != NULL)
        ration.used += below.xSize(memory);
    return memory;
}

static void
give(void *memory)
{
    if (ration.is_on && memory != NULL)
        ration.used -= below.xSize(memory);
    below.xFree(memory);
}

static void *
change(void *memory, int size)
{
    int before;
    void *changed;

    if (!ration.is_on)
        return below.xRealloc(memory, size);
    before = memory == NULL ? 0 : below.xSize(memory);
    if (ration.used - before + size > ration.most)
        return NULL;
    changed = below.xRealloc(memory, size);
    if (changed != NULL)
        ration.used += below.xSize(changed) - before;
    return changed;
}

static void
install(void)
{
    sqlite3_mem_methods methods;

    /* Statistics that nobody asks for would put a lock around each allocation. */
    if (sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_GETMALLOC, &below) != SQLITE_OK)
        return;
    methods = below;
    methods.xMalloc = take;
    methods.xFree = give;
    methods.xRealloc = change;
    (void) sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

void
pv_ration_install(void)
{
    (void) pthread_once(&once, install);
}

void
pv_ration_begin(size_t bytes_max)
{
    ration.is_on = true;
    ration.used = 0;
    ration.most = (int64_t) bytes_max;
}

void
pv_ration_end(void)
{
    ration.is_on = false;
}
