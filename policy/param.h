/*
 * Values of question parameters: the types that a room may declare, their values'
 * canonical text, their bounds. A value comes as a literal's text, or from Bind in
 * text or binary format under the type that the client declared; what is forwarded is always the
 * canonical text. Text input is stricter than PostgreSQL's where PostgreSQL's depends on settings: dates and
 * times are ISO 8601 only.
 */
#ifndef PV_PARAM_H
#define PV_PARAM_H

#include "policy/policy.h"

struct pv_arena;

struct pv_param_type {
    const char *name; /* as PostgreSQL prints it: integer, date, timestamp with time zone, ... */
    uint32_t oid;
    uint32_t array_oid;
    /* the rest is policy/param.c's own */
    int kind;
};

/* By any spelling PostgreSQL knows (int, int4, integer, text, varchar, timestamptz, ...); `T[]` sets is_array. NULL: unknown. */
const struct pv_param_type *pv_param_type_find(const char *spelling, bool *is_array);
const struct pv_param_type *pv_param_type_by_oid(uint32_t oid, bool *is_array);

/* One scalar text to its canonical form. PV_INVALID: not of the type. */
enum pv_status pv_param_canonical(struct pv_arena *arena, const struct pv_param_type *type, const char *text,
                                  const char **canonical) PV_MUST_CHECK;
/* Orders two canonical texts of one type: <0, 0, >0. */
int pv_param_compare(const struct pv_param_type *type, const char *a, const char *b);

/*
 * Judges a value given as text (NULL: SQL NULL; arrays as PostgreSQL array text such as {a,"b c"}).
 * PV_OK with the canonical text; PV_INVALID with words that name the parameter and its bounds.
 */
enum pv_status pv_param_judge_text(struct pv_arena *arena, const struct pv_parameter *parameter, const char *text,
                                   const char **canonical, const char **words) PV_MUST_CHECK;
/*
 * True: the text is its own canonical one and within the parameter's bounds. Only for decimal digits without more, and
 * where integers are asked for; false says nothing, and pv_param_judge_text judges.
 */
bool pv_param_is_plain_integer(const struct pv_parameter *parameter, struct pv_slice text);
/*
 * Judges a Bind value: the type OID that the client declared (0 or 705: unspecified), format 0 text or 1 binary.
 * A declared type of another family than the parameter's is PV_INVALID with words.
 */
enum pv_status pv_param_judge_bind(struct pv_arena *arena, const struct pv_parameter *parameter, uint32_t declared_oid,
                                   int16_t format, bool is_null, struct pv_slice value, const char **canonical,
                                   const char **words) PV_MUST_CHECK;
/* One sentence that names the parameter, its type and every bound, for a refusal's detail; NULL: out of memory. */
const char *pv_param_bounds(struct pv_arena *arena, const struct pv_parameter *parameter) PV_MUST_CHECK;
/* A Bind value as text for the query log, whatever its type: canonical where the type is known, else hex of the bytes. */
enum pv_status pv_param_display(struct pv_arena *arena, uint32_t declared_oid, int16_t format, struct pv_slice value,
                                const char **text) PV_MUST_CHECK;

/* Why a spelling that pv_param_type_find does not know is none: words for a fault, static storage. */
const char *pv_param_type_refusal(const char *spelling);

/*
 * A parameter's pattern, compiled once at load and used from any thread; freed by its owner. Matches whole texts. PV_INVALID with
 * words (static, or in the arena) when it is no POSIX extended regular expression or holds a back-reference, whose matching time has no bound.
 */
enum pv_status pv_param_regex_new(struct pv_arena *arena, const char *pattern, void **regex,
                                  const char **words) PV_MUST_CHECK;
void pv_param_regex_free(void *regex);

#endif
