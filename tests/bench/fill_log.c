/*
 * Fills a query log by way of the journal itself: COUNT statements over 30 days, 4 rooms, 50 users, 20 questions, a tenth of them
 * denied, a login for every fifty.
 *     fill_log STATE COUNT
 */
#include "proxy/audit/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_US INT64_C(86400000000)

static const char *const rooms[] = {"retail_media", "study", "fraud", "supply"};
static const char *const regions[] = {"North", "South", "East", "West", "Centre", "Islands"};

static uint64_t seed = 88172645463325252u;

static unsigned
dice(unsigned sides)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned) (seed % sides);
}

static void
put(struct pv_journal *journal, const struct pv_record *record)
{
    uint64_t ticket;
    enum pv_status status;

    while ((status = pv_journal_put(journal, record, NULL, NULL, &ticket)) == PV_LIMIT)
        (void) usleep(2000);
    if (status != PV_OK) {
        (void) fprintf(stderr, "fill_log: %s\n", pv_status_words(status));
        exit(1);
    }
}

static void
put_statement(struct pv_journal *journal, int64_t at_us)
{
    char user[16], question[24], query[400], parameters[40], client[32];
    bool is_denied = dice(10) == 0;
    unsigned question_number = dice(20);
    struct pv_statement_begin begin = {
        .id = pv_statement_id_next(),
        .at_us = at_us,
        .session = 1 + dice(2000),
        .room = rooms[dice(4)],
        .user = user,
        .party = dice(2) == 0 ? "acme" : "megamart",
        .client = client,
        .application = dice(3) == 0 ? "psql" : "Tableau",
        .protocol = dice(2) == 0 ? PV_RECORD_SIMPLE : PV_RECORD_EXTENDED,
        .is_allowed = !is_denied,
        .has_query = true,
        .parameters = parameters,
    };
    struct pv_statement_end end = {.id = begin.id,
                                   .at_us = at_us + 30000,
                                   .rows = is_denied ? 0 : dice(300),
                                   .bytes = 40 + dice(20000),
                                   .duration_us = 300 + dice(200000),
                                   .suppressed = is_denied ? PV_SUPPRESSED_UNKNOWN : PV_SUPPRESSED_SOME,
                                   .outcome = is_denied ? PV_OUTCOME_FAILED : PV_OUTCOME_COMPLETED,
                                   .sqlstate = is_denied ? "42501" : NULL};
    struct pv_record record = {.kind = is_denied ? PV_RECORD_WHOLE : PV_RECORD_BEGIN, .begin = &begin, .end = &end};

    (void) snprintf(user, sizeof(user), "user%u", dice(50));
    (void) snprintf(client, sizeof(client), "10.0.%u.%u:%u", dice(4), dice(250), 40000 + dice(20000));
    (void) snprintf(question, sizeof(question), "question_%u", question_number);
    (void) snprintf(parameters, sizeof(parameters), "[\"2024-%02u-%02u\"]", 1 + dice(12), 1 + dice(28));
    (void) snprintf(query, sizeof(query),
                    "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM public.customers c JOIN ads.impressions i "
                    "USING (customer_id) WHERE i.seen_on >= $1 AND c.region = '%s' GROUP BY c.region -- %u",
                    regions[dice(6)], dice(1000000));
    begin.query = pv_slice_cstr(query);
    if (is_denied)
        begin.reason = "It reads data set \"public.customers\" and is none of the room's fixed questions.";
    else {
        begin.question = question;
        begin.question_type = "analytical";
        begin.forwarded = "SELECT c.region, count(DISTINCT c.customer_id) AS reached FROM \"pgveil_retail_media\".c1 c JOIN "
                          "\"pgveil_retail_media\".i1 i USING (customer_id) WHERE (i.seen_on >= $1) GROUP BY c.region";
        begin.datasets = "[\"public.customers\", \"ads.impressions\"]";
        begin.columns = question_number < 15 ? "[\"public.customers.region\", \"public.customers.customer_id\"]"
                                             : "[\"public.customers.email\", \"ads.impressions.seen_on\"]";
    }
    put(journal, &record);
    record.kind = PV_RECORD_END;
    if (!is_denied)
        put(journal, &record);
}

int
main(int argc, char **argv)
{
    const struct pv_journal_options options = {.is_serving = true, .is_relaxed = true};
    struct pv_journal *journal = NULL;
    char error[256];
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    int64_t at_us = pv_record_now_us() - 30 * DAY_US;

    if (count <= 0) {
        (void) fprintf(stderr, "usage: fill_log STATE COUNT\n");
        return 2;
    }
    if (pv_journal_open(argv[1], &options, &journal, error, sizeof(error)) != PV_OK) {
        (void) fprintf(stderr, "fill_log: %s\n", error);
        return 1;
    }
    for (long i = 0; i < count; i++) {
        at_us += 30 * DAY_US / count;
        if (i % 50 == 0) {
            const struct pv_event event = {.at_us = at_us, .session = 7, .room = rooms[dice(4)], .user = "user1",
                                           .client = "10.0.0.1:4000", .event = "login"};
            const struct pv_record record = {.kind = PV_RECORD_EVENT, .event = &event};

            put(journal, &record);
        }
        put_statement(journal, at_us);
    }
    pv_journal_close(journal);
    return 0;
}
