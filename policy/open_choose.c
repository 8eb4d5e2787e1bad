#include <stdlib.h>
#include <string.h>

#include "policy/rule_int.h"

/*
 * Which open question a statement is asked under where several cover its data sets. The analysis rules are the data
 * sets', so each of them admits what the others do; what differs is who may ask, what must have been approved, and how the
 * result is controlled. The strictest that stands is asked, and no other: its budget is spent, its name is logged.
 * One that does not stand, for want of a signature or of consent, is no approved question, so it does not
 * keep the next from being asked; a budget that is spent does. Thresholds are the rules',
 * the same for all.
 */

static bool
covers(const struct pv_question *question, const struct pv_resolution *resolution)
{
    for (size_t i = 0; i < resolution->relation_count; i++) {
        const struct pv_dataset *dataset = pv_rte_dataset(resolution->relations[i]);
        bool is_listed = false;

        for (size_t k = 0; k < question->dataset_count && !is_listed; k++)
            is_listed = question->datasets[k] == dataset;
        if (!is_listed && dataset != NULL)
            return false;
    }
    return true;
}

/* Less stands before more; no bound (0) last. */
static int
compare_bound(uint64_t a, uint64_t b)
{
    return a == b ? 0 : a == 0 ? 1 : b == 0 || a < b ? -1 : 1;
}

/* The strictest first; of equals by name. */
static int
compare_question(const void *left, const void *right)
{
    const struct pv_question *a = *(const struct pv_question *const *) left;
    const struct pv_question *b = *(const struct pv_question *const *) right;
    bool has_a = a->budget_count > 0, has_b = b->budget_count > 0;
    int order;

    order = compare_bound(a->max_rows, b->max_rows);
    if (order == 0)
        order = compare_bound(a->timeout_ms, b->timeout_ms);
    if (order == 0 && has_a != has_b)
        order = has_a ? -1 : 1;
    if (order == 0 && a->type != b->type)
        order = a->type == PV_QUESTION_ANALYTICAL ? -1 : b->type == PV_QUESTION_ANALYTICAL ? 1 : 0;
    return order != 0 ? order : strcmp(a->id, b->id);
}

enum pv_status
pv_open_questions(struct pv_trial *trial, const struct pv_resolution *resolution, const struct pv_question ***questions,
                  size_t *count)
{
    const struct pv_room *room = trial->caller->room;
    const struct pv_question **list = pv_arena_alloc(trial->arena, (room->question_count + 1) * sizeof(*list));
    size_t found = 0;

    if (list == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < room->question_count; i++)
        if (room->questions[i].is_open && covers(&room->questions[i], resolution) &&
            pv_question_admits(&room->questions[i], trial->caller->member))
            list[found++] = &room->questions[i];
    qsort(list, found, sizeof(*list), compare_question);
    *questions = list;
    *count = found;
    return PV_OK;
}

enum pv_status
pv_open_choose(struct pv_trial *trial, const struct pv_question **questions, size_t count,
               const struct pv_question **chosen)
{
    const struct pv_decision before = *trial->decision;
    struct pv_decision first = before;
    enum pv_status status = PV_NOTFOUND;

    for (size_t i = 0; i < count; i++) {
        *trial->decision = before;
        status = pv_ask_standing(trial, questions[i]);
        if (status != PV_DENIED) {
            *chosen = questions[i];
            return status;
        }
        if (i == 0)
            first = *trial->decision;
    }
    *trial->decision = first;
    return status;
}
