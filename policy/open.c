#include "policy/decide_int.h"

/* Open questions: any SELECT over their data sets that keeps the analysis rule of each. */

enum pv_status
pv_ask_open(struct pv_trial *trial, const struct pv_resolution *resolution, Node **select)
{
    const struct pv_room *room = trial->caller->room;

    (void) resolution;
    (void) select;
    for (size_t i = 0; i < room->question_count; i++)
        if (room->questions[i].is_open && pv_question_admits(&room->questions[i], trial->caller->member))
            return pv_deny_question(trial, PV_REASON_UNAVAILABLE, -1,
                                    "Open question \"%s\" is not available yet.", room->questions[i].id);
    return PV_NOTFOUND;
}
