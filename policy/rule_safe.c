#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "parser/walk.h"
#include "policy/functions.h"
#include "policy/rule_int.h"
#include "policy/words.h"

/*
 * What can fail on a value tells of that value by failing (ATTACKS: S2 to S5), and what stands behind a condition
 * fails only where a row satisfies it. So over rows of data sets stands only what fails for no row, or, being made of
 * literals alone, fails before any row is seen.
 */

#define SHIFTS_MAX 64u   /* date + interval in one statement: so many of 99 months stay within PostgreSQL's dates */
#define LENGTH_MAX 1000  /* lpad, rpad, substr: characters */
#define REPEAT_MAX 100

/* ---- functions that no value makes fail ---------------------------------------------------- */

enum safe_kind {
    SAFE_ALWAYS,
    SAFE_ONE,     /* one argument: length(bytea, encoding) fails on bytes that are no text */
    SAFE_MEETS,   /* compares its arguments, so that a literal among them meets the columns */
    SAFE_UNIT,    /* the first argument names a unit */
    SAFE_COUNTS,  /* arguments after the first are integers from 0 (the second of substr: any) */
    SAFE_REPEAT,
    SAFE_SPLIT,   /* (text, separator, number but 0) */
    SAFE_FORMAT,  /* (date, format) */
    SAFE_ZONE     /* (zone, date) */
};

static const struct safe {
    const char *name;
    enum safe_kind kind;
} safes[] = {
    {"abs", SAFE_ALWAYS},       {"bit_length", SAFE_ALWAYS},       {"btrim", SAFE_ALWAYS},
    {"ceil", SAFE_ALWAYS},      {"ceiling", SAFE_ALWAYS},          {"char_length", SAFE_ALWAYS},
    {"character_length", SAFE_ALWAYS}, {"coalesce", SAFE_ALWAYS},  {"concat", SAFE_ALWAYS},
    {"concat_ws", SAFE_ALWAYS}, {"date_part", SAFE_UNIT},          {"date_trunc", SAFE_UNIT},
    {"date", SAFE_ALWAYS},
    {"extract", SAFE_UNIT},     {"floor", SAFE_ALWAYS},            {"greatest", SAFE_MEETS},
    {"initcap", SAFE_ALWAYS},   {"isfinite", SAFE_ALWAYS},         {"least", SAFE_MEETS},
    {"left", SAFE_ALWAYS},      {"length", SAFE_ONE},              {"lower", SAFE_ALWAYS},
    {"lpad", SAFE_COUNTS},      {"ltrim", SAFE_ALWAYS},            {"md5", SAFE_ALWAYS},
    {"octet_length", SAFE_ALWAYS}, {"position", SAFE_MEETS},       {"repeat", SAFE_REPEAT},
    {"replace", SAFE_MEETS},    {"reverse", SAFE_ALWAYS},          {"right", SAFE_ALWAYS},
    {"round", SAFE_ALWAYS},     {"rpad", SAFE_COUNTS},             {"rtrim", SAFE_ALWAYS},
    {"sign", SAFE_ALWAYS},      {"split_part", SAFE_SPLIT},        {"starts_with", SAFE_MEETS},
    {"strpos", SAFE_MEETS},     {"substr", SAFE_COUNTS},           {"substring", SAFE_COUNTS},
    {"timezone", SAFE_ZONE},    {"to_char", SAFE_FORMAT},          {"translate", SAFE_MEETS},
    {"trim", SAFE_ALWAYS},      {"trunc", SAFE_ALWAYS},            {"upper", SAFE_ALWAYS},
};

static const struct safe *
find_safe(const char *name)
{
    for (size_t i = 0; i < PV_COUNT_OF(safes); i++)
        if (strcmp(safes[i].name, name) == 0)
            return &safes[i];
    return NULL;
}

static const char *
string_of(const Node *node)
{
    const A_Const *constant = (const A_Const *) node;

    if (IsA(node, TypeCast))
        constant = (const A_Const *) ((const TypeCast *) node)->arg;
    return IsA(constant, A_Const) && !constant->isnull && constant->val.node.type == T_String ? constant->val.sval.sval
                                                                                              : NULL;
}

static bool
integer_of(const Node *node, int *value)
{
    const A_Const *constant = (const A_Const *) node;

    if (!IsA(constant, A_Const) || constant->isnull || constant->val.node.type != T_Integer)
        return false;
    *value = constant->val.ival.ival;
    return true;
}

