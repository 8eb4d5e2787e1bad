#include <string.h>

#include "parser/rewrite.h"
#include "parser/walk.h"
#include "policy/functions.h"
#include "policy/rule_int.h"
#include "policy/threshold.h"
#include "proxy/base/limits.h"

/*
 * Open questions: any SELECT over their data sets that keeps the analysis rule of each. The judgement goes
 * level by level: what passes rows, what aggregates them, what only reads what has been released.
 */

enum pv_status
pv_rule_deny(struct pv_rule_trial *rule, const struct pv_dataset *dataset, int location, const char *rule_name,
             const char *format, ...)
{
    va_list args;
    const char *words;

    va_start(args, format);
    words = pv_arena_vprintf(rule->trial->arena, format, args);
    va_end(args);
    (void) pv_deny_question(rule->trial, PV_REASON_RULE, location, "Data set \"%s\" (owner %s), rule %s: %s.",
                            dataset->key, dataset->owner, rule_name, words == NULL ? "" : words);
    return PV_DENIED;
}

static void
hint_columns(struct pv_trial *trial, const struct pv_dataset *dataset)
{
    const struct pv_analysis_rule *rule = dataset->rule;
    const struct pv_names *outputs = rule->type == PV_RULE_LIST ? &rule->list_columns : &rule->dimension_columns;
    const char *text = "";

    for (size_t i = 0; i < outputs->count && text != NULL; i++)
        text = pv_arena_printf(trial->arena, "%s%s%s", text, i == 0 ? "" : ", ", outputs->names[i]);
    if (text == NULL)
        return;
    if (rule->type == PV_RULE_LIST)
        pv_deny_hint(trial, "Output and compare: %s.", text);
    else
        pv_deny_hint(trial, "Group by: %s; aggregate with count(*), count(DISTINCT ...) of join columns%s.", text,
                     rule->aggregate_count > 0 ? " and the listed aggregates" : "");
}

size_t
pv_level_number(const struct pv_resolution *resolution, const struct pv_level *level)
{
    for (size_t i = 0; i < resolution->level_count; i++)
        if (resolution->levels[i] == level)
            return i;
    return 0;
}

enum pv_status
pv_rule_deny_clause(struct pv_rule_trial *rule, const char *words)
{
    return pv_deny_question(rule->trial, PV_REASON_RULE, -1, "%s", words);
}

/* ---- GROUP BY ---------------------------------------------------------------------------- */

static enum pv_status check_group_items(struct pv_rule_trial *rule, struct pv_level *level, List *items);

static enum pv_status
check_group_item(struct pv_rule_trial *rule, struct pv_level *level, Node *item)
{
    if (IsA(item, GroupingSet))
        return check_group_items(rule, level, ((GroupingSet *) item)->content);
    if (IsA(item, RowExpr) && ((RowExpr *) item)->row_format == COERCE_IMPLICIT_CAST)
        return check_group_items(rule, level, ((RowExpr *) item)->args);
    if (IsA(item, A_Const) && ((A_Const *) item)->val.node.type == T_Integer) {
        int position = ((A_Const *) item)->val.ival.ival;

        if (position < 1 || (size_t) position > level->output_count)
            return PV_OK; /* PostgreSQL says what is wrong */
        if (level->outputs[position - 1].expr == NULL)
            return pv_rule_deny_clause(rule, "GROUP BY a position needs named columns, not \"*\".");
        item = level->outputs[position - 1].expr;
        if (pv_rule_is_constant(item))
            return PV_OK;
    }
    return pv_rule_value(rule, item, PV_USE_GROUP, NULL);
}

static enum pv_status
check_group_items(struct pv_rule_trial *rule, struct pv_level *level, List *items)
{
    ListCell *cell;
    enum pv_status status = PV_OK;

    if (++rule->depth > PV_QUERY_LEVELS_MAX)
        return pv_deny(rule->trial, PV_REASON_TOO_DEEP, "54001", -1, "statement is nested too deeply");
    foreach (cell, items)
        if (status == PV_OK)
            status = check_group_item(rule, level, lfirst(cell));
    rule->depth--;
    return status;
}

