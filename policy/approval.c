#include "policy/approval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "parser/print.h"
#include "parser/template.h"
#include "policy/mask.h"
#include "policy/param.h"
#include "policy/question_int.h"
#include "proxy/base/arena.h"
#include "proxy/base/bytes.h"

/*
 * The text is what people read before they sign, so no byte of a name or of SQL may look like a line of ours or hide
 * from the eye: names stand in quotes, SQL behind a bar, and control and direction characters as escapes.
 */

/* ---- words --------------------------------------------------------------- */

static const char *const types[] = {
    [PV_QUESTION_ANALYTICAL] = "analytical",
    [PV_QUESTION_LIST] = "list",
    [PV_QUESTION_CLEANML] = "cleanml",
};

static const char *const periods[] = {
    [PV_PER_DAY] = "day",
    [PV_PER_WEEK] = "week",
    [PV_PER_MONTH] = "month",
    [PV_PER_LIFETIME] = "lifetime",
};

/* Length of a character that is not shown as what it is; 0 for any other. Zero widths, directions, separators, BOM. */
static size_t
hidden_len(const uint8_t *at, size_t left)
{
    if (at[0] < 0x20 || at[0] == 0x7F)
        return 1;
    if (left >= 2 && at[0] == 0xC2 && at[1] < 0xA0)
        return 2;
    if (left >= 3 && at[0] == 0xE2 && at[1] == 0x80 &&
        ((at[2] >= 0x8B && at[2] <= 0x8F) || (at[2] >= 0xA8 && at[2] <= 0xAE)))
        return 3;
    if (left >= 3 && at[0] == 0xE2 && at[1] == 0x81 && at[2] >= 0xA0 && at[2] <= 0xAF)
        return 3;
    if (left >= 3 && at[0] == 0xEF && at[1] == 0xBB && at[2] == 0xBF)
        return 3;
    return 0;
}

static void
put_escaped(struct pv_buf *out, struct pv_slice text, const char *escaped)
{
    for (size_t i = 0; i < text.len;) {
        size_t hidden = hidden_len(text.data + i, text.len - i);

        for (size_t k = 0; k < hidden; k++)
            pv_buf_printf(out, "\\x%02x", (unsigned) text.data[i + k]);
        i += hidden;
        if (hidden > 0)
            continue;
        if (strchr(escaped, text.data[i]) != NULL)
            pv_buf_put_u8(out, '\\');
        pv_buf_put_u8(out, text.data[i++]);
    }
}

static void
put_name(struct pv_buf *out, const char *name)
{
    pv_buf_put_u8(out, '"');
    put_escaped(out, pv_slice_cstr(name), "\"\\");
    pv_buf_put_u8(out, '"');
}

static void
put_line(struct pv_buf *out, const char *label, const char *name)
{
    if (name == NULL)
        return;
    pv_buf_printf(out, "%s ", label);
    put_name(out, name);
    pv_buf_put_u8(out, '\n');
}

static void
put_number(struct pv_buf *out, const char *label, uint64_t number)
{
    if (number > 0)
        pv_buf_printf(out, "%s %llu\n", label, (unsigned long long) number);
}

static bool
has_hidden(struct pv_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] != '\n' && hidden_len(text.data + i, text.len - i) > 0)
            return true;
    return false;
}

/* Each of its lines behind a bar; with escapes only where it holds something that does not show, and then said so. */
static void
put_block(struct pv_buf *out, const char *label, struct pv_slice text)
{
    bool is_escaped = has_hidden(text);

    pv_buf_printf(out, "%s%s\n", label, is_escaped ? " (escaped)" : "");
    for (size_t i = 0; i < text.len || i == 0;) {
        const uint8_t *end = i < text.len ? memchr(text.data + i, '\n', text.len - i) : NULL;
        size_t len = end == NULL ? text.len - i : (size_t) (end - (text.data + i));

        pv_buf_put_text(out, "    | ");
        put_escaped(out, pv_slice_of(text.data + i, len), is_escaped ? "\\" : "");
        pv_buf_put_u8(out, '\n');
        i += len + 1;
        if (i == text.len && end != NULL) /* it ends with a line feed: an empty line follows */
            pv_buf_put_text(out, "    | \n");
    }
}

