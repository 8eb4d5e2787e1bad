/*
 * Auditors' SQL from inside: dialect_tokens.c takes a text apart, dialect.c says what a statement is,
 * dialect_translate.c turns a SELECT into SQLite's. All that is made lives in the scan's arena.
 */
#ifndef PV_DIALECT_INT_H
#define PV_DIALECT_INT_H

#include "proxy/audit/dialect.h"

enum pv_lex_kind {
    PV_LEX_WORD,
    PV_LEX_QUOTED,
    PV_LEX_STRING,
    PV_LEX_NUMBER,
    PV_LEX_PARAMETER,
    PV_LEX_OPERATOR,
    PV_LEX_END
};

struct pv_lex_token {
    enum pv_lex_kind kind;
    size_t offset;    /* in the source */
    const char *text; /* as SQLite shall read it */
    const char *bare; /* STRING, QUOTED: the content */
};

struct pv_lex_tokens {
    struct pv_lex_token *items;
    size_t count, size;
};

struct pv_lex_scan {
    struct pv_arena *arena;
    struct pv_slice text;
    size_t at;
    struct pv_lex_tokens in;
    struct pv_dialect *out;
    bool is_out_of_memory;
};

/* ---- dialect_tokens.c: false is a fault in the scan's statement, or no memory, which the scan says ---- */

/* The first fault of a statement stays. Keeps the words. Always false. */
bool pv_lex_fail(struct pv_dialect *out, const char *sqlstate, const char *message, const char *hint);
/* A NULL text: no memory. */
bool pv_lex_push(struct pv_lex_scan *scan, struct pv_lex_tokens *list, struct pv_lex_token token);
bool pv_lex_push_text(struct pv_lex_scan *scan, struct pv_lex_tokens *list, enum pv_lex_kind kind, const char *text);
/* Puts quotes around, doubled inside. NULL: no memory. */
const char *pv_lex_quote(struct pv_lex_scan *scan, const char *bare, char mark);
/* The tokens of one statement, without its semicolon, into scan->in. False: a fault, the rest of the text is void. */
bool pv_lex_statement(struct pv_lex_scan *scan);

/* A word or an operator; any case. */
bool pv_lex_is(const struct pv_lex_tokens *list, size_t i, const char *text);
/* A name, quoted or not. */
bool pv_lex_is_name(const struct pv_lex_tokens *list, size_t i, const char *text);
bool pv_lex_is_kind(const struct pv_lex_tokens *list, size_t i, enum pv_lex_kind kind);
/* One after which an operand could begin. */
bool pv_lex_is_keyword(const char *word);
/* Whether what stands last can be the left side of an operator. */
bool pv_lex_ends_operand(const struct pv_lex_tokens *list);
/* Where the operand begins that ends the list; its count when there is none. */
size_t pv_lex_operand_start(const struct pv_lex_tokens *list);
/* Puts NAME ( before the operand at `start`; the caller closes it. */
bool pv_lex_open_call(struct pv_lex_scan *scan, struct pv_lex_tokens *out, size_t start, const char *function);

/* ---- dialect_translate.c ---- */

/* Of scan->in into the statement's sql. */
void pv_dialect_translate(struct pv_lex_scan *scan);

#endif