/* A position in GROUP BY, or a name that means an output there: what it is has been judged as a group. */
static bool
is_grouped_output(const struct pv_rule_trial *rule, const struct pv_level *level, size_t output)
{
    ListCell *cell;

    foreach (cell, level->stmt->groupClause) {
        const A_Const *item = lfirst(cell);
        const struct pv_reference *reference =
            IsA(item, ColumnRef) ? pv_resolution_reference(rule->resolution, (const ColumnRef *) item) : NULL;

        if (IsA(item, A_Const) && item->val.node.type == T_Integer && item->val.ival.ival == (int) output + 1)
            return true;
        if (reference != NULL && reference->is_output && reference->output == output)
            return true;
    }
    return false;
}

/* ---- levels ---------------------------------------------------------------------------------- */

static enum pv_status classify(struct pv_rule_trial *rule, struct pv_level *level, enum pv_level_class *class);

static enum pv_status
check_sort(struct pv_rule_trial *rule, struct pv_level *level)
{
    ListCell *cell;
    enum pv_status status = PV_OK;

    foreach (cell, level->stmt->sortClause) {
        SortBy *sort = lfirst(cell);
        const struct pv_reference *reference =
            IsA(sort->node, ColumnRef) ? pv_resolution_reference(rule->resolution, (ColumnRef *) sort->node) : NULL;

        if (status != PV_OK || IsA(sort->node, A_Const) || (reference != NULL && reference->is_output))
            continue;
        status = pv_rule_output(rule, level, sort->node, false);
    }
    return status;
}

/* Totals beside their parts: what was left out would be their difference. */
static bool
has_grouping_set(const SelectStmt *stmt)
{
    const ListCell *cell;

    foreach (cell, stmt->groupClause)
        if (IsA(lfirst(cell), GroupingSet))
            return true;
    return false;
}

static enum pv_status
check_aggregating(struct pv_rule_trial *rule, struct pv_level *level)
{
    enum pv_status status = check_group_items(rule, level, level->stmt->groupClause);

    for (size_t i = 0; i < level->output_count && status == PV_OK; i++) {
        if (level->outputs[i].expr == NULL)
            return pv_rule_deny_clause(rule, "\"*\" gives rows; name the dimensions and aggregates.");
        if (!is_grouped_output(rule, level, i))
            status = pv_rule_output(rule, level, level->outputs[i].expr, false);
    }
    if (status == PV_OK)
        status = pv_rule_output(rule, level, level->stmt->havingClause, true);
    if (status == PV_OK && has_grouping_set(level->stmt))
        return pv_rule_deny_clause(rule, "GROUPING SETS, ROLLUP and CUBE over rows would show a group that is left out as the "
                                         "rest of a total; aggregate first, and total the result.");
    return status == PV_OK ? check_sort(rule, level) : status;
}

/* A list's outputs are list columns, and nothing but its outputs orders it or tells its rows apart. */
static enum pv_status
check_list(struct pv_rule_trial *rule, struct pv_level *level)
{
    enum pv_status status = PV_OK;
    ListCell *cell;

    if (level->stmt->distinctClause != NIL && linitial(level->stmt->distinctClause) != NULL)
        return pv_rule_deny_clause(rule, "DISTINCT ON is not allowed.");
    if (level->stmt->limitOffset != NULL)
        return pv_rule_deny_clause(rule, "OFFSET is not allowed.");
    for (size_t i = 0; i < level->output_count && status == PV_OK; i++) {
        struct pv_column_at base;
        const struct pv_dataset *dataset;

        if (level->outputs[i].expr != NULL) {
            status = pv_rule_value(rule, level->outputs[i].expr, PV_USE_LIST, NULL);
            continue;
        }
        /* A star: each of its columns by itself. */
        base = pv_rule_plain_column(rule, level->outputs[i].column);
        dataset = base.rte == NULL ? NULL : pv_rte_dataset(base.rte);
        if (dataset == NULL)
            return pv_rule_deny_clause(rule, "\"*\" over a derived table is not allowed; name the columns.");
        if (!pv_names_hold(&dataset->rule->list_columns, dataset->relation.columns[base.index]))
            return pv_rule_deny(rule, dataset, -1, "list_columns", "column \"%s\" may not be output",
                                dataset->relation.columns[base.index]);
    }
    foreach (cell, level->stmt->sortClause)
        if (status == PV_OK && !IsA(((SortBy *) lfirst(cell))->node, A_Const))
            status = pv_rule_value(rule, ((SortBy *) lfirst(cell))->node, PV_USE_LIST, NULL);
    return status;
}

