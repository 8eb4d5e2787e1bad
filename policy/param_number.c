#include "policy/param_int.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* As PostgreSQL's numeric: digits before and after the decimal point. */
#define NUMERIC_WHOLE_DIGITS_MAX 131072
#define NUMERIC_SCALE_MAX 16383
/* Past any exponent that such a numeric can take, small enough that sums of it cannot overflow. */
#define EXPONENT_MAX 200000

/* The text between white space, as PostgreSQL's input functions skip it. */
static struct pv_slice
trim(const char *text)
{
    static const char space[] = " \t\n\r\f\v";
    size_t start = strspn(text, space);
    size_t end = strlen(text);

    while (end > start && strchr(space, text[end - 1]) != NULL)
        end--;
    return pv_slice_of(text + start, end - start);
}

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

enum pv_status
pv_number_int(struct pv_arena *arena, const char *text, int64_t least, int64_t most, const char **canonical)
{
    struct pv_slice digits = trim(text);
    size_t at = digits.len > 0 && (digits.data[0] == '-' || digits.data[0] == '+') ? 1 : 0;
    bool is_negative = at == 1 && digits.data[0] == '-';
    int64_t value = 0; /* kept negative: the negative range is the wider one */
    char text_of[PV_DECIMAL_SIZE], *copy;

    if (at == digits.len)
        return PV_INVALID;
    for (; at < digits.len; at++) {
        if (!is_digit(digits.data[at]))
            return PV_INVALID;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, (int64_t) (digits.data[at] - '0'), &value))
            return PV_INVALID;
    }
    if (!is_negative && value == INT64_MIN)
        return PV_INVALID;
    if (!is_negative)
        value = -value;
    if (value < least || value > most)
        return PV_INVALID;
    copy = pv_arena_strdup(arena, pv_decimal(value, text_of));
    if (copy == NULL)
        return PV_NOMEM;
    *canonical = copy;
    return PV_OK;
}

/* NaN and infinities as numeric and float know them. */
static const char *
special_name(struct pv_slice text)
{
    static const struct {
        const char *spelling;
        const char *canonical;
    } rows[] = {
        {"nan", "NaN"},
        {"infinity", "Infinity"},
        {"+infinity", "Infinity"},
        {"inf", "Infinity"},
        {"+inf", "Infinity"},
        {"-infinity", "-Infinity"},
        {"-inf", "-Infinity"},
    };

    for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
        if (text.len == strlen(rows[i].spelling) &&
            strncasecmp((const char *) text.data, rows[i].spelling, text.len) == 0)
            return rows[i].canonical;
    return NULL;
}

/* A decimal number taken apart: digits without the point, and how many of them stand before it. */
struct decimal {
    bool is_negative;
    const uint8_t *whole;
    size_t whole_len;
    const uint8_t *fraction;
    size_t fraction_len;
    long exponent;
};

static size_t
digit_span(struct pv_slice text, size_t at)
{
    size_t end = at;

    while (end < text.len && is_digit(text.data[end]))
        end++;
    return end - at;
}

static bool
split_exponent(struct pv_slice text, size_t at, long *exponent)
{
    bool is_negative = false;
    size_t len;

    *exponent = 0;
    if (at == text.len)
        return true;
    if (text.data[at] != 'e' && text.data[at] != 'E')
        return false;
    at++;
    if (at < text.len && (text.data[at] == '+' || text.data[at] == '-'))
        is_negative = text.data[at++] == '-';
    len = digit_span(text, at);
    if (len == 0 || at + len != text.len)
        return false;
    for (size_t i = 0; i < len; i++) {
        *exponent = *exponent * 10 + (text.data[at + i] - '0');
        if (*exponent > EXPONENT_MAX)
            return false;
    }
    if (is_negative)
        *exponent = -*exponent;
    return true;
}

static bool
split_decimal(struct pv_slice text, struct decimal *decimal)
{
    size_t at = 0;

    memset(decimal, 0, sizeof(*decimal));
    if (text.len > 0 && (text.data[0] == '-' || text.data[0] == '+'))
        decimal->is_negative = text.data[at++] == '-';
    decimal->whole = text.data + at;
    decimal->whole_len = digit_span(text, at);
    at += decimal->whole_len;
    if (at < text.len && text.data[at] == '.') {
        at++;
        decimal->fraction = text.data + at;
        decimal->fraction_len = digit_span(text, at);
        at += decimal->fraction_len;
    }
    if (decimal->whole_len + decimal->fraction_len == 0)
        return false;
    return split_exponent(text, at, &decimal->exponent);
}

