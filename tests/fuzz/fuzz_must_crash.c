/*
 * libFuzzer target that must fail: it reads one byte past a heap block when the input
 * is long enough. If a run does not report it, the harness is dead and the silence of the
 * other targets means nothing.
 */
#include "proxy/base/base.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = pv_alloc(size);
    volatile uint8_t seen = 0;

    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    if (size >= 3)
        seen = copy[size + (size_t) (copy[0] & 0)];
    (void) seen;
    pv_free(copy);
    return 0;
}
