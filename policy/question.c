#include "policy/question.h"

#include <stdio.h>
#include <string.h>

#include "parser/place.h"
#include "parser/print.h"
#include "parser/resolve.h"
#include "parser/rewrite.h"
#include "parser/walk.h"
#include "policy/decide_int.h"
#include "policy/param.h"
#include "policy/question_int.h"
#include "policy/threshold.h"
#include "proxy/base/arena.h"

/*
 * A fixed question at load: checked against the room, and compiled to the tree that is forwarded. Two copies of
 * its tree are kept: one as written, to compare with what callers send, and one edited.
 */

struct compile {
    struct pv_arena *arena;
    const struct pv_room *room;
    struct pv_question *question;
    struct pv_plan *plan;
    struct pv_slice text;
    void (*report)(void *context, const struct pv_compile_fault *fault);
    void *context;
    bool is_faulty;
    struct pv_resolution *resolution;
    SelectStmt *select;
};

static void fault(struct compile *compile, int position, const char *format, ...) PV_PRINTF(3, 4);

static void
fault(struct compile *compile, int position, const char *format, ...)
{
    struct pv_compile_fault found = {"out of memory", position < 0 ? 0 : (unsigned) position};
    va_list args;
    const char *message;

    va_start(args, format);
    message = pv_arena_vprintf(compile->arena, format, args);
    va_end(args);
    if (message != NULL)
        found.message = message;
    compile->is_faulty = true;
    compile->report(compile->context, &found);
}

/* ---- the text --------------------------------------------------------------- */

static enum pv_status
parse_text(struct compile *compile)
{
    struct pv_sql_error err = {0};
    enum pv_status status =
        pv_template_parse(compile->text, &pv_sql_limits_default, &compile->plan->match, &err);

    if (status == PV_NOMEM)
        return status;
    if (status != PV_OK) {
        fault(compile, err.position, "the SQL of question \"%s\" is not valid: %s", compile->question->id, err.message);
        return PV_INVALID;
    }
    status = pv_template_parse(compile->text, &pv_sql_limits_default, &compile->plan->forward, &err);
    if (status != PV_OK)
        return status;
    if (pv_sql_count(compile->plan->match.sql) != 1) {
        fault(compile, 0, "question \"%s\" must be one statement, not %u", compile->question->id,
              pv_sql_count(compile->plan->match.sql));
        return PV_INVALID;
    }
    compile->select = (SelectStmt *) pv_sql_stmt(compile->plan->forward.sql, 0);
    if (!IsA(compile->select, SelectStmt)) {
        const char *name = pv_statement_name((Node *) compile->select);

        fault(compile, 0, "question \"%s\" must be a SELECT, not %s", compile->question->id,
              name == NULL ? "this" : name);
        return PV_INVALID;
    }
    compile->plan->forward_tree = (Node *) compile->select;
    return PV_OK;
}

static enum pv_status
make_form(struct compile *compile)
{
    struct pv_plan *plan = compile->plan;

    return pv_match_form_make(compile->arena, pv_sql_stmt(plan->match.sql, 0), plan->number_count, &plan->form);
}

enum pv_status
pv_question_index_make(struct pv_arena *arena, const struct pv_question *questions, size_t count,
                       const struct pv_question_index **index)
{
    struct pv_question_index *made = pv_arena_alloc(arena, sizeof(*made));
    size_t size = 1;

    while (size < count)
        size *= 2;
    if (made == NULL)
        return PV_NOMEM;
    made->mask = size - 1;
    made->heads = pv_arena_alloc(arena, size * sizeof(*made->heads));
    made->next = pv_arena_alloc(arena, (count + 1) * sizeof(*made->next));
    if (made->heads == NULL || made->next == NULL)
        return PV_NOMEM;
    for (size_t i = count; i-- > 0;) {
        uint32_t *head;

        if (questions[i].plan == NULL)
            continue;
        head = &made->heads[questions[i].plan->form.shape & made->mask];
        made->next[i] = *head;
        *head = (uint32_t) i + 1;
    }
    *index = made;
    return PV_OK;
}

/* ---- the parameters ----------------------------------------------------------- */

static const struct pv_parameter *
find_parameter(const struct pv_question *question, const char *name)
{
    for (size_t i = 0; i < question->parameter_count; i++)
        if (pv_template_same_name(question->parameters[i].name, name))
            return &question->parameters[i];
    return NULL;
}

