/* A SELECT in PostgreSQL's spelling into SQLite's, token by token. */
#include "proxy/audit/dialect_int.h"

#include "proxy/base/bytes.h"

#include <ctype.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Longest name of a type or setting, in words joined by blanks. */
#define WORDS_BYTES_MAX 128u

/* ---- Types ---- */

static const struct {
    const char *type, *function; /* NULL: what an INTERVAL is */
} casts[] = {
    {"text", "pv_text"}, {"varchar", "pv_text"}, {"character varying", "pv_text"}, {"name", "pv_text"},
    {"json", "pv_text"}, {"jsonb", "pv_text"}, {"bpchar", "pv_text"},
    {"int", "pv_int8"}, {"integer", "pv_int8"}, {"int2", "pv_int8"}, {"int4", "pv_int8"}, {"int8", "pv_int8"},
    {"smallint", "pv_int8"}, {"bigint", "pv_int8"}, {"oid", "pv_int8"},
    {"float8", "pv_float8"}, {"float", "pv_float8"}, {"double precision", "pv_float8"}, {"numeric", "pv_float8"},
    {"decimal", "pv_float8"}, {"real", "pv_float8"}, {"float4", "pv_float8"},
    {"bool", "pv_bool"}, {"boolean", "pv_bool"}, {"date", "pv_date"},
    {"timestamp", "pv_timestamp"}, {"timestamptz", "pv_timestamp"}, {"timestamp with time zone", "pv_timestamp"},
    {"timestamp without time zone", "pv_timestamp"},
    {"regtype", "pv_regtype"}, {"regclass", "pv_regclass"}, {"interval", NULL},
};

static bool
find_cast(const char *type, const char **function)
{
    for (size_t i = 0; i < PV_COUNT_OF(casts); i++)
        if (strcasecmp(casts[i].type, type) == 0) {
            *function = casts[i].function;
            return true;
        }
    return false;
}

/* Cut where it does not fit, which no known type's name is. */
static void
add_words(char name[WORDS_BYTES_MAX], const char *words)
{
    size_t len = strlen(name);

    (void) snprintf(name + len, WORDS_BYTES_MAX - len, "%s", words);
}

/* A type's name at *at, which moves behind it. */
static bool
read_type(struct pv_lex_scan *scan, size_t *at, const char **function)
{
    const struct pv_lex_tokens *in = &scan->in;
    char name[WORDS_BYTES_MAX] = "";
    size_t i = *at;

    if (pv_lex_is_name(in, i, "pg_catalog") && pv_lex_is(in, i + 1, "."))
        i += 2;
    if (!pv_lex_is_kind(in, i, PV_LEX_WORD) && !pv_lex_is_kind(in, i, PV_LEX_QUOTED))
        return pv_lex_fail(scan->out, "42601", "syntax error in a type's name", NULL);
    add_words(name, in->items[i].kind == PV_LEX_WORD ? in->items[i].text : in->items[i].bare);
    i++;
    if (pv_lex_is(in, i, "precision") || pv_lex_is(in, i, "varying")) {
        add_words(name, strcasecmp(in->items[i].text, "precision") == 0 ? " precision" : " varying");
        i++;
    }
    if (pv_lex_is(in, i, "(") && pv_lex_is_kind(in, i + 1, PV_LEX_NUMBER))
        return pv_lex_fail(scan->out, "0A000", "types with a length or precision are not supported for the query log",
                           NULL);
    if ((pv_lex_is(in, i, "with") || pv_lex_is(in, i, "without")) && pv_lex_is(in, i + 1, "time") &&
        pv_lex_is(in, i + 2, "zone")) {
        add_words(name, strcasecmp(in->items[i].text, "with") == 0 ? " with time zone" : " without time zone");
        i += 3;
    }
    if (!find_cast(name, function))
        return pv_lex_fail(scan->out, "0A000",
                           pv_arena_printf(scan->arena, "a cast to \"%s\" is not supported for the query log", name),
                           NULL);
    *at = i;
    return true;
}

