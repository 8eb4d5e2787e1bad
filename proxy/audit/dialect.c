#include "proxy/audit/dialect.h"

#include "proxy/base/bytes.h"
#include "proxy/base/limits.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Longest name of a type or setting, in words joined by blanks. */
#define WORDS_BYTES_MAX 128u
/* As SQLite's SQLITE_LIMIT_VARIABLE_NUMBER would allow more than a Bind can carry. */
#define PARAMETERS_MAX 32766u

enum token_kind { TOKEN_WORD, TOKEN_QUOTED, TOKEN_STRING, TOKEN_NUMBER, TOKEN_PARAMETER, TOKEN_OPERATOR, TOKEN_END };

struct token {
    enum token_kind kind;
    size_t offset;    /* in the source */
    const char *text; /* as SQLite shall read it */
    const char *bare; /* STRING, QUOTED: the content */
};

struct tokens {
    struct token *items;
    size_t count, size;
};

struct scan {
    struct pv_arena *arena;
    struct pv_slice text;
    size_t at;
    struct tokens in;
    struct pv_dialect *out;
    bool is_out_of_memory;
};

/* ---- Faults ---- */

static bool
fail(struct pv_dialect *out, const char *sqlstate, const char *message, const char *hint)
{
    if (out->sqlstate == NULL) {
        out->sqlstate = sqlstate;
        out->message = message;
        out->hint = hint;
    }
    return false;
}

/* ---- Tokens ---- */

static bool
push(struct scan *scan, struct tokens *list, struct token token)
{
    if (list->count == list->size) {
        size_t size = list->size == 0 ? 64 : list->size * 2;
        struct token *grown = pv_arena_alloc(scan->arena, size * sizeof(*grown));

        if (grown == NULL) {
            scan->is_out_of_memory = true;
            return false;
        }
        if (list->count > 0)
            memcpy(grown, list->items, list->count * sizeof(*grown));
        list->items = grown;
        list->size = size;
    }
    if (token.text == NULL) {
        scan->is_out_of_memory = true;
        return false;
    }
    list->items[list->count++] = token;
    return true;
}

static bool
push_text(struct scan *scan, struct tokens *list, enum token_kind kind, const char *text)
{
    return push(scan, list, (struct token){.kind = kind, .text = text, .bare = NULL});
}

static uint8_t
peek(const struct scan *scan, size_t ahead)
{
    return scan->at + ahead < scan->text.len ? scan->text.data[scan->at + ahead] : 0;
}

static bool
is_word_start(uint8_t c)
{
    return isalpha(c) != 0 || c == '_' || c >= 0x80;
}

static bool
is_word_part(uint8_t c)
{
    return is_word_start(c) || isdigit(c) != 0 || c == '$';
}

/* Blanks and comments, which nest, as in PostgreSQL and unlike in SQLite, so comments never reach SQLite. */
static bool
skip_blank(struct scan *scan)
{
    for (;;) {
        uint8_t c = peek(scan, 0);

        if (c != 0 && c < 0x80 && isspace(c) != 0) {
            scan->at++;
        } else if (c == '-' && peek(scan, 1) == '-') {
            while (scan->at < scan->text.len && scan->text.data[scan->at] != '\n')
                scan->at++;
        } else if (c == '/' && peek(scan, 1) == '*') {
            size_t depth = 0;

            do {
                if (scan->at >= scan->text.len)
                    return fail(scan->out, "42601", "unterminated /* comment", NULL);
                if (peek(scan, 0) == '/' && peek(scan, 1) == '*') {
                    depth++;
                    scan->at += 2;
                } else if (peek(scan, 0) == '*' && peek(scan, 1) == '/') {
                    depth--;
                    scan->at += 2;
                } else {
                    scan->at++;
                }
            } while (depth > 0);
        } else {
            return true;
        }
    }
}

/* Puts quotes around, doubled inside. */
static const char *
quote(struct scan *scan, const char *bare, char mark)
{
    size_t len = strlen(bare);
    char *text = pv_arena_alloc(scan->arena, 2 * len + 3);
    char *to = text;

    if (text == NULL)
        return NULL;
    *to++ = mark;
    for (size_t i = 0; i < len; i++) {
        if (bare[i] == mark)
            *to++ = mark;
        *to++ = bare[i];
    }
    *to++ = mark;
    *to = '\0';
    return text;
}

