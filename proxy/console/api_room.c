/*
 * The rooms as the policy in force has them, with what stands behind their questions. What a room hides from its members,
 * sources and omitted columns, is not named here either.
 */
#include "proxy/console/console_int.h"

#include "policy/mask.h"
#include "policy/standing.h"
#include "proxy/net/world.h"

#include <string.h>

static json_t *
names_json(const struct pv_names *names)
{
    json_t *array = json_array();

    for (size_t i = 0; i < names->count; i++)
        (void) json_array_append_new(array, json_string(names->names[i]));
    return array;
}

static json_t *
budgets_json(const struct pv_budget *budgets, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        (void) json_array_append_new(array, json_pack("{s:s,s:I}", "per", pv_budget_period_word(budgets[i].per), "runs",
                                                      (json_int_t) budgets[i].runs));
    return array;
}

/* ---- Members and data sets ---- */

static json_t *
members_json(const struct pv_room *room)
{
    json_t *array = json_array();

    for (size_t i = 0; i < room->member_count; i++) {
        const struct pv_member *member = &room->members[i];
        const struct pv_names roles = {member->roles, member->role_count};

        (void) json_array_append_new(array, json_pack("{s:s,s:s?,s:o}", "user", member->user, "party", member->party,
                                                      "roles", names_json(&roles)));
    }
    return array;
}

static json_t *
dataset_json(const struct pv_dataset *dataset)
{
    json_t *columns = json_array();
    json_int_t omitted = 0;

    for (size_t i = 0; i < dataset->column_count; i++) {
        const struct pv_column *column = &dataset->columns[i];

        if (column->category == 2) {
            omitted++;
            continue;
        }
        (void) json_array_append_new(columns, json_pack("{s:s,s:i,s:s,s:s?}", "name", column->name, "category",
                                                        column->category, "mask",
                                                        pv_mask_name(pv_column_mask_kind(column)), "title",
                                                        column->title));
    }
    return json_pack("{s:s,s:s?,s:s?,s:s?,s:o,s:I,s:b,s:s?,s:o}", "name", dataset->key, "title", dataset->title,
                     "owner", dataset->owner, "entity", dataset->entity, "columns", columns, "omitted", omitted,
                     "has_row_filter", dataset->row_filter != NULL, "rule",
                     dataset->rule == NULL                        ? NULL
                     : dataset->rule->type == PV_RULE_AGGREGATION ? "aggregation"
                                                                  : "list",
                     "budgets", budgets_json(dataset->budgets, dataset->budget_count));
}

/* ---- Questions ---- */

static json_t *
approvals_json(const struct pv_question_standing *standing)
{
    json_t *array = json_array();

    for (size_t i = 0; standing != NULL && i < standing->count; i++) {
        const struct pv_approval_standing *at = &standing->approvals[i];

        (void) json_array_append_new(array, json_pack("{s:s,s:s,s:b,s:o}", "party", at->party, "state",
                                                      pv_approval_state_word(at->state), "is_foreign", at->is_foreign,
                                                      "at", pv_console_time(at->at_us)));
    }
    return array;
}

static json_t *
question_json(const struct pv_room *room, const struct pv_question *question, const struct pv_standing *standing)
{
    static const char *const types[] = {
        [PV_QUESTION_ANALYTICAL] = "analytical", [PV_QUESTION_LIST] = "list", [PV_QUESTION_CLEANML] = "cleanml"};
    json_t *datasets = json_array(), *parameters = json_array();

    for (size_t i = 0; i < question->dataset_count; i++)
        (void) json_array_append_new(datasets, json_string(question->datasets[i]->key));
    for (size_t i = 0; i < question->parameter_count; i++)
        (void) json_array_append_new(parameters, json_string(question->parameters[i].name));
    return json_pack("{s:s,s:s?,s:s,s:b,s:s?,s:o,s:o,s:o,s:o,s:I,s:I,s:o}", "name", question->id, "title",
                     question->title, "type", types[question->type], "is_open", question->is_open, "sql", question->sql,
                     "datasets", datasets, "parameters", parameters, "members",
                     question->has_members ? names_json(&question->members) : json_null(), "approvals",
                     approvals_json(pv_standing_question(standing, room->name, question->id)), "minimum_entities",
                     (json_int_t) question->minimum_entities, "max_rows", (json_int_t) question->max_rows, "budgets",
                     budgets_json(question->budgets, question->budget_count));
}

/* ---- Consent that was withdrawn ---- */

static json_t *
withdrawals_json(const struct pv_room *room, const struct pv_standing *standing)
{
    json_t *array = json_array();
    size_t count = 0;
    const struct pv_withdrawal *withdrawals =
        standing == NULL ? NULL : pv_standing_withdrawals(standing, &count);

    for (size_t i = 0; i < count; i++) {
        const struct pv_withdrawal *at = &withdrawals[i];
        const char *kind = at->subject == NULL                 ? "room"
                           : at->kind == PV_SUBJECT_QUESTION ? "question"
                                                             : "data set";

        if (strcmp(at->room, room->name) == 0)
            (void) json_array_append_new(array, json_pack("{s:s,s:s?,s:s,s:o,s:b}", "kind", kind, "subject",
                                                          at->subject, "party", at->party, "at", pv_console_time(at->at_us),
                                                          "is_unproven", at->is_unproven));
    }
    return array;
}

static json_t *
room_json(const struct pv_room *room, const struct pv_standing *standing)
{
    json_t *parties = json_array(), *datasets = json_array(), *questions = json_array();

    for (size_t i = 0; i < room->party_count; i++)
        (void) json_array_append_new(parties, json_string(room->parties[i].name));
    for (size_t i = 0; i < room->dataset_count; i++)
        (void) json_array_append_new(datasets, dataset_json(&room->datasets[i]));
    for (size_t i = 0; i < room->question_count; i++)
        (void) json_array_append_new(questions, question_json(room, &room->questions[i], standing));
    return json_pack("{s:s,s:s?,s:s?,s:b,s:o,s:o,s:o,s:o,s:o}", "name", room->name, "title", room->title, "expires",
                     room->has_expiry ? room->expires : NULL, "is_expired",
                     room->has_expiry && pv_record_now_us() >= room->expires_us, "parties", parties, "members",
                     members_json(room), "datasets", datasets, "questions", questions, "withdrawals",
                     withdrawals_json(room, standing));
}

void
pv_api_rooms(struct pv_call *call)
{
    const struct pv_standing *standing = pv_world_standing(call->world);
    json_t *array = json_array();

    for (size_t i = 0; i < call->room_count; i++) {
        const struct pv_room *room = pv_call_room(call, call->rooms[i]);

        if (room != NULL)
            (void) json_array_append_new(array, room_json(room, standing));
    }
    pv_call_json(call, json_pack("{s:o}", "rooms", array));
}