/* ---- Translating ---- */

/* OPERAND + or - INTERVAL 'text'; the sign ends `out`. */
static bool
put_interval(struct pv_lex_scan *scan, struct pv_lex_tokens *out, const char *bare)
{
    bool is_minus = out->count > 0 && pv_lex_is(out, out->count - 1, "-");
    size_t start;

    if (!is_minus && !(out->count > 0 && pv_lex_is(out, out->count - 1, "+")))
        return pv_lex_fail(scan->out, "0A000", "an interval can only be added to or taken from a time",
                           "For example: at > now() - interval '7 days'.");
    out->count--;
    start = pv_lex_operand_start(out);
    if (start == out->count)
        return pv_lex_fail(scan->out, "42601", "syntax error at or near \"interval\"", NULL);
    return pv_lex_open_call(scan, out, start, "pv_shift") && pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ",") &&
           pv_lex_push_text(scan, out, PV_LEX_NUMBER, is_minus ? "-1" : "1") &&
           pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ",") &&
           pv_lex_push_text(scan, out, PV_LEX_STRING, pv_lex_quote(scan, bare, '\'')) &&
           pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ")");
}

/* After `::`. */
static bool
put_cast(struct pv_lex_scan *scan, struct pv_lex_tokens *out, size_t *at)
{
    const char *function = NULL;
    size_t start;

    if (!read_type(scan, at, &function))
        return false;
    start = pv_lex_operand_start(out);
    if (start == out->count)
        return pv_lex_fail(scan->out, "42601", "syntax error at or near \"::\"", NULL);
    if (function == NULL) {
        const char *bare = out->items[out->count - 1].bare;

        if (out->items[out->count - 1].kind != PV_LEX_STRING || bare == NULL)
            return pv_lex_fail(scan->out, "0A000", "only a literal can be an interval in the query log", NULL);
        out->count--;
        return put_interval(scan, out, bare);
    }
    return pv_lex_open_call(scan, out, start, function) && pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ")");
}

/* ( OPERAND ) . FIELD: there are no composite values, but inspectors take fields of what is empty here. */
static bool
put_field(struct pv_lex_scan *scan, struct pv_lex_tokens *out, size_t *at)
{
    const struct pv_lex_token *field = &scan->in.items[(*at)++];
    size_t start = pv_lex_operand_start(out);

    return pv_lex_open_call(scan, out, start, "pv_field") && pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ",") &&
           pv_lex_push_text(scan, out, PV_LEX_STRING, pv_lex_quote(scan, field->text, '\'')) &&
           pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ")");
}

/* OPERAND [ NUMBER ]: arrays are JSON here, and count from 0 there. */
static bool
put_subscript(struct pv_lex_scan *scan, struct pv_lex_tokens *out, size_t *at)
{
    const struct pv_lex_tokens *in = &scan->in;
    size_t start = pv_lex_operand_start(out);
    const char *number = pv_lex_is_kind(in, *at, PV_LEX_NUMBER) ? in->items[*at].text : "";
    long index = strtol(number, NULL, 10);

    if (start == out->count || strspn(number, "0123456789") != strlen(number) || index < 1 || index > 10000 ||
        !pv_lex_is(in, *at + 1, "]"))
        return pv_lex_fail(scan->out, "0A000", "arrays are not supported for the query log",
                           "Take JSON arrays apart with json_each(columns), or by a number: columns[1].");
    *at += 2;
    return pv_lex_open_call(scan, out, start, "json_extract") && pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ",") &&
           pv_lex_push_text(scan, out, PV_LEX_STRING, pv_arena_printf(scan->arena, "'$[%ld]'", index - 1)) &&
           pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ")");
}

static const struct {
    const char *word, *text;
} words[] = {
    {"current_user", "pv_current_user()"},
    {"session_user", "pv_current_user()"},
    {"current_role", "pv_current_user()"},
    {"current_timestamp", "now()"},
    {"localtimestamp", "now()"},
    {"current_catalog", "current_database()"},
};

