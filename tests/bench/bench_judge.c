/*
 * What the first sight of a statement costs: PostgreSQL's parser alone, or the whole road from the text to a decision
 * that is kept, through a cache that has forgotten all. The room is one of a config as serve would load it.
 *     bench_judge CONFIG ROOM USER FILE ROUNDS
 * FILE holds the statement. Both take turns; prints the microseconds of CPU of a round of either, the least of its batches,
 * and then what is forwarded or why it is denied. Under callgrind `parse_rounds` and `judge_rounds` are what to count.
 */
#include "parser/parse.h"

#include "policy/cache.h"
#include "proxy/base/arena.h"

#include <pg_query.h>
#include <pg_query/pg_query_internal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCHES 20u

struct bench {
    struct pv_caller caller;
    struct pv_arena *arena;
    char text[65536];
};

static double
now_us(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

static void
parse_once(const char *text)
{
    MemoryContext context = pg_query_enter_memory_context();
    PgQueryInternalParsetreeAndError parsed = pg_query_raw_parse(text);

    pv_assert(parsed.error == NULL && parsed.tree != NIL);
    free(parsed.stderr_buffer);
    pg_query_exit_memory_context(context);
}

static const struct pv_decision *
judge_once(struct bench *bench)
{
    struct pv_decision *decisions;
    size_t count;

    pv_arena_reset(bench->arena);
    pv_cache_clear(bench->caller.cache);
    pv_assert(pv_cache_query(bench->arena, &bench->caller, pv_slice_cstr(bench->text), &decisions, &count) == PV_OK);
    pv_assert(count == 1);
    return decisions;
}

void parse_rounds(struct bench *bench, unsigned rounds);
void judge_rounds(struct bench *bench, unsigned rounds);

__attribute__((noinline)) void
parse_rounds(struct bench *bench, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        parse_once(bench->text);
}

__attribute__((noinline)) void
judge_rounds(struct bench *bench, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        (void) judge_once(bench);
}

static struct pv_policy *
load(const char *path)
{
    struct pv_faults *faults = pv_faults_new();
    struct pv_policy *policy = NULL;

    pv_assert(faults != NULL);
    if (pv_policy_load(path, faults, &policy) != PV_OK)
        for (size_t i = 0; i < pv_faults_total(faults); i++)
            fprintf(stderr, "%s:%u: %s\n", pv_faults_at(faults, i)->file, pv_faults_at(faults, i)->line,
                    pv_faults_at(faults, i)->message);
    pv_faults_free(faults);
    return policy;
}

static void
read_text(const char *path, struct bench *bench)
{
    FILE *file = fopen(path, "r");
    size_t len;

    pv_assert(file != NULL);
    len = fread(bench->text, 1, sizeof(bench->text) - 1, file);
    bench->text[len] = '\0';
    (void) fclose(file);
}

static void
run(struct bench *bench, unsigned rounds)
{
    static void (*const modes[])(struct bench * bench, unsigned rounds) = {parse_rounds, judge_rounds};
    double least[PV_COUNT_OF(modes)] = {0};
    const struct pv_decision *decision;

    for (unsigned i = 0; i < BATCHES * PV_COUNT_OF(modes); i++) {
        size_t mode = i % PV_COUNT_OF(modes);
        double before = now_us(), took;

        modes[mode](bench, rounds);
        took = (now_us() - before) / rounds;
        if (i < PV_COUNT_OF(modes) || took < least[mode])
            least[mode] = took;
    }
    printf("%.3f %.3f\n", least[0], least[1]);
    decision = judge_once(bench);
    printf("%s\n", decision->is_allowed         ? decision->forwarded
                   : decision->detail != NULL ? decision->detail
                                              : decision->message);
}

int
main(int argc, char **argv)
{
    static const char *const path_names[] = {"public"};
    static struct bench bench;
    struct pv_policy *policy;

    if (argc != 6) {
        fprintf(stderr, "usage: bench_judge CONFIG ROOM USER FILE ROUNDS\n");
        return 2;
    }
    policy = load(argv[1]);
    if (policy == NULL)
        return 1;
    read_text(argv[4], &bench);
    bench.arena = pv_arena_new(0);
    bench.caller = (struct pv_caller){.policy = policy,
                                      .room = pv_policy_room(policy, pv_slice_cstr(argv[2])),
                                      .user = argv[3],
                                      .search_path = {path_names, 1},
                                      .now_us = 1,
                                      .cache = pv_cache_new(0)};
    pv_assert(bench.arena != NULL && bench.caller.cache != NULL && bench.caller.room != NULL);
    bench.caller.member = pv_room_member(bench.caller.room, argv[3]);
    run(&bench, (unsigned) atoi(argv[5]));
    pv_cache_free(bench.caller.cache);
    pv_arena_free(bench.arena);
    pv_policy_unref(policy);
    return 0;
}
