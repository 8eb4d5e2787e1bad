/* The tokens of auditors' SQL: a text taken apart, and what stands where in a list of them. */
#include "proxy/audit/dialect_int.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* As SQLite's SQLITE_LIMIT_VARIABLE_NUMBER would allow more than a Bind can carry. */
#define PARAMETERS_MAX 32766u

/* ---- Faults ---- */

bool
pv_lex_fail(struct pv_dialect *out, const char *sqlstate, const char *message, const char *hint)
{
    if (out->sqlstate == NULL) {
        out->sqlstate = sqlstate;
        out->message = message;
        out->hint = hint;
    }
    return false;
}

/* ---- Tokens ---- */

bool
pv_lex_push(struct pv_lex_scan *scan, struct pv_lex_tokens *list, struct pv_lex_token token)
{
    if (list->count == list->size) {
        size_t size = list->size == 0 ? 64 : list->size * 2;
        struct pv_lex_token *grown = pv_arena_alloc(scan->arena, size * sizeof(*grown));

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

bool
pv_lex_push_text(struct pv_lex_scan *scan, struct pv_lex_tokens *list, enum pv_lex_kind kind, const char *text)
{
    return pv_lex_push(scan, list, (struct pv_lex_token){.kind = kind, .text = text, .bare = NULL});
}

static uint8_t
peek(const struct pv_lex_scan *scan, size_t ahead)
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
skip_blank(struct pv_lex_scan *scan)
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
                    return pv_lex_fail(scan->out, "42601", "unterminated /* comment", NULL);
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
const char *
pv_lex_quote(struct pv_lex_scan *scan, const char *bare, char mark)
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
push_string(struct pv_lex_scan *scan, size_t offset, const char *bare)
{
    if (bare == NULL) {
        scan->is_out_of_memory = true;
        return false;
    }
    return pv_lex_push(scan, &scan->in,
                       (struct pv_lex_token){PV_LEX_STRING, offset, pv_lex_quote(scan, bare, '\''), bare});
}

/* After the opening quote. With `has_escapes` the escapes of E'': those that stand for one character. */
static bool
read_quoted(struct pv_lex_scan *scan, char mark, bool has_escapes, char **bare)
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
                return pv_lex_fail(scan->out, "0A000", "this escape in a string is not supported for the query log",
                                   NULL);
            if (known != NULL && (known - escapes) % 2 == 0)
                c = known[1];
        }
        *to++ = c;
    }
    if (scan->at >= scan->text.len)
        return pv_lex_fail(scan->out, "42601",
                           mark == '\'' ? "unterminated quoted string" : "unterminated quoted identifier", NULL);
    scan->at++;
    *to = '\0';
    return true;
}

/* At $: a parameter or a dollar-quoted string. */
static bool
read_dollar(struct pv_lex_scan *scan)
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
            return pv_lex_fail(scan->out, "42P02", "there is no such parameter", NULL);
        if (number > scan->out->parameter_count)
            scan->out->parameter_count = number;
        return pv_lex_push(
            scan, &scan->in,
            (struct pv_lex_token){PV_LEX_PARAMETER, start, pv_arena_printf(scan->arena, "?%zu", number), NULL});
    }
    while (end < scan->text.len && data[end] != '$' && is_word_part(data[end]))
        end++;
    if (end >= scan->text.len || data[end] != '$')
        return pv_lex_fail(scan->out, "42601", "syntax error at or near \"$\"", NULL);
    tag_len = end + 1 - start;
    for (size_t i = end + 1; i + tag_len <= scan->text.len; i++)
        if (memcmp(data + i, data + start, tag_len) == 0) {
            scan->at = i + tag_len;
            return push_string(scan, start,
                               pv_arena_strndup(scan->arena, (const char *) data + end + 1, i - end - 1));
        }
    return pv_lex_fail(scan->out, "42601", "unterminated dollar-quoted string", NULL);
}

static bool
read_word(struct pv_lex_scan *scan)
{
    size_t start = scan->at;
    uint8_t c = peek(scan, 0);
    char *bare;

    if (peek(scan, 1) == '\'' && strchr("eEnN", c) != NULL) {
        scan->at += 2;
        return read_quoted(scan, '\'', c == 'e' || c == 'E', &bare) && push_string(scan, start, bare);
    }
    if ((peek(scan, 1) == '\'' && strchr("bBxX", c) != NULL) || ((c == 'u' || c == 'U') && peek(scan, 1) == '&'))
        return pv_lex_fail(scan->out, "0A000", "this kind of literal is not supported for the query log", NULL);
    while (scan->at < scan->text.len && is_word_part(scan->text.data[scan->at]))
        scan->at++;
    return pv_lex_push(
        scan, &scan->in,
        (struct pv_lex_token){PV_LEX_WORD, start,
                              pv_arena_strndup(scan->arena, (const char *) scan->text.data + start, scan->at - start),
                              NULL});
}

static bool
read_number(struct pv_lex_scan *scan)
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
        return pv_lex_fail(scan->out, "42601", "trailing junk after numeric literal", NULL);
    return pv_lex_push(
        scan, &scan->in,
        (struct pv_lex_token){PV_LEX_NUMBER, start,
                              pv_arena_strndup(scan->arena, (const char *) scan->text.data + start, scan->at - start),
                              NULL});
}

