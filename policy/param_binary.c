#include "policy/param_int.h"

#include <string.h>

/* numeric.c: sign words and the bound of the display scale. */
#define NUMERIC_NEGATIVE 0x4000u
#define NUMERIC_NAN 0xC000u
#define NUMERIC_PINF 0xD000u
#define NUMERIC_NINF 0xF000u
#define NUMERIC_SCALE_MASK 0x3FFFu
#define NUMERIC_GROUP_MAX 9999u

static enum pv_status
keep(char *text, const char **canonical)
{
    if (text == NULL)
        return PV_NOMEM;
    *canonical = text;
    return PV_OK;
}

static int64_t
signed_of(struct pv_slice value)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < value.len; i++)
        bits = bits << 8 | value.data[i];
    if (value.len == 2)
        return (int16_t) (uint16_t) bits;
    return value.len == 4 ? (int64_t) (int32_t) (uint32_t) bits : (int64_t) bits;
}

static enum pv_status
decode_float(struct pv_arena *arena, struct pv_slice value, const char **canonical)
{
    int64_t bits = signed_of(value);
    int32_t bits32 = (int32_t) bits; /* of a four-byte value */
    double wide;
    float single;

    if (value.len == 4) {
        memcpy(&single, &bits32, sizeof(single));
        return pv_number_from_single(arena, single, canonical);
    }
    memcpy(&wide, &bits, sizeof(wide));
    return pv_number_from_double(arena, wide, canonical);
}

static enum pv_status
decode_special(uint16_t sign, const char **canonical)
{
    *canonical = sign == NUMERIC_NAN ? "NaN" : sign == NUMERIC_PINF ? "Infinity" : "-Infinity";
    return PV_OK;
}

/* Four decimal digits of the group that stands `weight` groups before the point; zero where none was sent. */
static unsigned
group_at(const uint8_t *groups, long count, long first_weight, long weight)
{
    long i = first_weight - weight;

    return i < 0 || i >= count ? 0 : (unsigned) groups[2 * i] << 8 | groups[2 * i + 1];
}

/* numeric_send: group count, weight of the first group, sign, display scale, groups base 10000. */
static enum pv_status
decode_numeric(struct pv_arena *arena, struct pv_slice value, const char **canonical)
{
    struct pv_reader reader = pv_reader_of(value);
    uint16_t count, sign, scale;
    int16_t weight;
    struct pv_slice groups;
    long left;
    char *text, *to;

    if (pv_read_u16(&reader, &count) != PV_OK || pv_read_i16(&reader, &weight) != PV_OK ||
        pv_read_u16(&reader, &sign) != PV_OK || pv_read_u16(&reader, &scale) != PV_OK ||
        pv_read_slice(&reader, 2u * (size_t) count, &groups) != PV_OK || pv_read_end(&reader) != PV_OK)
        return PV_INVALID;
    if (sign == NUMERIC_NAN || sign == NUMERIC_PINF || sign == NUMERIC_NINF)
        return decode_special(sign, canonical);
    if ((sign != 0 && sign != NUMERIC_NEGATIVE) || (scale & NUMERIC_SCALE_MASK) != scale)
        return PV_INVALID;
    for (long i = 0; i < count; i++)
        if (group_at(groups.data, count, 0, -i) > NUMERIC_GROUP_MAX)
            return PV_INVALID;
    left = weight < 0 ? 0 : weight;
    text = to = pv_arena_alloc(arena, ((size_t) left + 1) * 4 + scale + 8);
    if (text == NULL)
        return PV_NOMEM;
    if (sign == NUMERIC_NEGATIVE)
        *to++ = '-';
    for (long at = left; at >= 0; at--, to += 4)
        for (unsigned i = 0, group = group_at(groups.data, count, weight, at); i < 4; i++, group /= 10)
            to[3 - i] = (char) ('0' + group % 10);
    if (scale > 0)
        *to++ = '.';
    for (long i = 0; i < scale; i++) {
        unsigned group = group_at(groups.data, count, weight, -1 - i / 4);

        for (long skip = 3 - i % 4; skip > 0; skip--)
            group /= 10;
        *to++ = (char) ('0' + group % 10);
    }
    *to = '\0';
    return pv_number_decimal(arena, text, canonical);
}

static enum pv_status
decode_text(struct pv_arena *arena, struct pv_slice value, bool is_padded, const char **canonical)
{
    size_t len = value.len;

    if (!pv_utf8_valid(value))
        return PV_INVALID;
    while (is_padded && len > 0 && value.data[len - 1] == ' ')
        len--;
    return keep(pv_arena_strndup(arena, (const char *) value.data, len), canonical);
}

static enum pv_status
decode_hex(struct pv_arena *arena, struct pv_slice value, bool is_uuid, const char **canonical)
{
    static const char digits[] = "0123456789abcdef";
    char *text = pv_arena_alloc(arena, value.len * 2 + 7);
    char *to = text;

    if (text == NULL)
        return PV_NOMEM;
    if (!is_uuid) {
        *to++ = '\\';
        *to++ = 'x';
    }
    for (size_t i = 0; i < value.len; i++) {
        if (is_uuid && (i == 4 || i == 6 || i == 8 || i == 10))
            *to++ = '-';
        *to++ = digits[value.data[i] >> 4];
        *to++ = digits[value.data[i] & 15];
    }
    return keep(text, canonical);
}

