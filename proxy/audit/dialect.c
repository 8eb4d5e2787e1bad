#include "proxy/audit/dialect_int.h"

#include "proxy/base/bytes.h"
#include "proxy/base/limits.h"

#include <ctype.h>
#include <string.h>

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
lower_words(struct pv_lex_scan *scan, size_t from, size_t to)
{
    struct pv_buf name = {0};
    const char *text = NULL;

    for (size_t i = from; i < to; i++) {
        const struct pv_lex_token *token = &scan->in.items[i];

        if (i > from && token->kind != PV_LEX_OPERATOR && scan->in.items[i - 1].kind != PV_LEX_OPERATOR)
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
read_set(struct pv_lex_scan *scan)
{
    const struct pv_lex_tokens *in = &scan->in;
    size_t at = pv_lex_is(in, 1, "session") && !pv_lex_is(in, 2, "characteristics") ? 2
                : pv_lex_is(in, 1, "local")                                          ? 2
                                                                                    : 1;
    size_t equals = at;

    while (equals < in->count && !pv_lex_is(in, equals, "=") && !pv_lex_is(in, equals, "to"))
        equals++;
    if (at >= in->count) {
        (void) pv_lex_fail(scan->out, "42601", "syntax error at end of input", NULL);
        return;
    }
    if (equals == in->count) {
        scan->out->name = lower_words(scan, at, pv_lex_is(in, at, "time") ? at + 2 : at + 1);
        return;
    }
    scan->out->name = lower_words(scan, at, equals);
    if (equals + 1 < in->count) {
        const struct pv_lex_token *value = &in->items[equals + 1];

        scan->out->value = value->bare != NULL ? value->bare : value->text;
    }
}

static void
classify(struct pv_lex_scan *scan)
{
    struct pv_dialect *out = scan->out;
    const struct pv_lex_tokens *in = &scan->in;

    out->kind = in->count == 0 ? PV_DIALECT_EMPTY : PV_DIALECT_OTHER;
    for (size_t i = 0; i < PV_COUNT_OF(kinds); i++)
        if (pv_lex_is(in, 0, kinds[i].word))
            out->kind = kinds[i].kind;
    switch (out->kind) {
    case PV_DIALECT_QUERY:
        pv_dialect_translate(scan);
        break;
    case PV_DIALECT_ROLLBACK:
        for (size_t i = 1; i < in->count; i++)
            if (pv_lex_is(in, i, "to"))
                out->kind = PV_DIALECT_ROLLBACK_TO;
        break;
    case PV_DIALECT_SET:
        read_set(scan);
        break;
    case PV_DIALECT_SHOW:
    case PV_DIALECT_RESET:
    case PV_DIALECT_DEALLOCATE:
        if (in->count < 2)
            (void) pv_lex_fail(out, "42601", "syntax error at end of input", NULL);
        else if (!pv_lex_is(in, in->count - 1, "all"))
            out->name =
                lower_words(scan, out->kind == PV_DIALECT_DEALLOCATE && pv_lex_is(in, 1, "prepare") ? 2 : 1, in->count);
        break;
    case PV_DIALECT_OTHER:
        (void) pv_lex_fail(out, "42501", "the query log can only be read",
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
    struct pv_lex_scan scan = {.arena = arena, .text = text};
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
        is_whole = pv_lex_statement(&scan);
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