static int
compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The names sorted, comma between; nothing at all for none. */
static enum pv_status
put_names(struct pv_arena *arena, struct pv_buf *out, const char *label, struct pv_names names)
{
    const char **sorted = pv_arena_alloc(arena, (names.count + 1) * sizeof(*sorted));

    if (sorted == NULL)
        return PV_NOMEM;
    if (names.count == 0)
        return PV_OK;
    memcpy(sorted, names.names, names.count * sizeof(*sorted));
    qsort(sorted, names.count, sizeof(*sorted), compare_texts);
    pv_buf_put_text(out, label);
    for (size_t i = 0; i < names.count; i++) {
        pv_buf_put_text(out, i == 0 ? " " : ", ");
        put_name(out, sorted[i]);
    }
    pv_buf_put_u8(out, '\n');
    return PV_OK;
}

/* ---- SQL ------------------------------------------------------------------- */

/* As printed from the tree; as written where the printer does not know it. */
static enum pv_status
put_tree(struct pv_buf *out, const char *label, const Node *tree, const char *written)
{
    struct pv_buf sql = {0};
    char as_written[64];
    enum pv_status status = tree == NULL ? PV_DENIED : pv_print(tree, &sql, NULL);

    if (status == PV_OK) {
        put_block(out, label, pv_buf_slice(&sql));
    } else if (status != PV_NOMEM) {
        (void) snprintf(as_written, sizeof(as_written), "%s as written", label);
        put_block(out, as_written, pv_slice_cstr(written));
        status = PV_OK;
    }
    pv_buf_clear(&sql);
    return status;
}

static enum pv_status
put_row_filter(struct pv_buf *out, const char *written)
{
    struct pv_template filter = {0};
    enum pv_status status;

    if (written == NULL)
        return PV_OK;
    status = pv_template_parse_filter(pv_slice_cstr(written), &pv_sql_limits_default, &filter, NULL);
    if (status == PV_NOMEM)
        return status;
    status = put_tree(out, "  row_filter",
                      status == PV_OK ? ((const SelectStmt *) pv_sql_stmt(filter.sql, 0))->whereClause : NULL, written);
    for (unsigned i = 0; i < filter.name_count; i++) {
        pv_buf_printf(out, "  row_filter $%u is attribute ", i + 1);
        put_name(out, filter.names[i]);
        pv_buf_put_u8(out, '\n');
    }
    pv_template_clear(&filter);
    return status;
}

/* ---- parameters --------------------------------------------------------------- */

static enum pv_status
put_parameter(struct pv_arena *arena, struct pv_buf *out, const struct pv_question *question,
              const struct pv_parameter *parameter)
{
    const struct pv_plan *plan = question->plan;

    pv_buf_put_text(out, "parameter ");
    put_name(out, parameter->name);
    for (unsigned n = 0; plan != NULL && n < plan->number_count; n++)
        if (plan->by_number[n] == parameter)
            pv_buf_printf(out, " is $%u", n + 1);
    pv_buf_printf(out, "\n  type %s%s\n", parameter->type->name, parameter->is_array ? "[]" : "");
    if (parameter->is_nullable)
        pv_buf_put_text(out, "  nullable\n");
    if (parameter->has_default && parameter->default_text == NULL)
        pv_buf_put_text(out, "  default null\n");
    else if (parameter->has_default)
        put_line(out, "  default", parameter->default_text);
    put_line(out, "  minimum", parameter->minimum);
    put_line(out, "  maximum", parameter->maximum);
    put_line(out, "  pattern", parameter->pattern);
    put_number(out, "  max_length", parameter->max_length);
    put_number(out, "  max_items", parameter->max_items);
    return put_names(arena, out, "  values", (struct pv_names){parameter->values, parameter->value_count});
}

static void
put_budgets(struct pv_buf *out, const char *indent, const struct pv_budget *budgets, size_t count)
{
    /* In the order of the periods, whatever that of the file. */
    for (int per = PV_PER_DAY; per <= PV_PER_LIFETIME; per++)
        for (size_t i = 0; i < count; i++)
            if ((int) budgets[i].per == per) {
                pv_buf_printf(out, "%saccess_budget %llu runs per %s", indent, (unsigned long long) budgets[i].runs,
                              periods[per]);
                if (budgets[i].runs_per_member > 0)
                    pv_buf_printf(out, ", %llu of them per member", (unsigned long long) budgets[i].runs_per_member);
                pv_buf_put_u8(out, '\n');
            }
}

/* ---- data sets ------------------------------------------------------------------- */