/* Bytes of the fixed binary forms; 0: any number. */
static size_t
fixed_bytes(enum pv_param_kind kind)
{
    static const uint8_t bytes[] = {
        [PV_KIND_INT2] = 2,      [PV_KIND_INT4] = 4,        [PV_KIND_INT8] = 8, [PV_KIND_FLOAT4] = 4,
        [PV_KIND_FLOAT8] = 8,    [PV_KIND_BOOL] = 1,        [PV_KIND_DATE] = 4, [PV_KIND_TIMESTAMP] = 8,
        [PV_KIND_TIMESTAMPTZ] = 8, [PV_KIND_TIME] = 8,      [PV_KIND_UUID] = 16, [PV_KIND_BYTEA] = 0,
    };

    return bytes[kind];
}

enum pv_status
pv_binary_scalar(struct pv_arena *arena, enum pv_param_kind kind, struct pv_slice value, const char **canonical)
{
    int64_t moment;

    if (fixed_bytes(kind) != 0 && value.len != fixed_bytes(kind))
        return PV_INVALID;
    switch (kind) {
    case PV_KIND_INT2:
    case PV_KIND_INT4:
    case PV_KIND_INT8:
        return keep(pv_arena_printf(arena, "%lld", (long long) signed_of(value)), canonical);
    case PV_KIND_NUMERIC:
        return decode_numeric(arena, value, canonical);
    case PV_KIND_FLOAT4:
    case PV_KIND_FLOAT8:
        return decode_float(arena, value, canonical);
    case PV_KIND_BOOL:
        if (value.data[0] > 1)
            return PV_INVALID;
        *canonical = value.data[0] == 1 ? "true" : "false";
        return PV_OK;
    case PV_KIND_TEXT:
    case PV_KIND_VARCHAR:
    case PV_KIND_BPCHAR:
        return decode_text(arena, value, kind == PV_KIND_BPCHAR, canonical);
    case PV_KIND_DATE:
        moment = signed_of(value);
        moment = moment == INT32_MIN ? INT64_MIN : moment == INT32_MAX ? INT64_MAX : moment;
        return pv_time_format(arena, kind, moment, canonical);
    case PV_KIND_TIMESTAMP:
    case PV_KIND_TIMESTAMPTZ:
    case PV_KIND_TIME:
        return pv_time_format(arena, kind, signed_of(value), canonical);
    case PV_KIND_UUID:
    case PV_KIND_BYTEA:
        return decode_hex(arena, value, kind == PV_KIND_UUID, canonical);
    }
    return PV_INVALID;
}

/* array_send: dimensions, has-null flag, element type, then size and lower bound of each dimension, then the elements. */
enum pv_status
pv_binary_array(struct pv_arena *arena, struct pv_slice value, const struct pv_param_type **type,
                struct pv_items *items)
{
    struct pv_reader reader = pv_reader_of(value);
    struct pv_items found = {NULL, 0};
    int32_t dimensions, flags, count = 0, lower = 1;
    uint32_t oid;
    bool is_array;
    enum pv_status status;

    if (pv_read_i32(&reader, &dimensions) != PV_OK || pv_read_i32(&reader, &flags) != PV_OK ||
        pv_read_u32(&reader, &oid) != PV_OK || dimensions < 0 || dimensions > 1 || (flags != 0 && flags != 1))
        return PV_INVALID;
    *type = pv_param_type_by_oid(oid, &is_array);
    if (*type == NULL || is_array)
        return PV_INVALID;
    if (dimensions == 1 && (pv_read_i32(&reader, &count) != PV_OK || pv_read_i32(&reader, &lower) != PV_OK))
        return PV_INVALID;
    /* Each element takes a length word, so a count that the bytes cannot hold is refused before it is allocated. */
    if (count < 0 || lower != 1 || (size_t) count > reader.left / 4)
        return PV_INVALID;
    found.items = pv_arena_alloc(arena, ((size_t) count + 1) * sizeof(*found.items));
    if (found.items == NULL)
        return PV_NOMEM;
    for (; found.count < (size_t) count; found.count++) {
        int32_t len;
        struct pv_slice item;

        if (pv_read_i32(&reader, &len) != PV_OK || len < -1)
            return PV_INVALID;
        if (len == -1)
            continue;
        if (pv_read_slice(&reader, (size_t) len, &item) != PV_OK)
            return PV_INVALID;
        status = pv_binary_scalar(arena, (enum pv_param_kind) (*type)->kind, item, &found.items[found.count]);
        if (status != PV_OK)
            return status;
    }
    if (pv_read_end(&reader) != PV_OK)
        return PV_INVALID;
    *items = found;
    return PV_OK;
}