static bool
push_string(struct scan *scan, size_t offset, const char *bare)
{
    if (bare == NULL) {
        scan->is_out_of_memory = true;
        return false;
    }
    return push(scan, &scan->in, (struct token){TOKEN_STRING, offset, quote(scan, bare, '\''), bare});
}

/* After the opening quote. With `has_escapes` the escapes of E'': those that stand for one character. */
static bool
read_quoted(struct scan *scan, char mark, bool has_escapes, char **bare)
{
    static const char escapes[] = "n\nt\tr\rb\bf\f";
    char *to = pv_arena_alloc(scan->arena, scan->text.len - scan->at + 1);

    if (to == NULL) {
        scan->is_out_of_memory = true;
        return false;
    }
    *bare = to;
    for (; scan->at < scan->text.len; scan->at++) {
        char c = (char) scan->text.data[scan->at];

        if (c == mark) {
            if (peek(scan, 1) != (uint8_t) mark)
                break;
            scan->at++;
        } else if (has_escapes && c == '\\') {
            const char *known;

            scan->at++;
            c = (char) peek(scan, 0);
            known = c == '\0' ? NULL : strchr(escapes, c);
            if (isdigit((uint8_t) c) != 0 || c == 'x' || c == 'u' || c == 'U')
                return fail(scan->out, "0A000", "this escape in a string is not supported for the query log", NULL);
            if (known != NULL && (known - escapes) % 2 == 0)
                c = known[1];
        }
        *to++ = c;
    }
    if (scan->at >= scan->text.len)
        return fail(scan->out, "42601", mark == '\'' ? "unterminated quoted string" : "unterminated quoted identifier",
                    NULL);
    scan->at++;
    *to = '\0';
    return true;
}

/* At $: a parameter or a dollar-quoted string. */
static bool
read_dollar(struct scan *scan)
{
    size_t start = scan->at, end = start + 1;
    const uint8_t *data = scan->text.data;
    size_t tag_len;

    if (isdigit(peek(scan, 1)) != 0) {
        size_t number = 0;

        for (; end < scan->text.len && isdigit(data[end]) != 0; end++)
            number = number > PARAMETERS_MAX ? number : number * 10 + (size_t) (data[end] - '0');
        scan->at = end;
        if (number == 0 || number > PARAMETERS_MAX)
            return fail(scan->out, "42P02", "there is no such parameter", NULL);
        if (number > scan->out->parameter_count)
            scan->out->parameter_count = number;
        return push(scan, &scan->in,
                    (struct token){TOKEN_PARAMETER, start, pv_arena_printf(scan->arena, "?%zu", number), NULL});
    }
    while (end < scan->text.len && data[end] != '$' && is_word_part(data[end]))
        end++;
    if (end >= scan->text.len || data[end] != '$')
        return fail(scan->out, "42601", "syntax error at or near \"$\"", NULL);
    tag_len = end + 1 - start;
    for (size_t i = end + 1; i + tag_len <= scan->text.len; i++)
        if (memcmp(data + i, data + start, tag_len) == 0) {
            scan->at = i + tag_len;
            return push_string(scan, start,
                               pv_arena_strndup(scan->arena, (const char *) data + end + 1, i - end - 1));
        }
    return fail(scan->out, "42601", "unterminated dollar-quoted string", NULL);
}

static bool
read_word(struct scan *scan)
{
    size_t start = scan->at;
    uint8_t c = peek(scan, 0);
    char *bare;

    if (peek(scan, 1) == '\'' && strchr("eEnN", c) != NULL) {
        scan->at += 2;
        return read_quoted(scan, '\'', c == 'e' || c == 'E', &bare) && push_string(scan, start, bare);
    }
    if ((peek(scan, 1) == '\'' && strchr("bBxX", c) != NULL) || ((c == 'u' || c == 'U') && peek(scan, 1) == '&'))
        return fail(scan->out, "0A000", "this kind of literal is not supported for the query log", NULL);
    while (scan->at < scan->text.len && is_word_part(scan->text.data[scan->at]))
        scan->at++;
    return push(scan, &scan->in,
                (struct token){TOKEN_WORD, start,
                               pv_arena_strndup(scan->arena, (const char *) scan->text.data + start, scan->at - start),
                               NULL});
}

