/*
 * Judgements kept: what pv_decide_query and pv_decide_parse say, without saying it anew. One cache a thread. What it
 * gives is what a fresh judgement would give, because everything that a judgement rests on is in the key: snapshot and
 * standing (another of either empties the cache), room, user, member, search_path, parameter types and the exact text;
 * or, for a statement that asks a fixed question with constants, the text without those, which are judged each time.
 */
#ifndef PV_CACHE_H
#define PV_CACHE_H

#include "policy/decide.h"

struct pv_cache;

/* `bytes_max`: memory of all that is kept; 0: a default. NULL: out of memory, or no randomness for the key. */
struct pv_cache *pv_cache_new(size_t bytes_max) PV_MUST_CHECK;
void pv_cache_free(struct pv_cache *cache); /* NULL is fine; what was given out lives on */
/* Forgets all and gives its snapshot back. */
void pv_cache_clear(struct pv_cache *cache);

/*
 * As pv_decide_query and pv_decide_parse, by way of caller->cache; without one they judge afresh. The decisions are as
 * old as `arena`, and are shared: they must not be changed.
 */
enum pv_status pv_cache_query(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
                              struct pv_decision **decisions, size_t *count) PV_MUST_CHECK;
enum pv_status pv_cache_parse(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
                              const uint32_t *declared_oids, size_t declared_count,
                              struct pv_decision *decision) PV_MUST_CHECK;

/* Counts, which any thread may read. */
struct pv_cache_stats {
    uint64_t hits;       /* by the exact text */
    uint64_t shape_hits; /* by the text without its constants */
    uint64_t misses;
    uint64_t entries, bytes;
    uint64_t prepared, repeated; /* as noted */
};
/* A server prepared a statement that came again; one that it had prepared ran (counted here, on the cache's thread). */
void pv_cache_note_prepared(struct pv_cache *cache);
void pv_cache_note_repeated(struct pv_cache *cache);
void pv_cache_stats(const struct pv_cache *cache, struct pv_cache_stats *stats);

#endif