/* A level that passes rows on: nothing may pick, order, thin or multiply them. */
static enum pv_status
check_passing(struct pv_rule_trial *rule, struct pv_level *level)
{
    const SelectStmt *stmt = level->stmt;
    enum pv_status status = PV_OK;

    if (rule->is_list && rule->is_given[pv_level_number(rule->resolution, level)])
        return check_list(rule, level);
    if (stmt->distinctClause != NIL)
        return pv_rule_deny_clause(rule, "DISTINCT over rows is not allowed; use count(DISTINCT ...) or GROUP BY.");
    if (stmt->limitCount != NULL || stmt->limitOffset != NULL)
        return pv_rule_deny_clause(rule, "LIMIT and OFFSET over rows would pick single ones; put LIMIT after the aggregation.");
    if (stmt->sortClause != NIL)
        return pv_rule_deny_clause(rule, "ORDER BY over rows is not allowed; order the aggregated result.");
    for (size_t i = 0; i < level->output_count && status == PV_OK; i++)
        if (level->outputs[i].expr != NULL)
            status = pv_rule_value(rule, level->outputs[i].expr, PV_USE_PASS, NULL);
    return status;
}

struct released_check {
    struct pv_rule_trial *rule;
    enum pv_status status;
};

static enum pv_walk
visit_released(void *context, Node *node, const struct pv_walk_at *at)
{
    struct released_check *check = context;

    (void) at;
    if (IsA(node, FuncCall) && ((FuncCall *) node)->over != NULL) {
        check->status = pv_rule_deny_clause(check->rule, "Window functions are not allowed.");
        return PV_WALK_STOP;
    }
    if (IsA(node, SelectStmt)) {
        size_t count = check->rule->resolution->level_count;

        for (size_t i = 0; i < count; i++)
            if (check->rule->resolution->levels[i]->stmt == (SelectStmt *) node) {
                enum pv_level_class class;

                check->status = classify(check->rule, check->rule->resolution->levels[i], &class);
                if (check->status == PV_OK && class == PV_LEVEL_RAW)
                    check->status = pv_rule_deny_clause(check->rule, "A sub-query that gives rows of a data set is not allowed.");
                return check->status == PV_OK ? PV_WALK_SKIP : PV_WALK_STOP;
            }
        check->status = pv_rule_deny_clause(check->rule, "A sub-query could not be resolved.");
        return PV_WALK_STOP;
    }
    return PV_WALK_ON;
}

static enum pv_status
walk_released(struct pv_rule_trial *rule, Node *tree)
{
    struct released_check check = {rule, PV_OK};
    enum pv_status status;

    if (tree == NULL)
        return PV_OK;
    status = pv_tree_walk(tree, &pv_sql_limits_default, visit_released, &check, NULL);
    return check.status != PV_OK ? check.status : status;
}

/* A level over released results: free, but for groups that are no dimensions. */
static enum pv_status
check_released(struct pv_rule_trial *rule, struct pv_level *level)
{
    SelectStmt *stmt = level->stmt;
    enum pv_status status = check_group_items(rule, level, stmt->groupClause);

    if (status == PV_OK)
        status = walk_released(rule, (Node *) stmt->targetList);
    if (status == PV_OK)
        status = walk_released(rule, stmt->whereClause);
    if (status == PV_OK)
        status = walk_released(rule, stmt->havingClause);
    if (status == PV_OK)
        status = walk_released(rule, (Node *) stmt->sortClause);
    if (status == PV_OK && stmt->windowClause != NIL)
        status = pv_rule_deny_clause(rule, "Window functions are not allowed.");
    return status;
}

/* Lists one after another: each arm is judged, and made distinct, as if it stood alone; their outputs order the whole. */
static enum pv_status
check_lists(struct pv_rule_trial *rule, const struct pv_level *level)
{
    ListCell *cell;

    if (level->stmt->limitOffset != NULL)
        return pv_rule_deny_clause(rule, "OFFSET is not allowed.");
    foreach (cell, level->stmt->sortClause) {
        Node *node = ((SortBy *) lfirst(cell))->node;
        const struct pv_reference *reference =
            IsA(node, ColumnRef) ? pv_resolution_reference(rule->resolution, (ColumnRef *) node) : NULL;

        if (!IsA(node, A_Const) && (reference == NULL || !reference->is_output))
            return pv_rule_deny_clause(rule, "UNION ALL of lists is ordered by its output columns only.");
    }
    return PV_OK;
}

/*
 * What the types of two arms become of one another may fail for a value, but after the DISTINCT and LIMIT of its arm: such a
 * value is one that the arm gives the caller.
 */