static bool
read_number(struct scan *scan)
{
    size_t start = scan->at;

    while (isdigit(peek(scan, 0)) != 0 || peek(scan, 0) == '.')
        scan->at++;
    if ((peek(scan, 0) | 0x20) == 'e' &&
        (isdigit(peek(scan, 1)) != 0 || (strchr("+-", peek(scan, 1)) != NULL && isdigit(peek(scan, 2)) != 0))) {
        scan->at += 2;
        while (isdigit(peek(scan, 0)) != 0)
            scan->at++;
    }
    if (is_word_part(peek(scan, 0)))
        return fail(scan->out, "42601", "trailing junk after numeric literal", NULL);
    return push(scan, &scan->in,
                (struct token){TOKEN_NUMBER, start,
                               pv_arena_strndup(scan->arena, (const char *) scan->text.data + start, scan->at - start),
                               NULL});
}

static bool
read_operator(struct scan *scan)
{
    static const char *const operators[] = {"!~~*", "->>", "!~*", "!~~", "~~*", "::", "->", "||", "<=", ">=", "<>",
                                            "!=",   "!~",  "~*",  "~~",  "(",   ")",  ",",  ".",  ";",  "+",  "-",
                                            "*",    "/",   "%",   "=",   "<",   ">",  "~"};

    for (size_t i = 0; i < PV_COUNT_OF(operators); i++) {
        size_t len = strlen(operators[i]);

        if (scan->text.len - scan->at >= len && memcmp(scan->text.data + scan->at, operators[i], len) == 0) {
            size_t start = scan->at;

            scan->at += len;
            return push(scan, &scan->in, (struct token){TOKEN_OPERATOR, start, operators[i], NULL});
        }
    }
    if (peek(scan, 0) == '[')
        return fail(scan->out, "0A000", "arrays are not supported for the query log",
                    "Take JSON arrays apart with json_each(columns).");
    return fail(scan->out, "42601", pv_arena_printf(scan->arena, "syntax error at or near \"%c\"",
                                                    peek(scan, 0) >= 0x20 && peek(scan, 0) < 0x7f ? peek(scan, 0) : '?'),
                NULL);
}

/* The tokens of one statement, its semicolon or the end left out. False: a fault, the rest of the text is void. */
static bool
read_statement(struct scan *scan)
{
    scan->in.count = 0;
    for (;;) {
        uint8_t c;
        size_t start;
        bool is_fine;

        if (!skip_blank(scan))
            return false;
        start = scan->at;
        if (start >= scan->text.len)
            return true;
        c = peek(scan, 0);
        if (c == ';') {
            scan->at++;
            if (scan->in.count > 0)
                return true;
            continue;
        }
        if (c == '\'' || c == '"') {
            char *bare;

            scan->at++;
            is_fine = read_quoted(scan, (char) c, false, &bare);
            if (is_fine && c == '\'')
                is_fine = push_string(scan, start, bare);
            else if (is_fine)
                is_fine = push(scan, &scan->in, (struct token){TOKEN_QUOTED, start, quote(scan, bare, '"'), bare});
        } else if (c == '$') {
            is_fine = read_dollar(scan);
        } else if (is_word_start(c)) {
            is_fine = read_word(scan);
        } else if (isdigit(c) != 0 || (c == '.' && isdigit(peek(scan, 1)) != 0)) {
            is_fine = read_number(scan);
        } else {
            is_fine = read_operator(scan);
        }
        if (!is_fine)
            return false;
    }
}

/* ---- Looking at tokens ---- */

static bool
is_token(const struct tokens *list, size_t i, const char *text)
{
    return i < list->count && (list->items[i].kind == TOKEN_WORD || list->items[i].kind == TOKEN_OPERATOR) &&
           strcasecmp(list->items[i].text, text) == 0;
}

/* A name, quoted or not. */
static bool
is_name(const struct tokens *list, size_t i, const char *text)
{
    return is_token(list, i, text) ||
           (i < list->count && list->items[i].kind == TOKEN_QUOTED && strcmp(list->items[i].bare, text) == 0);
}

static bool
is_kind(const struct tokens *list, size_t i, enum token_kind kind)
{
    return i < list->count && list->items[i].kind == kind;
}

