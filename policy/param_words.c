/* What a caller is told of a parameter: why a value is refused, and which ones would be taken. */

#include "policy/param_int.h"

#include <float.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_VALUES_MAX = 20 };

enum pv_status
pv_param_say(char *text, const char **words)
{
    *words = text;
    return text == NULL ? PV_NOMEM : PV_INVALID;
}

enum pv_status
pv_param_refuse(struct pv_arena *arena, const struct pv_parameter *parameter, const char **words, const char *format,
                ...)
{
    va_list args;
    char *claim;

    va_start(args, format);
    claim = pv_arena_vprintf(arena, format, args);
    va_end(args);
    *words = claim == NULL ? NULL
                           : pv_arena_printf(arena, "%sparameter \"%s\" must be %s",
                                             parameter->is_array ? "each item of " : "", parameter->name, claim);
    return *words == NULL ? PV_NOMEM : PV_INVALID;
}

/* The fewest digits that tell a float8 of 10 are 1e+01, which is how it is kept; people are told 10. */
static const char *
spoken(struct pv_arena *arena, const struct pv_parameter *parameter, const char *kept)
{
    int digits = parameter->type->kind == PV_KIND_FLOAT4 ? FLT_DIG : DBL_DIG;
    double value, again;
    char *words;

    if (parameter->type->kind != PV_KIND_FLOAT4 && parameter->type->kind != PV_KIND_FLOAT8)
        return kept;
    value = strtod(kept, NULL);
    words = pv_arena_printf(arena, "%.*g", digits, value);
    again = words == NULL ? 0 : strtod(words, NULL);
    return words != NULL && memcmp(&value, &again, sizeof(value)) == 0 ? words : kept;
}

static void
put_values(struct pv_buf *list, struct pv_arena *arena, const struct pv_parameter *parameter)
{
    for (size_t i = 0; i < parameter->value_count && i < WORDS_VALUES_MAX; i++)
        pv_buf_printf(list, "%s\"%s\"", i == 0 ? "" : ", ", spoken(arena, parameter, parameter->values[i]));
    if (parameter->value_count > WORDS_VALUES_MAX)
        pv_buf_put_text(list, ", ...");
}

enum pv_status
pv_param_refuse_value(struct pv_arena *arena, const struct pv_parameter *parameter, const char **words)
{
    struct pv_buf list = {0};
    enum pv_status status;

    put_values(&list, arena, parameter);
    status = pv_buf_ok(&list) ? pv_param_refuse(arena, parameter, words, "one of %s", pv_buf_text(&list)) : PV_NOMEM;
    pv_buf_clear(&list);
    return status;
}

enum pv_status
pv_param_refuse_range(struct pv_arena *arena, const struct pv_parameter *parameter, const char **words)
{
    if (parameter->maximum == NULL)
        return pv_param_refuse(arena, parameter, words, "at least %s", spoken(arena, parameter, parameter->minimum));
    if (parameter->minimum == NULL)
        return pv_param_refuse(arena, parameter, words, "at most %s", spoken(arena, parameter, parameter->maximum));
    return pv_param_refuse(arena, parameter, words, "at least %s and at most %s",
                           spoken(arena, parameter, parameter->minimum), spoken(arena, parameter, parameter->maximum));
}

enum pv_status
pv_param_refuse_array(struct pv_arena *arena, const struct pv_parameter *parameter, const char **words)
{
    return pv_param_say(pv_arena_printf(arena,
                                        "parameter \"%s\" must be an array of one dimension such as {a,b}, of %s",
                                        parameter->name, parameter->type->name),
                        words);
}

const char *
pv_param_bounds(struct pv_arena *arena, const struct pv_parameter *parameter)
{
    struct pv_buf text = {0};
    const char *copy = NULL;

    pv_buf_printf(&text, "Parameter \"%s\" has type %s%s", parameter->name, parameter->type->name,
                  parameter->is_array ? "[]" : "");
    if (parameter->is_array)
        pv_buf_printf(&text, "; at most %llu items", (unsigned long long) parameter->max_items);
    if (parameter->minimum != NULL)
        pv_buf_printf(&text, "; at least %s", spoken(arena, parameter, parameter->minimum));
    if (parameter->maximum != NULL)
        pv_buf_printf(&text, "; at most %s", spoken(arena, parameter, parameter->maximum));
    if (parameter->value_count > 0) {
        pv_buf_put_text(&text, "; one of ");
        put_values(&text, arena, parameter);
    }
    if (parameter->pattern != NULL)
        pv_buf_printf(&text, "; matching the pattern %s", parameter->pattern);
    if (parameter->max_length > 0)
        pv_buf_printf(&text, "; at most %llu characters long", (unsigned long long) parameter->max_length);
    if (parameter->is_nullable)
        pv_buf_put_text(&text, "; or NULL");
    pv_buf_put_text(&text, ".");
    if (pv_buf_ok(&text))
        copy = pv_arena_printf(arena, "%s", pv_buf_text(&text));
    pv_buf_clear(&text);
    return copy;
}