static const struct {
    const char *from, *to;
} functions[] = {
    {"string_agg", "group_concat"}, {"json_build_object", "json_object"}, {"json_build_array", "json_array"},
    {"char_length", "length"}, {"character_length", "length"},
    {"clock_timestamp", "now"},     {"statement_timestamp", "now"}, {"transaction_timestamp", "now"},
};

static const struct {
    const char *from, *to;
} operators[] = {
    {"~~", "LIKE"}, {"!~~", "NOT LIKE"}, {"~~*", "MATCH"}, {"!~~*", "NOT MATCH"}, {"~", "REGEXP"}, {"!~", "NOT REGEXP"},
};

static bool
put_operator(struct pv_lex_scan *scan, struct pv_lex_tokens *out, const struct pv_lex_token *token)
{
    if (strcmp(token->text, "~*") == 0 || strcmp(token->text, "!~*") == 0)
        return pv_lex_fail(scan->out, "0A000", "the operator ~* is not supported for the query log",
                           "Use lower(x) ~ '...' or ILIKE.");
    for (size_t i = 0; i < PV_COUNT_OF(operators); i++)
        if (strcmp(token->text, operators[i].from) == 0) {
            if (!pv_lex_ends_operand(out))
                return pv_lex_fail(scan->out, "0A000", "this operator is not supported for the query log", NULL);
            return pv_lex_push_text(scan, out, PV_LEX_WORD, operators[i].to);
        }
    return pv_lex_push(scan, out, *token);
}

/* Any word may name an output column in PostgreSQL; SQLite wants its own reserved ones quoted. */
static bool
is_reserved_name(const struct pv_lex_tokens *in, size_t at)
{
    return pv_lex_is_kind(in, at, PV_LEX_WORD) && !pv_lex_is(in, at + 1, "(") &&
           sqlite3_keyword_check(in->items[at].text, (int) strlen(in->items[at].text)) != 0;
}

static const char *
quoted_lower(struct pv_lex_scan *scan, const char *word)
{
    char *lower = pv_arena_strdup(scan->arena, word);

    if (lower == NULL) {
        scan->is_out_of_memory = true;
        return NULL;
    }
    for (char *at = lower; *at != '\0'; at++)
        *at = (char) tolower((unsigned char) *at);
    return pv_lex_quote(scan, lower, '"');
}

/* CAST ( ... AS TYPE ): `cast_at[n]` is where the CAST of parenthesis depth n stands in `out`. */
struct nesting {
    size_t cast_at[64];
    size_t depth;
};