static void
put_mask(struct pv_buf *out, const struct pv_column *column)
{
    const struct pv_mask *mask = &column->mask;
    enum pv_mask_kind kind = pv_column_mask_kind(column);

    pv_buf_printf(out, " mask %s", pv_mask_name(kind));
    switch (kind) {
    case PV_MASK_HASH:
        if (mask->key_name != NULL) {
            pv_buf_put_text(out, " key ");
            put_name(out, mask->key_name);
        }
        break;
    case PV_MASK_TRUNCATE_DATE:
        pv_buf_printf(out, " %s", mask->unit);
        break;
    case PV_MASK_BUCKET:
        pv_buf_printf(out, " %s", mask->number);
        break;
    case PV_MASK_ROUND:
    case PV_MASK_PREFIX:
    case PV_MASK_SUFFIX:
        pv_buf_printf(out, " %d", (int) mask->digits);
        break;
    case PV_MASK_CONSTANT:
        pv_buf_put_u8(out, ' ');
        put_name(out, mask->constant == NULL ? "" : mask->constant);
        break;
    case PV_MASK_PLAIN:
    case PV_MASK_OMIT:
    case PV_MASK_NULL:
    case PV_MASK_EMAIL_DOMAIN:
        break;
    }
}

/* Takes the buffer's text as one of the lines; the buffer is empty again. */
static enum pv_status
take_line(struct pv_arena *arena, struct pv_buf *line, const char **text)
{
    const char *got = pv_buf_text(line);

    *text = got == NULL ? NULL : pv_arena_strdup(arena, got);
    pv_buf_clear(line);
    return *text == NULL ? PV_NOMEM : PV_OK;
}

static void
put_sorted(struct pv_buf *out, const char **lines, size_t count)
{
    if (count > 0)
        qsort(lines, count, sizeof(*lines), compare_texts);
    for (size_t i = 0; i < count; i++)
        pv_buf_put_text(out, lines[i]);
}

static enum pv_status
put_columns(struct pv_arena *arena, struct pv_buf *out, const struct pv_dataset *dataset)
{
    const char **lines = pv_arena_alloc(arena, (dataset->column_count + 1) * sizeof(*lines));
    enum pv_status status = lines == NULL ? PV_NOMEM : PV_OK;

    for (size_t i = 0; i < dataset->column_count && status == PV_OK; i++) {
        const struct pv_column *column = &dataset->columns[i];
        struct pv_buf line = {0};

        pv_buf_put_text(&line, "  column ");
        put_name(&line, column->name);
        pv_buf_printf(&line, " category %d", column->category);
        put_mask(&line, column);
        pv_buf_put_u8(&line, '\n');
        status = take_line(arena, &line, &lines[i]);
    }
    if (status == PV_OK)
        put_sorted(out, lines, dataset->column_count);
    return status;
}

static enum pv_status
put_aggregates(struct pv_arena *arena, struct pv_buf *out, const struct pv_analysis_rule *rule)
{
    const char **lines = pv_arena_alloc(arena, (rule->aggregate_count + 1) * sizeof(*lines));
    enum pv_status status = lines == NULL ? PV_NOMEM : PV_OK;

    for (size_t i = 0; i < rule->aggregate_count && status == PV_OK; i++) {
        const struct pv_aggregate_rule *aggregate = &rule->aggregates[i];
        struct pv_buf line = {0};

        status = put_names(arena, &line, "    aggregate_columns",
                           (struct pv_names){aggregate->columns, aggregate->column_count});
        if (status == PV_OK)
            status = put_names(arena, &line, "      functions",
                               (struct pv_names){aggregate->functions, aggregate->function_count});
        if (status == PV_OK)
            status = take_line(arena, &line, &lines[i]);
        pv_buf_clear(&line);
    }
    if (status == PV_OK)
        put_sorted(out, lines, rule->aggregate_count);
    return status;
}

static enum pv_status
put_constraints(struct pv_arena *arena, struct pv_buf *out, const struct pv_analysis_rule *rule)
{
    const char **lines = pv_arena_alloc(arena, (rule->constraint_count + 1) * sizeof(*lines));
    enum pv_status status = lines == NULL ? PV_NOMEM : PV_OK;

    for (size_t i = 0; i < rule->constraint_count && status == PV_OK; i++) {
        struct pv_buf line = {0};

        pv_buf_put_text(&line, "    output_constraint count_distinct ");
        put_name(&line, rule->constraints[i].column);
        pv_buf_printf(&line, " minimum %llu\n", (unsigned long long) rule->constraints[i].minimum);
        status = take_line(arena, &line, &lines[i]);
    }
    if (status == PV_OK)
        put_sorted(out, lines, rule->constraint_count);
    return status;
}

