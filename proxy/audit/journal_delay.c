/*
 * When a strict batch is written: at the end of the turn that put it, or a little later, so that what others are about
 * to put is on disk with the same sync. What a wait may cost, and whether anybody is likely to come meanwhile, is
 * learned from the batches before.
 */
#include "proxy/audit/journal_int.h"

/* Of a pause between two batches, however long it was: so that a load is known for one soon after it begins. */
#define PAUSE_US_MAX 100000
/* Weights of the newest in what is learned, as shifts: of a batch, of a statement. */
enum { BATCH_SHIFT = 4, STATEMENT_SHIFT = 4 };
/* What is learned in whole numbers loses no step by them. */
#define FINE 256

void
pv_journal_delay_set(struct pv_journal *journal, uint32_t delay_us, uint32_t siblings)
{
    atomic_store(&journal->delay_us, delay_us);
    atomic_store(&journal->siblings, siblings);
}

/* The middle one of them, not the mean: a few long reports among short statements say nothing of these. */
static void
learn_statement(struct pv_traffic *traffic, int64_t duration_us)
{
    int64_t step = traffic->statement_fine >> STATEMENT_SHIFT;

    traffic->statement_fine += duration_us * FINE > traffic->statement_fine ? step + 1 : -step;
}

void
pv_journal_delay_learn(struct pv_journal *journal, const struct pv_queue *batch, size_t told)
{
    enum { DURATION = 5 };
    struct pv_traffic *traffic = &journal->traffic;
    int64_t now_us = pv_monotonic_us();
    int64_t pause_us = now_us - traffic->newest_us;
    int64_t wait_us = atomic_load(&journal->delay_us);
    size_t count = 0;

    if (journal->options.is_relaxed)
        return;
    for (const struct pv_entry *entry = batch->first; entry != NULL; entry = entry->next, count++)
        if (count >= told && entry->kind == PV_RECORD_END && entry->values[DURATION].kind == PV_VALUE_INT)
            learn_statement(traffic, entry->values[DURATION].number);
    if (count <= told)
        return;
    traffic->newest_us = now_us;
    pause_us = (pause_us > PAUSE_US_MAX ? PAUSE_US_MAX : pause_us) * FINE / (int64_t) (count - told);
    traffic->gap_fine += (pause_us - traffic->gap_fine) >> BATCH_SHIFT;
    if (wait_us > traffic->statement_fine / FINE / PV_JOURNAL_DELAY_SHARE)
        wait_us = traffic->statement_fine / FINE / PV_JOURNAL_DELAY_SHARE;
    if (wait_us < traffic->gap_fine / FINE)
        wait_us = 0;
    atomic_store(&journal->wait_us, (uint32_t) wait_us);
}

int64_t
pv_journal_delay_until_us(const struct pv_journal *journal, struct pv_journal_port *port, size_t under_way)
{
    uint32_t wait_us = atomic_load_explicit(&journal->wait_us, memory_order_relaxed);
    uint32_t delay_us = atomic_load_explicit(&journal->delay_us, memory_order_relaxed);
    size_t others = under_way > port->begin_count ? under_way - port->begin_count : 0;
    int64_t now_us;

    if (wait_us > delay_us)
        wait_us = delay_us;
    if (wait_us == 0 || !pv_journal_port_is_owed(journal, port) || others == 0 ||
        others < atomic_load_explicit(&journal->siblings, memory_order_relaxed) ||
        others < pv_journal_depth(journal))
        return 0;
    now_us = pv_monotonic_us();
    if (port->since_us == 0)
        port->since_us = now_us;
    return now_us - port->since_us >= wait_us ? 0 : port->since_us + wait_us;
}