/* Units that every date type has; hours and less are made so by pv_rule_guard_dates. */
static bool
is_unit(const char *function, const char *unit)
{
    static const char *const truncs[] = {"microseconds", "milliseconds", "second", "minute", "hour",    "day",       "week",
                                         "month",        "quarter",      "year",   "decade", "century", "millennium"};
    static const char *const fields[] = {"second", "minute", "hour",   "day",     "week", "month", "quarter", "year",
                                         "decade", "dow",    "isodow", "isoyear", "doy",  "epoch", "century"};

    if (unit == NULL)
        return false;
    return strcmp(function, "date_trunc") == 0 ? pv_word_is_one_of(unit, truncs, PV_COUNT_OF(truncs))
                                               : pv_word_is_one_of(unit, fields, PV_COUNT_OF(fields));
}

/* Patterns of dates alone, none of which to_char refuses. */
static bool
is_date_format(const char *format)
{
    static const char *const patterns[] = {"YYYY", "YY", "Month", "MONTH", "month", "Mon", "MON", "MM", "Day", "DAY",
                                           "Dy",   "DY", "DDD",   "DD",    "ID",    "D",   "HH24", "HH12", "HH", "MI",
                                           "SS",   "MS", "Q",     "WW",    "IW",    "IYYY"};

    if (format == NULL)
        return false;
    while (*format != '\0') {
        bool is_known = strchr("-/:. _", *format) != NULL;

        for (size_t i = 0; i < PV_COUNT_OF(patterns) && !is_known; i++)
            if (strncmp(format, patterns[i], strlen(patterns[i])) == 0) {
                format += strlen(patterns[i]) - 1;
                is_known = true;
            }
        if (!is_known)
            return false;
        format++;
    }
    return true;
}

static bool
is_zone(const struct pv_trial *trial, const char *zone)
{
    static const char *const zones[] = {"UTC", "GMT", "Etc/UTC"};

    return zone != NULL && (pv_word_is_one_of(zone, zones, PV_COUNT_OF(zones)) ||
                            strcmp(zone, trial->caller->room->timezone) == 0);
}

static bool
are_counts(const char *name, const List *args)
{
    bool is_part = strncmp(name, "substr", 6) == 0;
    int value;

    if (list_length(args) < 2 || !integer_of(lsecond(args), &value) || value > LENGTH_MAX ||
        (value < 0 && !is_part) || value < -LENGTH_MAX)
        return false;
    if (list_length(args) == 2)
        return true;
    if (!is_part)
        return string_of(lthird(args)) != NULL;
    return integer_of(lthird(args), &value) && value >= 0 && value <= LENGTH_MAX;
}

bool
pv_rule_call_is_safe(const struct pv_trial *trial, const char *name, const List *args)
{
    const struct safe *safe = find_safe(name);
    const Node *first = args == NIL ? NULL : linitial(args);
    int value;

    if (safe == NULL || first == NULL)
        return false;
    switch (safe->kind) {
    case SAFE_ONE:
        return list_length(args) == 1;
    case SAFE_UNIT:
        return list_length(args) == 2 && is_unit(name, string_of(first));
    case SAFE_COUNTS:
        return are_counts(name, args);
    case SAFE_REPEAT:
        return list_length(args) == 2 && integer_of(lsecond(args), &value) && value <= REPEAT_MAX;
    case SAFE_SPLIT:
        return list_length(args) == 3 && integer_of(lthird(args), &value) && value != 0;
    case SAFE_FORMAT:
        return list_length(args) == 2 && is_date_format(string_of(lsecond(args)));
    case SAFE_ZONE:
        return list_length(args) == 2 && is_zone(trial, string_of(first));
    case SAFE_ALWAYS:
    case SAFE_MEETS:
    default:
        return true;
    }
}

/* replace with a text that is not longer than what it replaces. */
static bool
is_shrinking(const List *args)
{
    const char *from = list_length(args) == 3 ? string_of(lsecond(args)) : NULL;
    const char *to = from == NULL ? NULL : string_of(lthird(args));

    return to != NULL && strlen(to) <= strlen(from);
}

/*
 * repeat and replace make texts longer; of one another, or of a text put together from many, they would make one that is
 * too long for PostgreSQL, and only where there is a row. So they take a column, or what is no longer than a column.
 */