static enum pv_status
classify_set_operation(struct pv_rule_trial *rule, struct pv_level *level, enum pv_level_class *class)
{
    enum pv_level_class left, right;
    enum pv_status status;

    if (level->stmt->op != SETOP_UNION || !level->stmt->all)
        return pv_rule_deny_clause(rule, "Set operations other than UNION ALL are not allowed.");
    status = classify(rule, level->left, &left);
    if (status == PV_OK)
        status = classify(rule, level->right, &right);
    if (status != PV_OK)
        return status;
    if (left == PV_LEVEL_RAW && right == PV_LEVEL_RAW && rule->is_list &&
        rule->is_given[pv_level_number(rule->resolution, level)]) {
        *class = PV_LEVEL_RAW;
        return check_lists(rule, level);
    }
    if (rule->is_list && (left == PV_LEVEL_RAW || right == PV_LEVEL_RAW))
        return pv_rule_deny_clause(rule, "UNION ALL joins lists with lists, each a SELECT FROM data sets, and at the top of the "
                                         "statement only, not in FROM or WITH.");
    if (left == PV_LEVEL_RAW || right == PV_LEVEL_RAW)
        return pv_rule_deny_clause(rule, "UNION ALL joins aggregated results, not rows of data sets.");
    *class = left == PV_LEVEL_RELEASED || right == PV_LEVEL_RELEASED ? PV_LEVEL_RELEASED : PV_LEVEL_CONSTANT;
    if (level->stmt->limitOffset != NULL && *class == PV_LEVEL_RELEASED)
        return pv_rule_deny_clause(rule, "OFFSET is not allowed.");
    return PV_OK;
}

static enum pv_status
classify_from(struct pv_rule_trial *rule, struct pv_level *level, bool seen[4])
{
    for (size_t i = 0; i < level->rte_count; i++) {
        const struct pv_rte *rte = level->rtes[i];
        enum pv_level_class class = PV_LEVEL_CONSTANT;

        if (rte->kind == PV_RTE_JOIN)
            continue;
        if (pv_rte_dataset(rte) != NULL) {
            class = PV_LEVEL_RAW;
        } else if (rte->relation != NULL) {
            return pv_deny_question(rule->trial, PV_REASON_RULE, -1,
                                    "\"%s.%s\" cannot stand in one statement with data sets.", rte->relation->schema,
                                    rte->relation->name);
        } else if (rte->level != NULL) {
            enum pv_status status = classify(rule, rte->level, &class);

            if (status != PV_OK)
                return status;
        }
        seen[class] = true;
    }
    return PV_OK;
}

static void
group_distinct(void *context)
{
    struct pv_level *level = context;

    level->stmt->distinctClause = NIL;
    for (size_t i = 0; i < level->output_count; i++)
        level->stmt->groupClause = lappend(level->stmt->groupClause, pv_make_integer((int64_t) i + 1));
}

/* SELECT DISTINCT a, b is SELECT a, b GROUP BY 1, 2, as filters of dashboards ask it; a list is distinct by itself. */
static enum pv_status
spell_distinct(struct pv_rule_trial *rule, struct pv_level *level)
{
    MemoryContext before;
    enum pv_status status;

    if (level->stmt->distinctClause == NIL || linitial(level->stmt->distinctClause) != NULL ||
        pv_level_aggregates(level) ||
        (rule->is_list && rule->is_given[pv_level_number(rule->resolution, level)]))
        return PV_OK;
    for (size_t i = 0; i < level->output_count; i++)
        if (level->outputs[i].expr == NULL || pv_rule_is_constant(level->outputs[i].expr))
            return PV_OK;
    before = pv_sql_enter(rule->trial->sql);
    status = pv_sql_guard(group_distinct, level, NULL);
    pv_sql_leave(before);
    return status;
}