static bool
put_word(struct pv_lex_scan *scan, struct pv_lex_tokens *out, struct nesting *nesting, size_t *at)
{
    struct pv_lex_tokens *in = &scan->in;
    size_t i = *at;
    const struct pv_lex_token *token = &in->items[i];
    const char *function = NULL;
    bool is_qualified = out->count > 0 && pv_lex_is(out, out->count - 1, ".");

    *at = i + 1;
    if (is_qualified)
        return pv_lex_push(scan, out, *token);
    if (pv_lex_is(in, i, "as") && nesting->depth > 0 && nesting->depth < PV_COUNT_OF(nesting->cast_at) &&
        nesting->cast_at[nesting->depth] != SIZE_MAX) {
        if (!read_type(scan, at, &function))
            return false;
        if (function == NULL || !pv_lex_is(in, *at, ")"))
            return pv_lex_fail(scan->out, "0A000", "this cast is not supported for the query log", NULL);
        out->items[nesting->cast_at[nesting->depth]].text = function;
        return true;
    }
    if (pv_lex_is(in, i, "as") && is_reserved_name(in, i + 1)) {
        *at = i + 2;
        return pv_lex_push(scan, out, *token) &&
               pv_lex_push_text(scan, out, PV_LEX_QUOTED, quoted_lower(scan, in->items[i + 1].text));
    }
    if (pv_lex_is(in, i, "interval") && pv_lex_is_kind(in, i + 1, PV_LEX_STRING)) {
        *at = i + 2;
        return put_interval(scan, out, in->items[i + 1].bare);
    }
    if (pv_lex_is_kind(in, i + 1, PV_LEX_STRING) && !pv_lex_is_keyword(token->text) &&
        find_cast(token->text, &function) && function != NULL) {
        *at = i + 2;
        return pv_lex_push_text(scan, out, PV_LEX_WORD, function) &&
               pv_lex_push_text(scan, out, PV_LEX_OPERATOR, "(") && pv_lex_push(scan, out, in->items[i + 1]) &&
               pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ")");
    }
    if (pv_lex_is(in, i, "ilike"))
        return pv_lex_push_text(scan, out, PV_LEX_WORD, "MATCH");
    if (pv_lex_is(in, i, "at") && pv_lex_is(in, i + 1, "time") && pv_lex_is(in, i + 2, "zone"))
        return pv_lex_fail(scan->out, "0A000", "AT TIME ZONE is not supported for the query log", "Its times are UTC.");
    if (pv_lex_is(in, i, "collate") &&
        (pv_lex_is_name(in, i + 1, "pg_catalog") || pv_lex_is_name(in, i + 1, "default"))) {
        *at = i + (pv_lex_is(in, i + 2, ".") ? 4 : 2);
        return true;
    }
    if (pv_lex_is(in, i, "extract") && pv_lex_is(in, i + 1, "(") && pv_lex_is_kind(in, i + 2, PV_LEX_WORD) &&
        pv_lex_is(in, i + 3, "from")) {
        *at = i + 4;
        nesting->depth++;
        if (nesting->depth < PV_COUNT_OF(nesting->cast_at))
            nesting->cast_at[nesting->depth] = SIZE_MAX;
        return pv_lex_push_text(scan, out, PV_LEX_WORD, "date_part") &&
               pv_lex_push_text(scan, out, PV_LEX_OPERATOR, "(") &&
               pv_lex_push_text(scan, out, PV_LEX_STRING, pv_lex_quote(scan, in->items[i + 2].text, '\'')) &&
               pv_lex_push_text(scan, out, PV_LEX_OPERATOR, ",");
    }
    if (pv_lex_is(in, i, "operator") && pv_lex_is(in, i + 1, "(")) {
        size_t op = i + 2 + (pv_lex_is(in, i + 3, ".") ? 2 : 0);

        if (!pv_lex_is_kind(in, op, PV_LEX_OPERATOR) || !pv_lex_is(in, op + 1, ")"))
            return pv_lex_fail(scan->out, "42601", "syntax error at or near \"operator\"", NULL);
        *at = op + 2;
        return put_operator(scan, out, &in->items[op]);
    }
    for (size_t k = 0; k < PV_COUNT_OF(words); k++)
        if (strcasecmp(token->text, words[k].word) == 0 && !pv_lex_is(in, i + 1, "("))
            return pv_lex_push_text(scan, out, PV_LEX_NUMBER, words[k].text);
    if (pv_lex_is(in, i, "current_schema") && !pv_lex_is(in, i + 1, "("))
        return pv_lex_push_text(scan, out, PV_LEX_NUMBER, "current_schema()");
    if (pv_lex_is(in, i + 1, "("))
        for (size_t k = 0; k < PV_COUNT_OF(functions); k++)
            if (strcasecmp(token->text, functions[k].from) == 0)
                return pv_lex_push_text(scan, out, PV_LEX_WORD, functions[k].to);
    if (strncasecmp(token->text, "pg_", 3) == 0 && !pv_lex_is(in, i + 1, "("))
        scan->out->has_catalog = true;
    return pv_lex_push(scan, out, *token);
}