/* Words that end where an operand could begin: what follows them is no function's or operand's continuation. */
static bool
is_keyword(const char *word)
{
    static const char *const words[] = {"select", "where", "and",  "or",   "not",  "in",     "on",    "when",  "then",
                                        "else",   "case",  "from", "by",   "as",   "values", "having", "limit", "offset",
                                        "like",   "match", "is",   "all",  "distinct", "union", "except", "intersect",
                                        "between", "regexp", "escape", "join", "using", "exists", "over", "filter",
                                        "with",   "return", "glob"};

    for (size_t i = 0; i < PV_COUNT_OF(words); i++)
        if (strcasecmp(word, words[i]) == 0)
            return true;
    return false;
}

/* Whether what stands last can be the left side of an operator. */
static bool
ends_operand(const struct tokens *list)
{
    const struct token *last;

    if (list->count == 0)
        return false;
    last = &list->items[list->count - 1];
    if (last->kind == TOKEN_WORD)
        return !is_keyword(last->text);
    return last->kind != TOKEN_OPERATOR || strcmp(last->text, ")") == 0;
}

/* Where the operand begins that ends the list; its count when there is none. */
static size_t
operand_start(const struct tokens *list)
{
    size_t i = list->count;
    size_t depth = 0;

    if (!ends_operand(list))
        return list->count;
    i--;
    if (is_token(list, i, ")")) {
        for (;; i--) {
            if (is_token(list, i, ")"))
                depth++;
            else if (is_token(list, i, "(") && --depth == 0)
                break;
            if (i == 0)
                return list->count;
        }
        if (i == 0 || (list->items[i - 1].kind != TOKEN_WORD && list->items[i - 1].kind != TOKEN_QUOTED) ||
            (list->items[i - 1].kind == TOKEN_WORD && is_keyword(list->items[i - 1].text)))
            return i;
        i--;
    } else if (is_token(list, i, "end")) {
        for (;; i--) {
            if (is_token(list, i, "end"))
                depth++;
            else if (is_token(list, i, "case") && --depth == 0)
                return i;
            if (i == 0)
                return list->count;
        }
    } else if (list->items[i].kind != TOKEN_WORD && list->items[i].kind != TOKEN_QUOTED) {
        return i;
    }
    while (i >= 2 && is_token(list, i - 1, "."))
        i -= 2;
    return i;
}

/* Puts NAME ( before the operand at `start`; the caller closes it. */
static bool
open_call(struct scan *scan, struct tokens *out, size_t start, const char *function)
{
    if (!push_text(scan, out, TOKEN_WORD, function) || !push_text(scan, out, TOKEN_OPERATOR, "("))
        return false;
    memmove(out->items + start + 2, out->items + start, (out->count - 2 - start) * sizeof(*out->items));
    out->items[start] = (struct token){.kind = TOKEN_WORD, .text = function};
    out->items[start + 1] = (struct token){.kind = TOKEN_OPERATOR, .text = "("};
    return true;
}

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
read_type(struct scan *scan, size_t *at, const char **function)
{
    const struct tokens *in = &scan->in;
    char name[WORDS_BYTES_MAX] = "";
    size_t i = *at;

    if (is_name(in, i, "pg_catalog") && is_token(in, i + 1, "."))
        i += 2;
    if (!is_kind(in, i, TOKEN_WORD) && !is_kind(in, i, TOKEN_QUOTED))
        return fail(scan->out, "42601", "syntax error in a type's name", NULL);
    add_words(name, in->items[i].kind == TOKEN_WORD ? in->items[i].text : in->items[i].bare);
    i++;
    if (is_token(in, i, "precision") || is_token(in, i, "varying")) {
        add_words(name, strcasecmp(in->items[i].text, "precision") == 0 ? " precision" : " varying");
        i++;
    }
    if (is_token(in, i, "(") && is_kind(in, i + 1, TOKEN_NUMBER))
        return fail(scan->out, "0A000", "types with a length or precision are not supported for the query log", NULL);
    if ((is_token(in, i, "with") || is_token(in, i, "without")) && is_token(in, i + 1, "time") &&
        is_token(in, i + 2, "zone")) {
        add_words(name, strcasecmp(in->items[i].text, "with") == 0 ? " with time zone" : " without time zone");
        i += 3;
    }
    if (!find_cast(name, function))
        return fail(scan->out, "0A000",
                    pv_arena_printf(scan->arena, "a cast to \"%s\" is not supported for the query log", name), NULL);
    *at = i;
    return true;
}

