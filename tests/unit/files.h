/* Files that a test makes in a folder of its own. A test that cannot write ends at once. */
#ifndef PV_TEST_FILES_H
#define PV_TEST_FILES_H

#include "proxy/base/base.h"

#include <stdio.h>
#include <string.h>

static inline void
file_write_in(const char *folder, const char *name, const char *text)
{
    char path[256];
    FILE *file;

    pv_assert(snprintf(path, sizeof(path), "%s/%s", folder, name) < (int) sizeof(path));
    file = fopen(path, "w");
    pv_assert(file != NULL);
    pv_assert(fwrite(text, 1, strlen(text), file) == strlen(text));
    pv_assert(fclose(file) == 0);
}

#endif