static enum pv_status
classify_plain(struct pv_rule_trial *rule, struct pv_level *level, enum pv_level_class *class)
{
    bool seen[4] = {false};
    enum pv_status status = classify_from(rule, level, seen);
    bool aggregates;

    if (status == PV_OK && seen[PV_LEVEL_RAW])
        status = spell_distinct(rule, level);
    if (status != PV_OK)
        return status;
    aggregates = pv_level_aggregates(level);
    if (level->stmt->limitOffset != NULL && (seen[PV_LEVEL_RAW] || seen[PV_LEVEL_RELEASED]))
        return pv_rule_deny_clause(rule, "OFFSET is not allowed.");
    if (seen[PV_LEVEL_RAW] && seen[PV_LEVEL_CONSTANT])
        return pv_rule_deny_clause(rule, "Rows of data sets can be joined with rows of data sets only, "
                                 "not with values, functions or aggregated results.");
    if (!seen[PV_LEVEL_RAW]) {
        *class = seen[PV_LEVEL_RELEASED] ? PV_LEVEL_RELEASED : PV_LEVEL_CONSTANT;
        return check_released(rule, level);
    }
    if (level->stmt->windowClause != NIL)
        return pv_rule_deny_clause(rule, "Window functions are not allowed.");
    if (seen[PV_LEVEL_RELEASED])
        status = pv_rule_results(rule, level);
    if (status == PV_OK)
        status = pv_rule_joins(rule, level);
    if (status != PV_OK)
        return status;
    *class = aggregates ? PV_LEVEL_RELEASED : PV_LEVEL_RAW;
    if (!aggregates)
        return check_passing(rule, level);
    if (level->stmt->distinctClause != NIL && linitial(level->stmt->distinctClause) != NULL)
        return pv_rule_deny_clause(rule, "DISTINCT ON is not allowed.");
    return check_aggregating(rule, level);
}

static enum pv_status
classify(struct pv_rule_trial *rule, struct pv_level *level, enum pv_level_class *class)
{
    size_t number = pv_level_number(rule->resolution, level);
    enum pv_status status;

    if (rule->classes[number] != PV_LEVEL_UNKNOWN) {
        *class = rule->classes[number];
        return PV_OK;
    }
    if (rule->is_visiting[number] || rule->depth > PV_QUERY_LEVELS_MAX)
        return pv_rule_deny_clause(rule, "Recursive queries are not allowed.");
    rule->is_visiting[number] = true;
    rule->depth++;
    if (level->left != NULL)
        status = classify_set_operation(rule, level, class);
    else
        status = classify_plain(rule, level, class);
    rule->depth--;
    rule->is_visiting[number] = false;
    if (status == PV_OK)
        rule->classes[number] = *class;
    return status;
}

/* ---- the whole statement ------------------------------------------------------------------------ */

static enum pv_status
check_datasets(struct pv_rule_trial *rule)
{
    const struct pv_resolution *resolution = rule->resolution;

    rule->is_list = true;
    for (size_t i = 0; i < resolution->relation_count; i++) {
        const struct pv_dataset *dataset = pv_rte_dataset(resolution->relations[i]);

        if (dataset == NULL)
            return pv_rule_deny_clause(rule, "Catalogs and questions cannot stand in one statement with data sets.");
        if (dataset->rule == NULL)
            return pv_deny_question(rule->trial, PV_REASON_RULE, -1,
                                    "Data set \"%s\" has no analysis rule: it takes part in fixed questions only.",
                                    dataset->key);
        if (dataset->rule->type != PV_RULE_LIST)
            rule->is_list = false;
    }
    return PV_OK;
}

/* One too deep to be marked is none, and denied for its depth. */
static void
mark_given(struct pv_rule_trial *rule, const struct pv_level *level, unsigned depth)
{
    for (; depth <= PV_QUERY_LEVELS_MAX; level = level->left) {
        rule->is_given[pv_level_number(rule->resolution, level)] = true;
        if (level->left == NULL)
            return;
        mark_given(rule, level->right, depth + 1);
    }
}

static enum pv_status
judge(struct pv_rule_trial *rule)
{
    const struct pv_resolution *resolution = rule->resolution;
    enum pv_level_class class = PV_LEVEL_CONSTANT;
    MemoryContext before = pv_sql_enter(rule->trial->sql);
    enum pv_status status = pv_sql_guard(pv_rule_spell_names, rule, NULL);

    pv_sql_leave(before);
    if (status == PV_OK)
        status = check_datasets(rule);

    if (status == PV_OK && resolution->has_lateral)
        status = pv_rule_deny_clause(rule, "LATERAL is not allowed.");
    if (status == PV_OK && resolution->has_recursion)
        status = pv_rule_deny_clause(rule, "Recursive queries are not allowed.");
    mark_given(rule, resolution->top, 0);
    if (status == PV_OK)
        status = classify(rule, resolution->top, &class);
    if (status == PV_OK && class == PV_LEVEL_RAW && !rule->is_list) {
        (void) pv_rule_deny_clause(rule, "Rows of a data set would reach the result: "
                                 "every output column is an aggregate or a grouped dimension.");
        status = PV_DENIED;
    }
    /* Every level is judged, also one that nothing reads (an unused WITH query). */
    for (size_t i = 0; i < resolution->level_count && status == PV_OK; i++)
        status = classify(rule, resolution->levels[i], &class);
    if (status == PV_OK)
        status = pv_rule_flow(rule);
    if (status == PV_DENIED && rule->trial->decision->hint == NULL)
        for (size_t i = 0; i < resolution->relation_count; i++) {
            const struct pv_dataset *dataset = pv_rte_dataset(resolution->relations[i]);

            if (dataset != NULL && dataset->rule != NULL) {
                hint_columns(rule->trial, dataset);
                break;
            }
        }
    return status;
}