bool
pv_rule_call_is_short(const struct pv_rule_trial *rule, const char *name, const List *args)
{
    static const char *const shortening[] = {"lower", "upper", "initcap", "trim",      "btrim",  "ltrim",
                                             "rtrim", "left",  "right",   "substring", "substr", "reverse"};
    bool is_replace = strcmp(name, "replace") == 0;
    Node *text = args == NIL ? NULL : linitial(args);

    if ((!is_replace && strcmp(name, "repeat") != 0) || (is_replace && is_shrinking(args)))
        return true;
    if (is_replace && (list_length(args) != 3 || string_of(lthird(args)) == NULL ||
                       strlen(string_of(lthird(args))) > REPEAT_MAX))
        return false;
    while (text != NULL && IsA(text, FuncCall)) {
        const FuncCall *call = (const FuncCall *) text;
        const char *inner = strVal(llast(call->funcname));

        if (!pv_word_is_one_of(inner, shortening, PV_COUNT_OF(shortening)) &&
            !(strcmp(inner, "replace") == 0 && is_shrinking(call->args)))
            return false;
        text = call->args == NIL ? NULL : linitial(call->args);
    }
    if (text != NULL && pv_rule_is_constant(text))
        return string_of(text) != NULL && strlen(string_of(text)) <= LENGTH_MAX;
    return text != NULL && pv_rule_plain(rule, text).rte != NULL;
}

bool
pv_rule_function_is_safe(const char *name)
{
    return find_safe(name) != NULL;
}

bool
pv_rule_call_meets(const char *name)
{
    const struct safe *safe = find_safe(name);

    return safe != NULL && safe->kind == SAFE_MEETS;
}

/* ---- operators ------------------------------------------------------------------------------- */

const char *
pv_rule_operator(const A_Expr *expr)
{
    return expr->kind == AEXPR_OP || expr->kind == AEXPR_OP_ANY || expr->kind == AEXPR_OP_ALL
               ? strVal(llast(expr->name))
               : "";
}

/* LIKE ... ESCAPE x: the grammar's call around the pattern, which fails where x is no single character. */
bool
pv_rule_is_escape(const Node *node)
{
    return IsA(node, FuncCall) && strcmp(strVal(llast(((const FuncCall *) node)->funcname)), "like_escape") == 0;
}

/* LIKE fails on a pattern that ends in its escape, and only for rows that get as far as that. */
static bool
is_pattern(Node *node)
{
    const char *text = string_of(node);
    size_t backslashes = 0, length;

    if (text == NULL)
        return !IsA(node, A_Const) && pv_rule_is_constant(node) && !pv_rule_is_escape(node); /* pv_rule_guard sees to it */
    for (length = strlen(text); backslashes < length && text[length - 1 - backslashes] == '\\';)
        backslashes++;
    return backslashes % 2 == 0 && length <= PV_RULE_PATTERN_MAX;
}

bool
pv_rule_is_comparison(const A_Expr *expr, const char **why)
{
    static const char *const compares[] = {"=", "<>", "!=", "<", ">", "<=", ">="};
    static const char *const likes[] = {"~~", "!~~", "~~*", "!~~*"};
    const char *name = pv_rule_operator(expr);

    *why = NULL;
    switch (expr->kind) {
    case AEXPR_OP:
    case AEXPR_OP_ANY:
    case AEXPR_OP_ALL:
        if (expr->lexpr == NULL)
            return false;
        if (pv_word_is_one_of(name, compares, PV_COUNT_OF(compares)))
            return true;
        if (expr->kind != AEXPR_OP || !pv_word_is_one_of(name, likes, PV_COUNT_OF(likes)))
            return false;
        break;
    case AEXPR_LIKE:
    case AEXPR_ILIKE:
        break;
    case AEXPR_SIMILAR:
        return false;
    case AEXPR_DISTINCT:
    case AEXPR_NOT_DISTINCT:
    case AEXPR_NULLIF:
    case AEXPR_IN:
    case AEXPR_BETWEEN:
    case AEXPR_NOT_BETWEEN:
    case AEXPR_BETWEEN_SYM:
    case AEXPR_NOT_BETWEEN_SYM:
    default:
        return true;
    }
    if (!is_pattern(expr->rexpr)) {
        *why = "LIKE over data wants a constant pattern of at most 1000 bytes that does not end in a backslash, without ESCAPE";
        return false;
    }
    return true;
}

