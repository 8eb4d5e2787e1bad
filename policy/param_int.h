/*
 * Inside of param: kinds, and the parts that turn one form of a value into another.
 * Texts are NUL-terminated, results live in the arena. PV_INVALID: not of the type.
 */
#ifndef PV_PARAM_INT_H
#define PV_PARAM_INT_H

#include "policy/param.h"
#include "proxy/base/arena.h"

enum pv_param_kind {
    PV_KIND_INT2,
    PV_KIND_INT4,
    PV_KIND_INT8,
    PV_KIND_NUMERIC,
    PV_KIND_FLOAT4,
    PV_KIND_FLOAT8,
    PV_KIND_BOOL,
    PV_KIND_TEXT,
    PV_KIND_VARCHAR,
    PV_KIND_BPCHAR,
    PV_KIND_DATE,
    PV_KIND_TIMESTAMP,
    PV_KIND_TIMESTAMPTZ,
    PV_KIND_TIME,
    PV_KIND_UUID,
    PV_KIND_BYTEA
};

/* param_number.c. Decimal texts compare exactly; floats go to the shortest text that reads back as the same value. */
enum pv_status pv_number_int(struct pv_arena *arena, const char *text, int64_t least, int64_t most,
                             const char **canonical) PV_MUST_CHECK;
enum pv_status pv_number_decimal(struct pv_arena *arena, const char *text, const char **canonical) PV_MUST_CHECK;
enum pv_status pv_number_float(struct pv_arena *arena, const char *text, bool is_single,
                               const char **canonical) PV_MUST_CHECK;
enum pv_status pv_number_from_double(struct pv_arena *arena, double value, const char **canonical) PV_MUST_CHECK;
enum pv_status pv_number_from_single(struct pv_arena *arena, float value, const char **canonical) PV_MUST_CHECK;
int pv_number_compare(const char *a, const char *b); /* canonical decimal or integer texts */
/* A canonical text of one number kind as text of another, where nothing is lost. */
enum pv_status pv_number_convert(struct pv_arena *arena, enum pv_param_kind from, enum pv_param_kind to,
                                 const char *text, const char **converted) PV_MUST_CHECK;

/*
 * param_time.c. A date is days, a timestamp microseconds, since 2000-01-01 (UTC with a zone); a time is microseconds
 * since midnight; infinities are INT64_MAX and INT64_MIN. Years 0001 to 9999.
 */
enum pv_status pv_time_parse(enum pv_param_kind kind, const char *text, int64_t *value) PV_MUST_CHECK;
enum pv_status pv_time_format(struct pv_arena *arena, enum pv_param_kind kind, int64_t value,
                              const char **canonical) PV_MUST_CHECK;

/* param_array.c. One dimension; a NULL item is a NULL pointer. PostgreSQL: arrays, "Array Input and Output Syntax". */
struct pv_items {
    const char **items;
    size_t count;
};
enum pv_status pv_array_parse(struct pv_arena *arena, const char *text, struct pv_items *items) PV_MUST_CHECK;
enum pv_status pv_array_format(struct pv_arena *arena, const struct pv_items *items, const char **text) PV_MUST_CHECK;

/* param_binary.c: the binary forms of PostgreSQL's *_send functions, to canonical text. */
enum pv_status pv_binary_scalar(struct pv_arena *arena, enum pv_param_kind kind, struct pv_slice value,
                                const char **canonical) PV_MUST_CHECK;
/* Gives the element type as found; the caller judges whether it fits. */
enum pv_status pv_binary_array(struct pv_arena *arena, struct pv_slice value, const struct pv_param_type **type,
                               struct pv_items *items) PV_MUST_CHECK;

/*
 * param_words.c: each sets *words to why a value is refused (in the arena) and gives PV_INVALID, or PV_NOMEM.
 * pv_param_say takes words as they were made, NULL where memory ran out.
 */
enum pv_status pv_param_say(char *text, const char **words) PV_MUST_CHECK;
enum pv_status pv_param_refuse(struct pv_arena *arena, const struct pv_parameter *parameter, const char **words,
                               const char *format, ...) PV_PRINTF(4, 5) PV_MUST_CHECK;
enum pv_status pv_param_refuse_value(struct pv_arena *arena, const struct pv_parameter *parameter,
                                     const char **words) PV_MUST_CHECK;
enum pv_status pv_param_refuse_range(struct pv_arena *arena, const struct pv_parameter *parameter,
                                     const char **words) PV_MUST_CHECK;
enum pv_status pv_param_refuse_array(struct pv_arena *arena, const struct pv_parameter *parameter,
                                     const char **words) PV_MUST_CHECK;

/* param_regex.c: does the pattern match the text from end to end? Thread-safe. */
bool pv_regex_matches(const void *regex, const char *text);

#endif