/* A denial that is of no one data set's rule says whose rules hold here, and what they would allow. */
static void
name_owners(struct pv_rule_trial *rule)
{
    struct pv_trial *trial = rule->trial;
    const struct pv_resolution *resolution = rule->resolution;
    const struct pv_dataset *first = NULL;
    struct pv_decision *decision = trial->decision;
    const char *detail = decision->detail;

    if (strcmp(decision->sqlstate, "42501") != 0 || detail == NULL || strstr(detail, "(owner ") != NULL)
        return;
    for (size_t i = 0; i < resolution->relation_count && detail != NULL; i++) {
        const struct pv_relation *relation = resolution->relations[i]->relation;
        const struct pv_dataset *dataset = relation->kind == PV_RELATION_DATASET ? relation->owner : NULL;
        bool is_known = dataset == NULL || dataset->rule == NULL;

        for (size_t k = 0; k < i && !is_known; k++)
            is_known = resolution->relations[k]->relation == relation;
        if (is_known)
            continue;
        detail = pv_arena_printf(trial->arena, "%s%s data set \"%s\" (owner %s)", detail,
                                 first == NULL ? " The analysis rules that hold here:" : ",", dataset->key,
                                 dataset->owner);
        if (first == NULL)
            first = dataset;
    }
    if (first == NULL || detail == NULL)
        return;
    decision->detail = pv_arena_printf(trial->arena, "%s.", detail);
    if (decision->detail == NULL)
        decision->detail = detail;
    if (decision->hint == NULL)
        hint_columns(trial, first);
}

enum pv_status
pv_ask_open(struct pv_trial *trial, const struct pv_resolution *resolution, Node **select)
{
    struct pv_rule_trial rule = {.trial = trial, .resolution = resolution};
    const struct pv_question **questions = NULL;
    struct pv_walk_result walk = {0};
    size_t count = 0;
    enum pv_status status = pv_open_questions(trial, resolution, &questions, &count);

    if (status != PV_OK || count == 0)
        return status == PV_OK ? PV_NOTFOUND : status;
    trial->decision->hint = NULL;
    rule.classes = pv_arena_alloc(trial->arena, (resolution->level_count + 1) * sizeof(*rule.classes));
    rule.is_visiting = pv_arena_alloc(trial->arena, (resolution->level_count + 1) * sizeof(*rule.is_visiting));
    rule.is_given = pv_arena_alloc(trial->arena, (resolution->level_count + 1) * sizeof(*rule.is_given));
    if (rule.classes == NULL || rule.is_visiting == NULL || rule.is_given == NULL)
        return PV_NOMEM;
    status = pv_allow_tree(trial, *select, PV_ALLOW_DATA);
    if (status == PV_OK)
        status = pv_tree_walk(*select, &pv_sql_limits_default, NULL, NULL, &walk);
    if (status == PV_OK && walk.nodes > PV_RULE_NODES_MAX)
        status = pv_deny(trial, PV_REASON_TOO_DEEP, "54001", -1, "statement has too many parts");
    if (status == PV_OK)
        status = judge(&rule);
    if (status == PV_DENIED)
        name_owners(&rule);
    if (status == PV_DEPTH || status == PV_LIMIT)
        status = pv_deny(trial, PV_REASON_TOO_DEEP, "54001", -1, "statement is nested too deeply");
    if (status == PV_OK)
        status = pv_open_choose(trial, questions, count, &rule.question);
    if (status == PV_OK)
        status = pv_substitute(trial, resolution, select);
    return status == PV_OK ? pv_rule_enforce(&rule, select) : status;
}