static char
digit_at(const struct decimal *decimal, long i)
{
    if (i < 0 || (size_t) i >= decimal->whole_len + decimal->fraction_len)
        return '0';
    return (char) ((size_t) i < decimal->whole_len ? decimal->whole[i]
                                                   : decimal->fraction[(size_t) i - decimal->whole_len]);
}

enum pv_status
pv_number_decimal(struct pv_arena *arena, const char *text, const char **canonical)
{
    struct pv_slice trimmed = trim(text);
    const char *special = special_name(trimmed);
    struct decimal decimal;
    long point, scale, first = 0;
    bool is_zero = true;
    char *copy, *to;

    if (special != NULL) {
        *canonical = special;
        return PV_OK;
    }
    if (trimmed.len > NUMERIC_WHOLE_DIGITS_MAX + NUMERIC_SCALE_MAX || !split_decimal(trimmed, &decimal))
        return PV_INVALID;
    point = (long) decimal.whole_len + decimal.exponent;
    scale = (long) decimal.fraction_len - decimal.exponent;
    if (scale < 0)
        scale = 0;
    while (first < point && digit_at(&decimal, first) == '0')
        first++;
    if (point - first > NUMERIC_WHOLE_DIGITS_MAX || scale > NUMERIC_SCALE_MAX)
        return PV_INVALID;
    if (first > point || point < 0)
        first = point;
    copy = to = pv_arena_alloc(arena, (size_t) (point - first + scale) + 4);
    if (copy == NULL)
        return PV_NOMEM;
    *to++ = '-';
    if (first >= point)
        *to++ = '0';
    for (long i = first; i < point + scale; i++) {
        if (i == point)
            *to++ = '.';
        *to = digit_at(&decimal, i);
        is_zero = is_zero && *to == '0';
        to++;
    }
    *to = '\0';
    *canonical = decimal.is_negative && !is_zero ? copy : copy + 1;
    return PV_OK;
}

/* Unsigned canonical decimals. */
static int
compare_magnitude(const char *a, const char *b)
{
    size_t a_whole = strcspn(a, ".");
    size_t b_whole = strcspn(b, ".");
    int order;

    if (a_whole != b_whole)
        return a_whole < b_whole ? -1 : 1;
    order = strncmp(a, b, a_whole);
    if (order != 0)
        return order;
    a += a_whole;
    b += b_whole;
    a += *a == '.' ? 1 : 0;
    b += *b == '.' ? 1 : 0;
    while (*a != '\0' || *b != '\0') {
        char left = *a == '\0' ? '0' : *a++;
        char right = *b == '\0' ? '0' : *b++;

        if (left != right)
            return left < right ? -1 : 1;
    }
    return 0;
}

/* -Infinity, finite, Infinity, NaN, in PostgreSQL's order. */
static int
special_rank(const char *text)
{
    if (strcmp(text, "NaN") == 0)
        return 2;
    if (strcmp(text, "Infinity") == 0)
        return 1;
    return strcmp(text, "-Infinity") == 0 ? -1 : 0;
}

int
pv_number_compare(const char *a, const char *b)
{
    int a_rank = special_rank(a);
    int b_rank = special_rank(b);

    if (a_rank != 0 || b_rank != 0)
        return a_rank - b_rank;
    if ((*a == '-') != (*b == '-'))
        return *a == '-' ? -1 : 1;
    return *a == '-' ? compare_magnitude(b + 1, a + 1) : compare_magnitude(a, b);
}

static enum pv_status
keep_text(struct pv_arena *arena, const char *text, const char **kept)
{
    char *copy = pv_arena_strdup(arena, text);

    if (copy == NULL)
        return PV_NOMEM;
    *kept = copy;
    return PV_OK;
}

static const char *
special_value(double value)
{
    if (isnan(value))
        return "NaN";
    return isinf(value) ? (value > 0 ? "Infinity" : "-Infinity") : NULL;
}

enum pv_status
pv_number_from_double(struct pv_arena *arena, double value, const char **canonical)
{
    char text[40];

    if (special_value(value) != NULL) {
        *canonical = special_value(value);
        return PV_OK;
    }
    for (int precision = 1; precision <= DBL_DECIMAL_DIG; precision++) {
        (void) snprintf(text, sizeof(text), "%.*g", precision, value);
        if (memcmp(&value, &(double){strtod(text, NULL)}, sizeof(value)) == 0)
            break;
    }
    return keep_text(arena, text, canonical);
}