static enum pv_status
prepare_types(struct compile *compile, unsigned i)
{
    struct pv_plan *plan = compile->plan;
    const struct pv_parameter *parameter = plan->by_number[i];
    const char *name = pv_arena_printf(compile->arena, "%s%s", parameter->type->name, parameter->is_array ? "[]" : "");

    if (name == NULL)
        return PV_NOMEM;
    return pv_sql_parse_type(pv_slice_cstr(name), &plan->type_memory[i], &plan->types[i], NULL);
}

static enum pv_status
check_parameters(struct compile *compile)
{
    struct pv_plan *plan = compile->plan;
    const struct pv_question *question = compile->question;
    unsigned count = plan->match.name_count;
    enum pv_status status = PV_OK;

    plan->by_number = pv_arena_alloc(compile->arena, (count + 1) * sizeof(*plan->by_number));
    plan->types = pv_arena_alloc(compile->arena, (count + 1) * sizeof(*plan->types));
    plan->type_memory = pv_arena_alloc(compile->arena, (count + 1) * sizeof(*plan->type_memory));
    if (plan->by_number == NULL || plan->types == NULL || plan->type_memory == NULL)
        return PV_NOMEM;
    plan->number_count = count;
    for (unsigned i = 0; i < count && status == PV_OK; i++) {
        plan->by_number[i] = find_parameter(question, plan->match.names[i]);
        if (plan->by_number[i] == NULL)
            fault(compile, 0, "question \"%s\" uses parameter :%s, which it does not declare", question->id,
                  plan->match.names[i]);
        else if (plan->by_number[i]->type != NULL)
            status = prepare_types(compile, i);
    }
    for (size_t i = 0; i < question->parameter_count; i++) {
        bool is_used = false;

        for (unsigned n = 0; n < count; n++)
            is_used |= plan->by_number[n] == &question->parameters[i];
        if (!is_used)
            fault(compile, 0, "question \"%s\" declares parameter \"%s\" and does not use it", question->id,
                  question->parameters[i].name);
    }
    return status;
}

/* ---- the names ------------------------------------------------------------------ */

static enum pv_status
resolve_names(struct compile *compile)
{
    static const char *const path[] = {"public"};
    struct pv_room_names names = {compile->room, {path, 1}, compile->arena, true, false};
    struct pv_catalogue catalogue = pv_room_catalogue(&names);
    struct pv_sql_error err = {0};
    struct pv_walk_result walk = {0};
    enum pv_status status =
        pv_tree_walk((Node *) compile->select, &pv_sql_limits_default, NULL, NULL, &walk);

    if (status == PV_NOMEM)
        return status;
    if (status != PV_OK) {
        fault(compile, 0, "question \"%s\" uses what a clean room does not allow: %s", compile->question->id,
              walk.denied_name == NULL ? pv_status_words(status) : walk.denied_name);
        return PV_INVALID;
    }
    status = pv_resolve(compile->arena, (Node *) compile->select, &catalogue, compile->text, &compile->resolution, &err);
    if (status == PV_NOMEM || names.is_out_of_memory)
        return PV_NOMEM;
    if (status != PV_OK) {
        fault(compile, err.position, "question \"%s\": %s in room \"%s\"", compile->question->id, err.message,
              compile->room->name);
        return PV_INVALID;
    }
    return PV_OK;
}

static enum pv_status
check_allowed(struct compile *compile)
{
    struct pv_caller caller = {.room = compile->room};
    struct pv_decision decision = {0};
    struct pv_trial trial = {.arena = compile->arena,
                             .caller = &caller,
                             .text = compile->text,
                             .sql = compile->plan->forward.sql,
                             .decision = &decision,
                             .has_parameters = true};
    enum pv_status status = pv_allow_tree(&trial, (Node *) compile->select, PV_ALLOW_DATA);

    if (status == PV_DENIED)
        fault(compile, (int) decision.position, "question \"%s\": %s", compile->question->id,
              decision.detail != NULL ? decision.detail : decision.message);
    return status;
}

/* ---- what it reads and gives ------------------------------------------------------ */

struct reading {
    struct pv_arena *arena;
    const char **datasets;
    size_t dataset_count;
    const char **columns;
    size_t column_count, column_size;
    bool is_out_of_memory;
};

static void
read_column(void *context, struct pv_column_at base)
{
    struct reading *reading = context;
    const struct pv_relation *relation = base.rte->relation;
    const struct pv_dataset *dataset;
    const char *name;

    if (relation->kind != PV_RELATION_DATASET || base.index >= relation->column_count)
        return;
    dataset = relation->owner;
    name = dataset->column_keys[base.index];
    /* A column has one text in the snapshot. */
    for (size_t i = 0; i < reading->column_count; i++)
        if (reading->columns[i] == name)
            return;
    if (reading->column_count == reading->column_size) {
        size_t size = reading->column_size == 0 ? 16 : reading->column_size * 2;
        const char **grown = pv_arena_alloc(reading->arena, size * sizeof(*grown));

        if (grown == NULL) {
            reading->is_out_of_memory = true;
            return;
        }
        if (reading->column_count > 0)
            memcpy(grown, reading->columns, reading->column_count * sizeof(*grown));
        reading->columns = grown;
        reading->column_size = size;
    }
    reading->columns[reading->column_count++] = name;
}