/* ---- Translating ---- */

/* OPERAND + or - INTERVAL 'text'; the sign ends `out`. */
static bool
put_interval(struct scan *scan, struct tokens *out, const char *bare)
{
    bool is_minus = out->count > 0 && is_token(out, out->count - 1, "-");
    size_t start;

    if (!is_minus && !(out->count > 0 && is_token(out, out->count - 1, "+")))
        return fail(scan->out, "0A000", "an interval can only be added to or taken from a time",
                    "For example: at > now() - interval '7 days'.");
    out->count--;
    start = operand_start(out);
    if (start == out->count)
        return fail(scan->out, "42601", "syntax error at or near \"interval\"", NULL);
    return open_call(scan, out, start, "pv_shift") && push_text(scan, out, TOKEN_OPERATOR, ",") &&
           push_text(scan, out, TOKEN_NUMBER, is_minus ? "-1" : "1") && push_text(scan, out, TOKEN_OPERATOR, ",") &&
           push_text(scan, out, TOKEN_STRING, quote(scan, bare, '\'')) && push_text(scan, out, TOKEN_OPERATOR, ")");
}

/* After `::`. */
static bool
put_cast(struct scan *scan, struct tokens *out, size_t *at)
{
    const char *function = NULL;
    size_t start;

    if (!read_type(scan, at, &function))
        return false;
    start = operand_start(out);
    if (start == out->count)
        return fail(scan->out, "42601", "syntax error at or near \"::\"", NULL);
    if (function == NULL) {
        const char *bare = out->items[out->count - 1].bare;

        if (out->items[out->count - 1].kind != TOKEN_STRING || bare == NULL)
            return fail(scan->out, "0A000", "only a literal can be an interval in the query log", NULL);
        out->count--;
        return put_interval(scan, out, bare);
    }
    return open_call(scan, out, start, function) && push_text(scan, out, TOKEN_OPERATOR, ")");
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
    {"string_agg", "group_concat"}, {"char_length", "length"}, {"character_length", "length"},
    {"clock_timestamp", "now"},     {"statement_timestamp", "now"}, {"transaction_timestamp", "now"},
};

static const struct {
    const char *from, *to;
} operators[] = {
    {"~~", "LIKE"}, {"!~~", "NOT LIKE"}, {"~~*", "MATCH"}, {"!~~*", "NOT MATCH"}, {"~", "REGEXP"}, {"!~", "NOT REGEXP"},
};

static bool
put_operator(struct scan *scan, struct tokens *out, const struct token *token)
{
    if (strcmp(token->text, "~*") == 0 || strcmp(token->text, "!~*") == 0)
        return fail(scan->out, "0A000", "the operator ~* is not supported for the query log",
                    "Use lower(x) ~ '...' or ILIKE.");
    for (size_t i = 0; i < PV_COUNT_OF(operators); i++)
        if (strcmp(token->text, operators[i].from) == 0) {
            if (!ends_operand(out))
                return fail(scan->out, "0A000", "this operator is not supported for the query log", NULL);
            return push_text(scan, out, TOKEN_WORD, operators[i].to);
        }
    return push(scan, out, *token);
}

/* CAST ( ... AS TYPE ): `casts_open[n]` is where the CAST of parenthesis depth n stands in `out`. */
struct nesting {
    size_t cast_at[64];
    size_t depth;
};