enum pv_status
pv_number_from_single(struct pv_arena *arena, float value, const char **canonical)
{
    char text[40];

    if (special_value((double) value) != NULL) {
        *canonical = special_value((double) value);
        return PV_OK;
    }
    for (int precision = 1; precision <= FLT_DECIMAL_DIG; precision++) {
        (void) snprintf(text, sizeof(text), "%.*g", precision, (double) value);
        if (memcmp(&value, &(float){strtof(text, NULL)}, sizeof(value)) == 0)
            break;
    }
    return keep_text(arena, text, canonical);
}

enum pv_status
pv_number_float(struct pv_arena *arena, const char *text, bool is_single, const char **canonical)
{
    struct pv_slice trimmed = trim(text);
    const char *special = special_name(trimmed);
    struct decimal decimal;
    double value;

    if (special != NULL) {
        *canonical = special;
        return PV_OK;
    }
    /* strtod would also take hexadecimal and names; only what split_decimal knows reaches it. */
    if (!split_decimal(trimmed, &decimal))
        return PV_INVALID;
    errno = 0;
    value = is_single ? (double) strtof(text, NULL) : strtod(text, NULL);
    if (errno == ERANGE && (value == 0.0 || isinf(value)))
        return PV_INVALID;
    return is_single ? pv_number_from_single(arena, (float) value, canonical)
                     : pv_number_from_double(arena, value, canonical);
}

static bool
is_float(enum pv_param_kind kind)
{
    return kind == PV_KIND_FLOAT4 || kind == PV_KIND_FLOAT8;
}

static size_t
significant_digits(const char *text)
{
    size_t count = 0, zeros = 0;

    for (; *text != '\0' && *text != 'e'; text++) {
        if (!is_digit((uint8_t) *text) || (*text == '0' && count == 0))
            continue;
        zeros = *text == '0' ? zeros + 1 : 0;
        count++;
    }
    return count - zeros;
}

/* A decimal to an integer's text: a fraction of zeros is dropped, another one does not fit. */
static enum pv_status
drop_fraction(struct pv_arena *arena, const char *text, const char **converted)
{
    size_t whole = strcspn(text, ".");
    char *copy;

    if (text[whole] == '.' && text[whole + 1 + strspn(text + whole + 1, "0")] != '\0')
        return PV_INVALID;
    copy = pv_arena_strndup(arena, text, whole);
    if (copy == NULL)
        return PV_NOMEM;
    *converted = copy;
    return PV_OK;
}

static enum pv_status
float_to_float(struct pv_arena *arena, bool to_single, const char *text, bool from_single, const char **converted)
{
    double value = from_single ? (double) strtof(text, NULL) : strtod(text, NULL);

    if (!to_single)
        return pv_number_from_double(arena, value, converted);
    if (!isnan(value) && !isinf(value) && (fabs(value) > FLT_MAX || (double) (float) value != value))
        return PV_INVALID;
    return pv_number_from_single(arena, (float) value, converted);
}

enum pv_status
pv_number_convert(struct pv_arena *arena, enum pv_param_kind from, enum pv_param_kind to, const char *text,
                  const char **converted)
{
    if (is_float(from) && is_float(to))
        return float_to_float(arena, to == PV_KIND_FLOAT4, text, from == PV_KIND_FLOAT4, converted);
    /* PostgreSQL's own cast rounds to this many digits; beyond them the two would disagree. */
    if (is_float(from)) {
        if (to != PV_KIND_NUMERIC || significant_digits(text) > (from == PV_KIND_FLOAT4 ? FLT_DIG : DBL_DIG))
            return PV_INVALID;
        return pv_number_decimal(arena, text, converted);
    }
    if (is_float(to) && from != PV_KIND_NUMERIC) {
        const char *as_float;
        char exact[64];
        enum pv_status status = pv_number_float(arena, text, to == PV_KIND_FLOAT4, &as_float);

        if (status != PV_OK)
            return status;
        (void) snprintf(exact, sizeof(exact), "%.0f",
                        to == PV_KIND_FLOAT4 ? (double) strtof(as_float, NULL) : strtod(as_float, NULL));
        if (strcmp(exact, text) != 0)
            return PV_INVALID;
        *converted = as_float;
        return PV_OK;
    }
    if (!is_float(to) && to != PV_KIND_NUMERIC && from == PV_KIND_NUMERIC)
        return drop_fraction(arena, text, converted);
    *converted = text;
    return PV_OK;
}