/*
 * Of a data set, or of a join by way of its sides. What stands in a sub-query is a reference of its own there, so that
 * nothing is followed into one.
 */
static void
read_at(struct reading *reading, struct pv_column_at column)
{
    const struct pv_rte *rte = column.rte;

    if (rte == NULL || (rte->kind != PV_RTE_JOIN && rte->relation == NULL))
        return;
    if (column.index == PV_WHOLE_ROW) {
        for (uint32_t i = 0; i < rte->column_count; i++)
            read_at(reading, (struct pv_column_at){column.rte, i});
    } else if (rte->kind == PV_RTE_JOIN) {
        read_at(reading, rte->join_columns[column.index].left);
        read_at(reading, rte->join_columns[column.index].right);
    } else {
        read_column(reading, column);
    }
}

static void
read_joins(struct reading *reading, const struct pv_level *level)
{
    for (size_t i = 0; i < level->rte_count; i++) {
        const struct pv_rte *rte = level->rtes[i];

        for (uint32_t c = 0; rte->kind == PV_RTE_JOIN && c < rte->column_count; c++)
            if (rte->join_columns[c].left.rte != NULL && rte->join_columns[c].right.rte != NULL)
                read_at(reading, (struct pv_column_at){level->rtes[i], c});
    }
}

const char *
pv_names_json(struct pv_arena *arena, const struct pv_names *names)
{
    struct pv_buf buf = {0};
    const char *text = NULL;

    pv_buf_put_u8(&buf, '[');
    for (size_t i = 0; i < names->count; i++) {
        if (i > 0)
            pv_buf_put_u8(&buf, ',');
        pv_buf_put_json(&buf, pv_slice_cstr(names->names[i]));
    }
    pv_buf_put_u8(&buf, ']');
    if (pv_buf_ok(&buf))
        text = pv_arena_strndup(arena, (const char *) pv_buf_slice(&buf).data, pv_buf_len(&buf));
    pv_buf_clear(&buf);
    return text;
}

enum pv_status
pv_names_read(struct pv_arena *arena, const struct pv_resolution *resolution, struct pv_names *datasets,
              struct pv_names *columns)
{
    struct reading reading = {.arena = arena};

    reading.datasets = pv_arena_alloc(arena, (resolution->relation_count + 1) * sizeof(*reading.datasets));
    if (reading.datasets == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < resolution->relation_count; i++) {
        const struct pv_relation *relation = resolution->relations[i]->relation;
        const struct pv_dataset *dataset = relation->owner;
        bool is_known = relation->kind != PV_RELATION_DATASET;

        for (size_t k = 0; k < reading.dataset_count && !is_known; k++)
            is_known = reading.datasets[k] == dataset->key;
        if (!is_known)
            reading.datasets[reading.dataset_count++] = dataset->key;
    }
    for (size_t i = 0; i < resolution->reference_count; i++)
        if (!resolution->references[i].is_output)
            read_at(&reading, resolution->references[i].column);
    for (size_t i = 0; i < resolution->level_count; i++) {
        const struct pv_level *level = resolution->levels[i];

        read_joins(&reading, level);
        for (size_t o = 0; o < level->output_count && level->left == NULL; o++)
            if (level->outputs[o].expr == NULL)
                read_at(&reading, level->outputs[o].column);
    }
    *datasets = (struct pv_names){reading.datasets, reading.dataset_count};
    *columns = (struct pv_names){reading.columns, reading.column_count};
    return reading.is_out_of_memory ? PV_NOMEM : PV_OK;
}