static bool
put_word(struct scan *scan, struct tokens *out, struct nesting *nesting, size_t *at)
{
    struct tokens *in = &scan->in;
    size_t i = *at;
    const struct token *token = &in->items[i];
    const char *function = NULL;
    bool is_qualified = out->count > 0 && is_token(out, out->count - 1, ".");

    *at = i + 1;
    if (is_qualified)
        return push(scan, out, *token);
    if (is_token(in, i, "as") && nesting->depth > 0 && nesting->depth < PV_COUNT_OF(nesting->cast_at) &&
        nesting->cast_at[nesting->depth] != SIZE_MAX) {
        if (!read_type(scan, at, &function))
            return false;
        if (function == NULL || !is_token(in, *at, ")"))
            return fail(scan->out, "0A000", "this cast is not supported for the query log", NULL);
        out->items[nesting->cast_at[nesting->depth]].text = function;
        return true;
    }
    if (is_token(in, i, "interval") && is_kind(in, i + 1, TOKEN_STRING)) {
        *at = i + 2;
        return put_interval(scan, out, in->items[i + 1].bare);
    }
    if (is_kind(in, i + 1, TOKEN_STRING) && !is_keyword(token->text) && find_cast(token->text, &function) &&
        function != NULL) {
        *at = i + 2;
        return push_text(scan, out, TOKEN_WORD, function) && push_text(scan, out, TOKEN_OPERATOR, "(") &&
               push(scan, out, in->items[i + 1]) && push_text(scan, out, TOKEN_OPERATOR, ")");
    }
    if (is_token(in, i, "ilike"))
        return push_text(scan, out, TOKEN_WORD, "MATCH");
    if (is_token(in, i, "at") && is_token(in, i + 1, "time") && is_token(in, i + 2, "zone"))
        return fail(scan->out, "0A000", "AT TIME ZONE is not supported for the query log", "Its times are UTC.");
    if (is_token(in, i, "collate") && (is_name(in, i + 1, "pg_catalog") || is_name(in, i + 1, "default"))) {
        *at = i + (is_token(in, i + 2, ".") ? 4 : 2);
        return true;
    }
    if (is_token(in, i, "extract") && is_token(in, i + 1, "(") && is_kind(in, i + 2, TOKEN_WORD) &&
        is_token(in, i + 3, "from")) {
        *at = i + 4;
        nesting->depth++;
        if (nesting->depth < PV_COUNT_OF(nesting->cast_at))
            nesting->cast_at[nesting->depth] = SIZE_MAX;
        return push_text(scan, out, TOKEN_WORD, "date_part") && push_text(scan, out, TOKEN_OPERATOR, "(") &&
               push_text(scan, out, TOKEN_STRING, quote(scan, in->items[i + 2].text, '\'')) &&
               push_text(scan, out, TOKEN_OPERATOR, ",");
    }
    if (is_token(in, i, "operator") && is_token(in, i + 1, "(")) {
        size_t op = i + 2 + (is_token(in, i + 3, ".") ? 2 : 0);

        if (!is_kind(in, op, TOKEN_OPERATOR) || !is_token(in, op + 1, ")"))
            return fail(scan->out, "42601", "syntax error at or near \"operator\"", NULL);
        *at = op + 2;
        return put_operator(scan, out, &in->items[op]);
    }
    for (size_t k = 0; k < PV_COUNT_OF(words); k++)
        if (strcasecmp(token->text, words[k].word) == 0 && !is_token(in, i + 1, "("))
            return push_text(scan, out, TOKEN_NUMBER, words[k].text);
    if (is_token(in, i, "current_schema") && !is_token(in, i + 1, "("))
        return push_text(scan, out, TOKEN_NUMBER, "current_schema()");
    if (is_token(in, i + 1, "("))
        for (size_t k = 0; k < PV_COUNT_OF(functions); k++)
            if (strcasecmp(token->text, functions[k].from) == 0)
                return push_text(scan, out, TOKEN_WORD, functions[k].to);
    if (strncasecmp(token->text, "pg_", 3) == 0 && !is_token(in, i + 1, "("))
        scan->out->has_catalog = true;
    return push(scan, out, *token);
}

/* pg_catalog . and public . go; information_schema . X is one name. */
static bool
is_schema(struct scan *scan, struct tokens *out, size_t *at, bool *is_fine)
{
    const struct tokens *in = &scan->in;
    size_t i = *at;

    if (!is_token(in, i + 1, ".") || (out->count > 0 && is_token(out, out->count - 1, ".")))
        return false;
    if (is_name(in, i, "pg_catalog") || is_name(in, i, "public")) {
        *at = i + 2;
        *is_fine = true;
        return true;
    }
    if (is_name(in, i, "information_schema") && i + 2 < in->count) {
        const struct token *name = &in->items[i + 2];

        scan->out->has_catalog = true;
        *at = i + 3;
        *is_fine = push_text(scan, out, TOKEN_QUOTED,
                             quote(scan, pv_arena_printf(scan->arena, "information_schema_%.*s", 63,
                                                         name->bare != NULL ? name->bare : name->text), '"'));
        return true;
    }
    return false;
}