/* '3 days': a number of at most three digits (two for months) and one unit. */
static bool
is_short_interval(const char *text)
{
    static const char *const units[] = {"second", "minute", "hour", "day", "week", "month"};
    size_t digits = 0, unit;

    if (text == NULL)
        return false;
    text += *text == '-' || *text == '+';
    while (isdigit((unsigned char) text[digits]))
        digits++;
    if (digits == 0 || digits > 3 || text[digits] != ' ')
        return false;
    unit = digits + 1;
    for (size_t i = 0; i < PV_COUNT_OF(units); i++) {
        size_t length = strlen(units[i]);

        if (strncasecmp(text + unit, units[i], length) == 0 &&
            (text[unit + length] == '\0' || strcasecmp(text + unit + length, "s") == 0))
            return digits < 3 || strcmp(units[i], "month") != 0;
    }
    return false;
}

static const char *
type_name(const TypeCast *cast)
{
    return cast->typeName->arrayBounds != NIL ? "array" : strVal(llast(cast->typeName->names));
}

/* date + 7, timestamp - INTERVAL '1 day' */
bool
pv_rule_is_shift(struct pv_rule_trial *rule, const A_Expr *expr)
{
    const char *name = pv_rule_operator(expr);
    const TypeCast *cast = (const TypeCast *) expr->rexpr;

    if (expr->kind != AEXPR_OP || expr->lexpr == NULL || (strcmp(name, "+") != 0 && strcmp(name, "-") != 0))
        return false;
    /* An integer could be added to a number near the end of its type; an interval to dates alone. */
    if (!IsA(cast, TypeCast) || strcmp(type_name(cast), "interval") != 0 || !is_short_interval(string_of(expr->rexpr)))
        return false;
    return ++rule->shift_count <= SHIFTS_MAX;
}

/* ---- expressions without columns ----------------------------------------------------------------- */

static bool
is_date_type(const char *type)
{
    static const char *const types[] = {"date", "timestamp", "timestamptz"};

    return pv_word_is_one_of(type, types, PV_COUNT_OF(types));
}

bool
pv_rule_cast_is_text(const TypeCast *cast)
{
    static const char *const types[] = {"text", "varchar", "bpchar"};

    return pv_word_is_one_of(type_name(cast), types, PV_COUNT_OF(types));
}

bool
pv_rule_cast_is_date(const TypeCast *cast)
{
    return is_date_type(type_name(cast));
}

bool
pv_rule_collation_meets(const CollateClause *clause)
{
    const char *name = strVal(llast(clause->collname));

    return strcmp(name, "C") == 0 || strcmp(name, "default") == 0;
}

/* What stands beside a value of these becomes one of them for each row, which a negative bigint or a macaddr8 cannot. */
static bool
is_narrow(const TypeCast *cast)
{
    static const char *const types[] = {"oid", "_oid", "macaddr", "_macaddr"};

    return pv_word_is_one_of(strVal(llast(cast->typeName->names)), types, PV_COUNT_OF(types));
}

static bool
is_narrow_param(uint32_t declared)
{
    return declared == PV_OID_OID || declared == PV_OID_OID_ARRAY || declared == PV_OID_MACADDR ||
           declared == PV_OID_MACADDR_ARRAY;
}

static enum pv_walk
visit_literal(void *context, Node *node, const struct pv_walk_at *at)
{
    static const char *const by_settings[] = {"timestamptz", "money"}; /* what is made of them hangs on the session's */
    bool *is_literal = context;

    (void) at;
    if (IsA(node, ParamRef) || IsA(node, FuncCall) || IsA(node, SQLValueFunction) || IsA(node, SubLink) ||
        (IsA(node, CollateClause) && !pv_rule_collation_meets((CollateClause *) node)) ||
        (IsA(node, TypeCast) && !IsA(((TypeCast *) node)->arg, A_Const) && !IsA(((TypeCast *) node)->arg, A_ArrayExpr)) ||
        (IsA(node, TypeCast) && is_narrow((TypeCast *) node)) ||
        (IsA(node, TypeCast) && pv_word_is_one_of(type_name((TypeCast *) node), by_settings, PV_COUNT_OF(by_settings)))) {
        *is_literal = false;
        return PV_WALK_STOP;
    }
    return PV_WALK_ON;
}

/* Of literals alone, by operators that PostgreSQL computes while it plans: what fails fails whatever the rows. */
static bool
is_literal(Node *expr)
{
    bool is = true;

    return pv_tree_walk(expr, &pv_sql_limits_default, visit_literal, &is, NULL) == PV_OK && is;
}

