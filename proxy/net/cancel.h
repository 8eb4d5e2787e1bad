/*
 * Who may be cancelled: (process id, key) to session, for all threads. A live mapping
 * is never evicted. Keys are compared in constant time; a source that guesses is
 * ignored for a while, right guesses included.
 */
#ifndef PV_CANCEL_H
#define PV_CANCEL_H

#include "proxy/base/base.h"

struct pv_cancel_map;

struct pv_cancel_map *pv_cancel_map_new(void) PV_MUST_CHECK; /* NULL: out of memory */
void pv_cancel_map_free(struct pv_cancel_map *map);          /* NULL is fine */

/* PV_BUSY: the same pid and key belong to a live session; PV_INVALID: a key of no length that we give out. */
enum pv_status pv_cancel_map_put(struct pv_cancel_map *map, uint32_t pid, struct pv_slice key, unsigned worker,
                                 uint64_t session) PV_MUST_CHECK;
/* Whatever this session put under the pid; nothing when there is none. */
void pv_cancel_map_remove(struct pv_cancel_map *map, uint32_t pid, uint64_t session);
/* `source` names the asking address. PV_NOTFOUND: no such pair. PV_LIMIT: the source has guessed too often. */
enum pv_status pv_cancel_map_find(struct pv_cancel_map *map, uint32_t pid, struct pv_slice key, const char *source,
                                  int64_t now_us, unsigned *worker, uint64_t *session) PV_MUST_CHECK;

#endif