static bool
put_token(struct scan *scan, struct tokens *out, struct nesting *nesting, size_t *at)
{
    const struct tokens *in = &scan->in;
    size_t i = *at;
    bool is_fine;

    if ((in->items[i].kind == TOKEN_WORD || in->items[i].kind == TOKEN_QUOTED) && is_schema(scan, out, at, &is_fine))
        return is_fine;
    if (in->items[i].kind == TOKEN_WORD)
        return put_word(scan, out, nesting, at);
    *at = i + 1;
    if (in->items[i].kind != TOKEN_OPERATOR)
        return push(scan, out, in->items[i]);
    if (is_token(in, i, "::"))
        return put_cast(scan, out, at);
    if (is_token(in, i, "(")) {
        nesting->depth++;
        if (nesting->depth < PV_COUNT_OF(nesting->cast_at))
            nesting->cast_at[nesting->depth] =
                out->count > 0 && is_token(out, out->count - 1, "cast") ? out->count - 1 : SIZE_MAX;
        else if (out->count > 0 && is_token(out, out->count - 1, "cast"))
            return fail(scan->out, "54001", "statement is nested too deeply", NULL);
    } else if (is_token(in, i, ")") && nesting->depth > 0) {
        nesting->depth--;
    }
    return put_operator(scan, out, &in->items[i]);
}

static const char *
join(struct scan *scan, const struct tokens *out)
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

static void
translate(struct scan *scan)
{
    struct tokens out = {0};
    struct nesting nesting = {{SIZE_MAX}, 0};

    for (size_t i = 0; i < scan->in.count;)
        if (!put_token(scan, &out, &nesting, &i))
            return;
    scan->out->sql = join(scan, &out);
}

/* ---- What a statement is ---- */

static const struct {
    const char *word;
    enum pv_dialect_kind kind;
} kinds[] = {
    {"select", PV_DIALECT_QUERY},       {"with", PV_DIALECT_QUERY},     {"values", PV_DIALECT_QUERY},
    {"(", PV_DIALECT_QUERY},            {"begin", PV_DIALECT_BEGIN},    {"start", PV_DIALECT_BEGIN},
    {"commit", PV_DIALECT_COMMIT},      {"end", PV_DIALECT_COMMIT},     {"rollback", PV_DIALECT_ROLLBACK},
    {"abort", PV_DIALECT_ROLLBACK},     {"savepoint", PV_DIALECT_SAVEPOINT}, {"release", PV_DIALECT_RELEASE},
    {"set", PV_DIALECT_SET},            {"reset", PV_DIALECT_RESET},    {"show", PV_DIALECT_SHOW},
    {"discard", PV_DIALECT_DISCARD},    {"deallocate", PV_DIALECT_DEALLOCATE},
};

static const char *
lower_words(struct scan *scan, size_t from, size_t to)
{
    struct pv_buf name = {0};
    const char *text = NULL;

    for (size_t i = from; i < to; i++) {
        const struct token *token = &scan->in.items[i];

        if (i > from && token->kind != TOKEN_OPERATOR && scan->in.items[i - 1].kind != TOKEN_OPERATOR)
            pv_buf_put_u8(&name, '_');
        for (const char *c = token->bare != NULL ? token->bare : token->text; *c != '\0'; c++)
            pv_buf_put_u8(&name, (uint8_t) tolower((unsigned char) *c));
    }
    if (pv_buf_ok(&name))
        text = pv_arena_strndup(scan->arena, (const char *) pv_buf_slice(&name).data, pv_buf_len(&name));
    pv_buf_clear(&name);
    if (text == NULL)
        scan->is_out_of_memory = true;
    return text;
}

