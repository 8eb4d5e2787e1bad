/*
 * Threads that write what they put: those of the loops, at the end of a turn, where the disk is so quick that waiting
 * for it costs less than waking the writer and being woken by it.
 *
 * What makes sure that nothing is left in the queue: whoever put into an empty one owes a kick, and who kicks either
 * has the road and takes the queue, or finds that somebody has it, who looks into the queue again after giving it up.
 */
#include "proxy/audit/journal_int.h"

/* Turns of others that one goes on for before its own sessions are looked after again. */
enum { ROUNDS_MAX = 4 };

enum help {
    HELP_DONE, /* what was queued is written, or refused */
    HELP_LEFT, /* the writer's thread is to do it */
};

static bool
is_quick(const struct pv_journal *journal, const struct pv_pace *pace)
{
    return journal->options.is_hasty || pace->is_quick;
}

/* What must not be done by who serves others meanwhile; the road is held. */
static bool
is_for_writer(const struct pv_journal *journal)
{
    /* A log that fails is opened anew; what is owed and due is a large transaction, and a checkpoint many writes. */
    if (atomic_load(&journal->is_failed) || pv_journal_is_owed_due(journal) ||
        pv_db_is_checkpoint_due(journal->db))
        return true;
    return journal->options.write_behind_ms == 0 && !is_quick(journal, &journal->commits);
}

static void
wake_writer(struct pv_journal *journal)
{
    /* It may be about to sleep, having seen what was before. */
    (void) pthread_mutex_lock(&journal->mutex);
    (void) pthread_mutex_unlock(&journal->mutex);
    (void) pthread_cond_signal(&journal->wake);
}

/* The batch beside the log. */
static enum help
spill(struct pv_journal *journal, struct pv_queue *batch)
{
    bool was_owing = atomic_load(&journal->is_owing);

    if (journal->synced == NULL || !is_quick(journal, &journal->syncs) || pv_batch_spill(journal, batch) != PV_OK)
        return HELP_LEFT;
    if (!was_owing)
        wake_writer(journal);
    return HELP_DONE;
}

/* The batch into the log. Another process's transaction is not waited for. */
static enum help
write_now(struct pv_journal *journal, struct pv_queue *batch)
{
    const char *what = "";
    enum pv_status status = pv_batch_write(journal, batch, false, &what);

    if (status == PV_BUSY)
        return HELP_LEFT;
    if (status == PV_OK) {
        pv_batch_complete(batch);
    } else {
        pv_batch_fail(journal, batch, status, what);
        wake_writer(journal);
    }
    return HELP_DONE;
}

/* The road is held. */
static enum help
help_once(struct pv_journal *journal)
{
    struct pv_queue batch;
    enum help help = HELP_DONE;

    if (is_for_writer(journal))
        return HELP_LEFT;
    pv_batch_take(journal, &batch);
    if (batch.count == 0)
        return HELP_DONE;
    if (pv_batch_is_for_spill(journal, &batch))
        help = spill(journal, &batch);
    else if (journal->owed.count > 0 || !is_quick(journal, &journal->commits))
        help = HELP_LEFT;
    else
        help = write_now(journal, &batch);
    if (help == HELP_LEFT)
        pv_batch_leave(journal, &batch);
    return help;
}

static bool
is_queue_empty(struct pv_journal *journal)
{
    bool is_empty;

    (void) pthread_mutex_lock(&journal->mutex);
    is_empty = pv_journal_depth(journal) == 0;
    (void) pthread_mutex_unlock(&journal->mutex);
    return is_empty;
}

static bool
help_all(struct pv_journal *journal, struct pv_journal_port *port)
{
    bool is_done = false;

    for (int round = 0; round < ROUNDS_MAX; round++) {
        enum help help;

        if (pthread_mutex_trylock(&journal->road) != 0)
            return is_done;
        port->is_helping = true;
        help = help_once(journal);
        port->is_helping = false;
        (void) pthread_mutex_unlock(&journal->road);
        is_done = is_done || help == HELP_DONE;
        if (help == HELP_LEFT)
            break;
        if (is_queue_empty(journal))
            return is_done;
    }
    wake_writer(journal);
    return is_done;
}

bool
pv_journal_port_is_owed(const struct pv_journal *journal, const struct pv_journal_port *port)
{
    return port->is_kick_owed && !journal->options.is_relaxed;
}

bool
pv_journal_kick(struct pv_journal *journal, struct pv_journal_port *port, bool is_last)
{
    if (!port->is_kick_owed)
        return false;
    port->is_kick_owed = false;
    port->begin_count = 0;
    port->since_us = 0;
    if (!is_last && !journal->options.is_relaxed)
        return help_all(journal, port);
    wake_writer(journal);
    return false;
}