static enum pv_status
put_rule(struct pv_arena *arena, struct pv_buf *out, const struct pv_analysis_rule *rule)
{
    const struct {
        const char *label;
        const struct pv_names *names;
    } lists[] = {
        {"    join_columns", &rule->join_columns},
        {"    dimension_columns", &rule->dimension_columns},
        {"    list_columns", &rule->list_columns},
        {"    scalar_functions", &rule->scalar_functions},
        {"    allowed_join_operators", &rule->allowed_join_operators},
        {"    disallowed_output_columns", &rule->disallowed_output_columns},
    };
    enum pv_status status = PV_OK;

    pv_buf_printf(out, "  analysis_rule %s\n", rule->type == PV_RULE_AGGREGATION ? "aggregation" : "list");
    for (size_t i = 0; i < PV_COUNT_OF(lists) && status == PV_OK; i++)
        status = put_names(arena, out, lists[i].label, *lists[i].names);
    if (status == PV_OK && rule->has_literal_columns && rule->literal_columns.count == 0)
        pv_buf_put_text(out, "    allowed_literal_comparison_columns none\n");
    else if (status == PV_OK && rule->has_literal_columns)
        status = put_names(arena, out, "    allowed_literal_comparison_columns", rule->literal_columns);
    if (status == PV_OK)
        status = put_aggregates(arena, out, rule);
    if (status == PV_OK)
        status = put_constraints(arena, out, rule);
    if (rule->is_join_required)
        pv_buf_put_text(out, "    join_required\n");
    pv_buf_printf(out, "    suppression %s\n", rule->suppression == PV_SUPPRESS_DROP ? "drop" : "remainder");
    return status;
}

static enum pv_status
put_dataset(struct pv_arena *arena, struct pv_buf *out, const struct pv_dataset *dataset)
{
    enum pv_status status;

    put_line(out, "dataset", dataset->key);
    put_line(out, "  owner", dataset->owner);
    put_line(out, "  source schema", dataset->source_schema);
    put_line(out, "  source name", dataset->source_name);
    put_line(out, "  entity", dataset->entity);
    status = put_row_filter(out, dataset->row_filter);
    if (status == PV_OK)
        status = put_columns(arena, out, dataset);
    if (status == PV_OK && dataset->rule != NULL)
        status = put_rule(arena, out, dataset->rule);
    put_budgets(out, "  ", dataset->budgets, dataset->budget_count);
    if (dataset->has_receivers && dataset->receivers.count == 0)
        pv_buf_put_text(out, "  allowed_result_receivers none\n");
    else if (status == PV_OK && dataset->has_receivers)
        status = put_names(arena, out, "  allowed_result_receivers", dataset->receivers);
    return status;
}

static int
compare_datasets(const void *a, const void *b)
{
    return strcmp((*(const struct pv_dataset *const *) a)->key, (*(const struct pv_dataset *const *) b)->key);
}

static enum pv_status
put_datasets(struct pv_arena *arena, struct pv_buf *out, const struct pv_question *question)
{
    const struct pv_dataset **sorted = pv_arena_alloc(arena, (question->dataset_count + 1) * sizeof(*sorted));
    enum pv_status status = sorted == NULL ? PV_NOMEM : PV_OK;

    if (status == PV_OK && question->dataset_count > 0) {
        memcpy(sorted, question->datasets, question->dataset_count * sizeof(*sorted));
        qsort(sorted, question->dataset_count, sizeof(*sorted), compare_datasets);
    }
    for (size_t i = 0; i < question->dataset_count && status == PV_OK; i++)
        status = put_dataset(arena, out, sorted[i]);
    return status;
}

/* ---- the question ------------------------------------------------------------------ */

static enum pv_status
put_question(struct pv_arena *arena, struct pv_buf *out, const struct pv_room *room, const struct pv_question *question)
{
    enum pv_status status = PV_OK;

    pv_buf_put_text(out, "pgveil approval 1\n");
    put_line(out, "room", room->name);
    put_line(out, "timezone", room->timezone);
    put_line(out, "question", question->id);
    pv_buf_printf(out, "type %s\n", types[question->type]);
    if (question->is_open)
        pv_buf_put_text(out, "open\n");
    else
        status = put_tree(out, "sql", question->plan == NULL ? NULL : pv_sql_stmt(question->plan->match.sql, 0),
                          question->sql);
    for (size_t i = 0; i < question->parameter_count && status == PV_OK; i++)
        status = put_parameter(arena, out, question, &question->parameters[i]);
    /* With a star in the SQL, the result's columns hang on the order of a data set's. */
    for (size_t i = 0; i < question->relation.column_count && !question->is_open; i++)
        put_line(out, "result column", question->relation.columns[i]);
    put_line(out, "output entity", question->entity);
    put_number(out, "output minimum_entities", question->minimum_entities);
    put_number(out, "output max_rows", question->max_rows);
    if (question->timeout_ms > 0)
        pv_buf_printf(out, "output timeout %llu ms\n", (unsigned long long) question->timeout_ms);
    put_budgets(out, "", question->budgets, question->budget_count);
    return status == PV_OK ? put_datasets(arena, out, question) : status;
}