/* SET [SESSION | LOCAL] NAME { = | TO } VALUE; SET TRANSACTION and the like have a name alone. */
static void
read_set(struct scan *scan)
{
    const struct tokens *in = &scan->in;
    size_t at = is_token(in, 1, "session") && !is_token(in, 2, "characteristics") ? 2
                : is_token(in, 1, "local")                                          ? 2
                                                                                    : 1;
    size_t equals = at;

    while (equals < in->count && !is_token(in, equals, "=") && !is_token(in, equals, "to"))
        equals++;
    if (at >= in->count) {
        (void) fail(scan->out, "42601", "syntax error at end of input", NULL);
        return;
    }
    if (equals == in->count) {
        scan->out->name = lower_words(scan, at, is_token(in, at, "time") ? at + 2 : at + 1);
        return;
    }
    scan->out->name = lower_words(scan, at, equals);
    if (equals + 1 < in->count) {
        const struct token *value = &in->items[equals + 1];

        scan->out->value = value->bare != NULL ? value->bare : value->text;
    }
}

static void
classify(struct scan *scan)
{
    struct pv_dialect *out = scan->out;
    const struct tokens *in = &scan->in;

    out->kind = in->count == 0 ? PV_DIALECT_EMPTY : PV_DIALECT_OTHER;
    for (size_t i = 0; i < PV_COUNT_OF(kinds); i++)
        if (is_token(in, 0, kinds[i].word))
            out->kind = kinds[i].kind;
    switch (out->kind) {
    case PV_DIALECT_QUERY:
        translate(scan);
        break;
    case PV_DIALECT_ROLLBACK:
        for (size_t i = 1; i < in->count; i++)
            if (is_token(in, i, "to"))
                out->kind = PV_DIALECT_ROLLBACK_TO;
        break;
    case PV_DIALECT_SET:
        read_set(scan);
        break;
    case PV_DIALECT_SHOW:
    case PV_DIALECT_RESET:
    case PV_DIALECT_DEALLOCATE:
        if (in->count < 2)
            (void) fail(out, "42601", "syntax error at end of input", NULL);
        else if (!is_token(in, in->count - 1, "all"))
            out->name = lower_words(scan, out->kind == PV_DIALECT_DEALLOCATE && is_token(in, 1, "prepare") ? 2 : 1,
                                    in->count);
        break;
    case PV_DIALECT_OTHER:
        (void) fail(out, "42501", "the query log can only be read",
                    "An auditor sends SELECT over query_log, event_log and their views.");
        break;
    case PV_DIALECT_EMPTY:
    case PV_DIALECT_BEGIN:
    case PV_DIALECT_COMMIT:
    case PV_DIALECT_SAVEPOINT:
    case PV_DIALECT_RELEASE:
    case PV_DIALECT_ROLLBACK_TO:
    case PV_DIALECT_DISCARD:
        break;
    }
}

static struct pv_slice
trimmed(struct pv_slice text, size_t from, size_t to)
{
    while (from < to && (isspace(text.data[from]) != 0 || text.data[from] == ';'))
        from++;
    while (to > from && (isspace(text.data[to - 1]) != 0 || text.data[to - 1] == ';'))
        to--;
    return pv_slice_of(text.data + from, to - from);
}

enum pv_status
pv_dialect_read(struct pv_arena *arena, struct pv_slice text, struct pv_dialect **statements, size_t *count)
{
    struct scan scan = {.arena = arena, .text = text};
    struct pv_dialect *list = NULL;
    size_t size = 0, filled = 0;

    while (scan.at < text.len) {
        size_t start = scan.at;
        bool is_whole;

        if (filled == PV_STATEMENTS_MAX)
            return PV_LIMIT;
        if (filled == size) {
            struct pv_dialect *grown = pv_arena_alloc(arena, (size * 2 + 4) * sizeof(*grown));

            if (grown == NULL)
                return PV_NOMEM;
            if (filled > 0)
                memcpy(grown, list, filled * sizeof(*grown));
            list = grown;
            size = size * 2 + 4;
        }
        scan.out = &list[filled];
        memset(scan.out, 0, sizeof(*scan.out));
        is_whole = read_statement(&scan);
        scan.out->text = trimmed(text, start, is_whole ? scan.at : text.len);
        if (is_whole)
            classify(&scan);
        else
            scan.out->kind = PV_DIALECT_OTHER;
        if (scan.is_out_of_memory)
            return PV_NOMEM;
        if (scan.out->kind != PV_DIALECT_EMPTY)
            filled++;
        if (!is_whole)
            break;
    }
    *statements = list;
    *count = filled;
    return PV_OK;
}
