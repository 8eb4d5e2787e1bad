/*
 * How much memory SQLite may take for an auditor's statement: its own allocator, with a count in front that belongs to the
 * thread. Beyond the ration an allocation fails, which SQLite takes as any other lack of memory. Threads that were given no
 * ration allocate as ever.
 */
#ifndef PV_RATION_INT_H
#define PV_RATION_INT_H

#include "proxy/base/base.h"

/* Before SQLite's first use in the process; later it does nothing. */
void pv_ration_install(void);
/* From here to the end this thread's allocations count, and what it gives back. */
void pv_ration_begin(size_t bytes_max);
void pv_ration_end(void);

#endif