/* Of the month in `YYYY-MM-DD`, whose first seven characters are digits in their places. */
static int
days_of(const char *text)
{
    static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = (text[0] - '0') * 1000 + (text[1] - '0') * 100 + (text[2] - '0') * 10 + (text[3] - '0');
    int month = (text[5] - '0') * 10 + (text[6] - '0');

    return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

/* Digits in the places of the format, nothing else; and a date that any calendar has. */
static bool
is_plain_date(const char *text, const char *format)
{
    static const struct {
        const char *format, *shape;
    } known[] = {{"YYYY-MM-DD", "dddd-Md-Dd"},
                 {"YYYY-MM-DD HH24:MI:SS", "dddd-Md-Dd Hd:Sd:Sd"},
                 {"YYYY-MM-DD HH24:MI:SS.US", "dddd-Md-Dd Hd:Sd:Sd.dddddd"},
                 {"YYYY-MM-DD HH24:MI:SS.MS", "dddd-Md-Dd Hd:Sd:Sd.ddd"}};
    const char *shape = NULL;

    for (size_t i = 0; i < PV_COUNT_OF(known); i++)
        if (format != NULL && strcmp(format, known[i].format) == 0)
            shape = known[i].shape;
    if (text == NULL || shape == NULL || strlen(text) != strlen(shape))
        return false;
    for (size_t i = 0; shape[i] != '\0'; i++)
        if (strchr("dMDHS", shape[i]) != NULL ? !isdigit((unsigned char) text[i]) : text[i] != shape[i])
            return false;
    for (size_t i = 0; shape[i] != '\0'; i++) {
        int two = (text[i] - '0') * 10 + (text[i + 1] - '0');

        if ((shape[i] == 'M' && (two < 1 || two > 12)) || (shape[i] == 'D' && (two < 1 || two > days_of(text))) ||
            (shape[i] == 'H' && two > 23) || (shape[i] == 'S' && two > 59))
            return false;
    }
    return strncmp(text, "0000", 4) != 0;
}

static bool
is_date_value(const Node *node)
{
    if (IsA(node, SQLValueFunction))
        return true;
    if (IsA(node, TypeCast))
        return is_date_type(type_name((const TypeCast *) node));
    if (IsA(node, A_Expr)) /* -1 has nothing on its left */
        return ((const A_Expr *) node)->lexpr != NULL && is_date_value(((const A_Expr *) node)->lexpr);
    if (IsA(node, FuncCall)) {
        static const char *const names[] = {"now",        "transaction_timestamp", "statement_timestamp",
                                            "date_trunc", "to_date",               "to_timestamp"};

        return pv_word_is_one_of(strVal(llast(((const FuncCall *) node)->funcname)), names, PV_COUNT_OF(names));
    }
    return false;
}

static bool
is_steady_call(struct pv_rule_trial *rule, const FuncCall *call)
{
    static const char *const clocks[] = {"now", "transaction_timestamp", "statement_timestamp"};
    static const char *const makers[] = {"make_date", "make_timestamp", "make_interval"};
    const char *name = strVal(llast(call->funcname));
    const ListCell *cell;

    if (pv_word_is_one_of(name, clocks, PV_COUNT_OF(clocks)))
        return true;
    if (strcmp(name, "to_date") == 0 || strcmp(name, "to_timestamp") == 0)
        return list_length(call->args) == 2 && is_plain_date(string_of(linitial(call->args)), string_of(lsecond(call->args)));
    if (pv_word_is_one_of(name, makers, PV_COUNT_OF(makers))) {
        foreach (cell, call->args)
            if (!is_literal(lfirst(cell)))
                return false;
        return true;
    }
    if (strcmp(name, "date_trunc") == 0 || strcmp(name, "date_part") == 0 || strcmp(name, "extract") == 0)
        return pv_rule_call_is_safe(rule->trial, name, call->args) && is_date_value(lsecond(call->args));
    return pv_rule_call_is_safe(rule->trial, name, call->args) && pv_rule_call_is_short(rule, name, call->args);
}

/* A cast of $n as text would be tried row by row; with the type left to it, the value is tried when it is bound. */
static bool
is_typed_param(const struct pv_trial *trial, const Node *node)
{
    return IsA(node, ParamRef) && pv_rule_declared(trial, (const ParamRef *) node) == 0;
}

static bool
has_plain_elements(const Node *node)
{
    const ListCell *cell;

    if (!IsA(node, A_ArrayExpr))
        return false;
    foreach (cell, ((const A_ArrayExpr *) node)->elements)
        if (!IsA(lfirst(cell), A_Const))
            return false;
    return true;
}

/* Text is read as a date or an interval while it runs, even a literal's; a constant itself while it is parsed. */
static bool
is_steady_cast(const struct pv_rule_trial *rule, TypeCast *cast)
{
    static const char *const numbers[] = {"int2", "int4", "int8", "numeric", "float4", "float8", "bool"};

    if (is_narrow(cast))
        return false;
    if (IsA(cast->arg, A_Const) || has_plain_elements(cast->arg) || pv_rule_cast_is_text(cast) ||
        is_typed_param(rule->trial, cast->arg))
        return true;
    if (pv_rule_cast_is_date(cast))
        return is_date_value(cast->arg);
    return pv_word_is_one_of(type_name(cast), numbers, PV_COUNT_OF(numbers)) && is_literal(cast->arg);
}

struct steady {
    struct pv_rule_trial *rule;
    const Node *unsteady;
};

/* current_date - 30 */
static bool
is_date_and_days(const A_Expr *expr)
{
    const char *name = pv_rule_operator(expr);
    int days;

    return expr->kind == AEXPR_OP && expr->lexpr != NULL && (strcmp(name, "-") == 0 || strcmp(name, "+") == 0) &&
           IsA(expr->lexpr, SQLValueFunction) && integer_of(expr->rexpr, &days) &&
           days <= LENGTH_MAX * 100 && days >= -LENGTH_MAX * 100;
}

static bool
is_steady(struct pv_rule_trial *rule, Node *node)
{
    const char *why;

    switch ((int) nodeTag(node)) {
    case T_FuncCall:
        return ((FuncCall *) node)->over == NULL && is_steady_call(rule, (FuncCall *) node);
    case T_TypeCast:
        return is_steady_cast(rule, (TypeCast *) node);
    case T_A_Expr:
        return pv_rule_is_comparison((A_Expr *) node, &why) ||
               strcmp(pv_rule_operator((A_Expr *) node), "||") == 0 ||
               (pv_rule_is_shift(rule, (A_Expr *) node) && is_date_value(((A_Expr *) node)->lexpr)) ||
               is_date_and_days((A_Expr *) node);
    case T_CollateClause:
        return pv_rule_collation_meets((CollateClause *) node);
    case T_ParamRef:
        /* Beside a float each element would be made one, where there is a row. */
        return pv_rule_declared(rule->trial, (ParamRef *) node) != PV_OID_NUMERIC_ARRAY &&
               !is_narrow_param(pv_rule_declared(rule->trial, (ParamRef *) node));
    case T_A_Const:
    case T_TypeName:
    case T_Integer:
    case T_List:
    case T_A_ArrayExpr:
    case T_SQLValueFunction:
    case T_NamedArgExpr:
    case T_BoolExpr:
    case T_NullTest:
    case T_BooleanTest:
    case T_CaseExpr:
    case T_CaseWhen:
    case T_CoalesceExpr:
    case T_MinMaxExpr:
        return true;
    default:
        return false;
    }
}

static enum pv_walk
visit_steady(void *context, Node *node, const struct pv_walk_at *at)
{
    struct steady *steady = context;

    (void) at;
    /* A long chain of literals is looked through once. */
    if (IsA(node, A_Expr) && is_literal(node))
        return PV_WALK_SKIP;
    if (is_steady(steady->rule, node))
        return PV_WALK_ON;
    steady->unsteady = node;
    return PV_WALK_STOP;
}

enum pv_status
pv_rule_constant(struct pv_rule_trial *rule, Node *expr)
{
    struct steady steady = {rule, NULL};
    enum pv_status status = pv_tree_walk(expr, &pv_sql_limits_default, visit_steady, &steady, NULL);

    if (status != PV_OK || steady.unsteady == NULL)
        return status;
    if (IsA(steady.unsteady, FuncCall))
        return pv_deny_question(rule->trial, PV_REASON_RULE, ((const FuncCall *) steady.unsteady)->location,
                                "Function \"%s\" beside data could fail or differ from row to row; write the value itself.",
                                strVal(llast(((const FuncCall *) steady.unsteady)->funcname)));
    return pv_deny_question(rule->trial, PV_REASON_RULE, pv_node_location(steady.unsteady),
                            "An expression beside data could fail while it runs; write the value itself.");
}