/* pg_catalog . and public . go; information_schema . X is one name. */
static bool
is_schema(struct pv_lex_scan *scan, struct pv_lex_tokens *out, size_t *at, bool *is_fine)
{
    const struct pv_lex_tokens *in = &scan->in;
    size_t i = *at;

    if (!pv_lex_is(in, i + 1, ".") || (out->count > 0 && pv_lex_is(out, out->count - 1, ".")))
        return false;
    if (pv_lex_is_name(in, i, "pg_catalog") || pv_lex_is_name(in, i, "public")) {
        *at = i + 2;
        *is_fine = true;
        return true;
    }
    if (pv_lex_is_name(in, i, "information_schema") && i + 2 < in->count) {
        const struct pv_lex_token *name = &in->items[i + 2];

        scan->out->has_catalog = true;
        *at = i + 3;
        *is_fine = pv_lex_push_text(scan, out, PV_LEX_QUOTED,
                                    pv_lex_quote(scan,
                                                 pv_arena_printf(scan->arena, "information_schema_%.*s", 63,
                                                                 name->bare != NULL ? name->bare : name->text),
                                                 '"'));
        return true;
    }
    return false;
}

static bool
put_token(struct pv_lex_scan *scan, struct pv_lex_tokens *out, struct nesting *nesting, size_t *at)
{
    const struct pv_lex_tokens *in = &scan->in;
    size_t i = *at;
    bool is_fine;

    if ((in->items[i].kind == PV_LEX_WORD || in->items[i].kind == PV_LEX_QUOTED) && is_schema(scan, out, at, &is_fine))
        return is_fine;
    if (in->items[i].kind == PV_LEX_WORD)
        return put_word(scan, out, nesting, at);
    *at = i + 1;
    if (in->items[i].kind != PV_LEX_OPERATOR)
        return pv_lex_push(scan, out, in->items[i]);
    if (pv_lex_is(in, i, "::"))
        return put_cast(scan, out, at);
    if (pv_lex_is(in, i, ".") && out->count > 0 && pv_lex_is(out, out->count - 1, ")") &&
        pv_lex_is_kind(in, i + 1, PV_LEX_WORD))
        return put_field(scan, out, at);
    if (pv_lex_is(in, i, "["))
        return put_subscript(scan, out, at);
    if (pv_lex_is(in, i, "(")) {
        nesting->depth++;
        if (nesting->depth < PV_COUNT_OF(nesting->cast_at))
            nesting->cast_at[nesting->depth] =
                out->count > 0 && pv_lex_is(out, out->count - 1, "cast") ? out->count - 1 : SIZE_MAX;
        else if (out->count > 0 && pv_lex_is(out, out->count - 1, "cast"))
            return pv_lex_fail(scan->out, "54001", "statement is nested too deeply", NULL);
    } else if (pv_lex_is(in, i, ")") && nesting->depth > 0) {
        nesting->depth--;
    }
    return put_operator(scan, out, &in->items[i]);
}

static const char *
join(struct pv_lex_scan *scan, const struct pv_lex_tokens *out)
{
    struct pv_buf sql = {0};
    const char *text = NULL;

    for (size_t i = 0; i < out->count; i++) {
        if (i > 0)
            pv_buf_put_u8(&sql, ' ');
        pv_buf_put_text(&sql, out->items[i].text);
    }
    if (pv_buf_ok(&sql))
        text = pv_arena_strndup(scan->arena, (const char *) pv_buf_slice(&sql).data, pv_buf_len(&sql));
    pv_buf_clear(&sql);
    if (text == NULL)
        scan->is_out_of_memory = true;
    return text;
}

void
pv_dialect_translate(struct pv_lex_scan *scan)
{
    struct pv_lex_tokens out = {0};
    struct nesting nesting = {{SIZE_MAX}, 0};

    for (size_t i = 0; i < scan->in.count;)
        if (!put_token(scan, &out, &nesting, &i))
            return;
    scan->out->sql = join(scan, &out);
}