static enum pv_status
describe(struct compile *compile)
{
    struct pv_question *question = compile->question;
    const struct pv_level *top = compile->resolution->top;
    const char **columns = pv_arena_alloc(compile->arena, (top->output_count + 1) * sizeof(*columns));
    const struct pv_dataset **datasets;
    enum pv_status status =
        pv_names_read(compile->arena, compile->resolution, &compile->plan->datasets, &compile->plan->columns);

    if (status != PV_OK)
        return status;
    compile->plan->datasets_json = pv_names_json(compile->arena, &compile->plan->datasets);
    compile->plan->columns_json = pv_names_json(compile->arena, &compile->plan->columns);
    datasets = pv_arena_alloc(compile->arena, (compile->plan->datasets.count + 1) * sizeof(*datasets));
    if (columns == NULL || datasets == NULL || compile->plan->datasets_json == NULL ||
        compile->plan->columns_json == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < top->output_count; i++) {
        columns[i] = pv_arena_strdup(compile->arena, top->outputs[i].name);
        if (columns[i] == NULL)
            return PV_NOMEM;
    }
    for (size_t i = 0; i < compile->plan->datasets.count; i++)
        for (size_t k = 0; k < compile->room->dataset_count; k++)
            if (strcmp(compile->room->datasets[k].key, compile->plan->datasets.names[i]) == 0)
                datasets[i] = &compile->room->datasets[k];
    question->relation = (struct pv_relation){PV_RELATION_QUESTION, "questions", question->id, columns,
                                              top->output_count, question};
    question->datasets = datasets;
    question->dataset_count = compile->plan->datasets.count;
    return PV_OK;
}

/* ---- the forwarded tree -------------------------------------------------------------- */

static void
edit_forward(void *context)
{
    struct compile *compile = context;

    pv_substitute_data(compile->room, compile->resolution, &compile->plan->forward_tree);
}

static void
threshold_fault(void *context, const char *words)
{
    fault(context, 0, "question \"%s\": %s", ((struct compile *) context)->question->id, words);
}

static enum pv_status
make_forward(struct compile *compile)
{
    struct pv_question *question = compile->question;
    struct pv_plan *plan = compile->plan;
    MemoryContext before = pv_sql_enter(plan->forward.sql);
    struct pv_buf text = {0};
    const char *what = NULL;
    enum pv_status status = PV_OK;

    if (question->type == PV_QUESTION_ANALYTICAL)
        status = pv_threshold_inject(compile->room, compile->resolution, question->entity, question->minimum_entities,
                                     threshold_fault, compile);
    plan->has_threshold = question->minimum_entities > 0;
    if (status == PV_OK)
        status = pv_sql_guard(edit_forward, compile, NULL);
    pv_sql_leave(before);
    if (status == PV_OK)
        status = pv_print_checked(plan->forward_tree, &text, &what);
    if (status == PV_DENIED || status == PV_INTERNAL || status == PV_DEPTH) {
        fault(compile, 0, "question \"%s\" cannot be printed back exactly: %s", question->id,
              what == NULL ? pv_status_words(status) : what);
        status = PV_INVALID;
    }
    pv_buf_clear(&text);
    /* It becomes part of callers' statements, and its places are not in their text. */
    if (status == PV_OK)
        status = pv_place_forget(plan->forward_tree);
    return status == PV_OK ? pv_question_cut(compile->arena, compile->room, question, plan) : status;
}

enum pv_status
pv_question_compile(struct pv_arena *arena, const struct pv_room *room, struct pv_question *question,
                    void (*report)(void *context, const struct pv_compile_fault *fault), void *context)
{
    struct compile compile = {.arena = arena,
                              .room = room,
                              .question = question,
                              .plan = pv_arena_alloc(arena, sizeof(struct pv_plan)),
                              .text = pv_slice_cstr(question->sql),
                              .report = report,
                              .context = context};
    enum pv_status status;

    if (compile.plan == NULL)
        return PV_NOMEM;
    question->plan = compile.plan;
    status = parse_text(&compile);
    if (status == PV_OK)
        status = check_parameters(&compile);
    if (status == PV_OK)
        status = make_form(&compile);
    if (status == PV_OK)
        status = resolve_names(&compile);
    if (status == PV_OK)
        status = check_allowed(&compile);
    if (status == PV_OK)
        status = describe(&compile);
    if (status == PV_OK && !compile.is_faulty)
        status = make_forward(&compile);
    if (status == PV_NOMEM)
        return status;
    if (status != PV_OK && !compile.is_faulty)
        fault(&compile, 0, "question \"%s\" could not be compiled: %s", question->id, pv_status_words(status));
    return compile.is_faulty ? PV_INVALID : PV_OK;
}

void
pv_question_release(const struct pv_question *question)
{
    struct pv_plan *plan;

    if (question->plan == NULL)
        return;
    /* The plan is ours; the snapshot only lends it as const. */
    memcpy(&plan, &question->plan, sizeof(struct pv_plan *));
    for (unsigned i = 0; plan->type_memory != NULL && i < plan->number_count; i++) {
        pv_sql_free(plan->type_memory[i]);
        plan->type_memory[i] = NULL;
    }
    pv_template_clear(&plan->match);
    pv_template_clear(&plan->forward);
}