static enum pv_status
take_text(struct pv_arena *arena, struct pv_buf *out, enum pv_status status, struct pv_slice *text)
{
    struct pv_slice bytes = pv_buf_slice(out);
    const char *copy = NULL;

    if (status == PV_OK) {
        copy = pv_buf_ok(out) ? pv_arena_strndup(arena, (const char *) bytes.data, bytes.len) : NULL;
        status = copy == NULL ? PV_NOMEM : PV_OK;
    }
    if (status == PV_OK)
        *text = pv_slice_of(copy, bytes.len);
    pv_buf_clear(out);
    return status;
}

enum pv_status
pv_approval_text(struct pv_arena *arena, const struct pv_room *room, const struct pv_question *question,
                 struct pv_slice *text)
{
    struct pv_buf out = {0};
    enum pv_status status = put_question(arena, &out, room, question);

    return take_text(arena, &out, status, text);
}

enum pv_status
pv_approval_signed_text(struct pv_arena *arena, struct pv_slice text, const char *party, int64_t at_us,
                        struct pv_slice *signed_text)
{
    char at[PV_APPROVAL_TIME_SIZE];
    struct pv_buf out = {0};

    pv_approval_time(at_us, at);
    pv_buf_put_slice(&out, text);
    put_line(&out, "approved by", party);
    pv_buf_printf(&out, "at %s\n", at);
    return take_text(arena, &out, PV_OK, signed_text);
}

enum pv_status
pv_approval_parties(struct pv_arena *arena, const struct pv_room *room, const struct pv_question *question,
                    struct pv_names *parties)
{
    bool is_by_owners = question->has_approvals ? question->is_approved_by_owners : room->is_approved_by_owners;
    const char **names;
    size_t count = 0;

    if (!is_by_owners) {
        *parties = question->has_approvals ? question->approvals
                   : room->has_approvals   ? room->approvals
                                           : (struct pv_names){NULL, 0};
        return PV_OK;
    }
    names = pv_arena_alloc(arena, (question->dataset_count + 1) * sizeof(*names));
    if (names == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < question->dataset_count; i++) {
        bool is_known = false;

        for (size_t k = 0; k < count && !is_known; k++)
            is_known = strcmp(names[k], question->datasets[i]->owner) == 0;
        if (!is_known)
            names[count++] = question->datasets[i]->owner;
    }
    *parties = (struct pv_names){names, count};
    return PV_OK;
}

/* ---- consent ---------------------------------------------------------------------------- */

void
pv_approval_time(int64_t at_us, char text[PV_APPROVAL_TIME_SIZE])
{
    time_t seconds = (time_t) (at_us < 0 ? 0 : at_us / 1000000);
    struct tm parts = {0};
    char date[24] = "";

    (void) gmtime_r(&seconds, &parts);
    (void) strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
    (void) snprintf(text, PV_APPROVAL_TIME_SIZE, "%.19s.%06uZ", date, (unsigned) (at_us < 0 ? 0 : at_us % 1000000));
}

enum pv_status
pv_consent_text(struct pv_arena *arena, const struct pv_given_consent *consent, struct pv_slice *text)
{
    static const char *const subjects[] = {
        [PV_SUBJECT_ROOM] = NULL,
        [PV_SUBJECT_QUESTION] = "question",
        [PV_SUBJECT_DATASET] = "dataset",
    };
    char at[PV_APPROVAL_TIME_SIZE];
    struct pv_buf out = {0};

    pv_approval_time(consent->at_us, at);
    pv_buf_put_text(&out, "pgveil consent 1\n");
    put_line(&out, "room", consent->room);
    if (consent->kind == PV_SUBJECT_ROOM)
        pv_buf_put_text(&out, "whole room\n");
    else
        put_line(&out, subjects[consent->kind], consent->subject);
    put_line(&out, "party", consent->party);
    pv_buf_printf(&out, "%s\nat %s\n", consent->is_withdrawn ? "withdraw" : "grant", at);
    return take_text(arena, &out, PV_OK, text);
}
