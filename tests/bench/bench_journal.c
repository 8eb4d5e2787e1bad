/*
 * What a record costs: a begin of a usual size, put in groups of 1, 16 and 256 that are waited for, and with the
 * relaxed journal. Prints microseconds a record; asserts nothing.
 *     bench_journal FOLDER
 */
#include "proxy/audit/journal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GROUP_MAX 256u

static double
now_us(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

static enum pv_status
put_one(struct pv_journal *journal, struct pv_journal_port *port)
{
    const struct pv_statement_begin begin = {
        .id = pv_statement_id_next(),
        .session = 12,
        .room = "retail_media",
        .user = "alice",
        .party = "acme",
        .client = "127.0.0.1:50000",
        .application = "psql",
        .question = "overlap_by_region",
        .question_type = "analytical",
        .is_allowed = true,
        .has_query = true,
        .query = pv_slice_cstr("SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN"
                               " ads.impressions i USING (customer_id) WHERE i.seen_on >= '2024-06-01' GROUP BY 1"),
        .parameters = "[\"2024-06-01\"]",
        .forwarded =
            "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM pv.c JOIN pv.i USING (customer_id)",
        .datasets = "[\"public.customers\", \"ads.impressions\"]",
        .columns = "[\"public.customers.region\", \"public.customers.customer_id\", \"ads.impressions.seen_on\"]",
    };
    const struct pv_record record = {.kind = PV_RECORD_BEGIN, .begin = &begin};
    uint64_t ticket;

    return pv_journal_put(journal, &record, port, NULL, &ticket);
}

static void
notify(void *context)
{
    const int *pipe_end = context;

    (void) !write(*pipe_end, "", 1);
}

/* Puts `group` records and waits for them, `rounds` times. */
static int
measure(struct pv_journal *journal, size_t group, size_t rounds, bool is_relaxed)
{
    struct pv_journal_done done[GROUP_MAX];
    struct pv_journal_port *port;
    struct pv_journal_stats before, after;
    int ends[2];
    double put_us = 0, began_us;

    if (pipe(ends) != 0 || (port = pv_journal_port_new(notify, &ends[1])) == NULL)
        return 1;
    pv_journal_stats(journal, &before);
    began_us = now_us();
    for (size_t round = 0; round < rounds; round++) {
        double put_began_us = now_us();
        size_t have = 0;
        char byte;

        for (size_t i = 0; i < group; i++)
            if (put_one(journal, port) != PV_OK)
                return 1;
        put_us += now_us() - put_began_us;
        while (!is_relaxed && have < group) {
            if (read(ends[0], &byte, 1) != 1)
                return 1;
            have += pv_journal_port_take(port, done, GROUP_MAX);
        }
    }
    pv_journal_stats(journal, &after);
    printf("%-8s group %3zu: %8.2f us a record, %5.2f of it in put; %.1f records a transaction, %.2f us each in it\n",
           is_relaxed ? "relaxed" : "strict", group, (now_us() - began_us) / (double) (group * rounds),
           put_us / (double) (group * rounds),
           (double) (after.records - before.records) /
               (double) (after.batches > before.batches ? after.batches - before.batches : 1),
           (double) (after.flush_us_sum - before.flush_us_sum) /
               (double) (after.records > before.records ? after.records - before.records : 1));
    pv_journal_port_free(port);
    (void) close(ends[0]);
    (void) close(ends[1]);
    return 0;
}

static int
run(const char *path, bool is_relaxed)
{
    static const struct {
        size_t group, rounds;
    } rows[] = {{1, 1000}, {16, 500}, {256, 100}};
    const struct pv_journal_options options = {.is_relaxed = is_relaxed};
    struct pv_journal *journal = NULL;
    char error[256];
    int status = 0;

    if (pv_journal_open(path, &options, &journal, error, sizeof(error)) != PV_OK) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    for (size_t i = 0; status == 0 && i < PV_COUNT_OF(rows); i++)
        status = measure(journal, rows[i].group, rows[i].rounds, is_relaxed);
    pv_journal_close(journal);
    return status;
}

int
main(int argc, char **argv)
{
    char path[4096];

    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    (void) snprintf(path, sizeof(path), "%s/bench_journal.db", argv[1]);
    return run(path, false) != 0 || run(path, true) != 0;
}
