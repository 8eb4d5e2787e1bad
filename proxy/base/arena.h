/*
 * A lifetime's memory: allocated piece by piece, freed at once. Not shared
 * between threads. A snapshot, a session and a statement each have one.
 */
#ifndef PV_ARENA_H
#define PV_ARENA_H

#include "proxy/base/base.h"

#include <stdarg.h>

struct pv_arena;

struct pv_arena *pv_arena_new(size_t block_bytes) PV_MUST_CHECK; /* NULL: out of memory; 0: a default */
void pv_arena_free(struct pv_arena *arena);                      /* NULL is fine */
void pv_arena_reset(struct pv_arena *arena);                     /* frees all pieces, keeps the first block */
size_t pv_arena_bytes(const struct pv_arena *arena);             /* held from the heap */

/* `release(object)` is called when the arena is freed or reset, newest first; false: out of memory, nothing is kept. */
bool pv_arena_keep(struct pv_arena *arena, void (*release)(void *object), void *object) PV_MUST_CHECK;

/* Zeroed, aligned for any type, NULL when out of memory. */
void *pv_arena_alloc(struct pv_arena *arena, size_t size) PV_MUST_CHECK;
char *pv_arena_strdup(struct pv_arena *arena, const char *text) PV_MUST_CHECK;
char *pv_arena_strndup(struct pv_arena *arena, const char *text, size_t len) PV_MUST_CHECK;
char *pv_arena_printf(struct pv_arena *arena, const char *format, ...) PV_PRINTF(2, 3) PV_MUST_CHECK;
char *pv_arena_vprintf(struct pv_arena *arena, const char *format, va_list args) PV_PRINTF(2, 0) PV_MUST_CHECK;

#endif