static bool
read_operator(struct pv_lex_scan *scan)
{
    static const char *const operators[] = {"!~~*", "->>", "!~*", "!~~", "~~*", "::", "->", "||", "<=", ">=", "<>",
                                            "!=",   "!~",  "~*",  "~~",  "(",   ")",  ",",  ".",  ";",  "+",  "-",
                                            "*",    "/",   "%",   "=",   "<",   ">",  "~",  "[",  "]"};

    for (size_t i = 0; i < PV_COUNT_OF(operators); i++) {
        size_t len = strlen(operators[i]);

        if (scan->text.len - scan->at >= len && memcmp(scan->text.data + scan->at, operators[i], len) == 0) {
            size_t start = scan->at;

            scan->at += len;
            return pv_lex_push(scan, &scan->in, (struct pv_lex_token){PV_LEX_OPERATOR, start, operators[i], NULL});
        }
    }
    return pv_lex_fail(scan->out, "42601",
                       pv_arena_printf(scan->arena, "syntax error at or near \"%c\"",
                                       peek(scan, 0) >= 0x20 && peek(scan, 0) < 0x7f ? peek(scan, 0) : '?'),
                       NULL);
}

/* The tokens of one statement, its semicolon or the end left out. False: a fault, the rest of the text is void. */
bool
pv_lex_statement(struct pv_lex_scan *scan)
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
                is_fine = pv_lex_push(scan, &scan->in,
                                      (struct pv_lex_token){PV_LEX_QUOTED, start, pv_lex_quote(scan, bare, '"'), bare});
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

bool
pv_lex_is(const struct pv_lex_tokens *list, size_t i, const char *text)
{
    return i < list->count && (list->items[i].kind == PV_LEX_WORD || list->items[i].kind == PV_LEX_OPERATOR) &&
           strcasecmp(list->items[i].text, text) == 0;
}

/* A name, quoted or not. */
bool
pv_lex_is_name(const struct pv_lex_tokens *list, size_t i, const char *text)
{
    return pv_lex_is(list, i, text) ||
           (i < list->count && list->items[i].kind == PV_LEX_QUOTED && strcmp(list->items[i].bare, text) == 0);
}

bool
pv_lex_is_kind(const struct pv_lex_tokens *list, size_t i, enum pv_lex_kind kind)
{
    return i < list->count && list->items[i].kind == kind;
}

/* Words that end where an operand could begin: what follows them is no function's or operand's continuation. */
bool
pv_lex_is_keyword(const char *word)
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
bool
pv_lex_ends_operand(const struct pv_lex_tokens *list)
{
    const struct pv_lex_token *last;

    if (list->count == 0)
        return false;
    last = &list->items[list->count - 1];
    if (last->kind == PV_LEX_WORD)
        return !pv_lex_is_keyword(last->text);
    return last->kind != PV_LEX_OPERATOR || strcmp(last->text, ")") == 0;
}

/* Where the operand begins that ends the list; its count when there is none. */
size_t
pv_lex_operand_start(const struct pv_lex_tokens *list)
{
    size_t i = list->count;
    size_t depth = 0;

    if (!pv_lex_ends_operand(list))
        return list->count;
    i--;
    if (pv_lex_is(list, i, ")")) {
        for (;; i--) {
            if (pv_lex_is(list, i, ")"))
                depth++;
            else if (pv_lex_is(list, i, "(") && --depth == 0)
                break;
            if (i == 0)
                return list->count;
        }
        if (i == 0 || (list->items[i - 1].kind != PV_LEX_WORD && list->items[i - 1].kind != PV_LEX_QUOTED) ||
            (list->items[i - 1].kind == PV_LEX_WORD && pv_lex_is_keyword(list->items[i - 1].text)))
            return i;
        i--;
    } else if (pv_lex_is(list, i, "end")) {
        for (;; i--) {
            if (pv_lex_is(list, i, "end"))
                depth++;
            else if (pv_lex_is(list, i, "case") && --depth == 0)
                return i;
            if (i == 0)
                return list->count;
        }
    } else if (list->items[i].kind != PV_LEX_WORD && list->items[i].kind != PV_LEX_QUOTED) {
        return i;
    }
    while (i >= 2 && pv_lex_is(list, i - 1, "."))
        i -= 2;
    return i;
}

/* Puts NAME ( before the operand at `start`; the caller closes it. */
bool
pv_lex_open_call(struct pv_lex_scan *scan, struct pv_lex_tokens *out, size_t start, const char *function)
{
    if (!pv_lex_push_text(scan, out, PV_LEX_WORD, function) || !pv_lex_push_text(scan, out, PV_LEX_OPERATOR, "("))
        return false;
    memmove(out->items + start + 2, out->items + start, (out->count - 2 - start) * sizeof(*out->items));
    out->items[start] = (struct pv_lex_token){.kind = PV_LEX_WORD, .text = function};
    out->items[start + 1] = (struct pv_lex_token){.kind = PV_LEX_OPERATOR, .text = "("};
    return true;
}
